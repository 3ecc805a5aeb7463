//! How good findings are: spans found against spans that people marked, by entity.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// A span and what stands in it. Places are counted in whatever unit both sides use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Marked {
    /// The entity's name.
    pub entity: String,
    /// From where to where.
    pub span: Range<usize>,
}

/// What became of the spans of one entity.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Marked and found.
    pub right: usize,
    /// Found and not marked.
    pub wrong: usize,
    /// Marked and not found.
    pub missed: usize,
}

impl Counts {
    /// The share of what was found that is marked, `None` if nothing was found.
    pub fn precision(&self) -> Option<f64> {
        share(self.right, self.right + self.wrong)
    }

    /// The share of what is marked that was found, `None` if nothing is marked.
    pub fn recall(&self) -> Option<f64> {
        share(self.right, self.right + self.missed)
    }

    /// The F measure with recall counting twice as much as precision; `None` if there was nothing to find or be found.
    pub fn f2(&self) -> Option<f64> {
        share(5 * self.right, 5 * self.right + 4 * self.missed + self.wrong)
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts of spans are far below 2^52")]
fn share(part: usize, whole: usize) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

/// Counts by entity over some texts.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    counts: BTreeMap<String, Counts>,
    /// Texts in which nothing is marked, and in how many of them something was found.
    clean: usize,
    clean_matched: usize,
}

impl Tally {
    /// Adds one text. Only entities of `labelled` count: others are neither right nor wrong. A found span is right for the
    /// marked one of its entity that it overlaps most, if intersection over union is at least `iou`; each counts once. A
    /// text that is `weak` counts no misses.
    pub fn add(
        &mut self,
        marked: &[Marked],
        found: &[Marked],
        labelled: &BTreeSet<String>,
        iou: f64,
        weak: bool,
    ) {
        let found: Vec<&Marked> = found.iter().filter(|one| labelled.contains(&one.entity)).collect();
        let mut taken = vec![false; found.len()];
        for mark in marked {
            let overlap = |at: &usize| {
                let same = !taken[*at] && found[*at].entity == mark.entity;
                if same { overlap(&mark.span, &found[*at].span) } else { 0.0 }
            };
            let best = (0..found.len()).max_by(|a, b| overlap(a).total_cmp(&overlap(b)));
            let best = best.filter(|at| overlap(at) > 0.0 && overlap(at) >= iou);
            let counts = self.counts.entry(mark.entity.clone()).or_default();
            match best {
                Some(at) => {
                    counts.right += 1;
                    taken[at] = true;
                }
                None => counts.missed += usize::from(!weak),
            }
        }
        for (one, _) in found.iter().zip(&taken).filter(|(_, taken)| !**taken) {
            self.counts.entry(one.entity.clone()).or_default().wrong += 1;
        }
        if marked.is_empty() {
            self.clean += 1;
            self.clean_matched += usize::from(!found.is_empty());
        }
    }

    /// The counts of each entity.
    pub fn by_entity(&self) -> &BTreeMap<String, Counts> {
        &self.counts
    }

    /// The counts of all entities for which `wanted` holds, together.
    pub fn together(&self, wanted: impl Fn(&str) -> bool) -> Counts {
        let wanted = self.counts.iter().filter(|(entity, _)| wanted(entity));
        wanted.fold(Counts::default(), |sum, (_, counts)| Counts {
            right: sum.right + counts.right,
            wrong: sum.wrong + counts.wrong,
            missed: sum.missed + counts.missed,
        })
    }

    /// How many texts have nothing marked, and in how many of them something of a labelled entity was found.
    pub fn clean(&self) -> (usize, usize) {
        (self.clean, self.clean_matched)
    }
}

/// Intersection over union of two spans.
fn overlap(a: &Range<usize>, b: &Range<usize>) -> f64 {
    let common = a.end.min(b.end).saturating_sub(a.start.max(b.start));
    share(common, a.end.max(b.end) - a.start.min(b.start)).unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marked(entity: &str, span: Range<usize>) -> Marked {
        Marked { entity: entity.to_owned(), span }
    }

    #[test]
    fn only_labelled_entities_count_and_each_span_once() {
        let labelled = BTreeSet::from(["A".to_owned(), "B".to_owned()]);
        let mut tally = Tally::default();
        let marks = [marked("A", 0..10), marked("A", 20..30), marked("B", 40..50)];
        let found = [marked("A", 0..10), marked("A", 1..10), marked("A", 20..24), marked("C", 40..50)];
        tally.add(&marks, &found, &labelled, 0.5, false);
        assert_eq!(tally.by_entity()["A"], Counts { right: 1, wrong: 2, missed: 1 });
        assert_eq!(tally.by_entity()["B"], Counts { right: 0, wrong: 0, missed: 1 });
        assert!(!tally.by_entity().contains_key("C"));
        let all = tally.together(|_| true);
        assert_eq!(all, Counts { right: 1, wrong: 2, missed: 2 });
        // 5 right over 5 right, 8 missed and 2 wrong.
        assert_eq!(all.f2(), Some(5.0 / 15.0));
    }

    #[test]
    fn weak_texts_count_no_misses_and_clean_texts_are_counted() {
        let labelled = BTreeSet::from(["A".to_owned()]);
        let mut tally = Tally::default();
        tally.add(&[marked("A", 0..1)], &[], &labelled, 0.5, true);
        tally.add(&[], &[marked("A", 0..1)], &labelled, 0.5, false);
        tally.add(&[], &[marked("B", 0..1)], &labelled, 0.5, false);
        assert_eq!(tally.by_entity()["A"], Counts { right: 0, wrong: 1, missed: 0 });
        assert_eq!(tally.clean(), (2, 1));
    }
}
