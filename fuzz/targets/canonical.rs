//! Whatever a text is: what is redacted and put back is the text, but for how a number is printed, and redacting what was redacted changes nothing.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use sluice_guardrails::{Form, Guard, Policy, Vault, placeholders};

static GUARD: LazyLock<Guard> = LazyLock::new(|| {
    let policy = Policy { secrets: sluice_guardrails::Action::Off, ..Policy::default() };
    Guard::new(&policy)
});

fuzz_target!(|text: &str| {
    for finding in GUARD.inspect(text) {
        assert!(text.get(finding.span).is_some(), "a span that cuts a character");
    }
    let mut vault = Vault::new();
    let Ok(Some(redacted)) = vault.redact(&GUARD, text) else { return };
    let again = vault.redact(&GUARD, &redacted);
    assert!(matches!(again, Ok(None)), "what is redacted holds something to redact");
    // Placeholders of the text's own stay what they are.
    if placeholders(text).next().is_none() {
        // Two prints of one number share a placeholder, and come back as the first.
        let letters = |text: &str| -> String { text.chars().filter(char::is_ascii_alphanumeric).collect() };
        let restored = vault.rehydrate(&redacted, Form::Text);
        assert_eq!(letters(&restored).to_lowercase(), letters(text).to_lowercase());
    }
});
