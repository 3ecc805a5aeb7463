//! Several gateways with one cache between them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;
use sluice_qdrant_stand_in::{Fault, StandIn};
use sluice_tests::{Client, Gate, log, question, script};

fn store() -> Arc<StandIn> {
    Arc::new(StandIn::start())
}

/// Waits until nothing of the gateway's is on its way to the store.
async fn settled(gate: &Gate) {
    gate.until("sluice_store_waiting_writes 0").await;
}

#[tokio::test]
async fn an_answer_that_one_gateway_stored_is_a_hit_in_the_other_in_every_tier() {
    let store = store();
    let (one, two) = (Gate::sharing(&store, ""), Gate::sharing(&store, ""));
    let first = one.ask("How do I change the address of my account?").await;
    assert_eq!(first.header("x-sluice-cache"), "miss");
    settled(&one).await;
    for (text, tier) in [
        ("How do I change the address of my account?", "exact"),
        ("how do i change the address  of my account", "normalised"),
        ("My account: how do I change the address of it?", "semantic"),
    ] {
        let hit = two.ask(text).await;
        assert_eq!(hit.cache(), format!("hit {tier}"), "{text}");
        assert_eq!(hit.text(), first.text());
    }
    assert!(two.received().is_empty(), "the other gateway's provider was asked");
}

#[tokio::test]
async fn what_is_invalidated_in_one_gateway_is_gone_in_the_other_within_a_second() {
    let store = store();
    let (one, two) = (Gate::sharing(&store, ""), Gate::sharing(&store, ""));
    let tagged = one.client.with("x-sluice-cache-tags", "faq");
    let asked = question("When does the shop open on Mondays?");
    tagged.chat(&asked).await;
    settled(&one).await;
    assert_eq!(two.client.chat(&asked).await.header("x-sluice-cache"), "hit");
    let removed =
        Client::new(one.admin).post("/admin/v1/cache/invalidate", json!({ "tag": "faq" }).to_string()).await;
    assert_eq!(removed.json()["removed"], 1);
    let since = Instant::now();
    while two.client.chat(&asked).await.header("x-sluice-cache") == "hit" {
        assert!(since.elapsed() < Duration::from_secs(20), "it is still served");
    }
}

#[tokio::test]
async fn requests_go_on_as_before_when_the_store_hangs_and_say_that_the_cache_was_bypassed() {
    // A7: 30 s for every operation.
    let store = store();
    let gate = Gate::sharing(&store, "cache: {store: qdrant, qdrant: {url: 'http://unset', timeout: 300ms}}");
    gate.ask("What is on the menu?").await;
    settled(&gate).await;
    assert_eq!(gate.ask("What is on the menu?").await.header("x-sluice-cache"), "hit");
    store.script(Fault::Slow(Duration::from_secs(30)));
    let begun = Instant::now();
    let mut bypassed = 0;
    for number in 0..60 {
        let reply = gate.ask(&format!("Unheard question number {number} about the menu")).await;
        assert_eq!(reply.status, 200);
        bypassed += usize::from(reply.header("x-sluice-cache") == "bypass");
    }
    // The first one waits for 300 ms and the others for nothing: far from one operation of the store.
    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
    assert_eq!(bypassed, 60);
    let metrics = gate.metrics().await;
    assert!(metrics.lines().any(|line| line == "sluice_store_up 0"), "{metrics}");
    assert!(metrics.lines().any(|line| line == "sluice_store_failed_lookups 1"), "one lookup found out");
    let log = log::text();
    let said = |line: &&str| line.contains("Qdrant is not to be had") && line.contains("300ms");
    assert_eq!(log.lines().filter(said).count(), 1);
    // It comes back by itself, and with it what was there and what was stored meanwhile.
    store.script(Fault::None);
    gate.until("sluice_store_up 1").await;
    settled(&gate).await;
    assert_eq!(gate.ask("What is on the menu?").await.header("x-sluice-cache"), "hit");
    let meanwhile = gate.ask("Unheard question number 59 about the menu").await;
    assert_eq!(meanwhile.header("x-sluice-cache"), "hit");
}

#[tokio::test]
async fn an_operator_is_told_when_nothing_could_be_forgotten_or_exported() {
    let store = store();
    let gate = Gate::sharing(
        &store,
        "cache: {store: qdrant, keep_prompts: true, qdrant: {url: 'http://unset', timeout: 200ms}}",
    );
    gate.ask("Hello there, who are you?").await;
    settled(&gate).await;
    store.script(Fault::Error);
    let admin = Client::new(gate.admin);
    let refused = admin.post("/admin/v1/cache/invalidate", json!({ "tag": "faq" }).to_string()).await;
    assert_eq!((refused.status, refused.error()["code"].as_str()), (503, Some("cache_unavailable")));
    let refused = admin.get("/admin/v1/cache/export").await;
    assert_eq!(refused.status, 503);
}

/// Ways to ask one thing.
const WAYS: [&str; 10] = [
    "Where do I see my last invoice?",
    "Where can I see my last invoice?",
    "Where can I see the last invoice?",
    "Where do I find my last invoice?",
    "Where can I find the last invoice?",
    "How do I see my last invoice?",
    "How can I see my last invoice?",
    "Where would I find my last invoice?",
    "Where do you show my last invoice?",
    "Where might I find the last invoice?",
];

#[tokio::test]
async fn a_gateway_serves_what_only_the_other_one_was_asked() {
    let store = store();
    let learning = "cache: {policy: calibrated, max_false_hit_rate: 0.05}";
    let gate = || Gate::sharing_with_weights(&store, learning);
    let (one, two) = (gate(), gate());
    one.primary.script(script("reply: {answer: 'Under Account, Invoices.'}"));
    let (last, others) = WAYS.split_last().unwrap();
    for way in others {
        one.ask(way).await;
    }
    settled(&one).await;
    // The other one asks its provider nothing, so all that it knows comes from the first.
    let only_cached = two.client.with("cache-control", "only-if-cached");
    let since = Instant::now();
    while only_cached.chat(&question(last)).await.cache() != "hit semantic" {
        assert!(since.elapsed() < Duration::from_secs(20), "it is not served");
    }
    assert_eq!(two.primary.count(), 0);
}
