//! The account of one answer: what it cost or saved, whether it is remembered, and one line in the log on every way out.

use std::sync::Arc;
use std::time::Instant;

use super::Call;
use super::remember::Ticket;
use crate::gateway::Gateway;
use crate::keys::Caller;
use crate::ledger::Nanodollars;
use crate::route::Target;
use crate::wire::chat::Chunk;

/// Where an answer comes from.
pub(super) enum Source {
    /// Out of the cache, by this tier.
    Cache { tier: &'static str },
    /// From a provider; the ticket lets the answer be remembered.
    Provider { target: Target, ticket: Option<Ticket> },
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
    outcome: &'static str,
}

impl Account {
    pub(super) fn open(gateway: &Arc<Gateway>, call: &Call, source: Source) -> Self {
        Self {
            gateway: Arc::clone(gateway),
            caller: Arc::clone(&call.caller),
            request_id: call.id.clone(),
            started: call.started,
            source,
            cost: None,
            saved: 0,
            tokens: (0, 0),
            outcome: "given_up",
        }
    }

    /// A hit spared this much.
    pub(super) fn saved(&mut self, cost: Nanodollars) {
        self.saved = cost;
        self.gateway.metrics.saved(cost);
    }

    /// The provider's answer is complete: count it and remember it. `redacted` is the form without personal values.
    pub(super) fn settle(&mut self, redacted: &Chunk) {
        let Source::Provider { target, ticket } = &mut self.source else { return };
        if let Some(usage) = &redacted.usage {
            self.tokens = (usage.prompt_tokens, usage.completion_tokens);
            self.cost = self.gateway.prices.cost(&target.provider.kind, &target.model, usage);
            self.gateway.metrics.spent(&target.provider.name, usage);
        }
        self.gateway.metrics.cost(self.cost);
        if let (Some(memory), Some(ticket)) = (&self.gateway.memory, ticket.take()) {
            memory.remember(ticket, redacted, &target.provider.name, &target.model, self.cost.unwrap_or(0));
        }
    }

    /// Says how it ended.
    pub(super) fn close(mut self, outcome: &'static str) {
        self.outcome = outcome;
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        self.gateway.metrics.answer(self.outcome);
        let (cache, served_by) = match &self.source {
            Source::Cache { tier } => (*tier, String::new()),
            Source::Provider { target, .. } => ("", target.name()),
        };
        tracing::info!(
            request_id = self.request_id,
            key = self.caller.key,
            outcome = self.outcome,
            cache,
            served_by,
            input_tokens = self.tokens.0,
            output_tokens = self.tokens.1,
            cost_nanodollars = self.cost,
            saved_nanodollars = self.saved,
            ms = self.started.elapsed().as_secs_f64() * 1000.0,
            "answered"
        );
    }
}
