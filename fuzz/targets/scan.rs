//! All packs and all secrets on any text and label: no panic, spans in order on whole characters, scores that are some.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use sluice_guardrails::pii::Selection;
use sluice_guardrails::{Band, Guard, Policy};

static GUARD: LazyLock<Guard> = LazyLock::new(|| {
    let all = Selection::of(&["all".to_owned()]).expect("all packs are some");
    Guard::with(&Policy::default(), &all)
});

fuzz_target!(|input: (&str, &str)| {
    let (text, label) = input;
    let mut free = 0;
    for finding in GUARD.inspect_labelled(text, label) {
        assert!(finding.span.start >= free && text.get(finding.span.clone()).is_some_and(|found| !found.is_empty()));
        free = finding.span.end;
    }
    for finding in GUARD.report(text, Band::Possible) {
        assert!(text.get(finding.span).is_some() && (0.0..=1.0).contains(&finding.score));
    }
});
