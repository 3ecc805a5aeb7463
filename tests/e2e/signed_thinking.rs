//! Reasoning that a provider signed goes back to it as it was, or not at all.

use std::fs;

use serde_json::{Value, json};
use sluice_tests::leak::holds;
use sluice_tests::{Gate, question, script, streamed};

const EMAIL: &str = "zoe.quill@example.org";
const OTHER: &str = "ann.bell@example.com";

fn signature() -> String {
    "EqQBCkYIBxgCKkB1z4716221051885662Zp/".repeat(4)
}

fn blocks(words: &str) -> [(&'static str, Value); 3] {
    let signed = json!({ "type": "thinking", "thinking": words, "signature": signature() });
    let detail = json!({ "type": "reasoning.text", "text": words, "signature": signature(), "format": "anthropic-claude-v1", "index": 0 });
    [("content", signed.clone()), ("thinking_blocks", signed), ("reasoning_details", detail)]
}

/// A conversation whose assistant thought so.
fn after(list: &str, block: &Value) -> Value {
    let mut assistant = json!({ "role": "assistant", "content": "Hello" });
    assistant[list] = json!([block]);
    json!({ "model": "chat", "messages": [
        { "role": "user", "content": format!("I am {EMAIL}") },
        assistant,
        { "role": "user", "content": "Go on" },
    ]})
}

fn sent(gate: &Gate) -> Value {
    serde_json::from_slice(&gate.primary.seen().last().unwrap().body).unwrap()
}

#[tokio::test]
async fn a_block_in_which_nothing_stands_goes_back_as_it_came() {
    for policy in ["{}", "{signed_thinking: keep}"] {
        let gate = Gate::with(&format!("guardrails: {policy}"));
        let mut words = blocks("Is [EMAIL_ADDRESS_1] a customer? \u{e9}").to_vec();
        words.push(("content", json!({ "type": "redacted_thinking", "data": signature() })));
        words.push(("reasoning_details", json!({ "type": "reasoning.encrypted", "data": signature() })));
        for (list, block) in words {
            let reply = gate.client.chat(&after(list, &block)).await;
            assert_eq!(reply.status, 200, "{block}: {:?}", reply.body);
            let sent = sent(&gate);
            assert_eq!(sent["messages"][1][list][0], block);
            // A placeholder in it is of an earlier turn, in which the value had the same.
            assert_eq!(sent["messages"][0]["content"], "I am [EMAIL_ADDRESS_1]");
        }
    }
}

#[tokio::test]
async fn one_in_which_something_stands_is_refused_by_its_place() {
    let gate = Gate::with("");
    for value in [EMAIL, OTHER] {
        for (list, block) in blocks(&format!("So it is {value}.")) {
            let reply = gate.client.chat(&streamed(after(list, &block), true)).await;
            let error = reply.error();
            assert_eq!(reply.status, 400, "{block}");
            assert_eq!(
                (error["type"].as_str(), error["code"].as_str()),
                (Some("guardrail_blocked"), Some("signed_thinking_blocked"))
            );
            let param = error["param"].as_str().unwrap();
            assert!(param.starts_with(&format!("messages[1].{list}[0].")), "{param}");
            assert!(
                error["message"].as_str().unwrap().contains("EMAIL_ADDRESS") && !holds(&reply.body, value)
            );
        }
    }
    assert_eq!((gate.primary.count(), gate.backup.count()), (0, 0));
}

#[tokio::test]
async fn where_it_is_kept_it_goes_out_as_it_is_and_the_rest_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.jsonl");
    let mut gate =
        Gate::with(&format!("guardrails: {{signed_thinking: keep}}\naudit: {{path: '{}'}}", path.display()));
    for (list, block) in blocks(&format!("So it is {EMAIL}, or {OTHER}.")) {
        let reply = gate.client.chat(&after(list, &block)).await;
        assert_eq!(reply.status, 200, "{:?}", reply.body);
        assert_eq!(
            (reply.cache().as_str(), reply.header("x-sluice-cache-reason")),
            ("bypass", "signed_thinking")
        );
        let sent = sent(&gate);
        assert_eq!(sent["messages"][1][list][0], block);
        assert_eq!(sent["messages"][0]["content"], "I am [EMAIL_ADDRESS_1]");
    }
    // What nobody signed is no way around, and neither is what the user says.
    let thought = json!({ "type": "thinking", "thinking": format!("So it is {OTHER}.") });
    assert_eq!(gate.client.chat(&after("content", &thought)).await.status, 200);
    assert_eq!(sent(&gate)["messages"][1]["content"][0]["thinking"], "So it is [EMAIL_ADDRESS_2].");
    let [(_, signed), ..] = blocks(&format!("So it is {OTHER}."));
    let by_user = json!({ "model": "chat", "messages": [{ "role": "user", "content": [signed] }] });
    gate.client.chat(&by_user).await;
    assert_eq!(sent(&gate)["messages"][0]["content"][0]["thinking"], "So it is [EMAIL_ADDRESS_1].");
    gate.stop().await.unwrap();
    let text = fs::read_to_string(&path).unwrap();
    assert!(!holds(text.as_bytes(), EMAIL) && !holds(text.as_bytes(), OTHER));
    let events: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let kept: Vec<_> = events.iter().filter(|event| event["action"] == "keep").collect();
    assert_eq!(kept.len(), 3, "{text}");
    for event in kept {
        assert_eq!(
            (event["detector"].as_str(), event["entity"].as_str()),
            (Some("signed_thinking"), Some("EMAIL_ADDRESS"))
        );
        assert!(event["field"].as_str().unwrap().starts_with("messages[1]."), "{event}");
    }
}

#[tokio::test]
async fn what_a_provider_signed_reaches_the_client_so_that_it_can_be_sent_back() {
    let words = "The user is [EMAIL_ADDRESS_1].";
    let [_, (_, block), (_, detail)] = blocks(words);
    let message = json!({ "role": "assistant", "content": "Hello [EMAIL_ADDRESS_1]", "reasoning": words,
        "reasoning_details": [detail], "thinking_blocks": [block] });
    let answer = json!({ "choices": [{ "index": 0, "message": message, "finish_reason": "stop" }] });
    let gate = Gate::with("");
    gate.primary.script(script(&format!("reply: {{raw: '{answer}'}}")));
    let mut body = question(&format!("I am {EMAIL}"));
    let first = gate.client.chat(&body).await.json();
    let said = &first["choices"][0]["message"];
    assert_eq!(
        (&said["content"], &said["reasoning"]),
        (&json!(format!("Hello {EMAIL}")), &json!(format!("The user is {EMAIL}.")))
    );
    assert_eq!((&said["reasoning_details"][0], &said["thinking_blocks"][0]), (&detail, &block));
    let messages = body["messages"].as_array_mut().unwrap();
    messages.extend([said.clone(), json!({ "role": "user", "content": "Go on" })]);
    assert_eq!(gate.client.chat(&body).await.status, 200);
    let sent = sent(&gate);
    assert_eq!(
        (&sent["messages"][1]["reasoning_details"][0], &sent["messages"][1]["thinking_blocks"][0]),
        (&detail, &block)
    );
    assert_eq!(sent["messages"][0]["content"], "I am [EMAIL_ADDRESS_1]", "turn by turn the same");
}
