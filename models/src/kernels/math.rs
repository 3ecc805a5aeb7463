//! Transcendental functions on vectors, by polynomials.

// Coefficients are written with the digits they were published or fitted with.
#![allow(clippy::excessive_precision)]

use super::simd::Simd;
use crate::activation::Activation;

/// Coefficients from the highest power down, evaluated by Horner's rule.
#[inline(always)]
unsafe fn polynomial<S: Simd, const N: usize>(x: S::V, coefficients: [f32; N]) -> S::V {
    // SAFETY: arithmetic only; the caller vouches for the features.
    unsafe {
        let mut sum = S::splat(coefficients[0]);
        for c in &coefficients[1..] {
            sum = S::mul_add(sum, x, S::splat(*c));
        }
        sum
    }
}

/// e^x for x up to 88, within 2 units in the last place; 0 (1e-38) below -87.3. The reduction and the polynomial are
/// those of `expf` in Moshier's Cephes library.
///
/// # Safety
/// As [`Simd`] says.
#[inline(always)]
pub(super) unsafe fn exp<S: Simd>(x: S::V) -> S::V {
    // SAFETY: arithmetic only; the caller vouches for the features.
    unsafe {
        let x = S::min(S::max(x, S::splat(-87.3)), S::splat(88.0));
        let n = S::round(S::mul(x, S::splat(std::f32::consts::LOG2_E)));
        // ln 2 in two parts, the first exact in few bits, so that the remainder loses nothing.
        let r = S::mul_add(n, S::splat(-0.693_359_4), x);
        let r = S::mul_add(n, S::splat(2.121_944_4e-4), r);
        let p = polynomial::<S, 6>(
            r,
            [1.987_569_1e-4, 1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5],
        );
        S::scale(S::add(S::mul_add(p, S::mul(r, r), r), S::splat(1.0)), n)
    }
}

/// erf(x / √2) within 4e-7: x·P(x²)/Q(x²) on ±5.5 with both of degree 5, fitted to the smallest greatest error by
/// iteratively reweighted least squares; beyond ±5.5 it is ±1 within 2e-7.
#[inline(always)]
unsafe fn erf_of_root_half<S: Simd>(x: S::V) -> S::V {
    // SAFETY: arithmetic only; the caller vouches for the features.
    unsafe {
        let x = S::min(S::max(x, S::splat(-5.5)), S::splat(5.5));
        let square = S::mul(x, x);
        let p = polynomial::<S, 6>(
            square,
            [4.550_763_7e-8, 1.270_227_9e-5, 3.374_712_5e-4, 9.353_424e-3, 6.768_841_5e-2, 7.978_845e-1],
        );
        let q = polynomial::<S, 6>(
            square,
            [1.197_561_2e-6, 7.361_67e-5, 1.883_938_3e-3, 2.864_095_9e-2, 2.515_007_7e-1, 1.0],
        );
        S::div(S::mul(x, p), q)
    }
}

/// The activation of a feed-forward layer. GELU after Hendrycks & Gimpel 2016, by erf or by tanh.
///
/// # Safety
/// As [`Simd`] says.
#[inline(always)]
pub(super) unsafe fn activate<S: Simd>(x: S::V, activation: Activation) -> S::V {
    // SAFETY: arithmetic only; the caller vouches for the features.
    unsafe {
        match activation {
            Activation::Relu => S::max(x, S::splat(0.0)),
            Activation::Gelu => {
                let half = S::mul(x, S::splat(0.5));
                S::mul_add(half, erf_of_root_half::<S>(x), half)
            }
            Activation::GeluTanh => {
                // ½(1 + tanh u) = 1 / (1 + e^-2u), with u = √(2/π)·(x + 0.044715·x³).
                let cube = S::mul(S::mul(x, x), x);
                let minus_2u = S::mul(S::mul_add(cube, S::splat(0.044_715), x), S::splat(-1.595_769_1));
                S::div(x, S::add(exp::<S>(minus_2u), S::splat(1.0)))
            }
        }
    }
}
