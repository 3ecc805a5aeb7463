//! Whatever is written as rows of a pack: it is read or refused, and what is read can be checked.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sluice_guardrails::pii::Pack;

fuzz_target!(|text: &str| {
    if let Ok(pack) = Pack::read(text, "fuzz.yaml") {
        drop(pack.check());
    }
});
