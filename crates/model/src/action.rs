//! What people do about findings.

use serde::{Deserialize, Serialize};

/// A step that removes risk.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Action {
    pub kind: ActionKind,
    /// One sentence in the imperative.
    pub sentence: String,
    /// Ids of the findings that it ends or lowers, sorted.
    pub findings: Vec<String>,
    /// Names of the workloads and repositories that gain from it, sorted.
    pub holders: Vec<String>,
    /// Rank that it removes, after the actions before it in the plan.
    pub removes: f64,
    /// `removes` over the rank of all open findings, 0 to 1.
    pub share: f64,
}

/// The kinds of steps.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ActionKind {
    /// Upgrade `package` (named as its `PackageKey`; further packages of the same source follow after commas) to
    /// `version` or later in `scope` (repository).
    UpgradePackage { package: String, version: String, scope: String },
    /// Rebuild `scope` on a newer `base`.
    RebuildOnBase { base: String, scope: String },
    /// Close the path to `workload` with a network policy.
    ApplyPolicy { workload: String },
    /// Roll `workload` out with the newer image that its tag points at.
    Rollout { workload: String },
}
