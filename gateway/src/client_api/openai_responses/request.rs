//! From items to messages. Field by field as OpenAI's reference describes both APIs.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};

use crate::error::ApiError;
use crate::wire::chat::ToolCall;
use crate::wire::responses::items::Called;
use crate::wire::responses::{self, settings};

/// How `encrypted_content` begins that holds another provider's signed reasoning, as one text.
const SEALED: &str = "sluice1.";

/// Fields for which what was said before, or will be asked for later, would have to be kept.
const STORED: [(&str, &str); 3] = [
    ("previous_response_id", "responses are not kept here: send the whole conversation as 'input'"),
    ("conversation", "conversations are not kept here: send the whole conversation as 'input'"),
    ("prompt", "prompts are not kept here: send 'instructions' and 'input'"),
];

/// Items that tell what the provider's own tools did. What the model then said stands in its messages, so that others can go on
/// without them.
const OF_PROVIDER: [&str; 5] =
    ["code_interpreter_call", "file_search_call", "mcp_call", "mcp_list_tools", "web_search_call"];

/// Checks what can't be answered whoever answers; gives the model and whether the answer is to be streamed.
pub(super) fn check(said: &Map<String, Value>) -> Result<(String, bool), ApiError> {
    let model = match said.get("model") {
        Some(Value::String(model)) if !model.is_empty() => model.clone(),
        Some(_) => return Err(ApiError::invalid("model", "'model' must be a non-empty string")),
        None => {
            return Err(ApiError::invalid("model", "'model' is missing: name the model that is to answer"));
        }
    };
    for (name, why) in STORED {
        if said.get(name).is_some_and(|value| !value.is_null()) {
            return Err(ApiError::invalid(name, format!("'{name}' can't be used: {why}")));
        }
    }
    let stream = flag(said, "stream")?;
    if flag(said, "background")? {
        return Err(ApiError::invalid(
            "background",
            "'background' can't be used: responses are not kept here",
        ));
    }
    Ok((model, stream))
}

fn flag(said: &Map<String, Value>, name: &str) -> Result<bool, ApiError> {
    match said.get(name) {
        None | Some(Value::Null) => Ok(false),
        Some(Value::Bool(set)) => Ok(*set),
        Some(_) => Err(ApiError::invalid(name, format!("'{name}' must be true or false"))),
    }
}

/// Signed reasoning of other providers as the one text that this API has for it.
pub(super) fn seal(blocks: &Value) -> String {
    format!("{SEALED}{}", URL_SAFE_NO_PAD.encode(blocks.to_string()))
}

/// Writes signed reasoning out again, so that guards can look into it.
pub(super) fn open_reasoning(said: &mut Map<String, Value>) {
    for item in said.get_mut("input").and_then(Value::as_array_mut).into_iter().flatten() {
        let sealed = item.get("encrypted_content").and_then(Value::as_str);
        let opened = sealed.and_then(|text| text.strip_prefix(SEALED)).and_then(|text| {
            let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
            serde_json::from_slice::<Value>(&bytes).ok().filter(Value::is_array)
        });
        if let (Some(blocks), Value::Object(item)) = (opened, item) {
            item.remove("encrypted_content");
            item.insert("thinking_blocks".to_owned(), blocks);
        }
    }
}

/// The request as chat completions say it.
pub(super) fn as_chat(said: &Map<String, Value>) -> Result<Map<String, Value>, ApiError> {
    let mut chat = Map::new();
    let mut messages = Messages::default();
    if let Some(instructions) = said.get("instructions").filter(|value| !value.is_null()) {
        messages.push(json!({ "role": "system", "content": instructions }));
    }
    match said.get("input") {
        Some(Value::String(text)) => messages.push(json!({ "role": "user", "content": text })),
        Some(Value::Array(items)) if !items.is_empty() => {
            for (at, item) in items.iter().enumerate() {
                messages.item(&format!("input[{at}]"), item)?;
            }
        }
        Some(_) => {
            return Err(ApiError::invalid("input", "'input' must be a string or a non-empty array of items"));
        }
        None => return Err(ApiError::invalid("input", "'input' is missing")),
    }
    if !messages.of_provider.is_empty() {
        chat.insert("provider_items".to_owned(), Value::Array(std::mem::take(&mut messages.of_provider)));
    }
    chat.insert("messages".to_owned(), Value::Array(messages.finish()));
    for (name, value) in said.iter().filter(|(_, value)| !value.is_null()) {
        field(name, value, &mut chat)?;
    }
    Ok(chat)
}

fn field(name: &str, value: &Value, chat: &mut Map<String, Value>) -> Result<(), ApiError> {
    let mut put = |name: &str, value: Value| drop(chat.insert(name.to_owned(), value));
    match name {
        // Said already, or about storing and travelling.
        "input" | "instructions" | "store" | "background" | "stream_options" => {}
        "max_output_tokens" => put("max_tokens", value.clone()),
        "top_logprobs" => {
            put("logprobs", json!(true));
            put("top_logprobs", value.clone());
        }
        "include" => {
            let (known, others): (Vec<_>, Vec<_>) =
                value.as_array().into_iter().flatten().partition(|item| {
                    matches!(
                        item.as_str(),
                        Some("message.output_text.logprobs" | "reasoning.encrypted_content")
                    )
                });
            if known.contains(&&json!("message.output_text.logprobs")) {
                put("logprobs", json!(true));
            }
            if !others.is_empty() {
                put("include", json!(others));
            }
        }
        "text" => {
            let mut rest = object(name, value)?.clone();
            if let Some(format) = rest.remove("format").filter(|format| !format.is_null())
                && format["type"] != "text"
            {
                put("response_format", settings::format_in_chat(format));
            }
            if let Some(verbosity) = rest.remove("verbosity").filter(|verbosity| !verbosity.is_null()) {
                put("verbosity", verbosity);
            }
            if !rest.is_empty() {
                put("text", Value::Object(rest));
            }
        }
        "reasoning" => {
            let mut rest = object(name, value)?.clone();
            if let Some(effort) = rest.remove("effort").filter(|effort| !effort.is_null()) {
                put("reasoning_effort", effort);
            }
            rest.retain(|_, value| !value.is_null());
            // What becomes of its summary is this API's affair, but an answer with one is another than one without.
            if !rest.is_empty() {
                put("reasoning", Value::Object(rest));
            }
        }
        "tools" => put("tools", tools(value)?),
        "tool_choice" => put("tool_choice", tool_choice(value)?),
        _ => put(name, value.clone()),
    }
    Ok(())
}

fn object<'v>(name: &str, value: &'v Value) -> Result<&'v Map<String, Value>, ApiError> {
    value.as_object().ok_or_else(|| ApiError::invalid(name, format!("'{name}' must be an object")))
}

fn tools(tools: &Value) -> Result<Value, ApiError> {
    let Some(tools) = tools.as_array() else {
        return Err(ApiError::invalid("tools", "'tools' must be an array"));
    };
    let tool = |(at, tool): (usize, &Value)| {
        let Some(fields) = tool.as_object() else {
            return Err(ApiError::invalid(
                format!("tools[{at}]"),
                format!("'tools[{at}]' must be an object"),
            ));
        };
        match fields.get("type") {
            Some(Value::String(_)) => Ok(settings::tool_in_chat(fields)),
            _ => {
                let path = format!("tools[{at}].type");
                Err(ApiError::invalid(&path, format!("'{path}' must be a string")))
            }
        }
    };
    tools.iter().enumerate().map(tool).collect::<Result<Vec<_>, _>>().map(Value::Array)
}

fn tool_choice(choice: &Value) -> Result<Value, ApiError> {
    match choice {
        Value::String(_) | Value::Object(_) => Ok(settings::choice_in_chat(choice)),
        _ => Err(ApiError::invalid("tool_choice", "'tool_choice' must be a string or an object")),
    }
}

/// Messages under way: what a model said in one turn stands in several items, and in one message.
#[derive(Default)]
struct Messages {
    done: Vec<Value>,
    turn: Map<String, Value>,
    /// What the provider's own tools did, and before which message.
    of_provider: Vec<Value>,
}

impl Messages {
    fn push(&mut self, message: Value) {
        self.end_turn();
        self.done.push(message);
    }

    fn end_turn(&mut self) {
        let mut turn = std::mem::take(&mut self.turn);
        let says = ["content", "tool_calls", "refusal"].iter().any(|name| turn.contains_key(*name));
        if says {
            turn.entry("content").or_insert(Value::Null);
            turn.insert("role".to_owned(), json!("assistant"));
            self.done.push(Value::Object(turn));
        }
    }

    fn finish(mut self) -> Vec<Value> {
        self.end_turn();
        self.done
    }

    fn item(&mut self, path: &str, item: &Value) -> Result<(), ApiError> {
        if !item.is_object() {
            return Err(ApiError::invalid(path, format!("'{path}' must be an object")));
        }
        let kind = item["type"].as_str().unwrap_or("message");
        match kind {
            "message" => self.message(path, item),
            "function_call" | "custom_tool_call" => {
                let given = if kind == "function_call" { "arguments" } else { "input" };
                for name in ["call_id", "name", given] {
                    text(path, item, name)?;
                }
                self.call(Called::of_item(item));
                Ok(())
            }
            "function_call_output" | "custom_tool_call_output" => {
                let content = content(&format!("{path}.output"), item.get("output"))?;
                self.push(json!({ "role": "tool", "tool_call_id": text(path, item, "call_id")?, "content": content }));
                Ok(())
            }
            "reasoning" => {
                self.reasoning(item);
                Ok(())
            }
            "item_reference" => {
                let message =
                    format!("'{path}' can't be used: items are not kept here, send the item itself");
                Err(ApiError::invalid(path, message))
            }
            kind if OF_PROVIDER.contains(&kind) => {
                let place = self.done.len() + usize::from(!self.turn.is_empty());
                self.of_provider.push(json!({ "before": place, "item": item }));
                Ok(())
            }
            // What is lost without it has no word elsewhere: the target decides.
            kind => {
                text(path, item, "type")?;
                let given = ["_output", "_response", "_trigger"].iter().any(|end| kind.ends_with(end));
                self.push(json!({ "role": if given { "user" } else { "assistant" }, "content": [item] }));
                Ok(())
            }
        }
    }

    fn message(&mut self, path: &str, item: &Value) -> Result<(), ApiError> {
        let role = text(path, item, "role")?;
        let content = content(&format!("{path}.content"), item.get("content"))?;
        if role != "assistant" {
            self.push(json!({ "role": role, "content": content }));
            return Ok(());
        }
        if ["content", "tool_calls", "refusal"].iter().any(|name| self.turn.contains_key(*name)) {
            self.end_turn();
        }
        match content {
            Value::Array(parts) if parts.iter().all(|part| part["type"] == "refusal") => {
                let said: String = parts.iter().filter_map(|part| part["refusal"].as_str()).collect();
                self.turn.insert("refusal".to_owned(), json!(said));
            }
            content => drop(self.turn.insert("content".to_owned(), content)),
        }
        Ok(())
    }

    fn call(&mut self, called: Option<Called>) {
        let calls = self.turn.entry("tool_calls").or_insert_with(|| json!([]));
        if let (Value::Array(calls), Some(called)) = (calls, called) {
            let call = ToolCall { index: None, ..called.call(0) };
            calls.extend(serde_json::to_value(call));
        }
    }

    /// What a provider signed or encrypted is given back to it; what is neither is left out.
    fn reasoning(&mut self, item: &Value) {
        let signed = item.get("thinking_blocks").and_then(Value::as_array).cloned();
        let blocks = signed.unwrap_or_else(|| responses::block(item).into_iter().collect());
        if blocks.is_empty() {
            return;
        }
        if ["content", "tool_calls", "refusal"].iter().any(|name| self.turn.contains_key(*name)) {
            self.end_turn();
        }
        let all = self.turn.entry("thinking_blocks").or_insert_with(|| json!([]));
        if let Value::Array(all) = all {
            all.extend(blocks);
        }
    }
}

/// A field of an item that has to be a text.
fn text<'v>(path: &str, item: &'v Value, name: &str) -> Result<&'v str, ApiError> {
    item[name].as_str().ok_or_else(|| {
        let path = format!("{path}.{name}");
        ApiError::invalid(&path, format!("'{path}' must be a string"))
    })
}

/// A text, or parts in the other API's words. One plain text is said as such.
fn content(path: &str, content: Option<&Value>) -> Result<Value, ApiError> {
    match content {
        Some(Value::String(text)) => Ok(json!(text)),
        Some(Value::Array(parts)) => {
            let part = |(at, value)| part(&format!("{path}[{at}]"), value);
            let parts = parts.iter().enumerate().map(part).collect::<Result<Vec<Value>, _>>()?;
            match parts.as_slice() {
                [only] if only["type"] == "text" && only.as_object().is_some_and(|part| part.len() == 2) => {
                    Ok(only["text"].clone())
                }
                _ => Ok(Value::Array(parts)),
            }
        }
        _ => Err(ApiError::invalid(path, format!("'{path}' must be a string or an array of parts"))),
    }
}

fn part(path: &str, part: &Value) -> Result<Value, ApiError> {
    let kind = text(path, part, "type")?;
    let given = |name: &str| part.get(name).filter(|value| !value.is_null()).cloned();
    match kind {
        "input_text" | "output_text" | "text" => {
            Ok(json!({ "type": "text", "text": text(path, part, "text")? }))
        }
        "refusal" => Ok(json!({ "type": "refusal", "refusal": text(path, part, "refusal")? })),
        // One without an address is a file that its provider keeps.
        "input_image" if given("image_url").is_some() => {
            let names = [("image_url", "url"), ("detail", "detail")];
            let image = names.iter().filter_map(|(from, to)| Some(((*to).to_owned(), given(from)?)));
            Ok(json!({ "type": "image_url", "image_url": image.collect::<Map<_, _>>() }))
        }
        "input_file" => {
            let names = ["file_data", "file_id", "file_url", "filename"];
            let file = names.iter().filter_map(|name| Some(((*name).to_owned(), given(name)?)));
            Ok(json!({ "type": "file", "file": file.collect::<Map<_, _>>() }))
        }
        // The target decides whether it knows it.
        _ => Ok(part.clone()),
    }
}
