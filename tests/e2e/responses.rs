//! OpenAI's Responses on both sides: its clients before a provider of the same API, and nothing lost between the two; models that answer
//! by nothing else behind any client; the guards and the cache there as everywhere.

use std::borrow::Borrow;
use std::process::Command;

use serde_json::{Value, json};
use sluice_tests::leak::holds;
use sluice_tests::{Gate, Guard as Provider, Reply, Say, question, script, streamed};

use crate::sdk_packages::{python, sdk_folder};

const EMAIL: &str = "zoe.quill@example.org";
const OTHER: &str = "ann.bell@example.com";
const EVENTS: &[(&str, &str)] = &[("content-type", "text/event-stream")];
const JSON: &[(&str, &str)] = &[("content-type", "application/json")];

/// A provider of both APIs behind `both`, of this one alone behind `only`, of chat completions alone behind `chat`; `either` falls over from
/// the first to the last.
fn gate(provider: &Provider, more: &str) -> Gate {
    let url = provider.url();
    Gate::start(&format!(
        "
providers:
  both: {{kind: openai, api: [openai, responses], base_url: '{url}', api_key: 'env:TEST_GOLDEN'}}
  only: {{kind: openai, api: responses, base_url: '{url}', api_key: 'env:TEST_GOLDEN'}}
  chat: {{kind: openai, base_url: '{url}', api_key: 'env:TEST_GOLDEN'}}
  backup: {{kind: mock, base_url: '{{backup}}'}}
routes:
  - {{model: both, targets: [both/gpt-5]}}
  - {{model: only, targets: [only/gpt-5]}}
  - {{model: chat, targets: [chat/gpt-5]}}
  - {{model: pro, targets: [both/o3-pro]}}
  - {{model: either, targets: [both/gpt-5, backup/model-b]}}
  - {{model: strict, targets: [both/gpt-5, backup/model-b], drop_params: strict}}
retry: {{rounds: 0}}
embedding: {{deadline: 5m}}
{more}
"
    ))
}

fn ask(model: &str, text: &str) -> Value {
    json!({ "model": model, "input": [{ "role": "user", "content": text }] })
}

fn message(text: &str) -> Value {
    json!({ "id": "msg_1", "type": "message", "status": "completed", "role": "assistant",
        "content": [{ "type": "output_text", "text": text, "annotations": [], "logprobs": [] }] })
}

/// A response with these items, which repeats what was asked.
fn response(asked: &Value, output: impl Borrow<Value>) -> Value {
    let or = |name: &str, usual: Value| asked.get(name).cloned().unwrap_or(usual);
    json!({ "id": "resp_1", "object": "response", "created_at": 1_789_560_000, "status": "completed", "model": "gpt-5-2025-08-07",
        "error": null, "incomplete_details": null, "instructions": or("instructions", Value::Null), "metadata": or("metadata", json!({})),
        "output": output.borrow(), "parallel_tool_calls": true, "store": or("store", json!(true)), "tools": or("tools", json!([])), "tool_choice": "auto",
        "usage": { "input_tokens": 10, "input_tokens_details": { "cached_tokens": 4 }, "output_tokens": 5, "output_tokens_details": { "reasoning_tokens": 2 }, "total_tokens": 15 } })
}

/// The events of a response; each text comes letter by letter.
fn events_of(response: &Value) -> Vec<Value> {
    let (mut begun, mut events) = (response.clone(), Vec::new());
    (begun["status"], begun["output"], begun["usage"]) = (json!("in_progress"), json!([]), Value::Null);
    let mut event = |kind: &str, body: Value| {
        let mut event = body;
        (event["type"], event["sequence_number"]) = (json!(format!("response.{kind}")), json!(events.len()));
        events.push(event);
    };
    event("created", json!({ "response": begun }));
    event("in_progress", json!({ "response": begun }));
    for (at, item) in response["output"].as_array().unwrap().iter().enumerate() {
        let place = json!({ "item_id": item["id"], "output_index": at, "content_index": 0 });
        let with = |name: &str, value: Value| {
            let mut event = place.clone();
            event[name] = value;
            event
        };
        let mut empty = item.clone();
        let grows = ["arguments", "input"].into_iter().find(|name| item[*name].is_string());
        match grows {
            Some(name) => empty[name] = json!(""),
            None if item["content"].is_array() => empty["content"] = json!([]),
            None => {}
        }
        event("output_item.added", json!({ "output_index": at, "item": empty }));
        if let Some(name) = grows {
            let kind = if name == "input" { "custom_tool_call_input" } else { "function_call_arguments" };
            for letter in item[name].as_str().unwrap().chars() {
                event(&format!("{kind}.delta"), with("delta", json!(letter)));
            }
            event(&format!("{kind}.done"), with(name, item[name].clone()));
        }
        for part in item["content"].as_array().into_iter().flatten() {
            let mut begun = part.clone();
            begun["text"] = json!("");
            event("content_part.added", with("part", begun));
            for letter in part["text"].as_str().unwrap().chars() {
                event("output_text.delta", with("delta", json!(letter)));
            }
            event("output_text.done", with("text", part["text"].clone()));
            event("content_part.done", with("part", part.clone()));
        }
        event("output_item.done", json!({ "output_index": at, "item": item }));
    }
    event("completed", json!({ "response": response }));
    events
}

fn spelled(events: &[Value]) -> String {
    events
        .iter()
        .map(|event| format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap()))
        .collect()
}

fn say(asked: &Value, response: &Value) -> Say {
    if asked["stream"] == true {
        return Say::Status(200, EVENTS, spelled(&events_of(response)));
    }
    Say::Status(200, JSON, response.to_string())
}

/// A provider that answers with what `output` makes of a request.
async fn answering(output: impl Fn(&Value) -> Value + Send + Sync + 'static) -> Provider {
    Provider::start(move |asked| say(asked, &response(asked, output(asked)))).await
}

fn stream_of(mut body: Value, stream: bool) -> Value {
    if stream {
        body["stream"] = json!(true);
    }
    body
}

async fn responses(gate: &Gate, body: &Value) -> Reply {
    gate.client.post("/v1/responses", body.to_string()).await
}

/// The response that an answer says, whole or by its last event; the pieces of its texts and arguments come to what it says.
fn whole(reply: &Reply) -> Value {
    assert_eq!(reply.status, 200, "{:?}", reply.body);
    if !reply.is_stream() {
        return reply.json();
    }
    let events = reply.events();
    assert!(events.iter().enumerate().all(|(at, event)| event["sequence_number"] == at));
    let last = events.last().unwrap();
    assert_eq!(last["type"], "response.completed");
    for (at, item) in last["response"]["output"].as_array().unwrap().iter().enumerate() {
        let pieces = events.iter().filter(|event| event["output_index"] == at);
        let pieces: String = pieces.filter_map(|event| event["delta"].as_str().map(str::to_owned)).collect();
        let said = [&item["content"][0]["text"], &item["arguments"], &item["input"]];
        let said: String = said.iter().filter_map(|text| text.as_str()).collect();
        assert_eq!(pieces, said, "item {at}");
        let done = events
            .iter()
            .find(|event| event["type"] == "response.output_item.done" && event["output_index"] == at);
        assert_eq!(done.map(|event| &event["item"]), Some(item));
    }
    last["response"].clone()
}

fn fixture(name: &str) -> String {
    let path = format!("{}/../fixtures/responses/hosted_tools.{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(path).unwrap()
}

/// A provider that answers every request as the files of the fixtures say.
async fn hosted() -> Provider {
    let (whole, stream) = (fixture("answer.json"), fixture("stream.sse"));
    Provider::start(move |asked| match asked["stream"] == true {
        true => Say::Status(200, EVENTS, stream.clone()),
        false => Say::Status(200, JSON, whole.clone()),
    })
    .await
}

#[tokio::test]
async fn between_two_ends_of_the_format_the_bytes_pass_and_the_answer_is_the_provider_s() {
    let provider = hosted().await;
    let gate = gate(&provider, "cache: {enabled: false}");
    let body = fixture("request.json").replace("gpt-5.2-2025-12-11", "both");
    let reply = gate.client.post("/v1/responses", body.clone()).await;
    let given: Value = serde_json::from_str(&fixture("answer.json")).unwrap();
    assert_eq!((reply.status, reply.json()), (200, given.clone()));
    let seen = provider.heard().pop().unwrap();
    assert_eq!(seen.path, "/guard/responses");
    assert!(holds(&seen.body, "2.50"), "numbers as they were spelled");
    let mut wanted: Value = serde_json::from_str(&body).unwrap();
    wanted["model"] = json!("gpt-5");
    assert_eq!(seen.json(), wanted, "nothing but the model");
    let streamed = stream_of(serde_json::from_str(&body).unwrap(), true);
    let reply = responses(&gate, &streamed).await;
    let event = |event: &str| serde_json::from_str::<Value>(event.split_once("data: ").unwrap().1).unwrap();
    let mut wanted: Vec<Value> = fixture("stream.sse").split_terminator("\n\n").map(event).collect();
    wanted.iter_mut().for_each(|event| drop(event.as_object_mut().unwrap().remove("obfuscation")));
    assert_eq!(reply.events(), wanted, "event by event");
    let metrics = gate.metrics().await;
    for (direction, tokens) in [("input", 2 * 5210), ("output", 2 * 377)] {
        let counts = |line: &str| {
            line.starts_with("sluice_tokens_total")
                && line.contains(&format!("direction=\"{direction}\""))
                && line.ends_with(&format!(" {tokens}"))
        };
        assert!(metrics.lines().any(counts), "{tokens} tokens of {direction}");
    }
}

#[tokio::test]
async fn the_client_s_format_chooses_the_api_where_a_provider_has_both() {
    let provider = Provider::start(|asked| match asked.get("messages") {
        None => say(asked, &response(asked, json!([message("By items.")]))),
        Some(_) => Say::Json(json!({ "id": "c", "choices": [{ "index": 0, "message": { "content": "By choices." }, "finish_reason": "stop" }] })),
    })
    .await;
    let gate = gate(&provider, "cache: {enabled: false}");
    let chat = |model: &str| {
        let mut body = question("Hello");
        body["model"] = json!(model);
        body
    };
    for (model, by_chat, by_responses) in [
        ("both", "By choices.", "By items."),
        ("only", "By items.", "By items."),
        ("chat", "By choices.", "By choices."),
        ("pro", "By items.", "By items."),
    ] {
        assert_eq!(gate.client.chat(&chat(model)).await.text(), by_chat, "{model}");
        let reply = whole(&responses(&gate, &ask(model, "Hello")).await);
        assert_eq!(reply["output"][0]["content"][0]["text"], by_responses, "{model}");
    }
    let paths: Vec<String> = provider.heard().iter().map(|heard| heard.path.replace("/guard", "")).collect();
    let (chat, items) = ("/chat/completions", "/responses");
    assert_eq!(paths, [chat, items, items, items, chat, chat, items, items]);
}

#[tokio::test]
async fn a_chat_client_has_a_model_that_answers_by_responses_alone() {
    let provider = answering(|_| {
        json!([
            { "id": "rs_1", "type": "reasoning", "summary": [{ "type": "summary_text", "text": "Hm." }], "encrypted_content": "gAAAAAB" },
            message("One moment."),
            { "id": "fc_1", "type": "function_call", "status": "completed", "call_id": "call_1", "name": "find", "arguments": "{\"q\":1}" },
        ])
    })
    .await;
    let gate = gate(&provider, "");
    for stream in [false, true] {
        let mut body = question("Find it");
        (body["model"], body["seed"], body["reasoning_effort"]) = (json!("pro"), json!(stream), json!("low"));
        let reply = gate.client.chat(&streamed(body.clone(), stream)).await;
        assert_eq!(
            (reply.text(), reply.arguments(), reply.finish_reason()),
            ("One moment.".to_owned(), "{\"q\":1}".to_owned(), "tool_calls".to_owned())
        );
        assert_eq!(
            (&reply.usage()["prompt_tokens"], &reply.usage()["total_tokens"]),
            (&json!(10), &json!(15))
        );
        assert_eq!(reply.header("x-sluice-dropped-params"), "seed");
        assert!(!holds(&reply.body, "sluice_native"));
        let sent = provider.heard().pop().unwrap().json();
        assert_eq!(
            (&sent["store"], &sent["include"][0]),
            (&json!(false), &json!("reasoning.encrypted_content"))
        );
        if !stream {
            // What it thought goes back as it was.
            let turn = reply.json()["choices"][0]["message"].clone();
            let result = json!({ "role": "tool", "tool_call_id": "call_1", "content": "Nothing." });
            let first = body["messages"][0].clone();
            body["messages"] = json!([first, turn, result]);
            gate.client.chat(&body).await;
            let sent = provider.heard().pop().unwrap().json();
            let kinds: Vec<&str> =
                sent["input"].as_array().unwrap().iter().filter_map(|item| item["type"].as_str()).collect();
            assert_eq!(kinds, ["message", "reasoning", "message", "function_call", "function_call_output"]);
            assert_eq!(
                (&sent["input"][1]["id"], &sent["input"][1]["encrypted_content"]),
                (&json!("rs_1"), &json!("gAAAAAB"))
            );
        }
    }
}

#[tokio::test]
async fn who_falls_over_to_another_api_gets_that_answer_in_its_own_shape() {
    for stream in [false, true] {
        for say in [
            Say::Status(503, JSON, json!({ "error": { "message": "busy" } }).to_string()),
            Say::Status(
                200,
                EVENTS,
                spelled(&[
                    json!({ "type": "response.created", "response": { "id": "resp_0", "status": "in_progress", "output": [] } }),
                    json!({ "type": "response.failed", "response": { "id": "resp_0", "status": "failed", "error": { "code": "server_error", "message": "no" } } }),
                ]),
            ),
        ] {
            let provider = Provider::saying(say).await;
            let gate = gate(&provider, "");
            gate.backup.script(script("reply: {answer: From the other one.}"));
            let mut body = ask("either", "Hi");
            body["input"] = json!([
                { "role": "user", "content": "Hi" },
                { "type": "web_search_call", "id": "ws_1", "status": "completed", "action": { "type": "search", "query": "hi" } },
                { "role": "assistant", "content": "Hello." },
                { "role": "user", "content": "Once more." },
            ]);
            body["tools"] = json!([{ "type": "web_search" }]);
            let reply = responses(&gate, &stream_of(body.clone(), true)).await;
            let told = whole(&reply);
            assert_eq!(told["output"][0]["content"][0]["text"], "From the other one.");
            assert_eq!(reply.header("x-sluice-attempts"), "2");
            assert_eq!(reply.header("x-sluice-dropped-params"), "provider_items, tools[0]");
            let begun = reply.events().iter().filter(|event| event["type"] == "response.created").count();
            assert_eq!(begun, 1, "stream: {stream}");
            // A route that drops nothing says so.
            body["model"] = json!("strict");
            let reply = responses(&gate, &stream_of(body, stream)).await;
            assert!(reply.status >= 400, "{}", reply.status);
        }
    }
}

#[tokio::test]
async fn what_breaks_after_content_ends_with_a_failed_response() {
    let mut events = events_of(&response(&json!({}), json!([message("Once upon a time")])));
    events.truncate(9);
    let provider = Provider::saying(Say::Status(200, EVENTS, spelled(&events))).await;
    let gate = gate(&provider, "");
    let reply = responses(&gate, &stream_of(ask("either", "Hi"), true)).await;
    let last = reply.events().pop().unwrap();
    assert_eq!((&last["type"], &last["response"]["status"]), (&json!("response.failed"), &json!("failed")));
    assert_eq!(last["response"]["error"]["code"], "stream_interrupted");
    assert_eq!(gate.backup.count(), 0);
}

#[tokio::test]
async fn what_is_redacted_in_any_item_reaches_nobody_and_comes_back_in_all_events() {
    let provider = answering(|asked| {
        let instructions = asked["instructions"].as_str().unwrap();
        let arguments = asked["input"][1]["arguments"].as_str().unwrap();
        json!([
            message(&format!("I know: {instructions}")),
            { "id": "fc_2", "type": "function_call", "status": "completed", "call_id": "c2", "name": "send", "arguments": arguments },
            { "id": "ci_1", "type": "code_interpreter_call", "status": "completed", "code": format!("print('{instructions}')"), "outputs": [] },
            { "id": "ctc_1", "type": "custom_tool_call", "status": "completed", "call_id": "c3", "name": "note", "input": arguments },
        ])
    })
    .await;
    let gate = gate(&provider, "guardrails: {restore: {default: tools}}");
    let number = "67ccd2bed1ec8190b14f964abc0542670bb6a6b452d3795b";
    for stream in [false, true] {
        let given = json!({ "to": OTHER, "say": "a \"b\"" }).to_string();
        let mut body = json!({ "model": "both", "instructions": format!("You write for {EMAIL}."), "metadata": { "who": EMAIL }, "input": [
            { "role": "user", "content": [{ "type": "input_text", "text": format!("Write to {OTHER}") }] },
            { "type": "function_call", "id": format!("fc_{number}"), "call_id": "c1", "name": "find", "arguments": given },
            { "type": "function_call_output", "call_id": "c1", "output": format!("{EMAIL} and {OTHER}") },
            { "type": "mcp_call", "id": format!("mcp_{number}"), "server_label": "s", "name": "n", "arguments": "{}", "output": EMAIL },
            { "type": "file_search_call", "id": format!("fs_{number}"), "status": "completed", "queries": [OTHER], "results": [{ "text": EMAIL }] },
            { "role": "user", "content": "Go on." },
        ] });
        body = stream_of(body, stream);
        let reply = responses(&gate, &body).await;
        let told = whole(&reply);
        assert_eq!(told["output"][0]["content"][0]["text"], format!("I know: You write for {EMAIL}."));
        assert_eq!(
            (&told["output"][1]["arguments"], &told["output"][3]["input"]),
            (&json!(given), &json!(given))
        );
        assert_eq!(told["output"][2]["code"], format!("print('You write for {EMAIL}.')"));
        assert_eq!((&told["instructions"], &told["metadata"]), (&body["instructions"], &body["metadata"]));
        assert!(!holds(&reply.body, "[EMAIL_ADDRESS_"), "{:?}", reply.body);
        let seen = provider.heard().pop().unwrap();
        for value in [EMAIL, OTHER] {
            assert!(!holds(&seen.body, value), "{:?}", seen.body);
        }
        assert_eq!(seen.json()["input"][1]["id"], format!("fc_{number}"), "ids stay as they are");
        if stream {
            // What waited for the end of a text came before it was done.
            let mut done = Vec::new();
            for event in reply.events() {
                let (kind, at) = (event["type"].as_str().unwrap(), event["output_index"].clone());
                assert!(!kind.ends_with(".delta") || !done.contains(&at), "{event}");
                if kind.ends_with("_item.done")
                    || kind.ends_with("text.done")
                    || kind.ends_with("arguments.done")
                {
                    done.push(at);
                }
            }
        }
    }
}

#[tokio::test]
async fn what_a_model_says_is_masked_in_every_item_and_event() {
    let mut spoken = message(&format!("Ask {OTHER} now"));
    spoken["content"][0]["logprobs"] =
        json!([{ "token": OTHER, "logprob": -0.1, "bytes": [], "top_logprobs": [] }]);
    let provider = answering(move |_| {
        json!([
            spoken,
            { "id": "fc_2", "type": "function_call", "status": "completed", "call_id": "c2", "name": "send", "arguments": json!({ "to": OTHER }).to_string() },
            { "id": "ws_1", "type": "web_search_call", "status": "completed", "action": { "type": "search", "query": format!("who is {OTHER}") } },
        ])
    })
    .await;
    let gate = gate(&provider, "guardrails: {output: {pii: redact}}");
    for stream in [false, true] {
        let mut body = stream_of(ask("both", "Whom do I ask?"), stream);
        body["instructions"] = json!("You are at help@example.net.");
        let reply = responses(&gate, &body).await;
        assert!(!holds(&reply.body, OTHER), "{:?}", reply.body);
        let told = whole(&reply);
        let text = told["output"][0]["content"][0]["text"].as_str().unwrap();
        assert!(text.starts_with("Ask [") && text.ends_with(" now"), "{text}");
        assert_eq!(told["instructions"], body["instructions"], "what the client said itself is no answer");
    }
}

#[tokio::test]
async fn a_remembered_answer_has_the_provider_s_items_and_no_other_client_sees_them() {
    let provider = answering(|_| {
        json!([
            { "id": "ws_1", "type": "web_search_call", "status": "completed", "action": { "type": "search", "query": "hours" } },
            message("From nine to five."),
        ])
    })
    .await;
    let gate = gate(&provider, "");
    let first = whole(&responses(&gate, &ask("both", "When do you open?")).await);
    for stream in [false, true] {
        let mut body = stream_of(ask("both", "When do you open?"), stream);
        body["metadata"] = json!({ "n": "2" });
        let reply = responses(&gate, &body).await;
        assert!(reply.cache().starts_with("hit"), "{}", reply.cache());
        let told = whole(&reply);
        assert_eq!((&told["output"], &told["usage"]), (&first["output"], &first["usage"]));
        assert_ne!(told["id"], first["id"]);
        assert_eq!(told["metadata"], json!({ "n": "2" }), "its own, not that of who asked first");
    }
    assert_eq!(provider.count(), 1);
    let mut body = question("When do you open?");
    body["model"] = json!("both");
    for stream in [false, true] {
        let reply = gate.client.chat(&streamed(body.clone(), stream)).await;
        assert!(reply.cache().starts_with("hit"), "{}", reply.cache());
        assert_eq!(reply.text(), "From nine to five.");
        assert!(!holds(&reply.body, "ws_1") && !holds(&reply.body, "sluice_native"), "{:?}", reply.body);
    }
}

#[tokio::test]
async fn what_would_have_to_be_kept_is_refused_before_anybody_is_asked() {
    let provider = hosted().await;
    let gate = gate(&provider, "");
    for (field, value) in [
        ("previous_response_id", json!("resp_1")),
        ("conversation", json!("conv_1")),
        ("background", json!(true)),
        ("prompt", json!({ "id": "pmpt_1" })),
    ] {
        let mut body = ask("both", "Hi");
        body[field] = value;
        let reply = responses(&gate, &body).await;
        assert_eq!((reply.status, reply.error()["param"].as_str()), (400, Some(field)));
    }
    assert_eq!(provider.count(), 0);
}

#[tokio::test]
async fn openai_s_python_sdk_has_the_same_objects_as_of_a_direct_connection() {
    let (behind, direct) = (hosted().await, hosted().await);
    let gate = gate(&behind, "cache: {enabled: false}");
    let mut command = Command::new(python().unwrap_or_else(|problem| panic!("{problem}")));
    let plan = json!({
        "request": serde_json::from_str::<Value>(&fixture("request.json")).unwrap(), "model": "both",
        "gate": format!("http://{}/v1", gate.address), "direct": direct.url(),
    });
    command.env_clear().env("PYTHONUTF8", "1").env("SDK_PLAN", plan.to_string());
    command.arg(sdk_folder().join("responses_hosted.py"));
    let ran =
        tokio::task::spawn_blocking(move || command.output().expect("the script starts")).await.unwrap();
    let complaint = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "{}{complaint}", String::from_utf8_lossy(&ran.stdout));
    let told: Value = serde_json::from_slice(&ran.stdout).unwrap();
    for how in ["whole", "stream", "helper"] {
        assert!(told["direct"][how].is_object() || told["direct"][how].is_array(), "{how}");
        assert_eq!(told["gate"][how], told["direct"][how], "{how}");
    }
    for (got, wanted) in behind.heard().iter().zip(direct.heard()) {
        let (mut got, mut wanted) = (got.json(), wanted.json());
        (got["model"], wanted["model"]) = (Value::Null, Value::Null);
        assert_eq!(got, wanted);
    }
    assert_eq!((behind.count(), direct.count()), (3, 3));
}
