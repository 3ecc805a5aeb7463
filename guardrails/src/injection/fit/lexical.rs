//! Trains a lexical model: logistic regression on counts, one text at a time in a fixed order.

use super::super::exact::probability;
use super::super::ngrams::{Lexical, SIZE};

/// How often every text is learnt from.
const ROUNDS: usize = 10;
const RATE: f64 = 0.25;
/// Draws weights towards zero.
const DECAY: f64 = 2e-5;
/// The seed of the order.
const SEED: u64 = 0x5eed_1ec5;

/// A text with its label.
pub(super) struct Text {
    /// Features and how often they occur, over the root of all occurrences.
    counts: Vec<(u32, f32)>,
    attack: bool,
    weight: f32,
}

impl Text {
    pub(super) fn new(features: &[u32], attack: bool, weight: f32) -> Text {
        let mut sorted = features.to_vec();
        sorted.sort_unstable();
        let norm = (features.len().max(1) as f32).sqrt();
        let counts = sorted.chunk_by(|a, b| a == b).map(|same| (same[0], same.len() as f32 / norm)).collect();
        Text { counts, attack, weight }
    }
}

/// Trains on texts; attacks and benign texts count the same in sum.
pub(super) fn train(texts: &[Text]) -> Lexical {
    let sum = |attack: bool| {
        texts.iter().filter(|text| text.attack == attack).map(|text| f64::from(text.weight)).sum::<f64>()
    };
    let (attacks, benign) = (sum(true).max(1e-9), sum(false).max(1e-9));
    // Attacks are fewer: half of the balance is made up for.
    let lift = (benign / attacks).sqrt().clamp(0.25, 8.0);
    let mut weights = vec![0f64; SIZE];
    let mut squares = vec![1e-2f64; SIZE];
    let mut bias = 0f64;
    let mut order: Vec<usize> = (0..texts.len()).collect();
    let mut random = SEED;
    for round in 0..ROUNDS {
        shuffle(&mut order, &mut random);
        let rate = RATE / (1.0 + round as f64 / 3.0);
        for text in order.iter().map(|at| &texts[*at]) {
            let odds =
                bias + text.counts.iter().map(|(f, x)| weights[*f as usize] * f64::from(*x)).sum::<f64>();
            let target = f64::from(u8::from(text.attack));
            let importance = f64::from(text.weight) * if text.attack { lift } else { 1.0 };
            let error = (probability(odds) - target) * importance;
            bias -= rate * 0.1 * error;
            for (feature, x) in &text.counts {
                let at = *feature as usize;
                let gradient = error * f64::from(*x) + DECAY * weights[at];
                squares[at] += gradient * gradient;
                weights[at] -= rate * gradient / squares[at].sqrt();
            }
        }
    }
    quantised(&weights, bias)
}

/// Weights in a byte each.
fn quantised(weights: &[f64], bias: f64) -> Lexical {
    let most = weights.iter().fold(1e-6f64, |most, weight| most.max(weight.abs()));
    let bytes = weights.iter().map(|weight| (weight / most * 127.0).round() as i8).collect();
    Lexical { weights: bytes, scale: (most / 127.0) as f32, bias: bias as f32 }
}

fn shuffle(order: &mut [usize], random: &mut u64) {
    for at in (1..order.len()).rev() {
        // xorshift64
        *random ^= *random << 13;
        *random ^= *random >> 7;
        *random ^= *random << 17;
        order.swap(at, (*random % (at as u64 + 1)) as usize);
    }
}
