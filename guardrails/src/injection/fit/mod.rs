//! Trains the detector from labelled texts: the same texts in the same order give the same weights, bit for bit.
//!
//! What the regression over the layers learns from, and what thresholds and error rates are taken from, are texts whose whole
//! category (for benign ones: whose neighbours) the lexical models had not seen.

mod figures;
mod lexical;
mod logistic;
pub mod materials;

pub use figures::{Figures, recall_at, roc_area};

use super::bank::{cosine, rounded};
use super::features::{COUNT, Features, Seen, at};
use super::grammar::Grammar;
use super::ngrams::Lexical;
use super::relative::Relation;
use super::units::Units;
use super::weights::{KINDS, Meaning, Stack, Weights};
use super::{DOUBT, Segment, System, is_data, kind, relation};
use crate::channel::Channel;
use std::collections::{BTreeMap, HashSet};

/// What is weighed apart, for reports.
const NAMES: [&str; KINDS] =
    ["users", "users under a system prompt that keeps something back", "tools and documents"];

/// Texts are left out in this many parts.
const FOLDS: usize = 8;

/// A labelled text.
#[derive(Clone, Debug, Default)]
pub struct Example {
    /// The text.
    pub text: String,
    /// Where it comes from.
    pub channel: Channel,
    /// The system prompt it met.
    pub system: Option<String>,
    /// Whether it is an attack.
    pub attack: bool,
    /// What figures are by: a set of texts.
    pub group: String,
    /// What is left out together: a category of attacks; empty for a text that stands for itself.
    pub part: String,
    /// How much it counts, 1 for a text that people wrote.
    pub weight: f32,
    /// Whether it is an attack (or not) through its system prompt or its characters, so that its wording says nothing.
    pub by_context: bool,
    /// Whether thresholds and figures are taken from it, too.
    pub measured: bool,
    /// Its vector.
    pub vector: Option<Vec<f32>>,
}

/// Attacks whose vectors are shipped, and the embedding model of all vectors.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// The embedding model.
    pub model: String,
    /// The vectors.
    pub vectors: Vec<Vec<f32>>,
}

/// What training gives.
#[derive(Debug)]
pub struct Fitted {
    /// For [`super::Detector::with`].
    pub bytes: Vec<u8>,
    /// What was measured on texts whose category was left out.
    pub figures: Vec<Figures>,
}

/// An example as the layers read it.
struct Row<'e> {
    example: &'e Example,
    seen: Seen,
    relation: Relation,
    /// The features of its units that are not in benign documents, if it comes from a document.
    units: Vec<Vec<u32>>,
    fold: usize,
}

impl Row<'_> {
    fn kind(&self) -> usize {
        kind(self.example.channel, self.relation)
    }

    fn is_data(&self) -> bool {
        is_data(self.example.channel)
    }

    /// The vector; documents are not judged by theirs.
    fn vector(&self) -> Option<&[f32]> {
        self.example.vector.as_deref().filter(|_| !self.is_data())
    }

    fn has_vector(&self) -> bool {
        self.vector().is_some()
    }
}

/// Trains on all examples. About meaning it learns from those of users with a vector, and nothing without `known`.
pub fn fit(examples: &[Example], known: Option<&Known>) -> Fitted {
    let grammar = Grammar::new();
    let rows = rows(&grammar, examples);
    let mut features = vec![[0.0; COUNT]; rows.len()];
    let with_vectors = known.filter(|_| rows.iter().any(Row::has_vector));
    let bank: Vec<Vec<i8>> =
        known.iter().flat_map(|known| &known.vectors).filter_map(|v| rounded(v)).collect();
    for fold in 0..FOLDS {
        let (wording, units) = words(&rows, |row| row.fold != fold);
        let head = with_vectors.map(|_| head(&rows, |row| row.fold != fold));
        for (row, features) in rows.iter().zip(&mut features).filter(|(row, _)| row.fold == fold) {
            *features = row.seen.features(row.is_data(), row.relation);
            row.seen.word(&wording, row.is_data().then_some(&units), features);
            if let (Some((head, bias)), Some(vector)) = (&head, row.vector()) {
                features[at::MEANING] = head_odds(head, *bias, vector);
                features[at::BANK] = nearest_other(&bank, vector);
            }
        }
    }
    let mut figures = Vec::new();
    let plain: Vec<Features> = features.iter().map(without_meaning).collect();
    let regressions = Regressions { rows: &rows, features: &plain };
    let mut by_words = vec![0.0; rows.len()];
    let stacks: [Stack; KINDS] = std::array::from_fn(|kind| {
        let (stack, scores) = regressions.stack(kind, &|_| true);
        scores.iter().for_each(|(score, at)| by_words[*at] = *score);
        regressions.settle(stack, &scores, kind, "without vectors", &mut figures)
    });
    let (wording, units) = words(&rows, |_| true);
    let meaning = with_vectors.map(|known| {
        let (head, bias) = head(&rows, |_| true);
        let same = |row: &Row<'_>| row.kind() == 0 && row.has_vector();
        let same: Scores = by_words.iter().copied().zip(0..).filter(|(_, at)| same(&rows[*at])).collect();
        regressions.settle(stacks[0].clone(), &same, 0, "without vectors, those that have one", &mut figures);
        let regressions = Regressions { rows: &rows, features: &features };
        let (stack, mut scores) = regressions.stack(0, &|row| row.has_vector());
        // Where its words leave no doubt nobody asks for a text's vector.
        for (score, at) in &mut scores {
            if by_words[*at] < DOUBT {
                *score = 0.0;
            } else if by_words[*at] >= stacks[0].block {
                *score = 1.0;
            }
        }
        let stack = regressions.settle(stack, &scores, 0, "with vectors", &mut figures);
        Meaning { model: known.model.clone(), head, bias, bank, stack }
    });
    Fitted { bytes: Weights { wording, units, stacks, meaning }.to_bytes(), figures }
}

fn without_meaning(features: &Features) -> Features {
    let mut features = *features;
    (features[at::MEANING], features[at::BANK]) = (0.0, 0.0);
    features
}

fn rows<'e>(grammar: &Grammar, examples: &'e [Example]) -> Vec<Row<'e>> {
    let mut rows: Vec<Row<'e>> = examples
        .iter()
        .map(|example| {
            let system = example.system.as_deref().map(System::read);
            let segment = Segment {
                text: &example.text,
                channel: example.channel,
                system: system.as_ref(),
                vector: None,
            };
            let seen = Seen::all(grammar, &example.text).swap_remove(0);
            let part = if example.part.is_empty() { &example.text } else { &example.part };
            let fold = (hash(part) % FOLDS as u64) as usize;
            Row { example, relation: relation(&segment, &seen), seen, units: Vec::new(), fold }
        })
        .collect();
    let mut benign: HashSet<String> = HashSet::new();
    for row in rows.iter().filter(|row| row.is_data() && !row.example.attack) {
        benign.extend(Units::new(&row.seen.text).iter(&row.seen.grams).map(|(unit, _)| unit.to_owned()));
    }
    let mut taken: HashSet<(String, bool)> = HashSet::new();
    for row in rows.iter_mut().filter(|row| row.is_data()) {
        let attack = row.example.attack;
        let mut kept = Vec::new();
        for (unit, features) in Units::new(&row.seen.text).iter(&row.seen.grams) {
            if (!attack || !benign.contains(unit)) && taken.insert((unit.to_owned(), attack)) {
                kept.push(features);
            }
        }
        row.units = kept;
    }
    rows
}

/// FNV-1a.
fn hash(text: &str) -> u64 {
    text.bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
        >> 20
}

/// The two lexical models, from the rows that `wanted` keeps.
fn words(rows: &[Row<'_>], wanted: impl Fn(&Row<'_>) -> bool) -> (Lexical, Lexical) {
    let mut texts = Vec::new();
    let mut units = Vec::new();
    for row in rows.iter().filter(|row| wanted(row)) {
        let attack = row.example.attack;
        // Of a document with an attack most is no attack: only its sentences tell, below.
        let is_mixed = row.is_data() && attack;
        if !(row.example.by_context || is_mixed) {
            texts.push(lexical::Text::new(&row.seen.grams.features, attack, row.example.weight));
        }
        units.extend(row.units.iter().map(|unit| lexical::Text::new(unit, attack, row.example.weight)));
    }
    (lexical::train(&texts), lexical::train(&units))
}

/// The head on vectors of users' texts.
fn head(rows: &[Row<'_>], wanted: impl Fn(&Row<'_>) -> bool) -> (Vec<f32>, f32) {
    let rows: Vec<(&[f32], bool, f32)> = rows
        .iter()
        .filter(|row| wanted(row) && !row.example.by_context)
        .filter_map(|row| Some((row.vector()?, row.example.attack, row.example.weight)))
        .collect();
    let plan = logistic::Plan { ridge: 1e-3, steps: 400, least: f64::MIN };
    let (weights, bias) = logistic::train(&rows, &plan);
    (weights.iter().map(|weight| *weight as f32).collect(), bias as f32)
}

/// The log odds of a vector, scaled as those of words are.
pub(crate) fn head_odds(head: &[f32], bias: f32, vector: &[f32]) -> f32 {
    let odds = bias + head.iter().zip(vector).map(|(weight, value)| weight * value).sum::<f32>();
    (odds / 6.0).clamp(-1.0, 1.0)
}

/// The similarity to the nearest known attack that is not the text itself.
fn nearest_other(bank: &[Vec<i8>], vector: &[f32]) -> f32 {
    let Some(vector) = rounded(vector) else { return 0.0 };
    let near = bank.iter().map(|other| cosine(other, &vector));
    near.filter(|similarity| *similarity < 0.98).fold(0.0, f32::max)
}

/// How probably each row, by its place, is an attack, as said where its category was left out.
type Scores = Vec<(f32, usize)>;

/// Regressions over what the layers say of rows.
struct Regressions<'r> {
    rows: &'r [Row<'r>],
    features: &'r [Features],
}

impl Regressions<'_> {
    /// That for one kind of channel, calibrated, of the rows that are `taken`, and what it says of them.
    fn stack(&self, kind: usize, taken: &dyn Fn(&Row<'_>) -> bool) -> (Stack, Scores) {
        let Regressions { rows, features } = self;
        let chosen: Vec<usize> =
            (0..rows.len()).filter(|at| rows[*at].kind() == kind && taken(&rows[*at])).collect();
        let material = |wanted: &dyn Fn(usize) -> bool| -> Vec<(&[f32], bool, f32)> {
            chosen
                .iter()
                .filter(|at| wanted(rows[**at].fold))
                .map(|at| (&features[*at][..], rows[*at].example.attack, rows[*at].example.weight))
                .collect()
        };
        let mut left_out: Vec<(f64, usize)> = Vec::new();
        for fold in 0..FOLDS {
            let stack = regression(&material(&|f| f != fold));
            let own = chosen.iter().filter(|at| rows[**at].fold == fold);
            left_out.extend(own.map(|at| (f64::from(stack.odds(&features[*at])), *at)));
        }
        let mut stack = regression(&material(&|_| true));
        let scored: Vec<(f64, bool, f32)> = left_out
            .iter()
            .map(|(odds, at)| (*odds, rows[*at].example.attack, rows[*at].example.weight))
            .collect();
        let (slope, shift) = logistic::platt(&scored);
        stack.weights.iter_mut().for_each(|weight| *weight *= slope as f32);
        stack.bias = (f64::from(stack.bias) * slope + shift) as f32;
        let score = |odds: f64| super::exact::probability(odds * slope + shift) as f32;
        (stack, left_out.into_iter().map(|(odds, at)| (score(odds), at)).collect())
    }

    /// Gives a regression the thresholds that follow from what was said; what it does with them goes to `figures`.
    fn settle(
        &self,
        mut stack: Stack,
        scores: &Scores,
        kind: usize,
        how: &str,
        figures: &mut Vec<Figures>,
    ) -> Stack {
        let measured: Vec<figures::Scored<'_>> = scores
            .iter()
            .map(|(score, at)| (*score, self.rows[*at].example))
            .filter(|(_, example)| example.measured)
            .map(|(score, example)| figures::Scored { score, attack: example.attack, group: &example.group })
            .collect();
        (stack.flag, stack.block) = figures::thresholds(&measured, kind);
        figures.push(Figures::new(format!("{}, {how}", NAMES[kind]), &measured, &stack));
        stack
    }
}

fn regression(rows: &[(&[f32], bool, f32)]) -> Stack {
    // No sign of an attack may speak for its absence, whatever a small set of texts suggests.
    let plan = logistic::Plan { ridge: 1e-4, steps: 800, least: 0.0 };
    let (weights, bias) = logistic::train(rows, &plan);
    let mut stack = Stack { weights: [0.0; COUNT], bias: bias as f32, flag: 1.0, block: 1.0 };
    stack.weights.iter_mut().zip(&weights).for_each(|(to, weight)| *to = *weight as f32);
    stack
}

/// How many examples of each group there are, for reports: benign and attacks.
pub fn groups(examples: &[Example]) -> BTreeMap<&str, (usize, usize)> {
    let mut groups = BTreeMap::new();
    for example in examples {
        let (benign, attacks): &mut (usize, usize) = groups.entry(example.group.as_str()).or_default();
        *(if example.attack { attacks } else { benign }) += 1;
    }
    groups
}

#[cfg(test)]
mod tests;
