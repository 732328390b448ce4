//! What is known of each vulnerability, put together from all records and intelligence sources.

use plimsoll_model::vulnerability::{Intelligence, Kev, Severity, Sourced, Vulnerability};
use rustc_hash::FxHashMap;

use super::build::Gathered;
use crate::advisory::Advisory;
use crate::score;

/// A source's place in the order of preference for texts and vectors.
fn preference(feed: &str) -> u8 {
    match feed {
        "ghsa" => 0,
        "go" | "pypa" | "rustsec" | "rubysec" => 1,
        "vulnrichment" => 2,
        "debian" | "ubuntu" | "alpine" | "wolfi" | "chainguard" | "almalinux" | "rocky" | "redhat"
        | "suse" => 4,
        _ => 3,
    }
}

/// What is gathered for one vulnerability.
#[derive(Default)]
struct Draft<'a> {
    summary: Option<(u8, &'a str)>,
    /// (version preference, source preference, vector, source)
    vector: Option<(u8, u8, &'a str)>,
    /// Severity in words, from sources other than distributions.
    word: Option<(u8, std::cmp::Reverse<Severity>, &'a str)>,
    /// The gravest severity that a distribution gives, for packages of distributions.
    distribution: Option<(Severity, &'a str)>,
    /// Some package of a language is affected.
    language: bool,
    published: Option<plimsoll_model::Timestamp>,
    modified: Option<plimsoll_model::Timestamp>,
}

impl<'a> Draft<'a> {
    fn text(&mut self, rank: u8, text: &'a str) {
        if !text.is_empty() && self.summary.is_none_or(|best| (rank, text) < best) {
            self.summary = Some((rank, text));
        }
    }

    fn vectors(&mut self, rank: u8, vectors: &'a [String]) {
        for vector in vectors {
            // Either 3.x is preferred; the source decides between them.
            let version = score::preference(vector).max(1);
            let offered = (version, rank, vector.as_str());
            if self.vector.is_none_or(|best| offered < best) {
                self.vector = Some(offered);
            }
        }
    }

    fn dates(
        &mut self,
        published: Option<plimsoll_model::Timestamp>,
        modified: Option<plimsoll_model::Timestamp>,
    ) {
        self.published = [self.published, published].into_iter().flatten().min();
        self.modified = self.modified.max(modified);
    }

    fn advisory(&mut self, advisory: &'a Advisory, alone: bool) {
        let rank = preference(advisory.feed);
        self.dates(advisory.published, advisory.modified);
        for affected in &advisory.affected {
            if affected.key.ecosystem.is_distribution() {
                let stated = (affected.severity, advisory.feed);
                if affected.severity != Severity::Unknown
                    && self.distribution.is_none_or(|best| stated > best)
                {
                    self.distribution = Some(stated);
                }
            } else {
                self.language = true;
            }
        }
        // What a record says of several vulnerabilities together is not said of each.
        if !alone {
            return;
        }
        self.text(rank, &advisory.summary);
        self.vectors(rank, &advisory.cvss);
        let offered = (rank, std::cmp::Reverse(advisory.severity), advisory.feed);
        if advisory.severity != Severity::Unknown && self.word.is_none_or(|best| offered < best) {
            self.word = Some(offered);
        }
    }

    /// For packages of distributions only, the distribution's own severity first; else GitHub's word, then CVSS, then
    /// the word of another source.
    fn severity(&self) -> (Severity, String) {
        let distribution = self.distribution.map(|(severity, feed)| (severity, feed.to_owned()));
        let github = self.word.filter(|(rank, ..)| *rank == 0).map(|(_, s, feed)| (s.0, feed.to_owned()));
        let cvss = self.vector.map(|(_, _, vector)| (score::severity_of(vector), "cvss".to_owned()));
        let other = self.word.map(|(_, s, feed)| (s.0, feed.to_owned()));
        let order = if self.language {
            [github, cvss, other, distribution]
        } else {
            [distribution, github, cvss, other]
        };
        order.into_iter().flatten().find(|(s, _)| *s != Severity::Unknown).unwrap_or_default()
    }
}

/// One vulnerability for each group, in the order of the groups.
pub(super) fn resolve(
    groups: &[(String, Vec<String>)],
    advisories: &[Advisory],
    about: &[Vec<u32>],
    gathered: &Gathered,
) -> Vec<Vulnerability> {
    let mut drafts: FxHashMap<u32, Draft<'_>> = FxHashMap::default();
    for (advisory, vulns) in advisories.iter().zip(about) {
        for &vuln in vulns {
            drafts.entry(vuln).or_default().advisory(advisory, vulns.len() == 1);
        }
    }
    let mut resolved = Vec::with_capacity(groups.len());
    for (number, (id, aliases)) in groups.iter().enumerate() {
        let mut draft = drafts.remove(&(number as u32)).unwrap_or_default();
        let mut intelligence = Intelligence::default();
        for id in std::iter::once(id).chain(aliases) {
            if let Some(entry) = gathered.kev.get(id) {
                let ransomware =
                    entry.ransomware || intelligence.kev.as_ref().is_some_and(|kev| kev.ransomware);
                intelligence.kev = Some(Kev { date_added: entry.date_added, ransomware });
            }
            if let Some(&probability) = gathered.epss.get(id) {
                intelligence.epss = Some(intelligence.epss.unwrap_or(0.0).max(probability));
            }
            if let Some(entry) = gathered.cves.get(id) {
                let rank = preference("vulnrichment");
                draft.text(rank, &entry.summary);
                draft.vectors(rank, &entry.cvss);
                draft.dates(entry.published, entry.modified);
                intelligence.exploit = intelligence.exploit.max(entry.exploit);
                let cisa = |value| Sourced { value, source: "vulnrichment".to_owned() };
                intelligence.automatable = entry.automatable.map(cisa).or(intelligence.automatable);
                intelligence.total_impact = entry.total_impact.map(cisa).or(intelligence.total_impact);
            }
        }
        let cvss = draft.vector.map_or("", |(_, _, vector)| vector);
        if let Some((automatable, total)) = score::derived(cvss) {
            let guess = |value| Sourced { value, source: "cvss".to_owned() };
            intelligence.automatable.get_or_insert_with(|| guess(automatable));
            intelligence.total_impact.get_or_insert_with(|| guess(total));
        }
        let (severity, severity_source) = draft.severity();
        resolved.push(Vulnerability {
            id: id.clone(),
            aliases: aliases.clone(),
            summary: draft.summary.map_or_else(String::new, |(_, text)| text.to_owned()),
            severity,
            severity_source,
            cvss: cvss.to_owned(),
            published: draft.published,
            modified: draft.modified,
            intelligence,
        });
    }
    resolved
}
