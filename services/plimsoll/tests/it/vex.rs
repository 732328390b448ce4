//! Statements in the services: suppressed with its cause, shown, asked about, reopened, kept over a rebuild.

use std::path::Path;

use serde_json::{Value, json};

use crate::clusters::{CLOSED, NAMESPACE, deployment, service};
use crate::fleet::{Fleet, Heard, Setup, changes, folder, run, until};
use crate::world::{LODASH, demo_feeds, image, npm, registry};
use plimsoll_testkit::ports;
use plimsoll_testkit::registry::Auth;

fn document(digest: &str) -> String {
    json!({ "@context": "https://openvex.dev/ns/v0.2.0", "@id": "https://example.com/vex/1", "author": "Shop", "statements": [{
        "vulnerability": { "name": "GHSA-35jh-r3h4-6jhm" }, "status": "not_affected",
        "justification": "vulnerable_code_not_in_execute_path", "impact_statement": "templates are never compiled",
        "products": [{ "@id": format!("pkg:oci/one@{}", digest.replace(':', "%3A")), "subcomponents": [{ "@id": "pkg:npm/lodash" }] }] }] })
    .to_string()
}

async fn suppressed(fleet: &Fleet, repository: &str) -> Vec<Value> {
    let (_, body) = fleet.get(&format!("/v1/findings?suppressed=true&repository={repository}")).await;
    body["findings"].as_array().cloned().unwrap_or_default()
}

/// What a change of policy opened is accepted by a rule, seen as such, and back when the rule ends.
async fn accepted_for_a_time(fleet: &Fleet, registry: &str, rules: &Path, findings: &Heard) {
    let image = format!("{registry}/vex/fixed:1");
    let all =
        format!("{NAMESPACE}{}{}{CLOSED}", deployment("web", &image, 1), service("web", "LoadBalancer", 1));
    fleet.deploy("accepted", "replace", &all).await;
    until("the first view", async || {
        let (_, images) = fleet.get("/v1/images").await;
        images.to_string().contains("accepted/shop/Deployment/web").then_some(())
    })
    .await;
    fleet.deploy("accepted", "delete", CLOSED).await;
    let of = async |query: &str| {
        let (_, body) = fleet.get(&format!("/v1/findings?vulnerability=NETPOL001&{query}")).await;
        body["findings"].as_array().cloned().unwrap_or_default()
    };
    until("what the change opened", async || (of("cluster=accepted").await.len() == 1).then_some(())).await;
    let says = fleet.says(&["affected", "NETPOL001"]).await;
    assert!(says.contains("reachable from the internet") && says.contains("accepted/shop"), "{says}");

    let soon = plimsoll_model::Timestamp(plimsoll_model::Timestamp::now().0 + 12_000);
    let rule = format!(
        "rules:\n- {{id: NETPOL001, cluster: accepted, namespace: shop, workload: web, reason: it is public, expires: '{soon}'}}\n"
    );
    std::fs::write(rules, rule).unwrap();
    let accepted = until("it is accepted", async || of("suppressed=true").await.pop()).await;
    assert_eq!(accepted["suppressions"][0]["reason"], "it is public", "{accepted}");
    assert!(of("cluster=accepted").await.is_empty());
    let (_, answer) = fleet.get("/v1/affected/NETPOL001").await;
    assert_eq!(answer["affected"], json!([]), "{answer}");
    assert!(answer["not_affected"][0]["because"].as_str().unwrap().contains("it is public"), "{answer}");
    let told = until("it is back", async || {
        findings.of_cluster("accepted").into_iter().find(|message| {
            changes(std::slice::from_ref(message)).contains(&("reopened".to_owned(), "NETPOL001".to_owned()))
        })
    })
    .await;
    let sentence = told.body["cause"]["sentence"].as_str().unwrap();
    assert!(sentence.starts_with("expired: an ignore rule for NETPOL001"), "{sentence}");
}

#[test]
fn statements_suppress_what_they_name_and_nothing_else() {
    run(async {
        let port = ports::free(1).unwrap()[0];
        let registry = registry(port, Auth::None).await;
        let files = folder("vex-files");
        let (vex, rules) = (files.join("vex"), files.join("ignore.yaml"));
        std::fs::create_dir(&vex).unwrap();
        std::fs::write(&rules, "rules: []\n").unwrap();
        let setup = Setup {
            registries: vec![format!("{{host: \"{}\", plain_http: true}}", registry.host())],
            feeds: vec![demo_feeds()],
            port,
            clusters: vec!["accepted"],
            more: format!("vex: [{{from: {}}}]\nignore: {}\n", json!(vex), json!(rules)).leak(),
            ..Setup::default()
        };
        let mut fleet = Fleet::up("vex", &setup).await;
        let findings = Heard::on(&fleet, "findings.v1.>").await;
        let push = |name: &str, version: &str| {
            let app = image([npm(name, &[("lodash", version)])]);
            registry.push_image(&format!("vex/{name}"), "1", &app);
            app
        };
        let one = push("one", "4.17.11");
        push("two", "4.17.11");
        let fixed = push("fixed", "4.17.21");
        fleet.vulnerable("repository=vex/one", &LODASH).await;
        fleet.vulnerable("repository=vex/two", &LODASH).await;
        fleet.scanned(fixed.digest()).await;

        std::fs::write(vex.join("one.json"), document(one.digest())).unwrap();
        until("the finding is suppressed", async || {
            (!suppressed(&fleet, "vex/one").await.is_empty()).then_some(())
        })
        .await;
        let by = &suppressed(&fleet, "vex/one").await[0];
        assert_eq!(by["vulnerabilityId"], "CVE-2021-23337");
        assert_eq!(
            (&by["suppressions"][0]["issuer"], &by["suppressions"][0]["status"]),
            (&json!("Shop"), &json!("not_affected"))
        );
        assert_eq!(by["images"], json!([one.digest()]));
        fleet.vulnerable("repository=vex/one", &["CVE-2020-8203"]).await;
        fleet.vulnerable("repository=vex/two", &LODASH).await;
        let told = until("the change", async || {
            let told = findings.of_repository("vex/one");
            told.into_iter().find(|m| m.body["cause"]["kind"] == "vex")
        })
        .await;
        assert_eq!(
            changes(std::slice::from_ref(&told)),
            [("suppressed".to_owned(), "CVE-2021-23337".to_owned())]
        );
        let sentence = told.body["cause"]["sentence"].as_str().unwrap();
        assert!(
            sentence.contains("Shop says not_affected") && sentence.contains("https://example.com/vex/1"),
            "{sentence}"
        );
        let table = fleet.says(&["findings", "--suppressed"]).await;
        assert!(
            table.contains("CVE-2021-23337") && table.contains("templates are never compiled"),
            "{table}"
        );

        // Who is affected, who is not, and why; by an alias.
        let (_, answer) = fleet.get("/v1/affected/GHSA-35jh-r3h4-6jhm").await;
        let affected = answer["affected"].to_string();
        assert!(affected.contains("vex/two") && !affected.contains("vex/one"), "{affected}");
        let because = |holder: &str| {
            let not = answer["not_affected"].as_array().unwrap();
            let row = not.iter().find(|row| row["holder"].as_str().unwrap().contains(holder));
            row.unwrap_or_else(|| panic!("{holder}: {answer}"))["because"].as_str().unwrap().to_owned()
        };
        assert!(because("vex/one").starts_with("VEX: not_affected by Shop"), "{}", because("vex/one"));
        let fixed = because("vex/fixed");
        assert!(fixed.contains("4.17.21 is not in") && fixed.contains("< 4.17.21"), "{fixed}");
        let (_, nothing) = fleet.get("/v1/affected/CVE-1999-0001").await;
        assert_eq!((&nothing["affected"], &nothing["not_affected"]), (&json!([]), &json!([])));

        // A rule for the other repository, that ends by itself.
        let soon = plimsoll_model::Timestamp(plimsoll_model::Timestamp::now().0 + 12_000);
        let rule = format!(
            "rules:\n- {{id: CVE-2020-8203, package: pkg:npm/lodash@4.17.11, image: '*/vex/two', reason: next week, expires: '{soon}'}}\n"
        );
        std::fs::write(&rules, rule).unwrap();
        until("the rule holds", async || (!suppressed(&fleet, "vex/two").await.is_empty()).then_some(()))
            .await;
        fleet.vulnerable("repository=vex/two", &["CVE-2021-23337"]).await;
        fleet.vulnerable("repository=vex/two", &LODASH).await;
        let told = until("the rule expires", async || {
            let told = findings.of_repository("vex/two");
            told.into_iter()
                .find(|m| changes(std::slice::from_ref(m)).iter().any(|(kind, _)| kind == "reopened"))
        })
        .await;
        assert!(
            told.body["cause"]["sentence"].as_str().unwrap().starts_with("expired: an ignore rule"),
            "{}",
            told.body
        );

        accepted_for_a_time(&fleet, &registry.host(), &rules, &findings).await;

        // A lost store has the same again, and tells nothing.
        let before = findings.all().len();
        fleet.stop("up").await;
        for name in ["store.sqlite", "store.sqlite-wal", "store.sqlite-shm"] {
            let _ = std::fs::remove_file(fleet.dir.join(name));
        }
        fleet.restart().await;
        until("the store is back", async || (!suppressed(&fleet, "vex/one").await.is_empty()).then_some(()))
            .await;
        fleet.vulnerable("repository=vex/one", &["CVE-2020-8203"]).await;
        fleet.vulnerable("repository=vex/two", &LODASH).await;
        assert_eq!(findings.all().len(), before);

        // The statement goes: the finding is back, with its cause.
        let heard = Heard::on(&fleet, "findings.v1.>").await;
        std::fs::remove_file(vex.join("one.json")).unwrap();
        fleet.vulnerable("repository=vex/one", &LODASH).await;
        let told = until("the change back", async || {
            heard.of_repository("vex/one").into_iter().find(|m| m.body["cause"]["kind"] == "vex")
        })
        .await;
        // A rebuilt store does not know that it was open before.
        let [(kind, id)] = changes(std::slice::from_ref(&told)).try_into().unwrap();
        assert!(kind.ends_with("opened") && id == "CVE-2021-23337", "{kind} {id}");
        assert!(
            told.body["cause"]["sentence"].as_str().unwrap().starts_with("withdrawn: Shop says"),
            "{}",
            told.body
        );
    });
}
