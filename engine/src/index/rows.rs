//! Vectors of one length in chunks of memory: appending never moves what is there already.

/// Rows of a chunk: 1.5 MiB at 384 dimensions.
const CHUNK: usize = 1024;

/// Vectors, numbered from 0.
#[derive(Default)]
pub(super) struct Rows {
    dimension: usize,
    len: usize,
    /// All but the last are full; none is empty.
    chunks: Vec<Vec<f32>>,
}

impl Rows {
    /// The length of every vector; 0 before the first.
    pub(super) fn dimension(&self) -> usize {
        self.dimension
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    #[inline(always)]
    pub(super) fn get(&self, slot: usize) -> &[f32] {
        &self.chunks[slot / CHUNK][slot % CHUNK * self.dimension..][..self.dimension]
    }

    /// Appends a vector. The first one decides the length of all; the others must have it.
    pub(super) fn push(&mut self, vector: &[f32]) {
        if self.len == 0 {
            self.dimension = vector.len();
        }
        debug_assert_eq!(self.dimension, vector.len());
        if self.len.is_multiple_of(CHUNK) {
            // Only the first chunk grows: most partitions are small.
            let rows = if self.len == 0 { 1 } else { CHUNK };
            self.chunks.push(Vec::with_capacity(rows * self.dimension));
        }
        if let Some(chunk) = self.chunks.last_mut() {
            chunk.extend_from_slice(vector);
            self.len += 1;
        }
    }

    /// Takes a vector out; the last one takes its place.
    pub(super) fn swap_remove(&mut self, slot: usize) {
        debug_assert!(slot < self.len);
        let (last, dimension) = (self.len - 1, self.dimension);
        let (from, to) = (last % CHUNK * dimension, slot % CHUNK * dimension);
        let Some(mut tail) = self.chunks.pop() else { return };
        if slot / CHUNK == self.chunks.len() {
            tail.copy_within(from.., to);
        } else {
            self.chunks[slot / CHUNK][to..to + dimension].copy_from_slice(&tail[from..]);
        }
        tail.truncate(from);
        if !tail.is_empty() {
            self.chunks.push(tail);
        }
        self.len = last;
    }

    /// The vectors by chunk: for each the number of its first one, and all its numbers.
    pub(super) fn chunks(&self) -> impl Iterator<Item = (usize, &[f32])> {
        self.chunks.iter().enumerate().map(|(i, chunk)| (i * CHUNK, chunk.as_slice()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_agree_with_a_plain_list_over_the_borders_of_chunks() {
        let mut rng = fastrand::Rng::with_seed(5);
        let (mut rows, mut list) = (Rows::default(), Vec::new());
        for step in 0..12_000 {
            // Grows past two chunks, then shrinks to nothing.
            if rng.f32() < if step < 7_000 { 0.8 } else { 0.1 } || list.is_empty() {
                let row = [step as f32, rng.f32(), 3.0];
                rows.push(&row);
                list.push(row);
            } else {
                let slot = rng.usize(..list.len());
                rows.swap_remove(slot);
                list.swap_remove(slot);
            }
            assert_eq!(rows.len(), list.len());
            if let Some(last) = list.len().checked_sub(1) {
                let slot = rng.usize(..=last);
                assert_eq!((rows.get(slot), rows.get(last)), (&list[slot][..], &list[last][..]));
            }
        }
        let chunked: Vec<f32> = rows.chunks().flat_map(|(_, chunk)| chunk.iter().copied()).collect();
        assert_eq!(chunked, list.concat());
    }

    #[test]
    fn rows_that_were_emptied_take_another_length() {
        let mut rows = Rows::default();
        rows.push(&[1.0, 2.0]);
        rows.swap_remove(0);
        rows.push(&[3.0]);
        assert_eq!((rows.dimension(), rows.get(0)), (1, &[3.0][..]));
    }
}
