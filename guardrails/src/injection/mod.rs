//! Attempts to override what a model was told: prompt injection and jailbreaks, in one text and the channel it came by.
//!
//! Layers read the text and everything it holds in another form: characters that hide or imitate, a phrase grammar, odd
//! suffixes, a lexical model, the sentences of documents, the text against its system prompt and, where there is a
//! vector, its meaning. One logistic regression per kind of channel weighs them into a probability.

mod bank;
mod decoded;
mod documents;
mod exact;
mod features;
pub mod fit;
mod grammar;
mod imitation;
mod known;
mod lexicon;
mod ngrams;
mod patterns;
mod reading;
mod relative;
mod shapes;
mod units;
mod weights;

pub use bank::{Bank, least_similarity};
pub use known::{KnownTexts, words};

use crate::channel::Channel;
use features::{COUNT, Features, Seen, at};
use grammar::Grammar;
use reading::Reading;
use relative::{Guarded, Relation};
use std::fmt;
use std::sync::{Arc, LazyLock};
use weights::{Stack, Weights};

/// A system prompt, read once for all the texts that meet it.
pub struct System(Guarded);

impl System {
    /// Reads a prompt. Takes time linear in it.
    pub fn read(prompt: &str) -> System {
        System(Guarded::new(&Reading::new(prompt).text, prompt))
    }
}

impl fmt::Debug for System {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("System").finish_non_exhaustive()
    }
}

/// One text of a request, and where it stands.
#[derive(Clone, Copy, Debug, Default)]
pub struct Segment<'t> {
    /// What is judged.
    pub text: &'t str,
    /// Where it comes from: the same sentence is harmless from a user and an attack in a document.
    pub channel: Channel,
    /// The system prompt that it meets; attacks are also judged against what that keeps back.
    pub system: Option<&'t System>,
    /// The text's vector, where one is at hand, of the model that [`Detector::model`] names.
    pub vector: Option<&'t [f32]>,
}

/// What the detector says of a segment.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// How probably it is an attack, 0 to 1.
    pub score: f32,
    /// Whether the score reaches the channel's threshold for telling somebody.
    pub flagged: bool,
    /// Whether it reaches the one for refusing the request.
    pub blocked: bool,
    /// The names of what was seen, what weighs most first.
    pub signals: Vec<&'static str>,
}

/// Reads texts and judges them. Compiling takes milliseconds; [`Detector::shared`] is compiled once.
pub struct Detector {
    grammar: Grammar,
    weights: Weights,
    bank: Bank,
}

/// What `sluice eval fit-injection` wrote.
static SHIPPED: &[u8] = include_bytes!("../../weights/injection.bin");

/// Signals that weigh less are not told.
const LEAST_SIGNAL: f32 = 0.25;

impl Detector {
    /// The detector with the weights that are shipped.
    pub fn shared() -> Arc<Detector> {
        static DETECTOR: LazyLock<Arc<Detector>> = LazyLock::new(|| {
            // A test reads them.
            Arc::new(Detector::with(SHIPPED).expect("the shipped weights are whole"))
        });
        DETECTOR.clone()
    }

    /// A detector with other weights.
    ///
    /// # Errors
    /// Why these are none.
    pub fn with(weights: &[u8]) -> Result<Detector, String> {
        let weights = Weights::from_bytes(weights)?;
        let bank = Bank::new(weights.meaning.as_ref().map(|m| m.bank.clone()).unwrap_or_default());
        Ok(Detector { grammar: Grammar::new(), weights, bank })
    }

    /// The embedding model whose vectors it was trained on, if on any.
    pub fn model(&self) -> Option<&str> {
        self.weights.meaning.as_ref().map(|meaning| meaning.model.as_str())
    }

    /// The known attacks; an operator adds to them.
    pub fn bank(&self) -> &Bank {
        &self.bank
    }

    /// Judges a segment. Takes time linear in the text.
    pub fn judge(&self, segment: &Segment<'_>) -> Verdict {
        let is_data = is_data(segment.channel);
        let relation = relation(segment);
        // What documents and tools say was never judged by its vector.
        let meaning = segment.vector.filter(|_| !is_data).and_then(|vector| self.meaning(vector));
        let stack = self.stack(kind(segment.channel, relation), meaning.is_some());
        let mut best: Option<(f32, Features, Option<&'static str>)> = None;
        for (place, seen) in Seen::all(&self.grammar, segment.text).iter().enumerate() {
            let mut features = seen.features(is_data, relation);
            seen.word(&self.weights.wording, is_data.then_some(&self.weights.units), &mut features);
            // The vector is the text's own, not that of what it holds.
            if let Some((meaning, nearest)) = meaning.filter(|_| place == 0) {
                (features[at::MEANING], features[at::BANK]) = (meaning, nearest);
            }
            let odds = stack.odds(&features);
            if best.as_ref().is_none_or(|(most, ..)| odds > *most) {
                best = Some((odds, features, seen.how));
            }
        }
        let (odds, features, how) = best.unwrap_or((f32::MIN, [0.0; COUNT], None));
        let score = exact::probability(f64::from(odds)) as f32;
        Verdict {
            score,
            flagged: score >= stack.flag,
            blocked: score >= stack.block,
            signals: signals(stack, &features, how),
        }
    }

    fn stack(&self, kind: usize, has_vector: bool) -> &Stack {
        match &self.weights.meaning {
            Some(meaning) if has_vector => &meaning.stacks[kind],
            _ => &self.weights.stacks[kind],
        }
    }

    /// What the head says of a vector, and how near the nearest known attack is.
    fn meaning(&self, vector: &[f32]) -> Option<(f32, f32)> {
        let meaning = self.weights.meaning.as_ref().filter(|m| m.head.len() == vector.len())?;
        Some((fit::head_odds(&meaning.head, meaning.bias, vector), self.bank.nearest(vector)))
    }
}

/// Whether nobody who writes there may tell the model what to do.
pub fn is_data(channel: Channel) -> bool {
    matches!(channel, Channel::Tool | Channel::Document)
}

/// Which regression weighs a text.
fn kind(channel: Channel, relation: Relation) -> usize {
    if is_data(channel) { 2 } else { usize::from(relation.guarded) }
}

/// How the text stands to the system prompt, if one is there and the text is no part of it.
fn relation(segment: &Segment<'_>) -> Relation {
    match segment.system {
        Some(system) if segment.channel != Channel::System => {
            system.0.relation(&Reading::new(segment.text).text)
        }
        _ => Relation::default(),
    }
}

impl Stack {
    pub(crate) fn odds(&self, features: &Features) -> f32 {
        self.bias + self.weights.iter().zip(features).map(|(weight, feature)| weight * feature).sum::<f32>()
    }
}

/// What weighs, by how much; how the text was encoded comes first.
fn signals(stack: &Stack, features: &Features, how: Option<&'static str>) -> Vec<&'static str> {
    let mut weighed: Vec<(f32, &'static str)> = (0..COUNT)
        .filter(|place| !matches!(*place, at::SEVERAL | at::ENCODED | at::SECOND_UNIT))
        .map(|place| (stack.weights[place] * features[place], place))
        .filter(|(weight, place)| *weight >= LEAST_SIGNAL || is_seen(*place, features[*place]))
        .map(|(weight, place)| (weight, features::name(place)))
        .collect();
    weighed.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(b.1)));
    let mut names: Vec<&'static str> =
        how.into_iter().chain(weighed.into_iter().map(|(_, name)| name)).collect();
    if names.contains(&features::name(at::WORDING)) {
        names.retain(|name| *name != features::name(at::PART));
    }
    names
}

/// Whether a feature is worth telling whatever it weighs: a clear phrase, or characters that hide something.
fn is_seen(place: usize, value: f32) -> bool {
    let told = place < at::WORDING
        || (at::UNUSUAL..at::ENCODED).contains(&place)
        || (at::DOCUMENT..at::MEANING).contains(&place);
    told && value >= 0.5
}
