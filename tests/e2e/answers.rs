//! What a model says is read by the policy's rules for answers before anybody has it.

use std::fs;

use http_body_util::BodyExt;
use serde_json::{Value, json};
use sluice_tests::leak::holds;
use sluice_tests::{Gate, Reply, Stub, TWO_TARGETS, Then, log, question, script, streamed};

const EMAIL: &str = "ada@example.org";
const SAID: &str = "Write to ada@example.org or call (212) 555-0142 please.";
const MASKED: &str = "Write to [REDACTED_EMAIL_ADDRESS] or call [REDACTED_PHONE_NUMBER] please.";

fn says(gate: &Gate, answer: &str) {
    gate.primary.script(script(&format!("reply: {{answer: '{answer}', chunk_chars: 3}}")));
}

#[tokio::test]
async fn without_a_word_in_the_policy_an_answer_stays_and_what_stands_in_it_is_counted() {
    let gate = Gate::with("");
    says(&gate, SAID);
    assert_eq!(gate.ask("Whom do I ask?").await.text(), SAID);
    gate.until(r#"sluice_guardrail_answer_findings_total{entity="EMAIL_ADDRESS",action="log"} 1"#).await;
    gate.until(r#"sluice_guardrail_answer_findings_total{entity="PHONE_NUMBER",action="log"} 1"#).await;
}

#[tokio::test]
async fn a_value_of_the_model_is_masked_live_and_from_memory_and_the_callers_own_comes_back() {
    let gate = Gate::with("guardrails: {output: {pii: redact}}");
    let own = "I am zoe.quill@example.org, whom do I ask?";
    says(&gate, &format!("Hi [EMAIL_ADDRESS_1]. {SAID}"));
    let expected = format!("Hi zoe.quill@example.org. {MASKED}");
    for stream in [false, true] {
        let body = streamed(question(own), stream);
        let live = gate.client.with("cache-control", "no-cache").chat(&body).await;
        assert_eq!((live.text(), live.cache().as_str()), (expected.clone(), "miss"));
        let again = gate.client.chat(&body).await;
        assert_eq!((again.text(), again.cache().as_str()), (expected.clone(), "hit exact"));
        assert!(!holds(&live.body, EMAIL) && !holds(&again.body, EMAIL));
    }
    assert!(!holds(log::text().as_bytes(), EMAIL));
}

#[tokio::test]
async fn an_address_split_over_three_events_leaks_no_byte_and_holds_nothing_before_it_back() {
    let event = |text: &str| {
        json!({ "id": "s", "created": 5, "model": "m", "choices": [{ "index": 0, "delta": { "content": text } }] })
            .to_string()
    };
    let first = event("Of course. The one to ask is ada@");
    let rest = [event("exam"), event("ple.org, or me.")].map(|event| format!("data: {event}\n\n")).concat();
    let rest: &'static str = Box::leak(format!("{rest}data: [DONE]\n\n").into_boxed_str());
    let stub = Stub::stream(&[&first], Then::Release(rest)).await;
    let yaml = TWO_TARGETS.replace("{primary}", &stub.base_url());
    let gate = Gate::start(&format!("{yaml}\nguardrails: {{output: {{pii: redact}}}}"));
    let mut response = gate.client.open(&streamed(question("Whom do I ask?"), true)).await;
    // The rest is not sent before this came.
    let begun = response.body_mut().frame().await.unwrap().unwrap().into_data().unwrap();
    let begun = String::from_utf8(begun.to_vec()).unwrap();
    assert!(begun.contains("Of course. The one to ask is ") && !begun.contains("ada"), "{begun}");
    stub.release();
    let end = Reply::read(response).await;
    assert_eq!(end.text(), "[REDACTED_EMAIL_ADDRESS], or me.");
    assert!(end.is_done());
    assert!(!holds(&end.body, EMAIL));
}

#[tokio::test]
async fn what_the_policy_blocks_ends_the_answer_and_is_not_remembered() {
    let gate = Gate::with("guardrails: {output: {entities: {EMAIL_ADDRESS: {action: block}}}}");
    says(&gate, SAID);
    for _ in 0..2 {
        let whole = gate.ask("Whom do I ask?").await;
        let error = whole.error();
        assert_eq!((whole.status, error["type"].as_str()), (400, Some("guardrail_blocked")));
        assert_eq!(error["code"], "answer_blocked");
        assert!(error["message"].as_str().unwrap().contains("EMAIL_ADDRESS"));
        assert!(!holds(&whole.body, EMAIL));
    }
    let stream = gate.client.chat(&streamed(question("Whom do I ask?"), true)).await;
    let last = stream.events().last().unwrap().clone();
    assert_eq!((stream.status, last["error"]["code"].as_str()), (200, Some("answer_blocked")));
    assert!(!stream.is_done() && !holds(&stream.body, EMAIL));
    assert_eq!(gate.primary.count(), 3, "none of them was remembered");
}

#[tokio::test]
async fn what_an_answer_held_is_written_down_by_place_and_never_by_value() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.jsonl");
    let file = path.display();
    let mut gate = Gate::with(&format!(
        "guardrails: {{output: {{pii: redact, entities: {{PHONE_NUMBER: {{action: log}}}}}}}}\naudit: {{path: '{file}'}}"
    ));
    says(&gate, SAID);
    let reply = gate.ask("Whom do I ask?").await;
    assert_eq!(reply.text(), "Write to [REDACTED_EMAIL_ADDRESS] or call (212) 555-0142 please.");
    let id = reply.header("x-request-id").to_owned();
    gate.stop().await.unwrap();
    let text = fs::read_to_string(&path).unwrap();
    assert!(!holds(text.as_bytes(), EMAIL) && !text.contains("555-0142"));
    let told: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of_answer: Vec<_> = told
        .iter()
        .filter(|event| event["direction"] == "response")
        .map(|event| {
            assert_eq!((&event["request_id"], event["channel"].as_str()), (&json!(id), Some("assistant")));
            assert_eq!(event["field"], "choices[0].message.content");
            let at = |name: &str| usize::try_from(event[name].as_u64().unwrap()).unwrap();
            (
                event["entity"].as_str().unwrap(),
                event["action"].as_str().unwrap(),
                &SAID[at("start")..at("end")],
            )
        })
        .collect();
    assert_eq!(of_answer, [("EMAIL_ADDRESS", "redact", EMAIL), ("PHONE_NUMBER", "log", "(212) 555-0142")]);
}

#[tokio::test]
async fn what_is_denied_is_said_by_nobody() {
    let gate = Gate::with("guardrails: {deny: [{name: competitors, words: [Globex]}]}");
    let refused = gate.ask("Is GLOBEX any better?").await;
    assert_eq!((refused.status, refused.error()["code"].as_str()), (400, Some("content_detected")));
    assert!(refused.error()["message"].as_str().unwrap().contains("COMPETITORS"));
    assert_eq!(gate.primary.count(), 0);
    says(&gate, "Globex is better.");
    let ended = gate.ask("Who is better?").await;
    assert_eq!((ended.status, ended.error()["code"].as_str()), (400, Some("answer_blocked")));
    says(&gate, "Nobody is.");
    assert_eq!(gate.ask("Who is better?").await.text(), "Nobody is.");
}
