//! A real push becomes findings that subscribers receive.

use std::path::{Path, PathBuf};

use plimsoll_testkit::image::{Compression, ImageBuilder};
use plimsoll_testkit::registry::{RealRegistry, RegistryError};

use crate::fleet::{Fleet, Message, Setup, Sse, changes, changes_of, ids, run, until};
use crate::world::{CURL, LODASH, World, debian, image, npm, world};

/// Says why a test has nothing to do; never where CI asks for everything.
fn skip(why: &str) {
    assert!(std::env::var_os("CI").is_none(), "not to be skipped: {why}");
    eprintln!("skipped: {why}");
}

/// Pushes a layout with skopeo; `false` where skopeo is not installed.
async fn push(registry: &RealRegistry, layout: &Path, tag: &str, target: &str) -> bool {
    match registry.skopeo_push(layout, tag, target).await {
        Ok(()) => true,
        Err(RegistryError::NotInstalled { .. }) => {
            skip("skopeo is not installed");
            false
        }
        Err(error) => panic!("{error}"),
    }
}

fn sorted(mut changes: Vec<(String, String)>) -> Vec<(String, String)> {
    changes.sort();
    changes
}

fn opened(vulnerabilities: &[&str]) -> Vec<(String, String)> {
    sorted(vulnerabilities.iter().map(|id| ("opened".to_owned(), (*id).to_owned())).collect())
}

/// Waits until a plain subscription has heard these changes of a repository, and nothing else.
async fn heard(world: &World, repository: &str, wanted: &[(String, String)]) -> Vec<Message> {
    until(&format!("{wanted:?} of {repository}"), async || {
        let messages = world.findings.of_repository(repository);
        let told = sorted(changes(&messages));
        assert!(told.iter().all(|change| wanted.contains(change)), "{told:?} beside {wanted:?}");
        (told == wanted).then_some(messages)
    })
    .await
}

#[test]
fn a_push_to_a_real_registry_is_told_to_subscribers() {
    run(async {
        let world = world().await;
        let Some(real) = &world.real else { return skip("docker-registry is not installed") };
        let (fleet, layouts) = (&world.fleet, tempfile::tempdir().unwrap());
        let base = debian(&[("curl", "7.88.1-10+deb12u1", "curl"), ("bash", "5.2.15-2+b2", "bash")]);
        let first = image([base.clone(), npm("app", &[("lodash", "4.17.11"), ("left-pad", "1.3.0")])]);
        let second = image([base, npm("app", &[("lodash", "4.17.21")])]);
        let layout = |name: &str| layouts.path().join(name);
        first.to_layout(&layout("first"), "1").unwrap();
        second.to_layout(&layout("second"), "1").unwrap();

        let mut sse = Sse::open(fleet, None).await;
        if !push(real, &layout("first"), "1", "real/app:1").await {
            return;
        }
        let all = opened(&[CURL, LODASH].concat());
        let messages = heard(world, "real/app", &all).await;
        for message in &messages {
            assert_eq!(message.body["cause"]["kind"], "push");
            assert!(message.subject.starts_with("findings.v1."), "{}", message.subject);
            let image = format!(".image.{}.real%2Fapp", real.host().replace('.', "%2E").replace(':', "%3A"));
            assert!(message.subject.ends_with(&image), "{}", message.subject);
        }
        let findings = fleet.findings("repository=real/app").await;
        assert_eq!(ids(&findings), [LODASH, CURL].concat());
        for finding in &findings {
            assert_eq!(finding["images"][0], first.digest(), "{finding}");
            assert_eq!(finding["state"], "open");
            assert!(!finding["sentence"].as_str().unwrap().is_empty(), "{finding}");
        }

        // The same over server-sent events.
        let mut told = Vec::new();
        let mut last = 0;
        while sorted(told.clone()) != all {
            let (id, body) = sse.next().await;
            if body["holder"]["repository"]["repository"] == "real/app" {
                told.extend(changes_of(&body));
            }
            assert!(id > last, "{id} after {last}");
            last = id;
        }
        drop(sse);

        // Nobody listens while lodash is repaired; whoever comes back misses nothing and hears nothing twice.
        assert!(push(real, &layout("second"), "1", "real/app:1").await);
        fleet.vulnerable("repository=real/app", &CURL).await;
        let fixed: Vec<_> = LODASH.iter().map(|id| ("fixed".to_owned(), (*id).to_owned())).collect();
        let mut back = Sse::open(fleet, Some(last)).await;
        let mut left = fixed.clone();
        let mut after = Vec::new();
        while !left.is_empty() {
            let (id, body) = back.next().await;
            if body["holder"]["repository"]["repository"] == "real/app" {
                left.retain(|change| !changes_of(&body).contains(change));
            }
            after.push((id, body));
        }
        let end = after.last().unwrap().0;
        assert!(after[0].0 > last);
        let whole = Sse::open(fleet, None).await.through(|id, _| id == end).await;
        let rest: Vec<_> = whole.into_iter().filter(|(id, _)| *id > last).collect();
        assert_eq!(after, rest);
        let of = |(_, body): &(u64, serde_json::Value)| {
            (body["holder"]["repository"]["repository"] == "real/app").then(|| changes_of(body))
        };
        let told: Vec<_> =
            after.iter().filter_map(of).flatten().filter(|(kind, _)| kind == "fixed").collect();
        assert_eq!(sorted(told), fixed);
    });
}

#[test]
fn the_corpus_has_its_known_vulnerabilities() {
    run(async {
        let shared = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/advisories");
        let corpus = std::env::var_os("PLIMSOLL_CORPUS").map(PathBuf::from);
        let (Some(corpus), true) = (corpus, shared.join("osv").is_dir()) else {
            eprintln!("skipped: PLIMSOLL_CORPUS names no images, or there are no shared advisories");
            return;
        };
        let Ok(real) = RealRegistry::start(Default::default()).await else {
            return skip("docker-registry is not installed");
        };
        let osv = ["PyPI", "npm", "Go", "Debian-CVE-derived"];
        let mut feeds: Vec<_> = osv.iter().map(|name| shared.join(format!("osv/{name}.jsonl.zst"))).collect();
        feeds.push(shared.join("kev/known_exploited_vulnerabilities.json"));
        let setup = Setup {
            registries: vec![format!("{{host: \"{}\", plain_http: true}}", real.host())],
            feeds,
            ..Setup::default()
        };
        let fleet = Fleet::up("corpus", &setup).await;
        for (name, known) in [
            ("web", ["CVE-2021-35042", "CVE-2022-28346"].as_slice()),
            ("api", ["CVE-2020-8203", "CVE-2021-23337"].as_slice()),
        ] {
            if !push(&real, &corpus.join(name), "latest", &format!("corpus/{name}:latest")).await {
                return;
            }
            fleet.submit(&format!("{}/corpus/{name}:latest", real.host())).await;
            until(&format!("the known vulnerabilities of {name}"), async || {
                let findings = fleet.findings(&format!("repository=corpus/{name}")).await;
                let found = ids(&findings);
                known.iter().all(|id| found.contains(id)).then_some(())
            })
            .await;
        }
    });
}

#[test]
fn an_index_is_read_by_its_platforms() {
    run(async {
        let world = world().await;
        let of = |architecture: &str, version: &str| {
            ImageBuilder::new()
                .platform("linux", architecture)
                .layer(npm(architecture, &[("lodash", version)]), Compression::Zstd)
                .build()
                .unwrap()
        };
        let index =
            plimsoll_testkit::image::index(vec![of("amd64", "4.17.11"), of("arm64", "4.17.20")]).unwrap();
        world.registry.push_image("index/app", "1", &index);
        let findings = until("findings of both platforms", async || {
            let findings = world.fleet.findings("repository=index/app").await;
            (findings.len() == 3).then_some(findings)
        })
        .await;
        let mut found: Vec<_> = findings
            .iter()
            .map(|f| {
                let platform = &f["holder"]["repository"]["platform"]["architecture"];
                (platform.as_str().unwrap(), f["vulnerabilityId"].as_str().unwrap())
            })
            .collect();
        found.sort_unstable();
        assert_eq!(found, [("amd64", LODASH[0]), ("amd64", LODASH[1]), ("arm64", LODASH[1])]);
    });
}
