//! The only outbound sockets: requests to providers.

mod dial;
mod dns;
mod exchange;
mod link;
mod meter;
mod network;
mod pool;
mod proxy;
#[cfg(test)]
mod server;
mod tls;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use sluice_guardrails::Leak;
use sluice_guardrails::proof::Spot;

use crate::chat::request::Secured;
use crate::provider_api::credential::Authorization;
use crate::route::Provider;

pub use exchange::Incoming;
pub use meter::Meter;
pub use network::Network;

/// A pool of connections to providers. Each I/O thread has its own: a connection's tasks live where it was opened.
#[derive(Clone)]
pub struct Upstream(Arc<Pool>);

struct Pool {
    /// What it shares with the others; none if there is nothing to be had, and then why.
    network: Result<Arc<Network>, String>,
    origins: Mutex<HashMap<network::Key, Arc<pool::Origin>>>,
}

/// Why a request could not be sent. The chain of causes in words, without the address's query or any content.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamError {
    /// No connection: refused, unreachable, unknown name, TLS.
    #[error("no connection: {0}")]
    Connect(String),
    /// The connection broke before an answer came.
    #[error("the connection broke: {0}")]
    Broken(String),
}

/// A request that may leave: nothing that was redacted stands in it, and if something does that is not to leave the house, it
/// goes to a provider that is in it. There is no other way to make one of what a client sent, and none to send anything else.
pub struct Outgoing(Request<Full<Bytes>>);

/// Where a request goes.
pub struct Destination {
    /// The whole address.
    uri: Uri,
    /// What of the address the operator and the provider API say: it is the same for every request, and not looked into.
    fixed: String,
    /// The provider's credential. It is not looked into, either: it goes only where it belongs, and a client could learn by
    /// guessing whether it holds what was redacted.
    authorization: Authorization,
    /// Headers of the request's format.
    headers: HeaderMap,
    /// Whether it is in the house.
    in_house: bool,
}

impl Destination {
    /// A provider's address for requests of its API. The path names the model, which is the operator's or was looked into.
    ///
    /// # Errors
    /// As [`Provider::uri`].
    pub fn of(
        provider: &Provider,
        path: &str,
        authorization: Authorization,
    ) -> Result<Self, http::uri::InvalidUri> {
        let fixed = format!("{}{path}", provider.base_url);
        let (uri, headers) = (provider.uri(path)?, HeaderMap::new());
        Ok(Self { uri, fixed, authorization, headers, in_house: provider.in_house })
    }

    /// An address on a provider's origin of which only the beginning, `fixed`, is the operator's: the rest is a client's own, and is
    /// looked into.
    ///
    /// # Errors
    /// If it is no address.
    pub fn within(
        provider: &Provider,
        (fixed, rest): (&str, &str),
        authorization: Authorization,
    ) -> Result<Self, http::uri::InvalidUri> {
        let uri = format!("{fixed}{rest}").parse()?;
        let (fixed, headers) = (fixed.to_owned(), HeaderMap::new());
        Ok(Self { uri, fixed, authorization, headers, in_house: provider.in_house })
    }

    /// The same with headers that belong to the request's format; they are looked into.
    #[must_use]
    pub fn with_headers(self, headers: HeaderMap) -> Self {
        Self { headers, ..self }
    }

    /// An external guard's address, which the operator said whole.
    pub fn of_guard(uri: Uri, address: String, authorization: Option<HeaderValue>, in_house: bool) -> Self {
        let named = authorization.map(|value| (header::AUTHORIZATION, value));
        let authorization = HeaderMap::from_iter(named).into();
        Self { uri, fixed: address, authorization, headers: HeaderMap::new(), in_house }
    }
}

/// What must hold for what is sent.
pub struct Check<'a> {
    /// What goes with the request; none if nothing was found in it that matters.
    pub secured: Option<&'a Secured>,
    /// Tells the words that stand in a body whoever wrote it.
    pub protocol: &'a dyn Fn(&Spot<'_>) -> bool,
}

/// Why nothing is sent.
#[derive(Debug, thiserror::Error)]
pub enum Unsent {
    /// What was redacted stands in it after all.
    #[error("{0}")]
    Leak(Leak),
    /// Something stands in it that is not to leave the house, and it would: the entity.
    #[error("{0} is for in-house targets alone")]
    OutOfHouse(&'static str),
    /// The credential can't be added to it.
    #[error("{0}")]
    Unsigned(String),
    /// It is no request.
    #[error("{0}")]
    Malformed(#[from] http::Error),
}

impl Outgoing {
    /// A request with a JSON body, if it may go there, and nothing that was redacted stands in body, address or headers. `accept`:
    /// the kind of answer that is wanted.
    ///
    /// # Errors
    /// [`Unsent`].
    pub fn json(
        to: Destination,
        accept: &'static str,
        body: &Bytes,
        check: &Check<'_>,
    ) -> Result<Self, Unsent> {
        let (mut request, authorization) = Self::checked(Method::POST, to, body, check)?;
        let headers = request.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(header::ACCEPT, HeaderValue::from_static(accept));
        Self::shown(request, authorization, body)
    }

    /// The same for a request of any method, whose headers say what its body is and what is wanted; what is no JSON is looked into as
    /// it is. The answer is not to be compressed: it has to be read.
    ///
    /// # Errors
    /// [`Unsent`].
    pub fn passed(method: Method, to: Destination, body: &Bytes, check: &Check<'_>) -> Result<Self, Unsent> {
        let (mut request, authorization) = Self::checked(method, to, body, check)?;
        request.headers_mut().insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        Self::shown(request, authorization, body)
    }

    /// A request in which nothing stands that must not go there, and the credential that is still missing.
    fn checked(
        method: Method,
        to: Destination,
        body: &Bytes,
        check: &Check<'_>,
    ) -> Result<(Request<Full<Bytes>>, Authorization), Unsent> {
        let Check { secured, protocol } = *check;
        if let Some(entity) = secured.and_then(|secured| secured.in_house).filter(|_| !to.in_house) {
            return Err(Unsent::OutOfHouse(entity));
        }
        let proof = secured.and_then(|secured| secured.proof.as_ref());
        if let (Some(proof), Some(secured)) = (proof, secured) {
            let body = secured.looked_into(body);
            let is_json = body.first().is_some_and(|byte| b"{[ \t\r\n".contains(byte));
            let checked = if is_json { proof.check_json(&body, protocol) } else { proof.check(&body) };
            checked.map_err(Unsent::Leak)?;
            let address = to.uri.to_string();
            let own = address.strip_prefix(&to.fixed).unwrap_or(&address);
            proof.check(own.as_bytes()).map_err(Unsent::Leak)?;
        }
        // Whatever of the client's headers is ever passed on has to be here already.
        let mut request = Request::builder().method(method).uri(to.uri).body(Full::new(body.clone()))?;
        *request.headers_mut() = to.headers;
        if let Some(proof) = proof {
            for value in request.headers().values() {
                proof.check(value.as_bytes()).map_err(Unsent::Leak)?;
            }
        }
        Ok((request, to.authorization))
    }

    /// The same with who sends it, and the credential.
    fn shown(
        mut request: Request<Full<Bytes>>,
        authorization: Authorization,
        body: &[u8],
    ) -> Result<Self, Unsent> {
        let agent = concat!("sluice/", env!("CARGO_PKG_VERSION"));
        request.headers_mut().insert(header::USER_AGENT, HeaderValue::from_static(agent));
        authorization.apply(&mut request, body).map_err(Unsent::Unsigned)?;
        Ok(Self(request))
    }

    /// The same with headers that are made of its body by a key of the operator's, and of the time.
    #[must_use]
    pub fn signed(mut self, headers: [(HeaderName, HeaderValue); 2]) -> Self {
        self.0.headers_mut().extend(headers.map(|(name, value)| (Some(name), value)));
        self
    }
}

impl Upstream {
    /// A pool without connections yet, for which nothing is configured.
    pub fn new(connect_timeout: Duration) -> Self {
        let network = Network::plain(connect_timeout).map(Arc::new);
        Self::of(network.map_err(|problems| problems.join("; ")))
    }

    /// A pool without connections yet, over what the configuration says.
    pub fn over(network: &Arc<Network>) -> Self {
        Self::of(Ok(Arc::clone(network)))
    }

    fn of(network: Result<Arc<Network>, String>) -> Self {
        Self(Arc::new(Pool { network, origins: Mutex::default() }))
    }

    /// Sends a request and gives the answer's head.
    ///
    /// # Errors
    /// [`UpstreamError`].
    pub async fn send(&self, outgoing: Outgoing) -> Result<Response<Incoming>, UpstreamError> {
        let Outgoing(request) = outgoing;
        self.0.origin(request.uri())?.send(request).await
    }

    /// Sends a request that holds nothing of any client to a service that gives out credentials, and gives its status and answer.
    ///
    /// # Errors
    /// What went wrong, without the answer.
    pub async fn credentials(&self, request: Request<Full<Bytes>>) -> Result<(StatusCode, Bytes), String> {
        let asking = async {
            let response = self.send(Outgoing(request)).await.map_err(|error| error.to_string())?;
            let (head, body) = response.into_parts();
            let body = Limited::new(body, MAX_CREDENTIALS).collect().await;
            body.map(|body| (head.status, body.to_bytes())).map_err(|error| chain(error.as_ref()))
        };
        let answered = tokio::time::timeout(CREDENTIALS_TIMEOUT, asking).await;
        answered.unwrap_or_else(|_| Err("the service does not answer".to_owned()))
    }
}

impl Pool {
    fn origin(&self, uri: &Uri) -> Result<Arc<pool::Origin>, UpstreamError> {
        let nobody = || UpstreamError::Connect("expected an address with http:// or https://".to_owned());
        let key = network::Key::of(uri).ok_or_else(nobody)?;
        let mut origins = self.origins.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(origin) = origins.get(&key) {
            return Ok(Arc::clone(origin));
        }
        let network = self.network.as_ref().map_err(|words| UpstreamError::Connect(words.clone()))?;
        let origin = Arc::new(network.origin(uri, &key)?);
        origins.insert(key, Arc::clone(&origin));
        Ok(origin)
    }
}

/// Starts a task, unless everything stops just now.
fn spawn(task: impl Future<Output = ()> + Send + 'static) {
    if let Ok(runtime) = tokio::runtime::Handle::try_current() {
        drop(runtime.spawn(task));
    }
}

/// Longest answer that holds credentials, and the longest time for one.
const MAX_CREDENTIALS: usize = 64 * 1024;
const CREDENTIALS_TIMEOUT: Duration = Duration::from_secs(10);

/// An error and its causes, innermost last.
fn chain(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        words.push_str(": ");
        words.push_str(&error.to_string());
        cause = error.source();
    }
    words
}

#[cfg(test)]
mod pool_tests;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::Subject;
    use sluice_guardrails::{Guard, Policy, Vault};

    fn secured(proof: Option<sluice_guardrails::Proof>, in_house: Option<&'static str>) -> Secured {
        Secured { proof, in_house, kept: Vec::new(), subject: Subject::of_judge("t", "m", "p") }
    }

    #[test]
    fn what_is_not_to_leave_the_house_is_sent_nowhere_else() {
        let sent = |confined: Option<&'static str>, in_house: bool| {
            let to = Destination {
                uri: Uri::from_static("http://10.0.0.5/v1/chat"),
                fixed: "http://10.0.0.5/v1/chat".to_owned(),
                authorization: Authorization::default(),
                headers: HeaderMap::new(),
                in_house,
            };
            let secured = secured(None, confined);
            let check = Check { secured: Some(&secured), protocol: &|_| false };
            Outgoing::json(to, "application/json", &Bytes::from_static(b"{}"), &check)
        };
        assert!(matches!(sent(Some("US_SSN"), false), Err(Unsent::OutOfHouse("US_SSN"))));
        assert!(sent(Some("US_SSN"), true).is_ok() && sent(None, false).is_ok());
    }

    #[test]
    fn an_address_that_holds_what_was_redacted_is_not_sent_to() {
        let mut vault = Vault::new();
        let guard = Guard::new(&Policy::default());
        assert!(vault.redact(&guard, "I am zoe@example.org").is_ok());
        let secured = secured(vault.proof(), None);
        let check = Check { secured: Some(&secured), protocol: &|_| false };
        let sent = |uri: &'static str, fixed: &str| {
            let (uri, fixed) = (Uri::from_static(uri), fixed.to_owned());
            let (authorization, headers) = (Authorization::default(), HeaderMap::new());
            let to = Destination { uri, fixed, authorization, headers, in_house: false };
            Outgoing::json(to, "application/json", &Bytes::from_static(b"{}"), &check).is_ok()
        };
        let fixed = "https://models.example/v1/chat";
        assert!(sent("https://models.example/v1/chat", fixed));
        assert!(!sent("https://models.example/v1/chat/zoe@example.org", fixed));
        assert!(!sent("https://models.example/v1/chat?user=zoe%40example.org", fixed));
        assert!(sent("https://models.example/zoe@example.org", "https://models.example/zoe@example.org"));
    }
}
