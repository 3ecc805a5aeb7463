//! Whether a place in a text is within an address: an URL, the destination of a link or an image, a tag of HTML.
//!
//! An answer may have been written by whoever wrote a document in the question. A placeholder within an address is
//! harmless; the original in its place would be sent to whoever the address belongs to as soon as somebody's program
//! shows the answer. When in doubt a place is within one: then a placeholder stays.

/// Where a text is after what was read of it so far. Holds no text, only what it has been.
#[derive(Clone, Debug, Default)]
pub(crate) struct Place {
    around: Around,
    word: Word,
    line: Line,
    /// The last four characters in small letters, the latest first; none of them is long.
    last: [char; 4],
    /// How many line feeds in a row, blanks aside.
    feeds: u8,
}

/// The construct around the place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum Around {
    #[default]
    Text,
    /// `](`, `url(`: so many brackets are open.
    Brackets(u32),
    /// `<` of a destination that is in such.
    Angles,
    /// A link's definition, `[label]:`, before its destination.
    Defined,
    /// In the destination of one.
    Definition,
    /// `<img …`, and the quote of the attribute if it is within one.
    Tag(Option<char>),
}

/// What the characters since the last blank are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum Word {
    #[default]
    Plain,
    /// A name, a point, and so many letters.
    Host(u32),
    Address,
}

/// Whether a link's definition may be under way in this line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum Line {
    #[default]
    Start,
    Opened,
    Label,
    Other,
}

impl Place {
    /// Whether what comes next is within an address.
    pub(crate) fn is_address(&self) -> bool {
        self.word == Word::Address || self.around != Around::Text
    }

    /// Reads what was written.
    pub(crate) fn read(&mut self, text: &str) {
        text.chars().for_each(|c| self.next(c));
    }

    /// Reads one character.
    pub(crate) fn next(&mut self, c: char) {
        self.feeds = match c {
            '\n' => self.feeds + 1,
            ' ' | '\t' | '\r' => self.feeds,
            _ => 0,
        };
        // No construct of Markdown goes over an empty line; within quotes an attribute may.
        let quoted = matches!(self.around, Around::Tag(Some(_)));
        if self.feeds >= 2 && !quoted {
            *self = Self { feeds: 1, ..Self::default() };
        }
        self.around = self.construct(c);
        self.word = self.word(c);
        self.line = self.line(c);
        let [a, b, c3, _] = self.last;
        self.last = [c.to_ascii_lowercase(), a, b, c3];
    }

    fn construct(&self, c: char) -> Around {
        let escaped = self.last[0] == '\\' && self.last[1] != '\\';
        match (&self.around, c) {
            (Around::Text, '(') if self.last[0] == ']' || self.ends_with("url") => Around::Brackets(1),
            (Around::Text, ':') if self.last[0] == ']' && self.line == Line::Label => Around::Defined,
            (Around::Text, c) if self.last[0] == '<' && (c.is_ascii_alphabetic() || "/!?".contains(c)) => {
                Around::Tag(None)
            }
            (Around::Brackets(1), '<') if self.last[0] == '(' => Around::Angles,
            (Around::Angles, '>' | '\n') if !escaped => Around::Brackets(1),
            (Around::Brackets(open), '(') if !escaped => Around::Brackets(open.saturating_add(1)),
            (Around::Brackets(1), ')') if !escaped => Around::Text,
            (Around::Brackets(open), ')') if !escaped => Around::Brackets(open - 1),
            (Around::Defined, c) if !c.is_ascii_whitespace() => Around::Definition,
            (Around::Definition, c) if c.is_ascii_whitespace() => Around::Text,
            (Around::Tag(None), '>') => Around::Text,
            (Around::Tag(None), '"' | '\'') if self.last.iter().find(|c| **c != ' ') == Some(&'=') => {
                Around::Tag(Some(c))
            }
            (Around::Tag(Some(quote)), c) if *quote == c => Around::Tag(None),
            (around, _) => around.clone(),
        }
    }

    fn word(&self, c: char) -> Word {
        if c.is_ascii_whitespace() || c == '<' {
            return Word::Plain;
        }
        // Not before the next character is it clear what the last ones were.
        if (c == '/' && self.ends_with(":/")) || (c == '.' && self.ends_with("www")) {
            return Word::Address;
        }
        match self.word {
            Word::Plain if c == '.' && self.last[0].is_alphanumeric() => Word::Host(0),
            Word::Host(letters) if c.is_alphabetic() => Word::Host(letters.saturating_add(1)),
            // Another point starts another label, what follows a host is a port or a path, and no other character
            // makes a host of a word that is none.
            Word::Host(2..) if "/?#\\".contains(c) => Word::Address,
            Word::Host(letters) if letters < 2 && c != '-' && !c.is_alphanumeric() => Word::Plain,
            Word::Host(letters) => Word::Host(letters),
            // An autolink's end.
            Word::Address if c == '>' => Word::Plain,
            ref word => word.clone(),
        }
    }

    fn line(&self, c: char) -> Line {
        match (&self.line, c) {
            (_, '\n') | (Line::Start, ' ' | '\t' | '>' | '-' | '*' | '+' | '.' | '0'..='9') => Line::Start,
            (Line::Start, '[') => Line::Opened,
            // A footnote is text.
            (Line::Opened, '^') => Line::Other,
            (Line::Opened | Line::Label, _) => Line::Label,
            _ => Line::Other,
        }
    }

    /// Whether the characters before this one are these, in small letters.
    fn ends_with(&self, text: &str) -> bool {
        text.chars().rev().zip(self.last).all(|(a, b)| a == b)
    }
}

/// Reads the text of a JSON document as the strings in it will be read.
#[derive(Clone, Debug, Default)]
pub(crate) struct Unescaped {
    /// After a backslash: how many characters of the escape are still to come, and what they say so far.
    escape: Option<(u8, u32)>,
}

impl Unescaped {
    /// Reads what was written.
    pub(crate) fn read(&mut self, text: &str, place: &mut Place) {
        for c in text.chars() {
            match self.escape.take() {
                None if c == '\\' => self.escape = Some((0, 0)),
                // Another string has begun or one has ended.
                None if c == '"' => *place = Place::default(),
                None => place.next(c),
                Some((0, _)) if c == 'u' => self.escape = Some((4, 0)),
                Some((0, _)) => place.next(match c {
                    'n' | 'r' | 'f' => '\n',
                    't' => '\t',
                    other => other,
                }),
                Some((left, code)) => {
                    let code = code * 16 + c.to_digit(16).unwrap_or(0);
                    if left > 1 {
                        self.escape = Some((left - 1, code));
                    } else {
                        place.next(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> bool {
        let mut place = Place::default();
        place.read(text);
        place.is_address()
    }

    #[test]
    fn urls_destinations_and_attributes_are_addresses() {
        for text in [
            "![x](https://evil.example/?q=",
            "[x](/path/",
            "[x](<a b) ",
            "[x](a(b)c",
            r"[x](a\)b",
            "see https://evil.example/?q=",
            "`https://evil.example/?q=",
            "HTTPS://evil/\"",
            "<https://evil/",
            "evil.example/",
            "evil.co.uk:8080/x?",
            "www.",
            "<img src='//evil/",
            "<img src=\"a>b\n\n",
            "<a\nhref = x",
            "[ref]: <https://evil/",
            "> - [ref]:\n //evil/",
            "[ref]: ",
            "background: URL(//evil/",
        ] {
            assert!(address(text), "{text}");
        }
    }

    #[test]
    fn what_stands_beside_an_address_is_text() {
        for text in [
            "",
            "write to ",
            "[x](https://a.example) ",
            "[x](<a b>) and ",
            "[x](a(b)c) ",
            "see https://a.example/ or ",
            "<https://a.example>",
            "<img src=\"a>b\"> ",
            "Ada <",
            "**[Contact]:** ",
            "[^1]: ",
            "[ref]: /x ",
            "I said [so]: ",
            "a <b and so on\n\nThen ",
            "end of sentence.Next ",
            "and/or: ",
            "version 1.2/",
            "e.g./",
            "f(x) = (",
            "10:30 ",
            "|",
        ] {
            assert!(!address(text), "{text}");
        }
    }

    #[test]
    fn in_json_an_address_is_seen_through_escapes_and_ends_with_its_string() {
        let address = |text: &str| {
            let (mut place, mut unescaped) = (Place::default(), Unescaped::default());
            unescaped.read(text, &mut place);
            place.is_address()
        };
        for text in
            [r#"{"a":"https:\/\/evil\/?q="#, r#"{"a":"https\u003a//evil/"#, r#"{"a":"![x]\u0028\"b\""#]
        {
            assert!(address(text), "{text}");
        }
        for text in [r#"{"a":"https://a.example/","to":""#, r#"{"a":"https://a.example/\nsee "#] {
            assert!(!address(text), "{text}");
        }
    }
}
