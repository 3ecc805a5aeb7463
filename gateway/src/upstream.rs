//! The only outbound sockets: requests to providers.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, Uri, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tower_service::Service;

/// A pool of connections to providers. Each I/O thread has its own: a connection's tasks live where it was opened.
#[derive(Clone)]
pub struct Upstream {
    client: Client<Connector, Full<Bytes>>,
}

/// Name, TCP and TLS within one time.
#[derive(Clone)]
struct Connector {
    https: HttpsConnector<HttpConnector>,
    limit: Duration,
}

impl Service<Uri> for Connector {
    type Response = <HttpsConnector<HttpConnector> as Service<Uri>>::Response;
    type Error = Box<dyn std::error::Error + Send + Sync>;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.https.poll_ready(context)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connecting = tokio::time::timeout(self.limit, self.https.call(uri));
        Box::pin(async move { connecting.await.map_err(|_| "timed out (timeouts.connect)")? })
    }
}

/// Why a request could not be sent. The chain of causes in words, without the address's query or any content.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamError {
    /// No connection: refused, unreachable, unknown name, TLS.
    #[error("no connection: {0}")]
    Connect(String),
    /// The connection broke before an answer came.
    #[error("the connection broke: {0}")]
    Broken(String),
}

impl Upstream {
    /// A pool without connections yet. Needs the process's TLS provider to be installed.
    pub fn new(connect_timeout: Duration) -> Self {
        let mut connector = HttpConnector::new();
        connector.enforce_http(false);
        connector.set_nodelay(true);
        let https = HttpsConnectorBuilder::new()
            .with_webpki_roots()
            .https_or_http()
            .enable_http1()
            .wrap_connector(connector);
        let connector = Connector { https, limit: connect_timeout };
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(Duration::from_secs(60))
            .build(connector);
        Self { client }
    }

    /// Posts JSON and gives the answer's head.
    ///
    /// # Errors
    /// [`UpstreamError`].
    pub async fn post(
        &self,
        uri: Uri,
        authorization: Option<&HeaderValue>,
        stream: bool,
        body: Bytes,
    ) -> Result<Response<Incoming>, UpstreamError> {
        let accept = if stream { "text/event-stream" } else { "application/json" };
        let mut request = Request::post(uri)
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::ACCEPT, accept)
            .header(header::USER_AGENT, concat!("sluice/", env!("CARGO_PKG_VERSION")))
            .body(Full::new(body))
            .map_err(|e| UpstreamError::Connect(e.to_string()))?;
        if let Some(authorization) = authorization {
            request.headers_mut().insert(header::AUTHORIZATION, authorization.clone());
        }
        self.client.request(request).await.map_err(|error| {
            let words = chain(&error);
            if error.is_connect() { UpstreamError::Connect(words) } else { UpstreamError::Broken(words) }
        })
    }
}

/// An error and its causes, innermost last.
fn chain(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        words.push_str(": ");
        words.push_str(&error.to_string());
        cause = error.source();
    }
    words
}
