//! What is written to the journal, and when: each entry as it comes and goes, each cluster as it changes, what was learnt
//! every few seconds.
//!
//! The journal's own thread writes; here changes are only handed over, in an order in which every beginning of them makes
//! sense: an answer before the entries that share it, an entry's end before its answer's, a number before it is used.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde::Serialize;

use super::records::{self, Of};
use super::{SemanticCache, state};
use crate::entry::Entry;
use crate::features::Profile;
use crate::journal::{Journal, JournalError, JournalStats, Table};
use crate::partition::PartitionKey;
use crate::store::Cluster;

/// Names of what is kept beside entries: the first number that was never given out, and what was learnt.
pub(super) const NUMBERS: &str = "numbers";
pub(super) const POOL: &str = "learnt by all";
pub(super) const LEARNER: &str = "learnt by ";
/// So many numbers are reserved at once.
const BLOCK: u64 = 4096;
/// What was learnt is written this often at most.
const LEARNT_EVERY: Duration = Duration::from_secs(5);

/// Names what a journal's records depend on, for [`Options::fingerprint`](crate::journal::Options::fingerprint): the vector
/// space, and an id of the secret with which keys are made.
pub fn fingerprint(space: &str, secret_id: &str) -> String {
    format!("cache {}, vectors {space}, keys {secret_id}", records::FORM)
}

/// The journal of a cache, if it has one. Nothing here waits for the disk but [`SemanticCache::flush`].
#[derive(Default)]
pub(super) struct Keeping {
    journal: OnceLock<Journal>,
    /// How many kept entries share an answer.
    sharers: Mutex<HashMap<u64, u32>>,
    /// Numbers below this one are reserved.
    reserved: AtomicU64,
    reserving: Mutex<()>,
    /// Partitions of which something was learnt. Nothing else is locked while this is.
    fresh: Mutex<HashSet<PartitionKey>>,
    learnt: Mutex<Learnt>,
}

/// What was written of what was learnt.
#[derive(Default)]
struct Learnt {
    /// The requests of each partition whose learner is written, as it was then.
    written: HashMap<PartitionKey, u64>,
    pool: Vec<u8>,
    at: Option<Instant>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Keeping {
    /// From now on everything is written. `sharers` and `next` are what the journal holds already: the entries of each
    /// cluster, and the first number that was never given out.
    pub(super) fn begin(&self, journal: Journal, sharers: HashMap<u64, u32>, next: u64) -> &Journal {
        *lock(&self.sharers) = sharers;
        self.reserved.store(next, Ordering::Release);
        self.journal.get_or_init(|| journal)
    }

    pub(super) fn journal(&self) -> Option<&Journal> {
        self.journal.get()
    }

    /// This number is about to be used.
    pub(super) fn using(&self, id: u64) {
        let Some(journal) = self.journal() else { return };
        if id < self.reserved.load(Ordering::Acquire) {
            return;
        }
        let _reserving = lock(&self.reserving);
        if id >= self.reserved.load(Ordering::Acquire) {
            let end = id + BLOCK;
            journal.put_state(NUMBERS, Bytes::copy_from_slice(&end.to_le_bytes()));
            self.reserved.store(end, Ordering::Release);
        }
    }

    /// A new entry.
    pub(super) fn entry(&self, entry: &Entry) {
        let Some(journal) = self.journal() else { return };
        let record = records::entry(entry);
        let mut sharers = lock(&self.sharers);
        let count = sharers.entry(entry.cluster).or_default();
        if *count == 0 {
            journal.put(Table::Answers, Of::Cluster(entry.cluster).key(), entry.answer.payload.clone());
        }
        *count += 1;
        journal.put(Table::Answers, Of::Entry(entry.id).key(), record);
    }

    /// The prompt of a new entry.
    pub(super) fn prompt(&self, id: u64, vector: &[f32], profile: Option<&Profile>) {
        let Some(journal) = self.journal() else { return };
        journal.put(Table::Prompts, Of::Entry(id).key(), records::prompt(vector, profile));
    }

    /// An entry is gone, for whatever reason.
    pub(super) fn gone(&self, entry: &Entry) {
        let Some(journal) = self.journal() else { return };
        let key = Of::Entry(entry.id).key();
        let mut sharers = lock(&self.sharers);
        journal.remove(Table::Answers, key);
        let left = sharers.get_mut(&entry.cluster).map(|count| {
            *count -= 1;
            *count
        });
        if left == Some(0) {
            sharers.remove(&entry.cluster);
            journal.remove(Table::Answers, Of::Cluster(entry.cluster).key());
        }
        drop(sharers);
        journal.remove(Table::Prompts, key);
    }

    /// A cluster is new, changed, or gone. Called while its partition is locked, so the last word is the last state.
    pub(super) fn cluster(&self, partition: &PartitionKey, id: u64, cluster: Option<&Cluster>) {
        let Some(journal) = self.journal() else { return };
        let key = Of::Cluster(id).key();
        match cluster {
            Some(cluster) => journal.put(Table::Prompts, key, records::cluster(partition, cluster)),
            None => journal.remove(Table::Prompts, key),
        }
        lock(&self.fresh).insert(*partition);
    }

    /// The journal has lost what was in it: numbers are reserved anew.
    pub(super) fn lost(&self) {
        self.reserved.store(0, Ordering::Release);
    }

    /// These learners are in the journal as they were after so many requests.
    pub(super) fn learnt_before(&self, requests: HashMap<PartitionKey, u64>) {
        lock(&self.learnt).written = requests;
    }
}

/// Something learnt, in the form that [`SemanticCache::restore`] takes.
pub(super) fn piece<T: Serialize>(learnt: &T) -> Vec<u8> {
    serde_json::to_vec(&(state::VERSION, learnt)).unwrap_or_default()
}

impl SemanticCache {
    /// Waits until everything that was remembered, learnt or forgotten so far is on disk. Without a journal there is nothing
    /// to wait for.
    ///
    /// # Errors
    /// Why it can't be written. It is tried again all the same.
    pub fn flush(&self) -> Result<(), JournalError> {
        self.keep_learnt(true);
        self.keeping.journal().map_or(Ok(()), Journal::flush)
    }

    /// How the journal fares, if there is one.
    pub fn journal_stats(&self) -> Option<JournalStats> {
        self.keeping.journal().map(Journal::stats)
    }

    /// Hands over what was learnt since the last time; unless it is to be `now`, only if that was a while ago.
    pub(super) fn keep_learnt(&self, now: bool) {
        let Some(journal) = self.keeping.journal() else { return };
        let mut learnt = lock(&self.keeping.learnt);
        let due = learnt.at.is_none_or(|at| at.elapsed() >= LEARNT_EVERY);
        if !now && !due {
            return;
        }
        learnt.at = Some(Instant::now());
        let fresh = std::mem::take(&mut *lock(&self.keeping.fresh));
        let mut requests = HashMap::new();
        for (key, learner) in self.learners.all() {
            let learner = lock(&learner);
            requests.insert(key, learner.now());
            if fresh.contains(&key) || learnt.written.get(&key) != Some(&learner.now()) {
                let copy = learner.clone();
                drop(learner);
                journal.put_state(&named(&key), piece(&(key, copy)).into());
            }
        }
        for key in learnt.written.keys().filter(|key| !requests.contains_key(key)) {
            journal.remove_state(&named(key));
        }
        learnt.written = requests;
        let pool = self.learners.pool().clone();
        let pool = piece(&pool);
        if learnt.pool != pool {
            journal.put_state(POOL, Bytes::copy_from_slice(&pool));
            learnt.pool = pool;
        }
    }
}

fn named(key: &PartitionKey) -> String {
    format!("{LEARNER}{}", key.hex())
}

impl Drop for SemanticCache {
    fn drop(&mut self) {
        self.keep_learnt(true);
    }
}
