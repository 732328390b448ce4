//! CycloneDX (<https://cyclonedx.org/docs/1.6/json/>): written as JSON in 1.5 to 1.7, read as JSON and XML in 1.2 to 1.7.
//!
//! What CycloneDX has no field for is in properties under `plimsoll:`, so that reading a written document gives an
//! equal [`Sbom`](plimsoll_model::Sbom):
//!
//! | property | of | holds |
//! |---|---|---|
//! | `plimsoll:key` | component | [`ComponentKey::id`](plimsoll_model::ComponentKey::id) |
//! | `plimsoll:source:name`, `plimsoll:source:version` | component | the source package, for people and other tools |
//! | `plimsoll:location:N:layer` | component | layer digest of `evidence.occurrences[N]` |
//! | `plimsoll:found_by`, `plimsoll:owned_by`, `plimsoll:confidence` | component | the fields of [`Component`](plimsoll_model::Component) |
//! | `plimsoll:introduced_by` | component | digest of the layer that brought it in |
//! | `plimsoll:origin` | component | `base` or `application`, where the base image is known; derived from the two above |
//! | `plimsoll:base:name`, `:digest`, `:layers` | metadata | the base image, and how many of the layers are its |
//! | `plimsoll:platform` | metadata | `os/architecture[/variant]` |
//! | `plimsoll:layer:N:digest`, `plimsoll:layer:N:created_by` | metadata | the layers, oldest first |
//! | `plimsoll:label:NAME` | metadata | labels |
//! | `plimsoll:partial` | metadata | a JSON list of code and detail |
//! | `plimsoll:anomaly` | metadata | a JSON list of code, path and detail |
//! | `plimsoll:distro:codename`, `:pretty_name`, `:like` | operating system | os-release |

mod read;
mod write;
mod xml;

pub(crate) use read::from_value;
pub use read::read;
pub(crate) use write::uuid;
pub use write::write;
pub(crate) use xml::begins as is_xml;

use plimsoll_model::Timestamp;

/// A version of the specification that is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum SpecVersion {
    V1_5,
    #[default]
    V1_6,
    V1_7,
}

impl SpecVersion {
    /// `1.6` and the like.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V1_5 => "1.5",
            Self::V1_6 => "1.6",
            Self::V1_7 => "1.7",
        }
    }
}

/// How a document is written.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    pub version: SpecVersion,
    /// `metadata.timestamp`. Without one equal Sboms give equal bytes whenever they are written.
    pub timestamp: Option<Timestamp>,
    /// Indented for people.
    pub pretty: bool,
}
