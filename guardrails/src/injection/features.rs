//! All that the layers say of one text, as numbers that one logistic regression weighs.

use super::decoded;
use super::documents;
use super::grammar::{Grammar, Phrases};
use super::ngrams::{Grams, Lexical};
use super::patterns::FAMILIES;
use super::reading::{Reading, Unusual};
use super::relative::Relation;
use super::shapes;
use super::units::Units;

/// How many features there are.
pub(crate) const COUNT: usize = FAMILIES.len() + OTHERS.len();

/// A text is judged by windows of this many words, too.
const WINDOW: usize = 48;
/// Log odds of the lexical models are cut off here: no single layer decides alone.
const MOST_ODDS: f32 = 6.0;

/// The features that are no family of phrases; most are signals by these names.
pub(super) const OTHERS: [&str; 22] = [
    "wording",
    "wording-of-a-part",
    "foreign-sentence",
    "second-foreign-sentence",
    "several-families",
    "invisible-characters",
    "tag-characters",
    "bidi-controls",
    "imitated-letters",
    "stacked-marks",
    "encoded",
    "odd-suffix",
    "repetition",
    "hidden-text",
    "data-carrying-link",
    "address-to-send-to",
    "asks-for-the-secret",
    "asks-about-the-person",
    "asks-for-the-forbidden",
    "off-the-allowed-topic",
    "meaning",
    "like-a-known-attack",
];

/// Where features stand that others refer to.
pub(crate) mod at {
    use super::FAMILIES;
    pub(crate) const WORDING: usize = FAMILIES.len();
    pub(crate) const PART: usize = FAMILIES.len() + 1;
    pub(crate) const UNIT: usize = FAMILIES.len() + 2;
    pub(crate) const SECOND_UNIT: usize = FAMILIES.len() + 3;
    pub(crate) const SEVERAL: usize = FAMILIES.len() + 4;
    pub(crate) const UNUSUAL: usize = FAMILIES.len() + 5;
    pub(crate) const ENCODED: usize = FAMILIES.len() + 10;
    pub(crate) const SUFFIX: usize = FAMILIES.len() + 11;
    pub(crate) const FLOOD: usize = FAMILIES.len() + 12;
    pub(crate) const DOCUMENT: usize = FAMILIES.len() + 13;
    pub(crate) const RELATION: usize = FAMILIES.len() + 16;
    pub(crate) const MEANING: usize = FAMILIES.len() + 20;
    pub(crate) const BANK: usize = FAMILIES.len() + 21;
}

/// The features of one text.
pub(crate) type Features = [f32; COUNT];

/// A feature's name.
pub(crate) fn name(place: usize) -> &'static str {
    FAMILIES.get(place).copied().unwrap_or_else(|| OTHERS[place - FAMILIES.len()])
}

/// A text read, before any model has seen it.
pub(crate) struct Seen {
    /// The text in small letters.
    pub(crate) text: String,
    pub(crate) grams: Grams,
    /// How it was encoded, if it was.
    pub(crate) how: Option<&'static str>,
    phrases: Phrases,
    unusual: Unusual,
    suffix: f32,
    flood: f32,
}

impl Seen {
    /// Reads a text and everything that it holds in another form; the text itself comes first.
    pub(crate) fn all(grammar: &Grammar, original: &str) -> Vec<Seen> {
        let mut seen = vec![Seen::new(grammar, original, None)];
        for view in decoded::decoded(original) {
            seen.push(Seen::new(grammar, &view.text, Some(view.how)));
        }
        let [rotated, mirrored, reversed] = seen[0].phrases.disguised;
        let plain = &seen[0].text;
        let mut disguised = Vec::new();
        if rotated >= 2 {
            disguised.push(("rotated-letters", decoded::rotated(plain)));
        }
        if mirrored >= 2 {
            disguised.push(("mirrored-alphabet", decoded::mirrored(plain)));
        }
        if reversed >= 2 {
            disguised.push(("reversed-text", plain.chars().rev().collect()));
        }
        let read = disguised.into_iter().filter(|(_, text)| decoded::has_words(text));
        let read: Vec<Seen> = read.map(|(how, text)| Seen::new(grammar, &text, Some(how))).collect();
        seen.extend(read);
        seen
    }

    fn new(grammar: &Grammar, original: &str, how: Option<&'static str>) -> Seen {
        let Reading { text, unusual } = Reading::new(original);
        let phrases = grammar.read(&text);
        let grams = Grams::new(&text);
        let (suffix, flood) = (shapes::suffix(original), shapes::flood(&text));
        Seen { text, grams, how, phrases, unusual, suffix, flood }
    }

    /// Whether characters hide in it or stand for others.
    pub(crate) fn is_disguised(&self) -> bool {
        let Unusual { invisible, tags, bidi, imitating, stacked } = self.unusual;
        invisible + tags + bidi + imitating + stacked > 0
    }

    /// What needs no trained model. `is_data` says whether it comes from where nobody may give instructions.
    pub(crate) fn features(&self, is_data: bool, relation: Relation) -> Features {
        let mut features = [0.0; COUNT];
        features[..FAMILIES.len()].copy_from_slice(&self.phrases.weights);
        let strong = self.phrases.weights.iter().filter(|weight| **weight >= 0.5).count();
        features[at::SEVERAL] = (strong.saturating_sub(1) as f32 / 3.0).min(1.0);
        let Unusual { invisible, tags, bidi, imitating, stacked } = self.unusual;
        for (place, count) in [invisible, tags, bidi, imitating, stacked].into_iter().enumerate() {
            features[at::UNUSUAL + place] = (count as f32 / 4.0).min(1.0);
        }
        features[at::ENCODED] = f32::from(u8::from(self.how.is_some()));
        features[at::SUFFIX] = self.suffix;
        features[at::FLOOD] = self.flood;
        if is_data {
            let odd = documents::oddities(&self.text);
            for (place, is) in [odd.hidden, odd.carrier, odd.target].into_iter().enumerate() {
                features[at::DOCUMENT + place] = f32::from(u8::from(is));
            }
        }
        let Relation { secret, personal, forbidden, beside, guarded: _ } = relation;
        features[at::RELATION..at::RELATION + 4].copy_from_slice(&[secret, personal, forbidden, beside]);
        features
    }

    /// What the lexical models say, written into `features`.
    pub(crate) fn word(&self, wording: &Lexical, units: Option<&Lexical>, features: &mut Features) {
        let (whole, part) = wording.read(&self.grams, WINDOW);
        features[at::WORDING] = cut(whole);
        features[at::PART] = cut(part);
        if let Some(units) = units {
            let [first, second] = Units::new(&self.text).most(units, &self.grams);
            features[at::UNIT] = cut(first);
            features[at::SECOND_UNIT] = cut(second);
        }
    }
}

fn cut(odds: f32) -> f32 {
    odds.clamp(-MOST_ODDS, MOST_ODDS) / MOST_ODDS
}
