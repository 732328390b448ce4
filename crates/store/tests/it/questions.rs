//! Queries.

use plimsoll_model::exposure::ExposureLevel;
use plimsoll_model::{Class, Ecosystem};
use plimsoll_store::{Filter, ImageFilter, StoreError};

use super::support::*;

async fn fleet() -> Bench {
    let bench = Bench::new().await;
    bench.commit(&vulnerable_push("shop/web", "1", 1, 1, &["CVE-1", "CVE-2"])).await;
    bench.commit(&vulnerable_push("shop/api", "1", 2, 2, &["CVE-1"])).await;
    bench.commit(&vulnerable_push("shop/clean", "1", 3, 3, &[])).await;
    let runs = workload("web", &reference("shop/web", "1"), 5, ExposureLevel::Open);
    bench.commit(&[resolved(5, &[("shop/web", "1", Some(1))]), exposure(0, 5, vec![runs], &[])]).await;
    bench
}

#[tokio::test]
async fn filters_and_pages() {
    let bench = fleet().await;
    let reader = bench.store.reader();
    let count = async |filter: Filter| reader.findings(&filter, None, 100).await.unwrap().findings.len();
    assert_eq!(count(Filter::default()).await, 3);
    assert_eq!(count(Filter { class: Some(Class::ThreeDays), ..Filter::default() }).await, 3);
    assert_eq!(count(Filter { class: Some(Class::SixtyDays), ..Filter::default() }).await, 0);
    assert_eq!(count(Filter { cluster: Some("east".into()), ..Filter::default() }).await, 2);
    assert_eq!(count(Filter { namespace: Some("other".into()), ..Filter::default() }).await, 0);
    assert_eq!(
        count(Filter { repository: Some("shop/web".into()), ..Filter::default() }).await,
        2,
        "by what the workload runs"
    );
    let full = format!("{REGISTRY}/shop/api");
    assert_eq!(count(Filter { repository: Some(full), ..Filter::default() }).await, 1);
    assert_eq!(count(Filter { vulnerability: Some("CVE-2".into()), ..Filter::default() }).await, 1);
    assert_eq!(count(Filter { package: Some("left-pad".into()), ..Filter::default() }).await, 3);
    assert_eq!(count(Filter { package: Some("npm/left-pad".into()), ..Filter::default() }).await, 3);
    let closed = Filter { state: Some(plimsoll_model::finding::FindingState::Fixed), ..Filter::default() };
    assert_eq!(count(closed).await, 2, "rescoped from the repository");

    let mut seen = Vec::new();
    let mut cursor = None;
    loop {
        let page = reader.findings(&Filter::default(), cursor.as_deref(), 1).await.unwrap();
        seen.extend(page.findings);
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    let whole = reader.findings(&Filter::default(), None, 100).await.unwrap().findings;
    assert_eq!(seen, whole);
    assert!(whole.is_sorted_by_key(plimsoll_risk::order_key));
    assert_eq!(reader.finding(&whole[0].id).await.unwrap().as_ref(), Some(&whole[0]));
    let bad = reader.findings(&Filter::default(), Some("1.2"), 9).await;
    assert!(matches!(bad, Err(StoreError::Cursor(_))));
}

#[tokio::test]
async fn where_are_we_affected() {
    let bench = fleet().await;
    let reader = bench.store.reader();
    let got = reader.affected("CVE-1", &[]).await.unwrap();
    assert_eq!(got.vulnerability.unwrap().id, "CVE-1");
    assert_eq!(got.affected.len(), 2);
    let web = got.affected.iter().find(|a| a.exposure.is_some()).unwrap();
    assert_eq!(web.exposure.as_ref().unwrap().level, ExposureLevel::Open);
    assert_eq!(web.repository, format!("{REGISTRY}/shop/web"));
    assert_eq!(web.reference, Some((reference("shop/web", "1"), "resolved".to_owned())));
    assert_eq!(got.unaffected.len(), 1);
    assert_eq!(got.unaffected[0].because, "no advisory matches this version");
    assert!(got.unaffected[0].holder.to_string().contains("shop/clean"));

    let by_package = reader.affected("pkg:npm/left-pad", &[]).await.unwrap();
    assert_eq!((by_package.affected.len(), by_package.unaffected.len()), (3, 1));
    assert_eq!(reader.affected("left-pad", &[]).await.unwrap().affected.len(), 3);
    // Nobody is affected, and who has the package is known all the same.
    let nobody = reader.affected("CVE-99", &[(Ecosystem::Npm, "left-pad".into())]).await.unwrap();
    assert_eq!(nobody.affected.len(), 0);
    assert_eq!(nobody.unaffected.len(), 4, "two on web (also its repository), api, clean");
}

/// Differences of Dbs and answers of theirs name packages in lower case where the ecosystem does not tell case apart.
#[tokio::test]
async fn names_are_found_as_the_db_folds_them() {
    let bench = Bench::new().await;
    let of = |ecosystem, name: &str| {
        let mut key = component(name, "1.0.0");
        key.package.ecosystem = ecosystem;
        key
    };
    let json = of(Ecosystem::Nuget, "Newtonsoft.Json");
    let alamofire = of(Ecosystem::Swift, "github.com/Alamofire/Alamofire");
    // npm tells case apart: JSONStream is not jsonstream.
    let stream = of(Ecosystem::Npm, "JSONStream");
    let components = [json.clone(), alamofire.clone(), stream];
    bench
        .commit(&[
            pushed("shop/web", Some("1"), 1, 1),
            manifest("shop/web", 1, single()),
            image("image-1", 1, &components, set(1, vec![], vec![])),
        ])
        .await;
    let reader = bench.store.reader();
    let named = [
        (Ecosystem::Nuget, None, "newtonsoft.json".to_owned()),
        (Ecosystem::Swift, None, "github.com/alamofire/alamofire".to_owned()),
        (Ecosystem::Npm, None, "jsonstream".to_owned()),
    ];
    let found = reader.components_named(&named, 0, 9).await.unwrap();
    let mut keys: Vec<_> = found.iter().map(|(_, key)| key.clone()).collect();
    keys.sort();
    let mut wanted = vec![json, alamofire];
    wanted.sort();
    assert_eq!(keys, wanted);
    let next = reader.components_named(&named, found[0].0, 9).await.unwrap();
    assert_eq!(next, found[1..]);
    let known: Vec<_> = named.iter().map(|(ecosystem, _, name)| (*ecosystem, name.clone())).collect();
    let answer = reader.affected("CVE-9", &known).await.unwrap();
    assert_eq!(answer.unaffected.len(), 2, "{:?}", answer.unaffected);
    for (asked, holders) in [
        ("pkg:nuget/newtonsoft.json", 1),
        ("pkg:nuget/Newtonsoft.Json@1.0.0", 1),
        ("newtonsoft.json", 1),
        ("pkg:swift/newtonsoft.json", 0),
        ("pkg:npm/jsonstream", 0),
        ("pkg:npm/JSONStream", 1),
    ] {
        assert_eq!(reader.affected(asked, &[]).await.unwrap().unaffected.len(), holders, "{asked}");
    }
}

#[tokio::test]
async fn components_images_roots_and_prune() {
    let bench = fleet().await;
    let reader = bench.store.reader();
    let named = [(Ecosystem::Npm, None, "left-pad".to_owned()), (Ecosystem::Npm, None, "nothing".to_owned())];
    let first = reader.components_named(&named, 0, 2).await.unwrap();
    let rest = reader.components_named(&named, first[1].0, 2).await.unwrap();
    assert_eq!((first.len(), rest.len()), (2, 1));
    assert_eq!(reader.components(0, 99).await.unwrap().len(), 4);
    let images = reader.images(&ImageFilter::default(), None, 2).await.unwrap();
    assert_eq!(images.len(), 2);
    assert_eq!(reader.images(&ImageFilter::default(), Some(&images[1].digest), 9).await.unwrap().len(), 1);
    let image = reader.image(&digest(1)).await.unwrap().unwrap();
    assert_eq!((image.components, image.db_seq, image.holders.len()), (2, 1, 2));
    assert_eq!(image.repositories, [format!("{REGISTRY}/shop/web")]);
    let roots = reader.roots().await.unwrap();
    assert_eq!(roots.images.len(), 3);
    assert!(roots.layers.contains(&digest(200)) && roots.sboms.contains("sbom-1"));
    assert_eq!(reader.tag(REGISTRY, "shop/web", "1").await.unwrap(), Some(digest(1)));
    assert_eq!(reader.cluster_seq("east").await.unwrap(), Some(5));
    assert_eq!(reader.cluster_seq("west").await.unwrap(), None);

    let before = bench.open().await;
    let gone = bench.store.prune(plimsoll_model::Timestamp(NOW.0 + 1)).await.unwrap();
    assert!(gone > 0);
    assert_eq!(bench.open().await, before);
    bench.store.check().await.unwrap();

    let actions = reader.actions(9).await.unwrap();
    assert!((actions.iter().map(|a| a.share).sum::<f64>() - 1.0).abs() < 1e-9, "{actions:?}");
}
