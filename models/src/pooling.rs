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
    /// Pools `states` (token after token, `dimensions` numbers each) and scales the result to unit length. If there is
    /// no token, or everything cancels out, the result is all zeros.
    #[must_use]
    pub(crate) fn pool(self, states: &[f32], dimensions: usize) -> Vec<f32> {
        let mut pooled = vec![0.0_f32; dimensions];
        let tokens = states.chunks_exact(dimensions.max(1));
        let most = match self {
            Pooling::Mean => usize::MAX,
            Pooling::Cls => 1,
        };
        // A mean and a sum point the same way, and only the direction is left after scaling.
        for token in tokens.take(most) {
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
    fn the_mean_is_taken_over_all_tokens() {
        let half = 0.5_f32.sqrt();
        assert!(close(&Pooling::Mean.pool(&[1.0, 0.0, 0.0, 1.0], 2), &[half, half]));
    }

    #[test]
    fn cls_pooling_takes_the_first_token_alone() {
        assert!(close(&Pooling::Cls.pool(&[3.0, 4.0, 100.0, 0.0], 2), &[0.6, 0.8]));
    }

    #[test]
    fn no_token_gives_zeros_and_not_nan() {
        assert_eq!(Pooling::Mean.pool(&[], 2), [0.0, 0.0]);
        assert_eq!(Pooling::Mean.pool(&[1.0, -1.0, -1.0, 1.0], 2), [0.0, 0.0]);
    }

    proptest! {
        #[test]
        fn the_result_has_unit_length(values in prop::collection::vec(0.01_f32..10.0, 8..64)) {
            let tokens = values.len() / 8;
            let pooled = Pooling::Mean.pool(&values[..tokens * 8], 8);
            let length = pooled.iter().map(|x| x * x).sum::<f32>().sqrt();
            prop_assert!((length - 1.0).abs() < 1e-5);
        }
    }
}
