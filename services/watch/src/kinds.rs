//! The kinds that are watched, and the fields of each that are read.
//!
//! What is not named here never leaves the cluster: environment variables, commands, volumes, annotations (but those by
//! which a cloud is asked for an internal load balancer), managed fields, status. Secrets and ConfigMaps are not asked for.

use std::collections::BTreeMap;

use plimsoll_netpol::objects::unread_kinds;
use serde_json::Value;

/// A field that is kept, with what is kept below it; none below means all of it. Entries of lists are kept alike.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fields(BTreeMap<&'static str, Fields>);

impl Fields {
    /// Reads `a b{c d{e}}`: names, each with the names below it in braces.
    fn parse(text: &'static str) -> Self {
        let (mut stack, mut names) = (Vec::new(), Vec::new());
        let mut at = Self::default();
        let mut rest = text;
        while let Some(end) = rest.find([' ', '{', '}']).or((!rest.is_empty()).then_some(rest.len())) {
            let (name, after) = rest.split_at(end);
            if !name.is_empty() {
                at.0.insert(name, Self::default());
            }
            match after.chars().next() {
                Some('{') => {
                    stack.push(std::mem::take(&mut at));
                    names.push(name);
                }
                Some('}') => {
                    let below = std::mem::replace(&mut at, stack.pop().unwrap_or_default());
                    at.0.insert(names.pop().unwrap_or_default(), below);
                }
                _ => {}
            }
            rest = after.get(1..).unwrap_or_default();
        }
        at
    }

    /// The value without what is not kept.
    pub fn keep(&self, value: Value) -> Value {
        if self.0.is_empty() {
            return value;
        }
        match value {
            Value::Object(fields) => Value::Object(
                fields
                    .into_iter()
                    .filter_map(|(name, value)| {
                        let below = self.0.get(name.as_str())?;
                        Some((name, below.keep(value)))
                    })
                    .collect(),
            ),
            Value::Array(entries) => entries.into_iter().map(|entry| self.keep(entry)).collect(),
            other => other,
        }
    }
}

/// What is read of a kind's objects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// These fields beside the metadata.
    Fields(Fields),
    /// That it is there, under which name: only its metadata is asked for.
    Name,
}

/// A kind that is watched wherever it is installed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kind {
    /// API group, empty for the core group.
    pub group: &'static str,
    pub kind: &'static str,
    pub part: Part,
    /// It is kept which annotations ask for an internal load balancer.
    pub balancers: bool,
}

impl Kind {
    /// API group and kind, such as `apps/Deployment`.
    pub fn printed(&self) -> String {
        if self.group.is_empty() { self.kind.to_owned() } else { format!("{}/{}", self.group, self.kind) }
    }

    /// True for what runs containers: telling it costs look-ups in registries.
    pub fn runs(&self) -> bool {
        matches!(
            (self.group, self.kind),
            ("", "Pod" | "ReplicationController")
                | ("apps", "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet")
                | ("batch", "Job" | "CronJob")
        )
    }
}

macro_rules! containers {
    () => {
        "{name image restartPolicy ports{name protocol containerPort hostPort} securityContext{privileged}}"
    };
}
macro_rules! pod {
    () => {
        concat!(
            "{hostNetwork serviceAccountName nodeName initContainers",
            containers!(),
            " containers",
            containers!(),
            "}"
        )
    };
}
macro_rules! template {
    () => {
        concat!("template{metadata{labels} spec", pod!(), "}")
    };
}

const CONTROLLER: &str = concat!("spec{replicas ", template!(), "}");
/// Where a route of the Gateway API hangs and leads.
const ROUTE: &str = "spec{hostnames parentRefs rules{backendRefs{group kind name namespace port weight \
                     filters{requestMirror{backendRef}}} filters{requestMirror{backendRef}}}}";
const TRAEFIK: &str = "spec{routes{services{name namespace kind port}}}";

/// Kinds of which fields are read.
const READ: [(&str, &str, &str); 31] = [
    ("", "Namespace", ""),
    ("", "Node", "spec{podCIDR podCIDRs} status{addresses}"),
    (
        "",
        "Pod",
        concat!(
            "spec",
            pod!(),
            " status{phase podIP podIPs hostIP containerStatuses{name imageID} initContainerStatuses{name imageID}}"
        ),
    ),
    ("", "ReplicationController", CONTROLLER),
    (
        "",
        "Service",
        "spec{type selector ports{name protocol port targetPort nodePort} externalIPs loadBalancerSourceRanges \
         externalTrafficPolicy externalName}",
    ),
    ("apps", "Deployment", CONTROLLER),
    ("apps", "StatefulSet", CONTROLLER),
    ("apps", "DaemonSet", CONTROLLER),
    ("apps", "ReplicaSet", CONTROLLER),
    ("batch", "Job", concat!("spec{", template!(), "} status{completionTime conditions{type status}}")),
    ("batch", "CronJob", concat!("spec{jobTemplate{spec{", template!(), "}}}")),
    ("networking.k8s.io", "NetworkPolicy", "spec"),
    (
        "networking.k8s.io",
        "Ingress",
        "spec{ingressClassName tls{hosts} defaultBackend backend rules{host http{paths{backend}}}}",
    ),
    ("policy.networking.k8s.io", "AdminNetworkPolicy", "spec"),
    ("policy.networking.k8s.io", "BaselineAdminNetworkPolicy", "spec"),
    ("policy.networking.k8s.io", "ClusterNetworkPolicy", "spec"),
    (
        "gateway.networking.k8s.io",
        "Gateway",
        "spec{gatewayClassName infrastructure{annotations} listeners{name port protocol hostname allowedRoutes}}",
    ),
    ("gateway.networking.k8s.io", "HTTPRoute", ROUTE),
    ("gateway.networking.k8s.io", "GRPCRoute", ROUTE),
    ("gateway.networking.k8s.io", "TLSRoute", ROUTE),
    ("gateway.networking.k8s.io", "TCPRoute", ROUTE),
    ("gateway.networking.k8s.io", "UDPRoute", ROUTE),
    ("gateway.networking.k8s.io", "ReferenceGrant", "spec"),
    ("route.openshift.io", "Route", "spec{host port to{kind name} alternateBackends{kind name}}"),
    ("traefik.io", "IngressRoute", TRAEFIK),
    ("traefik.io", "IngressRouteTCP", TRAEFIK),
    ("traefik.io", "IngressRouteUDP", TRAEFIK),
    ("traefik.containo.us", "IngressRoute", TRAEFIK),
    ("traefik.containo.us", "IngressRouteTCP", TRAEFIK),
    ("traefik.containo.us", "IngressRouteUDP", TRAEFIK),
    (
        "projectcontour.io",
        "HTTPProxy",
        "spec{virtualhost{fqdn} routes{services{name port}} tcpproxy{services{name port}} tcpProxy{services{name port}}}",
    ),
];

/// Routes of Istio, whose destinations are in three lists of one shape.
const ISTIO: &str = "spec{hosts gateways http{route{destination} mirror mirrors} tls{route{destination}} \
                     tcp{route{destination}}}";

/// Every kind that is watched, sorted by group and kind.
pub fn all() -> Vec<Kind> {
    let read = READ.into_iter().chain([("networking.istio.io", "VirtualService", ISTIO)]);
    let mut kinds: Vec<Kind> = read
        .map(|(group, kind, fields)| Kind {
            group,
            kind,
            part: match kind {
                // Labels are metadata.
                "Namespace" => Part::Name,
                _ => Part::Fields(Fields::parse(fields)),
            },
            balancers: matches!((group, kind), ("", "Service") | ("gateway.networking.k8s.io", "Gateway")),
        })
        .chain(unread_kinds().map(|(group, kind)| Kind { group, kind, part: Part::Name, balancers: false }))
        .collect();
    kinds.sort_by_key(|kind| (kind.group, kind.kind));
    kinds
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_kept_below_lists_and_nothing_beside_them() {
        let fields = Fields::parse("spec{a{b c{d}} e} status");
        let value = serde_json::json!({
            "spec": {"a": [{"b": 1, "c": {"d": null, "x": 2}, "x": 3}, "text"], "e": {"any": [1]}, "x": {}},
            "status": {"all": true},
            "other": 1,
        });
        let kept = serde_json::json!({
            "spec": {"a": [{"b": 1, "c": {"d": null}}, "text"], "e": {"any": [1]}},
            "status": {"all": true},
        });
        assert_eq!(fields.keep(value), kept);
        assert_eq!(Fields::parse(""), Fields::default());
    }

    #[test]
    fn no_kind_is_there_twice_and_none_holds_secrets() {
        let kinds = all();
        let mut names: Vec<String> = kinds.iter().map(Kind::printed).collect();
        let count = names.len();
        names.dedup();
        assert_eq!(names.len(), count, "{names:?}");
        assert!(count > 60 && !names.iter().any(|name| name == "Secret" || name == "ConfigMap"));
    }
}
