//! The arithmetic of a search, compiled for several instruction sets; the best one the processor has is picked when
//! the program runs. Everything else may be written as if there were one processor.

use pulp::{Simd, WithSimd};

/// Runs a kernel with the best instructions there are. What it calls must be inlined into it to profit.
#[cfg(target_arch = "x86_64")]
pub(super) fn dispatch<K: WithSimd>(kernel: K) -> K::Output {
    match pulp::x86::V3::try_new() {
        Some(simd) => Simd::vectorize(simd, kernel),
        None => Simd::vectorize(pulp::Scalar, kernel),
    }
}

/// Runs a kernel with the best instructions there are. What it calls must be inlined into it to profit.
#[cfg(not(target_arch = "x86_64"))]
pub(super) fn dispatch<K: WithSimd>(kernel: K) -> K::Output {
    pulp::Arch::new().dispatch(kernel)
}

/// The dot product of two vectors of one length: the cosine similarity, up to rounding, if both have unit length.
pub(super) fn dot(a: &[f32], b: &[f32]) -> f32 {
    struct Dot<'a>(&'a [f32], &'a [f32]);
    impl WithSimd for Dot<'_> {
        type Output = f32;

        #[inline(always)]
        fn with_simd<S: Simd>(self, simd: S) -> f32 {
            product(simd, self.0, self.1)
        }
    }
    dispatch(Dot(a, b))
}

/// The dot products of `query` with `count` rows; `row` gives the row of a number from 0. They replace what is in
/// `out`. All rows have the query's length.
pub(super) fn dots<'a>(query: &[f32], count: usize, row: impl Fn(usize) -> &'a [f32], out: &mut Vec<f32>) {
    struct Dots<'q, F>(&'q [f32], usize, F, &'q mut Vec<f32>);
    impl<'a, F: Fn(usize) -> &'a [f32]> WithSimd for Dots<'_, F> {
        type Output = ();

        #[inline(always)]
        fn with_simd<S: Simd>(self, simd: S) {
            let Self(query, count, row, out) = self;
            out.clear();
            out.resize(count, 0.0);
            // Several rows at a time: while one waits for memory, the others are on their way.
            let (blocks, rest) = out.as_chunks_mut::<ABREAST>();
            let whole = blocks.len() * ABREAST;
            for (at, out) in blocks.iter_mut().enumerate() {
                let mut rows = [query; ABREAST];
                for (i, place) in rows.iter_mut().enumerate() {
                    *place = row(at * ABREAST + i);
                }
                products(simd, rows, query, out);
            }
            for (i, out) in rest.iter_mut().enumerate() {
                *out = product(simd, row(whole + i), query);
            }
        }
    }
    dispatch(Dots(query, count, row, out));
}

/// Rows read side by side.
const ABREAST: usize = 8;
/// Partial sums of a row read alone: enough to hide that an addition waits for the one before.
const CHAINS: usize = 4;
/// Partial sums without vector instructions, side by side so that the compiler may use what little there is.
const LANES: usize = 16;

/// The product of one row. No closure touches a register here or below: it would be compiled without the instructions.
#[inline(always)]
fn product<S: Simd>(simd: S, row: &[f32], query: &[f32]) -> f32 {
    if S::IS_SCALAR {
        return plain_product(row, query);
    }
    let (row, row_rest) = S::as_simd_f32s(row);
    let (query, query_rest) = S::as_simd_f32s(query);
    let (row_blocks, row_tail) = row.as_chunks::<CHAINS>();
    let (query_blocks, query_tail) = query.as_chunks::<CHAINS>();
    let mut sums = [simd.splat_f32s(0.0); CHAINS];
    for (x, y) in row_blocks.iter().zip(query_blocks) {
        for chain in 0..CHAINS {
            sums[chain] = simd.mul_add_e_f32s(x[chain], y[chain], sums[chain]);
        }
    }
    for (x, y) in row_tail.iter().zip(query_tail) {
        sums[0] = simd.mul_add_e_f32s(*x, *y, sums[0]);
    }
    let mut body = sums[0];
    for sum in &sums[1..] {
        body = simd.add_f32s(body, *sum);
    }
    simd.reduce_sum_f32s(body) + plain_product(row_rest, query_rest)
}

/// The products of several rows, into as many places.
#[inline(always)]
fn products<S: Simd>(simd: S, rows: [&[f32]; ABREAST], query: &[f32], out: &mut [f32; ABREAST]) {
    if S::IS_SCALAR {
        for (out, row) in out.iter_mut().zip(rows) {
            *out = plain_product(row, query);
        }
        return;
    }
    let (query, query_rest) = S::as_simd_f32s(query);
    let mut bodies = [query; ABREAST];
    for (body, row) in bodies.iter_mut().zip(rows) {
        *body = &S::as_simd_f32s(row).0[..query.len()];
    }
    let mut sums = [simd.splat_f32s(0.0); ABREAST];
    for (at, y) in query.iter().enumerate() {
        for i in 0..ABREAST {
            sums[i] = simd.mul_add_e_f32s(bodies[i][at], *y, sums[i]);
        }
    }
    for i in 0..ABREAST {
        let rest = &rows[i][rows[i].len() - query_rest.len()..];
        out[i] = simd.reduce_sum_f32s(sums[i]) + plain_product(rest, query_rest);
    }
}

#[inline(always)]
fn plain_product(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0f32; LANES];
    let (a_blocks, a_rest) = a.as_chunks::<LANES>();
    let (b_blocks, b_rest) = b.as_chunks::<LANES>();
    for (x, y) in a_blocks.iter().zip(b_blocks) {
        for lane in 0..LANES {
            sums[lane] += x[lane] * y[lane];
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(x, y)| x * y).sum();
    sums.iter().sum::<f32>() + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sums of small whole numbers are exact in any order, with fused products or without.
    fn whole_numbers(length: usize, seed: u64) -> Vec<f32> {
        let mut rng = fastrand::Rng::with_seed(seed);
        (0..length).map(|_| f32::from(rng.i8(-8..8))).collect()
    }

    #[test]
    fn the_dot_product_counts_every_element() {
        for length in [0, 1, 7, 8, 15, 16, 17, 31, 63, 384, 385, 768] {
            let (a, b) = (whole_numbers(length, 1), whole_numbers(length, 2));
            let expected: f32 = a.iter().zip(&b).map(|(x, y)| x * y).sum();
            assert_eq!(dot(&a, &b), expected, "{length}");
            assert_eq!(plain_product(&a, &b), expected, "{length}");
        }
    }

    #[test]
    fn many_dot_products_are_those_of_each_row() {
        for (length, count) in [(5, 0), (5, 1), (37, 8), (384, 21), (3, 9)] {
            let query = whole_numbers(length, 3);
            let rows: Vec<_> = (0..count).map(|i| whole_numbers(length, 10 + i)).collect();
            let mut out = vec![7.0; 3];
            dots(&query, rows.len(), |i| &rows[i], &mut out);
            assert_eq!(out, rows.iter().map(|row| dot(row, &query)).collect::<Vec<_>>());
        }
    }
}
