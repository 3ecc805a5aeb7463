//! Server-sent events: bytes in, `data` payloads out, however the bytes were cut.
//!
//! Follows the event stream grammar of the WHATWG HTML standard, section 9.2.6: CR, LF and CRLF end a line, several
//! `data` lines of an event are joined by LF, a leading byte order mark and comment lines are skipped.

use bytes::Bytes;

/// No single event comes near this, not even one with all pictures of an answer in base64; beyond it the stream is broken or hostile.
pub const MAX_EVENT_BYTES: usize = 32 * 1024 * 1024;

/// Takes an event stream apart. `push` what arrived, take the finished events' data.
#[derive(Clone, Default)]
pub struct SseDecoder {
    line: Vec<u8>,
    data: Vec<u8>,
    has_data: bool,
    after_cr: bool,
    started: bool,
}

/// The stream sent an event larger than [`MAX_EVENT_BYTES`].
#[derive(Debug, thiserror::Error)]
#[error("an event of the stream is larger than {MAX_EVENT_BYTES} bytes")]
pub struct EventTooLarge;

impl SseDecoder {
    /// Adds bytes and appends the data of every event that is now complete to `events`.
    ///
    /// # Errors
    /// [`EventTooLarge`]; the decoder is of no further use then.
    pub fn push(&mut self, bytes: &[u8], events: &mut Vec<Bytes>) -> Result<(), EventTooLarge> {
        let mut rest = bytes;
        if self.after_cr && !rest.is_empty() {
            self.after_cr = false;
            if rest[0] == b'\n' {
                rest = &rest[1..];
            }
        }
        while let Some(at) = rest.iter().position(|b| matches!(b, b'\n' | b'\r')) {
            self.line.extend_from_slice(&rest[..at]);
            self.end_line(events);
            let cr = rest[at] == b'\r';
            rest = &rest[at + 1..];
            if cr {
                match rest.first() {
                    Some(b'\n') => rest = &rest[1..],
                    None => self.after_cr = true,
                    Some(_) => {}
                }
            }
        }
        self.line.extend_from_slice(rest);
        if self.line.len() + self.data.len() > MAX_EVENT_BYTES { Err(EventTooLarge) } else { Ok(()) }
    }

    /// True when the bytes so far end inside an event, that is when an end of file here cuts one.
    pub fn mid_event(&self) -> bool {
        self.has_data || !self.line.is_empty()
    }

    fn end_line(&mut self, events: &mut Vec<Bytes>) {
        let mut line = std::mem::take(&mut self.line);
        if !self.started {
            self.started = true;
            if line.starts_with(b"\xef\xbb\xbf") {
                line.drain(..3);
            }
        }
        if line.is_empty() {
            if self.has_data {
                events.push(Bytes::from(std::mem::take(&mut self.data)));
            }
            self.has_data = false;
        } else if let Some(value) = field(&line, b"data") {
            if self.has_data {
                self.data.push(b'\n');
            }
            self.has_data = true;
            self.data.extend_from_slice(value);
        }
        line.clear();
        self.line = line;
    }
}

/// The value of the line if it is the named field: one space after the colon belongs to the grammar.
fn field<'l>(line: &'l [u8], name: &[u8]) -> Option<&'l [u8]> {
    let rest = line.strip_prefix(name)?;
    match rest {
        [] => Some(rest),
        [b':', b' ', value @ ..] | [b':', value @ ..] => Some(value),
        _ => None,
    }
}

/// One event with this data (which holds no line break, as our JSON never does), ready to send.
pub fn event(data: &[u8]) -> Bytes {
    let mut out = Vec::with_capacity(data.len() + 8);
    out.extend_from_slice(b"data: ");
    out.extend_from_slice(data);
    out.extend_from_slice(b"\n\n");
    Bytes::from(out)
}

/// The same with a name for the event.
pub fn named_event(name: &str, data: &[u8]) -> Bytes {
    let mut out = Vec::with_capacity(name.len() + data.len() + 16);
    out.extend_from_slice(b"event: ");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\ndata: ");
    out.extend_from_slice(data);
    out.extend_from_slice(b"\n\n");
    Bytes::from(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(parts: &[&[u8]]) -> Vec<Bytes> {
        let (mut decoder, mut events) = (SseDecoder::default(), Vec::new());
        for part in parts {
            decoder.push(part, &mut events).unwrap();
        }
        events
    }

    const STREAM: &[u8] = b"\xef\xbb\xbf: keep-alive\r\ndata: {\"a\":\"\xc3\xa4\"}\r\n\r\nevent: x\ndata:one\ndata: two\n\n\rdata\r\rid: 7\n\ndata: [DONE]\n\n";

    #[test]
    fn an_event_stream_decodes_the_same_wherever_it_is_cut() {
        let whole = decode(&[STREAM]);
        assert_eq!(whole, ["{\"a\":\"ä\"}", "one\ntwo", "", "[DONE]"]);
        for cut in 0..=STREAM.len() {
            assert_eq!(decode(&[&STREAM[..cut], &STREAM[cut..]]), whole, "cut at {cut}");
        }
        let bytes: Vec<&[u8]> = STREAM.chunks(1).collect();
        assert_eq!(decode(&bytes), whole);
    }

    #[test]
    fn the_end_inside_an_event_is_noticed() {
        let mut decoder = SseDecoder::default();
        decoder.push(b"data: a\n\n", &mut Vec::new()).unwrap();
        assert!(!decoder.mid_event());
        decoder.push(b"data: b\n", &mut Vec::new()).unwrap();
        assert!(decoder.mid_event());
    }

    #[test]
    fn an_event_without_end_is_given_up() {
        let mut decoder = SseDecoder::default();
        let block = vec![b'x'; MAX_EVENT_BYTES / 2];
        assert!(decoder.push(&block, &mut Vec::new()).is_ok());
        assert!(decoder.push(&block, &mut Vec::new()).is_ok());
        assert!(decoder.push(b"x", &mut Vec::new()).is_err());
    }
}
