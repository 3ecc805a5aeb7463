//! Policies over a shadow log: what a watching cache wrote down, cut at every height.
//!
//! Nothing was served while it was written, so every answer was remembered and every candidate labelled. A cache that serves
//! remembers a little less, so it finds somewhat fewer hits than the log says.

use sluice_engine::decide::Policy;
use sluice_engine::replay::stats::upper_bound;

use super::findings::{
    Findings, PROMISES, Pair, Point, Promised, Source, Tally, bins, cheapest, ratio, recommend, riskiest,
};
use super::log::{WouldBe, requests};
use super::sweep::{cuts, similarities};

/// Confidence with which the log must speak for a promise.
const CONFIDENCE: f64 = 0.95;

/// Sweeps a log.
pub(super) fn sweep(file: &str, log: &[WouldBe], price: f64) -> Findings {
    let all = requests(log) as f64;
    let at = |setting: f64, serves: &dyn Fn(&WouldBe) -> bool| {
        let tenths = 10.min(log.len()).max(1);
        let parts = (0..tenths).map(|part| &log[part * log.len() / tenths..(part + 1) * log.len() / tenths]);
        Point {
            setting,
            tally: tally(log, all, serves),
            tenths: parts
                .map(|part| tally(part, all * ratio(part.len() as f64, log.len() as f64), serves))
                .collect(),
        }
    };
    let fixed: Vec<Point> = similarities().map(|s| at(s, &|line| line.similarity >= s)).collect();
    let cuts: Vec<Point> = cuts().map(|cut| at(cut, &|line| line.confidence >= cut)).collect();
    let promised: Vec<Promised> = PROMISES.iter().map(|&promise| certified(promise, &cuts, all)).collect();
    let exact = tally(log, all, &|_| false);
    let recommended = recommend(&promised, &exact, price);
    let risky_by = recommended.map_or_else(
        || Policy::Fixed { similarity: cheapest(&fixed, price).map_or(1.0, |point| point.setting as f32) },
        |at| promised[at].policy(),
    );
    let judged = log.iter().filter_map(|line| Some((line.confidence, line.right?)));
    let times: Vec<f64> = log.iter().filter_map(|line| line.ts).filter(|ts| ts.is_finite()).collect();
    Findings {
        file: file.to_owned(),
        source: Source::Shadow {
            lines: log.len(),
            judged: judged.clone().count(),
            numbered: log.iter().any(|line| line.request.is_some()),
            span: times.iter().copied().reduce(f64::min).zip(times.iter().copied().reduce(f64::max)),
        },
        price,
        exact,
        fixed,
        cuts,
        promised,
        recommended,
        reliability: bins(judged.collect()),
        risky: riskiest(log.iter().filter(|line| line.would_serve).map(pair).collect()),
        risky_by,
    }
}

/// What serving these lines comes to. Of the lines without a verdict as many are taken to be wrong as of the others.
fn tally(log: &[WouldBe], requests: f64, serves: &dyn Fn(&WouldBe) -> bool) -> Tally {
    let served: Vec<&WouldBe> = log.iter().filter(|line| serves(line)).collect();
    let judged = served.iter().filter(|line| line.right.is_some()).count() as f64;
    let wrong = served.iter().filter(|line| line.right == Some(false)).count() as f64;
    let (hits, share) = (served.len() as f64, ratio(wrong, judged));
    if judged == 0.0 {
        return Tally { requests, uncounted: hits, ..Tally::default() };
    }
    Tally { requests, right: hits * (1.0 - share), wrong: hits * share, uncounted: 0.0, checks: 0.0, judged }
}

/// The laxest cut for which the log speaks: from the strictest on, those whose upper bound stays within the promise, until the
/// first that has enough verdicts and doesn't.
fn certified(promise: f64, cuts: &[Point], requests: f64) -> Promised {
    let bound = |point: &&Point| {
        let judged = point.tally.judged.round();
        upper_bound((point.tally.false_hit_rate() * judged).round() as u64, judged as u64, CONFIDENCE)
            <= promise
    };
    let run = cuts.iter().rev().skip_while(|point| !bound(point)).take_while(bound);
    match run.last() {
        Some(Point { tally, tenths, .. }) => {
            Promised { promise, tally: *tally, tenths: tenths.clone(), kept: true }
        }
        None => {
            let tally = Tally { requests, ..Tally::default() };
            Promised { promise, tally, tenths: Vec::new(), kept: false }
        }
    }
}

fn pair(line: &WouldBe) -> Pair {
    Pair {
        asked: line.prompt.clone(),
        remembered: line.matched_prompt.clone(),
        similarity: line.similarity,
        confidence: Some(line.confidence),
        right: line.right,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(similarity: f64, confidence: f64, right: Option<bool>) -> WouldBe {
        serde_json::from_value(serde_json::json!({
            "id": "1", "similarity": similarity, "confidence": confidence, "right": right,
        }))
        .unwrap()
    }

    /// A cache that is wrong below 0.9 and right above, where every tenth line has no verdict.
    fn log() -> Vec<WouldBe> {
        let confident = |i: usize| (i % 100) as f64 / 100.0;
        (0..3000)
            .map(|i| {
                line(0.5 + confident(i) / 2.0, confident(i), (i % 10 != 7).then_some(confident(i) >= 0.9))
            })
            .collect()
    }

    #[test]
    fn figures_are_those_that_counting_by_hand_gives() {
        let findings = sweep("log.jsonl", &log(), 50.0);
        let point = findings.fixed.iter().find(|point| point.setting == 0.9).unwrap();
        // Confidence from 0.80 on: 20 of each 100 lines, 18 with a verdict, 9 of them right.
        assert_eq!(point.tally.hits().round(), 600.0);
        assert_eq!(point.tally.judged, 540.0);
        assert!((point.tally.false_hit_rate() - 0.5).abs() < 1e-9);
        assert!((point.tally.cost(50.0) - (50.0 * 300.0 + 2400.0) / 3000.0).abs() < 1e-9);
        assert_eq!(point.tenths.len(), 10);
        assert_eq!(findings.reliability.iter().map(|bin| bin.all).sum::<u64>(), 2700);
    }

    #[test]
    fn a_promise_is_recommended_only_if_the_log_has_verdicts_enough_for_it() {
        let findings = sweep("log.jsonl", &log(), 50.0);
        // 0 wrong of 243 or 270: enough for 2 %, not for 0.5 %.
        let kept: Vec<bool> = findings.promised.iter().map(|policy| policy.kept).collect();
        assert_eq!(kept, [false, false, true, true]);
        assert_eq!(findings.choice().unwrap().promise, 0.02);
        let few: Vec<WouldBe> = log().into_iter().take(100).collect();
        assert!(sweep("log.jsonl", &few, 50.0).choice().is_none());
        let unjudged: Vec<WouldBe> = (0..500).map(|_| line(0.99, 0.999, None)).collect();
        assert!(sweep("log.jsonl", &unjudged, 50.0).choice().is_none());
    }
}
