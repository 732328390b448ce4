//! The configuration blob of an image (OCI image specification, "Image Configuration").

use std::collections::BTreeMap;

use plimsoll_model::{Digest, Platform};
use serde::Deserialize;

use super::{ManifestError, json};

/// Largest configuration, in bytes.
pub const MAX_CONFIG_BYTES: usize = 8 * 1024 * 1024;
/// Most history lines.
const MAX_HISTORY: usize = 10_000;
/// Characters of a history line that are kept.
const MAX_CREATED_BY: usize = 2_000;

/// What an image's configuration says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageConfig {
    pub platform: Platform,
    /// Sorted by name.
    pub labels: Vec<(String, String)>,
    /// `NAME=value`, in order.
    pub env: Vec<String>,
    /// The `created_by` line of each layer, oldest first; empty texts where the history does not say, and
    /// throughout where it does not fit the layers.
    pub history: Vec<String>,
    /// Digests of the uncompressed layers, oldest first, as claimed.
    pub diff_ids: Vec<Digest>,
    /// When the image was made, as it says.
    pub created: Option<String>,
}

#[derive(Deserialize)]
struct Document {
    #[serde(default, deserialize_with = "json::or_default")]
    os: String,
    #[serde(default, deserialize_with = "json::or_default")]
    architecture: String,
    #[serde(default, deserialize_with = "json::or_default")]
    variant: String,
    #[serde(default, deserialize_with = "json::or_default")]
    created: String,
    #[serde(default, deserialize_with = "json::or_default")]
    config: Execution,
    rootfs: Option<RootFs>,
    #[serde(default, deserialize_with = "json::or_default")]
    history: Vec<History>,
}

#[derive(Deserialize, Default)]
struct Execution {
    #[serde(default, rename = "Env", deserialize_with = "json::or_default")]
    env: Vec<String>,
    #[serde(default, rename = "Labels", deserialize_with = "json::or_default")]
    labels: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct RootFs {
    #[serde(default, rename = "type", deserialize_with = "json::or_default")]
    kind: String,
    #[serde(default, deserialize_with = "json::or_default")]
    diff_ids: Vec<String>,
}

#[derive(Deserialize)]
struct History {
    #[serde(default, deserialize_with = "json::or_default")]
    created_by: String,
    #[serde(default, deserialize_with = "json::or_default")]
    empty_layer: bool,
}

impl ImageConfig {
    /// Parses the configuration of an image with so many layers. The number of diff ids must be that of the
    /// layers, as containerd asks before it unpacks.
    pub fn parse(bytes: &[u8], layers: usize) -> Result<Self, ManifestError> {
        let corrupt = |detail: String| ManifestError::Corrupt {
            what: "image configuration",
            detail: detail.chars().take(300).collect(),
        };
        if bytes.len() > MAX_CONFIG_BYTES {
            return Err(ManifestError::TooLarge { what: "the image configuration", limit: MAX_CONFIG_BYTES });
        }
        let document: Document = serde_json::from_slice(bytes).map_err(|error| corrupt(error.to_string()))?;
        if document.history.len() > MAX_HISTORY {
            return Err(ManifestError::TooLarge { what: "the history", limit: MAX_HISTORY });
        }
        let Some(rootfs) = document.rootfs else { return Err(corrupt("it has no rootfs".into())) };
        if !matches!(rootfs.kind.as_str(), "" | "layers") {
            return Err(corrupt(format!("rootfs of type {:?}", rootfs.kind)));
        }
        if rootfs.diff_ids.len() != layers {
            return Err(corrupt(format!("{} diff ids for {layers} layers", rootfs.diff_ids.len())));
        }
        let diff_ids = rootfs.diff_ids.iter().map(|text| text.parse());
        let diff_ids = diff_ids.collect::<Result<_, _>>().map_err(|error| corrupt(format!("{error}")))?;
        let lines = document.history.into_iter().filter(|line| !line.empty_layer);
        let mut history: Vec<String> =
            lines.map(|line| line.created_by.chars().take(MAX_CREATED_BY).collect()).collect();
        if history.len() != layers {
            history = vec![String::new(); layers];
        }
        let platform = if document.os.is_empty() && document.architecture.is_empty() {
            Platform::default()
        } else {
            Platform {
                os: document.os,
                architecture: document.architecture,
                variant: Some(document.variant).filter(|text| !text.is_empty()),
            }
        };
        Ok(Self {
            platform,
            labels: document.config.labels.into_iter().collect(),
            env: document.config.env,
            history,
            diff_ids,
            created: Some(document.created).filter(|text| !text.is_empty()),
        })
    }
}
