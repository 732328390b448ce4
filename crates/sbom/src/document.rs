//! Documents of any supported format, told apart by their content.

use plimsoll_model::Sbom;
use serde_json::Value;

/// Largest document that is read, in bytes.
pub const MAX_BYTES: usize = 256 << 20;
/// Most components that are read from one document.
pub const MAX_COMPONENTS: usize = 1_000_000;

/// Why a document is not read.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    #[error("document is larger than 256 MiB")]
    TooLarge,
    #[error("document has more than 1,000,000 components")]
    TooManyComponents,
    #[error("document is neither JSON nor SPDX tag-value")]
    Json(#[source] serde_json::Error),
    #[error("XML of the document cannot be read: {0}")]
    Xml(&'static str),
    #[error("document is neither CycloneDX, SPDX, syft-json nor Plimsoll's own JSON")]
    UnknownFormat,
    #[error("{format} {version} is not supported")]
    UnknownVersion { format: &'static str, version: String },
}

impl DocumentError {
    /// The stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::TooLarge => "sbom_too_large",
            Self::TooManyComponents => "sbom_too_many_components",
            Self::Json(_) => "sbom_not_json",
            Self::Xml(_) => "sbom_not_xml",
            Self::UnknownFormat => "sbom_unknown_format",
            Self::UnknownVersion { .. } => "sbom_unknown_version",
        }
    }
}

/// Reads CycloneDX (JSON and XML), SPDX (JSON and tag-value) or syft-json, or the JSON of an [`Sbom`].
///
/// Components without a usable package URL are counted in [`Sbom::partial`] (code `component_without_purl`).
pub fn read(bytes: &[u8]) -> Result<Sbom, DocumentError> {
    if crate::spdx::is_tag_value(bytes) {
        return crate::spdx::read_tag_value(bytes);
    }
    if crate::cyclonedx::is_xml(bytes) {
        return crate::cyclonedx::read(bytes);
    }
    let value = parse(bytes)?;
    if value.get("bomFormat").is_some() {
        return crate::cyclonedx::from_value(&value);
    }
    if value.get("spdxVersion").is_some() {
        return crate::spdx::from_value(&value);
    }
    if value.get("artifacts").is_some() && value.get("schema").is_some() {
        return crate::syft::from_value(&value);
    }
    if value.get("components").is_some() && value.get("layers").is_some() {
        return serde_json::from_value(value).map_err(DocumentError::Json);
    }
    Err(DocumentError::UnknownFormat)
}

pub(crate) fn parse(bytes: &[u8]) -> Result<Value, DocumentError> {
    if bytes.len() > MAX_BYTES {
        return Err(DocumentError::TooLarge);
    }
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    serde_json::from_slice(bytes).map_err(DocumentError::Json)
}

/// A member that is a text, else an empty one.
pub(crate) fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    value.get(name).and_then(Value::as_str).unwrap_or("")
}

/// A member that is a list, else an empty one.
pub(crate) fn list<'v>(value: &'v Value, name: &str) -> &'v [Value] {
    value.get(name).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// An Sbom of which nothing is known.
pub(crate) fn empty(name: &str) -> Sbom {
    Sbom {
        image: None,
        name: name.to_owned(),
        platform: None,
        distribution: None,
        layers: Vec::new(),
        components: Vec::new(),
        anomalies: Vec::new(),
        partial: Vec::new(),
        labels: Vec::new(),
        base: None,
        secrets: Vec::new(),
    }
}
