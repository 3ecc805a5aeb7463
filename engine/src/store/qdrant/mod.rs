//! Entries in a Qdrant collection that several processes share.
//!
//! Reads are part of a request and have a deadline; without the server, or when it is too slow, the cache is bypassed.
//! Writes wait in a queue and are sent in batches by a thread of the store's own, again and again until they arrive. What
//! instances learn they tell each other through the collection, too. Nothing here ever fails a request.

mod collection;
mod feed;
mod health;
mod lookup;
mod pending;
mod points;
mod removal;
mod sync;
mod writer;

pub(crate) use feed::{Clock as FeedClock, Event};

use std::collections::HashMap;
use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use qdrant_client::Qdrant;
use qdrant_client::config::QdrantConfig;
use tokio::runtime::Runtime;
use tokio::sync::Notify;

use crate::clock::Clock;
use crate::entry::Entry;
use crate::features::Profile;
use crate::partition::PartitionKey;
use collection::Trouble;
use feed::Outbox;
use health::Health;
use pending::{Pending, Write};

use super::Change;

/// Where the collection is, and how it is used.
#[derive(Clone)]
pub struct SharedConfig {
    /// The server's gRPC address, as in `http://qdrant:6334`.
    pub url: String,
    /// The server's key, if it wants one.
    pub api_key: Option<String>,
    /// The collection's name. It is made if it is not there.
    pub collection: String,
    /// The longest that one read of a lookup may take.
    pub timeout: Duration,
    /// The most writes that are sent together.
    pub write_batch: usize,
    /// How vectors are compressed on the server; set when the collection is made.
    pub quantisation: Quantisation,
}

impl fmt::Debug for SharedConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { url, collection, timeout, .. } = self;
        f.debug_struct("SharedConfig")
            .field("url", url)
            .field("collection", collection)
            .field("timeout", timeout)
            .finish_non_exhaustive()
    }
}

/// How vectors are compressed on the server. With either, what the compressed vectors find is compared again by the whole ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Quantisation {
    /// Not at all.
    #[default]
    None,
    /// A byte per number: a quarter of the memory.
    Scalar,
    /// A bit per number: a thirty-second of the memory.
    Binary,
}

/// What all instances that share a collection must have in common.
#[derive(Clone, Debug)]
pub struct Space {
    /// The embedding model, with the format of its numbers.
    pub model: String,
    /// Numbers in a vector.
    pub dimension: usize,
    /// An id of the secret with which keys are made.
    pub key_id: String,
}

/// The collection is not to be had just now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unavailable;

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Qdrant is not to be had just now")
    }
}

impl std::error::Error for Unavailable {}

/// This instance must not write into the collection.
#[derive(Debug)]
pub struct Refused(String);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Refused {}

/// What a shared store has to say for itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SharedStats {
    /// Whether the server answers.
    pub up: bool,
    /// Entries of all instances, as of the last minute.
    pub entries: u64,
    /// Lookups that failed or took too long.
    pub failed_lookups: u64,
    /// Batches that had to be sent again.
    pub retried_writes: u64,
    /// Writes that were given up because too many waited.
    pub lost_writes: u64,
    /// Writes that wait.
    pub waiting_writes: u64,
    /// What happened here and was told to the other instances, and what they told.
    pub told_events: u64,
    /// See `told_events`.
    pub heard_events: u64,
}

/// What instances learn, as the store sees it: it carries what one has learnt to the others.
pub(crate) trait Learning: Send + Sync {
    /// The chance that an answer of the partition is out of date.
    fn stale(&self, partition: &PartitionKey, confirmed: u64, doubt: f64) -> f64;
    /// Whether an answer with this chance is to be forgotten.
    fn is_refuted(&self, stale: f64) -> bool;
    /// Learns what happened elsewhere.
    fn hear(&self, partition: &PartitionKey, event: &Event);
    /// What was learnt, by partition; of what all partitions learnt together under `None`.
    fn snapshots(&self) -> Vec<(Option<PartitionKey>, u64, String)>;
    /// Takes up what was learnt elsewhere, where nothing is known yet.
    fn take_up(&self, partition: Option<&PartitionKey>, snapshot: &str);
    /// An answer is out of date: this process's own copies of it go.
    fn forget(&self, cluster: u64);
}

/// Answers of a partition that controls are taken from.
const FOUNDERS: usize = 8;
/// Prompts whose words are counted; then the counts are halved, so that they follow the traffic.
const COUNTED: u32 = 20_000;

/// What an instance knows of a partition as a whole.
#[derive(Default)]
struct View {
    prompts: u32,
    /// How many of the prompts have a word.
    words: HashMap<u32, u32>,
    founders: VecDeque<Arc<Entry>>,
    turn: usize,
}

impl View {
    fn count(&mut self, words: impl Iterator<Item = u32>) {
        self.prompts += 1;
        words.for_each(|word| *self.words.entry(word).or_default() += 1);
        if self.prompts >= COUNTED {
            self.prompts /= 2;
            self.words.retain(|_, count| {
                *count /= 2;
                *count > 0
            });
        }
    }

    /// As in the local store: the rarer among the prompts, the larger.
    fn rarity(&self, word: u32) -> f32 {
        let has = self.words.get(&word).copied().unwrap_or(0) as f32;
        ((self.prompts as f32 + 1.0) / (has + 0.5)).ln().max(0.1)
    }
}

/// What the store's tasks share.
struct Core {
    client: Qdrant,
    config: SharedConfig,
    space: Space,
    clock: Arc<dyn Clock>,
    learning: Arc<dyn Learning>,
    health: Health,
    pending: Mutex<Pending>,
    /// Says that there is something to write.
    wake: Notify,
    /// Says that something was written.
    written: Notify,
    views: Mutex<HashMap<PartitionKey, View>>,
    outbox: Mutex<Outbox>,
    /// How far this instance has read what the others tell.
    read: Mutex<FeedClock>,
    /// Names this instance.
    origin: String,
    /// What others learnt was taken up.
    caught_up: AtomicBool,
    entries: AtomicU64,
    retried: AtomicU64,
    lost: AtomicU64,
    told: AtomicU64,
    heard: AtomicU64,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A collection and the tasks that work for it. They end with it.
pub(crate) struct SharedStore {
    core: Arc<Core>,
    runtime: Option<Runtime>,
}

impl SharedStore {
    /// Connects, in the background if need be; waits a few seconds for a first answer. `Err` only of a collection that must not
    /// be used; a server that is not there is waited for while the cache is bypassed.
    ///
    /// # Errors
    /// The collection holds something else, the server is too old, or an address that is none.
    pub(crate) fn connect(
        config: SharedConfig,
        space: Space,
        clock: Arc<dyn Clock>,
        learning: Arc<dyn Learning>,
    ) -> Result<Self, Refused> {
        let refused = |problem: String| Refused(problem);
        let mut client = QdrantConfig::from_url(&config.url).keep_alive_while_idle();
        client.api_key.clone_from(&config.api_key);
        client.check_compatibility = false;
        client.set_connect_timeout(Duration::from_secs(2));
        // Of a batch; lookups have the shorter one of the configuration.
        client.set_timeout(Duration::from_secs(10).max(config.timeout));
        let client = client.build().map_err(|error| refused(collection::said(&error)))?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("sluice-qdrant")
            .enable_all()
            .build()
            .map_err(|error| refused(format!("no thread for Qdrant: {error}")))?;
        let core = Arc::new(Core {
            client,
            config,
            space,
            clock,
            learning,
            health: Health::default(),
            pending: Mutex::default(),
            wake: Notify::new(),
            written: Notify::new(),
            views: Mutex::default(),
            outbox: Mutex::default(),
            read: Mutex::default(),
            origin: format!("{:032x}", fastrand::u128(..)),
            caught_up: AtomicBool::new(false),
            entries: AtomicU64::new(0),
            retried: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            told: AtomicU64::new(0),
            heard: AtomicU64::new(0),
        });
        let reaching = Arc::clone(&core);
        let first =
            wait(&runtime, async move { tokio::time::timeout(collection::PATIENCE, reaching.reach()).await });
        // From here on it is dropped as it must be.
        let store = Self { core, runtime: Some(runtime) };
        match first {
            Some(Ok(Ok(()))) => store.core.health.came_up(),
            Some(Ok(Err(Trouble::Refused(problem)))) => return Err(Refused(problem)),
            Some(Ok(Err(Trouble::Unreachable(why)))) => drop(store.core.health.still_down(&why)),
            Some(Err(_)) | None => drop(store.core.health.still_down("no answer")),
        }
        if let Some(runtime) = &store.runtime {
            tasks(&store.core).into_iter().for_each(|task| drop(runtime.spawn(task)));
        }
        Ok(store)
    }

    /// Whether lookups make sense: the server answers, and what others learnt is known.
    pub(crate) fn is_ready(&self) -> bool {
        self.core.is_ready()
    }

    pub(crate) fn stats(&self) -> SharedStats {
        let core = &self.core;
        SharedStats {
            up: core.health.is_up(),
            entries: core.entries.load(Ordering::Relaxed),
            failed_lookups: core.health.failures(),
            retried_writes: core.retried.load(Ordering::Relaxed),
            lost_writes: core.lost.load(Ordering::Relaxed),
            waiting_writes: lock(&core.pending).len() as u64,
            told_events: core.told.load(Ordering::Relaxed),
            heard_events: core.heard.load(Ordering::Relaxed),
        }
    }

    /// Takes an entry to be written. `near` is given if it joins an answer: its similarity to the nearest prompt that has it.
    pub(crate) fn put(&self, entry: &Arc<Entry>, vector: Option<&[f32]>, near: Option<f32>, now: u64) {
        let core = &self.core;
        let change = match (vector, near) {
            (Some(vector), None) => Some(Change::Founded { vector: vector.to_vec(), now }),
            (Some(vector), Some(near)) => Some(Change::Joined { vector: vector.to_vec(), near }),
            (None, _) => None,
        };
        if let (Some(profile), true) = (&entry.profile, vector.is_some()) {
            let words: Vec<u32> = profile.content().collect();
            let mut views = lock(&core.views);
            let view = views.entry(entry.partition).or_default();
            view.count(words.iter().copied());
            if near.is_none() {
                view.founders.truncate(FOUNDERS - 1);
                view.founders.push_front(Arc::clone(entry));
            }
            drop(views);
            self.tell(&entry.partition, Event::Stored(words));
        }
        core.enqueue(Write {
            partition: entry.partition,
            cluster: entry.cluster,
            entry: Some((Arc::clone(entry), vector.map(<[f32]>::to_vec))),
            change,
        });
    }

    /// Takes a change of an answer's state to be written.
    pub(crate) fn change(&self, partition: &PartitionKey, cluster: u64, change: Change) {
        self.core.enqueue(Write { partition: *partition, cluster, entry: None, change: Some(change) });
    }

    /// Tells the other instances what happened here.
    pub(crate) fn tell(&self, partition: &PartitionKey, event: Event) {
        lock(&self.core.outbox).add(partition, event);
    }

    /// The weights of a request's words, by word.
    pub(crate) fn rarity(&self, partition: &PartitionKey, profile: &Profile) -> Vec<(u32, f32)> {
        let views = lock(&self.core.views);
        let nothing = View::default();
        let view = views.get(partition).unwrap_or(&nothing);
        profile.content().map(|word| (word, view.rarity(word))).collect()
    }

    /// An answer of the partition that is none of `known`, each time another.
    pub(crate) fn control(&self, partition: &PartitionKey, known: &[u64]) -> Option<Arc<Entry>> {
        let now = self.core.clock.now();
        let mut views = lock(&self.core.views);
        let view = views.get_mut(partition)?;
        view.founders.retain(|entry| !entry.is_expired_at(now));
        view.turn = view.turn.wrapping_add(1);
        let count = view.founders.len();
        let far = |entry: &&Arc<Entry>| !known.contains(&entry.cluster);
        (0..count).map(|i| &view.founders[(view.turn + i) % count]).find(far).cloned()
    }

    /// Waits until all that was to be written so far is, at most so long; says whether it was.
    pub(crate) fn flush(&self, patience: Duration) -> bool {
        let core = Arc::clone(&self.core);
        let flushed = async move {
            let all = async {
                core.flushed().await;
                sync::send(&core).await;
            };
            tokio::time::timeout(patience, all).await.is_ok()
        };
        self.runtime.as_ref().and_then(|runtime| wait(runtime, flushed)).unwrap_or(false)
    }

    /// Sweeps without waiting for the time.
    #[cfg(test)]
    pub(crate) fn sweep_now(&self) {
        let core = Arc::clone(&self.core);
        let sweep = async move { core.sweep().await.is_ok() };
        assert_eq!(self.runtime.as_ref().and_then(|runtime| wait(runtime, sweep)), Some(true));
    }

    /// Runs something on the store's own runtime; nothing if the store is ending.
    ///
    /// It is started at once: who waits for it need not have room for it.
    fn run<T: Send + 'static>(
        &self,
        task: impl Future<Output = T> + Send + 'static,
    ) -> impl Future<Output = Option<T>> + Send + 'static {
        let running = self.runtime.as_ref().map(|runtime| runtime.spawn(task));
        async move { running?.await.ok() }
    }
}

/// What works for a store as long as it is there.
fn tasks(core: &Arc<Core>) -> [Pin<Box<dyn Future<Output = ()> + Send>>; 4] {
    let core = || Arc::clone(core);
    [
        Box::pin(sync::keep_connected(core())),
        Box::pin(writer::write_on(core())),
        Box::pin(sync::exchange(core())),
        Box::pin(removal::sweep(core())),
    ]
}

/// Waits for a task of the runtime; in a thread of its own, since one that works for another runtime must not wait.
fn wait<T: Send + 'static>(runtime: &Runtime, task: impl Future<Output = T> + Send + 'static) -> Option<T> {
    std::thread::scope(|scope| scope.spawn(|| runtime.block_on(task)).join().ok())
}

impl Drop for SharedStore {
    fn drop(&mut self) {
        // It may be dropped where nothing may wait.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl fmt::Debug for SharedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedStore").field("config", &self.core.config).finish_non_exhaustive()
    }
}

impl Core {
    fn is_ready(&self) -> bool {
        self.health.is_up() && self.caught_up.load(Ordering::Acquire)
    }

    fn enqueue(&self, write: Write) {
        if lock(&self.pending).add(write) {
            self.wake.notify_one();
        } else if self.lost.fetch_add(1, Ordering::Relaxed) == 0 {
            tracing::warn!("too much waits to be written to Qdrant: what comes is lost until there is room");
        }
    }

    /// Waits until all that was to be written at the call is done with.
    async fn flushed(&self) {
        let until = lock(&self.pending).came;
        loop {
            let written = self.written.notified();
            if lock(&self.pending).done >= until {
                return;
            }
            written.await;
        }
    }
}
