//! Vectors in this process's memory: one index per partition, so that no search can see another partition. What an index
//! puts off is done by a thread of the store's own.
//!
//! Locks are taken in the order map of partitions, then one partition. Nothing here calls the answers' store, which in
//! turn calls [`LocalStore::remove`] from its eviction: that is what rules out a deadlock between the two.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::thread::JoinHandle;
use std::time::SystemTime;

use crate::entry::Entry;
use crate::index::{IndexKind, VectorIndex, Work};
use crate::partition::PartitionKey;

/// An entry whose vector is near the one asked for.
#[derive(Clone, Debug)]
pub(crate) struct Near {
    pub(crate) similarity: f32,
    pub(crate) entry: Arc<Entry>,
}

struct Partition {
    index: Box<dyn VectorIndex>,
    /// What the ids of the index stand for.
    entries: HashMap<u64, Arc<Entry>>,
    /// Dropped from the map: whoever still holds it must look again.
    retired: bool,
}

type Partitions = RwLock<HashMap<PartitionKey, Arc<RwLock<Partition>>>>;

/// The indices of all partitions.
pub(crate) struct LocalStore {
    kind: IndexKind,
    partitions: Arc<Partitions>,
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
    pub(crate) fn new(kind: IndexKind) -> Self {
        let partitions = Arc::default();
        let builder = if kind == IndexKind::Flat { None } else { Builder::start(&partitions) };
        Self { kind, partitions, builder }
    }

    fn get(&self, key: &PartitionKey) -> Option<Arc<RwLock<Partition>>> {
        read(&self.partitions).get(key).cloned()
    }

    fn get_or_create(&self, key: &PartitionKey) -> Arc<RwLock<Partition>> {
        if let Some(partition) = self.get(key) {
            return partition;
        }
        let create = || {
            let (index, entries) = (self.kind.build(), HashMap::new());
            Arc::new(RwLock::new(Partition { index, entries, retired: false }))
        };
        Arc::clone(write(&self.partitions).entry(*key).or_insert_with(create))
    }

    /// Puts the entry's vector into its partition. A vector that the index does not take is left out.
    pub(crate) fn insert(&self, entry: &Arc<Entry>, vector: &[f32]) {
        loop {
            let partition = self.get_or_create(&entry.partition);
            let mut partition = write(&partition);
            if partition.retired {
                continue;
            }
            if partition.index.insert(entry.id, vector) {
                partition.entries.insert(entry.id, Arc::clone(entry));
                self.wake_builder(partition.index.as_ref());
                return;
            }
            let (dimension, empty) = (vector.len(), partition.entries.is_empty());
            drop(partition);
            tracing::debug!(partition = ?entry.partition, dimension, "vector not indexed: not finite, zero or of another dimension");
            if empty {
                self.drop_if_empty(&entry.partition);
            }
            return;
        }
    }

    /// Takes the entry's vector out, and its partition if it was the last. Nothing happens if there is none.
    pub(crate) fn remove(&self, entry: &Entry) {
        let Some(partition) = self.get(&entry.partition) else { return };
        let mut partition = write(&partition);
        if partition.entries.remove(&entry.id).is_none() {
            return;
        }
        partition.index.remove(entry.id);
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
        let partition = read(&partition);
        let alive = |id| partition.entries.get(&id).is_some_and(|entry| !entry.is_expired_at(now));
        let found = partition.index.search(vector, k, &alive);
        let near = |neighbour: crate::index::Neighbour| {
            let entry = Arc::clone(partition.entries.get(&neighbour.id)?);
            Some(Near { similarity: neighbour.similarity, entry })
        };
        found.into_iter().filter_map(near).collect()
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
