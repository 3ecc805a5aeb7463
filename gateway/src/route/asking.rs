//! One attempt at a target: what is sent, and how its answer begins.

use std::time::{Duration, SystemTime};

use bytes::{Bytes, BytesMut};
use http::{Response, StatusCode, header};
use http_body_util::BodyExt;
use sluice_guardrails::Leak;
use sluice_guardrails::proof::Spot;
use tokio::time::{Instant, timeout_at};

use super::answer::{Chunks, Source};
use super::failure::Failure;
use super::retry_after::retry_after;
use super::{Routes, Target};
use crate::audit::Audit;
use crate::chat::LARGE_BODY;
use crate::chat::request::ChatRequest;
use crate::config::{RetrySection, TimeoutSection};
use crate::provider_api::{Encoded, ErrorAnswer, ProviderApi, Sent};
use crate::telemetry::metrics::Metrics;
use crate::upstream::{Check, Destination, Incoming, Outgoing, Unsent, Upstream};

/// Error bodies are short; what is longer is a page for people.
const MAX_ERROR_BODY: usize = 64 * 1024;

/// What asking needs to know of the gateway.
pub struct Asking<'a> {
    /// Who may be asked.
    pub routes: &'a Routes,
    /// The outbound connections.
    pub upstream: &'a Upstream,
    /// How long to wait.
    pub timeouts: &'a TimeoutSection,
    /// How often to try again.
    pub retry: &'a RetrySection,
    /// Largest whole answer in bytes.
    pub max_answer: u64,
    /// Where attempts are counted.
    pub metrics: &'a Metrics,
    /// Where it is written down that nothing was sent.
    pub audit: Option<&'a Audit>,
}

/// A request that may be sent, and what goes with it.
struct Ready {
    outgoing: Outgoing,
    sent: Sent,
    dropped: Vec<String>,
}

impl Asking<'_> {
    /// Writes a failed attempt down.
    pub(super) fn note(&self, target: &Target, failure: &Failure, log: &mut Vec<String>) {
        let outcome = failure.outcome();
        self.metrics.attempt(&target.provider.name, &outcome);
        tracing::warn!(tried = target.name(), outcome, detail = failure.detail(), "a target did not answer");
        log.push(format!("{}: {outcome}", target.name()));
    }

    /// What is sent to a target, if nothing that was redacted stands in it.
    async fn outgoing(
        &self,
        (target, credential): (&Target, usize),
        request: &ChatRequest,
    ) -> Result<Ready, Failure> {
        let provider = &target.provider;
        let how = provider.encoding(&target.model, request.stream, target.drop_params);
        let path = provider.api.path(&how).map_err(Failure::Unsayable)?;
        let Encoded { body, headers, sent, dropped } =
            provider.api.encode(request, &how).map_err(Failure::Unsayable)?;
        let credential = provider.credentials.get(credential);
        let ready = credential.ready(self.upstream).await.map_err(Failure::Connection)?;
        let to = Destination::of(provider, &path, ready).map_err(|e| Failure::Connection(e.to_string()))?;
        let to = to.with_headers(headers);
        let (api, secured) = (provider.api, request.secured().cloned());
        let accept = if request.stream { api.stream_type() } else { "application/json" };
        let is_large = secured.is_some() && body.len() >= LARGE_BODY;
        let make = move || {
            let protocol = |spot: &Spot<'_>| api.is_protocol(spot);
            Outgoing::json(to, accept, &body, &Check { secured: secured.as_deref(), protocol: &protocol })
        };
        let made = if is_large {
            // As with reading it.
            let making = tokio::task::spawn_blocking(make).await;
            making.map_err(|_| Failure::Connection("the request could not be made".to_owned()))?
        } else {
            make()
        };
        let outgoing = made.map_err(|unsent| match unsent {
            Unsent::Malformed(error) => Failure::Connection(error.to_string()),
            Unsent::Unsigned(words) => Failure::Connection(words),
            Unsent::Leak(Leak { entity }) => {
                self.unsent(target, request, entity);
                Failure::Leak(Leak { entity })
            }
            Unsent::OutOfHouse(entity) => {
                self.unsent(target, request, entity);
                Failure::OutOfHouse(entity)
            }
        })?;
        Ok(Ready { outgoing, sent, dropped })
    }

    /// Tells that nothing was sent.
    fn unsent(&self, target: &Target, request: &ChatRequest, entity: &'static str) {
        let secured = request.secured();
        self.metrics.postcondition();
        tracing::error!(
            request_id = secured.map(|secured| secured.subject.request_id.as_str()),
            tried = target.name(),
            entity,
            "a value stood in what was to be sent that is not to go there, so nothing was: please report how that came about"
        );
        if let (Some(audit), Some(secured)) = (self.audit, secured) {
            audit.unsent(secured, entity);
        }
    }

    /// Asks one target once with the credential of this number, up to the first content of its answer; with it comes what of the
    /// request was dropped. The content is there by `first`, all of it by `deadline`.
    pub(super) async fn attempt(
        &self,
        (target, credential): (&Target, usize),
        request: &ChatRequest,
        (first, deadline): (Instant, Instant),
    ) -> Result<(Chunks, Vec<String>), Failure> {
        let provider = &target.provider;
        let Ready { outgoing, sent, dropped } = self.outgoing((target, credential), request).await?;
        let sending = self.upstream.send(outgoing);
        let response = timeout_at(first, sending)
            .await
            .map_err(|_| Failure::Timeout("first_byte"))?
            .map_err(|e| Failure::Connection(e.to_string()))?;
        if !response.status().is_success() {
            return Err(refused(response, target, first).await);
        }
        let idle = self.timeouts.idle.0;
        if !(request.stream && is_stream(&response, provider.api)) {
            // Also for a provider that answers whole where a stream was asked for.
            let (head, body) = response.into_parts();
            let body = read_whole(body, self.max_answer, idle, deadline).await?;
            let answer = ErrorAnswer { status: head.status, headers: &head.headers, body: &body };
            let chunk = match provider.api.decode_error(&answer) {
                Some(error) => return Err(Failure::reported(error)),
                None => {
                    provider.api.decode_whole(&body, &sent).map_err(|e| Failure::NoAnswer(e.to_string()))?
                }
            };
            return Ok((Chunks::whole(chunk), dropped));
        }
        let source = Source {
            body: response.into_body(),
            decoder: provider.api.stream(sent),
            idle: None,
            deadline,
            left: self.max_answer,
        };
        let mut chunks = Chunks::stream(source);
        chunks.hold_until_content(first).await?;
        chunks.limit_silence(idle);
        Ok((chunks, dropped))
    }
}

fn is_stream(response: &Response<Incoming>, api: &dyn ProviderApi) -> bool {
    let kind = response.headers().get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    kind.trim_start().to_ascii_lowercase().starts_with(api.stream_type())
}

/// An answer with an error status: what it says, as far as it can be read in time.
async fn refused(response: Response<Incoming>, target: &Target, until: Instant) -> Failure {
    let status = response.status();
    let (head, mut body) = response.into_parts();
    let mut bytes = BytesMut::new();
    while let Ok(Some(Ok(frame))) = timeout_at(until, body.frame()).await {
        if let Ok(data) = frame.into_data() {
            bytes.extend_from_slice(&data);
        }
        if bytes.len() > MAX_ERROR_BODY {
            break;
        }
    }
    let answer = ErrorAnswer { status, headers: &head.headers, body: &bytes };
    let error = target.provider.api.decode_error(&answer);
    // A redirect is nothing that an API does: following one would carry the key elsewhere.
    let status = if status.is_redirection() { StatusCode::BAD_GATEWAY } else { status };
    let retry_after = retry_after(status, &head.headers, error.as_ref(), SystemTime::now());
    Failure::Status { status, error, retry_after }
}

async fn read_whole(
    mut body: Incoming,
    limit: u64,
    idle: Duration,
    deadline: Instant,
) -> Result<Bytes, Failure> {
    let mut bytes = BytesMut::new();
    loop {
        match timeout_at((Instant::now() + idle).min(deadline), body.frame()).await {
            Err(_) => {
                return Err(Failure::Timeout(if Instant::now() >= deadline { "total" } else { "idle" }));
            }
            Ok(None) => return Ok(bytes.freeze()),
            Ok(Some(Err(error))) => return Err(Failure::Connection(format!("the answer was cut: {error}"))),
            Ok(Some(Ok(frame))) => {
                if let Ok(data) = frame.into_data() {
                    bytes.extend_from_slice(&data);
                }
            }
        }
        if bytes.len() as u64 > limit {
            return Err(Failure::NoAnswer(format!(
                "the answer is larger than {limit} bytes (limits.max_answer)"
            )));
        }
    }
}
