//! Images, sound and files, which no guard looks into: allowed, refused, or left to in-house targets. Text files are texts.

use std::fs;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use sluice_tests::leak::holds;
use sluice_tests::{Gate, script, streamed};

const EMAIL: &str = "zoe.quill@example.org";
const PICTURE: &str = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUg==";

const PROVIDERS: &str = "
providers:
  public: {kind: mock, base_url: '{primary}'}
  inside: {kind: mock, base_url: '{backup}', in_house: true}
routes:
  - {model: chat, targets: [public/model-a, inside/model-b]}
  - {model: public-only, targets: [public/model-a]}
retry: {rounds: 0}
embedding: {deadline: 5m}
";

fn gate(guardrails: &str, more: &str) -> Gate {
    Gate::start(&format!("{PROVIDERS}guardrails: {guardrails}\n{more}\n"))
}

fn parts() -> [(&'static str, Value); 5] {
    [
        ("image", json!({ "type": "image_url", "image_url": { "url": PICTURE } })),
        ("image", json!({ "type": "image_url", "image_url": { "url": "https://pictures.example/a.png" } })),
        ("image", json!({ "type": "input_image", "image_url": PICTURE })),
        ("audio", json!({ "type": "input_audio", "input_audio": { "data": "UklGRg==", "format": "wav" } })),
        ("file", json!({ "type": "file", "file": { "file_id": "file-abc" } })),
    ]
}

fn showing(part: &Value) -> Value {
    json!({ "model": "chat", "messages": [
        { "role": "system", "content": "Be kind." },
        { "role": "user", "content": [{ "type": "text", "text": format!("I am {EMAIL}") }, part] },
    ]})
}

#[tokio::test]
async fn by_default_they_go_where_the_request_goes_as_they_are() {
    let gate = gate("{}", "");
    for (number, (_, part)) in parts().iter().enumerate() {
        let reply = gate.client.chat(&showing(part)).await;
        assert_eq!((reply.status, reply.header("x-sluice-provider")), (200, "public"), "{part}");
        let sent: Value = serde_json::from_slice(&gate.primary.seen()[number].body).unwrap();
        assert_eq!(sent["messages"][1]["content"][1], *part);
    }
    assert!(!holds(&gate.received(), EMAIL));
}

#[tokio::test]
async fn what_is_blocked_is_refused_by_its_place_and_nothing_else_is() {
    for kind in ["image", "audio", "file"] {
        let gate = gate(&format!("{{media: {{{kind}: block}}}}"), "");
        let mut sent = 0;
        for (of, part) in parts() {
            let reply = gate.client.chat(&streamed(showing(&part), true)).await;
            if of != kind {
                sent += 1;
                assert_eq!(reply.status, 200, "{part}");
                continue;
            }
            let error = reply.error();
            assert_eq!(reply.status, 400, "{part}");
            assert_eq!(
                [&error["type"], &error["code"], &error["param"]],
                ["guardrail_blocked", "media_blocked", "messages[1].content[1]"]
            );
            assert!(error["message"].as_str().unwrap().contains(&kind.to_uppercase()));
        }
        assert_eq!((gate.primary.count(), gate.backup.count()), (sent, 0));
    }
}

#[tokio::test]
async fn what_is_routed_goes_to_in_house_targets_alone() {
    for kind in ["image", "audio", "file"] {
        let gate = gate(&format!("{{media: {{{kind}: route}}}}"), "");
        for (of, part) in parts() {
            let reply = gate.client.chat(&showing(&part)).await;
            let (provider, cache) = if of == kind { ("inside", "bypass") } else { ("public", "miss") };
            assert_eq!(
                (reply.header("x-sluice-provider"), reply.cache().as_str()),
                (provider, cache),
                "{part}"
            );
        }
        let public: Vec<u8> = gate.primary.seen().iter().flat_map(|seen| seen.bytes()).collect();
        let marks = [
            ("image", "pictures.example"),
            ("image", "iVBORw0KGgo"),
            ("audio", "UklGRg"),
            ("file", "file-abc"),
        ];
        for (of, mark) in marks {
            assert_eq!(holds(&public, mark), of != kind, "{mark}");
        }
    }
}

#[tokio::test]
async fn a_routed_picture_is_shown_to_no_public_target_when_the_in_house_one_fails() {
    let gate = gate("{media: {image: route}}", "");
    gate.backup.script(script("reply: {status: 503}"));
    for (_, part) in &parts()[..3] {
        assert_eq!(gate.client.chat(&showing(part)).await.status, 503);
        let mut body = showing(part);
        body["model"] = json!("public-only");
        let reply = gate.client.chat(&body).await;
        assert_eq!((reply.status, reply.error()["code"].as_str()), (400, Some("no_in_house_target")));
    }
    assert_eq!(gate.primary.count(), 0);
}

#[tokio::test]
async fn a_picture_that_stands_where_nobody_looks_for_one_is_one() {
    let gate = gate("{media: {image: block}}", "");
    for (part, param) in [
        (json!({ "type": "text", "text": PICTURE }), "messages[1].content[1].text"),
        (
            json!({ "type": "new", "deep": [{ "image_url": "https://pictures.example/a" }] }),
            "messages[1].content[1].*[0]",
        ),
        (json!({ "type": "file", "file": { "file_data": PICTURE } }), "messages[1].content[1]"),
    ] {
        let reply = gate.client.chat(&showing(&part)).await;
        assert_eq!((reply.status, reply.error()["param"].as_str()), (400, Some(param)), "{part}");
    }
    let mut body = showing(&json!({ "type": "text", "text": "Hello" }));
    body["metadata"] = json!({ "a": PICTURE });
    assert_eq!(gate.client.chat(&body).await.error()["param"], "metadata.*");
    assert_eq!(gate.primary.count(), 0);
}

#[tokio::test]
async fn a_text_file_is_redacted_inside_and_stays_a_file() {
    let gate = gate("{}", "");
    let encoded = |text: &str| format!("data:text/csv;base64,{}", STANDARD.encode(text));
    let file = |data: &str| json!({ "type": "file", "file": { "filename": "a.csv", "file_data": data } });
    let reply = gate.client.chat(&showing(&file(&encoded(&format!("name,mail\nZoë,{EMAIL}\n"))))).await;
    assert_eq!(reply.status, 200, "{:?}", reply.body);
    let sent: Value = serde_json::from_slice(&gate.primary.seen()[0].body).unwrap();
    let data = sent["messages"][1]["content"][1]["file"]["file_data"].as_str().unwrap();
    assert_eq!(data, encoded("name,mail\nZoë,[EMAIL_ADDRESS_1]\n"));
    assert_eq!(
        sent["messages"][1]["content"][0]["text"], "I am [EMAIL_ADDRESS_1]",
        "it has one placeholder in both"
    );
    let plain = encoded("name,city\nZoë,Turin\n");
    gate.client.chat(&showing(&file(&plain))).await;
    let sent: Value = serde_json::from_slice(&gate.primary.seen()[1].body).unwrap();
    assert_eq!(sent["messages"][1]["content"][1]["file"]["file_data"], plain.as_str());
}

#[tokio::test]
async fn the_audit_log_and_a_dry_run_say_what_became_of_them() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.jsonl");
    let audit = format!("audit: {{path: '{}'}}", path.display());
    let mut gate = gate("{pii: off, media: {image: route, audio: block}}", &audit);
    let [(_, image), _, _, (_, audio), (_, file)] = parts();
    assert_eq!(gate.client.chat(&showing(&image)).await.status, 200);
    assert_eq!(gate.client.chat(&showing(&audio)).await.status, 400);
    assert_eq!(gate.client.chat(&showing(&file)).await.status, 200);
    for (part, action) in [(&image, "route"), (&audio, "block"), (&file, "allow")] {
        let told = gate.client.post("/v1/guardrails/inspect", showing(part).to_string()).await.json();
        assert_eq!(told["action"], action, "{told}");
        if action != "allow" {
            assert_eq!(told["results"][0]["field"], "messages[1].content[1]");
        }
    }
    let metrics = gate.metrics().await;
    assert!(metrics.contains("sluice_guardrail_routed_total{entity=\"IMAGE\"} 1"), "{metrics}");
    gate.stop().await.unwrap();
    let text = fs::read_to_string(&path).unwrap();
    let told: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let told: Vec<_> = told
        .iter()
        .filter(|event| event["detector"] == "media")
        .map(|e| ["entity", "action", "channel", "field"].map(|name| e[name].as_str().unwrap().to_owned()))
        .collect();
    assert_eq!(
        told,
        [
            ["IMAGE", "route", "user", "messages[1].content[1]"],
            ["AUDIO", "block", "user", "messages[1].content[1]"]
        ]
    );
}
