//! Inputs -> class, rank, factors and one sentence.
//!
//! The class comes from the [`ClassTable`]; a likely exploitation (EPSS ≥ 0.36, or weaponised code) moves it one step up, and never into
//! the forensic class, which supposes a known exploitation. The rank orders findings of one class:
//! `R = 100 × T × E × U × I × B / Bmax` (threat, exposure, use, impact, blast radius).

use std::cmp::Ordering;

use plimsoll_model::exposure::{Exposure, ExposureLevel, Unproved};
use plimsoll_model::finding::{Assessment, Class, Factors};
use plimsoll_model::{Timestamp, Vulnerability};

use crate::derive;
use crate::table::{ClassTable, Row, TableError};
use crate::threat::{EPSS_STEP, threat, valid_epss};

/// What an operator decides about ranking.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    pub table: ClassTable,
    /// Age in milliseconds after which a view of a cluster proves nothing any more (`exposure.max_age`).
    pub max_age_ms: i64,
    /// What is assumed of an image that runs nowhere that we know of. True unless the operator says otherwise.
    pub undeployed_exposed: bool,
}

impl Settings {
    /// Default `exposure.max_age`: one day.
    pub const DEFAULT_MAX_AGE_MS: i64 = Timestamp::DAY;

    /// BOD 26-04, a day, exposed.
    ///
    /// # Errors
    /// As [`ClassTable::bod_26_04`].
    pub fn standard() -> Result<Self, TableError> {
        Ok(Self {
            table: ClassTable::bod_26_04()?,
            max_age_ms: Self::DEFAULT_MAX_AGE_MS,
            undeployed_exposed: true,
        })
    }
}

/// Whether the holder runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Deployment {
    /// An image in a registry; nothing that runs it is known.
    Repository,
    /// A workload with as many replicas.
    Workload { privileged: bool, replicas: u32 },
}

/// What is known about the holder.
#[derive(Debug, Clone, Copy)]
pub struct ExposureInput<'a> {
    /// From the network-policy stage; `None` when it said nothing about the holder.
    pub exposure: Option<&'a Exposure>,
    pub deployment: Deployment,
}

/// Largest blast radius.
const BLAST_MAX: f64 = 2.0;
/// Use of the component at run time: 1 loaded, 0.2 not loaded; nothing in the model says which, so unknown.
const USE_UNKNOWN: f64 = 0.7;

struct Exposed {
    exposed: bool,
    level: ExposureLevel,
    unproved: Option<Unproved>,
}

fn exposed(input: &ExposureInput<'_>, settings: &Settings, now: Timestamp) -> Exposed {
    let Some(exposure) = input.exposure else {
        let exposed = match input.deployment {
            Deployment::Repository => settings.undeployed_exposed,
            Deployment::Workload { .. } => true,
        };
        let unproved = match input.deployment {
            Deployment::Repository => Unproved::NotDeployed,
            Deployment::Workload { .. } => Unproved::Incomplete,
        };
        return Exposed { exposed, level: ExposureLevel::Controlled, unproved: Some(unproved) };
    };
    if exposure.level == ExposureLevel::Open {
        // A path from outside is evidence by itself: no missing condition could make it more exposed.
        return Exposed { exposed: true, level: ExposureLevel::Open, unproved: None };
    }
    match exposure.unproved(now, settings.max_age_ms) {
        None => Exposed { exposed: false, level: exposure.level, unproved: None },
        Some(reason) => Exposed { exposed: true, level: ExposureLevel::Controlled, unproved: Some(reason) },
    }
}

/// A value with who said it.
struct Input {
    value: Option<bool>,
    source: String,
}

impl Input {
    fn candidates(&self) -> &'static [bool] {
        match self.value {
            Some(true) => &[true],
            Some(false) => &[false],
            None => &[true, false],
        }
    }

    /// The worst value that is consistent with what is known.
    fn worst(&self) -> bool {
        self.value.unwrap_or(true)
    }
}

fn class_of(
    settings: &Settings,
    exploited: bool,
    exposed: bool,
    automatable: &Input,
    impact: &Input,
) -> Class {
    let rows = automatable.candidates().iter().flat_map(|&automatable| {
        impact.candidates().iter().map(move |&total_impact| Row {
            exploited,
            exposed,
            automatable,
            total_impact,
        })
    });
    let classes = rows.map(|row| settings.table.class(row));
    let (worst, best) = classes
        .fold((Class::NextUpgrade, Class::ThreeDaysForensic), |(worst, best), class| {
            (worst.min(class), best.max(class))
        });
    if worst == best {
        return worst;
    }
    // The worst consistent row, capped at 14 days, unless every consistent row is more urgent than that.
    worst.max(Class::FourteenDays).min(best)
}

fn step_up(class: Class) -> Class {
    match class {
        Class::NextUpgrade => Class::SixtyDays,
        Class::SixtyDays => Class::FourteenDays,
        Class::FourteenDays | Class::ThreeDays => Class::ThreeDays,
        Class::ThreeDaysForensic => Class::ThreeDaysForensic,
    }
}

/// The class, rank, factors and sentence of a vulnerability in a holder at `now`. Pure; equal inputs give equal
/// results.
pub fn assess(
    vulnerability: &Vulnerability,
    input: ExposureInput<'_>,
    settings: &Settings,
    now: Timestamp,
) -> Assessment {
    let intelligence = &vulnerability.intelligence;
    let derived = derive::from_cvss(&vulnerability.cvss);
    let resolve =
        |stated: &Option<plimsoll_model::vulnerability::Sourced<bool>>, derived: Option<bool>| match stated {
            Some(stated) => Input { value: Some(stated.value), source: stated.source.clone() },
            None => Input { value: derived, source: "cvss".to_owned() },
        };
    let automatable = resolve(&intelligence.automatable, derived.automatable);
    let impact = resolve(&intelligence.total_impact, derived.total_impact);
    let exploited = intelligence.kev.is_some();
    let seen = exposed(&input, settings, now);

    let mut class = class_of(settings, exploited, seen.exposed, &automatable, &impact);
    let mut modifiers = Vec::new();
    if let Some(modifier) = likely(vulnerability) {
        // Stepped from the class of a vulnerability that is not in KEV: what is known to be exploited has its class from
        // the table, and being added to KEV must not lower what likelihood had raised.
        let raised = step_up(class_of(settings, false, seen.exposed, &automatable, &impact));
        if raised < class {
            class = raised;
            modifiers.push(modifier);
        }
    }

    let threat = threat(intelligence, automatable.value, impact.value);
    let reaches = input.exposure.map_or(0, |e| e.reaches);
    let (privileged, replicas) = match input.deployment {
        Deployment::Workload { privileged, replicas } => (privileged, replicas),
        Deployment::Repository => (false, 1),
    };
    let rank = 100.0
        * threat
        * exposure_factor(seen.level)
        * USE_UNKNOWN
        * (if impact.worst() { 1.0 } else { 0.5 } * if privileged { 1.0 } else { 0.6 })
        * blast(reaches, replicas)
        / BLAST_MAX;

    let assumed: Vec<String> = [("automatable", &automatable), ("technical_impact", &impact)]
        .into_iter()
        .filter(|(_, input)| input.value.is_none())
        .map(|(name, _)| name.to_owned())
        .collect();
    let sentence = sentence(class, vulnerability, &input, &seen, &automatable, &impact, &modifiers);
    let factors = Factors {
        exploited,
        exposed: seen.exposed,
        level: seen.level,
        unproved: seen.unproved,
        automatable: automatable.worst(),
        total_impact: impact.worst(),
        assumed,
        threat,
        epss: valid_epss(intelligence),
        reaches,
        modifiers,
    };
    Assessment { class, rank, factors, sentence }
}

fn likely(vulnerability: &Vulnerability) -> Option<String> {
    let intelligence = &vulnerability.intelligence;
    if intelligence.exploit == plimsoll_model::vulnerability::Exploit::Weaponised {
        return Some("weaponised exploit: up".to_owned());
    }
    valid_epss(intelligence).filter(|&p| p >= EPSS_STEP).map(|_| format!("epss>={EPSS_STEP}: up"))
}

/// `E` of the rank.
pub fn exposure_factor(level: ExposureLevel) -> f64 {
    match level {
        ExposureLevel::Open => 1.0,
        ExposureLevel::Controlled => 0.5,
        ExposureLevel::Small => 0.2,
        ExposureLevel::Isolated => 0.05,
    }
}

fn blast(reaches: u32, replicas: u32) -> f64 {
    let radius = 1.0 + (1.0 + f64::from(reaches)).log2() / 8.0 + f64::from(replicas.max(1)).log2() / 8.0;
    radius.min(BLAST_MAX)
}

/// A class in words, as sentences begin.
pub fn class_words(class: Class) -> &'static str {
    match class {
        Class::ThreeDaysForensic => "3 days and forensic triage",
        Class::ThreeDays => "3 days",
        Class::FourteenDays => "14 days",
        Class::SixtyDays => "60 days",
        Class::NextUpgrade => "next upgrade",
    }
}

fn sentence(
    class: Class,
    vulnerability: &Vulnerability,
    input: &ExposureInput<'_>,
    seen: &Exposed,
    automatable: &Input,
    impact: &Input,
    modifiers: &[String],
) -> String {
    let head = class_words(class);
    let kev = match &vulnerability.intelligence.kev {
        Some(kev) if kev.ransomware => "known exploited (KEV, ransomware)".to_owned(),
        Some(_) => "known exploited (KEV)".to_owned(),
        None => "not in KEV".to_owned(),
    };
    let stated = |input: &Input, yes: &str, no: &str, name: &str| match input.value {
        Some(value) => format!("{} ({})", if value { yes } else { no }, input.source),
        None => format!("{name} unknown, worst case assumed"),
    };
    let mut text = format!(
        "{head}: {kev}, {}, {}, {}",
        exposure_words(input, seen),
        stated(automatable, "automatable", "not automatable", "automatable"),
        stated(impact, "total impact", "partial impact", "impact"),
    );
    if !modifiers.is_empty() {
        text.push_str("; one step up: ");
        let reasons: Vec<&str> = modifiers.iter().map(|m| m.trim_end_matches(": up")).collect();
        text.push_str(&reasons.join(", "));
    }
    text
}

fn exposure_words(input: &ExposureInput<'_>, seen: &Exposed) -> String {
    let because = match seen.unproved {
        Some(Unproved::NotDeployed) if seen.exposed => {
            return "exposed: assumed, not seen running anywhere".into();
        }
        Some(Unproved::NotDeployed) => {
            return "not exposed: assumed by configuration, not seen running anywhere".into();
        }
        Some(Unproved::Incomplete) => "the view of the cluster is incomplete",
        Some(Unproved::Stale) => "the view of the cluster is too old",
        Some(Unproved::NotEnforced) => "nobody asserts that the cluster enforces network policy",
        None => {
            let path = input.exposure.and_then(|e| e.paths.first());
            return match (seen.level, path) {
                (ExposureLevel::Open, Some(path)) => format!("reachable from {path}"),
                (ExposureLevel::Open, None) => "reachable from outside the cluster".into(),
                (ExposureLevel::Controlled, Some(path)) => {
                    format!("not reachable from outside, but from {path}")
                }
                (ExposureLevel::Controlled, None) => "reachable from other namespaces only (proved)".into(),
                (ExposureLevel::Small, _) => "reachable from its own namespace only (proved)".into(),
                (ExposureLevel::Isolated, _) => "reachable from nowhere (proved)".into(),
            };
        }
    };
    format!("exposed: assumed, because {because}")
}

/// The total order in which people work: class, known before assumed, rank, age, id.
#[derive(Debug, Clone, PartialEq)]
pub struct OrderKey<'a> {
    pub class: Class,
    /// True when an input of the class was unknown: such rows come after the known rows of their class.
    pub assumed: bool,
    pub rank: f64,
    pub opened_at: Timestamp,
    pub id: &'a str,
}

impl Eq for OrderKey<'_> {}

impl Ord for OrderKey<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.class
            .cmp(&other.class)
            .then(self.assumed.cmp(&other.assumed))
            .then(other.rank.total_cmp(&self.rank))
            .then(self.opened_at.cmp(&other.opened_at))
            .then(self.id.cmp(other.id))
    }
}

impl PartialOrd for OrderKey<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The order key of a finding.
pub fn order_key(finding: &plimsoll_model::Finding) -> OrderKey<'_> {
    OrderKey {
        class: finding.assessment.class,
        assumed: !finding.assessment.factors.assumed.is_empty(),
        rank: finding.assessment.rank,
        opened_at: finding.opened_at,
        id: &finding.id,
    }
}
