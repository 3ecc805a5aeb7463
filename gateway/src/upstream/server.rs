//! Servers for tests that do what no well-behaved one would: HTTP/2 by the frame, HTTP/1.1 by the byte.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

pub(super) const SETTINGS: u8 = 4;
pub(super) const HEADERS: u8 = 1;

/// What a server is sent: the number of the connection from 0, and on it a frame's kind and stream.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Got {
    pub(super) connection: usize,
    pub(super) kind: u8,
    pub(super) stream: u32,
}

/// What it does about that.
pub(super) type React = Arc<dyn Fn(Got) -> Vec<u8> + Send + Sync>;

/// A server, and what can be seen of it.
pub(super) struct Server {
    pub(super) address: SocketAddr,
    /// Connections so far.
    pub(super) accepted: watch::Receiver<usize>,
    /// Connections that the other end closed.
    pub(super) ended: watch::Receiver<usize>,
    /// Requests so far.
    pub(super) asked: watch::Receiver<usize>,
}

impl Server {
    /// Waits until a count is reached.
    pub(super) async fn until(count: &watch::Receiver<usize>, least: usize) {
        count.clone().wait_for(|count| *count >= least).await.unwrap();
    }
}

/// A frame.
pub(super) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// How many streams the server takes.
pub(super) fn settings(streams: u32) -> Vec<u8> {
    let mut payload = vec![0, 3];
    payload.extend(streams.to_be_bytes());
    frame(SETTINGS, 0, 0, &payload)
}

/// A whole answer: status 200 and an empty body.
pub(super) fn answer(stream: u32) -> Vec<u8> {
    // Index 8 of HPACK's static table.
    frame(HEADERS, 0x4 | 0x1, stream, &[0x88])
}

pub(super) fn reset(stream: u32, code: u32) -> Vec<u8> {
    frame(3, 0, stream, &code.to_be_bytes())
}

pub(super) fn go_away(last: u32) -> Vec<u8> {
    let mut payload = last.to_be_bytes().to_vec();
    payload.extend([0; 4]);
    frame(7, 0, 0, &payload)
}

/// A server of HTTP/2 without TLS that writes what `react` gives for each frame; for the settings of the client first.
pub(super) async fn http2(address: &str, react: React) -> Server {
    let listener = TcpListener::bind(address).await.unwrap();
    let address = listener.local_addr().unwrap();
    let (accepts, accepted) = watch::channel(0);
    let (asks, asked) = watch::channel(0);
    let (ends, ended) = watch::channel(0);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let connection = *accepts.borrow();
            let (react, asks, ends) = (Arc::clone(&react), asks.clone(), ends.clone());
            tokio::spawn(async move {
                drop(frames(stream, connection, &react, &asks).await);
                ends.send_modify(|count| *count += 1);
            });
            accepts.send_modify(|count| *count += 1);
        }
    });
    Server { address, accepted, ended, asked }
}

async fn frames(
    mut stream: TcpStream,
    connection: usize,
    react: &React,
    asks: &watch::Sender<usize>,
) -> std::io::Result<()> {
    let mut preface = [0; 24];
    stream.read_exact(&mut preface).await?;
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await?;
        let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
        stream.read_exact(&mut payload).await?;
        let number = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        let got = Got { connection, kind: head[3], stream: number };
        let acknowledges = head[4] & 1 == 1;
        if got.kind == SETTINGS && acknowledges {
            continue;
        }
        stream.write_all(&react(got)).await?;
        if got.kind == SETTINGS {
            stream.write_all(&frame(SETTINGS, 1, 0, &[])).await?;
        }
        if got.kind == HEADERS {
            asks.send_modify(|count| *count += 1);
        }
    }
}

/// A server of HTTP/1.1. For each request `react` says what is written (by the numbers of the connection and of the request on
/// it), and whether the connection is closed then.
pub(super) async fn http1(
    address: &str,
    react: impl Fn(usize, usize) -> (&'static [u8], bool) + Send + Sync + 'static,
) -> Server {
    let listener = TcpListener::bind(address).await.unwrap();
    let address = listener.local_addr().unwrap();
    let (accepts, accepted) = watch::channel(0);
    let (asks, asked) = watch::channel(0);
    let (ends, ended) = watch::channel(0);
    let react = Arc::new(react);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let connection = *accepts.borrow();
            let (react, asks, ends) = (Arc::clone(&react), asks.clone(), ends.clone());
            tokio::spawn(async move {
                for request in 0.. {
                    let mut head = Vec::new();
                    // Its body is two bytes.
                    while !head.ends_with(b"\r\n\r\n{}") {
                        match stream.read_u8().await {
                            Ok(byte) => head.push(byte),
                            Err(_) => return ends.send_modify(|count| *count += 1),
                        }
                    }
                    asks.send_modify(|count| *count += 1);
                    let (bytes, close) = react(connection, request);
                    stream.write_all(bytes).await.unwrap();
                    if close {
                        return;
                    }
                }
            });
            accepts.send_modify(|count| *count += 1);
        }
    });
    Server { address, accepted, ended, asked }
}
