//! When what the events of a log say is told.
//!
//! An event touches parts of a state, such as the namespaces of a cluster. It is due when each of its parts was quiet for
//! a while, or when the first event that waits for the part came too long ago; never before an earlier event that
//! touches one of the same parts. So a part that changes all the time holds up no other, and the events of each part
//! stay in order. An event that may touch every part is due when no other such event came for a while, and takes all
//! that came before it along.
//!
//! Times are milliseconds of the broker: owners of one log come to the same result, and a take-over starts no wait anew.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

/// Quiet time after which the events of a part count as settled.
pub const QUIET: Duration = Duration::from_millis(500);
/// Longest time that an event waits for its parts to be quiet.
pub const LONGEST_BURST: Duration = Duration::from_secs(5);

/// What an event of a log touches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Parts {
    /// Any part of the state.
    All,
    /// These parts alone.
    Of(Vec<String>),
}

/// How long events wait.
#[derive(Debug, Clone)]
pub struct Settling {
    /// Quiet of a part after which its events are due; with zero nothing waits.
    pub quiet: Duration,
    /// Longest wait of an event.
    pub longest: Duration,
    clock: Option<Arc<AtomicI64>>,
}

impl Settling {
    /// This quiet, and [`LONGEST_BURST`].
    pub fn after(quiet: Duration) -> Self {
        Self { quiet, longest: LONGEST_BURST, clock: None }
    }

    /// Takes the time from `clock`, in milliseconds, and not from the broker: for tests.
    #[must_use]
    pub fn with_clock(self, clock: Arc<AtomicI64>) -> Self {
        Self { clock: Some(clock), ..self }
    }

    /// The clock, which knows the broker's time as of this instant.
    pub(super) fn clock(&self, server_ms: i64) -> Clock {
        match &self.clock {
            Some(clock) => Clock::Set(Arc::clone(clock)),
            None => Clock::Broker { read: Instant::now(), ms: server_ms },
        }
    }

    /// The events that are due at a time, of those that wait, which are given by rising sequence.
    pub fn due<'e>(&self, waiting: impl IntoIterator<Item = Waiting<'e>>, now: i64) -> Due {
        let waiting: Vec<Waiting<'_>> = waiting.into_iter().collect();
        if self.quiet.is_zero() {
            return Due { events: waiting.iter().map(|event| event.seq).collect(), next: None };
        }
        Spans::of(&waiting, millis(self.quiet), millis(self.longest)).due(&waiting, now)
    }
}

/// An event that is not folded in yet.
#[derive(Debug, Clone, Copy)]
pub struct Waiting<'e> {
    pub seq: u64,
    pub parts: &'e Parts,
    /// When it was stored.
    pub at: i64,
}

/// What is due at a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due {
    pub events: BTreeSet<u64>,
    /// When more may be due, if no event comes; none when nothing waits any more.
    pub next: Option<i64>,
}

/// When the first and the last event that wait for a part came.
#[derive(Debug, Clone, Copy)]
struct Span {
    first: i64,
    last: i64,
}

impl Span {
    fn with(known: Option<Self>, at: i64) -> Self {
        known.map_or(Self { first: at, last: at }, |known| Self {
            first: known.first.min(at),
            last: known.last.max(at),
        })
    }
}

struct Spans<'e> {
    quiet: i64,
    longest: i64,
    /// Of the events that may touch every part.
    all: Option<Span>,
    parts: HashMap<&'e str, Span>,
}

impl<'e> Spans<'e> {
    fn of(waiting: &[Waiting<'e>], quiet: i64, longest: i64) -> Self {
        let mut spans = Self { quiet, longest, all: None, parts: HashMap::new() };
        for event in waiting {
            match event.parts {
                Parts::All => spans.all = Some(Span::with(spans.all, event.at)),
                Parts::Of(parts) => {
                    for part in parts {
                        let known = spans.parts.get(part.as_str()).copied();
                        spans.parts.insert(part, Span::with(known, event.at));
                    }
                }
            }
        }
        spans
    }

    /// When a part is due by quiet, and when at the latest.
    fn times(&self, part: &str) -> Option<(i64, i64)> {
        let span = self.parts.get(part)?;
        let last = self.all.map_or(span.last, |all| all.last.max(span.last));
        Some((last + self.quiet, span.first + self.longest))
    }

    fn due(&self, waiting: &[Waiting<'_>], now: i64) -> Due {
        let all = self.all.map(|all| (all.last + self.quiet, all.first + self.longest));
        let is_due =
            |times: Option<(i64, i64)>| times.is_none_or(|(quiet, last)| now >= quiet || now >= last);
        let whole = waiting.iter().rev().find(|event| *event.parts == Parts::All);
        let along = whole.filter(|_| is_due(all)).map_or(0, |event| event.seq);
        let mut due = Due { events: BTreeSet::new(), next: None };
        let mut held: HashSet<&str> = HashSet::new();
        let mut all_held = false;
        for event in waiting {
            let mut times: Vec<(i64, i64)> = Vec::new();
            let ready = match event.parts {
                _ if event.seq <= along => true,
                Parts::All => {
                    all_held = true;
                    times.extend(all);
                    false
                }
                Parts::Of(parts) => {
                    times.extend(parts.iter().filter_map(|part| self.times(part)));
                    let overdue = now >= event.at + self.longest;
                    let behind = all_held || parts.iter().any(|part| held.contains(part.as_str()));
                    !behind && (overdue || times.iter().all(|times| is_due(Some(*times))))
                }
            };
            if ready {
                due.events.insert(event.seq);
                continue;
            }
            if let Parts::Of(parts) = event.parts {
                held.extend(parts.iter().map(String::as_str));
            }
            let times = times.into_iter().flat_map(|(quiet, last)| [quiet, last]);
            let next = times.chain([event.at + self.longest]).filter(|time| *time > now).min();
            due.next = due.next.into_iter().chain(next).min();
        }
        due
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX / 4).min(i64::MAX / 4)
}

/// The broker's time without asking it each time.
#[derive(Debug, Clone)]
pub(super) enum Clock {
    Broker { read: Instant, ms: i64 },
    Set(Arc<AtomicI64>),
}

/// How long the broker's time is taken from this machine's clock until it is asked for again.
const BELIEVED: Duration = Duration::from_secs(60);
/// How often a clock that somebody else sets is looked at.
const LOOKED_AT: Duration = Duration::from_millis(10);

impl Clock {
    /// Milliseconds.
    pub(super) fn now(&self) -> i64 {
        match self {
            Self::Broker { read, ms } => ms + millis(read.elapsed()),
            Self::Set(clock) => clock.load(Ordering::SeqCst),
        }
    }

    pub(super) fn is_old(&self) -> bool {
        matches!(self, Self::Broker { read, .. } if read.elapsed() > BELIEVED)
    }

    /// How long to wait for a time.
    pub(super) fn until(&self, ms: i64) -> Duration {
        match self {
            Self::Broker { .. } => Duration::from_millis(u64::try_from(ms - self.now()).unwrap_or(0)),
            Self::Set(_) => LOOKED_AT,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SETTLING: Settling =
        Settling { quiet: Duration::from_millis(5), longest: Duration::from_millis(50), clock: None };

    fn of(parts: &str) -> Parts {
        if parts == "*" {
            Parts::All
        } else {
            Parts::Of(parts.split_terminator(',').map(str::to_owned).collect())
        }
    }

    /// Sequences are places in the list, from 1.
    fn due(events: &[(&Parts, i64)], now: i64) -> Due {
        let waiting = events.iter().zip(1..).map(|((parts, at), seq)| Waiting { seq, parts, at: *at });
        SETTLING.due(waiting, now)
    }

    #[test]
    fn parts_are_due_for_themselves() {
        // Events with their times; a time, what is due then, and when more may be.
        type Case<'a> = (&'a [(&'a str, i64)], i64, &'a [u64], Option<i64>);
        let cases: &[Case<'_>] = &[
            (&[], 9, &[], None),
            (&[("a", 0)], 4, &[], Some(5)),
            (&[("a", 0)], 5, &[1], None),
            // A quiet part beside a busy one.
            (&[("b", 0), ("a", 1), ("b", 5)], 6, &[2], Some(10)),
            // Busy for too long: all that waits for the part.
            (&[("b", 0), ("b", 4), ("b", 48)], 49, &[], Some(50)),
            (&[("b", 0), ("b", 4), ("b", 48)], 50, &[1, 2, 3], None),
            // Of two parts: both have to be quiet, and what comes later of one waits behind.
            (&[("a,b", 0), ("b", 4), ("a", 1)], 6, &[], Some(9)),
            (&[("a,b", 0), ("b", 4), ("a", 1)], 9, &[1, 2, 3], None),
            // The first of b is too old; what touches c too waits for c.
            (&[("b", 0), ("b,c", 30), ("b", 49), ("c", 49)], 50, &[1], Some(54)),
            (&[("b", 0), ("b,c", 30), ("b", 49), ("c", 49)], 54, &[1, 2, 3, 4], None),
            // All parts: everything before goes along, whatever is busy; what comes after waits for itself.
            (&[("b", 0), ("*", 2), ("b", 6)], 7, &[1, 2], Some(11)),
            (&[("*", 0), ("a", 1)], 4, &[], Some(5)),
            (&[("a", 0), ("*", 4)], 5, &[], Some(9)),
            (&[("a", 0), ("*", 4)], 9, &[1, 2], None),
            (&[("*", 0), ("*", 4), ("*", 46), ("a", 49)], 50, &[1, 2, 3], Some(54)),
            // Nothing at all is touched.
            (&[("", 0)], 0, &[1], None),
        ];
        for (events, now, expected, next) in cases {
            let parts: Vec<Parts> = events.iter().map(|(parts, _)| of(parts)).collect();
            let events: Vec<(&Parts, i64)> = parts.iter().zip(events.iter().map(|(_, at)| *at)).collect();
            let found = due(&events, *now);
            assert_eq!(
                found,
                Due { events: expected.iter().copied().collect(), next: *next },
                "{events:?} at {now}"
            );
        }
    }

    #[test]
    fn without_quiet_nothing_waits() {
        let waiting = [Waiting { seq: 7, parts: &Parts::All, at: 100 }];
        assert_eq!(Settling::after(Duration::ZERO).due(waiting, 0).events, [7].into());
    }

    fn share(one: &Parts, other: &Parts) -> bool {
        match (one, other) {
            (Parts::Of(one), Parts::Of(other)) => one.iter().any(|part| other.contains(part)),
            _ => true,
        }
    }

    proptest! {
        #[test]
        fn what_is_due(
            steps in proptest::collection::vec((proptest::sample::select(["a", "b", "c", "a,b", "b,c", "*"].as_slice()), 0i64..30), 1..16),
            late in 0i64..80,
        ) {
            let mut at = 0;
            let events: Vec<(Parts, i64)> = steps.into_iter().map(|(parts, wait)| { at += wait; (of(parts), at) }).collect();
            let now = at.max(late);
            let listed: Vec<(&Parts, i64)> = events.iter().map(|(parts, at)| (parts, *at)).collect();
            let found = due(&listed, now);
            let is_due = |index: usize| found.events.contains(&(index as u64 + 1));
            for (index, (parts, at)) in events.iter().enumerate() {
                let earlier = || events.iter().enumerate().take(index);
                let touching = |wanted: &Parts| events.iter().filter(|(other, _)| share(other, wanted)).map(|(_, at)| *at).collect::<Vec<_>>();
                // Nothing overtakes what touches the same part, and nothing waits longer than the longest.
                prop_assert!(!is_due(index) || earlier().all(|(n, (other, _))| is_due(n) || !share(parts, other)));
                prop_assert!(is_due(index) || now < at + 50);
                // What has been quiet, and shares nothing with what waits, is due.
                let quiet = touching(parts).iter().all(|at| now >= at + 5);
                let alone = events.iter().all(|(other, _)| other == parts || !share(other, parts));
                prop_assert!(is_due(index) || !(quiet && alone));
                // What is due was quiet, or something that it waits with is old, or goes along with a change of everything.
                let old = touching(parts).iter().any(|at| now >= at + 50);
                let along = events.iter().enumerate().skip(index).any(|(n, (other, _))| *other == Parts::All && is_due(n));
                prop_assert!(!is_due(index) || quiet || old || along);
            }
            // Until the next time nothing more is due; at the end everything is.
            for between in now..found.next.unwrap_or(now) {
                prop_assert_eq!(&due(&listed, between), &found);
            }
            prop_assert_eq!(found.next.is_none(), found.events.len() == events.len());
            prop_assert!(found.next.is_none_or(|next| next > now && next <= at + 5));
            prop_assert_eq!(due(&listed, at + 5).events.len(), events.len());
        }
    }
}
