//! OSV events become disjoint intervals of versions
//! (<https://ossf.github.io/osv-schema/#evaluation>).

use std::cmp::Ordering;

use plimsoll_version::{InvalidVersion, Scheme, Version};

/// A run of affected versions.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Interval {
    /// The first affected version; `None` for every version below the end.
    pub start: Option<String>,
    pub end: End,
}

/// Where a run of affected versions ends.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum End {
    /// No end is known.
    Open,
    /// This version has the fix.
    Fixed(String),
    /// This version is the last one that is known to be affected; no fixed version is stated.
    Last(String),
    /// The advisory says nothing of this version and later ones.
    Limit(String),
}

/// One event of an OSV range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    Introduced(String),
    Fixed(String),
    LastAffected(String),
    Limit(String),
}

impl Event {
    fn version(&self) -> &str {
        match self {
            Self::Introduced(v) | Self::Fixed(v) | Self::LastAffected(v) | Self::Limit(v) => v,
        }
    }

    /// OSV's "0" stands before every version.
    fn is_origin(&self) -> bool {
        matches!(self, Self::Introduced(v) if v == "0")
    }
}

/// The intervals that `events` describe. Events may come in any order; several introduced and fixed versions may
/// follow one another; events of equal version keep their order. A version that the scheme cannot read fails the whole
/// range, because nothing can then be said of its order.
pub fn intervals(scheme: Scheme, events: &[Event]) -> Result<Vec<Interval>, InvalidVersion> {
    let mut sorted: Vec<(Option<Version>, &Event)> = Vec::with_capacity(events.len());
    let mut limit: Option<(Version, &str)> = None;
    let mut unlimited = false;
    for event in events {
        if let Event::Limit(version) = event {
            if version == "*" {
                unlimited = true;
                continue;
            }
            let parsed = scheme.parse(version)?;
            if limit.as_ref().is_none_or(|(most, _)| parsed.cmp_same(most) == Some(Ordering::Greater)) {
                limit = Some((parsed, version));
            }
            continue;
        }
        let parsed = if event.is_origin() { None } else { Some(scheme.parse(event.version())?) };
        sorted.push((parsed, event));
    }
    sorted.sort_by(|(a, _), (b, _)| match (a, b) {
        (Some(a), Some(b)) => a.cmp_same(b).unwrap_or(Ordering::Equal),
        (a, b) => a.is_some().cmp(&b.is_some()),
    });
    let mut found = Vec::new();
    let mut open: Option<Option<String>> = None;
    for (_, event) in &sorted {
        match (event, &open) {
            (Event::Introduced(_), None) => {
                open = Some((!event.is_origin()).then(|| event.version().to_owned()));
            }
            (Event::Fixed(version), Some(start)) => {
                found.push(Interval { start: start.clone(), end: End::Fixed(version.clone()) });
                open = None;
            }
            (Event::LastAffected(version), Some(start)) => {
                found.push(Interval { start: start.clone(), end: End::Last(version.clone()) });
                open = None;
            }
            _ => {}
        }
    }
    if let Some(start) = open {
        let end = match (&limit, unlimited) {
            (Some((_, version)), false) => End::Limit((*version).to_owned()),
            _ => End::Open,
        };
        found.push(Interval { start, end });
    }
    if let (Some((most, text)), false) = (&limit, unlimited) {
        cut(&mut found, most, text)?;
    }
    Ok(found)
}

/// Ends at `limit` what reaches past it, and drops what begins at it or later.
fn cut(found: &mut Vec<Interval>, limit: &Version, text: &str) -> Result<(), InvalidVersion> {
    let mut kept = Vec::with_capacity(found.len());
    for mut interval in found.drain(..) {
        if let Some(start) = &interval.start
            && limit.cmp_str(start)? != Ordering::Greater
        {
            continue;
        }
        let past = match &interval.end {
            End::Open | End::Limit(_) => true,
            End::Fixed(end) => limit.cmp_str(end)? == Ordering::Less,
            End::Last(end) => limit.cmp_str(end)? != Ordering::Greater,
        };
        if past {
            interval.end = End::Limit(text.to_owned());
        }
        kept.push(interval);
    }
    *found = kept;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(events: &[(&str, &str)]) -> Vec<String> {
        let events: Vec<Event> = events
            .iter()
            .map(|&(kind, version)| {
                let version = version.to_owned();
                match kind {
                    "introduced" => Event::Introduced(version),
                    "fixed" => Event::Fixed(version),
                    "last" => Event::LastAffected(version),
                    _ => Event::Limit(version),
                }
            })
            .collect();
        let scheme: Scheme = "semver".parse().unwrap();
        intervals(scheme, &events).unwrap().iter().map(|i| format!("{:?} {:?}", i.start, i.end)).collect()
    }

    #[test]
    fn events_in_any_order() {
        let expected = ["None Fixed(\"1.2.0\")", "Some(\"2.0.0\") Fixed(\"2.1.0\")"];
        assert_eq!(
            of(&[("introduced", "2.0.0"), ("fixed", "2.1.0"), ("fixed", "1.2.0"), ("introduced", "0")]),
            expected
        );
    }

    #[test]
    fn table_of_shapes() {
        assert_eq!(of(&[("introduced", "1.0.0")]), ["Some(\"1.0.0\") Open"]);
        assert_eq!(of(&[("introduced", "0"), ("last", "1.0.0")]), ["None Last(\"1.0.0\")"]);
        // A second fix without an introduction between says nothing.
        assert_eq!(
            of(&[("introduced", "0"), ("fixed", "1.0.0"), ("fixed", "2.0.0")]),
            ["None Fixed(\"1.0.0\")"]
        );
        assert_eq!(of(&[("fixed", "1.0.0")]), Vec::<String>::new());
        assert_eq!(of(&[("introduced", "0"), ("limit", "2.0.0")]), ["None Limit(\"2.0.0\")"]);
        assert_eq!(of(&[("introduced", "0"), ("limit", "*")]), ["None Open"]);
        assert_eq!(of(&[("introduced", "3.0.0"), ("limit", "2.0.0")]), Vec::<String>::new());
        assert_eq!(
            of(&[("introduced", "0"), ("fixed", "1.0.0"), ("limit", "2.0.0")]),
            ["None Fixed(\"1.0.0\")"]
        );
    }

    #[test]
    fn an_unreadable_version_fails_the_range() {
        let scheme: Scheme = "semver".parse().unwrap();
        assert!(
            intervals(scheme, &[Event::Introduced("0".into()), Event::Fixed("not a version".into())])
                .is_err()
        );
    }
}
