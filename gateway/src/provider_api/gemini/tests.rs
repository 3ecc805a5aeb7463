//! Requests as they go out.

mod answers;

use std::borrow::Borrow;
use std::collections::BTreeMap;

use bytes::Bytes;
use serde_json::{Value, json};

use super::Gemini;
use crate::client_api::openai_chat::parse;
use crate::config::DropParams;
use crate::provider_api::{EncodeError, Encoded, Encoding, ProviderApi, Quirks};

const MODEL: &str = "gemini-2.5-flash";

fn encoded(
    api: &Gemini,
    model: &str,
    more: impl Borrow<Value>,
    drop_params: DropParams,
) -> Result<Encoded, EncodeError> {
    let mut request = json!({ "model": "m", "messages": [{ "role": "user", "content": "Hi" }] });
    for (key, value) in more.borrow().as_object().unwrap() {
        request[key] = value.clone();
    }
    let request = parse(&Bytes::from(request.to_string())).ok().unwrap();
    let (quirks, settings) = (Quirks::default(), BTreeMap::new());
    let how = Encoding { model, stream: request.stream, quirks: &quirks, settings: &settings, drop_params };
    api.encode(&request, &how)
}

fn body(model: &str, more: Value) -> Value {
    let encoded = encoded(&Gemini::STUDIO, model, more, DropParams::Strict).unwrap();
    serde_json::from_slice(&encoded.body).unwrap()
}

fn param(more: Value) -> String {
    match encoded(&Gemini::STUDIO, MODEL, more, DropParams::Drop) {
        Err(EncodeError::Unsupported { param, .. } | EncodeError::Invalid { param, .. }) => param,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_conversation_is_turns_of_two_sides_with_the_system_apart() {
    let messages = json!([
        { "role": "system", "content": "Be brief." },
        { "role": "user", "content": "Hi" },
        { "role": "user", "content": [{ "type": "text", "text": "Who are you?" }] },
        { "role": "assistant", "content": "A model." },
        { "role": "developer", "content": "Be kind." },
        { "role": "user", "content": "Good" },
    ]);
    let sent = body(MODEL, json!({ "messages": messages }));
    let wanted = json!({
        "contents": [
            { "role": "user", "parts": [{ "text": "Hi" }, { "text": "Who are you?" }] },
            { "role": "model", "parts": [{ "text": "A model." }] },
            { "role": "user", "parts": [{ "text": "Good" }] },
        ],
        "systemInstruction": { "parts": [{ "text": "Be brief." }, { "text": "Be kind." }] },
    });
    assert_eq!(sent, wanted);
    let alone = body(MODEL, json!({ "messages": [{ "role": "system", "content": "Greet." }] }));
    assert_eq!(alone, json!({ "contents": [{ "role": "user", "parts": [{ "text": "Greet." }] }] }));
}

#[test]
fn settings_are_said_in_its_own_words() {
    let sent = body(
        MODEL,
        json!({
            "temperature": 0.5, "top_p": 0.9, "top_k": 40, "max_tokens": 10, "max_completion_tokens": 20, "n": 2,
            "stop": "END", "seed": 9_999_999_999_i64, "presence_penalty": 0.1, "frequency_penalty": 0.2, "logprobs": true,
            "top_logprobs": 3, "modalities": ["text", "image"], "user": "u", "store": false, "logit_bias": null,
        }),
    );
    let wanted = json!({
        "temperature": 0.5, "topP": 0.9, "topK": 40, "candidateCount": 2, "presencePenalty": 0.1,
        "frequencyPenalty": 0.2, "responseLogprobs": true, "maxOutputTokens": 20, "logprobs": 3,
        "seed": 9_999_999_999_i64 & 0x7fff_ffff, "stopSequences": ["END"], "responseModalities": ["TEXT", "IMAGE"],
    });
    assert_eq!(sent["generationConfig"], wanted);
}

#[test]
fn what_it_has_no_word_for_is_refused_dropped_or_sent_as_the_route_says() {
    let more = json!({ "logit_bias": { "5": 1 }, "stop": ["1", "2", "3", "4", "5", "6"] });
    let strict = encoded(&Gemini::STUDIO, MODEL, more.clone(), DropParams::Strict).err().unwrap();
    assert_eq!(strict, EncodeError::unsupported("stop[5]"));
    let dropped = encoded(&Gemini::STUDIO, MODEL, more.clone(), DropParams::Drop).unwrap();
    assert_eq!(dropped.dropped, ["stop[5]", "logit_bias"]);
    let said: Value = serde_json::from_slice(&dropped.body).unwrap();
    assert_eq!(said["generationConfig"]["stopSequences"].as_array().unwrap().len(), 5);
    let passed = encoded(&Gemini::STUDIO, MODEL, more, DropParams::Pass).unwrap();
    let said: Value = serde_json::from_slice(&passed.body).unwrap();
    assert_eq!(said["logit_bias"], json!({ "5": 1 }));
    assert_eq!(said["generationConfig"]["stopSequences"].as_array().unwrap().len(), 6);
}

fn weather() -> Value {
    json!({ "type": "function", "function": { "name": "weather", "description": "The weather somewhere",
        "parameters": { "type": "object", "properties": { "city": { "type": "string" } }, "required": ["city"] } } })
}

#[test]
fn tools_are_declared_and_the_choice_among_them_is_told() {
    let ping = json!({ "type": "function", "function": { "name": "ping", "parameters": { "type": "object", "properties": {} } } });
    let sent =
        body(MODEL, json!({ "tools": [weather(), ping, { "googleSearch": {} }], "tool_choice": "required" }));
    let wanted = json!([
        { "functionDeclarations": [
            { "name": "weather", "description": "The weather somewhere", "parametersJsonSchema":
                { "type": "object", "properties": { "city": { "type": "string" } }, "required": ["city"] } },
            { "name": "ping" },
        ] },
        { "googleSearch": {} },
    ]);
    assert_eq!(sent["tools"], wanted);
    let calling = |choice: Value| {
        let mut sent = body(MODEL, json!({ "tools": [weather(), ping], "tool_choice": choice }));
        let declared = sent["tools"][0]["functionDeclarations"].as_array().unwrap().len();
        (sent["toolConfig"]["functionCallingConfig"].take(), declared)
    };
    assert_eq!(calling(json!("auto")), (json!({ "mode": "AUTO" }), 2));
    assert_eq!(calling(json!("none")), (json!({ "mode": "NONE" }), 2));
    let named = json!({ "type": "function", "function": { "name": "ping" } });
    let only = json!({ "mode": "ANY", "allowedFunctionNames": ["ping"] });
    assert_eq!(calling(named.clone()), (only.clone(), 2));
    let allowed =
        |mode: &str| json!({ "type": "allowed_tools", "allowed_tools": { "mode": mode, "tools": [named] } });
    assert_eq!(calling(allowed("required")), (only, 2));
    assert_eq!(calling(allowed("auto")), (json!({ "mode": "AUTO" }), 1), "the others are not offered");
    assert_eq!(param(json!({ "tools": [{ "type": "custom", "custom": { "name": "x" } }] })), "tools[0]");
    assert_eq!(param(json!({ "tools": [weather()], "tool_choice": "maybe" })), "tool_choice");
}

fn calls() -> Value {
    let call = |id: &str, name: &str, arguments: &str| json!({ "id": id, "type": "function", "function": { "name": name, "arguments": arguments } });
    let mut first = call("c1", "weather", "{\"city\":\"Rome\"}");
    first["extra_content"] = json!({ "google": { "thought_signature": "c2ln" } });
    json!([
        { "role": "user", "content": "Rome and Oslo?" },
        { "role": "assistant", "content": null, "tool_calls": [first, call("c2", "weather", ""), call("c3", "a b", "{}")] },
        { "role": "tool", "tool_call_id": "c2", "content": "4 °C" },
        { "role": "tool", "tool_call_id": "c1", "content": "{\"degrees\": 20}" },
        { "role": "tool", "tool_call_id": "c3", "content": "no such city", "is_error": true },
        { "role": "user", "content": "So?" },
    ])
}

#[test]
fn calls_and_results_find_each_other_by_order_name_and_id() {
    let sent = body(MODEL, json!({ "messages": calls() }));
    let odd = sent["contents"][1]["parts"][2]["functionCall"]["name"].as_str().unwrap();
    assert!(odd.starts_with("a_b_"), "{odd}");
    let wanted = json!([
        { "role": "user", "parts": [{ "text": "Rome and Oslo?" }] },
        { "role": "model", "parts": [
            { "functionCall": { "name": "weather", "args": { "city": "Rome" }, "id": "c1" }, "thoughtSignature": "c2ln" },
            { "functionCall": { "name": "weather", "args": {}, "id": "c2" } },
            { "functionCall": { "name": odd, "args": {}, "id": "c3" } },
        ] },
        { "role": "user", "parts": [
            { "functionResponse": { "name": "weather", "response": { "degrees": 20 }, "id": "c1" } },
            { "functionResponse": { "name": "weather", "response": { "output": "4 °C" }, "id": "c2" } },
            { "functionResponse": { "name": odd, "response": { "error": "no such city" }, "id": "c3" } },
            { "text": "So?" },
        ] },
    ]);
    assert_eq!(sent["contents"], wanted);
    let vertex = encoded(&Gemini::VERTEX, MODEL, json!({ "messages": calls() }), DropParams::Strict).unwrap();
    assert!(!String::from_utf8_lossy(&vertex.body).contains("\"id\""), "there is no place for it");
    assert_eq!(vertex.sent.tools[odd], "a b");
}

#[test]
fn a_model_that_wants_its_calls_signed_gets_them_signed() {
    let sent = |model: &str| {
        let mut messages = calls();
        messages[1]["tool_calls"][0].as_object_mut().unwrap().remove("extra_content");
        body(model, json!({ "messages": messages }))["contents"][1]["parts"].take()
    };
    let newer = sent("gemini-3.1-pro-preview");
    assert_eq!(newer[0]["thoughtSignature"], "skip_thought_signature_validator");
    assert_eq!(newer[1].get("thoughtSignature"), None, "of several the first is signed");
    assert_eq!(sent("gemini-2.5-pro")[0].get("thoughtSignature"), None);
    let text = json!({ "role": "assistant", "content": "Hm.", "extra_content": { "google": { "thought_signature": "dGV4dA==" } } });
    let contents = body(MODEL, json!({ "messages": [text] }))["contents"].take();
    assert_eq!(contents[0]["parts"], json!([{ "text": "Hm.", "thoughtSignature": "dGV4dA==" }]));
}

#[test]
fn what_a_call_gave_back_loses_no_digit() {
    let result = |content: &str| {
        let mut messages = calls();
        messages[2]["content"] = json!(content);
        body(MODEL, json!({ "messages": messages }))["contents"][2]["parts"][1]["functionResponse"]["response"].take()
    };
    assert_eq!(result("{\"n\": 12345678901234567890}"), json!({ "n": 12_345_678_901_234_567_890_u64 }));
    let long = "{\"n\": 123456789012345678901234567890}";
    assert_eq!(result(long), json!({ "output": long }));
    assert_eq!(result("[1,2]"), json!({ "output": "[1,2]" }));
    assert_eq!(result(""), json!({ "output": "" }));
}

#[test]
fn images_files_and_sound_go_inline_or_by_their_address() {
    let parts = json!([
        { "type": "image_url", "image_url": { "url": "data:image/png;base64,aGk=" } },
        { "type": "image_url", "image_url": { "url": "https://pictures.example/a.JPG?x=1" } },
        { "type": "file", "file": { "filename": "a.pdf", "file_data": "data:application/pdf;base64,aGk=" } },
        { "type": "file", "file": { "file_id": "files/abc", "format": "text/plain" } },
        { "type": "input_audio", "input_audio": { "data": "aGk=", "format": "wav" } },
        { "type": "video_url", "video_url": { "url": "gs://bucket/a.mp4" } },
    ]);
    let sent = body(MODEL, json!({ "messages": [{ "role": "user", "content": parts }] }));
    let wanted = json!([
        { "inlineData": { "mimeType": "image/png", "data": "aGk=" } },
        { "fileData": { "fileUri": "https://pictures.example/a.JPG?x=1", "mimeType": "image/jpeg" } },
        { "inlineData": { "mimeType": "application/pdf", "data": "aGk=" } },
        { "fileData": { "fileUri": "https://generativelanguage.googleapis.com/v1beta/files/abc", "mimeType": "text/plain" } },
        { "inlineData": { "mimeType": "audio/wav", "data": "aGk=" } },
        { "fileData": { "fileUri": "gs://bucket/a.mp4", "mimeType": "video/mp4" } },
    ]);
    assert_eq!(sent["contents"][0]["parts"], wanted);
}

#[test]
fn what_cannot_be_said_is_named_by_its_path() {
    let user = |part: Value| json!({ "messages": [{ "role": "user", "content": [part] }] });
    assert_eq!(param(user(json!({ "type": "hologram" }))), "messages[0].content[0]");
    assert_eq!(
        param(user(json!({ "type": "image_url", "image_url": {} }))),
        "messages[0].content[0].image_url.url"
    );
    let at = "messages[0].content[0].image_url.url";
    assert_eq!(param(user(json!({ "type": "image_url", "image_url": { "url": "data:image/png,x" } }))), at);
    assert_eq!(
        param(user(json!({ "type": "file", "file": { "file_id": "file-abc" } }))),
        "messages[0].content[0].file.file_id"
    );
    let mut messages = calls();
    messages[1]["tool_calls"][1]["function"]["arguments"] = json!("{\"city\":");
    assert_eq!(param(json!({ "messages": messages })), "messages[1].tool_calls[1].function.arguments");
    let orphan = json!([{ "role": "tool", "tool_call_id": "c9", "content": "x" }]);
    assert_eq!(param(json!({ "messages": orphan })), "messages[0].tool_call_id");
    assert_eq!(param(json!({ "messages": [{ "role": "ghost", "content": "x" }] })), "messages[0].role");
    assert_eq!(param(json!({ "response_format": { "type": "yaml" } })), "response_format.type");
    assert_eq!(param(json!({ "reasoning_effort": "much" })), "reasoning_effort");
}

#[test]
fn structured_output_is_asked_for_by_its_schema() {
    let schema = json!({ "type": "object", "properties": { "a": { "type": ["string", "null"] } }, "additionalProperties": false });
    let format =
        json!({ "type": "json_schema", "json_schema": { "name": "x", "strict": true, "schema": schema } });
    let sent = body(MODEL, json!({ "response_format": format }));
    assert_eq!(
        sent["generationConfig"],
        json!({ "responseJsonSchema": schema, "responseMimeType": "application/json" })
    );
    let sent = body(MODEL, json!({ "response_format": { "type": "json_object" } }));
    assert_eq!(sent["generationConfig"], json!({ "responseMimeType": "application/json" }));
    assert_eq!(body(MODEL, json!({ "response_format": { "type": "text" } })).get("generationConfig"), None);
}

#[test]
fn how_much_is_thought_is_said_as_the_model_takes_it() {
    let thinks = |model: &str, more: Value| body(model, more)["generationConfig"]["thinkingConfig"].take();
    let effort = |model: &str, effort: &str| thinks(model, json!({ "reasoning_effort": effort }));
    assert_eq!(effort(MODEL, "medium"), json!({ "thinkingBudget": 8192, "includeThoughts": true }));
    assert_eq!(effort(MODEL, "none"), json!({ "thinkingBudget": 0 }));
    assert_eq!(effort("gemini-2.5-pro", "none"), json!({ "thinkingBudget": 128 }));
    assert_eq!(
        effort("gemini-3-flash-preview", "minimal"),
        json!({ "thinkingLevel": "minimal", "includeThoughts": true })
    );
    assert_eq!(
        effort("gemini-3.1-pro-preview", "minimal"),
        json!({ "thinkingLevel": "low", "includeThoughts": true })
    );
    let enabled =
        json!({ "reasoning_effort": "low", "thinking": { "type": "enabled", "budget_tokens": 31_999 } });
    assert_eq!(thinks(MODEL, enabled.clone()), json!({ "thinkingBudget": 24_576, "includeThoughts": true }));
    assert_eq!(
        thinks("gemini-4-flash", enabled),
        json!({ "thinkingLevel": "high", "includeThoughts": true })
    );
    assert_eq!(thinks(MODEL, json!({ "thinking": { "type": "disabled" } })), json!({ "thinkingBudget": 0 }));
    assert_eq!(
        thinks(MODEL, json!({ "thinking": { "type": "adaptive" } })),
        json!({ "includeThoughts": true })
    );
}

#[test]
fn what_only_gemini_has_goes_where_it_belongs() {
    let settings = json!([{ "category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_ONLY_HIGH" }]);
    let google = json!({ "thinking_config": { "include_thoughts": true }, "safety_settings": settings, "cached_content": "cachedContents/x" });
    for more in [json!({ "extra_body": { "google": google } }), json!({ "google": google })] {
        let sent = body(MODEL, more);
        assert_eq!(sent["generationConfig"]["thinkingConfig"], json!({ "include_thoughts": true }));
        assert_eq!(
            (&sent["safetySettings"], &sent["cachedContent"]),
            (&settings, &json!("cachedContents/x"))
        );
    }
    assert_eq!(body(MODEL, json!({ "safety_settings": settings }))["safetySettings"], settings);
    let odd = json!({ "extra_body": { "google": { "contents": [] } } });
    let dropped = encoded(&Gemini::STUDIO, MODEL, odd, DropParams::Drop).unwrap();
    assert_eq!(dropped.dropped, ["extra_body.google.contents"]);
}

#[test]
fn a_model_s_name_is_one_segment_of_the_address() {
    let path = |model: &str, stream: bool| {
        let (quirks, settings, drop_params) = (Quirks::default(), BTreeMap::new(), DropParams::Drop);
        Gemini::STUDIO.path(&Encoding { model, stream, quirks: &quirks, settings: &settings, drop_params })
    };
    assert_eq!(path(MODEL, false).unwrap(), "/models/gemini-2.5-flash:generateContent");
    assert_eq!(
        path("models/gemini-2.5-flash", true).unwrap(),
        "/models/gemini-2.5-flash:streamGenerateContent?alt=sse"
    );
    for wrong in
        ["", "..", "a/b", "a/../b", "a%2Fb", "a?key=x", "a#b", "a:b", "a b", "../a", "ä", "models/a/b", ".a"]
    {
        assert_eq!(path(wrong, false), Err(EncodeError::Model), "{wrong}");
    }
}
