//! The administrator's tiers: AdminNetworkPolicy and BaselineAdminNetworkPolicy (`policy.networking.k8s.io/v1alpha1`)
//! and ClusterNetworkPolicy (v1alpha2), in one form.

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::Meta;
use super::node::{Node, Read};
use super::parse::ParseOptions;
use super::policy;
use crate::conn::Protocol;
use crate::selector::Selector;

/// Which of the three kinds a policy is; they differ in peers and validation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum AdminFlavor {
    Admin,
    Baseline,
    Cluster,
}

/// Before or after the NetworkPolicies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Tier {
    Admin,
    Baseline,
}

/// What a rule decides; `Accept` of v1alpha2 is `Allow`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Action {
    Allow,
    Deny,
    Pass,
}

/// Pods that a policy governs.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Subject {
    pub namespaces: Selector,
    /// `None`: all pods of the namespaces.
    pub pods: Option<Selector>,
}

/// One peer of a rule.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum AdminPeer {
    Pods {
        namespaces: Selector,
        pods: Option<Selector>,
    },
    Networks(Vec<IpNet>),
    /// Nodes by label: every address of their status, and the pods in view that have one of them.
    Nodes(Selector),
    Domains(Vec<String>),
    /// A peer of a later API version; the rule fails closed.
    Unknown,
}

/// One port of a rule.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum AdminPort {
    Range {
        protocol: Protocol,
        low: u16,
        high: u16,
    },
    /// Every port of a protocol.
    Protocol(Protocol),
    /// The destination's container port of that name, under its own protocol.
    Named(String),
}

/// One rule.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct AdminRule {
    pub name: String,
    pub action: Action,
    pub peers: Vec<AdminPeer>,
    /// `None`: every port of every protocol.
    pub ports: Option<Vec<AdminPort>>,
}

/// A policy of an administrator's tier.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AdminPolicy {
    pub meta: Meta,
    pub flavor: AdminFlavor,
    pub tier: Tier,
    /// 0–1000, lower first.
    pub priority: u16,
    pub subject: Subject,
    pub ingress: Vec<AdminRule>,
    pub egress: Vec<AdminRule>,
}

pub(super) fn read(
    meta: Meta,
    flavor: AdminFlavor,
    root: &Node<'_>,
    options: ParseOptions,
) -> Read<AdminPolicy> {
    let spec = root.require("spec")?;
    if flavor == AdminFlavor::Baseline && meta.name != "default" {
        return root
            .require("metadata")?
            .require("name")?
            .refuse("a BaselineAdminNetworkPolicy must be named default");
    }
    let tier = match flavor {
        AdminFlavor::Admin => Tier::Admin,
        AdminFlavor::Baseline => Tier::Baseline,
        AdminFlavor::Cluster => {
            let tier = spec.require("tier")?;
            match tier.text()? {
                "Admin" => Tier::Admin,
                "Baseline" => Tier::Baseline,
                _ => return tier.refuse("must be Admin or Baseline"),
            }
        }
    };
    let priority = if flavor == AdminFlavor::Baseline {
        0
    } else {
        let node = spec.require("priority")?;
        match u16::try_from(node.integer()?) {
            Ok(priority) if priority <= 1000 => priority,
            _ => return node.refuse("must be between 0 and 1000"),
        }
    };
    let subject = subject(&spec.require("subject")?, options)?;
    let ingress = rules(&spec, "ingress", "from", flavor, options)?;
    let egress = rules(&spec, "egress", "to", flavor, options)?;
    Ok(AdminPolicy { meta, flavor, tier, priority, subject, ingress, egress })
}

fn subject(node: &Node<'_>, options: ParseOptions) -> Read<Subject> {
    match (node.get("namespaces"), node.get("pods")) {
        (Some(namespaces), None) => Ok(Subject { namespaces: namespaces.selector()?, pods: None }),
        (None, Some(pods)) => {
            let (namespaces, pods) = selected_pods(&pods, options)?;
            Ok(Subject { namespaces, pods })
        }
        _ => node.refuse("exactly one of namespaces and pods must be set"),
    }
}

fn selected_pods(node: &Node<'_>, options: ParseOptions) -> Read<(Selector, Option<Selector>)> {
    let read = |name: &str| match node.get(name) {
        Some(selector) => selector.selector().map(Some),
        None if options.np_guard || node.has(name) => Ok(None),
        None => node.require(name).map(|_| None),
    };
    Ok((read("namespaceSelector")?.unwrap_or_default(), read("podSelector")?))
}

fn rules(
    spec: &Node<'_>,
    direction: &str,
    peers_field: &str,
    flavor: AdminFlavor,
    options: ParseOptions,
) -> Read<Vec<AdminRule>> {
    let cluster = flavor == AdminFlavor::Cluster;
    let most = if cluster { 25 } else { 100 };
    let listed = spec.list(direction)?;
    if listed.len() > most {
        return spec.refuse(format!("{direction} must have at most {most} rules"));
    }
    let mut rules = Vec::with_capacity(listed.len());
    for rule in listed {
        let word = rule.require("action")?;
        let action = match (word.text()?, flavor) {
            ("Allow", AdminFlavor::Admin | AdminFlavor::Baseline) | ("Accept", AdminFlavor::Cluster) => {
                Action::Allow
            }
            ("Deny", _) => Action::Deny,
            ("Pass", AdminFlavor::Admin | AdminFlavor::Cluster) => Action::Pass,
            (other, _) => return word.refuse(format!("unrecognized action {other:?}")),
        };
        let entries = rule.list(peers_field)?;
        if entries.is_empty() {
            return rule.refuse(format!("{peers_field} field must be defined and contain at least one item"));
        }
        let peers = entries
            .iter()
            .map(|entry| peer(entry, direction == "egress", cluster, options))
            .collect::<Read<Vec<_>>>()?;
        let ports = match rule.get(if cluster { "protocols" } else { "ports" }) {
            None => None,
            Some(node) => {
                let read = |entry| if cluster { cluster_port(entry) } else { admin_port(entry, options) };
                Some(node.items()?.iter().map(read).collect::<Read<Vec<_>>>()?)
            }
        };
        let named = ports.iter().flatten().any(|port| matches!(port, AdminPort::Named(_)));
        if named && !options.np_guard && peers.iter().any(|peer| matches!(peer, AdminPeer::Networks(_))) {
            return rule.refuse("a named port may not be used with networks");
        }
        rules.push(AdminRule { name: rule.text_at("name")?.unwrap_or_default(), action, peers, ports });
    }
    Ok(rules)
}

fn peer(entry: &Node<'_>, egress: bool, cluster: bool, options: ParseOptions) -> Read<AdminPeer> {
    let fields = entry.object()?;
    let set: Vec<&str> =
        fields.iter().filter(|(_, value)| !value.is_null()).map(|(key, _)| key.as_str()).collect();
    let [field] = set.as_slice() else {
        if cluster && set.is_empty() {
            return Ok(AdminPeer::Unknown);
        }
        return entry.refuse("exactly one field must be set in a peer");
    };
    let node = entry.require(field)?;
    match *field {
        "namespaces" => Ok(AdminPeer::Pods { namespaces: node.selector()?, pods: None }),
        "pods" => {
            let (namespaces, pods) = selected_pods(&node, options)?;
            Ok(AdminPeer::Pods { namespaces, pods })
        }
        "networks" if egress || cluster => {
            Ok(AdminPeer::Networks(node.items()?.iter().map(Node::block).collect::<Read<Vec<_>>>()?))
        }
        "nodes" if egress => Ok(AdminPeer::Nodes(node.selector()?)),
        "domainNames" if egress => {
            let names =
                node.items()?.iter().map(|name| name.text().map(str::to_owned)).collect::<Read<Vec<_>>>()?;
            Ok(AdminPeer::Domains(names))
        }
        _ if cluster => Ok(AdminPeer::Unknown),
        other => entry.refuse(format!("unknown peer field {other:?}")),
    }
}

fn admin_port(entry: &Node<'_>, options: ParseOptions) -> Read<AdminPort> {
    match (entry.get("portNumber"), entry.get("portRange"), entry.get("namedPort")) {
        (Some(number), None, None) => {
            let port = number.require("port")?.port()?;
            Ok(AdminPort::Range {
                protocol: policy::protocol(number.get("protocol"))?,
                low: port,
                high: port,
            })
        }
        (None, Some(range), None) => {
            let (low, high) = (range.require("start")?.port()?, range.require("end")?.port()?);
            // np-guard reads such a range as empty; the CRD refuses it.
            if high < low && !options.np_guard {
                return range.refuse("start must not be above end");
            }
            Ok(AdminPort::Range { protocol: policy::protocol(range.get("protocol"))?, low, high })
        }
        (None, None, Some(name)) => Ok(AdminPort::Named(policy::port_name(&name)?)),
        _ => entry.refuse("exactly one field must be set in an AdminNetworkPolicyPort"),
    }
}

fn cluster_port(entry: &Node<'_>) -> Read<AdminPort> {
    let fields = [("tcp", Protocol::Tcp), ("udp", Protocol::Udp), ("sctp", Protocol::Sctp)];
    let mut found =
        entry.get("destinationNamedPort").map(|name| policy::port_name(&name).map(AdminPort::Named));
    for (field, protocol) in fields {
        if let Some(node) = entry.get(field) {
            if found.is_some() {
                return entry.refuse("exactly one protocol must be set");
            }
            found = Some(destination(&node, protocol));
        }
    }
    found.unwrap_or_else(|| entry.refuse("exactly one protocol must be set"))
}

fn destination(node: &Node<'_>, protocol: Protocol) -> Read<AdminPort> {
    let Some(port) = node.get("destinationPort") else { return Ok(AdminPort::Protocol(protocol)) };
    match (port.get("number"), port.get("range")) {
        (Some(number), None) => {
            let number = number.port()?;
            Ok(AdminPort::Range { protocol, low: number, high: number })
        }
        (None, Some(range)) => {
            let (low, high) = (range.require("start")?.port()?, range.require("end")?.port()?);
            if high < low {
                range.refuse("end must not be below start")
            } else {
                Ok(AdminPort::Range { protocol, low, high })
            }
        }
        _ => port.refuse("exactly one of number and range must be set"),
    }
}
