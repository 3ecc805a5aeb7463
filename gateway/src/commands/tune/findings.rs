//! What a sweep found, in a form that charts and page can be made of.

use sluice_engine::decide::Policy;
use sluice_engine::replay::Counts;
use sluice_engine::replay::stats::{self, Interval};

/// Promises that are tried live: shares of the hits that may be wrong.
pub(super) const PROMISES: [f64; 4] = [0.005, 0.01, 0.02, 0.05];

/// What became of requests, as the mean of several orders.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Tally {
    /// Requests.
    pub(super) requests: f64,
    /// Hits with the right answer.
    pub(super) right: f64,
    /// Hits with a wrong one.
    pub(super) wrong: f64,
    /// Hits that are neither: their answer depends on more than the intent.
    pub(super) uncounted: f64,
    /// Hits that were asked upstream as well.
    pub(super) checks: f64,
    /// Hits whose verdict is known: what the interval is reckoned from.
    pub(super) judged: f64,
}

impl Tally {
    /// The mean of several orders of the same requests.
    pub(super) fn mean<'a>(orders: impl IntoIterator<Item = &'a Counts>) -> Self {
        let orders: Vec<&Counts> = orders.into_iter().collect();
        let mean = |count: fn(&Counts) -> u64| {
            orders.iter().map(|counts| count(counts) as f64).sum::<f64>() / orders.len().max(1) as f64
        };
        Self {
            requests: mean(|c| c.requests),
            right: mean(|c| c.right),
            wrong: mean(|c| c.wrong),
            uncounted: mean(|c| c.uncounted),
            checks: mean(|c| c.spot_checks),
            judged: mean(|c| c.right + c.wrong),
        }
    }

    /// Hits.
    pub(super) fn hits(&self) -> f64 {
        self.right + self.wrong + self.uncounted
    }

    /// Hits per request.
    pub(super) fn hit_rate(&self) -> f64 {
        ratio(self.hits(), self.requests)
    }

    /// Right hits per request.
    pub(super) fn right_rate(&self) -> f64 {
        ratio(self.right, self.requests)
    }

    /// The share of the hits that was wrong.
    pub(super) fn false_hit_rate(&self) -> f64 {
        ratio(self.wrong, self.right + self.wrong)
    }

    /// Its 95 % interval, for as many verdicts as one order has.
    pub(super) fn interval(&self) -> Interval {
        let judged = self.judged.round();
        stats::clopper_pearson((self.false_hit_rate() * judged).round() as u64, judged as u64, 0.95)
    }

    /// Cost per request in provider calls: misses, spot checks, and `price` for each wrong answer.
    pub(super) fn cost(&self, price: f64) -> f64 {
        ratio(price * self.wrong + (self.requests - self.hits()) + self.checks, self.requests)
    }
}

/// `part` of `all`, 0 of nothing.
pub(super) fn ratio(part: f64, all: f64) -> f64 {
    if all > 0.0 { part / all } else { 0.0 }
}

/// A policy whose one number was fixed beforehand.
#[derive(Clone, Debug)]
pub(super) struct Point {
    /// The least similarity, or the least probability.
    pub(super) setting: f64,
    /// What became of the requests.
    pub(super) tally: Tally,
    /// The same for each tenth.
    pub(super) tenths: Vec<Tally>,
}

/// The cheapest of a sweep.
pub(super) fn cheapest(points: &[Point], price: f64) -> Option<&Point> {
    points.iter().min_by(|a, b| a.tally.cost(price).total_cmp(&b.tally.cost(price)))
}

/// A policy that states how many hits may be wrong.
#[derive(Clone, Debug)]
pub(super) struct Promised {
    /// Most of the hits that may be wrong.
    pub(super) promise: f64,
    /// What became of the requests.
    pub(super) tally: Tally,
    /// The same for each tenth.
    pub(super) tenths: Vec<Tally>,
    /// Whether the promise was kept.
    pub(super) kept: bool,
}

impl Promised {
    /// Its policy.
    pub(super) fn policy(&self) -> Policy {
        Policy::Calibrated { max_false_hit_rate: self.promise, strict: false }
    }
}

/// Candidates of about the same confidence.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Bin {
    /// Mean confidence.
    pub(super) confidence: f64,
    /// How many had the right answer.
    pub(super) right: u64,
    /// How many there are.
    pub(super) all: u64,
}

/// Most bins of a reliability diagram.
const BINS: usize = 14;
/// Fewest candidates in a bin.
const FEWEST: usize = 20;

/// Candidates in bins of equal number.
pub(super) fn bins(mut seen: Vec<(f64, bool)>) -> Vec<Bin> {
    seen.sort_by(|a, b| a.0.total_cmp(&b.0));
    let size = (seen.len().div_ceil(BINS)).max(FEWEST);
    let bin = |part: &[(f64, bool)]| Bin {
        confidence: part.iter().map(|(confidence, _)| confidence).sum::<f64>() / part.len() as f64,
        right: part.iter().filter(|(_, right)| *right).count() as u64,
        all: part.len() as u64,
    };
    seen.chunks(size).map(bin).collect()
}

/// A would-be hit, for a person to judge. Holds content, so it has no debug output.
#[derive(Clone)]
pub(super) struct Pair {
    /// What is asked.
    pub(super) asked: Option<String>,
    /// What had been asked when the answer was given.
    pub(super) remembered: Option<String>,
    /// Cosine similarity to the nearest prompt that has the answer.
    pub(super) similarity: f64,
    /// The probability that it is right; nothing where the policy doesn't reckon one.
    pub(super) confidence: Option<f64>,
    /// Whether it was, if that is known.
    pub(super) right: Option<bool>,
}

/// Pairs shown to a person.
const RISKIEST: usize = 20;

/// Those to look at: wrong ones that looked best, for one half; then what the cache was least sure of.
pub(super) fn riskiest(mut pairs: Vec<Pair>) -> Vec<Pair> {
    let sure = |pair: &Pair| pair.confidence.unwrap_or(pair.similarity);
    pairs.sort_by(|a, b| sure(a).total_cmp(&sure(b)));
    let (wrong, rest): (Vec<Pair>, Vec<Pair>) = pairs.into_iter().partition(|pair| pair.right == Some(false));
    let few = wrong.len().min((RISKIEST / 2).max(RISKIEST.saturating_sub(rest.len())));
    let mut chosen: Vec<Pair> = wrong.into_iter().rev().take(few).collect();
    chosen.extend(rest.into_iter().take(RISKIEST - few));
    chosen
}

/// Where the figures come from.
pub(super) enum Source {
    /// Replays of a labelled stream.
    Stream {
        /// How many orders.
        orders: u64,
        /// The embedding model.
        model: String,
    },
    /// A shadow log.
    Shadow {
        /// Its lines.
        lines: usize,
        /// Those with a verdict.
        judged: usize,
        /// Whether it says how many requests there were.
        numbered: bool,
        /// Seconds since 1970 of the first and the last line.
        span: Option<(f64, f64)>,
    },
}

/// All of it.
pub(super) struct Findings {
    /// The file's name.
    pub(super) file: String,
    /// Where the figures come from.
    pub(super) source: Source,
    /// Price of a wrong answer, in provider calls.
    pub(super) price: f64,
    /// Equal requests alone.
    pub(super) exact: Tally,
    /// The sweep of fixed thresholds, by rising similarity.
    pub(super) fixed: Vec<Point>,
    /// The sweep of cuts on the probability, by rising probability.
    pub(super) cuts: Vec<Point>,
    /// Policies with a promise.
    pub(super) promised: Vec<Promised>,
    /// Which of them is recommended; none if nothing may be served yet.
    pub(super) recommended: Option<usize>,
    /// How often the cache was right, by how sure it was.
    pub(super) reliability: Vec<Bin>,
    /// What a person should look at.
    pub(super) risky: Vec<Pair>,
    /// The rule that would have served those.
    pub(super) risky_by: Policy,
}

impl Findings {
    /// The recommended policy.
    pub(super) fn choice(&self) -> Option<&Promised> {
        self.promised.get(self.recommended?)
    }
}

/// The cheapest whose promise was kept; none if equal requests alone cost as little.
pub(super) fn recommend(promised: &[Promised], exact: &Tally, price: f64) -> Option<usize> {
    let kept = promised.iter().enumerate().filter(|(_, policy)| policy.kept);
    let cheapest = kept.min_by(|(_, a), (_, b)| a.tally.cost(price).total_cmp(&b.tally.cost(price)));
    cheapest.filter(|(_, policy)| policy.tally.cost(price) < exact.cost(price)).map(|(at, _)| at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(right: f64, wrong: f64, checks: f64) -> Tally {
        Tally { requests: 100.0, right, wrong, uncounted: 0.0, checks, judged: right + wrong }
    }

    fn promised(promise: f64, tally: Tally, kept: bool) -> Promised {
        Promised { promise, tally, tenths: Vec::new(), kept }
    }

    #[test]
    fn a_wrong_answer_costs_its_price_and_a_miss_or_a_check_one_call() {
        assert!((tally(50.0, 1.0, 2.0).cost(50.0) - (50.0 + 49.0 + 2.0) / 100.0).abs() < 1e-12);
        assert_eq!(tally(0.0, 0.0, 0.0).cost(50.0), 1.0);
    }

    #[test]
    fn the_cheapest_policy_that_kept_its_promise_is_recommended_or_none() {
        let policies = [
            promised(0.01, tally(40.0, 0.0, 2.0), true),
            promised(0.02, tally(60.0, 0.5, 2.0), true),
            promised(0.05, tally(90.0, 0.1, 2.0), false),
        ];
        assert_eq!(recommend(&policies, &tally(1.0, 0.0, 0.0), 1.0), Some(1));
        assert_eq!(recommend(&policies, &tally(1.0, 0.0, 0.0), 50.0), Some(0));
        assert_eq!(recommend(&policies, &tally(70.0, 0.0, 0.0), 50.0), None);
        assert_eq!(recommend(&policies[2..], &tally(1.0, 0.0, 0.0), 50.0), None);
    }

    #[test]
    fn the_riskiest_are_wrong_ones_that_looked_best_then_what_was_least_sure() {
        let pair = |confidence: f64, right| Pair {
            asked: None,
            remembered: None,
            similarity: 0.9,
            confidence: Some(confidence),
            right,
        };
        let mut pairs: Vec<Pair> = (0..40).map(|i| pair(f64::from(i) / 40.0, Some(true))).collect();
        pairs.extend((0..15).map(|i| pair(f64::from(i) / 15.0, Some(false))));
        let chosen = riskiest(pairs.clone());
        assert_eq!(chosen.len(), 20);
        assert!(chosen[..10].iter().all(|pair| pair.right == Some(false)));
        assert_eq!(chosen[0].confidence, Some(14.0 / 15.0));
        assert_eq!(chosen[10].confidence, Some(0.0));
        assert_eq!(riskiest(pairs[38..].to_vec()).len(), 17);
        assert!(riskiest(Vec::new()).is_empty());
    }

    #[test]
    fn bins_hold_every_candidate_once() {
        let seen: Vec<(f64, bool)> = (0..1001).map(|i| (f64::from(i % 100) / 100.0, i % 3 == 0)).collect();
        let found = bins(seen);
        assert_eq!(found.iter().map(|bin| bin.all).sum::<u64>(), 1001);
        assert_eq!(found.iter().map(|bin| bin.right).sum::<u64>(), 334);
        assert!(found.is_sorted_by(|a, b| a.confidence <= b.confidence) && found.len() <= 14);
    }
}
