//! Names and what is given to them: `name = value` in the writings of programs, files of settings, command lines, headers,
//! markup and sentences.

use std::ops::Range;

/// How far a name reaches on each side of what was found of it, and how long a value may be.
const NAME: usize = 40;
const VALUE: usize = 1600;

/// A value and the name that it was given to.
pub(super) struct Assigned {
    /// Where the name with all its words stands.
    pub(super) name: Range<usize>,
    /// Where the value stands, without quotes.
    pub(super) value: Range<usize>,
    /// Whether it is surely a value and no expression of a program.
    pub(super) literal: bool,
}

/// Reads the value that is given to the name around `hit`, if one is. Reads a bounded stretch of `text`.
pub(super) fn read(text: &str, hit: Range<usize>) -> Option<Assigned> {
    let bytes = text.as_bytes();
    let start =
        (0..NAME).map_while(|n| hit.start.checked_sub(n + 1)).take_while(|at| is_name(bytes[*at])).last();
    let start = start.unwrap_or(hit.start);
    let signed = matches!(bytes[hit.end - 1], b'=' | b':');
    let mut reader = Reader { bytes, at: if signed { hit.end - 1 } else { hit.end } };
    reader.skip(NAME, |byte| is_name(byte) || byte >= 0x80);
    if bytes[start..].starts_with(b"--") && reader.peek() == Some(b' ') {
        let name = start..reader.at;
        reader.skip(2, is_blank);
        return value(text, reader, name, Way { flag: true, ..Way::default() });
    }
    let ended = text.get(start..reader.at).is_some_and(|name| name.ends_with(['是', '为', '為', 'は']));
    let said = ended || reader.words();
    let name = start..reader.at;
    let way = if said { Way { said, ..Way::default() } } else { reader.operator(&name)? };
    reader.skip(20, is_blank);
    value(text, reader, name, way)
}

/// How a value was given to its name.
#[derive(Clone, Copy, Default)]
struct Way {
    /// As the argument of an option.
    flag: bool,
    /// In a sentence.
    said: bool,
    /// `NAME=value` without blanks.
    tight: bool,
    /// In markup or a table.
    markup: bool,
}

struct Reader<'t> {
    bytes: &'t [u8],
    at: usize,
}

impl Reader<'_> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn skip(&mut self, most: usize, wanted: impl Fn(u8) -> bool) -> usize {
        let rest = &self.bytes[self.at..];
        let count = rest.iter().take(most).take_while(|byte| wanted(**byte)).count();
        self.at += count;
        count
    }

    fn take(&mut self, text: &[u8]) -> bool {
        let there =
            self.bytes.get(self.at..self.at + text.len()).is_some_and(|it| it.eq_ignore_ascii_case(text));
        self.at += if there { text.len() } else { 0 };
        there
    }

    /// Further words of the name; whether they end in "is".
    fn words(&mut self) -> bool {
        const IS: &[&str] =
            &["is", "ist", "lautet", "es", "est", "è", "é", "är", "er", "jest", "to", "это", "是", "は"];
        for _ in 0..4 {
            let letter =
                self.bytes.get(self.at + 1).is_some_and(|byte| byte.is_ascii_alphabetic() || *byte >= 0x80);
            if self.peek() != Some(b' ') || !letter {
                return false;
            }
            let from = self.at;
            self.at += 1;
            self.skip(24, |byte| is_name(byte) || byte >= 0x80);
            let word = &self.bytes[from + 1..self.at];
            if word.len() <= 6 && IS.iter().any(|is| is.as_bytes().eq_ignore_ascii_case(word)) {
                // "is:" and the like.
                self.skip(1, |byte| byte == b':');
                return true;
            }
        }
        false
    }

    /// Quotes and brackets that close a name or open a value; whether there is a quote.
    fn quotes(&mut self) -> bool {
        let from = self.at;
        self.skip(4, |byte| matches!(byte, b'"' | b'\'' | b'`' | b'\\' | b']' | b')' | b'*'));
        self.bytes[from..self.at].iter().any(|byte| matches!(byte, b'"' | b'\'' | b'`'))
    }

    /// What stands between a name and its value.
    fn operator(&mut self, name: &Range<usize>) -> Option<Way> {
        if self.peek() == Some(b'(') {
            return self.argument().then(Way::default);
        }
        if self.peek() == Some(b'>') {
            self.at += 1;
            return Some(Way { markup: true, ..Way::default() });
        }
        let quoted = self.quotes();
        if self.value_follows() {
            return Some(Way { markup: true, ..Way::default() });
        }
        let spaced = self.skip(24, is_blank) > 0;
        if quoted && self.take(b",") {
            return Some(Way::default());
        }
        if self.take(b"|") {
            return Some(Way { markup: true, ..Way::default() });
        }
        let signs: [&[u8]; 9] = [b":=", b"=>", b"===", b"==", b"->", "：".as_bytes(), b"?=", b"+=", b"||="];
        if signs.iter().any(|sign| self.take(sign)) {
            return Some(Way::default());
        }
        if self.take(b"=") {
            let upper = !self.bytes[name.clone()].iter().any(u8::is_ascii_lowercase);
            let tight = !spaced && !quoted && self.peek().is_some_and(|byte| !is_blank(byte));
            return Some(Way { tight: tight && upper, ..Way::default() });
        }
        if self.take(b"::") {
            return None;
        }
        if self.take(b":") {
            self.annotation();
            return Some(Way::default());
        }
        None
    }

    /// `login("…` or `login(key="…`.
    fn argument(&mut self) -> bool {
        self.at += 1;
        let from = self.at;
        if self.skip(16, |byte| byte.is_ascii_alphabetic() || byte == b'_') > 0 && !self.take(b"=") {
            self.at = from;
        }
        matches!(self.peek(), Some(b'"' | b'\'' | b'`'))
    }

    /// The word "value" and its sign, as in lists of names and values.
    fn value_follows(&mut self) -> bool {
        let from = self.at;
        self.skip(24, |byte| matches!(byte, b' ' | b'\t' | b'\r' | b'\n' | b',' | b'"' | b'\'' | b'\\'));
        if self.at > from && self.take(b"value") {
            self.quotes();
            self.skip(4, is_blank);
            if self.skip(1, |byte| matches!(byte, b':' | b'=')) == 1 {
                return true;
            }
        }
        self.at = from;
        false
    }

    /// A type between colon and equals sign.
    fn annotation(&mut self) {
        let from = self.at;
        self.skip(2, is_blank);
        let typed = self
            .skip(24, |b| b.is_ascii_alphanumeric() || matches!(b, b'&' | b'<' | b'>' | b'\'' | b'_' | b'?'));
        self.skip(2, is_blank);
        if typed == 0 || !self.take(b"=") {
            self.at = from;
        }
    }
}

/// Reads the value at `reader`, after its sign and blanks.
fn value(text: &str, mut reader: Reader<'_>, name: Range<usize>, way: Way) -> Option<Assigned> {
    let bytes = text.as_bytes();
    // Prefixes of strings in Python, C#, C++ and Rust.
    let prefix = reader.peek().is_some_and(|byte| b"brfuLR@$".contains(&byte));
    let next = bytes.get(reader.at + 1);
    if prefix && next.is_some_and(|byte| matches!(byte, b'"' | b'\'')) {
        reader.at += 1;
    }
    let escaped = reader.skip(3, |byte| byte == b'\\') > 0;
    let quote = reader.peek().filter(|byte| matches!(byte, b'"' | b'\'' | b'`'));
    if let Some(quote) = quote {
        reader.skip(3, |byte| byte == quote);
        let from = reader.at;
        reader.skip(VALUE, |byte| byte != quote && byte != b'\n' && !(escaped && byte == b'\\'));
        return Some(Assigned { name, value: bounds(text, from..reader.at), literal: true });
    }
    if escaped {
        return None;
    }
    let from = reader.at;
    let alone = way.tight || way.flag || way.said || starts_line(bytes, name.start);
    reader.skip(VALUE, |byte| {
        let ends = byte.is_ascii_whitespace() || matches!(byte, b'"' | b'\'' | b'`' | b'<');
        let parts = if way.markup {
            byte == b'|'
        } else {
            !alone && matches!(byte, b',' | b';' | b'&' | b'>' | b'|')
        };
        !(ends || parts)
    });
    let mut to = reader.at;
    // A line feed that is written out ends a value, too.
    let written = |pair: &[u8]| pair[0] == b'\\' && matches!(pair[1], b'n' | b'r' | b't');
    to = bytes[from..to].windows(2).position(written).map_or(to, |at| from + at);
    while to > from && matches!(bytes[to - 1], b',' | b';' | b'.' | b':' | b')' | b'}' | b']' | b'\\') {
        to -= 1;
    }
    let literal = way.tight || way.flag || way.markup;
    Some(Assigned { name, value: bounds(text, from..to), literal })
}

/// Whether the name at `at` starts its line, but for what may stand before a setting's name.
fn starts_line(bytes: &[u8], at: usize) -> bool {
    let line = bytes[at.saturating_sub(32)..at].rsplit(|byte| *byte == b'\n').next().unwrap_or_default();
    let whole = line.len() < 32;
    let line = line.trim_ascii();
    whole && (line.is_empty() || [b"export".as_slice(), b"set", b"ENV", b"ARG"].contains(&line))
}

/// The whole characters of a span.
fn bounds(text: &str, span: Range<usize>) -> Range<usize> {
    crate::text::ceil_boundary(text, span.start)..crate::text::floor_boundary(text, span.end).max(span.start)
}

fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-')
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value_of(text: &str, word: &str) -> Option<String> {
        let at = text.find(word).unwrap();
        read(text, at..at + word.len()).map(|found| text[found.value].to_owned())
    }

    #[test]
    fn a_value_is_read_in_every_writing() {
        for text in [
            "api_key = \"v4lue\"",
            "api_key: v4lue",
            "API: api_key=v4lue&x=1",
            "\"api_key\": \"v4lue\",",
            "{\\\"api_key\\\":\\\"v4lue\\\"}",
            "config['api_key'] = 'v4lue'",
            "let api_key: &str = \"v4lue\";",
            "const api_key: string = `v4lue`;",
            "api_key := \"v4lue\"",
            ":api_key => 'v4lue'",
            "--api_key v4lue --more",
            "--api_key=v4lue",
            "<api_key>v4lue</api_key>",
            "set(\"api_key\", \"v4lue\")",
            "my api_key is v4lue.",
            "the api_key of the shop is: v4lue",
            "- name: api_key\n  value: v4lue\n",
            "{\"name\": \"api_key\", \"value\": \"v4lue\"}",
            "| api_key | v4lue |",
            "**api_key**: v4lue",
            "api_key = b'v4lue'",
            "api_key=v4lue\\nother=1",
        ] {
            assert_eq!(value_of(text, "api_key").as_deref(), Some("v4lue"), "{text}");
        }
        assert_eq!(value_of("密码是 v4lue", "密码").as_deref(), Some("v4lue"));
    }

    #[test]
    fn what_is_given_nothing_has_no_value() {
        for text in ["an api_key", "api_key, please", "api_key\n", "the api_key that was lost", "api_key() {"]
        {
            assert_eq!(value_of(text, "api_key"), None, "{text}");
        }
    }
}
