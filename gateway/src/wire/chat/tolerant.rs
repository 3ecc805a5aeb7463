//! Reading what providers make of OpenAI's shape: `null` for nothing, numbers with a fraction, messages in parts.

use serde::de::{Deserialize, Deserializer, Error};
use serde_json::{Map, Value};

use super::ToolCall;

/// `null` means the same as a missing field.
pub(super) fn null_is_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// A count or a time. `null` is 0, a fraction is cut off, and what does not fit is the nearest number that does.
pub(in crate::wire) fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    match Value::deserialize(deserializer)? {
        Value::Null => Ok(0),
        // A cast from a float saturates.
        Value::Number(n) => Ok(n.as_u64().unwrap_or_else(|| n.as_f64().unwrap_or_default() as u64)),
        _ => Err(D::Error::custom("expected a number")),
    }
}

/// Some send `""` for an end that has not come.
pub(super) fn empty_is_none<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Ok(Option::deserialize(deserializer)?.filter(|text: &String| !text.is_empty()))
}

/// A choice as it is sent.
#[derive(serde::Deserialize)]
pub(super) struct Choice {
    #[serde(default, deserialize_with = "number")]
    index: u64,
    #[serde(default)]
    delta: Option<super::Delta>,
    #[serde(default)]
    message: Option<super::Delta>,
    #[serde(default, deserialize_with = "empty_is_none")]
    finish_reason: Option<String>,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

impl From<Choice> for super::Choice {
    fn from(sent: Choice) -> Self {
        Self {
            index: u32::try_from(sent.index).unwrap_or(u32::MAX),
            delta: sent.delta.or(sent.message).unwrap_or_default(),
            finish_reason: sent.finish_reason,
            rest: sent.rest,
        }
    }
}

/// A delta or a message as it is sent.
#[derive(serde::Deserialize)]
pub(super) struct Delta {
    #[serde(default)]
    role: Option<String>,
    #[serde(default)]
    content: Value,
    #[serde(default)]
    refusal: Option<String>,
    #[serde(default, deserialize_with = "null_is_default")]
    tool_calls: Vec<ToolCall>,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

impl TryFrom<Delta> for super::Delta {
    type Error = &'static str;

    fn try_from(sent: Delta) -> Result<Self, &'static str> {
        let mut rest = sent.rest;
        let content = match sent.content {
            Value::Null => None,
            Value::String(text) => Some(text),
            Value::Array(parts) => from_parts(&parts, &mut rest),
            _ => return Err("the content is neither a text nor a list of parts"),
        };
        Ok(Self { role: sent.role, content, refusal: sent.refusal, tool_calls: sent.tool_calls, rest })
    }
}

/// The text of the parts. What the model thought goes to `reasoning_content`, where clients look for it.
fn from_parts(parts: &[Value], rest: &mut Map<String, Value>) -> Option<String> {
    let mut content = None::<String>;
    for part in parts {
        if let Some(thoughts) = part.get("thinking") {
            let reasoning = rest.entry("reasoning_content").or_insert(Value::Null);
            let thoughts = text_of(thoughts);
            *reasoning = Value::String(reasoning.as_str().unwrap_or_default().to_owned() + &thoughts);
        } else {
            content.get_or_insert_default().push_str(&text_of(part));
        }
    }
    content
}

/// A text, that of a part or that of a list of parts.
fn text_of(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(parts) => parts.iter().map(text_of).collect(),
        Value::Object(part) => part.get("text").and_then(Value::as_str).unwrap_or_default().to_owned(),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use crate::wire::chat::Chunk;

    fn read(text: &str) -> Chunk {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn null_is_as_good_as_absent_everywhere() {
        let nulls = read(
            r#"{"id":null,"created":null,"model":null,"usage":{"prompt_tokens":null,"completion_tokens":2.0,"total_tokens":null},
            "choices":[{"index":null,"finish_reason":null,"delta":{"role":null,"content":null,"refusal":null,
            "tool_calls":[{"index":null,"id":null,"type":null,"function":{"name":null,"arguments":null}}]}},{"delta":null}]}"#,
        );
        let absent = read(
            r#"{"usage":{"completion_tokens":2},"choices":[{"delta":{"tool_calls":[{"function":{}}]}},{}]}"#,
        );
        assert!(nulls == absent);
        assert!(read(r#"{"choices":null,"usage":null}"#) == read("{}"));
        assert!(read(r#"{"choices":[{"delta":{"tool_calls":null}}]}"#) == read(r#"{"choices":[{}]}"#));
    }

    #[test]
    fn numbers_that_are_floats_are_read() {
        assert_eq!(read(r#"{"created":1726000000.75}"#).created, 1_726_000_000);
        assert_eq!(read(r#"{"created":-1}"#).created, 0);
        assert!(serde_json::from_str::<Chunk>(r#"{"created":"secret"}"#).is_err());
    }

    #[test]
    fn an_empty_finish_reason_is_no_end() {
        assert!(!read(r#"{"choices":[{"delta":{},"finish_reason":""}]}"#).has_content());
    }

    #[test]
    fn a_message_is_read_unless_there_is_a_delta() {
        let text = |body: &str| read(body).choices[0].delta.content.clone().unwrap();
        assert_eq!(text(r#"{"choices":[{"message":{"content":"a"},"delta":null}]}"#), "a");
        assert_eq!(text(r#"{"choices":[{"message":{"content":"ab"},"delta":{"content":"b"}}]}"#), "b");
        assert_eq!(text(r#"{"choices":[{"delta":{"content":"b"},"message":null}]}"#), "b");
    }

    #[test]
    fn content_in_parts_becomes_text_and_reasoning() {
        for name in ["message", "delta"] {
            let chunk = read(&format!(
                r#"{{"choices":[{{"{name}":{{"content":[
                {{"type":"thinking","thinking":[{{"type":"text","text":"h"}},{{"type":"text","text":"m"}}]}},
                {{"type":"thinking","thinking":"?"}},{{"type":"text","text":"He"}},
                {{"type":"reference","reference_ids":[1]}},{{"type":"text","text":"llo"}}]}}}}]}}"#
            ));
            let delta = &chunk.choices[0].delta;
            assert_eq!(delta.content.as_deref(), Some("Hello"));
            assert_eq!(delta.rest["reasoning_content"], "hm?");
        }
        let thinking = read(r#"{"choices":[{"delta":{"content":[{"type":"thinking","thinking":[]}]}}]}"#);
        assert!(thinking.choices[0].delta.content.is_none());
        assert!(serde_json::from_str::<Chunk>(r#"{"choices":[{"delta":{"content":7}}]}"#).is_err());
    }
}
