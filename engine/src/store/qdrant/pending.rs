//! What waits to be written. Until it is, this instance's own lookups find it here.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::SystemTime;

use crate::entry::Entry;
use crate::partition::{ExactKey, PartitionKey};
use crate::store::{Change, Near};

/// One thing to write: an entry, a change of its cluster, or both.
#[derive(Debug)]
pub(super) struct Write {
    pub(super) partition: PartitionKey,
    pub(super) cluster: u64,
    pub(super) entry: Option<(Arc<Entry>, Option<Vec<f32>>)>,
    pub(super) change: Option<Change>,
}

impl Write {
    fn bytes(&self) -> usize {
        let entry = self.entry.as_ref().map_or(0, |(entry, vector)| {
            entry.payload().len() + entry.note.len() + vector.as_ref().map_or(0, |v| 4 * v.len())
        });
        entry + 512
    }
}

/// In the order in which they came. The first ones may be under way; they stay until they have arrived.
#[derive(Debug, Default)]
pub(super) struct Pending {
    queue: VecDeque<Arc<Write>>,
    by_partition: HashMap<PartitionKey, VecDeque<Arc<Write>>>,
    bytes: usize,
    /// How many ever came, and how many of them are done with.
    pub(super) came: u64,
    pub(super) done: u64,
}

/// Most bytes that wait; what comes beyond is not written.
const MOST_BYTES: usize = 64 << 20;

impl Pending {
    /// `false` if there is no room: the write is lost.
    pub(super) fn add(&mut self, write: Write) -> bool {
        let bytes = write.bytes();
        if self.bytes + bytes > MOST_BYTES {
            return false;
        }
        let write = Arc::new(write);
        self.bytes += bytes;
        self.came += 1;
        self.by_partition.entry(write.partition).or_default().push_back(Arc::clone(&write));
        self.queue.push_back(write);
        true
    }

    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }

    /// The first ones, up to `most`.
    pub(super) fn first(&self, most: usize) -> Vec<Arc<Write>> {
        self.queue.iter().take(most).cloned().collect()
    }

    /// The first `count` are done with.
    pub(super) fn finish(&mut self, count: usize) {
        for write in self.queue.drain(..count) {
            self.bytes -= write.bytes();
            self.done += 1;
            if let Some(own) = self.by_partition.get_mut(&write.partition) {
                own.pop_front();
                if own.is_empty() {
                    self.by_partition.remove(&write.partition);
                }
            }
        }
    }

    fn of(&self, partition: &PartitionKey) -> impl DoubleEndedIterator<Item = &Arc<Write>> {
        self.by_partition.get(partition).into_iter().flatten()
    }

    /// The latest entry that waits under the key, or under the key of its normalised form.
    pub(super) fn find(&self, partition: &PartitionKey, key: &ExactKey) -> Option<Arc<Entry>> {
        let mut entries = self.of(partition).rev().filter_map(|write| write.entry.as_ref());
        let found = entries.find(|(entry, _)| entry.exact == *key || entry.normalised == Some(*key));
        found.map(|(entry, _)| Arc::clone(entry))
    }

    /// What waits in a partition, for a search: the keys whose remote entries are out of date, the entries near the
    /// vector, and the changes of each cluster.
    pub(super) fn around(&self, partition: &PartitionKey, vector: &[f32], now: SystemTime) -> Waiting {
        let mut waiting = Waiting::default();
        for write in self.of(partition).rev() {
            let Some((entry, own)) = &write.entry else { continue };
            if !waiting.replaced.insert(entry.exact) || entry.is_expired_at(now) {
                continue;
            }
            let Some(own) = own.as_ref().filter(|own| own.len() == vector.len()) else { continue };
            waiting.near.push(Near { similarity: cosine(own, vector), entry: Arc::clone(entry) });
        }
        for write in self.of(partition) {
            if let Some(change) = &write.change {
                waiting.changes.entry(write.cluster).or_default().push(change.clone());
            }
        }
        waiting
    }
}

/// See [`Pending::around`].
#[derive(Debug, Default)]
pub(super) struct Waiting {
    pub(super) replaced: HashSet<ExactKey>,
    pub(super) near: Vec<Near>,
    pub(super) changes: HashMap<u64, Vec<Change>>,
}

fn cosine(a: &[f32], b: &[f32]) -> f32 {
    let (mut product, mut square_a, mut square_b) = (0.0, 0.0, 0.0);
    for (x, y) in a.iter().zip(b) {
        product += x * y;
        square_a += x * x;
        square_b += y * y;
    }
    product / (square_a * square_b).sqrt().max(1e-12)
}
