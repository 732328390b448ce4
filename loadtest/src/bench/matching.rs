//! The Db: build, open, look-ups, and full matching of the packages of real images.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use plimsoll_model::package::{ComponentKey, SourcePackage};
use plimsoll_model::{Sbom, Timestamp};
use plimsoll_vuln::{BuildOptions, Db, build, diff, matchable_keys};

use super::measure::{at_least, at_most, figure, mib, note, title};
use super::{MatchArguments, corpus};
use crate::LoadError;

/// Look-ups and matches that a measurement takes at least.
const MANY: usize = 400_000;

/// Measures.
pub(super) fn run(program: &Path, arguments: &MatchArguments) -> Result<(), LoadError> {
    let named = std::env::var_os("PLIMSOLL_ADVISORIES").map(PathBuf::from);
    let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/demo");
    let feeds =
        if arguments.feeds.is_empty() { vec![named.unwrap_or(demo)] } else { arguments.feeds.clone() };
    let made = tempfile::tempdir().map_err(LoadError::io("create a folder"))?;
    let feeds = match arguments.synthetic {
        Some(count) => vec![synthetic(made.path(), count)?],
        None => feeds,
    };
    let images = if arguments.images.is_empty() { corpus() } else { arguments.images.clone() };
    let paths: Vec<String> = feeds.iter().map(|path| path.display().to_string()).collect();
    title(&format!("Db of {}", paths.join(", ")));
    let began = Instant::now();
    let options = BuildOptions { seq: 1, built_at: Timestamp::now() };
    let (bytes, report) = build(&feeds, &options).map_err(LoadError::other)?;
    note(
        "build",
        &format!(
            "{} s, {} records, {} keys, {} MiB",
            figure(began.elapsed().as_secs_f64()),
            report.records(),
            report.keys,
            figure(mib(u64::try_from(bytes.len()).unwrap_or(0)))
        ),
    );
    let folder = tempfile::tempdir().map_err(LoadError::io("create a folder"))?;
    let path = folder.path().join("bench.db");
    std::fs::write(&path, &bytes).map_err(LoadError::io("write the Db"))?;
    let mut opened: Vec<f64> = Vec::new();
    for _ in 0..20 {
        let began = Instant::now();
        drop(Db::open(&path)?);
        opened.push(began.elapsed().as_secs_f64() * 1e3);
    }
    opened.sort_by(f64::total_cmp);
    at_most("open, median of 20", opened.get(10).copied().unwrap_or(f64::NAN), 1.0, "ms");
    if let Some(peak) = peak() {
        note("memory of the build, at most", &format!("{} MiB", figure(peak)));
    }
    let db = Db::open(&path)?;
    let (looked, known) = lookups(&db)?;
    let mut keys = Vec::new();
    for image in &images {
        keys.extend(matchable_keys(&sbom(program, image)?));
    }
    if keys.is_empty() {
        note(
            "no image is given",
            "packages of the advisories stand in; name OCI layouts, or set PLIMSOLL_CORPUS",
        );
        keys = known;
    }
    if keys.is_empty() {
        return Ok(());
    }
    let rounds = MANY.div_ceil(keys.len());
    let mut matches = 0;
    let began = Instant::now();
    for _ in 0..rounds {
        for key in &keys {
            matches += db.match_component(key)?.len();
        }
    }
    let spent = began.elapsed().as_secs_f64();
    let asked = (rounds * keys.len()) as f64;
    note("components", &format!("{} of {} images, {} matches", keys.len(), images.len(), matches / rounds));
    let rate = asked / spent;
    at_least("fully matched components, one core", rate / 1e3, 150.0, "k/s");
    let peer = super::sqlite::measure(&db, folder.path(), &keys)?;
    let median = opened.get(10).copied().unwrap_or(f64::NAN);
    note(
        "open: SQLite / Db",
        &format!("{} ms / {} ms = {}", figure(peer.open_ms), figure(median), figure(peer.open_ms / median)),
    );
    let per = |name: &str, own: f64, peer: f64| {
        note(
            name,
            &format!("{} k/s / {} k/s = {}", figure(own / 1e3), figure(peer / 1e3), figure(own / peer)),
        );
    };
    per("look-ups: Db / SQLite", looked, peer.lookups);
    per("fully matched: Db / SQLite", rate, peer.matched);
    Ok(())
}

/// Whether a component is known at all, for every key of the Db and as many that are not in it.
fn lookups(db: &Db) -> Result<(f64, Vec<ComponentKey>), LoadError> {
    let (empty, _) = build(&[], &BuildOptions::default()).map_err(LoadError::other)?;
    let keys = diff(&Db::from_bytes(empty)?, db)?.keys;
    let component = |package: plimsoll_model::PackageKey| ComponentKey {
        stream: String::new(),
        source: package
            .ecosystem
            .is_distribution()
            .then(|| SourcePackage { name: package.name.clone(), version: "1".into() }),
        package,
        version: "1".into(),
        arch: String::new(),
    };
    let asked: Vec<ComponentKey> = keys
        .iter()
        .flat_map(|key| {
            let known = key.package();
            let mut unknown = known.clone();
            unknown.name.push_str("-of-nobody");
            [component(known), component(unknown)]
        })
        .collect();
    let rounds = MANY.div_ceil(asked.len().max(1));
    let (mut found, began) = (0_usize, Instant::now());
    for _ in 0..rounds {
        for component in &asked {
            found += usize::from(db.has(component)?);
        }
    }
    let spent = began.elapsed().as_secs_f64();
    note("look-ups", &format!("{} keys, {} found", asked.len(), found / rounds.max(1)));
    let rate = (rounds * asked.len()) as f64 / spent;
    at_least("look-ups, one core", rate / 1e6, 1.0, "M/s");
    Ok((rate, asked))
}

/// Advisories of packages `made-N`, each of several ranges, in one file of a line each.
fn synthetic(folder: &Path, count: usize) -> Result<PathBuf, LoadError> {
    use std::io::Write;
    let path = folder.join("made.jsonl");
    let failed = || LoadError::io("write made-up advisories");
    let mut out = std::io::BufWriter::new(std::fs::File::create(&path).map_err(failed())?);
    let ecosystems = ["npm", "PyPI", "Maven", "Go", "Debian:12", "Debian:13", "RubyGems", "NuGet"];
    for n in 0..count {
        let ecosystem = ecosystems.get(n % ecosystems.len()).copied().unwrap_or("npm");
        let package = (n.wrapping_mul(2_654_435_761) >> 3) % (count / 5).max(1);
        let (major, minor) = (n % 9, n % 31);
        writeln!(
            out,
            r#"{{"id":"MADE-{n}","modified":"2026-01-01T00:00:00Z","aliases":["CVE-2026-{:07}"],"summary":"Made up, number {n}, as long as summaries are","severity":[{{"type":"CVSS_V3","score":"CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:N/A:N"}}],"affected":[{{"package":{{"ecosystem":"{ecosystem}","name":"made-{package}"}},"ranges":[{{"type":"ECOSYSTEM","events":[{{"introduced":"0"}},{{"fixed":"{major}.{minor}.1"}},{{"introduced":"{}.0.0"}},{{"fixed":"{}.{minor}.7"}}]}}]}}]}}"#,
            n % 5_000_000,
            major + 1,
            major + 1,
        )
        .map_err(failed())?;
    }
    out.flush().map_err(failed())?;
    Ok(path)
}

/// Most memory that this process has had, MiB, where the system says.
fn peak() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().trim_end_matches("kB").trim().parse::<f64>().ok()? / 1024.0)
}

fn sbom(program: &Path, layout: &Path) -> Result<Sbom, LoadError> {
    let said = Command::new(program)
        .args(["sbom", &format!("oci:{}", layout.display()), "-o", "json"])
        .output()
        .map_err(LoadError::io("run plimsoll sbom"))?;
    serde_json::from_slice(&said.stdout)
        .map_err(|error| LoadError::Other(format!("{}: {error}", layout.display())))
}
