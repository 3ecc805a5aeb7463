//! What `/anonymize` may do with a value: Presidio's operators and their parameters.

use std::collections::HashMap;
use std::fmt::Write;

use rustls::crypto::ring;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256, Sha512};

use super::Refusal;

/// The operators that can be named.
pub(super) const NAMES: [&str; 5] = ["hash", "keep", "mask", "redact", "replace"];
/// Shorter salts can be tried out.
const LEAST_SALT: usize = 16;

/// What is done with the values of an entity.
pub(super) enum Operator {
    /// Another text in its place; none is the entity's name in angle brackets.
    Replace(Option<String>),
    /// Nothing in its place.
    Redact,
    /// One character in place of some.
    Mask { with: char, count: usize, from_end: bool },
    /// A hash in hexadecimal of the value and the salt behind it, which is random for each value if none is given.
    Hash { long: bool, salt: Option<String> },
    /// The value itself.
    Keep,
}

/// Operators by entity.
pub(super) struct Operators<'r> {
    by_entity: HashMap<&'r str, Operator>,
    default: Operator,
}

impl<'r> Operators<'r> {
    /// Reads `{"DEFAULT" or an entity: {"type", …}}`.
    pub(super) fn read(anonymizers: Option<&'r Value>) -> Result<Self, Refusal> {
        let mut by_entity = HashMap::new();
        match anonymizers {
            None | Some(Value::Null) => {}
            Some(Value::Object(map)) => {
                for (entity, parameters) in map {
                    by_entity.insert(entity.as_str(), Operator::read(parameters)?);
                }
            }
            Some(_) => return Err(Refusal::unprocessable("'anonymizers' must be an object")),
        }
        let default = by_entity.remove("DEFAULT").unwrap_or(Operator::Replace(None));
        Ok(Self { by_entity, default })
    }

    pub(super) fn of(&self, entity: &str) -> &Operator {
        self.by_entity.get(entity).unwrap_or(&self.default)
    }
}

impl Operator {
    fn read(parameters: &Value) -> Result<Self, Refusal> {
        let kind = parameters.get("type").and_then(Value::as_str);
        let Some((kind, fields)) = kind.zip(parameters.as_object()) else {
            return Err(wrong("each of 'anonymizers' must be an object with a 'type'"));
        };
        match kind {
            "replace" => match fields.get("new_value") {
                None | Some(Value::Null) => Ok(Self::Replace(None)),
                Some(Value::String(text)) => Ok(Self::Replace((!text.is_empty()).then(|| text.clone()))),
                Some(_) => Err(wrong("'new_value' must be a string")),
            },
            "redact" => Ok(Self::Redact),
            "keep" => Ok(Self::Keep),
            "mask" => Self::mask(fields),
            "hash" => Self::hash(fields),
            "encrypt" => Err(wrong("the operator 'encrypt' is not supported: no key is to travel here")),
            "custom" => Err(Refusal::bad("the operator 'custom' is not supported over HTTP")),
            _ => Err(wrong(&format!("an operator's 'type' must be one of {}", NAMES.join(", ")))),
        }
    }

    fn mask(fields: &Map<String, Value>) -> Result<Self, Refusal> {
        let mut with = fields.get("masking_char").and_then(Value::as_str).unwrap_or_default().chars();
        let (Some(with), None) = (with.next(), with.next()) else {
            return Err(wrong("'masking_char' must be one character"));
        };
        let Some(count) = fields.get("chars_to_mask").and_then(Value::as_i64) else {
            return Err(wrong("'chars_to_mask' must be a whole number"));
        };
        let from_end = match fields.get("from_end") {
            None | Some(Value::Null) => false,
            Some(value) => value.as_bool().ok_or_else(|| wrong("'from_end' must be true or false"))?,
        };
        Ok(Self::Mask { with, count: usize::try_from(count).unwrap_or(0), from_end })
    }

    fn hash(fields: &Map<String, Value>) -> Result<Self, Refusal> {
        let long = match fields.get("hash_type").map(Value::as_str) {
            None | Some(Some("sha256")) => false,
            Some(Some("sha512")) => true,
            Some(_) => return Err(wrong("'hash_type' must be 'sha256' or 'sha512'")),
        };
        let salt = match fields.get("salt") {
            None | Some(Value::Null) => None,
            Some(Value::String(salt)) if salt.len() >= LEAST_SALT => Some(salt.clone()),
            Some(_) => return Err(wrong("'salt' must be a string of at least 16 bytes, or left out")),
        };
        Ok(Self::Hash { long, salt })
    }

    /// The operator's name in answers.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Replace(_) => "replace",
            Self::Redact => "redact",
            Self::Mask { .. } => "mask",
            Self::Hash { .. } => "hash",
            Self::Keep => "keep",
        }
    }

    /// What stands in place of `value`, one of `entity`.
    pub(super) fn operate(&self, entity: &str, value: &str) -> Result<String, Refusal> {
        Ok(match self {
            Self::Replace(Some(text)) => text.clone(),
            Self::Replace(None) => format!("<{entity}>"),
            Self::Redact => String::new(),
            Self::Keep => value.to_owned(),
            Self::Mask { with, count, from_end } => {
                let length = value.chars().count();
                let count = length.min(*count);
                let masked = if *from_end { length - count..length } else { 0..count };
                value
                    .chars()
                    .enumerate()
                    .map(|(at, c)| if masked.contains(&at) { *with } else { c })
                    .collect()
            }
            Self::Hash { long, salt } => {
                let mut random = [0; 32];
                let salt = match salt {
                    Some(salt) => salt.as_bytes(),
                    None => {
                        let source = ring::default_provider().secure_random;
                        source.fill(&mut random).map_err(|_| crate::error::ApiError::Internal)?;
                        &random
                    }
                };
                let salted = [value.as_bytes(), salt].concat();
                if *long { hex(&Sha512::digest(salted)) } else { hex(&Sha256::digest(salted)) }
            }
        })
    }
}

fn wrong(message: &str) -> Refusal {
    Refusal::unprocessable(format!("Invalid input: {message}"))
}

fn hex(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(2 * bytes.len());
    // Writing into a String has no way to fail.
    bytes.iter().for_each(|byte| write!(out, "{byte:02x}").unwrap_or_default());
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn done(parameters: &Value, value: &str) -> Result<String, String> {
        let operated = Operator::read(parameters).and_then(|operator| operator.operate("X", value));
        operated.map_err(|Refusal(_, message)| message)
    }

    #[test]
    fn a_hash_is_that_of_the_value_with_the_salt_behind_it() {
        // Python: hashlib.sha256(b"ada@example.org" + b"0123456789abcdef").hexdigest(), and sha512.
        let salted = |kind| json!({ "type": "hash", "hash_type": kind, "salt": "0123456789abcdef" });
        assert_eq!(
            done(&salted("sha256"), "ada@example.org").unwrap(),
            "af31cf1da22fcbede9b6a871d1984dea366e5348d308800b5967a6e6bb95c123"
        );
        assert_eq!(
            done(&salted("sha512"), "ada@example.org").unwrap(),
            "f7c351e07d20c3f885235c205ccc633e81e5c732b298a898ae7703dca4200b838fb06ad18d94dc5ad65cd7f5f0e2ab34536924a2906f9ca0285e591a31ab60c0"
        );
        let bare = json!({ "type": "hash" });
        let (one, other) = (done(&bare, "ada").unwrap(), done(&bare, "ada").unwrap());
        assert!(one.len() == 64 && one != other, "a salt of its own for each value");
    }

    #[test]
    fn a_mask_counts_characters_from_either_end_and_stays_within_the_value() {
        let mask = |count: i64, from_end| json!({ "type": "mask", "masking_char": "*", "chars_to_mask": count, "from_end": from_end });
        assert_eq!(done(&mask(2, false), "äöü1").unwrap(), "**ü1");
        assert_eq!(done(&mask(2, true), "äöü1").unwrap(), "äö**");
        assert_eq!(done(&mask(9, true), "äöü1").unwrap(), "****");
        assert_eq!(done(&mask(-1, false), "äöü1").unwrap(), "äöü1");
    }

    #[test]
    fn what_can_not_be_done_is_told() {
        for (parameters, words) in [
            (json!({ "type": "encrypt", "key": "hunter2" }), "encrypt"),
            (json!({ "type": "custom" }), "custom"),
            (json!({ "type": "hunter2" }), "one of hash, keep"),
            (json!({ "new_value": "x" }), "'type'"),
            (json!("redact"), "'type'"),
            (json!({ "type": "mask", "masking_char": "**", "chars_to_mask": 1 }), "masking_char"),
            (json!({ "type": "mask", "masking_char": "*" }), "chars_to_mask"),
            (json!({ "type": "hash", "hash_type": "md5" }), "sha256"),
            (json!({ "type": "hash", "salt": "hunter2" }), "16 bytes"),
        ] {
            let told = done(&parameters, "x").unwrap_err();
            assert!(told.contains(words) && !told.contains("hunter2"), "{told}");
        }
    }
}
