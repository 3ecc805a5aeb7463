//! Vectors of the local model.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use sluice_tests::{Gate, Reply};

const MODEL: &str = "all-MiniLM-L6-v2";

async fn embed(gate: &Gate, body: Value) -> Reply {
    gate.client.post("/v1/embeddings", body.to_string()).await
}

fn floats(value: &Value) -> Vec<f32> {
    value.as_array().unwrap().iter().map(|x| x.as_f64().unwrap() as f32).collect()
}

fn decoded(value: &Value) -> Vec<f32> {
    let bytes = STANDARD.decode(value.as_str().unwrap()).unwrap();
    bytes.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect()
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

#[tokio::test]
async fn a_text_becomes_a_unit_vector_as_floats_or_base64_alike() {
    let gate = Gate::with_weights("");
    let reply = embed(&gate, json!({ "model": MODEL, "input": "The cat sits." })).await.json();
    assert_eq!((reply["object"].as_str(), reply["model"].as_str()), (Some("list"), Some(MODEL)));
    assert_eq!(
        (reply["data"][0]["object"].as_str(), reply["data"][0]["index"].as_u64()),
        (Some("embedding"), Some(0))
    );
    let vector = floats(&reply["data"][0]["embedding"]);
    assert_eq!(vector.len(), 384);
    assert!((dot(&vector, &vector) - 1.0).abs() < 1e-4);
    assert!(reply["usage"]["prompt_tokens"].as_u64() > Some(2));
    assert_eq!(reply["usage"]["prompt_tokens"], reply["usage"]["total_tokens"]);

    let encoded =
        embed(&gate, json!({ "model": MODEL, "input": "The cat sits.", "encoding_format": "base64" }))
            .await
            .json();
    assert_eq!(decoded(&encoded["data"][0]["embedding"]), vector);
}

#[tokio::test]
async fn a_list_keeps_its_order() {
    let gate = Gate::with_weights("");
    let texts: Vec<String> = (0..20).map(|n| format!("Text number {n} is about topic {}", n * 7)).collect();
    let together = embed(&gate, json!({ "model": MODEL, "input": texts })).await.json();
    assert_eq!(together["data"].as_array().unwrap().len(), 20);
    for (at, text) in texts.iter().enumerate() {
        assert_eq!(together["data"][at]["index"].as_u64(), Some(at as u64));
        let alone = embed(&gate, json!({ "model": format!("local/{MODEL}"), "input": [text] })).await.json();
        assert_eq!(alone["data"][0]["embedding"], together["data"][at]["embedding"], "{text}");
    }
}

#[tokio::test]
async fn what_means_the_same_is_near() {
    let gate = Gate::with_weights("");
    let input = ["How do I reset my password?", "How can I reset my password?", "The cat sits on the mat."];
    let reply = embed(&gate, json!({ "model": MODEL, "input": input })).await.json();
    let vector = |at: usize| floats(&reply["data"][at]["embedding"]);
    assert!(dot(&vector(0), &vector(1)) > 0.9);
    assert!(dot(&vector(0), &vector(2)) < 0.3);
}

#[tokio::test]
async fn a_text_longer_than_the_model_reads_is_reported() {
    let gate = Gate::with_weights("");
    let long = "word ".repeat(2000);
    let reply = embed(&gate, json!({ "model": MODEL, "input": [long, "short", long] })).await;
    assert_eq!((reply.status, reply.header("x-sluice-truncated-inputs")), (200, "2"));
    assert_eq!(
        embed(&gate, json!({ "model": MODEL, "input": "short" })).await.header("x-sluice-truncated-inputs"),
        ""
    );
}

#[tokio::test]
async fn empty_and_odd_texts_have_vectors_too() {
    let gate = Gate::with_weights("");
    for text in ["", " ", "🙂", "日本語のテキスト", "\u{0}", "مرحبا"] {
        let reply = embed(&gate, json!({ "model": MODEL, "input": text })).await;
        assert_eq!(reply.status, 200, "{text:?}");
        let vector = floats(&reply.json()["data"][0]["embedding"]);
        assert!((dot(&vector, &vector) - 1.0).abs() < 1e-4, "{text:?}");
    }
}

#[tokio::test]
async fn a_wrong_request_is_refused_by_the_fields_name() {
    let gate = Gate::with_weights("");
    let many = vec!["x"; 2049];
    let cases = [
        (json!({ "input": "x" }), "model"),
        (json!({ "model": 7, "input": "x" }), "model"),
        (json!({ "model": MODEL }), "input"),
        (json!({ "model": MODEL, "input": 7 }), "input"),
        (json!({ "model": MODEL, "input": [] }), "input"),
        (json!({ "model": MODEL, "input": { "a": "b" } }), "input"),
        (json!({ "model": MODEL, "input": many }), "input"),
        (json!({ "model": MODEL, "input": ["a", 7] }), "input[1]"),
        (json!({ "model": MODEL, "input": [[1, 2, 3]] }), "input[0]"),
        (json!({ "model": MODEL, "input": "x", "dimensions": 100 }), "dimensions"),
        (json!({ "model": MODEL, "input": "x", "dimensions": "many" }), "dimensions"),
        (json!({ "model": MODEL, "input": "x", "encoding_format": "hex" }), "encoding_format"),
    ];
    for (body, param) in cases {
        let reply = embed(&gate, body).await;
        assert_eq!((reply.status, reply.error()["param"].as_str()), (400, Some(param)));
    }
    assert_eq!(embed(&gate, json!({ "model": MODEL, "input": "x", "dimensions": 384 })).await.status, 200);
    let unknown = embed(&gate, json!({ "model": "text-embedding-3-small", "input": "x" })).await;
    assert_eq!((unknown.status, unknown.error()["code"].as_str()), (404, Some("model_not_found")));
    assert_eq!(gate.client.post("/v1/embeddings", "{").await.error()["code"], "invalid_json");
}

#[tokio::test]
async fn without_the_model_it_is_said_and_nobody_else_is_asked() {
    let gate = Gate::build(sluice_tests::TWO_TARGETS, None);
    let reply = embed(&gate, json!({ "model": MODEL, "input": "x" })).await;
    assert_eq!((reply.status, reply.error()["code"].as_str()), (503, Some("dependency_unavailable")));
    assert_eq!(gate.primary.count(), 0);
}
