//! Vulnerabilities of Node.js itself: `vuln/core/*.json` of <https://github.com/nodejs/security-wg>, one file each, or
//! joined into one object by number. `vulnerable` and `patched` are npm ranges; what is vulnerable and not patched is
//! affected. They match programs that are found by their content, as `pkg:generic/node`.

use std::collections::BTreeMap;

use plimsoll_model::package::Ecosystem;
use plimsoll_model::vulnerability::MatchStatus;
use serde::Deserialize;

use super::{Sink, clip, nullable};
use crate::advisory::{Advisory, Affected, Record};
use crate::aliases::is_cve;
use crate::names::{LookupKey, scheme};
use crate::ranges::{End, Interval};
use crate::score::severity_word;

#[derive(Deserialize)]
struct Entry {
    #[serde(default, deserialize_with = "nullable")]
    cve: Vec<String>,
    vulnerable: String,
    #[serde(default, deserialize_with = "nullable")]
    patched: String,
    #[serde(default, deserialize_with = "nullable")]
    description: String,
    #[serde(default, deserialize_with = "nullable")]
    severity: String,
}

pub(crate) fn document(place: &str, bytes: &[u8], sink: &mut Sink<'_>) {
    if let Ok(entry) = serde_json::from_slice::<Entry>(bytes) {
        let number = place.rsplit('/').next().unwrap_or(place).trim_end_matches(".json");
        return take(number, &entry, sink);
    }
    let Ok(entries) = serde_json::from_slice::<BTreeMap<String, serde_json::Value>>(bytes) else {
        return sink.reject(place, "json_invalid");
    };
    for (number, value) in entries {
        match serde_json::from_value::<Entry>(value) {
            Ok(entry) => take(&number, &entry, sink),
            Err(_) => sink.reject(&number, "json_invalid"),
        }
    }
}

fn take(number: &str, entry: &Entry, sink: &mut Sink<'_>) {
    let id = format!("NODE-CORE-{number}");
    if !super::id_is_valid(&id) {
        return sink.reject(number, "id_invalid");
    }
    let (Some(vulnerable), Some(patched)) = (spans(&entry.vulnerable), spans(&entry.patched)) else {
        return sink.reject(&id, "version_invalid");
    };
    let intervals = affected(&vulnerable, &patched);
    let Some(scheme) = scheme(Ecosystem::Generic) else { return };
    if intervals.is_empty() {
        return sink.reject(&id, "nothing_affected");
    }
    let affected = Affected {
        key: LookupKey::new(Ecosystem::Generic, None, "node"),
        scheme,
        status: MatchStatus::Affected,
        severity: severity_word(&entry.severity),
        intervals,
        versions: Vec::new(),
        arches: Vec::new(),
    };
    let advisory = Advisory {
        id,
        feed: "nodejs",
        names: entry.cve.iter().filter(|id| is_cve(id)).cloned().collect(),
        summary: clip(entry.description.trim(), 256),
        severity: severity_word(&entry.severity),
        affected: vec![affected],
        ..Advisory::default()
    };
    sink.record(Record::Advisory(advisory), None);
}

type Triple = [u64; 3];

/// From the first to before the second.
type Span = (Triple, Triple);

const END: Triple = [u64::MAX; 3];

/// The versions of a range without pre-releases; `None` for what is no range.
fn spans(range: &str) -> Option<Vec<Span>> {
    if range.trim().is_empty() {
        return Some(Vec::new());
    }
    range.split("||").take(256).map(alternative).collect()
}

fn alternative(text: &str) -> Option<Span> {
    let mut span = ([0; 3], END);
    let spaced = text.replace(">= ", ">=").replace("<= ", "<=").replace("> ", ">").replace("< ", "<");
    if let Some((low, high)) = spaced.split_once(" - ") {
        return Some((partial(low)?.0, partial(high)?.1));
    }
    for word in spaced.split_ascii_whitespace() {
        let (low, high) = comparator(word)?;
        span = (span.0.max(low), span.1.min(high));
    }
    Some(span)
}

fn comparator(word: &str) -> Option<Span> {
    let (sign, version) = word.split_at(word.find(|c: char| !"<>=^~".contains(c)).unwrap_or(word.len()));
    let (low, high) = partial(version)?;
    let next = |at: usize| {
        let mut next = [0; 3];
        for (n, (to, from)) in next.iter_mut().zip(low).enumerate() {
            match n.cmp(&at) {
                std::cmp::Ordering::Less => *to = from,
                std::cmp::Ordering::Equal => *to = from.saturating_add(1),
                std::cmp::Ordering::Greater => {}
            }
        }
        next
    };
    Some(match sign {
        "" | "=" => (low, high),
        ">=" => (low, END),
        ">" => (high, END),
        "<" => ([0; 3], low),
        "<=" => ([0; 3], high),
        // The first number that is not zero may not change.
        "^" => (low, next(low.iter().position(|&n| n > 0).unwrap_or(2))),
        "~" => (low, if version.contains('.') { next(1) } else { next(0) }),
        _ => return None,
    })
}

/// A version or a part of one (`4`, `4.x`, `4.2.1`): all that it stands for.
fn partial(text: &str) -> Option<Span> {
    let text = text.trim().trim_start_matches('v');
    let mut low: Triple = [0; 3];
    let mut known = 0;
    for (n, part) in text.split('.').enumerate() {
        if matches!(part, "x" | "X" | "*") {
            break;
        }
        *low.get_mut(n)? = part.parse().ok()?;
        known = n + 1;
    }
    let mut high = low;
    match known.checked_sub(1).and_then(|last| high.get_mut(last)) {
        Some(last) => *last = u64::saturating_add(*last, 1),
        None => high = END,
    }
    Some((low, high))
}

/// What is vulnerable, less what is patched. Where a patched span begins is the fix.
fn affected(vulnerable: &[Span], patched: &[Span]) -> Vec<Interval> {
    let words = |[a, b, c]: Triple| format!("{a}.{b}.{c}");
    let mut found = Vec::new();
    for &(start, end) in vulnerable {
        let mut from = start;
        let mut fixes: Vec<Span> = patched.iter().copied().filter(|&(a, b)| a < end && b > start).collect();
        fixes.sort_unstable();
        let first = |from: Triple| (from != [0; 3]).then(|| words(from));
        for (fix, until) in fixes {
            if fix > from {
                found.push(Interval { start: first(from), end: End::Fixed(words(fix)) });
            }
            from = from.max(until);
        }
        if from < end {
            let end = match end {
                END => End::Open,
                end if patched.iter().any(|&(fix, _)| fix == end) => End::Fixed(words(end)),
                end => End::Limit(words(end)),
            };
            found.push(Interval { start: first(from), end });
        }
    }
    found.sort();
    found.dedup();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(vulnerable: &str, patched: &str) -> Vec<String> {
        let intervals = affected(&spans(vulnerable).unwrap(), &spans(patched).unwrap());
        intervals.iter().map(|i| format!("{:?} {:?}", i.start.as_deref().unwrap_or("0"), i.end)).collect()
    }

    #[test]
    fn what_is_vulnerable_and_not_patched() {
        assert_eq!(
            of("8.x || 4.x", "^8.1.4 || ^4.8.4"),
            ["\"4.0.0\" Fixed(\"4.8.4\")", "\"8.0.0\" Fixed(\"8.1.4\")"]
        );
        assert_eq!(of("<= 6.9.1", ">=6.9.2"), ["\"0\" Fixed(\"6.9.2\")"]);
        assert_eq!(of(">=18 <19", ""), ["\"18.0.0\" Limit(\"19.0.0\")"]);
        assert_eq!(of("1.0.0 - 1.2", "~1.1.5"), ["\"1.0.0\" Fixed(\"1.1.5\")", "\"1.2.0\" Limit(\"1.3.0\")"]);
        assert_eq!(of("*", "^0.10.2"), ["\"0\" Fixed(\"0.10.2\")", "\"0.11.0\" Open"]);
        assert!(spans("not a range").is_none() && spans("1.2.3.4").is_none());
    }
}
