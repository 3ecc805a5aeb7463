//! What is done to one row after the other: layer normalisation, and the change to the format of a product.

use super::batch::{Batch, Block};
use super::format::{Format, Op};
use super::lines::Lines;
use super::pack::{LARGEST, LEAST};
use super::simd::Simd;
use super::tile::Operand;

/// Gain and bias of a layer normalisation (Ba, Kiros & Hinton 2016).
pub(crate) struct Norm {
    pub(crate) gain: Vec<f32>,
    pub(crate) bias: Vec<f32>,
    pub(crate) epsilon: f32,
}

struct NormaliseBlock<F> {
    _format: F,
    from: *const f32,
    to: *mut f32,
    rows: usize,
    width: usize,
    gain: *const f32,
    bias: *const f32,
    epsilon: f32,
}

impl<F: Format> Op for NormaliseBlock<F> {
    #[inline(always)]
    unsafe fn run(self) {
        let (lanes, step) = (F::S::LANES, self.rows * F::S::LANES);
        let chunks = self.width / lanes;
        // SAFETY: `from` and `to` hold a block of `rows × width` floats, `gain` and `bias` `width`: `normalise` checks.
        unsafe {
            for row in 0..self.rows {
                let (from, to) = (self.from.add(row * lanes), self.to.add(row * lanes));
                let mut sum = F::S::splat(0.0);
                for chunk in 0..chunks {
                    sum = F::S::add(sum, F::S::load(from.add(chunk * step)));
                }
                let mean = F::S::splat(F::S::sum(sum) / self.width as f32);
                let mut squares = F::S::splat(0.0);
                for chunk in 0..chunks {
                    let v = F::S::sub(F::S::load(from.add(chunk * step)), mean);
                    squares = F::S::mul_add(v, v, squares);
                }
                let variance = F::S::sum(squares) / self.width as f32;
                let factor = F::S::splat(1.0 / (variance + self.epsilon).sqrt());
                for chunk in 0..chunks {
                    let v = F::S::mul(F::S::sub(F::S::load(from.add(chunk * step)), mean), factor);
                    let gain = F::S::load(self.gain.add(chunk * lanes));
                    let bias = F::S::load(self.bias.add(chunk * lanes));
                    F::S::store(to.add(chunk * step), F::S::mul_add(v, gain, bias));
                }
            }
        }
    }
}

/// Normalises every row of the blocked matrix `from` into `to`.
///
/// # Panics
/// If the slices are shorter than the batch and the norm's width need.
pub(crate) fn normalise<F: Format>(format: F, batch: &Batch<F>, from: &[f32], norm: &Norm, to: &mut [f32]) {
    let width = norm.gain.len();
    assert!(width.is_multiple_of(F::S::LANES) && norm.bias.len() == width);
    assert!(from.len() >= batch.rows * width && to.len() >= batch.rows * width);
    for &Block { start, rows } in &batch.blocks {
        // SAFETY: a block's floats are `start × width .. (start + rows) × width` of both, within what was asserted.
        unsafe {
            format.call(NormaliseBlock {
                _format: format,
                from: from.as_ptr().add(start * width),
                to: to.as_mut_ptr().add(start * width),
                rows,
                width,
                gain: norm.gain.as_ptr(),
                bias: norm.bias.as_ptr(),
                epsilon: norm.epsilon,
            });
        }
    }
}

/// Activations in a product's format.
pub(crate) struct Converted {
    words: Lines,
    factors: Lines,
}

impl Converted {
    /// Room for `values` activations in `rows` rows; none if the format is that of the activations themselves.
    pub(crate) fn ensure<F: Format>(&mut self, rows: usize, values: usize) {
        if F::INTEGER || F::PER_WORD > 1 {
            self.words.ensure(values / F::PER_WORD);
            self.factors.ensure(rows);
        }
    }
}

impl Default for Converted {
    fn default() -> Self {
        Self { words: Lines::zeroed(0), factors: Lines::zeroed(0) }
    }
}

struct ConvertBlock<F> {
    _format: F,
    from: *const f32,
    to: *mut u32,
    factors: *mut f32,
    rows: usize,
    width: usize,
}

impl<F: Format> Op for ConvertBlock<F> {
    #[inline(always)]
    unsafe fn run(self) {
        let (lanes, step) = (F::S::LANES, self.rows * F::S::LANES);
        // SAFETY: `from` holds a block of `rows × width` floats, `to` as many values in words, `factors` one per row:
        // `convert` checks.
        unsafe {
            for row in 0..self.rows {
                let from = self.from.add(row * lanes);
                let mut factor = 1.0;
                if F::INTEGER {
                    let mut most = F::S::splat(LEAST);
                    for chunk in 0..self.width / lanes {
                        most = F::S::max(most, F::S::abs(F::S::load(from.add(chunk * step))));
                    }
                    let most = F::S::largest(most);
                    *self.factors.add(row) = most / LARGEST;
                    factor = LARGEST / most;
                }
                for chunk in 0..self.width / lanes / F::PER_WORD {
                    let to = self.to.add(chunk * step + row * lanes);
                    F::convert(from.add(chunk * F::PER_WORD * step), step, to, factor);
                }
            }
        }
    }
}

/// The blocked matrix `from`, `width` wide, as the operand of a product: itself if the format is that of floats, else
/// converted into `scratch`. Integers are symmetric with a scale per row: a row's largest magnitude becomes 127.
///
/// # Panics
/// If `from` is shorter than the batch needs or `scratch` has not the room.
pub(crate) fn convert<'a, F: Format>(
    format: F,
    batch: &Batch<F>,
    from: &'a Lines,
    width: usize,
    scratch: &'a mut Converted,
) -> Operand<'a> {
    if !F::INTEGER && F::PER_WORD == 1 {
        return Operand { words: from.words(), factors: &[] };
    }
    let words = width / F::PER_WORD;
    assert!(words.is_multiple_of(F::S::LANES) && from.len() >= batch.rows * width);
    assert!(scratch.words.len() >= batch.rows * words && scratch.factors.len() >= batch.rows);
    for &Block { start, rows } in &batch.blocks {
        // SAFETY: a block's floats, words and factors start at `start` times their number per row, within what was
        // asserted.
        unsafe {
            format.call(ConvertBlock {
                _format: format,
                from: from.as_ptr().add(start * width),
                to: scratch.words.words_mut().as_mut_ptr().add(start * words),
                factors: scratch.factors.as_mut_ptr().add(start),
                rows,
                width,
            });
        }
    }
    Operand { words: scratch.words.words(), factors: &scratch.factors }
}
