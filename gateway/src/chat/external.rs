//! The guards of others on the way in: what they are shown of a request, and what becomes of it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde_json::{Map, Value};
use sluice_guardrails::{Blocked, Finding, Operator, Vault, each_text};

use super::guards::{self, READING, is_structure};
use super::request::{ChatRequest, Secured};
use super::scan::Scanned;
use super::{Call, LARGE_BODY, audited, signed};
use crate::audit::Subject;
use crate::config::Phase;
use crate::error::ApiError;
use crate::external::{Changes, External, Hearing, Passage, Question};
use crate::gateway::{Core, Gateway};
use crate::route::Target;
use crate::telemetry::metrics::Metrics;

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
    pub(super) vault: Box<Vault>,
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
        let mut asked = question(&subject, texts, guarded.request.said().get("metadata"));
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
    let (mut passages, mut paths) = (Vec::new(), Vec::new());
    let is_name = std::cell::Cell::new(false);
    let skip = |path: &[&str], text: &str| {
        is_name.set(path.last().is_some_and(|key| NAMES.contains(key)));
        is_structure(path, text)
    };
    each_text(fields, &skip, &mut |path, text| {
        passages.push(Passage {
            field: audited::field(path),
            channel: READING.standard.name(),
            is_name: is_name.get(),
            text: text.to_owned(),
        });
        paths.push(path.to_vec());
        None
    });
    for (passage, path) in passages.iter_mut().zip(paths) {
        passage.channel = guards::channel(fields, &path).name();
    }
    signed::put_back(fields, blocks);
    passages
}

/// What was counted of a vault.
struct Counted {
    redacted: BTreeMap<&'static str, usize>,
    logged: BTreeMap<&'static str, usize>,
    shadowed: BTreeMap<(&'static str, Operator), usize>,
}

impl Counted {
    fn of(vault: &Vault) -> Self {
        let (logged, shadowed) = (vault.logged().clone(), vault.shadowed().clone());
        Self { redacted: vault.counts(), logged, shadowed }
    }

    /// Counts what came since.
    fn count(&self, vault: &Vault, metrics: &Metrics) {
        let now = Self::of(vault);
        since(&self.redacted, now.redacted, &mut |entity, values| metrics.redacted(entity, values));
        since(&self.logged, now.logged, &mut |entity, times| metrics.logged(entity, times));
        since(&self.shadowed, now.shadowed, &mut |(entity, action), times| {
            metrics.shadowed(entity, action.name(), times);
        });
    }
}

fn since<K: Ord>(before: &BTreeMap<K, usize>, now: BTreeMap<K, usize>, count: &mut dyn FnMut(K, usize)) {
    for (what, times) in now {
        let more = times.saturating_sub(before.get(&what).copied().unwrap_or_default());
        if more > 0 {
            count(what, more);
        }
    }
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
        let (guard, metrics) = (self.call.guard(&request.model), &self.gateway.metrics);
        let before = Counted::of(&vault);
        let Changes { mut found, rewritten } = changes;
        self.keep_models(&mut found);
        let changed: Result<bool, Blocked> = request.rewrite(|fields| {
            // A changed word breaks its signature.
            let blocks = signed::take(fields);
            let mut changed = each_text(fields, &is_structure, &mut |_, text| rewritten.get(text).cloned());
            if changed {
                // What others write is read like what the client wrote.
                vault.read_json(guard, fields, &READING)?;
            }
            changed |= vault.redact_found(guard, fields, found, &READING)?;
            signed::put_back(fields, blocks);
            Ok(changed)
        });
        if let Some(audit) = &self.gateway.audit {
            let decided = Scanned { decisions: vault.decisions(), ..Scanned::default() };
            audit.record(audited::events(&self.subject, &decided, None, 0))?;
        }
        // What others write may be for in-house targets alone, too.
        let (proof, routed) = (vault.proof(), vault.routed().keys().next().copied());
        if proof.is_some() || routed.is_some() {
            let before = request.secured().cloned();
            request.secure(Secured {
                proof,
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
        before.count(&vault, metrics);
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
