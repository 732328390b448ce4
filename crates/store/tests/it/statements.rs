//! What statements do to a store: suppressed, shown, reopened with their own cause.

use plimsoll_model::exposure::ExposureLevel;
use plimsoll_model::fact::ManifestKind;
use plimsoll_model::finding::{Finding, FindingState};
use plimsoll_model::vex::{
    ImagePattern, PackagePattern, Product, Scope, Statement, StatementKind, VexStatus,
};
use plimsoll_model::{Platform, Timestamp};
use plimsoll_store::{CommitOutcome, Emit, Filter, StatementSet, Store};

use super::support::*;

const WEB: &str = "shop/web";

fn statement(id: &str, vulnerability: &str, product: Product) -> Statement {
    Statement {
        id: id.into(),
        kind: StatementKind::Vex,
        vulnerabilities: vec![vulnerability.into()],
        products: vec![product],
        scope: Scope::default(),
        status: VexStatus::NotAffected,
        justification: "vulnerable_code_not_present".into(),
        reason: "not built in".into(),
        issuer: "vendor".into(),
        document: "https://example.com/vex/1".into(),
        signed_by: String::new(),
        at: NOW,
        expires: None,
    }
}

fn package(name: &str) -> Product {
    Product {
        package: Some(PackagePattern { name: name.into(), ..PackagePattern::default() }),
        ..Product::default()
    }
}

impl Bench {
    async fn say(&self, seq: u64, statements: Vec<Statement>) -> CommitOutcome {
        let set = StatementSet { seq, statements };
        self.store.set_statements(&set, &self.settings, NOW, Emit::Publish).await.unwrap()
    }

    async fn suppressed(&self) -> Vec<Finding> {
        let filter = Filter { state: Some(FindingState::Suppressed), ..Filter::default() };
        self.store.reader().findings(&filter, None, 100).await.unwrap().findings
    }
}

fn cause(outcome: &CommitOutcome) -> (&str, &str) {
    let cause = &outcome.roll_ups[0].2.cause;
    (cause.kind.as_str(), cause.sentence.as_str())
}

#[tokio::test]
async fn suppressed_and_reopened_with_its_cause() {
    let bench = Bench::new().await;
    bench.commit(&vulnerable_push(WEB, "1", 1, 1, &["CVE-1", "CVE-2"])).await;
    let outcome = bench.say(1, vec![statement("s1", "CVE-1", package("left-pad"))]).await;
    assert_eq!(told(&outcome).len(), 1, "{:?}", told(&outcome));
    assert!(told(&outcome)[0].starts_with("suppressed 3d CVE-1"), "{:?}", told(&outcome));
    let (kind, sentence) = cause(&outcome);
    assert_eq!(kind, "vex");
    assert!(sentence.contains("vendor says not_affected of CVE-1"), "{sentence}");
    assert_eq!(bench.open().await.len(), 1);
    let suppressed = bench.suppressed().await;
    assert_eq!((suppressed.len(), suppressed[0].suppressions[0].issuer.as_str()), (1, "vendor"));
    assert_eq!(suppressed[0].images, [digest(1)]);

    // The same set again, and an older one, change nothing.
    assert!(bench.say(1, vec![]).await.roll_ups.is_empty());
    assert_eq!(bench.store.reader().statements_seq().await.unwrap(), 1);
    // Another push of the same is as silent as it would be without.
    let again = bench.commit(&vulnerable_push(WEB, "2", 2, 2, &["CVE-1", "CVE-2"])).await;
    assert!(again.roll_ups.is_empty(), "{:?}", told(&again));

    let outcome = bench.say(2, vec![]).await;
    assert!(told(&outcome)[0].starts_with("reopened 3d CVE-1"), "{:?}", told(&outcome));
    assert!(cause(&outcome).1.starts_with("withdrawn: vendor says"), "{:?}", cause(&outcome));
    assert_eq!((bench.open().await.len(), bench.suppressed().await.len()), (2, 0));
}

/// Rules accept what a change of policy opened, as far as they name it, for as long as they hold.
#[tokio::test]
async fn findings_about_network_policy_are_accepted_and_come_back() {
    let bench = Bench::new().await;
    let accept = |code: &str, scope: Scope, expires: Option<Timestamp>| {
        let kind = StatementKind::Ignore;
        let id = format!("{code} {scope:?} {expires:?}");
        Statement { kind, scope, expires, ..statement(&id, code, Product::default()) }
    };
    let only = |workload: &str, peer: &str| Scope {
        workload: workload.into(),
        peer: peer.into(),
        ..Scope::default()
    };
    let with_notes = |name: &str, peers: &[&str]| {
        let mut one = workload(name, &reference(WEB, "1"), 5, ExposureLevel::Open);
        let mut egress = note("NETPOL004", "egress");
        egress.peers = peers.iter().map(|peer| (*peer).to_owned()).collect();
        one.notes = vec![note("NETPOL001", "ingress"), egress];
        one
    };
    let mut odd = with_notes("closed", &[]);
    (odd.name.kind, odd.containers, odd.notes) =
        ("NetworkPolicy".into(), vec![], vec![note("NETPOL007", "policy")]);
    let block = ["10.0.0.0-10.0.0.255"];
    let runs = vec![with_notes("web", &block), with_notes("api", &block), odd];
    let outcome = bench.commit(&[exposure(0, 5, runs, &[])]).await;
    assert_eq!(told(&outcome).len(), 5, "{:?}", told(&outcome));

    let soon = Some(Timestamp(NOW.0 + 1_000));
    let rules = vec![
        accept("NETPOL001", only("Deployment/web", ""), soon),
        accept("NETPOL004", only("web", "10.0.0.0/8"), None),
        accept("NETPOL007", only("NetworkPolicy/closed", ""), None),
        accept("NETPOL001", only("api", "monitoring/*"), None),
        // What a document says is of vulnerabilities.
        statement("v", "NETPOL001", Product::default()),
    ];
    let outcome = bench.say(1, rules.clone()).await;
    let mut words = told(&outcome);
    words.sort();
    assert_eq!(
        words,
        [
            "suppressed upgrade NETPOL001 east/shop/Deployment/web",
            "suppressed upgrade NETPOL004 east/shop/Deployment/web",
            "suppressed upgrade NETPOL007 east/shop/NetworkPolicy/closed",
        ]
    );
    assert_eq!((bench.open().await.len(), bench.suppressed().await.len()), (2, 3));
    let answer = bench.store.reader().affected("NETPOL001", &[]).await.unwrap();
    assert_eq!(answer.vulnerability.unwrap().id, "NETPOL001");
    let holders: Vec<String> = answer.affected.iter().map(|a| a.finding.key.holder.to_string()).collect();
    assert_eq!(holders, ["east/shop/Deployment/api"]);
    assert_eq!(answer.affected[0].exposure.as_ref().unwrap().level, ExposureLevel::Open);
    let accepted: Vec<(String, &str)> =
        answer.unaffected.iter().map(|u| (u.holder.to_string(), u.because.as_str())).collect();
    assert_eq!(accepted.len(), 1, "{accepted:?}");
    assert!(accepted[0].0.ends_with("web") && accepted[0].1.starts_with("ignored: "), "{accepted:?}");

    // The same again is no news; a peer that the rule does not name is.
    let again = bench.commit(&[exposure(5, 6, vec![with_notes("web", &block)], &[])]).await;
    assert!(told(&again).is_empty(), "{:?}", told(&again));
    let wider = with_notes("web", &["10.0.0.0-10.0.0.255", "1.1.1.1-1.1.1.1"]);
    let wider = bench.commit(&[exposure(6, 7, vec![wider], &[])]).await;
    assert_eq!(told(&wider), ["reopened upgrade NETPOL004 east/shop/Deployment/web"]);

    // By time, and by the set.
    let after = bench.store.reassess(&bench.settings, Timestamp(NOW.0 + 1_000)).await.unwrap();
    assert_eq!(told(&after), ["reopened upgrade NETPOL001 east/shop/Deployment/web"]);
    assert!(cause(&after).1.starts_with("expired: an ignore rule for NETPOL001"), "{:?}", cause(&after));
    let outcome = bench.say(2, rules.into_iter().take(2).collect()).await;
    assert_eq!(told(&outcome), ["reopened upgrade NETPOL007 east/shop/NetworkPolicy/closed"]);
    let again = bench.store.reassess_all(&bench.settings, NOW, Emit::Publish).await.unwrap();
    assert!(told(&again).is_empty(), "{:?}", told(&again));
    // What ends is fixed, accepted or not.
    bench.commit(&[exposure(7, 8, vec![], &["web", "api"])]).await;
    assert_eq!((bench.open().await.len(), bench.suppressed().await.len()), (1, 0));
}

#[tokio::test]
async fn a_rule_expires_by_time_passing() {
    let bench = Bench::new().await;
    let rule = Statement {
        kind: StatementKind::Ignore,
        expires: Some(Timestamp(NOW.0 + 1_000)),
        // By an alias.
        ..statement("r1", "GHSA-CVE-1", Product::default())
    };
    bench.say(1, vec![rule]).await;
    let mut push = vulnerable_push(WEB, "1", 1, 1, &["CVE-1"]);
    for fact in &mut push {
        if let plimsoll_model::FactBody::Image(image) = &mut fact.body {
            for known in &mut image.matches.vulnerabilities {
                known.aliases = vec![format!("GHSA-{}", known.id)];
            }
        }
    }
    let outcome = bench.commit(&push).await;
    assert!(outcome.roll_ups.is_empty(), "what nobody was told of is not told: {:?}", told(&outcome));
    assert_eq!((bench.open().await.len(), bench.suppressed().await.len()), (0, 1));
    let before = bench.store.reassess(&bench.settings, Timestamp(NOW.0 + 999)).await.unwrap();
    assert!(before.roll_ups.is_empty());
    let after = bench.store.reassess(&bench.settings, Timestamp(NOW.0 + 1_000)).await.unwrap();
    assert!(told(&after)[0].starts_with("opened 3d CVE-1"), "{:?}", told(&after));
    let (kind, sentence) = cause(&after);
    assert_eq!(kind, "ignore");
    assert!(sentence.starts_with("expired: an ignore rule for GHSA-CVE-1: "), "{sentence}");
    assert_eq!(bench.suppressed().await.len(), 0);
}

#[tokio::test]
async fn an_index_names_its_images_and_a_part_its_whole() {
    let bench = Bench::new().await;
    let mut facts = vulnerable_push(WEB, "1", 1, 1, &["CVE-1"]);
    let index = ManifestKind::Index { children: vec![(Platform::default(), digest(1))] };
    facts.push(manifest(WEB, 9, index));
    let of_index = |n: u8| Product {
        image: Some(ImagePattern { digest: Some(digest(n)), repository: String::new() }),
        ..package("left-pad")
    };
    bench.say(1, vec![statement("s1", "CVE-1", of_index(9))]).await;
    // The image is held by its own digest; that the index has it is known later.
    bench.commit(&facts[..3]).await;
    assert_eq!((bench.open().await.len(), bench.suppressed().await.len()), (1, 0));
    bench.commit(&facts[3..]).await;
    assert_eq!((bench.open().await.len(), bench.suppressed().await.len()), (0, 1));
    bench.say(2, vec![statement("s2", "CVE-1", of_index(8))]).await;
    assert_eq!((bench.open().await.len(), bench.suppressed().await.len()), (1, 0));

    // By repository.
    let by_place = |repository: &str| Product {
        image: Some(ImagePattern { digest: None, repository: repository.into() }),
        ..package("left-pad")
    };
    bench.say(3, vec![statement("s3", "CVE-1", by_place(&format!("{REGISTRY}/{WEB}")))]).await;
    assert_eq!(bench.open().await.len(), 0);
    bench.say(4, vec![statement("s4", "CVE-1", by_place(&format!("{REGISTRY}/shop/other")))]).await;
    assert_eq!(bench.open().await.len(), 1);

    // By what it is inside of.
    let inside = Product {
        inside: Some(PackagePattern { name: "app".into(), ..PackagePattern::default() }),
        ..package("left-pad")
    };
    bench.say(5, vec![statement("s5", "CVE-1", inside)]).await;
    assert_eq!(bench.open().await.len(), 1);
    let (part, whole) = (component("left-pad", "1.0"), component("app", "3"));
    let matches = set(1, vec![matched("CVE-1", &part, None)], vec![vulnerability("CVE-1", &[])]);
    let mut fact = image("image-inside", 1, &[whole, part], matches);
    fact.at = Timestamp(NOW.0 + 1);
    if let plimsoll_model::FactBody::Image(image) = &mut fact.body {
        image.inside = vec![(1, 0)];
    }
    bench.commit(&[fact]).await;
    let open = bench.open().await;
    assert!(open.values().all(|f| f.key.package.name != "left-pad"), "{open:?}");
}

#[tokio::test]
async fn the_order_does_not_matter_and_a_restart_keeps_it() {
    let set = || vec![statement("s1", "CVE-1", package("left-pad"))];
    let push = vulnerable_push(WEB, "1", 1, 1, &["CVE-1", "CVE-2"]);
    let first = Bench::new().await;
    first.say(1, set()).await;
    first.commit(&push).await;
    let second = Bench::new().await;
    second.silent(&push).await;
    second.say(1, set()).await;
    let about = |findings: Vec<Finding>| -> Vec<_> {
        findings.into_iter().map(|f| (f.id, f.state, f.suppressions)).collect()
    };
    assert_eq!(about(first.suppressed().await), about(second.suppressed().await));
    assert_eq!(first.words().await, second.words().await);

    let reopened = Store::open(first.store.path()).await.unwrap();
    let outcome =
        reopened.commit(&vulnerable_push("shop/api", "1", 3, 3, &["CVE-1"]), &first.settings, NOW).await;
    assert!(outcome.unwrap().roll_ups.is_empty(), "the statements still hold");
}

#[tokio::test]
async fn affected_says_what_is_not_and_why() {
    let bench = Bench::new().await;
    bench.commit(&vulnerable_push(WEB, "1", 1, 1, &["CVE-1"])).await;
    bench.commit(&vulnerable_push("shop/api", "1", 2, 2, &["CVE-1"])).await;
    let product = Product {
        image: Some(ImagePattern { digest: Some(digest(1)), repository: String::new() }),
        ..package("left-pad")
    };
    bench.say(1, vec![statement("s1", "CVE-1", product)]).await;
    for query in ["CVE-1", "left-pad", "pkg:npm/left-pad@1.0.0%2BCVE-1"] {
        let answer = bench.store.reader().affected(query, &[]).await.unwrap();
        let holders: Vec<String> = answer.affected.iter().map(|a| a.finding.key.holder.to_string()).collect();
        assert_eq!(holders, [format!("{REGISTRY}/shop/api (linux/amd64)")], "{query}");
        let not: Vec<(String, &str)> =
            answer.unaffected.iter().map(|u| (u.holder.to_string(), u.because.as_str())).collect();
        assert_eq!(not.len(), 1, "{query}: {not:?}");
        assert_eq!(not[0].0, format!("{REGISTRY}/{WEB} (linux/amd64)"));
        assert_eq!(
            not[0].1,
            "VEX: not_affected by vendor: vulnerable_code_not_present: not built in (https://example.com/vex/1)"
        );
        assert_eq!(answer.unaffected[0].suppressions.len(), 1);
    }
}
