//! Who needs to reach whom.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use ipnet::IpNet;

use crate::conn::ConnSet;
use crate::engine::Connectivity;
use crate::ip::Family;
use crate::selector::Labels;

use super::groups::Groups;

/// One end of a need.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum End {
    /// Workloads in view, by number of group.
    Group(usize),
    /// Pods that are not in view: labels of the namespace and of the pods.
    Pods {
        namespace: Labels,
        pods: Labels,
    },
    /// Every pod of the cluster.
    AnyPod,
    Block(IpNet),
    /// Every public address of a family.
    World(Family),
    /// Whoever it is, inside and outside.
    Anyone,
}

/// Why a need is not met by a suggestion, or may exist unseen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cause {
    /// A policy that stays in effect denies it.
    Blocked,
    /// The Service that is named is not in view.
    ServiceMissing,
    /// The Service selects no workload in view.
    ServiceEmpty,
    /// The Service has no such port, or its pods have none of that name.
    PortMissing,
    /// A name or address outside the cluster; NetworkPolicies cannot name hosts.
    External,
    /// An address without a port.
    PortUnknown,
    /// The metadata address of a cloud, which gives credentials to whoever asks.
    Metadata,
    /// The Kubernetes API server, whose address is not in view.
    ApiServer,
    /// One side uses the node's network, which selectors do not match.
    HostNetwork,
    /// Pods without labels that are not in view.
    Unlabelled,
    /// The value is in a Secret, or in a ConfigMap that is not in view.
    Unread,
    /// A word that is also the name of a Service, but does not look like an address.
    Doubtful,
    /// Metrics are to be read by whom the manifests do not say.
    Scrape,
    /// A Service that nothing was found to use.
    Unused,
    /// More peers than one rule should list.
    TooMany,
    /// It was seen in flows, and the suggestion, which is not made of flows, does not allow it.
    Observed,
    /// It is declared and was not seen in the flows that the suggestion is made of.
    Declared,
}

impl Cause {
    /// Stable word, as printed.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Blocked => "blocked",
            Self::ServiceMissing => "service_missing",
            Self::ServiceEmpty => "service_empty",
            Self::PortMissing => "port_missing",
            Self::External => "external",
            Self::PortUnknown => "port_unknown",
            Self::Metadata => "metadata",
            Self::ApiServer => "api_server",
            Self::HostNetwork => "host_network",
            Self::Unlabelled => "unlabelled",
            Self::Unread => "unread",
            Self::Doubtful => "doubtful",
            Self::Scrape => "scrape",
            Self::Unused => "unused",
            Self::TooMany => "too_many",
            Self::Observed => "observed",
            Self::Declared => "declared",
        }
    }
}

/// Something that the suggested policies do not allow and that may be needed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Gap {
    pub cause: Cause,
    /// Printed name of the workload, or empty.
    pub source: String,
    /// Printed name of a workload, a Service, an address or a host; may be empty.
    pub destination: String,
    pub detail: String,
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.cause.as_str())?;
        match (self.source.as_str(), self.destination.as_str()) {
            ("", "") => {}
            (source, "") => write!(f, "{source}: ")?,
            ("", destination) => write!(f, "=> {destination}: ")?,
            (source, destination) => write!(f, "{source} => {destination}: ")?,
        }
        f.write_str(&self.detail)
    }
}

/// Ports of a need, and what shows it.
#[derive(Debug, Clone, Default)]
pub(super) struct Shown {
    pub(super) ports: ConnSet,
    pub(super) evidence: BTreeSet<String>,
}

/// Most evidence kept of one need.
const MAX_EVIDENCE: usize = 8;
/// Most gaps kept; there may be one for each word of the input.
pub(super) const MAX_GAPS: usize = 10_000;

/// Needs by source and destination.
#[derive(Debug, Default)]
pub(super) struct Needs {
    pub(super) map: BTreeMap<(End, End), Shown>,
    pub(super) gaps: BTreeSet<Gap>,
    /// Groups that look names up.
    pub(super) lookups: BTreeSet<usize>,
}

impl Needs {
    /// Takes a need in, or notes why no policy can express it.
    pub(super) fn add(
        &mut self,
        (from, to): (End, End),
        ports: &ConnSet,
        evidence: &str,
        (groups, connectivity): (&Groups, &Connectivity),
    ) {
        if ports.is_empty() {
            return;
        }
        let host = |end: &End| match end {
            End::Group(group) => groups.get(*group).is_some_and(|group| group.host_network),
            _ => false,
        };
        match (host(&from), host(&to), matches!(to, End::Group(_))) {
            (false, false, _) => {
                let shown = self.map.entry((from, to)).or_default();
                shown.ports = shown.ports.union(ports);
                if shown.evidence.len() < MAX_EVIDENCE {
                    shown.evidence.insert(evidence.to_owned());
                }
            }
            // Neither end is governed, or only the outside is left.
            (true, true, _) | (true, false, false) => {}
            _ => {
                let name = |end: &End| end.name(groups, connectivity);
                let side = if host(&from) { "source" } else { "destination" };
                let detail = format!("{ports} ({evidence}): the {side} uses the node's network");
                self.gap(Cause::HostNetwork, name(&from), name(&to), detail);
            }
        }
    }

    pub(super) fn gap(
        &mut self,
        cause: Cause,
        source: impl Into<String>,
        destination: impl Into<String>,
        detail: impl Into<String>,
    ) {
        if self.gaps.len() < MAX_GAPS {
            let (source, destination, detail) = (source.into(), destination.into(), detail.into());
            self.gaps.insert(Gap { cause, source, destination, detail });
        }
    }
}

impl End {
    /// As printed.
    pub(super) fn name(&self, groups: &Groups, connectivity: &Connectivity) -> String {
        match self {
            Self::Group(group) => {
                let members = groups.get(*group).map(|group| group.members.as_slice()).unwrap_or_default();
                let names = members.iter().filter_map(|member| connectivity.endpoints().get(*member));
                names.map(ToString::to_string).collect::<Vec<_>>().join(" and ")
            }
            Self::Pods { namespace, pods } => {
                let show = |labels: &Labels| {
                    labels.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(",")
                };
                format!("pods {} of namespace {}", show(pods), show(namespace))
            }
            Self::AnyPod => "any pod".into(),
            Self::Block(net) => net.to_string(),
            Self::World(Family::V4) => "public IPv4 addresses".into(),
            Self::World(Family::V6) => "public IPv6 addresses".into(),
            Self::Anyone => "anyone".into(),
        }
    }
}
