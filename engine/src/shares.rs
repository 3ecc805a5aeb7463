//! Each owner's share of the memory, so that nobody pushes out what others have stored. Who goes beyond it loses entries of
//! its own, chosen as those of the whole store are: by moka's W-TinyLFU, over the owner's entries alone.
//!
//! A share holds keys and weights, the store holds the entries. Neither calls the other: what one drops is noted here, and
//! the store brings both into line when it is in no call of moka's (`Answers::settle`). A share makes room before an entry is
//! stored: were it to do so later, a burst of entries would be made room for in the store, by those of others.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use moka::notification::RemovalCause;
use moka::sync::Cache;

use crate::entry::Entry;
use crate::partition::ExactKey;

/// The shares of all owners, all of one size.
pub(crate) struct Shares {
    max_bytes: u64,
    owners: RwLock<HashMap<u64, Share>>,
    /// What went out of the store.
    left: Mutex<Vec<Gone>>,
    /// What a share has no room for.
    over: Arc<Mutex<Vec<Gone>>>,
}

type Share = Cache<ExactKey, Mark>;

/// An entry as its share knows it.
#[derive(Clone)]
struct Mark {
    id: u64,
    weight: u32,
}

/// An entry that is gone from store or share.
pub(crate) struct Gone {
    pub(crate) exact: ExactKey,
    pub(crate) id: u64,
    owner: u64,
}

impl Shares {
    pub(crate) fn new(max_bytes: u64) -> Self {
        Self { max_bytes, owners: RwLock::default(), left: Mutex::default(), over: Arc::default() }
    }

    fn get(&self, owner: u64) -> Option<Share> {
        self.owners.read().unwrap_or_else(PoisonError::into_inner).get(&owner).cloned()
    }

    fn get_or_create(&self, owner: u64) -> Share {
        let create = || {
            let over = Arc::clone(&self.over);
            Cache::builder()
                .max_capacity(self.max_bytes)
                .weigher(|_, mark: &Mark| mark.weight)
                .eviction_listener(move |exact: Arc<ExactKey>, mark: Mark, cause| {
                    if cause == RemovalCause::Size {
                        let gone = Gone { exact: *exact, id: mark.id, owner };
                        over.lock().unwrap_or_else(PoisonError::into_inner).push(gone);
                    }
                })
                .build()
        };
        self.get(owner).unwrap_or_else(|| {
            let mut owners = self.owners.write().unwrap_or_else(PoisonError::into_inner);
            owners.entry(owner).or_insert_with(create).clone()
        })
    }

    /// Counts an entry that is about to be stored, and makes room for it; the caller holds the lock of its key.
    pub(crate) fn add(&self, entry: &Entry) {
        let share = self.get_or_create(entry.owner);
        // Whoever stores it was asked for it: what comes again and again is let in, though it was not the first time.
        share.get(&entry.exact);
        // Not updated in place, for the reason that the store has.
        share.invalidate(&entry.exact);
        share.insert(entry.exact, Mark { id: entry.id, weight: entry.weight });
        share.run_pending_tasks();
    }

    /// Whether the entry is counted: there is room for it, and no later one has come under its key.
    pub(crate) fn has(&self, entry: &Entry) -> bool {
        let mark = self.get(entry.owner).and_then(|share| share.get(&entry.exact));
        mark.is_some_and(|mark| mark.id == entry.id)
    }

    /// The entry was asked for.
    pub(crate) fn used(&self, entry: &Entry) {
        if let Some(share) = self.get(entry.owner) {
            share.get(&entry.exact);
        }
    }

    /// Hears that the entry went out of the store; may be called from inside it.
    pub(crate) fn left(&self, entry: &Entry) {
        let gone = Gone { exact: entry.exact, id: entry.id, owner: entry.owner };
        self.left.lock().unwrap_or_else(PoisonError::into_inner).push(gone);
    }

    /// What store and shares have still to tell each other: what left the store, and what has to leave it.
    pub(crate) fn unsettled(&self) -> (Vec<Gone>, Vec<Gone>) {
        let take = |list: &Mutex<Vec<Gone>>| {
            std::mem::take(&mut *list.lock().unwrap_or_else(PoisonError::into_inner))
        };
        (take(&self.left), take(&self.over))
    }

    /// Counts an entry no more; the caller holds the lock of its key.
    pub(crate) fn remove(&self, gone: &Gone) {
        let Some(share) = self.get(gone.owner) else { return };
        if share.get(&gone.exact).is_some_and(|mark| mark.id == gone.id) {
            share.invalidate(&gone.exact);
        }
    }

    /// Does the housekeeping of every share.
    pub(crate) fn run_pending(&self) {
        let all: Vec<Share> =
            self.owners.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect();
        all.iter().for_each(Cache::run_pending_tasks);
    }

    /// Entries and bytes of an owner, as of the last housekeeping.
    #[cfg(test)]
    pub(crate) fn size(&self, owner: u64) -> (u64, u64) {
        self.get(owner).map_or((0, 0), |share| (share.entry_count(), share.weighted_size()))
    }
}
