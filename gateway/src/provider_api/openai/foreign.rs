//! Messages and tools of clients that speak another format: what OpenAI has no place for is taken out, or refused where something
//! would be lost by it.

use serde_json::{Value, json};

use crate::provider_api::{EncodeError, Encoding, is_hosted};

/// What messages, parts and calls may have beside OpenAI's own fields.
const BESIDE: &[&str] = &[
    "cache_control",
    "caller",
    "citations",
    "extra_content",
    "is_error",
    "reasoning_content",
    "reasoning_details",
    "thinking_blocks",
    "toolset_name",
];

fn strip(value: &mut Value) {
    if let Value::Object(members) = value {
        members.retain(|name, _| !BESIDE.contains(&name.as_str()));
    }
}

/// The messages as OpenAI knows them.
pub(super) fn messages(messages: &Value) -> Result<Value, EncodeError> {
    let mut out: Vec<Value> = Vec::new();
    // Pictures that tools gave back: here they are the user's.
    let mut shown = Vec::new();
    for (at, message) in messages.as_array().into_iter().flatten().enumerate() {
        let mut message = message.clone();
        strip(&mut message);
        let is_result = message["role"] == "tool";
        if !is_result && !shown.is_empty() {
            out.push(json!({ "role": "user", "content": std::mem::take(&mut shown) }));
        }
        if let Some(Value::Array(parts)) = message.get_mut("content") {
            for (number, part) in parts.iter_mut().enumerate() {
                strip(part);
                known(&format!("messages[{at}].content[{number}]"), part)?;
            }
            if is_result {
                let (texts, others): (Vec<_>, Vec<_>) =
                    std::mem::take(parts).into_iter().partition(|part| part["type"] == "text");
                shown.extend(others);
                *parts = texts;
                if parts.is_empty() {
                    message["content"] = json!("");
                }
            }
        }
        if let Some(Value::Array(calls)) = message.get_mut("tool_calls") {
            calls.iter_mut().for_each(strip);
        }
        out.push(message);
    }
    if !shown.is_empty() {
        out.push(json!({ "role": "user", "content": shown }));
    }
    Ok(Value::Array(out))
}

/// Content that this format knows.
fn known(field: &str, part: &Value) -> Result<(), EncodeError> {
    let kind = part.get("type").and_then(Value::as_str).unwrap_or_default();
    if ["text", "image_url", "file", "input_audio", "refusal"].contains(&kind) {
        return Ok(());
    }
    let param = format!("{field}.type");
    let message = format!("'{param}' is a kind of content that this target does not take");
    Err(EncodeError::Unsupported { param, message })
}

/// The tools as OpenAI knows them; none if none is left. What its own API has beside functions (searching, running code) is no tool
/// here, so the route decides what becomes of it.
pub(super) fn tools(
    tools: &Value,
    how: &Encoding<'_>,
    dropped: &mut Vec<String>,
) -> Result<Option<Value>, EncodeError> {
    let mut known = Vec::new();
    for (at, tool) in tools.as_array().into_iter().flatten().enumerate() {
        if is_hosted(tool) || tool.get("type").is_none() {
            if how.leave_out(&format!("tools[{at}]"), dropped)? {
                known.push(tool.clone());
            }
            continue;
        }
        let mut tool = tool.clone();
        if let Value::Object(members) = &mut tool {
            members.retain(|name, _| ["type", "function", "custom"].contains(&name.as_str()));
        }
        known.push(tool);
    }
    Ok((!known.is_empty()).then_some(Value::Array(known)))
}
