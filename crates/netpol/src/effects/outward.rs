//! NETPOL004: new ways out of the cluster.
//!
//! What opened is known by workload, and workloads of the same rules share it: what this costs goes by the workloads that a
//! change touched, not by the connections that it made.

use std::sync::Arc;

use rustc_hash::FxHashMap;
use sha2::{Digest as _, Sha256};
use smallvec::SmallVec;

use super::{Effect, MAX_RANGES, Objects, Urgency, decisive, hex, words};
use crate::conn::ConnSet;
use crate::diff::{Outward, Snapshot, is_single};
use crate::engine::{Connectivity, Decision, Peer};
use crate::ip::IpRange;
use crate::objects::ObjectKey;
use crate::standing::Condition;

/// Address of the metadata service of most clouds.
const METADATA: std::net::Ipv4Addr = std::net::Ipv4Addr::new(169, 254, 169, 254);

/// NETPOL004: new ways out to the world or to the metadata address.
pub(super) struct Outwards<'a> {
    pub(super) before: &'a Snapshot,
    pub(super) after: &'a Snapshot,
    /// Objects of workloads, by printed name.
    pub(super) objects: &'a Objects<'a>,
    /// By classes of the workload before and after, and what is open: the same rules decide.
    pub(super) rules: FxHashMap<OutwardKey, (Vec<String>, Vec<ObjectKey>)>,
}

pub(super) type OutwardKey = (SmallVec<[u32; 2]>, SmallVec<[u32; 2]>, *const (IpRange, ConnSet));

/// What is the same of all workloads of the same rules.
struct Words {
    sentence: String,
    detail: String,
    peers: Vec<String>,
    condition: Condition,
}

/// Ranges that an identity names one by one; of more, it has a digest.
const MAX_NAMED: usize = 64;
/// Ranges that a message names.
const SHOWN: usize = 3;

impl Words {
    fn of(opened: &[(IpRange, ConnSet)]) -> Self {
        let more = opened.iter().fold(ConnSet::none(), |all, (_, more)| all.union(more));
        let mut ranges: Vec<IpRange> = opened.iter().map(|(range, _)| *range).collect();
        ranges.sort_unstable();
        let metadata = ranges.iter().any(|range| range.contains(METADATA.into()));
        let listed: Vec<String> = ranges.iter().map(ToString::to_string).collect();
        let shown: Vec<&str> = listed.iter().take(SHOWN).map(String::as_str).collect();
        let rest = match listed.len().saturating_sub(SHOWN) {
            0 => String::new(),
            1 => " and 1 more range".to_owned(),
            more => format!(" and {more} more ranges"),
        };
        let what = if metadata { ", the metadata service among them" } else { "" };
        let sentence = format!("addresses outside the cluster{what}: {more} to {}{rest}", shown.join(", "));
        let all = listed.join(",");
        let detail = if listed.len() > MAX_NAMED {
            format!("{more} to {} ranges {}", listed.len(), hex(&Sha256::digest(all.as_bytes())))
        } else {
            format!("{more} to {all}")
        };
        // What is kept of it while it stands says no more than this many.
        let peers = if listed.len() > MAX_RANGES { Vec::new() } else { listed };
        ranges.truncate(MAX_RANGES);
        Self { sentence, detail, peers, condition: Condition::Outward { ranges, more } }
    }
}

impl Outwards<'_> {
    pub(super) fn tell(&mut self, opened: &[Outward], found: &mut Vec<Effect>) {
        let mut words: FxHashMap<*const (IpRange, ConnSet), Words> = FxHashMap::default();
        for outward in opened {
            let (decided_by, policies) = self.rules_of(outward);
            // Default allow of a new workload is NETPOL006.
            if is_single(&outward.both) && decided_by.is_empty() {
                continue;
            }
            let Words { sentence, detail, peers, condition } =
                words.entry(outward.opened.as_ptr()).or_insert_with(|| Words::of(&outward.opened));
            let name = &outward.workload;
            let message = format!("{name} may now connect to {sentence}");
            let known = self.objects.get(name.as_str()).copied().unwrap_or_default();
            let effect =
                Effect::new("NETPOL004", Urgency::Medium, name, &*detail, message).decided(decided_by);
            let effect = effect.about(policies.into_iter().chain(known.iter().cloned()));
            found.push(effect.while_holds(condition.clone()).with(peers.clone()));
        }
    }

    /// The rules that make the difference to the ranges that are shown.
    fn rules_of(&mut self, outward: &Outward) -> (Vec<String>, Vec<ObjectKey>) {
        let [before, after] = [(self.before, outward.both.before), (self.after, outward.both.after)]
            .map(|(snapshot, index)| index.map(|index| (&snapshot.connectivity, index)));
        let classes = |side: &Option<(&Arc<Connectivity>, usize)>| -> SmallVec<[u32; 2]> {
            side.map(|(view, index)| view.classes_at(index).into()).unwrap_or_default()
        };
        let key = (classes(&before), classes(&after), outward.opened.as_ptr());
        let decided = || {
            let of = |side: Option<(&Arc<Connectivity>, usize)>| {
                let mut decisions: Vec<Decision> = Vec::new();
                for (range, _) in outward.opened.iter().take(SHOWN) {
                    let found =
                        side.map(|(view, index)| view.decisions(Peer::Workload(index), Peer::Range(*range)));
                    let fresh = found.into_iter().flatten().filter(|one| !decisions.contains(one));
                    let fresh: Vec<Decision> = fresh.collect();
                    decisions.extend(fresh);
                }
                decisions
            };
            words(decisive(&of(before), &of(after), false))
        };
        self.rules.entry(key).or_insert_with(decided).clone()
    }
}
