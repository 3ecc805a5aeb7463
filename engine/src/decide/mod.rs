//! May this candidate answer? Plain functions from what is known about the candidates to a choice.
//!
//! | to read about | see |
//! |---|---|
//! | what speaks for a candidate | [`evidence`] |
//! | the probability that it is right | [`model`], and what is known before the first label: [`prior`], [`trees`] |
//! | how sure is sure enough | [`control`] |
//! | answers that change, judges that err | [`drift`], [`noise`] |
//! | all that a partition learns | [`learner`] |
//! | vCache's rule, for comparison | [`verified`] |
//! | whether two answers say the same | [`same_answer`] |

pub mod control;
pub mod drift;
pub mod evidence;
pub mod learner;
pub mod model;
pub mod noise;
pub mod prior;
pub mod same_answer;
pub mod trees;
pub mod verified;

use std::fmt;
use std::str::FromStr;

/// The rule by which a candidate may answer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Policy {
    /// The nearest prompt answers if its cosine similarity is at least this.
    Fixed {
        /// Least cosine similarity.
        similarity: f32,
    },
    /// The probability that the answer is right must reach a cut, which is moved so that at most this share of the hits is
    /// wrong.
    Calibrated {
        /// Most of the hits that may be wrong, from 0 to 1.
        max_false_hit_rate: f64,
        /// Whether a candidate that contradicts the request in a number, a name, a negation and the like is refused,
        /// however probable.
        strict: bool,
    },
    /// vCache's rule: at most this share of the requests is answered wrongly.
    Verified {
        /// Most of the requests that may be answered wrongly, from 0 to 1.
        max_error_rate: f64,
    },
}

impl Default for Policy {
    /// At most one hit of a hundred wrong.
    fn default() -> Self {
        Self::Calibrated { max_false_hit_rate: 0.01, strict: false }
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed { similarity } => write!(f, "fixed:{similarity}"),
            Self::Calibrated { max_false_hit_rate, strict: false } => {
                write!(f, "calibrated:{max_false_hit_rate}")
            }
            Self::Calibrated { max_false_hit_rate, strict: true } => write!(f, "strict:{max_false_hit_rate}"),
            Self::Verified { max_error_rate } => write!(f, "verified:{max_error_rate}"),
        }
    }
}

impl FromStr for Policy {
    type Err = String;

    /// Reads `fixed:0.9`, `calibrated:0.01`, `strict:0.01` (calibrated with vetoes) or `verified:0.01`.
    fn from_str(text: &str) -> Result<Self, String> {
        let expected =
            || "expected fixed:S, calibrated:R, strict:R or verified:R with a number from 0 to 1".to_owned();
        let (name, number) = text.split_once(':').ok_or_else(expected)?;
        let number: f64 = number.parse().map_err(|_| expected())?;
        if !(0.0..=1.0).contains(&number) {
            return Err(expected());
        }
        match name {
            "fixed" => Ok(Self::Fixed { similarity: number as f32 }),
            "calibrated" => Ok(Self::Calibrated { max_false_hit_rate: number, strict: false }),
            "strict" => Ok(Self::Calibrated { max_false_hit_rate: number, strict: true }),
            "verified" => Ok(Self::Verified { max_error_rate: number }),
            _ => Err(expected()),
        }
    }
}

/// What a request asks for beyond the policy. It can only tighten it: what is looser, or no number, is ignored.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tightening {
    /// Least cosine similarity, whatever the policy.
    pub similarity: f32,
    /// Most of the hits that may be wrong.
    pub max_false_hit_rate: f64,
    /// Refuse candidates that contradict the request.
    pub strict: bool,
}

impl Default for Tightening {
    /// Asks for nothing.
    fn default() -> Self {
        Self { similarity: -1.0, max_false_hit_rate: 1.0, strict: false }
    }
}

impl Policy {
    /// The policy for a request that asks for this.
    #[must_use]
    pub fn tightened(self, asked: &Tightening) -> Self {
        match self {
            Self::Fixed { similarity } => Self::Fixed { similarity: similarity.max(asked.similarity) },
            Self::Calibrated { max_false_hit_rate, strict } => Self::Calibrated {
                max_false_hit_rate: max_false_hit_rate.min(asked.max_false_hit_rate.max(0.0)),
                strict: strict || asked.strict,
            },
            Self::Verified { max_error_rate } => {
                Self::Verified { max_error_rate: max_error_rate.min(asked.max_false_hit_rate.max(0.0)) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn asking_can_only_tighten_a_policy() {
        let fixed = Policy::Fixed { similarity: 0.9 };
        let similar = |similarity| Tightening { similarity, ..Tightening::default() };
        assert_eq!(fixed.tightened(&similar(0.95)), Policy::Fixed { similarity: 0.95 });
        assert_eq!(fixed.tightened(&similar(0.1)), fixed);
        assert_eq!(fixed.tightened(&similar(f32::NAN)), fixed);
        let policy = Policy::default();
        let rate = |max_false_hit_rate| Tightening { max_false_hit_rate, ..Tightening::default() };
        let stricter = Policy::Calibrated { max_false_hit_rate: 0.001, strict: false };
        assert_eq!(policy.tightened(&rate(0.001)), stricter);
        assert_eq!(policy.tightened(&rate(0.5)), policy);
        let none = Policy::Calibrated { max_false_hit_rate: 0.0, strict: false };
        assert_eq!(policy.tightened(&rate(-1.0)), none);
    }

    #[test]
    fn a_policy_is_read_as_it_is_written() {
        for text in ["fixed:0.85", "calibrated:0.01", "strict:0.02", "verified:0.015"] {
            assert_eq!(text.parse::<Policy>().unwrap().to_string(), text);
        }
        for text in ["fixed", "fixed:2", "calibrated:x", "magic:0.1", "fixed:NaN"] {
            assert!(text.parse::<Policy>().is_err(), "{text}");
        }
    }
}
