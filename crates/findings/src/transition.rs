//! One finding × what should be -> the finding and its change, if any.

use plimsoll_model::finding::{Change, ChangeKind, Class, Finding, FindingState};
use plimsoll_model::{FindingKey, Timestamp};

use crate::desired::Desired;
use crate::id::finding_id;

/// What should become of a finding.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// It should be open like this; `origin` says where it was before, if it moved here.
    Open(Box<Desired>, Option<Origin>),
    /// It would be open like this, but statements say that it should not.
    Suppressed(Box<Desired>),
    /// It should not be open.
    Gone(Gone),
}

/// The finding that an opening one continues: its clock goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    pub opened_at: Timestamp,
    pub due: Option<Timestamp>,
    pub class: Class,
    /// True when only the holder differs (rescoped); false when the vulnerability got another canonical id.
    pub rescoped: bool,
}

/// Why a finding should not be open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gone {
    /// The holder has no affected version of the package any more.
    Fixed,
    /// An advisory or statement says that it is not affected.
    Denied,
    /// Workloads that run the repository's images have it now, or the other way round.
    Rescoped,
    /// The vulnerability is an alias of another one that is open.
    Merged,
}

/// What a step gives.
#[derive(Debug, Clone, PartialEq)]
pub enum Transition {
    /// Nothing to store.
    Unchanged,
    /// To be stored, but nothing that subscribers care about changed (rank, images, evidence, Db).
    Silent(Box<Finding>),
    /// To be stored and published.
    Published(Box<Change>),
}

/// The next state of the finding of `key`. Pure; applying the same outcome twice is [`Transition::Unchanged`] the second time.
///
/// The due date is set when the finding opens and then moves only earlier; a finding that reopens goes on with its
/// old clock. The revision rises by one with each published change; a finding that was suppressed before it was ever told
/// has revision 0 and opens as a new one.
pub fn transition(current: Option<Finding>, outcome: Outcome, now: Timestamp) -> Transition {
    match (current, outcome) {
        (None, Outcome::Gone(_)) => Transition::Unchanged,
        (None, Outcome::Open(desired, origin)) => opened(*desired, origin.as_ref(), now),
        (Some(finding), Outcome::Gone(gone)) => closed(finding, gone),
        (finding, Outcome::Suppressed(desired)) => suppressed(finding, *desired, now),
        (Some(finding), Outcome::Open(desired, origin))
            if finding.revision == 0 && finding.state != FindingState::Open =>
        {
            opened(*desired, origin.as_ref(), now)
        }
        (Some(finding), Outcome::Open(desired, _)) if finding.state == FindingState::Open => {
            still_open(finding, *desired, now)
        }
        (Some(finding), Outcome::Open(desired, origin)) => reopened(finding, *desired, origin.as_ref(), now),
    }
}

fn due(class: Class, from: Timestamp) -> Option<Timestamp> {
    class.days().map(|days| from.plus_days(days))
}

fn earlier(a: Option<Timestamp>, b: Option<Timestamp>) -> Option<Timestamp> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

fn build(
    id: String,
    revision: u64,
    desired: Desired,
    opened_at: Timestamp,
    due: Option<Timestamp>,
) -> Finding {
    Finding {
        id,
        key: desired.key,
        revision,
        state: FindingState::Open,
        assessment: desired.assessment,
        vulnerability: desired.vulnerability,
        versions: desired.versions,
        fixed: desired.fixed,
        status: desired.status,
        images: desired.images,
        advisory: desired.advisory,
        opened_at,
        due,
        db_seq: desired.db_seq,
        evidence: desired.evidence,
        suppressions: desired.suppressions,
    }
}

fn published(kind: ChangeKind, previous_class: Option<Class>, finding: Finding) -> Transition {
    Transition::Published(Box::new(Change { kind, previous_class, finding }))
}

fn opened(desired: Desired, origin: Option<&Origin>, now: Timestamp) -> Transition {
    let fresh = due(desired.assessment.class, now);
    let (opened_at, due) = match origin {
        Some(origin) => (origin.opened_at.min(now), earlier(origin.due, fresh)),
        None => (now, fresh),
    };
    let kind = match origin {
        Some(Origin { rescoped: true, .. }) => ChangeKind::Rescoped,
        Some(_) | None => ChangeKind::Opened,
    };
    let id = finding_id(&desired.key);
    published(kind, origin.map(|o| o.class), build(id, 1, desired, opened_at, due))
}

fn reopened(old: Finding, desired: Desired, origin: Option<&Origin>, now: Timestamp) -> Transition {
    let clock = earlier(old.due, due(desired.assessment.class, now));
    let (opened_at, due) = match origin {
        Some(origin) => (old.opened_at.min(origin.opened_at), earlier(clock, origin.due)),
        None => (old.opened_at, clock),
    };
    let kind = match origin {
        Some(Origin { rescoped: true, .. }) => ChangeKind::Rescoped,
        Some(_) | None => ChangeKind::Reopened,
    };
    published(kind, origin.map(|o| o.class), build(old.id, old.revision + 1, desired, opened_at, due))
}

fn suppressed(old: Option<Finding>, desired: Desired, now: Timestamp) -> Transition {
    let suppress = |mut finding: Finding| {
        finding.state = FindingState::Suppressed;
        finding
    };
    let Some(old) = old else {
        // Nobody was told of it; it is kept so that it can be seen.
        let id = finding_id(&desired.key);
        let due = due(desired.assessment.class, now);
        return Transition::Silent(Box::new(suppress(build(id, 0, desired, now, due))));
    };
    let due = earlier(old.due, due(desired.assessment.class, old.opened_at));
    let next = suppress(build(old.id.clone(), old.revision, desired, old.opened_at, due));
    match old.state {
        FindingState::Open => {
            let class = old.assessment.class;
            let next = Finding { revision: old.revision + 1, ..next };
            published(ChangeKind::Suppressed, Some(class), next)
        }
        _ if next == old => Transition::Unchanged,
        _ => Transition::Silent(Box::new(next)),
    }
}

fn closed(old: Finding, gone: Gone) -> Transition {
    let (state, kind) = match gone {
        Gone::Denied => (FindingState::Suppressed, ChangeKind::Suppressed),
        Gone::Fixed => (FindingState::Fixed, ChangeKind::Fixed),
        Gone::Rescoped => (FindingState::Fixed, ChangeKind::Rescoped),
        Gone::Merged => (FindingState::Fixed, ChangeKind::Merged),
    };
    match old.state {
        FindingState::Open => {
            let class = old.assessment.class;
            let (images, suppressions) = (Vec::new(), Vec::new());
            let next = Finding { state, images, suppressions, revision: old.revision + 1, ..old };
            published(kind, Some(class), next)
        }
        // Its end was told; which end it is now is kept without telling again.
        _ if old.state == state && old.suppressions.is_empty() => Transition::Unchanged,
        _ => Transition::Silent(Box::new(Finding {
            state,
            images: Vec::new(),
            suppressions: Vec::new(),
            ..old
        })),
    }
}

fn still_open(old: Finding, desired: Desired, now: Timestamp) -> Transition {
    let due = earlier(old.due, due(desired.assessment.class, now));
    let previous = old.assessment.class;
    let (before, after) = (&old.assessment.factors, &desired.assessment.factors);
    let kind = if previous != desired.assessment.class {
        Some(ChangeKind::Reclassified)
    } else if old.versions != desired.versions
        || old.fixed != desired.fixed
        || old.status != desired.status
        || before.exploited != after.exploited
        || before.exposed != after.exposed
        || before.level != after.level
    {
        Some(ChangeKind::Updated)
    } else {
        None
    };
    let next = build(old.id.clone(), old.revision, desired, old.opened_at, due);
    match kind {
        Some(kind) => published(kind, Some(previous), Finding { revision: old.revision + 1, ..next }),
        None if next == old => Transition::Unchanged,
        None => Transition::Silent(Box::new(next)),
    }
}

/// The finding, among those that close, that an opening one continues: the same vulnerability under an older id.
pub fn merged_into<'a>(
    desired: &Desired,
    closing: impl Iterator<Item = &'a FindingKey>,
) -> Option<&'a FindingKey> {
    let mut closing = closing.filter(|key| {
        key.holder == desired.key.holder
            && key.package == desired.key.package
            && desired.vulnerability.aliases.contains(&key.vulnerability)
    });
    closing.next()
}
