//! Puts a caller's values back into an answer's texts.

use std::convert::Infallible;

use sluice_guardrails::{Form, Rehydrator, Vault};

use super::growing::{Growing, Step, Work, is_native_word};
use crate::wire::chat::Delta;

/// Lists of reasoning that its provider may have signed and wants back word for word: nothing is restored in them. What people
/// are to read of it stands in other fields, too.
const SIGNED: [&str; 3] = ["reasoning_details", "thinking_blocks", "reasoningContent"];

/// The texts of one choice, on their way to the caller.
#[derive(Default)]
pub(super) struct Restorer(Growing<Rehydrator>);

struct Restoring<'a>(&'a Vault);

impl Work for Restoring<'_> {
    type Piecewise = Rehydrator;
    type Refusal = Infallible;

    fn begin(&self, path: &[Step], form: Form) -> Option<Rehydrator> {
        let signed = path.iter().any(|step| matches!(step, Step::Key(key) if SIGNED.contains(&key.as_str())));
        (!signed && !is_native_word(path)).then(|| self.0.rehydrator(form))
    }

    fn push(&mut self, _path: &[Step], text: &mut Rehydrator, piece: &str) -> Result<String, Infallible> {
        Ok(text.push(piece))
    }

    fn finish(&mut self, _path: &[Step], mut text: Rehydrator) -> Result<String, Infallible> {
        Ok(text.finish())
    }
}

impl Restorer {
    /// The delta with the originals. An end that may be the beginning of a placeholder waits for the next delta, or,
    /// if this is the `last`, is in it.
    pub(super) fn push(&mut self, vault: &Vault, delta: &mut Delta, last: bool) {
        let Ok(()) = self.0.push(&mut Restoring(vault), delta, last);
    }

    /// What still waits.
    pub(super) fn finish(self, vault: &Vault) -> Delta {
        let Ok(delta) = self.0.finish(&mut Restoring(vault));
        delta
    }
}
