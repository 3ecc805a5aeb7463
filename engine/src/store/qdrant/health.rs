//! Whether the server is there. One lookup that fails or takes too long is enough to do without it; it is asked in the
//! background then, and used again as soon as it answers in time.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

/// Pauses between two attempts.
const SHORTEST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(10);
/// Trouble so soon after the last makes the pauses longer.
const SOON: Duration = Duration::from_secs(15);

const CONNECTING: u8 = 0;
const UP: u8 = 1;
const DOWN: u8 = 2;

/// The state of the connection.
#[derive(Debug)]
pub(super) struct Health {
    state: AtomicU8,
    /// How often lookups did without the server because of trouble of their own.
    failures: AtomicU64,
    pace: Mutex<Pace>,
    /// Heard by whoever waits for trouble, or for its end.
    pub(super) changed: Notify,
}

#[derive(Debug)]
struct Pace {
    pause: Duration,
    came_up: Option<Instant>,
    /// What was said last, so that it is said once.
    said: String,
}

impl Default for Health {
    fn default() -> Self {
        Self {
            state: AtomicU8::new(CONNECTING),
            failures: AtomicU64::new(0),
            pace: Mutex::new(Pace { pause: SHORTEST, came_up: None, said: String::new() }),
            changed: Notify::new(),
        }
    }
}

impl Health {
    pub(super) fn is_up(&self) -> bool {
        self.state.load(Ordering::Acquire) == UP
    }

    pub(super) fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    /// A lookup failed. Says so once.
    pub(super) fn trip(&self, why: &str) {
        self.failures.fetch_add(1, Ordering::Relaxed);
        if self.state.swap(DOWN, Ordering::AcqRel) != UP {
            return;
        }
        let mut pace = self.pace.lock().unwrap_or_else(PoisonError::into_inner);
        if pace.came_up.is_none_or(|since| since.elapsed() >= SOON) {
            pace.pause = SHORTEST;
        }
        why.clone_into(&mut pace.said);
        drop(pace);
        tracing::warn!(why, "Qdrant is not to be had: the cache is bypassed until it is");
        self.changed.notify_waiters();
    }

    /// An attempt to reach it failed: how long to wait until the next. Says so if it is news.
    pub(super) fn still_down(&self, why: &str) -> Duration {
        let mut pace = self.pace.lock().unwrap_or_else(PoisonError::into_inner);
        if pace.said != why {
            why.clone_into(&mut pace.said);
            let again = if self.state.load(Ordering::Acquire) == DOWN { "still " } else { "" };
            tracing::warn!(why, "Qdrant is {again}not to be had: the cache is bypassed until it is");
        }
        self.state.store(DOWN, Ordering::Release);
        let pause = pace.pause;
        pace.pause = (pause * 2).min(LONGEST);
        pause
    }

    /// It answers.
    pub(super) fn came_up(&self) {
        let mut pace = self.pace.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.state.swap(UP, Ordering::AcqRel);
        pace.came_up = Some(Instant::now());
        pace.said.clear();
        drop(pace);
        if before == DOWN {
            tracing::info!("Qdrant is back: the cache is used again");
        }
        self.changed.notify_waiters();
    }
}
