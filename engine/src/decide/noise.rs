//! How often does the judge err? Measured with controls: each fresh answer is also compared with a remembered one of a prompt
//! far away, and a judge that calls these two the same errs.

use serde::{Deserialize, Serialize};

/// What is believed before the first control: two errors in a thousand, worth so many comparisons.
const BELIEVED: f64 = 0.002;
const WORTH: f64 = 20.0;
/// What is left of a control after one more: the last few thousand count.
const MEMORY: f64 = 1.0 - 1.0 / 4000.0;
/// Above this rate verdicts say next to nothing; it is not believed to be higher.
const MOST: f64 = 0.3;

/// What the controls said. The rate of errors is taken for the same both ways: that a judge misses a likeness can't be seen
/// from controls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct JudgeNoise {
    /// The rate if it is known.
    told: Option<f64>,
    controls: f64,
    errors: f64,
}

impl JudgeNoise {
    /// A judge whose rate of errors may have been measured before; if not, controls tell it.
    pub fn new(told: Option<f64>) -> Self {
        Self { told: told.map(|rate| rate.clamp(0.0, MOST)), ..Self::default() }
    }

    /// The same measurements of a judge whose rate may be known now.
    #[must_use]
    pub fn told(self, told: Option<f64>) -> Self {
        Self { told: Self::new(told).told, ..self }
    }

    /// Counts a control: whether the judge called two unrelated answers the same.
    pub fn control(&mut self, same: bool) {
        self.controls = self.controls * MEMORY + 1.0;
        self.errors = self.errors * MEMORY + f64::from(u8::from(same));
    }

    /// The rate of errors.
    pub fn rate(&self) -> f64 {
        let measured = (BELIEVED * WORTH + self.errors) / (WORTH + self.controls);
        self.told.unwrap_or(measured).min(MOST)
    }

    /// Whether it can be used: it may come from a file.
    pub fn is_sound(&self) -> bool {
        [self.controls, self.errors, self.told.unwrap_or(0.0)].iter().all(|x| x.is_finite() && *x >= 0.0)
    }
}

/// The chance that a candidate of `probability` was wrong, after a verdict of a judge with this rate of errors.
pub fn wrong_after(rate: f64, probability: f64, right: bool) -> f64 {
    let (if_right, if_wrong) = if right { (1.0 - rate, rate) } else { (rate, 1.0 - rate) };
    let wrong = if_wrong * (1.0 - probability);
    wrong / (wrong + if_right * probability).max(1e-12)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_judge_without_errors_is_soon_believed_and_one_with_errors_is_found_out() {
        let mut rng = fastrand::Rng::with_seed(5);
        for rate in [0.0, 0.05, 0.2] {
            let mut found = JudgeNoise::default();
            (0..800).for_each(|_| found.control(rng.f64() < rate));
            assert!((found.rate() - rate).abs() < 0.03, "{rate}: {}", found.rate());
        }
        assert_eq!(wrong_after(0.0, 0.9, false), 1.0);
        assert!(wrong_after(0.05, 0.99, false) < 0.2);
    }

    #[test]
    fn a_rate_that_is_told_is_not_measured() {
        let mut told = JudgeNoise::new(Some(0.1));
        (0..100).for_each(|_| told.control(true));
        assert_eq!(told.rate(), 0.1);
        assert_eq!(told.told(None).rate(), MOST);
    }
}
