//! One attempt at a target: what is sent, and how its answer begins.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::{Bytes, BytesMut};
use http::response::Parts;
use http::{Response, StatusCode, header};
use http_body_util::BodyExt;
use sluice_guardrails::Leak;
use sluice_guardrails::proof::Spot;
use tokio::time::{Instant, timeout_at};

use super::answer::{Chunks, Source};
use super::failover::{Failed, Question};
use super::failure::Failure;
use super::health::Attempt;
use super::retry_after::retry_after;
use super::{Routes, Target};
use crate::audit::Audit;
use crate::chat::LARGE_BODY;
use crate::chat::request::{ChatRequest, Secured};
use crate::config::{RetrySection, TimeoutSection};
use crate::ledger::Prices;
use crate::provider_api::{Encoded, ErrorAnswer, ProviderApi, Sent};
use crate::telemetry::metrics::Metrics;
use crate::upstream::{Check, Destination, Incoming, Outgoing, Unsent, Upstream};
use crate::wire::usage::Usage;

/// Error bodies are short; what is longer is a page for people.
const MAX_ERROR_BODY: usize = 64 * 1024;

/// How long the end of an answer that nobody gets is waited for, where its tokens are counted.
const WAITED_FOR_COUNTS: Duration = Duration::from_millis(200);

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
    /// What answers cost.
    pub prices: &'a Prices,
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

    /// What is sent to a target, if nothing that was redacted stands in it. Its credential is there by `first`.
    async fn outgoing(
        &self,
        (target, credential): (&Target, usize),
        request: &ChatRequest,
        first: Instant,
    ) -> Result<Ready, Failure> {
        let provider = &target.provider;
        let how = provider.encoding(&target.model, request.stream, target.drop_params);
        let api = target.api(request.format);
        let path = api.path(&how).map_err(Failure::Unsayable)?;
        let Encoded { body, headers, sent, dropped } =
            api.encode(request, &how).map_err(Failure::Unsayable)?;
        let credential = provider.credentials.get(credential);
        let ready = credential.ready_by(first, self.upstream).await.map_err(Failure::NoCredential)?;
        let to = Destination::of(provider, &path, ready).map_err(|e| Failure::Connection(e.to_string()))?;
        let to = to.with_headers(headers);
        let secured = request.secured().cloned();
        let accept = if request.stream { api.stream_type() } else { "application/json" };
        let size = body.len();
        let make = move |check: &Check<'_>| Outgoing::json(to, accept, &body, check);
        let outgoing = self.make((target, api), secured, size, make).await?;
        Ok(Ready { outgoing, sent, dropped })
    }

    /// Makes what is sent, with a body of this size, if nothing stands in it that is not to go there.
    pub(super) async fn make(
        &self,
        (target, api): (&Target, &'static dyn ProviderApi),
        secured: Option<Arc<Secured>>,
        size: usize,
        make: impl FnOnce(&Check<'_>) -> Result<Outgoing, Unsent> + Send + 'static,
    ) -> Result<Outgoing, Failure> {
        let checked = secured.clone();
        let make = move || {
            let protocol = |spot: &Spot<'_>| api.is_protocol(spot);
            make(&Check { secured: checked.as_deref(), protocol: &protocol })
        };
        let made = if secured.is_some() && size >= LARGE_BODY {
            // As with reading it.
            let making = tokio::task::spawn_blocking(make).await;
            making.map_err(|_| Failure::Connection("the request could not be made".to_owned()))?
        } else {
            make()
        };
        made.map_err(|unsent| match unsent {
            Unsent::Malformed(error) => Failure::Connection(error.to_string()),
            Unsent::Unsigned(words) => Failure::NoCredential(words),
            Unsent::Leak(Leak { entity }) => {
                self.unsent(target, secured.as_deref(), entity);
                Failure::Leak(Leak { entity })
            }
            Unsent::OutOfHouse(entity) => {
                self.unsent(target, secured.as_deref(), entity);
                Failure::OutOfHouse(entity)
            }
        })
    }

    /// Tells that nothing was sent.
    fn unsent(&self, target: &Target, secured: Option<&Secured>, entity: &'static str) {
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
        let api = target.api(request.format);
        let Ready { outgoing, sent, dropped } = self.outgoing((target, credential), request, first).await?;
        let sending = self.upstream.send(outgoing);
        let response = timeout_at(first, sending)
            .await
            .map_err(|_| Failure::Timeout("first_byte"))?
            .map_err(|e| Failure::Connection(e.to_string()))?;
        if !response.status().is_success() {
            return Err(refused(response, api, MAX_ERROR_BODY, first).await.0);
        }
        let idle = self.timeouts.idle.0;
        if !(request.stream && is_stream(&response, api)) {
            // Also for a provider that answers whole where a stream was asked for.
            let (head, body) = response.into_parts();
            let body = read_whole(body, self.max_answer, idle, deadline).await?;
            let answer = ErrorAnswer { status: head.status, headers: &head.headers, body: &body };
            let chunk = match api.decode_error(&answer) {
                Some(error) => return Err(Failure::reported(error)),
                None => api.decode_whole(&body, &sent).map_err(|e| Failure::NoAnswer(e.to_string()))?,
            };
            return Ok((Chunks::whole(chunk), dropped));
        }
        let source = Source {
            body: response.into_body(),
            decoder: api.stream(sent),
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

impl Question for ChatRequest {
    /// With what of the request was dropped.
    type Answer = (Chunks, Vec<String>);
    type Kept = ();

    fn stream(&self) -> bool {
        self.stream
    }

    fn rounds(&self, configured: u32) -> u32 {
        self.rounds(configured)
    }

    fn patience(&self) -> Option<Duration> {
        self.patience()
    }

    async fn ask(
        &self,
        asking: &Asking<'_>,
        asked: (&Target, usize),
        until: (Instant, Instant),
    ) -> Result<Self::Answer, Failed<()>> {
        let answer = asking.attempt(asked, self, until).await;
        answer.map_err(|failure| Failed { failure, kept: (), last: false })
    }

    fn began((chunks, _): &mut Self::Answer, mut attempt: Attempt) -> String {
        attempt.began(std::time::Instant::now());
        chunks.watch(attempt);
        "ok".to_owned()
    }

    fn is_filtered((chunks, _): &Self::Answer) -> bool {
        chunks.is_filtered()
    }

    async fn usage((chunks, _): Self::Answer) -> Option<Usage> {
        chunks.usage(Instant::now() + WAITED_FOR_COUNTS).await
    }
}

fn is_stream(response: &Response<Incoming>, api: &dyn ProviderApi) -> bool {
    let kind = response.headers().get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    kind.trim_start().to_ascii_lowercase().starts_with(api.stream_type())
}

/// An answer that says what is wrong, as it came. No `Debug`: it may quote what was asked.
pub(crate) struct Refused {
    /// Its status and headers.
    pub(crate) head: Parts,
    /// Its body.
    pub(crate) body: Bytes,
}

/// An answer with an error status: what it says, as far as it can be read in time and within the limit, and if that is all of it,
/// the answer itself.
pub(super) async fn refused(
    response: Response<Incoming>,
    api: &dyn ProviderApi,
    limit: usize,
    until: Instant,
) -> (Failure, Option<Refused>) {
    let status = response.status();
    let (head, mut body) = response.into_parts();
    let mut bytes = BytesMut::new();
    let whole = loop {
        match timeout_at(until, body.frame()).await {
            Ok(Some(Ok(frame))) => bytes.extend_from_slice(&frame.into_data().unwrap_or_default()),
            ended => break matches!(ended, Ok(None)),
        }
        if bytes.len() > limit {
            break false;
        }
    };
    let answer = ErrorAnswer { status, headers: &head.headers, body: &bytes };
    let error = api.decode_error(&answer);
    // A redirect is nothing that an API does: following one would carry the key elsewhere.
    let status = if status.is_redirection() { StatusCode::BAD_GATEWAY } else { status };
    let retry_after = retry_after(status, &head.headers, error.as_ref(), SystemTime::now());
    let refused = whole.then(|| Refused { head, body: bytes.freeze() });
    (Failure::Status { status, error, retry_after }, refused)
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
