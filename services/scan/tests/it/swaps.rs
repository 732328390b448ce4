use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use plimsoll_bus::connection::message_id;
use plimsoll_bus::{Bus, Settings};
use plimsoll_model::package::{ComponentKey, Ecosystem, PackageKey};
use plimsoll_proto::v1;
use plimsoll_scan_service::installed::Installed;
use plimsoll_testkit::nats::NatsServer;
use plimsoll_vuln::{BuildOptions, Db, build};

const SWAPS: u64 = 100;

/// A Db whose only advisory says its sequence number.
fn db(seq: u64) -> Vec<u8> {
    let directory = tempfile::tempdir().unwrap();
    let record = format!(
        r#"{{"id":"GHSA-aaaa-aaaa-aaaa","modified":"2026-01-01T00:00:00Z","affected":[{{"package":{{"ecosystem":"npm","name":"p"}},"ranges":[{{"type":"SEMVER","events":[{{"introduced":"0"}},{{"fixed":"{seq}.0.0"}}]}}]}}]}}"#
    );
    let path = directory.path().join("r.json");
    std::fs::write(&path, record).unwrap();
    build(&[path], &BuildOptions { seq, ..Default::default() }).unwrap().0
}

async fn publish(bus: &Bus, seq: u64, bytes: &[u8]) {
    let artifact = format!("db.{seq}.{}", message_id(&[bytes]));
    bus.artifacts().put_named(&artifact, bytes).await.unwrap();
    let pointer = v1::DbPointer { seq, artifact, inputs: String::new() };
    bus.records("control")
        .change("db", |_: Option<v1::DbPointer>| (Some(pointer.clone()), ()))
        .await
        .unwrap();
}

fn component() -> ComponentKey {
    ComponentKey {
        package: PackageKey { ecosystem: Ecosystem::Npm, release: None, name: "p".into() },
        version: "0.1.0".into(),
        source: None,
        arch: String::new(),
        stream: String::new(),
    }
}

/// What a Db says must be what was built with its number, whichever it is.
fn matches(db: &Db) -> u64 {
    let set = db.match_keys(&[component()]).unwrap();
    assert_eq!(set.db_seq, db.seq());
    assert_eq!(set.matches.len(), 1);
    assert_eq!(set.matches[0].fixed.as_deref(), Some(format!("{}.0.0", db.seq()).as_str()));
    db.seq()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_db_is_swapped_a_hundred_times_while_everybody_matches() {
    let nats = NatsServer::start().await.unwrap();
    let bus = Bus::connect(Settings::new(nats.url(), "swaps"), Default::default(), Default::default())
        .await
        .unwrap();
    let folder = tempfile::tempdir().unwrap();
    publish(&bus, 1, &db(1)).await;
    let installed = Installed::open(bus.clone(), folder.path()).await.unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let newest = Arc::new(AtomicU64::new(1));
    let matchers: Vec<_> = (0..3)
        .map(|_| {
            let (installed, stop, newest) = (installed.clone(), Arc::clone(&stop), Arc::clone(&newest));
            std::thread::spawn(move || {
                let (mut count, mut last) = (0u64, 0);
                while !stop.load(Ordering::Acquire) {
                    let at_least = newest.load(Ordering::Acquire);
                    let db = installed.current().expect("a Db is always there");
                    let seq = matches(&db);
                    // Never an older one than was current before.
                    assert!(seq >= at_least && seq >= last, "{seq} {at_least} {last}");
                    last = seq;
                    count += 1;
                }
                count
            })
        })
        .collect();
    for seq in 2..=SWAPS + 1 {
        publish(&bus, seq, &db(seq)).await;
        assert_eq!(installed.refresh().await.unwrap().unwrap().seq(), seq);
        newest.store(seq, Ordering::Release);
    }
    // What is no Db of ours is refused by name, and the one before goes on.
    let whole = db(SWAPS + 2);
    let with = |at: usize, value: u8| {
        let mut bytes = whole.clone();
        bytes[at] = value;
        bytes
    };
    let older =
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../crates/vuln/tests/data/format-1.db");
    for (bytes, code) in [
        (whole[..whole.len() - 1].to_vec(), "db_truncated"),
        (with(whole.len() - 3, 0xff), "db_corrupt"),
        (std::fs::read(older).unwrap(), "db_format"),
        (with(8, 99), "db_format"),
        (db(7), "db_sequence"),
        (b"no database at all, only some bytes".to_vec(), "db_format"),
    ] {
        publish(&bus, SWAPS + 2, &bytes).await;
        assert_eq!(installed.refresh().await.unwrap_err().code(), code);
        assert_eq!(matches(&installed.current().unwrap()), SWAPS + 1);
        let left = std::fs::read_dir(folder.path())
            .unwrap()
            .filter(|e| !e.as_ref().unwrap().path().ends_with(".db"));
        assert!(left.count() <= 2, "nothing of it stays on disk");
    }
    publish(&bus, SWAPS + 3, &db(SWAPS + 3)).await;
    assert_eq!(installed.refresh().await.unwrap().unwrap().seq(), SWAPS + 3);
    stop.store(true, Ordering::Release);
    for matcher in matchers {
        assert!(matcher.join().unwrap() > 0);
    }
}
