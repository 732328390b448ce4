//! Logs on standard error, and spans to an OTLP collector.

use std::io::IsTerminal;

use opentelemetry::trace::{TraceContextExt, TracerProvider as _};
use opentelemetry_otlp::WithExportConfig;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};
use tracing::Subscriber;
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

/// How log lines look.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people: text where standard error is a terminal, JSON elsewhere.
    #[default]
    Auto,
    Text,
    /// One JSON object a line, with `trace_id` inside a trace.
    Json,
}

/// What a process tells about itself.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `service.name` of the spans.
    pub service: String,
    pub format: LogFormat,
    /// Base URL of an OTLP/HTTP collector, e.g. `http://collector:4318`; no spans leave without it.
    pub otlp_endpoint: Option<String>,
    /// Filter in the syntax of `RUST_LOG`; that variable wins where it is set.
    pub filter: Option<String>,
    /// Share of the traces that start here and are kept, 0 to 1; a trace that came from elsewhere keeps its fate.
    pub sample: f64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            service: String::new(),
            format: LogFormat::default(),
            otlp_endpoint: None,
            filter: None,
            sample: 1.0,
        }
    }
}

/// Why telemetry could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    #[error("the log filter does not parse: {0}")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    #[error("the OTLP exporter cannot be built: {0}")]
    Exporter(#[from] opentelemetry_otlp::ExporterBuildError),
    #[error("a subscriber is set already: {0}")]
    Twice(#[from] tracing_subscriber::util::TryInitError),
}

/// Keeps the exporter alive; [`Telemetry::shutdown`] sends what is left.
pub struct Telemetry {
    provider: SdkTracerProvider,
}

impl Telemetry {
    /// Sends the remaining spans. Blocks for at most the exporter's own time-out.
    pub fn shutdown(self) {
        // A collector that is away must not turn a clean stop into a failure.
        let _ = self.provider.shutdown();
    }
}

/// Sets up logs and spans for this process, once.
pub fn init(settings: &Settings) -> Result<Telemetry, InitError> {
    let mut provider = SdkTracerProvider::builder()
        .with_sampler(Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(settings.sample))))
        .with_resource(Resource::builder().with_service_name(settings.service.clone()).build());
    if let Some(endpoint) = &settings.otlp_endpoint {
        let exporter = opentelemetry_otlp::SpanExporter::builder()
            .with_http()
            .with_endpoint(format!("{}/v1/traces", endpoint.trim_end_matches('/')))
            .build()?;
        provider = provider.with_batch_exporter(exporter);
    }
    let provider = provider.build();
    let filter = match std::env::var("RUST_LOG") {
        Ok(filter) if !filter.is_empty() => EnvFilter::try_new(filter)?,
        _ => EnvFilter::try_new(settings.filter.as_deref().unwrap_or("warn,plimsoll=info"))?,
    };
    let terminal = std::io::stderr().is_terminal();
    let json = match settings.format {
        LogFormat::Auto => !terminal,
        LogFormat::Text => false,
        LogFormat::Json => true,
    };
    let lines = if json {
        let layer = tracing_subscriber::fmt::layer().json().with_writer(std::io::stderr);
        layer.event_format(JsonWithTrace).with_filter(filter).boxed()
    } else {
        tracing_subscriber::fmt::layer()
            .with_writer(std::io::stderr)
            .with_ansi(terminal)
            .with_target(false)
            .with_filter(filter)
            .boxed()
    };
    let spans = tracing_opentelemetry::layer()
        .with_tracer(provider.tracer("plimsoll"))
        .with_filter(EnvFilter::try_new("off,plimsoll=info")?);
    tracing_subscriber::registry().with(lines).with(spans).try_init()?;
    Ok(Telemetry { provider })
}

/// One JSON object a line: time, level, target, trace id, fields.
struct JsonWithTrace;

impl<S, N> FormatEvent<S, N> for JsonWithTrace
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut out: Writer<'_>,
        event: &tracing::Event<'_>,
    ) -> std::fmt::Result {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let context = tracing::Span::current().context();
        let span = context.span();
        let id = span.span_context().is_valid().then(|| span.span_context().trace_id().to_string());
        let seconds = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        write!(
            out,
            "{{\"ts\":{:.3},\"level\":\"{}\",\"target\":\"{}\"",
            seconds.as_secs_f64(),
            event.metadata().level(),
            event.metadata().target()
        )?;
        if let Some(id) = id {
            write!(out, ",\"trace_id\":\"{id}\"")?;
        }
        writeln!(out, "{}}}", fields.0)
    }
}

/// Fields of an event as JSON members, each after a comma.
#[derive(Default)]
struct Fields(String);

impl Fields {
    fn member(&mut self, name: &str, value: &str) {
        self.0.push_str(",\"");
        escape(&mut self.0, name);
        self.0.push_str("\":");
        self.0.push_str(value);
    }
}

impl tracing::field::Visit for Fields {
    fn record_u64(&mut self, field: &tracing::field::Field, value: u64) {
        self.member(field.name(), &value.to_string());
    }
    fn record_i64(&mut self, field: &tracing::field::Field, value: i64) {
        self.member(field.name(), &value.to_string());
    }
    fn record_bool(&mut self, field: &tracing::field::Field, value: bool) {
        self.member(field.name(), if value { "true" } else { "false" });
    }
    fn record_str(&mut self, field: &tracing::field::Field, value: &str) {
        let mut text = String::from("\"");
        escape(&mut text, value);
        text.push('"');
        self.member(field.name(), &text);
    }
    fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
        self.record_str(field, &format!("{value:?}"));
    }
}

/// Appends `text` with JSON's escapes (RFC 8259).
fn escape(out: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            c if (c as u32) < 0x20 || c == '\u{7f}' => out.push_str(&format!("\\u{:04x}", c as u32)),
            c => out.push(c),
        }
    }
}

/// The messages of an error and of its causes, each once.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        let words = next.to_string();
        if !text.ends_with(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        cause = next.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_text_stays_inside_its_member() {
        let mut fields = Fields::default();
        fields.member("detail", "1");
        let mut text = String::new();
        escape(&mut text, "a\"b\\c\n\u{1b}[31m");
        assert_eq!(text, "a\\\"b\\\\c\\u000a\\u001b[31m");
        assert_eq!(fields.0, ",\"detail\":1");
    }
}
