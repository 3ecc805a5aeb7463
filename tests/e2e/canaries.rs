//! A canary in every string leaf of every request that the gateway takes: it reaches no provider, no log, no metric and no
//! file. A new field of the API is a new line of [`CHAT`].

use std::fs;

use serde_json::{Map, Value, json};
use sluice_tests::leak::holds;
use sluice_tests::{Client, Gate, log, question, script, streamed};

/// Every string leaf of a chat request, as a path; numbers are places in lists. Left out are words of the protocol, which go
/// out as they are: `model`, and `role` and `type` where they are words.
const CHAT: &[&str] = &[
    "messages.0.content",
    "messages.0.name",
    "messages.1.content.0.text",
    "messages.2.content",
    "messages.2.name",
    "messages.3.content.0.text",
    "messages.3.content.1.image_url.url",
    "messages.3.content.1.image_url.detail",
    "messages.3.content.2.input_audio.data",
    "messages.3.content.2.input_audio.format",
    "messages.3.content.3.file.file_data",
    "messages.3.content.3.file.file_id",
    "messages.3.content.3.file.filename",
    "messages.3.content.4.unknown.deep",
    "messages.4.content.0.text",
    "messages.4.content.1.refusal",
    "messages.4.name",
    "messages.4.refusal",
    "messages.4.reasoning_content",
    "messages.4.audio.id",
    "messages.4.tool_calls.0.id",
    "messages.4.tool_calls.0.function.name",
    "messages.4.tool_calls.0.function.arguments",
    "messages.4.tool_calls.1.custom.name",
    "messages.4.tool_calls.1.custom.input",
    "messages.4.function_call.name",
    "messages.4.function_call.arguments",
    "messages.5.content",
    "messages.5.tool_call_id",
    "messages.6.content.0.text",
    "messages.7.content",
    "messages.7.name",
    "messages.8.content",
    "messages.8.unknown.0.0",
    "audio.format",
    "audio.voice",
    "function_call.name",
    "functions.0.description",
    "functions.0.name",
    "functions.0.parameters.properties.a.description",
    "input",
    "instructions",
    "metadata.a",
    "modalities.0",
    "prediction.content",
    "prompt",
    "prompt_cache_key",
    "reasoning_effort",
    "response_format.json_schema.description",
    "response_format.json_schema.name",
    "response_format.json_schema.schema.properties.a.description",
    "response_format.json_schema.schema.properties.a.enum.0",
    "safety_identifier",
    "service_tier",
    "stop.0",
    "stream_options.unknown",
    "tool_choice.function.name",
    "tools.0.function.description",
    "tools.0.function.name",
    "tools.0.function.parameters.$defs.a.title",
    "tools.0.function.parameters.description",
    "tools.0.function.parameters.properties.a.const",
    "tools.0.function.parameters.properties.a.default",
    "tools.0.function.parameters.properties.a.description",
    "tools.0.function.parameters.properties.a.enum.0",
    "tools.0.function.parameters.properties.a.examples.0",
    "tools.0.function.parameters.properties.a.pattern",
    "tools.0.function.parameters.required.0",
    "tools.1.custom.description",
    "tools.1.custom.format.grammar.definition",
    "tools.1.custom.format.grammar.syntax",
    "tools.1.custom.name",
    "user",
    "verbosity",
    "web_search_options.search_context_size",
    "web_search_options.user_location.approximate.city",
    "web_search_options.user_location.approximate.country",
    "web_search_options.user_location.approximate.region",
    "web_search_options.user_location.approximate.timezone",
    "x_unknown.deep.0.0.field",
];

/// Objects whose names people choose, in which a canary stands as a name.
const NAMES: &[&str] = &[
    "logit_bias",
    "metadata",
    "response_format.json_schema.schema.properties",
    "tools.0.function.parameters.properties",
    "x_unknown.names",
];

/// Headers of requests, of which none is passed on.
const HEADERS: &[&str] =
    &["user-agent", "x-request-id", "openai-organization", "traceparent", "x-custom", "cookie", "referer"];

fn canary(number: usize) -> String {
    format!("canary{number:03}.quill@example.org")
}

/// What stands at a path of this kind; most are the canary itself.
fn leaf(path: &str, canary: &str) -> Value {
    let text = match path.rsplit('.').next() {
        Some("arguments") => json!({ "to": canary, "n": [1, { "cc": canary }] }).to_string(),
        Some("url") => format!("https://pictures.example/{canary}?to={canary}"),
        Some("data" | "file_data") => format!("data:image/png;base64,{canary}"),
        Some("pattern") => format!("^{canary}$"),
        Some("text" | "description" | "content") => format!("Write to {canary}, please."),
        _ => canary.to_owned(),
    };
    Value::String(text)
}

/// Puts a value at a path, and makes what leads there.
fn put(body: &mut Value, path: &str, value: Value) {
    let mut at = body;
    for step in path.split('.') {
        at = match step.parse::<usize>() {
            Ok(number) => {
                if !at.is_array() {
                    *at = json!([]);
                }
                let items = at.as_array_mut().unwrap();
                items.resize(items.len().max(number + 1), Value::Null);
                &mut items[number]
            }
            Err(_) => {
                if !at.is_object() {
                    *at = Value::Object(Map::new());
                }
                at.as_object_mut().unwrap().entry(step).or_insert(Value::Null)
            }
        };
    }
    *at = value;
}

/// A conversation with a message of each kind and no content of people.
fn skeleton() -> Value {
    let call = |kind: &str| json!({ "id": "c", "type": kind });
    json!({
        "model": "chat",
        "messages": [
            { "role": "system", "content": "Be kind." },
            { "role": "developer", "content": [{ "type": "text", "text": "Be brief." }] },
            { "role": "user", "content": "Hello" },
            { "role": "user", "content": [
                { "type": "text", "text": "Look" }, { "type": "image_url" }, { "type": "input_audio" }, { "type": "file" }, { "type": "new" },
            ]},
            { "role": "assistant", "content": [{ "type": "text", "text": "Hi" }, { "type": "refusal", "refusal": "No" }],
              "tool_calls": [call("function"), call("custom")] },
            { "role": "tool", "tool_call_id": "c", "content": "Done" },
            { "role": "tool", "tool_call_id": "c", "content": [{ "type": "text", "text": "Done" }] },
            { "role": "function", "name": "f", "content": "Done" },
            { "role": "user", "content": "How do I reset my password?" },
        ],
    })
}

/// The request with every canary.
fn everywhere() -> Value {
    let mut body = skeleton();
    for (number, path) in CHAT.iter().enumerate() {
        put(&mut body, path, leaf(path, &canary(number)));
    }
    for (number, path) in NAMES.iter().enumerate() {
        let name = canary(CHAT.len() + number);
        let mut object = body.pointer(&format!("/{}", path.replace('.', "/"))).cloned().unwrap_or(json!({}));
        object[name] = json!(1);
        put(&mut body, path, object);
    }
    body
}

fn with_headers(client: &Client) -> Client {
    let headers = HEADERS.iter().enumerate();
    headers.fold(client.clone(), |client, (number, name)| client.with(name, &canary(900 + number)))
}

/// Which canaries stand in these bytes.
fn seen(bytes: &[u8]) -> Vec<String> {
    if !holds(bytes, "canary") {
        return Vec::new();
    }
    let all = (0..1000).filter(|number| holds(bytes, &format!("canary{number:03}")));
    all.map(|number| match CHAT.get(number) {
        Some(path) => (*path).to_owned(),
        None => format!("number {number}"),
    })
    .collect()
}

fn assert_none(bytes: &[u8], what: &str) {
    assert!(!bytes.is_empty(), "{what}: there is something to look into");
    let seen = seen(bytes);
    assert!(seen.is_empty(), "{what} holds the canaries of {seen:?}");
}

/// The log is that of all tests, and too long for [`holds`]; it escapes no letters.
fn assert_unlogged() {
    let log = log::text();
    let number = |(at, word): (usize, &str)| log[at + word.len()..].starts_with(|c: char| c.is_ascii_digit());
    let found = log.match_indices("canary").find(|hit| number(*hit)).map(|(at, _)| at);
    let lines = found.map(|at| log[..at].lines().count());
    assert!(!log.is_empty() && lines.is_none(), "the log holds a canary in line {lines:?}");
}

#[tokio::test]
async fn no_canary_of_any_field_is_seen_by_anybody() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).display().to_string();
    let mut gate = Gate::with(&format!(
        "cache: {{policy: calibrated, shadow: always, keep_prompts: true, journal: '{}', shadow_log: '{}', shadow_log_prompts: true}}\naudit: {{path: '{}'}}",
        file("cache.redb"),
        file("shadow.jsonl"),
        file("audit.jsonl")
    ));
    gate.primary.script(script("reply: {answer: 'Choose Forgotten password.'}"));
    let client = with_headers(&gate.client);
    for (stream, ask) in [
        (false, "How do I reset my password?"),
        (true, "How can I reset my password?"),
        (false, "How can I reset the password?"),
    ] {
        let mut body = everywhere();
        body["messages"][8]["content"] = json!(format!("{ask} I am {}", canary(800)));
        let body = streamed(body, stream);
        let reply =
            client.post("/v1/chat/completions?who=canary999.quill@example.org", body.to_string()).await;
        assert_eq!(reply.status, 200, "{:?}", reply.body);
        assert_eq!(reply.text(), "Choose Forgotten password.");
    }
    // Requests with tools are not compared by likeness; these are.
    for ask in
        ["How do I reset my password?", "How can I reset my password?", "How can I reset the password?"]
    {
        let reply = client.chat(&question(&format!("{ask} I am {}", canary(802)))).await;
        assert_eq!(reply.cache(), "miss");
    }
    // The whole conversation comes back, with the caller's own values, and is told to nobody else.
    gate.primary.script(script("reply: {answer: '{messages}'}"));
    let mut body = everywhere();
    body["messages"][8]["content"] = json!("What did we say?");
    assert!(holds(&client.chat(&body).await.body, &canary(0)));
    // Errors quote nothing, and the targets that fail log nothing.
    for mock in [&gate.primary, &gate.backup] {
        mock.script(script("reply: {status: 500}"));
    }
    let mut body = everywhere();
    body["messages"][8]["content"] = json!(format!("What went wrong? {}", canary(801)));
    let failed = client.chat(&body).await;
    assert_eq!(failed.status, 500);
    assert_none(&failed.body, "an error");
    assert_none(gate.metrics().await.as_bytes(), "the metrics");
    assert_none(&gate.received(), "what the providers got");
    gate.stop().await.unwrap();
    assert_unlogged();
    for name in ["cache.redb", "shadow.jsonl", "audit.jsonl"] {
        assert_none(&fs::read(file(name)).unwrap(), name);
    }
    assert!(
        fs::read_to_string(file("shadow.jsonl")).unwrap().contains("[EMAIL_ADDRESS_"),
        "redacted prompts"
    );
}

#[tokio::test]
async fn each_field_is_covered_by_itself() {
    let gate = Gate::with("cache: {enabled: false}");
    for (number, path) in CHAT.iter().enumerate() {
        let mut body = skeleton();
        put(&mut body, path, leaf(path, &canary(number)));
        let body = streamed(body, path.starts_with("stream_options"));
        let body = if path.starts_with("stream_options") {
            let mut body = body;
            body["stream_options"]["unknown"] = json!(canary(number));
            body
        } else {
            body
        };
        let reply = gate.client.chat(&body).await;
        assert_eq!(reply.status, 200, "{path}: {:?}", reply.body);
    }
    assert_eq!(gate.primary.count(), CHAT.len());
    assert_none(&gate.received(), "what the provider got");
}

#[tokio::test]
async fn protocol_words_hide_nothing_and_are_left_alone() {
    let gate = Gate::with("");
    for path in ["messages.2.role", "messages.3.content.1.type", "response_format.type", "tools.0.type"] {
        let mut body = skeleton();
        put(&mut body, path, json!(canary(1)));
        gate.client.chat(&body).await;
    }
    gate.client.chat(&skeleton()).await;
    assert_none(&gate.received(), "what the provider got");
    let sent: Value = serde_json::from_slice(&gate.primary.seen().last().unwrap().body).unwrap();
    let roles: Vec<&str> =
        sent["messages"].as_array().unwrap().iter().map(|m| m["role"].as_str().unwrap()).collect();
    assert_eq!(roles[..3], ["system", "developer", "user"]);
    let mut body = skeleton();
    body["model"] = json!(format!("primary/{}", canary(2)));
    let refused = gate.client.chat(&body).await;
    assert_eq!((refused.status, refused.error()["param"].as_str()), (400, Some("model")));
    assert_none(&gate.received(), "what the provider got");
}

#[tokio::test]
async fn texts_to_embed_are_told_to_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let audit = folder.path().join("audit.jsonl");
    let mut gate = Gate::with(&format!("audit: {{path: '{}'}}", audit.display()));
    let client = with_headers(&gate.client);
    for body in [
        json!({ "model": "hashed", "input": canary(700) }),
        json!({ "model": "hashed", "input": [canary(701), canary(702)], "user": canary(703), "unknown": { "a": canary(704) } }),
        json!({ "model": canary(705), "input": "x" }),
        json!({ "model": "hashed", "input": [[1, 2]], "encoding_format": canary(706) }),
    ] {
        client.post("/v1/embeddings", body.to_string()).await;
    }
    assert_none(gate.metrics().await.as_bytes(), "the metrics");
    assert!(gate.received().is_empty(), "nothing leaves");
    gate.stop().await.unwrap();
    assert_unlogged();
    assert_none(&fs::read(audit).unwrap(), "the audit log");
}
