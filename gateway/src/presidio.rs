//! Presidio's REST API on an address of its own: programs that use it switch by URL. The shapes are those of its public
//! API documentation; what is found is what our own rules find.

mod analyze;
mod anonymize;
mod operators;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use serde_json::{Map, Value, json};
use sluice_guardrails::pii::{Engine, Selection};
use sluice_guardrails::{Action, Guard, InjectionAction, Policy, secrets};

use crate::body::{self, Body};
use crate::config::PresidioSection;
use crate::endpoints::{refuse_foreign_pages, request_id};
use crate::error::ApiError;
use crate::gateway::Gateway;
use crate::wire::json as strict;

/// Entities that a request named and that are not looked for here.
static UNSUPPORTED: HeaderName = HeaderName::from_static("x-sluice-unsupported-entities");
static REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What answers Presidio's clients.
pub struct Presidio {
    /// Where they connect.
    pub listen: SocketAddr,
    guard: Guard,
    engine: Arc<Engine>,
    threshold: f32,
}

/// Why a request has no answer: a status and a sentence, in which nothing of a text is repeated.
#[derive(Debug)]
struct Refusal(StatusCode, String);

impl Refusal {
    /// It has another form than it should.
    fn bad(message: impl Into<String>) -> Self {
        Self(StatusCode::BAD_REQUEST, message.into())
    }

    /// It can be read and not be done.
    fn unprocessable(message: impl Into<String>) -> Self {
        Self(StatusCode::UNPROCESSABLE_ENTITY, message.into())
    }
}

impl From<ApiError> for Refusal {
    fn from(error: ApiError) -> Self {
        Self(error.status(), error.to_string())
    }
}

impl Presidio {
    /// The rules that the section says; none if it is off.
    ///
    /// # Errors
    /// The name of an unknown pack.
    pub fn build(section: &PresidioSection) -> Result<Option<Self>, String> {
        let Some(listen) = section.listen else { return Ok(None) };
        let engine = Selection::of(&section.packs)?.engine();
        let policy = Policy {
            pii: Action::Redact,
            secrets: Action::Redact,
            injection: InjectionAction::Off,
            ..Policy::default()
        };
        let guard = Guard::with_engine(&policy, Arc::clone(&engine));
        Ok(Some(Self { listen, guard, engine, threshold: section.score_threshold }))
    }

    /// The names of all entities that can be found, sorted.
    fn entities(&self) -> Vec<&'static str> {
        let mut entities = self.engine.entities();
        entities.push(secrets::ENTITY);
        entities.sort_unstable();
        entities
    }

    /// The names that findings have as their recognisers, sorted.
    fn recognizers(&self) -> Vec<&'static str> {
        let mut names: Vec<_> = self.engine.ids().collect();
        names.push(analyze::SECRETS);
        names.sort_unstable();
        names
    }
}

/// Answers one request of a Presidio client. Where others can reach the address (`public`), it takes a key.
///
/// # Errors
/// None.
pub async fn handle(
    gateway: Arc<Gateway>,
    public: bool,
    request: Request<Incoming>,
) -> Result<Response<Body>, Infallible> {
    let id = request_id(&request);
    let name = match request.uri().path() {
        "/analyze" => "presidio_analyze",
        "/anonymize" => "presidio_anonymize",
        _ => "presidio",
    };
    let mut response = answer(&gateway, public, request).await.unwrap_or_else(|Refusal(status, message)| {
        let mut response = written(json!({ "error": message }).to_string());
        *response.status_mut() = status;
        response
    });
    if let Ok(id) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(&REQUEST_ID, id);
    }
    gateway.metrics.request(name, response.status().as_u16());
    Ok(response)
}

async fn answer(
    gateway: &Arc<Gateway>,
    public: bool,
    request: Request<Incoming>,
) -> Result<Response<Body>, Refusal> {
    let presidio = gateway.presidio.as_ref().ok_or(ApiError::Internal)?;
    if public && request.uri().path() != "/health" {
        gateway.keys.authenticate(request.headers())?;
    }
    refuse_foreign_pages(request.headers())?;
    let path = request.uri().path().to_owned();
    match (request.method(), path.as_str()) {
        (&Method::GET, "/health") => {
            let mut response =
                Response::new(Body::Full(Bytes::from_static(b"Sluice answers /analyze and /anonymize")));
            let kind = HeaderValue::from_static("text/plain; charset=utf-8");
            response.headers_mut().insert(header::CONTENT_TYPE, kind);
            Ok(response)
        }
        (&Method::GET, "/supportedentities") => Ok(written(json!(presidio.entities()).to_string())),
        (&Method::GET, "/recognizers") => Ok(written(json!(presidio.recognizers()).to_string())),
        (&Method::GET, "/anonymizers") => Ok(written(json!(operators::NAMES).to_string())),
        (&Method::GET, "/deanonymizers") => Ok(written("[]".to_owned())),
        (&Method::POST, "/analyze" | "/anonymize") => posted(gateway, request, &path).await,
        (&Method::POST, "/deanonymize") => {
            Err(Refusal::unprocessable("/deanonymize is not supported: nothing is encrypted here"))
        }
        (_, "/health" | "/supportedentities" | "/recognizers" | "/anonymizers" | "/deanonymizers") => {
            Err(ApiError::MethodNotAllowed { allowed: "GET" }.into())
        }
        (_, "/analyze" | "/anonymize" | "/deanonymize") => {
            Err(ApiError::MethodNotAllowed { allowed: "POST" }.into())
        }
        (method, path) => {
            let (method, path) = (method.to_string(), path.chars().take(200).collect());
            Err(ApiError::NoSuchEndpoint { method, path }.into())
        }
    }
}

/// Reads a body and works on it away from the thread that accepts connections.
async fn posted(
    gateway: &Arc<Gateway>,
    request: Request<Incoming>,
    path: &str,
) -> Result<Response<Body>, Refusal> {
    let limit = gateway.limits.max_body.0;
    let body = body::read(request.into_body(), limit, gateway.timeouts.client.0).await?;
    let (gateway, analyzes) = (Arc::clone(gateway), path == "/analyze");
    let working = tokio::task::spawn_blocking(move || {
        let presidio = gateway.presidio.as_ref().ok_or(ApiError::Internal)?;
        let fields = object(body.expose())?;
        if analyzes {
            analyze::analyze(presidio, &fields)
        } else {
            anonymize::anonymize(&fields, gateway.limits.max_answer.0).map(written)
        }
    });
    working.await.map_err(|_| ApiError::Internal)?
}

fn object(body: &[u8]) -> Result<Map<String, Value>, Refusal> {
    match strict::parse(body).map_err(ApiError::Json)? {
        Value::Object(fields) if !fields.is_empty() => Ok(fields),
        _ => Err(Refusal::bad("Invalid request json: expected an object")),
    }
}

/// A JSON response with status 200.
fn written(json: String) -> Response<Body> {
    let mut response = Response::new(Body::Full(Bytes::from(json)));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
