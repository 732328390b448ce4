//! `plimsoll sbom`: the packages of an image, as a document or a table; the difference of two.

use std::cmp::Ordering;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::ValueEnum;
use plimsoll_model::{ComponentKey, PackageKey, Release, Sbom, Timestamp};
use plimsoll_sbom::cyclonedx::{self, SpecVersion};
use plimsoll_sbom::{Change, Diff, diff, spdx};

use super::read::{self, How, Subject};
use super::{attach, out};
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
    /// With --diff: exit with 1 if the two differ
    #[arg(long, value_enum, value_name = "WHAT")]
    fail_on: Option<FailOn>,
    /// The form of the answer; a difference is a table or json
    #[arg(short, long, value_enum, default_value_t = Format::Table)]
    output: Format,
    /// Write to this file instead of standard output
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Of CycloneDX: the version of the specification
    #[arg(long, value_enum, value_name = "VERSION", default_value_t = Version::V1_6)]
    spec_version: Version,
    /// Attach the document to the image in its registry, as a referrer; a table becomes CycloneDX
    #[arg(long, conflicts_with = "diff")]
    push: bool,
    #[command(flatten)]
    how: How,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum FailOn {
    /// Any package, version or distribution that differs
    Change,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Version {
    #[value(name = "1.5")]
    V1_5,
    #[value(name = "1.6")]
    V1_6,
    #[value(name = "1.7")]
    V1_7,
}

impl From<Version> for SpecVersion {
    fn from(version: Version) -> Self {
        match version {
            Version::V1_5 => Self::V1_5,
            Version::V1_6 => Self::V1_6,
            Version::V1_7 => Self::V1_7,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// Columns for people
    Table,
    /// CycloneDX, see --spec-version
    CyclonedxJson,
    /// SPDX 2.3
    SpdxJson,
    /// SPDX 2.3 in its tag-value form
    SpdxTagValue,
    /// Plimsoll's own form, with everything that it knows
    Json,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> Outcome {
    let config = plimsoll_process::configuration(args.how.config.as_deref())?;
    let content = |target: &str| {
        let content = read::read(&target.parse::<Subject>()?, &args.how, &config)?;
        content.warn();
        Ok::<_, CliError>(content)
    };
    let read = |target: &str| Ok::<_, CliError>(content(target)?.sbom);
    if let Some([before, after]) = args.diff.as_deref() {
        let (before, after) = (content(before)?, content(after)?);
        let found = diff(&before.sbom, &after.sbom);
        out::emit_to(args.out.as_deref(), &compared(&found, args.output)?)?;
        let unread = before.failed_layers.len() + after.failed_layers.len();
        return verdict(args.fail_on, &found, unread);
    }
    if args.fail_on.is_some() {
        return Err(CliError::new("usage", "--fail-on is about a difference").hint("add --diff A B"));
    }
    if let (true, Some(target)) = (args.push, &args.target) {
        let format = if args.output == Format::Table { Format::CyclonedxJson } else { args.output };
        let pushed = attach::run(target, &config, || {
            let sbom = read(target)?;
            let bytes = document(&sbom, format, args.spec_version.into())?;
            Ok((sbom, attach::Kind::of(format)?, bytes))
        })?;
        out::emit_to(args.out.as_deref(), pushed.as_bytes())?;
        return Ok(ExitCode::SUCCESS);
    }
    let Some(target) = &args.target else { return Err(CliError::new("usage", "name a target")) };
    let bytes = document(&read(target)?, args.output, args.spec_version.into())?;
    out::emit_to(args.out.as_deref(), &bytes)?;
    Ok(ExitCode::SUCCESS)
}

/// The exit code of a comparison; with `--fail-on`, what was not read whole cannot be called the same.
fn verdict(fail_on: Option<FailOn>, found: &Diff, unread: usize) -> Outcome {
    match fail_on {
        None => Ok(ExitCode::SUCCESS),
        Some(FailOn::Change) if !found.is_empty() => Ok(ExitCode::from(1)),
        Some(FailOn::Change) if unread > 0 => {
            Err(CliError::new("scan_incomplete", format!("{unread} layers could not be read"))
                .hint("the others have the same packages, but --fail-on cannot vouch for the images"))
        }
        Some(FailOn::Change) => Ok(ExitCode::SUCCESS),
    }
}

/// Documents carry no time of their own, so that equal images give equal bytes; `SOURCE_DATE_EPOCH` sets one.
fn document(sbom: &Sbom, format: Format, version: SpecVersion) -> Result<Vec<u8>, CliError> {
    Ok(match format {
        Format::Json => out::json(sbom)?,
        Format::CyclonedxJson => {
            let options = cyclonedx::Options { version, timestamp: source_date()?, pretty: true };
            cyclonedx::write(sbom, &options)
        }
        Format::SpdxJson => spdx::write(sbom, source_date()?, true),
        Format::SpdxTagValue => spdx::write_tag_value(sbom, source_date()?),
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
        let mut header = vec!["NAME", "VERSION", "TYPE", "LICENCES", "FOUND IN"];
        if sbom.base.is_some() {
            header.push("FROM");
        }
        let mut table = output::table(&header);
        for component in &sbom.components {
            let more = component.locations.len().saturating_sub(1);
            let place = component.locations.first().map_or("", |location| location.path.as_str());
            let mut row = vec![
                output::clean_line(&component.display_name),
                output::clean_line(&component.key.version),
                component.key.package.ecosystem.to_string(),
                output::clean_line(&component.licenses.join(", ")),
                output::clean_line(place)
                    + &if more > 0 { format!(" and {more} more") } else { String::new() },
            ];
            if sbom.base.is_some() {
                let origin = match sbom.from_base(component) {
                    Some(true) => "base",
                    Some(false) => "application",
                    None => "-",
                };
                row.push(origin.to_owned());
            }
            table.add_row(row);
        }
        text.push_str(&output::lines(&table));
        text.push('\n');
    }
    let distribution = sbom.distribution.as_ref().map_or(String::new(), |d| format!(", {}", d.release));
    let summary = format!("{}{distribution}: {} packages", sbom.name, sbom.components.len());
    text.push_str(&output::clean_line(&summary));
    text.push('\n');
    if let Some(base) = &sbom.base {
        let line = format!("built on {}, {} of {} layers", base.name, base.layers, sbom.layers.len());
        text.push_str(&output::clean_line(&line));
        text.push('\n');
    }
    text.push_str(&secrets(sbom));
    for partial in &sbom.partial {
        let line = format!("incomplete, {}: {}", partial.code, partial.detail);
        text.push_str(&output::clean_line(&line));
        text.push('\n');
    }
    text
}

/// Keys and credentials as a table; nothing where there are none.
pub(super) fn secrets(sbom: &Sbom) -> String {
    if sbom.secrets.is_empty() {
        return String::new();
    }
    let mut table = output::table(&["SECRET", "FILE", "LAYER", "SHOWS"]);
    for secret in &sbom.secrets {
        let line = if secret.line > 0 { format!(":{}", secret.line) } else { String::new() };
        let removed = if secret.hidden { " (removed by a later layer, still in the image)" } else { "" };
        let layer = secret.layer.as_ref().map_or("-", |layer| layer.as_str());
        table.add_row([
            secret.rule.clone(),
            output::clean_line(&format!("{}{line}{removed}", secret.path)),
            layer.chars().take(19).collect(),
            output::clean_line(&secret.excerpt),
        ]);
    }
    format!("{}\n", output::lines(&table))
}

fn compared(found: &Diff, format: Format) -> Result<Vec<u8>, CliError> {
    match format {
        Format::Json => out::json(found),
        Format::Table => Ok(difference(found).into_bytes()),
        Format::CyclonedxJson | Format::SpdxJson | Format::SpdxTagValue => {
            Err(CliError::new("usage", "a difference is no SBOM").hint("use -o table or -o json with --diff"))
        }
    }
}

/// A line for each package, and one that counts them. What went up or down is told by the package's own order.
fn difference(found: &Diff) -> String {
    if found.is_empty() {
        return "no difference\n".to_owned();
    }
    let mut rows: Vec<[String; 4]> = Vec::new();
    let mut row = |change: &str, package: &PackageKey, before: &[ComponentKey], after: &[ComponentKey]| {
        let package = PackageKey { release: None, ..package.clone() };
        let [before, after] = versions(before, after);
        rows.push([change.to_owned(), output::clean_line(&package.to_string()), before, after]);
    };
    for key in &found.added {
        row("added", &key.package, &[], std::slice::from_ref(key));
    }
    for key in &found.removed {
        row("removed", &key.package, std::slice::from_ref(key), &[]);
    }
    let mut counts = [("added", found.added.len()), ("removed", found.removed.len())].to_vec();
    for name in ["upgraded", "downgraded", "changed"] {
        let all = found.changed.iter().filter(|change| direction(change) == name);
        let count = all.map(|change| row(name, &change.package, &change.before, &change.after)).count();
        counts.push((name, count));
    }
    let mut text = String::new();
    if let Some(distribution) = &found.distribution {
        let name = |release: &Option<Release>| release.as_ref().map_or("-".to_owned(), ToString::to_string);
        let line = format!("distribution {} → {}", name(&distribution.before), name(&distribution.after));
        text.push_str(&output::clean_line(&line));
        text.push('\n');
    }
    if !rows.is_empty() {
        let mut table = output::table(&["CHANGE", "PACKAGE", "BEFORE", "AFTER"]);
        table.add_rows(rows);
        text.push_str(&output::lines(&table));
        text.push('\n');
    }
    let counts: Vec<String> = counts
        .into_iter()
        .filter(|(_, count)| *count > 0)
        .map(|(name, count)| format!("{count} {name}"))
        .collect();
    text.push_str(
        if counts.is_empty() { "the same packages".to_owned() } else { counts.join(", ") }.as_str(),
    );
    text.push('\n');
    text
}

/// `upgraded` or `downgraded` where one version took the place of one, else `changed`.
fn direction(change: &Change) -> &'static str {
    let ([before], [after]) = (change.before.as_slice(), change.after.as_slice()) else { return "changed" };
    let scheme = plimsoll_vuln::names::scheme(change.package.ecosystem);
    match scheme.and_then(|scheme| scheme.compare(&before.version, &after.version).ok()) {
        Some(Ordering::Less) => "upgraded",
        Some(Ordering::Greater) => "downgraded",
        _ => "changed",
    }
}

/// The versions of components; an architecture, source or stream where that is what differs.
fn versions(before: &[ComponentKey], after: &[ComponentKey]) -> [String; 2] {
    let told = |keys: &[ComponentKey], one: &dyn Fn(&ComponentKey) -> String| {
        keys.iter().map(one).collect::<Vec<_>>().join(", ")
    };
    let more = |key: &ComponentKey| {
        let source = key.source.as_ref().map_or(String::new(), |s| format!("{} {}", s.name, s.version));
        let more: Vec<&str> = [&key.arch, &source, &key.stream]
            .into_iter()
            .map(String::as_str)
            .filter(|m| !m.is_empty())
            .collect();
        if more.is_empty() { key.version.clone() } else { format!("{} ({})", key.version, more.join(", ")) }
    };
    let plain = |key: &ComponentKey| key.version.clone();
    let one: &dyn Fn(&ComponentKey) -> String =
        if told(before, &plain) == told(after, &plain) { &more } else { &plain };
    [before, after].map(|keys| match keys {
        [] => "-".to_owned(),
        keys => output::clean_line(&told(keys, one)),
    })
}
