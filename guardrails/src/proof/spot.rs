//! What stands at a place of a JSON document: a key, a text or a number, and under which key.

use std::ops::Range;

use memchr::{memchr, memchr2};

/// A key, text or number of a JSON document, as it is written there.
#[derive(Debug, PartialEq)]
pub struct Spot<'d> {
    /// What it is.
    pub kind: Kind,
    /// How many objects and arrays it stands in.
    pub depth: usize,
    /// The last key before it.
    pub key: &'d str,
    /// What is written there, without quotes.
    pub text: &'d str,
    /// The original that was found is one that must stand by itself, so short that it may also be there by chance.
    pub by_chance: bool,
}

/// What a [`Spot`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A key.
    Key,
    /// A text.
    Text,
    /// A number.
    Number,
}

/// The one place that holds all of `hit`, and where it is; none if `hit` reaches beyond one.
pub(super) fn at<'d>(document: &'d [u8], hit: &Range<usize>) -> Option<(Spot<'d>, Range<usize>)> {
    let (mut at, mut depth, mut key) = (0, 0_usize, "");
    while at <= hit.start {
        let start = at;
        let (kind, place) = match document.get(at)? {
            b'"' => {
                let end = string_end(document, at);
                at = end + 1;
                let rest = document.get(at..).unwrap_or_default();
                let kind = if rest.trim_ascii_start().starts_with(b":") { Kind::Key } else { Kind::Text };
                (kind, start + 1..end)
            }
            b'-' | b'0'..=b'9' => {
                let number = |byte: &u8| byte.is_ascii_digit() || b"+-.eE".contains(byte);
                at += document[at..].iter().take_while(|byte| number(byte)).count();
                (Kind::Number, start..at)
            }
            byte => {
                match byte {
                    b'{' | b'[' => depth += 1,
                    b'}' | b']' => depth = depth.saturating_sub(1),
                    _ => {}
                }
                at += 1;
                continue;
            }
        };
        let text = std::str::from_utf8(document.get(place.clone())?).ok()?;
        if place.start <= hit.start && hit.end <= place.end {
            return Some((Spot { kind, depth, key, text, by_chance: false }, place));
        }
        if kind == Kind::Key {
            key = text;
        }
    }
    None
}

/// Where the strings of a document are, without quotes; keys, too.
pub(super) fn strings(document: &[u8]) -> impl Iterator<Item = Range<usize>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let start = at + memchr(b'"', document.get(at..)?)? + 1;
        let end = string_end(document, start - 1);
        at = end + 1;
        (start <= end).then_some(start..end)
    })
}

/// Where the string ends that begins with the quote at `start`; the document's end if it has none.
fn string_end(document: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while let Some(found) = document.get(at..).and_then(|rest| memchr2(b'"', b'\\', rest)) {
        let found = at + found;
        if document[found] == b'"' {
            return found;
        }
        at = found + 2;
    }
    document.len()
}
