//! `sluice tune`: which policy the cache should have, from labelled traffic or from what a watching cache wrote down.

mod chart;
mod figures;
mod findings;
mod log;
mod page;
mod shadow;
mod sweep;
#[cfg(test)]
mod tests;
mod text;
mod words;

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use clap::Args;
use sluice_engine::decide::prior::Shipped;

use super::EmbeddingArgs;
use findings::Findings;
use log::Input;

/// What `sluice tune` may be told.
#[derive(Args)]
pub struct TuneArgs {
    /// Labelled traffic, {"id", "prompt", "intent", "shareable"?} a line, or a shadow log, {"id", "similarity", "confidence",
    /// "right"?, "would_serve"?, "request"?, "ts"?, "prompt"?, "matched_prompt"?} a line.
    #[arg(long, value_name = "FILE.jsonl")]
    log: PathBuf,
    /// Where the report goes: one HTML file that needs nothing else.
    #[arg(long, value_name = "REPORT.html")]
    out: PathBuf,
    /// What a wrong answer costs, in provider calls.
    #[arg(long, value_name = "R", default_value_t = 50.0, allow_negative_numbers = true, value_parser = price)]
    price_of_wrong: f64,
    /// The first order of arrival: 0 is the file's, any other number a shuffle of its own. A shadow log has one order.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// How many orders, counted from --seed on.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=100))]
    seeds: u64,
    #[command(flatten)]
    embedding: EmbeddingArgs,
}

fn price(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|number: &f64| number.is_finite() && *number >= 0.0);
    number.ok_or_else(|| "expected a number of provider calls, 0 or more".to_owned())
}

/// Runs it; the text is for standard output.
///
/// # Errors
/// What could not be read, by file and line, or loaded, or written.
pub fn run(args: &TuneArgs) -> Result<String, String> {
    let file = args.log.file_name().unwrap_or(args.log.as_os_str()).to_string_lossy().into_owned();
    let findings = match log::read(&args.log)? {
        Input::Shadow(log) => shadow::sweep(&file, &log, args.price_of_wrong),
        Input::Stream(lines) => {
            let embedder = super::load_embedder(&args.embedding.section())?;
            let (vectors, _) = super::eval::embed(&embedder, &lines)?;
            sweep::sweep(&sweep::Setting {
                file,
                model: embedder.id().to_owned(),
                lines: &lines,
                vectors: &vectors,
                shipped: Shipped::built_in(),
                seed: args.seed,
                seeds: args.seeds,
                price: args.price_of_wrong,
            })?
        }
    };
    let page = page::render(&findings, &httpdate::fmt_http_date(SystemTime::now()));
    std::fs::write(&args.out, page).map_err(|e| format!("--out {}: {e}", args.out.display()))?;
    Ok(summary(&findings, &args.out))
}

/// A few lines for the terminal.
fn summary(findings: &Findings, out: &Path) -> String {
    let mut text = String::new();
    match findings.choice() {
        Some(choice) => {
            let (tally, interval) = (&choice.tally, choice.tally.interval());
            let _ = writeln!(
                text,
                "{}: {} of requests answered rightly from the cache, {} of hits wrong (95 %: {} to {}).\n",
                choice.policy(),
                text::percent(tally.right_rate()),
                text::percent(tally.false_hit_rate()),
                text::percent(interval.low),
                text::percent(interval.high),
            );
        }
        None => text.push_str("No policy has earned its hits yet: let the cache watch.\n\n"),
    }
    let _ = write!(text, "{}\nThe report is in {}.\n", page::yaml(findings), out.display());
    text
}
