//! The canonical form of a text, in which other prints of the same value look alike, and the way back.
//!
//! Digits of every script, dashes, spaces and full-width signs become ASCII, what can't be seen is left out, and letters
//! that only look like ASCII do so within words that are partly ASCII. Nothing else changes: no compatibility form of
//! Unicode is applied. A text in ASCII is its own canonical form and is not copied.

mod fold;
mod offsets;
mod views;

use crate::guard::Finding;
use fold::Fold;
pub(crate) use offsets::Offsets;
use offsets::Rewrite;
use std::borrow::Cow;
use std::ops::Range;
pub(crate) use views::{View, from_base64, tagged, views};

/// A text as recognisers read it.
pub(crate) struct Canon<'t> {
    original: &'t str,
    text: Cow<'t, str>,
    offsets: Offsets,
}

impl<'t> Canon<'t> {
    /// The canonical form of `original`.
    pub(crate) fn new(original: &'t str) -> Canon<'t> {
        let unchanged = || Canon { original, text: Cow::Borrowed(original), offsets: Offsets::default() };
        if original.is_ascii() {
            return unchanged();
        }
        let mut rewrite = Rewrite::new(original);
        let mut run = 0..0;
        let mut run_folds = false;
        for (at, c) in original.char_indices().filter(|(_, c)| !c.is_ascii()) {
            let span = at..at + c.len_utf8();
            match fold::fold(c) {
                Fold::Keep => {}
                Fold::Drop => rewrite.replace(span, ""),
                Fold::To(ascii) => rewrite.replace(span, ascii.encode_utf8(&mut [0; 4])),
                Fold::InAsciiWord(ascii) => {
                    if at >= run.end {
                        run = fold::word_around(original, at);
                        run_folds = fold::is_partly_ascii(&original[run.clone()]);
                    }
                    if run_folds {
                        rewrite.replace(span, ascii.encode_utf8(&mut [0; 4]));
                    }
                }
            }
        }
        match rewrite.finish() {
            None => unchanged(),
            Some((text, offsets)) => Canon { original, text: Cow::Owned(text), offsets },
        }
    }

    /// The canonical text.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Where in the original a span of the canonical text stands: whole characters, with the marks that combine with the
    /// last.
    pub(crate) fn original(&self, span: &Range<usize>) -> Range<usize> {
        let span = self.offsets.original(span);
        let marks = self.original[span.end..].chars().take_while(|c| fold::combines(*c));
        span.start..span.end + marks.map(char::len_utf8).sum::<usize>()
    }

    /// Moves findings from the canonical text to the original.
    pub(crate) fn restore(&self, findings: &mut [Finding]) {
        findings.iter_mut().for_each(|finding| finding.span = self.original(&finding.span));
    }
}

#[cfg(test)]
mod tests;
