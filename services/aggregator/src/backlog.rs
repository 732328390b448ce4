//! What a change of many components left: their holders are judged in slices, between the commits of facts.

use std::time::Duration;

use plimsoll_model::time::Timestamp;
use plimsoll_process::ProcessError;
use plimsoll_store::Emit;

use crate::Aggregator;

/// Time for further components of the same change to come, so that a holder is told once.
const QUIET: Duration = Duration::from_millis(100);

/// Does slices until the role ends.
pub async fn run(aggregator: Aggregator) -> Result<(), ProcessError> {
    let stop = aggregator.role.stop.clone();
    while !stop.is_cancelled() {
        let mut done = 0u32;
        loop {
            let now = Timestamp::now();
            match aggregator.store.backlog(&aggregator.settings, now, Emit::Publish).await {
                Ok(outcome) => {
                    let more = outcome.backlog;
                    aggregator.outbox.add(outcome.roll_ups);
                    if !more || stop.is_cancelled() {
                        break;
                    }
                    done += 1;
                }
                Err(error) => {
                    tracing::error!(%error, "holders of changed components could not be judged yet");
                    break;
                }
            }
        }
        if done > 0 {
            tracing::info!(slices = done, "holders of changed components were judged");
        }
        // A slice that failed is tried again, and so is what an earlier process left.
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(Duration::from_secs(5)) => {}
            () = aggregator.backlog.notified() => tokio::time::sleep(QUIET).await,
        }
    }
    Ok(())
}
