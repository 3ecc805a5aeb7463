//! Whole answers.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::events::{input, items, message, stop_reason, thoughts, usage};
use crate::ids;
use crate::wire::anthropic::{ARGUMENTS, BLOCKS, END, PIECES, has_input};
use crate::wire::chat::{Choice, Chunk, Delta, NATIVE};

/// A whole answer as a message.
pub(super) fn encode(mut whole: Chunk) -> Value {
    let (mut message, is_native) = message(&mut whole);
    let Choice { delta, finish_reason, .. } = whole.choices.into_iter().next().unwrap_or_default();
    if is_native && let Some(native) = delta.rest.get(NATIVE) {
        message.insert("content".to_owned(), native_content(&delta, native));
        end(&mut message, native.get(END));
        return Value::Object(message);
    }
    let reason = stop_reason(finish_reason.as_deref(), !delta.tool_calls.is_empty());
    message.insert("content".to_owned(), content(&delta));
    message.insert("stop_reason".to_owned(), json!(reason));
    if let Some(counts) = &whole.usage {
        message.insert("usage".to_owned(), usage(counts));
    }
    Value::Object(message)
}

/// What the end of a message says of it.
fn end(message: &mut Map<String, Value>, end: Option<&Value>) {
    let members = |name: &str| end.and_then(|end| end.get(name)?.as_object()).cloned().unwrap_or_default();
    message.extend(members("delta"));
    if let Some(Value::Object(usage)) = message.get_mut("usage") {
        usage.extend(members("usage").into_iter().filter(|(_, count)| !count.is_null()));
    }
}

/// The blocks as their provider had them.
fn native_content(delta: &Delta, native: &Value) -> Value {
    let mut blocks: BTreeMap<u64, Map<String, Value>> = BTreeMap::new();
    for item in items(native.get(BLOCKS)).chain(items(delta.rest.get("thinking_blocks"))) {
        let (Some(at), Some(members)) = (item["index"].as_u64(), item.as_object()) else { continue };
        blocks.entry(at).or_default().extend(members.clone());
    }
    blocks.into_values().map(native_block).collect()
}

fn native_block(mut block: Map<String, Value>) -> Value {
    block.remove("index");
    block.remove(PIECES);
    let kind = block.get("type").and_then(Value::as_str).unwrap_or_default().to_owned();
    if has_input(&kind) {
        let arguments = block.remove(ARGUMENTS);
        let arguments = arguments.as_ref().and_then(Value::as_str).unwrap_or_default();
        block.insert("input".to_owned(), input(arguments));
    }
    if let Some(Value::Array(citations)) = block.get_mut("citations") {
        citations.iter_mut().filter_map(Value::as_object_mut).for_each(|one| drop(one.remove("index")));
    }
    let needed: &[&str] = match kind.as_str() {
        "text" => &["text"],
        "thinking" => &["thinking", "signature"],
        _ => &[],
    };
    for name in needed {
        block.entry(*name).or_insert_with(|| json!(""));
    }
    Value::Object(block)
}

/// The blocks of an answer of any provider: what it thought, what it says, what it calls.
fn content(delta: &Delta) -> Value {
    let signed = items(delta.rest.get("thinking_blocks")).filter_map(Value::as_object).cloned();
    let mut blocks: Vec<Value> = signed.map(native_block).collect();
    if blocks.is_empty()
        && let Some(thoughts) = thoughts(delta)
    {
        blocks.push(json!({ "type": "thinking", "thinking": thoughts, "signature": "" }));
    }
    for text in [&delta.content, &delta.refusal].into_iter().flatten().filter(|text| !text.is_empty()) {
        blocks.push(json!({ "type": "text", "text": text }));
    }
    for call in &delta.tool_calls {
        let function = call.function.clone().unwrap_or_default();
        let id = call.id.clone().unwrap_or_else(|| ids::fresh("toolu_"));
        let input = input(function.arguments.as_deref().unwrap_or_default());
        let name = function.name.unwrap_or_default();
        blocks.push(json!({ "type": "tool_use", "id": id, "name": name, "input": input }));
    }
    Value::Array(blocks)
}
