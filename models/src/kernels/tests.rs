//! Every format this machine has against plain loops, on random shapes.

use super::batch::Batch;
use super::format::{Bf16Avx512, F32Avx2, F32Avx512, Format, I8Avx2, I8Avx512, Op};
use super::simd::Simd;
use super::*;
use crate::activation::Activation;
use std::any::type_name;

/// Runs a generic test for each format the processor has.
macro_rules! for_every_format {
    ($test:ident) => {
        #[test]
        fn $test() {
            F32Avx2::detect().into_iter().for_each(checks::$test);
            I8Avx2::detect().into_iter().for_each(checks::$test);
            F32Avx512::detect().into_iter().for_each(checks::$test);
            Bf16Avx512::detect().into_iter().for_each(checks::$test);
            I8Avx512::detect().into_iter().for_each(checks::$test);
        }
    };
}

for_every_format!(a_linear_layer_is_the_sum_of_products_plus_bias);
for_every_format!(attention_is_the_softmax_of_the_scores_times_the_values);
for_every_format!(a_normalised_row_has_the_mean_and_variance_asked_for);
for_every_format!(conversion_keeps_as_much_of_a_number_as_the_format_can);
for_every_format!(exp_and_the_activations_are_right_to_the_last_digits);
for_every_format!(blocks_hold_each_row_once_and_are_of_nearly_equal_height);

/// Numbers from a seed, the same on every machine: SplitMix64 (Steele, Lea, Flood 2014), so that the kernels can be
/// compiled alone.
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % bound as u64) as usize
    }

    /// Between -1 and 1.
    fn floats(&mut self, n: usize) -> Vec<f32> {
        (0..n).map(|_| self.below(1 << 24) as f32 / (1 << 23) as f32 - 1.0).collect()
    }

    fn batch<F: Format>(&mut self) -> Batch<F> {
        let texts = 1 + self.below(4);
        Batch::<F>::new((0..texts).map(|_| 1 + self.below(40)))
    }
}

/// Row-major to blocked, with exactly the memory it takes: reading or writing beyond is for a sanitizer to see.
fn blocked<F: Format>(batch: &Batch<F>, rows: &[f32], width: usize) -> Lines {
    let mut to = Lines::zeroed(rows.len());
    let lanes = F::S::LANES;
    for block in &batch.blocks {
        for row in 0..block.rows {
            for chunk in 0..width / lanes {
                let from = (block.start + row) * width + chunk * lanes;
                let at = block.chunk::<F::S>(width, row, chunk);
                to[at..at + lanes].copy_from_slice(&rows[from..from + lanes]);
            }
        }
    }
    to
}

/// What is left of a row of weights in the format's products.
fn weights_kept<F: Format>(row: &[f32]) -> Vec<f64> {
    let factor = largest(row) / 127.0;
    let integer = |x: &f32| f64::from((x / factor).round()) * f64::from(factor);
    row.iter().map(|x| if F::INTEGER { integer(x) } else { float_kept::<F>(*x) }).collect()
}

/// What is left of a row of activations.
fn activations_kept<F: Format>(row: &[f32]) -> Vec<f64> {
    let most = largest(row);
    let integer = |x: &f32| f64::from((x * (127.0 / most)).round_ties_even()) * f64::from(most / 127.0);
    row.iter().map(|x| if F::INTEGER { integer(x) } else { float_kept::<F>(*x) }).collect()
}

fn largest(row: &[f32]) -> f32 {
    row.iter().fold(pack::LEAST, |most, x| most.max(x.abs()))
}

/// The number itself, or the nearest bfloat16.
fn float_kept<F: Format>(x: f32) -> f64 {
    if F::PER_WORD == 1 {
        return f64::from(x);
    }
    let bits = x.to_bits();
    f64::from(f32::from_bits(bits.wrapping_add(0x7fff + ((bits >> 16) & 1)) & 0xffff_0000))
}

fn activated(x: f64, activation: Activation) -> f64 {
    match activation {
        Activation::Relu => x.max(0.0),
        Activation::Gelu => 0.5 * x * (1.0 + erf(x / std::f64::consts::SQRT_2)),
        Activation::GeluTanh => 0.5 * x * (1.0 + (0.797_884_560_8 * (x + 0.044_715 * x.powi(3))).tanh()),
    }
}

/// The error function by its power series (Abramowitz & Stegun 7.1.6); 1 beyond 6, as it is in double precision.
fn erf(x: f64) -> f64 {
    if x.abs() > 6.0 {
        return x.signum();
    }
    let (mut term, mut sum) = (x, x);
    for n in 1..200 {
        term *= 2.0 * x * x / f64::from(2 * n + 1);
        sum += term;
    }
    sum * (-x * x).exp() * std::f64::consts::FRAC_2_SQRT_PI
}

#[track_caller]
fn assert_near(got: &[f32], expected: &[f64], tolerance: f64, what: &str) {
    assert_eq!(got.len(), expected.len(), "{what}");
    for (at, (got, expected)) in got.iter().zip(expected).enumerate() {
        let off = (f64::from(*got) - expected).abs();
        assert!(off <= tolerance * expected.abs().max(1.0), "{what} at {at}: {got} instead of {expected}");
    }
}

mod checks {
    use super::*;

    pub(super) fn a_linear_layer_is_the_sum_of_products_plus_bias<F: Format>(format: F) {
        let mut random = Random::new(1);
        for round in 0..24 {
            let mut inputs = 64 * (1 + random.below(4));
            let outputs = 64 * (1 + random.below(4));
            let mut batch = random.batch::<F>();
            if round == 23 {
                // More than one group of blocks.
                (inputs, batch) = (1536, Batch::new([100, 101]));
            }
            let x = random.floats(batch.rows * inputs);
            let weights = random.floats(outputs * inputs);
            let bias = random.floats(outputs);
            let added = random.floats(batch.rows * outputs);
            let layer = Packed::<F>::new(&weights, bias.clone(), inputs);

            let mut expected = Vec::new();
            let kept: Vec<_> = weights.chunks(inputs).map(weights_kept::<F>).collect();
            for row in x.chunks(inputs).map(activations_kept::<F>) {
                for (weights, bias) in kept.iter().zip(&bias) {
                    let sum: f64 = row.iter().zip(weights).map(|(x, w)| x * w).sum();
                    expected.push(sum + f64::from(*bias));
                }
            }
            let row_major = round % 2 == 0;
            let then = match round % 5 {
                0 => Then::Nothing,
                1 => Then::Activate(Activation::Gelu),
                2 => Then::Activate(Activation::GeluTanh),
                3 => Then::Activate(Activation::Relu),
                _ => Then::Add(&added),
            };
            match then {
                Then::Nothing => {}
                Then::Activate(activation) => {
                    expected.iter_mut().for_each(|x| *x = activated(*x, activation));
                }
                Then::Add(_) => {
                    // It lies where the result does.
                    let rows = if row_major { added.clone() } else { batch.unblocked(&added, outputs) };
                    expected.iter_mut().zip(&rows).for_each(|(x, y)| *x += f64::from(*y));
                }
            }

            let x = blocked::<F>(&batch, &x, inputs);
            let mut scratch = Converted::default();
            scratch.ensure::<F>(batch.rows, batch.rows * inputs);
            let a = convert(format, &batch, &x, inputs, &mut scratch);
            let mut out = Lines::zeroed(batch.rows * outputs);
            let got = if row_major {
                linear(format, &batch, a, &layer, Place::RowMajor(&mut out), then);
                out.to_vec()
            } else {
                linear(format, &batch, a, &layer, Place::Blocked(&mut out), then);
                batch.unblocked(&out, outputs)
            };
            let what = format!("{} {inputs}→{outputs}, {} rows", type_name::<F>(), batch.rows);
            // Rounding adds up as a random walk.
            let tolerance = 2e-5 * (inputs as f64 / 256.0).sqrt().max(1.0);
            assert_near(&got, &expected, tolerance, &what);
        }
    }

    pub(super) fn attention_is_the_softmax_of_the_scores_times_the_values<F: Format>(format: F) {
        let mut random = Random::new(2);
        for _ in 0..12 {
            let (heads, head) = (1 + random.below(3), 32 * (1 + random.below(2)));
            let width = heads * head;
            let batch = random.batch::<F>();
            let [queries, keys, values] = [(); 3].map(|()| random.floats(batch.rows * width));
            let mut expected = vec![0.0; batch.rows * width];
            for sequence in &batch.sequences {
                let rows = sequence.start..sequence.start + sequence.len;
                for head_start in (0..width).step_by(head) {
                    let part = |of: &[f32], row: usize| {
                        of[row * width + head_start..][..head]
                            .iter()
                            .map(|x| f64::from(*x))
                            .collect::<Vec<_>>()
                    };
                    for row in rows.clone() {
                        let query = part(&queries, row);
                        let score =
                            |key| part(&keys, key).iter().zip(&query).map(|(k, q)| k * q).sum::<f64>();
                        let e: Vec<f64> = rows.clone().map(|key| score(key).exp()).collect();
                        let sum: f64 = e.iter().sum();
                        for (e, key) in e.iter().zip(rows.clone()) {
                            let to = &mut expected[row * width + head_start..][..head];
                            to.iter_mut().zip(part(&values, key)).for_each(|(to, v)| *to += e / sum * v);
                        }
                    }
                }
            }
            let queries = blocked::<F>(&batch, &queries, width);
            let mut to = Lines::zeroed(batch.rows * width);
            let of = Heads { queries: &queries, keys: &keys, values: &values, heads, head };
            attend(format, &batch, &of, &mut Scratch::default(), &mut to);
            let what = format!("{} {heads}×{head}, {} rows", type_name::<F>(), batch.rows);
            assert_near(&batch.unblocked(&to, width), &expected, 1e-5, &what);
        }
    }

    pub(super) fn a_normalised_row_has_the_mean_and_variance_asked_for<F: Format>(format: F) {
        let mut random = Random::new(3);
        for _ in 0..12 {
            let width = 64 * (1 + random.below(12));
            let batch = random.batch::<F>();
            let x: Vec<f32> = random.floats(batch.rows * width).iter().map(|x| x * 3.0 + 5.0).collect();
            let (gain, bias, epsilon) = (random.floats(width), random.floats(width), 1e-3);
            let mut expected = Vec::new();
            for row in x.chunks(width) {
                let mean = row.iter().map(|x| f64::from(*x)).sum::<f64>() / width as f64;
                let variance = row.iter().map(|x| (f64::from(*x) - mean).powi(2)).sum::<f64>() / width as f64;
                let scaled = row.iter().map(|x| (f64::from(*x) - mean) / (variance + 1e-3).sqrt());
                expected.extend(
                    scaled.zip(gain.iter().zip(&bias)).map(|(x, (g, b))| x * f64::from(*g) + f64::from(*b)),
                );
            }
            let mut to = Lines::zeroed(x.len());
            let norm = Norm { gain, bias, epsilon };
            normalise(format, &batch, &blocked::<F>(&batch, &x, width), &norm, &mut to);
            assert_near(&batch.unblocked(&to, width), &expected, 1e-5, type_name::<F>());
        }
    }

    pub(super) fn conversion_keeps_as_much_of_a_number_as_the_format_can<F: Format>(format: F) {
        // A layer that passes its input on: what comes out is what the conversion left.
        let mut random = Random::new(4);
        let width = 128;
        let mut identity = vec![0.0; width * width];
        (0..width).for_each(|i| identity[i * width + i] = 1.0);
        let layer = Packed::<F>::new(&identity, vec![0.0; width], width);
        let batch = random.batch::<F>();
        let mut x = random.floats(batch.rows * width);
        x[..width].fill(0.0);
        x[width..].iter_mut().enumerate().for_each(|(i, x)| *x *= 10_f32.powi((i / width) as i32 % 9 - 4));
        let expected: Vec<f64> = x.chunks(width).flat_map(activations_kept::<F>).collect();

        let x = blocked::<F>(&batch, &x, width);
        let mut scratch = Converted::default();
        scratch.ensure::<F>(batch.rows, batch.rows * width);
        let a = convert(format, &batch, &x, width, &mut scratch);
        let mut out = Lines::zeroed(batch.rows * width);
        linear(format, &batch, a, &layer, Place::RowMajor(&mut out), Then::Nothing);
        for (at, (got, expected)) in out.iter().zip(&expected).enumerate() {
            let off = (f64::from(*got) - expected).abs();
            assert!(off <= expected.abs() * 1e-6, "{} at {at}: {got} for {expected}", type_name::<F>());
        }
    }

    /// One function of each number of a slice.
    struct Each<'a, F>(F, &'a mut [f32], Option<Activation>);

    impl<F: Format> Op for Each<'_, F> {
        #[inline(always)]
        unsafe fn run(self) {
            for chunk in self.1.chunks_exact_mut(F::S::LANES) {
                // SAFETY: a chunk is a vector.
                unsafe {
                    let v = F::S::load(chunk.as_ptr());
                    let v = match self.2 {
                        Some(activation) => math::activate::<F::S>(v, activation),
                        None => math::exp::<F::S>(v),
                    };
                    F::S::store(chunk.as_mut_ptr(), v);
                }
            }
        }
    }

    pub(super) fn exp_and_the_activations_are_right_to_the_last_digits<F: Format>(format: F) {
        let xs: Vec<f32> = (0..160_000).map(|i| (i as f32 - 80_000.0) / 1_000.0).collect();
        let run = |activation| {
            let mut xs = xs.clone();
            // SAFETY: the op needs nothing but the format's features, and there is the format.
            unsafe { format.call(Each(format, &mut xs, activation)) };
            xs
        };
        for (x, got) in xs.iter().zip(run(None)) {
            let expected = f64::from(*x).exp();
            assert!((f64::from(got) / expected - 1.0).abs() < 3e-7, "e^{x} is {got}");
        }
        for activation in [Activation::Gelu, Activation::GeluTanh, Activation::Relu] {
            for (x, got) in xs.iter().zip(run(Some(activation))) {
                let expected = activated(f64::from(*x), activation);
                let off = (f64::from(got) - expected).abs();
                assert!(off <= 2e-6 + 2e-7 * f64::from(x.abs()), "{activation:?} of {x} is {got}");
            }
        }
    }

    pub(super) fn blocks_hold_each_row_once_and_are_of_nearly_equal_height<F: Format>(_: F) {
        for len in 1..200 {
            let batch = Batch::<F>::new([len, 1, len]);
            assert_eq!((batch.rows, batch.longest()), (2 * len + 1, len));
            let mut next = 0;
            for block in &batch.blocks {
                assert_eq!(block.start, next);
                next += block.rows;
            }
            assert_eq!(next, batch.rows);
            for sequence in &batch.sequences {
                let heights: Vec<usize> =
                    batch.blocks[sequence.blocks.clone()].iter().map(|b| b.rows).collect();
                assert_eq!(heights.iter().sum::<usize>(), sequence.len);
                assert_eq!(heights.len(), sequence.len.div_ceil(F::S::ROWS));
                assert!(heights.iter().max().unwrap() - heights.iter().min().unwrap() <= 1);
            }
        }
    }
}
