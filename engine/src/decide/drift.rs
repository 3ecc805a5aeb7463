//! Have the answers changed? A cumulative sum over surprising labels (Page, "Continuous inspection schemes", 1954).
//!
//! Where labels say "wrong" of candidates that match well, the likelier cause may be that upstream answers differently now.
//! Then every answer that was not confirmed since may be out of date, until a fresh one agrees with it.

use serde::{Deserialize, Serialize};

use super::model::sigmoid;

/// What a fresh answer is, beside those that are remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fresh {
    /// The candidate's.
    Same,
    /// Another near one.
    Other,
    /// None of the near ones.
    New,
    /// Not the candidate's: more is not known.
    NotSame,
}

impl Fresh {
    /// Whether the candidate's answer was right.
    pub fn is_same(self) -> bool {
        self == Self::Same
    }
}

/// Log odds of a change, over what speaks for it, at which it is taken for a fact.
const ALARM: f64 = 3.5;
/// Log odds of a change before anything speaks for it.
const RARE: f64 = -2.5;
/// Share of the answers that a change is supposed to concern.
const CHANGED: f64 = 0.5;
/// The chance that a single answer changed since it was confirmed, when nothing else did.
const ALONE: f64 = 0.0005;
/// Candidates less probable than this tell nothing.
const PROBABLE: f64 = 0.25;
/// Highest probability that is believed, when a label says otherwise.
const CERTAIN: f64 = 0.98;
/// The least rate of errors that a judge is credited with.
const LEAST_NOISE: f64 = 0.004;
/// An answer this likely to be out of date is forgotten.
const REFUTED: f64 = 0.9;
/// Share of the wrong candidates whose fresh answer is a new one, before any is known, and how many labels that is worth.
const NEW: f64 = 0.5;
const WORTH: f64 = 6.0;
/// What is left of such a label after one more.
const MEMORY: f64 = 1.0 - 1.0 / 150.0;

/// Watches the labels of one partition. Time is counted in requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Drift {
    sum: f64,
    /// When the sum was last zero.
    since: u64,
    /// When answers changed last, so far as it was noticed.
    changed: u64,
    /// Wrong candidates, and those among them whose fresh answer was none of the near ones.
    wrong: f64,
    new: f64,
}

/// What a label says, in chances.
struct Chances {
    noise: f64,
    /// Of an answer that none of the near ones is, if it is not the candidate's.
    new: f64,
}

impl Chances {
    /// The chance of what came, if the candidate's answer is the right one with `probability` and is out of date, in a way
    /// that no near answer is in its place, with `stale`.
    fn of(&self, fresh: Fresh, probability: f64, stale: f64) -> f64 {
        let p = probability.min(CERTAIN);
        let right = p * (1.0 - stale);
        let new = (1.0 - p) * self.new + p * stale;
        let noisy = |chance: f64| self.noise + (1.0 - 2.0 * self.noise) * chance;
        match fresh {
            Fresh::Same => noisy(right),
            Fresh::NotSame => noisy(1.0 - right),
            // A judge that misses the likeness takes the answer for a new one.
            Fresh::New => new + self.noise * right,
            Fresh::Other => (1.0 - noisy(right) - new - self.noise * right).max(self.noise),
        }
    }
}

/// What a verdict says that a fresh answer is the same as one that was not expected to be, as [`Drift::doubt`].
pub fn agreed(noise: f64) -> f64 {
    let noise = noise.max(LEAST_NOISE);
    (noise / (1.0 - noise)).ln()
}

/// Whether an answer with this chance to be out of date is to be forgotten.
pub fn is_refuted(stale: f64) -> bool {
    stale > REFUTED
}

impl Drift {
    fn chances(&self, noise: f64) -> Chances {
        let new = (NEW * WORTH + self.new) / (WORTH + self.wrong);
        Chances { noise: noise.max(LEAST_NOISE), new }
    }

    /// Log of how much likelier a label is if the answer is out of date than if it is not, for a candidate that matched with
    /// `probability`. `noise` is the judge's own rate of errors.
    pub fn doubt(&self, probability: f64, fresh: Fresh, noise: f64) -> f64 {
        let chances = self.chances(noise);
        (chances.of(fresh, probability, 1.0) / chances.of(fresh, probability, 0.0)).ln()
    }

    /// Learns a label of a candidate that was right with `probability`, had nothing changed.
    pub fn label(&mut self, probability: f64, fresh: Fresh, noise: f64, now: u64) {
        if probability < PROBABLE {
            return;
        }
        let chances = self.chances(noise);
        let gained = (chances.of(fresh, probability, CHANGED) / chances.of(fresh, probability, 0.0)).ln();
        // It may as well be another near answer, which would say nothing.
        let gained = if fresh == Fresh::NotSame { gained / 2.0 } else { gained };
        if matches!(fresh, Fresh::New | Fresh::Other) {
            self.wrong = self.wrong * MEMORY + 1.0;
            self.new = self.new * MEMORY + f64::from(u8::from(fresh == Fresh::New));
        }
        if self.sum <= 0.0 {
            self.since = now;
        }
        self.sum = (self.sum + gained).max(0.0);
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

    /// The chance that an answer confirmed 20 labels ago is out of date, after each of the labels; those that are not right are
    /// `wrong`.
    fn run(drift: &mut Drift, from: u64, labels: u64, (right, wrong): (f64, Fresh)) -> Vec<f64> {
        let mut rng = fastrand::Rng::with_seed(3 + from);
        let mut label = |at: u64| {
            let fresh = if rng.f64() < right { Fresh::Same } else { wrong };
            drift.label(0.9, fresh, 0.0, at);
            drift.stale(at.saturating_sub(20), 0.0)
        };
        (from..from + labels).map(&mut label).collect()
    }

    #[test]
    fn labels_as_expected_raise_little_doubt_and_a_change_is_noticed_within_a_few() {
        let mut drift = Drift::default();
        let before = run(&mut drift, 1, 1000, (0.92, Fresh::Other));
        assert!(before.iter().filter(|&&stale| stale > 0.1).count() < 20);
        let after = run(&mut drift, 1001, 12, (0.45, Fresh::New));
        assert!(after.iter().any(|&stale| stale > 0.4), "{after:?}");
        assert!(drift.stale(1030, 0.0) < 0.01);
    }

    #[test]
    fn where_it_is_not_known_what_wrong_candidates_mean_doubts_are_short() {
        let mut drift = Drift::default();
        let doubts = run(&mut drift, 1, 1000, (0.92, Fresh::NotSame));
        assert!(doubts.iter().filter(|&&stale| stale > 0.25).count() < 50);
        assert!(doubts.iter().filter(|&&stale| stale > 0.1).count() < 250);
    }

    #[test]
    fn where_wrong_candidates_mean_a_known_answer_new_answers_are_noticed_at_once() {
        let mut drift = Drift::default();
        for at in 1..200 {
            drift.label(0.6, if at % 5 < 3 { Fresh::Same } else { Fresh::Other }, 0.0, at);
        }
        assert!(drift.stale(190, 0.0) < 0.01);
        let labels = (200..212).map(|at| {
            drift.label(0.6, if at % 2 == 0 { Fresh::New } else { Fresh::Same }, 0.0, at);
            drift.stale(150, 0.0)
        });
        assert!(labels.fold(0.0, f64::max) > 0.4);
        // Where new answers are usual they tell nothing.
        let mut drift = Drift::default();
        for at in 1..300 {
            drift.label(0.4, if at % 5 < 2 { Fresh::Same } else { Fresh::New }, 0.0, at);
            assert!(at < 50 || drift.stale(at - 20, 0.0) < 0.4);
        }
    }

    #[test]
    fn one_right_label_lifts_the_doubt_of_a_wrong_one() {
        let drift = Drift::default();
        let wrong = drift.doubt(0.9, Fresh::New, 0.0);
        assert!(wrong > 2.0 && wrong + drift.doubt(0.9, Fresh::Same, 0.0) < 0.0);
        assert!(drift.doubt(0.98, Fresh::New, 0.05) < drift.doubt(0.98, Fresh::New, 0.0));
        // Another answer that is remembered, too, says nothing about this one's age.
        assert!(drift.doubt(0.9, Fresh::Other, 0.0).abs() < 0.7);
    }
}
