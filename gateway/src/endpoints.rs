//! From a path to what answers it.

use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::FutureExt;
use http::{HeaderValue, Method, Request, Response, header};
use hyper::body::Incoming;
use serde_json::json;

use crate::body::{self, Body};
use crate::chat::{self, Call, error_response};
use crate::embeddings;
use crate::error::ApiError;
use crate::gateway::{Core, Gateway};

#[derive(Clone, Copy, PartialEq)]
enum Endpoint {
    Chat,
    Embeddings,
    Models,
    Live,
    Ready,
}

impl Endpoint {
    /// The endpoint of a path; `/v1` may be left out, as some clients do.
    fn of(path: &str) -> Option<Self> {
        match path.strip_prefix("/v1").unwrap_or(path) {
            "/chat/completions" => Some(Self::Chat),
            "/embeddings" => Some(Self::Embeddings),
            "/models" => Some(Self::Models),
            model if model.starts_with("/models/") => Some(Self::Models),
            "/health/live" => Some(Self::Live),
            "/health/ready" | "/health" => Some(Self::Ready),
            _ => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Chat => "chat_completions",
            Self::Embeddings => "embeddings",
            Self::Models => "models",
            Self::Live | Self::Ready => "health",
        }
    }

    fn method(self) -> (Method, &'static str) {
        match self {
            Self::Chat | Self::Embeddings => (Method::POST, "POST"),
            Self::Models | Self::Live | Self::Ready => (Method::GET, "GET"),
        }
    }
}

/// Answers one request of a client. A panic is a bug, is logged as one, and costs this request alone.
///
/// # Errors
/// None.
pub async fn handle(core: Arc<Core>, request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    let started = Instant::now();
    let id = request_id(&request);
    let endpoint = Endpoint::of(request.uri().path());
    let answered =
        AssertUnwindSafe(answer(&core, endpoint, request, id.clone(), started)).catch_unwind().await;
    let mut response = match answered {
        Ok(Ok(response)) => response,
        Ok(Err(error)) => {
            tracing::info!(request_id = id, status = error.status().as_u16(), code = error.code(), "refused");
            error_response(&error)
        }
        Err(_) => {
            tracing::error!(request_id = id, "a request handler panicked");
            error_response(&ApiError::Internal)
        }
    };
    if let Ok(id) = HeaderValue::from_str(&id) {
        response.headers_mut().insert("x-request-id", id);
    }
    let name = endpoint.map_or("unknown", Endpoint::name);
    core.gateway.metrics.request(name, response.status().as_u16());
    Ok(response)
}

async fn answer(
    core: &Core,
    endpoint: Option<Endpoint>,
    request: Request<Incoming>,
    id: String,
    started: Instant,
) -> Result<Response<Body>, ApiError> {
    let Some(endpoint) = endpoint else {
        let path = request.uri().path().chars().take(200).collect();
        return Err(ApiError::NoSuchEndpoint { method: request.method().to_string(), path });
    };
    let (method, allowed) = endpoint.method();
    if *request.method() != method {
        return Err(ApiError::MethodNotAllowed { allowed });
    }
    let gateway = &core.gateway;
    match endpoint {
        Endpoint::Live => return Ok(json_response(&json!({ "status": "ok" }))),
        Endpoint::Ready => return Ok(ready(gateway)),
        Endpoint::Chat | Endpoint::Embeddings | Endpoint::Models => {}
    }
    let caller = gateway.keys.authenticate(request.headers())?;
    if endpoint == Endpoint::Models {
        return models(gateway, request.uri().path());
    }
    let (head, incoming) = request.into_parts();
    if head.headers.get(header::CONTENT_ENCODING).is_some_and(|v| v != "identity") {
        return Err(ApiError::invalid(
            "content-encoding",
            "send the body uncompressed: 'content-encoding' is not supported",
        ));
    }
    let within = Duration::max(gateway.timeouts.client.0, Duration::from_millis(1));
    let body = body::read(incoming, gateway.limits.max_body.0, within).await?;
    let call = Call { caller, id, headers: head.headers, started };
    match endpoint {
        Endpoint::Chat => chat::chat(core, &call, &body).await,
        _ => embeddings::embeddings(core, &call, &body).await,
    }
}

/// Answers one request on the admin address.
///
/// # Errors
/// None.
pub fn handle_admin(gateway: &Gateway, request: &Request<Incoming>) -> Result<Response<Body>, Infallible> {
    let path = request.uri().path();
    Ok(match (request.method(), path) {
        (&Method::GET, "/metrics") => {
            let mut response = Response::new(Body::Full(Bytes::from(gateway.scrape())));
            let kind = HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
            response.headers_mut().insert(header::CONTENT_TYPE, kind);
            response
        }
        (&Method::GET, "/health/live") => json_response(&json!({ "status": "ok" })),
        (&Method::GET, "/health/ready" | "/health") => ready(gateway),
        (method, path) => {
            error_response(&ApiError::NoSuchEndpoint { method: method.to_string(), path: path.to_owned() })
        }
    })
}

fn ready(gateway: &Gateway) -> Response<Body> {
    let semantic = gateway.memory.is_some() && gateway.embedder.is_some();
    json_response(&json!({ "status": "ok", "cache": gateway.memory.is_some(), "semantic_cache": semantic }))
}

fn models(gateway: &Gateway, path: &str) -> Result<Response<Body>, ApiError> {
    let object = |(id, owner): &(String, String)| json!({ "id": id, "object": "model", "created": 0, "owned_by": owner });
    let mut listed = gateway.routes.list();
    if let Some(embedder) = &gateway.embedder {
        listed.push((embeddings::public_name(embedder).to_owned(), "local".to_owned()));
    }
    match path.split_once("/models/") {
        None => Ok(json_response(
            &json!({ "object": "list", "data": listed.iter().map(object).collect::<Vec<_>>() }),
        )),
        Some((_, name)) => match listed.iter().find(|(id, _)| id == name) {
            Some(model) => Ok(json_response(&object(model))),
            None => {
                let target = gateway.routes.resolve(name)?.swap_remove(0);
                Ok(json_response(&object(&(name.to_owned(), target.provider.name.clone()))))
            }
        },
    }
}

/// A JSON response with status 200.
pub fn json_response(value: &serde_json::Value) -> Response<Body> {
    let mut response = Response::new(Body::Full(Bytes::from(value.to_string())));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// The client's own `x-request-id` where it is a plain word, else a new one.
fn request_id(request: &Request<Incoming>) -> String {
    let own = request.headers().get("x-request-id").and_then(|v| v.to_str().ok());
    match own {
        Some(id)
            if (1..=128).contains(&id.len())
                && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.:".contains(&b)) =>
        {
            id.to_owned()
        }
        _ => format!("req_{}", uuid::Uuid::now_v7().simple()),
    }
}
