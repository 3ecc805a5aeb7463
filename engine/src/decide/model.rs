//! The probability that a remembered answer is right: a logistic model with Gaussian priors that learns from every label.
//!
//! The weights of a partition are drawn from a shipped prior, so that it needs no label to begin with, and are moved by its
//! own labels with the recursive Laplace approximation (Spiegelhalter and Lauritzen, "Sequential updating of conditional
//! probabilities on directed graphical structures", 1990).

use serde::{Deserialize, Serialize};

use super::trees::Trees;

/// What is known before a partition has labels: the log odds by trees, and how far each feature's weight may move from there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Prior {
    /// The features' names: a prior fitted for other features is refused.
    pub features: Vec<String>,
    /// What is taken off a feature.
    pub mean: Vec<f64>,
    /// What it is divided by then.
    pub scale: Vec<f64>,
    /// Variance of each weight between partitions; they are 0 in the mean.
    pub variance: f64,
    /// Variance of the weight of the trees' log odds, which is 1 in the mean.
    pub trees_variance: f64,
    /// The log odds.
    pub trees: Trees,
}

/// Largest standardised feature: what lies further out than anything in the fit says no more than that.
const FAR: f64 = 6.0;

impl Prior {
    /// The features brought to mean 0 and deviation 1, and after them the trees' log odds.
    pub(crate) fn terms(&self, features: &[f32]) -> Vec<f64> {
        let pairs = self.mean.iter().zip(&self.scale);
        let standard =
            features.iter().zip(pairs).map(|(&x, (m, s))| ((f64::from(x) - m) / s).clamp(-FAR, FAR));
        standard.chain([self.trees.score(features)]).collect()
    }

    /// Probability by the trees alone.
    pub fn probability(&self, features: &[f32]) -> f64 {
        sigmoid(self.trees.score(features))
    }

    /// How many terms there are.
    fn count(&self) -> usize {
        self.features.len() + 1
    }

    fn variance(&self, term: usize) -> f64 {
        if term == self.features.len() { self.trees_variance } else { self.variance }
    }
}

/// The weights of one partition, with what is known about them.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Model {
    weights: Vec<f64>,
    /// Covariance, row after row.
    covariance: Vec<f64>,
}

impl Model {
    /// The model before any label.
    pub fn new(prior: &Prior) -> Self {
        let count = prior.count();
        let mut weights = vec![0.0; count];
        weights[count - 1] = 1.0;
        let mut covariance = vec![0.0; count * count];
        (0..count).for_each(|term| covariance[term * (count + 1)] = prior.variance(term));
        Self { weights, covariance }
    }

    /// A model of the same weights that is as unsure of them as before any label: where a new partition starts.
    pub fn renewed(&self, prior: &Prior) -> Self {
        Self { weights: self.weights.clone(), ..Self::new(prior) }
    }

    /// Whether it was made for this prior's features.
    pub fn fits(&self, prior: &Prior) -> bool {
        let count = prior.count();
        let finite = self.weights.iter().chain(&self.covariance).all(|x| x.is_finite());
        self.weights.len() == count && self.covariance.len() == count * count && finite
    }

    /// The probability that the answer is right.
    pub fn probability(&self, prior: &Prior, features: &[f32]) -> f64 {
        sigmoid(product(&prior.terms(features), &self.weights))
    }

    /// Learns that the answer was right, or wrong, as said by a judge that errs with probability `noise` either way.
    pub fn learn(&mut self, prior: &Prior, features: &[f32], right: bool, noise: f64) {
        let x = prior.terms(features);
        let p = sigmoid(product(&x, &self.weights));
        let clear = 1.0 - 2.0 * noise;
        let seen = (noise + clear * p).clamp(1e-9, 1.0 - 1e-9);
        // Derivative of the log likelihood, and its expected curvature.
        let slope = clear * p * (1.0 - p);
        let gain = slope * (f64::from(u8::from(right)) - seen) / (seen * (1.0 - seen));
        let information = (slope * slope / (seen * (1.0 - seen))).max(1e-4);
        let count = x.len();
        let spread: Vec<f64> = self.covariance.chunks_exact(count).map(|row| product(row, &x)).collect();
        let shrink = 1.0 / (1.0 + information * product(&spread, &x));
        for (row, &left) in self.covariance.chunks_exact_mut(count).zip(&spread) {
            row.iter_mut().zip(&spread).for_each(|(c, &above)| *c -= information * shrink * left * above);
        }
        self.weights.iter_mut().zip(&spread).for_each(|(w, &s)| *w += shrink * gain * s);
    }

    /// Lets a little of what was learnt go, so that labels of long ago count less than new ones.
    pub fn forget(&mut self, prior: &Prior, rate: f64) {
        let count = prior.count();
        for (i, row) in self.covariance.chunks_exact_mut(count).enumerate() {
            row[i] += rate * (prior.variance(i) - row[i]).max(0.0);
        }
    }
}

/// The logistic function.
pub fn sigmoid(z: f64) -> f64 {
    1.0 / (1.0 + (-z.clamp(-40.0, 40.0)).exp())
}

/// Its inverse, for probabilities away from 0 and 1.
pub fn logit(p: f64) -> f64 {
    let p = p.clamp(1e-9, 1.0 - 1e-9);
    (p / (1.0 - p)).ln()
}

fn product(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prior() -> Prior {
        Prior {
            features: vec!["constant".to_owned(), "x".to_owned()],
            mean: vec![0.0; 2],
            scale: vec![1.0; 2],
            variance: 1.0,
            trees_variance: 0.1,
            trees: Trees { base: 0.0, trees: vec![vec![(1, 0.0, 2), (0, -0.5, 0), (0, 0.5, 0)]] },
        }
    }

    #[test]
    fn labels_move_the_probability_towards_what_they_say() {
        let prior = prior();
        let mut model = Model::new(&prior);
        let before = model.probability(&prior, &[1.0, 0.5]);
        for _ in 0..20 {
            model.learn(&prior, &[1.0, 0.5], false, 0.0);
        }
        assert!(model.probability(&prior, &[1.0, 0.5]) < 0.2 && before > 0.5);
    }

    #[test]
    fn the_frequency_of_a_stream_is_learnt_even_from_a_judge_that_errs() {
        let prior = prior();
        let mut rng = fastrand::Rng::with_seed(1);
        let (mut plain, mut aware) = (Model::new(&prior), Model::new(&prior));
        for _ in 0..4000 {
            let x = rng.f32() * 4.0 - 2.0;
            let right = rng.f64() < sigmoid(0.5 + 2.0 * f64::from(x));
            let said = right != (rng.f64() < 0.1);
            plain.learn(&prior, &[1.0, x], said, 0.0);
            aware.learn(&prior, &[1.0, x], said, 0.1);
        }
        let truth = sigmoid(0.5 + 2.0 * 1.5);
        let error = |model: &Model| (model.probability(&prior, &[1.0, 1.5]) - truth).abs();
        assert!(error(&aware) < 0.03, "{}", error(&aware));
        assert!(error(&aware) < error(&plain));
    }

    #[test]
    fn an_extreme_feature_gives_a_probability_and_not_a_number_out_of_range() {
        let prior = prior();
        let p = Model::new(&prior).probability(&prior, &[1.0, f32::MAX]);
        assert!(p > 0.5 && p <= 1.0);
    }
}
