//! `plimsoll sbom --push`: a document beside the image that it describes, as one of its referrers.

use std::collections::BTreeMap;

use plimsoll_config::Config;
use plimsoll_image::manifest::Descriptor;
use plimsoll_image::registry::{Artifact, Part, Registries};
use plimsoll_image::source::Target;
use plimsoll_model::Sbom;

use super::fault;
use super::sbom::Format;
use crate::error::CliError;

/// The media type of a document, and the name of the file that tools make of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kind {
    media_type: &'static str,
    title: &'static str,
}

impl Kind {
    /// Of a form that others can read.
    pub(super) fn of(format: Format) -> Result<Self, CliError> {
        Ok(match format {
            Format::CyclonedxJson => {
                Self { media_type: "application/vnd.cyclonedx+json", title: "sbom.cdx.json" }
            }
            Format::SpdxJson => Self { media_type: "application/spdx+json", title: "sbom.spdx.json" },
            Format::SpdxTagValue => Self { media_type: "text/spdx", title: "sbom.spdx" },
            Format::Table | Format::Json => {
                return Err(CliError::new("usage", "this form is not for others to read")
                    .hint("push cyclonedx-json, spdx-json or spdx-tag-value"));
            }
        })
    }
}

/// Pushes what `make` gives for the target; says what was pushed. The registry is looked up before anything is read.
pub(super) fn run(
    target: &str,
    config: &Config,
    make: impl FnOnce() -> Result<(Sbom, Kind, Vec<u8>), CliError>,
) -> Result<String, CliError> {
    let Ok(Target::Registry(reference)) = target.parse::<Target>() else {
        return Err(CliError::new("usage", "only an image in a registry can have referrers")
            .hint("name HOST/REPOSITORY[:TAG][@DIGEST]"));
    };
    let registries = Registries::new(&config.registries).map_err(|e| fault::setup(&e))?;
    let canonical = registries.canonical(&reference).map_err(|e| fault::registry(&e))?;
    let (sbom, kind, bytes) = make()?;
    let Some(image) = sbom.image else {
        return Err(CliError::new("not_an_image", "what was read has no manifest to refer to"));
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(CliError::io("start the runtime"))?;
    runtime.block_on(async {
        let (registry, repository) = (canonical.registry.as_str(), canonical.repository.as_str());
        let found =
            registries.manifest(registry, repository, &image).await.map_err(|e| fault::registry(&e))?;
        let artifact = Artifact {
            artifact_type: kind.media_type.to_owned(),
            parts: vec![Part {
                media_type: kind.media_type.to_owned(),
                bytes: bytes.into(),
                annotations: BTreeMap::from([(
                    "org.opencontainers.image.title".to_owned(),
                    kind.title.to_owned(),
                )]),
            }],
            annotations: BTreeMap::new(),
            subject: Some(Descriptor {
                media_type: found.media_type,
                digest: found.digest,
                size: u64::try_from(found.bytes.len()).unwrap_or(u64::MAX),
                annotations: BTreeMap::new(),
                artifact_type: None,
            }),
        };
        let pushed =
            registries.push(registry, repository, None, &artifact).await.map_err(|e| fault::registry(&e))?;
        let listed = match &pushed.listed_in {
            Some(tag) => format!(", listed under the tag {tag}"),
            None => String::new(),
        };
        Ok(format!("{registry}/{repository}@{} refers to {image}{listed}\n", pushed.descriptor.digest))
    })
}
