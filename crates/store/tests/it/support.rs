//! Facts in few words.

use std::collections::BTreeMap;

use plimsoll_model::exposure::{Exposure, ExposureLevel, WorkloadName};
use plimsoll_model::fact::{
    ContainerFact, ExposureFact, ImageDeleted, ImageFact, ImagePushed, ManifestFact, ManifestKind, MatchFact,
    NetworkNote, Resolution, ResolvedFact, ScanFailed, WorkloadFact,
};
use plimsoll_model::finding::{Change, FindingState};
use plimsoll_model::vulnerability::{Intelligence, Match, MatchStatus, Severity, Sourced};
use plimsoll_model::{
    ComponentKey, Digest, Ecosystem, Fact, FactBody, Finding, MatchSet, PackageKey, Platform, Timestamp,
    Vulnerability,
};
use plimsoll_store::{CommitOutcome, Emit, Filter, Settings, Store};

pub(crate) const NOW: Timestamp = Timestamp(1_800_000_000_000);
pub(crate) const REGISTRY: &str = "registry.local:5000";

pub(crate) struct Bench {
    pub(crate) store: Store,
    pub(crate) settings: Settings,
    directory: tempfile::TempDir,
}

impl Bench {
    pub(crate) async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path().join("plimsoll.db")).await.unwrap();
        Self { store, settings: Settings::standard().unwrap(), directory }
    }

    pub(crate) fn path(&self, name: &str) -> std::path::PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) async fn commit(&self, facts: &[Fact]) -> CommitOutcome {
        self.store.commit(facts, &self.settings, NOW).await.unwrap()
    }

    /// A slice of what commits left.
    pub(crate) async fn slice(&self) -> CommitOutcome {
        self.store.backlog(&self.settings, NOW, Emit::Publish).await.unwrap()
    }

    pub(crate) async fn silent(&self, facts: &[Fact]) -> CommitOutcome {
        self.store.commit_as(facts, &self.settings, NOW, Emit::Silent).await.unwrap()
    }

    /// Open findings by id.
    pub(crate) async fn open(&self) -> BTreeMap<String, Finding> {
        let reader = self.store.reader();
        let mut open = BTreeMap::new();
        let mut cursor: Option<String> = None;
        loop {
            let page = reader.findings(&Filter::default(), cursor.as_deref(), 7).await.unwrap();
            open.extend(page.findings.into_iter().map(|f| (f.id.clone(), f)));
            cursor = page.next;
            if cursor.is_none() {
                return open;
            }
        }
    }

    /// What the open set is about, in words.
    pub(crate) async fn words(&self) -> Vec<String> {
        let mut words: Vec<String> = self
            .open()
            .await
            .values()
            .map(|f| {
                format!(
                    "{} {} {} {}",
                    f.assessment.class, f.key.vulnerability, f.key.package.name, f.key.holder
                )
            })
            .collect();
        words.sort();
        words
    }
}

/// The changes of an outcome in words.
pub(crate) fn told(outcome: &CommitOutcome) -> Vec<String> {
    let mut words = Vec::new();
    for (_, _, message) in &outcome.roll_ups {
        if let Some((code, _)) = &message.failure {
            words.push(format!("scan_failed {code} {}", message.holder));
        }
        for change in &message.changes {
            let f = &change.finding;
            words.push(format!(
                "{} {} {} {}",
                change.kind.as_str(),
                f.assessment.class,
                f.key.vulnerability,
                f.key.holder
            ));
        }
    }
    words
}

/// What a subscriber that applies changes in order believes to be open.
pub(crate) fn believe(open: &mut BTreeMap<String, u64>, changes: &[Change]) {
    for change in changes {
        let f = &change.finding;
        if f.state == FindingState::Open {
            open.insert(f.id.clone(), f.revision);
        } else {
            open.remove(&f.id);
        }
    }
}

pub(crate) fn digest(n: u8) -> Digest {
    Digest::from_sha256(&[n; 32])
}

pub(crate) fn fact(id: &str, body: FactBody) -> Fact {
    Fact { id: id.into(), at: NOW, trace: "00-trace".into(), body }
}

pub(crate) fn pushed(repository: &str, tag: Option<&str>, n: u8, seq: u64) -> Fact {
    let body = ImagePushed {
        registry: REGISTRY.into(),
        repository: repository.into(),
        tag: tag.map(str::to_owned),
        digest: digest(n),
        seq,
    };
    fact(&format!("pushed-{repository}-{seq}"), FactBody::ImagePushed(body))
}

pub(crate) fn deleted(repository: &str, tag: Option<&str>, n: Option<u8>, seq: u64) -> Fact {
    let body = ImageDeleted {
        registry: REGISTRY.into(),
        repository: repository.into(),
        tag: tag.map(str::to_owned),
        digest: n.map(digest),
        seq,
    };
    fact(&format!("deleted-{repository}-{seq}"), FactBody::ImageDeleted(body))
}

pub(crate) fn manifest(repository: &str, n: u8, kind: ManifestKind) -> Fact {
    let body =
        ManifestFact { registry: REGISTRY.into(), repository: repository.into(), digest: digest(n), kind };
    fact(&format!("manifest-{repository}-{n}"), FactBody::Manifest(body))
}

pub(crate) fn single() -> ManifestKind {
    ManifestKind::Image { platform: Platform::default(), layers: vec![digest(200)] }
}

pub(crate) fn component(name: &str, version: &str) -> ComponentKey {
    ComponentKey {
        stream: String::new(),
        package: PackageKey { ecosystem: Ecosystem::Npm, release: None, name: name.into() },
        version: version.into(),
        source: None,
        arch: String::new(),
    }
}

pub(crate) fn vulnerability(id: &str, aliases: &[&str]) -> Vulnerability {
    let stated = |value| Some(Sourced { value, source: "test".into() });
    Vulnerability {
        id: id.into(),
        aliases: aliases.iter().map(|a| (*a).to_owned()).collect(),
        summary: format!("{id} in words"),
        severity: Severity::High,
        severity_source: "test".into(),
        cvss: String::new(),
        published: None,
        modified: None,
        intelligence: Intelligence {
            epss: Some(0.1),
            automatable: stated(true),
            total_impact: stated(true),
            ..Default::default()
        },
    }
}

pub(crate) fn matched(vulnerability: &str, component: &ComponentKey, fixed: Option<&str>) -> Match {
    Match {
        feed_date: None,
        vulnerability: vulnerability.into(),
        component: component.clone(),
        advisory: format!("ADV-{vulnerability}"),
        feed: "test".into(),
        status: MatchStatus::Affected,
        range: "all".into(),
        compared: component.version.clone(),
        fixed: fixed.map(str::to_owned),
        confident: true,
    }
}

/// Matches of components with these vulnerabilities in a Db.
pub(crate) fn set(db_seq: u64, matches: Vec<Match>, vulnerabilities: Vec<Vulnerability>) -> MatchSet {
    MatchSet { db_seq, matches, vulnerabilities, uncovered: vec![], end_of_life: vec![] }
}

pub(crate) fn image(id: &str, n: u8, components: &[ComponentKey], matches: MatchSet) -> Fact {
    let body = ImageFact {
        digest: digest(n),
        platform: Platform::default(),
        sbom: format!("sbom-{n}"),
        components: components.to_vec(),
        matches,
        partial: vec![],
        layers: vec![digest(200)],
        inside: vec![],
        introduced: vec![],
    };
    fact(id, FactBody::Image(body))
}

pub(crate) fn rematched(id: &str, components: &[ComponentKey], matches: MatchSet) -> Fact {
    let body = MatchFact { components: components.to_vec(), matches, reason: "Db 2".into() };
    fact(id, FactBody::Match(body))
}

pub(crate) fn failed(repository: &str, n: Option<u8>, tag: Option<&str>, stage: &str, code: &str) -> Fact {
    let body = ScanFailed {
        digest: n.map(digest),
        registry: REGISTRY.into(),
        repository: repository.into(),
        tag: tag.map(str::to_owned),
        stage: stage.into(),
        code: code.into(),
        detail: "detail".into(),
    };
    fact(&format!("failed-{repository}-{n:?}-{tag:?}-{code}"), FactBody::ScanFailed(body))
}

pub(crate) fn name(workload: &str) -> WorkloadName {
    WorkloadName {
        cluster: "east".into(),
        namespace: "shop".into(),
        kind: "Deployment".into(),
        name: workload.into(),
    }
}

pub(crate) fn reference(repository: &str, tag: &str) -> String {
    format!("{REGISTRY}/{repository}:{tag}")
}

pub(crate) fn workload(workload: &str, image: &str, changed_seq: u64, level: ExposureLevel) -> WorkloadFact {
    WorkloadFact {
        name: name(workload),
        exposure: Exposure {
            level,
            paths: vec![],
            caveats: vec![],
            reaches: 0,
            as_of: NOW,
            complete: true,
            enforced: true,
        },
        changed_seq,
        containers: vec![ContainerFact { name: "main".into(), image: image.into(), digest: None }],
        privileged: false,
        replicas: 1,
        notes: vec![],
    }
}

pub(crate) fn note(code: &str, about: &str) -> NetworkNote {
    NetworkNote {
        code: code.into(),
        about: about.into(),
        message: format!("what {code} says"),
        decided_by: vec!["networking.k8s.io/NetworkPolicy shop/closed isolate".into()],
        peers: vec![],
    }
}

pub(crate) fn exposure(base: u64, target: u64, workloads: Vec<WorkloadFact>, removed: &[&str]) -> Fact {
    let body = ExposureFact {
        cluster: "east".into(),
        base_seq: base,
        target_seq: target,
        publication: 0,
        through_seq: target,
        workloads,
        removed: removed.iter().map(|w| name(w)).collect(),
        changes: vec![],
        transient: vec![],
        unlisted: Default::default(),
        actor: "ci".into(),
    };
    fact(&format!("exposure-{base}-{target}"), FactBody::Exposure(body))
}

/// The fact as a publication of this number.
pub(crate) fn published(mut fact: Fact, number: u64) -> Fact {
    if let FactBody::Exposure(exposure) = &mut fact.body {
        exposure.publication = number;
        fact.id = format!("{}-{number}", fact.id);
    }
    fact
}

pub(crate) fn resolved(seq: u64, references: &[(&str, &str, Option<u8>)]) -> Fact {
    let references = references
        .iter()
        .map(|(repository, tag, n)| Resolution {
            reference: reference(repository, tag),
            registry: REGISTRY.into(),
            repository: (*repository).into(),
            digest: n.map(digest),
            code: if n.is_some() { String::new() } else { "not_found".into() },
        })
        .collect();
    fact(
        &format!("resolved-{seq}"),
        FactBody::Resolved(ResolvedFact { cluster: "east".into(), seq, references }),
    )
}

/// A pushed, read and inventoried image with one vulnerable package.
pub(crate) fn vulnerable_push(repository: &str, tag: &str, n: u8, seq: u64, ids: &[&str]) -> Vec<Fact> {
    let left = component("left-pad", "1.0.0");
    let matches = ids.iter().map(|id| matched(id, &left, Some("1.1.0"))).collect();
    let known = ids.iter().map(|id| vulnerability(id, &[])).collect();
    // The version says which vulnerabilities it has, so that equal components have equal matches.
    let key = ComponentKey { version: format!("1.0.0+{}", ids.join("+")), ..left };
    let matches: Vec<Match> = matches;
    let matches = matches.into_iter().map(|m| Match { component: key.clone(), ..m }).collect();
    vec![
        pushed(repository, Some(tag), n, seq),
        manifest(repository, n, single()),
        image(&format!("image-{n}"), n, &[key, component("safe", "1")], set(1, matches, known)),
    ]
}
