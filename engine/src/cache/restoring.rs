//! Starting with what a journal holds: answers before anything is looked up, prompts by a thread of their own.
//!
//! Until the last prompt is back nothing is answered by similarity: half of a neighbourhood would look like all of it, and an
//! answer might be served whose better is only not there yet.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Instant, SystemTime};

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use super::keeping::{Keeping, LEARNER, NUMBERS, POOL};
use super::records::{self, Of};
use super::state::{self, CacheState};
use super::{MAX_TTL, SemanticCache};
use crate::decide::learner::{Learner, Pool};
use crate::entry::{Answer, Entry};
use crate::exact::Answers;
use crate::journal::{Journal, JournalError, Table};
use crate::partition::PartitionKey;
use crate::store::{Cluster, LocalStore};

/// The thread that puts prompts back.
#[derive(Default)]
pub(super) struct Restoring {
    under_way: Arc<AtomicBool>,
    stop: Arc<AtomicBool>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Restoring {
    fn wait(&self) {
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        // It panicked, or it has nothing to say.
        drop(thread.map(JoinHandle::join));
    }
}

impl Drop for Restoring {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.wait();
    }
}

/// What a journal holds but for the prompts.
#[derive(Default)]
struct Held {
    /// By ascending ids.
    entries: Vec<Entry>,
    /// Keys of answers and entries that nothing can be made of.
    useless: Vec<u64>,
    answers: HashMap<u64, Arc<Answer>>,
    /// The first number that was never given out.
    next: u64,
    /// What was learnt, by name.
    learnt: Vec<(String, Vec<u8>)>,
}

impl SemanticCache {
    /// The same cache with what `journal` holds, and with all that comes written to it. To be called last, and before
    /// anything is looked up. Answers are there when it returns; the prompts, and with them hits by similarity, soon after.
    ///
    /// A journal that turns out to be damaged has set itself aside, and the cache begins empty.
    #[must_use]
    pub fn with_journal(mut self, journal: Journal) -> Self {
        let begun = Instant::now();
        let held = match read(&journal) {
            Ok(held) => held,
            Err(error) => {
                tracing::error!(%error, "the cache begins empty");
                Held::default()
            }
        };
        self.take_up(&journal, &held.learnt);
        let found = held.entries.len();
        let (kept, useless) = self.chosen(held.entries);
        let mut sharers = HashMap::new();
        kept.iter().for_each(|entry| *sharers.entry(entry.cluster).or_insert(0) += 1);
        // What the prompts' table has of them goes when the thread comes to it.
        let unshared = held.answers.into_keys().filter(|id| !sharers.contains_key(id)).map(Of::Cluster);
        for key in unshared.chain(useless.into_iter().map(Of::Entry)).map(Of::key).chain(held.useless) {
            journal.remove(Table::Answers, key);
        }
        self.next_id = AtomicU64::new(held.next);
        self.keeping.begin(journal, sharers, held.next);
        for entry in &kept {
            self.answers.restore(Arc::clone(entry));
        }
        self.answers.run_pending();
        let took = begun.elapsed();
        tracing::info!(
            entries = kept.len(),
            dropped = found - kept.len(),
            ?took,
            "answers are back from the journal"
        );
        self.start_loading(kept, held.next);
        self
    }

    /// Whether prompts are still being put back: until then nothing is answered by similarity.
    pub fn is_restoring(&self) -> bool {
        self.restoring.under_way.load(Ordering::Acquire)
    }

    /// Waits until every prompt is back.
    pub fn wait_restored(&self) {
        self.restoring.wait();
    }

    /// Those that may still be served and have room, the latest first if there is too little, by ascending ids; and the ids
    /// of the others. Of several under one exact key the latest counts.
    fn chosen(&self, entries: Vec<Entry>) -> (Vec<Arc<Entry>>, Vec<u64>) {
        let (now, longest) = (self.clock.now(), self.config.ttl.min(MAX_TTL));
        let (mut seen, mut bytes) = (HashSet::new(), 0_u64);
        let (mut kept, mut useless) = (Vec::with_capacity(entries.len()), Vec::new());
        for mut entry in entries.into_iter().rev() {
            // The configured lifetime may be a shorter one by now.
            let latest = entry.created.checked_add(longest).unwrap_or(SystemTime::UNIX_EPOCH);
            entry.expires_at = entry.expires_at.min(latest);
            let replaced = !seen.insert(entry.exact);
            let fits = bytes.saturating_add(u64::from(entry.weight)) <= self.config.max_bytes;
            if replaced || !fits || entry.is_expired_at(now) {
                useless.push(entry.id);
                continue;
            }
            bytes += u64::from(entry.weight);
            kept.push(Arc::new(entry));
        }
        kept.reverse();
        (kept, useless)
    }

    /// Takes up what was learnt. If that can't be used, it is dropped.
    fn take_up(&self, journal: &Journal, learnt: &[(String, Vec<u8>)]) {
        if learnt.is_empty() {
            return;
        }
        match assembled(learnt).and_then(|state| self.restore(state)) {
            Ok(()) => {
                let now = |learner: &Arc<Mutex<Learner>>| {
                    learner.lock().unwrap_or_else(PoisonError::into_inner).now()
                };
                let all = self.learners.all();
                self.keeping.learnt_before(all.iter().map(|(key, learner)| (*key, now(learner))).collect());
            }
            Err(why) => {
                tracing::warn!(why, "what the cache had learnt can't be used and is dropped: it learns anew");
                learnt.iter().for_each(|(name, _)| journal.remove_state(name));
            }
        }
    }

    fn start_loading(&self, entries: Vec<Arc<Entry>>, first_new: u64) {
        let present = |(key, learner): (PartitionKey, Arc<Mutex<Learner>>)| {
            (key, learner.lock().unwrap_or_else(PoisonError::into_inner).now())
        };
        let loader = Loader {
            entries: entries.into_iter().map(|entry| (entry.id, entry)).collect(),
            clusters: HashMap::new(),
            orphans: Vec::new(),
            first_new,
            present: self.learners.all().into_iter().map(present).collect(),
            answers: Arc::clone(&self.answers),
            vectors: Arc::clone(&self.vectors),
            keeping: Arc::clone(&self.keeping),
            stop: Arc::clone(&self.restoring.stop),
        };
        let under_way = Arc::clone(&self.restoring.under_way);
        under_way.store(true, Ordering::Release);
        let thread = std::thread::Builder::new().name("sluice-restore".to_owned()).spawn(move || {
            // Also after a panic: what is there is there, and what is not is a miss.
            let _ended = Ended(under_way);
            loader.run();
        });
        match thread {
            Ok(thread) => {
                *self.restoring.thread.lock().unwrap_or_else(PoisonError::into_inner) = Some(thread);
            }
            Err(error) => {
                tracing::error!(%error, "no thread to put prompts back: they are found letter by letter only");
                self.restoring.under_way.store(false, Ordering::Release);
            }
        }
    }
}

/// Says that the prompts are back.
struct Ended(Arc<AtomicBool>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

/// Everything but the prompts.
fn read(journal: &Journal) -> Result<Held, JournalError> {
    let mut held = Held::default();
    journal.read_state(&mut |name, value| {
        if name == NUMBERS {
            held.next = value.try_into().map_or(0, u64::from_le_bytes);
        } else if name == POOL || name.starts_with(LEARNER) {
            held.learnt.push((name.to_owned(), value.to_vec()));
        }
    })?;
    journal.read_all(Table::Answers, &mut |key, value| {
        let of = Of::read(key);
        held.next = held.next.max(of.id() + 1);
        match of {
            Of::Cluster(id) => {
                let payload = Bytes::copy_from_slice(value);
                held.answers.insert(id, Arc::new(Answer::new(payload)));
            }
            Of::Entry(id) => {
                match records::read_entry(id, value, |cluster| held.answers.get(&cluster).cloned()) {
                    Some(entry) => held.entries.push(entry),
                    None => held.useless.push(key),
                }
            }
        }
    })?;
    Ok(held)
}

/// What was learnt, from its pieces.
fn assembled(pieces: &[(String, Vec<u8>)]) -> Result<CacheState, String> {
    let (mut pool, mut partitions) = (Pool::default(), Vec::new());
    for (name, bytes) in pieces {
        if name == POOL {
            pool = learnt(bytes)?;
        } else {
            partitions.push(learnt(bytes)?);
        }
    }
    Ok(CacheState { version: state::VERSION, pool, partitions })
}

/// A piece of this version.
fn learnt<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    let unreadable = |_| "it can't be read".to_owned();
    let (version, rest): (u32, &RawValue) = serde_json::from_slice(bytes).map_err(unreadable)?;
    if version != state::VERSION {
        return Err(format!("it has version {version}, expected {}", state::VERSION));
    }
    serde_json::from_str(rest.get()).map_err(unreadable)
}

/// Puts the prompts of kept entries back.
struct Loader {
    entries: HashMap<u64, Arc<Entry>>,
    /// Clusters none of whose prompts has come yet.
    clusters: HashMap<u64, Cluster>,
    /// Keys of prompts and clusters that nothing can be made of.
    orphans: Vec<u64>,
    first_new: u64,
    /// The time of each partition, in requests.
    present: HashMap<PartitionKey, u64>,
    answers: Arc<Answers>,
    vectors: Arc<LocalStore>,
    keeping: Arc<Keeping>,
    stop: Arc<AtomicBool>,
}

impl Loader {
    fn run(mut self) {
        let keeping = Arc::clone(&self.keeping);
        let Some(journal) = keeping.journal() else { return };
        let (begun, mut prompts) = (Instant::now(), 0_u64);
        let done = journal.read_all(Table::Prompts, &mut |key, value| {
            let of = Of::read(key);
            // What came since the start is where it belongs.
            if of.id() < self.first_new && !self.stop.load(Ordering::Relaxed) {
                prompts += u64::from(self.put_back(of, value));
            }
        });
        if self.stop.load(Ordering::Relaxed) {
            return;
        }
        match done {
            Ok(()) => {
                let bare = self.clusters.into_keys().map(|id| Of::Cluster(id).key());
                bare.chain(self.orphans).for_each(|key| journal.remove(Table::Prompts, key));
                tracing::info!(prompts, took = ?begun.elapsed(), "prompts are back from the journal");
            }
            Err(error) => {
                keeping.lost();
                tracing::error!(%error, "not all prompts are back: the others are found letter by letter only");
            }
        }
    }

    /// Whether it was a prompt that is back.
    fn put_back(&mut self, of: Of, value: &[u8]) -> bool {
        match of {
            Of::Cluster(id) => match records::read_cluster(value) {
                Some((_, cluster)) => drop(self.clusters.insert(id, cluster)),
                None => self.orphans.push(of.key()),
            },
            Of::Entry(id) => {
                let prompt = self.entries.remove(&id).zip(records::read_prompt(value));
                let Some((entry, (vector, profile))) = prompt else {
                    self.orphans.push(of.key());
                    return false;
                };
                let entry = Arc::new(Entry { profile: profile.map(Arc::new), ..(*entry).clone() });
                let now = self.present.get(&entry.partition).copied().unwrap_or(0);
                let kept = self.clusters.remove(&entry.cluster);
                if !self.vectors.restore(&entry, &vector, kept, now) {
                    self.orphans.push(of.key());
                    return false;
                }
                // It may have gone while its vector was on the way; whoever took it out found none then.
                if !self.answers.touch(&entry) {
                    self.vectors.remove(&entry);
                }
                return true;
            }
        }
        false
    }
}
