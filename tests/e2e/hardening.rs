//! What comes over the wire and is no clean request.

use http::Method;
use serde_json::json;
use sluice_tests::{Gate, Reply, log, question};

const CHAT: &str = "/v1/chat/completions";

fn assert_error(reply: &Reply, status: u16, code: &str, what: &str) {
    let error = reply.error();
    assert_eq!((reply.status, error["code"].as_str()), (status, Some(code)), "{what}: {error}");
    assert_eq!(reply.header("content-type"), "application/json", "{what}");
}

#[tokio::test]
async fn a_body_that_is_no_chat_request_is_refused_with_the_reason() {
    let gate = Gate::with("");
    let cases: [(&str, &[u8], &str); 14] = [
        ("nothing", b"", "invalid_json"),
        ("no JSON", b"model=chat", "invalid_json"),
        ("half a document", br#"{"model":"chat","messages":[{"role":"user""#, "invalid_json"),
        ("two documents", br#"{"model":"chat","messages":[{"role":"user"}]}{}"#, "invalid_json"),
        ("a list", b"[]", "invalid_json"),
        (
            "invalid UTF-8 in a string",
            b"{\"model\":\"chat\",\"messages\":[{\"role\":\"user\",\"content\":\"\xff\xfe\"}]}",
            "invalid_json",
        ),
        (
            "a lone surrogate",
            br#"{"model":"chat","messages":[{"role":"user","content":"\ud83d"}]}"#,
            "invalid_json",
        ),
        ("UTF-16", b"\xff\xfe{\0}\0", "invalid_json"),
        (
            "a key twice",
            br#"{"model":"chat","model":"backup/x","messages":[{"role":"user","content":"a"}]}"#,
            "invalid_json",
        ),
        (
            "a key twice deep inside",
            br#"{"model":"chat","messages":[{"role":"user","content":"a","content":"b"}]}"#,
            "invalid_json",
        ),
        (
            "a key twice by escapes",
            br#"{"model":"chat","messages":[{"role":"user","content":"a","\u0063ontent":"b"}]}"#,
            "invalid_json",
        ),
        ("no model", br#"{"messages":[{"role":"user","content":"a"}]}"#, "invalid_value"),
        ("no messages", br#"{"model":"chat"}"#, "invalid_value"),
        (
            "a wrong type",
            br#"{"model":"chat","messages":[{"role":"user","content":"a"}],"stream":"yes"}"#,
            "invalid_value",
        ),
    ];
    for (what, body, code) in cases {
        let reply = gate.client.post(CHAT, body.to_vec()).await;
        assert_error(&reply, 400, code, what);
        assert_eq!(reply.error()["type"], "invalid_request_error", "{what}");
    }
    let deep = format!("{{\"model\":\"chat\",\"messages\":{}", "[".repeat(200_000));
    assert_error(&gate.client.post(CHAT, deep).await, 400, "invalid_json", "depth without end");
    assert_eq!(gate.primary.count() + gate.backup.count(), 0);
    assert_eq!(gate.ask("Still there?").await.status, 200);
}

#[tokio::test]
async fn a_wrong_field_is_named_by_its_path() {
    let gate = Gate::with("");
    let body =
        json!({ "model": "chat", "messages": [{ "role": "user", "content": "a" }, { "content": "b" }] });
    let reply = gate.client.chat(&body).await;
    assert_error(&reply, 400, "invalid_value", "no role");
    assert_eq!(reply.error()["param"], "messages[1].role");
}

#[tokio::test]
async fn a_model_that_nobody_serves_is_told_with_those_that_are() {
    let gate = Gate::with("");
    for model in ["nope", "nope/x", "primary/", "/x", "CHAT", "chat "] {
        let reply = gate
            .client
            .chat(&json!({ "model": model, "messages": [{ "role": "user", "content": "a" }] }))
            .await;
        assert_error(&reply, 404, "model_not_found", model);
        assert_eq!(reply.error()["param"], "model");
        assert!(reply.error()["message"].as_str().unwrap().contains("chat"));
    }
    assert_eq!(gate.primary.count(), 0);
}

#[tokio::test]
async fn a_body_above_the_limit_is_refused() {
    let gate = Gate::with("limits: {max_body: 2KiB}");
    // Far above it the gateway hangs up while the client still sends, see `sockets`.
    for size in [2 * 1024 + 1, 6 * 1024] {
        let reply = gate.client.post(CHAT, vec![b' '; size]).await;
        assert_error(&reply, 413, "request_too_large", &size.to_string());
    }
    let padded = |size: usize| {
        let body = question("fits").to_string();
        format!("{}{body}", " ".repeat(size - body.len()))
    };
    assert_eq!(gate.client.post(CHAT, padded(2 * 1024)).await.status, 200);
    assert_eq!(gate.client.post(CHAT, padded(2 * 1024 + 1)).await.status, 413);
    assert_eq!(gate.primary.count(), 1);
}

#[tokio::test]
async fn a_compressed_body_is_refused_by_the_headers_name() {
    let gate = Gate::with("");
    for encoding in ["gzip", "br", "zstd", "GZIP, identity"] {
        let reply = gate.client.with("content-encoding", encoding).chat(&question("Hi")).await;
        assert_error(&reply, 400, "invalid_value", encoding);
        assert_eq!(reply.error()["param"], "content-encoding");
    }
    assert_eq!(gate.client.with("content-encoding", "identity").chat(&question("Hi")).await.status, 200);
}

#[tokio::test]
async fn wrong_methods_and_paths_are_told() {
    let gate = Gate::with("");
    let wrong = [
        (Method::GET, CHAT),
        (Method::PUT, CHAT),
        (Method::DELETE, "/v1/embeddings"),
        (Method::POST, "/v1/models"),
        (Method::POST, "/health/live"),
        (Method::POST, "/"),
    ];
    for (method, path) in wrong {
        let what = format!("{method} {path}");
        assert_error(&gate.client.send(method, path, "").await, 405, "method_not_allowed", &what);
    }
    for path in [
        "/v1",
        "/v2/chat/completions",
        "/v1/chat/completions/",
        "/v1//chat/completions",
        "/metrics",
        "/requests",
        "/%2e%2e/etc/passwd",
    ] {
        assert_error(&gate.client.post(path, "{}").await, 404, "unknown_url", path);
    }
    // Some clients leave the version out, some send a query.
    for path in ["/chat/completions", "/v1/chat/completions?api-version=2024-10-21"] {
        assert_eq!(gate.client.post(path, question("Hi").to_string()).await.status, 200, "{path}");
    }
}

#[tokio::test]
async fn a_request_id_is_echoed_if_it_is_a_plain_word_and_made_otherwise() {
    let gate = Gate::with("");
    for own in ["my-id_1.2:3", "a", &"x".repeat(128)] {
        assert_eq!(gate.client.with("x-request-id", own).get("/v1/models").await.header("x-request-id"), own);
        let error = gate.client.with("x-request-id", own).post(CHAT, "{").await;
        assert_eq!((error.status, error.header("x-request-id")), (400, own));
    }
    let mut made = std::collections::BTreeSet::new();
    for odd in ["", "two words", "<script>", "ü", &"x".repeat(129)] {
        let reply = gate.client.with("x-request-id", odd).get("/v1/models").await;
        let id = reply.header("x-request-id").to_owned();
        assert!(id.starts_with("req_") && made.insert(id), "{odd}");
    }
}

#[tokio::test]
async fn every_refusal_has_one_line_in_the_log_and_none_of_the_content() {
    let gate = Gate::with("limits: {max_body: 2KiB}");
    let content = "pomegranate_marmalade";
    let bodies = [
        (400, format!("{{\"model\":\"chat\", {content}")),
        (400, format!("{{\"{content}\":1,\"{content}\":2}}")),
        (400, json!({ "model": "chat", "messages": content }).to_string()),
        (
            400,
            json!({ "model": "chat", "messages": [{ "role": "user", "content": { "a": content } }] })
                .to_string(),
        ),
        (413, content.repeat(200)),
    ];
    for (at, (status, body)) in bodies.into_iter().enumerate() {
        let id = format!("refused-{at}");
        let reply = gate.client.with("x-request-id", &id).post(CHAT, body).await;
        assert_eq!(reply.status, status);
        assert!(!reply.error().to_string().contains(content));
        let lines = log::of_request(&id);
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert_eq!(
            (lines[0]["message"].as_str(), lines[0]["status"].as_u64()),
            (Some("refused"), Some(u64::from(status)))
        );
    }
    assert!(!log::text().contains(content) && !gate.metrics().await.contains(content));
}

#[tokio::test]
async fn an_answered_request_has_one_line_in_the_log_and_none_of_the_content() {
    let gate = Gate::with("");
    let client = gate.client.with("x-request-id", "answered-once");
    client.chat(&question("How to cook quinces_in_november?")).await;
    let lines = log::of_request("answered-once");
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert_eq!(
        (lines[0]["outcome"].as_str(), lines[0]["key"].as_str()),
        (Some("complete"), Some("anonymous"))
    );
    assert!(lines[0]["input_tokens"].as_u64() > Some(0));
    assert!(!log::text().contains("quinces_in_november"));
}

#[tokio::test]
async fn a_web_page_of_another_site_may_not_use_a_gateway_without_keys() {
    let gate = Gate::with("");
    for (name, value) in [("origin", "https://evil.example"), ("origin", "null")] {
        let reply = gate.client.with(name, value).chat(&question("Hello")).await;
        assert_eq!(
            (reply.status, reply.error()["code"].as_str()),
            (403, Some("origin_not_allowed")),
            "{value}"
        );
    }
    assert_eq!(
        gate.client.with("origin", "http://localhost:3000").chat(&question("Hello")).await.status,
        200
    );
}
