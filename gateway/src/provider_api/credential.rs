//! What shows a provider that a request is the operator's: headers that are the same each time, or made for each request.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, Request, header};
use tokio::time::{Instant, timeout_at};

use super::aws_auth::{Aws, Signing};
use super::tokens::Tokens;
use crate::secret::Secret;
use crate::upstream::Upstream;

/// A provider's credential. No `Debug`: it holds secrets.
#[derive(Clone, Default)]
pub enum Credential {
    /// None is wanted.
    #[default]
    None,
    /// The same headers with every request.
    Headers(HeaderMap),
    /// An account of Google Cloud or Entra ID, whose tokens end and are renewed.
    Tokens(Arc<Tokens>),
    /// A signature of each request by AWS credentials.
    Aws(Arc<Aws>),
}

/// How a key is presented.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Presented {
    /// `Authorization: Bearer KEY`.
    Bearer,
    /// The key alone, in this header.
    In(&'static str),
}

impl Credential {
    /// A key; none if it holds characters that can't stand in a header.
    pub fn key(key: &Secret, presented: Presented) -> Option<Self> {
        let (name, value) = match presented {
            Presented::Bearer => (header::AUTHORIZATION, format!("Bearer {}", key.expose())),
            Presented::In(name) => (HeaderName::from_static(name), key.expose().to_owned()),
        };
        let mut value = HeaderValue::from_str(&value).ok()?;
        value.set_sensitive(true);
        Some(Self::Headers(HeaderMap::from_iter([(name, value)])))
    }

    /// Whether a key goes along.
    pub fn is_some(&self) -> bool {
        !matches!(self, Self::None)
    }

    /// Ready for one request: tokens are fetched here, if there are any.
    ///
    /// # Errors
    /// What went wrong, without the secret.
    pub async fn ready(&self, upstream: &Upstream) -> Result<Authorization, String> {
        Ok(match self {
            Self::None => Authorization::default(),
            Self::Headers(headers) => headers.clone().into(),
            // Boxed, so that every other request need not carry around the room that fetching takes.
            Self::Tokens(account) => Box::pin(account.ready(upstream)).await?.into(),
            Self::Aws(aws) => {
                let signing = Some(Box::pin(aws.ready(upstream)).await?);
                Authorization { signing, ..Authorization::default() }
            }
        })
    }
}

impl Credential {
    /// As [`Self::ready`], by then at the latest. What is being fetched by then is fetched all the same, for whoever asks next.
    ///
    /// # Errors
    /// What went wrong, without the secret.
    pub async fn ready_by(&self, until: Instant, upstream: &Upstream) -> Result<Authorization, String> {
        if matches!(self, Self::None | Self::Headers(_)) {
            return self.ready(upstream).await;
        }
        let (this, upstream) = (self.clone(), upstream.clone());
        let mut ready = Box::pin(async move { this.ready(&upstream).await });
        if let Ok(ready) = timeout_at(until, &mut ready).await {
            return ready;
        }
        drop(tokio::spawn(ready));
        Err("no credentials came in time".to_owned())
    }
}

/// A credential that is ready for one request. No `Debug`: it holds secrets.
#[derive(Default)]
pub struct Authorization {
    headers: HeaderMap,
    signing: Option<Signing>,
}

impl From<HeaderMap> for Authorization {
    fn from(headers: HeaderMap) -> Self {
        Self { headers, signing: None }
    }
}

impl Authorization {
    /// Adds it to a request whose body, which is given beside it, address and other headers are what they will be.
    ///
    /// # Errors
    /// What went wrong, without the secret.
    pub fn apply<B>(self, request: &mut Request<B>, body: &[u8]) -> Result<(), String> {
        request.headers_mut().extend(self.headers);
        self.signing.map_or(Ok(()), |signing| signing.apply(request, body))
    }
}
