//! Metrics in Prometheus' text format, served on the admin address.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use sluice_engine::SharedStats;
use sluice_engine::journal::JournalStats;
use sluice_models::{EmbedError, Embedded};

use super::targets::TargetMetrics;
use crate::ledger::Nanodollars;
use crate::route::Shown;
use crate::upstream::Meter;
use crate::wire::usage::Usage;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct RequestLabels {
    endpoint: &'static str,
    status: u16,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct LookupLabels {
    result: &'static str,
    tier: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct VerdictLabels {
    verdict: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ReasonLabels {
    reason: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct AttemptLabels {
    provider: String,
    outcome: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct EntityLabels {
    entity: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct FoundLabels {
    entity: &'static str,
    action: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct TokenLabels {
    provider: String,
    direction: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OutcomeLabels {
    outcome: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct SourceLabels {
    source: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ShadowLabels {
    entity: &'static str,
    action: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct PolicyLabels {
    sha256: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct GuardLabels {
    guard: String,
    phase: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct TopicLabels {
    topic: String,
    action: &'static str,
}

/// Every counter and histogram.
pub struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    answers: Family<OutcomeLabels, Counter>,
    lookups: Family<LookupLabels, Counter>,
    attempts: Family<AttemptLabels, Counter>,
    redactions: Family<EntityLabels, Counter>,
    refusals: Family<EntityLabels, Counter>,
    injections: Counter,
    topics: Family<TopicLabels, Counter>,
    topics_skipped: Family<ReasonLabels, Counter>,
    attacks_skipped: Family<ReasonLabels, Counter>,
    attacks_known: Gauge,
    doubts_skipped: Family<ReasonLabels, Counter>,
    labels: Family<VerdictLabels, Counter>,
    tokens: Family<TokenLabels, Counter>,
    estimated_tokens: Family<TokenLabels, Counter>,
    spent: Counter,
    saved: Counter,
    unpriced: Counter,
    seconds: Family<SourceLabels, Histogram>,
    overhead: Family<SourceLabels, Histogram>,
    limited: Family<ReasonLabels, Counter>,
    waiting: Gauge,
    entries: Gauge,
    bytes: Gauge,
    journal_waiting: Gauge,
    journal_dropped: Gauge,
    journal_failures: Gauge,
    store_up: Gauge,
    store_failures: Gauge,
    store_retries: Gauge,
    store_lost: Gauge,
    store_waiting: Gauge,
    store_told: Gauge,
    store_heard: Gauge,
    queued: Gauge,
    embeddings: Family<OutcomeLabels, Counter>,
    embedding_wait: Histogram,
    embedding_time: Histogram,
    judged: Family<VerdictLabels, Counter>,
    shadow_lines: Family<OutcomeLabels, Counter>,
    postconditions: Counter,
    logged: Family<EntityLabels, Counter>,
    in_answers: Family<FoundLabels, Counter>,
    routed: Family<EntityLabels, Counter>,
    shadowed: Family<ShadowLabels, Counter>,
    tried: Gauge,
    exceptions: Gauge,
    policy: Family<PolicyLabels, Gauge>,
    policy_reloads: Counter,
    policy_failures: Counter,
    audit_events: Family<OutcomeLabels, Counter>,
    external: Family<GuardLabels, Counter>,
    external_time: Family<GuardLabels, Histogram>,
    targets: TargetMetrics,
    connections: Meter,
}

/// What became of the lines of a log.
#[derive(Clone)]
pub struct LineCounts {
    /// They are in the file.
    pub written: Counter,
    /// There was no room in the queue.
    pub dropped: Counter,
    /// The file could not be written.
    pub failed: Counter,
}

fn histogram() -> Histogram {
    Histogram::new([
        0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0,
        2.5, 5.0, 10.0, 30.0, 60.0,
    ])
}

impl Default for Metrics {
    fn default() -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("sluice"),
            requests: Family::default(),
            answers: Family::default(),
            lookups: Family::default(),
            attempts: Family::default(),
            redactions: Family::default(),
            refusals: Family::default(),
            injections: Counter::default(),
            topics: Family::default(),
            topics_skipped: Family::default(),
            attacks_skipped: Family::default(),
            attacks_known: Gauge::default(),
            doubts_skipped: Family::default(),
            labels: Family::default(),
            tokens: Family::default(),
            estimated_tokens: Family::default(),
            spent: Counter::default(),
            saved: Counter::default(),
            unpriced: Counter::default(),
            seconds: Family::new_with_constructor(histogram),
            overhead: Family::new_with_constructor(histogram),
            limited: Family::default(),
            waiting: Gauge::default(),
            entries: Gauge::default(),
            bytes: Gauge::default(),
            journal_waiting: Gauge::default(),
            journal_dropped: Gauge::default(),
            journal_failures: Gauge::default(),
            store_up: Gauge::default(),
            store_failures: Gauge::default(),
            store_retries: Gauge::default(),
            store_lost: Gauge::default(),
            store_waiting: Gauge::default(),
            store_told: Gauge::default(),
            store_heard: Gauge::default(),
            queued: Gauge::default(),
            embeddings: Family::default(),
            embedding_wait: histogram(),
            embedding_time: histogram(),
            judged: Family::default(),
            shadow_lines: Family::default(),
            postconditions: Counter::default(),
            logged: Family::default(),
            in_answers: Family::default(),
            routed: Family::default(),
            shadowed: Family::default(),
            tried: Gauge::default(),
            exceptions: Gauge::default(),
            policy: Family::default(),
            policy_reloads: Counter::default(),
            policy_failures: Counter::default(),
            audit_events: Family::default(),
            external: Family::default(),
            external_time: Family::new_with_constructor(histogram),
            targets: TargetMetrics::default(),
            connections: Meter::default(),
        };
        metrics.register();
        metrics.register_learning();
        metrics.register_journal();
        metrics.register_store();
        metrics.register_audit();
        metrics.register_policy();
        metrics.register_external();
        metrics.targets.register(&mut metrics.registry);
        metrics.register_topics();
        metrics.connections.register(&mut metrics.registry);
        metrics
    }
}

impl Metrics {
    fn register(&mut self) {
        let r = &mut self.registry;
        r.register("requests", "Requests by endpoint and status", self.requests.clone());
        r.register(
            "cache_lookups",
            "Cache lookups by result (hit, coalesced, miss, bypass) and tier",
            self.lookups.clone(),
        );
        r.register(
            "cache_limited",
            "Requests without a hit for which the cache did not do all it can, by reason",
            self.limited.clone(),
        );
        r.register(
            "cache_waiting",
            "Requests that wait for the answer to the same request",
            self.waiting.clone(),
        );
        r.register("upstream_attempts", "Attempts by provider and outcome", self.attempts.clone());
        r.register(
            "redactions",
            "Distinct values redacted before egress, by entity",
            self.redactions.clone(),
        );
        r.register("guardrail_refusals", "Requests refused by a guard, by code", self.refusals.clone());
        r.register(
            "injection_flags",
            "Requests in which the injection check saw something",
            self.injections.clone(),
        );
        r.register("tokens", "Tokens that providers counted", self.tokens.clone());
        r.register(
            "estimated_tokens",
            "Tokens reckoned from texts, of answers that broke off or that nobody read to their end",
            self.estimated_tokens.clone(),
        );
        r.register(
            "cost_nanodollars",
            "Spent on providers, in billionths of a US dollar",
            self.spent.clone(),
        );
        r.register("saved_nanodollars", "Not spent because of cache hits", self.saved.clone());
        r.register("answers", "Answers by how they ended", self.answers.clone());
        r.register("unpriced_answers", "Answers without a known cost", self.unpriced.clone());
        let s = Unit::Seconds;
        r.register_with_unit(
            "request",
            "Until the answer's head, by where it came from",
            s.clone(),
            self.seconds.clone(),
        );
        r.register_with_unit(
            "overhead",
            "The same without the time spent on providers",
            s.clone(),
            self.overhead.clone(),
        );
        r.register("cache_entries", "Answers in the cache", self.entries.clone());
        r.register_with_unit("cache", "Memory of the cache", Unit::Bytes, self.bytes.clone());
        r.register("embedding_queue", "Prompts waiting for the embedding model", self.queued.clone());
        r.register(
            "embeddings",
            "Vectors asked for, by how they were had: computed, remembered, busy (not, for want of a worker), failed",
            self.embeddings.clone(),
        );
        r.register_with_unit(
            "embedding_wait",
            "Until a worker took the prompt",
            s.clone(),
            self.embedding_wait.clone(),
        );
        r.register_with_unit("embedding", "In the embedding model", s, self.embedding_time.clone());
    }

    /// What the cache learns, and what is written down of it.
    fn register_learning(&mut self) {
        let r = &mut self.registry;
        r.register(
            "cache_labels",
            "Comparisons of a remembered answer with a fresh one, and verdicts of users: right, wrong, unsure",
            self.labels.clone(),
        );
        r.register(
            "cache_judged",
            "Pairs of answers for the judge, by verdict: same, different, unreadable, failed, over_budget, too_long, blocked",
            self.judged.clone(),
        );
        r.register(
            "shadow_log_lines",
            "Lines of the shadow log, by what became of them: written, dropped (the queue was full), failed (the disk)",
            self.shadow_lines.clone(),
        );
    }

    fn register_journal(&mut self) {
        let r = &mut self.registry;
        r.register_with_unit(
            "journal_waiting",
            "What waits to be written to the cache's journal",
            Unit::Bytes,
            self.journal_waiting.clone(),
        );
        r.register(
            "journal_dropped",
            "Records not kept since the start because too much waited",
            self.journal_dropped.clone(),
        );
        r.register(
            "journal_failures",
            "Attempts since the start to write the journal that failed",
            self.journal_failures.clone(),
        );
    }

    fn register_store(&mut self) {
        let gauges = [
            (
                "store_up",
                "Whether the store that gateways share answers: 1 or 0; 0 also if there is none",
                &self.store_up,
            ),
            (
                "store_failed_lookups",
                "Lookups since the start that the store failed or was too slow for",
                &self.store_failures,
            ),
            (
                "store_retried_writes",
                "Batches since the start that had to be sent to the store again",
                &self.store_retries,
            ),
            (
                "store_lost_writes",
                "Entries and labels lost since the start because too many waited for the store",
                &self.store_lost,
            ),
            (
                "store_waiting_writes",
                "Entries and labels that wait to be written to the store",
                &self.store_waiting,
            ),
            (
                "store_told_events",
                "Requests, hits and labels since the start that the other gateways were told of",
                &self.store_told,
            ),
            ("store_heard_events", "Those that the other gateways told of", &self.store_heard),
        ];
        for (name, help, gauge) in gauges {
            self.registry.register(name, help, gauge.clone());
        }
    }

    fn register_audit(&mut self) {
        let r = &mut self.registry;
        r.register(
            "guardrail_postcondition_failures",
            "Requests that were not sent because a redacted value stood in them: each is a mistake of ours",
            self.postconditions.clone(),
        );
        r.register(
            "audit_events",
            "Events for the audit log, by what became of them: written, dropped (the queue was full), failed (the disk)",
            self.audit_events.clone(),
        );
    }

    fn register_policy(&mut self) {
        let r = &mut self.registry;
        r.register("guardrail_logged", "Findings that the policy only logs, by entity", self.logged.clone());
        r.register(
            "guardrail_answer_findings",
            "What stood in providers' answers, by entity and what was done",
            self.in_answers.clone(),
        );
        r.register(
            "guardrail_routed",
            "Findings for whose sake requests went to in-house targets alone, or nowhere, by entity",
            self.routed.clone(),
        );
        r.register(
            "guardrail_shadow",
            "Findings about which the policy is only tried, by entity and what would be done",
            self.shadowed.clone(),
        );
        r.register(
            "guardrail_shadow_rules",
            "Fields of the policy by which rules are only tried: nothing is replaced or refused by these",
            self.tried.clone(),
        );
        r.register("guardrail_exceptions", "Exceptions from the policy that hold", self.exceptions.clone());
        r.register(
            "guardrail_policy",
            "1 for the policy in force, by the SHA-256 of its file or of what the configuration says",
            self.policy.clone(),
        );
        r.register(
            "guardrail_policy_reloads",
            "Changed policy files that took the place of the old one",
            self.policy_reloads.clone(),
        );
        r.register(
            "guardrail_policy_reload_failures",
            "Changed policy files that were wrong, so that the old one stayed in force",
            self.policy_failures.clone(),
        );
    }

    fn register_external(&mut self) {
        let r = &mut self.registry;
        r.register(
            "external_guard_calls",
            "Questions to external guards, by what they said (allow, redact, block, report) or why nothing that can be used",
            self.external.clone(),
        );
        r.register_with_unit(
            "external_guard",
            "Until an external guard's answer, or until it was given up",
            Unit::Seconds,
            self.external_time.clone(),
        );
    }

    fn register_topics(&mut self) {
        let r = &mut self.registry;
        r.register(
            "topic_matches",
            "Requests about a denied topic, or about no allowed one (off_topic), by what the policy says",
            self.topics.clone(),
        );
        r.register(
            "topics_skipped",
            "Requests that could not be compared with the topics, by why",
            self.topics_skipped.clone(),
        );
        r.register(
            "known_attacks_skipped",
            "Requests not all of which could be compared with known attacks by meaning, by why",
            self.attacks_skipped.clone(),
        );
        r.register(
            "injection_by_words",
            "Texts in doubt that were judged by their words alone, as their vector was not to be had, by why",
            self.doubts_skipped.clone(),
        );
        r.register("known_attacks", "Attacks that the operator knows", self.attacks_known.clone());
    }

    /// Counts a request about a topic.
    pub fn topic(&self, topic: &str, action: &'static str) {
        let labels = TopicLabels { topic: topic.to_owned(), action };
        self.topics.get_or_create(&labels).inc();
    }

    /// Counts a request that could not be compared with known attacks.
    pub fn known_attacks_skipped(&self, reason: &'static str) {
        self.attacks_skipped.get_or_create(&ReasonLabels { reason }).inc();
    }

    /// Counts a text that was to be judged by its meaning, too, and could not be.
    pub fn doubts_skipped(&self, reason: &'static str) {
        self.doubts_skipped.get_or_create(&ReasonLabels { reason }).inc();
    }

    /// How many attacks are known.
    pub fn known_attacks(&self, count: usize) {
        self.attacks_known.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// Counts a request that could not be compared with the topics.
    pub fn topics_skipped(&self, reason: &'static str) {
        self.topics_skipped.get_or_create(&ReasonLabels { reason }).inc();
    }

    /// The counters of connections.
    pub fn connections(&self) -> Meter {
        self.connections.clone()
    }

    /// Counts and times a question to an external guard.
    pub fn external(&self, (guard, phase): (&str, &'static str), outcome: &'static str, took: Duration) {
        let labels = GuardLabels { guard: guard.to_owned(), phase, outcome };
        self.external.get_or_create(&labels).inc();
        self.external_time.get_or_create(&labels).observe(took.as_secs_f64());
    }

    /// Counts findings that the policy only logs.
    pub fn logged(&self, entity: &'static str, times: usize) {
        let times = u64::try_from(times).unwrap_or(u64::MAX);
        self.logged.get_or_create(&EntityLabels { entity }).inc_by(times);
    }

    /// Counts a finding in an answer.
    pub fn found_in_answer(&self, entity: &'static str, action: &'static str) {
        self.in_answers.get_or_create(&FoundLabels { entity, action }).inc();
    }

    /// Counts findings that are for in-house targets alone.
    pub fn routed(&self, entity: &'static str, times: usize) {
        let times = u64::try_from(times).unwrap_or(u64::MAX);
        self.routed.get_or_create(&EntityLabels { entity }).inc_by(times);
    }

    /// Counts findings about which the policy is only tried.
    pub fn shadowed(&self, entity: &'static str, action: &'static str, times: usize) {
        let times = u64::try_from(times).unwrap_or(u64::MAX);
        self.shadowed.get_or_create(&ShadowLabels { entity, action }).inc_by(times);
    }

    /// How many fields of the policy let rules only be tried, and how many exceptions from it hold.
    pub fn policy_state(&self, tried: usize, exceptions: usize) {
        self.tried.set(i64::try_from(tried).unwrap_or(i64::MAX));
        self.exceptions.set(i64::try_from(exceptions).unwrap_or(i64::MAX));
    }

    /// Says which policy is in force from now on.
    pub fn policy_is(&self, sha256: &str) {
        self.policy.clear();
        self.policy.get_or_create(&PolicyLabels { sha256: sha256.to_owned() }).set(1);
    }

    /// Counts a policy file that was read again; none: it was wrong.
    pub fn policy_reloaded(&self, sha256: Option<&str>) {
        match sha256 {
            Some(sha256) => {
                self.policy_is(sha256);
                self.policy_reloads.inc();
            }
            None => {
                self.policy_failures.inc();
            }
        }
    }

    /// Counts a request that was not sent, since a redacted value stood in it.
    pub fn postcondition(&self) {
        self.postconditions.inc();
    }

    /// The counters of the audit log's events.
    pub fn audit_events(&self) -> LineCounts {
        let counter = |outcome| self.audit_events.get_or_create(&OutcomeLabels { outcome }).clone();
        LineCounts { written: counter("written"), dropped: counter("dropped"), failed: counter("failed") }
    }

    /// Counts a finished request.
    pub fn request(&self, endpoint: &'static str, status: u16) {
        self.requests.get_or_create(&RequestLabels { endpoint, status }).inc();
    }

    /// Counts a cache lookup.
    pub fn lookup(&self, result: &'static str, tier: &'static str) {
        self.lookups.get_or_create(&LookupLabels { result, tier }).inc();
    }

    /// Counts a request without a hit for which the cache did not do all it can; an empty reason says that it did.
    pub fn limited(&self, reason: &'static str) {
        if !reason.is_empty() {
            self.limited.get_or_create(&ReasonLabels { reason }).inc();
        }
    }

    /// Counts a request among those that wait for another's answer, until the guard is dropped.
    pub fn waiting(&self) -> impl Drop + use<> {
        struct Waiting(Gauge);
        impl Drop for Waiting {
            fn drop(&mut self) {
                self.0.dec();
            }
        }
        self.waiting.inc();
        Waiting(self.waiting.clone())
    }

    /// Counts an attempt at a provider.
    pub fn attempt(&self, provider: &str, outcome: &str) {
        let labels = AttemptLabels { provider: provider.to_owned(), outcome: outcome.to_owned() };
        self.attempts.get_or_create(&labels).inc();
    }

    /// Counts an attempt at another target than the one before.
    pub fn fallback(&self) {
        self.targets.fallbacks.inc();
    }

    /// Counts an attempt that was not made, since the budget for asking again was spent.
    pub fn retry_budget_spent(&self) {
        self.targets.budget_spent.inc();
    }

    /// Shows how targets fare, by name.
    pub fn targets(&self, targets: &[(String, Shown)]) {
        self.targets.show(targets);
    }

    /// Counts redacted values.
    pub fn redacted(&self, entity: &'static str, values: usize) {
        self.redactions.get_or_create(&EntityLabels { entity }).inc_by(values as u64);
    }

    /// Counts a refusal.
    pub fn refused(&self, code: &'static str) {
        self.refusals.get_or_create(&EntityLabels { entity: code }).inc();
    }

    /// Counts what was found about a remembered answer: `right`, `wrong` or `unsure`.
    pub fn label(&self, verdict: &'static str) {
        self.labels.get_or_create(&VerdictLabels { verdict }).inc();
    }

    /// Counts what the judge said about two answers, or why nothing.
    pub fn judged(&self, verdict: &'static str) {
        self.judged.get_or_create(&VerdictLabels { verdict }).inc();
    }

    /// The counters of the shadow log's lines.
    pub fn shadow_lines(&self) -> LineCounts {
        let counter = |outcome| self.shadow_lines.get_or_create(&OutcomeLabels { outcome }).clone();
        LineCounts { written: counter("written"), dropped: counter("dropped"), failed: counter("failed") }
    }

    /// Counts a request that looks like an injection.
    pub fn injection(&self) {
        self.injections.inc();
    }

    /// Counts how an answer ended: `complete`, `broken`, `client_gone` or `given_up`.
    pub fn answer(&self, outcome: &'static str) {
        self.answers.get_or_create(&OutcomeLabels { outcome }).inc();
    }

    /// Counts the tokens of an answer.
    pub fn spent(&self, provider: &str, usage: &Usage) {
        for (direction, tokens) in [("input", usage.prompt_tokens), ("output", usage.completion_tokens)] {
            self.tokens
                .get_or_create(&TokenLabels { provider: provider.to_owned(), direction })
                .inc_by(tokens);
        }
    }

    /// Counts the tokens of an answer that its provider did not count: it broke off, or its client left.
    pub fn estimated(&self, provider: &str, usage: &Usage) {
        for (direction, tokens) in [("input", usage.prompt_tokens), ("output", usage.completion_tokens)] {
            self.estimated_tokens
                .get_or_create(&TokenLabels { provider: provider.to_owned(), direction })
                .inc_by(tokens);
        }
    }

    /// Counts what an answer of a provider cost; `None`: its model has no price, or it did not count its tokens.
    pub fn cost(&self, cost: Option<Nanodollars>) {
        match cost {
            Some(cost) => drop(self.spent.inc_by(cost)),
            None => drop(self.unpriced.inc()),
        }
    }

    /// Counts what a hit saved.
    pub fn saved(&self, cost: Nanodollars) {
        self.saved.inc_by(cost);
    }

    /// Times a request until its answer's head; `source` is `cache`, `coalesced` or `provider`.
    pub fn timed(&self, source: &'static str, total: Duration, overhead: Duration) {
        self.seconds.get_or_create(&SourceLabels { source }).observe(total.as_secs_f64());
        self.overhead.get_or_create(&SourceLabels { source }).observe(overhead.as_secs_f64());
    }

    /// Counts and times what the embedding workers did with a text.
    pub fn embedded(&self, result: &Result<Embedded, EmbedError>) {
        let timing = result.as_ref().ok().and_then(|embedded| embedded.timing);
        if let Some(timing) = timing {
            self.embedding_wait.observe(timing.waited.as_secs_f64());
        }
        let computed = timing.and_then(|timing| timing.computed);
        if let Some(computed) = computed {
            self.embedding_time.observe(computed.as_secs_f64());
        }
        let outcome = match result {
            Ok(_) if computed.is_some() => "computed",
            Ok(_) => "remembered",
            Err(EmbedError::Busy) => "busy",
            Err(_) => "failed",
        };
        self.embeddings.get_or_create(&OutcomeLabels { outcome }).inc();
    }

    /// Shows how the cache's journal fares.
    pub fn journal(&self, stats: &JournalStats) {
        let shown = [
            (&self.journal_waiting, stats.queued_bytes),
            (&self.journal_dropped, stats.dropped),
            (&self.journal_failures, stats.failures),
        ];
        for (gauge, value) in shown {
            gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        }
    }

    /// Shows how the store that gateways share fares.
    pub fn shared(&self, stats: &SharedStats) {
        let shown = [
            (&self.store_up, u64::from(stats.up)),
            (&self.store_failures, stats.failed_lookups),
            (&self.store_retries, stats.retried_writes),
            (&self.store_lost, stats.lost_writes),
            (&self.store_waiting, stats.waiting_writes),
            (&self.store_told, stats.told_events),
            (&self.store_heard, stats.heard_events),
        ];
        for (gauge, value) in shown {
            gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        }
    }

    /// The text for a scrape, with these gauges.
    pub fn scrape(&self, entries: u64, bytes: u64, queued: usize) -> String {
        self.entries.set(i64::try_from(entries).unwrap_or(i64::MAX));
        self.bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
        self.queued.set(i64::try_from(queued).unwrap_or(i64::MAX));
        let mut text = String::new();
        // Writing into a String has no way to fail.
        let written = encode(&mut text, &self.registry);
        debug_assert!(written.is_ok());
        text
    }
}
