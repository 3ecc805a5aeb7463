//! What a detector does to labelled texts: the area under its curve, recall at a rate of false alarms, thresholds.

use super::super::weights::{KINDS, Stack};
use std::collections::BTreeMap;

/// A judged text.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scored<'g> {
    pub(super) score: f32,
    pub(super) attack: bool,
    pub(super) group: &'g str,
}

/// Figures of one regression over texts that its words were not learnt from.
#[derive(Clone, Debug)]
pub struct Figures {
    /// Which texts.
    pub name: String,
    /// The area under the curve of recall over false alarms.
    pub area: f64,
    /// Recall where 1 % of the benign texts are flagged.
    pub recall: f64,
    /// The thresholds for flagging and blocking.
    pub thresholds: (f32, f32),
    /// By group: how many texts, and the shares flagged and blocked; attacks are marked.
    pub groups: BTreeMap<String, (usize, f64, f64, bool)>,
    /// What each feature weighs, by name.
    pub weights: Vec<(&'static str, f32)>,
}

impl Figures {
    pub(super) fn new(name: String, scored: &[Scored<'_>], stack: &Stack) -> Figures {
        let pairs: Vec<(f32, bool)> = scored.iter().map(|one| (one.score, one.attack)).collect();
        let mut counts: BTreeMap<String, (usize, usize, usize, bool)> = BTreeMap::new();
        for one in scored {
            let entry = counts.entry(one.group.to_owned()).or_insert((0, 0, 0, one.attack));
            entry.0 += 1;
            entry.1 += usize::from(one.score >= stack.flag);
            entry.2 += usize::from(one.score >= stack.block);
        }
        let share = |part: usize, of: usize| part as f64 / of as f64;
        let groups =
            counts.into_iter().map(|(k, (n, f, b, a))| (k, (n, share(f, n), share(b, n), a))).collect();
        let weights =
            stack.weights.iter().enumerate().map(|(at, w)| (super::super::features::name(at), *w)).collect();
        Figures {
            name,
            area: roc_area(&pairs),
            recall: recall_at(&pairs, 0.01),
            thresholds: (stack.flag, stack.block),
            groups,
            weights,
        }
    }
}

/// The area under the curve of recall over false alarms: how often an attack scores above a benign text, ties by half.
pub fn roc_area(scored: &[(f32, bool)]) -> f64 {
    let mut sorted = scored.to_vec();
    sorted.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (mut below, mut area, mut attacks) = (0f64, 0f64, 0f64);
    for same in sorted.chunk_by(|a, b| a.0 == b.0) {
        let positive = same.iter().filter(|one| one.1).count() as f64;
        let negative = same.len() as f64 - positive;
        area += positive * (below + negative / 2.0);
        below += negative;
        attacks += positive;
    }
    if attacks == 0.0 || below == 0.0 { f64::NAN } else { area / (attacks * below) }
}

/// The share of attacks above the threshold at which at most `rate` of the benign texts are.
pub fn recall_at(scored: &[(f32, bool)], rate: f64) -> f64 {
    let threshold = above(scored.iter().filter(|one| !one.1).map(|one| one.0).collect(), rate);
    let attacks = scored.iter().filter(|one| one.1).count();
    let found = scored.iter().filter(|one| one.1 && one.0 > threshold).count();
    if attacks == 0 { f64::NAN } else { found as f64 / attacks as f64 }
}

/// The score that at most a share of `rate` lies above.
fn above(mut scores: Vec<f32>, rate: f64) -> f32 {
    scores.sort_by(|a, b| b.total_cmp(a));
    let allowed = (scores.len() as f64 * rate).floor() as usize;
    scores.get(allowed).copied().unwrap_or(0.0)
}

/// What share of benign texts may be flagged: of users' less than is promised, as other texts are never quite like these; in
/// documents a little more.
const FLAG_RATES: [f64; KINDS] = [0.006, 0.008, 0.012];
const BLOCK_RATE: f64 = 0.0005;
const BLOCK_LIFT: f32 = 40.0;

/// From which scores on texts are flagged and blocked.
pub(super) fn thresholds(scored: &[Scored<'_>], kind: usize) -> (f32, f32) {
    let benign: Vec<f32> = scored.iter().filter(|one| !one.attack).map(|one| one.score).collect();
    let flag = above(benign.clone(), FLAG_RATES[kind]).max(0.5);
    // So few benign texts say little of one in a thousand: the odds must also be this many times those of a flag.
    let odds = BLOCK_LIFT * flag / (1.0 - flag).max(1e-6);
    let block = above(benign, BLOCK_RATE).max(odds / (1.0 + odds));
    (flag + 1e-4, block + 1e-4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn area_and_recall_count_ties_and_false_alarms() {
        let scored = [(0.9, true), (0.8, false), (0.7, true), (0.1, false)];
        assert_eq!(roc_area(&scored), 0.75);
        assert_eq!((recall_at(&scored, 0.0), recall_at(&scored, 0.5)), (0.5, 1.0));
        assert_eq!(roc_area(&[(0.5, true), (0.5, false)]), 0.5);
        assert!(roc_area(&[(0.5, true)]).is_nan());
    }
}
