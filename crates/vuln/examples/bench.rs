//! Builds a Db and measures it: `cargo run --release -p plimsoll-vuln --example bench -- INPUT…`.
//!
//! Prints build time and size, the time to open, look-ups and fully matched components a second on one core, for two
//! sets of components: every package of the inputs, each at three versions (far more matches than any image has), and
//! the Debian packages of this machine's dpkg status, as Debian 12 has them.

use std::io::Write;
use std::path::PathBuf;
use std::time::Instant;

use plimsoll_model::package::{ComponentKey, Ecosystem, PackageKey, Release, SourcePackage};
use plimsoll_vuln::{BuildOptions, Db, build};

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let inputs: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let mut out = std::io::stdout().lock();
    let start = Instant::now();
    let (bytes, report) = build(&inputs, &BuildOptions { seq: 1, ..Default::default() })?;
    writeln!(
        out,
        "build {:?}: {} records, {} rejected, {} keys, {} advisories, {} vulnerabilities, {} bytes",
        start.elapsed(),
        report.records(),
        report.rejected(),
        report.keys,
        report.advisories,
        report.vulnerabilities,
        report.size
    )?;
    for feed in &report.feeds {
        writeln!(
            out,
            "  {:13} {:40} {:7} records {:5} rejected {:6} ignored, newest {:?}, unsupported {:?}",
            feed.format.as_str(),
            feed.source,
            feed.records,
            feed.rejected,
            feed.ignored,
            feed.newest.map(|at| at.to_string()),
            feed.unsupported
        )?;
        for rejected in feed.rejects.iter().take(4) {
            writeln!(out, "    {} {}", rejected.id, rejected.reason)?;
        }
    }
    let path = std::env::temp_dir().join(format!("plimsoll-bench-{}.db", std::process::id()));
    std::fs::write(&path, &bytes)?;
    // Many times, in a process whose heap a build has used: opening must not depend on either.
    let mut opened = Vec::new();
    for _ in 0..41 {
        let start = Instant::now();
        drop(Db::open(&path)?);
        opened.push(start.elapsed());
    }
    opened.sort();
    let at = |n: usize| opened.get(n).copied().unwrap_or_default();
    writeln!(out, "open: median {:?}, least {:?}, most {:?}", at(20), at(0), at(40))?;
    let db = Db::open(&path)?;
    let start = Instant::now();
    db.verify()?;
    writeln!(out, "verify {:?}", start.elapsed())?;
    measure(&db, &mut out)?;
    std::fs::remove_file(&path)?;
    Ok(())
}

fn measure(db: &Db, out: &mut impl Write) -> Result<(), Failure> {
    // Every key, by way of the difference to an empty Db.
    let (empty, _) = build(&[], &BuildOptions::default())?;
    let keys = plimsoll_vuln::diff(&Db::from_bytes(empty)?, db)?.keys;
    let components: Vec<ComponentKey> = keys
        .iter()
        .flat_map(|key| {
            ["0.1.0", "2.5.1", "1:9.4.0"].map(|version| ComponentKey {
                stream: String::new(),
                package: key.package(),
                version: version.to_owned(),
                source: key
                    .ecosystem
                    .is_distribution()
                    .then(|| SourcePackage { name: key.name.clone(), version: version.to_owned() }),
                arch: String::new(),
            })
        })
        .collect();
    let start = Instant::now();
    let mut found = 0_u64;
    for _ in 0..10 {
        for component in &components {
            found += u64::from(db.has(component)?);
        }
    }
    let asked = components.len() * 10;
    let spent = start.elapsed().as_secs_f64();
    writeln!(out, "{asked} look-ups, {found} found, {:.0}/s", asked as f64 / spent)?;
    rounds("every package", db, &components, out)?;
    let status = std::fs::read_to_string("/var/lib/dpkg/status").unwrap_or_default();
    rounds("dpkg status", db, &installed(&status), out)
}

/// The components of a dpkg status file.
fn installed(status: &str) -> Vec<ComponentKey> {
    let release = Release { id: "debian".to_owned(), version: "12".to_owned() };
    let field = |paragraph: &str, name: &str| {
        paragraph.lines().find_map(|line| line.strip_prefix(name)).map(|value| value.trim().to_owned())
    };
    status
        .split("\n\n")
        .filter_map(|paragraph| {
            let name = field(paragraph, "Package:")?;
            let version = field(paragraph, "Version:")?;
            let source = field(paragraph, "Source:").unwrap_or_else(|| name.clone());
            let (source, own) = match source.split_once(" (") {
                Some((source, own)) => (source.to_owned(), own.trim_end_matches(')').to_owned()),
                None => (source, version.clone()),
            };
            Some(ComponentKey {
                stream: String::new(),
                package: PackageKey { ecosystem: Ecosystem::Deb, release: Some(release.clone()), name },
                version,
                source: Some(SourcePackage { name: source, version: own }),
                arch: "amd64".to_owned(),
            })
        })
        .collect()
}

fn rounds(what: &str, db: &Db, components: &[ComponentKey], out: &mut impl Write) -> Result<(), Failure> {
    let repeat = (50_000 / components.len().max(1)).max(1);
    for round in 0..3 {
        let start = Instant::now();
        let mut matches = 0;
        for component in components.iter().cycle().take(components.len() * repeat) {
            matches += db.match_component(component)?.len();
        }
        let spent = start.elapsed().as_secs_f64();
        writeln!(
            out,
            "{what} {round}: {} x {repeat} components, {matches} matches, {:.0} components/s, {:.0} matches/s",
            components.len(),
            (components.len() * repeat) as f64 / spent,
            matches as f64 / spent
        )?;
    }
    Ok(())
}
