//! Whole answers, and what whole answers and streams have in common: usage, and why an answer ended.

use serde_json::{Map, Value, json};

use super::super::{DecodeError, Sent, parse};
use super::errors;
use crate::wire::chat::{Choice, Chunk, Delta, Function, NATIVE, ToolCall};
use crate::wire::usage::Usage;

/// What of an answer is kept for those who speak this format; how long it took is not.
const KEPT: &[&str] =
    &["stopReason", "usage", "trace", "additionalModelResponseFields", "performanceConfig", "serviceTier"];

/// Reads a whole answer.
///
/// # Errors
/// [`DecodeError`] where the body is no answer, or one that the model spoilt.
pub(super) fn whole(body: &[u8], sent: &Sent) -> Result<Chunk, DecodeError> {
    let body = parse(body)?;
    let message = body.pointer("/output/message").filter(|message| message.is_object());
    let message = message.ok_or_else(|| DecodeError("the answer has no message".to_owned()))?;
    let reason = body.get("stopReason").and_then(Value::as_str);
    let reason = reason.ok_or_else(|| DecodeError("the answer has no stopReason".to_owned()))?;
    if let Some(spoilt) = errors::of_stop_reason(reason) {
        return Err(DecodeError(spoilt.to_owned()));
    }
    let mut delta = Delta { role: Some("assistant".to_owned()), ..Delta::default() };
    let mut answered = false;
    let blocks = message.get("content").and_then(Value::as_array).into_iter().flatten();
    for (at, block) in blocks.enumerate() {
        answered |= add_block(&mut delta, at, block, sent);
    }
    let calls = !delta.tool_calls.is_empty();
    let finish_reason = Some(finish_reason(reason, calls, answered).to_owned());
    let choice = Choice { delta, finish_reason, ..Choice::default() };
    let usage = body.get("usage").and_then(usage);
    let mut chunk = Chunk { choices: vec![choice], usage, rest: native(&body), ..Chunk::default() };
    if let Some(named) = &sent.named {
        named.name(&mut chunk);
    }
    Ok(chunk)
}

/// Adds a block of a whole answer; true if it is the answer that came as a call.
fn add_block(delta: &mut Delta, at: usize, block: &Value, sent: &Sent) -> bool {
    let text = |value: &Value, field: &str| value.get(field).and_then(Value::as_str).map(str::to_owned);
    if let Some(more) = text(block, "text") {
        add_text(delta, &more);
    } else if let Some(call) = block.get("toolUse") {
        let name = text(call, "name").unwrap_or_default();
        let arguments = call.get("input").map_or_else(|| "{}".to_owned(), Value::to_string);
        if sent.answer_tool.as_ref() == Some(&name) {
            add_text(delta, &arguments);
            return true;
        }
        let index = u32::try_from(delta.tool_calls.len()).ok();
        let id = text(call, "toolUseId").unwrap_or_default();
        delta.tool_calls.push(tool_call(index, id, &name, arguments, sent));
    } else if let Some(thought) = block.get("reasoningContent") {
        if let Some(data) = text(thought, "redactedContent") {
            think(delta, at, &[("type", "redacted_thinking"), ("data", &data)]);
        } else {
            let said = thought.get("reasoningText").unwrap_or(&Value::Null);
            let (words, signature) = (text(said, "text").unwrap_or_default(), text(said, "signature"));
            add_thought(delta, &words);
            let mut fields = vec![("type", "thinking"), ("thinking", words.as_str())];
            fields.extend(signature.as_deref().map(|signature| ("signature", signature)));
            think(delta, at, &fields);
        }
    } else if let Some(cited) = block.pointer("/citationsContent/content").and_then(Value::as_array) {
        cited.iter().filter_map(|part| text(part, "text")).for_each(|more| add_text(delta, &more));
    }
    false
}

/// The beginning of a call, or all of it.
pub(super) fn tool_call(
    index: Option<u32>,
    id: String,
    name: &str,
    arguments: String,
    sent: &Sent,
) -> ToolCall {
    let name = sent.tools.get(name).cloned().unwrap_or_else(|| name.to_owned());
    let function = Function { name: Some(name), arguments: Some(arguments), ..Function::default() };
    let kind = Some("function".to_owned());
    ToolCall { index, id: Some(id), kind, function: Some(function), ..ToolCall::default() }
}

fn add_text(delta: &mut Delta, more: &str) {
    delta.content.get_or_insert_default().push_str(more);
}

/// Adds words of thinking, for clients that know no blocks.
pub(super) fn add_thought(delta: &mut Delta, words: &str) {
    if words.is_empty() {
        return;
    }
    match delta.rest.get_mut("reasoning_content") {
        Some(Value::String(text)) => text.push_str(words),
        _ => drop(delta.rest.insert("reasoning_content".to_owned(), json!(words))),
    }
}

/// Adds to the block of thinking at a place of the answer.
pub(super) fn think(delta: &mut Delta, at: usize, fields: &[(&str, &str)]) {
    let mut block = Map::new();
    block.insert("index".to_owned(), json!(at));
    block.extend(fields.iter().map(|(name, value)| ((*name).to_owned(), json!(value))));
    let blocks = delta.rest.entry("thinking_blocks").or_insert_with(|| json!([]));
    if let Value::Array(blocks) = blocks {
        blocks.push(Value::Object(block));
    }
}

/// Why an answer ended, in OpenAI's words. `calls`: it has calls of the client's tools. `answered`: it came as a call itself.
pub(super) fn finish_reason(reason: &str, calls: bool, answered: bool) -> &'static str {
    match reason {
        "max_tokens" | "model_context_window_exceeded" => "length",
        "guardrail_intervened" | "content_filtered" | "refusal" => "content_filter",
        // Some models call tools and say that their turn is over.
        _ if calls => "tool_calls",
        "tool_use" if !answered => "tool_calls",
        _ => "stop",
    }
}

/// Token counts: what was read from the model's prompt cache or written to it is not among its input tokens, but is in ours.
pub(super) fn usage(said: &Value) -> Option<Usage> {
    let count = |name: &str| said.get(name).and_then(Value::as_u64);
    let (input, output) = (count("inputTokens"), count("outputTokens"));
    if input.is_none() && output.is_none() {
        return None;
    }
    let (read, written) = (count("cacheReadInputTokens"), count("cacheWriteInputTokens"));
    let cached = read.unwrap_or(0).saturating_add(written.unwrap_or(0));
    let prompt_tokens = input.unwrap_or(0).saturating_add(cached);
    let completion_tokens = output.unwrap_or(0);
    let mut rest = Map::new();
    if read.is_some() || written.is_some() {
        let details =
            json!({ "cached_tokens": read.unwrap_or(0), "cache_creation_tokens": written.unwrap_or(0) });
        rest.insert("prompt_tokens_details".to_owned(), details);
    }
    let total_tokens = prompt_tokens.saturating_add(completion_tokens);
    Some(Usage { prompt_tokens, completion_tokens, total_tokens, rest })
}

/// What is kept of an answer, or of an event of a stream.
pub(super) fn native(said: &Value) -> Map<String, Value> {
    let kept = KEPT.iter().filter_map(|name| Some(((*name).to_owned(), said.get(*name)?.clone())));
    let kept: Map<String, Value> = kept.collect();
    let mut rest = Map::new();
    if !kept.is_empty() {
        rest.insert(NATIVE.to_owned(), Value::Object(kept));
    }
    rest
}
