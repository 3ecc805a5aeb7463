//! The policy may stand in a file, and is what decides from the moment on when that file is right.

use std::fs;
use std::path::Path;

use sluice_tests::Gate;
use sluice_tests::leak::holds;

const EMAIL: &str = "zoe.quill@example.org";

/// Puts a whole file in the place of the old one.
fn put(path: &Path, policy: &str) {
    let beside = path.with_extension("new");
    fs::write(&beside, policy).unwrap();
    fs::rename(&beside, path).unwrap();
}

#[tokio::test]
async fn a_changed_policy_file_decides_and_a_wrong_one_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (path, audit) = (folder.path().join("policy.yaml"), folder.path().join("audit.jsonl"));
    put(&path, "entities: {EMAIL_ADDRESS: {action: redact}}\n");
    let (file, log) = (path.display(), audit.display());
    let mut gate = Gate::with(&format!("guardrails: {{file: '{file}'}}\naudit: {{path: '{log}'}}"));

    let about_me = format!("Hello from {EMAIL}");
    let reply = gate.ask(&about_me).await;
    assert_eq!(reply.text(), "You said: Hello from [EMAIL_ADDRESS]", "what is redacted does not come back");
    assert_eq!(gate.ask("When do you open?").await.status, 200);
    assert!(gate.ask("When do you open?").await.cache().starts_with("hit"));

    put(&path, "entities: {EMAIL_ADDRESS: {action: mask}, DATE_TIME: {action: log}}\nsecrets: block\n");
    gate.until("sluice_guardrail_policy_reloads_total 1").await;
    assert_eq!(gate.ask(&about_me).await.text(), "You said: Hello from ***.*****@*******.***");
    assert!(gate.ask("When do you open?").await.cache().starts_with("miss"), "decided by another policy");
    assert!(gate.ask("When do you open?").await.cache().starts_with("hit"));

    put(&path, "entities: {EMAIL_ADDRESS: {action: blok}}\n");
    gate.until("sluice_guardrail_policy_reload_failures_total 1").await;
    assert_eq!(gate.ask(&about_me).await.text(), "You said: Hello from ***.*****@*******.***");
    assert!(gate.ask("When do you open?").await.cache().starts_with("hit"), "nothing has changed");

    put(&path, "entities: {EMAIL_ADDRESS: {action: block}}\n");
    gate.until("sluice_guardrail_policy_reloads_total 2").await;
    assert_eq!(gate.ask(&about_me).await.status, 400);

    assert!(!holds(&gate.received(), EMAIL));
    let metrics = gate.metrics().await;
    gate.stop().await.unwrap();
    let told: Vec<serde_json::Value> = fs::read_to_string(&audit)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .filter(|event: &serde_json::Value| event["entity"] == "EMAIL_ADDRESS")
        .collect();
    let actions: Vec<_> = told.iter().map(|event| event["action"].as_str().unwrap()).collect();
    assert_eq!(actions, ["redact", "mask", "mask", "block"]);
    assert_eq!(told[1]["policy"], told[2]["policy"]);
    assert_ne!(told[0]["policy"], told[1]["policy"]);
    let name = told[3]["policy"].as_str().unwrap();
    assert!(metrics.contains(&format!("sluice_guardrail_policy{{sha256=\"{name}\"}} 1")), "{metrics}");
}

#[tokio::test]
async fn what_is_only_logged_goes_out_and_is_counted_each_time() {
    let gate = Gate::with("guardrails: {entities: {EMAIL_ADDRESS: {action: log}}}");
    for times in 1..=3 {
        let reply = gate.ask(&format!("Hello from {EMAIL}")).await;
        assert_eq!(reply.text(), format!("You said: Hello from {EMAIL}"));
        gate.until(&format!("sluice_guardrail_logged_total{{entity=\"EMAIL_ADDRESS\"}} {times}")).await;
    }
}
