//! A provider that sends fixed bytes, for what the scripted one can't do: broken event streams, connections held open.

use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, watch};

/// What a stub does once its first bytes are sent.
#[derive(Clone, Copy, PartialEq)]
pub enum Then {
    /// It closes the connection.
    Close,
    /// It waits until the gateway closes the connection.
    Hold,
    /// It sends this again and again until the gateway closes the connection.
    Repeat(&'static str),
    /// It waits to be released, sends the rest and closes.
    Release(&'static str),
}

/// A provider on a free port; it lives as long as the test's runtime.
pub struct Stub {
    address: SocketAddr,
    started: watch::Receiver<usize>,
    ended: watch::Receiver<usize>,
    release: Arc<Notify>,
}

impl Stub {
    /// Starts a stub that answers every request with these bytes.
    ///
    /// # Panics
    /// If the system gives no port.
    pub async fn start(bytes: impl Into<Vec<u8>>, then: Then) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port for a provider");
        let address = listener.local_addr().expect("a bound address");
        let (begun, started) = watch::channel(0);
        let (count, ended) = watch::channel(0);
        let (bytes, release) = (bytes.into(), Arc::new(Notify::new()));
        let released = Arc::clone(&release);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (bytes, begun, count, released) =
                    (bytes.clone(), begun.clone(), count.clone(), Arc::clone(&released));
                tokio::spawn(async move {
                    drop(serve(stream, &bytes, then, &begun, &released).await);
                    count.send_modify(|count| *count += 1);
                });
            }
        });
        Self { address, started, ended, release }
    }

    /// A stub that begins an event stream with these data payloads.
    pub async fn stream(payloads: &[&str], then: Then) -> Self {
        let mut bytes =
            "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n".to_owned();
        for payload in payloads {
            bytes.push_str(&format!("data: {payload}\n\n"));
        }
        Self::start(bytes, then).await
    }

    /// Its base URL for a provider's configuration.
    pub fn base_url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// Lets a stub that waits for it send the rest.
    pub fn release(&self) {
        self.release.notify_one();
    }

    /// How many requests have come so far.
    pub fn count(&self) -> usize {
        *self.started.borrow()
    }

    /// Waits until so many requests have come.
    pub async fn started(&self, count: usize) {
        let mut started = self.started.clone();
        // Fails only when the stub is gone.
        drop(started.wait_for(|n| *n >= count).await);
    }

    /// Waits until so many connections have ended.
    pub async fn ended(&self, count: usize) {
        let mut ended = self.ended.clone();
        // Fails only when the stub is gone, and its connections with it.
        drop(ended.wait_for(|n| *n >= count).await);
    }
}

/// The base URL of a port where nobody listens.
///
/// # Panics
/// If the system gives no port.
pub fn nobody() -> String {
    let listener = StdListener::bind(("127.0.0.1", 0)).expect("a port");
    format!("http://{}/v1", listener.local_addr().expect("a bound address"))
}

async fn serve(
    mut stream: TcpStream,
    bytes: &[u8],
    then: Then,
    begun: &watch::Sender<usize>,
    released: &Notify,
) -> std::io::Result<()> {
    read_request(&mut stream).await?;
    begun.send_modify(|count| *count += 1);
    stream.write_all(bytes).await?;
    match then {
        Then::Close => {}
        Then::Hold => while stream.read(&mut [0; 1024]).await? > 0 {},
        Then::Repeat(text) => while stream.write_all(text.as_bytes()).await.is_ok() {},
        Then::Release(rest) => {
            released.notified().await;
            stream.write_all(rest.as_bytes()).await?;
        }
    }
    stream.shutdown().await
}

/// Reads one request with a length; gives it in lower case.
pub(crate) async fn read_request(stream: &mut TcpStream) -> std::io::Result<String> {
    let (mut bytes, mut part) = (Vec::new(), [0; 4096]);
    loop {
        let text = String::from_utf8_lossy(&bytes).to_ascii_lowercase();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length =
                head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
            if body.len() >= length.unwrap_or(0) {
                return Ok(text);
            }
        }
        match stream.read(&mut part).await? {
            0 => return Ok(text),
            read => bytes.extend_from_slice(&part[..read]),
        }
    }
}
