//! What suggested policies change and what they would break: the state with them, asked by the same engine that
//! answers for a cluster.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use crate::conn::ConnSet;
use crate::diff::{ChangeKind, ConnDiff, Snapshot, diff_snapshots};
use crate::engine::{Connectivity, Direction, Peer};
use crate::entries::controllers;
use crate::ip::Family;
use crate::objects::{Format, Object, parse_documents};
use crate::state::ClusterState;

use super::flows::Flows;
use super::groups::Groups;
use super::needs::{Cause, End, Gap, Needs};
use super::policies::{Policy, is_suggested, policies};
use super::{SuggestError, SuggestOptions};

/// Most connections listed that no need explains.
const MAX_EXTRA: usize = 200;

/// A need as printed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PrintedNeed {
    pub(super) source: String,
    pub(super) destination: String,
    pub(super) ports: String,
    pub(super) evidence: Vec<String>,
}

/// Policies with what they do.
#[derive(Debug, Clone)]
pub struct Suggestion {
    pub(super) policies: Vec<Policy>,
    pub(super) needs: Vec<PrintedNeed>,
    /// What is not allowed and may be needed, in order.
    pub gaps: Vec<Gap>,
    /// The state with the policies against the state without.
    pub diff: ConnDiff,
    /// Connections of the workloads that stay open though nothing is known to need them, because of policies that
    /// are there already.
    pub(super) extra: Vec<String>,
    pub(super) notes: Vec<String>,
    pub(super) workloads: usize,
}

pub(super) struct View<'a> {
    pub(super) groups: &'a Groups,
    pub(super) is_subject: &'a dyn Fn(&str) -> bool,
    pub(super) options: &'a SuggestOptions,
}

/// Judges the policies that needs lead to.
pub(super) fn predict(
    mut needs: Needs,
    checked: Needs,
    dropped: BTreeMap<(End, End), ConnSet>,
    flows: Option<&Flows>,
    state: Arc<ClusterState>,
    view: &View<'_>,
) -> Result<Suggestion, SuggestError> {
    let before = Snapshot::new(Arc::clone(&state), &view.options.engine);
    let suggested = policies(&needs, view.groups, &before.connectivity, &state, view.is_subject);
    let yaml = suggested.iter().map(|policy| policy.document.yaml()).collect::<Vec<_>>().join("---\n");
    // What is judged is what is printed.
    let objects = parse_documents(yaml.as_bytes(), Format::Yaml)?;
    let mut notes = notes(&state, &objects, flows, view);
    let mut with = ClusterState::clone(&state);
    for object in objects {
        with.apply(object);
    }
    let after = Snapshot::new(Arc::new(with), &view.options.engine);
    let judge = Judge { groups: view.groups, connectivity: &after.connectivity };
    let mut printed = Vec::new();
    for ((from, to), shown) in &needs.map {
        let name = |end: &End| end.name(view.groups, &before.connectivity);
        let (source, destination) = (name(from), name(to));
        let evidence: Vec<String> = shown.evidence.iter().cloned().collect();
        if !judge.allows(from, to, &shown.ports) {
            let detail = format!("{} ({}): another policy denies it", shown.ports, evidence.join(", "));
            needs.gaps.insert(Gap {
                cause: Cause::Blocked,
                source: source.clone(),
                destination: destination.clone(),
                detail,
            });
        }
        printed.push(PrintedNeed { source, destination, ports: shown.ports.to_string(), evidence });
    }
    let cause = if view.options.basis == super::Basis::Flows { Cause::Declared } else { Cause::Observed };
    for ((from, to), shown) in &checked.map {
        if !judge.allows(from, to, &shown.ports) {
            let name = |end: &End| end.name(view.groups, &before.connectivity);
            let evidence: Vec<&str> = shown.evidence.iter().map(String::as_str).collect();
            let detail = format!("{} ({})", shown.ports, evidence.join(", "));
            needs.gap(cause, name(from), name(to), detail);
        }
    }
    let opened = dropped.iter().filter(|((from, to), ports)| judge.allows(from, to, ports));
    for ((from, to), ports) in opened {
        let name = |end: &End| end.name(view.groups, &before.connectivity);
        notes.push(format!(
            "flows were dropped that the policies allow: {} => {} : {ports}",
            name(from),
            name(to)
        ));
    }
    needs.gaps.extend(checked.gaps);
    let workloads: usize = view
        .groups
        .groups
        .iter()
        .filter(|group| (view.is_subject)(&group.namespace))
        .map(|group| group.members.len())
        .sum();
    Ok(Suggestion {
        extra: judge.extra(&needs, view),
        gaps: needs.gaps.into_iter().collect(),
        diff: diff_snapshots(&before, &after, false),
        policies: suggested,
        needs: printed,
        notes,
        workloads,
    })
}

fn notes(state: &ClusterState, suggested: &[Object], flows: Option<&Flows>, view: &View<'_>) -> Vec<String> {
    let mut notes = Vec::new();
    let keys: std::collections::BTreeSet<_> = suggested.iter().map(Object::key).collect();
    for object in state.objects() {
        let Object::NetworkPolicy(policy) = object else { continue };
        let name = format!("{}/{}", policy.meta.namespace, policy.meta.name);
        if !(view.is_subject)(&policy.meta.namespace) {
            continue;
        }
        match (is_suggested(policy), keys.contains(&object.key())) {
            (true, true) => {}
            (true, false) => notes.push(format!(
                "NetworkPolicy {name} was suggested before and is not any more; it stays in effect until it is deleted"
            )),
            (false, _) => notes.push(format!("NetworkPolicy {name} stays in effect; what policies allow adds up")),
        }
    }
    for group in &view.groups.groups {
        if group.members.len() > 1 && (view.is_subject)(&group.namespace) {
            notes.push(format!(
                "{} workloads of namespace {} have the same labels and share a policy: {}",
                group.members.len(),
                group.namespace,
                group.selector
            ));
        }
        if group.host_network && (view.is_subject)(&group.namespace) {
            notes.push(format!(
                "pods {} of namespace {} use the node's network; no NetworkPolicy governs them",
                group.selector, group.namespace
            ));
        }
    }
    if let Some(flows) = flows {
        let counts = [
            (flows.portless, "flows without ports (ICMP), which NetworkPolicies do not govern"),
            (flows.undirected, "flows that do not say who asked, passed over"),
            (flows.lost, "flows were lost before they were recorded: the picture has holes"),
            (u64::from(flows.truncated), "last line that broke off, passed over"),
        ];
        let told = counts.into_iter().filter(|(count, _)| *count > 0);
        notes.extend(told.map(|(count, words)| format!("{count} {words}")));
    }
    notes
}

struct Judge<'a> {
    groups: &'a Groups,
    connectivity: &'a Connectivity,
}

impl Judge<'_> {
    /// Peers that an end stands for; none where none is in view.
    fn peers(&self, end: &End, direction: Direction) -> Vec<Peer> {
        let address = |address: IpAddr| self.connectivity.range_of(address, direction).map(Peer::Range);
        match end {
            End::Group(group) => {
                let members =
                    self.groups.get(*group).map(|group| group.members.as_slice()).unwrap_or_default();
                members.iter().map(|member| Peer::Workload(*member)).collect()
            }
            End::Pods { .. } => Vec::new(),
            End::AnyPod => controllers(self.connectivity).0,
            End::Block(net) => address(net.addr()).into_iter().collect(),
            End::World(Family::V4) => address(IpAddr::V4(Ipv4Addr::new(8, 8, 8, 8))).into_iter().collect(),
            End::World(Family::V6) => {
                address(IpAddr::V6(Ipv6Addr::new(0x2001, 0x4860, 0, 0, 0, 0, 0, 1))).into_iter().collect()
            }
            End::Anyone => {
                self.connectivity.ranges(direction).iter().map(|range| Peer::Range(*range)).collect()
            }
        }
    }

    fn allows(&self, from: &End, to: &End, ports: &ConnSet) -> bool {
        let destinations = self.peers(to, Direction::Egress);
        self.peers(from, Direction::Ingress).into_iter().all(|source| {
            destinations.iter().all(|destination| {
                let outside = |peer: &Peer| matches!(peer, Peer::Range(_));
                outside(&source) && outside(destination)
                    || self.connectivity.between(source, *destination).covers(ports)
            })
        })
    }

    /// Connections of the workloads that no need explains.
    fn extra(&self, needs: &Needs, view: &View<'_>) -> Vec<String> {
        let group = |peer: Peer| match peer {
            Peer::Workload(index) => self.groups.group_of(index),
            Peer::Range(_) => None,
        };
        let governed = |group: Option<usize>| {
            let group = group.and_then(|group| self.groups.get(group));
            group.is_some_and(|group| !group.host_network && (view.is_subject)(&group.namespace))
        };
        let mut found = Vec::new();
        for (source, destination, conn) in self.connectivity.rows().iter() {
            let (from, to) = (group(source), group(destination));
            if !governed(from) && !governed(to) {
                continue;
            }
            let mut needed = ConnSet::none();
            let mut take = |ends: (End, End)| {
                if let Some(shown) = needs.map.get(&ends) {
                    needed = needed.union(&shown.ports);
                }
            };
            match (from, to, source, destination) {
                (Some(from), Some(to), ..) => {
                    take((End::Group(from), End::Group(to)));
                    // Sources that are not governed themselves come in wherever anybody may.
                    if !governed(Some(from)) {
                        take((End::Anyone, End::Group(to)));
                        take((End::AnyPod, End::Group(to)));
                    }
                }
                (_, Some(to), Peer::Range(range), _) => {
                    for end in [End::Anyone, End::World(range.family)] {
                        take((end, End::Group(to)));
                    }
                    self.blocks(needs, &range, |from, net| (net, from), to, &mut take);
                }
                (Some(from), _, _, Peer::Range(range)) => {
                    take((End::Group(from), End::World(range.family)));
                    self.blocks(needs, &range, |from, net| (from, net), from, &mut take);
                }
                _ => continue,
            }
            let more = conn.subtract(&needed);
            if !more.is_empty() {
                if found.len() >= MAX_EXTRA {
                    found.push("and more".into());
                    break;
                }
                let name = |peer: Peer| match peer {
                    Peer::Workload(index) => {
                        self.connectivity.endpoints().get(index).map(ToString::to_string).unwrap_or_default()
                    }
                    Peer::Range(range) => format!("{range}[External]"),
                };
                let explained = self.connectivity.explain(source, destination);
                let decisions = [explained.egress, explained.ingress].into_iter().flatten();
                let mut by: Vec<String> = decisions
                    .flat_map(|side| side.decisions)
                    .filter(|decision| decision.action == "allow")
                    .map(|decision| decision.policy.to_string())
                    .collect();
                by.sort();
                by.dedup();
                found.push(format!("{} => {} : {more} ({})", name(source), name(destination), by.join(", ")));
            }
        }
        found.sort();
        found
    }

    /// Needs of a group with blocks that hold a range.
    fn blocks(
        &self,
        needs: &Needs,
        range: &crate::ip::IpRange,
        ends: impl Fn(End, End) -> (End, End),
        group: usize,
        take: &mut impl FnMut((End, End)),
    ) {
        for (from, to) in needs.map.keys() {
            let (own, other) = if matches!(from, End::Block(_)) { (to, from) } else { (from, to) };
            if *own == End::Group(group)
                && let End::Block(net) = other
                && crate::ip::IpRange::of(*net) == *range
            {
                take(ends(own.clone(), other.clone()));
            }
        }
    }
}

impl Suggestion {
    /// Connections by what happens to them: changed, added, removed.
    pub fn counts(&self) -> [usize; 3] {
        [ChangeKind::Changed, ChangeKind::Added, ChangeKind::Removed]
            .map(|kind| self.diff.of_kind(kind).count())
    }

    /// The policies, one document each.
    pub fn policies(&self) -> String {
        self.policies.iter().map(|policy| policy.document.yaml()).collect::<Vec<_>>().join("---\n")
    }

    /// True when, with the policies, nothing is open for the workloads that no need explains.
    pub fn is_exact(&self) -> bool {
        self.extra.is_empty()
    }
}
