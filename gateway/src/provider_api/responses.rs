//! OpenAI's Responses, as its providers speak it: all that has tools of the provider, and models that answer by nothing else.

mod decode;
mod encode;
mod messages;
mod native;
mod stream;
#[cfg(test)]
mod tests;
pub mod words;

use serde_json::{Value, json};
use sluice_guardrails::proof::Spot;

use super::{DecodeError, EncodeError, Encoded, Encoding, ErrorAnswer, ProviderApi, Sent, StreamDecoder};
use crate::chat::request::ChatRequest;
use crate::client_api::Format;
use crate::wire::chat::Chunk;

/// `POST {base}/responses`.
pub struct Responses;

impl ProviderApi for Responses {
    fn name(&self) -> &'static str {
        "responses"
    }

    fn format(&self) -> Option<Format> {
        Some(Format::OpenAiResponses)
    }

    fn path(&self, how: &Encoding<'_>) -> Result<String, EncodeError> {
        Ok(how.own_path()?.unwrap_or_else(|| "/responses".to_owned()))
    }

    fn encode(&self, request: &ChatRequest, how: &Encoding<'_>) -> Result<Encoded, EncodeError> {
        encode::encode(request, how)
    }

    fn is_protocol(&self, spot: &Spot<'_>) -> bool {
        words::is_protocol(spot)
    }

    fn decode_whole(&self, body: &[u8], sent: &Sent) -> Result<Chunk, DecodeError> {
        decode::whole(body, sent)
    }

    fn stream(&self, sent: Sent) -> Box<dyn StreamDecoder> {
        Box::new(stream::ResponsesStream::new(sent))
    }

    fn decode_error(&self, answer: &ErrorAnswer<'_>) -> Option<Value> {
        error_of(&serde_json::from_slice(answer.body).ok()?)
    }
}

/// The error in a body, in a response that failed, or in an event, where its fields stand beside its `type`.
fn error_of(body: &Value) -> Option<Value> {
    let error = match body.get("error") {
        Some(error @ Value::Object(_)) => error,
        Some(Value::String(message)) => return Some(complete(&json!({ "message": message }))),
        _ if body.get("type").is_some_and(|kind| kind == "error") => body,
        _ => return None,
    };
    Some(complete(error))
}

/// An error with all fields that OpenAI's have.
fn complete(error: &Value) -> Value {
    let of = |name: &str| error.get(name).cloned().unwrap_or_default();
    let message = error.get("message").and_then(Value::as_str).unwrap_or("the provider reported an error");
    let kind = error.get("type").and_then(Value::as_str).filter(|kind| *kind != "error");
    let kind = kind.unwrap_or(match error.get("code").and_then(Value::as_str) {
        Some("server_error") | None => "server_error",
        Some(_) => "invalid_request_error",
    });
    json!({ "message": message, "type": kind, "param": of("param"), "code": of("code") })
}
