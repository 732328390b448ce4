//! How many pushes a second the store takes, and how long a change of advisories takes, on this machine.
//!
//! `cargo run --release -p plimsoll-store --example rate -- [REPOSITORIES] [PUSHES] [BATCH]`: a fleet of repositories whose images share 300
//! components, 60 of them with two vulnerabilities each; first one push for each repository (cold: every finding
//! opens), then warm pushes (new digest, same content but for one component), then one Db change that touches a
//! component which all images have.

use std::time::Instant;

use plimsoll_model::fact::{ImageFact, ImagePushed, ManifestFact, ManifestKind, MatchFact};
use plimsoll_model::vulnerability::{Intelligence, Match, MatchStatus, Severity, Sourced};
use plimsoll_model::{
    ComponentKey, Digest, Ecosystem, Fact, FactBody, MatchSet, PackageKey, Platform, Timestamp, Vulnerability,
};
use plimsoll_store::{Settings, Store};

const COMPONENTS: u64 = 300;
const VULNERABLE: u64 = 60;
const EACH: u64 = 2;

fn component(name: u64, version: u64) -> ComponentKey {
    ComponentKey {
        stream: String::new(),
        package: PackageKey {
            ecosystem: Ecosystem::Npm,
            release: None,
            name: format!("package-number-{name}"),
        },
        version: format!("{version}.0.0"),
        source: None,
        arch: String::new(),
    }
}

fn matches(db_seq: u64, components: &[ComponentKey], each: u64) -> MatchSet {
    let mut set = MatchSet { db_seq, ..MatchSet::default() };
    for (n, key) in (0..).zip(components) {
        for v in 0..if n < VULNERABLE { each } else { 0 } {
            let id = format!("CVE-2026-{}", n * 10 + v);
            set.matches.push(Match {
                feed_date: None,
                vulnerability: id.clone(),
                component: key.clone(),
                advisory: format!("GHSA-{n:04}-{v:04}"),
                feed: "ghsa".into(),
                status: MatchStatus::Affected,
                range: ">= 0, < 9.9.9".into(),
                compared: key.version.clone(),
                fixed: Some("9.9.9".into()),
                confident: true,
            });
            set.vulnerabilities.push(vulnerability(id));
        }
    }
    set
}

fn vulnerability(id: String) -> Vulnerability {
    let stated = |value| Some(Sourced { value, source: "vulnrichment".to_owned() });
    Vulnerability {
        id,
        aliases: vec!["GHSA-aaaa-bbbb-cccc".into()],
        summary: "A flaw in the parser lets remote callers run code of their choice. ".repeat(4),
        severity: Severity::High,
        severity_source: "ghsa".into(),
        cvss: "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H".into(),
        published: Some(Timestamp(1)),
        modified: Some(Timestamp(2)),
        intelligence: Intelligence {
            epss: Some(0.02),
            automatable: stated(true),
            total_impact: stated(false),
            ..Intelligence::default()
        },
    }
}

fn push(n: u64, repository: u64) -> [Fact; 3] {
    let mut bytes = [7; 32];
    for (slot, byte) in bytes.iter_mut().zip(n.to_be_bytes()) {
        *slot = byte;
    }
    let digest = Digest::from_sha256(&bytes);
    let (registry, repository) = ("registry.local:5000".to_owned(), format!("team/service-{repository}"));
    let mut components: Vec<ComponentKey> = (0..COMPONENTS - 1).map(|c| component(c, 1)).collect();
    components.push(component(COMPONENTS, n));
    let fact = |kind: &str, body| Fact {
        id: format!("{kind}-{n}"),
        at: Timestamp(1_800_000_000_000),
        trace: String::new(),
        body,
    };
    let platform = Platform::default();
    let layers = vec![digest.clone()];
    let matches = matches(1, &components, EACH);
    [
        fact(
            "pushed",
            FactBody::ImagePushed(ImagePushed {
                registry: registry.clone(),
                repository: repository.clone(),
                tag: Some("main".into()),
                digest: digest.clone(),
                seq: n,
            }),
        ),
        fact(
            "manifest",
            FactBody::Manifest(ManifestFact {
                registry,
                repository,
                digest: digest.clone(),
                kind: ManifestKind::Image { platform: platform.clone(), layers: layers.clone() },
            }),
        ),
        fact(
            "image",
            FactBody::Image(ImageFact {
                digest,
                platform,
                sbom: format!("sbom/{n}"),
                components,
                matches,
                partial: vec![],
                layers,
                inside: vec![],
                introduced: vec![],
            }),
        ),
    ]
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1).map(|a| a.parse::<u64>());
    let mut argument = |default| arguments.next().unwrap_or(Ok(default));
    let (repositories, pushes, batch) = (argument(200)?, argument(2_000)?, argument(32)?);
    let directory = tempfile::tempdir()?;
    let store = Store::open(directory.path().join("rate.db")).await?;
    let settings = Settings::standard()?;
    let now = Timestamp(1_800_000_000_000);
    store.set_db_seq(1).await?;
    let mut n = 0;
    for (what, count) in [("cold", repositories), ("warm", pushes)] {
        let mut spent = std::time::Duration::ZERO;
        let (mut done, mut told, mut worst) = (0, 0, std::time::Duration::ZERO);
        while done < count {
            let mut facts = Vec::new();
            for _ in 0..batch.min(count - done) {
                n += 1;
                done += 1;
                facts.extend(push(n, n % repositories));
            }
            let start = Instant::now();
            let outcome = store.commit(&facts, &settings, now).await?;
            let took = start.elapsed();
            spent += took;
            worst = worst.max(took);
            told += outcome.roll_ups.iter().map(|(_, _, m)| m.changes.len()).sum::<usize>();
            store.outbox_published(1, outcome.roll_ups.last().map_or(0, |(seq, _, _)| *seq)).await?;
        }
        let rate = done as f64 / spent.as_secs_f64();
        println!(
            "{what}: {done} pushes, {rate:.0}/s, batches of {batch}, slowest batch {worst:?}, {told} changes"
        );
    }
    let first = [component(0, 1)];
    let fact = Fact {
        id: "db".into(),
        at: now,
        trace: String::new(),
        body: FactBody::Match(MatchFact {
            components: first.to_vec(),
            matches: matches(2, &first, EACH + 1),
            reason: "Db 2".into(),
        }),
    };
    let start = Instant::now();
    let outcome = store.commit(&[fact], &settings, now).await?;
    println!(
        "one component changed in {repositories} repositories: {:?}, {} messages",
        start.elapsed(),
        outcome.roll_ups.len()
    );
    let start = Instant::now();
    let page = store.reader().findings(&plimsoll_store::Filter::default(), None, 100).await?;
    println!("first page of findings: {:?}, {} rows", start.elapsed(), page.findings.len());
    let start = Instant::now();
    let affected = store.reader().affected("CVE-2026-0", &[]).await?;
    println!("affected: {:?}, {} holders", start.elapsed(), affected.affected.len());
    let start = Instant::now();
    let actions = store.reader().actions(10).await?;
    println!("plan: {:?}, {} actions", start.elapsed(), actions.len());
    let size = std::fs::metadata(store.path())?.len();
    println!("file: {} KiB for {n} images", size / 1024);
    Ok(())
}
