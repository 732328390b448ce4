//! Releases that their distributions no longer support. What is published for them no longer is all that affects them:
//! silence of the feeds says nothing.
//!
//! The table is data, `end_of_life.csv`, with a source for each line. Releases that it does not name are not judged.

use std::sync::OnceLock;

use plimsoll_model::package::Release;
use plimsoll_model::time::Timestamp;
use rustc_hash::FxHashMap;

use crate::feeds::date;

const TABLE: &str = include_str!("end_of_life.csv");
const DAY: i64 = 86_400_000;

/// The last day of support of each release, by id and version.
fn table() -> &'static FxHashMap<(&'static str, &'static str), &'static str> {
    static PARSED: OnceLock<FxHashMap<(&str, &str), &str>> = OnceLock::new();
    PARSED.get_or_init(|| {
        TABLE
            .lines()
            .filter(|line| !line.starts_with('#'))
            .filter_map(|line| {
                let mut fields = line.split(',');
                Some(((fields.next()?, fields.next()?), fields.next()?))
            })
            .collect()
    })
}

/// The last day of support (`2024-06-30`) of a release that is past it at `now`. `version` is as advisories write it,
/// the id as os-release does: a rebuild may end before what it rebuilds.
pub fn since(release: &Release, version: &str, now: Timestamp) -> Option<&'static str> {
    let id = release.id.to_ascii_lowercase();
    let until = table().get(&(id.as_str(), version))?;
    let last = date(until)?;
    (now.0 >= last.0 + DAY).then_some(until)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_a_release_a_day_and_a_source() {
        let mut seen = std::collections::BTreeSet::new();
        for line in TABLE.lines().skip(3) {
            let fields: Vec<&str> = line.split(',').collect();
            let [id, version, until, source] = fields.as_slice() else { panic!("{line}") };
            assert!(!version.is_empty() && until.len() == 10 && date(until).is_some(), "{line}");
            assert!(source.starts_with("https://"), "{line}");
            assert!(seen.insert((*id, *version)), "{line}");
        }
        assert!(seen.len() > 30);
        // In order, so that a line is found; later releases of most distributions end later.
        let mut ends: std::collections::BTreeMap<&str, Vec<(Vec<u32>, &str)>> = Default::default();
        for line in TABLE.lines().skip(3) {
            let mut fields = line.split(',');
            let (id, version, until) =
                (fields.next().unwrap(), fields.next().unwrap(), fields.next().unwrap());
            let number = version.split('.').map(|part| part.parse().unwrap()).collect();
            ends.entry(id).or_default().push((number, until));
        }
        for (id, ends) in &ends {
            assert!(ends.is_sorted_by_key(|(number, _)| number.clone()), "{id}");
            // CentOS 8 ended before 7. Releases of Ubuntu between those with long support are short, and SLE 12 went on
            // beside 15.
            if !matches!(*id, "centos" | "ubuntu" | "sles") {
                assert!(ends.is_sorted_by_key(|(_, until)| *until), "{id}: {ends:?}");
            }
        }
    }

    /// Well-known ends, and releases that are supported: what both sides of each date must give.
    #[test]
    fn known_ends() {
        let ended = |id: &str, version: &str, at: &str| {
            since(&Release { id: id.into(), version: version.into() }, version, date(at).unwrap()).is_some()
        };
        for (id, version, last) in [
            ("alpine", "3.16", "2024-05-23"),
            ("alpine", "3.19", "2025-11-01"),
            ("amzn", "2", "2026-06-30"),
            ("centos", "7", "2024-06-30"),
            ("debian", "10", "2024-06-30"),
            ("fedora", "40", "2025-05-13"),
            ("ol", "7", "2024-12-31"),
            ("opensuse-leap", "15.5", "2024-12-31"),
            ("rhel", "7", "2024-06-30"),
            ("sles", "12.5", "2024-10-31"),
            ("sles", "15.6", "2025-12-31"),
            ("ubuntu", "18.04", "2023-05-31"),
            ("ubuntu", "23.10", "2024-07-11"),
        ] {
            assert!(!ended(id, version, last), "{id} {version} on its last day");
            let next = Timestamp(date(last).unwrap().0 + DAY).to_string();
            assert!(ended(id, version, &next[..10]), "{id} {version} the day after");
        }
        for (id, version) in [
            ("debian", "12"),
            ("debian", "13"),
            ("rhel", "8"),
            ("rhel", "9"),
            ("rhel", "10"),
            ("amzn", "2023"),
            ("alpine", "3.22"),
            ("ubuntu", "22.04"),
            ("ubuntu", "24.04"),
            ("azurelinux", "3"),
            ("wolfi", ""),
        ] {
            assert!(!ended(id, version, "2026-11-22"), "{id} {version} is supported");
        }
    }

    #[test]
    fn the_day_after_the_last() {
        let buster = Release { id: "debian".into(), version: "10".into() };
        let at = |text: &str| date(text).unwrap();
        assert_eq!(since(&buster, "10", at("2024-06-30")), None);
        assert_eq!(since(&buster, "10", at("2024-07-01")), Some("2024-06-30"));
        assert_eq!(since(&buster, "99", at("2024-07-01")), None);
    }
}
