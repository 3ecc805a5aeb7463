//! What whole answers and streams have in common: why an answer ended, what it took, a message to begin with.

use serde_json::{Map, Value, json};

use crate::wire::anthropic::MESSAGE;
use crate::wire::chat::{Chunk, Delta, NATIVE};
use crate::wire::usage::Usage;

/// Why an answer ended. `calls`: tools are called in it, which some providers do not tell as the reason.
pub(super) fn stop_reason(reason: Option<&str>, calls: bool) -> &'static str {
    match reason {
        Some("length") => "max_tokens",
        Some("content_filter") => "refusal",
        Some("tool_calls" | "function_call") => "tool_use",
        _ if calls => "tool_use",
        _ => "end_turn",
    }
}

/// Token counts: here what the provider read from its own cache, or wrote to it, is no part of the input.
pub(super) fn usage(usage: &Usage) -> Value {
    let details = usage.rest.get("prompt_tokens_details");
    let detail = |name: &str| details.and_then(|details| details.get(name)?.as_u64());
    let (read, written) = (detail("cached_tokens"), detail("cache_creation_tokens"));
    let cached = read.unwrap_or(0) + written.unwrap_or(0);
    let mut said = json!({
        "input_tokens": usage.prompt_tokens.saturating_sub(cached), "output_tokens": usage.completion_tokens,
    });
    if cached > 0 {
        said["cache_read_input_tokens"] = json!(read.unwrap_or(0));
        said["cache_creation_input_tokens"] = json!(written.unwrap_or(0));
    }
    let thinking = usage.rest.get("completion_tokens_details");
    let thinking = thinking.and_then(|details| details.get("reasoning_tokens")?.as_u64());
    if let Some(tokens) = thinking.filter(|tokens| *tokens > 0) {
        said["output_tokens_details"] = json!({ "thinking_tokens": tokens });
    }
    said
}

/// A message without content: as its provider began it, if that speaks this format, else empty.
pub(super) fn message(chunk: &mut Chunk) -> (Map<String, Value>, bool) {
    let native = chunk.rest.remove(NATIVE).and_then(|mut native| match native.get_mut(MESSAGE)?.take() {
        Value::Object(message) => Some(message),
        _ => None,
    });
    let is_native = native.is_some();
    let mut message = native.unwrap_or_default();
    let given = [("id", &chunk.id), ("model", &chunk.model)];
    given.into_iter().for_each(|(name, value)| drop(message.insert(name.to_owned(), json!(value))));
    let usage = json!({ "input_tokens": 0, "output_tokens": 0 });
    for (name, usual) in [
        ("type", json!("message")),
        ("role", json!("assistant")),
        ("content", json!([])),
        ("stop_reason", Value::Null),
        ("stop_sequence", Value::Null),
        ("usage", usage),
    ] {
        message.entry(name).or_insert(usual);
    }
    (message, is_native)
}

/// What the model thought, as providers that sign nothing tell it.
pub(super) fn thoughts(delta: &Delta) -> Option<&str> {
    let told = ["reasoning_content", "reasoning"].iter().filter_map(|name| delta.rest.get(*name)?.as_str());
    told.into_iter().find(|text| !text.is_empty())
}

/// The items of a list.
pub(super) fn items(list: Option<&Value>) -> impl Iterator<Item = &Value> {
    list.and_then(Value::as_array).into_iter().flatten()
}

/// A tool's input from its JSON text. What is none goes in as a text under the name that Anthropic gives it.
pub(super) fn input(arguments: &str) -> Value {
    if arguments.trim().is_empty() {
        return json!({});
    }
    match serde_json::from_str(arguments) {
        Ok(input @ Value::Object(_)) => input,
        _ => json!({ "INVALID_JSON": arguments }),
    }
}
