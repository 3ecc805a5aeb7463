//! A streamed answer as the events of the Responses API: each item is added, grows and is done, and the response ends with all
//! of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::answer::{self, End, Head, State};
use super::native::{self, Told};
use crate::client_api::AnswerEncoder;
use crate::error::ApiError;
use crate::ids;
use crate::wire::chat::{Assembler, Choice, Chunk, Delta, ToolCall};
use crate::wire::responses;
use crate::wire::responses::items::{self, Called};
use crate::wire::sse;
use crate::wire::usage::Usage;

/// Writes the events of one response.
pub(super) struct Events {
    echo: Option<Arc<Map<String, Value>>>,
    out: Vec<u8>,
    number: u64,
    head: Head,
    begun: bool,
    /// Items in their order; what is under way is none yet.
    done: Vec<Option<Value>>,
    open: Option<Open>,
    /// By the index of the call. They stay open until the end, since calls may come side by side.
    calls: BTreeMap<u32, (usize, Called)>,
    finish_reason: Option<String>,
    refused: bool,
    usage: Option<Usage>,
    /// The provider speaks this format, too: events are as it has them.
    native: Option<Told>,
}

/// An item of which only one can be under way.
enum Open {
    Reasoning { at: usize, id: String, text: String, blocks: Assembler },
    Message { at: usize, id: String, parts: Vec<Value>, part: Option<Part> },
}

/// A part of a message that is under way.
struct Part {
    kind: Kind,
    text: String,
    logprobs: Vec<Value>,
    annotations: Vec<Value>,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Text,
    Refusal,
}

impl Part {
    fn value(&self) -> Value {
        match self.kind {
            Kind::Text => items::text_part(&self.text, &self.logprobs, &self.annotations),
            Kind::Refusal => json!({ "type": "refusal", "refusal": self.text }),
        }
    }
}

impl Events {
    pub(super) fn new(echo: Option<Arc<Map<String, Value>>>) -> Self {
        Self {
            echo,
            out: Vec::new(),
            number: 0,
            head: Head::default(),
            begun: false,
            done: Vec::new(),
            open: None,
            calls: BTreeMap::new(),
            finish_reason: None,
            refused: false,
            usage: None,
            native: None,
        }
    }

    /// What a provider of this format told; false if it is none.
    fn told(&mut self, chunk: &Chunk) -> bool {
        let mut told = match self.native.take() {
            Some(told) => told,
            None if self.begun => return false,
            None if chunk.choices.iter().all(|choice| responses::events(&choice.delta).is_empty()) => {
                return false;
            }
            None => Told::default(),
        };
        let echo = self.echo.clone();
        for event in chunk.choices.iter().flat_map(|choice| responses::events(&choice.delta)) {
            if let Some((kind, event)) = told.event(event, chunk, echo.as_deref()) {
                self.event(&kind, event);
            }
        }
        if !self.begun
            && let Some(response) = told.response.as_ref().filter(|_| told.end.is_some() && self.number == 0)
        {
            // It came whole.
            for (kind, event) in native::events(response) {
                self.event(kind, event);
            }
        }
        self.begun = true;
        self.native = Some(told);
        true
    }

    fn event(&mut self, kind: &str, mut body: Value) {
        body["type"] = json!(kind);
        body["sequence_number"] = json!(self.number);
        self.number += 1;
        self.out.extend_from_slice(&sse::named_event(kind, body.to_string().as_bytes()));
    }

    fn response(&self, status: &str, end: Option<&End>) -> Value {
        let items = self.done.iter().flatten().cloned().collect();
        let state = State { status, items, end, usage: self.usage.as_ref() };
        answer::response(&self.head, self.echo.as_deref(), &state)
    }

    fn begin(&mut self, chunk: &Chunk) {
        if self.begun {
            return;
        }
        self.begun = true;
        self.head =
            Head { id: answer::response_id(&chunk.id), created: chunk.created, model: chunk.model.clone() };
        for kind in ["response.created", "response.in_progress"] {
            let response = self.response("in_progress", None);
            self.event(kind, json!({ "response": response }));
        }
    }

    fn choice(&mut self, choice: &Choice) {
        let delta = &choice.delta;
        self.think(delta);
        let said = [(Kind::Text, &delta.content), (Kind::Refusal, &delta.refusal)];
        for (kind, text) in said {
            if let Some(text) = text.as_deref().filter(|text| !text.is_empty()) {
                self.say(kind, text, choice);
            }
        }
        for (position, call) in delta.tool_calls.iter().enumerate() {
            self.call(call.index.unwrap_or(u32::try_from(position).unwrap_or(u32::MAX)), call);
        }
        if choice.finish_reason.is_some() {
            self.finish_reason.clone_from(&choice.finish_reason);
        }
    }

    fn think(&mut self, delta: &Delta) {
        let text = delta.rest.get("reasoning_content").and_then(Value::as_str).unwrap_or_default();
        let signed = delta.rest.get("thinking_blocks");
        if text.is_empty() && signed.is_none() {
            return;
        }
        if !matches!(self.open, Some(Open::Reasoning { .. })) {
            self.close("completed");
            let (at, id) = (self.place(), ids::fresh("rs_"));
            self.event(
                "response.output_item.added",
                json!({ "output_index": at, "item": answer::reasoning(&id, None, None) }),
            );
            self.open = Some(Open::Reasoning { at, id, text: String::new(), blocks: Assembler::default() });
        }
        let Some(Open::Reasoning { at, id, text: so_far, blocks }) = &mut self.open else { return };
        if let Some(signed) = signed {
            let rest = Map::from_iter([("thinking_blocks".to_owned(), signed.clone())]);
            let choice = Choice { delta: Delta { rest, ..Delta::default() }, ..Choice::default() };
            blocks.push(&Chunk { choices: vec![choice], ..Chunk::default() });
        }
        if text.is_empty() {
            return;
        }
        let (first, at, id) = (so_far.is_empty(), *at, id.clone());
        so_far.push_str(text);
        let place = json!({ "item_id": id, "output_index": at, "summary_index": 0 });
        if first {
            let mut added = place.clone();
            added["part"] = json!({ "type": "summary_text", "text": "" });
            self.event("response.reasoning_summary_part.added", added);
        }
        let mut more = place;
        more["delta"] = json!(text);
        self.event("response.reasoning_summary_text.delta", more);
    }

    fn say(&mut self, kind: Kind, text: &str, choice: &Choice) {
        if !matches!(self.open, Some(Open::Message { .. })) {
            self.close("completed");
            self.open_message();
        }
        let Some(Open::Message { part, .. }) = &self.open else { return };
        if part.as_ref().is_some_and(|part| part.kind != kind) {
            self.close_part();
        }
        let Some(Open::Message { at, id, parts, part }) = &mut self.open else { return };
        let place = json!({ "item_id": id, "output_index": at, "content_index": parts.len() });
        let is_new = part.is_none();
        let part = part.get_or_insert_with(|| Part {
            kind,
            text: String::new(),
            logprobs: Vec::new(),
            annotations: Vec::new(),
        });
        let empty = part.value();
        let logprobs = items::logprobs(&choice.rest);
        part.text.push_str(text);
        part.logprobs.extend(logprobs.iter().cloned());
        part.annotations.extend(items::annotations(&choice.delta.rest));
        if is_new {
            let mut added = place.clone();
            added["part"] = empty;
            self.event("response.content_part.added", added);
        }
        let mut more = place;
        more["delta"] = json!(text);
        match kind {
            Kind::Text => {
                more["logprobs"] = json!(logprobs);
                self.event("response.output_text.delta", more);
            }
            Kind::Refusal => {
                self.refused = true;
                self.event("response.refusal.delta", more);
            }
        }
    }

    fn open_message(&mut self) {
        let (at, id) = (self.place(), ids::fresh("msg_"));
        let item = items::message(&id, "in_progress", &[]);
        self.event("response.output_item.added", json!({ "output_index": at, "item": item }));
        self.open = Some(Open::Message { at, id, parts: Vec::new(), part: None });
    }

    fn call(&mut self, index: u32, call: &ToolCall) {
        self.close("completed");
        if !self.calls.contains_key(&index) {
            let at = self.place();
            let mut called = Called::of(call);
            let given = std::mem::take(&mut called.given);
            self.event(
                "response.output_item.added",
                json!({ "output_index": at, "item": called.item("in_progress") }),
            );
            called.given.clone_from(&given);
            self.grown(at, &called, &given);
            self.calls.insert(index, (at, called));
            return;
        }
        let Some((at, called)) = self.calls.get_mut(&index) else { return };
        let more = called.add(call);
        let (at, called) = (*at, called.clone());
        self.grown(at, &called, &more);
    }

    fn grown(&mut self, at: usize, called: &Called, more: &str) {
        if !more.is_empty() {
            let kind = if called.custom {
                "response.custom_tool_call_input.delta"
            } else {
                "response.function_call_arguments.delta"
            };
            self.event(kind, json!({ "item_id": called.id, "output_index": at, "delta": more }));
        }
    }

    /// The place of the next item.
    fn place(&mut self) -> usize {
        self.done.push(None);
        self.done.len() - 1
    }

    fn close_part(&mut self) {
        let Some(Open::Message { at, id, parts, part }) = &mut self.open else { return };
        let Some(part) = part.take() else { return };
        let place = json!({ "item_id": id, "output_index": at, "content_index": parts.len() });
        parts.push(part.value());
        let mut said = place.clone();
        match part.kind {
            Kind::Text => {
                said["text"] = json!(part.text);
                said["logprobs"] = json!(part.logprobs);
                self.event("response.output_text.done", said);
            }
            Kind::Refusal => {
                said["refusal"] = json!(part.text);
                self.event("response.refusal.done", said);
            }
        }
        let mut ended = place;
        ended["part"] = part.value();
        self.event("response.content_part.done", ended);
    }

    /// Ends the item that is under way, calls aside.
    fn close(&mut self, status: &str) {
        self.close_part();
        match self.open.take() {
            Some(Open::Message { at, id, parts, .. }) => {
                self.ended(at, items::message(&id, status, &parts));
            }
            Some(Open::Reasoning { at, id, text, blocks }) => {
                if !text.is_empty() {
                    let place = json!({ "item_id": id, "output_index": at, "summary_index": 0 });
                    let (mut said, mut ended) = (place.clone(), place);
                    said["text"] = json!(text);
                    self.event("response.reasoning_summary_text.done", said);
                    ended["part"] = json!({ "type": "summary_text", "text": text });
                    self.event("response.reasoning_summary_part.done", ended);
                }
                let blocks =
                    blocks.finish().choices.pop().and_then(|mut c| c.delta.rest.remove("thinking_blocks"));
                self.ended(at, answer::reasoning(&id, Some(&text), blocks));
            }
            None => {}
        }
    }

    fn ended(&mut self, at: usize, item: Value) {
        self.event("response.output_item.done", json!({ "output_index": at, "item": &item }));
        self.done[at] = Some(item);
    }

    fn close_all(&mut self, status: &str) {
        self.close(status);
        for (at, called) in std::mem::take(&mut self.calls).into_values() {
            let kind = if called.custom {
                "response.custom_tool_call_input.done"
            } else {
                "response.function_call_arguments.done"
            };
            let mut said = json!({ "item_id": called.id, "output_index": at, "name": called.name });
            said[called.field()] = json!(called.given);
            self.event(kind, said);
            self.ended(at, called.item(status));
        }
    }

    fn taken(&mut self) -> Bytes {
        Bytes::from(std::mem::take(&mut self.out))
    }
}

impl AnswerEncoder for Events {
    fn push(&mut self, chunk: Chunk) -> Option<Bytes> {
        if !self.begun
            && !chunk.has_content()
            && chunk.choices.iter().all(|c| responses::events(&c.delta).is_empty())
        {
            // What comes next says whose events these are.
            self.usage = chunk.usage.or(self.usage.take());
            return None;
        }
        if self.told(&chunk) {
            return (!self.out.is_empty()).then(|| self.taken());
        }
        self.begin(&chunk);
        for choice in chunk.choices.iter().filter(|choice| choice.index == 0) {
            self.choice(choice);
        }
        if chunk.usage.is_some() {
            self.usage = chunk.usage;
        }
        (!self.out.is_empty()).then(|| self.taken())
    }

    fn finish(mut self: Box<Self>) -> Bytes {
        if let Some((kind, event)) = self.native.take().and_then(|told| told.end) {
            self.event(&kind, event);
            return self.taken();
        }
        self.begin(&Chunk::default());
        let end = End::by(self.finish_reason.as_deref(), self.refused);
        if self.done.is_empty() {
            self.open_message();
        }
        self.close_all(end.status);
        let response = self.response(end.status, Some(&end));
        self.event(&format!("response.{}", end.status), json!({ "response": response }));
        self.taken()
    }

    fn fail(mut self: Box<Self>, error: &ApiError) -> Bytes {
        let body = error.body();
        let error = json!({ "code": body["error"]["code"], "message": body["error"]["message"] });
        if self.begun {
            let told = self.native.take().and_then(|told| told.response);
            let mut response = told.unwrap_or_else(|| self.response("failed", None));
            response["status"] = json!("failed");
            response["error"] = error;
            self.event("response.failed", json!({ "response": response }));
        } else {
            self.event("error", json!({ "code": error["code"], "message": error["message"], "param": null }));
        }
        self.taken()
    }
}
