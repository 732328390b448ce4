//! The kit against the real servers and formats that it stands in for.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod fake;
mod faults;
mod image;
mod nats;
mod process;
mod proxy;
mod real;
mod wait;

use std::time::Duration;

/// Bound for what must happen; nothing waits this long unless it fails.
const BOUND: Duration = Duration::from_secs(60);

/// Whether a test that needs `program` can run. In CI a missing program is a failure.
fn installed(program: &str) -> bool {
    let found = std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())
        .any(|dir| dir.join(program).is_file());
    if !found {
        assert!(std::env::var_os("CI").is_none(), "{program} must be installed in CI");
        println!("skipped: {program} is not installed");
    }
    found
}
