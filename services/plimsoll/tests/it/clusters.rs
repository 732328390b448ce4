//! Deploys: what must hold whatever order events come in, and whatever tags do meanwhile.

use plimsoll_proto::v1::{self, fact::Body};
use prost::Message as _;
use serde_json::Value;

use crate::fleet::{Fleet, TOKEN, changes, run, until};
use crate::world::{LODASH, World, debian, image, of_npm, world};

pub(crate) fn deployment(name: &str, image: &str, version: u32) -> String {
    format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: {name}, namespace: shop, uid: \"uid-{name}\", resourceVersion: \"{version}\"}}\n\
         spec:\n  selector: {{matchLabels: {{app: {name}}}}}\n  template:\n    metadata: {{labels: {{app: {name}}}}}\n    \
         spec: {{containers: [{{name: app, image: \"{image}\", ports: [{{containerPort: 8080}}]}}]}}\n---\n"
    )
}

pub(crate) fn service(name: &str, kind: &str, version: u32) -> String {
    format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: shop, uid: \"uid-{name}-service\", resourceVersion: \"{version}\"}}\n\
         spec: {{type: {kind}, selector: {{app: {name}}}, ports: [{{port: 80, targetPort: 8080}}]}}\n---\n"
    )
}

/// Nothing comes in.
pub(crate) const CLOSED: &str = "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: closed, namespace: shop}\n\
    spec: {podSelector: {}, policyTypes: [Ingress]}\n---\n";
pub(crate) const NAMESPACE: &str = "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n---\n";

/// What a finding says, without what differs by cluster and time.
fn essence(findings: &[Value]) -> Vec<Value> {
    let mut all: Vec<Value> = findings
        .iter()
        .map(|f| {
            serde_json::json!([
                f["vulnerabilityId"],
                f["holder"]["workload"]["workload"]["name"],
                f["class"],
                f["versions"],
                f["images"],
                f["factors"],
                f["state"],
            ])
        })
        .collect();
    all.sort_by_key(ToString::to_string);
    all
}

/// True for a finding of what a change did to connections.
fn is_network(finding: &Value) -> bool {
    finding["vulnerabilityId"].as_str().is_some_and(|id| id.starts_with("NETPOL"))
}

/// Sends manifests with an idempotency key; says whether it was known.
async fn keyed(fleet: &Fleet, cluster: &str, key: &str, mode: &str, manifests: &str) -> bool {
    let url = format!("{}/v1/deploys?cluster={cluster}&mode={mode}", fleet.url);
    let request = fleet.http.post(url).bearer_auth(TOKEN).header("Idempotency-Key", key);
    let answer = request.body(manifests.to_owned()).send().await.unwrap();
    assert_eq!(answer.status(), 202);
    let body: Value = answer.json().await.unwrap();
    assert_eq!(body["seq"].is_null(), body["duplicate"] == true, "{body}");
    body["duplicate"] == true
}

#[test]
fn deploys_reordered_and_delivered_twice_end_the_same() {
    run(async {
        let world = world().await;
        let fleet = &world.fleet;
        for (tag, version) in [("old", "4.17.11"), ("new", "4.17.20")] {
            let app = of_npm("order", "lodash", version);
            world.registry.push_image("order/app", tag, &app);
            fleet.scanned(app.digest()).await;
        }
        let image = |tag: &str| format!("{}/order/app:{tag}", world.registry.host());
        let base = format!("{NAMESPACE}{}", deployment("other", &image("old"), 1));
        let changes = [
            deployment("web", &image("old"), 10),
            service("web", "ClusterIP", 11),
            deployment("web", &image("new"), 20),
            service("web", "LoadBalancer", 21),
        ];
        fleet.deploy("order-a", "replace", &base).await;
        for change in &changes {
            fleet.deploy("order-a", "apply", change).await;
        }
        fleet.deploy("order-b", "replace", &base).await;
        for n in [3, 2, 0, 1, 2, 0] {
            keyed(fleet, "order-b", &format!("change-{n}"), "apply", &changes[n]).await;
        }
        assert!(keyed(fleet, "order-b", "change-0", "apply", &changes[0]).await);
        // Without the key it is an event of its own, and changes nothing.
        fleet.deploy("order-b", "apply", &changes[1]).await;

        let end = |cluster: &'static str| async move {
            until(&format!("the end of {cluster}"), async || {
                let findings = fleet.findings(&format!("cluster={cluster}")).await;
                let web = |f: &&Value| f["holder"]["workload"]["workload"]["name"] == "web" && !is_network(f);
                let web: Vec<_> = findings.iter().filter(web).collect();
                // Web came later, no policy selects it in either direction, and it is open.
                let network: Vec<&Value> = findings.iter().filter(|f| is_network(f)).collect();
                let done = findings.len() == 3 + 2
                    && network.len() == 2
                    && web.len() == 1
                    && web[0]["versions"][0] == "4.17.20"
                    && web[0]["factors"]["level"] == "open";
                done.then_some(findings)
            })
            .await
        };
        let (a, b) = (end("order-a").await, end("order-b").await);
        assert_eq!(essence(&a), essence(&b));
        // The connections too: one more document that changes nothing shows no difference.
        for cluster in ["order-a", "order-b"] {
            let path = format!("/v1/deploys?cluster={cluster}&dry_run=true&mode=replace");
            let all = format!("{base}{}{}", changes[2], changes[3]);
            let (status, body) = fleet.post(&path, all).await;
            assert_eq!(status, 200, "{body}");
            assert_eq!(body["connections"], Value::Array(Vec::new()), "{cluster}");
            assert_eq!(body["removed"], Value::Array(Vec::new()), "{cluster}");
        }
    });
}

/// What a quiet namespace says is told while another goes on changing.
#[test]
fn a_quiet_namespace_does_not_wait_for_a_busy_one() {
    run(async {
        let world = world().await;
        let fleet = &world.fleet;
        let client = fleet.client().await;
        let mut facts = async_nats::jetstream::new(client).get_stream("FACTS").await.unwrap();
        let mut read = facts.info().await.unwrap().state.last_sequence;
        fleet.deploy("two", "replace", NAMESPACE).await;
        let of = |space: &str, version: u32| {
            deployment("web", &format!("registry.invalid/a:{version}"), version)
                .replace("namespace: shop", &format!("namespace: {space}"))
                .replace("uid-web", &format!("uid-{space}"))
        };
        let mut version = 0;
        until("a publication of one namespace that leaves the other out", async || {
            fleet.deploy("two", "apply", &of("calm", version)).await;
            for _ in 0..40 {
                version += 1;
                fleet.deploy("two", "apply", &of("busy", version)).await;
            }
            let last = facts.info().await.unwrap().state.last_sequence;
            let mut found = false;
            while read < last {
                read += 1;
                let Ok(message) = facts.get_raw_message(read).await else { continue };
                let fact = v1::Fact::decode(message.payload.as_ref()).unwrap();
                if let Some(Body::Exposure(fact)) = fact.body
                    && fact.cluster == "two"
                    && fact.through_seq < fact.target_seq
                {
                    let mut spaces =
                        fact.workloads.iter().filter_map(|w| w.name.as_ref()).map(|name| &name.namespace);
                    found |= spaces.next().is_some_and(|first| first == "calm")
                        && spaces.all(|space| space == "calm");
                }
            }
            found.then_some(())
        })
        .await;
    });
}

/// Waits until a cluster has so many findings.
async fn of_cluster(world: &World, cluster: &str, count: usize) -> Vec<Value> {
    until(&format!("{count} findings of {cluster}"), async || {
        let findings = world.fleet.findings(&format!("cluster={cluster}")).await;
        (findings.len() == count).then_some(findings)
    })
    .await
}

#[test]
fn a_tag_that_moves_does_not_fix_what_runs() {
    run(async {
        let world = world().await;
        let fleet = &world.fleet;
        let (old, new) = (of_npm("moved", "lodash", "4.17.11"), of_npm("moved", "lodash", "4.17.21"));
        world.registry.push_image("moved/app", "1", &old);
        fleet.vulnerable("repository=moved/app", &LODASH).await;
        let image = format!("{}/moved/app:1", world.registry.host());
        fleet.deploy("moved", "replace", &format!("{NAMESPACE}{}", deployment("web", &image, 1))).await;
        let before = of_cluster(world, "moved", 2).await;
        assert!(before.iter().all(|f| f["images"][0] == old.digest()), "{before:?}");

        world.registry.push_image("moved/app", "1", &new);
        fleet.scanned(new.digest()).await;
        let fixed = until("the repository's findings to be fixed", async || {
            let fixed = fleet.findings("repository=moved/app&state=fixed").await;
            let fixed: Vec<_> = fixed.into_iter().filter(|f| !f["holder"]["repository"].is_null()).collect();
            let open = fleet.findings("repository=moved/app").await;
            let open = open.iter().any(|f| !f["holder"]["repository"].is_null());
            (!open && !fixed.is_empty()).then_some(fixed)
        })
        .await;
        assert_eq!(crate::fleet::ids(&fixed), LODASH);
        let after = fleet.findings("cluster=moved").await;
        assert_eq!(essence(&after), essence(&before));
        assert_eq!(fleet.findings("cluster=moved&state=fixed").await, Vec::<Value>::new());

        // Nor does the same document, sent again; a rollout does.
        fleet.deploy("moved", "apply", &deployment("web", &image, 1)).await;
        fleet.deploy("moved", "apply", &service("web", "ClusterIP", 1)).await;
        let (_, known) = fleet.get("/v1/affected/CVE-2021-23337").await;
        assert!(known.to_string().contains("moved"), "{known}");
        assert_eq!(essence(&fleet.findings("cluster=moved").await), essence(&before));
        fleet.deploy("moved", "apply", &deployment("web", &format!("{image}@{}", new.digest()), 3)).await;
        of_cluster(world, "moved", 0).await;
    });
}

#[test]
fn an_incomplete_view_lowers_no_class() {
    run(async {
        let world = world().await;
        let fleet = &world.fleet;
        let app = image([debian(&[("libnghttp2-14", "1.52.0-1", "nghttp2")])]);
        world.registry.push_image("partial/app", "1", &app);
        let exploited = ["CVE-2023-44487"];
        let undeployed = fleet.vulnerable("repository=partial/app", &exploited).await[0].clone();
        assert_eq!(undeployed["factors"]["exposed"], true, "{undeployed}");
        let image = format!("{}/partial/app:1", world.registry.host());
        let all = format!("{NAMESPACE}{}{CLOSED}", deployment("web", &image, 1));
        fleet.deploy("partial", "apply", &all).await;
        let applied = of_cluster(world, "partial", 1).await.remove(0);
        assert_ne!(applied["factors"]["level"], "open", "{applied}");
        assert_eq!(applied["factors"]["unproved"], "incomplete", "{applied}");
        assert_eq!(applied["factors"]["exposed"], true, "{applied}");
        assert_eq!(applied["class"], undeployed["class"]);
        // One namespace is not the cluster.
        let (status, _) =
            fleet.post("/v1/deploys?cluster=partial&mode=replace&scope=namespace=shop", all.clone()).await;
        assert_eq!(status, 202);
        // The same, declared to be all that there is, does lower it.
        let declared = fleet.deploy("partial", "replace", &all).await;
        assert!(declared > 0);
        let proved = until("the class of a proof", async || {
            let finding = fleet.findings("cluster=partial").await.pop()?;
            // proto3 JSON leaves false out.
            (finding["factors"]["exposed"] != true).then_some(finding)
        })
        .await;
        assert_ne!(proved["class"], undeployed["class"], "the test shows nothing");
        assert_eq!(proved["due"], applied["due"], "a due date only moves earlier");
        let told = changes(&world.findings.of_cluster("partial"));
        let reclassified = told.iter().filter(|(kind, _)| kind == "reclassified").count();
        assert_eq!(reclassified, 1, "{told:?}");
    });
}

#[test]
fn what_a_change_of_policy_opens_is_told_and_ends() {
    run(async {
        let world = world().await;
        let fleet = &world.fleet;
        let app = image([debian(&[("libnghttp2-14", "1.52.0-1", "nghttp2")])]);
        world.registry.push_image("opened/app", "1", &app);
        fleet.scanned(app.digest()).await;
        let image = format!("{}/opened/app:1", world.registry.host());
        let balancer = service("web", "LoadBalancer", 1)
            .replace("type: LoadBalancer", "type: LoadBalancer, externalTrafficPolicy: Local");
        let all = format!("{NAMESPACE}{}{balancer}{CLOSED}", deployment("web", &image, 1));
        fleet.deploy("opened", "replace", &all).await;
        let closed = until("the first view", async || {
            let finding = fleet.findings("cluster=opened").await.pop()?;
            (finding["factors"]["exposed"] != true).then_some(finding)
        })
        .await;

        // The policy goes: the workload is open, and stands beside what is behind it.
        fleet.deploy("opened", "delete", CLOSED).await;
        let open = until("what the change opened", async || {
            let found = fleet.findings("cluster=opened").await;
            (found.iter().filter(|f| is_network(f)).count() == 2).then_some(found)
        })
        .await;
        let order: Vec<&str> = open.iter().filter_map(|f| f["vulnerabilityId"].as_str()).collect();
        assert_eq!(order[0], "CVE-2023-44487");
        let mut rest = order[1..].to_vec();
        rest.sort();
        assert_eq!(rest, ["NETPOL001", "NETPOL003"]);
        assert_ne!(open[0]["class"], closed["class"], "the test shows nothing");
        for finding in &open[1..] {
            assert_eq!(finding["class"], open[0]["class"], "{finding}");
            assert_eq!(finding["rank"], open[0]["rank"], "{finding}");
            assert_eq!(finding["holder"]["workload"]["workload"]["name"], "web", "{finding}");
        }
        let table = fleet.says(&["findings", "--cluster", "opened"]).await;
        assert!(table.contains("NETPOL001"), "{table}");
        let actions = fleet.says(&["actions"]).await;
        assert!(actions.contains("opened/shop/Deployment/web"), "{actions}");

        // It comes back: both end, and whoever only listens heard all of it, under the urgent class.
        fleet.deploy("opened", "apply", CLOSED).await;
        until("the end of it", async || {
            let found = fleet.findings("cluster=opened").await;
            (found.len() == 1 && found[0]["class"] == closed["class"]).then_some(())
        })
        .await;
        let told = until("the messages", async || {
            let told = world.findings.of_cluster("opened");
            let fixed = changes(&told).iter().filter(|(kind, _)| kind == "fixed").count();
            (fixed == 2).then_some(told)
        })
        .await;
        let network: Vec<(String, String)> =
            changes(&told).into_iter().filter(|(_, id)| id.starts_with("NETPOL")).collect();
        for id in ["NETPOL001", "NETPOL003"] {
            let kinds: Vec<&str> =
                network.iter().filter(|(_, of)| of == id).map(|(kind, _)| kind.as_str()).collect();
            assert_eq!(kinds.first(), Some(&"opened"), "{network:?}");
            assert_eq!(kinds.last(), Some(&"fixed"), "{network:?}");
        }
        let class = open[0]["class"].as_str().unwrap();
        let subject = format!("findings.v1.{class}.workload.opened.shop.Deployment.web");
        let urgent = told.iter().filter(|message| message.subject == subject);
        let urgent: Vec<_> = urgent.cloned().collect();
        let kinds = changes(&urgent);
        for kind in ["opened", "fixed"] {
            assert!(kinds.contains(&(kind.to_owned(), "NETPOL001".to_owned())), "{kinds:?}");
        }
    });
}
