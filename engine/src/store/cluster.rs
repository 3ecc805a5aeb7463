//! An answer with the prompts that have it: where they lie, and what labels said of it.

use serde::{Deserialize, Serialize};

use crate::decide::evidence::ClusterFacts;

/// Spacing of a cluster of which nothing is known, and how many prompts that guess is worth.
const SPACING: f32 = 0.75;
const GUESS: f32 = 3.0;
/// Whole numbers per unit of a mean vector's component.
const SCALE: f32 = 32_767.0;
/// Labels kept for the rule that learns from one answer's labels alone.
const LABELS: usize = 64;
/// An answer less likely than this to be out of date is confirmed.
const CLEARED: f64 = 0.02;
/// Labels from before a change are not to outweigh those after it.
const LEAST_DOUBT: f64 = -6.0;

/// The state of one answer in one partition. It is kept in the journal: a field that is added is missing in what was kept
/// before, and has its default then.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Cluster {
    /// Mean of the prompts' unit vectors, in whole numbers.
    #[serde(skip)]
    mean: Box<[i16]>,
    /// Not kept: whoever puts the prompts back counts them.
    #[serde(skip)]
    size: u32,
    near_count: f32,
    near_sum: f32,
    right: f32,
    wrong: f32,
    /// When a fresh answer last agreed with it, in requests of the partition.
    pub(crate) confirmed: u64,
    /// Log of how much likelier its labels since then are if it is out of date than if it is not.
    pub(crate) doubt: f64,
    pub(crate) labels: Vec<(f32, bool)>,
}

fn unit_scale(vector: &[f32]) -> f32 {
    let square: f32 = vector.iter().map(|x| x * x).sum();
    1.0 / square.sqrt().max(1e-12)
}

impl Cluster {
    pub(crate) fn new(vector: &[f32], now: u64) -> Self {
        let scale = unit_scale(vector) * SCALE;
        Self {
            mean: vector.iter().map(|x| (x * scale) as i16).collect(),
            size: 1,
            near_count: 0.0,
            near_sum: 0.0,
            right: 0.0,
            wrong: 0.0,
            confirmed: now,
            doubt: 0.0,
            labels: Vec::new(),
        }
    }

    /// Adds a prompt; `near` is its similarity to the nearest one that has the answer already.
    pub(crate) fn add(&mut self, vector: &[f32], near: Option<f32>) {
        self.size += 1;
        let (scale, part) = (unit_scale(vector) * SCALE, 1.0 / self.size as f32);
        for (mean, x) in self.mean.iter_mut().zip(vector) {
            let m = f32::from(*mean);
            *mean = (m + (x * scale - m) * part).round() as i16;
        }
        if let Some(near) = near {
            self.near_count += 1.0;
            self.near_sum += near;
        }
    }

    /// Takes a prompt out; `true` if it was the last. The mean stays where it is: the index does not give vectors back, and
    /// without one of many it would hardly move.
    pub(crate) fn remove(&mut self) -> bool {
        self.size = self.size.saturating_sub(1);
        self.size == 0
    }

    /// Counts a prompt that was kept; the mean knows it already.
    pub(crate) fn rejoin(&mut self) {
        self.size += 1;
    }

    /// Appends what is to be kept of it: the mean as plain numbers behind their count, the rest as JSON.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&(self.mean.len() as u32).to_le_bytes());
        self.mean.iter().for_each(|m| out.extend_from_slice(&m.to_le_bytes()));
        // A number that JSON can't spell is read back as none, and the cluster begins anew.
        drop(serde_json::to_writer(out, self));
    }

    /// What [`Cluster::write`] wrote, without prompts; `None` for other bytes.
    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        let (count, rest) = bytes.split_first_chunk()?;
        let (mean, rest) = rest.split_at_checked((u32::from_le_bytes(*count) as usize).checked_mul(2)?)?;
        let (mean, _) = mean.as_chunks();
        let mean = mean.iter().map(|m| i16::from_le_bytes(*m)).collect();
        Some(Self { mean, ..serde_json::from_slice(rest).ok()? })
    }

    /// How many prompts with a vector it has.
    pub(crate) fn size(&self) -> u32 {
        self.size
    }

    /// So many prompts are gone.
    pub(crate) fn leave(&mut self, count: u32) {
        self.size = self.size.saturating_sub(count);
    }

    /// The same with so many prompts.
    #[must_use]
    pub(crate) fn with_size(self, size: u32) -> Self {
        Self { size, ..self }
    }

    /// The dimension of its vectors.
    pub(crate) fn dimension(&self) -> usize {
        self.mean.len()
    }

    pub(crate) fn facts(&self, id: u64, query: &[f32]) -> ClusterFacts {
        let (mut product, mut square) = (0.0, 0.0);
        for (mean, x) in self.mean.iter().zip(query) {
            let m = f32::from(*mean);
            product += m * x;
            square += m * m;
        }
        let spacing = (self.near_sum + GUESS * SPACING) / (self.near_count + GUESS);
        ClusterFacts {
            id,
            centroid: product * unit_scale(query) / square.sqrt().max(1.0),
            size: self.size as f32,
            spacing,
            right: self.right,
            wrong: self.wrong,
        }
    }

    /// Counts a label: `wrong` is the chance that the answer was wrong for the prompt.
    pub(crate) fn label(&mut self, similarity: f32, wrong: f64) {
        self.wrong += wrong as f32;
        self.right += 1.0 - wrong as f32;
        if self.labels.len() == LABELS {
            self.labels.remove(0);
        }
        self.labels.push((similarity, wrong < 0.5));
    }

    /// Hears what speaks for and against the answer's being out of date, and gives the chance that it is; `stale` makes it
    /// of the time of the last confirmation and of what was heard since. An answer that hardly can be is confirmed.
    pub(crate) fn hear(&mut self, doubt: f64, now: u64, stale: impl Fn(u64, f64) -> f64) -> f64 {
        self.doubt = (self.doubt + doubt).max(LEAST_DOUBT);
        let stale = stale(self.confirmed, self.doubt);
        if doubt <= 0.0 && stale < CLEARED {
            self.confirmed = now;
            self.doubt = 0.0;
        }
        stale
    }

    /// Memory that a new cluster of such vectors takes, in bytes.
    pub(crate) fn bytes(dimension: usize) -> usize {
        dimension * size_of::<i16>() + size_of::<Self>() + 48
    }
}
