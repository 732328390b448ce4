//! What is killed in a run, and where: the seed decides.

use std::collections::BTreeMap;

use crate::crash::scenario::STEPS;
use crate::dice::Dice;
use crate::fleet::ROLES;

/// Labelled points by the role that passes them, with the passage at which a process may die at most: points that
/// are passed seldom die at the first.
pub const LABELS: &[(&str, &str, u64)] = &[
    ("gateway", "gateway.published", 12),
    ("gateway", "gateway.deployed", 2),
    ("feeds", "feeds.stored", 1),
    ("feeds", "feeds.current", 1),
    ("unpack", "manifest.received", 8),
    ("unpack", "manifest.ran", 8),
    ("unpack", "manifest.recorded", 8),
    ("unpack", "manifest.published", 8),
    ("unpack", "manifest.acked", 8),
    ("unpack", "hint.received", 3),
    ("unpack", "hint.ran", 2),
    ("unpack", "hint.published", 2),
    ("unpack", "layer.received", 6),
    ("unpack", "layer.claimed", 6),
    ("unpack", "layer.stored", 5),
    ("unpack", "layer.ran", 5),
    ("unpack", "layer.recorded", 5),
    ("unpack", "layer.published", 5),
    ("unpack", "layer.acked", 5),
    ("unpack", "layer.buried", 1),
    ("unpack", "join.received", 6),
    ("unpack", "join.ran", 6),
    ("unpack", "join.published", 6),
    ("unpack", "join.acked", 6),
    ("unpack", "resolve.received", 2),
    ("unpack", "resolve.ran", 2),
    ("unpack", "resolve.published", 2),
    ("unpack", "resolve.acked", 2),
    ("sbom", "sbom.received", 6),
    ("sbom", "sbom.stored", 6),
    ("sbom", "sbom.ran", 6),
    ("sbom", "sbom.published", 6),
    ("sbom", "sbom.acked", 6),
    ("scan", "scan.received", 6),
    ("scan", "scan.ran", 6),
    ("scan", "scan.published", 6),
    ("scan", "scan.acked", 6),
    ("netpol", "netpol.leased", 2),
    ("netpol", "netpol.published", 2),
    ("netpol", "netpol.checkpointed", 2),
    ("netpol", "netpol.applied", 2),
    ("aggregator", "aggregator.received", 8),
    ("aggregator", "aggregator.committed", 8),
    ("aggregator", "aggregator.acked", 8),
    ("aggregator", "relay.published", 20),
    ("aggregator", "relay.marked", 6),
];

/// A kill from outside, before a step or a little into it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Strike {
    pub step: usize,
    /// Milliseconds after the step began.
    pub after: u64,
    pub whom: Whom,
}

/// Who is killed from outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Whom {
    Role(&'static str),
    /// nats-server, which is started again after so many milliseconds.
    Broker(u64),
}

/// The kills of one run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// The point that this seed is for.
    pub point: String,
    /// Labels by role and life.
    pub ends: BTreeMap<(String, u32), String>,
    pub strikes: Vec<Strike>,
    /// Milliseconds between the steps.
    pub pauses: Vec<u64>,
}

impl Plan {
    /// A run in which nobody dies.
    pub fn undisturbed() -> Self {
        Self { point: "nothing".into(), pauses: vec![20; STEPS], ..Self::default() }
    }

    /// The kills of a seed. Consecutive seeds go through all points; every second seed has a further kill.
    pub fn of(seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let pauses =
            (0..STEPS).map(|_| if dice.one_in(4) { dice.roll(900) } else { dice.roll(120) }).collect();
        let mut plan = Self { pauses, ..Self::default() };
        let points = LABELS.len() + ROLES.len() + 2;
        let index = usize::try_from(seed % u64::try_from(points).unwrap_or(1)).unwrap_or(0);
        plan.point = plan.add(index, &mut dice);
        if dice.one_in(2) {
            let other = dice.index(points);
            plan.add(other, &mut dice);
        }
        plan
    }

    fn add(&mut self, index: usize, dice: &mut Dice) -> String {
        if let Some((role, label, most)) = LABELS.get(index) {
            // Half of the kills at the first passage: the start of a process is the tenderest time.
            let passage = if dice.one_in(2) { 1 } else { 1 + dice.roll(*most) };
            let life = if *role == "feeds" { 1 + u32::try_from(dice.roll(2)).unwrap_or(0) } else { 1 };
            self.ends.entry(((*role).to_owned(), life)).or_insert_with(|| format!("{label}:{passage}"));
            return (*label).to_owned();
        }
        let strike = |whom, dice: &mut Dice| Strike { step: dice.index(STEPS), after: dice.roll(400), whom };
        match ROLES.get(index - LABELS.len()) {
            Some(role) => {
                self.strikes.push(strike(Whom::Role(role), dice));
                format!("kill -9 {role}")
            }
            None => {
                let down = dice.roll(1_500);
                self.strikes.push(strike(Whom::Broker(down), dice));
                "kill -9 nats-server".to_owned()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_point_has_a_seed_and_a_seed_one_plan() {
        let points = u64::try_from(LABELS.len() + ROLES.len() + 2).unwrap_or(0);
        let reached: BTreeSet<String> = (0..points).map(|seed| Plan::of(seed).point).collect();
        assert!(LABELS.iter().all(|(_, label, _)| reached.contains(*label)));
        assert!(ROLES.iter().all(|role| reached.contains(&format!("kill -9 {role}"))));
        assert!(reached.contains("kill -9 nats-server"));
        assert_eq!(Plan::of(5), Plan::of(5));
    }
}
