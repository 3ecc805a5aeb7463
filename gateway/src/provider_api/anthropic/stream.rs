//! Anthropic's event streams.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::decode::{
    call, called, finish_reason, head, is_answer, native_block, number_citation, thinking_block, thought,
    usage_of,
};
use super::error_of;
use crate::provider_api::{DecodeError, Sent, StreamDecoder, StreamEvent, parse};
use crate::wire::anthropic::{ARGUMENTS, BLOCKS, END, ENDED, MESSAGE, PIECES, RAW, SHOWN};
use crate::wire::chat::{Choice, Chunk, Delta, Function, NATIVE, ToolCall};
use crate::wire::sse::SseDecoder;

/// Reads one stream.
#[cfg_attr(test, derive(Clone))]
pub(super) struct AnthropicStream {
    sent: Sent,
    sse: SseDecoder,
    data: Vec<Bytes>,
    /// Id, model and time, as every chunk repeats them.
    head: Chunk,
    /// The counts so far; those of a later event are totals, and replace these.
    usage: Map<String, Value>,
    blocks: BTreeMap<u64, Block>,
    /// Calls so far.
    calls: u32,
    done: bool,
}

/// What a content block is to all formats.
#[cfg_attr(test, derive(Clone))]
enum Block {
    Text {
        citations: usize,
    },
    Call(u32),
    /// A call whose arguments are the answer.
    Answer,
    Other,
}

impl AnthropicStream {
    pub(super) fn new(sent: Sent) -> Self {
        let (sse, data, head) = (SseDecoder::default(), Vec::new(), Chunk::default());
        let (usage, blocks) = (Map::new(), BTreeMap::new());
        Self { sent, sse, data, head, usage, blocks, calls: 0, done: false }
    }

    fn event(&mut self, event: Value, events: &mut Vec<StreamEvent>) -> Result<(), DecodeError> {
        let Value::Object(event) = event else { return Err(DecodeError("not an event".to_owned())) };
        let kind = event.get("type").and_then(Value::as_str).unwrap_or_default();
        match kind {
            "ping" => {}
            "error" => {
                let unnamed = || json!({ "message": "the provider reported an error", "type": "api_error", "param": null, "code": null });
                events.push(StreamEvent::Error(error_of(&Value::Object(event)).unwrap_or_else(unnamed)));
            }
            "message_start" => events.push(StreamEvent::Chunk(self.start(event)?)),
            "content_block_start" => events.extend(self.block_start(event).map(StreamEvent::Chunk)),
            "content_block_delta" => events.extend(self.block_delta(event).map(StreamEvent::Chunk)),
            "content_block_stop" => {
                if let Some(at) = index_of(&event).filter(|_| self.sent.native) {
                    let delta = self.native(Delta::default(), json!({ ENDED: at }));
                    events.push(StreamEvent::Chunk(self.chunk(delta)));
                }
            }
            "message_delta" => self.end(event, events),
            "message_stop" => {
                self.done = true;
                events.push(StreamEvent::Done);
            }
            _ if self.sent.native => {
                let delta = self.native(Delta::default(), json!({ RAW: [event] }));
                events.push(StreamEvent::Chunk(self.chunk(delta)));
            }
            _ => {}
        }
        Ok(())
    }

    fn start(&mut self, mut event: Map<String, Value>) -> Result<Chunk, DecodeError> {
        let Some(Value::Object(mut message)) = event.remove("message") else {
            return Err(DecodeError("an event without its message".to_owned()));
        };
        self.head = head(&message);
        if let Some(Value::Object(usage)) = message.get("usage") {
            self.usage.clone_from(usage);
        }
        message.remove("content");
        let mut chunk = self.chunk(Delta { role: Some("assistant".to_owned()), ..Delta::default() });
        if self.sent.native {
            chunk.rest.insert(NATIVE.to_owned(), json!({ MESSAGE: message }));
        }
        Ok(chunk)
    }

    fn block_start(&mut self, mut event: Map<String, Value>) -> Option<Chunk> {
        let at = index_of(&event)?;
        let Some(Value::Object(block)) = event.remove("content_block") else { return None };
        let text = |name: &str| block.get(name).and_then(Value::as_str).unwrap_or_default();
        let (mut delta, mut shown) = (Delta::default(), false);
        let known = match text("type") {
            "text" => {
                delta.content = Some(text("text").to_owned()).filter(|text| !text.is_empty());
                let citations = block.get("citations").and_then(Value::as_array).map_or(0, Vec::len);
                Block::Text { citations }
            }
            "thinking" => {
                if !text("thinking").is_empty() {
                    thought(&mut delta, text("thinking"));
                    let item = json!({ "index": at, "type": "thinking", "thinking": text("thinking") });
                    thinking_block(&mut delta, item);
                }
                Block::Other
            }
            "redacted_thinking" => {
                let item = json!({ "index": at, "type": "redacted_thinking", "data": text("data") });
                thinking_block(&mut delta, item);
                Block::Other
            }
            "tool_use" => {
                let filled = |input: &&Value| input.as_object().is_some_and(|input| !input.is_empty());
                let input = block.get("input").filter(filled).map(Value::to_string).unwrap_or_default();
                if is_answer(&self.sent, text("name")) {
                    delta.content = Some(input).filter(|input| !input.is_empty());
                    Block::Answer
                } else {
                    let index = self.calls;
                    self.calls += 1;
                    delta.tool_calls.push(call(index, text("id"), called(&self.sent, text("name")), input));
                    Block::Call(index)
                }
            }
            _ => {
                shown = true;
                Block::Other
            }
        };
        self.blocks.insert(at, known);
        if self.sent.native {
            delta = self.native(delta, json!({ BLOCKS: [native_block(at, block)] }));
            if shown && let Some(native) = delta.rest.get_mut(NATIVE) {
                native[SHOWN] = json!(true);
            }
        }
        (delta != Delta::default()).then(|| self.chunk(delta))
    }

    fn block_delta(&mut self, mut event: Map<String, Value>) -> Option<Chunk> {
        let at = index_of(&event)?;
        let Some(Value::Object(mut piece)) = event.remove("delta") else { return None };
        let kind = piece.get("type").and_then(Value::as_str).unwrap_or_default().to_owned();
        let text = |name: &str| piece.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let mut delta = Delta::default();
        let block = self.blocks.get_mut(&at);
        let native = match kind.as_str() {
            "text_delta" => {
                delta.content = Some(text("text"));
                Some(json!({ "text": text("text") }))
            }
            "input_json_delta" => {
                let piece = text("partial_json");
                match block {
                    Some(Block::Call(index)) => delta.tool_calls.push(more(*index, piece.clone())),
                    Some(Block::Answer) => delta.content = Some(piece.clone()),
                    _ => {}
                }
                Some(json!({ ARGUMENTS: piece }))
            }
            "thinking_delta" => {
                thought(&mut delta, &text("thinking"));
                let item = json!({ "index": at, "type": "thinking", "thinking": text("thinking") });
                thinking_block(&mut delta, item);
                None
            }
            "signature_delta" => {
                let item = json!({ "index": at, "type": "thinking", "signature": text("signature") });
                thinking_block(&mut delta, item);
                None
            }
            "citations_delta" => {
                let mut citation = piece.remove("citation").unwrap_or_default();
                if let Some(Block::Text { citations }) = block {
                    number_citation(&mut citation, *citations);
                    *citations += 1;
                }
                Some(json!({ "citations": [citation] }))
            }
            _ => Some(json!({ PIECES: [piece] })),
        };
        if let Some(mut native) = native.filter(|_| self.sent.native) {
            native["index"] = json!(at);
            delta = self.native(delta, json!({ BLOCKS: [native] }));
        }
        (delta != Delta::default()).then(|| self.chunk(delta))
    }

    /// Why it ended, then the counts.
    fn end(&mut self, mut event: Map<String, Value>, events: &mut Vec<StreamEvent>) {
        let usage = event.get("usage").and_then(Value::as_object).cloned().unwrap_or_default();
        self.usage.extend(usage.into_iter().filter(|(_, count)| !count.is_null()));
        let reason = event.get("delta").and_then(|delta| delta.get("stop_reason")?.as_str());
        let of_client = self.calls > 0 || self.sent.answer_tool.is_none();
        let finish_reason = reason.map(|reason| finish_reason(reason, of_client).to_owned());
        event.remove("type");
        let delta = if self.sent.native {
            self.native(Delta::default(), json!({ END: event }))
        } else {
            Delta::default()
        };
        let choice = Choice { index: 0, delta, finish_reason, ..Choice::default() };
        events.push(StreamEvent::Chunk(Chunk { choices: vec![choice], ..self.head.clone() }));
        let usage = Some(usage_of(&self.usage));
        events.push(StreamEvent::Chunk(Chunk { usage, ..self.head.clone() }));
    }

    fn native(&self, mut delta: Delta, native: Value) -> Delta {
        delta.rest.insert(NATIVE.to_owned(), native);
        delta
    }

    fn chunk(&self, delta: Delta) -> Chunk {
        Chunk { choices: vec![Choice { index: 0, delta, ..Choice::default() }], ..self.head.clone() }
    }
}

impl StreamDecoder for AnthropicStream {
    fn push(&mut self, bytes: &[u8], events: &mut Vec<StreamEvent>) -> Result<(), DecodeError> {
        self.sse.push(bytes, &mut self.data).map_err(|e| DecodeError(e.to_string()))?;
        for data in std::mem::take(&mut self.data) {
            let data = data.trim_ascii();
            if data.is_empty() || self.done {
                continue;
            }
            self.event(parse(data)?, events)?;
        }
        Ok(())
    }

    #[cfg(test)]
    fn fork(&self) -> Option<Box<dyn StreamDecoder>> {
        Some(Box::new(self.clone()))
    }
}

fn index_of(event: &Map<String, Value>) -> Option<u64> {
    event.get("index").and_then(Value::as_u64)
}

/// More of a call's arguments.
fn more(index: u32, arguments: String) -> ToolCall {
    let function = Some(Function { arguments: Some(arguments), ..Function::default() });
    ToolCall { index: Some(index), function, ..ToolCall::default() }
}
