//! How two profiles differ, as numbers of fixed range.

use super::direction::{contains_word, opposite};
use super::language::UNKNOWN;
use super::profile::{LISTS, Profile};
use super::words::{MARKS, NEGATED};

/// Declares [`Differences`] with its names and its array, so that the three cannot drift apart.
macro_rules! differences {
    ($($(#[$doc:meta])+ $name:ident,)+) => {
        /// How two prompts differ: `a` the request, `b` the remembered prompt; all but the two containments are symmetric.
        /// Each field is 0, 1 or a share between them unless it says otherwise. 0 is no sign of difference, except for the
        /// three overlaps (`jaccard`, `containment_a`, `containment_b`), where 1 is.
        #[derive(Clone, Copy, Debug, Default, PartialEq)]
        pub struct Differences {
            $($(#[$doc])+ pub $name: f32,)+
        }

        impl Differences {
            /// The names of the fields, in the order of [`Differences::to_array`].
            pub const NAMES: &[&str] = &[$(stringify!($name)),+];
            /// How many fields there are.
            pub const COUNT: usize = Self::NAMES.len();

            /// The fields as an array, for a model.
            pub fn to_array(self) -> [f32; Self::COUNT] {
                [$(self.$name),+]
            }
        }
    };
}

differences! {
    /// Each has a number that the other lacks.
    number_conflict,
    /// The share of all numbers that only one has.
    number_difference,
    /// The same number has different units, or each has a unit that the other lacks.
    unit_conflict,
    /// The share of all units that only one has.
    unit_difference,
    /// Each has a date or relative time that the other lacks.
    date_conflict,
    /// The share of all dates that only one has.
    date_difference,
    /// One negates an odd number of times, the other an even one.
    negation,
    /// As `negation`, and it falls on a word that both have: one says of it what the other denies.
    polarity,
    /// One has a word, the other its opposite.
    antonym,
    /// Each has a name that the other doesn't mention.
    entity_conflict,
    /// The share of all names that only one mentions.
    entity_difference,
    /// Each quotes a text that the other doesn't.
    quoted,
    /// Each has code, an address, a path or a placeholder that the other lacks.
    code,
    /// The share of all literals, quoted or code, that only one has.
    literal_difference,
    /// The same content words in another order.
    reordered,
    /// They go opposite ways: "from A to B" and "from B to A", "A before B" and "B before A".
    direction,
    /// They are in different languages, both known.
    language,
    /// They ask different questions: who, when, how many.
    question_word,
    /// A word that restricts what is asked ("only", "without", "at least") is in one only.
    modifier,
    /// They are equal but for one place in the middle or at an end, where each has a word or two of its own.
    slot,
    /// Content words that both have, as a share of all.
    jaccard,
    /// Content words of `a` that `b` has, as a share of `a`'s.
    containment_a,
    /// Content words of `b` that `a` has, as a share of `b`'s.
    containment_b,
    /// Content words that only one has: their number, at most 8, divided by 8.
    differing_words,
    /// The natural logarithm of the ratio of their lengths in words, without sign, at most 3.
    length_log_ratio,
    /// One has fewer than three content words, so that much is left to the context.
    few_words,
}

/// What two sorted lists have in common.
#[derive(Clone, Copy, Default)]
struct Overlap {
    both: usize,
    only_a: usize,
    only_b: usize,
}

impl Overlap {
    fn of<T: Ord + Copy>(a: &[T], b: &[T]) -> Self {
        let (mut i, mut j, mut both) = (0, 0, 0);
        while let (Some(x), Some(y)) = (a.get(i), b.get(j)) {
            i += usize::from(x <= y);
            j += usize::from(y <= x);
            both += usize::from(x == y);
        }
        Self { both, only_a: a.len() - both, only_b: b.len() - both }
    }

    fn conflict(self) -> f32 {
        flag(self.only_a > 0 && self.only_b > 0)
    }

    fn difference(self) -> f32 {
        share(self.only_a + self.only_b, self.both + self.only_a + self.only_b)
    }
}

fn flag(condition: bool) -> f32 {
    f32::from(u8::from(condition))
}

/// `part` of `all`, 0 where there is nothing.
fn share(part: usize, all: usize) -> f32 {
    if all == 0 { 0.0 } else { part as f32 / all as f32 }
}

impl Differences {
    /// Compares the request `a` with the remembered prompt `b`.
    pub fn between(a: &Profile, b: &Profile) -> Self {
        let (words, polarity) = content(&a.sorted, &b.sorted);
        let numbers = numbers(&a.numbers, &b.numbers);
        let units = Overlap::of(&a.units, &b.units);
        let dates = Overlap::of(&a.dates, &b.dates);
        let names = names(a, b);
        let literals = Overlap::of(&a.literals, &b.literals);
        let mut out = Self {
            number_conflict: flag(numbers.conflict() > 0.0 || other_count(&a.numbers, &b.numbers)),
            number_difference: numbers.difference(),
            unit_conflict: flag(units.conflict() > 0.0 || other_unit(&a.numbers, &b.numbers)),
            unit_difference: units.difference(),
            date_conflict: dates.conflict(),
            date_difference: dates.difference(),
            negation: flag(a.negations % 2 != b.negations % 2),
            polarity: flag(polarity && a.negations % 2 != b.negations % 2),
            antonym: flag(antonym(&a.poles, &b.poles)),
            entity_conflict: names.conflict(),
            entity_difference: names.difference(),
            quoted: literal_conflict(&a.literals, &b.literals, 1),
            code: literal_conflict(&a.literals, &b.literals, 0),
            literal_difference: literals.difference(),
            direction: flag(opposite(&a.directed, &b.directed)),
            language: flag(a.language != b.language && a.language != UNKNOWN && b.language != UNKNOWN),
            question_word: flag(a.question != b.question && a.question > 0 && b.question > 0),
            modifier: flag((a.modifiers ^ b.modifiers) & !LISTS > 0),
            slot: flag(one_slot(&a.words, &b.words)),
            few_words: flag(a.words.len() < 3 || b.words.len() < 3),
            ..Self::default()
        };
        out.overlap(words, a, b);
        out
    }

    fn overlap(&mut self, words: Overlap, a: &Profile, b: &Profile) {
        let Overlap { both, only_a, only_b } = words;
        let nothing = both + only_a + only_b == 0;
        let same = flag(a.whole == b.whole);
        self.jaccard = if nothing { same } else { share(both, both + only_a + only_b) };
        self.containment_a = if both + only_a == 0 { same } else { share(both, both + only_a) };
        self.containment_b = if both + only_b == 0 { same } else { share(both, both + only_b) };
        self.differing_words = (only_a + only_b).min(8) as f32 / 8.0;
        let (longer, shorter) = (a.length.max(b.length), a.length.min(b.length));
        self.length_log_ratio = ((f32::from(longer) + 1.0) / (f32::from(shorter) + 1.0)).ln().min(3.0);
        let other_order = || a.words.iter().zip(&b.words).any(|(x, y)| x & !MARKS != y & !MARKS);
        let reordered = only_a + only_b == 0 && a.words.len() == b.words.len() && other_order();
        self.reordered = flag(reordered);
        // Who does what to whom: names that changed places, and nothing else did, where nothing joins them as equals.
        let joined = (a.modifiers | b.modifiers) & LISTS > 0;
        if reordered
            && !joined
            && a.names.len() >= 2
            && part(a, true).ne(part(b, true))
            && part(a, false).eq(part(b, false))
        {
            self.direction = 1.0;
        }
    }

    /// True if the two prompts contradict each other in something that a right answer hardly survives: the hard vetoes of
    /// strict mode.
    pub fn contradicts(&self) -> bool {
        [
            self.polarity,
            self.number_conflict,
            self.unit_conflict,
            self.date_conflict,
            self.antonym,
            self.entity_conflict,
            self.direction,
            self.quoted,
            self.code,
        ]
        .iter()
        .any(|sign| *sign > 0.0)
    }
}

/// The names of a prompt in their order, or its other words.
fn part(profile: &Profile, names: bool) -> impl Iterator<Item = u32> {
    let is_name = |word: &u32| profile.names.binary_search(word).is_ok();
    profile.words.iter().map(|w| w & !MARKS).filter(move |w| is_name(w) == names)
}

/// Content words without regard to negation, and whether one that both have is negated in one only.
fn content(a: &[u32], b: &[u32]) -> (Overlap, bool) {
    let (mut i, mut j) = (0, 0);
    let mut overlap = Overlap::default();
    let mut polarity = false;
    while i < a.len() || j < b.len() {
        let word = |list: &[u32], at: usize| list.get(at).map_or(u64::MAX, |w| u64::from(w & !MARKS));
        let next = word(a, i).min(word(b, j));
        // The ways the word stands: plain (1), negated (2).
        let mut stand = [0u8; 2];
        for (list, at, seen) in [(a, &mut i, 0), (b, &mut j, 1)] {
            while word(list, *at) == next {
                stand[seen] |= if list[*at] & NEGATED == 0 { 1 } else { 2 };
                *at += 1;
            }
        }
        match stand {
            [0, _] => overlap.only_b += 1,
            [_, 0] => overlap.only_a += 1,
            [x, y] => {
                overlap.both += 1;
                polarity |= x & y == 0;
            }
        }
    }
    (overlap, polarity)
}

/// Numbers by their values.
fn numbers(a: &[u64], b: &[u64]) -> Overlap {
    let has = |list: &[u64], n: u64| list.iter().any(|m| m >> 8 == n >> 8);
    let only_a = a.iter().filter(|n| !has(b, **n)).count();
    let only_b = b.iter().filter(|n| !has(a, **n)).count();
    Overlap { both: a.len() - only_a, only_a, only_b }
}

/// True if a number that both have counts different things.
fn other_unit(a: &[u64], b: &[u64]) -> bool {
    let unit = |n: u64| n & 0xff;
    a.iter().any(|n| unit(*n) > 0 && !b.contains(n) && b.iter().any(|m| m >> 8 == n >> 8 && unit(*m) > 0))
}

/// True if each counts the same thing by a number that the other doesn't count it by.
fn other_count(a: &[u64], b: &[u64]) -> bool {
    let lacking = |n: &u64, other: &[u64]| n & 0xff > 0 && !other.contains(n);
    a.iter().filter(|n| lacking(n, b)).any(|n| b.iter().any(|m| m & 0xff == n & 0xff && lacking(m, a)))
}

/// Names: one that the other prompt mentions at all, as a name or as a word, is no difference.
fn names(a: &Profile, b: &Profile) -> Overlap {
    let missing = |names: &[u32], words: &[u32]| names.iter().filter(|n| !contains_word(words, **n)).count();
    let (only_a, only_b) = (missing(&a.names, &b.sorted), missing(&b.names, &a.sorted));
    Overlap { both: (a.names.len() - only_a).max(b.names.len() - only_b), only_a, only_b }
}

/// Literals of one kind by the lowest bit, where each side has one that the other lacks.
fn literal_conflict(a: &[u32], b: &[u32], kind: u32) -> f32 {
    let lacks = |one: &[u32], other: &[u32]| one.iter().any(|l| l & 1 == kind && !other.contains(l));
    flag(lacks(a, b) && lacks(b, a))
}

/// True if one has a side of an axis and the other the opposite side, neither both.
fn antonym(a: &[u16], b: &[u16]) -> bool {
    let has = |list: &[u16], pole: u16| list.binary_search(&pole).is_ok();
    a.iter().any(|pole| {
        let opposite = pole ^ 1;
        has(b, opposite) && !has(a, opposite) && !has(b, *pole)
    })
}

/// True if what the two share at their beginnings and ends leaves one or two words of each, and is two words or more.
fn one_slot(a: &[u32], b: &[u32]) -> bool {
    let start = a.iter().zip(b).take_while(|(x, y)| x == y).count();
    let end = a[start..].iter().rev().zip(b[start..].iter().rev()).take_while(|(x, y)| x == y).count();
    let left = |words: &[u32]| (1..=2).contains(&(words.len() - start - end));
    start + end >= 2 && left(a) && left(b)
}
