//! One decision, as it is written down.

use std::sync::Arc;
use std::time::SystemTime;

use jiff::Timestamp;
use serde::Serialize;
use sluice_guardrails::{Channel, Decision};

use crate::chat::Attack;
use crate::config::Phase;
use crate::topics::Matter;

/// Whom and what a request's events are about.
#[derive(Debug, Serialize)]
pub struct Subject {
    /// The request's id.
    pub request_id: String,
    /// Whose it is.
    pub tenant: String,
    /// The virtual key's name.
    pub key: String,
    /// The model that was asked for.
    pub route: String,
    /// Where it goes first: provider and model.
    pub model: String,
    /// The name of the policy that decides: the SHA-256 of its file, or of what the configuration says.
    pub policy: String,
}

impl Subject {
    /// A question of ours to the judge, on behalf of a tenant.
    pub(crate) fn of_judge(tenant: &str, model: &str, policy: &str) -> Arc<Self> {
        let (request_id, key) = ("judge".to_owned(), String::new());
        let (tenant, route, model) = (tenant.to_owned(), model.to_owned(), model.to_owned());
        Arc::new(Self { request_id, tenant, key, route, model, policy: policy.to_owned() })
    }
}

/// Where something was decided about.
#[derive(Debug, Default, Serialize)]
pub struct Place {
    /// Who said it: `system`, `user`, `assistant`, `tool`, `document`, or `parameters` for everything beside the messages.
    pub channel: &'static str,
    /// The way to the field, with the names that the API has; others are `*`.
    pub field: String,
    /// In bytes of the field's text as it came.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start: Option<usize>,
    /// Where it ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end: Option<usize>,
    /// In code points.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_char: Option<usize>,
    /// Where it ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end_char: Option<usize>,
}

/// A decision, ready to be written.
#[derive(Debug, Serialize)]
pub struct Event {
    ts: String,
    #[serde(flatten)]
    subject: Arc<Subject>,
    direction: &'static str,
    #[serde(flatten)]
    place: Place,
    detector: String,
    entity: String,
    action: &'static str,
    band: &'static str,
    score: f32,
    #[serde(skip_serializing_if = "Option::is_none")]
    count: Option<usize>,
    shadow: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    exception: Option<Arc<str>>,
}

impl Event {
    fn new(subject: &Arc<Subject>, what: (&str, &str), action: &'static str) -> Self {
        let (detector, entity) = what;
        Self {
            ts: timestamp(SystemTime::now()),
            subject: Arc::clone(subject),
            direction: "request",
            place: Place::default(),
            detector: detector.to_owned(),
            entity: entity.to_owned(),
            action,
            band: "certain",
            score: 1.0,
            count: None,
            shadow: false,
            exception: None,
        }
    }

    /// What the policy decided about a finding.
    pub(crate) fn decided(subject: &Arc<Subject>, decision: &Decision, place: Place) -> Self {
        let action = decision.action.name();
        let (bytes, chars, score) = (&decision.bytes, &decision.chars, decision.score);
        let place = Place {
            start: Some(bytes.start),
            end: Some(bytes.end),
            start_char: Some(chars.start),
            end_char: Some(chars.end),
            ..place
        };
        let event = Self::new(subject, (decision.rule, decision.entity), action);
        let (shadow, exception) = (decision.shadow, decision.exception.clone());
        Self { place, score, band: band(score), shadow, exception, ..event }
    }

    /// The same about a finding in an answer.
    pub(crate) fn answered(subject: &Arc<Subject>, decision: &Decision, place: Place) -> Self {
        Self { direction: "response", ..Self::decided(subject, decision, place) }
    }

    /// A text that looks like an injection.
    pub(crate) fn injection(subject: &Arc<Subject>, attack: &Attack) -> Self {
        let event = Self::new(subject, (&attack.signals.join("+"), "PROMPT_INJECTION"), attack.action());
        let place = Place { channel: attack.channel.name(), field: attack.field.clone(), ..Place::default() };
        Self { place, score: attack.score, band: band(attack.score), shadow: attack.shadow, ..event }
    }

    /// What a turn is about.
    pub(crate) fn topic(subject: &Arc<Subject>, matter: &Matter, field: &str, shadow: bool) -> Self {
        let event = Self::new(subject, ("topic", &matter.topic), matter.action.name());
        let place = Place { channel: Channel::User.name(), field: field.to_owned(), ..Place::default() };
        Self { place, score: matter.similarity, band: band(matter.similarity), shadow, ..event }
    }

    /// A turn that could not be compared with the topics, and why.
    pub(crate) fn topics_skipped(subject: &Arc<Subject>, why: &str, refused: bool) -> Self {
        Self::new(subject, ("topic", why), if refused { "block" } else { "skip" })
    }

    /// What an external guard decided, or what became of it without one; `what` are names, of categories or of a failure.
    pub(crate) fn external(
        subject: &Arc<Subject>,
        (guard, what): (&str, &str),
        action: &'static str,
        phase: Phase,
    ) -> Self {
        let direction = if phase == Phase::Output { "response" } else { "request" };
        Self { direction, ..Self::new(subject, (&format!("external:{guard}"), what), action) }
    }

    /// Redacted values too short to be looked for in what is sent.
    pub(crate) fn exempt(subject: &Arc<Subject>, count: usize) -> Self {
        Self { count: Some(count), ..Self::new(subject, ("postcondition", ""), "exempt") }
    }

    /// A part of the request about which the policy decides without looking into it.
    pub(crate) fn of_part(
        subject: &Arc<Subject>,
        what: (&str, &str),
        (action, shadow): (&'static str, bool),
        place: Place,
    ) -> Self {
        Self { place, shadow, ..Self::new(subject, what, action) }
    }

    /// A request that was refused, since its model has no in-house target.
    pub(crate) fn no_in_house_target(subject: &Arc<Subject>, entity: &str) -> Self {
        Self::new(subject, ("in_house", entity), "block")
    }

    /// A value that stood in what was to be sent to where it may not go.
    pub(super) fn unsent(subject: &Arc<Subject>, entity: &str) -> Self {
        Self::new(subject, ("postcondition", entity), "block")
    }
}

/// The name of how likely something is.
fn band(score: f32) -> &'static str {
    match score {
        score if score >= 0.9 => "certain",
        score if score >= 0.6 => "likely",
        _ => "possible",
    }
}

/// A time in UTC as RFC 3339 writes it, to the millisecond: later ones sort behind earlier ones.
pub(super) fn timestamp(at: SystemTime) -> String {
    format!("{:.3}", Timestamp::try_from(at).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, UNIX_EPOCH};

    #[test]
    fn times_are_written_as_everybody_reads_them() {
        let at = |millis: u64| timestamp(UNIX_EPOCH + Duration::from_millis(millis));
        assert_eq!(at(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(at(951_782_400_123), "2000-02-29T00:00:00.123Z");
        assert_eq!(at(951_868_799_999), "2000-02-29T23:59:59.999Z");
        assert_eq!(at(1_709_251_199_000), "2024-02-29T23:59:59.000Z");
        assert_eq!(at(1_735_689_599_000), "2024-12-31T23:59:59.000Z");
        assert_eq!(timestamp(UNIX_EPOCH + Duration::from_nanos(999_999)), "1970-01-01T00:00:00.000Z");
        assert_eq!(at(4_107_542_400_000), "2100-03-01T00:00:00.000Z");
    }
}
