//! Scanning for personal data and secrets on one thread: prompts, clean text, and texts made to be slow.
//!
//! ```sh
//! cargo bench -p sluice-guardrails --bench scan
//! ```
//! Asserts nothing; keep what it prints under `benches/runs/`.

#![forbid(unsafe_code)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use sluice_guardrails::pii::Selection;
use sluice_guardrails::{Action, Band, Guard, InjectionAction, Policy};

const KB: usize = 1024;
/// How often as long the longer of two adversarial texts is.
const TIMES: usize = 16;

const PROSE: &str = "The committee met on a grey morning to settle how the orchard should be shared, and nobody expected it to \
take long. There were four proposals, none of them new. The first would have given every household the same number of trees; \
the second counted children; the third asked for a ballot, and the last wanted to leave things as they were. \"We could try a \
mixture,\" said the miller, who had walked for 2 hours and missed his breakfast. Please summarise what was decided, name the \
three main reasons in bullet points, and keep the tone friendly: it goes to people who were not in the room.\n";
const PERSONAL: &str = "Hi, I am Ada (ada.l@example.org, +44 20 7946 0958). Order 48-2193 from 2024-11-05 was charged twice to \
4111 1111 1111 1111; refund DE89 3704 0044 0532 0130 00. My SSN is 536-22-8143, the server was 91.198.174.192.\n";

fn main() {
    let off = Policy {
        pii: Action::Redact,
        secrets: Action::Off,
        injection: InjectionAction::Off,
        ..Policy::default()
    };
    let both = Policy { secrets: Action::Redact, ..off.clone() };
    let all = Selection::of(&["all".to_owned()]).unwrap_or_default();
    let guards = [
        ("personal data, default packs", Guard::new(&off)),
        ("and secrets", Guard::new(&both)),
        ("all packs, reports included", Guard::with(&off, &all)),
    ];
    speed(&guards);
    growth(&guards);
}

/// A text repeated up to a length.
fn text(of: &str, bytes: usize) -> String {
    let mut text = of.repeat(bytes / of.len() + 1);
    let end = (0..=bytes).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    text.truncate(end);
    text
}

/// Sorted times of reading `text`.
fn times(guard: &Guard, text: &str, rounds: usize) -> Vec<Duration> {
    let mut times: Vec<Duration> = (0..rounds)
        .map(|_| {
            let start = Instant::now();
            black_box(guard.report(black_box(text), Band::Likely));
            start.elapsed()
        })
        .collect();
    times.sort_unstable();
    times
}

#[expect(clippy::print_stdout, clippy::cast_precision_loss, reason = "what a bench is for")]
fn speed(guards: &[(&str, Guard)]) {
    let mixed = format!("{PERSONAL}{}", text(PROSE, 4 * KB - PERSONAL.len()));
    let umlauts = text(&PROSE.replace('o', "ö"), 4 * KB);
    let cases = [
        ("4 KB clean prompt", text(PROSE, 4 * KB)),
        ("4 KB prompt with 6 values", mixed),
        ("4 KB not ASCII", umlauts),
        ("1 MB clean", text(PROSE, KB * KB)),
        ("1 MB, values throughout", text(&format!("{PERSONAL}{PROSE}"), KB * KB)),
    ];
    println!(
        "{:<28} {:<30} {:>10} {:>10} {:>9} {:>9}",
        "text", "rules", "p50 µs", "p99 µs", "MB/s", "findings"
    );
    for (name, text) in &cases {
        for (rules, guard) in guards {
            let found = guard.report(text, Band::Likely).len();
            let times = times(guard, text, if text.len() > 64 * KB { 25 } else { 2000 });
            let (p50, p99) = (times[times.len() / 2], times[times.len() * 99 / 100]);
            let rate = text.len() as f64 / p50.as_secs_f64() / 1e6;
            let micros = |time: Duration| time.as_secs_f64() * 1e6;
            println!(
                "{name:<28} {rules:<30} {:>10.1} {:>10.1} {rate:>9.0} {found:>9}",
                micros(p50),
                micros(p99)
            );
        }
    }
}

#[expect(clippy::print_stdout, reason = "what a bench is for")]
fn growth(guards: &[(&str, Guard)]) {
    let base64 = "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVo4NTU1MTIzNDU2Nzg5";
    let cases = [
        ("digits", "7"),
        ("@", "@"),
        ("a@", "a@"),
        ("1.", "1."),
        ("base64", base64),
        ("dashes", "-"),
        ("1-", "1-"),
        ("12 ", "12 "),
        ("4111 ", "4111 "),
        ("(", "("),
        ("+", "+"),
        ("+4 ", "+4 "),
        (":", ":"),
        ("a:", "a:"),
        ("1:", "1:"),
        ("://", "://"),
        ("ab://", "ab://"),
        ("www.", "www."),
        ("a.", "a."),
        ("%41", "%41"),
        ("&#64;", "&#64;"),
        ("\\u0040", "\\u0040"),
        ("DE89", "DE89"),
        ("DE89 ", "DE89 "),
        ("0x", "0x"),
        ("bc1", "bc1"),
        ("1 May ", "1 May "),
        ("ssn ", "ssn "),
        ("phone 1 ", "phone 1 "),
        (" ", " "),
        ("536-22-8143 ", "536-22-8143 "),
        ("1 Ab St ", "1 Ab St "),
        ("Ä１", "Ä１"),
        ("аb1", "аb1"),
        ("zero width", "1\u{200b}"),
        ("[", "["),
        ("x 212-555-0142 ", "x 212-555-0142 "),
        ("20 years ", "20 years "),
        ("2024-11-05T08:30:00Z", "2024-11-05T08:30:00Z"),
    ];
    println!(
        "\n1 MB of one thing: ms, and how often as long as {} KB of it takes (linear: {TIMES})",
        KB / TIMES
    );
    print!("{:<22}", "text");
    guards.iter().for_each(|(rules, _)| print!(" {rules:>34}"));
    println!();
    for (name, unit) in cases {
        print!("{name:<22}");
        for (_, guard) in guards {
            let (short, long) = (text(unit, KB * KB / TIMES), text(unit, KB * KB));
            let (short, long) = (times(guard, &short, 5)[0], times(guard, &long, 3)[0]);
            print!(
                " {:>22.1} ms {:>8.1}",
                long.as_secs_f64() * 1e3,
                long.as_secs_f64() / short.as_secs_f64()
            );
        }
        println!();
    }
}
