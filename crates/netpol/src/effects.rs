//! What a change of a cluster means: the sentences behind the rows of a difference.
//!
//! Each effect has a stable code and an identity that does not depend on how often or in which order the change was
//! delivered, so that the same change gives the same findings. Codes are those of [`crate::rules`].

mod outward;

use std::collections::{BTreeMap, BTreeSet};

use plimsoll_model::Timestamp;
use plimsoll_model::exposure::{ExposureLevel, WorkloadName};
use plimsoll_model::vex::{NetworkFinding, Statement};
use rustc_hash::{FxHashMap, FxHashSet};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::conn::ConnSet;
use crate::diff::{ChangeKind, ConnDiff, DiffPeer, DiffRow, Outward, Snapshot, outward as outward_of};
use crate::engine::{Decision, Direction, RuleRef};
use crate::exposure::WorkloadExposure;
use crate::format::ENTIRE_CLUSTER;
use crate::live::{Delta, LiveSnapshot};
use crate::objects::ObjectKey;
use crate::remarks::{self, Policed};
use crate::standing::Condition;

/// How soon somebody should look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Urgency {
    High,
    Medium,
    Low,
    Info,
}

impl Urgency {
    /// The word as printed.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::High => "high",
            Self::Medium => "medium",
            Self::Low => "low",
            Self::Info => "info",
        }
    }
}

/// One consequence of a change, or one remark on a state.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Effect {
    pub urgency: Urgency,
    /// `NETPOL001`…
    pub code: &'static str,
    /// Printed workload or object that it is about.
    pub subject: String,
    /// What happened, in one sentence.
    pub message: String,
    /// Rules that decide after the change, or decided before it.
    pub decided_by: Vec<String>,
    /// What tells it from others of the same code and subject, without words that may be written otherwise one day.
    pub detail: String,
    /// Objects that it is about, the first one first.
    pub objects: Vec<ObjectKey>,
    /// What has to hold for it to stand; none for what only happened.
    pub condition: Option<Condition>,
    /// Who is on the other side: printed workloads, ranges of addresses, `internet`, `entire-cluster`. Empty where that is
    /// not known whole.
    pub peers: Vec<String>,
}

impl Effect {
    pub(crate) fn new(
        code: &'static str,
        urgency: Urgency,
        subject: impl ToString,
        detail: impl ToString,
        message: String,
    ) -> Self {
        Self {
            urgency,
            code,
            subject: subject.to_string(),
            message,
            decided_by: Vec::new(),
            detail: detail.to_string(),
            objects: Vec::new(),
            condition: None,
            peers: Vec::new(),
        }
    }

    pub(crate) fn with(mut self, peers: Vec<String>) -> Self {
        self.peers = peers;
        self
    }

    pub(crate) fn decided(mut self, by: Vec<String>) -> Self {
        self.decided_by = by;
        self
    }

    pub(crate) fn about(mut self, objects: impl IntoIterator<Item = ObjectKey>) -> Self {
        self.objects.extend(objects);
        self
    }

    pub(crate) fn while_holds(mut self, condition: Condition) -> Self {
        self.condition = Some(condition);
        self
    }

    /// The workload that it is about, or the policy as an object of its kind; none where it is about neither.
    pub fn workload(&self, cluster: &str) -> Option<WorkloadName> {
        match &self.condition {
            Some(Condition::Odd { object, .. }) => Some(named(cluster, object)),
            _ => of_printed(cluster, &self.subject)
                .or_else(|| self.objects.first().map(|object| named(cluster, object))),
        }
    }

    /// True when an ignore rule accepts it at that time.
    pub fn accepted_by(&self, rule: &Statement, cluster: &str, now: Timestamp) -> bool {
        let side = match &self.condition {
            Some(condition) => condition.about(),
            None if matches!(self.code, "NETPOL001" | "NETPOL002" | "NETPOL005") => "ingress",
            None => "",
        };
        self.workload(cluster).is_some_and(|workload| {
            let finding = NetworkFinding { code: self.code, workload: &workload, side, peers: &self.peers };
            rule.accepts(&finding, now)
        })
    }

    /// The rules that decide and that its message does not name.
    pub fn other_rules(&self) -> Vec<&str> {
        // Those that shadow a rule are named as rules of the same policy, too.
        if self.code == "NETPOL009" {
            return Vec::new();
        }
        let named = |rule: &&str| !self.message.contains(*rule);
        self.decided_by.iter().map(String::as_str).filter(named).collect()
    }

    /// Text that is equal for the same effect of the same change, whatever else happened: code, subject, detail.
    pub fn identity(&self) -> String {
        format!("{}\n{}\n{}", self.code, self.subject, self.detail)
    }

    /// 128 bits of cluster and [`Effect::identity`] as hexadecimal digits: equal for the same effect whenever it is
    /// found, and in the formats of later versions too. `cluster` is empty for manifests.
    pub fn fingerprint(&self, cluster: &str) -> String {
        let mut hash = Sha256::new();
        for field in ["netpol/1", cluster, self.code, &self.subject, &self.detail] {
            hash.update((field.len() as u64).to_be_bytes());
            hash.update(field.as_bytes());
        }
        hex(&hash.finalize())
    }
}

/// How the internet is named as a peer.
const INTERNET: &str = "internet";
/// Ranges of the outside that a condition remembers.
pub(crate) const MAX_RANGES: usize = 8;
/// The workload that is printed as `namespace/name[Kind]`.
pub fn of_printed(cluster: &str, printed: &str) -> Option<WorkloadName> {
    let (namespace, rest) = printed.split_once('/')?;
    let (name, kind) = rest.strip_suffix(']')?.rsplit_once('[')?;
    Some(WorkloadName {
        cluster: cluster.to_owned(),
        namespace: namespace.to_owned(),
        kind: kind.to_owned(),
        name: name.to_owned(),
    })
}

/// A policy as a workload of its kind.
pub fn named(cluster: &str, object: &ObjectKey) -> WorkloadName {
    WorkloadName {
        cluster: cluster.to_owned(),
        namespace: object.namespace.clone(),
        kind: object.kind.rsplit('/').next().unwrap_or_default().to_owned(),
        name: object.name.clone(),
    }
}

/// A workload of one side or both: what the state before and the one after know of it.
struct Subject<'a> {
    name: &'a str,
    before: Option<(usize, &'a WorkloadExposure)>,
    after: Option<(usize, &'a WorkloadExposure)>,
}

/// A state with its judged exposures.
#[derive(Debug, Clone, Copy)]
pub struct Judged<'a> {
    pub snapshot: &'a Snapshot,
    pub exposures: &'a [WorkloadExposure],
}

impl<'a> Judged<'a> {
    fn by_name(&self) -> BTreeMap<String, (usize, &'a WorkloadExposure)> {
        let place = |exposure: &'a WorkloadExposure| {
            let name = exposure.printed();
            let index = self.snapshot.connectivity.workload_named(&name)?;
            Some((name, (index, exposure)))
        };
        self.exposures.iter().filter_map(place).collect()
    }
}

/// The consequences of a change, most urgent first. `diff` is that of the two snapshots, or a part of it: NETPOL005 is
/// told of the connections that it lists, everything else of the snapshots.
pub fn effects(before: Judged<'_>, after: Judged<'_>, diff: &ConnDiff) -> Vec<Effect> {
    let (mut old, mut new) = (before.by_name(), after.by_name());
    let names: BTreeSet<String> = old.keys().chain(new.keys()).cloned().collect();
    let subject = |name| Subject { name, before: old.remove(name), after: new.remove(name) };
    let subjects = names.iter().map(String::as_str).map(subject);
    let opened = outward_of(&before.snapshot.connectivity, &after.snapshot.connectivity);
    let mut found = told(before.snapshot, after.snapshot, subjects, &opened, diff);
    let known = remarks::of_workloads(&before.snapshot.state, &before.snapshot.connectivity);
    let known: BTreeSet<String> = known.iter().map(Effect::identity).collect();
    let now = remarks::of_workloads(&after.snapshot.state, &after.snapshot.connectivity);
    found.extend(now.into_iter().filter(|remark| !known.contains(&remark.identity())));
    found.sort();
    found
}

/// As [`effects`], of a change of a resident cluster, without remarks on workloads. Every effect follows from what the
/// change did to workloads, whichever of its connections are `listed`; only NETPOL005 is told of these alone.
pub fn effects_of(delta: &Delta, listed: &ConnDiff) -> Vec<Effect> {
    let (before, after) = (delta.before(), delta.after());
    let mut names =
        delta.concerned().unwrap_or_else(|| before.names().chain(after.names()).map(str::to_owned).collect());
    // Of the ends of a connection the objects are told, whether or not the change had to do with them.
    names.extend(listed.rows.iter().filter_map(|row| match &row.destination {
        DiffPeer::Workload(name) => Some(name.clone()),
        _ => None,
    }));
    fn of<'a>(snapshot: &'a LiveSnapshot, name: &str) -> Option<(usize, &'a WorkloadExposure)> {
        let index = snapshot.connectivity().workload_named(name)?;
        Some((index, snapshot.judged.get(index)?.as_deref()?))
    }
    let subject = |name| Subject { name, before: of(before, name), after: of(after, name) };
    let subjects = names.iter().map(String::as_str).map(subject);
    told(&before.snapshot, &after.snapshot, subjects, &delta.outward(), listed)
}

fn told<'a>(
    before: &Snapshot,
    after: &Snapshot,
    subjects: impl Iterator<Item = Subject<'a>>,
    opened: &[Outward],
    listed: &ConnDiff,
) -> Vec<Effect> {
    let mut found = Vec::new();
    let mut objects: Objects<'a> = BTreeMap::new();
    let mut changed: BTreeSet<ObjectKey> = BTreeSet::new();
    let mut seen: FxHashSet<*const ObjectKey> = FxHashSet::default();
    let mut policed = None;
    for subject in subjects {
        exposed(&subject, &mut found);
        isolation(&subject, before, after, &mut policed, &mut found);
        changed_policies(&subject, before, after, &mut seen, &mut changed);
        let known = subject.after.or(subject.before);
        objects.extend(known.map(|(_, exposure)| (subject.name, exposure.objects.as_slice())));
    }
    outward::Outwards { before, after, objects: &objects, rules: FxHashMap::default() }
        .tell(opened, &mut found);
    connections(listed, &objects, &mut found);
    idle_rules(&changed, before, after, &mut found);
    hygiene(before, after, &mut found);
    // That policies no longer isolate a workload says that others may reach it.
    let freed: BTreeSet<String> = found
        .iter()
        .filter(|effect| effect.code == "NETPOL003" && effect.detail == Direction::Ingress.as_str())
        .map(|effect| effect.subject.clone())
        .collect();
    found.retain(|effect| effect.code != "NETPOL002" || !freed.contains(&effect.subject));
    found.sort();
    found.dedup();
    found
}

/// Objects of workloads, by printed name.
type Objects<'a> = BTreeMap<&'a str, &'a [ObjectKey]>;

/// Policies that select a workload and are new or differ. Each is looked at once: it has one place in a state.
fn changed_policies(
    subject: &Subject<'_>,
    before: &Snapshot,
    after: &Snapshot,
    seen: &mut FxHashSet<*const ObjectKey>,
    changed: &mut BTreeSet<ObjectKey>,
) {
    let Some((index, _)) = &subject.after else { return };
    for direction in [Direction::Ingress, Direction::Egress] {
        for key in after.connectivity.selected_by(*index, direction) {
            if !seen.insert(std::ptr::from_ref(key)) {
                continue;
            }
            let differs = match (before.state.get(key), after.state.get(key)) {
                (Some(then), Some(now)) => !std::ptr::eq(then, now) && now.differs_from(then),
                _ => true,
            };
            if differs {
                changed.insert(key.clone());
            }
        }
    }
}

/// NETPOL009: rules of changed policies that change nothing. That a new rule makes old ones needless is for a review of
/// the whole.
fn idle_rules(changed: &BTreeSet<ObjectKey>, before: &Snapshot, after: &Snapshot, found: &mut Vec<Effect>) {
    if changed.is_empty() {
        return;
    }
    let shadowed = before.connectivity.shadowed(Some(changed));
    let old: BTreeSet<&RuleRef> = shadowed.iter().map(|shadowed| &shadowed.rule).collect();
    let now = after.connectivity.shadowed(Some(changed)).into_iter();
    for shadowed in now.filter(|shadowed| !old.contains(&shadowed.rule)) {
        // It stands while nobody touches the rule or those that decide its traffic.
        let mut keys = vec![shadowed.rule.policy.clone()];
        for by in &shadowed.by {
            if !keys.contains(&by.policy) {
                keys.push(by.policy.clone());
            }
        }
        let digest = |key: ObjectKey| after.state.get(&key).map(|object| (key.clone(), object.digest()));
        let objects = keys.into_iter().filter_map(digest).collect();
        found.push(remarks::shadowed(shadowed).while_holds(Condition::AsWritten { objects }));
    }
}

/// NETPOL001: reachable from the internet, on more ports, or possibly. NETPOL002: reachable from every namespace or
/// another one.
fn exposed(subject: &Subject<'_>, found: &mut Vec<Effect>) {
    let (name, Some((_, now))) = (subject.name, subject.after) else { return };
    let then = subject.before.map(|(_, then)| then);
    if then.is_some_and(|then| std::ptr::eq(then, now)) {
        return;
    }
    let level = then.map_or(ExposureLevel::Isolated, |then| then.level);
    let path = now.paths.first().cloned().unwrap_or_default();
    let mut tell = |code, urgency, detail: String, message: String, stands: Option<ExposureLevel>| {
        let mut effect = Effect::new(code, urgency, name, detail, message).about(now.objects.clone());
        if code == "NETPOL001" {
            effect.peers.push(INTERNET.to_owned());
        } else if effect.detail == "cluster" {
            effect.peers.push(ENTIRE_CLUSTER.to_owned());
        }
        effect.condition = stands.map(Condition::Reachable);
        found.push(effect);
    };
    let none = ConnSet::none();
    let more = now.internet_ports.subtract(then.map_or(&none, |then| &then.internet_ports));
    if now.level == ExposureLevel::Open && level < ExposureLevel::Open {
        let message = format!("{name} became reachable from the internet: {path}");
        tell("NETPOL001", Urgency::High, format!("internet {more}"), message, Some(now.level));
        return;
    }
    if !more.is_empty() {
        let message = format!("{name} became reachable from the internet on more ports, {more}: {path}");
        tell("NETPOL001", Urgency::High, format!("internet {more}"), message, Some(now.level));
    }
    let possible = then.map_or(ExposureLevel::Isolated, |then| then.at_most);
    if now.at_most == ExposureLevel::Open && possible < ExposureLevel::Open && now.level < ExposureLevel::Open
    {
        let why = now.caveats.first().cloned().unwrap_or_default();
        let message = format!("{name} may have become reachable from the internet: {why}");
        tell("NETPOL001", Urgency::Medium, "internet possible".to_owned(), message, None);
    }
    // A new workload without policies is what NETPOL006 says.
    if now.level != ExposureLevel::Controlled || then.is_none() && now.ingress_policies == 0 {
        return;
    }
    if now.from_any_pod && !then.is_some_and(|then| then.from_any_pod) {
        let any = now.paths.iter().find(|path| path.contains("pod of the cluster")).unwrap_or(&path);
        let message = format!("{name} became reachable from the whole cluster: {any}");
        tell("NETPOL002", Urgency::High, "cluster".to_owned(), message, Some(now.level));
    } else if level < ExposureLevel::Controlled {
        let message = format!("{name} became reachable from other namespaces: {path}");
        tell("NETPOL002", Urgency::High, "namespaces".to_owned(), message, Some(now.level));
    }
}

/// NETPOL003: isolation lost. NETPOL006: a new workload that no policy selects. NETPOL010: selected otherwise although
/// no policy changed.
fn isolation(
    subject: &Subject<'_>,
    before: &Snapshot,
    after: &Snapshot,
    policed: &mut Option<Policed>,
    found: &mut Vec<Effect>,
) {
    let (old, new) = (&before.connectivity, &after.connectivity);
    let (name, Some((index, exposure))) = (subject.name, &subject.after) else { return };
    for direction in [Direction::Ingress, Direction::Egress] {
        if subject.before.is_some_and(|(then, _)| old.selected_alike(then, new, *index, direction)) {
            continue;
        }
        let (now, word) = (new.selected_by(*index, direction), direction.as_str());
        let holdable = new.endpoints().get(*index).is_some_and(remarks::holdable);
        let effect = |urgency, code, detail: &str, message| {
            Effect::new(code, urgency, name, detail, message).about(exposure.objects.clone())
        };
        let Some((then, _)) = &subject.before else {
            if now.is_empty() && holdable {
                let policed = policed.get_or_insert_with(|| Policed::of(new));
                let here = policed.has(&exposure.namespace, direction);
                let (urgency, why) = match (direction, here) {
                    (Direction::Ingress, true) => {
                        (Urgency::Medium, ", though its namespace has such policies")
                    }
                    (Direction::Ingress, false) => (Urgency::Low, ", like every workload of its namespace"),
                    (Direction::Egress, true) => (Urgency::Low, ", though its namespace has such policies"),
                    // Nobody there meant to hold egress.
                    (Direction::Egress, false) => continue,
                };
                let message = format!("new workload {name} is selected by no policy for {word}{why}");
                let condition = Condition::Unselected(direction);
                found.push(effect(urgency, "NETPOL006", word, message).while_holds(condition));
            }
            continue;
        };
        let then_keys = old.selected_by(*then, direction);
        if old.is_isolated(*then, direction) && !new.is_isolated(*index, direction) {
            let message = format!("{name} is no longer isolated for {word}");
            let by = then_keys.iter().map(ToString::to_string).collect();
            let condition = Condition::NotIsolated(direction);
            found.push(effect(Urgency::High, "NETPOL003", word, message).decided(by).while_holds(condition));
        }
        let unchanged = |key: &ObjectKey| match (before.state.get(key), after.state.get(key)) {
            (Some(then), Some(now)) => !now.differs_from(then),
            _ => false,
        };
        let only_in = |these: &[&ObjectKey], those: &[&ObjectKey]| -> Vec<ObjectKey> {
            let alone = these.iter().copied().filter(|key| !those.contains(key));
            alone.filter(|key| unchanged(key)).cloned().collect()
        };
        let (gone, come) = (only_in(&then_keys, &now), only_in(&now, &then_keys));
        let names = |keys: &[ObjectKey]| keys.iter().map(ToString::to_string).collect::<Vec<_>>();
        if !gone.is_empty() {
            let (names, list) = (names(&gone), names(&gone).join(", "));
            let message = format!("labels changed, and {name} is no longer selected for {word} by {list}");
            let detail = format!("{word} lost {list}");
            let condition = Condition::Deselected { direction, policies: gone };
            let told = effect(Urgency::High, "NETPOL010", &detail, message);
            found.push(told.decided(names).while_holds(condition));
        }
        if !come.is_empty() {
            let list = names(&come).join(", ");
            let message = format!(
                "labels changed, and {name} is now selected for {word} by {list}, which may break connections"
            );
            let detail = format!("{word} gained {list}");
            found.push(effect(Urgency::Low, "NETPOL010", &detail, message).decided(names(&come)));
        }
    }
}

fn decided(row: &DiffRow) -> (Vec<String>, Vec<ObjectKey>) {
    let closed = row.kind == ChangeKind::Removed;
    words(decisive(&row.decided_before, &row.decided_after, closed))
}

/// The decisions that make the difference. Of what opened: the rules that allow it now and did not before, else all that
/// do, else what held it before and is gone. Of what closed: the rules that allowed it and do not any more, else what
/// holds it now and did not before, else all that does.
fn decisive<'a>(before: &'a [Decision], after: &'a [Decision], closed: bool) -> Vec<&'a Decision> {
    let same = |a: &Decision, b: &Decision| {
        (&a.policy, a.rule, a.action, &a.conn) == (&b.policy, b.rule, b.action, &b.conn)
    };
    let allows = |decision: &&Decision| decision.action == "allow" || decision.action == "pass";
    let fresh = |these: &'a [Decision], those: &'a [Decision]| -> Vec<&'a Decision> {
        these.iter().filter(|one| !those.iter().any(|other| same(one, other))).collect()
    };
    let (gone, come) = (fresh(before, after), fresh(after, before));
    let of = |these: &[&'a Decision], allowing: bool| -> Vec<&'a Decision> {
        these.iter().copied().filter(|one| allows(one) == allowing).collect()
    };
    let all = |these: &'a [Decision], allowing: bool| of(&these.iter().collect::<Vec<_>>(), allowing);
    let choices = match closed {
        true => [of(&gone, true), of(&come, false), all(after, false), all(before, true)],
        false => [of(&come, true), all(after, true), of(&gone, false), all(before, false)],
    };
    let mut chosen = choices.into_iter().find(|chosen| !chosen.is_empty()).unwrap_or_default();
    let mut seen: Vec<&Decision> = Vec::new();
    chosen.retain(|one| {
        let first = !seen.iter().any(|other| same(one, other));
        seen.push(one);
        first
    });
    chosen
}

fn words(decisions: Vec<&Decision>) -> (Vec<String>, Vec<ObjectKey>) {
    let mut policies: Vec<ObjectKey> = Vec::new();
    for decision in &decisions {
        if !policies.contains(&decision.policy) {
            policies.push(decision.policy.clone());
        }
    }
    (decisions.iter().map(ToString::to_string).collect(), policies)
}

/// The first 128 bits of a digest as hexadecimal digits.
fn hex(digest: &[u8]) -> String {
    digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

/// NETPOL005: each connection between workloads that differs.
fn connections(diff: &ConnDiff, known: &Objects<'_>, found: &mut Vec<Effect>) {
    for row in &diff.rows {
        if matches!((&row.source, &row.destination), (DiffPeer::Range(_), _) | (_, DiffPeer::Range(_))) {
            continue;
        }
        let change = format!("{} => {}", row.source, row.destination);
        let (urgency, message) = match row.kind {
            ChangeKind::Added => (Urgency::Info, format!("{change}: {} added", row.after)),
            ChangeKind::Changed => {
                let (lost, told) = (
                    row.before.subtract(&row.after),
                    format!("{change}: {} became {}", row.before, row.after),
                );
                match lost.is_empty() || row.source_differs || row.destination_differs {
                    true => (Urgency::Info, told),
                    false => (Urgency::Medium, format!("{told}, which may break what uses {lost}")),
                }
            }
            // Of a workload that is gone, or a new one by the same name, nobody waits for connections.
            ChangeKind::Removed if row.source_differs || row.destination_differs => {
                (Urgency::Info, format!("{change}: {} removed", row.before))
            }
            ChangeKind::Removed => {
                (Urgency::Medium, format!("{change}: {} removed, which may break it", row.before))
            }
            ChangeKind::Unchanged => continue,
        };
        let detail = format!("{} {} -> {}", row.source, row.before, row.after);
        let (by, policies) = decided(row);
        let subject = row.destination.to_string();
        let objects = policies
            .into_iter()
            .chain(known.get(subject.as_str()).copied().unwrap_or_default().iter().cloned());
        let effect = Effect::new("NETPOL005", urgency, &subject, detail, message);
        found.push(effect.decided(by).about(objects).with(vec![row.source.to_string()]));
    }
}

/// NETPOL007, 008, 011, 012, 020: what is odd about policies now and was not before.
fn hygiene(before: &Snapshot, after: &Snapshot, found: &mut Vec<Effect>) {
    let (old, new) = (&before.connectivity, &after.connectivity);
    if !old.shares_warnings(new) {
        found.extend(remarks::of_warnings(remarks::new(old, new), &after.state, new));
    }
}

/// NETPOL030: workloads of which what runs (after) allows otherwise than what is declared (before), one finding each.
pub fn drift(diff: &ConnDiff) -> Vec<Effect> {
    #[derive(Default)]
    struct Drift {
        counts: [usize; 3],
        rows: Vec<String>,
        objects: BTreeSet<ObjectKey>,
    }
    let mut found: BTreeMap<String, Drift> = BTreeMap::new();
    for row in diff.rows.iter().filter(|row| row.kind != ChangeKind::Unchanged) {
        let subject = match &row.destination {
            DiffPeer::Workload(name) => name.clone(),
            _ => row.source.to_string(),
        };
        let drift = found.entry(subject).or_default();
        let slot = match row.kind {
            ChangeKind::Added => 0,
            ChangeKind::Removed => 1,
            ChangeKind::Changed | ChangeKind::Unchanged => 2,
        };
        if let Some(count) = drift.counts.get_mut(slot) {
            *count += 1;
        }
        drift.rows.push(format!(
            "{} => {}: declared {}, allowed {}",
            row.source, row.destination, row.before, row.after
        ));
        drift.objects.extend(decided(row).1);
    }
    let told = found.into_iter().map(|(subject, Drift { counts: [more, fewer, other], rows, objects })| {
        let message = format!(
            "{subject} runs with other connections than are declared: {more} more, {fewer} fewer, {other} different; \
             first {}",
            rows.first().map(String::as_str).unwrap_or_default()
        );
        Effect::new("NETPOL030", Urgency::Medium, &subject, rows.join("\n"), message).about(objects)
    });
    told.collect()
}
