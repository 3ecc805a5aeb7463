//! What is sent to Anthropic, and what is read of it.

use std::borrow::Borrow;
use std::collections::BTreeMap;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

use super::Anthropic;
use crate::client_api::{Format, openai_chat};
use crate::config::DropParams;
use crate::provider_api::{
    EncodeError, Encoded, Encoding, ErrorAnswer, ProviderApi, Quirks, Sent, StreamEvent,
};
use crate::wire::chat::{Assembler, Chunk, NATIVE};

fn encoded(model: &str, drop_params: DropParams, more: impl Borrow<Value>) -> Result<Encoded, EncodeError> {
    let mut body = json!({ "model": "m", "messages": [{ "role": "user", "content": "Hi" }] });
    body.as_object_mut().unwrap().extend(more.borrow().as_object().unwrap().clone());
    let request = openai_chat::parse(&Bytes::from(body.to_string())).ok().unwrap();
    let (quirks, settings) = (Quirks::default(), BTreeMap::new());
    let how = Encoding { model, stream: request.stream, quirks: &quirks, settings: &settings, drop_params };
    Anthropic.encode(&request, &how)
}

fn body_of(encoded: &Encoded) -> Value {
    serde_json::from_slice(&encoded.body).unwrap()
}

/// The body for a model of 2025 on a route that drops what can't be said.
fn body(more: Value) -> Value {
    body_of(&encoded("claude-haiku-4-5", DropParams::Drop, more).unwrap())
}

#[test]
fn a_conversation_becomes_turns_with_the_system_prompt_beside_them() {
    let sent = body(json!({ "max_tokens": 9, "stop": "END", "user": "u-1", "messages": [
        { "role": "system", "content": "Be brief." },
        { "role": "user", "content": "Which tables?" },
        { "role": "developer", "content": [{ "type": "text", "text": "No slang.", "cache_control": { "type": "ephemeral" } }] },
        { "role": "assistant", "content": "", "tool_calls": [
            { "id": "a", "type": "function", "function": { "name": "list", "arguments": "" } },
            { "id": "b", "type": "function", "function": { "name": "list", "arguments": "{\"all\":true}" } },
        ] },
        { "role": "tool", "tool_call_id": "a", "content": "none" },
        { "role": "tool", "tool_call_id": "b", "content": [{ "type": "text", "text": "gone" }], "is_error": true },
        { "role": "user", "content": "And now?" },
    ]}));
    assert_eq!(
        sent,
        json!({
            "model": "claude-haiku-4-5", "max_tokens": 9, "stop_sequences": ["END"], "metadata": { "user_id": "u-1" },
            "system": [
                { "type": "text", "text": "Be brief." },
                { "type": "text", "text": "No slang.", "cache_control": { "type": "ephemeral" } },
            ],
            "messages": [
                { "role": "user", "content": "Which tables?" },
                { "role": "assistant", "content": [
                    { "type": "tool_use", "id": "a", "name": "list", "input": {} },
                    { "type": "tool_use", "id": "b", "name": "list", "input": { "all": true } },
                ] },
                { "role": "user", "content": [
                    { "type": "tool_result", "tool_use_id": "a", "content": "none" },
                    { "type": "tool_result", "tool_use_id": "b", "content": "gone", "is_error": true },
                    { "type": "text", "text": "And now?" },
                ] },
            ],
        })
    );
}

#[test]
fn pictures_and_files_become_blocks_and_what_has_none_is_refused_by_its_place() {
    let content = |parts: Value| json!({ "messages": [{ "role": "user", "content": parts }] });
    let sent = body(content(json!([
        { "type": "image_url", "image_url": { "url": "data:image/png;base64,QUJD", "detail": "low" } },
        { "type": "image_url", "image_url": { "url": "https://pictures.example/a.png" } },
        { "type": "file", "file": { "filename": "a.pdf", "file_data": "data:application/pdf;base64,QUJD" } },
        { "type": "file", "file": { "file_data": "data:text/plain;base64,SGk=" } },
    ])));
    assert_eq!(
        sent["messages"][0]["content"],
        json!([
            { "type": "image", "source": { "type": "base64", "media_type": "image/png", "data": "QUJD" } },
            { "type": "image", "source": { "type": "url", "url": "https://pictures.example/a.png" } },
            { "type": "document", "source": { "type": "base64", "media_type": "application/pdf", "data": "QUJD" }, "title": "a.pdf" },
            { "type": "document", "source": { "type": "text", "media_type": "text/plain", "data": "Hi" } },
        ])
    );
    for (part, field) in [
        (json!({ "type": "input_audio", "input_audio": {} }), "messages[0].content[0].type"),
        (
            json!({ "type": "image_url", "image_url": { "url": "file:///a" } }),
            "messages[0].content[0].image_url.url",
        ),
        (
            json!({ "type": "file", "file": { "file_data": "data:text/plain;base64,%" } }),
            "messages[0].content[0].file.file_data",
        ),
    ] {
        let error = encoded("claude-haiku-4-5", DropParams::Pass, content(json!([part]))).unwrap_err();
        let (EncodeError::Unsupported { param, .. } | EncodeError::Invalid { param, .. }) = error else {
            panic!("{part}")
        };
        assert_eq!(param, field);
    }
}

#[test]
fn arguments_that_are_no_object_are_refused_by_their_place() {
    let call = |arguments: &str| json!({ "messages": [{ "role": "assistant", "tool_calls": [{ "id": "a", "function": { "name": "f", "arguments": arguments } }] }] });
    for arguments in ["{", "[1]", "7"] {
        let error = encoded("claude-haiku-4-5", DropParams::Drop, call(arguments)).unwrap_err();
        let EncodeError::Invalid { param, .. } = error else { panic!("{arguments}") };
        assert_eq!(param, "messages[0].tool_calls[0].function.arguments");
    }
}

#[test]
fn tools_and_the_choice_among_them() {
    let function =
        json!({ "name": "f", "description": "d", "parameters": { "type": "object" }, "strict": true });
    let tools = json!([{ "type": "function", "function": function, "cache_control": { "type": "ephemeral" } },
        { "type": "web_search_20250305", "name": "web_search" }]);
    let sent = body(json!({ "tools": tools, "tool_choice": "required", "parallel_tool_calls": false }));
    assert_eq!(
        sent["tools"],
        json!([
            { "name": "f", "description": "d", "input_schema": { "type": "object" }, "strict": true, "cache_control": { "type": "ephemeral" } },
            { "type": "web_search_20250305", "name": "web_search" },
        ])
    );
    assert_eq!(sent["tool_choice"], json!({ "type": "any", "disable_parallel_tool_use": true }));
    for (choice, said) in [
        (json!("auto"), json!({ "type": "auto" })),
        (json!("none"), json!({ "type": "none" })),
        (json!({ "type": "function", "function": { "name": "f" } }), json!({ "type": "tool", "name": "f" })),
    ] {
        assert_eq!(body(json!({ "tools": tools, "tool_choice": choice }))["tool_choice"], said);
    }
    assert!(body(json!({ "tool_choice": "auto", "tools": [] })).get("tool_choice").is_none());
}

#[test]
fn names_that_the_api_refuses_are_changed_and_known_by_the_answer() {
    let function = |name: &str| json!({ "type": "function", "function": { "name": name } });
    let more = json!({ "tools": [function("shop.find"), function("shop_find"), function("ok")],
        "tool_choice": { "type": "function", "function": { "name": "shop.find" } } });
    let encoded = encoded("claude-haiku-4-5", DropParams::Drop, more).unwrap();
    let sent = body_of(&encoded);
    let names: Vec<&str> =
        sent["tools"].as_array().unwrap().iter().map(|t| t["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["shop_find_2", "shop_find", "ok"]);
    assert_eq!(sent["tool_choice"]["name"], "shop_find_2");
    let answer = json!({ "type": "message", "content": [{ "type": "tool_use", "id": "a", "name": "shop_find_2", "input": {} }], "stop_reason": "tool_use" });
    let chunk = Anthropic.decode_whole(answer.to_string().as_bytes(), &encoded.sent).unwrap();
    let call = &chunk.choices[0].delta.tool_calls[0];
    assert_eq!(call.function.as_ref().unwrap().name.as_deref(), Some("shop.find"));
}

#[test]
fn answers_in_json_are_asked_for_natively_or_by_a_tool_whose_call_is_the_answer() {
    let schema = json!({ "type": "object", "properties": {}, "additionalProperties": false });
    let more = json!({ "response_format": { "type": "json_schema", "json_schema": { "name": "x", "schema": schema } } });
    let sent = body(more.clone());
    assert_eq!(sent["output_config"], json!({ "format": { "type": "json_schema", "schema": schema } }));
    let older = encoded("claude-3-5-sonnet-20241022", DropParams::Drop, more).unwrap();
    let name = older.sent.answer_tool.clone().unwrap();
    let sent = body_of(&older);
    assert_eq!((&sent["tools"][0]["name"], &sent["tools"][0]["input_schema"]), (&json!(name), &schema));
    assert_eq!(sent["tool_choice"], json!({ "type": "tool", "name": name }));
    let answer = json!({ "content": [{ "type": "tool_use", "id": "a", "name": name, "input": { "a": 1 } }], "stop_reason": "tool_use" });
    let chunk = Anthropic.decode_whole(answer.to_string().as_bytes(), &older.sent).unwrap();
    let choice = &chunk.choices[0];
    assert_eq!(choice.delta.content.as_deref(), Some("{\"a\":1}"));
    assert!(choice.delta.tool_calls.is_empty() && choice.finish_reason.as_deref() == Some("stop"));
}

#[test]
fn an_effort_is_a_budget_or_a_word_as_the_model_wants_it() {
    let of = |model: &str, more: Value| body_of(&encoded(model, DropParams::Drop, more).unwrap());
    let sent = of("claude-haiku-4-5", json!({ "reasoning_effort": "medium" }));
    assert_eq!(sent["thinking"], json!({ "type": "enabled", "budget_tokens": 8192 }));
    assert_eq!(sent["max_tokens"], 4096 + 8192, "an answer has its room beside it");
    let sent = of("claude-haiku-4-5", json!({ "reasoning_effort": "high", "max_completion_tokens": 2000 }));
    assert_eq!((&sent["thinking"]["budget_tokens"], &sent["max_tokens"]), (&json!(1999), &json!(2000)));
    let small = encoded(
        "claude-haiku-4-5",
        DropParams::Drop,
        json!({ "reasoning_effort": "high", "max_tokens": 500 }),
    )
    .unwrap();
    assert_eq!((body_of(&small).get("thinking"), small.dropped), (None, vec!["reasoning_effort".to_owned()]));
    let sent = of("claude-opus-4-6", json!({ "reasoning_effort": "minimal" }));
    assert_eq!(
        (&sent["thinking"], &sent["output_config"]),
        (&json!({ "type": "adaptive" }), &json!({ "effort": "low" }))
    );
    let own = json!({ "type": "enabled", "budget_tokens": 1024 });
    assert_eq!(of("claude-opus-4-6", json!({ "reasoning_effort": "low", "thinking": own }))["thinking"], own);
    assert!(of("claude-opus-4-6", json!({ "reasoning_effort": "none" })).get("thinking").is_none());
}

#[test]
fn signed_thinking_goes_back_before_the_calls_and_unsigned_does_not() {
    let blocks = json!([{ "index": 0, "type": "thinking", "thinking": "hm", "signature": "s" },
        { "index": 1, "type": "redacted_thinking", "data": "d" }, { "type": "thinking", "thinking": "unsigned" },
        { "type": "thinking", "thinking": "OpenAI's", "signature": "openai/rs_1/gAAA" }, { "type": "redacted_thinking", "data": "openai/rs_2/gAAA" }]);
    let sent = body(
        json!({ "reasoning_effort": "low", "messages": [{ "role": "user", "content": "Hi" }, { "role": "assistant", "content": null,
        "reasoning_content": "hm", "thinking_blocks": blocks, "tool_calls": [{ "id": "a", "function": { "name": "f", "arguments": "{}" } }] }] }),
    );
    assert_eq!(
        sent["messages"][1]["content"],
        json!([{ "type": "thinking", "thinking": "hm", "signature": "s" }, { "type": "redacted_thinking", "data": "d" },
            { "type": "tool_use", "id": "a", "name": "f", "input": {} }])
    );
    assert!(sent.get("thinking").is_some());
    // The API wants what was thought before a call; who does not send it gets an answer without thinking.
    let call = json!({ "role": "assistant", "tool_calls": [{ "id": "a", "function": { "name": "f", "arguments": "{}" } }] });
    let lost = json!({ "reasoning_effort": "low", "messages": [{ "role": "user", "content": "Hi" }, call, { "role": "tool", "tool_call_id": "a", "content": "x" }] });
    assert!(body(lost).get("thinking").is_none());
}

#[test]
fn thinking_that_openai_encrypted_does_not_reach_claude_in_its_client_s_own_bytes() {
    let thought = json!({ "type": "redacted_thinking", "data": "openai/rs_2/gAAA" });
    let own = json!({ "type": "redacted_thinking", "data": "d" });
    let text = json!({ "type": "text", "text": "So" });
    let said = json!({ "messages": [{ "role": "user", "content": "Hi" }, { "role": "assistant", "content": [thought, own, text] }] });
    let more = super::messages::without_unsigned(said.as_object().unwrap());
    assert_eq!(more["messages"][1]["content"], json!([own, text]));
}

#[test]
fn what_the_api_does_not_take_is_dropped_refused_or_sent_as_the_route_says() {
    for (model, field, value) in [
        ("claude-haiku-4-5", "seed", json!(7)),
        ("claude-haiku-4-5", "logprobs", json!(true)),
        ("claude-haiku-4-5", "presence_penalty", json!(0.5)),
        ("claude-haiku-4-5", "temperature", json!(1.7)),
        ("claude-opus-4-7", "temperature", json!(0.2)),
        ("claude-opus-4-7", "top_k", json!(5)),
    ] {
        let more = json!({ field: value });
        let dropped = encoded(model, DropParams::Drop, more.clone()).unwrap();
        assert_eq!(dropped.dropped, [field]);
        let nearest = (value == json!(1.7)).then(|| json!(1));
        assert_eq!(body_of(&dropped).get(field).cloned(), nearest);
        assert_eq!(
            encoded(model, DropParams::Strict, more.clone()).unwrap_err(),
            EncodeError::unsupported(field)
        );
        assert_eq!(body_of(&encoded(model, DropParams::Pass, more).unwrap())[field], value);
    }
    let usual = json!({ "n": 1, "presence_penalty": 0.0, "logprobs": false, "store": true, "top_p": 1, "temperature": 0.3 });
    let said = encoded("claude-haiku-4-5", DropParams::Strict, usual).unwrap();
    assert_eq!((&body_of(&said)["temperature"], body_of(&said).get("top_p")), (&json!(0.3), None));
    let two = encoded("claude-haiku-4-5", DropParams::Drop, json!({ "n": 2 })).unwrap_err();
    assert!(matches!(two, EncodeError::Unsupported { param, .. } if param == "n"));
}

#[test]
fn a_request_of_the_same_format_goes_up_as_it_came() {
    let said = r#"{"messages":[{"role":"user","content":"\u00fc"}],"model":"m","max_tokens":1.0e1,"mcp_servers":[{"x": 1}]}"#;
    let api = Format::AnthropicMessages.api();
    let odd = api.parse(&Bytes::from_static(said.as_bytes()));
    assert!(odd.is_err(), "a length that is no whole number is refused here");
    let said = said.replace("1.0e1", "10");
    let mut request = api.parse(&Bytes::from(said)).ok().unwrap();
    request.passed.insert("anthropic-beta", "x-2026-01-01".parse().unwrap());
    let (quirks, settings) =
        (Quirks::default(), BTreeMap::from([("api_version".to_owned(), "2023-06-01".to_owned())]));
    let how = Encoding {
        model: "claude-x",
        stream: false,
        quirks: &quirks,
        settings: &settings,
        drop_params: DropParams::Drop,
    };
    let sent = Anthropic.encode(&request, &how).unwrap();
    assert_eq!(
        sent.body,
        r#"{"model":"claude-x","messages":[{"role":"user","content":"\u00fc"}],"max_tokens":10,"mcp_servers":[{"x": 1}]}"#
    );
    assert_eq!(
        (&sent.headers["anthropic-version"], &sent.headers["anthropic-beta"]),
        (&"2023-06-01".parse().unwrap(), &"x-2026-01-01".parse().unwrap())
    );
    assert!(sent.sent.native);
}

/// What another provider thought came without a signature; the API would refuse the conversation for it.
#[test]
fn thinking_that_nobody_signed_is_taken_out_of_a_conversation_that_changed_its_provider() {
    let said = json!({ "model": "m", "max_tokens": 5, "messages": [{ "role": "user", "content": "Hi" },
        { "role": "assistant", "content": [{ "type": "thinking", "thinking": "hm", "signature": "" }, { "type": "text", "text": "Yes?" }] }] });
    let request = Format::AnthropicMessages.api().parse(&Bytes::from(said.to_string())).ok().unwrap();
    let (quirks, settings) = (Quirks::default(), BTreeMap::new());
    let how = Encoding {
        model: "claude-x",
        stream: false,
        quirks: &quirks,
        settings: &settings,
        drop_params: DropParams::Drop,
    };
    let sent = body_of(&Anthropic.encode(&request, &how).unwrap());
    assert_eq!(sent["messages"][1]["content"], json!([{ "type": "text", "text": "Yes?" }]));
}

const STREAM: &str = concat!(
    "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_1\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"claude-x\",\"content\":[],\"stop_reason\":null,\"stop_sequence\":null,\"usage\":{\"input_tokens\":5,\"cache_read_input_tokens\":7,\"cache_creation_input_tokens\":1,\"output_tokens\":1}}}\n\n",
    "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"thinking\",\"thinking\":\"\",\"signature\":\"\"}}\n\n",
    "event: ping\ndata: {\"type\":\"ping\"}\n\n",
    "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"thinking_delta\",\"thinking\":\"Gr\u{fc}\"}}\n\n",
    "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"thinking_delta\",\"thinking\":\"\u{df}e?\"}}\n\n",
    "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"signature_delta\",\"signature\":\"sig\"}}\n\n",
    "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\n",
    "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":1,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n",
    "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":1,\"delta\":{\"type\":\"text_delta\",\"text\":\"Let me \u{1f642}\"}}\r\n\r\n",
    "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":1}\n\n",
    "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":2,\"content_block\":{\"type\":\"tool_use\",\"id\":\"toolu_1\",\"name\":\"f\",\"input\":{}}}\n\n",
    "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":2,\"delta\":{\"type\":\"input_json_delta\",\"partial_json\":\"{\\\"a\\\":\"}}\n\n",
    "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":2,\"delta\":{\"type\":\"input_json_delta\",\"partial_json\":\"1}\"}}\n\n",
    "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":2}\n\n",
    "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":3,\"content_block\":{\"type\":\"tool_use\",\"id\":\"toolu_2\",\"name\":\"g\",\"input\":{}}}\n\n",
    "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":3}\n\n",
    "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"tool_use\",\"stop_sequence\":null},\"usage\":{\"output_tokens\":40}}\n\n",
    "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
);

fn read(sent: &Sent, cut: usize) -> Vec<StreamEvent> {
    let (mut decoder, mut events) = (Anthropic.stream(sent.clone()), Vec::new());
    decoder.push(&STREAM.as_bytes()[..cut], &mut events).unwrap();
    decoder.push(&STREAM.as_bytes()[cut..], &mut events).unwrap();
    events
}

fn assembled(mut events: Vec<StreamEvent>) -> Chunk {
    assert!(matches!(events.pop(), Some(StreamEvent::Done)));
    let mut whole = Assembler::default();
    for event in &events {
        let StreamEvent::Chunk(chunk) = event else { panic!("a chunk") };
        whole.push(chunk);
    }
    Chunk { created: 0, ..whole.finish() }
}

#[test]
fn a_stream_reads_the_same_wherever_it_is_cut() {
    let expected = json!({
        "id": "msg_1", "created": 0, "model": "claude-x",
        "choices": [{ "index": 0, "finish_reason": "tool_calls", "delta": {
            "role": "assistant", "content": "Let me 🙂", "reasoning_content": "Grüße?",
            "thinking_blocks": [{ "index": 0, "type": "thinking", "thinking": "Grüße?", "signature": "sig" }],
            "tool_calls": [
                { "index": 0, "id": "toolu_1", "type": "function", "function": { "name": "f", "arguments": "{\"a\":1}" } },
                { "index": 1, "id": "toolu_2", "type": "function", "function": { "name": "g", "arguments": "" } },
            ],
        } }],
        "usage": { "prompt_tokens": 13, "completion_tokens": 40, "total_tokens": 53,
            "prompt_tokens_details": { "cached_tokens": 7, "cache_creation_tokens": 1 } },
    });
    for cut in 0..=STREAM.len() {
        assert_eq!(
            serde_json::to_value(assembled(read(&Sent::default(), cut))).unwrap(),
            expected,
            "cut at {cut}"
        );
    }
    let native = Sent { native: true, ..Sent::default() };
    let mut told = assembled(read(&native, 700));
    assert!(told.rest.contains_key(NATIVE) && told.choices[0].delta.rest.contains_key(NATIVE));
    crate::wire::chat::forget_native(&mut told);
    assert_eq!(serde_json::to_value(told).unwrap(), expected, "the same for everybody else");
}

#[test]
fn nothing_counts_as_content_until_something_is_said() {
    for native in [false, true] {
        let sent = Sent { native, ..Sent::default() };
        let events = read(&sent, 10);
        let first =
            events.iter().position(|event| matches!(event, StreamEvent::Chunk(chunk) if chunk.has_content()));
        let Some(StreamEvent::Chunk(chunk)) = first.map(|at| &events[at]) else { panic!("content") };
        assert_eq!(chunk.choices[0].delta.rest["reasoning_content"], "Grü", "not with message_start");
    }
}

#[test]
fn a_stream_without_its_last_event_has_no_end() {
    let (mut decoder, mut events) = (Anthropic.stream(Sent::default()), Vec::new());
    let cut = STREAM.find("event: message_stop").unwrap();
    decoder.push(&STREAM.as_bytes()[..cut], &mut events).unwrap();
    decoder.finish(&mut events);
    assert!(!events.iter().any(|event| matches!(event, StreamEvent::Done)));
}

#[test]
fn an_error_after_the_beginning_is_seen_as_one() {
    let error = r#"data: {"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#;
    let mut events = Vec::new();
    Anthropic
        .stream(Sent::default())
        .push(format!("event: error\n{error}\n\n").as_bytes(), &mut events)
        .unwrap();
    assert!(
        matches!(&events[0], StreamEvent::Error(e) if e["code"] == "overloaded_error" && e["message"] == "Overloaded")
    );
}

#[test]
fn a_whole_answer_says_the_same_as_its_stream() {
    let answer = json!({ "id": "msg_1", "type": "message", "role": "assistant", "model": "claude-x", "stop_reason": "tool_use", "stop_sequence": null,
        "content": [
            { "type": "thinking", "thinking": "Grüße?", "signature": "sig" }, { "type": "text", "text": "Let me 🙂" },
            { "type": "tool_use", "id": "toolu_1", "name": "f", "input": { "a": 1 } }, { "type": "tool_use", "id": "toolu_2", "name": "g", "input": {} },
        ],
        "usage": { "input_tokens": 5, "cache_read_input_tokens": 7, "cache_creation_input_tokens": 1, "output_tokens": 40 } });
    let whole = Anthropic.decode_whole(answer.to_string().as_bytes(), &Sent::default()).unwrap();
    let mut expected = assembled(read(&Sent::default(), 0));
    // Without arguments a stream has no piece of them.
    expected.choices[0].delta.tool_calls[1].function.as_mut().unwrap().arguments = Some("{}".to_owned());
    assert_eq!(json!(Chunk { created: 0, ..whole }), json!(expected));
}

#[test]
fn why_an_answer_ended_is_said_in_the_words_of_all() {
    for (reason, word) in [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("pause_turn", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("tool_use", "tool_calls"),
        ("refusal", "content_filter"),
    ] {
        let answer = json!({ "content": [], "stop_reason": reason });
        let chunk = Anthropic.decode_whole(answer.to_string().as_bytes(), &Sent::default()).unwrap();
        assert_eq!(chunk.choices[0].finish_reason.as_deref(), Some(word), "{reason}");
    }
}

#[test]
fn errors_have_the_codes_of_all() {
    for (status, kind, message, code) in [
        (
            400,
            "invalid_request_error",
            "prompt is too long: 250000 tokens > 200000 maximum",
            "context_length_exceeded",
        ),
        (400, "invalid_request_error", "Output blocked by content filtering policy", "content_filter"),
        (400, "invalid_request_error", "Your credit balance is too low", "insufficient_quota"),
        (400, "invalid_request_error", "max_tokens: required", "invalid_request_error"),
        (401, "authentication_error", "invalid x-api-key", "invalid_api_key"),
        (404, "not_found_error", "model: claude-9", "model_not_found"),
        (429, "rate_limit_error", "slow down", "rate_limit_exceeded"),
        (529, "overloaded_error", "Overloaded", "overloaded_error"),
    ] {
        let body =
            json!({ "type": "error", "error": { "type": kind, "message": message }, "request_id": "req_1" })
                .to_string();
        let status = StatusCode::from_u16(status).unwrap();
        let answer = ErrorAnswer { status, headers: &HeaderMap::new(), body: body.as_bytes() };
        let error = Anthropic.decode_error(&answer).unwrap();
        assert_eq!((&error["code"], &error["message"]), (&json!(code), &json!(message)));
    }
    let answer =
        ErrorAnswer { status: StatusCode::OK, headers: &HeaderMap::new(), body: b"{\"content\":[]}" };
    assert!(Anthropic.decode_error(&answer).is_none());
}

#[test]
fn what_is_no_answer_is_refused_without_quoting_it() {
    for body in [
        "<html>secret</html>",
        "{}",
        "[]",
        r#"{"content":"secret"}"#,
        r#"{"content":["secret"]}"#,
        r#"{"type":"error","error":{"message":"secret"}}"#,
    ] {
        let error = Anthropic.decode_whole(body.as_bytes(), &Sent::default()).err().unwrap().to_string();
        assert!(!error.contains("secret"), "{error}");
    }
}
