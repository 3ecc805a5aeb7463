//! Events pass cut anywhere, values come back, and what was held comes before what follows.

use std::borrow::Borrow;

use super::*;

use crate::relay::Relay;
use crate::relay::tests::vault;

/// What the client gets of a stream that comes in these pieces.
fn restored(pieces: &[&[u8]]) -> Vec<Value> {
    let (mut events, mut relay, mut writer) = (Events::default(), Relay::new(vault()), Writer::default());
    let mut came = Vec::new();
    for piece in pieces {
        assert!(events.push(piece, &mut came).is_ok());
    }
    events.finish(&mut came);
    assert!(matches!(came.pop(), Some(StreamEvent::Done)));
    let mut out = Vec::new();
    for event in came {
        let StreamEvent::Chunk(chunk) = event else { panic!("a chunk") };
        out.extend(writer.push(relay.push(chunk)));
    }
    relay.finish().into_iter().for_each(|rest| out.extend(writer.push(rest)));
    out
}

fn stream(events: &[Value]) -> Vec<u8> {
    events.iter().flat_map(|event| format!("data: {event}\r\n\r\n").into_bytes()).collect()
}

fn texts(events: &[Value], path: &str) -> String {
    events.iter().filter_map(|event| event.pointer(path)?.as_str()).collect()
}

fn part(part: impl Borrow<Value>) -> Value {
    json!({ "candidates": [{ "content": { "role": "model", "parts": [part.borrow()] }, "index": 0 }], "modelVersion": "m" })
}

const TEXT: &str = "/candidates/0/content/parts/0/text";

#[test]
fn a_text_of_google_s_is_restored_wherever_the_stream_is_cut() {
    let mut said: Vec<Value> = ["Write to [EMAIL", "_ADDR", "ESS_1]", " now, or [EMA"]
        .map(|text| part(json!({ "text": text })))
        .into();
    said.push(json!({ "candidates": [{ "finishReason": "STOP", "index": 0 }], "usageMetadata": { "promptTokenCount": 1 } }));
    let bytes = stream(&said);
    for cut in 0..=bytes.len() {
        let events = restored(&[&bytes[..cut], &bytes[cut..]]);
        assert_eq!(texts(&events, TEXT), "Write to zoe.q@example.org now, or [EMA", "cut at {cut}");
        let last = events.last().unwrap();
        assert_eq!(last["candidates"][0]["finishReason"], "STOP", "the end comes last");
        assert!(events.iter().all(|event| event["candidates"][0]["index"] == 0));
    }
}

#[test]
fn a_thought_keeps_its_own_end() {
    let said = [
        part(json!({ "text": "hm [EMAIL", "thought": true })),
        part(json!({ "text": "Hello" })),
        part(
            json!({ "functionCall": { "name": "f", "args": { "to": "[EMAIL_ADDRESS_1]", "n": [1, 2.5] } } }),
        ),
    ];
    let events = restored(&[&stream(&said)]);
    let thoughts: String = events
        .iter()
        .filter(|event| event.pointer("/candidates/0/content/parts/0/thought").is_some())
        .filter_map(|event| event.pointer(TEXT)?.as_str())
        .collect();
    assert_eq!(thoughts, "hm [EMAIL");
    let call = events.last().unwrap().pointer("/candidates/0/content/parts/0/functionCall").unwrap();
    assert_eq!(*call, json!({ "name": "f", "args": { "to": "zoe.q@example.org", "n": [1, 2.5] } }));
    assert!(texts(&events, TEXT).contains("Hello"));
}

#[test]
fn items_of_the_responses_api_do_not_mix() {
    let delta = |item: &str, kind: &str, text: &str| json!({ "type": format!("response.{kind}.delta"), "item_id": item, "output_index": 0, "content_index": 0, "delta": text });
    let said = [
        json!({ "type": "response.created", "response": { "id": "resp_1", "output": [] } }),
        delta("a", "output_text", "To [EMAIL_"),
        delta("b", "function_call_arguments", "{\"to\":\"[EMAIL_ADD"),
        delta("a", "output_text", "ADDRESS_1]"),
        delta("b", "function_call_arguments", "RESS_1]\"}"),
        delta("a", "output_text", " and [EM"),
        json!({ "type": "response.output_text.done", "item_id": "a", "text": "To [EMAIL_ADDRESS_1] and [EM" }),
        json!({ "type": "response.completed", "response": { "output": [{ "type": "function_call", "name": "f",
            "arguments": "{\"to\":\"[EMAIL_ADDRESS_1]\"}" }] } }),
    ];
    let bytes = stream(&said);
    for cut in 0..=bytes.len() {
        let events = restored(&[&bytes[..cut], &bytes[cut..]]);
        let of = |item: &str| {
            let own = events.iter().filter(|event| event["item_id"] == *item);
            own.filter_map(|event| event["delta"].as_str()).collect::<String>()
        };
        assert_eq!(of("a"), "To zoe.q@example.org and [EM");
        assert_eq!(of("b"), "{\"to\":\"zoe.q@example.org\"}");
        let done = events.iter().position(|event| event["type"] == "response.output_text.done").unwrap();
        assert_eq!(events[done]["text"], "To zoe.q@example.org and [EM");
        assert!(events[done..].iter().all(|event| event["delta"].is_null()), "what waited comes before");
        assert_eq!(
            events.last().unwrap()["response"]["output"][0]["arguments"],
            "{\"to\":\"zoe.q@example.org\"}"
        );
        assert_eq!(events[0], said[0]);
    }
}

#[test]
fn chat_chunks_and_their_terminator_come_through() {
    let chunk = |text: &str| json!({ "choices": [{ "index": 0, "delta": { "content": text } }] });
    let mut bytes = stream(&[chunk("a [EMAIL_ADDRESS"), chunk("_1] [E")]);
    bytes.extend_from_slice(b"data: [DONE]\n\n");
    let events = restored(&[&bytes]);
    assert_eq!(texts(&events, "/choices/0/delta/content"), "a zoe.q@example.org [E");
    assert_eq!(events.last(), Some(&json!("[DONE]")));
    assert_eq!(written(&json!("[DONE]")), "data: [DONE]\n\n");
    assert_eq!(written(&json!({ "type": "x.y" })), "event: x.y\ndata: {\"type\":\"x.y\"}\n\n");
}

#[test]
fn a_document_is_restored_whole_and_a_text_is_no_document() {
    let whole = |bytes: &[u8]| {
        let (mut document, mut came) = (Document::default(), Vec::new());
        for byte in bytes.chunks(1) {
            assert!(document.push(byte, &mut came).is_ok());
        }
        document.finish(&mut came);
        let Some(StreamEvent::Chunk(chunk)) = came.into_iter().next() else { return Vec::new() };
        Writer::default().push(Relay::new(vault()).push(chunk))
    };
    let said = part(json!({ "text": "to [EMAIL_ADDRESS_1]" })).to_string();
    assert_eq!(whole(said.as_bytes()), [part(json!({ "text": "to zoe.q@example.org" }))]);
    assert_eq!(whole(b"<p>[EMAIL_ADDRESS_1]</p>"), [json!("<p>zoe.q@example.org</p>")]);
    assert_eq!(whole(b"\xff\xfe"), [json!(null); 0]);
}

#[test]
fn a_stream_that_ends_inside_an_event_is_cut() {
    let (mut events, mut came) = (Events::default(), Vec::new());
    assert!(events.push(b"data: {\"candidates\":", &mut came).is_ok());
    events.finish(&mut came);
    assert!(came.is_empty());
}
