//! What Anthropic's clients may say, and what they get.

use std::borrow::Borrow;

use bytes::Bytes;
use serde_json::{Value, json};

use super::{AnthropicMessages, stream, whole};
use crate::client_api::{AnswerEncoder, ClientApi, openai_chat};
use crate::error::ApiError;
use crate::provider_api::anthropic::Anthropic;
use crate::provider_api::{ProviderApi, Sent, StreamEvent};
use crate::relay::replay;
use crate::wire::chat::{Assembler, Chunk};
use crate::wire::sse::SseDecoder;

fn native() -> Sent {
    Sent { native: true, ..Sent::default() }
}

fn chat(said: impl Borrow<Value>) -> Value {
    Value::Object(AnthropicMessages.as_chat(said.borrow().as_object().unwrap()).unwrap())
}

#[test]
fn a_bad_field_is_named_by_its_path() {
    let message = r#"{"role":"user","content":"a"}"#;
    for (body, param) in [
        ("[]".to_owned(), "json"),
        ("{}".to_owned(), "model"),
        (r#"{"model":"m"}"#.to_owned(), "max_tokens"),
        (r#"{"model":"m","max_tokens":"9"}"#.to_owned(), "max_tokens"),
        (r#"{"model":"m","max_tokens":9}"#.to_owned(), "messages"),
        (r#"{"model":"m","max_tokens":9,"messages":[]}"#.to_owned(), "messages"),
        (format!(r#"{{"model":"m","max_tokens":9,"messages":[{message},"a"]}}"#), "messages[1]"),
        (
            r#"{"model":"m","max_tokens":9,"messages":[{"role":"tool","content":"a"}]}"#.to_owned(),
            "messages[0].role",
        ),
        (r#"{"model":"m","max_tokens":9,"messages":[{"role":"user"}]}"#.to_owned(), "messages[0].content"),
        (
            r#"{"model":"m","max_tokens":9,"messages":[{"role":"user","content":["a"]}]}"#.to_owned(),
            "messages[0].content[0]",
        ),
        (format!(r#"{{"model":"m","max_tokens":9,"messages":[{message}],"system":7}}"#), "system"),
        (format!(r#"{{"model":"m","max_tokens":9,"messages":[{message}],"stream":"yes"}}"#), "stream"),
    ] {
        let told = match AnthropicMessages.parse(&Bytes::from(body.clone())).err() {
            Some(ApiError::Invalid { param, .. }) => param,
            Some(ApiError::Json(_)) => "json".to_owned(),
            other => panic!("{body} gave {other:?}"),
        };
        assert_eq!(told, param, "{body}");
    }
}

#[test]
fn a_request_reads_as_the_one_that_an_openai_client_would_have_sent() {
    let said = json!({
        "model": "m", "max_tokens": 9, "stop_sequences": ["END"], "metadata": { "user_id": "u-1" }, "stream": false,
        "system": [{ "type": "text", "text": "Be brief." }],
        "tool_choice": { "type": "any", "disable_parallel_tool_use": true },
        "tools": [{ "name": "f", "description": "d", "input_schema": { "type": "object" } }, { "type": "web_search_20250305", "name": "web_search" }],
        "output_config": { "effort": "low" },
        "messages": [
            { "role": "user", "content": [{ "type": "text", "text": "Look:" }, { "type": "image", "source": { "type": "base64", "media_type": "image/png", "data": "QUJD" } }] },
            { "role": "assistant", "content": [
                { "type": "thinking", "thinking": "hm", "signature": "s" }, { "type": "text", "text": "One moment." },
                { "type": "tool_use", "id": "a", "name": "f", "input": { "x": 1 } },
            ] },
            { "role": "user", "content": [
                { "type": "tool_result", "tool_use_id": "a", "content": [{ "type": "text", "text": "none" }], "is_error": true },
                { "type": "text", "text": "So?" },
            ] },
        ],
    });
    assert_eq!(
        chat(said),
        json!({
            "model": "m", "max_tokens": 9, "stop": ["END"], "user": "u-1", "stream": false, "tool_choice": "required", "parallel_tool_calls": false,
            "tools": [{ "type": "function", "function": { "name": "f", "description": "d", "parameters": { "type": "object" } } },
                { "type": "web_search_20250305", "name": "web_search" }],
            "reasoning_effort": "low",
            "messages": [
                { "role": "system", "content": "Be brief." },
                { "role": "user", "content": [{ "type": "text", "text": "Look:" }, { "type": "image_url", "image_url": { "url": "data:image/png;base64,QUJD" } }] },
                { "role": "assistant", "content": "One moment.", "reasoning_content": "hm",
                    "thinking_blocks": [{ "type": "thinking", "thinking": "hm", "signature": "s" }],
                    "tool_calls": [{ "id": "a", "type": "function", "function": { "name": "f", "arguments": "{\"x\":1}" } }] },
                { "role": "tool", "tool_call_id": "a", "content": "none", "is_error": true },
                { "role": "user", "content": "So?" },
            ],
        })
    );
}

#[test]
fn what_has_no_counterpart_keeps_its_own_name() {
    let block = json!({ "type": "web_search_tool_result", "tool_use_id": "s", "content": [] });
    let document = json!({ "type": "document", "source": { "type": "text", "media_type": "text/plain", "data": "x" }, "citations": { "enabled": true } });
    let said = chat(
        json!({ "messages": [{ "role": "user", "content": [document] }, { "role": "assistant", "content": [block] }],
        "container": "c", "thinking": { "type": "adaptive" }, "metadata": { "team": "t" }, "top_k": 5 }),
    );
    assert_eq!((&said["messages"][0]["content"][0], &said["messages"][1]["content"][0]), (&document, &block));
    assert_eq!(
        (&said["container"], &said["thinking"], &said["metadata"], &said["top_k"]),
        (&json!("c"), &json!({ "type": "adaptive" }), &json!({ "team": "t" }), &json!(5))
    );
}

#[test]
fn a_schema_is_strict_where_every_object_is() {
    let of = |schema: Value| {
        chat(json!({ "output_config": { "format": { "type": "json_schema", "schema": schema } } }))["response_format"].take()
    };
    let strict = json!({ "type": "object", "properties": { "a": { "type": "string" } }, "required": ["a"], "additionalProperties": false });
    assert_eq!(
        of(strict.clone())["json_schema"],
        json!({ "name": "answer", "schema": strict, "strict": true })
    );
    let mut optional = strict;
    optional["required"] = json!([]);
    assert_eq!(of(optional)["json_schema"]["strict"], false);
}

/// The events of a stream.
fn events(bytes: &[u8]) -> Vec<Value> {
    let (mut decoder, mut data) = (SseDecoder::default(), Vec::new());
    decoder.push(bytes, &mut data).unwrap();
    assert!(!decoder.mid_event());
    data.iter().map(|event| serde_json::from_slice(event).unwrap()).collect()
}

/// The message that a client puts together of a stream's events, which it wants in order.
fn put_together(events: &[Value]) -> Value {
    let (mut message, mut open, mut ended) = (Value::Null, None, false);
    for event in events {
        let index = event["index"].as_u64().unwrap_or(0) as usize;
        match event["type"].as_str().unwrap() {
            "message_start" => message = event["message"].clone(),
            "content_block_start" => {
                assert_eq!((open, message["content"].as_array().unwrap().len()), (None, index));
                open = Some(index);
                message["content"].as_array_mut().unwrap().push(event["content_block"].clone());
            }
            "content_block_stop" => assert_eq!(open.take(), Some(index)),
            "content_block_delta" => {
                assert_eq!(open, Some(index));
                let (delta, block) = (&event["delta"], &mut message["content"][index]);
                let grow = |block: &mut Value, name: &str, more: &Value| {
                    block[name] =
                        json!(block[name].as_str().unwrap_or_default().to_owned() + more.as_str().unwrap());
                };
                match delta["type"].as_str().unwrap() {
                    "text_delta" => grow(block, "text", &delta["text"]),
                    "thinking_delta" => grow(block, "thinking", &delta["thinking"]),
                    "signature_delta" => block["signature"] = delta["signature"].clone(),
                    "input_json_delta" => grow(block, "json", &delta["partial_json"]),
                    "citations_delta" => match &mut block["citations"] {
                        Value::Array(all) => all.push(delta["citation"].clone()),
                        none => *none = json!([delta["citation"]]),
                    },
                    other => grow(block, other, &delta["piece"]),
                }
            }
            "message_delta" => {
                let delta = event["delta"].as_object().unwrap().clone();
                message.as_object_mut().unwrap().extend(delta);
                let usage = event["usage"].as_object().unwrap().clone();
                message["usage"].as_object_mut().unwrap().extend(usage);
            }
            "message_stop" => ended = true,
            _ => {}
        }
    }
    assert!(ended && open.is_none());
    for block in message["content"].as_array_mut().unwrap() {
        if let Some(text) = block.as_object_mut().unwrap().remove("json") {
            block["input"] = serde_json::from_str(text.as_str().unwrap()).unwrap();
        }
    }
    message
}

fn streamed(chunks: impl IntoIterator<Item = Chunk>) -> Vec<Value> {
    let (mut encoder, mut out) = (Box::<stream::StreamEncoder>::default(), Vec::new());
    for chunk in chunks {
        out.extend(encoder.push(chunk).unwrap_or_default());
    }
    out.extend((encoder as Box<dyn AnswerEncoder>).finish());
    events(&out)
}

/// What a provider's events are to a client, through what all formats share.
fn relayed(sent: &[Value]) -> (Vec<Value>, Chunk) {
    let (mut decoder, mut out) = (Anthropic.stream(native()), Vec::new());
    for event in sent {
        decoder
            .push(
                format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap()).as_bytes(),
                &mut out,
            )
            .unwrap();
    }
    assert!(matches!(out.pop(), Some(StreamEvent::Done)));
    let chunks: Vec<Chunk> = out
        .into_iter()
        .map(|event| match event {
            StreamEvent::Chunk(chunk) => chunk,
            _ => panic!("a chunk"),
        })
        .collect();
    let mut whole = Assembler::default();
    chunks.iter().for_each(|chunk| whole.push(chunk));
    (streamed(chunks), whole.finish())
}

fn rich() -> (Value, Vec<Value>) {
    let result = json!({ "type": "web_search_result", "url": "https://a.example", "title": "A", "encrypted_content": "x", "page_age": null });
    let citation = |text: &str| json!({ "type": "web_search_result_location", "cited_text": text, "url": "https://a.example", "title": "A", "encrypted_index": "i" });
    let content = json!([
        { "type": "thinking", "thinking": "Let me look.", "signature": "sig" },
        { "type": "redacted_thinking", "data": "opaque" },
        { "type": "text", "text": "I search.", "citations": null },
        { "type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": { "query": "a" }, "caller": { "type": "direct" } },
        { "type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": [result] },
        { "type": "text", "text": "It is ", "citations": null },
        { "type": "text", "text": "A.", "citations": [citation("It is A."), citation("Or so.")] },
        { "type": "tool_use", "id": "toolu_1", "name": "f", "input": { "deep": [{ "x": 1.5 }], "to": "a\"b" } },
        { "type": "tool_use", "id": "toolu_2", "name": "g", "input": {} },
        { "type": "future_block", "odd": { "a": [1, null] } },
    ]);
    let usage = json!({ "input_tokens": 5, "output_tokens": 40, "cache_read_input_tokens": 7, "cache_creation_input_tokens": 0,
        "server_tool_use": { "web_search_requests": 1 }, "service_tier": "standard" });
    let message = json!({ "id": "msg_1", "type": "message", "role": "assistant", "model": "claude-x", "content": content,
        "stop_reason": "stop_sequence", "stop_sequence": "END", "container": { "id": "c", "expires_at": "2026-01-01T00:00:00Z" }, "usage": usage });
    let mut begun = message.clone();
    for (name, value) in
        [("content", json!([])), ("stop_reason", Value::Null), ("stop_sequence", Value::Null)]
    {
        begun[name] = value;
    }
    begun["usage"]["output_tokens"] = json!(1);
    let mut events = vec![json!({ "type": "message_start", "message": begun }), json!({ "type": "ping" })];
    for (index, block) in content.as_array().unwrap().iter().enumerate() {
        let (mut start, mut deltas) = (block.clone(), Vec::new());
        let halves = |text: &str| {
            let (a, b) = text.split_at(text.len() / 2);
            [a.to_owned(), b.to_owned()]
        };
        for (name, kind) in
            [("text", "text_delta"), ("thinking", "thinking_delta"), ("signature", "signature_delta")]
        {
            if let Some(text) = block.get(name).and_then(Value::as_str).map(str::to_owned) {
                start[name] = json!("");
                let pieces = if name == "signature" { vec![text] } else { halves(&text).to_vec() };
                deltas.extend(pieces.into_iter().map(|piece| json!({ "type": kind, name: piece })));
            }
        }
        if let Some(input) = block.get("input").filter(|input| **input != json!({})) {
            start["input"] = json!({});
            deltas.extend(
                halves(&input.to_string())
                    .map(|piece| json!({ "type": "input_json_delta", "partial_json": piece })),
            );
        }
        if let Some(Value::Array(citations)) = block.get("citations") {
            start["citations"] = json!([]);
            deltas.extend(
                citations.iter().map(|citation| json!({ "type": "citations_delta", "citation": citation })),
            );
        }
        events.push(json!({ "type": "content_block_start", "index": index, "content_block": start }));
        events.extend(
            deltas
                .into_iter()
                .map(|delta| json!({ "type": "content_block_delta", "index": index, "delta": delta })),
        );
        events.push(json!({ "type": "content_block_stop", "index": index }));
    }
    events.push(json!({ "type": "future_event", "x": 1 }));
    events.push(json!({ "type": "message_delta", "delta": { "stop_reason": "stop_sequence", "stop_sequence": "END", "container": message["container"] },
        "usage": { "output_tokens": 40, "server_tool_use": { "web_search_requests": 1 } } }));
    events.push(json!({ "type": "message_stop" }));
    (message, events)
}

#[test]
fn between_two_ends_of_this_format_nothing_is_lost() {
    let (message, sent) = rich();
    let chunk = Anthropic.decode_whole(message.to_string().as_bytes(), &native()).unwrap();
    assert_eq!(whole::encode(chunk.clone()), message);
    assert_eq!(put_together(&sent), message, "the stream says the same");
    let (got, assembled) = relayed(&sent);
    assert_eq!(put_together(&got), message);
    let told: Vec<_> = sent.iter().filter(|event| event["type"] != "ping").collect();
    assert_eq!(got.iter().collect::<Vec<_>>(), told, "event by event");
    // Who comes late, or asked for a stream that came whole, has the same in other pieces.
    assert_eq!(put_together(&streamed(replay(assembled))), message);
    assert_eq!(put_together(&streamed([chunk])), message);
}

#[test]
fn a_piece_of_a_kind_that_is_not_known_goes_on_as_it_came() {
    let (_, mut sent) = rich();
    let at = sent.iter().position(|event| event["content_block"]["type"] == "future_block").unwrap();
    let piece = json!({ "type": "content_block_delta", "index": 9, "delta": { "type": "future_delta", "piece": "p" } });
    sent.insert(at + 1, piece.clone());
    assert!(relayed(&sent).0.contains(&piece));
}

/// An answer of a provider of another format.
fn translated() -> Chunk {
    serde_json::from_value(json!({ "id": "chatcmpl-1", "model": "gpt", "created": 5, "choices": [{ "index": 0, "finish_reason": "tool_calls", "message": {
        "role": "assistant", "reasoning_content": "hm", "content": "One moment.",
        "tool_calls": [
            { "id": "call_1", "type": "function", "function": { "name": "f", "arguments": "{\"a\":1}" } },
            { "id": "call_2", "type": "function", "function": { "name": "g", "arguments": "{\"b\":2}" } },
        ] } }],
        "usage": { "prompt_tokens": 20, "completion_tokens": 9, "total_tokens": 29, "prompt_tokens_details": { "cached_tokens": 8 }, "completion_tokens_details": { "reasoning_tokens": 4 } } }))
    .unwrap()
}

#[test]
fn an_answer_of_any_provider_is_a_message_whole_or_streamed() {
    let expected = json!({
        "id": "chatcmpl-1", "type": "message", "role": "assistant", "model": "gpt",
        "content": [
            { "type": "thinking", "thinking": "hm", "signature": "" }, { "type": "text", "text": "One moment." },
            { "type": "tool_use", "id": "call_1", "name": "f", "input": { "a": 1 } }, { "type": "tool_use", "id": "call_2", "name": "g", "input": { "b": 2 } },
        ],
        "stop_reason": "tool_use", "stop_sequence": null,
        "usage": { "input_tokens": 12, "output_tokens": 9, "cache_read_input_tokens": 8, "cache_creation_input_tokens": 0, "output_tokens_details": { "thinking_tokens": 4 } },
    });
    assert_eq!(whole::encode(translated()), expected);
    assert_eq!(put_together(&streamed(replay(translated()))), expected);
    let mut pieces = vec![json!({ "role": "assistant", "content": "" })];
    pieces.extend("hm".chars().map(|c| json!({ "reasoning_content": c })));
    pieces.extend("One moment.".chars().map(|c| json!({ "content": c })));
    for (index, id, name, arguments) in [(0, "call_1", "f", "{\"a\":1}"), (1, "call_2", "g", "{\"b\":2}")] {
        pieces.push(json!({ "tool_calls": [{ "index": index, "id": id, "type": "function", "function": { "name": name, "arguments": "" } }] }));
        pieces.extend(
            arguments
                .chars()
                .map(|c| json!({ "tool_calls": [{ "index": index, "function": { "arguments": c } }] })),
        );
    }
    let chunk = |value: Value| serde_json::from_value::<Chunk>(value).unwrap();
    let mut chunks: Vec<Chunk> = pieces
        .into_iter()
        .map(|delta| {
            chunk(json!({ "id": "chatcmpl-1", "model": "gpt", "choices": [{ "index": 0, "delta": delta }] }))
        })
        .collect();
    chunks.push(chunk(json!({ "id": "chatcmpl-1", "choices": [{ "index": 0, "delta": {}, "finish_reason": "tool_calls" }] })));
    chunks.push(chunk(json!({ "id": "chatcmpl-1", "choices": [], "usage": translated().usage })));
    let events = streamed(chunks);
    assert_eq!(put_together(&events), expected);
    let kinds: Vec<&str> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!(
        (kinds[0], &kinds[kinds.len() - 2..]),
        ("message_start", &["message_delta", "message_stop"][..])
    );
}

#[test]
fn why_an_answer_ended_and_what_is_no_json() {
    for (reason, told) in [
        ("stop", "end_turn"),
        ("length", "max_tokens"),
        ("content_filter", "refusal"),
        ("tool_calls", "tool_use"),
    ] {
        let chunk = serde_json::from_value(
            json!({ "choices": [{ "message": { "content": "a" }, "finish_reason": reason }] }),
        )
        .unwrap();
        assert_eq!(whole::encode(chunk)["stop_reason"], told);
    }
    let odd = json!({ "choices": [{ "message": { "tool_calls": [{ "id": "a", "function": { "name": "f", "arguments": "{\"a" } }] }, "finish_reason": "stop" }] });
    let told = whole::encode(serde_json::from_value(odd).unwrap());
    assert_eq!(
        (&told["content"][0]["input"], &told["stop_reason"]),
        (&json!({ "INVALID_JSON": "{\"a" }), &json!("tool_use"))
    );
}

#[test]
fn errors_are_in_this_format_with_our_own_words_beside_them() {
    let told =
        AnthropicMessages.error(&ApiError::invalid("model", "'model' must be a non-empty string"), "req_1");
    assert_eq!(
        told,
        json!({ "type": "error", "request_id": "req_1", "error": {
            "type": "invalid_request_error", "message": "'model' must be a non-empty string", "code": "invalid_value", "param": "model" } })
    );
    let status = |status: u16| {
        let status = http::StatusCode::from_u16(status).unwrap();
        AnthropicMessages.error(&ApiError::Provider { status, error: json!({ "message": "m" }) }, "")["error"]
            ["type"]
            .take()
    };
    for (code, kind) in [
        (400, "invalid_request_error"),
        (401, "authentication_error"),
        (403, "permission_error"),
        (404, "not_found_error"),
        (413, "request_too_large"),
        (429, "rate_limit_error"),
        (500, "api_error"),
        (504, "timeout_error"),
        (529, "overloaded_error"),
    ] {
        assert_eq!(status(code), kind);
    }
    let mut encoder = Box::<stream::StreamEncoder>::default();
    encoder.push(translated());
    let told = events(&(encoder as Box<dyn AnswerEncoder>).fail(&ApiError::StreamBroken("cut".to_owned())));
    assert_eq!(
        (told.len(), &told[0]["type"], &told[0]["error"]["type"]),
        (1, &json!("error"), &json!("api_error"))
    );
}

#[test]
fn an_openai_client_sees_nothing_of_what_only_this_format_has() {
    let (message, _) = rich();
    let chunk = Anthropic.decode_whole(message.to_string().as_bytes(), &native()).unwrap();
    let told = String::from_utf8(openai_chat::encode_whole(chunk).to_vec()).unwrap();
    assert!(!told.contains("sluice_native") && told.contains("I search.It is A."), "{told}");
}
