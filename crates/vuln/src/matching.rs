//! Components, sets of component keys and Sboms against a Db.
//!
//! Rules:
//! - Distribution packages match by release and, where the distribution's advisories name sources, by source package
//!   and source version; languages by ecosystem and normalised name. Purl text is never compared.
//! - A component that a distribution package owns is matched as that package: its own key is left out.
//! - "Not affected" in any record of a key silences every other record of that vulnerability there; what is only
//!   under investigation is no match.
//! - One vulnerability matches one component once: a record with a fix before one without, then by advisory id.
//! - A version that its scheme cannot read is affected only by ranges without any bound and by equal texts.
//! - Builds of RPM modules, of Oracle's ksplice and FIPS, and ordinary builds have advisories of their own; where feeds
//!   tell the stream of a module, streams do too. What is said of an architecture is not said of others.
//! - A build for a minor release of Red Hat Enterprise Linux (`.el9_2`) that has the fix for that minor release is fixed,
//!   whatever later minor releases needed. Fixes of extended channels are offered to nobody.
//! - Packages that do not come from the distribution (see [`is_third_party`]) are not matched by its advisories.
//! - Programs that are known by their content alone match with low confidence, always.

use plimsoll_model::package::{ComponentKey, Ecosystem, PackageKey};
use plimsoll_model::sbom::{Component, Confidence, Sbom};
use plimsoll_model::time::Timestamp;
use plimsoll_model::vulnerability::{Match, MatchSet, MatchStatus};
use plimsoll_version::Version;
use rustc_hash::{FxHashMap, FxHashSet};

use crate::builds::Flavour;
use crate::db::{Db, DbError, Entry, Hit, KeyRecord, Position};
use crate::end_of_life;
use crate::names::{LookupKey, scheme};
use crate::probes::{Probe, probes};

/// The distinct keys of an Sbom that are matched, sorted: all but those of components that a distribution package owns.
pub fn matchable_keys(sbom: &Sbom) -> Vec<ComponentKey> {
    let mut keys: Vec<ComponentKey> =
        sbom.components.iter().filter(|c| is_matched(c)).map(|c| c.key.clone()).collect();
    keys.sort();
    keys.dedup();
    keys
}

fn is_matched(component: &Component) -> bool {
    if component.key.package.ecosystem.is_distribution() {
        return !is_third_party(component);
    }
    component.owned_by.is_none()
}

/// True for packages in a distribution's format that somebody else built, by their vendor or maintainer: the
/// distribution's advisories say nothing of them, and their versions only look alike.
pub fn is_third_party(component: &Component) -> bool {
    // Fedora builds EPEL for others, and Fedora itself.
    let release = component.key.package.release.as_ref();
    if component.supplier.starts_with("Fedora Project") {
        return release.is_none_or(|release| release.id != "fedora");
    }
    const ELSEWHERE: &[&str] =
        &["@docker.com>", "@nvidia.com>", "NVIDIA", "Docker, Inc", "Remi Collet", "@nginx.com>"];
    ELSEWHERE.iter().any(|mark| component.supplier.contains(mark))
        || (component.key.package.ecosystem == Ecosystem::Rpm && component.key.version.ends_with(".remi"))
}

/// A match, before its texts are made.
struct Candidate<'a> {
    /// Which of the records asked.
    from: usize,
    vuln: u32,
    entry: Entry<'a>,
    hit: Hit,
    fixed: Option<u32>,
}

impl Db {
    /// The matches of one component, sorted by vulnerability.
    pub fn match_component(&self, component: &ComponentKey) -> Result<Vec<Match>, DbError> {
        let mut matches = Vec::new();
        self.match_into(component, true, &mut matches, &mut FxHashSet::default())?;
        matches.sort();
        Ok(matches)
    }

    /// True where some advisory names the package of `component`, whatever its version: one look-up, nothing decoded.
    pub fn has(&self, component: &ComponentKey) -> Result<bool, DbError> {
        for probe in probes(component) {
            if self.key_record(&probe.key.to_bytes())?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The matches of components, with the vulnerabilities that they name and what no feed covers. Order and
    /// repetition of `components` do not matter.
    pub fn match_keys(&self, components: &[ComponentKey]) -> Result<MatchSet, DbError> {
        self.match_all(components.iter().map(|component| (component, true)))
    }

    /// The matches of an Sbom: those of [`matchable_keys`], where a component is confident unless all its evidence has
    /// low confidence.
    pub fn match_sbom(&self, sbom: &Sbom) -> Result<MatchSet, DbError> {
        let mut confident: FxHashMap<&ComponentKey, bool> = FxHashMap::default();
        for component in sbom.components.iter().filter(|c| is_matched(c)) {
            *confident.entry(&component.key).or_insert(false) |= component.confidence != Confidence::Low;
        }
        self.match_all(confident.into_iter())
    }

    fn match_all<'k>(
        &self,
        components: impl Iterator<Item = (&'k ComponentKey, bool)>,
    ) -> Result<MatchSet, DbError> {
        let mut components: Vec<(&ComponentKey, bool)> = components.collect();
        components.sort();
        components.dedup();
        let mut set = MatchSet { db_seq: self.seq(), ..MatchSet::default() };
        let mut vulns = FxHashSet::default();
        let mut uncovered = std::collections::BTreeSet::new();
        let mut ended = std::collections::BTreeSet::new();
        let mut seen: FxHashMap<(Ecosystem, Option<&plimsoll_model::Release>), bool> = FxHashMap::default();
        for (component, confident) in components {
            self.match_into(component, confident, &mut set.matches, &mut vulns)?;
            let PackageKey { ecosystem, release, .. } = &component.package;
            let known = seen.contains_key(&(*ecosystem, release.as_ref()));
            let covered = *seen
                .entry((*ecosystem, release.as_ref()))
                .or_insert_with(|| LookupKey::of(component).iter().any(|key| self.covers(key)));
            if known {
                continue;
            }
            let own = LookupKey::new(*ecosystem, release.as_ref(), "");
            if !covered {
                uncovered.insert(own.coverage());
            }
            let at = Timestamp(self.built_at());
            if let Some(until) =
                release.as_ref().and_then(|release| end_of_life::since(release, &own.version, at))
            {
                ended.insert(format!("{} since {until}", own.coverage()));
            }
        }
        set.matches.sort();
        let mut ordinals: Vec<u32> = vulns.into_iter().collect();
        // Ordinals are in the order of canonical ids.
        ordinals.sort_unstable();
        for ordinal in ordinals {
            set.vulnerabilities.push(self.vulnerability_at(ordinal)?);
        }
        set.uncovered = uncovered.into_iter().collect();
        set.end_of_life = ended.into_iter().collect();
        Ok(set)
    }

    fn match_into(
        &self,
        component: &ComponentKey,
        confident: bool,
        matches: &mut Vec<Match>,
        vulns: &mut FxHashSet<u32>,
    ) -> Result<(), DbError> {
        let ecosystem = component.package.ecosystem;
        let questions = probes(component);
        let several = questions.len() > 1;
        let mut asked: Vec<Asked<'_>> = Vec::with_capacity(2);
        for Probe { key, version, sole, fixes } in &questions {
            let version: &str = version;
            if *sole && several && !self.covers(key) {
                continue;
            }
            if let Some(record) = self.key_record(&key.to_bytes())? {
                let parsed: Option<Version> =
                    scheme(key.ecosystem).and_then(|scheme| scheme.parse(version).ok());
                let position = match &parsed {
                    Some(parsed) => Some(record.position(parsed)?),
                    None => None,
                };
                asked.push(Asked { record, version, position, fixes: *fixes });
            }
            if *sole {
                break;
            }
        }
        let mut candidates: Vec<Candidate<'_>> = Vec::new();
        let mut silenced: Vec<u32> = Vec::new();
        for (from, asked) in asked.iter().enumerate() {
            gather(from, asked, component, &mut candidates, &mut silenced)?;
        }
        // Entries stand in the order of advisory ids, and the sort is stable.
        candidates.sort_by_key(|c| (c.vuln, c.fixed.is_none(), c.entry.status));
        candidates.dedup_by_key(|c| c.vuln);
        for Candidate { from, vuln, entry, hit, fixed } in candidates {
            let Some(Asked { record, version, .. }) = asked.get(from) else { continue };
            if silenced.contains(&vuln) {
                continue;
            }
            vulns.insert(vuln);
            let (advisory, feed, feed_date) = self.advisory(entry.advisory)?;
            matches.push(Match {
                vulnerability: self.vulnerability_id(vuln)?.to_owned(),
                component: component.clone(),
                advisory: advisory.to_owned(),
                feed: feed.to_owned(),
                status: entry.status,
                range: match hit {
                    Hit::Range(range) => record.words(range)?,
                    Hit::Version(number) => format!("= {}", record.version(number)?),
                    Hit::Text => format!("= {version}"),
                },
                compared: (*version).to_owned(),
                fixed: match fixed {
                    Some(fixed) => Some(record.version(fixed)?.to_owned()),
                    None => None,
                },
                // A program that is known by its content alone may have been built with patches.
                confident: confident && ecosystem != Ecosystem::Generic,
                feed_date,
            });
        }
        Ok(())
    }
}

/// A record of the Db that speaks of a component, and where the component's version stands in it.
struct Asked<'a> {
    record: KeyRecord<'a>,
    version: &'a str,
    /// `None` for a version that its scheme cannot read.
    position: Option<Position>,
    /// Only fixes that the version has are read, and silence what other records say.
    fixes: bool,
}

/// Adds what `asked` says: vulnerabilities that affect the version, and those that it says do not.
fn gather<'a>(
    from: usize,
    asked: &Asked<'a>,
    component: &ComponentKey,
    candidates: &mut Vec<Candidate<'a>>,
    silenced: &mut Vec<u32>,
) -> Result<(), DbError> {
    let Asked { record, version, position, fixes } = asked;
    let is_rpm = component.package.ecosystem == Ecosystem::Rpm;
    let flavour = if is_rpm { Flavour::of(version) } else { Flavour::Ordinary };
    // Where advisories tell streams, those of the component's own stream have a record of their own.
    let tells_streams = is_rpm && !component.stream.is_empty() && !record.is_of_stream() && {
        component.package.release.as_ref().is_some_and(|release| feeds_tell_streams(&release.id))
    };
    for entry in record.entries()? {
        let entry = entry?;
        // What has no fix names no build, and is said of all.
        let of_other_builds = is_rpm && entry.bounded && entry.flavour != flavour;
        let of_other_streams = tells_streams && entry.bounded && entry.flavour == Flavour::Module;
        if entry.status == MatchStatus::UnderInvestigation || of_other_builds || of_other_streams {
            continue;
        }
        if !entry.is_of(&component.arch)? {
            continue;
        }
        let hit = entry.hit(record, *position, version)?;
        if *fixes {
            // A build for this minor release, and no older than the fix for it.
            if hit.is_none() && entry.bounded && position.is_some() && entry.status == MatchStatus::Affected {
                for vuln in entry.vulns()? {
                    silenced.push(vuln?);
                }
            }
            continue;
        }
        let Some(hit) = hit else { continue };
        if entry.status == MatchStatus::NotAffected {
            for vuln in entry.vulns()? {
                silenced.push(vuln?);
            }
            continue;
        }
        let fixed = match position {
            Some(position) => entry.fixed(record, *position)?,
            None => None,
        };
        for vuln in entry.vulns()? {
            candidates.push(Candidate { from, vuln: vuln?, entry, hit, fixed });
        }
    }
    Ok(())
}

/// True where the feeds of a distribution say which stream of a module they mean.
fn feeds_tell_streams(distribution: &str) -> bool {
    matches!(distribution, "rhel" | "redhat" | "centos" | "ol")
}
