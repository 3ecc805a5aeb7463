//! Requests as chat completions say them, answers as items and events.

use super::*;
use crate::wire::chat::Assembler;
use serde_json::json;

fn parse(body: &Value) -> Result<ChatRequest, ApiError> {
    OpenAiResponses.parse(&Bytes::from(body.to_string()))
}

fn messages(input: &Value) -> Value {
    let request = parse(&json!({ "model": "m", "input": input })).ok().unwrap();
    request.fields()["messages"].clone()
}

fn param_of(body: &Value) -> String {
    match parse(body).err() {
        Some(ApiError::Invalid { param, .. }) => param,
        other => panic!("{body} gave {other:?}"),
    }
}

fn streaming() -> Delivery {
    let format = Format::OpenAiResponses;
    Delivery { format, stream: true, include_usage: true, echo: None, called: None }
}

/// The events of these chunks: name and data.
fn events(chunks: &[Value]) -> Vec<(String, Value)> {
    let mut encoder = OpenAiResponses.stream(&streaming());
    let mut out = Vec::new();
    for chunk in chunks {
        out.extend(encoder.push(serde_json::from_value(chunk.clone()).unwrap()).unwrap_or_default());
    }
    out.extend(encoder.finish());
    read(&out)
}

fn read(bytes: &[u8]) -> Vec<(String, Value)> {
    let text = std::str::from_utf8(bytes).unwrap();
    let event = |event: &str| {
        let (name, data) = event.split_once('\n').unwrap();
        let data = serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
        (name.strip_prefix("event: ").unwrap().to_owned(), data)
    };
    text.split_terminator("\n\n").map(event).collect()
}

#[test]
fn what_a_model_said_in_one_turn_is_one_message() {
    let input = json!([
        { "role": "user", "content": [{ "type": "input_text", "text": "Two cities" }] },
        { "type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAAopaque" },
        { "type": "message", "role": "assistant", "content": [{ "type": "output_text", "text": "Let me look.", "annotations": [] }] },
        { "type": "function_call", "call_id": "c1", "name": "weather", "arguments": "{\"city\":\"Bern\"}" },
        { "type": "function_call", "call_id": "c2", "name": "weather", "arguments": "{\"city\":\"Genf\"}" },
        { "type": "function_call_output", "call_id": "c1", "output": "4 degrees" },
        { "type": "function_call_output", "call_id": "c2", "output": [{ "type": "input_text", "text": "6 degrees" }] },
    ]);
    let call = |id: &str, city: &str| json!({ "id": id, "type": "function", "function": { "name": "weather", "arguments": json!({ "city": city }).to_string() } });
    let expected = json!([
        { "role": "user", "content": "Two cities" },
        {
            "role": "assistant", "content": "Let me look.", "tool_calls": [call("c1", "Bern"), call("c2", "Genf")],
            "thinking_blocks": [{ "type": "redacted_thinking", "data": "openai/rs_1/gAAAopaque" }],
        },
        { "role": "tool", "tool_call_id": "c1", "content": "4 degrees" },
        { "role": "tool", "tool_call_id": "c2", "content": "6 degrees" },
    ]);
    assert_eq!(messages(&input), expected);
}

#[test]
fn what_would_have_to_be_kept_is_refused_by_name() {
    for (field, value) in [
        ("previous_response_id", json!("resp_1")),
        ("conversation", json!("conv_1")),
        ("prompt", json!({ "id": "pmpt_1" })),
        ("background", json!(true)),
        ("stream", json!("yes")),
        ("input", json!(7)),
        ("input", json!([])),
        ("tools", json!({})),
        ("tool_choice", json!(7)),
        ("text", json!("json")),
    ] {
        let mut body = json!({ "model": "m", "input": "Hi" });
        body[field] = value;
        assert_eq!(param_of(&body), field);
    }
    for (item, param) in [
        (json!("Hi"), "input[0]"),
        (json!({ "role": "user" }), "input[0].content"),
        (json!({ "content": "x" }), "input[0].role"),
        (json!({ "role": "user", "content": [{ "text": "x" }] }), "input[0].content[0].type"),
        (json!({ "type": "item_reference", "id": "msg_1" }), "input[0]"),
        (json!({ "type": "function_call", "call_id": "c", "name": "f" }), "input[0].arguments"),
    ] {
        assert_eq!(param_of(&json!({ "model": "m", "input": [item] })), param);
    }
}

#[test]
fn settings_have_the_other_apis_names() {
    let body = json!({
        "model": "m", "input": "Hi", "instructions": "Be brief.", "max_output_tokens": 9, "store": true,
        "text": { "format": { "type": "json_schema", "name": "a", "strict": true, "schema": {} }, "verbosity": "low" },
        "reasoning": { "effort": "low", "summary": "auto" }, "include": ["reasoning.encrypted_content"],
        "tools": [
            { "type": "function", "name": "f", "description": null, "parameters": {}, "strict": true },
            { "type": "custom", "name": "g", "format": { "type": "grammar", "syntax": "lark", "definition": "x" } },
        ],
        "tool_choice": { "type": "function", "name": "f" }, "previous_response_id": null, "new_field": 1,
    });
    let expected = json!({
        "model": "m", "max_tokens": 9, "verbosity": "low", "reasoning_effort": "low", "new_field": 1,
        "messages": [{ "role": "system", "content": "Be brief." }, { "role": "user", "content": "Hi" }],
        "response_format": { "type": "json_schema", "json_schema": { "name": "a", "strict": true, "schema": {} } },
        "reasoning": { "summary": "auto" },
        "tools": [
            { "type": "function", "function": { "name": "f", "parameters": {}, "strict": true } },
            { "type": "custom", "custom": { "name": "g", "format": { "type": "grammar", "grammar": { "syntax": "lark", "definition": "x" } } } },
        ],
        "tool_choice": { "type": "function", "function": { "name": "f" } },
    });
    assert_eq!(json!(parse(&body).ok().unwrap().fields()), expected);
}

#[test]
fn reasoning_that_another_provider_signed_comes_back_as_it_was() {
    let block = json!({ "type": "thinking", "thinking": "Four and two.", "signature": "c2ln" });
    let delta = |delta: Value| json!({ "id": "a", "choices": [{ "index": 0, "delta": delta }] });
    let events = events(&[
        delta(
            json!({ "reasoning_content": "Four and ", "thinking_blocks": [{ "index": 0, "type": "thinking", "thinking": "Four and " }] }),
        ),
        delta(
            json!({ "reasoning_content": "two.", "thinking_blocks": [{ "index": 0, "type": "thinking", "thinking": "two." }] }),
        ),
        delta(json!({ "thinking_blocks": [{ "index": 0, "type": "thinking", "signature": "c2ln" }] })),
        delta(json!({ "content": "Six." })),
    ]);
    let (name, last) = events.last().unwrap();
    assert_eq!(name, "response.completed");
    let output = &last["response"]["output"];
    assert_eq!(output[0]["summary"], json!([{ "type": "summary_text", "text": "Four and two." }]));
    let mut input = vec![json!({ "role": "user", "content": "Add." })];
    input.extend(output.as_array().unwrap().iter().cloned());
    let request = parse(&json!({ "model": "m", "input": input })).ok().unwrap();
    let turn = &request.fields()["messages"][1];
    assert_eq!((&turn["thinking_blocks"], &turn["content"]), (&json!([block]), &json!("Six.")));
    assert_eq!(request.said()["input"][1]["thinking_blocks"], json!([block]), "guards can look into it");
}

#[test]
fn each_item_is_added_grows_and_is_done_and_the_response_ends_with_all_of_them() {
    let delta = |delta: Value| json!({ "id": "a", "choices": [{ "index": 0, "delta": delta }] });
    let chunks = [
        delta(json!({ "role": "assistant", "content": "" })),
        delta(json!({ "content": "Let " })),
        delta(json!({ "content": "me see." })),
        delta(
            json!({ "tool_calls": [{ "index": 0, "id": "c1", "type": "function", "function": { "name": "f", "arguments": "" } }] }),
        ),
        delta(json!({ "tool_calls": [{ "index": 0, "function": { "arguments": "{\"a\"" } }] })),
        delta(
            json!({ "tool_calls": [{ "index": 1, "id": "c2", "type": "function", "function": { "name": "g", "arguments": "{}" } }] }),
        ),
        delta(json!({ "tool_calls": [{ "index": 0, "function": { "arguments": ":1}" } }] })),
        json!({ "id": "a", "choices": [{ "index": 0, "delta": {}, "finish_reason": "tool_calls" }] }),
        json!({ "id": "a", "choices": [], "usage": { "prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7 } }),
    ];
    let events = events(&chunks);
    let names: Vec<&str> = events.iter().map(|(name, _)| name.strip_prefix("response.").unwrap()).collect();
    let expected = [
        "created",
        "in_progress",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "output_item.added",
        "function_call_arguments.delta",
        "output_item.added",
        "function_call_arguments.delta",
        "function_call_arguments.delta",
        "function_call_arguments.done",
        "output_item.done",
        "function_call_arguments.done",
        "output_item.done",
        "completed",
    ];
    assert_eq!(names, expected);
    assert!(
        events
            .iter()
            .enumerate()
            .all(|(at, (name, data))| { data["sequence_number"] == at && data["type"] == name.as_str() })
    );
    let response = &events.last().unwrap().1["response"];
    assert_eq!(response["output"][1]["arguments"], "{\"a\":1}");
    assert_eq!(response["usage"]["total_tokens"], 7);
    // Whole, it says the same but for ids.
    let mut whole = Assembler::default();
    chunks.iter().for_each(|chunk| whole.push(&serde_json::from_value(chunk.clone()).unwrap()));
    let mut said = answer::whole(whole.finish(), None);
    for item in said["output"].as_array_mut().unwrap().iter_mut().zip(response["output"].as_array().unwrap())
    {
        item.0["id"] = item.1["id"].clone();
    }
    assert_eq!(&said, response);
}

#[test]
fn an_answer_that_stopped_early_or_was_refused_says_so() {
    let end = |delta: Value, reason: &str| {
        let chunk =
            json!({ "id": "a", "choices": [{ "index": 0, "delta": delta, "finish_reason": reason }] });
        let (name, data) = events(&[chunk]).pop().unwrap();
        (
            name,
            data["response"]["incomplete_details"].clone(),
            data["response"]["output"][0]["content"].clone(),
        )
    };
    let (name, why, _) = end(json!({ "content": "On" }), "length");
    assert_eq!((name.as_str(), &why["reason"]), ("response.incomplete", &json!("max_output_tokens")));
    let (name, why, _) = end(json!({}), "content_filter");
    assert_eq!((name.as_str(), &why["reason"]), ("response.incomplete", &json!("content_filter")));
    let (name, _, said) = end(json!({ "refusal": "No." }), "stop");
    assert_eq!(
        (name.as_str(), said),
        ("response.completed", json!([{ "type": "refusal", "refusal": "No." }]))
    );
}

#[test]
fn a_stream_that_fails_ends_with_a_failed_response() {
    let mut encoder = OpenAiResponses.stream(&streaming());
    let chunk = json!({ "id": "a", "choices": [{ "index": 0, "delta": { "content": "Half" } }] });
    encoder.push(serde_json::from_value(chunk).unwrap()).unwrap();
    let (name, data) = read(&encoder.fail(&ApiError::StreamBroken("cut".to_owned()))).pop().unwrap();
    assert_eq!((name.as_str(), &data["response"]["status"]), ("response.failed", &json!("failed")));
    assert_eq!(data["response"]["error"], json!({ "code": "stream_interrupted", "message": "cut" }));
}

#[test]
fn what_claude_tells_its_own_clients_is_no_event_of_this_format() {
    use crate::provider_api::anthropic::Anthropic;
    use crate::provider_api::{ProviderApi, Sent, StreamEvent};

    let told = [
        json!({ "type": "message_start", "message": { "id": "msg_1", "model": "claude", "role": "assistant", "content": [], "usage": { "input_tokens": 3, "output_tokens": 1 } } }),
        json!({ "type": "content_block_start", "index": 0, "content_block": { "type": "text", "text": "" } }),
        json!({ "type": "content_block_delta", "index": 0, "delta": { "type": "text_delta", "text": "Tide" } }),
        json!({ "type": "content_block_delta", "index": 0, "delta": { "type": "text_delta", "text": " at six." } }),
        json!({ "type": "content_block_stop", "index": 0 }),
        json!({ "type": "message_delta", "delta": { "stop_reason": "end_turn" }, "usage": { "output_tokens": 5 } }),
        json!({ "type": "message_stop" }),
    ];
    let mut read = Vec::new();
    let mut decoder = Anthropic.stream(Sent { native: true, ..Sent::default() });
    for event in told {
        let kind = event["type"].as_str().unwrap();
        let sse = format!("event: {kind}\ndata: {event}\n\n");
        assert!(decoder.push(sse.as_bytes(), &mut read).is_ok());
    }
    let chunks = read.into_iter().filter_map(|event| match event {
        StreamEvent::Chunk(chunk) => Some(serde_json::to_value(chunk).unwrap()),
        _ => None,
    });
    let chunks: Vec<Value> = chunks.collect();
    assert!(json!(chunks).to_string().contains("blocks"), "another client's native blocks are among them");
    // From the beginning, and joined after it.
    for from in [0, 1] {
        let events = events(&chunks[from..]);
        let said = events.iter().filter(|(name, _)| name == "response.output_text.delta");
        let said: String = said.map(|(_, data)| data["delta"].as_str().unwrap()).collect();
        assert_eq!(said, "Tide at six.");
        let (name, data) = events.last().unwrap();
        assert_eq!(name, "response.completed");
        assert_eq!(data["response"]["output"][0]["content"][0]["text"], "Tide at six.");
    }
}
