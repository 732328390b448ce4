//! A resident cluster: what it publishes event by event is what a cluster that is read anew would say.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod waiting;

use std::collections::BTreeMap;

use plimsoll_bus::fold::Publication;
use plimsoll_config::Completeness;
use plimsoll_model::exposure::ExposureLevel;
use plimsoll_model::fact::{ConnectionChange, ConnectionChangeKind, ExposureFact, WorkloadFact};
use plimsoll_netpol::objects::{Format, parse_documents};
use plimsoll_netpol_service::resident::Resident;
use plimsoll_netpol_service::state::{Cluster, Policy, encode_objects};
use plimsoll_proto::v1;
use proptest::prelude::*;

const POLICY: Policy = Policy { enforced: true, complete: Completeness::Always, max_age: 1_000_000_000_000 };

fn event(mode: &str, yaml: &str, at: i64) -> (v1::ClusterChanged, Vec<u8>) {
    let objects = parse_documents(yaml.as_bytes(), Format::Yaml).unwrap();
    let event = v1::ClusterChanged {
        cluster: "east".into(),
        mode: mode.into(),
        scope: "cluster".into(),
        at,
        actor: "ci".into(),
        ..Default::default()
    };
    (event, encode_objects(&objects).unwrap())
}

fn publication(base_seq: u64, target_seq: u64) -> Publication {
    Publication { base_seq, target_seq, through_seq: target_seq, ..Publication::default() }
}

/// What a reader of the facts holds.
#[derive(Default)]
struct Reader {
    workloads: BTreeMap<String, WorkloadFact>,
}

impl Reader {
    fn take(&mut self, fact: &ExposureFact) {
        if fact.base_seq == 0 {
            self.workloads.clear();
        }
        for workload in &fact.workloads {
            self.workloads.insert(workload.name.to_string(), workload.clone());
        }
        for name in &fact.removed {
            assert!(self.workloads.remove(&name.to_string()).is_some() || fact.base_seq == 0, "{name}");
        }
    }

    fn codes(&self, workload: &str) -> Vec<String> {
        let known = self.workloads.get(&format!("east/{workload}"));
        known.into_iter().flat_map(|known| &known.notes).map(|note| note.code.clone()).collect()
    }
}

/// A cluster in the hands of one owner.
struct Owner {
    resident: Resident,
    reader: Reader,
    seq: u64,
    settled: u64,
}

impl Owner {
    fn new() -> Self {
        let (resident, reader) = (Resident::new(Cluster::default()), Reader::default());
        Self { resident, reader, seq: 0, settled: 0 }
    }

    fn send(&mut self, mode: &str, yaml: &str) {
        self.seq += 1;
        let (event, lines) = event(mode, yaml, 0);
        self.resident.apply(&event, &lines, self.seq).unwrap();
    }

    fn settle(&mut self) -> ExposureFact {
        let fact = self.resident.settle(&POLICY, &publication(self.settled, self.seq)).fact;
        self.settled = self.seq;
        self.reader.take(&fact);
        fact
    }

    fn checkpoint(&self) -> Cluster {
        Cluster::decode(&self.resident.cluster().encode().unwrap()).unwrap()
    }

    /// The process goes away, and the next one takes over from the checkpoint.
    fn restart(&mut self) {
        self.resident = Resident::taken_over(self.checkpoint());
    }

    /// What the readers hold is what a cluster that is read anew says.
    fn check(&self) {
        let mut anew = Resident::taken_over(self.checkpoint());
        let said = anew.settle(&POLICY, &publication(self.settled, self.settled)).fact;
        let said: BTreeMap<String, WorkloadFact> =
            said.workloads.into_iter().map(|fact| (fact.name.to_string(), fact)).collect();
        assert_eq!(self.reader.workloads, said);
    }
}

fn deployment(name: &str, label: &str, image: &str, replicas: u32) -> String {
    format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: {name}, namespace: shop}}\nspec:\n  replicas: {replicas}\n  \
         selector: {{matchLabels: {{app: {label}}}}}\n  template:\n    metadata: {{labels: {{app: {label}}}}}\n    \
         spec: {{containers: [{{name: c, image: '{image}', ports: [{{containerPort: 80}}]}}]}}\n---\n"
    )
}

const NAMESPACE: &str = "{apiVersion: v1, kind: Namespace, metadata: {name: shop}}\n---\n";
const CLOSED: &str = "{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: closed, namespace: shop}, \
    spec: {podSelector: {}, policyTypes: [Ingress]}}\n---\n";
const BALANCER: &str = "{apiVersion: v1, kind: Service, metadata: {name: web, namespace: shop}, spec: {type: LoadBalancer, \
    externalTrafficPolicy: Local, selector: {app: web}, ports: [{port: 80}]}}\n---\n";
const EMPTY: &str = "{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: idle, namespace: shop}, \
    spec: {podSelector: {matchLabels: {app: nobody}}, policyTypes: [Ingress]}}\n---\n";

fn shop() -> Owner {
    let mut owner = Owner::new();
    owner.send("replace", &format!("{NAMESPACE}{CLOSED}{BALANCER}{}", deployment("web", "web", "i:1", 1)));
    owner.settle();
    owner
}

const WEB: &str = "shop/Deployment/web";

#[test]
fn what_is_there_at_first_is_no_change() {
    let mut owner = Owner::new();
    owner.send("replace", &format!("{NAMESPACE}{BALANCER}{}", deployment("web", "web", "i:1", 1)));
    let fact = owner.settle();
    assert_eq!(fact.workloads.len(), 1);
    assert_eq!(fact.workloads[0].exposure.level, ExposureLevel::Open);
    assert!(owner.reader.codes(WEB).is_empty());
}

#[test]
fn a_view_of_a_part_is_complete_no_longer() {
    let declared = Policy { complete: Completeness::Declared, ..POLICY };
    let mut owner = Owner::new();
    let web = deployment("web", "web", "i:1", 1);
    let complete = |owner: &mut Owner, mode: &str, yaml: &str, partial: bool| {
        owner.seq += 1;
        let (told, lines) = event(mode, yaml, 0);
        let told = v1::ClusterChanged { partial, ..told };
        owner.resident.apply(&told, &lines, owner.seq).unwrap();
        let fact = owner.resident.settle(&declared, &publication(owner.settled, owner.seq)).fact;
        owner.settled = owner.seq;
        owner.reader.take(&fact);
        owner.reader.workloads[&format!("east/{WEB}")].exposure.complete
    };
    assert!(!complete(&mut owner, "apply", &web, false), "nothing was declared");
    assert!(complete(&mut owner, "replace", &web, false));
    assert!(complete(&mut owner, "apply", NAMESPACE, false));
    assert!(!complete(&mut owner, "apply", NAMESPACE, true), "the sender lost sight of something");
    assert!(!complete(&mut owner, "apply", NAMESPACE, false), "what was lost is not back");
    assert!(!complete(&mut owner, "replace", &web, true));
    assert!(complete(&mut owner, "replace", &web, false));
}

#[test]
fn pods_that_come_and_go_do_not_change_what_a_deploy_resolved() {
    let pod = |name: &str, digest: char| {
        let digest = digest.to_string().repeat(64);
        format!(
            "{{apiVersion: v1, kind: Pod, metadata: {{name: {name}, namespace: shop, labels: {{app: web}}, ownerReferences: \
             [{{apiVersion: apps/v1, kind: Deployment, name: web, uid: u, controller: true}}]}}, spec: {{containers: [{{name: c, \
             image: 'i:1'}}]}}, status: {{containerStatuses: [{{name: c, imageID: 'i@sha256:{digest}'}}]}}}}\n---\n"
        )
    };
    let mut owner = shop();
    let seq = |owner: &Owner| owner.reader.workloads[&format!("east/{WEB}")].changed_seq;
    let deployed = seq(&owner);
    owner.send("apply", &pod("web-1", 'a'));
    owner.settle();
    let fact = &owner.reader.workloads[&format!("east/{WEB}")];
    assert!(
        fact.containers[0].digest.as_ref().is_some_and(|digest| digest.to_string().ends_with("aaa")),
        "{fact:?}"
    );
    assert_eq!(seq(&owner), deployed);
    owner.send("apply", &deployment("web", "web", "i:2", 1));
    owner.settle();
    assert_eq!(seq(&owner), owner.seq, "the tag of the new one is to be resolved");
    // A pod of the old revision says something again.
    owner.send("apply", &pod("web-1", 'b'));
    owner.settle();
    assert_eq!(seq(&owner), owner.seq - 1);
    owner.check();
}

#[test]
fn what_a_change_opens_stands_until_it_is_closed() {
    let mut owner = shop();
    owner.send("delete", CLOSED);
    let fact = owner.settle();
    assert_eq!(owner.reader.codes(WEB), ["NETPOL001", "NETPOL003"]);
    let row = fact.changes.iter().find(|row| row.destination == "shop/web[Deployment]").unwrap();
    assert_eq!(row.decided_before, ["networking.k8s.io/NetworkPolicy shop/closed isolate"]);
    assert!(row.decided_after.is_empty(), "allowed by default");
    // Something else, and a new owner: it still stands.
    owner.send("apply", &deployment("other", "other", "i:1", 1));
    owner.settle();
    assert_eq!(owner.reader.codes(WEB), ["NETPOL001", "NETPOL003"]);
    assert_eq!(owner.reader.codes("shop/Deployment/other"), ["NETPOL006"], "nobody holds egress there");
    owner.restart();
    owner.send("apply", CLOSED);
    owner.settle();
    assert!(owner.reader.codes(WEB).is_empty());
    assert!(owner.reader.codes("shop/Deployment/other").is_empty());
    owner.check();
}

#[test]
fn a_shadowed_rule_stands_until_somebody_touches_it() {
    let policy = |name: &str, ports: &str| {
        format!(
            "{{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {{name: {name}, namespace: shop}}, spec: {{podSelector: \
             {{}}, ingress: [{{ports: [{ports}]}}]}}}}\n---\n"
        )
    };
    let mut owner = shop();
    owner.send("apply", &policy("wide", "{port: 80, endPort: 90}"));
    owner.settle();
    owner.send("apply", &policy("narrow", "{port: 85}"));
    owner.settle();
    const NARROW: &str = "shop/NetworkPolicy/narrow";
    assert_eq!(owner.reader.codes(NARROW), ["NETPOL009"]);
    owner.restart();
    owner.send("apply", &deployment("other", "other", "i:1", 1));
    owner.settle();
    assert_eq!(owner.reader.codes(NARROW), ["NETPOL009"]);
    owner.send("apply", &policy("wide", "{port: 80}"));
    owner.settle();
    assert!(owner.reader.codes(NARROW).is_empty());
    owner.check();
}

/// What is opened further is told with all its peers, so that a rule which accepts the first does not hide the second.
#[test]
fn a_way_out_that_is_opened_further_names_its_peers() {
    let egress = |block: &str| {
        format!(
            "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{name: out, namespace: shop}}\n\
             spec: {{podSelector: {{}}, policyTypes: [Egress], egress: [{block}]}}\n---\n"
        )
    };
    let to = |blocks: &[&str]| {
        let rules: Vec<String> =
            blocks.iter().map(|b| format!("{{to: [{{ipBlock: {{cidr: {b}}}}}]}}")).collect();
        egress(&rules.join(", "))
    };
    let mut owner = shop();
    owner.send("apply", &to(&[]));
    owner.settle();
    let peers = |owner: &Owner| {
        let notes = &owner.reader.workloads[&format!("east/{WEB}")].notes;
        notes.iter().find(|note| note.code == "NETPOL004").map(|note| note.peers.clone())
    };
    assert_eq!(peers(&owner), None);
    owner.send("apply", &to(&["1.1.1.0/24"]));
    owner.settle();
    assert_eq!(peers(&owner).unwrap(), ["1.1.1.0-1.1.1.255"]);
    owner.send("apply", &to(&["1.1.1.0/24", "8.8.8.8/32"]));
    owner.settle();
    assert_eq!(peers(&owner).unwrap(), ["1.1.1.0-1.1.1.255", "8.8.8.8-8.8.8.8"]);
    owner.restart();
    owner.send("apply", &to(&[]));
    owner.settle();
    assert_eq!(peers(&owner), None);
    owner.check();
}

#[test]
fn a_policy_that_is_odd_is_told_of_itself() {
    let mut owner = shop();
    owner.send("apply", EMPTY);
    owner.settle();
    assert_eq!(owner.reader.codes("shop/NetworkPolicy/idle"), ["NETPOL007"]);
    owner.send("delete", EMPTY);
    owner.settle();
    assert!(!owner.reader.workloads.contains_key("east/shop/NetworkPolicy/idle"));
    owner.check();
}

/// Sixty workloads make more connections than a fact lists: what follows for each of them is told all the same, and how
/// many connections are not listed.
#[test]
fn what_follows_is_told_of_every_workload_of_a_large_change() {
    let named = |index: usize| format!("w{index:02}");
    let apps: String = (0..60).map(|index| deployment(&named(index), &named(index), "i:1", 1)).collect();
    let held = |side: &str| {
        format!(
            "{{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {{name: {side}, namespace: shop}}, \
             spec: {{podSelector: {{}}, policyTypes: [{side}]}}}}\n---\n"
        )
    };
    let [ingress, egress] = ["Ingress", "Egress"].map(held);
    let mut owner = Owner::new();
    owner.send("replace", &format!("{NAMESPACE}{apps}{ingress}{egress}"));
    owner.settle();
    owner.send("delete", &format!("{ingress}{egress}"));
    let fact = owner.settle();
    assert!(fact.changes.len() <= 1000 && fact.changes.len() > 100, "{}", fact.changes.len());
    // Sixty with each other, and each with the world both ways.
    let opened = 60 * 59 + 2 * 60;
    assert_eq!(fact.changes.len() as u64 + fact.unlisted.added, opened);
    assert_eq!((fact.unlisted.removed, fact.unlisted.changed, fact.unlisted.at_least), (0, 0, false));
    for index in 0..60 {
        let codes = owner.reader.codes(&format!("shop/Deployment/{}", named(index)));
        let count = |code: &str| codes.iter().filter(|known| *known == code).count();
        assert_eq!((count("NETPOL003"), count("NETPOL004")), (2, 1), "{index}: {codes:?}");
    }
    // The one that is closed does not go under in the thousands that are opened by the same rollout.
    let pair = "{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: pair, namespace: shop}, spec: \
                {podSelector: {matchLabels: {app: w01}}, policyTypes: [Egress], egress: [{to: [{podSelector: {matchLabels: \
                {app: w02}}}]}]}}\n---\n";
    let closed = "{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: one, namespace: shop}, spec: \
                  {podSelector: {matchLabels: {app: w02}}, policyTypes: [Ingress]}}\n---\n";
    owner.send("apply", &format!("{egress}{pair}"));
    owner.settle();
    owner.send("delete", &format!("{egress}{pair}"));
    owner.send("apply", closed);
    let fact = owner.settle();
    assert!(fact.changes.len() <= 1000 && fact.unlisted.added > 2000, "{:?}", fact.unlisted);
    let closed = |change: &&ConnectionChange| change.kind == ConnectionChangeKind::Removed;
    let closed: Vec<&ConnectionChange> = fact.changes.iter().filter(closed).collect();
    assert!(closed.iter().any(|change| change.source == "shop/w01[Deployment]"), "{closed:?}");
    assert_eq!(closed.len() as u64 + fact.unlisted.removed, 2, "from w01 and from the world");
    owner.check();
}

#[test]
fn what_was_open_in_between_is_transient() {
    let mut owner = shop();
    owner.send("delete", CLOSED);
    owner.send("apply", CLOSED);
    let fact = owner.settle();
    assert!(fact.changes.is_empty(), "{:?}", fact.changes);
    assert!(owner.reader.codes(WEB).is_empty());
    let web = |row: &&ConnectionChange| row.destination == "shop/web[Deployment]";
    let row = fact.transient.iter().find(web).unwrap();
    assert_eq!((row.before.as_str(), row.after.as_str()), ("No Connections", "All Connections"));
    owner.send("apply", CLOSED);
    assert!(owner.settle().transient.is_empty());
}

#[test]
fn what_a_lost_owner_published_is_taken_back() {
    let mut owner = shop();
    let checkpoint = owner.checkpoint();
    owner.send("delete", CLOSED);
    owner.send("apply", &deployment("short", "short", "i:1", 1));
    // Published, and killed before the checkpoint.
    let fact = owner.resident.settle(&POLICY, &publication(owner.settled, owner.seq)).fact;
    owner.reader.take(&fact);
    assert_eq!(owner.reader.workloads.len(), 2);
    owner.resident = Resident::taken_over(checkpoint);
    owner.send("delete", CLOSED);
    owner.send("apply", CLOSED);
    owner.settle();
    assert_eq!(owner.reader.workloads.len(), 1);
    assert_eq!(owner.reader.workloads[&format!("east/{WEB}")].exposure.level, ExposureLevel::Isolated);
    owner.check();
}

#[test]
fn what_nobody_publishes_anew_keeps_its_last_word() {
    let mut owner = shop();
    owner.send("apply", &deployment("web", "web", "i:1", 1));
    let fact = owner.settle();
    assert!(fact.workloads.is_empty() && fact.removed.is_empty(), "{fact:?}");
    owner.send("apply", &deployment("web", "web", "i:2", 1));
    let fact = owner.settle();
    assert_eq!(fact.workloads.len(), 1, "another image");
    owner.send("apply", &deployment("web", "web", "i:2", 3));
    assert_eq!(owner.settle().workloads[0].replicas, 3);
}

/// A policy that admits addresses which no pod of [`node`]s has.
const BLOCK: &str = "{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: block, namespace: shop}, spec: \
    {podSelector: {}, policyTypes: [Ingress], ingress: [{from: [{ipBlock: {cidr: 192.168.0.0/16}}]}]}}\n---\n";
const LONE: &str = "{apiVersion: v1, kind: Pod, metadata: {name: lone, namespace: shop}, spec: {nodeName: n1, containers: [{name: c, \
    image: 'i:1'}]}, status: {podIP: 10.1.0.7}}\n---\n";

fn node(index: u32) -> String {
    format!(
        "{{apiVersion: v1, kind: Node, metadata: {{name: n{index}}}, spec: {{podCIDR: 10.{index}.0.0/24}}, status: {{addresses: \
         [{{type: InternalIP, address: 10.0.0.{index}}}]}}}}\n---\n"
    )
}

/// That all nodes are in view is in the checkpoint: who takes the cluster over judges by it, too.
#[test]
fn nodes_outlive_their_owner() {
    let web = deployment("web", "web", "i:1", 1);
    let level = |owner: &Owner| {
        let known = owner.reader.workloads.values().find(|known| known.name.name == "lone");
        known.unwrap().exposure.level
    };
    let mut owner = Owner::new();
    owner.send("replace", &format!("{web}{BLOCK}{LONE}"));
    owner.settle();
    assert_eq!(level(&owner), ExposureLevel::Controlled, "a block may hold pods or nodes");
    owner.send("apply", &format!("{}{}", node(1), node(2)));
    owner.settle();
    assert_eq!(level(&owner), ExposureLevel::Controlled, "there may be more nodes");
    owner.send("replace", &format!("{web}{BLOCK}{LONE}{}{}", node(1), node(2)));
    owner.settle();
    assert_eq!(level(&owner), ExposureLevel::Isolated, "neither a pod nor a node has an address there");
    owner.check();
    owner.restart();
    let unplaced = LONE.replace("lone", "late").replace("n1", "n3");
    owner.send("apply", &unplaced);
    owner.settle();
    assert_eq!(level(&owner), ExposureLevel::Controlled, "a pod names a node that is not in view");
    owner.send("delete", &unplaced);
    owner.settle();
    assert_eq!(level(&owner), ExposureLevel::Isolated);
    owner.check();
}

/// Something that happens to the cluster.
#[derive(Debug, Clone)]
enum Step {
    Send(&'static str, String),
    Settle,
    Restart,
}

fn document() -> impl Strategy<Value = String> {
    let names = || proptest::sample::select(["web", "cart", "db"].as_slice());
    prop_oneof![
        4 => (names(), names(), 1u32..3, 1u32..3)
            .prop_map(|(name, label, tag, replicas)| deployment(name, label, &format!("i:{tag}"), replicas)),
        1 => Just(CLOSED.to_owned()),
        1 => Just(EMPTY.to_owned()),
        1 => Just(BALANCER.to_owned()),
        1 => names().prop_map(|name| format!(
            "{{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {{name: {name}, namespace: shop}}, spec: \
             {{podSelector: {{matchLabels: {{app: {name}}}}}, policyTypes: [Ingress, Egress], ingress: [{{from: \
             [{{namespaceSelector: {{}}}}]}}], egress: [{{to: [{{ipBlock: {{cidr: 10.0.0.0/8}}}}]}}]}}}}\n---\n"
        )),
        1 => Just(NAMESPACE.to_owned()),
        1 => Just(BLOCK.to_owned()),
        1 => Just(LONE.to_owned()),
        2 => (1u32..3).prop_map(node),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => document().prop_map(|yaml| Step::Send("apply", yaml)),
        2 => document().prop_map(|yaml| Step::Send("delete", yaml)),
        1 => proptest::collection::vec(document(), 0..4)
            .prop_map(|all| Step::Send("replace", all.concat())),
        3 => Just(Step::Settle),
        1 => Just(Step::Restart),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn facts_add_up_to_what_a_cluster_read_anew_says(steps in proptest::collection::vec(step(), 1..16)) {
        let (mut owner, mut each) = (shop(), shop());
        for step in steps {
            match step {
                Step::Send(mode, yaml) => {
                    owner.send(mode, &yaml);
                    each.send(mode, &yaml);
                    each.settle();
                }
                Step::Settle | Step::Restart if owner.seq == owner.settled => {}
                Step::Settle => {
                    owner.settle();
                    owner.check();
                }
                Step::Restart => {
                    owner.settle();
                    owner.restart();
                }
            }
        }
        if owner.seq > owner.settled {
            owner.settle();
        }
        owner.check();
        // However the events were settled, and whoever did it.
        prop_assert_eq!(owner.reader.workloads, each.reader.workloads);
    }
}
