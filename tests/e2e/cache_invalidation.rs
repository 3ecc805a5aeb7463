//! Operators make the cache forget, by entry, tag, namespace, model or tenant.

use serde_json::{Value, json};
use sluice_tests::{Client, Gate, Reply, question};

const INVALIDATE: &str = "/admin/v1/cache/invalidate";

async fn invalidate(gate: &Gate, selector: Value) -> Reply {
    Client::new(gate.admin).post(INVALIDATE, selector.to_string()).await
}

/// `matched` and `removed`.
async fn counted(gate: &Gate, selector: Value) -> (u64, u64) {
    let reply = invalidate(gate, selector).await;
    assert_eq!(reply.status, 200, "{:?}", reply.body);
    let told = reply.json();
    (told["matched"].as_u64().unwrap(), told["removed"].as_u64().unwrap())
}

async fn cached(client: &Client, body: &Value) -> bool {
    client.with("cache-control", "only-if-cached").chat(body).await.status == 200
}

#[tokio::test]
async fn each_selector_forgets_what_it_names_and_nothing_else() {
    let gate =
        Gate::with("keys: [{name: a, secret: 'env:TEST_A'}, {name: b, secret: 'env:TEST_B', tenant: shop}]");
    let (a, b) = (gate.key("TEST_A"), gate.key("TEST_B"));
    let plain = question("When do you open?");
    let mut other_model = plain.clone();
    other_model["model"] = json!("backup/model-b");
    let (tagged, spaced) =
        (a.with("x-sluice-cache-tags", "faq, hours"), a.with("x-sluice-cache-namespace", "tests"));
    let other = question("Where are you?");
    let all = [(&a, &plain), (&b, &plain), (&a, &other_model), (&tagged, &other), (&spaced, &plain)];
    for (selector, forgotten) in [
        (json!({ "tenant": "key:a" }), vec![0, 2, 3, 4]),
        (json!({ "tenant": "shop" }), vec![1]),
        (json!({ "tenant": "a" }), vec![]),
        (json!({ "model": "chat" }), vec![0, 1, 3, 4]),
        (json!({ "model": "primary/model-a" }), vec![0, 1, 3, 4]),
        (json!({ "model": "backup/model-b" }), vec![2]),
        (json!({ "tag": "hours" }), vec![3]),
        (json!({ "tag": "tests" }), vec![]),
        (json!({ "namespace": "tests" }), vec![4]),
        (json!({ "entry": "faq" }), vec![]),
    ] {
        for (client, body) in all {
            client.chat(body).await;
        }
        let mut dry = selector.clone();
        dry["dry_run"] = json!(true);
        let count = forgotten.len() as u64;
        assert_eq!(counted(&gate, dry).await, (count, 0), "{selector}");
        for (client, body) in all {
            assert!(cached(client, body).await, "a dry run leaves everything");
        }
        assert_eq!(counted(&gate, selector.clone()).await, (count, count), "{selector}");
        for (at, (client, body)) in all.into_iter().enumerate() {
            assert_eq!(cached(client, body).await, !forgotten.contains(&at), "{selector}: {at}");
        }
    }
}

#[tokio::test]
async fn a_hit_names_its_entry_and_by_that_name_it_is_forgotten_in_every_tier() {
    let gate = Gate::with("cache: {similarity: 0.5}");
    let near = "please tell me when your shop in town opens for guests";
    gate.ask("please tell me when your shop in town opens for visitors").await;
    let hit = gate.ask(near).await;
    assert_eq!(hit.cache(), "hit semantic");
    let entry = hit.header("x-sluice-cache-entry").to_owned();
    assert!(entry.starts_with("ce-"), "{entry}");
    let again = gate.ask("please tell me when your shop in town opens for visitors").await;
    assert_eq!((again.cache().as_str(), again.header("x-sluice-cache-entry")), ("hit exact", entry.as_str()));
    assert_eq!(counted(&gate, json!({ "entry": entry })).await, (1, 1));
    assert!(gate.metrics().await.contains("sluice_cache_entries 0"));
    assert_eq!(gate.ask(near).await.cache(), "miss");
    assert_eq!(counted(&gate, json!({ "entry": entry })).await, (0, 0));
}

#[tokio::test]
async fn a_wrong_request_is_refused_by_field_and_forgets_nothing() {
    let gate = Gate::with("");
    gate.ask("When do you open?").await;
    for (body, param) in [
        (json!({ "tags": "faq" }), json!("tags")),
        (json!({ "model": "chat", "tenant": "anonymous" }), json!("tenant")),
        (json!({ "model": "chat", "dry_run": "yes" }), json!("dry_run")),
        (json!({}), json!("entry")),
        (json!([]), Value::Null),
    ] {
        let reply = invalidate(&gate, body).await;
        assert_eq!((reply.status, &reply.error()["param"]), (400, &param));
    }
    let admin = Client::new(gate.admin);
    assert_eq!(admin.get(INVALIDATE).await.status, 405);
    let page = admin.with("origin", "https://evil.example").post(INVALIDATE, r#"{"model":"chat"}"#).await;
    assert_eq!(page.status, 403);
    assert_eq!(gate.client.post(INVALIDATE, r#"{"model":"chat"}"#).await.status, 404, "not for clients");
    assert_eq!(gate.ask("When do you open?").await.cache(), "hit exact");
    let off = Gate::with("cache: {enabled: false}");
    assert_eq!(counted(&off, json!({ "model": "chat" })).await, (0, 0));
}
