//! Messages a second through a stage that does nothing but emit one fact: `rate [MESSAGES] [SLOTS]`, on one node with
//! file storage and default sync (durability r1).

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, unreachable_pub)]

#[path = "../tests/it/toy.rs"]
#[allow(dead_code, reason = "shared with the tests")]
mod toy;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures::StreamExt;
use plimsoll_bus::subjects::{Lane, job};
use plimsoll_bus::{Bus, Guard, Limits, Outgoing, Settings, stage};
use plimsoll_testkit::nats::NatsServer;
use plimsoll_testkit::wait;
use tokio_util::sync::CancellationToken;

#[tokio::main]
async fn main() {
    let mut args = std::env::args().skip(1).map(|arg| arg.parse::<usize>().unwrap());
    let (count, slots) = (args.next().unwrap_or(10_000), args.next().unwrap_or(32));
    for guard in [Guard::Effect, Guard::Claim] {
        let server = NatsServer::start().await.unwrap();
        let bus = toy::connect(Settings::new(server.url(), "rate")).await;
        let began = Instant::now();
        futures::stream::iter(0..count).for_each_concurrent(64, |n| push(&bus, n)).await;
        let pushed = began.elapsed();
        let done = Arc::new(AtomicUsize::new(0));
        let seen = Arc::clone(&done);
        let toy = toy::Toy::new(Limits { slots, ..toy::limits(guard) }, move |_, input| {
            seen.fetch_add(1, Ordering::Relaxed);
            async { Ok(vec![toy::fact(input)]) }
        });
        let stop = CancellationToken::new();
        let began = Instant::now();
        let running = stage::start(bus, toy, stop.clone(), Duration::from_secs(10)).await.unwrap();
        wait::until("all work", Duration::from_secs(600), || async { done.load(Ordering::Relaxed) >= count })
            .await
            .unwrap();
        stop.cancel();
        running.drained().await;
        let rate = |elapsed: Duration| count as f64 / elapsed.as_secs_f64();
        println!(
            "{guard:?}: {count} messages, {slots} slots: queued at {:.0}/s, worked off at {:.0}/s",
            rate(pushed),
            rate(began.elapsed())
        );
    }
}

async fn push(bus: &Bus, n: usize) {
    let message = Outgoing { subject: job("toy", Lane::Hot), payload: format!("job {n}").into_bytes() };
    bus.publish(&message, &format!("rate-{n}"), &[]).await.unwrap();
}
