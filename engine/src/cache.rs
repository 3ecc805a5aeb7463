//! The semantic cache: three ways to look an answer up, one to store it.

mod asking;
#[cfg(test)]
mod contract;
#[cfg(test)]
mod durable;
mod keeping;
mod learning;
#[cfg(test)]
mod pitfalls;
#[cfg(test)]
mod promises;
mod records;
mod restoring;
#[cfg(test)]
mod shares;
mod sharing;
mod state;
#[cfg(test)]
mod tests;
mod vouching;

pub use asking::{Decision, Question};
pub use keeping::fingerprint;
pub use learning::{Remembered, Ticket};
pub use sharing::Surroundings;
pub use state::{CacheState, PartitionReport};

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;

use crate::clock::{Clock, SystemClock};
use crate::decide::Policy;
use crate::decide::noise::JudgeNoise;
use crate::decide::prior::Shipped;
use crate::entry::{Answer, Entry, Hit, Tier};
use crate::exact::Answers;
use crate::features::Profile;
use crate::index::IndexKind;
use crate::partition::{ExactKey, PartitionKey};
use crate::shares::Shares;
use crate::store::qdrant::SharedStore;
use crate::store::{Change, Cluster, LocalStore};
use keeping::Keeping;
use learning::{Learners, Recent};
use restoring::Restoring;

/// Near entries looked at per lookup: more than one, so that an entry that may not be served doesn't hide the next.
const CANDIDATES: usize = 8;
/// Memory an entry takes beside its payload and vector: its own fields, its places in the maps, moka's bookkeeping.
const ENTRY_BYTES: usize = 640;
/// The same of a place among its owner's entries, where shares are kept.
const SHARE_BYTES: usize = 256;
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
    /// How many of them the entries of one [`Insert::owner`] may take; none: all of them.
    pub owner_max_bytes: Option<u64>,
}

impl Default for CacheConfig {
    /// Similarity 0.90, index by size, 24 hours, 256 MiB for whoever comes.
    fn default() -> Self {
        Self {
            similarity: 0.90,
            index: IndexKind::Auto,
            ttl: Duration::from_secs(24 * 3600),
            max_bytes: 256 << 20,
            owner_max_bytes: None,
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
    /// Who has it stored: entries of one owner push out each other before they take more than the owner's share.
    pub owner: u64,
    /// Bytes about this very request that are kept with the entry, also if it shares another one's answer.
    pub note: Bytes,
    /// What the entry can be forgotten by where processes share a store; see [`SemanticCache::forget_tagged`].
    pub tags: Vec<String>,
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
            .field("owner", &self.owner)
            .finish()
    }
}

/// How a cache decides whether a near answer may be served.
#[derive(Clone, Debug, PartialEq)]
pub struct Deciding {
    /// The rule.
    pub policy: Policy,
    /// Candidates of a partition that are only learnt from before the first hit; [`u64::MAX`] serves nothing, ever, and counts
    /// what it would have served.
    pub shadow: u64,
    /// How often the comparison of two answers errs, if that is known: labels are corrected by it. If not, it is measured:
    /// fresh answers are compared with unrelated ones, too.
    pub judge_error: Option<f64>,
    /// Where chance starts: spot checks are drawn from it.
    pub seed: u64,
}

impl Default for Deciding {
    /// At most one hit of a hundred wrong, from the first candidate on.
    fn default() -> Self {
        Self { policy: Policy::default(), shadow: 0, judge_error: None, seed: 0 }
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

/// Remembers answers and finds them again. Shared by reference between threads; no call waits for I/O but for
/// [`SemanticCache::flush`].
///
/// The lookups take `admit`, the caller's own condition on an entry (its age, say); it is called without any lock held.
/// What a lookup returns was alive at that moment: neither expired, nor replaced, nor evicted.
pub struct SemanticCache {
    /// First to go: it works with the others.
    restoring: Restoring,
    config: CacheConfig,
    clock: Arc<dyn Clock>,
    answers: Arc<Answers>,
    vectors: Arc<LocalStore>,
    keeping: Arc<Keeping>,
    next_id: AtomicU64,
    deciding: Deciding,
    /// A cut on the probability that is not moved.
    cut: Option<f64>,
    shipped: Arc<Shipped>,
    learners: Arc<Learners>,
    /// Where entries are shared with other processes: then `answers` has copies of a second's age, and `vectors` nothing.
    shared: Option<SharedStore>,
    recent: Mutex<Recent>,
    luck: Mutex<fastrand::Rng>,
}

impl SemanticCache {
    /// An empty cache.
    pub fn new(config: CacheConfig) -> Self {
        Self::with_clock(config, Arc::new(SystemClock))
    }

    /// An empty cache whose entries age by `clock`.
    pub fn with_clock(config: CacheConfig, clock: Arc<dyn Clock>) -> Self {
        let keeping: Arc<Keeping> = Arc::default();
        let kept = Arc::clone(&keeping);
        let on_cluster =
            move |key: &PartitionKey, id, cluster: Option<&Cluster>| kept.cluster(key, id, cluster);
        let vectors = Arc::new(LocalStore::new(config.index, Box::new(on_cluster)));
        let shares = config.owner_max_bytes.map(Shares::new);
        let (vectors_of_removed, kept) = (Arc::clone(&vectors), Arc::clone(&keeping));
        let answers =
            Arc::new(Answers::new(config.max_bytes, shares, (Arc::clone(&clock), None), move |entry| {
                vectors_of_removed.remove(entry);
                kept.gone(entry);
            }));
        let deciding = Deciding::default();
        Self {
            restoring: Restoring::default(),
            config,
            clock,
            answers,
            vectors,
            keeping,
            next_id: AtomicU64::new(0),
            shipped: Arc::new(Shipped::built_in().clone()),
            learners: Arc::default(),
            shared: None,
            recent: Mutex::default(),
            luck: Mutex::new(fastrand::Rng::with_seed(deciding.seed)),
            deciding,
            cut: None,
        }
    }

    /// The same cache with another way to decide. To be called before anything is looked up.
    #[must_use]
    pub fn deciding(mut self, deciding: Deciding) -> Self {
        self.luck = Mutex::new(fastrand::Rng::with_seed(deciding.seed));
        self.learners.pool().noise = JudgeNoise::new(deciding.judge_error);
        self.deciding = deciding;
        self
    }

    /// The same cache with other knowledge to begin with. To be called before anything is looked up.
    #[must_use]
    pub fn knowing(mut self, shipped: Shipped) -> Self {
        self.shipped = Arc::new(shipped);
        self
    }

    /// The same cache with a cut on the probability that stays where it is: for sweeps in hindsight.
    pub(crate) fn with_cut(mut self, cut: Option<f64>) -> Self {
        self.cut = cut;
        self
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
        if self.is_restoring() {
            return None;
        }
        let least = self.config.similarity.max(similarity);
        let near = self.vectors.search(partition, vector, CANDIDATES, self.clock.now());
        // Only the one that would be served is touched: looking must not make entries popular.
        let served = near.into_iter().take_while(|near| near.similarity >= least).find(|near| {
            near.entry.partition == *partition && admit(&near.entry) && self.answers.touch(&near.entry)
        })?;
        Some(Hit { tier: Tier::Semantic, similarity: served.similarity, entry: served.entry })
    }

    /// Remembers an answer. It may be found at once, and may be evicted at once if the cache is full of more popular
    /// ones. One that is larger than the whole cache or its owner's share, or whose lifetime is zero, is not stored.
    pub fn insert(&self, insert: Insert) {
        self.store(insert, None, None);
    }

    /// Stores a prompt, with an answer of its own or, if it joins one, with the answer of that cluster.
    fn store(&self, insert: Insert, profile: Option<Profile>, joins: Option<&learning::Joins>) {
        let ttl = insert.ttl.unwrap_or(self.config.ttl).min(self.config.ttl).min(MAX_TTL);
        let vector_bytes = insert.vector.as_ref().map_or(0, |v| {
            let own = if joins.is_some() { 0 } else { Cluster::bytes(v.len()) };
            own + self.vectors.vector_bytes(&insert.partition, v.len())
        });
        let payload_bytes = if joins.is_some() { 0 } else { insert.payload.len() };
        let own_bytes =
            insert.note.len() + if self.config.owner_max_bytes.is_some() { SHARE_BYTES } else { 0 };
        let bytes = payload_bytes
            + vector_bytes
            + profile.as_ref().map_or(0, Profile::bytes)
            + own_bytes
            + ENTRY_BYTES;
        let most = self.config.owner_max_bytes.unwrap_or(u64::MAX).min(self.config.max_bytes);
        let weight = u32::try_from(bytes).ok().filter(|&weight| u64::from(weight) <= most);
        let Some(weight) = weight.filter(|_| !ttl.is_zero()) else {
            tracing::debug!(partition = ?insert.partition, bytes, ?ttl, "answer not stored: too large or no lifetime");
            return;
        };
        let created = self.clock.now();
        let tags: Box<[String]> = if self.shared.is_some() { insert.tags.into() } else { Box::default() };
        let id = self.next_id();
        let entry = Arc::new(Entry {
            answer: match joins {
                Some(joins) => Arc::clone(&joins.answer),
                None => Arc::new(Answer { payload: insert.payload, tags: tags.clone() }),
            },
            partition: insert.partition,
            created,
            expires_at: created + ttl,
            note: insert.note,
            tags,
            owner: insert.owner,
            id,
            exact: insert.exact,
            normalised: insert.normalised,
            cluster: joins.map_or(id, |joins| joins.cluster),
            profile: profile.map(Arc::new),
            weight,
        });
        let vector = insert.vector.filter(|_| !joins.is_some_and(learning::Joins::is_known));
        self.place(&entry, vector.as_deref(), joins.map(|joins| joins.similarity));
    }

    /// Puts an entry where it is found; `near` is its similarity to the nearest prompt whose answer it joins.
    fn place(&self, entry: &Arc<Entry>, vector: Option<&[f32]>, near: Option<f32>) {
        let now = self.now_in(&entry.partition);
        if let Some(shared) = &self.shared {
            // An answer that nothing else leads to goes with the entry that is replaced.
            if let Some(old) = self.answers.get(&entry.exact).filter(|old| old.profile.is_none()) {
                shared.change(&old.partition, old.cluster, Change::Left(1));
            }
            shared.put(entry, vector, near, now);
            return self.answers.insert(Arc::clone(entry));
        }
        self.keeping.entry(entry);
        if let Some(vector) = vector
            && self.vectors.insert(entry, vector, near, now)
        {
            self.keeping.prompt(entry.id, vector, entry.profile.as_deref());
        }
        // The store comes last: were the entry refused at once, its removal would otherwise come before the rest.
        self.answers.insert(Arc::clone(entry));
    }

    /// A number that no other entry has; if others store where this process does, one drawn by lot.
    fn next_id(&self) -> u64 {
        if self.shared.is_some() {
            return fastrand::u64(1..u64::MAX);
        }
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        self.keeping.using(id);
        id
    }

    /// What the cache holds.
    pub fn stats(&self) -> Stats {
        let (entries, bytes) = self.answers.size();
        let (vectors, partitions) = self.vectors.counts();
        Stats { entries, bytes, vectors, partitions }
    }

    /// All living entries, in no order.
    pub fn entries(&self) -> Vec<Arc<Entry>> {
        let now = self.clock.now();
        let mut all = self.answers.entries();
        all.retain(|entry| !entry.is_expired_at(now));
        all
    }

    /// Forgets everything that is stored at the moment of the call.
    pub fn clear(&self) {
        self.answers.clear();
    }

    /// Forgets the entries that `select` chooses and says how many; with `dry_run` it only counts them. It looks at every
    /// entry, expired ones that are still in memory too.
    pub fn forget(&self, select: &dyn Fn(&Entry) -> bool, dry_run: bool) -> u64 {
        self.answers.remove_where(select, dry_run)
    }

    /// Does the housekeeping that is due: expired and superfluous entries leave memory. Lookups and inserts do a little
    /// of it by themselves; calling this now and then, off the request path, keeps an idle cache tidy. It also hands what was
    /// learnt to the journal, every few seconds.
    pub fn run_pending(&self) {
        self.answers.run_pending();
        self.keep_learnt(false);
    }
}

impl fmt::Debug for SemanticCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SemanticCache").field("config", &self.config).finish_non_exhaustive()
    }
}
