//! The semantic cache: three ways to look an answer up, one to store it.

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;

use crate::clock::{Clock, SystemClock};
use crate::decide::{Candidate, Decide, Fixed};
use crate::entry::{Answer, Entry, Hit, Tier};
use crate::exact::Answers;
use crate::index::IndexKind;
use crate::partition::{ExactKey, PartitionKey};
use crate::store::LocalStore;

/// Near entries looked at per lookup: more than one, so that an entry that may not be served doesn't hide the next.
const CANDIDATES: usize = 8;
/// Memory an entry takes beside its payload and vector: its own fields, its places in the maps, moka's bookkeeping.
const ENTRY_BYTES: usize = 640;
/// Longest lifetime. Keeps dates within what the clock can express; a hundred years.
const MAX_TTL: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// How a [`SemanticCache`] behaves.
#[derive(Clone, Debug, PartialEq)]
pub struct CacheConfig {
    /// Least cosine similarity of two prompts that may share an answer; a lookup may ask for more, never for less.
    pub similarity: f32,
    /// How near vectors are found.
    pub index: IndexKind,
    /// How long an answer may be served. Absolute: being served does not prolong it.
    pub ttl: Duration,
    /// Bytes of memory for payloads, vectors and their bookkeeping.
    pub max_bytes: u64,
}

impl Default for CacheConfig {
    /// Similarity 0.90, index by size, 24 hours, 256 MiB.
    fn default() -> Self {
        Self {
            similarity: 0.90,
            index: IndexKind::Auto,
            ttl: Duration::from_secs(24 * 3600),
            max_bytes: 256 << 20,
        }
    }
}

/// An answer to remember, and what it can be found by.
#[derive(Clone)]
pub struct Insert {
    /// The only partition whose requests may see it.
    pub partition: PartitionKey,
    /// The request, letter by letter. An entry under the same key is replaced.
    pub exact: ExactKey,
    /// The request in its safely normalised form, if it has one. The latest entry under a key is the one found.
    pub normalised: Option<ExactKey>,
    /// The prompt's vector, if the entry may answer similar prompts. One that is not finite, zero, or not of the
    /// partition's dimension is ignored.
    pub vector: Option<Vec<f32>>,
    /// What to serve.
    pub payload: Bytes,
    /// A lifetime shorter than the configured one; a longer one is cut to it.
    pub ttl: Option<Duration>,
}

impl fmt::Debug for Insert {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Insert")
            .field("partition", &self.partition)
            .field("exact", &self.exact)
            .field("normalised", &self.normalised)
            .field("dimension", &self.vector.as_ref().map(Vec::len))
            .field("bytes", &self.payload.len())
            .field("ttl", &self.ttl)
            .finish()
    }
}

/// What a cache holds. Entries and bytes are as of the last housekeeping.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Answers.
    pub entries: u64,
    /// Memory charged for them, in bytes.
    pub bytes: u64,
    /// Vectors that can be found.
    pub vectors: u64,
    /// Partitions that have a vector.
    pub partitions: u64,
}

/// Remembers answers and finds them again. Shared by reference between threads; no call waits for I/O.
///
/// The lookups take `admit`, the caller's own condition on an entry (its age, say); it is called without any lock held.
/// What a lookup returns was alive at that moment: neither expired, nor replaced, nor evicted.
pub struct SemanticCache {
    config: CacheConfig,
    clock: Arc<dyn Clock>,
    answers: Answers,
    vectors: Arc<LocalStore>,
    next_id: AtomicU64,
}

impl SemanticCache {
    /// An empty cache.
    pub fn new(config: CacheConfig) -> Self {
        Self::with_clock(config, Arc::new(SystemClock))
    }

    /// An empty cache whose entries age by `clock`.
    pub fn with_clock(config: CacheConfig, clock: Arc<dyn Clock>) -> Self {
        let vectors = Arc::new(LocalStore::new(config.index));
        let vectors_of_removed = Arc::clone(&vectors);
        let answers = Answers::new(config.max_bytes, move |entry| vectors_of_removed.remove(entry));
        Self { config, clock, answers, vectors, next_id: AtomicU64::new(0) }
    }

    /// The entry of the very same request.
    pub fn exact(&self, key: &ExactKey, admit: &dyn Fn(&Entry) -> bool) -> Option<Hit> {
        self.hit(Tier::Exact, self.answers.get(key)?, admit)
    }

    /// The entry of a request with the same normalised form; `key` is the key of that form.
    pub fn normalised(&self, key: &ExactKey, admit: &dyn Fn(&Entry) -> bool) -> Option<Hit> {
        self.hit(Tier::Normalised, self.answers.get_normalised(key)?, admit)
    }

    fn hit(&self, tier: Tier, entry: Arc<Entry>, admit: &dyn Fn(&Entry) -> bool) -> Option<Hit> {
        let alive = !entry.is_expired_at(self.clock.now()) && admit(&entry);
        alive.then_some(Hit { tier, similarity: 1.0, entry })
    }

    /// The entry of the partition whose vector is nearest to `vector`, among the few nearest that `admit` accepts, if
    /// it is near enough: at least `similarity` and at least what is configured.
    pub fn semantic(
        &self,
        partition: &PartitionKey,
        vector: &[f32],
        similarity: f32,
        admit: &dyn Fn(&Entry) -> bool,
    ) -> Option<Hit> {
        let rule = Fixed { similarity: self.config.similarity }.tightened(similarity);
        let mut near = self.vectors.search(partition, vector, CANDIDATES, self.clock.now());
        near.retain(|candidate| candidate.entry.partition == *partition);
        loop {
            let candidates: Vec<_> =
                near.iter().map(|candidate| Candidate { similarity: candidate.similarity }).collect();
            let chosen = near.remove(rule.choose(&candidates)?);
            // Only the one that would be served is touched: looking must not make entries popular.
            if admit(&chosen.entry) && self.answers.touch(&chosen.entry) {
                return Some(Hit {
                    tier: Tier::Semantic,
                    similarity: chosen.similarity,
                    entry: chosen.entry,
                });
            }
        }
    }

    /// Remembers an answer. It may be found at once, and may be evicted at once if the cache is full of more popular
    /// ones. One that is larger than the whole cache, or whose lifetime is zero, is not stored.
    pub fn insert(&self, insert: Insert) {
        let ttl = insert.ttl.unwrap_or(self.config.ttl).min(self.config.ttl).min(MAX_TTL);
        let vector_bytes =
            insert.vector.as_ref().map_or(0, |v| self.vectors.vector_bytes(&insert.partition, v.len()));
        let bytes = insert.payload.len() + vector_bytes + ENTRY_BYTES;
        let weight = u32::try_from(bytes).ok().filter(|&weight| u64::from(weight) <= self.config.max_bytes);
        let Some(weight) = weight.filter(|_| !ttl.is_zero()) else {
            tracing::debug!(partition = ?insert.partition, bytes, ?ttl, "answer not stored: too large or no lifetime");
            return;
        };
        let created = self.clock.now();
        let entry = Arc::new(Entry {
            answer: Arc::new(Answer { payload: insert.payload }),
            partition: insert.partition,
            created,
            expires_at: created + ttl,
            id: self.next_id.fetch_add(1, Ordering::Relaxed),
            exact: insert.exact,
            normalised: insert.normalised,
            weight,
        });
        // The vector first: were the entry refused at once, its removal would otherwise come before the vector.
        if let Some(vector) = &insert.vector {
            self.vectors.insert(&entry, vector);
        }
        self.answers.insert(entry);
    }

    /// What the cache holds.
    pub fn stats(&self) -> Stats {
        let (entries, bytes) = self.answers.size();
        let (vectors, partitions) = self.vectors.counts();
        Stats { entries, bytes, vectors, partitions }
    }

    /// Forgets everything that is stored at the moment of the call.
    pub fn clear(&self) {
        self.answers.clear();
    }

    /// Does the housekeeping that is due: expired and superfluous entries leave memory. Lookups and inserts do a little
    /// of it by themselves; calling this now and then, off the request path, keeps an idle cache tidy.
    pub fn run_pending(&self) {
        self.answers.run_pending();
    }
}

impl fmt::Debug for SemanticCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SemanticCache").field("config", &self.config).finish_non_exhaustive()
    }
}
