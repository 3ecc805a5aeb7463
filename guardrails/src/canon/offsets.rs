//! A rewritten text and the way from its places back to the original's.

use std::ops::Range;

/// One replacement: `length` bytes at `at` of the rewritten text stand for `from..to` of the original.
#[derive(Clone, Debug, PartialEq)]
struct Step {
    at: usize,
    length: usize,
    from: usize,
    to: usize,
}

/// All replacements in order; between them both texts run in parallel.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Offsets(Vec<Step>);

impl Offsets {
    /// What `span` of the rewritten text stands for: whole replacements, none in part.
    pub(crate) fn original(&self, span: &Range<usize>) -> Range<usize> {
        let end = if span.is_empty() { self.start(span.end) } else { self.end(span.end) };
        self.start(span.start)..end
    }

    fn start(&self, place: usize) -> usize {
        match self.0.partition_point(|step| step.at <= place).checked_sub(1).map(|last| &self.0[last]) {
            None => place,
            Some(step) if place < step.at + step.length => step.from,
            Some(step) => step.to + (place - step.at - step.length),
        }
    }

    fn end(&self, place: usize) -> usize {
        match self.0.partition_point(|step| step.at < place).checked_sub(1).map(|last| &self.0[last]) {
            None => place,
            Some(step) if place <= step.at + step.length => step.to,
            Some(step) => step.to + (place - step.at - step.length),
        }
    }
}

/// A text being rewritten, from left to right.
pub(crate) struct Rewrite<'t> {
    original: &'t str,
    text: String,
    /// Up to where the original is in `text`.
    done: usize,
    steps: Vec<Step>,
}

impl<'t> Rewrite<'t> {
    pub(crate) fn new(original: &'t str) -> Rewrite<'t> {
        Rewrite { original, text: String::new(), done: 0, steps: Vec::new() }
    }

    /// Puts `by` in place of `span`, which is behind all spans replaced so far.
    pub(crate) fn replace(&mut self, span: Range<usize>, by: &str) {
        if self.steps.is_empty() {
            self.text.reserve(self.original.len());
        }
        self.text.push_str(&self.original[self.done..span.start]);
        self.steps.push(Step { at: self.text.len(), length: by.len(), from: span.start, to: span.end });
        self.text.push_str(by);
        self.done = span.end;
    }

    /// The rewritten text, `None` if nothing was replaced.
    pub(crate) fn finish(mut self) -> Option<(String, Offsets)> {
        if self.steps.is_empty() {
            return None;
        }
        self.text.push_str(&self.original[self.done..]);
        Some((self.text, Offsets(self.steps)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_in_a_replacement_is_the_whole_of_what_it_replaced() {
        // "a%40b–c" with the escape read and the dash folded, and "xy" left out.
        let mut rewrite = Rewrite::new("a%40bxyc");
        rewrite.replace(1..4, "@@");
        rewrite.replace(5..7, "");
        let (text, offsets) = rewrite.finish().unwrap();
        assert_eq!(text, "a@@bc");
        assert_eq!(offsets.original(&(0..1)), 0..1);
        assert_eq!(offsets.original(&(1..2)), 1..4);
        assert_eq!(offsets.original(&(2..4)), 1..5);
        assert_eq!(offsets.original(&(3..5)), 4..8);
        assert_eq!(offsets.original(&(4..5)), 7..8);
    }
}
