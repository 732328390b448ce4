use std::collections::{BTreeMap, BTreeSet};

use plimsoll_findings::{Desired, HeldMatch, HolderView, Statements, desired};
use plimsoll_model::exposure::{Exposure, ExposureLevel, WorkloadName};
use plimsoll_model::vulnerability::{Intelligence, Match, MatchStatus, Severity, Sourced};
use plimsoll_model::{
    ComponentKey, Digest, Ecosystem, Holder, PackageKey, Platform, Timestamp, Vulnerability,
};
use plimsoll_risk::{Deployment, Settings};

pub(crate) const NOW: Timestamp = Timestamp(1_800_000_000_000);

pub(crate) fn digest(n: u8) -> Digest {
    Digest::from_sha256(&[n; 32])
}

pub(crate) fn package(name: &str) -> PackageKey {
    PackageKey { ecosystem: Ecosystem::Npm, release: None, name: name.into() }
}

pub(crate) fn matched(vulnerability: &str, name: &str, version: &str, fixed: Option<&str>) -> Match {
    Match {
        feed_date: None,
        vulnerability: vulnerability.into(),
        component: ComponentKey {
            stream: String::new(),
            package: package(name),
            version: version.into(),
            source: None,
            arch: String::new(),
        },
        advisory: format!("A-{vulnerability}"),
        feed: "test".into(),
        status: MatchStatus::Affected,
        range: "< 9".into(),
        compared: version.into(),
        fixed: fixed.map(str::to_owned),
        confident: true,
    }
}

pub(crate) fn vulnerability(id: &str, epss: f64) -> Vulnerability {
    let stated = |value| Some(Sourced { value, source: "test".into() });
    Vulnerability {
        id: id.into(),
        aliases: vec![],
        summary: String::new(),
        severity: Severity::High,
        severity_source: String::new(),
        cvss: String::new(),
        published: None,
        modified: None,
        intelligence: Intelligence {
            epss: Some(epss),
            automatable: stated(true),
            total_impact: stated(true),
            ..Default::default()
        },
    }
}

pub(crate) fn workload(name: &str) -> Holder {
    Holder::Workload {
        workload: WorkloadName {
            cluster: "east".into(),
            namespace: "shop".into(),
            kind: "Deployment".into(),
            name: name.into(),
        },
        container: "main".into(),
    }
}

pub(crate) fn repository(name: &str) -> Holder {
    Holder::Repository {
        registry: "registry.local:5000".into(),
        repository: name.into(),
        platform: Platform::default(),
    }
}

pub(crate) fn exposure(level: ExposureLevel) -> Exposure {
    Exposure { level, paths: vec![], caveats: vec![], reaches: 0, as_of: NOW, complete: true, enforced: true }
}

/// What `desired` says of one holder that is exposed like this.
pub(crate) fn wanted(
    holder: &Holder,
    matches: &[(u8, Match)],
    vulnerabilities: &[Vulnerability],
    level: Option<ExposureLevel>,
) -> Vec<Desired> {
    let digests: Vec<Digest> = matches.iter().map(|(n, _)| digest(*n)).collect();
    let held: Vec<HeldMatch<'_>> = matches
        .iter()
        .zip(&digests)
        .map(|((_, matched), image)| HeldMatch { image, matched, db_seq: 1 })
        .collect();
    let exposure = level.map(exposure);
    let view = HolderView {
        holder,
        exposure: exposure.as_ref(),
        deployment: Deployment::Workload { privileged: false, replicas: 1 },
        matches: &held,
        covered: &BTreeSet::new(),
        statements: &Statements::default(),
        places: &BTreeMap::new(),
    };
    let lookup = |id: &str| vulnerabilities.iter().find(|v| v.id == id);
    desired(&view, lookup, &Settings::standard().unwrap(), NOW).open
}
