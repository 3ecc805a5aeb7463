//! Access tokens that end: fetched when they are first needed, renewed behind requests that the old one still serves. Whoever gives
//! them out, they are kept in this one way.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::{HeaderMap, HeaderValue, header};
use tokio::time::Instant;

use super::{entra_auth, google_auth};
use crate::upstream::Upstream;

/// So long before its end a token is renewed.
const EARLY: Duration = Duration::from_secs(300);
/// So long before its end it is used no more: a request takes time, and clocks differ.
const SPENT: Duration = Duration::from_secs(15);
/// Between two attempts at least so long passes, after the first failure and at most.
const BACKOFF: Duration = Duration::from_secs(1);
const LONGEST_BACKOFF: Duration = Duration::from_secs(60);
/// A renewed token that ends as soon as the old one is no reason to ask again at once: some servers remember what they gave.
const PAUSE: Duration = Duration::from_secs(10);

/// Whose tokens they are.
pub(super) enum Source {
    /// An account of Google Cloud.
    Google(google_auth::Source),
    /// An identity of Microsoft Entra ID.
    Entra(entra_auth::Source),
}

/// Whose they are, for problems.
impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Google(source) => source.fmt(f),
            Self::Entra(source) => source.fmt(f),
        }
    }
}

impl Source {
    /// A fresh token as a header, and how long it is good for.
    async fn fetch(&self, upstream: &Upstream) -> Result<(HeaderValue, Duration), String> {
        match self {
            Self::Google(source) => google_auth::fetch(source, upstream).await,
            Self::Entra(source) => entra_auth::fetch(source, upstream).await,
        }
    }
}

/// An account, and the token that it has at present. No `Debug`: it holds secrets.
pub struct Tokens {
    source: Source,
    state: Mutex<State>,
    /// Held by whoever fetches a token: others wait for it instead of fetching one more.
    turn: tokio::sync::Mutex<()>,
}

#[derive(Default)]
pub(super) struct State {
    pub(super) token: Option<Token>,
    /// When another one may be fetched; none: now.
    pub(super) next: Option<Instant>,
    /// Failed attempts since the last good one, and what went wrong.
    failures: u32,
    problem: String,
}

/// What came of an exchange.
#[derive(Clone)]
pub(super) struct Token {
    header: HeaderValue,
    pub(super) ends: Instant,
}

impl Tokens {
    pub(super) fn new(source: Source) -> Self {
        Self { source, state: Mutex::default(), turn: tokio::sync::Mutex::new(()) }
    }

    /// The header that shows a token, which is fetched first if there is none.
    ///
    /// # Errors
    /// Why there is none, without a secret.
    pub async fn ready(self: &Arc<Self>, upstream: &Upstream) -> Result<HeaderMap, String> {
        if let Some(token) = self.usable() {
            if self.is_due() {
                self.renew_behind(upstream);
            }
            return Ok(shown(token));
        }
        let _turn = self.turn.lock().await;
        if let Some(token) = self.usable() {
            return Ok(shown(token));
        }
        self.patience()?;
        self.fetch(upstream).await.map(shown)
    }

    pub(super) fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn usable(&self) -> Option<Token> {
        self.state().token.clone().filter(|token| Instant::now() + SPENT < token.ends)
    }

    fn is_due(&self) -> bool {
        self.state().next.is_none_or(|next| Instant::now() >= next)
    }

    /// Nothing, unless the last attempt failed a moment ago.
    fn patience(&self) -> Result<(), String> {
        let state = self.state();
        let waits = state.failures > 0 && state.next.is_some_and(|next| Instant::now() < next);
        if waits { Err(state.problem.clone()) } else { Ok(()) }
    }

    /// Fetches a new token while the old one serves, unless somebody does already.
    fn renew_behind(self: &Arc<Self>, upstream: &Upstream) {
        let (this, upstream) = (Arc::clone(self), upstream.clone());
        tokio::spawn(async move {
            let Ok(_turn) = this.turn.try_lock() else { return };
            if this.is_due()
                && let Err(problem) = this.fetch(&upstream).await
            {
                tracing::warn!(problem, "an access token can't be renewed; the old one still serves");
            }
        });
    }

    async fn fetch(&self, upstream: &Upstream) -> Result<Token, String> {
        let fetched = self.source.fetch(upstream).await;
        let (now, mut state) = (Instant::now(), self.state());
        match fetched {
            Ok((header, lifetime)) => {
                let token = Token { header, ends: now + lifetime };
                let early = EARLY.min(lifetime / 4);
                state.next = Some(now + (lifetime - early).max(PAUSE));
                state.failures = 0;
                state.token = Some(token.clone());
                Ok(token)
            }
            Err(problem) => {
                let problem = format!("no access token for {}: {problem}", self.source);
                let pause = BACKOFF.saturating_mul(1 << state.failures.min(6)).min(LONGEST_BACKOFF);
                state.failures += 1;
                state.next = Some(now + pause);
                state.problem.clone_from(&problem);
                Err(problem)
            }
        }
    }
}

fn shown(token: Token) -> HeaderMap {
    HeaderMap::from_iter([(header::AUTHORIZATION, token.header)])
}
