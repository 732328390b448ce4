//! What a line of the configuration means: a path, an address of one file, or a source with a protocol of its own.

use std::path::PathBuf;

use plimsoll_bus::connection::message_id;
use plimsoll_config::Feed;
use plimsoll_process::ProcessError;

/// A source, and what it is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// As the configuration writes it, without `upstream:`.
    pub name: String,
    pub kind: Kind,
}

/// How a source is fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A file or folder of this machine.
    Path(PathBuf),
    /// One file, asked for conditionally.
    File(String),
    /// A folder of OSV's bucket: `all.zip` first, then what `modified_id.csv` names.
    Osv(String),
    /// A folder of CSAF VEX documents: the archive that `archive_latest.txt` names, then `changes.csv` and
    /// `deletions.csv`.
    Csaf(String),
}

/// Sources that are known by name, with their addresses. `osv/ECOSYSTEM`, `alpine/RELEASE/REPOSITORY` and
/// `nvd/YEAR` are any.
const UPSTREAM: &[(&str, &str)] = &[
    ("kev", "https://www.cisa.gov/sites/default/files/feeds/known_exploited_vulnerabilities.json"),
    ("epss", "https://epss.empiricalsecurity.com/epss_scores-current.csv.gz"),
    ("vulnrichment", "https://github.com/cisagov/vulnrichment/archive/refs/heads/develop.tar.gz"),
    ("debian", "https://security-tracker.debian.org/tracker/data/json"),
    ("ubuntu", "https://security-metadata.canonical.com/osv/osv-all.tar.xz"),
    ("redhat", "csaf+https://security.access.redhat.com/data/csaf/v2/vex"),
    ("oracle", "https://linux.oracle.com/security/oval/com.oracle.elsa-all.xml.bz2"),
    ("photon/4.0", "https://packages.broadcom.com/photon/photon_cve_metadata/cve_data_photon4.0.json"),
    ("photon/5.0", "https://packages.broadcom.com/photon/photon_cve_metadata/cve_data_photon5.0.json"),
    // Under a licence that has to be agreed to: read where they are named, never by default.
    ("wolfi", "https://packages.wolfi.dev/os/security.json"),
    ("chainguard", "https://packages.cgr.dev/chainguard/security.json"),
];

const OSV: &str = "https://osv-vulnerabilities.storage.googleapis.com";
const ALPINE: &str = "https://secdb.alpinelinux.org";
/// NVD's data feeds have what its paged interface has, a file for each year of CVE ids, for
/// conditional requests. The one of changes is not used: it shrinks whenever less changed, which is what is held.
const NVD: &str = "https://nvd.nist.gov/feeds/json/cve/2.0/nvdcve-2.0";

/// What `plimsoll db update` fetches where nothing is named: free to use, and together what most images need.
pub const DEFAULT: &[&str] = &[
    "upstream:osv/npm",
    "upstream:osv/PyPI",
    "upstream:osv/Go",
    "upstream:osv/Maven",
    "upstream:osv/crates.io",
    "upstream:osv/RubyGems",
    "upstream:osv/Packagist",
    "upstream:osv/NuGet",
    "upstream:osv/Hex",
    "upstream:osv/Pub",
    "upstream:osv/AlmaLinux",
    "upstream:osv/Rocky Linux",
    "upstream:osv/SUSE",
    "upstream:osv/openSUSE",
    "upstream:osv/Azure Linux",
    "upstream:osv/Bitnami",
    "upstream:osv/Alpine",
    "upstream:debian",
    "upstream:ubuntu",
    "upstream:redhat",
    "upstream:oracle",
    "upstream:photon/5.0",
    "upstream:kev",
    "upstream:epss",
    "upstream:vulnrichment",
];

impl Source {
    /// Reads a line of the configuration. `feed_source_unknown` for an upstream that has no such name.
    pub fn of(feed: &Feed) -> Result<Self, ProcessError> {
        match feed {
            Feed::Path(path) => Ok(Self { name: path.display().to_string(), kind: Kind::Path(path.clone()) }),
            Feed::Url(text) => {
                let name = text.strip_prefix("upstream:").unwrap_or(text);
                let address = if name == text { text.clone() } else { address(name)? };
                Ok(Self { name: name.to_owned(), kind: kind(&address) })
            }
        }
    }

    /// Reads a line that a person gives: as in the configuration.
    pub fn parse(text: &str) -> Result<Self, ProcessError> {
        let remote =
            ["http://", "https://", "osv+", "csaf+", "upstream:"].iter().any(|begin| text.starts_with(begin));
        Self::of(&if remote { Feed::Url(text.to_owned()) } else { Feed::Path(text.into()) })
    }

    /// Path or address.
    pub fn address(&self) -> String {
        match &self.kind {
            Kind::Path(path) => path.display().to_string(),
            Kind::File(url) | Kind::Osv(url) | Kind::Csaf(url) => url.clone(),
        }
    }

    /// The name of its folder.
    pub fn folder(&self) -> String {
        let plain: String = self
            .name
            .trim_end_matches('/')
            .rsplit('/')
            .next()
            .unwrap_or("feed")
            .chars()
            .filter(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_'))
            .take(48)
            .collect();
        let id = message_id(&[self.name.as_bytes()]);
        format!("{}-{}", id.get(..16).unwrap_or(&id), plain.trim_start_matches('.'))
    }
}

fn kind(address: &str) -> Kind {
    let bare = |url: &str| url.trim_end_matches('/').to_owned();
    if let Some(url) = address.strip_prefix("osv+") {
        Kind::Osv(bare(url))
    } else if let Some(url) = address.strip_prefix("csaf+") {
        Kind::Csaf(bare(url))
    } else {
        Kind::File(address.to_owned())
    }
}

fn address(name: &str) -> Result<String, ProcessError> {
    let plain = |text: &str| {
        !text.is_empty()
            && !text.contains("..")
            && text.chars().all(|c| c.is_ascii_alphanumeric() || ". -_".contains(c))
    };
    if let Some(ecosystem) = name.strip_prefix("osv/").filter(|ecosystem| plain(ecosystem)) {
        return Ok(format!("osv+{OSV}/{}", ecosystem.replace(' ', "%20")));
    }
    if let Some((release, repository)) = name.strip_prefix("alpine/").and_then(|rest| rest.split_once('/'))
        && plain(release)
        && plain(repository)
    {
        return Ok(format!("{ALPINE}/{release}/{repository}.json"));
    }
    let is_year = |text: &str| text.len() == 4 && text.bytes().all(|b| b.is_ascii_digit());
    if let Some(part) = name.strip_prefix("nvd/").filter(|part| is_year(part)) {
        return Ok(format!("{NVD}-{part}.json.gz"));
    }
    let known = UPSTREAM.iter().find(|(known, _)| *known == name).map(|(_, address)| (*address).to_owned());
    known.ok_or_else(|| ProcessError::role("feed_source_unknown", format!("no source is called {name:?}")))
}
