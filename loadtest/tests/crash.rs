//! A handful of crash seeds. `plimsoll-loadtest crash --seeds 1000` runs as many as there is time for.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::path::PathBuf;

use plimsoll_loadtest::crash;

/// The program, built if it is not there: a test of one crate does not build another's binary.
fn program() -> PathBuf {
    if let Ok(path) = plimsoll_loadtest::program() {
        return path;
    }
    let status =
        std::process::Command::new(env!("CARGO")).args(["build", "-p", "plimsoll"]).status().unwrap();
    assert!(status.success(), "plimsoll does not build");
    plimsoll_loadtest::program().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_processes_lose_nothing_and_publish_nothing_twice() {
    // Seeds follow the list of points; these are points in each role, and the broker.
    let seeds = vec![2, 17, 18, 30, 38, 42, 44, 53];
    let options = crash::Options { program: program(), seeds, jobs: 3, verbose: true, keep: false };
    let report = crash::run(&options).await.unwrap();
    let failed: Vec<_> = report.failed().collect();
    assert!(failed.is_empty(), "{failed:#?}");
    assert_eq!(report.runs.len(), 8);
}
