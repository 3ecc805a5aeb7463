//! Anthropic's requests as OpenAI's chat completions say them.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

/// The same request. What has no counterpart keeps its own name.
pub(super) fn as_chat(said: &Map<String, Value>) -> Map<String, Value> {
    let mut out = Map::new();
    let mut messages = Vec::new();
    if let Some(content) = said.get("system").and_then(|system| content(system)) {
        messages.push(json!({ "role": "system", "content": content }));
    }
    for message in said.get("messages").and_then(Value::as_array).into_iter().flatten() {
        turn(message, &mut messages);
    }
    for (name, value) in said.iter().filter(|(_, value)| !value.is_null()) {
        match name.as_str() {
            "system" => {}
            "messages" => put(&mut out, "messages", Value::Array(std::mem::take(&mut messages))),
            "stop_sequences" => {
                if value.as_array().is_none_or(|stops| !stops.is_empty()) {
                    put(&mut out, "stop", value.clone());
                }
            }
            "tools" => {
                let tools = value.as_array().into_iter().flatten().map(tool).collect();
                put(&mut out, "tools", Value::Array(tools));
            }
            "tool_choice" => tool_choice(value, &mut out),
            "metadata" => metadata(value, &mut out),
            "output_config" => output_config(value, &mut out),
            "output_format" => put(&mut out, "response_format", response_format(value)),
            "service_tier" if value == "standard_only" => put(&mut out, "service_tier", json!("default")),
            _ => put(&mut out, name, value.clone()),
        }
    }
    out
}

fn put(out: &mut Map<String, Value>, name: &str, value: Value) {
    out.insert(name.to_owned(), value);
}

fn turn(message: &Value, out: &mut Vec<Value>) {
    match message.get("role").and_then(Value::as_str) {
        Some("assistant") => out.push(assistant(message)),
        Some(role @ ("user" | "system")) => {
            let Some(Value::Array(blocks)) = message.get("content") else {
                let content = message.get("content").cloned().unwrap_or_default();
                return out.push(json!({ "role": role, "content": content }));
            };
            let mut parts = Vec::new();
            let said = |parts: &mut Vec<Value>, out: &mut Vec<Value>| {
                if !parts.is_empty() {
                    out.push(json!({ "role": role, "content": joined(std::mem::take(parts)) }));
                }
            };
            for block in blocks {
                if block["type"] == "tool_result" {
                    said(&mut parts, out);
                    out.push(result(block));
                } else {
                    add_parts(block, &mut parts);
                }
            }
            said(&mut parts, out);
        }
        _ => out.push(message.clone()),
    }
}

/// One plain text stands for itself.
fn joined(mut parts: Vec<Value>) -> Value {
    let plain = |part: &Value| part["type"] == "text" && part.as_object().is_some_and(|part| part.len() == 2);
    match parts.as_mut_slice() {
        [part] if plain(part) => part["text"].take(),
        _ => Value::Array(parts),
    }
}

/// A content, if it is there.
fn content(content: &Value) -> Option<Value> {
    match content {
        Value::String(text) => Some(json!(text)),
        Value::Array(blocks) => {
            let mut parts = Vec::new();
            blocks.iter().for_each(|block| add_parts(block, &mut parts));
            (!parts.is_empty()).then(|| joined(parts))
        }
        _ => None,
    }
}

fn result(block: &Value) -> Value {
    let said = block.get("content").and_then(content).unwrap_or_else(|| json!(""));
    let mut message = json!({ "role": "tool", "tool_call_id": block["tool_use_id"], "content": said });
    for (name, value) in others(block, &["type", "tool_use_id", "content"]) {
        if name != "is_error" || *value == Value::Bool(true) {
            message[name] = value.clone();
        }
    }
    message
}

/// What an object has beside these fields.
fn others<'v>(object: &'v Value, known: &'v [&str]) -> impl Iterator<Item = (&'v str, &'v Value)> {
    let members = object.as_object().into_iter().flatten().map(|(name, value)| (name.as_str(), value));
    members.filter(|(name, value)| !known.contains(name) && !value.is_null())
}

fn assistant(message: &Value) -> Value {
    let Some(Value::Array(blocks)) = message.get("content") else {
        return json!({ "role": "assistant", "content": message["content"] });
    };
    let (mut parts, mut calls, mut signed, mut thoughts) =
        (Vec::new(), Vec::new(), Vec::new(), String::new());
    for block in blocks {
        let text = |name: &str| block.get(name).and_then(Value::as_str).unwrap_or_default();
        match text("type") {
            kind @ ("thinking" | "redacted_thinking") => {
                thoughts.push_str(text("thinking"));
                if kind == "redacted_thinking" || !text("signature").is_empty() {
                    signed.push(block.clone());
                }
            }
            "tool_use" => calls.push(call(block)),
            _ => add_parts(block, &mut parts),
        }
    }
    let content = if parts.is_empty() { Value::Null } else { joined(parts) };
    let mut said = json!({ "role": "assistant", "content": content });
    if !thoughts.is_empty() {
        said["reasoning_content"] = json!(thoughts);
    }
    if !signed.is_empty() {
        said["thinking_blocks"] = Value::Array(signed);
    }
    if !calls.is_empty() {
        said["tool_calls"] = Value::Array(calls);
    }
    said
}

fn call(block: &Value) -> Value {
    let input = block.get("input").filter(|input| !input.is_null());
    let arguments = input.map_or_else(|| "{}".to_owned(), Value::to_string);
    let function = json!({ "name": block["name"], "arguments": arguments });
    let mut call = json!({ "id": block["id"], "type": "function", "function": function });
    others(block, &["type", "id", "name", "input"]).for_each(|(name, value)| call[name] = value.clone());
    call
}

/// A block as parts of a message.
fn add_parts(block: &Value, parts: &mut Vec<Value>) {
    let source = &block["source"];
    let of_source = |name: &str| source.get(name).and_then(Value::as_str).unwrap_or_default();
    let mut part = match (block["type"].as_str().unwrap_or_default(), of_source("type")) {
        ("text", _) => json!({ "type": "text", "text": block["text"] }),
        ("image", "base64") => {
            let url = format!("data:{};base64,{}", of_source("media_type"), of_source("data"));
            json!({ "type": "image_url", "image_url": { "url": url } })
        }
        ("image", "url") => json!({ "type": "image_url", "image_url": { "url": of_source("url") } }),
        ("document", kind @ ("base64" | "text" | "url" | "file")) if is_plain(block) => {
            let mut file = match kind {
                "base64" => {
                    json!({ "file_data": format!("data:{};base64,{}", of_source("media_type"), of_source("data")) })
                }
                "text" => {
                    let encoded = STANDARD.encode(of_source("data"));
                    json!({ "file_data": format!("data:text/plain;base64,{encoded}") })
                }
                "url" => json!({ "file_url": of_source("url") }),
                _ => json!({ "file_id": of_source("file_id") }),
            };
            match block.get("title").and_then(Value::as_str) {
                Some(title) => file["filename"] = json!(title),
                None if kind == "base64" => file["filename"] = json!("document.pdf"),
                None => {}
            }
            json!({ "type": "file", "file": file })
        }
        // Not said otherwise by anybody.
        _ => return parts.push(block.clone()),
    };
    let said = ["type", "text", "source", "title", "citations"];
    others(block, &said).for_each(|(name, value)| part[name] = value.clone());
    if let Some(citations) =
        block.get("citations").filter(|said| said.as_array().is_some_and(|c| !c.is_empty()))
    {
        part["citations"] = citations.clone();
    }
    parts.push(part);
}

/// Whether a document says nothing beside what it holds.
fn is_plain(document: &Value) -> bool {
    let cites = document.pointer("/citations/enabled") == Some(&Value::Bool(true));
    !cites && document.get("context").is_none_or(Value::is_null)
}

fn tool(tool: &Value) -> Value {
    let is_function = tool.get("type").is_none_or(|kind| kind.is_null() || kind == "custom");
    if !is_function {
        return tool.clone();
    }
    let mut function = json!({ "name": tool["name"] });
    for (here, there) in
        [("description", "description"), ("input_schema", "parameters"), ("strict", "strict")]
    {
        if let Some(value) = tool.get(here).filter(|value| !value.is_null()) {
            function[there] = value.clone();
        }
    }
    let mut said = json!({ "type": "function", "function": function });
    let known = ["type", "name", "description", "input_schema", "strict"];
    others(tool, &known).for_each(|(name, value)| said[name] = value.clone());
    said
}

fn tool_choice(choice: &Value, out: &mut Map<String, Value>) {
    let said = match choice["type"].as_str() {
        Some("any") => json!("required"),
        Some(word @ ("auto" | "none")) => json!(word),
        Some("tool") => json!({ "type": "function", "function": { "name": choice["name"] } }),
        _ => choice.clone(),
    };
    put(out, "tool_choice", said);
    if choice["disable_parallel_tool_use"] == true {
        put(out, "parallel_tool_calls", json!(false));
    }
}

fn metadata(metadata: &Value, out: &mut Map<String, Value>) {
    let mut metadata = metadata.clone();
    if let Value::Object(members) = &mut metadata
        && let Some(user) = members.remove("user_id").filter(|user| !user.is_null())
    {
        put(out, "user", user);
    }
    if metadata.as_object().is_none_or(|members| !members.is_empty()) {
        put(out, "metadata", metadata);
    }
}

fn output_config(config: &Value, out: &mut Map<String, Value>) {
    let Some(members) = config.as_object() else { return put(out, "output_config", config.clone()) };
    let mut rest = Map::new();
    for (name, value) in members.iter().filter(|(_, value)| !value.is_null()) {
        match name.as_str() {
            "effort" => put(out, "reasoning_effort", value.clone()),
            "format" => put(out, "response_format", response_format(value)),
            _ => put(&mut rest, name, value.clone()),
        }
    }
    if !rest.is_empty() {
        put(out, "output_config", Value::Object(rest));
    }
}

fn response_format(format: &Value) -> Value {
    let Some(schema) = format.get("schema").filter(|_| format["type"] == "json_schema") else {
        return format.clone();
    };
    json!({ "type": "json_schema", "json_schema": { "name": "answer", "schema": schema, "strict": is_strict(schema) } })
}

/// Whether a schema is of the kind to which OpenAI's models can be held: every object names all it has, and needs all of it.
fn is_strict(schema: &Value) -> bool {
    match schema {
        Value::Object(members) => {
            let properties = members.get("properties").and_then(Value::as_object);
            let required = members.get("required").and_then(Value::as_array);
            let is_needed = |name: &String| required.is_some_and(|all| all.iter().any(|one| *one == **name));
            let closed = members.get("additionalProperties") == Some(&Value::Bool(false));
            properties.is_none_or(|properties| closed && properties.keys().all(is_needed))
                && members.values().all(is_strict)
        }
        Value::Array(items) => items.iter().all(is_strict),
        _ => true,
    }
}
