//! Frames of AWS's event stream as events, as which they are read, and back: with their own headers and fresh checksums.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::{Value, json};

use super::events::{Events, MARK};
use crate::provider_api::{DecodeError, StreamDecoder, StreamEvent};
use crate::wire::frames::{Frame, Frames, frame, headers};

/// Where a frame's headers stand in an event: as numbers, in which nobody looks for words.
const HEADERS: &str = "sluice_frame";
/// Beside them, if what is said stood in the field `bytes` of the payload, as `InvokeModelWithResponseStream` has it.
const INNER: &str = "inner";
/// What it says.
const SAID: &str = "said";

/// Takes a stream of frames apart.
#[derive(Default)]
pub(super) struct FrameEvents {
    frames: Frames,
    events: Events,
}

impl StreamDecoder for FrameEvents {
    fn push(&mut self, bytes: &[u8], events: &mut Vec<StreamEvent>) -> Result<(), DecodeError> {
        self.frames.push(bytes);
        while let Some(frame) = self.frames.take()? {
            events.push(StreamEvent::Chunk(self.events.event(event(&frame)?)));
        }
        Ok(())
    }

    fn finish(&mut self, events: &mut Vec<StreamEvent>) {
        if self.frames.is_empty() {
            events.push(StreamEvent::Done);
        }
    }
}

fn event(frame: &Frame) -> Result<Value, DecodeError> {
    let (mut said, inner) = read(frame)?;
    if let Some(piece) = said.pointer_mut("/delta/toolUse/input").filter(|piece| piece.is_string()) {
        *piece = json!({ "arguments": piece, MARK: "text" });
    }
    if let Some(said) = said.as_object_mut() {
        // Padding of random length. It says nothing.
        said.remove("p");
    }
    Ok(json!({ HEADERS: frame.headers(), INNER: inner, SAID: said }))
}

/// What a frame says, and whether that is in its field `bytes`.
fn read(frame: &Frame) -> Result<(Value, bool), DecodeError> {
    let payload = frame.payload();
    if payload.is_empty() {
        return Ok((Value::Null, false));
    }
    let unreadable = || DecodeError("a frame holds something else than JSON".to_owned());
    let said: Value = serde_json::from_slice(payload).map_err(|_| unreadable())?;
    let Some(bytes) = said.get("bytes").and_then(Value::as_str) else { return Ok((said, false)) };
    let bytes = STANDARD.decode(bytes).map_err(|_| unreadable())?;
    Ok((serde_json::from_slice(&bytes).map_err(|_| unreadable())?, true))
}

/// What an event says, which came in a frame or did not.
pub(super) fn said(event: &Value) -> &Value {
    if event.get(HEADERS).is_some() { &event[SAID] } else { event }
}

/// The frame of an event that came in one; none if it would be too large.
pub(super) fn written(event: &Value) -> Option<Bytes> {
    let byte = |byte: &Value| u8::try_from(byte.as_u64()?).ok();
    let headers: Vec<u8> = event[HEADERS].as_array()?.iter().filter_map(byte).collect();
    let said = match &event[SAID] {
        Value::Null => String::new(),
        said if event[INNER] == true => json!({ "bytes": STANDARD.encode(said.to_string()) }).to_string(),
        said => said.to_string(),
    };
    frame(&headers, said.as_bytes())
}

/// An error as the frame that ends a stream: `name` is the exception's.
pub(super) fn exception(name: &str, body: &Value) -> Bytes {
    let head =
        [(":exception-type", name), (":content-type", "application/json"), (":message-type", "exception")];
    frame(&headers(&head), body.to_string().as_bytes()).unwrap_or_default()
}

/// Reads along what goes on as it is: what each frame says.
pub(super) fn along(
    frames: &mut Frames,
    bytes: &[u8],
    mut told: impl FnMut(&Value),
) -> Result<(), DecodeError> {
    frames.push(bytes);
    while let Some(frame) = frames.take()? {
        if let Ok((said, _)) = read(&frame) {
            told(&said);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
