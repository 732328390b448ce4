//! What changes of a cluster brought about for the connections of a workload -> findings.
//!
//! Such a finding is one of a workload as a whole: its holder has no container. Its vulnerability id is the code
//! (`NETPOL001`…) and its package the side that it is about. Where the change opened a way in, its class and rank are
//! those of the most urgent vulnerability that stands open in the workload, because that is what became reachable;
//! everything else, and a workload in which nothing is known to be vulnerable, is for the next upgrade.

use plimsoll_model::exposure::{Exposure, ExposureLevel};
use plimsoll_model::fact::NetworkNote;
use plimsoll_model::finding::{Assessment, Class, Factors};
use plimsoll_model::package::Ecosystem;
use plimsoll_model::vex::{NetworkFinding, Statement, Suppression};
use plimsoll_model::vulnerability::{Intelligence, MatchStatus, Severity};
use plimsoll_model::{Finding, FindingKey, Holder, PackageKey, Timestamp, Vulnerability};
use plimsoll_risk::assess::class_words;

pub use plimsoll_model::vex::is_network;

use crate::desired::{Desired, Desires};
use crate::suppress::{Statements, suppressions};

/// Codes, gravity, and what each says.
const CODES: [(&str, Severity, &str); 13] = [
    ("NETPOL001", Severity::High, "a change made the workload reachable from the internet"),
    ("NETPOL002", Severity::High, "a change made the workload reachable from other namespaces"),
    ("NETPOL003", Severity::High, "the workload is no longer isolated by a network policy"),
    ("NETPOL004", Severity::Medium, "a change lets the workload connect to addresses outside the cluster"),
    ("NETPOL006", Severity::Medium, "no network policy selects the new workload"),
    ("NETPOL007", Severity::Low, "the policy selects nothing"),
    ("NETPOL008", Severity::Low, "a rule of the policy matches nothing"),
    ("NETPOL009", Severity::Low, "a rule of the policy makes no difference"),
    ("NETPOL010", Severity::High, "a change of labels took the workload out of a network policy"),
    ("NETPOL011", Severity::Medium, "the policy names a port that resolves to nothing"),
    ("NETPOL012", Severity::Medium, "policies of equal priority disagree"),
    ("NETPOL013", Severity::Medium, "the policy has a field that Kubernetes does not know"),
    ("NETPOL020", Severity::Medium, "what is declared may not be what is enforced"),
];

/// What a finding of a code says in general; none for another id.
pub fn described(code: &str) -> Option<Vulnerability> {
    let (id, severity, summary) = CODES.iter().find(|(id, ..)| *id == code)?;
    Some(Vulnerability {
        id: (*id).to_owned(),
        aliases: Vec::new(),
        summary: (*summary).to_owned(),
        severity: *severity,
        severity_source: "plimsoll".to_owned(),
        cvss: String::new(),
        published: None,
        modified: None,
        intelligence: Intelligence::default(),
    })
}

/// True when the finding says that a way in was opened, so that a policy can end it.
pub fn opens(code: &str, about: &str) -> bool {
    about == "ingress" && matches!(code, "NETPOL001" | "NETPOL002" | "NETPOL003" | "NETPOL010")
}

/// The findings that should be open for `holder`, and those that ignore rules accept; both sorted by key. `behind` is the
/// most urgent open finding of the same workload that is about a vulnerability. A pure function; the order of `notes` does
/// not matter.
pub fn network(
    holder: &Holder,
    notes: &[NetworkNote],
    exposure: Option<&Exposure>,
    behind: Option<&Finding>,
    statements: &Statements,
    now: Timestamp,
) -> Desires {
    let mut notes: Vec<&NetworkNote> = notes.iter().collect();
    notes.sort();
    // One side of a code at a time.
    notes.dedup_by(|later, earlier| (&later.code, &later.about) == (&earlier.code, &earlier.about));
    let mut desires = Desires::default();
    for note in notes {
        let mut desired = one(holder, note, exposure, behind);
        desired.suppressions = accepted(holder, note, statements, now);
        let kept = if desired.suppressions.is_empty() { &mut desires.open } else { &mut desires.suppressed };
        kept.push(desired);
    }
    desires.open.sort_by(|a, b| a.key.cmp(&b.key));
    desires.suppressed.sort_by(|a, b| a.key.cmp(&b.key));
    desires
}

/// The ignore rules that accept a note, at most as many as a finding carries.
fn accepted(
    holder: &Holder,
    note: &NetworkNote,
    statements: &Statements,
    now: Timestamp,
) -> Vec<Suppression> {
    let Holder::Workload { workload, .. } = holder else { return Vec::new() };
    let finding = NetworkFinding { code: &note.code, workload, side: &note.about, peers: &note.peers };
    let rules: Vec<&Statement> =
        statements.about(&note.code, None).filter(|rule| rule.accepts(&finding, now)).collect();
    let mut by = suppressions(&rules);
    by.truncate(crate::desired::MAX_SUPPRESSIONS);
    by
}

fn one(
    holder: &Holder,
    note: &NetworkNote,
    exposure: Option<&Exposure>,
    behind: Option<&Finding>,
) -> Desired {
    let behind = behind.filter(|_| opens(&note.code, &note.about));
    let class = behind.map_or(Class::NextUpgrade, |behind| behind.assessment.class);
    let head = class_words(class);
    let sentence = match behind {
        Some(behind) => format!("{head}: {}; {} is behind it", note.message, behind.key.vulnerability),
        None => format!("{head}: {}", note.message),
    };
    let factors = match behind {
        Some(behind) => Factors { modifiers: Vec::new(), ..behind.assessment.factors.clone() },
        None => Factors {
            exploited: false,
            exposed: exposure.is_some_and(|exposure| exposure.level == ExposureLevel::Open),
            level: exposure.map_or(ExposureLevel::Controlled, |exposure| exposure.level),
            unproved: None,
            automatable: false,
            total_impact: false,
            assumed: Vec::new(),
            threat: 0.0,
            epss: None,
            reaches: exposure.map_or(0, |exposure| exposure.reaches),
            modifiers: Vec::new(),
        },
    };
    let mut evidence = vec![note.message.clone()];
    evidence.extend(note.decided_by.iter().take(4).map(|rule| format!("decided by {rule}")));
    if let Some(behind) = behind {
        evidence.push(format!("behind it: {}", behind.assessment.sentence));
    }
    if note.about == "ingress" {
        evidence.extend(exposure.into_iter().flat_map(|exposure| exposure.paths.iter().take(4).cloned()));
    }
    Desired {
        key: FindingKey {
            vulnerability: note.code.clone(),
            package: PackageKey { ecosystem: Ecosystem::Generic, release: None, name: note.about.clone() },
            holder: holder.clone(),
        },
        vulnerability: described(&note.code).unwrap_or_else(|| crate::desired::nothing_known(&note.code)),
        assessment: Assessment {
            class,
            rank: behind.map_or(0.0, |behind| behind.assessment.rank),
            factors,
            sentence,
        },
        versions: Vec::new(),
        fixed: None,
        status: MatchStatus::Affected,
        images: Vec::new(),
        advisory: note.code.clone(),
        db_seq: behind.map_or(0, |behind| behind.db_seq),
        evidence,
        suppressions: Vec::new(),
    }
}
