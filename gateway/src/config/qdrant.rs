//! `cache.store: qdrant`, and what goes with it.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{CacheSection, Span};
use crate::secret::SecretSource;

/// Where the cache is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum CacheStore {
    /// In this process, in a file too if `cache.journal` names one.
    #[default]
    Local,
    /// In a Qdrant collection that several gateways share.
    Qdrant,
}

/// `cache.qdrant:`
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct QdrantSection {
    /// The server's gRPC address, such as `http://qdrant:6334`; `https://` for TLS.
    pub url: String,
    /// The server's API key, if it wants one.
    #[serde(default)]
    pub api_key: Option<SecretSource>,
    /// The collection. It is made when it is not there; one that holds something else is refused.
    #[serde(default = "collection")]
    pub collection: String,
    /// A secret by which prompts are told apart in the collection, the same for all gateways that share it. Without one, whoever
    /// can read the collection can find out whether a prompt that they guess was asked.
    #[serde(default)]
    pub key: Option<SecretSource>,
    /// The longest that a lookup waits for the server; then the cache is bypassed until it answers again.
    #[serde(default = "timeout")]
    pub timeout: Span,
    /// The most entries that are written together.
    #[serde(default = "write_batch")]
    pub write_batch: usize,
    /// How the server compresses vectors: `none`, `scalar` (a byte per number) or `binary` (a bit); what these find is compared
    /// again by the whole vectors. It is set when the collection is made.
    #[serde(default)]
    pub quantisation: Quantisation,
}

/// How vectors are compressed on the server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Quantisation {
    /// Not at all.
    #[default]
    None,
    /// A byte per number.
    Scalar,
    /// A bit per number.
    Binary,
}

fn collection() -> String {
    "sluice".to_owned()
}

fn timeout() -> Span {
    Span(std::time::Duration::from_millis(250))
}

fn write_batch() -> usize {
    64
}

impl QdrantSection {
    /// The server at this address, and everything else as it is by default.
    pub fn at(url: String) -> Self {
        let (collection, timeout, write_batch) = (collection(), timeout(), write_batch());
        Self {
            url,
            api_key: None,
            collection,
            key: None,
            timeout,
            write_batch,
            quantisation: Quantisation::None,
        }
    }

    /// What is wrong with its values, by field.
    fn problems(&self) -> Vec<&'static str> {
        let host = self.url.strip_prefix("http://").or_else(|| self.url.strip_prefix("https://"));
        let named = !self.collection.is_empty()
            && self.collection.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
        let is_named = |secret: &Option<SecretSource>| !matches!(secret, Some(SecretSource::Literal(_)));
        let checks = [
            (is_named(&self.api_key), "qdrant.api_key: expected env:NAME or file:PATH"),
            (is_named(&self.key), "qdrant.key: expected env:NAME or file:PATH"),
            (
                host.is_some_and(|host| !host.is_empty() && self.url.parse::<http::Uri>().is_ok()),
                "qdrant.url: expected the server's gRPC address, such as http://qdrant:6334",
            ),
            (named, "qdrant.collection: expected a name of letters, digits, '-', '_' and '.'"),
            (!self.timeout.0.is_zero(), "qdrant.timeout: must be longer than 0"),
            ((1..=1000).contains(&self.write_batch), "qdrant.write_batch: expected a number from 1 to 1000"),
        ];
        checks.into_iter().filter(|(holds, _)| !holds).map(|(_, problem)| problem).collect()
    }
}

impl CacheSection {
    /// What is wrong with where the cache is to be, by field.
    pub(super) fn store_problems(&self) -> Vec<&'static str> {
        let mut problems = self.qdrant.as_ref().map_or_else(Vec::new, QdrantSection::problems);
        let is_shared = self.store == CacheStore::Qdrant;
        let checks = [
            (
                is_shared && self.qdrant.is_none(),
                "qdrant: 'store: qdrant' needs this section, with at least a url",
            ),
            (!is_shared && self.qdrant.is_some(), "qdrant: of no use without 'store: qdrant'"),
            (
                is_shared && self.journal.is_some(),
                "journal: of no use with 'store: qdrant', which keeps the entries",
            ),
            (
                is_shared && self.tenant_max_bytes.is_some(),
                "tenant_max_bytes: of no use with 'store: qdrant', where entries take the server's room until their time is over",
            ),
        ];
        problems.extend(checks.into_iter().filter(|(wrong, _)| *wrong).map(|(_, problem)| problem));
        problems
    }
}
