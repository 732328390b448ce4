//! Sets of peers, each kept once by how it is defined, and their columns kept up to date.

use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};

use super::atoms::{AtomTable, PodAtom};
use super::classes::{ClassKey, Classes};
use super::selectors::{Pods, Selectors};
use super::{Direction, PeerColumns};
use crate::bits::{Bits, SharedBits};
use crate::ip::IpRange;
use crate::paged::Paged;

/// One part of a set of peers.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Term {
    /// Every pod and every address.
    Everyone,
    Pods(Pods),
    /// Addresses and, where blocks match pods, pods.
    Addresses {
        ranges: Vec<IpRange>,
        match_pods: bool,
    },
}

/// A set of peers by definition: the union of its terms.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(super) struct Definition {
    /// Of the addresses; `None` where there are none.
    pub(super) direction: Option<Direction>,
    /// Sorted, without duplicates.
    pub(super) terms: Vec<Term>,
}

impl Definition {
    pub(super) fn new(mut terms: Vec<Term>, direction: Direction) -> Self {
        terms.sort();
        terms.dedup();
        let addresses = terms.iter().any(|term| !matches!(term, Term::Pods(_)));
        Self { direction: addresses.then_some(direction), terms }
    }
}

#[derive(Debug, Clone, Default)]
struct Info {
    definition: Arc<Definition>,
    refs: u32,
    /// Policies that use it, once for each use.
    users: Vec<u32>,
}

/// Every set of peers in use.
#[derive(Debug, Default)]
pub(super) struct Sets {
    infos: Vec<Info>,
    ids: FxHashMap<Arc<Definition>, u32>,
    free: Vec<u32>,
    freed: Vec<u32>,
    /// Sets with addresses, by direction: ingress, egress.
    outside: [FxHashSet<u32>; 2],
    /// Sets that new classes may join without a selector of pods.
    unselected: FxHashSet<u32>,
}

fn side(direction: Direction) -> usize {
    usize::from(direction == Direction::Egress)
}

/// The boundaries of the ranges are cut: an atom whose first address is inside is inside as a whole.
fn holds_address(ranges: &[IpRange], addresses: &[PodAtom]) -> bool {
    ranges.iter().any(|range| {
        let whole = *range == IpRange::whole(range.family);
        let inside = |(family, first): &PodAtom| {
            *family == range.family && range.first <= *first && *first <= range.last
        };
        addresses.is_empty() && whole || addresses.iter().any(inside)
    })
}

/// What the columns of a set depend on.
pub(super) struct Ground<'a> {
    pub(super) classes: &'a Classes,
    pub(super) live: &'a Bits,
    pub(super) sources: &'a AtomTable,
    pub(super) destinations: &'a AtomTable,
}

impl Sets {
    /// What a set is the union of.
    pub(super) fn terms(&self, set: u32) -> &[Term] {
        self.infos.get(set as usize).map(|info| info.definition.terms.as_slice()).unwrap_or_default()
    }

    /// The policies that use a set.
    pub(super) fn users(&self, set: u32) -> &[u32] {
        self.infos.get(set as usize).map(|info| info.users.as_slice()).unwrap_or_default()
    }

    /// The number of a set for one more use by a policy; its columns are computed when it is new.
    pub(super) fn acquire(
        &mut self,
        definition: Definition,
        policy: u32,
        selectors: &mut Selectors,
        ground: &Ground<'_>,
        columns: &mut Paged<PeerColumns>,
    ) -> u32 {
        if let Some(&id) = self.ids.get(&definition) {
            if let Some(info) = self.infos.get_mut(id as usize) {
                info.refs += 1;
                info.users.push(policy);
            }
            return id;
        }
        let id = self.free.pop().unwrap_or(self.infos.len() as u32);
        let mut classes = Bits::default();
        let mut atoms = Bits::default();
        for term in &definition.terms {
            match term {
                Term::Everyone => {
                    classes.add(ground.live);
                    let table = match definition.direction {
                        Some(Direction::Egress) => ground.destinations,
                        _ => ground.sources,
                    };
                    atoms.add(table.live());
                    self.unselected.insert(id);
                }
                Term::Pods(pods) => {
                    selectors.select(*pods, ground.classes, &mut classes);
                    if let Some(selector) = selectors.pods.get_mut(pods.pods as usize) {
                        selector.sets.add(id, pods.scope, pods.no_host);
                    }
                    if let super::selectors::Scope::Selected(namespaces) = pods.scope
                        && let Some(selector) = selectors.of_namespaces.get_mut(namespaces as usize)
                    {
                        selector.sets.push(id);
                    }
                }
                Term::Addresses { ranges, match_pods } => {
                    let table = match definition.direction {
                        Some(Direction::Egress) => ground.destinations,
                        _ => ground.sources,
                    };
                    ranges.iter().flat_map(|range| table.inside(*range)).for_each(|slot| atoms.set(slot));
                    if *match_pods {
                        self.unselected.insert(id);
                        for class in ground.live.iter() {
                            let Some(key) = ground.classes.key(class as u32) else { continue };
                            if holds_address(ranges, &key.addresses) {
                                classes.set(class);
                            }
                        }
                    }
                }
            }
        }
        if let Some(direction) = definition.direction
            && let Some(list) = self.outside.get_mut(side(direction))
        {
            list.insert(id);
        }
        let definition = Arc::new(definition);
        self.ids.insert(Arc::clone(&definition), id);
        let info = Info { definition, refs: 1, users: vec![policy] };
        match self.infos.get_mut(id as usize) {
            Some(slot) => *slot = info,
            None => self.infos.push(info),
        }
        let made = PeerColumns { classes: SharedBits::of(classes), atoms: SharedBits::of(atoms) };
        columns.put(id as usize, made, PeerColumns::default);
        id
    }

    /// Gives one use of a set back; a set without uses goes.
    pub(super) fn release(
        &mut self,
        set: u32,
        policy: u32,
        selectors: &mut Selectors,
        columns: &mut Paged<PeerColumns>,
    ) {
        let Some(info) = self.infos.get_mut(set as usize) else { return };
        if let Some(at) = info.users.iter().position(|user| *user == policy) {
            info.users.swap_remove(at);
        }
        info.refs = info.refs.saturating_sub(1);
        if info.refs > 0 {
            return;
        }
        let gone = std::mem::take(info);
        self.ids.remove(&gone.definition);
        self.unselected.remove(&set);
        self.outside.iter_mut().for_each(|list| {
            list.remove(&set);
        });
        for term in &gone.definition.terms {
            let Term::Pods(pods) = term else { continue };
            if let Some(selector) = selectors.pods.get_mut(pods.pods as usize) {
                selector.sets.remove(set, pods.scope, pods.no_host);
            }
            selectors.sweep_pods(pods.pods);
            if let super::selectors::Scope::Selected(namespaces) = pods.scope {
                if let Some(selector) = selectors.of_namespaces.get_mut(namespaces as usize) {
                    selector.sets.retain(|known| *known != set);
                }
                selectors.sweep_namespaces(namespaces);
            }
        }
        if let Some(slot) = columns.get_mut(set as usize) {
            *slot = PeerColumns::default();
        }
        self.freed.push(set);
    }

    /// Numbers that became free may be given out again.
    pub(super) fn settle(&mut self) {
        self.free.append(&mut self.freed);
    }

    /// The sets that hold a class of some key, ascending.
    pub(super) fn of_class(&self, key: &ClassKey, selectors: &Selectors) -> Vec<u32> {
        let mut found = selectors.using(key, |selector| &selector.sets);
        for set in &self.unselected {
            let Some(info) = self.infos.get(*set as usize) else { continue };
            let joins = info.definition.terms.iter().any(|term| match term {
                Term::Everyone => true,
                Term::Addresses { ranges, match_pods } => {
                    *match_pods && holds_address(ranges, &key.addresses)
                }
                Term::Pods(_) => false,
            });
            if joins {
                found.push(*set);
            }
        }
        found.sort_unstable();
        found.dedup();
        found
    }

    /// True when a set holds classes of some key.
    fn holds(&self, set: u32, key: &ClassKey, selectors: &Selectors) -> bool {
        let Some(info) = self.infos.get(set as usize) else { return false };
        info.definition.terms.iter().any(|term| match term {
            Term::Everyone => true,
            Term::Addresses { ranges, match_pods } => *match_pods && holds_address(ranges, &key.addresses),
            Term::Pods(pods) => {
                let matches = |selector: &super::selectors::PodSelector| selector.matches(&key.labels);
                selectors.pods.get(pods.pods as usize).is_some_and(matches)
                    && !(pods.no_host && key.host_network)
                    && selectors.holds(pods.scope, key.namespace)
            }
        })
    }

    /// Puts right whether a set holds some classes. Gives those that changed.
    pub(super) fn refresh(
        &self,
        set: u32,
        these: &[u32],
        selectors: &Selectors,
        ground: &Ground<'_>,
        columns: &mut Paged<PeerColumns>,
    ) -> Bits {
        let mut changed = Bits::default();
        for &class in these {
            let Some(key) = ground.classes.key(class) else { continue };
            let holds = self.holds(set, key, selectors);
            if columns.get(set as usize).is_some_and(|known| known.classes.has(class as usize) != holds) {
                changed.set(class as usize);
                mark(columns, set, class, holds);
            }
        }
        changed
    }

    /// Takes new columns of the outside in: each beside the one that it was split from.
    pub(super) fn split(&self, direction: Direction, split: &[(u32, u32)], columns: &mut Paged<PeerColumns>) {
        for &(from, new) in split {
            for &set in self.outside.get(side(direction)).into_iter().flatten() {
                let Some(known) = columns.get(set as usize) else { continue };
                let holds = known.atoms.has(from as usize);
                if holds != known.atoms.has(new as usize) {
                    mark_atom(columns, set, new, holds);
                }
            }
        }
    }
}

/// Makes a set hold a class, or not.
pub(super) fn mark(columns: &mut Paged<PeerColumns>, set: u32, class: u32, holds: bool) {
    if let Some(known) = columns.get_mut(set as usize) {
        known.classes.put(class as usize, holds);
    }
}

fn mark_atom(columns: &mut Paged<PeerColumns>, set: u32, slot: u32, holds: bool) {
    if let Some(known) = columns.get_mut(set as usize) {
        known.atoms.put(slot as usize, holds);
    }
}
