//! Remarks on a state, drift, fingerprints, and that their codes are documented.

use std::path::Path;
use std::sync::Arc;

use plimsoll_netpol::diff::{Snapshot, diff_snapshots};
use plimsoll_netpol::effects::{Effect, Urgency, drift};
use plimsoll_netpol::engine::{BlockPods, Connectivity, Direction, Options};
use plimsoll_netpol::objects::{Format, Object, parse_documents};
use plimsoll_netpol::remarks::remarks;
use plimsoll_netpol::rules::RULES;
use plimsoll_netpol::state::ClusterState;
use proptest::prelude::*;

use crate::oracle::cluster;

fn state(yaml: &str) -> ClusterState {
    ClusterState::from(parse_documents(yaml.as_bytes(), Format::Yaml).expect("valid"))
}

fn found(yaml: &str) -> Vec<Effect> {
    let state = state(yaml);
    remarks(&state, &Connectivity::build(&state, &Options::default()))
}

fn pod(name: &str, more: &str) -> String {
    format!(
        "---\napiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: shop, labels: {{app: {name}}}}}\nspec: \
         {{containers: [{{name: c, image: i}}]{more}}}\n"
    )
}

fn policy(name: &str, spec: &str) -> String {
    format!(
        "---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{name: {name}, namespace: shop}}\nspec: {spec}\n"
    )
}

const CLOSED: &str = "{podSelector: {}, policyTypes: [Ingress, Egress]}";

#[test]
fn rules_without_effect_name_those_that_shadow_them() {
    let cases = [
        // Narrow behind wide, in one policy and in two.
        (
            "{podSelector: {}, ingress: [{from: [{podSelector: {matchLabels: {app: a}}}], ports: [{port: 80}]}, {from: [{podSelector: {}}]}]}",
            "ingress[0]",
            1,
        ),
        // The same twice: the second one is told.
        ("{podSelector: {}, ingress: [{ports: [{port: 80}]}, {ports: [{port: 80}]}]}", "ingress[1]", 1),
        // Two together do what a third does.
        (
            "{podSelector: {}, ingress: [{ports: [{port: 80, endPort: 90}]}, {ports: [{port: 85, endPort: 100}]}, {ports: [{port: 82, endPort: 99}]}]}",
            "ingress[2]",
            2,
        ),
        (
            "{podSelector: {}, policyTypes: [Egress], egress: [{to: [{ipBlock: {cidr: 10.0.0.0/8}}]}, {to: [{ipBlock: {cidr: 10.1.0.0/16}}]}]}",
            "egress[1]",
            1,
        ),
    ];
    for (spec, rule, by) in cases {
        let yaml = pod("a", "") + &pod("b", "") + &policy("p", spec);
        let shadows: Vec<Effect> = found(&yaml).into_iter().filter(|e| e.code == "NETPOL009").collect();
        assert_eq!(shadows.len(), 1, "{spec}: {shadows:#?}");
        assert!(shadows[0].detail == rule && shadows[0].decided_by.len() == by, "{shadows:#?}");
    }
    let apart = "{podSelector: {}, ingress: [{from: [{podSelector: {matchLabels: {app: a}}}]}, {from: [{podSelector: {matchLabels: {app: b}}}]}]}";
    let all = found(&(pod("a", "") + &pod("b", "") + &policy("p", apart)));
    assert!(!all.iter().any(|e| e.code == "NETPOL009"), "{all:#?}");
}

#[test]
fn an_administrator_shadows_policies() {
    let deny = "---\napiVersion: policy.networking.k8s.io/v1alpha1\nkind: AdminNetworkPolicy\nmetadata: {name: first}\nspec: \
                {priority: 5, subject: {namespaces: {}}, ingress: [{action: ACTION, from: [{namespaces: {}}]}]}\n";
    let allow = policy("p", "{podSelector: {}, ingress: [{from: [{namespaceSelector: {}}]}]}");
    let codes = |action: &str| {
        let all = found(&(pod("a", "") + &pod("b", "") + &deny.replace("ACTION", action) + &allow));
        all.into_iter().filter(|e| e.code == "NETPOL009").map(|e| e.subject).collect::<Vec<_>>()
    };
    assert_eq!(codes("Deny"), ["networking.k8s.io/NetworkPolicy shop/p"]);
    assert!(codes("Pass").is_empty());
}

#[test]
fn remarks_by_table() {
    let flannel = "---\napiVersion: apps/v1\nkind: DaemonSet\nmetadata: {name: kube-flannel-ds, namespace: kube-flannel}\nspec: \
                   {template: {spec: {hostNetwork: true, containers: [{name: c, image: flannel}]}}}\n";
    let addressed = pod("a", "") + "status: {podIP: 10.0.0.7}\n";
    let block = policy(
        "p",
        "{podSelector: {}, ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/8, except: [10.0.0.0/30]}}]}]}",
    );
    let cases = [
        (pod("a", ""), "NETPOL006", "of namespace shop for ingress or egress"),
        (pod("a", "") + &policy("p", "{podSelector: {}}"), "NETPOL006", "of namespace shop for egress"),
        (
            pod("a", "") + &pod("b", "") + &policy("p", "{podSelector: {matchLabels: {app: b}}}"),
            "NETPOL006",
            "shop/a[Pod] is selected by no policy for ingress, though",
        ),
        (
            pod("a", "") + &policy("p", "{podSelector: {matchLabels: {app: z}}}"),
            "NETPOL007",
            "selects no workload",
        ),
        (
            pod("a", "")
                + &policy(
                    "p",
                    "{podSelector: {}, ingress: [{from: [{podSelector: {matchLabels: {a: z}}}]}]}",
                ),
            "NETPOL008",
            "ingress[0]",
        ),
        (
            pod("a", "") + &policy("p", "{podSelector: {}, ingress: [{ports: [{port: nope}]}]}"),
            "NETPOL011",
            "\"nope\"",
        ),
        (
            pod("a", "")
                + &policy(
                    "p",
                    "{podSelector: {}, ingress: [{from: [{namespaceSelector: {matchLabels: {a: z}}}], ports: [{port: nope}]}]}",
                ),
            "NETPOL011",
            "ingress[0]: no destination has a port named \"nope\"",
        ),
        (pod("a", ", hostNetwork: true") + &policy("p", CLOSED), "NETPOL020", "the node's network"),
        (pod("a", "") + &policy("p", CLOSED) + flannel, "NETPOL020", "enforces no policies"),
        (addressed + &block, "NETPOL020", "holds 10.0.0.7 of shop/a"),
    ];
    for (yaml, code, words) in cases {
        let all = found(&yaml);
        assert!(all.iter().any(|e| e.code == code && e.message.contains(words)), "{code} {words}: {all:#?}");
        assert!(all.iter().all(|e| !e.objects.is_empty()), "{all:#?}");
    }
    let good = pod("a", "") + &policy("p", CLOSED);
    assert!(found(&good).is_empty(), "{:#?}", found(&good));
}

/// What matches nothing is a mistake only where its namespace is in view; what is not in view is told once.
#[test]
fn nobody_in_view_is_no_mistake() {
    let far = |namespace: &str, app: &str| {
        format!(
            "---\napiVersion: v1\nkind: Pod\nmetadata: {{name: {app}, namespace: {namespace}, labels: {{app: {app}}}}}\nspec: \
             {{containers: [{{name: c, image: i}}]}}\n"
        )
    };
    let from = |name: &str, peer: &str| {
        policy(name, &format!("{{podSelector: {{}}, ingress: [{{from: [{{{peer}}}]}}], egress: [{{}}]}}"))
    };
    let named = |namespace: &str, app: &str| {
        format!(
            "namespaceSelector: {{matchLabels: {{kubernetes.io/metadata.name: {namespace}}}}}, podSelector: {{matchLabels: \
             {{app: {app}}}}}"
        )
    };
    let dns = "namespaceSelector: {}, podSelector: {matchLabels: {app: dns}}";
    let labelled = "namespaceSelector: {matchLabels: {team: ops}}, podSelector: {matchLabels: {app: x}}";
    let known = "---\napiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n";
    let spaces = "---\napiVersion: v1\nkind: Namespace\nmetadata: {name: ops, labels: {team: ops}}\n";
    let (absent, mistake) = (("NETPOL020", Urgency::Info), ("NETPOL008", Urgency::Low));
    let cases = [
        (
            from("p", &named("nginx", "entry")),
            absent,
            "(ingress[0]) speaks of namespace nginx, of which nothing",
        ),
        (
            from("p", &named("nginx", "entry")) + &from("q", &named("nginx", "metrics")),
            absent,
            "shop/p (ingress[0]), networking.k8s.io/NetworkPolicy shop/q (ingress[0]) speak of namespace nginx",
        ),
        (
            from("p", &named("nginx", "entry")) + &far("nginx", "web"),
            mistake,
            "pods with app=entry of namespace nginx; there app is web",
        ),
        (from("p", dns), absent, "speaks of pods with app=dns of any namespace"),
        (from("p", dns) + &far("kube-system", "proxy"), mistake, "pods with app=dns of any namespace"),
        (from("p", labelled) + known, absent, "speaks of namespaces with team=ops"),
        (from("p", labelled) + known + spaces + &far("ops", "yard"), mistake, "there app is yard"),
        (
            from("p", "podSelector: {matchLabels: {app: yard}}") + &far("ops", "yard"),
            mistake,
            "such pods are in namespace ops, and without a namespaceSelector",
        ),
        (from("p", "podSelector: {matchLabels: {tier: back}}"), mistake, "no pod there has a label tier"),
        (
            policy("p", "{podSelector: {}, policyTypes: [Egress]}")
                + &policy("q", "{podSelector: {}}").replace("namespace: shop", "namespace: till"),
            absent,
            "till/q applies to namespace till, of which nothing is in view",
        ),
    ];
    for (yaml, (code, urgency), words) in cases {
        let all = found(&(pod("a", "") + &yaml));
        let about: Vec<&Effect> = all
            .iter()
            .filter(|effect| ["NETPOL007", "NETPOL008", "NETPOL020"].contains(&effect.code))
            .collect();
        assert_eq!(about.len(), 1, "{words}: {all:#?}");
        assert_eq!((about[0].code, about[0].urgency), (code, urgency), "{words}: {all:#?}");
        assert!(about[0].message.contains(words), "{words}: {}", about[0].message);
    }
    // Labels that are not in view are told once, too.
    let unseen = found(&(pod("a", "") + &far("till", "b") + &from("p", labelled)));
    let unseen: Vec<&Effect> =
        unseen.iter().filter(|effect| effect.detail == "namespace_labels_unknown").collect();
    assert!(unseen.len() == 1 && unseen[0].message.contains("shop, till"), "{unseen:#?}");
    // A policy whose labels are wrong is one, whatever else is not in view.
    let wrong = found(&(pod("a", "") + &policy("p", "{podSelector: {matchLabels: {app: z}}}")));
    let told = wrong.iter().find(|effect| effect.code == "NETPOL007").unwrap();
    assert!(
        told.message.ends_with("selects no workload; no pod there has app=z: app is a"),
        "{}",
        told.message
    );
}

/// A field that Kubernetes does not know is dropped by a server that is not strict: what is left is judged, and said.
#[test]
fn unknown_fields_of_policies_are_told() {
    let peers = "from: [{podSelector: {}}]";
    let cases = [
        (
            "{podSelector: {}, ingress: [{form: [{podSelector: {}}]}]}",
            "spec.ingress[0].form",
            "allows every peer",
        ),
        (
            "{podSelector: {}, ingress: [{to: [{podSelector: {}}]}]}",
            "spec.ingress[0].to",
            "allows every peer",
        ),
        ("{podSelectr: {matchLabels: {app: a}}}", "spec.podSelectr", "every pod is selected"),
        ("{podSelector: {matchLables: {app: a}}}", "spec.podSelector.matchLables", "matches everything"),
        (
            "{podSelector: {}, ingress: [{PEERS, ports: [{number: 80}]}]}",
            "spec.ingress[0].ports[0].number",
            "every port is allowed",
        ),
        (
            "{podSelector: {}, ingress: [{from: [{podSelector: {}, namespaceSelctor: {}}]}]}",
            "spec.ingress[0].from[0].namespaceSelctor",
            "",
        ),
        (
            "{podSelector: {}, egress: [{to: [{ipBlock: {cidr: 10.0.0.0/8, exept: [10.0.0.0/9]}}]}]}",
            "spec.egress[0].to[0].ipBlock.exept",
            "",
        ),
    ];
    for (spec, field, without) in cases {
        let all = found(&(pod("a", "") + &policy("p", &spec.replace("PEERS", peers))));
        let told: Vec<&Effect> = all.iter().filter(|effect| effect.code == "NETPOL013").collect();
        assert!(told.len() == 1 && told[0].urgency == Urgency::Medium, "{spec}: {all:#?}");
        let message = &told[0].message;
        assert!(message.contains(&format!("{field} is no field")) && message.ends_with(without), "{message}");
    }
    let good = policy("p", &format!("{{podSelector: {{}}, policyTypes: [Ingress], ingress: [{{{peers}}}]}}"));
    assert!(found(&(pod("a", "") + &good)).iter().all(|effect| effect.code != "NETPOL013"));
}

/// Policies hold nothing that is on the node's network: nobody is asked to protect it by one.
#[test]
fn workloads_on_the_nodes_network_are_not_unprotected() {
    let all = found(&(pod("a", "") + &pod("host", ", hostNetwork: true") + &policy("p", CLOSED)));
    assert!(all.iter().all(|effect| effect.code != "NETPOL006"), "{all:#?}");
}

/// A namespace without policies is one finding, not one a workload; a forgotten workload is worse.
#[test]
fn unprotected_workloads_are_told_once() {
    let of = |yaml: &str| -> Vec<(String, Urgency)> {
        let all = found(yaml).into_iter().filter(|effect| effect.code == "NETPOL006");
        all.map(|effect| (effect.subject, effect.urgency)).collect()
    };
    let pods: String = (0..9).map(|index| pod(&format!("p{index}"), "")).collect();
    assert_eq!(of(&pods), [("Namespace shop".to_owned(), Urgency::Low)]);
    let one = pods + &policy("p", "{podSelector: {matchLabels: {app: p0}}}");
    let found = of(&one);
    assert_eq!(found.len(), 9, "eight were forgotten, and egress is nobody's: {found:?}");
    assert_eq!(found.iter().filter(|(_, urgency)| *urgency == Urgency::Medium).count(), 8);
}

#[test]
fn drift_is_one_finding_a_workload() {
    let options = Options::default();
    let snapshot = |yaml: &str| Snapshot::new(Arc::new(state(yaml)), &options);
    let pods = pod("a", "") + &pod("b", "") + &pod("c", "");
    let (declared, runs) = (snapshot(&(pods.clone() + &policy("p", CLOSED))), snapshot(&pods));
    let found = drift(&diff_snapshots(&declared, &runs, false));
    assert_eq!(found.len(), 3, "{found:#?}");
    assert!(found.iter().all(|e| e.code == "NETPOL030" && e.message.contains("0 fewer")), "{found:#?}");
    assert!(drift(&diff_snapshots(&runs, &runs, false)).is_empty());
}

#[test]
fn fingerprints_tell_findings_and_clusters_apart_and_stay() {
    let all = found(&(pod("a", "") + &pod("b", "") + &policy("p", "{podSelector: {matchLabels: {app: z}}}")));
    let mut prints: Vec<String> = all.iter().map(|e| e.fingerprint("")).collect();
    prints.extend(all.iter().map(|e| e.fingerprint("production")));
    let count = prints.len();
    prints.sort();
    prints.dedup();
    assert_eq!(prints.len(), count);
    // Another version of this program must give the same: readers have them stored.
    let policy = all.iter().find(|e| e.code == "NETPOL007").unwrap();
    assert_eq!(policy.urgency, Urgency::Low);
    insta::assert_snapshot!(policy.fingerprint("production"), @"fe515ab9b9be7fae0562c36583139351");
}

#[test]
fn every_code_is_documented() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/netpol.md");
    let page = std::fs::read_to_string(page).unwrap();
    for rule in RULES {
        assert!(
            page.contains(&format!("| {} | {} |", rule.code, rule.name)),
            "{} is not in docs/netpol.md",
            rule.code
        );
    }
    assert!(RULES.is_sorted_by_key(|rule| rule.code));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// Without the rules that are told to change nothing, nothing changes.
    #[test]
    fn shadowed_rules_can_be_removed_together(before in cluster(), matching in any::<bool>()) {
        let block_pods = if matching { BlockPods::Match } else { BlockPods::Never };
        let options = Options { block_pods, ..Options::default() };
        let connectivity = Connectivity::build(&before, &options);
        let shadowed = connectivity.shadowed(None);
        let mut after = before.clone();
        for mut object in before.objects().cloned().collect::<Vec<_>>() {
            let key = object.key();
            let gone = |direction, index| {
                shadowed.iter().any(|s| s.rule.policy == key && s.rule.direction == direction && s.rule.rule == index)
            };
            fn keep<T>(rules: &mut Vec<T>, gone: impl Fn(usize) -> bool) {
                let mut index = 0;
                rules.retain(|_| { index += 1; !gone(index - 1) });
            }
            match &mut object {
                Object::NetworkPolicy(policy) => {
                    policy.ingress.iter_mut().for_each(|rules| keep(rules, |i| gone(Direction::Ingress, i)));
                    policy.egress.iter_mut().for_each(|rules| keep(rules, |i| gone(Direction::Egress, i)));
                }
                Object::AdminNetworkPolicy(policy) | Object::BaselineAdminNetworkPolicy(policy)
                | Object::ClusterNetworkPolicy(policy) => {
                    keep(&mut policy.ingress, |i| gone(Direction::Ingress, i));
                    keep(&mut policy.egress, |i| gone(Direction::Egress, i));
                }
                _ => continue,
            }
            after.apply(object);
        }
        let before = Snapshot::new(Arc::new(before), &options);
        let after = Snapshot::new(Arc::new(after), &options);
        let diff = diff_snapshots(&before, &after, false);
        prop_assert!(diff.rows.is_empty(), "{:#?}\n{:#?}", shadowed, diff.rows);
    }
}
