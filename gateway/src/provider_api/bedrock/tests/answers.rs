//! Answers by example: what is read whole, and streams cut at every byte.

use std::collections::BTreeMap;

use aws_smithy_eventstream::frame::write_message_to;
use aws_smithy_types::event_stream::{Header, HeaderValue, Message};
use serde_json::{Value, json};

use super::super::Bedrock;
use crate::provider_api::{ProviderApi, Sent, StreamEvent};
use crate::wire::chat::{Assembler, Chunk, NATIVE};

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
