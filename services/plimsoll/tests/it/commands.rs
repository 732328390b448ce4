//! The command line against a running deployment.

use serde_json::Value;

use crate::fleet::{run, until};
use crate::world::{LODASH, image, npm, of_npm, world};

const SHOP: &str = "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n---\napiVersion: apps/v1\nkind: Deployment\n\
    metadata: {name: web, namespace: shop}\nspec:\n  selector: {matchLabels: {app: web}}\n  template:\n    metadata: {labels: {app: web}}\n    \
    spec: {containers: [{name: app, image: \"IMAGE\", ports: [{containerPort: 8080}]}]}\n";
const CLOSED: &str = "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: closed, namespace: shop}\n\
    spec: {podSelector: {}, policyTypes: [Ingress]}\n";

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[test]
fn commands_answer_for_people_and_programs() {
    run(async {
        let world = world().await;
        let fleet = &world.fleet;
        let app = image([npm("commands", &[("lodash", "4.17.11")])]);
        world.registry.push_image("commands/app", "1", &app);
        fleet.vulnerable("repository=commands/app", &LODASH).await;
        let files = tempfile::tempdir().unwrap();
        let path = |name: &str| files.path().join(name).to_str().unwrap().to_owned();
        let reference = format!("{}/commands/app:1", world.registry.host());
        std::fs::write(path("shop.yaml"), SHOP.replace("IMAGE", &reference)).unwrap();
        let said =
            fleet.says(&["deploy", "-f", &path("shop.yaml"), "--cluster", "commands", "--replace"]).await;
        assert!(said.contains("2 objects for commands recorded as event"), "{said}");
        until("findings of the workload", async || {
            (fleet.findings("cluster=commands").await.len() == 2).then_some(())
        })
        .await;

        let table = fleet.says(&["findings", "--cluster", "commands"]).await;
        assert!(
            LODASH.iter().all(|id| table.contains(id)) && table.contains("shop/Deployment/web"),
            "{table}"
        );
        let found = json(&fleet.says(&["findings", "--cluster", "commands", "-o", "json"]).await);
        assert_eq!(found["findings"].as_array().unwrap().len(), 2);
        let none = fleet.says(&["findings", "--cluster", "nowhere"]).await;
        assert_eq!(none.trim(), "no findings");

        let status = fleet.says(&["status", app.digest()]).await;
        assert!(
            status.contains("manifest") && status.contains("ready") && status.contains("matched"),
            "{status}"
        );
        let status =
            json(&fleet.says(&["status", &format!("{reference}@{}", app.digest()), "-o", "json"]).await);
        assert_eq!(status["trace_id"].as_str().map(str::len), Some(32), "{status}");

        let table = fleet.says(&["affected", "CVE-2021-23337"]).await;
        assert!(table.contains("commands"), "{table}");
        let found = json(&fleet.says(&["affected", "GHSA-35jh-r3h4-6jhm", "-o", "json"]).await);
        assert_eq!(found["vulnerability"]["id"], "CVE-2021-23337", "an alias is the same");
        let found = json(&fleet.says(&["affected", "pkg:npm/lodash@4.17.11", "-o", "json"]).await);
        assert!(found["affected"].to_string().contains("commands"), "{found}");

        let actions = json(&fleet.says(&["actions", "-o", "json"]).await);
        let actions = actions["actions"].as_array().unwrap().clone();
        assert!(actions.iter().any(|a| a.to_string().contains("lodash")), "{actions:?}");
        let shares: Vec<f64> = actions.iter().map(|a| a["removes"].as_f64().unwrap()).collect();
        assert!(shares.is_sorted_by(|a, b| a >= b), "{shares:?}");
        assert!(fleet.says(&["actions"]).await.contains("lodash"));

        let sbom = fleet.get(&format!("/v1/images/{}/sbom", app.digest())).await.1;
        assert_eq!(sbom["specVersion"], "1.6");
        assert!(sbom["components"].to_string().contains("pkg:npm/lodash@4.17.11"), "{sbom}");

        for (words, code) in [
            (vec!["status", "sha256:00"], "invalid_reference"),
            (vec!["push-event", "elsewhere.example.com/a:1"], "registry_not_configured"),
            (vec!["findings", "--class", "5d"], "bad_request"),
            (vec!["deploy", "-f", "/nowhere", "--cluster", "x"], "unreadable"),
        ] {
            let output = fleet.cli(&words).await;
            let said = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(2), "{words:?}: {said}");
            assert!(said.starts_with(&format!("error {code}: ")), "{words:?}: {said}");
        }
    });
}

#[test]
fn a_dry_run_shows_the_difference_and_records_nothing() {
    run(async {
        let world = world().await;
        let fleet = &world.fleet;
        let app = of_npm("dry", "minimist", "1.2.0");
        world.registry.push_image("dry/app", "1", &app);
        fleet.scanned(app.digest()).await;
        let files = tempfile::tempdir().unwrap();
        let path = |name: &str| files.path().join(name).to_str().unwrap().to_owned();
        let reference = format!("{}/dry/app:1", world.registry.host());
        std::fs::write(path("shop.yaml"), SHOP.replace("IMAGE", &reference)).unwrap();
        std::fs::write(path("closed.yaml"), CLOSED).unwrap();
        fleet.says(&["deploy", "-f", &path("shop.yaml"), "--cluster", "dry", "--replace"]).await;
        until("the workload's finding", async || {
            (fleet.findings("cluster=dry").await.len() == 1).then_some(())
        })
        .await;
        let events = || async {
            let context = async_nats::jetstream::new(fleet.client().await);
            let stream = context.get_stream("EVENTS").await.unwrap();
            stream.get_last_raw_message_by_subject("events.cluster.dry").await.unwrap().sequence
        };
        let (before, findings) = (events().await, fleet.findings("cluster=dry").await);
        let words = ["deploy", "-f", &path("closed.yaml"), "--cluster", "dry", "--dry-run", "-o", "json"];
        // The checkpoint follows the fact.
        let difference = until("the difference", async || {
            let difference = json(&fleet.says(&words).await);
            (difference["base"] == before).then_some(difference)
        })
        .await;
        assert_eq!(difference["dry_run"], true);
        assert!(!difference["connections"].as_array().unwrap().is_empty(), "{difference}");
        assert_eq!(difference["workloads"][0]["exposure"], "isolated", "{difference}");
        assert_eq!(events().await, before);
        assert_eq!(fleet.findings("cluster=dry").await, findings);
        let table = fleet.says(&words[..6]).await;
        assert!(table.contains("would be isolated"), "{table}");
        // A list that is cut says how much it leaves out.
        let many: String = (0..40)
            .map(|index| {
                format!("{{apiVersion: v1, kind: Pod, metadata: {{name: p{index}, namespace: many}}, spec: {{containers: []}}}}\n---\n")
            })
            .collect();
        std::fs::write(path("many.yaml"), many).unwrap();
        let many = path("many.yaml");
        let words = ["deploy", "-f", &many, "--cluster", "dry", "--dry-run", "-o", "json"];
        let difference = json(&fleet.says(&words).await);
        let listed = difference["connections"].as_array().unwrap().len() as u64;
        let left = difference["unlisted"]["added"].as_u64().unwrap();
        assert!(listed <= 1000 && left > 0 && listed + left >= 40 * 39, "{listed} {left}");
        let table = fleet.says(&words[..6]).await;
        assert!(table.contains(&format!("and {left} more ({left} added)")), "{table}");
    });
}

#[test]
fn reconcile_finds_what_webhooks_missed() {
    run(async {
        let world = world().await;
        let (fleet, host) = (&world.fleet, world.registry.host());
        let (told, missed) = (of_npm("told", "lodash", "4.17.11"), of_npm("missed", "minimist", "1.2.0"));
        world.registry.push_image("reconcile/told", "1", &told);
        world.registry.put_image("reconcile/missed", "1", &missed);
        fleet.vulnerable("repository=reconcile/told", &LODASH).await;
        let words = ["reconcile", &host, "reconcile/told", "reconcile/missed"];
        let said = fleet.says(&words).await;
        assert!(said.contains(&format!("{host}/reconcile/missed:1")), "{said}");
        assert!(said.contains("1 known, 1 asked for, 0 not resolved"), "{said}");
        fleet.vulnerable("repository=reconcile/missed", &["CVE-2021-44906"]).await;
        let again = fleet.says(&words).await;
        assert!(again.contains("2 known, 0 asked for, 0 not resolved"), "{again}");
        let output = fleet.cli(&["reconcile", "elsewhere.example.com"]).await;
        assert!(String::from_utf8_lossy(&output.stderr).starts_with("error registry_not_configured: "));
    });
}
