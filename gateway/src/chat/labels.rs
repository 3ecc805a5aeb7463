//! Learning from fresh answers: does what is remembered say the same? Comparing takes the answers' vectors, so it is done
//! after the client has its answer.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use sluice_engine::cache::Ticket as Candidate;
use sluice_engine::decide::same_answer::{Verdict, compare};
use sluice_engine::features::Profile;
use sluice_engine::{Answer as Remembered, Insert};
use sluice_models::EmbedPool;

use super::judge::Case;
use super::remember::Memory;
use super::shadow_log::Watched;
use super::stored;
use crate::gateway::Core;
use crate::wire::chat::Chunk;

/// A fresh answer beside remembered ones that might say the same.
pub(super) struct Lesson {
    /// Whose memo of vectors it may use.
    pub(super) tenant: String,
    pub(super) insert: Insert,
    pub(super) profile: Profile,
    pub(super) candidate: Candidate,
    /// What was asked.
    pub(super) question: String,
    /// The answer's words.
    pub(super) fresh: String,
    /// What is written down about the candidate.
    pub(super) watched: Option<Watched>,
    /// When the answer was there.
    pub(super) since: Instant,
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
            // Of the others nothing was compared, so nothing is said.
            (answer.payload == self.candidate.candidate().answer.payload).then_some(true)
        });
        if let Some(watched) = self.watched {
            watched.judged(Some(true));
        }
        None
    }

    /// Compares by the answers' vectors or, where these leave it open, by what the judge says, and learns.
    pub(super) async fn learn(self, core: Arc<Core>) {
        let gateway = &core.gateway;
        let Some(memory) = &gateway.memory else { return };
        let fresh = vector(memory.embedder(), &self.tenant, &self.fresh).await;
        let mut verdicts = Vec::new();
        for (at, answer) in self.candidate.answers().enumerate() {
            let Some(words) = words(&answer.payload) else { continue };
            let remembered = vector(memory.embedder(), &self.tenant, &words).await;
            let cosine =
                fresh.as_ref().zip(remembered).map(|(a, b)| a.iter().zip(&b).map(|(x, y)| x * y).sum());
            let mut verdict = compare(&words, &self.fresh, &mut || cosine);
            // Only about the candidate, which comes first, is there something to learn.
            if let (Verdict::Unsure, 0, Some(judge)) = (verdict, at, &gateway.judge) {
                verdict = judge.verdict(&core, &self.case(&words)).await;
            }
            verdicts.push((answer.payload.clone(), verdict));
        }
        let said = |answer: &Remembered| {
            verdicts
                .iter()
                .find(|(payload, _)| *payload == answer.payload)
                .and_then(|(_, verdict)| verdict.right())
        };
        let right = self.keep(memory, &said).await;
        if let Some(watched) = self.watched {
            watched.judged(right);
        }
        gateway.metrics.label(match right {
            Some(true) => "right",
            Some(false) => "wrong",
            None => "unsure",
        });
    }

    /// Puts the answer where similar questions find it, unless it was forgotten or replaced meanwhile; learns in any case.
    async fn keep(
        &self,
        memory: &Memory,
        said: &(dyn Fn(&Remembered) -> Option<bool> + Sync),
    ) -> Option<bool> {
        let (cache, payload) = (memory.cache(), &self.insert.payload);
        // A copy of what lies elsewhere may be too old by now to be found. If it can't be fetched, it counts as forgotten.
        let _ = cache.fetch(&self.insert.partition, &[self.insert.exact]).await;
        if cache.exact(&self.insert.exact, &|entry| entry.payload() == payload).is_none() {
            let right = said(&self.candidate.candidate().answer);
            right.inspect(|right| cache.learn(&self.candidate, *right));
            return right;
        }
        // Its time began when it came.
        let ttl = self.insert.ttl.map(|ttl| ttl.saturating_sub(self.since.elapsed()));
        let insert = Insert { ttl, ..self.insert.clone() };
        cache.remember(insert, self.profile.clone(), Some(&self.candidate), &mut |answer| said(answer)).right
    }

    fn case<'a>(&'a self, remembered: &'a str) -> Case<'a> {
        Case { tenant: &self.tenant, question: &self.question, remembered, fresh: &self.fresh }
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
