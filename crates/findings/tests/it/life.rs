use std::collections::{BTreeMap, BTreeSet};

use plimsoll_findings::{
    Gone, HeldMatch, HolderView, MAX_CHANGES, Origin, Outcome, Statements, Transition, desired, encode_token,
    finding_id, roll_up, subject_of, transition,
};
use plimsoll_model::exposure::ExposureLevel;
use plimsoll_model::finding::{Change, ChangeKind, Class, Finding, FindingState};
use plimsoll_model::vulnerability::MatchStatus;
use plimsoll_model::{FindingKey, Timestamp};
use plimsoll_risk::{Deployment, Settings};
use proptest::prelude::*;

use super::support::{NOW, digest, matched, package, repository, vulnerability, wanted, workload};

fn step(current: Option<Finding>, outcome: Outcome, now: Timestamp) -> (Finding, Option<Change>) {
    match transition(current.clone(), outcome, now) {
        Transition::Unchanged => (current.expect("something is there"), None),
        Transition::Silent(finding) => (*finding, None),
        Transition::Published(change) => (change.finding.clone(), Some(*change)),
    }
}

fn open(versions: &[&str], fixed: Option<&str>, level: ExposureLevel, image: u8) -> Outcome {
    let matches: Vec<_> = versions.iter().map(|v| (image, matched("CVE-1", "left-pad", v, fixed))).collect();
    let one = wanted(&workload("web"), &matches, &[vulnerability("CVE-1", 0.1)], Some(level)).remove(0);
    Outcome::Open(Box::new(one), None)
}

#[test]
fn a_life() {
    let day = |n: i64| Timestamp(NOW.0 + n * Timestamp::DAY);
    let small = ExposureLevel::Small;
    let (f, change) = step(None, open(&["1"], None, small, 1), NOW);
    let change = change.unwrap();
    assert_eq!((change.kind, change.previous_class, f.revision), (ChangeKind::Opened, None, 1));
    assert_eq!((f.assessment.class, f.due), (Class::SixtyDays, Some(day(60))));
    assert_eq!(f.id, finding_id(&f.key));

    // The same content in another image is silent, and stored.
    let (f, change) = step(Some(f), open(&["1"], None, small, 2), day(1));
    assert!(change.is_none());
    assert_eq!((f.images.as_slice(), f.revision), ([digest(2)].as_slice(), 1));

    // Still affected after a bump: a new revision.
    let (f, change) = step(Some(f), open(&["2"], Some("3"), small, 2), day(1));
    assert_eq!((change.unwrap().kind, f.revision), (ChangeKind::Updated, 2));

    // A path opens: the due date moves earlier; when it closes again, it does not move back.
    let (f, change) = step(Some(f), open(&["2"], Some("3"), ExposureLevel::Open, 2), day(2));
    let change = change.unwrap();
    assert_eq!((change.kind, change.previous_class), (ChangeKind::Reclassified, Some(Class::SixtyDays)));
    assert_eq!((f.assessment.class, f.due, f.opened_at), (Class::ThreeDays, Some(day(5)), NOW));
    let (f, change) = step(Some(f), open(&["2"], Some("3"), small, 2), day(3));
    let change = change.unwrap();
    assert_eq!((f.assessment.class, f.due), (Class::SixtyDays, Some(day(5))));
    assert_eq!(change.published_class(), Class::ThreeDays, "who was told of the alarm is told of its end");

    let (f, change) = step(Some(f), Outcome::Gone(Gone::Fixed), day(4));
    assert_eq!((change.unwrap().kind, f.state), (ChangeKind::Fixed, FindingState::Fixed));
    assert_eq!(transition(Some(f.clone()), Outcome::Gone(Gone::Fixed), day(4)), Transition::Unchanged);
    let (f, change) = step(Some(f), open(&["2"], Some("3"), small, 2), day(9));
    assert_eq!((change.unwrap().kind, f.due), (ChangeKind::Reopened, Some(day(5))));
    let (f, change) = step(Some(f), Outcome::Gone(Gone::Denied), day(9));
    assert_eq!(
        (change.unwrap().kind, f.state, f.revision),
        (ChangeKind::Suppressed, FindingState::Suppressed, 7)
    );
}

#[test]
fn a_rescoped_finding_keeps_its_clock() {
    let origin = Origin {
        opened_at: Timestamp(NOW.0 - 5),
        due: Some(Timestamp(NOW.0 + 7)),
        class: Class::FourteenDays,
        rescoped: true,
    };
    let Outcome::Open(one, _) = open(&["1"], None, ExposureLevel::Small, 1) else { panic!() };
    let (f, change) = step(None, Outcome::Open(one, Some(origin.clone())), NOW);
    let change = change.unwrap();
    assert_eq!((change.kind, change.previous_class), (ChangeKind::Rescoped, Some(Class::FourteenDays)));
    assert_eq!((f.opened_at, f.due), (origin.opened_at, origin.due));
}

#[test]
fn what_should_be_open() {
    let holder = repository("shop/web");
    let (a, b) = (digest(1), digest(2));
    let affected = matched("CVE-1", "left-pad", "1", Some("1.10"));
    let other = matched("CVE-1", "left-pad", "2", Some("1.9"));
    let mut denied = matched("CVE-2", "left-pad", "1", None);
    denied.status = MatchStatus::NotAffected;
    let covered_match = matched("CVE-3", "left-pad", "1", None);
    let held = [
        HeldMatch { image: &b, matched: &other, db_seq: 4 },
        HeldMatch { image: &a, matched: &affected, db_seq: 5 },
        HeldMatch { image: &a, matched: &denied, db_seq: 5 },
        HeldMatch { image: &a, matched: &covered_match, db_seq: 5 },
    ];
    let covered = BTreeSet::from([("CVE-3".to_owned(), package("left-pad"))]);
    let view = HolderView {
        holder: &holder,
        exposure: None,
        deployment: Deployment::Repository,
        matches: &held,
        covered: &covered,
        statements: &Statements::default(),
        places: &BTreeMap::new(),
    };
    let got = desired(&view, |_| None, &Settings::standard().unwrap(), NOW);
    assert_eq!(got.open.len(), 1);
    let one = &got.open[0];
    assert_eq!(
        (one.versions.as_slice(), one.fixed.as_deref()),
        (["1".to_owned(), "2".into()].as_slice(), Some("1.10"))
    );
    assert_eq!((one.images.as_slice(), one.db_seq), ([a.clone(), b.clone()].as_slice(), 4));
    assert_eq!(got.denied, BTreeSet::from([("CVE-2".to_owned(), package("left-pad"))]));
    assert_eq!(got.covered, covered);

    // One component without a fix: no version ends it.
    let unfixed = matched("CVE-1", "left-pad", "3", None);
    let held = [held[0], HeldMatch { image: &a, matched: &unfixed, db_seq: 5 }];
    let view = HolderView { matches: &held, ..view };
    assert_eq!(desired(&view, |_| None, &Settings::standard().unwrap(), NOW).open[0].fixed, None);
}

/// Stored and published ids must stay what they are.
#[test]
fn ids_are_stable_and_distinct() {
    let key = |vulnerability: &str, name: &str, holder| FindingKey {
        vulnerability: vulnerability.into(),
        package: package(name),
        holder,
    };
    let ids = [
        finding_id(&key("CVE-1", "left-pad", workload("web"))),
        finding_id(&key("CVE-1", "left-pad", repository("web"))),
        finding_id(&key("CVE-1l", "eft-pad", workload("web"))),
        finding_id(&key("CVE-1", "left-pad", workload("we"))),
    ];
    assert_eq!(BTreeSet::from_iter(&ids).len(), ids.len());
    assert_eq!(ids[0], "839918d6f9d762e878db04927b34f0a9");
}

#[test]
fn subjects() {
    assert_eq!(
        subject_of(Class::ThreeDays, &workload("web.v2")),
        "findings.v1.3d.workload.east.shop.Deployment.web%2Ev2"
    );
    assert_eq!(
        subject_of(Class::ThreeDaysForensic, &repository("shop/web")),
        "findings.v1.3d-forensic.image.registry%2Elocal%3A5000.shop%2Fweb"
    );
    assert_eq!(encode_token(""), "_");
}

proptest! {
    #[test]
    fn tokens_are_tokens(text in ".{0,600}", other in ".{0,40}") {
        let token = encode_token(&text);
        prop_assert!(!token.is_empty() && token.len() <= 400);
        prop_assert!(token.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'%')));
        prop_assert_eq!(token == encode_token(&other), text == other || (text.is_empty() && other == "_") || (text == "_" && other.is_empty()));
    }

    /// Any walk: a second application is silent, revisions count what was published, due dates only move earlier.
    #[test]
    fn walks(steps in prop::collection::vec((0u8..5, 0u8..4, 1u8..3, 0i64..9), 1..24)) {
        let mut current: Option<Finding> = None;
        let mut published = 0;
        let mut now = NOW;
        for (what, level, version, days) in steps {
            now = Timestamp(now.0 + days * Timestamp::DAY);
            let level = [ExposureLevel::Isolated, ExposureLevel::Small, ExposureLevel::Controlled, ExposureLevel::Open][usize::from(level)];
            let outcome = match what {
                0 => Outcome::Gone(Gone::Fixed),
                1 => Outcome::Gone(Gone::Denied),
                _ => open(&[&version.to_string()], None, level, version),
            };
            let before = current.clone();
            let next = match transition(before.clone(), outcome.clone(), now) {
                Transition::Unchanged => before.clone(),
                Transition::Silent(finding) => Some(*finding),
                Transition::Published(change) => { published += 1; Some(change.finding) }
            };
            if let Some(next) = &next {
                prop_assert_eq!(next.revision, published);
                prop_assert_eq!(next.state == FindingState::Open, matches!(outcome, Outcome::Open(..)));
                if let Some(before) = &before {
                    prop_assert_eq!(&next.opened_at, &before.opened_at);
                    if let Some(due) = before.due {
                        prop_assert!(next.due.is_some_and(|d| d <= due));
                    }
                }
                prop_assert_eq!(transition(Some(next.clone()), outcome, now), Transition::Unchanged);
            }
            current = next;
        }
    }

    #[test]
    fn roll_ups_lose_nothing(names in prop::collection::vec((0u8..3, 0u16..400, any::<bool>()), 0..500), turn in 0usize..500) {
        let changes: Vec<Change> = names.iter().map(|(holder, package, urgent)| {
            let holder = workload(&format!("w{holder}"));
            let m = matched("CVE-1", &format!("p{package}"), "1", None);
            let level = if *urgent { ExposureLevel::Open } else { ExposureLevel::Small };
            let one = wanted(&holder, &[(1, m)], &[vulnerability("CVE-1", 0.1)], Some(level)).remove(0);
            step(None, Outcome::Open(Box::new(one), None), NOW).1.unwrap()
        }).collect();
        let parts = roll_up(changes.clone());
        prop_assert!(parts.iter().all(|p| !p.changes.is_empty() && p.changes.len() <= MAX_CHANGES));
        prop_assert!(parts.iter().all(|p| p.changes.iter().all(|c| c.published_class() == p.class && c.finding.key.holder == p.holder)));
        prop_assert_eq!(parts.iter().map(|p| p.changes.len()).sum::<usize>(), changes.len());
        let mut turned = changes;
        if !turned.is_empty() {
            let turn = turn % turned.len();
            turned.rotate_left(turn);
        }
        prop_assert_eq!(roll_up(turned), parts);
    }
}
