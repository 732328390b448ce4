//! The sections of the file beside registries and tokens. Every field has a default.

use std::fmt;
use std::path::PathBuf;

use serde::Deserialize;

use crate::value::{ByteSize, Secret, Span};

/// Bounds on what is accepted and on what one layer may cost.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Largest body of a registry notification.
    pub webhook_body: ByteSize,
    /// Largest upload of manifests.
    pub deploy_body: ByteSize,
    /// Name of the limits profile under which layers are read; part of an Extract's identity.
    pub layer_profile: String,
    /// Bytes of announced layers that are read ahead of their manifest, for each repository and hour.
    pub hint_bytes: ByteSize,
    /// Largest compressed blob that is fetched.
    pub blob: ByteSize,
    /// Tags and repositories that one listing may return.
    pub list_entries: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            webhook_body: ByteSize::mib(1),
            deploy_body: ByteSize::mib(16),
            layer_profile: "default".into(),
            hint_bytes: ByteSize::mib(2048),
            blob: ByteSize::mib(32 * 1024),
            list_entries: 100_000,
        }
    }
}

/// How much of the machine the work may take.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Workers {
    /// Threads for CPU-bound work; 0 for one a processor.
    pub threads: usize,
    /// Layers read at once; 0 for one a processor.
    pub layer_slots: usize,
    /// Memory for streams and entries in flight.
    pub byte_budget: ByteSize,
}

impl Default for Workers {
    fn default() -> Self {
        Self { threads: 0, layer_slots: 0, byte_budget: ByteSize::mib(256) }
    }
}

/// What to believe of a workload whose exposure is not proved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Assumption {
    /// Reachable from the internet.
    #[default]
    Exposed,
    /// Not reachable from the internet.
    Internal,
}

/// When a cluster's view counts as complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Completeness {
    /// When an event says so: a watch, or an upload with `mode=replace` and `scope=cluster`.
    #[default]
    Declared,
    /// Always: the operator asserts that everything that runs there is deployed through Plimsoll.
    Always,
    /// Never: something else deploys there too.
    Never,
}

/// What is known of a cluster beside its objects.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cluster {
    pub name: String,
    /// The operator asserts that the cluster's network plugin enforces network policies.
    #[serde(default)]
    pub enforcement_asserted: bool,
    #[serde(default)]
    pub complete: Completeness,
}

/// How exposure enters the ranking.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Exposure {
    /// Age after which a cluster's view no longer lowers a class.
    pub max_age: Span,
    /// For images that nobody deployed, and where a condition of the proof is missing.
    pub assume: Assumption,
    pub clusters: Vec<Cluster>,
}

impl Default for Exposure {
    fn default() -> Self {
        Self { max_age: Span::from_secs(86_400), assume: Assumption::default(), clusters: Vec::new() }
    }
}

impl Exposure {
    /// What is known of a cluster; without an entry, nothing is asserted.
    pub fn cluster(&self, name: &str) -> Cluster {
        self.clusters.iter().find(|cluster| cluster.name == name).cloned().unwrap_or_else(|| Cluster {
            name: name.to_owned(),
            enforcement_asserted: false,
            complete: Completeness::default(),
        })
    }
}

/// Which tags of a repository are its current content.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TrackedTags {
    /// So many of the tags that were pushed last.
    pub newest: u32,
    /// Tags that always count.
    pub always: Vec<String>,
}

impl Default for TrackedTags {
    fn default() -> Self {
        Self { newest: 3, always: vec!["latest".into()] }
    }
}

/// How long things are kept.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Retention {
    /// Time for which an artifact stays unmarked before it is swept.
    pub unmarked: Span,
    /// Age of events in the stream EVENTS.
    pub events: Span,
    /// Age of messages in FACTS, FINDINGS and DEAD.
    pub facts: Span,
    /// Time between two runs of the collector.
    pub collect_every: Span,
    /// Time between two copies of the store in the broker, from which a lost one is derived again.
    pub copy_every: Span,
    /// Image digests whose findings are always kept, e.g. releases under support.
    pub pinned: Vec<plimsoll_model::Digest>,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            unmarked: Span::from_secs(7 * 86_400),
            events: Span::from_secs(7 * 86_400),
            facts: Span::from_secs(30 * 86_400),
            collect_every: Span::from_secs(3_600),
            copy_every: Span::from_secs(86_400),
            pinned: Vec::new(),
        }
    }
}

/// What survives a crash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Deserialize)]
pub enum Durability {
    /// One node, synced periodically: survives kill -9 of anything; a power cut may cost two minutes.
    #[default]
    #[serde(rename = "r1")]
    R1,
    /// One node, synced with every write.
    #[serde(rename = "r1-always")]
    R1Always,
    /// Three nodes.
    #[serde(rename = "r3")]
    R3,
}

impl Durability {
    /// The mode's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::R1 => "r1",
            Self::R1Always => "r1-always",
            Self::R3 => "r3",
        }
    }

    /// Replicas of a stream.
    pub fn replicas(self) -> usize {
        match self {
            Self::R1 | Self::R1Always => 1,
            Self::R3 => 3,
        }
    }
}

/// How to reach NATS. Without `urls`, `plimsoll up` starts a server of its own.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Nats {
    /// `nats://host:port` or `tls://host:port`, one for each server.
    pub urls: Vec<String>,
    /// A credentials file (JWT and seed).
    pub creds_file: Option<PathBuf>,
    /// A file with an nkey seed.
    pub nkey_file: Option<PathBuf>,
    pub user: Option<String>,
    pub password: Option<Secret>,
    pub password_file: Option<PathBuf>,
    pub token: Option<Secret>,
    /// PEM bundle of certificate authorities.
    pub ca_file: Option<PathBuf>,
    /// Client certificate and key in PEM.
    pub cert_file: Option<PathBuf>,
    pub key_file: Option<PathBuf>,
    /// The nats-server program that `plimsoll up` starts; looked up in PATH when absent.
    pub server: Option<PathBuf>,
}

/// The form of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// JSON unless standard error is a terminal.
    #[default]
    Auto,
    Json,
    Text,
}

/// Traces and logs.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Telemetry {
    /// Base URL of an OTLP/HTTP collector, e.g. `http://localhost:4318`; no traces leave when absent.
    pub otlp_endpoint: Option<String>,
    pub log_format: LogFormat,
    /// Filter directives, as `RUST_LOG` has them.
    pub log: String,
    /// Share of traces that is kept, 0 to 1.
    pub sample: f64,
}

impl Default for Telemetry {
    fn default() -> Self {
        Self { otlp_endpoint: None, log_format: LogFormat::default(), log: "info".into(), sample: 1.0 }
    }
}

/// A source of VEX documents, and whom it is believed to speak for.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VexSource {
    /// A document, a directory of documents, or a VEX repository (as a directory, a `.tar.gz`, or the address of its
    /// `vex-repository.json`).
    pub from: Feed,
    /// The name under which its statements count; where it is empty, each document's author.
    #[serde(default)]
    pub issuer: String,
    /// Public keys in PEM: only documents that are signed with one of them count.
    #[serde(default)]
    pub keys: Vec<PathBuf>,
    /// Only documents of these authors count.
    #[serde(default)]
    pub authors: Vec<String>,
}

/// Where advisories come from: a file or directory; or an address, also `osv+https://…` and `csaf+https://…` for
/// sources that are followed by their lists of changes, and `upstream:NAME` for those that are known by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Feed {
    Path(PathBuf),
    Url(String),
}

impl fmt::Display for Feed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => write!(f, "{}", path.display()),
            Self::Url(url) => f.write_str(url),
        }
    }
}

impl<'de> Deserialize<'de> for Feed {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let is_url = ["https://", "http://", "osv+http", "csaf+http", "upstream:"]
            .iter()
            .any(|begin| text.starts_with(begin));
        Ok(if is_url { Self::Url(text) } else { Self::Path(text.into()) })
    }
}
