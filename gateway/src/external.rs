//! Guards of others: systems that judge or change a request after our own rules and before it goes anywhere.
//!
//! Those that change it come first, so that those that judge see no more than a provider would; webhooks one after the other,
//! since each writes on what the one before left. The others of a stage are asked at the same time: the slowest decides how long it takes,
//! and the first that refuses ends it. What can't be asked counts as its `on_error` says.

mod ask;
mod moderation;
mod presidio;
mod webhook;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use http::{HeaderValue, Uri};
use serde_json::Value;
use sluice_guardrails::Finding;

use crate::audit::{Audit, Event, Subject};
use crate::breaker::Breaker;
use crate::chat::request::Secured;
use crate::config::{ExternalKind, ExternalMode, ExternalSection, OnError, Phase, Sees};
use crate::error::ApiError;
use crate::secret::Secret;
use crate::telemetry::metrics::Metrics;
use crate::upstream::Upstream;
use moderation::Moderation;
use presidio::Analyzer;
use webhook::Webhook;

/// All external guards, in the order of the configuration.
#[derive(Default)]
pub struct External {
    guards: Vec<Outside>,
}

/// One external guard.
pub(crate) struct Outside {
    name: String,
    kind: Kind,
    address: String,
    uri: Uri,
    authorization: Option<HeaderValue>,
    in_house: bool,
    phases: Vec<Phase>,
    mode: ExternalMode,
    on_error: OnError,
    timeout: Duration,
    sees: Sees,
    max_answer: u64,
    breaker: Breaker,
    /// The last time it failed.
    troubled: AtomicBool,
}

#[derive(Clone)]
enum Kind {
    Presidio(Analyzer),
    Moderation(Moderation),
    Webhook(Webhook),
}

/// What a guard is asked about. No `Debug`: it holds what people wrote.
pub(crate) struct Question {
    /// When it is asked.
    pub(crate) phase: Phase,
    /// On whose behalf.
    pub(crate) subject: Arc<Subject>,
    /// The texts, in their order.
    pub(crate) passages: Vec<Passage>,
    /// The request's own `metadata`.
    pub(crate) metadata: Value,
    /// What must not stand in anything that is sent; none if nothing was redacted, or for who may see it.
    pub(crate) secured: Option<Arc<Secured>>,
}

/// One text of a request.
pub(crate) struct Passage {
    /// The way to it, as the audit log spells it.
    pub(crate) field: String,
    /// Who says it, as in the audit log.
    pub(crate) channel: &'static str,
    /// Whether it names something for programs, and says nothing.
    pub(crate) is_name: bool,
    /// What it says.
    pub(crate) text: String,
}

/// What a guard says.
enum Verdict {
    Allow,
    /// It found something, by the texts in which it stands.
    Found(HashMap<String, Vec<Finding>>),
    /// Texts that are to be others.
    Rewritten(HashMap<String, String>),
    Refused(Refusal),
}

/// Why a guard refuses.
struct Refusal {
    /// Words for what it is, which hold no content: categories, entities, a code.
    what: Vec<String>,
    /// A code of its own, for the client.
    code: Option<String>,
    /// A sentence of its own, for the client and nobody else.
    reason: Option<String>,
}

/// Why a guard gave no answer that can be used.
enum Failure {
    /// It failed so often that it is left alone.
    Open,
    Timeout,
    Connection,
    Status(u16),
    /// The answer is not what was asked for.
    Malformed(&'static str),
    TooLarge,
    /// What was redacted stood in what was to be sent to it.
    Leak(&'static str),
    /// It could not be made, which is our mistake.
    Unsendable,
}

impl Failure {
    fn outcome(&self) -> &'static str {
        match self {
            Self::Open => "breaker_open",
            Self::Timeout => "timeout",
            Self::Connection => "connection",
            Self::Status(_) => "status",
            Self::Malformed(_) => "malformed",
            Self::TooLarge => "too_large",
            Self::Leak(_) => "postcondition",
            Self::Unsendable => "unsendable",
        }
    }
}

/// What is to be changed.
#[derive(Default)]
pub(crate) struct Changes {
    /// What was found, by the texts in which it stands.
    pub(crate) found: HashMap<String, Vec<Finding>>,
    /// Texts that are to be others.
    pub(crate) rewritten: HashMap<String, String>,
}

/// What asking needs to know of the gateway.
pub(crate) struct Hearing<'a> {
    /// The outbound connections.
    pub(crate) upstream: &'a Upstream,
    /// Where calls are counted.
    pub(crate) metrics: &'a Metrics,
    /// Where decisions are written down.
    pub(crate) audit: Option<&'a Audit>,
}

impl External {
    /// What the configuration says. `env` looks up environment variables.
    ///
    /// # Errors
    /// One sentence per problem, each naming its field.
    pub fn build(
        sections: &[ExternalSection],
        env: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, Vec<String>> {
        let (mut guards, mut problems) = (Vec::with_capacity(sections.len()), Vec::new());
        for (number, section) in sections.iter().enumerate() {
            let field = format!("guardrails.external[{number}]");
            if sections[..number].iter().any(|other| other.name == section.name) {
                problems.push(format!("{field}.name: '{}' is taken already", section.name));
            }
            match Outside::build(section, env) {
                Ok(guard) => guards.push(guard),
                Err(found) => {
                    problems.extend(found.iter().map(|(name, problem)| format!("{field}.{name}: {problem}")));
                }
            }
        }
        if problems.is_empty() { Ok(Self { guards }) } else { Err(problems) }
    }

    /// Whether anybody is asked then.
    pub fn is_asked(&self, phase: Phase) -> bool {
        self.guards.iter().any(|guard| guard.phases.contains(&phase))
    }

    /// Whether anybody sees requests as they came.
    pub fn sees_originals(&self) -> bool {
        self.guards.iter().any(|guard| guard.sees == Sees::Original)
    }

    /// Those that are asked then: in order those that are asked at the same time.
    pub(crate) fn stages(&self, phase: Phase) -> Vec<Vec<&Outside>> {
        let asked = || self.guards.iter().filter(|guard| guard.phases.contains(&phase));
        let (changing, judging): (Vec<_>, Vec<_>) =
            asked().partition(|guard| guard.mode == ExternalMode::Redact);
        let (writing, finding): (Vec<_>, Vec<_>) =
            changing.into_iter().partition(|guard| matches!(guard.kind, Kind::Webhook(_)));
        let mut stages: Vec<_> = writing.into_iter().map(|guard| vec![guard]).collect();
        stages.extend([finding, judging]);
        stages.retain(|stage| !stage.is_empty());
        stages
    }

    /// Asks guards at the same time, and tells what they want changed. `original` is for those that see it.
    ///
    /// # Errors
    /// [`ApiError::GuardRefused`], [`ApiError::GuardUnavailable`], [`ApiError::Postcondition`]: the first of them, and nobody else is
    /// waited for.
    pub(crate) async fn ask(
        stage: &[&Outside],
        hearing: &Hearing<'_>,
        redacted: &Arc<Question>,
        original: Option<&Arc<Question>>,
    ) -> Result<Changes, ApiError> {
        let mut asked: FuturesUnordered<_> = stage
            .iter()
            .map(|guard| async move {
                let begun = Instant::now();
                let question = original.filter(|_| guard.sees == Sees::Original).unwrap_or(redacted);
                let verdict = guard.ask(hearing.upstream, question).await;
                (*guard, verdict, begun.elapsed())
            })
            .collect();
        let mut changes = Changes::default();
        while let Some((guard, verdict, took)) = asked.next().await {
            let decided = guard.decide(verdict, redacted, hearing, took)?;
            changes.rewritten.extend(decided.rewritten);
            for (text, found) in decided.found {
                changes.found.entry(text).or_default().extend(found);
            }
        }
        Ok(changes)
    }
}

impl Changes {
    /// Whether nothing is to be changed.
    pub(crate) fn is_empty(&self) -> bool {
        self.found.is_empty() && self.rewritten.is_empty()
    }
}

impl Outside {
    fn build(
        section: &ExternalSection,
        env: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, Vec<(&'static str, String)>> {
        let mut problems = section.problems();
        let address = section.url.clone().unwrap_or_else(|| moderation::ADDRESS.to_owned());
        let address =
            if section.kind == ExternalKind::Presidio { presidio::address(&address) } else { address };
        let uri = crate::route::post_address(&address);
        let uri = uri.map_err(|problem| problems.push(("url", problem))).ok();
        let mut read = |field, source: &Option<crate::secret::SecretSource>| -> Option<Secret> {
            source.as_ref()?.read(env).map_err(|problem| problems.push((field, problem))).ok()
        };
        let (key, secret) = (read("api_key", &section.api_key), read("secret", &section.secret));
        let authorization = key.and_then(|key| crate::route::bearer(&key).ok());
        let kind = match section.kind {
            ExternalKind::Presidio => Kind::Presidio(Analyzer::new(section)),
            ExternalKind::OpenaiModeration => Kind::Moderation(Moderation::new(section)),
            ExternalKind::Webhook => {
                let webhook = Webhook::new(secret).map_err(|problem| problems.push(("secret", problem)));
                Kind::Webhook(webhook.unwrap_or_default())
            }
        };
        let Some(uri) = uri.filter(|_| problems.is_empty()) else { return Err(problems) };
        Ok(Self {
            name: section.name.clone(),
            kind,
            address,
            uri,
            authorization,
            in_house: section.in_house,
            phases: section.phase.clone(),
            mode: section.mode(),
            on_error: section.on_error,
            timeout: section.timeout.0,
            sees: section.sees,
            max_answer: section.max_answer.0,
            breaker: Breaker::new(section.breaker.settings()),
            troubled: AtomicBool::new(false),
        })
    }

    /// What follows from what it said, counted and written down.
    fn decide(
        &self,
        verdict: Result<Verdict, Failure>,
        question: &Question,
        hearing: &Hearing<'_>,
        took: Duration,
    ) -> Result<Changes, ApiError> {
        let verdict = match verdict {
            // Whoever is only to judge can't be followed in what it wants written.
            Ok(Verdict::Rewritten(_)) if self.mode == ExternalMode::Block => {
                Err(Failure::Malformed("it redacts, and its mode is block"))
            }
            verdict => verdict,
        };
        let (outcome, what) = match &verdict {
            Ok(verdict) => self.outcome(verdict),
            Err(failure) => (failure.outcome(), String::new()),
        };
        hearing.metrics.external((&self.name, question.phase.name()), outcome, took);
        let action = match (&verdict, self.on_error) {
            (Ok(_), _) => outcome,
            (Err(Failure::Leak(_)), _) | (Err(_), OnError::Closed) => "block",
            (Err(_), OnError::Open) => "skip",
        };
        if let Some(audit) = hearing.audit {
            let what = if verdict.is_ok() { what.as_str() } else { outcome };
            audit.record(vec![Event::external(
                &question.subject,
                (&self.name, what),
                action,
                question.phase,
            )])?;
        }
        self.note(verdict.as_ref().err(), question);
        match verdict {
            Err(Failure::Leak(entity)) => Err(self.leaked(entity, question, hearing)),
            Err(_) if self.on_error == OnError::Open => Ok(Changes::default()),
            Err(_) => {
                hearing.metrics.refused("guardrail_unavailable");
                Err(ApiError::GuardUnavailable { guard: self.name.clone() })
            }
            Ok(verdict) if outcome == "block" => {
                let error = self.refused(verdict, what, question.phase);
                hearing.metrics.refused(error.code());
                Err(error)
            }
            Ok(Verdict::Found(found)) if outcome == "redact" => Ok(Changes { found, ..Changes::default() }),
            Ok(Verdict::Rewritten(rewritten)) if outcome == "redact" => {
                Ok(Changes { rewritten, ..Changes::default() })
            }
            Ok(_) => Ok(Changes::default()),
        }
    }

    /// What is done with a verdict, and words for why, which hold no content.
    fn outcome(&self, verdict: &Verdict) -> (&'static str, String) {
        let acts = match self.mode {
            ExternalMode::Block => "block",
            ExternalMode::Redact => "redact",
            ExternalMode::Report => "report",
        };
        match verdict {
            Verdict::Allow => ("allow", String::new()),
            Verdict::Found(found) => {
                let mut entities: Vec<&str> =
                    found.values().flatten().map(|finding| finding.entity).collect();
                entities.sort_unstable();
                entities.dedup();
                (acts, entities.join(", "))
            }
            Verdict::Rewritten(_) => (acts, String::new()),
            // Who may redact may refuse as well.
            Verdict::Refused(refusal) if acts == "redact" => ("block", refusal.what.join(", ")),
            Verdict::Refused(refusal) => (acts, refusal.what.join(", ")),
        }
    }

    fn refused(&self, verdict: Verdict, what: String, phase: Phase) -> ApiError {
        let (code, own) = match (&self.kind, verdict) {
            (Kind::Presidio(_), _) => ("pii_detected", None),
            (Kind::Moderation(_), _) => ("moderation_flagged", None),
            (Kind::Webhook(_), Verdict::Refused(refusal)) => ("webhook_blocked", Some(refusal)),
            (Kind::Webhook(_), _) => ("webhook_blocked", None),
        };
        let (own_code, reason) = own.map_or((None, None), |refusal| (refusal.code, refusal.reason));
        let answer = phase == Phase::Output;
        ApiError::GuardRefused { answer, guard: self.name.clone(), code, own_code, what, reason }
    }

    fn leaked(&self, entity: &'static str, question: &Question, hearing: &Hearing<'_>) -> ApiError {
        hearing.metrics.postcondition();
        tracing::error!(
            request_id = question.subject.request_id,
            guard = self.name,
            entity,
            "a redacted value stood in what was to be sent to an external guard, so nothing was: please report how that came about"
        );
        if let (Some(audit), Some(secured)) = (hearing.audit, &question.secured) {
            audit.unsent(secured, entity);
        }
        ApiError::Postcondition { entity }
    }

    /// Says once that it fails, and once that it is well again; the metrics have every time.
    fn note(&self, failure: Option<&Failure>, question: &Question) {
        let was = self.troubled.swap(failure.is_some(), Ordering::Relaxed);
        let (guard, request_id) = (&self.name, &question.subject.request_id);
        match failure {
            Some(failure) if !was => {
                let status = if let Failure::Status(status) = failure { Some(*status) } else { None };
                let detail = if let Failure::Malformed(detail) = failure { Some(*detail) } else { None };
                let on_error =
                    if self.on_error == OnError::Open { "requests go on" } else { "requests are refused" };
                let outcome = failure.outcome();
                tracing::warn!(
                    request_id,
                    guard,
                    outcome,
                    status,
                    detail,
                    on_error,
                    "an external guard can't be used"
                );
            }
            None if was => tracing::info!(request_id, guard, "an external guard can be used again"),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests;
