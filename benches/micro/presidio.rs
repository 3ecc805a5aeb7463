//! Finding personal data by patterns: ours and Presidio's on the same texts, in turns, on one thread each.
//!
//! ```sh
//! python3 -m venv target/presidio && target/presidio/bin/pip install -r benches/peers/presidio.txt
//! cargo bench -p sluice-guardrails --bench presidio -- "$PWD"/target/presidio/bin/python "$PWD"/benches/peers/presidio.py
//! ```
//! Asserts nothing; keep what it prints under `benches/runs/`.

#![forbid(unsafe_code)]

mod texts;

use std::hint::black_box;
use std::io::{BufRead, BufReader, Lines, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitCode, Stdio};
use std::time::Instant;

use serde_json::{Value, json};
use sluice_guardrails::pii::Selection;
use sluice_guardrails::{Action, Band, Guard, InjectionAction, Policy};
use texts::Texts;

/// Of each size, so many different texts.
const TEXTS: usize = 12;
const SIZES: [usize; 4] = [256, 1024, 4096, 16 * 1024];

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn guards() -> Result<[(&'static str, Guard); 3], String> {
    let policy = |secrets| Policy {
        pii: Action::Redact,
        secrets,
        injection: InjectionAction::Off,
        ..Policy::default()
    };
    let packs =
        |names: &[&str]| Selection::of(&names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>());
    Ok([
        ("default, with secrets", Guard::new(&policy(Action::Redact))),
        ("core,us, reports included", Guard::with(&policy(Action::Off), &packs(&["core", "us"])?)),
        ("all packs, reports included", Guard::with(&policy(Action::Off), &packs(&["all"])?)),
    ])
}

#[expect(clippy::print_stdout, reason = "what a bench is for")]
fn run() -> Result<(), String> {
    // Cargo adds a word of its own.
    let command: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let (program, arguments) =
        command.split_first().ok_or("expected a Python and its script, see the head of this file")?;
    let guards = guards()?;
    let mut peer = Peer::start(program, arguments)?;
    println!("{}", peer.about);
    println!(
        "{TEXTS} texts of each kind and size; µs a text, the median over texts of each one's best of rounds; \"as fast\": the median of the ratios of each text\n"
    );
    println!("{:<34} {:<30} {:>10} {:>12} {:>9}", "text", "ours", "ours µs", "presidio µs", "as fast");
    let mut made = Texts::new(7);
    for size in SIZES {
        let kinds = [
            (
                format!("{size} bytes of clean prose"),
                (0..TEXTS).map(|_| made.prose(size)).collect::<Vec<_>>(),
            ),
            (format!("{size} bytes, values given"), (0..TEXTS).map(|_| made.dialogue(size)).collect()),
        ];
        for (kind, texts) in kinds {
            let mut times: Vec<Vec<f64>> = vec![Vec::new(); guards.len() + 1];
            for text in &texts {
                for ((_, guard), times) in guards.iter().zip(&mut times) {
                    times.push(best(guard, text));
                }
                times[guards.len()].push(peer.best(text)?);
            }
            let theirs = &times[guards.len()];
            for ((name, _), ours) in guards.iter().zip(&times) {
                let ratios = ours.iter().zip(theirs).map(|(ours, theirs)| theirs / ours).collect();
                println!(
                    "{kind:<34} {name:<30} {:>10.1} {:>12.0} {:>9.0}",
                    median(ours.clone()),
                    median(theirs.clone()),
                    median(ratios)
                );
            }
        }
    }
    Ok(())
}

/// Microseconds of the best of many rounds: whatever else the machine does only adds.
fn best(guard: &Guard, text: &str) -> f64 {
    let round = || {
        let begun = Instant::now();
        black_box(guard.report(black_box(text), Band::Possible));
        begun.elapsed()
    };
    (0..300).map(|_| round()).min().unwrap_or_default().as_secs_f64() * 1e6
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// A process that analyzes on request: a line of JSON in, a line of JSON out.
struct Peer {
    child: Child,
    requests: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
    about: String,
}

impl Peer {
    fn start(program: &str, arguments: &[String]) -> Result<Self, String> {
        let mut command = Command::new(program);
        let piped = command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = piped.spawn().map_err(|e| format!("cannot run {program}: {e}"))?;
        let requests = child.stdin.take().ok_or("the peer has no input")?;
        let answers = BufReader::new(child.stdout.take().ok_or("the peer has no output")?).lines();
        let mut peer = Self { child, requests, answers, about: String::new() };
        peer.about = peer.answer()?["about"].as_str().unwrap_or_default().to_owned();
        Ok(peer)
    }

    fn answer(&mut self) -> Result<Value, String> {
        let line = self.answers.next().ok_or("the peer has stopped")?.map_err(|e| e.to_string())?;
        serde_json::from_str(&line).map_err(|e| format!("the peer said no JSON: {e}"))
    }

    fn best(&mut self, text: &str) -> Result<f64, String> {
        writeln!(self.requests, "{}", json!({ "text": text, "rounds": 5 })).map_err(|e| e.to_string())?;
        let answer = self.answer()?;
        answer["us"].as_f64().ok_or_else(|| format!("the peer answered without 'us': {answer}"))
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // It ends by itself when its input does; whether it was still there does not matter.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
