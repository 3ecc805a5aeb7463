//! Finding near vectors: one trait, a scan, a graph, and the size from which the graph is the faster.
//!
//! An index is derived data about one partition. It holds vectors under ids and nothing else; what an id stands for and
//! whether it may be served is known by whoever asks.

mod codes;
#[cfg(test)]
mod contract;
mod flat;
mod hnsw;
mod rows;
mod shortlist;
mod simd;
mod vector;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use flat::FlatIndex;
pub use hnsw::{AUTO_CROSSOVER, Done, HnswIndex, Next, Retired, Work};

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

    /// Whether [`Self::advance`] has something to do.
    fn has_work(&self) -> bool {
        false
    }

    /// Takes back work that is done and hands out the next: what makes searches faster but takes too long for anybody
    /// to wait for. Takes microseconds itself. Searching is right at any time, whether work is done, under way, or
    /// never done. To do all there is, call it until it answers with nothing.
    fn advance(&mut self, done: Option<Done>) -> Next {
        let _ = done;
        Next::default()
    }
}

/// Which index the partitions get.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum IndexKind {
    /// A scan, and a graph beside it when the partition grows past the size where the graph is faster.
    #[default]
    Auto,
    /// Always a scan: exact while the partition is small; then all are looked at coarsely and the nearest exactly.
    Flat,
    /// Always a graph (hierarchical navigable small world): approximate, for very large partitions.
    Hnsw,
}

impl IndexKind {
    /// A new, empty index of this kind.
    pub fn build(self) -> Box<dyn VectorIndex> {
        match self {
            Self::Auto => Box::new(HnswIndex::from_size(AUTO_CROSSOVER)),
            Self::Flat => Box::new(FlatIndex::default()),
            Self::Hnsw => Box::new(HnswIndex::from_size(1)),
        }
    }
}
