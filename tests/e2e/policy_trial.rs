//! Rules that are only tried, and exceptions from rules: both are seen and neither goes unnoticed.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use sluice_tests::leak::holds;
use sluice_tests::{Gate, log, question, streamed};

const EMAIL: &str = "zoe.quill@example.org";
const CARD: &str = "4539 1488 0343 6467";

fn findings(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap();
    let events = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    events.filter(|event| event["entity"].as_str().is_some_and(|entity| !entity.is_empty())).collect()
}

#[tokio::test]
async fn a_policy_that_is_only_tried_changes_no_byte_and_tells_what_it_would_have_done() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.jsonl");
    let yaml = "guardrails: {shadow: true, entities: {CREDIT_CARD: {action: block}}}";
    let mut gate = Gate::with(&format!("audit: {{path: '{}'}}\n{yaml}", path.display()));
    let body = question(&format!("I am {EMAIL} \\u00e9, card {CARD}"));
    for stream in [false, true] {
        assert_eq!(gate.client.chat(&streamed(body.clone(), stream)).await.status, 200);
    }
    let sent: Value = serde_json::from_slice(&gate.primary.seen()[0].body).unwrap();
    assert_eq!(sent["messages"], body["messages"]);
    assert!(holds(&gate.received(), EMAIL) && holds(&gate.received(), CARD));
    let metrics = gate.metrics().await;
    let line = |line: &str| assert!(metrics.lines().any(|other| other == line), "{line} in {metrics}");
    line("sluice_guardrail_shadow_rules 1");
    line("sluice_guardrail_shadow_total{entity=\"EMAIL_ADDRESS\",action=\"tokenise\"} 2");
    line("sluice_guardrail_shadow_total{entity=\"CREDIT_CARD\",action=\"block\"} 2");
    assert!(!metrics.contains("sluice_redactions_total{"), "{metrics}");
    let warning = "rules of the policy are only tried";
    assert!(log::text().lines().any(|line| line.contains(warning) && line.contains("\"WARN\"")));

    let told = gate.client.post("/v1/guardrails/inspect", json!({ "text": CARD }).to_string()).await.json();
    assert_eq!((&told["action"], &told["results"][0]["redacted"]), (&json!("allow"), &json!(CARD)));
    let finding = &told["results"][0]["findings"][0];
    assert_eq!((&finding["action"], &finding["shadow"]), (&json!("block"), &json!(true)));
    gate.stop().await.unwrap();
    let told: Vec<_> =
        findings(&path).iter().map(|e| json!([e["direction"], e["action"], e["shadow"]])).collect();
    let (tokenise, block) = (json!(["request", "tokenise", true]), json!(["request", "block", true]));
    // The first answer says it again; the second one comes from memory.
    let log = json!(["response", "log", true]);
    assert_eq!(told, [tokenise.clone(), block.clone(), log.clone(), log, tokenise, block]);
}

#[tokio::test]
async fn one_rule_may_be_tried_while_the_others_hold() {
    let gate = Gate::with("guardrails: {entities: {EMAIL_ADDRESS: {action: block, shadow: true}}}");
    let reply = gate.ask(&format!("I am {EMAIL}, card {CARD}")).await;
    assert_eq!(reply.text(), format!("You said: I am {EMAIL}, card {CARD}"));
    assert!(holds(&gate.received(), EMAIL) && !holds(&gate.received(), CARD));
    gate.until("sluice_guardrail_shadow_total{entity=\"EMAIL_ADDRESS\",action=\"block\"} 1").await;
    // It is seen each time, however often the same bytes come.
    gate.ask(&format!("I am {EMAIL}, card {CARD}")).await;
    gate.until("sluice_guardrail_shadow_total{entity=\"EMAIL_ADDRESS\",action=\"block\"} 2").await;
}

#[tokio::test]
async fn the_use_of_an_exception_is_written_down_and_one_that_is_over_is_none() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.jsonl");
    // Long after these tests, and long before.
    let exceptions = "
guardrails:
  exceptions:
    - {id: desk-moves, until: 2999-12-31, reason: 'the desk moves', entity: EMAIL_ADDRESS, route: chat, action: log}
    - {id: long-gone, until: 2001-12-31, reason: 'long over', entity: CREDIT_CARD, action: log}
";
    let mut gate = Gate::with(&format!("audit: {{path: '{}'}}{exceptions}", path.display()));
    assert_eq!(gate.ask(&format!("I am {EMAIL}, card {CARD}")).await.status, 200);
    let received = gate.received();
    assert!(holds(&received, EMAIL) && !holds(&received, CARD));
    let mut other = question(&format!("Again {EMAIL}"));
    other["model"] = json!("backup/model-b");
    assert_eq!(gate.client.chat(&other).await.status, 200);
    assert!(!gate.backup.seen().iter().any(|seen| holds(&seen.bytes(), EMAIL)), "it is for one route");
    gate.until("sluice_guardrail_exceptions 1").await;
    let over = log::text().lines().any(|line| line.contains("long-gone") && line.contains("2001-12-31"));
    assert!(over, "who has an exception that is over is told");
    gate.stop().await.unwrap();
    let told: Vec<_> = findings(&path)
        .iter()
        .map(|e| [&e["entity"], &e["action"], &e["exception"]].map(Value::clone))
        .collect();
    assert_eq!(
        json!(told),
        json!([
            ["EMAIL_ADDRESS", "log", "desk-moves"],
            ["CREDIT_CARD", "tokenise", null],
            // The answer says it again.
            ["EMAIL_ADDRESS", "log", "desk-moves"],
            ["EMAIL_ADDRESS", "tokenise", null]
        ])
    );
}
