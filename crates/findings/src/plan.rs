//! Open findings -> the actions that remove most risk first.
//!
//! Risk is the sum of ranks. An upgrade or a rollout ends findings; a policy lowers the exposure factor of those of one
//! workload. What an action removes only shrinks as others are taken before it, so the greedy choice can be lazy: a stale
//! value at the top of the heap is computed again and put back.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

use plimsoll_model::exposure::ExposureLevel;
use plimsoll_model::finding::FindingState;
use plimsoll_model::{Action, ActionKind, Finding, Holder, PackageKey};
use plimsoll_risk::assess::exposure_factor;

use crate::desired::natural;
use crate::network::{is_network, opens};

/// An open finding with the repository whose image has it (`registry/repository`), where known.
#[derive(Debug, Clone, Copy)]
pub struct PlanFinding<'a> {
    pub finding: &'a Finding,
    pub repository: &'a str,
}

/// A workload whose tag points at another image by now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RolloutCandidate {
    /// As the workload displays.
    pub workload: String,
    /// Ids of the findings of the workload that the newer image does not have.
    pub ends: Vec<String>,
}

/// A repository whose images are built on something that is newer by now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RebuildCandidate {
    /// `registry/repository:tag` of the newer base.
    pub base: String,
    /// `registry/repository` of what is to be rebuilt.
    pub scope: String,
    /// Ids of the findings that came with the base, and that the newer one does not have.
    pub ends: Vec<String>,
}

/// The exposure that a policy which closes the outside leaves.
const AFTER_POLICY: ExposureLevel = ExposureLevel::Small;
/// What an action must remove to be listed.
const LEAST: f64 = 1e-9;

struct Candidate {
    kind: ActionKind,
    /// Index of a finding, with the factor that its residual rank is multiplied by.
    effects: Vec<(usize, f64)>,
}

#[derive(PartialEq)]
struct Entry {
    value: f64,
    candidate: usize,
}

impl Eq for Entry {}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> Ordering {
        // Candidates are sorted, so that the lower index wins a tie, always.
        self.value.total_cmp(&other.value).then(other.candidate.cmp(&self.candidate))
    }
}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The greedy plan: at most `limit` actions, each with what it removes after those before it. Closed findings in the input are
/// ignored. The result does not depend on the order of the input.
pub fn plan(
    findings: &[PlanFinding<'_>],
    rollouts: &[RolloutCandidate],
    rebuilds: &[RebuildCandidate],
    limit: usize,
) -> Vec<Action> {
    let mut open: Vec<&PlanFinding<'_>> =
        findings.iter().filter(|f| f.finding.state == FindingState::Open).collect();
    open.sort_by(|a, b| a.finding.id.cmp(&b.finding.id));
    let candidates = candidates(&open, rollouts, rebuilds);
    let mut residual: Vec<f64> = open.iter().map(|f| f.finding.assessment.rank).collect();
    let total: f64 = residual.iter().sum();
    let mut heap: BinaryHeap<Entry> = candidates
        .iter()
        .enumerate()
        .map(|(candidate, c)| Entry { value: value(c, &residual), candidate })
        .collect();
    let mut actions = Vec::new();
    while actions.len() < limit {
        let Some(top) = heap.pop() else { break };
        let Some(candidate) = candidates.get(top.candidate) else { continue };
        let now = value(candidate, &residual);
        if now < LEAST {
            continue;
        }
        let fresh = Entry { value: now, candidate: top.candidate };
        if heap.peek().is_some_and(|next| *next > fresh) {
            heap.push(fresh);
            continue;
        }
        let share = if total > 0.0 { now / total } else { 0.0 };
        actions.push(action(candidate, &open, &residual, now, share));
        for &(n, factor) in &candidate.effects {
            if let Some(rank) = residual.get_mut(n) {
                *rank *= factor;
            }
        }
    }
    actions
}

/// Which of two steps that remove the same comes first: what is built already, before what has to be changed.
fn effort(kind: &ActionKind) -> u8 {
    match kind {
        ActionKind::Rollout { .. } => 0,
        ActionKind::RebuildOnBase { .. } => 1,
        ActionKind::UpgradePackage { .. } => 2,
        ActionKind::ApplyPolicy { .. } => 3,
    }
}

fn value(candidate: &Candidate, residual: &[f64]) -> f64 {
    candidate.effects.iter().map(|&(n, factor)| residual.get(n).map_or(0.0, |r| r * (1.0 - factor))).sum()
}

/// A package in a place, with the findings that its upgrade to a version ends.
type Upgrades<'a> = BTreeMap<(&'a PackageKey, &'a str), (Vec<usize>, &'a str)>;

/// Upgrades as steps. Distribution packages of one place that the same vulnerabilities end in the same version come from
/// one source package and are upgraded by one step.
fn together<'a>(open: &[&'a PlanFinding<'a>], upgrades: Upgrades<'a>) -> Vec<Candidate> {
    type Step<'a> =
        (Option<&'a plimsoll_model::Release>, &'a str, &'a str, Vec<&'a str>, Option<&'a PackageKey>);
    let mut steps: BTreeMap<Step<'a>, (Vec<&'a PackageKey>, Vec<usize>)> = BTreeMap::new();
    for ((package, scope), (ends, version)) in upgrades {
        let mut vulnerabilities: Vec<&str> =
            ends.iter().filter_map(|n| open.get(*n)).map(|f| f.finding.key.vulnerability.as_str()).collect();
        vulnerabilities.sort_unstable();
        vulnerabilities.dedup();
        let own = (!package.ecosystem.is_distribution()).then_some(package);
        let step = steps.entry((package.release.as_ref(), scope, version, vulnerabilities, own)).or_default();
        step.0.push(package);
        step.1.extend(ends);
    }
    let candidate =
        |((_, scope, version, _, _), (packages, ends)): (Step<'a>, (Vec<&'a PackageKey>, Vec<usize>))| {
            let mut packages = packages.into_iter();
            let mut package = packages.next().map(ToString::to_string).unwrap_or_default();
            for more in packages {
                package.push_str(", ");
                package.push_str(&more.name);
            }
            let kind =
                ActionKind::UpgradePackage { package, version: version.to_owned(), scope: scope.to_owned() };
            Candidate { kind, effects: ends.into_iter().map(|n| (n, 0.0)).collect() }
        };
    steps.into_iter().map(candidate).collect()
}

fn candidates(
    open: &[&PlanFinding<'_>],
    rollouts: &[RolloutCandidate],
    rebuilds: &[RebuildCandidate],
) -> Vec<Candidate> {
    let mut upgrades: Upgrades<'_> = BTreeMap::new();
    let mut policies: BTreeMap<String, Vec<(usize, f64)>> = BTreeMap::new();
    let mut ids: BTreeMap<&str, usize> = BTreeMap::new();
    for (n, PlanFinding { finding, repository }) in open.iter().enumerate() {
        ids.insert(&finding.id, n);
        if let Some(fixed) = &finding.fixed {
            let (ends, version) =
                upgrades.entry((&finding.key.package, repository)).or_insert_with(|| (Vec::new(), fixed));
            ends.push(n);
            if natural(fixed, version) == Ordering::Greater {
                *version = fixed;
            }
        }
        if let Holder::Workload { workload, .. } = &finding.key.holder
            && is_network(&finding.key.vulnerability)
        {
            // What a change opened, a policy closes.
            if opens(&finding.key.vulnerability, &finding.key.package.name) {
                policies.entry(workload.to_string()).or_default().push((n, 0.0));
            }
            continue;
        }
        let factors = &finding.assessment.factors;
        // Only a proved exposure can be lowered by a policy: what is missing elsewhere is the proof.
        if let Holder::Workload { workload, .. } = &finding.key.holder
            && factors.unproved.is_none()
            && factors.level > AFTER_POLICY
        {
            let factor = exposure_factor(AFTER_POLICY) / exposure_factor(factors.level);
            policies.entry(workload.to_string()).or_default().push((n, factor));
        }
    }
    let mut candidates: Vec<Candidate> = Vec::new();
    candidates.extend(together(open, upgrades));
    candidates.extend(
        policies
            .into_iter()
            .map(|(workload, effects)| Candidate { kind: ActionKind::ApplyPolicy { workload }, effects }),
    );
    let mut by_workload: BTreeMap<&str, BTreeSet<usize>> = BTreeMap::new();
    for rollout in rollouts {
        let ends = rollout.ends.iter().filter_map(|id| ids.get(id.as_str()).copied());
        by_workload.entry(&rollout.workload).or_default().extend(ends);
    }
    candidates.extend(by_workload.into_iter().map(|(workload, ends)| Candidate {
        kind: ActionKind::Rollout { workload: workload.to_owned() },
        effects: ends.into_iter().map(|n| (n, 0.0)).collect(),
    }));
    let mut by_base: BTreeMap<(&str, &str), BTreeSet<usize>> = BTreeMap::new();
    for rebuild in rebuilds {
        let ends = rebuild.ends.iter().filter_map(|id| ids.get(id.as_str()).copied());
        by_base.entry((&rebuild.base, &rebuild.scope)).or_default().extend(ends);
    }
    candidates.extend(by_base.into_iter().map(|((base, scope), ends)| Candidate {
        kind: ActionKind::RebuildOnBase { base: base.to_owned(), scope: scope.to_owned() },
        effects: ends.into_iter().map(|n| (n, 0.0)).collect(),
    }));
    candidates.sort_by(|a, b| effort(&a.kind).cmp(&effort(&b.kind)).then_with(|| a.kind.cmp(&b.kind)));
    candidates
}

fn action(
    candidate: &Candidate,
    open: &[&PlanFinding<'_>],
    residual: &[f64],
    removes: f64,
    share: f64,
) -> Action {
    let touched: Vec<&Finding> = candidate
        .effects
        .iter()
        .filter(|(n, _)| residual.get(*n).is_some_and(|r| *r > 0.0))
        .filter_map(|(n, _)| open.get(*n).map(|f| f.finding))
        .collect();
    let holders: BTreeSet<String> = touched.iter().map(|f| holder_name(&f.key.holder)).collect();
    let count = touched.len();
    let findings = if count == 1 { "1 finding".to_owned() } else { format!("{count} findings") };
    let sentence = match &candidate.kind {
        ActionKind::UpgradePackage { package, version, scope } => {
            let name = package.split_once('/').map_or(package.as_str(), |(_, name)| name);
            let place = if scope.is_empty() { String::new() } else { format!(" in {scope}") };
            format!("Upgrade {name} to {version} or later{place}: ends {findings}.")
        }
        ActionKind::RebuildOnBase { base, scope } => format!("Rebuild {scope} on {base}: ends {findings}."),
        ActionKind::ApplyPolicy { workload } => {
            format!(
                "Close {workload} to callers outside its namespace with a network policy: lowers {findings}."
            )
        }
        ActionKind::Rollout { workload } => {
            format!("Roll {workload} out with the image that its tag points at by now: ends {findings}.")
        }
    };
    let mut ids: Vec<String> = touched.iter().map(|f| f.id.clone()).collect();
    ids.sort();
    Action {
        kind: candidate.kind.clone(),
        sentence,
        findings: ids,
        holders: holders.into_iter().collect(),
        removes,
        share,
    }
}

fn holder_name(holder: &Holder) -> String {
    match holder {
        Holder::Workload { workload, .. } => workload.to_string(),
        Holder::Repository { registry, repository, .. } => format!("{registry}/{repository}"),
    }
}
