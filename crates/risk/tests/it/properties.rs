//! What must hold for every input.

use plimsoll_model::exposure::ExposureLevel;
use plimsoll_model::finding::{Assessment, Class};
use plimsoll_model::vulnerability::{Exploit, Intelligence, Kev, Sourced};
use plimsoll_risk::{Deployment, ExposureInput, OrderKey, Settings, assess};
use proptest::option;
use proptest::prelude::*;

use super::rows::{NOW, exposure, vulnerability};

#[derive(Debug, Clone, Copy)]
struct Case {
    kev: bool,
    epss: Option<f64>,
    exploit: Exploit,
    automatable: Option<bool>,
    total: Option<bool>,
    /// Level, complete, enforced, fresh.
    seen: Option<(ExposureLevel, bool, bool, bool)>,
    workload: Option<(bool, u32)>,
}

fn level() -> impl Strategy<Value = ExposureLevel> {
    prop::sample::select(vec![
        ExposureLevel::Isolated,
        ExposureLevel::Small,
        ExposureLevel::Controlled,
        ExposureLevel::Open,
    ])
}

fn case() -> impl Strategy<Value = Case> {
    (
        any::<bool>(),
        option::of(prop_oneof![0.0..=1.0, Just(0.36), Just(0.0), Just(1.0)]),
        prop::sample::select(vec![Exploit::None, Exploit::Poc, Exploit::Weaponised]),
        any::<Option<bool>>(),
        any::<Option<bool>>(),
        option::of((level(), any::<bool>(), any::<bool>(), any::<bool>())),
        option::of((any::<bool>(), 0u32..50)),
    )
        .prop_map(|(kev, epss, exploit, automatable, total, seen, workload)| Case {
            kev,
            epss,
            exploit,
            automatable,
            total,
            seen,
            workload,
        })
}

fn run(case: Case) -> Assessment {
    let sourced = |value: Option<bool>| value.map(|value| Sourced { value, source: "vulnrichment".into() });
    let intelligence = Intelligence {
        kev: case.kev.then_some(Kev { date_added: NOW, ransomware: false }),
        epss: case.epss,
        exploit: case.exploit,
        automatable: sourced(case.automatable),
        total_impact: sourced(case.total),
    };
    let exposure = case.seen.map(|(level, complete, enforced, fresh)| {
        exposure(level, complete, enforced, if fresh { 0 } else { i64::from(u32::MAX) })
    });
    let deployment = match case.workload {
        Some((privileged, replicas)) => Deployment::Workload { privileged, replicas },
        None => Deployment::Repository,
    };
    let settings = Settings::standard().unwrap();
    let input = ExposureInput { exposure: exposure.as_ref(), deployment };
    assess(&vulnerability(intelligence, ""), input, &settings, NOW)
}

fn not_lower(worse: &Assessment, than: &Assessment) -> Result<(), TestCaseError> {
    prop_assert!(worse.class <= than.class, "{} / {}", worse.sentence, than.sentence);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn adding_kev_never_lowers(case in case()) {
        let (with, without) = (run(Case { kev: true, ..case }), run(Case { kev: false, ..case }));
        not_lower(&with, &without)?;
        prop_assert!(with.rank >= without.rank);
    }

    #[test]
    fn more_exposure_never_lowers(case in case(), a in level(), b in level(), proved in any::<[bool; 3]>()) {
        let [complete, enforced, fresh] = proved;
        let at = |level| run(Case { seen: Some((level, complete, enforced, fresh)), ..case });
        let (more, less) = (at(a.max(b)), at(a.min(b)));
        not_lower(&more, &less)?;
        prop_assert!(more.rank >= less.rank);
    }

    #[test]
    fn privilege_never_lowers(case in case(), replicas in 0u32..9) {
        let (with, without) = (
            run(Case { workload: Some((true, replicas)), ..case }),
            run(Case { workload: Some((false, replicas)), ..case }),
        );
        not_lower(&with, &without)?;
        prop_assert!(with.rank >= without.rank);
    }

    #[test]
    fn losing_the_view_never_lowers(case in case(), level in level(), proved in any::<[bool; 3]>()) {
        let [complete, enforced, fresh] = proved;
        let known = run(Case { seen: Some((level, true, true, true)), ..case });
        for poorer in [
            run(Case { seen: Some((level, complete, enforced, fresh)), ..case }),
            run(Case { seen: None, ..case }),
        ] {
            // A path from outside that is not in view any more leaves "exposed: assumed".
            not_lower(&poorer, &known)?;
            if level < ExposureLevel::Controlled {
                prop_assert!(poorer.rank >= known.rank, "unknown ranks below proven safe");
            }
        }
    }

    /// What nobody stated costs at most the cap: never below the class with the answer, or 14 days.
    #[test]
    fn losing_labels_never_lowers_below_the_cap(case in case(), automatable in any::<bool>(), total in any::<bool>()) {
        let case = Case { automatable: Some(automatable), total: Some(total), ..case };
        let known = run(case);
        for poorer in [
            Case { automatable: None, ..case },
            Case { total: None, ..case },
            Case { automatable: None, total: None, ..case },
        ] {
            let unknown = run(poorer);
            prop_assert!(unknown.class <= known.class.max(Class::FourteenDays), "{}", unknown.sentence);
            prop_assert!(!unknown.factors.assumed.is_empty());
        }
    }

    #[test]
    fn rank_is_finite_and_in_range(case in case()) {
        let got = run(case);
        prop_assert!((0.0..=100.0).contains(&got.rank));
        prop_assert!(got.factors.threat >= 0.0 && got.factors.threat <= 1.0);
        prop_assert!(case.epss.is_some() || got.rank > 0.0, "a missing EPSS is not zero");
    }

    #[test]
    fn permutations_give_one_order(cases in prop::collection::vec(case(), 1..12), seed in any::<u64>()) {
        let rows: Vec<(String, Assessment)> =
            cases.into_iter().enumerate().map(|(n, case)| (format!("{n:03}"), run(case))).collect();
        let keys = |rows: &[(String, Assessment)]| {
            let mut keys: Vec<OrderKey<'_>> = rows
                .iter()
                .map(|(id, a)| OrderKey {
                    class: a.class,
                    assumed: !a.factors.assumed.is_empty(),
                    rank: a.rank,
                    opened_at: NOW,
                    id,
                })
                .collect();
            keys.sort();
            keys.into_iter().map(|k| k.id.to_owned()).collect::<Vec<_>>()
        };
        let mut shuffled = rows.clone();
        let mut state = seed | 1;
        for n in (1..shuffled.len()).rev() {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            shuffled.swap(n, usize::try_from(state >> 33).unwrap() % (n + 1));
        }
        prop_assert_eq!(keys(&rows), keys(&shuffled));
    }
}
