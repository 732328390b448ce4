//! Namespaces that are told for themselves: what was told adds up to what is told at once at the end.

use std::collections::{BTreeMap, BTreeSet};

use plimsoll_bus::fold::Publication;
use plimsoll_model::fact::{ExposureFact, WorkloadFact};
use plimsoll_netpol_service::resident::Resident;
use plimsoll_netpol_service::state::Cluster;
use proptest::prelude::*;

use super::{POLICY, Reader};

const SPACES: [&str; 3] = ["red", "green", "blue"];

/// An event, and the namespaces that it touches; none: any.
#[derive(Debug, Clone)]
struct Event {
    mode: &'static str,
    scope: String,
    yaml: String,
    touches: BTreeSet<&'static str>,
}

#[derive(Debug, Clone)]
enum Step {
    Send(Event),
    /// What waits for none of these namespaces is told.
    Tell(BTreeSet<&'static str>),
    /// Another owner starts from the checkpoint.
    HandOver,
    /// The owner dies after publishing all that does not wait, and before its checkpoint.
    Die(BTreeSet<&'static str>),
}

fn space() -> impl Strategy<Value = &'static str> {
    proptest::sample::select(SPACES.as_slice())
}

fn document(space: &'static str) -> impl Strategy<Value = String> {
    let names = || proptest::sample::select(["web", "db"].as_slice());
    let other = proptest::sample::select(SPACES.as_slice());
    prop_oneof![
        4 => (names(), names(), 1u32..3).prop_map(move |(name, label, tag)| format!(
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: {name}, namespace: {space}}}\nspec:\n  selector: {{matchLabels: \
             {{app: {label}}}}}\n  template:\n    metadata: {{labels: {{app: {label}}}}}\n    spec: {{containers: [{{name: c, \
             image: 'i:{tag}', ports: [{{containerPort: 80}}]}}]}}\n---\n"
        )),
        3 => (names(), names(), other, any::<bool>()).prop_map(move |(name, app, other, egress)| {
            let (kind, peers) = if egress { ("Egress", "egress: [{to") } else { ("Ingress", "ingress: [{from") };
            format!(
                "{{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {{name: {name}, namespace: {space}}}, spec: \
                 {{podSelector: {{matchLabels: {{app: {app}}}}}, policyTypes: [{kind}], {peers}: [{{namespaceSelector: \
                 {{matchLabels: {{team: {other}}}}}}}]}}]}}}}\n---\n"
            )
        }),
        1 => Just(format!(
            "{{apiVersion: v1, kind: Service, metadata: {{name: web, namespace: {space}}}, spec: {{type: LoadBalancer, \
             externalTrafficPolicy: Local, selector: {{app: web}}, ports: [{{port: 80}}]}}}}\n---\n"
        )),
        1 => proptest::sample::select(SPACES.as_slice()).prop_map(move |team| format!(
            "{{apiVersion: v1, kind: Namespace, metadata: {{name: {space}, labels: {{team: {team}}}}}}}\n---\n"
        )),
    ]
}

const WIDE: &str = "{apiVersion: policy.networking.k8s.io/v1alpha1, kind: AdminNetworkPolicy, metadata: {name: wide}, spec: \
    {priority: 1, subject: {namespaces: {matchLabels: {team: red}}}, ingress: [{action: Deny, from: [{namespaces: \
    {matchLabels: {team: blue}}}]}]}}\n---\n";

fn event() -> impl Strategy<Value = Event> {
    let of = |mode: &'static str, scope: String, yaml: String, touches: &[&'static str]| Event {
        mode,
        scope,
        yaml,
        touches: touches.iter().copied().collect(),
    };
    let mode = proptest::sample::select(["apply", "apply", "delete"].as_slice());
    let one = space().prop_flat_map(|space| (Just(space), document(space)));
    let two = (space(), space()).prop_flat_map(|(a, b)| (Just((a, b)), document(a), document(b)));
    let replaced =
        space().prop_flat_map(|space| (Just(space), proptest::collection::vec(document(space), 0..4)));
    prop_oneof![
        8 => (mode, one).prop_map(move |(mode, (space, yaml))| of(mode, "cluster".into(), yaml, &[space])),
        2 => two.prop_map(move |((a, b), one, two)| of("apply", "cluster".into(), one + &two, &[a, b])),
        1 => replaced.prop_map(move |(space, all)| of("replace", format!("namespace={space}"), all.concat(), &[space])),
        1 => proptest::sample::select(["apply", "delete"].as_slice())
            .prop_map(move |mode| of(mode, "cluster".into(), WIDE.into(), &[])),
    ]
}

fn busy() -> impl Strategy<Value = BTreeSet<&'static str>> {
    proptest::sample::subsequence(SPACES.to_vec(), 0..=3).prop_map(|spaces| spaces.into_iter().collect())
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => event().prop_map(Step::Send),
        4 => busy().prop_map(Step::Tell),
        1 => Just(Step::HandOver),
        1 => busy().prop_map(Step::Die),
    ]
}

/// Connections between workloads that were told to differ: what was before the first word, and what is after the last.
#[derive(Default)]
struct Rows(BTreeMap<(String, String), (String, String)>);

impl Rows {
    fn take(&mut self, fact: &ExposureFact) {
        for row in &fact.changes {
            let outside = |peer: &str| peer.starts_with('{') || peer.ends_with("[External]");
            if outside(&row.source) || outside(&row.destination) {
                continue;
            }
            let key = (row.source.clone(), row.destination.clone());
            let known = self.0.entry(key).or_insert_with(|| (row.before.clone(), row.before.clone()));
            assert_eq!(
                known.1, row.before,
                "what was told does not follow from what was told before: {row:?}"
            );
            known.1.clone_from(&row.after);
        }
    }

    fn differing(self) -> BTreeMap<(String, String), (String, String)> {
        self.0.into_iter().filter(|(_, (before, after))| before != after).collect()
    }
}

/// How far a state has come.
#[derive(Clone, Default)]
struct Reached {
    /// In the order in which they were folded in.
    done: Vec<u64>,
    newest: u64,
}

struct Owner {
    resident: Resident,
    log: Vec<Event>,
    reached: Reached,
    checkpoint: (Vec<u8>, Reached),
    number: u64,
    reader: Reader,
    /// None once an owner died: what it told beyond its checkpoint is told again.
    rows: Option<Rows>,
}

impl Owner {
    fn new() -> Self {
        let mut owner = Self {
            resident: Resident::new(Cluster::default()),
            log: Vec::new(),
            reached: Reached::default(),
            checkpoint: Default::default(),
            number: 0,
            reader: Reader::default(),
            rows: Some(Rows::default()),
        };
        let yaml = SPACES.map(|space| {
            format!("{{apiVersion: v1, kind: Namespace, metadata: {{name: {space}, labels: {{team: {space}}}}}}}\n---\n")
        });
        let scope = "cluster".to_owned();
        owner.log.push(Event { mode: "replace", scope, yaml: yaml.concat(), touches: BTreeSet::new() });
        owner.tell(&BTreeSet::new());
        owner.checkpoint();
        owner
    }

    /// Folds in and tells what waits for no busy namespace.
    fn tell(&mut self, busy: &BTreeSet<&'static str>) {
        let mut held = busy.clone();
        let (mut due, mut first_held) = (Vec::new(), None);
        for (event, seq) in self.log.iter().zip(1..) {
            if self.reached.done.contains(&seq) {
                continue;
            }
            let touches = if event.touches.is_empty() { SPACES.into() } else { event.touches.clone() };
            if touches.is_disjoint(&held) {
                due.push((seq, event.clone()));
            } else {
                held.extend(touches);
                first_held.get_or_insert(seq);
            }
        }
        let Some((newest, _)) = due.last() else { return };
        let target_seq = self.reached.newest.max(*newest);
        self.number += 1;
        let publication = Publication {
            base_seq: self.reached.newest,
            target_seq,
            through_seq: first_held.map_or(target_seq, |first| first - 1),
            number: self.number,
            ..Publication::default()
        };
        for (seq, event) in due {
            let (mut changed, lines) = super::event(event.mode, &event.yaml, 0);
            changed.scope = event.scope;
            self.resident.apply(&changed, &lines, seq).unwrap();
            self.reached.done.push(seq);
        }
        self.reached.newest = target_seq;
        let fact = self.resident.settle(&POLICY, &publication).fact;
        self.reader.take(&fact);
        if let Some(rows) = &mut self.rows {
            rows.take(&fact);
        }
    }

    fn checkpoint(&mut self) {
        self.checkpoint = (self.resident.cluster().encode().unwrap(), self.reached.clone());
    }

    fn run(mut self, steps: Vec<Step>) -> Self {
        for step in steps {
            match step {
                Step::Send(event) => self.log.push(event),
                Step::Tell(busy) => {
                    self.tell(&busy);
                    self.checkpoint();
                }
                Step::HandOver => self.resident = Resident::new(Cluster::decode(&self.checkpoint.0).unwrap()),
                Step::Die(busy) => {
                    self.tell(&busy);
                    self.rows = None;
                    self.resident = Resident::taken_over(Cluster::decode(&self.checkpoint.0).unwrap());
                    self.reached = self.checkpoint.1.clone();
                    self.tell(&BTreeSet::new());
                    self.checkpoint();
                }
            }
        }
        self.tell(&BTreeSet::new());
        self
    }

    /// What an owner tells that folds events in this order and tells all at once, after the first.
    fn once(log: &[Event], order: &[u64]) -> Self {
        let mut owner = Self::new();
        for &seq in order.iter().skip(1) {
            let event = &log[usize::try_from(seq).unwrap() - 1];
            let (mut changed, lines) = super::event(event.mode, &event.yaml, 0);
            changed.scope.clone_from(&event.scope);
            owner.resident.apply(&changed, &lines, seq).unwrap();
        }
        let target = log.len() as u64;
        let fact = owner.resident.settle(&POLICY, &super::publication(1, target)).fact;
        owner.reader.take(&fact);
        owner.rows.as_mut().unwrap().take(&fact);
        owner
    }
}

fn without_notes(reader: &Reader) -> Vec<WorkloadFact> {
    let objects = reader.workloads.values().filter(|fact| !fact.containers.is_empty());
    objects.map(|fact| WorkloadFact { notes: Vec::new(), ..fact.clone() }).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn what_was_told_adds_up_to_what_is_told_at_once(steps in proptest::collection::vec(step(), 1..20)) {
        let apart = Owner::new().run(steps);
        let mut order = apart.reached.done.clone();
        // What changes brought about follows from the order in which they were folded in, however they were told.
        let once = Owner::once(&apart.log, &order);
        prop_assert_eq!(&apart.reader.workloads, &once.reader.workloads);
        if let Some(rows) = apart.rows {
            prop_assert_eq!(rows.differing(), once.rows.unwrap().differing());
        }
        // All else follows from the events.
        order.sort_unstable();
        prop_assert_eq!(&order, &(1..=apart.log.len() as u64).collect::<Vec<_>>());
        let sorted = Owner::once(&apart.log, &order);
        prop_assert_eq!(without_notes(&apart.reader), without_notes(&sorted.reader));
    }
}
