//! The connections to one address: who may use which, and when there have to be more.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use http::HeaderValue;
use hyper::client::conn::{http1, http2};
use tokio::sync::oneshot;

use super::dial::{Route, Undialled};
use super::link::{self, Body, Fresh, Signs};
use super::meter::Meter;
use super::{UpstreamError, spawn};
use crate::config::{ConnectionSection, Http};

/// How many connections are opened at once before it is known whether one serves many requests.
const UNKNOWN: usize = 4;

/// Longest that a connection of HTTP/1.1 may take to become free after its answer was taken.
const LINGER: Duration = Duration::from_secs(10);

/// What holds for all connections.
#[derive(Clone, Debug)]
pub(super) struct Terms {
    /// Until one stands.
    pub(super) connect: Duration,
    /// Most requests at once on one of HTTP/2.
    pub(super) max_streams: usize,
    /// Most of them to one address.
    pub(super) max_connections: usize,
    /// How long one is kept that nobody uses.
    pub(super) idle: Duration,
    /// How often the other end is asked whether it is there.
    pub(super) ping: Duration,
}

impl Terms {
    /// What a configuration says.
    pub(super) fn of(section: &ConnectionSection, connect: Duration) -> Self {
        Self {
            connect,
            max_streams: section.max_streams,
            max_connections: section.max_connections,
            idle: section.idle.0,
            ping: section.ping.0,
        }
    }
}

/// One address, and the connections to it.
pub(super) struct Origin {
    pub(super) route: Route,
    pub(super) terms: Terms,
    /// The `Host` header.
    pub(super) host: HeaderValue,
    /// Names it in metrics.
    pub(super) label: Arc<str>,
    pub(super) meter: Meter,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Connections of HTTP/1.1 that nobody uses, the latest last.
    idle: Vec<(One, Instant)>,
    /// Connections of HTTP/2.
    many: Vec<Many>,
    /// Who waits for a connection.
    waiters: VecDeque<Waiter>,
    /// Beyond so many waiters, those that left are taken out.
    prune_at: usize,
    /// Connections that are being opened.
    connecting: usize,
    /// Connections that stand.
    open: usize,
    /// What the last connection spoke.
    http2: Option<bool>,
    /// How many streams the last server took.
    streams: usize,
    next_id: u64,
    reaping: bool,
}

type Waiter = oneshot::Sender<Result<Lease, UpstreamError>>;

/// A connection of HTTP/1.1.
pub(super) struct One {
    pub(super) sender: http1::SendRequest<Body>,
    pub(super) signs: Arc<Signs>,
    /// Whether it has served a request, or stood about: its other end may have closed it since.
    pub(super) reused: bool,
    peer: Peer,
}

/// A connection of HTTP/2.
struct Many {
    id: u64,
    sender: http2::SendRequest<Body>,
    signs: Arc<Signs>,
    peer: Peer,
    /// Streams in use.
    active: usize,
    /// Streams that may be.
    limit: usize,
    /// Whether the server said how many.
    settled: bool,
    /// It refused a stream: nothing more until another one ends.
    paused: bool,
    since: Instant,
}

/// Who is at the other end, and the generation of its name at which it was known to be right.
#[derive(Clone, Copy)]
struct Peer {
    address: IpAddr,
    seen: u64,
}

/// The right to send one request on a connection, until dropped.
pub(super) struct Lease {
    origin: Arc<Origin>,
    pub(super) link: Option<Link>,
}

/// What is leased.
pub(super) enum Link {
    /// All of it.
    One(One),
    /// One stream.
    Many(u64, http2::SendRequest<Body>),
}

impl Drop for Lease {
    fn drop(&mut self) {
        match self.link.take() {
            None => {}
            Some(Link::Many(id, _)) => self.origin.stream_ended(id),
            Some(Link::One(one)) if one.sender.is_closed() => {}
            Some(Link::One(one)) if one.sender.is_ready() => self.origin.free(one),
            Some(Link::One(mut one)) => {
                let origin = Arc::clone(&self.origin);
                spawn(async move {
                    // It is ready as soon as its task has seen the end of the answer, or never.
                    if let Ok(Ok(())) = tokio::time::timeout(LINGER, one.sender.ready()).await {
                        origin.free(one);
                    }
                });
            }
        }
    }
}

impl Origin {
    /// An address without connections.
    pub(super) fn new(route: Route, terms: Terms, host: HeaderValue, label: Arc<str>, meter: Meter) -> Self {
        let http2 = match (route.http, &route.tls) {
            (Http::Two, _) => Some(true),
            (Http::One, _) | (Http::Auto, None) => Some(false),
            (Http::Auto, Some(_)) => None,
        };
        let state = State { http2, streams: terms.max_streams, prune_at: 64, ..State::default() };
        Self { route, terms, host, label, meter, state: Mutex::new(state) }
    }

    /// A connection for one request: a free one, or the first that becomes so, or a new one.
    ///
    /// # Errors
    /// [`UpstreamError::Connect`].
    pub(super) async fn lease(self: &Arc<Self>) -> Result<Lease, UpstreamError> {
        let now = Instant::now();
        if let Some(name) = &self.route.name {
            name.refresh_if_due(now);
        }
        let waiting = {
            let mut state = self.state();
            if state.waiters.is_empty()
                && let Some(mut link) = self.take(&mut state, now)
            {
                if let Link::One(one) = &mut link {
                    one.reused = true;
                }
                return Ok(Lease { origin: Arc::clone(self), link: Some(link) });
            }
            let (waiter, waiting) = oneshot::channel();
            state.waiters.push_back(waiter);
            self.balance(&mut state);
            waiting
        };
        match tokio::time::timeout(self.terms.connect, waiting).await {
            Ok(Ok(leased)) => leased,
            // Who was to connect for us was dropped.
            Ok(Err(_)) => Err(UpstreamError::Connect("given up".to_owned())),
            Err(_) if self.state().open >= self.terms.max_connections => {
                let words = "every connection is in use (connections.max_connections)";
                Err(UpstreamError::Connect(words.to_owned()))
            }
            Err(_) => Err(UpstreamError::Connect(TIMED_OUT.to_owned())),
        }
    }

    /// A connection that served a request broke without a word: the others that nobody uses were left as long, most likely.
    pub(super) fn distrust(&self) {
        let state = &mut *self.state();
        state.idle.clear();
        state.many.iter().for_each(|many| many.signs.look());
    }

    /// A server refused a stream: it gets no other on this connection until one of the others ends.
    pub(super) fn pause(&self, id: u64) {
        let state = &mut *self.state();
        if let Some(many) = state.many.iter_mut().find(|many| many.id == id) {
            // This one is still counted.
            many.paused = many.active > 1;
        }
    }

    /// How many streams the server of a connection takes.
    pub(super) fn settled(self: &Arc<Self>, id: u64, limit: usize) {
        let state = &mut *self.state();
        let limit = limit.min(self.terms.max_streams);
        if let Some(many) = state.many.iter_mut().find(|many| many.id == id) {
            (many.limit, many.settled, many.paused) = (limit, true, false);
            state.streams = limit;
        }
        self.balance(state);
    }

    /// A connection ended.
    pub(super) fn closed(self: &Arc<Self>, id: Option<u64>) {
        let state = &mut *self.state();
        state.open = state.open.saturating_sub(1);
        match id {
            Some(id) => state.many.retain(|many| many.id != id),
            None => state.idle.retain(|(one, _)| !one.sender.is_closed()),
        }
        self.balance(state);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Whoever panicked left counters behind that are right or a little too large.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A free connection.
    fn take(&self, state: &mut State, now: Instant) -> Option<Link> {
        let mut found = None;
        state.many.retain_mut(|many| {
            if many.sender.is_closed() || self.is_gone(&mut many.peer) {
                // Who still uses it has a sender of its own.
                return false;
            }
            if found.is_none() && !many.paused && many.active < many.limit {
                many.active += 1;
                found = Some(Link::Many(many.id, many.sender.clone()));
            }
            true
        });
        while found.is_none()
            && let Some((mut one, since)) = state.idle.pop()
        {
            let fresh = now.saturating_duration_since(since) < self.terms.idle;
            // A new one takes a request before its task ran.
            let ready = (one.sender.is_ready() || !one.reused) && !one.sender.is_closed();
            if fresh && ready && !self.is_gone(&mut one.peer) {
                one.signs.heard.store(false, Ordering::Release);
                found = Some(Link::One(one));
            }
        }
        found
    }

    /// Whether the other end's address is no longer one of its name.
    fn is_gone(&self, peer: &mut Peer) -> bool {
        self.route.name.as_ref().is_some_and(|name| !name.has(peer.address, &mut peer.seen))
    }

    /// A connection of HTTP/1.1 is free.
    fn free(self: &Arc<Self>, mut one: One) {
        one.reused = true;
        let state = &mut *self.state();
        state.idle.push((one, Instant::now()));
        self.balance(state);
        self.reap_later(state);
    }

    /// A stream of HTTP/2 ended.
    fn stream_ended(self: &Arc<Self>, id: u64) {
        let state = &mut *self.state();
        Self::end_stream(state, id);
        self.balance(state);
        self.reap_later(state);
    }

    fn end_stream(state: &mut State, id: u64) {
        if let Some(many) = state.many.iter_mut().find(|many| many.id == id) {
            many.active = many.active.saturating_sub(1);
            many.paused = false;
            many.since = Instant::now();
        }
    }

    /// Gives free connections to those who wait, and opens as many as the others need.
    fn balance(self: &Arc<Self>, state: &mut State) {
        let now = Instant::now();
        while let Some(waiter) = state.waiters.pop_front() {
            if waiter.is_closed() {
                continue;
            }
            let Some(link) = self.take(state, now) else {
                state.waiters.push_front(waiter);
                break;
            };
            let lease = Lease { origin: Arc::clone(self), link: Some(link) };
            // It may leave in this very moment. The lease must not be dropped here: that would lock what is locked.
            if let Err(Ok(mut lease)) = waiter.send(Ok(lease)) {
                match lease.link.take() {
                    Some(Link::One(one)) => state.idle.push((one, now)),
                    Some(Link::Many(id, _)) => Self::end_stream(state, id),
                    None => {}
                }
            }
        }
        if state.waiters.len() > state.prune_at {
            state.waiters.retain(|waiter| !waiter.is_closed());
            state.prune_at = (state.waiters.len() * 2).max(64);
        }
        let waiting = state.waiters.len();
        let each = match state.http2 {
            Some(true) => state.streams.max(1),
            Some(false) => 1,
            None => waiting.div_ceil(UNKNOWN).max(1),
        };
        while state.coming().saturating_mul(each) < waiting
            && state.open + state.connecting < self.terms.max_connections
        {
            state.connecting += 1;
            spawn(Arc::clone(self).connect());
        }
    }

    /// Opens a connection.
    async fn connect(self: Arc<Self>) {
        let signs = Arc::new(Signs::default());
        let connecting = async {
            let dialled = self.route.dial().await?;
            let address = dialled.address;
            let shaken = link::shake(dialled, &self.terms, &signs).await;
            let fresh =
                shaken.map_err(|error| Undialled { outcome: "protocol", words: super::chain(&error) })?;
            Ok((fresh, address))
        };
        let connected = tokio::time::timeout(self.terms.connect, connecting)
            .await
            .unwrap_or_else(|_| Err(Undialled { outcome: "timeout", words: TIMED_OUT.to_owned() }));
        let outcome = match &connected {
            Ok((Fresh::One(..), _)) => "h1",
            Ok((Fresh::Many(..), _)) => "h2",
            Err(undialled) => undialled.outcome,
        };
        self.meter.connect(&self.label, outcome);
        let state = &mut *self.state();
        match connected {
            Ok((fresh, address)) => {
                state.connecting -= 1;
                state.open += 1;
                self.add(state, fresh, signs, Peer { address, seen: 0 });
            }
            Err(undialled) => {
                // Those who would have used it, and no others.
                let share = state.waiters.len().div_ceil(state.coming().max(1));
                state.connecting -= 1;
                for waiter in state.waiters.drain(..share) {
                    drop(waiter.send(Err(UpstreamError::Connect(undialled.words.clone()))));
                }
            }
        }
        self.balance(state);
        self.reap_later(state);
    }

    fn add(self: &Arc<Self>, state: &mut State, fresh: Fresh, signs: Arc<Signs>, peer: Peer) {
        let now = Instant::now();
        state.http2 = Some(matches!(fresh, Fresh::Many(..)));
        match fresh {
            Fresh::One(sender, connection) => {
                let open = self.meter.open(&self.label, "h1");
                spawn(link::drive_one(connection, Arc::downgrade(self), open));
                state.idle.push((One { sender, signs, reused: false, peer }, now));
            }
            Fresh::Many(sender, connection) => {
                let id = state.next_id;
                state.next_id += 1;
                let open = self.meter.open(&self.label, "h2");
                let terms = (id, self.terms.clone());
                spawn(link::drive_many(connection, Arc::downgrade(self), Arc::clone(&signs), terms, open));
                let (limit, settled, paused) = (1, false, false);
                state.many.push(Many {
                    id,
                    sender,
                    signs,
                    peer,
                    active: 0,
                    limit,
                    settled,
                    paused,
                    since: now,
                });
            }
        }
    }

    /// Closes what nobody used for a while, as long as there is something that nobody uses.
    fn reap_later(self: &Arc<Self>, state: &mut State) {
        if state.reaping || !state.has_idle() {
            return;
        }
        state.reaping = true;
        let (origin, pause) = (Arc::downgrade(self), self.terms.idle / 2);
        spawn(async move {
            loop {
                tokio::time::sleep(pause).await;
                let Some(origin) = origin.upgrade() else { return };
                let now = Instant::now();
                let state = &mut *origin.state();
                let kept = |since: &Instant| now.saturating_duration_since(*since) < origin.terms.idle;
                state.idle.retain(|(_, since)| kept(since));
                state.many.retain(|many| many.active > 0 || kept(&many.since));
                if !state.has_idle() {
                    state.reaping = false;
                    return;
                }
            }
        });
    }
}

impl State {
    /// Connections of which most of what they will carry is still to come.
    fn coming(&self) -> usize {
        self.connecting + self.many.iter().filter(|many| !many.settled).count()
    }

    fn has_idle(&self) -> bool {
        !self.idle.is_empty() || self.many.iter().any(|many| many.active == 0)
    }
}

const TIMED_OUT: &str = "timed out (timeouts.connect)";
