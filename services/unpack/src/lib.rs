//! The unpack role: the planner of images, and layer jobs.
//!
//! | module | stage |
//! |---|---|
//! | [`manifest`] | a push or a request → the scan record, layer jobs, the manifest's fact |
//! | [`layer`] | a layer nobody has read yet → its Extract |
//! | [`join`] | a layer that is ready or failed → the images that waited for it |
//! | [`hint`] | an announced layer → a job in the lowest lane |
//! | [`resolve`] | a deploy → the digests that its references mean now |
//!
//! Invariant: the planner (`manifest` and `join`) is the only writer of scan and layer records.

pub mod hint;
pub mod join;
pub mod layer;
pub mod manifest;
pub mod out;
pub mod records;
pub mod resolve;

use std::sync::Arc;

use plimsoll_bus::stage;
use plimsoll_cpu::ByteBudget;
use plimsoll_image::registry::Registries;
use plimsoll_process::{GRACE, ProcessError, Role};

/// Runs the role until its token ends.
pub async fn run(role: Role) -> Result<(), ProcessError> {
    let configured = role.config.registries.clone();
    let registries = tokio::task::spawn_blocking(move || Registries::new(&configured))
        .await
        .map_err(|error| ProcessError::role("registries", error))?
        .map_err(|error| ProcessError::role("registries", error))?;
    let records = records::Records::new(&role.bus, &role.config.limits.layer_profile);
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let slots = match role.config.workers.layer_slots {
        0 => threads,
        n => n,
    };
    let budget = ByteBudget::new(role.config.workers.byte_budget.0);
    let start = |name| {
        let health = role.bus.health().clone();
        health.starting(name);
        move || health.ready(name)
    };
    let ready = start("unpack");
    let running = [
        stage::start(
            role.bus.clone(),
            manifest::ManifestStage::new(registries.clone(), records.clone()),
            role.stop.clone(),
            GRACE,
        )
        .await?,
        stage::start(
            role.bus.clone(),
            layer::LayerStage::new(registries.clone(), &role.config, slots, Arc::new(budget)),
            role.stop.clone(),
            GRACE,
        )
        .await?,
        stage::start(role.bus.clone(), join::JoinStage::new(records.clone()), role.stop.clone(), GRACE)
            .await?,
        stage::start(
            role.bus.clone(),
            hint::HintStage::new(records.clone(), role.config.limits.hint_bytes.0),
            role.stop.clone(),
            GRACE,
        )
        .await?,
        stage::start(
            role.bus.clone(),
            resolve::ResolveStage::new(registries, records),
            role.stop.clone(),
            GRACE,
        )
        .await?,
    ];
    ready();
    for stage in running {
        stage.drained().await;
    }
    Ok(())
}
