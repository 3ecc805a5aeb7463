//! The rule of vCache, for comparison: each remembered answer learns from its own labels alone, and the answer is asked for
//! anew with a chance that keeps each request's error below the bound (Schroeder et al., "vCache: verified semantic prompt
//! caching", 2025, section 4).
//!
//! The paper fits a logistic curve of similarity by maximum likelihood, which diverges when right and wrong labels don't
//! overlap. Here both coefficients have Gaussian priors, so that the curve and its variance always exist.

use super::model::sigmoid;

/// Labels an answer needs before it is served at all.
const LEAST_LABELS: usize = 4;
/// Similarities are measured from here, in units of `UNIT`.
const CENTRE: f64 = 0.8;
const UNIT: f64 = 0.1;
/// Prior of the level and of the slope, in those units: mean and variance.
const LEVEL: (f64, f64) = (0.0, 9.0);
const SLOPE: (f64, f64) = (2.0, 4.0);
/// Levels of confidence tried.
const LEVELS: usize = 50;

/// The chance with which the answer should be asked for anew instead of served, for at most `promise` errors per request.
/// `labels` are the similarities at which the answer was tried, and whether it was right.
pub fn chance_to_explore(labels: &[(f32, bool)], similarity: f32, promise: f64) -> f64 {
    if labels.len() < LEAST_LABELS {
        return 1.0;
    }
    let sure = lower_bounds(labels, similarity).fold(0.0, f64::max);
    if sure >= 1.0 { 0.0 } else { (1.0 - promise / (1.0 - sure)).clamp(0.0, 1.0) }
}

/// `(1 - e)` times the probability that only a share `e` of the posterior lies below, for several `e`.
fn lower_bounds(labels: &[(f32, bool)], similarity: f32) -> impl Iterator<Item = f64> {
    let x = |s: f32| (f64::from(s) - CENTRE) / UNIT;
    let (mut level, mut slope) = (LEVEL.0, SLOPE.0);
    let mut inverse = [0.0; 3];
    for _ in 0..20 {
        let (mut g, mut h) = ([0.0; 2], [1.0 / LEVEL.1, 0.0, 1.0 / SLOPE.1]);
        g[0] -= (level - LEVEL.0) / LEVEL.1;
        g[1] -= (slope - SLOPE.0) / SLOPE.1;
        for &(s, right) in labels {
            let x = x(s);
            let p = sigmoid(level + slope * x);
            let error = f64::from(u8::from(right)) - p;
            let v = p * (1.0 - p);
            g = [g[0] + error, g[1] + error * x];
            h = [h[0] + v, h[1] + v * x, h[2] + v * x * x];
        }
        let determinant = h[0] * h[2] - h[1] * h[1];
        inverse = [h[2] / determinant, -h[1] / determinant, h[0] / determinant];
        level += (inverse[0] * g[0] + inverse[1] * g[1]).clamp(-2.0, 2.0);
        slope = (slope + (inverse[1] * g[0] + inverse[2] * g[1]).clamp(-2.0, 2.0)).max(1e-6);
    }
    let at = x(similarity);
    let mean = level + slope * at;
    let deviation = (inverse[0] + 2.0 * at * inverse[1] + at * at * inverse[2]).max(0.0).sqrt();
    (1..LEVELS).map(move |i| {
        let share = i as f64 / LEVELS as f64;
        (1.0 - share) * sigmoid(mean + normal_quantile(share) * deviation)
    })
}

/// The quantile of the standard normal distribution, to about 5e-4 (Abramowitz and Stegun, 26.2.23).
pub(crate) fn normal_quantile(p: f64) -> f64 {
    let tail = p.min(1.0 - p).clamp(1e-12, 0.5);
    let t = (-2.0 * tail.ln()).sqrt();
    let fraction = (2.515_517 + 0.802_853 * t + 0.010_328 * t * t)
        / (1.0 + 1.432_788 * t + 0.189_269 * t * t + 0.001_308 * t * t * t);
    if p < 0.5 { fraction - t } else { t - fraction }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_without_labels_is_never_served_and_one_with_many_right_ones_mostly() {
        assert_eq!(chance_to_explore(&[(0.9, true); 3], 0.99, 0.02), 1.0);
        let right = chance_to_explore(&[(0.9, true); 60], 0.95, 0.02);
        assert!(right < 0.9, "{right}");
        let mixed: Vec<_> = (0..60).map(|i| (0.9, i % 2 == 0)).collect();
        assert!(chance_to_explore(&mixed, 0.9, 0.02) > 0.9);
    }

    #[test]
    fn quantiles_are_those_of_the_table() {
        for (p, z) in [(0.5, 0.0), (0.95, 1.645), (0.975, 1.96), (0.05, -1.645)] {
            assert!((normal_quantile(p) - z).abs() < 1e-3, "{p}");
        }
    }
}
