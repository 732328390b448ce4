//! Named scenarios, each from facts to what is open and what was told.

use plimsoll_model::exposure::ExposureLevel;
use plimsoll_model::fact::ManifestKind;
use plimsoll_model::vulnerability::MatchStatus;
use plimsoll_model::{Fact, Platform, Timestamp};

use super::support::*;

const WEB: &str = "shop/web";

fn repository() -> String {
    format!("{REGISTRY}/{WEB} (linux/amd64)")
}

const MAIN: &str = "east/shop/Deployment/web/main";

#[tokio::test]
async fn a_push_becomes_findings_and_a_rebuild_is_silent() {
    let bench = Bench::new().await;
    let facts = vulnerable_push(WEB, "1", 1, 1, &["CVE-1"]);
    let outcome = bench.commit(&facts).await;
    assert_eq!(told(&outcome), [format!("opened 3d CVE-1 {}", repository())]);
    let (_, subject, message) = &outcome.roll_ups[0];
    assert_eq!(subject, "findings.v1.3d.image.registry%2Elocal%3A5000.shop%2Fweb");
    assert_eq!((message.cause.kind.as_str(), message.trace.as_str(), message.epoch), ("push", "00-trace", 1));

    assert_eq!(bench.commit(&facts).await.applied, 0, "delivered again");
    let rebuild = bench.commit(&vulnerable_push(WEB, "2", 2, 2, &["CVE-1"])).await;
    assert!(rebuild.applied == 3 && rebuild.roll_ups.is_empty(), "{:?}", told(&rebuild));
    let open = bench.open().await;
    let f = open.values().next().unwrap();
    assert_eq!((f.images.as_slice(), f.revision), ([digest(1), digest(2)].as_slice(), 1));

    // A fixed image under the same tags: nothing current has it.
    let mut fixed = vulnerable_push(WEB, "1", 3, 3, &[]);
    fixed.push(pushed(WEB, Some("2"), 3, 4));
    assert_eq!(told(&bench.commit(&fixed).await), [format!("fixed 3d CVE-1 {}", repository())]);
    let back = [pushed(WEB, Some("1"), 1, 5)];
    assert_eq!(told(&bench.commit(&back).await), [format!("reopened 3d CVE-1 {}", repository())]);
    let gone = [deleted(WEB, None, Some(1), 6)];
    let outcome = bench.commit(&gone).await;
    assert_eq!(told(&outcome), [format!("fixed 3d CVE-1 {}", repository())]);
    assert_eq!(outcome.roll_ups[0].2.cause.kind, "delete");
}

#[tokio::test]
async fn a_tag_that_moves_to_what_nobody_has_scanned_fixes_nothing_yet() {
    let bench = Bench::new().await;
    bench.commit(&vulnerable_push(WEB, "1", 1, 1, &["CVE-1"])).await;
    // A rebuild: between its push and its scan, what was known stands.
    for fact in vulnerable_push(WEB, "1", 2, 2, &["CVE-1"]) {
        let outcome = bench.commit(std::slice::from_ref(&fact)).await;
        assert!(outcome.roll_ups.is_empty(), "{:?}", told(&outcome));
    }
    assert_eq!(bench.open().await.values().next().unwrap().images, [digest(2)]);
    // A scan that fails fixes nothing either, and is told.
    let outcome = bench.commit(&[pushed(WEB, Some("1"), 3, 3), manifest(WEB, 3, single())]).await;
    assert!(outcome.roll_ups.is_empty(), "{:?}", told(&outcome));
    let outcome = bench.commit(&[failed(WEB, Some(3), Some("1"), "layer", "corrupt_digest")]).await;
    assert_eq!(told(&outcome).len(), 1, "{:?}", told(&outcome));
    assert!(told(&outcome)[0].starts_with("scan_failed corrupt_digest"), "{:?}", told(&outcome));
    assert_eq!(bench.open().await.len(), 1);
    // What the tag pointed at last but one stands where the last is not known, also when it is scanned late.
    let [first, second] = [4, 5].map(|n| vulnerable_push(WEB, "1", n, u64::from(n), &["CVE-2"]));
    bench.commit(&[second[0].clone(), first[0].clone()]).await;
    assert_eq!(bench.words().await, [format!("3d CVE-1 left-pad {}", repository())]);
    bench.commit(&first[1..]).await;
    assert_eq!(bench.words().await, [format!("3d CVE-2 left-pad {}", repository())]);
    assert_eq!(bench.open().await.values().next().unwrap().images, [digest(4)]);
    bench.commit(&second[1..]).await;
    assert_eq!(bench.open().await.values().next().unwrap().images, [digest(5)]);
    // A tag that was deleted in between stands for nothing.
    let outcome = bench.commit(&[deleted(WEB, Some("1"), None, 6)]).await;
    assert_eq!(told(&outcome), [format!("fixed 3d CVE-2 {}", repository())]);
    let outcome = bench.commit(&[pushed(WEB, Some("1"), 7, 7)]).await;
    assert!(outcome.roll_ups.is_empty(), "{:?}", told(&outcome));
}

/// With one tracked tag, each push is a new tag: nothing is fixed before its scan, and a signature is no image.
#[tokio::test]
async fn a_new_tag_takes_a_place_when_its_content_is_known() {
    let mut bench = Bench::new().await;
    bench.settings.tracking = plimsoll_inventory::Tracking { newest: 1, always: vec![] };
    bench.commit(&vulnerable_push(WEB, "1", 1, 1, &["CVE-1"])).await;
    for fact in vulnerable_push(WEB, "2", 2, 2, &["CVE-1"]) {
        let outcome = bench.commit(std::slice::from_ref(&fact)).await;
        assert!(outcome.roll_ups.is_empty(), "{:?}", told(&outcome));
    }
    assert_eq!(bench.open().await.values().next().unwrap().images, [digest(2)]);
    // Many tags of signatures and of what was never scanned do not push it out.
    for n in 10..40u8 {
        let kind = ManifestKind::NotAnImage { artifact_type: "application/vnd.dev.cosign".into() };
        let tag = format!("sha256-{n}.sig");
        let mut facts = vec![pushed(WEB, Some(&tag), n, u64::from(n))];
        if n % 2 == 0 {
            facts.push(manifest(WEB, n, kind));
        }
        let outcome = bench.commit(&facts).await;
        assert!(outcome.roll_ups.is_empty(), "{:?}", told(&outcome));
    }
    assert_eq!(bench.open().await.values().next().unwrap().images, [digest(2)]);
    let outcome = bench.commit(&vulnerable_push(WEB, "3", 3, 50, &["CVE-2"])).await;
    let mut words = told(&outcome);
    words.sort();
    assert_eq!(
        words,
        [format!("fixed 3d CVE-1 {}", repository()), format!("opened 3d CVE-2 {}", repository())]
    );
}

#[tokio::test]
async fn a_deploy_rescopes_and_a_policy_reclassifies() {
    let bench = Bench::new().await;
    bench.commit(&vulnerable_push(WEB, "1", 1, 1, &["CVE-1"])).await;
    let image = reference(WEB, "1");
    let closed = workload("web", &image, 5, ExposureLevel::Small);
    let outcome =
        bench.commit(&[resolved(5, &[(WEB, "1", Some(1))]), exposure(0, 5, vec![closed.clone()], &[])]).await;
    let mut words = told(&outcome);
    words.sort();
    assert_eq!(words, [format!("rescoped 3d CVE-1 {}", repository()), format!("rescoped 60d CVE-1 {MAIN}")]);
    assert!(
        outcome.roll_ups.iter().all(|(_, subject, _)| subject.starts_with("findings.v1.3d.")),
        "told under the more urgent class"
    );
    assert_eq!(bench.words().await, [format!("60d CVE-1 left-pad {MAIN}")]);

    // A policy opens a path: re-ranked without any scan, and the sentence says so.
    let open = workload("web", &image, 5, ExposureLevel::Open);
    let outcome = bench.commit(&[exposure(5, 7, vec![open], &[])]).await;
    assert_eq!(told(&outcome), [format!("reclassified 3d CVE-1 {MAIN}")]);
    assert_eq!(outcome.roll_ups[0].2.cause.kind, "policy");
    assert_eq!(outcome.roll_ups[0].1, "findings.v1.3d.workload.east.shop.Deployment.web");

    // A rebuild that has the same stays silent although a workload holds it.
    let rebuild = bench.commit(&vulnerable_push(WEB, "2", 2, 2, &["CVE-1"])).await;
    assert!(rebuild.roll_ups.is_empty(), "{:?}", told(&rebuild));

    // The workload goes away: what it held is the repository's again.
    let outcome = bench.commit(&[exposure(7, 9, vec![], &["web"])]).await;
    let mut words = told(&outcome);
    words.sort();
    assert_eq!(words, [format!("fixed 3d CVE-1 {MAIN}"), format!("rescoped 3d CVE-1 {}", repository())]);
}

/// A namespace that was busy is told later than newer events of others: of one target the later publication counts.
#[tokio::test]
async fn what_waited_is_told_with_the_same_target() {
    let bench = Bench::new().await;
    bench.commit(&vulnerable_push(WEB, "1", 1, 1, &["CVE-1"])).await;
    bench.commit(&vulnerable_push(WEB, "2", 2, 2, &["CVE-2"])).await;
    let runs = |tag: &str, seq| workload("web", &reference(WEB, tag), seq, ExposureLevel::Open);
    let view = published(exposure(0, 5, vec![runs("1", 5)], &[]), 1);
    bench.commit(&[resolved(5, &[(WEB, "1", Some(1))]), view.clone()]).await;
    // The deploy of event 6 waits, event 7 is told.
    let mut told_first = published(exposure(5, 7, vec![], &[]), 2);
    if let plimsoll_model::FactBody::Exposure(exposure) = &mut told_first.body {
        exposure.through_seq = 5;
    }
    bench.commit(&[resolved(6, &[(WEB, "2", Some(2))]), told_first]).await;
    assert_eq!(bench.store.reader().cluster_seq("east").await.unwrap(), Some(5));
    // What the reference of event 6 meant is still asked for.
    bench.store.prune(plimsoll_model::Timestamp(NOW.0 - 1)).await.unwrap();
    let waited = published(exposure(7, 7, vec![runs("2", 6)], &[]), 3);
    bench.commit(&[waited]).await;
    let words =
        async || bench.words().await.into_iter().filter(|word| word.ends_with(MAIN)).collect::<Vec<_>>();
    let now = [format!("3d CVE-2 left-pad {MAIN}")];
    assert_eq!(words().await, now);
    assert_eq!(bench.store.reader().cluster_seq("east").await.unwrap(), Some(7));
    // Older words with that target, in part and as a whole, come too late.
    let late = [published(exposure(5, 7, vec![], &["web"]), 2), published(exposure(0, 7, vec![], &[]), 2)];
    assert!(told(&bench.commit(&late).await).is_empty());
    assert_eq!(words().await, now);
    // A newer one as a whole does not.
    bench.commit(&[published(exposure(0, 7, vec![], &[]), 4)]).await;
    assert!(words().await.is_empty());
}

#[tokio::test]
async fn a_tag_moved_under_a_running_workload_does_not_change_what_runs() {
    let bench = Bench::new().await;
    bench.commit(&vulnerable_push(WEB, "1", 1, 1, &["CVE-1"])).await;
    let runs = workload("web", &reference(WEB, "1"), 5, ExposureLevel::Open);
    bench.commit(&[resolved(5, &[(WEB, "1", Some(1))]), exposure(0, 5, vec![runs], &[])]).await;
    let outcome = bench.commit(&vulnerable_push(WEB, "1", 2, 6, &[])).await;
    assert!(outcome.roll_ups.is_empty(), "{:?}", told(&outcome));
    assert_eq!(bench.words().await, [format!("3d CVE-1 left-pad {MAIN}")]);
    let actions = bench.store.reader().actions(9).await.unwrap();
    assert!(
        actions.iter().any(|a| matches!(&a.kind, plimsoll_model::ActionKind::Rollout { workload } if workload == "east/shop/Deployment/web")),
        "{actions:?}"
    );
    // The next deploy resolves the tag anew.
    let runs = workload("web", &reference(WEB, "1"), 8, ExposureLevel::Open);
    let outcome = bench.commit(&[exposure(5, 8, vec![runs], &[]), resolved(8, &[(WEB, "1", Some(2))])]).await;
    assert_eq!(told(&outcome), [format!("fixed 3d CVE-1 {MAIN}")]);
}

#[tokio::test]
async fn one_digest_in_two_repositories_one_with_bad_credentials() {
    let bench = Bench::new().await;
    bench.commit(&vulnerable_push(WEB, "1", 1, 1, &["CVE-1"])).await;
    let outcome = bench
        .commit(&[
            pushed("shop/secret", Some("1"), 1, 2),
            failed("shop/secret", Some(1), Some("1"), "manifest", "auth"),
        ])
        .await;
    let secret = format!("{REGISTRY}/shop/secret (unknown/unknown)");
    assert_eq!(told(&outcome), [format!("scan_failed auth {secret}")]);
    assert_eq!(
        bench.words().await,
        [format!("3d CVE-1 left-pad {}", repository())],
        "not through that repository"
    );
    assert!(!bench.store.reader().sighted(REGISTRY, "shop/secret", &digest(1)).await.unwrap());
    // Once the credentials are right, the findings are there and the failure is over.
    let outcome = bench.commit(&[manifest("shop/secret", 1, single())]).await;
    assert_eq!(told(&outcome), [format!("opened 3d CVE-1 {REGISTRY}/shop/secret (linux/amd64)")]);
    assert!(bench.store.reader().failures(9).await.unwrap().is_empty());
}

#[tokio::test]
async fn failures_are_told_once_until_the_image_is_scanned() {
    let bench = Bench::new().await;
    let push = vulnerable_push(WEB, "1", 1, 1, &["CVE-1"]);
    let mut again = failed(WEB, Some(1), Some("1"), "layer", "corrupt");
    again.id = "another attempt".into();
    let outcome = bench.commit(&[push[0].clone(), push[1].clone()]).await;
    assert!(outcome.roll_ups.is_empty());
    let outcome = bench.commit(&[failed(WEB, Some(1), Some("1"), "layer", "corrupt")]).await;
    assert_eq!(told(&outcome), [format!("scan_failed corrupt {}", repository())]);
    let message = &outcome.roll_ups[0].2;
    assert_eq!((message.cause.kind.as_str(), message.failure.is_some()), ("failure", true));
    assert!(bench.commit(&[again]).await.roll_ups.is_empty(), "told before");
    assert_eq!(bench.store.reader().counts().await.unwrap().failed, 1);
    let outcome = bench.commit(&[push[2].clone()]).await;
    assert_eq!(told(&outcome), [format!("opened 3d CVE-1 {}", repository())]);
    assert_eq!(bench.store.reader().counts().await.unwrap().failed, 0);
    let late = Fact { id: "late".into(), ..failed(WEB, Some(1), Some("1"), "layer", "corrupt") };
    assert!(bench.commit(&[late]).await.roll_ups.is_empty(), "an earlier attempt's fact that came late");
    // A workload whose image cannot be resolved is visible too.
    let runs = workload("web", &reference(WEB, "9"), 5, ExposureLevel::Open);
    let outcome = bench.commit(&[resolved(5, &[(WEB, "9", None)]), exposure(0, 5, vec![runs], &[])]).await;
    assert_eq!(told(&outcome), [format!("scan_failed not_found {MAIN}")]);
}

#[tokio::test]
async fn matches_of_an_older_db_never_replace_newer_ones() {
    let bench = Bench::new().await;
    bench.store.set_db_seq(2).await.unwrap();
    let left = component("left-pad", "1.0.0");
    let new = rematched(
        "m2",
        std::slice::from_ref(&left),
        set(2, vec![matched("CVE-2", &left, None)], vec![vulnerability("CVE-2", &[])]),
    );
    let old = image(
        "i1",
        1,
        &[left.clone(), component("safe", "1")],
        set(1, vec![matched("CVE-1", &left, None)], vec![vulnerability("CVE-1", &[])]),
    );
    bench.commit(&[new]).await;
    let outcome = bench.commit(&[old, pushed(WEB, Some("1"), 1, 1), manifest(WEB, 1, single())]).await;
    assert_eq!(told(&outcome), [format!("opened 3d CVE-2 {}", repository())]);
    // What the newer Db has not judged yet is asked for, and remembered.
    assert_eq!(outcome.catch_up, [component("safe", "1")]);
    let waiting = bench.store.reader().pending_catch_up(0, 9).await.unwrap();
    assert_eq!(waiting.iter().map(|(_, key)| key.clone()).collect::<Vec<_>>(), [component("safe", "1")]);
    bench.commit(&[rematched("m3", &[component("safe", "1")], set(2, vec![], vec![]))]).await;
    assert!(bench.store.reader().pending_catch_up(0, 9).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_later_alias_merges() {
    let bench = Bench::new().await;
    let left = component("left-pad", "1.0.0");
    let with = |id: &str, aliases: &[&str], db| {
        set(db, vec![matched(id, &left, None)], vec![vulnerability(id, aliases)])
    };
    bench
        .commit(&[
            pushed(WEB, Some("1"), 1, 1),
            manifest(WEB, 1, single()),
            image("i1", 1, std::slice::from_ref(&left), with("GHSA-1", &[], 1)),
        ])
        .await;
    let before = bench.open().await.into_values().next().unwrap();
    let later = Timestamp(NOW.0 + Timestamp::DAY);
    let fact =
        Fact { at: later, ..rematched("m2", std::slice::from_ref(&left), with("CVE-7", &["GHSA-1"], 2)) };
    let outcome = bench.store.commit(&[fact], &bench.settings, later).await.unwrap();
    let mut words = told(&outcome);
    words.sort();
    assert_eq!(
        words,
        [format!("merged 3d GHSA-1 {}", repository()), format!("opened 3d CVE-7 {}", repository())]
    );
    let after = bench.open().await.into_values().next().unwrap();
    assert_eq!((after.opened_at, after.due), (before.opened_at, before.due), "the clock goes on");
    assert_eq!(outcome.roll_ups[0].2.cause.kind, "advisory");
}

#[tokio::test]
async fn an_index_joins_to_its_children() {
    let bench = Bench::new().await;
    let arm = Platform { os: "linux".into(), architecture: "arm64".into(), variant: None };
    let children = vec![(Platform::default(), digest(1)), (arm, digest(2))];
    let left = component("left-pad", "1.0.0");
    let matches = || set(1, vec![matched("CVE-1", &left, None)], vec![vulnerability("CVE-1", &[])]);
    let facts = [
        image("i1", 1, std::slice::from_ref(&left), matches()),
        image("i2", 2, std::slice::from_ref(&left), matches()),
        manifest(WEB, 9, ManifestKind::Index { children }),
        pushed(WEB, Some("1"), 9, 1),
    ];
    bench.commit(&facts).await;
    let both = [
        format!("3d CVE-1 left-pad {REGISTRY}/{WEB} (linux/amd64)"),
        format!("3d CVE-1 left-pad {REGISTRY}/{WEB} (linux/arm64)"),
    ];
    assert_eq!(bench.words().await, both);
    assert_eq!(bench.store.reader().children(&digest(9)).await.unwrap().len(), 2);
}

#[tokio::test]
async fn denied_is_suppressed_and_unmatched_is_not_clean() {
    let bench = Bench::new().await;
    let left = component("left-pad", "1.0.0");
    let facts = [
        pushed(WEB, Some("1"), 1, 1),
        manifest(WEB, 1, single()),
        image("i1", 1, std::slice::from_ref(&left), set(0, vec![], vec![])),
    ];
    bench.commit(&facts).await;
    let reader = bench.store.reader();
    assert!(reader.image(&digest(1)).await.unwrap().unwrap().is_unmatched());
    assert_eq!(reader.counts().await.unwrap().unmatched, 1);
    let affected = matched("CVE-1", &left, None);
    let judged = set(1, vec![affected.clone()], vec![vulnerability("CVE-1", &[])]);
    bench.commit(&[rematched("m1", std::slice::from_ref(&left), judged)]).await;
    assert!(!reader.image(&digest(1)).await.unwrap().unwrap().is_unmatched());
    assert_eq!(reader.counts().await.unwrap().unmatched, 0);
    let denied = plimsoll_model::Match { status: MatchStatus::NotAffected, ..affected };
    let judged = set(2, vec![denied], vec![vulnerability("CVE-1", &[])]);
    let outcome = bench.commit(&[rematched("m2", std::slice::from_ref(&left), judged)]).await;
    let sentences: Vec<&str> =
        outcome.roll_ups.iter().map(|(_, _, message)| message.cause.sentence.as_str()).collect();
    assert_eq!(sentences, ["advisories changed: Db 2: found not to affect: CVE-1 (ADV-CVE-1)"]);
    assert_eq!(told(&outcome), [format!("suppressed 3d CVE-1 {}", repository())]);
}

/// An incomplete view never lowers a class, and the cause of a policy change says what opened.
#[tokio::test]
async fn incomplete_views_and_the_words_of_a_policy_change() {
    let bench = Bench::new().await;
    bench.commit(&vulnerable_push(WEB, "1", 1, 1, &["CVE-1"])).await;
    let mut runs = workload("web", &reference(WEB, "1"), 5, ExposureLevel::Isolated);
    runs.exposure.complete = false;
    bench.commit(&[resolved(5, &[(WEB, "1", Some(1))]), exposure(0, 5, vec![runs.clone()], &[])]).await;
    assert_eq!(bench.words().await, [format!("3d CVE-1 left-pad {MAIN}")]);
    runs.exposure.complete = true;
    let mut fact = exposure(5, 6, vec![runs.clone()], &[]);
    assert_eq!(
        told(&bench.commit(std::slice::from_ref(&fact)).await),
        [format!("reclassified 60d CVE-1 {MAIN}")]
    );
    runs.exposure.level = ExposureLevel::Open;
    fact = exposure(6, 7, vec![runs], &[]);
    let plimsoll_model::FactBody::Exposure(body) = &mut fact.body else { panic!() };
    let line = |kind, destination: &str| plimsoll_model::fact::ConnectionChange {
        kind,
        source: "0.0.0.0/0[External]".into(),
        destination: destination.into(),
        before: "No Connections".into(),
        after: "TCP 8080".into(),
        because: vec!["NetworkPolicy shop/allow-web".into()],
        decided_before: Vec::new(),
        decided_after: Vec::new(),
    };
    use plimsoll_model::fact::ConnectionChangeKind::{Added, Removed};
    body.changes = vec![line(Removed, "shop/website[Deployment]"), line(Added, "shop/web[Deployment]")];
    let outcome = bench.commit(&[fact]).await;
    assert_eq!(
        outcome.roll_ups[0].2.cause.sentence,
        "a policy change in east by ci: opened 0.0.0.0/0[External] -> shop/web[Deployment] TCP 8080 (NetworkPolicy shop/allow-web)"
    );
}

/// A view that grew too old proves nothing any more; when the cluster is seen again, it does.
#[tokio::test]
async fn stale_views_are_judged_again() {
    let bench = Bench::new().await;
    bench.commit(&vulnerable_push(WEB, "1", 1, 1, &["CVE-1"])).await;
    let runs = workload("web", &reference(WEB, "1"), 5, ExposureLevel::Isolated);
    bench.commit(&[resolved(5, &[(WEB, "1", Some(1))]), exposure(0, 5, vec![runs], &[])]).await;
    assert!(bench.store.reassess(&bench.settings, NOW).await.unwrap().roll_ups.is_empty());
    let later = Timestamp(NOW.0 + bench.settings.risk.max_age_ms + 1);
    let outcome = bench.store.reassess(&bench.settings, later).await.unwrap();
    assert_eq!(told(&outcome), [format!("reclassified 3d CVE-1 {MAIN}")]);
    assert!(bench.store.reassess(&bench.settings, later).await.unwrap().roll_ups.is_empty(), "once");
    let seen = Fact { at: later, ..exposure(5, 6, vec![], &[]) };
    let outcome = bench.store.commit(&[seen], &bench.settings, later).await.unwrap();
    assert_eq!(told(&outcome), [format!("reclassified 60d CVE-1 {MAIN}")]);
}

/// What a change of the cluster opened stands beside the most urgent vulnerability behind it, moves with it, and ends
/// when it is closed or the workload goes.
#[tokio::test]
async fn what_a_change_of_policy_opened() {
    const POD: &str = "east/shop/Deployment/web";
    let bench = Bench::new().await;
    bench.commit(&vulnerable_push(WEB, "1", 1, 1, &["CVE-1"])).await;
    let mut runs = workload("web", &reference(WEB, "1"), 5, ExposureLevel::Isolated);
    let view = [resolved(5, &[(WEB, "1", Some(1))]), exposure(0, 5, vec![runs.clone()], &[])];
    bench.commit(&view).await;
    runs.exposure.level = ExposureLevel::Open;
    runs.notes = vec![note("NETPOL001", "ingress"), note("NETPOL004", "egress")];
    let outcome = bench.commit(&[exposure(5, 6, vec![runs.clone()], &[])]).await;
    let mut words = told(&outcome);
    words.sort();
    let expected = [
        format!("opened 3d NETPOL001 {POD}"),
        format!("opened upgrade NETPOL004 {POD}"),
        format!("reclassified 3d CVE-1 {MAIN}"),
    ];
    assert_eq!(words, expected);
    let subjects: Vec<&str> = outcome.roll_ups.iter().map(|(_, subject, _)| subject.as_str()).collect();
    assert!(subjects.contains(&"findings.v1.3d.workload.east.shop.Deployment.web"), "{subjects:?}");
    // Ranked among the vulnerabilities: the same class and rank, and behind in age.
    let page = bench.store.reader().findings(&plimsoll_store::Filter::default(), None, 10).await.unwrap();
    let order: Vec<&str> = page.findings.iter().map(|f| f.key.vulnerability.as_str()).collect();
    assert_eq!(order, ["CVE-1", "NETPOL001", "NETPOL004"]);
    let opened = &page.findings[1];
    assert_eq!(opened.assessment.rank, page.findings[0].assessment.rank);
    assert!(opened.assessment.sentence.ends_with("what NETPOL001 says; CVE-1 is behind it"), "{opened:?}");
    assert_eq!(opened.vulnerability.severity, plimsoll_model::vulnerability::Severity::High);
    // One action closes it.
    let actions = bench.store.reader().actions(10).await.unwrap();
    let policy = actions.iter().find(|a| matches!(a.kind, plimsoll_model::ActionKind::ApplyPolicy { .. }));
    assert!(policy.is_some_and(|action| action.findings.contains(&opened.id)), "{actions:?}");
    // Nothing new: nothing to tell.
    assert!(told(&bench.commit(&[exposure(6, 7, vec![runs.clone()], &[])]).await).is_empty());
    // What is behind it ends.
    let left = component("left-pad", "1.0.0+CVE-1");
    let judged = set(2, vec![], vec![]);
    let mut words = told(&bench.commit(&[rematched("m2", std::slice::from_ref(&left), judged)]).await);
    words.sort();
    assert_eq!(words, [format!("fixed 3d CVE-1 {MAIN}"), format!("reclassified upgrade NETPOL001 {POD}")]);
    // Closed again, then opened again, then gone.
    let closed = workload("web", &reference(WEB, "1"), 5, ExposureLevel::Isolated);
    let mut words = told(&bench.commit(&[exposure(7, 8, vec![closed], &[])]).await);
    words.sort();
    assert_eq!(words, [format!("fixed upgrade NETPOL001 {POD}"), format!("fixed upgrade NETPOL004 {POD}")]);
    runs.notes.truncate(1);
    let words = told(&bench.commit(&[exposure(8, 9, vec![runs], &[])]).await);
    assert_eq!(words, [format!("reopened upgrade NETPOL001 {POD}")]);
    let words = told(&bench.commit(&[exposure(9, 10, vec![], &["web"])]).await);
    assert!(words.contains(&format!("fixed upgrade NETPOL001 {POD}")), "{words:?}");
    assert!(bench.open().await.values().all(|f| !f.key.vulnerability.starts_with("NETPOL")));
}

/// What opened after the first Db came is closed when the image goes, although there is as little then as before the Db.
#[tokio::test]
async fn what_a_late_db_opened_is_closed_by_a_deletion() {
    let bench = Bench::new().await;
    let left = component("left-pad", "1.0.0");
    bench.commit(&[pushed(WEB, Some("1"), 1, 1), manifest(WEB, 1, single())]).await;
    bench.commit(&[image("i1", 1, std::slice::from_ref(&left), set(0, vec![], vec![]))]).await;
    bench.store.set_db_seq(1).await.unwrap();
    let found = set(1, vec![matched("CVE-1", &left, None)], vec![vulnerability("CVE-1", &[])]);
    let outcome = bench.commit(&[rematched("m1", std::slice::from_ref(&left), found)]).await;
    assert_eq!(told(&outcome), [format!("opened 3d CVE-1 {}", repository())]);
    let outcome = bench.commit(&[deleted(WEB, None, Some(1), 2)]).await;
    assert_eq!(told(&outcome), [format!("fixed 3d CVE-1 {}", repository())]);
}
