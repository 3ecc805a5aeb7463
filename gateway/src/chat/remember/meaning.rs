//! The last tier: answers of prompts that mean the same.

use sluice_engine::cache::{Decision, Question};
use sluice_engine::decide::Policy;
use sluice_engine::{Entry, PartitionKey, Tightening};

use super::found::{Judged, Remembered, read};
use super::{Asked, Memory, Similar, Ticket};
use crate::chat::Call;
use crate::chat::shadow_log::Decided;
use crate::telemetry::metrics::Metrics;

/// Nothing was served.
pub(super) struct Missed {
    /// The request's ticket, which knows now what to learn.
    pub(super) ticket: Box<Ticket>,
    /// The store that gateways share is not to be had.
    pub(super) unavailable: bool,
}

impl Memory {
    /// The last tier: a similar prompt's answer, if the policy lets it; else the ticket, which now knows what to learn.
    pub(super) async fn by_meaning(
        &self,
        asked: &Asked<'_>,
        mut similar: Box<Similar>,
        mut ticket: Ticket,
        admit: &(dyn Fn(&Entry) -> bool + Sync),
        metrics: &Metrics,
    ) -> Result<Remembered, Missed> {
        let (wishes, rule) = (asked.wishes, self.terms.of(&asked.request.model).rule);
        // Of what a fixed threshold does, there is nothing to be learnt or written down.
        let watch = self.shadow_log.as_ref().filter(|_| !matches!(rule, Some(Policy::Fixed { .. })));
        watch.inspect(|log| log.asked());
        let question = self.question(asked, &similar, &ticket.partition);
        let surroundings = self.cache.survey(&question).await;
        let Ok(surroundings) = surroundings else {
            ticket.similar = Some(similar);
            return Err(Missed { ticket: Box::new(ticket), unavailable: true });
        };
        let (hit, confidence, id, spot_check) =
            match self.cache.look_up_in(&question, surroundings, &|entry| wishes.serve && admit(entry)) {
                Decision::Serve { hit, confidence, id, spot_check } => (hit, confidence, id, spot_check),
                Decision::Miss { candidate, would_serve } => {
                    if would_serve {
                        metrics.lookup("shadow", "semantic");
                    }
                    similar.watched = watch.zip(candidate.as_ref()).map(|(log, ticket)| {
                        let (similarity, confidence) = (ticket.similarity(), ticket.confidence());
                        let decided = Decided { similarity, confidence, would_serve, served: false };
                        log.watch(asked, &similar.text, decided)
                    });
                    similar.candidate = candidate;
                    ticket.similar = Some(similar);
                    return Err(Missed { ticket: Box::new(ticket), unavailable: false });
                }
            };
        let watched = watch.map(|log| {
            let similarity = hit.similarity;
            let decided = Decided { similarity, confidence, would_serve: true, served: true };
            log.watch(asked, &similar.text, decided)
        });
        ticket.similar = Some(similar);
        let Some(mut remembered) = read(&hit, asked.takes_apart()) else {
            return Err(Missed { ticket: Box::new(ticket), unavailable: false });
        };
        let name = self.hit_name(&asked.call.caller.tenant, id);
        let spot_check = spot_check.map(|candidate| ticket.checking(candidate, watched));
        remembered.judged = Some(Judged { confidence, name, spot_check });
        Ok(remembered)
    }

    /// The request as the semantic tier sees it.
    fn question<'a>(
        &self,
        asked: &Asked<'_>,
        similar: &'a Similar,
        partition: &'a PartitionKey,
    ) -> Question<'a> {
        let terms = self.terms.of(&asked.request.model);
        Question {
            partition,
            vector: &similar.vector,
            profile: &similar.profile,
            tightening: Tightening { similarity: asked.wishes.similarity, ..Tightening::default() },
            policy: terms.rule,
            shadow: Some(terms.shadow),
        }
    }

    /// The text's vector; none of a text that was cut, of which the model saw only the beginning: two different ones could
    /// look the same.
    ///
    /// # Errors
    /// Why the model is not to be had.
    pub(super) async fn vector(
        &self,
        call: &Call,
        text: &str,
        metrics: &Metrics,
    ) -> Result<Option<Vec<f32>>, &'static str> {
        let Some(embedder) = &self.embedder else { return Err("no_embedding_model") };
        let embedded = embedder.embed_within(&call.caller.tenant, text, Some(self.patience)).await;
        metrics.embedded(&embedded);
        match embedded {
            Ok(embedded) if embedded.embedding.truncated => Ok(None),
            Ok(embedded) => Ok(Some(embedded.embedding.vector.clone())),
            Err(error) => {
                tracing::debug!(request_id = call.id, %error, "the semantic tier was skipped");
                Err("embedding_busy")
            }
        }
    }
}
