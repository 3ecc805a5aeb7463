//! What a watching cache writes down, `sluice tune` reads.

use std::path::Path;

use clap::Parser;
use serde_json::Value;
use sluice::commands::tune::{self, TuneArgs};
use sluice_tests::{Gate, script};

const WAYS: [&str; 6] = [
    "How do I reset my password?",
    "How can I reset my password?",
    "How do I reset the password?",
    "How would I reset my password?",
    "How might I reset my password?",
    "How could zoe.quill@example.org reset my password?",
];

#[derive(Parser)]
struct Command {
    #[command(flatten)]
    tune: TuneArgs,
}

fn lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A watching gateway after some questions of which the last found no provider, stopped; and its log.
async fn watched(path: &Path, more: &str) -> Vec<Value> {
    let mut gate = Gate::with(&format!(
        "cache: {{policy: calibrated, shadow: always, shadow_log: '{}'{more}}}",
        path.display()
    ));
    gate.primary.script(script("reply: {answer: 'Choose Forgotten password on the login page.'}"));
    for way in WAYS {
        assert_eq!(gate.ask(way).await.cache(), "miss");
    }
    gate.primary.script(script("reply: {answer: 'The garage is open around the clock.'}"));
    assert_eq!(gate.ask("How shall I reset my password?").await.cache(), "miss");
    gate.until("sluice_cache_labels_total{verdict=\"wrong\"} 1").await;
    for mock in [&gate.primary, &gate.backup] {
        mock.script(script("reply: {status: 503}"));
    }
    assert_eq!(gate.ask("How will I reset my password?").await.status, 503);
    gate.stop().await.unwrap();
    lines(path)
}

#[tokio::test]
async fn what_real_requests_wrote_is_read_by_tune() {
    let folder = tempfile::tempdir().unwrap();
    let (path, report) = (folder.path().join("shadow.jsonl"), folder.path().join("report.html"));
    let lines = watched(&path, "").await;
    // All but the first question had a candidate.
    assert_eq!(lines.len(), WAYS.len() + 1);
    let right = |verdict: Value| lines.iter().filter(|line| line["right"] == verdict).count();
    assert_eq!((right(true.into()), right(false.into()), right(Value::Null)), (WAYS.len() - 1, 1, 1));
    let mut last = 0;
    for line in &lines {
        assert!(line["prompt"].is_null() && line["id"].as_str().unwrap().len() > 8, "{line}");
        assert_eq!((&line["model"], &line["tier"]), (&"chat".into(), &"semantic".into()));
        let request = line["request"].as_u64().unwrap();
        assert!((2..=8).contains(&request) && request >= last, "{line}");
        last = request;
    }
    let args = ["tune", "--log", path.to_str().unwrap(), "--out", report.to_str().unwrap()];
    let told = tune::run(&Command::parse_from(args).tune).unwrap();
    assert!(told.contains("let the cache watch"), "seven lines are too few to promise anything: {told}");
    let page = std::fs::read_to_string(&report).unwrap();
    assert!(page.contains("shadow.jsonl"), "the page names its source");
}

#[tokio::test]
async fn prompts_are_written_in_their_redacted_form_and_only_where_that_is_wanted() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("shadow.jsonl");
    let lines = watched(&path, ", shadow_log_prompts: true").await;
    let prompts: Vec<&str> = lines.iter().map(|line| line["prompt"].as_str().unwrap()).collect();
    assert!(prompts.contains(&"How could [EMAIL_ADDRESS_1] reset my password?"), "{prompts:?}");
    assert!(!std::fs::read_to_string(&path).unwrap().contains("zoe.quill"));
}

#[tokio::test]
async fn a_log_that_can_t_be_written_harms_no_request() {
    let folder = tempfile::tempdir().unwrap();
    let gate =
        Gate::with(&format!("cache: {{policy: calibrated, shadow_log: '{}'}}", folder.path().display()));
    for way in WAYS {
        assert_eq!(gate.ask(way).await.status, 200);
    }
    // Each but the first had a candidate.
    gate.until("sluice_shadow_log_lines_total{outcome=\"failed\"} 5").await;
}
