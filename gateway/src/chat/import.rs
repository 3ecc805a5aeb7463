//! Answers that operators bring along: lines of questions with their answers, kept as if clients had asked and a provider had
//! answered. And the way back, for another gateway.

mod line;

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::HeaderMap;
use serde::Serialize;
use serde_json::Value;
use tokio::sync::mpsc;

use sluice_engine::Unavailable;

use super::remember::{Asked, Memory, NotKept, Place};
use super::request::ChatRequest;
use super::wishes::Wishes;
use super::{Call, guards, steer};
use crate::body::{Body, Part};
use crate::client_api::Format;
use crate::error::ApiError;
use crate::gateway::Gateway;
use crate::keys::Caller;
use crate::wire::chat::Chunk;
use line::Line;

/// Questions whose vectors are computed at a time. Few, since clients wait for the same workers.
const AT_ONCE: usize = 2;
/// Tenants that an error names.
const MOST_NAMED: usize = 20;
/// Lines that wait for a slow reader of an export.
const LINES_IN_FLIGHT: usize = 64;

/// What became of the lines.
#[derive(Default, Serialize)]
pub struct Report {
    /// Answers that were kept.
    pub stored: u64,
    /// Answers that the cache does not keep, for what their questions say or for want of room.
    pub skipped: u64,
    /// Lines that are wrong.
    pub failed: u64,
    /// What is to be said about single lines.
    pub notes: Vec<Note>,
}

/// A word about one line.
#[derive(Serialize)]
pub struct Note {
    /// Its number, from 1.
    pub line: usize,
    /// `failed`, `skipped`, or `limited`: kept, but found by less or for less long than others.
    pub outcome: &'static str,
    /// The field that is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// What was expected, or why; never what the line holds.
    pub message: String,
}

/// A line that was understood.
struct Ready {
    call: Call,
    request: ChatRequest,
    vault: Box<sluice_guardrails::Vault>,
    wishes: Wishes,
    answer: Chunk,
}

/// Keeps the answers of the lines that can be understood, in their order; of two to the same question the later one stays.
/// Empty lines are passed over. `id` names the import in the log; `only`: lines of other tenants are refused.
///
/// # Errors
/// [`ApiError::CacheOff`].
pub async fn import(
    gateway: &Gateway,
    id: &str,
    only: Option<&Caller>,
    body: &Bytes,
) -> Result<Report, ApiError> {
    let memory = gateway.memory.as_ref().ok_or(ApiError::CacheOff)?;
    let lines = body.split(|byte| *byte == b'\n').zip(1..);
    let lines = lines.filter(|(line, _)| !line.trim_ascii().is_empty());
    let mut placed = stream::iter(lines)
        .map(|(bytes, number)| async move { (number, place(gateway, memory, (id, only), bytes).await) })
        .buffered(AT_ONCE);
    let mut report = Report::default();
    while let Some((number, placed)) = placed.next().await {
        let given = match placed {
            Ok((Ok(place), answer)) => {
                let limit = limit(&place);
                Ok(Ok((limit, memory.give(place, &answer).await)))
            }
            Ok((Err(not_kept), _)) => Ok(Err(not_kept)),
            Err(error) => Err(error),
        };
        report.count(number, given);
    }
    let Report { stored, skipped, failed, .. } = report;
    tracing::info!(request_id = id, stored, skipped, failed, "answers were imported by an operator");
    Ok(report)
}

/// Where a line's answer goes.
async fn place(
    gateway: &Gateway,
    memory: &Memory,
    by: (&str, Option<&Caller>),
    bytes: &[u8],
) -> Result<(Result<Place, NotKept>, Chunk), ApiError> {
    let Ready { call, request, vault, wishes, answer } = understand(gateway, by, bytes)?;
    let asked = Asked { call: &call, request: &request, vault: &vault, wishes: &wishes };
    Ok((memory.place(&asked, &gateway.metrics).await, answer))
}

/// What `chat::read` does for a client: read, routed, redacted. The answer loses the values that the question lost.
fn understand(
    gateway: &Gateway,
    (id, only): (&str, Option<&Caller>),
    bytes: &[u8],
) -> Result<Ready, ApiError> {
    let Line { mut request, answer, tenant, wishes } = line::read(bytes)?;
    let caller = caller(gateway, only, tenant.as_deref())?;
    let mut targets = gateway.routes.resolve(&request.model)?;
    let (headers, started, policy) = (HeaderMap::new(), Instant::now(), gateway.policy.current());
    let (id, format) = (id.to_owned(), Format::OpenAiChat);
    let call = Call { caller, id, headers, format, called: None, started, policy };
    let guards::Inspected { vault, injection, .. } =
        guards::input(gateway, &call, &mut request, &mut targets)?;
    steer::steer(gateway, &call, &mut request, (&vault, injection))?;
    let answer =
        line::answer(&request.model, vault.hide_known(call.guard(&request.model), &answer).into_owned());
    Ok(Ready { call, request, vault, wishes, answer })
}

/// Somebody of the tenant; where there is one tenant only, it need not be named.
fn caller(gateway: &Gateway, only: Option<&Caller>, tenant: Option<&str>) -> Result<Arc<Caller>, ApiError> {
    let mut tenants = gateway.keys.tenants();
    tenants.retain(|tenant| only.is_none_or(|caller| caller.tenant == *tenant));
    let names = || tenants.iter().copied().take(MOST_NAMED).collect::<Vec<_>>().join(", ");
    match (tenant, tenants.len()) {
        (None, 1) => tenants.first().and_then(|only| gateway.keys.of_tenant(only)).ok_or(ApiError::Internal),
        (None, _) => {
            Err(ApiError::invalid("tenant", format!("'tenant' is missing: expected one of {}", names())))
        }
        (Some(tenant), _) => {
            let known = tenants.contains(tenant).then(|| gateway.keys.of_tenant(tenant)).flatten();
            let form = || format!("'tenant' is not known here: expected one of {}", names());
            known.ok_or_else(|| ApiError::invalid("tenant", form()))
        }
    }
}

impl Report {
    /// Counts what became of a line; of one that had a place, what is special about it, and whether there was room.
    fn count(&mut self, line: usize, given: Result<Result<(Option<String>, bool), NotKept>, ApiError>) {
        let mut note =
            |outcome, field, message: String| self.notes.push(Note { line, outcome, field, message });
        match given {
            Err(error) => {
                let body = error.body();
                let field = body.pointer("/error/param").and_then(Value::as_str);
                let field = field.filter(|field| !field.is_empty()).map(str::to_owned);
                note("failed", field, error.to_string());
                self.failed += 1;
            }
            Ok(Err(NotKept::ByRule(reason))) => {
                note("skipped", None, format!("answers to such questions are not kept ({reason})"));
                self.skipped += 1;
            }
            Ok(Err(NotKept::NoVector)) => {
                let why = "the embedding model gave no vector, or was busy for too long: import it again";
                note("failed", None, why.to_owned());
                self.failed += 1;
            }
            Ok(Ok((limit, is_kept))) => {
                if is_kept {
                    if let Some(limit) = limit {
                        note("limited", None, limit);
                    }
                    self.stored += 1;
                } else {
                    let why = "it is larger than the cache or its tenant's part of it (cache.max_bytes)";
                    note("skipped", None, why.to_owned());
                    self.skipped += 1;
                }
            }
        }
    }
}

/// What is special about a place.
fn limit(place: &Place) -> Option<String> {
    let found = if place.by_meaning { "" } else { ", not found by meaning" };
    let time = place.ttl.map_or_else(String::new, |ttl| format!(", for {} s", ttl.as_secs()));
    (!place.reason.is_empty()).then(|| format!("kept{time}{found} ({})", place.reason))
}

/// The answers whose requests were kept, one a line as [`import`] takes them; how many those are, and how many can't be written.
/// `only`: those of that caller's tenant.
///
/// # Errors
/// [`ApiError::CacheOff`].
pub async fn export(gateway: &Arc<Gateway>, only: Option<&Caller>) -> Result<(Body, usize, usize), ApiError> {
    let memory = gateway.memory.as_ref().ok_or(ApiError::CacheOff)?;
    let kept = memory.kept(only.map(|caller| caller.tenant.as_str())).await;
    let (kept, others) = kept.map_err(|Unavailable| ApiError::CacheUnavailable)?;
    let count = kept.len();
    tracing::info!(exported = count, left_out = others, "answers are exported to an operator");
    let (parts, body) = mpsc::channel(LINES_IN_FLIGHT);
    let gateway = Arc::clone(gateway);
    tokio::spawn(async move {
        let Some(memory) = &gateway.memory else { return };
        for kept in kept {
            let Some(line) = memory.line_of(&kept) else { continue };
            if parts.send(Part::Bytes(Bytes::from(line))).await.is_err() {
                return;
            }
        }
        drop(parts.send(Part::End).await);
    });
    Ok((Body::Stream(body), count, others))
}
