//! From a path to what answers it.

use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use futures_util::FutureExt;
use http::uri::Authority;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, Uri, header};
use hyper::body::Incoming;
use percent_encoding::percent_decode_str;
use serde_json::json;
use tokio::runtime::Handle;

use crate::admin;
use crate::aliases;
use crate::body::{self, Body};
use crate::chat::{self, Call, error_in, error_response};
use crate::client_api::Format;
use crate::embeddings;
use crate::error::ApiError;
use crate::feedback;
use crate::gateway::{Core, Gateway};
use crate::ids;
use crate::inspect;
use crate::keys::Caller;
use crate::local::is_loopback_name;
use crate::passthrough::{self, Passage};

static REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Where operators make the cache forget.
const INVALIDATE: &str = "/admin/v1/cache/invalidate";
/// Where operators bring answers along, and take them from.
const IMPORT: &str = "/admin/v1/cache/import";
const EXPORT: &str = "/admin/v1/cache/export";
/// Where operators keep the attacks that they know; the name of one may follow.
const ATTACKS: &str = "/admin/v1/guardrails/attacks";
/// Largest body that operators send, but for an import.
const ADMIN_BODY: u64 = 64 * 1024;

static FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

#[derive(Clone, Copy, PartialEq)]
enum Endpoint {
    Chat(Format),
    CountTokens,
    Embeddings,
    Feedback,
    Inspect,
    Models,
    Live,
    Ready,
}

impl Endpoint {
    /// The endpoint of a path; `/v1` may be left out, as some clients do.
    fn of(path: &str) -> Option<Self> {
        match path.strip_prefix("/v1").unwrap_or(path) {
            "/chat/completions" => Some(Self::Chat(Format::OpenAiChat)),
            "/responses" => Some(Self::Chat(Format::OpenAiResponses)),
            "/messages" => Some(Self::Chat(Format::AnthropicMessages)),
            "/messages/count_tokens" => Some(Self::CountTokens),
            "/embeddings" => Some(Self::Embeddings),
            "/cache/feedback" => Some(Self::Feedback),
            "/guardrails/inspect" => Some(Self::Inspect),
            "/models" => Some(Self::Models),
            model if model.starts_with("/models/") => Some(Self::Models),
            // Claude Code looks there whether anybody is at home.
            "/" | "/health/live" => Some(Self::Live),
            "/health/ready" | "/health" => Some(Self::Ready),
            _ => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Chat(format) => format.name(),
            Self::CountTokens => "count_tokens",
            Self::Embeddings => "embeddings",
            Self::Feedback => "cache_feedback",
            Self::Inspect => "guardrails_inspect",
            Self::Models => "models",
            Self::Live | Self::Ready => "health",
        }
    }

    /// The format in which it is asked and answers; some are asked in either, which the headers tell.
    fn format(self, headers: &HeaderMap) -> Format {
        match self {
            Self::Chat(format) => format,
            Self::CountTokens => Format::AnthropicMessages,
            Self::Models if headers.contains_key("anthropic-version") => Format::AnthropicMessages,
            _ => Format::OpenAiChat,
        }
    }

    fn method(self) -> (Method, &'static str) {
        match self {
            Self::Chat(_) | Self::CountTokens | Self::Embeddings | Self::Feedback | Self::Inspect => {
                (Method::POST, "POST")
            }
            Self::Models | Self::Live | Self::Ready => (Method::GET, "GET, HEAD"),
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
    let format = endpoint.map_or(Format::default(), |endpoint| endpoint.format(request.headers()));
    // Paths of ours win over those of providers.
    let passage = match endpoint {
        Some(_) => None,
        None => Passage::of(&core.gateway.routes, request.uri().path()),
    };
    let refused = |error: &ApiError| match &passage {
        Some(passage) => passage.error(error, &id),
        None => error_in(format, error, &id),
    };
    let answering = async {
        match &passage {
            Some(passage) => {
                Box::pin(passthrough::answer(&core, passage, request, id.clone(), started)).await
            }
            None => answer(&core, endpoint, request, id.clone(), started).await,
        }
    };
    let answered = AssertUnwindSafe(answering).catch_unwind().await;
    let mut response = match answered {
        Ok(Ok(response)) => response,
        Ok(Err(error)) => {
            tracing::info!(request_id = id, status = error.status().as_u16(), code = error.code(), "refused");
            refused(&error)
        }
        Err(_) => {
            tracing::error!(request_id = id, "a request handler panicked");
            refused(&ApiError::Internal)
        }
    };
    if let Ok(id) = HeaderValue::from_str(&id) {
        if format == Format::AnthropicMessages {
            response.headers_mut().insert("request-id", id.clone());
        }
        response.headers_mut().insert(&REQUEST_ID, id);
    }
    let unknown = if passage.is_some() { "passthrough" } else { "unknown" };
    let name = endpoint.map_or(unknown, Endpoint::name);
    core.gateway.metrics.request(name, response.status().as_u16());
    Ok(response)
}

async fn answer(
    core: &Arc<Core>,
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
    let only_head = method == Method::GET && *request.method() == Method::HEAD;
    if *request.method() != method && !only_head {
        return Err(ApiError::MethodNotAllowed { allowed });
    }
    let gateway = &core.gateway;
    match endpoint {
        Endpoint::Live => return Ok(json_response(&json!({ "status": "ok" }))),
        Endpoint::Ready => return Ok(ready(gateway)),
        Endpoint::Chat(_)
        | Endpoint::CountTokens
        | Endpoint::Embeddings
        | Endpoint::Feedback
        | Endpoint::Inspect
        | Endpoint::Models => {}
    }
    let caller = gateway.keys.authenticate(request.headers())?;
    if gateway.keys.are_none() {
        refuse_foreign_pages(request.headers())?;
    }
    if endpoint == Endpoint::Models {
        return models(gateway, &caller, request.uri().path(), endpoint.format(request.headers()));
    }
    let (mut head, incoming) = request.into_parts();
    aliases::translate(&mut head.headers)?;
    if head.headers.get(header::CONTENT_ENCODING).is_some_and(|v| v != "identity") {
        return Err(ApiError::invalid(
            "content-encoding",
            "send the body uncompressed: 'content-encoding' is not supported",
        ));
    }
    let body = body::read(incoming, gateway.limits.max_body.0, gateway.timeouts.client.0).await?;
    let policy = gateway.policy.current();
    let format = endpoint.format(&head.headers);
    let call = Arc::new(Call { caller, id, headers: head.headers, format, called: None, started, policy });
    match endpoint {
        Endpoint::Chat(_) => chat::chat(core, &call, body).await,
        Endpoint::CountTokens => Box::pin(chat::count::count(core, &call, body)).await,
        Endpoint::Feedback => feedback::feedback(gateway, &call, body.expose()),
        Endpoint::Inspect => inspect::inspect(gateway, &call, body).await,
        // Boxed, since a hit is to be light.
        _ => Box::pin(embeddings::embeddings(core, &call, &body)).await,
    }
}

/// A page that the user happens to visit can reach loopback, by a form or by a name that it makes point there. Browsers
/// say where a request comes from; other clients send neither header.
pub(crate) fn refuse_foreign_pages(headers: &HeaderMap) -> Result<(), ApiError> {
    let text = |name: &HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    let foreign_origin = text(&header::ORIGIN).is_some_and(|origin| {
        let host = origin.parse::<Uri>().ok().and_then(|uri| uri.host().map(is_loopback_name));
        host != Some(true)
    });
    let foreign_name = text(&FETCH_SITE).is_some()
        && !text(&header::HOST).is_some_and(|host| {
            host.parse::<Authority>().is_ok_and(|authority| is_loopback_name(authority.host()))
        });
    if foreign_origin || foreign_name { Err(ApiError::ForeignPage) } else { Ok(()) }
}

/// Answers one request on the admin address. Where others can reach it (`public`), the metrics and what changes something take a key.
///
/// # Errors
/// None.
pub async fn handle_admin(
    gateway: Arc<Gateway>,
    public: bool,
    request: Request<Incoming>,
) -> Result<Response<Body>, Infallible> {
    let id = request_id(&request);
    let answered = answer_admin(&gateway, public, &id, request).await;
    let mut response = answered.unwrap_or_else(|error| error_response(&error));
    if let Ok(id) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(&REQUEST_ID, id);
    }
    Ok(response)
}

async fn answer_admin(
    gateway: &Arc<Gateway>,
    public: bool,
    id: &str,
    request: Request<Incoming>,
) -> Result<Response<Body>, ApiError> {
    let operator = || {
        let caller = if public { Some(gateway.keys.authenticate(request.headers())?) } else { None };
        refuse_foreign_pages(request.headers()).map(|()| caller)
    };
    match (request.method(), request.uri().path()) {
        (&Method::GET, "/metrics") => {
            operator()?;
            let mut response = Response::new(Body::Full(Bytes::from(gateway.scrape())));
            let kind = HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
            response.headers_mut().insert(header::CONTENT_TYPE, kind);
            Ok(response)
        }
        (&Method::POST, INVALIDATE) => {
            operator()?;
            let limit = gateway.limits.max_body.0.min(ADMIN_BODY);
            let body = body::read(request.into_body(), limit, gateway.timeouts.client.0).await?;
            let gateway = Arc::clone(gateway);
            // Looking at every answer takes a while, which nobody else is to wait.
            let invalidating = tokio::task::spawn_blocking(move || {
                Handle::current().block_on(admin::invalidate(&gateway, body.expose()))
            });
            Ok(json_response(&invalidating.await.map_err(|_| ApiError::Internal)??))
        }
        (&Method::POST, IMPORT) => {
            let only = operator()?;
            let limit = gateway.limits.max_body.0;
            let body = body::read(request.into_body(), limit, gateway.timeouts.client.0).await?;
            let (gateway, id) = (Arc::clone(gateway), id.to_owned());
            // Reading and scanning the lines would keep the clients' connections waiting.
            let importing = tokio::task::spawn_blocking(move || {
                Handle::current().block_on(admin::import(&gateway, &id, only.as_deref(), body.expose()))
            });
            Ok(json_response(&importing.await.map_err(|_| ApiError::Internal)??))
        }
        (&Method::GET, EXPORT) => {
            let only = operator()?;
            let gateway = Arc::clone(gateway);
            // As with what is invalidated.
            let exporting = tokio::task::spawn_blocking(move || {
                Handle::current().block_on(admin::export(&gateway, only.as_deref()))
            });
            exporting.await.map_err(|_| ApiError::Internal)?
        }
        (method, path)
            if path
                .strip_prefix(ATTACKS)
                .is_some_and(|rest| matches!(rest.as_bytes(), [] | [b'/', _, ..])) =>
        {
            operator()?;
            let (method, name) = (method.clone(), path[ATTACKS.len()..].trim_start_matches('/').to_owned());
            attacks(gateway, &method, name, request).await
        }
        (_, INVALIDATE | IMPORT) => Err(ApiError::MethodNotAllowed { allowed: "POST" }),
        (_, EXPORT) => Err(ApiError::MethodNotAllowed { allowed: "GET" }),
        (&Method::GET, "/health/live") => Ok(json_response(&json!({ "status": "ok" }))),
        (&Method::GET, "/health/ready" | "/health") => Ok(ready(gateway)),
        (method, path) => Err(ApiError::NoSuchEndpoint {
            method: method.to_string(),
            path: path.chars().take(200).collect(),
        }),
    }
}

/// What operators do about known attacks. Comparing and writing takes a while, which nobody else is to wait.
async fn attacks(
    gateway: &Arc<Gateway>,
    method: &Method,
    name: String,
    request: Request<Incoming>,
) -> Result<Response<Body>, ApiError> {
    let gateway = Arc::clone(gateway);
    let changing = match (method, name.is_empty()) {
        (&Method::GET, true) => return Ok(json_response(&admin::attacks(&gateway))),
        (&Method::POST, true) => {
            let limit = gateway.limits.max_body.0;
            let body = body::read(request.into_body(), limit, gateway.timeouts.client.0).await?;
            tokio::task::spawn_blocking(move || admin::add_attacks(&gateway, body.expose()))
        }
        (&Method::DELETE, false) => {
            tokio::task::spawn_blocking(move || admin::remove_attack(&gateway, &name))
        }
        (_, true) => return Err(ApiError::MethodNotAllowed { allowed: "GET and POST" }),
        (_, false) => return Err(ApiError::MethodNotAllowed { allowed: "DELETE" }),
    };
    Ok(json_response(&changing.await.map_err(|_| ApiError::Internal)??))
}

fn ready(gateway: &Gateway) -> Response<Body> {
    let semantic = gateway.memory.is_some() && gateway.embedder.is_some();
    json_response(&json!({ "status": "ok", "cache": gateway.memory.is_some(), "semantic_cache": semantic }))
}

/// The models that a key may use.
fn models(
    gateway: &Gateway,
    caller: &Caller,
    path: &str,
    format: Format,
) -> Result<Response<Body>, ApiError> {
    let object = |(id, owner): &(String, String)| match format {
        // When it came out is not known, which Anthropic tells by the first moment of 1970.
        Format::AnthropicMessages => json!({ "type": "model", "id": id, "display_name": id,
            "created_at": "1970-01-01T00:00:00Z", "lifecycle": "active" }),
        Format::OpenAiChat | Format::OpenAiResponses => {
            json!({ "id": id, "object": "model", "created": 0, "owned_by": owner })
        }
    };
    let mut listed = gateway.routes.list();
    if let Some(embedder) = &gateway.embedder {
        listed.push((embeddings::public_name(embedder).to_owned(), "local".to_owned()));
    }
    listed.retain(|(id, _)| caller.may_use(id));
    match path.split_once("/models/") {
        None => {
            let data: Vec<_> = listed.iter().map(object).collect();
            let id = |model: Option<&serde_json::Value>| model.map(|model| model["id"].clone());
            let (first, last) = (id(data.first()), id(data.last()));
            Ok(json_response(&match format {
                Format::AnthropicMessages => {
                    json!({ "data": data, "has_more": false, "first_id": first, "last_id": last })
                }
                Format::OpenAiChat | Format::OpenAiResponses => json!({ "object": "list", "data": data }),
            }))
        }
        Some((_, name)) => {
            // OpenAI's SDKs write the slash of `provider/model` as %2F.
            let name = &percent_decode_str(name).decode_utf8_lossy();
            match listed.iter().find(|(id, _)| id == name) {
                Some(model) => Ok(json_response(&object(model))),
                None => {
                    let target = gateway.routes.resolve_for(caller, name)?.swap_remove(0);
                    Ok(json_response(&object(&(name.to_string(), target.provider.name.clone()))))
                }
            }
        }
    }
}

/// A JSON response with status 200.
pub fn json_response(value: &serde_json::Value) -> Response<Body> {
    let mut response = Response::new(Body::Full(Bytes::from(value.to_string())));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// The client's own `x-request-id` where it is a plain word, else a new one.
pub(crate) fn request_id(request: &Request<Incoming>) -> String {
    let own = request.headers().get(&REQUEST_ID).and_then(|v| v.to_str().ok());
    match own {
        Some(id)
            if (1..=128).contains(&id.len())
                && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.:".contains(&b)) =>
        {
            id.to_owned()
        }
        _ => ids::fresh("req_"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_pages_of_this_machine_may_use_a_gateway_without_keys() {
        let asked = |lines: &[(&'static str, &'static str)]| {
            let headers = lines
                .iter()
                .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
            refuse_foreign_pages(&headers.collect()).is_ok()
        };
        assert!(asked(&[("host", "gateway.internal:8080")]), "a program");
        assert!(asked(&[
            ("host", "localhost:8080"),
            ("origin", "http://localhost:3000"),
            ("sec-fetch-site", "same-site")
        ]));
        assert!(asked(&[("host", "[::1]:8080"), ("origin", "http://127.0.0.1")]));
        assert!(
            !asked(&[("host", "localhost:8080"), ("origin", "https://evil.example")]),
            "a form elsewhere"
        );
        assert!(!asked(&[("host", "localhost:8080"), ("origin", "null")]), "a sandboxed page");
        assert!(
            !asked(&[("host", "evil.example:8080"), ("sec-fetch-site", "same-origin")]),
            "a name made to point here"
        );
    }
}
