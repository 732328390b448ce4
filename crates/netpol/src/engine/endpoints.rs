//! Which pods belong to which workload.

use std::net::IpAddr;
use std::sync::{Arc, LazyLock};

use rustc_hash::{FxHashMap, FxHashSet};

use crate::conn::Protocol;
use crate::nodes::Places;
use crate::objects::{Container, Object, ObjectKey, Workload, WorkloadKind};
use crate::paged::Paged;
use crate::selector::Labels;
use crate::state::ClusterState;

use super::Options;

/// A named container port: name, protocol, number. The only ports that policies can ask for by name.
pub(crate) type NamedPort = (String, Protocol, u16);

/// Pods of a workload that look the same to every policy.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Variant {
    pub(crate) labels: Labels,
    pub(crate) named_ports: Vec<NamedPort>,
    pub(crate) host_network: bool,
    pub(crate) addresses: Vec<IpAddr>,
}

/// One row or column of the answer: a workload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    pub namespace: String,
    pub name: String,
    /// Kind as printed, such as `Deployment`.
    pub kind: String,
    /// Objects that make it up: a controller, its pods, or both.
    pub objects: Vec<ObjectKey>,
    /// Some of its pods use the node's network.
    pub host_network: bool,
    /// Containers of its newest description.
    pub containers: Vec<Container>,
    /// Label sets of its pods; more than one during a rollout or when pods were relabelled.
    pub pod_labels: Vec<Labels>,
    /// An assumed peer, such as an ingress controller that is not in view; never printed as a workload.
    pub assumed: bool,
    pub(crate) printed: Arc<str>,
    /// Where its pods run.
    pub(crate) places: Places,
    pub(crate) variants: Vec<Variant>,
    pub(crate) classes: Vec<u32>,
}

impl std::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.printed)
    }
}

/// The place of a workload that is gone: an assumed peer without pods.
static NOBODY: LazyLock<Arc<Endpoint>> = LazyLock::new(|| {
    Arc::new(Endpoint { pod_labels: Vec::new(), variants: Vec::new(), ..assumed("", "", Labels::new()) })
});

/// Workloads and assumed peers by number. The number of a workload that is gone gives an assumed peer without pods.
#[derive(Debug, Clone, Default)]
pub struct Endpoints(Paged<Arc<Endpoint>>);

impl Endpoints {
    /// By number; none past the end.
    pub fn get(&self, index: usize) -> Option<&Endpoint> {
        self.0.get(index).map(Arc::as_ref)
    }

    /// In order of number.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Endpoint> + Clone {
        self.0.iter().map(Arc::as_ref)
    }

    /// One past the highest number.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Never true: assumed peers are always there.
    pub fn is_empty(&self) -> bool {
        self.0.len() == 0
    }

    pub(super) fn share(&self, index: u32) -> Option<&Arc<Endpoint>> {
        self.0.get(index as usize)
    }

    pub(super) fn put(&mut self, index: u32, endpoint: Arc<Endpoint>) {
        self.0.put(index as usize, endpoint, || Arc::clone(&NOBODY));
    }

    pub(super) fn vacate(&mut self, index: u32) {
        self.put(index, Arc::clone(&NOBODY));
    }
}

/// A number that no workload has gives an assumed peer without pods.
impl std::ops::Index<usize> for Endpoints {
    type Output = Endpoint;

    fn index(&self, index: usize) -> &Endpoint {
        self.get(index).unwrap_or(&NOBODY)
    }
}

/// The pods that np-guard assumes for an ingress controller: no labels, a namespace of its own.
pub(crate) const ASSUMED_CONTROLLER: (&str, &str) = ("ingress-controller-ns", "ingress-controller");

/// Controllers as their vendors install them: namespace, label key, label value.
pub(crate) const KNOWN_CONTROLLERS: [(&str, &str, &str); 12] = [
    ("ingress-nginx", "app.kubernetes.io/name", "ingress-nginx"),
    ("nginx-ingress", "app.kubernetes.io/name", "nginx-ingress"),
    ("traefik", "app.kubernetes.io/name", "traefik"),
    ("kube-system", "app.kubernetes.io/name", "traefik"),
    ("haproxy-controller", "app.kubernetes.io/name", "kubernetes-ingress"),
    ("projectcontour", "app.kubernetes.io/component", "envoy"),
    ("kong", "app.kubernetes.io/name", "kong"),
    ("istio-system", "istio", "ingressgateway"),
    ("istio-ingress", "istio", "ingress"),
    ("envoy-gateway-system", "app.kubernetes.io/managed-by", "envoy-gateway"),
    ("openshift-ingress", "ingresscontroller.operator.openshift.io/deployment-ingresscontroller", "default"),
    ("emissary", "app.kubernetes.io/name", "emissary-ingress"),
];

/// Namespace, name and printed kind of a workload.
pub(super) type Identity = (String, String, String);

/// Peers that are assumed to be there.
pub(super) fn assumed_peers(options: &Options) -> Vec<Endpoint> {
    let known = if options.np_guard { [].as_slice() } else { KNOWN_CONTROLLERS.as_slice() };
    let (namespace, name) = ASSUMED_CONTROLLER;
    let mut found = vec![assumed(namespace, name, Labels::new())];
    for &(namespace, key, value) in known {
        found.push(assumed(namespace, value, [(key.to_owned(), value.to_owned())].into()));
    }
    found
}

/// Namespace, kind and name: how owners name each other.
type OwnerName = (String, String, String);

/// Which objects make up which workload, kept up to date object by object.
#[derive(Debug, Default)]
pub(super) struct Groups {
    /// Objects by namespace, kind and name, with what they are part of.
    known: FxHashMap<OwnerName, (ObjectKey, Option<Identity>)>,
    /// Objects by the owner that they name.
    owned: FxHashMap<OwnerName, FxHashSet<OwnerName>>,
    members: FxHashMap<Identity, std::collections::BTreeSet<ObjectKey>>,
}

fn name_of(workload: &Workload) -> OwnerName {
    (workload.meta.namespace.clone(), workload.kind.as_str().to_owned(), workload.meta.name.clone())
}

fn owner_of(workload: &Workload) -> Option<OwnerName> {
    let owner = workload.meta.controller()?;
    Some((workload.meta.namespace.clone(), owner.kind.clone(), owner.name.clone()))
}

impl Groups {
    /// Groups every workload of a state.
    pub(super) fn of(state: &ClusterState, options: &Options) -> Self {
        let mut groups = Self::default();
        for workload in state.workloads() {
            groups.enter(workload);
        }
        for workload in state.workloads() {
            groups.assign(workload, state, options);
        }
        groups
    }

    pub(super) fn identities(&self) -> impl Iterator<Item = &Identity> {
        self.members.keys()
    }

    fn key_of(workload: &Workload) -> ObjectKey {
        ObjectKey {
            kind: workload.kind.group_kind().to_owned(),
            namespace: workload.meta.namespace.clone(),
            name: workload.meta.name.clone(),
        }
    }

    fn enter(&mut self, workload: &Workload) {
        let name = name_of(workload);
        if let Some(owner) = owner_of(workload) {
            self.owned.entry(owner).or_default().insert(name.clone());
        }
        self.known.entry(name).or_insert_with(|| (Self::key_of(workload), None));
    }

    fn leave(&mut self, workload: &Workload) -> Option<Identity> {
        let name = name_of(workload);
        if let Some(owner) = owner_of(workload)
            && let Some(names) = self.owned.get_mut(&owner)
        {
            names.remove(&name);
            if names.is_empty() {
                self.owned.remove(&owner);
            }
        }
        let (key, identity) = self.known.remove(&name)?;
        let identity = identity?;
        self.part(&identity, &key);
        Some(identity)
    }

    fn part(&mut self, identity: &Identity, key: &ObjectKey) {
        if let Some(members) = self.members.get_mut(identity) {
            members.remove(key);
            if members.is_empty() {
                self.members.remove(identity);
            }
        }
    }

    /// Puts an object into the workload that it is now part of. Gives the workloads before and after.
    fn assign(
        &mut self,
        workload: &Workload,
        state: &ClusterState,
        options: &Options,
    ) -> [Option<Identity>; 2] {
        // np-guard knows no owners of ReplicaSets, so to it an old revision is a workload.
        let identity = if options.np_guard {
            np_guard_identity(workload)
        } else if workload.is_retired() {
            None
        } else {
            Some(self.top_owner(workload, state))
        };
        let key = Self::key_of(workload);
        let before = self
            .known
            .get_mut(&name_of(workload))
            .and_then(|known| std::mem::replace(&mut known.1, identity.clone()));
        if before != identity {
            if let Some(before) = &before {
                self.part(before, &key);
            }
            if let Some(identity) = &identity {
                self.members.entry(identity.clone()).or_default().insert(key);
            }
        }
        [before, identity]
    }

    /// Takes a change of a workload object in. Gives the workloads whose members may differ.
    pub(super) fn change(
        &mut self,
        old: Option<&Workload>,
        new: Option<&Workload>,
        state: &ClusterState,
        options: &Options,
    ) -> FxHashSet<Identity> {
        let mut touched: FxHashSet<Identity> = FxHashSet::default();
        if let Some(old) = old {
            touched.extend(self.leave(old));
        }
        if let Some(new) = new {
            self.enter(new);
        }
        let Some(changed) = new.or(old).map(name_of) else { return touched };
        // The object, and what it owns, as far down as Kubernetes' own controllers nest.
        let mut level = vec![changed];
        for _ in 0..4 {
            let mut next = Vec::new();
            for name in level {
                let object = self.known.get(&name).and_then(|(key, _)| state.get(key));
                if let Some(Object::Workload(workload)) = object {
                    touched.extend(self.assign(workload, state, options).into_iter().flatten());
                }
                next.extend(self.owned.get(&name).into_iter().flatten().cloned());
            }
            level = next;
        }
        touched
    }

    /// The workload of an identity as the state describes it; none when no object makes it up. Addresses of pods are
    /// told apart only where blocks may match them.
    pub(super) fn endpoint(
        &self,
        identity: &Identity,
        state: &ClusterState,
        with_addresses: bool,
    ) -> Option<Endpoint> {
        let members: Vec<&Workload> = self
            .members
            .get(identity)?
            .iter()
            .filter_map(|key| match state.get(key) {
                Some(Object::Workload(workload)) => Some(workload),
                _ => None,
            })
            .collect();
        (!members.is_empty()).then(|| endpoint(identity.clone(), &members, with_addresses))
    }

    /// Climbs to the topmost owner, at most as far as Kubernetes' own controllers nest.
    fn top_owner(&self, workload: &Workload, state: &ClusterState) -> Identity {
        let namespace = &workload.meta.namespace;
        let mut identity = (workload.meta.name.clone(), workload.kind.as_str().to_owned());
        let mut at = workload;
        for _ in 0..3 {
            let Some(owner) = at.meta.controller() else { break };
            identity = (owner.name.clone(), owner.kind.clone());
            let name = (namespace.clone(), owner.kind.clone(), owner.name.clone());
            let object = self.known.get(&name).and_then(|(key, _)| state.get(key));
            if let Some(Object::Workload(next)) = object {
                at = next;
                continue;
            }
            // The ReplicaSet between is not in view: its name is the Deployment's and the template hash.
            let hash = at.pod_labels.get("pod-template-hash");
            let deployment = hash.and_then(|hash| owner.name.strip_suffix(hash.as_str())?.strip_suffix('-'));
            if let Some(name) = deployment.filter(|_| owner.kind == "ReplicaSet") {
                identity = (name.to_owned(), "Deployment".to_owned());
            }
            break;
        }
        (namespace.clone(), identity.0, identity.1)
    }
}

fn assumed(namespace: &str, name: &str, labels: Labels) -> Endpoint {
    let variant = Variant {
        labels: labels.clone(),
        named_ports: Vec::new(),
        host_network: false,
        addresses: Vec::new(),
    };
    Endpoint {
        printed: format!("{namespace}/{name}[Pod]").into(),
        places: Places { known: Vec::new(), anywhere: true },
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        kind: "Pod".to_owned(),
        objects: Vec::new(),
        host_network: false,
        containers: Vec::new(),
        pod_labels: vec![labels],
        assumed: true,
        variants: vec![variant],
        classes: Vec::new(),
    }
}

/// A pod stands for its direct owner, by name, whether or not that is in view.
fn np_guard_identity(workload: &Workload) -> Option<Identity> {
    let meta = &workload.meta;
    if workload.kind != WorkloadKind::Pod {
        return Some((meta.namespace.clone(), meta.name.clone(), workload.kind.as_str().to_owned()));
    }
    // Pods that KubeVirt starts for virtual machines are not peers.
    if meta.name.starts_with("virt-launcher-") {
        return None;
    }
    Some(match meta.controller() {
        Some(owner) => {
            let kind = if owner.kind.is_empty() { "Pod" } else { owner.kind.as_str() };
            (meta.namespace.clone(), owner.name.clone(), kind.to_owned())
        }
        None => (meta.namespace.clone(), meta.name.clone(), "Pod".to_owned()),
    })
}

fn endpoint((namespace, name, kind): Identity, members: &[&Workload], with_addresses: bool) -> Endpoint {
    let mut variants: Vec<Variant> = Vec::new();
    let mut seen: FxHashSet<Variant> = FxHashSet::default();
    for workload in members {
        let mut named_ports: Vec<NamedPort> = workload
            .ports()
            .filter_map(|port| port.name.clone().map(|name| (name, port.protocol, port.port)))
            .collect();
        named_ports.sort();
        named_ports.dedup();
        let variant = Variant {
            labels: workload.pod_labels.clone(),
            named_ports,
            host_network: workload.host_network,
            addresses: if with_addresses { workload.pod_ips.clone() } else { Vec::new() },
        };
        if seen.insert(variant.clone()) {
            variants.push(variant);
        }
    }
    if with_addresses {
        // Where the pods of a template are in view, their addresses are known: the template says nothing more.
        let pods: Vec<Variant> = variants.iter().filter(|pod| !pod.addresses.is_empty()).cloned().collect();
        variants.retain(|variant| {
            let stands_for = |pod: &Variant| {
                pod.named_ports == variant.named_ports
                    && pod.host_network == variant.host_network
                    && variant.labels.iter().all(|(key, value)| pod.labels.get(key) == Some(value))
            };
            !variant.addresses.is_empty() || !pods.iter().any(stands_for)
        });
    }
    let mut pod_labels: Vec<Labels> = Vec::new();
    let mut seen: FxHashSet<&Labels> = FxHashSet::default();
    for variant in &variants {
        if seen.insert(&variant.labels) {
            pod_labels.push(variant.labels.clone());
        }
    }
    let describes = members.iter().find(|workload| workload.kind != WorkloadKind::Pod).or(members.first());
    Endpoint {
        printed: format!("{namespace}/{name}[{kind}]").into(),
        places: Places::of(members),
        namespace,
        name,
        kind,
        objects: members.iter().map(|workload| Groups::key_of(workload)).collect(),
        host_network: members.iter().any(|workload| workload.host_network),
        containers: describes.map(|workload| workload.containers.clone()).unwrap_or_default(),
        pod_labels,
        assumed: false,
        variants,
        classes: Vec::new(),
    }
}
