//! A generated cluster: Deployments with a pod each, labelled namespaces, Services, Ingresses, NetworkPolicies, and
//! the administrator's tiers. Repeatable: the same numbers every time.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use plimsoll_netpol::conn::Protocol;
use plimsoll_netpol::objects::{
    Action, AdminFlavor, AdminPeer, AdminPolicy, AdminPort, AdminRule, BackendPort, Container, ContainerPort,
    Ingress, IngressBackend, IpBlock, Meta, Namespace, NetworkPolicy, Object, OwnerRef, PolicyPeer,
    PolicyPort, PolicyRule, PortRef, Service, ServicePort, ServiceType, Subject, TargetPort, Tier, Workload,
    WorkloadKind,
};
use plimsoll_netpol::selector::{Labels, Operator, Requirement, Selector};
use plimsoll_netpol::state::ClusterState;

/// A small generator of repeatable numbers (xorshift64*).
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % sides.max(1)
    }
}

/// How large a cluster is.
#[derive(Clone, Copy)]
pub(crate) struct Size {
    pub(crate) workloads: usize,
    pub(crate) policies: usize,
}

const PER_NAMESPACE: usize = 20;
const TIERS: [&str; 4] = ["web", "api", "db", "job"];
const ENVIRONMENTS: [&str; 4] = ["prod", "stage", "test", "dev"];
const TEAMS: usize = 40;

fn one(key: &str, value: impl Into<String>) -> Labels {
    [(key.to_owned(), value.into())].into()
}

fn selector(key: &str, value: impl Into<String>) -> Selector {
    Selector::of_labels(one(key, value))
}

impl Size {
    pub(crate) fn namespaces(self) -> usize {
        self.workloads.div_ceil(PER_NAMESPACE)
    }
}

fn meta(namespace: usize, name: String) -> Meta {
    Meta { namespace: format!("ns-{namespace}"), name, ..Meta::default() }
}

/// Labels of a workload; `salt` gives other ones.
pub(crate) fn pod_labels(workload: usize, salt: usize) -> Labels {
    let mut dice = Dice(1 + workload as u64 * 31 + salt as u64 * 7_919);
    dice.roll(2);
    [
        ("app", format!("app-{workload}")),
        ("tier", TIERS[dice.roll(TIERS.len())].to_owned()),
        ("team", format!("team-{}", dice.roll(TEAMS))),
    ]
    .into_iter()
    .map(|(key, value)| (key.to_owned(), value))
    .collect()
}

fn containers() -> Vec<Container> {
    let port = |name: &str, port: u16| ContainerPort {
        name: Some(name.to_owned()),
        protocol: Protocol::Tcp,
        port,
        host_port: None,
    };
    vec![Container {
        name: "main".into(),
        image: "registry.test/app:1".into(),
        digest: None,
        ports: vec![port("http", 8080), port("metrics", 9090)],
        init: false,
        serves: true,
        privileged: false,
    }]
}

fn workload(index: usize, name: String, kind: WorkloadKind, labels: Labels) -> Workload {
    Workload {
        meta: meta(index / PER_NAMESPACE, name),
        kind,
        pod_labels: labels,
        containers: containers(),
        host_network: false,
        service_account: None,
        pod_ips: Vec::new(),
        node: None,
        host_ip: None,
        replicas: None,
    }
}

/// A Deployment; `salt` gives other labels.
pub(crate) fn deployment(index: usize, salt: usize) -> Object {
    let labels = pod_labels(index, salt);
    Object::Workload(workload(index, format!("app-{index}"), WorkloadKind::Deployment, labels))
}

/// A pod of a Deployment; `generation` gives it another name and address.
pub(crate) fn pod(index: usize, salt: usize, generation: usize) -> Object {
    let mut labels = pod_labels(index, salt);
    labels.insert("pod-template-hash".into(), "5d4f".into());
    let mut pod = workload(index, format!("app-{index}-5d4f-{generation}"), WorkloadKind::Pod, labels);
    pod.meta.owners =
        vec![OwnerRef { kind: "ReplicaSet".into(), name: format!("app-{index}-5d4f"), controller: true }];
    let low = (index * 4 + generation % 4) as u32;
    pod.pod_ips = vec![
        IpAddr::V4(Ipv4Addr::from(0x0A80_0000 + low)),
        IpAddr::V6(Ipv6Addr::from(0xFD00_0001_u128 << 96 | u128::from(low))),
    ];
    Object::Workload(pod)
}

pub(crate) fn namespace(index: usize, dice: &mut Dice) -> Object {
    let mut labels = one("env", ENVIRONMENTS[dice.roll(ENVIRONMENTS.len())]);
    labels.insert("team".into(), format!("team-{}", dice.roll(TEAMS)));
    Object::Namespace(Namespace { meta: Meta { name: format!("ns-{index}"), labels, ..Meta::default() } })
}

fn block(dice: &mut Dice) -> PolicyPeer {
    let text = match dice.roll(3) {
        0 => format!("2a00:{:x}::/32", dice.roll(4_000)),
        _ => format!("{}.{}.0.0/16", 11 + dice.roll(100), dice.roll(250)),
    };
    match text.parse() {
        Ok(cidr) => PolicyPeer::Block(IpBlock { cidr, except: Vec::new() }),
        Err(_) => PolicyPeer::Pods { namespaces: None, pods: None },
    }
}

fn peer(namespace: usize, size: Size, dice: &mut Dice) -> PolicyPeer {
    match dice.roll(10) {
        0..=3 => {
            let app = namespace * PER_NAMESPACE + dice.roll(PER_NAMESPACE);
            PolicyPeer::Pods { namespaces: None, pods: Some(selector("app", format!("app-{app}"))) }
        }
        4 => {
            let name = format!("ns-{}", dice.roll(size.namespaces()));
            PolicyPeer::Pods { namespaces: Some(selector("kubernetes.io/metadata.name", name)), pods: None }
        }
        5 => {
            let team = format!("team-{}", dice.roll(TEAMS));
            PolicyPeer::Pods { namespaces: Some(selector("team", team)), pods: None }
        }
        6 | 7 => {
            let team = format!("team-{}", dice.roll(TEAMS));
            PolicyPeer::Pods { namespaces: Some(Selector::default()), pods: Some(selector("team", team)) }
        }
        8 => {
            let operator = Operator::In(vec!["web".into(), "api".into()]);
            let requirement = Requirement { key: "tier".into(), operator };
            let pods = Selector { match_labels: Labels::new(), match_expressions: vec![requirement] };
            PolicyPeer::Pods { namespaces: None, pods: Some(pods) }
        }
        _ => block(dice),
    }
}

fn rules(namespace: usize, size: Size, dice: &mut Dice) -> Vec<PolicyRule> {
    let rule = |dice: &mut Dice| {
        let peers = (0..1 + dice.roll(3)).map(|_| peer(namespace, size, dice)).collect();
        let ports = (0..dice.roll(3))
            .map(|_| {
                let low = 80 + dice.roll(2_000) as u16;
                let protocol = if dice.roll(8) == 0 { Protocol::Udp } else { Protocol::Tcp };
                let port = match dice.roll(12) {
                    0 => PortRef::Name("http".into()),
                    _ => PortRef::Range(low, low + dice.roll(3) as u16),
                };
                PolicyPort { protocol, port: Some(port) }
            })
            .collect();
        PolicyRule { peers, ports }
    };
    (0..1 + dice.roll(2)).map(|_| rule(dice)).collect()
}

/// A NetworkPolicy; one in four selects a whole namespace.
pub(crate) fn policy(index: usize, size: Size, dice: &mut Dice) -> Object {
    // A policy keeps its namespace whatever its rules become.
    let namespace = Dice(index as u64 + 1).roll(size.namespaces());
    let pods = match dice.roll(4) {
        0 => Selector::default(),
        1 => selector("tier", "web"),
        _ => selector("app", format!("app-{}", namespace * PER_NAMESPACE + dice.roll(PER_NAMESPACE))),
    };
    Object::NetworkPolicy(NetworkPolicy {
        meta: meta(namespace, format!("p-{index}")),
        pods,
        ingress: Some(rules(namespace, size, dice)),
        egress: (dice.roll(3) == 0).then(|| rules(namespace, size, dice)),
        unknown: Vec::new(),
    })
}

/// A policy of the administrator's tiers: one team's or one environment's namespaces each, all kinds.
pub(crate) fn admin(index: usize, dice: &mut Dice) -> Object {
    let subject = match dice.roll(8) {
        0 => selector("env", ENVIRONMENTS[dice.roll(ENVIRONMENTS.len())]),
        _ => selector("team", format!("team-{}", dice.roll(TEAMS))),
    };
    let flavor = match index % 3 {
        0 => AdminFlavor::Admin,
        1 => AdminFlavor::Cluster,
        _ if index == 2 => AdminFlavor::Baseline,
        _ => AdminFlavor::Admin,
    };
    let tier = match flavor {
        AdminFlavor::Baseline => Tier::Baseline,
        AdminFlavor::Cluster if index.is_multiple_of(2) => Tier::Baseline,
        _ => Tier::Admin,
    };
    let rule = |dice: &mut Dice, egress: bool| {
        let peer = if egress && index % 3 == 1 && dice.roll(3) == 0 {
            // Networks of the pods and of the world, which a ClusterNetworkPolicy matches pods with.
            let networks = ["10.128.0.0/10", "fd00:1::/32", "0.0.0.0/0", "::/0", "169.254.169.254/32"];
            let network = networks[dice.roll(networks.len())].parse();
            network.map_or(AdminPeer::Unknown, |network| AdminPeer::Networks(vec![network]))
        } else {
            AdminPeer::Pods {
                namespaces: selector("team", format!("team-{}", dice.roll(TEAMS))),
                pods: (dice.roll(2) == 0).then(|| selector("tier", TIERS[dice.roll(TIERS.len())])),
            }
        };
        let low = 1 + dice.roll(9_000) as u16;
        let action = match (tier, dice.roll(3)) {
            (_, 0) => Action::Allow,
            (Tier::Admin, 1) => Action::Pass,
            _ => Action::Deny,
        };
        let ports = (dice.roll(3) > 0)
            .then(|| vec![AdminPort::Range { protocol: Protocol::Tcp, low, high: low.saturating_add(50) }]);
        AdminRule { name: format!("rule-{low}"), action, peers: vec![peer], ports }
    };
    let policy = AdminPolicy {
        meta: Meta {
            name: if flavor == AdminFlavor::Baseline { "default".into() } else { format!("admin-{index}") },
            ..Meta::default()
        },
        flavor,
        tier,
        priority: (index * 7 % 1_000) as u16,
        subject: Subject { namespaces: subject, pods: None },
        ingress: (0..2).map(|_| rule(dice, false)).collect(),
        egress: (0..1 + dice.roll(2)).map(|_| rule(dice, true)).collect(),
    };
    match flavor {
        AdminFlavor::Admin => Object::AdminNetworkPolicy(policy),
        AdminFlavor::Baseline => Object::BaselineAdminNetworkPolicy(policy),
        AdminFlavor::Cluster => Object::ClusterNetworkPolicy(policy),
    }
}

/// Number of policies of the administrator's tiers.
pub(crate) const ADMIN: usize = 60;

/// A Service in front of every tenth workload.
pub(crate) fn service(index: usize, dice: &mut Dice) -> Object {
    let app = index * 10;
    let kind = [ServiceType::ClusterIp, ServiceType::NodePort, ServiceType::LoadBalancer][dice.roll(3)];
    Object::Service(Service {
        meta: meta(app / PER_NAMESPACE, format!("svc-{app}")),
        selector: one("app", format!("app-{app}")),
        ports: vec![ServicePort {
            name: None,
            protocol: Protocol::Tcp,
            port: 80,
            target: Some(TargetPort::Name("http".into())),
            node_port: None,
        }],
        kind,
        external_ips: Vec::new(),
        local_traffic: dice.roll(2) == 0,
        source_ranges: Vec::new(),
        internal: dice.roll(4) == 0,
        alias: None,
    })
}

/// An Ingress in front of a Service.
pub(crate) fn ingress(index: usize) -> Object {
    let app = index * 10;
    Object::Ingress(Ingress {
        meta: meta(app / PER_NAMESPACE, format!("ing-{app}")),
        class: None,
        hosts: Vec::new(),
        tls: true,
        backends: vec![IngressBackend { service: format!("svc-{app}"), port: BackendPort::Number(80) }],
    })
}

pub(crate) fn cluster(size: Size) -> ClusterState {
    let mut dice = Dice(7);
    let mut objects: Vec<Object> = Vec::new();
    for index in 0..size.workloads {
        objects.extend([deployment(index, 0), pod(index, 0, 0)]);
    }
    objects.extend((0..size.namespaces()).map(|index| namespace(index, &mut dice)));
    objects.extend((0..size.policies).map(|index| policy(index, size, &mut dice)));
    objects.extend((0..ADMIN).map(|index| admin(index, &mut dice)));
    for index in 0..size.workloads / 10 {
        objects.push(service(index, &mut dice));
        if index % 4 == 0 {
            objects.push(ingress(index));
        }
    }
    ClusterState::from(objects)
}
