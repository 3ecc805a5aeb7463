//! What was decided about each finding, and where: for an audit log. Never what was found.

use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use crate::channel::Channel;
use crate::guard::{Class, Finding};
use crate::policy::Operator;

/// One decision of the policy about one finding.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// The way to the text in which it was found.
    pub path: Vec<Step>,
    /// Who speaks there.
    pub channel: Channel,
    /// The entity's name.
    pub entity: &'static str,
    /// The rule that found it.
    pub rule: &'static str,
    /// Its kind.
    pub class: Class,
    /// What is done.
    pub action: Operator,
    /// Nothing is done: that is only what would be.
    pub shadow: bool,
    /// The exception that says so, by its name.
    pub exception: Option<Arc<str>>,
    /// How likely it is what it seems.
    pub score: f32,
    /// Where it stood, in bytes of the text as it came.
    pub bytes: Range<usize>,
    /// The same in code points.
    pub chars: Range<usize>,
}

impl Decision {
    /// The decision about a finding in a text by itself.
    pub(crate) fn of(finding: &Finding, how: How, text: &str) -> Decision {
        let chars = |upto: usize| text.get(..upto).map_or(0, |part| part.chars().count());
        let chars = chars(finding.span.start)..chars(finding.span.end);
        Decision::placed(finding, how, finding.span.clone(), chars)
    }

    /// The decision about a finding that stood there, with an empty path.
    pub(crate) fn placed(finding: &Finding, how: How, bytes: Range<usize>, chars: Range<usize>) -> Decision {
        let &Finding { entity, rule, class, score, .. } = finding;
        let How { channel, action, shadow, exception } = how;
        let path = Vec::new();
        Decision { path, channel, entity, rule, class, action, shadow, exception, score, bytes, chars }
    }
}

/// How something was decided.
pub(crate) struct How {
    pub(crate) channel: Channel,
    pub(crate) action: Operator,
    pub(crate) shadow: bool,
    pub(crate) exception: Option<Arc<str>>,
}

/// A step on the way into a JSON value.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// The member of this name, after redaction.
    Key(String),
    /// The item of this number, from 0.
    Item(usize),
    /// The name of the member of this number.
    Name(usize),
    /// The JSON document that this string is; the item behind it counts its strings and numbers in their order.
    Document,
}

/// Where we are, and what was decided; keeps nothing until it is told to.
#[derive(Default)]
pub(crate) struct Trail {
    on: bool,
    path: Vec<Step>,
    decisions: Vec<Decision>,
    /// How far the present text is counted, in bytes and in code points.
    counted: (usize, usize),
    /// What the last round replaced, left to right: where it was, and how long what stands there now is.
    pub(crate) parts: Vec<(Range<usize>, usize)>,
    /// Texts that were changed, as they came, and where their parts stood: they may be changed again.
    changed: HashMap<Vec<Step>, (String, Origins)>,
}

impl Trail {
    pub(crate) fn begin(&mut self) {
        self.on = true;
    }

    pub(crate) fn is_on(&self) -> bool {
        self.on
    }

    pub(crate) fn take(&mut self) -> Vec<Decision> {
        std::mem::take(&mut self.decisions)
    }

    /// Goes a step further in; to be undone by [`Trail::leave`].
    pub(crate) fn enter(&mut self, step: impl FnOnce() -> Step) {
        if self.on {
            self.path.push(step());
        }
    }

    pub(crate) fn leave(&mut self) {
        self.path.pop();
    }

    /// Takes note of a replacement, for [`Origins::replaced`].
    pub(crate) fn replaced(&mut self, span: &Range<usize>, length: usize) {
        if self.on {
            self.parts.push((span.clone(), length));
        }
    }

    /// Keeps a text as it came, since what became of it may be read again.
    pub(crate) fn keep(&mut self, text: &str, origins: Origins) {
        if self.on {
            self.changed.insert(self.path.clone(), (text.to_owned(), origins));
        }
    }

    /// What was kept of the text that stands here; the text itself if nothing was.
    pub(crate) fn kept<'t>(&mut self, text: &'t str) -> (Cow<'t, str>, Origins) {
        match self.changed.remove(&self.path) {
            Some((came, origins)) => (Cow::Owned(came), origins),
            None => (Cow::Borrowed(text), Origins::default()),
        }
    }

    /// Forgets the texts that were kept.
    pub(crate) fn forget(&mut self) {
        self.changed.clear();
    }

    /// What is noted from now on stands in another text.
    pub(crate) fn next_text(&mut self) {
        self.counted = (0, 0);
    }

    /// How many code points there are before this place of the text; goes on from the last place where it can.
    fn count(&mut self, text: &str, at: usize) -> usize {
        if at < self.counted.0 {
            self.counted = (0, 0);
        }
        let more = text.get(self.counted.0..at).map_or(0, |part| part.chars().count());
        self.counted = (at, self.counted.1 + more);
        self.counted.1
    }

    /// Notes a decision about a finding that stood at `bytes` of `text`.
    pub(crate) fn note(&mut self, finding: &Finding, how: How, text: &str, bytes: Range<usize>) {
        let chars = self.count(text, bytes.start)..self.count(text, bytes.end);
        let path = self.path.clone();
        self.decisions.push(Decision { path, ..Decision::placed(finding, how, bytes, chars) });
    }
}

/// Where the parts of a text stood before parts of it were replaced.
#[derive(Default)]
pub(crate) struct Origins {
    /// Where each replacement is now, and what it replaced, in their order.
    edits: Vec<(Range<usize>, Range<usize>)>,
}

impl Origins {
    /// Where `range` of the text as it is now stood at first.
    pub(crate) fn of(&self, range: &Range<usize>) -> Range<usize> {
        self.place(range.start, false)..self.place(range.end, true)
    }

    fn place(&self, at: usize, is_end: bool) -> usize {
        let before = |(now, _): &(Range<usize>, Range<usize>)| {
            if is_end { now.start < at } else { now.start <= at }
        };
        let last = self.edits.partition_point(before).checked_sub(1).and_then(|last| self.edits.get(last));
        match last {
            None => at,
            Some((now, then)) if is_end && at <= now.end => then.end,
            Some((now, then)) if !is_end && at < now.end => then.start,
            Some((now, then)) => then.end + (at - now.end),
        }
    }

    /// Takes note of replacements in the text as it is now, left to right: where each was, and how long what stands there
    /// now is.
    pub(crate) fn replaced(&mut self, parts: &[(Range<usize>, usize)]) {
        let mut edits = Vec::with_capacity(self.edits.len() + parts.len());
        let (mut gone, mut come, mut old) = (0, 0, self.edits.iter().peekable());
        for (range, length) in parts {
            while let Some((now, then)) = old.next_if(|(now, _)| now.start < range.end) {
                // One that was taken in is part of the new one's origin.
                if now.end <= range.start {
                    edits.push((now.start + come - gone..now.end + come - gone, then.clone()));
                }
            }
            let start = range.start + come - gone;
            edits.push((start..start + length, self.of(range)));
            gone += range.len();
            come += length;
        }
        edits.extend(old.map(|(now, then)| (now.start + come - gone..now.end + come - gone, then.clone())));
        self.edits = edits;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_found_again_after_two_rounds_of_replacements() {
        //          0         10        20        30
        let text = "aaa 11111 bbb 22 ccc 333333333 ddd";
        let mut origins = Origins::default();
        // First the twos, then the ones and threes around them.
        origins.replaced(&[(14..16, 6)]);
        let now = "aaa 11111 bbb [TWOS] ccc 333333333 ddd";
        let threes = now.find('3').unwrap();
        assert_eq!(origins.of(&(threes..threes + 9)), 21..30);
        origins.replaced(&[(4..9, 3), (threes..threes + 9, 20)]);
        let now = "aaa [1] bbb [TWOS] ccc [THREETHREETHREETHR] ddd";
        let ds = now.find("ddd").unwrap();
        assert_eq!(&text[origins.of(&(ds..ds + 3))], "ddd");
        assert_eq!(&text[origins.of(&(12..18))], "22");
        assert_eq!(&text[origins.of(&(8..18))], "bbb 22");
        assert_eq!(&text[origins.of(&(14..16))], "22", "a part of a replacement stands for all of it");
        assert_eq!(&text[origins.of(&(0..3))], "aaa");
    }
}
