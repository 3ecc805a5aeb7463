//! The choice by size: a flat index while the partition is small, a graph once it is large.

use super::flat::FlatIndex;
use super::hnsw::HnswIndex;
use super::{Neighbour, VectorIndex};

/// Vectors above which a graph beats the exact scan. Measured for 384 dimensions on one core.
pub const AUTO_CROSSOVER: usize = 12_000;

/// Flat up to [`AUTO_CROSSOVER`] vectors, a graph above, flat again below half of it.
#[derive(Default)]
pub struct AutoIndex(Stage);

enum Stage {
    Flat(FlatIndex),
    Hnsw(Box<HnswIndex>),
}

impl Default for Stage {
    fn default() -> Self {
        Self::Flat(FlatIndex::default())
    }
}

impl AutoIndex {
    fn current(&self) -> &dyn VectorIndex {
        match &self.0 {
            Stage::Flat(index) => index,
            Stage::Hnsw(index) => index.as_ref(),
        }
    }

    fn current_mut(&mut self) -> &mut dyn VectorIndex {
        match &mut self.0 {
            Stage::Flat(index) => index,
            Stage::Hnsw(index) => index.as_mut(),
        }
    }

    /// Changes the stage if the size says so. The gap between the two bounds keeps it from going back and forth.
    fn resize(&mut self) {
        self.0 = match std::mem::take(&mut self.0) {
            Stage::Flat(index) if index.len() > AUTO_CROSSOVER => {
                Stage::Hnsw(Box::new(HnswIndex::from(index)))
            }
            Stage::Hnsw(index) if index.len() < AUTO_CROSSOVER / 2 => Stage::Flat(index.into_flat()),
            stage => stage,
        };
    }
}

impl VectorIndex for AutoIndex {
    fn insert(&mut self, id: u64, vector: &[f32]) -> bool {
        let stored = self.current_mut().insert(id, vector);
        self.resize();
        stored
    }

    fn remove(&mut self, id: u64) -> bool {
        let removed = self.current_mut().remove(id);
        self.resize();
        removed
    }

    fn search(&self, query: &[f32], k: usize, alive: &dyn Fn(u64) -> bool) -> Vec<Neighbour> {
        self.current().search(query, k, alive)
    }

    fn len(&self) -> usize {
        self.current().len()
    }

    fn kind(&self) -> &'static str {
        self.current().kind()
    }

    fn vector_bytes(&self, dimension: usize) -> usize {
        self.current().vector_bytes(dimension)
    }

    fn maintain(&mut self, steps: usize) -> bool {
        self.current_mut().maintain(steps)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vector(i: u64) -> [f32; 8] {
        let mut rng = fastrand::Rng::with_seed(i);
        std::array::from_fn(|_| rng.f32() - 0.5)
    }

    #[test]
    fn a_growing_partition_becomes_a_graph_and_a_shrinking_one_a_scan_again() {
        let mut index = AutoIndex::default();
        let size = AUTO_CROSSOVER as u64 + 50;
        for id in 0..size {
            assert_eq!(index.kind(), if id <= AUTO_CROSSOVER as u64 { "flat" } else { "hnsw" });
            assert!(index.insert(id, &vector(id)));
        }
        let found = index.search(&vector(7), 1, &|_| true);
        assert_eq!(found[0].id, 7);
        for id in 0..size - 100 {
            assert!(index.remove(id));
        }
        assert_eq!((index.kind(), index.len()), ("flat", 100));
        assert_eq!(index.search(&vector(size - 1), 1, &|_| true)[0].id, size - 1);
    }
}
