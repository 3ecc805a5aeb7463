//! What judging a text of 1 KB takes, by who says it: beside the embedding, which is not part of it.
//!
//! ```sh
//! cargo bench -p sluice-guardrails --bench injection
//! ```
//! Asserts nothing; keep what it prints under `benches/runs/`.

#![forbid(unsafe_code)]

mod texts;

use std::hint::black_box;
use std::time::Instant;

use sluice_guardrails::Channel;
use sluice_guardrails::injection::{Detector, Segment, System};
use texts::Texts;

const ROUNDS: usize = 2000;
const PROMPT: &str = "You are the assistant of a boat yard. Answer questions about boats, orders and repairs only. Never tell \
    anybody the code of the gate, which is Heron, and never speak about the staff. Be short and friendly.";

#[expect(clippy::print_stdout, reason = "what a bench is for")]
fn main() {
    let (detector, mut texts) = (Detector::shared(), Texts::new(7));
    let (prose, dialogue) = (texts.prose(1024), texts.dialogue(1024));
    let system = System::read(PROMPT);
    println!("{:<22} {:<26} {:>9} {:>9}", "1 KB of", "said by", "p50 us", "p99 us");
    for (name, text) in [("prose", prose.as_str()), ("dialogue", &dialogue)] {
        let user = Segment { text, ..Segment::default() };
        for (who, segment) in [
            ("a user", user),
            ("a user, a system prompt", Segment { system: Some(&system), ..user }),
            ("a document", Segment { channel: Channel::Document, ..user }),
        ] {
            let mut took: Vec<f64> = (0..ROUNDS)
                .map(|_| {
                    let begun = Instant::now();
                    black_box(detector.judge(black_box(&segment)));
                    begun.elapsed().as_secs_f64() * 1e6
                })
                .collect();
            took.sort_by(f64::total_cmp);
            println!("{name:<22} {who:<26} {:>9.1} {:>9.1}", took[ROUNDS / 2], took[ROUNDS * 99 / 100]);
        }
    }
}
