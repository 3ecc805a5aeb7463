//! A route may have terms of its own for the cache.

use serde_json::{Value, json};
use sluice_tests::{Client, Gate, question};

/// Routes to one and the same model.
const ROUTES: &str = "
providers:
  primary: {kind: mock, base_url: '{primary}'}
routes:
  - {model: chat, targets: [primary/m]}
  - {model: strict, targets: [primary/m], cache: {similarity: 0.99}}
  - {model: exact, targets: [primary/m], cache: {policy: exact}}
  - {model: none, targets: [primary/m], cache: {enabled: false}}
retry: {rounds: 0}
embedding: {deadline: 5m}
";
const ASKED: &str = "When do you open the shop?";
const NEAR: &str = "When do you close the shop?";
const NORMAL: &str = "when do you open the shop";

fn to(model: &str, text: &str) -> Value {
    let mut body = question(text);
    body["model"] = json!(model);
    body
}

async fn outcomes(client: &Client, model: &str, texts: &[&str]) -> Vec<String> {
    let mut outcomes = Vec::new();
    for text in texts {
        outcomes.push(client.chat(&to(model, text)).await.cache());
    }
    outcomes
}

#[tokio::test]
async fn each_route_is_answered_by_its_own_policy_and_from_its_own_entries() {
    let gate = Gate::start(&format!("{ROUTES}cache: {{policy: fixed, similarity: 0.6}}\n"));
    for (model, expected) in [
        ("chat", ["miss", "hit semantic", "hit exact", "hit normalised"]),
        ("strict", ["miss", "miss", "hit exact", "hit normalised"]),
        ("exact", ["miss", "miss", "hit exact", "hit normalised"]),
        ("none", ["bypass", "bypass", "bypass", "bypass"]),
        ("primary/m", ["miss", "hit semantic", "hit exact", "hit normalised"]),
    ] {
        assert_eq!(outcomes(&gate.client, model, &[ASKED, NEAR, ASKED, NORMAL]).await, expected, "{model}");
    }
    let off = gate.client.chat(&to("none", ASKED)).await;
    assert_eq!(off.header("x-sluice-cache-reason"), "cache_off");
    let only = gate.client.with("cache-control", "only-if-cached").chat(&to("none", ASKED)).await;
    assert_eq!(only.status, 504, "what is not cached is not to be had from the cache");
}

#[tokio::test]
async fn a_request_tightens_the_policy_of_its_route_and_never_loosens_it() {
    let gate = Gate::start(&format!("{ROUTES}cache: {{policy: fixed, similarity: 0.6}}\n"));
    for model in ["chat", "strict", "exact"] {
        assert_eq!(gate.client.chat(&to(model, ASKED)).await.cache(), "miss");
    }
    let tight = gate.client.with("x-sluice-cache-similarity", "0.99").with("cache-control", "no-store");
    let tight = tight.chat(&to("chat", NEAR)).await;
    assert_eq!(tight.cache(), "bypass");
    let tight = gate.client.with("x-sluice-cache-similarity", "0.99");
    assert_eq!(tight.chat(&to("chat", NEAR)).await.cache(), "miss");
    let loose = gate.client.with("x-sluice-cache-similarity", "0.1").with("x-sluice-cache", "semantic");
    for model in ["strict", "exact"] {
        assert_eq!(loose.chat(&to(model, NEAR)).await.cache(), "miss", "{model}");
    }
}

#[tokio::test]
async fn where_prompts_are_not_compared_no_vector_is_computed() {
    let gate = Gate::start(&format!("{ROUTES}cache: {{policy: exact}}\n"));
    let computed = |metrics: String| metrics.contains("sluice_embeddings_total{");
    assert_eq!(
        outcomes(&gate.client, "chat", &[ASKED, NEAR, NORMAL]).await,
        ["miss", "miss", "hit normalised"]
    );
    assert!(!computed(gate.metrics().await));
    let gate = Gate::start(&format!("{ROUTES}cache: {{policy: fixed}}\n"));
    assert_eq!(outcomes(&gate.client, "exact", &[ASKED, NEAR]).await, ["miss", "miss"]);
    assert!(!computed(gate.metrics().await));
    assert_eq!(outcomes(&gate.client, "chat", &[ASKED]).await, ["miss"]);
    assert!(computed(gate.metrics().await));
}

#[tokio::test]
async fn a_route_may_be_cached_alone_and_for_longer_than_the_others() {
    let alone = ROUTES.replace("cache: {policy: exact}", "cache: {enabled: true}");
    let gate = Gate::start(&format!("{alone}cache: {{enabled: false}}\n"));
    assert_eq!(outcomes(&gate.client, "chat", &[ASKED, ASKED]).await, ["bypass", "bypass"]);
    assert_eq!(outcomes(&gate.client, "exact", &[ASKED, ASKED]).await, ["miss", "hit exact"]);

    let longer = ROUTES.replace("cache: {policy: exact}", "cache: {ttl: 1h}");
    let gate = Gate::start(&format!("{longer}cache: {{ttl: 1ms}}\n"));
    assert_eq!(outcomes(&gate.client, "exact", &[ASKED]).await, ["miss"]);
    assert_eq!(outcomes(&gate.client, "chat", &[ASKED]).await, ["miss"]);
    while outcomes(&gate.client, "chat", &[ASKED]).await == ["hit exact"] {}
    assert_eq!(outcomes(&gate.client, "exact", &[ASKED]).await, ["hit exact"]);
}
