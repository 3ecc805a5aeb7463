//! Answers that an operator gives, to questions that nobody asked yet: kept as if a provider had given them.

use std::time::Duration;

use bytes::Bytes;
use sluice_engine::{Answer, Insert};
use sluice_models::EmbedError;

use super::{Asked, Memory, Similar, Ticket, normal_form};
use crate::chat::stored;
use crate::chat::tier::Reach;
use crate::telemetry::metrics::Metrics;
use crate::wire::chat::Chunk;

/// Who such an answer is said to come from.
const PROVIDER: &str = "import";
/// How often the embedding model is asked for a vector while it is busy with what clients ask, and the pause between.
const TRIES: usize = 100;
const PAUSE: Duration = Duration::from_millis(50);
/// Lifetimes are spread by a tenth; those that differ by no more are the same.
const SAME_LIFETIME: f64 = 0.8;

/// Where a given answer goes.
pub(in crate::chat) struct Place {
    ticket: Ticket,
    /// Why it is found by less than its meaning, or kept for less than the usual time; empty if it is not.
    pub(in crate::chat) reason: &'static str,
    /// Whether similar questions find it.
    pub(in crate::chat) by_meaning: bool,
    /// How long it is kept, where its question has a time of its own.
    pub(in crate::chat) ttl: Option<Duration>,
}

/// Why an answer has no place.
pub(in crate::chat) enum NotKept {
    /// Answers to such questions are not kept, for this reason.
    ByRule(&'static str),
    /// The embedding model failed.
    NoVector,
}

impl Memory {
    /// The place of an answer to this request: where [`Memory::look_up`] will find it, with the same rules.
    pub(in crate::chat) async fn place(
        &self,
        asked: &Asked<'_>,
        metrics: &Metrics,
    ) -> Result<Place, NotKept> {
        let turn = asked.request.last_turn();
        let text = turn.as_deref();
        let terms = self.terms.of(&asked.request.model);
        if !terms.enabled {
            return Err(NotKept::ByRule("cache_off"));
        }
        let uncached = asked.request.uncached();
        if !uncached.is_empty() {
            return Err(NotKept::ByRule(uncached));
        }
        let handling = terms.rules.handling(asked, text);
        if handling.reach == Reach::Nothing {
            return Err(NotKept::ByRule(handling.reason));
        }
        let mut ticket = self.ticket(asked, text, self.keys(asked, text));
        ticket.ttl = [asked.wishes.ttl, handling.ttl].into_iter().flatten().min();
        let mut place = Place { ticket, reason: handling.reason, by_meaning: false, ttl: handling.ttl };
        let Some(text) = text.filter(|_| handling.reach > Reach::Exact) else { return Ok(place) };
        let partition = place.ticket.partition;
        place.ticket.normalised = normal_form(&partition, text);
        if handling.reach < Reach::Semantic {
            return Ok(place);
        }
        match self.vector_of_given(&place.ticket.tenant, text, metrics).await? {
            Ok(vector) => {
                place.ticket.similar = Some(Box::new(Similar::new(text, vector)));
                place.by_meaning = true;
            }
            Err(reason) => place.reason = reason,
        }
        Ok(place)
    }

    /// The vector, or why the text has none. Nobody waits for it, so clients go first: while the queue is full, it is asked
    /// for again later.
    async fn vector_of_given(
        &self,
        tenant: &str,
        text: &str,
        metrics: &Metrics,
    ) -> Result<Result<Vec<f32>, &'static str>, NotKept> {
        let Some(embedder) = &self.embedder else { return Ok(Err("no_embedding_model")) };
        for _ in 0..TRIES {
            let embedded = embedder.embed_within(tenant, text, None).await;
            if matches!(embedded, Err(EmbedError::Busy)) {
                tokio::time::sleep(PAUSE).await;
                continue;
            }
            metrics.embedded(&embedded);
            let embedded = embedded.map_err(|_| NotKept::NoVector)?;
            let embedding = &embedded.embedding;
            return Ok(if embedding.truncated { Err("too_long") } else { Ok(embedding.vector.clone()) });
        }
        Err(NotKept::NoVector)
    }

    /// Keeps the answer; `false` if the cache has no room for it. It shares the cluster of another answer only if that is the
    /// same byte for byte, is forgotten by the same labels and lives as long.
    pub(in crate::chat) async fn give(&self, place: Place, answer: &Chunk) -> bool {
        let ticket = place.ticket;
        let exact = ticket.exact;
        let Some(insert) = self.insert_of(&ticket, answer, (PROVIDER, &answer.model, 0)) else {
            return false;
        };
        match ticket.similar {
            Some(similar) => {
                let Similar { vector, profile, .. } = *similar;
                let insert = Insert { vector: Some(vector), ..insert };
                let payload = insert.payload.clone();
                let Some(vector) = &insert.vector else { return false };
                let Ok(surroundings) = self.cache.survey_of(&insert.partition, vector).await else {
                    return false;
                };
                let mut same = |other: &Answer| is_the_same(&other.payload, &payload);
                self.cache.vouch_in(insert, profile, surroundings, &mut same);
            }
            None => self.cache.insert(insert),
        }
        self.cache.exact(&exact, &|_| true).is_some()
    }
}

/// Whether two stored answers differ in nothing but their names, and little in their lifetimes.
fn is_the_same(one: &Bytes, other: &Bytes) -> bool {
    let (Some((a, answer_a)), Some((b, answer_b))) = (stored::read(one), stored::read(other)) else {
        return false;
    };
    let labels = |labels: &'_ str| labels.split_once(' ').map(|(_, rest)| rest.to_owned());
    let (shorter, longer) = (a.fresh_for.min(b.fresh_for), a.fresh_for.max(b.fresh_for));
    (a.provider, a.model, a.cost) == (b.provider, b.model, b.cost)
        && labels(a.labels) == labels(b.labels)
        && shorter >= longer.mul_f64(SAME_LIFETIME)
        && answer_a == answer_b
}
