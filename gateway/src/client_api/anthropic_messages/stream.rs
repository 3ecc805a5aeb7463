//! Answers as Anthropic's events.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::error_body;
use super::events::{items, message, stop_reason, thoughts, usage};
use crate::client_api::AnswerEncoder;
use crate::error::ApiError;
use crate::ids;
use crate::wire::anthropic::{ARGUMENTS, BLOCKS, END, ENDED, PIECES, RAW, has_input};
use crate::wire::chat::{Choice, Chunk, Delta, NATIVE, ToolCall};
use crate::wire::sse;
use crate::wire::usage::Usage;

/// Writes one stream.
#[derive(Default)]
pub(super) struct StreamEncoder {
    out: Vec<u8>,
    /// What the client calls the model.
    called: Option<Arc<str>>,
    started: bool,
    /// The provider speaks this format, too: blocks are as it has them.
    native: bool,
    /// What each block is, in their order.
    blocks: Vec<Block>,
    /// The block that is not complete, by its place.
    open: Option<usize>,
    /// The model's thoughts come in blocks of their own.
    signed: bool,
    calls: bool,
    finish_reason: Option<String>,
    usage: Option<Usage>,
    /// The end as the provider has it.
    end: Option<Map<String, Value>>,
}

/// What a block is.
#[derive(Clone, Copy, PartialEq)]
enum Block {
    /// The provider's block of this number.
    Numbered(u64),
    Thoughts,
    Text,
    Call(u32),
}

impl StreamEncoder {
    /// `called`: what the client calls the model, if that is told instead of what its provider does.
    pub(super) fn new(called: Option<Arc<str>>) -> Self {
        Self { called, ..Self::default() }
    }

    fn event(&mut self, event: &Value) {
        let kind = event.get("type").and_then(Value::as_str).unwrap_or_default();
        self.out.extend_from_slice(&sse::named_event(kind, event.to_string().as_bytes()));
    }

    fn start(&mut self, chunk: &mut Chunk) {
        if let Some(called) = &self.called {
            chunk.model = called.as_ref().to_owned();
        }
        let (message, native) = message(chunk);
        (self.started, self.native) = (true, native);
        self.event(&json!({ "type": "message_start", "message": message }));
    }

    /// Begins a block after all others; `begun` is the block as it is at first.
    fn begin(&mut self, block: Block, begun: &Value) -> usize {
        self.close();
        let at = self.blocks.len();
        self.blocks.push(block);
        self.open = Some(at);
        self.event(&json!({ "type": "content_block_start", "index": at, "content_block": begun }));
        at
    }

    fn close(&mut self) {
        if let Some(at) = self.open.take() {
            self.event(&json!({ "type": "content_block_stop", "index": at }));
        }
    }

    fn piece(&mut self, at: usize, delta: &Value) {
        self.event(&json!({ "type": "content_block_delta", "index": at, "delta": delta }));
    }

    fn find(&self, block: Block) -> Option<usize> {
        self.blocks.iter().position(|other| *other == block)
    }

    fn native(&mut self, delta: &Delta) {
        let native = delta.rest.get(NATIVE);
        let of = |name: &str| native.and_then(|native| native.get(name));
        let told: Vec<(&Value, u64)> = items(of(BLOCKS))
            .chain(items(delta.rest.get("thinking_blocks")))
            .filter_map(|item| Some((item, item["index"].as_u64()?)))
            .collect();
        let mut numbers: Vec<u64> = told.iter().map(|(_, number)| *number).collect();
        numbers.sort_unstable();
        numbers.dedup();
        for number in numbers {
            let members = told.iter().filter(|(_, other)| *other == number);
            let members = members.filter_map(|(item, _)| item.as_object()).flatten();
            let members: Map<String, Value> =
                members.map(|(name, value)| (name.clone(), value.clone())).collect();
            self.numbered(number, members);
        }
        if of(ENDED)
            .and_then(Value::as_u64)
            .is_some_and(|number| self.find(Block::Numbered(number)) == self.open)
        {
            self.close();
        }
        items(of(RAW)).for_each(|event| self.event(event));
        if let Some(end) = of(END).and_then(Value::as_object) {
            self.end = Some(end.clone());
        }
    }

    /// A block of the provider's, or an addition to one.
    fn numbered(&mut self, number: u64, mut members: Map<String, Value>) {
        members.remove("index");
        let mut take = |name: &str| members.remove(name);
        let text = take("text");
        let (arguments, thinking) = (take(ARGUMENTS), take("thinking"));
        let (signature, pieces) = (take("signature"), take(PIECES));
        let citations = members.get("citations").cloned();
        let at = self.find(Block::Numbered(number)).unwrap_or_else(|| {
            let kind = members.get("type").and_then(Value::as_str).unwrap_or_default().to_owned();
            match kind.as_str() {
                "text" => drop(members.insert("text".to_owned(), json!(""))),
                "thinking" => {
                    members.insert("thinking".to_owned(), json!(""));
                    members.insert("signature".to_owned(), json!(""));
                }
                kind if has_input(kind) => drop(members.insert("input".to_owned(), json!({}))),
                _ => {}
            }
            if let Some(Value::Array(citations)) = members.get_mut("citations") {
                citations.clear();
            }
            self.begin(Block::Numbered(number), &Value::Object(members))
        });
        let filled = |text: &Option<Value>| {
            text.as_ref().and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned)
        };
        if let Some(thinking) = filled(&thinking) {
            self.piece(at, &json!({ "type": "thinking_delta", "thinking": thinking }));
        }
        if let Some(signature) = filled(&signature) {
            self.piece(at, &json!({ "type": "signature_delta", "signature": signature }));
        }
        if let Some(text) = filled(&text) {
            self.piece(at, &json!({ "type": "text_delta", "text": text }));
        }
        if let Some(arguments) = filled(&arguments) {
            self.piece(at, &json!({ "type": "input_json_delta", "partial_json": arguments }));
        }
        for citation in items(citations.as_ref()) {
            let mut citation = citation.clone();
            citation.as_object_mut().map(|members| members.remove("index"));
            self.piece(at, &json!({ "type": "citations_delta", "citation": citation }));
        }
        items(pieces.as_ref()).for_each(|piece| self.piece(at, piece));
    }

    /// An addition to the answer of a provider of another format.
    fn translated(&mut self, delta: &Delta) {
        let mut signed = false;
        for item in items(delta.rest.get("thinking_blocks")) {
            if let (Some(number), Some(members)) = (item["index"].as_u64(), item.as_object()) {
                (self.signed, signed) = (true, true);
                self.numbered(number, members.clone());
            }
        }
        if !signed
            && !self.signed
            && let Some(thoughts) = thoughts(delta)
        {
            let begun = json!({ "type": "thinking", "thinking": "", "signature": "" });
            let at = self.current(Block::Thoughts, &begun);
            self.piece(at, &json!({ "type": "thinking_delta", "thinking": thoughts }));
        }
        for text in [&delta.content, &delta.refusal].into_iter().flatten().filter(|text| !text.is_empty()) {
            let at = self.current(Block::Text, &json!({ "type": "text", "text": "" }));
            self.piece(at, &json!({ "type": "text_delta", "text": text }));
        }
        delta.tool_calls.iter().enumerate().for_each(|(place, call)| self.call(place, call));
    }

    /// The block that is not complete if it is of this kind, else a new one.
    fn current(&mut self, block: Block, begun: &Value) -> usize {
        match self.open.filter(|at| self.blocks.get(*at) == Some(&block)) {
            Some(at) => at,
            None => self.begin(block, begun),
        }
    }

    fn call(&mut self, place: usize, call: &ToolCall) {
        self.calls = true;
        let index = call.index.unwrap_or(u32::try_from(place).unwrap_or(u32::MAX));
        let function = call.function.clone().unwrap_or_default();
        let at = self.find(Block::Call(index)).unwrap_or_else(|| {
            let id = call.id.clone().unwrap_or_else(|| ids::fresh("toolu_"));
            let name = function.name.unwrap_or_default();
            self.begin(
                Block::Call(index),
                &json!({ "type": "tool_use", "id": id, "name": name, "input": {} }),
            )
        });
        // Also to a call that another one interrupted: what belongs together is told by its place.
        if let Some(arguments) = function.arguments.filter(|arguments| !arguments.is_empty()) {
            self.piece(at, &json!({ "type": "input_json_delta", "partial_json": arguments }));
        }
    }

    fn taken(&mut self) -> Option<Bytes> {
        let out = std::mem::take(&mut self.out);
        (!out.is_empty()).then(|| Bytes::from(out))
    }
}

impl AnswerEncoder for StreamEncoder {
    fn push(&mut self, mut chunk: Chunk) -> Option<Bytes> {
        if !self.started {
            self.start(&mut chunk);
        }
        if chunk.usage.is_some() {
            self.usage = chunk.usage.take();
        }
        for Choice { delta, finish_reason, .. } in
            chunk.choices.into_iter().filter(|choice| choice.index == 0)
        {
            if self.native {
                self.native(&delta);
            } else {
                self.translated(&delta);
            }
            self.finish_reason = finish_reason.or(self.finish_reason.take());
        }
        self.taken()
    }

    fn finish(mut self: Box<Self>) -> Bytes {
        if !self.started {
            self.start(&mut Chunk::default());
        }
        self.close();
        let counts = self.usage.as_ref().map_or_else(|| json!({ "output_tokens": 0 }), usage);
        let mut end = self.end.take().unwrap_or_else(|| {
            let reason = stop_reason(self.finish_reason.as_deref(), self.calls);
            Map::from_iter([("delta".to_owned(), json!({ "stop_reason": reason, "stop_sequence": null }))])
        });
        end.entry("usage").or_insert(counts);
        let mut event = Map::from_iter([("type".to_owned(), json!("message_delta"))]);
        event.extend(end);
        self.event(&Value::Object(event));
        self.event(&json!({ "type": "message_stop" }));
        Bytes::from(self.out)
    }

    fn fail(mut self: Box<Self>, error: &ApiError) -> Bytes {
        self.event(&error_body(error));
        Bytes::from(self.out)
    }

    fn keep_alive(&self) -> &'static [u8] {
        b"event: ping\ndata: {\"type\":\"ping\"}\n\n"
    }
}
