//! Conversions are lossless, hostile messages are errors, and stored formats stay readable.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use plimsoll_model::digest::Digest;
use plimsoll_model::exposure::{Exposure, ExposureLevel, Unproved, WorkloadName};
use plimsoll_model::extract::{Entry, EntryKind, Extract, Selected, SelectorRevision};
use plimsoll_model::fact::{Fact, FactBody, ScanFailed};
use plimsoll_model::finding::{
    Assessment, Cause, Change, ChangeKind, Class, Factors, Finding, FindingKey, FindingState, Holder, RollUp,
};
use plimsoll_model::package::{Ecosystem, PackageKey, Release};
use plimsoll_model::time::Timestamp;
use plimsoll_model::vex::{StatementKind, Suppression, VexStatus};
use plimsoll_model::vulnerability::{
    Exploit, Intelligence, Kev, MatchStatus, Severity, Sourced, Vulnerability,
};
use plimsoll_proto::v1;
use proptest::prelude::*;
use prost::Message;

fn digest(byte: u8) -> Digest {
    Digest::from_sha256(&[byte; 32])
}

fn entry() -> impl Strategy<Value = Entry> {
    let path = prop_oneof!["[a-c]{1,3}(/[a-cé]{1,3}){0,4}", ".{0,12}"];
    let kind = prop_oneof![
        Just(EntryKind::File),
        Just(EntryKind::Directory),
        ".{0,8}".prop_map(EntryKind::Symlink),
        "[a-c/]{0,8}".prop_map(EntryKind::Hardlink),
        Just(EntryKind::Other),
        Just(EntryKind::Whiteout),
        Just(EntryKind::Opaque),
    ];
    (path, kind).prop_map(|(path, kind)| Entry { path, kind })
}

proptest! {
    #[test]
    fn extracts_survive_front_coding(mut entries in prop::collection::vec(entry(), 0..40), kept in prop::collection::vec(any::<u8>(), 0..50)) {
        entries.sort();
        let extract = Extract {
            layer: digest(1),
            profile: "default".into(),
            selectors: vec![SelectorRevision { name: "dpkg".into(), revision: 3 }],
            entries: entries.into_iter().collect(),
            selected: vec![Selected { path: "a/b".into(), selector: "dpkg".into(), size: 9, bytes: kept }],
            anomalies: Vec::new(),
            partial: Vec::new(),
            compressed_size: 1,
            uncompressed_size: 2,
        };
        let bytes = v1::Extract::from(extract.clone()).encode_to_vec();
        let back = Extract::try_from(v1::Extract::decode(bytes.as_slice()).unwrap()).unwrap();
        prop_assert_eq!(back, extract);
    }

    #[test]
    fn hostile_extracts_are_errors_and_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200), shared in prop::collection::vec(any::<u32>(), 0..4)) {
        if let Ok(message) = v1::Extract::decode(bytes.as_slice()) {
            let _ = Extract::try_from(message);
        }
        let message = v1::Extract {
            format: 1,
            layer: digest(1).to_string(),
            suffix: shared.iter().map(|_| "é".to_owned()).collect(),
            kinds: vec![b'f'; shared.len()],
            shared,
            ..Default::default()
        };
        let _ = Extract::try_from(message);
    }
}

#[test]
fn a_format_of_the_future_is_refused() {
    let message = v1::Extract { format: 2, layer: digest(1).to_string(), ..Default::default() };
    assert_eq!(Extract::try_from(message).unwrap_err().field, "format");
    let message = v1::Sbom { format: 9, ..Default::default() };
    assert_eq!(plimsoll_model::Sbom::try_from(message).unwrap_err().field, "format");
}

#[test]
fn the_first_format_stays_readable() {
    // An Extract of format 1 with a symlink below a directory, as its first writer wrote it.
    let mut written = Vec::new();
    v1::Extract {
        format: 1,
        layer: digest(7).to_string(),
        profile: "default".into(),
        shared: vec![0, 3],
        suffix: vec!["usr".into(), "/bin".into()],
        kinds: b"dl".to_vec(),
        targets: vec!["../bin".into()],
        ..Default::default()
    }
    .encode(&mut written)
    .unwrap();
    let read = Extract::try_from(v1::Extract::decode(written.as_slice()).unwrap()).unwrap();
    assert_eq!(read.entries.path(1), "usr/bin");
    assert_eq!(read.entries.get(1).unwrap().kind, EntryKind::Symlink("../bin"));
}

fn roll_up() -> RollUp {
    let workload = WorkloadName {
        cluster: "harbour".into(),
        namespace: "shop".into(),
        kind: "Deployment".into(),
        name: "web".into(),
    };
    let holder = Holder::Workload { workload, container: "web".into() };
    let vulnerability = Vulnerability {
        id: "CVE-2023-4863".into(),
        aliases: vec!["GHSA-j7hp-h8jx-5ppr".into()],
        summary: "heap overflow".into(),
        severity: Severity::High,
        severity_source: "ghsa".into(),
        cvss: "CVSS:3.1/AV:N/AC:L/PR:N/UI:R/S:U/C:H/I:H/A:H".into(),
        published: Some(Timestamp(1_694_476_800_000)),
        modified: None,
        intelligence: Intelligence {
            kev: Some(Kev { date_added: Timestamp(1_694_563_200_000), ransomware: false }),
            epss: Some(0.93),
            exploit: Exploit::Poc,
            automatable: Some(Sourced { value: false, source: "vulnrichment".into() }),
            total_impact: None,
        },
    };
    let finding = Finding {
        id: "f1".into(),
        key: FindingKey {
            vulnerability: vulnerability.id.clone(),
            package: PackageKey {
                ecosystem: Ecosystem::Deb,
                release: Some(Release { id: "debian".into(), version: "12".into() }),
                name: "libwebp7".into(),
            },
            holder: holder.clone(),
        },
        revision: 3,
        state: FindingState::Open,
        assessment: Assessment {
            class: Class::ThreeDaysForensic,
            rank: 71.5,
            factors: Factors {
                exploited: true,
                exposed: true,
                level: ExposureLevel::Open,
                unproved: Some(Unproved::Stale),
                automatable: false,
                total_impact: true,
                assumed: vec!["total_impact".into()],
                threat: 1.0,
                epss: Some(0.93),
                reaches: 4,
                modifiers: vec!["epss>=0.36: up".into()],
            },
            sentence: "3 days".into(),
        },
        vulnerability,
        versions: vec!["1.2.4-0.2".into()],
        fixed: Some("1.2.4-0.2+deb12u1".into()),
        status: MatchStatus::Affected,
        images: vec![digest(2)],
        advisory: "DEBIAN-CVE-2023-4863".into(),
        opened_at: Timestamp(1_700_000_000_000),
        due: Some(Timestamp(1_700_259_200_000)),
        db_seq: 5,
        evidence: vec!["internet via ingress".into()],
        suppressions: vec![Suppression {
            statement: "s1".into(),
            kind: StatementKind::Vex,
            status: VexStatus::NotAffected,
            justification: "vulnerable_code_not_present".into(),
            reason: "not built in".into(),
            issuer: "vendor".into(),
            document: "https://example.com/vex/1".into(),
            signed_by: "vendor.pub".into(),
            expires: Some(Timestamp(1_700_000_000_000)),
        }],
    };
    RollUp {
        epoch: 1,
        seq: 9,
        at: Timestamp(1_700_000_000_123),
        cause: Cause { kind: "policy".into(), id: "e".into(), sentence: "a policy opened".into() },
        holder,
        class: Class::ThreeDaysForensic,
        changes: vec![Change {
            kind: ChangeKind::Reclassified,
            previous_class: Some(Class::FourteenDays),
            finding,
        }],
        failure: Some(("auth".into(), "401".into())),
        trace: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into(),
    }
}

#[test]
fn what_subscribers_read_is_proto3_json_and_lossless() {
    let message = v1::RollUp::from(roll_up());
    let json = serde_json::to_value(&message).unwrap();
    assert_eq!(json["changes"][0]["finding"]["vulnerabilityId"], "CVE-2023-4863");
    assert_eq!(json["changes"][0]["previousClass"], "14d");
    assert_eq!(json["seq"], "9", "proto3 JSON writes 64-bit numbers as texts");
    assert_eq!(json["holder"]["workload"]["workload"]["namespace"], "shop");
    let back: v1::RollUp = serde_json::from_value(json).unwrap();
    assert_eq!(RollUp::try_from(back).unwrap(), roll_up());
}

#[test]
fn facts_round_trip_and_announcements_do_not_travel_as_facts() {
    let fact = Fact {
        id: "x".into(),
        at: Timestamp(5),
        trace: String::new(),
        body: FactBody::ScanFailed(ScanFailed {
            digest: Some(digest(3)),
            registry: "r".into(),
            repository: "a/b".into(),
            tag: None,
            stage: "manifest".into(),
            code: "auth".into(),
            detail: "401".into(),
        }),
    };
    let message = v1::Fact::try_from(fact.clone()).unwrap();
    let back = Fact::try_from(v1::Fact::decode(message.encode_to_vec().as_slice()).unwrap()).unwrap();
    assert_eq!(back, fact);
    let pushed = plimsoll_model::fact::ImageDeleted {
        registry: "r".into(),
        repository: "a".into(),
        tag: Some("1".into()),
        digest: None,
        seq: 1,
    };
    assert!(v1::Fact::try_from(Fact { body: FactBody::ImageDeleted(pushed), ..fact }).is_err());
}

#[test]
fn exposures_with_unknown_words_are_errors() {
    let exposure = Exposure {
        level: ExposureLevel::Small,
        paths: Vec::new(),
        caveats: Vec::new(),
        reaches: 0,
        as_of: Timestamp(1),
        complete: true,
        enforced: false,
    };
    let message = v1::Exposure::from(exposure.clone());
    assert_eq!(Exposure::try_from(message.clone()).unwrap(), exposure);
    assert!(Exposure::try_from(v1::Exposure { level: "wide".into(), ..message }).is_err());
}

/// Events are read by versions that do not know all of their fields, and lack what older versions did not write.
#[test]
fn events_of_other_versions_are_read() {
    let text = r#"{"cluster": "east", "mode": "apply", "at": "7", "of_a_later_version": {"deep": [1]}}"#;
    let changed: v1::ClusterChanged = serde_json::from_str(text).unwrap();
    let expected =
        v1::ClusterChanged { cluster: "east".into(), mode: "apply".into(), at: 7, ..Default::default() };
    assert_eq!(changed, expected);
}
