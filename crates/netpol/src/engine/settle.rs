//! After a change: marked classes get their rows, and odd policies their warnings.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::compile::resolve;
use super::profile::{AdminEntry, Entry, NO_NAMES, Profile};
use super::resident::{Engine, PolicyInfo, side};
use super::{Direction, Warning};
use crate::bits::Bits;
use crate::conn::ConnId;
use crate::objects::{Object, ObjectKey};

/// Bytes of sets of connections that may gather beside those in use; few in debug builds, so that tests meet the end of
/// them.
pub(super) const SPARE_CONNS: usize = if cfg!(debug_assertions) { 2 << 10 } else { 24 << 20 };

impl Engine {
    /// Rules of the policies that govern a class, resolved for it.
    fn resolve_profile(&mut self, class: u32, direction: Direction) -> Profile {
        let mut profile = Profile { direction, isolated: false, allowed: Vec::new(), admin: Vec::new() };
        let ports = self.view.classes.get(class as usize).map(|class| class.ports).unwrap_or_default();
        let list = self.lists.get(class as usize).and_then(|lists| lists.get(side(direction)));
        for &id in list.into_iter().flatten() {
            let Some(Some(policy)) = self.view.policies.get(id as usize) else { continue };
            profile.isolated |= policy.tier.is_none();
            for rule in policy.rules(direction).unwrap_or_default() {
                let mut entry = Entry { peers: rule.peers, conn: rule.ports.fixed, named: rule.ports.named };
                if direction == Direction::Ingress && entry.named != NO_NAMES {
                    let names = self.view.named.get(entry.named as usize);
                    let ports = self.view.port_sets.get(ports as usize);
                    if let (Some(names), Some(ports)) = (names, ports) {
                        let resolved = self.conns.intern(resolve(names, ports));
                        entry.conn = self.conns.union(entry.conn, resolved);
                    }
                    entry.named = NO_NAMES;
                }
                if entry.conn == ConnId::NONE && entry.named == NO_NAMES {
                    continue;
                }
                match policy.tier {
                    None => profile.allowed.push(entry),
                    Some(tier) => profile.admin.push(AdminEntry { tier, action: rule.action, entry }),
                }
            }
        }
        profile.allowed.sort_unstable();
        profile.allowed.dedup();
        profile
    }

    fn intern_profile(&mut self, profile: Profile) -> u32 {
        if let Some(&id) = self.profile_ids.get(&profile) {
            if let Some(refs) = self.profile_refs.get_mut(id as usize) {
                *refs += 1;
            }
            return id;
        }
        let id = self.free_profiles.pop().unwrap_or_else(|| {
            self.profile_refs.push(0);
            self.profile_refs.len() as u32 - 1
        });
        if let Some(refs) = self.profile_refs.get_mut(id as usize) {
            *refs = 1;
        }
        let profile = Arc::new(profile);
        self.profile_ids.insert(Arc::clone(&profile), id);
        self.view.profiles.put(id as usize, Some(profile), || None);
        id
    }

    /// Gives a class's use of a profile back; a class that has none yet has [`super::NO_PROFILE`].
    pub(super) fn release_profile(&mut self, id: u32) {
        let known = self.view.profiles.get(id as usize).and_then(Option::as_ref);
        let Some(profile) = known.cloned() else { return };
        let Some(refs) = self.profile_refs.get_mut(id as usize) else { return };
        *refs = refs.saturating_sub(1);
        if *refs > 0 {
            return;
        }
        self.profile_ids.remove(&profile);
        if let Some(slot) = self.view.profiles.get_mut(id as usize) {
            *slot = None;
        }
        self.free_profiles.push(id);
    }

    /// Gives marked classes their rows, and publishes sets of connections and warnings. Marks stay for the comparison.
    pub(super) fn settle(&mut self) {
        let mut rows: BTreeSet<(u32, usize)> = BTreeSet::new();
        for class in self.dirty.fresh.iter().map(|class| class as u32) {
            rows.extend([(class, 0), (class, 1)]);
        }
        for (at, ruled) in self.dirty.ruled.iter().enumerate() {
            rows.extend(ruled.iter().map(|class| (class as u32, at)));
        }
        for (class, at) in rows {
            let direction = if at == 0 { Direction::Ingress } else { Direction::Egress };
            if self.classes.key(class).is_none() {
                continue;
            }
            let profile = self.resolve_profile(class, direction);
            if let Some(isolated) = self.isolated.get_mut(at) {
                if profile.isolated { isolated.set(class as usize) } else { isolated.clear(class as usize) }
            }
            let id = self.intern_profile(profile);
            let Some(known) = self.view.classes.get(class as usize) else { continue };
            let old = known.profile(direction);
            let relinked = known.policies(direction) != self.list(class, direction);
            if relinked {
                self.dirty.relinked.insert(class);
            }
            if relinked || id != old {
                let list: Option<Arc<[u32]>> = relinked.then(|| self.list(class, direction).into());
                let Some(slot) = self.view.classes.get_mut(class as usize) else { continue };
                let (profile, policies) = match direction {
                    Direction::Ingress => (&mut slot.ingress, &mut slot.ingress_policies),
                    Direction::Egress => (&mut slot.egress, &mut slot.egress_policies),
                };
                *profile = id;
                if let Some(list) = list {
                    *policies = list;
                }
            }
            self.release_profile(old);
        }
        self.settle_warnings();
        self.publish_conns();
    }

    /// Makes every set of connections known to the view.
    pub(crate) fn publish_conns(&mut self) {
        for id in self.conns.take_fresh() {
            self.view.conns.put(id.0 as usize, self.conns.share(id), Arc::default);
        }
    }

    /// Lets go of sets of connections that neither rules nor rows name, once there are many: what evaluation and
    /// comparison made on the way. Views that are told already keep theirs.
    pub(crate) fn sweep_conns(&mut self) {
        if self.conns.bytes() < self.most_conns {
            return;
        }
        let mut used = Bits::default();
        let mut note = |id: ConnId| used.set(id.0 as usize);
        for profile in self.view.profiles.iter().flatten() {
            profile.allowed.iter().for_each(|entry| note(entry.conn));
            profile.admin.iter().for_each(|admin| note(admin.entry.conn));
        }
        for policy in self.view.policies.iter().flatten() {
            let rules = policy.ingress.iter().chain(&policy.egress).flatten();
            rules.for_each(|rule| note(rule.ports.fixed));
        }
        let none = self.conns.share(ConnId::NONE);
        for id in self.conns.sweep(&used) {
            if (id.0 as usize) < self.view.conns.len() {
                self.view.conns.put(id.0 as usize, Arc::clone(&none), Arc::default);
            }
        }
        self.most_conns = 2 * self.conns.bytes() + SPARE_CONNS;
    }

    fn settle_warnings(&mut self) {
        if std::mem::take(&mut self.dirty.presence) {
            // Whether what matches nothing is a mistake depends on which namespaces are in view.
            let odd = |info: &PolicyInfo| info.warnings.iter().any(Warning::is_of_nobody);
            let infos = self.infos.iter().enumerate().filter_map(|(id, info)| Some((id, info.as_ref()?)));
            self.dirty.lint.extend(infos.filter(|(_, info)| odd(info)).map(|(id, _)| id as u32));
        }
        let mut changed = std::mem::take(&mut self.dirty.warnings);
        for id in std::mem::take(&mut self.dirty.lint) {
            let found = self.lint(id);
            let Some(info) = self.infos.get_mut(id as usize).and_then(Option::as_mut) else { continue };
            if info.warnings != found {
                let old = std::mem::replace(&mut info.warnings, found.clone());
                self.forget_warnings(old);
                found.into_iter().for_each(|warning| *self.policy_warnings.entry(warning).or_default() += 1);
                changed = true;
            }
        }
        if std::mem::take(&mut self.dirty.ties) && (!self.tie_warnings.is_empty() || self.admin.len() > 1) {
            let found = self.ties();
            changed |= found != self.tie_warnings;
            self.tie_warnings = found;
        }
        if !changed {
            return;
        }
        self.seen_warnings = self.unseen_namespaces();
        let mut all: Vec<Warning> = self.policy_warnings.keys().cloned().collect();
        all.extend(self.other_warnings.values().cloned());
        all.extend(self.tie_warnings.iter().cloned());
        all.extend(self.seen_warnings.iter().cloned());
        all.sort();
        all.dedup();
        if *self.view.warnings != all {
            self.view.warnings = Arc::new(all);
        }
    }

    pub(super) fn forget_warnings(&mut self, warnings: Vec<Warning>) {
        self.dirty.warnings |= !warnings.is_empty();
        for warning in warnings {
            if let Some(count) = self.policy_warnings.get_mut(&warning) {
                *count -= 1;
                if *count == 0 {
                    self.policy_warnings.remove(&warning);
                }
            }
        }
    }

    /// A policy of another engine makes every answer incomplete, a way in that is not read some.
    pub(super) fn note_other(&mut self, key: &ObjectKey, object: Option<&Object>) {
        let told = match object {
            Some(Object::Other(other)) if other.policy => Some((
                "policy_not_analysed",
                "policies of this kind are not analysed; the answer is incomplete".to_owned(),
            )),
            Some(Object::Route(route)) if !self.view.options.np_guard => {
                let why = route.unclear.as_ref();
                why.map(|why| {
                    ("entry_not_analysed", format!("may lead to workloads of its namespace: {why}"))
                })
            }
            _ => None,
        };
        match told {
            Some((code, message)) => {
                let warning = Warning::of(code, key.clone(), message);
                let known = self.other_warnings.insert(key.clone(), warning.clone());
                self.dirty.warnings |= known.as_ref() != Some(&warning);
            }
            None => self.dirty.warnings |= self.other_warnings.remove(key).is_some(),
        }
    }
}
