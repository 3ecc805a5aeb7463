//! The head of an answer: what its headers tell, and how errors look.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, header};

use super::Call;
use crate::body::Body;
use crate::client_api::Format;
use crate::error::ApiError;
use crate::gateway::Gateway;

pub(super) static CACHE: HeaderName = HeaderName::from_static("x-sluice-cache");
pub(super) static CACHE_TIER: HeaderName = HeaderName::from_static("x-sluice-cache-tier");
pub(super) static CACHE_SIMILARITY: HeaderName = HeaderName::from_static("x-sluice-cache-similarity");
pub(super) static CACHE_CONFIDENCE: HeaderName = HeaderName::from_static("x-sluice-cache-confidence");
pub(super) static CACHE_ID: HeaderName = HeaderName::from_static("x-sluice-cache-id");
pub(super) static CACHE_ENTRY: HeaderName = HeaderName::from_static("x-sluice-cache-entry");
pub(super) static CACHE_REASON: HeaderName = HeaderName::from_static("x-sluice-cache-reason");
static SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");
static PROVIDER: HeaderName = HeaderName::from_static("x-sluice-provider");
static MODEL: HeaderName = HeaderName::from_static("x-sluice-model");
static ATTEMPTS: HeaderName = HeaderName::from_static("x-sluice-attempts");
static FALLBACKS: HeaderName = HeaderName::from_static("x-sluice-fallbacks");
static DROPPED: HeaderName = HeaderName::from_static("x-sluice-dropped-params");
static OVERHEAD: HeaderName = HeaderName::from_static("x-sluice-overhead-ms");

/// As many headers as an answer has, so that their map need not grow.
pub(super) const HEADERS: usize = 16;

pub(super) fn respond(mut headers: HeaderMap, stream: bool, body: Body) -> Response<Body> {
    if stream {
        let events = HeaderValue::from_static("text/event-stream; charset=utf-8");
        headers.insert(header::CONTENT_TYPE, events);
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    } else {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    let mut response = Response::new(body);
    *response.headers_mut() = headers;
    response
}

/// An error as a response, in OpenAI's shape.
pub fn error_response(error: &ApiError) -> Response<Body> {
    error_in(Format::OpenAiChat, error, "")
}

/// An error as a response in the shape of the client's format. `id`: the request's.
pub fn error_in(format: Format, error: &ApiError, id: &str) -> Response<Body> {
    let mut headers = HeaderMap::new();
    if let Some(seconds) = error.retry_after() {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    if let Some(asked) = error.asked() {
        headers.insert(&ATTEMPTS, HeaderValue::from(asked));
    }
    if matches!(error, ApiError::NotCached) {
        // Its status alone would make OpenAI's clients ask again.
        headers.insert(&SHOULD_RETRY, HeaderValue::from_static("false"));
    }
    if let ApiError::MethodNotAllowed { allowed } = error {
        headers.insert(header::ALLOW, HeaderValue::from_static(allowed));
    }
    let body = format.api().error(error, id);
    let mut response = respond(headers, false, Body::Full(Bytes::from(body.to_string())));
    *response.status_mut() = error.status();
    response
}

pub(super) fn describe(headers: &mut HeaderMap, provider: &str, model: &str, attempts: u32) {
    put(headers, &PROVIDER, provider);
    put(headers, &MODEL, model);
    headers.insert(&ATTEMPTS, HeaderValue::from(attempts));
}

/// How often another target had to be asked.
pub(super) fn fallbacks(headers: &mut HeaderMap, fallbacks: u32) {
    headers.insert(&FALLBACKS, HeaderValue::from(fallbacks));
}

/// Tells which fields of the request the target did not get.
pub(super) fn tell_dropped(headers: &mut HeaderMap, dropped: &[String]) {
    if !dropped.is_empty() {
        put(headers, &DROPPED, &dropped.join(", "));
    }
}

/// The gateway's own share of the time until the answer's head.
pub(super) fn overhead(
    headers: &mut HeaderMap,
    gateway: &Gateway,
    call: &Call,
    source: &'static str,
    waited: Duration,
) {
    let total = call.started.elapsed();
    let own = total.saturating_sub(waited);
    gateway.metrics.timed(source, total, own);
    put(headers, &OVERHEAD, &decimals(u64::try_from(own.as_micros()).unwrap_or(u64::MAX), 3));
}

/// A number with so many digits behind the point, which `scaled` has before it.
pub(super) fn decimals(scaled: u64, digits: u32) -> String {
    let unit = 10_u64.pow(digits);
    format!("{}.{:0width$}", scaled / unit, scaled % unit, width = digits as usize)
}

/// Header values made of names; one that can't stand in a header is left out.
pub(super) fn put(headers: &mut HeaderMap, name: &'static HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

pub(super) fn unix_seconds() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |d| d.as_secs())
}
