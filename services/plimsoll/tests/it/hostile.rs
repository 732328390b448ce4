//! Images that attack their reader: each ends, with a documented code where it is not what it should be, and the
//! workers go on.

use std::collections::BTreeSet;
use std::path::Path;

use plimsoll_testkit::image::{BuiltImage, Compression, ImageBuilder, Layer, LayerBlob, hostile};
use plimsoll_testkit::registry::{Behaviour, Fault};
use serde_json::Value;

use crate::fleet::{run, until};
use crate::world::{LODASH, World, image, npm, of_npm, world};

/// The codes of the documentation's page.
fn documented() -> BTreeSet<String> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/errors.md");
    let page = std::fs::read_to_string(page).unwrap();
    page.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

fn raw(layer: LayerBlob) -> BuiltImage {
    ImageBuilder::new().raw_layer(layer).build().unwrap()
}

/// How an image ended: codes of partial results, or the code of the failure.
#[derive(Debug, PartialEq)]
enum End {
    Scanned(Vec<String>),
    Failed(String),
    NotAnImage,
}

async fn end(world: &World, repository: &str, image: &BuiltImage) -> End {
    until(&format!("the end of {repository}"), async || {
        if let Some(failure) = world.fleet.failures(repository).await.first() {
            return Some(End::Failed(failure["code"].as_str().unwrap().to_owned()));
        }
        let (_, body) = world.fleet.get(&format!("/v1/images/{}/status", image.digest())).await;
        if body["state"] == "not_an_image" {
            return Some(End::NotAnImage);
        }
        let scan = &body["scan"];
        let codes = scan["partial"].as_array()?.iter();
        Some(End::Scanned(codes.map(|p| p["code"].as_str().unwrap().to_owned()).collect()))
    })
    .await
}

#[test]
fn hostile_images_end_with_documented_codes() {
    run(async {
        let world = world().await;
        let documented = documented();
        let sound = npm("hostile", &[("lodash", "4.17.11")]);
        let scanned = |codes: &[&str]| End::Scanned(codes.iter().map(|c| (*c).to_owned()).collect());
        let failed = |code: &str| End::Failed(code.to_owned());
        let swapped = image([Layer::new().file("swapped", "x")]);
        let swap = sound.blob(Compression::Gzip).unwrap().blob.bytes;
        world.registry.behave(Behaviour::blob(&swapped.layers()[0].digest, Fault::Replace(swap)));
        let short = image([Layer::new().file("short", "a longer text that is cut off")]);
        world.registry.behave(Behaviour::blob(&short.layers()[0].digest, Fault::Truncate(40)));
        let oddity = {
            let mut blob = Layer::new().file("x", "y").blob(Compression::Gzip).unwrap();
            blob.blob.media_type = "application/vnd.example.rootfs+ext4".to_owned();
            raw(blob)
        };
        let lied = Layer::new().file("lied", "about");
        let garbage =
            LayerBlob::new(Compression::Gzip.media_type(), b"no gzip at all, and no tar".repeat(50), b"");
        let images = [
            ("gzip-bomb", raw(hostile::gzip_bomb(200 << 20).unwrap()), scanned(&[])),
            ("zstd-bomb", raw(hostile::zstd_bomb(1200 << 20).unwrap()), scanned(&["ratio"])),
            ("wide-window", raw(hostile::zstd_wide_window().unwrap()), failed("corrupt_zstd")),
            ("paths", image([hostile::path_traversal(), sound.clone()]), scanned(&[])),
            ("entries", image([hostile::entry_bomb(20_000), sound.clone()]), scanned(&[])),
            (
                "lying-size",
                raw(hostile::lying_size(1 << 40, b"Package: x\n")),
                scanned(&["entry_bytes", "truncated"]),
            ),
            ("truncated-gzip", raw(hostile::truncated_gzip(&sound).unwrap()), failed("truncated")),
            // The archive ended before the checksum: an anomaly of the SBOM.
            ("wrong-crc", raw(hostile::wrong_crc(&sound).unwrap()), scanned(&[])),
            ("circular", image([hostile::deep_and_circular(500), sound.clone()]), scanned(&[])),
            ("huge-pax", image([hostile::huge_pax(4 << 20), sound.clone()]), scanned(&["corrupt_tar"])),
            ("garbage", raw(garbage), failed("corrupt_tar")),
            ("swapped", swapped, failed("corrupt_size")),
            ("short", short, failed("corrupt_digest")),
            ("oddity", oddity, End::NotAnImage),
            (
                "lying-descriptor",
                ImageBuilder::new().layer(lied, Compression::Gzip).declared_size(0, 7).build().unwrap(),
                failed("corrupt_size"),
            ),
        ];
        for (name, image, _) in &images {
            world.registry.push_image(&format!("hostile/{name}"), "1", image);
        }
        let mut wrong = Vec::new();
        for (name, image, wanted) in &images {
            let found = end(world, &format!("hostile/{name}"), image).await;
            if found != *wanted {
                wrong.push(format!("{name}: {found:?} instead of {wanted:?}"));
            }
            if let End::Failed(code) = &found {
                let buried = |m: &crate::fleet::Message| m.subject.starts_with("dead.") && m.code == *code;
                assert!(world.dead.all().iter().any(buried), "{name}: no dead letter says {code}");
            }
            let codes = match found {
                End::Scanned(codes) => codes,
                End::Failed(code) => vec![code],
                End::NotAnImage => Vec::new(),
            };
            let unknown: Vec<_> = codes.iter().filter(|code| !documented.contains(*code)).collect();
            assert_eq!(unknown, Vec::<&String>::new(), "{name}");
        }
        assert_eq!(wrong, Vec::<String>::new());
        // The workers go on.
        let after = of_npm("after-hostile", "lodash", "4.17.11");
        world.registry.push_image("hostile/after", "1", &after);
        world.fleet.vulnerable("repository=hostile/after", &LODASH).await;
        assert_eq!(world.fleet.scanned(after.digest()).await["partial"], Value::Array(Vec::new()));
    });
}
