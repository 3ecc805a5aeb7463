//! `sluice eval`: what the cache would have done with traffic whose meaning is known, and how good the scanner is.

mod attacks;
mod fit;
mod fit_injection;
mod injection;
pub(super) mod lines;
mod pii;
mod report;
mod vectors;

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Subcommand};
use futures_util::{StreamExt, TryStreamExt, stream};
use sluice_engine::decide::Policy;
use sluice_engine::decide::prior::Shipped;
use sluice_engine::replay::{Line, Options, Report, Served, Stream, order};
use sluice_models::EmbedPool;

use super::EmbeddingArgs;

/// Texts on their way to the embedding workers at a time; fewer than their queue holds.
const AT_ONCE: usize = 16;

/// Evaluations.
#[derive(Subcommand)]
pub enum EvalCommand {
    /// Replays a labelled stream of prompts through the cache's own decisions, from an empty cache.
    Cache(CacheArgs),
    /// Fits what the learnt rule knows before its first label, and writes it as JSON.
    Fit(fit::FitArgs),
    /// Scores what the injection detector says of labelled texts.
    Injection(injection::InjectionArgs),
    /// Trains the injection detector, and writes its weights.
    FitInjection(fit_injection::FitInjectionArgs),
    /// Scores what the scanner finds in texts whose personal data people have marked.
    Pii(pii::PiiArgs),
}

/// What `sluice eval cache` may be told.
#[derive(Args)]
pub struct CacheArgs {
    /// The stream, one JSON object a line: {"id", "prompt", "intent", "shareable"?}. The simulated provider answers with the
    /// intent, and with the id as well where "shareable" is false.
    #[arg(long, value_name = "FILE.jsonl")]
    stream: PathBuf,
    /// Pairs of prompts that don't mean the same, whatever their intents: {"a_id", "b_id", "kind"}. The kinds
    /// labelled_non_duplicate and look_alike_entity_differs are certain.
    #[arg(long, value_name = "FILE.jsonl")]
    different: Vec<PathBuf>,
    /// The rule: fixed:S serves from cosine similarity S on; calibrated:R keeps the share of wrong hits below R, strict:R
    /// as well and refuses contradictions; verified:R is vCache's rule. Several are compared.
    #[arg(long, value_name = "POLICY", default_value = "calibrated:0.01")]
    policy: Vec<Policy>,
    /// The first order of arrival: 0 is the file's, any other number a shuffle of its own.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// How many orders, counted from --seed on.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=1000))]
    seeds: u64,
    /// How often a comparison of two answers comes out wrong, from 0 to 1.
    #[arg(long, value_name = "P", default_value_t = 0.0, value_parser = share)]
    judge_error: f64,
    /// Half of the intents get another answer halfway through.
    #[arg(long)]
    drift: bool,
    /// Candidates that are only learnt from before the first hit.
    #[arg(long, value_name = "N", default_value_t = 0)]
    shadow: u64,
    /// Also write what became of each request, in the order served. One policy and one order only.
    #[arg(long, value_name = "OUT.jsonl")]
    decisions: Option<PathBuf>,
    #[command(flatten)]
    embedding: EmbeddingArgs,
    /// One JSON object per policy and order instead of a table.
    #[arg(long)]
    json: bool,
}

fn share(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|number| (0.0..=1.0).contains(number));
    number.ok_or_else(|| "expected a number from 0 to 1".to_owned())
}

/// A policy's run over one order.
struct Run {
    policy: Policy,
    seed: u64,
    report: Report,
}

/// What all runs have in common.
struct Setting {
    stream: String,
    model: String,
    judge_error: f64,
    drift: bool,
    /// Time that each prompt's embedding took, shortest first.
    embedding: Vec<Duration>,
}

/// Runs it; the text is for standard output.
///
/// # Errors
/// What could not be read, by file and line, or loaded, or written.
pub fn run(command: &EvalCommand) -> Result<String, String> {
    let args = match command {
        EvalCommand::Cache(args) => args,
        EvalCommand::Fit(args) => return fit::run(args),
        EvalCommand::Pii(args) => return pii::run(args),
        EvalCommand::Injection(args) => return injection::run(args),
        EvalCommand::FitInjection(args) => return fit_injection::run(args),
    };
    if args.decisions.is_some() && (args.policy.len() > 1 || args.seeds > 1) {
        return Err("--decisions: expected one --policy and one order, as it writes one file".to_owned());
    }
    let lines: Vec<Line> = lines::stream(&args.stream)?;
    let different = lines::different(&args.different)?;
    let embedder = super::load_embedder(&args.embedding.section())?;
    let (vectors, embedding) = embed(&embedder, &lines)?;
    let stream = Stream::new(&lines, &vectors, &different);
    let runs = replay(&stream, lines.len(), args)?;
    if let (Some(path), [run]) = (&args.decisions, runs.as_slice()) {
        write(path, &run.report.decisions).map_err(|e| format!("--decisions {}: {e}", path.display()))?;
    }
    let setting = Setting {
        stream: args.stream.display().to_string(),
        model: embedder.id().to_owned(),
        judge_error: args.judge_error,
        drift: args.drift,
        embedding,
    };
    Ok(if args.json { report::json(&setting, &runs) } else { report::table(&setting, &runs) })
}

/// The prompts' vectors, none for a prompt longer than the model's window, and how long each took.
pub(super) fn embed(embedder: &EmbedPool, lines: &[Line]) -> Result<(Vec<Vec<f32>>, Vec<Duration>), String> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().map_err(|e| e.to_string())?;
    let one = async |line: &Line| embedder.embed_within("", &line.prompt, None).await;
    let embedded = stream::iter(lines).map(one).buffered(AT_ONCE).try_collect();
    let embedded: Vec<_> = runtime.block_on(embedded).map_err(|e| e.to_string())?;
    let mut times: Vec<Duration> =
        embedded.iter().filter_map(|e| e.timing.and_then(|timing| timing.computed)).collect();
    times.sort_unstable();
    let vector = |e: &sluice_models::Embedded| {
        if e.embedding.truncated { Vec::new() } else { e.embedding.vector.clone() }
    };
    Ok((embedded.iter().map(vector).collect(), times))
}

/// Every policy over every order, on as many threads as there are cores.
fn replay(stream: &Stream<'_>, length: usize, args: &CacheArgs) -> Result<Vec<Run>, String> {
    let seeds = args.seed..args.seed.saturating_add(args.seeds);
    let wanted: Vec<(Policy, u64)> =
        args.policy.iter().flat_map(|&policy| seeds.clone().map(move |seed| (policy, seed))).collect();
    let one = |&(policy, seed): &(Policy, u64)| {
        let options = Options {
            policy,
            seed,
            judge_error: args.judge_error,
            drift: args.drift,
            shadow: args.shadow,
            ..Options::default()
        };
        let report = stream.replay(&order(length, seed), &options, Shipped::built_in(), &mut |_| {});
        Run { policy, seed, report }
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let mut runs = Vec::with_capacity(wanted.len());
    for together in wanted.chunks(threads) {
        let done = std::thread::scope(|scope| {
            let begun: Vec<_> = together.iter().map(|wanted| scope.spawn(|| one(wanted))).collect();
            begun.into_iter().map(std::thread::ScopedJoinHandle::join).collect::<Result<Vec<_>, _>>()
        });
        runs.extend(done.map_err(|_| "a replay stopped unexpectedly")?);
    }
    Ok(runs)
}

fn write(path: &Path, decisions: &[Served]) -> std::io::Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    for served in decisions {
        serde_json::to_writer(&mut file, served)?;
        file.write_all(b"\n")?;
    }
    file.flush()
}
