//! The shape of a placeholder: `[EMAIL_ADDRESS_1]`, an entity's name and a number in brackets.
//!
//! Plain ASCII, the same in JSON, closed by a bracket (so that number 1 is no prefix of number 10), and the name
//! tells a model what kind of thing stands there.

use crate::{pii, policy, secrets};
use std::ops::Range;

/// Longest number of a placeholder, in digits; it fits a `u64` with room to count on.
const MAX_DIGITS: usize = 18;

/// All tokens of `text` that have the shape of a placeholder with a known entity's name, whoever wrote them.
pub fn placeholders(text: &str) -> impl Iterator<Item = &str> {
    text.match_indices('[').filter_map(|(at, _)| at_start(&text[at..]))
}

/// The placeholder that `text` starts with.
fn at_start(text: &str) -> Option<&str> {
    let inner = text.strip_prefix('[')?;
    let end = inner.bytes().take(max_len()).position(|byte| byte == b']')?;
    parse_name(&inner[..end]).map(|_| &text[..end + 2])
}

/// Whether `token` is the inside of a placeholder.
pub(crate) fn is_name(token: &str) -> bool {
    let shaped =
        token.starts_with(|c: char| c.is_ascii_uppercase()) && token.ends_with(|c: char| c.is_ascii_digit());
    shaped && parse_name(token).is_some()
}

/// Writes the placeholder of `entity` with `number`.
pub(crate) fn write(entity: &str, number: u64) -> String {
    format!("[{entity}_{number}]")
}

/// Between an entity and the letters of a hash.
const HASH: &str = "_HASH_";

/// Writes the mark of a value of `entity` whose keyed hash has these letters.
pub(crate) fn write_hash(entity: &str, letters: &str) -> String {
    format!("[{entity}{HASH}{letters}]")
}

/// Where the marks with hashes stand in a text, whoever wrote them: nothing but letters of a hash fits into one.
pub(crate) fn hashes(text: &str) -> impl Iterator<Item = Range<usize>> {
    text.match_indices(HASH).filter_map(|(at, _)| {
        let open = text[..at].rfind('[')?;
        let letters = at + HASH.len();
        let close = letters + text[letters..].bytes().take(64).position(|byte| byte == b']')?;
        let entity = &text[open + 1..at];
        let known = entity == secrets::ENTITY || pii::entity(entity).is_some();
        (known && policy::is_hash(&text[letters..close])).then_some(open..close + 1)
    })
}

/// Where placeholders and other marks stand in a text, whoever wrote them.
pub(crate) fn marks(text: &str) -> Vec<Range<usize>> {
    let plain = text.match_indices('[').filter_map(|(at, _)| {
        let inside = &text[at + 1..];
        let end = inside.bytes().take(max_len()).position(|byte| byte == b']')?;
        let name = &inside[..end];
        let known = name == secrets::ENTITY || pii::entity(name).is_some() || parse_name(name).is_some();
        known.then_some(at..at + end + 2)
    });
    let mut marks: Vec<_> = plain.chain(hashes(text)).collect();
    marks.sort_by_key(|mark| mark.start);
    marks
}

/// What stands at an opening bracket.
pub(crate) enum Written {
    /// Something in the shape of a placeholder, so many bytes long: its inside in the one spelling that is issued, with
    /// the closing bracket.
    Whole { inside: String, len: usize },
    /// The beginning of such, up to the end of the text.
    Cut(String),
    /// Something else.
    Other,
}

/// Reads what may be a placeholder as a model would spell it: small letters, blanks or dashes for underscores, and
/// `escape` before brackets and underscores. No inside is longer than `longest`.
pub(crate) fn read(text: &str, escape: &str, longest: usize) -> Written {
    let (mut inside, mut at) = (String::new(), 0);
    let mut opened = false;
    loop {
        let mut rest = &text[at..];
        if let Some(behind) = rest.strip_prefix(escape) {
            if !behind.is_empty() && !behind.starts_with(['[', ']', '_']) {
                return Written::Other;
            }
            at += escape.len();
            rest = behind;
        } else if !rest.is_empty() && escape.starts_with(rest) {
            return Written::Cut(inside);
        }
        let Some(&byte) = rest.as_bytes().first() else { return Written::Cut(inside) };
        at += 1;
        match byte {
            b'[' if !opened => {
                opened = true;
                continue;
            }
            _ if !opened => return Written::Other,
            b']' => {
                inside.push(']');
                return Written::Whole { inside, len: at };
            }
            b'_' | b' ' | b'-' => inside.push('_'),
            byte if byte.is_ascii_alphanumeric() => inside.push(char::from(byte.to_ascii_uppercase())),
            _ => return Written::Other,
        }
        if inside.len() > longest {
            return Written::Other;
        }
    }
}

/// What a placeholder says: the entity, and its number if it has one.
pub(crate) type Said = (&'static str, Option<u64>);

/// Everything in `text` that could be read as a placeholder, however it is spelled.
pub(crate) fn spelled(text: &str) -> impl Iterator<Item = Said> {
    text.match_indices('[').filter_map(|(at, _)| {
        let Written::Whole { inside, .. } = read(&text[at..], "\\", max_len()) else { return None };
        let inside = inside.trim_end_matches(']');
        match parse_name(inside) {
            Some((entity, number)) => Some((entity, Some(number))),
            None => pii::entity(inside).map(|entity| (entity, None)),
        }
    })
}

fn parse_name(name: &str) -> Option<(&'static str, u64)> {
    let (entity, number) = name.rsplit_once('_')?;
    let plain = number.bytes().all(|byte| byte.is_ascii_digit()) && !number.starts_with('0');
    if !plain || number.len() > MAX_DIGITS {
        return None;
    }
    let entity = if entity == secrets::ENTITY { secrets::ENTITY } else { pii::entity(entity)? };
    Some((entity, number.parse().ok()?))
}

fn max_len() -> usize {
    // Name, underscore, number, bracket; names are far shorter than this.
    64 + MAX_DIGITS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_known_names_with_a_plain_number_are_placeholders() {
        let text = "[EMAIL_ADDRESS_1] [SECRET_20] [PERSON_1] [EMAIL_ADDRESS_] [EMAIL_ADDRESS_01] \
                    [EMAIL_ADDRESS_1 [IBAN_CODE_3]] [[US_SSN_4]]";
        let found: Vec<_> = placeholders(text).collect();
        assert_eq!(found, ["[EMAIL_ADDRESS_1]", "[SECRET_20]", "[IBAN_CODE_3]", "[US_SSN_4]"]);
    }

    #[test]
    fn what_could_be_read_as_a_placeholder_is_seen_in_any_spelling() {
        let text = r"[Email Address 4] \[US\_SSN\_2\] [EMAIL_ADDRESS] [Person 1] [1] [SECRET_3";
        let seen: Vec<_> = spelled(text).collect();
        assert_eq!(seen, [("EMAIL_ADDRESS", Some(4)), ("US_SSN", Some(2)), ("EMAIL_ADDRESS", None)]);
    }

    #[test]
    fn what_is_written_is_read_back() {
        let built_in = pii::built_in().iter().flat_map(|pack| &pack.rows);
        for entity in built_in.map(|row| row.entity.as_str()).chain([secrets::ENTITY]) {
            let token = write(entity, 12);
            assert_eq!(at_start(&token), Some(token.as_str()));
            assert_eq!(spelled(&token).collect::<Vec<_>>(), [(entity, Some(12))]);
        }
    }
}
