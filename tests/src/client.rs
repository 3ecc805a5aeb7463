//! A typed client, and what holds for every answer of the gateway.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{Client as Http, ResponseFuture};
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use sluice::wire::sse::SseDecoder;

/// One user's question to the model `chat`.
pub fn question(text: &str) -> Value {
    json!({ "model": "chat", "messages": [{ "role": "user", "content": text }] })
}

/// The same request as a stream, or whole. A stream asks for token counts.
pub fn streamed(mut body: Value, stream: bool) -> Value {
    if stream {
        body["stream"] = json!(true);
        body["stream_options"] = json!({ "include_usage": true });
    }
    body
}

/// Sends requests with the same headers, over connections of its own.
#[derive(Clone)]
pub struct Client {
    http: Http<HttpConnector, Full<Bytes>>,
    base: String,
    headers: Vec<(String, String)>,
}

impl Client {
    /// A client of this address.
    pub fn new(address: SocketAddr) -> Self {
        let http = Http::builder(TokioExecutor::new()).build_http();
        Self { http, base: format!("http://{address}"), headers: Vec::new() }
    }

    /// The same client with a further header.
    #[must_use]
    pub fn with(&self, name: &str, value: &str) -> Self {
        let mut with = self.clone();
        with.headers.push((name.to_owned(), value.to_owned()));
        with
    }

    /// Sends a chat request.
    pub async fn chat(&self, body: &Value) -> Reply {
        self.post("/v1/chat/completions", body.to_string()).await
    }

    /// Sends a request in Anthropic's format.
    pub async fn messages(&self, body: &Value) -> Reply {
        self.post("/v1/messages", body.to_string()).await
    }

    /// The status and the body of a chat request's answer, unless the gateway goes before their end.
    pub async fn attempt(&self, body: &Value) -> Option<(u16, Bytes)> {
        let body = Bytes::from(body.to_string());
        let response = self.request(Method::POST, "/v1/chat/completions", body).await.ok()?;
        let status = response.status().as_u16();
        Some((status, response.into_body().collect().await.ok()?.to_bytes()))
    }

    /// Posts bytes.
    pub async fn post(&self, path: &str, body: impl Into<Bytes>) -> Reply {
        self.send(Method::POST, path, body).await
    }

    /// Gets a path.
    pub async fn get(&self, path: &str) -> Reply {
        self.send(Method::GET, path, Bytes::new()).await
    }

    /// Sends anything and reads the answer to its end.
    pub async fn send(&self, method: Method, path: &str, body: impl Into<Bytes>) -> Reply {
        Reply::read(self.request(method, path, body.into()).await.expect("the gateway answers")).await
    }

    /// Sends a chat request and gives the answer as soon as its head is there.
    ///
    /// # Panics
    /// If the gateway does not answer.
    pub async fn open(&self, body: &Value) -> Response<Incoming> {
        let body = Bytes::from(body.to_string());
        self.request(Method::POST, "/v1/chat/completions", body).await.expect("the gateway answers")
    }

    /// The text at a path that is no part of the API.
    ///
    /// # Panics
    /// If there is none.
    pub async fn plain(&self, path: &str) -> String {
        let response = self.request(Method::GET, path, Bytes::new()).await.expect("an answer");
        assert_eq!(response.status(), 200);
        let body = response.into_body().collect().await.expect("the whole answer").to_bytes();
        String::from_utf8(body.to_vec()).expect("text")
    }

    fn request(&self, method: Method, path: &str, body: Bytes) -> ResponseFuture {
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.base));
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        self.http.request(request.body(Full::new(body)).expect("a request that can be written"))
    }
}

/// An answer of the gateway, read to its end.
pub struct Reply {
    /// Its status.
    pub status: u16,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

impl Reply {
    /// Reads an answer and checks what holds for all of them: a request id, and errors in the client's shape.
    ///
    /// # Panics
    /// If one of these does not hold, or the answer breaks off.
    pub async fn read(response: Response<Incoming>) -> Self {
        let (head, body) = response.into_parts();
        let body = body.collect().await.expect("the whole answer").to_bytes();
        let reply = Self { status: head.status.as_u16(), headers: head.headers, body };
        assert!(!reply.header("x-request-id").is_empty(), "no x-request-id");
        if reply.status >= 400 {
            let error = reply.error();
            if reply.json()["type"] == "error" {
                // Anthropic's shape.
                assert!(error["message"].is_string() && error["type"].is_string(), "{error}");
                assert_eq!(reply.json()["request_id"], reply.header("x-request-id"));
                return reply;
            }
            if !reply.header("x-amzn-errortype").is_empty() {
                // Amazon's.
                assert!(reply.json()["message"].is_string(), "{:?}", reply.body);
                return reply;
            }
            if error["status"].is_string() {
                // Google's.
                assert!(error["message"].is_string() && error["code"] == reply.status, "{error}");
                return reply;
            }
            for field in ["message", "type", "param", "code"] {
                assert!(error.get(field).is_some(), "an error without '{field}': {error}");
            }
            assert!(error["message"].is_string() && error["type"].is_string(), "{error}");
        }
        reply
    }

    /// A header, or nothing.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default()
    }

    /// `hit exact`, `miss`, `bypass`.
    pub fn cache(&self) -> String {
        format!("{} {}", self.header("x-sluice-cache"), self.header("x-sluice-cache-tier")).trim().to_owned()
    }

    /// True for a stream.
    pub fn is_stream(&self) -> bool {
        self.header("content-type").starts_with("text/event-stream")
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// If it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("no JSON ({e}): {:?}", self.body))
    }

    /// The error object.
    pub fn error(&self) -> Value {
        self.json()["error"].take()
    }

    /// The events of a stream; the terminator is the text `[DONE]`.
    ///
    /// # Panics
    /// If an event is no JSON.
    pub fn events(&self) -> Vec<Value> {
        assert!(self.is_stream(), "no stream: {:?}", self.body);
        let (mut decoder, mut data) = (SseDecoder::default(), Vec::new());
        decoder.push(&self.body, &mut data).expect("events of a reasonable size");
        assert!(!decoder.mid_event(), "the stream ends inside an event");
        let read = |event: &Bytes| match event.as_ref() {
            b"[DONE]" => json!("[DONE]"),
            json => serde_json::from_slice(json).expect("an event holds JSON"),
        };
        data.iter().map(read).collect()
    }

    /// True if the stream has its terminator, as its last event.
    pub fn is_done(&self) -> bool {
        self.events().last().is_some_and(|last| last == "[DONE]")
    }

    /// The chunks of a stream without its terminator, or the whole answer as the only one.
    pub fn chunks(&self) -> Vec<Value> {
        if self.is_stream() {
            self.events().into_iter().filter(Value::is_object).collect()
        } else {
            vec![self.json()]
        }
    }

    /// The text of the first choice, whether it came whole or streamed.
    pub fn text(&self) -> String {
        self.joined("/content")
    }

    /// The arguments of the first tool call, whether they came whole or streamed.
    pub fn arguments(&self) -> String {
        self.joined("/tool_calls/0/function/arguments")
    }

    /// Why the answer ended.
    pub fn finish_reason(&self) -> String {
        let chunks = self.chunks();
        let reasons = chunks.iter().filter_map(|chunk| chunk.pointer("/choices/0/finish_reason")?.as_str());
        reasons.collect()
    }

    /// The token counts.
    ///
    /// # Panics
    /// If there are none.
    pub fn usage(&self) -> Value {
        self.chunks()
            .into_iter()
            .rev()
            .find_map(|mut chunk| match chunk["usage"].take() {
                Value::Null => None,
                usage => Some(usage),
            })
            .expect("token counts")
    }

    fn joined(&self, path: &str) -> String {
        let part = if self.is_stream() { "delta" } else { "message" };
        let path = format!("/choices/0/{part}{path}");
        self.chunks().iter().filter_map(|chunk| chunk.pointer(&path)?.as_str().map(str::to_owned)).collect()
    }
}
