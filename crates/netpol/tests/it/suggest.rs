//! Suggested policies: against those of np-guard's synthesizer where its cases are at hand, and by properties.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use plimsoll_netpol::conn::{ConnSet, Protocol};
use plimsoll_netpol::diff::{Snapshot, diff_snapshots};
use plimsoll_netpol::engine::{Connectivity, Options, Peer};
use plimsoll_netpol::load::load;
use plimsoll_netpol::objects::{Format, ParseOptions, parse_documents};
use plimsoll_netpol::state::ClusterState;
use plimsoll_netpol::suggest::{
    Basis, Cause, Manifests, SuggestError, SuggestFormat, SuggestOptions, Suggestion, suggest, suggest_dir,
};
use proptest::prelude::*;
use serde_json::{Value, json};

fn manifests(yaml: &str) -> Manifests {
    let mut manifests = Manifests::default();
    manifests.add(yaml.as_bytes(), Format::Yaml).unwrap();
    manifests
}

fn suggested(yaml: &str, options: &SuggestOptions) -> Suggestion {
    suggest(&manifests(yaml), None::<&[u8]>, options).unwrap()
}

fn with_flows(yaml: &str, flows: &[Value], basis: Basis) -> Suggestion {
    let lines: String = flows.iter().map(|flow| format!("{flow}\n")).collect();
    let options = SuggestOptions { basis, ..SuggestOptions::default() };
    suggest(&manifests(yaml), Some(lines.as_bytes()), &options).unwrap()
}

/// The connectivity with policies added.
fn after(state: &ClusterState, policies: &str) -> std::sync::Arc<Connectivity> {
    let mut state = state.clone();
    for object in parse_documents(policies.as_bytes(), Format::Yaml).unwrap() {
        state.apply(object);
    }
    Connectivity::build(&state, &Options::default())
}

fn peer(connectivity: &Connectivity, name: &str) -> Peer {
    let named = |endpoint: &plimsoll_netpol::engine::Endpoint| endpoint.to_string().starts_with(name);
    Peer::Workload(connectivity.endpoints().iter().position(named).unwrap_or_else(|| panic!("{name}")))
}

fn open(connectivity: &Connectivity, from: &str, to: &str) -> String {
    connectivity.between(peer(connectivity, from), peer(connectivity, to)).to_string()
}

fn causes(suggestion: &Suggestion) -> Vec<String> {
    suggestion.gaps.iter().map(|gap| format!("{} {}", gap.cause.as_str(), gap.destination)).collect()
}

fn deployment(namespace: &str, name: &str, env: &str) -> String {
    format!(
        "---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: {name}, namespace: {namespace}}}\nspec:\n  selector: \
         {{matchLabels: {{app: {name}}}}}\n  template:\n    metadata: {{labels: {{app: {name}}}}}\n    spec:\n      containers:\n      \
         - {{name: c, image: i, ports: [{{containerPort: 8080, name: web}}]{env}}}\n"
    )
}

fn service(namespace: &str, name: &str) -> String {
    format!(
        "---\napiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: {namespace}}}\nspec: {{selector: {{app: \
         {name}}}, ports: [{{port: 80, targetPort: web}}]}}\n"
    )
}

const DNS: &str = "---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {name: coredns, namespace: kube-system}\nspec: \
    {template: {metadata: {labels: {k8s-app: kube-dns}}, spec: {containers: [{name: c, image: i}]}}}\n---\napiVersion: \
    apps/v1\nkind: Deployment\nmetadata: {name: stranger, namespace: elsewhere}\nspec: {template: {metadata: {labels: \
    {app: stranger}}, spec: {containers: [{name: c, image: i}]}}}\n";

fn corpus() -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/netpol/suggest");
    root.is_dir().then_some(root)
}

/// Where our policies differ from those of np-guard, as rows of the difference of the two states: theirs before,
/// ours after, with a DNS server and a stranger in other namespaces beside the application. They let names be looked
/// up at every pod, over UDP alone; we at the cluster's DNS, over TCP as well. Everything else must be the same.
const DIFFERENCES: [[&str; 3]; 2] = [
    ["kube-system/coredns[Deployment]", "UDP 53", "TCP 53,UDP 53"],
    ["elsewhere/stranger[Deployment]", "UDP 53", "No Connections"],
];

#[test]
fn as_np_guard_suggests_or_a_reason() {
    let Some(root) = corpus() else { return };
    for name in ["onlineboutique", "bookinfo", "k8s_guestbook"] {
        let directory = root.join(name);
        // The expected policies lie beside the manifests.
        let copy = std::env::temp_dir().join(format!("plimsoll-suggest-{name}-{}", std::process::id()));
        fs::create_dir_all(&copy).unwrap();
        for entry in fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            if !path.file_name().unwrap().to_string_lossy().starts_with("expected") {
                fs::copy(&path, copy.join(path.file_name().unwrap())).unwrap();
            }
        }
        let report = suggest_dir(&copy, None, &SuggestOptions::default(), SuggestFormat::Yaml).unwrap();
        let mut state = load(&copy, ParseOptions::default()).unwrap().state;
        fs::remove_dir_all(&copy).unwrap();
        for object in parse_documents(DNS.as_bytes(), Format::Yaml).unwrap() {
            state.apply(object);
        }
        let with = |bytes: &[u8], format: Format| {
            let mut state = state.clone();
            for object in parse_documents(bytes, format).unwrap() {
                state.apply(object);
            }
            Snapshot::new(std::sync::Arc::new(state), &Options::default())
        };
        let expected = fs::read(directory.join("expected_netpol_output.json")).unwrap();
        let (theirs, ours) = (with(&expected, Format::Json), with(report.text.as_bytes(), Format::Yaml));
        let diff = diff_snapshots(&theirs, &ours, false);
        let mut used = BTreeSet::new();
        for row in &diff.rows {
            let (source, destination) = (row.source.to_string(), row.destination.to_string());
            let (before, after) = (row.before.to_string(), row.after.to_string());
            let known = DIFFERENCES.iter().position(|known| *known == [&*destination, &*before, &*after]);
            assert!(
                known.is_some(),
                "{name}: {source} => {destination} : theirs {before}, ours {after}\n{}",
                report.text
            );
            used.extend(known);
        }
        assert_eq!(used.len(), DIFFERENCES.len(), "{name}: a difference that is not there any more");
    }
}

#[test]
fn forms_of_needs() {
    let env = ", env: [{name: DB_HOST, value: db}, {name: DB_PORT, value: '80'}, {name: CACHE, value: 'redis://cache.data'}, \
               {name: Q, value: 'http://queue.data.svc.cluster.local/x'}, {name: KIND, value: other}, \
               {name: SELF, value: web}, {name: PEERS, value: 'web:80'}, {name: PARTNER, value: 'https://api.example.com'}, \
               {name: LATER, value: 'nope.data.svc:80'}, {name: WRONG, value: 'db:81'}, {name: OLD_ADDR, value: '10.9.8.7:5432'}, \
               {name: TOKEN_URL, valueFrom: {secretKeyRef: {name: s, key: k}}}, {name: M, value: 'http://169.254.169.254/'}], \
               args: [--log, $(LOG_SERVICE_HOST):$(LOG_SERVICE_PORT), -conf, /etc/x]";
    let mut yaml = deployment("shop", "web", env) + DNS;
    for (namespace, name) in [
        ("shop", "db"),
        ("data", "cache"),
        ("data", "queue"),
        ("shop", "other"),
        ("shop", "log"),
        ("shop", "idle"),
    ] {
        yaml += &deployment(namespace, name, "");
        yaml += &service(namespace, name);
    }
    yaml += &service("shop", "web");
    let suggestion = suggested(&yaml, &SuggestOptions::default());
    let connectivity = after(manifests(&yaml).state(), &suggestion.policies());
    let open = |from: &str, to: &str| open(&connectivity, from, to);
    for to in ["shop/db", "data/cache", "data/queue", "shop/log"] {
        assert_eq!(open("shop/web", to), "TCP 8080", "{to}");
    }
    assert_eq!(open("shop/web", "kube-system/coredns"), "TCP 53,UDP 53");
    for (from, to) in [("shop/web", "shop/other"), ("shop/db", "shop/web"), ("elsewhere/stranger", "shop/db")]
    {
        assert_eq!(open(from, to), "No Connections", "{from} {to}");
    }
    assert_eq!(open("shop/web", "shop/web"), "TCP 8080", "its replicas, as PEERS names them");
    let world = connectivity
        .range_of("10.9.8.7".parse().unwrap(), plimsoll_netpol::engine::Direction::Egress)
        .unwrap();
    assert_eq!(
        connectivity.between(peer(&connectivity, "shop/web"), Peer::Range(world)).to_string(),
        "TCP 5432"
    );
    assert_eq!(
        causes(&suggestion),
        [
            "service_missing Service data/nope",
            "port_missing Service shop/db",
            "external api.example.com:443",
            "metadata 169.254.169.254",
            "unread ",
            "doubtful Service shop/other",
            "unused Service shop/idle",
            "unused Service shop/other",
            "unused Service shop/web",
        ]
    );
    assert!(suggestion.is_exact());
    let external = suggested(&yaml, &SuggestOptions { external: true, ..SuggestOptions::default() });
    let connectivity = after(manifests(&yaml).state(), &external.policies());
    for (address, expected) in
        [("93.184.216.34", "TCP 443"), ("2606:2800:220::1", "TCP 443"), ("10.1.1.1", "No Connections")]
    {
        let range = connectivity
            .range_of(address.parse().unwrap(), plimsoll_netpol::engine::Direction::Egress)
            .unwrap();
        assert_eq!(
            connectivity.between(peer(&connectivity, "shop/web"), Peer::Range(range)).to_string(),
            expected,
            "{address}"
        );
    }
}

#[test]
fn configuration_files_and_ways_in() {
    let web = deployment("shop", "web", ", envFrom: [{configMapRef: {name: settings}}]")
        .replace("containers:\n", "volumes: [{name: v, configMap: {name: files}}]\n      containers:\n");
    let mut yaml = web + &deployment("shop", "worker", "") + DNS;
    for name in ["a", "b", "c", "d"] {
        yaml += &deployment("shop", name, "");
        yaml += &service("shop", name);
    }
    yaml += "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings, namespace: shop}\ndata: {a.host: a, a.port: '80'}\n";
    yaml += "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: files, namespace: shop}\ndata:\n  x.yaml: |\n    # c is not meant\n    \
             upstream: http://b/\n    host: d\n";
    yaml += "---\napiVersion: v1\nkind: Service\nmetadata: {name: front, namespace: shop}\nspec: {type: LoadBalancer, selector: {app: web}, ports: [{port: 443, targetPort: 8080}]}\n";
    yaml += "---\napiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: i, namespace: shop}\nspec: {defaultBackend: {service: {name: c, port: {number: 80}}}}\n";
    let shop = SuggestOptions { namespaces: vec!["shop".into()], ..SuggestOptions::default() };
    let suggestion = suggested(&yaml, &shop);
    let connectivity = after(manifests(&yaml).state(), &suggestion.policies());
    assert_eq!(open(&connectivity, "shop/web", "shop/a"), "TCP 8080");
    assert_eq!(open(&connectivity, "shop/web", "shop/b"), "TCP 8080");
    assert_eq!(open(&connectivity, "shop/web", "shop/d"), "TCP 8080");
    assert_eq!(open(&connectivity, "shop/web", "shop/c"), "No Connections");
    assert_eq!(
        open(&connectivity, "elsewhere/stranger", "shop/web"),
        "TCP 8080",
        "anyone, through the load balancer"
    );
    assert_eq!(
        open(&connectivity, "elsewhere/stranger", "shop/c"),
        "TCP 8080",
        "any pod may be the controller"
    );
    assert_eq!(open(&connectivity, "shop/worker", "shop/web"), "No Connections", "its own egress is closed");
    assert!(suggestion.is_exact());
    let range = connectivity
        .range_of("8.8.8.8".parse().unwrap(), plimsoll_netpol::engine::Direction::Ingress)
        .unwrap();
    assert_eq!(
        connectivity.between(Peer::Range(range), peer(&connectivity, "shop/web")).to_string(),
        "TCP 8080"
    );
}

#[test]
fn existing_policies_stay_and_are_told() {
    let env = ", env: [{name: DB, value: 'db:80'}]";
    let base = deployment("shop", "web", env) + &deployment("shop", "db", "") + &service("shop", "db");
    let open_all = "---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: web-allow, namespace: shop}\nspec: {podSelector: {}, ingress: [{}], egress: [{}]}\n";
    let suggestion = suggested(&(base.clone() + open_all), &SuggestOptions::default());
    let text = suggestion.print(SuggestFormat::Yaml);
    assert!(!suggestion.is_exact() && text.contains("Open for another reason"), "{text}");
    assert!(text.contains("name: web-allow-deployment"), "the name is taken: {text}");
    let deny = "---\napiVersion: policy.networking.k8s.io/v1alpha1\nkind: AdminNetworkPolicy\nmetadata: {name: block}\nspec: {priority: 1, subject: {namespaces: {}}, ingress: [{action: Deny, from: [{namespaces: {}}]}]}\n";
    let suggestion = suggested(&(base.clone() + deny), &SuggestOptions::default());
    assert!(suggestion.gaps.iter().any(|gap| gap.cause == Cause::Blocked), "{:?}", suggestion.gaps);
    // What was suggested once is suggested again, byte for byte, and changes nothing.
    let first = suggested(&base, &SuggestOptions::default());
    let again = suggested(&(base + "---\n" + &first.policies()), &SuggestOptions::default());
    assert_eq!(first.policies(), again.policies());
    assert!(again.diff.is_empty() && !first.diff.is_empty());
}

fn flow(from: (&str, &str), to: (&str, &str), port: u16) -> Value {
    let end = |(namespace, app): (&str, &str)| match namespace {
        "world" => json!({"labels": ["reserved:world"]}),
        _ => {
            json!({"namespace": namespace, "labels": [format!("k8s:app={app}"), "k8s:pod-template-hash=5"], "pod_name": format!("{app}-5-x")})
        }
    };
    json!({"flow": {"verdict": "FORWARDED", "IP": {"source": from.1, "destination": to.1}, "source": end(from), "destination": end(to),
        "l4": {"TCP": {"source_port": 33333, "destination_port": port}}, "is_reply": false}})
}

#[test]
fn from_flows() {
    let yaml = deployment("shop", "web", ", env: [{name: DB, value: 'db:80'}]")
        + &deployment("shop", "db", "")
        + &deployment("shop", "cache", "")
        + &service("shop", "db");
    let mut flows = vec![
        flow(("shop", "web"), ("shop", "cache"), 6379),
        flow(("monitoring", "prometheus"), ("shop", "web"), 9090),
        flow(("shop", "web"), ("world", "93.184.216.34"), 443),
        flow(("shop", "hidden"), ("shop", "cache"), 6379),
    ];
    let mut dropped = flow(("shop", "cache"), ("shop", "web"), 9090);
    dropped["flow"]["verdict"] = json!("DROPPED");
    flows.push(dropped);
    let both = with_flows(&yaml, &flows, Basis::Both);
    assert!(both.is_exact());
    let mut state = manifests(&yaml).state().clone();
    for name in ["prometheus", "stranger"] {
        for object in parse_documents(deployment("monitoring", name, "").as_bytes(), Format::Yaml).unwrap() {
            state.apply(object);
        }
    }
    let connectivity = after(&state, &both.policies());
    let open = |from: &str, to: &str| open(&connectivity, from, to);
    assert_eq!(open("shop/web", "shop/db"), "TCP 8080");
    assert_eq!(open("shop/web", "shop/cache"), "TCP 6379");
    assert_eq!(open("monitoring/prometheus", "shop/web"), "TCP 9090");
    assert_eq!(open("monitoring/stranger", "shop/web"), "No Connections");
    assert_eq!(open("shop/cache", "shop/web"), "No Connections", "what was dropped is no need");
    assert!(
        both.policies().contains("cidr: \"93.184.216.34/32\"")
            && both.policies().contains("name: hidden-allow")
    );
    let declared = with_flows(&yaml, &flows, Basis::Declared);
    let broken = declared.gaps.iter().filter(|gap| gap.cause == Cause::Observed).count();
    assert_eq!(broken, 4, "{:?}", declared.gaps);
    let observed = with_flows(&yaml, &flows, Basis::Flows);
    let unseen: Vec<_> = observed.gaps.iter().filter(|gap| gap.cause == Cause::Declared).collect();
    assert!(unseen.iter().any(|gap| gap.destination.starts_with("shop/db")), "{unseen:?}");
    // A service mesh's worth of addresses becomes one block.
    let many: Vec<Value> =
        (0..40).map(|n| flow(("shop", "web"), ("world", &format!("93.184.216.{n}")), 443)).collect();
    assert!(with_flows(&yaml, &many, Basis::Flows).policies().contains("cidr: \"0.0.0.0/0\""));
}

#[test]
fn nothing_to_suggest_for() {
    let code = |error: SuggestError| error.code();
    let none = SuggestOptions::default();
    let other = SuggestOptions { namespaces: vec!["nope".into()], ..SuggestOptions::default() };
    let flows = SuggestOptions { basis: Basis::Flows, ..SuggestOptions::default() };
    let yaml = deployment("shop", "web", "");
    assert_eq!(
        code(suggest(&manifests(&service("shop", "web")), None::<&[u8]>, &none).unwrap_err()),
        "no_workloads"
    );
    assert_eq!(code(suggest(&manifests(DNS), Some("x\n".as_bytes()), &none).unwrap_err()), "flow_invalid");
    assert_eq!(code(suggest(&manifests(&yaml), None::<&[u8]>, &other).unwrap_err()), "no_such_namespace");
    assert_eq!(code(suggest(&manifests(&yaml), None::<&[u8]>, &flows).unwrap_err()), "no_flows");
}

/// An application: who calls whom, workload by workload over two namespaces.
fn applications() -> impl Strategy<Value = Vec<(bool, BTreeSet<usize>, u8)>> {
    proptest::collection::vec((any::<bool>(), proptest::collection::btree_set(0usize..7, 0..4), 0u8..5), 1..8)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    /// With the policies, what is declared may connect, and nothing else among the workloads may.
    #[test]
    fn needs_are_met_and_nothing_else(app in applications()) {
        let namespace = |index: usize| if app[index].0 { "front" } else { "back" };
        let mut wanted: BTreeMap<(usize, usize), ConnSet> = BTreeMap::new();
        let mut yaml = String::new();
        for (index, (_, calls, form)) in app.iter().enumerate() {
            let mut env = String::new();
            for call in calls.iter().filter(|call| **call < app.len()) {
                let (name, other) = (format!("w{call}"), namespace(*call));
                let near = other == namespace(index);
                let own = *call == index;
                let value = match form {
                    0 if near && !own => name,
                    1 if near => format!("http://{name}/path"),
                    2 => format!("tcp://{name}.{other}:80"),
                    3 => format!("x:{name}.{other}.svc.cluster.local.:80,"),
                    _ => format!("{name}.{other}.svc:80"),
                };
                let value = value.replace("x:", "");
                env += &format!("{{name: V{call}_HOST, value: '{value}'}},");
                wanted.insert((index, *call), ConnSet::range(Protocol::Tcp, 8080, 8080));
            }
            yaml += &deployment(namespace(index), &format!("w{index}"), &format!(", env: [{env}]"));
            yaml += &service(namespace(index), &format!("w{index}"));
        }
        yaml += DNS;
        let options = SuggestOptions { namespaces: Vec::new(), ..SuggestOptions::default() };
        let suggestion = suggested(&yaml, &options);
        let connectivity = after(manifests(&yaml).state(), &suggestion.policies());
        for from in 0..app.len() {
            for to in 0..app.len() {
                let name = |index: usize| format!("{}/w{index}[", namespace(index));
                let found = connectivity.between(peer(&connectivity, &name(from)), peer(&connectivity, &name(to)));
                let wanted = wanted.get(&(from, to)).cloned().unwrap_or_default();
                prop_assert_eq!(found, wanted, "{} {}\n{}", from, to, suggestion.print(SuggestFormat::Yaml));
            }
            let name = format!("{}/w{from}[", namespace(from));
            prop_assert_eq!(open(&connectivity, "elsewhere/stranger", &name), "No Connections");
        }
        prop_assert!(suggestion.is_exact() && suggestion.gaps.iter().all(|gap| gap.cause == Cause::Unused), "{:?}", suggestion.gaps);
        prop_assert_eq!(suggested(&yaml, &options).print(SuggestFormat::Yaml), suggestion.print(SuggestFormat::Yaml));
        for format in [SuggestFormat::Json, SuggestFormat::Md] {
            prop_assert!(!suggestion.print(format).is_empty());
        }
    }
}
