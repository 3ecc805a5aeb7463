//! Vectors of known attacks, to which an operator adds at run time.

use std::sync::{PoisonError, RwLock};

/// Of the way from the nearest harmless text to the attack itself, what a text must have gone to count as the attack. With a hundred
/// attacks known, one harmless prompt of the development data in a thousand is then taken for one of them.
const WAY: f32 = 0.5;
/// Less is never near.
const LEAST: f32 = 0.6;

/// Known attacks as vectors of one embedding model. Shared; adding needs no restart.
#[derive(Debug, Default)]
pub struct Bank {
    attacks: RwLock<Vec<Attack>>,
}

#[derive(Debug)]
struct Attack {
    id: u64,
    vector: Vec<i8>,
    least: f32,
}

impl Bank {
    pub(crate) fn new(vectors: Vec<Vec<i8>>) -> Bank {
        let attacks = vectors.into_iter().map(|vector| Attack { id: 0, vector, least: 1.0 });
        Bank { attacks: RwLock::new(attacks.collect()) }
    }

    /// Adds the vector of an attack, of unit length or not, under a name. `least`: the similarity from which on a text is taken for
    /// it. Says whether it was added: a vector without length, or of another number of dimensions than those there, is not.
    pub fn add(&self, id: u64, vector: &[f32], least: f32) -> bool {
        let mut attacks = self.attacks.write().unwrap_or_else(PoisonError::into_inner);
        let fits = attacks.first().is_none_or(|first| first.vector.len() == vector.len());
        let Some(vector) = rounded(vector).filter(|_| fits) else { return false };
        attacks.push(Attack { id, vector, least });
        true
    }

    /// Removes what was added under a name; says whether there was anything.
    pub fn remove(&self, id: u64) -> bool {
        let mut attacks = self.attacks.write().unwrap_or_else(PoisonError::into_inner);
        let before = attacks.len();
        attacks.retain(|attack| attack.id != id);
        attacks.len() < before
    }

    /// How many attacks it holds.
    pub fn len(&self) -> usize {
        self.attacks.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The name of the attack that a text is taken for, and the cosine similarity to it; the nearest of several.
    pub fn recognise(&self, vector: &[f32]) -> Option<(u64, f32)> {
        let attacks = self.attacks.read().unwrap_or_else(PoisonError::into_inner);
        let vector = rounded(vector).filter(|_| !attacks.is_empty())?;
        let compared = attacks.iter().map(|attack| (attack, cosine(&attack.vector, &vector)));
        let near = compared.filter(|(attack, similarity)| *similarity >= attack.least);
        near.max_by(|a, b| a.1.total_cmp(&b.1)).map(|(attack, similarity)| (attack.id, similarity))
    }

    /// The cosine similarity to the nearest, 0 where there is none.
    pub(crate) fn nearest(&self, vector: &[f32]) -> f32 {
        let attacks = self.attacks.read().unwrap_or_else(PoisonError::into_inner);
        let Some(vector) = rounded(vector) else { return 0.0 };
        attacks.iter().map(|attack| cosine(&attack.vector, &vector)).fold(0.0, f32::max)
    }
}

/// From which similarity on a text is taken for an attack, fitted to how near harmless texts come to it.
pub fn least_similarity<'v>(attack: &[f32], harmless: impl Iterator<Item = &'v [f32]>) -> f32 {
    let Some(attack) = rounded(attack) else { return 1.0 };
    let near = harmless.filter_map(rounded).map(|other| cosine(&attack, &other)).fold(0.0, f32::max);
    (near + WAY * (1.0 - near)).max(LEAST)
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
    fn an_attack_that_was_added_is_found_again_until_it_is_removed() {
        let bank = Bank::default();
        assert_eq!((bank.nearest(&[1.0, 0.0]), bank.recognise(&[1.0, 0.0])), (0.0, None));
        assert!(bank.add(7, &[0.6, 0.8], 0.9) && bank.add(8, &[0.0, 1.0], 0.7));
        assert!(bank.nearest(&[0.3, 0.4]) > 0.999);
        assert!(bank.nearest(&[0.8, -0.6]) < 0.01);
        let found = bank.recognise(&[0.3, 0.4]).unwrap();
        assert!(found.0 == 7 && found.1 > 0.999, "the nearest of two that would do");
        assert_eq!(bank.recognise(&[1.0, 0.0]), None, "0.6 is not near enough");
        assert!(bank.remove(7) && !bank.remove(7));
        assert_eq!(bank.recognise(&[0.3, 0.4]).map(|found| found.0), Some(8));
    }

    #[test]
    fn what_is_no_vector_of_the_model_is_refused() {
        let bank = Bank::default();
        assert!(!bank.add(1, &[0.0, 0.0], 0.9) && !bank.add(1, &[f32::NAN, f32::INFINITY], 0.9));
        assert!(bank.is_empty() && bank.add(1, &[1.0, 0.0], 0.9) && !bank.add(2, &[1.0], 0.9));
        assert_eq!((bank.len(), bank.nearest(&[1.0]), bank.recognise(&[1.0])), (1, 0.0, None));
    }

    #[test]
    fn the_nearer_harmless_texts_come_to_an_attack_the_nearer_a_text_must_be_to_count_as_it() {
        let near =
            |harmless: &[[f32; 2]]| least_similarity(&[1.0, 0.0], harmless.iter().map(<[f32; 2]>::as_slice));
        assert_eq!(near(&[]), LEAST);
        assert!((near(&[[0.0, 1.0], [0.6, 0.8]]) - 0.8).abs() < 0.01);
        assert!(near(&[[1.0, 0.0]]) > 0.999);
    }
}
