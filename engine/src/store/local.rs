//! Vectors in this process's memory: one index per partition, so that no search can see another partition. What an index
//! puts off is done by a thread of the store's own.
//!
//! Locks are taken in the order map of partitions, then one partition. Nothing here calls the answers' store, which in
//! turn calls [`LocalStore::remove`] from its eviction: that is what rules out a deadlock between the two.

use std::collections::hash_map::Entry as Slot;
use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::thread::JoinHandle;
use std::time::SystemTime;

use super::cluster::Cluster;
use crate::decide::evidence::ClusterFacts;
use crate::entry::Entry;
use crate::features::Profile;
use crate::index::{IndexKind, Neighbour, VectorIndex, Work};
use crate::partition::PartitionKey;

/// An entry whose vector is near the one asked for.
#[derive(Clone, Debug)]
pub(crate) struct Near {
    pub(crate) similarity: f32,
    pub(crate) entry: Arc<Entry>,
}

/// What is known about an answer near the request.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    pub(crate) facts: ClusterFacts,
    /// When a fresh answer last agreed with it, in requests.
    pub(crate) confirmed: u64,
    pub(crate) doubt: f64,
    pub(crate) labels: Vec<(f32, bool)>,
}

/// What lies around a request.
#[derive(Clone, Debug, Default)]
pub(crate) struct Neighbourhood {
    /// Nearest first.
    pub(crate) near: Vec<Near>,
    /// The answers that they have.
    pub(crate) known: Vec<Known>,
    /// The request's words with their weights, by word.
    pub(crate) rarity: Vec<(u32, f32)>,
    /// A prompt with an answer that none of the near ones has.
    pub(crate) control: Option<Arc<Entry>>,
}

/// Answers that controls are taken from.
const FOUNDERS: usize = 32;

struct Partition {
    index: Box<dyn VectorIndex>,
    /// What the ids of the index stand for.
    entries: HashMap<u64, Arc<Entry>>,
    clusters: HashMap<u64, Cluster>,
    /// How many of the prompts have a word.
    words: HashMap<u32, u32>,
    /// The last prompts that brought an answer of their own, and how often one was asked for.
    founders: VecDeque<u64>,
    turn: AtomicUsize,
    /// Dropped from the map: whoever still holds it must look again.
    retired: bool,
}

/// How a prompt comes into its cluster.
enum Joins {
    /// For the first time; its similarity to the nearest one that is in it.
    New(Option<f32>),
    /// It was in it before a restart. The cluster as it was kept, for the first of its prompts.
    Again(Option<Cluster>),
}

impl Partition {
    /// Whether the cluster is another one now than what is kept of it.
    fn add(&mut self, entry: &Arc<Entry>, vector: &[f32], joins: Joins, now: u64) -> bool {
        let changed = match (self.clusters.entry(entry.cluster), joins) {
            (Slot::Occupied(mut there), Joins::New(near)) => {
                there.get_mut().add(vector, near);
                true
            }
            (Slot::Occupied(mut there), Joins::Again(_)) => {
                there.get_mut().rejoin();
                false
            }
            (Slot::Vacant(free), joins) => {
                self.founders.truncate(FOUNDERS - 1);
                self.founders.push_front(entry.id);
                match joins {
                    Joins::Again(Some(kept)) if kept.dimension() == vector.len() => {
                        free.insert(kept).rejoin();
                        false
                    }
                    _ => {
                        free.insert(Cluster::new(vector, now));
                        true
                    }
                }
            }
        };
        for word in entry.profile.iter().flat_map(|profile| profile.content()) {
            *self.words.entry(word).or_default() += 1;
        }
        self.entries.insert(entry.id, Arc::clone(entry));
        changed
    }

    /// Whether the answer went with it; nothing if there was no such prompt.
    fn take_out(&mut self, id: u64) -> Option<bool> {
        let entry = self.entries.remove(&id)?;
        self.index.remove(id);
        let last = self.clusters.get_mut(&entry.cluster).is_some_and(Cluster::remove);
        if last {
            self.clusters.remove(&entry.cluster);
        }
        for word in entry.profile.iter().flat_map(|profile| profile.content()) {
            if let Slot::Occupied(mut count) = self.words.entry(word) {
                *count.get_mut() -= 1;
                if *count.get() == 0 {
                    count.remove();
                }
            }
        }
        Some(last)
    }

    fn search(&self, vector: &[f32], k: usize, now: SystemTime) -> Vec<Near> {
        let alive = |id| self.entries.get(&id).is_some_and(|entry| !entry.is_expired_at(now));
        let near = |neighbour: Neighbour| {
            let entry = Arc::clone(self.entries.get(&neighbour.id)?);
            Some(Near { similarity: neighbour.similarity, entry })
        };
        self.index.search(vector, k, &alive).into_iter().filter_map(near).collect()
    }

    /// One of the latest answers that is not among `known`, each time another.
    fn control(&self, known: &[Known]) -> Option<Arc<Entry>> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let count = self.founders.len();
        let far = |entry: &&Arc<Entry>| known.iter().all(|known| known.facts.id != entry.cluster);
        (0..count).filter_map(|i| self.entries.get(&self.founders[(turn + i) % count])).find(far).cloned()
    }

    /// The weight of a word: the rarer among the prompts, the larger.
    fn rarity(&self, word: u32) -> f32 {
        let has = self.words.get(&word).copied().unwrap_or(0) as f32;
        ((self.entries.len() as f32 + 1.0) / (has + 0.5)).ln().max(0.1)
    }
}

type Partitions = RwLock<HashMap<PartitionKey, Arc<RwLock<Partition>>>>;

/// Hears of a cluster that is new, has changed, or is gone, while its partition is locked.
pub(crate) type OnCluster = dyn Fn(&PartitionKey, u64, Option<&Cluster>) + Send + Sync;

/// The indices of all partitions.
pub(crate) struct LocalStore {
    kind: IndexKind,
    partitions: Arc<Partitions>,
    on_cluster: Box<OnCluster>,
    builder: Option<Builder>,
}

/// The thread that builds what makes searches faster. It ends with the store.
struct Builder {
    /// Says that there is work. It holds one word: the thread looks at all partitions whenever it hears one.
    wake: Option<SyncSender<()>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Builder {
    /// `None` if the system grants no thread: then every search scans.
    fn start(partitions: &Arc<Partitions>) -> Option<Self> {
        let (wake, called) = sync_channel(1);
        let stop = Arc::new(AtomicBool::new(false));
        let (all, stopped) = (Arc::clone(partitions), Arc::clone(&stop));
        let thread = std::thread::Builder::new().name("sluice-index".to_owned());
        match thread.spawn(move || build(&all, &called, &stopped)) {
            Ok(thread) => Some(Self { wake: Some(wake), stop, thread: Some(thread) }),
            Err(error) => {
                tracing::warn!(%error, "no thread to build graphs: every search scans its partition");
                None
            }
        }
    }

    fn wake(&self) {
        // If a word is waiting to be heard already, that one will do.
        self.wake.as_ref().map(|wake| wake.try_send(()));
    }
}

impl Drop for Builder {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.wake = None;
        // It panicked, or it has nothing to say.
        drop(self.thread.take().map(JoinHandle::join));
    }
}

/// The builder's life.
fn build(partitions: &Partitions, called: &Receiver<()>, stop: &AtomicBool) {
    for () in called {
        let all: Vec<_> = read(partitions).values().cloned().collect();
        for partition in all {
            let mut done = None;
            loop {
                // A lock of microseconds; the work itself is done, and what is retired is let go of, without any.
                let mut locked = write(&partition);
                if locked.retired {
                    break;
                }
                let next = locked.index.advance(done.take());
                drop(locked);
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                if next.work.is_none() && next.retired.is_none() {
                    break;
                }
                done = next.work.map(Work::run);
            }
        }
    }
}

// A lock is poisoned when its holder panicked. What it guards is a cache: an entry too few in it is a miss, and one too
// many is refused by the answers' store. So the lock is used on.
fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}

impl LocalStore {
    /// An empty store. `on_cluster` must not call it.
    pub(crate) fn new(kind: IndexKind, on_cluster: Box<OnCluster>) -> Self {
        let partitions = Arc::default();
        let builder = if kind == IndexKind::Flat { None } else { Builder::start(&partitions) };
        Self { kind, partitions, on_cluster, builder }
    }

    fn get(&self, key: &PartitionKey) -> Option<Arc<RwLock<Partition>>> {
        read(&self.partitions).get(key).cloned()
    }

    fn get_or_create(&self, key: &PartitionKey) -> Arc<RwLock<Partition>> {
        if let Some(partition) = self.get(key) {
            return partition;
        }
        let create = || {
            Arc::new(RwLock::new(Partition {
                index: self.kind.build(),
                entries: HashMap::new(),
                clusters: HashMap::new(),
                words: HashMap::new(),
                founders: VecDeque::new(),
                turn: AtomicUsize::new(0),
                retired: false,
            }))
        };
        Arc::clone(write(&self.partitions).entry(*key).or_insert_with(create))
    }

    /// Puts the entry's vector into its partition; `false` for one that the index does not take. `near` is its similarity to
    /// the nearest prompt with the same answer, `now` the time in requests of the partition.
    pub(crate) fn insert(&self, entry: &Arc<Entry>, vector: &[f32], near: Option<f32>, now: u64) -> bool {
        self.place(entry, vector, Joins::New(near), now)
    }

    /// The same for a prompt that was kept over a restart, the first of its cluster with the cluster as it was kept.
    pub(crate) fn restore(
        &self,
        entry: &Arc<Entry>,
        vector: &[f32],
        kept: Option<Cluster>,
        now: u64,
    ) -> bool {
        self.place(entry, vector, Joins::Again(kept), now)
    }

    fn place(&self, entry: &Arc<Entry>, vector: &[f32], joins: Joins, now: u64) -> bool {
        loop {
            let partition = self.get_or_create(&entry.partition);
            let mut partition = write(&partition);
            if partition.retired {
                continue;
            }
            if partition.index.insert(entry.id, vector) {
                if partition.add(entry, vector, joins, now) {
                    let cluster = partition.clusters.get(&entry.cluster);
                    (self.on_cluster)(&entry.partition, entry.cluster, cluster);
                }
                self.wake_builder(partition.index.as_ref());
                return true;
            }
            let (dimension, empty) = (vector.len(), partition.entries.is_empty());
            drop(partition);
            tracing::debug!(partition = ?entry.partition, dimension, "vector not indexed: not finite, zero or of another dimension");
            if empty {
                self.drop_if_empty(&entry.partition);
            }
            return false;
        }
    }

    /// Takes the entry's vector out, and its partition if it was the last. Nothing happens if there is none.
    pub(crate) fn remove(&self, entry: &Entry) {
        let Some(partition) = self.get(&entry.partition) else { return };
        let mut partition = write(&partition);
        let Some(last) = partition.take_out(entry.id) else { return };
        if last {
            (self.on_cluster)(&entry.partition, entry.cluster, None);
        }
        self.wake_builder(partition.index.as_ref());
        let empty = partition.entries.is_empty();
        drop(partition);
        if empty {
            self.drop_if_empty(&entry.partition);
        }
    }

    fn wake_builder(&self, index: &dyn VectorIndex) {
        if let Some(builder) = self.builder.as_ref().filter(|_| index.has_work()) {
            builder.wake();
        }
    }

    fn drop_if_empty(&self, key: &PartitionKey) {
        let mut partitions = write(&self.partitions);
        if let Some(partition) = partitions.get(key) {
            let mut partition = write(partition);
            if !partition.entries.is_empty() {
                return;
            }
            partition.retired = true;
        }
        partitions.remove(key);
    }

    /// Up to `k` of the nearest entries of the partition that are not expired at `now`, nearest first.
    pub(crate) fn search(&self, key: &PartitionKey, vector: &[f32], k: usize, now: SystemTime) -> Vec<Near> {
        let Some(partition) = self.get(key) else { return Vec::new() };
        read(&partition).search(vector, k, now)
    }

    /// The same, with what is known about their answers and about the request's words.
    pub(crate) fn around(
        &self,
        key: &PartitionKey,
        vector: &[f32],
        k: usize,
        now: SystemTime,
        profile: &Profile,
    ) -> Neighbourhood {
        let Some(partition) = self.get(key) else { return Neighbourhood::default() };
        let partition = read(&partition);
        let near = partition.search(vector, k, now);
        let mut known: Vec<Known> = Vec::new();
        for id in near.iter().map(|n| n.entry.cluster) {
            if known.iter().any(|k| k.facts.id == id) {
                continue;
            }
            known.extend(partition.clusters.get(&id).map(|cluster| Known {
                facts: cluster.facts(id, vector),
                confirmed: cluster.confirmed,
                doubt: cluster.doubt,
                labels: cluster.labels.clone(),
            }));
        }
        let rarity = profile.content().map(|word| (word, partition.rarity(word))).collect();
        let control = partition.control(&known);
        Neighbourhood { near, known, rarity, control }
    }

    /// Does something to the answer of the partition, if it is still there.
    pub(crate) fn with_cluster<T>(
        &self,
        key: &PartitionKey,
        cluster: u64,
        act: impl FnOnce(&mut Cluster) -> T,
    ) -> Option<T> {
        let partition = self.get(key)?;
        let mut partition = write(&partition);
        let changing = partition.clusters.get_mut(&cluster)?;
        let done = act(changing);
        (self.on_cluster)(key, cluster, Some(changing));
        Some(done)
    }

    /// The entries that have the answer.
    pub(crate) fn members(&self, key: &PartitionKey, cluster: u64) -> Vec<Arc<Entry>> {
        let Some(partition) = self.get(key) else { return Vec::new() };
        let partition = read(&partition);
        partition.entries.values().filter(|entry| entry.cluster == cluster).cloned().collect()
    }

    /// Roughly the bytes of memory one more vector takes in the partition.
    pub(crate) fn vector_bytes(&self, key: &PartitionKey, dimension: usize) -> usize {
        match self.get(key) {
            Some(partition) => read(&partition).index.vector_bytes(dimension),
            None => self.kind.build().vector_bytes(dimension),
        }
    }

    /// The numbers of vectors and of partitions.
    pub(crate) fn counts(&self) -> (u64, u64) {
        let partitions = self.all();
        let vectors: usize = partitions.iter().map(|partition| read(partition).index.len()).sum();
        (vectors as u64, partitions.len() as u64)
    }

    fn all(&self) -> Vec<Arc<RwLock<Partition>>> {
        read(&self.partitions).values().cloned().collect()
    }

    /// The ids that are stored, for tests: those known by name, and how many the index counts.
    #[cfg(test)]
    pub(crate) fn ids(&self, key: &PartitionKey) -> (std::collections::BTreeSet<u64>, usize) {
        self.get(key).map_or_else(Default::default, |partition| {
            let partition = read(&partition);
            (partition.entries.keys().copied().collect(), partition.index.len())
        })
    }
}
