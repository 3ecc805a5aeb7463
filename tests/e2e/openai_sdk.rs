//! The real OpenAI Python SDK against a real gateway: what `sdk/openai_chat.py` checks, and what the providers received.

use std::process::Command;

use sluice_tests::gate::{env, weights};
use sluice_tests::leak::holds;
use sluice_tests::{Gate, script};

use crate::sdk_packages::{python, sdk_folder};

const EMAIL: &str = "rosa.lind@mail.example.org";
const CARD: &str = "4716 2208 3016 6139";
const IBAN: &str = "DE74 1676 1222 0297 2997 52";
/// In two pieces, so that nobody who looks for leaked keys finds one here.
const SECRET: &str = concat!("AK", "IAQ7ZK2M5XJH4T3WPD");

const KEYS: &str = "
keys:
  - {name: shop, secret: 'env:TEST_SHOP'}
  - {name: bank, secret: 'env:TEST_BANK'}
providers:
  primary: {kind: mock, base_url: '{primary}'}
  backup: {kind: mock, base_url: '{backup}'}
retry: {rounds: 0}
";

const ROUTES: &str = "
routes:
  - {model: chat, targets: [primary/model-a, backup/model-b]}
  - {model: tools, targets: [primary/tools]}
  - {model: typist, targets: [primary/typist]}
  - {model: shaky, targets: [primary/broken, backup/model-b]}
  - {model: down, targets: [primary/broken, backup/broken]}
  - {model: busy, targets: [primary/busy, backup/busy]}
  - {model: cut, targets: [primary/cut]}
guardrails: {restore: {default: tools}}
";

/// Both providers behave as the model's name says.
const SCRIPT: &str = r#"
rules:
  - {when: {model: tools, contains: tool_call_id}, reply: {answer: It was sent yesterday.}}
  - {when: {model: tools}, reply: {tool_call: {name: find_order, arguments: '{"query": "{prompt}"}'}}}
  - {when: {model: typist}, reply: {chunk_chars: 1}}
  - {when: {model: broken}, reply: {status: 500}}
  - {when: {model: busy}, reply: {status: 429, retry_after: 30}}
  - {when: {model: cut}, reply: {answer: Once upon a time there was a gateway., cut_after: 4}}
"#;

#[test]
fn the_openai_python_sdk_works_as_it_does_with_openai() {
    let python = python().unwrap_or_else(|problem| panic!("{problem}"));
    let gate = Gate::build(&format!("{KEYS}{ROUTES}"), Some(weights()));
    let strict = Gate::build(
        &format!(
            "{KEYS}routes: [{{model: chat, targets: [primary/model-a]}}]\nguardrails: {{secrets: block}}\n"
        ),
        None,
    );
    gate.primary.script(script(SCRIPT));
    gate.backup.script(script(SCRIPT));

    let ran = Command::new(python)
        .arg(sdk_folder().join("openai_chat.py"))
        // Nothing of the developer's own: neither a proxy nor an organisation of OpenAI's.
        .env_clear()
        .env("PYTHONUTF8", "1")
        .env("OPENAI_BASE_URL", base_url(&gate))
        .env("OPENAI_API_KEY", secret_of("TEST_SHOP"))
        .env("SDK_OTHER_KEY", secret_of("TEST_BANK"))
        .env("SDK_BLOCKING_URL", base_url(&strict))
        .env("SDK_EMAIL", EMAIL)
        .env("SDK_CARD", CARD)
        .env("SDK_IBAN", IBAN)
        .env("SDK_SECRET", SECRET)
        .output()
        .expect("Python starts");
    let said = String::from_utf8_lossy(&ran.stdout);
    assert!(
        ran.status.success() && said.lines().last() == Some("sdk: all checks passed"),
        "{said}{}",
        String::from_utf8_lossy(&ran.stderr)
    );

    let received = [gate.received(), strict.received()].concat();
    for value in [EMAIL, CARD, IBAN, SECRET, &secret_of("TEST_SHOP"), &secret_of("TEST_BANK")] {
        assert!(!holds(&received, value), "a provider received {value}");
    }
    for placeholder in ["[EMAIL_ADDRESS_1]", "[CREDIT_CARD_1]", "[IBAN_CODE_1]"] {
        assert!(holds(&received, placeholder), "no provider received {placeholder}");
    }
}

fn base_url(gate: &Gate) -> String {
    format!("http://{}/v1", gate.address)
}

fn secret_of(variable: &str) -> String {
    env(variable).expect("a variable of the tests' environment")
}
