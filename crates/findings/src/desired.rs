//! What a holder has now -> the findings that should be open for it.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use plimsoll_model::exposure::Exposure;
use plimsoll_model::finding::Assessment;
use plimsoll_model::vex::{ImagePlace, Statement, Suppression};
use plimsoll_model::vulnerability::{Intelligence, Match, MatchStatus, Severity};
use plimsoll_model::{Digest, FindingKey, Holder, PackageKey, Timestamp, Vulnerability};
use plimsoll_risk::{Deployment, ExposureInput, Settings, assess};

use crate::suppress::{Statements, Verdict, judge};

/// A match of a component that an image of the holder has.
#[derive(Debug, Clone, Copy)]
pub struct HeldMatch<'a> {
    pub image: &'a Digest,
    pub matched: &'a Match,
    /// Sequence of the Db that the match comes from.
    pub db_seq: u64,
}

/// What is known about one holder.
pub struct HolderView<'a> {
    pub holder: &'a Holder,
    pub exposure: Option<&'a Exposure>,
    pub deployment: Deployment,
    /// Matches of all images that the holder has now, in any order.
    pub matches: &'a [HeldMatch<'a>],
    /// For a repository: what workloads that run its images have, as (vulnerability, package). Those findings are the workloads'.
    pub covered: &'a BTreeSet<(String, PackageKey)>,
    /// What trusted issuers and the operator's rules say.
    pub statements: &'a Statements,
    /// How statements may name the images; one that is missing has only its digest.
    pub places: &'a BTreeMap<Digest, ImagePlace>,
}

/// A finding as it should be.
#[derive(Debug, Clone, PartialEq)]
pub struct Desired {
    pub key: FindingKey,
    pub vulnerability: Vulnerability,
    pub assessment: Assessment,
    pub versions: Vec<String>,
    pub fixed: Option<String>,
    pub status: MatchStatus,
    pub images: Vec<Digest>,
    pub advisory: String,
    pub db_seq: u64,
    pub evidence: Vec<String>,
    /// Of a suppressed one: the statements that say so, sorted.
    pub suppressions: Vec<Suppression>,
}

/// What should be open for a holder, and why some findings should not.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Desires {
    /// Sorted by key.
    pub open: Vec<Desired>,
    /// What would be open but for statements; sorted by key.
    pub suppressed: Vec<Desired>,
    /// Known not to be affected: the holder has the package, an advisory denies it.
    pub denied: BTreeSet<(String, PackageKey)>,
    /// Held by workloads that run the repository's images.
    pub covered: BTreeSet<(String, PackageKey)>,
}

/// The findings that should be open for `view`. A pure function; the order of `view.matches` does not matter.
/// `lookup` gives the vulnerability of an id; an id without one is taken as unknown in everything.
pub fn desired<'v>(
    view: &HolderView<'_>,
    lookup: impl Fn(&str) -> Option<&'v Vulnerability>,
    settings: &Settings,
    now: Timestamp,
) -> Desires {
    let mut groups: BTreeMap<(&str, &PackageKey), Vec<&HeldMatch<'_>>> = BTreeMap::new();
    for held in view.matches {
        groups
            .entry((held.matched.vulnerability.as_str(), &held.matched.component.package))
            .or_default()
            .push(held);
    }
    let mut desires = Desires::default();
    for ((id, package), group) in groups {
        let affected: Vec<&HeldMatch<'_>> =
            group.into_iter().filter(|h| h.matched.status != MatchStatus::NotAffected).collect();
        let identity = || (id.to_owned(), package.clone());
        if affected.is_empty() {
            desires.denied.insert(identity());
            continue;
        }
        if view.covered.contains(&identity()) {
            desires.covered.insert(identity());
            continue;
        }
        let said = sift(view, id, lookup(id), &affected, now);
        let group = if said.standing.is_empty() { &affected } else { &said.standing };
        let Some(mut one) = open(view, id, package, group, lookup(id), settings, now) else { continue };
        if said.standing.is_empty() {
            one.suppressions = said.suppressions.into_iter().take(MAX_SUPPRESSIONS).collect();
            desires.suppressed.push(one);
        } else {
            one.evidence.extend(said.notes);
            one.evidence.truncate(MAX_EVIDENCE);
            desires.open.push(one);
        }
    }
    desires
}

/// Most statements that a finding carries.
pub(crate) const MAX_SUPPRESSIONS: usize = 16;

/// The affected matches of one finding, by what statements say of them.
struct Sifted<'h, 'a> {
    standing: Vec<&'h HeldMatch<'a>>,
    suppressions: BTreeSet<Suppression>,
    /// What is said of those that stand, and which are left out.
    notes: BTreeSet<String>,
}

fn sift<'h, 'a>(
    view: &HolderView<'_>,
    id: &str,
    vulnerability: Option<&Vulnerability>,
    affected: &[&'h HeldMatch<'a>],
    now: Timestamp,
) -> Sifted<'h, 'a> {
    let mut sifted = Sifted { standing: Vec::new(), suppressions: BTreeSet::new(), notes: BTreeSet::new() };
    if view.statements.is_empty() {
        sifted.standing = affected.to_vec();
        return sifted;
    }
    let about: Vec<&Statement> = view.statements.about(id, vulnerability).collect();
    for held in affected {
        let own;
        let place = match view.places.get(held.image) {
            Some(place) => place,
            None => {
                own = ImagePlace { digests: [held.image.clone()].into(), ..ImagePlace::default() };
                &own
            }
        };
        let component = &held.matched.component;
        match judge(&about, view.holder, place, component, now) {
            Verdict::Stands(notes) => {
                sifted.standing.push(held);
                sifted.notes.extend(notes);
            }
            Verdict::Suppressed(by) => {
                let left = by.first().map_or("", |s| s.issuer.as_str());
                sifted.notes.insert(format!("version {} is left out: {left}", component.version));
                sifted.suppressions.extend(by);
            }
        }
    }
    sifted
}

fn open(
    view: &HolderView<'_>,
    id: &str,
    package: &PackageKey,
    affected: &[&HeldMatch<'_>],
    vulnerability: Option<&Vulnerability>,
    settings: &Settings,
    now: Timestamp,
) -> Option<Desired> {
    let vulnerability = vulnerability.cloned().unwrap_or_else(|| nothing_known(id));
    let input = ExposureInput { exposure: view.exposure, deployment: view.deployment };
    let assessment = assess(&vulnerability, input, settings, now);
    let sorted = |texts: BTreeSet<&str>| texts.into_iter().map(str::to_owned).collect::<Vec<_>>();
    let versions = sorted(affected.iter().map(|h| h.matched.component.version.as_str()).collect());
    let images: BTreeSet<&Digest> = affected.iter().map(|h| h.image).collect();
    // It ends with a version only if that is known for every affected component.
    let fixed = affected
        .iter()
        .map(|h| h.matched.fixed.as_deref())
        .collect::<Option<Vec<_>>>()
        .and_then(|all| all.into_iter().max_by(|a, b| natural(a, b)))
        .map(str::to_owned);
    let first = affected.iter().map(|h| h.matched).min()?;
    let status = affected.iter().map(|h| h.matched.status).min_by_key(|s| gravity(*s))?;
    Some(Desired {
        key: FindingKey {
            vulnerability: id.to_owned(),
            package: package.clone(),
            holder: view.holder.clone(),
        },
        assessment,
        versions,
        fixed,
        status,
        images: images.into_iter().cloned().collect(),
        advisory: first.advisory.clone(),
        db_seq: affected.iter().map(|h| h.db_seq).min()?,
        evidence: evidence(view, affected),
        vulnerability,
        suppressions: Vec::new(),
    })
}

fn gravity(status: MatchStatus) -> u8 {
    match status {
        MatchStatus::Affected => 0,
        MatchStatus::WontFix => 1,
        MatchStatus::UnderInvestigation => 2,
        MatchStatus::NotAffected => 3,
    }
}

/// Most lines of evidence that a finding carries.
const MAX_EVIDENCE: usize = 16;

fn evidence(view: &HolderView<'_>, affected: &[&HeldMatch<'_>]) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(exposure) = view.exposure {
        lines.extend(exposure.paths.iter().take(8).cloned());
        lines.extend(exposure.caveats.iter().take(4).map(|c| format!("caveat: {c}")));
    }
    let ranges: BTreeSet<String> = affected
        .iter()
        .map(|h| &h.matched)
        .map(|m| {
            format!(
                "{} {} is in {} ({}, {})",
                m.component.package.name, m.compared, m.range, m.feed, m.advisory
            )
        })
        .collect();
    lines.extend(ranges);
    if affected.iter().all(|h| !h.matched.confident) {
        lines.push("the package was found with low confidence".to_owned());
    }
    lines.truncate(MAX_EVIDENCE);
    lines
}

pub(crate) fn nothing_known(id: &str) -> Vulnerability {
    Vulnerability {
        id: id.to_owned(),
        aliases: Vec::new(),
        summary: String::new(),
        severity: Severity::Unknown,
        severity_source: String::new(),
        cvss: String::new(),
        published: None,
        modified: None,
        intelligence: Intelligence::default(),
    }
}

/// Texts in the order people expect: runs of digits by value, the rest by bytes. It chooses which of several fixed versions is
/// shown; whether a version is affected is decided by the ecosystem's own order, elsewhere.
pub(crate) fn natural(a: &str, b: &str) -> Ordering {
    let (mut x, mut y) = (a.as_bytes(), b.as_bytes());
    while let (Some(&p), Some(&q)) = (x.first(), y.first()) {
        if p.is_ascii_digit() && q.is_ascii_digit() {
            let (run_x, rest_x) = digits(x);
            let (run_y, rest_y) = digits(y);
            let order = run_x.len().cmp(&run_y.len()).then_with(|| run_x.cmp(run_y));
            if order != Ordering::Equal {
                return order;
            }
            (x, y) = (rest_x, rest_y);
        } else if p != q {
            return p.cmp(&q);
        } else {
            (x, y) = (x.get(1..).unwrap_or_default(), y.get(1..).unwrap_or_default());
        }
    }
    x.len().cmp(&y.len()).then_with(|| a.cmp(b))
}

fn digits(text: &[u8]) -> (&[u8], &[u8]) {
    let zeros = text.iter().take_while(|&&b| b == b'0').count();
    let text = text.get(zeros..).unwrap_or_default();
    let end = text.iter().take_while(|b| b.is_ascii_digit()).count();
    text.split_at_checked(end).unwrap_or((text, &[]))
}
