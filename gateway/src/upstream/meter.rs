//! What is counted of connections.

use std::sync::Arc;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OpenLabels {
    provider: String,
    protocol: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ConnectLabels {
    provider: String,
    outcome: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct LookupLabels {
    outcome: &'static str,
}

/// Counters of connections. A clone counts into the same.
#[derive(Clone, Debug, Default)]
pub struct Meter {
    open: Family<OpenLabels, Gauge>,
    connects: Family<ConnectLabels, Counter>,
    repeats: Family<ConnectLabels, Counter>,
    lookups: Family<LookupLabels, Counter>,
}

impl Meter {
    /// Makes them part of what a scrape sees.
    pub fn register(&self, registry: &mut Registry) {
        registry.register(
            "upstream_connections",
            "Open connections by provider (or host, where it is none) and protocol (h1, h2)",
            self.open.clone(),
        );
        registry.register(
            "upstream_connects",
            "Attempts to connect by outcome: h1, h2, dns, refused, proxy, tls, protocol, timeout",
            self.connects.clone(),
        );
        registry.register(
            "upstream_resends",
            "Requests sent once more on another connection because none of it was processed on the first: closed, refused",
            self.repeats.clone(),
        );
        registry.register("dns_lookups", "Lookups of names by outcome: ok, failed", self.lookups.clone());
    }

    /// Counts a connection as open until what this gives is dropped.
    pub(super) fn open(&self, provider: &Arc<str>, protocol: &'static str) -> Open {
        let labels = OpenLabels { provider: provider.to_string(), protocol };
        let gauge = self.open.get_or_create(&labels).clone();
        gauge.inc();
        Open(gauge)
    }

    pub(super) fn connect(&self, provider: &Arc<str>, outcome: &'static str) {
        self.connects.get_or_create(&ConnectLabels { provider: provider.to_string(), outcome }).inc();
    }

    pub(super) fn resend(&self, provider: &Arc<str>, outcome: &'static str) {
        self.repeats.get_or_create(&ConnectLabels { provider: provider.to_string(), outcome }).inc();
    }

    pub(super) fn lookup(&self, succeeded: bool) {
        let outcome = if succeeded { "ok" } else { "failed" };
        self.lookups.get_or_create(&LookupLabels { outcome }).inc();
    }
}

/// An open connection.
pub(super) struct Open(Gauge);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.dec();
    }
}
