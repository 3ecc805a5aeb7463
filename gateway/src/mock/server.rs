//! The mock's sockets: a thread of its own, and a record of every byte it was sent.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};

use super::Script;
use super::reply::{MockBody, json_body, respond};

/// A mock may run for long behind a gateway that has no other provider.
const MAX_RECORD_BYTES: usize = 64 << 20;
/// About what a request with the usual headers takes beside its body.
const HEAD_BYTES: usize = 4096;

/// A request as the mock got it.
#[derive(Clone)]
pub struct Seen {
    /// Method and path.
    pub line: String,
    /// The headers.
    pub headers: HeaderMap,
    /// The body's bytes.
    pub body: Bytes,
}

impl Seen {
    /// Memory that it takes, about.
    fn size(&self) -> usize {
        HEAD_BYTES + self.body.len()
    }

    /// All of it as bytes: request line, headers, a blank line, the body.
    pub fn bytes(&self) -> Vec<u8> {
        let mut out = format!("{} HTTP/1.1\r\n", self.line).into_bytes();
        for (name, value) in &self.headers {
            out.extend_from_slice(name.as_str().as_bytes());
            out.extend_from_slice(b": ");
            out.extend_from_slice(value.as_bytes());
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(&self.body);
        out
    }
}

/// The latest requests, bounded by the size of their bodies.
#[derive(Default)]
struct Record {
    requests: VecDeque<Seen>,
    bytes: usize,
}

impl Record {
    fn push(&mut self, seen: Seen) {
        self.bytes += seen.size();
        self.requests.push_back(seen);
        while self.bytes > MAX_RECORD_BYTES {
            let Some(oldest) = self.requests.pop_front() else { return };
            self.bytes -= oldest.size();
        }
    }
}

struct State {
    script: Mutex<Script>,
    seen: Mutex<Record>,
    count: watch::Sender<usize>,
}

/// A running mock; dropped, it stops.
pub struct Mock {
    /// Where it listens.
    pub address: SocketAddr,
    state: Arc<State>,
    _stop: oneshot::Sender<()>,
}

impl Mock {
    /// Starts a mock (port 0 takes a free one).
    ///
    /// # Errors
    /// What the system says about the address or the thread.
    pub fn start(address: SocketAddr, script: Script) -> io::Result<Self> {
        let listener = StdListener::bind(address)
            .map_err(|e| io::Error::new(e.kind(), format!("can't listen on {address}: {e}")))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let count = watch::Sender::new(0);
        let state = Arc::new(State { script: Mutex::new(script), seen: Mutex::default(), count });
        let (stop, stopped) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let serving = serve(listener, Arc::clone(&state));
        thread::Builder::new().name("sluice-mock".to_owned()).spawn(move || {
            runtime.block_on(async {
                tokio::select! { () = serving => {}, _ = stopped => {} }
            });
            runtime.shutdown_background();
        })?;
        Ok(Self { address, state, _stop: stop })
    }

    /// The base URL for a provider configuration.
    pub fn base_url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// Replaces the script.
    pub fn script(&self, script: Script) {
        *lock(&self.state.script) = script;
    }

    /// The latest chat requests, as many as fit into 64 MiB.
    pub fn seen(&self) -> Vec<Seen> {
        lock(&self.state.seen).requests.iter().cloned().collect()
    }

    /// How many chat requests there were so far.
    pub fn count(&self) -> usize {
        *self.state.count.borrow()
    }

    /// Waits until there were so many chat requests.
    pub async fn wait_for(&self, count: usize) {
        let mut seen = self.state.count.subscribe();
        // The sender lives as long as `self`.
        drop(seen.wait_for(|n| *n >= count).await);
    }
}

/// A panic while the lock was held leaves plain data behind.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn serve(listener: StdListener, state: Arc<State>) {
    let Ok(listener) = TcpListener::from_std(listener) else { return };
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        drop(stream.set_nodelay(true));
        let state = Arc::clone(&state);
        tokio::spawn(async move {
            let service = service_fn(|request| handle(Arc::clone(&state), request));
            // A cut connection is what some scripts ask for.
            drop(http1::Builder::new().serve_connection(TokioIo::new(stream), service).await);
        });
    }
}

async fn handle(state: Arc<State>, request: Request<Incoming>) -> Result<Response<MockBody>, Infallible> {
    let (head, body) = request.into_parts();
    let path = head.uri.path().to_owned();
    let Ok(body) = body.collect().await.map(http_body_util::Collected::to_bytes) else {
        return Ok(json_body(400, Bytes::new()));
    };
    Ok(match (head.method.clone(), path.as_str()) {
        (Method::POST, path) if path.ends_with("/chat/completions") => {
            let line = format!("{} {}", head.method, head.uri);
            lock(&state.seen).push(Seen { line, headers: head.headers, body: body.clone() });
            state.count.send_modify(|count| *count += 1);
            let Ok(parsed) = serde_json::from_slice::<Value>(&body) else {
                return Ok(json_body(
                    400,
                    Bytes::from_static(b"{\"error\":{\"message\":\"the body is no JSON\"}}"),
                ));
            };
            let reply = lock(&state.script).choose(&parsed, &String::from_utf8_lossy(&body));
            respond(reply, &parsed).await
        }
        (Method::GET, path) if path.ends_with("/models") => {
            let model = json!({ "id": "mock", "object": "model", "created": 0, "owned_by": "sluice" });
            json_body(200, Bytes::from(json!({ "object": "list", "data": [model] }).to_string()))
        }
        (Method::GET, "/requests") => raw_requests(&state),
        (Method::DELETE, "/requests") => {
            *lock(&state.seen) = Record::default();
            json_body(200, Bytes::from_static(b"{}"))
        }
        (Method::PUT, "/script") => match Script::parse(&String::from_utf8_lossy(&body)) {
            Ok(script) => {
                *lock(&state.script) = script;
                json_body(200, Bytes::from_static(b"{}"))
            }
            Err(problem) => {
                json_body(400, Bytes::from(json!({ "error": { "message": problem } }).to_string()))
            }
        },
        _ => json_body(404, Bytes::from_static(b"{\"error\":{\"message\":\"no such endpoint\"}}")),
    })
}

/// Everything that was received, byte for byte, one request after the other.
fn raw_requests(state: &State) -> Response<MockBody> {
    let mut out = Vec::new();
    for seen in &lock(&state.seen).requests {
        out.extend(seen.bytes());
        out.extend_from_slice(b"\r\n\r\n");
    }
    let mut response = json_body(200, Bytes::from(out));
    let kind = http::HeaderValue::from_static("application/octet-stream");
    response.headers_mut().insert(http::header::CONTENT_TYPE, kind);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_record_keeps_the_latest_requests_within_its_memory() {
        let mut record = Record::default();
        for number in 0..100 {
            let body = Bytes::from(vec![number; 1 << 20]);
            record.push(Seen { line: String::new(), headers: HeaderMap::new(), body });
        }
        assert!(record.bytes <= MAX_RECORD_BYTES && record.requests.len() > 50);
        assert_eq!(record.requests.back().map(|seen| seen.body[0]), Some(99));
    }
}
