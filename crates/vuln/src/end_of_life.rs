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
