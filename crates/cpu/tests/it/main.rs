#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;

use plimsoll_cpu::{BudgetError, ByteBudget, Cancel, Pool, RunError, Ticket};

#[tokio::test]
async fn gives_results_and_survives_a_panic() {
    let pool = Pool::new(2).unwrap();
    assert_eq!(pool.run("add", |_| 40 + 2).await.unwrap(), 42);
    let failed = pool.run("bad", |_| -> u32 { panic!("no good") }).await.unwrap_err();
    assert_eq!(failed, RunError::Panicked { name: "bad", message: "no good".into() });
    assert_eq!(pool.run("again", |_| 1).await.unwrap(), 1);
    assert_eq!(pool.gauges().running, 0);
}

#[tokio::test]
async fn work_whose_caller_left_never_starts() {
    let pool = Pool::with_queue(1, 4).unwrap();
    let (release, busy) = occupy(&pool);
    let started = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&started);
    let mut left = Box::pin(pool.run("left", move |_| flag.store(true, Ordering::SeqCst)));
    assert!(futures_poll_once(&mut left).await, "the work is queued behind the busy one");
    assert_eq!(pool.gauges().queued, 1);
    drop(left);
    release.send(()).unwrap();
    assert!(busy.wait().unwrap());
    assert_eq!(pool.run("after", |_| 7).await.unwrap(), 7);
    assert!(!started.load(Ordering::SeqCst));
}

#[tokio::test]
async fn running_work_hears_that_its_caller_left() {
    let pool = Pool::new(1).unwrap();
    let (started, is_running) = tokio::sync::oneshot::channel();
    let (stopped, has_stopped) = tokio::sync::oneshot::channel();
    let task = tokio::spawn({
        let pool = pool.clone();
        async move {
            pool.run("loop", move |cancel| {
                started.send(()).unwrap();
                while cancel.check().is_ok() {
                    std::thread::yield_now();
                }
                stopped.send(()).unwrap();
            })
            .await
        }
    });
    is_running.await.unwrap();
    task.abort();
    has_stopped.await.unwrap();
}

#[tokio::test]
async fn a_full_queue_makes_callers_wait_and_producers_work() {
    let pool = Pool::with_queue(1, 0).unwrap();
    let (release, busy) = occupy(&pool);
    let here = std::thread::current().id();
    let inline = pool.submit("inline", &Cancel::new(), |_| std::thread::current().id());
    assert_eq!(inline.wait().unwrap(), here);
    let parent = Cancel::new();
    let mut waiting = Box::pin(pool.run_under("waits", &parent, |_| 1));
    assert!(futures_poll_once(&mut waiting).await);
    assert_eq!(pool.gauges().waiting, 1);
    parent.cancel();
    assert_eq!(waiting.await.unwrap_err(), RunError::Cancelled { name: "waits" });
    release.send(()).unwrap();
    assert!(busy.wait().unwrap());
}

#[tokio::test]
async fn a_thread_of_its_own() {
    let cancel = Cancel::new();
    let name =
        plimsoll_cpu::thread::run("layer-7", &cancel, |_| std::thread::current().name().map(str::to_owned));
    assert_eq!(name.await.unwrap().as_deref(), Some("layer-7"));
    let cancelled = Cancel::new();
    cancelled.cancel();
    let never = plimsoll_cpu::thread::run("never", &cancelled, |_| ()).await;
    assert_eq!(never, Err(RunError::Cancelled { name: "never" }));
}

#[tokio::test]
async fn the_budget_is_never_exceeded_and_comes_back() {
    let budget = ByteBudget::new(64 * 1024);
    let used = Arc::new(AtomicUsize::new(0));
    let mut tasks = Vec::new();
    for n in 0..200_u64 {
        let (budget, used) = (budget.clone(), Arc::clone(&used));
        tasks.push(tokio::spawn(async move {
            let permit = budget.reserve(1 + n * 300).await.unwrap();
            let bytes = usize::try_from(permit.bytes()).unwrap();
            assert!(used.fetch_add(bytes, Ordering::SeqCst) + bytes <= 64 * 1024);
            tokio::task::yield_now().await;
            used.fetch_sub(bytes, Ordering::SeqCst);
            drop(permit);
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(budget.available(), budget.capacity());
    let too_large = budget.reserve(64 * 1024 + 1).await.unwrap_err();
    assert!(matches!(too_large, BudgetError::TooLarge { capacity: 65_536, .. }));
    assert!(budget.try_reserve(u64::MAX).is_none());
}

#[test]
fn a_thread_waits_for_bytes_until_it_is_cancelled() {
    let budget = ByteBudget::new(1024);
    let cancel = Cancel::new();
    let held = budget.reserve_blocking(1000, &cancel).unwrap();
    let waiter = std::thread::spawn({
        let (budget, cancel) = (budget.clone(), cancel.clone());
        move || budget.reserve_blocking(1, &cancel).map(|permit| permit.bytes())
    });
    drop(held);
    assert_eq!(waiter.join().unwrap().unwrap(), 1024);
    let held = budget.reserve_blocking(1, &cancel).unwrap();
    let waiter = std::thread::spawn({
        let (budget, cancel) = (budget.clone(), cancel.clone());
        move || budget.reserve_blocking(1, &cancel).map(|permit| permit.bytes())
    });
    cancel.cancel();
    assert!(matches!(waiter.join().unwrap(), Err(BudgetError::Cancelled(_))));
    drop(held);
}

/// Keeps a thread of the pool busy, from before this returns until something is sent.
fn occupy(pool: &Pool) -> (mpsc::Sender<()>, Ticket<bool>) {
    let (release, blocked) = mpsc::channel::<()>();
    let (started, is_running) = mpsc::channel::<()>();
    let busy = pool.submit("busy", &Cancel::new(), move |_| {
        started.send(()).unwrap();
        blocked.recv().is_ok()
    });
    is_running.recv().unwrap();
    (release, busy)
}

/// Polls once; true while pending.
async fn futures_poll_once<F: std::future::Future + Unpin>(future: &mut F) -> bool {
    std::future::poll_fn(|cx| std::task::Poll::Ready(std::pin::Pin::new(&mut *future).poll(cx).is_pending()))
        .await
}
