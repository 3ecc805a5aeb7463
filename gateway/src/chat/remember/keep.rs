//! Keeping a provider's answer: which are worth it, in what form, and what is to be learnt from them.

use std::time::Instant;

use sluice_engine::Insert;

use super::{Memory, Similar, Ticket};
use crate::chat::keys::{label, owner};
use crate::chat::labels::{self, Lesson};
use crate::chat::stored::{self, Origin};
use crate::ids;
use crate::ledger::Nanodollars;
use crate::wire::chat::Chunk;

/// Whether an answer was kept.
pub(in crate::chat) enum Kept {
    /// It is none to keep.
    No,
    /// It was.
    Yes,
    /// It was, and it is what the candidate said.
    Learnt,
    /// It was, and this is still to be learnt from it.
    Unlearnt(Box<Lesson>),
}

impl Memory {
    /// Keeps a whole answer, if it is one worth keeping. What is still to be learnt from it, after the client has it, is
    /// given back.
    pub(in crate::chat) fn remember(
        &self,
        ticket: Ticket,
        redacted: &Chunk,
        provider: &str,
        model: &str,
        cost: Nanodollars,
    ) -> Kept {
        let Some(insert) = self.insert_of(&ticket, redacted, (provider, model, cost)) else {
            return Kept::No;
        };
        let Ticket { tenant, similar, .. } = ticket;
        let Some(similar) = similar else {
            self.cache.insert(insert);
            return Kept::Yes;
        };
        let Similar { text: question, vector, profile, candidate, watched } = *similar;
        let insert = Insert { vector: Some(vector), ..insert };
        let (Some(candidate), Some(fresh)) = (candidate, labels::of_chunk(redacted)) else {
            self.cache.remember(insert, profile, None, &mut |_| None);
            return Kept::Yes;
        };
        let since = Instant::now();
        match (Lesson { tenant, insert, profile, candidate, question, fresh, watched, since }).at_once(self) {
            None => Kept::Learnt,
            Some(lesson) => Kept::Unlearnt(Box::new(lesson)),
        }
    }

    /// The answer in the form in which it is kept, to be found by the ticket's keys; none of one that is not worth keeping.
    pub(super) fn insert_of(
        &self,
        ticket: &Ticket,
        redacted: &Chunk,
        (provider, model, cost): (&str, &str, Nanodollars),
    ) -> Option<Insert> {
        if !is_rememberable(redacted) {
            return None;
        }
        let (fresh_for, kept_for) = ticket.lifetimes.of(&ticket.exact, ticket.ttl);
        let by_target = label(&self.hash_key, "model", &format!("{provider}/{model}"));
        let labels = format!("{} {} {by_target}", ids::fresh("ce-"), ticket.labels.join(" "));
        let origin = Origin { fresh_for, labels: &labels, provider, model, cost };
        Some(Insert {
            partition: ticket.partition,
            exact: ticket.exact,
            normalised: ticket.normalised,
            vector: None,
            payload: stored::write(&origin, redacted.clone())?,
            ttl: Some(kept_for),
            owner: owner(&self.hash_key, &ticket.tenant),
            note: ticket.note.clone(),
            tags: labels.split(' ').map(str::to_owned).collect(),
        })
    }
}

/// Only whole, successful answers in words are worth remembering.
fn is_rememberable(answer: &Chunk) -> bool {
    !answer.choices.is_empty()
        && answer.choices.iter().all(|choice| {
            choice.finish_reason.as_deref() == Some("stop")
                && choice.delta.tool_calls.is_empty()
                && choice.delta.refusal.as_deref().unwrap_or_default().is_empty()
                && choice.delta.content.as_deref().is_some_and(|text| !text.is_empty())
        })
}
