//! The demo's customer: asks over HTTP as any OpenAI client does, and notes what came back.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::json;

use crate::provider_api::openai::OpenAi;
use crate::provider_api::{ProviderApi, Sent, StreamEvent};
use crate::wire::chat::{Assembler, Chunk};
use crate::wire::usage::Usage;

/// What came back for one question.
pub(super) struct Reply {
    pub(super) status: u16,
    /// `hit`, `miss` or `bypass`.
    pub(super) cache: String,
    /// `exact`, `normalised` or `semantic` of a hit.
    pub(super) tier: String,
    pub(super) attempts: u32,
    pub(super) text: String,
    pub(super) usage: Usage,
    /// Until the last byte.
    pub(super) took: Duration,
}

pub(super) struct Customer {
    client: Client<HttpConnector, Full<Bytes>>,
    url: String,
}

impl Customer {
    pub(super) fn new(address: std::net::SocketAddr) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let client = Client::builder(TokioExecutor::new()).build(connector);
        Self { client, url: format!("http://{address}/v1/chat/completions") }
    }

    pub(super) async fn ask(&self, prompt: &str, stream: bool) -> Result<Reply, String> {
        let mut body = json!({
            "model": "support",
            "temperature": 0,
            "messages": [
                { "role": "system", "content": "You help the customers of a bank, a shop and an IT help desk." },
                { "role": "user", "content": prompt },
            ],
        });
        if stream {
            body["stream"] = json!(true);
            body["stream_options"] = json!({ "include_usage": true });
        }
        let request = Request::post(&self.url)
            .header(http::header::CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(body.to_string())))
            .map_err(|e| e.to_string())?;
        let started = Instant::now();
        let response = self.client.request(request).await.map_err(|e| e.to_string())?;
        let (head, body) = response.into_parts();
        let body = body.collect().await.map_err(|e| e.to_string())?.to_bytes();
        let took = started.elapsed();
        let header =
            |name: &str| head.headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned();
        let whole = if head.status.is_success() { read(&body, stream)? } else { Chunk::default() };
        let text = whole.choices.first().and_then(|c| c.delta.content.clone()).unwrap_or_default();
        Ok(Reply {
            status: head.status.as_u16(),
            cache: header("x-sluice-cache"),
            tier: header("x-sluice-cache-tier"),
            attempts: header("x-sluice-attempts").parse().unwrap_or(0),
            text,
            usage: whole.usage.unwrap_or_default(),
            took,
        })
    }
}

fn read(body: &Bytes, stream: bool) -> Result<Chunk, String> {
    if !stream {
        return OpenAi.decode_whole(body, &Sent::default()).map_err(|e| e.to_string());
    }
    let (mut decoder, mut events, mut whole) =
        (OpenAi.stream(Sent::default()), Vec::new(), Assembler::default());
    decoder.push(body, &mut events).map_err(|e| e.to_string())?;
    let ended = matches!(events.last(), Some(StreamEvent::Done));
    for event in &events {
        if let StreamEvent::Chunk(chunk) = event {
            whole.push(chunk);
        }
    }
    if ended { Ok(whole.finish()) } else { Err("a stream ended without its terminator".to_owned()) }
}
