//! A request as Gemini takes it.

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::super::fields::Fields;
use super::super::{EncodeError, Encoded, Encoding, Sent};
use super::names::Names;
use super::turns::{Said, Turns};
use super::{config, generation, tools};
use crate::chat::request::ChatRequest;

/// Writes it. `ids`: calls and results have a place for their ids.
pub(super) fn encode(request: &ChatRequest, how: &Encoding<'_>, ids: bool) -> Result<Encoded, EncodeError> {
    let fields = Fields::new(request.fields());
    let (mut names, mut dropped) = (Names::default(), Vec::new());
    let messages = fields.take("messages").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let Said { contents, system } = Turns::new(&mut names, ids, generation(how.model)).read(messages)?;
    let mut body = Map::from_iter([("contents".to_owned(), Value::Array(contents))]);
    if !system.is_empty() {
        body.insert("systemInstruction".to_owned(), json!({ "parts": system }));
    }
    let mut config = config::config(&fields, how, &mut dropped)?;
    body.extend(tools::tools(&fields, &mut names, how, &mut dropped)?);
    if let Some(settings) = fields.take("safety_settings") {
        body.insert("safetySettings".to_owned(), settings.clone());
    }
    own(&fields, how, &mut Own { body: &mut body, config: &mut config, dropped: &mut dropped })?;
    if !config.is_empty() {
        body.insert("generationConfig".to_owned(), Value::Object(config));
    }
    for (name, value) in fields.rest(how, &mut dropped)? {
        body.insert(name.to_owned(), value.clone());
    }
    let sent = Sent { tools: names.sent, ..Sent::default() };
    let body = Bytes::from(Value::Object(body).to_string());
    Ok(Encoded { body, sent, dropped, ..Encoded::default() })
}

/// Where what only Gemini has goes.
struct Own<'a> {
    body: &'a mut Map<String, Value>,
    config: &'a mut Map<String, Value>,
    dropped: &'a mut Vec<String>,
}

/// What clients of Google's own endpoint in OpenAI's format say beside OpenAI's fields: `extra_body.google`, or `google` where their
/// SDK unpacked it (<https://ai.google.dev/gemini-api/docs/openai#extra-body>).
fn own(fields: &Fields<'_>, how: &Encoding<'_>, own: &mut Own<'_>) -> Result<(), EncodeError> {
    let nested = fields.take("extra_body");
    for (name, value) in
        nested.and_then(Value::as_object).into_iter().flatten().filter(|(name, _)| *name != "google")
    {
        if how.leave_out(&format!("extra_body.{name}"), own.dropped)? {
            own.body.insert(name.clone(), value.clone());
        }
    }
    let both = [nested.and_then(|nested| nested.get("google")), fields.take("google")];
    for (name, value) in both.into_iter().flatten().filter_map(Value::as_object).flatten() {
        match name.as_str() {
            "thinking_config" | "thinkingConfig" => {
                own.config.insert("thinkingConfig".to_owned(), value.clone());
            }
            "safety_settings" | "safetySettings" => {
                own.body.insert("safetySettings".to_owned(), value.clone());
            }
            "cached_content" | "cachedContent" => {
                own.body.insert("cachedContent".to_owned(), value.clone());
            }
            _ => {
                if how.leave_out(&format!("extra_body.google.{name}"), own.dropped)? {
                    own.body.insert(name.clone(), value.clone());
                }
            }
        }
    }
    Ok(())
}
