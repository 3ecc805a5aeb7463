//! Direction: which words stand after "from", "to", "than", "by", "over", "before", "after".
//!
//! "From savings to checking" and "from checking to savings" have the same words, and so nearly the same vector. A word that
//! one prompt has after "from" and the other after "to" says that they go opposite ways, and so do two words that changed
//! places around one preposition.

use super::words::MARKS;

/// The codes of prepositions that are opposites of each other.
const FROM: u32 = 1;
const TO: u32 = 2;

/// Follows prepositions through a prompt.
#[derive(Default)]
pub(super) struct Direction {
    /// Words with the code of the preposition they stand after in the marks.
    pub(super) directed: Vec<u32>,
    open: u8,
    left: u8,
}

impl Direction {
    /// A preposition with this code was read.
    pub(super) fn open(&mut self, code: u8) {
        (self.open, self.left) = (code, 2);
    }

    /// A content word was read.
    pub(super) fn word(&mut self, word: u32) {
        if self.open > 0 && self.left > 0 {
            self.directed.push(word & !MARKS | u32::from(self.open));
            self.left -= 1;
        }
    }

    /// Something ended the noun phrase.
    pub(super) fn close(&mut self) {
        self.open = 0;
    }
}

/// True if two prompts go opposite ways. Lists are sorted; `words_a` and `words_b` are all content words, sorted.
pub(super) fn opposite(a: &[u32], b: &[u32], words_a: &[u32], words_b: &[u32]) -> bool {
    if a.is_empty() || b.is_empty() {
        return false;
    }
    let has = |list: &[u32], word: u32, code: u32| list.contains(&(word & !MARKS | code));
    let turned = |one: &[u32], other: &[u32]| {
        one.iter()
            .filter(|w| *w & MARKS == FROM)
            .any(|w| has(other, *w, TO) && !has(other, *w, FROM) && !has(one, *w, TO))
    };
    if turned(a, b) || turned(b, a) {
        return true;
    }
    let moved = |one: &[u32], other: &[u32], words: &[u32], code: u32| {
        one.iter().any(|w| *w & MARKS == code && !other.contains(w) && contains_word(words, *w))
    };
    (1..=MARKS).any(|code| moved(a, b, words_b, code) && moved(b, a, words_a, code))
}

/// True if the sorted list holds the word, with whatever marks.
pub(super) fn contains_word(sorted: &[u32], word: u32) -> bool {
    let from = sorted.partition_point(|w| w | MARKS < word & !MARKS);
    sorted.get(from).is_some_and(|w| w & !MARKS == word & !MARKS)
}
