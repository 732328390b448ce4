//! Statements about vulnerabilities in products, in one form: VEX documents of any format, and rules to ignore findings.
//!
//! A [`Statement`] names vulnerabilities and products; [`Product::names`] tells whether a component of an image is meant.
//! What follows from the statements for a finding is decided in the findings crate.

mod network;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::exposure::WorkloadName;
use crate::finding::Holder;
use crate::package::{ComponentKey, Ecosystem, Release};
use crate::time::Timestamp;

pub use network::{NetworkFinding, is_network};

/// What a statement says (OpenVEX 0.2 status labels; other formats are translated to them).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VexStatus {
    /// Most cautious first: the order decides between issuers that differ.
    Affected,
    UnderInvestigation,
    Fixed,
    NotAffected,
}

impl VexStatus {
    /// The word of OpenVEX.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Affected => "affected",
            Self::UnderInvestigation => "under_investigation",
            Self::Fixed => "fixed",
            Self::NotAffected => "not_affected",
        }
    }

    /// True where the product is said to be safe.
    pub fn suppresses(self) -> bool {
        matches!(self, Self::Fixed | Self::NotAffected)
    }
}

/// Where a statement or suppression comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StatementKind {
    /// A VEX document.
    Vex,
    /// A rule of the operator's own file.
    Ignore,
}

impl StatementKind {
    /// The lower-case word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Vex => "vex",
            Self::Ignore => "ignore",
        }
    }
}

/// One statement of one issuer.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Statement {
    /// Stable: a hash of all the rest.
    pub id: String,
    pub kind: StatementKind,
    /// Id and aliases of the vulnerability, as written; sorted, never empty.
    pub vulnerabilities: Vec<String>,
    /// Any of these; never empty.
    pub products: Vec<Product>,
    /// Findings of these holders alone.
    #[serde(default, skip_serializing_if = "Scope::is_any")]
    pub scope: Scope,
    pub status: VexStatus,
    /// A justification label (`vulnerable_code_not_present`, …), empty where there is none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub justification: String,
    /// Why, for people: the impact statement, or the reason of a rule.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// Who says so.
    pub issuer: String,
    /// Id or place of the document.
    pub document: String,
    /// Name of the key that the document's signature was verified with, empty for an unsigned one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub signed_by: String,
    /// Of two statements of one issuer the later counts.
    pub at: Timestamp,
    /// From then on it says nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Timestamp>,
}

impl Statement {
    /// False from its expiry on.
    pub fn is_live(&self, now: Timestamp) -> bool {
        self.expires.is_none_or(|expires| now < expires)
    }

    /// What it says, in one sentence.
    pub fn sentence(&self) -> String {
        let id = self.vulnerabilities.first().map_or("", String::as_str);
        let mut text = match self.kind {
            StatementKind::Ignore => format!("an ignore rule for {id}"),
            StatementKind::Vex => format!("{} says {} of {id}", self.issuer, self.status.as_str()),
        };
        for part in [&self.justification, &self.reason] {
            if !part.is_empty() {
                text.push_str(": ");
                text.push_str(part);
                break;
            }
        }
        text
    }
}

/// What a statement is about: all the parts that are given must hold of a component in an image.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Product {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<ImagePattern>,
    /// The package that every file of the component is inside of: the program of a Go module, the archive of a class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inside: Option<PackagePattern>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub package: Option<PackagePattern>,
}

impl Product {
    /// True where `component`, found in the image that `place` describes, is meant.
    pub fn names(&self, component: &ComponentKey, place: &ImagePlace) -> bool {
        self.image.as_ref().is_none_or(|image| image.names(place))
            && self.package.as_ref().is_none_or(|package| package.names(component))
            && self.inside.as_ref().is_none_or(|outer| {
                place.inside.get(component).is_some_and(|keys| keys.iter().any(|key| outer.names(key)))
            })
    }
}

/// An image by digest, or by repository. One that gives neither names no image.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ImagePattern {
    /// Of the manifest or of an index that has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// `registry/repository`; says nothing beside a digest, which names one content wherever it lies.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub repository: String,
}

impl ImagePattern {
    fn names(&self, place: &ImagePlace) -> bool {
        match &self.digest {
            Some(digest) => place.digests.contains(digest),
            None => !self.repository.is_empty() && place.repositories.contains(&self.repository),
        }
    }
}

/// How an image may be named, and what is inside of what in it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImagePlace {
    /// Its own digest and those of the indexes through which it is held.
    pub digests: BTreeSet<Digest>,
    /// `registry/repository`.
    pub repositories: BTreeSet<String>,
    /// Components all of whose files are inside of another component's.
    pub inside: BTreeMap<ComponentKey, Vec<ComponentKey>>,
}

/// A package, with or without its version.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PackagePattern {
    /// Any where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ecosystem: Option<Ecosystem>,
    /// Distribution; an empty version means any of its releases, `3.18` also `3.18.4`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<Release>,
    /// As its ecosystem normalises it.
    pub name: String,
    /// Exactly this version; any where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Exactly this architecture; any where empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub arch: String,
    /// Name and version are the source package's.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub source: bool,
}

impl PackagePattern {
    /// True where `key` is this package in this version.
    pub fn names(&self, key: &ComponentKey) -> bool {
        let (name, version) = match (&key.source, self.source) {
            (Some(source), true) => (&source.name, &source.version),
            _ => (&key.package.name, &key.version),
        };
        let ecosystem = key.package.ecosystem;
        self.name == *name
            && self.ecosystem.is_none_or(|wanted| wanted == ecosystem)
            && self.version.as_ref().is_none_or(|wanted| same_version(ecosystem, wanted, version))
            && (self.arch.is_empty() || self.arch == key.arch || matches!(&*key.arch, "" | "all" | "noarch"))
            && self.release.as_ref().is_none_or(|release| covers(release, key.package.release.as_ref()))
    }
}

fn same_version(ecosystem: Ecosystem, a: &str, b: &str) -> bool {
    a == b || (ecosystem == Ecosystem::Golang && bare(a) == bare(b))
}

/// Go writes versions with a `v`, many who speak of Go modules do not.
fn bare(version: &str) -> &str {
    version.strip_prefix("go").or_else(|| version.strip_prefix('v')).unwrap_or(version)
}

fn covers(pattern: &Release, release: Option<&Release>) -> bool {
    let Some(release) = release else { return false };
    // A purl's namespace is the vendor: `opensuse` for `opensuse-leap` and `opensuse-tumbleweed`.
    let vendor = pattern.id == release.id
        || (pattern.id == "opensuse" && release.id.starts_with("opensuse-"))
        || (pattern.id == "sles" && release.id.starts_with("sles"));
    let rest = release.version.strip_prefix(pattern.version.as_str());
    vendor
        && (pattern.version.is_empty() || rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.')))
}

/// Whose findings a rule is about: every part that is not empty must hold; `*` in a part stands for any text.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct Scope {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub cluster: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// Name of a workload, or `kind/name`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub workload: String,
    /// `registry/repository` of the image.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub image: String,
    /// Of a finding about network policy, who is on the other side: every one of them must be like this, or within this
    /// block of addresses. Says nothing of other findings.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub peer: String,
    /// Of a finding about network policy, the side that it is about: `ingress`, `egress`, `policy`. As `peer`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub side: String,
}

impl Scope {
    /// True where it says nothing.
    pub fn is_any(&self) -> bool {
        *self == Self::default()
    }

    /// True for a finding of `holder` in an image that `place` describes.
    pub fn names(&self, holder: &Holder, place: &ImagePlace) -> bool {
        let image = self.image.is_empty() || place.repositories.iter().any(|name| like(&self.image, name));
        if !image || !self.peer.is_empty() || !self.side.is_empty() {
            return false;
        }
        let parts = [&self.cluster, &self.namespace, &self.workload];
        match holder {
            Holder::Repository { .. } => parts.iter().all(|part| part.is_empty()),
            Holder::Workload { workload, .. } => self.names_workload(workload),
        }
    }

    /// True for a workload, as far as cluster, namespace and workload are concerned.
    pub fn names_workload(&self, workload: &WorkloadName) -> bool {
        let full = format!("{}/{}", workload.kind, workload.name);
        (self.cluster.is_empty() || like(&self.cluster, &workload.cluster))
            && (self.namespace.is_empty() || like(&self.namespace, &workload.namespace))
            && (self.workload.is_empty()
                || like(&self.workload, &workload.name)
                || like(&self.workload, &full))
    }
}

/// True where `text` is like `pattern`, in which `*` stands for any text.
fn like(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or("");
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else { return rest.is_empty() };
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = rest.get(at + part.len()..).unwrap_or(""),
            None => return false,
        }
    }
    rest.len() >= last.len() && rest.ends_with(last)
}

/// Why a finding is suppressed: the statement that says so.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Suppression {
    /// Id of the statement.
    pub statement: String,
    pub kind: StatementKind,
    pub status: VexStatus,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub justification: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    pub issuer: String,
    pub document: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub signed_by: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Timestamp>,
}

impl From<&Statement> for Suppression {
    fn from(statement: &Statement) -> Self {
        Self {
            statement: statement.id.clone(),
            kind: statement.kind,
            status: statement.status,
            justification: statement.justification.clone(),
            reason: statement.reason.clone(),
            issuer: statement.issuer.clone(),
            document: statement.document.clone(),
            signed_by: statement.signed_by.clone(),
            expires: statement.expires,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::package::{PackageKey, SourcePackage};

    fn key(ecosystem: Ecosystem, release: Option<(&str, &str)>, name: &str, version: &str) -> ComponentKey {
        let release = release.map(|(id, version)| Release { id: id.into(), version: version.into() });
        let package = PackageKey { ecosystem, release, name: name.into() };
        ComponentKey {
            package,
            version: version.into(),
            source: None,
            arch: String::new(),
            stream: String::new(),
        }
    }

    #[test]
    fn packages_are_named_exactly() {
        let busybox = key(Ecosystem::Apk, Some(("alpine", "3.18.4")), "busybox", "1.36.1-r2");
        let pattern = |release: Option<(&str, &str)>, version: Option<&str>| PackagePattern {
            ecosystem: Some(Ecosystem::Apk),
            release: release.map(|(id, version)| Release { id: id.into(), version: version.into() }),
            name: "busybox".into(),
            version: version.map(Into::into),
            ..PackagePattern::default()
        };
        for (pattern, named) in [
            (pattern(None, None), true),
            (pattern(None, Some("1.36.1-r2")), true),
            (pattern(None, Some("1.36.1-r3")), false),
            (pattern(Some(("alpine", "")), None), true),
            (pattern(Some(("wolfi", "")), None), false),
            (pattern(Some(("alpine", "3.18")), None), true),
            (pattern(Some(("alpine", "3.1")), None), false),
            (PackagePattern { name: "busy".into(), ..pattern(None, None) }, false),
            (PackagePattern { ecosystem: Some(Ecosystem::Deb), ..pattern(None, None) }, false),
        ] {
            assert_eq!(pattern.names(&busybox), named, "{pattern:?}");
        }
        let go = key(Ecosystem::Golang, None, "golang.org/x/net", "v0.29.0");
        for (version, named) in [("v0.29.0", true), ("0.29.0", true), ("0.29", false), ("v0.29.1", false)] {
            let pattern = PackagePattern {
                ecosystem: Some(Ecosystem::Golang),
                name: "golang.org/x/net".into(),
                version: Some(version.into()),
                ..PackagePattern::default()
            };
            assert_eq!(pattern.names(&go), named, "{version}");
        }
        let mut curl = key(Ecosystem::Deb, Some(("ubuntu", "22.04")), "libcurl4", "7.81.0-1");
        curl.source = Some(SourcePackage { name: "curl".into(), version: "7.81.0-2".into() });
        let pattern = PackagePattern { name: "curl".into(), source: true, ..PackagePattern::default() };
        assert!(pattern.names(&curl));
        assert!(PackagePattern { version: Some("7.81.0-2".into()), ..pattern.clone() }.names(&curl));
        assert!(!PackagePattern { version: Some("7.81.0-1".into()), ..pattern.clone() }.names(&curl));
        assert!(!PackagePattern { source: false, ..pattern }.names(&curl));
    }

    #[test]
    fn a_digest_names_one_content_and_a_name_alone_none() {
        let digest = |n: u8| Digest::from_sha256(&[n; 32]);
        let place = ImagePlace {
            digests: [digest(1), digest(2)].into(),
            repositories: ["docker.io/library/debian".to_owned()].into(),
            inside: BTreeMap::new(),
        };
        for (n, repository, named) in [
            (Some(1), "", true),
            (Some(2), "elsewhere.example/x", true),
            (Some(3), "docker.io/library/debian", false),
            (None, "docker.io/library/debian", true),
            (None, "docker.io/library/debia", false),
            (None, "", false),
        ] {
            let pattern = ImagePattern { digest: n.map(digest), repository: repository.into() };
            assert_eq!(pattern.names(&place), named, "{pattern:?}");
        }
    }

    #[test]
    fn scopes() {
        let workload = Holder::Workload {
            workload: WorkloadName {
                cluster: "east".into(),
                namespace: "shop-eu".into(),
                kind: "Deployment".into(),
                name: "cart".into(),
            },
            container: "main".into(),
        };
        let place =
            ImagePlace { repositories: ["r.example/shop/cart".to_owned()].into(), ..ImagePlace::default() };
        let scope = |namespace: &str, workload: &str, image: &str| Scope {
            cluster: String::new(),
            namespace: namespace.into(),
            workload: workload.into(),
            image: image.into(),
            ..Scope::default()
        };
        for (scope, named) in [
            (scope("", "", ""), true),
            (scope("shop-*", "", ""), true),
            (scope("shop-us", "", ""), false),
            (scope("*", "cart", ""), true),
            (scope("", "Deployment/c*t", ""), true),
            (scope("", "DaemonSet/cart", ""), false),
            (scope("", "", "r.example/*/cart"), true),
            (scope("", "", "r.example/shop"), false),
        ] {
            assert_eq!(scope.names(&workload, &place), named, "{scope:?}");
        }
        for (pattern, text, same) in
            [("a*", "a", true), ("a*a", "a", false), ("*b*", "abc", true), ("", "", true), ("", "a", false)]
        {
            assert_eq!(like(pattern, text), same, "{pattern} {text}");
        }
    }
}
