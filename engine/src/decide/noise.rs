//! How often does the judge err? Found from what it says about candidates that are certainly wrong.

use serde::{Deserialize, Serialize};

/// Candidates less probable than this are mostly wrong.
const IMPROBABLE: f64 = 0.1;
/// By what factor the model may underestimate them before it is the judge that errs.
const DOUBT: f64 = 2.0;
/// Rates that are tried: these many, this far apart.
const RATES: usize = 16;
const STEP: f64 = 0.01;
/// Log likelihood that a rate must gain over none.
const GAIN: f64 = 2.5;

/// Log likelihoods of a judge's verdicts on improbable candidates, for several rates of errors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct JudgeNoise {
    /// The rate if it is known.
    known: Option<f64>,
    likelihood: [f64; RATES],
}

impl JudgeNoise {
    /// A judge whose rate of errors was measured.
    pub fn known(rate: Option<f64>) -> Self {
        Self { known: rate.map(|rate| rate.clamp(0.0, STEP * RATES as f64)), ..Self::default() }
    }

    /// Counts a verdict.
    pub fn label(&mut self, probability: f64, right: bool) {
        if probability >= IMPROBABLE {
            return;
        }
        let p = (DOUBT * probability).max(0.002);
        for (at, likelihood) in self.likelihood.iter_mut().enumerate() {
            let rate = STEP * at as f64;
            let same = rate + (1.0 - 2.0 * rate) * p;
            *likelihood += if right { same.ln() } else { (1.0 - same).ln() };
        }
    }

    /// The rate of errors, assumed the same both ways; if it is not known, 0 while it may as well be the model that errs.
    pub fn rate(&self) -> f64 {
        if let Some(known) = self.known {
            return known;
        }
        let none = self.likelihood[0];
        let best = (0..RATES).max_by(|&a, &b| self.likelihood[a].total_cmp(&self.likelihood[b])).unwrap_or(0);
        if self.likelihood[best] - none > GAIN { STEP * best as f64 } else { 0.0 }
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
