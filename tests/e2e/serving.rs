//! Threads, draining, metrics, the list of models.

use http_body_util::BodyExt;
use serde_json::json;
use sluice_tests::{Client, Gate, Reply, Stub, TWO_TARGETS, Then, log, question, script, streamed};
use tokio::net::TcpStream;

const FIRST: &str =
    r#"{"id":"s","model":"m","choices":[{"index":0,"delta":{"role":"assistant","content":"Once upon"}}]}"#;
const REST: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\" a time\"},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";

/// Completes as soon as nobody accepts connections any more.
async fn closed(address: std::net::SocketAddr) {
    while TcpStream::connect(address).await.is_ok() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_running_stream_is_sent_to_its_end_before_the_gateway_stops() {
    let stub = Stub::stream(&[FIRST], Then::Release(REST)).await;
    let mut gate = Gate::start(&TWO_TARGETS.replace("{primary}", &stub.base_url()));
    let mut response = gate.client.open(&streamed(question("Tell me a story"), true)).await;
    let first = response.body_mut().frame().await.unwrap().unwrap().into_data().unwrap();
    assert!(String::from_utf8_lossy(&first).contains("Once upon"));
    let stopping = gate.stop();
    closed(gate.address).await;
    assert!(!stopping.is_finished());
    stub.release();
    let reply = Reply::read(response).await;
    assert_eq!((reply.text().as_str(), reply.is_done()), (" a time", true));
    stopping.await.unwrap();
}

#[tokio::test]
async fn a_whole_answer_under_way_is_sent_before_the_gateway_stops() {
    let body = r#"{"id":"x","model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"All done"},"finish_reason":"stop"}]}"#;
    let stub = Stub::start("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n", Then::Release(body)).await;
    let mut gate = Gate::start(&TWO_TARGETS.replace("{primary}", &stub.base_url()));
    let client = gate.client.clone();
    let asked = tokio::spawn(async move { client.chat(&question("Are you done?")).await.text() });
    stub.started(1).await;
    let stopping = gate.stop();
    closed(gate.address).await;
    stub.release();
    assert_eq!(asked.await.unwrap(), "All done");
    stopping.await.unwrap();
}

#[tokio::test]
async fn a_stream_that_outlasts_the_grace_is_cut() {
    let stub = Stub::stream(&[FIRST], Then::Hold).await;
    let mut gate = Gate::start(&format!(
        "{}timeouts: {{shutdown: 100ms}}\n",
        TWO_TARGETS.replace("{primary}", &stub.base_url())
    ));
    let mut response = gate.client.open(&streamed(question("Tell me a story"), true)).await;
    drop(response.body_mut().frame().await.unwrap().unwrap());
    gate.stop().await.unwrap();
    assert!(response.into_body().collect().await.is_err(), "the client sees that this is no end");
    stub.ended(1).await;
}

#[tokio::test]
async fn an_idle_connection_does_not_hold_up_the_stop() {
    let mut gate = Gate::with("");
    gate.ask("Hi").await;
    let idle = TcpStream::connect(gate.address).await.unwrap();
    gate.stop().await.unwrap();
    drop(idle);
}

#[tokio::test]
async fn connections_are_spread_over_the_threads() {
    let gate = Gate::with("limits: {threads: 2}");
    let mut threads = Vec::new();
    for n in 0..4 {
        let id = format!("spread-{n}");
        // A client of its own has a connection of its own.
        let client = Client::new(gate.address).with("x-request-id", &id);
        assert_eq!(client.chat(&question(&format!("Question {n}"))).await.status, 200);
        threads.push(log::of_request(&id)[0]["threadName"].as_str().unwrap().to_owned());
    }
    assert_eq!(threads, ["sluice-io-0", "sluice-io-1", "sluice-io-0", "sluice-io-1"]);
}

#[tokio::test]
async fn all_threads_share_one_cache() {
    let gate = Gate::with("limits: {threads: 2}");
    let ask = || async { Client::new(gate.address).chat(&question("When do you open?")).await.cache() };
    assert_eq!(
        (ask().await.as_str(), ask().await.as_str(), ask().await.as_str()),
        ("miss", "hit exact", "hit exact")
    );
}

#[tokio::test]
async fn metrics_count_what_happened() {
    let gate = Gate::with("guardrails: {secrets: block}");
    gate.primary.script(script("rules: [{times: 1, reply: {status: 503}}]"));
    gate.ask("I am zoe.quill@example.org").await;
    gate.ask("I am zoe.quill@example.org").await;
    gate.ask(&["AKIA", "Q3EGZ5ZL", "4XYJ2VWT"].concat()).await;
    gate.client.post("/v1/chat/completions", "{").await;
    gate.client.get("/nope").await;
    let metrics = gate.metrics().await;
    for line in [
        "sluice_requests_total{endpoint=\"chat_completions\",status=\"200\"} 2",
        "sluice_requests_total{endpoint=\"chat_completions\",status=\"400\"} 2",
        "sluice_requests_total{endpoint=\"unknown\",status=\"404\"} 1",
        "sluice_cache_lookups_total{result=\"hit\",tier=\"exact\"} 1",
        "sluice_cache_lookups_total{result=\"miss\",tier=\"\"} 1",
        "sluice_upstream_attempts_total{provider=\"primary\",outcome=\"503\"} 1",
        "sluice_upstream_attempts_total{provider=\"backup\",outcome=\"ok\"} 1",
        "sluice_redactions_total{entity=\"EMAIL_ADDRESS\"} 2",
        "sluice_guardrail_refusals_total{entity=\"secret_detected\"} 1",
        "sluice_cache_entries 1",
        "sluice_embeddings_total{outcome=\"computed\"} 1",
        "sluice_embedding_wait_seconds_count 1",
        "sluice_embedding_seconds_count 1",
        "sluice_embedding_queue 0",
        "# EOF",
    ] {
        assert!(metrics.lines().any(|l| l == line), "no line '{line}' in\n{metrics}");
    }
    assert!(!metrics.contains("zoe.quill"));
}

#[tokio::test]
async fn the_admin_address_serves_metrics_and_health_alone() {
    let gate = Gate::with("");
    let admin = Client::new(gate.admin);
    assert!(admin.plain("/health/live").await.contains("ok"));
    let response = admin.open(&question("Hi")).await;
    assert_eq!(response.status(), 404);
    assert_eq!(gate.client.get("/metrics").await.status, 404);
    assert_eq!(gate.primary.count(), 0);
}

#[tokio::test]
async fn models_are_listed_and_found_by_name() {
    let gate = Gate::with_weights("");
    let list = gate.client.get("/v1/models").await.json();
    assert_eq!(list["object"], "list");
    let ids: Vec<&str> = list["data"].as_array().unwrap().iter().map(|m| m["id"].as_str().unwrap()).collect();
    assert!(ids.contains(&"chat") && ids.contains(&"all-MiniLM-L6-v2"), "{ids:?}");
    assert!(
        list["data"]
            .as_array()
            .unwrap()
            .iter()
            .all(|m| m["object"] == "model" && m["owned_by"].is_string() && m["created"].is_u64())
    );

    let one = gate.client.get("/v1/models/chat").await.json();
    assert_eq!((one["id"].as_str(), one["owned_by"].as_str()), (Some("chat"), Some("primary")));
    assert_eq!(gate.client.get("/v1/models/backup/org/any").await.json()["owned_by"], "backup");
    let reply = gate.client.get("/v1/models/nope").await;
    assert_eq!((reply.status, reply.error()["code"].as_str()), (404, Some("model_not_found")));
}

#[tokio::test]
async fn a_provider_slash_model_works_without_a_route() {
    let gate = Gate::with("");
    let reply = gate
        .client
        .chat(&json!({ "model": "backup/org/some-model", "messages": [{ "role": "user", "content": "Hi" }] }))
        .await;
    assert_eq!(
        (reply.header("x-sluice-provider"), reply.header("x-sluice-model")),
        ("backup", "org/some-model")
    );
    assert!(String::from_utf8_lossy(&gate.backup.seen()[0].body).contains("\"model\":\"org/some-model\""));
}
