//! What the bodies of each format mean: what is set aside before two of them are compared, and nothing else is.
//!
//! The unit tests of the gateway read this file as well, so it needs nothing but JSON.

use serde_json::{Map, Value, json};

/// A request of this format without what may differ: the model, whether it streams, and spellings that mean the same.
pub fn request(format: &str, body: &Value) -> Value {
    let mut body = body.clone();
    forget(&mut body, &["model", "stream", "stream_options"]);
    match format {
        "openai" => {
            chat(&mut body);
            for message in items(&mut body, "messages") {
                // What OpenAI has no word for, and servers of its API may or may not get.
                forget(message, &["is_error", "reasoning_content", "thinking_blocks"]);
            }
            forget(&mut body, &["thinking"]);
        }
        "anthropic" | "vertex_anthropic" => anthropic(&mut body),
        "responses" => responses(&mut body),
        "gemini" => gemini(&mut body),
        "bedrock" => bedrock(&mut body),
        other => panic!("no format is called {other}"),
    }
    body
}

/// A request of any format, read as chat completions: also with what OpenAI has no word for.
pub fn fields(fields: &Map<String, Value>) -> Value {
    let mut body = Value::Object(fields.clone());
    forget(&mut body, &["model", "stream", "stream_options"]);
    chat(&mut body);
    body
}

/// A whole answer of this format: what is said, why it ended, and the tokens.
pub fn answer(format: &str, body: &Value) -> Value {
    match format {
        "openai" => openai_answer(body),
        "anthropic" => anthropic_answer(body),
        "responses" => responses_answer(body),
        other => panic!("no client speaks {other}"),
    }
}

/// The ids of the calls in an answer, in their order.
pub fn call_ids(format: &str, body: &Value) -> Vec<String> {
    let (calls, name) = match format {
        "openai" => ("/choices/0/message/tool_calls", "id"),
        "anthropic" => ("/content", "id"),
        _ => ("/output", "call_id"),
    };
    let calls = body.pointer(calls).and_then(Value::as_array).into_iter().flatten();
    let calls = calls.filter(|call| !matches!(call["type"].as_str(), Some("text" | "thinking")));
    calls.filter_map(|call| call[name].as_str().map(str::to_owned)).collect()
}

/// Where two values differ first, and how; none if they are equal.
pub fn difference(got: &Value, wanted: &Value) -> Option<String> {
    differ("", got, wanted)
}

fn differ(path: &str, got: &Value, wanted: &Value) -> Option<String> {
    match (got, wanted) {
        (Value::Object(one), Value::Object(other)) => {
            let missing = other.keys().filter(|key| !one.contains_key(*key));
            one.keys().chain(missing).find_map(|key| {
                let nothing = &Value::Null;
                let (one, other) = (one.get(key).unwrap_or(nothing), other.get(key).unwrap_or(nothing));
                differ(&format!("{path}.{key}"), one, other)
            })
        }
        (Value::Array(one), Value::Array(other)) if one.len() == other.len() => {
            let mut pairs = one.iter().zip(other).enumerate();
            pairs.find_map(|(at, (one, other))| differ(&format!("{path}[{at}]"), one, other))
        }
        // 1 and 1.0 are the same number.
        (Value::Number(one), Value::Number(other)) if one.as_f64() == other.as_f64() => None,
        _ if got == wanted => None,
        _ => Some(format!("at {path}: got {got}, wanted {wanted}")),
    }
}

fn chat(body: &mut Value) {
    forget(body, &["store"]);
    if let Some(most) = take(body, "max_completion_tokens") {
        body["max_tokens"] = most;
    }
    if body["parallel_tool_calls"] == true {
        forget(body, &["parallel_tool_calls"]);
    }
    if body["stop"].is_string() {
        body["stop"] = json!([body["stop"]]);
    }
    for message in items(body, "messages") {
        if message["role"] == "developer" {
            message["role"] = json!("system");
        }
        text_is_a_part(message, "content", "text");
        for part in items(message, "content") {
            if part["image_url"]["detail"] == "auto" {
                forget(&mut part["image_url"], &["detail"]);
            }
        }
        for call in items(message, "tool_calls") {
            arguments_are_json(&mut call["function"], "arguments");
        }
        if message.get("thinking_blocks").is_some() {
            // The same words once more.
            forget(message, &["reasoning_content"]);
        }
    }
    for tool in items(body, "tools") {
        schema_of(&mut tool["function"], "parameters");
    }
    if let Some(form) = body.get_mut("response_format").and_then(|form| form.get_mut("json_schema")) {
        forget(form, &["name", "strict"]);
    }
    without_null(body);
}

fn anthropic(body: &mut Value) {
    forget(body, &["metadata"]);
    text_is_a_part(body, "system", "text");
    if *body.get("tool_choice").unwrap_or(&Value::Null) == json!({ "type": "auto" }) {
        forget(body, &["tool_choice"]);
    }
    for message in items(body, "messages") {
        text_is_a_part(message, "content", "text");
        for block in items(message, "content") {
            text_is_a_part(block, "content", "text");
            if block["is_error"] == false {
                forget(block, &["is_error"]);
            }
        }
    }
    for tool in items(body, "tools") {
        forget(tool, &["strict", "type"]);
        schema_of(tool, "input_schema");
    }
    without_null(body);
}

fn responses(body: &mut Value) {
    forget(body, &["store"]);
    for item in items(body, "input") {
        if item["type"] == "message" {
            forget(item, &["type", "id", "status"]);
        }
        let kind = if item["role"] == "assistant" { "output_text" } else { "input_text" };
        text_is_a_part(item, "content", kind);
        if item.get("arguments").is_some() {
            arguments_are_json(item, "arguments");
        }
    }
    for tool in items(body, "tools") {
        schema_of(tool, "parameters");
    }
    if let Some(form) = body.pointer_mut("/text/format") {
        forget(form, &["name", "strict"]);
    }
    without_null(body);
}

fn gemini(body: &mut Value) {
    if let Some(system) = body.get_mut("systemInstruction") {
        forget(system, &["role"]);
    }
    for content in items(body, "contents") {
        for part in items(content, "parts") {
            // Models before Gemini 3 know no ids, and may be sent them or not.
            for name in ["functionCall", "functionResponse"] {
                if let Some(named) = part.get_mut(name) {
                    forget(named, &["id"]);
                }
            }
        }
    }
    for tools in items(body, "tools") {
        for function in items(tools, "functionDeclarations") {
            renamed(function, "parametersJsonSchema", "parameters");
            schema_of(function, "parameters");
        }
    }
    if let Some(config) = body.get_mut("generationConfig") {
        renamed(config, "responseJsonSchema", "responseSchema");
        forget_extra(config);
    }
    without_null(body);
}

/// Google's schemas did without it for long.
fn forget_extra(schema: &mut Value) {
    forget(schema, &["additionalProperties"]);
    match schema {
        Value::Object(fields) => fields.values_mut().for_each(forget_extra),
        Value::Array(all) => all.iter_mut().for_each(forget_extra),
        _ => {}
    }
}

fn bedrock(body: &mut Value) {
    for message in items(body, "messages") {
        for block in items(message, "content") {
            if block["toolResult"]["status"] == "success" {
                forget(&mut block["toolResult"], &["status"]);
            }
            if let Some(name) = block.get_mut("document").and_then(|document| document.get_mut("name")) {
                // It takes fewer characters than files' names have.
                let fits = |c: char| c.is_ascii_alphanumeric() || " -()[]".contains(c);
                let fine = name.as_str().is_some_and(|name| !name.is_empty() && name.chars().all(fits));
                *name = json!(if fine { "a fitting name" } else { "a name that it refuses" });
            }
        }
        without_null(message);
        items(message, "content").iter_mut().for_each(without_null);
    }
    if let Some(tools) = body.get_mut("toolConfig") {
        if *tools.get("toolChoice").unwrap_or(&Value::Null) == json!({ "auto": {} }) {
            forget(tools, &["toolChoice"]);
        }
        for tool in items(tools, "tools") {
            forget(&mut tool["toolSpec"], &["strict"]);
            schema_of(&mut tool["toolSpec"]["inputSchema"], "json");
        }
    }
    if let Some(form) = body.pointer_mut("/outputConfig/textFormat/structure/jsonSchema") {
        forget(form, &["name", "description"]);
        arguments_are_json(form, "schema");
    }
    without_null(body);
}

fn openai_answer(body: &Value) -> Value {
    let choice = &body["choices"][0];
    let mut message = choice["message"].clone();
    forget(&mut message, &["annotations"]);
    for call in items(&mut message, "tool_calls") {
        forget(call, &["id", "index"]);
        arguments_are_json(&mut call["function"], "arguments");
        without_null(call);
    }
    for block in items(&mut message, "thinking_blocks") {
        forget(block, &["index"]);
    }
    if message["content"] == "" {
        forget(&mut message, &["content"]);
    }
    without_null(&mut message);
    let usage = &body["usage"];
    let (read, made) = (&usage["prompt_tokens_details"], &usage["completion_tokens_details"]);
    json!({
        "message": message, "finish_reason": choice["finish_reason"], "prompt_tokens": usage["prompt_tokens"],
        "completion_tokens": usage["completion_tokens"], "total_tokens": usage["total_tokens"],
        "cached_tokens": number(&read["cached_tokens"]), "cache_creation_tokens": number(&read["cache_creation_tokens"]),
        "reasoning_tokens": number(&made["reasoning_tokens"]),
    })
}

fn anthropic_answer(body: &Value) -> Value {
    let mut content: Vec<Value> = Vec::new();
    for block in body["content"].as_array().into_iter().flatten() {
        let text = block["text"].as_str().unwrap_or_default();
        match content.last_mut() {
            Some(last) if block["type"] == "text" && last["type"] == "text" => {
                last["text"] = json!(format!("{}{text}", last["text"].as_str().unwrap_or_default()));
            }
            _ if block["type"] == "text" && text.is_empty() => {}
            _ => content.push(block.clone()),
        }
    }
    for block in &mut content {
        forget(block, &["id", "citations", "caller"]);
    }
    let usage = &body["usage"];
    json!({
        "type": body["type"], "role": body["role"], "content": content, "stop_reason": body["stop_reason"],
        "stop_sequence": body["stop_sequence"], "input_tokens": usage["input_tokens"], "output_tokens": usage["output_tokens"],
        "cache_read_input_tokens": number(&usage["cache_read_input_tokens"]),
        "cache_creation_input_tokens": number(&usage["cache_creation_input_tokens"]),
    })
}

fn responses_answer(body: &Value) -> Value {
    let mut output = body["output"].clone();
    for item in output.as_array_mut().into_iter().flatten() {
        forget(item, &["id", "call_id"]);
        if item.get("arguments").is_some() {
            arguments_are_json(item, "arguments");
        }
        for part in items(item, "content") {
            forget(part, &["annotations", "logprobs"]);
        }
    }
    let usage = &body["usage"];
    json!({
        "object": body["object"], "status": body["status"], "error": body["error"],
        "incomplete": body["incomplete_details"]["reason"], "output": output,
        "input_tokens": usage["input_tokens"], "output_tokens": usage["output_tokens"], "total_tokens": usage["total_tokens"],
        "cached_tokens": number(&usage["input_tokens_details"]["cached_tokens"]),
        "reasoning_tokens": number(&usage["output_tokens_details"]["reasoning_tokens"]),
    })
}

/// A count that is not told is none.
fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or(0)
}

fn forget(value: &mut Value, names: &[&str]) {
    if let Value::Object(fields) = value {
        names.iter().for_each(|name| drop(fields.remove(*name)));
    }
}

fn take(value: &mut Value, name: &str) -> Option<Value> {
    value.as_object_mut()?.remove(name)
}

fn renamed(value: &mut Value, from: &str, to: &str) {
    if let Some(field) = take(value, from) {
        value[to] = field;
    }
}

fn items<'v>(value: &'v mut Value, name: &str) -> &'v mut [Value] {
    value.get_mut(name).and_then(Value::as_array_mut).map(Vec::as_mut_slice).unwrap_or_default()
}

/// Fields that are `null`, or an empty list, are as good as absent.
fn without_null(value: &mut Value) {
    if let Value::Object(fields) = value {
        fields.retain(|_, field| !field.is_null() && *field != json!([]));
    }
    for name in ["messages", "tools"] {
        for item in items(value, name) {
            without_null(item);
        }
    }
}

/// A text is as good as a list of it alone.
fn text_is_a_part(value: &mut Value, name: &str, kind: &str) {
    match value.get(name) {
        Some(Value::String(text)) if text.is_empty() => forget(value, &[name]),
        Some(Value::String(text)) => value[name] = json!([{ "type": kind, "text": text }]),
        _ => {}
    }
}

/// Arguments are JSON in a text, whose spelling is nobody's business; nothing is an empty object.
fn arguments_are_json(value: &mut Value, name: &str) {
    let text = value[name].as_str().unwrap_or_default().trim().to_owned();
    value[name] = match text.as_str() {
        "" => json!({}),
        text => serde_json::from_str(text).unwrap_or_else(|_| json!(text)),
    };
}

/// A schema of no properties says as little as none.
fn schema_of(value: &mut Value, name: &str) {
    let properties = value.get(name).and_then(|schema| schema.get("properties"));
    if properties.and_then(Value::as_object).is_none_or(Map::is_empty) {
        forget(value, &[name]);
    }
    forget(value, &["strict"]);
}
