//! Guards of others: what they see, what follows from what they say, and what from their failures.

use std::sync::Arc;

use serde_json::{Value, json};
use sluice_tests::leak::holds;
use sluice_tests::stub::nobody;
use sluice_tests::{Gate, Guard, Say, log, question, script, streamed};
use tokio::sync::Barrier;

const EMAIL: &str = "zoe.quill@example.org";
const NAME: &str = "Zoë Quill";

/// A gateway with these guards, one line of YAML each.
fn gate(guards: &[String], more: &str) -> Gate {
    let lines: String = guards.iter().map(|guard| format!("\n    - {guard}")).collect();
    Gate::with(&format!("guardrails:\n  external:{lines}\n{more}"))
}

fn webhook(name: &str, url: &str, more: &str) -> String {
    format!("{{name: {name}, kind: webhook, url: '{url}', timeout: 60s{more}}}")
}

/// An analyzer that knows one name.
async fn analyzer() -> Guard {
    Guard::start(|asked| {
        let found = asked["text"].as_array().unwrap().iter().map(|text| {
            let text = text.as_str().unwrap();
            let places = text.match_indices(NAME).map(|(at, _)| {
                let start = text[..at].chars().count();
                json!({ "entity_type": "PERSON", "start": start, "end": start + NAME.chars().count(), "score": 0.85 })
            });
            places.collect::<Vec<_>>()
        });
        Say::Json(json!(found.collect::<Vec<_>>()))
    })
    .await
}

/// A moderation that flags texts with this word.
async fn moderation() -> Guard {
    Guard::start(|asked| {
        let judged = asked["input"].as_array().unwrap().iter().map(|text| {
            let flagged = text.as_str().unwrap().contains("axe");
            json!({ "flagged": flagged, "categories": { "violence": flagged, "hate": false }, "category_scores": { "violence": 0.7, "hate": 0.1 } })
        });
        Say::Json(json!({ "id": "m", "model": "omni", "results": judged.collect::<Vec<_>>() }))
    })
    .await
}

fn code(error: &Value) -> (&str, &str) {
    (error["type"].as_str().unwrap(), error["code"].as_str().unwrap())
}

#[tokio::test]
async fn names_that_presidio_finds_reach_no_provider_and_come_back_to_their_owner() {
    for stream in [false, true] {
        let guard = analyzer().await;
        let gate =
            gate(&[format!("{{name: names, kind: presidio, url: '{}', timeout: 60s}}", guard.url())], "");
        let mut body = question(&format!("é {NAME} writes from {EMAIL}"));
        let arguments = json!({ "to": NAME, "n": 1 }).to_string();
        body["messages"] = json!([
            { "role": "system", "content": format!("You help {NAME}.") },
            { "role": "assistant", "content": null, "tool_calls": [
                { "id": "c", "type": "function", "function": { "name": "mail", "arguments": arguments } },
            ]},
            { "role": "tool", "tool_call_id": "c", "content": "done" },
            body["messages"][0].clone(),
        ]);
        let reply = gate.client.chat(&streamed(body, stream)).await;
        assert_eq!(reply.status, 200, "{:?}", reply.body);
        let text = reply.text();
        assert_eq!(text, format!("You said: é {NAME} writes from {EMAIL}"));
        let sent = gate.received();
        assert!(!holds(&sent, NAME) && !holds(&sent, EMAIL));
        let sent: Value = serde_json::from_slice(&gate.primary.seen()[0].body).unwrap();
        assert_eq!(sent["messages"][3]["content"], "é [PERSON_1] writes from [EMAIL_ADDRESS_1]");
        assert_eq!(
            sent["messages"][1]["tool_calls"][0]["function"]["arguments"],
            r#"{"to":"[PERSON_1]","n":1}"#
        );
        let heard = &guard.heard()[0];
        assert_eq!((heard.path.as_str(), heard.json()["language"].as_str()), ("/guard/analyze", Some("en")));
        assert!(holds(&heard.body, NAME) && !holds(&heard.body, EMAIL), "it sees what a provider would see");
        assert!(!heard.json()["text"].as_array().unwrap().contains(&json!("mail")), "no names for programs");
        let metrics = gate.metrics().await;
        for line in [
            "sluice_external_guard_calls_total{guard=\"names\",phase=\"input\",outcome=\"redact\"} 1",
            "sluice_redactions_total{entity=\"PERSON\"} 1",
        ] {
            assert!(metrics.lines().any(|other| other == line), "{line} in {metrics}");
        }
    }
}

#[tokio::test]
async fn a_moderation_refuses_by_category_and_nobody_else_hears_of_the_request() {
    let guard = moderation().await;
    let line = |more: &str| {
        format!(
            "{{name: house, kind: openai_moderation, url: '{}', api_key: env:TEST_KEY, timeout: 60s{more}}}",
            guard.url()
        )
    };
    let strict = gate(&[line("")], "");
    let mut body = question("And now?");
    body["messages"] = json!([{ "role": "user", "content": "An axe!" }, body["messages"][0].clone()]);
    let reply = strict.client.chat(&body).await;
    let error = reply.error();
    assert_eq!((reply.status, code(&error)), (400, ("guardrail_blocked", "moderation_flagged")));
    assert_eq!(error["message"], "the guard 'house' refused the request (violence)");
    assert_eq!((strict.primary.count(), strict.backup.count()), (0, 0), "not only the last message counts");
    assert_eq!(strict.ask("Hello").await.status, 200);
    let heard = guard.heard();
    assert_eq!(
        heard[0].json(),
        json!({ "model": "omni-moderation-latest", "input": ["An axe!", "And now?"] })
    );
    assert_eq!(heard[0].headers["authorization"], "Bearer sk-test-key");
    let lenient = gate(&[line(", categories: {violence: 0.8}")], "");
    assert_eq!(lenient.client.chat(&body).await.status, 200);
    let reporting = gate(&[line(", mode: report")], "");
    assert_eq!(reporting.client.chat(&body).await.status, 200);
    let counted = "sluice_external_guard_calls_total{guard=\"house\",phase=\"input\",outcome=\"report\"} 1";
    assert!(reporting.metrics().await.lines().any(|line| line == counted));
}

#[tokio::test]
async fn a_webhook_is_told_who_asks_what_and_its_refusal_is_told_in_its_own_words() {
    let guard =
        Guard::saying(Say::Json(json!({ "action": "block", "code": "rule_7", "reason": "No axes here." })))
            .await;
    let keys = "keys: [{name: alice, secret: env:TEST_ALICE, tenant: acme}]\n";
    let gate = gate(&[webhook("rules", &guard.url(), ", secret: env:TEST_SIGNING_SECRET")], keys);
    let mut body = question(&format!("Mail {EMAIL}"));
    body["metadata"] = json!({ "team": "blue" });
    let reply = gate.key("TEST_ALICE").chat(&body).await;
    let error = reply.error();
    assert_eq!((reply.status, code(&error)), (400, ("guardrail_blocked", "rule_7")));
    assert_eq!(error["message"], "the guard 'rules' refused the request (rule_7): No axes here.");
    assert_eq!(gate.primary.count(), 0);
    let heard = &guard.heard()[0];
    assert_eq!(
        heard.json(),
        json!({
            "phase": "input", "request_id": reply.header("x-request-id"), "tenant": "acme", "key": "alice",
            "route": "chat", "model": "primary/model-a",
            "texts": [
                { "field": "messages[0].content", "channel": "user", "text": "Mail [EMAIL_ADDRESS_1]" },
                { "field": "metadata.*", "channel": "parameters", "text": "blue" },
            ],
            "metadata": { "team": "blue" },
        })
    );
    let time = heard.headers["x-sluice-timestamp"].to_str().unwrap();
    let signed = [time.as_bytes(), b".", &heard.body].concat();
    let mac = sluice_guardrails::policy::hmac_sha256(b"sk-test-signing_secret", &[&signed]).unwrap();
    assert_eq!(heard.headers["x-sluice-signature"], format!("sha256={mac}"));
    log::wait_for(reply.header("x-request-id")).await;
    assert!(!log::text().contains("No axes here."), "its words are for the client alone");
}

#[tokio::test]
async fn what_a_webhook_rewrites_is_read_like_what_a_client_writes() {
    let guard = Guard::start(|asked| {
        let texts = asked["texts"].as_array().unwrap().iter();
        let texts: Vec<_> = texts
            .map(|text| text["text"].as_str().unwrap().replace("axe", &format!("tool ({EMAIL})")))
            .collect();
        Say::Json(json!({ "action": "redact", "texts": texts }))
    })
    .await;
    let later = moderation().await;
    let gate = gate(
        &[
            format!("{{name: house, kind: openai_moderation, url: '{}', timeout: 60s}}", later.url()),
            webhook("writer", &guard.url(), ", mode: redact"),
        ],
        "",
    );
    let reply = gate.ask("An axe for +1 212 555 0142").await;
    assert_eq!(reply.status, 200, "{:?}", reply.body);
    let sent: Value = serde_json::from_slice(&gate.primary.seen()[0].body).unwrap();
    assert_eq!(sent["messages"][0]["content"], "An tool ([EMAIL_ADDRESS_1]) for [PHONE_NUMBER_1]");
    assert_eq!(
        later.heard()[0].json()["input"][0],
        sent["messages"][0]["content"],
        "who judges sees what is sent"
    );
    // Who is only to judge has no say in what is written.
    let judge = self::gate(&[webhook("judge", &guard.url(), "")], "");
    let reply = judge.ask("An axe").await;
    assert_eq!((reply.status, code(&reply.error()).1), (503, "guardrail_unavailable"));
}

#[tokio::test]
async fn originals_are_shown_in_house_alone() {
    let (inside, outside) = (
        Guard::saying(Say::Json(json!({ "action": "allow" }))).await,
        Guard::saying(Say::Json(json!({ "action": "allow" }))).await,
    );
    let gate = gate(
        &[
            webhook("inside", &inside.url(), ", in_house: true, sees: original"),
            webhook("outside", &outside.url(), ", in_house: true"),
        ],
        "",
    );
    assert_eq!(gate.ask(&format!("Mail {EMAIL}")).await.status, 200);
    assert!(holds(&inside.heard()[0].body, EMAIL) && !holds(&outside.heard()[0].body, EMAIL));
    assert!(!holds(&gate.received(), EMAIL));
}

#[tokio::test]
async fn whatever_goes_wrong_with_a_guard_its_on_error_decides_and_nothing_else() {
    let json = |text: &str| Say::Status(200, &[("content-type", "application/json")], text.to_owned());
    let elsewhere = Guard::saying(Say::Json(json!({ "action": "allow" }))).await;
    let failures: Vec<(&str, Option<Say>, &str)> = vec![
        ("connection", None, ""),
        ("timeout", Some(Say::Hang), ", timeout: 20ms"),
        ("status", Some(Say::Status(500, &[], r#"{"action":"allow"}"#.to_owned())), ""),
        (
            "status",
            Some(Say::Status(302, &[("location", "/elsewhere")], r#"{"action":"allow"}"#.to_owned())),
            "",
        ),
        ("status", Some(Say::Status(401, &[], String::new())), ""),
        ("malformed", Some(json("<html>")), ""),
        ("malformed", Some(json(r#"{"action":"maybe"}"#)), ""),
        ("malformed", Some(json("")), ""),
        (
            "too_large",
            Some(json(&format!(r#"{{"action":"allow","x":"{}"}}"#, "x".repeat(2000)))),
            ", max_answer: 1KiB",
        ),
    ];
    for (outcome, say, more) in failures {
        let guard = match say {
            Some(say) => Some(Guard::saying(say).await),
            None => None,
        };
        let url = guard.as_ref().map_or_else(nobody, Guard::url);
        for (on_error, status) in [("closed", 503), ("open", 200)] {
            let line = format!("{{name: rules, kind: webhook, url: '{url}', on_error: {on_error}{more}}}");
            let line =
                if more.contains("timeout") { line } else { line.replace("kind:", "timeout: 60s, kind:") };
            let gate = gate(&[line], "");
            let reply = gate.ask("Hello there").await;
            assert_eq!(reply.status, status, "{outcome}: {:?}", reply.body);
            assert_eq!(gate.primary.count(), usize::from(status == 200));
            let counted = format!(
                "sluice_external_guard_calls_total{{guard=\"rules\",phase=\"input\",outcome=\"{outcome}\"}} 1"
            );
            assert!(gate.metrics().await.lines().any(|line| line == counted), "{counted}");
            if status == 503 {
                let error = reply.error();
                assert_eq!(code(&error), ("server_error", "guardrail_unavailable"));
                assert!(error["message"].as_str().unwrap().contains("'rules'"));
            }
        }
    }
    assert_eq!(elsewhere.count(), 0);
}

#[tokio::test]
async fn a_guard_that_keeps_failing_is_left_alone_and_tried_again_by_one() {
    let guard = Guard::saying(Say::Status(500, &[], String::new())).await;
    let breaker = ", on_error: open, breaker: {failures: 2, pause: 1h, max_pause: 1h}";
    let gate = gate(&[webhook("rules", &guard.url(), breaker)], "");
    for number in 0..4 {
        assert_eq!(gate.ask(&format!("Question {number}")).await.status, 200);
    }
    assert_eq!(guard.count(), 2);
    let counted =
        "sluice_external_guard_calls_total{guard=\"rules\",phase=\"input\",outcome=\"breaker_open\"} 2";
    assert!(gate.metrics().await.lines().any(|line| line == counted));

    let guard = Guard::saying(Say::Status(500, &[], String::new())).await;
    let breaker = ", breaker: {failures: 1, pause: 1ms, max_pause: 1ms}";
    let gate = self::gate(&[webhook("rules", &guard.url(), breaker)], "");
    assert_eq!(gate.ask("Hello").await.status, 503);
    guard.answer_by(|_| Say::Json(json!({ "action": "allow" })));
    while gate.ask("Hello").await.status != 200 {}
    assert_eq!(guard.count(), 2, "nobody waited for it meanwhile");
}

#[tokio::test]
async fn guards_are_asked_at_the_same_time_and_the_first_refusal_ends_it() {
    let barrier = Arc::new(Barrier::new(2));
    let allow = json!({ "action": "allow" });
    let one = Guard::saying(Say::Together(Arc::clone(&barrier), allow.clone())).await;
    let two = Guard::saying(Say::Together(barrier, allow)).await;
    let both = gate(&[webhook("one", &one.url(), ""), webhook("two", &two.url(), "")], "");
    assert_eq!(both.ask("Hello").await.status, 200);

    let (slow, quick) =
        (Guard::saying(Say::Hang).await, Guard::saying(Say::Json(json!({ "action": "block" }))).await);
    let gate = gate(&[webhook("slow", &slow.url(), ""), webhook("quick", &quick.url(), "")], "");
    let reply = gate.ask("Hello").await;
    assert_eq!((reply.status, code(&reply.error())), (400, ("guardrail_blocked", "webhook_blocked")));
}

#[tokio::test]
async fn a_request_that_is_refused_now_is_not_answered_from_the_cache() {
    let guard = Guard::saying(Say::Json(json!({ "action": "allow" }))).await;
    let gate = gate(&[webhook("rules", &guard.url(), "")], "");
    let outcomes: Vec<String> = vec![
        gate.ask("What is a gateway?").await.header("x-sluice-cache").to_owned(),
        gate.ask("What is a gateway?").await.header("x-sluice-cache").to_owned(),
        gate.ask("What is a gateway?").await.header("x-sluice-cache").to_owned(),
    ];
    assert_eq!((outcomes, guard.count()), (vec!["miss".to_owned(), "hit".to_owned(), "hit".to_owned()], 3));
    guard.answer_by(|_| Say::Json(json!({ "action": "block" })));
    assert_eq!(gate.ask("What is a gateway?").await.status, 400);
    assert_eq!(gate.primary.count(), 1);
}

#[tokio::test]
async fn every_decision_is_in_the_audit_log_and_never_what_it_was_about() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.jsonl");
    let (names, house) = (analyzer().await, moderation().await);
    let gate = {
        let audit = format!("audit: {{path: '{}'}}\n", path.display());
        let mut gate = gate(
            &[
                format!("{{name: names, kind: presidio, url: '{}', timeout: 60s}}", names.url()),
                format!("{{name: house, kind: openai_moderation, url: '{}', timeout: 60s}}", house.url()),
                webhook("gone", &nobody(), ", on_error: open"),
            ],
            &audit,
        );
        assert_eq!(gate.ask(&format!("{NAME} likes trees.")).await.status, 200);
        gate.stop().await.unwrap();
        gate
    };
    drop(gate);
    let text = std::fs::read_to_string(&path).unwrap();
    let mut told: Vec<String> = text
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .map(|event| event.get("event").cloned().unwrap_or(event))
        .filter(|event| event["detector"].is_string())
        .map(|event| {
            ["detector", "entity", "action"].map(|name| event[name].as_str().unwrap().to_owned()).join(" ")
        })
        .collect();
    told.sort();
    assert_eq!(
        told,
        [
            "external:gone connection skip",
            "external:house  allow",
            "external:names PERSON redact",
            "presidio PERSON tokenise",
        ]
    );
    assert!(!holds(text.as_bytes(), NAME) && !text.contains("Quill"));
}

#[tokio::test]
async fn an_answer_is_heard_whole_before_anybody_has_any_of_it() {
    let guard = moderation().await;
    let line = format!(
        "{{name: house, kind: openai_moderation, url: '{}', phase: [output], timeout: 60s}}",
        guard.url()
    );
    let gate = gate(&[line], "");
    for stream in [false, true] {
        gate.primary.script(script("reply: {answer: 'Take the axe and go.', chunk_chars: 4}"));
        let asked = streamed(question("What do I take?"), stream);
        let refused = gate.client.chat(&asked).await;
        assert!(!holds(&refused.body, "Take") && !holds(&refused.body, "axe and"));
        let error = if stream { refused.events().last().unwrap()["error"].clone() } else { refused.error() };
        assert_eq!(code(&error), ("guardrail_blocked", "moderation_flagged"));
        assert_eq!(error["message"], "the guard 'house' refused the answer (violence)");
        gate.primary.script(script("reply: {answer: 'Take the [EMAIL_ADDRESS_1] spoon.', chunk_chars: 4}"));
        let asked = streamed(question(&format!("What do I take to {EMAIL}?")), stream);
        let reply = gate.client.chat(&asked).await;
        assert_eq!((reply.status, reply.text()), (200, format!("Take the {EMAIL} spoon.")));
        // What was stored was heard.
        let (before, again) = (guard.heard().len(), gate.client.chat(&asked).await);
        assert_eq!((again.cache().as_str(), guard.heard().len()), ("hit exact", before));
    }
    let heard = guard.heard();
    assert_eq!(heard[0].json()["input"], json!(["Take the axe and go."]));
    assert!(heard.iter().all(|heard| !holds(&heard.body, EMAIL)));
    gate.until("sluice_external_guard_calls_total{guard=\"house\",phase=\"output\",outcome=\"block\"} 2")
        .await;
}

#[tokio::test]
async fn names_that_others_find_in_an_answer_are_masked_and_a_guard_that_fails_decides_as_it_says() {
    let guard = analyzer().await;
    let line = |url: &str, more: &str| {
        format!("{{name: names, kind: presidio, url: '{url}', phase: [input, output], timeout: 60s{more}}}")
    };
    let masking = gate(&[line(&guard.url(), "")], "");
    masking.primary.script(script(&format!("reply: {{answer: 'Ask {NAME}, dear [PERSON_1].'}}")));
    let reply = masking.ask(&format!("I am not {NAME}")).await;
    // The first is the caller's own name, whoever wrote it.
    assert_eq!(reply.text(), format!("Ask {NAME}, dear {NAME}."));
    let reply = masking.ask("Whom do I ask?").await;
    assert_eq!(reply.text(), "Ask [REDACTED_PERSON], dear [PERSON_1].");
    for (on_error, status) in [("open", 200), ("closed", 503)] {
        let line = format!(
            "{{name: names, kind: webhook, url: '{}', phase: [output], on_error: {on_error}}}",
            nobody()
        );
        let failing = gate(&[line], "");
        let reply = failing.ask("Hello").await;
        assert_eq!(reply.status, status, "A12: {on_error}");
        let counted =
            r#"sluice_external_guard_calls_total{guard="names",phase="output",outcome="connection"} 1"#;
        failing.until(counted).await;
    }
}
