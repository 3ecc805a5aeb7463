//! What a provider of Responses tells in items that stand nowhere else in an answer: what its own tools were given and what they gave.

use serde_json::Value;

use crate::wire::chat::Delta;
use crate::wire::responses::{events, is_last};

/// Items that the other fields of an answer say, too.
const MIRRORED: [&str; 4] = ["message", "reasoning", "function_call", "custom_tool_call"];

fn kind(item: &Value) -> &str {
    item.get("type").and_then(Value::as_str).unwrap_or_default()
}

/// The items of the event that ends an answer, with their places. Earlier events say nothing that these don't.
pub(super) fn output(delta: &Delta) -> Vec<(usize, &Value)> {
    let is_end = |kind: &Value| kind.as_str().is_some_and(is_last);
    let ends = events(delta).into_iter().filter(|event| event.get("type").is_some_and(is_end));
    let lists = ends.filter_map(|event| event.get("response")?.get("output")?.as_array());
    let items = lists.flat_map(|items| items.iter().enumerate());
    items.filter(|(_, item)| !MIRRORED.contains(&kind(item))).collect()
}

/// The calls of the provider's own tools that a delta tells of: the item's place, and the tool's name.
pub(super) fn calls(delta: &Delta) -> Vec<(u64, &str)> {
    let on_the_way = events(delta).into_iter().filter_map(|event| {
        Some((event.get("output_index").and_then(Value::as_u64).unwrap_or(0), event.get("item")?))
    });
    let at_the_end = output(delta).into_iter().map(|(at, item)| (at as u64, item));
    on_the_way.chain(at_the_end).filter_map(|(at, item)| Some((at, tool(item)?))).collect()
}

fn tool(item: &Value) -> Option<&str> {
    let kind = kind(item);
    if MIRRORED.contains(&kind) {
        return None;
    }
    let of_kind = kind.strip_suffix("_call");
    let is_call = of_kind.is_some() || kind == "mcp_approval_request";
    let name = item.get("name").and_then(Value::as_str).filter(|name| !name.is_empty());
    name.or(of_kind).filter(|_| is_call)
}
