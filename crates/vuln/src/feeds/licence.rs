//! Under which terms sources publish. A note, not a judgement: whoever passes a Db on passes these on.

use super::{FeedReport, Format};

/// The terms of a feed, as its publisher states them.
pub fn of_feed(feed: &str) -> &'static str {
    match feed {
        "ghsa" | "go" | "pypa" => "CC-BY-4.0",
        "rustsec" => "CC0-1.0",
        "bitnami" | "ossf" => "Apache-2.0",
        "rubysec" => "public domain; OSVDB texts under their own terms",
        "friendsofphp" => "Unlicense",
        "retirejs" => "Apache-2.0",
        "nodejs" | "almalinux" => "MIT",
        "rocky" => "BSD-3-Clause",
        "ubuntu" => "CC-BY-SA-4.0",
        "alpine" => "CC-BY-SA-4.0",
        "debian" => "none stated (facts)",
        "wolfi" | "chainguard" => "CC-BY-NC-ND-4.0 with Chainguard's licence: ask before commercial use",
        "redhat" | "suse" => "CC-BY-4.0",
        "azurelinux" => "MIT",
        "nvd" => "public domain (United States); NVD does not endorse what uses it",
        _ => "none stated",
    }
}

/// The terms of all that was read of a source, each once.
pub fn of_report(report: &FeedReport) -> Vec<&'static str> {
    let mut terms: Vec<&str> = match report.format {
        Format::Kev | Format::Vulnrichment => vec!["CC0-1.0"],
        Format::Epss => vec!["free use with attribution to FIRST EPSS"],
        Format::DebianSupport => vec!["GPL-2.0-only"],
        _ => report.feeds.keys().map(|feed| of_feed(feed)).collect(),
    };
    terms.sort_unstable();
    terms.dedup();
    terms
}
