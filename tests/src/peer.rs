//! A provider that speaks HTTP/2, also over TLS, and a proxy.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, Version, header};
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

const FIRST: &str = "data: {\"id\":\"s\",\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"Once upon\"}}]}\n\n";
const REST: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\" a time\"},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";
const WHOLE: &str = r#"{"id":"x","model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"All done"},"finish_reason":"stop"}]}"#;

/// A certificate authority that nobody knows, and a server whom it vouches for.
pub struct Authority {
    folder: TempDir,
    certificate: rustls::pki_types::CertificateDer<'static>,
    key: Vec<u8>,
}

impl Authority {
    /// One for servers of these names and addresses.
    ///
    /// # Panics
    /// If there is no room for its file.
    pub fn of(names: &[&str]) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let own = params.self_signed(&key).expect("a certificate");
        let issuer = Issuer::new(params, key);
        let key = KeyPair::generate().expect("a key");
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let params = CertificateParams::new(names).expect("names");
        let certificate = params.signed_by(&key, &issuer).expect("a certificate").der().clone();
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("ca.pem"), own.pem()).expect("room for a file");
        Self { folder, certificate, key: key.serialize_der() }
    }

    /// Where its certificate is.
    pub fn file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// A server of whom it vouches, which prefers these protocols.
    fn server(&self, alpn: &[&[u8]]) -> Arc<ServerConfig> {
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.key.clone()));
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions of TLS")
            .with_no_client_auth()
            .with_single_cert(vec![self.certificate.clone()], key)
            .expect("a certificate and its key");
        config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        Arc::new(config)
    }
}

struct State {
    streams: u32,
    connections: watch::Sender<usize>,
    asked: watch::Sender<usize>,
    released: watch::Sender<bool>,
    versions: Mutex<Vec<Version>>,
}

/// A provider whose streams stop after their first words until it is told to go on. It lives as long as the test's runtime.
pub struct Peer {
    /// Where it is.
    pub address: SocketAddr,
    state: Arc<State>,
}

impl Peer {
    /// One that speaks HTTP/2 without TLS, and takes so many streams on a connection.
    pub async fn plain(streams: u32) -> Self {
        Self::start(streams, None).await
    }

    /// One that speaks HTTP/2 and HTTP/1.1 over TLS, whichever the client knows.
    pub async fn secure(authority: &Authority) -> Self {
        Self::start(100, Some(authority.server(&[b"h2", b"http/1.1"]))).await
    }

    async fn start(streams: u32, tls: Option<Arc<ServerConfig>>) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port for a provider");
        let address = listener.local_addr().expect("a bound address");
        let state = Arc::new(State {
            streams,
            connections: watch::Sender::new(0),
            asked: watch::Sender::new(0),
            released: watch::Sender::new(false),
            versions: Mutex::default(),
        });
        let shared = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (state, tls) = (Arc::clone(&shared), tls.clone());
                tokio::spawn(async move {
                    let Some(tls) = tls else { return serve(stream, true, state).await };
                    // Whoever does not trust us leaves here.
                    let Ok(stream) = TlsAcceptor::from(tls).accept(stream).await else { return };
                    let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                    serve(stream, http2, state).await;
                });
            }
        });
        Self { address, state }
    }

    /// A base URL with this host and its port.
    pub fn url(&self, scheme: &str, host: &str) -> String {
        format!("{scheme}://{host}:{}/v1", self.address.port())
    }

    /// Connections so far, those left out that ended before HTTP began.
    pub fn connections(&self) -> usize {
        *self.state.connections.borrow()
    }

    /// Waits until it has been asked so often.
    pub async fn asked(&self, count: usize) {
        drop(self.state.asked.subscribe().wait_for(|asked| *asked >= count).await);
    }

    /// Lets every stream go on to its end.
    pub fn release(&self) {
        self.state.released.send_replace(true);
    }

    /// By which version each request came.
    pub fn versions(&self) -> Vec<Version> {
        self.state.versions.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn serve<T: AsyncRead + AsyncWrite + Unpin + Send + 'static>(io: T, http2: bool, state: Arc<State>) {
    state.connections.send_modify(|count| *count += 1);
    let streams = state.streams;
    let service = service_fn(move |request| answer(Arc::clone(&state), request));
    // Who asks may leave at any time.
    if http2 {
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder.max_concurrent_streams(streams);
        drop(builder.serve_connection(TokioIo::new(io), service).await);
    } else {
        drop(http1::Builder::new().serve_connection(TokioIo::new(io), service).await);
    }
}

async fn answer(state: Arc<State>, request: Request<Incoming>) -> Result<Response<Held>, Infallible> {
    state.versions.lock().unwrap_or_else(PoisonError::into_inner).push(request.version());
    let body = request.into_body().collect().await.map(http_body_util::Collected::to_bytes);
    let asked: Value = serde_json::from_slice(&body.unwrap_or_default()).unwrap_or_default();
    state.asked.send_modify(|count| *count += 1);
    if asked["stream"] != true {
        let mut response =
            Response::new(Held { parts: vec![Bytes::from_static(WHOLE.as_bytes())], wait: None });
        response
            .headers_mut()
            .insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
        return Ok(response);
    }
    let mut released = state.released.subscribe();
    let wait = async move { drop(released.wait_for(|released| *released).await) };
    let parts = [REST, FIRST].map(|part| Bytes::from_static(part.as_bytes())).to_vec();
    let mut response = Response::new(Held { parts, wait: Some(Box::pin(wait)) });
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, header::HeaderValue::from_static("text/event-stream"));
    Ok(response)
}

/// Parts, the last one first; before the last one that is sent it waits.
struct Held {
    parts: Vec<Bytes>,
    wait: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl Body for Held {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.parts.len() == 1
            && let Some(wait) = &mut self.wait
        {
            std::task::ready!(wait.as_mut().poll(context));
            self.wait = None;
        }
        Poll::Ready(self.parts.pop().map(|part| Ok(Frame::data(part))))
    }
}

/// A proxy that records what it is asked, and takes everybody to the same server. It lives as long as the test's runtime.
pub struct Proxy {
    /// Where it is.
    pub address: SocketAddr,
    heads: Arc<Mutex<Vec<(String, HeaderMap)>>>,
}

impl Proxy {
    /// One before this server; `open`: it lets everybody through.
    ///
    /// # Panics
    /// If the system gives no port.
    pub async fn before(server: SocketAddr, open: bool) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port for a proxy");
        let address = listener.local_addr().expect("a bound address");
        let heads = Arc::new(Mutex::new(Vec::new()));
        let shared = Arc::clone(&heads);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(pass_on(stream, server, open, Arc::clone(&shared)));
            }
        });
        Self { address, heads }
    }

    /// The first line and the headers of what it was asked, one for each connection.
    pub fn heads(&self) -> Vec<(String, HeaderMap)> {
        self.heads.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn pass_on(
    mut stream: TcpStream,
    server: SocketAddr,
    open: bool,
    heads: Arc<Mutex<Vec<(String, HeaderMap)>>>,
) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let Ok(byte) = stream.read_u8().await else { return };
        head.push(byte);
    }
    let text = String::from_utf8_lossy(&head).into_owned();
    let mut lines = text.lines();
    let first = lines.next().unwrap_or_default().to_owned();
    let headers = lines.filter_map(|line| line.split_once(": ")).filter_map(|(name, value)| {
        Some((header::HeaderName::try_from(name).ok()?, header::HeaderValue::try_from(value).ok()?))
    });
    let tunnel = first.starts_with("CONNECT ");
    heads.lock().unwrap_or_else(PoisonError::into_inner).push((first, headers.collect()));
    if !open {
        let refusal =
            b"HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
        return drop(stream.write_all(refusal).await);
    }
    let Ok(mut onward) = TcpStream::connect(server).await else { return };
    let begun = if tunnel {
        stream.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await
    } else {
        onward.write_all(&head).await
    };
    if begun.is_ok() {
        drop(copy_bidirectional(&mut stream, &mut onward).await);
    }
}
