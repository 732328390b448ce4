use plimsoll_findings::{
    Outcome, PlanFinding, RebuildCandidate, RolloutCandidate, Transition, plan, transition,
};
use plimsoll_model::exposure::ExposureLevel;
use plimsoll_model::{Action, ActionKind, Finding};
use proptest::prelude::*;

use super::support::{NOW, matched, vulnerability, wanted, workload};

fn finding(name: &str, package: &str, epss: f64, fixed: Option<&str>, level: ExposureLevel) -> Finding {
    let id = format!("CVE-{epss}-{package}");
    let matches = [(1, matched(&id, package, "1", fixed))];
    let one = wanted(&workload(name), &matches, &[vulnerability(&id, epss)], Some(level)).remove(0);
    match transition(None, Outcome::Open(Box::new(one), None), NOW) {
        Transition::Published(change) => change.finding,
        other => panic!("{other:?}"),
    }
}

fn run(findings: &[Finding], rollouts: &[RolloutCandidate]) -> Vec<Action> {
    let input: Vec<PlanFinding<'_>> =
        findings.iter().map(|finding| PlanFinding { finding, repository: "r/shop" }).collect();
    plan(&input, rollouts, &[], 100)
}

#[test]
fn the_most_risk_first() {
    let open = ExposureLevel::Open;
    let findings = [
        finding("web", "a", 0.9, Some("2.9"), open),
        finding("api", "a", 0.3, Some("2.10"), ExposureLevel::Small),
        finding("web", "b", 0.2, None, open),
        finding("web", "c", 0.01, Some("4"), open),
    ];
    let got = run(&findings, &[]);
    let total: f64 = findings.iter().map(|f| f.assessment.rank).sum();
    let first = ActionKind::UpgradePackage {
        package: "npm/a".into(),
        version: "2.10".into(),
        scope: "r/shop".into(),
    };
    assert_eq!(got[0].kind, first);
    assert_eq!(got[0].holders, ["east/shop/Deployment/api", "east/shop/Deployment/web"]);
    let removed = findings[0].assessment.rank + findings[1].assessment.rank;
    assert!((got[0].removes - removed).abs() < 1e-9 && (got[0].share - removed / total).abs() < 1e-9);
    // What has no fix is lowered by closing the path, counted after the upgrade.
    assert!(
        matches!(&got[1].kind, ActionKind::ApplyPolicy { workload } if workload == "east/shop/Deployment/web")
    );
    let lowered = 0.8 * (findings[2].assessment.rank + findings[3].assessment.rank);
    assert!((got[1].removes - lowered).abs() < 1e-9);
    assert_eq!(got.len(), 3);
}

#[test]
fn packages_of_one_source_are_one_step() {
    use plimsoll_model::{Ecosystem, Release};
    let debian = |package: &str, fixed: &str| {
        let mut one = finding("web", package, 0.5, Some(fixed), ExposureLevel::Small);
        one.key.vulnerability = "CVE-2023-4911".into();
        one.key.package.ecosystem = Ecosystem::Deb;
        one.key.package.release = Some(Release { id: "debian".into(), version: "12".into() });
        one
    };
    let findings = [
        debian("libc6", "2.36-9+deb12u3"),
        debian("libc-bin", "2.36-9+deb12u3"),
        debian("other", "2.36-9+deb12u4"),
    ];
    let got = run(&findings, &[]);
    assert_eq!(got.len(), 2, "another version is another source: {got:?}");
    assert!(got.iter().any(|a| matches!(
        &a.kind,
        ActionKind::UpgradePackage { package, .. } if package == "deb:debian:12/libc-bin, libc6"
    ) && a.findings.len() == 2));
    // In a language, equal versions of two packages mean nothing.
    let npm = [
        finding("web", "a", 0.5, Some("2"), ExposureLevel::Small),
        finding("web", "b", 0.5, Some("2"), ExposureLevel::Small),
    ];
    assert_eq!(run(&npm, &[]).len(), 2);
}

#[test]
fn a_rollout_ends_what_the_newer_image_lacks() {
    let findings = [finding("web", "a", 0.9, None, ExposureLevel::Small)];
    let rollout =
        RolloutCandidate { workload: "east/shop/Deployment/web".into(), ends: vec![findings[0].id.clone()] };
    let got = run(&findings, &[rollout]);
    assert_eq!(got.len(), 1);
    assert!(matches!(got[0].kind, ActionKind::Rollout { .. }));
    assert!((got[0].share - 1.0).abs() < 1e-9);
}

proptest! {
    /// Lazy = eager: no later action could have removed more, shares sum to at most one, and the order of the input is nothing.
    #[test]
    fn greedy(rows in prop::collection::vec((0u8..4, 0u8..5, 1u32..99, any::<bool>(), 0u8..4), 1..40), turn in 0usize..40) {
        let findings: Vec<Finding> = rows.iter().enumerate().map(|(n, (w, p, epss, fixed, level))| {
            let level = [ExposureLevel::Isolated, ExposureLevel::Small, ExposureLevel::Controlled, ExposureLevel::Open][usize::from(*level)];
            finding(&format!("w{w}"), &format!("p{p}"), f64::from(*epss) / 100.0 + f64::from(u32::try_from(n).unwrap()) * 1e-5, fixed.then_some("2"), level)
        }).collect();
        let got = run(&findings, &[]);
        for pair in got.windows(2) {
            prop_assert!(pair[0].removes >= pair[1].removes - 1e-9);
        }
        prop_assert!(got.iter().map(|a| a.share).sum::<f64>() <= 1.0 + 1e-9);
        let mut turned = findings.clone();
        let turn = turn % turned.len();
        turned.rotate_left(turn);
        prop_assert_eq!(run(&turned, &[]), got);
    }
}

/// One rebuild that ends more than an upgrade comes first; what it ends is not counted again.
#[test]
fn a_rebuild_takes_what_came_with_the_base() {
    let open = ExposureLevel::Open;
    let findings = [
        finding("web", "a", 0.9, Some("2"), open),
        finding("web", "b", 0.3, None, open),
        finding("web", "c", 0.2, Some("3"), open),
    ];
    let rebuild = RebuildCandidate {
        base: "r/debian:12".into(),
        scope: "r/shop".into(),
        ends: vec![findings[1].id.clone(), findings[0].id.clone(), "gone".into()],
    };
    let input: Vec<PlanFinding<'_>> =
        findings.iter().map(|finding| PlanFinding { finding, repository: "r/shop" }).collect();
    let got = plan(&input, &[], &[rebuild], 100);
    let total: f64 = findings.iter().map(|f| f.assessment.rank).sum();
    assert_eq!(got[0].kind, ActionKind::RebuildOnBase { base: "r/debian:12".into(), scope: "r/shop".into() });
    assert_eq!(got[0].sentence, "Rebuild r/shop on r/debian:12: ends 2 findings.");
    let removed = findings[0].assessment.rank + findings[1].assessment.rank;
    assert!((got[0].share - removed / total).abs() < 1e-9);
    let ActionKind::UpgradePackage { package, .. } = &got[1].kind else { panic!("{got:?}") };
    assert_eq!(package, "npm/c");
    assert!(got.iter().all(
        |action| !matches!(&action.kind, ActionKind::UpgradePackage { package, .. } if package == "npm/a")
    ));
}
