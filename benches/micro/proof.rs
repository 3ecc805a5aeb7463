//! What the post-condition costs: looking for redacted values in about 16 KB that go out, on one thread.
//!
//! `cargo run --release -p sluice-benches --bin proof`
//!
//! The best of many rounds, since whatever else the machine does only adds; and the first round, in which the search is made.
//! Asserts nothing; keep what it prints under `benches/runs/`.

#![forbid(unsafe_code)]

use std::process::ExitCode;
use std::time::{Duration, Instant};

use serde_json::json;
use sluice_guardrails::{Guard, Policy, Proof, Vault};

const ROUNDS: usize = 3000;
const VALUES: [(&str, &str); 3] = [
    ("two addresses", "ada@example.org, bob@example.net"),
    ("four values", "ada@example.org, bob@example.net, card 4111 1111 1111 1111, phone +1 (212) 555-0142"),
    ("an IBAN", "ada@example.org, IBAN GB29 NWBK 6016 1331 9268 19"),
];

#[expect(clippy::print_stdout, reason = "what a bench is for")]
fn main() -> ExitCode {
    let guard = Guard::new(&Policy::default());
    for (kind, text) in texts() {
        let body = json!({ "model": "m", "messages": [{ "role": "user", "content": text }] }).to_string();
        for (name, values) in VALUES {
            let mut vault = Vault::new();
            let Some(proof) = vault.redact(&guard, values).ok().and_then(|_| vault.proof()) else {
                return ExitCode::FAILURE;
            };
            let (first, best) = measure(&proof, body.as_bytes());
            let bytes = body.len();
            println!("{kind:22} {name:14} {bytes} bytes: first {first:9.1?}, best {best:9.1?}");
        }
    }
    ExitCode::SUCCESS
}

fn measure(proof: &Proof, body: &[u8]) -> (Duration, Duration) {
    let round = || {
        let begun = Instant::now();
        std::hint::black_box(proof.check_json(std::hint::black_box(body), &|_| false).is_ok());
        begun.elapsed()
    };
    let first = round();
    (first, (0..ROUNDS).map(|_| round()).min().unwrap_or(first))
}

fn texts() -> [(&'static str, String); 4] {
    let sentence = "The report of the third quarter says that revenue grew by 12 percent, which nobody had foreseen; we ship on Friday. ";
    [
        ("prose", sentence.repeat(140)),
        ("prose in lines", format!("{sentence}\n").repeat(139)),
        ("numbers", "4,812 17.5 2024 99 12 ".repeat(745)),
        ("code, much escaped", "if (a[\"x\"] == '\\\\d+') {\n\treturn \"y\";\n}\n".repeat(400)),
    ]
}
