//! Fitting what the cache knows before its first label, on labelled streams. A cut is where to begin; what keeps the promise
//! is learning.

use std::collections::HashMap;

use serde_json::Value;

use super::boost::{Growth, Row, grow};
use super::stats::upper_bound;
use super::{Counts, Observation, Options, Stream, order};
use crate::decide::evidence;
use crate::decide::model::{Prior, sigmoid};
use crate::decide::prior::{CertifiedCut, Shipped};

/// In which order prompts arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// By chance.
    Shuffled,
    /// Intent after intent.
    Sorted,
}

/// A labelled stream to fit on.
pub struct Material<'a> {
    /// Its prompts.
    pub stream: &'a Stream<'a>,
    /// The lines to use.
    pub lines: Vec<usize>,
    /// How they arrive.
    pub arrival: Arrival,
    /// How much a candidate of it counts.
    pub weight: f64,
    /// Whether its requests count when cuts are certified.
    pub certifies: bool,
}

/// Variance of the weights between partitions, in standard units: found by fitting on one stream and replaying another.
const VARIANCE: f64 = 0.06;
/// The same of the trees' say.
const TREES_VARIANCE: f64 = 0.1;
/// How the trees are grown: small steps and cautious leaves, found by fitting on one stream and replaying another.
const GROWTH: Growth = Growth { trees: 150, depth: 4, rate: 0.06, penalty: 5.0, least: 8.0, sample: 0.7 };
/// Replays with the weights of the replay before: what is stored depends on what was served.
const ROUNDS: u64 = 3;
/// Cuts that the streams are replayed at.
const CUTS: [f64; 2] = [0.97, 0.9];
/// Promises that cuts are certified for.
const PROMISES: [f64; 7] = [0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1];
/// Confidence of a test.
const CONFIDENCE: f64 = 0.95;

/// Fits on all materials. How sure the trees may be of themselves, and the cuts, come from replays of intents that the trees
/// had not seen: they are grown on each half of the intents, too, and tried on the other.
pub fn fit(materials: &[Material<'_>], card: Value) -> Shipped {
    let halves = [0, 1].map(|half| grown(materials, &|intent| half_of(intent) == half));
    let mut unseen = Vec::new();
    for (half, shipped) in halves.iter().enumerate() {
        let mut rows = Vec::new();
        for material in materials {
            gather(material, 500, CUTS[0], (shipped, &|intent| half_of(intent) != half), &mut rows);
        }
        let scored = |row: Row| (shipped.prior.trees.score(&row.features), row);
        unseen.extend(rows.into_iter().map(scored));
    }
    let scale = sureness(&unseen);
    let halves = halves.map(|shipped| tempered(shipped, scale));
    let mut shipped = tempered(grown(materials, &|_| true), scale);
    shipped.cuts = certify(materials, &halves);
    shipped.card = card;
    shipped
}

/// Which half of the intents it belongs to.
fn half_of(intent: &str) -> usize {
    usize::from(blake3::hash(intent.as_bytes()).as_bytes()[0] & 1)
}

/// A choice of intents.
type Chosen<'a> = &'a dyn Fn(&str) -> bool;

/// Trees grown on some of the intents. What is stored depends on what is served, so they are grown again and again.
fn grown(materials: &[Material<'_>], chosen: Chosen<'_>) -> Shipped {
    let mut shipped = Shipped::nothing();
    let mut rows = Vec::new();
    for round in 0..ROUNDS {
        if round == 1 {
            rows.clear();
        }
        for material in materials {
            for (at, &cut) in CUTS.iter().enumerate() {
                let seed = 1 + 10 * round + at as u64;
                gather(material, seed, cut, (&shipped, chosen), &mut rows);
            }
        }
        shipped.prior = prior(&rows);
    }
    shipped
}

/// The lines of those intents, in an order of their arrival.
fn arriving(material: &Material<'_>, seed: u64, chosen: Chosen<'_>) -> Vec<usize> {
    let intent = |&line: &usize| material.stream.intent(line);
    let shuffled = order(material.lines.len(), seed).into_iter().map(|at| material.lines[at]);
    let mut lines: Vec<usize> = shuffled.filter(|line| chosen(intent(line))).collect();
    if material.arrival == Arrival::Sorted {
        let mut first: HashMap<&str, usize> = HashMap::new();
        for (at, line) in lines.iter().enumerate() {
            first.entry(intent(line)).or_insert(at);
        }
        lines.sort_by_key(|line| first[intent(line)]);
    }
    lines
}

/// Replays a material and takes down each candidate.
fn gather(
    material: &Material<'_>,
    seed: u64,
    cut: f64,
    (shipped, chosen): (&Shipped, Chosen<'_>),
    rows: &mut Vec<Row>,
) {
    let options = Options { seed, cut: Some(cut), ..Options::default() };
    let weight = material.weight;
    let mut observe = |seen: &Observation<'_>| {
        rows.push(Row { features: seen.ticket.features().to_vec(), right: seen.right, weight });
    };
    material.stream.replay(&arriving(material, seed, chosen), &options, shipped, &mut observe);
}

/// By what log odds are to be multiplied, and what is to be added then, to be as sure as the rows are right (Platt,
/// "Probabilistic outputs for support vector machines", 1999).
fn sureness(rows: &[(f64, Row)]) -> (f64, f64) {
    let (mut slope, mut level) = (1.0, 0.0);
    for _ in 0..25 {
        let (mut g, mut h) = ([0.0; 2], [1e-6, 0.0, 1e-6]);
        for (score, row) in rows {
            let p = sigmoid(slope * score + level);
            let (error, curve) =
                (row.weight * (f64::from(u8::from(row.right)) - p), row.weight * p * (1.0 - p));
            g = [g[0] + error * score, g[1] + error];
            h = [h[0] + curve * score * score, h[1] + curve * score, h[2] + curve];
        }
        let determinant = h[0] * h[2] - h[1] * h[1];
        if determinant <= 0.0 {
            break;
        }
        slope += ((h[2] * g[0] - h[1] * g[1]) / determinant).clamp(-0.5, 0.5);
        level += ((h[0] * g[1] - h[1] * g[0]) / determinant).clamp(-0.5, 0.5);
    }
    (slope.clamp(0.2, 1.5), level.clamp(-2.0, 2.0))
}

fn tempered(mut shipped: Shipped, (slope, level): (f64, f64)) -> Shipped {
    shipped.prior.trees = shipped.prior.trees.tempered(slope as f32, level as f32);
    shipped
}

/// The trees, and what the features are measured by when a partition learns.
fn prior(rows: &[Row]) -> Prior {
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
    let directions: Vec<i8> = evidence::directions().collect();
    let trees = grow(rows, &directions, &GROWTH);
    Prior { features, mean, scale, variance: VARIANCE, trees_variance: TREES_VARIANCE, trees }
}

/// Learn-then-test with a fixed sequence (Angelopoulos et al., 2021): from the strictest cut on, each is tested for whether its
/// share of wrong hits is below the promise; the last before the first failure is certified.
///
/// The cuts are tried on intents that the trees of each half were not grown on.
fn certify(materials: &[Material<'_>], halves: &[Shipped; 2]) -> Vec<CertifiedCut> {
    let mut grid: Vec<(f64, Vec<Counts>)> = Vec::new();
    for step in 0..16 {
        let cut = sigmoid(6.0 - 0.3 * f64::from(step));
        let mut all = Vec::new();
        for material in materials.iter().filter(|m| m.certifies) {
            let mut both = Counts::default();
            for (half, shipped) in halves.iter().enumerate() {
                let options = Options { seed: 900, cut: Some(cut), ..Options::default() };
                let lines = arriving(material, 900, &|intent| half_of(intent) != half);
                let report = material.stream.replay(&lines, &options, shipped, &mut |_| ());
                both.add(&report.total, &Counts::default());
            }
            all.push(both);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::Policy;
    use crate::replay::Line;
    use crate::replay::materials::{Pair, lines, of_pairs, of_stream};

    /// Intents with a corner of the space and some words each.
    fn made_up(intents: usize, each: usize) -> (Vec<Line>, Vec<Vec<f32>>) {
        let mut rng = fastrand::Rng::with_seed(3);
        let words =
            ["open", "close", "change", "lost", "fee", "limit", "refund", "delay", "invoice", "password"];
        (0..intents * each)
            .map(|at| {
                let intent = at % intents;
                let (what, extra) = (words[intent % words.len()], rng.usize(..1000));
                let prompt = format!("please tell me about {what} number {extra}");
                let mut vector: Vec<f32> = (0..24).map(|_| 0.25 * (rng.f32() - 0.5)).collect();
                vector[intent] += 1.0;
                let (id, intent) = (at.to_string(), format!("intent {intent}"));
                (Line { id, prompt, intent, shareable: true }, vector)
            })
            .unzip()
    }

    #[test]
    fn what_was_fitted_can_be_kept_and_tells_right_candidates_from_wrong_ones() {
        let (made, vectors) = made_up(8, 60);
        let stream = Stream::new(&made, &vectors, &[]);
        let shipped = fit(&of_stream(&stream, true), Value::Null);
        let kept = serde_json::to_string(&shipped).unwrap();
        let shipped = Shipped::from_json(&kept).unwrap();
        let (mut right, mut wrong) = (Vec::new(), Vec::new());
        let options = Options { policy: Policy::default(), seed: 77, ..Options::default() };
        let report = stream.replay(&order(made.len(), 77), &options, &shipped, &mut |seen| {
            if seen.right { &mut right } else { &mut wrong }.push(seen.ticket.confidence());
        });
        let mean = |all: &[f32]| all.iter().sum::<f32>() / all.len() as f32;
        assert!(mean(&right) > mean(&wrong) + 0.5, "{} {}", mean(&right), mean(&wrong));
        assert!(report.total.right > 0 && report.total.wrong <= 3, "{:?}", report.total);
    }

    #[test]
    fn a_pair_is_two_prompts_with_one_intent_or_two() {
        let pair = |same| Pair { a: "a".to_owned(), b: "b".to_owned(), same };
        let lines = lines("x", &[pair(true), pair(false)]);
        assert_eq!(lines[0].intent, lines[1].intent);
        assert_ne!(lines[2].intent, lines[3].intent);
        assert_ne!(lines[0].intent, lines[2].intent);
        let vectors = vec![vec![1.0]; 4];
        assert_eq!(of_pairs(&Stream::new(&lines, &vectors, &[])).lines.len(), 4);
    }

    #[test]
    fn log_odds_that_are_too_sure_are_tempered() {
        let mut rng = fastrand::Rng::with_seed(4);
        let rows: Vec<(f64, Row)> = (0..20_000)
            .map(|_| {
                let truth = rng.f64() * 6.0 - 3.0;
                let row = Row { features: vec![], right: rng.f64() < sigmoid(truth), weight: 1.0 };
                (2.0 * truth + 0.6, row)
            })
            .collect();
        let (slope, level) = sureness(&rows);
        assert!((slope - 0.5).abs() < 0.03 && (level + 0.3).abs() < 0.06, "{slope} {level}");
    }
}
