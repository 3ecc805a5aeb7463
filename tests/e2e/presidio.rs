//! Programs that speak Presidio's REST API switch by URL: raw HTTP, its shapes, places in code points.

use serde_json::{Value, json};
use sluice_tests::Gate;
use sluice_tests::leak::holds;
use sluice_tests::raw::exchange;

const ON: &str = "presidio: {listen: '127.0.0.1:0'}";
const EMAIL: &str = "zoe.quill@example.org";

/// The status, the head and the body of an answer, over a connection of its own.
async fn asked(gate: &Gate, line: &str, headers: &str, body: &str) -> (u16, String, String) {
    let length = body.len();
    let bytes = format!(
        "{line} HTTP/1.1\r\nhost: analyzer\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n{headers}\r\n{body}"
    );
    let answer = exchange(gate.presidio.unwrap(), bytes).await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head[9..12].parse().unwrap(), head.to_lowercase(), body.to_owned())
}

async fn post(gate: &Gate, path: &str, body: &Value) -> (u16, Value) {
    let (status, head, body) = asked(gate, &format!("POST {path}"), "", &body.to_string()).await;
    assert!(head.contains("content-type: application/json") && head.contains("x-request-id: "), "{head}");
    let body: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(status >= 400, body.get("error").is_some_and(Value::is_string), "{status} {body}");
    (status, body)
}

#[tokio::test]
async fn a_text_is_analysed_and_what_was_found_goes_back_to_be_anonymised() {
    let gate = Gate::with(ON);
    let text = format!("é😀 Mail {EMAIL} or call +1 212 555 0142");
    let (status, results) =
        post(&gate, "/analyze", &json!({ "text": text, "language": "en", "x_unknown": 1 })).await;
    assert_eq!(status, 200, "{results}");
    let mail =
        results.as_array().unwrap().iter().find(|result| result["entity_type"] == "EMAIL_ADDRESS").unwrap();
    assert_eq!((&mail["start"], &mail["end"]), (&json!(8), &json!(8 + EMAIL.len())));
    assert!(mail["score"].as_f64().unwrap() > 0.6 && mail["analysis_explanation"].is_null(), "{mail}");
    assert!(mail["recognition_metadata"]["recognizer_name"].is_string(), "{mail}");
    let anonymizers = json!({ "EMAIL_ADDRESS": { "type": "mask", "masking_char": "#", "chars_to_mask": 17, "from_end": true } });
    let only: Vec<_> = ["EMAIL_ADDRESS", "PHONE_NUMBER"]
        .iter()
        .flat_map(|entity| {
            results.as_array().unwrap().iter().filter(move |result| result["entity_type"] == *entity)
        })
        .collect();
    let body = json!({ "text": text, "analyzer_results": only, "anonymizers": anonymizers });
    let (status, told) = post(&gate, "/anonymize", &body).await;
    assert_eq!(
        (status, &told["text"]),
        (200, &json!("é😀 Mail zoe.################# or call <PHONE_NUMBER>"))
    );
    assert_eq!(
        told["items"],
        json!([
            { "operator": "replace", "entity_type": "PHONE_NUMBER", "start": 38, "end": 52, "text": "<PHONE_NUMBER>" },
            { "operator": "mask", "entity_type": "EMAIL_ADDRESS", "start": 8, "end": 29, "text": "zoe.#################" },
        ])
    );
}

#[tokio::test]
async fn a_list_of_texts_is_answered_by_a_list_of_lists() {
    let gate = Gate::with(ON);
    let body = json!({ "text": ["nothing", EMAIL, ""], "language": "en", "entities": ["EMAIL_ADDRESS"] });
    let (status, told) = post(&gate, "/analyze", &body).await;
    let counts: Vec<_> = told.as_array().unwrap().iter().map(|list| list.as_array().unwrap().len()).collect();
    assert_eq!((status, counts), (200, vec![0, 1, 0]));
}

#[tokio::test]
async fn entities_thresholds_allowed_values_and_context_narrow_and_widen_what_is_told() {
    let gate = Gate::with(ON);
    let count = async |more: Value| {
        let mut body = json!({ "text": format!("{EMAIL} 536228143"), "language": "en", "entities": ["EMAIL_ADDRESS", "US_SSN"] });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let (status, told) = post(&gate, "/analyze", &body).await;
        assert_eq!(status, 200, "{told}");
        told.as_array().unwrap().len()
    };
    assert_eq!(count(json!({})).await, 1);
    assert_eq!(count(json!({ "score_threshold": 1 })).await, 0);
    assert_eq!(count(json!({ "allow_list": [EMAIL] })).await, 0);
    assert_eq!(count(json!({ "context": ["ssn"] })).await, 2);
    assert_eq!(count(json!({ "entities": ["US_SSN"], "score_threshold": null })).await, 0);
}

#[tokio::test]
async fn entities_that_nobody_looks_for_are_named() {
    let gate = Gate::with(ON);
    let body = json!({ "text": EMAIL, "language": "en", "entities": ["PERSON", "EMAIL_ADDRESS"] });
    let (status, head, _) = asked(&gate, "POST /analyze", "", &body.to_string()).await;
    assert!(status == 200 && head.contains("x-sluice-unsupported-entities: person\r\n"), "{head}");
    let (status, told) =
        post(&gate, "/analyze", &json!({ "text": EMAIL, "language": "en", "entities": ["PERSON"] })).await;
    assert!(status == 422 && told["error"].as_str().unwrap().contains("/supportedentities"), "{told}");
}

#[tokio::test]
async fn what_can_not_be_done_is_refused_in_presidio_s_shape_without_the_text() {
    let gate = Gate::with(ON);
    let recogniser = json!([{ "name": "zip", "supported_entity": "ZIP" }]);
    let results = json!([{ "start": 0, "end": 3, "score": 1, "entity_type": "X" }]);
    for (path, body, status) in [
        ("/analyze", json!({ "text": EMAIL, "ad_hoc_recognizers": recogniser }), 422),
        ("/analyze", json!({ "text": EMAIL, "allow_list": ["a"], "allow_list_match": "regex" }), 422),
        ("/analyze", json!({ "text": EMAIL, "score_threshold": EMAIL }), 400),
        ("/analyze", json!({ "text": "", "language": EMAIL }), 400),
        ("/analyze", json!({}), 400),
        ("/analyze", json!([EMAIL]), 400),
        ("/anonymize", json!({ "text": EMAIL }), 422),
        (
            "/anonymize",
            json!({ "text": EMAIL, "analyzer_results": results, "anonymizers": { "X": { "type": "encrypt", "key": EMAIL } } }),
            422,
        ),
        ("/deanonymize", json!({ "text": EMAIL }), 422),
        ("/nowhere", json!({ "text": EMAIL }), 404),
        ("/health", json!({ "text": EMAIL }), 405),
    ] {
        let (told, answer) = post(&gate, path, &body).await;
        assert_eq!(told, status, "{path} {answer}");
        assert!(!holds(answer.to_string().as_bytes(), EMAIL), "{answer}");
    }
}

#[tokio::test]
async fn it_says_what_it_knows_and_that_it_is_up() {
    let gate = Gate::with(ON);
    let list = async |path: &str| {
        let (status, _, body) = asked(&gate, &format!("GET {path}"), "", "").await;
        assert_eq!(status, 200, "{body}");
        serde_json::from_str::<Vec<String>>(&body).unwrap()
    };
    let entities = list("/supportedentities?language=en").await;
    for entity in ["EMAIL_ADDRESS", "CREDIT_CARD", "US_SSN", "DATE_TIME", "URL", "SECRET"] {
        assert!(entities.iter().any(|known| known == entity), "{entity} in {entities:?}");
    }
    let recognizers = list("/recognizers").await;
    let (_, told) = post(&gate, "/analyze", &json!({ "text": EMAIL, "language": "en" })).await;
    let name = told[0]["recognition_metadata"]["recognizer_name"].as_str().unwrap();
    assert!(recognizers.iter().any(|known| known == name), "{name} in {recognizers:?}");
    assert_eq!(list("/anonymizers").await, ["hash", "keep", "mask", "redact", "replace"]);
    let (status, head, body) = asked(&gate, "GET /health", "", "").await;
    assert!(status == 200 && head.contains("text/plain") && !body.is_empty());
}

#[tokio::test]
async fn it_is_off_unless_it_has_an_address_and_web_pages_and_large_bodies_are_kept_out() {
    assert_eq!(Gate::with("").presidio, None);
    let gate = Gate::with(&format!("{ON}\nlimits: {{max_body: 100KiB}}"));
    let body = json!({ "text": EMAIL, "language": "en" }).to_string();
    let (status, _, told) = asked(&gate, "POST /analyze", "origin: https://evil.example\r\n", &body).await;
    assert!(status == 403 && !told.contains(EMAIL), "{told}");
    let large = json!({ "text": "Nothing here. ".repeat(10_000), "language": "en" });
    let (status, told) = post(&gate, "/analyze", &large).await;
    assert!(status == 413 && told["error"].as_str().unwrap().contains("limits.max_body"), "{told}");
    assert_eq!((gate.primary.count(), gate.backup.count()), (0, 0));
}

#[tokio::test]
async fn an_address_that_others_can_reach_asks_for_a_key() {
    let gate = Gate::with("presidio: {listen: '0.0.0.0:0'}\nkeys: [{name: a, secret: 'env:TEST_A'}]");
    let body = json!({ "text": EMAIL, "language": "en" }).to_string();
    let (status, _, told) = asked(&gate, "POST /analyze", "", &body).await;
    assert!(status == 401 && serde_json::from_str::<Value>(&told).unwrap()["error"].is_string(), "{told}");
    assert_eq!(asked(&gate, "POST /analyze", "x-api-key: sk-test-a\r\n", &body).await.0, 200);
    assert_eq!(asked(&gate, "GET /supportedentities", "", "").await.0, 401);
    assert_eq!(asked(&gate, "GET /health", "", "").await.0, 200);
}
