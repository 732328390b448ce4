//! `plimsoll scan`: image → Sbom → matches → findings, in the order in which people work.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::ValueEnum;
use plimsoll_config::{Assumption, Config};
use plimsoll_findings::{Desired, HeldMatch, HolderView, Statements, desired};
use plimsoll_model::extract::Partial;
use plimsoll_model::finding::{Assessment, Class};
use plimsoll_model::sbom::{Base, Component, Location, Secret};
use plimsoll_model::vex::{ImagePlace, Suppression};
use plimsoll_model::vulnerability::MatchStatus;
use plimsoll_model::{Digest, Holder, MatchSet, PackageKey, Sbom, Timestamp, Vulnerability};
use plimsoll_risk::{Deployment, OrderKey, Settings};
use plimsoll_vuln::Db;
use serde::Serialize;

use super::read::{self, Content, Subject};
use super::{fault, out, vex};
use crate::error::CliError;
use crate::{Outcome, output};

#[derive(Debug, clap::Args)]
#[command(after_help = read::TARGETS)]
pub(crate) struct Args {
    /// What to scan, see below
    target: String,
    /// The vulnerability database, or a folder of them; default: $PLIMSOLL_DB, else the newest one that is installed
    #[arg(long, value_name = "PATH")]
    db: Option<PathBuf>,
    #[arg(short, long, value_enum, default_value_t = Format::Table)]
    output: Format,
    /// Exit with 1 if there is a finding of this class or a more urgent one: 3d-forensic, 3d, 14d, 60d or upgrade
    #[arg(long, value_name = "CLASS")]
    fail_on: Option<Class>,
    #[command(flatten)]
    how: read::How,
    #[command(flatten)]
    vex: vex::VexArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Table,
    Json,
}

/// The document of `-o json`.
#[derive(Serialize)]
struct Report<'a> {
    target: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    image: Option<&'a Digest>,
    #[serde(skip_serializing_if = "Option::is_none")]
    platform: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    distribution: Option<String>,
    packages: usize,
    db: DbLine,
    /// Ecosystems and releases that no feed of the Db covers: silence about them means nothing.
    uncovered: &'a [String],
    /// Releases past the support of their distribution.
    end_of_life: &'a [String],
    /// Why packages may be missing.
    partial: &'a [Partial],
    /// Findings of each class, most urgent class first.
    counts: Vec<Count>,
    /// In order of work.
    findings: Vec<Row<'a>>,
    /// What would be a finding but for statements (VEX, ignore rules).
    suppressed: Vec<Row<'a>>,
    /// The image that this one is built on, where it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    base: Option<&'a Base>,
    /// Keys and credentials in the layers, where they were looked for.
    #[serde(skip_serializing_if = "<[Secret]>::is_empty")]
    secrets: &'a [Secret],
}

#[derive(Serialize)]
struct DbLine {
    path: String,
    seq: u64,
    built_at: String,
}

#[derive(Serialize)]
struct Count {
    class: Class,
    findings: usize,
}

/// One finding.
#[derive(Serialize)]
struct Row<'a> {
    vulnerability: &'a Vulnerability,
    package: &'a PackageKey,
    versions: &'a [String],
    /// The version that ends it, where one is known.
    fixed: Option<&'a str>,
    status: MatchStatus,
    assessment: &'a Assessment,
    advisory: &'a str,
    evidence: &'a [String],
    components: Vec<Place<'a>>,
    /// The statements that suppress it.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    suppressions: &'a [Suppression],
}

#[derive(Serialize)]
struct Place<'a> {
    purl: &'a str,
    locations: &'a [Location],
    /// The layer that brought it in.
    #[serde(skip_serializing_if = "Option::is_none")]
    introduced: Option<&'a Digest>,
    /// Whether it came with the base image: then a rebuild on a newer base is what changes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    from_base: Option<bool>,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> Outcome {
    let subject: Subject = args.target.parse()?;
    let config = plimsoll_process::configuration(args.how.config.as_deref())?;
    let path = locate(args.db.as_deref())?;
    let db = Db::open(&path).map_err(|e| fault::db(&e))?;
    let content = read::read(&subject, &args.how, &config)?;
    content.warn();
    let sbom = &content.sbom;
    let matches = db.match_sbom(sbom).map_err(|e| fault::db(&e))?;
    let (statements, digests) = vex::statements(&args.vex, &config, &subject, sbom)?;
    let place = vex::place(&subject, sbom, &statements, digests);
    let Findings { open: findings, suppressed } = findings(sbom, &matches, &statements, place, &config)?;
    let info = db.info().map_err(|e| fault::db(&e))?;
    let counts = Class::ALL.map(|class| Count {
        class,
        findings: findings.iter().filter(|finding| finding.assessment.class == class).count(),
    });
    match args.output {
        Format::Json => {
            let report = Report {
                target: &sbom.name,
                image: sbom.image.as_ref(),
                platform: sbom.platform.as_ref().map(ToString::to_string),
                distribution: sbom.distribution.as_ref().map(|d| d.release.to_string()),
                packages: sbom.components.len(),
                db: DbLine {
                    path: path.display().to_string(),
                    seq: info.seq,
                    built_at: info.built_at.to_string(),
                },
                uncovered: &matches.uncovered,
                end_of_life: &matches.end_of_life,
                partial: &sbom.partial,
                counts: counts.into(),
                findings: rows(sbom, &findings),
                suppressed: rows(sbom, &suppressed),
                base: sbom.base.as_ref(),
                secrets: &sbom.secrets,
            };
            out::emit(&out::json(&report)?)?;
        }
        Format::Table => {
            let mut text =
                table(&content, &findings, &counts, (&matches.uncovered, &matches.end_of_life), &info);
            text.push_str(&suppressed_lines(&suppressed, args.vex.show_suppressed));
            out::emit(text.as_bytes())?;
        }
    }
    verdict(args.fail_on, &findings, &content)
}

/// The exit code; with `--fail-on`, an image that was not read whole is an error unless it fails anyway.
fn verdict(fail_on: Option<Class>, findings: &[Desired], content: &Content) -> Outcome {
    let Some(class) = fail_on else { return Ok(ExitCode::SUCCESS) };
    if findings.iter().any(|finding| finding.assessment.class <= class) {
        return Ok(ExitCode::from(1));
    }
    if !content.failed_layers.is_empty() {
        let missing = content.failed_layers.len();
        let message = format!("{missing} of {} layers could not be read", content.sbom.layers.len());
        return Err(CliError::new("scan_incomplete", message)
            .hint("nothing was found in the others, but --fail-on cannot vouch for the image"));
    }
    Ok(ExitCode::SUCCESS)
}

/// What there is to do, and what statements take off the list; each in order of work.
struct Findings {
    open: Vec<Desired>,
    suppressed: Vec<Desired>,
}

/// The findings of an image that runs nowhere that we know of.
fn findings(
    sbom: &Sbom,
    set: &MatchSet,
    statements: &Statements,
    place: ImagePlace,
    config: &Config,
) -> Result<Findings, CliError> {
    let mut settings = Settings::standard().map_err(|e| CliError::new(e.code(), &e))?;
    settings.max_age_ms = config.exposure.max_age.as_millis();
    settings.undeployed_exposed = config.exposure.assume == Assumption::Exposed;
    let holder = Holder::Repository {
        registry: String::new(),
        repository: sbom.name.clone(),
        platform: sbom.platform.clone().unwrap_or_default(),
    };
    // Findings are of an image; what is none (a directory) is told apart by nothing here.
    let image = sbom.image.clone().unwrap_or_else(|| Digest::from_sha256(&[0; 32]));
    let held: Vec<HeldMatch<'_>> =
        set.matches.iter().map(|matched| HeldMatch { image: &image, matched, db_seq: set.db_seq }).collect();
    let places = BTreeMap::from([(image.clone(), place)]);
    let view = HolderView {
        holder: &holder,
        exposure: None,
        deployment: Deployment::Repository,
        matches: &held,
        covered: &BTreeSet::new(),
        statements,
        places: &places,
    };
    let lookup = |id: &str| {
        let found = set.vulnerabilities.binary_search_by(|v| v.id.as_str().cmp(id)).ok();
        found.and_then(|at| set.vulnerabilities.get(at))
    };
    let now = Timestamp::now();
    let desires = desired(&view, lookup, &settings, now);
    let sorted = |mut findings: Vec<Desired>| {
        findings.sort_by(|a, b| order(a, now).cmp(&order(b, now)).then_with(|| a.key.cmp(&b.key)));
        findings
    };
    Ok(Findings { open: sorted(desires.open), suppressed: sorted(desires.suppressed) })
}

/// What statements suppress: how many, or each with who says so and why.
fn suppressed_lines(suppressed: &[Desired], show: bool) -> String {
    if suppressed.is_empty() {
        return String::new();
    }
    let count = suppressed.len();
    if !show {
        return format!("Suppressed by statements: {count}; --show-suppressed lists them.\n");
    }
    let mut text = format!("Suppressed by statements: {count}\n");
    for finding in suppressed {
        for by in &finding.suppressions {
            let why = [by.justification.as_str(), by.reason.as_str()];
            let why: Vec<&str> = why.into_iter().filter(|part| !part.is_empty()).collect();
            let signed =
                if by.signed_by.is_empty() { String::new() } else { format!(", signed {}", by.signed_by) };
            let expires = by.expires.map_or(String::new(), |at| format!(", until {at}"));
            let line = format!(
                "  {} in {} {}: {} by {}: {} ({}{signed}{expires})",
                finding.key.vulnerability,
                finding.key.package.name,
                finding.versions.join(", "),
                by.status.as_str(),
                by.issuer,
                if why.is_empty() { "no reason given".to_owned() } else { why.join(": ") },
                by.document,
            );
            text.push_str(&output::clean_line(&line));
            text.push('\n');
        }
    }
    text
}

fn order(finding: &Desired, opened_at: Timestamp) -> OrderKey<'_> {
    OrderKey {
        class: finding.assessment.class,
        assumed: !finding.assessment.factors.assumed.is_empty(),
        rank: finding.assessment.rank,
        opened_at,
        id: &finding.key.vulnerability,
    }
}

fn rows<'a>(sbom: &'a Sbom, findings: &'a [Desired]) -> Vec<Row<'a>> {
    let mut places: BTreeMap<&PackageKey, Vec<&'a Component>> = BTreeMap::new();
    for component in &sbom.components {
        places.entry(&component.key.package).or_default().push(component);
    }
    let row = |finding: &'a Desired| {
        let components = places.get(&finding.key.package).into_iter().flatten();
        Row {
            vulnerability: &finding.vulnerability,
            package: &finding.key.package,
            versions: &finding.versions,
            fixed: finding.fixed.as_deref(),
            status: finding.status,
            assessment: &finding.assessment,
            advisory: &finding.advisory,
            evidence: &finding.evidence,
            components: components
                .filter(|component| finding.versions.contains(&component.key.version))
                .map(|component| Place {
                    purl: &component.purl,
                    locations: &component.locations,
                    introduced: component.introduced.as_ref(),
                    from_base: sbom.from_base(component),
                })
                .collect(),
            suppressions: &finding.suppressions,
        }
    };
    findings.iter().map(row).collect()
}

fn table(
    content: &Content,
    findings: &[Desired],
    counts: &[Count],
    (uncovered, end_of_life): (&[String], &[String]),
    info: &plimsoll_vuln::DbInfo,
) -> String {
    let sbom = &content.sbom;
    let mut text = String::new();
    if !findings.is_empty() {
        let header =
            ["CLASS", "RANK", "VULNERABILITY", "SEVERITY", "EPSS", "KEV", "PACKAGE", "INSTALLED", "FIXED"];
        let mut table = output::table(&header);
        for finding in findings {
            let intelligence = &finding.vulnerability.intelligence;
            let fixed = match (&finding.fixed, finding.status) {
                (Some(version), _) => version.as_str(),
                (None, MatchStatus::WontFix) => "(will not be fixed)",
                (None, _) => "-",
            };
            let epss = finding.assessment.factors.epss;
            table.add_row([
                finding.assessment.class.to_string(),
                format!("{:.1}", finding.assessment.rank),
                output::clean_line(&finding.key.vulnerability),
                finding.vulnerability.severity.as_str().to_owned(),
                epss.map_or("-".to_owned(), |p| format!("{:.1} %", p * 100.0)),
                if intelligence.kev.is_some() { "yes" } else { "-" }.to_owned(),
                output::clean_line(&finding.key.package.name),
                output::clean_line(&finding.versions.join(", ")),
                output::clean_line(fixed),
            ]);
        }
        text.push_str(&output::lines(&table));
        text.push('\n');
    }
    if let Some(first) = findings.first() {
        let (id, name) = (&first.key.vulnerability, &first.key.package.name);
        let why = format!("First: {id} in {name}: {}", first.assessment.sentence);
        text.push_str(&output::clean_line(&why));
        text.push('\n');
    }
    let counted: Vec<String> = counts
        .iter()
        .filter(|count| count.findings > 0)
        .map(|count| format!("{} {}", count.findings, count.class))
        .collect();
    let counted = if counted.is_empty() {
        "none".to_owned()
    } else {
        format!("{} ({})", findings.len(), counted.join(", "))
    };
    let distribution = sbom.distribution.as_ref().map_or(String::new(), |d| format!(", {}", d.release));
    let summary = format!(
        "{}{distribution}: {} packages; findings: {counted}; database {} of {}",
        sbom.name,
        sbom.components.len(),
        info.seq,
        info.built_at
    );
    text.push_str(&output::clean_line(&summary));
    text.push('\n');
    if !end_of_life.is_empty() {
        let line = format!("No longer supported by its distribution: {}.", end_of_life.join(", "));
        text.push_str(&output::clean_line(&line));
        text.push('\n');
    }
    if !uncovered.is_empty() {
        let line =
            format!("No feed of the database covers {}: nothing can be said of them.", uncovered.join(", "));
        text.push_str(&output::clean_line(&line));
        text.push('\n');
    }
    if let Some(base) = &sbom.base {
        let of_base = rows(sbom, findings)
            .iter()
            .filter(|row| {
                !row.components.is_empty() && row.components.iter().all(|c| c.from_base == Some(true))
            })
            .count();
        let line = format!("Built on {}: {of_base} of the findings come with it.", base.name);
        text.push_str(&output::clean_line(&line));
        text.push('\n');
    }
    text.push_str(&super::sbom::secrets(sbom));
    let mut reasons: BTreeMap<&str, usize> = BTreeMap::new();
    for partial in &sbom.partial {
        *reasons.entry(&partial.code).or_default() += 1;
    }
    if !reasons.is_empty() {
        let reasons: Vec<String> = reasons.iter().map(|(code, count)| format!("{code} ({count})")).collect();
        let line = format!(
            "The list of packages may be incomplete: {}; -o json has the details.",
            reasons.join(", ")
        );
        text.push_str(&output::clean_line(&line));
        text.push('\n');
    }
    text
}

/// The Db to ask: what was named, `$PLIMSOLL_DB`, or the newest of the data folder.
fn locate(named: Option<&Path>) -> Result<PathBuf, CliError> {
    let variable = || std::env::var_os("PLIMSOLL_DB").filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(path) = named.map(Path::to_owned).or_else(variable) {
        if path.is_dir() {
            return newest(&path).ok_or_else(|| missing(format!("{} holds no NUMBER.db", path.display())));
        }
        if !path.exists() {
            return Err(missing(format!("there is no {}", path.display())));
        }
        return Ok(path);
    }
    let folder = plimsoll_process::data_folder().join("db");
    newest(&folder).ok_or_else(|| {
        missing(format!("no vulnerability database was named, and none is installed in {}", folder.display()))
    })
}

fn missing(message: String) -> CliError {
    CliError::new("db_missing", message)
        .hint("build one: plimsoll db build --from PATH… --out FILE; then name it with --db or PLIMSOLL_DB")
}

/// The Db of the highest sequence number that a folder holds, as the scan role names them.
fn newest(folder: &Path) -> Option<PathBuf> {
    let number = |name: &std::ffi::OsStr| name.to_str()?.strip_suffix(".db")?.parse::<u64>().ok();
    let entries = std::fs::read_dir(folder).ok()?.flatten();
    let newest = entries.filter_map(|entry| Some((number(&entry.file_name())?, entry.path()))).max();
    newest.map(|(_, path)| path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn newest_is_by_number() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["9.db", "10.db", "11.db.part-3", "x.db", "12"] {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        assert_eq!(newest(folder.path()), Some(folder.path().join("10.db")));
        assert_eq!(newest(&folder.path().join("none")), None);
    }
}
