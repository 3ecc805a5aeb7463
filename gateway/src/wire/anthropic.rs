//! What an Anthropic provider tells an Anthropic client beyond the shape that all formats share, under
//! [`NATIVE`](super::chat::NATIVE): with it the client's objects are those of a direct connection.
//!
//! Beside the chunk stands the message without its content ([`MESSAGE`]); in the delta the content blocks ([`BLOCKS`]), each with
//! its `index`, and the end ([`END`]). The input of a tool is a JSON text there, `arguments`, which grows like any other; what a
//! model thought is not there but in `thinking_blocks`, in which nothing is put back.

use serde_json::Value;

use super::chat::{Delta, NATIVE};

/// Of a chunk: the message as its first event has it, without its content.
pub const MESSAGE: &str = "message";
/// Of a delta: content blocks or additions to them.
pub const BLOCKS: &str = "blocks";
/// Of a delta: the number of a block that is complete, or several.
pub const ENDED: &str = "ended";
/// Of a delta: what ends the message, `delta` and `usage`.
pub const END: &str = "end";
/// Of a delta: events that we do not know, as they came.
pub const RAW: &str = "raw";
/// Of a block: additions to it that we do not know, as they came.
pub const PIECES: &str = "pieces";
/// Of a block: the JSON text of a tool's input.
pub const ARGUMENTS: &str = "arguments";
/// Of a delta: it says something to whoever reads it, although no other format would show it.
pub const SHOWN: &str = "shown";

/// The numbers of the blocks that this delta completes.
pub fn ended(delta: &Value) -> Vec<u64> {
    match delta.get(NATIVE).and_then(|native| native.get(ENDED)) {
        Some(Value::Array(numbers)) => numbers.iter().filter_map(Value::as_u64).collect(),
        number => number.and_then(Value::as_u64).into_iter().collect(),
    }
}

/// Whether a delta shows something that only a client of the provider's format sees.
pub fn shows(delta: &Delta) -> bool {
    delta.rest.get(NATIVE).is_some_and(|native| native.get(SHOWN) == Some(&Value::Bool(true)))
}

/// Whether a block of this type has an `input`.
pub fn has_input(kind: &str) -> bool {
    kind == "tool_use" || kind.ends_with("_tool_use")
}
