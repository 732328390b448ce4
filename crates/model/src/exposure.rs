//! Who can reach a workload, and how far that is proved.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// Name of a workload in a cluster.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct WorkloadName {
    pub cluster: String,
    pub namespace: String,
    /// Kubernetes kind, e.g. `Deployment`.
    pub kind: String,
    pub name: String,
}

impl fmt::Display for WorkloadName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}/{}", self.cluster, self.namespace, self.kind, self.name)
    }
}

/// How far away the nearest possible caller is; order is order of exposure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ExposureLevel {
    /// Nothing may reach it.
    Isolated,
    /// Reachable from its own namespace or workload group only.
    Small,
    /// Reachable from other namespaces.
    Controlled,
    /// Reachable from outside the cluster.
    Open,
}

impl ExposureLevel {
    /// The lower-case word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Isolated => "isolated",
            Self::Small => "small",
            Self::Controlled => "controlled",
            Self::Open => "open",
        }
    }
}

/// What the network-policy stage established about one workload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exposure {
    pub level: ExposureLevel,
    /// The evidence, most open first, e.g. `internet via ingress shop/web:443 to port 8080`.
    pub paths: Vec<String>,
    /// Where declared policy may differ from what is enforced.
    pub caveats: Vec<String>,
    /// Workloads that this one can reach.
    pub reaches: u32,
    /// When the cluster looked like that.
    pub as_of: Timestamp,
    /// True when the whole cluster was in view (a watch, or a declared full replace).
    pub complete: bool,
    /// True when the operator asserts that the cluster enforces network policy.
    pub enforced: bool,
}

/// The condition that keeps an exposure from lowering a class, if one does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unproved {
    /// Nothing is known about where the image runs.
    NotDeployed,
    /// The view of the cluster is incomplete.
    Incomplete,
    /// The view is older than `exposure.max_age`.
    Stale,
    /// Nobody asserted that policies are enforced.
    NotEnforced,
}

impl Exposure {
    /// The first condition under which this exposure may not lower a class, or `None` when it is a proof.
    pub fn unproved(&self, now: Timestamp, max_age_ms: i64) -> Option<Unproved> {
        if !self.complete {
            Some(Unproved::Incomplete)
        } else if now.since(self.as_of) > max_age_ms {
            Some(Unproved::Stale)
        } else if !self.enforced {
            Some(Unproved::NotEnforced)
        } else {
            None
        }
    }
}
