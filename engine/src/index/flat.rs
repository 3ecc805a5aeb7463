//! The exact scan: every vector is compared. Exact recall, free inserts, exact deletes; the fastest way for most
//! partitions, which are small.

use std::collections::HashMap;

use super::vector::{Nearest, dot, unit};
use super::{Neighbour, VectorIndex};

/// Vectors side by side in one allocation, in no particular order.
#[derive(Debug, Default)]
pub struct FlatIndex {
    dimension: usize,
    /// `ids.len() * dimension` numbers; the vector of `ids[slot]` starts at `slot * dimension`.
    vectors: Vec<f32>,
    ids: Vec<u64>,
    slots: HashMap<u64, usize>,
}

impl FlatIndex {
    /// Stores a vector that has unit length already; `false` if the dimension is another than that of the others.
    pub(super) fn insert_unit(&mut self, id: u64, vector: &[f32]) -> bool {
        if self.ids.is_empty() {
            self.dimension = vector.len();
        } else if self.dimension != vector.len() {
            return false;
        }
        if let Some(&slot) = self.slots.get(&id) {
            self.vectors[slot * self.dimension..][..self.dimension].copy_from_slice(vector);
        } else {
            self.slots.insert(id, self.ids.len());
            self.ids.push(id);
            self.vectors.extend_from_slice(vector);
        }
        true
    }

    /// Takes out the vector that is cheapest to take out.
    pub(super) fn pop(&mut self) -> Option<(u64, Vec<f32>)> {
        let id = self.ids.pop()?;
        self.slots.remove(&id);
        let vector = self.vectors.split_off(self.ids.len() * self.dimension);
        Some((id, vector))
    }

    /// The dimension of the vectors, unless there are none.
    pub(super) fn dimension(&self) -> Option<usize> {
        (!self.ids.is_empty()).then_some(self.dimension)
    }

    /// Offers the vectors that are alive. `query` has unit length and the index's dimension.
    pub(super) fn scan(&self, query: &[f32], nearest: &mut Nearest, alive: &dyn Fn(u64) -> bool) {
        for (&id, vector) in self.ids.iter().zip(self.vectors.chunks_exact(self.dimension.max(1))) {
            let similarity = dot(query, vector);
            // Asking whether an id is alive may cost more than the arithmetic: only those that would get in are asked.
            if nearest.wants(similarity) && alive(id) {
                nearest.offer(id, similarity);
            }
        }
    }
}

impl VectorIndex for FlatIndex {
    fn insert(&mut self, id: u64, vector: &[f32]) -> bool {
        unit(vector).is_some_and(|vector| self.insert_unit(id, &vector))
    }

    fn remove(&mut self, id: u64) -> bool {
        let Some(slot) = self.slots.remove(&id) else { return false };
        let last = self.ids.len() - 1;
        self.ids.swap_remove(slot);
        if slot < last {
            self.vectors
                .copy_within(last * self.dimension..(last + 1) * self.dimension, slot * self.dimension);
            self.slots.insert(self.ids[slot], slot);
        }
        self.vectors.truncate(last * self.dimension);
        true
    }

    fn search(&self, query: &[f32], k: usize, alive: &dyn Fn(u64) -> bool) -> Vec<Neighbour> {
        if k == 0 || self.dimension() != Some(query.len()) {
            return Vec::new();
        }
        let Some(query) = unit(query) else { return Vec::new() };
        let mut nearest = Nearest::new(k);
        self.scan(&query, &mut nearest, alive);
        nearest.into_vec()
    }

    fn len(&self) -> usize {
        self.ids.len()
    }

    fn kind(&self) -> &'static str {
        "flat"
    }

    fn vector_bytes(&self, dimension: usize) -> usize {
        // The numbers, the id, and its place in the map.
        dimension * size_of::<f32>() + 40
    }
}
