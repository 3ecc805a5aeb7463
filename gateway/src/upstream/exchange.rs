//! A request and its answer on a connection, and once more on another where none of it was processed.

use std::error::Error;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::uri::Parts;
use http::{Request, Response, Uri, Version, header};
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::client::conn::TrySendError;

use super::link::Body;
use super::pool::{Lease, Link, Origin};
use super::{UpstreamError, chain};

/// How often a request is sent at most, if none of it is processed.
const TRIES: usize = 4;

/// The body of an answer. The connection, or its stream, is free again when all of it was read or it is dropped.
pub struct Incoming {
    // First: what is left of it ends before the connection is free.
    body: hyper::body::Incoming,
    lease: Option<Lease>,
}

impl HttpBody for Incoming {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        if frame.is_none() {
            self.lease = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Why there is no answer.
struct Broken {
    words: String,
    /// If nothing of the request was processed, for certain or as far as anybody can tell: how it came.
    unprocessed: Option<&'static str>,
}

impl Origin {
    /// Sends a request and gives the answer's head.
    ///
    /// # Errors
    /// [`UpstreamError`].
    pub(super) async fn send(
        self: &Arc<Self>,
        request: Request<Body>,
    ) -> Result<Response<Incoming>, UpstreamError> {
        let mut tries = 1;
        loop {
            let mut lease = self.lease().await?;
            let answer = match &mut lease.link {
                Some(link) => self.send_on(link, request.clone()).await,
                None => return Err(UpstreamError::Connect("given up".to_owned())),
            };
            match answer {
                Ok(response) => {
                    return Ok(response.map(|body| Incoming { body, lease: Some(lease) }));
                }
                Err(Broken { words, unprocessed }) => {
                    let Some(how) = unprocessed.filter(|_| tries < TRIES) else {
                        return Err(UpstreamError::Broken(words));
                    };
                    tries += 1;
                    self.meter.resend(&self.label, how);
                    tracing::debug!(provider = &*self.label, error = words, "a request is sent once more");
                    match &lease.link {
                        Some(Link::Many(id, _)) if how == REFUSED => self.pause(*id),
                        _ => self.distrust(),
                    }
                    drop(lease);
                    // Lets the tasks of connections see what became of these.
                    tokio::task::yield_now().await;
                }
            }
        }
    }

    async fn send_on(
        &self,
        link: &mut Link,
        mut request: Request<Body>,
    ) -> Result<Response<hyper::body::Incoming>, Broken> {
        match link {
            Link::One(one) => {
                self.address(&mut request);
                let (reused, signs) = (one.reused, Arc::clone(&one.signs));
                one.sender.try_send_request(request).await.map_err(|error| {
                    // Whether it was processed, nobody can tell. That a server closes what stood about long enough just as
                    // something comes is what happens day by day.
                    let silent = reused && !signs.heard.load(Ordering::Acquire);
                    broken(&error, silent.then_some(CLOSED))
                })
            }
            Link::Many(_, sender) => {
                *request.version_mut() = Version::HTTP_2;
                sender.try_send_request(request).await.map_err(|error| {
                    let unprocessed = error.error().source().and_then(|cause| {
                        let cause = cause.downcast_ref::<h2::Error>().filter(|cause| cause.is_remote())?;
                        let refused = cause.is_reset() && cause.reason() == Some(h2::Reason::REFUSED_STREAM);
                        // Streams that the server may have looked at live on after this.
                        if refused { Some(REFUSED) } else { cause.is_go_away().then_some(CLOSED) }
                    });
                    broken(&error, unprocessed)
                })
            }
        }
    }

    /// What stands in a request of HTTP/1.1 of its address.
    fn address(&self, request: &mut Request<Body>) {
        if self.route.forwards() {
            let authorization = self.route.proxy.as_ref().and_then(|(proxy, _)| proxy.authorization.clone());
            if let Some(authorization) = authorization {
                request.headers_mut().insert(header::PROXY_AUTHORIZATION, authorization);
            }
        } else {
            let mut parts = Parts::default();
            parts.path_and_query = request.uri().path_and_query().cloned();
            *request.uri_mut() = Uri::from_parts(parts).unwrap_or_default();
        }
        request.headers_mut().entry(header::HOST).or_insert_with(|| self.host.clone());
    }
}

const REFUSED: &str = "refused";
const CLOSED: &str = "closed";

fn broken(error: &TrySendError<Request<Body>>, unprocessed: Option<&'static str>) -> Broken {
    // What is given back was never written.
    let unprocessed = if error.message().is_some() { Some(CLOSED) } else { unprocessed };
    Broken { words: chain(error.error()), unprocessed }
}
