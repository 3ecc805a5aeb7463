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
    text.match_indices('[').filter_map(|(at, _)| at_start(&text[at..]).map(|found| found.token))
}

/// A placeholder taken apart.
pub(crate) struct Parsed<'t> {
    pub(crate) token: &'t str,
    pub(crate) entity: &'static str,
    pub(crate) number: u64,
}

/// The placeholder that `text` starts with.
pub(crate) fn at_start(text: &str) -> Option<Parsed<'_>> {
    let inner = text.strip_prefix('[')?;
    let end = inner.bytes().take(max_len()).position(|byte| byte == b']')?;
    let (entity, number) = parse_name(&inner[..end])?;
    Some(Parsed { token: &text[..end + 2], entity, number })
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
    fn what_is_written_is_read_back() {
        let built_in = pii::built_in().iter().flat_map(|pack| &pack.rows);
        for entity in built_in.map(|row| row.entity.as_str()).chain([secrets::ENTITY]) {
            let token = write(entity, 12);
            let parsed = at_start(&token).unwrap();
            assert_eq!((parsed.entity, parsed.number, parsed.token), (entity, 12, token.as_str()));
        }
    }
}
