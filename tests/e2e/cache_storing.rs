//! Which answers are worth remembering.

use serde_json::json;
use sluice_tests::{Gate, Stub, TWO_TARGETS, Then, question, script, streamed};

/// Asks twice; neither may come from memory.
async fn assert_not_stored(gate: &Gate, what: &str) {
    for stream in [false, true, false] {
        let reply = gate.client.chat(&streamed(question("Tell me a story"), stream)).await;
        assert_eq!(reply.header("x-sluice-cache"), if reply.status == 200 { "miss" } else { "" }, "{what}");
    }
}

#[tokio::test]
async fn only_whole_answers_in_words_are_remembered() {
    let cases = [
        ("an answer cut at its token limit", "reply: {finish_reason: length}"),
        ("a filtered answer", "reply: {finish_reason: content_filter}"),
        ("a tool call", "reply: {tool_call: {name: f, arguments: '{}'}}"),
        ("a tool call that says stop", "reply: {tool_call: {name: f, arguments: '{}'}, finish_reason: stop}"),
        ("an empty answer", "reply: {answer: ''}"),
        ("a refusal of the request", "reply: {status: 400}"),
        ("an error", "reply: {status: 500}"),
        (
            "a refusal to answer",
            r#"reply: {raw: '{"choices":[{"index":0,"message":{"role":"assistant","content":null,"refusal":"No."},"finish_reason":"stop"}]}'}"#,
        ),
        (
            "one of two choices cut",
            r#"reply: {raw: '{"choices":[{"index":0,"message":{"content":"a"},"finish_reason":"stop"},{"index":1,"message":{"content":"b"},"finish_reason":"length"}]}'}"#,
        ),
    ];
    for (what, answer) in cases {
        let gate = Gate::with("");
        gate.primary.script(script(answer));
        gate.backup.script(script(answer));
        assert_not_stored(&gate, what).await;
    }
}

#[tokio::test]
async fn a_stream_without_its_terminator_is_not_remembered() {
    let chunk = r#"{"choices":[{"index":0,"delta":{"content":"Once"},"finish_reason":"stop"}]}"#;
    let stub = Stub::stream(&[chunk], Then::Close).await;
    let gate = Gate::start(&TWO_TARGETS.replace("{primary}", &stub.base_url()));
    let body = streamed(question("Tell me a story"), true);
    for _ in 0..2 {
        let cut = gate.client.chat(&body).await;
        assert_eq!((cut.text().as_str(), cut.is_done(), cut.cache().as_str()), ("Once", false, "miss"));
    }
}

#[tokio::test]
async fn an_answer_that_names_a_placeholder_serves_only_requests_that_issued_it() {
    let gate = Gate::with("cache: {similarity: 0.5}");
    gate.primary.script(script("reply: {answer: 'Sent to [EMAIL_ADDRESS_1].'}"));
    let text = "Please send the contract for the flat to";
    let own = gate.ask(&format!("{text} zoe.quill@example.org")).await;
    assert_eq!(own.text(), "Sent to zoe.quill@example.org.");

    // Letter by letter the redacted question, written by somebody who has no such value.
    let literal = gate.ask(&format!("{text} [EMAIL_ADDRESS_1]")).await;
    assert_eq!((literal.cache().as_str(), literal.text().as_str()), ("miss", "Sent to [EMAIL_ADDRESS_1]."));
    let near = gate.ask(&format!("{text} my home")).await;
    assert_eq!(near.cache(), "miss");
    let other = gate.ask(&format!("{text} ben@example.net")).await;
    assert_eq!((other.header("x-sluice-cache"), other.text().as_str()), ("hit", "Sent to ben@example.net."));
}

#[tokio::test]
async fn an_answer_without_placeholders_serves_near_questions_that_hold_none() {
    let gate = Gate::with("cache: {similarity: 0.5}");
    gate.primary.script(script("reply: {answer: 'It is sent.'}"));
    let text = "Please send the contract for the flat to";
    gate.ask(&format!("{text} zoe.quill@example.org")).await;
    assert_eq!(gate.ask(&format!("{text} my home")).await.cache(), "hit semantic");
}

#[tokio::test]
async fn what_is_remembered_does_not_outlive_its_gateway() {
    let gate = Gate::with("");
    gate.ask("When do you open?").await;
    let other = Gate::with("");
    assert_eq!(other.ask("When do you open?").await.cache(), "miss");
}

#[tokio::test]
async fn a_conversation_that_ends_with_a_tool_result_is_found_letter_by_letter() {
    let gate = Gate::with("");
    let body = |result: &str| {
        json!({ "model": "chat", "messages": [
            { "role": "user", "content": "What is my balance?" },
            { "role": "assistant", "content": null, "tool_calls": [{ "id": "c1", "type": "function", "function": { "name": "balance", "arguments": "{}" } }] },
            { "role": "tool", "tool_call_id": "c1", "content": result },
        ]})
    };
    assert_eq!(gate.client.chat(&body("12 euro")).await.cache(), "miss");
    assert_eq!(gate.client.chat(&body("13 euro")).await.cache(), "miss");
    assert_eq!(gate.client.chat(&body("12 euro")).await.cache(), "hit exact");
}
