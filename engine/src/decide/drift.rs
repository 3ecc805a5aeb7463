//! Have the answers changed? A cumulative sum over surprising labels (Page, "Continuous inspection schemes", 1954).
//!
//! Where labels say "wrong" of candidates that match well, the likelier cause may be that upstream answers differently now.
//! Then every answer that was not confirmed since may be out of date, until a fresh one agrees with it.

use serde::{Deserialize, Serialize};

use super::model::sigmoid;

/// Log odds of a change, over what speaks for it, at which it is taken for a fact.
const ALARM: f64 = 5.0;
/// Log odds of a change before anything speaks for it.
const RARE: f64 = -3.5;
/// Share of the answers that a change is supposed to concern.
const CHANGED: f64 = 0.5;
/// The chance that a single answer changed since it was confirmed, when nothing else did.
const ALONE: f64 = 0.0005;
/// Candidates less probable than this tell nothing.
const PROBABLE: f64 = 0.25;
/// Highest probability that is believed, when a label says otherwise.
const CERTAIN: f64 = 0.98;
/// The least rate of errors that a judge is credited with.
const LEAST_NOISE: f64 = 0.01;
/// An answer this likely to be out of date is forgotten.
const REFUTED: f64 = 0.9;

/// Watches the labels of one partition. Time is counted in requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Drift {
    sum: f64,
    /// When the sum was last zero.
    since: u64,
    /// When answers changed last, so far as it was noticed.
    changed: u64,
}

/// The probability of a label given that of the answer's being right, from a judge that errs.
fn seen(right: bool, probability: f64, noise: f64) -> f64 {
    let p = noise + (1.0 - 2.0 * noise) * probability.min(CERTAIN);
    if right { p } else { 1.0 - p }
}

/// Log of how much likelier a label is if the answer is out of date than if it is not, for a candidate that matched with
/// `probability`. `noise` is the judge's own rate of errors.
pub fn doubt(probability: f64, right: bool, noise: f64) -> f64 {
    let noise = noise.max(LEAST_NOISE);
    (seen(right, 0.0, noise) / seen(right, probability, noise)).ln()
}

/// Whether an answer with this chance to be out of date is to be forgotten.
pub fn is_refuted(stale: f64) -> bool {
    stale > REFUTED
}

impl Drift {
    /// Learns a label of a candidate that was right with `probability`, had nothing changed.
    pub fn label(&mut self, probability: f64, right: bool, noise: f64, now: u64) {
        if probability < PROBABLE {
            return;
        }
        let changed = seen(right, probability * (1.0 - CHANGED), noise);
        if self.sum <= 0.0 {
            self.since = now;
        }
        self.sum = (self.sum + (changed / seen(right, probability, noise)).ln()).max(0.0);
        if self.sum >= ALARM {
            self.changed = self.since;
            self.sum = 0.0;
        }
    }

    /// The chance that an answer last confirmed at `confirmed` is out of date; `doubt` is what its own labels say.
    pub fn stale(&self, confirmed: u64, doubt: f64) -> f64 {
        let known = self.changed > 0 && confirmed < self.changed;
        let felt = sigmoid(self.sum + RARE) - sigmoid(RARE);
        let felt = if confirmed < self.since { felt } else { 0.0 };
        let before = ALONE + (CHANGED - ALONE) * if known { 1.0 } else { felt };
        sigmoid((before / (1.0 - before)).ln() + doubt)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The chance that an answer confirmed 20 labels ago is out of date, after each of the labels.
    fn run(drift: &mut Drift, rng: &mut fastrand::Rng, from: u64, labels: u64, right: f64) -> Vec<f64> {
        let mut label = |at: u64| {
            drift.label(0.9, rng.f64() < right, 0.0, at);
            drift.stale(at.saturating_sub(20), 0.0)
        };
        (from..from + labels).map(&mut label).collect()
    }

    #[test]
    fn labels_as_expected_raise_little_doubt_and_a_change_is_noticed_within_a_few() {
        let mut rng = fastrand::Rng::with_seed(3);
        let mut drift = Drift::default();
        let before = run(&mut drift, &mut rng, 1, 1000, 0.92);
        assert!(before.iter().filter(|&&stale| stale > 0.1).count() < 100);
        let after = run(&mut drift, &mut rng, 1001, 20, 0.45);
        assert!(after.iter().any(|&stale| stale > 0.4), "{after:?}");
        assert!(drift.stale(1030, 0.0) < 0.01);
    }

    #[test]
    fn one_right_label_lifts_the_doubt_of_a_wrong_one() {
        let wrong = doubt(0.9, false, 0.0);
        assert!(wrong > 2.0 && wrong + doubt(0.9, true, 0.0) < 0.0);
        assert!(doubt(0.98, false, 0.05) < doubt(0.98, false, 0.0));
    }
}
