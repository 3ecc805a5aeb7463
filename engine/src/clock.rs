//! Where time comes from: the system's clock, or one that a test moves by hand.

use std::sync::{PoisonError, RwLock};
use std::time::{Duration, SystemTime};

/// A source of the current time. Entries are stamped and judged expired by it.
pub trait Clock: Send + Sync {
    /// The current time.
    fn now(&self) -> SystemTime;
}

/// The clock of the machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> SystemTime {
        SystemTime::now()
    }
}

/// A clock that stands still until it is told to move: lets tests reach an expiry without waiting for it.
#[derive(Debug)]
pub struct ManualClock(RwLock<SystemTime>);

impl ManualClock {
    /// A clock that shows `start`.
    pub fn new(start: SystemTime) -> Self {
        Self(RwLock::new(start))
    }

    /// Moves the clock forward.
    pub fn advance(&self, by: Duration) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) += by;
    }
}

impl Default for ManualClock {
    /// A clock that starts at the time of the machine.
    fn default() -> Self {
        Self::new(SystemTime::now())
    }
}

impl Clock for ManualClock {
    fn now(&self) -> SystemTime {
        *self.0.read().unwrap_or_else(PoisonError::into_inner)
    }
}
