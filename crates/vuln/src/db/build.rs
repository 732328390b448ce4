//! Feeds become the bytes of a Db.
//!
//! Records of one id are merged: for each package the newest statement counts, a withdrawn newest record takes all
//! back. Records of one vulnerability come together (see [`crate::aliases`]), and what the intelligence sources say of
//! any of its ids becomes its own.

use std::collections::BTreeMap;
use std::path::PathBuf;

use aws_lc_rs::digest::{SHA256, digest};
use plimsoll_model::package::Ecosystem;
use plimsoll_model::time::Timestamp;
use plimsoll_model::vulnerability::MatchStatus;
use rustc_hash::{FxHashMap, FxHashSet};

use super::codec::{put_optional, put_text, put_varint, u64_at};
use super::layout::{HEADER, Header, SECTIONS, TableWriter, slots};
use super::record::{encode_keys, encode_vulnerability};
use super::{DbError, intelligence, versions};
use crate::advisory::{Advisory, Affected, Record, Unsupported};
use crate::aliases::{Groups, is_cve};
use crate::builds::Flavour;
use crate::feeds::input::array;
use crate::feeds::{self, FeedReport, Provenance};
use crate::names::LookupKey;
use crate::ranges::End;

/// What a Db is told of itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BuildOptions {
    /// Sequence number, greater than that of every earlier Db of the installation.
    pub seq: u64,
    pub built_at: Timestamp,
}

/// What became of the inputs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildReport {
    /// In the order of the inputs.
    pub feeds: Vec<FeedReport>,
    /// Package keys, advisories and vulnerabilities in the Db.
    pub keys: u64,
    pub advisories: u64,
    pub vulnerabilities: u64,
    /// Advisories that were taken back by their sources.
    pub withdrawn: u64,
    /// Bytes of the file.
    pub size: u64,
}

impl BuildReport {
    /// Records taken from all feeds.
    pub fn records(&self) -> u64 {
        self.feeds.iter().map(|feed| feed.records).sum()
    }

    /// Records, or parts of them, that could not be used.
    pub fn rejected(&self) -> u64 {
        self.feeds.iter().map(|feed| feed.rejected).sum()
    }
}

/// Reads files and directories of feeds and builds a Db. Equal inputs in equal order and equal options give equal bytes.
/// Where two inputs give one CVE different intelligence, the later input counts.
///
/// A record that cannot be used is counted in the report; an input that cannot be read at all fails the build.
pub fn build(inputs: &[PathBuf], options: &BuildOptions) -> Result<(Vec<u8>, BuildReport), DbError> {
    build_dated(inputs, options.seq, |_| options.built_at)
}

/// A source to build from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Input {
    pub path: PathBuf,
    pub provenance: Option<Provenance>,
}

impl From<PathBuf> for Input {
    fn from(path: PathBuf) -> Self {
        Self { path, provenance: None }
    }
}

/// As [`build`], with a time that is chosen when the feeds are read: [`FeedReport::newest`] of them, for a Db that does
/// not depend on when it is built.
pub fn build_dated(
    inputs: &[PathBuf],
    seq: u64,
    built_at: impl FnOnce(&[FeedReport]) -> Timestamp,
) -> Result<(Vec<u8>, BuildReport), DbError> {
    let inputs: Vec<Input> = inputs.iter().cloned().map(Input::from).collect();
    build_sources(&inputs, seq, built_at)
}

/// As [`build_dated`], of sources of which it is known where they came from.
pub fn build_sources(
    inputs: &[Input],
    seq: u64,
    built_at: impl FnOnce(&[FeedReport]) -> Timestamp,
) -> Result<(Vec<u8>, BuildReport), DbError> {
    let mut gathered = Gathered::default();
    let mut reports = Vec::new();
    for Input { path, provenance } in inputs {
        for mut report in feeds::read(path, &mut |record| gathered.add(record))? {
            report.provenance.clone_from(provenance);
            reports.push(report);
        }
    }
    let options = BuildOptions { seq, built_at: built_at(&reports) };
    build_records(gathered, reports, &options)
}

/// All records, before they are put together.
#[derive(Default)]
pub(super) struct Gathered {
    pub(super) advisories: Vec<Advisory>,
    pub(super) kev: FxHashMap<String, crate::advisory::KevEntry>,
    pub(super) epss: FxHashMap<String, f64>,
    pub(super) cves: FxHashMap<String, crate::advisory::CveEntry>,
    pub(super) unsupported: Vec<Unsupported>,
}

impl Gathered {
    pub(super) fn add(&mut self, record: Record) {
        match record {
            Record::Advisory(advisory) => self.advisories.push(advisory),
            Record::Kev(entry) => drop(self.kev.insert(entry.cve.clone(), entry)),
            Record::Epss(entry) => drop(self.epss.insert(entry.cve, entry.probability)),
            Record::Cve(entry) => drop(self.cves.insert(entry.cve.clone(), entry)),
            Record::Unsupported(entry) => self.unsupported.push(entry),
        }
    }
}

fn build_records(
    mut gathered: Gathered,
    reports: Vec<FeedReport>,
    options: &BuildOptions,
) -> Result<(Vec<u8>, BuildReport), DbError> {
    let (mut advisories, withdrawn) = merge(std::mem::take(&mut gathered.advisories));
    refuse(&mut advisories, &gathered.unsupported, options.built_at);
    let (groups, members) = group(&advisories);
    let numbers: FxHashMap<&str, u32> = groups
        .iter()
        .enumerate()
        .flat_map(|(n, (id, aliases))| {
            let n = n as u32;
            std::iter::once((id.as_str(), n)).chain(aliases.iter().map(move |alias| (alias.as_str(), n)))
        })
        .collect();
    // Ordinals of the vulnerabilities of each advisory.
    let about: Vec<Vec<u32>> = members
        .iter()
        .map(|ids| {
            let mut about: Vec<u32> = ids.iter().filter_map(|id| numbers.get(id.as_str()).copied()).collect();
            about.sort_unstable();
            about.dedup();
            about
        })
        .collect();
    let vulnerabilities = intelligence::resolve(&groups, &advisories, &about, &gathered);

    let mut by_key: BTreeMap<Vec<u8>, Vec<(u32, &Affected)>> = BTreeMap::new();
    for (number, advisory) in advisories.iter().enumerate() {
        for affected in &advisory.affected {
            by_key.entry(affected.key.to_bytes()).or_default().push((number as u32, affected));
        }
    }
    for count in [advisories.len(), groups.len(), by_key.len()] {
        if u32::try_from(count).is_err() {
            return Err(DbError::TooLarge("records"));
        }
    }

    let mut keys = TableWriter::default();
    let mut keys_of: Vec<Vec<u32>> = vec![Vec::new(); groups.len()];
    let mut coverage: std::collections::BTreeSet<String> = std::collections::BTreeSet::new();
    for (ordinal, (key, entries)) in by_key.iter().enumerate() {
        if let Some(key) = LookupKey::from_bytes(key).filter(|key| !key.is_of_minor()) {
            coverage.insert(key.coverage());
        }
        let record = versions::encode(key, entries, &about)?;
        let mut logical = Vec::new();
        for &(advisory, affected) in entries {
            let Some(source) = advisories.get(advisory as usize) else { continue };
            put_text(&mut logical, &source.id);
            put_text(&mut logical, source.feed);
            versions::logical(&mut logical, affected);
            for &vuln in about.get(advisory as usize).into_iter().flatten() {
                if let Some((id, _)) = groups.get(vuln as usize) {
                    put_text(&mut logical, id);
                }
                if let Some(list) = keys_of.get_mut(vuln as usize)
                    && list.last() != Some(&(ordinal as u32))
                {
                    list.push(ordinal as u32);
                }
            }
        }
        keys.push(&record, fingerprint(&logical));
    }

    // Records of feeds that do not date them have the date of the source.
    let mut newest: FxHashMap<&str, Timestamp> = FxHashMap::default();
    for report in &reports {
        let stated =
            report.newest.max(report.provenance.as_ref().and_then(|from| from.as_of.or(from.checked)));
        for feed in report.feeds.keys() {
            if let Some(at) = stated {
                newest.entry(feed).and_modify(|known| *known = (*known).max(at)).or_insert(at);
            }
        }
    }
    let mut advisory_table = TableWriter::default();
    for advisory in &advisories {
        let mut record = Vec::new();
        put_text(&mut record, &advisory.id);
        put_text(&mut record, advisory.feed);
        let dated = advisory.modified.or_else(|| newest.get(advisory.feed).copied());
        put_optional(&mut record, dated.map(|at| at.0));
        advisory_table.push(&record, 0);
    }

    let mut vuln_table = TableWriter::default();
    for (vulnerability, keys) in vulnerabilities.iter().zip(&mut keys_of) {
        let mut record = encode_vulnerability(vulnerability);
        let fingerprint = fingerprint(&record);
        keys.sort_unstable();
        keys.dedup();
        encode_keys(&mut record, keys);
        vuln_table.push(&record, fingerprint);
    }

    let ids = ids(&groups, &advisories, &about, &numbers);
    let mut id_table = TableWriter::default();
    for (id, vulns) in &ids {
        let mut record = Vec::new();
        put_text(&mut record, id);
        encode_keys(&mut record, vulns);
        id_table.push(&record, 0);
    }

    let meta = serde_json::to_vec(&reports).map_err(|_| DbError::Corrupt("description of feeds"))?;
    let mut covered = Vec::new();
    put_varint(&mut covered, coverage.len() as u64);
    for name in &coverage {
        put_text(&mut covered, name);
    }
    let key_slots = slots(by_key.keys().map(Vec::as_slice));
    let id_slots = slots(ids.keys().map(|id| id.as_bytes()));
    let report = BuildReport {
        feeds: reports,
        keys: by_key.len() as u64,
        advisories: advisories.len() as u64,
        vulnerabilities: groups.len() as u64,
        withdrawn,
        size: 0,
    };
    let parts: [Vec<u8>; SECTIONS] = [
        meta,
        covered,
        key_slots,
        keys.index,
        keys.data,
        advisory_table.index,
        advisory_table.data,
        vuln_table.index,
        vuln_table.data,
        id_slots,
        id_table.index,
        id_table.data,
    ];
    let file = assemble(parts, options);
    let size = file.len() as u64;
    Ok((file, BuildReport { size, ..report }))
}

fn assemble(parts: [Vec<u8>; SECTIONS], options: &BuildOptions) -> Vec<u8> {
    let mut sections = [(0, 0); SECTIONS];
    let mut file = vec![0; HEADER];
    for (section, part) in sections.iter_mut().zip(parts) {
        *section = (file.len(), part.len());
        file.extend_from_slice(&part);
    }
    let content = array(digest(&SHA256, file.get(HEADER..).unwrap_or_default()).as_ref());
    let header = Header { seq: options.seq, built_at: options.built_at.0, sections, content };
    let header = header.encode(file.len() as u64);
    for (to, from) in file.iter_mut().zip(header) {
        *to = from;
    }
    file
}

pub(super) fn fingerprint(bytes: &[u8]) -> u64 {
    u64_at(digest(&SHA256, bytes).as_ref(), 0).unwrap_or_default()
}

/// One advisory for each id, sorted by id, and how many were taken back.
fn merge(mut advisories: Vec<Advisory>) -> (Vec<Advisory>, u64) {
    // Newest first; equal ones in the order of the inputs.
    advisories.sort_by(|a, b| a.id.cmp(&b.id).then_with(|| b.modified.cmp(&a.modified)));
    let mut merged: Vec<Advisory> = Vec::with_capacity(advisories.len());
    let mut withdrawn = 0;
    let mut rest = advisories.into_iter().peekable();
    while let Some(mut newest) = rest.next() {
        let mut dated: Vec<(Option<Timestamp>, Affected)> =
            newest.affected.drain(..).map(|affected| (newest.modified, affected)).collect();
        while let Some(older) = rest.next_if(|next| next.id == newest.id) {
            if older.modified == newest.modified {
                newest.names.extend(older.names);
                newest.cvss.extend(older.cvss);
                newest.withdrawn |= older.withdrawn;
                newest.severity = newest.severity.max(older.severity);
            }
            if newest.summary.is_empty() {
                newest.summary = older.summary;
            }
            newest.published = newest.published.or(older.published);
            dated.extend(older.affected.into_iter().map(|affected| (older.modified, affected)));
        }
        if newest.withdrawn {
            withdrawn += 1;
            continue;
        }
        newest.names.sort();
        newest.names.dedup();
        newest.cvss.sort();
        newest.cvss.dedup();
        newest.affected = by_package(dated);
        merged.push(newest);
    }
    (merged, withdrawn)
}

/// One entry for each package, status, flavour of builds and set of architectures: the newest; entries of one date are
/// united. Sorted.
fn by_package(dated: Vec<(Option<Timestamp>, Affected)>) -> Vec<Affected> {
    let mut dated: Vec<(Option<Timestamp>, Flavour, Affected)> =
        dated.into_iter().map(|(at, affected)| (at, flavour(&affected), affected)).collect();
    let order = |a: &(Option<Timestamp>, Flavour, Affected), b: &(Option<Timestamp>, Flavour, Affected)| {
        let same = |(_, flavour, affected): &(Option<Timestamp>, Flavour, Affected)| {
            (affected.status, *flavour, affected.arches.clone())
        };
        a.2.key.cmp(&b.2.key).then_with(|| b.0.cmp(&a.0)).then_with(|| same(a).cmp(&same(b)))
    };
    dated.sort_by(order);
    let mut found: Vec<(Option<Timestamp>, Flavour, Affected)> = Vec::with_capacity(dated.len());
    for (at, flavour, affected) in dated {
        match found.last_mut() {
            Some((newest, _, last)) if last.key == affected.key && *newest != at => {}
            Some((_, kind, last))
                if last.key == affected.key
                    && (last.status, *kind, &last.arches) == (affected.status, flavour, &affected.arches) =>
            {
                last.severity = last.severity.max(affected.severity);
                last.intervals.extend(affected.intervals);
                last.versions.extend(affected.versions);
            }
            _ => found.push((at, flavour, affected)),
        }
    }
    let mut united: Vec<(Flavour, Affected)> = Vec::with_capacity(found.len());
    for (_, flavour, mut affected) in found {
        affected.intervals.sort();
        affected.intervals.dedup();
        affected.versions.sort();
        affected.versions.dedup();
        // What is said of each architecture alike is one statement.
        let same =
            united.iter_mut().rev().take_while(|(_, last)| last.key == affected.key).find(|(kind, last)| {
                (last.status, *kind) == (affected.status, flavour)
                    && last.intervals == affected.intervals
                    && last.versions == affected.versions
            });
        match same {
            Some((_, last)) => {
                last.severity = last.severity.max(affected.severity);
                if last.arches.is_empty() || affected.arches.is_empty() {
                    last.arches.clear();
                } else {
                    last.arches.extend(affected.arches);
                    last.arches.sort();
                    last.arches.dedup();
                }
            }
            None => united.push((flavour, affected)),
        }
    }
    united.into_iter().map(|(_, affected)| affected).collect()
}

/// The flavour of the builds that an entry names.
pub(super) fn flavour(affected: &Affected) -> Flavour {
    if affected.key.ecosystem != Ecosystem::Rpm {
        return Flavour::Ordinary;
    }
    let named = affected.intervals.iter().map(|interval| match &interval.end {
        End::Fixed(version) | End::Last(version) | End::Limit(version) => Flavour::of(version),
        End::Open => Flavour::Ordinary,
    });
    named.max().unwrap_or_default()
}

/// What is open in a package whose support has ended will not be fixed.
fn refuse(advisories: &mut [Advisory], ended: &[Unsupported], now: Timestamp) {
    if ended.is_empty() {
        return;
    }
    // A Db that is built without a time judges nothing.
    let past = |entry: &&Unsupported| now.0 > 0 && entry.since.is_none_or(|since| since <= now);
    let (prefixes, whole): (Vec<&Unsupported>, Vec<&Unsupported>) =
        ended.iter().filter(past).partition(|entry| entry.prefix);
    let whole: FxHashSet<&LookupKey> = whole.into_iter().map(|entry| &entry.key).collect();
    let is_ended = |key: &LookupKey| {
        let begins = |entry: &&Unsupported| {
            key.name.starts_with(&entry.key.name)
                && (key.ecosystem, &key.distribution, &key.version)
                    == (entry.key.ecosystem, &entry.key.distribution, &entry.key.version)
        };
        whole.contains(key) || prefixes.iter().any(begins)
    };
    for affected in advisories.iter_mut().flat_map(|advisory| &mut advisory.affected) {
        let open = affected.intervals.iter().all(|interval| interval.end == End::Open);
        if affected.status == MatchStatus::Affected && open && is_ended(&affected.key) {
            affected.status = MatchStatus::WontFix;
        }
    }
}

/// Canonical id and aliases of each group.
type GroupList = Vec<(String, Vec<String>)>;

/// Groups of ids, and for each advisory the ids that it stands for.
fn group(advisories: &[Advisory]) -> (GroupList, Vec<Vec<String>>) {
    let mut groups = Groups::default();
    let mut members: Vec<Vec<String>> = Vec::with_capacity(advisories.len());
    for advisory in advisories {
        let mut cves: Vec<String> =
            advisory.names.iter().chain(Some(&advisory.id)).filter(|id| is_cve(id)).cloned().collect();
        cves.sort();
        cves.dedup();
        members.push(match cves.as_slice() {
            [] => {
                groups.add(&advisory.id);
                vec![advisory.id.clone()]
            }
            [cve] => {
                groups.join(cve, &advisory.id);
                vec![cve.clone()]
            }
            several => {
                for cve in several {
                    groups.add(cve);
                }
                cves
            }
        });
    }
    // Other aliases only after every record has its own CVE, so that they never take a record away from it.
    for (advisory, ids) in advisories.iter().zip(&members) {
        if let [own] = ids.as_slice() {
            for name in advisory.names.iter().filter(|name| !is_cve(name)) {
                groups.join(own, name);
            }
        }
    }
    (groups.finish(), members)
}

/// Every id that can be asked for, with the vulnerabilities that it names.
fn ids<'a>(
    groups: &'a GroupList,
    advisories: &'a [Advisory],
    about: &[Vec<u32>],
    numbers: &FxHashMap<&str, u32>,
) -> BTreeMap<&'a str, Vec<u32>> {
    let mut ids: BTreeMap<&str, Vec<u32>> = BTreeMap::new();
    for (number, (id, aliases)) in groups.iter().enumerate() {
        for id in std::iter::once(id).chain(aliases) {
            ids.insert(id, vec![number as u32]);
        }
    }
    let mut bundles: FxHashSet<&str> = FxHashSet::default();
    for (advisory, vulns) in advisories.iter().zip(about) {
        for id in std::iter::once(&advisory.id).chain(&advisory.names) {
            if !numbers.contains_key(id.as_str()) {
                bundles.insert(id);
                ids.entry(id).or_default().extend(vulns);
            }
        }
    }
    for id in bundles {
        if let Some(vulns) = ids.get_mut(id) {
            vulns.sort_unstable();
            vulns.dedup();
        }
    }
    ids
}
