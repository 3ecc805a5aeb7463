//! Topics that are told by example sentences: what lies near one of them, as vectors of one embedding model, is about it.
//!
//! How near is near enough is fitted for each topic: each example is left out once and compared with the others, and sentences
//! about other things are compared with all of them.

mod fit;
mod neutral;
mod windows;

pub use fit::{Fit, fit};
pub use neutral::NEUTRAL;
pub use windows::{pieces, sentences};

/// The fewest examples that say what a topic is.
pub const LEAST_EXAMPLES: usize = 3;

/// A topic as vectors of unit length.
#[derive(Clone, PartialEq)]
pub struct Topic {
    examples: Vec<Vec<f32>>,
    threshold: f32,
}

// Vectors give away much of their texts.
impl std::fmt::Debug for Topic {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let examples = self.examples.len();
        f.debug_struct("Topic").field("examples", &examples).field("threshold", &self.threshold).finish()
    }
}

impl Topic {
    /// A topic with these examples; whatever is as similar to one of them as `threshold` is about it.
    pub fn new(examples: Vec<Vec<f32>>, threshold: f32) -> Topic {
        Topic { examples, threshold }
    }

    /// The cosine similarity to the nearest example.
    pub fn nearness(&self, vector: &[f32]) -> f32 {
        nearest(self.examples.iter().map(Vec::as_slice), vector)
    }

    /// From which similarity on a text is about it.
    pub fn threshold(&self) -> f32 {
        self.threshold
    }

    /// How far a vector is within it: 0 at its edge, negative outside.
    pub fn depth(&self, vector: &[f32]) -> f32 {
        self.nearness(vector) - self.threshold
    }
}

/// The similarity to the nearest of some vectors; -1 if there is none.
fn nearest<'v>(vectors: impl Iterator<Item = &'v [f32]>, vector: &[f32]) -> f32 {
    vectors.map(|other| similarity(other, vector)).fold(-1.0, f32::max)
}

/// The cosine similarity of two vectors of unit length; that of vectors of different models is none.
fn similarity(a: &[f32], b: &[f32]) -> f32 {
    if a.len() == b.len() { a.iter().zip(b).map(|(x, y)| x * y).sum() } else { -1.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_about_a_topic_if_it_is_near_to_any_example() {
        let topic = Topic::new(vec![vec![1.0, 0.0], vec![0.0, 1.0]], 0.9);
        assert!(topic.depth(&[0.0, 1.0]) > 0.0 && topic.depth(&[1.0, 0.0]) > 0.0);
        assert!(topic.depth(&[0.6, 0.8]) < 0.0);
        assert_eq!(topic.nearness(&[1.0]), -1.0, "a vector of another model");
    }

    #[test]
    fn no_number_of_a_vector_is_shown() {
        let shown = format!("{:?}", Topic::new(vec![vec![0.625]], 0.5));
        assert_eq!(shown, "Topic { examples: 1, threshold: 0.5 }");
    }
}
