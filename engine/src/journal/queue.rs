//! What is waiting to be written: the last word on each key, bounded by bytes.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::time::Instant;

use bytes::Bytes;

use super::Table;

/// Bytes that a waiting record costs beside its content: its place in the map.
const PLACE: usize = 64;

/// Changes that go into one transaction. For each key only the last one counts.
#[derive(Default)]
pub(super) struct Pending {
    /// All answers and prompts that were on disk before are to go; what is in `records` comes after.
    pub(super) clear: bool,
    /// By [`Table::index`]. `None` removes.
    pub(super) records: [HashMap<u64, Option<Bytes>>; 2],
    /// Named blobs. `None` removes.
    pub(super) state: HashMap<Box<str>, Option<Bytes>>,
    /// What all of it weighs in memory.
    bytes: usize,
    /// How many of `records` are removals.
    removals: usize,
    /// When the first of them came.
    since: Option<Instant>,
}

impl Pending {
    pub(super) fn len(&self) -> usize {
        self.records[0].len() + self.records[1].len() + self.state.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0 && !self.clear
    }

    /// What all of it weighs in memory, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// When the first of these changes came.
    pub(super) fn since(&self) -> Option<Instant> {
        self.since
    }

    /// Bytes of content that would be written.
    pub(super) fn content(&self) -> u64 {
        let values = self.records.iter().flat_map(HashMap::values).chain(self.state.values());
        values.flatten().map(|value| value.len() as u64).sum()
    }

    fn set(&mut self, table: Table, key: u64, value: Option<Bytes>) {
        self.bytes += cost(value.as_ref());
        self.removals += usize::from(value.is_none());
        if let Some(old) = self.records[table.index()].insert(key, value) {
            self.bytes -= cost(old.as_ref());
            self.removals -= usize::from(old.is_none());
        }
    }

    fn set_state(&mut self, name: Box<str>, value: Option<Bytes>) {
        self.bytes += cost(value.as_ref());
        if let Some(old) = self.state.insert(name, value) {
            self.bytes -= cost(old.as_ref());
        }
    }

    /// Takes back what could not be written. What came since is the later word.
    fn take_back(&mut self, older: Self) {
        self.since = older.since.or(self.since);
        if !self.clear {
            // After a clear nothing older counts: a removal may have been dropped in its favour.
            self.clear = older.clear;
            for (newer, older) in self.records.iter_mut().zip(older.records) {
                for (key, value) in older {
                    if let Entry::Vacant(place) = newer.entry(key) {
                        self.bytes += cost(value.as_ref());
                        self.removals += usize::from(value.is_none());
                        place.insert(value);
                    }
                }
            }
        }
        for (name, value) in older.state {
            if let Entry::Vacant(place) = self.state.entry(name) {
                self.bytes += cost(value.as_ref());
                place.insert(value);
            }
        }
    }

    /// Replaces all removals by one clear. Waiting puts stay.
    fn clear_instead(&mut self) {
        self.clear = true;
        self.removals = 0;
        for records in &mut self.records {
            records.retain(|_, value| value.is_some());
        }
        let values = self.records.iter().flat_map(HashMap::values).chain(self.state.values());
        self.bytes = values.map(|value| cost(value.as_ref())).sum();
    }
}

fn cost(value: Option<&Bytes>) -> usize {
    PLACE + value.map_or(0, Bytes::len)
}

/// How much may wait.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Bytes of records, those being written included.
    pub(super) bytes: usize,
    /// Removals, in number.
    pub(super) removals: usize,
}

/// The queue between callers and the writer.
pub(super) struct Queue {
    bounds: Bounds,
    pending: Pending,
    /// Bytes of what is being written; they are still in memory.
    writing: usize,
    /// The highest keys that can be on disk: above them a put that is dropped leaves nothing behind.
    highest: [Option<u64>; 2],
    /// Puts that were dropped since the start.
    pub(super) dropped: u64,
    /// How often removals were too many, and everything on disk was given up instead.
    pub(super) cleared: u64,
    /// Counts all changes ever accepted.
    pub(super) accepted: u64,
}

impl Queue {
    pub(super) fn new(bounds: Bounds, highest: [Option<u64>; 2]) -> Self {
        let pending = Pending::default();
        Self { bounds, pending, writing: 0, highest, dropped: 0, cleared: 0, accepted: 0 }
    }

    pub(super) fn pending(&self) -> &Pending {
        &self.pending
    }

    /// Bytes in memory, those being written included.
    pub(super) fn bytes(&self) -> usize {
        self.pending.bytes + self.writing
    }

    /// A put, unless there is no room. Then an older record under its key goes too, since it is outdated.
    pub(super) fn put(&mut self, table: Table, key: u64, value: Bytes) {
        if self.bytes() + cost(Some(&value)) > self.bounds.bytes {
            self.dropped += 1;
            if self.highest[table.index()].is_some_and(|highest| key <= highest) {
                self.remove(table, key);
            }
            return;
        }
        let highest = &mut self.highest[table.index()];
        *highest = (*highest).max(Some(key));
        self.pending.set(table, key, Some(value));
        self.accept();
    }

    /// A removal is never dropped; if they are too many they become one: of everything.
    pub(super) fn remove(&mut self, table: Table, key: u64) {
        self.pending.set(table, key, None);
        if self.pending.removals > self.bounds.removals {
            self.pending.clear_instead();
            self.cleared += 1;
        }
        self.accept();
    }

    /// A named blob. They are few, and the last of each name counts, so they need no bound.
    pub(super) fn set_state(&mut self, name: &str, value: Option<Bytes>) {
        self.pending.set_state(name.into(), value);
        self.accept();
    }

    fn accept(&mut self) {
        self.accepted += 1;
        self.pending.since.get_or_insert_with(Instant::now);
    }

    /// Takes all that waits, to be written.
    pub(super) fn take(&mut self) -> Pending {
        let batch = std::mem::take(&mut self.pending);
        self.writing = batch.bytes;
        batch
    }

    /// The batch taken last is on disk.
    pub(super) fn written(&mut self) {
        self.writing = 0;
    }

    /// The batch taken last is not on disk, and waits again.
    pub(super) fn not_written(&mut self, batch: Pending) {
        self.writing = 0;
        self.pending.take_back(batch);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOMY: Bounds = Bounds { bytes: 1 << 20, removals: 100 };

    fn put(queue: &mut Queue, key: u64, value: &'static [u8]) {
        queue.put(Table::Answers, key, Bytes::from_static(value));
    }

    fn words(pending: &Pending) -> Vec<(u64, Option<&[u8]>)> {
        let mut words: Vec<_> =
            pending.records[0].iter().map(|(key, value)| (*key, value.as_deref())).collect();
        words.sort_unstable();
        words
    }

    #[test]
    fn a_put_and_a_later_removal_write_no_content() {
        let mut queue = Queue::new(ROOMY, [None; 2]);
        put(&mut queue, 1, b"content");
        queue.remove(Table::Answers, 1);
        let batch = queue.take();
        assert_eq!((words(&batch), batch.content()), (vec![(1, None)], 0));
    }

    #[test]
    fn what_could_not_be_written_waits_again_behind_what_came_since() {
        let mut queue = Queue::new(ROOMY, [None; 2]);
        put(&mut queue, 1, b"old");
        put(&mut queue, 2, b"kept");
        queue.remove(Table::Answers, 3);
        let batch = queue.take();
        put(&mut queue, 1, b"newer");
        queue.not_written(batch);
        let batch = queue.take();
        assert_eq!(words(&batch), [(1, Some(&b"newer"[..])), (2, Some(&b"kept"[..])), (3, None)]);
        assert_eq!((batch.bytes(), batch.removals), (3 * PLACE + 9, 1));
    }

    #[test]
    fn nothing_older_than_a_clear_comes_back_with_a_failed_batch() {
        let mut queue = Queue::new(Bounds { removals: 1, ..ROOMY }, [None; 2]);
        put(&mut queue, 1, b"removed below");
        let batch = queue.take();
        queue.remove(Table::Answers, 1);
        queue.remove(Table::Answers, 2);
        put(&mut queue, 3, b"new");
        queue.not_written(batch);
        let batch = queue.take();
        assert!(batch.clear);
        assert_eq!(words(&batch), [(3, Some(&b"new"[..]))]);
    }

    #[test]
    fn what_is_being_written_counts_as_memory_until_it_is_on_disk() {
        let mut queue = Queue::new(Bounds { bytes: 2 * PLACE, ..ROOMY }, [None; 2]);
        put(&mut queue, 1, b"content");
        let batch = queue.take();
        put(&mut queue, 2, b"one too many by now");
        assert_eq!((queue.dropped, queue.pending().len()), (1, 0), "a new key leaves nothing to remove");
        drop(batch);
        queue.written();
        put(&mut queue, 2, b"room again");
        assert_eq!((queue.dropped, queue.bytes()), (1, PLACE + 10));
    }
}
