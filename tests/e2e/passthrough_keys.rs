//! A provider's own API is asked with one of its keys after the other, and again where that makes sense.

use http::Method;
use serde_json::{Value, json};
use sluice_tests::guard::Heard;
use sluice_tests::stub::nobody;
use sluice_tests::{Gate, Guard, Reply, Say, Stub, Then, question};

const CHAT: &str = "/google/models/gemini-2.5-flash:generateContent";
const JSON: &[(&str, &str)] = &[("content-type", "application/json")];
const LATER: &[(&str, &str)] = &[("content-type", "application/json"), ("retry-after", "3000")];
const SLOW_DOWN: &str = r#"{"error":{"code":429,"message":"slow down","status":"RESOURCE_EXHAUSTED"}}"#;
const BROKEN: &str = r#"{"error":{"code":503,"message":"I am broken","status":"UNAVAILABLE"}}"#;

/// Method, path, body and headers of a request, and how often it is asked if that fails.
type Case = (Method, &'static str, &'static str, &'static [(&'static str, &'static str)], usize);

/// A gateway in front of a provider with two keys, which is Google's and OpenAI's at once.
fn gate(url: &str, more: &str) -> Gate {
    let keys = "api_keys: [{key: 'env:TEST_ONE'}, {key: 'env:TEST_TWO'}]";
    Gate::start(&format!(
        "
providers:
  google: {{kind: gemini, base_url: '{url}', {keys}}}
  openai: {{kind: openai, base_url: '{url}', {keys}}}
retry: {{rounds: 2, backoff: 1ms}}
cache: {{enabled: false}}
{more}
"
    ))
}

/// The key that something was asked with.
fn key(heard: &Heard) -> &str {
    let bearer =
        heard.headers.get("authorization").and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    bearer.or_else(|| heard.headers.get("x-goog-api-key")?.to_str().ok()).unwrap_or_default()
}

fn asked_with(provider: &Guard, wanted: &str) -> usize {
    provider.heard().iter().filter(|heard| key(heard) == wanted).count()
}

fn says(text: &str) -> Value {
    json!({ "candidates": [{ "content": { "role": "model", "parts": [{ "text": text }] }, "finishReason": "STOP", "index": 0 }] })
}

/// Answers with the second key; with the first it says this.
async fn one_of_two(say: Say) -> Guard {
    Guard::hearing(move |heard| match key(heard) {
        "sk-test-two" => Say::Json(says("Hello")),
        _ => say.clone(),
    })
    .await
}

async fn ask(gate: &Gate) -> Reply {
    gate.client.post(CHAT, json!({ "contents": [{ "parts": [{ "text": "Hi" }] }] }).to_string()).await
}

#[tokio::test]
async fn a_key_that_is_refused_or_exhausted_rests_while_the_other_answers() {
    let invalid = r#"{"error":{"code":400,"message":"API key not valid","status":"INVALID_ARGUMENT","details":[{"reason":"API_KEY_INVALID"}]}}"#;
    let spent = r#"{"error":{"code":402,"message":"pay first"}}"#;
    for (status, headers, body) in
        [(429, LATER, SLOW_DOWN), (401, JSON, "{}"), (403, JSON, "{}"), (402, JSON, spent)]
    {
        let provider = one_of_two(Say::Status(status, headers, body.to_owned())).await;
        let gate = gate(&provider.url(), "");
        for _ in 0..40 {
            assert_eq!(ask(&gate).await.status, 200, "{status}");
        }
        assert_eq!((asked_with(&provider, "sk-test-one"), asked_with(&provider, "sk-test-two")), (1, 40));
        let mut chat = question("Hi");
        chat["model"] = json!("google/gemini-2.5-flash");
        for _ in 0..20 {
            assert_eq!(gate.client.chat(&chat).await.text(), "Hello");
        }
        assert_eq!(asked_with(&provider, "sk-test-one"), 1, "{status}: it rests for all chats of that model");
    }
    let provider = one_of_two(Say::Status(400, JSON, invalid.to_owned())).await;
    let gate = gate(&provider.url(), "");
    for _ in 0..20 {
        assert_eq!(ask(&gate).await.status, 200, "Google's way to refuse a key");
    }
}

#[tokio::test]
async fn keys_are_chosen_by_weight_and_those_of_an_account_s_things_in_order() {
    let provider = Guard::saying(Say::Json(says("Hello"))).await;
    let gate = gate(&provider.url(), "");
    for _ in 0..60 {
        ask(&gate).await;
    }
    let two = asked_with(&provider, "sk-test-two");
    assert!((1..60).contains(&two), "{two}");
    for _ in 0..20 {
        assert_eq!(gate.client.get("/google/files/abc").await.status, 200);
    }
    assert_eq!(asked_with(&provider, "sk-test-two"), two, "files live where they were put");
}

#[tokio::test]
async fn when_all_keys_fail_the_client_reads_the_provider_s_own_words_but_nothing_about_keys() {
    let provider = Guard::saying(Say::Status(429, LATER, SLOW_DOWN.to_owned())).await;
    let gate = gate(&provider.url(), "");
    let reply = ask(&gate).await;
    assert_eq!(
        (reply.status, &reply.body[..], reply.header("retry-after")),
        (429, SLOW_DOWN.as_bytes(), "3000")
    );
    assert_eq!((reply.header("x-sluice-attempts"), provider.count()), ("2", 2));
    let reply = ask(&gate).await;
    assert_eq!((reply.status, &reply.json()["error"]["status"]), (429, &json!("RESOURCE_EXHAUSTED")));
    let wait: u64 = reply.header("retry-after").parse().unwrap();
    assert!((2900..=3000).contains(&wait) && provider.count() == 2, "nobody was asked: {wait}");
    let refused =
        r#"{"error":{"message":"Incorrect API key provided: sk-te**one","code":"invalid_api_key"}}"#;
    let provider = Guard::saying(Say::Status(401, JSON, refused.to_owned())).await;
    let gate = self::gate(&provider.url(), "");
    let reply =
        gate.client.post("/openai/responses", json!({ "model": "m", "input": "Hi" }).to_string()).await;
    assert_eq!((reply.status, provider.count()), (502, 2));
    assert!(!String::from_utf8_lossy(&reply.body).contains("sk-"), "{:?}", reply.body);
}

#[tokio::test]
async fn a_key_that_may_not_do_everything_is_not_put_to_rest_for_what_it_may() {
    let narrow = r#"{"error":{"message":"Missing scopes","type":"invalid_request_error","param":null,"code":"missing_scope"}}"#;
    for status in [401, 403] {
        let provider = Guard::hearing(move |heard| match heard.path.ends_with("/speech") {
            true => Say::Status(status, JSON, narrow.to_owned()),
            false => Say::Json(json!({ "id": "x", "object": "chat.completion", "created": 1, "model": "m",
                "choices": [{ "index": 0, "message": { "role": "assistant", "content": "Hello" }, "finish_reason": "stop" }] })),
        })
        .await;
        let gate = gate(&provider.url(), "");
        let reply = gate
            .client
            .post("/openai/audio/speech", json!({ "model": "m", "input": "Hi" }).to_string())
            .await;
        assert_eq!((reply.status, provider.count()), (if status == 401 { 502 } else { 403 }, 2));
        let mut chat = question("Hi");
        chat["model"] = json!("openai/m");
        assert_eq!(gate.client.chat(&chat).await.text(), "Hello");
    }
}

#[tokio::test]
async fn what_may_be_done_twice_is_asked_again_and_the_rest_only_if_nothing_was_done() {
    let cases: [Case; 6] = [
        (Method::GET, "/google/files", "", &[], 3),
        (Method::DELETE, "/google/files/abc", "", &[], 3),
        (Method::POST, CHAT, r#"{"contents":[{"parts":[{"text":"Hi"}]}]}"#, &[], 3),
        (Method::POST, "/google/cachedContents", "{}", &[], 1),
        (Method::POST, "/google/cachedContents", "{}", &[("idempotency-key", "k-1")], 3),
        (Method::GET, "/google/files", "", &[("x-sluice-retries", "0")], 1),
    ];
    for (method, path, body, headers, attempts) in cases {
        let asking = |gate: &Gate| {
            let client =
                headers.iter().fold(gate.client.clone(), |client, (name, value)| client.with(name, value));
            let (method, body) = (method.clone(), body.to_owned());
            async move { client.send(method, path, body).await }
        };
        let provider = Guard::saying(Say::Status(503, JSON, BROKEN.to_owned())).await;
        let reply = asking(&gate(&provider.url(), "")).await;
        assert_eq!((reply.status, &reply.body[..]), (503, BROKEN.as_bytes()), "{method} {path}");
        assert_eq!(provider.count(), attempts, "{method} {path} {headers:?}");
        assert_eq!(reply.header("x-sluice-attempts"), attempts.to_string());
        let stub = Stub::start("", Then::Close).await;
        let reply = asking(&gate(&stub.base_url(), "")).await;
        assert_eq!((reply.status, reply.header("x-sluice-attempts")), (502, attempts.to_string().as_str()));
        let unsent = if headers.iter().any(|(name, _)| *name == "x-sluice-retries") { "1" } else { "3" };
        let reply = asking(&gate(&nobody(), "")).await;
        assert_eq!((reply.status, reply.header("x-sluice-attempts")), (502, unsent), "nothing was sent");
    }
}

#[tokio::test]
async fn a_provider_in_trouble_is_asked_again_within_the_budget_and_its_client_s_deadline() {
    let answers = std::sync::atomic::AtomicUsize::new(0);
    let provider = Guard::start(move |_| match answers.fetch_add(1, std::sync::atomic::Ordering::Relaxed) {
        0 | 1 => Say::Status(503, JSON, BROKEN.to_owned()),
        _ => Say::Json(says("Hello")),
    })
    .await;
    let reply = ask(&gate(&provider.url(), "")).await;
    assert_eq!((reply.status, reply.header("x-sluice-attempts")), (200, "3"));
    let provider = Guard::saying(Say::Status(503, JSON, BROKEN.to_owned())).await;
    let one = "api_key: 'env:TEST_ONE'";
    let url = provider.url();
    let gate = Gate::start(&format!(
        "providers: {{google: {{kind: gemini, base_url: '{url}', {one}}}}}\nretry: {{rounds: 3, backoff: 1ms, budget: {{ratio: 0, per_second: 0}}}}\n"
    ));
    assert_eq!((ask(&gate).await.status, provider.count()), (503, 1), "the budget is empty");
    let provider = Guard::saying(Say::Hang).await;
    let gate = self::gate(&provider.url(), "");
    let reply = gate.client.with("x-sluice-timeout", "50ms").get("/google/files").await;
    assert_eq!((reply.status, &reply.json()["error"]["status"]), (504, &json!("DEADLINE_EXCEEDED")));
    let reply = gate.client.with("x-sluice-timeout", "soon").get("/google/files").await;
    assert_eq!((reply.status, provider.count()), (400, 1));
}

#[tokio::test]
async fn an_error_that_quotes_the_request_quotes_it_as_the_client_wrote_it() {
    for status in [400, 503] {
        let provider = Guard::start(move |asked| {
            let text = asked.pointer("/contents/0/parts/0/text").and_then(Value::as_str).unwrap_or_default();
            let said = json!({ "error": { "code": status, "message": format!("what is '{text}'?"), "status": "X" } });
            Say::Status(status, JSON, said.to_string())
        })
        .await;
        let gate = gate(&provider.url(), "");
        let asked = json!({ "contents": [{ "parts": [{ "text": "I am zoe.quill@example.org" }] }] });
        let reply = gate.client.post(CHAT, asked.to_string()).await;
        assert_eq!(
            (reply.status, &reply.json()["error"]["message"]),
            (status, &json!("what is 'I am zoe.quill@example.org'?"))
        );
        assert!(provider.heard().iter().all(|heard| !sluice_tests::leak::holds(&heard.body, "zoe.quill")));
    }
}
