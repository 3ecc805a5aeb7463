//! Errors of AWS, by status or in the middle of a stream, as OpenAI's error object.

use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

use super::super::ErrorAnswer;

/// The header that names an error.
const ERROR_TYPE: &str = "x-amzn-errortype";

/// What models say that got more than they can read.
const TOO_LONG: &[&str] = &[
    "input is too long",
    "prompt is too long",
    "too many input tokens",
    "input tokens exceed",
    "exceeds the maximum number of tokens",
    "exceed context limit",
    "context length",
    "context window",
];

/// The error in an answer, if it is one.
pub(super) fn of_answer(answer: &ErrorAnswer<'_>) -> Option<Value> {
    let body: Option<Value> = serde_json::from_slice(answer.body).ok();
    // A service that does not know the operation says so one level deeper.
    let body =
        body.map(|mut body| match body.get("Output").is_some_and(|output| output.get("__type").is_some()) {
            true => body["Output"].take(),
            false => body,
        });
    let name = named(answer.headers, body.as_ref());
    if answer.status.is_success() && (name.is_none() || body.as_ref()?.get("output").is_some()) {
        return None;
    }
    let text = |field: &str| body.as_ref()?.get(field)?.as_str();
    let message = text("message").or_else(|| text("Message")).or_else(|| text("errorMessage"));
    if name.is_none() && message.is_none() {
        return None;
    }
    let status = if answer.status.is_success() { StatusCode::INTERNAL_SERVER_ERROR } else { answer.status };
    Some(object(name.as_deref().unwrap_or_default(), message, status))
}

/// The error of a stream's exception, whose name is written small there.
pub(super) fn of_exception(name: &str, payload: &[u8]) -> Value {
    let payload: Option<Value> = serde_json::from_slice(payload).ok();
    let message = payload.as_ref().and_then(|payload| payload.get("message")?.as_str());
    of_stream(name, message)
}

/// An error of a stream, with its message if it has one.
pub(super) fn of_stream(name: &str, message: Option<&str>) -> Value {
    let mut letters = name.chars();
    let name: String =
        letters.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(letters).collect();
    let status = match name.as_str() {
        "ThrottlingException" => StatusCode::TOO_MANY_REQUESTS,
        "ValidationException" => StatusCode::BAD_REQUEST,
        "ServiceUnavailableException" => StatusCode::SERVICE_UNAVAILABLE,
        "ModelTimeoutException" => StatusCode::REQUEST_TIMEOUT,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    };
    object(&name, message, status)
}

/// What a reason to stop says that is a failure of the model; none for the others.
pub(super) fn of_stop_reason(reason: &str) -> Option<&'static str> {
    match reason {
        "malformed_model_output" => Some("the model's output was malformed"),
        "malformed_tool_use" => Some("the model's tool call was malformed"),
        _ => None,
    }
}

/// `ThrottlingException` of `ThrottlingException:http://internal…` or `com.amazon.coral.service#ThrottlingException`.
fn named(headers: &HeaderMap, body: Option<&Value>) -> Option<String> {
    let header = headers.get(ERROR_TYPE).and_then(|value| value.to_str().ok());
    let in_body = || {
        let body = body?;
        body.get("__type").or_else(|| body.get("code"))?.as_str()
    };
    let name = header.or_else(in_body)?;
    let name = name.split(':').next().unwrap_or(name);
    let name = name.rsplit('#').next().unwrap_or(name).trim();
    (!name.is_empty()).then(|| name.to_owned())
}

fn object(name: &str, message: Option<&str>, status: StatusCode) -> Value {
    let code = code(name, message.unwrap_or_default(), status);
    let kind = match (code, status.as_u16()) {
        ("rate_limit_exceeded", _) | (_, 429) => "rate_limit_error",
        ("invalid_api_key", _) | (_, 401) => "authentication_error",
        (_, 403) => "permission_error",
        (_, 500..) => "server_error",
        _ => "invalid_request_error",
    };
    let message = message.map_or_else(
        || format!("the provider reported {}", if code.is_empty() { "an error" } else { code }),
        str::to_owned,
    );
    let code = if code.is_empty() { Value::Null } else { json!(code) };
    json!({ "message": message, "type": kind, "param": null, "code": code })
}

/// OpenAI's word for an error, where it has one, else AWS's own.
fn code<'n>(name: &'n str, message: &str, status: StatusCode) -> &'n str {
    let message = message.to_ascii_lowercase();
    match name {
        "ThrottlingException" | "TooManyRequestsException" => "rate_limit_exceeded",
        "ServiceQuotaExceededException" => "insufficient_quota",
        "ResourceNotFoundException" => "model_not_found",
        "UnrecognizedClientException"
        | "InvalidSignatureException"
        | "SignatureDoesNotMatch"
        | "IncompleteSignatureException"
        | "IncompleteSignature"
        | "InvalidClientTokenId"
        | "MissingAuthenticationTokenException"
        | "MissingAuthenticationToken"
        | "ExpiredTokenException"
        | "ExpiredToken" => "invalid_api_key",
        "ValidationException" | "ModelErrorException"
            if TOO_LONG.iter().any(|words| message.contains(words)) =>
        {
            "context_length_exceeded"
        }
        "ValidationException" if message.contains("model identifier is invalid") => "model_not_found",
        "ValidationException" if message.contains("content filter") => "content_filter",
        "" if status == StatusCode::TOO_MANY_REQUESTS => "rate_limit_exceeded",
        name => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(status: u16, named: Option<&str>, body: &str) -> Option<Value> {
        let headers = named.map(|name| (http::HeaderName::from_static(ERROR_TYPE), name.parse().unwrap()));
        let (status, headers) = (StatusCode::from_u16(status).unwrap(), headers.into_iter().collect());
        of_answer(&ErrorAnswer { status, headers: &headers, body: body.as_bytes() })
    }

    #[test]
    fn an_error_has_openais_code_wherever_aws_names_it() {
        let message = |text: &str| json!({ "message": text }).to_string();
        let cases = [
            (429, Some("ThrottlingException:http://internal.amazon.com/coral/"), message("Too many requests"), "rate_limit_exceeded", "rate_limit_error"),
            (400, None, r#"{"__type":"com.amazon.coral.service#ThrottlingException","message":"slow down"}"#.to_owned(), "rate_limit_exceeded", "rate_limit_error"),
            (400, Some("ValidationException"), message("Input is too long for requested model."), "context_length_exceeded", "invalid_request_error"),
            (400, Some("ValidationException"), message("The model returned the following errors: prompt is too long: 205000 tokens > 200000 maximum"), "context_length_exceeded", "invalid_request_error"),
            (400, Some("ValidationException"), message("The provided model identifier is invalid."), "model_not_found", "invalid_request_error"),
            (400, Some("ValidationException"), message("temperature is out of range"), "ValidationException", "invalid_request_error"),
            (400, Some("ValidationException"), message("The model returned the following errors: Output blocked by content filtering policy"), "content_filter", "invalid_request_error"),
            (400, Some("ServiceQuotaExceededException"), message("quota"), "insufficient_quota", "invalid_request_error"),
            (403, Some("UnrecognizedClientException"), message("The security token included in the request is invalid."), "invalid_api_key", "authentication_error"),
            (403, Some("AccessDeniedException"), r#"{"Message":"You don't have access to the model."}"#.to_owned(), "AccessDeniedException", "permission_error"),
            (404, None, r#"{"Output":{"__type":"com.amazon.coral.service#UnknownOperationException"},"Version":"1.0"}"#.to_owned(), "UnknownOperationException", "invalid_request_error"),
            (503, Some("ServiceUnavailableException"), String::new(), "ServiceUnavailableException", "server_error"),
        ];
        for (status, named, body, code, kind) in cases {
            let error = answered(status, named, &body).unwrap();
            assert_eq!((&error["code"], &error["type"]), (&json!(code), &json!(kind)), "{body}");
            assert!(error["message"].as_str().is_some_and(|text| !text.is_empty()));
        }
    }

    #[test]
    fn what_is_no_error_is_none() {
        let answer = r#"{"output":{"message":{"role":"assistant","content":[]}},"stopReason":"end_turn"}"#;
        assert_eq!(answered(200, None, answer), None);
        assert_eq!(answered(502, None, "<html>"), None);
        assert_eq!(answered(200, None, "<html>"), None);
        assert!(answered(200, Some("InternalServerException"), "{}").is_some(), "an error that says 200");
    }

    #[test]
    fn an_exception_of_a_stream_is_the_same_error() {
        let error = of_exception("throttlingException", br#"{"message":"Too many tokens"}"#);
        assert_eq!(
            (&error["code"], &error["message"]),
            (&json!("rate_limit_exceeded"), &json!("Too many tokens"))
        );
        let error = of_exception("modelStreamErrorException", b"");
        assert_eq!(
            (&error["code"], &error["type"]),
            (&json!("ModelStreamErrorException"), &json!("server_error"))
        );
    }
}
