//! Anthropic's answers in the shape that all formats share.

use serde_json::{Map, Value, json};

use super::error_of;
use crate::provider_api::{DecodeError, Sent, parse};
use crate::wire::anthropic::{ARGUMENTS, BLOCKS, END, MESSAGE, PIECES, has_input};
use crate::wire::chat::{Choice, Chunk, Delta, Function, NATIVE, ToolCall};
use crate::wire::usage::Usage;

/// Fields of a message that tell how it ended.
const ENDING: [&str; 3] = ["stop_reason", "stop_sequence", "stop_details"];

/// Reads a whole answer.
pub(super) fn whole(body: &[u8], sent: &Sent) -> Result<Chunk, DecodeError> {
    let body = parse(body)?;
    let Value::Object(mut message) = body else { return Err(no_message()) };
    if error_of(&Value::Object(message.clone())).is_some() {
        return Err(DecodeError("an error where an answer should be".to_owned()));
    }
    let Some(Value::Array(content)) = message.remove("content") else { return Err(no_message()) };
    let (mut delta, mut blocks, mut calls) = (Delta::default(), Vec::new(), 0);
    for (at, block) in content.into_iter().enumerate() {
        let Value::Object(block) = block else { return Err(no_message()) };
        add_whole(at as u64, &block, sent, (&mut delta, &mut calls));
        blocks.push(native_block(at as u64, block));
    }
    delta.role = Some("assistant".to_owned());
    let usage = message.get("usage").and_then(Value::as_object).map(usage_of);
    let reason = message.get("stop_reason").and_then(Value::as_str).unwrap_or("end_turn");
    let finish_reason = Some(finish_reason(reason, calls > 0 || sent.answer_tool.is_none()).to_owned());
    let mut chunk = head(&message);
    if sent.native {
        let ending: Map<String, Value> =
            ENDING.iter().filter_map(|name| message.remove_entry(*name)).collect();
        delta.rest.insert(NATIVE.to_owned(), json!({ BLOCKS: blocks, END: { "delta": ending } }));
        chunk.rest.insert(NATIVE.to_owned(), json!({ MESSAGE: message }));
    }
    chunk.usage = usage;
    chunk.choices = vec![Choice { index: 0, delta, finish_reason, ..Choice::default() }];
    Ok(chunk)
}

fn no_message() -> DecodeError {
    DecodeError("not a message".to_owned())
}

/// A chunk that names the message.
pub(super) fn head(message: &Map<String, Value>) -> Chunk {
    let text = |name: &str| message.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let created = since.map_or(0, |since| since.as_secs());
    Chunk { id: text("id"), model: text("model"), created, ..Chunk::default() }
}

/// Adds a whole block to what all formats have of an answer.
fn add_whole(at: u64, block: &Map<String, Value>, sent: &Sent, (delta, calls): (&mut Delta, &mut u32)) {
    let text = |name: &str| block.get(name).and_then(Value::as_str).unwrap_or_default();
    match text("type") {
        "text" => delta.content.get_or_insert_default().push_str(text("text")),
        "thinking" => {
            thought(delta, text("thinking"));
            let mut item = json!({ "index": at, "type": "thinking", "thinking": text("thinking") });
            if let Some(signature) = block.get("signature") {
                item["signature"] = signature.clone();
            }
            thinking_block(delta, item);
        }
        "redacted_thinking" => {
            thinking_block(delta, json!({ "index": at, "type": "redacted_thinking", "data": text("data") }));
        }
        "tool_use" => {
            let input = block.get("input").map_or_else(|| "{}".to_owned(), Value::to_string);
            if is_answer(sent, text("name")) {
                delta.content.get_or_insert_default().push_str(&input);
            } else {
                delta.tool_calls.push(call(*calls, text("id"), called(sent, text("name")), input));
                *calls += 1;
            }
        }
        _ => {}
    }
}

/// A call of a tool.
pub(super) fn call(index: u32, id: &str, name: &str, arguments: String) -> ToolCall {
    let function =
        Function { name: Some(name.to_owned()), arguments: Some(arguments), ..Function::default() };
    ToolCall {
        index: Some(index),
        id: Some(id.to_owned()),
        kind: Some("function".to_owned()),
        function: Some(function),
        ..ToolCall::default()
    }
}

/// Adds to the text that people read of what the model thought.
pub(super) fn thought(delta: &mut Delta, piece: &str) {
    let so_far = delta.rest.entry("reasoning_content").or_insert_with(|| json!(""));
    *so_far = Value::String(so_far.as_str().unwrap_or_default().to_owned() + piece);
}

/// Adds an item to the blocks of thinking that go back to the provider.
pub(super) fn thinking_block(delta: &mut Delta, item: Value) {
    if let Value::Array(items) = delta.rest.entry("thinking_blocks").or_insert_with(|| json!([])) {
        items.push(item);
    }
}

/// Whether a call of this tool is the answer.
pub(super) fn is_answer(sent: &Sent, name: &str) -> bool {
    sent.answer_tool.as_deref() == Some(name)
}

/// What the client calls the tool of this name.
pub(super) fn called<'n>(sent: &'n Sent, name: &'n str) -> &'n str {
    sent.tools.get(name).map_or(name, String::as_str)
}

/// A content block as an Anthropic client is told of it.
pub(super) fn native_block(at: u64, mut block: Map<String, Value>) -> Value {
    let kind = block.get("type").and_then(Value::as_str).unwrap_or_default().to_owned();
    if has_input(&kind) {
        let input = block.remove("input").filter(|input| input.as_object().is_none_or(|o| !o.is_empty()));
        block.insert(ARGUMENTS.to_owned(), json!(input.map(|input| input.to_string()).unwrap_or_default()));
    }
    match kind.as_str() {
        "thinking" => ["thinking", "signature"].iter().for_each(|name| drop(block.remove(*name))),
        "redacted_thinking" => drop(block.remove("data")),
        _ => {}
    }
    if let Some(Value::Array(citations)) = block.get_mut("citations") {
        for (number, citation) in citations.iter_mut().enumerate() {
            number_citation(citation, number);
        }
    }
    block.remove(PIECES);
    block.insert("index".to_owned(), json!(at));
    Value::Object(block)
}

/// Citations come one by one: each text of one is a text by itself.
pub(super) fn number_citation(citation: &mut Value, number: usize) {
    if let Value::Object(citation) = citation {
        citation.insert("index".to_owned(), json!(number));
    }
}

/// Why an answer ended. `calls`: the tools that are called are the client's.
pub(super) fn finish_reason(reason: &str, calls: bool) -> &'static str {
    match reason {
        "max_tokens" | "model_context_window_exceeded" => "length",
        "tool_use" if calls => "tool_calls",
        "refusal" => "content_filter",
        _ => "stop",
    }
}

/// Token counts: what was read from the provider's cache and written to it is a part of the input.
pub(super) fn usage_of(usage: &Map<String, Value>) -> Usage {
    let number = |name: &str| usage.get(name).and_then(Value::as_u64);
    let (read, written) = (number("cache_read_input_tokens"), number("cache_creation_input_tokens"));
    let mut rest = Map::new();
    let prompt_tokens = number("input_tokens").unwrap_or(0) + read.unwrap_or(0) + written.unwrap_or(0);
    if read.is_some() || written.is_some() {
        let details =
            json!({ "cached_tokens": read.unwrap_or(0), "cache_creation_tokens": written.unwrap_or(0) });
        rest.insert("prompt_tokens_details".to_owned(), details);
    }
    let thinking =
        usage.get("output_tokens_details").and_then(|details| details.get("thinking_tokens")?.as_u64());
    if let Some(tokens) = thinking {
        rest.insert("completion_tokens_details".to_owned(), json!({ "reasoning_tokens": tokens }));
    }
    let completion_tokens = number("output_tokens").unwrap_or(0);
    Usage { prompt_tokens, completion_tokens, total_tokens: prompt_tokens + completion_tokens, rest }
}
