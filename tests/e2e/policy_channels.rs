//! A policy tells apart who speaks; the strictest channel in which a value stands decides for all of it.

use std::fs;

use serde_json::{Value, json};
use sluice_tests::Gate;
use sluice_tests::leak::holds;

const EMAIL: &str = "zoe.quill@example.org";
const SSN: &str = "536-22-8143";
const CHANNELS: &str = "
guardrails:
  channels: {system: {pii: log}, tool: {secrets: block}}
  entities:
    US_SSN: {action: tokenise, channels: {document: block, assistant: {action: mask, keep_last: 4}}}
";

fn messages(messages: &Value) -> Value {
    json!({ "model": "chat", "messages": messages })
}

#[tokio::test]
async fn what_an_operator_writes_may_stay_where_what_people_write_may_not() {
    let gate = Gate::with(CHANNELS);
    let system = format!("Tell people to write to {EMAIL}.");
    let of = |user: &str| {
        messages(&json!([{ "role": "system", "content": system }, { "role": "user", "content": user }]))
    };
    assert_eq!(gate.client.chat(&of("Who helps me?")).await.status, 200);
    assert!(holds(&gate.received(), EMAIL));
    gate.until("sluice_guardrail_logged_total{entity=\"EMAIL_ADDRESS\"} 1").await;

    let gate = Gate::with(CHANNELS);
    let reply = gate.client.chat(&of(&format!("Does {EMAIL} help me?"))).await;
    assert_eq!(reply.text(), format!("You said: Does {EMAIL} help me?"), "it comes back");
    assert!(!holds(&gate.received(), EMAIL), "in neither message");
    let sent: Value = serde_json::from_slice(&gate.primary.seen()[0].body).unwrap();
    assert_eq!(sent["messages"][0]["content"], "Tell people to write to [EMAIL_ADDRESS_1].");
}

#[tokio::test]
async fn documents_and_tools_have_rules_of_their_own_in_whatever_form_they_come() {
    let gate = Gate::with(CHANNELS);
    let key = ["sk_live_", "51H8xq2eZvKYlo2C", "9Pq7Rs3Tu"].concat();
    let ssn = format!("SSN {SSN}");
    let source = json!({ "type": "text", "media_type": "text/plain", "data": ssn });
    let part = |part: Value| messages(&json!([{ "role": "user", "content": [part] }]));
    let mut beside = messages(&json!([{ "role": "user", "content": "Sum it up" }]));
    beside["documents"] = json!([{ "title": "a", "text": ssn }]);
    for body in [
        part(json!({ "type": "document", "source": source })),
        part(json!({ "type": "document", "document": { "data": { "snippet": ssn } } })),
        beside,
        messages(&json!([{ "role": "user", "content": [
            { "type": "text", "text": ssn }, { "type": "document", "title": "no. 536228143" },
        ]}])),
        messages(&json!([{ "role": "tool", "tool_call_id": "c", "content": key }])),
    ] {
        let reply = gate.client.chat(&body).await;
        assert_eq!(
            (reply.status, reply.error()["type"].as_str()),
            (400, Some("guardrail_blocked")),
            "{body}"
        );
    }
    assert_eq!(gate.primary.count(), 0);
    for body in [
        messages(&json!([{ "role": "user", "content": ssn }])),
        messages(&json!([{ "role": "user", "content": key }])),
    ] {
        assert_eq!(gate.client.chat(&body).await.status, 200, "{body}");
    }
    assert!(!holds(&gate.received(), SSN) && !holds(&gate.received(), &key));
}

#[tokio::test]
async fn the_channel_is_told_in_the_audit_log_and_in_a_dry_run() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.jsonl");
    let mut gate = Gate::with(&format!("audit: {{path: '{}'}}{CHANNELS}", path.display()));
    let body = messages(&json!([
        { "role": "system", "content": format!("Write to {EMAIL}") },
        { "role": "assistant", "content": format!("Your SSN is {SSN}") },
        { "role": "user", "content": [{ "type": "file", "file": { "file_data": "bob@example.org" } }] },
    ]));
    let inspected = gate.client.post("/v1/guardrails/inspect", body.to_string()).await.json();
    let told: Vec<_> =
        inspected["results"].as_array().unwrap().iter().map(|r| (&r["channel"], &r["action"])).collect();
    let wanted = json!(["system", "allow", "assistant", "redact", "document", "redact"]);
    let told: Vec<Value> =
        told.into_iter().flat_map(|(channel, action)| [channel.clone(), action.clone()]).collect();
    assert_eq!(json!(told), wanted);
    assert_eq!(inspected["redacted"]["messages"][1]["content"], "Your SSN is ***-**-8143");

    assert_eq!(gate.client.chat(&body).await.status, 200);
    gate.stop().await.unwrap();
    let events: Vec<Value> =
        fs::read_to_string(&path).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let told: Vec<_> = events
        .iter()
        .filter(|event| event["entity"].as_str().is_some_and(|entity| !entity.is_empty()))
        .map(|event| [&event["channel"], &event["entity"], &event["action"]].map(|v| v.as_str().unwrap()))
        .collect();
    assert_eq!(
        told,
        [
            ["system", "EMAIL_ADDRESS", "log"],
            ["assistant", "US_SSN", "mask"],
            ["document", "EMAIL_ADDRESS", "tokenise"],
        ]
    );
}
