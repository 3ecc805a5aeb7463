//! `sluice bench`: what this machine does, measured on this machine.

mod measure;
mod report;
mod vectors;

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::{EmbeddingArgs, load_embedder};
use report::Figures;
use vectors::Vectors;

/// Vectors up to which a graph is measured by default: building a larger one takes more than some two minutes.
const HNSW_UP_TO: usize = 100_000;

/// Measurements.
#[derive(Subcommand)]
pub enum BenchCommand {
    /// Measures how the nearest vectors are found: recall, and time per search and per insert, by the number of vectors.
    Index(IndexArgs),
}

/// What `sluice bench index` may be told.
#[derive(Args)]
pub struct IndexArgs {
    /// Numbers of vectors.
    #[arg(long, value_delimiter = ',', default_value = "1000,10000,100000")]
    n: Vec<usize>,
    /// A file of texts, one a line: plain, or JSON with "prompt" or "text". By default the questions of the demo. Some are
    /// kept back as queries; where the rest is too few, noisy copies of their vectors make up the number.
    #[arg(long)]
    texts: Option<PathBuf>,
    /// Whether the graph is measured as well: auto leaves out sizes whose building takes minutes.
    #[arg(long, value_enum, default_value = "auto")]
    hnsw: When,
    /// Also write the vectors into this folder, for benches/peers/index.py.
    #[arg(long)]
    dump: Option<PathBuf>,
    /// One JSON object a line instead of a table.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    embedding: EmbeddingArgs,
}

/// When to do something that takes long.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum When {
    Auto,
    Always,
    Never,
}

/// Runs it; the text is for standard output.
///
/// # Errors
/// What could not be read, loaded or written.
pub fn run(command: &BenchCommand) -> Result<String, String> {
    let BenchCommand::Index(args) = command;
    let largest = args.n.iter().copied().max().unwrap_or(0);
    if args.n.contains(&0) {
        return Err("--n: expected numbers of at least 1".to_owned());
    }
    let texts = vectors::texts(args.texts.as_deref())?;
    let embedder = load_embedder(&args.embedding.section())?;
    say(&format!("embedding {} texts", texts.len()));
    let all = Vectors::embed(&embedder, &texts, largest)?;
    if let Some(folder) = &args.dump {
        all.write(folder, &args.n)?;
    }
    let mut figures = Vec::new();
    for &n in &args.n {
        measure_one(args, &all, n, &mut figures)?;
    }
    Ok(if args.json { report::json(&all, &figures) } else { report::table(&all, embedder.id(), &figures) })
}

/// Measures every index at one size.
fn measure_one(args: &IndexArgs, all: &Vectors, n: usize, figures: &mut Vec<Figures>) -> Result<(), String> {
    say(&format!("{n} vectors: scanning"));
    let flat = measure::Flat::load(all, n)?;
    let truth = flat.truth(all);
    figures.push(flat.exact(all, &truth));
    figures.push(flat.by_signs(all, &truth));
    if args.hnsw == When::Always || (args.hnsw == When::Auto && n <= HNSW_UP_TO) {
        say(&format!("{n} vectors: building a graph"));
        figures.push(measure::graph(all, n, &truth)?);
    }
    Ok(())
}

/// Tells on standard error what takes so long; standard output is for the figures.
fn say(what: &str) {
    drop(std::io::Write::write_all(&mut std::io::stderr(), format!("{what} ...\n").as_bytes()));
}
