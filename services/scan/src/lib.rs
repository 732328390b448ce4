//! The scan role: components against the Db.
//!
//! | module | what |
//! |---|---|
//! | [`installed`] | the Db of this machine: fetched, verified once, swapped without a restart |
//! | [`stage`] | match jobs: an image's Sbom, or component keys alone |

pub mod installed;
pub mod stage;

use plimsoll_process::{GRACE, ProcessError, Role};

use crate::installed::Installed;

/// Runs the role until its token ends.
pub async fn run(role: Role) -> Result<(), ProcessError> {
    let installed = Installed::open(role.bus.clone(), &role.data.join("db")).await?;
    let watch = tokio::spawn(installed.clone().watch(role.stop.clone()));
    let stage = stage::ScanStage::new(installed, role.pool.clone());
    let running = plimsoll_bus::stage::start(role.bus.clone(), stage, role.stop.clone(), GRACE).await?;
    role.bus.health().ready("scan");
    running.drained().await;
    watch.abort();
    Ok(())
}
