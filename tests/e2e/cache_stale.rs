//! Answers whose time is over: served while a fresh one is fetched, or when no provider answers, if that is configured.

use sluice_tests::{Gate, Reply, Stub, TWO_TARGETS, Then, question, script};

const HEAD: &str = "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n";
const WHOLE: &str =
    r#"{"choices":[{"index":0,"message":{"role":"assistant","content":"At nine."},"finish_reason":"stop"}]}"#;

/// Asks until the answer's millisecond is over.
async fn ask_past_its_time(gate: &Gate) -> Reply {
    loop {
        let reply = gate.ask("When do you open?").await;
        if reply.cache() != "hit exact" {
            return reply;
        }
    }
}

#[tokio::test]
async fn without_a_word_in_the_configuration_nothing_stale_is_served() {
    let gate = Gate::with("cache: {ttl: 1ms}");
    gate.ask("When do you open?").await;
    gate.primary.script(script("reply: {answer: 'At ten.'}"));
    let reply = ask_past_its_time(&gate).await;
    assert_eq!((reply.cache().as_str(), reply.text().as_str()), ("miss", "At ten."));
    for mock in [&gate.primary, &gate.backup] {
        mock.script(script("reply: {status: 503}"));
    }
    assert_eq!(ask_past_its_time(&gate).await.status, 503);
}

#[tokio::test]
async fn a_stale_answer_is_served_while_one_fresh_one_is_fetched() {
    let stub = Stub::start(HEAD, Then::Release(WHOLE)).await;
    let gate = Gate::start(&format!(
        "{}cache: {{ttl: 1ms, stale_while_revalidate: 1h}}\n",
        TWO_TARGETS.replace("{primary}", &stub.base_url())
    ));
    stub.release();
    assert_eq!(gate.ask("When do you open?").await.cache(), "miss");
    let stale = ask_past_its_time(&gate).await;
    assert_eq!((stale.cache().as_str(), stale.text().as_str()), ("stale exact", "At nine."));
    assert_eq!(stale.header("x-sluice-attempts"), "0");
    assert!(stale.header("age").parse::<u64>().is_ok());
    stub.started(2).await;
    // Whoever asks meanwhile gets the stale one as well, and causes no further call.
    for _ in 0..5 {
        assert_eq!(gate.ask("When do you open?").await.cache(), "stale exact");
    }
    assert_eq!(stub.count(), 2);
    let metrics = gate.metrics().await;
    assert!(metrics.contains("sluice_cache_lookups_total{result=\"stale\",tier=\"exact\"} 6"), "{metrics}");
    let young = gate.client.with("cache-control", "max-age=3600, only-if-cached");
    assert_eq!(young.chat(&question("When do you open?")).await.status, 504, "it wants nothing stale");
}

#[tokio::test]
async fn what_was_fetched_behind_a_stale_answer_is_served_next() {
    let gate = Gate::with("cache: {ttl: 1ms, stale_while_revalidate: 1h}");
    gate.primary.script(script("reply: {answer: 'At nine.'}"));
    gate.ask("When do you open?").await;
    gate.primary.script(script("reply: {answer: 'At ten.'}"));
    assert_eq!(ask_past_its_time(&gate).await.text(), "At nine.");
    gate.primary.wait_for(2).await;
    loop {
        let reply = gate.ask("When do you open?").await;
        assert!(["hit exact", "stale exact"].contains(&reply.cache().as_str()), "{}", reply.cache());
        if reply.text() == "At ten." {
            break;
        }
    }
}

#[tokio::test]
async fn a_stale_answer_is_served_when_every_target_failed() {
    let gate = Gate::with("cache: {ttl: 1ms, stale_if_error: 1h}");
    let first = gate.ask("When do you open?").await;
    for mock in [&gate.primary, &gate.backup] {
        mock.script(script("reply: {status: 503}"));
    }
    let stale = ask_past_its_time(&gate).await;
    assert_eq!((stale.status, stale.cache().as_str()), (200, "stale exact"));
    assert_eq!(stale.text(), first.text());
    let strict = gate.client.with("cache-control", "stale-if-error=0");
    assert_eq!(strict.chat(&question("When do you open?")).await.status, 503);
    assert_eq!(gate.ask("Where are you?").await.status, 503, "another question's answer is not served");
    // What is wrong with the request itself is no reason.
    gate.primary.script(script("reply: {status: 400}"));
    assert_eq!(gate.ask("When do you open?").await.status, 400);
}

#[tokio::test]
async fn what_speaks_of_the_moment_is_never_served_stale() {
    let gate = Gate::with("cache: {ttl: 1ms, stale_if_error: 1h}");
    gate.ask("What is the weather in Turin?").await;
    for mock in [&gate.primary, &gate.backup] {
        mock.script(script("reply: {status: 503}"));
    }
    let reply = loop {
        let reply = gate.ask("What is the weather in Turin?").await;
        if reply.cache() != "hit exact" {
            break reply;
        }
    };
    assert_eq!((reply.status, reply.cache().as_str()), (503, ""));
}
