//! A chat answer as a stream of chunks. A whole answer is a stream of one, so both share every type and every step.
//!
//! The shape is OpenAI's chat completion chunk; whatever a provider adds survives in the `rest` maps.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::usage::Usage;

/// One step of an answer, or a whole answer at once.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Chunk {
    /// The answer's id.
    #[serde(default)]
    pub id: String,
    /// When it was created, in seconds since 1970.
    #[serde(default)]
    pub created: u64,
    /// The model that answered, in the provider's words.
    #[serde(default)]
    pub model: String,
    /// What each choice adds.
    #[serde(default)]
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
pub struct Choice {
    /// Which choice.
    #[serde(default)]
    pub index: u32,
    /// The added part; in a whole answer the `message`.
    #[serde(default, alias = "message")]
    pub delta: Delta,
    /// Why the choice ended: `stop`, `length`, `tool_calls`, `content_filter`; none while it goes on.
    #[serde(default)]
    pub finish_reason: Option<String>,
    /// Everything else, such as `logprobs`.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// An addition to a message.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Delta {
    /// `assistant`, in the first chunk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// More text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<String>,
    /// More of a refusal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refusal: Option<String>,
    /// More of tool calls.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "null_is_default")]
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

fn null_is_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

impl Chunk {
    /// True when a client would see something of the answer in it: text, a call, a refusal, reasoning or an end.
    /// Until then a stream may be given up and asked for elsewhere without anybody noticing.
    pub fn has_content(&self) -> bool {
        self.choices.iter().any(|choice| {
            let delta = &choice.delta;
            let text = |t: &Option<String>| t.as_ref().is_some_and(|t| !t.is_empty());
            choice.finish_reason.is_some()
                || text(&delta.content)
                || text(&delta.refusal)
                || !delta.tool_calls.is_empty()
                || delta.rest.values().any(|v| v.as_str().is_some_and(|s| !s.is_empty()))
        })
    }
}

/// Puts the chunks of an answer together again, in the form of one chunk that holds all of it.
#[derive(Default)]
pub struct Assembler {
    whole: Chunk,
}

impl Assembler {
    /// Adds a chunk.
    pub fn push(&mut self, chunk: &Chunk) {
        let whole = &mut self.whole;
        if whole.id.is_empty() {
            whole.id.clone_from(&chunk.id);
            whole.created = chunk.created;
            whole.model.clone_from(&chunk.model);
        }
        for choice in &chunk.choices {
            let at = match whole.choices.iter().position(|c| c.index == choice.index) {
                Some(at) => at,
                None => {
                    whole.choices.push(Choice { index: choice.index, ..Choice::default() });
                    whole.choices.len() - 1
                }
            };
            add_choice(&mut whole.choices[at], choice);
        }
        if chunk.usage.is_some() {
            whole.usage.clone_from(&chunk.usage);
        }
        add_rest(&mut whole.rest, &chunk.rest);
    }

    /// The whole answer so far, choices in their order.
    pub fn finish(mut self) -> Chunk {
        self.whole.choices.sort_by_key(|choice| choice.index);
        self.whole
    }
}

fn add_choice(whole: &mut Choice, part: &Choice) {
    if part.finish_reason.is_some() {
        whole.finish_reason.clone_from(&part.finish_reason);
    }
    if whole.delta.role.is_none() {
        whole.delta.role.clone_from(&part.delta.role);
    }
    add_text(&mut whole.delta.content, part.delta.content.as_ref());
    add_text(&mut whole.delta.refusal, part.delta.refusal.as_ref());
    for (position, call) in part.delta.tool_calls.iter().enumerate() {
        let index = call.index.unwrap_or(u32::try_from(position).unwrap_or(u32::MAX));
        let calls = &mut whole.delta.tool_calls;
        let at = match calls.iter().position(|c| c.index == Some(index)) {
            Some(at) => at,
            None => {
                calls.push(ToolCall { index: Some(index), ..ToolCall::default() });
                calls.len() - 1
            }
        };
        add_call(&mut calls[at], call);
    }
    add_rest(&mut whole.delta.rest, &part.delta.rest);
    add_rest(&mut whole.rest, &part.rest);
}

fn add_call(whole: &mut ToolCall, part: &ToolCall) {
    if whole.id.is_none() {
        whole.id.clone_from(&part.id);
    }
    if whole.kind.is_none() {
        whole.kind.clone_from(&part.kind);
    }
    if let Some(function) = &part.function {
        let target = whole.function.get_or_insert_default();
        add_text(&mut target.name, function.name.as_ref());
        add_text(&mut target.arguments, function.arguments.as_ref());
        add_rest(&mut target.rest, &function.rest);
    }
    add_rest(&mut whole.rest, &part.rest);
}

fn add_text(whole: &mut Option<String>, part: Option<&String>) {
    if let Some(part) = part {
        whole.get_or_insert_default().push_str(part);
    }
}

/// Unknown fields: texts and lists grow as `content` does, objects merge, anything else is replaced.
fn add_rest(whole: &mut Map<String, Value>, part: &Map<String, Value>) {
    for (key, value) in part {
        match (whole.get_mut(key), value) {
            (Some(Value::String(text)), Value::String(more)) if grows(key) => text.push_str(more),
            (Some(Value::Array(items)), Value::Array(more)) => items.extend_from_slice(more),
            (Some(Value::Object(object)), Value::Object(more)) => add_rest(object, more),
            (Some(_), Value::Null) => {}
            _ => {
                whole.insert(key.clone(), value.clone());
            }
        }
    }
}

/// These name the answer and stand in every chunk alike.
fn grows(key: &str) -> bool {
    !matches!(key, "object" | "system_fingerprint" | "service_tier" | "provider" | "role" | "type" | "id")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assemble(chunks: &[&str]) -> Value {
        let mut assembler = Assembler::default();
        for chunk in chunks {
            assembler.push(&serde_json::from_str(chunk).unwrap());
        }
        serde_json::to_value(assembler.finish()).unwrap()
    }

    #[test]
    fn chunks_of_text_calls_and_reasoning_come_together() {
        let whole = assemble(&[
            r#"{"id":"a","object":"chat.completion.chunk","created":5,"model":"m","system_fingerprint":"f","choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}"#,
            r#"{"id":"a","object":"chat.completion.chunk","created":5,"model":"m","system_fingerprint":"f","choices":[{"index":0,"delta":{"reasoning_content":"hm"}},{"index":1,"delta":{"content":"B"}}]}"#,
            r#"{"id":"a","choices":[{"index":0,"delta":{"reasoning_content":"m","content":"He","tool_calls":[{"index":0,"id":"c","type":"function","function":{"name":"f","arguments":"{\"x\""}}]}}]}"#,
            r#"{"id":"a","choices":[{"index":0,"delta":{"content":"llo","tool_calls":[{"index":0,"function":{"arguments":":1}"}}]},"finish_reason":"stop"}]}"#,
            r#"{"id":"a","choices":[],"usage":{"prompt_tokens":1,"completion_tokens":2,"total_tokens":3,"cost":0.5}}"#,
        ]);
        let first = &whole["choices"][0];
        assert_eq!(first["delta"]["content"], "Hello");
        assert_eq!(first["delta"]["reasoning_content"], "hmm");
        assert_eq!(first["delta"]["tool_calls"][0]["function"]["arguments"], "{\"x\":1}");
        assert_eq!(first["finish_reason"], "stop");
        assert_eq!(whole["choices"][1]["delta"]["content"], "B");
        assert_eq!((whole["usage"]["cost"].as_f64(), &whole["system_fingerprint"]), (Some(0.5), &"f".into()));
    }

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
    }
}
