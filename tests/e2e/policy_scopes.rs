//! What a policy says of tenants and routes holds for them and for nobody else, in the cache, too.

use serde_json::json;
use sluice_tests::leak::holds;
use sluice_tests::{Gate, question};

const EMAIL: &str = "zoe.quill@example.org";
const SCOPES: &str = "
keys:
  - {name: desk, secret: 'env:TEST_DESK', tenant: desk}
  - {name: bot, secret: 'env:TEST_BOT', tenant: lab}
guardrails:
  tenants:
    lab: {entities: {EMAIL_ADDRESS: {action: redact}}}
  routes:
    backup/model-b: {entities: {EMAIL_ADDRESS: {action: block}}}
    primary/model-a: {entities: {EMAIL_ADDRESS: {action: log}}}
";

#[tokio::test]
async fn a_tenant_has_its_own_rules_and_a_route_has_the_last_word() {
    let gate = Gate::with(SCOPES);
    let about_me = format!("Hello from {EMAIL}");
    let told = |name: &'static str, model: &'static str| {
        let (client, mut body) = (gate.key(name), question(&about_me));
        body["model"] = json!(model);
        async move { client.chat(&body).await }
    };
    // The caller's own value comes back from a placeholder, and from nothing else.
    assert_eq!(told("TEST_DESK", "chat").await.text(), format!("You said: Hello from {EMAIL}"));
    assert_eq!(told("TEST_BOT", "chat").await.text(), "You said: Hello from [EMAIL_ADDRESS]");
    assert!(!holds(&gate.received(), EMAIL));
    for name in ["TEST_DESK", "TEST_BOT"] {
        assert_eq!(told(name, "backup/model-b").await.status, 400, "{name}");
    }
    assert_eq!(gate.backup.count(), 0);
    assert_eq!(told("TEST_BOT", "primary/model-a").await.status, 200);
    assert!(holds(&gate.received(), EMAIL), "there it is only logged");
    gate.until("sluice_guardrail_logged_total{entity=\"EMAIL_ADDRESS\"} 1").await;
}

#[tokio::test]
async fn a_dry_run_shows_what_the_caller_s_own_rules_would_do() {
    let gate = Gate::with(SCOPES);
    let told = |name: &'static str, body: serde_json::Value| {
        let client = gate.key(name);
        async move { client.post("/v1/guardrails/inspect", body.to_string()).await.json() }
    };
    let text = json!({ "text": EMAIL });
    assert_eq!(told("TEST_DESK", text.clone()).await["results"][0]["redacted"], "[EMAIL_ADDRESS_1]");
    assert_eq!(told("TEST_BOT", text).await["results"][0]["redacted"], "[EMAIL_ADDRESS]");
    let mut chat = question(EMAIL);
    chat["model"] = json!("backup/model-b");
    assert_eq!(told("TEST_BOT", chat).await["action"], "block");
}

#[tokio::test]
async fn what_one_policy_decided_is_not_found_under_another_and_a_change_for_others_forgets_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("policy.yaml");
    std::fs::write(&path, "tenants: {lab: {secrets: block}}\n").unwrap();
    let keys = SCOPES.split("guardrails:").next().unwrap();
    let gate = Gate::with(&format!("{keys}guardrails: {{file: '{}'}}", path.display()));
    let ask = |name: &'static str| {
        let client = gate.key(name);
        async move { client.chat(&question("When do you open?")).await.cache() }
    };
    for name in ["TEST_DESK", "TEST_BOT"] {
        assert!(ask(name).await.starts_with("miss"));
        assert!(ask(name).await.starts_with("hit"));
    }
    let beside = path.with_extension("new");
    std::fs::write(&beside, "tenants: {lab: {secrets: redact, pii: block}}\n").unwrap();
    std::fs::rename(&beside, &path).unwrap();
    gate.until("sluice_guardrail_policy_reloads_total 1").await;
    assert!(ask("TEST_DESK").await.starts_with("hit"), "nothing has changed for it");
    assert!(ask("TEST_BOT").await.starts_with("miss"));
    // A tenant that is not there keeps the old policy in force.
    std::fs::write(&beside, "tenants: {labb: {pii: block}}\n").unwrap();
    std::fs::rename(&beside, &path).unwrap();
    gate.until("sluice_guardrail_policy_reload_failures_total 1").await;
    assert!(ask("TEST_BOT").await.starts_with("hit"));
}
