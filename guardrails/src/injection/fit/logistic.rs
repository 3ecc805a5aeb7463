//! Logistic regression on few numbers: accelerated gradient descent over all rows, and Platt's calibration.

use super::super::exact::probability;

/// How to train.
pub(super) struct Plan {
    /// The penalty on the squares of weights.
    pub(super) ridge: f64,
    pub(super) steps: usize,
    /// The least that a weight may be.
    pub(super) least: f64,
}

/// Weights and bias; attacks and benign rows count the same in sum.
pub(super) fn train(rows: &[(&[f32], bool, f32)], plan: &Plan) -> (Vec<f64>, f64) {
    let width = rows.first().map_or(0, |row| row.0.len());
    let shares = shares(&rows.iter().map(|row| (row.1, row.2)).collect::<Vec<_>>());
    let (mut weights, mut bias) = (vec![0f64; width], 0f64);
    let (mut ahead, mut ahead_bias) = (weights.clone(), bias);
    // Lipschitz: a quarter of the mean squared length of a row, one for the bias included.
    let length: f64 = rows
        .iter()
        .zip(&shares)
        .map(|(row, share)| share * (1.0 + row.0.iter().map(|x| f64::from(*x * *x)).sum::<f64>()))
        .sum();
    let step = 1.0 / (0.25 * length + plan.ridge).max(1e-9);
    let mut pace = 1f64;
    for _ in 0..plan.steps {
        let mut gradient: Vec<f64> = ahead.iter().map(|weight| plan.ridge * weight).collect();
        let mut bias_gradient = 0.0;
        for (row, share) in rows.iter().zip(&shares) {
            let odds = ahead_bias + row.0.iter().zip(&ahead).map(|(x, w)| f64::from(*x) * w).sum::<f64>();
            let error = (probability(odds) - f64::from(u8::from(row.1))) * share;
            bias_gradient += error;
            gradient.iter_mut().zip(row.0).for_each(|(g, x)| *g += error * f64::from(*x));
        }
        let next: Vec<f64> =
            ahead.iter().zip(&gradient).map(|(w, g)| (w - step * g).max(plan.least)).collect();
        let next_bias = ahead_bias - step * bias_gradient;
        let faster = (1.0 + (1.0 + 4.0 * pace * pace).sqrt()) / 2.0;
        let push = (pace - 1.0) / faster;
        ahead = next.iter().zip(&weights).map(|(new, old)| new + push * (new - old)).collect();
        ahead_bias = next_bias + push * (next_bias - bias);
        (weights, bias, pace) = (next, next_bias, faster);
    }
    (weights, bias)
}

/// What each row counts, in sum one half for attacks and one half for the others.
fn shares(rows: &[(bool, f32)]) -> Vec<f64> {
    let sum = |attack: bool| {
        rows.iter().filter(|row| row.0 == attack).map(|row| f64::from(row.1)).sum::<f64>().max(1e-9)
    };
    let (attacks, benign) = (sum(true), sum(false));
    rows.iter()
        .map(|(attack, weight)| 0.5 * f64::from(*weight) / if *attack { attacks } else { benign })
        .collect()
}

/// The slope and shift that make log odds fit what happened (Platt 1999), by Newton's method.
pub(super) fn platt(scored: &[(f64, bool, f32)]) -> (f64, f64) {
    let shares = shares(&scored.iter().map(|row| (row.1, row.2)).collect::<Vec<_>>());
    let (mut slope, mut shift) = (1f64, 0f64);
    for _ in 0..50 {
        let (mut g, mut h) = ([1e-6 * (slope - 1.0), 1e-6 * shift], [1e-6, 0.0, 1e-6]);
        for ((odds, attack, _), share) in scored.iter().zip(&shares) {
            let p = probability(slope * odds + shift);
            let error = (p - f64::from(u8::from(*attack))) * share;
            let bend = p * (1.0 - p) * share;
            g = [g[0] + error * odds, g[1] + error];
            h = [h[0] + bend * odds * odds, h[1] + bend * odds, h[2] + bend];
        }
        let det = h[0] * h[2] - h[1] * h[1];
        if det.abs() < 1e-18 {
            break;
        }
        slope -= ((h[2] * g[0] - h[1] * g[1]) / det).clamp(-1.0, 1.0);
        shift -= ((h[0] * g[1] - h[1] * g[0]) / det).clamp(-1.0, 1.0);
    }
    (slope.clamp(0.05, 5.0), shift)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_between_two_heaps_is_found_and_weights_stay_above_their_least() {
        let rows: Vec<([f32; 2], bool)> =
            (0..40u8).map(|i| ([f32::from(i) / 40.0, f32::from(i % 3)], i >= 20)).collect();
        let rows: Vec<(&[f32], bool, f32)> = rows.iter().map(|(x, y)| (&x[..], *y, 1.0)).collect();
        let (weights, bias) = train(&rows, &Plan { ridge: 1e-4, steps: 500, least: 0.0 });
        assert!(weights[0] > 5.0 && weights[1] >= 0.0);
        assert!((bias + weights[0] * 0.49 + weights[1]).abs() < 1.5);
        assert_eq!(train(&rows, &Plan { ridge: 1e-4, steps: 500, least: 0.0 }), (weights, bias));
    }

    #[test]
    fn calibration_tempers_odds_that_are_too_sure() {
        let scored: Vec<(f64, bool, f32)> = (0..100)
            .map(|i| (if i % 2 == 0 { 8.0 } else { -8.0 }, (i % 2 == 0) != (i % 10 < 2), 1.0))
            .collect();
        let (slope, _) = platt(&scored);
        assert!(slope < 0.5, "{slope}");
    }
}
