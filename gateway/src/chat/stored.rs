//! The form in which answers are remembered: who gave it, and the answer as clients get it.
//!
//! A line with its lifetime, its name and labels, three with cost, provider and model, then the answer as it is sent, without its id and time. A whole answer is
//! these bytes behind a new id and time; only a stream, or an answer into which values go back, takes them apart. Of a provider that speaks Responses a last line
//! has the event that ended the answer, for clients that do so, too.

use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;

use crate::client_api::openai_chat;
use crate::ledger::Nanodollars;
use crate::wire::chat::Chunk;
use crate::wire::responses;

/// Where an answer comes from, and how it is kept.
#[derive(Debug, PartialEq)]
pub(super) struct Origin<'a> {
    /// How long it is fresh.
    pub(super) fresh_for: Duration,
    /// Its name and labels, words with spaces between; the first is the name.
    pub(super) labels: &'a str,
    /// The provider.
    pub(super) provider: &'a str,
    /// What the provider calls the model.
    pub(super) model: &'a str,
    /// What it cost.
    pub(super) cost: Nanodollars,
}

/// Spells an answer and its origin; none if one of the names has more than one line.
pub(super) fn write(origin: &Origin<'_>, answer: Chunk) -> Option<Bytes> {
    let Origin { fresh_for, labels, provider, model, cost } = origin;
    if [provider, model, labels].iter().any(|text| text.contains('\n')) {
        return None;
    }
    let fresh_for = fresh_for.as_millis();
    let mut out = format!("{fresh_for} {labels}\n{cost}\n{provider}\n{model}\n").into_bytes();
    let native = responses::end(&answer).map(|end| {
        let mut end = end.clone();
        responses::forget_words(&mut end);
        serde_json::to_string(&end)
    });
    openai_chat::encode_lasting(answer, &mut out);
    if let Some(Ok(native)) = native {
        out.push(b'\n');
        out.extend_from_slice(native.as_bytes());
    }
    Some(Bytes::from(out))
}

/// The origin, and the answer as [`openai_chat::encode_lasting`] wrote it; none for other bytes.
pub(super) fn read(payload: &Bytes) -> Option<(Origin<'_>, Bytes)> {
    let mut lines = payload.splitn(6, |byte| *byte == b'\n');
    let mut line = || std::str::from_utf8(lines.next()?).ok();
    let (fresh_for, labels) = line()?.split_once(' ')?;
    let fresh_for = Duration::from_millis(fresh_for.parse().ok()?);
    let (cost, provider, model) = (line()?.parse().ok()?, line()?, line()?);
    let lasting = lines.next().filter(|lasting| lasting.starts_with(b"{"))?;
    Some((Origin { fresh_for, labels, provider, model, cost }, payload.slice_ref(lasting)))
}

/// The lifetime alone, which every lookup asks for.
pub(super) fn fresh_for(payload: &[u8]) -> Option<Duration> {
    let digits = payload.split(|byte| *byte == b' ').next()?;
    std::str::from_utf8(digits).ok()?.parse().ok().map(Duration::from_millis)
}

/// Name and labels alone.
pub(super) fn labels(payload: &[u8]) -> impl Iterator<Item = &str> {
    let line = payload.split(|byte| *byte == b'\n').next().and_then(|line| std::str::from_utf8(line).ok());
    line.unwrap_or_default().split(' ').skip(1)
}

/// The answer taken apart.
pub(super) fn decode(lasting: &[u8]) -> Option<Chunk> {
    serde_json::from_slice(lasting).ok()
}

/// The answer taken apart, with what its provider told clients of its own format.
pub(super) fn decode_native(payload: &[u8], lasting: &[u8]) -> Option<Chunk> {
    let mut answer = decode(lasting)?;
    let native = payload.splitn(6, |byte| *byte == b'\n').nth(5);
    if let Some(end) = native.and_then(|native| serde_json::from_slice::<Value>(native).ok()) {
        responses::set_end(&mut answer, &end);
    }
    Some(answer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn origin<'a>(provider: &'a str, model: &'a str, cost: Nanodollars) -> Origin<'a> {
        Origin { fresh_for: Duration::from_secs(9), labels: "id a b", provider, model, cost }
    }

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
        let origin = origin("p \"q", "m\u{fc}", 12);
        let payload = write(&origin, answer()).unwrap();
        let (read_origin, lasting) = read(&payload).unwrap();
        assert_eq!(read_origin, origin);
        assert_eq!(fresh_for(&payload), Some(Duration::from_secs(9)));
        assert_eq!(labels(&payload).collect::<Vec<_>>(), ["id", "a", "b"]);
        let mut expected = answer();
        // A message says whose it is, which a delta may leave open.
        expected.choices[1].delta.role = Some("assistant".to_owned());
        let read = Chunk { id: "c".to_owned(), created: 7, ..decode(&lasting).unwrap() };
        assert!(read == expected);
    }

    #[test]
    fn an_answer_behind_a_new_id_and_time_is_the_one_that_is_encoded_whole() {
        let origin = origin("p", "m", 0);
        let payload = write(&origin, answer()).unwrap();
        let (_, lasting) = read(&payload).unwrap();
        let spliced = openai_chat::complete(&lasting, "c", 7);
        assert_eq!(spliced, openai_chat::encode_whole(answer()));
        assert_eq!(serde_json::from_slice::<Value>(&spliced).unwrap()["object"], "chat.completion");
    }

    #[test]
    fn what_a_client_of_the_providers_format_is_told_is_kept_beside_the_answer() {
        let mut native = answer();
        native.choices.truncate(1);
        let end = json!({ "index": 3, "type": "response.completed", "response": { "id": "r", "output": [{ "id": "ws_1" }] } });
        responses::set_end(&mut native, &end);
        let payload = write(&origin("p", "m", 0), native).unwrap();
        let (_, lasting) = read(&payload).unwrap();
        assert!(!String::from_utf8_lossy(&lasting).contains("ws_1"), "other clients get nothing of it");
        let whole = decode_native(&payload, &lasting).unwrap();
        assert_eq!(json!(responses::end(&whole).unwrap()), end);
        assert!(responses::end(&decode(&lasting).unwrap()).is_none());
        let other = write(&origin("p", "m", 0), answer()).unwrap();
        let (_, lasting) = read(&other).unwrap();
        assert!(responses::end(&decode_native(&other, &lasting).unwrap()).is_none());
    }

    #[test]
    fn who_asked_first_is_not_kept_with_the_answer() {
        let mut native = answer();
        native.choices.truncate(1);
        let echo = json!({ "instructions": "I am Ada", "user": "ada", "safety_identifier": "ada", "prompt_cache_key": "ada", "metadata": { "of": "ada" }, "temperature": 1.0 });
        let end =
            json!({ "index": 3, "type": "response.completed", "response": { "id": "r" }, "echo": echo });
        responses::set_end(&mut native, &end);
        let payload = write(&origin("p", "m", 0), native).unwrap();
        let (_, lasting) = read(&payload).unwrap();
        let whole = decode_native(&payload, &lasting).unwrap();
        let kept = &responses::end(&whole).unwrap()[responses::ECHO];
        let expected = json!({ "instructions": null, "user": null, "safety_identifier": null, "prompt_cache_key": null, "metadata": {}, "temperature": 1.0 });
        assert_eq!(*kept, expected);
    }

    #[test]
    fn other_bytes_are_no_answer() {
        for payload in [
            "",
            "{}",
            "\n\n\n\n{}",
            "1\n1\np\nm\n{}",
            "x i\n1\np\nm\n{}",
            "1 i\nx\np\nm\n{}",
            "1 i\n1\np\n{}",
            "1 i\n1\np\nm\n",
            "1 i\n1\np\nm",
        ] {
            assert!(read(&Bytes::copy_from_slice(payload.as_bytes())).is_none(), "{payload}");
        }
        assert!(decode(b"{").is_none());
        assert!(write(&origin("p", "m\nn", 0), answer()).is_none());
    }
}
