//! What a change of a cluster means: the sentences behind the rows of a difference.
//!
//! Each effect has a stable code and an identity that does not depend on how often or in which order the change was
//! delivered, so that the same change gives the same findings.

use std::collections::{BTreeMap, BTreeSet};

use plimsoll_model::exposure::ExposureLevel;
use serde::{Deserialize, Serialize};

use crate::conn::ConnSet;
use crate::diff::{ChangeKind, ConnDiff, DiffPeer, DiffRow, Snapshot};
use crate::engine::{Connectivity, Direction, Warning};
use crate::exposure::WorkloadExposure;
use crate::ip::IpRange;
use crate::live::LiveSnapshot;
use crate::standing::Condition;

/// How soon somebody should look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Urgency {
    High,
    Medium,
    Low,
    Info,
}

/// One consequence of a change.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Effect {
    pub urgency: Urgency,
    /// `NETPOL001`…
    pub code: &'static str,
    /// Printed workload or object that it is about.
    pub subject: String,
    /// What happened, in one sentence.
    pub message: String,
    /// Rules that decide after the change, or decided before it.
    pub decided_by: Vec<String>,
    /// What has to hold for it to stand; none for what only happened.
    pub condition: Option<Condition>,
}

impl Effect {
    /// Text that is equal for the same effect of the same change, whatever else happened: code, subject, message.
    pub fn identity(&self) -> String {
        format!("{}\n{}\n{}", self.code, self.subject, self.message)
    }
}

/// Ranges of the outside that a condition remembers.
const MAX_RANGES: usize = 8;
/// Address of the metadata service of most clouds.
const METADATA: std::net::Ipv4Addr = std::net::Ipv4Addr::new(169, 254, 169, 254);

/// A workload of one side or both: what the state before and the one after know of it.
struct Subject<'a> {
    name: &'a str,
    before: Option<(usize, WorkloadExposure)>,
    after: Option<(usize, WorkloadExposure)>,
}

/// A state with its judged exposures.
#[derive(Debug, Clone, Copy)]
pub struct Judged<'a> {
    pub snapshot: &'a Snapshot,
    pub exposures: &'a [WorkloadExposure],
}

impl Judged<'_> {
    fn by_name(&self) -> BTreeMap<String, (usize, WorkloadExposure)> {
        let place = |exposure: &WorkloadExposure| {
            let name = exposure.printed();
            let index = self.snapshot.connectivity.workload_named(&name)?;
            Some((name, (index, exposure.clone())))
        };
        self.exposures.iter().filter_map(place).collect()
    }
}

/// The consequences of a change, most urgent first. `diff` is that of the two snapshots.
pub fn effects(before: Judged<'_>, after: Judged<'_>, diff: &ConnDiff) -> Vec<Effect> {
    let (mut old, mut new) = (before.by_name(), after.by_name());
    let names: BTreeSet<String> = old.keys().chain(new.keys()).cloned().collect();
    let subject = |name| Subject { name, before: old.remove(name), after: new.remove(name) };
    told(before.snapshot, after.snapshot, names.iter().map(String::as_str).map(subject), diff)
}

/// As [`effects`], of the states of a resident cluster. Only the workloads of `concerned`, by printed name, are looked
/// at ([`crate::live::Delta::concerned`]); all of them without it.
pub fn effects_between(
    before: &LiveSnapshot,
    after: &LiveSnapshot,
    concerned: Option<&BTreeSet<String>>,
    diff: &ConnDiff,
) -> Vec<Effect> {
    let all;
    let names = match concerned {
        Some(names) => names,
        None => {
            all = before.names().chain(after.names()).map(str::to_owned).collect();
            &all
        }
    };
    let of = |snapshot: &LiveSnapshot, name: &str| {
        let index = snapshot.connectivity().workload_named(name)?;
        Some((index, snapshot.exposure(index)?))
    };
    let subject = |name| Subject { name, before: of(before, name), after: of(after, name) };
    told(&before.snapshot, &after.snapshot, names.iter().map(String::as_str).map(subject), diff)
}

fn told<'a>(
    before: &Snapshot,
    after: &Snapshot,
    subjects: impl Iterator<Item = Subject<'a>>,
    diff: &ConnDiff,
) -> Vec<Effect> {
    let mut found = Vec::new();
    for subject in subjects {
        exposed(&subject, &mut found);
        isolation(&subject, before, after, &mut found);
    }
    outward(diff, &mut found);
    connections(diff, &mut found);
    hygiene(&before.connectivity, &after.connectivity, &mut found);
    found.sort();
    found.dedup();
    found
}

/// NETPOL001: reachable from the internet. NETPOL002: reachable from every namespace or another one.
fn exposed(subject: &Subject<'_>, found: &mut Vec<Effect>) {
    let Some((_, now)) = &subject.after else { return };
    let then = subject.before.as_ref().map(|(_, then)| then);
    if now.level <= then.map_or(ExposureLevel::Isolated, |then| then.level) {
        return;
    }
    let (code, word) = match now.level {
        ExposureLevel::Open => ("NETPOL001", "became reachable from the internet"),
        ExposureLevel::Controlled => ("NETPOL002", "became reachable from other namespaces"),
        ExposureLevel::Small | ExposureLevel::Isolated => return,
    };
    // A new workload without policies is what NETPOL006 says.
    if then.is_none() && now.level == ExposureLevel::Controlled && now.ingress_policies == 0 {
        return;
    }
    let (name, path) = (subject.name, now.paths.first().cloned().unwrap_or_default());
    found.push(Effect {
        urgency: Urgency::High,
        code,
        subject: name.to_owned(),
        message: format!("{name} {word}: {path}"),
        decided_by: Vec::new(),
        condition: Some(Condition::Reachable(now.level)),
    });
}

/// NETPOL003: isolation lost. NETPOL006: a new workload that no policy selects. NETPOL010: selected otherwise although
/// no policy changed.
fn isolation(subject: &Subject<'_>, before: &Snapshot, after: &Snapshot, found: &mut Vec<Effect>) {
    let (old, new) = (&before.connectivity, &after.connectivity);
    let (name, Some((index, _))) = (subject.name, &subject.after) else { return };
    for direction in [Direction::Ingress, Direction::Egress] {
        let (now, word) = (new.selected_by(*index, direction), direction.as_str());
        let effect = |urgency, code, message, decided_by, condition| Effect {
            urgency,
            code,
            subject: name.to_owned(),
            message,
            decided_by,
            condition: Some(condition),
        };
        let Some((then, _)) = &subject.before else {
            if now.is_empty() {
                let message = format!("new workload {name} is selected by no policy for {word}");
                let condition = Condition::Unselected(direction);
                found.push(effect(Urgency::Medium, "NETPOL006", message, Vec::new(), condition));
            }
            continue;
        };
        let then_keys = old.selected_by(*then, direction);
        if old.is_isolated(*then, direction) && !new.is_isolated(*index, direction) {
            let message = format!("{name} is no longer isolated for {word}");
            let decided_by = then_keys.iter().map(ToString::to_string).collect();
            let condition = Condition::NotIsolated(direction);
            found.push(effect(Urgency::High, "NETPOL003", message, decided_by, condition));
        }
        let unchanged =
            |key: &&&crate::objects::ObjectKey| match (before.state.get(key), after.state.get(key)) {
                (Some(then), Some(now)) => !now.differs_from(then),
                _ => false,
            };
        let gone: Vec<crate::objects::ObjectKey> = then_keys
            .iter()
            .filter(|key| !now.contains(key))
            .filter(unchanged)
            .map(|key| (*key).clone())
            .collect();
        if !gone.is_empty() {
            let names: Vec<String> = gone.iter().map(ToString::to_string).collect();
            let list = names.join(", ");
            let message =
                format!("{name} changed its labels, and is no longer selected for {word} by {list}");
            let condition = Condition::Deselected { direction, policies: gone };
            found.push(effect(Urgency::High, "NETPOL010", message, names, condition));
        }
    }
}

fn decided(row: &DiffRow) -> Vec<String> {
    let decisions = if row.kind == ChangeKind::Removed { &row.decided_after } else { &row.decided_before };
    let other = if row.kind == ChangeKind::Removed { &row.decided_before } else { &row.decided_after };
    let from = if other.is_empty() { decisions } else { other };
    from.iter().map(ToString::to_string).collect()
}

/// New ways out of one workload.
#[derive(Default)]
struct Outward {
    ranges: Vec<IpRange>,
    more: ConnSet,
    decided_by: Vec<String>,
    fresh: bool,
}

/// NETPOL004: new ways out to the world or to the metadata address.
fn outward(diff: &ConnDiff, found: &mut Vec<Effect>) {
    let mut opened: BTreeMap<&DiffPeer, Outward> = BTreeMap::new();
    for row in diff.rows.iter().filter(|row| matches!(row.kind, ChangeKind::Added | ChangeKind::Changed)) {
        let DiffPeer::Range(range) = &row.destination else { continue };
        let more = row.after.subtract(&row.before);
        if more.is_empty() {
            continue;
        }
        let entry = opened.entry(&row.source).or_insert_with(|| Outward {
            decided_by: decided(row),
            fresh: row.source_differs,
            ..Outward::default()
        });
        entry.ranges.push(*range);
        entry.more = entry.more.union(&more);
    }
    for (source, Outward { ranges, more, decided_by, fresh }) in opened {
        let metadata = ranges.iter().any(|range| range.contains(METADATA.into()));
        // Default allow of a new workload is NETPOL006.
        if fresh && decided_by.is_empty() {
            continue;
        }
        let what = if metadata {
            "addresses outside the cluster, the metadata service among them"
        } else {
            "addresses outside the cluster"
        };
        found.push(Effect {
            urgency: Urgency::Medium,
            code: "NETPOL004",
            subject: source.to_string(),
            message: format!("{source} may now connect to {what}: {more}"),
            decided_by,
            condition: Some(Condition::Outward {
                ranges: ranges.into_iter().take(MAX_RANGES).collect(),
                more,
            }),
        });
    }
}

/// NETPOL005: each connection between workloads that differs.
fn connections(diff: &ConnDiff, found: &mut Vec<Effect>) {
    for row in &diff.rows {
        if matches!((&row.source, &row.destination), (DiffPeer::Range(_), _) | (_, DiffPeer::Range(_))) {
            continue;
        }
        let change = format!("{} => {}", row.source, row.destination);
        let (urgency, message) = match row.kind {
            ChangeKind::Added => (Urgency::Info, format!("{change}: {} added", row.after)),
            ChangeKind::Changed => (Urgency::Info, format!("{change}: {} became {}", row.before, row.after)),
            ChangeKind::Removed => {
                (Urgency::Medium, format!("{change}: {} removed, which may break it", row.before))
            }
            ChangeKind::Unchanged => continue,
        };
        let subject = row.destination.to_string();
        let decided_by = decided(row);
        found.push(Effect { urgency, code: "NETPOL005", subject, message, decided_by, condition: None });
    }
}

/// NETPOL007, 008, 011, 012, 020: what is odd about policies now and was not before.
fn hygiene(before: &Connectivity, after: &Connectivity, found: &mut Vec<Effect>) {
    let new = |warning: &&Warning| before.warnings().binary_search(warning).is_err();
    for warning in after.warnings().iter().filter(new) {
        let (code, urgency) = match warning.code {
            "policy_selects_nothing" => ("NETPOL007", Urgency::Low),
            "rule_matches_nothing" => ("NETPOL008", Urgency::Low),
            "named_port_unresolved" => ("NETPOL011", Urgency::Medium),
            "policy_priority_tie" => ("NETPOL012", Urgency::Medium),
            _ => ("NETPOL020", Urgency::Medium),
        };
        found.push(Effect {
            urgency,
            code,
            subject: warning.object.to_string(),
            message: format!("{}: {}", warning.object, warning.message),
            decided_by: Vec::new(),
            condition: Some(Condition::Odd { code: warning.code.to_owned(), object: warning.object.clone() }),
        });
    }
}
