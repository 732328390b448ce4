//! Traces, metrics, logs and health.
//!
//! | module | what it gives |
//! |---|---|
//! | [`logs`] | set-up of logs (text or JSON with trace ids) and of the OTLP exporter |
//! | [`trace`] | W3C trace context in and out of messages |
//! | [`metrics`] | the Prometheus registry and the metrics of stages |
//! | [`health`] | readiness of the parts of a process |

pub mod health;
pub mod logs;
pub mod metrics;
pub mod trace;

pub use health::Health;
pub use logs::{LogFormat, Settings, Telemetry, chain, init};
pub use metrics::Metrics;
