//! The form in which answers are remembered: who gave it, and the answer as clients get it.
//!
//! Three lines with cost, provider and model, then the answer as it is sent, without its id and time. A whole answer is
//! these bytes behind a new id and time; only a stream, or an answer into which values go back, takes them apart.

use bytes::Bytes;

use crate::client_api::openai_chat;
use crate::ledger::Nanodollars;
use crate::wire::chat::Chunk;

/// Who gave an answer.
#[derive(Debug, PartialEq)]
pub(super) struct Origin<'a> {
    /// The provider.
    pub(super) provider: &'a str,
    /// What the provider calls the model.
    pub(super) model: &'a str,
    /// What it cost.
    pub(super) cost: Nanodollars,
}

/// Spells an answer and its origin; none if one of the names has more than one line.
pub(super) fn write(origin: &Origin<'_>, answer: Chunk) -> Option<Bytes> {
    let Origin { provider, model, cost } = origin;
    if provider.contains('\n') || model.contains('\n') {
        return None;
    }
    let mut out = format!("{cost}\n{provider}\n{model}\n").into_bytes();
    openai_chat::encode_lasting(answer, &mut out);
    Some(Bytes::from(out))
}

/// The origin, and the answer as [`openai_chat::encode_lasting`] wrote it; none for other bytes.
pub(super) fn read(payload: &Bytes) -> Option<(Origin<'_>, Bytes)> {
    let mut lines = payload.splitn(4, |byte| *byte == b'\n');
    let mut line = || std::str::from_utf8(lines.next()?).ok();
    let (cost, provider, model) = (line()?.parse().ok()?, line()?, line()?);
    let lasting = lines.next().filter(|lasting| lasting.starts_with(b"{"))?;
    Some((Origin { provider, model, cost }, payload.slice_ref(lasting)))
}

/// The answer taken apart.
pub(super) fn decode(lasting: &[u8]) -> Option<Chunk> {
    serde_json::from_slice(lasting).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn answer() -> Chunk {
        serde_json::from_value(json!({
            "id": "c", "created": 7, "model": "m\n\"", "service_tier": "x",
            "choices": [{
                "index": 0, "finish_reason": "stop", "logprobs": null,
                "delta": { "role": "assistant", "content": "Gr\u{fc}\u{df}e\n\u{1f642} \"\\", "reasoning_content": "hm" },
            }, {
                "index": 1, "finish_reason": "stop", "delta": { "content": "b" },
            }],
            "usage": { "prompt_tokens": 4, "completion_tokens": 5, "total_tokens": 9, "details": { "x": 1 } },
        }))
        .unwrap()
    }

    #[test]
    fn what_is_written_is_read_back() {
        let origin = Origin { provider: "p \"q", model: "m\u{fc}", cost: 12 };
        let payload = write(&origin, answer()).unwrap();
        let (read_origin, lasting) = read(&payload).unwrap();
        assert_eq!(read_origin, origin);
        let mut expected = answer();
        // A message says whose it is, which a delta may leave open.
        expected.choices[1].delta.role = Some("assistant".to_owned());
        let read = Chunk { id: "c".to_owned(), created: 7, ..decode(&lasting).unwrap() };
        assert!(read == expected);
    }

    #[test]
    fn an_answer_behind_a_new_id_and_time_is_the_one_that_is_encoded_whole() {
        let origin = Origin { provider: "p", model: "m", cost: 0 };
        let payload = write(&origin, answer()).unwrap();
        let (_, lasting) = read(&payload).unwrap();
        let spliced = openai_chat::complete(&lasting, "c", 7);
        assert_eq!(spliced, openai_chat::encode_whole(answer()));
        assert_eq!(serde_json::from_slice::<Value>(&spliced).unwrap()["object"], "chat.completion");
    }

    #[test]
    fn other_bytes_are_no_answer() {
        for payload in ["", "{}", "\n\n\n{}", "x\np\nm\n{}", "1\np\n{}", "1\np\nm\n", "1\np\nm"] {
            assert!(read(&Bytes::copy_from_slice(payload.as_bytes())).is_none(), "{payload}");
        }
        assert!(decode(b"{").is_none());
        assert!(write(&Origin { provider: "p", model: "m\nn", cost: 0 }, answer()).is_none());
    }
}
