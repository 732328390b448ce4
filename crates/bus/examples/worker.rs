//! A worker for crash tests: `worker URL stage|fold|ledger claim|effect LOG ACK_WAIT_MS`. It runs until it is killed, by
//! `PLIMSOLL_KILL_AT` or by its owner. Each run of a job appends a line to LOG; for a ledger LOG is a file that says
//! what time it is.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, unreachable_pub)]

#[path = "../tests/it/toy.rs"]
#[allow(dead_code, reason = "shared with the tests")]
mod toy;

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use plimsoll_bus::{Durability, Failure, Guard, fold, stage};
use tokio_util::sync::CancellationToken;

#[tokio::main(worker_threads = 2)]
async fn main() {
    let args: Vec<String> = std::env::args().collect();
    let (url, role, guard, log) = (&args[1], args[2].as_str(), args[3].as_str(), args[4].clone());
    let mut settings = toy::settings(url, "worker", Duration::from_millis(args[5].parse().unwrap()));
    if url.contains(',') {
        settings.durability = Durability::R3;
    }
    let bus = toy::connect(settings).await;
    let stop = CancellationToken::new();
    if role == "fold" {
        fold::run(bus, toy::Tape, stop, fold::Settling::after(Duration::from_millis(50))).await.unwrap();
        return;
    }
    if role == "ledger" {
        let clock = Arc::new(AtomicI64::new(0));
        let settling =
            fold::Settling::after(Duration::from_millis(toy::QUIET_MS)).with_clock(Arc::clone(&clock));
        std::thread::spawn(move || {
            loop {
                let said = std::fs::read_to_string(&log).unwrap_or_default();
                clock.store(said.parse().unwrap_or(0), Ordering::SeqCst);
                std::thread::sleep(Duration::from_millis(10));
            }
        });
        fold::run(bus, toy::Ledger, stop, settling).await.unwrap();
        return;
    }
    let guard = if guard == "claim" { Guard::Claim } else { Guard::Effect };
    let act = move |_cx, input: String| {
        let log = log.clone();
        async move {
            let mut file = std::fs::OpenOptions::new().create(true).append(true).open(log).unwrap();
            // One write, so that lines of jobs that run at once stay whole.
            file.write_all(format!("{input}\n").as_bytes()).unwrap();
            if input.starts_with("abort") {
                std::process::abort();
            }
            if input.starts_with("hopeless") {
                return Err(Failure::permanent("corrupt", "as asked"));
            }
            Ok(vec![toy::fact(format!("did {input}")), toy::fact(format!("also {input}"))])
        }
    };
    let limits = plimsoll_bus::Limits { attempts: 2, ..toy::limits(guard) };
    stage::start(bus, toy::Toy::new(limits, act), stop, Duration::from_secs(5))
        .await
        .unwrap()
        .drained()
        .await;
}
