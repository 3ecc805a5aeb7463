//! What the guards decided is written down so that changes show, and nothing that was found with it.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Parser;
use serde_json::{Value, json};
use sluice::commands::audit::{AuditCommand, run};
use sluice_tests::leak::holds;
use sluice_tests::{Gate, question};

const EMAIL: &str = "zoe.quill@example.org";
const CARD: &str = "4539 1488 0343 6467";

#[derive(Parser)]
struct Command {
    #[command(subcommand)]
    audit: AuditCommand,
}

/// Runs `sluice audit …`: what it writes, or why it fails.
fn sluice_audit(words: &[&str], file: &Path) -> Result<String, String> {
    let words = ["audit"].iter().chain(words).copied().chain([file.to_str().unwrap()]);
    let mut out = Vec::new();
    let text = run(&Command::parse_from(words).audit, &mut out)?;
    Ok(String::from_utf8(out).unwrap() + &text)
}

fn audited(path: &Path, more: &str) -> Gate {
    Gate::with(&format!("audit: {{path: '{}'{more}}}", path.display()))
}

fn place() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.jsonl");
    (folder, path)
}

fn events(path: &Path) -> Vec<Value> {
    let text = sluice_audit(&["export"], path).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn conversation() -> Value {
    let arguments = json!({ "to": EMAIL, "n": 1 }).to_string();
    json!({
        "model": "chat",
        "messages": [
            { "role": "system", "content": format!("Grüße an {EMAIL}!") },
            { "role": "assistant", "content": null, "tool_calls": [
                { "id": "c", "type": "function", "function": { "name": "f", "arguments": arguments } },
            ]},
            { "role": "tool", "tool_call_id": "c", "content": CARD },
            { "role": "user", "content": [{ "type": "text", "text": format!("Pay by {CARD}") }] },
        ],
        "metadata": { "own name": EMAIL },
    })
}

#[tokio::test]
async fn every_decision_is_a_line_that_says_where_and_never_what() {
    let (_folder, path) = place();
    let mut gate = audited(&path, "");
    let reply = gate.client.chat(&conversation()).await;
    assert_eq!(reply.status, 200, "{:?}", reply.body);
    let id = reply.header("x-request-id").to_owned();
    assert_eq!(gate.ask("Nothing to see here").await.status, 200);
    gate.stop().await.unwrap();

    let events = events(&path);
    let told: Vec<_> = events
        .iter()
        .map(|e| {
            (e["channel"].as_str().unwrap(), e["field"].as_str().unwrap(), e["entity"].as_str().unwrap())
        })
        .collect();
    assert_eq!(
        told,
        [
            ("system", "messages[0].content", "EMAIL_ADDRESS"),
            ("assistant", "messages[1].tool_calls[0].function.arguments#[1]", "EMAIL_ADDRESS"),
            ("tool", "messages[2].content", "CREDIT_CARD"),
            ("user", "messages[3].content[0].text", "CREDIT_CARD"),
            ("parameters", "metadata.*", "EMAIL_ADDRESS"),
        ]
    );
    let first = &events[0];
    for (name, value) in [
        ("request_id", json!(id)),
        ("tenant", json!("anonymous")),
        ("route", json!("chat")),
        ("model", json!("primary/model-a")),
        ("direction", json!("request")),
        ("action", json!("tokenise")),
        ("shadow", json!(false)),
        // Two letters of the greeting have two bytes.
        ("start", json!(11)),
        ("end", json!(11 + EMAIL.len())),
        ("start_char", json!(9)),
        ("end_char", json!(9 + EMAIL.len())),
    ] {
        assert_eq!(first[name], value, "{name} of {first}");
    }
    assert_eq!(first["policy"].as_str().unwrap().len(), 64);
    assert!(first["score"].as_f64().unwrap() >= 0.6 && first["detector"].is_string());
    let bytes = fs::read(&path).unwrap();
    // Not four digits alone: a hash may hold these.
    for value in [EMAIL, CARD, &CARD[..9], &CARD[CARD.len() - 9..], "zoe", "quill", "own name"] {
        assert!(!holds(&bytes, value), "{value}");
    }
    let verified = sluice_audit(&["verify"], &path).unwrap();
    assert!(verified.starts_with("good: 6 lines of chain "), "{verified}");
}

#[tokio::test]
async fn what_is_refused_is_written_down_too() {
    let (_folder, path) = place();
    let mut gate = audited(&path, "}\nguardrails: {pii: block");
    assert_eq!(gate.ask(&format!("I am {EMAIL}")).await.status, 400);
    gate.stop().await.unwrap();
    let mut gate = audited(&path, "");
    let mut leaking = question(&format!("I pay by {CARD}"));
    leaking["seed"] = json!(4_539_148_803_436_467_u64);
    assert_eq!(gate.client.chat(&leaking).await.status, 422);
    gate.stop().await.unwrap();
    let told: Vec<_> = events(&path)
        .iter()
        .map(|e| [&e["detector"], &e["entity"], &e["action"]].map(|v| v.as_str().unwrap().to_owned()))
        .collect();
    assert_eq!((told[0][1].as_str(), told[0][2].as_str()), ("EMAIL_ADDRESS", "block"));
    assert_eq!((told[1][1].as_str(), told[1][2].as_str()), ("CREDIT_CARD", "tokenise"));
    assert_eq!(told[2], ["postcondition", "CREDIT_CARD", "block"]);
    assert!(sluice_audit(&["verify"], &path).is_ok(), "one chain over both processes");
}

#[tokio::test]
async fn a_changed_line_is_named_and_a_cut_tail_shows_against_a_noted_hash() {
    let (_folder, path) = place();
    let mut gate = audited(&path, "");
    gate.client.chat(&conversation()).await;
    gate.stop().await.unwrap();
    let verified = sluice_audit(&["verify"], &path).unwrap();
    assert!(verified.contains("--head"), "it says what it can't see: {verified}");
    let head = verified.lines().next().unwrap().rsplit(' ').next().unwrap().to_owned();
    assert!(sluice_audit(&["verify", "--head", &head], &path).unwrap().contains("0 lines follow"));

    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replacen("\"tool\"", "\"user\"", 1)).unwrap();
    let told = sluice_audit(&["verify"], &path).unwrap_err();
    assert!(told.contains("audit.jsonl: line 5: "), "{told}");
    let cut: String = text.lines().take(4).map(|line| format!("{line}\n")).collect();
    fs::write(&path, cut).unwrap();
    assert!(sluice_audit(&["verify"], &path).is_ok());
    assert!(sluice_audit(&["verify", "--head", &head], &path).is_err());
}

#[tokio::test]
async fn events_are_exported_by_time_tenant_and_entity() {
    let (_folder, path) = place();
    let mut gate = audited(&path, "");
    gate.client.chat(&conversation()).await;
    gate.stop().await.unwrap();
    let count = |words: &[&str]| {
        let words: Vec<&str> = ["export"].iter().chain(words).copied().collect();
        sluice_audit(&words, &path).unwrap().lines().count()
    };
    assert_eq!(count(&[]), 5);
    assert_eq!(count(&["--entity", "CREDIT_CARD"]), 2);
    assert_eq!(count(&["--tenant", "anonymous", "--from", "2020-01-01"]), 5);
    assert_eq!(count(&["--tenant", "somebody"]), 0);
    assert_eq!(count(&["--to", "2020-01-01T00:00Z"]), 0);
    let csv = sluice_audit(&["export", "--format", "csv"], &path).unwrap();
    assert!(csv.starts_with("ts,seq,request_id,tenant,"), "{csv}");
    assert_eq!(csv.lines().count(), 6);
}

#[tokio::test]
async fn a_closed_log_that_cannot_be_written_refuses_until_it_can() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("logs").join("audit.jsonl");
    fs::create_dir(path.parent().unwrap()).unwrap();
    let gate = audited(&path, ", on_error: closed, max_bytes: 1B");
    fs::remove_dir_all(path.parent().unwrap()).unwrap();
    // These are on their way when the disk turns out to fail.
    let (mut reply, mut kept) = (gate.ask(&format!("I am {EMAIL}")).await, 0);
    while reply.status == 200 {
        kept += 1;
        reply = gate.ask(&format!("I am {EMAIL}, {kept}")).await;
    }
    assert_eq!((reply.status, reply.error()["code"].as_str()), (503, Some("audit_unavailable")));
    assert_eq!(reply.header("retry-after"), "1");
    let before = (gate.primary.count(), gate.backup.count());
    assert_eq!(gate.ask("Anything else?").await.status, 503);
    assert_eq!((gate.primary.count(), gate.backup.count()), before);

    fs::create_dir(path.parent().unwrap()).unwrap();
    gate.until(&format!("sluice_audit_events_total{{outcome=\"written\"}} {kept}")).await;
    assert_eq!(gate.ask("And now?").await.status, 200);
    let found = events(&path);
    assert!(!found.is_empty() && found.iter().all(|event| event["entity"] == "EMAIL_ADDRESS"));
}

#[tokio::test]
async fn a_log_that_is_in_use_keeps_a_second_gateway_from_starting() {
    let (_folder, path) = place();
    let _gate = audited(&path, "");
    let yaml = format!("audit: {{path: '{}'}}", path.display());
    let config = sluice::config::parse(&yaml, "test").unwrap();
    let parts = sluice::gateway::Parts { mock: Some("http://127.0.0.1:1/v1"), serving: true, embedder: None };
    let told = sluice::gateway::Gateway::build(&config, parts, &|_| None).err().unwrap().to_string();
    assert!(told.contains("audit.path") && told.contains("in use"), "{told}");
}
