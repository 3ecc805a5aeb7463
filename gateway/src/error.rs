//! What a client is told when a request can't be answered: one table from error to status, type and code.

use std::sync::Arc;

use http::StatusCode;
use serde_json::{Value, json};
use sluice_guardrails::{Blocked, Class};

use crate::provider_api::EncodeError;
use crate::route::LEFT_ALONE;

/// Why a request got no answer. Messages name fields, models and targets; never content, never a secret.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ApiError {
    /// The body could not be read to its end.
    #[error("the request body could not be read: {0}")]
    BodyUnreadable(&'static str),
    /// The body is larger than `limits.max_body`.
    #[error("the request body is larger than {limit} bytes (limits.max_body)")]
    BodyTooLarge {
        /// The limit in bytes.
        limit: u64,
    },
    /// The body is no JSON, or repeats a key.
    #[error("the request body is not valid JSON: {0}")]
    Json(String),
    /// A field or header has the wrong form.
    #[error("{message}")]
    Invalid {
        /// The field's path, such as `messages[2].content`, or the header's name.
        param: String,
        /// What was expected.
        message: String,
    },
    /// A field says something that the target's API can't.
    #[error("{message}")]
    Unsupported {
        /// The field's path.
        param: String,
        /// What is wrong.
        message: String,
    },
    /// No virtual key was sent.
    #[error(
        "no API key was sent: put a virtual key of this gateway into 'Authorization: Bearer <key>', 'x-api-key' or 'api-key'"
    )]
    KeyMissing,
    /// A web page of elsewhere asks a gateway that wants no key.
    #[error(
        "a web page of another site may not use a gateway without keys: configure 'keys', or ask from a program"
    )]
    ForeignPage,
    /// The key is none of ours.
    #[error("the API key is not known to this gateway")]
    KeyUnknown,
    /// No route and no provider serves this model.
    #[error("the model '{model}' does not exist here: {hint}")]
    ModelNotFound {
        /// As asked for.
        model: String,
        /// What exists.
        hint: String,
    },
    /// The key may not use this model.
    #[error("this key may not use the model '{model}' (keys: models)")]
    ModelNotAllowed {
        /// As asked for.
        model: String,
    },
    /// No such path.
    #[error("no such endpoint: {method} {path}")]
    NoSuchEndpoint {
        /// The request's method.
        method: String,
        /// The request's path, without the query.
        path: String,
    },
    /// The path exists for another method.
    #[error("this endpoint takes {allowed} only")]
    MethodNotAllowed {
        /// The methods it takes.
        allowed: &'static str,
    },
    /// A guard refused the request.
    #[error("the request was refused by policy: it holds {what}, which must not leave ({setting})")]
    Blocked {
        /// `secret_detected` or `pii_detected`.
        code: &'static str,
        /// The entity or rule that was found.
        what: String,
        /// The setting that says so.
        setting: &'static str,
    },
    /// What was redacted stood in what was to be sent: a mistake of ours, after which nothing is sent.
    #[error(
        "a redacted value ({entity}) stood in what was to be sent to the provider, so nothing was sent; please tell whoever runs this gateway"
    )]
    Postcondition {
        /// The value's entity.
        entity: &'static str,
    },
    /// A text looks like an attempt to turn the model against whoever runs it.
    #[error(
        "the request was refused by policy: '{param}' looks like a prompt injection ({signals}; guardrails.injection)"
    )]
    InjectionBlocked {
        /// Where it stands.
        param: String,
        /// What speaks for it.
        signals: String,
    },
    /// It is about something that the gateway's operator does not want talked about.
    #[error("the request was refused by policy: {} (guardrails.topics)", about(.topic, .allowed))]
    TopicDenied {
        /// Where it stands.
        param: String,
        /// The topic's name; of what is about no allowed one, `off_topic`.
        topic: String,
        /// The names of what is allowed, if that is why.
        allowed: Arc<[String]>,
    },
    /// Requests can't be held against topics, and nothing goes on without it.
    #[error(
        "what the request is about can't be told at the moment, and without it nothing is answered (guardrails.topics: on_error: closed)"
    )]
    TopicsUnavailable,
    /// A guard ended the answer.
    #[error(
        "the answer was ended by policy: it holds {entity}, which must not be passed on (guardrails.output)"
    )]
    AnswerBlocked {
        /// What was found.
        entity: &'static str,
    },
    /// What is for in-house targets alone was to be sent to another one: a mistake of ours, after which nothing is sent.
    #[error(
        "a value ({entity}) that is for in-house targets alone stood in what was to be sent to another one, so nothing was sent; please tell whoever runs this gateway"
    )]
    OutOfHouse {
        /// The value's entity.
        entity: &'static str,
    },
    /// What is for in-house targets alone stands in a request for a model that has none.
    #[error(
        "the request was refused by policy: it holds {what}, which is for in-house targets alone, and the model '{model}' has none (guardrails: route)"
    )]
    NoInHouseTarget {
        /// The entity that was found.
        what: &'static str,
        /// The model asked for.
        model: String,
    },
    /// A part of the request is not to be sent, whatever it says.
    #[error("the request was refused by policy: '{param}' holds {what}, which must not leave ({setting})")]
    PartBlocked {
        /// `media_blocked`, `signed_thinking_blocked` or `template_token_blocked`.
        code: &'static str,
        /// Where it stands.
        param: String,
        /// What it is.
        what: String,
        /// The setting that says so.
        setting: &'static str,
    },
    /// A guard of others refused the request.
    #[error("the guard '{guard}' refused the {}{}", if *.answer { "answer" } else { "request" }, told(.what))]
    GuardRefused {
        /// Whether it is the answer that it refused.
        answer: bool,
        /// Its name.
        guard: String,
        /// `moderation_flagged`, `pii_detected` or `webhook_blocked`.
        code: &'static str,
        /// A code of its own, which clients get instead.
        own_code: Option<String>,
        /// Names for what it is; never content.
        what: String,
        /// Its own words, for the client alone.
        reason: Option<String>,
    },
    /// A guard of others can't be asked, and nothing goes on without it.
    #[error(
        "the guard '{guard}' can't be asked at the moment, and without it nothing is answered (guardrails.external: on_error: closed)"
    )]
    GuardUnavailable {
        /// Its name.
        guard: String,
    },
    /// The audit log can't be written, and is not to have gaps.
    #[error(
        "the audit log can't be written at the moment, and without it nothing is answered (audit.on_error: closed)"
    )]
    AuditUnavailable,
    /// Feedback on a hit that is not known (any more).
    #[error(
        "no hit of this name can be judged: it is not one of this tenant's recent ones, or was judged already"
    )]
    HitUnknown,
    /// An operator names an attack that is not among those known.
    #[error("no known attack has this name")]
    AttackUnknown,
    /// What an operator changes about known attacks could not be written down or compared.
    #[error(
        "the known attacks could not be changed (guardrails.injection_bank): nothing was done, and the log says why"
    )]
    AttacksNotKept,
    /// The local model is not there, or its queue is full.
    #[error("{message}")]
    LocalModel {
        /// True if trying again soon makes sense.
        busy: bool,
        /// What happened.
        message: String,
    },
    /// The provider refused the request itself; its own words are passed on.
    #[error("the provider refused the request with status {status}")]
    Provider {
        /// The provider's status, 400 to 499.
        status: StatusCode,
        /// Its error object.
        error: Value,
    },
    /// Every target failed.
    #[error("{message}")]
    TargetsFailed {
        /// The provider's own 429 or 5xx, else 502, 504 where none answered in time, or 503 where none can be asked.
        status: StatusCode,
        /// `all_targets_failed`, or why none of them can be asked.
        code: &'static str,
        /// One sentence.
        message: String,
        /// One line per attempt: target and outcome.
        attempts: Vec<String>,
        /// Seconds after which the provider would take another request.
        retry_after: Option<u64>,
    },
    /// The request wants an answer out of the cache or none, and there is none.
    #[error("there is no answer in the cache that this request may have ('cache-control: only-if-cached')")]
    NotCached,
    /// Something is to be done with a cache that is not there.
    #[error("the cache is off (cache.enabled: false)")]
    CacheOff,
    /// The store that gateways share is not to be had.
    #[error("the cache's store is not to be had just now: nothing was done, or not all of it")]
    CacheUnavailable,
    /// The answer broke off after it had begun; sent as the last event of a stream.
    #[error("{0}")]
    StreamBroken(String),
    /// A bug of ours, caught.
    #[error("internal error")]
    Internal,
}

/// What one error is to the outside and to the log.
struct Row {
    status: StatusCode,
    kind: &'static str,
    code: Option<&'static str>,
}

impl ApiError {
    /// Shorthand for [`ApiError::Invalid`].
    pub fn invalid(param: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Invalid { param: param.into(), message: message.into() }
    }

    fn row(&self) -> Row {
        let row = |status, kind, code| Row { status, kind, code: Some(code) };
        let request = "invalid_request_error";
        match self {
            Self::BodyUnreadable(_) => row(StatusCode::BAD_REQUEST, request, "body_unreadable"),
            Self::BodyTooLarge { .. } => row(StatusCode::PAYLOAD_TOO_LARGE, request, "request_too_large"),
            Self::Json(_) => row(StatusCode::BAD_REQUEST, request, "invalid_json"),
            Self::Invalid { .. } => row(StatusCode::BAD_REQUEST, request, "invalid_value"),
            Self::Unsupported { .. } => row(StatusCode::BAD_REQUEST, request, "unsupported_parameter"),
            Self::KeyMissing | Self::KeyUnknown => {
                row(StatusCode::UNAUTHORIZED, "authentication_error", "invalid_api_key")
            }
            Self::ForeignPage => row(StatusCode::FORBIDDEN, "permission_error", "origin_not_allowed"),
            Self::ModelNotFound { .. } => row(StatusCode::NOT_FOUND, request, "model_not_found"),
            Self::ModelNotAllowed { .. } => {
                row(StatusCode::FORBIDDEN, "permission_error", "model_not_allowed")
            }
            Self::AttackUnknown => row(StatusCode::NOT_FOUND, request, "attack_not_found"),
            Self::AttacksNotKept => row(StatusCode::SERVICE_UNAVAILABLE, "server_error", "attacks_not_kept"),
            Self::HitUnknown => row(StatusCode::NOT_FOUND, request, "hit_not_found"),
            Self::NoSuchEndpoint { .. } => row(StatusCode::NOT_FOUND, request, "unknown_url"),
            Self::MethodNotAllowed { .. } => {
                row(StatusCode::METHOD_NOT_ALLOWED, request, "method_not_allowed")
            }
            Self::Blocked { code, .. } | Self::PartBlocked { code, .. } | Self::GuardRefused { code, .. } => {
                row(StatusCode::BAD_REQUEST, "guardrail_blocked", code)
            }
            Self::NoInHouseTarget { .. } => {
                row(StatusCode::BAD_REQUEST, "guardrail_blocked", "no_in_house_target")
            }
            Self::TopicDenied { .. } => row(StatusCode::BAD_REQUEST, "guardrail_blocked", "topic_denied"),
            Self::GuardUnavailable { .. } | Self::TopicsUnavailable => {
                row(StatusCode::SERVICE_UNAVAILABLE, "server_error", "guardrail_unavailable")
            }
            Self::Postcondition { .. } | Self::OutOfHouse { .. } => {
                row(StatusCode::UNPROCESSABLE_ENTITY, "guardrail_blocked", "guardrail_postcondition")
            }
            Self::InjectionBlocked { .. } => {
                row(StatusCode::BAD_REQUEST, "guardrail_blocked", "prompt_injection")
            }
            Self::AnswerBlocked { .. } => row(StatusCode::BAD_REQUEST, "guardrail_blocked", "answer_blocked"),
            Self::AuditUnavailable => {
                row(StatusCode::SERVICE_UNAVAILABLE, "server_error", "audit_unavailable")
            }
            Self::LocalModel { busy: true, .. } => {
                row(StatusCode::SERVICE_UNAVAILABLE, "overloaded_error", "gateway_overloaded")
            }
            Self::LocalModel { busy: false, .. } => {
                row(StatusCode::SERVICE_UNAVAILABLE, "server_error", "dependency_unavailable")
            }
            Self::Provider { status, .. } => Row { status: *status, kind: request, code: None },
            Self::TargetsFailed { status, code, .. } => row(*status, "upstream_error", code),
            Self::NotCached => row(StatusCode::GATEWAY_TIMEOUT, request, "not_cached"),
            Self::CacheOff => row(StatusCode::CONFLICT, request, "cache_off"),
            Self::CacheUnavailable => {
                row(StatusCode::SERVICE_UNAVAILABLE, "server_error", "cache_unavailable")
            }
            Self::StreamBroken(_) => row(StatusCode::BAD_GATEWAY, "upstream_error", "stream_interrupted"),
            Self::Internal => row(StatusCode::INTERNAL_SERVER_ERROR, "server_error", "internal_error"),
        }
    }

    /// The HTTP status.
    pub fn status(&self) -> StatusCode {
        self.row().status
    }

    /// A short name for logs and metrics.
    pub fn code(&self) -> &'static str {
        self.row().code.unwrap_or("provider_error")
    }

    /// How often a target was asked; none if it is not about that.
    pub fn asked(&self) -> Option<usize> {
        let Self::TargetsFailed { attempts, .. } = self else { return None };
        let was_asked =
            |line: &&String| !line.rsplit(": ").next().is_some_and(|end| end.starts_with(LEFT_ALONE));
        Some(attempts.iter().filter(was_asked).count())
    }

    /// Seconds to wait, for the `Retry-After` header.
    pub fn retry_after(&self) -> Option<u64> {
        match self {
            Self::TargetsFailed { retry_after, .. } => *retry_after,
            Self::LocalModel { busy: true, .. }
            | Self::AuditUnavailable
            | Self::GuardUnavailable { .. }
            | Self::TopicsUnavailable => Some(1),
            _ => None,
        }
    }

    /// The body in OpenAI's shape: `{"error": {message, type, param, code}}`.
    pub fn body(&self) -> Value {
        if let Self::Provider { error, .. } = self {
            return json!({ "error": error });
        }
        let row = self.row();
        let param = match self {
            Self::Invalid { param, .. }
            | Self::Unsupported { param, .. }
            | Self::PartBlocked { param, .. }
            | Self::InjectionBlocked { param, .. }
            | Self::TopicDenied { param, .. } => Some(param.as_str()),
            Self::ModelNotFound { .. } | Self::ModelNotAllowed { .. } | Self::NoInHouseTarget { .. } => {
                Some("model")
            }
            _ => None,
        };
        let mut error =
            json!({ "message": self.to_string(), "type": row.kind, "param": param, "code": row.code });
        if let Self::TargetsFailed { attempts, .. } = self {
            error["attempts"] = json!(attempts);
        }
        if let Self::GuardRefused { own_code, reason, .. } = self {
            if let Some(reason) = reason {
                error["message"] = json!(format!("{self}: {reason}"));
            }
            if let Some(code) = own_code {
                error["code"] = json!(code);
            }
        }
        json!({ "error": error })
    }
}

/// Why a topic is refused.
fn about(topic: &str, allowed: &[String]) -> String {
    match allowed {
        [] => format!("it is about '{topic}'"),
        allowed => format!("it is about none of what is allowed here: {}", allowed.join(", ")),
    }
}

/// In brackets, if there is anything.
fn told(what: &str) -> String {
    if what.is_empty() { String::new() } else { format!(" ({what})") }
}

impl From<EncodeError> for ApiError {
    fn from(error: EncodeError) -> Self {
        match error {
            EncodeError::Unsupported { param, message } => Self::Unsupported { param, message },
            EncodeError::Invalid { param, message } => Self::Invalid { param, message },
            EncodeError::Model => Self::invalid("model", "'model' can't stand in an address of the target"),
        }
    }
}

impl From<Blocked> for ApiError {
    fn from(blocked: Blocked) -> Self {
        let (code, setting) = match blocked.class {
            Class::Secret => ("secret_detected", "guardrails: block"),
            Class::Pii => ("pii_detected", "guardrails: block"),
            Class::Content => ("content_detected", "guardrails: block"),
        };
        Self::Blocked { code, what: format!("{} ({})", blocked.entity, blocked.rule), setting }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_have_the_shape_that_openai_clients_read() {
        let error = ApiError::invalid("messages[0].role", "expected a string");
        assert_eq!(error.status(), 400);
        assert_eq!(
            error.body(),
            json!({"error": {"message": "expected a string", "type": "invalid_request_error", "param": "messages[0].role", "code": "invalid_value"}})
        );
    }

    #[test]
    fn the_words_of_a_provider_are_passed_on_as_they_are() {
        let said = json!({"message": "too long", "type": "invalid_request_error", "code": "context_length_exceeded", "param": null});
        let error = ApiError::Provider { status: StatusCode::BAD_REQUEST, error: said.clone() };
        assert_eq!(error.body(), json!({ "error": said }));
    }
}
