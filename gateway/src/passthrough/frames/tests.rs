//! Frames pass cut anywhere, values come back in what they say, and their headers stay.

use super::super::events::Writer;
use super::*;
use crate::relay::Relay;
use crate::relay::tests::vault;

fn framed(kind: &str, said: &Value) -> Bytes {
    let head = [(":event-type", kind), (":content-type", "application/json"), (":message-type", "event")];
    frame(&headers(&head), said.to_string().as_bytes()).unwrap()
}

fn stream(events: &[(&str, Value)]) -> Vec<u8> {
    events.iter().flat_map(|(kind, said)| framed(kind, said)).collect()
}

/// What the client gets of a stream that comes in these pieces: kind and payload of each frame.
fn restored(pieces: &[&[u8]]) -> Vec<(String, Value)> {
    let (mut events, mut relay, mut writer) =
        (FrameEvents::default(), Relay::new(vault()), Writer::default());
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
    let mut frames = Frames::default();
    out.iter().for_each(|event| frames.push(&written(event).unwrap()));
    let read = std::iter::from_fn(|| frames.take().unwrap());
    let kind = |frame: &Frame| {
        let name = frame.header(":event-type").or_else(|| frame.header(":exception-type"));
        name.unwrap_or_default().to_owned()
    };
    read.map(|frame| (kind(&frame), serde_json::from_slice(frame.payload()).unwrap_or_default())).collect()
}

fn delta(block: u64, delta: &Value) -> (&'static str, Value) {
    ("contentBlockDelta", json!({ "contentBlockIndex": block, "delta": delta, "p": "abcdefgh" }))
}

fn texts(events: &[(String, Value)], block: u64, path: &str) -> String {
    let own = events.iter().filter(|(_, said)| said["contentBlockIndex"] == block);
    own.filter_map(|(_, said)| said.pointer(path)?.as_str()).collect()
}

#[test]
fn values_come_back_in_texts_and_calls_wherever_the_stream_is_cut() {
    let said = [
        ("messageStart", json!({ "role": "assistant", "p": "abc" })),
        delta(0, &json!({ "text": "Write to [EMAIL" })),
        delta(0, &json!({ "text": "_ADDR" })),
        delta(0, &json!({ "text": "ESS_1] now, or [EMA" })),
        ("contentBlockStop", json!({ "contentBlockIndex": 0 })),
        (
            "contentBlockStart",
            json!({ "contentBlockIndex": 1, "start": { "toolUse": { "toolUseId": "t1", "name": "mail" } } }),
        ),
        delta(1, &json!({ "toolUse": { "input": "{\"to\":\"[EMAIL_ADD" } })),
        delta(1, &json!({ "toolUse": { "input": "RESS_1]\"}" } })),
        ("contentBlockStop", json!({ "contentBlockIndex": 1 })),
        ("messageStop", json!({ "stopReason": "tool_use" })),
        (
            "metadata",
            json!({ "usage": { "inputTokens": 3, "outputTokens": 4 }, "metrics": { "latencyMs": 1 } }),
        ),
    ];
    let bytes = stream(&said);
    for cut in 0..=bytes.len() {
        let events = restored(&[&bytes[..cut], &bytes[cut..]]);
        assert_eq!(
            texts(&events, 0, "/delta/text"),
            "Write to zoe.q@example.org now, or [EMA",
            "cut at {cut}"
        );
        assert_eq!(
            texts(&events, 1, "/delta/toolUse/input"),
            "{\"to\":\"zoe.q@example.org\"}",
            "cut at {cut}"
        );
        let first = events.iter().position(|(kind, _)| kind == "contentBlockStop").unwrap();
        let late = events[first..]
            .iter()
            .any(|(_, said)| said["contentBlockIndex"] == 0 && said.get("delta").is_some());
        assert!(!late, "what waited comes before the end of its block");
        let last = events.last().unwrap();
        assert_eq!((last.0.as_str(), &last.1["usage"]["outputTokens"]), ("metadata", &json!(4)));
        let kinds = |name: &str| events.iter().filter(|(kind, _)| kind == name).count();
        assert_eq!((kinds("messageStart"), kinds("contentBlockStart"), kinds("messageStop")), (1, 1, 1));
    }
    let bytewise: Vec<&[u8]> = bytes.chunks(1).collect();
    assert_eq!(texts(&restored(&bytewise), 0, "/delta/text"), "Write to zoe.q@example.org now, or [EMA");
}

#[test]
fn what_a_model_of_its_own_format_says_is_restored_inside_its_frames() {
    let chunk = |inner: Value| ("chunk", json!({ "bytes": STANDARD.encode(inner.to_string()), "p": "abcd" }));
    let text = |text: &str| {
        chunk(
            json!({ "type": "content_block_delta", "index": 0, "delta": { "type": "text_delta", "text": text } }),
        )
    };
    let said = [
        chunk(json!({ "type": "message_start", "message": { "usage": { "input_tokens": 3 } } })),
        text("To [EMAIL_ADD"),
        text("RESS_1], [EMAIL"),
        chunk(json!({ "type": "content_block_stop", "index": 0 })),
    ];
    let bytes = stream(&said);
    for cut in 0..=bytes.len() {
        let events = restored(&[&bytes[..cut], &bytes[cut..]]);
        let inner = events.iter().map(|(kind, said)| {
            assert_eq!(kind, "chunk");
            serde_json::from_slice::<Value>(&STANDARD.decode(said["bytes"].as_str().unwrap()).unwrap())
                .unwrap()
        });
        let inner: Vec<Value> = inner.collect();
        let all: String = inner.iter().filter_map(|said| said.pointer("/delta/text")?.as_str()).collect();
        assert_eq!(all, "To zoe.q@example.org, [EMAIL", "cut at {cut}");
        assert_eq!(inner.last().unwrap()["type"], "content_block_stop");
    }
}

#[test]
fn reasoning_that_is_signed_stays_as_it_was_and_exceptions_come_through() {
    let head = headers(&[(":exception-type", "throttlingException"), (":message-type", "exception")]);
    let thought = json!({ "reasoningContent": { "text": "is [EMAIL_ADDRESS_1] there?" } });
    let mut bytes = stream(&[
        delta(0, &thought),
        delta(0, &json!({ "reasoningContent": { "signature": "c2ln" } })),
        ("later", json!({ "unknown": ["[EMAIL_ADDRESS_1]"] })),
    ]);
    bytes.extend_from_slice(&frame(&head, br#"{"message":"slow down, [EMAIL_ADDRESS_1]"}"#).unwrap());
    bytes.extend_from_slice(&frame(&headers(&[(":event-type", "initial-response")]), b"").unwrap());
    let events = restored(&[&bytes]);
    assert_eq!(events[0].1["delta"], thought);
    assert_eq!(events[1].1["delta"]["reasoningContent"]["signature"], "c2ln");
    assert_eq!(events[2], ("later".to_owned(), json!({ "unknown": ["zoe.q@example.org"] })));
    assert_eq!(
        events[3],
        ("throttlingException".to_owned(), json!({ "message": "slow down, zoe.q@example.org" }))
    );
    assert_eq!(events[4], ("initial-response".to_owned(), Value::Null));
}

#[test]
fn what_is_no_frame_of_json_ends_the_stream() {
    for bytes in [
        frame(&[], b"words").unwrap(),
        frame(&[], br#"{"bytes":"?"}"#).unwrap(),
        Bytes::from_static(&[0; 16]),
    ] {
        assert!(FrameEvents::default().push(&bytes, &mut Vec::new()).is_err());
    }
    let (mut events, mut came) = (FrameEvents::default(), Vec::new());
    assert!(events.push(&framed("messageStart", &json!({}))[..20], &mut came).is_ok());
    events.finish(&mut came);
    assert!(came.is_empty(), "it was cut");
}
