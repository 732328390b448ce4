//! Observed flows become needs: which workload each end is.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;
use rustc_hash::FxHashMap;

use crate::conn::ConnSet;
use crate::engine::{Connectivity, Endpoint};
use crate::ip::{Family, IpRange};
use crate::objects::{Meta, Object, Workload, WorkloadKind};
use crate::selector::Labels;

use super::flows::{Flow, FlowEnd, Flows};
use super::groups::Groups;
use super::needs::{Cause, End, Needs};
use super::resolve::{Resolver, is_metadata};

/// Most addresses that one workload's rule lists for a port; beyond it, every public address.
const MAX_ADDRESSES: usize = 16;
/// Most private addresses, which are listed one by one.
const MAX_PRIVATE: usize = 256;

/// Finds the workload of an end by what is known of it.
pub(super) struct Finder<'a> {
    connectivity: &'a Connectivity,
    /// By namespace and name of the workload.
    by_name: FxHashMap<(&'a str, &'a str), Vec<usize>>,
    by_pod: FxHashMap<(&'a str, &'a str), usize>,
    /// By namespace and the first label of a pod.
    by_label: FxHashMap<(&'a str, &'a str, &'a str), Vec<usize>>,
}

fn stable(labels: &Labels) -> impl Iterator<Item = (&String, &String)> + Clone {
    labels.iter().filter(|(key, _)| super::groups::is_stable(key))
}

impl<'a> Finder<'a> {
    pub(super) fn new(connectivity: &'a Connectivity) -> Self {
        let (mut by_name, mut by_pod, mut by_label) =
            (FxHashMap::default(), FxHashMap::default(), FxHashMap::default());
        for (index, endpoint) in
            connectivity.endpoints().iter().enumerate().filter(|(_, found)| !found.assumed)
        {
            let namespace = endpoint.namespace.as_str();
            let named: &mut Vec<usize> = by_name.entry((namespace, endpoint.name.as_str())).or_default();
            named.push(index);
            for key in endpoint.objects.iter().filter(|key| key.kind == "Pod") {
                by_pod.insert((namespace, key.name.as_str()), index);
            }
            for (key, value) in endpoint.pod_labels.iter().filter_map(|labels| stable(labels).next()) {
                let labelled: &mut Vec<usize> =
                    by_label.entry((namespace, key.as_str(), value.as_str())).or_default();
                labelled.push(index);
            }
        }
        Self { connectivity, by_name, by_pod, by_label }
    }

    /// The workload; none when it is not in view.
    pub(super) fn find(&self, end: &FlowEnd) -> Option<usize> {
        let namespace = end.namespace.as_str();
        let endpoints = self.connectivity.endpoints();
        if let Some((kind, name)) = &end.workload {
            let named = self.by_name.get(&(namespace, name.as_str()))?;
            let same = |index: &&usize| {
                kind.is_empty() || endpoints.get(**index).is_some_and(|found| found.kind == *kind)
            };
            return named.iter().find(same).copied();
        }
        if let Some(index) = self.by_pod.get(&(namespace, end.pod.as_str())) {
            return Some(*index);
        }
        let candidates = end
            .labels
            .iter()
            .filter_map(|(key, value)| self.by_label.get(&(namespace, key.as_str(), value.as_str())));
        let scored =
            candidates.flatten().filter_map(|index| Some((fit(end, endpoints.get(*index)?)?, *index)));
        scored.max_by_key(|(score, index)| (*score, usize::MAX - *index)).map(|(_, index)| index)
    }
}

/// How well the labels and the name of a pod fit a workload; none when they do not.
fn fit(end: &FlowEnd, endpoint: &Endpoint) -> Option<(usize, bool)> {
    let shared = |labels: &Labels| {
        let mut pairs = stable(labels);
        let count = pairs.clone().count();
        pairs.all(|(key, value)| end.labels.get(key) == Some(value)).then_some(count)
    };
    let count = endpoint.pod_labels.iter().filter_map(shared).max().filter(|count| *count > 0)?;
    let rest = end.pod.strip_prefix(endpoint.name.as_str());
    Some((count, rest.is_some_and(|rest| rest.starts_with('-'))))
}

/// Workloads that only flows tell of, as objects: without them a suggestion could not speak of them.
pub(super) fn unseen(flows: &Flows, connectivity: &Connectivity) -> Vec<Object> {
    let finder = Finder::new(connectivity);
    let ends: BTreeSet<&FlowEnd> = flows
        .seen
        .keys()
        .flat_map(|flow| [&flow.source, &flow.destination])
        .filter(|end| !end.namespace.is_empty())
        .collect();
    let mut found: BTreeMap<(String, String, WorkloadKind), Labels> = BTreeMap::new();
    for end in ends {
        if finder.find(end).is_some() || end.labels.is_empty() {
            continue;
        }
        let kinds = [
            WorkloadKind::Deployment,
            WorkloadKind::StatefulSet,
            WorkloadKind::DaemonSet,
            WorkloadKind::ReplicaSet,
            WorkloadKind::Job,
            WorkloadKind::CronJob,
        ];
        let (kind, name) = match &end.workload {
            Some((kind, name)) => (
                kinds.into_iter().find(|known| known.as_str() == kind).unwrap_or(WorkloadKind::Pod),
                name.clone(),
            ),
            None => (WorkloadKind::Pod, name_of(end)),
        };
        let labels = found.entry((end.namespace.clone(), name, kind)).or_insert_with(|| end.labels.clone());
        labels.retain(|key, value| end.labels.get(key) == Some(value));
    }
    let object = |((namespace, name, kind), pod_labels): ((String, String, WorkloadKind), Labels)| {
        Object::Workload(Workload {
            meta: Meta { namespace, name, source: Some("observed flows".into()), ..Meta::default() },
            kind,
            pod_labels,
            containers: Vec::new(),
            host_network: false,
            service_account: None,
            pod_ips: Vec::new(),
            node: None,
            host_ip: None,
            replicas: None,
        })
    };
    found.into_iter().map(object).collect()
}

fn name_of(end: &FlowEnd) -> String {
    let known = ["app.kubernetes.io/name", "app", "k8s-app"].iter().find_map(|key| end.labels.get(*key));
    known.cloned().unwrap_or_else(|| end.pod.clone())
}

/// How an end of a flow is to be treated.
enum Place {
    Is(Vec<(End, ConnSet)>),
    /// Not governed by policy: the pod's own node, health checks.
    Free,
    Outside(IpAddr),
    Unknown(String),
}

fn place(
    end: &FlowEnd,
    served: Option<(&Flow, &ConnSet)>,
    resolver: &Resolver<'_>,
    (groups, finder): (&Groups, &Finder<'_>),
) -> Place {
    let ports = served.map(|(_, ports)| ports.clone()).unwrap_or_default();
    if !end.namespace.is_empty() {
        return match finder.find(end).and_then(|workload| groups.group_of(workload)) {
            Some(group) => Place::Is(vec![(End::Group(group), ports)]),
            None => Place::Unknown(format!("{}/{}", end.namespace, end.pod)),
        };
    }
    let is = |word: &str| end.reserved.iter().any(|reserved| reserved == word);
    let beyond = is("remote-node") || is("kube-apiserver") || is("world");
    if (is("host") && !beyond) || is("health") {
        return Place::Free;
    }
    if let Some((flow, _)) = served {
        let named = end.service.as_ref().or_else(|| resolver.at_address(end.address?));
        if let Some(name) = named {
            let behind = resolver.behind(name, flow.port, flow.protocol);
            let ends: Vec<(End, ConnSet)> = behind
                .into_iter()
                .filter_map(|(workload, ports)| Some((End::Group(groups.group_of(workload)?), ports)))
                .collect();
            if !ends.is_empty() {
                return Place::Is(ends);
            }
        }
    }
    match end.address {
        Some(address) => Place::Outside(address),
        None => Place::Unknown(end.reserved.join(",")),
    }
}

/// Adds what was seen to the needs. Gives flows that were dropped, as ends with their ports.
pub(super) fn observed(
    flows: &Flows,
    needs: &mut Needs,
    resolver: &Resolver<'_>,
    view: (&Groups, &Connectivity),
) -> BTreeMap<(End, End), ConnSet> {
    let mut dropped: BTreeMap<(End, End), ConnSet> = BTreeMap::new();
    // Addresses outside by workload, direction and port.
    let mut outside: BTreeMap<(usize, bool, ConnSet), BTreeSet<IpAddr>> = BTreeMap::new();
    let finder = Finder::new(view.1);
    let (mut sightings, mut strangers) = (BTreeMap::new(), BTreeMap::new());
    for (flow, count) in &flows.seen {
        let ports = ConnSet::range(flow.protocol, flow.port, flow.port);
        let source = place(&flow.source, None, resolver, (view.0, &finder));
        let destination = place(&flow.destination, Some((flow, &ports)), resolver, (view.0, &finder));
        let pairs: Vec<((End, End), ConnSet)> = match (source, destination) {
            (Place::Free, _) | (_, Place::Free) | (Place::Outside(_), Place::Outside(_)) => continue,
            (Place::Unknown(name), _) | (_, Place::Unknown(name)) => {
                *strangers.entry((name, ports.to_string())).or_insert(0u64) += count;
                continue;
            }
            (Place::Is(from), Place::Is(to)) => {
                let pair =
                    |from: &End, (to, ports): &(End, ConnSet)| ((from.clone(), to.clone()), ports.clone());
                from.iter().flat_map(|(from, _)| to.iter().map(|to| pair(from, to))).collect()
            }
            (Place::Is(from), Place::Outside(address)) => {
                if flow.dropped {
                    from.into_iter().map(|(from, _)| ((from, block(address)), ports.clone())).collect()
                } else {
                    for (from, _) in from {
                        if let End::Group(group) = from {
                            outside.entry((group, true, ports.clone())).or_default().insert(address);
                        }
                    }
                    continue;
                }
            }
            (Place::Outside(address), Place::Is(to)) => {
                if flow.dropped {
                    to.into_iter().map(|(to, ports)| ((block(address), to), ports)).collect()
                } else {
                    for (to, ports) in to {
                        if let End::Group(group) = to {
                            outside.entry((group, false, ports)).or_default().insert(address);
                        }
                    }
                    continue;
                }
            }
        };
        for (ends, ports) in pairs {
            if flow.dropped {
                let all = dropped.entry(ends).or_default();
                *all = all.union(&ports);
            } else {
                let (all, times) = sightings.entry(ends).or_insert_with(|| (ConnSet::none(), 0u64));
                *all = all.union(&ports);
                *times += count;
            }
        }
    }
    for (ends, (ports, times)) in sightings {
        needs.add(ends, &ports, &format!("seen in {times} flows"), view);
    }
    for ((group, out, ports), addresses) in outside {
        addresses_of(needs, (group, out), &ports, &addresses, view);
    }
    for ((name, ports), times) in strangers {
        let detail = format!("{ports}, seen in {times} flows: neither labels nor an address say who it is");
        needs.gap(Cause::Unlabelled, "", name, detail);
    }
    dropped
}

fn block(address: IpAddr) -> End {
    End::Block(IpNet::from(address))
}

fn addresses_of(
    needs: &mut Needs,
    (group, out): (usize, bool),
    ports: &ConnSet,
    addresses: &BTreeSet<IpAddr>,
    view: (&Groups, &Connectivity),
) {
    let ends = |other: End| if out { (End::Group(group), other) } else { (other, End::Group(group)) };
    let (private, public): (Vec<&IpAddr>, Vec<&IpAddr>) =
        addresses.iter().partition(|address| IpRange::of(IpNet::from(**address)).is_private());
    for family in [Family::V4, Family::V6] {
        let of: Vec<&IpAddr> =
            public.iter().filter(|address| address.is_ipv4() == (family == Family::V4)).copied().collect();
        if of.len() > MAX_ADDRESSES {
            let evidence = format!("seen with {} public addresses", of.len());
            needs.add(ends(End::World(family)), ports, &evidence, view);
        } else {
            for address in of {
                needs.add(ends(block(*address)), ports, "seen in flows", view);
            }
        }
    }
    for (count, address) in private.into_iter().enumerate() {
        let name = End::Group(group).name(view.0, view.1);
        if out && is_metadata(*address) {
            needs.gap(Cause::Metadata, name, address.to_string(), format!("{ports}, seen in flows"));
        } else if count >= MAX_PRIVATE {
            let detail = format!("{ports}, seen in flows with more than {MAX_PRIVATE} private addresses");
            needs.gap(Cause::TooMany, name, address.to_string(), detail);
        } else {
            needs.add(ends(block(*address)), ports, "seen in flows", view);
        }
    }
}
