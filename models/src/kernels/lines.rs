//! Memory that starts at a cache line: what panels and activations live in.

use std::ops::{Deref, DerefMut};

/// One cache line; the alignment is all it is for.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([f32; Self::FLOATS]);

impl Line {
    const FLOATS: usize = 16;
}

/// 32-bit numbers aligned to 64 bytes, zero at first. They are floats, or words that a [`Format`](super::Format)
/// packed several smaller numbers into.
pub(crate) struct Lines {
    lines: Vec<Line>,
    len: usize,
}

impl Lines {
    pub(crate) fn zeroed(len: usize) -> Self {
        Self { lines: vec![Line([0.0; Line::FLOATS]); len.div_ceil(Line::FLOATS)], len }
    }

    /// Makes room for at least `len` numbers. What was there is not kept.
    pub(crate) fn ensure(&mut self, len: usize) {
        if self.len < len {
            *self = Self::zeroed(len);
        }
    }

    pub(crate) fn words(&self) -> &[u32] {
        // SAFETY: the same memory as `deref` gives; every bit pattern is a `u32`, and size and alignment are equal.
        unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast(), self.len) }
    }

    pub(crate) fn words_mut(&mut self) -> &mut [u32] {
        // SAFETY: as in `words`; the exclusive borrow of `self` covers the memory.
        unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), self.len) }
    }
}

impl Deref for Lines {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        // SAFETY: `lines` holds at least `len` floats (rounded up to whole lines), all initialised, without padding
        // between them: a `Line` is 64 bytes of floats and aligned to 64.
        unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast(), self.len) }
    }
}

impl DerefMut for Lines {
    fn deref_mut(&mut self) -> &mut [f32] {
        // SAFETY: as in `deref`; the exclusive borrow of `self` covers the memory.
        unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), self.len) }
    }
}
