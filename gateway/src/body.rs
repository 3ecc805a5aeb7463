//! Bodies: reading a client's within limits, and writing ours whole or as it comes.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::error::ApiError;
use crate::raw::Raw;

/// The body of a response.
pub enum Body {
    /// All of it.
    Full(Bytes),
    /// Parts as they come. A channel that closes without [`Part::End`] cuts the connection, so that nobody takes what
    /// came for all of it.
    Stream(mpsc::Receiver<Part>),
}

/// A part of a streamed body.
pub enum Part {
    /// Bytes to send.
    Bytes(Bytes),
    /// The body is complete.
    End,
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match &mut *self {
            Self::Full(bytes) if bytes.is_empty() => Poll::Ready(None),
            Self::Full(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Self::Stream(parts) => parts.poll_recv(context).map(|part| match part {
                Some(Part::Bytes(bytes)) => Some(Ok(Frame::data(bytes))),
                Some(Part::End) => None,
                None => Some(Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the answer broke off"))),
            }),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Full(bytes) if bytes.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Stream(_) => SizeHint::default(),
        }
    }
}

/// Reads a request's body.
///
/// What is too large is read on for a while and thrown away, since a client that is still sending would never see why
/// it was refused.
///
/// # Errors
/// [`ApiError::BodyTooLarge`] and [`ApiError::BodyUnreadable`].
pub async fn read(body: Incoming, limit: u64, within: Duration) -> Result<Raw<Bytes>, ApiError> {
    let late = |_| ApiError::BodyUnreadable("it did not arrive in time (timeouts.client)");
    timeout(within, read_all(body, limit)).await.map_err(late)?.map(Raw::new)
}

async fn read_all(mut body: Incoming, limit: u64) -> Result<Bytes, ApiError> {
    let announced = body.size_hint().lower();
    // Most bodies come in one piece, which need not be copied.
    let (mut first, mut bytes, mut seen) = (Bytes::new(), BytesMut::new(), 0_u64);
    while !body.is_end_stream() {
        let frame = match body.frame().await {
            Some(Err(_)) => return Err(ApiError::BodyUnreadable("the connection ended before the body did")),
            None => break,
            Some(Ok(frame)) => frame,
        };
        let Ok(data) = frame.into_data() else { continue };
        let is_first = seen == 0;
        seen += data.len() as u64;
        if seen > limit {
            if announced.max(seen) > limit.saturating_mul(4) {
                return Err(ApiError::BodyTooLarge { limit });
            }
            (first, bytes) = (Bytes::new(), BytesMut::new());
        } else if is_first {
            first = data;
        } else {
            bytes.extend_from_slice(&std::mem::take(&mut first));
            bytes.extend_from_slice(&data);
        }
    }
    match seen {
        _ if seen > limit => Err(ApiError::BodyTooLarge { limit }),
        _ if bytes.is_empty() => Ok(first),
        _ => Ok(bytes.freeze()),
    }
}
