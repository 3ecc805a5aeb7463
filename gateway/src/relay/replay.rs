//! A remembered answer as the stream it might have come in.

use serde_json::{Map, Value};

use crate::wire::chat::{Choice, Chunk, Delta};

/// Unknown fields that live streams repeat in every chunk.
const IN_EVERY_CHUNK: [&str; 3] = ["system_fingerprint", "service_tier", "provider"];

/// A whole answer as the chunks of a stream: the role, what the model thought, pieces of text, calls, the end, the token
/// counts.
pub fn replay(mut whole: Chunk) -> Vec<Chunk> {
    let (usage, choices) = (whole.usage.take(), std::mem::take(&mut whole.choices));
    let (repeated, once): (Map<_, _>, Map<String, Value>) = std::mem::take(&mut whole.rest)
        .into_iter()
        .partition(|(key, _)| IN_EVERY_CHUNK.contains(&key.as_str()));
    let head = Chunk { rest: repeated, ..whole };
    let mut chunks = Vec::new();
    for choice in choices {
        let with = |choice| Chunk { choices: vec![choice], ..head.clone() };
        chunks.extend(steps(choice).into_iter().map(with));
    }
    if usage.is_some() {
        chunks.push(Chunk { usage, ..head });
    }
    if let Some(first) = chunks.first_mut() {
        first.rest.extend(once);
    }
    chunks
}

fn steps(choice: Choice) -> Vec<Choice> {
    let Delta { role, content, refusal, tool_calls, rest } = choice.delta;
    let text = content.unwrap_or_default();
    let role = role.or_else(|| Some("assistant".to_owned()));
    let mut deltas = vec![Delta { role, content: Some(String::new()), ..Delta::default() }];
    deltas.push(Delta { rest, ..Delta::default() });
    deltas.extend(
        pieces(&text).into_iter().map(|piece| Delta { content: Some(piece.to_owned()), ..Delta::default() }),
    );
    deltas.push(Delta { refusal, tool_calls, ..Delta::default() });
    deltas.retain(|delta| *delta != Delta::default());
    let index = choice.index;
    let mut steps: Vec<Choice> =
        deltas.into_iter().map(|delta| Choice { index, delta, ..Choice::default() }).collect();
    let end = Choice { delta: Delta::default(), ..choice };
    // What is still under way has no end, and a step that says nothing is none.
    if end.finish_reason.is_some() || !end.rest.is_empty() {
        steps.push(end);
    }
    steps
}

/// Pieces of about twenty words: a client that shows text as it comes has something to show.
fn pieces(text: &str) -> Vec<&str> {
    let (mut pieces, mut from, mut words) = (Vec::new(), 0, 0);
    for (at, _) in text.match_indices(' ') {
        words += 1;
        if words == 20 {
            pieces.push(&text[from..=at]);
            (from, words) = (at + 1, 0);
        }
    }
    if from < text.len() {
        pieces.push(&text[from..]);
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::chat::Assembler;
    use serde_json::json;

    fn whole() -> Chunk {
        let text: String = (0..90).map(|n| format!("word{n} ")).collect();
        serde_json::from_value(json!({
            "id": "c", "created": 1, "model": "m", "service_tier": "x", "citations": ["a", "b"],
            "choices": [{
                "index": 0, "finish_reason": "stop", "logprobs": { "content": [{ "token": "w" }] },
                "delta": { "role": "assistant", "content": text, "reasoning_content": "hm" },
            }],
            "usage": { "prompt_tokens": 4, "completion_tokens": 5, "total_tokens": 9 },
        }))
        .unwrap()
    }

    #[test]
    fn a_replayed_answer_says_the_same_as_the_whole_one() {
        let chunks = replay(whole());
        assert!(chunks.len() > 6);
        let mut again = Assembler::default();
        chunks.iter().for_each(|chunk| again.push(chunk));
        assert!(again.finish() == whole());
    }

    #[test]
    fn a_replay_is_in_the_order_of_a_live_stream_and_says_large_things_once() {
        let chunks = replay(whole());
        let delta = |at: usize| &chunks[at].choices[0].delta;
        assert_eq!(delta(0).role.as_deref(), Some("assistant"));
        assert_eq!(delta(1).rest["reasoning_content"], "hm");
        assert!(delta(2).content.as_deref().is_some_and(|text| text.starts_with("word0 ")));
        assert!(chunks.iter().all(|chunk| chunk.rest["service_tier"] == "x"));
        assert_eq!(chunks[0].rest["citations"], json!(["a", "b"]));
        assert!(chunks[1..].iter().all(|chunk| !chunk.rest.contains_key("citations")));
    }
}
