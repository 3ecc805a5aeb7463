//! Converse by example: what is said, what is read, and streams cut at every byte.

use std::collections::BTreeMap;

use aws_smithy_eventstream::frame::write_message_to;
use aws_smithy_types::event_stream::{Header, HeaderValue, Message};
use serde_json::{Value, json};

use super::Bedrock;
use crate::client_api::openai_chat::parse;
use crate::config::DropParams;
use crate::provider_api::{EncodeError, Encoded, Encoding, ProviderApi, Quirks, Sent, StreamEvent};
use crate::wire::chat::{Assembler, Chunk, NATIVE};

const CLAUDE: &str = "anthropic.claude-sonnet-4-5-20250929-v1:0";
const OLDER: &str = "anthropic.claude-3-5-sonnet-20241022-v2:0";

fn encoded(model: &str, drop_params: DropParams, request: &Value) -> Result<Encoded, EncodeError> {
    let request = parse(&request.to_string().into()).ok().unwrap();
    let (quirks, settings) = (Quirks::default(), BTreeMap::new());
    let how = Encoding { model, stream: false, quirks: &quirks, settings: &settings, drop_params };
    Bedrock.encode(&request, &how)
}

/// The body for a model, and what was left out.
fn said(model: &str, request: &Value) -> (Value, Vec<String>) {
    let encoded = encoded(model, DropParams::Drop, request).unwrap();
    (serde_json::from_slice(&encoded.body).unwrap(), encoded.dropped)
}

fn asking(more: Value) -> Value {
    let mut request = json!({ "model": "m", "messages": [{ "role": "user", "content": "Hello" }] });
    if let (Value::Object(request), Value::Object(more)) = (&mut request, more) {
        request.extend(more);
    }
    request
}

fn tool(name: &str) -> Value {
    json!({ "type": "function", "function": { "name": name, "description": "Finds it.",
        "parameters": { "type": "object", "properties": { "q": { "type": "string" } } } } })
}

#[test]
fn a_models_id_is_one_segment_of_the_path() {
    let (quirks, settings) = (Quirks::default(), BTreeMap::new());
    let path = |model: &str, stream: bool| {
        let drop_params = DropParams::Drop;
        Bedrock.path(&Encoding { model, stream, quirks: &quirks, settings: &settings, drop_params })
    };
    assert_eq!(path("amazon.nova-lite-v1:0", false).unwrap(), "/model/amazon.nova-lite-v1%3A0/converse");
    assert_eq!(
        path("arn:aws:bedrock:eu-west-1:123456789012:inference-profile/eu.x_y~z", true).unwrap(),
        "/model/arn%3Aaws%3Abedrock%3Aeu-west-1%3A123456789012%3Ainference-profile%2Feu.x_y~z/converse-stream"
    );
    assert_eq!(path("../x?y#z%2F", false).unwrap(), "/model/..%2Fx%3Fy%23z%252F/converse");
    for model in ["", ".", ".."] {
        assert_eq!(path(model, false), Err(EncodeError::Model));
    }
}

#[test]
fn a_conversation_is_said_in_turns() {
    let request = json!({ "model": "m", "max_tokens": 100, "temperature": 0.5, "top_p": 0.9, "stop": "END", "messages": [
        { "role": "system", "content": "Be brief." },
        { "role": "user", "content": "One" },
        { "role": "user", "content": [{ "type": "text", "text": "Two", "cache_control": { "type": "ephemeral" } }] },
        { "role": "developer", "content": [{ "type": "text", "text": "Be kind." }] },
        { "role": "assistant", "content": "Three" },
        { "role": "assistant", "content": "" },
        { "role": "user", "content": "Four" },
    ] });
    let (body, dropped) = said(CLAUDE, &request);
    assert_eq!(
        body,
        json!({
            "messages": [
                { "role": "user", "content": [{ "text": "One" }, { "text": "Two" }, { "cachePoint": { "type": "default" } }] },
                { "role": "assistant", "content": [{ "text": "Three" }] },
                { "role": "user", "content": [{ "text": "Four" }] },
            ],
            "system": [{ "text": "Be brief." }, { "text": "Be kind." }],
            "inferenceConfig": { "maxTokens": 100, "temperature": 0.5, "topP": 0.9, "stopSequences": ["END"] },
        })
    );
    assert!(dropped.is_empty());
}

#[test]
fn calls_and_their_results_are_blocks_and_results_are_one_turn() {
    let call = |id: &str, name: &str, arguments: &str| json!({ "id": id, "type": "function", "function": { "name": name, "arguments": arguments } });
    let request = json!({ "model": "m", "tools": [tool("find.it"), tool("now")], "messages": [
        { "role": "user", "content": "Find it" },
        { "role": "assistant", "content": null, "tool_calls": [call("c1", "find.it", "{\"q\":\"x\"}"), call("c2", "now", "")] },
        { "role": "tool", "tool_call_id": "c1", "content": "There" },
        { "role": "tool", "tool_call_id": "c2", "content": [
            { "type": "text", "text": "No clock" },
            { "type": "image_url", "image_url": { "url": "data:image/png;base64,YSBi" } },
        ], "is_error": true },
        { "role": "user", "content": "And?" },
    ] });
    let encoded = encoded(CLAUDE, DropParams::Strict, &request).unwrap();
    let body: Value = serde_json::from_slice(&encoded.body).unwrap();
    let (sent, name) = encoded.sent.tools.iter().next().unwrap();
    assert_eq!(name, "find.it");
    assert_eq!(
        body["messages"][1]["content"],
        json!([
            { "toolUse": { "toolUseId": "c1", "name": sent, "input": { "q": "x" } } },
            { "toolUse": { "toolUseId": "c2", "name": "now", "input": {} } },
        ])
    );
    assert_eq!(body["messages"][2]["role"], "user");
    assert_eq!(
        body["messages"][2]["content"],
        json!([
            { "toolResult": { "toolUseId": "c1", "content": [{ "text": "There" }] } },
            { "toolResult": { "toolUseId": "c2", "content": [
                { "text": "No clock" }, { "image": { "format": "png", "source": { "bytes": "YSBi" } } },
            ], "status": "error" } },
            { "text": "And?" },
        ])
    );
    assert_eq!(body["toolConfig"]["tools"][0]["toolSpec"]["name"], json!(sent));
    assert_eq!(
        body["toolConfig"]["tools"][1],
        json!({ "toolSpec": { "name": "now", "description": "Finds it.",
        "inputSchema": { "json": { "type": "object", "properties": { "q": { "type": "string" } } } } } })
    );
}

#[test]
fn a_call_whose_arguments_are_no_object_is_refused_by_its_place() {
    for arguments in ["{", "[1]", "5"] {
        let call =
            json!({ "id": "c", "type": "function", "function": { "name": "f", "arguments": arguments } });
        let request = json!({ "model": "m", "messages": [
            { "role": "user", "content": "x" }, { "role": "assistant", "tool_calls": [call] },
        ] });
        let error = encoded(CLAUDE, DropParams::Drop, &request).unwrap_err();
        let place = "messages[1].tool_calls[0].function.arguments";
        assert!(matches!(error, EncodeError::Invalid { param, .. } if param == place), "{arguments}");
    }
}

#[test]
fn signed_reasoning_goes_back_before_the_calls_and_no_other_does() {
    let request = json!({ "model": "m", "messages": [
        { "role": "user", "content": "x" },
        { "role": "assistant", "content": "So", "reasoning_content": "hm", "thinking_blocks": [
            { "type": "thinking", "thinking": "hm", "signature": "c2ln" },
            { "type": "redacted_thinking", "data": "ZGF0YQ==" },
            { "type": "thinking", "thinking": "nobody signed this" },
            { "type": "thinking", "thinking": "OpenAI did", "signature": "openai/rs_1/gAAA" },
            { "type": "redacted_thinking", "data": "openai/rs_2/gAAA" },
        ] },
        { "role": "user", "content": "y" },
    ] });
    let (body, _) = said(CLAUDE, &request);
    assert_eq!(
        body["messages"][1]["content"],
        json!([
            { "reasoningContent": { "reasoningText": { "text": "hm", "signature": "c2ln" } } },
            { "reasoningContent": { "redactedContent": "ZGF0YQ==" } },
            { "text": "So" },
        ])
    );
}

#[test]
fn which_tool_may_be_called_is_said_as_far_as_it_can_be() {
    let of = |choice: Value| {
        let (body, dropped) =
            said(CLAUDE, &asking(json!({ "tools": [tool("a"), tool("b")], "tool_choice": choice })));
        (body["toolConfig"].clone(), dropped)
    };
    assert_eq!(of(json!(null)).0.get("toolChoice"), None);
    assert_eq!(of(json!("auto")).0["toolChoice"], json!({ "auto": {} }));
    assert_eq!(of(json!("required")).0["toolChoice"], json!({ "any": {} }));
    let named = json!({ "type": "function", "function": { "name": "b" } });
    assert_eq!(of(named).0["toolChoice"], json!({ "tool": { "name": "b" } }));
    assert_eq!(of(json!("none")), (Value::Null, vec![]), "without tools none is called");
    let some = json!({ "type": "allowed_tools", "allowed_tools": { "mode": "required",
        "tools": [{ "type": "function", "function": { "name": "b" } }] } });
    let (config, _) = of(some);
    assert_eq!(
        (config["tools"].as_array().unwrap().len(), &config["toolChoice"]),
        (1, &json!({ "any": {} }))
    );
}

#[test]
fn a_conversation_with_calls_has_tools_whatever_the_request_says() {
    let messages = json!([
        { "role": "user", "content": "x" },
        { "role": "assistant", "tool_calls": [{ "id": "c", "type": "function", "function": { "name": "f", "arguments": "{}" } }] },
        { "role": "tool", "tool_call_id": "c", "content": "1" },
    ]);
    let (body, _) = said(CLAUDE, &json!({ "model": "m", "messages": messages }));
    assert_eq!(body["toolConfig"]["tools"][0]["toolSpec"]["name"], "f");
    let forbidden =
        json!({ "model": "m", "messages": messages, "tools": [tool("f")], "tool_choice": "none" });
    let (body, dropped) = said(CLAUDE, &forbidden);
    assert_eq!(body["toolConfig"]["tools"][0]["toolSpec"]["description"], "Finds it.");
    assert_eq!((body["toolConfig"].get("toolChoice"), dropped), (None, vec!["tool_choice".to_owned()]));
    assert_eq!(
        encoded(CLAUDE, DropParams::Strict, &forbidden).unwrap_err(),
        EncodeError::unsupported("tool_choice")
    );
}

fn schema(strict: bool) -> Value {
    json!({ "type": "json_schema", "json_schema": { "name": "city", "strict": strict, "schema": {
        "type": "object", "properties": { "name": { "type": "string" } }, "required": ["name"], "additionalProperties": false,
    } } })
}

#[test]
fn a_schema_goes_to_the_model_that_takes_one_and_becomes_a_tool_for_the_others() {
    let strict = asking(json!({ "response_format": schema(true) }));
    let native = encoded(CLAUDE, DropParams::Strict, &strict).unwrap();
    let body: Value = serde_json::from_slice(&native.body).unwrap();
    let format = &body["outputConfig"]["textFormat"];
    assert_eq!((&format["type"], native.sent.answer_tool), (&json!("json_schema"), None));
    let text = format["structure"]["jsonSchema"]["schema"].as_str().unwrap();
    assert_eq!(
        serde_json::from_str::<Value>(text).unwrap(),
        strict["response_format"]["json_schema"]["schema"]
    );

    let by_tool = encoded(OLDER, DropParams::Strict, &strict).unwrap();
    let body: Value = serde_json::from_slice(&by_tool.body).unwrap();
    assert_eq!(by_tool.sent.answer_tool.as_deref(), Some("city"));
    assert_eq!(body["toolConfig"]["toolChoice"], json!({ "tool": { "name": "city" } }));
    let spec = &body["toolConfig"]["tools"][0]["toolSpec"];
    assert_eq!(spec["inputSchema"]["json"], strict["response_format"]["json_schema"]["schema"]);
    assert!(
        encoded(CLAUDE, DropParams::Strict, &asking(json!({ "response_format": schema(false) })))
            .unwrap()
            .sent
            .answer_tool
            .is_some()
    );
}

#[test]
fn a_schema_beside_tools_leaves_the_choice_between_them() {
    let of = |choice: Value| {
        let request = asking(
            json!({ "tools": [tool("city")], "tool_choice": choice, "response_format": schema(true) }),
        );
        let encoded = encoded(OLDER, DropParams::Strict, &request).unwrap();
        let body: Value = serde_json::from_slice(&encoded.body).unwrap();
        (body["toolConfig"].clone(), encoded.sent.answer_tool)
    };
    let (config, answer) = of(json!("auto"));
    assert_eq!(
        (config["tools"].as_array().unwrap().len(), &config["toolChoice"]),
        (2, &json!({ "any": {} }))
    );
    assert!(answer.is_some_and(|name| name != "city"), "a tool of the client has that name");
    let (config, answer) = of(json!("required"));
    assert_eq!((config["tools"].as_array().unwrap().len(), answer), (1, None), "the call is the answer");
    let (config, answer) = of(json!("none"));
    assert_eq!(
        (config["tools"].as_array().unwrap().len(), &config["toolChoice"]),
        (1, &json!({ "tool": { "name": answer } }))
    );
}

#[test]
fn how_hard_to_think_is_said_in_the_models_own_way() {
    let of = |model: &str, more: Value| {
        let (body, dropped) = said(model, &asking(more));
        (body["additionalModelRequestFields"].clone(), dropped)
    };
    let low = json!({ "reasoning_effort": "low" });
    let thinking = json!({ "thinking": { "type": "enabled", "budget_tokens": 1024 } });
    assert_eq!(of(CLAUDE, low.clone()), (thinking.clone(), vec![]));
    let adaptive = json!({ "thinking": { "type": "adaptive" }, "output_config": { "effort": "low" } });
    assert_eq!(of("anthropic.claude-opus-4-6-v1", low.clone()), (adaptive, vec![]));
    assert_eq!(of("openai.gpt-oss-120b-1:0", low.clone()), (json!({ "reasoning_effort": "low" }), vec![]));
    let left_out = vec!["reasoning_effort".to_owned()];
    assert_eq!(of(OLDER, low.clone()), (Value::Null, left_out.clone()));
    assert_eq!(of(CLAUDE, json!({ "reasoning_effort": "none" })), (Value::Null, vec![]));
    assert_eq!(
        of(CLAUDE, json!({ "reasoning_effort": "high", "max_tokens": 5000 })).0["thinking"]["budget_tokens"],
        4999
    );
    assert_eq!(of(CLAUDE, json!({ "reasoning_effort": "high", "max_tokens": 500 })), (Value::Null, left_out));
    let own = json!({ "type": "enabled", "budget_tokens": 2000 });
    let both = json!({ "thinking": own, "reasoning_effort": "low" });
    assert_eq!(of(CLAUDE, both), (json!({ "thinking": own }), vec![]), "what is said in full counts");
    let (_, dropped) = of(CLAUDE, json!({ "reasoning_effort": "low", "temperature": 0.2, "top_k": 5 }));
    assert_eq!(dropped, ["temperature", "top_k"]);
    let forced = json!({ "reasoning_effort": "low", "tools": [tool("f")], "tool_choice": "required" });
    assert_eq!(
        of(CLAUDE, forced),
        (Value::Null, vec!["reasoning_effort".to_owned()]),
        "no thinking before a forced call"
    );
}

#[test]
fn what_is_no_part_of_converse_is_left_out_refused_or_passed_to_the_model() {
    let request = asking(json!({ "seed": 7, "top_k": 40, "user": "u", "logprobs": null }));
    let (body, dropped) = said(CLAUDE, &request);
    assert_eq!(
        (&body["additionalModelRequestFields"], dropped),
        (&json!({ "top_k": 40 }), vec!["seed".to_owned()])
    );
    assert_eq!(encoded(CLAUDE, DropParams::Strict, &request).unwrap_err(), EncodeError::unsupported("seed"));
    let passed = encoded(CLAUDE, DropParams::Pass, &request).unwrap();
    let body: Value = serde_json::from_slice(&passed.body).unwrap();
    assert_eq!(body["additionalModelRequestFields"], json!({ "top_k": 40, "seed": 7 }));
    assert_eq!(
        said("amazon.nova-pro-v1:0", &request).0["additionalModelRequestFields"],
        json!({ "inferenceConfig": { "topK": 40 } })
    );
    let (body, dropped) = said(CLAUDE, &asking(json!({ "temperature": 1.7 })));
    assert_eq!(
        (&body["inferenceConfig"], dropped),
        (&json!({ "temperature": 1 }), vec!["temperature".to_owned()])
    );
}

#[test]
fn converses_own_fields_go_along() {
    let own = json!({
        "guardrailConfig": { "guardrailIdentifier": "g", "guardrailVersion": "1", "trace": "enabled" },
        "performanceConfig": { "latency": "optimized" },
        "requestMetadata": { "team": "shop" },
        "additionalModelRequestFields": { "top_k": 9, "x": 1 },
    });
    let mut request = asking(own.clone());
    request["top_k"] = json!(5);
    let body: Value =
        serde_json::from_slice(&encoded(CLAUDE, DropParams::Strict, &request).unwrap().body).unwrap();
    for (name, value) in own.as_object().unwrap() {
        assert_eq!(&body[name], value);
    }
}

#[test]
fn what_would_be_another_request_without_it_is_refused_whatever_the_route_says() {
    let user = |content: Value| json!({ "model": "m", "messages": [{ "role": "user", "content": content }] });
    let cases = [
        (asking(json!({ "n": 2 })), "n"),
        (asking(json!({ "functions": [{}] })), "functions"),
        (asking(json!({ "modalities": ["text", "audio"] })), "modalities"),
        (asking(json!({ "tools": [{ "type": "custom", "custom": { "name": "x" } }] })), "tools[0].type"),
        (asking(json!({ "tool_choice": "maybe" })), "tool_choice"),
        (asking(json!({ "temperature": "hot" })), "temperature"),
        (asking(json!({ "max_tokens": 0 })), "max_tokens"),
        (asking(json!({ "stop": 5 })), "stop"),
        (asking(json!({ "reasoning_effort": "very" })), "reasoning_effort"),
        (user(json!(" ")), "messages[0].content"),
        (
            user(json!([{ "type": "image_url", "image_url": { "url": "https://h/a.png" } }])),
            "messages[0].content[0].image_url.url",
        ),
        (
            user(json!([{ "type": "file", "file": { "file_data": "data:text/plain,a" } }])),
            "messages[0].content",
        ),
        (json!({ "model": "m", "messages": [{ "role": "function", "content": "x" }] }), "messages[0].role"),
        (
            json!({ "model": "m", "messages": [{ "role": "tool", "content": "x" }] }),
            "messages[0].tool_call_id",
        ),
    ];
    for (request, place) in cases {
        for policy in [DropParams::Strict, DropParams::Drop, DropParams::Pass] {
            match encoded(CLAUDE, policy, &request) {
                Err(EncodeError::Unsupported { param, .. } | EncodeError::Invalid { param, .. }) => {
                    assert_eq!(param, place);
                }
                other => panic!("{request}: {:?}", other.map(|encoded| encoded.body)),
            }
        }
    }
}

/// An answer with everything in it, whole.
fn answer() -> Value {
    json!({
        "output": { "message": { "role": "assistant", "content": [
            { "reasoningContent": { "reasoningText": { "text": "Let me see.", "signature": "c2ln" } } },
            { "reasoningContent": { "redactedContent": "ZGF0YQ==" } },
            { "text": "Grüße 🙂" },
            { "toolUse": { "toolUseId": "t1", "name": "find_it_1", "input": { "q": "x", "n": [1, 2] } } },
            { "toolUse": { "toolUseId": "t2", "name": "now", "input": {} } },
        ] } },
        "stopReason": "tool_use",
        "usage": { "inputTokens": 10, "outputTokens": 7, "totalTokens": 117, "cacheReadInputTokens": 60, "cacheWriteInputTokens": 40 },
        "metrics": { "latencyMs": 551 },
        "trace": { "guardrail": {} },
    })
}

/// The same as events.
fn events() -> Vec<(&'static str, Value)> {
    let delta = |at: u64, delta: Value| {
        ("contentBlockDelta", json!({ "contentBlockIndex": at, "delta": delta, "p": "abc" }))
    };
    let call = |at: u64, id: &str, name: &str| {
        (
            "contentBlockStart",
            json!({ "contentBlockIndex": at, "start": { "toolUse": { "toolUseId": id, "name": name } } }),
        )
    };
    let stop = |at: u64| ("contentBlockStop", json!({ "contentBlockIndex": at }));
    vec![
        ("messageStart", json!({ "role": "assistant" })),
        delta(0, json!({ "reasoningContent": { "text": "Let me " } })),
        delta(0, json!({ "reasoningContent": { "text": "see." } })),
        delta(0, json!({ "reasoningContent": { "signature": "c2ln" } })),
        stop(0),
        delta(1, json!({ "reasoningContent": { "redactedContent": "ZGF0YQ==" } })),
        stop(1),
        delta(2, json!({ "text": "Grü" })),
        delta(2, json!({ "text": "ße 🙂" })),
        stop(2),
        call(3, "t1", "find_it_1"),
        delta(3, json!({ "toolUse": { "input": "" } })),
        delta(3, json!({ "toolUse": { "input": "{\"q\":\"x\"," } })),
        delta(3, json!({ "toolUse": { "input": "\"n\":[1,2]}" } })),
        stop(3),
        call(4, "t2", "now"),
        stop(4),
        ("someLaterEvent", json!({})),
        ("messageStop", json!({ "stopReason": "tool_use" })),
        (
            "metadata",
            json!({ "usage": answer()["usage"], "metrics": { "latencyMs": 551 }, "trace": { "guardrail": {} } }),
        ),
    ]
}

fn sent() -> Sent {
    Sent { tools: BTreeMap::from([("find_it_1".to_owned(), "find.it".to_owned())]), ..Sent::default() }
}

fn frame(headers: &[(&'static str, &str)], payload: &[u8]) -> Vec<u8> {
    let header = |(name, value): &(&'static str, &str)| {
        Header::new(*name, HeaderValue::String((*value).to_owned().into()))
    };
    let mut bytes = Vec::new();
    let message = Message::new_from_parts(headers.iter().map(header).collect(), payload.to_vec());
    write_message_to(&message, &mut bytes).unwrap();
    bytes
}

fn event(kind: &str, payload: &Value) -> Vec<u8> {
    let headers = [(":event-type", kind), (":content-type", "application/json"), (":message-type", "event")];
    frame(&headers, payload.to_string().as_bytes())
}

fn framed(events: &[(&str, Value)]) -> Vec<u8> {
    events.iter().flat_map(|(kind, payload)| event(kind, payload)).collect()
}

/// What a stream comes to that is cut there: the whole of it, and whether it ended.
fn streamed(parts: &[&[u8]], sent: Sent) -> Result<(Chunk, bool), String> {
    let (mut decoder, mut events, mut whole, mut done) =
        (Bedrock.stream(sent), Vec::new(), Assembler::default(), false);
    for part in parts {
        decoder.push(part, &mut events).map_err(|error| error.to_string())?;
    }
    decoder.finish(&mut events);
    for event in &events {
        match event {
            StreamEvent::Chunk(chunk) => whole.push(chunk),
            StreamEvent::Done => done = true,
            StreamEvent::Error(error) => return Err(error.to_string()),
        }
    }
    Ok((whole.finish(), done))
}

#[test]
fn a_whole_answer_is_read() {
    let whole = Bedrock.decode_whole(answer().to_string().as_bytes(), &sent()).unwrap();
    let choice = &whole.choices[0];
    assert_eq!(choice.finish_reason.as_deref(), Some("tool_calls"));
    assert_eq!(choice.delta.content.as_deref(), Some("Grüße 🙂"));
    assert_eq!(choice.delta.rest["reasoning_content"], "Let me see.");
    assert_eq!(
        choice.delta.rest["thinking_blocks"],
        json!([
            { "index": 0, "type": "thinking", "thinking": "Let me see.", "signature": "c2ln" },
            { "index": 1, "type": "redacted_thinking", "data": "ZGF0YQ==" },
        ])
    );
    assert_eq!(
        json!(choice.delta.tool_calls),
        json!([
            { "index": 0, "id": "t1", "type": "function", "function": { "name": "find.it", "arguments": "{\"q\":\"x\",\"n\":[1,2]}" } },
            { "index": 1, "id": "t2", "type": "function", "function": { "name": "now", "arguments": "{}" } },
        ])
    );
    assert_eq!(
        json!(whole.usage),
        json!({ "prompt_tokens": 110, "completion_tokens": 7, "total_tokens": 117,
        "prompt_tokens_details": { "cached_tokens": 60, "cache_creation_tokens": 40 } })
    );
    assert_eq!(whole.rest[NATIVE]["trace"], json!({ "guardrail": {} }));
    assert!(whole.rest[NATIVE].get("metrics").is_none());
}

#[test]
fn a_stream_reads_the_same_as_the_whole_wherever_it_is_cut() {
    let whole = json!(Bedrock.decode_whole(answer().to_string().as_bytes(), &sent()).unwrap());
    let bytes = framed(&events());
    for cut in 0..=bytes.len() {
        let (assembled, done) = streamed(&[&bytes[..cut], &bytes[cut..]], sent()).unwrap();
        assert_eq!((json!(assembled), done), (whole.clone(), true), "cut at {cut}");
    }
    let each: Vec<&[u8]> = bytes.chunks(1).collect();
    assert_eq!(json!(streamed(&each, sent()).unwrap().0), whole);
}

#[test]
fn a_stream_that_ends_anywhere_else_has_not_ended() {
    let bytes = framed(&events());
    for cut in 0..bytes.len() {
        let (_, done) = streamed(&[&bytes[..cut]], sent()).unwrap();
        assert!(!done, "cut at {cut} of {}", bytes.len());
    }
    let mut more = bytes.clone();
    more.push(0);
    assert!(!streamed(&[&more], sent()).unwrap().1, "the beginning of something after the end");
}

#[test]
fn a_flipped_bit_anywhere_is_refused() {
    let frame =
        event("contentBlockDelta", &json!({ "contentBlockIndex": 0, "delta": { "text": "one word" } }));
    let after = framed(&events());
    for at in 0..frame.len() {
        for bit in 0..8 {
            let mut damaged = frame.clone();
            damaged[at] ^= 1 << bit;
            damaged.extend_from_slice(&after);
            let error = streamed(&[&damaged], sent()).err();
            assert!(error.is_some_and(|words| words.contains("frame")), "byte {at}, bit {bit}");
        }
    }
}

#[test]
fn a_frame_that_is_too_large_or_contradicts_itself_is_refused_before_it_came() {
    let prelude = |total: u32, headers: u32| {
        let mut bytes = [total.to_be_bytes(), headers.to_be_bytes()].concat();
        bytes.extend_from_slice(&crc32fast::hash(&bytes).to_be_bytes());
        bytes
    };
    for (total, headers) in [((16 << 20) + 1, 0), (u32::MAX, 0), (15, 0), (0, 0), (20, 5), (100, u32::MAX)] {
        assert!(streamed(&[&prelude(total, headers)], sent()).is_err(), "{total} {headers}");
    }
    assert!(streamed(&[&prelude(16 << 20, 0)], sent()).is_ok(), "it may still come");
}

#[test]
fn an_exception_in_a_stream_is_its_error() {
    let headers = [(":exception-type", "throttlingException"), (":message-type", "exception")];
    let bytes = frame(&headers, br#"{"message":"Too many tokens"}"#);
    assert!(streamed(&[&bytes], sent()).err().unwrap().contains("rate_limit_exceeded"));
    let headers =
        [(":message-type", "error"), (":error-code", "InternalError"), (":error-message", "It broke.")];
    assert!(streamed(&[&frame(&headers, b"")], sent()).err().unwrap().contains("It broke."));
    let spoilt = framed(&[("messageStop", json!({ "stopReason": "malformed_tool_use" }))]);
    assert!(streamed(&[&spoilt], sent()).err().unwrap().contains("malformed"));
}

#[test]
fn an_answer_that_comes_as_a_call_is_the_text() {
    let sent = Sent { answer_tool: Some("city".to_owned()), ..Sent::default() };
    let call = json!({ "toolUse": { "toolUseId": "t", "name": "city", "input": { "name": "Ulm" } } });
    let body = json!({ "output": { "message": { "role": "assistant", "content": [call] } }, "stopReason": "tool_use" });
    let whole = Bedrock.decode_whole(body.to_string().as_bytes(), &sent).unwrap();
    let events = framed(&[
        (
            "contentBlockStart",
            json!({ "contentBlockIndex": 0, "start": { "toolUse": { "toolUseId": "t", "name": "city" } } }),
        ),
        (
            "contentBlockDelta",
            json!({ "contentBlockIndex": 0, "delta": { "toolUse": { "input": "{\"name\":" } } }),
        ),
        (
            "contentBlockDelta",
            json!({ "contentBlockIndex": 0, "delta": { "toolUse": { "input": "\"Ulm\"}" } } }),
        ),
        ("contentBlockStop", json!({ "contentBlockIndex": 0 })),
        ("messageStop", json!({ "stopReason": "tool_use" })),
    ]);
    let (assembled, _) = streamed(&[&events], sent).unwrap();
    for answer in [whole, assembled] {
        let choice = &answer.choices[0];
        assert_eq!(choice.delta.content.as_deref(), Some(r#"{"name":"Ulm"}"#));
        assert!(choice.delta.tool_calls.is_empty());
        assert_eq!(choice.finish_reason.as_deref(), Some("stop"));
    }
}

#[test]
fn why_an_answer_ended_is_said_in_openais_words() {
    let of = |reason: &str| {
        let content = json!([{ "text": "x" }]);
        let body = json!({ "output": { "message": { "content": content } }, "stopReason": reason });
        let whole = Bedrock.decode_whole(body.to_string().as_bytes(), &Sent::default()).ok()?;
        whole.choices[0].finish_reason.clone()
    };
    let expected = [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("guardrail_intervened", "content_filter"),
        ("content_filtered", "content_filter"),
        ("something_new", "stop"),
    ];
    for (reason, word) in expected {
        assert_eq!(of(reason).as_deref(), Some(word), "{reason}");
    }
    assert_eq!((of("malformed_model_output"), of("malformed_tool_use")), (None, None));
}

#[test]
fn what_is_no_answer_is_refused_without_quoting_it() {
    for body in [
        "<html>secret</html>",
        "{}",
        r#"{"output":"secret"}"#,
        r#"{"output":{"message":{"content":"secret"}}}"#,
    ] {
        let error = Bedrock.decode_whole(body.as_bytes(), &Sent::default()).err().unwrap().to_string();
        assert!(!error.contains("secret"), "{error}");
    }
    let garbled = frame(&[(":message-type", "event"), (":event-type", "messageStop")], b"secret");
    assert!(!streamed(&[&garbled], sent()).err().unwrap().contains("secret"));
}
