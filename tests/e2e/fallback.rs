//! A target that fails before its first content is never noticed by the client.

use serde_json::{Value, json};
use sluice_tests::{Gate, Reply, Stub, TWO_TARGETS, Then, question, script, streamed, stub};

/// Small, where a target is scripted to hang; wide enough for the other one to answer on a busy machine.
const SHORT: &str = "timeouts: {first_byte: 700ms, idle: 700ms}";

/// The backup's answer, and nothing that tells of the primary.
fn assert_clean(reply: &Reply, what: &str) {
    assert_eq!(reply.status, 200, "{what}: {:?}", reply.body);
    assert_eq!(reply.text(), "From the backup, whole and clean.", "{what}");
    assert_eq!(reply.finish_reason(), "stop", "{what}");
    assert_eq!(reply.header("x-sluice-provider"), "backup", "{what}");
    assert_eq!(reply.header("x-sluice-model"), "model-b", "{what}");
    assert_eq!(reply.header("x-sluice-attempts"), "2", "{what}");
    assert_eq!(reply.usage()["total_tokens"].as_u64().map(|n| n > 0), Some(true), "{what}");
    if reply.is_stream() {
        assert!(reply.is_done(), "{what}");
        assert!(reply.chunks().iter().all(|chunk| chunk.get("error").is_none()), "{what}");
        let roles = reply.chunks().iter().filter(|c| c.pointer("/choices/0/delta/role").is_some()).count();
        assert_eq!(roles, 1, "{what}: one beginning");
    }
}

/// Asks a gateway whose first target is at this address, whole and streamed.
async fn assert_rescued(what: &str, base_url: &str) {
    for stream in [false, true] {
        let gate = Gate::start(&format!("{}{SHORT}\n", TWO_TARGETS.replace("{primary}", base_url)));
        gate.backup.script(script("reply: {answer: 'From the backup, whole and clean.'}"));
        let reply = gate.client.chat(&streamed(question("Are you there?"), stream)).await;
        assert_clean(&reply, &format!("{what}, stream: {stream}"));
    }
}

#[tokio::test]
async fn whatever_the_first_target_does_the_client_sees_one_clean_answer() {
    let faults = [
        ("too many requests", "reply: {status: 429}"),
        ("too many requests, come back later", "reply: {status: 429, retry_after: 60}"),
        ("a timeout of its own", "reply: {status: 408}"),
        ("an internal error", "reply: {status: 500}"),
        ("a bad gateway", "reply: {status: 502}"),
        ("overload", "reply: {status: 503}"),
        ("a redirect", "reply: {status: 302}"),
        ("a key of ours that it does not know", "reply: {status: 401}"),
        ("a model that it does not have", "reply: {status: 404}"),
        ("no answer", "reply: {hang: true}"),
        ("a cut at once", "reply: {cut_after: 0}"),
        ("a cut after the role", "reply: {cut_after: 1}"),
        ("a stall after the role", "reply: {stall_after: 1}"),
        ("a page for people", "reply: {raw: '<html><body>Bad gateway</body></html>'}"),
        ("half an answer", r#"reply: {raw: '{"id": "x", "choices": [{"index": 0'}"#),
        ("an answer without choices", r#"reply: {raw: '{"id": "x", "choices": []}'}"#),
        ("an error that says 200", r#"reply: {raw: '{"error": {"message": "overloaded"}}'}"#),
        ("an error of one word that says 200", r#"reply: {raw: '{"error": "overloaded"}'}"#),
        ("nothing that says 200", "reply: {raw: ''}"),
    ];
    for (what, reply) in faults {
        for stream in [false, true] {
            let gate = Gate::with(SHORT);
            gate.primary.script(script(reply));
            gate.backup.script(script("reply: {answer: 'From the backup, whole and clean.'}"));
            let reply = gate.client.chat(&streamed(question("Are you there?"), stream)).await;
            assert_clean(&reply, &format!("{what}, stream: {stream}"));
            assert_eq!((gate.primary.count(), gate.backup.count()), (1, 1), "{what}");
        }
    }
}

#[tokio::test]
async fn a_target_where_nobody_listens_is_passed_over() {
    assert_rescued("a refused connection", &stub::nobody()).await;
}

#[tokio::test]
async fn an_event_stream_without_content_is_passed_over() {
    let role = r#"{"choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}"#;
    let error = r#"{"error":{"message":"overloaded","type":"server_error"}}"#;
    let streams: [(&str, &[&str]); 7] = [
        ("an error in its first event", &[error]),
        ("an error after the role", &[role, error]),
        ("its end in its first event", &["[DONE]"]),
        ("its end after the role", &[role, "[DONE]"]),
        ("no end", &[role]),
        ("nothing", &[]),
        ("no JSON", &[role, "{\"choices\": [{"]),
    ];
    for (what, payloads) in streams {
        assert_rescued(what, &Stub::stream(payloads, Then::Close).await.base_url()).await;
    }
    assert_rescued("a role and silence", &Stub::stream(&[role], Then::Hold).await.base_url()).await;
}

#[tokio::test]
async fn a_target_that_speaks_no_http_is_passed_over() {
    assert_rescued("another protocol", &Stub::start("220 mail ready\r\n", Then::Close).await.base_url())
        .await;
    assert_rescued("an end without a word", &Stub::start("", Then::Close).await.base_url()).await;
    let short =
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 500\r\n\r\n{\"choices\":";
    assert_rescued("a body cut short", &Stub::start(short, Then::Close).await.base_url()).await;
}

#[tokio::test]
async fn an_answer_larger_than_the_limit_is_passed_over() {
    let gate = Gate::with("limits: {max_answer: 1KiB}");
    gate.primary.script(script(&format!("reply: {{answer: '{}'}}", "long ".repeat(400))));
    gate.backup.script(script("reply: {answer: 'From the backup, whole and clean.'}"));
    assert_clean(&gate.ask("Are you there?").await, "a long answer");
}

#[tokio::test]
async fn a_whole_answer_where_a_stream_was_asked_for_is_streamed_to_the_client() {
    let raw = r#"{"id":"x","model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"All at once"},"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":2,"total_tokens":3}}"#;
    let gate = Gate::with("");
    gate.primary.script(script(&format!("reply: {{raw: '{raw}'}}")));
    let reply = gate.client.chat(&streamed(question("Are you there?"), true)).await;
    assert!(reply.is_done());
    assert_eq!((reply.text().as_str(), reply.finish_reason().as_str()), ("All at once", "stop"));
    assert_eq!(reply.usage()["total_tokens"], 3);
    assert_eq!(reply.header("x-sluice-attempts"), "1");
}

#[tokio::test]
async fn a_request_that_a_provider_refuses_is_told_and_asked_nowhere_else() {
    let refusal = r#"{"error":{"message":"too long for this model","type":"invalid_request_error","param":"messages","code":"context_length_exceeded"}}"#;
    let head = format!("HTTP/1.1 400 Bad Request\r\ncontent-length: {}\r\n\r\n", refusal.len());
    let stub = Stub::start(format!("{head}{refusal}"), Then::Close).await;
    for stream in [false, true] {
        let gate = Gate::start(&TWO_TARGETS.replace("{primary}", &stub.base_url()));
        let reply = gate.client.chat(&streamed(question("Are you there?"), stream)).await;
        assert_eq!(reply.status, 400);
        assert_eq!(reply.json(), serde_json::from_str::<Value>(refusal).unwrap());
        assert_eq!(gate.backup.count(), 0);
    }
    for status in [413, 422] {
        let gate = Gate::with("");
        gate.primary.script(script(&format!("reply: {{status: {status}}}")));
        assert_eq!(gate.ask("Are you there?").await.status, status);
        assert_eq!((gate.primary.count(), gate.backup.count()), (1, 0));
    }
}

#[tokio::test]
async fn a_provider_that_refuses_our_key_never_looks_like_a_client_with_a_wrong_one() {
    for status in [401, 403] {
        let gate = Gate::with("");
        for mock in [&gate.primary, &gate.backup] {
            mock.script(script(&format!("reply: {{status: {status}}}")));
        }
        let reply = gate.ask("Are you there?").await;
        assert_eq!((reply.status, reply.error()["code"].as_str()), (502, Some("all_targets_failed")));
    }
}

#[tokio::test]
async fn when_all_targets_fail_the_client_is_told_which_and_how_and_when_to_come_back() {
    for stream in [false, true] {
        let gate = Gate::with("");
        gate.primary.script(script("reply: {status: 500}"));
        gate.backup.script(script("reply: {status: 429, retry_after: 7}"));
        let reply = gate.client.chat(&streamed(question("Are you there?"), stream)).await;
        let error = reply.error();
        assert_eq!((reply.status, reply.is_stream()), (429, false));
        assert_eq!(
            (error["type"].as_str(), error["code"].as_str()),
            (Some("upstream_error"), Some("all_targets_failed"))
        );
        assert_eq!(error["attempts"], json!(["primary/model-a: 500", "backup/model-b: 429"]));
    }
    let gate = Gate::with("");
    for mock in [&gate.primary, &gate.backup] {
        mock.script(script("reply: {status: 429, retry_after: 7}"));
    }
    let reply = gate.ask("Are you there?").await;
    assert_eq!((reply.status, reply.header("retry-after")), (429, "7"));
}

#[tokio::test]
async fn each_way_to_fail_has_its_status() {
    let cases = [
        ("reply: {status: 503}", 503, "503"),
        ("reply: {status: 529}", 529, "529"),
        ("reply: {hang: true}", 504, "timeout_first_byte"),
        ("reply: {cut_after: 0}", 502, "no_connection"),
        ("reply: {raw: nothing}", 502, "no_answer"),
    ];
    for (failing, status, outcome) in cases {
        let gate = Gate::with(SHORT);
        gate.backup.script(script(failing));
        let reply = gate
            .client
            .chat(&json!({ "model": "backup/x", "messages": question("Are you there?")["messages"] }))
            .await;
        assert_eq!(reply.status, status, "{failing}");
        assert_eq!(reply.error()["attempts"], json!([format!("backup/x: {outcome}")]));
    }
}

#[tokio::test]
async fn a_target_that_asked_to_be_left_alone_is_not_asked_while_another_is_there() {
    let gate = Gate::start(&TWO_TARGETS.replace("{rounds: 0}", "{rounds: 3, backoff: 1ms}"));
    gate.primary.script(script("reply: {status: 429, retry_after: 60}"));
    gate.backup.script(script("rules: [{times: 2, reply: {status: 500}}]"));
    let reply = gate.ask("Are you there?").await;
    assert_eq!((reply.status, reply.header("x-sluice-attempts")), (200, "4"));
    assert_eq!((gate.primary.count(), gate.backup.count()), (1, 3));
}

#[tokio::test]
async fn a_target_that_names_a_short_wait_is_asked_again_after_it() {
    let gate = Gate::start(&TWO_TARGETS.replace("{rounds: 0}", "{rounds: 1, backoff: 1ms}"));
    let rules = "rules: [{times: 1, reply: {status: 503, retry_after: 0.05}}]";
    gate.primary.script(script(rules));
    gate.backup.script(script(rules));
    let reply = gate.ask("Are you there?").await;
    assert_eq!((reply.status, reply.header("x-sluice-attempts")), (200, "3"));
    assert_eq!(reply.header("x-sluice-provider"), "primary");
}

#[tokio::test]
async fn a_wait_longer_than_the_longest_pause_is_left_to_the_client() {
    let gate = Gate::start(&TWO_TARGETS.replace("{rounds: 0}", "{rounds: 5, backoff: 1ms, max_backoff: 2s}"));
    for mock in [&gate.primary, &gate.backup] {
        mock.script(script("reply: {status: 429, retry_after: 30}"));
    }
    let reply = gate.ask("Are you there?").await;
    assert_eq!((reply.status, reply.header("retry-after")), (429, "30"));
    assert_eq!((gate.primary.count(), gate.backup.count()), (1, 1));
}

#[tokio::test]
async fn the_total_timeout_ends_all_retries() {
    let gate = Gate::with("timeouts: {total: 500ms}");
    for mock in [&gate.primary, &gate.backup] {
        mock.script(script("reply: {hang: true}"));
    }
    let reply = gate.ask("Are you there?").await;
    assert_eq!((reply.status, reply.error()["code"].as_str()), (504, Some("all_targets_failed")));
}

#[tokio::test]
async fn a_target_that_timed_out_is_not_asked_again_since_it_may_be_at_work_still() {
    let rounds = TWO_TARGETS.replace("rounds: 0", "rounds: 2, backoff: 1ms");
    let gate = Gate::start(&format!("{rounds}timeouts: {{first_byte: 200ms}}\n"));
    gate.primary.script(script("reply: {hang: true}"));
    gate.backup.script(script("reply: {hang: true}"));
    let reply = gate.ask("Hello").await;
    assert_eq!((reply.status, gate.primary.count(), gate.backup.count()), (504, 1, 1));
    assert_eq!(reply.header("x-sluice-attempts"), "2");
}

#[tokio::test]
async fn an_absurd_retry_after_is_a_long_wait_and_no_more() {
    let gate = Gate::with("");
    gate.primary.script(script("reply: {status: 429, retry_after: 1e19}"));
    let reply = gate.ask("Hello").await;
    assert_eq!((reply.status, reply.header("x-sluice-provider")), (200, "backup"));
}

#[tokio::test]
async fn a_client_may_want_fewer_rounds_than_are_configured_and_never_more() {
    let gate = Gate::start(&TWO_TARGETS.replace("{rounds: 0}", "{rounds: 1, backoff: 1ms}"));
    gate.primary.script(script("reply: {status: 500}"));
    gate.backup.script(script("reply: {status: 500}"));
    for (name, value, each) in
        [("x-sluice-retries", "0", 1), ("x-portkey-retry-count", "0", 2), ("x-sluice-retries", "9", 4)]
    {
        assert!(gate.client.with(name, value).chat(&question("Hello")).await.status >= 500);
        assert_eq!((gate.primary.count(), gate.backup.count()), (each, each), "{name}: {value}");
    }
    let wrong = gate.client.with("x-sluice-retries", "often").chat(&question("Hello")).await;
    assert_eq!((wrong.status, wrong.error()["param"].as_str()), (400, Some("x-sluice-retries")));
}
