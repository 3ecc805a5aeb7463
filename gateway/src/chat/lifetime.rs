//! How long an answer is fresh, and how long after that it may still be served for want of a better one (RFC 5861).

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use sluice_engine::ExactKey;

use super::wishes::Wishes;
use crate::config::CacheSection;

/// What the operator allows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lifetimes {
    ttl: Duration,
    /// After its time, while a fresh answer is fetched.
    while_revalidate: Duration,
    /// After its time, when no provider answers.
    if_error: Duration,
}

/// Why a stale answer would be served.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Excuse {
    /// A fresh one is on its way.
    Revalidating,
    /// No provider answers.
    Error,
}

impl Lifetimes {
    pub(super) fn new(config: &CacheSection) -> Self {
        Self {
            ttl: config.ttl.0,
            while_revalidate: config.stale_while_revalidate.0,
            if_error: config.stale_if_error.0,
        }
    }

    /// Longer than any answer is kept.
    pub(super) fn longest(&self) -> Duration {
        self.ttl.mul_f64(1.1).saturating_add(self.while_revalidate.max(self.if_error))
    }

    /// How long an answer under this key is fresh, and how long it is kept. Answers that came together do not all go at the
    /// same time: the configured time is varied by up to a tenth, by the key. One with a time of its own has that, and none
    /// beyond it.
    pub(super) fn of(&self, key: &ExactKey, own: Option<Duration>) -> (Duration, Duration) {
        let mut hasher = DefaultHasher::new();
        key.hash(&mut hasher);
        let part = (hasher.finish() % 2001) as f64 / 10_000.0;
        let fresh = self.ttl.mul_f64(0.9 + part);
        let fresh = own.map_or(fresh, |own| own.min(fresh));
        // In whole milliseconds, as it is stored: what is kept no longer than it is fresh is then never stale.
        let fresh = Duration::from_millis(u64::try_from(fresh.as_millis()).unwrap_or(u64::MAX).max(1));
        match own {
            Some(_) => (fresh, fresh),
            None => (fresh, fresh.saturating_add(self.while_revalidate.max(self.if_error))),
        }
    }

    /// Whether an answer that has been stale for so long may be served to a request with these wishes. Who wants nothing
    /// older than some age wants nothing stale, unless it says so.
    pub(super) fn excuses(&self, stale_for: Duration, excuse: Excuse, wishes: &Wishes) -> bool {
        let (allowed, asked) = match excuse {
            Excuse::Revalidating => (self.while_revalidate, None),
            Excuse::Error => (self.if_error, wishes.stale_if_error),
        };
        let taken = match (wishes.max_stale, wishes.max_age) {
            (Some(limit), _) => stale_for <= limit,
            (None, Some(_)) => false,
            (None, None) => true,
        };
        wishes.serve && taken && stale_for < allowed && asked.is_none_or(|limit| stale_for <= limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Span;
    use sluice_engine::KeyHasher;

    const HOUR: Duration = Duration::from_secs(3600);

    fn lifetimes() -> Lifetimes {
        Lifetimes::new(&CacheSection {
            ttl: Span(10 * HOUR),
            stale_while_revalidate: Span(HOUR),
            stale_if_error: Span(2 * HOUR),
            ..CacheSection::default()
        })
    }

    #[test]
    fn lifetimes_are_spread_by_a_tenth_and_always_the_same_for_a_key() {
        let partition = KeyHasher::new(&[0; 32]).partition();
        let fresh = |n: u32| lifetimes().of(&partition.exact(&[&n.to_le_bytes()]), None).0;
        let all: Vec<Duration> = (0..500).map(fresh).collect();
        assert!(all.iter().all(|time| (9 * HOUR..=11 * HOUR).contains(time)));
        let below = all.iter().filter(|time| **time < 10 * HOUR).count();
        assert!((150..350).contains(&below), "{below} of 500 are below the middle");
        assert_eq!(fresh(7), all[7]);
        let (fresh, kept) = lifetimes().of(&partition.exact(&[]), None);
        assert_eq!(kept, fresh + 2 * HOUR);
        assert!(kept <= lifetimes().longest());
    }

    #[test]
    fn an_answer_with_a_time_of_its_own_is_kept_for_that_at_most() {
        let key = KeyHasher::new(&[0; 32]).partition().exact(&[]);
        assert_eq!(lifetimes().of(&key, Some(HOUR)), (HOUR, HOUR));
        assert!(lifetimes().of(&key, Some(99 * HOUR)).1 <= 11 * HOUR);
    }

    #[test]
    fn a_stale_answer_needs_an_excuse_that_both_sides_accept() {
        let half = HOUR / 2;
        let excused = |stale, excuse, wishes: &Wishes| lifetimes().excuses(stale, excuse, wishes);
        let any = Wishes::default();
        assert!(excused(half, Excuse::Revalidating, &any) && excused(half * 3, Excuse::Error, &any));
        assert!(!excused(half * 3, Excuse::Revalidating, &any) && !excused(half * 5, Excuse::Error, &any));
        let young = Wishes { max_age: Some(HOUR), ..Wishes::default() };
        assert!(!excused(half, Excuse::Error, &young));
        let patient = Wishes { max_stale: Some(HOUR), ..young };
        assert!(excused(half, Excuse::Error, &patient) && !excused(half * 3, Excuse::Error, &patient));
        let strict = Wishes { stale_if_error: Some(Duration::ZERO), ..Wishes::default() };
        assert!(!excused(half, Excuse::Error, &strict) && excused(half, Excuse::Revalidating, &strict));
        let fresh = Wishes { serve: false, ..Wishes::default() };
        assert!(!excused(half, Excuse::Error, &fresh));
    }
}
