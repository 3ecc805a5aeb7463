//! The account of one answer: what it cost or saved, whether it is remembered, and one line in the log on every way out.

use std::sync::Arc;
use std::time::Instant;

use super::Call;
use super::estimate;
use super::live::{Paid, Settle, Settled};
use super::remember::{Kept, Ticket};
use super::request::ChatRequest;
use crate::gateway::{Core, Gateway};
use crate::keys::Caller;
use crate::ledger::Nanodollars;
use crate::route::Target;
use crate::wire::chat::Chunk;
use crate::wire::usage::Usage;

/// Where an answer comes from.
pub(super) enum Source {
    /// Out of the cache, by this tier.
    Cache { tier: &'static str },
    /// From a provider.
    Provider { target: String },
    /// From a provider whom another request asked.
    Coalesced { target: String },
    /// Nowhere: a served hit was asked upstream as well.
    SpotCheck,
}

/// Open while an answer is on its way. Dropped without being closed, it says that the answer was given up.
pub(super) struct Account {
    gateway: Arc<Gateway>,
    caller: Arc<Caller>,
    request_id: String,
    started: Instant,
    source: Source,
    cost: Option<Nanodollars>,
    saved: Nanodollars,
    tokens: (u64, u64),
    estimated: bool,
    outcome: &'static str,
}

impl Account {
    pub(super) fn open(gateway: &Arc<Gateway>, call: &Call, source: Source) -> Self {
        // Out of the cache it costs nothing, and that is known; of a provider's answer it is not known yet.
        let cost = matches!(source, Source::Cache { .. }).then_some(0);
        Self {
            gateway: Arc::clone(gateway),
            caller: Arc::clone(&call.caller),
            request_id: call.id.clone(),
            started: call.started,
            source,
            cost,
            saved: 0,
            tokens: (0, 0),
            estimated: false,
            outcome: "given_up",
        }
    }

    /// The answer spared this much.
    pub(super) fn saved(&mut self, cost: Nanodollars) {
        self.saved = cost;
        self.gateway.metrics.saved(cost);
    }

    /// The answer is complete: this request paid for it, or was spared paying for it again.
    pub(super) fn settled(&mut self, settled: &Settled) {
        if matches!(self.source, Source::Provider { .. }) {
            (self.tokens, self.cost) = (settled.tokens, settled.cost);
        } else {
            self.cost = Some(0);
            self.saved(settled.cost.unwrap_or(0));
        }
    }

    /// Whether it is this request that pays for the answer.
    pub(super) fn pays(&self) -> bool {
        matches!(self.source, Source::Provider { .. } | Source::SpotCheck)
    }

    /// Its client left; what it takes is not known yet.
    pub(super) fn left(&self) {
        tracing::debug!(left = self.request_id, "a client left before its answer's end");
    }

    /// The answer broke off, and this is what it took.
    pub(super) fn paid(&mut self, paid: &Paid) {
        if self.pays() {
            (self.tokens, self.cost, self.estimated) = (paid.tokens, paid.cost, paid.estimated);
        }
    }

    /// The answer was for the cache alone.
    pub(super) fn paid_in_full(&mut self, settled: &Settled) {
        (self.tokens, self.cost) = (settled.tokens, settled.cost);
    }

    /// Says how it ended.
    pub(super) fn close(mut self, outcome: &'static str) {
        self.outcome = outcome;
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        if !matches!(self.source, Source::SpotCheck) {
            self.gateway.metrics.answer(self.outcome);
        }
        let (cache, served_by) = match &self.source {
            Source::Cache { tier } => (*tier, ""),
            Source::Provider { target } => ("", target.as_str()),
            Source::Coalesced { target } => ("coalesced", target.as_str()),
            Source::SpotCheck => ("spot_check", ""),
        };
        tracing::info!(
            request_id = self.request_id,
            key = self.caller.key,
            outcome = self.outcome,
            cache,
            served_by,
            input_tokens = self.tokens.0,
            output_tokens = self.tokens.1,
            estimated = self.estimated,
            cost_nanodollars = self.cost,
            saved_nanodollars = self.saved,
            ms = self.started.elapsed().as_secs_f64() * 1000.0,
            "answered"
        );
    }
}

/// A request for whose answer a provider is asked. Dropped before that began, its client left: what the provider may bill for is
/// told, as far as it can be reckoned.
pub(super) struct Waiting<'a> {
    gateway: &'a Gateway,
    call: &'a Call,
    request: Option<&'a ChatRequest>,
}

impl<'a> Waiting<'a> {
    pub(super) fn new(gateway: &'a Gateway, call: &'a Call, request: &'a ChatRequest) -> Self {
        Self { gateway, call, request: Some(request) }
    }

    /// The answer began, or there is none.
    pub(super) fn over(mut self) {
        self.request = None;
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let Some(request) = self.request else { return };
        self.gateway.metrics.answer("client_gone");
        tracing::info!(
            request_id = self.call.id,
            key = self.call.caller.key,
            outcome = "client_gone",
            input_tokens = estimate::of_request(request.fields()),
            output_tokens = 0,
            estimated = true,
            ms = self.call.started.elapsed().as_secs_f64() * 1000.0,
            "its client left before an answer began"
        );
    }
}

/// What is due once a provider's answer is complete, whoever reads it then.
pub(super) struct Bill {
    pub(super) core: Arc<Core>,
    pub(super) target: Target,
    /// Lets the answer be remembered.
    pub(super) ticket: Option<Ticket>,
    /// About how many tokens the request has.
    pub(super) request_tokens: u64,
}

impl Settle for Bill {
    /// Counts what came. The provider's own counts are taken if it sent them by then.
    fn part(self, answer: Chunk) -> Paid {
        let Self { core, target, request_tokens, .. } = self;
        let gateway = &core.gateway;
        let counted = answer.usage.clone().unwrap_or_default();
        let output = counted.completion_tokens.max(estimate::of_answer(&answer));
        let estimated = output > counted.completion_tokens || counted.prompt_tokens == 0;
        let input = if counted.prompt_tokens > 0 { counted.prompt_tokens } else { request_tokens };
        let total = input + output;
        let usage = Usage { prompt_tokens: input, completion_tokens: output, total_tokens: total, ..counted };
        let cost = gateway.prices.cost(&target.provider.kind, &target.model, &usage);
        if estimated {
            gateway.metrics.estimated(&target.provider.name, &usage);
        } else {
            gateway.metrics.spent(&target.provider.name, &usage);
        }
        gateway.metrics.cost(cost);
        Paid { tokens: (input, output), cost, estimated }
    }

    /// Counts the answer and remembers it. `answer` is the form without personal values.
    fn whole(self, answer: Chunk) -> Settled {
        let Self { core, target, ticket, .. } = self;
        let gateway = &core.gateway;
        let (mut tokens, mut cost) = ((0, 0), None);
        if let Some(usage) = &answer.usage {
            tokens = (usage.prompt_tokens, usage.completion_tokens);
            cost = gateway.prices.cost(&target.provider.kind, &target.model, usage);
            gateway.metrics.spent(&target.provider.name, usage);
        }
        gateway.metrics.cost(cost);
        let kept = match (&gateway.memory, ticket) {
            (Some(memory), Some(ticket)) => {
                memory.remember(ticket, &answer, &target.provider.name, &target.model, cost.unwrap_or(0))
            }
            _ => Kept::No,
        };
        let is_kept = !matches!(kept, Kept::No);
        match kept {
            Kept::No | Kept::Yes => {}
            Kept::Learnt => gateway.metrics.label("right"),
            Kept::Unlearnt(lesson) => drop(tokio::spawn(lesson.learn(core))),
        }
        Settled { answer: Arc::new(answer), tokens, cost, kept: is_kept }
    }
}
