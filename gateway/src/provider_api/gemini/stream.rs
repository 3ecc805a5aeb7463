//! A stream of `streamGenerateContent?alt=sse`. Nothing says that it is over but its end, after every candidate gave a reason for its own.

use bytes::Bytes;

use super::super::{DecodeError, Sent, StreamDecoder, StreamEvent, parse};
use super::decode::Reader;
use super::error;
use crate::wire::chat::Chunk;
use crate::wire::sse::SseDecoder;

#[cfg_attr(test, derive(Clone))]
pub(super) struct GeminiStream {
    sse: SseDecoder,
    data: Vec<Bytes>,
    reader: Reader,
}

impl GeminiStream {
    pub(super) fn new(sent: Sent) -> Self {
        Self { sse: SseDecoder::default(), data: Vec::new(), reader: Reader::new(sent) }
    }

    fn event(&mut self, data: &[u8]) -> Result<Option<StreamEvent>, DecodeError> {
        let body = parse(data)?;
        if let Some(error) = error::reported(&body).or_else(|| error::refused_prompt(&body)) {
            return Ok(Some(StreamEvent::Error(error)));
        }
        let chunk = self.reader.read(&body)?;
        // One may hold nothing but counts.
        Ok((!chunk.choices.is_empty()).then_some(StreamEvent::Chunk(chunk)))
    }
}

impl StreamDecoder for GeminiStream {
    fn push(&mut self, bytes: &[u8], events: &mut Vec<StreamEvent>) -> Result<(), DecodeError> {
        self.sse.push(bytes, &mut self.data).map_err(|e| DecodeError(e.to_string()))?;
        for data in std::mem::take(&mut self.data) {
            match data.trim_ascii() {
                b"" => {}
                data => events.extend(self.event(data)?),
            }
        }
        Ok(())
    }

    fn finish(&mut self, events: &mut Vec<StreamEvent>) {
        if self.sse.mid_event() || !self.reader.is_complete() {
            return;
        }
        if let Some(usage) = self.reader.usage.take() {
            events.push(StreamEvent::Chunk(Chunk { usage: Some(usage), ..self.reader.bare() }));
        }
        events.push(StreamEvent::Done);
    }

    #[cfg(test)]
    fn fork(&self) -> Option<Box<dyn StreamDecoder>> {
        Some(Box::new(self.clone()))
    }
}
