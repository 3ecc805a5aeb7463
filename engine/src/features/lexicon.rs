//! What the lists in `lists/` say about a word or phrase, in two tables: by its form in lower case, and by its stem.
//!
//! The lists are part of the program, so reading them cannot fail at run time; a test checks that every line is understood.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::LazyLock;

use super::{numbers::Count, words};

/// All that is known of a word.
#[derive(Clone, Debug, Default)]
pub(super) struct Lexeme {
    /// The hash it counts as, where several words mean the same.
    pub(super) meaning: Option<u32>,
    /// The languages (bits) in which it is a function word.
    pub(super) stops: u8,
    /// Skipped in every language: a greeting, "please", "can you tell me".
    pub(super) filler: bool,
    /// Negates what follows.
    pub(super) negates: bool,
    /// Is a negated word itself: "unavailable" has the meaning of "available".
    pub(super) negated: bool,
    /// The name of something.
    pub(super) name: Option<Name>,
    /// Ordinary enough that a capital at the start of a sentence says nothing.
    pub(super) common: bool,
    /// A unit's number.
    pub(super) unit: Option<u8>,
    /// A word of the calendar.
    pub(super) date: Option<u16>,
    /// The unit or the date is one only beside a number (a date also with a capital).
    pub(super) weak: bool,
    /// A number word.
    pub(super) count: Option<Count>,
    /// A question's kind.
    pub(super) question: u8,
    /// A preposition that gives what follows a role, 1 to 7.
    pub(super) connector: u8,
    /// May stand between a preposition and its noun.
    pub(super) determiner: bool,
    /// Bit of a word that restricts what is asked.
    pub(super) modifier: u32,
    /// Sides of antonym axes: twice the axis, and one more on the right.
    pub(super) poles: Vec<u16>,
    /// The most words of a phrase that begins with this one.
    pub(super) phrase: u8,
}

impl Lexeme {
    /// False for an entry that only says that a phrase begins here.
    pub(super) fn is_something(&self) -> bool {
        self.meaning.is_some()
            || self.filler
            || self.negates
            || self.question > 0
            || self.modifier > 0
            || !self.poles.is_empty()
    }
}

/// How a name is recognised.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Name {
    /// However it is written.
    Any,
    /// Only with a capital: "Apple", "Turkey", "US".
    Capital,
}

/// The longest phrase, in words.
const MAX_PHRASE: usize = 6;

#[derive(Clone, Default)]
pub(super) struct PassThrough(u64);

impl Hasher for PassThrough {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        self.0 = words::hash(bytes);
    }
    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }
}

type Table = HashMap<u64, Lexeme, BuildHasherDefault<PassThrough>>;

/// The tables.
#[derive(Default)]
pub(super) struct Lexicon {
    /// By the hash of the form in lower case.
    surfaces: Table,
    /// By the hash of the stem; phrases by the chained hashes of their words' stems.
    stems: Table,
    /// Lines that could not be read. Always empty, see the test.
    pub(super) faults: Vec<String>,
}

/// The lexicon of the program.
pub(super) static LEXICON: LazyLock<Lexicon> = LazyLock::new(Lexicon::read);

/// Languages with lists, in the order of their bits.
pub(super) const LANGUAGES: [&str; 8] = ["en", "de", "fr", "es", "it", "pt", "nl", "pl"];

impl Lexicon {
    /// What is known of a form.
    pub(super) fn surface(&self, hash: u64) -> Option<&Lexeme> {
        self.surfaces.get(&hash)
    }

    /// What is known of a stem.
    pub(super) fn stem(&self, hash: u64) -> Option<&Lexeme> {
        self.stems.get(&hash)
    }

    fn read() -> Self {
        let mut lexicon = Self::default();
        for (text, entry) in [
            (include_str!("lists/stopwords.txt"), Self::stop as fn(&mut Self, &str, &str) -> bool),
            (include_str!("lists/synonyms.txt"), Self::synonyms),
            (include_str!("lists/words.txt"), Self::class),
            (include_str!("lists/entities.txt"), Self::names),
            (include_str!("lists/measures.txt"), Self::measure),
        ] {
            for (section, line) in lines(text) {
                if !entry(&mut lexicon, section, line) {
                    lexicon.faults.push(format!("{section}: {line}"));
                }
            }
        }
        for (axis, (_, line)) in lines(include_str!("lists/antonyms.txt")).enumerate() {
            if !lexicon.axis(axis as u16, line) {
                lexicon.faults.push(line.to_owned());
            }
        }
        lexicon
    }

    /// The entries of `words`: one by its form, a phrase by its stems.
    fn entry(&mut self, words: &str) -> &mut Lexeme {
        let mut lower = String::new();
        words::lower_into(words, &mut lower);
        if lower.contains(' ') {
            self.phrase(&lower)
        } else {
            self.surfaces.entry(words::hash(lower.as_bytes())).or_default()
        }
    }

    fn by_stem(&mut self, word: &str) -> &mut Lexeme {
        if word.contains(' ') {
            return self.phrase(word);
        }
        self.stems.entry(words::stem_hash(word)).or_default()
    }

    fn phrase(&mut self, words: &str) -> &mut Lexeme {
        let stems: Vec<u64> = words.split(' ').take(MAX_PHRASE).map(words::stem_hash).collect();
        let first = self.stems.entry(stems[0]).or_default();
        first.phrase = first.phrase.max(stems.len() as u8);
        self.stems.entry(phrase_key(&stems)).or_default()
    }

    /// `en: the of and …`
    fn stop(&mut self, section: &str, line: &str) -> bool {
        let Some(bit) = LANGUAGES.iter().position(|l| *l == section) else { return false };
        for word in line.split_whitespace() {
            self.entry(word).stops |= 1 << bit;
        }
        true
    }

    /// Sections of plain words or phrases (with `_` for spaces), each of one class.
    fn class(&mut self, section: &str, line: &str) -> bool {
        let (class, number) = section.split_once(' ').unwrap_or((section, "0"));
        let Ok(number) = number.parse::<u8>() else { return false };
        for word in line.split_whitespace().map(|w| w.replace('_', " ")) {
            if class == "prefixed" {
                let Some((plain, negative)) = word.split_once('/') else { return false };
                let meaning = self.by_stem(plain).meaning.unwrap_or(short_of(plain));
                let entry = self.by_stem(negative);
                (entry.meaning, entry.negated) = (Some(meaning), true);
                continue;
            }
            let entry = self.entry(&word);
            match class {
                "filler" => entry.filler = true,
                "negates" => entry.negates = true,
                "common" => entry.common = true,
                "question" => entry.question = number,
                "connector" => entry.connector = number,
                "determiner" => entry.determiner = true,
                "modifier" => entry.modifier |= 1 << number,
                "count" => entry.count = Some(Count::Add(u32::from(number))),
                "ordinal" => entry.count = Some(Count::Ordinal(u32::from(number))),
                "scale" => entry.count = Some(Count::Scale(10f64.powi(i32::from(number)))),
                _ => return false,
            }
        }
        true
    }

    /// `name = other name; name; …` A name with a capital is a name only where it is written with one.
    fn names(&mut self, _kind: &str, line: &str) -> bool {
        for names in line.split(';').map(str::trim).filter(|n| !n.is_empty()) {
            let canonical = names.split('=').next().unwrap_or(names).trim();
            let meaning = short_of(&canonical.to_lowercase());
            for name in names.split('=').map(str::trim) {
                if name.is_empty() {
                    return false;
                }
                let entry = self.entry(name);
                entry.name = Some(if name.contains(char::is_uppercase) { Name::Capital } else { Name::Any });
                entry.meaning = Some(meaning);
            }
        }
        true
    }

    /// `word word_word word`: all of them count as the first.
    fn synonyms(&mut self, _: &str, line: &str) -> bool {
        let mut words = line.split_whitespace().map(|w| w.replace('_', " "));
        let Some(first) = words.next() else { return false };
        let meaning = short_of(&first);
        self.by_stem(&first).meaning = Some(meaning);
        words.for_each(|word| self.by_stem(&word).meaning = Some(meaning));
        true
    }

    /// Units (`unit 7: km kilometer`) and words of the calendar (`date 3: monday mon`).
    fn measure(&mut self, section: &str, line: &str) -> bool {
        let Some((class, number)) = section.split_once(' ') else { return false };
        let Ok(number) = number.parse::<u16>() else { return false };
        let mut meaning = None;
        for word in line.split_whitespace().map(|w| w.replace('_', " ")) {
            let hash = *meaning.get_or_insert(short_of(&word));
            let entry = self.entry(&word);
            entry.meaning.get_or_insert(hash);
            entry.weak = matches!(class, "weak" | "maybe");
            match (class, u8::try_from(number)) {
                ("unit" | "weak", Ok(unit)) => entry.unit = Some(unit),
                ("date" | "maybe", _) => entry.date = Some(number),
                _ => return false,
            }
        }
        true
    }

    /// `raise increase | lower decrease`
    fn axis(&mut self, axis: u16, line: &str) -> bool {
        let Some((left, right)) = line.split_once('|') else { return false };
        for (side, words) in [(0, left), (1, right)] {
            for word in words.split_whitespace() {
                let entry = self.by_stem(&word.replace('_', " "));
                // "Incorrect" is "correct" negated already.
                let poles = &mut entry.poles;
                if !entry.negated && !poles.contains(&(axis * 2 + side)) {
                    poles.push(axis * 2 + side);
                }
            }
        }
        !left.trim().is_empty() && !right.trim().is_empty()
    }
}

/// The hash a list's word counts as: of its stem, or of its words' stems.
fn short_of(word: &str) -> u32 {
    let stems: Vec<u64> = word.split(' ').map(words::stem_hash).collect();
    if let [one] = stems[..] { words::short(one) } else { words::short(phrase_key(&stems)) }
}

/// The key of a phrase with these stems.
pub(super) fn phrase_key(stems: &[u64]) -> u64 {
    stems.iter().fold(3, |key, stem| words::chain(key, *stem))
}

/// The lines of a list with the section each belongs to: `# …` is a remark, `[name]` begins a section, `name: …` is a line
/// with a section of its own.
fn lines(text: &'static str) -> impl Iterator<Item = (&'static str, &'static str)> {
    let mut section = "";
    text.lines().filter_map(move |line| {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            return None;
        }
        if let Some(name) = line.strip_prefix('[').and_then(|l| l.strip_suffix(']')) {
            section = name;
            return None;
        }
        Some(match line.split_once(": ") {
            Some((name, rest)) => (name, rest),
            None => (section, line),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_the_lists_is_understood() {
        assert_eq!(LEXICON.faults, Vec::<String>::new());
    }

    #[test]
    fn the_lists_are_as_long_as_they_should_be() {
        let names: usize = lines(include_str!("lists/entities.txt")).map(|(_, l)| l.split(';').count()).sum();
        let axes = lines(include_str!("lists/antonyms.txt")).count();
        assert!(names >= 500, "{names} names");
        assert!(axes >= 250, "{axes} pairs of antonyms");
    }
}
