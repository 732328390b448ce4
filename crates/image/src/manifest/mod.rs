//! Manifests and indexes (OCI image specification 1.1; Docker image manifest v2 schema 2 and manifest list).
//!
//! What is read here is what containerd would read. Go's JSON decoder matches field names without regard to
//! case and takes the last of repeated fields, so a document in which that makes a difference is refused as
//! `corrupt`, as is one that could be taken for an index as well as for an image (CVE-2021-41190). URLs in
//! descriptors are not kept: image content never decides an address.

mod config;
mod json;

use std::collections::BTreeMap;

use plimsoll_model::{Digest, Platform};
use serde::Deserialize;

pub use config::{ImageConfig, MAX_CONFIG_BYTES};

/// Largest manifest, in bytes (the least that the distribution specification asks registries to accept).
pub const MAX_MANIFEST_BYTES: usize = 4 * 1024 * 1024;
/// Most layers of an image and most children of an index.
pub const MAX_ENTRIES: usize = 1_000;

/// Media types of manifests.
pub mod media {
    pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
    pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
    pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
    pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
    pub const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
    pub const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
    /// The artifact manifest of OCI 1.1's release candidates.
    pub const OCI_ARTIFACT: &str = "application/vnd.oci.artifact.manifest.v1+json";
    /// The empty object `{}` (OCI image specification 1.1, "Guidance for an Empty Descriptor").
    pub const OCI_EMPTY: &str = "application/vnd.oci.empty.v1+json";
    /// What a client that reads images accepts.
    pub const ACCEPT: [&str; 4] = [OCI_INDEX, OCI_MANIFEST, DOCKER_LIST, DOCKER_MANIFEST];
}

/// A manifest as it was parsed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Manifest {
    /// One image for several platforms.
    Index(Index),
    /// An image for one platform.
    Image(Image),
    /// A chart, a signature, an attestation, a referrer: valid, and of no further interest.
    NotAnImage {
        /// `artifactType`, else the media type that told.
        artifact_type: String,
    },
}

/// An image index or manifest list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Index {
    pub children: Vec<Child>,
    pub annotations: BTreeMap<String, String>,
}

/// One entry of an index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Child {
    /// Absent where the index says nothing.
    pub platform: Option<Platform>,
    pub descriptor: Descriptor,
}

/// An image manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    pub config: Descriptor,
    /// Oldest first.
    pub layers: Vec<Descriptor>,
    pub annotations: BTreeMap<String, String>,
    /// What this manifest refers to.
    pub subject: Option<Descriptor>,
    pub artifact_type: Option<String>,
}

/// A pointer to content. Media type and size are claims, not facts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Descriptor {
    pub media_type: String,
    pub digest: Digest,
    /// Bytes.
    pub size: u64,
    pub annotations: BTreeMap<String, String>,
    pub artifact_type: Option<String>,
}

/// Why a manifest or a configuration cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// More bytes or entries than are read.
    #[error("{what} is larger than {limit}")]
    TooLarge { what: &'static str, limit: usize },
    /// Not what its type promises.
    #[error("the {what} is not valid: {detail}")]
    Corrupt { what: &'static str, detail: String },
    /// A kind that is not read.
    #[error("{0}")]
    Unsupported(String),
}

impl ManifestError {
    /// Stable code: `too_large`, `corrupt` or `unsupported`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "too_large",
            Self::Corrupt { .. } => "corrupt",
            Self::Unsupported(_) => "unsupported",
        }
    }

    fn manifest(detail: impl ToString) -> Self {
        Self::Corrupt { what: "manifest", detail: detail.to_string().chars().take(300).collect() }
    }
}

impl Child {
    /// False for build attestations and the like, which only stand beside the images of an index.
    pub fn runnable(&self) -> bool {
        let attestation = self.descriptor.annotations.contains_key("vnd.docker.reference.type");
        let nowhere =
            self.platform.as_ref().is_some_and(|p| p.os == "unknown" || p.architecture == "unknown");
        let manifest = matches!(
            self.descriptor.media_type.as_str(),
            "" | media::OCI_MANIFEST | media::DOCKER_MANIFEST | media::OCI_INDEX | media::DOCKER_LIST
        );
        manifest && !attestation && !nowhere && self.descriptor.artifact_type.is_none()
    }
}

impl Index {
    /// The runnable child for a platform: equal after normalisation, else one that leaves its variant out or
    /// has one where none was asked for, else one without a platform if it is the only child.
    pub fn select(&self, wanted: &Platform) -> Option<&Child> {
        let runnable = || self.children.iter().filter(|child| child.runnable());
        let wanted = normalize(wanted);
        let known = || runnable().filter_map(|child| Some((child, normalize(child.platform.as_ref()?))));
        known()
            .find(|(_, have)| *have == wanted)
            .or_else(|| {
                known().find(|(_, have)| {
                    have.os == wanted.os
                        && have.architecture == wanted.architecture
                        && (have.variant.is_none() || wanted.variant.is_none())
                })
            })
            .map(|(child, _)| child)
            .or_else(|| {
                let mut all = runnable();
                match (all.next(), all.next()) {
                    (Some(only), None) if only.platform.is_none() => Some(only),
                    _ => None,
                }
            })
    }
}

/// A platform in containerd's normal form: `x86_64` is `amd64`, `aarch64` is `arm64`, `arm64/v8` is `arm64`,
/// `arm` is `arm/v7`.
pub fn normalize(platform: &Platform) -> Platform {
    let os = platform.os.to_ascii_lowercase();
    let architecture = platform.architecture.to_ascii_lowercase();
    let variant = platform.variant.clone().filter(|v| !v.is_empty()).map(|v| v.to_ascii_lowercase());
    let (architecture, variant) = match (architecture.as_str(), variant.as_deref()) {
        ("x86_64" | "x86-64" | "amd64", None | Some("v1")) => ("amd64".to_owned(), None),
        ("x86_64" | "x86-64", _) => ("amd64".to_owned(), variant),
        ("i386", _) => ("386".to_owned(), None),
        ("aarch64" | "arm64", None | Some("8" | "v8")) => ("arm64".to_owned(), None),
        ("armhf", _) => ("arm".to_owned(), Some("v7".to_owned())),
        ("armel", _) => ("arm".to_owned(), Some("v6".to_owned())),
        ("arm", None | Some("" | "7")) => ("arm".to_owned(), Some("v7".to_owned())),
        ("arm", Some(v @ ("5" | "6" | "8"))) => ("arm".to_owned(), Some(format!("v{v}"))),
        _ => (architecture, variant),
    };
    Platform { os, architecture, variant }
}

impl Manifest {
    /// Parses a manifest of any kind. `media_type` is what the registry or the descriptor says, empty when it
    /// says nothing; the document's own `mediaType` must not contradict it.
    pub fn parse(bytes: &[u8], media_type: &str) -> Result<Self, ManifestError> {
        let document = Document::read(bytes)?;
        let said = media_type.split(';').next().unwrap_or("").trim().to_ascii_lowercase();
        match document.kind(&said)? {
            Kind::Index => document.into_index(),
            Kind::Image => document.into_image(),
            Kind::Artifact(artifact_type) => Ok(Self::NotAnImage { artifact_type }),
        }
    }

    /// Parses an image manifest without asking whether it is one of an image: of an artifact too. Its layers are
    /// the artifact's parts. An index is `unsupported`.
    pub fn parse_artifact(bytes: &[u8], media_type: &str) -> Result<Image, ManifestError> {
        let document = Document::read(bytes)?;
        let said = media_type.split(';').next().unwrap_or("").trim().to_ascii_lowercase();
        match document.kind(&said)? {
            Kind::Image => document.into_fields(),
            _ => Err(ManifestError::Unsupported("it is no image manifest".into())),
        }
    }
}

/// The entries of a list of referrers, which is an index whatever it lists.
pub(crate) fn referrers(bytes: &[u8]) -> Result<Vec<Descriptor>, ManifestError> {
    let document = Document::read(bytes)?;
    let Some(entries) = document.manifests else {
        return Err(ManifestError::manifest("it is no index"));
    };
    entries.into_iter().map(TryInto::try_into).collect()
}

enum Kind {
    Index,
    Image,
    Artifact(String),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    #[serde(default)]
    schema_version: u32,
    #[serde(default, deserialize_with = "json::or_default")]
    media_type: String,
    #[serde(default, deserialize_with = "json::or_default")]
    artifact_type: String,
    config: Option<Pointer>,
    #[serde(default, deserialize_with = "json::or_default")]
    layers: Vec<Pointer>,
    manifests: Option<Vec<Pointer>>,
    subject: Option<Pointer>,
    fs_layers: Option<serde::de::IgnoredAny>,
    #[serde(default, deserialize_with = "json::or_default")]
    annotations: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Pointer {
    #[serde(default, deserialize_with = "json::or_default")]
    media_type: String,
    digest: String,
    size: i64,
    platform: Option<PlatformField>,
    #[serde(default, deserialize_with = "json::or_default")]
    artifact_type: String,
    #[serde(default, deserialize_with = "json::or_default")]
    annotations: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct PlatformField {
    #[serde(default, deserialize_with = "json::or_default")]
    os: String,
    #[serde(default, deserialize_with = "json::or_default")]
    architecture: String,
    #[serde(default, deserialize_with = "json::or_default")]
    variant: String,
}

impl Document {
    fn read(bytes: &[u8]) -> Result<Self, ManifestError> {
        if bytes.len() > MAX_MANIFEST_BYTES {
            return Err(ManifestError::TooLarge { what: "the manifest", limit: MAX_MANIFEST_BYTES });
        }
        json::refuse_ambiguous(bytes).map_err(ManifestError::manifest)?;
        let document: Self = serde_json::from_slice(bytes).map_err(ManifestError::manifest)?;
        if let Some(count) = [document.layers.len(), document.manifests.as_ref().map_or(0, Vec::len)]
            .into_iter()
            .find(|&count| count > MAX_ENTRIES)
        {
            tracing::debug!(count, "manifest with too many entries");
            return Err(ManifestError::TooLarge { what: "the list of entries", limit: MAX_ENTRIES });
        }
        Ok(document)
    }

    fn kind(&self, said: &str) -> Result<Kind, ManifestError> {
        let is_schema1 = |text: &str| text.starts_with("application/vnd.docker.distribution.manifest.v1");
        if self.schema_version == 1
            || self.fs_layers.is_some()
            || is_schema1(said)
            || is_schema1(&self.media_type)
        {
            return Err(ManifestError::Unsupported(
                "Docker image manifest v2 schema 1 is not supported; push the image again with a current tool"
                    .into(),
            ));
        }
        let known = |text: &str| match text {
            media::OCI_INDEX | media::DOCKER_LIST => Some(Kind::Index),
            media::OCI_MANIFEST | media::DOCKER_MANIFEST => Some(Kind::Image),
            media::OCI_ARTIFACT => Some(Kind::Artifact(self.artifact_type.clone())),
            _ => None,
        };
        let own = known(&self.media_type);
        let kind = match (own, known(said)) {
            (Some(own), Some(_)) if self.media_type == said => own,
            (Some(_), Some(_)) => {
                return Err(ManifestError::manifest(format!(
                    "it says that it is {:?}, but {said:?} was announced",
                    self.media_type
                )));
            }
            (Some(own), None) => own,
            (None, _) if !self.media_type.is_empty() => Kind::Artifact(self.media_type.clone()),
            (None, Some(said)) => said,
            (None, None) if self.manifests.is_some() => Kind::Index,
            (None, None) if self.config.is_some() => Kind::Image,
            (None, None) => {
                return Err(ManifestError::manifest("it is neither an index nor an image manifest"));
            }
        };
        let index_fields = self.manifests.is_some();
        let image_fields = self.config.is_some() || !self.layers.is_empty();
        match kind {
            Kind::Index if image_fields => Err(ManifestError::manifest("an index with a config or layers")),
            Kind::Image if index_fields => Err(ManifestError::manifest("an image manifest with manifests")),
            kind => Ok(kind),
        }
    }

    fn into_index(self) -> Result<Manifest, ManifestError> {
        let children = self.manifests.unwrap_or_default().into_iter().map(|mut pointer| {
            let platform = pointer.platform.take();
            let platform =
                platform.filter(|p| !p.os.is_empty() || !p.architecture.is_empty()).map(|p| Platform {
                    os: p.os,
                    architecture: p.architecture,
                    variant: Some(p.variant).filter(|v| !v.is_empty()),
                });
            Ok(Child { platform, descriptor: pointer.try_into()? })
        });
        let children = children.collect::<Result<Vec<Child>, ManifestError>>()?;
        // A list of referrers under a tag: nothing in it runs.
        let referrers = !children.is_empty()
            && children.iter().all(|child: &Child| child.descriptor.artifact_type.is_some());
        if referrers || (!self.artifact_type.is_empty() && !children.iter().any(Child::runnable)) {
            let artifact_type = Some(self.artifact_type).filter(|text| !text.is_empty());
            let artifact_type = artifact_type.unwrap_or_else(|| media::OCI_INDEX.to_owned());
            return Ok(Manifest::NotAnImage { artifact_type });
        }
        Ok(Manifest::Index(Index { children, annotations: self.annotations }))
    }

    fn into_fields(self) -> Result<Image, ManifestError> {
        let Some(config) = self.config else {
            return Err(ManifestError::manifest("it has no config"));
        };
        Ok(Image {
            config: config.try_into()?,
            layers: self.layers.into_iter().map(TryInto::try_into).collect::<Result<_, _>>()?,
            annotations: self.annotations,
            subject: self.subject.map(Descriptor::try_from).transpose()?,
            artifact_type: Some(self.artifact_type).filter(|text| !text.is_empty()),
        })
    }

    fn into_image(self) -> Result<Manifest, ManifestError> {
        let image = self.into_fields()?;
        let is_image_config =
            matches!(image.config.media_type.as_str(), media::OCI_CONFIG | media::DOCKER_CONFIG);
        if !is_image_config {
            let artifact_type = image.artifact_type.unwrap_or(image.config.media_type);
            return Ok(Manifest::NotAnImage { artifact_type });
        }
        // Signatures and attestations bear an image's config type: their layers tell. One that is a layer
        // makes it an image, since that is what containerd would unpack.
        let foreign_content = image.layers.iter().find(|layer| !is_layer(&layer.media_type));
        if let Some(told) = foreign_content
            && !image.layers.iter().any(|layer| is_layer(&layer.media_type))
        {
            let artifact_type = image.artifact_type.unwrap_or_else(|| told.media_type.clone());
            return Ok(Manifest::NotAnImage { artifact_type });
        }
        Ok(Manifest::Image(image))
    }
}

/// Also true for what only looks like a layer and cannot be read (encryption, unknown compression): that is an
/// image with a layer that fails visibly, not something to pass over in silence.
fn is_layer(media_type: &str) -> bool {
    matches!(media_type, "" | "application/octet-stream")
        || media_type.starts_with("application/vnd.oci.image.layer.")
        || media_type.starts_with("application/vnd.docker.image.rootfs.")
}

impl TryFrom<Pointer> for Descriptor {
    type Error = ManifestError;
    fn try_from(pointer: Pointer) -> Result<Self, ManifestError> {
        Ok(Self {
            media_type: pointer.media_type,
            digest: pointer.digest.parse().map_err(ManifestError::manifest)?,
            size: u64::try_from(pointer.size)
                .map_err(|_| ManifestError::manifest("a descriptor has a negative size"))?,
            annotations: pointer.annotations,
            artifact_type: Some(pointer.artifact_type).filter(|text| !text.is_empty()),
        })
    }
}
