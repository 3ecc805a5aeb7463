//! Fitting what the cache knows before its first label: weights on labelled streams, and cuts tested on other orders of the
//! same prompts. That is in-sample: a cut is where to begin, and what keeps the promise is learning.

use serde_json::Value;

use super::stats::upper_bound;
use super::{Counts, Observation, Options, Stream, order};
use crate::decide::evidence;
use crate::decide::model::{Prior, sigmoid};
use crate::decide::prior::{CertifiedCut, Shipped};

/// A labelled stream to fit on.
pub struct Material<'a> {
    /// Its prompts.
    pub stream: Stream<'a>,
    /// The lines to use.
    pub lines: Vec<usize>,
    /// How much a candidate of it counts.
    pub weight: f64,
    /// Whether its requests count when cuts are certified.
    pub certifies: bool,
}

/// A candidate, for the fit.
struct Row {
    features: Vec<f32>,
    right: bool,
    weight: f64,
}

/// Variance of the weights between partitions, in standard units: found by fitting on one stream and replaying another.
const VARIANCE: f64 = 0.03;
/// Strength of the penalty on each weight.
const PENALTY: f64 = 5.0;
/// Replays with the weights of the replay before: what is stored depends on what was served.
const ROUNDS: u64 = 3;
/// Cuts that the streams are replayed at.
const CUTS: [f64; 2] = [0.97, 0.9];
/// Promises that cuts are certified for.
const PROMISES: [f64; 7] = [0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1];
/// Confidence of a test.
const CONFIDENCE: f64 = 0.95;

/// Fits the weights on all materials and tests cuts on those that say so.
pub fn fit(materials: &[Material<'_>], card: Value) -> Shipped {
    let mut shipped = Shipped::nothing();
    let mut rows = Vec::new();
    for round in 0..ROUNDS {
        if round == 1 {
            rows.clear();
        }
        for material in materials {
            for (at, &cut) in CUTS.iter().enumerate() {
                let seed = 1 + 10 * round + at as u64;
                gather(material, seed, cut, &shipped, &mut rows);
            }
        }
        shipped.prior = logistic(&rows);
    }
    shipped.cuts = certify(materials, &shipped);
    shipped.card = card;
    shipped
}

fn shuffled(material: &Material<'_>, seed: u64) -> Vec<usize> {
    order(material.lines.len(), seed).into_iter().map(|at| material.lines[at]).collect()
}

fn gather(material: &Material<'_>, seed: u64, cut: f64, shipped: &Shipped, rows: &mut Vec<Row>) {
    let options = Options { seed, cut: Some(cut), ..Options::default() };
    let weight = material.weight;
    let mut observe = |seen: &Observation<'_>| {
        rows.push(Row { features: seen.ticket.features().to_vec(), right: seen.right, weight });
    };
    material.stream.replay(&shuffled(material, seed), &options, shipped, &mut observe);
}

/// A logistic regression with a penalty on the squares of the weights, by Newton's method.
fn logistic(rows: &[Row]) -> Prior {
    let count = evidence::COUNT;
    let all: f64 = rows.iter().map(|row| row.weight).sum::<f64>().max(1e-9);
    let mut mean = vec![0.0; count];
    let mut scale = vec![0.0; count];
    for row in rows {
        mean.iter_mut().zip(&row.features).for_each(|(m, &x)| *m += row.weight * f64::from(x) / all);
    }
    for row in rows {
        let off = scale.iter_mut().zip(&row.features).zip(&mean);
        off.for_each(|((s, &x), m)| *s += row.weight * (f64::from(x) - m).powi(2) / all);
    }
    scale.iter_mut().for_each(|s| *s = s.sqrt().max(0.02));
    (mean[0], scale[0]) = (0.0, 1.0);
    let features = evidence::names().map(str::to_owned).collect();
    let mut prior = Prior { features, mean, scale, weights: vec![0.0; count], variance: VARIANCE };
    for _ in 0..15 {
        let step = newton(rows, &prior);
        let largest = step.iter().fold(0.0, |most: f64, s| most.max(s.abs()));
        prior.weights.iter_mut().zip(&step).for_each(|(w, s)| *w += s.clamp(-2.0, 2.0));
        if largest < 1e-5 {
            break;
        }
    }
    prior
}

fn newton(rows: &[Row], prior: &Prior) -> Vec<f64> {
    let count = prior.weights.len();
    let mut hessian = vec![0.0; count * count];
    let mut gradient = vec![0.0; count];
    for row in rows {
        let x = prior.standardise(&row.features);
        let p = sigmoid(x.iter().zip(&prior.weights).map(|(x, w)| x * w).sum());
        let (error, curve) = (row.weight * (f64::from(u8::from(row.right)) - p), row.weight * p * (1.0 - p));
        for (i, &xi) in x.iter().enumerate() {
            gradient[i] += error * xi;
            let line = &mut hessian[i * count..=i * count + i];
            line.iter_mut().zip(&x).for_each(|(h, xj)| *h += curve * xi * xj);
        }
    }
    for i in 0..count {
        let penalty = if i == 0 { 1e-3 } else { PENALTY };
        hessian[i * count + i] += penalty;
        gradient[i] -= penalty * prior.weights[i];
    }
    solve(hessian, gradient)
}

/// Solves `a x = b` for a positive definite `a`, of which the lower half is read, by Cholesky's method.
fn solve(mut a: Vec<f64>, mut b: Vec<f64>) -> Vec<f64> {
    let count = b.len();
    for i in 0..count {
        for j in 0..=i {
            let known: f64 = (0..j).map(|k| a[i * count + k] * a[j * count + k]).sum();
            let rest = a[i * count + j] - known;
            a[i * count + j] = if i == j { rest.max(1e-12).sqrt() } else { rest / a[j * count + j] };
        }
    }
    for i in 0..count {
        let known: f64 = (0..i).map(|k| a[i * count + k] * b[k]).sum();
        b[i] = (b[i] - known) / a[i * count + i];
    }
    for i in (0..count).rev() {
        let known: f64 = (i + 1..count).map(|k| a[k * count + i] * b[k]).sum();
        b[i] = (b[i] - known) / a[i * count + i];
    }
    b
}

/// Learn-then-test with a fixed sequence (Angelopoulos et al., 2021): from the strictest cut on, each is tested for whether its
/// share of wrong hits is below the promise; the last before the first failure is certified.
fn certify(materials: &[Material<'_>], shipped: &Shipped) -> Vec<CertifiedCut> {
    let mut grid: Vec<(f64, Vec<Counts>)> = Vec::new();
    for step in 0..14 {
        let cut = sigmoid(6.0 - 0.35 * f64::from(step));
        let mut all = Vec::new();
        for material in materials.iter().filter(|m| m.certifies) {
            let options = Options { seed: 900, cut: Some(cut), ..Options::default() };
            let report = material.stream.replay(&shuffled(material, 900), &options, shipped, &mut |_| ());
            all.push(report.total);
        }
        grid.push((cut, all));
    }
    let passes = |counts: &[Counts], promise: f64| {
        counts.iter().all(|c| upper_bound(c.wrong, c.right + c.wrong, CONFIDENCE) <= promise)
    };
    let mut cuts = Vec::new();
    for promise in PROMISES {
        // Where hits are too few for any certificate the cut is stricter than that of the last.
        let first = grid.iter().position(|(_, counts)| passes(counts, promise));
        let run = first.map(|first| grid[first..].iter().take_while(|(_, counts)| passes(counts, promise)));
        if let Some((cut, _)) = run.and_then(Iterator::last) {
            cuts.push(CertifiedCut { max_false_hit_rate: promise, cut: *cut });
        }
    }
    cuts
}
