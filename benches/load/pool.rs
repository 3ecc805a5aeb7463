//! What sending a request to a provider costs: over the gateway's own pool of connections, and over the client of hyper-util that
//! it had before.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use hdrhistogram::Histogram;
use http::Request;
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use sluice::upstream::Upstream;
use tokio::runtime::Builder;

use crate::common::AnyError;

/// How requests are sent.
#[derive(Clone)]
pub(crate) enum Pool {
    /// By the gateway's pool.
    Own(Upstream),
    /// By hyper-util's client.
    Legacy(Box<Client<HttpConnector, Full<Bytes>>>),
}

impl Pool {
    pub(crate) fn own() -> Self {
        Self::Own(Upstream::new(Duration::from_secs(5)))
    }

    pub(crate) fn legacy() -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let mut builder = Client::builder(TokioExecutor::new());
        builder.pool_timer(TokioTimer::new()).pool_idle_timeout(Duration::from_secs(60));
        Self::Legacy(Box::new(builder.build(connector)))
    }

    /// Sends a request and takes its whole answer.
    async fn ask(&self, request: Request<Full<Bytes>>) -> Result<(), AnyError> {
        let status = match self {
            Self::Own(upstream) => upstream.credentials(request).await?.0,
            Self::Legacy(client) => {
                // As the other one does.
                let asking = async {
                    let response = client.request(request).await?;
                    let (head, body) = response.into_parts();
                    Limited::new(body, 64 * 1024).collect().await?;
                    Ok::<_, AnyError>(head.status)
                };
                tokio::time::timeout(Duration::from_secs(10), asking).await??
            }
        };
        if status.is_success() { Ok(()) } else { Err(format!("status {status}").into()) }
    }
}

/// Asks for a while, so many at once, and gives p50 and p99 in microseconds and the answers per second.
pub(crate) fn round(
    make: fn() -> Pool,
    address: SocketAddr,
    at_once: usize,
    (body, length): (&'static str, Duration),
) -> Result<[f64; 3], AnyError> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let (pool, end) = (make(), Instant::now() + length);
        let tasks: Vec<_> =
            (0..at_once).map(|_| tokio::spawn(ask(pool.clone(), address, body, end))).collect();
        let mut all = Histogram::<u64>::new(3)?;
        for task in tasks {
            all.add(task.await??)?;
        }
        let micros = |quantile| all.value_at_quantile(quantile) as f64 / 1000.0;
        Ok([micros(0.5), micros(0.99), all.len() as f64 / length.as_secs_f64()])
    })
}

async fn ask(
    pool: Pool,
    address: SocketAddr,
    body: &'static str,
    end: Instant,
) -> Result<Histogram<u64>, AnyError> {
    let (uri, mut times) = (format!("http://{address}/v1/chat/completions"), Histogram::new(3)?);
    while Instant::now() < end {
        let request = Request::post(uri.as_str())
            .header("content-type", "application/json")
            .header("accept", "application/json")
            .header("user-agent", "bench")
            .header("authorization", "Bearer not-a-key")
            .body(Full::new(Bytes::from_static(body.as_bytes())))?;
        let asked = Instant::now();
        pool.ask(request).await?;
        times.record(u64::try_from(asked.elapsed().as_nanos())?)?;
    }
    Ok(times)
}
