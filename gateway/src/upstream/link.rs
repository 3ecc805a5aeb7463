//! HTTP on a connection: the handshake, the task that keeps it going, and what can be told from its bytes.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::task::AtomicWaker;
use http_body_util::Full;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::dial::{Dialled, Io};
use super::meter::Open;
use super::pool::{Origin, Terms};

/// What a server may send of one answer before somebody takes it. A slow client holds up its own answer and no other: the
/// connection takes as much as all its streams together.
const STREAM_WINDOW: u32 = 128 << 10;

/// Bytes of a frame's head in HTTP/2.
const FRAME_HEAD: usize = 9;

pub(super) type Body = Full<Bytes>;

/// What is seen of a connection from outside.
#[derive(Default)]
pub(super) struct Signs {
    /// A byte came since the last request was sent.
    pub(super) heard: AtomicBool,
    /// The server's first frame, its settings, is there.
    settled: AtomicBool,
    /// It did not come in time: nothing more is read.
    given_up: AtomicBool,
    driver: AtomicWaker,
    reader: AtomicWaker,
}

impl Signs {
    /// Lets the connection's task look what became of it.
    pub(super) fn look(&self) {
        self.driver.wake();
    }

    fn give_up(&self) {
        self.given_up.store(true, Ordering::Release);
        self.reader.wake();
    }
}

/// A connection after its handshake.
pub(super) enum Fresh {
    /// HTTP/1.1: one request at a time.
    One(http1::SendRequest<Body>, Box<http1::Connection<TokioIo<Watched>, Body>>),
    /// HTTP/2: many.
    Many(http2::SendRequest<Body>, Box<http2::Connection<TokioIo<Watched>, Body, TokioExecutor>>),
}

/// Begins HTTP on a connection.
///
/// # Errors
/// What hyper says.
pub(super) async fn shake(
    dialled: Dialled,
    terms: &Terms,
    signs: &Arc<Signs>,
) -> Result<Fresh, hyper::Error> {
    let io = Watched { io: dialled.io, signs: Arc::clone(signs), first: First::default() };
    if !dialled.http2 {
        // There are none to wait for.
        signs.settled.store(true, Ordering::Release);
        let (sender, connection) = http1::Builder::new().handshake(TokioIo::new(io)).await?;
        return Ok(Fresh::One(sender, Box::new(connection)));
    }
    let streams = u32::try_from(terms.max_streams).unwrap_or(u32::MAX);
    let window = STREAM_WINDOW.saturating_mul(streams).min(i32::MAX.unsigned_abs());
    let (sender, connection) = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        // One request need not wait for the server's settings, the others are not sent before we know how many it takes.
        .initial_max_send_streams(1)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(window)
        .keep_alive_interval(terms.ping)
        .keep_alive_timeout(terms.ping)
        .handshake(TokioIo::new(io))
        .await?;
    Ok(Fresh::Many(sender, Box::new(connection)))
}

/// Keeps a connection of HTTP/1.1 going, and tells its pool when it ends.
pub(super) async fn drive_one(
    connection: Box<http1::Connection<TokioIo<Watched>, Body>>,
    origin: Weak<Origin>,
    open: Open,
) {
    if let Err(error) = connection.await {
        tracing::debug!(%error, "a connection to a provider ended early");
    }
    drop(open);
    if let Some(origin) = origin.upgrade() {
        origin.closed(None);
    }
}

/// Keeps a connection of HTTP/2 going; tells its pool how many streams the server takes, and when it ends.
pub(super) async fn drive_many(
    connection: Box<http2::Connection<TokioIo<Watched>, Body, TokioExecutor>>,
    origin: Weak<Origin>,
    signs: Arc<Signs>,
    (id, terms): (u64, Terms),
    open: Open,
) {
    let mut connection = pin!(connection);
    let mut patience = pin!(tokio::time::sleep(terms.connect));
    let mut told = None;
    let ended = poll_fn(|context| {
        signs.driver.register(context.waker());
        let ended = connection.as_mut().poll(context);
        if signs.settled.load(Ordering::Acquire) {
            let limit = connection.current_max_send_streams();
            if told != Some(limit) {
                told = Some(limit);
                origin.upgrade().inspect(|origin| origin.settled(id, limit));
            }
        } else if patience.as_mut().poll(context).is_ready() {
            // Without settings it is no HTTP/2. Who was let in before them is told.
            signs.give_up();
            return Poll::Ready(Ok(()));
        }
        ended
    });
    if let Err(error) = ended.await {
        tracing::debug!(%error, "a connection to a provider ended early");
    }
    drop(open);
    if let Some(origin) = origin.upgrade() {
        origin.closed(Some(id));
    }
}

/// Bytes that are looked at on their way.
pub(super) struct Watched {
    io: Box<dyn Io>,
    signs: Arc<Signs>,
    first: First,
}

/// How much of a server's first frame is there.
#[derive(Default)]
struct First {
    length: [u8; 3],
    seen: usize,
}

impl First {
    /// Takes the next bytes; true as soon as the frame is complete.
    fn push(&mut self, bytes: &[u8]) -> bool {
        for (place, byte) in self.length.iter_mut().skip(self.seen).zip(bytes) {
            *place = *byte;
        }
        self.seen = self.seen.saturating_add(bytes.len());
        let [a, b, c] = self.length;
        let length = u32::from_be_bytes([0, a, b, c]) as usize;
        self.seen >= FRAME_HEAD + length
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.signs.settled.load(Ordering::Relaxed) {
            self.signs.reader.register(context.waker());
            if self.signs.given_up.load(Ordering::Acquire) {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
        }
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.io).poll_read(context, buffer);
        let Some(read) = buffer.filled().get(before..).filter(|read| !read.is_empty()) else { return polled };
        self.signs.heard.store(true, Ordering::Release);
        if !self.signs.settled.load(Ordering::Relaxed) && self.first.push(read) {
            self.signs.settled.store(true, Ordering::Release);
            self.signs.driver.wake();
        }
        polled
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(context, slices)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_frame_is_complete_with_its_last_byte_however_it_is_cut() {
        let frame = [0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 100];
        for cut in 0..frame.len() {
            let (one, other) = frame.split_at(cut);
            let mut first = First::default();
            assert!(!first.push(one), "after {cut} bytes");
            assert!(first.push(other));
        }
        let mut first = First::default();
        let done: Vec<bool> = frame.iter().map(|byte| first.push(&[*byte])).collect();
        assert_eq!(done.iter().position(|done| *done), Some(frame.len() - 1));
        assert!(First::default().push(&[0, 0, 0, 4, 0, 0, 0, 0, 0]), "settings may be empty");
    }
}
