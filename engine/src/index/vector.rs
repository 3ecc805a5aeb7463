//! Unit vectors, and the ordered short list that every search ends in.

use super::Neighbour;

/// The vector scaled to unit length, or `None` if it has none (empty, zero, not finite).
pub(super) fn unit(vector: &[f32]) -> Option<Vec<f32>> {
    let square: f64 = vector.iter().map(|&x| f64::from(x) * f64::from(x)).sum();
    let norm = square.sqrt();
    // The smallest norms would overflow when inverted; no embedding comes near.
    (norm.is_finite() && norm > 1e-12).then(|| {
        let scale = 1.0 / norm;
        vector.iter().map(|&x| (f64::from(x) * scale) as f32).collect()
    })
}

/// The best `k` of the neighbours offered, best first, equals by id.
pub(super) struct Nearest {
    k: usize,
    best: Vec<Neighbour>,
}

impl Nearest {
    pub(super) fn new(k: usize) -> Self {
        // `k` may be "all of them"; the list grows only as far as there is something to hold.
        Self { k, best: Vec::with_capacity(k.min(64)) }
    }

    /// Whether a neighbour this similar would get in now.
    pub(super) fn wants(&self, similarity: f32) -> bool {
        self.best.len() < self.k || self.best.last().is_some_and(|worst| similarity >= worst.similarity)
    }

    pub(super) fn offer(&mut self, id: u64, similarity: f32) {
        let similarity = similarity.clamp(-1.0, 1.0);
        let at = self.best.partition_point(|other| {
            other.similarity > similarity || (other.similarity == similarity && other.id < id)
        });
        if at < self.k {
            self.best.insert(at, Neighbour { id, similarity });
            self.best.truncate(self.k);
        }
    }

    /// Offers those that are alive, each with its similarity. Asking whether an id is alive may cost more than the
    /// arithmetic: only those that would get in are asked for.
    pub(super) fn offer_all(
        &mut self,
        ids: impl Iterator<Item = u64>,
        similarities: &[f32],
        alive: &dyn Fn(u64) -> bool,
    ) {
        for (id, &similarity) in ids.zip(similarities) {
            if self.wants(similarity) && alive(id) {
                self.offer(id, similarity);
            }
        }
    }

    pub(super) fn len(&self) -> usize {
        self.best.len()
    }

    pub(super) fn into_vec(self) -> Vec<Neighbour> {
        self.best
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_vectors_with_a_direction_become_unit_vectors() {
        assert!(unit(&[]).is_none());
        assert!(unit(&[0.0, 0.0]).is_none());
        assert!(unit(&[1.0, f32::NAN]).is_none());
        assert!(unit(&[f32::INFINITY, 1.0]).is_none());
        assert_eq!(unit(&[3.0, 4.0]), Some(vec![0.6, 0.8]));
        assert_eq!(unit(&[f32::MAX, 0.0]), Some(vec![1.0, 0.0]));
    }

    #[test]
    fn the_nearest_are_kept_in_order_with_equals_by_id() {
        let mut nearest = Nearest::new(3);
        for (id, similarity) in [(5, 0.5), (9, 0.9), (2, 0.5), (7, 0.1), (1, 2.0)] {
            nearest.offer(id, similarity);
        }
        let found: Vec<_> = nearest.into_vec().iter().map(|n| (n.id, n.similarity)).collect();
        assert_eq!(found, [(1, 1.0), (9, 0.9), (2, 0.5)]);
    }
}
