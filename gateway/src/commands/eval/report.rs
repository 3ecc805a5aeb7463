//! The figures of a replay, for people or for programs.

use std::fmt::Write;
use std::time::Duration;

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use serde_json::json;
use sluice_engine::decide::Policy;
use sluice_engine::replay::{Counts, stats};

use super::{Run, Setting};

/// A table with a row per policy, and how each went over time.
pub(super) fn table(setting: &Setting, runs: &[Run]) -> String {
    let requests = runs.first().map_or(0, |run| run.report.total.requests);
    let policies = policies(runs);
    let orders = runs.len() / policies.len().max(1);
    let mut out = format!(
        "\n{requests} requests of {}, {} of them, embedded by {}{}{}.\n",
        setting.stream,
        if orders == 1 { "one order".to_owned() } else { format!("{orders} orders") },
        setting.model,
        if setting.drift { ", half of the intents change their answer midway" } else { "" },
        if setting.judge_error > 0.0 {
            format!(", {} of the comparisons come out wrong", percent(setting.judge_error))
        } else {
            String::new()
        },
    );
    let mut table = framed();
    table.set_header([
        "policy",
        "right",
        "wrong",
        "certain",
        "uncounted",
        "hits",
        "right hits",
        "false hits",
        "95 %",
        "unsafe",
        "checks",
        "over promise",
    ]);
    for &policy in &policies {
        let of: Vec<&Counts> =
            runs.iter().filter(|run| run.policy == policy).map(|run| &run.report.total).collect();
        table.add_row(row(policy, &of));
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    let _ = writeln!(out, "{table}");
    out.push_str(
        "Counts are means of the orders. right hits: of all requests. false hits: of the right and the wrong ones, with the\n\
         interval (Clopper and Pearson) of the first order. unsafe: requests answered wrongly. checks: served hits that were\n\
         asked upstream as well, of all requests. over promise: orders with significantly more wrong hits (binomial, p < 0.05).\n\n",
    );
    out.push_str("False hits and right hits by tenths of the stream, in percent:\n");
    let mut over_time = framed();
    over_time.set_header(std::iter::once("policy".to_owned()).chain((1..=10).map(|n| n.to_string())));
    for &policy in &policies {
        let of: Vec<&Run> = runs.iter().filter(|run| run.policy == policy).collect();
        let tenths = (0..10).map(|tenth| {
            let parts: Vec<&Counts> = of.iter().filter_map(|run| run.report.over_time.get(tenth)).collect();
            let sum = |count: fn(&Counts) -> u64| parts.iter().map(|part| count(part)).sum::<u64>();
            let (right, wrong) = (sum(|c| c.right), sum(|c| c.wrong));
            let of_all = 100.0 * stats::share(right, sum(|c| c.requests));
            format!("{:.1} / {of_all:.0}", 100.0 * stats::share(wrong, right + wrong))
        });
        over_time.add_row(std::iter::once(policy.to_string()).chain(tenths));
    }
    let _ = writeln!(out, "{over_time}");
    let deciding: Duration = runs.iter().map(|run| run.report.deciding).sum();
    let decided: u64 = runs.iter().map(|run| run.report.total.requests - run.report.total.exact).sum();
    let _ = writeln!(
        out,
        "Time per request: embedding {:.0} µs (median; 99 of 100 within {:.0}), finding and deciding {:.0} µs (mean).",
        micros(quantile(&setting.embedding, 0.5)),
        micros(quantile(&setting.embedding, 0.99)),
        micros(deciding) / decided.max(1) as f64,
    );
    out
}

fn framed() -> Table {
    let mut table = Table::new();
    table.load_preset(presets::UTF8_BORDERS_ONLY).set_content_arrangement(ContentArrangement::Disabled);
    table
}

fn policies(runs: &[Run]) -> Vec<Policy> {
    let mut policies = Vec::new();
    for run in runs {
        if !policies.contains(&run.policy) {
            policies.push(run.policy);
        }
    }
    policies
}

fn row(policy: Policy, of: &[&Counts]) -> Vec<String> {
    let orders = of.len().max(1) as f64;
    let mean = |figure: &dyn Fn(&Counts) -> f64| of.iter().map(|counts| figure(counts)).sum::<f64>() / orders;
    let count = |figure: fn(&Counts) -> u64| {
        let mean = mean(&|counts| figure(counts) as f64);
        if of.len() == 1 { format!("{mean:.0}") } else { format!("{mean:.1}") }
    };
    let interval = of.first().map(|counts| counts.false_hit_interval());
    let over = promise(policy).map_or_else(
        || "-".to_owned(),
        |promise| {
            format!("{} of {}", of.iter().filter(|counts| is_broken(counts, promise)).count(), of.len())
        },
    );
    vec![
        policy.to_string(),
        count(|c| c.right),
        count(|c| c.wrong),
        count(|c| c.certain_wrong),
        count(|c| c.uncounted),
        count(Counts::hits),
        percent(mean(&Counts::right_rate)),
        percent(mean(&Counts::false_hit_rate)),
        interval.map_or_else(String::new, |i| format!("{} to {}", percent(i.low), percent(i.high))),
        percent(mean(&Counts::unsafe_rate)),
        percent(mean(&|counts| stats::share(counts.spot_checks, counts.requests))),
        over,
    ]
}

/// The share of wrong hits that a policy promises not to pass.
fn promise(policy: Policy) -> Option<f64> {
    match policy {
        Policy::Calibrated { max_false_hit_rate, .. } => Some(max_false_hit_rate),
        Policy::Fixed { .. } | Policy::Verified { .. } => None,
    }
}

/// Whether so many wrong hits would be rare had each been wrong with the promised chance.
fn is_broken(counts: &Counts, promise: f64) -> bool {
    stats::broken(counts.wrong, counts.right + counts.wrong, promise) < 0.05
}

/// One object a line.
pub(super) fn json(setting: &Setting, runs: &[Run]) -> String {
    let line = |run: &Run| {
        let counts = &run.report.total;
        let (rate, unsafe_rate) =
            (counts.false_hit_interval(), stats::clopper_pearson(counts.wrong, counts.requests, 0.95));
        let decided = (counts.requests - counts.exact).max(1) as f64;
        let object = json!({
            "policy": run.policy.to_string(), "seed": run.seed, "stream": setting.stream, "model": setting.model,
            "judge_error": setting.judge_error, "drift": setting.drift,
            "requests": counts.requests, "right": counts.right, "wrong": counts.wrong,
            "certain_wrong": counts.certain_wrong, "uncounted": counts.uncounted, "hits": counts.hits(),
            "exact_hits": counts.exact, "spot_checks": counts.spot_checks,
            "upstream_calls": counts.requests - counts.hits() + counts.spot_checks,
            "right_rate": counts.right_rate(), "false_hit_rate": counts.false_hit_rate(),
            "false_hit_rate_95": [rate.low, rate.high],
            "unsafe_served_rate": counts.unsafe_rate(), "unsafe_served_rate_95": [unsafe_rate.low, unsafe_rate.high],
            "significantly_over_promise": promise(run.policy).map(|promise| is_broken(counts, promise)),
            "over_time": run.report.over_time,
            "embedding_us": {
                "p50": micros(quantile(&setting.embedding, 0.5)), "p99": micros(quantile(&setting.embedding, 0.99)),
            },
            "deciding_us": {"mean": micros(run.report.deciding) / decided},
        });
        format!("{object}\n")
    };
    runs.iter().map(line).collect()
}

fn quantile(sorted: &[Duration], share: f64) -> Duration {
    let at = (sorted.len() as f64 * share) as usize;
    sorted.get(at.min(sorted.len().saturating_sub(1))).copied().unwrap_or_default()
}

fn percent(share: f64) -> String {
    format!("{:.2} %", 100.0 * share)
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}
