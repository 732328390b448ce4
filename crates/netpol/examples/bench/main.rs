//! Time of a cold build, of the whole matrix, of one change with its exact difference, and the memory that a resident
//! cluster takes, for generated clusters with every tier and IPv6.
//!
//! - `bench`: a table of sizes, each in a process of its own, and the brute-force judge of the tests beside the engine
//!   at sizes where it ends;
//! - `bench WORKLOADS POLICIES`: one size in detail, by kind of change;
//! - `bench row WORKLOADS POLICIES` and `bench brute WORKLOADS POLICIES`: one row of either part of the table;
//! - `bench changes WORKLOADS POLICIES [KIND [COUNT]]`: changes only, for a profiler; of one kind by number, or of all
//!   for a number past the last; so many.
//!
//! Budgets are those of the design, for 10,000 × 5,000; a ratio above 1 is over budget. Not a test: figures depend on the
//! machine, and on what else it does; time on the processor is told beside.
#![allow(clippy::indexing_slicing)]

mod brute;
mod cluster;
#[path = "../../tests/it/judge.rs"]
mod judge;

use std::time::{Duration, Instant};

use cluster::{ADMIN, Dice, Size, admin, cluster, deployment, ingress, namespace, pod, policy, service};
use plimsoll_netpol::diff::diff_snapshots;
use plimsoll_netpol::engine::{Connectivity, Options};
use plimsoll_netpol::live::{Change, Live, Window};
use plimsoll_netpol::objects::Object;
use plimsoll_netpol::state::ClusterState;

const COLD: Duration = Duration::from_millis(1_000);
const MEAN: Duration = Duration::from_millis(1);
const P99: Duration = Duration::from_millis(20);
const MEMORY: f64 = 300.0;

/// Changes that are timed.
const CHANGES: usize = 600;

/// Kinds of change, and how many of a hundred are of each.
const KINDS: [(&str, usize); 9] = [
    ("pod replaced", 34),
    ("policy changed", 20),
    ("policy deleted or back", 8),
    ("workload comes or goes", 10),
    ("labels of a workload", 5),
    ("labels of a namespace", 3),
    ("service or ingress", 12),
    ("administrator's policy", 2),
    ("scaled", 6),
];

/// What has happened to the generated objects.
struct World {
    size: Size,
    dice: Dice,
    /// Generation of the pods and salt of the labels, by workload.
    pods: Vec<(usize, usize)>,
    gone: Vec<usize>,
    deleted: Vec<usize>,
    /// The only kind of change.
    only: Option<usize>,
}

impl World {
    fn next(&mut self) -> (usize, Vec<Change>) {
        if let Some(kind) = self.only {
            return (kind, self.changes(kind));
        }
        let mut roll = self.dice.roll(100);
        let kind = KINDS.iter().position(|(_, share)| {
            let here = roll < *share;
            roll = roll.saturating_sub(*share);
            here
        });
        let kind = kind.unwrap_or_default();
        (kind, self.changes(kind))
    }

    fn changes(&mut self, kind: usize) -> Vec<Change> {
        let size = self.size;
        let index = self.dice.roll(size.workloads);
        match kind {
            0 => {
                if self.gone.contains(&index) {
                    return self.changes(kind);
                }
                let (generation, salt) = self.pods[index];
                self.pods[index].0 += 1;
                vec![
                    Change::Delete(pod(index, salt, generation).key()),
                    Change::Apply(pod(index, salt, generation + 1)),
                ]
            }
            1 => vec![Change::Apply(policy(self.dice.roll(size.policies), size, &mut self.dice))],
            2 => match self.deleted.pop().filter(|_| self.dice.roll(2) == 0) {
                Some(index) => vec![Change::Apply(policy(index, size, &mut self.dice))],
                None => {
                    let index = self.dice.roll(size.policies);
                    self.deleted.push(index);
                    vec![Change::Delete(policy(index, size, &mut self.dice).key())]
                }
            },
            3 => match self.gone.pop().filter(|_| self.dice.roll(2) == 0) {
                Some(index) => {
                    let (generation, salt) = self.pods[index];
                    vec![Change::Apply(deployment(index, salt)), Change::Apply(pod(index, salt, generation))]
                }
                None => {
                    let (generation, salt) = self.pods[index];
                    self.gone.push(index);
                    vec![
                        Change::Delete(deployment(index, salt).key()),
                        Change::Delete(pod(index, salt, generation).key()),
                    ]
                }
            },
            4 => {
                if self.gone.contains(&index) {
                    return self.changes(kind);
                }
                let (generation, salt) = self.pods[index];
                self.pods[index].1 = salt + 1;
                vec![
                    Change::Apply(deployment(index, salt + 1)),
                    Change::Apply(pod(index, salt + 1, generation)),
                ]
            }
            5 => vec![Change::Apply(namespace(self.dice.roll(size.namespaces()), &mut self.dice))],
            6 => {
                let index = self.dice.roll(size.workloads / 10);
                match self.dice.roll(3) {
                    0 => vec![Change::Apply(ingress(index))],
                    1 => vec![Change::Delete(ingress(index).key())],
                    _ => vec![Change::Apply(service(index, &mut self.dice))],
                }
            }
            7 => vec![Change::Apply(admin(self.dice.roll(ADMIN), &mut self.dice))],
            _ => {
                if self.gone.contains(&index) {
                    return self.changes(kind);
                }
                let Object::Workload(mut scaled) = deployment(index, self.pods[index].1) else {
                    return Vec::new();
                };
                scaled.replicas = Some(1 + self.dice.roll(9) as i64);
                vec![Change::Apply(Object::Workload(scaled))]
            }
        }
    }
}

/// Resident memory and its peak in MiB, where the system tells them.
fn memory() -> (f64, f64) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let of = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let number = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
        number.unwrap_or_default() / 1024.0
    };
    (of("VmRSS:"), of("VmHWM:"))
}

/// Time that this process had on the processor, where the system tells it; good to a few milliseconds, so that a mean of
/// many short times is right, and a single one is not.
fn on_processor() -> Duration {
    let text = std::fs::read_to_string("/proc/self/schedstat").unwrap_or_default();
    Duration::from_nanos(text.split_whitespace().next().and_then(|n| n.parse().ok()).unwrap_or_default())
}

fn ratio(of: Duration, budget: Duration) -> f64 {
    of.as_secs_f64() / budget.as_secs_f64()
}

fn quantile(sorted: &[Duration], of: f64) -> Duration {
    let at = ((sorted.len() as f64 * of).ceil() as usize).saturating_sub(1);
    sorted.get(at).copied().unwrap_or_default()
}

fn mean(times: &[Duration]) -> Duration {
    times.iter().sum::<Duration>() / times.len().max(1) as u32
}

/// A cold build and every connection of a state.
struct Whole {
    cold: Duration,
    matrix: Duration,
    classes: usize,
    rows: usize,
    connections: usize,
}

fn whole(state: &ClusterState, options: &Options) -> Whole {
    let begin = on_processor();
    let connectivity = Connectivity::build(state, options);
    let cold = on_processor().saturating_sub(begin);
    let (classes, rows, _) = connectivity.sizes();
    let begin = on_processor();
    let connections = connectivity.rows().len();
    Whole { cold, matrix: on_processor().saturating_sub(begin), classes, rows, connections }
}

/// Times of changes.
#[derive(Default)]
struct Timed {
    /// By kind: on the clock, and on the processor.
    wall: Vec<Vec<Duration>>,
    busy: Vec<Vec<Duration>>,
    cells: Vec<usize>,
    judged: usize,
    told: Vec<Duration>,
    told_busy: Vec<Duration>,
    effects: usize,
    /// The change that took longest on the processor: how long, of which kind, and whether the state was read as a whole.
    worst: (Duration, usize, bool),
    /// Differences that were compared with that of the states as wholes, and those that were equal.
    checked: (usize, usize),
}

impl Timed {
    fn all(times: &[Vec<Duration>]) -> Vec<Duration> {
        let mut all: Vec<Duration> = times.iter().flatten().copied().collect();
        all.sort();
        all
    }
}

/// Makes changes; each of `tell` is told, each of `check` compared.
fn changes(
    live: &mut Live,
    size: Size,
    only: Option<usize>,
    count: usize,
    (tell, check): (usize, usize),
) -> Timed {
    let (pods, dice) = (vec![(0, 0); size.workloads], Dice(99));
    let mut world = World { size, dice, pods, gone: Vec::new(), deleted: Vec::new(), only };
    let mut timed = Timed {
        wall: vec![Vec::new(); KINDS.len()],
        busy: vec![Vec::new(); KINDS.len()],
        cells: vec![0; KINDS.len()],
        ..Timed::default()
    };
    for at in 1..=count {
        let (kind, changes) = world.next();
        let (on, begin) = (on_processor(), Instant::now());
        let delta = live.changes(changes);
        timed.wall[kind].push(begin.elapsed());
        let busy = on_processor().saturating_sub(on);
        timed.busy[kind].push(busy);
        if busy > timed.worst.0 {
            timed.worst = (busy, kind, delta.concerned().is_none());
        }
        // A profiler is to see the changes alone.
        if tell > 0 {
            timed.cells[kind] += delta.count();
            timed.judged += delta.exposures().len();
        }
        if check > 0 && at % check == 0 {
            let whole = diff_snapshots(&delta.before().snapshot, &delta.after().snapshot, false);
            timed.checked.0 += 1;
            timed.checked.1 += usize::from(whole == delta.connections());
        }
        if tell > 0 && at % tell == 0 {
            let (on, begin) = (on_processor(), Instant::now());
            timed.effects += Window::default().take(delta).len();
            timed.told.push(begin.elapsed());
            timed.told_busy.push(on_processor().saturating_sub(on));
        }
    }
    timed
}

/// One size, in words.
fn detail(size: Size, options: &Options) {
    println!(
        "{} workloads × {} policies, {ADMIN} of the administrator's tiers, IPv4 and IPv6",
        size.workloads, size.policies
    );
    let state = cluster(size);
    let (objects, _) = memory();
    let begin = Instant::now();
    let mut live = Live::new(state, options);
    let founded = begin.elapsed();
    let (resident, peak) = memory();
    println!("  resident with exposures   {founded:>12.2?}");
    println!(
        "  memory with the objects   {resident:>8.0} MiB   {:>6.2} of budget (objects {objects:.0}, peak {peak:.0})",
        resident / MEMORY
    );
    let mut timed = changes(&mut live, size, None, CHANGES, (1, 150));
    let (wall, busy) = (Timed::all(&timed.wall), Timed::all(&timed.busy));
    println!(
        "  one change: mean          {:>12.2?}   {:>6.2} of budget",
        mean(&wall),
        ratio(mean(&wall), MEAN)
    );
    println!(
        "  the same on the processor {:>12.2?}   {:>6.2} of budget",
        mean(&busy),
        ratio(mean(&busy), MEAN)
    );
    let p99 = |times: &[Duration]| quantile(times, 0.99);
    println!("  one change: p50           {:>12.2?}", quantile(&wall, 0.5));
    println!("  one change: p99           {:>12.2?}   {:>6.2} of budget", p99(&wall), ratio(p99(&wall), P99));
    println!("  one change: worst         {:>12.2?}", wall.last().copied().unwrap_or_default());
    let kinds = KINDS.iter().zip(&mut timed.wall).zip(&timed.busy).zip(&timed.cells);
    for ((((name, _), wall), busy), cells) in kinds {
        wall.sort();
        println!(
            "    {name:<24}{:>12.2?}   worst {:>10.2?}   on the processor {:>10.2?}   {:>4} changes, {:>7} connections each",
            mean(wall),
            wall.last().copied().unwrap_or_default(),
            mean(busy),
            wall.len(),
            cells / wall.len().max(1)
        );
    }
    timed.told.sort();
    timed.told_busy.sort();
    println!(
        "  telling it with names, deciding rules and effects: mean {:.2?} ({:.2?} on the processor), p99 {:.2?} ({:.2?}), \
         worst {:.2?}; {} exposures differ, {} effects",
        mean(&timed.told),
        mean(&timed.told_busy),
        p99(&timed.told),
        p99(&timed.told_busy),
        timed.told.last().copied().unwrap_or_default(),
        timed.judged,
        timed.effects
    );
    println!("  differences equal to those of the wholes: {} of {}", timed.checked.1, timed.checked.0);
    let state = live.snapshot().snapshot.state.as_ref().clone();
    drop(live);
    let whole = whole(&state, options);
    println!("  {} classes, {} distinct rows", whole.classes, whole.rows);
    println!(
        "  cold build, on processor  {:>12.2?}   {:>6.2} of budget",
        whole.cold,
        ratio(whole.cold, COLD)
    );
    println!("  full matrix, on processor {:>12.2?}   ({} connections)", whole.matrix, whole.connections);
}

/// One size as a row of the table.
fn row(size: Size, options: &Options) {
    let state = cluster(size);
    let mut live = Live::new(state, options);
    let timed = changes(&mut live, size, None, CHANGES, (4, 0));
    // Before the whole matrix, which a resident cluster never makes.
    let (_, peak) = memory();
    let state = live.snapshot().snapshot.state.as_ref().clone();
    drop(live);
    let whole = whole(&state, options);
    let (busy, wall) = (Timed::all(&timed.busy), Timed::all(&timed.wall));
    let mut told = timed.told;
    told.sort();
    println!(
        "| {} × {} | {:.3} s | {:.2} s, {} | {:.2} | {:.1} | {:.1} ({}{}) | {:.2}, {:.0} | {peak:.0} MiB |",
        size.workloads,
        size.policies,
        whole.cold.as_secs_f64(),
        whole.matrix.as_secs_f64(),
        whole.connections,
        millis(mean(&busy)),
        millis(quantile(&wall, 0.99)),
        millis(timed.worst.0),
        KINDS[timed.worst.1].0,
        if timed.worst.2 { ", read as a whole" } else { "" },
        millis(mean(&timed.told_busy)),
        millis(quantile(&told, 0.99)),
    );
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// Every size of the table, each in a process of its own, so that its peak of memory is its own.
fn table() -> std::io::Result<()> {
    let own = std::env::current_exe()?;
    println!(
        "Cold, matrix, means and worst on the processor, p99 on the clock, changes in ms. Telling is names, deciding rules and effects\n\
         of a change.\n"
    );
    println!(
        "| workloads × policies | cold | full matrix, connections | one change with its difference: mean | p99 | worst | \
         telling: mean, p99 | peak memory |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    for workloads in [1_000, 3_000, 10_000] {
        for policies in [500, 5_000, 20_000] {
            let words = ["row".to_owned(), workloads.to_string(), policies.to_string()];
            std::process::Command::new(&own).args(words).status()?;
        }
    }
    println!(
        "\nEvery pair of workloads, a few packets each, by the brute-force judge of the tests and by the engine:\n"
    );
    println!("| workloads × policies | packets | judge | engine, from the objects | verdicts that differ |");
    println!("|---|---|---|---|---|");
    for (workloads, policies) in [(50, 25), (100, 50), (200, 100), (400, 200)] {
        let words = ["brute".to_owned(), workloads.to_string(), policies.to_string()];
        std::process::Command::new(&own).args(words).status()?;
    }
    Ok(())
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let mut numbers = words.iter().filter_map(|word| word.parse().ok());
    let (Some(workloads), Some(policies)) = (numbers.next(), numbers.next()) else {
        if let Err(error) = table() {
            eprintln!("the table could not be measured: {error}");
        }
        return;
    };
    let (size, options) = (Size { workloads, policies }, Options::default());
    match words.first().map(String::as_str) {
        Some("row") => row(size, &options),
        Some("brute") => brute::row(size, &options),
        Some("changes") => {
            let mut live = Live::new(cluster(size), &options);
            let (only, count) = (numbers.next(), numbers.next().unwrap_or(5 * CHANGES));
            let timed = changes(&mut live, size, only.filter(|kind| *kind < KINDS.len()), count, (0, 0));
            println!("mean {:.2?} on the processor", mean(&Timed::all(&timed.busy)));
        }
        _ => detail(size, &options),
    }
}
