//! May this candidate answer? Plain functions from what is known about the candidates to a choice.

/// What is known about a near entry when it is decided whether it may answer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Candidate {
    /// Cosine similarity of its prompt's vector to the request's.
    pub similarity: f32,
}

/// A rule that chooses the candidate to serve.
pub trait Decide {
    /// The position of the candidate that may answer, or `None` for a miss. `candidates` come nearest first, and
    /// are alive and of the request's own partition.
    fn choose(&self, candidates: &[Candidate]) -> Option<usize>;
}

/// The nearest candidate answers if it is at least this similar.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fixed {
    /// Least cosine similarity.
    pub similarity: f32,
}

impl Fixed {
    /// The same rule with a threshold of at least `asked`: whoever asks may only tighten it. Not-a-number is ignored.
    #[must_use]
    pub fn tightened(self, asked: f32) -> Self {
        Self { similarity: self.similarity.max(asked) }
    }
}

impl Decide for Fixed {
    fn choose(&self, candidates: &[Candidate]) -> Option<usize> {
        let nearest = candidates.first()?;
        (nearest.similarity >= self.similarity).then_some(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidates(similarities: &[f32]) -> Vec<Candidate> {
        similarities.iter().map(|&similarity| Candidate { similarity }).collect()
    }

    #[test]
    fn the_nearest_candidate_answers_from_the_threshold_on() {
        let rule = Fixed { similarity: 0.9 };
        assert_eq!(rule.choose(&candidates(&[0.9, 0.8])), Some(0));
        assert_eq!(rule.choose(&candidates(&[0.89])), None);
        assert_eq!(rule.choose(&[]), None);
    }

    #[test]
    fn asking_can_only_tighten_the_threshold() {
        let rule = Fixed { similarity: 0.9 };
        assert_eq!(rule.tightened(0.95).similarity, 0.95);
        assert_eq!(rule.tightened(0.1).similarity, 0.9);
        assert_eq!(rule.tightened(f32::NAN).similarity, 0.9);
    }

    #[test]
    fn a_similarity_that_is_no_number_never_answers() {
        assert_eq!(Fixed { similarity: 0.0 }.choose(&candidates(&[f32::NAN])), None);
    }
}
