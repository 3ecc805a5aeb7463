//! Other texts that a text holds: escapes read, base64 and hexadecimal decoded, tag characters shown.

use super::{Canon, Offsets, offsets::Rewrite};
use crate::text::next_where;
use std::ops::Range;

/// Runs shorter than these hold nothing worth decoding.
const SHORTEST_BASE64: usize = 16;
const SHORTEST_HEX: usize = 16;

/// Another text, and where its places stand in the text that holds it.
pub(crate) struct View {
    pub(crate) text: String,
    /// Whether hexadecimal digits were decoded.
    pub(crate) is_hexadecimal: bool,
    places: Places,
}

enum Places {
    /// Each place has its own.
    Each(Offsets),
    /// Every place stands for the whole run that was decoded.
    Run(Range<usize>),
}

impl View {
    /// Whether it is a run that was decoded, and not the whole text.
    pub(crate) fn is_run(&self) -> bool {
        matches!(self.places, Places::Run(_))
    }

    /// Where in the holding text a span of the view stands.
    pub(crate) fn original(&self, span: &Range<usize>) -> Range<usize> {
        match &self.places {
            Places::Each(offsets) => offsets.original(span),
            Places::Run(run) => run.clone(),
        }
    }
}

/// The views of a text. Together they are not much longer than the text.
pub(crate) fn views(text: &str) -> Vec<View> {
    let mut views: Vec<View> = unescaped(text).into_iter().collect();
    encoded(text, &mut views);
    views
}

/// Tag characters (U+E0020 to U+E007E), which print nothing and spell ASCII.
pub(crate) fn tagged(text: &str) -> Option<View> {
    // The first byte of their UTF-8.
    next_where(text.as_bytes(), 0, |byte| byte == 0xf3)?;
    let mut rewrite = Rewrite::new(text);
    for (at, c) in text.char_indices() {
        if let '\u{e0020}'..='\u{e007e}' = c {
            let ascii = char::from_u32(c as u32 - 0xe0000).unwrap_or(' ');
            rewrite.replace(at..at + c.len_utf8(), ascii.encode_utf8(&mut [0; 4]));
        }
    }
    rewrite.finish().map(|(text, offsets)| View {
        text,
        is_hexadecimal: false,
        places: Places::Each(offsets),
    })
}

/// The text with its percent-encoding, HTML character references and backslash escapes read.
fn unescaped(text: &str) -> Option<View> {
    let mut rewrite = Rewrite::new(text);
    let mut at = 0;
    while let Some(next) =
        next_where(text.as_bytes(), at, |byte| (byte == b'%') | (byte == b'&') | (byte == b'\\'))
    {
        at = next;
        let (length, decoded) = match text.as_bytes()[at] {
            b'%' => percent(&text[at..]),
            b'&' => reference(&text[at..]),
            _ => backslash(&text[at..]),
        };
        if let Some(decoded) = decoded {
            rewrite.replace(at..at + length, decoded.encode_utf8(&mut [0; 4]));
        }
        at += length.max(1);
    }
    rewrite.finish().map(|(text, offsets)| View {
        text,
        is_hexadecimal: false,
        places: Places::Each(offsets),
    })
}

/// The percent-encoded character (RFC 3986 2.1) that `text` starts with, and its length.
fn percent(text: &str) -> (usize, Option<char>) {
    let byte = |at: usize| {
        let escape = text.get(at..at + 3).filter(|escape| escape.starts_with('%'))?;
        hex(&escape[1..]).and_then(|code| u8::try_from(code).ok())
    };
    let Some(first) = byte(0) else { return (1, None) };
    let length = match first {
        0..=0x7f => 1,
        0xc2..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0..=0xf4 => 4,
        _ => return (3, None),
    };
    let bytes: Option<Vec<u8>> = (0..length).map(|i| byte(3 * i)).collect();
    let decoded =
        bytes.and_then(|bytes| std::str::from_utf8(&bytes).ok().and_then(|text| text.chars().next()));
    decoded.map_or((3, None), |c| (3 * length, Some(c)))
}

/// The HTML character reference that `text` starts with: by number, or one of the names of ASCII signs.
fn reference(text: &str) -> (usize, Option<char>) {
    const NAMES: &[(&str, char)] = &[
        ("commat", '@'),
        ("period", '.'),
        ("plus", '+'),
        ("colon", ':'),
        ("sol", '/'),
        ("lpar", '('),
        ("rpar", ')'),
        ("hyphen", '-'),
        ("dash", '-'),
        ("lowbar", '_'),
        ("num", '#'),
        ("nbsp", ' '),
        ("amp", '&'),
        ("lt", '<'),
        ("gt", '>'),
        ("quot", '"'),
        ("apos", '\''),
    ];
    let Some(end) = text.bytes().take(12).position(|byte| byte == b';') else { return (1, None) };
    let name = &text[1..end];
    let decoded = match name.strip_prefix('#') {
        Some(number) => {
            let code = match number.strip_prefix(['x', 'X']) {
                Some(digits) => hex(digits),
                None => number.parse().ok(),
            };
            code.and_then(char::from_u32)
        }
        None => NAMES.iter().find(|(known, _)| *known == name).map(|(_, sign)| *sign),
    };
    decoded.map_or((1, None), |c| (end + 1, Some(c)))
}

/// The escape of a string in JSON or a program that `text` starts with: `\u0040`, `\x40`, `\n`.
fn backslash(text: &str) -> (usize, Option<char>) {
    let code = |from: usize, to: usize| text.get(from..to).and_then(hex).and_then(char::from_u32);
    match text.as_bytes().get(1) {
        Some(b'u') => code(2, 6).map_or((1, None), |c| (6, Some(c))),
        Some(b'x') => code(2, 4).map_or((1, None), |c| (4, Some(c))),
        Some(b'n' | b'r' | b't') => (2, Some(' ')),
        Some(b'"' | b'/' | b'\\') => (2, Some(char::from(text.as_bytes()[1]))),
        _ => (1, None),
    }
}

fn hex(digits: &str) -> Option<u32> {
    let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    plain.then(|| u32::from_str_radix(digits, 16).ok()).flatten()
}

/// Adds what runs in base64 or hexadecimal say, where that is text.
fn encoded(text: &str, views: &mut Vec<View>) {
    let bytes = text.as_bytes();
    let part = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'-' | b'_');
    let mut at = 0;
    // A run that is long enough covers the last place of the next window.
    while at + SHORTEST_BASE64 <= bytes.len() {
        let last = at + SHORTEST_BASE64 - 1;
        if !part(bytes[last]) {
            at = last + 1;
            continue;
        }
        let start = last - bytes[at..last].iter().rev().take_while(|byte| part(**byte)).count();
        let end = last + bytes[last..].iter().take_while(|byte| part(**byte)).count();
        at = end;
        if end - start >= SHORTEST_BASE64 {
            let padded = end + bytes[end..].iter().take(2).take_while(|byte| **byte == b'=').count();
            let run = &text[start..end];
            let decoded = from_hex(run).map(|text| (text, start..end, true));
            let decoded = decoded.or_else(|| from_base64(run).map(|text| (text, start..padded, false)));
            if let Some((text, run, is_hexadecimal)) = decoded {
                // What stands in it stands for the whole run anyhow, so that no offsets are lost here.
                let text = Canon::new(&text).text().to_owned();
                views.push(View { text, is_hexadecimal, places: Places::Run(run) });
            }
        }
    }
}

fn from_hex(run: &str) -> Option<String> {
    let long = run.len() >= SHORTEST_HEX && run.len().is_multiple_of(2);
    if !long || !run.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let byte =
        |pair: &[u8]| std::str::from_utf8(pair).ok().and_then(hex).and_then(|code| u8::try_from(code).ok());
    readable(run.as_bytes().chunks(2).map(byte).collect::<Option<_>>()?)
}

/// Base64 in either alphabet (RFC 4648), without its padding.
pub(crate) fn from_base64(run: &str) -> Option<String> {
    if run.len() % 4 == 1 {
        return None;
    }
    let mut bytes = Vec::with_capacity(run.len() / 4 * 3 + 2);
    let (mut buffer, mut bits) = (0u32, 0);
    for byte in run.bytes() {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' | b'-' => 62,
            _ => 63,
        };
        buffer = (buffer << 6) | u32::from(value);
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push((buffer >> bits) as u8);
            buffer &= (1 << bits) - 1;
            // Most runs are no text, which shows early.
            if bytes.last().is_some_and(|byte| *byte < b' ' && !matches!(byte, b'\n' | b'\r' | b'\t')) {
                return None;
            }
        }
    }
    readable(bytes)
}

/// Bytes that are text which a person or program can read.
fn readable(bytes: Vec<u8>) -> Option<String> {
    let text = String::from_utf8(bytes).ok()?;
    text.chars().all(|c| !c.is_control() || c.is_ascii_whitespace()).then_some(text)
}
