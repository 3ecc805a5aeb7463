//! Frames of AWS's event stream: lengths, headers and a payload, with two checksums.

use aws_smithy_eventstream::frame::read_message_from;
use aws_smithy_types::event_stream::Message;
use bytes::{Buf, BufMut, Bytes, BytesMut};

/// The lengths of a frame and of its headers, and their checksum.
const PRELUDE: usize = 12;
/// A frame without headers and payload.
const SMALLEST: usize = PRELUDE + 4;
/// AWS allows 16 MiB; an event of a conversation has a few hundred bytes.
const LARGEST: usize = 16 << 20;

/// Why bytes are no frames. Nothing of their content is in it.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct FrameError(String);

/// A frame whose checksums are right.
#[derive(Debug)]
pub struct Frame {
    message: Message,
    headers: Bytes,
}

impl Frame {
    /// The text of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        let header = self.message.headers().iter().find(|header| header.name().as_str() == name)?;
        header.value().as_string().ok().map(|value| value.as_str())
    }

    /// The headers, as they came.
    pub fn headers(&self) -> &[u8] {
        &self.headers
    }

    /// What it says.
    pub fn payload(&self) -> &[u8] {
        self.message.payload()
    }
}

/// Cuts bytes into frames.
#[derive(Clone, Default)]
pub struct Frames(BytesMut);

impl Frames {
    /// More bytes came.
    pub fn push(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// Whether every frame was taken, and none has begun.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The next frame, if all of it is there. Its lengths are trusted only after their own checksum: nobody waits for what a
    /// damaged one announces.
    ///
    /// # Errors
    /// [`FrameError`]. After that nothing more can be read.
    pub fn take(&mut self) -> Result<Option<Frame>, FrameError> {
        let wrong = |words: String| Err(FrameError(words));
        let Some(mut prelude) = self.0.get(..PRELUDE) else { return Ok(None) };
        let expected = crc32fast::hash(&prelude[..8]);
        let (total, headers, checksum) =
            (prelude.get_u32() as usize, prelude.get_u32() as usize, prelude.get_u32());
        if checksum != expected {
            return wrong("a frame's lengths don't have their checksum".to_owned());
        }
        if total > LARGEST {
            return wrong(format!("a frame is larger than {LARGEST} bytes"));
        }
        if total < SMALLEST || headers > total - SMALLEST {
            return wrong("a frame's lengths contradict each other".to_owned());
        }
        if self.0.len() < total {
            return Ok(None);
        }
        let mut frame = self.0.split_to(total).freeze();
        let headers = frame.slice(PRELUDE..PRELUDE + headers);
        // Its words tell of lengths and checksums alone.
        match read_message_from(&mut frame) {
            Ok(message) => Ok(Some(Frame { message, headers })),
            Err(error) => wrong(format!("a frame is damaged: {error}")),
        }
    }
}

/// A frame with these headers, as they are written there, and this payload; none if that would be too large.
pub fn frame(headers: &[u8], payload: &[u8]) -> Option<Bytes> {
    let total = SMALLEST + headers.len() + payload.len();
    let lengths = (u32::try_from(total).ok()?, u32::try_from(headers.len()).ok()?);
    if total > LARGEST {
        return None;
    }
    let mut out = BytesMut::with_capacity(total);
    out.put_u32(lengths.0);
    out.put_u32(lengths.1);
    out.put_u32(crc32fast::hash(&out));
    out.put_slice(headers);
    out.put_slice(payload);
    out.put_u32(crc32fast::hash(&out));
    Some(out.freeze())
}

/// Headers that hold texts, as they are written in a frame; of a name or value that is too long, nothing.
pub fn headers(texts: &[(&str, &str)]) -> Bytes {
    /// The kind of a value that is a text.
    const TEXT: u8 = 7;
    let mut out = BytesMut::new();
    for (name, value) in texts {
        let (Ok(name_len), Ok(value_len)) = (u8::try_from(name.len()), u16::try_from(value.len())) else {
            continue;
        };
        out.put_u8(name_len);
        out.put_slice(name.as_bytes());
        out.put_u8(TEXT);
        out.put_u16(value_len);
        out.put_slice(value.as_bytes());
    }
    out.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_that_is_written_is_read_again_wherever_it_is_cut() {
        let head = headers(&[(":message-type", "event"), (":event-type", "metadata")]);
        let bytes = frame(&head, b"{}").unwrap();
        for cut in 0..bytes.len() {
            let mut frames = Frames::default();
            frames.push(&bytes[..cut]);
            assert!(frames.take().unwrap().is_none(), "cut at {cut}");
            frames.push(&bytes[cut..]);
            let read = frames.take().unwrap().unwrap();
            assert_eq!((read.header(":event-type"), read.payload()), (Some("metadata"), &b"{}"[..]));
            assert_eq!(read.headers(), head);
            assert!(frames.is_empty());
        }
        assert!(frame(&[], &vec![0; LARGEST]).is_none());
    }
}
