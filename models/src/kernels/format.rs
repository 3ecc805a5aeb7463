//! The number formats of the matrix products: how values are packed into 32-bit words and multiplied.

use super::simd::{Simd, Ymm, Zmm};
use std::arch::x86_64::*;

/// Something to compute with a format's processor features on.
pub(crate) trait Op {
    /// # Safety
    /// Only from [`Format::call`], for the format it is written for; pointers as the op's own fields say.
    unsafe fn run(self);
}

/// A number format on an instruction set. A value of the type is the proof that this processor has the instructions:
/// there is no other way to one than [`detect`](Self::detect).
///
/// # Safety
/// As for [`Simd`]; `splat` needs one word at its pointer, `load` as many as there are lanes.
pub(crate) trait Format: Copy + Send + Sync + 'static {
    type S: Simd;
    /// 32-bit floats on the same instruction set, for what is computed in them whatever the format of the weights.
    type Float: Format<S = Self::S>;
    /// As many words as a vector has lanes.
    type Words: Copy;
    /// One sum a lane.
    type Sums: Copy;
    /// Values in a word.
    const PER_WORD: usize;
    /// Whether the values are integers: then weights have a scale per output, activations one per row.
    const INTEGER: bool;
    /// What is added to an activation, so that the instruction sees no sign; taken off again with the sums.
    const OFFSET: i32 = 0;

    /// The format, if this processor has the instructions it needs.
    fn detect() -> Option<Self>;

    /// The proof for [`Float`](Self::Float), whose instructions are among this format's.
    fn float(self) -> Self::Float;

    /// Weights (integers from -127 to 127 if [`INTEGER`](Self::INTEGER)), packed.
    fn pack(values: &[f32]) -> u32;

    /// Runs `op` in a function that is compiled with the format's features.
    ///
    /// # Safety
    /// That of [`Op::run`]; the features are there, since `self` is.
    unsafe fn call<O: Op>(self, op: O);

    unsafe fn zero() -> Self::Sums;
    unsafe fn splat(p: *const u32) -> Self::Words;
    unsafe fn load(p: *const u32) -> Self::Words;
    /// The sums, with the products of the values of both words added lane by lane.
    unsafe fn dot(sums: Self::Sums, a: Self::Words, b: Self::Words) -> Self::Sums;
    /// Integer sums as floats, less `correction`; others as they are.
    unsafe fn to_floats(sums: Self::Sums, correction: *const i32) -> <Self::S as Simd>::V;
    /// Packs `PER_WORD` vectors, `stride` floats apart, into one vector of words at `to`. Integers are what `factor`
    /// times the values rounds to.
    unsafe fn convert(from: *const f32, stride: usize, to: *mut u32, factor: f32);
}

/// 32-bit floats with AVX2 and FMA.
#[derive(Clone, Copy)]
pub(crate) struct F32Avx2(());
/// 8-bit integers with AVX2, widened to 16 bits, where products and sums of two can't overflow: the result is the
/// very same as with VNNI.
#[derive(Clone, Copy)]
pub(crate) struct I8Avx2(());
/// 32-bit floats with AVX-512.
#[derive(Clone, Copy)]
pub(crate) struct F32Avx512(());
/// bfloat16 with AVX-512 BF16; sums are 32-bit floats.
#[derive(Clone, Copy)]
pub(crate) struct Bf16Avx512(());
/// 8-bit integers with AVX-512 VNNI; sums are 32-bit integers.
#[derive(Clone, Copy)]
pub(crate) struct I8Avx512(());

/// `detect` and `call` from one list of features, so that they can't differ.
macro_rules! features {
    ($float:ident: $($feature:tt),+) => {
        type Float = $float;

        fn float(self) -> $float {
            $float(())
        }

        fn detect() -> Option<Self> {
            ($(is_x86_feature_detected!($feature))&&+).then_some(Self(()))
        }

        #[inline(always)]
        unsafe fn call<O: Op>(self, op: O) {
            $(#[target_feature(enable = $feature)])+
            unsafe fn featured<O: Op>(op: O) {
                // SAFETY: the caller's.
                unsafe { op.run() }
            }
            // SAFETY: `self` comes from `detect`, so the features are there; the rest is the caller's.
            unsafe { featured(op) }
        }
    };
}

/// What the two formats of plain floats have in common.
macro_rules! plain_floats {
    ($splat:ident, $load:ident, $fma:ident) => {
        type Words = <Self::S as Simd>::V;
        type Sums = <Self::S as Simd>::V;
        const PER_WORD: usize = 1;
        const INTEGER: bool = false;

        fn pack(values: &[f32]) -> u32 {
            values[0].to_bits()
        }

        #[inline(always)]
        unsafe fn zero() -> Self::Sums {
            // SAFETY (this and the following): see the trait.
            unsafe { $splat(0.0) }
        }
        #[inline(always)]
        unsafe fn splat(p: *const u32) -> Self::Words {
            unsafe { $splat(p.cast::<f32>().read()) }
        }
        #[inline(always)]
        unsafe fn load(p: *const u32) -> Self::Words {
            unsafe { $load(p.cast()) }
        }
        #[inline(always)]
        unsafe fn dot(sums: Self::Sums, a: Self::Words, b: Self::Words) -> Self::Sums {
            unsafe { $fma(a, b, sums) }
        }
        #[inline(always)]
        unsafe fn to_floats(sums: Self::Sums, _correction: *const i32) -> <Self::S as Simd>::V {
            sums
        }
        #[inline(always)]
        unsafe fn convert(from: *const f32, _stride: usize, to: *mut u32, _factor: f32) {
            unsafe { Self::S::store(to.cast(), Self::S::load(from)) }
        }
    };
}

impl Format for F32Avx2 {
    type S = Ymm;
    features!(F32Avx2: "avx2", "fma");
    plain_floats!(_mm256_set1_ps, _mm256_loadu_ps, _mm256_fmadd_ps);
}

impl Format for F32Avx512 {
    type S = Zmm;
    features!(F32Avx512: "avx512f", "avx512bw", "avx512dq", "avx512vl", "avx2", "fma");
    plain_floats!(_mm512_set1_ps, _mm512_loadu_ps, _mm512_fmadd_ps);
}

/// bfloat16: the upper half of a float, rounded to nearest, ties to even. Weights are never NaN.
fn bfloat16(x: f32) -> u32 {
    let bits = x.to_bits();
    bits.wrapping_add(0x7fff + ((bits >> 16) & 1)) >> 16
}

impl Format for Bf16Avx512 {
    type S = Zmm;
    type Words = __m512bh;
    type Sums = __m512;
    const PER_WORD: usize = 2;
    const INTEGER: bool = false;
    features!(F32Avx512: "avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512bf16", "avx2", "fma");

    fn pack(values: &[f32]) -> u32 {
        bfloat16(values[0]) | bfloat16(values[1]) << 16
    }

    #[inline(always)]
    unsafe fn zero() -> __m512 {
        // SAFETY (this and the following): see the trait. A `__m512bh` is 512 bits like a `__m512i`.
        unsafe { _mm512_setzero_ps() }
    }
    #[inline(always)]
    unsafe fn splat(p: *const u32) -> __m512bh {
        unsafe { std::mem::transmute(_mm512_set1_epi32(p.cast::<i32>().read())) }
    }
    #[inline(always)]
    unsafe fn load(p: *const u32) -> __m512bh {
        unsafe { std::mem::transmute(_mm512_loadu_si512(p.cast())) }
    }
    #[inline(always)]
    unsafe fn dot(sums: __m512, a: __m512bh, b: __m512bh) -> __m512 {
        unsafe { _mm512_dpbf16_ps(sums, a, b) }
    }
    #[inline(always)]
    unsafe fn to_floats(sums: __m512, _correction: *const i32) -> __m512 {
        sums
    }
    #[inline(always)]
    unsafe fn convert(from: *const f32, stride: usize, to: *mut u32, _factor: f32) {
        unsafe {
            let (low, high) = (_mm512_loadu_ps(from), _mm512_loadu_ps(from.add(stride)));
            let words: __m512i = std::mem::transmute(_mm512_cvtne2ps_pbh(high, low));
            _mm512_storeu_si512(to.cast(), words);
        }
    }
}

/// The four bytes of a word, the first lowest.
fn bytes(values: &[f32]) -> u32 {
    u32::from_le_bytes(std::array::from_fn(|i| (values[i] as i8).cast_unsigned()))
}

impl Format for I8Avx512 {
    type S = Zmm;
    type Words = __m512i;
    type Sums = __m512i;
    const PER_WORD: usize = 4;
    const INTEGER: bool = true;
    const OFFSET: i32 = 128;
    features!(F32Avx512: "avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512vnni", "avx2", "fma");

    fn pack(values: &[f32]) -> u32 {
        bytes(values)
    }

    #[inline(always)]
    unsafe fn zero() -> __m512i {
        // SAFETY (this and the following): see the trait.
        unsafe { _mm512_setzero_si512() }
    }
    #[inline(always)]
    unsafe fn splat(p: *const u32) -> __m512i {
        unsafe { _mm512_set1_epi32(p.cast::<i32>().read()) }
    }
    #[inline(always)]
    unsafe fn load(p: *const u32) -> __m512i {
        unsafe { _mm512_loadu_si512(p.cast()) }
    }
    #[inline(always)]
    unsafe fn dot(sums: __m512i, a: __m512i, b: __m512i) -> __m512i {
        // Unsigned by signed bytes, four products a lane, without saturation.
        unsafe { _mm512_dpbusd_epi32(sums, a, b) }
    }
    #[inline(always)]
    unsafe fn to_floats(sums: __m512i, correction: *const i32) -> __m512 {
        unsafe { _mm512_cvtepi32_ps(_mm512_sub_epi32(sums, _mm512_loadu_si512(correction.cast()))) }
    }
    #[inline(always)]
    unsafe fn convert(from: *const f32, stride: usize, to: *mut u32, factor: f32) {
        unsafe {
            for part in 0..4 {
                let v = _mm512_mul_ps(_mm512_loadu_ps(from.add(part * stride)), _mm512_set1_ps(factor));
                let v = _mm512_add_epi32(_mm512_cvtps_epi32(v), _mm512_set1_epi32(Self::OFFSET));
                _mm_storeu_si128(to.add(4 * part).cast(), _mm512_cvtepi32_epi8(v));
            }
        }
    }
}

impl Format for I8Avx2 {
    type S = Ymm;
    type Words = __m256i;
    type Sums = __m256i;
    const PER_WORD: usize = 2;
    const INTEGER: bool = true;
    features!(F32Avx2: "avx2", "fma");

    fn pack(values: &[f32]) -> u32 {
        let half = |x: f32| u32::from((x as i16).cast_unsigned());
        half(values[0]) | half(values[1]) << 16
    }

    #[inline(always)]
    unsafe fn zero() -> __m256i {
        // SAFETY (this and the following): see the trait.
        unsafe { _mm256_setzero_si256() }
    }
    #[inline(always)]
    unsafe fn splat(p: *const u32) -> __m256i {
        unsafe { _mm256_set1_epi32(p.cast::<i32>().read()) }
    }
    #[inline(always)]
    unsafe fn load(p: *const u32) -> __m256i {
        unsafe { _mm256_loadu_si256(p.cast()) }
    }
    #[inline(always)]
    unsafe fn dot(sums: __m256i, a: __m256i, b: __m256i) -> __m256i {
        unsafe { _mm256_add_epi32(sums, _mm256_madd_epi16(a, b)) }
    }
    #[inline(always)]
    unsafe fn to_floats(sums: __m256i, _correction: *const i32) -> __m256 {
        unsafe { _mm256_cvtepi32_ps(sums) }
    }
    #[inline(always)]
    unsafe fn convert(from: *const f32, stride: usize, to: *mut u32, factor: f32) {
        unsafe {
            let factor = _mm256_set1_ps(factor);
            let low = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(from), factor));
            let high = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(from.add(stride)), factor));
            // `packs` works on each half of the register by itself: the quarters are put into order again.
            let words = _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_packs_epi32(low, high));
            _mm256_storeu_si256(to.cast(), words);
        }
    }
}
