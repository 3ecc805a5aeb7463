//! How the rows of a pass, one per token, lie in memory: cut into blocks as high as a tile.
//!
//! A matrix of `width` columns is kept *blocked*: block after block, within a block chunk after chunk of
//! [`Simd::LANES`] columns, within a chunk row after row. So a tile reads its rows at constant distances, and whatever
//! works on a row works on whole vectors. `width` is a multiple of the lanes, and so is what a tile multiplies.

use super::format::Format;
use super::simd::Simd;
use std::marker::PhantomData;
use std::ops::Range;

/// Rows that are computed together: at most [`Simd::ROWS`] of one sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Block {
    pub(crate) start: usize,
    pub(crate) rows: usize,
}

/// The tokens of one text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sequence {
    pub(crate) start: usize,
    pub(crate) len: usize,
    pub(crate) blocks: Range<usize>,
}

/// The rows of a pass: sequences of their exact lengths one after the other, nothing between them. Blocks are as high as the
/// format's tiles: a batch of another format is another type, and only this folder can make or change one.
pub(crate) struct Batch<F> {
    pub(super) rows: usize,
    pub(super) blocks: Vec<Block>,
    pub(super) sequences: Vec<Sequence>,
    format: PhantomData<F>,
}

impl<F: Format> Batch<F> {
    /// Cuts each sequence into as few blocks as there can be, of heights as equal as can be.
    pub(crate) fn new(lengths: impl IntoIterator<Item = usize>) -> Self {
        let mut batch = Self { rows: 0, blocks: Vec::new(), sequences: Vec::new(), format: PhantomData };
        for len in lengths {
            let (start, first) = (batch.rows, batch.blocks.len());
            let mut blocks_left = len.div_ceil(F::S::ROWS);
            while blocks_left > 0 {
                let rows = (start + len - batch.rows).div_ceil(blocks_left);
                batch.blocks.push(Block { start: batch.rows, rows });
                batch.rows += rows;
                blocks_left -= 1;
            }
            batch.sequences.push(Sequence { start, len, blocks: first..batch.blocks.len() });
        }
        batch
    }

    /// All rows.
    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// The texts, each with its blocks.
    pub(crate) fn sequences(&self) -> impl Iterator<Item = (&Sequence, &[Block])> {
        self.sequences.iter().map(|sequence| (sequence, &self.blocks[sequence.blocks.clone()]))
    }

    /// The longest sequence's length.
    pub(crate) fn longest(&self) -> usize {
        self.sequences.iter().map(|sequence| sequence.len).max().unwrap_or(0)
    }

    /// Row after row, out of a blocked matrix of `width` columns.
    pub(crate) fn unblocked(&self, blocked: &[f32], width: usize) -> Vec<f32> {
        let mut rows = Vec::with_capacity(self.rows * width);
        for block in &self.blocks {
            for row in 0..block.rows {
                for chunk in 0..width / F::S::LANES {
                    rows.extend_from_slice(&blocked[block.chunk::<F::S>(width, row, chunk)..][..F::S::LANES]);
                }
            }
        }
        rows
    }
}

impl Block {
    /// Where chunk `chunk` of the block's row `row` starts in a blocked matrix.
    pub(crate) fn chunk<S: Simd>(self, width: usize, row: usize, chunk: usize) -> usize {
        self.start * width + (chunk * self.rows + row) * S::LANES
    }
}
