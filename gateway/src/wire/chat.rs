//! A chat answer as a stream of chunks. A whole answer is a stream of one, so both share every type and every step.
//!
//! The shape is OpenAI's chat completion chunk; whatever a provider adds survives in the `rest` maps. Reading is
//! tolerant of what providers make of that shape, writing is not.

mod assemble;
pub(super) mod tolerant;

pub use assemble::Assembler;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::usage::Usage;
use tolerant::{null_is_default, number};

/// A key of the `rest` of chunks and deltas, under which a provider API tells a client API of the same format what the shape here has
/// no place for. It is never sent to clients of another format, and never stored.
pub const NATIVE: &str = "sluice_native";

/// Takes out what only a client of the provider's own format has use for.
pub fn forget_native(chunk: &mut Chunk) {
    chunk.rest.remove(NATIVE);
    for choice in &mut chunk.choices {
        choice.delta.rest.remove(NATIVE);
    }
}

/// One step of an answer, or a whole answer at once.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Chunk {
    /// The answer's id.
    #[serde(default, deserialize_with = "null_is_default")]
    pub id: String,
    /// When it was created, in seconds since 1970.
    #[serde(default, deserialize_with = "number")]
    pub created: u64,
    /// The model that answered, in the provider's words.
    #[serde(default, deserialize_with = "null_is_default")]
    pub model: String,
    /// What each choice adds.
    #[serde(default, deserialize_with = "null_is_default")]
    pub choices: Vec<Choice>,
    /// Token counts; in a stream only the last chunk has them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
    /// Everything else.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// What a chunk adds to one choice.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(from = "tolerant::Choice")]
pub struct Choice {
    /// Which choice.
    pub index: u32,
    /// The added part; in a whole answer the `message`. Where a provider sends both, the `delta` is meant.
    pub delta: Delta,
    /// Why the choice ended: `stop`, `length`, `tool_calls`, `content_filter`; none while it goes on.
    pub finish_reason: Option<String>,
    /// Everything else, such as `logprobs`.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// An addition to a message.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "tolerant::Delta")]
pub struct Delta {
    /// `assistant`, in the first chunk.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// More text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content: Option<String>,
    /// More of a refusal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refusal: Option<String>,
    /// More of tool calls.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tool_calls: Vec<ToolCall>,
    /// Everything else, such as `reasoning_content`.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// A tool call or an addition to one.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ToolCall {
    /// Which call of the choice; absent in whole answers, where the place in the list says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<u32>,
    /// The call's id, in its first chunk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// `function`, in its first chunk.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Name and arguments.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub function: Option<Function>,
    /// Everything else.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// Name and arguments of a call, or additions to them.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Function {
    /// The function's name, in its first chunk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// More of the arguments, which together are a JSON text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arguments: Option<String>,
    /// Everything else.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

impl Chunk {
    /// True when a client would see something of the answer in it: text, a call, a refusal, reasoning or an end.
    /// Until then a stream may be given up and asked for elsewhere without anybody noticing.
    pub fn has_content(&self) -> bool {
        self.choices.iter().any(|choice| choice.finish_reason.is_some()) || self.has_words()
    }

    /// The same without an end.
    pub fn has_words(&self) -> bool {
        self.choices.iter().any(|choice| {
            let delta = &choice.delta;
            let text = |t: &Option<String>| t.as_ref().is_some_and(|t| !t.is_empty());
            text(&delta.content)
                || text(&delta.refusal)
                || !delta.tool_calls.is_empty()
                || delta.rest.iter().any(|(name, value)| name != NATIVE && says_something(value))
                || super::anthropic::shows(delta)
        })
    }
}

fn says_something(value: &Value) -> bool {
    match value {
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => items.iter().any(says_something),
        Value::Object(object) => object.values().any(says_something),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_alone_is_no_content_yet() {
        let chunk = |delta: &str| -> Chunk {
            serde_json::from_str(&format!(r#"{{"choices":[{{"index":0,"delta":{delta}}}]}}"#)).unwrap()
        };
        assert!(!chunk(r#"{"role":"assistant","content":""}"#).has_content());
        assert!(!chunk("{}").has_content());
        assert!(chunk(r#"{"content":"x"}"#).has_content());
        assert!(chunk(r#"{"reasoning_content":"x"}"#).has_content());
        assert!(chunk(r#"{"tool_calls":[{"index":0}]}"#).has_content());
        assert!(chunk(r#"{"function_call":{"name":"f"}}"#).has_content());
        assert!(!chunk(r#"{"reasoning_details":[],"audio":null}"#).has_content());
    }
}
