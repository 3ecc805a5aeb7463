//! One attempt at a target, and the chunks of an answer whose first content is there.

use std::collections::VecDeque;
use std::time::{Duration, SystemTime};

use bytes::{Bytes, BytesMut};
use http::{Response, StatusCode, header};
use http_body_util::BodyExt;
use serde_json::Value;
use sluice_guardrails::Leak;
use sluice_guardrails::proof::Spot;
use tokio::time::{Instant, timeout_at};

use super::failure::{CONTENT_FILTER, Failure};
use super::health::Attempt;
use super::retry_after::retry_after;
use super::{Routes, Target};
use crate::audit::Audit;
use crate::chat::LARGE_BODY;
use crate::chat::request::ChatRequest;
use crate::config::{RetrySection, TimeoutSection};
use crate::error::ApiError;
use crate::provider_api::{Encoded, ErrorAnswer, ProviderApi, Sent, StreamDecoder, StreamEvent};
use crate::telemetry::metrics::Metrics;
use crate::upstream::{Check, Destination, Incoming, Outgoing, Unsent, Upstream};
use crate::wire::chat::Chunk;

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

/// An answer whose first content is there.
pub struct Answer {
    /// Who answers.
    pub target: Target,
    /// How many attempts it took, this one included.
    pub attempts: u32,
    /// How often another target had to be asked.
    pub fallbacks: u32,
    /// How long it took until the first content, with every failed attempt and pause.
    pub waited: Duration,
    /// Fields of the request that this target does not take, and did not get.
    pub dropped: Vec<String>,
    /// The chunks.
    pub chunks: Chunks,
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
        let api = target.api(request.format);
        let path = api.path(&how).map_err(Failure::Unsayable)?;
        let Encoded { body, headers, sent, dropped } =
            api.encode(request, &how).map_err(Failure::Unsayable)?;
        let credential = provider.credentials.get(credential);
        let ready = credential.ready(self.upstream).await.map_err(Failure::NoCredential)?;
        let to = Destination::of(provider, &path, ready).map_err(|e| Failure::Connection(e.to_string()))?;
        let to = to.with_headers(headers);
        let secured = request.secured().cloned();
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
            Unsent::Unsigned(words) => Failure::NoCredential(words),
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
        let api = target.api(request.format);
        let Ready { outgoing, sent, dropped } = self.outgoing((target, credential), request).await?;
        let sending = self.upstream.send(outgoing);
        let response = timeout_at(first, sending)
            .await
            .map_err(|_| Failure::Timeout("first_byte"))?
            .map_err(|e| Failure::Connection(e.to_string()))?;
        if !response.status().is_success() {
            return Err(refused(response, api, first).await);
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

fn is_stream(response: &Response<Incoming>, api: &dyn ProviderApi) -> bool {
    let kind = response.headers().get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    kind.trim_start().to_ascii_lowercase().starts_with(api.stream_type())
}

/// An answer with an error status: what it says, as far as it can be read in time.
async fn refused(response: Response<Incoming>, api: &dyn ProviderApi, until: Instant) -> Failure {
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
    let error = api.decode_error(&answer);
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

/// The chunks of an answer: those held back until the first content, then those still to come.
pub struct Chunks {
    held: VecDeque<Chunk>,
    source: Option<Source>,
    broken: Option<Broken>,
    done: bool,
    /// Learns how the target does until the answer's end.
    attempt: Option<Attempt>,
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
    /// The provider said that its content policy does not let it answer: as OpenAI's error object.
    #[error("the provider's content policy ended the stream")]
    Filtered(Box<Value>),
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

impl Broken {
    /// Whether it tells something of the target.
    fn is_the_target_s(&self) -> bool {
        match self {
            Self::Cut | Self::Stalled | Self::Reported | Self::Garbled(_) => true,
            Self::Total
            | Self::TooLarge
            | Self::Blocked(_)
            | Self::Refused(_)
            | Self::Filtered(_)
            | Self::GivenUp => false,
        }
    }
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
        Self { held: VecDeque::from([chunk]), source: None, broken: None, done: true, attempt: None }
    }

    /// An answer that is read without waiting for content, by a decoder that may be any: `limit` bytes of it at most.
    pub fn passing(
        body: Incoming,
        decoder: Box<dyn StreamDecoder>,
        (idle, deadline): (Duration, Instant),
        limit: u64,
    ) -> Self {
        Self::stream(Source { body, decoder, idle: Some(idle), deadline, left: limit })
    }

    fn stream(source: Source) -> Self {
        Self { held: VecDeque::new(), source: Some(source), broken: None, done: false, attempt: None }
    }

    /// From now on the attempt learns how it ends.
    pub(super) fn watch(&mut self, attempt: Attempt) {
        self.attempt = Some(attempt);
        if self.done {
            self.learn();
        }
    }

    /// The answer ended: well, or as `broken` says.
    fn learn(&mut self) {
        let Some(attempt) = self.attempt.take() else { return };
        let now = std::time::Instant::now();
        match &self.broken {
            None => attempt.succeeded(now),
            Some(broken) if broken.is_the_target_s() => attempt.failed(now),
            Some(_) => attempt.excused(),
        }
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
                Some(Broken::Filtered(error)) => return Err(Failure::reported(*error)),
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
        if self.done {
            self.learn();
        }
    }

    async fn read_part(&mut self) -> Result<(), Broken> {
        let Some(source) = &mut self.source else { return Err(Broken::Cut) };
        let silence = source.idle.map_or(source.deadline, |idle| Instant::now() + idle);
        let frame = match timeout_at(silence.min(source.deadline), source.body.frame()).await {
            Err(_) if Instant::now() >= source.deadline => return Err(Broken::Total),
            Err(_) => return Err(Broken::Stalled),
            Ok(Some(Err(_))) => return Err(Broken::Cut),
            Ok(None) => {
                let mut events = Vec::new();
                source.decoder.finish(&mut events);
                self.take(events)?;
                return if self.done { Ok(()) } else { Err(Broken::Cut) };
            }
            Ok(Some(Ok(frame))) => frame,
        };
        let Ok(data) = frame.into_data() else { return Ok(()) };
        source.left = source.left.checked_sub(data.len() as u64).ok_or(Broken::TooLarge)?;
        let mut events = Vec::new();
        let decoded = source.decoder.push(&data, &mut events);
        self.take(events)?;
        if self.done { Ok(()) } else { decoded.map_err(|error| Broken::Garbled(error.to_string())) }
    }

    fn take(&mut self, events: Vec<StreamEvent>) -> Result<(), Broken> {
        for event in events {
            match event {
                StreamEvent::Chunk(chunk) => self.held.push_back(chunk),
                StreamEvent::Error(error) if error["code"] == CONTENT_FILTER => {
                    return Err(Broken::Filtered(Box::new(error)));
                }
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
        Ok(())
    }
}

/// Reads what comes after the terminator, which is the end of the body: a connection is used again only after it.
async fn drain(mut body: Incoming) {
    let rest = async { while let Some(Ok(_)) = body.frame().await {} };
    drop(tokio::time::timeout(Duration::from_millis(200), rest).await);
}
