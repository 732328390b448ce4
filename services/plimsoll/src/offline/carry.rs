//! `plimsoll db push` and `pull`: a Db as an artifact in any OCI registry (image specification 1.1, "Guidelines for
//! artifact usage"), so that nobody depends on one of ours.
//!
//! The artifact has one layer, the file itself, so that the layer's digest is the file's.

use std::collections::BTreeMap;
use std::path::Path;

use bytes::Bytes;
use plimsoll_image::registry::{Artifact, MAX_PUSH_BYTES, Part, Registries, RegistryError};
use plimsoll_model::{Digest, Reference};
use plimsoll_vuln::{Db, DbInfo};
use serde::Deserialize;

use super::{fault, out};
use crate::error::CliError;
use crate::output;

/// Artifact type of a Db.
const ARTIFACT: &str = "application/vnd.plimsoll.db.v1";
/// Media type of its file.
const FILE: &str = "application/vnd.plimsoll.db.file.v1";
const SEQUENCE: &str = "dev.plimsoll.db.seq";
const FORMAT: &str = "dev.plimsoll.db.format";

/// The parts of a manifest that a pull reads.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Manifest {
    #[serde(default)]
    artifact_type: String,
    #[serde(default)]
    layers: Vec<Layer>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Layer {
    media_type: String,
    digest: String,
    size: u64,
}

/// A Db whose checksum is right, and what it says of itself.
fn checked(db: &Db) -> Result<DbInfo, CliError> {
    db.verify().and_then(|()| db.info()).map_err(|error| fault::db(&error))
}

fn reference(text: &str) -> Result<Reference, CliError> {
    text.parse().map_err(|error| {
        CliError::new("invalid_reference", error).hint("e.g. registry.example.com/plimsoll/db:latest")
    })
}

fn registries(config: Option<&Path>) -> Result<Registries, CliError> {
    let config = plimsoll_process::configuration(config)?;
    Registries::new(&config.registries).map_err(|error| fault::setup(&error))
}

/// Pushes a file under the tag of the reference.
pub(super) fn push(file: &Path, text: &str, config: Option<&Path>) -> Result<(), CliError> {
    let to = reference(text)?;
    let info = checked(&Db::open(file).map_err(|error| fault::db(&error))?)?;
    let bytes = std::fs::read(file).map_err(CliError::io(format!("read {}", file.display())))?;
    let title = ("org.opencontainers.image.title".to_owned(), "plimsoll.db".to_owned());
    let annotations = BTreeMap::from([
        ("org.opencontainers.image.created".to_owned(), info.built_at.to_string()),
        (SEQUENCE.to_owned(), info.seq.to_string()),
        (FORMAT.to_owned(), info.format.to_string()),
    ]);
    let part =
        Part { media_type: FILE.to_owned(), bytes: Bytes::from(bytes), annotations: BTreeMap::from([title]) };
    let artifact =
        Artifact { artifact_type: ARTIFACT.to_owned(), parts: vec![part], annotations, subject: None };
    let registries = registries(config)?;
    let pushed = crate::up::runtime()?
        .block_on(registries.push(&to.registry, &to.repository, to.tag.as_deref(), &artifact))
        .map_err(|error| fault::registry(&error))?;
    output::print(&format!("{}/{}@{}", to.registry, to.repository, pushed.descriptor.digest));
    Ok(())
}

/// Pulls what a reference names into a file: digest and checksum are verified before the file is there.
pub(super) fn pull(text: &str, file: &Path, config: Option<&Path>) -> Result<(), CliError> {
    let from = reference(text)?;
    let registries = registries(config)?;
    let bytes = crate::up::runtime()?.block_on(fetch(&registries, &from))?;
    let info = checked(&Db::from_bytes(bytes.to_vec()).map_err(|error| fault::db(&error))?)?;
    out::replace(file, &bytes)?;
    output::print(&format!("{}: sequence {}, of {}", file.display(), info.seq, info.built_at));
    Ok(())
}

async fn fetch(registries: &Registries, from: &Reference) -> Result<Bytes, CliError> {
    let failed = |error: RegistryError| fault::registry(&error);
    let not_a_db = |detail: String| CliError::new("not_a_db", format!("{from}: {detail}"));
    let found = registries.manifest_of(from).await.map_err(failed)?;
    let manifest: Manifest =
        serde_json::from_slice(&found.bytes).map_err(|error| not_a_db(format!("no manifest: {error}")))?;
    if manifest.artifact_type != ARTIFACT {
        return Err(not_a_db(format!("its artifact type is {:?}", manifest.artifact_type)));
    }
    // A file that this version cannot read need not be fetched.
    let own = plimsoll_vuln::db::FORMAT.to_string();
    if let Some(format) = manifest.annotations.get(FORMAT).filter(|format| **format != own) {
        return Err(CliError::new(
            "db_format",
            format!("{from} is of format {format}, this version reads {own}"),
        ));
    }
    let layer = match manifest.layers.as_slice() {
        [layer] if layer.media_type == FILE => layer,
        _ => return Err(not_a_db("it does not have exactly one database".to_owned())),
    };
    if layer.size > MAX_PUSH_BYTES as u64 {
        return Err(CliError::new("too_large", format!("{from} says that it has {} bytes", layer.size)));
    }
    let digest: Digest = layer.digest.parse().map_err(|error| CliError::new("invalid_digest", error))?;
    let limit = usize::try_from(layer.size).unwrap_or(MAX_PUSH_BYTES);
    registries.blob_bytes(&from.registry, &from.repository, &digest, limit).await.map_err(failed)
}
