//! A circuit breaker: who failed so often in a row is left alone for a while, then tried by one.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::config::BreakerSection;

/// Opens after so many failures in a row; one that tries whether it may close again goes through after a pause that grows.
pub(super) struct Breaker {
    failures: u32,
    pause: Duration,
    longest: Duration,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// In a row.
    failures: u32,
    open: Option<Open>,
}

struct Open {
    until: Instant,
    pause: Duration,
    /// Somebody is trying.
    probed: bool,
}

/// The right to ask. Dropped without a word it leaves everything as it was.
pub(super) struct Pass<'b> {
    breaker: &'b Breaker,
    probes: bool,
    told: bool,
}

impl Breaker {
    pub(super) fn new(section: &BreakerSection) -> Self {
        let BreakerSection { failures, pause, max_pause } = section;
        let state = Mutex::default();
        Self { failures: *failures, pause: pause.0, longest: max_pause.0, state }
    }

    /// The right to ask now; none if it is open.
    pub(super) fn enter(&self, now: Instant) -> Option<Pass<'_>> {
        let mut state = self.state();
        let probes = match &mut state.open {
            None => false,
            Some(open) if open.probed || now < open.until => return None,
            Some(open) => {
                open.probed = true;
                true
            }
        };
        Some(Pass { breaker: self, probes, told: false })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pass<'_> {
    /// It answered as it should.
    pub(super) fn succeeded(mut self) {
        self.told = true;
        *self.breaker.state() = State::default();
    }

    /// It did not.
    pub(super) fn failed(mut self, now: Instant) {
        self.told = true;
        let breaker = self.breaker;
        let mut state = breaker.state();
        let state = &mut *state;
        state.failures = state.failures.saturating_add(1);
        match &mut state.open {
            Some(open) if self.probes => {
                let pause = open.pause.saturating_mul(2).min(breaker.longest);
                *open = Open { until: now + pause, pause, probed: false };
            }
            // Asked before it opened.
            Some(_) => {}
            None if state.failures >= breaker.failures => {
                let pause = breaker.pause;
                state.open = Some(Open { until: now + pause, pause, probed: false });
            }
            None => {}
        }
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        if self.probes
            && !self.told
            && let Some(open) = &mut self.breaker.state().open
        {
            open.probed = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Span;

    fn breaker(failures: u32) -> Breaker {
        let (pause, max_pause) = (Span::seconds(2), Span::seconds(5));
        Breaker::new(&BreakerSection { failures, pause, max_pause })
    }

    #[test]
    fn it_opens_after_failures_in_a_row_and_one_success_forgets_them() {
        let (breaker, now) = (breaker(3), Instant::now());
        let outcomes = [false, false, true, false, false];
        for success in outcomes {
            let pass = breaker.enter(now).unwrap();
            if success { pass.succeeded() } else { pass.failed(now) }
        }
        breaker.enter(now).unwrap().failed(now);
        assert!(breaker.enter(now).is_none());
    }

    #[test]
    fn one_at_a_time_tries_after_a_pause_that_grows_to_its_longest() {
        let (breaker, start) = (breaker(1), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        breaker.enter(at(0)).unwrap().failed(at(0));
        assert!(breaker.enter(at(1)).is_none());
        let probe = breaker.enter(at(2)).unwrap();
        assert!(breaker.enter(at(2)).is_none(), "one tries, the others do not wait for it");
        probe.failed(at(2));
        assert!(breaker.enter(at(5)).is_none());
        breaker.enter(at(6)).unwrap().failed(at(6));
        assert!(breaker.enter(at(10)).is_none());
        breaker.enter(at(11)).unwrap().succeeded();
        let (one, two) = (breaker.enter(at(11)), breaker.enter(at(11)));
        assert!(one.is_some() && two.is_some());
    }

    #[test]
    fn a_try_that_was_given_up_leaves_it_to_the_next() {
        let (breaker, start) = (breaker(1), Instant::now());
        breaker.enter(start).unwrap().failed(start);
        let later = start + Duration::from_secs(3);
        drop(breaker.enter(later));
        assert!(breaker.enter(later).is_some());
    }

    #[test]
    fn what_was_asked_before_it_opened_neither_prolongs_nor_closes_the_pause_when_it_fails() {
        let (breaker, start) = (breaker(1), Instant::now());
        let (one, two) = (breaker.enter(start).unwrap(), breaker.enter(start).unwrap());
        one.failed(start);
        two.failed(start + Duration::from_secs(1));
        assert!(breaker.enter(start + Duration::from_secs(2)).is_some());
    }
}
