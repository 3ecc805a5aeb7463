//! The OpenAI API, spoken by OpenAI and by most others.

mod encode;
mod foreign;
pub mod words;

pub(super) use encode::{effort, takes_effort};

use bytes::Bytes;
use serde_json::{Value, json};
use sluice_guardrails::proof::Spot;

use super::{
    DecodeError, EncodeError, Encoded, Encoding, ErrorAnswer, ProviderApi, Sent, StreamDecoder, StreamEvent,
    parse,
};
use crate::chat::request::ChatRequest;
use crate::client_api::Format;
use crate::wire::chat::Chunk;
use crate::wire::sse::SseDecoder;
use crate::wire::usage::Usage;

/// `POST {base}/chat/completions`.
pub struct OpenAi;

impl ProviderApi for OpenAi {
    fn name(&self) -> &'static str {
        "openai"
    }

    fn format(&self) -> Option<Format> {
        Some(Format::OpenAiChat)
    }

    fn path(&self, how: &Encoding<'_>) -> Result<String, EncodeError> {
        Ok(how.own_path()?.unwrap_or_else(|| "/chat/completions".to_owned()))
    }

    fn encode(&self, request: &ChatRequest, how: &Encoding<'_>) -> Result<Encoded, EncodeError> {
        encode::encode(request, how)
    }

    fn is_protocol(&self, spot: &Spot<'_>) -> bool {
        words::is_protocol(spot)
    }

    fn decode_whole(&self, body: &[u8], sent: &Sent) -> Result<Chunk, DecodeError> {
        let mut body = parse(body)?;
        for choice in body.get_mut("choices").and_then(Value::as_array_mut).into_iter().flatten() {
            // Some send an empty delta beside the message. Here the message is meant, in a stream the delta.
            if let Value::Object(choice) = choice
                && choice.get("message").is_some_and(Value::is_object)
            {
                choice.remove("delta");
            }
        }
        let mut chunk = read(body, sent)?;
        if chunk.choices.is_empty() {
            return Err(DecodeError("the answer has no choices".to_owned()));
        }
        for choice in &mut chunk.choices {
            for (at, call) in choice.delta.tool_calls.iter_mut().enumerate() {
                call.index = Some(u32::try_from(at).unwrap_or(u32::MAX));
            }
        }
        Ok(chunk)
    }

    fn stream(&self, sent: Sent) -> Box<dyn StreamDecoder> {
        Box::new(OpenAiStream { sse: SseDecoder::default(), data: Vec::new(), sent })
    }

    fn decode_error(&self, answer: &ErrorAnswer<'_>) -> Option<Value> {
        error_of(&serde_json::from_slice(answer.body).ok()?)
    }
}

/// The error that this body reports. Some servers send a bare text where OpenAI sends an object.
fn error_of(body: &Value) -> Option<Value> {
    match body.get("error")? {
        error @ Value::Object(_) => Some(error.clone()),
        Value::String(message) => Some(json!({
            "message": message, "type": "invalid_request_error", "param": null, "code": null,
        })),
        _ => None,
    }
}

/// serde's messages may quote values, so they are not repeated.
fn read(body: Value, sent: &Sent) -> Result<Chunk, DecodeError> {
    let mut chunk: Chunk =
        serde_json::from_value(body).map_err(|_| DecodeError("not a chat completion".to_owned()))?;
    // The encoder writes its own.
    chunk.rest.remove("object");
    // Random padding against those who guess texts from the sizes of packets. It says nothing.
    chunk.rest.remove("obfuscation");
    if chunk.usage.is_none()
        && let Some(usage) = chunk.rest.get("x_groq").and_then(|own| own.get("usage"))
    {
        chunk.usage = serde_json::from_value(usage.clone()).ok();
    }
    if let Some(usage) = &mut chunk.usage {
        normalise(usage, sent);
    }
    Ok(chunk)
}

/// Counts as everybody means them: the answer's tokens with those of reasoning, and those out of the provider's own cache where
/// OpenAI tells them.
fn normalise(usage: &mut Usage, sent: &Sent) {
    let reasoning =
        usage.rest.get("completion_tokens_details").and_then(|d| d.get("reasoning_tokens")?.as_u64());
    let beside = usage.total_tokens.saturating_sub(usage.prompt_tokens + usage.completion_tokens);
    // Models of one provider differ in this: only where the sum says so.
    if sent.reasoning_apart && beside > 0 && reasoning == Some(beside) {
        usage.completion_tokens += beside;
    }
    // DeepSeek's word.
    if let Some(hit) = usage.rest.get("prompt_cache_hit_tokens").and_then(Value::as_u64)
        && !usage.rest.contains_key("prompt_tokens_details")
    {
        usage.rest.insert("prompt_tokens_details".to_owned(), json!({ "cached_tokens": hit }));
    }
}

#[cfg_attr(test, derive(Clone))]
struct OpenAiStream {
    sse: SseDecoder,
    data: Vec<Bytes>,
    sent: Sent,
}

impl StreamDecoder for OpenAiStream {
    fn push(&mut self, bytes: &[u8], events: &mut Vec<StreamEvent>) -> Result<(), DecodeError> {
        self.sse.push(bytes, &mut self.data).map_err(|e| DecodeError(e.to_string()))?;
        for data in self.data.drain(..) {
            match data.trim_ascii() {
                b"" => {}
                b"[DONE]" => events.push(StreamEvent::Done),
                data => {
                    let body = parse(data)?;
                    events.push(match error_of(&body) {
                        Some(error) => StreamEvent::Error(error),
                        None => StreamEvent::Chunk(read(body, &self.sent)?),
                    });
                }
            }
        }
        Ok(())
    }

    #[cfg(test)]
    fn fork(&self) -> Option<Box<dyn StreamDecoder>> {
        Some(Box::new(self.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::chat::Assembler;

    #[test]
    fn a_stream_reads_the_same_wherever_it_is_cut() {
        let stream = concat!(
            ": wait\n\n",
            "data: {\"id\":\"a\",\"object\":\"chat.completion.chunk\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"Gr\u{fc}\"}}]}\r\n\r\n",
            "data: {\"id\":\"a\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"\u{df}e \u{1f642}\"},\"finish_reason\":\"stop\"}]}\n\n",
            "data: [DONE]\n\n"
        )
        .as_bytes();
        for cut in 0..=stream.len() {
            let (mut decoder, mut events, mut whole) =
                (OpenAi.stream(Sent::default()), Vec::new(), Assembler::default());
            decoder.push(&stream[..cut], &mut events).unwrap();
            decoder.push(&stream[cut..], &mut events).unwrap();
            assert!(matches!(events.pop(), Some(StreamEvent::Done)));
            for event in &events {
                let StreamEvent::Chunk(chunk) = event else { panic!("a chunk at cut {cut}") };
                whole.push(chunk);
            }
            let whole = whole.finish();
            assert_eq!(whole.choices[0].delta.content.as_deref(), Some("Grüße 🙂"));
            assert_eq!(whole.choices[0].finish_reason.as_deref(), Some("stop"));
        }
    }

    #[test]
    fn counts_mean_the_same_whoever_tells_them() {
        let read = |usage: Value, sent: &Sent| {
            let body = json!({ "choices": [{ "message": { "content": "a" } }], "usage": usage });
            let usage = OpenAi.decode_whole(body.to_string().as_bytes(), sent).unwrap().usage.unwrap();
            (usage.completion_tokens, usage.cached_tokens())
        };
        let apart = Sent { reasoning_apart: true, ..Sent::default() };
        let reasoning = |answer: u64, total: u64| json!({ "prompt_tokens": 10, "completion_tokens": answer, "total_tokens": total, "completion_tokens_details": { "reasoning_tokens": 5 } });
        assert_eq!(read(reasoning(3, 18), &apart).0, 8, "left out");
        assert_eq!(read(reasoning(8, 18), &apart).0, 8, "counted already");
        assert_eq!(read(reasoning(3, 18), &Sent::default()).0, 3, "no quirk of this provider");
        let deepseek = json!({ "prompt_tokens": 10, "completion_tokens": 1, "total_tokens": 11, "prompt_cache_hit_tokens": 4, "prompt_cache_miss_tokens": 6 });
        assert_eq!(read(deepseek, &Sent::default()).1, 4);
    }

    #[test]
    fn an_error_inside_a_stream_is_seen_as_one() {
        let mut events = Vec::new();
        OpenAi
            .stream(Sent::default())
            .push(b"data: {\"error\":{\"message\":\"overloaded\"}}\n\n", &mut events)
            .unwrap();
        assert!(matches!(&events[0], StreamEvent::Error(e) if e["message"] == "overloaded"));
    }

    #[test]
    fn where_message_and_delta_stand_together_a_stream_means_the_delta() {
        let body = r#"{"error":null,"obfuscation":"aK3","choices":[{"delta":{"content":"b"},"message":{"content":"ab"}}]}"#;
        let whole = OpenAi.decode_whole(body.as_bytes(), &Sent::default()).unwrap();
        assert_eq!(whole.choices[0].delta.content.as_deref(), Some("ab"));
        let mut events = Vec::new();
        OpenAi.stream(Sent::default()).push(format!("data: {body}\n\n").as_bytes(), &mut events).unwrap();
        let Some(StreamEvent::Chunk(chunk)) = events.pop() else { panic!("a chunk") };
        assert_eq!(chunk.choices[0].delta.content.as_deref(), Some("b"));
        assert!(!chunk.rest.contains_key("obfuscation"));
    }

    #[test]
    fn what_is_no_answer_is_refused_without_quoting_it() {
        for body in
            ["<html>secret</html>", "{\"choices\":\"secret\"}", "{}", "[]", "{\"id\": 5, \"secret\": 1}"]
        {
            let error = OpenAi.decode_whole(body.as_bytes(), &Sent::default()).err().unwrap().to_string();
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
