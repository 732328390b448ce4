//! Which image another is built on, what came with it, what a rebuild ends, and which releases are there: whatever came
//! first.

use plimsoll_model::fact::{ImageFact, ManifestKind, UNKNOWN_LAYER};
use plimsoll_model::{
    Action, ActionKind, ComponentKey, Ecosystem, Fact, FactBody, PackageKey, Platform, Release,
};
use plimsoll_store::{Emit, Filter, ImageFilter, Origin, Store};
use sqlx::Connection as _;

use super::support::*;

const BASE: &str = "base/debian";
const APP: &str = "shop/app";

fn debian(version: &str, name: &str) -> ComponentKey {
    let release = Some(Release { id: "debian".into(), version: version.into() });
    let package = PackageKey { ecosystem: Ecosystem::Deb, release, name: name.into() };
    ComponentKey { package, ..component(name, "1") }
}

/// An image of these layers, with components, each with the layer that brought it in and what it is affected by.
fn built(n: u8, layers: &[u8], content: &[(ComponentKey, u32, &[&str])]) -> Fact {
    let mut sorted = content.to_vec();
    sorted.sort_by(|a, b| a.0.cmp(&b.0));
    let mut ids: Vec<&str> = Vec::new();
    let mut matches = Vec::new();
    for (key, _, affected) in &sorted {
        for id in *affected {
            matches.push(matched(id, key, None));
            ids.push(id);
        }
    }
    ids.sort_unstable();
    ids.dedup();
    let known = ids.into_iter().map(|id| vulnerability(id, &[])).collect();
    let body = ImageFact {
        digest: digest(n),
        platform: Platform::default(),
        sbom: format!("sbom-{n}"),
        components: sorted.iter().map(|(key, ..)| key.clone()).collect(),
        matches: set(1, matches, known),
        partial: vec![],
        layers: layers.iter().map(|l| digest(*l)).collect(),
        inside: vec![],
        introduced: sorted.iter().map(|(_, layer, _)| *layer).collect(),
    };
    fact(&format!("built-{n}"), FactBody::Image(body))
}

fn push(repository: &str, tag: &str, n: u8, seq: u64) -> [Fact; 2] {
    [pushed(repository, Some(tag), n, seq), manifest(repository, n, single())]
}

/// A base, an application on it, and a newer base under the same tag.
fn world() -> Vec<Fact> {
    let ssl = || debian("12", "openssl");
    let mut facts = Vec::new();
    facts.extend(push(BASE, "12", 1, 1));
    facts.extend(push(APP, "1", 2, 2));
    facts.extend(push(BASE, "12", 3, 3));
    // The same layers under another digest and without a tag, and something shorter.
    facts.extend([manifest("mirror/debian", 4, single()), manifest("base/scratch", 5, single())]);
    facts.push(built(
        1,
        &[100, 101],
        &[(ssl(), 0, &["CVE-1", "CVE-2"]), (debian("12", "zlib"), 1, &["CVE-3"])],
    ));
    facts.push(built(
        2,
        &[100, 101, 102],
        &[
            (ssl(), 0, &["CVE-1", "CVE-2"]),
            // The application has one of its own.
            (debian("12", "zlib"), 2, &["CVE-3"]),
            (component("left-pad", "1"), 2, &["CVE-4"]),
            (component("right-pad", "1"), UNKNOWN_LAYER, &["CVE-5"]),
        ],
    ));
    // Of the newer release, and affected by one of the two still.
    facts.push(built(3, &[110], &[(debian("13", "openssl"), 0, &["CVE-2"])]));
    facts.push(built(4, &[100, 101], &[]));
    facts.push(built(5, &[100], &[]));
    facts
}

fn rebuild(actions: &[Action]) -> Option<(&str, &str, usize)> {
    actions.iter().find_map(|action| match &action.kind {
        ActionKind::RebuildOnBase { base, scope } => {
            Some((base.as_str(), scope.as_str(), action.findings.len()))
        }
        _ => None,
    })
}

/// What the store says of bases, in words.
async fn says(bench: &Bench) -> Vec<String> {
    let reader = bench.store.reader();
    let mut words = Vec::new();
    for image in reader.images(&ImageFilter::default(), None, 100).await.unwrap() {
        let one = reader.image(&image.digest).await.unwrap().unwrap();
        assert_eq!(one.base, image.base);
        words.push(format!(
            "{} on {:?}, {:?}, {:?}",
            image.digest.short(),
            one.base,
            one.came_with,
            one.releases
        ));
    }
    let page = reader.findings(&Filter::default(), None, 100).await.unwrap();
    for (finding, origin) in page.findings.iter().zip(page.origins) {
        words.push(format!("{} {} {origin:?}", finding.key.vulnerability, finding.key.holder));
    }
    for action in reader.actions(50).await.unwrap() {
        words.push(format!("{:?} {:?} {:.6}", action.kind, action.findings, action.share));
    }
    words.sort();
    words
}

#[tokio::test]
async fn the_longest_known_list_of_layers_is_the_base() {
    let bench = Bench::new().await;
    bench.commit(&world()).await;
    let reader = bench.store.reader();
    let app = reader.image(&digest(2)).await.unwrap().unwrap();
    let base = app.base.unwrap();
    // Nothing is tagged 12 any more but the newer one; of what is left the first by name.
    assert_eq!((base.name.as_str(), base.layers), ("registry.local:5000/base/debian", 2));
    assert_eq!(base.digest, digest(1));
    let came = app.came_with.unwrap();
    assert_eq!((came.base, came.application, came.unknown), (1, 2, 1));
    let middle = reader.image(&digest(1)).await.unwrap().unwrap();
    assert_eq!(middle.base.unwrap().digest, digest(5), "an image with equal layers is no base");
    assert_eq!(reader.image(&digest(5)).await.unwrap().unwrap().base, None);
    // A tag is a better name.
    bench.commit(&[pushed("mirror/debian", Some("bookworm"), 4, 9)]).await;
    let base = reader.image(&digest(2)).await.unwrap().unwrap().base.unwrap();
    assert_eq!((base.name.as_str(), base.digest), ("registry.local:5000/mirror/debian:bookworm", digest(4)));

    let page = reader.findings(&Filter::default(), None, 100).await.unwrap();
    let origin = |id: &str, repository: &str| {
        let at = page
            .findings
            .iter()
            .position(|f| f.key.vulnerability == id && f.key.holder.to_string().contains(repository));
        page.origins[at.unwrap()].clone()
    };
    assert!(matches!(origin("CVE-1", APP), Some(Origin::Base(base)) if base.layers == 2));
    assert_eq!(origin("CVE-3", APP), Some(Origin::Application));
    assert_eq!(origin("CVE-4", APP), Some(Origin::Application));
    assert_eq!(origin("CVE-5", APP), None, "not known is not guessed");
}

#[tokio::test]
async fn a_rebuild_ends_what_came_with_the_base_and_is_gone_from_the_newer_one() {
    let bench = Bench::new().await;
    let mut facts = world();
    let newer = facts.iter().position(|f| f.id == "built-3").unwrap();
    let newer = facts.remove(newer);
    bench.commit(&facts).await;
    let reader = bench.store.reader();
    // The tag points at something that nobody has judged yet.
    assert_eq!(rebuild(&reader.actions(50).await.unwrap()), None);
    bench.commit(&[newer]).await;
    let actions = reader.actions(50).await.unwrap();
    // Of CVE-1 and CVE-2 of openssl the newer one has the second, under its own release.
    let (base, scope) = ("registry.local:5000/base/debian:12", "registry.local:5000/shop/app");
    assert_eq!(rebuild(&actions), Some((base, scope, 1)), "{actions:?}");
    let action = actions.iter().find(|a| matches!(a.kind, ActionKind::RebuildOnBase { .. })).unwrap();
    assert_eq!(action.sentence, format!("Rebuild {scope} on {base}: ends 1 finding."));
    assert!(action.share > 0.0 && action.share < 1.0);
    let ended = bench.open().await[&action.findings[0]].key.vulnerability.clone();
    assert_eq!(ended, "CVE-1");
    // The tag comes back to what it was: nothing is newer.
    bench.commit(&[pushed(BASE, Some("12"), 1, 10)]).await;
    assert_eq!(rebuild(&reader.actions(50).await.unwrap()), None);
    // Through an index, too.
    let index = ManifestKind::Index { children: vec![(Platform::default(), digest(3))] };
    bench.commit(&[pushed(BASE, Some("12"), 9, 11), manifest(BASE, 9, index)]).await;
    assert_eq!(rebuild(&reader.actions(50).await.unwrap()), Some((base, scope, 1)));
    bench.commit(&[deleted(BASE, Some("12"), None, 12)]).await;
    assert_eq!(rebuild(&reader.actions(50).await.unwrap()), None);
}

/// Numbers from a seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % n
    }
}

#[tokio::test]
async fn it_does_not_matter_what_came_first() {
    let straight = Bench::new().await;
    straight.commit(&world()).await;
    let expected = says(&straight).await;
    assert!(expected.iter().any(|line| line.contains("RebuildOnBase")), "{expected:#?}");
    for seed in 0..12 {
        let mut dice = Dice(seed);
        let mut facts = world();
        for n in (1..facts.len()).rev() {
            facts.swap(n, dice.below(n + 1));
        }
        let other = Bench::new().await;
        for facts in facts.chunks(1 + dice.below(4)) {
            other.commit(facts).await;
        }
        assert_eq!(says(&other).await, expected, "seed {seed}");
        other.store.check().await.unwrap();
    }
    let rebuilt = Bench::new().await;
    for one in world() {
        assert!(rebuilt.silent(&[one]).await.roll_ups.is_empty());
    }
    assert_eq!(says(&rebuilt).await, expected);
}

#[tokio::test]
async fn images_are_found_by_their_releases() {
    let bench = Bench::new().await;
    bench.commit(&world()).await;
    let reader = bench.store.reader();
    assert_eq!(reader.releases().await.unwrap(), ["deb:debian:12", "deb:debian:13"]);
    let of = async |release: &str| {
        let filter = ImageFilter { releases: Some(vec![release.to_owned()]) };
        let images = reader.images(&filter, None, 100).await.unwrap();
        images.into_iter().map(|image| image.digest).collect::<Vec<_>>()
    };
    assert_eq!(of("deb:debian:13").await, [digest(3)]);
    assert_eq!(of("deb:debian:12").await, [digest(1), digest(2)]);
    assert!(of("deb:debian:11").await.is_empty());
    // A later inventory says otherwise.
    let mut again = built(3, &[110], &[(debian("12", "openssl"), 0, &[])]);
    (again.id, again.at.0) = ("again".into(), again.at.0 + 1);
    bench.commit(&[again]).await;
    assert!(of("deb:debian:13").await.is_empty());
    assert_eq!(of("deb:debian:12").await.len(), 3);
}

/// A store that an earlier version made has the same answers, but for layers that its facts did not tell.
#[tokio::test]
async fn an_older_store_is_brought_up_to_date() {
    let bench = Bench::new().await;
    bench.commit(&world()).await;
    let path = bench.path("plimsoll.db");
    let copy = bench.path("older.db");
    bench.store.backup(&copy).await.unwrap();
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&copy);
    let mut connection = sqlx::SqliteConnection::connect_with(&options).await.unwrap();
    for statement in [
        "DROP INDEX images_chain",
        "ALTER TABLE images DROP COLUMN chain",
        "ALTER TABLE images DROP COLUMN introduced",
        "DROP TABLE moved",
        "DROP TABLE image_releases",
        "ALTER TABLE workloads DROP COLUMN publication",
        "ALTER TABLE clusters DROP COLUMN full_publication",
        "DELETE FROM migrations WHERE version >= 6",
    ] {
        sqlx::query(statement).execute(&mut connection).await.unwrap();
    }
    connection.close().await.unwrap();
    let older = Store::open(&copy).await.unwrap();
    assert_ne!(older.path(), path);
    let (reader, newer) = (older.reader(), bench.store.reader());
    for n in 1..=5 {
        let (old, new) = (reader.image(&digest(n)).await.unwrap(), newer.image(&digest(n)).await.unwrap());
        let (old, new) = (old.unwrap(), new.unwrap());
        assert_eq!((&old.base, &old.releases), (&new.base, &new.releases), "{n}");
    }
    let came = reader.image(&digest(2)).await.unwrap().unwrap().came_with.unwrap();
    assert_eq!((came.base, came.application, came.unknown), (0, 0, 4));
    let page = reader.findings(&Filter::default(), None, 100).await.unwrap();
    assert!(page.origins.iter().all(Option::is_none));
    older.commit_as(&world(), &bench.settings, NOW, Emit::Silent).await.unwrap();
    older.check().await.unwrap();
}
