//! Time of a cold build, of the whole matrix, of one change with its exact difference, and the memory that a resident
//! cluster takes, for generated clusters with every tier and IPv6: `bench [WORKLOADS POLICIES]…`, by default a table of
//! sizes, each in a process of its own. Budgets are those of the design, for 10,000 × 5,000; a ratio above 1 is over
//! budget. Not a test: figures depend on the machine, and on what else it does; time on the processor is told beside.
#![allow(clippy::indexing_slicing)]

mod cluster;

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
}

impl World {
    fn next(&mut self) -> (usize, Vec<Change>) {
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

/// Time that this process had on the processor, where the system tells it; good to a few milliseconds.
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

fn whole(state: &ClusterState, options: &Options) {
    let begin = Instant::now();
    let connectivity = Connectivity::build(state, options);
    let cold = begin.elapsed();
    let (classes, rows, _) = connectivity.sizes();
    println!("  {classes} classes, {rows} distinct rows");
    println!("  cold build                {cold:>12.2?}   {:>6.2} of budget", ratio(cold, COLD));
    let begin = Instant::now();
    let connections = connectivity.rows().len();
    println!("  full matrix               {:>12.2?}   ({connections} connections)", begin.elapsed());
}

fn changes(live: &mut Live, size: Size) {
    let mut world = World {
        size,
        dice: Dice(99),
        pods: vec![(0, 0); size.workloads],
        gone: Vec::new(),
        deleted: Vec::new(),
    };
    let mut times: Vec<Vec<Duration>> = vec![Vec::new(); KINDS.len()];
    let (mut told, mut cells, mut judged) = (Vec::new(), vec![0; KINDS.len()], 0);
    let (mut busy, mut effects) = ([Duration::ZERO; 2], 0);
    let mut busy_of = [Duration::ZERO; KINDS.len()];
    for at in 0..CHANGES {
        let (kind, changes) = world.next();
        let (begin, on) = (Instant::now(), on_processor());
        let delta = live.changes(changes);
        times[kind].push(begin.elapsed());
        let used = on_processor().saturating_sub(on);
        busy[0] += used;
        busy_of[kind] += used;
        cells[kind] += delta.count();
        judged += delta.exposures().len();
        let diff = delta.connections();
        // Now and then against the difference of the two states as wholes.
        let checked = at % 150 == 149;
        if checked {
            let whole = diff_snapshots(&delta.before().snapshot, &delta.after().snapshot, false);
            println!(
                "  checked against the whole {:>12} rows {}",
                diff.rows.len(),
                if whole == diff { "equal" } else { "NOT EQUAL" }
            );
        }
        drop(diff);
        let (begin, on) = (Instant::now(), on_processor());
        effects += Window::default().take(delta).len();
        told.push(begin.elapsed());
        busy[1] += on_processor().saturating_sub(on);
    }
    let mut all: Vec<Duration> = times.iter().flatten().copied().collect();
    all.sort();
    let (mean_all, p99, worst) = (mean(&all), quantile(&all, 0.99), all.last().copied().unwrap_or_default());
    println!("  one change: mean          {mean_all:>12.2?}   {:>6.2} of budget", ratio(mean_all, MEAN));
    let mean_of = |busy: Duration| busy / CHANGES as u32;
    println!(
        "  the same on the processor {:>12.2?}   {:>6.2} of budget",
        mean_of(busy[0]),
        ratio(mean_of(busy[0]), MEAN)
    );
    println!("  one change: p50           {:>12.2?}", quantile(&all, 0.5));
    println!("  one change: p99           {p99:>12.2?}   {:>6.2} of budget", ratio(p99, P99));
    println!("  one change: worst         {worst:>12.2?}");
    for (((name, _), used), (times, cells)) in KINDS.iter().zip(busy_of).zip(times.iter_mut().zip(cells)) {
        times.sort();
        let (count, worst) = (times.len().max(1), times.last().copied().unwrap_or_default());
        println!(
            "    {name:<24}{:>12.2?}   worst {worst:>10.2?}   on the processor {:>10.2?}   {:>4} changes, {:>7} \
             connections each",
            mean(times),
            used / count as u32,
            times.len(),
            cells / count
        );
    }
    told.sort();
    println!(
        "  telling it with names, deciding rules and effects: mean {:.2?} ({:.2?} on the processor), p99 {:.2?}, worst \
         {:.2?}; {judged} exposures differ, {effects} effects",
        mean(&told),
        mean_of(busy[1]),
        quantile(&told, 0.99),
        told.last().copied().unwrap_or_default()
    );
}

/// Every size of the table, each in a process of its own, so that its peak of memory is its own.
fn table() -> std::io::Result<()> {
    let own = std::env::current_exe()?;
    for workloads in [1_000, 3_000, 10_000] {
        for policies in [500, 5_000, 20_000] {
            let words = [workloads.to_string(), policies.to_string()];
            std::process::Command::new(&own).args(words).status()?;
        }
    }
    Ok(())
}

fn main() {
    let asked: Vec<usize> = std::env::args().skip(1).filter_map(|word| word.parse().ok()).collect();
    if asked.len() < 2 {
        if let Err(error) = table() {
            eprintln!("the table could not be measured: {error}");
        }
        return;
    }
    let options = Options::default();
    for pair in asked.chunks_exact(2) {
        let size = Size { workloads: pair[0], policies: pair[1] };
        println!(
            "{} workloads × {} policies, {ADMIN} of the administrator's tiers, IPv4 and IPv6",
            pair[0], pair[1]
        );
        let state = cluster(size);
        let (objects, _) = memory();
        let begin = Instant::now();
        let mut live = Live::new(state, &options);
        let founded = begin.elapsed();
        let (resident, peak) = memory();
        println!("  resident with exposures   {founded:>12.2?}");
        println!(
            "  memory with the objects   {resident:>8.0} MiB   {:>6.2} of budget (objects {objects:.0}, peak {peak:.0})",
            resident / MEMORY
        );
        changes(&mut live, size);
        let state = live.snapshot().snapshot.state.as_ref().clone();
        drop(live);
        whole(&state, &options);
    }
}
