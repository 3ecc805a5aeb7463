//! How many bytes of an answer wait after each piece that a provider sends: while values are masked, and while the
//! caller's own are put back.
//!
//! ```sh
//! cargo bench -p sluice-guardrails --bench held
//! ```
//! Asserts nothing; keep what it prints under `benches/runs/`.

#![forbid(unsafe_code)]

mod texts;

use std::sync::Arc;

use sluice_guardrails::{Action, Form, Guard, Masker, OutputRules, Rules, Vault};
use texts::Texts;

const BYTES: usize = 400_000;

fn main() {
    let output = OutputRules { pii: Action::Redact, secrets: Action::Redact, ..OutputRules::default() };
    let rules = Rules { output, ..Rules::default() };
    let guard = Guard::compile(&rules, &|_| Err("no key is named".to_owned())).expect("the policy is right");
    let answers = guard.answers().expect("answers are read");
    let mut texts = Texts::new(7);
    let (prose, dialogue) = (texts.prose(BYTES), texts.dialogue(BYTES));
    // A model that writes placeholders where the caller wrote values.
    let mut vault = Vault::new();
    let asked = Texts::new(8).dialogue(40_000);
    let answer = vault.redact(&guard, &asked).ok().flatten().unwrap_or(asked);
    let restored = |text: &str| {
        let mut rehydrator = vault.rehydrator(Form::Text);
        held(text, |piece| {
            rehydrator.push(piece);
            rehydrator.held()
        })
    };
    let masked = |text: &str| {
        let mut masker = Masker::new(Arc::clone(answers), Form::Text);
        held(text, |piece| {
            // No rule of this policy blocks.
            drop(masker.push(piece));
            masker.held()
        })
    };
    println(&["", "pieces", "none", "p50", "p99", "p99.9", "max"].map(str::to_owned));
    for (name, counts) in [
        ("masking prose", masked(&prose)),
        ("masking dialogue with values", masked(&dialogue)),
        ("restoring into prose", restored(&prose)),
        ("restoring into dialogue", restored(&answer)),
    ] {
        let at = |per_mille: usize| counts[(counts.len() - 1) * per_mille / 1000].to_string();
        let none = counts.iter().filter(|held| **held == 0).count() * 100 / counts.len();
        let cells = [counts.len().to_string(), format!("{none} %"), at(500), at(990), at(999), at(1000)];
        println(&[&[name.to_owned()][..], &cells].concat());
    }
}

#[expect(clippy::print_stdout, reason = "what a bench is for")]
fn println(cells: &[String]) {
    print!("{:<30}", cells[0]);
    cells[1..].iter().for_each(|cell| print!(" {cell:>8}"));
    println!();
}

/// What waits after each piece, sorted. The pieces are like tokens: a word with the space before it, in parts of at most six.
fn held(text: &str, mut push: impl FnMut(&str) -> usize) -> Vec<usize> {
    let mut counts = Vec::new();
    let mut from = 0;
    for (at, c) in text.char_indices().skip(1) {
        let ends = c == ' '
            || c == '\n'
            || at - from >= 6
            || c.is_ascii_punctuation()
            || c.is_ascii_digit() && at - from >= 3;
        if ends {
            counts.push(push(&text[from..at]));
            from = at;
        }
    }
    counts.push(push(&text[from..]));
    counts.sort_unstable();
    counts
}
