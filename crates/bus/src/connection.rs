//! The connection to the broker.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_nats::header::{HeaderMap, HeaderName, HeaderValue, NATS_EXPECTED_LAST_SEQUENCE};
use async_nats::jetstream::context::{CreateStreamError, PublishError};
use async_nats::jetstream::object_store::ObjectStore;
use async_nats::jetstream::{self, Context};
use async_nats::{Client, ConnectOptions, Event};
use bytes::Bytes;
use plimsoll_telemetry::{Health, Metrics, trace};

use crate::artifacts::Artifacts;
use crate::recent::Recent;
use crate::records::Records;
use crate::topology::{self, Durability};

/// Largest payload that travels in a message; what is larger becomes an artifact.
pub const INLINE_LIMIT: usize = 48 << 10;
/// How long a connection waits for streams and buckets that cannot be had yet.
const STARTING: Duration = Duration::from_secs(30);
/// Header that names the artifact which holds the payload.
pub(crate) const ARTIFACT_HEADER: &str = "Plimsoll-Artifact";

/// How a client proves who it is. Secrets do not show in `Debug` output.
#[derive(Clone, Default)]
pub enum Login {
    #[default]
    Nothing,
    Password {
        user: String,
        password: String,
    },
    Token(String),
    /// Seed of an nkey.
    Nkey(String),
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Nothing => "Nothing",
            Self::Password { .. } => "Password(***)",
            Self::Token(_) => "Token(***)",
            Self::Nkey(_) => "Nkey(***)",
        })
    }
}

/// How to reach the broker.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Comma-separated server URLs; user and password, where needed, in the first.
    pub url: String,
    /// Credentials file, where the server asks for one.
    pub credentials: Option<std::path::PathBuf>,
    /// Other ways to prove who this is.
    pub login: Login,
    /// PEM bundle of certificate authorities to trust beside the system's.
    pub ca_file: Option<std::path::PathBuf>,
    /// Client certificate and key, PEM.
    pub client_certificate: Option<(std::path::PathBuf, std::path::PathBuf)>,
    /// How long EVENTS keeps what happened. Seven days by default.
    pub events_age: Duration,
    /// How long FACTS, FINDINGS and DEAD keep messages. Thirty days by default.
    pub facts_age: Duration,
    /// Name of this process for logs, leases and the server's monitoring.
    pub name: String,
    pub durability: Durability,
    /// Time after which an un-acknowledged message is delivered again; heartbeats come at a third of it.
    pub ack_wait: Duration,
    /// Wait before the second attempt of transient failures; each further wait is four times as long, up to 300
    /// times this. One second by default.
    pub retry_step: Duration,
    /// Longest delayed NAK; a longer wait is a scheduled message, which does not count against `max_ack_pending`.
    /// One minute by default.
    pub longest_nak: Duration,
    /// Bytes of the work queue, beyond which publishing waits. The server sets them aside. 4 GiB by default.
    pub queue_bytes: i64,
}

impl Settings {
    /// The settings for one server, with an `ack_wait` of 30 s.
    pub fn new(url: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            credentials: None,
            login: Login::Nothing,
            ca_file: None,
            client_certificate: None,
            events_age: Duration::from_secs(7 * 86_400),
            facts_age: Duration::from_secs(30 * 86_400),
            name: name.into(),
            durability: Durability::default(),
            ack_wait: Duration::from_secs(30),
            retry_step: Duration::from_secs(1),
            longest_nak: Duration::from_secs(60),
            queue_bytes: 4 << 30,
        }
    }

    /// Bound of one request to the broker: a third of `ack_wait`, between three and ten seconds.
    pub(crate) fn patience(&self) -> Duration {
        (self.ack_wait / 3).clamp(Duration::from_secs(3), Duration::from_secs(10))
    }
}

/// Why the broker did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum BusError {
    #[error("cannot connect to {url}: {source}")]
    Connect { url: String, source: async_nats::ConnectError },
    #[error("cannot read the credentials: {0}")]
    Credentials(std::io::Error),
    #[error("cannot create a stream: {0}")]
    CreateStream(#[from] CreateStreamError),
    #[error("cannot publish to {subject}: {source}")]
    Publish { subject: String, source: PublishError },
    /// The server took the message for one that it has already, though this publisher sent none with that id.
    #[error("the message id of {subject} is taken")]
    Duplicate { subject: String },
    #[error("artifact {0} is missing")]
    MissingArtifact(String),
    #[error("artifact {name} is not what its name says: {reason}")]
    BadArtifact { name: String, reason: String },
    #[error("a header has a character that headers may not have")]
    Header,
    /// A record key is not made of tokens of `[A-Za-z0-9_=-]` joined by dots.
    #[error("{0:?} is no record key")]
    Key(String),
    #[error("no answer from {subject}: {reason}")]
    Request { subject: String, reason: String },
    #[error("the broker failed: {0}")]
    Other(String),
}

impl BusError {
    pub(crate) fn other(error: impl std::fmt::Display) -> Self {
        Self::Other(error.to_string())
    }

    /// True when the streams cannot be had yet, as against never.
    fn starting(&self) -> bool {
        use async_nats::jetstream::context::CreateStreamErrorKind as Kind;
        match self {
            Self::CreateStream(error) => match error.kind() {
                Kind::JetStream(refusal) => refusal.code() == 503,
                Kind::TimedOut | Kind::Response => true,
                _ => false,
            },
            _ => true,
        }
    }

    /// True when the same request may succeed later without anybody's doing: the broker is away, or full.
    pub(crate) fn passes(&self) -> bool {
        use async_nats::jetstream::context::PublishErrorKind as Kind;
        match self {
            Self::Publish { source, .. } => matches!(
                source.kind(),
                Kind::TimedOut | Kind::BrokenPipe | Kind::StreamNotFound | Kind::MaxAckPending | Kind::Other
            ),
            Self::Request { .. } | Self::Connect { .. } | Self::CreateStream(_) | Self::Other(_) => true,
            _ => false,
        }
    }

    /// Stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Connect { .. } | Self::Request { .. } => "broker_unavailable",
            Self::Credentials(_) => "broker_credentials",
            Self::CreateStream(_) => "broker_topology",
            Self::Publish { .. } | Self::Duplicate { .. } | Self::Other(_) => "broker_failed",
            Self::MissingArtifact(_) => "artifact_missing",
            Self::BadArtifact { .. } => "artifact_corrupt",
            Self::Header => "bad_header",
            Self::Key(_) => "bad_key",
        }
    }
}

/// A message to publish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    pub subject: String,
    pub payload: Vec<u8>,
}

/// A message for [`Bus::publish_next`].
#[derive(Debug)]
pub struct Next<'a> {
    pub message: &'a Outgoing,
    /// Message id.
    pub id: &'a str,
    pub headers: &'a [(&'a str, &'a str)],
    pub traceparent: &'a str,
}

/// The connection; clones share it.
#[derive(Clone)]
pub struct Bus {
    inner: Arc<Inner>,
}

struct Inner {
    client: Client,
    context: Context,
    settings: Settings,
    owner: String,
    metrics: Metrics,
    health: Health,
    connected: tokio::sync::watch::Receiver<u64>,
    recent: Recent<Bytes>,
    objects: tokio::sync::OnceCell<ObjectStore>,
}

/// Bytes of artifacts that are kept after they were stored, for the next stage in this process.
const RECENT: usize = 16 << 20;

impl Bus {
    /// Connects, and creates the streams and buckets that are missing; gives up after half a minute.
    pub async fn connect(settings: Settings, metrics: Metrics, health: Health) -> Result<Self, BusError> {
        let (events, state) = (metrics.clone(), health.clone());
        let (times, connected) = tokio::sync::watch::channel(0u64);
        let times = Arc::new(times);
        state.starting("broker");
        let mut options = ConnectOptions::new()
            .name(&settings.name)
            .retry_on_initial_connect()
            .max_reconnects(None)
            .request_timeout(Some(settings.patience()))
            // Two missing answers make the client leave a server that hangs.
            .ping_interval(settings.patience())
            .event_callback(move |event| {
                let (events, state, times) = (events.clone(), state.clone(), Arc::clone(&times));
                async move {
                    match event {
                        Event::SlowConsumer(_) => events.broker_event("slow_consumer"),
                        Event::Connected => {
                            events.broker_event("connected");
                            state.ready("broker");
                            times.send_modify(|times| *times += 1);
                        }
                        Event::Disconnected => {
                            events.broker_event("disconnected");
                            state.failing("broker", "disconnected");
                        }
                        Event::ClientError(error) => {
                            events.broker_event("client_error");
                            tracing::warn!(%error, "broker client error");
                        }
                        Event::ServerError(error) => {
                            events.broker_event("server_error");
                            tracing::warn!(%error, "broker server error");
                        }
                        _ => {}
                    }
                }
            });
        if let Some(file) = &settings.credentials {
            options = options.credentials_file(file).await.map_err(BusError::Credentials)?;
        }
        let servers: Vec<&str> = settings.url.split(',').map(str::trim).collect();
        // The client reads addresses from URLs, but not who connects.
        let first = servers.first().and_then(|url| url.parse::<async_nats::ServerAddr>().ok());
        if let Some((user, password)) = first.as_ref().and_then(|a| a.username().zip(a.password())) {
            options = options.user_and_password(user.to_owned(), password.to_owned());
        }
        options = match settings.login.clone() {
            Login::Nothing => options,
            Login::Password { user, password } => options.user_and_password(user, password),
            Login::Token(token) => options.token(token),
            Login::Nkey(seed) => options.nkey(seed),
        };
        if let Some(file) = &settings.ca_file {
            options = options.add_root_certificates(file.clone());
        }
        if let Some((certificate, key)) = &settings.client_certificate {
            options = options.add_client_certificate(certificate.clone(), key.clone());
        }
        let client = options
            .connect(servers)
            .await
            .map_err(|source| BusError::Connect { url: settings.url.clone(), source })?;
        let context = jetstream::context::ContextBuilder::new()
            .timeout(settings.patience())
            .ack_timeout(settings.patience())
            .build(client.clone());
        let owner = format!("{}-{}", settings.name, client.new_inbox().rsplit('.').next().unwrap_or("0"));
        patiently("streams", || topology::ensure(&context, &settings)).await?;
        health.ready("broker");
        let (recent, objects) = (Recent::new(RECENT), tokio::sync::OnceCell::new());
        let inner = Inner { client, context, settings, owner, metrics, health, connected, recent, objects };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// JetStream's context.
    pub(crate) fn context(&self) -> &Context {
        &self.inner.context
    }

    pub(crate) fn recent(&self) -> &Recent<Bytes> {
        &self.inner.recent
    }

    pub(crate) fn objects(&self) -> &tokio::sync::OnceCell<ObjectStore> {
        &self.inner.objects
    }

    pub(crate) fn client(&self) -> &Client {
        &self.inner.client
    }

    /// How often the connection was made, and a wait for the next time.
    pub(crate) fn connected(&self) -> tokio::sync::watch::Receiver<u64> {
        let mut connected = self.inner.connected.clone();
        connected.mark_unchanged();
        connected
    }

    /// How this connection was made.
    pub fn settings(&self) -> &Settings {
        &self.inner.settings
    }

    /// Unique name of this process, as leases know it.
    pub fn owner(&self) -> &str {
        &self.inner.owner
    }

    /// Metrics of the process.
    pub fn metrics(&self) -> &Metrics {
        &self.inner.metrics
    }

    /// Readiness of the process.
    pub fn health(&self) -> &Health {
        &self.inner.health
    }

    /// Records of a bucket: `scans`, `layers`, `claims`, `clusters` or `control`.
    pub fn records(&self, bucket: &'static str) -> Records {
        Records::new(self.clone(), bucket)
    }

    /// The artifacts.
    pub fn artifacts(&self) -> Artifacts {
        Artifacts::new(self.clone())
    }

    /// True when JetStream answers.
    pub async fn available(&self) -> bool {
        self.context().query_account().await.is_ok()
    }

    /// Publishes with a message id and waits for the server's acknowledgement. `headers` are added as they are;
    /// the trace context of the current span is added by itself. Returns the stream sequence, or
    /// [`BusError::Duplicate`] when the id was seen before.
    pub async fn publish(
        &self,
        message: &Outgoing,
        id: &str,
        headers: &[(&str, &str)],
    ) -> Result<u64, BusError> {
        self.publish_traced(message, id, headers, &trace::current()).await
    }

    /// [`Bus::publish`] with a given trace context.
    pub async fn publish_traced(
        &self,
        message: &Outgoing,
        id: &str,
        headers: &[(&str, &str)],
        traceparent: &str,
    ) -> Result<u64, BusError> {
        self.publish_as(message, id, headers, traceparent, INLINE_LIMIT).await
    }

    /// [`Bus::publish_traced`] for readers outside of Plimsoll: the payload always travels in the message.
    pub async fn publish_whole(
        &self,
        message: &Outgoing,
        id: &str,
        headers: &[(&str, &str)],
        traceparent: &str,
    ) -> Result<u64, BusError> {
        self.publish_as(message, id, headers, traceparent, usize::MAX).await
    }

    /// Publishes whole messages as the next ones of their stream, whose last sequence is `last`, without waiting in between:
    /// the server refuses each that would not stand in its place. Gives how many are stored, from the first on, and what went
    /// wrong with the next. With [`BusError::Duplicate`] that one is stored, too, somewhere before.
    ///
    /// For the one publisher of a stream only.
    pub async fn publish_next(&self, last: u64, messages: &[Next<'_>]) -> (usize, Option<BusError>) {
        let mut sent = Vec::with_capacity(messages.len());
        let mut failed = None;
        for (expected, next) in (last..).zip(messages) {
            let published = async {
                let mut map = HeaderMap::new();
                put(&mut map, "Nats-Msg-Id", next.id)?;
                map.insert(NATS_EXPECTED_LAST_SEQUENCE, HeaderValue::from(expected));
                for (name, value) in next.headers {
                    put(&mut map, name, value)?;
                }
                if !next.traceparent.is_empty() {
                    put(&mut map, trace::HEADER, next.traceparent)?;
                }
                let (subject, payload) = (next.message.subject.clone(), next.message.payload.clone());
                let published =
                    self.context().publish_with_headers(subject.clone(), map, payload.into()).await;
                published.map_err(|source| BusError::Publish { subject, source })
            };
            match published.await {
                Ok(ack) => sent.push(ack),
                Err(error) => {
                    failed = Some(error);
                    break;
                }
            }
        }
        let mut stored = 0;
        let mut first = None;
        for (place, (ack, next)) in sent.into_iter().zip(messages).enumerate() {
            let subject = || next.message.subject.clone();
            match ack.await {
                Ok(ack) if ack.duplicate => {
                    self.metrics().broker_event("duplicate");
                    first.get_or_insert(BusError::Duplicate { subject: subject() });
                }
                // It stands in its place, so that those before it do, whatever was heard of them.
                Ok(_) => (stored, first) = (place + 1, None),
                Err(source) => {
                    first.get_or_insert(BusError::Publish { subject: subject(), source });
                }
            }
        }
        (stored, first.or(failed))
    }

    async fn publish_as(
        &self,
        message: &Outgoing,
        id: &str,
        headers: &[(&str, &str)],
        traceparent: &str,
        inline: usize,
    ) -> Result<u64, BusError> {
        let mut map = HeaderMap::new();
        put(&mut map, "Nats-Msg-Id", id)?;
        for (name, value) in headers {
            put(&mut map, name, value)?;
        }
        if !traceparent.is_empty() {
            put(&mut map, trace::HEADER, traceparent)?;
        }
        let payload = if message.payload.len() > inline {
            let name = self.artifacts().put("spill", &message.payload).await?;
            put(&mut map, ARTIFACT_HEADER, &name)?;
            Bytes::new()
        } else {
            Bytes::copy_from_slice(&message.payload)
        };
        let failed = |source| BusError::Publish { subject: message.subject.clone(), source };
        let ack = self
            .context()
            .publish_with_headers(message.subject.clone(), map, payload)
            .await
            .map_err(failed)?
            .await
            .map_err(failed)?;
        if ack.duplicate {
            self.metrics().broker_event("duplicate");
            return Err(BusError::Duplicate { subject: message.subject.clone() });
        }
        Ok(ack.sequence)
    }

    /// The payload of a received message, fetched from its artifact where it was too large.
    pub(crate) async fn payload(
        &self,
        headers: Option<&HeaderMap>,
        payload: &Bytes,
    ) -> Result<Bytes, BusError> {
        match headers.and_then(|h| h.get(ARTIFACT_HEADER)) {
            Some(name) => self
                .artifacts()
                .get(name.as_str())
                .await?
                .ok_or_else(|| BusError::MissingArtifact(name.to_string())),
            None => Ok(payload.clone()),
        }
    }

    /// The last message of a stream, with its headers, if there is one.
    pub async fn last_message(
        &self,
        stream: &str,
        subject: &str,
    ) -> Result<Option<(HashMap<String, String>, Bytes)>, BusError> {
        use async_nats::jetstream::stream::LastRawMessageErrorKind as Kind;
        let stream = self.context().get_stream_no_info(stream).await.map_err(BusError::other)?;
        match stream.get_last_raw_message_by_subject(subject).await {
            Ok(message) => {
                let mut headers = HashMap::new();
                for (name, values) in message.headers.iter() {
                    if let Some(value) = values.first() {
                        headers.insert(name.to_string(), value.to_string());
                    }
                }
                Ok(Some((headers, message.payload)))
            }
            Err(error) if error.kind() == Kind::NoMessageFound => Ok(None),
            Err(error) => Err(BusError::other(error)),
        }
    }

    /// The last sequence of a stream.
    pub async fn last_sequence(&self, stream: &str) -> Result<u64, BusError> {
        let stream = self.context().get_stream(stream).await.map_err(BusError::other)?;
        Ok(stream.cached_info().state.last_sequence)
    }

    /// Sends what is buffered and ends the connection, before a server that belongs to this process is stopped.
    pub async fn close(&self) {
        // A connection that is gone needs no end.
        let _ = self.client().drain().await;
    }

    /// Sends what is buffered; for a clean stop.
    pub async fn flush(&self) {
        // The connection may be gone already, and then there is nothing to flush to.
        let _ = self.client().flush().await;
    }
}

/// Asks for something until the broker can give it, for half a minute: a server that recovers, or a cluster that elects
/// a leader, refuses for a while.
pub(crate) async fn patiently<T, F>(what: &str, mut ask: impl FnMut() -> F) -> Result<T, BusError>
where
    F: Future<Output = Result<T, BusError>>,
{
    let began = std::time::Instant::now();
    loop {
        match ask().await {
            Err(error) if began.elapsed() < STARTING && error.starting() => {
                tracing::info!(%error, what, "the broker is not ready yet");
                tokio::time::sleep(Duration::from_millis(250)).await;
            }
            done => return done,
        }
    }
}

/// Adds a header; hostile text (line breaks) is an error and never a second header.
pub(crate) fn put(map: &mut HeaderMap, name: &str, value: &str) -> Result<(), BusError> {
    let name: HeaderName = name.parse().map_err(|_| BusError::Header)?;
    let value: HeaderValue = value.parse().map_err(|_| BusError::Header)?;
    map.insert(name, value);
    Ok(())
}

/// A message id: 128 bits of SHA-256 over the parts, each with its length.
pub fn message_id(parts: &[&[u8]]) -> String {
    let mut context = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
    for part in parts {
        context.update(&(part.len() as u64).to_le_bytes());
        context.update(part);
    }
    let digest = context.finish();
    let mut text = String::with_capacity(32);
    plimsoll_model::digest::push_hex(&mut text, digest.as_ref().get(..16).unwrap_or_default());
    text
}
