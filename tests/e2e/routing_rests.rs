//! What is said, and who is asked, when targets rest, have no such model or are silent.

use serde_json::{Value, json};
use sluice_tests::{Gate, Reply, Stub, TWO_TARGETS, Then, question, script, streamed};

const NO_CACHE: &str = "cache: {enabled: false}";

/// Status and code of an error.
fn told(reply: &Reply) -> (u16, String) {
    (reply.status, reply.error()["code"].as_str().unwrap_or_default().to_owned())
}

fn error(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

#[tokio::test]
async fn after_its_key_was_refused_nobody_is_told_that_they_asked_too_often() {
    let gate = Gate::with("");
    for mock in [&gate.primary, &gate.backup] {
        mock.script(script("reply: {status: 401}"));
    }
    assert_eq!(told(&gate.ask("Hello").await), error(502, "all_targets_failed"));
    let reply = gate.ask("Hello").await;
    assert_eq!(told(&reply), error(503, "provider_key_refused"));
    assert_eq!(reply.header("retry-after"), "", "time alone does not mend it");
    assert_eq!(reply.header("x-sluice-attempts"), "0");
    let lines = json!(["primary/model-a: left_alone key_refused", "backup/model-b: left_alone key_refused"]);
    assert_eq!(reply.error()["attempts"], lines);
    let body = json!({ "model": "chat", "max_tokens": 9, "messages": question("Hello")["messages"] });
    let reply = gate.client.messages(&body).await;
    assert_eq!((reply.status, reply.json()["type"].as_str()), (503, Some("error")));
    let message = reply.json()["error"]["message"].as_str().unwrap_or_default().to_owned();
    assert!(message.contains("refused this gateway's own key") && !message.contains("sk-test"), "{message}");
    assert_eq!((gate.primary.count(), gate.backup.count()), (1, 1), "they rest");
}

#[tokio::test]
async fn each_reason_to_rest_has_its_own_word() {
    for (failing, first, later, waits) in [
        (
            "status: 429, retry_after: 30",
            error(429, "all_targets_failed"),
            error(429, "all_targets_failed"),
            true,
        ),
        (
            "status: 503, retry_after: 30",
            error(503, "all_targets_failed"),
            error(503, "all_targets_failed"),
            true,
        ),
        ("status: 402", error(502, "all_targets_failed"), error(503, "provider_quota_spent"), false),
        ("status: 403", error(502, "all_targets_failed"), error(503, "provider_key_refused"), false),
    ] {
        let gate = Gate::with("");
        for mock in [&gate.primary, &gate.backup] {
            mock.script(script(&format!("reply: {{{failing}}}")));
        }
        assert_eq!(told(&gate.ask("Hello").await), first, "{failing}");
        let reply = gate.ask("Hello").await;
        assert_eq!(told(&reply), later, "{failing}");
        assert_eq!(!reply.header("retry-after").is_empty(), waits, "{failing}");
        assert_eq!(gate.primary.count(), 1, "{failing}");
    }
}

#[tokio::test]
async fn of_several_reasons_the_one_that_passes_by_itself_is_told() {
    let gate = Gate::with("");
    gate.primary.script(script("reply: {status: 401}"));
    gate.backup.script(script("reply: {status: 429, retry_after: 300}"));
    for asked in ["both", "nobody"] {
        let reply = gate.ask("Hello").await;
        assert_eq!(told(&reply), error(429, "all_targets_failed"), "{asked}");
        let wait: u64 = reply.header("retry-after").parse().unwrap();
        assert!((240..=300).contains(&wait), "{asked}: of the one that will answer then: {wait}");
    }
    assert_eq!((gate.primary.count(), gate.backup.count()), (1, 1));
}

#[tokio::test]
async fn a_target_that_has_no_such_model_is_asked_once_and_another_answers() {
    let bedrock = ("bedrock", json!({ "message": "The provided model identifier is invalid." }));
    let routed =
        ("openai_compatible", json!({ "error": { "message": "x is not a valid model ID", "code": 400 } }));
    let google =
        json!({ "error": { "code": 404, "message": "models/x is not found", "status": "NOT_FOUND" } });
    let claude = json!({ "type": "error", "error": { "type": "not_found_error", "message": "model: x" } });
    let azure = json!({ "error": { "code": "DeploymentNotFound", "message": "The API deployment for this resource does not exist." } });
    for (status, (kind, body)) in [
        (400, bedrock),
        (400, routed),
        (404, ("gemini", google)),
        (404, ("anthropic", claude)),
        (404, ("azure_v1", azure)),
    ] {
        let body = Value::to_string(&body);
        let head = format!(
            "HTTP/1.1 {status} No\r\nx-amzn-errortype: ValidationException\r\ncontent-type: application/json"
        );
        let answer = format!("{head}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len());
        let stub = Stub::start(answer, Then::Close).await;
        let settings = match kind {
            "bedrock" => ", region: eu-west-1",
            "azure_v1" => ", resource: nobody",
            _ => "",
        };
        let yaml = TWO_TARGETS
            .replace(
                "kind: mock, base_url: '{primary}'",
                &format!("kind: {kind}, base_url: '{}'{settings}", stub.base_url()),
            )
            .replace("rounds: 0", "rounds: 2, backoff: 1ms");
        let gate = Gate::start(&yaml);
        let reply = gate.ask("Hello").await;
        assert_eq!((reply.status, reply.header("x-sluice-provider")), (200, "backup"), "{kind}");
        gate.backup.script(script("reply: {status: 500}"));
        let reply = gate.ask("Hello again").await;
        assert_eq!((reply.status, stub.count()), (500, 2), "{kind}: not again in a further round");
    }
}

#[tokio::test]
async fn a_silent_target_opens_its_breaker_and_later_requests_do_not_wait_for_it() {
    for stream in [false, true] {
        let terms = "timeouts: {first_byte: 300ms}\nbreaker: {failures: 2, pause: 1h, max_pause: 1h}";
        let gate = Gate::with(&format!("{terms}\n{NO_CACHE}"));
        gate.primary.script(script("reply: {hang: true}"));
        for attempts in ["2", "2", "1", "1", "1"] {
            let reply = gate.client.chat(&streamed(question("Hello"), stream)).await;
            assert_eq!((reply.status, reply.header("x-sluice-provider")), (200, "backup"));
            assert_eq!(reply.header("x-sluice-attempts"), attempts, "streamed: {stream}");
        }
        assert_eq!(gate.primary.count(), 2, "streamed: {stream}");
    }
}
