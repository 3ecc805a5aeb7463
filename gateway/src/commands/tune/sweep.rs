//! Policies over a labelled stream: each point of each curve is a replay of its own.
//!
//! One replay's candidates could be cut at every height afterwards, but not exactly: what is served is not stored, so a
//! laxer rule meets a smaller cache and learns from fewer answers. On repetitive traffic that would promise a fifth too
//! many hits. Only the reliability diagram and the pairs to look at come from the candidates of one policy.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use indicatif::ProgressBar;
use sluice_engine::decide::Policy;
use sluice_engine::decide::prior::Shipped;
use sluice_engine::replay::stats::broken;
use sluice_engine::replay::{Line, Observation, Options, Report, Served, Stream, order};

use super::findings::{
    Findings, PROMISES, Pair, Point, Promised, Source, Tally, bins, cheapest, recommend, riskiest,
};

/// Orders in which a promise may be broken significantly: as many as chance breaks of a promise that is just kept.
const BROKEN_BY_CHANCE: f64 = 0.05;

/// A labelled stream and how to sweep it.
pub(super) struct Setting<'a> {
    /// The file's name.
    pub(super) file: String,
    /// The embedding model.
    pub(super) model: String,
    /// The stream.
    pub(super) lines: &'a [Line],
    /// Its vectors.
    pub(super) vectors: &'a [Vec<f32>],
    /// What is known before the first request.
    pub(super) shipped: &'a Shipped,
    /// The first order, and how many.
    pub(super) seed: u64,
    /// How many.
    pub(super) seeds: u64,
    /// Price of a wrong answer, in provider calls.
    pub(super) price: f64,
}

/// Fixed similarities that are tried.
pub(super) fn similarities() -> impl Iterator<Item = f64> {
    (70..=99).map(|percent| f64::from(percent) / 100.0)
}

/// Cuts on the probability that are tried, evenly spaced in log odds.
pub(super) fn cuts() -> impl Iterator<Item = f64> {
    (0..=20).map(|step| 1.0 / (1.0 + (-0.35 * f64::from(step)).exp()))
}

/// A policy over one order.
struct Run {
    report: Report,
    /// Confidence and truth of the candidates whose answer may be shared.
    seen: Vec<(f64, bool)>,
}

/// Sweeps it.
///
/// # Errors
/// A replay that stopped unexpectedly.
pub(super) fn sweep(setting: &Setting<'_>) -> Result<Findings, String> {
    let stream = Stream::new(setting.lines, setting.vectors, &[]);
    let fixed = |similarity: f64| Options { policy: fixed(similarity), ..Options::default() };
    let cut = |cut| Options { cut: Some(cut), ..Options::default() };
    let live = |promise| Options { policy: calibrated(promise), ..Options::default() };
    let wanted: Vec<Options> = [Options { policy: fixed_never(), ..Options::default() }]
        .into_iter()
        .chain(similarities().map(fixed))
        .chain(cuts().map(cut))
        .chain(PROMISES.map(live))
        .collect();
    let mut runs = replay(&stream, setting, &wanted)?.into_iter();
    let exact = runs.next().map(|orders| point(0.0, &orders).tally).unwrap_or_default();
    let fixed: Vec<Point> =
        similarities().zip(runs.by_ref()).map(|(at, orders)| point(at, &orders)).collect();
    let cuts: Vec<Point> = cuts().zip(runs.by_ref()).map(|(at, orders)| point(at, &orders)).collect();
    let live: Vec<Vec<Run>> = runs.collect();
    let promised: Vec<Promised> =
        PROMISES.iter().zip(&live).map(|(&promise, orders)| kept(promise, orders)).collect();
    let recommended = recommend(&promised, &exact, setting.price);
    // Without a recommendation the strictest promise shows how far the probabilities can be trusted.
    let shown = live.get(recommended.unwrap_or(0)).map_or(&[][..], Vec::as_slice);
    let seen = shown.iter().flat_map(|run| run.seen.iter().copied()).collect();
    let (risky, risky_by) =
        risky(&stream, setting, recommended.map(|at| (promised[at].policy(), &live[at])), &fixed)?;
    Ok(Findings {
        file: setting.file.clone(),
        source: Source::Stream { orders: setting.seeds, model: setting.model.clone() },
        price: setting.price,
        exact,
        fixed,
        cuts,
        promised,
        recommended,
        reliability: bins(seen),
        risky,
        risky_by,
    })
}

fn calibrated(max_false_hit_rate: f64) -> Policy {
    Policy::Calibrated { max_false_hit_rate, strict: false }
}

fn fixed(similarity: f64) -> Policy {
    Policy::Fixed { similarity: similarity as f32 }
}

/// Serves equal requests alone: no similarity is above 1, but for rounding.
fn fixed_never() -> Policy {
    Policy::Fixed { similarity: 2.0 }
}

/// The orders of all options, in their sequence, on as many threads as there are cores.
fn replay(stream: &Stream<'_>, setting: &Setting<'_>, wanted: &[Options]) -> Result<Vec<Vec<Run>>, String> {
    let jobs: Vec<Options> = wanted
        .iter()
        .flat_map(|options| {
            (0..setting.seeds)
                .map(move |at| Options { seed: setting.seed.saturating_add(at), ..options.clone() })
        })
        .collect();
    let bar = ProgressBar::new(jobs.len() as u64).with_message("replays");
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        while let Some((at, job)) =
            Some(next.fetch_add(1, Ordering::Relaxed)).and_then(|at| Some((at, jobs.get(at)?)))
        {
            done.push((at, run(stream, setting, job)));
            bar.inc(1);
        }
        done
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let done = std::thread::scope(|scope| {
        let begun: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        begun.into_iter().map(std::thread::ScopedJoinHandle::join).collect::<Result<Vec<_>, _>>()
    });
    bar.finish_and_clear();
    let mut done: Vec<(usize, Run)> =
        done.map_err(|_| "a replay stopped unexpectedly")?.into_iter().flatten().collect();
    done.sort_by_key(|(at, _)| *at);
    let mut done = done.into_iter().map(|(_, run)| run);
    Ok(wanted.iter().map(|_| done.by_ref().take(setting.seeds as usize).collect()).collect())
}

fn run(stream: &Stream<'_>, setting: &Setting<'_>, options: &Options) -> Run {
    let order = order(setting.lines.len(), options.seed);
    let mut seen = Vec::new();
    // The cut's sweep needs no candidates, a fixed threshold has none.
    let listens = options.cut.is_none();
    let mut observe = |seen_now: &Observation<'_>| {
        if listens {
            seen.push((f64::from(seen_now.ticket.confidence()), seen_now.right));
        }
    };
    let mut report = stream.replay(&order, options, setting.shipped, &mut observe);
    if listens {
        // Candidates come in the order of the decisions that have a confidence.
        let decided = order.iter().zip(&report.decisions).filter(|(_, served)| served.confidence.is_some());
        let mut shareable = decided.map(|(&line, _)| setting.lines[line].shareable);
        seen.retain(|_| shareable.next().unwrap_or(false));
    }
    if options.seed != setting.seed || !listens {
        report.decisions = Vec::new();
    }
    Run { report, seen }
}

fn point(setting: f64, orders: &[Run]) -> Point {
    let tenths = orders.iter().map(|run| run.report.over_time.len()).max().unwrap_or(0);
    let tenth = |at| Tally::mean(orders.iter().filter_map(|run| run.report.over_time.get(at)));
    Point {
        setting,
        tally: Tally::mean(orders.iter().map(|run| &run.report.total)),
        tenths: (0..tenths).map(tenth).collect(),
    }
}

fn kept(promise: f64, orders: &[Run]) -> Promised {
    let totals = orders.iter().map(|run| &run.report.total);
    let over = totals.filter(|total| broken(total.wrong, total.right + total.wrong, promise) < 0.05).count();
    let Point { tally, tenths, .. } = point(promise, orders);
    Promised { promise, tally, tenths, kept: over as f64 <= BROKEN_BY_CHANCE * orders.len() as f64 }
}

/// The hits by meaning of the recommended policy's first order, or of the cheapest threshold's if nothing is recommended.
fn risky(
    stream: &Stream<'_>,
    setting: &Setting<'_>,
    recommended: Option<(Policy, &Vec<Run>)>,
    sweep: &[Point],
) -> Result<(Vec<Pair>, Policy), String> {
    if let Some((policy, orders)) = recommended {
        let decisions = orders.first().map_or(&[][..], |run| run.report.decisions.as_slice());
        return Ok((riskiest(pairs(setting, decisions, true)), policy));
    }
    let policy = fixed(cheapest(sweep, setting.price).ok_or("no threshold was tried")?.setting);
    let options = Options { policy, seed: setting.seed, ..Options::default() };
    let run = run(stream, setting, &options);
    Ok((riskiest(pairs(setting, &run.report.decisions, false)), policy))
}

fn pairs(setting: &Setting<'_>, decisions: &[Served], reckoned: bool) -> Vec<Pair> {
    let lines: HashMap<&str, &Line> = setting.lines.iter().map(|line| (line.id.as_str(), line)).collect();
    let pair = |served: &Served| {
        let (asked, found) = (lines.get(served.id.as_str())?, lines.get(served.matched_id.as_deref()?)?);
        let same = asked.intent == found.intent;
        Some(Pair {
            asked: Some(asked.prompt.clone()),
            remembered: Some(found.prompt.clone()),
            similarity: f64::from(served.similarity?),
            confidence: served.confidence.map(f64::from).filter(|_| reckoned),
            right: (!same || asked.shareable).then_some(same),
        })
    };
    decisions.iter().filter_map(pair).collect()
}
