//! Messages as turns: adjacent messages of one side are one turn, in which results of calls go first.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

use super::super::EncodeError;
use super::media;
use super::names::Names;

/// What stands where a signature must and none is: the call was another model's, or the client lost it
/// (<https://ai.google.dev/gemini-api/docs/thought-signatures>).
const NO_SIGNATURE: &str = "skip_thought_signature_validator";
/// From this generation on calls without a signature are refused, and results may hold images.
const SIGNED_SINCE: u32 = 3;
/// The place of a part that is no result.
const LAST: usize = usize::MAX;
/// Larger whole numbers lose digits when they are read as fractions.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// A conversation in the making.
pub(super) struct Turns<'n> {
    names: &'n mut Names,
    ids: bool,
    generation: Option<u32>,
    system: Vec<Value>,
    contents: Vec<Turn>,
    /// Calls by their ids: their names, and which they were of all.
    calls: HashMap<String, (String, usize)>,
    called: usize,
}

#[derive(Clone, Copy, PartialEq)]
enum Side {
    User,
    Model,
}

struct Turn {
    side: Side,
    /// With their places: that of a result is the number of its call.
    parts: Vec<(usize, Value)>,
}

/// What the request says in Gemini's words.
pub(super) struct Said {
    /// `contents`.
    pub(super) contents: Vec<Value>,
    /// The parts of `systemInstruction`.
    pub(super) system: Vec<Value>,
}

impl<'n> Turns<'n> {
    pub(super) fn new(names: &'n mut Names, ids: bool, generation: Option<u32>) -> Self {
        let (system, contents, calls) = (Vec::new(), Vec::new(), HashMap::new());
        Self { names, ids, generation, system, contents, calls, called: 0 }
    }

    /// All messages.
    pub(super) fn read(mut self, messages: &[Value]) -> Result<Said, EncodeError> {
        for (number, message) in messages.iter().enumerate() {
            self.message(message, &format!("messages[{number}]"))?;
        }
        if self.is_signed() {
            self.contents.iter_mut().for_each(sign);
        }
        let mut said = Said { contents: Vec::new(), system: self.system };
        for mut turn in self.contents {
            // Where calls have no ids, order tells which result belongs to which of the same name.
            turn.parts.sort_by_key(|(call, _)| *call);
            let parts: Vec<Value> = turn.parts.into_iter().map(|(_, part)| part).collect();
            let role = if turn.side == Side::Model { "model" } else { "user" };
            said.contents.push(json!({ "role": role, "parts": parts }));
        }
        if said.contents.is_empty() {
            // A system prompt alone asks for an answer to itself.
            said.contents.push(json!({ "role": "user", "parts": std::mem::take(&mut said.system) }));
        }
        Ok(said)
    }

    fn is_signed(&self) -> bool {
        self.generation.is_some_and(|generation| generation >= SIGNED_SINCE)
    }

    fn message(&mut self, message: &Value, at: &str) -> Result<(), EncodeError> {
        let parts = |name: &str| media::parts(message.get(name), &format!("{at}.{name}"));
        match message.get("role").and_then(Value::as_str).unwrap_or_default() {
            "system" | "developer" => self.system.append(&mut parts("content")?),
            "user" => self.add(Side::User, parts("content")?),
            "assistant" => {
                let parts = self.assistant(message, at)?;
                self.add(Side::Model, parts);
            }
            "tool" => self.result(message, at)?,
            _ => {
                let at = format!("{at}.role");
                return Err(EncodeError::Unsupported {
                    message: format!("'{at}' is not one that the target knows"),
                    param: at,
                });
            }
        }
        Ok(())
    }

    fn add(&mut self, side: Side, parts: Vec<Value>) {
        self.add_numbered(side, parts.into_iter().map(|part| (LAST, part)).collect());
    }

    fn add_numbered(&mut self, side: Side, mut parts: Vec<(usize, Value)>) {
        match self.contents.last_mut() {
            Some(turn) if turn.side == side => turn.parts.append(&mut parts),
            _ if parts.is_empty() => {}
            _ => self.contents.push(Turn { side, parts }),
        }
    }

    fn assistant(&mut self, message: &Value, at: &str) -> Result<Vec<Value>, EncodeError> {
        let mut parts = media::parts(message.get("content"), &format!("{at}.content"))?;
        if let Some(refusal) = message.get("refusal").and_then(Value::as_str).filter(|text| !text.is_empty())
        {
            parts.push(json!({ "text": refusal }));
        }
        parts.append(&mut media::parts(message.get("images"), &format!("{at}.images"))?);
        if let Some(signature) = signature(message) {
            match parts.last_mut() {
                Some(Value::Object(last)) => drop(last.insert("thoughtSignature".to_owned(), signature)),
                _ => parts.push(json!({ "text": "", "thoughtSignature": signature })),
            }
        }
        let calls = message.get("tool_calls").and_then(Value::as_array).into_iter().flatten();
        for (number, call) in calls.enumerate() {
            parts.push(self.call(call, &format!("{at}.tool_calls[{number}]"))?);
        }
        Ok(parts)
    }

    fn call(&mut self, call: &Value, at: &str) -> Result<Value, EncodeError> {
        let (Some(function), Some(name)) = (call.get("function"), call["function"]["name"].as_str()) else {
            return Err(EncodeError::Unsupported {
                param: at.to_owned(),
                message: format!("'{at}' is no call of a function, and the target knows no others"),
            });
        };
        let arguments = arguments(function.get("arguments")).ok_or_else(|| {
            let at = format!("{at}.function.arguments");
            EncodeError::invalid(&at, format!("'{at}' must be a JSON object in a string"))
        })?;
        let name = self.names.of(name);
        let mut said = json!({ "name": name, "args": arguments });
        if let Some(id) = call.get("id").and_then(Value::as_str).filter(|id| !id.is_empty()) {
            self.called += 1;
            self.calls.insert(id.to_owned(), (name, self.called));
            if self.ids {
                said["id"] = json!(id);
            }
        }
        let mut part = json!({ "functionCall": said });
        if let Some(signature) = signature(call) {
            part["thoughtSignature"] = signature;
        }
        Ok(part)
    }

    fn result(&mut self, message: &Value, at: &str) -> Result<(), EncodeError> {
        let text = |name: &str| message.get(name).and_then(Value::as_str);
        let id = text("tool_call_id").unwrap_or_default();
        let (name, number) = match (self.calls.get(id), text("name")) {
            (Some(call), _) => call.clone(),
            (None, Some(name)) => (self.names.of(name), self.called),
            (None, None) => {
                let at = format!("{at}.tool_call_id");
                let message = format!("'{at}' must be the id of a call in an earlier message");
                return Err(EncodeError::invalid(at, message));
            }
        };
        let parts = media::parts(message.get("content"), &format!("{at}.content"))?;
        let (texts, media): (Vec<Value>, Vec<Value>) =
            parts.into_iter().partition(|part| part.get("text").is_some());
        let texts: Vec<&str> = texts.iter().filter_map(|part| part["text"].as_str()).collect();
        let failed = message.get("is_error").and_then(Value::as_bool).unwrap_or_default();
        let mut said = json!({ "name": name, "response": response(&texts.join("\n\n"), failed) });
        if self.ids && !id.is_empty() {
            said["id"] = json!(id);
        }
        let mut parts = vec![(number, Value::Null)];
        if self.is_signed() && !media.is_empty() {
            said["parts"] = Value::Array(media);
        } else {
            // Beside it, where results have no place for them.
            parts.extend(media.into_iter().map(|part| (LAST, part)));
        }
        parts[0].1 = json!({ "functionResponse": said });
        self.add_numbered(Side::User, parts);
        Ok(())
    }
}

/// The signature that Google's own endpoint in OpenAI's format gives, and wants back, with this.
fn signature(holder: &Value) -> Option<Value> {
    let signature = holder.pointer("/extra_content/google/thought_signature")?;
    signature.as_str().is_some_and(|text| !text.is_empty()).then(|| signature.clone())
}

/// Of several calls the first must be signed.
fn sign(turn: &mut Turn) {
    let first = turn.parts.iter_mut().map(|(_, part)| part).find(|part| part.get("functionCall").is_some());
    if let Some(Value::Object(part)) = first {
        part.entry("thoughtSignature").or_insert_with(|| json!(NO_SIGNATURE));
    }
}

fn arguments(text: Option<&Value>) -> Option<Map<String, Value>> {
    match text {
        None | Some(Value::Null) => Some(Map::new()),
        Some(Value::String(text)) if text.trim().is_empty() => Some(Map::new()),
        Some(Value::String(text)) => serde_json::from_str(text).ok(),
        Some(_) => None,
    }
}

/// What a call gave back: an object as it is, everything else under the key that Google documents.
fn response(text: &str, failed: bool) -> Value {
    let object = serde_json::from_str::<Map<String, Value>>(text).ok().map(Value::Object);
    match object.filter(is_exact) {
        Some(object) if !failed => object,
        Some(object) => json!({ "error": object }),
        None => json!({ if failed { "error" } else { "output" }: text }),
    }
}

/// Whether no number in it lost digits when it was read.
fn is_exact(value: &Value) -> bool {
    match value {
        Value::Number(number) => {
            number.is_u64() || number.is_i64() || number.as_f64().is_some_and(|number| number.abs() < EXACT)
        }
        Value::Array(items) => items.iter().all(is_exact),
        Value::Object(members) => members.values().all(is_exact),
        _ => true,
    }
}
