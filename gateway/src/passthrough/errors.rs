//! Our own errors, as the provider whose API is passed through would say them.

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode};
use serde_json::{Value, json};

use crate::body::Body;
use crate::chat::error_in;
use crate::client_api::Format;
use crate::error::ApiError;

/// A provider's way to say that something is wrong.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Shape {
    OpenAi,
    Anthropic,
    Google,
    Amazon,
}

impl Shape {
    /// That of a provider API.
    pub(super) fn of(api: &str) -> Self {
        match api {
            "anthropic" => Self::Anthropic,
            "gemini" | "vertex" => Self::Google,
            "bedrock" => Self::Amazon,
            _ => Self::OpenAi,
        }
    }

    /// The format whose shape it is, or comes nearest.
    fn format(self) -> Format {
        if self == Self::Anthropic { Format::AnthropicMessages } else { Format::OpenAiChat }
    }

    /// An error as a response.
    pub(super) fn response(self, error: &ApiError, id: &str) -> Response<Body> {
        let mut response = error_in(self.format(), error, id);
        if matches!(self, Self::Google | Self::Amazon) {
            *response.body_mut() = Body::Full(Bytes::from(self.body(error, id).to_string()));
        }
        if self == Self::Amazon {
            let kind = HeaderValue::from_static(amazon(error.status()));
            response.headers_mut().insert("x-amzn-errortype", kind);
        }
        response
    }

    /// An error as a body or event.
    pub(super) fn body(self, error: &ApiError, id: &str) -> Value {
        let said = error.body();
        let message = said["error"]["message"].as_str().unwrap_or_default();
        match self {
            Self::Google => {
                let code = said["error"]["code"].as_str().unwrap_or_else(|| error.code());
                let reason = json!({ "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                    "reason": code.to_ascii_uppercase(), "domain": "sluice" });
                json!({ "error": { "code": error.status().as_u16(), "message": message,
                    "status": google(error.status()), "details": [reason] } })
            }
            Self::Amazon => json!({ "message": message }),
            Self::OpenAi | Self::Anthropic => self.format().api().error(error, id),
        }
    }
}

/// What Amazon calls the exception that ends a stream for a reason of ours.
pub(super) fn exception(error: &ApiError) -> &'static str {
    match error.status().as_u16() {
        429 => "throttlingException",
        503 => "serviceUnavailableException",
        500..=599 => "modelStreamErrorException",
        _ => "validationException",
    }
}

/// What Google calls a status.
fn google(status: StatusCode) -> &'static str {
    match status.as_u16() {
        401 => "UNAUTHENTICATED",
        403 => "PERMISSION_DENIED",
        404 => "NOT_FOUND",
        409 => "ABORTED",
        429 => "RESOURCE_EXHAUSTED",
        501 => "UNIMPLEMENTED",
        502 | 503 => "UNAVAILABLE",
        504 => "DEADLINE_EXCEEDED",
        500..=599 => "INTERNAL",
        _ => "INVALID_ARGUMENT",
    }
}

/// What Amazon does.
fn amazon(status: StatusCode) -> &'static str {
    match status.as_u16() {
        401 | 403 => "AccessDeniedException",
        404 => "ResourceNotFoundException",
        429 => "ThrottlingException",
        503 => "ServiceUnavailableException",
        504 => "ModelTimeoutException",
        500..=599 => "InternalServerException",
        _ => "ValidationException",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_has_the_shape_of_its_provider() {
        let error = ApiError::invalid("path", "the path is wrong");
        let google = Shape::of("gemini").body(&error, "r");
        assert_eq!(google["error"]["code"], 400);
        assert_eq!(google["error"]["status"], "INVALID_ARGUMENT");
        assert_eq!(google["error"]["message"], "the path is wrong");
        assert_eq!(google["error"]["details"][0]["reason"], "INVALID_VALUE");
        assert_eq!(Shape::of("bedrock").body(&error, "r"), json!({ "message": "the path is wrong" }));
        assert_eq!(Shape::of("anthropic").body(&error, "r")["type"], "error");
        assert_eq!(Shape::of("openai").body(&error, "r")["error"]["code"], "invalid_value");
        let response = Shape::of("bedrock").response(&ApiError::KeyMissing, "r");
        assert_eq!(
            (response.status().as_u16(), &response.headers()["x-amzn-errortype"]),
            (401, &HeaderValue::from_static("AccessDeniedException"))
        );
    }
}
