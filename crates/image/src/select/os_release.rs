//! What distribution an image is: `os-release` (freedesktop.org) and its older siblings.

use super::{File, Selector, Trigger, Want};

/// Keeps the files whole.
pub struct OsRelease;

const MAX: u64 = 64 << 10;
const PATHS: &[&str] = &[
    "etc/os-release",
    "usr/lib/os-release",
    "etc/alpine-release",
    "etc/debian_version",
    "etc/redhat-release",
    "etc/centos-release",
    "etc/fedora-release",
    "etc/system-release",
    "etc/lsb-release",
    "etc/oracle-release",
    "etc/enterprise-release",
    "etc/SuSE-release",
    "etc/gentoo-release",
    "etc/photon-release",
];

impl Selector for OsRelease {
    fn name(&self) -> &'static str {
        "os-release"
    }

    fn revision(&self) -> u32 {
        2
    }

    fn triggers(&self) -> &'static [Trigger] {
        const {
            &[
                Trigger::Name("os-release"),
                Trigger::Name("alpine-release"),
                Trigger::Name("debian_version"),
                Trigger::Name("redhat-release"),
                Trigger::Name("centos-release"),
                Trigger::Name("fedora-release"),
                Trigger::Name("system-release"),
                Trigger::Name("lsb-release"),
                Trigger::Name("oracle-release"),
                Trigger::Name("enterprise-release"),
                Trigger::Name("SuSE-release"),
                Trigger::Name("gentoo-release"),
                Trigger::Name("photon-release"),
            ]
        }
    }

    fn wants(&self, file: &File<'_>) -> Want {
        if PATHS.contains(&file.path) { Want::Whole { max: MAX } } else { Want::No }
    }

    fn reduce(&self, _file: &File<'_>, bytes: &[u8]) -> Option<Vec<u8>> {
        Some(bytes.to_vec())
    }
}
