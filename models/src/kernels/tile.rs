//! The one micro-kernel, and the matrix products made of it.
//!
//! A tile is `ROWS` rows by two vectors of columns whose sums stay in registers: each step of the inner loop loads two
//! vectors of one operand and multiplies them by one broadcast word per row of the other (the scheme of Goto &
//! van de Geijn 2008, with one operand packed for good). Products with weights and both products of the attention are
//! this loop; the [`Format`] says what a word is.

use super::batch::{Batch, Block};
use super::format::{Format, Op};
use super::pack::{Packed, panel_columns};
use super::simd::Simd;
use crate::activation::Activation;
use std::arch::asm;
use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
use std::ptr;

/// Bytes of activations that are multiplied by all panels before the next rows come: what stays in a core's own cache.
const GROUP_BYTES: usize = 192 * 1024;
/// How far ahead of its use a line of weights is asked for.
const AHEAD_WORDS: usize = 512;

/// Where a tile's operands and result are. Distances are in floats.
#[derive(Clone, Copy)]
pub(super) struct Tile {
    /// The rows' words, blocked.
    pub(super) a: *const u32,
    /// A panel: two vectors of words for each word of a row.
    pub(super) b: *const u32,
    /// Words of a row; a multiple of the lanes.
    pub(super) words: usize,
    /// Where the first vector of the first row goes, and from a row, from a vector, to the next.
    pub(super) out: *mut f32,
    pub(super) row_step: usize,
    pub(super) vector_step: usize,
    /// Sums of integers always need one.
    pub(super) finish: Option<Finish>,
}

/// What is done with the sums before they are stored. Null: not done; for integers the factors, and for formats with an
/// offset the corrections, are never null.
#[derive(Clone, Copy)]
pub(super) struct Finish {
    /// What each row is multiplied by: for integers, what one of them stands for.
    pub(super) row_factors: *const f32,
    pub(super) column_factors: *const f32,
    pub(super) corrections: *const i32,
    pub(super) bias: *const f32,
    pub(super) activation: Option<Activation>,
    /// Laid out as the result.
    pub(super) add: *const f32,
}

impl Finish {
    pub(super) const NONE: Self = Self {
        row_factors: ptr::null(),
        column_factors: ptr::null(),
        corrections: ptr::null(),
        bias: ptr::null(),
        activation: None,
        add: ptr::null(),
    };
}

/// A tile of so many rows.
struct Rows<F, const ROWS: usize>(F, Tile);

/// One word of every row times two vectors. A function and no closure, since it must be inlined.
///
/// # Safety
/// `a` has ROWS words a vector apart, `b` two vectors.
#[inline(always)]
unsafe fn step<F: Format, const ROWS: usize>(sums: &mut [[F::Sums; 2]; ROWS], a: *const u32, b: *const u32) {
    let lanes = F::S::LANES;
    // SAFETY: the caller's. A prefetch may name any address.
    unsafe {
        let (b0, b1) = (F::load(b), F::load(b.add(lanes)));
        _mm_prefetch::<_MM_HINT_T0>(b.wrapping_add(AHEAD_WORDS).cast());
        if lanes == 16 {
            _mm_prefetch::<_MM_HINT_T0>(b.wrapping_add(AHEAD_WORDS + lanes).cast());
        }
        for (row, sums) in sums.iter_mut().enumerate() {
            let word = F::splat(a.add(row * lanes));
            sums[0] = F::dot(sums[0], word, b0);
            sums[1] = F::dot(sums[1], word, b1);
        }
    }
}

/// The same pointer, and nothing is loaded earlier than here in the program that comes after. Left to itself the compiler
/// loads ahead until the sums don't fit into the registers any more: measured, up to half of the tile's speed.
#[inline(always)]
fn in_order(mut p: *const u32) -> *const u32 {
    // SAFETY: no instruction; the pointer stays in its register.
    unsafe { asm!("/* {} */", inout(reg) p, options(nostack, preserves_flags)) };
    p
}

impl<F: Format, const ROWS: usize> Op for Rows<F, ROWS> {
    #[inline(always)]
    unsafe fn run(self) {
        // Said so that no code is made for it.
        if ROWS > F::S::ROWS {
            unreachable!("a batch's blocks are no higher than its format's tiles");
        }
        let tile = self.1;
        let lanes = F::S::LANES;
        let (mut a, mut b) = (tile.a, tile.b);
        // SAFETY: the caller of `Tile::compute` vouches that `a` holds `words` words of ROWS rows in blocked order,
        // `b` two vectors for each of them, and the result and what is added to it ROWS × 2 vectors; sums of integers
        // have a finish.
        unsafe {
            let mut sums = [[F::zero(); 2]; ROWS];
            for _ in 0..tile.words / lanes {
                for lane in 0..lanes {
                    step::<F, ROWS>(&mut sums, a.add(lane), b.add(2 * lanes * lane));
                    (a, b) = (in_order(a), in_order(b));
                }
                a = a.add(ROWS * lanes);
                b = b.add(2 * lanes * lanes);
            }
            let places = |row, vector| row * tile.row_step + vector * tile.vector_step;
            let Some(finish) = tile.finish else {
                debug_assert!(!F::INTEGER);
                for (row, [first, second]) in sums.into_iter().enumerate() {
                    F::S::store(tile.out.add(places(row, 0)), F::to_floats(first, ptr::null()));
                    F::S::store(tile.out.add(places(row, 1)), F::to_floats(second, ptr::null()));
                }
                return;
            };
            for (row, sums) in sums.iter().enumerate() {
                for (vector, sums) in sums.iter().enumerate() {
                    let at = places(row, vector);
                    let v = finish.apply::<F>(*sums, row, vector * lanes, at);
                    F::S::store(tile.out.add(at), v);
                }
            }
        }
    }
}

impl Finish {
    /// # Safety
    /// Pointers that are not null have what their names say for this row and for a vector from `column` on; `add` has
    /// one at `at`. For integers the factors, and with an offset the corrections, are not null.
    #[inline(always)]
    unsafe fn apply<F: Format>(
        self,
        sums: F::Sums,
        row: usize,
        column: usize,
        at: usize,
    ) -> <F::S as Simd>::V {
        // SAFETY: the caller's.
        unsafe {
            let mut v = F::to_floats(sums, self.corrections.wrapping_add(column));
            if !self.row_factors.is_null() {
                v = F::S::mul(v, F::S::splat(*self.row_factors.add(row)));
            }
            if F::INTEGER {
                v = F::S::mul(v, F::S::load(self.column_factors.add(column)));
            }
            if !self.bias.is_null() {
                v = F::S::add(v, F::S::load(self.bias.add(column)));
            }
            if let Some(activation) = self.activation {
                v = super::math::activate::<F::S>(v, activation);
            }
            if !self.add.is_null() {
                v = F::S::add(v, F::S::load(self.add.add(at)));
            }
            v
        }
    }
}

impl Tile {
    /// Computes the tile of `rows` rows.
    ///
    /// # Safety
    /// All operands are where the fields say, for `rows` rows and two vectors of columns; nothing else uses the result.
    #[inline(always)]
    pub(super) unsafe fn compute<F: Format>(self, format: F, rows: usize) {
        macro_rules! of_height {
            ($($height:literal)+) => {
                match rows {
                    // SAFETY: the caller's.
                    $($height => unsafe { format.call(Rows::<F, $height>(format, self)) },)+
                    _ => unreachable!("a block has 1 to 14 rows"),
                }
            };
        }
        of_height!(1 2 3 4 5 6 7 8 9 10 11 12 13 14);
    }
}

/// The left operand of a product: blocked words, and for integer formats what an integer of each row stands for.
#[derive(Clone, Copy)]
pub(crate) struct Operand<'a> {
    pub(crate) words: &'a [u32],
    pub(crate) factors: &'a [f32],
}

/// Where a product goes.
pub(crate) enum Place<'a> {
    /// A blocked matrix.
    Blocked(&'a mut [f32]),
    /// Row after row.
    RowMajor(&'a mut [f32]),
}

/// What becomes of a product.
#[derive(Clone, Copy)]
pub(crate) enum Then<'a> {
    Nothing,
    Activate(Activation),
    /// A matrix of the same shape and place is added.
    Add(&'a [f32]),
}

/// `to = then(a·Wᵀ + b)` for all rows of the batch.
///
/// # Panics
/// If a slice is shorter than the batch and the layer need.
pub(crate) fn linear<F: Format>(
    format: F,
    batch: &Batch<F>,
    a: Operand<'_>,
    layer: &Packed<F>,
    to: Place<'_>,
    then: Then<'_>,
) {
    let (words, outputs, lanes) = (layer.inputs / F::PER_WORD, layer.outputs, F::S::LANES);
    let (out, blocked) = match to {
        Place::Blocked(out) => (out, true),
        Place::RowMajor(out) => (out, false),
    };
    let mut finish = Finish::NONE;
    match then {
        Then::Nothing => {}
        Then::Activate(activation) => finish.activation = Some(activation),
        Then::Add(added) => {
            assert!(added.len() >= batch.rows * outputs);
            finish.add = added.as_ptr();
        }
    }
    assert!(a.words.len() >= batch.rows * words && out.len() >= batch.rows * outputs);
    assert!(!F::INTEGER || a.factors.len() >= batch.rows);
    let out = out.as_mut_ptr();
    let columns = panel_columns::<F>();
    let blocks_in_group = (GROUP_BYTES / (words * 4 * F::S::ROWS)).max(1);

    for group in batch.blocks.chunks(blocks_in_group) {
        for panel in 0..outputs / columns {
            for &Block { start, rows } in group {
                let column = panel * columns;
                let (at, row_step, vector_step) = if blocked {
                    (start * outputs + column * rows, lanes, rows * lanes)
                } else {
                    (start * outputs + column, outputs, lanes)
                };
                // SAFETY: blocks tile the rows of the batch, panels the outputs of the layer. So `a` has the block's
                // `rows × words` words from `start × words` on; the panel is `words × columns` words; the result has
                // `rows × columns` floats at the places of either layout, all below `batch.rows × outputs`, which the
                // assertions compare with the slices; vectors of the layer have one number per output.
                unsafe {
                    let mut finish = finish;
                    finish.bias = layer.bias.as_ptr().add(column);
                    if F::INTEGER {
                        finish.row_factors = a.factors.as_ptr().add(start);
                        finish.column_factors = layer.factors.as_ptr().add(column);
                        finish.corrections = layer.corrections.as_ptr().add(column);
                    }
                    if !finish.add.is_null() {
                        finish.add = finish.add.add(at);
                    }
                    let tile = Tile {
                        a: a.words.as_ptr().add(start * words),
                        b: layer.panels.words().as_ptr().add(column * words),
                        words,
                        out: out.add(at),
                        row_step,
                        vector_step,
                        finish: Some(finish),
                    };
                    tile.compute(format, rows);
                }
            }
        }
    }
}
