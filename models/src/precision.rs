//! The number formats an embedding model can compute in.

use std::fmt;
use std::str::FromStr;

/// The numbers a model's arithmetic works with: what it trades is speed against the last digits of a vector.
///
/// [`Precision::F32`] and [`Precision::Bf16`] give vectors of one space (their cosine is 0.9999 and more), so stored
/// vectors and thresholds of the one hold for the other. [`Precision::Int8`] is a space of its own: see [`Embedder::id`].
///
/// [`Embedder::id`]: crate::Embedder::id
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Precision {
    /// [`Precision::Bf16`] where the processor multiplies such numbers itself, else [`Precision::F32`].
    #[default]
    Auto,
    /// 32-bit floats, as the weights were published.
    F32,
    /// Weights and activations rounded to 16 bits (8 of mantissa) before they are multiplied, sums in 32 bits.
    Bf16,
    /// Weights and activations scaled to 8-bit integers before they are multiplied: the fast mode. It moves similarities
    /// by up to some hundredths, so a threshold has to be found for it anew.
    Int8,
}

impl Precision {
    /// Every precision, in the order in which they are explained.
    pub const ALL: [Precision; 4] = [Precision::Auto, Precision::F32, Precision::Bf16, Precision::Int8];

    /// Its name in configurations and on the command line.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Precision::Auto => "auto",
            Precision::F32 => "f32",
            Precision::Bf16 => "bf16",
            Precision::Int8 => "int8",
        }
    }

    /// The second half of an [`Embedder::id`](crate::Embedder::id): which vectors may be compared.
    #[must_use]
    pub fn vector_space(self) -> &'static str {
        if self == Precision::Int8 { "int8" } else { "f32" }
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A word that names no [`Precision`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected a precision: auto, f32, bf16 or int8")]
pub struct UnknownPrecision;

impl FromStr for Precision {
    type Err = UnknownPrecision;

    fn from_str(name: &str) -> Result<Self, UnknownPrecision> {
        Self::ALL.into_iter().find(|precision| precision.as_str() == name).ok_or(UnknownPrecision)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_precision_is_read_by_the_name_it_is_written_with() {
        for precision in Precision::ALL {
            assert_eq!(precision.to_string().parse(), Ok(precision));
        }
        for wrong in ["", "F32", "fp32", "int8 "] {
            assert_eq!(wrong.parse::<Precision>(), Err(UnknownPrecision), "{wrong:?}");
        }
    }
}
