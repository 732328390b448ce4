//! Statements for `plimsoll scan`: what the command line and the configuration name.

use std::path::{Path, PathBuf};

use plimsoll_config::{Config, Feed};
use plimsoll_findings::Statements;
use plimsoll_model::vex::ImagePlace;
use plimsoll_model::{Sbom, Statement};
use plimsoll_vex::{Collected, Key, Trust, VexError};

use super::read::Subject;
use crate::error::CliError;
use crate::output::clean_line;

#[derive(Debug, clap::Args)]
pub(super) struct VexArgs {
    /// VEX documents: files, directories or VEX repositories (OpenVEX, CSAF, CycloneDX); those of the configuration count too
    #[arg(long = "vex", value_name = "PATH", num_args = 1..)]
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
    let cli = CliError::new(error.code(), crate::error::chain(error));
    match error {
        VexError::Unknown(_) => cli.hint("OpenVEX, CSAF, CycloneDX with vulnerabilities, or a DSSE envelope"),
        VexError::Key(_) => cli.hint("a file as `cosign generate-key-pair` writes cosign.pub"),
        VexError::Ignore { .. } => cli.hint("docs/vex.md shows what a rule may have"),
        _ => cli,
    }
}

/// The statements that count, with a warning for what is left out of them.
pub(super) fn statements(args: &VexArgs, config: &Config) -> Result<Statements, CliError> {
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
    for path in &args.documents {
        plimsoll_vex::load(path, &trust, &mut out).map_err(|e| failed(&e))?;
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
    Ok(Statements::new(out.statements))
}

/// How statements may name what is scanned.
pub(super) fn place(subject: &Subject, sbom: &Sbom, statements: &Statements) -> ImagePlace {
    let mut place = ImagePlace::default();
    place.digests.extend(sbom.image.clone());
    if let Subject::Image(plimsoll_image::source::Target::Registry(reference)) = subject {
        place.repositories.insert(format!("{}/{}", reference.registry, reference.repository));
        place.digests.extend(reference.digest.clone());
    }
    if statements.needs_inside() {
        place.inside = sbom.inside();
    }
    place
}
