//! The way back: the provider's bytes as they come, or, where something is to be put back or looked for, event by event.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::response::Parts;
use http::{HeaderMap, Response, header};
use http_body_util::BodyExt;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use super::errors::{self, Shape};
use super::events::{Document, Events, Writer, document, written};
use super::frames::{self, FrameEvents};
use super::headers::told;
use super::usage::Tally;
use crate::body::{Body, Part};
use crate::chat::Call;
use crate::chat::foreign::{self, Answering, Cleared, Open};
use crate::error::ApiError;
use crate::gateway::Core;
use crate::provider_api::StreamDecoder;
use crate::route::Target;
use crate::route::answer::{Broken, Chunks};
use crate::route::asking::Refused;
use crate::route::passed::{Answered, Watched};
use crate::upstream::Incoming;
use crate::wire::frames::Frames;
use crate::wire::sse::SseDecoder;

/// Parts of an answer that may wait for a slow client; the provider waits with them.
const PARTS_IN_FLIGHT: usize = 16;

/// What an answer is, by its headers.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Events,
    Json,
    /// Frames of the provider's own.
    Frames,
    Other,
}

/// Everything that an answer passes on its way.
pub(super) struct Way<'a> {
    pub(super) core: &'a Arc<Core>,
    pub(super) call: &'a Arc<Call>,
    pub(super) target: &'a Target,
    pub(super) shape: Shape,
    /// How often the provider was asked.
    pub(super) attempts: u32,
    /// How long it took to begin.
    pub(super) waited: Duration,
    pub(super) deadline: Instant,
}

impl Way<'_> {
    /// The answer as the client gets it.
    pub(super) async fn back(self, answered: Answered, cleared: Cleared) -> Result<Response<Body>, ApiError> {
        match answered {
            Answered::Coming(response, watched) => self.coming(response, watched, cleared).await,
            Answered::Refused(Refused { head, body }) => {
                let kind = self.kind(&head.headers, &cleared, body.is_empty())?;
                let open = Open::new(&self.core.gateway, self.call, self.target);
                let body = if body.is_empty() || kind.passes(&cleared) {
                    open.close(None, "complete");
                    Body::Full(body)
                } else {
                    let whole = document(&body).map(Chunks::whole);
                    let answering = cleared.answer(whole.ok_or(Broken::Cut)?);
                    self.document(answering, open).await?
                };
                Ok(self.response(&head, kind, body))
            }
        }
    }

    /// An answer that comes by and by.
    async fn coming(
        &self,
        response: Response<Incoming>,
        mut watched: Watched,
        cleared: Cleared,
    ) -> Result<Response<Body>, ApiError> {
        let gateway = &self.core.gateway;
        let (head, body) = response.into_parts();
        let kind = self.kind(&head.headers, &cleared, is_empty(&body))?;
        let open = Open::new(gateway, self.call, self.target);
        let body = if is_empty(&body) {
            watched.succeeded();
            open.close(None, "complete");
            Body::Full(Bytes::new())
        } else if kind.passes(&cleared) {
            let (parts, stream) = mpsc::channel(PARTS_IN_FLIGHT);
            let (idle, deadline, limit) =
                (gateway.timeouts.idle.0, self.deadline, gateway.limits.max_answer.0);
            let forwarding = Forwarding { parts, open, watched, idle, deadline, limit };
            tokio::spawn(forwarding.run(body, Side::new(kind, limit)));
            Body::Stream(stream)
        } else {
            self.read((body, watched), cleared, kind, open).await?
        };
        Ok(self.response(&head, kind, body))
    }

    /// What an answer is, if it may be that.
    fn kind(&self, headers: &HeaderMap, cleared: &Cleared, is_empty: bool) -> Result<Kind, ApiError> {
        let kind = if is_compressed(headers) { Kind::Other } else { kind(headers, self.target) };
        if !kind.is_readable() && cleared.is_screened() && !is_empty {
            // Rules for answers hold for all of them.
            return Err(ApiError::StreamBroken(
                "the answer is of a kind that the rules for answers can't read (guardrails.output)"
                    .to_owned(),
            ));
        }
        Ok(kind)
    }

    fn response(&self, head: &Parts, kind: Kind, body: Body) -> Response<Body> {
        let mut headers = told(&head.headers, kind == Kind::Other && is_compressed(&head.headers));
        let how = (self.attempts, self.waited);
        headers.extend(foreign::head(&self.core.gateway, self.call, self.target, how));
        let mut response = Response::new(body);
        (*response.status_mut(), *response.headers_mut()) = (head.status, headers);
        response
    }

    /// An answer that is read and written anew.
    async fn read(
        &self,
        (body, watched): (Incoming, Watched),
        cleared: Cleared,
        kind: Kind,
        open: Open,
    ) -> Result<Body, ApiError> {
        let gateway = &self.core.gateway;
        let decoder: Box<dyn StreamDecoder> = match kind {
            Kind::Events => Box::<Events>::default(),
            Kind::Frames => Box::<FrameEvents>::default(),
            _ => Box::<Document>::default(),
        };
        let times = (gateway.timeouts.idle.0, self.deadline);
        let limit = gateway.limits.max_answer.0;
        let answering = cleared.answer(Chunks::passing(body, decoder, times, limit, watched));
        if kind != Kind::Json {
            let (parts, stream) = mpsc::channel(PARTS_IN_FLIGHT);
            let (shape, id) = (self.shape, self.call.id.clone());
            let (patience, framed) = (gateway.timeouts.idle.0, kind == Kind::Frames);
            let telling = Telling { parts, patience, shape, id, framed };
            tokio::spawn(telling.run(answering, open));
            return Ok(Body::Stream(stream));
        }
        self.document(answering, open).await
    }

    /// An answer that is written when all of it is there.
    async fn document(&self, answering: Answering, open: Open) -> Result<Body, ApiError> {
        let mut tally = Tally::default();
        match whole(answering, &mut tally).await {
            Ok(out) => {
                open.close(tally.finish().as_ref(), "complete");
                Ok(Body::Full(out))
            }
            Err(broken) => {
                open.close(tally.finish().as_ref(), "broken");
                Err(broken.into())
            }
        }
    }
}

impl Kind {
    fn is_readable(self) -> bool {
        self != Self::Other
    }

    /// Whether an answer of this kind goes on as it comes.
    fn passes(self, cleared: &Cleared) -> bool {
        !self.is_readable() || cleared.is_untouched()
    }
}

fn is_compressed(headers: &HeaderMap) -> bool {
    headers.get(header::CONTENT_ENCODING).is_some_and(|value| value != "identity")
}

fn is_empty(body: &Incoming) -> bool {
    http_body::Body::is_end_stream(body)
}

fn kind(headers: &HeaderMap, target: &Target) -> Kind {
    // What says nothing of itself is read as what APIs mostly send.
    let kind = headers
        .get(header::CONTENT_TYPE)
        .map_or("application/json", |value| value.to_str().unwrap_or_default());
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match kind.as_str() {
        "text/event-stream" => Kind::Events,
        kind if kind == target.provider.api.stream_type() => Kind::Frames,
        kind if kind.starts_with("text/") || kind.ends_with("json") => Kind::Json,
        _ => Kind::Other,
    }
}

/// A document of which every text was read.
async fn whole(mut answering: Answering, tally: &mut Tally) -> Result<Bytes, Broken> {
    let (mut writer, mut out) = (Writer::default(), BytesMut::new());
    while let Some(chunk) = answering.next().await? {
        for event in writer.push(chunk) {
            tally.read(&event);
            match event {
                Value::String(text) => out.extend_from_slice(text.as_bytes()),
                event => out.extend_from_slice(event.to_string().as_bytes()),
            }
        }
    }
    Ok(out.freeze())
}

/// A stream that is read and written anew, on its way to its client.
struct Telling {
    parts: mpsc::Sender<Part>,
    /// How long a client may take nothing.
    patience: Duration,
    shape: Shape,
    id: String,
    /// Whether its events go in frames.
    framed: bool,
}

impl Telling {
    async fn run(self, mut answering: Answering, open: Open) {
        let (mut writer, mut tally) = (Writer::default(), Tally::default());
        let outcome = loop {
            let next = tokio::select! {
                next = answering.next() => next,
                () = self.parts.closed() => break "client_gone",
            };
            let (out, ended) = match next {
                Ok(Some(chunk)) => {
                    let events = writer.push(chunk);
                    events.iter().for_each(|event| tally.read(frames::said(event)));
                    let written =
                        |event| if self.framed { frames::written(event) } else { Some(written(event)) };
                    match events.iter().map(written).collect::<Option<Vec<_>>>() {
                        Some(events) => (Bytes::from(events.concat()), None),
                        None => (self.ended_by(Broken::TooLarge), Some("broken")),
                    }
                }
                Ok(None) => (Bytes::new(), Some("complete")),
                Err(broken) => (self.ended_by(broken), Some("broken")),
            };
            if !out.is_empty() && self.parts.send_timeout(Part::Bytes(out), self.patience).await.is_err() {
                break "client_gone";
            }
            if let Some(outcome) = ended {
                drop(self.parts.send(Part::End).await);
                break outcome;
            }
        };
        open.close(tally.finish().as_ref(), outcome);
    }

    /// The last event of a stream that ends before its time.
    fn ended_by(&self, broken: Broken) -> Bytes {
        let error = broken.into();
        let body = self.shape.body(&error, &self.id);
        if self.framed { frames::exception(errors::exception(&error), &body) } else { written(&body) }
    }
}

/// Reads along what is forwarded, for what it took.
enum Side {
    Events(SseDecoder, Tally),
    Document(BytesMut, usize),
    Frames(Frames, Tally),
    Nothing,
}

impl Side {
    fn new(kind: Kind, limit: u64) -> Self {
        match kind {
            Kind::Events => Self::Events(SseDecoder::default(), Tally::default()),
            Kind::Json => Self::Document(BytesMut::new(), usize::try_from(limit).unwrap_or(usize::MAX)),
            Kind::Frames => Self::Frames(Frames::default(), Tally::default()),
            Kind::Other => Self::Nothing,
        }
    }

    fn push(&mut self, bytes: &[u8]) {
        match self {
            Self::Events(sse, tally) => {
                let mut events = Vec::new();
                let pushed = sse.push(bytes, &mut events);
                // Only few of them tell.
                let telling = events.iter().filter(|event| memchr::memmem::find(event, b"sage").is_some());
                telling
                    .filter_map(|event| serde_json::from_slice(event).ok())
                    .for_each(|event| tally.read(&event));
                if pushed.is_err() {
                    *self = Self::Nothing;
                }
            }
            Self::Document(all, limit) if all.len() + bytes.len() <= *limit => all.extend_from_slice(bytes),
            Self::Frames(frames, tally) => {
                if frames::along(frames, bytes, |said| tally.read(said)).is_err() {
                    *self = Self::Nothing;
                }
            }
            Self::Document(..) | Self::Nothing => {}
        }
    }

    fn finish(self) -> Tally {
        match self {
            Self::Events(_, tally) | Self::Frames(_, tally) => tally,
            Self::Document(all, _) => {
                let mut tally = Tally::default();
                serde_json::from_slice(&all).into_iter().for_each(|said| tally.read(&said));
                tally
            }
            Self::Nothing => Tally::default(),
        }
    }
}

/// An answer that goes on byte for byte.
struct Forwarding {
    parts: mpsc::Sender<Part>,
    open: Open,
    watched: Watched,
    idle: Duration,
    deadline: Instant,
    limit: u64,
}

impl Forwarding {
    async fn run(self, mut body: Incoming, mut side: Side) {
        let Self { parts, open, mut watched, idle, deadline, mut limit } = self;
        let outcome = loop {
            let until = (Instant::now() + idle).min(deadline);
            let next = tokio::select! {
                next = timeout_at(until, body.frame()) => next,
                () = parts.closed() => break "client_gone",
            };
            let data = match next {
                Ok(Some(Ok(frame))) => frame.into_data().unwrap_or_default(),
                Ok(None) => {
                    watched.succeeded();
                    drop(parts.send(Part::End).await);
                    break "complete";
                }
                // The client learns by a connection that ends early.
                Ok(Some(Err(_))) | Err(_) => {
                    if Instant::now() < deadline {
                        watched.failed();
                    } else {
                        watched.excused();
                    }
                    break "broken";
                }
            };
            let Some(left) = limit.checked_sub(data.len() as u64) else {
                watched.excused();
                break "broken";
            };
            limit = left;
            side.push(&data);
            if !data.is_empty() && parts.send_timeout(Part::Bytes(data), idle).await.is_err() {
                break "client_gone";
            }
        };
        open.close(side.finish().finish().as_ref(), outcome);
    }
}
