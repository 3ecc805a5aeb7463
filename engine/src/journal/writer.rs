//! The thread that writes: it takes what waits, makes one transaction of it, and tries again if that fails.

use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use super::error::{Fault, JournalError};
use super::file::JournalFile;
use super::queue::{Pending, Queue};
use super::{Options, opening};

/// The longest pause between two attempts while writing fails.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// What callers and the writer share.
pub(super) struct Shared {
    pub(super) path: PathBuf,
    pub(super) options: Options,
    pub(super) desk: Mutex<Desk>,
    /// Something to do for the writer.
    wake: Condvar,
    /// An attempt ended.
    done: Condvar,
    /// `None` while the file is closed after a failure.
    file: RwLock<Option<Arc<JournalFile>>>,
}

/// The queue, and what the two sides say to each other.
pub(super) struct Desk {
    pub(super) queue: Queue,
    pub(super) outcomes: Outcomes,
    /// Somebody waits in `flush`.
    urgent: bool,
    stop: bool,
    stopped: bool,
    /// All changes up to this one are on disk.
    durable: u64,
    /// Counts failed attempts, and says how far the last of them went, and why it failed.
    failed: (u64, u64, Option<JournalError>),
    /// No attempt before this moment, unless somebody waits.
    not_before: Option<Instant>,
    /// The pause before it.
    pause: Duration,
}

/// What became of the batches so far.
#[derive(Clone, Copy, Default)]
pub(super) struct Outcomes {
    pub(super) commits: u64,
    pub(super) changes: u64,
    pub(super) bytes: u64,
    pub(super) failures: u64,
    pub(super) set_aside: u64,
}

impl Shared {
    pub(super) fn new(path: PathBuf, options: Options, queue: Queue, file: JournalFile) -> Self {
        let desk = Desk {
            queue,
            outcomes: Outcomes::default(),
            urgent: false,
            stop: false,
            stopped: false,
            durable: 0,
            failed: (0, 0, None),
            not_before: None,
            pause: Duration::ZERO,
        };
        let file = RwLock::new(Some(Arc::new(file)));
        Self { path, options, desk: Mutex::new(desk), wake: Condvar::new(), done: Condvar::new(), file }
    }

    /// The desk is usable whatever its last holder did: each change to it is whole before anything can panic.
    pub(super) fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets `change` touch the queue, and wakes the writer if it has something new to decide.
    pub(super) fn change(&self, change: impl FnOnce(&mut Queue)) {
        let mut desk = self.desk();
        let (idle, full) = (desk.queue.pending().is_empty(), self.is_full(&desk.queue));
        change(&mut desk.queue);
        let news = idle || (!full && self.is_full(&desk.queue));
        drop(desk);
        if news {
            self.wake.notify_one();
        }
    }

    fn is_full(&self, queue: &Queue) -> bool {
        let pending = queue.pending();
        pending.bytes() >= self.options.batch_bytes || pending.len() >= self.options.batch_records
    }

    /// Waits until all that was accepted so far is on disk, or an attempt to write it failed.
    pub(super) fn flush(&self) -> Result<(), JournalError> {
        let mut desk = self.desk();
        let (target, failures) = (desk.queue.accepted, desk.failed.0);
        while desk.durable < target {
            if desk.stopped {
                return Err(JournalError::Stopped { path: self.path.clone() });
            }
            if let (count, through, Some(error)) = &desk.failed
                && *count > failures
                && *through >= target
            {
                return Err(error.clone());
            }
            desk.urgent = true;
            self.wake.notify_one();
            desk = self.done.wait(desk).unwrap_or_else(PoisonError::into_inner);
        }
        Ok(())
    }

    /// Asks the writer to write what waits, once, and to end.
    pub(super) fn stop(&self) {
        self.desk().stop = true;
        self.wake.notify_one();
    }

    fn wait_for_work(&self) -> MutexGuard<'_, Desk> {
        let mut desk = self.desk();
        loop {
            let now = Instant::now();
            let Some(due) = self.due(&desk, now) else {
                desk = self.wake.wait(desk).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            if due <= now {
                return desk;
            }
            let woken = self.wake.wait_timeout(desk, due - now);
            desk = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// When the next attempt is due; `None` if nothing waits.
    fn due(&self, desk: &Desk, now: Instant) -> Option<Instant> {
        if desk.stop || desk.urgent {
            return Some(now);
        }
        if desk.queue.pending().is_empty() {
            return None;
        }
        let since = desk.queue.pending().since().unwrap_or(now);
        let due = if self.is_full(&desk.queue) { now } else { since + self.options.interval };
        Some(desk.not_before.map_or(due, |moment| moment.max(due)))
    }

    /// The writer's life.
    pub(super) fn write(&self) {
        // Says so on the way out, also if that is a panic.
        let _ended = Ended(self);
        loop {
            let mut desk = self.wait_for_work();
            let last = desk.stop;
            desk.urgent = false;
            let through = desk.queue.accepted;
            let batch = desk.queue.take();
            drop(desk);
            let result = if batch.is_empty() { Ok(()) } else { self.attempt(&batch) };
            self.settle(batch, through, result);
            if last {
                return;
            }
        }
    }

    fn attempt(&self, batch: &Pending) -> Result<(), JournalError> {
        let file = self.opened()?;
        match file.commit(batch) {
            Ok(()) => Ok(()),
            Err(Fault::Damaged(why)) => {
                let error = self.replace(&file, &why);
                // The new file can take the batch at once, unless there is none.
                let Ok(file) = self.opened() else { return Err(error) };
                file.commit(batch).map_err(|_| error)
            }
            Err(Fault::Io(source)) => {
                // redb refuses all further work on a database whose write failed: it must be opened anew.
                file.retire();
                self.put_file(None);
                Err(JournalError::io(&self.path, "write", source))
            }
        }
    }

    /// The file, opened anew if it was closed.
    fn opened(&self) -> Result<Arc<JournalFile>, JournalError> {
        if let Some(file) = self.file() {
            return Ok(file);
        }
        let file = match opening::reopen(&self.path, &self.options) {
            Ok(file) => file,
            Err(Fault::Damaged(why)) => {
                let (file, _) = opening::replace_damaged(&self.path, &self.options, &why)?;
                self.desk().outcomes.set_aside += 1;
                file
            }
            Err(Fault::Io(source)) => return Err(JournalError::io(&self.path, "open", source)),
        };
        let file = Arc::new(file);
        self.put_file(Some(Arc::clone(&file)));
        Ok(file)
    }

    /// Sets the file aside that turned out to be damaged, and says what became of it.
    pub(super) fn replace(&self, damaged: &Arc<JournalFile>, why: &str) -> JournalError {
        let mut slot = self.file.write().unwrap_or_else(PoisonError::into_inner);
        damaged.retire();
        if !slot.as_ref().is_some_and(|file| Arc::ptr_eq(file, damaged)) {
            // Somebody else was faster, and named it in the log.
            return JournalError::Damaged { moved_to: None, why: why.to_owned() };
        }
        *slot = None;
        match opening::replace_damaged(&self.path, &self.options, why) {
            Ok((file, moved_to)) => {
                *slot = Some(Arc::new(file));
                drop(slot);
                self.desk().outcomes.set_aside += 1;
                JournalError::Damaged { moved_to: Some(moved_to), why: why.to_owned() }
            }
            Err(error) => error,
        }
    }

    /// The open file, if it is open.
    pub(super) fn file(&self) -> Option<Arc<JournalFile>> {
        self.file.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn put_file(&self, file: Option<Arc<JournalFile>>) {
        *self.file.write().unwrap_or_else(PoisonError::into_inner) = file;
    }

    /// Counts what became of a batch, and wakes who waits for it.
    fn settle(&self, batch: Pending, through: u64, result: Result<(), JournalError>) {
        let content = batch.content();
        let mut desk = self.desk();
        let was_failing = desk.not_before.is_some();
        match result {
            Ok(()) => {
                if !batch.is_empty() {
                    desk.outcomes.commits += 1;
                    desk.outcomes.changes += batch.len() as u64;
                    desk.outcomes.bytes += content;
                    desk.not_before = None;
                }
                desk.durable = through;
                desk.queue.written();
                if was_failing && desk.not_before.is_none() {
                    tracing::info!(journal = %self.path.display(), "the journal is written again");
                }
            }
            Err(error) => {
                desk.queue.not_written(batch);
                if !was_failing {
                    tracing::error!(%error, "the journal can't be written: the cache goes on in memory, and tries again");
                }
                desk.outcomes.failures += 1;
                let count = desk.failed.0 + 1;
                // Twice as long after each failure in a row.
                let pause = if was_failing { desk.pause * 2 } else { self.options.interval };
                desk.pause = pause.clamp(Duration::from_millis(1), LONGEST_PAUSE);
                desk.not_before = Some(Instant::now() + desk.pause);
                desk.failed = (count, through, Some(error));
            }
        }
        drop(desk);
        self.done.notify_all();
    }

    /// Closes the file when nobody writes any more.
    pub(super) fn close(&self) {
        self.put_file(None);
    }
}

/// Tells those who wait that nobody writes any more.
struct Ended<'s>(&'s Shared);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        self.0.desk().stopped = true;
        self.0.done.notify_all();
    }
}
