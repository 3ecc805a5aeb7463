//! The report's charts, from what was found.

use super::chart::{Axis, Chart, Mark, Scale, Side};
use super::findings::{Findings, Point, Promised, Source, Tally, cheapest};
use super::text::{count, percent, round_percent};
use sluice_engine::replay::stats::clopper_pearson;

/// Wrong hits per hit at the foot and at the head of the precision chart.
const FOOT: f64 = 0.3;
const HEAD: f64 = 0.001;
/// Ends of the reliability chart; what lies outside is drawn there.
const LEAST: f64 = 0.005;
const MOST: f64 = 0.9995;
/// Thresholds whose marks have their number beside them.
const NAMED: [f64; 6] = [0.70, 0.75, 0.80, 0.85, 0.90, 0.95];

fn hits_axis(findings: &Findings) -> Axis {
    let all = findings.fixed.iter().chain(&findings.cuts).map(|point| point.tally.hit_rate());
    let most = all.fold(0.0, f64::max).max(0.01);
    Axis::from_zero("requests answered from the cache, %", most, |share| {
        round_percent(share).replace(" %", "")
    })
}

fn is_stream(findings: &Findings) -> bool {
    matches!(findings.source, Source::Stream { .. })
}

/// What a promise's mark says: live for a stream, found in a log.
fn promised_words(findings: &Findings) -> &'static str {
    if is_stream(findings) { "calibrated, live, by its promise" } else { "laxest cut the log speaks for" }
}

fn told(name: &str, tally: &Tally, price: f64) -> String {
    let interval = tally.interval();
    format!(
        "{name}: {} of requests answered from the cache, {} of requests rightly; {} of hits wrong ({} to {}); cost {:.1} per 100 requests",
        percent(tally.hit_rate()),
        percent(tally.right_rate()),
        percent(tally.false_hit_rate()),
        percent(interval.low),
        percent(interval.high),
        100.0 * tally.cost(price),
    )
}

fn fixed_name(point: &Point) -> String {
    format!("cosine from {:.2}", point.setting)
}

fn cut_name(point: &Point) -> String {
    format!("probability from {}", percent(point.setting))
}

/// Points with hits, as what `y` makes of them.
fn path(points: &[Point], y: impl Fn(&Tally) -> f64) -> Vec<(f64, f64)> {
    let with_hits = points.iter().filter(|point| point.tally.right + point.tally.wrong > 0.0);
    with_hits.map(|point| (point.tally.hit_rate(), y(&point.tally))).collect()
}

/// How many hits are right, by how many there are.
pub(super) fn precision(findings: &Findings) -> String {
    let wrongs = [0.3, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.002, HEAD];
    let y = Axis {
        label: "right hits, % of hits (log scale)".to_owned(),
        scale: Scale::Log,
        from: FOOT,
        to: HEAD,
        ticks: wrongs.map(|wrong| (wrong, round_percent(1.0 - wrong).replace(" %", ""))).to_vec(),
    };
    let mut chart = Chart::new(
        "precision",
        "Share of right hits against share of requests answered",
        hits_axis(findings),
        y,
    );
    let wrong = |tally: &Tally| tally.false_hit_rate();
    sweeps(&mut chart, findings, &wrong, 0.0);
    for policy in served(findings) {
        let at = (policy.tally.hit_rate(), policy.tally.false_hit_rate());
        let name = format!("calibrated: {}", round_percent(policy.promise));
        chart.mark(Mark::Diamond, "live", at, &told(&name, &policy.tally, findings.price));
        chart.label("live", at, Side::Right, &round_percent(policy.promise));
    }
    chart.legend(Some(Mark::Diamond), "live", promised_words(findings));
    chart.finish()
}

fn served(findings: &Findings) -> impl Iterator<Item = &Promised> {
    findings.promised.iter().filter(|policy| policy.tally.right + policy.tally.wrong > 0.0)
}

/// Both sweeps as lines with marks. Thresholds are named where `y` is at least `named`.
fn sweeps(chart: &mut Chart, findings: &Findings, y: &dyn Fn(&Tally) -> f64, named: f64) {
    chart.line("fixed", path(&findings.fixed, y));
    chart.line("cut", path(&findings.cuts, y));
    for point in &findings.fixed {
        let at = (point.tally.hit_rate(), y(&point.tally));
        chart.mark(Mark::Square, "fixed", at, &told(&fixed_name(point), &point.tally, findings.price));
        if at.1 >= named && NAMED.iter().any(|named| (named - point.setting).abs() < 1e-9) {
            chart.label("fixed", at, Side::Left, &format!("{:.2}", point.setting));
        }
    }
    for point in findings.cuts.iter().filter(|point| point.tally.right + point.tally.wrong > 0.0) {
        let at = (point.tally.hit_rate(), y(&point.tally));
        chart.mark(Mark::Dot, "cut", at, &told(&cut_name(point), &point.tally, findings.price));
    }
    chart.legend(Some(Mark::Square), "fixed", "fixed cosine threshold");
    if !path(&findings.cuts, y).is_empty() {
        chart.legend(Some(Mark::Dot), "cut", "calibrated probability, cut set in hindsight");
    }
}

/// What a request costs, by how many are answered from the cache.
pub(super) fn cost(findings: &Findings) -> String {
    let price = findings.price;
    let y = Axis::from_zero("cost per 100 requests, provider calls", 120.0, |calls| format!("{calls:.0}"));
    let mut chart =
        Chart::new("cost", "Cost of a request against share of requests answered", hits_axis(findings), y);
    let cost = |tally: &Tally| 100.0 * tally.cost(price);
    chart.level("plain", 100.0, "no cache: 100", Side::Above);
    // Below the price of no cache both lines run close together, and their minima have words of their own.
    sweeps(&mut chart, findings, &cost, 112.0);
    let minima =
        [("fixed", cheapest(&findings.fixed, price), false), ("cut", cheapest(&findings.cuts, price), true)];
    for (class, found, is_cut) in minima {
        let Some(point) = found.filter(|point| point.tally.hits() > 0.0) else { continue };
        let at = (point.tally.hit_rate(), cost(&point.tally));
        let name = if is_cut { cut_name(point) } else { fixed_name(point) };
        chart.mark(Mark::Ring, class, at, &told(&format!("cheapest, {name}"), &point.tally, price));
        // The words of a threshold's minimum stand above the dashed line, those of the other line's below that.
        let (beside, side) = if is_cut { (at, Side::Below) } else { ((at.0, at.1.max(100.0)), Side::Above) };
        chart.label(class, beside, side, &format!("{:.0} at {name}", at.1));
    }
    for policy in served(findings) {
        let at = (policy.tally.hit_rate(), cost(&policy.tally));
        let name = format!("calibrated: {}", round_percent(policy.promise));
        chart.mark(Mark::Diamond, "live", at, &told(&name, &policy.tally, price));
    }
    chart.legend(Some(Mark::Diamond), "live", promised_words(findings));
    chart.legend(Some(Mark::Ring), "plain", "cheapest of its line");
    chart.finish()
}

/// The two policies that are followed over time: their class, name and tenths.
fn followed(findings: &Findings) -> Vec<(&'static str, Mark, String, &[Tally])> {
    let mut out = Vec::new();
    if let Some(point) = cheapest(&findings.fixed, findings.price) {
        let name = format!("{} (cheapest fixed)", fixed_name(point));
        out.push(("fixed", Mark::Square, name, point.tenths.as_slice()));
    }
    if let Some(choice) = findings.choice() {
        let name = format!("calibrated: {} (recommended)", round_percent(choice.promise));
        out.push(("cut", Mark::Dot, name, choice.tenths.as_slice()));
    }
    out
}

fn over_time(
    findings: &Findings,
    id: &'static str,
    title: &str,
    y_label: &str,
    figure: fn(&Tally) -> f64,
) -> String {
    let followed = followed(findings);
    let requests: f64 = findings.exact.requests;
    let promise = findings.choice().map(|choice| choice.promise);
    let all = followed.iter().flat_map(|(_, _, _, tenths)| tenths.iter().map(figure));
    let is_error = id == "error";
    let most = all.fold(promise.filter(|_| is_error).unwrap_or(0.0) * 1.5, f64::max).max(0.001);
    let x = Axis::up_to("requests so far", requests.max(1.0), count);
    let y = Axis::from_zero(y_label, most, |share| round_percent(share).replace(" %", ""));
    let mut chart = Chart::new(id, title, x, y);
    if let Some(promise) = promise.filter(|_| is_error) {
        chart.level("limit", promise, &format!("promise: {}", round_percent(promise)), Side::Above);
    }
    let mut ends: Vec<f64> = Vec::new();
    for (class, mark, name, tenths) in followed {
        let width = requests / tenths.len().max(1) as f64;
        let place = |at: usize, tally: &Tally| ((at as f64 + 0.5) * width, figure(tally));
        chart.line(class, tenths.iter().enumerate().map(|(at, tally)| place(at, tally)));
        for (at, tally) in tenths.iter().enumerate() {
            let (from, to) = (count(at as f64 * width + 1.0), count((at + 1) as f64 * width));
            let share = percent(figure(tally));
            chart.mark(mark, class, place(at, tally), &format!("{name}, requests {from} to {to}: {share}"));
        }
        if let Some((at, tally)) = tenths.iter().enumerate().next_back() {
            let short = name.split(" (").next().unwrap_or(&name);
            let (x, y) = place(at, tally);
            let near = ends.iter().any(|end| (end - y).abs() < 0.08 * most);
            chart.label(class, (x, y), if near { Side::HighEnd } else { Side::End }, short);
            ends.push(y);
        }
        chart.legend(Some(mark), class, &name);
    }
    if promise.is_some() && is_error {
        chart.legend(None, "limit", "what was promised");
    }
    chart.finish()
}

/// Wrong hits per hit in each tenth of the requests.
pub(super) fn error_over_time(findings: &Findings) -> String {
    let title = "Share of wrong hits over time";
    over_time(findings, "error", title, "hits that are wrong, %", Tally::false_hit_rate)
}

/// Right hits per request in each tenth of the requests.
pub(super) fn hits_over_time(findings: &Findings) -> String {
    let title = "Right hits per request over time";
    over_time(findings, "hits", title, "requests answered rightly from the cache, %", Tally::right_rate)
}

/// How often the cache was right, by how sure it was.
pub(super) fn reliability(findings: &Findings) -> String {
    let shares = [0.01, 0.05, 0.2, 0.5, 0.8, 0.95, 0.99, 0.999];
    let axis = |label: &str| Axis {
        label: label.to_owned(),
        scale: Scale::Logit,
        from: LEAST,
        to: MOST,
        ticks: shares.map(|share| (share, round_percent_fine(share))).to_vec(),
    };
    let mut chart = Chart::new(
        "reliability",
        "How often the answer was right, by the probability that the cache gave it",
        axis("probability that the cache gave, % (scale of odds)"),
        axis("answers that were right, % (scale of odds)"),
    );
    chart.line("plain", [(LEAST, LEAST), (MOST, MOST)]);
    for bin in &findings.reliability {
        let share = bin.right as f64 / bin.all.max(1) as f64;
        let interval = clopper_pearson(bin.right, bin.all, 0.95);
        let at = (bin.confidence.clamp(LEAST, MOST), share.clamp(LEAST, MOST));
        chart.interval("cut", at.0, interval.low, interval.high);
        let hover = format!(
            "{} candidates of mean probability {}: {} were right ({} to {})",
            count(bin.all as f64),
            percent(bin.confidence),
            percent(share),
            percent(interval.low),
            percent(interval.high),
        );
        chart.mark(Mark::Dot, "cut", at, &hover);
    }
    chart.legend(None, "plain", "as sure as right");
    chart.legend(Some(Mark::Dot), "cut", "candidates, with 95 % interval");
    chart.finish()
}

fn round_percent_fine(share: f64) -> String {
    let text = format!("{:.1}", 100.0 * share);
    text.trim_end_matches(".0").to_owned()
}
