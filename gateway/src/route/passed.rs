//! A request in a provider's own words, asked with one of its credentials after the other.

use std::sync::Arc;
use std::time::{Duration, Instant as StdInstant};

use bytes::Bytes;
use http::{HeaderMap, Method, Response};
use tokio::time::{Instant, timeout_at};

use super::Target;
use super::asking::{Asking, Refused, refused};
use super::failover::{Begun, Failed, Question};
use super::failure::{Blame, Failure};
use super::health::Attempt;
use super::plan::{Plan, Step};
use crate::chat::request::Secured;
use crate::client_api::Format;
use crate::error::ApiError;
use crate::provider_api::ProviderApi;
use crate::upstream::{Check, Destination, Incoming, Outgoing, UpstreamError};

/// What is asked. No `Debug`: it holds what people wrote.
pub(crate) struct Passed {
    /// Who is asked.
    pub(crate) target: Target,
    /// How.
    pub(crate) method: Method,
    /// Where: what of the address is the operator's, and the client's rest of it.
    pub(crate) address: (String, String),
    /// Headers that go along.
    pub(crate) headers: HeaderMap,
    /// What is sent.
    pub(crate) body: Bytes,
    /// What must hold for it.
    pub(crate) secured: Option<Arc<Secured>>,
    /// Whether the answer is a stream.
    pub(crate) stream: bool,
    /// What it is about.
    pub(crate) about: About,
    /// How long the client waits at most, if it said so.
    pub(crate) patience: Option<Duration>,
    /// The rounds of asking again that it wants, if it said so.
    pub(crate) retries: Option<u32>,
}

/// What a request is about.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum About {
    /// What routed requests ask of its model, where they ask it: whatever holds for these holds for it.
    Chat,
    /// A model. Asked twice it answers twice, and nothing else happens.
    Model,
    /// Something else, such as files, which live with the account of a key: twice may be once too often.
    Account,
}

/// An answer whose head is there.
pub(crate) enum Answered {
    /// It comes by and by.
    Coming(Response<Incoming>, Watched),
    /// What is wrong with the request.
    Refused(Refused),
}

/// Told how an answer ends; dropped without a word, that it was given up.
#[derive(Default)]
pub(crate) struct Watched(Option<Attempt>);

/// What came of it.
pub(crate) struct Outcome {
    /// The answer; where all failed, the provider's own error.
    pub(crate) answered: Answered,
    /// How many attempts it took.
    pub(crate) attempts: u32,
    /// How long, with every failed attempt and pause.
    pub(crate) waited: Duration,
    /// Until when it has to be over.
    pub(crate) deadline: Instant,
}

impl Watched {
    /// It is whole.
    pub(crate) fn succeeded(&mut self) {
        self.0.take().into_iter().for_each(|attempt| attempt.succeeded(StdInstant::now()));
    }

    /// The provider let it break off.
    pub(crate) fn failed(&mut self) {
        self.0.take().into_iter().for_each(|attempt| attempt.failed(StdInstant::now()));
    }

    /// It ended for a reason of ours.
    pub(crate) fn excused(&mut self) {
        self.0.take().into_iter().for_each(Attempt::excused);
    }

    /// Gives the attempt to whoever reads the answer.
    pub(super) fn take(mut self) -> Option<Attempt> {
        self.0.take()
    }
}

impl Asking<'_> {
    /// Asks a provider with one credential after the other, up to the head of an answer. If none does, its last error that tells
    /// most is the answer.
    ///
    /// # Errors
    /// [`ApiError::TargetsFailed`] where it gave none that is for the client, and what keeps a request from being sent.
    pub(crate) async fn pass(&self, passed: &Passed) -> Result<Outcome, ApiError> {
        let begun = Instant::now();
        let total = self.timeouts.total.0;
        let deadline = begun + passed.patience.map_or(total, |patience| patience.min(total));
        let steps = vec![Step::new(&passed.target)];
        let plan = Plan { steps, instead: Vec::new(), budget: Arc::clone(&self.routes.budget) };
        let (answered, attempts) = match self.ask_all(passed, plan).await {
            Ok(Begun { answer, attempts, .. }) => (answer, attempts),
            Err(mut end) => match end.kept.take().flatten() {
                Some(refused) => (Answered::Refused(refused), end.attempts()),
                None => return Err(end.into_error()),
            },
        };
        Ok(Outcome { answered, attempts, waited: begun.elapsed(), deadline })
    }
}

impl Passed {
    /// Whether it may be asked again although it may have been done already.
    fn is_repeatable(&self) -> bool {
        self.about != About::Account
            || self.method.is_idempotent()
            || self.headers.contains_key("idempotency-key")
    }
}

/// How its provider says errors and what the words of its protocol are. All its APIs agree in that.
fn api_of(target: &Target) -> &'static dyn ProviderApi {
    target.api(Format::OpenAiChat)
}

impl Question for Passed {
    type Answer = Answered;
    type Kept = Option<Refused>;

    fn stream(&self) -> bool {
        self.stream
    }

    fn rounds(&self, configured: u32) -> u32 {
        self.retries.map_or(configured, |retries| retries.min(configured))
    }

    fn patience(&self) -> Option<Duration> {
        self.patience
    }

    async fn ask(
        &self,
        asking: &Asking<'_>,
        (target, credential): (&Target, usize),
        (first, _): (Instant, Instant),
    ) -> Result<Answered, Failed<Option<Refused>>> {
        let unasked = |failure| Failed { failure, kept: None, last: false };
        let outgoing = self.outgoing(asking, (target, credential), first).await.map_err(unasked)?;
        let failed = |failure| Failed { failure, kept: None, last: !self.is_repeatable() };
        let response = match timeout_at(first, asking.upstream.send(outgoing)).await {
            Err(_) => return Err(failed(Failure::Timeout("first_byte"))),
            // Nothing was sent.
            Ok(Err(UpstreamError::Connect(words))) => return Err(unasked(Failure::Connection(words))),
            Ok(Err(error)) => return Err(failed(Failure::Connection(error.to_string()))),
            Ok(Ok(response)) => response,
        };
        if response.status().is_success() {
            return Ok(Answered::Coming(response, Watched::default()));
        }
        let leads_away = response.status().is_redirection();
        let limit = usize::try_from(asking.max_answer).unwrap_or(usize::MAX);
        let (failure, refused) = refused(response, api_of(target), limit, first).await;
        match (reason(&failure), refused) {
            (None, Some(refused)) => Ok(Answered::Refused(refused)),
            (None, None) => Err(Failed { failure, kept: None, last: true }),
            (Some(Reason::Key), _) => Err(unasked(failure)),
            (Some(_), _) if leads_away => Err(failed(failure)),
            (Some(Reason::Allowance), kept) => Err(Failed { failure, kept, last: false }),
            (Some(Reason::Trouble), kept) => Err(Failed { failure, kept, last: !self.is_repeatable() }),
        }
    }

    fn began(answer: &mut Answered, mut attempt: Attempt) -> String {
        let now = StdInstant::now();
        match answer {
            Answered::Coming(_, watched) => {
                attempt.heard(now);
                watched.0 = Some(attempt);
                "ok".to_owned()
            }
            Answered::Refused(refused) => {
                attempt.succeeded(now);
                refused.head.status.as_str().to_owned()
            }
        }
    }

    fn chance(&self) -> f64 {
        // What lives with an account is looked for where it was put.
        if self.about == About::Account { 0.0 } else { fastrand::f64() }
    }

    fn cools(&self, failure: &Failure) -> bool {
        let Failure::Status { status, error, .. } = failure else { return true };
        // A key that may not do everything is refused where it may not, too: that says nothing about chats.
        let may_be_narrow = matches!(status.as_u16(), 401 | 403) && self.about != About::Chat;
        !may_be_narrow || error.as_ref().is_some_and(|error| error["code"] == INVALID_KEY)
    }
}

/// The code of an error that is about the key alone.
const INVALID_KEY: &str = "invalid_api_key";

/// Why another credential or another attempt may do.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Reason {
    /// The operator's key is refused: nothing for the client to hear.
    Key,
    /// The credential may not, or not so much.
    Allowance,
    /// The provider is in trouble, and may have done what was asked.
    Trouble,
}

/// Why an answer with an error status is no answer to the request; none if it is one.
fn reason(failure: &Failure) -> Option<Reason> {
    let Failure::Status { status, error, .. } = failure else { return None };
    let is_key = error.as_ref().is_some_and(|error| error["code"] == INVALID_KEY);
    match status.as_u16() {
        401 => Some(Reason::Key),
        _ if is_key => Some(Reason::Key),
        500..=599 => Some(Reason::Trouble),
        _ if failure.blame() == Blame::Credential => Some(Reason::Allowance),
        _ => None,
    }
}

impl Passed {
    async fn outgoing(
        &self,
        asking: &Asking<'_>,
        (target, credential): (&Target, usize),
        first: Instant,
    ) -> Result<Outgoing, Failure> {
        let credential = target.provider.credentials.get(credential);
        let ready = credential.ready_by(first, asking.upstream).await.map_err(Failure::NoCredential)?;
        let (fixed, rest) = (&self.address.0, &self.address.1);
        let to = Destination::within(&target.provider, (fixed, rest), ready);
        let to = to.map_err(|e| Failure::Connection(e.to_string()))?.with_headers(self.headers.clone());
        let (method, body) = (self.method.clone(), self.body.clone());
        let make = move |check: &Check<'_>| Outgoing::passed(method, to, &body, check);
        asking.make((target, api_of(target)), self.secured.clone(), self.body.len(), make).await
    }
}
