//! A Db that changes many advisories over a large fleet: matched, committed, and told to every holder.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use plimsoll_model::fact::{ImageFact, ImagePushed, ManifestFact, ManifestKind, MatchFact};
use plimsoll_model::{
    ComponentKey, Digest, Ecosystem, Fact, FactBody, MatchSet, PackageKey, Platform, Timestamp,
};
use plimsoll_store::{Emit, Filter, Settings, Store};
use plimsoll_vuln::{BuildOptions, Db, build, diff};

use super::RematchArguments;
use super::measure::{at_most, cpu_of, figure, mib, note, peak_of, title};
use crate::LoadError;

/// Versions of each package.
const VERSIONS: u64 = 5;
/// Packages in an image.
const EACH: u64 = 100;
/// Of so many packages one has an advisory before the change.
const KNOWN: u64 = 20;
/// Components of one job, names of one question, facts of one transaction: as the aggregator has them.
const CHUNK: u32 = 200;
const NAMES: usize = 500;
const BATCH: usize = 256;
/// Images of one transaction while the fleet is built: what a store that is rebuilt takes at a time.
const BULK: usize = 1_000;
/// As the interface asks: findings of a page, and steps of a plan.
const PAGE: u32 = 100;
const ACTIONS: usize = 50;
const NOW: Timestamp = Timestamp(1_800_000_000_000);

/// Measures.
pub(super) async fn run(arguments: &RematchArguments) -> Result<(), LoadError> {
    let packages = (arguments.components / VERSIONS).max(1);
    title(&format!(
        "{} changed advisories over {} images, {} instances of {} components",
        arguments.advisories,
        arguments.images,
        arguments.images * EACH,
        packages * VERSIONS
    ));
    let folder = tempfile::tempdir().map_err(LoadError::io("create a folder"))?;
    let changed: Vec<u64> = (0..packages).filter(|n| n % KNOWN != 0).collect();
    let step = (changed.len() / usize::try_from(arguments.advisories.max(1)).unwrap_or(1)).max(1);
    let changed: BTreeSet<u64> = changed
        .into_iter()
        .step_by(step)
        .take(usize::try_from(arguments.advisories).unwrap_or(usize::MAX))
        .collect();
    let known = (0..packages).filter(|n| n % KNOWN == 0);
    let old = database(folder.path(), 1, known.clone())?;
    let new = database(folder.path(), 2, known.chain(changed.iter().copied()))?;

    let store = Store::open(folder.path().join("store.sqlite")).await.map_err(LoadError::other)?;
    let settings = Settings::standard().map_err(LoadError::other)?;
    store.set_db_seq(1).await.map_err(LoadError::other)?;
    let began = Instant::now();
    let mut facts = Vec::with_capacity(3 * BULK);
    for image in 0..arguments.images {
        facts.extend(push(image, arguments, packages, &old)?);
        if facts.len() >= 3 * BULK || image + 1 == arguments.images {
            let outcome = store.commit(&facts, &settings, NOW).await.map_err(LoadError::other)?;
            if let Some((seq, _, _)) = outcome.roll_ups.last() {
                store.outbox_published(1, *seq).await.map_err(LoadError::other)?;
            }
            facts.clear();
        }
    }
    let size = std::fs::metadata(store.path()).map_or(0, |file| file.len());
    let built = began.elapsed().as_secs_f64();
    let rate = arguments.images as f64 / built;
    note(
        "the fleet",
        &format!(
            "{} s, {} s of processor time, {} images/s, {} MiB",
            figure(built),
            figure(cpu_of(std::process::id())),
            figure(rate),
            figure(mib(size))
        ),
    );

    store.set_db_seq(2).await.map_err(LoadError::other)?;
    let reader = store.reader();
    let began = Instant::now();
    let keys = diff(&old, &new)?.all();
    let compared = began.elapsed();
    let mut jobs: Vec<Vec<ComponentKey>> = Vec::new();
    let mut asked = Duration::ZERO;
    for names in keys.chunks(NAMES) {
        let names: Vec<_> = names.iter().map(|key| (key.ecosystem, None, key.name.clone())).collect();
        let mut after = 0;
        loop {
            let began = Instant::now();
            let page = reader.components_named(&names, after, CHUNK).await.map_err(LoadError::other)?;
            asked += began.elapsed();
            let Some((last, _)) = page.last() else { break };
            after = *last;
            jobs.push(page.into_iter().map(|(_, key)| key).collect());
        }
    }
    let began = Instant::now();
    let facts = jobs
        .into_iter()
        .map(|components| {
            let matches = new.match_keys(&components)?;
            let id = format!("match-{}", components.first().map(ComponentKey::id).unwrap_or_default());
            Ok(fact(id, FactBody::Match(MatchFact { components, matches, reason: "Db 2".into() })))
        })
        .collect::<Result<Vec<_>, LoadError>>()?;
    let matched = began.elapsed();
    let began = Instant::now();
    let mut left = false;
    for facts in facts.chunks(BATCH) {
        left |= store.commit(facts, &settings, NOW).await.map_err(LoadError::other)?.backlog;
    }
    let committed = began.elapsed();
    let seconds = |spent: Duration| figure(spent.as_secs_f64());
    note(
        "parts",
        &format!(
            "difference {} s, {} components found {} s, matched {} s, committed {} s",
            seconds(compared),
            facts.iter().map(components_of).sum::<usize>(),
            seconds(asked),
            seconds(matched),
            seconds(committed)
        ),
    );
    let sum = compared + asked + matched + committed;
    at_most("found, matched and committed", sum.as_secs_f64(), 1.0, "s");

    let (mut slices, mut worst, mut messages, mut changes) = (0u32, Duration::ZERO, 0, 0);
    let began = Instant::now();
    while left {
        let began = Instant::now();
        let outcome = store.backlog(&settings, NOW, Emit::Publish).await.map_err(LoadError::other)?;
        worst = worst.max(began.elapsed());
        slices += 1;
        messages += outcome.roll_ups.len();
        changes += outcome.roll_ups.iter().map(|(_, _, message)| message.changes.len()).sum::<usize>();
        if let Some((seq, _, _)) = outcome.roll_ups.last() {
            store.outbox_published(1, *seq).await.map_err(LoadError::other)?;
        }
        left = outcome.backlog;
    }
    let told = began.elapsed().as_secs_f64();
    note(
        "every holder judged and told",
        &format!(
            "{} s: {changes} changes in {messages} messages, {} us a change; {slices} slices, the longest {} ms",
            figure(told),
            figure(told * 1e6 / changes.max(1) as f64),
            figure(worst.as_secs_f64() * 1e3)
        ),
    );
    let began = Instant::now();
    let one = changed.first().map(|n| vulnerability(*n)).unwrap_or_default();
    let affected = reader.affected(&one, &[]).await.map_err(LoadError::other)?;
    let took = began.elapsed().as_secs_f64() * 1e3;
    note("where are we affected", &format!("{} ms, {} holders", figure(took), affected.affected.len()));
    let began = Instant::now();
    let page = reader.findings(&Filter::default(), None, PAGE).await.map_err(LoadError::other)?;
    let first = began.elapsed().as_secs_f64() * 1e3;
    let began = Instant::now();
    let narrow = Filter { package: Some(name(0)), ..Filter::default() };
    reader.findings(&narrow, None, PAGE).await.map_err(LoadError::other)?;
    let narrowed = began.elapsed().as_secs_f64() * 1e3;
    note(
        "findings in order",
        &format!(
            "a page of {} in {} ms; of one package in {} ms",
            page.findings.len(),
            figure(first),
            figure(narrowed)
        ),
    );
    let began = Instant::now();
    let actions = reader.actions(ACTIONS).await.map_err(LoadError::other)?;
    let took = began.elapsed().as_secs_f64() * 1e3;
    note("what to do first", &format!("{} actions in {} ms", actions.len(), figure(took)));
    note("peak memory", &format!("{} MiB", figure(mib(peak_of("self")))));
    Ok(())
}

fn components_of(fact: &Fact) -> usize {
    match &fact.body {
        FactBody::Match(matched) => matched.components.len(),
        _ => 0,
    }
}

fn fact(id: String, body: FactBody) -> Fact {
    Fact { id, at: NOW, trace: String::new(), body }
}

fn name(package: u64) -> String {
    format!("package-number-{package}")
}

fn vulnerability(package: u64) -> String {
    format!("CVE-2026-{}", 10_000 + package)
}

/// A Db with one advisory for each of these packages, which its first version is affected by.
fn database(folder: &Path, seq: u64, packages: impl Iterator<Item = u64>) -> Result<Db, LoadError> {
    let path = folder.join(format!("advisories-{seq}.jsonl"));
    let file = std::fs::File::create(&path).map_err(LoadError::io("write advisories"))?;
    let mut out = std::io::BufWriter::new(file);
    for package in packages {
        let record = serde_json::json!({
            "schema_version": "1.6.0", "id": format!("GHSA-{package:04}"), "aliases": [vulnerability(package)],
            "modified": "2026-01-01T00:00:00Z", "published": "2026-01-01T00:00:00Z",
            "summary": "A flaw in the parser lets remote callers read memory.",
            "severity": [{"type": "CVSS_V3", "score": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:N/A:N"}],
            "affected": [{"package": {"ecosystem": "npm", "name": name(package)},
                "ranges": [{"type": "SEMVER", "events": [{"introduced": "0"}, {"fixed": "2.0.0"}]}]}],
        });
        writeln!(out, "{record}").map_err(LoadError::io("write advisories"))?;
    }
    out.flush().map_err(LoadError::io("write advisories"))?;
    drop(out);
    let (bytes, _) = build(&[path], &BuildOptions { seq, built_at: NOW }).map_err(LoadError::other)?;
    let path = folder.join(format!("{seq}.db"));
    std::fs::write(&path, bytes).map_err(LoadError::io("write the Db"))?;
    Ok(Db::open(&path)?)
}

/// One image in a repository of its own, with packages that its number chooses.
fn push(image: u64, arguments: &RematchArguments, packages: u64, db: &Db) -> Result<[Fact; 3], LoadError> {
    let mut bytes = [7; 32];
    for (slot, byte) in bytes.iter_mut().zip(image.to_be_bytes()) {
        *slot = byte;
    }
    let digest = Digest::from_sha256(&bytes);
    let mut dice = image.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut chosen: BTreeSet<u64> = BTreeSet::new();
    while (chosen.len() as u64) < EACH.min(packages) {
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        chosen.insert((dice >> 33) % packages);
    }
    let components: Vec<ComponentKey> = chosen
        .into_iter()
        .map(|package| ComponentKey {
            package: PackageKey { ecosystem: Ecosystem::Npm, release: None, name: name(package) },
            version: format!("{}.0.0", 1 + (image + package) % VERSIONS),
            source: None,
            arch: String::new(),
            stream: String::new(),
        })
        .collect();
    let matches: MatchSet = db.match_keys(&components)?;
    let (registry, repository) =
        ("registry.local:5000".to_owned(), format!("team/service-{}", image % arguments.repositories.max(1)));
    let (platform, layers) = (Platform::default(), vec![digest.clone()]);
    let pushed = ImagePushed {
        registry: registry.clone(),
        repository: repository.clone(),
        tag: Some(format!("v{image}")),
        digest: digest.clone(),
        seq: image + 1,
    };
    let kind = ManifestKind::Image { platform: platform.clone(), layers: layers.clone() };
    let manifest = ManifestFact { registry, repository, digest: digest.clone(), kind };
    let inventory = ImageFact {
        digest,
        platform,
        sbom: format!("sbom/{image}"),
        components,
        matches,
        partial: vec![],
        layers,
        inside: vec![],
        introduced: vec![],
    };
    Ok([
        fact(format!("pushed-{image}"), FactBody::ImagePushed(pushed)),
        fact(format!("manifest-{image}"), FactBody::Manifest(manifest)),
        fact(format!("image-{image}"), FactBody::Image(inventory)),
    ])
}
