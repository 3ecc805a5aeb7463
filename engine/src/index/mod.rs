//! Finding near vectors: one trait, an exact scan, a graph, and the rule that picks between them.
//!
//! An index is derived data about one partition. It holds vectors under ids and nothing else; what an id stands for and
//! whether it may be served is known by whoever asks.

mod auto;
#[cfg(test)]
mod contract;
mod flat;
mod hnsw;
mod vector;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use auto::{AUTO_CROSSOVER, AutoIndex};
pub use flat::FlatIndex;
pub use hnsw::HnswIndex;

/// A vector that was found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Neighbour {
    /// The id it was inserted under.
    pub id: u64,
    /// Its cosine similarity to the query, from -1 to 1.
    pub similarity: f32,
}

/// The vectors of one partition, searchable by cosine similarity.
///
/// The first vector inserted into an empty index sets its dimension. Vectors need not have unit length; they are scaled
/// on the way in.
pub trait VectorIndex: Send + Sync {
    /// Stores `vector` under `id` in place of what was there. A vector that is not finite, has no length or is of
    /// another dimension is not stored and nothing changes: then the answer is `false`.
    fn insert(&mut self, id: u64, vector: &[f32]) -> bool;

    /// Takes the vector of `id` out; `false` if there was none.
    fn remove(&mut self, id: u64) -> bool;

    /// Up to `k` of the nearest vectors for whose id `alive` says yes, best first, equals by id. Empty for a query that
    /// could not be inserted. `alive` may be called for any id, in any order, and must not touch the index.
    fn search(&self, query: &[f32], k: usize, alive: &dyn Fn(u64) -> bool) -> Vec<Neighbour>;

    /// The number of vectors.
    fn len(&self) -> usize;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What it is at the moment: `flat` or `hnsw`.
    fn kind(&self) -> &'static str;

    /// Roughly the bytes of memory one more vector of this dimension takes.
    fn vector_bytes(&self, dimension: usize) -> usize;

    /// Does up to `steps` of the work that was put off to keep inserting and removing short, about a millisecond each;
    /// `true` while some is left. Searching is right at any time, only faster when nothing is left.
    fn maintain(&mut self, steps: usize) -> bool {
        let _ = steps;
        false
    }
}

/// Which index the partitions get.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum IndexKind {
    /// An exact scan, turned into a graph when the partition grows past the size where the graph is faster.
    #[default]
    Auto,
    /// Always an exact scan.
    Flat,
    /// Always a graph (hierarchical navigable small world): approximate, for large partitions.
    Hnsw,
}

impl IndexKind {
    /// A new, empty index of this kind.
    pub fn build(self) -> Box<dyn VectorIndex> {
        match self {
            Self::Auto => Box::new(AutoIndex::default()),
            Self::Flat => Box::new(FlatIndex::default()),
            Self::Hnsw => Box::new(HnswIndex::default()),
        }
    }
}
