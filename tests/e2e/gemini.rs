//! Clients of OpenAI's API are answered by Google's, of AI Studio and of Vertex AI.

use std::borrow::Borrow;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};
use sluice_tests::guard::Heard;
use sluice_tests::leak::holds;
use sluice_tests::{Gate, Guard, Reply, Say, Stub, Then, question, script, streamed};

const EMAIL: &str = "zoe.quill@example.org";
const SSE: &[(&str, &str)] = &[("content-type", "text/event-stream")];
const PRIVATE: &str = include_str!("../../fixtures/google/private_key.txt");

/// A gateway whose model `chat` is Google's, and the other provider's if that fails.
fn gate(google: &str, more: &str) -> Gate {
    Gate::start(&format!(
        "
providers:
  google: {{kind: gemini, base_url: '{google}', api_key: 'env:TEST_GOOGLE'}}
  backup: {{kind: mock, base_url: '{{backup}}'}}
routes:
  - {{model: chat, targets: [google/gemini-2.5-flash, backup/model-b]}}
  - {{model: strict, targets: [google/gemini-2.5-flash], drop_params: strict}}
  - {{model: pass, targets: [google/gemini-2.5-flash], drop_params: pass}}
  - {{model: odd, targets: [google/../secrets]}}
retry: {{rounds: 0}}
cache: {{enabled: false}}
{more}
"
    ))
}

fn candidate(parts: impl Borrow<Value>, finish: Option<&str>) -> Value {
    let mut candidate = json!({ "content": { "role": "model", "parts": parts.borrow() }, "index": 0 });
    if let Some(finish) = finish {
        candidate["finishReason"] = json!(finish);
    }
    json!({ "candidates": [candidate], "modelVersion": "gemini-2.5-flash", "responseId": "r1",
        "usageMetadata": { "promptTokenCount": 7, "candidatesTokenCount": 3, "totalTokenCount": 10 } })
}

fn events(events: &[Value]) -> Say {
    Say::Status(200, SSE, events.iter().map(|event| format!("data: {event}\r\n\r\n")).collect())
}

/// What Google says to a request: one part after the other, whole or as a stream. Only the stream has thoughts before.
fn say(stream: bool, parts: &[Value]) -> Say {
    if !stream {
        return Say::Json(candidate(json!(parts), Some("STOP")));
    }
    let mut said: Vec<Value> = parts.iter().map(|part| candidate(json!([part]), None)).collect();
    said.push(candidate(json!([{ "text": "" }]), Some("STOP")));
    events(&said)
}

async fn google(stream: bool, parts: Vec<Value>) -> Guard {
    Guard::start(move |_| say(stream, &parts)).await
}

fn last(google: &Guard) -> Heard {
    google.heard().pop().expect("Google was asked")
}

fn calls(reply: &Reply) -> Vec<Value> {
    let part = if reply.is_stream() { "delta" } else { "message" };
    let path = format!("/choices/0/{part}/tool_calls");
    reply.chunks().iter().filter_map(|chunk| chunk.pointer(&path)?.as_array().cloned()).flatten().collect()
}

fn weather() -> Value {
    json!([{ "type": "function", "function": { "name": "weather",
        "parameters": { "type": "object", "properties": { "city": { "type": "string" } } } } }])
}

#[tokio::test]
async fn a_chat_is_answered_whole_and_streamed() {
    for stream in [false, true] {
        let google = google(stream, vec![json!({ "text": "Grüß " }), json!({ "text": "Gott 🙂" })]).await;
        let gate = gate(&google.url(), "");
        let reply = gate.client.chat(&streamed(question("Hello"), stream)).await;
        assert_eq!((reply.status, reply.text().as_str()), (200, "Grüß Gott 🙂"), "{:?}", reply.body);
        assert_eq!((reply.finish_reason().as_str(), reply.is_stream()), ("stop", stream));
        assert_eq!(reply.usage(), json!({ "prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10 }));
        assert_eq!(reply.header("x-sluice-provider"), "google");
        let heard = last(&google);
        let method = if stream { "streamGenerateContent" } else { "generateContent" };
        assert_eq!(heard.path, format!("/guard/models/gemini-2.5-flash:{method}"));
        assert_eq!(heard.headers["x-goog-api-key"], "sk-test-google");
        assert!(!heard.headers.contains_key("authorization"));
        assert_eq!(heard.json(), json!({ "contents": [{ "role": "user", "parts": [{ "text": "Hello" }] }] }));
        if stream {
            assert!(reply.is_done());
            let counted = reply.chunks().iter().filter(|chunk| !chunk["usage"].is_null()).count();
            assert_eq!(counted, 1, "counts come once");
        }
    }
}

#[tokio::test]
async fn parallel_calls_come_and_their_results_go_back() {
    for stream in [false, true] {
        let call = |city: &str| json!({ "functionCall": { "name": "weather", "args": { "city": city } } });
        let mut first = call("Rome");
        first["thoughtSignature"] = json!("c2lnbmF0dXJl");
        let google = google(stream, vec![first, call("Oslo")]).await;
        let gate = gate(&google.url(), "");
        let mut asked = streamed(question("Rome and Oslo?"), stream);
        asked["tools"] = weather();
        let reply = gate.client.chat(&asked).await;
        assert_eq!(reply.finish_reason(), "tool_calls");
        let mut made = calls(&reply);
        assert_eq!(made.len(), 2);
        assert_ne!(made[0]["id"], made[1]["id"], "each has an id of its own");
        assert_eq!(made[1]["function"], json!({ "name": "weather", "arguments": "{\"city\":\"Oslo\"}" }));
        made.iter_mut().for_each(|call| drop(call.as_object_mut().unwrap().remove("index")));
        let result =
            |call: &Value, text: &str| json!({ "role": "tool", "tool_call_id": call["id"], "content": text });
        let results = [result(&made[1], "4 °C"), result(&made[0], "20 °C")];
        let messages = asked["messages"].as_array_mut().unwrap();
        messages.push(json!({ "role": "assistant", "content": null, "tool_calls": made }));
        messages.extend(results);
        assert_eq!(gate.client.chat(&asked).await.status, 200);
        let contents = last(&google).json()["contents"].take();
        assert_eq!(contents[1]["parts"][0]["thoughtSignature"], "c2lnbmF0dXJl");
        let given = |at: usize| contents[2]["parts"][at]["functionResponse"]["response"]["output"].clone();
        assert_eq!((given(0), given(1)), (json!("20 °C"), json!("4 °C")), "in the order of the calls");
    }
}

#[tokio::test]
async fn structured_output_and_images_are_asked_for_in_its_own_words() {
    let google = google(false, vec![json!({ "text": "{\"name\":\"Ada\"}" })]).await;
    let gate = gate(&google.url(), "");
    let schema = json!({ "type": "object", "properties": { "name": { "type": "string" } }, "required": ["name"], "additionalProperties": false });
    let image = json!({ "type": "image_url", "image_url": { "url": "data:image/png;base64,aGVsbG8=" } });
    let asked = json!({ "model": "chat",
        "messages": [{ "role": "user", "content": [{ "type": "text", "text": "Who is it?" }, image] }],
        "response_format": { "type": "json_schema", "json_schema": { "name": "person", "schema": schema } } });
    let reply = gate.client.chat(&asked).await;
    assert_eq!(reply.text(), "{\"name\":\"Ada\"}");
    let heard = last(&google).json();
    assert_eq!(
        heard["generationConfig"],
        json!({ "responseMimeType": "application/json", "responseJsonSchema": schema })
    );
    assert_eq!(
        heard["contents"][0]["parts"][1],
        json!({ "inlineData": { "mimeType": "image/png", "data": "aGVsbG8=" } })
    );
}

fn failed(status: u16, word: &str, message: &str) -> Say {
    let body = json!({ "error": { "code": status, "message": message, "status": word } });
    Say::Status(status, &[("content-type", "application/json")], body.to_string())
}

#[tokio::test]
async fn its_errors_are_told_in_openai_s_shape_or_make_way_for_another_target() {
    let long = "The input token count (9) exceeds the maximum number of tokens allowed (8).";
    let google = Guard::saying(failed(400, "INVALID_ARGUMENT", long)).await;
    let gate = gate(&google.url(), "");
    let reply = gate.client.chat(&question("Hello")).await;
    assert_eq!((reply.status, reply.error()["code"].as_str()), (400, Some("context_length_exceeded")));
    assert_eq!(reply.error()["message"], long);
    gate.backup.script(script("reply: {answer: 'From the backup'}"));
    let rescued = [
        failed(503, "UNAVAILABLE", "overloaded"),
        failed(429, "RESOURCE_EXHAUSTED", "too many"),
        Say::Status(400, &[], json!([{ "error": { "code": 400, "message": "API key not valid", "status": "INVALID_ARGUMENT",
            "details": [{ "@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID" }] } }]).to_string()),
        Say::Json(candidate(json!([]), Some("MALFORMED_FUNCTION_CALL"))),
        events(&[candidate(json!([{ "text": "" }]), Some("MALFORMED_FUNCTION_CALL"))]),
        events(&[json!([{ "error": { "code": 503, "message": "overloaded", "status": "UNAVAILABLE" } }])]),
        events(&[]),
    ];
    for say in rescued {
        google.answer_by(move |_| say.clone());
        for stream in [false, true] {
            let reply = gate.client.chat(&streamed(question("Hello"), stream)).await;
            assert_eq!((reply.status, reply.text().as_str()), (200, "From the backup"), "{:?}", reply.body);
        }
    }
}

#[tokio::test]
async fn a_prompt_that_it_refuses_is_an_error_and_an_answer_that_it_broke_off_is_one() {
    let refused =
        json!({ "promptFeedback": { "blockReason": "SAFETY" }, "usageMetadata": { "promptTokenCount": 3 } });
    for (stream, say) in [(false, Say::Json(refused.clone())), (true, events(&[refused]))] {
        let google = Guard::saying(say).await;
        let reply = gate(&google.url(), "").client.chat(&streamed(question("Hello"), stream)).await;
        assert_eq!(
            (reply.status, reply.error()["code"].as_str()),
            (400, Some("content_filter")),
            "{:?}",
            reply.body
        );
    }
    let google = Guard::saying(Say::Json(candidate(json!([{ "text": "I can" }]), Some("SAFETY")))).await;
    let reply = gate(&google.url(), "").client.chat(&question("Hello")).await;
    assert_eq!((reply.text().as_str(), reply.finish_reason().as_str()), ("I can", "content_filter"));
}

#[tokio::test]
async fn a_stream_that_ends_without_a_reason_is_no_whole_answer() {
    let begun = candidate(json!([{ "text": "Once upon" }]), None).to_string();
    let stub = Stub::stream(&[&begun], Then::Close).await;
    let gate = gate(stub.base_url().trim_end_matches("/v1"), "");
    let reply = gate.client.chat(&streamed(question("Hello"), true)).await;
    assert_eq!((reply.text().as_str(), reply.is_done()), ("Once upon", false));
    assert_eq!(reply.events().last().unwrap()["error"]["code"], "stream_interrupted");
}

#[tokio::test]
async fn what_it_can_t_be_told_is_refused_dropped_or_sent_as_the_route_says() {
    let google = google(false, vec![json!({ "text": "Hi" })]).await;
    let gate = gate(&google.url(), "");
    let ask = |model: &str| {
        let mut asked = question("Hello");
        asked["model"] = json!(model);
        asked["logit_bias"] = json!({ "5": 1 });
        asked
    };
    let strict = gate.client.chat(&ask("strict")).await;
    assert_eq!(
        (strict.status, strict.error()["param"].as_str()),
        (400, Some("logit_bias")),
        "{:?}",
        strict.body
    );
    assert_eq!(google.count(), 0);
    let dropped = gate.client.chat(&ask("chat")).await;
    assert_eq!((dropped.status, dropped.header("x-sluice-dropped-params")), (200, "logit_bias"));
    assert_eq!(last(&google).json().get("logit_bias"), None);
    assert_eq!(gate.client.chat(&ask("pass")).await.status, 200);
    assert_eq!(last(&google).json()["logit_bias"], json!({ "5": 1 }));
    let mut odd = question("Hello");
    odd["model"] = json!("odd");
    let odd = gate.client.chat(&odd).await;
    assert_eq!((odd.status, odd.error()["param"].as_str()), (400, Some("model")), "{:?}", odd.body);
    assert_eq!(google.count(), 2, "no such address was asked");
}

#[tokio::test]
async fn personal_data_stays_here_and_comes_back_in_text_and_calls() {
    for stream in [false, true] {
        let google = Guard::start(move |asked| {
            let text = asked["contents"][0]["parts"][0]["text"].as_str().unwrap_or_default();
            let placeholder = text.split_whitespace().last().unwrap_or_default().to_owned();
            let (begin, end) = placeholder.split_at(placeholder.len() / 2);
            let call = json!({ "functionCall": { "name": "weather", "args": { "to": [placeholder] } } });
            say(stream, &[json!({ "text": begin }), json!({ "text": end }), call])
        })
        .await;
        let gate = gate(&google.url(), "guardrails: {restore: {default: tools}}");
        let mut asked = streamed(question(&format!("Write to {EMAIL}")), stream);
        asked["tools"] = weather();
        asked["tools"][0]["function"]["description"] = json!(format!("Asks {EMAIL}"));
        asked["stop"] = json!([EMAIL]);
        let reply = gate.client.chat(&asked).await;
        assert_eq!((reply.status, reply.text().as_str()), (200, EMAIL), "{:?}", reply.body);
        let arguments: String =
            calls(&reply).iter().filter_map(|call| call["function"]["arguments"].as_str()).collect();
        assert_eq!(arguments, json!({ "to": [EMAIL] }).to_string());
        assert!(!holds(&last(&google).body, EMAIL), "{:?}", last(&google).body);
    }
}

#[tokio::test]
async fn a_number_that_was_redacted_is_found_in_no_spelling() {
    let google = google(false, vec![json!({ "text": "Hi" })]).await;
    let gate = gate(&google.url(), "");
    let mut asked = question("My card is 4539 1488 0343 6467");
    asked["messages"].as_array_mut().unwrap().extend([
        json!({ "role": "assistant", "tool_calls": [{ "id": "c1", "type": "function",
            "function": { "name": "pay", "arguments": "{\"card\": 4539148803436467, \"to\": \"4539-1488-0343-6467\"}" } }] }),
        json!({ "role": "tool", "tool_call_id": "c1", "content": "{\"paid\": 4539148803436467}" }),
    ]);
    let reply = gate.client.chat(&asked).await;
    assert_eq!(reply.status, 200, "{:?}", reply.body);
    assert!(!holds(&last(&google).body, "4539 1488 0343 6467"), "{:?}", last(&google).body);
}

#[tokio::test]
async fn vertex_is_asked_with_tokens_that_are_fetched_anew_when_they_end() {
    static GIVEN: AtomicUsize = AtomicUsize::new(0);
    let office = Guard::start(|_| {
        let number = GIVEN.fetch_add(1, Ordering::SeqCst) + 1;
        let seconds = if number == 1 { 5 } else { 3600 };
        Say::Json(json!({ "access_token": format!("token-{number}"), "expires_in": seconds, "token_type": "Bearer" }))
    })
    .await;
    let google = google(false, vec![json!({ "text": "Hi" })]).await;
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("account.json");
    let key = PRIVATE.split_whitespace().collect::<String>();
    let (begin, end) = ("-----BEGIN PRIVATE ", "-----END PRIVATE ");
    let account = json!({ "type": "service_account", "client_email": "sluice@harbour-1.example",
        "private_key": format!("{begin}KEY-----\n{key}\n{end}KEY-----\n"), "token_uri": office.url() });
    std::fs::write(&path, account.to_string()).expect("a file of credentials");
    let yaml = format!(
        "
providers:
  vertex: {{kind: vertex, base_url: '{}', credentials: 'file:{}', project: harbour-1}}
routes:
  - {{model: chat, targets: [vertex/gemini-2.5-flash]}}
retry: {{rounds: 0}}
cache: {{enabled: false}}
",
        google.url(),
        path.display()
    );
    let gate = Gate::start(&yaml);
    for token in ["token-1", "token-2", "token-2"] {
        let reply = gate.client.chat(&question("Hello")).await;
        assert_eq!(reply.text(), "Hi", "{:?}", reply.body);
        assert_eq!(last(&google).headers["authorization"], format!("Bearer {token}"));
    }
    assert_eq!(office.count(), 2);
    office.answer_by(|_| Say::Status(400, &[], json!({ "error": "invalid_grant" }).to_string()));
    let gate = Gate::start(&yaml);
    for _ in 0..2 {
        let reply = gate.client.chat(&question("Hello")).await;
        assert_eq!(
            (reply.status, reply.error()["type"].as_str()),
            (502, Some("upstream_error")),
            "{:?}",
            reply.body
        );
    }
    assert_eq!((office.count(), google.count()), (3, 3), "it is not asked again at once");
}
