//! What is remembered survives restarts and crashes: opaque records in one file, written behind the requests' backs.
//!
//! A [`Journal`] takes changes in memory and returns at once. Its thread gathers them for some milliseconds and writes
//! them as one transaction of `redb`, so that after a crash a record is there whole or not at all, and what is there
//! is the state after some earlier transaction, nothing in between. [`Journal::flush`] waits for the disk.
//!
//! | to read about | see |
//! |---|---|
//! | what waits, and what happens if that is too much | `queue` |
//! | batches, failures, trying again | `writer` |
//! | tables, and the seal on each record | `file` |
//! | opening: versions, damage, compaction | `opening` |
//! | the lock, and files set aside | `aside` |
//!
//! The journal is an aid. When its file is damaged or the disk is full the cache goes on in memory, and a start with a
//! damaged file is a start without one. What must not happen is the return of what was removed: a put may be dropped,
//! a removal never is.

mod aside;
mod backing;
mod error;
mod file;
mod opening;
mod queue;
#[cfg(test)]
mod tests;
mod writer;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;

pub use error::JournalError;

use aside::Lock;
use backing::Switches;
use error::Fault;
use queue::{Bounds, Queue};
use writer::Shared;

/// Two tables of records under numbers, apart so that a start can read the one before the other.
///
/// The caller gives the numbers, and never uses one again for something else in a file's life; a later put under the
/// same number is a later version of the same thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Table {
    /// What exact hits need.
    Answers,
    /// What only semantic hits need: vectors, mostly.
    Prompts,
}

impl Table {
    fn index(self) -> usize {
        match self {
            Self::Answers => 0,
            Self::Prompts => 1,
        }
    }
}

/// How a journal behaves.
#[derive(Clone, Debug)]
pub struct Options {
    /// What the records depend on, for instance the embedding model and the id of the keys' hash. A file of another
    /// fingerprint is set aside. It is stored as it is, so it must be no secret.
    pub fingerprint: String,
    /// How long changes are gathered before they are written.
    pub interval: Duration,
    /// So many waiting bytes are written at once.
    pub batch_bytes: usize,
    /// So many waiting records are written at once.
    pub batch_records: usize,
    /// Over so many bytes in memory, puts are dropped.
    pub queue_bytes: usize,
    /// Over so many waiting removals, all records of the file are removed instead.
    pub queue_removals: usize,
    /// How many files of each kind are kept aside, the latest ones; at least one.
    pub keep_aside: usize,
    /// A file of at least so many bytes, of which less than a third is used, is compacted when it is opened …
    pub compact_from: u64,
    /// … unless that takes longer.
    pub compact_within: Duration,
    /// Plays a full disk.
    #[cfg(test)]
    full: Arc<std::sync::atomic::AtomicBool>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            fingerprint: String::new(),
            interval: Duration::from_millis(50),
            batch_bytes: 4 << 20,
            batch_records: 2048,
            queue_bytes: 64 << 20,
            queue_removals: 1 << 20,
            keep_aside: 2,
            compact_from: 32 << 20,
            compact_within: Duration::from_secs(5),
            #[cfg(test)]
            full: Arc::default(),
        }
    }
}

impl Options {
    /// The usual options with this fingerprint.
    pub fn new(fingerprint: impl Into<String>) -> Self {
        Self { fingerprint: fingerprint.into(), ..Self::default() }
    }

    fn switches(&self) -> Switches {
        #[cfg(test)]
        return Switches::with_full(Arc::clone(&self.full));
        #[cfg(not(test))]
        Switches::default()
    }
}

/// What was found at the path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Opened {
    /// Nothing: the journal is new.
    Created,
    /// A journal, with so many records.
    Existing {
        /// Records of [`Table::Answers`].
        answers: u64,
        /// Records of [`Table::Prompts`].
        prompts: u64,
    },
    /// A file that can't be used. It has another name now, and the journal is new.
    SetAside {
        /// Its new name: `NAME.corrupt-<unix time>` if it is damaged, `NAME.other-<unix time>` if it has another
        /// fingerprint or format.
        moved_to: PathBuf,
        /// Why it can't be used.
        why: String,
    },
}

/// How the journal fares. All but the first two count from the start of the process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JournalStats {
    /// Changes that wait.
    pub queued: u64,
    /// Bytes that waiting changes take in memory, those being written included.
    pub queued_bytes: u64,
    /// Transactions written.
    pub commits: u64,
    /// Changes in them.
    pub written: u64,
    /// Bytes of content in them.
    pub written_bytes: u64,
    /// Attempts to write that failed. Their changes waited on.
    pub failures: u64,
    /// Puts dropped because too much waited.
    pub dropped: u64,
    /// How often all records were removed because too many removals waited.
    pub cleared: u64,
    /// How often the file was found damaged and set aside after it had been opened.
    pub set_aside: u64,
}

/// Records that survive the process. Cheap to call: only `open`, `read_…` and `flush` wait for the disk.
///
/// Dropping it writes what waits, once.
pub struct Journal {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    /// Let go of last.
    _lock: Lock,
}

impl fmt::Debug for Journal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Journal").field("path", &self.shared.path).field("stats", &self.stats()).finish()
    }
}

impl Journal {
    /// Opens or creates the journal at `path`, in a folder that exists, and checks all of it. `NAME.lock` is made beside it.
    ///
    /// What can't be used is renamed, and the journal is new: see [`Opened::SetAside`].
    ///
    /// # Errors
    /// [`JournalError::InUse`] if somebody else has it, [`JournalError::Io`] if the operating system refuses.
    pub fn open(path: &Path, options: Options) -> Result<(Self, Opened), JournalError> {
        let mut lock = Lock::take(path)?;
        let begun = opening::open(path, &options, &mut lock)?;
        let bounds = Bounds { bytes: options.queue_bytes, removals: options.queue_removals };
        let queue = Queue::new(bounds, begun.contents.highest);
        let shared = Arc::new(Shared::new(path.to_owned(), options, queue, begun.file));
        let writing = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("sluice-journal".to_owned());
        let thread = thread.spawn(move || writing.write());
        let thread = thread.map_err(|error| JournalError::io(path, "start the thread that writes", error))?;
        Ok((Self { shared, thread: Some(thread), _lock: lock }, begun.opened))
    }

    /// Remembers a record, in place of an earlier one under the same key. If too much waits already, neither is
    /// remembered, and [`JournalStats::dropped`] counts it.
    pub fn put(&self, table: Table, key: u64, value: Bytes) {
        self.shared.change(|queue| queue.put(table, key, value));
    }

    /// Forgets a record. It may have been on disk or still wait, or never have been.
    pub fn remove(&self, table: Table, key: u64) {
        self.shared.change(|queue| queue.remove(table, key));
    }

    /// Remembers a named blob in place of an earlier one. Names are meant to be few: blobs are never dropped.
    pub fn put_state(&self, name: &str, value: Bytes) {
        self.shared.change(|queue| queue.set_state(name, Some(value)));
    }

    /// Forgets a named blob.
    pub fn remove_state(&self, name: &str) {
        self.shared.change(|queue| queue.set_state(name, None));
    }

    /// Waits until everything before it is on disk. A put that was dropped is not.
    ///
    /// # Errors
    /// Why writing it failed. It is tried again all the same.
    pub fn flush(&self) -> Result<(), JournalError> {
        self.shared.flush()
    }

    /// Hands out all records of a table that are on disk, by ascending keys.
    ///
    /// # Errors
    /// [`JournalError::Damaged`] if the file was damaged after it had been opened; it was set aside then, and what had
    /// been handed out is right, but is not in the new file. [`JournalError::Io`] if the operating system refuses.
    pub fn read_all(&self, table: Table, each: &mut dyn FnMut(u64, &[u8])) -> Result<(), JournalError> {
        self.read(|file| file.read_all(table, each))
    }

    /// Hands out all named blobs that are on disk.
    ///
    /// # Errors
    /// As [`Journal::read_all`].
    pub fn read_state(&self, each: &mut dyn FnMut(&str, &[u8])) -> Result<(), JournalError> {
        self.read(|file| file.read_state(each))
    }

    fn read(&self, read: impl FnOnce(&file::JournalFile) -> Result<(), Fault>) -> Result<(), JournalError> {
        let closed = || {
            let why = std::io::Error::other("it is closed until it can be written again");
            JournalError::io(&self.shared.path, "read", why)
        };
        let file = self.shared.file().ok_or_else(closed)?;
        match read(&file) {
            Ok(()) => Ok(()),
            Err(Fault::Damaged(why)) => Err(self.shared.replace(&file, &why)),
            Err(Fault::Io(error)) => Err(JournalError::io(&self.shared.path, "read", error)),
        }
    }

    /// How it fares.
    pub fn stats(&self) -> JournalStats {
        let desk = self.shared.desk();
        JournalStats {
            queued: desk.queue.pending().len() as u64,
            queued_bytes: desk.queue.bytes() as u64,
            commits: desk.outcomes.commits,
            written: desk.outcomes.changes,
            written_bytes: desk.outcomes.bytes,
            failures: desk.outcomes.failures,
            dropped: desk.queue.dropped,
            cleared: desk.queue.cleared,
            set_aside: desk.outcomes.set_aside,
        }
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.shared.stop();
        // It panicked, or it has nothing to say.
        drop(self.thread.take().map(JoinHandle::join));
        self.shared.close();
    }
}
