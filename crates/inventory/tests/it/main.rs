#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::BTreeMap;

use plimsoll_inventory::{Basis, Known, TagState, Tracking, current, images_behind, rollout, running};
use plimsoll_model::fact::{ContainerFact, ManifestKind, Resolution};
use plimsoll_model::{Digest, Platform};
use proptest::prelude::*;

fn digest(n: u8) -> Digest {
    Digest::from_sha256(&[n; 32])
}

fn tag(tag: &str, n: u8, seq: u64) -> TagState {
    TagState { tag: Some(tag.into()), digest: Some(digest(n)), seq }
}

#[test]
fn the_newest_three_and_latest() {
    let tags = [tag("latest", 1, 1), tag("1", 1, 2), tag("2", 2, 3), tag("3", 3, 4), tag("4", 4, 5)];
    let got = current(&tags, &BTreeMap::new(), &Tracking::default());
    assert_eq!(got.keys().cloned().collect::<Vec<_>>(), [digest(1), digest(2), digest(3), digest(4)]);
    assert_eq!(got[&digest(1)], ["latest"], "tag 1 is the fourth");
    let one = Tracking { newest: 1, always: vec![] };
    assert_eq!(current(&tags, &BTreeMap::new(), &one).len(), 1);
}

#[test]
fn deletions_count_when_they_are_later() {
    let tags = [tag("a", 1, 5), tag("b", 1, 9), TagState { tag: Some("c".into()), digest: None, seq: 7 }];
    let deleted = BTreeMap::from([(digest(1), 7)]);
    let got = current(&tags, &deleted, &Tracking::default());
    assert_eq!(got[&digest(1)], ["b"], "pushed again after the deletion");
    let all = BTreeMap::from([(digest(1), 10)]);
    assert!(current(&tags, &all, &Tracking::default()).is_empty());
}

#[test]
fn pushed_by_digest_counts_only_without_tags() {
    let bare = TagState { tag: None, digest: Some(digest(7)), seq: 3 };
    let none = BTreeMap::new();
    assert!(current(std::slice::from_ref(&bare), &none, &Tracking::default()).contains_key(&digest(7)));
    let with_tag = [bare, tag("1", 1, 2)];
    assert_eq!(current(&with_tag, &none, &Tracking::default()).keys().collect::<Vec<_>>(), [&digest(1)]);
}

proptest! {
    #[test]
    fn order_does_not_matter(seqs in prop::collection::vec(0u64..9, 1..9), turn in 0usize..9) {
        let tags: Vec<TagState> = seqs.iter().enumerate()
            .map(|(n, &seq)| tag(&format!("t{n}"), u8::try_from(n % 4).unwrap(), seq)).collect();
        let mut turned = tags.clone();
        let turn = turn % turned.len();
        turned.rotate_left(turn);
        let none = BTreeMap::new();
        prop_assert_eq!(current(&tags, &none, &Tracking::default()), current(&turned, &none, &Tracking::default()));
    }
}

#[derive(Default)]
struct Memory {
    manifests: BTreeMap<Digest, ManifestKind>,
    images: BTreeMap<Digest, Platform>,
}

impl Known for Memory {
    fn manifest(&self, digest: &Digest) -> Option<&ManifestKind> {
        self.manifests.get(digest)
    }
    fn image(&self, digest: &Digest) -> Option<&Platform> {
        self.images.get(digest)
    }
}

#[test]
fn an_index_joins_to_its_children() {
    let arm = Platform { os: "linux".into(), architecture: "arm64".into(), variant: None };
    let amd = Platform::default();
    let mut known = Memory::default();
    assert!(images_behind(&digest(1), &known).is_empty(), "nothing known");
    known.images.insert(digest(1), amd.clone());
    assert_eq!(images_behind(&digest(1), &known), [(amd.clone(), digest(1))]);
    let children = vec![(arm.clone(), digest(3)), (amd.clone(), digest(2)), (amd.clone(), digest(4))];
    known.manifests.insert(digest(9), ManifestKind::Index { children });
    known.manifests.insert(digest(4), ManifestKind::NotAnImage { artifact_type: "x".into() });
    assert_eq!(images_behind(&digest(9), &known), [(amd.clone(), digest(2)), (arm, digest(3))]);
    // An index that contains itself ends.
    known.manifests.insert(digest(8), ManifestKind::Index { children: vec![(amd, digest(8))] });
    assert!(images_behind(&digest(8), &known).is_empty());
}

#[test]
fn what_a_container_runs() {
    let at = |image: &str, digest| ContainerFact { name: "web".into(), image: image.into(), digest };
    let resolved = |n: Option<u8>, code: &str| Resolution {
        reference: "mirror.local/shop/web:1".into(),
        registry: "registry.local".into(),
        repository: "shop/web".into(),
        digest: n.map(digest),
        code: code.into(),
    };
    let pinned = format!("registry.local/shop/web:1@{}", digest(5));
    let text = "mirror.local/shop/web:1";
    for (container, resolution, runs, basis) in [
        (at(text, None), None, None, Basis::Pending),
        (at(text, None), Some(resolved(Some(1), "")), Some(1), Basis::Resolved { seq: 4 }),
        (at(text, None), Some(resolved(None, "auth")), None, Basis::Unresolved { code: "auth".into() }),
        (at(text, Some(digest(2))), Some(resolved(Some(1), "")), Some(2), Basis::PodStatus),
        (at(&pinned, Some(digest(5))), None, Some(5), Basis::Manifest),
        (at(&pinned, None), None, Some(5), Basis::Manifest),
        (at("not a reference", None), None, None, Basis::Pending),
    ] {
        let got = running(&container, 4, resolution.as_ref());
        assert_eq!((got.digest, got.basis), (runs.map(digest), basis), "{}", container.image);
    }
    let container = at(text, None);
    let got = running(&container, 4, Some(&resolved(Some(1), "")));
    assert_eq!(
        (got.registry.as_str(), got.repository.as_str()),
        ("registry.local", "shop/web"),
        "after aliases"
    );
    assert_eq!(rollout(&container, &got, Some(&digest(1))), None);
    assert_eq!(rollout(&container, &got, Some(&digest(2))), Some(&digest(2)));
    let got = running(&at(&pinned, None), 4, None);
    assert_eq!(rollout(&at(&pinned, None), &got, Some(&digest(2))), None, "a pinned digest does not move");
}
