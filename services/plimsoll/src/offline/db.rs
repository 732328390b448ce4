//! `plimsoll db`: building, asking and comparing vulnerability databases.

use std::io::{BufReader, BufWriter};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Subcommand, ValueEnum};
use indicatif::ProgressBar;
use plimsoll_model::vulnerability::{Match, MatchStatus};
use plimsoll_model::{ComponentKey, Timestamp};
use plimsoll_sbom::component_of_purl;
use plimsoll_sbom::purl::Purl;
use plimsoll_version::{Scheme, compare_lines};
use plimsoll_vuln::db::Statement;
use plimsoll_vuln::feeds::licence;
use plimsoll_vuln::{BuildReport, Db, DbDiff, DbInfo, FeedReport, LookupKey, build_dated, diff};
use serde::Serialize;

use super::{fault, out, sbom};
use crate::error::CliError;
use crate::{Outcome, output};

#[derive(Debug, Subcommand)]
pub(crate) enum What {
    /// Make a database of advisories and intelligence, in the formats that docs/feeds.md lists
    ///
    /// Equal inputs give equal bytes: the time in the file is the newest date of the feeds, or SOURCE_DATE_EPOCH.
    Build {
        /// Files and directories, in their official formats, also compressed
        #[arg(long, required = true, num_args = 1.., value_name = "PATH")]
        from: Vec<PathBuf>,
        /// The file to write; replaced in one step
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
        /// Sequence number: higher than that of every earlier database of an installation
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
        seq: u64,
        #[arg(short, long, value_enum, default_value_t = Format::Table)]
        output: Format,
    },
    /// What a database says of itself, once its checksum is verified
    Info {
        file: PathBuf,
        #[arg(short, long, value_enum, default_value_t = Format::Table)]
        output: Format,
    },
    /// What a database says of a package; of a package with a version, also what affects it
    Query {
        file: PathBuf,
        /// A package URL, e.g. pkg:npm/lodash@4.17.20 or 'pkg:deb/debian/openssl@3.0.11-1?distro=debian-12'
        purl: String,
        #[arg(short, long, value_enum, default_value_t = Format::Table)]
        output: Format,
    },
    /// The packages of which two databases say different things
    Diff {
        old: PathBuf,
        new: PathBuf,
        #[arg(short, long, value_enum, default_value_t = Format::Table)]
        output: Format,
    },
    /// Fetch sources, only what changed, and build a database of them
    Update(super::update::Args),
    /// Put a database into a registry, as an OCI artifact
    Push {
        file: PathBuf,
        /// HOST/REPOSITORY:TAG, of a registry in the configuration
        reference: String,
        /// Configuration file
        #[arg(long, value_name = "FILE", env = "PLIMSOLL_CONFIG")]
        config: Option<PathBuf>,
    },
    /// Fetch a database from a registry
    Pull {
        /// HOST/REPOSITORY:TAG or HOST/REPOSITORY@DIGEST
        reference: String,
        /// The file to write; replaced in one step
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
        /// Configuration file
        #[arg(long, value_name = "FILE", env = "PLIMSOLL_CONFIG")]
        config: Option<PathBuf>,
    },
    /// Compare versions: reads lines `A B`, writes `<`, `=` or `>` for each, `! reason` for what is no version
    Compare {
        /// dpkg, rpm, apk, semver, npm, go, hex, pub, nuget, pypi, maven, rubygems, packagist, cran or hackage
        scheme: String,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    Table,
    Json,
}

/// Runs a command.
pub(crate) fn run(what: What) -> Outcome {
    match what {
        What::Build { from, out, seq, output } => build(&from, &out, seq, output)?,
        What::Info { file, output } => info(&file, output)?,
        What::Query { file, purl, output } => query(&file, &purl, output)?,
        What::Diff { old, new, output } => compare(&old, &new, output)?,
        What::Update(args) => super::update::run(&args)?,
        What::Push { file, reference, config } => super::carry::push(&file, &reference, config.as_deref())?,
        What::Pull { reference, out, config } => super::carry::pull(&reference, &out, config.as_deref())?,
        What::Compare { scheme } => compare_versions(&scheme)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn open(path: &Path) -> Result<Db, CliError> {
    Db::open(path).map_err(|e| fault::db(&e))
}

/// A report of `db build` in JSON.
#[derive(Serialize)]
struct Built<'a> {
    seq: u64,
    built_at: String,
    size: u64,
    keys: u64,
    advisories: u64,
    vulnerabilities: u64,
    withdrawn: u64,
    feeds: &'a [FeedReport],
}

fn build(from: &[PathBuf], file: &Path, seq: u64, format: Format) -> Result<(), CliError> {
    let fixed = sbom::source_date()?;
    let spinner = ProgressBar::new_spinner().with_message("reading feeds");
    spinner.enable_steady_tick(Duration::from_millis(100));
    let mut built_at = Timestamp(0);
    let now = Timestamp::now();
    let result = build_dated(from, seq, |feeds| {
        spinner.set_message("building");
        // A date in the future is a mistake of its record, and would make the Db look newer than it is.
        let newest = feeds.iter().filter_map(|feed| feed.newest).filter(|at| *at <= now).max();
        built_at = fixed.or(newest).unwrap_or_default();
        built_at
    });
    spinner.finish_and_clear();
    let (bytes, report) = result.map_err(|e| fault::db(&e))?;
    if report.advisories == 0 {
        let message =
            format!("no advisory could be used of {} records", report.records() + report.rejected());
        return Err(CliError::new("db_empty", message).hint(
            "--from wants OSV, Debian, secdb or CSAF files; KEV, EPSS and Vulnrichment stand beside them",
        ));
    }
    out::replace(file, &bytes)?;
    let text = match format {
        Format::Json => out::json(&Built {
            seq,
            built_at: built_at.to_string(),
            size: report.size,
            keys: report.keys,
            advisories: report.advisories,
            vulnerabilities: report.vulnerabilities,
            withdrawn: report.withdrawn,
            feeds: &report.feeds,
        })?,
        Format::Table => built(&report, file, seq, built_at).into_bytes(),
    };
    out::emit(&text)
}

fn built(report: &BuildReport, file: &Path, seq: u64, built_at: Timestamp) -> String {
    let mut text = feeds(&report.feeds);
    let line = format!(
        "\n{}: {}, sequence {seq}, of {built_at}: {} advisories, {} withdrawn; {} vulnerabilities, {} packages\n",
        output::clean_line(&file.display().to_string()),
        size(report.size),
        report.advisories,
        report.withdrawn,
        report.vulnerabilities,
        report.keys,
    );
    text.push_str(&line);
    text
}

fn feeds(feeds: &[FeedReport]) -> String {
    let mut table = output::table(&[
        "FEED",
        "FORMAT",
        "RECORDS",
        "REJECTED",
        "IGNORED",
        "NEWEST",
        "STATE",
        "TERMS",
        "REJECTED FOR",
    ]);
    for feed in feeds {
        table.add_row([
            output::clean_line(feed.provenance.as_ref().map_or(&feed.source, |from| &from.name)),
            feed.format.as_str().to_owned(),
            feed.records.to_string(),
            feed.rejected.to_string(),
            feed.ignored.to_string(),
            feed.newest.map_or("-".to_owned(), |at| at.to_string()),
            state(feed).to_owned(),
            licence::of_report(feed).join("; "),
            output::clean_line(&reasons(feed)),
        ]);
    }
    output::lines(&table)
}

/// Whether the copy that was read is the source's own.
fn state(feed: &FeedReport) -> &'static str {
    match &feed.provenance {
        Some(from) if from.held => "held",
        Some(from) if from.stale => "stale",
        _ => "-",
    }
}

/// The reasons of rejected records, the most frequent first; of those that are named.
fn reasons(feed: &FeedReport) -> String {
    const SHOWN: usize = 3;
    let mut counts: std::collections::BTreeMap<&str, usize> = std::collections::BTreeMap::new();
    for reject in &feed.rejects {
        *counts.entry(&reject.reason).or_default() += 1;
    }
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by_key(|&(reason, count)| (std::cmp::Reverse(count), reason));
    let named: Vec<String> =
        counts.iter().take(SHOWN).map(|(reason, count)| format!("{reason} ({count})")).collect();
    if named.is_empty() { "-".to_owned() } else { named.join(", ") }
}

fn size(bytes: u64) -> String {
    indicatif::BinaryBytes(bytes).to_string()
}

fn info(file: &Path, format: Format) -> Result<(), CliError> {
    let db = open(file)?;
    db.verify().map_err(|e| fault::db(&e))?;
    let info = db.info().map_err(|e| fault::db(&e))?;
    match format {
        Format::Json => out::emit(&out::json(&info)?),
        Format::Table => out::emit(described(&info).as_bytes()),
    }
}

fn described(info: &DbInfo) -> String {
    let mut text = format!(
        "format           {}\nsequence         {}\nbuilt at         {}\nsize             {}\ncontent          sha256 {} \
         (verified)\npackages         {}\nadvisories       {}\nvulnerabilities  {}\ncovers           {}\n\n",
        info.format,
        info.seq,
        info.built_at,
        size(info.size),
        info.content,
        info.keys,
        info.advisories,
        info.vulnerabilities,
        output::clean_line(&info.coverage.join(", ")),
    );
    text.push_str(&feeds(&info.feeds));
    text
}

/// What a Db says of one package.
#[derive(Serialize)]
struct Answer<'a> {
    purl: &'a str,
    /// The keys that were asked.
    keys: Vec<String>,
    /// True where some feed covers the ecosystem and release.
    covered: bool,
    statements: Vec<Statement>,
    /// What affects the version; `null` for a purl without one.
    matches: Option<Vec<Match>>,
}

fn query(file: &Path, text: &str, format: Format) -> Result<(), CliError> {
    let db = open(file)?;
    let purl: Purl = text.parse().map_err(|e: plimsoll_sbom::purl::PurlError| {
        CliError::new(e.code(), e).hint("e.g. pkg:npm/lodash@4.17.20")
    })?;
    let component: ComponentKey = component_of_purl(&purl, None).ok_or_else(|| {
        CliError::new("ecosystem_unknown", format!("packages of type {:?} are not known", purl.kind))
    })?;
    if component.package.ecosystem.is_distribution() && component.package.release.is_none() {
        return Err(CliError::new("release_missing", "the package URL names no release of its distribution")
            .hint("add it as a qualifier, e.g. ?distro=debian-12"));
    }
    let keys = LookupKey::of(&component);
    let mut statements = Vec::new();
    for key in &keys {
        statements.extend(db.query(key).map_err(|e| fault::db(&e))?);
    }
    let matches = if component.version.is_empty() {
        None
    } else {
        Some(db.match_component(&component).map_err(|e| fault::db(&e))?)
    };
    let answer = Answer {
        purl: text,
        keys: keys.iter().map(ToString::to_string).collect(),
        covered: keys.iter().any(|key| db.covers(key)),
        statements,
        matches,
    };
    match format {
        Format::Json => out::emit(&out::json(&answer)?),
        Format::Table => out::emit(said(&answer).as_bytes()),
    }
}

fn said(answer: &Answer<'_>) -> String {
    let mut text = String::new();
    if !answer.statements.is_empty() {
        let mut table =
            output::table(&["ADVISORY", "FEED", "DATE", "STATUS", "SEVERITY", "VULNERABILITIES", "VERSIONS"]);
        for statement in &answer.statements {
            let mut versions = statement.ranges.clone();
            // Feeds list hundreds of versions one by one beside the ranges.
            const SHOWN: usize = 8;
            versions.extend(statement.versions.iter().take(SHOWN).cloned());
            if let Some(more) = statement.versions.len().checked_sub(SHOWN).filter(|more| *more > 0) {
                versions.push(format!("and {more} more"));
            }
            table.add_row([
                output::clean_line(&statement.advisory),
                output::clean_line(&statement.feed),
                statement.date.map_or("-".to_owned(), |at| at.to_string().chars().take(10).collect()),
                status(statement.status).to_owned(),
                statement.severity.as_str().to_owned(),
                output::clean_line(&statement.vulnerabilities.join(", ")),
                output::clean_line(&versions.join("; ")),
            ]);
        }
        text.push_str(&output::lines(&table));
        text.push('\n');
    }
    let keys = answer.keys.join(", ");
    let line = match &answer.matches {
        _ if !answer.covered => format!("{keys}: no feed of the database covers this ecosystem and release"),
        None => format!("{keys}: {} statements", answer.statements.len()),
        Some(matches) if matches.is_empty() => format!("{}: not affected", answer.purl),
        Some(matches) => {
            let one = |m: &Match| match &m.fixed {
                Some(fixed) => format!("{} (fixed in {fixed})", m.vulnerability),
                None => m.vulnerability.clone(),
            };
            format!("{}: affected by {}", answer.purl, matches.iter().map(one).collect::<Vec<_>>().join(", "))
        }
    };
    text.push_str(&output::clean_line(&line));
    text.push('\n');
    text
}

fn status(status: MatchStatus) -> &'static str {
    match status {
        MatchStatus::Affected => "affected",
        MatchStatus::WontFix => "will not be fixed",
        MatchStatus::NotAffected => "not affected",
        MatchStatus::UnderInvestigation => "under investigation",
    }
}

/// A difference in JSON.
#[derive(Serialize)]
struct Changes {
    old_seq: u64,
    new_seq: u64,
    /// Packages whose advisories changed.
    packages: Vec<String>,
    /// Packages of which only the intelligence about a vulnerability changed.
    intelligence: Vec<String>,
    vulnerabilities: Vec<String>,
}

fn compare(old: &Path, new: &Path, format: Format) -> Result<(), CliError> {
    let (old, new) = (open(old)?, open(new)?);
    let DbDiff { keys, intelligence, vulnerabilities } = diff(&old, &new).map_err(|e| fault::db(&e))?;
    let words = |keys: Vec<LookupKey>| keys.iter().map(ToString::to_string).collect();
    let changes = Changes {
        old_seq: old.seq(),
        new_seq: new.seq(),
        packages: words(keys),
        intelligence: words(intelligence),
        vulnerabilities,
    };
    match format {
        Format::Json => out::emit(&out::json(&changes)?),
        Format::Table => {
            let mut text = String::new();
            for (what, names) in [
                ("advisories", &changes.packages),
                ("intelligence", &changes.intelligence),
                ("vulnerability", &changes.vulnerabilities),
            ] {
                for name in names {
                    text.push_str(&format!("{what:<14}{}\n", output::clean_line(name)));
                }
            }
            text.push_str(&format!(
                "{} to {}: {} packages with other advisories, {} with other intelligence; {} vulnerabilities\n",
                changes.old_seq,
                changes.new_seq,
                changes.packages.len(),
                changes.intelligence.len(),
                changes.vulnerabilities.len()
            ));
            out::emit(text.as_bytes())
        }
    }
}

fn compare_versions(scheme: &str) -> Result<(), CliError> {
    let scheme: Scheme = scheme.parse().map_err(|e: plimsoll_version::UnknownScheme| {
        CliError::new("scheme_unknown", e).hint("see plimsoll db compare --help for the schemes")
    })?;
    let (input, output) = (BufReader::new(std::io::stdin().lock()), BufWriter::new(std::io::stdout().lock()));
    match compare_lines(scheme, input, output) {
        // Whoever reads has enough.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        Err(error) => Err(CliError::io("compare versions")(error)),
        Ok(_) => Ok(()),
    }
}
