//! The scan: every vector is looked at. Exact while a partition is small, which most are; from some hundred vectors on,
//! all are looked at by their signs and the nearest of those exactly. Inserts and removes cost next to nothing.

use std::cell::Cell;
use std::collections::HashMap;

use super::codes::Codes;
use super::rows::Rows;
use super::shortlist::Shortlist;
use super::simd::dots;
use super::vector::{Nearest, unit};
use super::{Neighbour, VectorIndex};

/// Vectors from which signs are faster than comparing all. Measured for 384 dimensions; below it, recall is exact.
const CODED_FROM: usize = 384;
/// Dimensions from which signs tell enough to choose by them. Shorter vectors are quick to compare anyway.
const CODED_DIMENSIONS: usize = 96;
/// Vectors compared exactly after a look at the signs: so many, more per neighbour asked for, and one more for as many
/// vectors as this. Measured with MiniLM (384 dimensions), 14,000 texts and noisy copies of them: the nearest of 1,000 to
/// 100,000 vectors is found at least 99.4 times of 100, and 95 to 99 of 100 of the 8 nearest. With a hundred copies of each
/// text around it finds the very nearest 96 times, and else another copy that is as near but for a hair.
const COMPARED: usize = 24;
const COMPARED_PER_NEIGHBOUR: usize = 2;
const VECTORS_PER_COMPARED: usize = 384;
/// How many times as many vectors there must be for choosing to be quicker than comparing all.
const WORTH_CHOOSING: usize = 3;
/// How much wider a scan becomes when too few of those compared were alive.
const WIDER: usize = 8;

/// The vectors of a partition, each stored once, in no particular order.
#[derive(Default)]
pub struct FlatIndex {
    rows: Rows,
    /// The id of each row.
    ids: Vec<u64>,
    slots: HashMap<u64, usize>,
    /// The signs of each row, once there are enough of them.
    codes: Option<Codes>,
}

/// What a search needs to write on. Kept by the thread for its next search: a large one would cost more to get than
/// the search itself.
#[derive(Default)]
struct Scratch {
    list: Shortlist,
    similarities: Vec<f32>,
}

thread_local! {
    static SCRATCH: Cell<Option<Box<Scratch>>> = const { Cell::new(None) };
}

impl FlatIndex {
    /// Stores a vector that has unit length already; `false` if the dimension is another than that of the others.
    pub(super) fn insert_unit(&mut self, id: u64, vector: &[f32]) -> bool {
        if self.dimension().is_some_and(|dimension| dimension != vector.len())
            || self.ids.len() == u32::MAX as usize
        {
            return false;
        }
        self.remove(id);
        self.slots.insert(id, self.ids.len());
        self.ids.push(id);
        self.rows.push(vector);
        match &mut self.codes {
            Some(codes) => codes.push(&self.rows),
            None if self.ids.len() >= CODED_FROM && vector.len() >= CODED_DIMENSIONS => {
                self.codes = Some(Codes::of(&self.rows));
            }
            None => {}
        }
        true
    }

    /// The dimension of the vectors, unless there are none.
    fn dimension(&self) -> Option<usize> {
        (!self.ids.is_empty()).then_some(self.rows.dimension())
    }

    /// The vector of an id.
    pub(super) fn vector(&self, id: u64) -> Option<&[f32]> {
        self.slots.get(&id).map(|&slot| self.rows.get(slot))
    }

    /// The ids of all vectors.
    pub(super) fn ids(&self) -> &[u64] {
        &self.ids
    }

    /// As [`VectorIndex::search`], by comparing all vectors: what other ways of searching are measured against.
    pub fn search_exact(&self, query: &[f32], k: usize, alive: &dyn Fn(u64) -> bool) -> Vec<Neighbour> {
        self.unit_query(query, k).map_or_else(Vec::new, |query| {
            let mut scratch = SCRATCH.take().unwrap_or_default();
            let nearest = self.nearest_of_all(&query, k, alive, &mut scratch.similarities);
            SCRATCH.set(Some(scratch));
            nearest.into_vec()
        })
    }

    /// The query in unit length, if there is anything to find with it.
    pub(super) fn unit_query(&self, query: &[f32], k: usize) -> Option<Vec<f32>> {
        if k == 0 || self.dimension() != Some(query.len()) { None } else { unit(query) }
    }

    /// Up to `k` of the nearest. `query` has unit length and the index's dimension.
    pub(super) fn nearest(&self, query: &[f32], k: usize, alive: &dyn Fn(u64) -> bool) -> Nearest {
        let mut scratch = SCRATCH.take().unwrap_or_default();
        let nearest = self
            .nearest_by_signs(query, k, alive, &mut scratch)
            .unwrap_or_else(|| self.nearest_of_all(query, k, alive, &mut scratch.similarities));
        SCRATCH.set(Some(scratch));
        nearest
    }

    /// Chooses by signs and compares the chosen; `None` if comparing all is quicker, or the only way to find `k`.
    fn nearest_by_signs(
        &self,
        query: &[f32],
        k: usize,
        alive: &dyn Fn(u64) -> bool,
        scratch: &mut Scratch,
    ) -> Option<Nearest> {
        let codes = self.codes.as_ref()?;
        let mut compared = k
            .saturating_mul(COMPARED_PER_NEIGHBOUR)
            .saturating_add(COMPARED + self.ids.len() / VECTORS_PER_COMPARED);
        while compared.saturating_mul(WORTH_CHOOSING) <= self.ids.len() {
            scratch.list.reset(compared, codes.farthest());
            codes.scan(query, &mut scratch.list);
            let chosen = scratch.list.slots();
            let row = |at: usize| self.rows.get(chosen[at] as usize);
            dots(query, chosen.len(), row, &mut scratch.similarities);
            let ids = chosen.iter().map(|&slot| self.ids[slot as usize]);
            let mut nearest = Nearest::new(k);
            nearest.offer_all(ids, &scratch.similarities, alive);
            if nearest.len() == k {
                return Some(nearest);
            }
            compared *= WIDER;
        }
        None
    }

    fn nearest_of_all(
        &self,
        query: &[f32],
        k: usize,
        alive: &dyn Fn(u64) -> bool,
        similarities: &mut Vec<f32>,
    ) -> Nearest {
        let mut nearest = Nearest::new(k);
        let dimension = query.len();
        for (first, chunk) in self.rows.chunks() {
            let row = |at: usize| &chunk[at * dimension..][..dimension];
            dots(query, chunk.len() / dimension, row, similarities);
            nearest.offer_all(self.ids[first..].iter().copied(), similarities, alive);
        }
        nearest
    }
}

impl VectorIndex for FlatIndex {
    fn insert(&mut self, id: u64, vector: &[f32]) -> bool {
        unit(vector).is_some_and(|vector| self.insert_unit(id, &vector))
    }

    fn remove(&mut self, id: u64) -> bool {
        let Some(slot) = self.slots.remove(&id) else { return false };
        let removed = self.codes.is_some().then(|| self.rows.get(slot).to_vec());
        self.rows.swap_remove(slot);
        self.ids.swap_remove(slot);
        if let Some(&moved) = self.ids.get(slot) {
            self.slots.insert(moved, slot);
        }
        if let (Some(codes), Some(removed)) = (&mut self.codes, removed) {
            codes.swap_remove(slot, &removed, &self.rows);
        }
        // Far below the size at which they began, they only cost.
        if self.ids.len() < CODED_FROM / 2 {
            self.codes = None;
        }
        true
    }

    fn search(&self, query: &[f32], k: usize, alive: &dyn Fn(u64) -> bool) -> Vec<Neighbour> {
        self.unit_query(query, k).map_or_else(Vec::new, |query| self.nearest(&query, k, alive).into_vec())
    }

    fn len(&self) -> usize {
        self.ids.len()
    }

    fn kind(&self) -> &'static str {
        "flat"
    }

    fn vector_bytes(&self, dimension: usize) -> usize {
        // The numbers, their signs, the id, and its place in the map.
        dimension * size_of::<f32>() + dimension.div_ceil(64) * 8 + 40
    }
}
