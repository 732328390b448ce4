//! Exposure to peers that are not in view but that rules imply.
use crate::engine::Connectivity;
use crate::format::PotentialReport;
use crate::state::ClusterState;

pub fn potential(_state: &ClusterState, _connectivity: &Connectivity) -> PotentialReport {
    PotentialReport::default()
}
