//! Which of a provider's credentials an attempt is made with.

use std::time::Instant;

use super::cooldown::{Cooldown, Cooldowns, Rest};
use super::health::TargetState;
use super::strategy::draw;
use crate::config::ApiKeyConfig;
use crate::provider_api::credential::{Credential, Presented};

/// The credentials of a provider, by number. At least one: where none is wanted, an empty one.
pub struct Credentials {
    all: Vec<Credential>,
    weights: Vec<u32>,
    /// What holds for all models: a credential that is refused, or has nothing left to spend.
    everywhere: Cooldowns,
}

/// What there is to ask a target with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Choice {
    /// The credential of this number.
    Use(usize),
    /// All that are left are to be left alone until then.
    Wait(Instant),
    /// None is left.
    Nothing,
}

impl Credentials {
    /// The only one.
    pub fn only(credential: Credential) -> Self {
        Self { all: vec![credential], weights: vec![1], everywhere: Cooldowns::default() }
    }

    /// These keys, or the only one if there are none.
    ///
    /// # Errors
    /// One sentence per problem, each naming its field.
    pub(super) fn build(
        only: Credential,
        keys: &[ApiKeyConfig],
        presented: Presented,
        env: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, Vec<String>> {
        let (mut built, mut problems) = (Self::only(only), Vec::new());
        if keys.is_empty() {
            return Ok(built);
        }
        (built.all, built.weights) = (Vec::new(), keys.iter().map(|key| key.weight).collect());
        for (at, key) in keys.iter().enumerate() {
            let wrong = || "holds characters that can't stand in an HTTP header".to_owned();
            let read = key.key.read(env).and_then(|key| Credential::key(&key, presented).ok_or_else(wrong));
            match read {
                Ok(credential) => built.all.push(credential),
                Err(problem) => problems.push(format!("api_keys[{at}].key: {problem}")),
            }
        }
        if built.weights.iter().all(|weight| *weight == 0) {
            problems.push("api_keys: at least one key needs a weight above 0".to_owned());
        }
        if problems.is_empty() { Ok(built) } else { Err(problems) }
    }

    /// The credential of this number.
    pub fn get(&self, number: usize) -> &Credential {
        self.all.get(number).unwrap_or(&Credential::None)
    }

    /// One to ask a target with, by weight and by a `chance` between 0 and 1, but none of those that were `asked` with already. A
    /// chance of 0 is the first of them.
    pub(super) fn choose(&self, state: &TargetState, asked: &[usize], now: Instant, chance: f64) -> Choice {
        let left = (0..self.weights.len()).filter(|at| !asked.contains(at));
        let (mut ready, mut soonest) = (Vec::new(), None::<Instant>);
        for at in left {
            match self.rest(state, at, now) {
                None => ready.push(at),
                Some(rest) => soonest = Some(soonest.map_or(rest.until, |other| other.min(rest.until))),
            }
        }
        if !ready.is_empty() {
            let weights: Vec<f64> = ready.iter().map(|at| f64::from(self.weights[*at])).collect();
            return Choice::Use(ready[draw(&weights, chance)]);
        }
        soonest.map_or(Choice::Nothing, Choice::Wait)
    }

    fn rest(&self, state: &TargetState, at: usize, now: Instant) -> Option<Rest> {
        let both = [self.everywhere.rest(at, now), state.cooldowns.rest(at, now)];
        both.into_iter().flatten().max_by_key(|rest| rest.until)
    }

    /// Until when and why a target is left alone with all of them, if it is: of several, what tells the most.
    pub(super) fn rests(&self, state: &TargetState, now: Instant) -> Option<Rest> {
        let rests: Option<Vec<Rest>> = (0..self.weights.len()).map(|at| self.rest(state, at, now)).collect();
        rests?.into_iter().reduce(Rest::or)
    }

    /// Whether a target is to be left alone with all of them.
    pub(super) fn are_cooling(&self, state: &TargetState, now: Instant) -> bool {
        self.rests(state, now).is_some()
    }

    /// Changes what holds for a credential everywhere.
    pub(super) fn change(&self, credential: usize, change: impl FnOnce(&mut Cooldown)) {
        self.everywhere.change(credential, change);
    }

    /// It was accepted.
    pub(super) fn accepted(&self, credential: usize) {
        self.everywhere.forget(credential);
    }

    /// How many are left alone everywhere.
    pub fn cooling(&self, now: Instant) -> usize {
        self.everywhere.cooling(now)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::cooldown::Why;
    use super::super::health::tests::state;
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn of_weights(weights: &[u32]) -> Credentials {
        let yaml =
            weights.iter().map(|weight| format!("{{key: word, weight: {weight}}}")).collect::<Vec<_>>();
        let keys: Vec<ApiKeyConfig> = serde_saphyr::from_str(&format!("[{}]", yaml.join(", "))).unwrap();
        Credentials::build(Credential::None, &keys, Presented::Bearer, &|_| None)
            .unwrap_or_else(|p| panic!("{p:?}"))
    }

    #[test]
    fn credentials_are_used_as_often_as_their_weights_say() {
        let (credentials, state, now) = (of_weights(&[3, 1]), state(), Instant::now());
        let drawn = (0..100).map(|n| credentials.choose(&state, &[], now, f64::from(n) / 100.0));
        assert_eq!(drawn.filter(|choice| *choice == Choice::Use(0)).count(), 75);
    }

    #[test]
    fn one_that_is_left_alone_or_was_asked_with_is_not_chosen() {
        let (credentials, state, now) = (of_weights(&[1, 1, 1]), state(), Instant::now());
        state.cooldowns.change(0, |cooldown| cooldown.asked(SECOND, Why::RateLimited, now));
        credentials.change(1, |cooldown| cooldown.asked(2 * SECOND, Why::Refused, now));
        let choose = |asked: &[usize], now| credentials.choose(&state, asked, now, 0.0);
        assert_eq!(choose(&[], now), Choice::Use(2));
        assert_eq!(choose(&[2], now), Choice::Wait(now + SECOND));
        assert_eq!(choose(&[2], now + SECOND), Choice::Use(0));
        assert_eq!(choose(&[0, 2], now + SECOND), Choice::Wait(now + 2 * SECOND));
        assert_eq!(choose(&[0, 1, 2], now), Choice::Nothing);
        assert!(!credentials.are_cooling(&state, now));
    }

    #[test]
    fn a_target_rests_for_the_reason_that_passes_by_itself_if_any_of_its_credentials_does() {
        let (credentials, state, now) = (of_weights(&[1, 1]), state(), Instant::now());
        credentials.change(0, |cooldown| cooldown.asked(SECOND, Why::Refused, now));
        assert_eq!(credentials.rests(&state, now), None, "the other one is of use");
        state.cooldowns.change(1, |cooldown| cooldown.asked(9 * SECOND, Why::RateLimited, now));
        let rest = |now| credentials.rests(&state, now).map(|rest| rest.why);
        assert_eq!(rest(now), Some(Why::RateLimited));
        credentials.change(1, |cooldown| cooldown.asked(20 * SECOND, Why::Spent, now));
        assert_eq!(rest(now), Some(Why::Refused), "the longer of two rests of one credential counts");
    }
}
