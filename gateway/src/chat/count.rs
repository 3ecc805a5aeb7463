//! `POST /v1/messages/count_tokens`: how many tokens a request would take. A provider that can count is asked, past the same guards
//! as for an answer; where none can, or none does, it is an estimate, and told as one.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, Method, Response, StatusCode, header};
use http_body_util::{BodyExt, Limited};
use serde_json::{Value, json};
use tokio::time::{Instant, timeout_at};

use super::external::Guarded;
use super::guards::Inspected;
use super::request::ChatRequest;
use super::{Call, LARGE_BODY, external, guards, passed};
use crate::body::Body;
use crate::client_api::anthropic_messages::{estimate, parse};
use crate::config::Phase;
use crate::endpoints::json_response;
use crate::error::ApiError;
use crate::gateway::{Core, Gateway};
use crate::provider_api::{EncodeError, Encoded, ErrorAnswer};
use crate::raw::Raw;
use crate::route::Target;
use crate::route::asking::Refused;
use crate::route::passed::{About, Answered, Passed};

/// Larger answers are none.
const MAX_ANSWER: usize = 64 * 1024;

/// Counts the tokens of a request.
///
/// # Errors
/// As for an answer, as far as it is about the request itself.
pub async fn count(core: &Arc<Core>, call: &Arc<Call>, body: Raw<Bytes>) -> Result<Response<Body>, ApiError> {
    let (mut request, targets, Inspected { vault, original, .. }) = if body.len() < LARGE_BODY {
        read(&core.gateway, call, &body)?
    } else {
        let (gateway, call) = (Arc::clone(&core.gateway), Arc::clone(call));
        // As with requests for answers.
        let reading = tokio::task::spawn_blocking(move || read(&gateway, &call, &body));
        reading.await.map_err(|_| ApiError::Internal)??
    };
    if core.gateway.external.is_asked(Phase::Input) {
        let guarded = Guarded { request, vault };
        let asked = external::input(core, call, &targets, guarded, original);
        request = Box::pin(asked).await?.request;
    }
    let until = Instant::now() + core.gateway.timeouts.until_first_byte(false);
    for target in &targets {
        let how = target.provider.encoding(&target.model, false, target.drop_params);
        let Some(counting) = target.api(request.format).count(&request, &how) else { continue };
        match ask(core, &request, (target, counting), until).await {
            Ok(counted) => return Ok(json_response(&counted)),
            Err(Uncounted::Refused(error)) => return Err(*error),
            Err(Uncounted::Failed(why)) => {
                tracing::warn!(request_id = call.id, tried = target.name(), why, "a target did not count");
            }
        }
    }
    let mut response = json_response(&json!({ "input_tokens": estimate::tokens(request.said()) }));
    response.headers_mut().insert("x-sluice-estimated", HeaderValue::from_static("true"));
    Ok(response)
}

fn read(
    gateway: &Gateway,
    call: &Call,
    body: &Raw<Bytes>,
) -> Result<(ChatRequest, Vec<Target>, Inspected), ApiError> {
    let mut request = parse(body.expose(), false)?;
    request.passed = passed(call);
    let mut targets = gateway.routes.resolve_for(&call.caller, &request.model)?;
    let inspected = guards::input(gateway, call, &mut request, &mut targets)?;
    Ok((request, targets, inspected))
}

/// Why a provider did not count.
enum Uncounted {
    /// The request is wrong.
    Refused(Box<ApiError>),
    /// It could not be asked, or did not answer: in a word.
    Failed(&'static str),
}

/// Where and what a target is asked.
type Counting = Result<(String, Encoded), EncodeError>;

async fn ask(
    core: &Core,
    request: &ChatRequest,
    (target, counting): (&Target, Counting),
    until: Instant,
) -> Result<Value, Uncounted> {
    let failed = Uncounted::Failed;
    let question = question(request, (target, counting), until)?;
    let asking = super::asking(core, &core.gateway.timeouts);
    let outcome = asking.pass(&question).await.map_err(|_| failed("no_answer"))?;
    let (status, headers, body) = match outcome.answered {
        Answered::Refused(Refused { head, body }) => (head.status, head.headers, body),
        Answered::Coming(response, mut watched) => {
            let (head, body) = response.into_parts();
            let read = timeout_at(until, Limited::new(body, MAX_ANSWER).collect()).await;
            let body = read.map_err(|_| failed("timeout"))?.map_err(|_| failed("no_answer"))?;
            watched.succeeded();
            (head.status, head.headers, body.to_bytes())
        }
    };
    if matches!(status, StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE) {
        let answer = ErrorAnswer { status, headers: &headers, body: &body };
        if let Some(error) = target.api(request.format).decode_error(&answer) {
            return Err(Uncounted::Refused(Box::new(ApiError::Provider { status, error })));
        }
    }
    let counted: Option<Value> = serde_json::from_slice(&body).ok();
    let counted = counted.filter(|counted| status.is_success() && counted["input_tokens"].is_u64());
    counted.ok_or(failed("no_answer"))
}

/// The request as its provider counts it, asked by this time and in one round: an estimate is there at once.
fn question(
    request: &ChatRequest,
    (target, counting): (&Target, Counting),
    until: Instant,
) -> Result<Passed, Uncounted> {
    let (path, Encoded { body, mut headers, .. }) = counting.map_err(|_| Uncounted::Failed("unsupported"))?;
    let json = HeaderValue::from_static("application/json");
    headers.extend([(header::CONTENT_TYPE, json.clone()), (header::ACCEPT, json)]);
    Ok(Passed {
        target: target.clone(),
        method: Method::POST,
        address: (format!("{}{path}", target.provider.base_url), String::new()),
        headers,
        body,
        secured: request.secured().cloned(),
        stream: false,
        about: About::Model,
        patience: Some(until.saturating_duration_since(Instant::now())),
        retries: Some(0),
    })
}
