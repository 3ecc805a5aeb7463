//! How one attempt failed, and what follows from it: one table.

use std::time::{Duration, Instant};

use http::StatusCode;
use serde_json::Value;
use sluice_guardrails::Leak;

use super::cooldown::Why;
use super::plan::{Refusal, Step};
use super::refusal::{is_unknown_model, is_unknown_model_by_code, refusal};
use crate::error::ApiError;
use crate::provider_api::EncodeError;

/// How an attempt failed.
pub(super) enum Failure {
    /// No connection, or it broke before content.
    Connection(String),
    /// Nothing was sent, since whoever gives out tokens or credentials gave none, or none in time.
    NoCredential(String),
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
    /// Nothing was sent: every target is left alone, for this reason that tells the most.
    LeftAlone(Why),
}

/// Of whom a failure tells something.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Blame {
    /// The target: it is down, slow, or not what the configuration says.
    Target,
    /// The credential that it was asked with: another one may do.
    Credential,
    /// The request. The target did as it should.
    Request,
    /// Nobody out there.
    Nobody,
}

/// The code of a request for which no target answered.
const ALL_FAILED: &str = "all_targets_failed";

/// What stands, with why, in the place of the outcome of a target that was not asked.
pub(crate) const LEFT_ALONE: &str = "left_alone";

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
            Self::Connection(_) | Self::NoCredential(_) | Self::NoAnswer(_) => Next::Again,
            // It may be working on the answer still: asking again would be billed twice.
            Self::Timeout(_) | Self::Unsayable(_) => Next::Never,
            Self::Leak(_) | Self::OutOfHouse(_) => Next::Stop,
            Self::LeftAlone(why) if why.passes() => Next::Again,
            Self::LeftAlone(_) => Next::Never,
            Self::Status { .. } if self.is_spent() || self.is_refused_key() || self.is_unknown_model() => {
                Next::Never
            }
            Self::Status { status, .. } => match status.as_u16() {
                408 | 409 | 425 | 429 | 500..=599 => Next::Again,
                400 | 413 | 422 => Next::Stop,
                // Its key, its address or its model's name is wrong.
                _ => Next::Never,
            },
        }
    }

    /// What the credential may spend is spent.
    fn is_spent(&self) -> bool {
        let Self::Status { status, error, .. } = self else { return false };
        let is = |name: &str| error.as_ref().is_some_and(|error| error[name] == "insufficient_quota");
        *status == StatusCode::PAYMENT_REQUIRED || is("code") || is("type")
    }

    /// The credential is none there. Google says 400 where others say 401, AWS 403.
    fn is_refused_key(&self) -> bool {
        let Self::Status { status, error, .. } = self else { return false };
        let named = error.as_ref().is_some_and(|error| error["code"] == "invalid_api_key");
        *status == StatusCode::UNAUTHORIZED || named
    }

    /// The model is none there, however that is said.
    fn is_unknown_model(&self) -> bool {
        let Self::Status { status, error, .. } = self else { return false };
        *status == StatusCode::NOT_FOUND
            || error.as_ref().is_some_and(|error| is_unknown_model(*status, error))
    }

    /// Why the target does not want the request, if others may.
    pub(super) fn refusal(&self) -> Option<Refusal> {
        match self {
            Self::Status { status, error: Some(error), .. } => refusal(*status, error),
            _ => None,
        }
    }

    /// Of whom it tells something.
    pub(super) fn blame(&self) -> Blame {
        match self {
            Self::Connection(_) | Self::NoAnswer(_) | Self::Timeout(_) => Blame::Target,
            Self::NoCredential(_) => Blame::Credential,
            Self::Leak(_) | Self::OutOfHouse(_) | Self::Unsayable(_) | Self::LeftAlone(_) => Blame::Nobody,
            Self::Status { .. } if self.refusal().is_some() => Blame::Request,
            Self::Status { .. } if self.is_spent() || self.is_refused_key() => Blame::Credential,
            Self::Status { status, error, .. } if self.is_unknown_model() => {
                let is_sure =
                    *status == StatusCode::NOT_FOUND || error.as_ref().is_some_and(is_unknown_model_by_code);
                // Else a client that has its own words quoted could take the target from all others.
                if is_sure { Blame::Target } else { Blame::Nobody }
            }
            Self::Status { status, .. } => match status.as_u16() {
                400 | 413 | 422 => Blame::Request,
                401 | 403 | 429 => Blame::Credential,
                _ => Blame::Target,
            },
        }
    }

    /// Leaves the target alone, or the credential that it was asked with, if it said so.
    pub(super) fn cool(&self, step: &Step, credential: usize, now: Instant) {
        let (waits, here, everywhere) =
            (step.state.waits(), &step.state.cooldowns, &step.target.provider.credentials);
        let Self::Status { status, retry_after, .. } = self else { return };
        let asked = retry_after.map(|wait| wait.min(waits.longest));
        if self.is_spent() {
            let wait = asked.unwrap_or_default().max(waits.quota).min(waits.longest);
            return everywhere.change(credential, |cooldown| cooldown.asked(wait, Why::Spent, now));
        }
        if self.is_refused_key() {
            return everywhere
                .change(credential, |cooldown| cooldown.asked(waits.refused, Why::Refused, now));
        }
        match (status.as_u16(), asked) {
            // It may be this model alone that it is not for.
            (403, _) if self.blame() == Blame::Credential => {
                here.change(credential, |cooldown| cooldown.asked(waits.refused, Why::Refused, now));
            }
            (status, Some(wait)) => {
                let why = if status == 429 { Why::RateLimited } else { Why::Busy };
                here.change(credential, |cooldown| cooldown.asked(wait, why, now));
            }
            (429, None) => here.change(credential, |cooldown| {
                cooldown.again(waits.rate_limited, waits.longest, now);
            }),
            _ => {}
        }
    }

    /// In few words, for the client, the log and metrics.
    pub(super) fn outcome(&self) -> String {
        match self {
            Self::Connection(_) => "no_connection".to_owned(),
            Self::NoCredential(_) => "no_credential".to_owned(),
            Self::Timeout(which) => format!("timeout_{which}"),
            Self::Leak(_) | Self::OutOfHouse(_) => "guardrail_postcondition".to_owned(),
            Self::Status { status, .. } => status.as_u16().to_string(),
            Self::NoAnswer(_) => "no_answer".to_owned(),
            Self::LeftAlone(_) => LEFT_ALONE.to_owned(),
            Self::Unsayable(_) => "unsupported".to_owned(),
        }
    }

    /// For the log alone: what the system said, or the code of the provider's error. Nothing of the content.
    pub(super) fn detail(&self) -> &str {
        match self {
            Self::Connection(words) | Self::NoCredential(words) | Self::NoAnswer(words) => words,
            Self::LeftAlone(why) => why.word(),
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
            (Next::Never, Self::LeftAlone(_)) => 1,
            (Next::Never, Self::Status { .. }) if !self.is_unknown_model() => 1,
            (Next::Never, _) => 0,
        }
    }

    /// What the client is told if this was the last one.
    pub(super) fn into_error(self, attempts: Vec<String>, retry_after: Option<Duration>) -> ApiError {
        let (next, unknown_model) = (self.next(), self.is_unknown_model());
        let retry_after = retry_after.map(|d| d.as_secs_f64().ceil() as u64);
        let status = match self {
            Self::Leak(Leak { entity }) => return ApiError::Postcondition { entity },
            Self::OutOfHouse(entity) => return ApiError::OutOfHouse { entity },
            Self::Unsayable(error) => return error.into(),
            Self::Status { status, error, .. } if next == Next::Stop || unknown_model => {
                let error = error.unwrap_or_else(|| {
                    serde_json::json!({ "message": format!("the provider refused the request with status {}", status.as_u16()),
                        "type": "invalid_request_error", "param": null, "code": null })
                });
                return ApiError::Provider { status, error };
            }
            Self::Timeout(_) => StatusCode::GATEWAY_TIMEOUT,
            Self::LeftAlone(why) => return left_alone(why, attempts, retry_after),
            // Our key was refused there: never a 401 or 403 to a client whose own key is fine.
            Self::Status { status, .. } if next == Next::Again && status.as_u16() >= 429 => status,
            _ => StatusCode::BAD_GATEWAY,
        };
        let message = format!("no target answered: {}", attempts.join(", "));
        ApiError::TargetsFailed { status, code: ALL_FAILED, message, attempts, retry_after }
    }
}

/// What the client is told if nobody was asked. That it asked too often is said only where that is so; the rest is between the
/// provider and whoever runs this gateway.
fn left_alone(why: Why, attempts: Vec<String>, retry_after: Option<u64>) -> ApiError {
    let (status, code, reason) = match why {
        Why::RateLimited => (StatusCode::TOO_MANY_REQUESTS, ALL_FAILED, "their rate limits are reached"),
        Why::Busy => (StatusCode::SERVICE_UNAVAILABLE, ALL_FAILED, "they want no requests for a while"),
        Why::Refused => (
            StatusCode::SERVICE_UNAVAILABLE,
            "provider_key_refused",
            "the provider refused this gateway's own key, not the client's: whoever runs the gateway has to look at it",
        ),
        Why::Spent => (
            StatusCode::SERVICE_UNAVAILABLE,
            "provider_quota_spent",
            "what this gateway may spend there is spent: whoever runs the gateway has to look at it",
        ),
    };
    let message = format!("no target can be asked just now: {reason} ({})", attempts.join(", "));
    ApiError::TargetsFailed { status, code, message, attempts, retry_after }
}

/// A word of an API, and no sentence that could quote a prompt.
fn is_code(word: &str) -> bool {
    word.len() <= 64 && word.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn that_the_client_asked_too_often_is_said_only_where_that_is_why_nobody_is_asked() {
        for (why, status, code) in [
            (Why::RateLimited, 429, "all_targets_failed"),
            (Why::Busy, 503, "all_targets_failed"),
            (Why::Refused, 503, "provider_key_refused"),
            (Why::Spent, 503, "provider_quota_spent"),
        ] {
            let error = Failure::LeftAlone(why).into_error(vec![], None);
            assert_eq!((error.status().as_u16(), error.code()), (status, code));
        }
    }

    #[test]
    fn a_model_that_is_none_there_leads_to_the_next_target_whatever_the_status() {
        for status in [400, 404, 422] {
            let failure = answered(status, "model_not_found", None);
            assert_eq!((failure.next(), failure.weight()), (Next::Never, 0), "{status}");
            assert_eq!(failure.into_error(vec![], None).status(), status, "the provider's own words");
        }
        assert_eq!(answered(400, "invalid_value", None).next(), Next::Stop);
    }

    fn answered(status: u16, code: &str, retry_after: Option<Duration>) -> Failure {
        let status = StatusCode::from_u16(status).unwrap();
        Failure::Status {
            status,
            error: Some(serde_json::json!({ "message": "no", "code": code })),
            retry_after,
        }
    }

    #[test]
    fn a_key_rests_for_as_long_as_what_the_provider_said_about_it_deserves() {
        let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
        let cases = [
            (
                answered(429, "rate_limit_exceeded", Some(Duration::from_millis(1500))),
                Duration::from_millis(1500),
                false,
            ),
            (answered(429, "rate_limit_exceeded", None), Duration::from_secs(1), false),
            (answered(429, "insufficient_quota", Some(Duration::from_secs(1))), minutes(10), true),
            (answered(402, "", None), minutes(10), true),
            (answered(401, "invalid_api_key", None), minutes(1), true),
            (answered(400, "invalid_api_key", None), minutes(1), true),
            (answered(403, "", None), minutes(1), false),
            (answered(503, "", Some(minutes(600))), minutes(60), false),
        ];
        for (failure, wait, everywhere) in cases {
            let (target, now) = (crate::route::test_target(), Instant::now());
            let step = Step::new(&target);
            let other = Step::new(&crate::route::Target { model: "other".to_owned(), ..target.clone() });
            failure.cool(&step, 0, now);
            let rests = |step: &Step, at: Instant| target.provider.credentials.are_cooling(&step.state, at);
            let (soon, then) = (now + wait - Duration::from_millis(1), now + wait);
            assert!(rests(&step, soon) && !rests(&step, then), "{wait:?}");
            assert_eq!(rests(&other, soon), everywhere, "{wait:?}");
        }
        let (target, now) = (crate::route::test_target(), Instant::now());
        let step = Step::new(&target);
        for failure in
            [answered(500, "", None), answered(403, "content_filter", None), answered(400, "", None)]
        {
            failure.cool(&step, 0, now);
        }
        assert!(!target.provider.credentials.are_cooling(&step.state, now));
    }

    #[test]
    fn words_that_a_client_can_have_quoted_lead_to_the_next_target_and_blame_nobody() {
        let message = "Invalid value: 'the model does not exist'. Supported values are: 'auto' and 'none'.";
        let told = |status: u16, code: &str| {
            let error =
                serde_json::json!({ "message": message, "type": "invalid_request_error", "code": code });
            let status = StatusCode::from_u16(status).unwrap();
            let failure = Failure::Status { status, error: Some(error), retry_after: None };
            (failure.next(), failure.blame())
        };
        for status in [400, 422] {
            assert_eq!(told(status, "invalid_value"), (Next::Never, Blame::Nobody), "{status}");
            assert_eq!(told(status, "model_not_found"), (Next::Never, Blame::Target), "{status}");
        }
        assert_eq!(told(404, "invalid_value"), (Next::Never, Blame::Target));
    }

    #[test]
    fn each_failure_tells_something_of_somebody() {
        let blamed = [
            (answered(500, "", None), Blame::Target),
            (answered(404, "", None), Blame::Target),
            (answered(429, "", None), Blame::Credential),
            (answered(401, "", None), Blame::Credential),
            (answered(400, "", None), Blame::Request),
            (answered(400, "invalid_api_key", None), Blame::Credential),
            (answered(400, "model_not_found", None), Blame::Target),
            (answered(403, "content_filter", None), Blame::Request),
            (Failure::Timeout("first_byte"), Blame::Target),
            (Failure::NoCredential("none in time".to_owned()), Blame::Credential),
            (Failure::Leak(Leak { entity: "US_SSN" }), Blame::Nobody),
        ];
        for (failure, blame) in blamed {
            assert_eq!(failure.blame(), blame, "{}", failure.outcome());
        }
    }
}
