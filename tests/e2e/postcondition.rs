//! Whatever redaction misses of what it replaced elsewhere, is not sent.

use serde_json::{Value, json};
use sluice_tests::leak::holds;
use sluice_tests::{Gate, log, question, streamed};

const CARD: &str = "4539 1488 0343 6467";
const FAILURES: &str = "sluice_guardrail_postcondition_failures_total 1";

/// A card's number in a text, where it is replaced, and as the seed, which is left to providers as it is.
fn leaking() -> Value {
    let mut body = question(&format!("I pay by {CARD}"));
    body["seed"] = json!(4_539_148_803_436_467_u64);
    body
}

#[tokio::test]
async fn a_redacted_value_in_another_field_stops_the_request_before_anything_is_sent() {
    for stream in [false, true] {
        let gate = Gate::with("");
        let reply = gate.client.chat(&streamed(leaking(), stream)).await;
        let error = reply.error();
        assert_eq!(
            (reply.status, error["type"].as_str(), error["code"].as_str()),
            (422, Some("guardrail_blocked"), Some("guardrail_postcondition"))
        );
        assert!(error["message"].as_str().unwrap().contains("CREDIT_CARD"), "{error}");
        assert!(!holds(&reply.body, CARD) && !reply.is_stream());
        assert_eq!((gate.primary.count(), gate.backup.count()), (0, 0), "no target, no fallback");
        assert!(gate.metrics().await.lines().any(|line| line == FAILURES));
        let id = reply.header("x-request-id");
        log::wait_for(id).await;
        let lines = log::of_request(id);
        assert!(lines.iter().any(|line| line["entity"] == "CREDIT_CARD"), "{lines:?}");
        assert!(!holds(json!(lines).to_string().as_bytes(), CARD));
    }
}

#[tokio::test]
async fn a_large_request_is_checked_like_any_other() {
    let gate = Gate::with("");
    let mut body = leaking();
    let padding = "Nothing of interest here, \"line\"\n".repeat(5_000);
    body["messages"][0]["content"] = json!(format!("{padding} I pay by {CARD}"));
    assert_eq!(gate.client.chat(&body).await.status, 422);
    assert_eq!((gate.primary.count(), gate.backup.count()), (0, 0));
    body["seed"] = json!(1);
    assert_eq!((gate.client.chat(&body).await.status, gate.primary.count()), (200, 1));
    assert!(!holds(&gate.received(), CARD));
}

#[tokio::test]
async fn it_is_the_same_behind_a_fallback_as_for_the_first_target() {
    let gate = Gate::with("");
    gate.primary.script(sluice_tests::script("reply: {status: 503}"));
    // What is right is sent to both.
    let fine = gate.ask(&format!("I pay by {CARD}")).await;
    assert_eq!((fine.status, gate.primary.count(), gate.backup.count()), (200, 1, 1));
    assert_eq!(gate.client.chat(&leaking()).await.status, 422);
    assert_eq!((gate.primary.count(), gate.backup.count()), (1, 1));
    assert!(!holds(&gate.received(), CARD));
}

#[tokio::test]
async fn a_seed_and_other_numbers_that_are_none_of_the_redacted_values_go_through() {
    let gate = Gate::with("");
    let mut body = question(&format!("I pay by {CARD}, or call +1 212 555 0142"));
    body["seed"] = json!(4_539_148_803_436_468_u64);
    body["max_tokens"] = json!(1024);
    body["metadata"] = json!({ "order": "20240806", "assistant": "content" });
    let reply = gate.client.chat(&body).await;
    assert_eq!((reply.status, gate.primary.count()), (200, 1), "{:?}", reply.body);
    assert!(gate.metrics().await.contains("sluice_guardrail_postcondition_failures_total 0"));
}

#[tokio::test]
async fn a_value_that_only_one_place_gives_away_is_replaced_in_all_others_and_the_request_goes_through() {
    let gate = Gate::with("");
    let mut body = question("My SSN is 624-10-8837.");
    body["messages"] = json!([
        { "role": "user", "content": "Is 624108837 taken? And 624-10-8837?" },
        { "role": "assistant", "content": "It is.", "name": "n624108837" },
        body["messages"][0].clone(),
    ]);
    body["metadata"] = json!({ "order": 624_108_837, "624108837": "x" });
    body["max_tokens"] = json!(624);
    let reply = gate.client.chat(&body).await;
    assert_eq!((reply.status, gate.primary.count()), (200, 1), "{:?}", reply.body);
    let sent = gate.received();
    assert!(!holds(&sent, "624108837") && !holds(&sent, "624-10-8837"));
    let sent: Value = serde_json::from_slice(&gate.primary.seen()[0].body).unwrap();
    assert_eq!(sent["messages"][0]["content"], "Is [US_SSN_1] taken? And [US_SSN_1]?");
    assert_eq!((&sent["metadata"]["order"], &sent["max_tokens"]), (&json!("[US_SSN_1]"), &json!(624)));
}
