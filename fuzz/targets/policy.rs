//! Whatever stands in a policy file: it is read and compiles, or is refused. What compiles does so again to the same policy,
//! reads any text, and does not find its own marks.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sluice_guardrails::{Guard, Rules, Vault};

const TEXT: &str = "Ada (ada@example.org, +44 20 7946 0958) paid 4111 1111 1111 1111; SSN 536-22-8143, badge EMP-123456.";

/// A key for everybody who asks for one.
fn key(source: &str) -> Result<Vec<u8>, String> {
    if source.starts_with("env:") { Ok(b"sixteen bytes or more".to_vec()) } else { Err("expected env:NAME".to_owned()) }
}

fuzz_target!(|file: &str| {
    let Ok(rules) = serde_saphyr::from_str::<Rules>(file) else { return };
    let guard = match Guard::compile(&rules, &key) {
        Ok(guard) => guard,
        Err(error) => {
            assert!(!error.field.is_empty() && !error.problem.is_empty());
            return;
        }
    };
    let again = Guard::compile(&rules, &key).expect("what compiled once does so again");
    assert_eq!(guard.fingerprint(), again.fingerprint());
    for text in [TEXT, file] {
        for finding in guard.inspect(text) {
            assert!(text.get(finding.span).is_some_and(|found| !found.is_empty()));
        }
        let mut vault = Vault::new();
        vault.restore_by(rules.restore.clone());
        let Ok(Some(sent)) = vault.redact(&guard, text) else { continue };
        let _ = vault.redact(&guard, &sent);
    }
});
