//! Learning from fresh answers: does what is remembered say the same? Comparing takes the answers' vectors, so it is done
//! after the client has its answer.

use std::sync::Arc;

use bytes::Bytes;
use sluice_engine::cache::Ticket as Candidate;
use sluice_engine::decide::same_answer::{Verdict, compare};
use sluice_engine::features::Profile;
use sluice_engine::{Answer as Remembered, Insert};
use sluice_models::EmbedPool;

use super::remember::Memory;
use super::stored;
use crate::gateway::Gateway;
use crate::wire::chat::Chunk;

/// A fresh answer beside remembered ones that might say the same.
pub(super) struct Lesson {
    /// Whose memo of vectors it may use.
    pub(super) tenant: String,
    pub(super) insert: Insert,
    pub(super) profile: Profile,
    pub(super) candidate: Candidate,
    /// Its words.
    pub(super) fresh: String,
}

impl Lesson {
    /// Learns at once if the words alone tell that the candidate was right, which is the usual case; otherwise the lesson is
    /// given back, and the answer can meanwhile be found by its own question alone.
    pub(super) fn at_once(self, memory: &Memory) -> Option<Self> {
        let remembered = words(&self.candidate.candidate().answer.payload);
        let same =
            remembered.is_some_and(|words| compare(&words, &self.fresh, &mut || None) == Verdict::Same);
        if !same {
            memory.cache().insert(Insert { vector: None, ..self.insert.clone() });
            return Some(self);
        }
        memory.cache().remember(self.insert, self.profile, Some(&self.candidate), &mut |answer| {
            // The candidate is asked about first, and is the same: no other one is.
            Some(answer.payload == self.candidate.candidate().answer.payload)
        });
        None
    }

    /// Compares by the answers' vectors, and learns.
    pub(super) async fn learn(self, gateway: Arc<Gateway>) {
        let Some(memory) = &gateway.memory else { return };
        let fresh = vector(memory.embedder(), &self.tenant, &self.fresh).await;
        let mut verdicts = Vec::new();
        for answer in self.candidate.answers() {
            let Some(words) = words(&answer.payload) else { continue };
            let remembered = vector(memory.embedder(), &self.tenant, &words).await;
            let cosine =
                fresh.as_ref().zip(remembered).map(|(a, b)| a.iter().zip(&b).map(|(x, y)| x * y).sum());
            verdicts.push((answer.payload.clone(), compare(&words, &self.fresh, &mut || cosine)));
        }
        let said = |answer: &Remembered| {
            verdicts
                .iter()
                .find(|(payload, _)| *payload == answer.payload)
                .and_then(|(_, verdict)| verdict.right())
        };
        let learnt =
            memory.cache().remember(self.insert, self.profile, Some(&self.candidate), &mut |a| said(a));
        gateway.metrics.label(match learnt.right {
            Some(true) => "right",
            Some(false) => "wrong",
            None => "unsure",
        });
    }
}

/// The words of a remembered answer with one choice.
pub(super) fn words(payload: &Bytes) -> Option<String> {
    let (_, lasting) = stored::read(payload)?;
    of_chunk(&stored::decode(&lasting)?)
}

/// The words of an answer with one choice.
pub(super) fn of_chunk(answer: &Chunk) -> Option<String> {
    let [choice] = answer.choices.as_slice() else { return None };
    choice.delta.content.clone()
}

/// The vector of an answer: of its beginning, if it is longer than the model's window. None if the model is busy.
async fn vector(embedder: Option<&EmbedPool>, tenant: &str, text: &str) -> Option<Vec<f32>> {
    let embedded = embedder?.embed_within(tenant, text, None).await.ok()?;
    Some(embedded.embedding.vector.clone())
}
