//! Messages as Anthropic's: a system prompt beside them, turns that alternate, blocks of content.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::tools::Names;
use crate::provider_api::{EncodeError, Encoding};
use crate::wire::responses::unseal;

/// Files that were uploaded before are behind this name.
const FILES_BETA: &str = "files-api-2025-04-14";

/// Blocks of this API that a client of another format may use all the same.
const OWN_BLOCKS: &[&str] = &[
    "container_upload",
    "document",
    "image",
    "redacted_thinking",
    "search_result",
    "tool_reference",
    "tool_use",
];

/// What a conversation came to.
pub(super) struct Said {
    pub(super) system: Vec<Value>,
    pub(super) messages: Vec<Value>,
    pub(super) betas: Vec<&'static str>,
    /// Where the last turn of the model called tools, it is told what it thought then.
    pub(super) replays_thinking: bool,
}

struct Turn {
    role: &'static str,
    blocks: Vec<Value>,
}

struct Reading<'a> {
    names: &'a Names<'a>,
    how: &'a Encoding<'a>,
    dropped: &'a mut Vec<String>,
    betas: Vec<&'static str>,
    /// Calls without an id, as they were before there were tools.
    nameless: usize,
}

/// Reads the messages.
pub(super) fn encode(
    messages: Option<&Value>,
    names: &Names<'_>,
    how: &Encoding<'_>,
    dropped: &mut Vec<String>,
) -> Result<Said, EncodeError> {
    let mut reading = Reading { names, how, dropped, betas: Vec::new(), nameless: 0 };
    let (mut system, mut turns) = (Vec::new(), Vec::<Turn>::new());
    for (at, message) in messages.and_then(Value::as_array).into_iter().flatten().enumerate() {
        let field = format!("messages[{at}]");
        let said = message.get("role").and_then(Value::as_str).unwrap_or_default();
        let (role, blocks) = match said {
            "system" | "developer" => {
                system.extend(reading.content(&field, message)?);
                continue;
            }
            "assistant" => ("assistant", reading.assistant(&field, message)?),
            "tool" | "function" => ("user", vec![reading.result(&field, message)?]),
            "user" => ("user", reading.content(&field, message)?),
            _ => {
                let field = format!("{field}.role");
                let expected = format!("'{field}' must be system, developer, user, assistant or tool");
                return Err(EncodeError::invalid(field, expected));
            }
        };
        if message.get("name").is_some_and(Value::is_string) && ["user", "assistant"].contains(&said) {
            reading.how.leave_out(&format!("{field}.name"), reading.dropped)?;
        }
        match turns.last_mut() {
            Some(turn) if turn.role == role => turn.blocks.extend(blocks),
            _ => turns.push(Turn { role, blocks }),
        }
    }
    let called = turns.iter().rev().find(|turn| turn.role == "assistant");
    let is = |block: &Value, kinds: &[&str]| kinds.iter().any(|kind| block["type"] == *kind);
    let replays_thinking = called.is_none_or(|turn| {
        !turn.blocks.iter().any(|block| is(block, &["tool_use"]))
            || turn.blocks.first().is_some_and(|block| is(block, &["thinking", "redacted_thinking"]))
    });
    let said = |Turn { role, blocks }| json!({ "role": role, "content": joined(blocks) });
    let spoken = turns.into_iter().filter(|turn| turn.role == "user" || !turn.blocks.is_empty());
    let betas = reading.betas;
    Ok(Said { system, messages: spoken.map(said).collect(), betas, replays_thinking })
}

/// One plain text stands for itself.
pub(super) fn joined(mut blocks: Vec<Value>) -> Value {
    let plain = |block: &Value| block["type"] == "text" && block.as_object().is_some_and(|o| o.len() == 2);
    match blocks.as_mut_slice() {
        [] => json!(""),
        [block] if plain(block) => block["text"].take(),
        _ => Value::Array(blocks),
    }
}

impl Reading<'_> {
    /// The blocks of a content.
    fn content(&mut self, field: &str, message: &Value) -> Result<Vec<Value>, EncodeError> {
        let mut blocks = match message.get("content") {
            Some(Value::String(text)) if !text.is_empty() => vec![json!({ "type": "text", "text": text })],
            Some(Value::Array(parts)) => {
                let mut blocks = Vec::with_capacity(parts.len());
                for (at, part) in parts.iter().enumerate() {
                    blocks.extend(self.part(&format!("{field}.content[{at}]"), part)?);
                }
                blocks
            }
            _ => Vec::new(),
        };
        if let (Some(cached), Some(last)) = (message.get("cache_control"), blocks.last_mut()) {
            last["cache_control"] = cached.clone();
        }
        Ok(blocks)
    }

    fn assistant(&mut self, field: &str, message: &Value) -> Result<Vec<Value>, EncodeError> {
        let list = |name: &str| message.get(name).and_then(Value::as_array).into_iter().flatten();
        let mut blocks: Vec<Value> = list("thinking_blocks").filter_map(signed).collect();
        blocks.extend(self.content(field, message)?);
        if let Some(refusal) = message.get("refusal").and_then(Value::as_str).filter(|text| !text.is_empty())
        {
            blocks.push(json!({ "type": "text", "text": refusal }));
        }
        for (at, call) in list("tool_calls").enumerate() {
            blocks.push(self.call(&format!("{field}.tool_calls[{at}]"), call)?);
        }
        if let Some(call) = message.get("function_call").filter(|call| call.is_object()) {
            self.nameless += 1;
            let call = json!({ "id": self.nameless_id(), "function": call });
            blocks.push(self.call(&format!("{field}.function_call"), &call)?);
        }
        Ok(blocks)
    }

    fn nameless_id(&self) -> String {
        format!("call_{}", self.nameless)
    }

    fn call(&self, field: &str, call: &Value) -> Result<Value, EncodeError> {
        let Some(function) = call.get("function").filter(|function| function.is_object()) else {
            let param = format!("{field}.type");
            let message = format!("'{param}' must be 'function' for this target");
            return Err(EncodeError::Unsupported { param, message });
        };
        let text = |value: &Value, name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
        let name = text(function, "name").unwrap_or_default();
        let arguments = text(function, "arguments").unwrap_or_default();
        let arguments = if arguments.trim().is_empty() { "{}" } else { arguments.as_str() };
        let Ok(input @ Value::Object(_)) = serde_json::from_str(arguments) else {
            let field = format!("{field}.function.arguments");
            return Err(EncodeError::invalid(&field, format!("'{field}' must be a JSON object as a text")));
        };
        let id = text(call, "id").unwrap_or_default();
        let mut block =
            json!({ "type": "tool_use", "id": id, "name": self.names.here(&name), "input": input });
        add_others(&mut block, call, &["id", "type", "function", "index", "extra_content"]);
        Ok(block)
    }

    fn result(&mut self, field: &str, message: &Value) -> Result<Value, EncodeError> {
        let id = message.get("tool_call_id").and_then(Value::as_str).map(str::to_owned);
        let id = id.unwrap_or_else(|| self.nameless_id());
        let mut block = json!({ "type": "tool_result", "tool_use_id": id });
        let uncached = json!({ "content": message.get("content") });
        let content = self.content(field, &uncached)?;
        if !content.is_empty() {
            block["content"] = joined(content);
        }
        add_others(&mut block, message, &["role", "tool_call_id", "content", "name"]);
        Ok(block)
    }

    /// The block of a part; none for an empty text, which the API refuses.
    fn part(&mut self, field: &str, part: &Value) -> Result<Option<Value>, EncodeError> {
        let kind = part.get("type").and_then(Value::as_str).unwrap_or_default();
        let text = |name: &str| part.get(name).and_then(Value::as_str).unwrap_or_default();
        let mut block = match kind {
            "text" | "refusal" => {
                if text(kind).is_empty() {
                    return Ok(None);
                }
                json!({ "type": "text", "text": text(kind) })
            }
            "image_url" => {
                let url = part.pointer("/image_url/url").or(part.get("image_url")).and_then(Value::as_str);
                image(&format!("{field}.image_url.url"), url.unwrap_or_default())?
            }
            "file" => self.file(&format!("{field}.file"), part.get("file").unwrap_or(&Value::Null))?,
            "thinking" => return Ok(signed(part)),
            kind if OWN_BLOCKS.contains(&kind)
                || kind.ends_with("_tool_use")
                || kind.ends_with("tool_result") =>
            {
                return Ok(Some(part.clone()));
            }
            _ => {
                let param = format!("{field}.type");
                let message = format!("'{param}' is a kind of content that this target does not take");
                return Err(EncodeError::Unsupported { param, message });
            }
        };
        let known = ["type", "text", "refusal", "image_url", "file"];
        add_others(&mut block, part, &known);
        Ok(Some(block))
    }

    fn file(&mut self, field: &str, file: &Value) -> Result<Value, EncodeError> {
        let text = |name: &str| file.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
        let mut block = if let Some(data) = text("file_data") {
            let (kind, data) = data_url(data).unwrap_or(("application/pdf", data));
            match kind {
                "application/pdf" => {
                    let source = json!({ "type": "base64", "media_type": kind, "data": data });
                    json!({ "type": "document", "source": source })
                }
                kind if kind.starts_with("image/") => {
                    return image(field, text("file_data").unwrap_or_default());
                }
                kind if kind.starts_with("text/") => {
                    let plain = STANDARD.decode(data).ok().and_then(|bytes| String::from_utf8(bytes).ok());
                    let Some(plain) = plain else {
                        let field = format!("{field}.file_data");
                        return Err(EncodeError::invalid(
                            &field,
                            format!("'{field}' must be base64 of UTF-8"),
                        ));
                    };
                    let source = json!({ "type": "text", "media_type": "text/plain", "data": plain });
                    json!({ "type": "document", "source": source })
                }
                _ => {
                    let param = format!("{field}.file_data");
                    let message = format!("'{param}' must be a PDF, a text or an image for this target");
                    return Err(EncodeError::Unsupported { param, message });
                }
            }
        } else if let Some(url) = text("file_url") {
            json!({ "type": "document", "source": { "type": "url", "url": url } })
        } else if let Some(id) = text("file_id") {
            if !self.betas.contains(&FILES_BETA) {
                self.betas.push(FILES_BETA);
            }
            json!({ "type": "document", "source": { "type": "file", "file_id": id } })
        } else {
            return Err(EncodeError::invalid(field, format!("'{field}' must hold 'file_data' or 'file_id'")));
        };
        if let Some(name) = text("filename") {
            block["title"] = json!(name);
        }
        Ok(block)
    }
}

/// Adds what a part has beside what it says, such as `cache_control`.
fn add_others(block: &mut Value, part: &Value, known: &[&str]) {
    for (name, value) in part.as_object().into_iter().flatten() {
        if !known.contains(&name.as_str())
            && !value.is_null()
            && (name == "cache_control" || name == "citations" || name == "is_error")
        {
            block[name] = value.clone();
        }
    }
}

/// A picture, by its address or in base64.
fn image(field: &str, url: &str) -> Result<Value, EncodeError> {
    let source = match data_url(url) {
        Some((kind, data)) => json!({ "type": "base64", "media_type": kind, "data": data }),
        None if url.starts_with("https://") || url.starts_with("http://") => {
            json!({ "type": "url", "url": url })
        }
        None => {
            let expected = format!("'{field}' must be an https address or a data URL in base64");
            return Err(EncodeError::invalid(field, expected));
        }
    };
    Ok(json!({ "type": "image", "source": source }))
}

/// The kind and the base64 of a `data:` URL.
fn data_url(url: &str) -> Option<(&str, &str)> {
    let (head, data) = url.strip_prefix("data:")?.split_once(',')?;
    Some((head.strip_suffix(";base64")?.split(';').next().unwrap_or_default(), data))
}

/// A block of thinking that its provider signed, as it came; others are refused there.
fn signed(block: &Value) -> Option<Value> {
    let mut block: Map<String, Value> = block.as_object()?.clone();
    let has = |name: &str| block.get(name).and_then(Value::as_str).is_some_and(|text| !text.is_empty());
    let is_signed = match block.get("type").and_then(Value::as_str) {
        _ if unseal(&Value::Object(block.clone())).is_some() => false,
        Some("thinking") => has("signature"),
        Some("redacted_thinking") => has("data"),
        _ => false,
    };
    if !is_signed {
        return None;
    }
    block.remove("index");
    if block.get("type").is_some_and(|kind| kind == "thinking") {
        block.entry("thinking").or_insert_with(|| json!(""));
    }
    Some(Value::Object(block))
}

/// The messages of a client of this format without thinking that nobody signed, or another provider, which the API refuses;
/// nothing if there is none of it.
pub(super) fn without_unsigned(said: &Map<String, Value>) -> Map<String, Value> {
    let is_unsigned =
        |block: &Value| (block["type"] == "thinking" && signed(block).is_none()) || unseal(block).is_some();
    let messages = said.get("messages").and_then(Value::as_array);
    let blocks = |message: &Value| message.get("content").and_then(Value::as_array).cloned();
    let Some(messages) = messages.filter(|messages| {
        messages.iter().any(|message| blocks(message).is_some_and(|blocks| blocks.iter().any(is_unsigned)))
    }) else {
        return Map::new();
    };
    let mut messages = messages.clone();
    for message in &mut messages {
        if let Some(Value::Array(blocks)) = message.get_mut("content") {
            blocks.retain(|block| !is_unsigned(block));
        }
    }
    messages.retain(|message| {
        message.get("content").and_then(Value::as_array).is_none_or(|blocks| !blocks.is_empty())
    });
    Map::from_iter([("messages".to_owned(), Value::Array(messages))])
}
