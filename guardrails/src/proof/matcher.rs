//! Finds where any of some byte strings begins.

use aho_corasick::packed;
use aho_corasick::{AhoCorasick, Input, MatchKind, Span};

/// Up to so many are looked for with vector instructions.
const FEW: usize = 48;

pub(super) enum Matcher {
    Few(packed::Searcher),
    Many(AhoCorasick),
    /// The automaton could not be built; every place may be one then, and each is looked at.
    Everywhere,
}

impl Matcher {
    /// A matcher of these byte strings, none of them empty.
    pub(super) fn new<P: AsRef<[u8]>>(patterns: &[P]) -> Matcher {
        let few = (patterns.len() <= FEW).then(|| {
            let mut builder = packed::Config::new().match_kind(packed::MatchKind::LeftmostFirst).builder();
            builder.extend(patterns);
            builder.build()
        });
        if let Some(few) = few.flatten() {
            return Matcher::Few(few);
        }
        AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostFirst)
            .build(patterns)
            .map_or(Matcher::Everywhere, Matcher::Many)
    }

    /// Where the first of them begins, from `from` on.
    pub(super) fn find(&self, bytes: &[u8], from: usize) -> Option<usize> {
        if from >= bytes.len() {
            return None;
        }
        let span = Span { start: from, end: bytes.len() };
        match self {
            Matcher::Few(few) => few.find_in(bytes, span).map(|hit| hit.start()),
            Matcher::Many(many) => many.find(Input::new(bytes).span(span)).map(|hit| hit.start()),
            Matcher::Everywhere => Some(from),
        }
    }
}
