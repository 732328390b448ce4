//! The configuration file: registries, tokens, limits, assumptions.
//!
//! One YAML document, read once at start ([`Config::load`]); without a file the defaults of
//! [`Config::default`] hold. Unknown fields, repeated keys and values out of range are errors that name the
//! field. Secrets stand in the file or in files beside it, and never show in `Debug` output. Relative paths
//! are relative to the configuration file. [`Config::example`] is a commented file with every field.
//!
//! | module | what |
//! |---|---|
//! | [`registry`] | the allow-list of registries, with credentials, mirrors and rates |
//! | [`token`] | who may use the HTTP interface, and for what |
//! | [`section`] | limits, exposure, retention, NATS, telemetry |
//! | [`value`] | secrets, durations and byte sizes as people write them |

mod load;
pub mod registry;
pub mod section;
pub mod token;
pub mod value;

pub use load::{Config, ConfigError};
pub use registry::Registry;
pub use section::{
    Assumption, Cluster, Completeness, Durability, Exposure, Feed, Limits, LogFormat, Nats, Retention,
    Telemetry, TrackedTags, VexSource, Workers,
};
pub use token::{Scope, Token};
pub use value::{ByteSize, Secret, Span};
