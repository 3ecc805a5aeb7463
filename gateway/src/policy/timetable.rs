//! What of one policy is in force at which time: exceptions from it end.

use std::sync::Arc;
use std::time::SystemTime;

use sluice_engine::Clock;
use sluice_guardrails::{Guards, Rules};

use super::InForce;

/// What was compiled of one policy.
pub(super) struct Timetable {
    /// In their order; each ends when an exception does.
    ending: Vec<Arc<InForce>>,
    /// Then this, for ever.
    rest: Arc<InForce>,
    notes: Notes,
}

/// What operators are to be told of a policy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notes {
    /// The fields that let rules only be tried.
    pub tried: Vec<String>,
    /// Exceptions that were over when it was read: their names and last days.
    pub expired: Vec<(String, String)>,
}

impl Timetable {
    /// `compiled` from these rules at a time, in order. By one `name` it is called as long as nobody changes it; none: by what its
    /// first guards do.
    pub(super) fn new(rules: &Rules, compiled: Vec<Guards>, name: Option<String>, now: SystemTime) -> Self {
        let name = name.or_else(|| compiled.first().map(|guards| guards.fingerprint().to_owned()));
        let name = name.unwrap_or_default();
        let mut ending: Vec<_> =
            compiled.into_iter().map(|guards| Arc::new(InForce { guards, name: name.clone() })).collect();
        // There always is a last one.
        let rest = ending.pop().unwrap_or_else(|| Arc::new(InForce::of_classes(&rules.policy())));
        let over = rules.exceptions.iter().enumerate().filter(|(_, exception)| exception.until.end() <= now);
        let expired = over.map(|(at, exception)| (exception.name(at), exception.until.to_string())).collect();
        Self { ending, rest, notes: Notes { tried: rules.tried(), expired } }
    }

    /// What is in force. Where no exception ends, no clock is looked at.
    pub(super) fn at(&self, clock: &dyn Clock) -> &Arc<InForce> {
        if self.ending.is_empty() {
            return &self.rest;
        }
        let now = clock.now();
        let holds = |policy: &&Arc<InForce>| policy.guards.until().is_some_and(|until| now < until);
        self.ending.iter().find(holds).unwrap_or(&self.rest)
    }

    /// All that will be in force.
    pub(super) fn all(&self) -> impl Iterator<Item = &InForce> {
        self.ending.iter().chain([&self.rest]).map(Arc::as_ref)
    }

    pub(super) fn notes(&self) -> &Notes {
        &self.notes
    }
}

impl Notes {
    /// Says them in the log.
    pub fn tell(&self) {
        if !self.tried.is_empty() {
            let fields = self.tried.join(", ");
            tracing::warn!(
                fields,
                "rules of the policy are only tried: nothing is replaced or refused by them"
            );
        }
        for (exception, until) in &self.expired {
            tracing::warn!(
                exception,
                until,
                "an exception from the policy is over and has no effect: remove it"
            );
        }
    }
}
