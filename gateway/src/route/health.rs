//! How a target fares: how fast it begins to answer, how often it fails, and whether it asked to be left alone.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::cooldown::{Cooldowns, Waits};
use crate::breaker::{Breaker, Outcome, Rate, Settings, Standing, Ticket};
use crate::config::{BreakerOfTargets, CooldownSection};

/// Over about this time latencies are averaged; a longer one than the average counts at once and whole.
const AVERAGED_OVER: Duration = Duration::from_secs(10);
/// After about this time without a request a slow target is given another chance.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(120);
/// After about this time without a request a target's failures are forgiven.
const FORGIVEN_AFTER: Duration = Duration::from_secs(30);
/// How much the latest outcome counts in the share of successes.
const LATEST: f64 = 0.3;
/// No target looks worse than this, so that its score stays a number.
const LEAST_SUCCESS: f64 = 0.02;
/// No target looks faster than this: below it, it is the machine that is measured.
const LEAST_LATENCY: f64 = 0.000_2;
/// The share of its part that a target begins with when its breaker has closed again.
const SLOW_START: f64 = 0.1;
/// Whoever tries a target again waits no longer for it, while others are there, than this for a stream and for a whole answer.
const PROBED_FOR: [Duration; 2] = [Duration::from_secs(5), Duration::from_secs(30)];
/// Or than so many times as it took when it was well.
const PROBED_TIMES: f64 = 3.0;
/// Most models of one provider whose state is kept: clients can ask for any name.
const MOST_MODELS: usize = 1024;

/// When targets are left alone.
#[derive(Clone, Debug)]
pub struct Caution {
    pub(crate) breaker: Settings,
    /// How long a target whose breaker has closed takes to have its whole part again.
    pub(crate) slow_start: Duration,
    pub(crate) cooldown: Waits,
}

impl Caution {
    /// As the configuration says.
    pub(super) fn of(breaker: &BreakerOfTargets, cooldown: &CooldownSection) -> Self {
        let share = breaker.failure_rate;
        let rate = Rate { share, least: breaker.min_requests, window: breaker.window.0 };
        let (pause, longest) = (breaker.pause.0, breaker.max_pause.0);
        let CooldownSection { rate_limited, refused, quota, max } = cooldown;
        Self {
            breaker: Settings { failures: breaker.failures, rate: Some(rate), pause, longest },
            slow_start: breaker.slow_start.0,
            cooldown: Waits {
                rate_limited: rate_limited.0,
                refused: refused.0,
                quota: quota.0,
                longest: max.0,
            },
        }
    }
}

/// The states of one provider's targets, by model.
pub struct States {
    caution: Arc<Caution>,
    by_model: Mutex<BTreeMap<String, Arc<TargetState>>>,
}

impl States {
    /// Nothing is known yet.
    pub fn new(caution: Arc<Caution>) -> Self {
        Self { caution, by_model: Mutex::default() }
    }

    /// The state of a model there. If too many are known, one that is not kept.
    pub fn of(&self, model: &str) -> Arc<TargetState> {
        let mut states = locked(&self.by_model);
        if let Some(state) = states.get(model) {
            return Arc::clone(state);
        }
        let state = Arc::new(TargetState::new(Arc::clone(&self.caution)));
        if states.len() < MOST_MODELS {
            states.insert(model.to_owned(), Arc::clone(&state));
        }
        state
    }

    /// What is known, by model.
    pub fn known(&self) -> Vec<(String, Arc<TargetState>)> {
        locked(&self.by_model).iter().map(|(model, state)| (model.clone(), Arc::clone(state))).collect()
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What is known of one target. Shared by all threads; forgotten with the process.
pub struct TargetState {
    caution: Arc<Caution>,
    breaker: Breaker,
    measured: Mutex<Measured>,
    in_flight: AtomicUsize,
    /// By credential of the provider.
    pub(super) cooldowns: Cooldowns,
}

#[derive(Default)]
struct Measured {
    /// Until the first content of a stream.
    stream: Average,
    /// Until a whole answer.
    whole: Average,
    success: Option<(f64, Instant)>,
}

/// An average that a long latency raises at once, and that shorter ones lower by and by.
#[derive(Clone, Copy, Default)]
struct Average(Option<(f64, Instant)>);

impl Average {
    fn add(&mut self, latency: Duration, now: Instant) {
        let seconds = latency.as_secs_f64();
        let averaged = match self.0 {
            Some((before, at)) if seconds < before => {
                let old = fading(now.saturating_duration_since(at), AVERAGED_OVER);
                before * old + seconds * (1.0 - old)
            }
            _ => seconds,
        };
        self.0 = Some((averaged, now));
    }

    /// Whoever left did not wait for less.
    fn at_least(&mut self, latency: Duration, now: Instant) {
        if self.0.is_some_and(|(before, _)| latency.as_secs_f64() > before) {
            self.add(latency, now);
        }
    }

    fn read(self, now: Instant) -> Option<f64> {
        let (average, at) = self.0?;
        let idle = now.saturating_duration_since(at);
        Some((average * fading(idle, FORGOTTEN_AFTER)).max(LEAST_LATENCY))
    }
}

/// What is left of something after this time.
fn fading(time: Duration, over: Duration) -> f64 {
    (-time.as_secs_f64() / over.as_secs_f64()).exp()
}

impl Measured {
    fn average(&mut self, stream: bool) -> &mut Average {
        if stream { &mut self.stream } else { &mut self.whole }
    }

    fn success(&self, now: Instant) -> f64 {
        let forgiving = |(share, at): (f64, Instant)| {
            1.0 - (1.0 - share) * fading(now.saturating_duration_since(at), FORGIVEN_AFTER)
        };
        self.success.map_or(1.0, forgiving).max(LEAST_SUCCESS)
    }

    fn tell(&mut self, success: bool, now: Instant) {
        let share = self.success(now) * (1.0 - LATEST) + f64::from(u8::from(success)) * LATEST;
        self.success = Some((share, now));
    }
}

/// What a scrape shows of a target.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shown {
    /// Its breaker lets nobody through, or one at a time.
    pub open: bool,
    /// Credentials that it asked to be left alone with.
    pub cooling: usize,
    /// Requests that are with it.
    pub in_flight: usize,
    /// Seconds until the first content of a stream, and until a whole answer.
    pub latency: [Option<f64>; 2],
    /// The share of attempts that went well lately.
    pub success: f64,
}

impl TargetState {
    fn new(caution: Arc<Caution>) -> Self {
        let (breaker, cooldowns) = (Breaker::new(caution.breaker.clone()), Cooldowns::default());
        Self { caution, breaker, measured: Mutex::default(), in_flight: AtomicUsize::new(0), cooldowns }
    }

    /// How its breaker stands.
    pub(super) fn standing(&self, now: Instant) -> Standing {
        self.breaker.standing(now)
    }

    /// How long it takes to begin an answer, in seconds; none if that was never measured.
    pub(super) fn latency(&self, stream: bool, now: Instant) -> Option<f64> {
        locked(&self.measured).average(stream).read(now)
    }

    /// What asking it costs: the less, the better. `unknown` is its latency if it was never measured.
    pub(super) fn score(&self, stream: bool, unknown: f64, now: Instant) -> f64 {
        let (latency, success) = {
            let mut measured = locked(&self.measured);
            (measured.average(stream).read(now).unwrap_or(unknown), measured.success(now))
        };
        let waiting = self.in_flight.load(Ordering::Relaxed) as f64 + 1.0;
        latency * waiting / success / self.part(now)
    }

    /// The share of its part that it gets: less than 1 for a while after its breaker closed again.
    pub(super) fn part(&self, now: Instant) -> f64 {
        let ramp = self.caution.slow_start.as_secs_f64();
        match self.breaker.closed_for(now) {
            Some(closed) if closed.as_secs_f64() < ramp => {
                SLOW_START + (1.0 - SLOW_START) * closed.as_secs_f64() / ramp
            }
            _ => 1.0,
        }
    }

    /// How long it is left alone.
    pub(super) fn waits(&self) -> &Waits {
        &self.caution.cooldown
    }

    /// For a scrape.
    pub fn shown(&self, now: Instant) -> Shown {
        let measured = locked(&self.measured);
        Shown {
            open: self.breaker.standing(now) != Standing::Closed,
            cooling: self.cooldowns.cooling(now),
            in_flight: self.in_flight.load(Ordering::Relaxed),
            latency: [measured.stream.read(now), measured.whole.read(now)],
            success: measured.success(now),
        }
    }
}

/// One attempt at a target, from the request to the end of the answer. Dropped without a word it says nothing about the target
/// but that it did not answer sooner.
pub(super) struct Attempt {
    state: Arc<TargetState>,
    ticket: Option<Ticket>,
    begun: Instant,
    stream: bool,
    answered: bool,
}

impl Attempt {
    /// The right to ask now; none if the target's breaker does not let it. `force`: it is not asked.
    pub(super) fn begin(state: &Arc<TargetState>, stream: bool, force: bool, now: Instant) -> Option<Self> {
        let ticket = if force { state.breaker.force() } else { state.breaker.admit(now)? };
        state.in_flight.fetch_add(1, Ordering::Relaxed);
        Some(Self { state: Arc::clone(state), ticket: Some(ticket), begun: now, stream, answered: false })
    }

    /// How long to wait for it, if it only tries whether the target is well again.
    pub(super) fn patience(&self, now: Instant) -> Option<Duration> {
        self.ticket.as_ref().filter(|ticket| ticket.is_probe())?;
        let least = PROBED_FOR[usize::from(!self.stream)];
        let usual = self.state.latency(self.stream, now).unwrap_or_default() * PROBED_TIMES;
        Some(Duration::try_from_secs_f64(usual).map_or(least, |usual| usual.max(least)))
    }

    /// Its answer begins.
    pub(super) fn began(&mut self, now: Instant) {
        let latency = now.saturating_duration_since(self.begun);
        locked(&self.state.measured).average(self.stream).add(latency, now);
        self.heard(now);
    }

    /// The head of its answer is there, which does not tell when its content is.
    pub(super) fn heard(&mut self, now: Instant) {
        self.answered = true;
        if let Some(ticket) = &mut self.ticket {
            self.state.breaker.began(ticket, now);
        }
    }

    /// It did as it should: its answer is whole, or it said what is wrong with the request.
    pub(super) fn succeeded(mut self, now: Instant) {
        self.settle(Outcome::Succeeded, now);
    }

    /// It failed, before its answer or in the middle of it.
    pub(super) fn failed(mut self, now: Instant) {
        self.answered = true;
        self.settle(Outcome::Failed, now);
    }

    /// That it gave no answer says nothing about it.
    pub(super) fn excused(mut self) {
        self.answered = true;
    }

    fn settle(&mut self, outcome: Outcome, now: Instant) {
        self.answered = true;
        if let Some(ticket) = self.ticket.take() {
            locked(&self.state.measured).tell(outcome == Outcome::Succeeded, now);
            self.state.breaker.settle(ticket, outcome, now);
        }
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        let now = Instant::now();
        self.state.in_flight.fetch_sub(1, Ordering::Relaxed);
        if let Some(ticket) = self.ticket.take() {
            self.state.breaker.settle(ticket, Outcome::GivenUp, now);
        }
        if !self.answered {
            let waited = now.saturating_duration_since(self.begun);
            locked(&self.state.measured).average(self.stream).at_least(waited, now);
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A target of the standard configuration of which nothing is known.
    pub(in crate::route) fn state() -> Arc<TargetState> {
        let caution = Caution::of(&BreakerOfTargets::default(), &CooldownSection::default());
        Arc::new(TargetState::new(Arc::new(caution)))
    }

    /// An attempt that began to answer after so many milliseconds, and ended well.
    pub(in crate::route) fn answered(state: &Arc<TargetState>, at: Instant, ms: u64) {
        let mut attempt = Attempt::begin(state, true, false, at).unwrap();
        let then = at + Duration::from_millis(ms);
        attempt.began(then);
        attempt.succeeded(then);
    }

    /// An attempt that failed after so many milliseconds.
    pub(in crate::route) fn failed(state: &Arc<TargetState>, at: Instant, ms: u64) {
        let attempt = Attempt::begin(state, true, true, at).unwrap();
        attempt.failed(at + Duration::from_millis(ms));
    }

    fn near(value: f64, expected: f64) -> bool {
        (value - expected).abs() < 0.01 * expected
    }

    #[test]
    fn a_slow_answer_counts_at_once_and_fast_ones_lower_the_average_by_and_by() {
        let (state, start) = (state(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        let latency = |now| state.latency(true, now).unwrap();
        answered(&state, at(0), 100);
        answered(&state, at(1), 2000);
        assert!(near(latency(at(3)), 2.0));
        answered(&state, at(13), 100);
        assert!(latency(at(13)) > 0.5 && latency(at(13)) < 1.0, "{}", latency(at(13)));
        assert_eq!(state.latency(false, at(13)), None, "whole answers are measured by themselves");
    }

    #[test]
    fn a_slow_target_that_nobody_asks_gets_another_chance() {
        let (slow, fast, start) = (state(), state(), Instant::now());
        answered(&slow, start, 2000);
        let later = start + Duration::from_secs(600);
        answered(&fast, later, 200);
        let score = |state: &TargetState, at| state.score(true, 1.0, at);
        assert!(score(&slow, later) < score(&fast, later));
    }

    #[test]
    fn a_target_that_fails_fast_never_looks_fast() {
        let (failing, good, start) = (state(), state(), Instant::now());
        answered(&failing, start, 300);
        answered(&good, start, 400);
        let before = failing.latency(true, start);
        for _ in 0..4 {
            failed(&failing, start, 1);
        }
        assert_eq!(failing.latency(true, start), before);
        let now = start + Duration::from_secs(1);
        assert!(failing.score(true, 1.0, now) > 2.0 * good.score(true, 1.0, now));
        let never = state();
        failed(&never, start, 1);
        assert_eq!(never.latency(true, now), None, "a failure is no measurement");
    }

    #[test]
    fn requests_that_are_with_a_target_make_it_dearer() {
        let (state, now) = (state(), Instant::now());
        let attempts: Vec<_> = (0..3).map(|_| Attempt::begin(&state, true, false, now)).collect();
        assert!(near(state.score(true, 0.1, now), 0.4));
        drop(attempts);
        assert!(near(state.score(true, 0.1, now), 0.1));
    }

    #[test]
    fn a_target_whose_breaker_closed_again_gets_its_part_by_and_by() {
        let (state, start) = (state(), Instant::now());
        let at = |ms| start + Duration::from_millis(ms);
        for _ in 0..5 {
            failed(&state, start, 0);
        }
        assert_eq!(state.standing(at(0)), Standing::Open);
        answered(&state, at(5000), 0);
        assert_eq!(state.standing(at(5000)), Standing::Closed);
        let part = |ms| state.part(at(ms));
        assert!(near(part(5000), 0.1) && near(part(10_000), 0.55) && near(part(15_000), 1.0));
    }

    #[test]
    fn whoever_tries_a_target_again_has_little_patience() {
        let (state, start) = (state(), Instant::now());
        answered(&state, start, 4000);
        assert_eq!(Attempt::begin(&state, true, false, start).unwrap().patience(start), None);
        (0..5).for_each(|_| failed(&state, start, 0));
        let later = start + Duration::from_secs(5);
        let patience =
            |stream| Attempt::begin(&state, stream, false, later).unwrap().patience(later).unwrap();
        assert!((10..=12).contains(&patience(true).as_secs()), "three times what it took, which fades");
        assert_eq!(patience(false), Duration::from_secs(30));
    }

    #[test]
    fn whoever_leaves_after_a_long_wait_tells_that_it_took_at_least_as_long() {
        let (state, long_ago) = (state(), Instant::now().checked_sub(Duration::from_secs(30)));
        let Some(long_ago) = long_ago else { return };
        answered(&state, long_ago, 100);
        drop(Attempt::begin(&state, true, false, long_ago));
        assert!(state.latency(true, Instant::now()).unwrap() > 20.0);
        assert_eq!(state.standing(Instant::now()), Standing::Closed);
    }
}
