//! Who may ask, and which credentials go where.

use serde_json::json;
use sluice::config;
use sluice::gateway::{Gateway, Parts};
use sluice_tests::leak::holds;
use sluice_tests::{Gate, TWO_TARGETS, gate, question};

const KEYS: &str = "keys: [{name: shop, secret: 'env:TEST_SHOP'}]";

#[tokio::test]
async fn every_header_that_clients_use_for_a_key_works() {
    let gate = Gate::with(KEYS);
    for (name, value) in [
        ("authorization", "Bearer sk-test-shop"),
        ("authorization", "bearer sk-test-shop"),
        ("x-api-key", "sk-test-shop"),
        ("api-key", "sk-test-shop"),
    ] {
        assert_eq!(gate.client.with(name, value).chat(&question("Hi")).await.status, 200, "{name}: {value}");
    }
}

#[tokio::test]
async fn without_a_key_that_we_issued_nothing_is_answered() {
    let gate = Gate::with(KEYS);
    let wrong = [
        ("x-nothing", "x"),
        ("authorization", "Bearer sk-test-shop2"),
        ("authorization", "Bearer SK-TEST-SHOP"),
        ("authorization", "Bearer"),
        ("authorization", "Basic sk-test-shop"),
        ("authorization", "sk-test-shop"),
        ("x-api-key", ""),
        ("api-key", "sk-test-primary"),
    ];
    for (name, value) in wrong {
        let client = gate.client.with(name, value);
        let replies = [
            client.chat(&question("Hi")).await,
            client.post("/v1/embeddings", json!({ "model": "x", "input": "y" }).to_string()).await,
            client.get("/v1/models").await,
            client.get("/v1/models/chat").await,
            client.post("/v1/chat/completions", "no JSON").await,
        ];
        for reply in replies {
            assert_eq!(reply.status, 401, "{name}: {value}");
            assert_eq!(reply.error()["code"], "invalid_api_key");
            assert_eq!(reply.error()["type"], "authentication_error");
        }
    }
    assert_eq!(gate.primary.count(), 0);
}

#[tokio::test]
async fn health_asks_for_no_key() {
    let gate = Gate::with(KEYS);
    for path in ["/health", "/health/live", "/health/ready"] {
        assert_eq!(gate.client.get(path).await.json()["status"], "ok", "{path}");
    }
}

#[tokio::test]
async fn a_clients_credentials_stay_here_and_the_providers_own_go_up() {
    let gate = Gate::with(KEYS);
    let client = gate
        .key("TEST_SHOP")
        .with("x-api-key", "sk-something-else")
        .with("api-key", "sk-third")
        .with("cookie", "session=sk-fourth")
        .with("openai-organization", "org-fifth")
        .with("x-forwarded-for", "192.0.2.7");
    assert_eq!(client.chat(&question("Hi")).await.status, 200);
    let seen = &gate.primary.seen()[0];
    assert_eq!(seen.headers["authorization"], "Bearer sk-test-primary");
    for value in ["sk-test-shop", "sk-something-else", "sk-third", "sk-fourth", "org-fifth", "192.0.2.7"] {
        assert!(!holds(&seen.bytes(), value), "{value}");
    }

    // A provider without a key of its own gets none.
    client.chat(&json!({ "model": "backup/x", "messages": [{ "role": "user", "content": "Hi" }] })).await;
    assert!(!gate.backup.seen()[0].headers.contains_key("authorization"));
}

#[tokio::test]
async fn without_keys_everybody_on_this_machine_may_ask() {
    let gate = Gate::with("");
    assert_eq!(gate.ask("Hi").await.status, 200);
    assert_eq!(gate.client.with("authorization", "Bearer anything").chat(&question("Hi")).await.status, 200);
}

#[test]
fn an_address_that_others_can_reach_is_refused_without_a_key() {
    let build = |yaml: &str| {
        let yaml =
            TWO_TARGETS.replace("{primary}", "http://127.0.0.1:1").replace("{backup}", "http://127.0.0.1:1")
                + yaml;
        let config = config::parse(&yaml, "test.yaml").unwrap();
        Gateway::build(&config, Parts::default(), &gate::env).err().map(|e| e.to_string()).unwrap_or_default()
    };
    for field in ["listen", "admin"] {
        for address in ["0.0.0.0:8080", "192.0.2.1:8080", "'[::]:8080'", "'[2001:db8::1]:8080'"] {
            let told = build(&format!("{field}: {address}\n"));
            assert!(
                told.starts_with(&format!("{field}: ")) && told.contains("at least one key"),
                "{field} {address}: {told}"
            );
            assert_eq!(build(&format!("{field}: {address}\n{KEYS}\n")), "");
        }
        for address in ["127.0.0.1:9", "127.8.8.8:9", "'[::1]:9'"] {
            assert_eq!(build(&format!("{field}: {address}\n")), "");
        }
    }
}

#[test]
fn a_key_that_can_not_be_read_stops_the_start_and_is_named() {
    let build = |keys: &str| {
        let config = config::parse(keys, "test.yaml").unwrap();
        let parts = Parts { mock: Some("http://127.0.0.1:1/v1"), ..Parts::default() };
        Gateway::build(&config, parts, &gate::env).err().map(|e| e.to_string()).unwrap_or_default()
    };
    let literal = build("keys: [{name: a, secret: hunter2}]");
    assert!(literal.contains("keys[0] ('a').secret") && !literal.contains("hunter2"), "{literal}");
    assert!(build("keys: [{name: a, secret: 'env:NOT_SET'}]").contains("NOT_SET"));
    assert!(build("keys: [{name: a, secret: 'file:no/such/file'}]").contains("no/such/file"));

    let mut file = tempfile::NamedTempFile::new().unwrap();
    std::io::Write::write_all(&mut file, b"sk-from-a-file\n").unwrap();
    assert_eq!(build(&format!("keys: [{{name: a, secret: 'file:{}'}}]", file.path().display())), "");
}
