//! The guards on the way in: every string of the request, before anything else sees it.

use serde_json::{Map, Value};
use sluice_guardrails::{Guard, InjectionReport, Proof, Vault};

use super::request::{self, ChatRequest, Secured};
use super::scan::{Scanned, scan};
use super::{Call, audited};
use crate::audit::{Audit, Event};
use crate::error::ApiError;
use crate::gateway::Gateway;
use crate::provider_api::openai::words;
use crate::route::Target;

/// Less than this in base64 is not a hundredth of a second of sound.
const SHORTEST_SOUND: usize = 64;

/// What the guards made of a request.
pub(super) struct Inspected {
    /// The originals, for the way back.
    pub(super) vault: Vault,
    /// Nothing was found, nothing changed: for the same bytes there is nothing to do, to count or to tell.
    pub(super) clean: bool,
    /// The fields as they came, if an external guard is to see them.
    pub(super) original: Option<Map<String, Value>>,
}

/// Redacts the request in place, writes down what was decided, ties the request to the proof that it worked, and takes away
/// the targets that it may not go to.
///
/// # Errors
/// [`ApiError::Blocked`], [`ApiError::PartBlocked`] and [`ApiError::NoInHouseTarget`] where the policy says so;
/// [`ApiError::AuditUnavailable`].
pub(super) fn input(
    gateway: &Gateway,
    call: &Call,
    request: &mut ChatRequest,
    targets: &mut Vec<Target>,
) -> Result<Inspected, ApiError> {
    let (guard, audit) = (&call.policy.guard, gateway.audit.as_deref());
    audit.map_or(Ok(()), Audit::ready)?;
    let injection = worst_injection(guard, request.fields());
    if let Some(report) = &injection {
        gateway.metrics.injection();
        tracing::warn!(request_id = call.id, key = call.caller.key, score = report.score, signals = ?report.signals,
            "the prompt looks like an injection");
    }
    if !guard.inspect(&request.model).is_empty() || guard.confines(&request.model) {
        // It goes to the provider and into the log as it is.
        return Err(ApiError::invalid("model", "'model' holds what looks like personal data or a secret"));
    }
    let original = gateway.external.sees_originals().then(|| request.fields().clone());
    let mut scanned = Scanned::default();
    let changed = request.rewrite(|fields| {
        scanned = scan(guard, fields, audit.is_some());
        scanned.redacted.clone()
    });
    let (proof, in_house) = (scanned.vault.proof(), scanned.in_house());
    let inside = |target: &Target| target.provider.in_house;
    // Who refuses a request is told to whom it would have gone.
    let homeless = in_house.filter(|_| !targets.iter().any(inside));
    if in_house.is_some() && homeless.is_none() {
        targets.retain(inside);
    }
    let matters = proof.is_some() || in_house.is_some() || !scanned.signed.kept.is_empty();
    let subject = (audit.is_some() || matters).then(|| audited::subject(call, &request.model, targets));
    if let (Some(audit), Some(subject)) = (audit, &subject) {
        let exempt = proof.as_ref().map_or(0, Proof::exempt);
        let mut events = audited::events(subject, request.fields(), &scanned, injection.as_ref(), exempt);
        events.extend(homeless.map(|entity| Event::no_in_house_target(subject, entity)));
        audit.record(events)?;
    }
    scanned.count(&gateway.metrics);
    let homeless = homeless.map(|what| ApiError::NoInHouseTarget { what, model: request.model.clone() });
    if let Some(refusal) = scanned.refusal().or(homeless) {
        gateway.metrics.refused(refusal.code());
        return Err(refusal);
    }
    let clean = injection.is_none() && changed == Ok(false) && scanned.found_nothing();
    if let Some(subject) = subject.filter(|_| matters) {
        request.secure(Secured { proof, in_house, kept: scanned.signed.kept, subject });
    }
    Ok(Inspected { vault: scanned.vault, clean, original })
}

/// What looks most like an injection among the texts that do not come from the operator or the model.
pub(crate) fn worst_injection(guard: &Guard, fields: &Map<String, Value>) -> Option<InjectionReport> {
    let texts = request::texts(fields, |role| matches!(role, "user" | "tool" | "function"));
    texts.into_iter().filter_map(|text| guard.injection(text)).max_by(|a, b| a.score.total_cmp(&b.score))
}

/// Whether a text is long and of base64's characters alone, as sound is; random digits in it would look like anything.
fn is_sound(text: &str) -> bool {
    text.len() >= SHORTEST_SOUND
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"+/=".contains(&b))
        && text.bytes().any(|b| b.is_ascii_alphabetic())
}

/// What is a word of the API and not of people: the model's name, the roles and kinds of messages and parts (where they
/// are words, so that nothing hides there), a number as seed, and sound in base64.
pub(crate) fn is_structure(path: &[&str], text: &str) -> bool {
    match path {
        ["messages", "role"] | ["messages", "content", "type"] => {
            text.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
        }
        ["seed"] => text.bytes().all(|b| b.is_ascii_digit() || b == b'-'),
        ["model"] => true,
        ["messages", "content", "input_audio", "data"] => is_sound(text),
        _ => words::is_value(path, text),
    }
}
