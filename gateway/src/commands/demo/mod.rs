//! `sluice demo`: the main job, shown on a stream of customer questions. A real gateway and two scripted providers on
//! loopback; everything goes over HTTP.

mod client;
mod report;
mod run;
pub(super) mod stream;

use std::path::PathBuf;

use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{EmbeddingArgs, load_embedder};
use run::Stage;
use stream::Stream;

/// Shows the main job: questions are redacted, answered from the cache where that is safe, and fall back when a
/// provider fails. Needs no key; the network only for the embedding model's weights, the first time.
#[derive(Args)]
pub struct DemoArgs {
    /// A labelled stream of your own, asked in its order: lines of {"id","prompt","intent"}.
    #[arg(long)]
    stream: Option<PathBuf>,
    /// How many questions to ask. By default 1000, or all of --stream.
    #[arg(long)]
    requests: Option<usize>,
    /// Similarity from which two questions may share an answer.
    #[arg(long, default_value_t = 0.90)]
    similarity: f32,
    /// Seed of the built-in stream's order.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    #[command(flatten)]
    embedding: EmbeddingArgs,
}

/// Runs the demo; the text is the table for standard output.
///
/// # Errors
/// What could not be read, loaded or bound.
pub fn run(args: &DemoArgs) -> Result<String, String> {
    if !(0.0..=1.0).contains(&args.similarity) {
        return Err("--similarity: expected a number from 0 to 1".to_owned());
    }
    let stream = match &args.stream {
        Some(path) => Stream::read(path, args.requests)?,
        None => Stream::built_in(args.requests.unwrap_or(1000), args.seed)?,
    };
    let embedder = load_embedder(&args.embedding.section())?;
    let progress = Progress::new(stream.questions.len());

    let main = Stage::start(&stream, embedder.clone(), args.similarity, "flat", true)?;
    let seen = main.ask_all(&stream, &mut |done, figures| progress.show(done, figures))?;
    progress.finish();
    let proof = main.proof(&stream);
    drop(main);

    // The same questions on the other index, without the outage and the provider's latency.
    let other = Stage::start(&stream, embedder, args.similarity, "hnsw", false)?;
    let again = other.ask_all(&stream, &mut |_, _| {})?;
    drop(other);
    Ok(report::table(&stream, &seen, &proof, &again))
}

/// The live progress: a bar on a terminal, a line now and then elsewhere.
struct Progress {
    bar: ProgressBar,
    plain: bool,
    every: usize,
}

impl Progress {
    fn new(total: usize) -> Self {
        let bar = ProgressBar::with_draw_target(Some(total as u64), ProgressDrawTarget::stderr());
        let style = ProgressStyle::with_template("{elapsed_precise} {wide_bar} {pos}/{len}  {msg}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        let plain = bar.is_hidden();
        Self { bar, plain, every: (total / 10).max(1) }
    }

    fn show(&self, done: usize, figures: &str) {
        self.bar.set_position(done as u64);
        self.bar.set_message(figures.to_owned());
        if self.plain && done.is_multiple_of(self.every) {
            // Without a terminal the bar draws nothing; standard output stays free for the table.
            drop(std::io::Write::write_all(
                &mut std::io::stderr(),
                format!("{done} questions asked: {figures}\n").as_bytes(),
            ));
        }
    }

    fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
