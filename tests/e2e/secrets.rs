//! Secrets leave in no form and come back in none.

use serde_json::json;
use sluice_tests::leak::holds;
use sluice_tests::{Gate, log, question, script, streamed};

/// Tokens of the right form, put together here so that none stands in the source.
fn secrets() -> [String; 3] {
    [
        ["sk-proj-", "Vq8nZr2LxT6wKc9Bm4Hd", "T3Blbk", "FJ", "Yp3sGf7JtQ5vNa1RuE0k"].concat(),
        ["AKIA", "Q3EGZ5ZL", "4XYJ2VWT"].concat(),
        [
            "-----BEGIN RSA PRIVATE ",
            "KEY-----\nMIIEowIBAAKCAQEAr4mZbq0T7yHjzW3kXh2Ld9Vq\n-----END RSA PRIVATE ",
            "KEY-----",
        ]
        .concat(),
    ]
}

#[tokio::test]
async fn a_secret_is_replaced_and_never_comes_back() {
    for secret in secrets() {
        for stream in [false, true] {
            let gate = Gate::with("");
            gate.primary.script(script("reply: {answer: 'Your key: {prompt}', chunk_chars: 1}"));
            let reply =
                gate.client.chat(&streamed(question(&format!("my key is {secret} ok")), stream)).await;
            assert_eq!(reply.text(), "Your key: my key is [SECRET_1] ok");
            assert!(!holds(&gate.received(), &secret));
            let again =
                gate.client.chat(&streamed(question(&format!("my key is {secret} ok")), !stream)).await;
            assert_eq!((again.cache().as_str(), again.text()), ("hit exact", reply.text()));
        }
    }
}

#[tokio::test]
async fn a_request_with_a_secret_can_be_refused_before_anything_leaves() {
    let gate = Gate::with("guardrails: {secrets: block}");
    for secret in secrets() {
        let places = [
            question(&format!("my key is {secret}")),
            json!({ "model": "chat", "messages": [{ "role": "system", "content": secret }, { "role": "user", "content": "hi" }] }),
            json!({ "model": "chat", "x": [secret], "messages": [{ "role": "user", "content": "hi" }] }),
            json!({ "model": "chat", "messages": [
                { "role": "assistant", "tool_calls": [{ "id": "c", "type": "function", "function": { "name": "f", "arguments": json!({ "k": secret }).to_string() } }] },
                { "role": "user", "content": "hi" },
            ]}),
        ];
        for body in places {
            for stream in [false, true] {
                let reply = gate.client.chat(&streamed(body.clone(), stream)).await;
                let error = reply.error();
                assert_eq!((reply.status, reply.is_stream()), (400, false));
                assert_eq!(
                    (error["type"].as_str(), error["code"].as_str()),
                    (Some("guardrail_blocked"), Some("secret_detected"))
                );
                assert!(!holds(&reply.body, &secret));
            }
        }
        assert!(!holds(log::text().as_bytes(), &secret) && !holds(gate.metrics().await.as_bytes(), &secret));
    }
    assert_eq!(gate.primary.count() + gate.backup.count(), 0);
}

#[tokio::test]
async fn personal_data_beside_a_secret_still_comes_back() {
    let gate = Gate::with("");
    let [_, secret, _] = secrets();
    let reply = gate.ask(&format!("I am zoe.quill@example.org with {secret}")).await;
    assert_eq!(reply.text(), "You said: I am zoe.quill@example.org with [SECRET_1]");
}
