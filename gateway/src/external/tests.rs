//! What is sent to each kind and what its answers mean, as plain functions.

use super::*;
use crate::config::{Config, parse};
use serde_json::json;

fn external(yaml: &str) -> Result<External, Vec<String>> {
    let config: Config = parse(&format!("guardrails:\n  external:\n{yaml}"), "f").unwrap();
    External::build(&config.guardrails.external, &|name| {
        (name == "KEY").then(|| "0123456789abcdef".to_owned())
    })
}

fn question(texts: &[(&str, bool)]) -> Question {
    let passages = texts.iter().map(|(text, is_name)| Passage {
        field: "messages[0].content".to_owned(),
        channel: "user",
        is_name: *is_name,
        text: (*text).to_owned(),
    });
    let named = |name: &str| name.to_owned();
    let subject = Subject {
        request_id: named("r1"),
        tenant: named("t"),
        key: named("k"),
        route: named("chat"),
        model: named("p/m"),
        policy: named("sha"),
    };
    Question {
        phase: Phase::Input,
        subject: Arc::new(subject),
        passages: passages.collect(),
        metadata: json!({ "a": 1 }),
        secured: None,
    }
}

fn section(yaml: &str) -> ExternalSection {
    let config: Config = parse(&format!("guardrails: {{external: [{yaml}]}}"), "f").unwrap();
    config.guardrails.external[0].clone()
}

#[test]
fn the_analyzer_is_asked_for_each_text_once_and_never_for_names() {
    let analyzer = Analyzer::new(&section("{name: p, kind: presidio, url: 'http://h', language: de}"));
    let question = question(&[("Zoe", false), ("get_zoe", true), ("Zoe", false), ("Quill", false)]);
    assert_eq!(
        analyzer.encode(&question),
        json!({"text": ["Zoe", "Quill"], "language": "de", "entities": ["PERSON", "LOCATION", "NRP"], "score_threshold": 0.5})
    );
    assert_eq!(presidio::address("http://h:3000/"), "http://h:3000/analyze");
    assert_eq!(presidio::address("http://h/analyze"), "http://h/analyze");
}

#[test]
fn places_of_findings_are_code_points_and_become_bytes() {
    let analyzer = Analyzer::new(&section("{name: p, kind: presidio, url: 'http://h'}"));
    let question = question(&[("né 😀 Zoë!", false), ("plain", false)]);
    let found = |entity: &str, start: usize, end: usize, score: f64| json!({ "entity_type": entity, "start": start, "end": end, "score": score, "analysis_explanation": null });
    let all = [found("PERSON", 5, 8, 0.85), found("PERSON", 0, 2, 0.2), found("URL", 0, 2, 0.9)];
    let answer = json!([all, []]).to_string();
    let Ok(Verdict::Found(found_there)) = analyzer.decode(answer.as_bytes(), &question) else {
        panic!("findings")
    };
    let (text, findings) = found_there.iter().next().unwrap();
    assert_eq!((found_there.len(), findings.len()), (1, 1), "of what was asked for, and likely enough");
    assert_eq!((&text[findings[0].span.clone()], findings[0].entity), ("Zoë", "PERSON"));
    for answer in [
        json!([[found("PERSON", 5, 9 + 1, 0.9)], []]),
        json!([[found("PERSON", 3, 3, 0.9)], []]),
        json!([[]]),
        json!({ "error": "no" }),
        json!([[{ "entity_type": "PERSON", "start": -1, "end": 2, "score": 1 }], []]),
    ] {
        let read = analyzer.decode(answer.to_string().as_bytes(), &question);
        assert!(matches!(read, Err(Failure::Malformed(_))), "{answer}");
    }
    assert!(matches!(analyzer.decode(b"[[],[]]", &question), Ok(Verdict::Allow)));
}

#[test]
fn a_moderation_flags_by_the_model_or_by_thresholds_of_one_s_own() {
    let question = question(&[("a", false), ("b", false)]);
    let judged = |flagged: bool, violence: f64| {
        json!({
            "flagged": flagged,
            "categories": { "violence": flagged, "hate": false, "illicit": null },
            "category_scores": { "violence": violence, "hate": 0.3, "illicit": null },
        })
    };
    let answer = |second: Value| json!({ "results": [judged(false, 0.0), second] }).to_string();
    let what = |yaml: &str, second: Value| {
        let yaml = format!("{{name: m, kind: openai_moderation{yaml}}}");
        match Moderation::new(&section(&yaml)).decode(answer(second).as_bytes(), &question) {
            Ok(Verdict::Refused(refusal)) => refusal.what.join(","),
            Ok(_) => "allow".to_owned(),
            Err(_) => "malformed".to_owned(),
        }
    };
    assert_eq!(what("", judged(true, 0.6)), "violence");
    assert_eq!(what("", judged(false, 0.99)), "allow");
    assert_eq!(what(", categories: {violence: 0.8}", judged(true, 0.6)), "allow");
    assert_eq!(what(", categories: {violence: 0.8}", judged(false, 0.8)), "violence");
    assert_eq!(what(", categories: {hate: 0.2}", judged(true, 0.6)), "hate,violence");
    assert_eq!(
        what(", categories: {violance: 0.2}", judged(true, 0.6)),
        "malformed",
        "nothing is never checked"
    );
    assert_eq!(what("", json!({ "flagged": true })), "flagged");
    assert_eq!(what("", json!({ "categories": {} })), "malformed");
    let moderation = Moderation::new(&section("{name: m, kind: openai_moderation}"));
    assert_eq!(moderation.encode(&question), json!({"model": "omni-moderation-latest", "input": ["a", "b"]}));
    let one = json!({ "results": [judged(true, 1.0)] }).to_string();
    assert!(moderation.decode(one.as_bytes(), &question).is_err(), "a text without a result");
}

#[test]
fn a_webhook_gets_who_asks_and_every_text_and_says_one_of_three_things() {
    let question = question(&[("a", false), ("b", true)]);
    assert_eq!(
        webhook::encode(&question),
        json!({
            "phase": "input", "request_id": "r1", "tenant": "t", "key": "k", "route": "chat", "model": "p/m",
            "texts": [
                { "field": "messages[0].content", "channel": "user", "text": "a" },
                { "field": "messages[0].content", "channel": "user", "text": "b" },
            ],
            "metadata": { "a": 1 },
        })
    );
    let read = |answer: Value| webhook::decode(answer.to_string().as_bytes(), &question);
    assert!(matches!(read(json!({ "action": "allow", "new": 1 })), Ok(Verdict::Allow)));
    let Ok(Verdict::Refused(refusal)) =
        read(json!({ "action": "block", "code": "policy_42", "reason": "no" }))
    else {
        panic!("a refusal")
    };
    assert_eq!((refusal.code.as_deref(), refusal.reason.as_deref()), (Some("policy_42"), Some("no")));
    let Ok(Verdict::Refused(refusal)) = read(json!({ "action": "block", "code": "a sentence, no code" }))
    else {
        panic!("a refusal")
    };
    assert_eq!((refusal.code, refusal.what.len()), (None, 0));
    let Ok(Verdict::Rewritten(new)) = read(json!({ "action": "redact", "texts": [null, "x"] })) else {
        panic!("texts")
    };
    assert_eq!(new, HashMap::from([("b".to_owned(), "x".to_owned())]));
    assert!(matches!(read(json!({ "action": "redact", "texts": ["a", "b"] })), Ok(Verdict::Allow)));
    for answer in [
        json!({}),
        json!({ "action": "maybe" }),
        json!({ "action": "redact" }),
        json!({ "action": "redact", "texts": ["x"] }),
    ] {
        assert!(matches!(read(answer.clone()), Err(Failure::Malformed(_))), "{answer}");
    }
}

#[test]
fn a_signature_is_the_hmac_of_time_and_body() {
    // echo -n '1700000000.{"a":1}' | openssl dgst -sha256 -hmac 0123456789abcdef
    let mac = "9eb18f493f8ec135d9eb2dad817c369bb4e9cbfa818657897a7437c1cd8c3a23";
    let webhook = Webhook::new(Some(Secret::new("0123456789abcdef".to_owned()))).unwrap();
    let [(_, time), (name, signature)] = webhook.sign(1_700_000_000, br#"{"a":1}"#).unwrap();
    assert_eq!((time.to_str().unwrap(), name.as_str()), ("1700000000", "x-sluice-signature"));
    assert_eq!(signature.to_str().unwrap(), format!("sha256={mac}"));
    assert!(Webhook::default().sign(1, b"{}").is_none());
    assert!(Webhook::new(Some(Secret::new("short".to_owned()))).is_err());
}

#[test]
fn what_changes_a_request_comes_before_what_judges_it_and_webhooks_one_after_the_other() {
    let external = external(
        "    - {name: judge, kind: webhook, url: 'http://h/1'}
    - {name: names, kind: presidio, url: 'http://h'}
    - {name: write1, kind: webhook, url: 'http://h/2', mode: redact}
    - {name: write2, kind: webhook, url: 'http://h/3', mode: redact}
    - {name: report, kind: presidio, url: 'http://h', mode: report}
    - {name: moderation, kind: openai_moderation, api_key: env:KEY}\n",
    );
    let external = external.ok().unwrap();
    let stages = external.stages(Phase::Input);
    let names: Vec<Vec<&str>> =
        stages.iter().map(|stage| stage.iter().map(|guard| guard.name.as_str()).collect()).collect();
    assert_eq!(names, [vec!["write1"], vec!["write2"], vec!["names"], vec!["judge", "report", "moderation"]]);
    assert!(external.is_asked(Phase::Input) && !external.sees_originals());
    assert!(!External::default().is_asked(Phase::Input));
}

#[test]
fn every_problem_of_every_guard_is_told_with_its_field() {
    let told = external(
        "    - {name: 'A b', kind: webhook, url: 'ftp://h', timeout: 0s, api_key: env:NONE, secret: env:NONE}
    - {name: x, kind: webhook, mode: redact, sees: original, phase: []}
    - {name: x, kind: openai_moderation, mode: redact, language: en, categories: {hate: 2}}
    - {name: y, kind: presidio, url: 'http://u@h', entities: [person], model: m, secret: env:KEY, score_threshold: 50}\n",
    );
    let told = told.err().unwrap().join("\n");
    for words in [
        "[0].name: ",
        "[0].url: ",
        "[0].timeout: ",
        "[0].api_key: the environment variable NONE",
        "[0].secret: the environment variable NONE",
        "[1].url: missing",
        "[1].sees: what was redacted leaves",
        "[1].sees: what it is to redact",
        "[1].phase: ",
        "[2].name: 'x' is taken",
        "[2].mode: ",
        "[2].language: only 'kind: presidio'",
        "[2].categories: expected a number",
        "[3].url: expected",
        "[3].entities: expected names",
        "[3].model: only",
        "[3].secret: only",
        "[3].score_threshold: ",
    ] {
        assert!(told.contains(&format!("guardrails.external{words}")), "{words} in\n{told}");
    }
}

#[tokio::test]
async fn nothing_that_was_redacted_is_sent_to_a_guard_whatever_field_it_stands_in() {
    let external = external(
        "    - {name: a, kind: webhook, url: 'http://h/1'}
    - {name: b, kind: presidio, url: 'http://h'}
    - {name: c, kind: openai_moderation, url: 'http://h'}\n",
    );
    let external = external.ok().unwrap();
    let mut vault = sluice_guardrails::Vault::new();
    let guard = sluice_guardrails::Guard::new(&sluice_guardrails::Policy::default());
    vault.redact(&guard, "Zoe's mail is zoe@example.org, her SSN 536-22-8143.").unwrap();
    let asked = |text: &str| {
        let mut question = question(&[("[EMAIL_ADDRESS_1]", false), (text, false)]);
        let secured = Secured {
            proof: vault.proof(),
            in_house: None,
            kept: Vec::new(),
            subject: Arc::clone(&question.subject),
        };
        question.secured = Some(Arc::new(secured));
        Arc::new(question)
    };
    for guard in &external.guards {
        for (text, leaks) in [
            ("It is zoe@example.org", true),
            ("zoe%40example.org", true),
            ("536228143", true),
            ("Nothing of it: [US_SSN_1]", false),
        ] {
            let made = guard.outgoing(&asked(text)).await;
            assert_eq!(matches!(made, Err(Failure::Leak(_))), leaks, "{} {text}", guard.name);
        }
    }
    let mut question = question(&[]);
    question.metadata = json!({ "field": "zoe@example.org", "key": { "zoe@example.org": 1 } });
    let secured = Secured {
        proof: vault.proof(),
        in_house: None,
        kept: Vec::new(),
        subject: Arc::clone(&question.subject),
    };
    question.secured = Some(Arc::new(secured));
    assert!(matches!(external.guards[0].outgoing(&Arc::new(question)).await, Err(Failure::Leak(_))));
}
