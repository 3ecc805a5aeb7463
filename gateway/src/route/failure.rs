//! How one attempt failed, and what follows from it: one table.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, StatusCode};
use serde_json::Value;
use sluice_guardrails::Leak;

use crate::error::ApiError;
use crate::provider_api::EncodeError;

/// How an attempt failed.
pub(super) enum Failure {
    /// No connection, or it broke before content.
    Connection(String),
    /// Nothing came in time: which time.
    Timeout(&'static str),
    /// The provider answered with an error status.
    Status { status: StatusCode, error: Option<Value>, retry_after: Option<Duration> },
    /// Nothing was sent, since the target's API can't say it.
    Unsayable(EncodeError),
    /// Nothing was sent, since what was redacted stood in it.
    Leak(Leak),
    /// Nothing was sent, since this entity stood in it and the target is not in the house.
    OutOfHouse(&'static str),
    /// The provider sent an error, or an end, where the answer should begin.
    NoAnswer(String),
}

/// The code of a refusal by a provider's content policy.
pub(super) const CONTENT_FILTER: &str = "content_filter";

/// What follows.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Next {
    /// Ask the next target, and this one again in the next round.
    Again,
    /// Ask the next target, and this one no more: its key or its model's name is wrong.
    Never,
    /// The request itself is wrong: no other target will like it.
    Stop,
}

impl Failure {
    /// An error that came with status 200, or in a stream before its content.
    pub(super) fn reported(error: Value) -> Self {
        if error["code"] == CONTENT_FILTER {
            return Self::Status { status: StatusCode::BAD_REQUEST, error: Some(error), retry_after: None };
        }
        Self::NoAnswer("an error with status 200".to_owned())
    }

    /// What follows from it.
    pub(super) fn next(&self) -> Next {
        match self {
            Self::Connection(_) | Self::NoAnswer(_) => Next::Again,
            // It may be working on the answer still: asking again would be billed twice.
            Self::Timeout(_) | Self::Unsayable(_) => Next::Never,
            Self::Leak(_) | Self::OutOfHouse(_) => Next::Stop,
            Self::Status { error: Some(error), .. } if error["code"] == "insufficient_quota" => Next::Never,
            // Google says 400 where others say 401.
            Self::Status { error: Some(error), .. } if error["code"] == "invalid_api_key" => Next::Never,
            Self::Status { status, .. } => match status.as_u16() {
                408 | 409 | 425 | 429 | 500..=599 => Next::Again,
                400 | 413 | 422 => Next::Stop,
                // Its key, its address or its model's name is wrong.
                _ => Next::Never,
            },
        }
    }

    /// In few words, for the client, the log and metrics.
    pub(super) fn outcome(&self) -> String {
        match self {
            Self::Connection(_) => "no_connection".to_owned(),
            Self::Timeout(which) => format!("timeout_{which}"),
            Self::Leak(_) | Self::OutOfHouse(_) => "guardrail_postcondition".to_owned(),
            Self::Status { status, .. } => status.as_u16().to_string(),
            Self::NoAnswer(_) => "no_answer".to_owned(),
            Self::Unsayable(_) => "unsupported".to_owned(),
        }
    }

    /// For the log alone: what the system said, or the code of the provider's error. Nothing of the content.
    pub(super) fn detail(&self) -> &str {
        match self {
            Self::Connection(words) | Self::NoAnswer(words) => words,
            Self::Timeout(_) | Self::Unsayable(EncodeError::Model) => "",
            Self::Unsayable(EncodeError::Unsupported { param, .. } | EncodeError::Invalid { param, .. }) => {
                param
            }
            Self::Leak(Leak { entity }) | Self::OutOfHouse(entity) => entity,
            Self::Status { error, .. } => {
                let word = |name: &str| error.as_ref()?.get(name)?.as_str().filter(|word| is_code(word));
                word("code").or_else(|| word("type")).unwrap_or_default()
            }
        }
    }

    /// Which of two failures tells the client more: one after which asking again makes sense.
    pub(super) fn weight(&self) -> u8 {
        match (self.next(), self) {
            (Next::Stop, _) => 3,
            (Next::Again, _) | (Next::Never, Self::Timeout(_)) => 2,
            (Next::Never, Self::Status { status, .. }) if *status != StatusCode::NOT_FOUND => 1,
            (Next::Never, _) => 0,
        }
    }

    /// How long the provider asked to be left alone.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// What the client is told if this was the last one.
    pub(super) fn into_error(self, attempts: Vec<String>, retry_after: Option<Duration>) -> ApiError {
        let next = self.next();
        let status = match self {
            Self::Leak(Leak { entity }) => return ApiError::Postcondition { entity },
            Self::OutOfHouse(entity) => return ApiError::OutOfHouse { entity },
            Self::Unsayable(error) => return error.into(),
            Self::Status { status, error, .. } if next == Next::Stop || status == StatusCode::NOT_FOUND => {
                let error = error.unwrap_or_else(|| {
                    serde_json::json!({ "message": format!("the provider refused the request with status {}", status.as_u16()),
                        "type": "invalid_request_error", "param": null, "code": null })
                });
                return ApiError::Provider { status, error };
            }
            Self::Timeout(_) => StatusCode::GATEWAY_TIMEOUT,
            // Our key was refused there: never a 401 or 403 to a client whose own key is fine.
            Self::Status { status, .. } if next == Next::Again && status.as_u16() >= 429 => status,
            _ => StatusCode::BAD_GATEWAY,
        };
        let message = format!("no target answered: {}", attempts.join(", "));
        let retry_after = retry_after.map(|d| d.as_secs_f64().ceil() as u64);
        ApiError::TargetsFailed { status, message, attempts, retry_after }
    }
}

/// A word of an API, and no sentence that could quote a prompt.
fn is_code(word: &str) -> bool {
    word.len() <= 64 && word.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b))
}

/// No provider means more than this by a wait; it also keeps sums of times within their range.
const LONGEST_WAIT: Duration = Duration::from_secs(24 * 3600);

/// How long to wait, from `retry-after-ms` or `Retry-After` (seconds or a date, RFC 9110 section 10.2.3).
pub(super) fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let wait = read_retry_after(headers, now)?;
    Some(wait.min(LONGEST_WAIT))
}

fn read_retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = |name: &str| headers.get(name).and_then(|v| v.to_str().ok()).map(str::trim);
    if let Some(ms) = text("retry-after-ms").and_then(|v| v.parse::<f64>().ok()) {
        return Duration::try_from_secs_f64(ms / 1000.0).ok();
    }
    let value = text("retry-after")?;
    match value.parse::<f64>() {
        Ok(seconds) => Duration::try_from_secs_f64(seconds).ok(),
        Err(_) => httpdate::parse_http_date(value).ok().map(|at| at.duration_since(now).unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_read_in_every_form_that_providers_use() {
        let read = |name: &'static str, value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(name, value.parse().unwrap());
            retry_after(&headers, SystemTime::UNIX_EPOCH)
        };
        assert_eq!(read("retry-after-ms", "1500"), Some(Duration::from_millis(1500)));
        assert_eq!(read("retry-after", "2"), Some(Duration::from_secs(2)));
        assert_eq!(read("retry-after", "Thu, 01 Jan 1970 00:00:09 GMT"), Some(Duration::from_secs(9)));
        assert_eq!(read("retry-after", "1e19"), Some(LONGEST_WAIT));
        assert_eq!(read("retry-after-ms", "99999999999999999999"), Some(LONGEST_WAIT));
        for wrong in ["soon", "-5", "NaN", "1e300"] {
            assert_eq!(read("retry-after", wrong), None, "{wrong}");
        }
    }

    #[test]
    fn what_the_client_is_told_never_blames_its_own_key() {
        let told = |status: u16| {
            let status = StatusCode::from_u16(status).unwrap();
            Failure::Status { status, error: None, retry_after: None }
                .into_error(vec![], None)
                .status()
                .as_u16()
        };
        let expected = [
            (400, 400),
            (401, 502),
            (403, 502),
            (404, 404),
            (408, 502),
            (422, 422),
            (429, 429),
            (500, 500),
            (503, 503),
            (529, 529),
        ];
        for (status, answer) in expected {
            assert_eq!(told(status), answer, "{status}");
        }
        assert_eq!(Failure::Timeout("first_byte").into_error(vec![], None).status(), 504);
    }
}
