//! What is known before the first label: fitted and certified offline, with a card that says on what.

use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

use super::evidence;
use super::model::{Prior, logit};
use super::trees::Trees;

/// A cut that was certified for a promise.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct CertifiedCut {
    /// Most of the hits that may be wrong.
    pub max_false_hit_rate: f64,
    /// Least probability at which an answer may be served.
    pub cut: f64,
}

/// Log odds, cuts, and where they come from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Shipped {
    /// What was fitted, on what, when, and how well it did: for people.
    pub card: serde_json::Value,
    /// Certified cuts, by rising promise.
    pub cuts: Vec<CertifiedCut>,
    /// The log odds.
    pub prior: Prior,
}

impl Shipped {
    /// The one that is part of this build.
    pub fn built_in() -> &'static Self {
        static BUILT_IN: LazyLock<Shipped> = LazyLock::new(|| {
            Shipped::from_json(include_str!("prior.json")).unwrap_or_else(|reason| {
                tracing::error!(
                    reason,
                    "the built-in prior can't be used: only equal requests share answers"
                );
                Shipped::nothing()
            })
        });
        &BUILT_IN
    }

    /// Reads one.
    ///
    /// # Errors
    /// What is wrong with it: it is no such JSON, or made for other features.
    pub fn from_json(text: &str) -> Result<Self, String> {
        let shipped: Self = serde_json::from_str(text).map_err(|e| format!("not a prior: {e}"))?;
        let (prior, count) = (&shipped.prior, evidence::COUNT);
        if !prior.features.iter().map(String::as_str).eq(evidence::names()) {
            return Err("the prior's features are not those of this version".to_owned());
        }
        let sizes = [prior.mean.len(), prior.scale.len()];
        let variances = [prior.variance, prior.trees_variance];
        let sound =
            prior.mean.iter().all(|x| x.is_finite()) && prior.scale.iter().all(|&s| s.is_finite() && s > 0.0);
        if sizes != [count; 2] || !sound || !variances.iter().all(|&v| v.is_finite() && v >= 0.0) {
            return Err(format!(
                "the prior needs {count} finite means and scales above 0, and two variances"
            ));
        }
        if !prior.trees.is_sound(count) {
            return Err("the prior has a tree that leads nowhere".to_owned());
        }
        Ok(shipped)
    }

    /// One that never lets anything be served.
    pub fn nothing() -> Self {
        let count = evidence::COUNT;
        let prior = Prior {
            features: evidence::names().map(str::to_owned).collect(),
            mean: vec![0.0; count],
            scale: vec![1.0; count],
            variance: 0.0,
            trees_variance: 0.0,
            trees: Trees::default(),
        };
        Self { card: serde_json::Value::Null, cuts: Vec::new(), prior }
    }

    /// The log odds from which on hits meet the promise, as certified; between two promises those of the stricter one.
    /// For a promise stricter than any certified, one hit by itself must meet it.
    pub fn cut(&self, promise: f64) -> f64 {
        let certified = self.cuts.iter().rev().find(|c| c.max_false_hit_rate <= promise * 1.000_001);
        certified.map_or_else(|| logit(1.0 - promise), |c| logit(c.cut))
    }
}
