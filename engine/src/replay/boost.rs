//! Grows the trees that say how likely a candidate is right: gradient boosting with Newton steps on histograms, as in Chen and
//! Guestrin, "XGBoost: a scalable tree boosting system" (2016), sections 2 and 3.
//!
//! Where it is known which way a feature can only speak (more likeness is never worse, a contradiction never better) the
//! trees are held to it, so that chance in the data teaches no absurdity.

use crate::decide::model::sigmoid;
use crate::decide::trees::{Node, Trees};

/// A labelled example.
pub(super) struct Row {
    /// What was seen.
    pub(super) features: Vec<f32>,
    /// What is to be told from it.
    pub(super) right: bool,
    /// How much it counts.
    pub(super) weight: f64,
}

/// How to grow.
pub(super) struct Growth {
    /// Trees.
    pub(super) trees: usize,
    /// Splits from the root to a leaf at most.
    pub(super) depth: usize,
    /// What is taken of each step.
    pub(super) rate: f64,
    /// Penalty on the squares of the leaves.
    pub(super) penalty: f64,
    /// Least weight of a leaf, as the sum of its rows' curvatures.
    pub(super) least: f64,
    /// Share of the rows that a tree is grown on.
    pub(super) sample: f64,
}

/// Bins of a feature, at most.
const BINS: usize = 64;

/// The features, as the numbers of the bins that they fall into.
struct Binned {
    /// For each feature, the lower edges of all bins but the first.
    edges: Vec<Vec<f32>>,
    /// Feature after feature.
    bins: Vec<Vec<u8>>,
}

impl Binned {
    fn new(rows: &[Row]) -> Self {
        let count = rows.first().map_or(0, |row| row.features.len());
        let edges: Vec<Vec<f32>> = (0..count).map(|feature| edges(rows, feature)).collect();
        let bin = |feature: usize, row: &Row| {
            edges[feature].partition_point(|&edge| edge <= row.features[feature]) as u8
        };
        let bins = (0..count).map(|feature| rows.iter().map(|row| bin(feature, row)).collect()).collect();
        Self { edges, bins }
    }
}

/// Quantiles, each value once.
fn edges(rows: &[Row], feature: usize) -> Vec<f32> {
    let mut values: Vec<f32> = rows.iter().map(|row| row.features[feature]).collect();
    values.sort_by(f32::total_cmp);
    let mut edges: Vec<f32> = (1..BINS).map(|i| values[i * values.len() / BINS]).collect();
    edges.dedup();
    edges.retain(|&edge| edge > values[0]);
    edges
}

/// Sums of slopes and curvatures.
#[derive(Clone, Copy, Default)]
struct Sums {
    slope: f64,
    curve: f64,
}

impl Sums {
    fn add(&mut self, other: Self) {
        self.slope += other.slope;
        self.curve += other.curve;
    }

    fn less(self, other: Self) -> Self {
        Self { slope: self.slope - other.slope, curve: self.curve - other.curve }
    }
}

/// What a leaf may be, so that features with a direction keep to it.
#[derive(Clone, Copy)]
struct Bounds {
    low: f64,
    high: f64,
}

struct Split {
    gain: f64,
    feature: usize,
    bin: usize,
    middle: f64,
}

/// One tree while it grows.
struct Growing<'a> {
    binned: &'a Binned,
    growth: &'a Growth,
    directions: &'a [i8],
    sums: &'a [Sums],
    nodes: Vec<Node>,
}

impl Growing<'_> {
    fn leaf(&self, all: Sums, bounds: Bounds) -> f64 {
        (-all.slope / (all.curve + self.growth.penalty)).clamp(bounds.low, bounds.high)
    }

    /// What is won by a leaf of this value.
    fn gain(&self, all: Sums, value: f64) -> f64 {
        -(all.slope * value + 0.5 * (all.curve + self.growth.penalty) * value * value)
    }

    fn best(&self, rows: &[u32], all: Sums, bounds: Bounds) -> Option<Split> {
        let mut best: Option<Split> = None;
        let whole = self.gain(all, self.leaf(all, bounds));
        for (feature, bins) in self.binned.bins.iter().enumerate() {
            let mut histogram = [Sums::default(); BINS + 1];
            rows.iter()
                .for_each(|&row| histogram[usize::from(bins[row as usize])].add(self.sums[row as usize]));
            let mut left = Sums::default();
            for (bin, sums) in histogram.iter().enumerate().take(self.binned.edges[feature].len()) {
                left.add(*sums);
                let right = all.less(left);
                if left.curve < self.growth.least || right.curve < self.growth.least {
                    continue;
                }
                let (low, high) = (self.leaf(left, bounds), self.leaf(right, bounds));
                if f64::from(self.directions[feature]) * (high - low) < 0.0 {
                    continue;
                }
                let gain = self.gain(left, low) + self.gain(right, high) - whole;
                if gain > best.as_ref().map_or(1e-6, |best| best.gain) {
                    best = Some(Split { gain, feature, bin, middle: (low + high) / 2.0 });
                }
            }
        }
        best
    }

    fn grow(&mut self, rows: &[u32], depth: usize, bounds: Bounds) {
        let mut all = Sums::default();
        rows.iter().for_each(|&row| all.add(self.sums[row as usize]));
        let split = (depth > 0).then(|| self.best(rows, all, bounds)).flatten();
        let Some(Split { feature, bin, middle, .. }) = split else {
            self.nodes.push((0, (self.growth.rate * self.leaf(all, bounds)) as f32, 0));
            return;
        };
        let bins = &self.binned.bins[feature];
        let (left, right): (Vec<u32>, Vec<u32>) =
            rows.iter().partition(|&&row| usize::from(bins[row as usize]) <= bin);
        let (below, above) = match self.directions[feature] {
            0 => (bounds, bounds),
            sign if sign > 0 => (Bounds { high: middle, ..bounds }, Bounds { low: middle, ..bounds }),
            _ => (Bounds { low: middle, ..bounds }, Bounds { high: middle, ..bounds }),
        };
        let at = self.nodes.len();
        self.nodes.push((feature as u16, self.binned.edges[feature][bin], 0));
        self.grow(&left, depth - 1, below);
        self.nodes[at].2 = self.nodes.len() as u16;
        self.grow(&right, depth - 1, above);
    }
}

/// Grows trees on the rows. `directions` says of each feature whether more of it can only speak for (1) or against (-1) the
/// answer's being right, or either (0). Without rows there are no trees.
pub(super) fn grow(rows: &[Row], directions: &[i8], growth: &Growth) -> Trees {
    let all: f64 = rows.iter().map(|row| row.weight).sum();
    if all <= 0.0 {
        return Trees::default();
    }
    let right: f64 = rows.iter().filter(|row| row.right).map(|row| row.weight).sum();
    let base = ((right + 1.0) / (all - right + 1.0)).ln() as f32;
    let binned = Binned::new(rows);
    let mut trees = Trees { base, trees: Vec::new() };
    let mut scores = vec![f64::from(base); rows.len()];
    let mut rng = fastrand::Rng::with_seed(1);
    let open = Bounds { low: f64::NEG_INFINITY, high: f64::INFINITY };
    for _ in 0..growth.trees {
        let sums: Vec<Sums> = rows
            .iter()
            .zip(&scores)
            .map(|(row, &score)| {
                let p = sigmoid(score);
                let slope = row.weight * (p - f64::from(u8::from(row.right)));
                Sums { slope, curve: row.weight * p * (1.0 - p) }
            })
            .collect();
        let chosen: Vec<u32> = (0..rows.len() as u32).filter(|_| rng.f64() < growth.sample).collect();
        let mut tree = Growing { binned: &binned, growth, directions, sums: &sums, nodes: Vec::new() };
        tree.grow(&chosen, growth.depth, open);
        let tree = Trees { base: 0.0, trees: vec![tree.nodes] };
        scores.iter_mut().zip(rows).for_each(|(score, row)| *score += tree.score(&row.features));
        trees.trees.extend(tree.trees);
    }
    trees
}

#[cfg(test)]
mod tests {
    use super::*;

    const GROWTH: Growth = Growth { trees: 60, depth: 3, rate: 0.2, penalty: 1.0, least: 1.0, sample: 0.8 };

    /// Right if exactly one of two features is large; a third says nothing.
    fn rows(noise: f64) -> Vec<Row> {
        let mut rng = fastrand::Rng::with_seed(7);
        (0..4000)
            .map(|_| {
                let features: Vec<f32> = (0..3).map(|_| rng.f32()).collect();
                let right = ((features[0] > 0.5) != (features[1] > 0.5)) != (rng.f64() < noise);
                Row { features, right, weight: 1.0 }
            })
            .collect()
    }

    #[test]
    fn what_only_two_features_together_tell_is_found() {
        let trees = grow(&rows(0.1), &[0; 3], &GROWTH);
        assert!(trees.is_sound(3));
        let p = |a, b| sigmoid(trees.score(&[a, b, 0.5]));
        for (a, b, right) in [(0.1, 0.1, false), (0.1, 0.9, true), (0.9, 0.1, true), (0.9, 0.9, false)] {
            let p = p(a, b);
            let expected = if right { 0.9 } else { 0.1 };
            assert!((p - expected).abs() < 0.06, "{a} {b}: {p}");
        }
    }

    #[test]
    fn a_direction_is_kept_against_what_chance_says() {
        let mut rng = fastrand::Rng::with_seed(9);
        let rows: Vec<Row> = (0..600)
            .map(|_| {
                let x = rng.f32();
                Row { features: vec![x], right: rng.f32() < 0.3 + 0.4 * x, weight: 1.0 }
            })
            .collect();
        let growth = Growth { depth: 4, least: 0.5, ..GROWTH };
        let scores = |direction: i8| -> Vec<f64> {
            let trees = grow(&rows, &[direction], &growth);
            (0..=100u8).map(|i| trees.score(&[f32::from(i) / 100.0])).collect()
        };
        let rises = |scores: &[f64]| scores.windows(2).all(|w| w[0] <= w[1] + 1e-9);
        assert!(rises(&scores(1)) && !rises(&scores(0)));
    }

    #[test]
    fn without_rows_there_are_no_trees() {
        assert_eq!(grow(&[], &[], &GROWTH), Trees::default());
    }
}
