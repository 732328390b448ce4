//! Pods and the objects that make them.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::Meta;
use super::node::{Node, Read};
use super::parse::ParseOptions;
use super::policy;
use crate::conn::Protocol;
use crate::selector::Labels;

/// Kind of a workload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum WorkloadKind {
    Pod,
    Deployment,
    StatefulSet,
    DaemonSet,
    ReplicaSet,
    ReplicationController,
    Job,
    CronJob,
}

impl WorkloadKind {
    const ALL: [(&'static str, Self); 8] = [
        ("Pod", Self::Pod),
        ("apps/Deployment", Self::Deployment),
        ("apps/StatefulSet", Self::StatefulSet),
        ("apps/DaemonSet", Self::DaemonSet),
        ("apps/ReplicaSet", Self::ReplicaSet),
        ("ReplicationController", Self::ReplicationController),
        ("batch/Job", Self::Job),
        ("batch/CronJob", Self::CronJob),
    ];

    /// API group and kind.
    pub fn group_kind(self) -> &'static str {
        Self::ALL.iter().find(|(_, kind)| *kind == self).map_or("Pod", |(name, _)| name)
    }

    /// The kind alone, as printed.
    pub fn as_str(self) -> &'static str {
        self.group_kind().rsplit('/').next().unwrap_or("Pod")
    }

    /// Of a group and kind; the old `extensions` group counts as `apps`.
    pub(super) fn of(group: &str, kind: &str) -> Option<Self> {
        let group = if group == "extensions" { "apps" } else { group };
        let found = Self::ALL.into_iter().find(|(name, _)| match name.split_once('/') {
            Some((g, k)) => g == group && k == kind,
            None => group.is_empty() && *name == kind,
        });
        found.map(|(_, kind)| kind)
    }
}

/// A declared port of a container. Undeclared ports can be reached all the same.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ContainerPort {
    pub name: Option<String>,
    pub protocol: Protocol,
    pub port: u16,
    pub host_port: Option<u16>,
}

/// A container, in order of the manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Container {
    pub name: String,
    /// The reference as written.
    pub image: String,
    /// The digest that runs, `sha256:…`, from the pod's status.
    pub digest: Option<String>,
    pub ports: Vec<ContainerPort>,
    /// An init container; with `restartPolicy: Always` it runs beside the others ("sidecar").
    pub init: bool,
    /// True when it serves while the pod runs: a container, or a sidecar.
    pub serves: bool,
    pub privileged: bool,
}

/// A pod or a controller with its pod template.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Workload {
    pub meta: Meta,
    pub kind: WorkloadKind,
    /// Labels of the pods.
    pub pod_labels: Labels,
    pub containers: Vec<Container>,
    pub host_network: bool,
    pub service_account: Option<String>,
    /// Addresses of a pod.
    pub pod_ips: Vec<IpAddr>,
    pub node: Option<String>,
    /// Address of the node.
    pub host_ip: Option<IpAddr>,
    /// Desired pods of a controller.
    pub replicas: Option<i64>,
}

impl Workload {
    /// True for an old revision that its owner keeps without pods: it runs nothing.
    pub fn is_retired(&self) -> bool {
        self.kind == WorkloadKind::ReplicaSet && self.replicas == Some(0) && self.meta.controller().is_some()
    }

    /// True for a pod whose status names the digest of each of its containers.
    pub fn is_resolved(&self) -> bool {
        !self.containers.is_empty() && self.containers.iter().all(|container| container.digest.is_some())
    }

    /// Ports of the containers that serve.
    pub fn ports(&self) -> impl Iterator<Item = &ContainerPort> {
        self.containers.iter().filter(|container| container.serves).flat_map(|container| &container.ports)
    }
}

pub(super) fn read(meta: Meta, kind: WorkloadKind, root: &Node<'_>, options: ParseOptions) -> Read<Workload> {
    let spec = root.get("spec");
    let template = match (kind, &spec) {
        (WorkloadKind::Pod, _) => Some(root.clone()),
        (WorkloadKind::CronJob, Some(spec)) => {
            spec.get("jobTemplate").and_then(|job| job.get("spec")).and_then(|job| job.get("template"))
        }
        (_, Some(spec)) => spec.get("template"),
        (_, None) => None,
    };
    let pod_labels = template
        .as_ref()
        .and_then(|template| template.get("metadata"))
        .map_or(Ok(Labels::new()), |metadata| metadata.labels_at("labels"))?;
    let pod = template.as_ref().and_then(|template| template.get("spec"));
    let status = if kind == WorkloadKind::Pod { root.get("status") } else { None };
    let mut containers = Vec::new();
    if let Some(pod) = &pod {
        for (field, init) in [("initContainers", true), ("containers", false)] {
            for node in pod.list(field)? {
                containers.push(container(&node, init, status.as_ref(), options)?);
            }
        }
    }
    let pod_ips = status.as_ref().map_or(Ok(Vec::new()), addresses)?;
    Ok(Workload {
        pod_labels,
        containers,
        host_network: pod.as_ref().map_or(Ok(false), |pod| pod.flag_at("hostNetwork"))?,
        service_account: pod.as_ref().map_or(Ok(None), |pod| pod.text_at("serviceAccountName"))?,
        pod_ips,
        node: pod.as_ref().map_or(Ok(None), |pod| pod.text_at("nodeName"))?,
        host_ip: status.as_ref().and_then(|status| status.get("hostIP")).and_then(|node| node.address()),
        replicas: spec
            .as_ref()
            .and_then(|spec| spec.get("replicas"))
            .map(|node| node.integer())
            .transpose()?,
        meta,
        kind,
    })
}

fn addresses(status: &Node<'_>) -> Read<Vec<IpAddr>> {
    let mut found: Vec<IpAddr> = status.get("podIP").and_then(|node| node.address()).into_iter().collect();
    for entry in status.list("podIPs")? {
        found.extend(entry.get("ip").and_then(|node| node.address()));
    }
    found.sort();
    found.dedup();
    Ok(found)
}

fn container(
    node: &Node<'_>,
    init: bool,
    status: Option<&Node<'_>>,
    options: ParseOptions,
) -> Read<Container> {
    let name = node.text_at("name")?.unwrap_or_default();
    let restarts = node.text_at("restartPolicy")?.as_deref() == Some("Always");
    let mut ports = Vec::new();
    for entry in node.list("ports")? {
        // np-guard reads a port without a number as none.
        if options.np_guard && entry.get("containerPort").is_none() {
            continue;
        }
        ports.push(ContainerPort {
            name: entry.text_at("name")?,
            protocol: policy::protocol(entry.get("protocol"))?,
            port: entry.require("containerPort")?.port()?,
            host_port: match entry.get("hostPort") {
                Some(port) if port.integer()? != 0 => Some(port.port()?),
                _ => None,
            },
        });
    }
    let listed = if init { "initContainerStatuses" } else { "containerStatuses" };
    let mut digest = None;
    if let Some(status) = status {
        for entry in status.list(listed)? {
            if entry.text_at("name")?.as_deref() == Some(name.as_str()) {
                digest = entry.text_at("imageID")?.as_deref().and_then(image_digest);
            }
        }
    }
    let security = node.get("securityContext");
    Ok(Container {
        name,
        image: node.text_at("image")?.unwrap_or_default(),
        digest,
        ports,
        init,
        serves: !init || restarts,
        privileged: security.map_or(Ok(false), |security| security.flag_at("privileged"))?,
    })
}

/// `docker-pullable://registry/name@sha256:…`, `registry/name@sha256:…` or a bare `sha256:…`. A bare one is a
/// runtime's image id (digest of the configuration), not a manifest digest, and is not taken.
fn image_digest(id: &str) -> Option<String> {
    let (_, digest) = id.rsplit_once('@')?;
    let hex = digest.strip_prefix("sha256:")?;
    let valid = hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_hexdigit());
    valid.then(|| digest.to_owned())
}
