//! What to fit on: the arrivals of one stream that are to be learnt from, and pairs as a stream.

use std::collections::HashSet;

use serde::Deserialize;

use super::fit::{Arrival, Material};
use super::{Line, Stream, order};

/// Two prompts, and whether one answer is right for both.
#[derive(Clone, Deserialize)]
pub struct Pair {
    /// One prompt.
    pub a: String,
    /// The other.
    pub b: String,
    /// One answer is right for both.
    pub same: bool,
}

/// The pairs as a stream of prompts; `name` tells their intents from those of others.
pub fn lines(name: &str, pairs: &[Pair]) -> Vec<Line> {
    let side = |at: usize, side: &str, prompt: &str, own: bool| Line {
        id: format!("{name}-{at}-{side}"),
        prompt: prompt.to_owned(),
        intent: if own { format!("{name}-{at}-{side}") } else { format!("{name}-{at}") },
        shareable: true,
    };
    let both =
        |(at, pair): (usize, &Pair)| [side(at, "a", &pair.a, false), side(at, "b", &pair.b, !pair.same)];
    pairs.iter().enumerate().flat_map(both).collect()
}

/// Parts of a stream that stand for one that has just begun: so many, each this share of it.
const BEGINNINGS: u64 = 4;
const BEGINNING: usize = 14;
/// Choices of a quarter of the intents.
const FEWER: u64 = 3;
/// Where shuffling begins, so that no part is like another.
const SEEDS: [u64; 2] = [5, 100];

/// A stream in all the ways in which it may arrive: shuffled, sorted by intent, each intent once, only its beginning, with few
/// of its intents.
pub fn of_stream<'a>(stream: &'a Stream<'a>, certifies: bool) -> Vec<Material<'a>> {
    let count = stream.lines.len();
    let all = order(count, 0);
    let mut materials = Vec::new();
    let mut add = |lines, arrival, weight, certifies| {
        materials.push(Material { stream, lines, arrival, weight, certifies });
    };
    add(all.clone(), Arrival::Shuffled, 1.0, certifies);
    add(all.clone(), Arrival::Sorted, 0.5, false);
    let mut seen = HashSet::new();
    let once = order(count, SEEDS[0]).into_iter().filter(|&line| seen.insert(stream.intent(line)));
    add(once.collect(), Arrival::Shuffled, 1.0, false);
    for part in 0..BEGINNINGS {
        let some = order(count, SEEDS[1] + part).into_iter().take(count / BEGINNING).collect();
        add(some, Arrival::Shuffled, 1.0, false);
    }
    for choice in 0..FEWER {
        let chosen = |line: &usize| {
            let hash = blake3::hash(stream.intent(*line).as_bytes());
            u64::from(hash.as_bytes()[1] % 4) == choice
        };
        let some: Vec<usize> = all.iter().copied().filter(chosen).collect();
        add(some.clone(), Arrival::Sorted, 0.5, false);
        add(some, Arrival::Shuffled, 1.0, false);
    }
    materials
}

/// Pairs that came as a stream.
pub fn of_pairs<'a>(stream: &'a Stream<'a>) -> Material<'a> {
    let lines = order(stream.lines.len(), 0);
    Material { stream, lines, arrival: Arrival::Shuffled, weight: 1.0, certifies: false }
}
