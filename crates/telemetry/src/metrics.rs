//! Prometheus metrics. No digest, image or CVE is a label.

use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

/// A stage and a lane.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Lane {
    pub stage: String,
    pub lane: String,
}

/// A stage and how a piece of work ended: `ok`, or a stable code.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Outcome {
    pub stage: String,
    pub outcome: String,
}

/// A route of the HTTP API and the status that it answered.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Route {
    pub route: String,
    pub status: u16,
}

/// A number with a name, for what has no other shape.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Named {
    pub name: String,
}

type Durations = Family<Lane, Histogram, fn() -> Histogram>;

/// All metrics of a process. Clones share their state.
#[derive(Debug, Clone)]
pub struct Metrics {
    registry: Arc<Mutex<Registry>>,
    /// Messages that a stage took, redeliveries included.
    pub received: Family<Lane, Counter>,
    /// Messages that a stage works on now.
    pub in_flight: Family<Lane, Gauge>,
    /// Seconds from taking a message to its acknowledgement.
    pub duration: Durations,
    /// Ends of work by code.
    pub outcome: Family<Outcome, Counter>,
    /// Milliseconds that the message taken last had waited.
    pub oldest_age: Family<Lane, Gauge>,
    /// Requests answered.
    pub requests: Family<Route, Counter>,
    /// Gauges of the store: open findings, images, unmatched images, outbox backlog.
    pub state: Family<Named, Gauge>,
    /// Events of the broker connection: slow consumers, reconnects, duplicates.
    pub broker: Family<Named, Counter>,
}

fn durations() -> Histogram {
    Histogram::new(exponential_buckets(0.001, 2.5, 14))
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("plimsoll");
        let metrics = Self {
            registry: Arc::new(Mutex::new(Registry::default())),
            received: Family::default(),
            in_flight: Family::default(),
            duration: Family::new_with_constructor(durations),
            outcome: Family::default(),
            oldest_age: Family::default(),
            requests: Family::default(),
            state: Family::default(),
            broker: Family::default(),
        };
        registry.register("stage_received", "Messages taken by a stage", metrics.received.clone());
        registry.register("stage_in_flight", "Messages in work", metrics.in_flight.clone());
        registry.register(
            "stage_duration_seconds",
            "Seconds from taking a message to its end",
            metrics.duration.clone(),
        );
        registry.register("stage_outcome", "Ends of work by code", metrics.outcome.clone());
        registry.register(
            "stage_oldest_age_milliseconds",
            "Wait of the message taken last",
            metrics.oldest_age.clone(),
        );
        registry.register("http_requests", "Requests answered", metrics.requests.clone());
        registry.register("state", "Gauges of the store", metrics.state.clone());
        registry.register("broker_events", "Events of the broker connection", metrics.broker.clone());
        Self { registry: Arc::new(Mutex::new(registry)), ..metrics }
    }
}

impl Metrics {
    /// The page for Prometheus, in the OpenMetrics text format.
    pub fn page(&self) -> String {
        let mut text = String::new();
        let registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        // Writing to a String cannot fail.
        let _ = encode(&mut text, &registry);
        text
    }

    /// Counts an event of the broker connection.
    pub fn broker_event(&self, name: &str) {
        self.broker.get_or_create(&Named { name: name.to_owned() }).inc();
    }

    /// Sets a gauge of the store.
    pub fn set_state(&self, name: &str, value: i64) {
        self.state.get_or_create(&Named { name: name.to_owned() }).set(value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_shows_what_was_counted() {
        let metrics = Metrics::default();
        metrics.received.get_or_create(&Lane { stage: "sbom".into(), lane: "hot".into() }).inc();
        metrics.broker_event("slow_consumer");
        let page = metrics.page();
        assert!(page.contains("plimsoll_stage_received_total{stage=\"sbom\",lane=\"hot\"} 1"), "{page}");
        assert!(page.contains("plimsoll_broker_events_total{name=\"slow_consumer\"} 1"), "{page}");
    }
}
