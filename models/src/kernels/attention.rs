//! Attention of one text over itself (Vaswani et al. 2017), head by head, in 32-bit floats.

use super::batch::{Batch, Block, Sequence};
use super::format::{Format, Op};
use super::lines::Lines;
use super::pack::panel_columns;
use super::simd::Simd;
use super::tile::{Finish, Tile};

/// What a head's width must be a multiple of: whole panels of every format.
pub(crate) const HEAD_MULTIPLE: usize = 32;

/// Room for one head's keys and one block's scores.
pub(crate) struct Scratch {
    keys: Lines,
    scores: Lines,
}

impl Default for Scratch {
    fn default() -> Self {
        Self { keys: Lines::zeroed(0), scores: Lines::zeroed(0) }
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
    batch: &Batch,
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
    scratch.scores.ensure(F::S::ROWS * longest);

    for sequence in &batch.sequences {
        for head in 0..of.heads {
            pack_keys(of, sequence, head, columns, &mut scratch.keys);
            for block in &batch.blocks[sequence.blocks.clone()] {
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

/// # Safety
/// The slices of `of` and `to` hold all rows of the batch that `sequence` and `block` are of; the scratch has the
/// keys of this head, and room for the block's scores.
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
    let first_chunk = head * of.head / lanes;
    let scores = scratch.scores.as_mut_ptr();
    let blocked = |out| Tile {
        a: scores.cast(),
        b: std::ptr::null(),
        b_step: 0,
        words: 0,
        out,
        row_step: lanes,
        vector_step: rows * lanes,
        finish: Finish::NONE,
    };
    // SAFETY: a head's columns of a block are `head × rows` floats from `first_chunk` on, in queries and result.
    // Panels of keys are `head × columns` floats; scores are written for every key of the last panel, for which there
    // is room. Values are read for the text's own rows only, a panel of columns within the head.
    unsafe {
        for panel in 0..sequence.len.div_ceil(columns) {
            Tile {
                a: of.queries.as_ptr().add(block.chunk::<F::S>(width, 0, first_chunk)).cast(),
                b: scratch.keys.as_ptr().add(panel * columns * of.head).cast(),
                b_step: columns,
                words: of.head,
                ..blocked(scores.add(panel * columns * rows))
            }
            .compute(format, rows);
        }
        format.call(Softmax { format, scores, rows, len: sequence.len });
        for panel in 0..of.head / columns {
            let column = head * of.head + panel * columns;
            Tile {
                b: of.values.as_ptr().add(sequence.start * width + column).cast(),
                b_step: width,
                words: sequence.len,
                ..blocked(to.as_mut_ptr().add(block.chunk::<F::S>(width, 0, column / lanes)))
            }
            .compute(format, rows);
        }
    }
}

/// Rows of scores become probabilities.
struct Softmax<F> {
    format: F,
    scores: *mut f32,
    rows: usize,
    len: usize,
}

impl<F: Format> Op for Softmax<F> {
    #[inline(always)]
    unsafe fn run(self) {
        let _ = self.format;
        let (lanes, step) = (F::S::LANES, self.rows * F::S::LANES);
        let chunks = self.len.div_ceil(lanes);
        // SAFETY: there are `rows` rows of `chunks` vectors in blocked order.
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
                let factor = F::S::splat(1.0 / F::S::sum(sum));
                for chunk in 0..chunks {
                    let at = scores.add(chunk * step);
                    F::S::store(at, F::S::mul(F::S::load(at), factor));
                }
            }
        }
    }
}
