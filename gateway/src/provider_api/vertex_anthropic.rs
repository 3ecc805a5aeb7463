//! Anthropic's models on Vertex AI: the Messages API with the model in the address, its version in the body, and an account of
//! Google's. Targets of the kind `vertex` speak it by the names of their models.

use serde_json::Value;
use sluice_guardrails::proof::{Kind, Spot};

use super::anthropic::{self, Host};
use super::{
    DecodeError, EncodeError, Encoded, Encoding, ErrorAnswer, ProviderApi, Sent, StreamDecoder, gemini,
    segment,
};
use crate::chat::request::ChatRequest;
use crate::wire::chat::Chunk;

/// Who made them, where a name says it.
const PUBLISHER: &str = "anthropic/";

/// `POST {base}/publishers/anthropic/models/{model}:rawPredict` and `:streamRawPredict`.
pub struct VertexAnthropic;

impl VertexAnthropic {
    /// Whether a model of Vertex AI is Anthropic's, by its name.
    pub(super) fn makes(model: &str) -> bool {
        model.starts_with(PUBLISHER) || model.starts_with("claude")
    }
}

fn own_name(model: &str) -> &str {
    model.strip_prefix(PUBLISHER).unwrap_or(model)
}

impl ProviderApi for VertexAnthropic {
    fn name(&self) -> &'static str {
        "vertex_anthropic"
    }

    fn path(&self, how: &Encoding<'_>) -> Result<String, EncodeError> {
        let model = own_name(how.model);
        // What follows a colon is what to do.
        if model.contains(':') {
            return Err(EncodeError::Model);
        }
        let method = if how.stream { "streamRawPredict" } else { "rawPredict" };
        Ok(format!("/publishers/anthropic/models/{}:{method}", segment(model)?))
    }

    fn encode(&self, request: &ChatRequest, how: &Encoding<'_>) -> Result<Encoded, EncodeError> {
        anthropic::encode_for(request, how, Host::Vertex)
    }

    fn count(
        &self,
        request: &ChatRequest,
        how: &Encoding<'_>,
    ) -> Option<Result<(String, Encoded), EncodeError>> {
        // Here the model is in the body after all.
        let how = Encoding { model: own_name(how.model), ..*how };
        let encoded = anthropic::encode_for(request, &how, Host::VertexCount);
        Some(
            encoded
                .map(|encoded| ("/publishers/anthropic/models/count-tokens:rawPredict".to_owned(), encoded)),
        )
    }

    fn is_protocol(&self, spot: &Spot<'_>) -> bool {
        let version = match spot.kind {
            Kind::Key => spot.text == anthropic::VERSION_IN_BODY,
            Kind::Text => spot.key == anthropic::VERSION_IN_BODY && spot.text == anthropic::VERTEX_VERSION,
            Kind::Number => false,
        };
        version || anthropic::words::is_protocol(spot)
    }

    fn decode_whole(&self, body: &[u8], sent: &Sent) -> Result<Chunk, DecodeError> {
        anthropic::Anthropic.decode_whole(body, sent)
    }

    fn stream(&self, sent: Sent) -> Box<dyn StreamDecoder> {
        anthropic::Anthropic.stream(sent)
    }

    fn decode_error(&self, answer: &ErrorAnswer<'_>) -> Option<Value> {
        let body: Value = serde_json::from_slice(answer.body).ok()?;
        // What the model's side says is Anthropic's, what the cloud says before it is Google's.
        if body.pointer("/error/type").is_some_and(Value::is_string) {
            anthropic::error_of(&body)
        } else {
            gemini::error_of(&body)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use bytes::Bytes;
    use http::{HeaderMap, StatusCode};
    use serde_json::json;

    use super::*;
    use crate::client_api::Format;
    use crate::config::DropParams;
    use crate::provider_api::Quirks;

    fn with<T>(model: &str, stream: bool, then: impl FnOnce(&Encoding<'_>) -> T) -> T {
        let (quirks, settings) = (Quirks::default(), BTreeMap::new());
        then(&Encoding { model, stream, quirks: &quirks, settings: &settings, drop_params: DropParams::Drop })
    }

    fn parsed(format: Format, body: &'static str) -> ChatRequest {
        format.api().parse(&Bytes::from_static(body.as_bytes())).unwrap_or_else(|e| panic!("{e}"))
    }

    #[test]
    fn the_model_stands_in_the_address_and_nothing_else_does() {
        let path = |model: &str, stream| with(model, stream, |how| VertexAnthropic.path(how));
        let models = "/publishers/anthropic/models";
        let dated = "claude-sonnet-4-5@20250929";
        assert_eq!(path(dated, false).unwrap(), format!("{models}/{dated}:rawPredict"));
        assert_eq!(
            path("anthropic/claude-opus-4-8", true).unwrap(),
            format!("{models}/claude-opus-4-8:streamRawPredict")
        );
        for elsewhere in ["claude/../x", "claude:predict", "claude?x=y", "anthropic/"] {
            assert!(path(elsewhere, false).is_err(), "{elsewhere}");
        }
        assert!(VertexAnthropic::makes(dated) && !VertexAnthropic::makes("gemini-2.5-flash"));
    }

    #[test]
    fn a_clients_own_bytes_go_up_with_the_version_in_the_place_of_the_model() {
        let body = r#"{"model":"chat","max_tokens":9, "messages":[{"role":"user","content":"A \u2603"}],"novel" : [1.0],"stream":true}"#;
        let mut request = parsed(Format::AnthropicMessages, body);
        request.passed.insert("anthropic-version", "2023-06-01".parse().unwrap());
        request.passed.insert("anthropic-beta", "context-1m-2025-08-07".parse().unwrap());
        let encoded = with("claude-sonnet-4-5", true, |how| VertexAnthropic.encode(&request, how)).unwrap();
        assert_eq!(
            String::from_utf8_lossy(&encoded.body),
            r#"{"max_tokens":9,"messages":[{"role":"user","content":"A \u2603"}],"novel":[1.0],"stream":true,"anthropic_version":"vertex-2023-10-16"}"#
        );
        assert_eq!(encoded.headers["anthropic-beta"], "context-1m-2025-08-07");
        assert!(encoded.headers.get("anthropic-version").is_none(), "it stands in the body");
    }

    #[test]
    fn a_translated_request_names_its_version_and_no_model() {
        let request =
            parsed(Format::OpenAiChat, r#"{"model":"chat","messages":[{"role":"user","content":"Hi"}]}"#);
        let encoded = with("claude-sonnet-4-5", false, |how| VertexAnthropic.encode(&request, how)).unwrap();
        let body: Value = serde_json::from_slice(&encoded.body).unwrap();
        let wanted = json!({ "anthropic_version": "vertex-2023-10-16", "max_tokens": 8192,
            "messages": [{ "role": "user", "content": "Hi" }] });
        assert_eq!(body, wanted);
        assert!(encoded.headers.is_empty());
    }

    #[test]
    fn tokens_are_counted_by_a_model_of_its_own_that_is_told_of_which() {
        let body = r#"{"model":"chat","messages":[{"role":"user","content":"Hi"}]}"#;
        let request =
            crate::client_api::anthropic_messages::parse(&Bytes::from_static(body.as_bytes()), false);
        let request = request.unwrap_or_else(|e| panic!("{e}"));
        let counted = with("anthropic/claude-opus-4-8", false, |how| VertexAnthropic.count(&request, how));
        let (path, encoded) = counted.unwrap().unwrap();
        assert_eq!(path, "/publishers/anthropic/models/count-tokens:rawPredict");
        let body: Value = serde_json::from_slice(&encoded.body).unwrap();
        assert_eq!(
            (&body["model"], &body["anthropic_version"]),
            (&json!("claude-opus-4-8"), &json!("vertex-2023-10-16"))
        );
    }

    #[test]
    fn errors_of_the_cloud_and_of_the_model_are_both_read() {
        let code = |status: u16, body: Value| {
            let (status, headers) = (StatusCode::from_u16(status).unwrap(), HeaderMap::new());
            let body = body.to_string();
            let answer = ErrorAnswer { status, headers: &headers, body: body.as_bytes() };
            VertexAnthropic.decode_error(&answer).map(|error| error["code"].clone())
        };
        let model = json!({ "type": "error", "error": { "type": "invalid_request_error", "message": "prompt is too long: 9 > 8" } });
        assert_eq!(code(400, model), Some(json!("context_length_exceeded")));
        let cloud = json!([{ "error": { "code": 404, "message": "Publisher Model `x` was not found", "status": "NOT_FOUND" } }]);
        assert_eq!(code(404, cloud), Some(json!("model_not_found")));
        let quota =
            json!({ "error": { "code": 429, "message": "Quota exceeded", "status": "RESOURCE_EXHAUSTED" } });
        assert_eq!(code(429, quota), Some(json!("rate_limit_exceeded")));
        assert_eq!(code(200, json!({ "type": "message", "content": [] })), None);
    }
}
