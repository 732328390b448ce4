//! Time of a cold build, of the whole matrix, of one change with its difference, and of all exposures, for generated
//! clusters: `bench [CLASSES POLICIES]…`, by default a table of sizes. Not a test: figures depend on the machine.
#![allow(clippy::indexing_slicing)]

use std::sync::Arc;
use std::time::Instant;

use plimsoll_netpol::conn::Protocol;
use plimsoll_netpol::diff::{Snapshot, diff_snapshots};
use plimsoll_netpol::engine::{Connectivity, Options};
use plimsoll_netpol::exposure::exposures;
use plimsoll_netpol::objects::{
    IpBlock, Meta, NetworkPolicy, Object, PolicyPeer, PolicyPort, PolicyRule, PortRef, Workload, WorkloadKind,
};
use plimsoll_netpol::selector::{Labels, Operator, Requirement, Selector};
use plimsoll_netpol::state::ClusterState;

/// A small generator of repeatable numbers (xorshift64*).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % sides.max(1)
    }
}

const PER_NAMESPACE: usize = 20;

fn labels(workload: usize, dice: &mut Dice) -> Labels {
    let tier = ["web", "api", "db", "job"][dice.roll(4)];
    [("app", format!("app-{workload}")), ("tier", tier.into()), ("team", format!("team-{}", dice.roll(40)))]
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value))
        .collect()
}

fn peer(namespace: usize, namespaces: usize, dice: &mut Dice) -> PolicyPeer {
    let one = |key: &str, value: String| Selector::of_labels([(key.to_owned(), value)].into());
    match dice.roll(10) {
        0..=3 => PolicyPeer::Pods {
            namespaces: None,
            pods: Some(one("app", format!("app-{}", namespace * PER_NAMESPACE + dice.roll(PER_NAMESPACE)))),
        },
        4 | 5 => {
            let name = format!("ns-{}", dice.roll(namespaces));
            PolicyPeer::Pods { namespaces: Some(one("kubernetes.io/metadata.name", name)), pods: None }
        }
        6 | 7 => PolicyPeer::Pods {
            namespaces: Some(Selector::default()),
            pods: Some(one("team", format!("team-{}", dice.roll(40)))),
        },
        8 => PolicyPeer::Pods {
            namespaces: None,
            pods: Some(Selector {
                match_labels: Labels::new(),
                match_expressions: vec![Requirement {
                    key: "tier".into(),
                    operator: Operator::In(vec!["web".into(), "api".into()]),
                }],
            }),
        },
        _ => {
            let cidr = format!("{}.{}.0.0/16", 11 + dice.roll(100), dice.roll(250)).parse();
            match cidr {
                Ok(cidr) => PolicyPeer::Block(IpBlock { cidr, except: Vec::new() }),
                Err(_) => PolicyPeer::Pods { namespaces: None, pods: None },
            }
        }
    }
}

fn rules(namespace: usize, namespaces: usize, dice: &mut Dice) -> Vec<PolicyRule> {
    let rule = |dice: &mut Dice| {
        let peers = (0..1 + dice.roll(3)).map(|_| peer(namespace, namespaces, dice)).collect();
        let ports = (0..dice.roll(3))
            .map(|_| {
                let low = 80 + dice.roll(2_000) as u16;
                let protocol = if dice.roll(8) == 0 { Protocol::Udp } else { Protocol::Tcp };
                PolicyPort { protocol, port: Some(PortRef::Range(low, low + dice.roll(3) as u16)) }
            })
            .collect();
        PolicyRule { peers, ports }
    };
    (0..1 + dice.roll(2)).map(|_| rule(dice)).collect()
}

fn policy(index: usize, namespaces: usize, dice: &mut Dice) -> Object {
    let namespace = dice.roll(namespaces);
    let pods = match dice.roll(4) {
        0 => Selector::default(),
        1 => Selector::of_labels([("tier".to_owned(), "web".to_owned())].into()),
        _ => {
            let app = namespace * PER_NAMESPACE + dice.roll(PER_NAMESPACE);
            Selector::of_labels([("app".to_owned(), format!("app-{app}"))].into())
        }
    };
    Object::NetworkPolicy(NetworkPolicy {
        meta: Meta { namespace: format!("ns-{namespace}"), name: format!("p-{index}"), ..Meta::default() },
        pods,
        ingress: Some(rules(namespace, namespaces, dice)),
        egress: (dice.roll(3) == 0).then(|| rules(namespace, namespaces, dice)),
    })
}

fn cluster(classes: usize, policies: usize) -> ClusterState {
    let mut dice = Dice(7);
    let namespaces = classes.div_ceil(PER_NAMESPACE);
    let mut objects = Vec::with_capacity(classes + policies);
    for index in 0..classes {
        objects.push(Object::Workload(Workload {
            meta: Meta {
                namespace: format!("ns-{}", index / PER_NAMESPACE),
                name: format!("app-{index}"),
                ..Meta::default()
            },
            kind: WorkloadKind::Deployment,
            pod_labels: labels(index, &mut dice),
            containers: Vec::new(),
            host_network: false,
            service_account: None,
            pod_ips: Vec::new(),
            node: None,
            host_ip: None,
            replicas: None,
        }));
    }
    objects.extend((0..policies).map(|index| policy(index, namespaces, &mut dice)));
    ClusterState::from(objects)
}

fn main() {
    let asked: Vec<usize> = std::env::args().skip(1).filter_map(|word| word.parse().ok()).collect();
    let table = [1_000, 500, 3_000, 5_000, 10_000, 5_000, 10_000, 20_000];
    let sizes = if asked.len() >= 2 { asked.as_slice() } else { table.as_slice() };
    for pair in sizes.chunks_exact(2) {
        let (classes, policies) = (pair[0], pair[1]);
        let state = Arc::new(cluster(classes, policies));
        let options = Options::default();
        let begin = Instant::now();
        let connectivity = Connectivity::build(&state, &options);
        let cold = begin.elapsed();
        let (made, rows, conns) = connectivity.sizes();
        let begin = Instant::now();
        let matrix = connectivity.rows().len();
        let whole = begin.elapsed();
        let begin = Instant::now();
        let judged = exposures(&state, &connectivity, &options).len();
        let exposure = begin.elapsed();
        let before = Snapshot::new(Arc::clone(&state), &options);
        let mut changed = (*state).clone();
        let gone = changed.objects().find(|object| object.kind().ends_with("NetworkPolicy")).map(Object::key);
        gone.into_iter().for_each(|key| {
            changed.delete(&key);
        });
        let begin = Instant::now();
        let after = Snapshot::new(Arc::new(changed), &options);
        let rebuilt = begin.elapsed();
        let begin = Instant::now();
        let differing = diff_snapshots(&before, &after, false).rows.len();
        let diff = begin.elapsed();
        println!(
            "{classes} workloads × {policies} policies: {made} classes, {rows} rows, {conns} connection sets; build {cold:?}, \
             matrix {whole:?} ({matrix} connections), exposures {exposure:?} ({judged}), rebuild {rebuilt:?}, difference {diff:?} \
             ({differing} rows)"
        );
    }
}
