//! How often does the judge err? Found from what it says about candidates that are certainly wrong.

use serde::{Deserialize, Serialize};

/// Candidates less probable than this are certainly wrong, but for the share the model gives them.
const IMPROBABLE: f64 = 0.05;
/// Labels of such candidates before anything is concluded.
const ENOUGH: f64 = 60.0;
/// A judge that errs more than this is not made better by arithmetic.
const MOST: f64 = 0.15;

/// Counts of a judge's verdicts on improbable candidates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct JudgeNoise {
    asked: f64,
    same: f64,
    expected: f64,
}

impl JudgeNoise {
    /// Counts a verdict.
    pub fn label(&mut self, probability: f64, right: bool) {
        if probability < IMPROBABLE {
            self.asked += 1.0;
            self.same += f64::from(u8::from(right));
            self.expected += probability;
        }
    }

    /// The rate of errors, assumed the same both ways; 0 while it may as well be the model that errs.
    pub fn rate(&self) -> f64 {
        if self.asked < ENOUGH {
            return 0.0;
        }
        let model = 1.5 * self.expected + 1.0;
        let doubt = model.sqrt();
        let surplus = self.same - model - doubt;
        if surplus <= 0.0 { 0.0 } else { ((self.same - self.expected) / self.asked).clamp(0.0, MOST) }
    }

    /// The chance that a candidate of `probability` was wrong, after a verdict of a judge with this rate of errors.
    pub fn wrong_after(rate: f64, probability: f64, right: bool) -> f64 {
        let (if_right, if_wrong) = if right { (1.0 - rate, rate) } else { (rate, 1.0 - rate) };
        let wrong = if_wrong * (1.0 - probability);
        wrong / (wrong + if_right * probability).max(1e-12)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_judge_without_errors_is_believed_and_one_with_errors_is_found_out() {
        let mut rng = fastrand::Rng::with_seed(5);
        for (noise, low, high) in [(0.0, 0.0, 0.0), (0.05, 0.025, 0.08)] {
            let mut found = JudgeNoise::default();
            for _ in 0..600 {
                let p = 0.02 * rng.f64();
                let right = rng.f64() < p;
                found.label(p, right != (rng.f64() < noise));
            }
            let rate = found.rate();
            assert!((low..=high).contains(&rate), "{noise}: {rate}");
        }
        assert_eq!(JudgeNoise::wrong_after(0.0, 0.9, false), 1.0);
        assert!(JudgeNoise::wrong_after(0.05, 0.99, false) < 0.2);
    }
}
