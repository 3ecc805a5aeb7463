//! The answers themselves, under their exact keys: bounded in bytes and in time by moka (W-TinyLFU), with a second way in
//! by the normalised key.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use moka::Expiry;
use moka::sync::Cache;

use crate::clock::Clock;
use crate::entry::Entry;
use crate::partition::ExactKey;
use crate::shares::Shares;

/// Rounds of housekeeping after which the store is taken to be as tidy as it gets.
const MAX_ROUNDS: usize = 64;
/// Locks among which the keys are divided while they are written.
const WRITERS: usize = 64;

/// Which entry a normalised key leads to.
struct Alias {
    exact: ExactKey,
    id: u64,
}

type Aliases = RwLock<HashMap<ExactKey, Alias>>;

/// All entries, by exact key.
pub(crate) struct Answers {
    cache: Cache<ExactKey, Arc<Entry>>,
    aliases: Arc<Aliases>,
    writers: [Mutex<()>; WRITERS],
    shares: Option<Arc<Shares>>,
    /// Lets go of what else belongs to an entry.
    on_removed: Arc<dyn Fn(&Entry) + Send + Sync>,
}

/// Frees the memory of entries whose time is over. Lookups judge expiry themselves, by the cache's own clock.
struct Reclaim(Arc<dyn Clock>);

impl Expiry<ExactKey, Arc<Entry>> for Reclaim {
    fn expire_after_create(&self, _: &ExactKey, entry: &Arc<Entry>, _: Instant) -> Option<Duration> {
        // One that was kept over a restart has lived for a while.
        let begin = entry.created.max(self.0.now());
        Some(entry.expires_at.duration_since(begin).unwrap_or_default())
    }
}

impl Answers {
    /// A store of up to `max_bytes`, by the entries' weight, of which each owner has at most its share, and in which they age by
    /// `clock`; copies of what lies elsewhere go after a time of their own. `on_removed` hears of every entry that goes, once, for whatever reason; it is called from inside the store and
    /// must not call it.
    pub(crate) fn new(
        max_bytes: u64,
        shares: Option<Shares>,
        (clock, copies_for): (Arc<dyn Clock>, Option<Duration>),
        on_removed: impl Fn(&Entry) + Send + Sync + 'static,
    ) -> Self {
        let shares = shares.map(Arc::new);
        let aliases: Arc<Aliases> = Arc::default();
        let (shares_of_removed, aliases_of_removed) = (shares.clone(), Arc::clone(&aliases));
        let on_removed: Arc<dyn Fn(&Entry) + Send + Sync> = Arc::new(move |entry: &Entry| {
            forget(&aliases_of_removed, entry);
            shares_of_removed.iter().for_each(|shares| shares.left(entry));
            on_removed(entry);
        });
        let heard = Arc::clone(&on_removed);
        let cache = Cache::builder()
            .max_capacity(max_bytes)
            .weigher(|_, entry: &Arc<Entry>| entry.weight)
            .expire_after(Reclaim(clock))
            .eviction_listener(move |_, entry: Arc<Entry>, _| heard(&entry));
        let cache = match copies_for {
            Some(age) => cache.time_to_live(age).build(),
            None => cache.build(),
        };
        Self { cache, aliases, writers: std::array::from_fn(|_| Mutex::default()), shares, on_removed }
    }

    pub(crate) fn insert(&self, entry: Arc<Entry>) {
        // The alias first: were the entry refused at once, its removal would otherwise come before the alias.
        self.name(&entry);
        // An entry is never updated in place: moka 0.12 subtracts the new weight for the old value if it evicts the entry
        // before it has noticed the update, and its idea of the total drifts away from the truth for good.
        let writer = &self.writers[entry.exact.stripe(WRITERS)];
        let lock = || writer.lock().unwrap_or_else(PoisonError::into_inner);
        let mut writing = lock();
        self.cache.invalidate(&entry.exact);
        if let Some(shares) = &self.shares {
            // The owner makes room before the entry comes, or the store would make it, at the expense of others.
            shares.add(&entry);
            drop(writing);
            self.settle();
            writing = lock();
            if !shares.has(&entry) {
                drop(writing);
                return (self.on_removed)(&entry);
            }
        }
        self.cache.insert(entry.exact, entry);
        drop(writing);
    }

    /// Puts back an entry that was kept, into a store that has none under its key.
    pub(crate) fn restore(&self, entry: Arc<Entry>) {
        self.name(&entry);
        self.shares.iter().for_each(|shares| shares.add(&entry));
        self.cache.insert(entry.exact, entry);
    }

    /// Lets the entry be the one that is found by its normalised form.
    pub(crate) fn name(&self, entry: &Entry) {
        if let Some(normalised) = entry.normalised {
            let alias = Alias { exact: entry.exact, id: entry.id };
            self.aliases.write().unwrap_or_else(PoisonError::into_inner).insert(normalised, alias);
        }
    }

    pub(crate) fn get(&self, key: &ExactKey) -> Option<Arc<Entry>> {
        self.cache.get(key).inspect(|entry| self.used(entry))
    }

    /// Tells the owner's share, too, that the entry is wanted.
    fn used(&self, entry: &Entry) {
        self.shares.iter().for_each(|shares| shares.used(entry));
    }

    /// Brings store and shares into line: what left the one leaves the other. Says whether there was anything.
    fn settle(&self) -> bool {
        let Some(shares) = &self.shares else { return false };
        let (left, over) = shares.unsettled();
        for gone in &left {
            let _writing =
                self.writers[gone.exact.stripe(WRITERS)].lock().unwrap_or_else(PoisonError::into_inner);
            shares.remove(gone);
        }
        for gone in &over {
            let _writing =
                self.writers[gone.exact.stripe(WRITERS)].lock().unwrap_or_else(PoisonError::into_inner);
            if self.cache.get(&gone.exact).is_some_and(|stored| stored.id == gone.id) {
                self.cache.invalidate(&gone.exact);
            }
        }
        !left.is_empty() || !over.is_empty()
    }

    pub(crate) fn get_normalised(&self, key: &ExactKey) -> Option<Arc<Entry>> {
        let (exact, id) = {
            let aliases = self.aliases.read().unwrap_or_else(PoisonError::into_inner);
            let alias = aliases.get(key)?;
            (alias.exact, alias.id)
        };
        self.get(&exact).filter(|entry| entry.id == id)
    }

    /// Whether this very entry is still stored. Counts as a use of it.
    pub(crate) fn touch(&self, entry: &Entry) -> bool {
        self.get(&entry.exact).is_some_and(|stored| stored.id == entry.id)
    }

    /// Takes this very entry out, if it is still stored.
    pub(crate) fn remove(&self, entry: &Entry) {
        let _writing =
            self.writers[entry.exact.stripe(WRITERS)].lock().unwrap_or_else(PoisonError::into_inner);
        if self.touch(entry) {
            self.cache.invalidate(&entry.exact);
        }
    }

    /// The number of entries and their weight, as of the last housekeeping.
    pub(crate) fn size(&self) -> (u64, u64) {
        (self.cache.entry_count(), self.cache.weighted_size())
    }

    /// Does the housekeeping that is due: expired and superfluous entries go, counters are brought up to date.
    pub(crate) fn run_pending(&self) {
        let mut size = self.size();
        for _ in 0..MAX_ROUNDS {
            self.cache.run_pending_tasks();
            self.shares.iter().for_each(|shares| shares.run_pending());
            let settled = self.settle();
            if std::mem::replace(&mut size, self.size()) == size && !settled {
                break;
            }
        }
    }

    /// Removes everything that is stored at the moment of the call.
    pub(crate) fn clear(&self) {
        for (key, _) in &self.cache {
            self.cache.invalidate(key.as_ref());
        }
        self.run_pending();
    }

    /// Removes the entries that `select` chooses, or leaves them; says how many there are.
    pub(crate) fn remove_where(&self, select: &dyn Fn(&Entry) -> bool, leave: bool) -> u64 {
        let mut chosen = 0;
        for (key, entry) in self.cache.iter().filter(|(_, entry)| select(entry)) {
            chosen += 1;
            let _writing = self.writers[key.stripe(WRITERS)].lock().unwrap_or_else(PoisonError::into_inner);
            // Another one may have come under the key meanwhile.
            let is_it = |stored: Arc<Entry>| stored.id == entry.id;
            if !leave && self.cache.get(key.as_ref()).is_some_and(is_it) {
                self.cache.invalidate(key.as_ref());
            }
        }
        self.run_pending();
        chosen
    }

    /// All that is stored, expired or not.
    pub(crate) fn entries(&self) -> Vec<Arc<Entry>> {
        self.cache.iter().map(|(_, entry)| entry).collect()
    }

    #[cfg(test)]
    pub(crate) fn shares(&self) -> Option<&Shares> {
        self.shares.as_deref()
    }

    #[cfg(test)]
    pub(crate) fn alias_count(&self) -> usize {
        self.aliases.read().unwrap_or_else(PoisonError::into_inner).len()
    }
}

/// Takes the entry's alias away, unless it leads to a later entry by now.
fn forget(aliases: &Aliases, entry: &Entry) {
    let Some(normalised) = entry.normalised else { return };
    let mut aliases = aliases.write().unwrap_or_else(PoisonError::into_inner);
    if aliases.get(&normalised).is_some_and(|alias| alias.id == entry.id) {
        aliases.remove(&normalised);
    }
}
