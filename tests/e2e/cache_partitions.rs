//! What must be equal before two requests share an answer.

use serde_json::{Value, json};
use sluice_tests::Gate;

const TEXT: &str = "What is the daily limit?";

/// A request with a little of everything.
fn base() -> Value {
    json!({
        "model": "chat",
        "temperature": 0.2,
        "tools": [{ "type": "function", "function": { "name": "limit", "parameters": { "type": "object" } } }],
        "response_format": { "type": "text" },
        "messages": [
            { "role": "system", "content": "You work for a bank." },
            { "role": "user", "content": "Hello" },
            { "role": "assistant", "content": "Good morning" },
            { "role": "user", "content": TEXT },
        ],
    })
}

fn changed(change: impl FnOnce(&mut Value)) -> Value {
    let mut body = base();
    change(&mut body);
    body
}

#[tokio::test]
async fn whatever_may_change_the_answer_separates() {
    let gate = Gate::with("");
    assert_eq!(gate.client.chat(&base()).await.cache(), "miss");
    let others = [
        ("system prompt", changed(|b| b["messages"][0]["content"] = json!("You work for a shop."))),
        ("no system prompt", changed(|b| drop(b["messages"].as_array_mut().unwrap().remove(0)))),
        ("earlier user turn", changed(|b| b["messages"][1]["content"] = json!("Hi"))),
        ("earlier answer", changed(|b| b["messages"][2]["content"] = json!("Good evening"))),
        (
            "an image in an earlier turn",
            changed(|b| {
                b["messages"][1]["content"] =
                    json!([{ "type": "image_url", "image_url": { "url": "https://example.org/a" } }]);
            }),
        ),
        ("temperature", changed(|b| b["temperature"] = json!(0.3))),
        ("no temperature", changed(|b| drop(b.as_object_mut().unwrap().remove("temperature")))),
        ("tool set", changed(|b| b["tools"][0]["function"]["name"] = json!("limits"))),
        ("tool choice", changed(|b| b["tool_choice"] = json!("none"))),
        ("response format", changed(|b| b["response_format"] = json!({ "type": "json_object" }))),
        ("seed", changed(|b| b["seed"] = json!(7))),
        ("length", changed(|b| b["max_tokens"] = json!(7))),
        ("a field we do not know", changed(|b| b["x_new_knob"] = json!(true))),
        ("the name of who speaks", changed(|b| b["messages"][3]["name"] = json!("ann"))),
        ("model", changed(|b| b["model"] = json!("primary/model-c"))),
        ("the same model by another name", changed(|b| b["model"] = json!("primary/model-a"))),
    ];
    for (what, body) in &others {
        assert_eq!(gate.client.chat(body).await.cache(), "miss", "{what}");
    }
    for body in others.iter().map(|(_, body)| body).chain([&base()]) {
        assert_eq!(gate.client.chat(body).await.cache(), "hit exact", "each keeps its own answer");
    }
}

#[tokio::test]
async fn who_asks_and_how_the_answer_travels_does_not_separate() {
    let gate = Gate::with("");
    gate.client.chat(&base()).await;
    let same = [
        changed(|b| b["user"] = json!("u-7")),
        changed(|b| b["metadata"] = json!({ "ticket": "7" })),
        changed(|b| b["seed"] = Value::Null),
        changed(|b| b["stream"] = json!(true)),
        changed(|b| b["messages"][3]["content"] = json!([{ "type": "text", "text": TEXT }])),
        changed(|b| {
            let fields = b.as_object_mut().unwrap();
            let model = fields.shift_remove("model").unwrap();
            fields.insert("model".to_owned(), model);
        }),
    ];
    for body in same {
        assert_eq!(gate.client.chat(&body).await.cache(), "hit exact", "{body}");
    }
    assert_eq!(gate.primary.count(), 1);
}

#[tokio::test]
async fn a_near_question_is_found_only_among_its_own_kind() {
    let gate = Gate::with("");
    // With tools, or with less to say than this in a conversation, likeness would not be asked at all.
    let asking = |mut body: Value, text: &str| {
        body.as_object_mut().unwrap().remove("tools");
        body["messages"][3]["content"] = json!(text);
        body
    };
    gate.client.chat(&asking(base(), "What is the daily limit of the silver card?")).await;
    // The same words in another order: as near as can be for this embedding model.
    let near = |body: Value| asking(body, "the daily limit of the silver card is what?");
    assert_eq!(gate.client.chat(&near(changed(|b| b["temperature"] = json!(1)))).await.cache(), "miss");
    let other = near(changed(|b| b["messages"][0]["content"] = json!("You work for a shop.")));
    assert_eq!(gate.client.chat(&other).await.cache(), "miss");
    assert_eq!(gate.client.chat(&near(base())).await.cache(), "hit semantic");
}

#[tokio::test]
async fn tenants_share_nothing_and_keys_of_one_tenant_share_all() {
    let gate = Gate::with(
        "keys:\n  - {name: a, secret: 'env:TEST_A'}\n  - {name: b, secret: 'env:TEST_B', tenant: support}\n  \
         - {name: c, secret: 'env:TEST_C', tenant: support}\n  - {name: support, secret: 'env:TEST_D'}",
    );
    let ask = |key: &str| {
        let client = gate.key(key);
        async move { client.chat(&base()).await.cache() }
    };
    assert_eq!(ask("TEST_A").await, "miss");
    assert_eq!(ask("TEST_B").await, "miss");
    assert_eq!(ask("TEST_C").await, "hit exact");
    assert_eq!(ask("TEST_D").await, "miss", "a key's own name is no way into a tenant");
    assert_eq!(ask("TEST_A").await, "hit exact");
}

#[tokio::test]
async fn several_choices_are_shared_only_by_the_same_question() {
    let gate = Gate::with("");
    let two = |text: &str| {
        changed(|b| {
            b["n"] = json!(2);
            b["messages"][3]["content"] = json!(text);
        })
    };
    gate.client.chat(&two(TEXT)).await;
    assert_eq!(gate.client.chat(&two("the daily limit is what?")).await.cache(), "miss");
    assert_eq!(gate.client.chat(&two(TEXT)).await.cache(), "hit exact");
}
