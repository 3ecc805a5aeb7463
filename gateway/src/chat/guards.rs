//! The guards on the way in: every string of the request, before anything else sees it.

use serde_json::Value;
use sluice_guardrails::{Guard, InjectionReport, Vault};

use super::Call;
use super::request::ChatRequest;
use crate::error::ApiError;
use crate::gateway::Gateway;

/// What the guards made of a request.
pub(super) struct Inspected {
    /// The originals, for the way back.
    pub(super) vault: Vault,
    /// Nothing was found, nothing changed: for the same bytes there is nothing to do, to count or to tell.
    pub(super) clean: bool,
}

/// Redacts the request in place.
///
/// # Errors
/// [`ApiError::Blocked`] where the policy says so.
pub(super) fn input(
    gateway: &Gateway,
    call: &Call,
    request: &mut ChatRequest,
) -> Result<Inspected, ApiError> {
    let guard = &gateway.guard;
    let injection = worst_injection(guard, request);
    if let Some(report) = &injection {
        gateway.metrics.injection();
        tracing::warn!(request_id = call.id, key = call.caller.key, score = report.score, signals = ?report.signals,
            "the prompt looks like an injection");
    }
    if !guard.inspect(&request.model).is_empty() {
        // It goes to the provider and into the log as it is.
        return Err(ApiError::invalid("model", "'model' holds what looks like personal data or a secret"));
    }
    let mut vault = Vault::new();
    let redacted = request.rewrite(|fields| {
        vault.reserve_json(fields);
        vault.redact_json(guard, fields, &is_structure)
    });
    let changed = redacted.map_err(|blocked| {
        let error = ApiError::from(blocked);
        gateway.metrics.refused(error.code());
        error
    })?;
    for (entity, values) in vault.counts() {
        gateway.metrics.redacted(entity, values);
    }
    let clean = injection.is_none() && !changed && vault.is_empty();
    Ok(Inspected { vault, clean })
}

/// What looks most like an injection among the texts that do not come from the operator or the model.
fn worst_injection(guard: &Guard, request: &ChatRequest) -> Option<InjectionReport> {
    let messages = request.fields().get("messages")?.as_array()?;
    let foreign = |message: &&Value| {
        matches!(message.get("role").and_then(Value::as_str), Some("user" | "tool" | "function"))
    };
    let texts =
        messages.iter().filter(foreign).filter_map(|message| message.get("content")).flat_map(|content| {
            match content {
                Value::String(text) => vec![text.as_str()],
                Value::Array(parts) => parts.iter().filter_map(|part| part.get("text")?.as_str()).collect(),
                _ => Vec::new(),
            }
        });
    texts.filter_map(|text| guard.injection(text)).max_by(|a, b| a.score.total_cmp(&b.score))
}

/// What is a word of the API and not of people: the model's name, the roles and kinds of messages and parts (where they
/// are words, so that nothing hides there), a number as seed, and sound in base64.
fn is_structure(path: &[&str], text: &str) -> bool {
    match path {
        ["messages", "role"] | ["messages", "content", "type"] => {
            text.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
        }
        ["seed"] => text.bytes().all(|b| b.is_ascii_digit() || b == b'-'),
        ["model"] | ["messages", "content", "input_audio", "data"] => true,
        _ => false,
    }
}
