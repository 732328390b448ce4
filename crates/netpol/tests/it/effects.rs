//! What a deploy means, by table.

use std::sync::Arc;

use plimsoll_netpol::diff::{Snapshot, diff_snapshots};
use plimsoll_netpol::effects::{Effect, Judged, Urgency, effects};
use plimsoll_netpol::engine::Options;
use plimsoll_netpol::exposure::exposures;
use plimsoll_netpol::objects::{Format, parse_documents};
use plimsoll_netpol::state::ClusterState;

fn codes(before: &str, after: &str) -> Vec<(&'static str, String)> {
    told(before, after).into_iter().map(|effect| (effect.code, effect.subject)).collect()
}

fn told(before: &str, after: &str) -> Vec<Effect> {
    let options = Options::default();
    let snapshot = |yaml: &str| {
        let state = ClusterState::from(parse_documents(yaml.as_bytes(), Format::Yaml).expect("valid"));
        Snapshot::new(Arc::new(state), &options)
    };
    let (before, after) = (snapshot(before), snapshot(after));
    let of = |snapshot: &Snapshot| exposures(&snapshot.state, &snapshot.connectivity, &options);
    let (old, new) = (of(&before), of(&after));
    let diff = diff_snapshots(&before, &after, false);
    let judged = |snapshot, exposures| Judged { snapshot, exposures };
    effects(judged(&before, &old), judged(&after, &new), &diff)
}

const PODS: &str = "
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: shop, labels: {app: web}}
spec: {containers: [{name: c, image: i, ports: [{containerPort: 80}]}]}
---
apiVersion: v1
kind: Pod
metadata: {name: cart, namespace: shop, labels: {app: cart}}
spec: {containers: [{name: c, image: i}]}
";
const CLOSED: &str = "---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: closed, namespace: shop}
spec: {podSelector: {matchLabels: {app: web}}, policyTypes: [Ingress, Egress]}
";
const BALANCER: &str = "---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {type: LoadBalancer, externalTrafficPolicy: Local, selector: {app: web}, ports: [{port: 80}]}
";

fn has(found: &[(&'static str, String)], code: &str, subject: &str) -> bool {
    found.iter().any(|(known, about)| *known == code && about == subject)
}

#[test]
fn no_change_has_no_effect() {
    let all = PODS.to_owned() + CLOSED + BALANCER;
    assert!(codes(&all, &all).is_empty());
}

#[test]
fn a_deleted_policy() {
    let before = PODS.to_owned() + CLOSED + BALANCER;
    let found = codes(&before, &(PODS.to_owned() + BALANCER));
    let web = "shop/web[Pod]";
    assert!(
        has(&found, "NETPOL001", web) && has(&found, "NETPOL003", web) && has(&found, "NETPOL004", web),
        "{found:?}"
    );
    assert!(has(&found, "NETPOL005", web), "cart may call it now: {found:?}");
    assert!(!found.iter().any(|(code, _)| *code == "NETPOL010"), "{found:?}");
    let back = codes(&(PODS.to_owned() + BALANCER), &before);
    assert_eq!(
        back.iter().filter(|(code, _)| *code != "NETPOL005").count(),
        0,
        "closing is no alarm: {back:?}"
    );
}

#[test]
fn a_changed_label_loses_a_policy() {
    let before = PODS.to_owned() + CLOSED;
    let after = before.replacen("labels: {app: web}}", "labels: {app: shop-web}}", 1);
    let found = codes(&before, &after);
    assert!(has(&found, "NETPOL010", "shop/web[Pod]"), "{found:?}");
    assert!(has(&found, "NETPOL007", "networking.k8s.io/NetworkPolicy shop/closed"), "{found:?}");
}

#[test]
fn a_new_workload_without_policy() {
    let extra = PODS.to_owned()
        + "---\napiVersion: v1\nkind: Pod\nmetadata: {name: new, namespace: shop}\nspec: {containers: []}\n";
    let found = codes(PODS, &extra);
    assert!(has(&found, "NETPOL006", "shop/new[Pod]"), "{found:?}");
    assert!(
        !found.iter().any(|(code, _)| ["NETPOL001", "NETPOL002", "NETPOL004"].contains(code)),
        "{found:?}"
    );
}

#[test]
fn who_is_not_in_view_is_told_once() {
    let rule = |name: &str| {
        format!(
            "---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{name: {name}, namespace: shop}}\nspec: \
             {{podSelector: {{}}, ingress: [{{from: [{{namespaceSelector: {{matchLabels: {{kubernetes.io/metadata.name: \
             monitoring}}}}}}]}}]}}\n"
        )
    };
    let one = PODS.to_owned() + &rule("one");
    let absent = |found: &[(&str, String)]| found.iter().filter(|(code, _)| *code == "NETPOL020").count();
    assert_eq!(absent(&codes(PODS, &one)), 1);
    assert_eq!(absent(&codes(&one, &(one.clone() + &rule("two")))), 0);
}

/// Of a new workload nothing is passed over because others differ, too: the rules that opened a way are looked up for
/// every workload.
#[test]
fn ways_out_of_many_new_workloads_are_all_told() {
    let pods: String = (0..40)
        .map(|index| {
            format!("---\napiVersion: v1\nkind: Pod\nmetadata: {{name: p{index:02}, namespace: shop}}\nspec: {{containers: []}}\n")
        })
        .collect();
    let open = "---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: out, namespace: shop}\nspec: \
                {podSelector: {}, policyTypes: [Egress], egress: [{to: [{ipBlock: {cidr: 0.0.0.0/0}}, {podSelector: {}}]}]}\n";
    let found = codes(open, &(open.to_owned() + &pods));
    assert!(found.iter().filter(|(code, _)| *code == "NETPOL005").count() > 1000, "past what is explained");
    assert_eq!(found.iter().filter(|(code, _)| *code == "NETPOL004").count(), 40);
}

#[test]
fn a_connection_that_loses_ports_may_break() {
    let ports = |ports: &str| {
        let policy = "---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: web, namespace: shop}\n";
        format!(
            "{PODS}{policy}spec: {{podSelector: {{matchLabels: {{app: web}}}}, ingress: [{{from: [{{podSelector: {{}}}}], \
             ports: [{ports}]}}]}}\n"
        )
    };
    let (both, one) = (ports("{port: 80}, {port: 443}"), ports("{port: 80}"));
    for (before, after, urgency, words) in [
        (&both, &one, Urgency::Medium, "TCP 80,443 became TCP 80, which may break what uses TCP 443"),
        (&one, &both, Urgency::Info, "TCP 80 became TCP 80,443"),
    ] {
        let found = told(before, after);
        let changed = found.iter().find(|effect| effect.code == "NETPOL005").unwrap();
        assert_eq!(changed.urgency, urgency, "{found:#?}");
        assert!(changed.message.ends_with(words), "{}", changed.message);
    }
}

/// What is named as deciding is what makes the difference, not every policy that has a say.
#[test]
fn the_rules_that_make_the_difference_are_named() {
    let rule = "---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: open, namespace: shop}\nspec: \
                {podSelector: {}, ingress: [{from: [{podSelector: {}}], ports: [{port: 80}]}]}\n";
    let (held, open) = (PODS.to_owned() + CLOSED, PODS.to_owned() + CLOSED + rule);
    let deciding = |before: &str, after: &str| -> Vec<String> {
        let found = told(before, after);
        let change = found.iter().find(|e| e.code == "NETPOL005" && e.subject == "shop/web[Pod]").unwrap();
        change.decided_by.clone()
    };
    let (rule, closed) = (
        "networking.k8s.io/NetworkPolicy shop/open rule 0 allow TCP 80",
        "networking.k8s.io/NetworkPolicy shop/closed isolate",
    );
    assert_eq!(deciding(&held, &open), [rule]);
    assert_eq!(deciding(&open, &held), [rule]);
    assert_eq!(deciding(&held, PODS), [closed]);
    assert_eq!(deciding(PODS, &held), [closed]);
}
