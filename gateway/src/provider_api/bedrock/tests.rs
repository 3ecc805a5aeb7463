//! Requests by example: what is said, and what can't be.

mod answers;

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::Bedrock;
use crate::client_api::openai_chat::parse;
use crate::config::DropParams;
use crate::provider_api::{EncodeError, Encoded, Encoding, ProviderApi, Quirks};

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
