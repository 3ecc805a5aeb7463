//! Anthropic's Messages API.

mod decode;
mod encode;
mod messages;
mod model;
mod stream;
#[cfg(test)]
mod tests;
mod tools;
pub mod words;

pub(super) use encode::{Host, VERSION_IN_BODY, VERTEX_VERSION, encode_for};

use serde_json::{Value, json};
use sluice_guardrails::proof::Spot;

use super::{DecodeError, EncodeError, Encoded, Encoding, ErrorAnswer, ProviderApi, Sent, StreamDecoder};
use crate::chat::request::ChatRequest;
use crate::client_api::Format;
use crate::wire::chat::Chunk;

/// `POST {base}/messages`.
pub struct Anthropic;

impl ProviderApi for Anthropic {
    fn name(&self) -> &'static str {
        "anthropic"
    }

    fn format(&self) -> Option<Format> {
        Some(Format::AnthropicMessages)
    }

    fn path(&self, how: &Encoding<'_>) -> Result<String, EncodeError> {
        Ok(how.quirks.path.clone().unwrap_or_else(|| "/messages".to_owned()))
    }

    fn encode(&self, request: &ChatRequest, how: &Encoding<'_>) -> Result<Encoded, EncodeError> {
        encode_for(request, how, Host::Anthropic)
    }

    fn count(
        &self,
        request: &ChatRequest,
        how: &Encoding<'_>,
    ) -> Option<Result<(String, Encoded), EncodeError>> {
        let path = self.path(how).map(|path| path + "/count_tokens");
        Some(path.and_then(|path| Ok((path, self.encode(request, how)?))))
    }

    fn is_protocol(&self, spot: &Spot<'_>) -> bool {
        words::is_protocol(spot)
    }

    fn decode_whole(&self, body: &[u8], sent: &Sent) -> Result<Chunk, DecodeError> {
        decode::whole(body, sent)
    }

    fn stream(&self, sent: Sent) -> Box<dyn StreamDecoder> {
        Box::new(stream::AnthropicStream::new(sent))
    }

    fn decode_error(&self, answer: &ErrorAnswer<'_>) -> Option<Value> {
        error_of(&serde_json::from_slice(answer.body).ok()?)
    }
}

/// The error that a body or an event reports: `{"type": "error", "error": {"type", "message"}}`.
pub(super) fn error_of(body: &Value) -> Option<Value> {
    let error = body.get("error").filter(|error| error.is_object())?;
    let text = |name: &str| error.get(name).and_then(Value::as_str).unwrap_or_default();
    let (kind, message) = (text("type"), text("message"));
    Some(json!({ "message": message, "type": kind, "param": null, "code": code_of(kind, message) }))
}

/// What an error means, in the words that all provider APIs share, else the provider's own word.
fn code_of<'e>(kind: &'e str, message: &str) -> &'e str {
    let says = |words: &[&str]| words.iter().any(|words| message.contains(words));
    match kind {
        "invalid_request_error"
            if says(&["prompt is too long", "exceed context limit", "context window"]) =>
        {
            "context_length_exceeded"
        }
        "invalid_request_error" if says(&["content filtering policy"]) => "content_filter",
        "invalid_request_error" if says(&["credit balance is too low"]) => "insufficient_quota",
        "billing_error" => "insufficient_quota",
        "rate_limit_error" => "rate_limit_exceeded",
        "authentication_error" => "invalid_api_key",
        "not_found_error" if message.starts_with("model") => "model_not_found",
        kind => kind,
    }
}
