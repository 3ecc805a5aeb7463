//! Weights in the order a tile reads them: packed once, when a model is loaded.

use super::format::Format;
use super::lines::Lines;
use super::simd::Simd;
use std::marker::PhantomData;

/// Columns of a panel: two vectors.
pub(super) const fn panel_columns<F: Format>() -> usize {
    2 * F::S::LANES
}

/// A linear layer `y = x·Wᵀ + b`. W is cut into panels of [`panel_columns`] outputs; a panel holds, input word after
/// input word, that word of each of its outputs, so that a tile reads the panel from its first line to its last.
pub(crate) struct Packed<F> {
    pub(super) inputs: usize,
    pub(super) outputs: usize,
    pub(super) panels: Lines,
    pub(super) bias: Vec<f32>,
    /// Integer formats: what an integer of the output's weights stands for.
    pub(super) factors: Vec<f32>,
    /// Integer formats: what the activations' offset adds to the output's sum.
    pub(super) corrections: Vec<i32>,
    format: PhantomData<F>,
}

/// What every layer's inputs and outputs must be multiples of: whole panels, and whole vectors of words, of every
/// format.
pub(crate) const SIZE_MULTIPLE: usize = 64;

impl<F: Format> Packed<F> {
    /// Packs `weights`, `bias.len()` rows of `inputs` numbers each.
    ///
    /// Integer weights are symmetric, a scale per output: the largest magnitude of a row becomes 127.
    ///
    /// # Panics
    /// If a dimension is no multiple of [`SIZE_MULTIPLE`] or the lengths don't fit each other.
    pub(crate) fn new(weights: &[f32], bias: Vec<f32>, inputs: usize) -> Self {
        let outputs = bias.len();
        assert!(inputs.is_multiple_of(SIZE_MULTIPLE) && outputs.is_multiple_of(SIZE_MULTIPLE));
        assert_eq!(weights.len(), inputs * outputs);

        let (words, columns) = (inputs / F::PER_WORD, panel_columns::<F>());
        let mut panels = Lines::zeroed(words * outputs);
        let (mut factors, mut corrections) = (Vec::new(), Vec::new());
        let to = panels.words_mut();
        for (output, row) in weights.chunks_exact(inputs).enumerate() {
            let scaled = F::INTEGER.then(|| quantised(row));
            let row = scaled.as_ref().map_or(row, |(integers, _)| integers);
            let panel = (output / columns) * words * columns;
            for (word, values) in row.chunks_exact(F::PER_WORD).enumerate() {
                to[panel + word * columns + output % columns] = F::pack(values);
            }
            if let Some((integers, factor)) = scaled {
                factors.push(factor);
                corrections.push(integers.iter().map(|x| *x as i32).sum::<i32>() * F::OFFSET);
            }
        }
        Self { inputs, outputs, panels, bias, factors, corrections, format: PhantomData }
    }
}

/// Largest magnitude of an 8-bit integer; -128 is left out, so that the range is symmetric.
pub(super) const LARGEST: f32 = 127.0;

/// Least magnitude a scale is made of: a row of zeros has one, too, and its inverse is finite.
pub(super) const LEAST: f32 = 1e-30;

/// Integers from -127 to 127 (as floats), and what one of them stands for.
fn quantised(row: &[f32]) -> (Vec<f32>, f32) {
    let factor = row.iter().fold(0.0, |most: f32, x| most.max(x.abs())).max(LEAST) / LARGEST;
    let integer = |x: &f32| (x / factor).round().clamp(-LARGEST, LARGEST);
    (row.iter().map(integer).collect(), factor)
}
