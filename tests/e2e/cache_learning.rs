//! `policy: calibrated`: what is served by similarity is learnt from fresh answers and from what users say.

use serde_json::json;
use sluice_tests::{Gate, Reply, script};

/// Ways to ask one thing.
const WAYS: [&str; 10] = [
    "How do I reset my password?",
    "How can I reset my password?",
    "How do I reset the password?",
    "How to reset my password?",
    "How can I reset the password?",
    "How would I reset my password?",
    "How do you reset a password?",
    "How can one reset a password?",
    "How might I reset my password?",
    "How do I go about resetting my password?",
];
const ONE_ANSWER: &str = "reply: {answer: 'Choose Forgotten password on the login page.'}";

async fn judge(gate: &Gate, id: &str, verdict: &str) -> Reply {
    let body = json!({ "id": id, "verdict": verdict }).to_string();
    gate.client.post("/v1/cache/feedback", body).await
}

#[tokio::test]
async fn an_answer_that_many_near_questions_had_is_served_to_the_next_and_users_may_judge_it() {
    let gate = Gate::with_weights("cache: {policy: calibrated, max_false_hit_rate: 0.05}");
    gate.primary.script(script(ONE_ANSWER));
    let mut hit = None;
    for way in WAYS {
        let reply = gate.ask(way).await;
        assert_eq!(
            (reply.status, reply.text().as_str()),
            (200, "Choose Forgotten password on the login page.")
        );
        hit = hit.or_else(|| (reply.cache() == "hit semantic").then_some(reply));
    }
    let hit = hit.expect("one of ten was served by similarity");
    let confidence: f32 = hit.header("x-sluice-cache-confidence").parse().unwrap();
    assert!((0.5..=1.0).contains(&confidence), "{confidence}");

    let id = hit.header("x-sluice-cache-id");
    assert_eq!(judge(&gate, &format!("{id}0"), "right").await.status, 404, "the seal is another's");
    let judged = judge(&gate, id, "wrong").await;
    assert_eq!((judged.status, &judged.json()["verdict"]), (200, &json!("wrong")));
    let again = judge(&gate, id, "right").await;
    assert_eq!((again.status, &again.error()["code"]), (404, &json!("hit_not_found")));
}

#[tokio::test]
async fn in_the_shadow_nothing_is_served_by_similarity_and_fresh_answers_are_compared() {
    let gate = Gate::with_weights("cache: {policy: calibrated, shadow: always}");
    gate.primary.script(script(ONE_ANSWER));
    for way in WAYS {
        assert_eq!(gate.ask(way).await.cache(), "miss");
    }
    assert_eq!(gate.primary.count(), WAYS.len());
    assert!(gate.metrics().await.contains(r#"sluice_cache_labels_total{verdict="right"} 9"#));

    // Another answer to a near question is another answer, which takes the answers' vectors to tell.
    gate.primary.script(script("reply: {answer: 'The parking garage is open around the clock.'}"));
    assert_eq!(gate.ask("How does one reset my password?").await.cache(), "miss");
    while !gate.metrics().await.contains(r#"sluice_cache_labels_total{verdict="wrong"} 1"#) {
        tokio::task::yield_now().await;
    }
    assert_eq!(gate.ask("How does one reset my password?").await.cache(), "hit exact");
}

#[tokio::test]
async fn feedback_that_makes_no_sense_is_refused_by_name() {
    let gate = Gate::with("");
    for (body, status, param) in [
        (json!({ "id": "hit_1_x", "verdict": "right" }), 404, json!(null)),
        (json!({ "id": "hit_1_x", "verdict": "maybe" }), 400, json!("verdict")),
        (json!({ "verdict": "right" }), 400, json!("id")),
        (json!({ "id": "hit_1_x", "verdict": "right", "why": "so" }), 400, json!("why")),
    ] {
        let reply = gate.client.post("/v1/cache/feedback", body.to_string()).await;
        assert_eq!((reply.status, &reply.error()["param"]), (status, &param), "{body}");
    }
    assert_eq!(gate.client.get("/v1/cache/feedback").await.status, 405);
    let wrong = gate.client.with("x-sluice-cache", "off").post("/v1/cache/feedback", "[]").await;
    assert_eq!(wrong.status, 400);
}
