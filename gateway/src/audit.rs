//! The audit log: one line for each decision of a guard, in a file in which every line holds the hash of the line before it.
//!
//! Lines never hold a value, a part of one, or a hash of one. They wait in a bounded queue and are written and synced by a
//! thread of their own, so that no request waits for a disk. What can't be kept is counted, and told in the log itself as a
//! gap, or refuses requests, as the operator says.

mod chain;
mod event;
pub mod export;
pub mod verify;
mod writer;

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

pub use event::{Event, Place, Subject};

use crate::chat::request::Secured;
use crate::config::{AuditSection, OnError};
use crate::error::ApiError;
use crate::telemetry::metrics::LineCounts;
use chain::Chain;
pub(crate) use chain::folder as folder_of;
use writer::{Message, Writer};

/// Longest that stopping waits for the disk.
const PATIENCE: Duration = Duration::from_secs(5);

/// Where events go.
pub struct Audit {
    queue: Mutex<Option<Sender<Message>>>,
    shared: Arc<Shared>,
    on_error: OnError,
    /// Events that may wait.
    most: usize,
    counts: LineCounts,
    thread: Option<JoinHandle<()>>,
}

/// What the thread and those who send to it know of each other.
#[derive(Default)]
struct Shared {
    /// Events that wait.
    waiting: AtomicUsize,
    /// Whether the file can't be written at the moment.
    failing: AtomicBool,
    /// Events that were given up and are not in the file's gaps yet.
    dropped: AtomicU64,
}

impl Audit {
    /// Opens the file, or goes on with one that is there.     ///
    /// # Errors
    /// The file or its lock can't be had, or what is there is no audit log; the sentence names the path.
    pub fn start(path: &Path, section: &AuditSection, counts: LineCounts) -> Result<Arc<Self>, String> {
        let chain = Chain::open(path, section.max_bytes.0)?;
        let shared = Arc::new(Shared::default());
        let (queue, messages) = channel();
        let writer = Writer::new(chain, Arc::clone(&shared), section.on_error, counts.clone());
        let thread = std::thread::Builder::new()
            .name("sluice-audit".to_owned())
            .spawn(move || writer.run(&messages))
            .map_err(|error: io::Error| format!("no thread to write it: {error}"))?;
        Ok(Arc::new(Self {
            queue: Mutex::new(Some(queue)),
            shared,
            on_error: section.on_error,
            most: section.queue,
            counts,
            thread: Some(thread),
        }))
    }

    /// Whether a request may go on: not while events can't be kept, if the operator says so.
    ///
    /// # Errors
    /// [`ApiError::AuditUnavailable`].
    pub fn ready(&self) -> Result<(), ApiError> {
        let closed = self.on_error == OnError::Closed && self.shared.failing.load(Ordering::Relaxed);
        if closed { Err(ApiError::AuditUnavailable) } else { Ok(()) }
    }

    /// Takes the events of one request, all or none.
    ///
    /// # Errors
    /// [`ApiError::AuditUnavailable`] if there is no room for them and there are to be no gaps.
    pub fn record(&self, events: Vec<Event>) -> Result<(), ApiError> {
        if events.is_empty() {
            return Ok(());
        }
        let count = events.len();
        // A request with more events than may wait is let in when it is alone.
        let room = |waiting: usize| {
            (waiting == 0 || waiting.saturating_add(count) <= self.most)
                .then(|| waiting.saturating_add(count))
        };
        let order = Ordering::Relaxed;
        let taken = self.shared.waiting.fetch_update(order, order, room).is_ok();
        if taken && self.send(Message::Events(events)) {
            return Ok(());
        }
        if self.on_error == OnError::Closed {
            return Err(ApiError::AuditUnavailable);
        }
        let lost = u64::try_from(count).unwrap_or(u64::MAX);
        self.counts.dropped.inc_by(lost);
        if self.shared.dropped.fetch_add(lost, Ordering::Relaxed) == 0 {
            tracing::error!(
                "the audit log's queue is full: events are lost; sluice_audit_events_total counts them"
            );
        }
        Ok(())
    }

    /// Records that nothing was sent, since a redacted value stood in it. Where there is no room for it the request is
    /// refused all the same.
    pub(crate) fn unsent(&self, secured: &Secured, entity: &'static str) {
        let event = Event::unsent(&secured.subject, entity);
        drop(self.record(vec![event]));
    }

    /// Waits until all events so far are on the disk, or it takes too long.
    pub fn flush(&self) {
        let (done, wait) = sync_channel(0);
        if self.send(Message::Flush(done)) {
            // The other end is dropped when it is its turn.
            let _ = wait.recv_timeout(PATIENCE);
        }
    }

    fn send(&self, message: Message) -> bool {
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue.as_ref().is_some_and(|queue| queue.send(message).is_ok())
    }
}

impl Drop for Audit {
    fn drop(&mut self) {
        // The thread writes what waits and ends; then the file's lock is free.
        drop(self.queue.lock().unwrap_or_else(PoisonError::into_inner).take());
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

#[cfg(test)]
mod tests;
