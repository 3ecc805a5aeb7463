//! Acceptance scenarios by their numbers, each a complaint about gateways that people have made.

use http_body_util::BodyExt;
use sluice::wire::sse::SseDecoder;
use sluice_tests::leak::holds;
use sluice_tests::{Gate, question, script, streamed};

const EMAIL: &str = "zoe.quill@example.org";

/// Twelve characters a chunk: `Write to [EM`, `AIL_ADDRESS_`, `1] today.`
const SPLIT: &str = "answer: 'Write to [EMAIL_ADDRESS_1] today.', chunk_chars: 12";

#[tokio::test]
async fn a10_an_address_over_three_chunks_of_a_stream_comes_back_whole_and_leaks_no_byte() {
    let gate = Gate::with("");
    gate.primary.script(script(&format!("reply: {{{SPLIT}}}")));
    let reply = gate.client.chat(&streamed(question(&format!("I am {EMAIL}")), true)).await;
    assert_eq!(reply.text(), format!("Write to {EMAIL} today."));
    // Not in pieces, either: a piece of a placeholder or of the address would be a leak of what stands where.
    let pieces: Vec<String> = reply
        .chunks()
        .iter()
        .filter_map(|chunk| Some(chunk.pointer("/choices/0/delta/content")?.as_str()?.to_owned()))
        .collect();
    assert!(pieces.iter().all(|piece| !piece.contains('[') && !piece.contains(']')), "{pieces:?}");
    assert!(pieces.iter().any(|piece| piece.contains(EMAIL)), "{pieces:?}");
    assert!(!holds(&gate.received(), EMAIL));
}

#[tokio::test]
async fn a10_what_stands_before_an_unfinished_address_does_not_wait_for_it() {
    let gate = Gate::with("");
    // The role and two chunks of content come, then nothing more.
    gate.primary.script(script(&format!("reply: {{{SPLIT}, stall_after: 3}}")));
    let mut response = gate.client.open(&streamed(question(&format!("I am {EMAIL}")), true)).await;
    let (mut decoder, mut events) = (SseDecoder::default(), Vec::new());
    let mut text = String::new();
    while text != "Write to " {
        let data = response.body_mut().frame().await.unwrap().unwrap().into_data().unwrap();
        events.clear();
        decoder.push(&data, &mut events).unwrap();
        for event in &events {
            let chunk: serde_json::Value = serde_json::from_slice(event).unwrap();
            text +=
                chunk.pointer("/choices/0/delta/content").and_then(|text| text.as_str()).unwrap_or_default();
        }
        assert!("Write to ".starts_with(&text), "{text}");
    }
}
