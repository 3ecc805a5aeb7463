//! Attention of one text over itself (Vaswani et al. 2017), head by head, in 32-bit floats.

use super::batch::{Batch, Block, Sequence};
use super::format::{Format, Op};
use super::lines::Lines;
use super::pack::panel_columns;
use super::simd::{Simd, Zmm};
use super::tile::{Finish, Tile};

/// What a head's width must be a multiple of: whole panels of every format.
pub(crate) const HEAD_MULTIPLE: usize = 32;

/// Room for one head's keys and values and one block's scores.
pub(crate) struct Scratch {
    keys: Lines,
    values: Lines,
    scores: Lines,
}

impl Default for Scratch {
    fn default() -> Self {
        Self { keys: Lines::zeroed(0), values: Lines::zeroed(0), scores: Lines::zeroed(0) }
    }
}

/// Queries (blocked, scaled already), keys and values (row-major) of all heads, `heads · head` wide.
pub(crate) struct Heads<'a> {
    pub(crate) queries: &'a [f32],
    pub(crate) keys: &'a [f32],
    pub(crate) values: &'a [f32],
    pub(crate) heads: usize,
    /// Width of one head; a multiple of [`HEAD_MULTIPLE`].
    pub(crate) head: usize,
}

/// Blocked `to = softmax(Q·Kᵀ)·V`, each text by itself.
///
/// # Panics
/// If a slice is shorter than the batch needs, or a head's width is no multiple of [`HEAD_MULTIPLE`].
pub(crate) fn attend<F: Format>(
    format: F,
    batch: &Batch<F>,
    of: &Heads<'_>,
    scratch: &mut Scratch,
    to: &mut [f32],
) {
    let width = of.heads * of.head;
    let columns = panel_columns::<F>();
    assert!(of.head.is_multiple_of(HEAD_MULTIPLE));
    let least = of.queries.len().min(of.keys.len()).min(of.values.len()).min(to.len());
    assert!(least >= batch.rows * width);
    let longest = batch.longest().next_multiple_of(columns);
    scratch.keys.ensure(of.head * longest);
    scratch.values.ensure(of.head * longest);
    scratch.scores.ensure(F::S::ROWS * longest);

    for (sequence, blocks) in batch.sequences().filter(|(sequence, _)| sequence.len > 0) {
        for head in 0..of.heads {
            pack_keys(of, sequence, head, columns, &mut scratch.keys);
            pack_values(of, sequence, head, columns, &mut scratch.values);
            for block in blocks {
                // SAFETY: the slices hold `batch.rows × width` floats, and the scratch was made for the longest text.
                unsafe { attend_block(format.float(), of, sequence, head, *block, scratch, to) };
            }
        }
    }
}

/// Kᵀ of one head in panels of `columns` keys, as weights are packed; keys beyond the text are zeros.
fn pack_keys(of: &Heads<'_>, sequence: &Sequence, head: usize, columns: usize, to: &mut [f32]) {
    let width = of.heads * of.head;
    to[..of.head * sequence.len.next_multiple_of(columns)].fill(0.0);
    for (at, key) in of.keys[sequence.start * width..].chunks_exact(width).take(sequence.len).enumerate() {
        let panel = &mut to[at / columns * columns * of.head + at % columns..];
        for (to, x) in panel.iter_mut().step_by(columns).zip(&key[head * of.head..][..of.head]) {
            *to = *x;
        }
    }
}

/// The values of one head in panels of `columns` of its columns; rows beyond the text are zeros.
fn pack_values(of: &Heads<'_>, sequence: &Sequence, head: usize, columns: usize, to: &mut [f32]) {
    let (width, rows) = (of.heads * of.head, sequence.len.next_multiple_of(columns));
    let values = of.values[sequence.start * width..].chunks_exact(width).take(sequence.len);
    for (panel, to) in to.chunks_exact_mut(rows * columns).take(of.head / columns).enumerate() {
        let (said, beyond) = to.split_at_mut(sequence.len * columns);
        for (to, value) in said.chunks_exact_mut(columns).zip(values.clone()) {
            to.copy_from_slice(&value[head * of.head + panel * columns..][..columns]);
        }
        beyond.fill(0.0);
    }
}

/// # Safety
/// The slices of `of` and `to` hold all rows of the batch that `sequence` and `block` are of; the scratch has the
/// keys and values of this head, and room for the block's scores.
unsafe fn attend_block<F: Format>(
    format: F,
    of: &Heads<'_>,
    sequence: &Sequence,
    head: usize,
    block: Block,
    scratch: &mut Scratch,
    to: &mut [f32],
) {
    let (lanes, columns, width, rows) = (F::S::LANES, panel_columns::<F>(), of.heads * of.head, block.rows);
    let (first_chunk, padded) = (head * of.head / lanes, sequence.len.next_multiple_of(columns));
    let scores = scratch.scores.as_mut_ptr();
    let blocked = |out| Tile {
        a: scores.cast(),
        b: std::ptr::null(),
        words: 0,
        out,
        row_step: lanes,
        vector_step: rows * lanes,
        finish: None,
    };
    // SAFETY: a head's columns of a block are `head × rows` floats from `first_chunk` on, in queries and result.
    // Panels of keys are `head × columns` floats, those of values `padded × columns`; scores are written for every key
    // of the last panel, for which there is room; what stands there beyond the text meets the values' zeros.
    unsafe {
        for panel in 0..sequence.len.div_ceil(columns) {
            Tile {
                a: of.queries.as_ptr().add(block.chunk::<F::S>(width, 0, first_chunk)).cast(),
                b: scratch.keys.as_ptr().add(panel * columns * of.head).cast(),
                words: of.head,
                ..blocked(scores.add(panel * columns * rows))
            }
            .compute(format, rows);
        }
        let mut factors = [0.0; Zmm::ROWS];
        let row_factors = factors.as_mut_ptr();
        format.call(Softmax { format, scores, rows, len: sequence.len, factors: row_factors });
        for panel in 0..of.head / columns {
            let column = head * of.head + panel * columns;
            Tile {
                b: scratch.values.as_ptr().add(panel * columns * padded).cast(),
                words: sequence.len.next_multiple_of(lanes),
                finish: Some(Finish { row_factors, ..Finish::NONE }),
                ..blocked(to.as_mut_ptr().add(block.chunk::<F::S>(width, 0, column / lanes)))
            }
            .compute(format, rows);
        }
    }
}

/// Rows of scores become probabilities, but for a factor of each row that is left to what they are multiplied by.
struct Softmax<F> {
    format: F,
    scores: *mut f32,
    rows: usize,
    len: usize,
    factors: *mut f32,
}

impl<F: Format> Op for Softmax<F> {
    #[inline(always)]
    unsafe fn run(self) {
        let _ = self.format;
        let (lanes, step) = (F::S::LANES, self.rows * F::S::LANES);
        let chunks = self.len.div_ceil(lanes);
        // SAFETY: there are `rows` rows of `chunks` vectors in blocked order, and as many factors.
        unsafe {
            for row in 0..self.rows {
                let scores = self.scores.add(row * lanes);
                for beyond in self.len..chunks * lanes {
                    *scores.add(beyond / lanes * step + beyond % lanes) = f32::MIN;
                }
                let mut most = F::S::load(scores);
                for chunk in 1..chunks {
                    most = F::S::max(most, F::S::load(scores.add(chunk * step)));
                }
                let most = F::S::splat(F::S::largest(most));
                let mut sum = F::S::splat(0.0);
                for chunk in 0..chunks {
                    let at = scores.add(chunk * step);
                    let e = super::math::exp::<F::S>(F::S::sub(F::S::load(at), most));
                    sum = F::S::add(sum, e);
                    F::S::store(at, e);
                }
                *self.factors.add(row) = 1.0 / F::S::sum(sum);
            }
        }
    }
}
