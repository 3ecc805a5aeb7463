//! Values that stand in several channels of a request: the strictest of them decides for all.
//!
//! A value that is replaced in one place and left in another has left the building. So before anything is replaced, a request is
//! read twice: for what is found in it, and for where else that stands, also where nothing around it tells what it is.

use super::plan::{Treatment, Verdicts};
use crate::guard::{Class, Finding};
use crate::pii;
use crate::proof::Proof;
use crate::vault::Blocked;
use std::collections::HashMap;

/// What is done with values wherever they stand, by entity and normalised value.
#[derive(Default)]
pub(crate) struct Strictest {
    values: HashMap<(&'static str, String), Treatment>,
    blocked: Option<Blocked>,
}

impl Strictest {
    pub(crate) fn of(&self, entity: &'static str, value: &str) -> Option<&Treatment> {
        if self.values.is_empty() { None } else { self.values.get(&key(entity, value)) }
    }

    /// The request is refused, since this stands in it, whatever else is found around it.
    pub(crate) fn blocked(&self) -> Option<&Blocked> {
        self.blocked.as_ref()
    }
}

/// Values that differ in nothing but capitals are one.
fn key(entity: &'static str, value: &str) -> (&'static str, String) {
    (entity, pii::normalised(entity, value).to_ascii_lowercase())
}

/// A request that is being read for it.
#[derive(Default)]
pub(crate) struct Survey {
    strictest: Strictest,
    seen: Vec<Seen>,
    /// What was seen, once it is looked for.
    places: Option<Proof>,
}

struct Seen {
    entity: &'static str,
    rule: &'static str,
    class: Class,
    score: f32,
    original: String,
}

impl Survey {
    /// What is looked for, in the second reading.
    pub(crate) fn places(&self) -> Option<&Proof> {
        self.places.as_ref()
    }

    /// Takes in what was found in a text, of which channels say different things.
    pub(crate) fn found(&mut self, verdicts: Verdicts<'_>, text: &str, found: &[Finding]) {
        for finding in found {
            let (Some(own), true) = verdicts.own(finding) else { continue };
            let Some(original) = text.get(finding.span.clone()) else { continue };
            let &Finding { entity, rule, class, score, .. } = finding;
            let strictest = self.strictest.values.entry(key(entity, original)).or_insert_with(|| {
                self.seen.push(Seen { entity, rule, class, score, original: original.to_owned() });
                *own
            });
            if own.strictness() > strictest.strictness() {
                *strictest = *own;
            }
        }
    }

    /// From now on it is about where those values stand. False if there are none.
    pub(crate) fn look_for_places(&mut self) -> bool {
        let originals = self.seen.iter().map(|seen| (seen.entity, seen.original.as_str()));
        self.places = Some(Proof::new(originals, Vec::new()));
        !self.seen.is_empty()
    }

    /// Takes in which of those values stand in a text.
    pub(crate) fn stands(&mut self, verdicts: Verdicts<'_>, text: &str) {
        let places = self.places.as_ref().map_or_else(Vec::new, |places| places.places(text));
        for (number, span) in places {
            let &Seen { entity, rule, class, score, ref original } = &self.seen[number];
            let Some(own) = verdicts.own(&Finding { entity, rule, class, span, score }).0 else { continue };
            if let Some(strictest) = self.strictest.values.get_mut(&key(entity, original))
                && own.strictness() > strictest.strictness()
            {
                *strictest = *own;
            }
        }
    }

    /// What came of it.
    pub(crate) fn finish(mut self) -> Strictest {
        let blocks =
            |seen: &&Seen| self.strictest.of(seen.entity, &seen.original).is_some_and(Treatment::blocks);
        let blocked = self.seen.iter().find(blocks);
        self.strictest.blocked =
            blocked.map(|&Seen { entity, rule, class, .. }| Blocked { class, entity, rule });
        self.strictest
    }
}
