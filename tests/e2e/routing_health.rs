//! Targets that fail are left alone, and their failures go unnoticed.

use sluice::mock::{Mock, Script};
use sluice_tests::{Gate, Reply, Stub, TWO_TARGETS, Then, among, question, script, streamed};

const NO_CACHE: &str = "cache: {enabled: false}";

fn provider(reply: &str) -> Mock {
    among::provider(reply).expect("a scripted provider")
}

/// A gateway whose model `chat` chooses among these providers by this strategy.
fn among(providers: &[&Mock], strategy: &str, more: &str) -> Gate {
    let yaml = among::routed(providers, strategy);
    Gate::start(&format!("{yaml}embedding: {{deadline: 5m}}\n{NO_CACHE}\n{more}\n"))
}

fn is_answered(reply: &Reply) {
    assert_eq!(reply.status, 200, "{:?}", reply.body);
    if reply.is_stream() {
        assert!(reply.is_done());
    }
}

/// Scenario A14 of the reference.
#[tokio::test]
async fn a_target_that_fails_at_once_is_no_magnet() {
    for strategy in ["fastest", "weighted", "ordered"] {
        let dead = provider("reply: {status: 500}");
        let (one, two) = (provider("reply: {latency: 5ms}"), provider("reply: {latency: 5ms}"));
        let gate = among(&[&dead, &one, &two], strategy, "");
        for asked in 0..300 {
            is_answered(&gate.client.chat(&streamed(question("Hello"), asked % 2 == 0)).await);
        }
        // Its first 20, and less than 2 % of those that came then.
        assert!(dead.count() < 20 + 6, "{strategy}: {}", dead.count());
        assert_eq!(one.count() + two.count(), 300, "{strategy}: nothing was asked twice");
    }
}

/// Scenario A13 of the reference: the wait is so long that the test would not end if anybody sat it out.
#[tokio::test]
async fn a_target_that_wants_to_be_left_alone_is_and_nobody_waits() {
    let limits = ["retry-after-ms: 3000000", "retry-after: 3000", "x-ratelimit-reset-requests: 50m0s"];
    for limit in limits {
        let head = format!(
            "HTTP/1.1 429 Too Many Requests\r\n{limit}\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{{}}"
        );
        let stub = Stub::start(head, Then::Close).await;
        let yaml = TWO_TARGETS.replace("{primary}", &stub.base_url()).replace("rounds: 0", "rounds: 3");
        let gate = Gate::start(&format!("{yaml}{NO_CACHE}\n"));
        for (attempts, fallbacks) in [("2", "1"), ("1", "0"), ("1", "0")] {
            let reply = gate.ask("Hello").await;
            is_answered(&reply);
            assert_eq!(reply.header("x-sluice-provider"), "backup", "{limit}");
            assert_eq!(reply.header("x-sluice-attempts"), attempts, "{limit}");
            assert_eq!(reply.header("x-sluice-fallbacks"), fallbacks, "{limit}");
        }
        assert_eq!(stub.count(), 1, "{limit}");
        let metrics = gate.metrics().await;
        assert!(metrics.contains("sluice_target_cooling_credentials{target=\"primary/model-a\"} 1"));
        assert!(metrics.contains("sluice_target_breaker_open{target=\"primary/model-a\"} 0"));
    }
}

#[tokio::test]
async fn a_target_is_asked_again_when_the_time_it_named_is_over() {
    let gate = Gate::with(NO_CACHE);
    gate.primary.script(script("rules: [{times: 1, reply: {status: 429, retry_after: 0.05}}]"));
    assert_eq!(gate.ask("Hello").await.header("x-sluice-provider"), "backup");
    while gate.ask("Hello").await.header("x-sluice-provider") != "primary" {}
    assert_eq!(gate.primary.count(), 2);
}

#[tokio::test]
async fn when_all_want_to_be_left_alone_the_client_is_told_how_long_without_asking_them() {
    let gate = Gate::with("");
    gate.primary.script(script("reply: {status: 429, retry_after: 40}"));
    gate.backup.script(script("reply: {status: 429, retry_after: 30}"));
    for attempts in [2, 0] {
        let reply = gate.ask("Hello").await;
        assert_eq!((reply.status, reply.error()["code"].as_str()), (429, Some("all_targets_failed")));
        let wait: u64 = reply.header("retry-after").parse().unwrap();
        assert!((20..=30).contains(&wait), "{wait}");
        assert_eq!(gate.primary.count() + gate.backup.count(), 2, "{attempts}");
    }
}

#[tokio::test]
async fn a_target_that_failed_too_often_is_passed_over_and_seen_in_the_metrics() {
    let gate = Gate::with(&format!("breaker: {{failures: 2, pause: 1h, max_pause: 1h}}\n{NO_CACHE}"));
    gate.primary.script(script("reply: {status: 503}"));
    for attempts in ["2", "2", "1", "1"] {
        let reply = gate.ask("Hello").await;
        is_answered(&reply);
        assert_eq!(reply.header("x-sluice-attempts"), attempts);
    }
    assert_eq!(gate.primary.count(), 2);
    let metrics = gate.metrics().await;
    assert!(metrics.contains("sluice_target_breaker_open{target=\"primary/model-a\"} 1"), "{metrics}");
    assert!(metrics.contains("sluice_target_breaker_open{target=\"backup/model-b\"} 0"));
    assert!(metrics.contains("sluice_fallbacks_total 2"));
}

#[tokio::test]
async fn if_all_are_left_alone_after_failures_they_are_asked_all_the_same() {
    let gate = Gate::with(&format!("breaker: {{failures: 1, pause: 1h, max_pause: 1h}}\n{NO_CACHE}"));
    for mock in [&gate.primary, &gate.backup] {
        mock.script(script("reply: {status: 500}"));
    }
    assert_eq!(gate.ask("Hello").await.status, 500);
    gate.backup.script(script("reply: {answer: 'Well again.'}"));
    let reply = gate.ask("Hello").await;
    assert_eq!((reply.status, reply.header("x-sluice-provider")), (200, "backup"));
    let reply = gate.ask("Hello").await;
    assert_eq!(
        (reply.status, reply.header("x-sluice-attempts")),
        (200, "1"),
        "its success closed its breaker"
    );
}

/// Scenario A5 of the reference.
#[tokio::test]
async fn a_stream_without_its_end_is_an_error_is_not_remembered_and_counts_against_its_target() {
    let chunk = |text: &str| {
        format!(r#"{{"id":"s","model":"m","choices":[{{"index":0,"delta":{{"content":"{text}"}}}}]}}"#)
    };
    let tokens: Vec<String> = (0..40).map(|n| chunk(&format!("t{n} "))).collect();
    let payloads: Vec<&str> = tokens.iter().map(String::as_str).collect();
    let stub = Stub::stream(&payloads, Then::Close).await;
    let more = "breaker: {failures: 2, pause: 1h, max_pause: 1h}\n";
    let gate = Gate::start(&format!("{}{more}", TWO_TARGETS.replace("{primary}", &stub.base_url())));
    let body = streamed(question("Tell me a story"), true);
    for asked in 1..=2 {
        let reply = gate.client.chat(&body).await;
        assert_eq!((reply.status, reply.is_done(), stub.count()), (200, false, asked));
        assert!(reply.text().ends_with("t39 "));
        assert_eq!(reply.events().last().unwrap()["error"]["code"], "stream_interrupted");
    }
    let reply = gate.client.chat(&body).await;
    is_answered(&reply);
    assert_eq!((reply.header("x-sluice-provider"), reply.header("x-sluice-attempts")), ("backup", "1"));
    assert_eq!(stub.count(), 2);
}

/// Scenarios A3 and A4 of the reference.
#[tokio::test]
async fn an_error_before_content_is_one_clean_stream_of_the_fallback_or_one_error_with_its_status() {
    let role = r#"{"choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}"#;
    let error = r#"{"error":{"message":"overloaded","type":"server_error"}}"#;
    let stub = Stub::stream(&[role, error], Then::Close).await;
    let gate = Gate::start(&TWO_TARGETS.replace("{primary}", &stub.base_url()));
    gate.backup.script(script("reply: {answer: 'From the backup.'}"));
    let reply = gate.client.chat(&streamed(question("Hello"), true)).await;
    is_answered(&reply);
    assert_eq!((reply.text().as_str(), reply.header("x-sluice-fallbacks")), ("From the backup.", "1"));
    assert!(reply.chunks().iter().all(|chunk| chunk.get("error").is_none()));

    let gate = Gate::start(
        &TWO_TARGETS.replace("{primary}", &stub.base_url()).replace("{backup}", &stub.base_url()),
    );
    let reply = gate.client.chat(&streamed(question("Hello"), true)).await;
    assert_eq!((reply.status, reply.is_stream()), (502, false));
    assert_eq!(reply.error()["code"], "all_targets_failed");
}

#[tokio::test]
async fn without_budget_nobody_is_asked_again() {
    let retry = "retry: {rounds: 3, backoff: 1ms, budget: {ratio: 0, per_second: 0}}";
    let yaml = TWO_TARGETS.replace("retry: {rounds: 0}", retry);
    let gate = Gate::start(&yaml);
    for mock in [&gate.primary, &gate.backup] {
        mock.script(script("reply: {status: 500}"));
    }
    assert_eq!(gate.ask("Hello").await.status, 500);
    assert_eq!((gate.primary.count(), gate.backup.count()), (1, 1));
    assert!(gate.metrics().await.contains("sluice_retry_budget_spent_total 2"));
}

/// The chaos run of benches/load/chaos.rs in small: whoever is healthy answers everything.
#[tokio::test]
async fn while_any_target_is_healthy_every_request_is_answered() {
    let healthy = [provider(""), provider("")];
    let failing = [
        provider("rules: [{chance: 0.7, reply: {status: 500}}]"),
        provider("rules: [{chance: 0.9, reply: {cut_after: 0}}]"),
        provider("reply: {status: 429}"),
        provider("rules: [{chance: 0.5, reply: {raw: 'no answer'}}]"),
    ];
    for strategy in ["fastest", "weighted", "ordered"] {
        let all: Vec<&Mock> = failing.iter().chain(&healthy).collect();
        let gate = among(&all, strategy, "");
        let before = failing[2].count();
        let asking = (0..4).map(|lane| {
            let client = gate.client.clone();
            async move {
                for asked in 0..50 {
                    is_answered(&client.chat(&streamed(question("Hello"), (asked + lane) % 2 == 0)).await);
                }
            }
        });
        for lane in asking.map(tokio::spawn).collect::<Vec<_>>() {
            lane.await.unwrap();
        }
        assert!(failing[2].count() - before < 60, "{strategy}");
    }
}

#[test]
fn a_script_that_fails_by_chance_can_be_read() {
    let read: Script = script("rules: [{chance: 0.5, reply: {status: 500}}]");
    assert_eq!(read.rules[0].chance, Some(0.5));
}

/// A gateway whose first provider has two keys.
fn with_two_keys(more: &str) -> Gate {
    let keys = "api_keys: [{key: 'env:TEST_ONE', weight: 3}, {key: 'env:TEST_TWO'}]";
    let yaml = TWO_TARGETS.replace("api_key: 'env:TEST_PRIMARY'", keys);
    Gate::start(&format!("{yaml}{NO_CACHE}\n{more}\n"))
}

/// The keys with which the first provider was asked, in order.
fn keys_sent(gate: &Gate) -> Vec<String> {
    let key = |seen: sluice::mock::Seen| seen.headers["authorization"].to_str().unwrap().to_owned();
    gate.primary.seen().into_iter().map(key).collect()
}

#[tokio::test]
async fn a_key_that_is_limited_or_refused_rests_and_another_one_is_used_at_once() {
    for failing in ["status: 429, retry_after: 3000", "status: 401", "status: 403"] {
        let gate = with_two_keys("");
        gate.primary.script(script(&format!("rules: [{{times: 1, reply: {{{failing}}}}}]")));
        let reply = gate.ask("Hello").await;
        is_answered(&reply);
        assert_eq!((reply.header("x-sluice-provider"), reply.header("x-sluice-attempts")), ("primary", "2"));
        assert_eq!(reply.header("x-sluice-fallbacks"), "0", "{failing}");
        for _ in 0..8 {
            is_answered(&gate.ask("Hello").await);
        }
        let keys = keys_sent(&gate);
        assert_ne!(keys[0], keys[1], "{failing}");
        assert!(keys[1..].iter().all(|key| *key == keys[1]), "{failing}: {keys:?}");
        assert_eq!(gate.backup.count(), 0, "{failing}");
    }
}

#[tokio::test]
async fn when_all_keys_rest_another_target_is_asked() {
    let gate = with_two_keys("");
    gate.primary.script(script("reply: {status: 429, retry_after: 3000}"));
    for (attempts, asked) in [("3", 2), ("1", 2)] {
        let reply = gate.ask("Hello").await;
        is_answered(&reply);
        assert_eq!(
            (reply.header("x-sluice-provider"), reply.header("x-sluice-attempts")),
            ("backup", attempts)
        );
        assert_eq!(gate.primary.count(), asked);
    }
}

#[tokio::test]
async fn all_keys_are_used() {
    let gate = with_two_keys("");
    let both = |gate: &Gate| keys_sent(gate).iter().collect::<std::collections::BTreeSet<_>>().len() == 2;
    while !both(&gate) {
        is_answered(&gate.ask("Hello").await);
    }
    assert!(
        keys_sent(&gate)
            .iter()
            .all(|key| ["Bearer sk-test-one", "Bearer sk-test-two"].contains(&key.as_str()))
    );
}
