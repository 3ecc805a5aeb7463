//! Marks that an operator planted, say in a system prompt: where one comes out, what stood around it may have come out too.

use super::CANARY;
use crate::guard::{Class, Finding, Recogniser};
use crate::policy::PolicyError;
use crate::text::Scan;
use aho_corasick::{AhoCorasick, MatchKind};

/// A mark that is shorter stands in other words by chance.
const SHORTEST: usize = 8;

/// Finds marks, in any case.
pub(super) struct Marks(Option<AhoCorasick>);

impl Marks {
    pub(super) fn new(canaries: &[String]) -> Result<Marks, PolicyError> {
        for (index, mark) in canaries.iter().enumerate() {
            if mark.trim() != mark || mark.len() < SHORTEST || mark.chars().any(char::is_whitespace) {
                let problem =
                    format!("expected one word of at least {SHORTEST} bytes that stands nowhere by chance");
                return Err(PolicyError::new(format!("output.canaries[{index}]"), problem));
            }
        }
        if canaries.is_empty() {
            return Ok(Marks(None));
        }
        let matcher = AhoCorasick::builder()
            .ascii_case_insensitive(true)
            .match_kind(MatchKind::LeftmostLongest)
            .build(canaries)
            .map_err(|_| PolicyError::new("output.canaries", "too many of them"))?;
        Ok(Marks(Some(matcher)))
    }
}

impl Recogniser for Marks {
    fn entity(&self) -> &'static str {
        CANARY
    }

    fn find(&self, scan: &Scan<'_>, out: &mut Vec<Finding>) {
        let found = self.0.iter().flat_map(|matcher| matcher.find_iter(scan.text));
        out.extend(found.map(|found| Finding {
            entity: CANARY,
            rule: "canary",
            class: Class::Content,
            span: found.range(),
            score: 1.0,
        }));
    }
}
