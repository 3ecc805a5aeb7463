//! Which requests are answered by likeness, and which only by themselves or not for long.

use serde_json::{Value, json};
use sluice_tests::{Gate, question};

const FIRST: &str = "please tell me when your shop in town opens for visitors";
const NEAR: &str = "please tell me when your shop in town opens for guests";

/// Asks both, with these fields; gives what the cache did with the second, and why.
async fn near(gate: &Gate, fields: &Value) -> (String, String) {
    let ask = async |text: &str| {
        let mut body = question(text);
        for (name, value) in fields.as_object().unwrap() {
            body[name] = value.clone();
        }
        gate.client.chat(&body).await
    };
    ask(FIRST).await;
    assert_eq!(ask(FIRST).await.cache(), "hit exact", "{fields}");
    let reply = ask(NEAR).await;
    (reply.cache(), reply.header("x-sluice-cache-reason").to_owned())
}

#[tokio::test]
async fn likeness_answers_plain_questions_and_not_those_asked_for_variety_or_tools() {
    let gate = Gate::with("cache: {similarity: 0.5, max_temperature: 0.8}");
    let tools = json!([{ "type": "function", "function": { "name": "f" } }]);
    for (fields, expected, reason) in [
        (json!({}), "hit semantic", ""),
        (json!({ "temperature": 0.8 }), "hit semantic", ""),
        (json!({ "temperature": 0.9 }), "miss", "temperature"),
        (json!({ "n": 2 }), "miss", "several_choices"),
        (json!({ "tools": tools }), "miss", "tools"),
    ] {
        let told = near(&gate, &fields).await;
        assert_eq!((told.0.as_str(), told.1.as_str()), (expected, reason), "{fields}");
    }
    let metrics = gate.metrics().await;
    for reason in ["temperature", "several_choices", "tools"] {
        assert!(
            metrics.contains(&format!("sluice_cache_limited_total{{reason=\"{reason}\"}} 2")),
            "{metrics}"
        );
    }
}

#[tokio::test]
async fn a_follow_up_that_says_little_is_answered_by_itself_alone() {
    let gate = Gate::with("cache: {similarity: 0.1}");
    let after = |text: &str| {
        json!({ "model": "chat", "messages": [
            { "role": "user", "content": "Which shirts are there?" },
            { "role": "assistant", "content": "A blue and a green one." },
            { "role": "user", "content": text },
        ]})
    };
    gate.client.chat(&after("And the green one?")).await;
    let other = gate.client.chat(&after("And the blue one?")).await;
    assert_eq!((other.cache().as_str(), other.header("x-sluice-cache-reason")), ("miss", "needs_context"));
    assert_eq!(gate.client.chat(&after("and the green one")).await.cache(), "hit normalised");
    gate.client.chat(&after("Send the green shirt to our office in Trieste")).await;
    let near = gate.client.chat(&after("Send the green shirt to our office in Torino")).await;
    assert_eq!(near.cache(), "hit semantic");
}

#[tokio::test]
async fn an_answer_of_the_moment_is_kept_for_a_moment_or_not_at_all() {
    let weather = "What is the weather in Turin like?";
    let gate = Gate::with("");
    let first = gate.ask(weather).await;
    assert_eq!((first.cache().as_str(), first.header("x-sluice-cache-reason")), ("miss", "time_sensitive"));
    assert_eq!(gate.ask(weather).await.cache(), "hit exact", "it holds for a minute");
    let gate = Gate::with("cache: {time_sensitive: bypass}");
    for _ in 0..2 {
        let reply = gate.ask(weather).await;
        assert_eq!(
            (reply.cache().as_str(), reply.header("x-sluice-cache-reason")),
            ("bypass", "time_sensitive")
        );
    }
    assert_eq!(gate.ask("Where is Turin?").await.cache(), "miss");
    let gate = Gate::with("cache: {time_sensitive: as_any}");
    let reply = gate.ask(weather).await;
    assert_eq!((reply.cache().as_str(), reply.header("x-sluice-cache-reason")), ("miss", ""));
}

#[tokio::test]
async fn what_is_personal_is_not_answered_by_likeness_where_keys_share_a_tenant() {
    let keys = |tenant: &str| {
        format!(
            "cache: {{similarity: 0.5}}\nkeys: [{{name: a, secret: 'env:TEST_A', tenant: x}}, \
             {{name: b, secret: 'env:TEST_B', tenant: {tenant}}}]"
        )
    };
    let (first, near) =
        ("What is the balance of my account please", "What is the balance of my account today");
    let shared = Gate::with(&keys("x"));
    shared.key("TEST_A").chat(&question(first)).await;
    let other = shared.key("TEST_B").chat(&question(near)).await;
    assert_eq!((other.cache().as_str(), other.header("x-sluice-cache-reason")), ("miss", "personal"));
    let how =
        ["How do I close my account at the bank", "How do I close my account at your bank"].map(question);
    shared.key("TEST_A").chat(&how[0]).await;
    assert_eq!(shared.key("TEST_B").chat(&how[1]).await.cache(), "hit semantic");
    let own = Gate::with(&keys("y"));
    own.key("TEST_A").chat(&question(first)).await;
    assert_eq!(own.key("TEST_A").chat(&question(near)).await.cache(), "hit semantic");
}
