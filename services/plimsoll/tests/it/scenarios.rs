//! Images: what must hold whatever registries, layers and tags do.

use std::time::Duration;

use plimsoll_testkit::image::elf::go_binary;
use plimsoll_testkit::image::{Compression, ImageBuilder, Layer, content};
use plimsoll_testkit::registry::{Behaviour, Fault, Kind, Pusher};
use serde_json::Value;

use crate::fleet::{changes, ids, run, until};
use crate::world::{CURL, LODASH, World, debian, image, npm, of_npm, world};

/// Waits until everything that was told so far is behind a marker of our own: a push that opens a finding.
///
/// Changes of one store are published in the order of its commits, so what is not there by then does not come.
async fn barrier(world: &World, name: &str) {
    let repository = format!("barrier/{name}");
    world.registry.push_image(&repository, "1", &of_npm(name, "lodash", "4.17.11"));
    until(&format!("the marker of {name}"), async || {
        (changes(&world.findings.of_repository(&repository)).len() == LODASH.len()).then_some(())
    })
    .await;
}

/// Waits until the store has an image in a repository.
async fn held(world: &World, digest: &str, repository: &str) {
    until(&format!("{digest} in {repository}"), async || {
        let (_, body) = world.fleet.get("/v1/images").await;
        let images = body["images"].as_array().cloned().unwrap_or_default();
        images
            .iter()
            .any(|image| image["digest"] == digest && image["holders"].to_string().contains(repository))
            .then_some(())
    })
    .await;
}

#[test]
fn a_digest_in_two_repositories_fails_only_where_credentials_are_wrong() {
    run(async {
        let world = world().await;
        let fleet = &world.fleet;
        let app = image([debian(&[("curl", "7.88.1-10+deb12u1", "curl"), ("two", "1", "two")])]);
        world.locked.push_image("two/locked", "1", &app);
        let failure = fleet.failed("two/locked").await;
        assert_eq!((&failure["code"], &failure["stage"]), (&"auth".into(), &"manifest".into()), "{failure}");
        assert_eq!(failure["digest"], app.digest());
        world.registry.push_image("two/open", "1", &app);
        fleet.vulnerable("repository=two/open", &CURL).await;
        barrier(world, "two").await;
        // What was read through one registry is not shown as another's.
        assert_eq!(ids(&fleet.findings("repository=two/locked").await), [""; 0]);
        assert_eq!(fleet.failures("two/locked").await.len(), 1);
        assert_eq!(fleet.failures("two/open").await, Vec::<Value>::new());
        let told = world.findings.of_repository("two/locked");
        let codes: Vec<_> = told.iter().map(|m| m.body["failure"]["code"].clone()).collect();
        assert_eq!(codes, ["auth"]);
        assert!(world.dead.all().iter().any(|m| m.subject == "dead.manifest" && m.code == "auth"));
    });
}

#[test]
fn what_came_with_a_base_is_told_and_ends_with_a_newer_one() {
    run(async {
        let world = world().await;
        let fleet = &world.fleet;
        let (old, new) = (of_npm("based", "lodash", "4.17.11"), of_npm("based", "lodash", "4.17.21"));
        let own = npm("own", &[("axios", "0.19.0")]);
        let app = image([npm("based", &[("lodash", "4.17.11")]), own]);
        assert_eq!(app.layers()[0].digest, old.layers()[0].digest);
        // The application first: its base becomes known later.
        world.registry.push_image("based/app", "1", &app);
        fleet.scanned(app.digest()).await;
        world.registry.push_image("based/base", "stable", &old);
        fleet.scanned(old.digest()).await;
        let path = format!("/v1/images/{}", app.digest());
        let known = until("the base", async || {
            let (_, body) = fleet.get(&path).await;
            (!body["base"].is_null()).then_some(body)
        })
        .await;
        let name = format!("{}/based/base", world.registry.host());
        assert_eq!(known["base"]["name"], format!("{name}:stable"), "{known}");
        assert_eq!(
            (&known["base"]["layers"], &known["came_with"]["base"]),
            (&1.into(), &1.into()),
            "{known}"
        );
        assert_eq!(known["came_with"]["application"], 1, "{known}");
        let origins = until("the findings of both", async || {
            let found = fleet.findings("repository=based/app").await;
            let of = |f: &Value| (f["package"]["name"].to_string(), f["origin"].to_string());
            let of: std::collections::BTreeSet<_> = found.iter().map(of).collect();
            (of.len() == 2).then_some(of)
        })
        .await;
        let expected = [("\"axios\"", "\"application\""), ("\"lodash\"", "\"base\"")];
        assert!(origins.iter().zip(expected).all(|(a, b)| (a.0.as_str(), a.1.as_str()) == b), "{origins:?}");
        let table = fleet.says(&["findings", "--repository", "based/app"]).await;
        assert!(table.contains("CAME WITH") && table.contains("based/base:stable"), "{table}");
        let status = fleet.says(&["status", app.digest()]).await;
        assert!(status.contains("based/base:stable, 1 of 2 layers: 1 packages came with it"), "{status}");
        let (_, sbom) = fleet.get(&format!("{path}/sbom?format=json")).await;
        assert_eq!(sbom["base"]["layers"], 1, "{sbom}");

        world.registry.push_image("based/base", "stable", &new);
        let action = until("the action", async || {
            let (_, body) = fleet.get("/v1/actions").await;
            let actions = body["actions"].as_array().cloned().unwrap_or_default();
            let scope = format!("{}/based/app", world.registry.host());
            actions.into_iter().find(|action| action["kind"]["rebuild_on_base"]["scope"] == scope.as_str())
        })
        .await;
        assert_eq!(action["kind"]["rebuild_on_base"]["base"], format!("{name}:stable"));
        assert_eq!(action["findings"].as_array().unwrap().len(), LODASH.len(), "{action}");
        assert!(action["share"].as_f64().unwrap() > 0.0);
    });
}

#[test]
fn images_on_releases_past_their_support_are_listed() {
    run(async {
        let world = world().await;
        let fleet = &world.fleet;
        let layer = Layer::new()
            .file("etc/os-release", content::os_release("debian", "9"))
            .file("var/lib/dpkg/status", content::dpkg_status(&[("bash", "4.4-5", "bash", "amd64")]));
        let (ended, current) = (image([layer]), image([debian(&[("bash", "5.2-1", "bash")])]));
        world.registry.push_image("ended/app", "1", &ended);
        world.registry.push_image("ended/current", "1", &current);
        fleet.scanned(ended.digest()).await;
        fleet.scanned(current.digest()).await;
        held(world, ended.digest(), "ended/app").await;
        let (_, body) = fleet.get("/v1/images?eol=true").await;
        let images = body["images"].as_array().unwrap();
        let one = images.iter().find(|image| image["digest"] == ended.digest()).unwrap();
        assert_eq!(one["end_of_life"], serde_json::json!(["deb:debian:9 since 2022-06-30"]));
        assert!(images.iter().all(|image| image["digest"] != current.digest()), "{body}");
        let (_, other) = fleet.get(&format!("/v1/images/{}", current.digest())).await;
        assert_eq!(other["end_of_life"], serde_json::json!([]));
        // Pages.
        let (_, first) = fleet.get("/v1/images?limit=1").await;
        assert_eq!(first["images"].as_array().unwrap().len(), 1);
        let next = first["next"].as_str().unwrap();
        assert_eq!(first["images"][0]["digest"], next);
        let (_, second) = fleet.get(&format!("/v1/images?limit=1&after={next}")).await;
        assert!(second["images"][0]["digest"].as_str().unwrap() > next);
        let table = fleet.says(&["images", "--eol"]).await;
        assert!(table.contains("deb:debian:9 since 2022-06-30") && table.contains("ended/app"), "{table}");
        let status = fleet.says(&["status", ended.digest()]).await;
        assert!(status.contains("No longer supported by its distribution: deb:debian:9"), "{status}");
    });
}

#[test]
fn a_failed_layer_is_seen_by_every_image_that_waits_for_it() {
    run(async {
        let world = world().await;
        let fleet = &world.fleet;
        let broken = npm("broken", &[("axios", "0.19.0")]);
        let sound = |n: usize| npm(&format!("sound{n}"), &[("lodash", "4.17.11")]);
        let waiting: Vec<_> = (0..3).map(|n| image([broken.clone(), sound(n)])).collect();
        let alone = image([broken.clone(), Layer::new().file("alone", "x")]);
        let only = image([broken]);
        let beside = image([sound(9)]);
        let digest = only.layers()[0].digest.clone();
        assert!(waiting.iter().all(|image| image.layers()[0].digest == digest));
        world.registry.behave(Behaviour::blob(&digest, Fault::Latency(Duration::from_millis(700))));
        world.registry.behave(Behaviour::blob(&digest, Fault::Corrupt));
        for (n, image) in waiting.iter().enumerate() {
            world.registry.push_image(&format!("layer/waiting{n}"), "1", image);
        }
        world.registry.push_image("layer/only", "1", &only);
        world.registry.push_image("layer/alone", "1", &alone);
        world.registry.push_image("layer/beside", "1", &beside);
        for (n, image) in waiting.iter().enumerate() {
            let scan = fleet.scanned(image.digest()).await;
            assert_eq!(scan["partial"][0]["code"], "corrupt_digest", "{scan}");
            fleet.vulnerable(&format!("repository=layer/waiting{n}"), &LODASH).await;
        }
        assert_eq!(fleet.scanned(alone.digest()).await["partial"][0]["code"], "corrupt_digest");
        let failure = fleet.failed("layer/only").await;
        assert_eq!((&failure["code"], &failure["stage"]), (&"corrupt_digest".into(), &"layer".into()));
        fleet.vulnerable("repository=layer/beside", &LODASH).await;
        assert_eq!(fleet.scanned(beside.digest()).await["partial"], Value::Array(Vec::new()));
        assert!(world.dead.all().iter().any(|m| m.subject == "dead.layer" && m.code == "corrupt_digest"));
    });
}

#[test]
fn a_layer_that_one_repository_cannot_give_comes_from_another() {
    run(async {
        let world = world().await;
        let app = image([npm("elsewhere", &[("minimist", "1.2.0")])]);
        let digest = &app.layers()[0].digest;
        let gone = Behaviour::blob(digest, Fault::Status(404)).repository("elsewhere/gone");
        world.registry.behave(gone);
        world.registry.push_image("elsewhere/gone", "1", &app);
        let failure = world.fleet.failed("elsewhere/gone").await;
        assert_eq!(failure["code"], "not_found", "{failure}");
        world.registry.push_image("elsewhere/kept", "1", &app);
        world.fleet.vulnerable("repository=elsewhere/kept", &["CVE-2021-44906"]).await;
        let scan = world.fleet.scanned(app.digest()).await;
        assert_eq!(scan["partial"], Value::Array(Vec::new()), "{scan}");
    });
}

#[test]
fn a_rebuild_with_the_same_content_is_silent() {
    run(async {
        let world = world().await;
        let layer = npm("rebuild", &[("lodash", "4.17.11")]);
        let build = |label: &str| {
            let builder = ImageBuilder::new().layer(layer.clone(), Compression::Gzip);
            builder.label("org.opencontainers.image.revision", label).build().unwrap()
        };
        let (first, second) = (build("a"), build("b"));
        assert_ne!(first.digest(), second.digest());
        world.registry.push_image("rebuild/app", "1", &first);
        let before = world.fleet.vulnerable("repository=rebuild/app", &LODASH).await;
        held(world, first.digest(), "rebuild/app").await;
        barrier(world, "rebuild-before").await;
        let told = world.findings.of_repository("rebuild/app").len();
        assert!(told > 0);
        world.registry.push_image("rebuild/app", "1", &second);
        world.fleet.scanned(second.digest()).await;
        held(world, second.digest(), "rebuild/app").await;
        barrier(world, "rebuild-after").await;
        let messages = world.findings.of_repository("rebuild/app");
        assert_eq!(messages.len(), told, "{:?}", changes(&messages));
        let after = world.fleet.findings("repository=rebuild/app").await;
        let states = |findings: &[Value]| -> Vec<_> {
            findings.iter().map(|f| (f["id"].clone(), f["revision"].clone(), f["openedAt"].clone())).collect()
        };
        assert_eq!(states(&after), states(&before));
        assert_eq!(world.registry.blob_gets(&first.layers()[0].digest), 1);
    });
}

#[test]
fn a_program_that_is_overwritten_is_gone() {
    run(async {
        let world = world().await;
        let info = content::go_modinfo(
            "example.com/ledger",
            ("example.com/ledger", "v1.0.0"),
            &[("golang.org/x/text", "v0.3.7")],
        );
        let program = Layer::new().executable("usr/local/bin/ledger", go_binary("go1.22.5", &info));
        let other = npm("overwritten", &[("minimist", "1.2.0")]);
        let plain = image([program.clone(), other.clone()]);
        let script = Layer::new().executable("usr/local/bin/ledger", "#!/bin/sh\nexit 0\n");
        let hidden = image([program, other, script]);
        world.registry.push_image("program/plain", "1", &plain);
        world.registry.push_image("program/hidden", "1", &hidden);
        let (go, npm) = ("CVE-2022-32149", "CVE-2021-44906");
        world.fleet.vulnerable("repository=program/plain", &[npm, go]).await;
        world.fleet.scanned(hidden.digest()).await;
        world.fleet.vulnerable("repository=program/hidden", &[npm]).await;
    });
}

#[test]
fn layers_announced_before_their_manifest_are_read_ahead_and_once() {
    run(async {
        let world = world().await;
        // Incompressible, so that the layers are larger than what is not worth a hint.
        let noise = |seed: u64| -> Vec<u8> {
            let mut state = seed;
            std::iter::repeat_with(|| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (state >> 33) as u8
            })
            .take(20_000)
            .collect()
        };
        let app = image([
            npm("hint", &[("lodash", "4.17.11")]).file("noise", noise(1)),
            Layer::new().file("more", noise(2)),
        ]);
        let pusher = Pusher::new(world.registry.url(), None).unwrap();
        let gets = || app.layers().iter().map(|l| world.registry.blob_gets(&l.digest)).collect::<Vec<_>>();
        for layer in app.layers() {
            let blob = app.blobs()[&layer.digest].clone();
            assert!(pusher.blob("hint/app", &blob).await.unwrap());
        }
        until("the announced layers to be read", async || (gets() == [1, 1]).then_some(())).await;
        let manifests = |world: &World| {
            let requests = world.registry.requests();
            requests.iter().filter(|r| r.repository == "hint/app" && r.kind == Kind::Manifest).count()
        };
        assert_eq!(manifests(world), 0);
        pusher.image("hint/app", "1", &app).await.unwrap();
        world.fleet.vulnerable("repository=hint/app", &LODASH).await;
        assert_eq!(gets(), [1, 1]);
    });
}

#[test]
fn what_is_no_image_ends_without_a_dead_letter() {
    run(async {
        let world = world().await;
        let app = of_npm("signed", "minimist", "1.2.0");
        world.registry.push_image("signed/app", "1", &app);
        let signature = ImageBuilder::new()
            .artifact("application/vnd.dev.cosign.artifact.sig.v1+json")
            .subject(app.root())
            .layer(Layer::new().file("sig", "x"), Compression::None)
            .build()
            .unwrap();
        world.registry.push_image("signed/app", "sig", &signature);
        let status = format!("/v1/images/{}/status", signature.digest());
        until("the signature to be known as such", async || {
            (world.fleet.get(&status).await.1["state"] == "not_an_image").then_some(())
        })
        .await;
        world.fleet.vulnerable("repository=signed/app", &["CVE-2021-44906"]).await;
        assert_eq!(world.fleet.failures("signed/app").await, Vec::<Value>::new());
    });
}
