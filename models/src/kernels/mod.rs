//! The arithmetic of an encoder in vector instructions. All `unsafe` code of the project is in this folder.
//!
//! | file | what |
//! |---|---|
//! | `format` | a number format on an instruction set: how values are packed and multiplied |
//! | `simd` | vectors of floats in two widths, for everything that is no product |
//! | `batch` | how the rows of a pass lie in memory |
//! | `pack` | weights in the order a tile reads them |
//! | `tile` | the micro-kernel, and linear layers made of it |
//! | `rows`, `attention`, `math` | layer normalisation and conversion, attention, exp and GELU |
//! | `lines` | aligned memory |
//!
//! Everything that leaves the folder is safe to call: functions take a [`Format`] value, which exists only where the
//! processor has its instructions, and compare the lengths of their slices with what they will touch.

#![allow(unsafe_code)]

mod attention;
mod batch;
mod format;
mod lines;
mod math;
mod pack;
mod rows;
mod simd;
mod tile;

pub(crate) use attention::{HEAD_MULTIPLE, Heads, Scratch, attend};
pub(crate) use batch::Batch;
pub(crate) use format::{Bf16Avx512, F32Avx2, F32Avx512, Format, I8Avx2, I8Avx512};
pub(crate) use lines::Lines;
pub(crate) use pack::{Packed, SIZE_MULTIPLE};
pub(crate) use rows::{Converted, Norm, convert, normalise};
pub(crate) use simd::Simd;
pub(crate) use tile::{Place, Then, linear};

#[cfg(test)]
mod tests;
