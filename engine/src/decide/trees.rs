//! Log odds as a sum of small decision trees: what is known before the first label (Friedman, "Greedy function approximation:
//! a gradient boosting machine", 2001). `replay::boost` grows them.

use serde::{Deserialize, Serialize};

/// A place in a tree: `(feature, threshold, right)`. Features below the threshold go on to the next place, others to `right`.
/// A leaf has no right place (0), and its threshold is what it adds.
pub type Node = (u16, f32, u16);

/// Trees, each as its places in preorder.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Trees {
    /// The log odds before any tree.
    pub base: f32,
    /// Each tree's places.
    pub trees: Vec<Vec<Node>>,
}

impl Trees {
    /// The log odds for these features.
    pub fn score(&self, features: &[f32]) -> f64 {
        let sum: f32 = self.trees.iter().map(|tree| value(tree, features)).sum();
        f64::from(self.base + sum)
    }

    /// The same with log odds multiplied by `slope`, and `level` added then.
    #[must_use]
    pub fn tempered(mut self, slope: f32, level: f32) -> Self {
        self.base = self.base * slope + level;
        self.trees.iter_mut().flatten().filter(|node| node.2 == 0).for_each(|leaf| leaf.1 *= slope);
        self
    }

    /// Whether every place of every tree can be reached and followed with so many features: it may come from a file.
    pub fn is_sound(&self, features: usize) -> bool {
        let sound = |tree: &Vec<Node>| {
            !tree.is_empty()
                && tree.iter().enumerate().all(|(at, &(feature, threshold, right))| {
                    let inner = usize::from(right) > at + 1 && usize::from(right) < tree.len();
                    threshold.is_finite() && (right == 0 || inner && usize::from(feature) < features)
                })
                && tree.last().is_some_and(|leaf| leaf.2 == 0)
        };
        self.base.is_finite() && self.trees.iter().all(sound)
    }
}

fn value(tree: &[Node], features: &[f32]) -> f32 {
    let mut at = 0;
    loop {
        let (feature, threshold, right) = tree[at];
        if right == 0 {
            return threshold;
        }
        at = if features[usize::from(feature)] < threshold { at + 1 } else { usize::from(right) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_is_followed_to_its_leaf() {
        let tree = vec![(1, 0.5, 2), (0, -1.0, 0), (0, 2.0, 4), (0, 0.25, 0), (0, 3.0, 0)];
        let trees = Trees { base: 0.5, trees: vec![tree.clone(), tree] };
        assert!(trees.is_sound(2));
        assert_eq!(trees.score(&[9.0, 0.0]), -1.5);
        assert_eq!(trees.score(&[1.0, 0.5]), 1.0);
        assert_eq!(trees.score(&[2.0, 0.5]), 6.5);
    }

    #[test]
    fn trees_that_lead_nowhere_are_refused() {
        let sound = |tree: Vec<Node>| Trees { base: 0.0, trees: vec![tree] }.is_sound(2);
        assert!(sound(vec![(0, 1.0, 0)]));
        assert!(!sound(vec![]));
        assert!(!sound(vec![(0, 1.0, 1), (0, 1.0, 0)]));
        assert!(!sound(vec![(0, 1.0, 9), (0, 1.0, 0), (0, 1.0, 0)]));
        assert!(!sound(vec![(7, 1.0, 2), (0, 1.0, 0), (0, 1.0, 0)]));
        assert!(!sound(vec![(0, f32::NAN, 0)]));
        assert!(!sound(vec![(0, 1.0, 2), (0, 1.0, 0), (0, 1.0, 1)]));
    }
}
