//! A cluster in memory: the engine that is kept up to date event by event, and what a settled change says.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use plimsoll_bus::fold::Publication;
use plimsoll_model::exposure::{Exposure, ExposureLevel, WorkloadName};
use plimsoll_model::fact::{ConnectionChange, ConnectionChangeKind, ExposureFact, NetworkNote, WorkloadFact};
use plimsoll_model::time::Timestamp;
use plimsoll_netpol::conn::ConnSet;
use plimsoll_netpol::diff::{ChangeKind, DiffRow};
use plimsoll_netpol::effects::{Effect, named, of_printed};
use plimsoll_netpol::engine::{Decision, Options};
use plimsoll_netpol::live::{Change, Live, LiveSnapshot, Settled, Transient, Window};
use plimsoll_netpol::objects::ObjectKey;
use plimsoll_netpol::standing::Standing;
use plimsoll_proto::v1;

use crate::state::{Cluster, Policy};

/// Connections that were open in between which one fact carries at most.
const MAX_CHANGES: usize = 1000;
/// Effects that are remembered until a state is settled.
const MAX_EFFECTS: usize = 10_000;
/// Consequences of changes that are kept at most, the most urgent of each change first.
const MAX_STANDING: usize = 20_000;

/// A cluster in memory.
pub struct Resident {
    cluster: Cluster,
    /// None until the first event, and while the state is away.
    live: Option<Live>,
    window: Window,
    /// Effects of the events since the last settled state, most urgent first for each event.
    effects: Vec<Effect>,
    /// Printed names of what something came to stand of since, or ceased to.
    touched: BTreeSet<String>,
    /// Whether the view is complete and policies are enforced, as the facts that were published last say it.
    trust: Option<(bool, bool)>,
    /// Somebody else may have published since the checkpoint: the next fact is absolute in everything.
    taken_over: bool,
}

/// What a settled change says.
pub struct Outcome {
    pub fact: ExposureFact,
    /// Most urgent first.
    pub effects: Vec<Effect>,
}

impl Resident {
    /// The state of a checkpoint.
    pub fn new(cluster: Cluster) -> Self {
        Self {
            cluster,
            live: None,
            window: Window::default(),
            effects: Vec::new(),
            touched: BTreeSet::new(),
            trust: None,
            taken_over: false,
        }
    }

    /// The state of a checkpoint that another owner may have published beyond. What it published is not known, so the
    /// first fact says everything, as one with base 0.
    pub fn taken_over(cluster: Cluster) -> Self {
        Self { taken_over: true, ..Self::new(cluster) }
    }

    /// What is to be checkpointed.
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// The engine, built from the objects of the checkpoint when it is needed first.
    fn live(&mut self) -> &mut Live {
        let objects = &self.cluster.objects;
        self.live.get_or_insert_with(|| Live::new(objects.as_ref().clone(), &Options::default()))
    }

    /// Folds one event in. What stands afterwards follows from the events alone, however they are settled. What the
    /// first event of a cluster brings is no change for the worse.
    ///
    /// # Errors
    /// An event or objects that are none; nothing has changed then.
    pub fn apply(&mut self, event: &v1::ClusterChanged, lines: &[u8], seq: u64) -> Result<(), String> {
        let first_view = self.cluster.name.is_empty();
        let changes = self.cluster.read(event, lines)?;
        let mut keys: Vec<ObjectKey> = Vec::new();
        let mut replaced = false;
        for change in &changes {
            match change {
                Change::Apply(object) => keys.push(object.key()),
                Change::Delete(key) => keys.push(key.clone()),
                Change::Replace(_, objects) => {
                    replaced = true;
                    keys.extend(objects.iter().map(plimsoll_netpol::objects::Object::key));
                }
            }
        }
        let delta = self.live().changes(changes);
        let after = Arc::clone(delta.after());
        let effects = self.window.take(delta);
        self.cluster.changed(&keys, replaced, after.state(), seq);
        self.stand(if first_view { &[] } else { &effects }, &after);
        if self.effects.len() < MAX_EFFECTS {
            self.effects.extend(effects);
        }
        Ok(())
    }

    /// What the events since the last call say, in absolute exposures of the workloads that differ; of all of them for
    /// a cluster that is seen for the first time (`base_seq` 0).
    pub fn settle(&mut self, policy: &Policy, publication: &Publication) -> Outcome {
        let base_seq = publication.base_seq;
        let settled = self.window.settle();
        let after = self.live().snapshot();
        let touched = std::mem::take(&mut self.touched);
        let notes = self.notes();
        let trust = (self.cluster.is_complete(policy), policy.enforced);
        // Every workload is told again when its last word ages: what was seen again is not stale.
        let aged = self.cluster.as_of - self.cluster.published_full > policy.max_age / 4;
        let full = base_seq == 0 || aged || self.taken_over;
        let concerned = match &settled {
            Some(settled) => settled.concerned.as_ref(),
            None => Some(&BTreeSet::new()),
        };
        let concerned = concerned.filter(|_| !full && self.trust == Some(trust));
        let (mut workloads, mut removed) = (Vec::new(), Vec::new());
        let names: BTreeSet<String> = match concerned {
            Some(names) => names.union(&touched).cloned().collect(),
            None => after.names().map(str::to_owned).collect(),
        };
        let mut seen: BTreeSet<String> = BTreeSet::new();
        for printed in names {
            let Some(exposed) = after.exposure_named(&printed) else {
                let gone = of_printed(&self.cluster.name, &printed);
                removed.extend(gone.and_then(|gone| self.cluster.published.remove(&gone.to_string())));
                continue;
            };
            let key = self.cluster.workload_name(&exposed).to_string();
            let notes = notes.get(&key).map(|(_, notes)| notes.clone()).unwrap_or_default();
            let fact = self.cluster.fact(&after, exposed, notes, policy);
            if full || self.cluster.published.get(&key).is_none_or(|known| differs(known, &fact)) {
                self.cluster.published.insert(key.clone(), fact.clone());
                workloads.push(fact);
            }
            seen.insert(key);
        }
        if concerned.is_none() {
            let published = &mut self.cluster.published;
            removed.extend(published.extract_if(.., |key, _| !seen.contains(key)).map(|(_, fact)| fact));
        }
        self.policies(notes, &seen, full, trust, &mut workloads, &mut removed);
        workloads.sort_by(|a, b| a.name.cmp(&b.name));
        if full {
            self.cluster.published_full = self.cluster.as_of;
        }
        self.trust = Some(trust);
        let base_seq = if std::mem::take(&mut self.taken_over) { 0 } else { base_seq };
        let (changes, unlisted, transient) = match settled {
            Some(Settled { connections, unlisted, transient, .. }) => (
                connections.rows.iter().filter_map(connection_change).collect(),
                unlisted,
                transient.iter().take(MAX_CHANGES).map(transient_change).collect(),
            ),
            None => Default::default(),
        };
        let fact = ExposureFact {
            cluster: self.cluster.name.clone(),
            base_seq,
            target_seq: publication.target_seq,
            publication: publication.number,
            through_seq: publication.through_seq,
            workloads,
            removed: removed.into_iter().map(|fact| fact.name).collect(),
            changes,
            unlisted,
            transient,
            actor: self.cluster.actor.clone(),
        };
        Outcome { fact, effects: std::mem::take(&mut self.effects) }
    }

    /// Brings up to date what stands.
    fn stand(&mut self, effects: &[Effect], after: &LiveSnapshot) {
        let (standing, touched) = (&mut self.cluster.standing, &mut self.touched);
        let mut known: BTreeMap<_, usize> =
            standing.iter().enumerate().map(|(n, one)| (one.key(), n)).collect();
        for one in effects.iter().filter_map(Standing::of) {
            let subject = one.subject.clone();
            let told = match known.get(&one.key()) {
                Some(&n) => standing.get_mut(n).is_some_and(|known| known.take(one)),
                None if standing.len() < MAX_STANDING => {
                    known.insert(one.key(), standing.len());
                    standing.push(one);
                    true
                }
                None => false,
            };
            if told {
                touched.insert(subject);
            }
        }
        standing.retain(|one| {
            let holds = one.holds(after);
            if !holds {
                touched.insert(one.subject.clone());
            }
            holds
        });
    }

    /// What stands, by the printed name of the workload or policy that it is told of.
    fn notes(&self) -> BTreeMap<String, (WorkloadName, Vec<NetworkNote>)> {
        let mut notes: BTreeMap<String, (WorkloadName, Vec<NetworkNote>)> = BTreeMap::new();
        for one in &self.cluster.standing {
            let name = match one.policy() {
                Some(object) => Some(named(&self.cluster.name, object)),
                None => of_printed(&self.cluster.name, &one.subject),
            };
            let Some(name) = name else { continue };
            let note = NetworkNote {
                code: one.code.clone(),
                about: one.about().to_owned(),
                message: one.message.clone(),
                decided_by: one.decided_by.clone(),
                peers: one.peers.clone(),
            };
            notes.entry(name.to_string()).or_insert_with(|| (name, Vec::new())).1.push(note);
        }
        notes.values_mut().for_each(|(_, notes)| notes.sort());
        notes
    }

    /// Policies that something is odd about, told as workloads without containers.
    fn policies(
        &mut self,
        notes: BTreeMap<String, (WorkloadName, Vec<NetworkNote>)>,
        seen: &BTreeSet<String>,
        full: bool,
        (complete, enforced): (bool, bool),
        workloads: &mut Vec<WorkloadFact>,
        removed: &mut Vec<WorkloadFact>,
    ) {
        let mut odd: BTreeMap<String, WorkloadFact> = BTreeMap::new();
        let known = &self.cluster.published;
        for (key, (name, notes)) in notes {
            if seen.contains(&key) || known.contains_key(&key) {
                continue;
            }
            let exposure = Exposure {
                level: ExposureLevel::Isolated,
                paths: Vec::new(),
                caveats: Vec::new(),
                reaches: 0,
                as_of: Timestamp(self.cluster.as_of),
                complete,
                enforced,
            };
            let (containers, privileged, replicas, changed_seq) = Default::default();
            odd.insert(
                key,
                WorkloadFact { name, exposure, changed_seq, containers, privileged, replicas, notes },
            );
        }
        let before = std::mem::take(&mut self.cluster.published_policies);
        for (key, fact) in &odd {
            if full || before.get(key).is_none_or(|known| differs(known, fact)) {
                workloads.push(fact.clone());
            }
        }
        removed.extend(before.into_iter().filter(|(key, _)| !odd.contains_key(key)).map(|(_, fact)| fact));
        self.cluster.published_policies = odd;
    }
}

/// True when two facts of a workload differ in more than when it was seen.
fn differs(known: &WorkloadFact, fact: &WorkloadFact) -> bool {
    let mut known = known.clone();
    known.exposure.as_of = fact.exposure.as_of;
    known != *fact
}

fn connection_change(row: &DiffRow) -> Option<ConnectionChange> {
    let kind = match row.kind {
        ChangeKind::Added => ConnectionChangeKind::Added,
        ChangeKind::Removed => ConnectionChangeKind::Removed,
        ChangeKind::Changed => ConnectionChangeKind::Changed,
        ChangeKind::Unchanged => return None,
    };
    let decided = row.decided_before.iter().chain(&row.decided_after);
    let mut because: Vec<String> = decided.map(|decision| decision.policy.to_string()).collect();
    because.sort();
    because.dedup();
    let words = |decisions: &[Decision]| decisions.iter().map(ToString::to_string).collect();
    Some(ConnectionChange {
        kind,
        source: row.source.to_string(),
        destination: row.destination.to_string(),
        before: row.before.to_string(),
        after: row.after.to_string(),
        because,
        decided_before: words(&row.decided_before),
        decided_after: words(&row.decided_after),
    })
}

fn transient_change(transient: &Transient) -> ConnectionChange {
    let words = |conn: &ConnSet| conn.to_string();
    ConnectionChange {
        kind: if transient.lasting.is_empty() {
            ConnectionChangeKind::Added
        } else {
            ConnectionChangeKind::Changed
        },
        source: transient.source.to_string(),
        destination: transient.destination.to_string(),
        before: words(&transient.lasting),
        after: words(&transient.lasting.union(&transient.between)),
        because: Vec::new(),
        decided_before: Vec::new(),
        decided_after: Vec::new(),
    }
}
