//! What nodes in view settle, and what they never do.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use plimsoll_model::exposure::ExposureLevel::{self, Controlled, Isolated, Open};
use plimsoll_netpol::conn::Protocol;
use plimsoll_netpol::effects::Urgency;
use plimsoll_netpol::engine::{BlockPods, Connectivity, Options, Peer, Verdict};
use plimsoll_netpol::exposure::{WorkloadExposure, exposures};
use plimsoll_netpol::live::{Change, Live};
use plimsoll_netpol::objects::{
    ClusterNode, Format, Object, ParseError, Service, ServiceType, Workload, parse_documents,
};
use plimsoll_netpol::remarks::remarks;
use plimsoll_netpol::report::explain;
use plimsoll_netpol::state::{ClusterState, Scope};
use proptest::prelude::*;

use crate::judge::{End, Judge};
use crate::live::{object, service};
use crate::oracle::{ADDRESSES, cluster};

fn read(yaml: &str) -> Vec<Object> {
    parse_documents(yaml.as_bytes(), Format::Yaml).expect("valid")
}

fn node(name: &str, pods: &str, addresses: &str) -> String {
    format!(
        "---\napiVersion: v1\nkind: Node\nmetadata: {{name: {name}, labels: {{role: {name}}}}}\nspec: {{podCIDR: {pods}, \
         podCIDRs: [{pods}]}}\nstatus: {{addresses: [{addresses}, {{type: Hostname, address: {name}.test}}]}}\n"
    )
}

const PRIVATE: &str = "{type: InternalIP, address: 10.0.0.11}, {type: InternalIP, address: 'fd00::11'}";
const PUBLIC: &str = "{type: InternalIP, address: 10.0.0.12}, {type: ExternalIP, address: 203.0.113.12}";

fn pod(name: &str, more: &str) -> String {
    format!(
        "---\napiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: shop, labels: {{app: {name}}}}}\nspec: \
         {{containers: [{{name: c, image: i, ports: [{{containerPort: 80}}]}}]{more}\n"
    )
}

fn policy(ingress: &str) -> String {
    format!(
        "---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{name: p, namespace: shop}}\nspec: \
         {{podSelector: {{matchLabels: {{app: web}}}}, policyTypes: [Ingress], ingress: {ingress}}}\n"
    )
}

fn block(cidr: &str) -> String {
    policy(&format!("[{{from: [{{ipBlock: {{cidr: {cidr}}}}}], ports: [{{port: 80}}]}}]"))
}

const NODE_PORT: &str = "---\napiVersion: v1\nkind: Service\nmetadata: {name: web, namespace: shop}\nspec: {type: NodePort, selector: \
                         {app: web}, ports: [{port: 80, nodePort: 30080}]}\n";

fn of(yaml: &str, options: &Options) -> WorkloadExposure {
    let state = ClusterState::from(read(yaml));
    let all = exposures(&state, &Connectivity::build(&state, options), options);
    all.into_iter().find(|found| found.name == "web").expect("web")
}

#[test]
fn nodes_are_read_and_refused_by_field() {
    let list = "{apiVersion: v1, kind: NodeList, items: [{metadata: {name: a}, spec: {podCIDRs: [10.1.0.0/24, 'fd00:1::/64']}, status: \
                {addresses: [{type: InternalIP, address: 10.0.0.1}, {type: ExternalIP, address: '2001:db8::1'}, {type: ExternalDNS, \
                address: a.test}, {type: InternalIP, address: 10.0.0.1}], images: [{names: [x]}]}}]}";
    let nodes = read(&format!("{{apiVersion: v1, kind: List, items: [{list}]}}"));
    let [Object::Node(ClusterNode { meta, pod_cidrs, internal, external })] = nodes.as_slice() else {
        panic!("{nodes:?}")
    };
    assert_eq!((meta.name.as_str(), nodes[0].key().to_string().as_str()), ("a", "Node a"));
    assert_eq!(pod_cidrs.iter().map(ToString::to_string).collect::<Vec<_>>(), ["10.1.0.0/24", "fd00:1::/64"]);
    assert_eq!((internal.len(), external.len()), (1, 1));
    assert!(
        matches!(&read("{apiVersion: v1, kind: Node, metadata: {name: bare}}")[0], Object::Node(node) if node.internal.is_empty())
    );
    let many = vec!["{type: InternalIP, address: 10.0.0.1}"; 257].join(",");
    let cases = [
        ("spec: {podCIDR: 10.1.0.0/33}", "spec.podCIDR"),
        ("spec: {podCIDRs: [10.1.0.0]}", "spec.podCIDRs[0]"),
        ("spec: {podCIDRs: [10.1.0.0/24, 10.2.0.0/24]}", "spec.podCIDRs[1]"),
        ("spec: {podCIDR: 10.1.0.0/24, podCIDRs: [10.2.0.0/24]}", "spec.podCIDRs"),
        ("spec: []", "spec"),
        ("status: 5", "status"),
        ("status: {addresses: {}}", "status.addresses"),
        ("status: {addresses: [5]}", "status.addresses[0]"),
        ("status: {addresses: [{address: 10.0.0.1}]}", "status.addresses[0].type"),
        ("status: {addresses: [{type: InternalIP}]}", "status.addresses[0].address"),
        ("status: {addresses: [{type: ExternalIP, address: a.test}]}", "status.addresses[0].address"),
        (&format!("status: {{addresses: [{many}]}}"), "status.addresses"),
    ];
    for (text, field) in cases {
        let yaml = format!("{{apiVersion: v1, kind: Node, metadata: {{name: a}}, {text}}}");
        match parse_documents(yaml.as_bytes(), Format::Yaml) {
            Err(ParseError::InvalidObject { object, field: found, .. }) => {
                assert_eq!((object.as_str(), found.as_str()), ("Node a", field), "{text}");
            }
            other => panic!("{text}: {other:?}"),
        }
    }
    let wrong = parse_documents(b"{apiVersion: v1, kind: node, metadata: {name: a}}", Format::Yaml);
    assert!(wrong.expect_err("a slip").to_string().contains("Node is of v1"));
}

/// A way in by which packets carry a node's address is judged with the addresses of nodes, and never closed by them: a
/// pod's own node may pass.
#[test]
fn ways_in_by_node_addresses() {
    let web = pod("web", "}");
    let one = node("n1", "10.1.0.0/24", PRIVATE);
    let both = one.clone() + &node("n2", "10.2.0.0/24", PUBLIC);
    let cases = [
        ("nodes not in view", block("10.0.0.0/24"), String::new(), Open, "to TCP 80", ""),
        (
            "a node's address is admitted",
            block("10.0.0.0/24"),
            one.clone(),
            Open,
            "packets carry 10.0.0.11 of node n1",
            "private addresses only",
        ),
        (
            "that of another node",
            block("10.0.0.12/32"),
            both.clone(),
            Open,
            "packets carry 10.0.0.12 of node n2, which policies admit; node n2 has the external address 203.0.113.12",
            "",
        ),
        ("IPv6", block("'fd00::/64'"), one.clone(), Open, "packets carry fd00::11 of node n1", ""),
        (
            "none is admitted",
            block("10.9.0.0/16"),
            one.clone(),
            Isolated,
            "no workload",
            "which policies admit of none in view",
        ),
        (
            "another port",
            policy("[{from: [{ipBlock: {cidr: 10.0.0.0/24}}], ports: [{port: 81}]}]"),
            one.clone(),
            Controlled,
            "node n1 and what uses its network, from 10.0.0.11, to TCP 81",
            "which policies admit of none in view",
        ),
        ("closed", policy("[]"), both.clone(), Isolated, "no workload", "own node"),
        ("no policy", String::new(), both, Open, "to TCP 80; node n2 has the external address", ""),
    ];
    for (name, policy, nodes, level, path, caveat) in cases {
        for all_nodes in [false, true] {
            let options = Options { all_nodes, ..Options::default() };
            let found = of(&(web.clone() + &policy + NODE_PORT + &nodes), &options);
            assert_eq!((found.level, found.at_most), (level, Open), "{name}: {found:#?}");
            assert!(found.paths.iter().any(|known| known.contains(path)), "{name}: {found:#?}");
            assert!(
                caveat.is_empty() || found.caveats.iter().any(|known| known.contains(caveat)),
                "{name}: {found:#?}"
            );
        }
    }
}

#[test]
fn addresses_of_nodes_are_evidence_and_close_nothing() {
    let port =
        pod("web", ", nodeName: n1}").replace("containerPort: 80", "containerPort: 80, hostPort: 8080");
    let host = pod("web", ", nodeName: n2, hostNetwork: true}");
    let both = node("n1", "10.1.0.0/24", PRIVATE) + &node("n2", "10.2.0.0/24", PUBLIC);
    let of = |yaml: &str| of(yaml, &Options { all_nodes: true, ..Options::default() });
    let found = of(&(port.clone() + &both));
    assert_eq!((found.level, found.at_most), (Open, Open));
    assert!(
        found.caveats.iter().any(|c| c.contains("host port 8080: the nodes in view have private")),
        "{found:#?}"
    );
    let found = of(&(port.replace("n1", "n2") + &both));
    assert!(found.paths[0].ends_with("; node n2 has the external address 203.0.113.12"), "{found:#?}");
    let found = of(&(host + &both));
    assert!(
        found.paths.iter().any(|p| p.contains("the node's network") && p.contains("node n2 has")),
        "{found:#?}"
    );
}

/// Blocks that can be neither a pod's nor a node's are the outside, where all nodes are in view and pods have addresses
/// of their blocks.
#[test]
fn blocks_are_narrowed_by_pod_addresses() {
    let nodes = node("n1", "10.1.0.0/24", PRIVATE) + &node("n2", "10.2.0.0/24", PUBLIC);
    let web = pod("web", ", nodeName: n1}") + "status: {podIP: 10.1.0.7}\n";
    let elsewhere = pod("web", ", nodeName: n1}") + "status: {podIP: 10.244.77.65}\n";
    let unseen = pod("other", ", nodeName: n3}");
    let all = Options { all_nodes: true, ..Options::default() };
    let cases: Vec<(&str, String, Options, ExposureLevel, bool)> = vec![
        ("settled", web.clone() + &nodes + &block("192.168.7.0/24"), all.clone(), Isolated, false),
        ("pods of a node", web.clone() + &nodes + &block("10.2.0.128/25"), all.clone(), Controlled, true),
        ("all pods", web.clone() + &nodes + &block("10.0.0.0/8"), all.clone(), Controlled, true),
        ("a node", web.clone() + &nodes + &block("10.0.0.12/32"), all.clone(), Controlled, true),
        (
            "an external address of a node",
            web.clone() + &nodes + &block("203.0.113.0/24"),
            all.clone(),
            Controlled,
            true,
        ),
        (
            "not all nodes in view",
            web.clone() + &nodes + &block("192.168.7.0/24"),
            Options::default(),
            Controlled,
            true,
        ),
        (
            "a pod names another node",
            web.clone() + &unseen + &nodes + &block("192.168.7.0/24"),
            all.clone(),
            Controlled,
            true,
        ),
        (
            "pods have other addresses",
            elsewhere + &nodes + &block("192.168.7.0/24"),
            all.clone(),
            Controlled,
            true,
        ),
        (
            "no pod has an address",
            pod("web", ", nodeName: n1}") + &nodes + &block("192.168.7.0/24"),
            all.clone(),
            Controlled,
            true,
        ),
        (
            "a node without blocks",
            web.clone()
                + &nodes
                + "---\napiVersion: v1\nkind: Node\nmetadata: {name: n4}\nstatus: {addresses: [{type: InternalIP, address: 10.0.0.14}]}\n"
                + &block("192.168.7.0/24"),
            all.clone(),
            Controlled,
            true,
        ),
        (
            "a node without addresses",
            web.clone()
                + &nodes
                + "---\napiVersion: v1\nkind: Node\nmetadata: {name: n4}\nspec: {podCIDR: 10.4.0.0/24}\n"
                + &block("192.168.7.0/24"),
            all,
            Controlled,
            true,
        ),
    ];
    for (name, yaml, options, at_most, told) in cases {
        let found = of(&yaml, &options);
        assert_eq!(found.at_most, at_most, "{name}: {found:#?}");
        let told_of = found.caveats.iter().any(|caveat| caveat.contains("depends on the network plugin"));
        assert_eq!(told_of, told, "{name}: {found:#?}");
    }
}

#[test]
fn a_controller_on_the_nodes_network_sends_from_the_node() {
    let ingress = "---\napiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: shop, namespace: shop}\nspec: {defaultBackend: \
                   {service: {name: web, port: {number: 80}}}}\n---\napiVersion: v1\nkind: Service\nmetadata: {name: web, namespace: \
                   shop}\nspec: {selector: {app: web}, ports: [{port: 80}]}\n";
    let controller = |more: &str| {
        format!(
            "---\napiVersion: v1\nkind: Pod\nmetadata: {{name: ctl, namespace: ingress-nginx, labels: {{app.kubernetes.io/name: \
             ingress-nginx}}}}\nspec: {{hostNetwork: true, containers: [{{name: c, image: i}}]{more}}}\n"
        )
    };
    let nodes = node("n1", "10.1.0.0/24", PRIVATE) + &node("n2", "10.2.0.0/24", PUBLIC);
    let cases = [
        (
            "its node",
            block("10.0.0.12/32"),
            ", nodeName: n2",
            nodes.as_str(),
            Open,
            "packets carry 10.0.0.12 of node n2",
        ),
        (
            "another node",
            block("10.0.0.12/32"),
            ", nodeName: n1",
            nodes.as_str(),
            Controlled,
            "node n2 and what uses",
        ),
        (
            "its address in the status",
            block("10.0.0.12/32"),
            "}\nstatus: {hostIP: 10.0.0.12",
            "",
            Open,
            "packets carry 10.0.0.12 of its node",
        ),
        ("nothing is admitted", policy("[]"), ", nodeName: n1", nodes.as_str(), Isolated, "no workload"),
    ];
    for (name, policy, place, nodes, level, path) in cases {
        let yaml = pod("web", "}") + &policy + ingress + &controller(place) + nodes;
        let found = of(&yaml, &Options { all_nodes: true, ..Options::default() });
        assert_eq!((found.level, found.at_most), (level, Open), "{name}: {found:#?}");
        assert!(found.paths.iter().any(|known| known.contains(path)), "{name}: {found:#?}");
        let own = found.caveats.iter().any(|c| c.contains("ingress-nginx/ctl[Pod] uses the node's network"));
        assert_eq!(own, level != Open, "{name}: {found:#?}");
    }
}

fn view(yaml: &str, options: &Options) -> (std::sync::Arc<Connectivity>, impl Fn(&str) -> Peer + use<>) {
    let connectivity = Connectivity::build(&ClusterState::from(read(yaml)), options);
    let known = std::sync::Arc::clone(&connectivity);
    let at =
        move |name: &str| Peer::Workload(known.workload_named(&format!("shop/{name}[Pod]")).expect("there"));
    (connectivity, at)
}

#[test]
fn verdicts_and_caveats_name_the_node() {
    let nodes = node("n1", "10.1.0.0/24", PRIVATE) + &node("n2", "10.2.0.0/24", PUBLIC);
    let web = pod("web", ", nodeName: n1}");
    let agent = |place: &str| pod("agent", &format!(", hostNetwork: true{place}}}"));
    let cases = [
        (
            "admitted",
            block("10.0.0.12/32"),
            ", nodeName: n2",
            true,
            Verdict::Allow,
            "as node n2 at 10.0.0.12: the ingress rules of shop/web[Pod] allow that address TCP 80",
        ),
        (
            "not admitted, another node",
            block("10.0.0.99/32"),
            ", nodeName: n2",
            true,
            Verdict::Deny,
            "allow that address No Connections",
        ),
        (
            "not admitted, its own node",
            block("10.0.0.99/32"),
            ", nodeName: n1",
            true,
            Verdict::Unknown,
            "from its own node (n1)",
        ),
        (
            "any node",
            block("10.0.0.12/32"),
            "",
            true,
            Verdict::Allow,
            "as node n2 at 10.0.0.12 (of 3 addresses)",
        ),
        (
            "any node, not all in view",
            block("10.0.0.12/32"),
            "",
            false,
            Verdict::Unknown,
            "not all nodes are in view",
        ),
        (
            "a node that is not in view",
            block("10.0.0.12/32"),
            ", nodeName: n9",
            true,
            Verdict::Unknown,
            "not all nodes are in view",
        ),
    ];
    for (name, policy, place, all_nodes, verdict, caveat) in cases {
        let options = Options { all_nodes, ..Options::default() };
        let (connectivity, at) = view(&(web.clone() + &agent(place) + &policy + &nodes), &options);
        let found = connectivity.verdict(at("agent"), at("web"), Protocol::Tcp, 80);
        let caveats = connectivity.caveats(at("agent"), at("web"));
        assert_eq!(found, verdict, "{name}: {caveats:#?}");
        assert!(caveats.iter().any(|known| known.contains(caveat)), "{name}: {caveats:#?}");
    }
    // Between pods, a block that holds no address of pods leaves nothing open.
    let unknown = |all_nodes| Options { all_nodes, block_pods: BlockPods::Unknown, ..Options::default() };
    let pods = web + "status: {podIP: 10.1.0.7}\n" + &pod("other", "}") + &block("192.168.7.0/24") + &nodes;
    for (all_nodes, verdict) in [(true, Verdict::Deny), (false, Verdict::Unknown)] {
        let (connectivity, at) = view(&pods, &unknown(all_nodes));
        assert_eq!(connectivity.verdict(at("other"), at("web"), Protocol::Tcp, 80), verdict);
        let told = connectivity.caveats(at("other"), at("web")).iter().any(|c| c.contains("address blocks"));
        assert_eq!(told, !all_nodes);
    }
}

/// An explanation names the node that an end is.
#[test]
fn explanations_take_nodes() {
    let path = std::env::temp_dir().join(format!("plimsoll-nodes-{}.yaml", std::process::id()));
    let yaml = pod("web", "}") + &block("10.0.0.12/32") + &node("n2", "10.2.0.0/24", PUBLIC);
    std::fs::write(&path, yaml).unwrap();
    let told = |from: &str| explain(&path, from, "shop/web", false, &Options::default());
    let cases = [
        ("node/n2", "allow TCP 80", "node/n2 is taken for its address 10.0.0.12"),
        ("10.0.0.12", "allow TCP 80", "10.0.0.12 is an address of node n2"),
        ("10.2.0.9", "isolate", "10.2.0.9 is in 10.2.0.0/24, the pod addresses of node n2"),
    ];
    for (from, decided, caveat) in cases {
        let text = told(from).unwrap().text;
        assert!(text.contains(decided) && text.contains(caveat), "{from}: {text}");
    }
    assert!(told("node/n1").is_err());
    std::fs::remove_file(&path).unwrap();
}

/// Peers by node are the addresses of the nodes that their labels select, and pods on the network of those nodes.
#[test]
fn peers_by_node() {
    let deny = "---\napiVersion: policy.networking.k8s.io/v1alpha1\nkind: AdminNetworkPolicy\nmetadata: {name: nodes}\nspec: {priority: 5, \
                subject: {namespaces: {}}, egress: [{action: Deny, to: [{nodes: {matchLabels: {role: n2}}}]}]}\n";
    let agent = pod("agent", ", hostNetwork: true, nodeName: n2}") + "status: {podIP: 10.0.0.12}\n";
    let nodes = node("n1", "10.1.0.0/24", PRIVATE) + &node("n2", "10.2.0.0/24", PUBLIC);
    let warnings = |options: &Options, yaml: &str| -> Vec<String> {
        let (connectivity, _) = view(yaml, options);
        let odd = connectivity.warnings().iter().filter(|warning| warning.code == "peer_not_analysed");
        odd.map(|warning| warning.message.clone()).collect()
    };
    let all = Options { all_nodes: true, ..Options::default() };
    let yaml = pod("web", "}") + &agent + deny;
    assert_eq!(warnings(&all, &yaml), ["peers by node are not analysed: no node is in view"]);
    let yaml = yaml + &nodes;
    assert!(warnings(&all, &yaml).is_empty());
    assert!(warnings(&Options::default(), &yaml)[0].contains("nodes in view"));
    let (connectivity, at) = view(&yaml, &Options::default());
    let open = |to: Peer| !connectivity.between(at("web"), to).is_empty();
    let address = |text: &str| {
        let range = connectivity.range_of(text.parse().unwrap(), plimsoll_netpol::engine::Direction::Egress);
        Peer::Range(range.unwrap())
    };
    assert!(!open(address("10.0.0.12")) && !open(address("203.0.113.12")) && !open(at("agent")));
    assert!(open(address("10.0.0.11")) && open(address("10.0.0.13")));
}

/// A list of private addresses that holds nodes is none where clients come with a node's address.
#[test]
fn blocks_that_hold_nodes_are_told() {
    let web = pod("web", "}");
    let nodes = node("n1", "10.1.0.0/24", PRIVATE);
    let told = |yaml: &str| {
        let state = ClusterState::from(read(yaml));
        let connectivity = Connectivity::build(&state, &Options::default());
        let all = remarks(&state, &connectivity);
        all.into_iter().find(|effect| effect.detail.starts_with("nodes in "))
    };
    let found = told(&(web.clone() + &block("10.0.0.0/16") + NODE_PORT + &nodes)).expect("told");
    assert_eq!((found.code, found.urgency), ("NETPOL020", Urgency::Medium));
    assert!(
        found.message.contains("holds 10.0.0.11 of node n1") && found.message.contains("Service shop/web"),
        "{found:?}"
    );
    for quiet in [
        block("10.0.0.0/16") + NODE_PORT,
        block("10.9.0.0/16") + NODE_PORT + &nodes,
        block("0.0.0.0/0") + NODE_PORT + &nodes,
        block("10.0.0.0/16") + &nodes,
        block("10.0.0.0/16")
            + &NODE_PORT.replace("type: NodePort", "type: NodePort, externalTrafficPolicy: Local")
            + &nodes,
        policy("[{from: [{ipBlock: {cidr: 10.0.0.0/16, except: [10.0.0.8/29]}}]}]") + NODE_PORT + &nodes,
    ] {
        assert_eq!(told(&(web.clone() + &quiet)), None, "{quiet}");
    }
}

/// All nodes are in view after the cluster was replaced as a whole, with nodes; a state that was written and read is told
/// again.
#[test]
fn nodes_are_all_where_the_cluster_was_replaced_with_them() {
    let nodes = node("n1", "10.1.0.0/24", PRIVATE) + &node("n2", "10.2.0.0/24", PUBLIC);
    let rest = pod("web", ", nodeName: n1}") + "status: {podIP: 10.1.0.7}\n" + &block("192.168.7.0/24");
    let mut live = Live::new(ClusterState::new(), &Options::default());
    let at_most = |live: &Live| live.snapshot().exposure_named("shop/web[Pod]").expect("web").at_most;
    for object in read(&(rest.clone() + &nodes)) {
        live.change(Change::Apply(object));
    }
    assert_eq!(at_most(&live), Controlled, "nodes came one by one");
    live.change(Change::Replace(Scope::Namespace("shop".into()), read(&rest)));
    assert_eq!(at_most(&live), Controlled, "a part was replaced");
    let all = read(&(rest.clone() + &nodes));
    let delta = live.change(Change::Replace(Scope::Cluster, all.clone()));
    assert_eq!(at_most(&live), Isolated, "the same objects, but all");
    assert_eq!(delta.exposures().len(), 1);
    let new = read(&node("n3", "192.168.0.0/16", "{type: InternalIP, address: 10.0.0.13}")).remove(0);
    let key = new.key();
    live.change(Change::Apply(new));
    assert_eq!(at_most(&live), Controlled, "a new node has pods there");
    live.change(Change::Delete(key));
    assert_eq!(at_most(&live), Isolated);
    let mut kept: ClusterState =
        serde_json::from_str(&serde_json::to_string(live.snapshot().state().as_ref()).unwrap()).unwrap();
    assert!(!kept.has_all_nodes());
    kept.declare_all_nodes(true);
    assert_eq!(&kept, live.snapshot().state().as_ref());
    live.change(Change::Replace(Scope::Cluster, read(&rest)));
    assert_eq!(at_most(&live), Controlled, "without nodes nothing is known of them");
}

fn at_most(state: &ClusterState, options: &Options) -> BTreeMap<String, ExposureLevel> {
    let found = exposures(state, &Connectivity::build(state, options), options);
    found.into_iter().map(|exposure| (exposure.printed(), exposure.at_most)).collect()
}

fn node_port(index: usize) -> impl Strategy<Value = Object> {
    service(index).prop_map(|object| {
        let Object::Service(mut service) = object else { unreachable!() };
        service.kind = ServiceType::NodePort;
        service.local_traffic = false;
        Object::Service(service)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// What risk is judged by is never lower for nodes that are not in view.
    #[test]
    fn lacking_nodes_never_lowers(
        objects in proptest::collection::vec(object(), 0..20),
        keep in proptest::collection::vec(any::<bool>(), 3),
        block_pods in proptest::sample::select([BlockPods::Never, BlockPods::Match, BlockPods::Unknown].as_slice()),
    ) {
        let state = ClusterState::from(objects);
        let mut keep = keep.into_iter().cycle();
        let less = |keep: &mut dyn FnMut() -> bool| {
            let mut less = state.clone();
            for object in state.objects().filter(|object| matches!(object, Object::Node(_))) {
                if !keep() {
                    less.delete(&object.key());
                }
            }
            less
        };
        let options = |all_nodes| Options { all_nodes, block_pods, ..Options::default() };
        let known = at_most(&state, &options(true));
        let weaker = [
            at_most(&state, &options(false)),
            at_most(&less(&mut || keep.next().unwrap_or_default()), &options(false)),
            at_most(&less(&mut || false), &options(true)),
        ];
        for weaker in weaker {
            for (name, level) in &known {
                prop_assert!(weaker[name] >= *level, "{name}: {:?} < {level:?}", weaker[name]);
            }
        }
    }

    /// Ways in by node ports against the judge of single packets, for every address that such a packet may carry.
    #[test]
    fn node_ports_agree_with_single_packets(
        state in cluster(),
        services in (node_port(0), node_port(1)),
        matching in any::<bool>(),
    ) {
        let mut state = state;
        state.apply(services.0);
        state.apply(services.1);
        let block_pods = if matching { BlockPods::Match } else { BlockPods::Never };
        let options = Options { block_pods, ..Options::default() };
        let connectivity = Connectivity::build(&state, &options);
        let judge = Judge { state: &state, match_pods: matching };
        let nodes: Vec<&ClusterNode> = state.objects().filter_map(|object| match object {
            Object::Node(node) => Some(node),
            _ => None,
        }).collect();
        let mut carried: BTreeSet<IpAddr> = nodes.iter().flat_map(|node| {
            if node.internal.is_empty() { &node.external } else { &node.internal }
        }).copied().collect();
        // Where no node is in view, any address may be one's; clients' addresses may be kept.
        let all = ADDRESSES.iter().map(|address| address.parse::<IpAddr>().unwrap());
        let private = |address: &IpAddr| matches!(address, IpAddr::V4(v4) if v4.is_private());
        carried.extend(all.filter(|address| nodes.is_empty() || !private(address)));
        let found = exposures(&state, &connectivity, &options);
        for pod in state.workloads().filter(|pod| !pod.host_network) {
            let name = format!("{}/{}[Pod]", pod.meta.namespace, pod.meta.name);
            let exposure = found.iter().find(|exposure| exposure.printed() == name).unwrap();
            let mut open = BTreeSet::new();
            for service in state.objects().filter_map(|object| match object {
                Object::Service(service) if behind(service, pod) => Some(service),
                _ => None,
            }) {
                for port in &service.ports {
                    let passes = |address: &IpAddr| {
                        judge.allows(End::Address(*address), End::Pod(pod), port.protocol, port.port)
                    };
                    if carried.iter().any(passes) {
                        open.insert(format!("internet via node port {}/{}:{}", service.meta.namespace, service.meta.name, port.port));
                    }
                }
            }
            let told: BTreeSet<String> = exposure.paths.iter().filter(|path| path.contains("via node port"))
                .map(|path| path.split(" to ").next().unwrap_or_default().to_owned()).collect();
            prop_assert_eq!(told, open, "{:#?}", exposure);
        }
    }
}

fn behind(service: &Service, pod: &Workload) -> bool {
    service.meta.namespace == pod.meta.namespace
        && !service.selector.is_empty()
        && service.selector.iter().all(|(key, value)| pod.pod_labels.get(key) == Some(value))
}
