//! How providers are reached: connections, TLS, proxies.

use std::fmt;
use std::path::PathBuf;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, de};

use super::{ProviderConfig, Span};

/// `connections:` To providers, and to guards of others. Each of `limits.threads` has connections of its own.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ConnectionSection {
    /// Most requests at once on one connection of HTTP/2, if the server does not take fewer. Further ones go over further
    /// connections.
    pub max_streams: usize,
    /// Most connections of one thread to one host. Beyond it requests wait for a free one, up to `timeouts.connect`.
    pub max_connections: usize,
    /// How long a connection is kept that nobody uses.
    pub idle: Span,
    /// How often the other end of a connection of HTTP/2 that is in use is asked whether it is there, and how long it has to answer.
    pub ping: Span,
    /// How long the addresses of a name are taken for fresh; after that they are looked up again, behind the requests.
    /// Connections to addresses that a name no longer has serve no new requests.
    pub dns_ttl: Span,
}

impl Default for ConnectionSection {
    fn default() -> Self {
        Self {
            // What RFC 9113 recommends servers to allow at least, and most do.
            max_streams: 100,
            max_connections: 4096,
            idle: Span::seconds(60),
            ping: Span::seconds(30),
            dns_ttl: Span::seconds(30),
        }
    }
}

impl ConnectionSection {
    /// What types can't say.
    pub(crate) fn problems(&self) -> Vec<String> {
        let counts = [("max_streams", self.max_streams), ("max_connections", self.max_connections)];
        let spans = [("idle", self.idle), ("ping", self.ping), ("dns_ttl", self.dns_ttl)];
        let counts = counts.iter().filter(|(_, count)| *count == 0);
        let spans = spans.iter().filter(|(_, span)| span.0.is_zero());
        counts
            .map(|(name, _)| format!("connections.{name}: at least 1"))
            .chain(spans.map(|(name, _)| format!("connections.{name}: must be longer than 0")))
            .collect()
    }
}

/// `tls:` Whose certificates are believed.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TlsSection {
    /// Which certificate authorities are trusted: `bundled` (Mozilla's, part of the program), `system` (this machine's), or
    /// `none` but those of `ca_file`.
    pub roots: Roots,
    /// A file of certificates in PEM, whose authorities are trusted as well, such as a company's own.
    pub ca_file: Option<PathBuf>,
}

/// Which certificate authorities are trusted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Roots {
    /// Mozilla's, as they were when the program was made.
    #[default]
    Bundled,
    /// Those that this machine trusts.
    System,
    /// None but those that a file names.
    None,
}

/// Which version of HTTP is spoken with a provider.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Http {
    /// Over TLS what the server prefers, else HTTP/1.1.
    #[default]
    Auto,
    /// HTTP/1.1.
    One,
    /// HTTP/2, also without TLS, where both sides have to know it beforehand.
    Two,
}

impl<'de> Deserialize<'de> for Http {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Word;
        impl de::Visitor<'_> for Word {
            type Value = Http;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("auto, 1 or 2")
            }

            fn visit_str<E: de::Error>(self, word: &str) -> Result<Http, E> {
                match word {
                    "auto" => Ok(Http::Auto),
                    "1" => Ok(Http::One),
                    "2" => Ok(Http::Two),
                    _ => Err(E::custom("expected a version of HTTP: auto, 1 or 2")),
                }
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Http, E> {
                self.visit_str(&number.to_string())
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Http, E> {
                self.visit_str(&number.to_string())
            }

            fn visit_f64<E: de::Error>(self, number: f64) -> Result<Http, E> {
                self.visit_str(&number.to_string())
            }
        }
        deserializer.deserialize_any(Word)
    }
}

impl JsonSchema for Http {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Http".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "enum": ["auto", 1, 2] })
    }
}

impl ProviderConfig {
    /// Whether connections to both are made alike.
    pub(crate) fn reached_as(&self, other: &Self) -> bool {
        (self.http, &self.ca_file, &self.proxy) == (other.http, &other.ca_file, &other.proxy)
    }
}
