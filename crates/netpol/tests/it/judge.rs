//! A brute-force judge of single packets, written from the text of the APIs and sharing nothing with the engine but
//! the parsed objects. The benchmark measures it, too.

use std::net::IpAddr;

use plimsoll_netpol::conn::Protocol;
use plimsoll_netpol::objects::{
    Action, AdminFlavor, AdminPeer, AdminPolicy, AdminPort, AdminRule, IpBlock, NetworkPolicy, Object,
    PolicyPeer, PolicyRule, PortRef, Tier, Workload,
};
use plimsoll_netpol::selector::{Labels, Operator, Selector};
use plimsoll_netpol::state::ClusterState;

/// One end of a packet.
#[derive(Clone, Copy)]
pub(crate) enum End<'a> {
    Pod(&'a Workload),
    Address(IpAddr),
}

pub(crate) struct Judge<'a> {
    pub(crate) state: &'a ClusterState,
    pub(crate) match_pods: bool,
}

impl Judge<'_> {
    pub(crate) fn allows(
        &self,
        source: End<'_>,
        destination: End<'_>,
        protocol: Protocol,
        port: u16,
    ) -> bool {
        let out = match source {
            End::Pod(pod) => self.side(pod, destination, destination, protocol, port, false),
            End::Address(_) => true,
        };
        let into = match destination {
            End::Pod(pod) => self.side(pod, source, destination, protocol, port, true),
            End::Address(_) => true,
        };
        out && into
    }

    fn namespace_labels(&self, name: &str) -> Labels {
        let mut labels = Labels::new();
        for object in self.state.objects() {
            if let Object::Namespace(namespace) = object
                && namespace.meta.name == name
            {
                labels = namespace.meta.labels.clone();
            }
        }
        labels.insert("kubernetes.io/metadata.name".into(), name.into());
        labels
    }

    fn side(
        &self,
        pod: &Workload,
        peer: End<'_>,
        destination: End<'_>,
        protocol: Protocol,
        port: u16,
        ingress: bool,
    ) -> bool {
        let mut admin: Vec<&AdminPolicy> = Vec::new();
        let mut policies: Vec<&NetworkPolicy> = Vec::new();
        for object in self.state.objects() {
            match object {
                Object::NetworkPolicy(policy)
                    if policy.meta.namespace == pod.meta.namespace
                        && selects(&policy.pods, &pod.pod_labels) =>
                {
                    policies.push(policy);
                }
                Object::AdminNetworkPolicy(policy)
                | Object::BaselineAdminNetworkPolicy(policy)
                | Object::ClusterNetworkPolicy(policy) => {
                    let subject = &policy.subject;
                    let of_node = policy.flavor == AdminFlavor::Cluster && pod.host_network;
                    if !of_node
                        && selects(&subject.namespaces, &self.namespace_labels(&pod.meta.namespace))
                        && subject.pods.as_ref().is_none_or(|pods| selects(pods, &pod.pod_labels))
                    {
                        admin.push(policy);
                    }
                }
                _ => {}
            }
        }
        let first = |tier: Tier| {
            let mut of_tier: Vec<_> = admin.iter().filter(|policy| policy.tier == tier).collect();
            of_tier.sort_by_key(|policy| (policy.priority, policy.meta.name.clone()));
            for policy in of_tier {
                for rule in if ingress { &policy.ingress } else { &policy.egress } {
                    if self.admin_matches(policy, rule, peer, destination, protocol, port) {
                        return Some(rule.action);
                    }
                }
            }
            None
        };
        match first(Tier::Admin) {
            Some(Action::Allow) => return true,
            Some(Action::Deny) => return false,
            Some(Action::Pass) | None => {}
        }
        let mut isolated = false;
        for policy in policies {
            let Some(rules) = (if ingress { &policy.ingress } else { &policy.egress }) else { continue };
            isolated = true;
            for rule in rules {
                if self.rule_matches(policy, rule, peer, destination, protocol, port) {
                    return true;
                }
            }
        }
        if isolated {
            return false;
        }
        first(Tier::Baseline) != Some(Action::Deny)
    }

    fn in_block(&self, block: &IpBlock, peer: End<'_>, match_pods: bool) -> bool {
        let holds = |address: &IpAddr| {
            block.cidr.contains(address) && !block.except.iter().any(|hole| hole.contains(address))
        };
        match peer {
            End::Address(address) => holds(&address),
            End::Pod(pod) => match_pods && pod.pod_ips.iter().any(holds),
        }
    }

    fn is_node(&self, selector: &Selector, address: &IpAddr) -> bool {
        self.state.objects().any(|object| match object {
            Object::Node(node) => {
                selects(selector, &node.meta.labels)
                    && (node.internal.contains(address) || node.external.contains(address))
            }
            _ => false,
        })
    }

    fn rule_matches(
        &self,
        policy: &NetworkPolicy,
        rule: &PolicyRule,
        peer: End<'_>,
        destination: End<'_>,
        protocol: Protocol,
        port: u16,
    ) -> bool {
        let peers = rule.peers.is_empty()
            || rule.peers.iter().any(|entry| match (entry, peer) {
                (PolicyPeer::Block(block), peer) => self.in_block(block, peer, self.match_pods),
                (PolicyPeer::Pods { .. }, End::Address(_)) => false,
                (PolicyPeer::Pods { namespaces, pods }, End::Pod(pod)) => {
                    let namespace = match namespaces {
                        None => pod.meta.namespace == policy.meta.namespace,
                        Some(selector) => selects(selector, &self.namespace_labels(&pod.meta.namespace)),
                    };
                    namespace && pods.as_ref().is_none_or(|pods| selects(pods, &pod.pod_labels))
                }
            });
        let ports = rule.ports.is_empty()
            || rule.ports.iter().any(|entry| {
                entry.protocol == protocol
                    && match &entry.port {
                        None => true,
                        Some(PortRef::Range(low, high)) => (*low..=*high).contains(&port),
                        Some(PortRef::Name(name)) => {
                            has_named(destination, name, Some(protocol), protocol, port)
                        }
                    }
            });
        peers && ports
    }

    fn admin_matches(
        &self,
        policy: &AdminPolicy,
        rule: &AdminRule,
        peer: End<'_>,
        destination: End<'_>,
        protocol: Protocol,
        port: u16,
    ) -> bool {
        let cluster = policy.flavor == AdminFlavor::Cluster;
        let peers = rule.peers.iter().any(|entry| match (entry, peer) {
            (AdminPeer::Networks(networks), peer) => networks
                .iter()
                .any(|net| self.in_block(&IpBlock { cidr: *net, except: Vec::new() }, peer, cluster)),
            (AdminPeer::Nodes(selector), End::Address(address)) => self.is_node(selector, &address),
            (AdminPeer::Nodes(selector), End::Pod(pod)) => {
                pod.pod_ips.iter().any(|address| self.is_node(selector, address))
            }
            (AdminPeer::Pods { namespaces, pods }, End::Pod(pod)) => {
                !(cluster && pod.host_network)
                    && selects(namespaces, &self.namespace_labels(&pod.meta.namespace))
                    && pods.as_ref().is_none_or(|pods| selects(pods, &pod.pod_labels))
            }
            _ => false,
        });
        let ports = rule.ports.as_ref().is_none_or(|ports| {
            ports.iter().any(|entry| match entry {
                AdminPort::Range { protocol: of, low, high } => {
                    *of == protocol && (*low..=*high).contains(&port)
                }
                AdminPort::Protocol(of) => *of == protocol,
                AdminPort::Named(name) => has_named(destination, name, None, protocol, port),
            })
        });
        peers && ports
    }
}

fn has_named(
    destination: End<'_>,
    name: &str,
    want: Option<Protocol>,
    protocol: Protocol,
    port: u16,
) -> bool {
    let End::Pod(pod) = destination else { return false };
    pod.containers.iter().filter(|container| container.serves).flat_map(|container| &container.ports).any(
        |known| {
            known.name.as_deref() == Some(name)
                && known.port == port
                && known.protocol == protocol
                && want.is_none_or(|want| want == known.protocol)
        },
    )
}

fn selects(selector: &Selector, labels: &Labels) -> bool {
    for (key, value) in &selector.match_labels {
        if labels.get(key) != Some(value) {
            return false;
        }
    }
    for requirement in &selector.match_expressions {
        let value = labels.get(&requirement.key);
        let holds = match &requirement.operator {
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
            Operator::In(values) => values.iter().any(|listed| Some(listed) == value),
            Operator::NotIn(values) => !values.iter().any(|listed| Some(listed) == value),
        };
        if !holds {
            return false;
        }
    }
    true
}
