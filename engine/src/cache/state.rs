//! What was learnt, to be kept over a restart and to be looked at.

use std::sync::PoisonError;

use serde::{Deserialize, Serialize};

use super::SemanticCache;
use crate::decide::control::Estimate;
use crate::decide::learner::{Learner, Pool};
use crate::partition::PartitionKey;

/// All that a cache has learnt, without any content. Partitions are named by their keys: it is of use only where keys are
/// made with the same secret.
#[derive(Clone, Serialize, Deserialize)]
pub struct CacheState {
    pub(super) version: u32,
    pub(super) pool: Pool,
    pub(super) partitions: Vec<(PartitionKey, Learner)>,
}

/// Changes whenever what is learnt is kept in another form.
pub(super) const VERSION: u32 = 1;

/// What a partition has learnt, for people.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PartitionReport {
    /// Which one.
    pub partition: PartitionKey,
    /// What spot checks say about its hits.
    pub estimate: Estimate,
    /// Spot checks asked for.
    pub checks: u64,
    /// Requests so far.
    pub requests: u64,
    /// How often the judge errs, as far as that was found out.
    pub judge_error: f64,
}

impl SemanticCache {
    /// All that was learnt so far.
    pub fn state(&self) -> CacheState {
        let all = self.learners.all();
        let partitions = all
            .into_iter()
            .map(|(key, learner)| (key, learner.lock().unwrap_or_else(PoisonError::into_inner).clone()))
            .collect();
        CacheState { version: VERSION, pool: self.learners.pool().clone(), partitions }
    }

    /// Takes up what was learnt before. To be called before anything is looked up.
    ///
    /// # Errors
    /// It is of another version or for other features; then nothing changes.
    pub fn restore(&self, state: CacheState) -> Result<(), String> {
        let shipped = &self.shipped;
        if state.version != VERSION {
            return Err(format!("the state has version {}, expected {VERSION}", state.version));
        }
        if !state.pool.fits(shipped) || state.partitions.iter().any(|(_, learner)| !learner.fits(shipped)) {
            return Err("the state was learnt for other features".to_owned());
        }
        let mut pool = self.learners.pool();
        *pool = state.pool;
        pool.noise = pool.noise.told(self.deciding.judge_error);
        drop(pool);
        for (key, learner) in state.partitions {
            self.learners.put(key, learner);
        }
        Ok(())
    }

    /// What each partition has learnt.
    pub fn reports(&self) -> Vec<PartitionReport> {
        let judge_error = self.learners.pool().noise.rate();
        let report = |(partition, learner): (PartitionKey, std::sync::Arc<std::sync::Mutex<Learner>>)| {
            let learner = learner.lock().unwrap_or_else(PoisonError::into_inner);
            PartitionReport {
                partition,
                estimate: learner.estimate(),
                checks: learner.checks(),
                requests: learner.now(),
                judge_error,
            }
        };
        self.learners.all().into_iter().map(report).collect()
    }
}
