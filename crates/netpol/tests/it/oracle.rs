//! Random small clusters must get the same verdicts from the engine and from the brute-force judge.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use plimsoll_netpol::conn::Protocol;
use plimsoll_netpol::diff::{ChangeKind, DiffPeer, Snapshot, diff_snapshots};
use plimsoll_netpol::engine::{BlockPods, Connectivity, Direction, Options, Peer};
use plimsoll_netpol::objects::{
    Action, AdminFlavor, AdminPeer, AdminPolicy, AdminPort, AdminRule, ClusterNode, Container, ContainerPort,
    IpBlock, Meta, Namespace, NetworkPolicy, Object, PolicyPeer, PolicyPort, PolicyRule, PortRef, Subject,
    Tier, Workload, WorkloadKind,
};
use plimsoll_netpol::selector::{Labels, Operator, Requirement, Selector};
use plimsoll_netpol::state::ClusterState;
use proptest::prelude::*;

use crate::judge::{End, Judge};

const KEYS: [&str; 3] = ["app", "tier", "env"];
const VALUES: [&str; 3] = ["a", "b", "c"];
pub(crate) const SPACES: [&str; 3] = ["red", "green", "blue"];
const BLOCKS: [&str; 7] =
    ["10.0.0.0/8", "10.0.0.0/30", "10.0.0.2/32", "0.0.0.0/0", "192.0.2.0/24", "2001:db8::/32", "::/0"];
pub(crate) const ADDRESSES: [&str; 8] = [
    "10.0.0.1",
    "10.0.0.9",
    "192.0.2.77",
    "8.8.8.8",
    "2001:db8::1",
    "2606:4700::1",
    "10.0.0.65",
    "203.0.113.65",
];
const MACHINES: [&str; 3] = ["n1", "n2", "n3"];
pub(crate) const PORTS: [u16; 5] = [79, 80, 81, 443, 8080];
const NAMES: [&str; 2] = ["web", "dns"];

pub(crate) fn labels() -> impl Strategy<Value = Labels> {
    proptest::collection::btree_map(
        proptest::sample::select(KEYS.as_slice()).prop_map(str::to_owned),
        proptest::sample::select(VALUES.as_slice()).prop_map(str::to_owned),
        0..3,
    )
}

fn selector() -> impl Strategy<Value = Selector> {
    let values = || {
        proptest::collection::vec(proptest::sample::select(VALUES.as_slice()).prop_map(str::to_owned), 1..3)
    };
    let operator = prop_oneof![
        values().prop_map(Operator::In),
        values().prop_map(Operator::NotIn),
        Just(Operator::Exists),
        Just(Operator::DoesNotExist),
    ];
    let requirement = (proptest::sample::select(KEYS.as_slice()), operator)
        .prop_map(|(key, operator)| Requirement { key: key.into(), operator });
    (labels(), proptest::collection::vec(requirement, 0..2))
        .prop_map(|(match_labels, match_expressions)| Selector { match_labels, match_expressions })
}

fn namespace_selector() -> impl Strategy<Value = Selector> {
    prop_oneof![
        3 => selector(),
        1 => proptest::sample::select(SPACES.as_slice()).prop_map(|name| {
            Selector::of_labels([("kubernetes.io/metadata.name".to_owned(), name.to_owned())].into())
        }),
    ]
}

fn protocol() -> impl Strategy<Value = Protocol> {
    proptest::sample::select(Protocol::ALL.as_slice())
}

fn block() -> impl Strategy<Value = IpBlock> {
    (proptest::sample::select(BLOCKS.as_slice()), any::<bool>()).prop_map(|(cidr, hole)| {
        let cidr: IpNet = cidr.parse().unwrap();
        let except = match cidr {
            IpNet::V4(net) if hole && net.prefix_len() < 32 => {
                vec![
                    format!("{}/32", net.broadcast()).parse().unwrap(),
                    format!("{}/31", net.network()).parse().unwrap(),
                ]
            }
            _ => Vec::new(),
        };
        let except =
            except.into_iter().filter(|hole: &IpNet| hole.prefix_len() > cidr.prefix_len()).collect();
        IpBlock { cidr, except }
    })
}

fn policy_rule() -> impl Strategy<Value = PolicyRule> {
    let peer = prop_oneof![
        3 => (proptest::option::of(namespace_selector()), selector()).prop_map(|(namespaces, pods)| PolicyPeer::Pods { namespaces, pods: Some(pods) }),
        1 => namespace_selector().prop_map(|namespaces| PolicyPeer::Pods { namespaces: Some(namespaces), pods: None }),
        1 => block().prop_map(PolicyPeer::Block),
    ];
    let port = (
        protocol(),
        proptest::option::of(prop_oneof![
            (proptest::sample::select(PORTS.as_slice()), 0u16..3)
                .prop_map(|(port, more)| PortRef::Range(port, port + more)),
            proptest::sample::select(NAMES.as_slice()).prop_map(|name| PortRef::Name(name.into())),
        ]),
    )
        .prop_map(|(protocol, port)| PolicyPort { protocol, port });
    (proptest::collection::vec(peer, 0..3), proptest::collection::vec(port, 0..3))
        .prop_map(|(peers, ports)| PolicyRule { peers, ports })
}

pub(crate) fn network_policy(index: usize) -> impl Strategy<Value = Object> {
    let rules = || proptest::option::weighted(0.7, proptest::collection::vec(policy_rule(), 0..3));
    (proptest::sample::select(SPACES.as_slice()), selector(), rules(), rules()).prop_map(
        move |(namespace, pods, ingress, egress)| {
            Object::NetworkPolicy(NetworkPolicy {
                meta: Meta { namespace: namespace.into(), name: format!("np{index}"), ..Meta::default() },
                pods,
                ingress,
                egress,
                unknown: if index == 3 { vec!["spec.x is no field".into()] } else { Vec::new() },
            })
        },
    )
}

pub(crate) fn admin_policy(index: usize) -> impl Strategy<Value = Object> {
    let peer = prop_oneof![
        3 => (namespace_selector(), proptest::option::of(selector())).prop_map(|(namespaces, pods)| AdminPeer::Pods { namespaces, pods }),
        1 => proptest::collection::vec(block().prop_map(|block| block.cidr), 1..3).prop_map(AdminPeer::Networks),
        1 => selector().prop_map(AdminPeer::Nodes),
    ];
    let port = prop_oneof![
        (protocol(), proptest::sample::select(PORTS.as_slice()), 0u16..3)
            .prop_map(|(protocol, low, more)| AdminPort::Range { protocol, low, high: low + more }),
        proptest::sample::select(NAMES.as_slice()).prop_map(|name| AdminPort::Named(name.into())),
        protocol().prop_map(AdminPort::Protocol),
    ];
    let rule = (
        proptest::sample::select([Action::Allow, Action::Deny, Action::Pass].as_slice()),
        proptest::collection::vec(peer, 1..3),
        proptest::option::of(proptest::collection::vec(port, 1..3)),
    )
        .prop_map(|(action, peers, ports)| AdminRule { name: String::new(), action, peers, ports });
    let rules = || proptest::collection::vec(rule.clone(), 0..4);
    let flavor = proptest::sample::select(
        [
            (AdminFlavor::Admin, Tier::Admin),
            (AdminFlavor::Cluster, Tier::Admin),
            (AdminFlavor::Cluster, Tier::Baseline),
            (AdminFlavor::Baseline, Tier::Baseline),
        ]
        .as_slice(),
    );
    (flavor, 0u16..6, namespace_selector(), proptest::option::of(selector()), rules(), rules()).prop_map(
        move |((flavor, tier), priority, namespaces, pods, ingress, egress)| {
            let policy = AdminPolicy {
                meta: Meta { name: format!("p{index}"), ..Meta::default() },
                flavor,
                tier,
                priority,
                subject: Subject { namespaces, pods },
                ingress,
                egress,
            };
            match flavor {
                AdminFlavor::Admin => Object::AdminNetworkPolicy(policy),
                AdminFlavor::Baseline => Object::BaselineAdminNetworkPolicy(policy),
                AdminFlavor::Cluster => Object::ClusterNetworkPolicy(policy),
            }
        },
    )
}

pub(crate) fn pod(index: usize) -> impl Strategy<Value = Object> {
    let port = (
        proptest::option::of(proptest::sample::select(NAMES.as_slice())),
        protocol(),
        proptest::sample::select(PORTS.as_slice()),
    )
        .prop_map(|(name, protocol, port)| ContainerPort {
            name: name.map(str::to_owned),
            protocol,
            port,
            host_port: None,
        });
    let ports = proptest::collection::vec(port, 0..3);
    let place = (proptest::option::of(proptest::sample::select(MACHINES.as_slice())), any::<bool>());
    (proptest::sample::select(SPACES.as_slice()), labels(), ports, proptest::bool::weighted(0.1), place)
        .prop_map(move |(namespace, pod_labels, ports, host_network, (node, host))| {
            // By convention 10.0.0.65 is the first address of n1, and so on.
            let machine = node.map(|name| format!("10.0.0.6{}", 4 + name[1..].parse::<u8>().unwrap()));
            let machine = machine.map(|address| address.parse::<IpAddr>().unwrap());
            let own = format!("10.0.0.{index}").parse().unwrap();
            let container = Container {
                name: "main".into(),
                image: "registry.test/app:1".into(),
                digest: None,
                ports,
                init: false,
                serves: true,
                privileged: false,
            };
            Object::Workload(Workload {
                meta: Meta { namespace: namespace.into(), name: format!("pod{index}"), ..Meta::default() },
                kind: WorkloadKind::Pod,
                pod_labels,
                containers: vec![container],
                host_network,
                service_account: None,
                pod_ips: vec![machine.filter(|_| host_network).unwrap_or(own)],
                node: node.map(str::to_owned),
                host_ip: machine.filter(|_| host),
                replicas: None,
            })
        })
}

pub(crate) fn node(index: usize) -> impl Strategy<Value = Object> {
    let internal =
        proptest::sample::subsequence(vec![format!("10.0.0.6{}", 4 + index), "192.0.2.5".into()], 0..3);
    let external = proptest::sample::subsequence(vec!["203.0.113.65", "2606:4700::1", "10.9.9.9"], 0..2);
    let pods = proptest::sample::subsequence(vec!["10.0.0.0/28", "2001:db8:1::/64"], 0..3);
    (labels(), internal, external, pods).prop_map(move |(labels, internal, external, pods)| {
        Object::Node(ClusterNode {
            meta: Meta { name: MACHINES[index - 1].into(), labels, ..Meta::default() },
            pod_cidrs: pods.iter().map(|block| block.parse().unwrap()).collect(),
            internal: internal.iter().map(|address| address.parse().unwrap()).collect(),
            external: external.iter().map(|address| address.parse().unwrap()).collect(),
        })
    })
}

pub(crate) fn namespace(name: &'static str) -> impl Strategy<Value = Object> {
    labels().prop_map(move |labels| {
        Object::Namespace(Namespace { meta: Meta { name: name.into(), labels, ..Meta::default() } })
    })
}

pub(crate) fn cluster() -> impl Strategy<Value = ClusterState> {
    let namespaces = (namespace("red"), namespace("green")).prop_map(|(a, b)| vec![a, b]);
    let pods = (pod(1), pod(2), pod(3), pod(4)).prop_map(|(a, b, c, d)| vec![a, b, c, d]);
    let policies = (0usize..4).prop_flat_map(|count| (0..count).map(network_policy).collect::<Vec<_>>());
    let admin = (0usize..4).prop_flat_map(|count| (0..count).map(admin_policy).collect::<Vec<_>>());
    let nodes = (0usize..4).prop_flat_map(|count| (1..count).map(node).collect::<Vec<_>>());
    (namespaces, pods, policies, admin, nodes).prop_map(|(a, b, c, d, e)| {
        ClusterState::from([a, b, c, d, e].into_iter().flatten().collect::<Vec<Object>>())
    })
}

fn compare(state: &ClusterState, options: &Options) -> Result<(), TestCaseError> {
    let connectivity = Connectivity::build(state, options);
    let judge = Judge { state, match_pods: options.block_pods == BlockPods::Match };
    let pods: Vec<(usize, &Workload)> = state
        .workloads()
        .map(|pod| {
            let name = format!("{}/{}[Pod]", pod.meta.namespace, pod.meta.name);
            (connectivity.endpoints().iter().position(|endpoint| endpoint.to_string() == name).unwrap(), pod)
        })
        .collect();
    let addresses: Vec<IpAddr> = ADDRESSES.iter().map(|address| address.parse().unwrap()).collect();
    let check = |source: (Peer, End<'_>), destination: (Peer, End<'_>)| {
        let open = connectivity.between(source.0, destination.0);
        for protocol in Protocol::ALL {
            for port in PORTS.iter().flat_map(|port| [*port, port + 1, port + 2, 1, 65535]) {
                let expected = judge.allows(source.1, destination.1, protocol, port);
                prop_assert_eq!(
                    open.contains(protocol, port),
                    expected,
                    "{:?} -> {:?} {:?} {}: {:#?}",
                    source.0,
                    destination.0,
                    protocol,
                    port,
                    connectivity.explain(source.0, destination.0)
                );
            }
        }
        Ok(())
    };
    for &(s, source) in &pods {
        for &(d, destination) in &pods {
            if s != d {
                check((Peer::Workload(s), End::Pod(source)), (Peer::Workload(d), End::Pod(destination)))?;
            }
        }
        for address in &addresses {
            if let Some(range) = connectivity.range_of(*address, Direction::Egress) {
                check((Peer::Workload(s), End::Pod(source)), (Peer::Range(range), End::Address(*address)))?;
            }
            if let Some(range) = connectivity.range_of(*address, Direction::Ingress) {
                check((Peer::Range(range), End::Address(*address)), (Peer::Workload(s), End::Pod(source)))?;
            }
        }
    }
    // Rows are the same answers, without the empty ones.
    let rows = connectivity.rows();
    for (source, destination, conn) in rows.iter() {
        prop_assert_eq!(conn, &connectivity.between(source, destination));
        prop_assert!(!conn.is_empty());
    }
    let pairs = pods.iter().flat_map(|(s, _)| pods.iter().map(move |(d, _)| (*s, *d)));
    let open = pairs
        .filter(|(s, d)| s != d && !connectivity.between(Peer::Workload(*s), Peer::Workload(*d)).is_empty());
    let listed =
        rows.iter().filter(|(s, d, _)| matches!((s, d), (Peer::Workload(_), Peer::Workload(_)))).count();
    prop_assert_eq!(open.count(), listed);
    let reach = connectivity.reach();
    for (s, _) in &pods {
        let targets = pods.iter().filter(|(d, _)| {
            d != s && !connectivity.between(Peer::Workload(*s), Peer::Workload(*d)).is_empty()
        });
        prop_assert_eq!(reach[*s] as usize, targets.count());
        let callers =
            connectivity.callers(*s).map(|(caller, _)| caller).collect::<std::collections::BTreeSet<_>>();
        let sources = pods.iter().filter(|(d, _)| {
            d != s && !connectivity.between(Peer::Workload(*d), Peer::Workload(*s)).is_empty()
        });
        prop_assert_eq!(callers, sources.map(|(d, _)| *d).collect());
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn engine_agrees_with_single_packets(state in cluster(), matching in any::<bool>()) {
        let block_pods = if matching { BlockPods::Match } else { BlockPods::Never };
        compare(&state, &Options { block_pods, ..Options::default() })?;
    }

    #[test]
    fn difference_is_that_of_the_rows(before in cluster(), after in cluster()) {
        let (before, after) = (Arc::new(before), Arc::new(after));
        let options = Options::default();
        let (b, a) = (Snapshot::new(before, &options), Snapshot::new(after, &options));
        let narrow = diff_snapshots(&b, &a, false);
        let mut whole = diff_snapshots(&b, &a, true);
        // Looking only where rows differ finds what looking everywhere finds.
        whole.rows.retain(|row| row.kind != ChangeKind::Unchanged);
        prop_assert_eq!(&narrow.rows, &whole.rows);
        let named = |snapshot: &Snapshot, name: &str| {
            snapshot.connectivity.endpoints().iter().position(|endpoint| endpoint.to_string() == name)
        };
        for row in &narrow.rows {
            if let (DiffPeer::Workload(s), DiffPeer::Workload(d)) = (&row.source, &row.destination) {
                for (snapshot, conn) in [(&b, &row.before), (&a, &row.after)] {
                    if let (Some(s), Some(d)) = (named(snapshot, s), named(snapshot, d)) {
                        prop_assert_eq!(conn, &snapshot.connectivity.between(Peer::Workload(s), Peer::Workload(d)));
                    }
                }
            }
        }
        prop_assert!(diff_snapshots(&b, &b, false).rows.is_empty());
    }

    #[test]
    fn a_kept_state_is_the_same_state(state in cluster()) {
        let text = serde_json::to_string(&state).unwrap();
        prop_assert_eq!(serde_json::from_str::<ClusterState>(&text).unwrap(), state);
    }
}
