//! Answers as they come back.

use std::borrow::Borrow;
use std::collections::BTreeMap;

use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

use super::super::Gemini;
use crate::provider_api::{ErrorAnswer, ProviderApi, Sent, StreamEvent};
use crate::wire::chat::{Assembler, Chunk};

/// An answer with thoughts, text, calls and a second candidate, in pieces.
fn pieces() -> Vec<Value> {
    let of = |index: u64, parts: Value| json!({ "content": { "role": "model", "parts": parts.borrow() }, "index": index });
    let mut last = of(0, json!([{ "text": "", "thoughtSignature": "dGV4dA==" }]));
    last["finishReason"] = json!("STOP");
    let mut other = of(1, json!([{ "text": "Too long" }]));
    other["finishReason"] = json!("MAX_TOKENS");
    let head = |candidates: Value| {
        json!({ "candidates": candidates, "modelVersion": "gemini-2.5-flash", "responseId": "r1",
            "usageMetadata": { "promptTokenCount": 7, "totalTokenCount": 7 } })
    };
    let mut end = head(json!([last, other]));
    end["usageMetadata"] = json!({ "promptTokenCount": 7, "toolUsePromptTokenCount": 3, "candidatesTokenCount": 11,
        "thoughtsTokenCount": 5, "cachedContentTokenCount": 4, "totalTokenCount": 26 });
    vec![
        head(json!([of(0, json!([{ "text": "Let me ", "thought": true }]))])),
        head(json!([of(0, json!([{ "text": "see.", "thought": true }, { "text": "Grü" }]))])),
        head(json!([of(
            0,
            json!([{ "text": "ße 🙂" },
            { "functionCall": { "name": "weather", "args": { "city": "Köln" } }, "thoughtSignature": "c2ln" }])
        )])),
        head(json!([of(0, json!([{ "functionCall": { "name": "a_b_1", "args": {}, "id": "own" } }]))])),
        end,
    ]
}

fn sent() -> Sent {
    Sent { tools: BTreeMap::from([("a_b_1".to_owned(), "a b".to_owned())]), ..Sent::default() }
}

fn told(whole: Chunk) -> Value {
    let mut whole = serde_json::to_value(whole).unwrap();
    assert!(whole["created"].as_u64().unwrap() > 0);
    whole.as_object_mut().unwrap().remove("created");
    let id = whole["choices"][0]["delta"]["tool_calls"][0]["id"].take();
    assert!(id.as_str().unwrap().starts_with("call_"), "{id}");
    whole
}

fn expected() -> Value {
    json!({
        "id": "r1", "model": "gemini-2.5-flash",
        "choices": [
            { "index": 0, "finish_reason": "tool_calls", "delta": {
                "role": "assistant", "content": "Grüße 🙂", "reasoning_content": "Let me see.",
                "thinking_blocks": [{ "index": 0, "type": "thinking", "thinking": "Let me see." }],
                "tool_calls": [
                    { "index": 0, "id": null, "type": "function",
                        "function": { "name": "weather", "arguments": "{\"city\":\"Köln\"}" },
                        "extra_content": { "google": { "thought_signature": "c2ln" } } },
                    { "index": 1, "id": "own", "type": "function", "function": { "name": "a b", "arguments": "{}" } },
                ],
                "extra_content": { "google": { "thought_signature": "dGV4dA==" } },
            } },
            { "index": 1, "finish_reason": "length", "delta": { "role": "assistant", "content": "Too long" } },
        ],
        "usage": { "prompt_tokens": 10, "completion_tokens": 16, "total_tokens": 26,
            "prompt_tokens_details": { "cached_tokens": 4 }, "completion_tokens_details": { "reasoning_tokens": 5 } },
    })
}

#[test]
fn a_stream_reads_the_same_wherever_it_is_cut() {
    let stream: String = pieces().iter().map(|piece| format!("data: {piece}\r\n\r\n")).collect();
    let stream = stream.as_bytes();
    for cut in 0..=stream.len() {
        let (mut decoder, mut events) = (Gemini::STUDIO.stream(sent()), Vec::new());
        decoder.push(&stream[..cut], &mut events).unwrap();
        decoder.push(&stream[cut..], &mut events).unwrap();
        assert!(!events.iter().any(|event| matches!(event, StreamEvent::Done)), "only its end is the end");
        decoder.finish(&mut events);
        assert!(matches!(events.pop(), Some(StreamEvent::Done)));
        let mut whole = Assembler::default();
        for (at, event) in events.iter().enumerate() {
            let StreamEvent::Chunk(chunk) = event else { panic!("a chunk at cut {cut}") };
            assert_eq!(chunk.usage.is_some(), at + 1 == events.len(), "counts come once, at the end");
            whole.push(chunk);
        }
        assert_eq!(told(whole.finish()), expected(), "cut {cut}");
    }
}

#[test]
fn a_whole_answer_says_the_same_as_its_stream() {
    let mut parts: Vec<Value> = Vec::new();
    for piece in pieces() {
        parts.extend(piece["candidates"][0]["content"]["parts"].as_array().unwrap().iter().cloned());
    }
    let mut whole = pieces().pop().unwrap();
    whole["candidates"][0]["content"]["parts"] = json!(parts);
    let chunk = Gemini::STUDIO.decode_whole(whole.to_string().as_bytes(), &sent()).unwrap();
    let mut seen = told(chunk);
    // The assembler puts blocks of one number together.
    let blocks = seen["choices"][0]["delta"]["thinking_blocks"].take();
    assert_eq!(blocks.as_array().unwrap().len(), 2);
    let mut wanted = expected();
    wanted["choices"][0]["delta"]["thinking_blocks"].take();
    assert_eq!(seen, wanted);
}

#[test]
fn a_stream_that_ends_too_early_has_no_end() {
    let cases = [
        pieces()[..4].iter().map(|piece| format!("data: {piece}\n\n")).collect::<String>(),
        format!("data: {}\n", pieces()[4]),
        String::new(),
    ];
    for stream in cases {
        let (mut decoder, mut events) = (Gemini::STUDIO.stream(sent()), Vec::new());
        decoder.push(stream.as_bytes(), &mut events).unwrap();
        decoder.finish(&mut events);
        assert!(!events.iter().any(|event| matches!(event, StreamEvent::Done)), "{stream}");
    }
}

fn answer(finish: &str, parts: impl Borrow<Value>) -> String {
    json!({ "candidates": [{ "content": { "parts": parts.borrow() }, "finishReason": finish }] }).to_string()
}

#[test]
fn why_an_answer_ended_is_told_in_the_words_of_clients() {
    let reason = |word: &str| {
        let body = answer(word, json!([{ "text": "x" }]));
        let whole = Gemini::STUDIO.decode_whole(body.as_bytes(), &Sent::default()).unwrap();
        whole.choices[0].finish_reason.clone().unwrap()
    };
    let cases = [
        ("STOP", "stop"),
        ("MAX_TOKENS", "length"),
        ("SAFETY", "content_filter"),
        ("RECITATION", "content_filter"),
        ("PROHIBITED_CONTENT", "content_filter"),
        ("SPII", "content_filter"),
        ("BLOCKLIST", "content_filter"),
        ("IMAGE_SAFETY", "content_filter"),
        ("OTHER", "stop"),
        ("SOMETHING_NEW", "stop"),
    ];
    for (word, told) in cases {
        assert_eq!(reason(word), told, "{word}");
    }
}

#[test]
fn a_call_that_the_model_botched_is_no_answer() {
    let body = answer("MALFORMED_FUNCTION_CALL", json!([]));
    let error = Gemini::STUDIO.decode_whole(body.as_bytes(), &Sent::default()).err().unwrap().to_string();
    assert!(error.contains("MALFORMED_FUNCTION_CALL"), "{error}");
    let (mut decoder, mut events) = (Gemini::STUDIO.stream(sent()), Vec::new());
    assert!(decoder.push(format!("data: {body}\n\n").as_bytes(), &mut events).is_err());
    for body in ["<html>secret</html>", "[]", "7", "{\"candidates\": []}", "{\"secret\": 1}"] {
        let error = Gemini::STUDIO.decode_whole(body.as_bytes(), &Sent::default()).err().unwrap().to_string();
        assert!(!error.contains("secret"), "{error}");
    }
}

#[test]
fn errors_and_refused_prompts_are_seen_whole_and_in_streams() {
    let refused =
        json!({ "promptFeedback": { "blockReason": "SAFETY" }, "usageMetadata": { "promptTokenCount": 4 } });
    let failed = json!([{ "error": { "code": 503, "message": "overloaded", "status": "UNAVAILABLE" } }]);
    for (body, code) in [(refused, "content_filter"), (failed, "unavailable")] {
        let (text, headers) = (body.to_string(), HeaderMap::new());
        let answer = ErrorAnswer { status: StatusCode::OK, headers: &headers, body: text.as_bytes() };
        assert_eq!(Gemini::STUDIO.decode_error(&answer).unwrap()["code"], code);
        let (mut decoder, mut events) = (Gemini::STUDIO.stream(sent()), Vec::new());
        decoder.push(format!("data: {text}\n\n").as_bytes(), &mut events).unwrap();
        assert!(matches!(&events[..], [StreamEvent::Error(error)] if error["code"] == code), "{text}");
    }
}

#[test]
fn images_sources_and_probabilities_come_along() {
    let body = json!({ "candidates": [{
        "content": { "parts": [
            { "inlineData": { "mimeType": "image/png", "data": "aGk=" } },
            { "executableCode": { "language": "PYTHON", "code": "1" } },
        ] },
        "finishReason": "STOP",
        "groundingMetadata": { "webSearchQueries": ["x"] },
        "logprobsResult": {
            "chosenCandidates": [{ "token": "A", "tokenId": 5, "logProbability": -0.5 }],
            "topCandidates": [{ "candidates": [{ "token": "A", "logProbability": -0.5 }, { "token": "B", "logProbability": -1.5 }] }],
        },
    }] });
    let whole = Gemini::STUDIO.decode_whole(body.to_string().as_bytes(), &Sent::default()).unwrap();
    let choice = serde_json::to_value(&whole.choices[0]).unwrap();
    let delta = &choice["delta"];
    assert_eq!(
        delta["images"],
        json!([{ "type": "image_url", "image_url": { "url": "data:image/png;base64,aGk=" } }])
    );
    assert_eq!(delta["extra_content"]["google"]["parts"][0]["executableCode"]["code"], "1");
    assert_eq!(delta["groundingMetadata"], json!({ "webSearchQueries": ["x"] }));
    let token = &choice["logprobs"]["content"][0];
    assert_eq!(
        (&token["token"], &token["logprob"], &token["bytes"]),
        (&json!("A"), &json!(-0.5), &json!([65]))
    );
    assert_eq!(token["top_logprobs"][1]["token"], "B");
}
