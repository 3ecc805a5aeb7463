//! The few candidates of a scan that are nearest by a coarse distance, kept while the scan runs.

/// A vector that may be among the nearest.
#[derive(Clone, Copy)]
struct Candidate {
    distance: u32,
    slot: u32,
}

/// The candidates with the smallest distances. Distances are small whole numbers, so a count per distance tells at any
/// moment which is the largest that still matters: offering costs O(1), and a scan offers few.
#[derive(Default)]
pub(super) struct Shortlist {
    wanted: usize,
    /// How many of the candidates have each distance.
    counts: Vec<u32>,
    /// The candidates at a distance of at most `border`: at least `wanted`, once so many were offered.
    near: usize,
    border: usize,
    offered: Vec<Candidate>,
    slots: Vec<u32>,
}

impl Shortlist {
    /// Forgets everything, and wants the `wanted` nearest at distances of up to `farthest`.
    pub(super) fn reset(&mut self, wanted: usize, farthest: usize) {
        self.wanted = wanted;
        self.counts.clear();
        self.counts.resize(farthest + 2, 0);
        self.near = 0;
        self.border = farthest + 1;
        self.offered.clear();
    }

    /// Only candidates nearer than this can still get in.
    #[inline(always)]
    pub(super) fn limit(&self) -> u32 {
        self.border as u32
    }

    /// Takes a candidate nearer than [`Self::limit`], which may shrink by it.
    pub(super) fn offer(&mut self, distance: u32, slot: u32) {
        self.counts[distance as usize] += 1;
        self.near += 1;
        self.offered.push(Candidate { distance, slot });
        while self.border > 0 && self.near - self.counts[self.border] as usize >= self.wanted {
            self.near -= self.counts[self.border] as usize;
            self.border -= 1;
        }
    }

    /// The slots of the nearest, in the order of the scan: `wanted` of them and those as far as the last, unless fewer
    /// were offered.
    pub(super) fn slots(&mut self) -> &[u32] {
        let border = self.border as u32;
        self.slots.clear();
        self.slots.extend(self.offered.iter().filter(|c| c.distance <= border).map(|c| c.slot));
        &self.slots
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_of_what_a_scan_sees_are_kept() {
        let mut rng = fastrand::Rng::with_seed(1);
        let mut list = Shortlist::default();
        for (wanted, n) in [(1, 1), (3, 2), (10, 1000), (64, 64), (100, 5000)] {
            let distances: Vec<u32> = (0..n).map(|_| rng.u32(0..=64)).collect();
            list.reset(wanted, 64);
            for (slot, &distance) in distances.iter().enumerate() {
                if distance < list.limit() {
                    list.offer(distance, slot as u32);
                }
            }
            let mut sorted = distances.clone();
            sorted.sort_unstable();
            let kept: Vec<u32> = list.slots().iter().map(|&slot| distances[slot as usize]).collect();
            assert!(kept.len() >= wanted.min(n), "{} of {wanted}", kept.len());
            let mut nearest = kept.clone();
            nearest.sort_unstable();
            assert_eq!(nearest[..wanted.min(n)], sorted[..wanted.min(n)]);
            assert!(kept.len() < 2 * wanted + 1, "{} of {wanted}", kept.len());
        }
    }
}
