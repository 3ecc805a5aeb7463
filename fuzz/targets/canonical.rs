//! Whatever a text is: what is redacted and put back is the text, and redacting what was redacted changes nothing.

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
    if placeholders(text).next().is_some() {
        return;
    }
    let issued: Vec<&str> = vault.issued().collect();
    let kept = between(&redacted, &issued);
    assert!(is_made_of(text, &kept), "what was no value has changed");
    // Two prints of one number share a placeholder, and come back as the first.
    if kept.len() > issued.len() + 1 {
        return;
    }
    let restored = vault.rehydrate(&redacted, Form::Text);
    let pieces = between(&restored, &issued);
    assert!(is_made_of(text, &pieces), "a value came back as another");
    // Within what may be an address, nothing is put back.
    let address = text.contains(['<', '/', '?', '#', '\\']) || text.contains("](") || text.contains("]:");
    assert!(address || pieces.len() == 1, "a value did not come back");
});

/// What stands around placeholders.
fn between<'t>(mut text: &'t str, placeholders: &[&str]) -> Vec<&'t str> {
    let mut pieces = Vec::new();
    let first = |text: &str| placeholders.iter().filter_map(|p| Some((text.find(p)?, p.len()))).min();
    while let Some((at, len)) = first(text) {
        pieces.push(&text[..at]);
        text = &text[at + len..];
    }
    pieces.push(text);
    pieces
}

/// Whether a text is these pieces in their order, with anything between them.
fn is_made_of(text: &str, pieces: &[&str]) -> bool {
    let Some((first, rest)) = pieces.split_first() else { return false };
    let Some(mut text) = text.strip_prefix(first) else { return false };
    let Some((last, middle)) = rest.split_last() else { return text.is_empty() };
    for piece in middle {
        let Some(at) = text.find(piece) else { return false };
        text = &text[at + piece.len()..];
    }
    text.ends_with(last)
}
