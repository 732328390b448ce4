//! The components of one image.

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::extract::{Anomaly, Partial};
use crate::package::{ComponentKey, Release};
use crate::platform::Platform;

/// What an image (or a directory, or an imported document) consists of. Byte-stable for equal content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sbom {
    /// Digest of the image manifest, where there is one.
    pub image: Option<Digest>,
    /// A name for people: reference, path, or the document's own.
    pub name: String,
    pub platform: Option<Platform>,
    /// The distribution, from os-release.
    pub distribution: Option<Distribution>,
    /// Layers, oldest first.
    pub layers: Vec<LayerInfo>,
    /// Sorted by (purl, first location); one component for one package.
    pub components: Vec<Component>,
    pub anomalies: Vec<Anomaly>,
    /// Reasons for which the list may be incomplete.
    pub partial: Vec<Partial>,
    /// Labels and annotations of interest (`org.opencontainers.image.*`), sorted.
    pub labels: Vec<(String, String)>,
}

/// What os-release says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Distribution {
    pub release: Release,
    pub codename: String,
    pub pretty_name: String,
    /// `ID_LIKE`, split.
    pub like: Vec<String>,
}

/// One layer of an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerInfo {
    pub digest: Digest,
    /// The `created_by` line of the image's history, where there is one.
    pub created_by: String,
}

/// One package, with every place where it was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Component {
    pub key: ComponentKey,
    /// The canonical package URL.
    pub purl: String,
    /// The name as the package writes it, for people; the normalised one is in `key`.
    pub display_name: String,
    /// Sorted.
    pub locations: Vec<Location>,
    /// Licences as stated, SPDX expressions where the statement is one; sorted.
    pub licenses: Vec<String>,
    /// Purl of the distribution package that owns the files of this one, if any: its fixes come from there.
    pub owned_by: Option<String>,
    pub confidence: Confidence,
    /// Maintainer or author, as stated.
    pub supplier: String,
    /// Cataloger that found it.
    pub found_by: String,
    /// Purls of components that this one names as dependencies and that are in the same Sbom; sorted.
    pub depends_on: Vec<String>,
}

/// Where a package was found.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Location {
    pub path: String,
    /// The layer that holds the path, where layers are known.
    pub layer: Option<Digest>,
}

/// How sure the evidence is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Confidence {
    /// A guess from a binary's content or a file's name.
    Low,
    /// The package's own statement.
    High,
}
