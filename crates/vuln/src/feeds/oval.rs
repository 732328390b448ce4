//! OVAL definitions of rpm distributions (<https://oval-community-guidelines.readthedocs.io>): Oracle Linux
//! (`com.oracle.elsa-all.xml`), SUSE, Azure Linux and CBL-Mariner.
//!
//! A definition is a tree of tests joined by "and" and "or". Read are the tests that say "package is earlier than
//! version", each with what stands beside and above it: the release that must be installed, the module that must be
//! enabled, the architecture. What a definition forbids (`negate`) is not read.

use std::io::BufRead;

use plimsoll_model::package::{Ecosystem, Release};
use plimsoll_model::vulnerability::{MatchStatus, Severity};
use rustc_hash::FxHashMap;

use super::updateinfo::{arches, dist_version};
use super::xml::{Bad, Node, elements};
use super::{Sink, clip, date, id_is_valid};
use crate::advisory::{Advisory, Affected, Record};
use crate::aliases::is_cve;
use crate::names::{LookupKey, scheme, suse_release};
use crate::ranges::{End, Interval};
use crate::score::severity_word;

const MAX_PARTS: usize = 4_000_000;
const MAX_AFFECTED: usize = 50_000;

/// What tests name.
#[derive(Default)]
struct Parts {
    /// Object and state of a test.
    tests: FxHashMap<String, (String, String)>,
    /// Package of an object.
    objects: FxHashMap<String, String>,
    /// "Earlier than" of a state.
    states: FxHashMap<String, String>,
}

pub(crate) fn read(place: &str, input: impl BufRead, sink: &mut Sink<'_>) {
    let mut parts = Parts::default();
    let mut definitions: Vec<Definition> = Vec::new();
    let mut failed = None;
    let wanted = ["definition", "rpminfo_test", "rpminfo_object", "rpminfo_state"];
    elements(input, &wanted, |node| {
        let known = parts.tests.len() + parts.objects.len() + parts.states.len() + definitions.len();
        let node = match node {
            Ok(node) if known < MAX_PARTS => node,
            Ok(_) | Err(Bad::TooLarge) => return failed = Some("record_too_large"),
            Err(Bad::Syntax) => return failed = Some("xml_invalid"),
        };
        let id = node.attribute("id").to_owned();
        match node.name.as_str() {
            "definition" => definitions.extend(Definition::of(node)),
            "rpminfo_test" => {
                let object = node.child("object").map_or("", |o| o.attribute("object_ref")).to_owned();
                let state = node.child("state").map_or("", |s| s.attribute("state_ref")).to_owned();
                parts.tests.insert(id, (object, state));
            }
            "rpminfo_object" => drop(parts.objects.insert(id, node.text_of("name").to_owned())),
            _ => {
                let evr = node.child("evr").filter(|evr| evr.attribute("operation") == "less than");
                if let Some(evr) = evr {
                    parts.states.insert(id, evr.text.clone());
                }
            }
        }
    });
    if let Some(reason) = failed {
        sink.reject(place, reason);
    }
    for definition in definitions {
        definition.take(&parts, sink);
    }
}

/// A definition before its tests are known.
struct Definition {
    id: String,
    title: String,
    cves: Vec<String>,
    severity: Severity,
    published: Option<plimsoll_model::Timestamp>,
    modified: Option<plimsoll_model::Timestamp>,
    platforms: Vec<String>,
    criteria: Node,
}

impl Definition {
    fn of(node: Node) -> Option<Self> {
        let Node { children, .. } = node;
        let (mut metadata, mut criteria) = (None, None);
        let mut number = String::new();
        for child in children {
            match child.name.as_str() {
                "metadata" => metadata = Some(child),
                "criteria" => criteria = Some(child),
                _ => {}
            }
        }
        let (metadata, criteria) = (metadata?, criteria?);
        let mut cves = Vec::new();
        for reference in metadata.all("reference") {
            let id = reference.attribute("ref_id").trim();
            // SUSE writes "Mitre CVE-2023-1 (at SUSE)"; Oracle the advisory and its CVEs.
            cves.extend(id.split_ascii_whitespace().filter(|id| is_cve(id)).map(str::to_owned));
            if matches!(reference.attribute("source"), "elsa" | "ELSA" | "SUSE-SU" | "RHSA") {
                number = id.to_owned();
            }
        }
        let advisory = metadata.child("advisory");
        let listed = advisory.into_iter().flat_map(|advisory| advisory.all("cve"));
        cves.extend(listed.map(|cve| cve.text.clone()).filter(|id| is_cve(id)));
        cves.sort();
        cves.dedup();
        let title = metadata.text_of("title").trim().to_owned();
        // "ELSA-2023-1234: openssl security update (IMPORTANT)"
        if number.is_empty() {
            let first = title.split([':', ' ']).next().unwrap_or("");
            if first.starts_with("ELSA-") {
                number = first.to_owned();
            }
        }
        let day = |name: &str| date(advisory?.child(name)?.attribute("date"));
        let stated = advisory.map_or("", |advisory| advisory.text_of("severity"));
        let stated = if stated.is_empty() { metadata.text_of("severity") } else { stated };
        let platforms: Vec<String> = metadata
            .all("affected")
            .flat_map(|affected| {
                affected.all("platform").map(|platform| platform.text.clone()).collect::<Vec<_>>()
            })
            .take(256)
            .collect();
        Some(Self {
            id: number,
            title,
            severity: severity_word(stated),
            published: day("issued"),
            modified: day("updated").or_else(|| day("issued")),
            cves,
            platforms,
            criteria,
        })
    }

    fn take(self, parts: &Parts, sink: &mut Sink<'_>) {
        let mut found = Vec::new();
        let context = Context {
            platforms: self.platforms.iter().map(String::as_str).collect(),
            stream: String::new(),
            arch: String::new(),
        };
        walk(&self.criteria, &context, parts, &mut found);
        let Some(first) = self.cves.first() else { return sink.ignore() };
        if found.len() > MAX_AFFECTED {
            return sink.reject(first, "too_many_entries");
        }
        let Some(scheme) = scheme(Ecosystem::Rpm) else { return };
        let mut affected: Vec<Affected> = Vec::new();
        let mut feed = "";
        for Found { package, fixed, context } in found {
            if package.is_empty() || package.len() > 256 || package.contains('\0') {
                sink.reject(first, "id_invalid");
                continue;
            }
            // "0:1.2-3" is "1.2-3".
            let fixed = fixed.strip_prefix("0:").unwrap_or(fixed);
            if scheme.parse(fixed).is_err() {
                sink.reject(first, "version_invalid");
                continue;
            }
            for platform in &context.platforms {
                let Some((release, by)) = release_of(platform, fixed) else {
                    sink.unsupported(platform);
                    continue;
                };
                feed = by;
                let key = LookupKey::new(Ecosystem::Rpm, Some(&release), package);
                let said = Affected {
                    key: if context.stream.is_empty() { key } else { key.of_stream(&context.stream) },
                    scheme,
                    status: MatchStatus::Affected,
                    severity: self.severity,
                    intervals: vec![Interval { start: None, end: End::Fixed(fixed.to_owned()) }],
                    versions: Vec::new(),
                    arches: arches(&context.arch),
                };
                // A server and each of its modules are the same release.
                if !affected.iter().rev().take(context.platforms.len()).any(|known| *known == said) {
                    affected.push(said);
                }
            }
        }
        if affected.is_empty() {
            return sink.ignore();
        }
        let id = match self.id.as_str() {
            "" => format!("{}-{first}", feed.to_ascii_uppercase()),
            id => id.to_owned(),
        };
        if !id_is_valid(&id) {
            return sink.reject(first, "id_invalid");
        }
        let modified = self.modified;
        let advisory = Advisory {
            id,
            feed,
            names: self.cves,
            summary: clip(&self.title, 256),
            published: self.published,
            modified,
            severity: self.severity,
            affected,
            ..Advisory::default()
        };
        sink.record(Record::Advisory(advisory), modified);
    }
}

/// What holds where a test stands.
#[derive(Clone)]
struct Context<'a> {
    platforms: Vec<&'a str>,
    stream: String,
    arch: String,
}

struct Found<'a> {
    package: &'a str,
    fixed: &'a str,
    context: Context<'a>,
}

fn walk<'a>(criteria: &'a Node, outer: &Context<'a>, parts: &'a Parts, found: &mut Vec<Found<'a>>) {
    if criteria.attribute("negate") == "true" || found.len() > MAX_AFFECTED {
        return;
    }
    let mut context = outer.clone();
    if !criteria.attribute("operator").eq_ignore_ascii_case("or") {
        for child in &criteria.children {
            let named = installed(child);
            if !named.is_empty() {
                context.platforms = named;
            }
            let comment = child.attribute("comment");
            if let Some(module) =
                comment.strip_prefix("Module ").and_then(|rest| rest.strip_suffix(" is enabled"))
            {
                context.stream = module.to_owned();
            }
            if let Some((_, arch)) = comment.split_once("arch is ") {
                context.arch = arch.trim().to_owned();
            }
        }
    }
    for child in &criteria.children {
        match child.name.as_str() {
            "criteria" => walk(child, &context, parts, found),
            "criterion" if child.attribute("negate") != "true" => {
                let test = parts.tests.get(child.attribute("test_ref"));
                let said = test
                    .and_then(|(object, state)| Some((parts.objects.get(object)?, parts.states.get(state)?)));
                if let Some((package, fixed)) = said {
                    found.push(Found { package, fixed, context: context.clone() });
                }
            }
            _ => {}
        }
    }
}

/// The releases of which a test, or one of several, says that they are installed.
fn installed(node: &Node) -> Vec<&str> {
    match node.name.as_str() {
        "criterion" => {
            let named = node.attribute("comment").strip_suffix(" is installed").map(str::trim);
            named.filter(|name| is_platform(name)).into_iter().collect()
        }
        "criteria" if node.attribute("operator").eq_ignore_ascii_case("or") => {
            let named: Vec<Vec<&str>> = node.children.iter().map(installed).collect();
            // Packages that are installed are no releases.
            if named.iter().any(Vec::is_empty) { Vec::new() } else { named.concat() }
        }
        _ => Vec::new(),
    }
}

/// True for the name of a release; packages are "installed" too (`glibc-2.31-150300.58.1 is installed`).
fn is_platform(name: &str) -> bool {
    ["Oracle Linux ", "SUSE ", "openSUSE ", "Azure Linux", "CBL-Mariner", "Red Hat "]
        .iter()
        .any(|begin| name.starts_with(begin))
}

/// Release and feed of a platform's name.
fn release_of(platform: &str, fixed: &str) -> Option<(Release, &'static str)> {
    let release = |id: &str, version: &str, feed| {
        let plain = !version.is_empty() && version.chars().all(|c| c.is_ascii_digit() || c == '.');
        plain.then(|| (Release { id: id.to_owned(), version: version.to_owned() }, feed))
    };
    let platform = platform.trim();
    if let Some(version) = platform.strip_prefix("Oracle Linux ") {
        return release("ol", version, "oracle");
    }
    if let Some((id, version)) = platform.strip_prefix("SUSE ").and_then(suse_release) {
        return release(id, &version, "suse");
    }
    if let Some(version) = platform.strip_prefix("openSUSE Leap ") {
        return release("opensuse-leap", version, "suse");
    }
    if platform == "openSUSE Tumbleweed" {
        return Some((Release { id: "opensuse-tumbleweed".to_owned(), version: String::new() }, "suse"));
    }
    let build = fixed.rsplit_once('-').map_or(fixed, |(_, build)| build);
    if platform.starts_with("Azure Linux") || platform.starts_with("CBL-Mariner") {
        // The files of one release say it in their name only; the builds in their dist tag.
        return match (dist_version("azurelinux", build), dist_version("mariner", build)) {
            (Some(version), _) => release("azurelinux", &version, "azurelinux"),
            (None, Some(version)) => release("mariner", &version, "azurelinux"),
            (None, None) => None,
        };
    }
    None
}
