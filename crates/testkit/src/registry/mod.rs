//! Registries: a real one as a child, an embedded one with faults, and what talks to either.
//!
//! Both announce pushes as CNCF Distribution does: envelopes of media type
//! `application/vnd.docker.distribution.events.v1+json`, POSTed to the configured endpoints.
//!
//! ```
//! use plimsoll_testkit::image::{Compression, ImageBuilder, Layer};
//! use plimsoll_testkit::registry::{Behaviour, FakeRegistry, Fault, Options};
//!
//! # tokio::runtime::Runtime::new()?.block_on(async {
//! let image = ImageBuilder::new().layer(Layer::new().file("a", "b"), Compression::Gzip).build()?;
//! let registry = FakeRegistry::start(Options::default()).await?;
//! registry.put_image("shop/web", "1", &image);
//! let layer = &image.layers()[0].digest;
//! registry.behave(Behaviour::blob(layer, Fault::TooManyRequests { retry_after: Some("1".into()) }).times(2));
//! // … something pulls `registry.host()/shop/web:1`, and then:
//! assert!(registry.blob_gets(layer) <= 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod fake;
mod push;
mod real;
mod sink;

pub use fake::{Auth, Behaviour, FakeRegistry, Fault, Kind, Options, Request};
pub use push::Pusher;
pub use real::{RealOptions, RealRegistry};
pub use sink::{Delivery, WebhookSink};

/// Media type of a notification envelope.
pub const EVENTS: &str = "application/vnd.docker.distribution.events.v1+json";

/// Where notifications go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Full URL that envelopes are POSTed to.
    pub url: String,
    /// Headers added to each POST, such as `("Authorization", "Bearer …")`.
    pub headers: Vec<(String, String)>,
}

impl Endpoint {
    /// An endpoint with an `Authorization` header.
    pub fn authorized(url: impl Into<String>, authorization: impl Into<String>) -> Self {
        Self { url: url.into(), headers: vec![("Authorization".to_owned(), authorization.into())] }
    }
}

/// A registry could not be run or spoken to.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// A program is not installed.
    #[error("run {program}: it is not installed (Debian: apt-get install {package})")]
    NotInstalled {
        /// What was to be run.
        program: &'static str,
        /// The Debian package that has it.
        package: &'static str,
    },
    /// No listener could be had.
    #[error("listen on {addr}")]
    Listen {
        /// Where.
        addr: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file could not be written.
    #[error("write {path}")]
    Write {
        /// Which one.
        path: std::path::PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// No port was free.
    #[error(transparent)]
    Ports(#[from] crate::ports::PortsError),
    /// The child could not be run.
    #[error(transparent)]
    Process(#[from] crate::process::ProcessError),
    /// The child is not ready in time, or has ended.
    #[error("start docker-registry: {why}; its log ends with:\n{log}")]
    NotReady {
        /// What happened.
        why: String,
        /// The end of its log.
        log: String,
    },
    /// The password could not be hashed.
    #[error("hash a password: {0}")]
    Password(String),
    /// A program failed.
    #[error("run {program}: {status}: {said}")]
    Failed {
        /// What was run.
        program: &'static str,
        /// How it ended.
        status: String,
        /// What it wrote to its error output.
        said: String,
    },
    /// The registry could not be reached.
    #[error("speak to the registry")]
    Http(#[from] reqwest::Error),
    /// The registry refused.
    #[error("{act}: status {status}: {body}")]
    Refused {
        /// What was attempted.
        act: String,
        /// Status code.
        status: u16,
        /// Start of the answer.
        body: String,
    },
}
