//! The record of a package key, while a Db is built: see [`super::entry`] for what it holds.

use std::cmp::Ordering;

use plimsoll_model::package::Ecosystem;
use plimsoll_version::{Scheme, Version};
use rustc_hash::FxHashMap;

use super::DbError;
use super::codec::{put_text, put_varint};
use crate::advisory::Affected;
use crate::names::LookupKey;
use crate::ranges::{End, Interval};

/// Encodes the record of `key`; `about` gives the vulnerabilities of each advisory. `entries` are sorted by advisory.
pub(super) fn encode(
    key: &[u8],
    entries: &[(u32, &Affected)],
    about: &[Vec<u32>],
) -> Result<Vec<u8>, DbError> {
    let scheme = entries.first().map_or(Scheme::Semver, |(_, affected)| affected.scheme);
    let table = VersionTable::new(scheme, entries.iter().map(|(_, affected)| *affected));
    let mut out = Vec::with_capacity(256);
    put_varint(&mut out, key.len() as u64);
    out.extend_from_slice(key);
    table.encode(&mut out)?;
    let rpm = LookupKey::from_bytes(key).is_some_and(|key| key.ecosystem == Ecosystem::Rpm);
    put_varint(&mut out, entries.len() as u64);
    for &(advisory, affected) in entries {
        let mut entry = Vec::with_capacity(32);
        put_varint(&mut entry, u64::from(advisory));
        entry.push(affected.status as u8);
        entry.push(affected.severity as u8);
        let intervals = if rpm { one_build_each(&affected.intervals) } else { affected.intervals.clone() };
        let flavour = super::build::flavour(affected);
        let bounded = intervals.iter().any(|interval| interval.end != End::Open);
        entry.push(flavour as u8 | u8::from(bounded) << 4);
        let mut vulns = Vec::new();
        let list = about.get(advisory as usize).map(Vec::as_slice).unwrap_or_default();
        put_varint(&mut vulns, list.len() as u64);
        for &vuln in list {
            put_varint(&mut vulns, u64::from(vuln));
        }
        let kept: Vec<(Option<u32>, u8, Option<u32>)> =
            intervals.iter().filter_map(|interval| table.interval(interval)).collect();
        let mut ranges = Vec::new();
        put_varint(&mut ranges, kept.len() as u64);
        for &(start, kind, end) in &kept {
            put_varint(&mut ranges, start.map_or(0, |start| u64::from(start) + 1));
            ranges.push(kind);
            if let Some(end) = end {
                put_varint(&mut ranges, u64::from(end));
            }
        }
        let (mut single, mut texts): (Vec<u32>, Vec<&str>) = (Vec::new(), Vec::new());
        for version in &affected.versions {
            match table.number(version) {
                // The list repeats what the ranges say.
                Some(number) if kept.iter().any(|&range| table.holds(range, number)) => {}
                Some(number) => single.push(number),
                None => texts.push(version),
            }
        }
        let mut points = Vec::new();
        put_varint(&mut points, single.len() as u64);
        for number in single {
            put_varint(&mut points, u64::from(number));
        }
        let mut exact = Vec::new();
        put_varint(&mut exact, texts.len() as u64);
        for text in texts {
            put_text(&mut exact, text);
        }
        let mut arches = Vec::new();
        put_varint(&mut arches, affected.arches.len() as u64);
        for arch in &affected.arches {
            put_text(&mut arches, arch);
        }
        for list in [vulns, ranges, points, exact, arches] {
            put_varint(&mut entry, list.len() as u64);
            entry.extend_from_slice(&list);
        }
        put_varint(&mut out, entry.len() as u64);
        out.extend_from_slice(&entry);
    }
    Ok(out)
}

/// What an entry says, apart from the numbers of this Db: the fingerprint of a key is made of it.
pub(super) fn logical(out: &mut Vec<u8>, affected: &Affected) {
    out.push(affected.status as u8);
    out.push(affected.severity as u8);
    for Interval { start, end } in &affected.intervals {
        put_text(out, start.as_deref().unwrap_or("\0"));
        let (kind, version) = parts(end);
        out.push(kind);
        put_text(out, version.unwrap_or("\0"));
    }
    put_text(out, "\0\0");
    for version in &affected.versions {
        put_text(out, version);
    }
    put_text(out, "\0\0");
    for arch in &affected.arches {
        put_text(out, arch);
    }
}

fn parts(end: &End) -> (u8, Option<&str>) {
    match end {
        End::Open => (0, None),
        End::Fixed(version) => (1, Some(version)),
        End::Last(version) => (2, Some(version)),
        End::Limit(version) => (3, Some(version)),
    }
}

const MODULE: &str = ".module";

/// AlmaLinux lists one version of a module's package once for each rebuild of the module (`1-2.module_el8.5.0+1`,
/// `1-2.module_el8.6.0+1`). Any of the builds has the fix: the least one of equal version counts.
fn one_build_each(intervals: &[Interval]) -> Vec<Interval> {
    let mut least: Vec<Interval> = Vec::with_capacity(intervals.len());
    for interval in intervals {
        let stem = |interval: &Interval| match &interval.end {
            End::Fixed(version) => version.split_once(MODULE).map(|(stem, _)| stem.to_owned()),
            _ => None,
        };
        let own = stem(interval);
        let same = least
            .iter_mut()
            .find(|other| own.is_some() && other.start == interval.start && stem(other) == own);
        match same {
            Some(other) => {
                let order = match (&interval.end, &other.end) {
                    (End::Fixed(a), End::Fixed(b)) => Scheme::Rpm.compare(a, b).unwrap_or(Ordering::Equal),
                    _ => Ordering::Equal,
                };
                if order == Ordering::Less {
                    *other = interval.clone();
                }
            }
            None => least.push(interval.clone()),
        }
    }
    least
}

/// The versions of a key in order.
struct VersionTable<'a> {
    texts: Vec<&'a str>,
    classes: Vec<u32>,
    numbers: FxHashMap<&'a str, u32>,
}

impl<'a> VersionTable<'a> {
    fn new(scheme: Scheme, entries: impl Iterator<Item = &'a Affected>) -> Self {
        let mut parsed: FxHashMap<&str, Version> = FxHashMap::default();
        for affected in entries {
            let bounds = affected
                .intervals
                .iter()
                .flat_map(|interval| [interval.start.as_deref(), parts(&interval.end).1])
                .flatten();
            for text in bounds.chain(affected.versions.iter().map(String::as_str)) {
                if !parsed.contains_key(text)
                    && let Ok(version) = scheme.parse(text)
                {
                    parsed.insert(text, version);
                }
            }
        }
        let mut sorted: Vec<(&str, Version)> = parsed.into_iter().collect();
        let order = |a: &Version, b: &Version| a.cmp_same(b).unwrap_or(Ordering::Equal);
        sorted.sort_by(|a, b| order(&a.1, &b.1).then_with(|| a.0.cmp(b.0)));
        let mut table = Self { texts: Vec::new(), classes: Vec::new(), numbers: FxHashMap::default() };
        let mut class = 0;
        let mut previous: Option<&Version> = None;
        for (number, (text, version)) in sorted.iter().enumerate() {
            if previous.is_some_and(|previous| order(previous, version) != Ordering::Equal) {
                class += 1;
            }
            previous = Some(version);
            table.texts.push(text);
            table.classes.push(class);
            table.numbers.insert(text, number as u32);
        }
        table
    }

    fn encode(&self, out: &mut Vec<u8>) -> Result<(), DbError> {
        put_varint(out, self.texts.len() as u64);
        let mut offset = 0_u32;
        for text in &self.texts {
            out.extend_from_slice(&offset.to_le_bytes());
            let length = u32::try_from(text.len()).ok();
            offset = length.and_then(|l| offset.checked_add(l)).ok_or(DbError::TooLarge("versions"))?;
        }
        out.extend_from_slice(&offset.to_le_bytes());
        for class in &self.classes {
            out.extend_from_slice(&class.to_le_bytes());
        }
        for text in &self.texts {
            out.extend_from_slice(text.as_bytes());
        }
        Ok(())
    }

    fn number(&self, text: &str) -> Option<u32> {
        self.numbers.get(text).copied()
    }

    fn class(&self, number: u32) -> u32 {
        self.classes.get(number as usize).copied().unwrap_or_default()
    }

    /// An interval as numbers; `None` for one that holds nothing.
    fn interval(&self, interval: &Interval) -> Option<(Option<u32>, u8, Option<u32>)> {
        let start = match &interval.start {
            Some(start) => Some(self.number(start)?),
            None => None,
        };
        let (kind, version) = parts(&interval.end);
        let end = match version {
            Some(version) => Some(self.number(version)?),
            None => None,
        };
        if let (Some(start), Some(end)) = (start, end) {
            let (start, end) = (self.class(start), self.class(end));
            if start > end || (start == end && kind != 2) {
                return None;
            }
        }
        Some((start, kind, end))
    }

    fn holds(&self, (start, kind, end): (Option<u32>, u8, Option<u32>), number: u32) -> bool {
        let class = self.class(number);
        let above = start.is_none_or(|start| self.class(start) <= class);
        let below = end.is_none_or(|end| match kind {
            2 => class <= self.class(end),
            _ => class < self.class(end),
        });
        above && below
    }
}
