//! Errors as Google reports them: `{"error": {"code", "message", "status", "details"}}`, in streams also as the only item of a list.

use serde_json::{Map, Value, json};

/// The kind of detail that says when to come back.
const RETRY_INFO: &str = "google.rpc.RetryInfo";

/// The error that a body reports, as OpenAI's error object.
pub(super) fn reported(body: &Value) -> Option<Value> {
    let body = match body {
        Value::Array(items) => items.first()?,
        body => body,
    };
    let error = match body.get("error")? {
        Value::Object(error) => error,
        // Their token and proxy servers.
        Value::String(word) => {
            return Some(
                json!({ "message": word, "type": "invalid_request_error", "param": null, "code": null }),
            );
        }
        _ => return None,
    };
    let word = |name: &str| error.get(name).and_then(Value::as_str).unwrap_or_default();
    let (message, status) = (word("message"), word("status"));
    let number = error.get("code").and_then(Value::as_u64).unwrap_or_default();
    let kind = match number {
        401 => "authentication_error",
        403 => "permission_error",
        429 => "rate_limit_error",
        500.. => "server_error",
        _ => "invalid_request_error",
    };
    let mut told =
        json!({ "message": message, "type": kind, "param": null, "code": code(error, status, message) });
    // Other details name the operator's project.
    let details: Vec<&Value> = details(error).filter(|detail| is_kind(detail, RETRY_INFO)).collect();
    if !details.is_empty() {
        told["details"] = json!(details);
    }
    Some(told)
}

fn details(error: &Map<String, Value>) -> impl Iterator<Item = &Value> {
    error.get("details").and_then(Value::as_array).into_iter().flatten()
}

fn is_kind(detail: &Value, kind: &str) -> bool {
    detail["@type"].as_str().is_some_and(|name| name.ends_with(kind))
}

fn code(error: &Map<String, Value>, status: &str, message: &str) -> Value {
    let lower = message.to_ascii_lowercase();
    let reasons = || details(error).filter_map(|detail| detail["reason"].as_str());
    // It says 400 where others say 401.
    if status == "UNAUTHENTICATED" || reasons().any(|reason| reason.starts_with("API_KEY_")) {
        return json!("invalid_api_key");
    }
    if lower.contains("exceeds the maximum number of tokens") || lower.contains("input context is too long") {
        return json!("context_length_exceeded");
    }
    let quotas = details(error).filter_map(|detail| detail["violations"].as_array()).flatten();
    let of_a_day = |quota: &Value| quota["quotaId"].as_str().is_some_and(|id| id.contains("PerDay"));
    match status {
        "RESOURCE_EXHAUSTED" if quotas.into_iter().any(of_a_day) => json!("insufficient_quota"),
        "RESOURCE_EXHAUSTED" => json!("rate_limit_exceeded"),
        "NOT_FOUND" => json!("model_not_found"),
        "" => Value::Null,
        other => json!(other.to_ascii_lowercase()),
    }
}

/// An answer without candidates whose prompt was refused: an error like that by which others refuse one.
pub(super) fn refused_prompt(body: &Value) -> Option<Value> {
    let reason = body.get("promptFeedback")?.get("blockReason")?.as_str()?;
    if body.get("candidates").and_then(Value::as_array).is_some_and(|candidates| !candidates.is_empty()) {
        return None;
    }
    let is_word = !reason.is_empty() && reason.bytes().all(|b| b.is_ascii_uppercase() || b == b'_');
    let reason = if is_word { reason } else { "OTHER" };
    Some(json!({
        "message": format!("the provider refused the prompt by its content policy ({reason})"),
        "type": "invalid_request_error", "param": "messages", "code": "content_filter",
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::borrow::Borrow;

    fn told(code: u64, status: &str, message: &str, details: impl Borrow<Value>) -> Value {
        reported(
            &json!({ "error": { "code": code, "message": message, "status": status, "details": details.borrow() } }),
        )
        .unwrap()
    }

    #[test]
    fn what_an_error_means_is_told_by_the_codes_that_clients_know() {
        let info =
            json!([{ "@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID" }]);
        let day = json!([{ "@type": "type.googleapis.com/google.rpc.QuotaFailure",
            "violations": [{ "quotaId": "GenerateRequestsPerDayPerProjectPerModel-FreeTier" }] }]);
        let long = "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).";
        let cases = [
            (
                told(400, "INVALID_ARGUMENT", "API key not valid. Please pass a valid API key.", info),
                "invalid_api_key",
            ),
            (told(401, "UNAUTHENTICATED", "no", json!([])), "invalid_api_key"),
            (told(400, "INVALID_ARGUMENT", long, Value::Null), "context_length_exceeded"),
            (told(429, "RESOURCE_EXHAUSTED", "too many", json!([])), "rate_limit_exceeded"),
            (told(429, "RESOURCE_EXHAUSTED", "too many", day), "insufficient_quota"),
            (told(404, "NOT_FOUND", "models/x is not found", json!([])), "model_not_found"),
            (told(503, "UNAVAILABLE", "The model is overloaded.", json!([])), "unavailable"),
            (told(400, "INVALID_ARGUMENT", "no", json!([])), "invalid_argument"),
        ];
        for (error, code) in cases {
            assert_eq!(error["code"], code, "{error}");
        }
        assert_eq!(told(503, "UNAVAILABLE", "The model is overloaded.", json!([]))["type"], "server_error");
    }

    #[test]
    fn when_to_come_back_is_kept_and_whose_project_it_is_is_not() {
        let retry = json!({ "@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "19s" });
        let info = json!({ "@type": "type.googleapis.com/google.rpc.ErrorInfo", "metadata": { "consumer": "projects/4711" } });
        let error = told(429, "RESOURCE_EXHAUSTED", "no", json!([info, retry]));
        assert_eq!(error["details"], json!([retry]));
        let listed = json!([{ "error": { "code": 503, "message": "later", "status": "UNAVAILABLE" } }]);
        assert_eq!(reported(&listed).unwrap()["message"], "later");
        assert_eq!(reported(&json!({ "candidates": [] })), None);
    }

    #[test]
    fn a_refused_prompt_is_an_error_and_an_answer_that_was_broken_off_is_none() {
        let refused =
            json!({ "promptFeedback": { "blockReason": "PROHIBITED_CONTENT" }, "usageMetadata": {} });
        let error = refused_prompt(&refused).unwrap();
        assert_eq!(error["code"], "content_filter");
        assert!(error["message"].as_str().unwrap().contains("PROHIBITED_CONTENT"));
        let answered = json!({ "promptFeedback": { "blockReason": "SAFETY" }, "candidates": [{}] });
        assert_eq!(refused_prompt(&answered), None);
    }
}
