//! Strict JSON: a repeated key is an error, so that what we scan is exactly what the provider would read.

use std::fmt;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::map::Entry;
use serde_json::{Map, Number, Value};

/// Parses a JSON document in which no object repeats a key.
///
/// RFC 8259 section 4 leaves repeated keys to the reader: one takes the first, another the last. A gateway that
/// scans one and forwards both can be bypassed, therefore they are refused.
///
/// # Errors
/// A sentence that names line and column and never holds any of the content.
pub fn parse(bytes: &[u8]) -> Result<Value, String> {
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let strict = Strict::deserialize(&mut deserializer).map_err(|e| describe(&e))?;
    deserializer.end().map_err(|e| describe(&e))?;
    Ok(strict.0)
}

/// Syntax errors of serde_json are fixed phrases with a position: they quote nothing of the input.
fn describe(error: &serde_json::Error) -> String {
    if error.is_eof() {
        format!("the document ends early, at line {} column {}", error.line(), error.column())
    } else {
        error.to_string()
    }
}

struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StrictVisitor).map(Strict)
    }
}

struct StrictVisitor;

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_bool<E>(self, v: bool) -> Result<Value, E> {
        Ok(Value::Bool(v))
    }

    fn visit_i64<E>(self, v: i64) -> Result<Value, E> {
        Ok(Value::from(v))
    }

    fn visit_u64<E>(self, v: u64) -> Result<Value, E> {
        Ok(Value::from(v))
    }

    fn visit_f64<E>(self, v: f64) -> Result<Value, E> {
        Ok(Number::from_f64(v).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, v: &str) -> Result<Value, E> {
        Ok(Value::String(v.to_owned()))
    }

    fn visit_string<E>(self, v: String) -> Result<Value, E> {
        Ok(Value::String(v))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(Strict(item)) = seq.next_element()? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(key) = map.next_key::<String>()? {
            let Entry::Vacant(place) = object.entry(key) else {
                return Err(de::Error::custom("an object repeats a key"));
            };
            let Strict(value) = map.next_value()?;
            place.insert(value);
        }
        Ok(Value::Object(object))
    }
}

/// One spelling per value, for cache keys: object keys sorted, whole floats written as integers.
pub fn canonical(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Object(object) => {
            canonical_object(object.iter().map(|(key, member)| (key.as_str(), member)), out);
        }
        Value::Array(items) => {
            out.push(b'[');
            for item in items {
                canonical(item, out);
                out.push(b',');
            }
            out.push(b']');
        }
        Value::Number(number) => match number.as_f64() {
            Some(float) if number.is_f64() && float.fract() == 0.0 && float.abs() < 9e15 => {
                out.extend_from_slice(format!("{float:.0}").as_bytes());
            }
            _ => out.extend_from_slice(number.to_string().as_bytes()),
        },
        other => write_json(other, out),
    }
}

/// [`canonical`] for an object of these members.
pub fn canonical_object<'v>(members: impl Iterator<Item = (&'v str, &'v Value)>, out: &mut Vec<u8>) {
    let mut members: Vec<_> = members.collect();
    members.sort_unstable_by_key(|(key, _)| *key);
    out.push(b'{');
    for (key, member) in members {
        write_json(key, out);
        out.push(b':');
        canonical(member, out);
        out.push(b',');
    }
    out.push(b'}');
}

/// Writing a string, bool or null into memory has no way to fail.
fn write_json<T: serde::Serialize + ?Sized>(value: &T, out: &mut Vec<u8>) {
    let written = serde_json::to_writer(out, value);
    debug_assert!(written.is_ok());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spelled(text: &str) -> String {
        let mut out = Vec::new();
        canonical(&parse(text.as_bytes()).unwrap(), &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_repeated_key_is_refused_at_any_depth() {
        for text in [r#"{"a":1,"a":2}"#, r#"{"m":[{"content":"x","content":"y"}]}"#, r#"{"a":1,"\u0061":2}"#]
        {
            let error = parse(text.as_bytes()).unwrap_err();
            assert!(error.contains("repeats a key"), "{error}");
        }
    }

    #[test]
    fn an_error_names_the_place_and_quotes_nothing() {
        for text in [r#"{"secret": "hunter2", }"#, r#"{"secret": "hunter2""#, "hunter2", "", "{} hunter2"] {
            let error = parse(text.as_bytes()).unwrap_err();
            assert!(!error.contains("hunter2") && error.contains("line 1"), "{error}");
        }
        assert!(parse(b"{\"a\":\"\xff\"}").unwrap_err().contains("line 1"));
    }

    #[test]
    fn nesting_without_end_is_an_error_and_no_overflow() {
        assert!(parse(&b"[".repeat(100_000)).is_err());
    }

    #[test]
    fn values_that_mean_the_same_have_one_spelling() {
        assert_eq!(spelled(r#"{"b":1.0,"c":[true]}"#), spelled(r#"{"c":[true],"b":1}"#));
        assert_ne!(spelled(r#"{"const":null}"#), spelled("{}"), "in a schema null is a value");
        assert_ne!(spelled(r#"{"a":"01"}"#), spelled(r#"{"a":"1"}"#));
        assert_ne!(spelled("[null]"), spelled("[]"));
        assert_ne!(spelled("0.1"), spelled("0.2"));
    }
}
