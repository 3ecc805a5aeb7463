//! An answer in a provider's own format as chunks, so that what reads and restores chats' answers reads and restores it, too.
//!
//! Each event stands whole in the delta of a choice, and beside it what people read and which tools are called. What grows from
//! event to event, such as the text of one part, is one choice; whatever comes whole is a choice of its own, which ends at once.

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use serde_json::{Map, Value, json};

use super::frames;
use crate::provider_api::{DecodeError, StreamDecoder, StreamEvent};
use crate::wire::chat::{Choice, Chunk, Delta, Function, NATIVE, ToolCall};
use crate::wire::sse::{self, SseDecoder};

/// Where the event stands in a delta.
const EVENT: &str = "event";
/// Beside it, where it is more than the end of a text that waited.
const WHOLE: &str = "whole";
/// Marks an object of a call's arguments that is a JSON text on its way: `object`, or `text` where it was one before.
pub(super) const MARK: &str = "sluice_arguments";
/// Fields in which texts grow.
const GROWS: [&str; 7] =
    ["text", "content", "arguments", "delta", "thinking", "partial_json", "reasoning_content"];

/// What grows together: a stream of events of one kind about one thing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Thread {
    /// What it is about. Of the threads about one thing, only the last goes on.
    about: String,
    kind: String,
}

/// Takes a stream of events apart.
#[derive(Default)]
pub(super) struct Events {
    sse: SseDecoder,
    threads: BTreeMap<Thread, u32>,
    /// The next choice's number.
    next: u32,
}

impl StreamDecoder for Events {
    fn push(&mut self, bytes: &[u8], events: &mut Vec<StreamEvent>) -> Result<(), DecodeError> {
        let mut came = Vec::new();
        let pushed = self.sse.push(bytes, &mut came);
        for data in came {
            events.push(StreamEvent::Chunk(self.chunk(&data)?));
        }
        pushed.map_err(|error| DecodeError(error.to_string()))
    }

    fn finish(&mut self, events: &mut Vec<StreamEvent>) {
        if !self.sse.mid_event() {
            events.push(StreamEvent::Done);
        }
    }
}

impl Events {
    fn chunk(&mut self, data: &[u8]) -> Result<Chunk, DecodeError> {
        let Ok(event) = serde_json::from_slice::<Value>(data) else {
            let text = std::str::from_utf8(data);
            let text = text.map_err(|_| DecodeError("an event is no UTF-8".to_owned()))?;
            return Ok(self.whole(Value::String(text.to_owned())));
        };
        Ok(self.event(event))
    }

    /// An event that is read already.
    pub(super) fn event(&mut self, event: Value) -> Chunk {
        let Some((thread, ends)) = thread(frames::said(&event)) else { return self.whole(event) };
        let mut choices = Vec::new();
        let over = |other: &Thread| other.about == thread.about && other.kind != thread.kind;
        let ended: Vec<Thread> = self.threads.keys().filter(|other| over(other)).cloned().collect();
        choices.extend(ended.iter().filter_map(|thread| self.threads.remove(thread)).map(end));
        let index = *self.threads.entry(thread.clone()).or_insert_with(|| {
            self.next += 1;
            self.next - 1
        });
        if ends {
            self.threads.remove(&thread);
        }
        choices.push(choice(index, event, ends));
        Chunk { choices, ..Chunk::default() }
    }

    /// What comes whole comes behind everything that waits.
    fn whole(&mut self, event: Value) -> Chunk {
        let mut choices: Vec<Choice> = std::mem::take(&mut self.threads).into_values().map(end).collect();
        choices.push(choice(self.next, event, true));
        self.next += 1;
        Chunk { choices, ..Chunk::default() }
    }
}

/// What an event goes on with, and whether that ends with it; none for what comes whole.
fn thread(event: &Value) -> Option<(Thread, bool)> {
    let number = |item: &Value| item.get("index").and_then(Value::as_u64).unwrap_or_default().to_string();
    if let Some(candidates) = event.get("candidates").and_then(Value::as_array).filter(|all| !all.is_empty())
    {
        let kinds: Vec<String> = candidates.iter().map(kinds).collect();
        if kinds.iter().any(|kinds| kinds.contains('x')) {
            return None;
        }
        let about: Vec<String> = candidates.iter().map(number).collect();
        let ends = candidates.iter().all(|candidate| candidate.get("finishReason").is_some());
        return Some((
            Thread { about: format!("candidates {}", about.join(" ")), kind: kinds.join(" ") },
            ends,
        ));
    }
    if let Some(choices) = event.get("choices").and_then(Value::as_array).filter(|all| !all.is_empty()) {
        let about: Vec<String> = choices.iter().map(number).collect();
        let ends = choices.iter().all(|choice| choice.get("finish_reason").is_some_and(|why| !why.is_null()));
        let about = format!("choices {}", about.join(" "));
        return Some((Thread { about, kind: String::new() }, ends));
    }
    if let (Some(block), Some(delta)) = (event.get("contentBlockIndex"), event.get("delta")) {
        let kinds = delta.as_object().into_iter().flatten().map(|(kind, said)| match said.as_object() {
            Some(said) => format!("{kind} {}", said.keys().map(String::as_str).collect::<Vec<_>>().join(" ")),
            None => kind.clone(),
        });
        let kind = kinds.collect::<Vec<_>>().join(" ");
        return Some((Thread { about: format!("block {block}"), kind }, false));
    }
    let kind = event.get("type")?.as_str()?;
    if !kind.ends_with("delta") || kind == "message_delta" {
        return None;
    }
    let ids = ["item_id", "output_index", "content_index", "summary_index", "index", "response_id"];
    let about: Vec<String> =
        ids.iter().map(|name| event.get(*name).map(Value::to_string).unwrap_or_default()).collect();
    let inner = event.pointer("/delta/type").and_then(Value::as_str).unwrap_or_default();
    Some((Thread { about: format!("{kind} {}", about.join(" ")), kind: inner.to_owned() }, false))
}

/// One letter for each part of a candidate: a text, a thought, or something that comes whole.
fn kinds(candidate: &Value) -> String {
    let parts = candidate.pointer("/content/parts").and_then(Value::as_array).into_iter().flatten();
    parts
        .map(|part| match part.get("text") {
            Some(_) if part.get("thought") == Some(&Value::Bool(true)) => 'h',
            Some(_) => 't',
            None => 'x',
        })
        .collect()
}

/// A choice that says nothing more.
fn end(index: u32) -> Choice {
    Choice { index, finish_reason: Some("stop".to_owned()), ..Choice::default() }
}

/// An event as a choice that says it.
pub(super) fn choice(index: u32, mut event: Value, ends: bool) -> Choice {
    let (mut text, mut calls) = (String::new(), Vec::new());
    readable(&event, &mut text, &mut calls);
    wrap(&mut event);
    let native = json!({ EVENT: event, WHOLE: true });
    let delta = Delta {
        content: (!text.is_empty()).then_some(text),
        tool_calls: calls,
        rest: Map::from_iter([(NATIVE.to_owned(), native)]),
        ..Delta::default()
    };
    Choice { index, delta, finish_reason: ends.then(|| "stop".to_owned()), ..Choice::default() }
}

/// What people read in an answer or event, and the tools that it calls.
fn readable(said: &Value, text: &mut String, calls: &mut Vec<ToolCall>) {
    match said {
        Value::String(words) => text.push_str(words),
        Value::Array(items) => items.iter().for_each(|item| readable(item, text, calls)),
        Value::Object(object) => {
            let word = |name: &str| object.get(name).and_then(Value::as_str);
            if object.get("thought") == Some(&Value::Bool(true)) {
                return;
            }
            let kind = word("type").unwrap_or_default();
            let named = object
                .get("functionCall")
                .or_else(|| object.get("toolUse"))
                .or_else(|| object.get("function"));
            let is_call = kind.ends_with("_call") || kind.ends_with("tool_use");
            let call = named.or_else(|| is_call.then_some(said));
            if let Some(name) = call.and_then(|call| call.get("name")?.as_str()) {
                let arguments = ["args", "arguments", "input"].iter().find_map(|key| call?.get(*key));
                let arguments =
                    arguments.map(|said| said.as_str().map_or_else(|| said.to_string(), str::to_owned));
                let function = Function { name: Some(name.to_owned()), arguments, ..Function::default() };
                let index = u32::try_from(calls.len()).ok();
                calls.push(ToolCall { index, function: Some(function), ..ToolCall::default() });
                return;
            }
            if kind.ends_with("text.delta") {
                text.push_str(word("delta").unwrap_or_default());
            }
            for (name, member) in object {
                match member {
                    Value::String(words) if matches!(name.as_str(), "text" | "content") => {
                        text.push_str(words);
                    }
                    Value::Array(_) | Value::Object(_) => readable(member, text, calls),
                    _ => {}
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Makes JSON texts of the arguments of calls, as which they are read and restored.
fn wrap(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(wrap),
        Value::Object(object) => {
            let pieces = object
                .get("type")
                .and_then(Value::as_str)
                .is_some_and(|kind| kind.ends_with("arguments.delta"));
            for (name, member) in object.iter_mut() {
                match member {
                    Value::Object(inner)
                        if matches!(name.as_str(), "args" | "input") && !inner.contains_key(MARK) =>
                    {
                        *member = json!({ "arguments": member.to_string(), MARK: "object" });
                    }
                    Value::String(piece) if pieces && name == "delta" => {
                        *member = json!({ "arguments": piece, MARK: "text" });
                    }
                    _ => wrap(member),
                }
            }
        }
        _ => {}
    }
}

fn unwrap(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(unwrap),
        Value::Object(object) => match object.get(MARK).and_then(Value::as_str) {
            Some(mark) => {
                let text = object.get("arguments").and_then(Value::as_str).unwrap_or_default();
                let read = if mark == "object" { serde_json::from_str(text).ok() } else { None };
                *value = read.unwrap_or_else(|| Value::String(text.to_owned()));
            }
            None => object.values_mut().for_each(unwrap),
        },
        _ => {}
    }
}

/// Gives events back, as they are to be sent.
#[derive(Default)]
pub(super) struct Writer {
    /// The last event of each choice that goes on, without its texts.
    last: BTreeMap<u32, Value>,
}

impl Writer {
    /// The events of a chunk.
    pub(super) fn push(&mut self, chunk: Chunk) -> Vec<Value> {
        let mut events = Vec::new();
        for mut choice in chunk.choices {
            let Some(Value::Object(mut native)) = choice.delta.rest.remove(NATIVE) else { continue };
            let Some(mut event) = native.remove(EVENT) else { continue };
            if native.contains_key(WHOLE) {
                if choice.finish_reason.is_none() {
                    let mut without = event.clone();
                    blank(&mut without);
                    self.last.insert(choice.index, without);
                }
            } else if let Some(last) = self.last.get(&choice.index) {
                // The end of a text that waited.
                let mut whole = last.clone();
                merge(&mut whole, event);
                event = whole;
            }
            unwrap(&mut event);
            events.push(event);
        }
        events
    }
}

/// Takes out what grows, and what is told once.
fn blank(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(blank),
        Value::Object(object) => {
            object.retain(|name, _| !matches!(name.as_str(), "usage" | "usageMetadata" | "thoughtSignature"));
            for (name, member) in object.iter_mut() {
                match member {
                    Value::String(text) if GROWS.contains(&name.as_str()) => text.clear(),
                    _ => blank(member),
                }
            }
        }
        _ => {}
    }
}

/// Puts the texts of `rest` into their places.
fn merge(whole: &mut Value, rest: Value) {
    match (whole, rest) {
        (Value::Object(whole), Value::Object(rest)) => {
            for (name, member) in rest {
                match whole.get_mut(&name) {
                    Some(there) => merge(there, member),
                    None => drop(whole.insert(name, member)),
                }
            }
        }
        (Value::Array(whole), Value::Array(rest)) => {
            for (at, item) in rest.into_iter().enumerate() {
                let numbered = item.get("index").filter(|index| index.is_u64()).cloned();
                let found = numbered
                    .and_then(|index| whole.iter().position(|there| there.get("index") == Some(&index)));
                match whole.get_mut(found.unwrap_or(at)) {
                    Some(there) => merge(there, item),
                    None => whole.push(item),
                }
            }
        }
        (_, Value::Null) => {}
        (whole, rest) => *whole = rest,
    }
}

/// An event as it is sent: with its name where it has a type, as those have that are sent with one.
pub(super) fn written(event: &Value) -> Bytes {
    match event {
        Value::String(text) => {
            let mut out = BytesMut::new();
            for line in text.split('\n') {
                out.extend_from_slice(b"data: ");
                out.extend_from_slice(line.as_bytes());
                out.extend_from_slice(b"\n");
            }
            out.extend_from_slice(b"\n");
            out.freeze()
        }
        event => {
            let plain = |name: &&str| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic());
            match event.get("type").and_then(Value::as_str).filter(plain) {
                Some(name) => sse::named_event(name, event.to_string().as_bytes()),
                None => sse::event(event.to_string().as_bytes()),
            }
        }
    }
}

/// Reads an answer that comes whole: a JSON document, or a text.
#[derive(Default)]
pub(super) struct Document(BytesMut);

impl StreamDecoder for Document {
    fn push(&mut self, bytes: &[u8], _events: &mut Vec<StreamEvent>) -> Result<(), DecodeError> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    fn finish(&mut self, events: &mut Vec<StreamEvent>) {
        // What is neither counts as cut.
        let Some(chunk) = document(&std::mem::take(&mut self.0)) else { return };
        events.push(StreamEvent::Chunk(chunk));
        events.push(StreamEvent::Done);
    }
}

/// A JSON document, or a text, as a chunk; none if it is neither.
pub(super) fn document(bytes: &[u8]) -> Option<Chunk> {
    let read = serde_json::from_slice(bytes).ok();
    let text = || std::str::from_utf8(bytes).ok().map(|text| Value::String(text.to_owned()));
    let event = read.or_else(text)?;
    Some(Chunk { choices: vec![choice(0, event, true)], ..Chunk::default() })
}

#[cfg(test)]
mod tests;
