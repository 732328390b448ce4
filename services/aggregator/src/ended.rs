//! Releases of distributions that are past their support today. A release ends without any event, so this is asked and
//! never stored.

use plimsoll_model::{Ecosystem, PackageKey, Release, Timestamp};
use plimsoll_vuln::{LookupKey, end_of_life};

/// `deb:debian:10 since 2024-06-30`, as facts say it, of a release as the store names it (`deb:debian:10`).
pub(crate) fn ended(release: &str, now: Timestamp) -> Option<String> {
    let mut parts = release.splitn(3, ':');
    let ecosystem: Ecosystem = parts.next()?.parse().ok()?;
    let id = parts.next()?.to_owned();
    let version = parts.next().unwrap_or_default().to_owned();
    let release = Release { id, version };
    let own = LookupKey::new(ecosystem, Some(&release), "");
    let until = end_of_life::since(&release, &own.version, now)?;
    Some(format!("{} since {until}", own.coverage()))
}

/// The last day of support of the release that a package is of, where that is over.
pub(crate) fn last_day(package: &PackageKey, now: Timestamp) -> Option<&'static str> {
    let release = package.release.as_ref()?;
    let own = LookupKey::new(package.ecosystem, Some(release), "");
    end_of_life::since(release, &own.version, now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_end_by_time_passing() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        assert_eq!(ended("deb:debian:10", at("2024-06-30")), None);
        let ended_at = |release: &str| ended(release, at("2026-01-01"));
        assert_eq!(ended_at("deb:debian:10").as_deref(), Some("deb:debian:10 since 2024-06-30"));
        assert_eq!(ended_at("apk:alpine:3.18.4").as_deref(), Some("apk:alpine:3.18 since 2025-05-09"));
        for not in ["deb:debian:13", "deb:debian", "npm", "", "x:debian:10"] {
            assert_eq!(ended_at(not), None, "{not}");
        }
        let release = Some(Release { id: "debian".into(), version: "10".into() });
        let package = PackageKey { ecosystem: Ecosystem::Deb, release, name: "openssl".into() };
        assert_eq!(last_day(&package, at("2024-07-01")), Some("2024-06-30"));
        assert_eq!(last_day(&PackageKey { release: None, ..package }, at("2024-07-01")), None);
    }
}
