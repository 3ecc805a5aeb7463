//! From messages to items: what a model said in one turn stands in several, what it thought before the rest.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use crate::provider_api::{EncodeError, Encoding};
use crate::wire::chat::ToolCall;
use crate::wire::responses::items::Called;
use crate::wire::responses::unseal;

/// A conversation in this format.
pub(super) struct Said {
    /// What the operator says first, if that is words alone.
    pub(super) instructions: Option<Value>,
    pub(super) items: Vec<Value>,
}

/// Items under way.
struct Items<'a> {
    how: &'a Encoding<'a>,
    dropped: &'a mut Vec<String>,
    items: Vec<Value>,
    /// Calls of tools that take a text, whose results have a name of their own.
    custom: BTreeSet<String>,
    /// The name of the last call that came without an id.
    nameless: usize,
}

/// Reads the messages of a request.
pub(super) fn encode(
    messages: Option<&Value>,
    how: &Encoding<'_>,
    dropped: &mut Vec<String>,
) -> Result<Said, EncodeError> {
    let messages = messages.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let (instructions, rest) = match messages {
        [first, rest @ ..] if first["role"] == "system" && !rest.is_empty() => match words(&first["content"])
        {
            Some(words) => (Some(json!(words)), rest),
            None => (None, messages),
        },
        _ => (None, messages),
    };
    let before = messages.len() - rest.len();
    let mut all = Items { how, dropped, items: Vec::new(), custom: BTreeSet::new(), nameless: 0 };
    for (at, message) in rest.iter().enumerate() {
        all.message(&format!("messages[{}]", before + at), message)?;
    }
    Ok(Said { instructions, items: all.items })
}

/// A content that is one text.
fn words(content: &Value) -> Option<&str> {
    match content {
        Value::String(text) => Some(text),
        Value::Array(parts) => match parts.as_slice() {
            [part] if part["type"] == "text" => part["text"].as_str(),
            _ => None,
        },
        _ => None,
    }
}

impl Items<'_> {
    fn message(&mut self, path: &str, message: &Value) -> Result<(), EncodeError> {
        let role = message.get("role").and_then(Value::as_str).unwrap_or_default();
        match role {
            "user" | "system" | "developer" => {
                if message.get("name").is_some_and(Value::is_string) {
                    self.how.leave_out(&format!("{path}.name"), self.dropped)?;
                }
                let content = content(path, message, "input_text")?;
                self.items.push(json!({ "type": "message", "role": role, "content": content }));
                Ok(())
            }
            "assistant" => self.assistant(path, message),
            "tool" | "function" => {
                let id = message.get("tool_call_id").and_then(Value::as_str).map(str::to_owned);
                let id = id.unwrap_or_else(|| format!("call_{}", self.nameless));
                let custom = self.custom.contains(&id);
                let kind = if custom { "custom_tool_call_output" } else { "function_call_output" };
                let output = content(path, message, "input_text")?;
                self.items.push(json!({ "type": kind, "call_id": id, "output": output }));
                Ok(())
            }
            _ => {
                let field = format!("{path}.role");
                let expected = format!("'{field}' must be system, developer, user, assistant or tool");
                Err(EncodeError::invalid(field, expected))
            }
        }
    }

    fn assistant(&mut self, path: &str, message: &Value) -> Result<(), EncodeError> {
        let list = |name: &str| message.get(name).and_then(Value::as_array).into_iter().flatten();
        self.items.extend(list("thinking_blocks").filter_map(unseal));
        let mut said = content(path, message, "output_text")?;
        if let Some(refusal) = message.get("refusal").and_then(Value::as_str).filter(|text| !text.is_empty())
        {
            let refusal = json!({ "type": "refusal", "refusal": refusal });
            said = match said {
                Value::Array(mut parts) => {
                    parts.push(refusal);
                    Value::Array(parts)
                }
                Value::String(text) if !text.is_empty() => {
                    json!([{ "type": "output_text", "text": text }, refusal])
                }
                _ => json!([refusal]),
            };
        }
        if said.as_str().is_none_or(|text| !text.is_empty()) && said != json!([]) {
            self.items.push(json!({ "type": "message", "role": "assistant", "content": said }));
        }
        for (at, call) in list("tool_calls").enumerate() {
            self.call(&format!("{path}.tool_calls[{at}]"), call)?;
        }
        if let Some(function) = message.get("function_call").filter(|call| call.is_object()) {
            self.nameless += 1;
            let call =
                json!({ "id": format!("call_{}", self.nameless), "type": "function", "function": function });
            self.call(&format!("{path}.function_call"), &call)?;
        }
        Ok(())
    }

    fn call(&mut self, path: &str, call: &Value) -> Result<(), EncodeError> {
        let known = ["function", "custom"].iter().any(|kind| call.get(*kind).is_some_and(Value::is_object));
        let read = serde_json::from_value::<ToolCall>(call.clone()).ok().filter(|_| known);
        let Some(called) = read.map(|call| Called::of(&call)) else {
            let expected = format!("'{path}' must be a call of a function or of a custom tool");
            return Err(EncodeError::invalid(path, expected));
        };
        if called.custom {
            self.custom.insert(called.call_id.clone());
        }
        let mut item = called.item("completed");
        // They are of items that were answers once.
        if let Value::Object(item) = &mut item {
            item.remove("id");
            item.remove("status");
        }
        self.items.push(item);
        Ok(())
    }
}

/// A content: a text, or parts. `text`: what a text among them is called.
fn content(path: &str, message: &Value, text: &str) -> Result<Value, EncodeError> {
    match message.get("content") {
        Some(Value::Array(parts)) => {
            let part = |(at, value): (usize, &Value)| {
                part(&format!("{path}.content[{at}]"), value, text).transpose()
            };
            parts.iter().enumerate().filter_map(part).collect::<Result<Vec<_>, _>>().map(Value::Array)
        }
        Some(text @ Value::String(_)) => Ok(text.clone()),
        _ => Ok(json!("")),
    }
}

/// A part; none for one that only others give back.
fn part(path: &str, part: &Value, text: &str) -> Result<Option<Value>, EncodeError> {
    let of = |from: &str, name: &str| part.get(from).and_then(|inner| inner.get(name)).cloned();
    let kind = part.get("type").and_then(Value::as_str).unwrap_or_default();
    Ok(Some(match kind {
        "text" => json!({ "type": text, "text": part["text"] }),
        "refusal" => json!({ "type": "refusal", "refusal": part["refusal"] }),
        "image_url" => {
            let url = of("image_url", "url").or_else(|| part.get("image_url").cloned());
            let Some(url) = url.filter(Value::is_string) else {
                let field = format!("{path}.image_url.url");
                return Err(EncodeError::invalid(
                    &field,
                    format!("'{field}' must be an address or a data URL"),
                ));
            };
            let detail = of("image_url", "detail").unwrap_or(json!("auto"));
            json!({ "type": "input_image", "image_url": url, "detail": detail })
        }
        "file" => {
            let mut file = json!({ "type": "input_file" });
            for name in ["file_data", "file_id", "file_url", "filename"] {
                if let Some(value) = of("file", name) {
                    file[name] = value;
                }
            }
            file
        }
        "thinking" | "redacted_thinking" => return Ok(None),
        // This format's own words, also from clients of another.
        kind if kind.starts_with("input_") || kind == "output_text" => part.clone(),
        _ => {
            let param = format!("{path}.type");
            let message = format!("'{param}' is a kind of content that this target does not take");
            return Err(EncodeError::Unsupported { param, message });
        }
    }))
}

/// The input of a client of this format without reasoning that another provider signed, which no other reads; nothing if there is none.
pub(super) fn without_foreign_reasoning(said: &Map<String, Value>) -> Map<String, Value> {
    let is_opened = |item: &Value| item["type"] == "reasoning" && item.get("thinking_blocks").is_some();
    let Some(Value::Array(items)) = said.get("input") else { return Map::new() };
    if !items.iter().any(is_opened) {
        return Map::new();
    }
    let own = |item: &Value| match item.get("thinking_blocks").filter(|_| is_opened(item)) {
        Some(blocks) => blocks.as_array().into_iter().flatten().filter_map(unseal).collect(),
        None => vec![item.clone()],
    };
    Map::from_iter([("input".to_owned(), items.iter().flat_map(own).collect())])
}
