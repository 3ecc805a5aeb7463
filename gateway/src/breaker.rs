//! A circuit breaker: who fails too often is left alone for a while, then tried by one.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Into so many parts the window of the failure rate is cut: it moves by one of them.
const SLOTS: usize = 10;

/// When a breaker opens, and for how long.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// So many failures in a row open it.
    pub(crate) failures: u32,
    /// Such a share of failures opens it, too.
    pub(crate) rate: Option<Rate>,
    /// After this one tries whether it may close again.
    pub(crate) pause: Duration,
    /// Each failed try doubles the pause, up to this.
    pub(crate) longest: Duration,
}

/// A share of failures that is too much.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rate {
    /// From 0 to 1.
    pub(crate) share: f64,
    /// Of fewer requests nothing can be said.
    pub(crate) least: u32,
    /// Over this time.
    pub(crate) window: Duration,
}

/// Opens after failures; one that tries whether it may close again goes through after a pause that grows.
pub(crate) struct Breaker {
    settings: Settings,
    state: Mutex<State>,
}

struct State {
    /// In a row.
    failures: u32,
    recent: Window,
    open: Option<Open>,
    /// The pause before it closed, until it has proved itself: the next one is twice as long.
    trial: Option<Duration>,
    /// When it closed again.
    closed: Option<Instant>,
}

struct Open {
    until: Instant,
    pause: Duration,
    /// Somebody is trying.
    probed: bool,
}

/// How a breaker stands.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Standing {
    /// Everybody goes through.
    Closed,
    /// One may try.
    HalfOpen,
    /// Nobody goes through, or one is trying.
    Open,
}

/// The right to ask, to be settled with the breaker that gave it.
#[derive(Debug)]
pub(crate) struct Ticket {
    kind: Kind,
    /// It counts as a request already.
    counted: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Regular,
    /// Tries whether the breaker may close.
    Probe,
    /// Went through although it was open.
    Forced,
}

impl Ticket {
    /// Whether it tries if the breaker may close.
    pub(crate) fn is_probe(&self) -> bool {
        self.kind == Kind::Probe
    }
}

/// How asking ended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Outcome {
    /// As it should.
    Succeeded,
    /// Not so.
    Failed,
    /// Nothing is known: everything stays as it was.
    GivenUp,
}

/// A [`Ticket`] that settles itself. Dropped without a word it leaves everything as it was.
pub(crate) struct Pass<'b> {
    breaker: &'b Breaker,
    ticket: Option<Ticket>,
}

impl Breaker {
    pub(crate) fn new(settings: Settings) -> Self {
        let recent = Window::default();
        let state = State { failures: 0, recent, open: None, trial: None, closed: None };
        Self { settings, state: Mutex::new(state) }
    }

    /// The right to ask now; none if it is open.
    pub(crate) fn enter(&self, now: Instant) -> Option<Pass<'_>> {
        self.admit(now).map(|ticket| Pass { breaker: self, ticket: Some(ticket) })
    }

    /// [`Breaker::enter`] for who keeps the breaker himself, and settles with it.
    pub(crate) fn admit(&self, now: Instant) -> Option<Ticket> {
        let kind = match &mut self.state().open {
            None => Kind::Regular,
            Some(open) if open.probed || now < open.until => return None,
            Some(open) => {
                open.probed = true;
                Kind::Probe
            }
        };
        Some(Ticket { kind, counted: false })
    }

    /// The right to ask although it may be open.
    pub(crate) fn force(&self) -> Ticket {
        let kind = if self.state().open.is_some() { Kind::Forced } else { Kind::Regular };
        Ticket { kind, counted: false }
    }

    /// An answer begins: whether it ends well is to be seen, but others may ask meanwhile.
    pub(crate) fn began(&self, ticket: &mut Ticket, now: Instant) {
        let mut state = self.state();
        state.count(&self.settings, ticket, 0, now);
        if ticket.kind != Kind::Regular {
            // One more failure is enough.
            state.failures = self.settings.failures.saturating_sub(1);
            state.trial = state.open.take().map(|open| open.pause);
            state.closed = Some(now);
            ticket.kind = Kind::Regular;
        }
    }

    /// Asking ended.
    pub(crate) fn settle(&self, mut ticket: Ticket, outcome: Outcome, now: Instant) {
        let mut state = self.state();
        match outcome {
            Outcome::GivenUp => {
                if let (Kind::Probe, Some(open)) = (ticket.kind, &mut state.open) {
                    open.probed = false;
                }
            }
            Outcome::Succeeded => {
                state.count(&self.settings, &mut ticket, 0, now);
                if ticket.kind != Kind::Regular && state.open.take().is_some() {
                    state.closed = Some(now);
                }
                (state.failures, state.trial) = (0, None);
            }
            Outcome::Failed => {
                state.count(&self.settings, &mut ticket, 1, now);
                state.failures = state.failures.saturating_add(1);
                let too_many = state.failures >= self.settings.failures || self.too_many(&mut state, now);
                let double = |pause: Duration| pause.saturating_mul(2).min(self.settings.longest);
                match &mut state.open {
                    Some(open) if ticket.kind == Kind::Probe => {
                        let pause = double(open.pause);
                        *open = Open { until: now + pause, pause, probed: false };
                    }
                    // Asked before it opened, or although it was.
                    Some(_) => {}
                    None if too_many => {
                        let pause = state.trial.take().map_or(self.settings.pause, double);
                        state.open = Some(Open { until: now + pause, pause, probed: false });
                        state.recent = Window::default();
                    }
                    None => {}
                }
            }
        }
    }

    fn too_many(&self, state: &mut State, now: Instant) -> bool {
        self.settings.rate.is_some_and(|rate| {
            let (requests, failed) = state.recent.sum(rate.window, now);
            requests >= rate.least && f64::from(failed) >= rate.share * f64::from(requests)
        })
    }

    pub(crate) fn standing(&self, now: Instant) -> Standing {
        match &self.state().open {
            None => Standing::Closed,
            Some(open) if open.probed || now < open.until => Standing::Open,
            Some(_) => Standing::HalfOpen,
        }
    }

    /// For how long it has been closed since it was open; none if it never was.
    pub(crate) fn closed_for(&self, now: Instant) -> Option<Duration> {
        self.state().closed.map(|closed| now.saturating_duration_since(closed))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Counts a request once, and its failure.
    fn count(&mut self, settings: &Settings, ticket: &mut Ticket, failed: u32, now: Instant) {
        if let Some(rate) = settings.rate {
            let requests = u32::from(!ticket.counted);
            self.recent.add(rate.window, (requests, failed), now);
        }
        ticket.counted = true;
    }
}

impl Pass<'_> {
    /// It answered as it should.
    pub(crate) fn succeeded(mut self) {
        self.settle(Outcome::Succeeded, Instant::now());
    }

    /// It did not.
    pub(crate) fn failed(mut self, now: Instant) {
        self.settle(Outcome::Failed, now);
    }

    fn settle(&mut self, outcome: Outcome, now: Instant) {
        if let Some(ticket) = self.ticket.take() {
            self.breaker.settle(ticket, outcome, now);
        }
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        self.settle(Outcome::GivenUp, Instant::now());
    }
}

/// Requests and failures of the last while, in slots of which the oldest is used again.
#[derive(Default)]
struct Window {
    start: Option<Instant>,
    slots: [Slot; SLOTS],
}

#[derive(Clone, Copy, Default)]
struct Slot {
    /// Which part of time it counts.
    at: u64,
    requests: u32,
    failed: u32,
}

impl Window {
    fn at(&mut self, window: Duration, now: Instant) -> u64 {
        let since = now.saturating_duration_since(*self.start.get_or_insert(now));
        let slot = (window / SLOTS as u32).max(Duration::from_millis(1));
        u64::try_from(since.as_nanos() / slot.as_nanos()).unwrap_or(u64::MAX)
    }

    fn add(&mut self, window: Duration, (requests, failed): (u32, u32), now: Instant) {
        let at = self.at(window, now);
        let slot = &mut self.slots[(at % SLOTS as u64) as usize];
        if slot.at != at {
            *slot = Slot { at, ..Slot::default() };
        }
        slot.requests = slot.requests.saturating_add(requests);
        slot.failed = slot.failed.saturating_add(failed);
    }

    fn sum(&mut self, window: Duration, now: Instant) -> (u32, u32) {
        let at = self.at(window, now);
        let recent = self.slots.iter().filter(|slot| slot.at + SLOTS as u64 > at);
        recent.fold((0, 0), |(requests, failed), slot| {
            (requests.saturating_add(slot.requests), failed.saturating_add(slot.failed))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn breaker(failures: u32) -> Breaker {
        let (pause, longest) = (Duration::from_secs(2), Duration::from_secs(5));
        Breaker::new(Settings { failures, rate: None, pause, longest })
    }

    /// Opens by the share of failures alone: half of at least ten in ten seconds.
    fn by_rate() -> Breaker {
        let rate = Rate { share: 0.5, least: 10, window: Duration::from_secs(10) };
        let (pause, longest) = (Duration::from_secs(2), Duration::from_secs(60));
        Breaker::new(Settings { failures: u32::MAX, rate: Some(rate), pause, longest })
    }

    fn tell(breaker: &Breaker, success: bool, now: Instant) {
        let ticket = breaker.admit(now).unwrap();
        breaker.settle(ticket, if success { Outcome::Succeeded } else { Outcome::Failed }, now);
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
        assert_eq!((breaker.standing(at(1)), breaker.standing(at(2))), (Standing::Open, Standing::HalfOpen));
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
    fn what_was_asked_before_it_opened_neither_prolongs_nor_closes_the_pause() {
        let (breaker, start) = (breaker(1), Instant::now());
        let mut passes = [(); 3].map(|()| breaker.enter(start));
        let mut pass = |at: usize| passes[at].take().unwrap();
        pass(0).failed(start);
        pass(1).failed(start + Duration::from_secs(1));
        pass(2).succeeded();
        assert!(breaker.enter(start + Duration::from_secs(1)).is_none());
        assert!(breaker.enter(start + Duration::from_secs(2)).is_some());
    }

    #[test]
    fn half_of_the_requests_failing_opens_it_once_there_were_enough_of_them() {
        let (breaker, start) = (by_rate(), Instant::now());
        for n in 0..9 {
            tell(&breaker, n % 2 == 0, start);
        }
        assert_eq!(breaker.standing(start), Standing::Closed, "of nine nothing can be said");
        tell(&breaker, false, start);
        assert_eq!(breaker.standing(start), Standing::Open);
    }

    #[test]
    fn failures_of_long_ago_do_not_count() {
        let (breaker, start) = (by_rate(), Instant::now());
        for _ in 0..9 {
            tell(&breaker, false, start);
        }
        let later = start + Duration::from_secs(11);
        for n in 0..20 {
            tell(&breaker, n % 3 > 0, later);
        }
        assert_eq!(breaker.standing(later), Standing::Closed, "a third of twenty is not half");
    }

    #[test]
    fn an_answer_that_begins_lets_others_in_and_if_it_breaks_the_next_pause_is_twice_as_long() {
        let (breaker, start) = (breaker(3), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        (0..3).for_each(|_| tell(&breaker, false, start));
        let mut probe = breaker.admit(at(2)).unwrap();
        breaker.began(&mut probe, at(2));
        assert_eq!(breaker.standing(at(2)), Standing::Closed);
        assert_eq!(breaker.closed_for(at(3)), Some(Duration::from_secs(1)));
        breaker.settle(probe, Outcome::Failed, at(3));
        assert_eq!((breaker.standing(at(6)), breaker.standing(at(7))), (Standing::Open, Standing::HalfOpen));
    }

    #[test]
    fn who_goes_through_although_it_is_open_closes_it_by_success_and_changes_nothing_otherwise() {
        let (breaker, start) = (breaker(1), Instant::now());
        tell(&breaker, false, start);
        breaker.settle(breaker.force(), Outcome::Failed, start + Duration::from_secs(1));
        assert_eq!(breaker.standing(start + Duration::from_secs(2)), Standing::HalfOpen);
        breaker.settle(breaker.force(), Outcome::Succeeded, start);
        assert_eq!(breaker.standing(start), Standing::Closed);
    }
}
