//! Finders by name: code for what an expression can't tell.

use crate::text::Scan;
use std::ops::Range;

/// What a finder may be: where it is, and what its print says for it beyond the row's prior (decimal log-odds).
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Candidate {
    pub(crate) span: Range<usize>,
    pub(crate) odds: f32,
}

/// Appends the candidates of a text. `hits` is where the row's keywords stand. Runs in time linear in the text.
pub(crate) type Find = fn(scan: &Scan<'_>, hits: &[Range<usize>], out: &mut Vec<Candidate>);

/// All finders.
const FINDERS: &[(&str, Find)] = &[];

/// The finder called `name`.
pub(crate) fn by_name(name: &str) -> Option<Find> {
    FINDERS.iter().find(|(known, _)| *known == name).map(|(_, find)| *find)
}
