//! What a request may ask of the cache: less than the configuration allows, never more.

use serde_json::json;
use sluice_tests::{Client, Gate, Stub, TWO_TARGETS, Then, question, streamed};

fn control(gate: &Gate, value: &str) -> Client {
    gate.client.with("cache-control", value)
}

#[tokio::test]
async fn what_may_not_be_stored_is_neither_stored_nor_served() {
    let gate = Gate::with("");
    let body = question("When do you open?");
    for (name, value, reason) in [("cache-control", "no-store", "no_store"), ("x-sluice-cache", "off", "off")]
    {
        let private = gate.client.with(name, value);
        let reply = private.chat(&body).await;
        assert_eq!((reply.cache().as_str(), reply.header("x-sluice-cache-reason")), ("bypass", reason));
        assert_eq!(private.chat(&body).await.cache(), "bypass");
    }
    assert_eq!(gate.client.chat(&body).await.cache(), "miss", "nothing was stored");
    assert_eq!(gate.client.chat(&body).await.cache(), "hit exact");
    assert_eq!(control(&gate, "no-store").chat(&body).await.cache(), "bypass", "nothing is served");
    assert_eq!(gate.primary.count(), 6);
    let metrics = gate.metrics().await;
    assert!(metrics.contains("sluice_cache_limited_total{reason=\"no_store\"} 3"), "{metrics}");
}

#[tokio::test]
async fn a_refresh_is_answered_anew_and_replaces_what_was_there() {
    for (name, value, reason) in
        [("cache-control", "no-cache", "no_cache"), ("x-sluice-cache", "refresh", "refresh")]
    {
        let gate = Gate::with("");
        gate.primary.script(sluice_tests::script("reply: {answer: 'At nine.'}"));
        // Often enough for the bytes to be known as repeated.
        for _ in 0..3 {
            gate.ask("When do you open?").await;
        }
        gate.primary.script(sluice_tests::script("reply: {answer: 'At ten.'}"));
        assert_eq!(gate.ask("When do you open?").await.text(), "At nine.");
        let fresh = gate.client.with(name, value).chat(&question("When do you open?")).await;
        assert_eq!((fresh.cache().as_str(), fresh.text().as_str()), ("miss", "At ten."));
        assert_eq!(fresh.header("x-sluice-cache-reason"), reason);
        let again = gate.ask("When do you open?").await;
        assert_eq!((again.cache().as_str(), again.text().as_str()), ("hit exact", "At ten."));
        assert_eq!(gate.primary.count(), 2);
    }
}

#[tokio::test]
async fn who_wants_a_fresh_answer_does_not_follow_one_under_way() {
    let whole = r#"{"choices":[{"index":0,"message":{"content":"At nine."},"finish_reason":"stop"}]}"#;
    let stub = Stub::start("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n", Then::Release(whole)).await;
    let gate = Gate::start(&TWO_TARGETS.replace("{primary}", &stub.base_url()));
    let ask = |client: Client| tokio::spawn(async move { client.chat(&question("When?")).await });
    let asked = [ask(gate.client.clone()), ask(control(&gate, "no-cache")), ask(control(&gate, "no-store"))];
    stub.started(3).await;
    while asked.iter().any(|reply| !reply.is_finished()) {
        stub.release();
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn an_answer_that_is_too_old_for_the_request_is_not_served() {
    let gate = Gate::with("");
    let body = question("When do you open?");
    for _ in 0..3 {
        gate.client.chat(&body).await;
    }
    assert_eq!(control(&gate, "max-age=3600").chat(&body).await.cache(), "hit exact");
    assert_eq!(gate.primary.count(), 1);
    // Stored a moment ago is longer ago than no time at all.
    for too_young in ["max-age=0", "max-age=soon"] {
        assert_eq!(control(&gate, too_young).chat(&body).await.cache(), "miss");
    }
    assert_eq!(gate.primary.count(), 3);
}

#[tokio::test]
async fn only_if_cached_asks_no_provider() {
    let gate = Gate::with("");
    for body in [question("When do you open?"), streamed(question("When do you open?"), true)] {
        let reply = control(&gate, "only-if-cached").chat(&body).await;
        assert_eq!((reply.status, reply.error()["code"].as_str()), (504, Some("not_cached")));
        assert_eq!(reply.header("x-should-retry"), "false");
    }
    assert_eq!(gate.primary.count(), 0);
    gate.ask("When do you open?").await;
    let reply = control(&gate, "only-if-cached").chat(&question("When do you open?")).await;
    assert_eq!((reply.status, reply.cache().as_str()), (200, "hit exact"));
    let off = Gate::with("cache: {enabled: false}");
    assert_eq!(control(&off, "only-if-cached").chat(&question("hi")).await.status, 504);
    assert_eq!((gate.primary.count(), off.primary.count()), (1, 0));
}

#[tokio::test]
async fn exact_takes_the_very_same_request_alone() {
    let gate = Gate::with("cache: {similarity: 0.5}");
    let exact = gate.client.with("x-sluice-cache", "exact");
    gate.ask("please tell me when your shop in town opens tomorrow").await;
    for other in [
        "please tell me when your shop in town opens",
        "Please tell me when your shop in town opens tomorrow.",
    ] {
        assert_eq!(exact.chat(&question(other)).await.cache(), "miss", "{other}");
    }
    let same = question("please tell me when your shop in town opens tomorrow");
    assert_eq!(exact.chat(&same).await.cache(), "hit exact");
}

#[tokio::test]
async fn a_namespace_shares_nothing_with_its_tenant_or_another_one() {
    let gate = Gate::with("cache: {similarity: 0.5}");
    let body = question("please tell me when your shop in town opens tomorrow");
    let near = question("please tell me when your shop in town opens");
    let (a, b) = (
        gate.client.with("x-sluice-cache-namespace", "a"),
        gate.client.with("x-sluice-cache-namespace", "b"),
    );
    for client in [&gate.client, &a, &b] {
        assert_eq!(client.chat(&body).await.cache(), "miss");
        for _ in 0..3 {
            assert_eq!(client.chat(&body).await.cache(), "hit exact");
        }
        assert_eq!(client.chat(&near).await.cache(), "hit semantic");
    }
    assert_eq!(gate.primary.count(), 3);
    // A namespace is a part of a tenant, never a way into another one.
    let gate = Gate::with("keys: [{name: a, secret: 'env:TEST_A'}, {name: b, secret: 'env:TEST_B'}]");
    for key in ["TEST_A", "TEST_B"] {
        let client = gate.key(key).with("x-sluice-cache-namespace", "shared");
        assert_eq!(client.chat(&body).await.cache(), "miss");
    }
}

#[tokio::test]
async fn a_wrong_value_of_our_own_headers_is_refused_and_unknown_directives_are_not() {
    let gate = Gate::with("");
    for (name, value) in [
        ("x-sluice-cache", "never"),
        ("x-sluice-cache-ttl", "soon"),
        ("x-sluice-cache-namespace", ""),
        ("x-sluice-cache-tags", "a,,b"),
    ] {
        let reply = gate.client.with(name, value).chat(&question("hi")).await;
        assert_eq!((reply.status, reply.error()["param"].as_str()), (400, Some(name)));
        assert!(reply.error()["message"].as_str().unwrap().contains(name));
    }
    assert_eq!(gate.primary.count(), 0);
    let reply = control(&gate, "immutable, x-what=\"ever\", min-fresh=oh").chat(&question("hi")).await;
    assert_eq!((reply.status, reply.cache().as_str()), (200, "miss"));
    assert_eq!(reply.header("x-sluice-cache-reason"), "");
    assert_eq!(reply.json()["choices"][0]["message"]["content"], json!("You said: hi"));
}
