//! The thread that writes.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::time::Duration;

use super::Shared;
use super::chain::{Chain, Remark};
use super::event::Event;
use crate::config::OnError;
use crate::telemetry::metrics::LineCounts;

/// About as many events are written at once.
const BATCH: usize = 1024;
/// How long until a write that failed is tried again.
const PAUSE: Duration = Duration::from_secs(1);

pub(super) enum Message {
    /// The events of one request.
    Events(Vec<Event>),
    /// Everything before it is to be written; then the other end is dropped.
    Flush(SyncSender<()>),
}

pub(super) struct Writer {
    chain: Chain,
    shared: Arc<Shared>,
    on_error: OnError,
    counts: LineCounts,
    /// What is to be written next; kept over a failure where nothing may be lost.
    pending: Vec<Event>,
}

impl Writer {
    pub(super) fn new(chain: Chain, shared: Arc<Shared>, on_error: OnError, counts: LineCounts) -> Self {
        Self { chain, shared, on_error, counts, pending: Vec::new() }
    }

    /// Writes until nobody can send any more.
    pub(super) fn run(mut self, messages: &Receiver<Message>) {
        loop {
            let retrying = !self.pending.is_empty();
            let first = if retrying {
                match messages.recv_timeout(PAUSE) {
                    Ok(message) => Some(message),
                    Err(RecvTimeoutError::Timeout) => None,
                    Err(RecvTimeoutError::Disconnected) => break,
                }
            } else {
                match messages.recv() {
                    Ok(message) => Some(message),
                    Err(_) => break,
                }
            };
            let (mut flushes, mut next) = (Vec::new(), first);
            while let Some(message) = next {
                match message {
                    Message::Events(events) => self.pending.extend(events),
                    Message::Flush(done) => flushes.push(done),
                }
                next = if self.pending.len() < BATCH { messages.try_recv().ok() } else { None };
            }
            self.write();
            // Now whoever waits for it need not any more.
            drop(flushes);
        }
        self.write();
        self.chain.tell("the audit log is closed");
    }

    fn write(&mut self) {
        let count = self.pending.len();
        let dropped = self.shared.dropped.load(Ordering::Relaxed);
        if count == 0 && dropped == 0 {
            return;
        }
        match self.append(dropped) {
            Ok(()) => {
                self.pending.clear();
                self.counts.written.inc_by(count as u64);
                self.shared.waiting.fetch_sub(count, Ordering::Relaxed);
                self.shared.dropped.fetch_sub(dropped, Ordering::Relaxed);
                if self.shared.failing.swap(false, Ordering::Relaxed) {
                    self.chain.tell("the audit log can be written again");
                }
            }
            Err(error) => self.failed(&error, count),
        }
    }

    fn append(&mut self, dropped: u64) -> io::Result<()> {
        self.chain.make_room()?;
        let (mut bytes, mut end) = (Vec::new(), self.chain.end());
        if dropped > 0 {
            end.append(Remark::new("gap", dropped), &mut bytes);
        }
        for event in &self.pending {
            end.append(event, &mut bytes);
        }
        self.chain.write(&bytes, end)
    }

    fn failed(&mut self, error: &io::Error, count: usize) {
        if !self.shared.failing.swap(true, Ordering::Relaxed) {
            let then = match self.on_error {
                OnError::Open => "events are lost; sluice_audit_events_total counts them",
                OnError::Closed => "requests are refused until it can",
            };
            tracing::error!(%error, "the audit log can't be written: {then}");
        }
        if self.on_error == OnError::Open {
            self.pending.clear();
            self.shared.waiting.fetch_sub(count, Ordering::Relaxed);
            let lost = u64::try_from(count).unwrap_or(u64::MAX);
            self.counts.failed.inc_by(lost);
            self.shared.dropped.fetch_add(lost, Ordering::Relaxed);
        }
    }
}
