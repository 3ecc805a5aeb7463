//! Vectors of known attacks, to which an operator adds at run time.

use std::sync::{PoisonError, RwLock};

/// Known attacks as vectors of one embedding model. Shared; adding needs no restart.
#[derive(Debug, Default)]
pub struct Bank {
    vectors: RwLock<Vec<Vec<i8>>>,
}

impl Bank {
    pub(crate) fn new(vectors: Vec<Vec<i8>>) -> Bank {
        Bank { vectors: RwLock::new(vectors) }
    }

    /// Adds the vector of an attack, of unit length or not. Says whether it was added: a vector without length, or of another
    /// number of dimensions than those there, is not.
    pub fn add(&self, vector: &[f32]) -> bool {
        let mut vectors = self.vectors.write().unwrap_or_else(PoisonError::into_inner);
        let fits = vectors.first().is_none_or(|first| first.len() == vector.len());
        match rounded(vector).filter(|_| fits) {
            Some(rounded) => {
                vectors.push(rounded);
                true
            }
            None => false,
        }
    }

    /// How many attacks it holds.
    pub fn len(&self) -> usize {
        self.vectors.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The cosine similarity to the nearest, 0 where there is none.
    pub(crate) fn nearest(&self, vector: &[f32]) -> f32 {
        let vectors = self.vectors.read().unwrap_or_else(PoisonError::into_inner);
        let Some(vector) = rounded(vector) else { return 0.0 };
        vectors.iter().map(|known| cosine(known, &vector)).fold(0.0, f32::max)
    }
}

/// A vector with its longest side as 127.
pub(crate) fn rounded(vector: &[f32]) -> Option<Vec<i8>> {
    let most = vector.iter().fold(0f32, |most, value| most.max(value.abs()));
    (most > 0.0 && most.is_finite())
        .then(|| vector.iter().map(|value| (value / most * 127.0).round() as i8).collect())
}

pub(crate) fn cosine(a: &[i8], b: &[i8]) -> f32 {
    if a.len() != b.len() {
        return 0.0;
    }
    let (mut both, mut own, mut other) = (0i32, 0i32, 0i32);
    for (x, y) in a.iter().zip(b) {
        let (x, y) = (i32::from(*x), i32::from(*y));
        both += x * y;
        own += x * x;
        other += y * y;
    }
    both as f32 / ((own as f32 * other as f32).sqrt()).max(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attack_that_was_added_is_found_again() {
        let bank = Bank::default();
        assert_eq!(bank.nearest(&[1.0, 0.0]), 0.0);
        assert!(bank.add(&[0.6, 0.8]));
        assert!(bank.nearest(&[0.3, 0.4]) > 0.999);
        assert!(bank.nearest(&[0.8, -0.6]) < 0.01);
    }

    #[test]
    fn what_is_no_vector_of_the_model_is_refused() {
        let bank = Bank::default();
        assert!(!bank.add(&[0.0, 0.0]) && !bank.add(&[f32::NAN, f32::INFINITY]) && bank.is_empty());
        assert!(bank.add(&[1.0, 0.0]) && !bank.add(&[1.0]));
        assert_eq!((bank.len(), bank.nearest(&[1.0])), (1, 0.0));
    }
}
