//! `plimsoll sbom`: the packages of an image, as a document or a table; the difference of two.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::ValueEnum;
use plimsoll_model::{ComponentKey, Platform, Sbom, Timestamp};
use plimsoll_sbom::cyclonedx::{self, SpecVersion};
use plimsoll_sbom::{Diff, diff, spdx};

use super::out;
use super::read::{self, Subject};
use crate::error::CliError;
use crate::{Outcome, output};

#[derive(Debug, clap::Args)]
#[command(after_help = read::TARGETS)]
pub(crate) struct Args {
    /// What to read, see below
    #[arg(required_unless_present = "diff")]
    target: Option<String>,
    /// Compare two targets instead
    #[arg(long, num_args = 2, value_names = ["A", "B"], conflicts_with = "target")]
    diff: Option<Vec<String>>,
    /// The form of the answer; a difference is a table or json
    #[arg(short, long, value_enum, default_value_t = Format::Table)]
    output: Format,
    /// Write to this file instead of standard output
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// The configuration file; default: $PLIMSOLL_CONFIG
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Of an image for several platforms, the one to read; default: linux/amd64, or the only one
    #[arg(long, value_name = "OS/ARCH", value_parser = read::platform)]
    platform: Option<Platform>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Columns for people
    Table,
    /// CycloneDX 1.6
    CyclonedxJson,
    /// SPDX 2.3
    SpdxJson,
    /// Plimsoll's own form, with everything that it knows
    Json,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> Outcome {
    let config = plimsoll_process::configuration(args.config.as_deref())?;
    let read = |target: &str| {
        let content = read::read(&target.parse::<Subject>()?, args.platform.as_ref(), &config)?;
        content.warn();
        Ok::<_, CliError>(content.sbom)
    };
    let bytes = match (args.diff.as_deref(), &args.target) {
        (Some([before, after]), _) => compare(&read(before)?, &read(after)?, args.output)?,
        (_, Some(target)) => document(&read(target)?, args.output)?,
        _ => return Err(CliError::new("usage", "name a target")),
    };
    out::emit_to(args.out.as_deref(), &bytes)?;
    Ok(ExitCode::SUCCESS)
}

/// Documents carry no time of their own, so that equal images give equal bytes; `SOURCE_DATE_EPOCH` sets one.
fn document(sbom: &Sbom, format: Format) -> Result<Vec<u8>, CliError> {
    Ok(match format {
        Format::Json => out::json(sbom)?,
        Format::CyclonedxJson => {
            let options =
                cyclonedx::Options { version: SpecVersion::V1_6, timestamp: source_date()?, pretty: true };
            cyclonedx::write(sbom, &options)
        }
        Format::SpdxJson => spdx::write(sbom, source_date()?, true),
        Format::Table => table(sbom).into_bytes(),
    })
}

/// The time of `SOURCE_DATE_EPOCH` (<https://reproducible-builds.org/specs/source-date-epoch/>).
pub(super) fn source_date() -> Result<Option<Timestamp>, CliError> {
    let Some(text) = std::env::var("SOURCE_DATE_EPOCH").ok().filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    let seconds: Option<i64> = text.parse().ok().filter(|seconds| *seconds >= 0);
    let millis = seconds.and_then(|seconds| seconds.checked_mul(1_000));
    let invalid = || {
        CliError::new("invalid_value", format!("SOURCE_DATE_EPOCH is {text:?}"))
            .hint("it counts seconds since 1970-01-01 UTC; unset it or correct it")
    };
    millis.map(Timestamp).map(Some).ok_or_else(invalid)
}

fn table(sbom: &Sbom) -> String {
    let mut text = String::new();
    if !sbom.components.is_empty() {
        let mut table = output::table(&["NAME", "VERSION", "TYPE", "LICENCES", "FOUND IN"]);
        for component in &sbom.components {
            let more = component.locations.len().saturating_sub(1);
            let place = component.locations.first().map_or("", |location| location.path.as_str());
            table.add_row([
                output::clean_line(&component.display_name),
                output::clean_line(&component.key.version),
                component.key.package.ecosystem.to_string(),
                output::clean_line(&component.licenses.join(", ")),
                output::clean_line(place)
                    + &if more > 0 { format!(" and {more} more") } else { String::new() },
            ]);
        }
        text.push_str(&output::lines(&table));
        text.push('\n');
    }
    let distribution = sbom.distribution.as_ref().map_or(String::new(), |d| format!(", {}", d.release));
    let summary = format!("{}{distribution}: {} packages", sbom.name, sbom.components.len());
    text.push_str(&output::clean_line(&summary));
    text.push('\n');
    for partial in &sbom.partial {
        let line = format!("incomplete, {}: {}", partial.code, partial.detail);
        text.push_str(&output::clean_line(&line));
        text.push('\n');
    }
    text
}

fn compare(before: &Sbom, after: &Sbom, format: Format) -> Result<Vec<u8>, CliError> {
    let found = diff(before, after);
    match format {
        Format::Json => out::json(&found),
        Format::Table => Ok(difference(&found).into_bytes()),
        Format::CyclonedxJson | Format::SpdxJson => {
            Err(CliError::new("usage", "a difference is no SBOM").hint("use -o table or -o json with --diff"))
        }
    }
}

fn difference(found: &Diff) -> String {
    if found.is_empty() {
        return "no difference\n".to_owned();
    }
    let mut table = output::table(&["CHANGE", "PACKAGE", "BEFORE", "AFTER"]);
    let mut row = |change: &str, package: String, before: &[ComponentKey], after: &[ComponentKey]| {
        table.add_row([change.to_owned(), output::clean_line(&package), versions(before), versions(after)]);
    };
    for key in &found.added {
        row("added", key.package.to_string(), &[], std::slice::from_ref(key));
    }
    for key in &found.removed {
        row("removed", key.package.to_string(), std::slice::from_ref(key), &[]);
    }
    for change in &found.changed {
        row("changed", change.package.to_string(), &change.before, &change.after);
    }
    output::lines(&table)
}

/// The versions of components; a source or an architecture that alone differs shows too.
fn versions(keys: &[ComponentKey]) -> String {
    let one = |key: &ComponentKey| match key.arch.as_str() {
        "" => key.version.clone(),
        arch => format!("{} ({arch})", key.version),
    };
    if keys.is_empty() {
        return "-".to_owned();
    }
    output::clean_line(&keys.iter().map(one).collect::<Vec<_>>().join(", "))
}
