//! Have the answers changed? A cumulative sum over surprising labels (Page, "Continuous inspection schemes", 1954).
//!
//! Where labels say "wrong" of candidates that match well, the likelier cause is that upstream answers differently now. Then
//! every answer that was not confirmed since is suspended until a fresh one agrees with it.

use serde::{Deserialize, Serialize};

/// Log odds at which a change is taken for certain enough.
const ALARM: f64 = 4.0;
/// Share of the answers that a change is supposed to concern.
const CHANGED: f64 = 0.5;
/// Candidates less probable than this tell nothing.
const PROBABLE: f64 = 0.5;

/// Watches the labels of one partition. Time is counted in requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Drift {
    sum: f64,
    /// When the sum was last zero.
    since: u64,
    /// When answers changed last, so far as it was noticed.
    changed: u64,
}

impl Drift {
    /// Learns a label of a candidate that was right with `probability`, had nothing changed. Returns whether this is an alarm.
    /// `noise` is the judge's own rate of errors.
    pub fn label(&mut self, probability: f64, right: bool, noise: f64, now: u64) -> bool {
        if probability < PROBABLE {
            return false;
        }
        let seen = |p: f64| {
            let p = noise + (1.0 - 2.0 * noise) * p.min(0.98);
            if right { p } else { 1.0 - p }
        };
        let evidence = (seen(probability * (1.0 - CHANGED)) / seen(probability)).ln();
        if self.sum <= 0.0 {
            self.since = now;
        }
        self.sum = (self.sum + evidence).max(0.0);
        let alarm = self.sum >= ALARM;
        if alarm {
            self.changed = self.since;
            self.sum = 0.0;
        }
        alarm
    }

    /// Whether an answer last confirmed at `confirmed` may have changed since.
    pub fn suspects(&self, confirmed: u64) -> bool {
        self.changed > 0 && confirmed < self.changed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(drift: &mut Drift, rng: &mut fastrand::Rng, labels: u64, right: f64) -> usize {
        (0..labels).filter(|&at| drift.label(0.9, rng.f64() < right, 0.0, at)).count()
    }

    #[test]
    fn labels_as_expected_raise_no_alarm_and_a_change_is_noticed_within_a_few() {
        let mut rng = fastrand::Rng::with_seed(3);
        let mut drift = Drift::default();
        assert!(run(&mut drift, &mut rng, 2000, 0.9) <= 2);
        let first = (0..100).find(|&at| drift.label(0.9, rng.f64() < 0.45, 0.0, 2000 + at));
        assert!(first.is_some_and(|at| at < 40), "{first:?}");
        assert!(drift.suspects(1900) && !drift.suspects(2100));
    }
}
