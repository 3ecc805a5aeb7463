//! Which forward pass runs: by what the operator asked for, what the processor has and what the model needs.

use super::Encoder;
use super::architecture::Architecture;
use super::candle::Candle;
use super::tensors::Tensors;
use crate::precision::Precision;
use std::fmt;

/// A way to compute an encoder: a number format on an instruction set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kernel {
    /// bfloat16 with AVX-512 BF16.
    Bf16Avx512,
    /// 32-bit floats with AVX-512.
    F32Avx512,
    /// 32-bit floats with AVX2 and FMA.
    F32Avx2,
    /// 32-bit floats by candle, on any machine and for any model.
    Candle,
    /// 8-bit integers with AVX-512 VNNI.
    Int8Avx512,
    /// 8-bit integers with AVX2.
    Int8Avx2,
}

impl Kernel {
    /// All there are, of each precision the fastest first.
    pub const ALL: [Self; 6] =
        [Self::Bf16Avx512, Self::F32Avx512, Self::F32Avx2, Self::Candle, Self::Int8Avx512, Self::Int8Avx2];

    /// The number format of its products; never [`Precision::Auto`].
    #[must_use]
    pub const fn precision(self) -> Precision {
        match self {
            Self::Bf16Avx512 => Precision::Bf16,
            Self::F32Avx512 | Self::F32Avx2 | Self::Candle => Precision::F32,
            Self::Int8Avx512 | Self::Int8Avx2 => Precision::Int8,
        }
    }

    /// Names the space of its vectors, after the model's name. bfloat16 and 32-bit floats share one (their vectors'
    /// cosine is 0.9999 or more); integers have their own, the same on every instruction set.
    #[must_use]
    pub const fn vector_space(self) -> &'static str {
        match self.precision() {
            Precision::Int8 => "int8",
            _ => "f32",
        }
    }

    /// Whether this processor has the instructions.
    #[must_use]
    pub fn is_available(self) -> bool {
        #[cfg(target_arch = "x86_64")]
        use crate::kernels::{Bf16Avx512, F32Avx2, F32Avx512, Format, I8Avx2, I8Avx512};
        match self {
            Self::Candle => true,
            #[cfg(target_arch = "x86_64")]
            Self::Bf16Avx512 => Bf16Avx512::detect().is_some(),
            #[cfg(target_arch = "x86_64")]
            Self::F32Avx512 => F32Avx512::detect().is_some(),
            #[cfg(target_arch = "x86_64")]
            Self::F32Avx2 => F32Avx2::detect().is_some(),
            #[cfg(target_arch = "x86_64")]
            Self::Int8Avx512 => I8Avx512::detect().is_some(),
            #[cfg(target_arch = "x86_64")]
            Self::Int8Avx2 => I8Avx2::detect().is_some(),
            #[cfg(not(target_arch = "x86_64"))]
            _ => false,
        }
    }

    /// The fastest kernel of the precision that is here and takes the model.
    ///
    /// bfloat16 falls back on 32-bit floats, whose vectors it shares. Integers have no fallback: the error says what
    /// stands in the way.
    pub(super) fn choose(precision: Precision, architecture: &Architecture) -> Result<Self, String> {
        let fits = |kernel: Self| kernel.is_available() && kernel.takes(architecture);
        let fastest =
            |precision| Self::ALL.into_iter().find(|kernel| kernel.precision() == precision && fits(*kernel));
        let chosen = match precision {
            Precision::Int8 => fastest(Precision::Int8),
            Precision::F32 => fastest(Precision::F32),
            Precision::Bf16 | Precision::Auto => fastest(Precision::Bf16).or(fastest(Precision::F32)),
        };
        if precision == Precision::Bf16 && chosen != Some(Self::Bf16Avx512) {
            tracing::warn!("precision bf16 needs a processor with AVX-512 BF16: computing in f32");
        }
        chosen.ok_or_else(|| match Self::Int8Avx2.is_available() {
            false => "precision int8 needs a processor with AVX2".to_owned(),
            true => format!(
                "precision int8 needs sizes of 64 and heads of 32 or multiples of them; hidden is {}, \
                 intermediate {}, heads are {}",
                architecture.hidden, architecture.intermediate, architecture.heads
            ),
        })
    }

    /// Whether it can compute a model of these sizes.
    fn takes(self, architecture: &Architecture) -> bool {
        #[cfg(target_arch = "x86_64")]
        let fused = super::fused::takes(architecture);
        #[cfg(not(target_arch = "x86_64"))]
        let fused = false;
        self == Self::Candle || fused
    }

    /// The encoder. The error names the tensor at fault, or says why this kernel can't be had.
    pub(super) fn build(
        self,
        architecture: &Architecture,
        tensors: Tensors,
    ) -> Result<Box<dyn Encoder>, String> {
        #[cfg(target_arch = "x86_64")]
        use super::fused::build;
        #[cfg(target_arch = "x86_64")]
        use crate::kernels::{Bf16Avx512, F32Avx2, F32Avx512, I8Avx2, I8Avx512};
        if !self.is_available() || !self.takes(architecture) {
            return Err(format!("{self}: not on this processor, or not for a model of these sizes"));
        }
        match self {
            Self::Candle => Ok(Box::new(Candle::new(architecture, tensors)?)),
            #[cfg(target_arch = "x86_64")]
            Self::Bf16Avx512 => build::<Bf16Avx512>(architecture, &tensors),
            #[cfg(target_arch = "x86_64")]
            Self::F32Avx512 => build::<F32Avx512>(architecture, &tensors),
            #[cfg(target_arch = "x86_64")]
            Self::F32Avx2 => build::<F32Avx2>(architecture, &tensors),
            #[cfg(target_arch = "x86_64")]
            Self::Int8Avx512 => build::<I8Avx512>(architecture, &tensors),
            #[cfg(target_arch = "x86_64")]
            Self::Int8Avx2 => build::<I8Avx2>(architecture, &tensors),
            #[cfg(not(target_arch = "x86_64"))]
            _ => unreachable!("only candle is available"),
        }
    }
}

impl fmt::Display for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bf16Avx512 => "bf16 (AVX-512 BF16)",
            Self::F32Avx512 => "f32 (AVX-512)",
            Self::F32Avx2 => "f32 (AVX2)",
            Self::Candle => "f32 (candle)",
            Self::Int8Avx512 => "int8 (AVX-512 VNNI)",
            Self::Int8Avx2 => "int8 (AVX2)",
        })
    }
}
