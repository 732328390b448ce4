//! Outbox, epochs, fences, backup.

use plimsoll_store::{Emit, Store, StoreError};

use super::support::*;

#[tokio::test]
async fn the_outbox_has_what_was_told_until_it_is_published() {
    let bench = Bench::new().await;
    let told = bench.commit(&vulnerable_push("a/b", "1", 1, 1, &["CVE-1"])).await.roll_ups;
    let more = bench.commit(&vulnerable_push("a/c", "1", 2, 2, &["CVE-1", "CVE-2"])).await.roll_ups;
    let reader = bench.store.reader();
    let rows = reader.outbox_after(0, 9).await.unwrap();
    let expected: Vec<_> = told.into_iter().chain(more).collect();
    assert_eq!(expected.len(), 2, "one message for each cause and holder");
    for (row, (seq, subject, message)) in rows.iter().zip(&expected) {
        assert_eq!((row.seq, &row.subject, &row.message), (*seq, subject, message));
        assert_eq!(row.id, format!("1-{seq}"));
    }
    assert_eq!(reader.outbox_after(1, 9).await.unwrap().len(), 1);
    bench.store.outbox_published(7, 2).await.unwrap();
    assert_eq!(reader.outbox_after(0, 9).await.unwrap().len(), 2, "another epoch's number");
    bench.store.outbox_published(1, 1).await.unwrap();
    assert_eq!(reader.outbox_after(0, 9).await.unwrap().len(), 1);
    assert_eq!(reader.published().await.unwrap(), 1);
    assert_eq!(bench.store.new_epoch(5).await.unwrap(), 5);
    assert!(reader.outbox_after(0, 9).await.unwrap().is_empty());
    let told = bench.commit(&vulnerable_push("a/d", "1", 3, 3, &["CVE-1"])).await.roll_ups;
    assert_eq!((told[0].2.epoch, told[0].2.seq), (5, 1));
}

#[tokio::test]
async fn a_second_writer_takes_over() {
    let bench = Bench::new().await;
    // Who only asks takes nothing over.
    let reader = plimsoll_store::Reader::open(bench.store.path()).await.unwrap();
    bench.store.set_db_seq(3).await.unwrap();
    assert_eq!(reader.db_seq().await.unwrap(), 3);
    assert!(plimsoll_store::Reader::open(bench.path("nothing.db")).await.is_err());
    let second = Store::open(bench.store.path()).await.unwrap();
    let facts = vulnerable_push("a/b", "1", 1, 1, &["CVE-1"]);
    let refused = bench.store.commit(&facts, &bench.settings, NOW).await;
    assert!(matches!(refused, Err(StoreError::Fenced)), "{refused:?}");
    assert!(matches!(bench.store.set_db_seq(4).await, Err(StoreError::Fenced)));
    assert_eq!(second.commit(&facts, &bench.settings, NOW).await.unwrap().roll_ups.len(), 1);
}

#[tokio::test]
async fn backup_and_check() {
    let bench = Bench::new().await;
    bench.commit(&vulnerable_push("a/b", "1", 1, 1, &["CVE-1"])).await;
    let copy = bench.path("copy.db");
    bench.store.backup(&copy).await.unwrap();
    bench.store.check().await.unwrap();
    assert!(bench.store.backup(&copy).await.is_err(), "never over a file that is there");
    let restored = Store::open(&copy).await.unwrap();
    assert_eq!(restored.new_epoch(0).await.unwrap(), 2);
    assert_eq!(restored.reader().counts().await.unwrap().open.values().sum::<u64>(), 1);
    let again = restored
        .commit_as(&vulnerable_push("a/b", "1", 1, 1, &["CVE-1"]), &bench.settings, NOW, Emit::Publish)
        .await
        .unwrap();
    assert_eq!(again.applied, 0, "the copy has the inbox");
}

#[tokio::test]
async fn a_newer_schema_is_refused() {
    let bench = Bench::new().await;
    let path = bench.path("newer.db");
    bench.store.backup(&path).await.unwrap();
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&path);
    let mut connection = sqlx::ConnectOptions::connect(&options).await.unwrap();
    sqlx::query("INSERT INTO migrations VALUES (999, 0)").execute(&mut connection).await.unwrap();
    assert!(matches!(Store::open(&path).await, Err(StoreError::Newer { found: 999, .. })));
}
