//! What one partition has learnt, and what all have learnt together.

use serde::{Deserialize, Serialize};

use super::control::{Control, Estimate, Factor};
use super::drift::{Drift, Fresh};
use super::evidence::Evidence;
use super::model::{Model, logit};
use super::noise::{JudgeNoise, wrong_after};
use super::prior::Shipped;

/// A candidate as it was considered: what a later label is learnt with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Considered {
    /// What spoke for it.
    pub evidence: Evidence,
    /// The probability that its answer was right, as it was thought then, if the answer was not out of date.
    pub probability: f64,
    /// The chance that it was out of date.
    pub stale: f64,
    /// One over the chance with which a served answer was to be checked; nothing for a miss.
    pub weight: Option<f64>,
}

impl Considered {
    /// The probability that its answer is right, all considered.
    pub fn confidence(&self) -> f64 {
        self.probability * (1.0 - self.stale)
    }
}

/// What all partitions have learnt together: where a new one starts.
#[derive(Clone, Default, Serialize, Deserialize)]
pub struct Pool {
    model: Option<Model>,
    factor: Factor,
    /// The judge is the same for all.
    pub(crate) noise: JudgeNoise,
}

/// What a partition has learnt.
#[derive(Clone, Default, Serialize, Deserialize)]
pub struct Learner {
    /// The partition's own weights, from its first label on.
    model: Option<Model>,
    control: Control,
    drift: Drift,
    /// Misses that were labelled lately, and those among them whose fresh answer was new.
    labelled: f64,
    new: f64,
    /// Requests so far: the clock by which answers are confirmed.
    requests: u64,
    /// Candidates so far, for the shadow phase.
    candidates: u64,
}

/// What became of a label.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Learnt {
    /// The chance that the candidate's answer was wrong, the judge's errors considered.
    pub wrong: f64,
    /// What the label says for and against the answer's being out of date.
    pub doubt: f64,
}

/// Labels of answers more likely out of date than this say nothing about how prompts match.
const DOUBTFUL: f64 = 0.25;
/// New answers that are supposed to have come before the first label.
const NOVEL: f64 = 5.0;
/// What is left of a miss after one more, in the share of new answers.
const MEMORY: f64 = 1.0 - 1.0 / 150.0;
/// Requests of other processes that are counted one by one at a time; the count comes from outside.
const MOST_COUNTED: u64 = 100_000;
/// Rate at which old labels lose their say over the weights.
const FORGET: f64 = 0.000_2;

impl Pool {
    /// The weights a partition starts from.
    fn start(&self, shipped: &Shipped) -> Model {
        self.model.as_ref().map_or_else(|| Model::new(&shipped.prior), |model| model.renewed(&shipped.prior))
    }

    /// Whether it can be used with these weights: it may come from a file.
    pub fn fits(&self, shipped: &Shipped) -> bool {
        self.noise.is_sound() && self.model.as_ref().is_none_or(|model| model.fits(&shipped.prior))
    }
}

impl Learner {
    /// The present, in requests.
    pub fn now(&self) -> u64 {
        self.requests
    }

    /// Candidates seen so far.
    pub fn candidates(&self) -> u64 {
        self.candidates
    }

    /// Counts a request.
    pub fn asked(&mut self) {
        self.requests += 1;
        self.control.asked();
    }

    /// The probability that the candidate's answer is right, if answers have not changed.
    pub fn probability(&self, shipped: &Shipped, pool: &Pool, evidence: &Evidence) -> f64 {
        let features = &evidence.features;
        match (&self.model, &pool.model) {
            (Some(model), _) | (None, Some(model)) => model.probability(&shipped.prior, features),
            (None, None) => shipped.prior.probability(features),
        }
    }

    /// The chance that an answer last confirmed at this time is out of date; `doubt` is what its own labels say.
    pub fn stale(&self, confirmed: u64, doubt: f64) -> f64 {
        self.drift.stale(confirmed, doubt)
    }

    /// The least log odds that may be served.
    pub fn cut(&self, shipped: &Shipped, pool: &Pool, promise: f64) -> f64 {
        self.control.cut(promise, shipped.cut(promise), pool.factor.mean())
    }

    /// Whether a candidate may be served under the promise.
    pub fn may_serve(&self, shipped: &Shipped, pool: &Pool, promise: f64, probability: f64) -> bool {
        logit(probability) >= self.cut(shipped, pool, promise)
    }

    /// How many of the latest fresh answers to misses were new, from 0 to 1.
    pub fn novelty(&self) -> f32 {
        ((NOVEL + self.new) / (NOVEL + self.labelled)) as f32
    }

    /// Counts a candidate that was considered, served or not.
    pub fn saw(&mut self, probability: f64) {
        self.candidates += 1;
        self.control.saw(probability);
    }

    /// Counts a fresh answer without a verdict.
    pub fn unjudged(&mut self) {
        self.control.unjudged();
    }

    /// Counts a hit; answers whether it is to be checked, with the weight of its label then. `luck` is uniform in 0..1.
    pub fn served(&mut self, probability: f64, luck: f64) -> Option<f64> {
        let chance = self.control.chance_of_check(probability);
        let checked = luck < chance;
        self.control.served(probability, checked);
        checked.then(|| 1.0 / chance)
    }

    /// Counts requests to other processes.
    pub fn asked_elsewhere(&mut self, count: u64) {
        self.requests += count;
        (0..count.min(MOST_COUNTED)).for_each(|_| self.control.asked());
    }

    /// Counts a hit of another process, which decided whether it is to be checked.
    pub fn served_elsewhere(&mut self, probability: f64, checked: bool) {
        self.control.served(probability, checked);
    }

    /// Learns a label. One of an answer that may be out of date tells whether it is, and nothing about how prompts match.
    pub fn label(
        &mut self,
        shipped: &Shipped,
        pool: &mut Pool,
        considered: &Considered,
        fresh: Fresh,
    ) -> Learnt {
        let Considered { evidence, probability, stale, weight } = considered;
        let (noise, right) = (pool.noise.rate(), fresh.is_same());
        let wrong = wrong_after(noise, considered.confidence(), right);
        let learnt = Learnt { wrong, doubt: self.drift.doubt(*probability, fresh, noise) };
        self.control.heard();
        if weight.is_none() && fresh != Fresh::NotSame {
            self.labelled = self.labelled * MEMORY + 1.0;
            self.new = self.new * MEMORY + f64::from(u8::from(fresh == Fresh::New));
        }
        if *stale > DOUBTFUL {
            return learnt;
        }
        self.control.label(*probability, wrong, *weight);
        self.drift.label(*probability, fresh, noise, self.requests);
        if *probability >= 0.5 {
            pool.factor.count(wrong, 1.0 - probability);
        }
        let model = self.model.get_or_insert_with(|| pool.start(shipped));
        model.learn(&shipped.prior, &evidence.features, right, noise);
        model.forget(&shipped.prior, FORGET);
        let shared = pool.model.get_or_insert_with(|| Model::new(&shipped.prior));
        shared.learn(&shipped.prior, &evidence.features, right, noise);
        learnt
    }

    /// What spot checks say about the hits.
    pub fn estimate(&self) -> Estimate {
        self.control.estimate()
    }

    /// Spot checks asked for so far.
    pub fn checks(&self) -> u64 {
        self.control.checks()
    }

    /// Whether it can be used with these weights: it may come from a file.
    pub fn fits(&self, shipped: &Shipped) -> bool {
        self.control.is_sound() && self.model.as_ref().is_none_or(|model| model.fits(&shipped.prior))
    }
}
