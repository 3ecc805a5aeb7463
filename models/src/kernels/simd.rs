//! Vectors of 32-bit floats, in the two widths x86 has them: what the code that is not a matrix product is written in.

use std::arch::x86_64::*;

/// A width of vector registers, and the shape of a tile that fits into as many of them as there are.
///
/// # Safety
/// Every function needs the processor features of the [`Format`](super::Format) it is called under, and is inlined
/// into that format's `call`; those that take a pointer need [`LANES`](Self::LANES) floats there (`splat`'s one).
/// No alignment is needed.
pub(crate) trait Simd: Copy + Send + Sync + 'static {
    type V: Copy;
    /// Floats in a vector.
    const LANES: usize;
    /// Rows of the largest tile: with two vectors a row they and the operands fill the register file.
    const ROWS: usize;

    unsafe fn splat(x: f32) -> Self::V;
    unsafe fn load(p: *const f32) -> Self::V;
    unsafe fn store(p: *mut f32, v: Self::V);
    unsafe fn add(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn sub(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn mul(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn div(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn min(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn max(a: Self::V, b: Self::V) -> Self::V;
    /// `a * b + c`, rounded once.
    unsafe fn mul_add(a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    unsafe fn abs(v: Self::V) -> Self::V;
    /// To the nearest integer, as a float.
    unsafe fn round(v: Self::V) -> Self::V;
    /// `v · 2^n` for integers `n` between -126 and 127.
    unsafe fn scale(v: Self::V, n: Self::V) -> Self::V;
    /// The sum of the lanes.
    unsafe fn sum(v: Self::V) -> f32;
    /// The largest lane.
    unsafe fn largest(v: Self::V) -> f32;
}

/// 256 bits: AVX2 and FMA. Sixteen registers.
#[derive(Clone, Copy)]
pub(crate) struct Ymm;

/// 512 bits: AVX-512 F, BW, DQ and VL. Thirty-two registers.
#[derive(Clone, Copy)]
pub(crate) struct Zmm;

/// The functions that are one intrinsic each.
macro_rules! one_each {
    ($($name:ident($($x:ident),+) = $intrinsic:ident;)+) => {
        // SAFETY (each): the caller vouches for the processor's features, see the trait.
        $(#[inline(always)] unsafe fn $name($($x: Self::V),+) -> Self::V { unsafe { $intrinsic($($x),+) } })+
    };
}

impl Simd for Ymm {
    type V = __m256;
    const LANES: usize = 8;
    const ROWS: usize = 6;

    one_each! {
        add(a, b) = _mm256_add_ps;
        sub(a, b) = _mm256_sub_ps;
        mul(a, b) = _mm256_mul_ps;
        div(a, b) = _mm256_div_ps;
        min(a, b) = _mm256_min_ps;
        max(a, b) = _mm256_max_ps;
        mul_add(a, b, c) = _mm256_fmadd_ps;
    }

    #[inline(always)]
    unsafe fn splat(x: f32) -> __m256 {
        // SAFETY: see the trait.
        unsafe { _mm256_set1_ps(x) }
    }

    #[inline(always)]
    unsafe fn load(p: *const f32) -> __m256 {
        // SAFETY: see the trait.
        unsafe { _mm256_loadu_ps(p) }
    }

    #[inline(always)]
    unsafe fn store(p: *mut f32, v: __m256) {
        // SAFETY: see the trait.
        unsafe { _mm256_storeu_ps(p, v) }
    }

    #[inline(always)]
    unsafe fn abs(v: __m256) -> __m256 {
        // SAFETY: see the trait.
        unsafe { _mm256_andnot_ps(_mm256_set1_ps(-0.0), v) }
    }

    #[inline(always)]
    unsafe fn round(v: __m256) -> __m256 {
        // SAFETY: see the trait.
        unsafe { _mm256_round_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(v) }
    }

    #[inline(always)]
    unsafe fn scale(v: __m256, n: __m256) -> __m256 {
        // SAFETY: see the trait. The exponent field of a float stands above 23 bits, biased by 127.
        unsafe {
            let exponent = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
            _mm256_mul_ps(v, _mm256_castsi256_ps(_mm256_slli_epi32::<23>(exponent)))
        }
    }

    #[inline(always)]
    unsafe fn sum(v: __m256) -> f32 {
        // SAFETY: see the trait.
        unsafe {
            let half = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps::<1>(v));
            let quarter = _mm_add_ps(half, _mm_movehl_ps(half, half));
            _mm_cvtss_f32(_mm_add_ss(quarter, _mm_movehdup_ps(quarter)))
        }
    }

    #[inline(always)]
    unsafe fn largest(v: __m256) -> f32 {
        // SAFETY: see the trait.
        unsafe {
            let half = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps::<1>(v));
            let quarter = _mm_max_ps(half, _mm_movehl_ps(half, half));
            _mm_cvtss_f32(_mm_max_ss(quarter, _mm_movehdup_ps(quarter)))
        }
    }
}

impl Simd for Zmm {
    type V = __m512;
    const LANES: usize = 16;
    const ROWS: usize = 14;

    one_each! {
        add(a, b) = _mm512_add_ps;
        sub(a, b) = _mm512_sub_ps;
        mul(a, b) = _mm512_mul_ps;
        div(a, b) = _mm512_div_ps;
        min(a, b) = _mm512_min_ps;
        max(a, b) = _mm512_max_ps;
        mul_add(a, b, c) = _mm512_fmadd_ps;
        abs(v) = _mm512_abs_ps;
        scale(v, n) = _mm512_scalef_ps;
    }

    #[inline(always)]
    unsafe fn splat(x: f32) -> __m512 {
        // SAFETY: see the trait.
        unsafe { _mm512_set1_ps(x) }
    }

    #[inline(always)]
    unsafe fn load(p: *const f32) -> __m512 {
        // SAFETY: see the trait.
        unsafe { _mm512_loadu_ps(p) }
    }

    #[inline(always)]
    unsafe fn store(p: *mut f32, v: __m512) {
        // SAFETY: see the trait.
        unsafe { _mm512_storeu_ps(p, v) }
    }

    #[inline(always)]
    unsafe fn round(v: __m512) -> __m512 {
        // SAFETY: see the trait. 8: nearest integer, no exceptions raised, no fraction bits kept.
        unsafe { _mm512_roundscale_ps::<8>(v) }
    }

    #[inline(always)]
    unsafe fn sum(v: __m512) -> f32 {
        // SAFETY: see the trait.
        unsafe { _mm512_reduce_add_ps(v) }
    }

    #[inline(always)]
    unsafe fn largest(v: __m512) -> f32 {
        // SAFETY: see the trait.
        unsafe { _mm512_reduce_max_ps(v) }
    }
}
