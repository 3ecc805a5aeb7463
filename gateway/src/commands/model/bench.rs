//! `sluice model bench`: what embedding costs on this machine, beside candle as released, on one thread.

use std::fmt::Write;
use std::time::Instant;

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use serde_json::json;
use sluice_models::{BertEmbedder, Kernel, ModelFiles, ModelSpec, PullOptions};

use super::super::{Bar, env};

/// Tokens of a text, its markers included, and texts of a pass.
const TOKENS: [usize; 3] = [14, 64, 256];
const BATCHES: [usize; 2] = [1, 8];
/// Rounds in which every engine has its turn; the best median of a round counts, so that what else the machine does
/// takes the least part in it.
const ROUNDS: usize = 5;
/// Work of one engine in one round, in tokens, as far as a single pass is not more.
const TOKENS_PER_ROUND: usize = 600;
/// candle asks this variable how many threads to use.
const THREADS: &str = "RAYON_NUM_THREADS";

/// Texts of one length, as token ids: what one pass takes.
pub struct Case {
    /// Of each text.
    pub tokens: usize,
    /// The texts.
    pub texts: Vec<Vec<u32>>,
}

/// Something that embeds.
pub struct Engine<'a> {
    /// Shown with its figures.
    pub name: String,
    /// How it is measured.
    pub run: Run<'a>,
}

/// Embeds the case so many times and says the median time of a call in microseconds.
pub type Run<'a> = Box<dyn FnMut(&Case, usize) -> Result<f64, String> + 'a>;

/// The cases everything is measured with: the ids of ordinary words of the model's own vocabulary.
///
/// # Errors
/// The tokenizer's.
pub fn cases(model: &BertEmbedder) -> Result<Vec<Case>, String> {
    let words = "how do i change the delivery address of an order that was sent last week to my old flat";
    let ids = model.token_ids(words).map_err(|e| e.to_string())?;
    let [first, inner @ .., last] = ids.as_slice() else {
        return Err("the tokenizer gives no tokens".into());
    };
    let text = |number: usize, tokens: usize| {
        let inner = inner.iter().cycle().skip(number).take(tokens - 2);
        std::iter::once(first).chain(inner).chain([last]).copied().collect()
    };
    let case = |tokens, batch| Case { tokens, texts: (0..batch).map(|n| text(n, tokens)).collect() };
    Ok(TOKENS.into_iter().flat_map(|tokens| BATCHES.map(|batch| case(tokens, batch))).collect())
}

/// The best median of each engine for the case, in microseconds, taken in turns.
///
/// # Errors
/// The first engine's that fails.
pub fn measure(engines: &mut [Engine<'_>], case: &Case) -> Result<Vec<f64>, String> {
    let calls = (TOKENS_PER_ROUND / (case.tokens * case.texts.len())).max(1);
    let mut best = vec![f64::INFINITY; engines.len()];
    for _ in 0..ROUNDS {
        for (engine, best) in engines.iter_mut().zip(&mut best) {
            *best = best.min((engine.run)(case, calls)?);
        }
    }
    Ok(best)
}

/// The model by a kernel, as something to measure.
#[must_use]
pub fn engine(model: &BertEmbedder) -> Engine<'_> {
    let run = move |case: &Case, calls: usize| {
        let texts: Vec<&[u32]> = case.texts.iter().map(Vec::as_slice).collect();
        let mut times = Vec::with_capacity(calls);
        for _ in 0..calls {
            let start = Instant::now();
            std::hint::black_box(model.embed_ids(&texts).map_err(|e| e.to_string())?);
            times.push(start.elapsed().as_secs_f64() * 1e6);
        }
        times.sort_by(f64::total_cmp);
        Ok(times[times.len() / 2])
    };
    Engine { name: model.kernel().to_string(), run: Box::new(run) }
}

/// The model by candle, and by the fastest kernel of every precision this processor has.
///
/// # Errors
/// What is wrong with the files.
pub fn load_all(spec: &ModelSpec, files: &ModelFiles) -> Result<Vec<BertEmbedder>, String> {
    let mut kernels = vec![Kernel::Candle];
    for kernel in Kernel::ALL.into_iter().filter(|kernel| kernel.is_available()) {
        let known = |other: &Kernel| *other != Kernel::Candle && other.precision() == kernel.precision();
        if kernel != Kernel::Candle && !kernels.iter().any(known) {
            kernels.push(kernel);
        }
    }
    let load = |kernel| BertEmbedder::load_with(spec, files, kernel).map_err(|e| e.to_string());
    kernels.into_iter().map(load).collect()
}

/// Runs it; the text is for standard output.
///
/// # Errors
/// What could not be loaded or computed.
pub fn run(name: &str, as_json: bool) -> Result<String, String> {
    let spec = sluice_models::resolve(name).map_err(|e| e.to_string())?;
    if env(THREADS).as_deref() != Some("1") {
        return on_one_thread();
    }
    let files =
        sluice_models::pull(&spec, &PullOptions::default(), &Bar::default()).map_err(|e| e.to_string())?;
    let models = load_all(&spec, &files)?;
    let mut engines: Vec<_> = models.iter().map(engine).collect();

    let (mut lines, mut rows) = (String::new(), Vec::new());
    for case in cases(&models[0])? {
        let best = measure(&mut engines, &case)?;
        for (model, us) in models.iter().zip(&best) {
            let (precision, batch, candle_us) = (model.kernel().precision(), case.texts.len(), best[0]);
            rows.push([
                format!("{} × {batch}", case.tokens),
                model.kernel().to_string(),
                format!("{us:.0}"),
                format!("{:.2}", candle_us / us),
            ]);
            if model.kernel() != Kernel::Candle {
                let line = json!({"precision": precision.as_str(), "tokens": case.tokens, "batch": batch,
                                  "us": us.round(), "candle_us": candle_us.round()});
                // Writing to a string does not fail.
                let _ = writeln!(lines, "{line}");
            }
        }
    }
    Ok(if as_json { lines } else { table(&spec.name, rows) })
}

fn table(model: &str, rows: Vec<[String; 4]>) -> String {
    let mut table = Table::new();
    table.load_preset(presets::UTF8_BORDERS_ONLY).set_content_arrangement(ContentArrangement::Disabled);
    table
        .set_header(["tokens × batch", "computed in", "µs a call", "times as fast as candle"])
        .add_rows(rows);
    for column in [2, 3] {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    format!(
        "{model}, one thread, best median of {ROUNDS} rounds in turns; tokenizing not included\n{table}\n"
    )
}

/// The same command in a process of its own, where candle may use one thread only: the number is read from the
/// environment, which must not be changed while other threads may read it.
fn on_one_thread() -> Result<String, String> {
    let failed = |e: std::io::Error| format!("cannot run sluice once more: {e}");
    let mut command = std::process::Command::new(std::env::current_exe().map_err(failed)?);
    let output = command
        .args(std::env::args_os().skip(1))
        .env(THREADS, "1")
        .stderr(std::process::Stdio::inherit())
        .output()
        .map_err(failed)?;
    if !output.status.success() {
        return Err("the measuring process failed, see above".to_owned());
    }
    String::from_utf8(output.stdout).map_err(|e| e.to_string())
}
