//! Requests of clients that speak another format, for a provider of OpenAI's: what it has no place for is taken out.

use bytes::Bytes;
use serde_json::{Map, Value, json};

use crate::chat::request::ChatRequest;
use crate::provider_api::{EncodeError, Encoded, Encoding};

/// Fields of other formats that this one does not have.
const OTHERS: &[&str] = &[
    "cache_control",
    "container",
    "context_management",
    "diagnostics",
    "inference_geo",
    "mcp_servers",
    "output_config",
    "speed",
    "thinking",
    "top_k",
];

/// Of these, those that only tell a provider how to save work: nobody misses them.
const INDIFFERENT: &[&str] = &["cache_control", "diagnostics"];

/// What messages, parts, calls and tools may have beside OpenAI's own fields.
const BESIDE: &[&str] =
    &["cache_control", "caller", "citations", "is_error", "thinking_blocks", "toolset_name"];

/// The request as OpenAI's chat completions say it.
pub(super) fn encode(request: &ChatRequest, how: &Encoding<'_>) -> Result<Encoded, EncodeError> {
    let (mut body, mut dropped) = (Map::new(), Vec::new());
    body.insert("model".to_owned(), json!(how.model));
    for (name, value) in request.fields() {
        let sent = match name.as_str() {
            "model" | "stream" | "stream_options" => continue,
            "messages" => messages(value)?,
            "tools" => tools(value)?,
            name if INDIFFERENT.contains(&name) => continue,
            name if OTHERS.contains(&name) && !how.leave_out(name, &mut dropped)? => continue,
            _ => value.clone(),
        };
        body.insert(name.clone(), sent);
    }
    if how.stream {
        body.insert("stream".to_owned(), json!(true));
        if how.quirks.stream_usage {
            body.insert("stream_options".to_owned(), json!({ "include_usage": true }));
        }
    }
    Ok(Encoded { body: Bytes::from(Value::Object(body).to_string()), dropped, ..Encoded::default() })
}

fn strip(value: &mut Value) {
    if let Value::Object(members) = value {
        members.retain(|name, _| !BESIDE.contains(&name.as_str()));
    }
}

fn messages(messages: &Value) -> Result<Value, EncodeError> {
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

fn tools(tools: &Value) -> Result<Value, EncodeError> {
    let mut tools = tools.clone();
    for (at, tool) in tools.as_array_mut().into_iter().flatten().enumerate() {
        let kind = tool.get("type").and_then(Value::as_str).unwrap_or_default();
        if !["function", "custom"].contains(&kind) {
            let param = format!("tools[{at}].type");
            let message = format!("'{param}' is a kind of tool that this target does not have");
            return Err(EncodeError::Unsupported { param, message });
        }
        if let Value::Object(members) = tool {
            members.retain(|name, _| ["type", "function", "custom"].contains(&name.as_str()));
        }
    }
    Ok(tools)
}
