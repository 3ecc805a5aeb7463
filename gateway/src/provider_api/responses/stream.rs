//! Event streams of the Responses API.

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::decode::{End, Reading, head};
use super::native::Numbers;
use super::{complete, error_of};
use crate::provider_api::{DecodeError, Sent, StreamDecoder, StreamEvent, parse};
use crate::wire::anthropic::SHOWN;
use crate::wire::chat::{Choice, Chunk, Delta, NATIVE};
use crate::wire::responses::is_last;
use crate::wire::sse::SseDecoder;

/// Reads one stream.
#[cfg_attr(test, derive(Clone))]
pub(super) struct ResponsesStream {
    sent: Sent,
    sse: SseDecoder,
    data: Vec<Bytes>,
    /// Id, model and time, as every chunk repeats them.
    head: Chunk,
    begun: bool,
    reading: Reading,
    numbers: Numbers,
    done: bool,
}

impl ResponsesStream {
    pub(super) fn new(sent: Sent) -> Self {
        let (sse, data, head) = (SseDecoder::default(), Vec::new(), Chunk::default());
        let (reading, numbers) = (Reading::default(), Numbers::default());
        Self { sent, sse, data, head, begun: false, reading, numbers, done: false }
    }

    fn event(&mut self, event: Value, events: &mut Vec<StreamEvent>) -> Result<(), DecodeError> {
        let Value::Object(event) = event else { return Err(DecodeError("not an event".to_owned())) };
        let Some(kind) = event.get("type").and_then(Value::as_str).map(str::to_owned) else {
            let error = error_of(&Value::Object(event));
            events.extend(error.map(StreamEvent::Error));
            return Ok(());
        };
        match kind.as_str() {
            "error" => {
                let error = error_of(&Value::Object(event)).unwrap_or_else(|| complete(&Value::Null));
                events.push(StreamEvent::Error(error));
                Ok(())
            }
            "response.failed" => {
                let error = event.get("response").and_then(error_of);
                events.push(StreamEvent::Error(error.unwrap_or_else(|| complete(&Value::Null))));
                Ok(())
            }
            last if is_last(last) => self.end(&kind, event, events),
            _ => {
                self.step(&kind, event, events);
                Ok(())
            }
        }
    }

    /// An event on the way.
    fn step(&mut self, kind: &str, event: Map<String, Value>, events: &mut Vec<StreamEvent>) {
        let (mut delta, mut rest, mut shown) = (self.delta(), Map::new(), false);
        let place = event.get("output_index").and_then(Value::as_u64).unwrap_or(0);
        match (kind, event.get("item"), event.get("response")) {
            ("response.output_item.added", Some(item), _) => {
                // These show something soon. Thinking, or a tool of the provider, may take minutes.
                let kind = item.get("type").and_then(Value::as_str);
                shown = !matches!(kind, Some("message" | "function_call" | "custom_tool_call"));
                self.reading.added(place, item, &mut delta);
            }
            ("response.output_item.done", Some(item), _) => self.reading.done(place, item, &mut delta),
            (_, _, Some(Value::Object(response))) if self.head.id.is_empty() => self.head = head(response),
            (_, None, None) if event.contains_key("output_index") => {
                rest = self.reading.continued(kind, &event, &mut delta);
            }
            _ => {}
        }
        if self.sent.native {
            self.numbers.tell(kind, event, shown, &mut delta);
        } else if shown {
            // No other format says so, but it is at work: nobody need think that nothing comes.
            delta.rest.insert(NATIVE.to_owned(), json!({ SHOWN: true }));
        }
        if delta != Delta::default() || !rest.is_empty() {
            self.begun = true;
            let choice = Choice { index: 0, delta, rest, ..Choice::default() };
            events.push(StreamEvent::Chunk(Chunk { choices: vec![choice], ..self.head.clone() }));
        }
    }

    /// What did not come before, why it ended, then the counts.
    fn end(
        &mut self,
        kind: &str,
        event: Map<String, Value>,
        events: &mut Vec<StreamEvent>,
    ) -> Result<(), DecodeError> {
        let Some(Value::Object(response)) = event.get("response") else {
            return Err(DecodeError("an event without its response".to_owned()));
        };
        let end = End::of(response)?;
        if self.head.id.is_empty() {
            self.head = head(response);
        }
        let mut delta = self.delta();
        let rest = self.reading.output(response, &mut delta)?;
        let finish_reason = Some(end.reason.unwrap_or_else(|| self.reading.usual_end()).to_owned());
        if self.sent.native {
            self.numbers.tell(kind, event, false, &mut delta);
        }
        let choice = Choice { index: 0, delta, finish_reason, rest };
        events.push(StreamEvent::Chunk(Chunk { choices: vec![choice], ..self.head.clone() }));
        if end.usage.is_some() {
            events.push(StreamEvent::Chunk(Chunk { usage: end.usage, ..self.head.clone() }));
        }
        self.done = true;
        events.push(StreamEvent::Done);
        Ok(())
    }

    /// An addition, which says first whose it is.
    fn delta(&self) -> Delta {
        let role = (!self.begun).then(|| "assistant".to_owned());
        Delta { role, ..Delta::default() }
    }
}

impl StreamDecoder for ResponsesStream {
    fn push(&mut self, bytes: &[u8], events: &mut Vec<StreamEvent>) -> Result<(), DecodeError> {
        self.sse.push(bytes, &mut self.data).map_err(|e| DecodeError(e.to_string()))?;
        for data in std::mem::take(&mut self.data) {
            let data = data.trim_ascii();
            // Some end their streams as those of chat completions end.
            if data.is_empty() || self.done || data == b"[DONE]" {
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
