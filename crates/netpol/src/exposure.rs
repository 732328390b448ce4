//! How far away the nearest possible caller of each workload is, with the evidence.
//!
//! A way in (an [`Entry`]) makes a workload *open* when policies admit the source that its packets carry. Without one,
//! what other namespaces and other workloads may send decides. What cannot be known is never taken for denied: it
//! raises [`WorkloadExposure::at_most`] and is told as a caveat.

mod by_node;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use plimsoll_model::exposure::{Exposure, ExposureLevel, WorkloadName};
use plimsoll_model::time::Timestamp;
use rustc_hash::FxHashMap;

use crate::bits::Bits;
use crate::conn::{ConnId, ConnSet, ConnTable};
use crate::engine::{Connectivity, Direction, Endpoint, Options, Peer, Warning};
use crate::entries::{Entry, Source, Ways, controllers};
use crate::objects::ObjectKey;
use crate::state::ClusterState;

/// The exposure of one workload, as far as declared objects tell it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkloadExposure {
    pub namespace: String,
    /// Kind as printed, such as `Deployment`.
    pub kind: String,
    pub name: String,
    /// Objects that make the workload up.
    pub objects: Vec<ObjectKey>,
    /// What is established.
    pub level: ExposureLevel,
    /// The level if everything unknown were open; never below `level`. Risk takes this one.
    pub at_most: ExposureLevel,
    /// The evidence, most open first.
    pub paths: Vec<String>,
    /// Ports of the pods that the paths reach.
    pub ports: ConnSet,
    /// Ports that the internet reaches.
    pub internet_ports: ConnSet,
    /// Any pod of the cluster may reach it, whatever its labels and namespace.
    pub from_any_pod: bool,
    /// Where declared policy may differ from what is enforced, or the view from the cluster.
    pub caveats: Vec<String>,
    /// Other workloads that this one may connect to.
    pub reaches: u32,
    /// Policies that select it, by direction.
    pub ingress_policies: usize,
    pub egress_policies: usize,
    /// It may connect to addresses outside the cluster.
    pub reaches_internet: bool,
}

impl WorkloadExposure {
    /// The workload as printed, such as `shop/web[Deployment]`.
    pub fn printed(&self) -> String {
        format!("{}/{}[{}]", self.namespace, self.name, self.kind)
    }

    /// The name across clusters.
    pub fn workload_name(&self, cluster: &str) -> WorkloadName {
        WorkloadName {
            cluster: cluster.to_owned(),
            namespace: self.namespace.clone(),
            kind: self.kind.clone(),
            name: self.name.clone(),
        }
    }

    /// The fact for risk: its level is [`WorkloadExposure::at_most`], so that what is unknown never lowers anything.
    pub fn fact(&self, as_of: Timestamp, complete: bool, enforced: bool) -> Exposure {
        let mut caveats = self.caveats.clone();
        if self.at_most > self.level {
            caveats.insert(
                0,
                format!(
                    "established: {}; {} cannot be ruled out",
                    self.level.as_str(),
                    self.at_most.as_str()
                ),
            );
        }
        Exposure {
            level: self.at_most,
            paths: self.paths.clone(),
            caveats,
            reaches: self.reaches,
            as_of,
            complete,
            enforced,
        }
    }
}

/// What policies say about a way in.
enum Admitted {
    Yes(ConnSet),
    /// Why it cannot be told.
    Unknown(String),
    No,
}

/// The exposure of every workload, by printed name.
///
/// `options` are those that `connectivity` was built with.
pub fn exposures(
    state: &ClusterState,
    connectivity: &Connectivity,
    options: &Options,
) -> Vec<WorkloadExposure> {
    let ways = Ways::of(state);
    let (controllers, in_view) = controllers(connectivity);
    let mut conns = connectivity.table();
    let outside = Outside::of(connectivity, &connectivity.assumed());
    let mut judge = Judge::new(connectivity, options, &controllers, in_view, &outside, &mut conns);
    let reaches = connectivity.reach();
    let order = connectivity.order().iter().map(|index| *index as usize);
    order
        .filter_map(|index| {
            let (mut judged, _) = judge.judge(index, &ways.entries(state, connectivity, index), None)?;
            judged.reaches = reaches.get(index).copied().unwrap_or_default();
            Some(judged)
        })
        .collect()
}

/// Who may call a workload: the first by name from another namespace or, without one, from its own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Callers {
    pub(crate) far: Option<u32>,
    pub(crate) near: Option<u32>,
}

/// Rows of admitted classes up to which every caller is looked at; past it, workloads are asked in order of name.
const NARROW: usize = 256;

/// What judging needs to know of a connectivity as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Outside {
    sources: Bits,
    public_sources: Bits,
    /// Sources among which addresses of pods or nodes may be.
    inner_sources: Bits,
    /// Columns of the addresses of nodes, each with the first node by name and its address there.
    nodes: Vec<(usize, String, IpAddr)>,
    public_destinations: Bits,
    /// The assumed pod that stands for any pod.
    stranger: Option<usize>,
}

impl Outside {
    /// `assumed` are the numbers of the assumed peers.
    pub(crate) fn of(connectivity: &Connectivity, assumed: &[u32]) -> Self {
        let (namespace, name) = crate::engine::ASSUMED_CONTROLLER;
        let public = |range: &crate::ip::IpRange| !range.is_private();
        let is_stranger = |index: &u32| {
            let found = connectivity.endpoints().get(*index as usize);
            found.is_some_and(|endpoint| endpoint.namespace == namespace && endpoint.name == name)
        };
        let nodes = connectivity.nodes();
        let inner = |range: &crate::ip::IpRange| nodes.may_hold_pod(*range) || nodes.may_hold_node(*range);
        Self {
            inner_sources: connectivity.outside_columns(Direction::Ingress, inner),
            nodes: by_node::columns(connectivity),
            sources: connectivity.outside_columns(Direction::Ingress, |_| true),
            public_sources: connectivity.outside_columns(Direction::Ingress, public),
            public_destinations: connectivity.outside_columns(Direction::Egress, public),
            stranger: assumed.iter().find(|index| is_stranger(index)).map(|index| *index as usize),
        }
    }
}

/// Judges workloads of one connectivity, one by one.
pub(crate) struct Judge<'a> {
    connectivity: &'a Connectivity,
    options: &'a Options,
    controllers: &'a [Peer],
    in_view: bool,
    outside: &'a Outside,
    /// Warnings that are caveats of workloads.
    doubts: Vec<&'a Warning>,
    conns: &'a mut ConnTable,
    /// What follows from the rows of a workload alone, by rows: classes that they admit anything from.
    admitted: FxHashMap<Vec<u32>, Arc<Bits>>,
    /// The same: what may be exchanged with some of the outside.
    exchanged: FxHashMap<(Vec<u32>, Range), ConnSet>,
    /// The same: what each of [`Outside::nodes`] may send.
    sent: FxHashMap<Vec<u32>, Arc<Vec<ConnSet>>>,
    consulted: Consulted,
}

/// What of the nodes the exposure that was judged last depends on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Consulted {
    /// [`Outside`], and whether there are nodes and all of them.
    pub(crate) outside: bool,
    /// Names and addresses of single nodes.
    pub(crate) places: bool,
}

/// Which of the outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Range {
    Sources,
    PublicSources,
    InnerSources,
    PublicDestinations,
}

/// True for a warning that every workload's exposure tells.
pub(crate) fn is_doubt(warning: &&Warning) -> bool {
    matches!(warning.code, "policy_not_analysed" | "namespace_labels_unknown" | "peer_not_analysed")
}

impl<'a> Judge<'a> {
    /// `conns` starts as the connectivity's own table, and may grow.
    pub(crate) fn new(
        connectivity: &'a Connectivity,
        options: &'a Options,
        controllers: &'a [Peer],
        in_view: bool,
        outside: &'a Outside,
        conns: &'a mut ConnTable,
    ) -> Self {
        Self {
            connectivity,
            options,
            controllers,
            in_view,
            outside,
            doubts: connectivity.warnings().iter().filter(is_doubt).collect(),
            conns,
            admitted: FxHashMap::default(),
            exchanged: FxHashMap::default(),
            sent: FxHashMap::default(),
            consulted: Consulted::default(),
        }
    }

    /// What of the nodes the exposure that was judged last depends on.
    pub(crate) fn consulted(&self) -> Consulted {
        self.consulted
    }

    /// The exposure of a workload, without how many it reaches, and who may call it. None for an assumed peer. `known`
    /// are its callers where they were found before and are still the first.
    pub(crate) fn judge(
        &mut self,
        index: usize,
        ways: &[Entry],
        known: Option<Callers>,
    ) -> Option<(WorkloadExposure, Callers)> {
        let connectivity = self.connectivity;
        let endpoint = connectivity.endpoints().get(index).filter(|endpoint| !endpoint.assumed)?;
        self.consulted = Consulted::default();
        let mut paths: Vec<(ExposureLevel, String)> = Vec::new();
        let mut caveats: BTreeSet<String> = BTreeSet::new();
        let (mut level, mut at_most) = (ExposureLevel::Isolated, ExposureLevel::Isolated);
        let (mut ports, mut internet_ports) = (ConnSet::none(), ConnSet::none());
        for way in ways {
            let reached = if way.internet { ExposureLevel::Open } else { ExposureLevel::Controlled };
            let from = if way.internet { "internet" } else { "private addresses" };
            caveats.extend(way.caveat.clone().filter(|_| way.certain));
            let (admitted, carried) = self.admitted(index, endpoint, way);
            let admitted = match (admitted, &way.caveat) {
                (Admitted::Yes(_), Some(why)) if !way.certain => Admitted::Unknown(why.clone()),
                (admitted, _) => admitted,
            };
            match admitted {
                Admitted::Yes(open) => {
                    let mut path = format!("{from} via {} to {open}", way.via);
                    if let Some((node, address)) = &carried {
                        path.push_str(&format!("; packets carry {address} of {node}, which policies admit"));
                    }
                    path.extend(self.public_node(endpoint, way, &mut caveats));
                    paths.push((reached, path));
                    (level, at_most) = (level.max(reached), at_most.max(reached));
                    ports = ports.union(&open);
                    if way.internet {
                        internet_ports = internet_ports.union(&open);
                    }
                }
                Admitted::Unknown(why) => {
                    caveats.insert(format!("{}: {why}", way.via));
                    at_most = at_most.max(reached);
                }
                Admitted::No => {}
            }
        }
        let callers = self.inside(index, endpoint, known, &mut paths, &mut ports);
        let inner = paths.iter().map(|(reached, _)| *reached).max().unwrap_or(ExposureLevel::Isolated);
        (level, at_most) = (level.max(inner), at_most.max(inner));
        at_most = at_most.max(self.uncertain(index, endpoint, ways, &mut caveats));
        paths.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
        paths.dedup();
        let best = paths.first().map(|(reached, _)| *reached);
        if paths.is_empty() {
            let policies = self.connectivity.selected_by(index, Direction::Ingress);
            let named: Vec<String> = policies.iter().take(3).map(ToString::to_string).collect();
            paths.push((
                ExposureLevel::Isolated,
                format!("no workload in view may reach it: {}", named.join(", ")),
            ));
        } else if best < Some(ExposureLevel::Open) && ways.is_empty() {
            caveats.insert("no way in from outside the cluster is in view".into());
        }
        let internet = self.exchanged(index, Range::PublicDestinations);
        let exposure = WorkloadExposure {
            namespace: endpoint.namespace.clone(),
            kind: endpoint.kind.clone(),
            name: endpoint.name.clone(),
            objects: endpoint.objects.clone(),
            level,
            at_most,
            paths: paths.into_iter().map(|(_, path)| path).collect(),
            ports,
            internet_ports,
            from_any_pod: !self.connectivity.is_selected(index, Direction::Ingress)
                || !self.any_pod(index).is_empty(),
            caveats: caveats.into_iter().collect(),
            reaches: 0,
            ingress_policies: self.connectivity.selected_count(index, Direction::Ingress),
            egress_policies: self.connectivity.selected_count(index, Direction::Egress),
            reaches_internet: !internet.is_empty(),
        };
        Some((exposure, callers))
    }

    /// What policies say of a way in, for the source that its packets carry. Where that is the address of a node in
    /// view that policies admit, the node and the address.
    fn admitted(
        &mut self,
        index: usize,
        endpoint: &Endpoint,
        way: &Entry,
    ) -> (Admitted, Option<(String, IpAddr)>) {
        let open = |conn: ConnSet| Some(conn.intersect(&way.ports)).filter(|open| !open.is_empty());
        if endpoint.host_network {
            // Policies are, as a rule, not enforced on the node's own network.
            return (Admitted::Yes(way.ports.clone()), None);
        }
        let admitted = match way.source {
            Source::Client => {
                open(self.outside_sends(index, way.internet)).map_or(Admitted::No, Admitted::Yes)
            }
            Source::Node => {
                if !self.connectivity.is_selected(index, Direction::Ingress) {
                    return (Admitted::Yes(way.ports.clone()), None);
                }
                self.consulted.outside = true;
                let any_node = self.node_sends(index, None, &way.ports);
                // The client's address may be kept (provider, same node).
                if let Some(yes) = open(self.outside_sends(index, way.internet)) {
                    let all = any_node.as_ref().is_some_and(|(.., sent)| yes.subtract(sent).is_empty());
                    return (Admitted::Yes(yes), any_node.filter(|_| all).map(|(node, at, _)| (node, at)));
                }
                if let Some((node, address, sent)) = any_node {
                    return (Admitted::Yes(sent), Some((node, address)));
                }
                let known = !self.connectivity.nodes().is_empty();
                match open(self.outside_sends(index, false)) {
                    // A node's address may be in a block or not.
                    Some(yes) if !known => Admitted::Yes(yes),
                    _ => Admitted::Unknown(format!(
                        "packets carry a node's address, {}and traffic from a pod's own node may pass its policies",
                        if known { "which policies admit of none in view, " } else { "" }
                    )),
                }
            }
            Source::Controller => return self.controllers_send(index, way),
        };
        (admitted, None)
    }

    /// What the outside may send; with `internet`, public addresses only.
    fn outside_sends(&mut self, index: usize, internet: bool) -> ConnSet {
        self.exchanged(index, if internet { Range::PublicSources } else { Range::Sources })
    }

    fn exchanged(&mut self, index: usize, range: Range) -> ConnSet {
        let (direction, columns) = match range {
            Range::Sources => (Direction::Ingress, &self.outside.sources),
            Range::PublicSources => (Direction::Ingress, &self.outside.public_sources),
            Range::InnerSources => (Direction::Ingress, &self.outside.inner_sources),
            Range::PublicDestinations => (Direction::Egress, &self.outside.public_destinations),
        };
        let (connectivity, conns) = (self.connectivity, &mut *self.conns);
        let known = self.exchanged.entry((connectivity.rows_of(index, direction), range));
        known.or_insert_with(|| connectivity.with_outside(index, direction, columns, conns)).clone()
    }

    fn between(&mut self, source: usize, destination: usize) -> ConnSet {
        let conn = self.connectivity.between_ids(source as u32, destination as u32, self.conns);
        self.conns.get(conn).clone()
    }

    /// The first callers by name, and what they may send.
    fn callers(&mut self, index: usize, endpoint: &Endpoint) -> (Callers, ConnSet) {
        let connectivity = self.connectivity;
        let endpoints = connectivity.endpoints();
        let rows = connectivity.rows_of(index, Direction::Ingress);
        let admitted = self
            .admitted
            .entry(rows)
            .or_insert_with(|| Arc::new(connectivity.admitted_classes(index, self.conns)));
        let admitted = Arc::clone(admitted);
        let printed = |id: &u32| endpoints.get(*id as usize).map(|endpoint| endpoint.printed.as_ref());
        let mut found = Callers::default();
        let mut sent = [ConnId::NONE; 2];
        // Gives true when the caller is from afar.
        let mut consider = |id: u32, conns: &mut ConnTable| {
            let Some(source) = endpoints.get(id as usize).filter(|_| id as usize != index) else {
                return false;
            };
            let far = source.namespace != endpoint.namespace;
            // A nearer caller adds nothing to one from afar.
            if !far && found.far.is_some() {
                return false;
            }
            let slot = if far { &mut found.far } else { &mut found.near };
            if slot.is_some_and(|known| printed(&known) <= printed(&id)) {
                return false;
            }
            let conn = connectivity.between_ids(id, index as u32, conns);
            if conn != ConnId::NONE {
                *slot = Some(id);
                let [afar, close] = &mut sent;
                *(if far { afar } else { close }) = conn;
                return far;
            }
            false
        };
        if admitted.count() <= NARROW {
            for class in admitted.iter() {
                connectivity.members(class).iter().for_each(|id| {
                    consider(*id, self.conns);
                });
            }
        } else {
            for id in connectivity.order() {
                let classes = connectivity.classes_at(*id as usize);
                // The order is that of names: the first from afar decides.
                if classes.iter().any(|class| admitted.has(*class as usize)) && consider(*id, self.conns) {
                    break;
                }
            }
        }
        if found.far.is_some() {
            found.near = None;
        }
        let [afar, close] = sent;
        let conn = if found.far.is_some() { afar } else { close };
        (found, self.conns.get(conn).clone())
    }

    /// Paths from inside the cluster: workloads in view, and workloads that could be.
    fn inside(
        &mut self,
        index: usize,
        endpoint: &Endpoint,
        known: Option<Callers>,
        paths: &mut Vec<(ExposureLevel, String)>,
        ports: &mut ConnSet,
    ) -> Callers {
        if !self.connectivity.is_selected(index, Direction::Ingress) {
            let path = format!("every pod of the cluster: no policy selects {} for ingress", endpoint);
            paths.push((ExposureLevel::Controlled, path));
            *ports = ports.union(&ConnSet::all());
            return Callers::default();
        }
        let connectivity = self.connectivity;
        let (callers, conn) = match known {
            Some(known) => {
                let first = known.far.or(known.near);
                let conn = first.map(|source| self.between(source as usize, index)).unwrap_or_default();
                (known, conn)
            }
            None => self.callers(index, endpoint),
        };
        let name = |caller: u32| {
            connectivity.endpoints().get(caller as usize).map(ToString::to_string).unwrap_or_default()
        };
        if let Some(caller) = callers.far {
            paths.push((
                ExposureLevel::Controlled,
                format!("{} from another namespace to {conn}", name(caller)),
            ));
            *ports = ports.union(&conn);
        }
        // A pod without labels in a namespace that is not there stands for "any pod".
        let anyone = self.any_pod(index);
        if !anyone.is_empty() {
            paths.push((ExposureLevel::Controlled, format!("any pod of the cluster to {anyone}")));
            *ports = ports.union(&anyone);
        }
        // The node itself, and whatever uses its network.
        if !self.outside_sends(index, false).subtract(&anyone).is_empty() {
            self.consulted.outside = true;
            let rest = ConnSet::all().subtract(&anyone);
            if let Some((node, address, sent)) = self.node_sends(index, None, &rest) {
                let path = format!("{node} and what uses its network, from {address}, to {sent}");
                paths.push((ExposureLevel::Controlled, path));
                *ports = ports.union(&sent);
            }
        }
        if let Some(caller) = callers.near {
            paths.push((ExposureLevel::Small, format!("{} from the same namespace to {conn}", name(caller))));
            *ports = ports.union(&conn);
        }
        let replicas = self.between(index, index);
        if !replicas.is_empty() {
            paths.push((ExposureLevel::Small, format!("its own replicas to {replicas}")));
        }
        callers
    }

    fn any_pod(&mut self, index: usize) -> ConnSet {
        match self.outside.stranger {
            Some(stranger) => self.between(stranger, index),
            None => ConnSet::none(),
        }
    }

    /// What keeps the answer from being certain, and the level that it allows.
    fn uncertain(
        &mut self,
        index: usize,
        endpoint: &Endpoint,
        ways: &[Entry],
        caveats: &mut BTreeSet<String>,
    ) -> ExposureLevel {
        let mut most = ExposureLevel::Isolated;
        if endpoint.host_network {
            caveats.insert("uses the node's network, where policies are as a rule not enforced".into());
            most = ExposureLevel::Open;
        }
        let selected = self.connectivity.is_selected(index, Direction::Ingress);
        if selected {
            caveats.insert("traffic from the pod's own node is always allowed".into());
            most = most.max(self.blocks_unclear(index, caveats));
        }
        for warning in &self.doubts {
            match warning.code {
                "policy_not_analysed" => {
                    caveats.insert(format!("{} is not analysed", warning.object));
                }
                "namespace_labels_unknown" if selected => {
                    caveats.insert(format!("labels of {} are not in view", warning.object));
                    most = most.max(ExposureLevel::Controlled);
                }
                "peer_not_analysed" => {
                    caveats.insert(format!("{}: {}", warning.object, warning.message));
                    most = most.max(self.may_admit_more(index, ways, warning));
                }
                _ => {}
            }
        }
        most
    }

    /// Whom a rule for ingress may let in whose peers cannot be told: the nodes that are not in view may have any address.
    fn may_admit_more(&self, index: usize, ways: &[Entry], warning: &Warning) -> ExposureLevel {
        let ingress = warning.rule.is_some_and(|(direction, _)| direction == Direction::Ingress);
        let selected = self.connectivity.selected_by(index, Direction::Ingress);
        match ingress && selected.contains(&&warning.object) {
            true if ways.iter().any(|way| way.internet) => ExposureLevel::Open,
            true => ExposureLevel::Controlled,
            false => ExposureLevel::Isolated,
        }
    }
}
