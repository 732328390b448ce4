//! Which pods belong to which workload.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::conn::Protocol;
use crate::objects::{Container, ObjectKey, Workload, WorkloadKind};
use crate::selector::Labels;
use crate::state::ClusterState;

use super::Options;

/// A named container port: name, protocol, number. The only ports that policies can ask for by name.
pub(crate) type NamedPort = (String, Protocol, u16);

/// Pods of a workload that look the same to every policy.
#[derive(Debug, Clone, PartialEq, Eq)]
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
    pub(crate) variants: Vec<Variant>,
    pub(crate) classes: Vec<u32>,
}

impl std::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}[{}]", self.namespace, self.name, self.kind)
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

type Identity = (String, String, String);

/// Groups the workloads of a state, sorted by printed name; assumed peers come last.
pub(crate) fn endpoints(state: &ClusterState, options: &Options) -> Vec<Endpoint> {
    let by_name: BTreeMap<(&str, &str, &str), &Workload> = state
        .workloads()
        .map(|workload| {
            (
                (workload.meta.namespace.as_str(), workload.kind.as_str(), workload.meta.name.as_str()),
                workload,
            )
        })
        .collect();
    let mut groups: BTreeMap<Identity, Vec<&Workload>> = BTreeMap::new();
    // np-guard knows no owners of ReplicaSets, so to it an old revision is a workload.
    for workload in state.workloads().filter(|workload| options.np_guard || !workload.is_retired()) {
        let identity =
            if options.np_guard { np_guard_identity(workload) } else { Some(top_owner(workload, &by_name)) };
        if let Some(identity) = identity {
            groups.entry(identity).or_default().push(workload);
        }
    }
    let mut found: Vec<Endpoint> =
        groups.into_iter().map(|(identity, members)| endpoint(identity, &members)).collect();
    found.sort_by_cached_key(ToString::to_string);
    let known = if options.np_guard { [].as_slice() } else { KNOWN_CONTROLLERS.as_slice() };
    let (namespace, name) = ASSUMED_CONTROLLER;
    found.push(assumed(namespace, name, Labels::new()));
    for &(namespace, key, value) in known {
        found.push(assumed(namespace, value, [(key.to_owned(), value.to_owned())].into()));
    }
    found
}

fn assumed(namespace: &str, name: &str, labels: Labels) -> Endpoint {
    let variant = Variant {
        labels: labels.clone(),
        named_ports: Vec::new(),
        host_network: false,
        addresses: Vec::new(),
    };
    Endpoint {
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

/// Climbs to the topmost owner, at most as far as Kubernetes' own controllers nest.
fn top_owner(workload: &Workload, by_name: &BTreeMap<(&str, &str, &str), &Workload>) -> Identity {
    let namespace = workload.meta.namespace.as_str();
    let mut identity = (workload.meta.name.clone(), workload.kind.as_str().to_owned());
    let mut at = workload;
    for _ in 0..3 {
        let Some(owner) = at.meta.controller() else { break };
        identity = (owner.name.clone(), owner.kind.clone());
        if let Some(next) = by_name.get(&(namespace, owner.kind.as_str(), owner.name.as_str())) {
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
    (namespace.to_owned(), identity.0, identity.1)
}

fn endpoint((namespace, name, kind): Identity, members: &[&Workload]) -> Endpoint {
    let mut variants: Vec<Variant> = Vec::new();
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
            addresses: workload.pod_ips.clone(),
        };
        if !variants.contains(&variant) {
            variants.push(variant);
        }
    }
    let mut pod_labels: Vec<Labels> = Vec::new();
    for variant in &variants {
        if !pod_labels.contains(&variant.labels) {
            pod_labels.push(variant.labels.clone());
        }
    }
    let describes = members.iter().find(|workload| workload.kind != WorkloadKind::Pod).or(members.first());
    Endpoint {
        namespace,
        name,
        kind,
        objects: members
            .iter()
            .map(|workload| ObjectKey {
                kind: workload.kind.group_kind().to_owned(),
                namespace: workload.meta.namespace.clone(),
                name: workload.meta.name.clone(),
            })
            .collect(),
        host_network: members.iter().any(|workload| workload.host_network),
        containers: describes.map(|workload| workload.containers.clone()).unwrap_or_default(),
        pod_labels,
        assumed: false,
        variants,
        classes: Vec::new(),
    }
}
