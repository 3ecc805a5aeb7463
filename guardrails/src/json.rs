//! Redaction inside JSON: of values, and of JSON documents that stand in strings.

use crate::channel::Reading;
use crate::guard::Guard;
use crate::media::is_media;
use crate::text_file::TextFile;
use crate::trail::Step;
use crate::vault::{Blocked, Vault};
use serde::de::IgnoredAny;
use serde_json::{Map, Value};

/// Numbers with fewer digits hold no personal data that a pattern could tell; values found elsewhere are looked for in them.
const LONG_NUMBER: usize = 9;
/// How deep documents within strings within documents are read; deeper ones are read as text.
pub(crate) const DEEPEST: usize = 4;

pub(crate) fn redact(
    vault: &mut Vault,
    guard: &Guard,
    value: &mut Value,
    path: &[&str],
    reading: &Reading<'_>,
) -> Result<bool, Blocked> {
    let label = path.last().copied().unwrap_or("");
    let mut changed = false;
    match value {
        Value::String(text) if !is_media(text) && !(reading.skip)(path, text) => {
            if let Some(redacted) = redact_string(vault, guard, text, label, 0)? {
                *text = redacted;
                changed = true;
            }
        }
        Value::Number(number) => {
            let text = number.to_string();
            let text = whole_part(&text);
            if (is_long(text) || vault.is_known(text))
                && !(reading.skip)(path, text)
                && let Some(redacted) = vault.redact_labelled(guard, text, label)?
            {
                *value = Value::String(redacted);
                changed = true;
            }
        }
        Value::Array(items) => {
            for (number, item) in items.iter_mut().enumerate() {
                vault.trail.enter(|| Step::Item(number));
                changed |= redact_inside(vault, guard, item, path, reading)?;
                vault.trail.leave();
            }
        }
        Value::Object(map) => {
            changed |= redact_keys(vault, guard, map)?;
            for (key, item) in map {
                let path: Vec<&str> = path.iter().copied().chain([key.as_str()]).collect();
                vault.trail.enter(|| Step::Key(key.clone()));
                changed |= redact_inside(vault, guard, item, &path, reading)?;
                vault.trail.leave();
            }
        }
        Value::Null | Value::Bool(_) | Value::String(_) => {}
    }
    Ok(changed)
}

/// A value in another one, in which somebody else may speak.
fn redact_inside(
    vault: &mut Vault,
    guard: &Guard,
    item: &mut Value,
    path: &[&str],
    reading: &Reading<'_>,
) -> Result<bool, Blocked> {
    if !vault.tells_channels() {
        return redact(vault, guard, item, path, reading);
    }
    let around = vault.channel;
    vault.channel = (reading.channel)(path, item).unwrap_or(around);
    let changed = redact(vault, guard, item, path, reading);
    vault.channel = around;
    changed
}

fn redact_keys(vault: &mut Vault, guard: &Guard, map: &mut Map<String, Value>) -> Result<bool, Blocked> {
    let mut redacted = Vec::with_capacity(map.len());
    for (number, key) in map.keys().enumerate() {
        vault.trail.enter(|| Step::Name(number));
        redacted.push(redact_key(vault, guard, key)?);
        vault.trail.leave();
    }
    let changed = redacted.iter().any(Option::is_some);
    if changed {
        for ((key, item), redacted) in std::mem::take(map).into_iter().zip(redacted) {
            let mut key = redacted.unwrap_or(key);
            // Two prints of one value have one placeholder; neither entry may be lost.
            while map.contains_key(&key) {
                key.push('_');
            }
            map.insert(key, item);
        }
    }
    Ok(changed)
}

/// A value that is known may also be a word, and a word as key belongs to the protocol.
fn redact_key(vault: &mut Vault, guard: &Guard, key: &str) -> Result<Option<String>, Blocked> {
    let word = key.bytes().all(|byte| byte.is_ascii_alphabetic() || b"_$".contains(&byte));
    if word && vault.is_repeating() { Ok(None) } else { vault.redact(guard, key) }
}

fn redact_string(
    vault: &mut Vault,
    guard: &Guard,
    text: &str,
    label: &str,
    depth: usize,
) -> Result<Option<String>, Blocked> {
    if depth < DEEPEST
        && let Some(file) = TextFile::read(text)
    {
        vault.trail.enter(|| Step::Document);
        let redacted = redact_string(vault, guard, &file.text, label, depth + 1);
        vault.trail.leave();
        return Ok(redacted?.map(|text| file.with(&text)));
    }
    if is_document(text, depth) {
        vault.trail.enter(|| Step::Document);
        let redacted = redact_document(vault, guard, text, label, depth);
        vault.trail.leave();
        redacted
    } else {
        vault.redact_labelled(guard, text, label)
    }
}

/// Whether a text that stands in so many documents is one itself, and read as one.
pub(crate) fn is_document(text: &str, depth: usize) -> bool {
    depth < DEEPEST
        && text.trim_start().starts_with(['{', '['])
        && serde_json::from_str::<IgnoredAny>(text).is_ok()
}

/// Rewrites the strings and numbers of a JSON document in which something is found and keeps all other bytes.
fn redact_document(
    vault: &mut Vault,
    guard: &Guard,
    text: &str,
    label: &str,
    depth: usize,
) -> Result<Option<String>, Blocked> {
    let mut label = label.to_owned();
    let mut out = String::new();
    // Everything before `copied` is in `out`.
    let (mut copied, mut at, mut number) = (0, 0, 0);
    while let Some(&byte) = text.as_bytes().get(at) {
        let token = match byte {
            b'"' => &text[at..at + string_len(&text[at..])],
            b'-' | b'0'..=b'9' => &text[at..at + number_len(&text[at..])],
            _ => {
                at += 1;
                continue;
            }
        };
        let start = at;
        at += token.len();
        vault.trail.enter(|| Step::Item(number));
        number += 1;
        let redacted = if byte == b'"' {
            // A lone surrogate is JSON and no string; then the token is read as it is written.
            let inner = serde_json::from_str(token).unwrap_or_else(|_| token[1..token.len() - 1].to_owned());
            if text[at..].trim_start().starts_with(':') {
                let redacted = redact_key(vault, guard, &inner)?;
                label = inner;
                redacted
            } else if is_media(&inner) {
                None
            } else {
                redact_string(vault, guard, &inner, &label, depth + 1)?
            }
        } else if is_long(token) || vault.is_known(whole_part(token)) {
            vault.redact_labelled(guard, whole_part(token), &label)?
        } else {
            None
        };
        vault.trail.leave();
        if let Some(redacted) = redacted {
            out.push_str(&text[copied..start]);
            out.push_str(&Value::String(redacted).to_string());
            copied = at;
        }
    }
    if copied == 0 {
        return Ok(None);
    }
    out.push_str(&text[copied..]);
    Ok(Some(out))
}

/// Length of the JSON string, quotes included, that a valid document has at the start of `text`.
pub(crate) fn string_len(text: &str) -> usize {
    let mut escaped = false;
    let closing = text.bytes().skip(1).position(|byte| {
        let closes = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        closes
    });
    closing.map_or(text.len(), |at| at + 2)
}

/// Length of the JSON number at the start of `text`.
pub(crate) fn number_len(text: &str) -> usize {
    text.bytes().take_while(|byte| byte.is_ascii_digit() || b"+-.eE".contains(byte)).count()
}

/// A number without a fraction of nothing: programs write whole numbers as `4111111111111111.0` too.
fn whole_part(number: &str) -> &str {
    match number.split_once('.') {
        Some((whole, fraction)) if fraction.bytes().all(|byte| byte == b'0') => whole,
        _ => number,
    }
}

fn is_long(number: &str) -> bool {
    number.bytes().filter(u8::is_ascii_digit).count() >= LONG_NUMBER
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Form, Policy, Restore, Restores};
    use serde_json::json;

    fn redacted(mut value: Value) -> (Value, Vault) {
        let (guard, mut vault) = (Guard::new(&Policy::default()), Vault::new());
        vault.reserve_json(&value);
        vault.redact_json(&guard, &mut value, &|_, _| false).unwrap();
        (value, vault)
    }

    #[test]
    fn every_string_key_and_long_number_is_read() {
        let (value, _) = redacted(json!({
            "messages": [{"content": [{"text": "I am ada@example.org"}, "ada@example.org"]}],
            "by": {"ada@example.org": 1, "card": 4111111111111111u64, "ssn": 536228143, "n": 536228143},
            "float": 4111111111111111.0,
            "document": "{\"card\": 4111111111111111.00}",
        }));
        assert_eq!(
            value,
            json!({
                "messages": [{"content": [{"text": "I am [EMAIL_ADDRESS_1]"}, "[EMAIL_ADDRESS_1]"]}],
                "by": {"[EMAIL_ADDRESS_1]": 1, "card": "[CREDIT_CARD_1]", "ssn": "[US_SSN_1]", "n": "[US_SSN_1]"},
                "float": "[CREDIT_CARD_1]",
                "document": "{\"card\": \"[CREDIT_CARD_1]\"}",
            })
        );
    }

    #[test]
    fn the_order_of_keys_survives() {
        let (value, _) = redacted(json!({"z": 1, "ada@example.org": 2, "a": 3}));
        assert_eq!(value.to_string(), r#"{"z":1,"[EMAIL_ADDRESS_1]":2,"a":3}"#);
    }

    #[test]
    fn a_document_in_a_string_is_read_inside_and_keeps_its_layout() {
        let arguments = "{ \"to\":\"ada\\u0040example.org\",\n  \"phone\" : 2125550142, \"x\": 1.50 }";
        let (value, mut vault) = redacted(json!({"arguments": arguments}));
        let mut tools = Restores::default();
        tools.set_default(Restore::Tools);
        vault.restore_by(tools);
        let sent = value["arguments"].as_str().unwrap();
        assert_eq!(
            sent,
            "{ \"to\":\"[EMAIL_ADDRESS_1]\",\n  \"phone\" : \"[PHONE_NUMBER_1]\", \"x\": 1.50 }"
        );
        assert!(vault.rehydrate(sent, Form::Json).contains("ada@example.org"));
    }

    #[test]
    fn a_document_without_findings_keeps_its_bytes() {
        let arguments = r#"{"b": 1.0, "a":"\u00e9 \ud83d", "n":123456789012}"#;
        let (value, vault) = redacted(json!({ "arguments": arguments }));
        assert_eq!(value["arguments"], arguments);
        assert!(vault.is_empty());
    }

    #[test]
    fn documents_in_documents_are_read_to_a_depth_and_beyond_as_text() {
        let mut text = r#"{"to":"ada@example.org"}"#.to_owned();
        for _ in 0..6 {
            text = json!({ "inner": text }).to_string();
        }
        let (value, _) = redacted(json!(text));
        assert!(!value.to_string().contains("example.org"));
    }

    #[test]
    fn pictures_and_what_the_caller_skips_are_left_alone() {
        let (guard, mut vault) = (Guard::new(&Policy::default()), Vault::new());
        let picture = ["data:image/png;base64,AKIA", "Q3EGZ5ZL", "4XYJ2VWT"].concat();
        let before = json!({
            "image_url": {"url": picture},
            "model": "ada@example.org",
            "seed": 4111111111111111u64,
            "tools": [{"id": "ada@example.org"}],
        });
        let mut value = before.clone();
        let skip = |path: &[&str], text: &str| {
            matches!(path, ["model" | "seed"]) || (path == ["tools", "id"] && text.contains('@'))
        };
        assert_eq!(vault.redact_json(&guard, &mut value, &skip), Ok(false));
        assert_eq!(value, before);
        for hidden in ["data:image/png;base64,ada@example.org", "data:image/ada@example.org;base64,QUJD"] {
            assert!(!redacted(json!({ "url": hidden })).0.to_string().contains("ada"), "{hidden}");
        }
        let text = json!({"url": "data:text/plain,ada@example.org"});
        assert_eq!(redacted(text).0, json!({"url": "data:text/plain,[EMAIL_ADDRESS_1]"}));
    }

    #[test]
    fn two_keys_with_one_placeholder_are_both_kept() {
        let (value, _) = redacted(json!({"4111111111111111": 1, "4111 1111 1111 1111": 2}));
        assert_eq!(value, json!({"[CREDIT_CARD_1]": 1, "[CREDIT_CARD_1]_": 2}));
    }
}
