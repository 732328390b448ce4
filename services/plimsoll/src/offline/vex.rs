//! Statements for `plimsoll scan`: what the command line and the configuration name.

use std::path::{Path, PathBuf};

use plimsoll_config::{Config, Feed};
use plimsoll_findings::Statements;
use plimsoll_image::registry::Registries;
use plimsoll_image::source::Target;
use plimsoll_model::vex::ImagePlace;
use plimsoll_model::{Digest, Sbom, Statement};
use plimsoll_vex::{Collected, Key, Trust, VexError};

use super::fault;
use super::read::Subject;
use crate::error::CliError;
use crate::output::clean_line;

#[derive(Debug, clap::Args)]
pub(super) struct VexArgs {
    /// VEX documents: files, directories or VEX repositories (OpenVEX, CSAF, CycloneDX), or `oci` for the attestations
    /// beside the image in its registry (needs --vex-key); those of the configuration count too
    #[arg(long = "vex", value_name = "PATH|oci", num_args = 1..)]
    documents: Vec<PathBuf>,
    /// Of the documents named here only those that are signed with one of these keys (PEM) count
    #[arg(long = "vex-key", value_name = "FILE", num_args = 1.., requires = "documents")]
    keys: Vec<PathBuf>,
    /// Rules that say which findings are ignored, instead of the configuration's
    #[arg(long, value_name = "FILE")]
    ignore_file: Option<PathBuf>,
    /// List what statements suppress, and why
    #[arg(long)]
    pub(super) show_suppressed: bool,
}

/// The rules of an ignore file.
pub(super) fn rules(path: &Path) -> Result<Vec<Statement>, CliError> {
    plimsoll_vex::ignore_rules(path).map_err(|error| failed(&error))
}

fn failed(error: &VexError) -> CliError {
    let cli = CliError::new(error.code(), plimsoll_telemetry::chain(error));
    match error {
        VexError::Unknown(_) => cli.hint("OpenVEX, CSAF, CycloneDX with vulnerabilities, or a DSSE envelope"),
        VexError::Key(_) => cli.hint("a file as `cosign generate-key-pair` writes cosign.pub"),
        VexError::Ignore { .. } => cli.hint("docs/vex.md shows what a rule may have"),
        _ => cli,
    }
}

/// What stands for the image's registry in place of a path. A file of that name is `./oci`.
const OCI: &str = "oci";

/// The statements that count, with a warning for what is left out of them; and digests by which they may name the image
/// beside its own.
pub(super) fn statements(
    args: &VexArgs,
    config: &Config,
    subject: &Subject,
    sbom: &Sbom,
) -> Result<(Statements, Vec<Digest>), CliError> {
    let keys = |paths: &[PathBuf]| paths.iter().map(|path| Key::load(path)).collect::<Result<Vec<_>, _>>();
    let mut out = Collected::default();
    for source in &config.vex {
        // What has an address is read by the feeds role.
        let Feed::Path(path) = &source.from else { continue };
        let trust = Trust {
            issuer: source.issuer.clone(),
            keys: keys(&source.keys).map_err(|e| failed(&e))?,
            authors: source.authors.clone(),
        };
        plimsoll_vex::load(path, &trust, &mut out).map_err(|e| failed(&e))?;
    }
    let trust = Trust { keys: keys(&args.keys).map_err(|e| failed(&e))?, ..Trust::default() };
    let mut digests = Vec::new();
    for path in &args.documents {
        if path.as_os_str() == OCI {
            digests = attached(subject, sbom, config, &trust, &mut out)?;
        } else {
            plimsoll_vex::load(path, &trust, &mut out).map_err(|e| failed(&e))?;
        }
    }
    if let Some(path) = args.ignore_file.as_ref().or(config.ignore.as_ref()) {
        out.statements.extend(rules(path)?);
    }
    out.finish();
    for (reason, count) in &out.report.left_out {
        let place =
            out.report.named.iter().find(|(named, _)| named == reason).map_or("", |(_, p)| p.as_str());
        eprintln!("warning {reason}: {count} in VEX documents, e.g. {}", clean_line(place));
    }
    Ok((Statements::new(out.statements), digests))
}

/// Reads the attestations beside an image: beside its own manifest, and beside the index that it was chosen from. Gives
/// the digests of both.
fn attached(
    subject: &Subject,
    sbom: &Sbom,
    config: &Config,
    trust: &Trust,
    out: &mut Collected,
) -> Result<Vec<Digest>, CliError> {
    let Subject::Image(Target::Registry(reference)) = subject else {
        return Err(CliError::new("usage", "--vex oci reads what is beside an image in a registry")
            .hint("name HOST/REPOSITORY[:TAG][@DIGEST]; for other targets give --vex the document"));
    };
    // Whoever may push the image may put a document beside it.
    if trust.keys.is_empty() {
        return Err(CliError::new(
            "vex_keys_missing",
            "documents beside an image count only if they are signed",
        )
        .hint("name the public keys of the issuers whom you trust with --vex-key"));
    }
    let registries = Registries::new(&config.registries).map_err(|e| fault::setup(&e))?;
    let canonical = registries.canonical(reference).map_err(|e| fault::registry(&e))?;
    let (registry, repository) = (canonical.registry.as_str(), canonical.repository.as_str());
    crate::up::runtime()?.block_on(async {
        let named = registries.resolve(&canonical).await.map_err(|e| fault::registry(&e))?.digest;
        let mut digests: Vec<Digest> = sbom.image.iter().cloned().chain([named]).collect();
        digests.sort();
        digests.dedup();
        for digest in &digests {
            let found = registries
                .attached(registry, repository, digest, plimsoll_vex::may_be_vex)
                .await
                .map_err(|e| fault::registry(&e))?;
            if found.passed_over > 0 {
                let beside = format!("{registry}/{repository}@{digest}");
                eprintln!("warning attachments_passed_over: {} beside {beside}", found.passed_over);
            }
            for part in &found.parts {
                let place = format!("{registry}/{repository}@{}", part.manifest);
                // What is no document of VEX after all is something else that lies there.
                plimsoll_vex::read(&part.bytes, &place, trust, out);
            }
        }
        Ok(digests)
    })
}

/// How statements may name what is scanned.
pub(super) fn place(
    subject: &Subject,
    sbom: &Sbom,
    statements: &Statements,
    digests: Vec<Digest>,
) -> ImagePlace {
    let mut place = ImagePlace::default();
    place.digests.extend(sbom.image.iter().cloned().chain(digests));
    if let Subject::Image(Target::Registry(reference)) = subject {
        place.repositories.insert(format!("{}/{}", reference.registry, reference.repository));
        place.digests.extend(reference.digest.clone());
    }
    if statements.needs_inside() {
        place.inside = sbom.inside();
    }
    place
}
