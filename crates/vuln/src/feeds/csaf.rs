//! Red Hat's CSAF VEX documents, one for each CVE
//! (<https://security.access.redhat.com/data/csaf/v2/vex/>, CSAF 2.0 profile 5).
//!
//! Products of Red Hat Enterprise Linux itself are read, layered products are counted as unsupported. Fixes of extended
//! channels are kept with the builds of their minor release (see [`LookupKey::of_minor`]) and offered to nobody else;
//! packages of modules with their stream (see [`LookupKey::of_stream`]). Fixed packages are binary packages with a version; what is affected without a fix names source packages,
//! which get keys of their own (see [`LookupKey::source`]). "Not affected" is taken only where no version is named: with
//! one it speaks of that build alone. Advisory documents (RHSA) restate the VEX documents and are ignored.

use std::collections::BTreeMap;

use plimsoll_model::package::{Ecosystem, Release};
use plimsoll_model::vulnerability::{MatchStatus, Severity};
use rustc_hash::{FxHashMap, FxHashSet};
use serde::Deserialize;

use super::updateinfo::arches;
use super::{Sink, clip, date, nullable};
use crate::advisory::{Advisory, Affected, Record};
use crate::aliases::is_cve;
use crate::builds;
use crate::names::{LookupKey, scheme};
use crate::ranges::{End, Interval};
use crate::score::{severity_word, valid_vectors};

const MAX_PRODUCTS: usize = 500_000;
const MAX_DEPTH: usize = 16;

#[derive(Deserialize)]
struct Csaf {
    document: Document,
    #[serde(default, deserialize_with = "nullable")]
    product_tree: Tree,
    #[serde(default, deserialize_with = "nullable")]
    vulnerabilities: Vec<CsafVulnerability>,
}

#[derive(Deserialize)]
struct Document {
    tracking: Tracking,
    #[serde(default, deserialize_with = "nullable")]
    title: String,
}

#[derive(Deserialize)]
struct Tracking {
    id: String,
    #[serde(default, deserialize_with = "nullable")]
    current_release_date: String,
    #[serde(default, deserialize_with = "nullable")]
    initial_release_date: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Tree {
    #[serde(deserialize_with = "nullable")]
    branches: Vec<Branch>,
    #[serde(deserialize_with = "nullable")]
    relationships: Vec<Relationship>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Branch {
    #[serde(deserialize_with = "nullable")]
    branches: Vec<Branch>,
    product: Option<Product>,
}

#[derive(Deserialize)]
struct Product {
    product_id: String,
    #[serde(default, deserialize_with = "nullable")]
    product_identification_helper: Helper,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Helper {
    #[serde(deserialize_with = "nullable")]
    cpe: String,
    #[serde(deserialize_with = "nullable")]
    purl: String,
}

#[derive(Deserialize)]
struct Relationship {
    product_reference: String,
    relates_to_product_reference: String,
    full_product_name: FullName,
}

#[derive(Deserialize)]
struct FullName {
    product_id: String,
}

#[derive(Deserialize)]
struct CsafVulnerability {
    #[serde(default, deserialize_with = "nullable")]
    cve: String,
    #[serde(default, deserialize_with = "nullable")]
    product_status: BTreeMap<String, Vec<String>>,
    #[serde(default, deserialize_with = "nullable")]
    remediations: Vec<Remediation>,
    #[serde(default, deserialize_with = "nullable")]
    threats: Vec<Threat>,
    #[serde(default, deserialize_with = "nullable")]
    scores: Vec<serde_json::Value>,
}

#[derive(Deserialize)]
struct Remediation {
    #[serde(default, deserialize_with = "nullable")]
    category: String,
    #[serde(default, deserialize_with = "nullable")]
    product_ids: Vec<String>,
}

#[derive(Deserialize)]
struct Threat {
    #[serde(default, deserialize_with = "nullable")]
    category: String,
    #[serde(default, deserialize_with = "nullable")]
    details: String,
    #[serde(default, deserialize_with = "nullable")]
    product_ids: Vec<String>,
}

/// Reads one document, or an array of documents.
pub(crate) fn document(place: &str, bytes: &[u8], sink: &mut Sink<'_>) {
    let documents = if bytes.trim_ascii_start().first() == Some(&b'[') {
        serde_json::from_slice::<Vec<Csaf>>(bytes)
    } else {
        serde_json::from_slice::<Csaf>(bytes).map(|document| vec![document])
    };
    match documents {
        Ok(documents) => documents.iter().for_each(|document| take(document, sink)),
        Err(_) => sink.reject(place, "json_invalid"),
    }
}

fn take(csaf: &Csaf, sink: &mut Sink<'_>) {
    let id = csaf.document.tracking.id.as_str();
    if !is_cve(id) {
        return sink.ignore();
    }
    let products = match Products::of(&csaf.product_tree) {
        Some(products) => products,
        None => return sink.reject(id, "too_many_entries"),
    };
    let modified = date(&csaf.document.tracking.current_release_date);
    let mut advisory = Advisory {
        id: format!("REDHAT-{id}"),
        feed: "redhat",
        names: vec![id.to_owned()],
        summary: clip(csaf.document.title.trim(), 256),
        published: date(&csaf.document.tracking.initial_release_date),
        modified,
        ..Advisory::default()
    };
    for vulnerability in csaf.vulnerabilities.iter().filter(|v| v.cve == id) {
        let vectors =
            vulnerability.scores.iter().filter_map(|score| score.pointer("/cvss_v3/vectorString")?.as_str());
        advisory.cvss.extend(valid_vectors(vectors));
        affected(vulnerability, &products, &mut advisory, sink);
    }
    if advisory.affected.is_empty() {
        return sink.ignore();
    }
    sink.record(Record::Advisory(advisory), modified);
}

fn affected(
    vulnerability: &CsafVulnerability,
    products: &Products<'_>,
    advisory: &mut Advisory,
    sink: &mut Sink<'_>,
) {
    let Some(scheme) = scheme(Ecosystem::Rpm) else { return };
    let refused: FxHashSet<&str> = vulnerability
        .remediations
        .iter()
        .filter(|remediation| remediation.category == "no_fix_planned")
        .flat_map(|remediation| remediation.product_ids.iter().map(String::as_str))
        .collect();
    let impacts: Vec<&Threat> = vulnerability.threats.iter().filter(|t| t.category == "impact").collect();
    let general = impacts
        .iter()
        .find(|t| t.product_ids.is_empty())
        .map_or(Severity::Unknown, |t| severity_word(&t.details));
    let mut severities: FxHashMap<&str, Severity> = FxHashMap::default();
    for threat in &impacts {
        for id in &threat.product_ids {
            severities.insert(id, severity_word(&threat.details));
        }
    }
    for (status, ids) in &vulnerability.product_status {
        for id in ids {
            let Some(product) = products.resolve(id) else { continue };
            let Some(channel) = Channel::of(product.cpe) else {
                sink.unsupported(product.cpe.split(':').nth(3).unwrap_or("?"));
                continue;
            };
            let Some(package) = rpm_purl(product.purl) else { continue };
            let stream = product.stream(&package);
            // Without its stream a module's package cannot be told from others; a build's version at least tells the
            // module.
            if product.module && stream.is_empty() && package.version.is_none() {
                sink.unsupported("module");
                continue;
            }
            let (status, end) = match (status.as_str(), &package.version) {
                ("fixed", Some(version)) if !package.source => {
                    if scheme.parse(version).is_err() {
                        sink.reject(&format!("{} {}", advisory.id, package.name), "version_invalid");
                        continue;
                    }
                    (MatchStatus::Affected, End::Fixed(version.clone()))
                }
                ("known_affected", None) if refused.contains(id.as_str()) => {
                    (MatchStatus::WontFix, End::Open)
                }
                ("known_affected", None) => (MatchStatus::Affected, End::Open),
                ("known_not_affected", None) => (MatchStatus::NotAffected, End::Open),
                ("under_investigation", None) => (MatchStatus::UnderInvestigation, End::Open),
                _ => continue,
            };
            let release = Release { id: "rhel".to_owned(), version: channel.major.to_owned() };
            let key = LookupKey::new(Ecosystem::Rpm, Some(&release), &package.name);
            let key = if package.source { key.source() } else { key };
            let statement = Affected {
                key: key.clone(),
                scheme,
                status,
                severity: severities.get(id.as_str()).copied().unwrap_or(general),
                intervals: vec![Interval { start: None, end }],
                versions: Vec::new(),
                arches: arches(&package.arch),
            };
            let mut keys = Vec::with_capacity(4);
            let with_stream = |key: LookupKey, keys: &mut Vec<LookupKey>| {
                if !stream.is_empty() {
                    keys.push(key.clone().of_stream(&stream));
                }
                // A build without a fixed version would be said of every stream.
                if stream.is_empty() || package.version.is_some() {
                    keys.push(key);
                }
            };
            // A fix of a minor release is one for its builds, from whichever channel; those of extended channels are
            // for nobody else.
            if let Some(minor) = package.version.as_deref().and_then(builds::minor) {
                with_stream(key.clone().of_minor(&minor), &mut keys);
            }
            if channel.main {
                with_stream(key, &mut keys);
            }
            if keys.is_empty() {
                sink.unsupported("extended channel without a fix");
            }
            advisory.affected.extend(keys.into_iter().map(|key| Affected { key, ..statement.clone() }));
            if advisory.affected.len() > MAX_PRODUCTS {
                return sink.reject(&advisory.id, "too_many_entries");
            }
        }
    }
}

/// A package in a product.
struct Resolved<'a> {
    /// Of the platform.
    cpe: &'a str,
    /// Of the package.
    purl: &'a str,
    /// The package is part of a module.
    module: bool,
    /// The module, as the document calls it: `…:nodejs:18:8080020231025202232:63b34585`, or its purl.
    module_name: &'a str,
}

impl Resolved<'_> {
    /// Module and stream, `nodejs:18`; empty for packages of no module, and where the document does not say.
    fn stream(&self, package: &Package) -> String {
        let first_two = |text: &str| {
            let mut parts = text.split(':');
            match (parts.next(), parts.next()) {
                (Some(name), Some(stream)) if !name.is_empty() && !stream.is_empty() => {
                    format!("{name}:{stream}")
                }
                _ => String::new(),
            }
        };
        if !package.module.is_empty() {
            return first_two(&package.module);
        }
        // "pkg:rpmmod/redhat/nodejs@18:8080020231025202232:63b34585?arch=x86_64"
        if let Some(rest) = self.module_name.strip_prefix("pkg:rpmmod/") {
            let rest = rest.split('?').next().unwrap_or(rest);
            let text = rest.rsplit('/').next().and_then(decoded).unwrap_or_default();
            return first_two(&text.replacen('@', ":", 1));
        }
        // The platform's name stands before the module's.
        self.module_name.split_once(':').map_or_else(String::new, |(_, module)| first_two(module))
    }
}

/// The products of a document by id.
struct Products<'a> {
    helpers: FxHashMap<&'a str, &'a Helper>,
    relationships: FxHashMap<&'a str, &'a Relationship>,
}

impl<'a> Products<'a> {
    fn of(tree: &'a Tree) -> Option<Self> {
        let mut helpers = FxHashMap::default();
        let mut pending: Vec<&Branch> = tree.branches.iter().collect();
        while let Some(branch) = pending.pop() {
            pending.extend(&branch.branches);
            if let Some(product) = &branch.product {
                helpers.insert(product.product_id.as_str(), &product.product_identification_helper);
            }
            if helpers.len() > MAX_PRODUCTS {
                return None;
            }
        }
        let relationships: FxHashMap<_, _> =
            tree.relationships.iter().map(|r| (r.full_product_name.product_id.as_str(), r)).collect();
        (relationships.len() <= MAX_PRODUCTS).then_some(Self { helpers, relationships })
    }

    /// Follows "component of" up to the platform; a module stands between a package and its platform.
    fn resolve(&self, id: &str) -> Option<Resolved<'a>> {
        let mut relationship = self.relationships.get(id)?;
        let purl = self.helpers.get(relationship.product_reference.as_str())?.purl.as_str();
        let mut module = purl.contains("rpmmod=");
        let mut module_name = "";
        for _ in 0..MAX_DEPTH {
            let platform = relationship.relates_to_product_reference.as_str();
            match self.relationships.get(platform) {
                Some(next) => {
                    let helper = self.helpers.get(next.product_reference.as_str());
                    let stated = helper.map_or("", |helper| helper.purl.as_str());
                    module_name = if stated.is_empty() { platform } else { stated };
                    relationship = next;
                    module = true;
                }
                None => {
                    return Some(Resolved {
                        cpe: &self.helpers.get(platform)?.cpe,
                        purl,
                        module,
                        module_name,
                    });
                }
            }
        }
        None
    }
}

/// The channel that a platform's CPE names: `cpe:/o:redhat:enterprise_linux:9::baseos` is that of every
/// installation, `cpe:/a:redhat:rhel_eus:9.2::appstream` one of extended support.
struct Channel<'a> {
    major: &'a str,
    main: bool,
}

impl<'a> Channel<'a> {
    fn of(cpe: &'a str) -> Option<Self> {
        let rest = cpe.strip_prefix("cpe:/o:redhat:").or_else(|| cpe.strip_prefix("cpe:/a:redhat:"))?;
        let (product, rest) = rest.split_once(':')?;
        let main = match product {
            "enterprise_linux" => true,
            "rhel_eus" | "rhel_e4s" | "rhel_aus" | "rhel_tus" | "rhel_els" | "rhel_eus_long_life" => false,
            _ => return None,
        };
        let major = rest.split([':', '.']).next()?;
        let plain = !major.is_empty() && major.len() <= 3 && major.bytes().all(|b| b.is_ascii_digit());
        plain.then_some(Self { major, main })
    }
}

struct Package {
    name: String,
    /// With its epoch, where it has one.
    version: Option<String>,
    source: bool,
    arch: String,
    /// The module that a qualifier names, `nodejs:18`.
    module: String,
}

/// Reads `pkg:rpm/redhat/NAME@VERSION?arch=…&epoch=…`.
fn rpm_purl(purl: &str) -> Option<Package> {
    let rest = purl.strip_prefix("pkg:rpm/")?;
    let (path, qualifiers) = rest.split_once('?').unwrap_or((rest, ""));
    let (name, version) = match path.split_once('@') {
        Some((name, version)) => (name, Some(decoded(version)?)),
        None => (path, None),
    };
    let name = decoded(name.rsplit('/').next()?)?;
    if name.is_empty() || name.len() > 256 || name.contains('\0') {
        return None;
    }
    let qualifier = |key: &str| qualifiers.split('&').find_map(|q| q.strip_prefix(key)?.strip_prefix('='));
    let version = version.map(|version| match qualifier("epoch") {
        Some(epoch) if epoch != "0" => format!("{epoch}:{version}"),
        _ => version,
    });
    let arch = qualifier("arch").unwrap_or("").to_owned();
    let module = qualifier("rpmmod").and_then(decoded).unwrap_or_default();
    let source = arch == "src";
    Some(Package { name, version, source, arch: if source { String::new() } else { arch }, module })
}

/// Percent-decoding.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let digit = |b: Option<u8>| char::from(b?).to_digit(16);
                let (high, low) = (digit(rest.next())?, digit(rest.next())?);
                u8::try_from(high * 16 + low).ok()?
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn purls_and_cpes() {
        let package = rpm_purl("pkg:rpm/redhat/libstdc%2B%2B@8.5.0-18.el8?arch=x86_64&epoch=1").unwrap();
        assert_eq!(
            (package.name.as_str(), package.version.as_deref()),
            ("libstdc++", Some("1:8.5.0-18.el8"))
        );
        assert!(!package.source && rpm_purl("pkg:rpm/redhat/curl?arch=src").unwrap().source);
        assert!(rpm_purl("pkg:npm/x").is_none() && rpm_purl("pkg:rpm/redhat/%zz").is_none());
        let channel = |cpe| Channel::of(cpe).map(|channel| (channel.major.to_owned(), channel.main));
        assert_eq!(channel("cpe:/a:redhat:enterprise_linux:9::appstream"), Some(("9".to_owned(), true)));
        assert_eq!(channel("cpe:/o:redhat:enterprise_linux:6"), Some(("6".to_owned(), true)));
        assert_eq!(channel("cpe:/a:redhat:rhel_eus:9.2::appstream"), Some(("9".to_owned(), false)));
        assert_eq!(channel("cpe:/a:redhat:satellite:6.14::el8"), None);
    }
}
