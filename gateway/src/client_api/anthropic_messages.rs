//! Anthropic's Messages API as clients speak it.

mod as_chat;
pub mod estimate;
mod events;
mod said;
mod stream;
#[cfg(test)]
mod tests;
mod whole;

use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::{AnswerEncoder, ClientApi, Format};
use crate::chat::request::{ChatRequest, Delivery};
use crate::error::ApiError;
use crate::ids;
use crate::wire::chat::Chunk;

/// `POST /v1/messages`.
pub struct AnthropicMessages;

impl ClientApi for AnthropicMessages {
    fn parse(&self, body: &Bytes) -> Result<ChatRequest, ApiError> {
        parse(body, true)
    }

    fn as_chat(&self, said: &Map<String, Value>) -> Result<Map<String, Value>, ApiError> {
        Ok(as_chat::as_chat(said))
    }

    fn headers(&self) -> &'static [&'static str] {
        &["anthropic-beta", "anthropic-version"]
    }

    fn fresh_id(&self) -> String {
        ids::fresh("msg_")
    }

    fn encode_whole(&self, mut whole: Chunk, delivery: &Delivery) -> Bytes {
        if let Some(called) = &delivery.called {
            whole.model = called.as_ref().to_owned();
        }
        Bytes::from(whole::encode(whole).to_string())
    }

    fn stream(&self, delivery: &Delivery) -> Box<dyn AnswerEncoder> {
        Box::new(stream::StreamEncoder::new(delivery.called.clone()))
    }

    fn error(&self, error: &ApiError, id: &str) -> Value {
        let mut body = error_body(error);
        body["request_id"] = json!(id);
        body
    }
}

/// Reads a request. `answered`: it wants an answer, of which it has to say how long it may be, and not only a count.
///
/// # Errors
/// [`ApiError::Json`] and [`ApiError::Invalid`] with the path of the field.
pub fn parse(body: &Bytes, answered: bool) -> Result<ChatRequest, ApiError> {
    let fields = said::read(body, answered)?;
    let model = fields.get("model").and_then(Value::as_str).unwrap_or_default().to_owned();
    let stream = answered && fields.get("stream") == Some(&Value::Bool(true));
    let called = Some(Arc::from(model.as_str()));
    let mut request = ChatRequest::in_format(Format::AnthropicMessages, fields, body.clone(), model, stream)?;
    // Claude Code takes what another model thought for nothing that it could give back, and goes by this name.
    request.called = called;
    Ok(request)
}

/// An error in Anthropic's shape, without the request's id, which a stream's has not.
pub(super) fn error_body(error: &ApiError) -> Value {
    let of_openai = error.body();
    let told = &of_openai["error"];
    let mut body = json!({ "type": kind_of(error), "message": told["message"] });
    // What OpenAI's shape says beside the words helps here, too.
    for name in ["code", "param", "attempts", "reason"] {
        if let Some(value) = told.get(name).filter(|value| !value.is_null()) {
            body[name] = value.clone();
        }
    }
    json!({ "type": "error", "error": body })
}

/// What Anthropic's clients call an error of this status.
fn kind_of(error: &ApiError) -> &'static str {
    match error.status().as_u16() {
        401 => "authentication_error",
        402 => "billing_error",
        403 => "permission_error",
        404 => "not_found_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        504 => "timeout_error",
        503 | 529 => "overloaded_error",
        400..=499 => "invalid_request_error",
        _ => "api_error",
    }
}
