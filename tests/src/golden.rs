//! The golden conversations of `fixtures/chats`, and a provider of any format that answers with them.

pub mod broken;
pub mod cases;
pub mod meaning;
pub mod replay;
pub mod stream;

use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::client::legacy::Client as Http;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::Value;
use tokio::net::TcpListener;

use cases::{Case, Refusal};

/// How long the pieces are in which a stream comes, again and again: within characters, lines, lengths and checksums.
const PIECES: [usize; 5] = [1, 7, 61, 3, 250];

/// A request as the provider got it.
pub struct Got {
    /// The path, with the query.
    pub path: String,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Value,
}

/// What a provider answers with.
#[derive(Clone, Default)]
struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    pieces: VecDeque<Bytes>,
}

impl Answer {
    fn of_case(format: &str, case: &Case, stream: bool) -> Self {
        let (kind, bytes) = match (stream, format) {
            (false, _) => ("application/json", case.answer(format).to_string().into_bytes()),
            (true, "bedrock") => ("application/vnd.amazon.eventstream", case.stream(format)),
            (true, _) => ("text/event-stream; charset=utf-8", case.stream(format)),
        };
        Self { status: 200, headers: Vec::new(), pieces: pieces(&bytes) }.typed(kind)
    }

    fn of_refusal(refusal: &Refusal) -> Self {
        let pieces = pieces(refusal.body.to_string().as_bytes());
        Self { status: refusal.status, headers: refusal.headers.clone(), pieces }.typed("application/json")
    }

    fn typed(mut self, kind: &str) -> Self {
        self.headers.push(("content-type".to_owned(), kind.to_owned()));
        self
    }
}

#[derive(Default)]
struct State {
    answer: Answer,
    /// The format, if it answers by the path.
    replays: Option<&'static str>,
    got: Vec<Got>,
}

/// A provider on a free port; it lives as long as the test's runtime.
pub struct Provider {
    /// Its format, as in the names of the files.
    pub format: &'static str,
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

impl Provider {
    /// Starts a provider of this format.
    ///
    /// # Panics
    /// If the system gives no port.
    pub async fn start(format: &'static str) -> Self {
        Self::start_with(format, State::default()).await
    }

    /// Starts one that answers by the path, as [`replay`] says.
    pub async fn replaying(format: &'static str) -> Self {
        Self::start_with(format, State { replays: Some(format), ..State::default() }).await
    }

    async fn start_with(format: &'static str, state: State) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port for a provider");
        let address = listener.local_addr().expect("a bound address");
        let state = Arc::new(Mutex::new(state));
        let shared = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let state = Arc::clone(&shared);
                let service = service_fn(move |request| serve(request, Arc::clone(&state)));
                // A connection that ends is no matter: the test notices by what it gets.
                tokio::spawn(async move {
                    drop(http1::Builder::new().serve_connection(TokioIo::new(stream), service).await);
                });
            }
        });
        Self { format, address, state }
    }

    /// Its base URL for a provider's configuration.
    pub fn base_url(&self) -> String {
        self.url("/v1")
    }

    /// This path on it.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// From now on it answers with this conversation's answer.
    pub fn answers(&self, case: &Case, stream: bool) {
        self.script(Answer::of_case(self.format, case, stream));
    }

    /// From now on it refuses in these words.
    pub fn refuses(&self, refusal: &Refusal) {
        self.script(Answer::of_refusal(refusal));
    }

    /// The only request since the last call.
    ///
    /// # Panics
    /// If there was none, or several.
    pub fn got(&self) -> Got {
        let mut got = self.all();
        assert_eq!(got.len(), 1, "requests that the provider of {} got", self.format);
        got.remove(0)
    }

    /// All requests since the last call.
    pub fn all(&self) -> Vec<Got> {
        std::mem::take(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner).got)
    }

    /// Forgets what it got.
    pub fn forget(&self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).got.clear();
    }

    fn script(&self, answer: Answer) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).answer = answer;
    }
}

fn pieces(mut bytes: &[u8]) -> VecDeque<Bytes> {
    let mut lengths = PIECES.iter().cycle();
    let mut pieces = VecDeque::new();
    while !bytes.is_empty() {
        let length = lengths.next().map_or(1, |length| *length).min(bytes.len());
        pieces.push_back(Bytes::copy_from_slice(&bytes[..length]));
        bytes = &bytes[length..];
    }
    pieces
}

async fn serve(request: Request<Incoming>, state: Arc<Mutex<State>>) -> Result<Response<Pieces>, Infallible> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let path = head.uri.path_and_query().map_or_else(String::new, ToString::to_string);
    let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
    let replayed = state.replays.map(|format| replay::answer(format, &path, &body));
    state.got.push(Got { path: format!("{} {path}", head.method), headers: head.headers, body });
    let Answer { status, headers, pieces } = replayed.unwrap_or_else(|| state.answer.clone());
    let mut response = Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(name, value);
    }
    Ok(response.body(Pieces(pieces)).expect("an answer that can be written"))
}

/// A body that comes in pieces.
struct Pieces(VecDeque<Bytes>);

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.pop_front().map(|piece| Ok(Frame::data(piece))))
    }
}

/// A client of any format, which takes answers as they are.
pub struct Asker {
    http: Http<HttpConnector, Full<Bytes>>,
    base: String,
}

/// An answer of the gateway.
pub struct Told {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body, to its end.
    pub body: Bytes,
}

impl Asker {
    /// A client of the gateway at this address.
    pub fn new(address: SocketAddr) -> Self {
        Self { http: Http::builder(TokioExecutor::new()).build_http(), base: format!("http://{address}") }
    }

    /// Posts a body and reads the answer to its end.
    ///
    /// # Panics
    /// If the gateway does not answer, or the answer breaks off.
    pub async fn ask(&self, path: &str, body: &Value) -> Told {
        self.try_ask(path, &[], body).await.expect("the gateway answers")
    }

    /// The same with these headers.
    ///
    /// # Errors
    /// If the gateway does not answer, or the answer breaks off.
    pub async fn try_ask(&self, path: &str, headers: &[(&str, &str)], body: &Value) -> Result<Told, String> {
        let (head, body) = self.open(path, headers, body).await?.into_parts();
        let body = body.collect().await.map_err(|e| format!("the answer breaks off: {e}"))?.to_bytes();
        Ok(Told { status: head.status.as_u16(), headers: head.headers, body })
    }

    /// The beginning of an answer.
    ///
    /// # Errors
    /// If the gateway does not answer.
    pub async fn open(
        &self,
        path: &str,
        headers: &[(&str, &str)],
        body: &Value,
    ) -> Result<Response<Incoming>, String> {
        let mut request =
            Request::post(format!("{}{path}", self.base)).header("content-type", "application/json");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(Bytes::from(body.to_string()))).map_err(|e| e.to_string())?;
        self.http.request(request).await.map_err(|e| format!("no answer: {e}"))
    }
}

impl Told {
    /// The body as JSON; `null` if it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    /// A header, or nothing.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}
