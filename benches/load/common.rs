//! What the load benches share: a gateway in this process, and a client that asks again as soon as it has its answer.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use sluice::config;
use sluice::gateway::{Gateway, Parts};
use sluice::mock::Mock;
use sluice_models::EmbedPool;
use tokio::net::TcpStream;

/// As in the `sluice` command.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

pub(crate) type AnyError = Box<dyn std::error::Error + Send + Sync>;

/// A gateway before this provider, with these further lines of configuration.
pub(crate) fn gateway(
    mock: &Mock,
    more: &str,
    embedder: Option<EmbedPool>,
) -> Result<Arc<Gateway>, AnyError> {
    let yaml = format!("providers: {{mock: {{kind: mock, base_url: '{}'}}}}\n{more}\n", mock.base_url());
    let config = config::parse(&yaml, "bench")?;
    let (gateway, _) = Gateway::build(&config, Parts { embedder, mock: None, serving: true }, &|_| None)?;
    Ok(Arc::new(gateway))
}

/// One connection, kept alive.
pub(crate) struct Connection(SendRequest<Full<Bytes>>);

impl Connection {
    /// Connects; must be called on a runtime, which drives the connection.
    pub(crate) async fn open(address: SocketAddr) -> Result<Self, AnyError> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(Self(sender))
    }

    /// Sends a chat request and takes its whole answer, and says how long that took.
    pub(crate) async fn ask(&mut self, body: &Bytes) -> Result<(Duration, Response<Bytes>), AnyError> {
        self.ask_with(body, &[]).await
    }

    /// [`Connection::ask`] with further headers.
    pub(crate) async fn ask_with(
        &mut self,
        body: &Bytes,
        headers: &[(&str, &str)],
    ) -> Result<(Duration, Response<Bytes>), AnyError> {
        let mut request = Request::post("/v1/chat/completions")
            .header("host", "bench")
            .header("content-type", "application/json");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body.clone()))?;
        let asked = Instant::now();
        let (head, body) = self.0.send_request(request).await?.into_parts();
        let body = body.collect().await?.to_bytes();
        let took = asked.elapsed();
        if !head.status.is_success() {
            return Err(format!("status {}", head.status).into());
        }
        self.0.ready().await?;
        Ok((took, Response::from_parts(head, body)))
    }
}

/// The middle one of these figures.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
