//! What Claude Code asks, told in our own words: a title from a small model, a turn that reads a file, counts, and a look whether
//! anybody is at home. Before Claude nothing of it is lost, before a provider of OpenAI's format it works.

use http::Method;
use serde_json::{Value, json};
use sluice_tests::guard::Heard;
use sluice_tests::{Client, Gate, Guard as Provider, Reply, Say};

use crate::anthropic::{EVENTS, JSON, events_of, input, message, spelled, text};

const BETAS: &str = "claude-code-20250219,interleaved-thinking-2025-05-14,context-management-2025-06-27,prompt-caching-scope-2026-01-05";
const THOUGHT: &str = "I have to look into the file.";
const FILE: &str = "The colour is teal. Ask zoe.quill@example.org.";

/// A signature as long as they are.
fn signature() -> String {
    "EqQBCkYIBxgCKkB1z4716221051885662Zp/".repeat(4)
}

/// Answers a title by a title, reads the file in a first turn, and says in the second what was in it.
fn plays_claude(heard: &Heard) -> Say {
    let asked = heard.json();
    if heard.path.ends_with("/count_tokens") {
        return Say::Status(200, JSON, json!({ "input_tokens": 42 }).to_string());
    }
    let last =
        asked["messages"].as_array().unwrap().iter().rfind(|message| message["role"] == "user").unwrap();
    let given = last["content"]
        .as_array()
        .and_then(|blocks| blocks.iter().find(|block| block["type"] == "tool_result"));
    let mut told = if !asked["output_config"].is_null() {
        message(json!([{ "type": "text", "text": "{\"title\":\"A colour\"}" }]))
    } else if let Some(result) = given {
        message(
            json!([{ "type": "text", "text": format!("It says: {}", result["content"].as_str().unwrap()) }]),
        )
    } else {
        message(json!([
            { "type": "thinking", "thinking": THOUGHT, "signature": signature() },
            { "type": "text", "text": "I look." },
            { "type": "tool_use", "id": "toolu_1", "name": "Read", "input": { "file_path": "/srv/note.txt" } },
        ]))
    };
    told["model"] = asked["model"].clone();
    Say::Status(200, EVENTS, spelled(&events_of(&told)))
}

fn gate(provider: &Provider) -> Gate {
    let url = provider.url().replace("/guard", "/v1");
    Gate::start(&format!(
        "
keys: [{{name: dev, secret: 'env:TEST_DEV'}}]
providers:
  anthropic: {{kind: anthropic, base_url: '{url}', api_key: 'env:TEST_CLAUDE'}}
  primary: {{kind: mock, base_url: '{{primary}}'}}
routes: [{{model: work, targets: [primary/model-a]}}]
retry: {{rounds: 0}}
cache: {{enabled: false}}
"
    ))
}

/// The headers that it sends, those of its library among them.
fn claude_code(gate: &Gate) -> Client {
    let headers = [
        ("authorization", "Bearer sk-test-dev"),
        ("anthropic-version", "2023-06-01"),
        ("anthropic-beta", BETAS),
        ("anthropic-dangerous-direct-browser-access", "true"),
        ("content-type", "application/json"),
        ("x-app", "cli"),
        ("x-stainless-lang", "js"),
        ("x-stainless-retry-count", "0"),
        ("x-stainless-timeout", "600"),
    ];
    headers.iter().fold(gate.client.clone(), |client, (name, value)| client.with(name, value))
}

fn block(text: &str) -> Value {
    json!({ "type": "text", "text": text, "cache_control": { "type": "ephemeral" } })
}

fn title(model: &str) -> Value {
    let schema = json!({ "type": "object", "properties": { "title": { "type": "string" } }, "required": ["title"], "additionalProperties": false });
    json!({ "model": model, "max_tokens": 32000, "temperature": 1, "stream": true, "tools": [],
        "thinking": { "type": "disabled" }, "metadata": { "user_id": "{\"session_id\":\"s-1\"}" },
        "output_config": { "format": { "type": "json_schema", "schema": schema } },
        "system": [{ "type": "text", "text": "You name conversations." }],
        "messages": [{ "role": "user", "content": [{ "type": "text", "text": "Which colour is in the note?" }] }] })
}

fn turn(model: &str) -> Value {
    let read = json!({ "type": "object", "properties": { "file_path": { "type": "string" } }, "required": ["file_path"] });
    json!({ "model": model, "max_tokens": 32000, "stream": true,
        "thinking": { "type": "enabled", "budget_tokens": 31999 }, "metadata": { "user_id": "{\"session_id\":\"s-1\"}" },
        "context_management": { "edits": [{ "type": "clear_thinking_20251015", "keep": "all" }] },
        "system": [{ "type": "text", "text": "x-billing: none" }, block("You help with programs.")],
        "tools": [{ "name": "Read", "description": "Reads a file.", "input_schema": read }],
        "messages": [{ "role": "user", "content": [{ "type": "text", "text": "<reminder>It is Monday.</reminder>" }, block("Which colour is in the note?")] }] })
}

/// The second turn, as it follows from the answer to the first.
fn second(model: &str, first: &Reply) -> Value {
    let mut asked = turn(model);
    let mut said: Vec<Value> = Vec::new();
    for event in first.events() {
        let at = usize::try_from(event["index"].as_u64().unwrap_or_default()).unwrap();
        match event["type"].as_str().unwrap() {
            "content_block_start" => said.push(event["content_block"].clone()),
            "content_block_delta" => {
                for (name, piece) in
                    ["text", "thinking", "signature"].map(|name| (name, event["delta"][name].as_str()))
                {
                    if let Some(piece) = piece {
                        said[at][name] =
                            json!(said[at][name].as_str().unwrap_or_default().to_owned() + piece);
                    }
                }
            }
            _ => {}
        }
    }
    let call = said.iter_mut().find(|block| block["type"] == "tool_use").unwrap();
    call["input"] = input(first);
    let result = json!({ "type": "tool_result", "tool_use_id": call["id"], "content": FILE, "cache_control": { "type": "ephemeral" } });
    let messages = asked["messages"].as_array_mut().unwrap();
    messages.push(json!({ "role": "assistant", "content": said }));
    messages.push(json!({ "role": "user", "content": [result] }));
    messages.push(json!({ "role": "system", "content": "<reminder>Be brief.</reminder>" }));
    asked
}

/// The name by which the answer calls the model: what another one thought Claude Code does not give back.
fn called(reply: &Reply) -> Value {
    reply.events().iter().find(|event| event["type"] == "message_start").unwrap()["message"]["model"].clone()
}

#[tokio::test]
async fn before_claude_nothing_of_it_is_lost_by_whatever_name_the_model_is_asked_for() {
    let provider = Provider::hearing(plays_claude).await;
    let gate = gate(&provider);
    let client = claude_code(&gate);
    // With the provider's name, by the vendor's own name, and by the provider's own API.
    for (path, model) in [
        ("/v1/messages?beta=true", "anthropic/claude-sonnet-5"),
        ("/v1/messages?beta=true", "claude-sonnet-5"),
        ("/anthropic/v1/messages?beta=true", "claude-sonnet-5"),
    ] {
        let first = client.post(path, turn(model).to_string()).await;
        assert_eq!(
            (text(&first).as_str(), input(&first)["file_path"].as_str()),
            ("I look.", Some("/srv/note.txt"))
        );
        assert_eq!(called(&first), model, "{path}");
        let heard = provider.heard().pop().unwrap();
        assert_eq!(heard.headers["anthropic-beta"], BETAS);
        assert!(["x-app", "x-stainless-lang"].iter().all(|name| !heard.headers.contains_key(*name)));
        let mut wanted = turn(model);
        wanted["model"] = json!("claude-sonnet-5");
        assert_eq!(heard.json(), wanted, "{path}");
        let asked = second(model, &first);
        assert_eq!(asked["messages"][1]["content"][0]["signature"], signature());
        let answer = client.post(path, asked.to_string()).await;
        assert_eq!(text(&answer), format!("It says: {FILE}"));
        let heard = provider.heard().pop().unwrap().json();
        assert_eq!(heard["messages"][1], asked["messages"][1], "what it thought goes back as it came");
        assert!(!heard["messages"][2].to_string().contains("zoe.quill"));
        let counted = path.replace("messages", "messages/count_tokens");
        let count = json!({ "model": model, "messages": asked["messages"], "tools": asked["tools"] });
        assert_eq!(
            client.post(&counted, count.to_string()).await.json(),
            json!({ "input_tokens": 42 }),
            "{counted}"
        );
    }
    let small = client.post("/v1/messages?beta=true", title("claude-haiku-4-5-20251001").to_string()).await;
    assert_eq!(text(&small), "{\"title\":\"A colour\"}");
    assert_eq!(provider.heard().pop().unwrap().json(), title("claude-haiku-4-5-20251001"));
}

#[tokio::test]
async fn before_another_format_a_turn_with_a_tool_and_a_title_work() {
    let gate = gate(&Provider::hearing(plays_claude).await);
    let client = claude_code(&gate);
    gate.primary.script(sluice_tests::script("rules:\n- {when: {contains: teal}, reply: {answer: 'It is teal.'}}\n- {when: {contains: json_schema}, reply: {answer: '{\"title\":\"A colour\"}'}}\n- {reply: {tool_call: {name: Read, arguments: '{\"file_path\": \"/srv/note.txt\"}'}}}"));
    let first = client.post("/v1/messages?beta=true", turn("work").to_string()).await;
    assert_eq!((input(&first), called(&first)), (json!({ "file_path": "/srv/note.txt" }), json!("work")));
    let answer = client.post("/v1/messages?beta=true", second("work", &first).to_string()).await;
    assert_eq!(text(&answer), "It is teal.");
    let seen: Value = serde_json::from_slice(&gate.primary.seen().last().unwrap().body).unwrap();
    let roles: Vec<&str> =
        seen["messages"].as_array().unwrap().iter().filter_map(|message| message["role"].as_str()).collect();
    assert_eq!(roles, ["system", "user", "assistant", "tool", "system"]);
    assert!(!seen.to_string().contains("zoe.quill"));
    let small = client.post("/v1/messages?beta=true", title("work").to_string()).await;
    assert_eq!(text(&small), "{\"title\":\"A colour\"}");
    let seen: Value = serde_json::from_slice(&gate.primary.seen().last().unwrap().body).unwrap();
    assert_eq!(seen["response_format"]["json_schema"]["schema"]["required"], json!(["title"]));
}

#[tokio::test]
async fn whoever_looks_whether_anybody_is_at_home_finds_somebody() {
    let gate = gate(&Provider::hearing(plays_claude).await);
    for path in ["/", "/health/live", "/health/ready"] {
        let reply = gate.client.send(Method::HEAD, path, "").await;
        assert_eq!((reply.status, reply.body.len()), (200, 0), "{path}");
    }
    assert_eq!(gate.client.get("/").await.json(), json!({ "status": "ok" }));
}
