//! The record of one package key: its versions in order, and what each advisory says in terms of them.
//!
//! Every version that advisories of the key name stands once in a table, sorted in the order of the ecosystem when the
//! Db is built. Equal versions of different text (`1.0`, `1.0.0`) have one class number. A component's version is
//! placed in the table by binary search; after that, all comparisons are of integers.

use std::cmp::Ordering;

use plimsoll_model::time::Timestamp;
use plimsoll_model::vulnerability::{MatchStatus, Severity};
use plimsoll_version::Version;
use serde::{Deserialize, Serialize};

use super::codec::{Damaged, Reader, u32_at};
use super::{Db, DbError};
use crate::builds::Flavour;

/// What one advisory says of a package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Statement {
    pub advisory: String,
    pub feed: String,
    pub status: MatchStatus,
    /// The distribution's own severity for the package, where it gives one.
    pub severity: Severity,
    /// Canonical ids.
    pub vulnerabilities: Vec<String>,
    /// Ranges in words.
    pub ranges: Vec<String>,
    /// Single affected versions beside the ranges.
    pub versions: Vec<String>,
    /// When the record was last changed; where the feed does not say, of which day the feed is.
    pub date: Option<Timestamp>,
    /// Architectures of which alone this is said; empty for all.
    pub arches: Vec<String>,
}

/// Where a range ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bound {
    Open,
    Fixed(u32),
    Last(u32),
    Limit(u32),
}

/// A range as numbers of the version table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) start: Option<u32>,
    pub(crate) end: Bound,
}

/// Where a version stands among those of a table: odd on a class, even between two classes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Position(u64);

impl Position {
    fn on(class: u32) -> Self {
        Self(u64::from(class) * 2 + 1)
    }
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct KeyRecord<'a> {
    pub(crate) key: &'a [u8],
    versions: u32,
    offsets: &'a [u8],
    classes: &'a [u8],
    texts: &'a [u8],
    entries: Reader<'a>,
}

impl<'a> KeyRecord<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Result<Self, Damaged> {
        let mut reader = Reader::new(bytes);
        let length = reader.count()?;
        let key = reader.take(length)?;
        let versions = reader.number()?;
        let count = versions as usize;
        let size = |per: usize, count: usize| count.checked_mul(per).ok_or(Damaged("version table"));
        let offsets = reader.take(size(4, count + 1)?)?;
        let classes = reader.take(size(4, count)?)?;
        let total = u32_at(offsets, 4 * count).ok_or(Damaged("version table"))?;
        let texts = reader.take(total as usize)?;
        Ok(Self { key, versions, offsets, classes, texts, entries: reader })
    }

    /// True for the record of a module's stream.
    pub(crate) fn is_of_stream(&self) -> bool {
        self.key.windows(2).any(|pair| pair == b"::")
    }

    pub(crate) fn version(&self, number: u32) -> Result<&'a str, Damaged> {
        let at = number as usize * 4;
        let bounds = u32_at(self.offsets, at).zip(u32_at(self.offsets, at + 4));
        let text = bounds.and_then(|(from, to)| self.texts.get(from as usize..to as usize));
        let text = text.ok_or(Damaged("version table"))?;
        std::str::from_utf8(text).map_err(|_| Damaged("version table"))
    }

    fn class(&self, number: u32) -> Result<u32, Damaged> {
        u32_at(self.classes, number as usize * 4).ok_or(Damaged("version table"))
    }

    /// Places a version by binary search.
    pub(crate) fn position(&self, version: &Version) -> Result<Position, Damaged> {
        let (mut low, mut high) = (0, self.versions);
        while low < high {
            let middle = low + (high - low) / 2;
            // The table holds versions that the scheme could read when the Db was built.
            let order = version.cmp_str(self.version(middle)?).map_err(|_| Damaged("version table"))?;
            match order {
                Ordering::Less => high = middle,
                Ordering::Greater => low = middle + 1,
                Ordering::Equal => return Ok(Position::on(self.class(middle)?)),
            }
        }
        Ok(match low.checked_sub(1) {
            None => Position(0),
            Some(below) => Position((u64::from(self.class(below)?) + 1) * 2),
        })
    }

    pub(crate) fn at(&self, number: u32) -> Result<Position, Damaged> {
        Ok(Position::on(self.class(number)?))
    }

    /// The entries, sorted by advisory.
    pub(crate) fn entries(
        &self,
    ) -> Result<impl Iterator<Item = Result<Entry<'a>, Damaged>> + use<'a>, Damaged> {
        let mut reader = self.entries;
        let count = reader.count()?;
        let mut failed = false;
        Ok((0..count).map_while(move |_| {
            if failed {
                return None;
            }
            let entry = Entry::read(&mut reader);
            failed = entry.is_err();
            Some(entry)
        }))
    }

    fn contains(&self, range: Range, position: Position) -> Result<bool, Damaged> {
        if let Some(start) = range.start
            && position < self.at(start)?
        {
            return Ok(false);
        }
        Ok(match range.end {
            Bound::Open => true,
            Bound::Fixed(end) | Bound::Limit(end) => position < self.at(end)?,
            Bound::Last(end) => position <= self.at(end)?,
        })
    }

    pub(crate) fn words(&self, range: Range) -> Result<String, Damaged> {
        let start = match range.start {
            Some(start) => self.version(start)?,
            None => "0",
        };
        let (sign, end) = match range.end {
            Bound::Open => return Ok(format!(">= {start}")),
            Bound::Fixed(end) | Bound::Limit(end) => ("<", self.version(end)?),
            Bound::Last(end) => ("<=", self.version(end)?),
        };
        let mut words = String::with_capacity(start.len() + end.len() + 8);
        for part in [">= ", start, ", ", sign, " ", end] {
            words.push_str(part);
        }
        Ok(words)
    }
}

/// What one advisory says, not yet read further than its lists.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entry<'a> {
    pub(crate) advisory: u32,
    pub(crate) status: MatchStatus,
    pub(crate) severity: Severity,
    /// The builds that it is about, where it names builds.
    pub(crate) flavour: Flavour,
    /// Some range has an end: builds are named.
    pub(crate) bounded: bool,
    vulns: Reader<'a>,
    ranges: Reader<'a>,
    points: Reader<'a>,
    texts: Reader<'a>,
    arches: Reader<'a>,
}

pub(super) const STATUSES: [MatchStatus; 4] =
    [MatchStatus::Affected, MatchStatus::WontFix, MatchStatus::NotAffected, MatchStatus::UnderInvestigation];
pub(super) const SEVERITIES: [Severity; 6] = [
    Severity::Unknown,
    Severity::Negligible,
    Severity::Low,
    Severity::Medium,
    Severity::High,
    Severity::Critical,
];

impl<'a> Entry<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, Damaged> {
        let length = reader.count()?;
        let mut own = Reader::new(reader.take(length)?);
        let advisory = own.number()?;
        let status = *STATUSES.get(usize::from(own.byte()?)).ok_or(Damaged("status"))?;
        let severity = *SEVERITIES.get(usize::from(own.byte()?)).ok_or(Damaged("severity"))?;
        let flags = own.byte()?;
        let mut list = || {
            let length = own.count()?;
            Ok::<_, Damaged>(Reader::new(own.take(length)?))
        };
        Ok(Self {
            advisory,
            status,
            severity,
            flavour: *Flavour::ALL.get(usize::from(flags & 15)).ok_or(Damaged("flags"))?,
            bounded: flags & 16 == 16,
            vulns: list()?,
            ranges: list()?,
            points: list()?,
            texts: list()?,
            arches: list()?,
        })
    }

    /// True for what is said of an architecture; an unknown one and `noarch` are all of them.
    pub(crate) fn is_of(&self, arch: &str) -> Result<bool, Damaged> {
        let mut reader = self.arches;
        let count = reader.count()?;
        // Some tools write Debian's names for rpm's.
        let arch = match arch {
            "" | "noarch" => return Ok(true),
            "amd64" => "x86_64",
            "arm64" => "aarch64",
            arch => arch,
        };
        if count == 0 {
            return Ok(true);
        }
        for _ in 0..count {
            if reader.text()? == arch {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Ordinals of its vulnerabilities.
    pub(crate) fn vulns(&self) -> Result<impl Iterator<Item = Result<u32, Damaged>> + use<'a>, Damaged> {
        let mut reader = self.vulns;
        let count = reader.count()?;
        Ok((0..count).map(move |_| reader.number()))
    }

    pub(crate) fn ranges(&self) -> Result<impl Iterator<Item = Result<Range, Damaged>> + use<'a>, Damaged> {
        let mut reader = self.ranges;
        let count = reader.count()?;
        Ok((0..count).map(move |_| {
            let start = reader.number()?.checked_sub(1);
            let end = match reader.byte()? {
                0 => Bound::Open,
                1 => Bound::Fixed(reader.number()?),
                2 => Bound::Last(reader.number()?),
                3 => Bound::Limit(reader.number()?),
                _ => return Err(Damaged("range")),
            };
            Ok(Range { start, end })
        }))
    }

    fn points(&self) -> Result<impl Iterator<Item = Result<u32, Damaged>> + use<'a>, Damaged> {
        let mut reader = self.points;
        let count = reader.count()?;
        Ok((0..count).map(move |_| reader.number()))
    }

    fn texts(&self) -> Result<impl Iterator<Item = Result<&'a str, Damaged>> + use<'a>, Damaged> {
        let mut reader = self.texts;
        let count = reader.count()?;
        Ok((0..count).map(move |_| reader.text()))
    }

    /// The range or the single version that holds a version, in words; `None` when it is not affected. `position` is
    /// `None` for a version that the scheme cannot read: only a range without bounds and an equal text hold it.
    pub(crate) fn hit(
        &self,
        record: &KeyRecord<'a>,
        position: Option<Position>,
        text: &str,
    ) -> Result<Option<Hit>, Damaged> {
        for range in self.ranges()? {
            let range = range?;
            let inside = match position {
                Some(position) => record.contains(range, position)?,
                None => range.start.is_none() && range.end == Bound::Open,
            };
            if inside {
                return Ok(Some(Hit::Range(range)));
            }
        }
        if let Some(position) = position {
            for point in self.points()? {
                let point = point?;
                if record.at(point)? == position {
                    return Ok(Some(Hit::Version(point)));
                }
            }
        }
        for exact in self.texts()? {
            if exact? == text {
                return Ok(Some(Hit::Text));
            }
        }
        Ok(None)
    }

    /// The least fixed version above `position` that this advisory does not call affected, as a number of the table.
    pub(crate) fn fixed(&self, record: &KeyRecord<'a>, position: Position) -> Result<Option<u32>, Damaged> {
        let mut least: Option<(Position, u32)> = None;
        'candidates: for range in self.ranges()? {
            let Bound::Fixed(fixed) = range?.end else { continue };
            let at = record.at(fixed)?;
            if at <= position || least.is_some_and(|(best, _)| best <= at) {
                continue;
            }
            for other in self.ranges()? {
                if record.contains(other?, at)? {
                    continue 'candidates;
                }
            }
            least = Some((at, fixed));
        }
        Ok(least.map(|(_, fixed)| fixed))
    }

    pub(super) fn statement(&self, record: &KeyRecord<'a>, db: &Db) -> Result<Statement, DbError> {
        let (advisory, feed, date) = db.advisory(self.advisory)?;
        let mut statement = Statement {
            advisory: advisory.to_owned(),
            feed: feed.to_owned(),
            status: self.status,
            severity: self.severity,
            vulnerabilities: Vec::new(),
            ranges: Vec::new(),
            versions: Vec::new(),
            date,
            arches: Vec::new(),
        };
        let mut arches = self.arches;
        for _ in 0..arches.count()? {
            statement.arches.push(arches.text()?.to_owned());
        }
        for vuln in self.vulns()? {
            statement.vulnerabilities.push(db.vulnerability_id(vuln?)?.to_owned());
        }
        for range in self.ranges()? {
            statement.ranges.push(record.words(range?)?);
        }
        for point in self.points()? {
            statement.versions.push(record.version(point?)?.to_owned());
        }
        for text in self.texts()? {
            statement.versions.push(text?.to_owned());
        }
        Ok(statement)
    }
}

/// What held a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hit {
    Range(Range),
    /// A single version, by its number.
    Version(u32),
    /// A single version that the scheme cannot read.
    Text,
}
