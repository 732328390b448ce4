//! Rows at a few columns. Of the rules of a profile few speak of a few columns, and profiles that differ elsewhere have
//! the same row there: each distinct one is evaluated once.

use std::rc::Rc;
use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::classes::Classes;
use super::profile::{Columns, PeerSet, Profile, Space};
use super::resident::{Engine, side};
use super::selectors::Selectors;
use super::sets::Sets;
use super::{Connectivity, Direction, NO_PROFILE};
use crate::bits::{Bits, Numbering};
use crate::conn::{ConnId, ConnTable};
use crate::objects::Tier;

/// A partition of the columns that have anything, by set, ascending.
type Parts = Arc<[(ConnId, Bits)]>;

/// The rows of one view at some columns, found when asked for. Columns are ranks in a numbering.
pub(super) struct Narrow {
    numbering: Rc<Numbering>,
    /// By number, and by rank.
    columns: Bits,
    ranks: Bits,
    /// They are all that the numbering has.
    whole: bool,
    space: Space,
    /// By set of peers: 0 where nobody asked, 1 where it does not speak of the columns, or the place of those that it
    /// speaks of, and 2.
    met: Vec<u32>,
    spoken: Vec<Bits>,
    /// By profile: the number of its row.
    of: Vec<Option<u32>>,
    /// What is left of profiles, and the number of the row.
    left: FxHashMap<Profile, u32>,
    ids: FxHashMap<Parts, u32>,
    rows: Vec<Parts>,
    everything: Option<u32>,
    spare: Option<Profile>,
}

/// Rows at the same columns, and the view that they are of.
pub(super) type Twin<'a> = (&'a Narrow, &'a Connectivity);

/// The columns of some rows, and what sets speak of them, as far as it is known.
struct Ranked<'a> {
    narrow: &'a Narrow,
}

impl Columns for Ranked<'_> {
    fn all(&self) -> &Bits {
        &self.narrow.ranks
    }

    fn of(&self, set: PeerSet) -> Option<&Bits> {
        let place = self.narrow.met.get(set as usize)?.checked_sub(2)?;
        self.narrow.spoken.get(place as usize)
    }

    fn meets(&self, set: PeerSet) -> bool {
        self.narrow.met.get(set as usize).is_some_and(|met| *met > 1)
    }

    fn class(&self, column: usize) -> Option<usize> {
        self.narrow.numbering.at(column).filter(|_| self.narrow.space == Space::Classes)
    }
}

impl Narrow {
    /// At every column of a numbering.
    pub(super) fn new(space: Space, numbering: Rc<Numbering>) -> Self {
        let columns = numbering.bits().clone();
        Self::within(space, numbering, columns)
    }

    /// At some columns of a numbering.
    pub(super) fn within(space: Space, numbering: Rc<Numbering>, columns: Bits) -> Self {
        let empty: Parts = Arc::new([]);
        let ranks = numbering.narrow(&columns);
        Self {
            whole: ranks.count() == numbering.len(),
            ranks,
            numbering,
            columns,
            space,
            met: Vec::new(),
            spoken: Vec::new(),
            of: Vec::new(),
            left: FxHashMap::default(),
            ids: [(Arc::clone(&empty), 0)].into_iter().collect(),
            rows: vec![empty],
            everything: None,
            spare: None,
        }
    }

    /// The number of the row of a profile: equal for equal rows. `view` is the same each time.
    pub(super) fn number(&mut self, view: &Connectivity, profile: u32, conns: &mut ConnTable) -> u32 {
        self.number_beside(view, profile, None, conns)
    }

    /// As [`Narrow::number`]. A twin has the same columns in another view: what is the same there is taken from it.
    pub(super) fn number_beside(
        &mut self,
        view: &Connectivity,
        profile: u32,
        twin: Option<Twin<'_>>,
        conns: &mut ConnTable,
    ) -> u32 {
        if profile == NO_PROFILE {
            return 0;
        }
        let index = profile as usize;
        if self.of.len() <= index {
            self.of.resize(view.profiles.len().max(index + 1), None);
        }
        if let Some(Some(known)) = self.of.get(index) {
            return *known;
        }
        let number = match view.profiles.get(index) {
            Some(Some(profile)) => self.evaluate(view, profile, twin, conns),
            _ => 0,
        };
        if let Some(slot) = self.of.get_mut(index) {
            *slot = Some(number);
        }
        number
    }

    /// The row of a number.
    pub(super) fn row(&self, number: u32) -> &[(ConnId, Bits)] {
        self.rows.get(number as usize).map(AsRef::as_ref).unwrap_or_default()
    }

    /// The number of the row of a profile no rule of which speaks of the columns.
    pub(super) fn silent(&mut self, isolated: bool) -> u32 {
        if isolated || self.ranks.is_empty() {
            return 0;
        }
        if let Some(known) = self.everything {
            return known;
        }
        let row: Parts = Arc::new([(ConnId::ALL, self.ranks.clone())]);
        let number = self.intern(row);
        self.everything = Some(number);
        number
    }

    fn intern(&mut self, row: Parts) -> u32 {
        let next = self.rows.len() as u32;
        let number = *self.ids.entry(Arc::clone(&row)).or_insert(next);
        if number == next {
            self.rows.push(row);
        }
        number
    }

    /// True where a set of peers speaks of the columns.
    fn speaks(&mut self, view: &Connectivity, set: PeerSet, twin: Option<Twin<'_>>) -> bool {
        let index = set as usize;
        if self.met.len() <= index {
            self.met.resize(view.sets.len().max(index + 1), 0);
        }
        let Some(known) = self.met.get_mut(index) else { return false };
        if *known == 0 {
            let bits = view.sets.get(index).map(|set| set.of(self.space));
            let there = twin.and_then(|(twin, other)| {
                let (met, set) = (*twin.met.get(index)?, other.sets.get(index)?);
                (met > 0 && bits?.shares(set.of(self.space))).then_some((met, twin))
            });
            if let Some((met, twin)) = there {
                let spoken = met.checked_sub(2).and_then(|place| twin.spoken.get(place as usize));
                self.spoken.extend(spoken.cloned());
                *known = if spoken.is_some() { self.spoken.len() as u32 + 1 } else { 1 };
                return *known > 1;
            }
            *known = match bits.filter(|bits| bits.meets(&self.columns)) {
                Some(bits) => {
                    self.spoken.push(if self.whole {
                        self.numbering.narrow(bits)
                    } else {
                        self.numbering.narrow(&bits.and(&self.columns))
                    });
                    self.spoken.len() as u32 + 1
                }
                None => 1,
            };
        }
        *known > 1
    }

    fn evaluate(
        &mut self,
        view: &Connectivity,
        profile: &Profile,
        twin: Option<Twin<'_>>,
        conns: &mut ConnTable,
    ) -> u32 {
        // Most of what is left is nothing, or known: it is gathered where there is room already.
        let empty = || Profile {
            direction: profile.direction,
            isolated: false,
            allowed: Vec::new(),
            admin: Vec::new(),
        };
        let mut left = self.spare.take().unwrap_or_else(empty);
        (left.direction, left.isolated) = (profile.direction, profile.isolated);
        left.allowed.clear();
        left.admin.clear();
        for entry in &profile.allowed {
            if self.speaks(view, entry.peers, twin) {
                left.allowed.push(*entry);
            }
        }
        for admin in &profile.admin {
            // The baseline has no say where NetworkPolicies have.
            let says = !(profile.isolated && admin.tier == Tier::Baseline);
            if says && self.speaks(view, admin.entry.peers, twin) {
                left.admin.push(*admin);
            }
        }
        let number = if left.allowed.is_empty() && left.admin.is_empty() {
            self.silent(profile.isolated)
        } else if let Some(&known) = self.left.get(&left) {
            known
        } else {
            let row: Parts = view.evaluate_over(&left, &Ranked { narrow: self }, conns).into();
            let number = self.intern(row);
            self.left.insert(left.clone(), number);
            number
        };
        self.spare = Some(left);
        number
    }
}

/// Columns up to which it is worth while to look up who speaks of them.
pub(super) const FEW: usize = 24;

/// Which classes have rules that speak of some columns, by the indexes of the engine after a change. What differs from
/// them before is marked.
pub(super) struct Speaking<'a> {
    sets: &'a Sets,
    selectors: &'a Selectors,
    classes: &'a Classes,
    gone: &'a FxHashMap<u32, Arc<super::classes::ClassKey>>,
    governs: &'a [[Bits; 2]],
    isolated: &'a [Bits; 2],
    marked: [Bits; 2],
}

impl<'a> Speaking<'a> {
    pub(super) fn of(engine: &'a Engine) -> Self {
        let marked = [Direction::Ingress, Direction::Egress].map(|direction| {
            let mut bits = Bits::default();
            engine.marked(direction).iter().for_each(|(_, classes)| bits.add(classes));
            bits
        });
        Self {
            sets: &engine.sets,
            selectors: &engine.selectors,
            classes: &engine.classes,
            gone: &engine.dirty.gone,
            governs: &engine.governs,
            isolated: &engine.isolated,
            marked,
        }
    }

    /// Of the classes `among`, those whose rules of a direction may speak of the columns or may have changed; and of the
    /// others, about whose rules nothing is to be asked, those that are isolated and those that are not. None where the
    /// columns are many.
    pub(super) fn split(&self, columns: &Bits, direction: Direction, among: &Bits) -> Option<[Bits; 3]> {
        if columns.count() > FEW {
            return None;
        }
        let mut policies: Vec<u32> = Vec::new();
        for column in columns.iter() {
            let class = column as u32;
            let key = self.classes.key(class).or_else(|| self.gone.get(&class))?;
            let sets = self.sets.of_class(key, self.selectors);
            policies.extend(sets.iter().flat_map(|set| self.sets.users(*set)));
        }
        policies.sort_unstable();
        policies.dedup();
        let at = side(direction);
        let mut speaking = self.marked.get(at).cloned().unwrap_or_default();
        for policy in policies {
            let governed = self.governs.get(policy as usize).and_then(|sides| sides.get(at));
            governed.into_iter().for_each(|classes| speaking.add(classes));
        }
        speaking.keep(among);
        let mut open = among.clone();
        open.remove(&speaking);
        let isolated = self.isolated.get(at).map(|isolated| open.and(isolated)).unwrap_or_default();
        open.remove(&isolated);
        Some([speaking, isolated, open])
    }
}
