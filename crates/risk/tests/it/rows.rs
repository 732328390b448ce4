use plimsoll_model::Class;
use plimsoll_model::exposure::{Exposure, ExposureLevel, Unproved};
use plimsoll_model::vulnerability::{Exploit, Intelligence, Kev, Severity, Sourced};
use plimsoll_model::{Timestamp, Vulnerability};
use plimsoll_risk::table::{ClassTable, Row, TableError};
use plimsoll_risk::{Deployment, ExposureInput, Settings, assess};

pub(crate) const NOW: Timestamp = Timestamp(1_800_000_000_000);

pub(crate) fn vulnerability(intelligence: Intelligence, cvss: &str) -> Vulnerability {
    Vulnerability {
        id: "CVE-2026-0001".into(),
        aliases: vec![],
        summary: String::new(),
        severity: Severity::High,
        severity_source: String::new(),
        cvss: cvss.into(),
        published: None,
        modified: None,
        intelligence,
    }
}

pub(crate) fn exposure(level: ExposureLevel, complete: bool, enforced: bool, age_ms: i64) -> Exposure {
    Exposure {
        level,
        paths: vec![],
        caveats: vec![],
        reaches: 0,
        as_of: Timestamp(NOW.0 - age_ms),
        complete,
        enforced,
    }
}

fn stated(value: bool) -> Option<Sourced<bool>> {
    Some(Sourced { value, source: "vulnrichment".into() })
}

/// The table of the directive, written out by hand.
#[test]
fn the_directive() {
    let table = ClassTable::bod_26_04().unwrap();
    for row in Row::all() {
        let expected = match (row.exploited, row.exposed, row.automatable, row.total_impact) {
            (true, true, _, true) | (true, false, true, true) => Class::ThreeDaysForensic,
            (true, true, true, false) | (false, true, true, true) => Class::ThreeDays,
            (true, true, false, false) | (true, false, ..) => Class::FourteenDays,
            (false, true, true, false) | (false, true, false, true) => Class::FourteenDays,
            (false, true, false, false) | (false, false, true, _) => Class::SixtyDays,
            (false, false, false, _) => Class::NextUpgrade,
        };
        assert_eq!(table.class(row), expected, "{row:?}");
    }
}

#[test]
fn tables_that_are_refused() {
    let good = include_str!("../../data/bod-26-04.csv");
    assert!(ClassTable::from_csv(good).is_ok());
    let lines: Vec<&str> = good.lines().collect();
    let without_last = lines[..16].join("\n");
    assert!(matches!(ClassTable::from_csv(&without_last), Err(TableError::MissingRow(_))));
    let twice = format!("{good}{}\n", lines[1]);
    assert!(matches!(ClassTable::from_csv(&twice), Err(TableError::DuplicateRow(_))));
    let word = good.replace("60 days", "soon");
    assert!(matches!(ClassTable::from_csv(&word), Err(TableError::Value { .. })));
    let column = good.replace("Automatable", "Wormable");
    assert!(matches!(ClassTable::from_csv(&column), Err(TableError::MissingColumn("Automatable"))));
    let lower =
        good.replace("yes,yes,yes,total,3 days & forensic investigation", "yes,yes,yes,total,60 days");
    assert!(matches!(ClassTable::from_csv(&lower), Err(TableError::NotMonotone { .. })));
}

/// Only a complete, fresh and enforced view lowers a class; the sentence names what is missing.
#[test]
fn exposure_lowers_only_when_proved() {
    let settings = Settings::standard().unwrap();
    let v = vulnerability(
        Intelligence { automatable: stated(true), total_impact: stated(true), ..Default::default() },
        "",
    );
    let workload = Deployment::Workload { privileged: false, replicas: 1 };
    let day = Timestamp::DAY;
    for (seen, class, unproved, words) in [
        (None, Class::ThreeDays, Some(Unproved::Incomplete), "incomplete"),
        (Some((ExposureLevel::Small, true, true, 0)), Class::SixtyDays, None, "proved"),
        (
            Some((ExposureLevel::Small, false, true, 0)),
            Class::ThreeDays,
            Some(Unproved::Incomplete),
            "incomplete",
        ),
        (
            Some((ExposureLevel::Small, true, false, 0)),
            Class::ThreeDays,
            Some(Unproved::NotEnforced),
            "enforces",
        ),
        (
            Some((ExposureLevel::Small, true, true, day + 1)),
            Class::ThreeDays,
            Some(Unproved::Stale),
            "too old",
        ),
        (Some((ExposureLevel::Open, true, true, 0)), Class::ThreeDays, None, "reachable from outside"),
    ] {
        let exposure = seen.map(|(level, complete, enforced, age)| exposure(level, complete, enforced, age));
        let input = ExposureInput { exposure: exposure.as_ref(), deployment: workload };
        let got = assess(&v, input, &settings, NOW);
        assert_eq!((got.class, got.factors.unproved), (class, unproved), "{}", got.sentence);
        assert!(got.sentence.contains(words), "{}", got.sentence);
    }
    let input = ExposureInput { exposure: None, deployment: Deployment::Repository };
    let got = assess(&v, input, &settings, NOW);
    assert_eq!((got.class, got.factors.unproved), (Class::ThreeDays, Some(Unproved::NotDeployed)));
}

#[test]
fn unknown_is_capped_at_fourteen_days_and_marked() {
    let settings = Settings::standard().unwrap();
    let input = ExposureInput { exposure: None, deployment: Deployment::Repository };
    let unknown = assess(&vulnerability(Intelligence::default(), ""), input, &settings, NOW);
    assert_eq!(unknown.class, Class::FourteenDays);
    assert_eq!(unknown.factors.assumed, ["automatable", "technical_impact"]);
    assert!(unknown.factors.threat > 0.0 && unknown.factors.epss.is_none());
    let vector = "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H";
    let derived = assess(&vulnerability(Intelligence::default(), vector), input, &settings, NOW);
    assert_eq!(derived.class, Class::ThreeDays);
    assert!(derived.factors.assumed.is_empty() && derived.sentence.contains("(cvss)"));
    // Every consistent row is more urgent than 14 days: the cap does not apply.
    let known_worse = Intelligence {
        kev: Some(Kev { date_added: NOW, ransomware: false }),
        total_impact: stated(true),
        ..Default::default()
    };
    assert_eq!(
        assess(&vulnerability(known_worse, ""), input, &settings, NOW).class,
        Class::ThreeDaysForensic
    );
}

#[test]
fn likelihood_moves_one_step_and_is_shown() {
    let settings = Settings::standard().unwrap();
    let input = ExposureInput { exposure: None, deployment: Deployment::Repository };
    let base = Intelligence { automatable: stated(false), total_impact: stated(false), ..Default::default() };
    for (intelligence, class, modifiers) in [
        (base.clone(), Class::SixtyDays, 0),
        (Intelligence { epss: Some(0.35), ..base.clone() }, Class::SixtyDays, 0),
        (Intelligence { epss: Some(0.36), ..base.clone() }, Class::FourteenDays, 1),
        (Intelligence { exploit: Exploit::Weaponised, ..base.clone() }, Class::FourteenDays, 1),
        (
            Intelligence { exploit: Exploit::Weaponised, epss: Some(0.9), ..base.clone() },
            Class::FourteenDays,
            1,
        ),
        (Intelligence { exploit: Exploit::Poc, ..base.clone() }, Class::SixtyDays, 0),
    ] {
        let got = assess(&vulnerability(intelligence, ""), input, &settings, NOW);
        assert_eq!((got.class, got.factors.modifiers.len()), (class, modifiers), "{}", got.sentence);
    }
    let worst = Intelligence {
        automatable: stated(true),
        total_impact: stated(true),
        epss: Some(0.9),
        ..Default::default()
    };
    let got = assess(&vulnerability(worst, ""), input, &settings, NOW);
    assert_eq!(got.class, Class::ThreeDays, "likelihood never enters the forensic class");
}

/// The formula, once by hand: 100 × 0.5 × 1 × 0.7 × (1 × 1) × (1 + 3/8 + 2/8) / 2.
#[test]
fn rank_by_hand() {
    let settings = Settings::standard().unwrap();
    let v = vulnerability(
        Intelligence {
            epss: Some(0.5),
            automatable: stated(true),
            total_impact: stated(true),
            ..Default::default()
        },
        "",
    );
    let exposure = Exposure { reaches: 7, ..exposure(ExposureLevel::Open, true, true, 0) };
    let deployment = Deployment::Workload { privileged: true, replicas: 4 };
    let got = assess(&v, ExposureInput { exposure: Some(&exposure), deployment }, &settings, NOW);
    assert!((got.rank - 28.4375).abs() < 1e-9, "{}", got.rank);
}
