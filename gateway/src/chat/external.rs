//! The guards of others on the way in: what they are shown of a request, and what becomes of it.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::{Map, Value};
use sluice_guardrails::{Blocked, Finding, Vault, each_text};

use super::guards::is_structure;
use super::request::{ChatRequest, Secured};
use super::scan::Scanned;
use super::{Call, LARGE_BODY, audited, signed};
use crate::audit::Subject;
use crate::config::Phase;
use crate::error::ApiError;
use crate::external::{Changes, External, Hearing, Passage, Question};
use crate::gateway::{Core, Gateway};
use crate::route::Target;

/// What names something for programs: a name that was replaced there would break the request.
const NAMES: &[&str] = &[
    "$ref",
    "enum",
    "file_data",
    "file_id",
    "id",
    "name",
    "prompt_cache_key",
    "required",
    "safety_identifier",
    "tool_call_id",
    "url",
    "user",
];

/// A request on its way past the guards.
pub(super) struct Guarded {
    pub(super) request: ChatRequest,
    pub(super) vault: Vault,
}

/// Asks whoever is to be asked before a request goes anywhere, and changes it as they want. `original`: the fields as they came,
/// if anybody is to see them.
///
/// # Errors
/// Somebody refuses, or can't be asked and has to be.
pub(super) async fn input(
    core: &Core,
    call: &Arc<Call>,
    targets: &[Target],
    mut guarded: Guarded,
    original: Option<Map<String, Value>>,
) -> Result<Guarded, ApiError> {
    let gateway = &core.gateway;
    let subject = audited::subject(call, &guarded.request.model, targets);
    let hearing =
        Hearing { upstream: &core.upstream, metrics: &gateway.metrics, audit: gateway.audit.as_deref() };
    let original = match original {
        Some(fields) => {
            let mut value = Value::Object(fields);
            let passages = passages(&mut value);
            Some(Arc::new(question(&subject, passages, value.get("metadata"))))
        }
        None => None,
    };
    let models = targets.iter().map(|target| target.model.clone()).chain([guarded.request.model.clone()]);
    let models: Arc<Vec<String>> = Arc::new(models.collect());
    for stage in gateway.external.stages(Phase::Input) {
        let mut texts = Vec::new();
        let read: Result<bool, ApiError> = guarded.request.rewrite(|fields| {
            texts = passages(fields);
            Ok(false)
        });
        read?;
        let size: usize = texts.iter().map(|passage| passage.text.len()).sum();
        let mut asked = question(&subject, texts, guarded.request.fields().get("metadata"));
        asked.secured = guarded.request.secured().cloned();
        let changes = External::ask(&stage, &hearing, &Arc::new(asked), original.as_ref()).await?;
        if changes.is_empty() {
            continue;
        }
        let applying = Applying {
            gateway: Arc::clone(gateway),
            call: Arc::clone(call),
            subject: Arc::clone(&subject),
            models: Arc::clone(&models),
        };
        guarded = if size < LARGE_BODY {
            applying.apply(guarded, changes)?
        } else {
            let working = tokio::task::spawn_blocking(move || applying.apply(guarded, changes));
            working.await.map_err(|_| ApiError::Internal)??
        };
    }
    Ok(guarded)
}

fn question(subject: &Arc<Subject>, passages: Vec<Passage>, metadata: Option<&Value>) -> Question {
    let metadata = metadata.cloned().unwrap_or_else(|| Value::Object(Map::new()));
    Question { phase: Phase::Input, subject: Arc::clone(subject), passages, metadata, secured: None }
}

/// Every text of a request but the words of the API and signed reasoning, which is not theirs to change. It changes nothing.
fn passages(fields: &mut Value) -> Vec<Passage> {
    let blocks = signed::take(fields);
    let roles: Vec<&'static str> = fields
        .get("messages")
        .and_then(Value::as_array)
        .map(|all| all.iter().map(audited::role).collect())
        .unwrap_or_default();
    let mut passages = Vec::new();
    let is_name = std::cell::Cell::new(false);
    let skip = |path: &[&str], text: &str| {
        is_name.set(path.last().is_some_and(|key| NAMES.contains(key)));
        is_structure(path, text)
    };
    each_text(fields, &skip, &mut |path, text| {
        passages.push(Passage {
            field: audited::field(path),
            channel: audited::message(path)
                .and_then(|number| roles.get(number).copied())
                .unwrap_or("parameters"),
            is_name: is_name.get(),
            text: text.to_owned(),
        });
        None
    });
    signed::put_back(fields, blocks);
    passages
}

/// What changing a request needs to know.
struct Applying {
    gateway: Arc<Gateway>,
    call: Arc<Call>,
    subject: Arc<Subject>,
    /// What the request and its targets call their models: words that no guard takes away.
    models: Arc<Vec<String>>,
}

impl Applying {
    /// Changes the request, and ties it to the proof of what was replaced.
    fn apply(&self, guarded: Guarded, changes: Changes) -> Result<Guarded, ApiError> {
        let Guarded { mut request, mut vault } = guarded;
        let (guard, metrics) = (&self.call.policy.guard, &self.gateway.metrics);
        let (before, logged) = (vault.counts(), vault.logged().clone());
        let Changes { mut found, rewritten } = changes;
        self.keep_models(&mut found);
        let changed: Result<bool, Blocked> = request.rewrite(|fields| {
            // A changed word breaks its signature.
            let blocks = signed::take(fields);
            let mut changed = each_text(fields, &is_structure, &mut |_, text| rewritten.get(text).cloned());
            if changed {
                // What others write is read like what the client wrote.
                vault.redact_json(guard, fields, &is_structure)?;
            }
            changed |= vault.redact_found(guard, fields, found, &is_structure)?;
            signed::put_back(fields, blocks);
            Ok(changed)
        });
        if let Some(audit) = &self.gateway.audit {
            let decided = Scanned { decisions: vault.decisions(), ..Scanned::default() };
            audit.record(audited::events(&self.subject, request.fields(), &decided, None, 0))?;
        }
        if let Some(proof) = vault.proof() {
            let before = request.secured().cloned();
            let routed = vault.routed().keys().next().copied();
            request.secure(Secured {
                proof: Some(proof),
                in_house: before.as_ref().and_then(|before| before.in_house).or(routed),
                kept: before.map(|before| before.kept.clone()).unwrap_or_default(),
                subject: Arc::clone(&self.subject),
            });
        }
        changed.map_err(|blocked| {
            let error = ApiError::from(blocked);
            metrics.refused(error.code());
            error
        })?;
        for (entity, values) in vault.counts() {
            let more = values.saturating_sub(before.get(entity).copied().unwrap_or_default());
            if more > 0 {
                metrics.redacted(entity, more);
            }
        }
        for (entity, times) in vault.logged() {
            let more = times.saturating_sub(logged.get(entity).copied().unwrap_or_default());
            if more > 0 {
                metrics.logged(entity, more);
            }
        }
        Ok(Guarded { request, vault })
    }

    /// Leaves out findings that are a part of a model's name, which has to be sent.
    fn keep_models(&self, found: &mut HashMap<String, Vec<Finding>>) {
        for (text, findings) in found {
            findings.retain(|finding| {
                let value = text.get(finding.span.clone()).unwrap_or_default();
                !self.models.iter().any(|model| model.contains(value))
            });
        }
    }
}
