//! The chunks of an answer whose first content is there.

use std::collections::VecDeque;
use std::time::Duration;

use http_body_util::BodyExt;
use serde_json::Value;
use tokio::time::{Instant, timeout_at};

use super::Target;
use super::failure::{CONTENT_FILTER, Failure};
use super::health::Attempt;
use super::passed::Watched;
use crate::error::ApiError;
use crate::provider_api::{StreamDecoder, StreamEvent};
use crate::upstream::Incoming;
use crate::wire::chat::Chunk;
use crate::wire::usage::Usage;

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

/// The chunks of an answer: those held back until the first content, then those still to come.
pub struct Chunks {
    held: VecDeque<Chunk>,
    source: Option<Source>,
    broken: Option<Broken>,
    done: bool,
    /// It came at once.
    whole: bool,
    /// Learns how the target does until the answer's end.
    attempt: Option<Attempt>,
}

/// Where chunks come from.
pub(super) struct Source {
    pub(super) body: Incoming,
    pub(super) decoder: Box<dyn StreamDecoder>,
    /// Longest silence; none until the first content, for which there is a limit of its own.
    pub(super) idle: Option<Duration>,
    pub(super) deadline: Instant,
    /// Bytes that may still come.
    pub(super) left: u64,
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
        Self {
            held: VecDeque::from([chunk]),
            source: None,
            broken: None,
            done: true,
            whole: true,
            attempt: None,
        }
    }

    /// An answer that is read without waiting for content, by a decoder that may be any: `limit` bytes of it at most.
    pub(crate) fn passing(
        body: Incoming,
        decoder: Box<dyn StreamDecoder>,
        (idle, deadline): (Duration, Instant),
        limit: u64,
        watched: Watched,
    ) -> Self {
        let mut chunks = Self::stream(Source { body, decoder, idle: Some(idle), deadline, left: limit });
        chunks.attempt = watched.take();
        chunks
    }

    /// An answer that comes by and by.
    pub(super) fn stream(source: Source) -> Self {
        Self {
            held: VecDeque::new(),
            source: Some(source),
            broken: None,
            done: false,
            whole: false,
            attempt: None,
        }
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
    pub(super) async fn hold_until_content(&mut self, until: Instant) -> Result<(), Failure> {
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

    /// Whether its vendor did not want to give it: by policy it ends as a whole, or as a stream before it has words.
    pub(super) fn is_filtered(&self) -> bool {
        let choices = self.held.iter().flat_map(|chunk| &chunk.choices);
        let mut ends = choices.filter_map(|choice| choice.finish_reason.as_deref()).peekable();
        ends.peek().is_some()
            && ends.all(|end| end == CONTENT_FILTER)
            && (self.whole || !self.held.iter().any(Chunk::has_words))
    }

    /// What it took, as far as its provider says so by then.
    pub(super) async fn usage(mut self, until: Instant) -> Option<Usage> {
        let rest = async {
            while !self.done {
                self.read().await;
            }
        };
        drop(timeout_at(until, rest).await);
        self.held.iter().rev().find_map(|chunk| chunk.usage.clone())
    }

    /// From now on it may be silent for no longer than this.
    pub(super) fn limit_silence(&mut self, idle: Duration) {
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
