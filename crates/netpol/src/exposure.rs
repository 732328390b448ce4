//! How far away the nearest possible caller of each workload is, with the evidence.
//!
//! A way in (an [`Entry`]) makes a workload *open* when policies admit the source that its packets carry. Without one,
//! what other namespaces and other workloads may send decides. What cannot be known is never taken for denied: it
//! raises [`WorkloadExposure::at_most`] and is told as a caveat.

use std::collections::{BTreeMap, BTreeSet};

use plimsoll_model::exposure::{Exposure, ExposureLevel, WorkloadName};
use plimsoll_model::time::Timestamp;

use crate::bits::Bits;
use crate::conn::ConnSet;
use crate::engine::{BlockPods, Connectivity, Direction, Endpoint, Options, Peer};
use crate::entries::{Entry, Source, controllers, entries};
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
    let mut ways: BTreeMap<usize, Vec<Entry>> = BTreeMap::new();
    for entry in entries(state, connectivity) {
        ways.entry(entry.workload).or_default().push(entry);
    }
    let (controllers, in_view) = controllers(connectivity);
    let context = Context {
        connectivity,
        options,
        controllers,
        in_view,
        reaches: connectivity.reach(),
        sources: connectivity.outside_columns(Direction::Ingress, |_| true),
        public_sources: connectivity.outside_columns(Direction::Ingress, |range| !range.is_private()),
        public_destinations: connectivity.outside_columns(Direction::Egress, |range| !range.is_private()),
    };
    connectivity
        .endpoints()
        .iter()
        .enumerate()
        .filter(|(_, endpoint)| !endpoint.assumed)
        .map(|(index, endpoint)| {
            context.judge(index, endpoint, ways.get(&index).map(Vec::as_slice).unwrap_or_default())
        })
        .collect()
}

/// Who may call a workload, in the nearest of each kind.
#[derive(Debug, Clone, Default)]
struct Callers {
    /// A workload of another namespace, and the ports.
    far: Option<(usize, ConnSet)>,
    /// A workload of the same namespace, and the ports.
    near: Option<(usize, ConnSet)>,
}

fn callers(connectivity: &Connectivity, index: usize, endpoint: &Endpoint) -> Callers {
    let endpoints = connectivity.endpoints();
    let mut callers = Callers::default();
    for (other, conn) in connectivity.callers(index) {
        let near = endpoints.get(other).is_some_and(|source| source.namespace == endpoint.namespace);
        let slot = if near { &mut callers.near } else { &mut callers.far };
        slot.get_or_insert((other, conn));
        // A caller from afar decides the level; a nearer one adds nothing to it.
        if callers.far.is_some() {
            break;
        }
    }
    callers
}

struct Context<'a> {
    connectivity: &'a Connectivity,
    options: &'a Options,
    controllers: Vec<Peer>,
    in_view: bool,
    reaches: Vec<u32>,
    sources: Bits,
    public_sources: Bits,
    public_destinations: Bits,
}

impl Context<'_> {
    fn judge(&self, index: usize, endpoint: &Endpoint, ways: &[Entry]) -> WorkloadExposure {
        let mut paths: Vec<(ExposureLevel, String)> = Vec::new();
        let mut caveats: BTreeSet<String> = BTreeSet::new();
        let (mut level, mut at_most) = (ExposureLevel::Isolated, ExposureLevel::Isolated);
        let mut ports = ConnSet::none();
        for way in ways {
            let reached = if way.internet { ExposureLevel::Open } else { ExposureLevel::Controlled };
            let from = if way.internet { "internet" } else { "private addresses" };
            caveats.extend(way.caveat.clone());
            match self.admitted(index, endpoint, way) {
                Admitted::Yes(open) => {
                    paths.push((reached, format!("{from} via {} to {open}", way.via)));
                    (level, at_most) = (level.max(reached), at_most.max(reached));
                    ports = ports.union(&open);
                }
                Admitted::Unknown(why) => {
                    caveats.insert(format!("{}: {why}", way.via));
                    at_most = at_most.max(reached);
                }
                Admitted::No => {}
            }
        }
        self.inside(index, endpoint, &mut paths, &mut ports);
        let inner = paths.iter().map(|(reached, _)| *reached).max().unwrap_or(ExposureLevel::Isolated);
        (level, at_most) = (level.max(inner), at_most.max(inner));
        at_most = at_most.max(self.uncertain(index, endpoint, &mut caveats));
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
        let internet = self.connectivity.with_columns(index, Direction::Egress, &self.public_destinations);
        WorkloadExposure {
            namespace: endpoint.namespace.clone(),
            kind: endpoint.kind.clone(),
            name: endpoint.name.clone(),
            objects: endpoint.objects.clone(),
            level,
            at_most,
            paths: paths.into_iter().map(|(_, path)| path).collect(),
            ports,
            caveats: caveats.into_iter().collect(),
            reaches: self.reaches.get(index).copied().unwrap_or_default(),
            ingress_policies: self.connectivity.selected_by(index, Direction::Ingress).len(),
            egress_policies: self.connectivity.selected_by(index, Direction::Egress).len(),
            reaches_internet: !internet.is_empty(),
        }
    }

    /// What policies say of a way in, for the source that its packets carry.
    fn admitted(&self, index: usize, endpoint: &Endpoint, way: &Entry) -> Admitted {
        let workload = Peer::Workload(index);
        let found = |conn: ConnSet| {
            let open = conn.intersect(&way.ports);
            if open.is_empty() { None } else { Some(Admitted::Yes(open)) }
        };
        if endpoint.host_network {
            // Policies are, as a rule, not enforced on the node's own network.
            return Admitted::Yes(way.ports.clone());
        }
        match way.source {
            Source::Client => found(self.outside_sends(index, way.internet)).unwrap_or(Admitted::No),
            Source::Node => {
                if !self.connectivity.is_selected(index, Direction::Ingress) {
                    return Admitted::Yes(way.ports.clone());
                }
                // The client's address may be kept (provider, same node); a node's own may match a block or not.
                if let Some(yes) = found(self.outside_sends(index, way.internet)) {
                    return yes;
                }
                if let Some(yes) = found(self.outside_sends(index, false)) {
                    return yes;
                }
                Admitted::Unknown(
                    "packets carry a node's address, and traffic from a pod's own node may pass its policies"
                        .into(),
                )
            }
            Source::Controller => {
                let all = self.controllers.iter().fold(ConnSet::none(), |all, controller| {
                    all.union(&self.connectivity.between(*controller, workload))
                });
                match (found(all), self.in_view) {
                    (Some(yes), _) => yes,
                    (None, true) => Admitted::No,
                    (None, false) => Admitted::Unknown(
                        "the ingress controller is not in view and policies admit none of the well-known ones".into(),
                    ),
                }
            }
        }
    }

    /// What the outside may send; with `internet`, public addresses only.
    fn outside_sends(&self, index: usize, internet: bool) -> ConnSet {
        let columns = if internet { &self.public_sources } else { &self.sources };
        self.connectivity.with_columns(index, Direction::Ingress, columns)
    }

    /// Paths from inside the cluster: workloads in view, and workloads that could be.
    fn inside(
        &self,
        index: usize,
        endpoint: &Endpoint,
        paths: &mut Vec<(ExposureLevel, String)>,
        ports: &mut ConnSet,
    ) {
        let name = |caller: usize| {
            self.connectivity.endpoints().get(caller).map(ToString::to_string).unwrap_or_default()
        };
        if !self.connectivity.is_selected(index, Direction::Ingress) {
            let path = format!("every pod of the cluster: no policy selects {} for ingress", endpoint);
            paths.push((ExposureLevel::Controlled, path));
            *ports = ports.union(&ConnSet::all());
            return;
        }
        let callers = callers(self.connectivity, index, endpoint);
        if let Some((caller, conn)) = &callers.far {
            paths.push((
                ExposureLevel::Controlled,
                format!("{} from another namespace to {conn}", name(*caller)),
            ));
            *ports = ports.union(conn);
        }
        // A pod without labels in a namespace that is not there stands for "any pod".
        let anyone = self.any_pod(index);
        if !anyone.is_empty() {
            paths.push((ExposureLevel::Controlled, format!("any pod of the cluster to {anyone}")));
            *ports = ports.union(&anyone);
        }
        if let Some((caller, conn)) = &callers.near {
            paths
                .push((ExposureLevel::Small, format!("{} from the same namespace to {conn}", name(*caller))));
            *ports = ports.union(conn);
        }
        let replicas = self.connectivity.between(Peer::Workload(index), Peer::Workload(index));
        if !replicas.is_empty() {
            paths.push((ExposureLevel::Small, format!("its own replicas to {replicas}")));
        }
    }

    fn any_pod(&self, index: usize) -> ConnSet {
        let (namespace, name) = crate::engine::ASSUMED_CONTROLLER;
        let endpoints = self.connectivity.endpoints();
        let stranger = endpoints.iter().position(|endpoint| {
            endpoint.assumed && endpoint.namespace == namespace && endpoint.name == name
        });
        stranger.map_or_else(ConnSet::none, |stranger| {
            self.connectivity.between(Peer::Workload(stranger), Peer::Workload(index))
        })
    }

    /// What keeps the answer from being certain, and the level that it allows.
    fn uncertain(&self, index: usize, endpoint: &Endpoint, caveats: &mut BTreeSet<String>) -> ExposureLevel {
        let mut most = ExposureLevel::Isolated;
        if endpoint.host_network {
            caveats.insert("uses the node's network, where policies are as a rule not enforced".into());
            most = ExposureLevel::Open;
        }
        let selected = self.connectivity.is_selected(index, Direction::Ingress);
        if selected {
            caveats.insert("traffic from the pod's own node is always allowed".into());
            if self.options.block_pods != BlockPods::Match && self.blocks_admit(index) {
                caveats
                    .insert("whether an ipBlock matches pods and nodes depends on the network plugin".into());
                most = most.max(ExposureLevel::Controlled);
            }
        }
        for warning in self.connectivity.warnings() {
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
                }
                _ => {}
            }
        }
        most
    }

    /// True when policies admit some address block: its addresses may be pods' or nodes'.
    fn blocks_admit(&self, index: usize) -> bool {
        !self.outside_sends(index, false).is_empty()
    }
}
