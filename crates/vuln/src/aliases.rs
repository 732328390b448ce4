//! Records of one vulnerability come together under one canonical id: CVE before GHSA before the ecosystem's own.
//!
//! A record that names several CVEs (a DSA, an ALSA, a USN, some GO- and RUSTSEC- records) does not make them one: it
//! stands for several vulnerabilities. No two CVEs ever end in one group, also not by a chain of other aliases.

use rustc_hash::FxHashMap;

/// The id of the CVE that a distribution's per-CVE id stands for (`UBUNTU-CVE-2022-1`, `DEBIAN-CVE-…`), or the id itself.
pub fn plain_id(id: &str) -> &str {
    for prefix in ["DEBIAN-", "UBUNTU-", "ALPINE-", "AZL-"] {
        if let Some(rest) = id.strip_prefix(prefix)
            && is_cve(rest)
        {
            return rest;
        }
    }
    id
}

/// True for `CVE-` with a year and a number.
pub fn is_cve(id: &str) -> bool {
    let Some((year, number)) = id.strip_prefix("CVE-").and_then(|rest| rest.split_once('-')) else {
        return false;
    };
    let digits =
        |text: &str| !text.is_empty() && text.len() <= 19 && text.bytes().all(|b| b.is_ascii_digit());
    year.len() == 4 && digits(year) && number.len() >= 4 && digits(number)
}

/// Groups of ids.
#[derive(Debug, Default)]
pub struct Groups {
    numbers: FxHashMap<String, u32>,
    ids: Vec<String>,
    parent: Vec<u32>,
    /// The CVE of the group whose root this is.
    cve: Vec<Option<u32>>,
}

impl Groups {
    fn number(&mut self, id: &str) -> u32 {
        if let Some(&number) = self.numbers.get(id) {
            return number;
        }
        let number = u32::try_from(self.ids.len()).unwrap_or(u32::MAX);
        self.numbers.insert(id.to_owned(), number);
        self.ids.push(id.to_owned());
        self.parent.push(number);
        self.cve.push(is_cve(id).then_some(number));
        number
    }

    fn root(&mut self, mut number: u32) -> u32 {
        loop {
            let Some(&parent) = self.parent.get(number as usize) else { return number };
            if parent == number {
                return number;
            }
            let grand = self.parent.get(parent as usize).copied().unwrap_or(parent);
            if let Some(slot) = self.parent.get_mut(number as usize) {
                *slot = grand;
            }
            number = grand;
        }
    }

    fn cve_of(&self, root: u32) -> Option<u32> {
        self.cve.get(root as usize).copied().flatten()
    }

    /// Puts two ids in one group, unless that would join two CVEs; tells whether they are in one group now.
    pub fn join(&mut self, a: &str, b: &str) -> bool {
        let (a, b) = (self.number(a), self.number(b));
        let (a, b) = (self.root(a), self.root(b));
        if a == b {
            return true;
        }
        let cve = match (self.cve_of(a), self.cve_of(b)) {
            (Some(_), Some(_)) => return false,
            (a, b) => a.or(b),
        };
        let (low, high) = (a.min(b), a.max(b));
        if let Some(slot) = self.parent.get_mut(high as usize) {
            *slot = low;
        }
        if let Some(slot) = self.cve.get_mut(low as usize) {
            *slot = cve;
        }
        true
    }

    /// Makes `id` known.
    pub fn add(&mut self, id: &str) {
        self.number(id);
    }

    /// Every group: its canonical id and all other ids, sorted; groups sorted by canonical id.
    pub fn finish(mut self) -> Vec<(String, Vec<String>)> {
        let mut members: FxHashMap<u32, Vec<String>> = FxHashMap::default();
        for number in 0..u32::try_from(self.ids.len()).unwrap_or(u32::MAX) {
            let root = self.root(number);
            let id = self.ids.get(number as usize).cloned().unwrap_or_default();
            members.entry(root).or_default().push(id);
        }
        let mut groups: Vec<(String, Vec<String>)> = members
            .into_values()
            .map(|mut ids| {
                ids.sort_by(|a, b| rank(a).cmp(&rank(b)).then_with(|| a.cmp(b)));
                let mut rest = ids.split_off(1.min(ids.len()));
                rest.sort();
                (ids.pop().unwrap_or_default(), rest)
            })
            .collect();
        groups.sort();
        groups
    }
}

fn rank(id: &str) -> u8 {
    match id {
        id if is_cve(id) => 0,
        id if id.starts_with("GHSA-") => 1,
        _ => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids() {
        assert!(is_cve("CVE-2021-44228") && is_cve("CVE-2005-0001"));
        assert!(!is_cve("CVE-2021-1") && !is_cve("CVE-21-44228") && !is_cve("GHSA-jfh8-c2jp-5v3q"));
        assert_eq!(plain_id("UBUNTU-CVE-2022-3602"), "CVE-2022-3602");
        assert_eq!(plain_id("UBUNTU-X"), "UBUNTU-X");
    }

    #[test]
    fn cve_before_ghsa_before_others() {
        let mut groups = Groups::default();
        groups.join("PYSEC-2021-1", "GHSA-aaaa-bbbb-cccc");
        groups.join("GHSA-aaaa-bbbb-cccc", "CVE-2021-0001");
        groups.join("RUSTSEC-2021-0001", "GHSA-dddd-bbbb-cccc");
        assert_eq!(
            groups.finish(),
            [
                ("CVE-2021-0001".into(), vec!["GHSA-aaaa-bbbb-cccc".into(), "PYSEC-2021-1".into()]),
                ("GHSA-dddd-bbbb-cccc".into(), vec!["RUSTSEC-2021-0001".to_owned()]),
            ]
        );
    }

    #[test]
    fn a_chain_never_joins_two_cves() {
        let mut groups = Groups::default();
        assert!(groups.join("GHSA-1", "CVE-2021-0001"));
        assert!(groups.join("GO-1", "CVE-2021-0002"));
        assert!(!groups.join("GO-1", "GHSA-1"));
        assert_eq!(groups.finish().len(), 2);
    }
}
