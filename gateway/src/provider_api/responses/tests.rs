//! What the golden conversations do not say: tools of the provider, clients of the same format, and what is broken.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

use super::Responses;
use crate::chat::request::{ChatRequest, Delivery};
use crate::client_api::Format;
use crate::config::DropParams;
use crate::provider_api::{
    EncodeError, Encoded, Encoding, ErrorAnswer, ProviderApi, Quirks, Sent, StreamEvent,
};
use crate::relay::replay;
use crate::wire::chat::{Assembler, Chunk, forget_native};
use crate::wire::responses::end;

const REQUEST: &str = include_str!("../../../../fixtures/responses/hosted_tools.request.json");
const ANSWER: &str = include_str!("../../../../fixtures/responses/hosted_tools.answer.json");
const STREAM: &str = include_str!("../../../../fixtures/responses/hosted_tools.stream.sse");

fn request(format: Format, body: &Value) -> ChatRequest {
    format.api().parse(&Bytes::from(body.to_string())).unwrap_or_else(|e| panic!("{body}: {e}"))
}

fn encode_by(quirks: &str, request: &ChatRequest, drop_params: DropParams) -> Result<Encoded, EncodeError> {
    let (quirks, settings): (Quirks, _) = (serde_saphyr::from_str(quirks).unwrap(), BTreeMap::new());
    let how = Encoding {
        model: "o3-pro",
        stream: request.stream,
        quirks: &quirks,
        settings: &settings,
        drop_params,
    };
    Responses.encode(request, &how)
}

/// What is sent for a chat completion request, and what of it is left out.
fn sent(quirks: &str, body: &Value) -> (Value, Vec<String>) {
    let encoded = encode_by(quirks, &request(Format::OpenAiChat, body), DropParams::Drop).unwrap();
    (serde_json::from_slice(&encoded.body).unwrap(), encoded.dropped)
}

fn read(native: bool, pieces: impl Iterator<Item = Vec<u8>>) -> Result<Vec<StreamEvent>, String> {
    let (mut decoder, mut events) = (Responses.stream(Sent { native, ..Sent::default() }), Vec::new());
    for piece in pieces {
        decoder.push(&piece, &mut events).map_err(|e| e.to_string())?;
    }
    decoder.finish(&mut events);
    Ok(events)
}

fn pieces(bytes: &[u8], length: usize) -> impl Iterator<Item = Vec<u8>> {
    bytes.chunks(length).map(<[u8]>::to_vec)
}

/// The chunks of a stream that comes to its end.
fn chunks(native: bool, bytes: &[u8], length: usize) -> Vec<Chunk> {
    let mut events = read(native, pieces(bytes, length)).unwrap();
    assert!(matches!(events.pop(), Some(StreamEvent::Done)), "no end");
    let chunk = |event| match event {
        StreamEvent::Chunk(chunk) => chunk,
        _ => panic!("no chunk"),
    };
    events.into_iter().map(chunk).collect()
}

fn whole(native: bool) -> Chunk {
    Responses.decode_whole(ANSWER.as_bytes(), &Sent { native, ..Sent::default() }).unwrap()
}

fn delivery(stream: bool) -> Delivery {
    let echo = serde_json::from_str(REQUEST).ok().map(std::sync::Arc::new);
    Delivery { format: Format::OpenAiResponses, stream, include_usage: true, echo, called: None }
}

/// The events that a client of this format gets of these chunks.
fn told(chunks: impl IntoIterator<Item = Chunk>) -> Vec<Value> {
    let mut encoder = Format::OpenAiResponses.api().stream(&delivery(true));
    let mut out = Vec::new();
    for chunk in chunks {
        out.extend(encoder.push(chunk).unwrap_or_default());
    }
    out.extend(encoder.finish());
    events(std::str::from_utf8(&out).unwrap())
}

fn events(stream: &str) -> Vec<Value> {
    let event = |event: &str| {
        let (name, data) = event.split_once("\ndata: ").unwrap();
        let mut data: Value = serde_json::from_str(data).unwrap();
        assert_eq!(name.strip_prefix("event: "), data["type"].as_str());
        data.as_object_mut().unwrap().remove("obfuscation");
        data
    };
    stream.split_terminator("\n\n").map(event).collect()
}

#[test]
fn a_client_of_this_format_gets_the_providers_own_items_and_events() {
    let given: Value = serde_json::from_str(ANSWER).unwrap();
    let body = Format::OpenAiResponses.api().encode_whole(whole(true), &delivery(false));
    assert_eq!(serde_json::from_slice::<Value>(&body).unwrap(), given);
    let wanted = events(STREAM);
    for length in [1, 41, 1000, STREAM.len()] {
        let got = told(chunks(true, STREAM.as_bytes(), length));
        assert_eq!(got.len(), wanted.len(), "pieces of {length}");
        for (got, wanted) in got.iter().zip(&wanted) {
            assert_eq!(got, wanted, "pieces of {length}");
        }
    }
}

#[test]
fn an_answer_that_was_streamed_is_the_whole_one_and_the_other_way_round() {
    let mut assembler = Assembler::default();
    chunks(true, STREAM.as_bytes(), 99).iter().for_each(|chunk| assembler.push(chunk));
    let streamed = assembler.finish();
    let given: Value = serde_json::from_str(ANSWER).unwrap();
    let body = Format::OpenAiResponses.api().encode_whole(streamed.clone(), &delivery(false));
    assert_eq!(serde_json::from_slice::<Value>(&body).unwrap(), given);
    // Who comes late is told the same with fewer pieces.
    let late = told(replay(streamed));
    assert_eq!(late.last().unwrap()["response"], given);
    let count = |events: &[Value], kind: &str| events.iter().filter(|event| event["type"] == kind).count();
    assert_eq!(count(&late, "response.output_text.delta"), 1);
    assert_eq!(count(&late, "response.output_item.done"), 9);
    // What came whole, or out of the cache, is told as a stream, too.
    for chunks in [vec![whole(true)], replay(whole(true))] {
        let got = told(chunks);
        let kinds: Vec<&str> = got.iter().filter_map(|event| event["type"].as_str()).collect();
        assert_eq!(kinds[..3], ["response.created", "response.in_progress", "response.output_item.added"]);
        assert_eq!(count(&got, "response.output_item.done"), 9);
        assert_eq!(count(&got, "response.output_text.annotation.added"), 2);
        assert_eq!(got.last().unwrap()["response"], given);
        assert!(got.iter().enumerate().all(|(at, event)| event["sequence_number"] == at));
    }
}

#[test]
fn who_joins_at_any_point_is_told_all_of_it() {
    let all = chunks(true, STREAM.as_bytes(), 300);
    let texts = |events: &[Value]| {
        let mut texts: BTreeMap<String, String> = BTreeMap::new();
        for event in events {
            if let (Some(piece), Some(kind)) = (event["delta"].as_str(), event["type"].as_str()) {
                let place = format!("{kind} {} {}", event["item_id"], event["summary_index"]);
                texts.entry(place).or_default().push_str(piece);
            }
        }
        texts
    };
    let whole = |event: &Value| {
        let mut event = event.clone();
        event.as_object_mut().unwrap().remove("sequence_number");
        event["delta"].is_null().then_some(event)
    };
    let wanted = events(STREAM);
    let others: Vec<Value> = wanted.iter().filter_map(whole).collect();
    for joined in 0..=all.len() {
        let mut so_far = Assembler::default();
        all[..joined].iter().for_each(|chunk| so_far.push(chunk));
        let missed = if joined == 0 { Vec::new() } else { replay(so_far.finish()) };
        let got = told(missed.into_iter().chain(all[joined..].iter().cloned()));
        assert_eq!(texts(&got), texts(&wanted), "joined at {joined}");
        assert_eq!(got.iter().filter_map(whole).collect::<Vec<_>>(), others, "joined at {joined}");
    }
}

#[test]
fn who_gets_an_answer_that_was_anothers_sees_its_own_name_and_nothing_of_whom_it_was_for() {
    let (mut chunk, echo) = (whole(true), std::sync::Arc::new(serde_json::Map::new()));
    (chunk.id, chunk.created) = ("resp_own".to_owned(), 5);
    let own = Delivery { echo: Some(echo), ..delivery(false) };
    let body = Format::OpenAiResponses.api().encode_whole(chunk, &own);
    let told: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(
        (&told["id"], &told["created_at"], &told["metadata"]),
        (&json!("resp_own"), &json!(5), &json!({}))
    );
}

#[test]
fn other_clients_get_the_words_the_calls_the_citations_and_what_goes_back() {
    let one = whole(false);
    let mut assembler = Assembler::default();
    chunks(false, STREAM.as_bytes(), 64).iter().for_each(|chunk| assembler.push(chunk));
    let mut streamed = assembler.finish();
    forget_native(&mut streamed);
    assert!(streamed == one, "a stream comes to the same");
    assert!(end(&one).is_none());
    let choice = &one.choices[0];
    assert_eq!(choice.delta.content.as_deref(), Some("High water is at 14:20. The harbour then has 3.1 m."));
    assert_eq!(choice.finish_reason.as_deref(), Some("tool_calls"));
    let rest = &choice.delta.rest;
    assert_eq!(
        rest["reasoning_content"],
        "**Looking up the tides**\n\nFirst the time of high water.\n\nThen the depth: 2.2 + 0.9."
    );
    assert_eq!(rest["annotations"][0]["url_citation"]["title"], "Tides on Friday");
    let usage = one.usage.as_ref().unwrap();
    assert_eq!((usage.prompt_tokens, usage.completion_tokens, usage.cached_tokens()), (5210, 377, 4096));
    assert_eq!(usage.rest["completion_tokens_details"]["reasoning_tokens"], 192);
    let call = serde_json::to_value(&choice.delta.tool_calls).unwrap();
    let custom = json!({ "name": "note", "input": "Friday 14:20, 3.1 m" });
    assert_eq!(call, json!([{ "index": 0, "id": "call_note1", "type": "custom", "custom": custom }]));
    // With the blocks and the call, the next request has the model's own items again.
    let mut turn = json!({ "role": "assistant", "content": null, "tool_calls": call });
    turn["thinking_blocks"] = rest["thinking_blocks"].clone();
    let result = json!({ "role": "tool", "tool_call_id": "call_note1", "content": "Done." });
    let messages = json!([{ "role": "user", "content": "When?" }, turn, result]);
    let (body, _) = sent("{}", &json!({ "model": "m", "messages": messages }));
    let given: Value = serde_json::from_str(ANSWER).unwrap();
    let reasoning = &body["input"][1];
    assert_eq!(
        (&reasoning["id"], &reasoning["encrypted_content"]),
        (&given["output"][0]["id"], &given["output"][0]["encrypted_content"])
    );
    let called = json!({ "type": "custom_tool_call", "call_id": "call_note1", "name": "note", "input": "Friday 14:20, 3.1 m" });
    let output = json!({ "type": "custom_tool_call_output", "call_id": "call_note1", "output": "Done." });
    assert_eq!((&body["input"][2], &body["input"][3]), (&called, &output));
}

#[test]
fn a_client_of_this_format_has_its_own_bytes_sent() {
    let request = Format::OpenAiResponses.api().parse(&Bytes::from_static(REQUEST.as_bytes())).ok().unwrap();
    let encoded = encode_by("{}", &request, DropParams::Drop).unwrap();
    assert!(encoded.sent.native && encoded.dropped.is_empty());
    let body = std::str::from_utf8(&encoded.body).unwrap();
    assert!(body.contains("2.50") && body.starts_with("{\"model\":\"o3-pro\""), "{body}");
    let mut wanted: Value = serde_json::from_str(REQUEST).unwrap();
    wanted["model"] = json!("o3-pro");
    assert_eq!(serde_json::from_str::<Value>(body).unwrap(), wanted);
    let quirks = "{unsupported: [max_tool_calls], defaults: {store: true, truncation: auto}}";
    let encoded = encode_by(quirks, &request, DropParams::Drop).unwrap();
    let body: Value = serde_json::from_slice(&encoded.body).unwrap();
    assert_eq!((&body["store"], &body["truncation"]), (&json!(false), &json!("auto")));
    assert!(body.get("max_tool_calls").is_none() && encoded.dropped == ["max_tool_calls"]);
    let strict = encode_by(quirks, &request, DropParams::Strict).err();
    assert_eq!(strict, Some(EncodeError::unsupported("max_tool_calls")));
}

#[test]
fn reasoning_that_another_provider_signed_stays_here_and_ours_goes_back() {
    let blocks = json!([
        { "type": "thinking", "thinking": "Hm.", "signature": "c2ln" },
        { "type": "redacted_thinking", "data": "openai/rs_1/gAAA" },
    ]);
    let mut chunk = Chunk { id: "a".to_owned(), ..Chunk::default() };
    chunk.choices = vec![
        serde_json::from_value(
            json!({ "index": 0, "delta": { "content": "Six.", "thinking_blocks": blocks } }),
        )
        .unwrap(),
    ];
    let body = Format::OpenAiResponses.api().encode_whole(chunk, &delivery(false));
    let told: Value = serde_json::from_slice(&body).unwrap();
    let mut input = vec![json!({ "role": "user", "content": "Add." })];
    input.extend(told["output"].as_array().unwrap().iter().cloned());
    let request = request(Format::OpenAiResponses, &json!({ "model": "m", "input": input }));
    let encoded = encode_by("{}", &request, DropParams::Drop).unwrap();
    let body: Value = serde_json::from_slice(&encoded.body).unwrap();
    let own = json!({ "type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAA" });
    assert_eq!((&body["input"][1], body["input"].as_array().unwrap().len()), (&own, 3));
}

#[test]
fn settings_of_chat_completions_are_said_in_this_apis_words() {
    let messages = json!([
        { "role": "system", "content": "Be brief." },
        { "role": "user", "content": [{ "type": "text", "text": "Hi" }, { "type": "image_url", "image_url": { "url": "https://a.example/b.png" } }], "name": "ada" },
        { "role": "assistant", "content": null, "refusal": "No." },
        { "role": "assistant", "content": "", "function_call": { "name": "f", "arguments": "{}" } },
        { "role": "function", "name": "f", "content": "1" },
        { "role": "developer", "content": "Go on." },
    ]);
    let place = json!({ "approximate": { "country": "NO" }, "type": "approximate" });
    let (body, mut dropped) = sent(
        "{reasoning_models: [o3]}",
        &json!({
            "model": "m", "messages": messages, "max_tokens": 5, "max_completion_tokens": 9, "reasoning_effort": "low", "verbosity": "low",
            "response_format": { "type": "json_schema", "json_schema": { "name": "a", "schema": {} } }, "logprobs": true, "top_logprobs": 2,
            "tools": [{ "type": "function", "function": { "name": "f" } }, { "type": "web_search" }], "web_search_options": { "user_location": place },
            "tool_choice": { "type": "function", "function": { "name": "f" } }, "stop": ["x"], "seed": 7, "n": 1, "top_k": null,
            "stream": true, "stream_options": { "include_usage": true }, "metadata": { "a": "b" },
        }),
    );
    dropped.sort();
    assert_eq!(dropped, ["messages[1].name", "seed", "stop"]);
    let call = json!({ "type": "function_call", "call_id": "call_1", "name": "f", "arguments": "{}" });
    let wanted = json!({
        "model": "o3-pro", "instructions": "Be brief.", "max_output_tokens": 16, "reasoning": { "effort": "low" }, "store": false, "stream": true,
        "text": { "format": { "type": "json_schema", "name": "a", "schema": {} }, "verbosity": "low" }, "top_logprobs": 2, "metadata": { "a": "b" },
        "include": ["message.output_text.logprobs", "reasoning.encrypted_content"],
        "tools": [
            { "type": "function", "name": "f", "strict": false, "parameters": null }, { "type": "web_search" },
            { "type": "web_search", "user_location": { "country": "NO", "type": "approximate" } },
        ],
        "tool_choice": { "type": "function", "name": "f" },
        "input": [
            { "type": "message", "role": "user", "content": [
                { "type": "input_text", "text": "Hi" }, { "type": "input_image", "image_url": "https://a.example/b.png", "detail": "auto" },
            ] },
            { "type": "message", "role": "assistant", "content": [{ "type": "refusal", "refusal": "No." }] },
            call,
            { "type": "function_call_output", "call_id": "call_1", "output": "1" },
            { "type": "message", "role": "developer", "content": "Go on." },
        ],
    });
    assert_eq!(body, wanted);
}

#[test]
fn what_would_mean_something_else_is_refused_by_its_name() {
    let hi = json!([{ "role": "user", "content": "Hi" }]);
    for (body, param) in [
        (json!({ "messages": hi, "n": 2 }), "n"),
        (json!({ "messages": hi, "modalities": ["text", "audio"] }), "modalities"),
        (
            json!({ "messages": [{ "role": "user", "content": [{ "type": "document" }] }] }),
            "messages[0].content[0].type",
        ),
        (
            json!({ "messages": [{ "role": "user", "content": [{ "type": "image_url" }] }] }),
            "messages[0].content[0].image_url.url",
        ),
        (json!({ "messages": [{ "role": "wizard", "content": "Hi" }] }), "messages[0].role"),
        (
            json!({ "messages": [{ "role": "assistant", "tool_calls": [{ "id": "c" }] }] }),
            "messages[0].tool_calls[0]",
        ),
    ] {
        let mut body = body;
        body["model"] = json!("m");
        let error = encode_by("{}", &request(Format::OpenAiChat, &body), DropParams::Drop).err();
        match error {
            Some(EncodeError::Unsupported { param: got, .. } | EncodeError::Invalid { param: got, .. }) => {
                assert_eq!(got, param);
            }
            other => panic!("{body} gave {other:?}"),
        }
    }
}

fn sse(events: &[Value]) -> Vec<u8> {
    events.iter().map(|event| format!("data: {event}\n\n")).collect::<String>().into_bytes()
}

#[test]
fn a_model_that_thinks_or_searches_is_at_work_and_one_that_only_began_may_be_given_up() {
    let begun = json!({ "type": "response.created", "response": { "id": "r", "status": "in_progress", "output": [] } });
    for (kind, counts) in [("reasoning", true), ("web_search_call", true), ("message", false)] {
        let added = json!({ "type": "response.output_item.added", "output_index": 0, "item": { "type": kind, "id": "i" } });
        for native in [false, true] {
            let events = read(native, pieces(&sse(&[begun.clone(), added.clone()]), 50)).unwrap();
            let shows =
                |event: &StreamEvent| matches!(event, StreamEvent::Chunk(chunk) if chunk.has_content());
            assert_eq!(events.iter().any(shows), counts, "{kind}, native: {native}");
        }
    }
}

#[test]
fn what_came_in_no_pieces_is_told_at_the_end() {
    let item =
        json!({ "type": "message", "id": "msg_1", "content": [{ "type": "output_text", "text": "Six." }] });
    let call =
        json!({ "type": "function_call", "id": "fc_1", "call_id": "c", "name": "f", "arguments": "{}" });
    let last = json!({ "type": "response.completed", "response": { "id": "r", "status": "completed", "output": [item, call] } });
    let done = |at: u64, item: &Value| json!({ "type": "response.output_item.done", "output_index": at, "item": item });
    let mut begun = call.clone();
    begun["arguments"] = json!("");
    let added = json!({ "type": "response.output_item.added", "output_index": 1, "item": begun });
    for stream in [
        vec![last.clone()],
        vec![done(0, &item), last.clone()],
        vec![done(0, &item), added, done(1, &call), last.clone()],
    ] {
        let mut assembler = Assembler::default();
        chunks(false, &sse(&stream), 7).iter().for_each(|chunk| assembler.push(chunk));
        let whole = assembler.finish();
        let delta = &whole.choices[0].delta;
        assert_eq!(delta.content.as_deref(), Some("Six."));
        let function = delta.tool_calls[0].function.as_ref().unwrap();
        assert_eq!((delta.tool_calls.len(), function.arguments.as_deref()), (1, Some("{}")));
        assert_eq!(whole.choices[0].finish_reason.as_deref(), Some("tool_calls"));
    }
}

#[test]
fn a_stream_without_its_last_event_is_cut_and_one_that_failed_says_why() {
    let cut = STREAM.find("event: response.completed").unwrap();
    let cut = read(true, pieces(&STREAM.as_bytes()[..cut], 512)).unwrap();
    assert!(!cut.iter().any(|event| matches!(event, StreamEvent::Done | StreamEvent::Error(_))));
    let error = json!({ "code": "rate_limit_exceeded", "message": "Slow down." });
    for event in [
        json!({ "type": "response.failed", "response": { "status": "failed", "error": error, "output": [] } }),
        json!({ "type": "error", "code": "rate_limit_exceeded", "message": "Slow down.", "param": null }),
        json!({ "type": "error", "error": error }),
        json!({ "error": error }),
    ] {
        let events = read(false, pieces(&sse(&[event]), 9)).unwrap();
        let [StreamEvent::Error(told)] = events.as_slice() else { panic!("an error") };
        assert_eq!((&told["code"], &told["message"]), (&error["code"], &error["message"]));
        assert!(["type", "param"].iter().all(|name| told.get(*name).is_some()));
    }
    let body = json!({ "id": "r", "status": "failed", "error": error, "output": [] }).to_string();
    let headers = HeaderMap::new();
    let answer = ErrorAnswer { status: StatusCode::OK, headers: &headers, body: body.as_bytes() };
    assert_eq!(Responses.decode_error(&answer).unwrap()["code"], "rate_limit_exceeded");
    let fine = ErrorAnswer { body: ANSWER.as_bytes(), ..answer };
    assert!(Responses.decode_error(&fine).is_none());
}

#[test]
fn what_is_no_answer_is_refused_without_quoting_it() {
    for body in [
        "<html>secret</html>",
        "{}",
        "[]",
        "7",
        "{\"id\": \"secret\", \"output\": []}",
        "{\"status\": \"completed\", \"output\": \"secret\"}",
        "{\"status\": \"in_progress\", \"output\": [], \"id\": \"secret\"}",
        "{\"status\": \"queued\", \"output\": []}",
        "{\"status\": \"completed\", \"error\": {\"message\": \"secret\"}, \"output\": []}",
    ] {
        for native in [false, true] {
            let sent = Sent { native, ..Sent::default() };
            let error = Responses.decode_whole(body.as_bytes(), &sent).err().unwrap().to_string();
            assert!(!error.contains("secret"), "{error}");
        }
    }
    for stream in [
        "data: secret\n\n",
        "data: []\n\n",
        "data: {\"type\":\"response.completed\"}\n\n",
        "data: {\"type\":\"response.completed\",\"response\":{\"status\":\"x\"}}\n\n",
    ] {
        let error = read(true, pieces(stream.as_bytes(), 5)).err().unwrap();
        assert!(!error.contains("secret"), "{error}");
    }
    let odd = [
        json!({ "type": "response.output_text.delta" }),
        json!({ "type": 7 }),
        json!({ "type": "response.output_item.added", "item": 7, "output_index": "x" }),
    ];
    assert!(
        read(true, pieces(&sse(&odd), 5))
            .is_ok_and(|events| !events.iter().any(|event| matches!(event, StreamEvent::Done)))
    );
}

#[test]
fn damaged_streams_end_in_an_error_or_without_an_end_and_never_in_a_panic() {
    let mut seed = 1_u64;
    let mut random = move |below: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(seed >> 33).unwrap_or(0) % below
    };
    let mut readable = 0;
    for _ in 0..300 {
        let mut bytes = STREAM.as_bytes().to_vec();
        for _ in 0..=random(4) {
            match random(3) {
                0 => {
                    let at = random(bytes.len());
                    bytes[at] = b"\"{}[]:,0\n"[random(9)];
                }
                1 => {
                    let (from, length) = (random(bytes.len()), random(400));
                    let to = (from + length).min(bytes.len());
                    bytes.drain(from..to);
                }
                _ => {
                    let (from, at) = (random(bytes.len()), random(bytes.len()));
                    let copied = bytes[from..(from + 200).min(bytes.len())].to_vec();
                    bytes.splice(at..at, copied);
                }
            }
        }
        let Ok(events) = read(true, pieces(&bytes, 777)) else { continue };
        readable += 1;
        told(events.into_iter().filter_map(|event| match event {
            StreamEvent::Chunk(chunk) => Some(chunk),
            _ => None,
        }));
    }
    assert!(readable > 10, "only {readable} could be read at all");
}
