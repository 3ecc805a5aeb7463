//! A prompt's profile: what it says, as hashes.

use serde::{Deserialize, Serialize};

use super::direction::Direction;
use super::lexicon::{LEXICON, Lexeme, phrase_key};
use super::literals::Literal;
use super::measures::{self, After};
use super::negation::Negation;
use super::numbers::{self, Count, Written};
use super::tokens::{self, Kind, Token};
use super::{entities, language, words};

/// What a prompt says, reduced to what tells it from another: made once per prompt, comparable without the text.
///
/// It holds hashes and codes only, about 200 bytes for a short prompt. The hashes depend on nothing but the text and this
/// module's lists, so a profile can be kept on disk; a later version with other lists may see small differences.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Profile {
    /// Content words in their order; the lowest bit marks a negated one.
    pub(super) words: Box<[u32]>,
    /// The same, sorted, each once.
    pub(super) sorted: Box<[u32]>,
    /// Numbers with their units (`measures::measured`), sorted.
    pub(super) numbers: Box<[u64]>,
    /// Units and dates, sorted.
    pub(super) units: Box<[u8]>,
    pub(super) dates: Box<[u16]>,
    /// Names: a part of `words`, sorted.
    pub(super) names: Box<[u32]>,
    /// Quoted texts (lowest bit 1) and code, sorted.
    pub(super) literals: Box<[u32]>,
    /// Sides of antonym axes, sorted.
    pub(super) poles: Box<[u16]>,
    /// Words after prepositions, sorted (`direction`).
    pub(super) directed: Box<[u32]>,
    /// All tokens in their order, function words too.
    pub(super) whole: u32,
    /// Restricting words, a bit for each kind.
    pub(super) modifiers: u32,
    /// How many words and numbers there are, function words too.
    pub(super) length: u16,
    pub(super) negations: u8,
    pub(super) question: u8,
    pub(super) language: u8,
}

impl Profile {
    /// The profile of `text`, which may be anything; prompts of many thousand words are read in part and kept apart by a
    /// hash of the rest.
    pub fn of(text: &str) -> Self {
        let cut = tokens::cut(text);
        let known: Vec<Option<&Lexeme>> = cut.tokens.iter().map(|t| LEXICON.surface(t.surface)).collect();
        let mut votes = language::Votes::default();
        known.iter().flatten().for_each(|lexeme| votes.count(lexeme.stops));
        let han = cut.tokens.iter().any(|t| t.kind == Kind::Bigram);
        let language = votes.language(cut.scripts, han);
        let mut builder = Builder {
            tokens: &cut.tokens,
            known: &known,
            stop: language::stop_bit(language),
            shouted: cut.shouted,
            ..Builder::default()
        };
        let mut at = 0;
        while at < cut.tokens.len() {
            at += builder.read(at);
        }
        if let Some(rest) = cut.rest {
            builder.literals.push(words::short(rest));
        }
        builder.finish(language)
    }

    /// The content words, sorted, each once, without regard to negation.
    pub(crate) fn content(&self) -> impl Iterator<Item = u32> + '_ {
        self.sorted.iter().map(|word| word & !words::MARKS)
    }

    /// How many words and numbers there are, function words too.
    pub(crate) fn length(&self) -> usize {
        usize::from(self.length)
    }

    /// The memory it takes, in bytes.
    pub fn bytes(&self) -> usize {
        size_of::<Self>()
            + size_of_val(&*self.words)
            + size_of_val(&*self.sorted)
            + size_of_val(&*self.numbers)
            + size_of_val(&*self.units)
            + size_of_val(&*self.dates)
            + size_of_val(&*self.names)
            + size_of_val(&*self.literals)
            + size_of_val(&*self.poles)
            + size_of_val(&*self.directed)
    }
}

const NOT: u64 = words::hash(b"not");
const BE: [u64; 4] = [words::hash(b"is"), words::hash(b"are"), words::hash(b"was"), words::hash(b"were")];

/// The modifier bit of words that join things as equals ("and", "between"), whose order says nothing.
pub(super) const LISTS: u32 = 1 << 31;

/// Reads tokens one after the other and collects what they say.
#[derive(Default)]
struct Builder<'t> {
    tokens: &'t [Token],
    known: &'t [Option<&'static Lexeme>],
    /// The bit of the language whose function words are skipped.
    stop: u8,
    shouted: bool,
    words: Vec<u32>,
    numbers: Vec<u64>,
    units: Vec<u8>,
    dates: Vec<u16>,
    names: Vec<u32>,
    literals: Vec<u32>,
    poles: Vec<u16>,
    negation: Negation,
    direction: Direction,
    modifiers: u32,
    question: u8,
}

impl Builder<'_> {
    /// Reads what begins at token `at`; returns how many tokens that was.
    fn read(&mut self, at: usize) -> usize {
        let token = &self.tokens[at];
        if token.after_break {
            self.negation.end_clause();
            self.direction.close();
        }
        match token.kind {
            Kind::Literal(literal) => self.literal(literal),
            Kind::Bigram => self.word(words::short(token.surface), false),
            Kind::Number(_) => return self.number(at).unwrap_or(1),
            Kind::Word { stem } => {
                if let Some(used) = self.phrase(at, stem) {
                    return used;
                }
                if let Some(used) = self.number(at) {
                    if let Some(lexeme) = LEXICON.stem(stem) {
                        // "First" is a number and the opposite of "last".
                        self.poles.extend_from_slice(&lexeme.poles);
                    }
                    return used;
                }
                self.single(at, stem);
            }
        }
        1
    }

    fn literal(&mut self, literal: Literal) {
        self.literals.push(literal.hash | u32::from(literal.quoted));
        if !literal.quoted {
            self.word(literal.hash, false);
        }
    }

    /// Adds a content word.
    fn word(&mut self, hash: u32, negated: bool) {
        let hash = hash & !words::MARKS;
        self.direction.word(hash);
        let mark = if self.negation.falls_on(negated) { words::NEGATED } else { 0 };
        self.words.push(hash | mark);
    }

    /// A number, in digits or words, with its unit.
    fn number(&mut self, at: usize) -> Option<usize> {
        let counts = self.known[at..].iter().map(|known| known.and_then(|l| l.count));
        let (mut number, mut used) = numbers::compose(&self.tokens[at..], counts)?;
        let mut unit = measures::of_sign(number.currency);
        let after = measures::after(self.tokens.get(at + used));
        if self.is_pronoun(at, used, &after) {
            return None;
        }
        match after {
            After::Unit(found) => {
                unit = found;
                used += 1;
            }
            After::HalfDay { afternoon } => {
                number = measures::at_time(number, afternoon);
                used += 1;
            }
            After::Nothing => {}
        }
        self.measured(number, unit);
        Some(used)
    }

    /// "One" is seldom a number: only before a unit or as a part of one. "Second" before a unit of time is none either.
    fn is_pronoun(&self, at: usize, used: usize, after: &After) -> bool {
        let one = self.known[at].is_some_and(|l| l.count == Some(Count::Add(1)));
        used == 1 && one && !matches!(after, After::Unit(_))
    }

    fn measured(&mut self, number: Written, unit: u8) {
        self.numbers.push(measures::measured(number, unit));
        self.word(words::short(number.surface()), false);
        if unit > 0 {
            self.unit(unit, false);
        }
    }

    fn unit(&mut self, unit: u8, negated: bool) {
        let hash = words::short(u64::from(unit).wrapping_mul(0x1_0000_0001));
        self.units.push(unit);
        self.direction.unit(hash, self.words.last());
        self.word(hash, negated);
    }

    /// The longest phrase that begins at `at`, if any.
    fn phrase(&mut self, at: usize, stem: u64) -> Option<usize> {
        let longest = usize::from(LEXICON.stem(stem)?.phrase);
        let mut stems = [0; 8];
        let mut found = None;
        for (i, token) in self.tokens[at..].iter().take(longest).enumerate() {
            let Kind::Word { stem } = token.kind else { break };
            if i > 0 && token.after_break {
                break;
            }
            stems[i] = stem;
            if i > 0
                && let Some(lexeme) = LEXICON.stem(phrase_key(&stems[..=i])).filter(|l| l.is_something())
            {
                found = Some((i + 1, lexeme, phrase_key(&stems[..=i])));
            }
        }
        let (used, lexeme, key) = found?;
        let capital = self.tokens[at].shape.capital && !self.shouted;
        if lexeme.name == Some(super::lexicon::Name::Capital) && !capital {
            return None;
        }
        self.apply(lexeme, at);
        let hash = lexeme.meaning.unwrap_or(words::short(key));
        if lexeme.name.is_some() {
            self.names.push(hash & !words::MARKS);
        }
        if let Some(date) = lexeme.date {
            self.dates.push(date);
        }
        let content = !lexeme.filler && !lexeme.negates && lexeme.question == 0;
        if content {
            self.word(hash, lexeme.negated);
        }
        Some(used)
    }

    /// What any word or phrase may do.
    fn apply(&mut self, lexeme: &Lexeme, at: usize) {
        if lexeme.negates {
            self.negation.negate();
        }
        self.modifiers |= lexeme.modifier;
        self.poles.extend_from_slice(&lexeme.poles);
        if !lexeme.poles.is_empty() && self.denied(at) {
            // "Not right" is as much as "wrong": it opposes neither.
            self.poles.extend(lexeme.poles.iter().map(|pole| pole ^ 1));
        }
        if self.question == 0 {
            self.question = lexeme.question;
        }
    }

    /// True if "not" stands directly before.
    fn denied(&self, at: usize) -> bool {
        let Some(before) = at.checked_sub(1).map(|i| &self.tokens[i]) else { return false };
        before.surface == NOT || before.shape.negated && BE.contains(&before.surface)
    }

    /// A word by itself.
    fn single(&mut self, at: usize, stem: u64) {
        let token = &self.tokens[at];
        let (surface, stemmed) = (self.known[at], LEXICON.stem(stem));
        if token.shape.negated {
            self.negation.negate();
        }
        let mut negated = false;
        for lexeme in [surface, stemmed].into_iter().flatten() {
            if lexeme.filler {
                return;
            }
            self.apply(lexeme, at);
            negated |= lexeme.negated;
            if lexeme.connector > 0 {
                self.direction.open(lexeme.connector, &self.words);
            }
        }
        let stop = surface.is_some_and(|l| l.stops & self.stop != 0);
        let function = stop || surface.is_some_and(|l| l.negates || l.connector > 0);
        let meaning = [surface, stemmed].into_iter().flatten().find_map(|l| l.meaning);
        let hash = meaning.unwrap_or(words::short(stem)) & !words::MARKS;
        if let Some(known) = surface {
            if let Some(unit) = known.unit.filter(|_| !known.weak) {
                return self.unit(unit, negated);
            }
            let beside = |t: Option<&Token>| t.is_some_and(|t| matches!(t.kind, Kind::Number(_)));
            let number = beside(self.tokens.get(at + 1)) || at > 0 && beside(self.tokens.get(at - 1));
            if let Some(date) = measures::date(token, known, number) {
                self.dates.push(date);
                return self.word(hash, negated);
            }
        }
        if entities::is_name(token, surface, function, self.shouted, self.tokens.get(at + 1)) {
            self.names.push(hash);
            return self.word(hash, negated);
        }
        if function {
            if !surface.is_some_and(|l| l.determiner || l.connector > 0) {
                self.direction.close();
            }
            return;
        }
        self.word(hash, negated);
    }

    fn finish(self, language: u8) -> Profile {
        let whole = self.tokens.iter().fold(5, |hash, token| words::chain(hash, token.surface));
        let sorted = self.words.clone();
        Profile {
            words: self.words.into(),
            sorted: in_order(sorted),
            numbers: in_order(self.numbers),
            units: in_order(self.units),
            dates: in_order(self.dates),
            names: in_order(self.names),
            literals: in_order(self.literals),
            poles: in_order(self.poles),
            directed: in_order(self.direction.directed),
            whole: words::short(whole),
            modifiers: self.modifiers,
            length: u16::try_from(self.tokens.len()).unwrap_or(u16::MAX),
            negations: u8::try_from(self.negation.count).unwrap_or(u8::MAX),
            question: self.question,
            language,
        }
    }
}

/// Sorted, each once.
fn in_order<T: Ord>(mut list: Vec<T>) -> Box<[T]> {
    list.sort_unstable();
    list.dedup();
    list.into()
}
