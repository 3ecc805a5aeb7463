//! From one vector per token to one vector per text.

/// How a model's token vectors become the text's vector; part of how the model was trained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pooling {
    /// The mean over all tokens the attention mask marks (Sentence-BERT, Reimers & Gurevych 2019).
    Mean,
    /// The vector of the first token, `[CLS]`.
    Cls,
}

impl Pooling {
    /// Pools `states` (token after token, `dimensions` numbers each) and scales the result to unit length.
    ///
    /// `mask` has one value per token; tokens whose value is 0 are padding and do not count. If none counts,
    /// or everything cancels out, the result is all zeros.
    #[must_use]
    pub(crate) fn pool(self, states: &[f32], mask: &[u32], dimensions: usize) -> Vec<f32> {
        let mut pooled = vec![0.0_f32; dimensions];
        let tokens = states.chunks_exact(dimensions.max(1)).zip(mask).filter(|(_, counts)| **counts != 0);
        let most = match self {
            Pooling::Mean => usize::MAX,
            Pooling::Cls => 1,
        };
        // A mean and a sum point the same way, and only the direction is left after scaling.
        for (token, _) in tokens.take(most) {
            for (sum, value) in pooled.iter_mut().zip(token) {
                *sum += value;
            }
        }
        normalise(&mut pooled);
        pooled
    }
}

/// Scales `vector` to unit length (L2); leaves the zero vector as it is.
pub(crate) fn normalise(vector: &mut [f32]) {
    let length = vector.iter().map(|x| f64::from(*x) * f64::from(*x)).sum::<f64>().sqrt();
    if length > 0.0 {
        for x in vector {
            *x = (f64::from(*x) / length) as f32;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn close(a: &[f32], b: &[f32]) -> bool {
        a.len() == b.len() && a.iter().zip(b).all(|(x, y)| (x - y).abs() < 1e-6)
    }

    #[test]
    fn the_mean_is_taken_over_the_tokens_that_count() {
        let states = [1.0, 0.0, 0.0, 1.0, 100.0, -7.0];
        let half = 0.5_f32.sqrt();
        assert!(close(&Pooling::Mean.pool(&states, &[1, 1, 0], 2), &[half, half]));
    }

    #[test]
    fn padding_in_the_middle_is_left_out_too() {
        let states = [3.0, 0.0, 50.0, 50.0, 3.0, 0.0];
        assert!(close(&Pooling::Mean.pool(&states, &[1, 0, 1], 2), &[1.0, 0.0]));
    }

    #[test]
    fn cls_pooling_takes_the_first_token_alone() {
        let states = [3.0, 4.0, 100.0, 0.0];
        assert!(close(&Pooling::Cls.pool(&states, &[1, 1], 2), &[0.6, 0.8]));
    }

    #[test]
    fn no_counting_token_gives_zeros_and_not_nan() {
        assert_eq!(Pooling::Mean.pool(&[1.0, 2.0], &[0], 2), [0.0, 0.0]);
        assert_eq!(Pooling::Mean.pool(&[], &[], 2), [0.0, 0.0]);
    }

    proptest! {
        #[test]
        fn padding_never_changes_the_result(
            real in prop::collection::vec(-10.0_f32..10.0, 4..40), padding in 0_usize..8,
        ) {
            let tokens = real.len() / 4;
            let real = &real[..tokens * 4];
            let alone = Pooling::Mean.pool(real, &vec![1; tokens], 4);
            let mut padded = real.to_vec();
            padded.extend(std::iter::repeat_n(9.9, padding * 4));
            let mut mask = vec![1; tokens];
            mask.extend(std::iter::repeat_n(0, padding));
            prop_assert_eq!(alone, Pooling::Mean.pool(&padded, &mask, 4));
        }

        #[test]
        fn the_result_has_unit_length(values in prop::collection::vec(0.01_f32..10.0, 8..64)) {
            let tokens = values.len() / 8;
            let pooled = Pooling::Mean.pool(&values, &vec![1; tokens], 8);
            let length = pooled.iter().map(|x| x * x).sum::<f32>().sqrt();
            prop_assert!((length - 1.0).abs() < 1e-5);
        }
    }
}
