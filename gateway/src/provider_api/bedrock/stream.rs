//! A streamed answer: frames of AWS's event stream, each with two checksums, and what the events in them say.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::super::{DecodeError, Sent, StreamDecoder, StreamEvent, parse};
use super::{decode, errors};
use crate::wire::chat::{Choice, Chunk, Delta, Function, ToolCall};
use crate::wire::frames::{Frame, FrameError, Frames};

/// A call that is being written.
#[cfg_attr(test, derive(Clone))]
struct Call {
    /// Which of the client's calls; none for the answer that comes as one.
    index: Option<u32>,
    /// Whether any of its arguments came.
    begun: bool,
}

/// Reads one stream.
#[cfg_attr(test, derive(Clone))]
pub(super) struct ConverseStream {
    sent: Sent,
    frames: Frames,
    /// By the number of their block.
    calls: BTreeMap<u64, Call>,
    /// How many calls of the client's tools there are.
    count: u32,
    answered: bool,
    stopped: bool,
    counted: bool,
}

impl ConverseStream {
    pub(super) fn new(sent: Sent) -> Self {
        Self {
            sent,
            frames: Frames::default(),
            calls: BTreeMap::new(),
            count: 0,
            answered: false,
            stopped: false,
            counted: false,
        }
    }

    fn frame(&mut self, frame: &Frame, events: &mut Vec<StreamEvent>) -> Result<(), DecodeError> {
        let header = |name: &str| frame.header(name);
        let payload = frame.payload();
        match header(":message-type").unwrap_or_default() {
            "event" => self.event(header(":event-type").unwrap_or_default(), payload, events),
            "exception" => {
                let name = header(":exception-type").unwrap_or_default();
                events.push(StreamEvent::Error(errors::of_exception(name, payload)));
                Ok(())
            }
            "error" => {
                let name = header(":error-code").unwrap_or_default();
                events.push(StreamEvent::Error(errors::of_stream(name, header(":error-message"))));
                Ok(())
            }
            _ => Err(DecodeError("a frame is neither event nor error".to_owned())),
        }
    }

    fn event(
        &mut self,
        kind: &str,
        payload: &[u8],
        events: &mut Vec<StreamEvent>,
    ) -> Result<(), DecodeError> {
        let mut push = |delta: Delta| events.push(StreamEvent::Chunk(of_delta(delta)));
        match kind {
            "messageStart" => push(Delta { role: Some("assistant".to_owned()), ..Delta::default() }),
            "contentBlockStart" => {
                let said = parse(payload)?;
                self.start(&said).into_iter().for_each(push);
            }
            "contentBlockDelta" => {
                let said = parse(payload)?;
                self.delta(&said)?.into_iter().for_each(push);
            }
            "contentBlockStop" => {
                let said = parse(payload)?;
                self.stop_block(&said).into_iter().for_each(push);
            }
            "messageStop" => {
                let event = self.stop(&parse(payload)?)?;
                events.push(event);
            }
            "metadata" => {
                let said = parse(payload)?;
                let (usage, rest) = (said.get("usage").and_then(decode::usage), decode::native(&said));
                self.counted = true;
                events.push(StreamEvent::Chunk(Chunk { usage, rest, ..Chunk::default() }));
            }
            // A later version's.
            _ => {}
        }
        Ok(())
    }

    fn start(&mut self, said: &Value) -> Option<Delta> {
        let call = said.pointer("/start/toolUse")?;
        let text = |field: &str| call.get(field).and_then(Value::as_str).unwrap_or_default();
        let name = text("name");
        if self.sent.answer_tool.as_deref() == Some(name) {
            self.answered = true;
            self.calls.insert(place(said), Call { index: None, begun: false });
            return None;
        }
        let index = Some(self.count);
        self.count += 1;
        self.calls.insert(place(said), Call { index, begun: false });
        let call = decode::tool_call(index, text("toolUseId").to_owned(), name, String::new(), &self.sent);
        Some(Delta { tool_calls: vec![call], ..Delta::default() })
    }

    fn delta(&mut self, said: &Value) -> Result<Option<Delta>, DecodeError> {
        let at = place(said);
        let more = &said["delta"];
        if let Some(text) = more.get("text").and_then(Value::as_str) {
            return Ok(Some(Delta { content: Some(text.to_owned()), ..Delta::default() }));
        }
        if let Some(input) = more.pointer("/toolUse/input").and_then(Value::as_str) {
            let call = self.calls.get_mut(&at);
            let call = call.ok_or_else(|| DecodeError("a call goes on that never began".to_owned()))?;
            call.begun |= !input.is_empty();
            return Ok((!input.is_empty()).then(|| arguments(call.index, input)));
        }
        Ok(more
            .get("reasoningContent")
            .map(|thought| thinking(usize::try_from(at).unwrap_or(usize::MAX), thought)))
    }

    /// A call without any arguments has none, and that has to be said as well.
    fn stop_block(&mut self, said: &Value) -> Option<Delta> {
        let call = self.calls.get(&place(said)).filter(|call| !call.begun)?;
        Some(arguments(call.index, "{}"))
    }

    fn stop(&mut self, said: &Value) -> Result<StreamEvent, DecodeError> {
        let reason = said.get("stopReason").and_then(Value::as_str);
        let reason = reason.ok_or_else(|| DecodeError("the end has no stopReason".to_owned()))?;
        if let Some(spoilt) = errors::of_stop_reason(reason) {
            let error = json!({ "message": spoilt, "type": "server_error", "param": null, "code": reason });
            return Ok(StreamEvent::Error(error));
        }
        self.stopped = true;
        let finish_reason = decode::finish_reason(reason, self.count > 0, self.answered);
        let choice = Choice { finish_reason: Some(finish_reason.to_owned()), ..Choice::default() };
        Ok(StreamEvent::Chunk(Chunk {
            choices: vec![choice],
            rest: decode::native(said),
            ..Chunk::default()
        }))
    }
}

impl From<FrameError> for DecodeError {
    fn from(error: FrameError) -> Self {
        Self(error.to_string())
    }
}

impl StreamDecoder for ConverseStream {
    fn push(&mut self, bytes: &[u8], events: &mut Vec<StreamEvent>) -> Result<(), DecodeError> {
        self.frames.push(bytes);
        while let Some(frame) = self.frames.take()? {
            let before = events.len();
            let read = self.frame(&frame, events);
            for event in &mut events[before..] {
                if let (StreamEvent::Chunk(chunk), Some(named)) = (event, &self.sent.named) {
                    named.name(chunk);
                }
            }
            read?;
        }
        Ok(())
    }

    /// The end of the message is told before the token counts, and the end of the stream by the end of the body alone.
    fn finish(&mut self, events: &mut Vec<StreamEvent>) {
        if self.stopped && self.counted && self.frames.is_empty() {
            events.push(StreamEvent::Done);
        }
    }

    #[cfg(test)]
    fn fork(&self) -> Option<Box<dyn StreamDecoder>> {
        Some(Box::new(self.clone()))
    }
}

/// The number of the block that an event is about.
fn place(said: &Value) -> u64 {
    said.get("contentBlockIndex").and_then(Value::as_u64).unwrap_or(0)
}

fn of_delta(delta: Delta) -> Chunk {
    Chunk { choices: vec![Choice { delta, ..Choice::default() }], ..Chunk::default() }
}

/// More of a call's arguments, or of the answer that comes as one.
fn arguments(index: Option<u32>, more: &str) -> Delta {
    let Some(index) = index else {
        return Delta { content: Some(more.to_owned()), ..Delta::default() };
    };
    let function = Function { arguments: Some(more.to_owned()), ..Function::default() };
    let call = ToolCall { index: Some(index), function: Some(function), ..ToolCall::default() };
    Delta { tool_calls: vec![call], ..Delta::default() }
}

/// More of a block of thinking.
fn thinking(at: usize, thought: &Value) -> Delta {
    let mut delta = Delta::default();
    let text = |field: &str| thought.get(field).and_then(Value::as_str);
    if let Some(words) = text("text") {
        decode::add_thought(&mut delta, words);
        decode::think(&mut delta, at, &[("type", "thinking"), ("thinking", words)]);
    }
    if let Some(signature) = text("signature") {
        decode::think(&mut delta, at, &[("type", "thinking"), ("signature", signature)]);
    }
    if let Some(data) = text("redactedContent") {
        decode::think(&mut delta, at, &[("type", "redacted_thinking"), ("data", data)]);
    }
    delta
}
