//! Direction: which words stand after "from", "to", "than", "by", "over", "before", "after".
//!
//! "From savings to checking" and "from checking to savings" have the same words, and so nearly the same vector. A word that
//! one prompt has after "from" and the other after "to" says that they go opposite ways, and so do two words that changed
//! places around one preposition.

use super::words::MARKS;

/// The codes of prepositions that are opposites of each other.
const FROM: u32 = 1;
const TO: u32 = 2;

/// "In" gives a unit the role of "to": "km in miles".
pub(super) const IN: u8 = 8;

/// The mark of a word that stands before the preposition.
const LEFT: u32 = 1;

/// The marks of a word after the preposition with this code.
fn right(code: u32) -> u32 {
    code << 1
}

/// Follows prepositions through a prompt.
#[derive(Default)]
pub(super) struct Direction {
    /// Words with the code of the preposition they stand after in the marks.
    pub(super) directed: Vec<u32>,
    open: u8,
    left: u8,
}

impl Direction {
    /// A preposition with this code was read; `before` are the content words up to it.
    pub(super) fn open(&mut self, code: u8, before: &[u32]) {
        (self.open, self.left) = (code, 2);
        if code != IN {
            let near = &before[before.len().saturating_sub(2)..];
            self.directed.extend(near.iter().map(|w| w & !MARKS | right(u32::from(code)) | LEFT));
        }
    }

    /// A unit was read; it is a content word as well.
    pub(super) fn unit(&mut self, word: u32, before: Option<&u32>) {
        if self.open == IN {
            self.directed.push(word & !MARKS | right(TO));
            self.directed.extend(before.map(|w| w & !MARKS | right(TO) | LEFT));
        }
    }

    /// A content word was read.
    pub(super) fn word(&mut self, word: u32) {
        if self.open > 0 && self.open != IN && self.left > 0 {
            self.directed.push(word & !MARKS | right(u32::from(self.open)));
            self.left -= 1;
        }
    }

    /// Something ended the noun phrase.
    pub(super) fn close(&mut self) {
        self.open = 0;
    }
}

/// True if two prompts go opposite ways: a word stands after "from" here and after "to" there, or two words changed sides
/// around one preposition.
pub(super) fn opposite(a: &[u32], b: &[u32]) -> bool {
    if a.is_empty() || b.is_empty() {
        return false;
    }
    let has = |list: &[u32], word: u32, marks: u32| list.contains(&(word & !MARKS | marks));
    let turned = |one: &[u32], other: &[u32]| {
        one.iter()
            .filter(|w| *w & MARKS == right(FROM))
            .any(|w| has(other, *w, right(TO)) && !has(other, *w, right(FROM)) && !has(one, *w, right(TO)))
    };
    if turned(a, b) || turned(b, a) {
        return true;
    }
    // The word on the right here and on the left there, and only so.
    let moved = |one: &[u32], other: &[u32], code: u32| {
        one.iter().filter(|w| *w & MARKS == right(code)).any(|w| {
            has(other, *w, right(code) | LEFT)
                && !has(other, *w, right(code))
                && !has(one, *w, right(code) | LEFT)
        })
    };
    (1..IN).map(u32::from).any(|code| moved(a, b, code) && moved(b, a, code))
}

/// True if the sorted list holds the word, with whatever marks.
pub(super) fn contains_word(sorted: &[u32], word: u32) -> bool {
    let from = sorted.partition_point(|w| w | MARKS < word & !MARKS);
    sorted.get(from).is_some_and(|w| w & !MARKS == word & !MARKS)
}
