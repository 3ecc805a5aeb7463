//! Anthropic's Messages API on both sides: its clients before any provider, its models behind any client, and nothing lost between
//! the two. The guards hold there as everywhere.

use serde_json::{Value, json};
use sluice_tests::leak::holds;
use sluice_tests::{Gate, Guard as Provider, Reply, Say, question, script, streamed};
use std::borrow::Borrow;

pub(crate) const EMAIL: &str = "zoe.quill@example.org";
pub(crate) const OTHER: &str = "ann.bell@example.com";
pub(crate) const EVENTS: &[(&str, &str)] = &[("content-type", "text/event-stream")];
pub(crate) const JSON: &[(&str, &str)] = &[("content-type", "application/json")];

/// Anthropic behind `claude`, the scripted provider of OpenAI's format behind `chat`, both behind `either`.
pub(crate) async fn gate(provider: &Provider, more: &str) -> Gate {
    let url = provider.url();
    Gate::start(&format!(
        "
providers:
  claude: {{kind: anthropic, base_url: '{url}', api_key: 'env:TEST_CLAUDE'}}
  primary: {{kind: mock, base_url: '{{primary}}'}}
  backup: {{kind: mock, base_url: '{{backup}}', in_house: true}}
routes:
  - {{model: claude, targets: [claude/claude-haiku-4-5]}}
  - {{model: chat, targets: [primary/model-a]}}
  - {{model: either, targets: [claude/claude-haiku-4-5, backup/model-b]}}
  - {{model: strict, targets: [claude/claude-haiku-4-5], drop_params: strict}}
retry: {{rounds: 0}}
embedding: {{deadline: 5m}}
{more}
"
    ))
}

pub(crate) fn ask(model: &str, text: &str) -> Value {
    json!({ "model": model, "max_tokens": 200, "messages": [{ "role": "user", "content": text }] })
}

pub(crate) fn message(content: impl Borrow<Value>) -> Value {
    let content = content.borrow();
    json!({ "id": "msg_1", "type": "message", "role": "assistant", "model": "claude-haiku-4-5", "content": content,
        "stop_reason": "end_turn", "stop_sequence": null,
        "usage": { "input_tokens": 10, "cache_read_input_tokens": 4, "cache_creation_input_tokens": 0, "output_tokens": 5, "service_tier": "standard" } })
}

pub(crate) fn says(text: &str) -> Value {
    message(json!([{ "type": "text", "text": text }]))
}

/// The events of a message; each text comes letter by letter.
pub(crate) fn events_of(message: &Value) -> Vec<Value> {
    let mut begun = message.clone();
    (begun["content"], begun["stop_reason"], begun["usage"]["output_tokens"]) =
        (json!([]), Value::Null, json!(1));
    let mut events = vec![json!({ "type": "message_start", "message": begun }), json!({ "type": "ping" })];
    for (index, block) in message["content"].as_array().unwrap().iter().enumerate() {
        let (mut start, mut deltas) = (block.clone(), Vec::new());
        let mut piece = |delta: Value| {
            deltas.push(json!({ "type": "content_block_delta", "index": index, "delta": delta }));
        };
        if let Some(text) = block["text"].as_str() {
            start["text"] = json!("");
            text.chars().for_each(|c| piece(json!({ "type": "text_delta", "text": c })));
        }
        if let (Some(thought), signature) = (block["thinking"].as_str(), &block["signature"]) {
            (start["thinking"], start["signature"]) = (json!(""), json!(""));
            thought.chars().for_each(|c| piece(json!({ "type": "thinking_delta", "thinking": c })));
            piece(json!({ "type": "signature_delta", "signature": signature }));
        }
        if block["input"].is_object() {
            start["input"] = json!({});
            block["input"]
                .to_string()
                .chars()
                .for_each(|c| piece(json!({ "type": "input_json_delta", "partial_json": c })));
        }
        events.push(json!({ "type": "content_block_start", "index": index, "content_block": start }));
        events.append(&mut deltas);
        events.push(json!({ "type": "content_block_stop", "index": index }));
    }
    let usage = json!({ "output_tokens": message["usage"]["output_tokens"] });
    events.push(json!({ "type": "message_delta", "delta": { "stop_reason": message["stop_reason"], "stop_sequence": null }, "usage": usage }));
    events.push(json!({ "type": "message_stop" }));
    events
}

pub(crate) fn spelled(events: &[Value]) -> String {
    events
        .iter()
        .map(|event| format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap()))
        .collect()
}

/// A provider that answers with this message, as asked.
pub(crate) async fn answering(message: Value) -> Provider {
    Provider::start(move |asked| answer(asked, &message)).await
}

pub(crate) fn answer(asked: &Value, message: &Value) -> Say {
    if asked["stream"] == true {
        return Say::Status(200, EVENTS, spelled(&events_of(message)));
    }
    Say::Status(200, JSON, message.to_string())
}

/// The text of an answer in Anthropic's format, whole or streamed.
pub(crate) fn text(reply: &Reply) -> String {
    assert_eq!(reply.status, 200, "{:?}", reply.body);
    if !reply.is_stream() {
        return reply.json()["content"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(|block| block["text"].as_str())
            .collect();
    }
    reply.events().iter().filter_map(|event| event["delta"]["text"].as_str().map(str::to_owned)).collect()
}

/// The input of the tool that is called.
pub(crate) fn input(reply: &Reply) -> Value {
    if !reply.is_stream() {
        let content = reply.json()["content"].take();
        return content.as_array().unwrap().iter().find(|block| block["type"] == "tool_use").unwrap()["input"].clone();
    }
    let pieces: String = reply
        .events()
        .iter()
        .filter_map(|event| event["delta"]["partial_json"].as_str().map(str::to_owned))
        .collect();
    serde_json::from_str(&pieces).unwrap()
}

pub(crate) fn with_stream(mut body: Value, stream: bool) -> Value {
    if stream {
        body["stream"] = json!(true);
    }
    body
}

#[tokio::test]
async fn between_two_ends_of_the_format_bytes_and_headers_pass_and_the_answer_is_the_provider_s() {
    let content = json!([
        { "type": "text", "text": "I search." },
        { "type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": { "query": "opening hours" } },
        { "type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": [{ "type": "web_search_result", "url": "https://a.example", "title": "A", "encrypted_content": "x" }] },
        { "type": "text", "text": "From nine." },
        { "type": "tool_use", "id": "toolu_1", "name": "find", "input": { "q": "hours" } },
        { "type": "future_block", "odd": [1, null] },
    ]);
    let mut told = message(content);
    (told["stop_reason"], told["container"]) = (json!("tool_use"), json!({ "id": "c" }));
    let provider = answering(told.clone()).await;
    let gate = gate(&provider, "").await;
    let client = gate
        .client
        .with("anthropic-beta", "web-2026-01-01")
        .with("anthropic-version", "2023-06-01")
        .with("x-api-key", "client-key");
    let body = r#"{"max_tokens": 9,"model":"claude","mcp_servers":[{"future":1.50}],"messages":[{"role":"user","content":"\u00fc  hello"}]}"#;
    let reply = client.post("/v1/messages", body).await;
    // The model is the one that was asked for.
    told["model"] = json!("claude");
    assert_eq!((reply.status, reply.json()), (200, told.clone()));
    assert_eq!(reply.header("request-id"), reply.header("x-request-id"));
    let seen = provider.heard().pop().unwrap();
    assert_eq!(
        seen.body,
        r#"{"model":"claude-haiku-4-5","max_tokens":9,"mcp_servers":[{"future":1.50}],"messages":[{"role":"user","content":"\u00fc  hello"}]}"#
    );
    assert_eq!(seen.path, "/guard/messages");
    let header = |name: &str| seen.headers.get(name).map(|value| value.to_str().unwrap());
    assert_eq!(
        (header("anthropic-beta"), header("anthropic-version")),
        (Some("web-2026-01-01"), Some("2023-06-01"))
    );
    assert_eq!(header("x-api-key"), Some("sk-test-claude"), "the operator's key, never the client's");
    let reply = client.messages(&with_stream(ask("claude", "hello"), true)).await;
    let sent: Vec<Value> = events_of(&told).into_iter().filter(|event| event["type"] != "ping").collect();
    assert_eq!(reply.events(), sent, "event by event");
    // Another provider is told nothing of them.
    client.messages(&ask("chat", "hello")).await;
    assert!(gate.primary.seen().iter().all(|seen| !holds(&seen.bytes(), "web-2026-01-01")));
}

#[tokio::test]
async fn an_openai_client_has_claude_as_any_other_model() {
    let mut told = message(json!([
        { "type": "thinking", "thinking": "hm", "signature": "sig" },
        { "type": "text", "text": "One moment." },
        { "type": "tool_use", "id": "toolu_1", "name": "find", "input": { "q": 1 } },
    ]));
    told["stop_reason"] = json!("tool_use");
    let provider = answering(told).await;
    let gate = gate(&provider, "").await;
    for stream in [false, true] {
        let mut body = question("Find it");
        (body["model"], body["seed"]) = (json!("claude"), json!(stream));
        let reply = gate.client.chat(&streamed(body, stream)).await;
        assert_eq!(
            (reply.text(), reply.arguments(), reply.finish_reason()),
            ("One moment.".to_owned(), "{\"q\":1}".to_owned(), "tool_calls".to_owned())
        );
        assert_eq!(
            reply.usage()["prompt_tokens"],
            14,
            "what was read from the provider's cache is a part of it"
        );
        assert_eq!(reply.header("x-sluice-dropped-params"), "seed");
        assert!(!holds(&reply.body, "sluice_native"));
        let sent = provider.heard().pop().unwrap().json();
        assert_eq!((sent["max_tokens"].as_u64(), sent.get("seed")), (Some(8192), None));
    }
    let mut body = question("Find it");
    (body["model"], body["seed"]) = (json!("strict"), json!(7));
    let reply = gate.client.chat(&body).await;
    assert_eq!((reply.status, reply.error()["param"].as_str()), (400, Some("seed")));
}

#[tokio::test]
async fn an_anthropic_client_has_any_model_as_claude() {
    let gate = gate(&answering(says("unused")).await, "").await;
    gate.primary.script(script("rules:\n- {when: {contains: weather}, reply: {tool_call: {name: weather, arguments: '{\"city\": \"Bern\"}'}}}\n- {reply: {answer: From nine to five.}}"));
    for stream in [false, true] {
        let reply = gate
            .client
            .messages(&with_stream(ask("chat", &format!("When do you open? {stream}")), stream))
            .await;
        assert_eq!(text(&reply), "From nine to five.");
        let mut body = with_stream(ask("chat", &format!("What is the weather? {stream}")), stream);
        body["tools"] = json!([{ "name": "weather", "input_schema": { "type": "object" } }]);
        let reply = gate.client.messages(&body).await;
        assert_eq!(input(&reply), json!({ "city": "Bern" }));
        if stream {
            let kinds: Vec<String> =
                reply.events().iter().map(|e| e["type"].as_str().unwrap().to_owned()).collect();
            assert_eq!(
                (kinds[0].as_str(), kinds.last().unwrap().as_str()),
                ("message_start", "message_stop")
            );
            assert!(reply.events().iter().any(|event| event["usage"]["output_tokens"].as_u64() > Some(0)));
        } else {
            assert_eq!(
                (&reply.json()["stop_reason"], &reply.json()["type"]),
                (&json!("tool_use"), &json!("message"))
            );
        }
        let sent: Value = serde_json::from_slice(&gate.primary.seen().last().unwrap().body).unwrap();
        assert_eq!(sent["tools"][0]["function"]["name"], "weather");
    }
}

#[tokio::test]
async fn errors_are_in_anthropic_s_shape_wherever_they_come_from() {
    let provider = answering(says("Hello")).await;
    let gate = gate(&provider, "keys: [{name: shop, secret: 'env:TEST_SHOP'}]").await;
    let client = gate.client.with("x-api-key", "sk-test-shop");
    let kind = |reply: &Reply| (reply.status, reply.error()["type"].as_str().unwrap().to_owned());
    let told = |status, kind: &str| (status, kind.to_owned());
    assert_eq!(kind(&gate.client.messages(&ask("claude", "Hi")).await), told(401, "authentication_error"));
    assert_eq!(kind(&client.messages(&ask("nobody", "Hi")).await), told(404, "not_found_error"));
    let reply = client.messages(&json!({ "model": "claude", "messages": [] })).await;
    assert_eq!(kind(&reply), told(400, "invalid_request_error"));
    assert_eq!(reply.error()["param"], "max_tokens");
    for (status, of_provider, expected) in [
        (400, "invalid_request_error", told(400, "invalid_request_error")),
        (429, "rate_limit_error", told(429, "rate_limit_error")),
        (529, "overloaded_error", told(529, "overloaded_error")),
        (500, "api_error", told(500, "api_error")),
        (401, "authentication_error", told(502, "api_error")),
    ] {
        let body = json!({ "type": "error", "error": { "type": of_provider, "message": "no" }, "request_id": "req_9" }).to_string();
        provider.answer_by(move |_| Say::Status(status, JSON, body.clone()));
        for stream in [false, true] {
            // One of its own, since a target that fails is left alone for a while.
            let gate = self::gate(&provider, "").await;
            assert_eq!(
                kind(&gate.client.messages(&with_stream(ask("claude", "Hi"), stream)).await),
                expected
            );
        }
    }
}

#[tokio::test]
async fn a3_an_error_after_the_first_event_is_never_seen_where_another_target_answers() {
    let events = [
        events_of(&says("x")).remove(0),
        json!({ "type": "error", "error": { "type": "overloaded_error", "message": "Overloaded" } }),
    ];
    let provider = Provider::saying(Say::Status(200, EVENTS, spelled(&events))).await;
    let gate = gate(&provider, "").await;
    gate.backup.script(script("reply: {answer: From the other one.}"));
    let reply = gate.client.messages(&with_stream(ask("either", "Hi"), true)).await;
    assert_eq!((text(&reply).as_str(), reply.header("x-sluice-attempts")), ("From the other one.", "2"));
    let starts = reply.events().iter().filter(|event| event["type"] == "message_start").count();
    assert!(starts == 1 && reply.events().iter().all(|event| event["type"] != "error"));
    let reply = gate.client.messages(&with_stream(ask("claude", "Hi"), true)).await;
    assert_eq!(
        (reply.status, reply.is_stream()),
        (502, false),
        "with nobody else it is an error, not a stream"
    );
}

#[tokio::test]
async fn what_breaks_after_content_ends_with_an_error_event_and_no_end() {
    for cut in [
        json!({ "type": "error", "error": { "type": "overloaded_error", "message": "we hate zoe.quill@example.org" } }),
        json!({ "type": "ping" }),
    ] {
        let mut events = events_of(&says("Once upon a time"));
        events.truncate(10);
        events.push(cut);
        let provider = Provider::saying(Say::Status(200, EVENTS, spelled(&events))).await;
        let gate = gate(&provider, "").await;
        let reply = gate.client.messages(&with_stream(ask("either", "Hi"), true)).await;
        let last = reply.events().pop().unwrap();
        assert_eq!((&last["type"], &last["error"]["code"]), (&json!("error"), &json!("stream_interrupted")));
        assert!(
            !holds(&reply.body, EMAIL) && reply.events().iter().all(|event| event["type"] != "message_stop")
        );
        assert_eq!(gate.backup.count(), 0);
    }
}

#[tokio::test]
async fn clients_of_both_formats_share_what_is_remembered() {
    let gate = gate(&answering(says("Hello")).await, "").await;
    gate.primary.script(script("reply: {answer: From nine to five.}"));
    let mut openai = question("When do you open?");
    openai["max_tokens"] = json!(200);
    assert_eq!(gate.client.chat(&openai).await.cache(), "miss");
    for stream in [false, true] {
        let reply = gate.client.messages(&with_stream(ask("chat", "When do you open?"), stream)).await;
        assert_eq!((reply.cache().as_str(), text(&reply).as_str()), ("hit exact", "From nine to five."));
    }
    assert_eq!(gate.client.messages(&ask("claude", "Who are you?")).await.cache(), "miss");
    let mut openai = question("Who are you?");
    (openai["model"], openai["max_tokens"]) = (json!("claude"), json!(200));
    let reply = gate.client.chat(&openai).await;
    assert_eq!((reply.cache().as_str(), reply.text().as_str()), ("hit exact", "Hello"));
    // A feature asked for in a header may change the answer.
    let beta = gate.client.with("anthropic-beta", "x-2026-01-01");
    assert_eq!(beta.messages(&ask("claude", "Who are you?")).await.cache(), "miss");
    assert_eq!(beta.messages(&ask("claude", "Who are you?")).await.cache(), "hit exact");
    let personal = gate.client.with("anthropic-beta", EMAIL).messages(&ask("claude", "Who are you?")).await;
    assert_eq!((personal.status, &personal.error()["param"]), (400, &json!("anthropic-beta")));
}

#[tokio::test]
async fn tokens_are_counted_by_the_provider_or_estimated() {
    let provider = Provider::saying(Say::Json(json!({ "input_tokens": 42 }))).await;
    let gate = gate(&provider, "").await;
    let body = |model: &str| {
        json!({ "model": model, "messages": [{ "role": "user", "content": format!("Write to {EMAIL}") }] })
            .to_string()
    };
    let reply = gate.client.post("/v1/messages/count_tokens", body("claude")).await;
    assert_eq!((reply.status, reply.json()), (200, json!({ "input_tokens": 42 })));
    let seen = provider.heard().pop().unwrap();
    assert_eq!(seen.path, "/guard/messages/count_tokens");
    assert!(!holds(&seen.body, EMAIL) && seen.json()["model"] == "claude-haiku-4-5");
    let reply = gate.client.post("/v1/messages/count_tokens", body("chat")).await;
    assert_eq!((reply.status, reply.header("x-sluice-estimated")), (200, "true"));
    assert!((5..30).contains(&reply.json()["input_tokens"].as_u64().unwrap()), "{}", reply.json());
    assert_eq!(gate.primary.count(), 0);
    let refusal =
        json!({ "type": "error", "error": { "type": "invalid_request_error", "message": "messages: odd" } })
            .to_string();
    provider.answer_by(move |_| Say::Status(400, JSON, refusal.clone()));
    assert_eq!(gate.client.post("/v1/messages/count_tokens", body("claude")).await.status, 400);
    provider.answer_by(|_| Say::Status(529, JSON, "{}".to_owned()));
    assert_eq!(
        gate.client.post("/v1/messages/count_tokens", body("claude")).await.header("x-sluice-estimated"),
        "true"
    );
}

#[tokio::test]
async fn claude_on_vertex_is_asked_and_counts_by_an_address_of_its_own() {
    let provider =
        Provider::saying(Say::Json(json!({ "id": "msg_vrtx_1", "type": "message", "role": "assistant",
        "model": "claude-haiku-4-5-20251001", "content": [{ "type": "text", "text": "Hello" }],
        "stop_reason": "end_turn", "usage": { "input_tokens": 9, "output_tokens": 1 } })))
        .await;
    let gate = Gate::start(&format!(
        "
providers: {{google: {{kind: vertex, base_url: '{}', api_key: 'env:TEST_GOOGLE'}}}}
routes: [{{model: claude, targets: ['google/claude-haiku-4-5@20251001']}}]
cache: {{enabled: false}}
retry: {{rounds: 0}}
",
        provider.url()
    ));
    let beta = gate.client.with("anthropic-beta", "x-2026-01-01").with("anthropic-version", "2023-06-01");
    let said = json!([{ "role": "user", "content": format!("Write to {EMAIL}") }]);
    let reply = beta.messages(&json!({ "model": "claude", "max_tokens": 9, "messages": said })).await;
    assert_eq!((reply.status, reply.json()["id"].as_str()), (200, Some("msg_vrtx_1")), "{:?}", reply.body);
    let seen = provider.heard().pop().unwrap();
    assert_eq!(seen.path, "/guard/publishers/anthropic/models/claude-haiku-4-5@20251001:rawPredict");
    assert_eq!(
        (&seen.headers["anthropic-beta"], seen.headers.get("anthropic-version")),
        (&"x-2026-01-01".parse().unwrap(), None)
    );
    assert_eq!(seen.json()["anthropic_version"], "vertex-2023-10-16");
    assert!(seen.json().get("model").is_none() && !holds(&seen.body, EMAIL));
    provider.answer_by(|_| Say::Json(json!({ "input_tokens": 42 })));
    let body = json!({ "model": "claude", "messages": said }).to_string();
    let reply = gate.client.post("/v1/messages/count_tokens", body).await;
    assert_eq!((reply.status, reply.json()), (200, json!({ "input_tokens": 42 })));
    let seen = provider.heard().pop().unwrap();
    assert_eq!(seen.path, "/guard/publishers/anthropic/models/count-tokens:rawPredict");
    assert_eq!(seen.json()["model"], "claude-haiku-4-5@20251001");
    assert!(!holds(&seen.body, EMAIL));
}

#[tokio::test]
async fn models_are_listed_in_the_shape_that_the_client_reads() {
    let gate = gate(&answering(says("x")).await, "").await;
    let client = gate.client.with("anthropic-version", "2023-06-01");
    let listed = client.get("/v1/models").await.json();
    let ids: Vec<&str> =
        listed["data"].as_array().unwrap().iter().map(|model| model["id"].as_str().unwrap()).collect();
    assert!(ids.contains(&"claude") && ids.contains(&"chat"), "{ids:?}");
    assert_eq!(
        (&listed["has_more"], &listed["first_id"], &listed["data"][0]["type"]),
        (&json!(false), &json!(ids[0]), &json!("model"))
    );
    assert_eq!(client.get("/v1/models/claude").await.json()["display_name"], "claude");
    assert_eq!(client.get("/v1/models/nobody").await.json()["type"], "error");
    assert_eq!(gate.client.get("/v1/models").await.json()["object"], "list");
}
