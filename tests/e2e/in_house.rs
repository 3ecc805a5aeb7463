//! What the policy leaves to in-house targets stays as it is, and goes to no other: not by fallback, not behind the client's
//! back, not by way of the cache.

use std::fs;

use serde_json::{Value, json};
use sluice_tests::leak::holds;
use sluice_tests::{Client, Gate, log, question, script, streamed};

/// A card that stands in no other test.
const CARD: &str = "4716 2210 5188 5662";
const EMAIL: &str = "zoe.quill@example.org";

/// `{primary}` is a public provider, `{backup}` one in the house.
const HOUSE: &str = "
providers:
  public: {kind: mock, base_url: '{primary}'}
  inside: {kind: mock, base_url: '{backup}', in_house: true}
routes:
  - {model: chat, targets: [public/model-a, inside/model-b]}
  - {model: inside-first, targets: [inside/model-b, public/model-a]}
  - {model: public-only, targets: [public/model-a]}
retry: {rounds: 1, backoff: 1ms}
embedding: {deadline: 5m}
";
const POLICY: &str = "guardrails: {entities: {CREDIT_CARD: {action: route}}}\n";

fn house(more: &str) -> Gate {
    Gate::start(&format!("{HOUSE}{POLICY}{more}\n"))
}

fn paying(model: &str) -> Value {
    let mut body = question(&format!("I am {EMAIL} and pay by {CARD}"));
    body["model"] = json!(model);
    body
}

fn public_bytes(gate: &Gate) -> Vec<u8> {
    gate.primary.seen().iter().flat_map(|seen| seen.bytes()).collect()
}

#[tokio::test]
async fn a_routed_value_goes_to_in_house_targets_as_it_is_and_everything_else_as_ever() {
    for stream in [false, true] {
        let gate = house("");
        let reply = gate.client.chat(&streamed(paying("chat"), stream)).await;
        assert_eq!(reply.status, 200, "{:?}", reply.body);
        assert_eq!(reply.text(), format!("You said: I am {EMAIL} and pay by {CARD}"));
        assert_eq!((reply.header("x-sluice-provider"), reply.header("x-sluice-attempts")), ("inside", "1"));
        assert_eq!((gate.primary.count(), gate.backup.count()), (0, 1));
        let sent: Value = serde_json::from_slice(&gate.backup.seen()[0].body).unwrap();
        assert_eq!(sent["messages"][0]["content"], format!("I am [EMAIL_ADDRESS_1] and pay by {CARD}"));
        // What has none of it goes where it always went.
        let other = gate.ask(&format!("I am {EMAIL}")).await;
        assert_eq!(other.header("x-sluice-provider"), "public");
        assert!(!holds(&public_bytes(&gate), EMAIL));
        assert!(!log::text().contains(CARD), "the log holds it");
    }
}

#[tokio::test]
async fn a_failing_in_house_target_is_no_reason_to_ask_a_public_one() {
    for reply in [
        "{status: 503}",
        "{status: 429}",
        "{status: 401}",
        "{status: 404}",
        "{raw: 'no JSON'}",
        "{cut_after: 0}",
    ] {
        for stream in [false, true] {
            for model in ["chat", "inside-first"] {
                let gate = house("");
                gate.backup.script(script(&format!("reply: {reply}")));
                let told = gate.client.chat(&streamed(paying(model), stream)).await;
                assert!(told.status >= 400, "{reply}: {}", told.status);
                assert!(gate.backup.count() > 0, "{reply}");
                assert_eq!(gate.primary.count(), 0, "{reply}, stream: {stream}, model: {model}");
                assert!(!holds(&told.body, CARD));
            }
        }
    }
}

#[tokio::test]
async fn without_an_in_house_target_the_request_is_refused_by_the_entity_s_name() {
    let gate = house("");
    for model in ["public-only", "public/model-a"] {
        let reply = gate.client.chat(&paying(model)).await;
        let error = reply.error();
        assert_eq!(reply.status, 400);
        assert_eq!(
            [&error["type"], &error["code"], &error["param"]],
            ["guardrail_blocked", "no_in_house_target", "model"]
        );
        assert!(error["message"].as_str().unwrap().contains("CREDIT_CARD") && !holds(&reply.body, CARD));
    }
    assert_eq!((gate.primary.count(), gate.backup.count()), (0, 0));
    assert_eq!(gate.client.chat(&paying("inside/model-b")).await.status, 200, "it need not be a route");
    let metrics = gate.metrics().await;
    assert!(metrics.contains("sluice_guardrail_routed_total{entity=\"CREDIT_CARD\"} 3"), "{metrics}");
}

#[tokio::test]
async fn it_is_so_in_every_field_and_in_large_requests() {
    let gate = house("");
    let bodies = [
        json!({ "metadata": { "paid by": CARD } }),
        json!({ "metadata": { CARD: "x" } }),
        json!({ "x_unknown": [{ "card": 4_716_221_051_885_662_u64 }] }),
        json!({ "tools": [{ "type": "function", "function": { "name": "f", "description": format!("By {CARD}") } }] }),
        json!({ "messages": [
            { "role": "assistant", "tool_calls": [{ "id": "c", "type": "function", "function": { "name": "f", "arguments": json!({ "card": CARD }).to_string() } }] },
            { "role": "tool", "tool_call_id": "c", "content": "done" },
        ]}),
        question(&format!("{}By {CARD}", "Nothing of interest here.\n".repeat(5_000))),
    ];
    for (count, more) in bodies.iter().enumerate() {
        let mut body = question("Hello");
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let reply = gate.client.chat(&body).await;
        assert_eq!((reply.status, reply.header("x-sluice-provider")), (200, "inside"), "{more}");
        assert_eq!((gate.primary.count(), gate.backup.count()), (0, count + 1));
    }
    let named = gate.client.chat(&paying(&format!("inside/{CARD}"))).await;
    assert_eq!(
        (named.status, named.error()["param"].as_str()),
        (400, Some("model")),
        "a model's name goes into logs"
    );
}

#[tokio::test]
async fn nothing_of_it_is_in_the_cache_or_behind_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).display().to_string();
    let mut gate = house(&format!(
        "cache: {{policy: calibrated, shadow: always, keep_prompts: true, ttl: 1h, stale_while_revalidate: 1h, stale_if_error: 1h, journal: '{}', shadow_log: '{}', shadow_log_prompts: true, judge: {{model: public/judge}}}}",
        file("cache.redb"),
        file("shadow.jsonl"),
    ));
    for number in 0..3 {
        let reply = gate.client.chat(&paying("chat")).await;
        assert_eq!((reply.cache().as_str(), reply.header("x-sluice-cache-reason")), ("bypass", "in_house"));
        assert_eq!((gate.primary.count(), gate.backup.count()), (0, number + 1));
    }
    let only = gate.client.with("cache-control", "only-if-cached").chat(&paying("chat")).await;
    assert_eq!((only.status, gate.backup.count()), (504, 3));
    gate.backup.script(script("reply: {status: 503}"));
    assert_eq!(gate.client.chat(&paying("chat")).await.status, 503, "nothing is there to be served");
    let line = json!({ "prompt": format!("Is {CARD} good?"), "answer": "Yes.", "model": "chat" }).to_string();
    let told = Client::new(gate.admin).post("/admin/v1/cache/import", line).await.json();
    assert_eq!((&told["stored"], &told["skipped"]), (&json!(0), &json!(1)), "{told}");
    // So that there is something in the files.
    for ask in
        ["How do I reset my password?", "How can I reset my password?", "How can I reset the password?"]
    {
        assert_eq!(gate.ask(&format!("{ask} I am {EMAIL}")).await.status, 200);
    }
    gate.stop().await.unwrap();
    for name in ["cache.redb", "shadow.jsonl"] {
        let bytes = fs::read(file(name)).unwrap();
        assert!(!bytes.is_empty() && !holds(&bytes, CARD) && !holds(&bytes, EMAIL), "{name}");
    }
    assert!(!holds(&public_bytes(&gate), CARD));
}

#[tokio::test]
async fn a_judge_of_elsewhere_is_not_shown_what_is_for_in_house_targets() {
    let answers = |gate: &Gate, who: &str| {
        gate.primary.script(script(&format!(
            "reply: {{answer: 'The fee of 5 euros goes to card {CARD} for {who}.'}}"
        )));
    };
    for (judge, verdict, asked) in [("public/judge", "blocked", 0), ("inside/judge", "same", 1)] {
        let gate = house(&format!("cache: {{policy: calibrated, judge: {{model: {judge}}}}}"));
        gate.backup.script(script("reply: {answer: SAME}"));
        answers(&gate, "all customers");
        assert_eq!(gate.ask("How much is the monthly fee?").await.status, 200);
        answers(&gate, "every customer");
        assert_eq!(gate.ask("What is the monthly fee?").await.cache(), "miss");
        gate.until(&format!("sluice_cache_judged_total{{verdict=\"{verdict}\"}} 1")).await;
        assert_eq!((gate.primary.count(), gate.backup.count()), (2, asked), "{judge}");
        assert!(!holds(&public_bytes(&gate), CARD));
    }
}

#[tokio::test]
async fn the_audit_log_says_route_and_who_was_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.jsonl");
    let mut gate = house(&format!("audit: {{path: '{}'}}", path.display()));
    assert_eq!(gate.client.chat(&paying("chat")).await.status, 200);
    assert_eq!(gate.client.chat(&paying("public-only")).await.status, 400);
    gate.stop().await.unwrap();
    let text = fs::read_to_string(&path).unwrap();
    assert!(!holds(text.as_bytes(), CARD));
    let events: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let told: Vec<_> = events
        .iter()
        .filter(|event| event["entity"] == "CREDIT_CARD" && event["direction"] == "request")
        .map(|e| ["detector", "action", "field", "model"].map(|name| e[name].as_str().unwrap().to_owned()))
        .collect();
    assert_eq!(told.len(), 3, "{text}");
    for (event, model) in [(&told[0], "inside/model-b"), (&told[1], "public/model-a")] {
        assert_eq!(event[1..], ["route", "messages[0].content", model]);
    }
    assert_eq!(told[2], ["in_house", "block", "", "public/model-a"]);
}

#[tokio::test]
async fn a_dry_run_tells_that_it_would_stay_in_the_house() {
    let gate = house("");
    let told = gate
        .client
        .post("/v1/guardrails/inspect", json!({ "text": format!("By {CARD}") }).to_string())
        .await
        .json();
    assert_eq!(
        (&told["action"], &told["results"][0]["findings"][0]["action"]),
        (&json!("route"), &json!("route"))
    );
    let told = gate.client.post("/v1/guardrails/inspect", paying("chat").to_string()).await.json();
    assert_eq!(told["action"], "route");
    assert_eq!(
        told["redacted"]["messages"][0]["content"],
        format!("I am [EMAIL_ADDRESS_1] and pay by {CARD}")
    );
}

#[tokio::test]
async fn a_policy_file_that_begins_to_route_finds_nothing_of_before() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("policy.yaml");
    fs::write(&file, "entities: {CREDIT_CARD: {action: log}}").unwrap();
    let gate = Gate::start(&format!("{HOUSE}guardrails: {{file: '{}'}}\n", file.display()));
    let ask = async || gate.client.chat(&paying("chat")).await;
    assert_eq!(ask().await.cache(), "miss");
    assert_eq!(ask().await.cache(), "hit exact");
    let before = gate.primary.count();
    fs::write(&file, "entities: {CREDIT_CARD: {action: route}}").unwrap();
    loop {
        let reply = ask().await;
        if reply.cache() == "bypass" {
            assert_eq!(reply.header("x-sluice-provider"), "inside");
            break;
        }
        assert_eq!(reply.cache(), "hit exact");
    }
    assert_eq!(gate.primary.count(), before);
}
