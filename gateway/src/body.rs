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
use tokio::time::{Instant, timeout_at};

use crate::error::ApiError;

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
pub async fn read(mut body: Incoming, limit: u64, within: Duration) -> Result<Bytes, ApiError> {
    let until = Instant::now() + within;
    let announced = body.size_hint().lower();
    let (mut bytes, mut seen) = (BytesMut::new(), 0_u64);
    loop {
        let frame = match timeout_at(until, body.frame()).await {
            Err(_) => return Err(ApiError::BodyUnreadable("it did not arrive in time (timeouts.client)")),
            Ok(Some(Err(_))) => {
                return Err(ApiError::BodyUnreadable("the connection ended before the body did"));
            }
            Ok(None) if seen > limit => return Err(ApiError::BodyTooLarge { limit }),
            Ok(None) => return Ok(bytes.freeze()),
            Ok(Some(Ok(frame))) => frame,
        };
        let Ok(data) = frame.into_data() else { continue };
        seen += data.len() as u64;
        if seen <= limit {
            bytes.extend_from_slice(&data);
        } else if announced.max(seen) > limit.saturating_mul(4) {
            return Err(ApiError::BodyTooLarge { limit });
        } else {
            bytes.clear();
        }
    }
}
