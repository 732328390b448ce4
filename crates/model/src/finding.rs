//! Findings: identity, class, and what changes about them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::exposure::{ExposureLevel, Unproved, WorkloadName};
use crate::package::PackageKey;
use crate::platform::Platform;
use crate::time::Timestamp;
use crate::vulnerability::{Severity, Vulnerability};

/// What holds a vulnerable package.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Holder {
    /// A container, or with an empty name the workload as a whole.
    Workload {
        workload: WorkloadName,
        container: String,
    },
    Repository {
        registry: String,
        repository: String,
        platform: Platform,
    },
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Workload { workload, container } if container.is_empty() => write!(f, "{workload}"),
            Self::Workload { workload, container } => write!(f, "{workload}/{container}"),
            Self::Repository { registry, repository, platform } => {
                write!(f, "{registry}/{repository} ({platform})")
            }
        }
    }
}

/// The identity of a finding: it stays the same over versions, digests and paths.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct FindingKey {
    /// Canonical vulnerability id.
    pub vulnerability: String,
    pub package: PackageKey,
    pub holder: Holder,
}

/// How soon people should act; order is order of urgency, most urgent first (CISA BOD 26-04).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Class {
    #[serde(rename = "3d-forensic")]
    ThreeDaysForensic,
    #[serde(rename = "3d")]
    ThreeDays,
    #[serde(rename = "14d")]
    FourteenDays,
    #[serde(rename = "60d")]
    SixtyDays,
    #[serde(rename = "upgrade")]
    NextUpgrade,
}

/// A word that names no class.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown class {0:?}: one of 3d-forensic, 3d, 14d, 60d, upgrade")]
pub struct UnknownClass(pub String);

impl Class {
    /// Most urgent first.
    pub const ALL: [Class; 5] =
        [Self::ThreeDaysForensic, Self::ThreeDays, Self::FourteenDays, Self::SixtyDays, Self::NextUpgrade];

    /// The word in subjects, filters and tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ThreeDaysForensic => "3d-forensic",
            Self::ThreeDays => "3d",
            Self::FourteenDays => "14d",
            Self::SixtyDays => "60d",
            Self::NextUpgrade => "upgrade",
        }
    }

    /// Days until the finding is due; `None` for the next upgrade.
    pub fn days(self) -> Option<u32> {
        match self {
            Self::ThreeDaysForensic | Self::ThreeDays => Some(3),
            Self::FourteenDays => Some(14),
            Self::SixtyDays => Some(60),
            Self::NextUpgrade => None,
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Class {
    type Err = UnknownClass;
    fn from_str(text: &str) -> Result<Self, UnknownClass> {
        Self::ALL
            .into_iter()
            .find(|c| c.as_str() == text)
            .ok_or_else(|| UnknownClass(text.chars().take(40).collect()))
    }
}

/// A class, its rank inside the class, and what led to both.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Assessment {
    pub class: Class,
    /// 0 to 100; higher first inside a class.
    pub rank: f64,
    pub factors: Factors,
    /// The class with its reasons, one sentence.
    pub sentence: String,
}

/// What the class and rank were computed from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Factors {
    pub exploited: bool,
    /// What the class was given: exposed or not.
    pub exposed: bool,
    pub level: ExposureLevel,
    /// Why exposure was assumed rather than proved, if it was.
    pub unproved: Option<Unproved>,
    pub automatable: bool,
    pub total_impact: bool,
    /// Names of inputs that were unknown and took the worst consistent value.
    pub assumed: Vec<String>,
    pub threat: f64,
    pub epss: Option<f64>,
    pub reaches: u32,
    /// Modifiers that moved the class by a step, e.g. `epss>=0.36: up`.
    pub modifiers: Vec<String>,
}

/// An open or closed finding as it stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// Stable id: hash of the key.
    pub id: String,
    pub key: FindingKey,
    /// Rises by one with every published change.
    pub revision: u64,
    pub state: FindingState,
    pub assessment: Assessment,
    pub vulnerability: Vulnerability,
    /// Affected versions that the holder has now, sorted.
    pub versions: Vec<String>,
    /// Version that ends it, where known.
    pub fixed: Option<String>,
    pub status: crate::vulnerability::MatchStatus,
    /// Image digests of the holder that have it, sorted.
    pub images: Vec<Digest>,
    pub advisory: String,
    pub opened_at: Timestamp,
    /// Set at opening, moves only earlier.
    pub due: Option<Timestamp>,
    pub db_seq: u64,
    /// The path that proves the exposure, or the condition that is missing.
    pub evidence: Vec<String>,
    /// The statements that suppress it; empty unless it is suppressed by statements.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub suppressions: Vec<crate::vex::Suppression>,
}

impl Finding {
    /// Severity in words.
    pub fn severity(&self) -> Severity {
        self.vulnerability.severity
    }
}

/// Whether a finding stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FindingState {
    Open,
    Fixed,
    Suppressed,
}

/// What happened to a finding (or to the view of an image).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeKind {
    Opened,
    Reclassified,
    /// An attribute (version, fix, images) changed while it stays open.
    Updated,
    Fixed,
    Reopened,
    Suppressed,
    /// From a repository to a workload or back.
    Rescoped,
    /// Its vulnerability turned out to be an alias of another.
    Merged,
    ScanFailed,
}

impl ChangeKind {
    /// The word in messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Opened => "opened",
            Self::Reclassified => "reclassified",
            Self::Updated => "updated",
            Self::Fixed => "fixed",
            Self::Reopened => "reopened",
            Self::Suppressed => "suppressed",
            Self::Rescoped => "rescoped",
            Self::Merged => "merged",
            Self::ScanFailed => "scan_failed",
        }
    }
}

/// What made a change: the event or fact that led to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cause {
    /// `push`, `deploy`, `policy`, `advisory`, `vex`, `delete`, `failure`.
    pub kind: String,
    /// Id of the event or fact.
    pub id: String,
    /// One sentence for people.
    pub sentence: String,
}

/// One change of one finding, as subscribers get it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Change {
    pub kind: ChangeKind,
    /// The class before, when it was open before.
    pub previous_class: Option<Class>,
    pub finding: Finding,
}

impl Change {
    /// The more urgent of old and new class: whoever was told of an alarm is told of its end.
    pub fn published_class(&self) -> Class {
        self.previous_class
            .map_or(self.finding.assessment.class, |old| old.min(self.finding.assessment.class))
    }
}

/// What one message on FINDINGS says: all changes of one holder in one class with one cause.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RollUp {
    /// `epoch` and `seq` order all roll-ups of a store; a new epoch means: resynchronise.
    pub epoch: u64,
    pub seq: u64,
    pub at: Timestamp,
    pub cause: Cause,
    pub holder: Holder,
    pub class: Class,
    pub changes: Vec<Change>,
    /// Set for `scan_failed`: the stable code and the detail.
    pub failure: Option<(String, String)>,
    /// W3C `traceparent`, empty when there is none.
    pub trace: String,
}
