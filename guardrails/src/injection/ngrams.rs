//! The lexical model: a logistic regression over hashed words, pairs of words and parts of words.

use std::ops::Range;

/// How many weights there are.
pub(crate) const SIZE: usize = 1 << BITS;
const BITS: u32 = 17;
/// Parts of words, with the word's ends marked, have this many bytes.
const SHORTEST_PART: usize = 3;
const LONGEST_PART: usize = 5;
/// Longer words are cut.
const LONGEST_WORD: usize = 40;
/// How many words of a text are read.
pub(crate) const MOST_WORDS: usize = 20_000;

/// The words of a text, each with where its features end.
#[derive(Default)]
pub(crate) struct Grams {
    /// The features of all words in order.
    pub(crate) features: Vec<u32>,
    /// Per word: where in the text it starts, and where its features end.
    pub(crate) words: Vec<(usize, usize)>,
}

impl Grams {
    /// The features of a text in small letters.
    pub(crate) fn new(text: &str) -> Grams {
        let mut grams = Grams::default();
        let bytes = text.as_bytes();
        let is_part = |b: u8| b.is_ascii_alphanumeric() || b >= 0x80 || b == b'\'';
        let (mut at, mut before) = (0, START);
        while at < bytes.len() && grams.words.len() < MOST_WORDS {
            let length = bytes[at..].iter().take_while(|b| is_part(**b)).count();
            if length == 0 {
                // A sign is a word of its own, but for spaces.
                if !bytes[at].is_ascii_whitespace() && bytes[at] != b',' {
                    let word = hash(&bytes[at..=at], SIGN);
                    grams.features.push(place(word));
                    grams.words.push((at, grams.features.len()));
                }
                at += 1;
                continue;
            }
            let word = &bytes[at..at + length.min(LONGEST_WORD)];
            before = grams.push(word, before);
            grams.words.push((at, grams.features.len()));
            at += length;
        }
        grams
    }

    /// The features of the words that start within a span of the text.
    pub(crate) fn within(&self, span: &Range<usize>) -> &[u32] {
        let word = |at: usize| self.words.partition_point(|(start, _)| *start < at);
        let end = |word: usize| word.checked_sub(1).map_or(0, |before| self.words[before].1);
        &self.features[end(word(span.start))..end(word(span.end))]
    }

    /// Adds a word, its pair with the word before, and its parts; gives its hash.
    fn push(&mut self, word: &[u8], before: u32) -> u32 {
        let whole = hash(word, WORD);
        self.features.push(place(whole));
        self.features.push(place(mix(whole.rotate_left(5) ^ before)));
        let mut marked = [b' '; LONGEST_WORD + 2];
        marked[1..=word.len()].copy_from_slice(word);
        let marked = &marked[..word.len() + 2];
        for start in 0..marked.len().saturating_sub(SHORTEST_PART - 1) {
            let mut part = hash(&marked[start..start + SHORTEST_PART - 1], PART);
            for byte in marked[start + SHORTEST_PART - 1..].iter().take(LONGEST_PART - SHORTEST_PART + 1) {
                part = step(part, *byte);
                self.features.push(place(part));
            }
        }
        whole
    }
}

const WORD: u32 = 0x811c_9dc5;
const PART: u32 = 0x9e37_79b9;
const SIGN: u32 = 0x85eb_ca6b;
const START: u32 = 0x27d4_eb2f;

fn step(hash: u32, byte: u8) -> u32 {
    (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
}

fn hash(bytes: &[u8], seed: u32) -> u32 {
    bytes.iter().fold(seed, |hash, byte| step(hash, *byte))
}

fn mix(hash: u32) -> u32 {
    (hash ^ (hash >> 15)).wrapping_mul(0x2c1b_3c6d)
}

fn place(hash: u32) -> u32 {
    mix(hash) >> (32 - BITS)
}

/// A trained model.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Lexical {
    pub(crate) weights: Vec<i8>,
    /// What a weight of 1 stands for.
    pub(crate) scale: f32,
    pub(crate) bias: f32,
}

impl Lexical {
    /// The log odds of a whole text, and of its most suspicious window.
    pub(crate) fn read(&self, grams: &Grams, window: usize) -> (f32, f32) {
        let mut sums = Vec::with_capacity(grams.words.len() + 1);
        sums.push(0i64);
        let (mut sum, mut from) = (0i64, 0);
        for &(_, end) in &grams.words {
            sum +=
                grams.features[from..end].iter().map(|f| i64::from(self.weights[*f as usize])).sum::<i64>();
            sums.push(sum);
            from = end;
        }
        let end = |word: usize| if word == 0 { 0 } else { grams.words[word - 1].1 };
        let odds = |from: usize, to: usize| {
            let count = end(to) - end(from);
            self.odds(sums[to] - sums[from], count)
        };
        let words = grams.words.len();
        let whole = odds(0, words);
        let stride = (window / 4).max(1);
        let starts = (0..words.saturating_sub(window)).step_by(stride).chain(words.checked_sub(window));
        let most = starts.map(|start| odds(start, start + window)).fold(whole, f32::max);
        (whole, most)
    }

    /// The log odds of features, and of marks that count `times` times each.
    pub(crate) fn of_features(
        &self,
        features: &[u32],
        marks: impl Iterator<Item = u32>,
        times: usize,
    ) -> f32 {
        let weight = |feature: u32| i64::from(self.weights[feature as usize]);
        let (mut sum, mut count) = (features.iter().map(|f| weight(*f)).sum::<i64>(), features.len());
        for mark in marks {
            sum += weight(mark) * times as i64;
            count += times;
        }
        self.odds(sum, count)
    }

    fn odds(&self, sum: i64, count: usize) -> f32 {
        self.bias + self.scale * sum as f32 / (count.max(1) as f32).sqrt()
    }
}
