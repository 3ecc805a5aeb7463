//! The words around a candidate, as numbers: every context word of every row is known by one.

use crate::placeholder;
use crate::text::{self, Scan, ceil_boundary, floor_boundary, is_word};
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::ops::Range;

/// How many bytes and words of context are read on each side.
const BEFORE: (usize, usize) = (96, 8);
const AFTER: (usize, usize) = (56, 5);
/// How many words before a value count as its label ("my mobile number is …").
const CLOSE: usize = 3;
/// A word that no row knows.
const UNKNOWN: u32 = u32::MAX;

/// FNV-1a (draft-eastlake-fnv): short words, and nobody chooses which are in the maps.
struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Fnv {
        Fnv(0xcbf2_9ce4_8422_2325)
    }
}

impl Hasher for Fnv {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
}

/// All context words of some rows.
#[derive(Default)]
pub(crate) struct Lexicon {
    /// Words and, apart from them, beginnings of words; their numbers are all different.
    words: HashMap<Box<str>, u32, BuildHasherDefault<Fnv>>,
    starts: HashMap<Box<str>, u32, BuildHasherDefault<Fnv>>,
    /// Length of the shortest beginning, in bytes.
    shortest_start: usize,
    count: u32,
}

impl Lexicon {
    /// Takes in the words of an entry of `context` or `negative`.
    pub(crate) fn add(&mut self, entry: &str) {
        if is_unspaced(entry) {
            return;
        }
        for (word, open) in entry_words(entry) {
            let map = if open { &mut self.starts } else { &mut self.words };
            if !map.contains_key(word.as_str()) {
                map.insert(word.into(), self.count);
                self.count += 1;
            }
        }
        self.shortest_start = self.starts.keys().map(|start| start.len()).min().unwrap_or(usize::MAX);
    }

    /// Compiles a list of entries, whose words were all added before.
    pub(crate) fn compile(&self, entries: &[String]) -> Entries {
        let mut compiled = Entries { single: vec![false; self.count as usize], ..Entries::default() };
        for entry in entries {
            if is_unspaced(entry) {
                compiled.unspaced.push(entry.to_lowercase());
                continue;
            }
            let mut phrase: Vec<Vec<u32>> =
                entry_words(entry).into_iter().map(|(word, open)| self.matching(&word, open)).collect();
            match phrase.len() {
                0 => {}
                1 => phrase.remove(0).into_iter().for_each(|id| compiled.single[id as usize] = true),
                _ => compiled.phrases.push(phrase),
            }
        }
        compiled.empty =
            compiled.unspaced.is_empty() && compiled.phrases.is_empty() && !compiled.single.contains(&true);
        compiled
    }

    /// The numbers of all words and beginnings that a word of an entry stands for.
    fn matching(&self, word: &str, open: bool) -> Vec<u32> {
        if !open {
            return self.words.get(word).copied().into_iter().collect();
        }
        let all = self.words.iter().chain(&self.starts);
        all.filter(|(known, _)| known.starts_with(word)).map(|(_, id)| *id).collect()
    }

    /// The number of a lower-case word: its own, or else that of its longest beginning.
    fn id(&self, word: &str) -> u32 {
        if let Some(id) = self.words.get(word) {
            return *id;
        }
        let mut end = if self.starts.is_empty() { 0 } else { word.len() };
        while end > 0 && end >= self.shortest_start {
            if word.is_char_boundary(end)
                && let Some(id) = self.starts.get(&word[..end])
            {
                return *id;
            }
            end -= 1;
        }
        UNKNOWN
    }

    /// Reads the words around `span`.
    pub(crate) fn around<'t>(&self, scan: &Scan<'t>, span: &Range<usize>) -> Around<'t> {
        let text = scan.text;
        let from = ceil_boundary(text, span.start.saturating_sub(BEFORE.0));
        let to = floor_boundary(text, (span.end + AFTER.0).min(text.len()));
        // A word cut by the window's edge is no whole word.
        let left = &text[from..span.start];
        let left = if from == 0 { left } else { left.trim_start_matches(is_word) };
        let right = &text[span.end..to];
        let right = if to == text.len() { right } else { right.trim_end_matches(is_word) };
        let mut before = self.ids(left);
        before.reverse();
        before.truncate(BEFORE.1);
        let mut after = self.ids(right);
        after.truncate(AFTER.1);
        Around { before, after, label: self.ids(scan.label), left, right }
    }

    fn ids(&self, text: &str) -> Vec<u32> {
        let mut ids = Vec::new();
        each_word(text, &mut |word| ids.push(self.id(word)));
        ids
    }
}

/// The entries of one row's list.
#[derive(Default)]
pub(crate) struct Entries {
    /// By number of a word: whether it alone is an entry.
    single: Vec<bool>,
    /// Several words in a row.
    phrases: Vec<Vec<Vec<u32>>>,
    /// Words of scripts that put no spaces between them.
    unspaced: Vec<String>,
    empty: bool,
}

impl Entries {
    fn at(&self, words: &[u32], backwards: bool) -> bool {
        let Some(&first) = words.first() else { return false };
        if self.single.get(first as usize).copied().unwrap_or(false) {
            return true;
        }
        self.phrases.iter().any(|phrase| {
            let place = |i: usize| if backwards { phrase.len() - 1 - i } else { i };
            phrase.len() <= words.len() && (0..phrase.len()).all(|i| phrase[place(i)].contains(&words[i]))
        })
    }
}

/// The words around a place, nearest first.
pub(crate) struct Around<'t> {
    before: Vec<u32>,
    after: Vec<u32>,
    label: Vec<u32>,
    left: &'t str,
    right: &'t str,
}

impl Around<'_> {
    /// How strongly the nearest of `entries` speaks for the value, from 0 to 1.
    pub(crate) fn support(&self, entries: &Entries) -> f32 {
        /// By distance in words: what stands before a value is more often its label than what stands behind.
        const FADE_BEFORE: [f32; BEFORE.1] = [1.0, 1.0, 1.0, 0.9, 0.8, 0.7, 0.6, 0.5];
        const FADE_AFTER: [f32; AFTER.1] = [0.9, 0.8, 0.7, 0.6, 0.5];
        if entries.empty {
            return 0.0;
        }
        if (0..self.label.len()).any(|at| entries.at(&self.label[at..], false)) {
            return 1.0;
        }
        let before = (0..self.before.len()).find(|at| entries.at(&self.before[*at..], true));
        let after = (0..self.after.len()).find(|at| entries.at(&self.after[*at..], false));
        let before = before.map_or(0.0, |at| FADE_BEFORE[at]);
        before.max(after.map_or(0.0, |at| FADE_AFTER[at])).max(self.unspaced(entries))
    }

    /// Whether one of `entries` stands so close that the value is what it says.
    pub(crate) fn is_labelled(&self, entries: &Entries) -> bool {
        !entries.empty
            && ((0..self.label.len()).any(|at| entries.at(&self.label[at..], false))
                || (0..self.before.len().min(CLOSE)).any(|at| entries.at(&self.before[at..], true))
                || (self.right.trim_start_matches([' ', '-', '(']).starts_with(char::is_alphabetic)
                    && entries.at(&self.after, false))
                || self.unspaced(entries) > 0.0)
    }

    fn unspaced(&self, entries: &Entries) -> f32 {
        let holds = |text: &str| {
            !text.is_ascii() && entries.unspaced.iter().any(|entry| text.to_lowercase().contains(entry))
        };
        if entries.unspaced.is_empty() {
            0.0
        } else if holds(self.left) {
            1.0
        } else if holds(self.right) {
            0.7
        } else {
            0.0
        }
    }
}

/// Whether a word is written in a script that puts no spaces between words, or appends particles to them.
fn is_unspaced(entry: &str) -> bool {
    entry.chars().any(text::is_unspaced)
}

/// The words of an entry, each with whether it is only a beginning.
fn entry_words(entry: &str) -> Vec<(String, bool)> {
    let mut all = Vec::new();
    for part in entry.split_whitespace() {
        let mut words = Vec::new();
        each_word(part, &mut |word| words.push((word.to_owned(), false)));
        if let (true, Some(last)) = (part.ends_with('*'), words.last_mut()) {
            last.1 = true;
        }
        all.append(&mut words);
    }
    all
}

/// Splits at everything that is no letter, and where lower case turns to upper case (`cardNumber`). Placeholders are
/// no words.
fn each_word(text: &str, found: &mut dyn FnMut(&str)) {
    let mut word = String::new();
    for token in text.split(|c| !is_word(c)).filter(|token| !token.is_empty() && !placeholder::is_name(token))
    {
        let mut lower = false;
        for c in token.chars() {
            let letter = c.is_alphabetic();
            if (!letter || (lower && c.is_uppercase())) && !word.is_empty() {
                found(&word);
                word.clear();
            }
            lower = c.is_lowercase();
            match (letter, c.is_ascii()) {
                (true, true) => word.push(c.to_ascii_lowercase()),
                (true, false) => word.extend(c.to_lowercase()),
                (false, _) => {}
            }
        }
        if !word.is_empty() {
            found(&word);
            word.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn support(text: &str, label: &str, entries: &[&str]) -> f32 {
        let entries: Vec<String> = entries.iter().map(|&entry| entry.to_owned()).collect();
        let mut lexicon = Lexicon::default();
        entries.iter().for_each(|entry| lexicon.add(entry));
        let at = text.find("123").unwrap();
        lexicon.around(&Scan::new(text, label), &(at..at + 3)).support(&lexicon.compile(&entries))
    }

    #[test]
    fn a_near_word_speaks_louder_than_a_far_one_and_only_as_a_whole() {
        let near = support("my ssn is 123", "", &["ssn"]);
        let far = support("ssn of the man whom we met: 123", "", &["ssn"]);
        assert!(near > far && far > 0.0);
        assert!(support("the public 123", "", &["lic"]).abs() < f32::EPSILON);
        assert!(support("123 (ssn)", "", &["ssn"]) > 0.5);
    }

    #[test]
    fn entries_may_be_phrases_beginnings_and_field_names() {
        for (text, label, entry) in [
            ("Social-Security no. 123", "", "social security"),
            ("driver's license 123", "", "driver's license"),
            ("Telefonnummer 123", "", "telefon*"),
            ("mein Telefon: 123", "", "telefon*"),
            ("123", "socialSecurityNo", "social security"),
            ("주민등록번호는 123", "", "주민등록번호"),
        ] {
            assert!(support(text, label, &[entry, "telefonat"]) > 0.5, "{text}");
        }
        assert!(support("security social 123", "", &["social security"]).abs() < f32::EPSILON);
    }

    #[test]
    fn a_placeholder_is_no_context() {
        assert!(support("[EMAIL_ADDRESS_1] 123", "", &["email", "address"]).abs() < f32::EPSILON);
    }
}
