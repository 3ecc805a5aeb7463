//! Embedding on one thread: our kernels, candle as released, and peers in a process of their own, all in turns.
//!
//! ```sh
//! RAYON_NUM_THREADS=1 cargo run --release -p sluice-benches --bin embed -- python benches/peers/embed.py MODEL_DIR
//! ```
//! Without a command after `--`, the peers are left out. Asserts nothing; keep what it prints under `benches/runs/`.

#![forbid(unsafe_code)]

use std::cell::RefCell;
use std::io::{BufRead, BufReader, Lines, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitCode, Stdio};

use serde_json::{Value, json};
use sluice::commands::model::bench::{Case, Engine, cases, engine, load_all, measure};
use sluice_models::{DEFAULT_MODEL, NoProgress, PullOptions};

/// What the peers' script can run.
const PEERS: [&str; 2] = ["ort-f32", "ort-int8"];

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::print_stdout, reason = "what a bench is for")]
fn run() -> Result<(), String> {
    if std::env::var("RAYON_NUM_THREADS").as_deref() != Ok("1") {
        return Err("set RAYON_NUM_THREADS=1, so that candle uses one thread".to_owned());
    }
    let spec = sluice_models::find(DEFAULT_MODEL).ok_or("the default model is not in the registry")?;
    let files = sluice_models::pull(spec, &PullOptions::default(), &NoProgress).map_err(|e| e.to_string())?;
    let models = load_all(spec, &files)?;
    let command: Vec<String> = std::env::args().skip(1).collect();
    let peers = match command.split_first() {
        Some((program, arguments)) => Some(RefCell::new(Peers::start(program, arguments)?)),
        None => None,
    };
    let mut engines: Vec<Engine<'_>> = models.iter().map(engine).collect();
    for (name, peers) in PEERS.iter().flat_map(|name| peers.as_ref().map(|peers| (name, peers))) {
        let run = Box::new(|case: &Case, calls| peers.borrow_mut().median(name, case, calls));
        engines.push(Engine { name: (*name).to_owned(), run });
    }

    print!("{:>7}", "LxB");
    engines.iter().for_each(|engine| print!(" {:>20}", engine.name));
    println!("   (µs a call, best median of rounds in turns)");
    let mut table = Vec::new();
    for case in cases(&models[0])? {
        let best = measure(&mut engines, &case)?;
        print!("{:>7}", format!("{}x{}", case.tokens, case.texts.len()));
        best.iter().for_each(|us| print!(" {us:>20.0}"));
        println!();
        table.push((format!("{}x{}", case.tokens, case.texts.len()), best));
    }
    println!("\ntimes as fast as each of the others:");
    for (at, own) in models.iter().enumerate().skip(1) {
        for (case, best) in &table {
            let others = engines.iter().zip(best).enumerate().filter(|(other, _)| *other != at);
            let ratios = others.map(|(_, (engine, us))| format!("{} {:.2}", engine.name, us / best[at]));
            println!("{:>7} {}: {}", case, own.kernel(), ratios.collect::<Vec<_>>().join(", "));
        }
    }
    Ok(())
}

/// A process that embeds on request: a line of JSON in, a line of JSON out.
struct Peers {
    child: Child,
    requests: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

impl Peers {
    fn start(program: &str, arguments: &[String]) -> Result<Self, String> {
        let failed = |e: std::io::Error| format!("cannot run {program}: {e}");
        let mut command = Command::new(program);
        let piped = command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = piped.spawn().map_err(failed)?;
        let requests = child.stdin.take().ok_or("the peers have no input")?;
        let answers = BufReader::new(child.stdout.take().ok_or("the peers have no output")?).lines();
        let mut peers = Self { child, requests, answers };
        peers.answer().map(|_ready| peers)
    }

    fn answer(&mut self) -> Result<Value, String> {
        let line = self.answers.next().ok_or("the peers have stopped")?.map_err(|e| e.to_string())?;
        serde_json::from_str(&line).map_err(|e| format!("the peers said no JSON: {e}"))
    }

    fn median(&mut self, engine: &str, case: &Case, calls: usize) -> Result<f64, String> {
        let request = json!({"engine": engine, "tokens": case.tokens, "batch": case.texts.len(),
                             "rounds": calls, "ids": case.texts});
        writeln!(self.requests, "{request}").map_err(|e| e.to_string())?;
        let answer = self.answer()?;
        answer["us"].as_f64().ok_or_else(|| format!("the peers answered without 'us': {answer}"))
    }
}

impl Drop for Peers {
    fn drop(&mut self) {
        // It ends by itself when its input does; whether it was still there does not matter.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
