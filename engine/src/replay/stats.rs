//! Shares with their intervals, and the test of a promise.

use serde::Serialize;

/// An interval that holds the true share with the probability asked for.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Interval {
    /// Its lower end.
    pub low: f64,
    /// Its upper end.
    pub high: f64,
}

/// `part` of `all`, 0 of nothing.
pub fn share(part: u64, all: u64) -> f64 {
    if all == 0 { 0.0 } else { part as f64 / all as f64 }
}

/// The probability of at most `successes` in `trials`, each with probability `p`.
pub fn at_most(successes: u64, trials: u64, p: f64) -> f64 {
    if successes >= trials || p <= 0.0 {
        return 1.0;
    }
    if p >= 1.0 {
        return 0.0;
    }
    let mut log = trials as f64 * (-p).ln_1p();
    let odds = (p / (1.0 - p)).ln();
    let mut sum = log.exp();
    for k in 1..=successes {
        log += ((trials - k + 1) as f64 / k as f64).ln() + odds;
        sum += log.exp();
    }
    sum.min(1.0)
}

/// The probability of `wrong` or more in `trials` if each is wrong with probability `promise`: below 0.05, the promise was
/// significantly broken.
pub fn broken(wrong: u64, trials: u64, promise: f64) -> f64 {
    wrong.checked_sub(1).map_or(1.0, |fewer| 1.0 - at_most(fewer, trials, promise))
}

/// The exact interval of Clopper and Pearson (1934) for a share, by bisection.
pub fn clopper_pearson(part: u64, all: u64, confidence: f64) -> Interval {
    let tail = (1.0 - confidence) / 2.0;
    let solve = |above: &dyn Fn(f64) -> bool| {
        let (mut low, mut high) = (0.0, 1.0);
        for _ in 0..60 {
            let middle = (low + high) / 2.0;
            if above(middle) { high = middle } else { low = middle }
        }
        (low + high) / 2.0
    };
    let low = if part == 0 { 0.0 } else { solve(&|p| broken(part, all, p) > tail) };
    let high = if part >= all { 1.0 } else { solve(&|p| at_most(part, all, p) < tail) };
    Interval { low, high }
}

/// The largest share of wrong ones that `trials` with `wrong` don't rule out, with one-sided confidence.
pub fn upper_bound(wrong: u64, trials: u64, confidence: f64) -> f64 {
    clopper_pearson(wrong, trials, 2.0 * confidence - 1.0).high
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_those_of_the_tables() {
        let i = clopper_pearson(1, 10, 0.95);
        assert!((i.low - 0.0025).abs() < 1e-3 && (i.high - 0.4450).abs() < 1e-3, "{i:?}");
        assert!((upper_bound(0, 299, 0.95) - 0.01).abs() < 1e-4);
        assert_eq!(clopper_pearson(0, 5, 0.95).low, 0.0);
        assert_eq!(clopper_pearson(5, 5, 0.95).high, 1.0);
    }

    #[test]
    fn a_promise_is_broken_when_so_many_wrong_ones_are_unlikely_under_it() {
        assert!(broken(27, 1800, 0.01) < 0.05);
        assert!(broken(20, 1800, 0.01) > 0.05);
        assert_eq!(broken(0, 10, 0.01), 1.0);
    }
}
