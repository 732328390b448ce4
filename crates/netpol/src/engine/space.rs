//! The columns of a row, and selectors evaluated over them.

use std::collections::BTreeMap;

use rustc_hash::FxHashMap;

use super::build::ClassKey;
use super::row::PeerSet;
use super::{Options, Policy, Warning};
use crate::bits::Bits;
use crate::ip::{Atoms, IpRange};
use crate::objects::ObjectKey;
use crate::selector::{Labels, Operator, Requirement, Selector};
use crate::state::ClusterState;

/// A namespace: a range of classes, because classes are sorted by namespace first.
pub(super) struct NamespaceColumns<'a> {
    pub(super) name: &'a str,
    pub(super) labels: Labels,
    /// Its object is in view.
    pub(super) known: bool,
    pub(super) from: usize,
    pub(super) to: usize,
}

/// The columns, and selectors evaluated over them.
pub(super) struct Space<'a> {
    pub(super) options: &'a Options,
    pub(super) count: usize,
    pub(super) width: usize,
    pub(super) namespaces: Vec<NamespaceColumns<'a>>,
    /// Classes by label, as lists: a value that every pod has anew must not cost a bit set.
    pub(super) index: FxHashMap<String, FxHashMap<String, Vec<u32>>>,
    pub(super) host_network: Bits,
    pub(super) real: Bits,
    pub(super) addresses: Vec<Vec<usize>>,
    pub(super) pod_atoms: Atoms,
    pub(super) by_ports: Vec<Vec<u32>>,
    pub(super) pod_memo: FxHashMap<Selector, Bits>,
    pub(super) namespace_memo: FxHashMap<Selector, Bits>,
    pub(super) sets: Vec<Bits>,
    pub(super) ids: FxHashMap<Bits, PeerSet>,
    pub(super) foreign_labels: bool,
}

impl<'a> Space<'a> {
    pub(super) fn new(
        state: &ClusterState,
        options: &'a Options,
        namespaces: &'a [String],
        classes: &BTreeMap<ClassKey, Vec<(usize, bool)>>,
        pod_atoms: Atoms,
        width: usize,
    ) -> Self {
        let mut space = Self {
            options,
            count: classes.len(),
            width,
            namespaces: namespaces
                .iter()
                .map(|name| {
                    let (labels, known) = state.namespace_labels(name);
                    NamespaceColumns { name, labels, known, from: usize::MAX, to: 0 }
                })
                .collect(),
            index: FxHashMap::default(),
            host_network: Bits::empty(width),
            real: Bits::empty(width),
            addresses: Vec::with_capacity(classes.len()),
            pod_atoms,
            by_ports: Vec::new(),
            pod_memo: FxHashMap::default(),
            namespace_memo: FxHashMap::default(),
            sets: Vec::new(),
            ids: FxHashMap::default(),
            foreign_labels: false,
        };
        for (class, (key, members)) in classes.iter().enumerate() {
            if let Some(namespace) = space.namespaces.get_mut(key.namespace as usize) {
                namespace.from = namespace.from.min(class);
                namespace.to = class + 1;
            }
            for (label, value) in &key.labels {
                let values = space.index.entry(label.clone()).or_default();
                values.entry(value.clone()).or_default().push(class as u32);
            }
            if key.host_network {
                space.host_network.set(class);
            }
            if members.iter().any(|(_, assumed)| !assumed) {
                space.real.set(class);
            }
            space.addresses.push(key.addresses.clone());
            let ports = key.ports as usize;
            if space.by_ports.len() <= ports {
                space.by_ports.resize(ports + 1, Vec::new());
            }
            if let Some(list) = space.by_ports.get_mut(ports) {
                list.push(class as u32);
            }
        }
        space
    }

    pub(super) fn all_classes(&self) -> Bits {
        let mut bits = Bits::empty(self.width);
        bits.fill(0, self.count);
        bits
    }

    pub(super) fn intern(&mut self, bits: Bits) -> PeerSet {
        if let Some(&id) = self.ids.get(&bits) {
            return id;
        }
        let id = self.sets.len() as PeerSet;
        self.sets.push(bits.clone());
        self.ids.insert(bits, id);
        id
    }

    pub(super) fn set(&self, id: PeerSet) -> Bits {
        self.sets.get(id as usize).cloned().unwrap_or_else(|| Bits::empty(self.width))
    }

    pub(super) fn requirement(&self, requirement: &Requirement) -> Bits {
        let values = self.index.get(&requirement.key);
        let mut bits = Bits::empty(self.width);
        let listed = match &requirement.operator {
            Operator::In(listed) | Operator::NotIn(listed) => listed.as_slice(),
            Operator::Exists | Operator::DoesNotExist => &[],
        };
        match &requirement.operator {
            Operator::In(_) | Operator::NotIn(_) => {
                for value in listed {
                    let found =
                        values.and_then(|values| values.get(value)).map(Vec::as_slice).unwrap_or_default();
                    found.iter().for_each(|class| bits.set(*class as usize));
                }
            }
            Operator::Exists | Operator::DoesNotExist => {
                let found = values.into_iter().flat_map(|values| values.values()).flatten();
                found.for_each(|class| bits.set(*class as usize));
            }
        }
        if matches!(requirement.operator, Operator::NotIn(_) | Operator::DoesNotExist) {
            let mut others = self.all_classes();
            others.remove(&bits);
            return others;
        }
        bits
    }

    pub(super) fn pods(&mut self, selector: Option<&Selector>) -> Bits {
        let Some(selector) = selector.filter(|selector| !selector.is_empty()) else {
            return self.all_classes();
        };
        if let Some(bits) = self.pod_memo.get(selector) {
            return bits.clone();
        }
        let mut bits = self.all_classes();
        for requirement in selector.canonical() {
            bits.keep(&self.requirement(&requirement));
        }
        self.pod_memo.insert(selector.clone(), bits.clone());
        bits
    }

    pub(super) fn namespaces(&mut self, selector: &Selector) -> Bits {
        if let Some(bits) = self.namespace_memo.get(selector) {
            return bits.clone();
        }
        self.foreign_labels |= selector.keys().any(|key| key != "kubernetes.io/metadata.name");
        let mut bits = Bits::empty(self.width);
        for namespace in &self.namespaces {
            if selector.matches(&namespace.labels) {
                bits.fill(namespace.from, namespace.to);
            }
        }
        self.namespace_memo.insert(selector.clone(), bits.clone());
        bits
    }

    pub(super) fn namespace(&self, name: &str) -> Bits {
        let mut bits = Bits::empty(self.width);
        let found = self.namespaces.binary_search_by(|known| known.name.cmp(name)).ok();
        if let Some(namespace) = found.and_then(|index| self.namespaces.get(index)) {
            bits.fill(namespace.from, namespace.to);
        }
        bits
    }

    /// Columns of address ranges: atoms of the direction and, where blocks match pods, classes.
    pub(super) fn addresses(&self, ranges: &[IpRange], atoms: &Atoms, match_pods: bool) -> Bits {
        let mut bits = Bits::empty(self.width);
        for range in ranges {
            let inside = atoms.inside(*range);
            bits.fill(self.count + inside.start, self.count + inside.end);
            if match_pods {
                let within = self.pod_atoms.inside(*range);
                let whole = *range == IpRange::whole(range.family);
                for (class, addresses) in self.addresses.iter().enumerate() {
                    if addresses.is_empty() && whole || addresses.iter().any(|atom| within.contains(atom)) {
                        bits.set(class);
                    }
                }
            }
        }
        bits
    }

    /// A selector of namespaces by labels is uncertain where the namespace's object is not in view.
    pub(super) fn warn_namespaces(&self, policies: &[Policy], warnings: &mut Vec<Warning>) {
        if !self.foreign_labels || policies.is_empty() || self.options.np_guard {
            return;
        }
        for namespace in &self.namespaces {
            let mut classes = namespace.from..namespace.to;
            if !namespace.known && classes.any(|class| self.real.has(class)) {
                warnings.push(Warning {
                    code: "namespace_labels_unknown",
                    object: ObjectKey {
                        kind: "Namespace".into(),
                        namespace: String::new(),
                        name: namespace.name.into(),
                    },
                    message: "the namespace is not in view, so selectors of namespaces by label may miss it"
                        .into(),
                });
            }
        }
    }
}
