//! A cache whose entries lie in a collection that other processes use, too.
//!
//! What a lookup needs is fetched before it is made: [`SemanticCache::fetch`] brings the entries under its keys, and
//! [`SemanticCache::survey`] what lies around its vector. Everything else works as with a store in memory, of which the first
//! two tiers see copies that are a second old at most.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use crate::clock::Clock;
use crate::decide::drift::is_refuted;
use crate::decide::evidence::NEIGHBOURS;
use crate::decide::learner::{Learner, Pool};
use crate::decide::prior::Shipped;
use crate::entry::Entry;
use crate::exact::Answers;
use crate::partition::{ExactKey, PartitionKey};
use crate::store::qdrant::{
    Event, Learning, Refused, SharedConfig, SharedStats, SharedStore, Space, Unavailable,
};
use crate::store::{Near, Neighbourhood};

use super::learning::Learners;
use super::{CacheConfig, Question, SemanticCache};

/// How long a copy of an entry may be served without a look at the collection.
const COPIES_FOR: Duration = Duration::from_secs(1);

/// What lies around a request, fetched for [`SemanticCache::look_up_in`].
#[derive(Debug, Default)]
pub struct Surroundings(Fetched);

#[derive(Debug, Default)]
enum Fetched {
    /// Nothing was: it lies in this process.
    #[default]
    Here,
    /// It lay elsewhere.
    Elsewhere(Neighbourhood),
}

impl SemanticCache {
    /// An empty cache whose entries other processes share: those that name the same collection, model and keys. Waits a few
    /// seconds for a first answer of the server; one that is not there is waited for in the background, and until it comes
    /// [`SemanticCache::fetch`] and [`SemanticCache::survey`] say so.
    ///
    /// # Errors
    /// The collection holds something else than this cache would write, or the server is too old for it.
    pub fn sharing(
        config: CacheConfig,
        shared: SharedConfig,
        space: Space,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, Refused> {
        let mut cache = Self::with_clock(config, Arc::clone(&clock));
        let copies = (Arc::clone(&clock), Some(COPIES_FOR));
        cache.answers = Arc::new(Answers::new(cache.config.max_bytes, None, copies, |_| {}));
        let learning = Brain {
            learners: Arc::clone(&cache.learners),
            shipped: Arc::clone(&cache.shipped),
            answers: Arc::clone(&cache.answers),
        };
        cache.shared = Some(SharedStore::connect(shared, space, clock, Arc::new(learning))?);
        Ok(cache)
    }

    /// Whether entries are shared with other processes.
    pub fn is_shared(&self) -> bool {
        self.shared.is_some()
    }

    /// Brings the entries under these keys, exact or of a normalised form, to where [`SemanticCache::exact`] and
    /// [`SemanticCache::normalised`] find them. Does nothing in a cache of this process alone.
    ///
    /// # Errors
    /// The collection is not to be had within the deadline.
    pub async fn fetch(&self, partition: &PartitionKey, keys: &[ExactKey]) -> Result<(), Unavailable> {
        let Some(shared) = &self.shared else { return Ok(()) };
        for entry in shared.find(*partition, keys.to_vec()).await? {
            match self.answers.get(&entry.exact) {
                // The latest of a normalised form comes last, and is to be the one that is found by it.
                Some(own) if own.id == entry.id => self.answers.name(&own),
                Some(own) if own.created > entry.created => {}
                _ => self.answers.insert(entry),
            }
        }
        Ok(())
    }

    /// Looks around the request's vector, where others may have stored, too. Does nothing in a cache of this process alone.
    ///
    /// # Errors
    /// The collection is not to be had within the deadline.
    pub async fn survey(&self, question: &Question<'_>) -> Result<Surroundings, Unavailable> {
        self.survey_around(question.partition, question.vector, Some(question)).await
    }

    /// The same for an answer that is about to be given to [`SemanticCache::vouch_in`].
    ///
    /// # Errors
    /// As [`SemanticCache::survey`].
    pub async fn survey_of(
        &self,
        partition: &PartitionKey,
        vector: &[f32],
    ) -> Result<Surroundings, Unavailable> {
        self.survey_around(partition, vector, None).await
    }

    async fn survey_around(
        &self,
        partition: &PartitionKey,
        vector: &[f32],
        question: Option<&Question<'_>>,
    ) -> Result<Surroundings, Unavailable> {
        let Some(shared) = &self.shared else { return Ok(Surroundings::default()) };
        let found = shared.around(*partition, vector.to_vec(), NEIGHBOURS).await?;
        let (near, known) = (found.near, found.known);
        let rarity = question.map_or_else(Vec::new, |question| shared.rarity(partition, question.profile));
        let ids: Vec<u64> = known.iter().map(|known| known.facts.id).collect();
        let control = question.and_then(|_| shared.control(partition, &ids));
        Ok(Surroundings(Fetched::Elsewhere(Neighbourhood { near, known, rarity, control })))
    }

    /// What lies around the request, wherever that is.
    pub(super) fn around(&self, question: &Question<'_>, surroundings: Surroundings) -> Neighbourhood {
        let Question { partition, vector, profile, .. } = *question;
        match surroundings.0 {
            Fetched::Elsewhere(around) => around,
            Fetched::Here => self.vectors.around(partition, vector, NEIGHBOURS, self.clock.now(), profile),
        }
    }

    /// The nearest prompts alone.
    pub(super) fn near(
        &self,
        partition: &PartitionKey,
        vector: &[f32],
        k: usize,
        surroundings: Surroundings,
    ) -> Vec<Near> {
        match surroundings.0 {
            Fetched::Elsewhere(around) => around.near,
            Fetched::Here => self.vectors.search(partition, vector, k, self.clock.now()),
        }
    }

    /// Whether the entry is still stored. One out of a shared store was a moment ago.
    pub(super) fn is_stored(&self, entry: &Entry) -> bool {
        self.shared.is_some() || self.answers.touch(entry)
    }

    /// Tells the other processes what happened here, if there are any.
    pub(super) fn tell(&self, partition: &PartitionKey, event: impl FnOnce() -> Event) {
        if let Some(shared) = &self.shared {
            shared.tell(partition, event());
        }
    }

    /// Forgets the shared entries that have this tag, or all, or only counts them; says how many. Others see it within a
    /// second. `None` if nothing is shared.
    ///
    /// # Errors
    /// The collection is not to be had.
    pub async fn forget_tagged(&self, tag: Option<&str>, dry_run: bool) -> Option<Result<u64, Unavailable>> {
        let shared = self.shared.as_ref()?;
        let forgotten = shared.forget(tag.map(str::to_owned), dry_run).await;
        if !dry_run && forgotten.is_ok() {
            self.answers.clear();
        }
        Some(forgotten)
    }

    /// All living entries of all processes, in no order; `None` if nothing is shared.
    ///
    /// # Errors
    /// The collection is not to be had.
    pub async fn shared_entries(&self) -> Option<Result<Vec<Arc<Entry>>, Unavailable>> {
        Some(self.shared.as_ref()?.entries().await)
    }

    /// What the shared store has to say for itself, if there is one.
    pub fn shared_stats(&self) -> Option<SharedStats> {
        self.shared.as_ref().map(SharedStore::stats)
    }

    /// Waits until all that was stored so far has reached the collection, at most so long; says whether it has. Nothing has to
    /// wait for it: this process finds what it stored at once.
    pub fn flush_shared(&self, patience: Duration) -> bool {
        self.shared.as_ref().is_none_or(|shared| shared.flush(patience))
    }
}

/// What this process has learnt, as the store sees it.
struct Brain {
    learners: Arc<Learners>,
    shipped: Arc<Shipped>,
    answers: Arc<Answers>,
}

impl Learning for Brain {
    fn stale(&self, partition: &PartitionKey, confirmed: u64, doubt: f64) -> f64 {
        let learner = self.learners.of(partition);
        learner.lock().unwrap_or_else(PoisonError::into_inner).stale(confirmed, doubt)
    }

    fn is_refuted(&self, stale: f64) -> bool {
        is_refuted(stale)
    }

    fn hear(&self, partition: &PartitionKey, event: &Event) {
        let learner = self.learners.of(partition);
        let mut learner = learner.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::Asked(count) => learner.asked_elsewhere(*count),
            Event::Saw(probability) => learner.saw(*probability),
            Event::Served { confidence, checked } => learner.served_elsewhere(*confidence, *checked),
            Event::Unjudged => learner.unjudged(),
            Event::Label(considered, fresh) => {
                // Of a version with other features nothing can be learnt.
                if considered.evidence.features.len() == crate::decide::evidence::COUNT {
                    learner.label(&self.shipped, &mut self.learners.pool(), considered, *fresh);
                }
            }
            Event::Control(same) => self.learners.pool().noise.control(*same),
            Event::Stored(_) => {}
        }
    }

    fn snapshots(&self) -> Vec<(Option<PartitionKey>, u64, String)> {
        let mut all = Vec::new();
        let mut requests = 0;
        for (partition, learner) in self.learners.all() {
            let learner = learner.lock().unwrap_or_else(PoisonError::into_inner);
            requests += learner.now();
            if let Ok(snapshot) = serde_json::to_string(&*learner) {
                all.push((Some(partition), learner.now(), snapshot));
            }
        }
        all.extend(serde_json::to_string(&*self.learners.pool()).ok().map(|pool| (None, requests, pool)));
        all
    }

    fn take_up(&self, partition: Option<&PartitionKey>, snapshot: &str) {
        match partition {
            Some(partition) => {
                let learner = serde_json::from_str::<Learner>(snapshot).ok();
                let Some(learner) = learner.filter(|learner| learner.fits(&self.shipped)) else { return };
                self.learners.put_new(*partition, learner);
            }
            None => {
                let pool = serde_json::from_str::<Pool>(snapshot).ok();
                let Some(pool) = pool.filter(|pool| pool.fits(&self.shipped)) else { return };
                *self.learners.pool() = pool;
            }
        }
    }

    fn forget(&self, cluster: u64) {
        self.answers.remove_where(&|entry| entry.cluster == cluster, false);
    }
}
