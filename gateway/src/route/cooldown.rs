//! Who asked to be left alone, and for how long.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long a credential is not used after what a provider said about it.
#[derive(Clone, Debug)]
pub(crate) struct Waits {
    /// Too many requests, without a word on when to come back. It doubles as long as that goes on.
    pub(crate) rate_limited: Duration,
    /// It is not accepted.
    pub(crate) refused: Duration,
    /// What it may spend is spent.
    pub(crate) quota: Duration,
    /// None of them is longer.
    pub(crate) longest: Duration,
}

/// Why something is left alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Why {
    /// Too many requests.
    RateLimited,
    /// It wants no more requests for a while, for another reason.
    Busy,
    /// What the credential may spend is spent.
    Spent,
    /// The credential is not accepted.
    Refused,
}

impl Why {
    /// Whether it passes by itself: waiting helps whoever asks.
    pub(super) fn passes(self) -> bool {
        matches!(self, Self::RateLimited | Self::Busy)
    }

    /// In a word, for clients and the log.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::RateLimited => "rate_limited",
            Self::Busy => "busy",
            Self::Spent => "quota_spent",
            Self::Refused => "key_refused",
        }
    }
}

/// Until when something is left alone, and why.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Rest {
    pub(super) until: Instant,
    pub(super) why: Why,
}

impl Rest {
    /// The one of two that tells more to who asks: what passes by itself, then what ends sooner.
    pub(super) fn or(self, other: Self) -> Self {
        let rank = |rest: &Self| (!rest.why.passes(), rest.until);
        if rank(&other) < rank(&self) { other } else { self }
    }
}

/// For how long something is left alone.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Cooldown {
    rest: Option<Rest>,
    /// How often in a row it was asked for without a time.
    in_a_row: u32,
}

impl Cooldown {
    /// Leaves it alone for as long as was asked for. It is never shortened.
    pub(super) fn asked(&mut self, wait: Duration, why: Why, now: Instant) {
        let until = now + wait;
        if self.rest.is_none_or(|rest| rest.until < until) {
            self.rest = Some(Rest { until, why });
        }
    }

    /// Leaves it alone for this time, twice as long as the last time if that was not enough.
    pub(super) fn again(&mut self, wait: Duration, longest: Duration, now: Instant) {
        if self.rest(now).is_some() {
            // Somebody else was told the same just now.
            return;
        }
        let wait = wait.saturating_mul(2_u32.saturating_pow(self.in_a_row)).min(longest);
        self.in_a_row = self.in_a_row.saturating_add(1);
        self.asked(wait, Why::RateLimited, now);
    }

    /// Until when and why, if it is not over.
    pub(super) fn rest(&self, now: Instant) -> Option<Rest> {
        self.rest.filter(|rest| now < rest.until)
    }
}

/// The cooldowns of one target, by the number of the provider's credential.
#[derive(Default)]
pub(super) struct Cooldowns(Mutex<Vec<Cooldown>>);

impl Cooldowns {
    fn all(&self) -> MutexGuard<'_, Vec<Cooldown>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the one of this credential.
    pub(super) fn change(&self, credential: usize, change: impl FnOnce(&mut Cooldown)) {
        let mut all = self.all();
        if all.len() <= credential {
            all.resize(credential + 1, Cooldown::default());
        }
        change(&mut all[credential]);
    }

    /// Until when and why this credential is left alone here, if it is.
    pub(super) fn rest(&self, credential: usize, now: Instant) -> Option<Rest> {
        self.all().get(credential)?.rest(now)
    }

    /// It was of use: what was before does not count.
    pub(super) fn forget(&self, credential: usize) {
        if let Some(cooldown) = self.all().get_mut(credential) {
            cooldown.in_a_row = 0;
        }
    }

    /// How many of them are left alone.
    pub(super) fn cooling(&self, now: Instant) -> usize {
        self.all().iter().filter(|cooldown| cooldown.rest(now).is_some()).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_wait_that_was_asked_for_is_kept_to_the_millisecond_and_never_shortened() {
        let (mut cooldown, now) = (Cooldown::default(), Instant::now());
        cooldown.asked(Duration::from_millis(1500), Why::Refused, now);
        cooldown.asked(Duration::from_millis(200), Why::RateLimited, now);
        assert_eq!(cooldown.rest(now + Duration::from_millis(1499)).unwrap().why, Why::Refused);
        assert!(cooldown.rest(now + Duration::from_millis(1500)).is_none());
    }

    #[test]
    fn without_a_time_the_wait_doubles_until_it_was_of_use_again() {
        let (cooldowns, start) = (Cooldowns::default(), Instant::now());
        let again = |now| cooldowns.change(1, |cooldown| cooldown.again(SECOND, 3 * SECOND, now));
        let left = |now: Instant| cooldowns.rest(1, now).map(|rest| rest.until - now);
        again(start);
        again(start);
        assert_eq!(left(start), Some(SECOND), "told twice at once counts once");
        let mut now = start + SECOND;
        for wait in [2, 3, 3] {
            assert_eq!(left(now), None);
            again(now);
            assert_eq!(left(now), Some(wait * SECOND));
            now += wait * SECOND;
        }
        cooldowns.forget(1);
        again(now);
        assert_eq!(left(now), Some(SECOND));
        assert_eq!((cooldowns.rest(0, now), cooldowns.cooling(now)), (None, 1));
    }

    #[test]
    fn of_several_rests_the_one_counts_that_passes_by_itself_soonest() {
        let now = Instant::now();
        let rest = |seconds: u32, why| Rest { until: now + seconds * SECOND, why };
        let (refused, busy) = (rest(1, Why::Refused), rest(9, Why::Busy));
        let limited = rest(4, Why::RateLimited);
        for order in [[refused, busy, limited], [limited, refused, busy], [busy, limited, refused]] {
            assert_eq!(order.into_iter().reduce(Rest::or), Some(limited));
        }
        assert_eq!(rest(2, Why::Spent).or(refused), refused);
    }
}
