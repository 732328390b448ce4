//! What statements do to findings.

use std::collections::{BTreeMap, BTreeSet};

use plimsoll_findings::{
    Desires, HeldMatch, HolderView, Outcome, Statements, Transition, desired, transition,
};
use plimsoll_model::finding::{ChangeKind, Finding, FindingState};
use plimsoll_model::vex::{
    ImagePattern, ImagePlace, PackagePattern, Product, Scope, Statement, StatementKind, VexStatus,
};
use plimsoll_model::vulnerability::Match;
use plimsoll_model::{Digest, Holder, Timestamp};
use plimsoll_risk::{Deployment, Settings};

use super::support::{NOW, digest, matched, vulnerability, workload};

fn package(version: Option<&str>) -> Product {
    let package = PackagePattern {
        name: "left-pad".into(),
        version: version.map(str::to_owned),
        ..PackagePattern::default()
    };
    Product { package: Some(package), ..Product::default() }
}

fn vex(issuer: &str, at: i64, status: VexStatus, product: Product) -> Statement {
    Statement {
        id: format!("{issuer}-{at}-{}", status.as_str()),
        kind: StatementKind::Vex,
        vulnerabilities: vec!["GHSA-1".into()],
        products: vec![product],
        scope: Scope::default(),
        status,
        justification: String::new(),
        reason: String::new(),
        issuer: issuer.into(),
        document: "d".into(),
        signed_by: String::new(),
        at: Timestamp(at),
        expires: None,
    }
}

fn judged(
    statements: Vec<Statement>,
    held: &[(u8, Match)],
    places: &BTreeMap<Digest, ImagePlace>,
) -> Desires {
    let holder = workload("web");
    judged_for(&holder, statements, held, places, NOW)
}

fn judged_for(
    holder: &Holder,
    statements: Vec<Statement>,
    held: &[(u8, Match)],
    places: &BTreeMap<Digest, ImagePlace>,
    now: Timestamp,
) -> Desires {
    let digests: Vec<Digest> = held.iter().map(|(n, _)| digest(*n)).collect();
    let matches: Vec<HeldMatch<'_>> = held
        .iter()
        .zip(&digests)
        .map(|((_, matched), image)| HeldMatch { image, matched, db_seq: 1 })
        .collect();
    let view = HolderView {
        holder,
        exposure: None,
        deployment: Deployment::Workload { privileged: false, replicas: 1 },
        matches: &matches,
        covered: &BTreeSet::new(),
        statements: &Statements::new(statements),
        places,
    };
    let mut known = vulnerability("CVE-1", 0.1);
    known.aliases = vec!["GHSA-1".into()];
    desired(&view, |_| Some(&known), &Settings::standard().unwrap(), now)
}

fn one(statements: Vec<Statement>) -> bool {
    let held = [(1, matched("CVE-1", "left-pad", "1.0", None))];
    let desires = judged(statements, &held, &BTreeMap::new());
    assert_eq!(desires.open.len() + desires.suppressed.len(), 1);
    desires.open.is_empty()
}

#[test]
fn exactly_the_version_named() {
    use VexStatus::{Affected, Fixed, NotAffected, UnderInvestigation};
    for (status, version, suppressed) in [
        (NotAffected, Some("1.0"), true),
        (Fixed, Some("1.0"), true),
        (NotAffected, None, true),
        (NotAffected, Some("1.0.0"), false),
        (Affected, Some("1.0"), false),
        (UnderInvestigation, None, false),
    ] {
        assert_eq!(one(vec![vex("a", 1, status, package(version))]), suppressed, "{status:?} {version:?}");
    }
    let other =
        Statement { vulnerabilities: vec!["CVE-2".into()], ..vex("a", 1, NotAffected, package(None)) };
    assert!(!one(vec![other]), "another vulnerability");
}

#[test]
fn the_latest_of_an_issuer_and_the_most_cautious_of_several() {
    use VexStatus::{Affected, Fixed, NotAffected, UnderInvestigation};
    let say = |issuer: &str, at, status| vex(issuer, at, status, package(None));
    for (statements, suppressed) in [
        (vec![say("a", 1, Affected), say("a", 2, NotAffected)], true),
        (vec![say("a", 2, NotAffected), say("a", 3, UnderInvestigation)], false),
        (vec![say("a", 2, Affected), say("a", 2, Fixed)], false),
        (vec![say("a", 9, NotAffected), say("b", 1, Affected)], false),
        (vec![say("a", 1, NotAffected), say("b", 1, Fixed)], true),
    ] {
        let mut turned = statements.clone();
        turned.reverse();
        assert_eq!(one(statements.clone()), suppressed, "{statements:?}");
        assert_eq!(one(turned), suppressed, "whatever the order");
    }
    let rule = Statement { kind: StatementKind::Ignore, ..say("operator", 0, NotAffected) };
    assert!(one(vec![say("a", 1, Affected), rule.clone()]), "the operator decides");
    let expired = Statement { expires: Some(NOW), ..rule.clone() };
    assert!(!one(vec![expired]));
    let elsewhere = Statement { scope: Scope { namespace: "bank".into(), ..Scope::default() }, ..rule };
    assert!(!one(vec![elsewhere]));
}

#[test]
fn what_others_say_is_shown() {
    let held = [(1, matched("CVE-1", "left-pad", "1.0", None))];
    let statements = vec![vex("vendor", 1, VexStatus::UnderInvestigation, package(None))];
    let desires = judged(statements, &held, &BTreeMap::new());
    let evidence = &desires.open[0].evidence;
    assert!(evidence.iter().any(|line| line.contains("vendor says under_investigation")), "{evidence:?}");
}

/// Two images, one of which the statement names: the finding stays, with the other image alone.
#[test]
fn only_what_is_named_is_left_out() {
    let held =
        [(1, matched("CVE-1", "left-pad", "1.0", None)), (2, matched("CVE-1", "left-pad", "2.0", None))];
    let image = |n| Product {
        image: Some(ImagePattern { digest: Some(digest(n)), repository: String::new() }),
        ..package(None)
    };
    let say = |n| vex("a", 1, VexStatus::NotAffected, image(n));
    let desires = judged(vec![say(1)], &held, &BTreeMap::new());
    assert_eq!((desires.open.len(), desires.suppressed.len()), (1, 0));
    assert_eq!(desires.open[0].versions, ["2.0"]);
    assert_eq!(desires.open[0].images, [digest(2)]);
    let desires = judged(vec![say(1), say(2)], &held, &BTreeMap::new());
    assert_eq!((desires.open.len(), desires.suppressed.len()), (0, 1));
    assert_eq!(desires.suppressed[0].suppressions.len(), 1, "one issuer says it");
    // The digest of an index that has the image names it too.
    let place = ImagePlace { digests: [digest(2), digest(9)].into(), ..ImagePlace::default() };
    let places = BTreeMap::from([(digest(2), place)]);
    let desires = judged(vec![say(1), say(9)], &held, &places);
    assert_eq!(desires.suppressed.len(), 1);
}

#[test]
fn a_part_is_named_by_what_it_is_inside_of() {
    let held = [(1, matched("CVE-1", "left-pad", "1.0", None))];
    let product = Product {
        inside: Some(PackagePattern { name: "app".into(), ..PackagePattern::default() }),
        ..package(Some("1.0"))
    };
    let statements = vec![vex("a", 1, VexStatus::NotAffected, product)];
    let component = held[0].1.component.clone();
    let app = matched("CVE-1", "app", "3", None).component;
    for (outer, suppressed) in [(Some(app), true), (Some(component.clone()), false), (None, false)] {
        let inside = outer.map(|outer| (component.clone(), vec![outer])).into_iter().collect();
        let places = BTreeMap::from([(digest(1), ImagePlace { inside, ..ImagePlace::default() })]);
        assert_eq!(judged(statements.clone(), &held, &places).open.is_empty(), suppressed);
    }
}

fn step(current: Option<Finding>, desires: &Desires) -> (Finding, Option<ChangeKind>) {
    let outcome = match (desires.open.first(), desires.suppressed.first()) {
        (Some(open), None) => Outcome::Open(Box::new(open.clone()), None),
        (None, Some(one)) => Outcome::Suppressed(Box::new(one.clone())),
        other => panic!("{other:?}"),
    };
    match transition(current.clone(), outcome, NOW) {
        Transition::Unchanged => (current.unwrap(), None),
        Transition::Silent(finding) => (*finding, None),
        Transition::Published(change) => (change.finding.clone(), Some(change.kind)),
    }
}

#[test]
fn suppressed_and_reopened() {
    let held = [(1, matched("CVE-1", "left-pad", "1.0", None))];
    let safe = vec![vex("a", 1, VexStatus::NotAffected, package(None))];
    let open = judged(Vec::new(), &held, &BTreeMap::new());
    let suppressed = judged(safe, &held, &BTreeMap::new());

    let (finding, change) = step(None, &open);
    assert_eq!(change, Some(ChangeKind::Opened));
    let (finding, change) = step(Some(finding), &suppressed);
    assert_eq!((change, finding.state), (Some(ChangeKind::Suppressed), FindingState::Suppressed));
    assert_eq!((finding.revision, finding.suppressions.len()), (2, 1));
    let (finding, change) = step(Some(finding), &suppressed);
    assert_eq!(change, None);
    let (finding, change) = step(Some(finding), &open);
    assert_eq!((change, finding.revision), (Some(ChangeKind::Reopened), 3));
    assert_eq!(finding.suppressions, []);

    // What was never told is kept without telling, and opens as new.
    let (finding, change) = step(None, &suppressed);
    assert_eq!((change, finding.revision, finding.state), (None, 0, FindingState::Suppressed));
    let (finding, change) = step(Some(finding), &open);
    assert_eq!((change, finding.revision), (Some(ChangeKind::Opened), 1));
}
