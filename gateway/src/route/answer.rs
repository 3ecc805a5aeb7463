//! From targets to the first content of an answer: try, fall back, try again.
//!
//! Until the first content nothing has been sent to the client, so a failing target costs time and nothing else.

use std::collections::VecDeque;
use std::time::{Duration, SystemTime};

use bytes::{Bytes, BytesMut};
use http::{Response, StatusCode, header};
use http_body_util::BodyExt;
use sluice_guardrails::Leak;
use sluice_guardrails::proof::Spot;
use tokio::time::{Instant, timeout_at};

use super::Target;
use super::failure::{Failure, Next, retry_after};
use crate::audit::Audit;
use crate::chat::LARGE_BODY;
use crate::chat::request::ChatRequest;
use crate::config::{RetrySection, TimeoutSection};
use crate::error::ApiError;
use crate::provider_api::{StreamDecoder, StreamEvent};
use crate::telemetry::metrics::Metrics;
use crate::upstream::{Check, Destination, Incoming, Outgoing, Unsent, Upstream};
use crate::wire::chat::Chunk;

/// Error bodies are short; what is longer is a page for people.
const MAX_ERROR_BODY: usize = 64 * 1024;

/// What asking needs to know of the gateway.
pub struct Asking<'a> {
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

/// An answer whose first content is there.
pub struct Answer {
    /// Who answers.
    pub target: Target,
    /// How many attempts it took, this one included.
    pub attempts: u32,
    /// How long it took until the first content, with every failed attempt and pause.
    pub waited: Duration,
    /// The chunks.
    pub chunks: Chunks,
}

impl Asking<'_> {
    /// Asks the targets in order until one begins to answer. A target that asked to be left alone for a while is passed
    /// over while there are others.
    ///
    /// # Errors
    /// [`ApiError::Provider`] if a provider refuses the request itself, [`ApiError::TargetsFailed`] if none answers.
    pub async fn first_answer(&self, targets: &[Target], request: &ChatRequest) -> Result<Answer, ApiError> {
        let asked = Instant::now();
        let deadline = asked + self.timeouts.total.0;
        let mut waiting: Vec<(usize, Instant)> = (0..targets.len()).map(|at| (at, Instant::now())).collect();
        let (mut log, mut attempts, mut telling) = (Vec::new(), 0, None::<Failure>);
        for round in 0..=self.retry.rounds {
            for (at, not_before) in std::mem::take(&mut waiting) {
                if not_before > Instant::now() {
                    waiting.push((at, not_before));
                    continue;
                }
                if Instant::now() >= deadline {
                    let failure = telling.unwrap_or(Failure::Timeout("total"));
                    return Err(failure.into_error(log, None));
                }
                attempts += 1;
                let target = &targets[at];
                let failure = match self.attempt(target, request, deadline).await {
                    Ok(chunks) => {
                        self.metrics.attempt(&target.provider.name, "ok");
                        return Ok(Answer {
                            target: target.clone(),
                            attempts,
                            waited: asked.elapsed(),
                            chunks,
                        });
                    }
                    Err(failure) => failure,
                };
                self.note(target, &failure, &mut log);
                match failure.next() {
                    Next::Stop => return Err(failure.into_error(log, None)),
                    Next::Never => {}
                    Next::Again => {
                        waiting.push((at, Instant::now() + failure.retry_after().unwrap_or_default()));
                    }
                }
                if telling.as_ref().is_none_or(|other| failure.weight() >= other.weight()) {
                    telling = Some(failure);
                }
            }
            let Some(soonest) = waiting.iter().map(|(_, at)| *at).min() else { break };
            let left_alone = soonest.saturating_duration_since(Instant::now());
            let pause = left_alone.max(self.backoff(round));
            let too_long = pause > self.retry.max_backoff.0 || Instant::now() + pause >= deadline;
            if too_long || round == self.retry.rounds {
                let wait = (!left_alone.is_zero()).then_some(left_alone);
                return Err(telling.map_or(ApiError::Internal, |failure| failure.into_error(log, wait)));
            }
            tokio::time::sleep(pause).await;
        }
        Err(telling.map_or(ApiError::Internal, |failure| failure.into_error(log, None)))
    }

    fn note(&self, target: &Target, failure: &Failure, log: &mut Vec<String>) {
        let outcome = failure.outcome();
        self.metrics.attempt(&target.provider.name, &outcome);
        tracing::warn!(tried = target.name(), outcome, detail = failure.detail(), "a target did not answer");
        log.push(format!("{}: {outcome}", target.name()));
    }

    /// Exponential with jitter: between half of the pause and all of it, so that clients do not come back in step.
    fn backoff(&self, round: u32) -> Duration {
        let full =
            self.retry.backoff.0.saturating_mul(2_u32.saturating_pow(round)).min(self.retry.max_backoff.0);
        full.mul_f64(0.5 + fastrand::f64() / 2.0)
    }

    /// What is sent to a target, if nothing that was redacted stands in it.
    async fn outgoing(&self, target: &Target, request: &ChatRequest) -> Result<Outgoing, Failure> {
        let provider = &target.provider;
        let to = Destination::of(provider).map_err(|e| Failure::Connection(e.to_string()))?;
        let body = provider.api.encode(request, &target.model, provider.stream_usage);
        let (api, stream, secured) = (provider.api, request.stream, request.secured().cloned());
        let is_large = secured.is_some() && body.len() >= LARGE_BODY;
        let make = move || {
            let protocol = |spot: &Spot<'_>| api.is_protocol(spot);
            Outgoing::json(to, stream, body, &Check { secured: secured.as_deref(), protocol: &protocol })
        };
        let made = if is_large {
            // As with reading it.
            let making = tokio::task::spawn_blocking(make).await;
            making.map_err(|_| Failure::Connection("the request could not be made".to_owned()))?
        } else {
            make()
        };
        made.map_err(|unsent| match unsent {
            Unsent::Malformed(error) => Failure::Connection(error.to_string()),
            Unsent::Leak(Leak { entity }) => {
                self.unsent(target, request, entity);
                Failure::Leak(Leak { entity })
            }
            Unsent::OutOfHouse(entity) => {
                self.unsent(target, request, entity);
                Failure::OutOfHouse(entity)
            }
        })
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

    async fn attempt(
        &self,
        target: &Target,
        request: &ChatRequest,
        deadline: Instant,
    ) -> Result<Chunks, Failure> {
        let provider = &target.provider;
        let outgoing = self.outgoing(target, request).await?;
        let first = (Instant::now() + self.timeouts.until_first_byte(request.stream)).min(deadline);
        let sent = self.upstream.send(outgoing);
        let response = timeout_at(first, sent)
            .await
            .map_err(|_| Failure::Timeout("first_byte"))?
            .map_err(|e| Failure::Connection(e.to_string()))?;
        if !response.status().is_success() {
            return Err(refused(response, target, first).await);
        }
        let idle = self.timeouts.idle.0;
        if !(request.stream && is_event_stream(&response)) {
            // Also for a provider that answers whole where a stream was asked for.
            let body = read_whole(response.into_body(), self.max_answer, idle, deadline).await?;
            let chunk = match provider.api.decode_error(&body) {
                Some(_) => return Err(Failure::NoAnswer("an error with status 200".to_owned())),
                None => provider.api.decode_whole(&body).map_err(|e| Failure::NoAnswer(e.to_string()))?,
            };
            return Ok(Chunks::whole(chunk));
        }
        let source = Source {
            body: response.into_body(),
            decoder: provider.api.stream(),
            idle: None,
            deadline,
            left: self.max_answer,
        };
        let mut chunks = Chunks::stream(source);
        chunks.hold_until_content(first).await?;
        chunks.limit_silence(idle);
        Ok(chunks)
    }
}

fn is_event_stream(response: &Response<Incoming>) -> bool {
    let kind = response.headers().get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    kind.trim_start().to_ascii_lowercase().starts_with("text/event-stream")
}

/// An answer with an error status: what it says, as far as it can be read in time.
async fn refused(response: Response<Incoming>, target: &Target, until: Instant) -> Failure {
    let status = response.status();
    let retry_after = retry_after(response.headers(), SystemTime::now());
    let mut body = response.into_body();
    let mut bytes = BytesMut::new();
    while let Ok(Some(Ok(frame))) = timeout_at(until, body.frame()).await {
        if let Ok(data) = frame.into_data() {
            bytes.extend_from_slice(&data);
        }
        if bytes.len() > MAX_ERROR_BODY {
            break;
        }
    }
    // A redirect is nothing that an API does: following one would carry the key elsewhere.
    let status = if status.is_redirection() { StatusCode::BAD_GATEWAY } else { status };
    Failure::Status { status, error: target.provider.api.decode_error(&bytes), retry_after }
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

/// The chunks of an answer: those held back until the first content, then those still to come.
pub struct Chunks {
    held: VecDeque<Chunk>,
    source: Option<Source>,
    broken: Option<Broken>,
    done: bool,
}

struct Source {
    body: Incoming,
    decoder: Box<dyn StreamDecoder>,
    /// Longest silence; none until the first content, for which there is a limit of its own.
    idle: Option<Duration>,
    deadline: Instant,
    /// Bytes that may still come.
    left: u64,
}

/// Why a stream ended without its terminator.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Broken {
    /// The connection ended.
    #[error("the provider's stream was cut before its end")]
    Cut,
    /// Nothing came for too long.
    #[error("the provider's stream stalled (timeouts.idle)")]
    Stalled,
    /// It went on for too long.
    #[error("the answer took longer than a request may take (timeouts.total)")]
    Total,
    /// It is too large.
    #[error("the answer is larger than an answer may be (limits.max_answer)")]
    TooLarge,
    /// The provider said so.
    #[error("the provider reported an error in the middle of its stream")]
    Reported,
    /// The bytes are no stream of this provider API.
    #[error("the provider's stream can't be read: {0}")]
    Garbled(String),
    /// The policy does not let it go on.
    #[error("the answer was ended by policy: it holds {0}, which must not be passed on (guardrails.output)")]
    Blocked(&'static str),
    /// A guard of others does not let it go on, or can't be asked.
    #[error("{0}")]
    Refused(Box<ApiError>),
    /// Nobody took it.
    #[error("the answer was given up")]
    GivenUp,
}

impl From<Broken> for ApiError {
    fn from(broken: Broken) -> Self {
        match broken {
            Broken::Blocked(entity) => Self::AnswerBlocked { entity },
            Broken::Refused(error) => *error,
            broken => Self::StreamBroken(broken.to_string()),
        }
    }
}

impl Chunks {
    /// An answer that is there at once.
    pub fn whole(chunk: Chunk) -> Self {
        Self { held: VecDeque::from([chunk]), source: None, broken: None, done: true }
    }

    fn stream(source: Source) -> Self {
        Self { held: VecDeque::new(), source: Some(source), broken: None, done: false }
    }

    /// The next chunk; none when the terminator was seen.
    ///
    /// # Errors
    /// [`Broken`], once.
    pub async fn next(&mut self) -> Result<Option<Chunk>, Broken> {
        loop {
            if let Some(chunk) = self.held.pop_front() {
                return Ok(Some(chunk));
            }
            if let Some(broken) = self.broken.take() {
                return Err(broken);
            }
            if self.done {
                return Ok(None);
            }
            self.read().await;
        }
    }

    /// Reads on, keeping every chunk, until one has content.
    async fn hold_until_content(&mut self, until: Instant) -> Result<(), Failure> {
        loop {
            if self.held.iter().any(Chunk::has_content) {
                return Ok(());
            }
            match self.broken.take() {
                None if self.done => {
                    return Err(Failure::NoAnswer("the stream ended without content".to_owned()));
                }
                None => {}
                Some(Broken::Total) => return Err(Failure::Timeout("total")),
                Some(broken) => return Err(Failure::NoAnswer(broken.to_string())),
            }
            if timeout_at(until, self.read()).await.is_err() {
                return Err(Failure::Timeout("first_byte"));
            }
        }
    }

    fn limit_silence(&mut self, idle: Duration) {
        if let Some(source) = &mut self.source {
            source.idle = Some(idle);
        }
    }

    /// Reads one part of the body. Trouble is kept until the chunks before it are taken.
    async fn read(&mut self) {
        if let Err(broken) = self.read_part().await {
            self.source = None;
            self.done = true;
            self.broken = Some(broken);
        }
    }

    async fn read_part(&mut self) -> Result<(), Broken> {
        let Some(source) = &mut self.source else { return Err(Broken::Cut) };
        let silence = source.idle.map_or(source.deadline, |idle| Instant::now() + idle);
        let frame = match timeout_at(silence.min(source.deadline), source.body.frame()).await {
            Err(_) if Instant::now() >= source.deadline => return Err(Broken::Total),
            Err(_) => return Err(Broken::Stalled),
            Ok(None | Some(Err(_))) => return Err(Broken::Cut),
            Ok(Some(Ok(frame))) => frame,
        };
        let Ok(data) = frame.into_data() else { return Ok(()) };
        source.left = source.left.checked_sub(data.len() as u64).ok_or(Broken::TooLarge)?;
        let mut events = Vec::new();
        let decoded = source.decoder.push(&data, &mut events);
        for event in events {
            match event {
                StreamEvent::Chunk(chunk) => self.held.push_back(chunk),
                StreamEvent::Error(_) => return Err(Broken::Reported),
                StreamEvent::Done => {
                    self.done = true;
                    if let Some(source) = self.source.take() {
                        tokio::spawn(drain(source.body));
                    }
                    return Ok(());
                }
            }
        }
        decoded.map_err(|error| Broken::Garbled(error.to_string()))
    }
}

/// Reads what comes after the terminator, which is the end of the body: a connection is used again only after it.
async fn drain(mut body: Incoming) {
    let rest = async { while let Some(Ok(_)) = body.frame().await {} };
    drop(tokio::time::timeout(Duration::from_millis(200), rest).await);
}
