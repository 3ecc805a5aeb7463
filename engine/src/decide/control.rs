//! How sure is sure enough: the cut on the probability that keeps the share of wrong hits below what was promised.
//!
//! A partition counts, by probability, the candidates it saw and how many of them its model expects to be wrong. Labels of
//! probable candidates (misses and spot checks) say by what factor the model errs there, shrunk towards the pool of all
//! partitions. The cut is the smallest at which the expected share, times a cautious factor, stays below the promise.

use serde::{Deserialize, Serialize};

use super::model::logit;

/// Bins of log odds, from `LOWEST` on, `STEP` wide each; the last is open.
const BINS: usize = 48;
const LOWEST: f64 = -2.0;
const STEP: f64 = 0.2;
/// What is left of a count after one more candidate: a memory of the last few thousand.
const MEMORY: f64 = 1.0 - 1.0 / 4000.0;
/// What is left of a label after one more: the factor remembers the last few hundred.
const LABEL_MEMORY: f64 = 1.0 - 1.0 / 1500.0;
/// Wrong candidates that "the model is right" is worth, before there are labels.
const TRUST: f64 = 3.0;
/// Candidates that the shipped cut is worth, against the partition's own counts.
const SHIPPED: f64 = 40.0;
/// Share of the promise that is aimed at: a run's outcome scatters around what is expected.
const AIM: f64 = 0.95;
/// Standard deviations added to the factor before it is used.
const CAUTION: f64 = 0.25;
/// And those that the factor must exceed the promise by before the partition serves nothing.
const DOUBT: f64 = 1.64;
/// Labels of candidates at least this probable tell by what factor the model errs.
const PROBABLE: f64 = 0.7;
/// Spot checks, and fresh answers without a verdict, with no label between them, after which labels are taken to have stopped.
const SILENCE: u32 = 200;
/// Most spot checks, as a share of all requests, and the share that is aimed at.
const CHECKS: f64 = 0.05;
const CHECKS_AIM: f64 = 0.042;
/// So many checks left over double a hit's chance to be checked.
const LEFT_OVER: f64 = 10.0;
/// Bounds of a hit's chance to be checked.
const MOST_CHECKED: f64 = 0.4;
const LEAST_CHECKED: f64 = 0.03;
/// Share of the checks that goes to the less certain hits rather than to all alike.
const UNEVEN: f64 = 0.5;

/// By what factor more candidates were wrong than the model said, as a gamma posterior.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Factor {
    wrong: f64,
    expected: f64,
}

impl Factor {
    /// Counts a label: the chance that it was wrong after, and before it was known.
    pub fn count(&mut self, wrong: f64, expected: f64) {
        self.wrong = self.wrong * LABEL_MEMORY + wrong;
        self.expected = self.expected * LABEL_MEMORY + expected;
    }

    /// The mean and the standard deviation of the factor, given that it lies around `centre`.
    fn posterior(&self, centre: f64) -> (f64, f64) {
        let (shape, rate) = (TRUST + self.wrong, TRUST / centre + self.expected);
        (shape / rate, shape.sqrt() / rate)
    }

    /// Its mean, for others to be shrunk to.
    pub fn mean(&self) -> f64 {
        self.posterior(1.0).0
    }
}

/// What the spot checks of a partition say about its hits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// Share of the recent hits that was wrong: the model's expectation, put right by the weighted checks. Unbiased
    /// whatever the model says.
    pub rate: f64,
    /// Its standard error.
    pub error: f64,
    /// Hits it is about, older ones counted less.
    pub hits: f64,
}

/// The books of one partition.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Control {
    seen: Vec<f64>,
    expected: Vec<f64>,
    factor: Factor,
    requests: f64,
    checks: f64,
    /// Recent mean of sqrt(a(1-a)) over requests, 0 for those that are no hit: what the chance to be checked goes by.
    spread: f64,
    unanswered: u32,
    hits: f64,
    hits_expected: f64,
    correction: f64,
    correction_square: f64,
}

impl Default for Control {
    fn default() -> Self {
        Self {
            seen: vec![0.0; BINS],
            expected: vec![0.0; BINS],
            factor: Factor::default(),
            requests: 0.0,
            checks: 0.0,
            spread: 0.03,
            unanswered: 0,
            hits: 0.0,
            hits_expected: 0.0,
            correction: 0.0,
            correction_square: 0.0,
        }
    }
}

fn bin(probability: f64) -> usize {
    let z = ((logit(probability) - LOWEST) / STEP).floor();
    (z.max(0.0) as usize).min(BINS - 1)
}

/// The log odds of a hit that is wrong with probability `wrong`.
fn odds_of_right(wrong: f64) -> f64 {
    logit(1.0 - wrong)
}

impl Control {
    /// Counts a candidate.
    pub fn saw(&mut self, probability: f64) {
        for (seen, expected) in self.seen.iter_mut().zip(&mut self.expected) {
            *seen *= MEMORY;
            *expected *= MEMORY;
        }
        let at = bin(probability);
        self.seen[at] += 1.0;
        self.expected[at] += 1.0 - probability;
    }

    /// Counts a request, whatever became of it.
    pub fn asked(&mut self) {
        self.requests += 1.0;
        self.spread *= 1.0 - 1.0 / 300.0;
    }

    /// The least log odds at which an answer may be served so that at most `promise` of the hits are wrong; `shipped` is the
    /// cut that was certified before, `centre` the factor of all partitions together. Infinite if nothing may be served.
    pub fn cut(&self, promise: f64, shipped: f64, centre: f64) -> f64 {
        if self.unanswered > SILENCE {
            return f64::INFINITY;
        }
        let (mean, deviation) = self.factor.posterior(centre);
        let aim = AIM * promise;
        let cautious = mean + CAUTION * deviation;
        let (own, share) = self.own_cut(aim / cautious);
        let certain = (mean - DOUBT * deviation) * share;
        if certain > promise {
            return f64::INFINITY;
        }
        let seen: f64 = self.seen.iter().sum();
        let shipped = shipped.max(odds_of_right(promise)) + cautious.ln();
        (SHIPPED * shipped + seen * own) / (SHIPPED + seen)
    }

    /// The smallest edge of a bin above which the model expects at most `aim` to be wrong, and what it expects there. The
    /// edge at which a hit by itself meets the aim is always good enough.
    fn own_cut(&self, aim: f64) -> (f64, f64) {
        let (mut seen, mut expected) = (0.0, 0.0);
        let mut found = (odds_of_right(aim.min(0.5)), aim);
        for at in (0..BINS).rev() {
            seen += self.seen[at];
            expected += self.expected[at];
            let edge = LOWEST + STEP * at as f64;
            let share = expected / f64::max(seen, 1e-9);
            if seen > 0.5 && share > aim {
                // Part of the bin may still fit.
                let over = (expected - aim * seen) / f64::max(self.expected[at] - aim * self.seen[at], 1e-9);
                let partly = edge + STEP * over.clamp(0.0, 1.0);
                return (partly.min(found.0), aim);
            }
            if edge < found.0 {
                found = (edge, share);
            }
        }
        found
    }

    /// The chance with which a hit of this probability is checked. 0 when the budget is spent.
    pub fn chance_of_check(&self, probability: f64) -> f64 {
        if self.checks + 1.0 > CHECKS * self.requests + 2.0 {
            return 0.0;
        }
        let warm = if self.requests < 400.0 { 1.5 } else { 1.0 };
        // What hits too few, or bounds too narrow, have left over.
        let left = 1.0 + (CHECKS_AIM * self.requests - self.checks).max(0.0) / LEFT_OVER;
        let spread = (probability * (1.0 - probability)).sqrt();
        let doubtful = UNEVEN * CHECKS_AIM * spread / self.spread.max(1e-4);
        (warm * left * (LEAST_CHECKED + doubtful)).clamp(LEAST_CHECKED, MOST_CHECKED)
    }

    /// Counts a hit, and whether it is checked.
    pub fn served(&mut self, probability: f64, checked: bool) {
        self.spread += (probability * (1.0 - probability)).sqrt() / 300.0;
        self.checks += f64::from(u8::from(checked));
        for sum in
            [&mut self.hits, &mut self.hits_expected, &mut self.correction, &mut self.correction_square]
        {
            *sum *= MEMORY;
        }
        self.hits += 1.0;
        self.hits_expected += 1.0 - probability;
        if checked {
            self.unanswered += 1;
        }
    }

    /// Counts a fresh answer without a verdict.
    pub fn unjudged(&mut self) {
        self.unanswered += 1;
    }

    /// A label came, of whatever candidate.
    pub fn heard(&mut self) {
        self.unanswered = 0;
    }

    /// Counts a label of a candidate that had `probability`; `wrong` is the chance that its answer was wrong, now that the
    /// judge has spoken. A check's `weight` is one over its chance; a miss has none.
    pub fn label(&mut self, probability: f64, wrong: f64, weight: Option<f64>) {
        if probability >= PROBABLE {
            self.factor.count(wrong, 1.0 - probability);
        }
        if let Some(weight) = weight {
            let surprise = weight * (wrong - (1.0 - probability));
            self.correction += surprise;
            self.correction_square += surprise * surprise;
        }
    }

    /// What the checks say.
    pub fn estimate(&self) -> Estimate {
        if self.hits < 1.0 {
            return Estimate::default();
        }
        let rate = ((self.hits_expected + self.correction) / self.hits).clamp(0.0, 1.0);
        Estimate { rate, error: self.correction_square.sqrt() / self.hits, hits: self.hits }
    }

    /// Spot checks asked for so far.
    pub fn checks(&self) -> u64 {
        self.checks as u64
    }

    /// Whether it can be used: it may come from a file.
    pub fn is_sound(&self) -> bool {
        let all = self.seen.iter().chain(&self.expected);
        self.seen.len() == BINS && self.expected.len() == BINS && all.into_iter().all(|x| x.is_finite())
    }
}
