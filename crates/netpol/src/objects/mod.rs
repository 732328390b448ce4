//! Kubernetes objects, reduced to what connectivity and exposure depend on.
//!
//! Each object is checked as the API server would check it: an object that Kubernetes refuses is an error that names
//! the object and the field, never a guess.

mod admin;
mod cluster_node;
mod entry;
mod foreign;
mod node;
mod parse;
mod policy;
mod workload;

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

pub use admin::{Action, AdminFlavor, AdminPeer, AdminPolicy, AdminPort, AdminRule, Subject, Tier};
pub use cluster_node::ClusterNode;
pub use entry::{
    BackendPort, Gateway, GatewayListener, Ingress, IngressBackend, Namespaces, ReferenceGrant, Route,
    RouteBackend, RouteParent, Service, ServicePort, ServiceType, TargetPort,
};
use parse::loose_meta;
pub(crate) use parse::parse_documents_each;
pub use parse::{Format, ParseError, ParseOptions, parse_documents, parse_documents_with, unread_kinds};
pub use policy::{IpBlock, NetworkPolicy, PolicyPeer, PolicyPort, PolicyRule, PortRef};
pub use workload::{Container, ContainerPort, Workload, WorkloadKind};

use crate::selector::Labels;

/// Identity of an object: API group and kind, namespace (empty for cluster-wide kinds), name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ObjectKey {
    /// Such as `apps/Deployment`; the core group has no prefix: `Pod`.
    pub kind: String,
    pub namespace: String,
    pub name: String,
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() {
            write!(f, "{} {}", self.kind, self.name)
        } else {
            write!(f, "{} {}/{}", self.kind, self.namespace, self.name)
        }
    }
}

/// Reference to the owner of an object.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct OwnerRef {
    pub kind: String,
    pub name: String,
    pub controller: bool,
}

/// What every object has.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meta {
    /// Empty for cluster-wide kinds; `default` where a namespaced object names none.
    pub namespace: String,
    pub name: String,
    pub labels: Labels,
    pub uid: Option<String>,
    /// Opaque to clients by contract, but compared as a number where both sides are numbers.
    pub resource_version: Option<String>,
    pub owners: Vec<OwnerRef>,
    /// File or event that it came from.
    pub source: Option<String>,
}

impl Meta {
    /// The owner that controls it, or its only owner; nodes own static pods and do not count.
    pub fn controller(&self) -> Option<&OwnerRef> {
        let mut owners = self.owners.iter().filter(|owner| owner.kind != "Node");
        owners.clone().find(|owner| owner.controller).or_else(|| owners.next())
    }
}

/// A namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Namespace {
    pub meta: Meta,
}

/// An object whose kind takes no part in the analysis.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Other {
    pub kind: String,
    pub meta: Meta,
    /// True for a policy of another engine (Cilium, Calico, Istio, …): the answer is then incomplete and must say so.
    pub policy: bool,
}

/// One object of a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Object {
    Namespace(Namespace),
    Workload(Workload),
    NetworkPolicy(NetworkPolicy),
    AdminNetworkPolicy(AdminPolicy),
    BaselineAdminNetworkPolicy(AdminPolicy),
    ClusterNetworkPolicy(AdminPolicy),
    Service(Service),
    Ingress(Ingress),
    /// OpenShift Route, a route of the Gateway API, or a way in of a controller's own kind.
    Route(Route),
    Gateway(Gateway),
    Other(Other),
    ReferenceGrant(ReferenceGrant),
    Node(ClusterNode),
}

impl Object {
    /// Its metadata.
    pub fn meta(&self) -> &Meta {
        match self {
            Self::Namespace(object) => &object.meta,
            Self::Workload(object) => &object.meta,
            Self::NetworkPolicy(object) => &object.meta,
            Self::AdminNetworkPolicy(object)
            | Self::BaselineAdminNetworkPolicy(object)
            | Self::ClusterNetworkPolicy(object) => &object.meta,
            Self::Service(object) => &object.meta,
            Self::Ingress(object) => &object.meta,
            Self::Route(object) => &object.meta,
            Self::Gateway(object) => &object.meta,
            Self::Other(object) => &object.meta,
            Self::ReferenceGrant(object) => &object.meta,
            Self::Node(object) => &object.meta,
        }
    }

    fn meta_mut(&mut self) -> &mut Meta {
        match self {
            Self::Namespace(object) => &mut object.meta,
            Self::Workload(object) => &mut object.meta,
            Self::NetworkPolicy(object) => &mut object.meta,
            Self::AdminNetworkPolicy(object)
            | Self::BaselineAdminNetworkPolicy(object)
            | Self::ClusterNetworkPolicy(object) => &mut object.meta,
            Self::Service(object) => &mut object.meta,
            Self::Ingress(object) => &mut object.meta,
            Self::Route(object) => &mut object.meta,
            Self::Gateway(object) => &mut object.meta,
            Self::Other(object) => &mut object.meta,
            Self::ReferenceGrant(object) => &mut object.meta,
            Self::Node(object) => &mut object.meta,
        }
    }

    /// Records where it came from.
    pub fn set_source(&mut self, source: &str) {
        self.meta_mut().source = Some(source.to_owned());
    }

    /// API group and kind, such as `networking.k8s.io/NetworkPolicy`.
    pub fn kind(&self) -> &str {
        match self {
            Self::Namespace(_) => "Namespace",
            Self::Workload(object) => object.kind.group_kind(),
            Self::NetworkPolicy(_) => "networking.k8s.io/NetworkPolicy",
            Self::AdminNetworkPolicy(_) => "policy.networking.k8s.io/AdminNetworkPolicy",
            Self::BaselineAdminNetworkPolicy(_) => "policy.networking.k8s.io/BaselineAdminNetworkPolicy",
            Self::ClusterNetworkPolicy(_) => "policy.networking.k8s.io/ClusterNetworkPolicy",
            Self::Service(_) => "Service",
            Self::Ingress(_) => "networking.k8s.io/Ingress",
            Self::Route(object) => &object.kind,
            Self::Gateway(_) => "gateway.networking.k8s.io/Gateway",
            Self::Other(object) => &object.kind,
            Self::ReferenceGrant(_) => "gateway.networking.k8s.io/ReferenceGrant",
            Self::Node(_) => "Node",
        }
    }

    /// Its identity.
    pub fn key(&self) -> ObjectKey {
        let meta = self.meta();
        ObjectKey { kind: self.kind().to_owned(), namespace: meta.namespace.clone(), name: meta.name.clone() }
    }

    /// The same for objects that do not differ ([`Object::differs_from`]), 32 hexadecimal digits.
    pub(crate) fn digest(&self) -> String {
        let mut object = self.clone();
        let meta = object.meta_mut();
        (meta.uid, meta.resource_version, meta.source) = (None, None, None);
        let bytes = Sha256::digest(serde_json::to_vec(&object).unwrap_or_default());
        bytes.iter().take(16).map(|byte| format!("{byte:02x}")).collect()
    }

    /// True when the two differ in more than uid, resourceVersion and source.
    pub fn differs_from(&self, other: &Self) -> bool {
        if self == other {
            return false;
        }
        // Copies are made only where those three may be all that differs.
        let (ours, theirs) = (self.meta(), other.meta());
        if ours.uid == theirs.uid
            && ours.resource_version == theirs.resource_version
            && ours.source == theirs.source
        {
            return true;
        }
        let strip = |object: &Self| {
            let mut object = object.clone();
            let meta = object.meta_mut();
            (meta.uid, meta.resource_version, meta.source) = (None, None, None);
            object
        };
        strip(self) != strip(other)
    }
}
