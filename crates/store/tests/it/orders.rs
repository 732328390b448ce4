//! Random facts: the open set is the same in every order, with duplicates, in any batches, and after a rebuild; what
//! subscribers were told adds up to it.

use std::collections::{BTreeMap, BTreeSet};

use plimsoll_model::exposure::ExposureLevel;
use plimsoll_model::fact::ManifestKind;
use plimsoll_model::finding::{Finding, FindingState};
use plimsoll_model::vex::{Product, Scope, Statement, StatementKind, VexStatus};
use plimsoll_model::vulnerability::{Kev, Match};
use plimsoll_model::{ComponentKey, Fact, FactBody, MatchSet, Platform, Timestamp};
use plimsoll_store::{Emit, Filter, StatementSet};
use proptest::prelude::*;

use super::support::*;

/// Numbers from a seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }

    fn small(&mut self, n: u8) -> u8 {
        u8::try_from(self.below(u64::from(n))).unwrap()
    }
}

/// Worlds that are tried; each takes some 0.2 s.
const CASES: u32 = 48;

const REPOSITORIES: [&str; 2] = ["shop/web", "shop/api"];
const TAGS: [&str; 5] = ["latest", "1", "2", "3", "4"];
const WORKLOADS: [&str; 3] = ["web", "api", "job"];
const INDEX: u8 = 100;

fn universe(n: u8) -> ComponentKey {
    component(&format!("p{}", n % 4), &format!("{n}"))
}

/// The components of image `n`: a function of its digest, as content is.
fn components(n: u8) -> Vec<ComponentKey> {
    (0..8).filter(|c| (u32::from(n) * 37 + u32::from(*c) * 11) % 5 < 2).map(universe).collect()
}

/// The matches of components in a Db: a function of both.
fn matches(db: u64, components: &[ComponentKey]) -> MatchSet {
    let mut found: Vec<Match> = Vec::new();
    for key in components {
        let n: u64 = key.version.parse().unwrap();
        for v in 0..5u64 {
            if db > 0 && (n * 7 + v * 13 + db * 5) % 11 < 3 {
                let id = if v == 3 && db < 3 { "GHSA-3".to_owned() } else { format!("CVE-{v}") };
                let mut one = matched(&id, key, n.is_multiple_of(2).then_some("99"));
                if (n + v + db).is_multiple_of(7) {
                    one.status = plimsoll_model::vulnerability::MatchStatus::NotAffected;
                }
                found.push(one);
            }
        }
    }
    let ids: BTreeSet<String> = found.iter().map(|m| m.vulnerability.clone()).collect();
    let known = ids
        .iter()
        .map(|id| {
            let aliases: &[&str] = if id == "CVE-3" && db >= 3 { &["GHSA-3"] } else { &[] };
            let mut v = vulnerability(id, aliases);
            v.intelligence.epss = Some(0.01 * db as f64);
            if id == "CVE-1" && db >= 2 {
                v.intelligence.kev = Some(Kev { date_added: NOW, ransomware: false });
            }
            v
        })
        .collect();
    set(db, found, known)
}

fn random_fact(dice: &mut Dice, n: u64) -> Fact {
    let repository = REPOSITORIES[usize::from(dice.small(2))];
    let tag = TAGS[usize::from(dice.small(5))];
    let target = if dice.below(6) == 0 { INDEX } else { dice.small(6) };
    let mut fact = match dice.below(16) {
        0..=3 => pushed(repository, (dice.below(5) > 0).then_some(tag), target, n),
        4 => deleted(repository, Some(tag), None, n),
        5 => deleted(repository, None, Some(target), n),
        6..=8 => match target {
            INDEX => {
                let arm = Platform { os: "linux".into(), architecture: "arm64".into(), variant: None };
                let children = vec![(Platform::default(), digest(0)), (arm, digest(1))];
                manifest(repository, INDEX, ManifestKind::Index { children })
            }
            target => manifest(repository, target, single()),
        },
        9..=11 => {
            let target = dice.small(6);
            let components = components(target);
            let matches = matches(dice.below(4), &components);
            image("image", target, &components, matches)
        }
        12 => {
            let some: Vec<ComponentKey> = (0..8).filter(|_| dice.below(2) == 0).map(universe).collect();
            let matches = matches(1 + dice.below(3), &some);
            rematched("match", &some, matches)
        }
        13 => {
            let seq = 1 + dice.below(8);
            // What a tag meant at an event is decided once.
            let references: Vec<(&str, &str, Option<u8>)> = REPOSITORIES
                .iter()
                .zip(0u64..)
                .flat_map(|(r, a)| TAGS.iter().zip(0u64..).map(move |(t, b)| (*r, *t, a * 5 + b)))
                .map(|(r, t, k)| {
                    (r, t, (!(k + seq).is_multiple_of(7)).then(|| u8::try_from((k * 3 + seq) % 6).unwrap()))
                })
                .collect();
            let fact = resolved(seq, &references);
            return fact;
        }
        _ => {
            let base = dice.below(3);
            let mut workloads = Vec::new();
            let mut removed = Vec::new();
            for name in WORKLOADS {
                let level = [
                    ExposureLevel::Isolated,
                    ExposureLevel::Small,
                    ExposureLevel::Controlled,
                    ExposureLevel::Open,
                ][usize::from(dice.small(4))];
                match dice.below(4) {
                    0 => {}
                    1 if base > 0 => removed.push(name),
                    _ => {
                        let image = reference(
                            REPOSITORIES[usize::from(dice.small(2))],
                            TAGS[usize::from(dice.small(5))],
                        );
                        let mut fact = workload(name, &image, 1 + dice.below(8), level);
                        for (code, about) in [("NETPOL001", "ingress"), ("NETPOL004", "egress")] {
                            if dice.below(3) == 0 {
                                fact.notes.push(note(code, about));
                            }
                        }
                        workloads.push(fact);
                    }
                }
            }
            // Of one target there may be several publications.
            published(exposure(base, 1 + n / 3, workloads, &removed), n)
        }
    };
    if !matches!(fact.body, FactBody::Manifest(_)) {
        fact.id = format!("{}-{n}", fact.id);
        fact.at = Timestamp(NOW.0 - 1_000 + i64::try_from(n).unwrap());
    }
    fact
}

/// What must be equal: everything but times, revisions and the sequence of the Db.
fn essence(open: BTreeMap<String, Finding>) -> BTreeMap<String, Finding> {
    open.into_iter()
        .map(|(id, f)| {
            let f = Finding { revision: 0, opened_at: NOW, due: None, db_seq: 0, ..f };
            (id, f)
        })
        .collect()
}

/// Equal, with the first difference shown.
fn same(got: &BTreeMap<String, Finding>, expected: &BTreeMap<String, Finding>, what: &str) {
    for id in got.keys().chain(expected.keys()) {
        assert_eq!(got.get(id), expected.get(id), "{what}");
    }
}

async fn run(bench: &Bench, facts: &[Fact], batch: usize) -> BTreeMap<String, Finding> {
    run_with_slices(bench, facts, batch, &mut Dice(0)).await
}

/// Slices of what commits left come between them, or not.
async fn run_with_slices(
    bench: &Bench,
    facts: &[Fact],
    batch: usize,
    dice: &mut Dice,
) -> BTreeMap<String, Finding> {
    let mut believed = BTreeMap::new();
    let mut published = BTreeSet::new();
    let mut hear = |outcome: plimsoll_store::CommitOutcome| {
        for (_, _, message) in outcome.roll_ups {
            for change in &message.changes {
                let id = (change.finding.id.clone(), change.finding.revision);
                assert!(published.insert(id), "published twice: {change:?}");
            }
            believe(&mut believed, &message.changes);
        }
        outcome.backlog
    };
    for facts in facts.chunks(batch) {
        hear(bench.commit(facts).await);
        for _ in 0..dice.below(4) {
            hear(bench.slice().await);
        }
    }
    while hear(bench.slice().await) {}
    let open = bench.open().await;
    let there: BTreeMap<String, u64> = open.iter().map(|(id, f)| (id.clone(), f.revision)).collect();
    assert_eq!(believed, there, "what was told is not what is open");
    essence(open)
}

/// Polls a future so many times, then drops it: what a caller does that goes away.
async fn abandon<F: std::future::Future>(future: F, polls: u64) -> Option<F::Output> {
    let mut future = Box::pin(future);
    let mut left = polls;
    std::future::poll_fn(move |context| match future.as_mut().poll(context) {
        std::task::Poll::Ready(output) => std::task::Poll::Ready(Some(output)),
        std::task::Poll::Pending if left == 0 => std::task::Poll::Ready(None),
        std::task::Poll::Pending => {
            left -= 1;
            std::task::Poll::Pending
        }
    })
    .await
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 30, ..ProptestConfig::default() })]

    /// A commit that is dropped at any point leaves nothing, or all of it; the next one is whole. The store is opened anew
    /// from time to time, with what the writer remembered gone.
    #[test]
    fn abandoned_commits_leave_no_trace(seed in any::<u64>(), count in 20u64..70) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut dice = Dice(seed);
            let facts: Vec<Fact> = (1..=count).map(|n| random_fact(&mut dice, n)).collect();
            let straight = Bench::new().await;
            let expected = run(&straight, &facts, facts.len()).await;
            let mut bench = Bench::new().await;
            for facts in facts.chunks(6) {
                let polls = dice.below(60);
                let _ = abandon(bench.store.commit(facts, &bench.settings, NOW), polls).await;
                if dice.below(4) == 0 {
                    bench.store = plimsoll_store::Store::open(bench.store.path()).await.unwrap();
                }
                bench.commit(facts).await;
            }
            same(&essence(bench.open().await), &expected, "after abandoned commits");
            // The outbox adds up to the open set, each change once.
            let mut believed = BTreeMap::new();
            let mut published = BTreeSet::new();
            for row in bench.store.reader().outbox_after(0, 100_000).await.unwrap() {
                for change in &row.message.changes {
                    prop_assert!(published.insert((change.finding.id.clone(), change.finding.revision)));
                }
                believe(&mut believed, &row.message.changes);
            }
            prop_assert_eq!(believed.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
            bench.store.check().await.unwrap();
            Ok(())
        })?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: CASES, max_shrink_iters: 60, ..ProptestConfig::default() })]

    #[test]
    fn any_order_gives_the_same_open_set(seed in any::<u64>(), count in 4u64..90, batch in 1usize..20) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut dice = Dice(seed);
            let facts: Vec<Fact> = (1..=count).map(|n| random_fact(&mut dice, n)).collect();
            let straight = Bench::new().await;
            let expected = run(&straight, &facts, facts.len()).await;

            let mut shuffled = facts.clone();
            shuffled.extend(facts.iter().filter(|_| dice.below(3) == 0).cloned());
            for n in (1..shuffled.len()).rev() {
                let m = usize::try_from(dice.below(u64::try_from(n + 1).unwrap())).unwrap();
                shuffled.swap(n, m);
            }
            let other = Bench::new().await;
            same(&run(&other, &shuffled, batch).await, &expected, "another order");

            // Every change of components is left for later, and done in slices at any time.
            let mut later = Bench::new().await;
            later.settings.at_once = 0;
            same(&run_with_slices(&later, &shuffled, batch, &mut dice).await, &expected, "in slices");
            later.store.check().await.unwrap();

            let rebuilt = Bench::new().await;
            for facts in facts.chunks(batch) {
                assert!(rebuilt.silent(facts).await.roll_ups.is_empty());
            }
            assert!(rebuilt.store.reader().outbox_after(0, 9).await.unwrap().is_empty());
            same(&essence(rebuilt.open().await), &expected, "rebuilt");
            // Judging everything again finds nothing to change.
            let again = rebuilt.store.reassess_all(&rebuilt.settings, NOW, plimsoll_store::Emit::Publish).await.unwrap();
            assert!(again.roll_ups.iter().all(|(_, _, m)| m.changes.is_empty()), "{:?}", told(&again));
            rebuilt.store.check().await.unwrap();
        });
    }
}

/// A set that accepts some of what random worlds have: network findings by workload, and vulnerabilities.
fn rules() -> StatementSet {
    let rule = |vulnerability: &str, workload: &str| Statement {
        id: format!("{vulnerability} {workload}"),
        kind: StatementKind::Ignore,
        vulnerabilities: vec![vulnerability.into()],
        products: vec![Product::default()],
        scope: Scope { workload: workload.into(), ..Scope::default() },
        status: VexStatus::NotAffected,
        justification: String::new(),
        reason: "accepted".into(),
        issuer: "rule".into(),
        document: "rules".into(),
        signed_by: String::new(),
        at: NOW,
        expires: None,
    };
    let statements =
        vec![rule("NETPOL004", "api"), rule("NETPOL001", "w*"), rule("CVE-1", ""), rule("CVE-2", "job")];
    StatementSet { seq: 1, statements }
}

async fn suppressed(bench: &Bench) -> BTreeMap<String, Finding> {
    let filter = Filter { state: Some(FindingState::Suppressed), ..Filter::default() };
    let page = bench.store.reader().findings(&filter, None, 1_000).await.unwrap();
    let by_rules = page.findings.into_iter().filter(|f| !f.suppressions.is_empty());
    by_rules.map(|f| (f.id.clone(), f)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 30, ..ProptestConfig::default() })]

    /// Rules that were there before the facts, and rules that came after them, leave the same open and the same accepted.
    #[test]
    fn rules_may_come_before_or_after(seed in any::<u64>(), count in 4u64..70) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut dice = Dice(seed);
            let facts: Vec<Fact> = (1..=count).map(|n| random_fact(&mut dice, n)).collect();
            let (before, after) = (Bench::new().await, Bench::new().await);
            before.store.set_statements(&rules(), &before.settings, NOW, Emit::Publish).await.unwrap();
            for facts in facts.chunks(7) {
                before.commit(facts).await;
            }
            after.commit(&facts).await;
            after.store.set_statements(&rules(), &after.settings, NOW, Emit::Publish).await.unwrap();
            for bench in [&before, &after] {
                while bench.slice().await.backlog {}
            }
            same(&essence(after.open().await), &essence(before.open().await), "open");
            same(&essence(suppressed(&after).await), &essence(suppressed(&before).await), "accepted");
            after.store.check().await.unwrap();
        });
    }
}
