//! The budget for asking again, so that a provider in trouble is not asked more and more.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// For about this time the right to ask again is kept.
const KEPT: Duration = Duration::from_secs(10);

/// A token bucket: each request puts a share of a token in, time puts some in, and asking again takes one out.
pub(super) struct Budget {
    ratio: f64,
    per_second: f64,
    state: Mutex<State>,
}

struct State {
    tokens: f64,
    filled: Option<Instant>,
}

impl Budget {
    /// `ratio` retries per request and `per_second` more.
    pub(super) fn new(ratio: f64, per_second: f64) -> Self {
        let tokens = per_second * KEPT.as_secs_f64();
        Self { ratio, per_second, state: Mutex::new(State { tokens, filled: None }) }
    }

    /// A request came.
    pub(super) fn request(&self, now: Instant) {
        self.with(now, |tokens| *tokens += self.ratio);
    }

    /// Whether it may be asked again.
    pub(super) fn retry(&self, now: Instant) -> bool {
        self.with(now, |tokens| {
            // Ten times a tenth is not quite one.
            let may = *tokens >= 1.0 - 1e-9;
            if may {
                *tokens -= 1.0;
            }
            may
        })
    }

    fn with<T>(&self, now: Instant, change: impl FnOnce(&mut f64) -> T) -> T {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let since = now.saturating_duration_since(state.filled.unwrap_or(now));
        state.filled = Some(state.filled.map_or(now, |filled| filled.max(now)));
        // What requests put in is forgotten by and by, what time puts in comes by and by.
        let rest = self.per_second * KEPT.as_secs_f64();
        state.tokens = rest + (state.tokens - rest) * (-since.as_secs_f64() / KEPT.as_secs_f64()).exp();
        change(&mut state.tokens)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many of so many requests at one time may each be asked again once.
    fn granted(budget: &Budget, requests: usize, now: Instant) -> usize {
        (0..requests)
            .filter(|_| {
                budget.request(now);
                budget.retry(now)
            })
            .count()
    }

    #[test]
    fn a_fifth_of_many_requests_and_a_few_per_second_may_be_asked_again() {
        let (budget, start) = (Budget::new(0.2, 3.0), Instant::now());
        assert_eq!(granted(&budget, 1000, start), 200 + 30, "what ten seconds give is there at the start");
        assert_eq!(granted(&budget, 10, start), 2);
        let later = start + Duration::from_secs(2);
        assert_eq!(granted(&budget, 10, later), 2 + 5);
    }

    #[test]
    fn what_was_not_used_for_long_is_no_right_to_a_storm() {
        let (budget, start) = (Budget::new(0.2, 3.0), Instant::now());
        (0..1000).for_each(|_| budget.request(start));
        let later = start + Duration::from_secs(120);
        assert_eq!((0..1000).filter(|_| budget.retry(later)).count(), 30);
    }

    #[test]
    fn without_a_budget_nothing_is_asked_again() {
        let budget = Budget::new(0.0, 0.0);
        assert_eq!(granted(&budget, 1000, Instant::now()), 0);
    }
}
