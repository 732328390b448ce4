//! `updateinfo.xml`, which rpm repositories carry beside their packages: Amazon Linux (whose only machine-readable
//! advisories these are), Oracle Linux, Rocky Linux, AlmaLinux and Fedora
//! (<https://docs.aws.amazon.com/linux/al2023/ug/security-updates.html>).
//!
//! An update names binary packages, each with the build that has the fix. Release and distribution are those of the
//! update's id and of the build's own dist tag (`.amzn2023`, `.el9`, `.fc40`), never of the file's name.

use std::io::BufRead;

use plimsoll_model::package::{Ecosystem, Release};
use plimsoll_model::vulnerability::{MatchStatus, Severity};

use super::xml::{Bad, Node, elements};
use super::{Sink, clip, date, id_is_valid};
use crate::advisory::{Advisory, Affected, Record};
use crate::aliases::is_cve;
use crate::names::{LookupKey, scheme};
use crate::ranges::{End, Interval};
use crate::score::severity_word;

const MAX_PACKAGES: usize = 20_000;

pub(crate) fn read(place: &str, input: impl BufRead, sink: &mut Sink<'_>) {
    elements(input, &["update"], |node| match node {
        Ok(node) => take(&node, sink),
        Err(Bad::Syntax) => sink.reject(place, "xml_invalid"),
        Err(Bad::TooLarge) => sink.reject(place, "record_too_large"),
    });
}

fn take(update: &Node, sink: &mut Sink<'_>) {
    let id = update.text_of("id");
    if !id_is_valid(id) {
        return sink.reject(id, "id_invalid");
    }
    let Some((distribution, feed)) = publisher(id) else {
        return sink.unsupported(id.split('-').next().unwrap_or("?"));
    };
    let references = update.child("references");
    let stated = references.into_iter().flat_map(|list| list.all("reference"));
    let mut cves: Vec<String> = stated
        .flat_map(|reference| [reference.attribute("id"), reference.attribute("title")])
        .flat_map(|text| text.split(|c: char| !c.is_ascii_alphanumeric() && c != '-'))
        .filter(|word| is_cve(word))
        .map(str::to_owned)
        .collect();
    cves.sort();
    cves.dedup();
    // Bug-fix and enhancement updates name no vulnerability.
    if cves.is_empty() {
        return sink.ignore();
    }
    let day = |name: &str| {
        let stated = update.child(name).map_or("", |node| node.attribute("date"));
        // "2024-01-03 22:44", "2024-01-03 22:44:12" or RFC 3339.
        let text = stated.trim().replacen(' ', "T", 1);
        date(&text).or_else(|| date(&format!("{text}:00"))).or_else(|| date(stated.get(..10)?))
    };
    let (published, modified) = (day("issued"), day("updated").or_else(|| day("issued")));
    let mut advisory = Advisory {
        feed,
        names: cves,
        summary: clip(update.text_of("title").trim(), 256),
        published,
        modified,
        severity: severity_word(update.text_of("severity")),
        id: id.to_owned(),
        ..Advisory::default()
    };
    let mut bad = 0;
    for collection in update.child("pkglist").into_iter().flat_map(|list| list.all("collection")) {
        let stream = collection
            .child("module")
            .map(|module| format!("{}:{}", module.attribute("name"), module.attribute("stream")));
        for package in collection.all("package") {
            if advisory.affected.len() >= MAX_PACKAGES {
                return sink.reject(id, "too_many_entries");
            }
            match affected(package, distribution, advisory.severity, stream.as_deref()) {
                Ok(Some(found)) => advisory.affected.push(found),
                Ok(None) => {}
                Err(reason) => {
                    bad += 1;
                    sink.reject(&advisory.id, reason);
                }
            }
        }
    }
    if !advisory.affected.is_empty() {
        sink.record(Record::Advisory(advisory), modified);
    } else if bad == 0 {
        sink.ignore();
    }
}

/// Distribution and feed of an update by its id.
fn publisher(id: &str) -> Option<(&'static str, &'static str)> {
    const PREFIXES: &[(&str, &str, &str)] = &[
        ("ALAS", "amzn", "amazon"),
        ("ELSA-", "ol", "oracle"),
        ("RLSA-", "rocky", "rocky"),
        ("ALSA-", "almalinux", "almalinux"),
        // Packages beside a release, not of it.
        ("FEDORA-EPEL-", "", ""),
        ("FEDORA-", "fedora", "fedora"),
    ];
    let (_, distribution, feed) = PREFIXES.iter().find(|(prefix, ..)| id.starts_with(prefix))?;
    (!feed.is_empty()).then_some((*distribution, *feed))
}

fn affected(
    package: &Node,
    distribution: &'static str,
    severity: Severity,
    stream: Option<&str>,
) -> Result<Option<Affected>, &'static str> {
    let (name, arch) = (package.attribute("name"), package.attribute("arch"));
    if arch == "src" || arch == "nosrc" {
        return Ok(None);
    }
    if name.is_empty() || name.len() > 256 || name.contains('\0') {
        return Err("id_invalid");
    }
    let build = package.attribute("release");
    let Some(version) = dist_version(distribution, build) else { return Err("release_unknown") };
    let fixed = match package.attribute("epoch") {
        "" | "0" => format!("{}-{build}", package.attribute("version")),
        epoch => format!("{epoch}:{}-{build}", package.attribute("version")),
    };
    let scheme = scheme(Ecosystem::Rpm).ok_or("version_invalid")?;
    if package.attribute("version").is_empty() || scheme.parse(&fixed).is_err() {
        return Err("version_invalid");
    }
    let release = Release { id: distribution.to_owned(), version };
    let key = LookupKey::new(Ecosystem::Rpm, Some(&release), name);
    Ok(Some(Affected {
        key: match stream {
            Some(stream) => key.of_stream(stream),
            None => key,
        },
        scheme,
        status: MatchStatus::Affected,
        severity,
        intervals: vec![Interval { start: None, end: End::Fixed(fixed) }],
        versions: Vec::new(),
        arches: arches(arch),
    }))
}

/// Architectures of a package that an advisory lists; none for one that is for all.
pub(super) fn arches(arch: &str) -> Vec<String> {
    match arch {
        "" | "noarch" => Vec::new(),
        arch => vec![arch.chars().take(16).collect()],
    }
}

/// Version of the release that a build is for, by its dist tag: `1.amzn2.0.1`, `4.el9_3`, `2.fc40`, `1.ph5`, `3.azl3`.
pub(super) fn dist_version(distribution: &str, build: &str) -> Option<String> {
    let tag = match distribution {
        "amzn" => "amzn",
        "fedora" => "fc",
        "photon" => "ph",
        "azurelinux" => "azl",
        "mariner" => "cm",
        _ => "el",
    };
    build.split(['.', '+', '-', '_']).find_map(|part| {
        let digits = part.strip_prefix(tag)?;
        let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
        digits.get(..end).filter(|digits| !digits.is_empty() && digits.len() <= 4).map(str::to_owned)
    })
}
