//! Bytes to the gateway and back, for what no HTTP client would send.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// One connection.
pub struct Raw {
    stream: TcpStream,
}

impl Raw {
    /// Connects.
    ///
    /// # Panics
    /// If nobody listens.
    pub async fn connect(address: SocketAddr) -> Self {
        Self { stream: TcpStream::connect(address).await.expect("the gateway listens") }
    }

    /// Sends bytes. The gateway may have hung up already, which is for the test to notice by what it reads.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        drop(self.stream.write_all(bytes.as_ref()).await);
    }

    /// Closes the sending side.
    pub async fn half_close(&mut self) {
        drop(self.stream.shutdown().await);
    }

    /// Reads until the gateway closes the connection.
    pub async fn read_to_end(mut self) -> String {
        let mut bytes = Vec::new();
        // A reset after the answer is an end as well.
        drop(self.stream.read_to_end(&mut bytes).await);
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Reads until the bytes hold this text.
    ///
    /// # Panics
    /// If the connection ends before.
    pub async fn read_until(&mut self, text: &str) -> String {
        let (mut bytes, mut part) = (Vec::new(), [0; 4096]);
        loop {
            let read = self.stream.read(&mut part).await.unwrap_or(0);
            let seen = String::from_utf8_lossy(&bytes).into_owned();
            assert!(read > 0, "the connection ended before '{text}': {seen}");
            bytes.extend_from_slice(&part[..read]);
            if String::from_utf8_lossy(&bytes).contains(text) {
                return String::from_utf8_lossy(&bytes).into_owned();
            }
        }
    }
}

/// A chat request as bytes, with these header lines beside length and host.
pub fn post(headers: &str, body: &str) -> String {
    format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: gateway\r\ncontent-length: {}\r\n{headers}\r\n{body}",
        body.len()
    )
}

/// Sends bytes on a connection of their own and reads until the gateway closes it.
pub async fn exchange(address: SocketAddr, bytes: impl AsRef<[u8]>) -> String {
    let mut raw = Raw::connect(address).await;
    raw.send(bytes).await;
    raw.read_to_end().await
}
