use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use plimsoll_testkit::wait::{until, until_some};

use crate::BOUND;

#[tokio::test]
async fn ends_when_the_condition_holds() {
    let looks = AtomicU32::new(0);
    let value = until_some("five looks", BOUND, || async {
        (looks.fetch_add(1, Ordering::SeqCst) == 4).then_some("done")
    });
    assert_eq!(value.await.unwrap(), "done");
    assert_eq!(looks.load(Ordering::SeqCst), 5);
}

#[tokio::test(start_paused = true)]
async fn says_what_it_waited_for() {
    let error = until("a ship", Duration::ZERO, || async { false }).await.unwrap_err();
    assert_eq!((error.what.as_str(), error.looks), ("a ship", 1));
    assert_eq!(error.to_string(), "gave up waiting for a ship after 0ns and 1 looks");
}

#[tokio::test(start_paused = true)]
async fn a_look_that_hangs_is_cut_off() {
    assert!(until("never", Duration::ZERO, std::future::pending::<bool>).await.is_err());
}
