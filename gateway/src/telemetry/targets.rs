//! How the targets of routes fare, as a scrape shows it.

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use crate::route::Shown;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct TargetLabels {
    target: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct LatencyLabels {
    target: String,
    answer: &'static str,
}

type Number = Gauge<f64, AtomicU64>;

/// What is counted and shown of targets.
#[derive(Default)]
pub(super) struct TargetMetrics {
    pub(super) fallbacks: Counter,
    pub(super) budget_spent: Counter,
    open: Family<TargetLabels, Gauge>,
    cooling: Family<TargetLabels, Gauge>,
    in_flight: Family<TargetLabels, Gauge>,
    success: Family<TargetLabels, Number>,
    latency: Family<LatencyLabels, Number>,
}

impl TargetMetrics {
    pub(super) fn register(&self, r: &mut Registry) {
        r.register(
            "fallbacks",
            "Attempts at another target after one did not answer",
            self.fallbacks.clone(),
        );
        r.register(
            "retry_budget_spent",
            "Attempts that were not made since the budget for asking again was spent",
            self.budget_spent.clone(),
        );
        r.register(
            "target_breaker_open",
            "1 for a target that is left alone after failures, or tried by one request at a time",
            self.open.clone(),
        );
        r.register(
            "target_cooling_credentials",
            "Credentials that a target asked to be left alone with",
            self.cooling.clone(),
        );
        r.register("target_in_flight", "Requests that are with a target", self.in_flight.clone());
        r.register(
            "target_success_ratio",
            "The share of attempts at a target that went well lately",
            self.success.clone(),
        );
        r.register_with_unit(
            "target_latency",
            "Until the first content of a stream, and until a whole answer, averaged over the latest",
            Unit::Seconds,
            self.latency.clone(),
        );
    }

    /// Shows the targets as they stand.
    pub(super) fn show(&self, targets: &[(String, Shown)]) {
        let count = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
        for (name, shown) in targets {
            let labels = TargetLabels { target: name.clone() };
            self.open.get_or_create(&labels).set(i64::from(shown.open));
            self.cooling.get_or_create(&labels).set(count(shown.cooling));
            self.in_flight.get_or_create(&labels).set(count(shown.in_flight));
            self.success.get_or_create(&labels).set(shown.success);
            for (answer, seconds) in ["stream", "whole"].into_iter().zip(shown.latency) {
                if let Some(seconds) = seconds {
                    self.latency.get_or_create(&LatencyLabels { target: name.clone(), answer }).set(seconds);
                }
            }
        }
    }
}
