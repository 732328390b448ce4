//! NetworkPolicy, `networking.k8s.io/v1`.

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::Meta;
use super::node::{Node, Read};
use crate::conn::Protocol;
use crate::selector::Selector;

/// A port by number or by the name that the destination's containers give it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum PortRef {
    /// An inclusive range; a single number is a range of one.
    Range(u16, u16),
    Name(String),
}

/// One entry of `ports`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PolicyPort {
    pub protocol: Protocol,
    /// `None`: every port of the protocol.
    pub port: Option<PortRef>,
}

/// An address block with holes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct IpBlock {
    pub cidr: IpNet,
    pub except: Vec<IpNet>,
}

/// One entry of `from` or `to`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum PolicyPeer {
    /// Both selectors must match; no namespace selector means the policy's own namespace.
    Pods {
        namespaces: Option<Selector>,
        pods: Option<Selector>,
    },
    Block(IpBlock),
}

/// One entry of `ingress` or `egress`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PolicyRule {
    /// Empty: any peer, inside and outside the cluster.
    pub peers: Vec<PolicyPeer>,
    /// Empty: every port of every protocol.
    pub ports: Vec<PolicyPort>,
}

/// A NetworkPolicy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkPolicy {
    pub meta: Meta,
    /// Empty: every pod of the namespace.
    pub pods: Selector,
    /// Rules of ingress; `None` when the policy does not affect it.
    pub ingress: Option<Vec<PolicyRule>>,
    /// Rules of egress; `None` when the policy does not affect it.
    pub egress: Option<Vec<PolicyRule>>,
    /// What is said of fields that Kubernetes does not know, at most [`MAX_UNKNOWN`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unknown: Vec<String>,
}

/// Unknown fields of a policy that are told.
const MAX_UNKNOWN: usize = 8;

/// Fields that Kubernetes does not know. A server that is asked to be strict refuses them, as `kubectl` asks; another one
/// drops them, and what is left may allow more than was meant.
struct Unknown(Vec<String>);

impl Unknown {
    /// Looks at the fields of a node. `without` says what the policy means where they are dropped.
    fn look(&mut self, node: &Node<'_>, known: &[&str], without: &str) {
        for path in node.unknown(known) {
            if self.0.len() < MAX_UNKNOWN {
                let known = known.join(", ");
                self.0.push(format!("{path} is no field of a NetworkPolicy (those are {known}){without}"));
            }
        }
    }

    fn of(spec: &Node<'_>) -> Read<Vec<String>> {
        let mut found = Self(Vec::new());
        let all = if spec.get("podSelector").is_some() { "" } else { ": without it, every pod is selected" };
        found.look(spec, &["podSelector", "policyTypes", "ingress", "egress"], all);
        found.selector(spec.get("podSelector"))?;
        for (direction, peers) in [("ingress", "from"), ("egress", "to")] {
            for rule in spec.list(direction)? {
                let every = match rule.list(peers)?.is_empty() {
                    true => ": without it, the rule allows every peer",
                    false => "",
                };
                found.look(&rule, &[peers, "ports"], every);
                for peer in rule.list(peers)? {
                    found.look(&peer, &["podSelector", "namespaceSelector", "ipBlock"], "");
                    found.selector(peer.get("podSelector"))?;
                    found.selector(peer.get("namespaceSelector"))?;
                    if let Some(block) = peer.get("ipBlock") {
                        found.look(&block, &["cidr", "except"], "");
                    }
                }
                for port in rule.list("ports")? {
                    let every = match port.get("port") {
                        None => ": without it, every port is allowed",
                        Some(_) => "",
                    };
                    found.look(&port, &["protocol", "port", "endPort"], every);
                }
            }
        }
        Ok(found.0)
    }

    fn selector(&mut self, selector: Option<Node<'_>>) -> Read<()> {
        let Some(selector) = selector else { return Ok(()) };
        let all = match selector.get("matchLabels").is_some() || selector.get("matchExpressions").is_some() {
            true => "",
            false => ": without it, the selector is empty and matches everything",
        };
        self.look(&selector, &["matchLabels", "matchExpressions"], all);
        for expression in selector.list("matchExpressions")? {
            self.look(&expression, &["key", "operator", "values"], "");
        }
        Ok(())
    }
}

pub(super) fn read(meta: Meta, root: &Node<'_>) -> Read<NetworkPolicy> {
    let Some(spec) = root.get("spec") else {
        return Ok(NetworkPolicy {
            meta,
            pods: Selector::default(),
            ingress: Some(Vec::new()),
            egress: None,
            unknown: Vec::new(),
        });
    };
    let pods = spec.get("podSelector").map_or(Ok(Selector::default()), |node| node.selector())?;
    let ingress = rules(&spec, "ingress", "from")?;
    let egress = rules(&spec, "egress", "to")?;
    let types = spec.list("policyTypes")?;
    let (mut in_effect, mut out_effect) = (types.is_empty(), types.is_empty() && !egress.is_empty());
    for kind in types {
        match kind.text()? {
            "Ingress" => in_effect = true,
            "Egress" => out_effect = true,
            other => return kind.refuse(format!("{other:?} must be Ingress or Egress")),
        }
    }
    Ok(NetworkPolicy {
        meta,
        pods,
        ingress: in_effect.then_some(ingress),
        egress: out_effect.then_some(egress),
        unknown: Unknown::of(&spec)?,
    })
}

fn rules(spec: &Node<'_>, direction: &str, peers: &str) -> Read<Vec<PolicyRule>> {
    let mut rules = Vec::new();
    for rule in spec.list(direction)? {
        rule.structure()?;
        let read = |entries: Vec<Node<'_>>| entries.iter().map(peer).collect::<Read<Vec<_>>>();
        let ports = rule.list("ports")?.iter().map(port).collect::<Read<Vec<_>>>()?;
        rules.push(PolicyRule { peers: read(rule.list(peers)?)?, ports });
    }
    Ok(rules)
}

fn peer(entry: &Node<'_>) -> Read<PolicyPeer> {
    let (namespaces, pods, block) =
        (entry.get("namespaceSelector"), entry.get("podSelector"), entry.get("ipBlock"));
    match (namespaces, pods, block) {
        (None, None, Some(block)) => Ok(PolicyPeer::Block(ip_block(&block)?)),
        (_, _, Some(_)) => entry.refuse("ipBlock may not stand beside podSelector or namespaceSelector"),
        (None, None, None) => {
            let known = ["podSelector", "namespaceSelector", "ipBlock"];
            let instead = match entry.unknown(&known).as_slice() {
                [] => String::new(),
                unknown => format!("; {} is none of them", unknown.join(", ")),
            };
            entry.refuse(format!("must name a podSelector, a namespaceSelector or an ipBlock{instead}"))
        }
        (namespaces, pods, None) => Ok(PolicyPeer::Pods {
            namespaces: namespaces.map(|node| node.selector()).transpose()?,
            pods: pods.map(|node| node.selector()).transpose()?,
        }),
    }
}

fn ip_block(node: &Node<'_>) -> Read<IpBlock> {
    let cidr = node.require("cidr")?.block()?;
    let mut except = Vec::new();
    for hole in node.list("except")? {
        let block = hole.block()?;
        if !cidr.contains(&block) || block.prefix_len() <= cidr.prefix_len() {
            return hole.refuse(format!("{block} must be a strict subset of cidr {cidr}"));
        }
        except.push(block);
    }
    Ok(IpBlock { cidr, except })
}

pub(super) fn protocol(node: Option<Node<'_>>) -> Read<Protocol> {
    let Some(node) = node else { return Ok(Protocol::Tcp) };
    let text = node.text()?;
    match Protocol::parse(text) {
        Some(protocol) => Ok(protocol),
        None => node.refuse(format!("must be TCP, UDP or SCTP, not {text:?}")),
    }
}

/// Names of ports follow IANA_SVC_NAME: 1–15 of a–z, 0–9 and `-`, with a letter.
pub(super) fn port_name(node: &Node<'_>) -> Read<String> {
    let name = node.text()?;
    let valid = (1..=15).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        && name.bytes().any(|byte| byte.is_ascii_lowercase());
    if valid {
        return Ok(name.to_owned());
    }
    let number = name.bytes().all(|byte| byte.is_ascii_digit()) && !name.is_empty();
    let hint = if number { "; a number is written without quotes" } else { "" };
    node.refuse(format!("{name:?} is not a valid port name{hint}"))
}

fn port(entry: &Node<'_>) -> Read<PolicyPort> {
    entry.structure()?;
    let protocol = protocol(entry.get("protocol"))?;
    let (port, end) = (entry.get("port"), entry.get("endPort"));
    let port = match (port, end) {
        (None, None) => None,
        (None, Some(end)) => return end.refuse("endPort may not stand without port"),
        (Some(port), Some(end)) if port.is_text() => {
            return end.refuse("endPort may not stand beside a named port");
        }
        (Some(port), None) if port.is_text() => Some(PortRef::Name(port_name(&port)?)),
        (Some(port), None) => {
            let port = port.port()?;
            Some(PortRef::Range(port, port))
        }
        (Some(port), Some(end)) => {
            let (low, high) = (port.port()?, end.port()?);
            if high < low {
                return end.refuse("endPort must not be below port");
            }
            Some(PortRef::Range(low, high))
        }
    };
    Ok(PolicyPort { protocol, port })
}
