//! The messages of a conversation as Converse wants them: the operator's aside, and the others in turns of user and assistant.

use serde_json::{Map, Value, json};

use super::super::{EncodeError, Encoding};
use super::content::{self, Documents, cache_point, text_block, unsupported};
use super::names::{ToolNames, call_id};
use crate::wire::responses::unseal;

/// A conversation, as far as it is read.
pub(super) struct Conversation<'a> {
    how: &'a Encoding<'a>,
    names: &'a mut ToolNames,
    dropped: &'a mut Vec<String>,
    documents: Documents,
    /// What the operator says.
    pub(super) system: Vec<Value>,
    turns: Vec<Turn>,
    /// The tools that were called, by the names they are sent under, each once.
    pub(super) called: Vec<String>,
}

struct Turn {
    role: &'static str,
    content: Vec<Value>,
    /// The first message of it.
    at: usize,
}

impl<'a> Conversation<'a> {
    /// Reads messages.
    ///
    /// # Errors
    /// [`EncodeError`] by the path of what can't be said.
    pub(super) fn read(
        messages: Option<&Value>,
        how: &'a Encoding<'a>,
        names: &'a mut ToolNames,
        dropped: &'a mut Vec<String>,
    ) -> Result<Self, EncodeError> {
        let mut read = Self {
            how,
            names,
            dropped,
            documents: Documents::default(),
            system: Vec::new(),
            turns: Vec::new(),
            called: Vec::new(),
        };
        for (at, message) in messages.and_then(Value::as_array).into_iter().flatten().enumerate() {
            read.message(at, message)?;
        }
        read.check_documents()?;
        Ok(read)
    }

    /// The turns.
    pub(super) fn turns(&mut self) -> Value {
        let turns = self.turns.drain(..);
        turns.map(|turn| json!({ "role": turn.role, "content": turn.content })).collect()
    }

    fn message(&mut self, at: usize, message: &Value) -> Result<(), EncodeError> {
        let path = format!("messages[{at}]");
        if message.get("name").is_some_and(|name| !name.is_null()) {
            self.how.leave_out(&format!("{path}.name"), self.dropped)?;
        }
        match message.get("role").and_then(Value::as_str).unwrap_or_default() {
            "system" | "developer" => {
                let blocks = self.system_blocks(message, &path)?;
                self.system.extend(blocks);
            }
            "user" => {
                let blocks = self.blocks(message, &path)?;
                if blocks.is_empty() {
                    let path = format!("{path}.content");
                    return Err(EncodeError::invalid(
                        &path,
                        format!("'{path}' is empty: this target wants words"),
                    ));
                }
                self.turn("user", at, blocks);
            }
            "assistant" => {
                let blocks = self.assistant(message, &path)?;
                self.turn("assistant", at, blocks);
            }
            "tool" => {
                let blocks = self.tool_result(message, &path)?;
                self.turn("user", at, blocks);
            }
            _ => {
                let path = format!("{path}.role");
                return Err(unsupported(&path, "expected system, developer, user, assistant or tool"));
            }
        }
        Ok(())
    }

    /// Turns of one role that follow each other are one.
    fn turn(&mut self, role: &'static str, at: usize, mut content: Vec<Value>) {
        match self.turns.last_mut() {
            _ if content.is_empty() => {}
            Some(last) if last.role == role => last.content.append(&mut content),
            _ => self.turns.push(Turn { role, content, at }),
        }
    }

    /// The blocks of a message's content.
    fn blocks(&mut self, message: &Value, path: &str) -> Result<Vec<Value>, EncodeError> {
        let mut blocks = Vec::new();
        match message.get("content") {
            Some(Value::String(text)) => blocks.extend(text_block(text)),
            Some(Value::Array(parts)) => {
                for (at, part) in parts.iter().enumerate() {
                    let path = format!("{path}.content[{at}]");
                    let block = content::block(part, &path, &mut self.documents)?;
                    blocks.extend(block);
                    if !blocks.is_empty() {
                        blocks.extend(cache_point(part));
                    }
                }
            }
            _ => {}
        }
        if !blocks.is_empty() {
            blocks.extend(cache_point(message));
        }
        Ok(blocks)
    }

    fn system_blocks(&mut self, message: &Value, path: &str) -> Result<Vec<Value>, EncodeError> {
        let blocks = self.blocks(message, path)?;
        if blocks.iter().any(|block| block.get("text").is_none() && block.get("cachePoint").is_none()) {
            return Err(unsupported(&format!("{path}.content"), "expected text alone"));
        }
        Ok(blocks)
    }

    fn assistant(&mut self, message: &Value, path: &str) -> Result<Vec<Value>, EncodeError> {
        let mut blocks = reasoning(message);
        blocks.extend(message.get("refusal").and_then(Value::as_str).and_then(text_block));
        blocks.extend(self.blocks(message, path)?);
        if message.get("function_call").is_some_and(|call| !call.is_null()) {
            return Err(unsupported(&format!("{path}.function_call"), "expected 'tool_calls'"));
        }
        let calls = message.get("tool_calls").and_then(Value::as_array).into_iter().flatten();
        for (at, call) in calls.enumerate() {
            let call = self.tool_use(call, &format!("{path}.tool_calls[{at}]"))?;
            blocks.push(call);
        }
        Ok(blocks)
    }

    fn tool_use(&mut self, call: &Value, path: &str) -> Result<Value, EncodeError> {
        let function = &call["function"];
        let name = function.get("name").and_then(Value::as_str).ok_or_else(|| {
            let path = format!("{path}.function.name");
            EncodeError::invalid(&path, format!("'{path}' must be a string"))
        })?;
        let input = match function.get("arguments") {
            None | Some(Value::Null) => json!({}),
            Some(Value::String(arguments)) if arguments.trim().is_empty() => json!({}),
            Some(arguments) => {
                let read = arguments.as_str().and_then(|text| serde_json::from_str(text).ok());
                read.filter(Value::is_object).ok_or_else(|| {
                    let path = format!("{path}.function.arguments");
                    EncodeError::invalid(
                        &path,
                        format!("'{path}' must be a JSON object, written as a string"),
                    )
                })?
            }
        };
        let name = self.names.sent(name);
        if !self.called.contains(&name) {
            self.called.push(name.clone());
        }
        let id = call_id(call.get("id").and_then(Value::as_str).unwrap_or_default());
        Ok(json!({ "toolUse": { "toolUseId": id, "name": name, "input": input } }))
    }

    fn tool_result(&mut self, message: &Value, path: &str) -> Result<Vec<Value>, EncodeError> {
        let id = message.get("tool_call_id").and_then(Value::as_str).ok_or_else(|| {
            let path = format!("{path}.tool_call_id");
            EncodeError::invalid(&path, format!("'{path}' must be a string"))
        })?;
        let mut parts = self.blocks(message, path)?;
        // A place to keep up to stands behind a result, never in one.
        let mut after = Vec::new();
        parts.retain(|part| match part.get("cachePoint") {
            Some(_) => {
                after = vec![part.clone()];
                false
            }
            None => true,
        });
        if parts.iter().any(|part| part.get("audio").is_some()) {
            return Err(unsupported(&format!("{path}.content"), "expected text, images and files"));
        }
        let mut result = Map::new();
        result.insert("toolUseId".to_owned(), json!(call_id(id)));
        result.insert("content".to_owned(), Value::Array(parts));
        if message.get("is_error") == Some(&Value::Bool(true)) {
            result.insert("status".to_owned(), json!("error"));
        }
        let mut blocks = vec![json!({ "toolResult": result })];
        blocks.append(&mut after);
        Ok(blocks)
    }

    /// Documents don't go without words about them.
    fn check_documents(&self) -> Result<(), EncodeError> {
        for turn in &self.turns {
            let has = |key: &str| turn.content.iter().any(|block| block.get(key).is_some());
            if has("document") && !has("text") {
                let path = format!("messages[{}].content", turn.at);
                let message = format!("'{path}' has a file and no text, which this target wants beside it");
                return Err(EncodeError::invalid(path, message));
            }
        }
        Ok(())
    }
}

/// What the model thought before, as far as it is signed and goes back as it came. Other models don't want it back.
fn reasoning(message: &Value) -> Vec<Value> {
    let blocks = message.get("thinking_blocks").and_then(Value::as_array).into_iter().flatten();
    let said = |block: &Value| {
        let text = |field: &str| block.get(field).and_then(Value::as_str).filter(|text| !text.is_empty());
        match text("type")? {
            "thinking" => {
                let thought = block.get("thinking").and_then(Value::as_str).unwrap_or_default();
                let signed = json!({ "text": thought, "signature": text("signature")? });
                Some(json!({ "reasoningContent": { "reasoningText": signed } }))
            }
            "redacted_thinking" => Some(json!({ "reasoningContent": { "redactedContent": text("data")? } })),
            _ => None,
        }
    };
    blocks.filter(|block| unseal(block).is_none()).filter_map(said).collect()
}
