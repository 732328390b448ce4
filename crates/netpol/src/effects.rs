//! What a change of a cluster means: the sentences behind the rows of a difference.
//!
//! Each effect has a stable code and an identity that does not depend on how often or in which order the change was
//! delivered, so that the same change gives the same findings.

use std::collections::BTreeMap;

use plimsoll_model::exposure::ExposureLevel;

use crate::conn::ConnSet;
use crate::diff::{ChangeKind, ConnDiff, DiffPeer, DiffRow, Snapshot};
use crate::engine::{Connectivity, Direction, Warning};
use crate::exposure::WorkloadExposure;
use crate::ip::IpRange;

/// How soon somebody should look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
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
}

impl Effect {
    /// Text that is equal for the same effect of the same change, whatever else happened: code, subject, message.
    pub fn identity(&self) -> String {
        format!("{}\n{}\n{}", self.code, self.subject, self.message)
    }
}

/// Address of the metadata service of most clouds.
const METADATA: std::net::Ipv4Addr = std::net::Ipv4Addr::new(169, 254, 169, 254);

/// A state with its judged exposures.
#[derive(Debug, Clone, Copy)]
pub struct Judged<'a> {
    pub snapshot: &'a Snapshot,
    pub exposures: &'a [WorkloadExposure],
}

impl<'a> Judged<'a> {
    fn by_name(&self) -> BTreeMap<String, &'a WorkloadExposure> {
        let name = |exposure: &WorkloadExposure| {
            format!("{}/{}[{}]", exposure.namespace, exposure.name, exposure.kind)
        };
        self.exposures.iter().map(|exposure| (name(exposure), exposure)).collect()
    }
}

/// The consequences of a change, most urgent first. `diff` is that of the two snapshots.
pub fn effects(before: Judged<'_>, after: Judged<'_>, diff: &ConnDiff) -> Vec<Effect> {
    let mut found = Vec::new();
    exposed(before, after, &mut found);
    isolation(before.snapshot, after.snapshot, &mut found);
    outward(diff, &mut found);
    connections(diff, &mut found);
    hygiene(&before.snapshot.connectivity, &after.snapshot.connectivity, &mut found);
    found.sort();
    found.dedup();
    found
}

/// NETPOL001: reachable from the internet. NETPOL002: reachable from every namespace or another one.
fn exposed(before: Judged<'_>, after: Judged<'_>, found: &mut Vec<Effect>) {
    let known = before.by_name();
    for (name, now) in after.by_name() {
        let then = known.get(&name);
        let level = then.map_or(ExposureLevel::Isolated, |then| then.level);
        if now.level <= level {
            continue;
        }
        let (code, word) = match now.level {
            ExposureLevel::Open => ("NETPOL001", "became reachable from the internet"),
            ExposureLevel::Controlled => ("NETPOL002", "became reachable from other namespaces"),
            ExposureLevel::Small | ExposureLevel::Isolated => continue,
        };
        // A new workload without policies is what NETPOL006 says.
        if then.is_none() && now.level == ExposureLevel::Controlled && now.ingress_policies == 0 {
            continue;
        }
        let path = now.paths.first().cloned().unwrap_or_default();
        found.push(Effect {
            urgency: Urgency::High,
            code,
            subject: name.clone(),
            message: format!("{name} {word}: {path}"),
            decided_by: Vec::new(),
        });
    }
}

/// NETPOL003: isolation lost. NETPOL006: a new workload that no policy selects. NETPOL010: selected otherwise although
/// no policy changed.
fn isolation(before: &Snapshot, after: &Snapshot, found: &mut Vec<Effect>) {
    let (old, new) = (&before.connectivity, &after.connectivity);
    let known: BTreeMap<String, usize> = old
        .endpoints()
        .iter()
        .enumerate()
        .filter(|(_, e)| !e.assumed)
        .map(|(i, e)| (e.to_string(), i))
        .collect();
    for (index, endpoint) in new.endpoints().iter().enumerate().filter(|(_, endpoint)| !endpoint.assumed) {
        let name = endpoint.to_string();
        for (direction, word) in [(Direction::Ingress, "ingress"), (Direction::Egress, "egress")] {
            let now = new.selected_by(index, direction);
            let Some(then) = known.get(&name) else {
                if now.is_empty() {
                    found.push(Effect {
                        urgency: Urgency::Medium,
                        code: "NETPOL006",
                        subject: name.clone(),
                        message: format!("new workload {name} is selected by no policy for {word}"),
                        decided_by: Vec::new(),
                    });
                }
                continue;
            };
            let then_keys = old.selected_by(*then, direction);
            if old.is_isolated(*then, direction) && !new.is_isolated(index, direction) {
                found.push(Effect {
                    urgency: Urgency::High,
                    code: "NETPOL003",
                    subject: name.clone(),
                    message: format!("{name} is no longer isolated for {word}"),
                    decided_by: then_keys.iter().map(ToString::to_string).collect(),
                });
            }
            let unchanged =
                |key: &&crate::objects::ObjectKey| match (before.state.get(key), after.state.get(key)) {
                    (Some(then), Some(now)) => !now.differs_from(then),
                    _ => false,
                };
            let gone: Vec<String> = then_keys
                .iter()
                .filter(|key| !now.contains(key) && unchanged(key))
                .map(ToString::to_string)
                .collect();
            if !gone.is_empty() {
                found.push(Effect {
                    urgency: Urgency::High,
                    code: "NETPOL010",
                    subject: name.clone(),
                    message: format!(
                        "{name} changed its labels, and is no longer selected for {word} by {}",
                        gone.join(", ")
                    ),
                    decided_by: gone,
                });
            }
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
        found.push(Effect { urgency, code: "NETPOL005", subject, message, decided_by: decided(row) });
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
        });
    }
}
