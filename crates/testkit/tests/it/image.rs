use std::io::Read as _;
use std::process::Command;

use plimsoll_testkit::image::{
    Compression, Entry, EntryKind, ImageBuilder, Layer, LayerBlob, content, elf, hostile, index, sha256,
};
use proptest::prelude::*;

use crate::installed;

const ALL: [Compression; 4] =
    [Compression::None, Compression::Gzip, Compression::MultiGzip, Compression::Zstd];

fn base() -> Layer {
    Layer::new()
        .dir("etc")
        .file("etc/os-release", content::os_release("debian", "12"))
        .file("var/lib/dpkg/status", content::dpkg_status(&[("bash", "5.2.15-2+b2", "bash", "amd64")]))
        .symlink("usr/lib/os-release", "../../etc/os-release")
        .hardlink("etc/os-release.bak", "etc/os-release")
        .whiteout("etc/gone")
        .opaque("opt")
}

fn inflate(blob: &LayerBlob, compression: Compression) -> Vec<u8> {
    let stored = &blob.blob.bytes[..];
    let mut out = Vec::new();
    match compression {
        Compression::None => out.extend_from_slice(stored),
        Compression::Zstd => out = zstd::decode_all(stored).unwrap(),
        _ => drop(flate2::read::MultiGzDecoder::new(stored).read_to_end(&mut out).unwrap()),
    }
    out
}

#[test]
fn the_same_description_gives_the_same_digests() {
    let build = || {
        ALL.iter()
            .fold(ImageBuilder::new().env("A", "b").label("c", "d"), |image, compression| {
                image.layer(base(), *compression)
            })
            .build()
            .unwrap()
    };
    let image = build();
    assert_eq!(image, build());
    for layer in image.layers() {
        assert_eq!(layer.digest, sha256(&layer.bytes));
        assert_eq!(layer.size, layer.bytes.len() as u64);
        assert_eq!(layer.diff_id, sha256(&base().tar()), "one tar, four ways to store it");
    }
    let config: serde_json::Value = serde_json::from_slice(&image.config().unwrap().bytes).unwrap();
    assert_eq!(config["rootfs"]["diff_ids"].as_array().unwrap().len(), 4);
    assert_eq!(config["config"]["Env"][0], "A=b");
    assert_eq!(config["config"]["Labels"]["c"], "d");
}

#[test]
fn every_compression_gives_the_tar_back() {
    let layer = (0..300).fold(base(), |layer, n| layer.file(format!("f{n}"), vec![n as u8; 1000]));
    for compression in ALL {
        let blob = layer.blob(compression).unwrap();
        assert_eq!(inflate(&blob, compression), layer.tar(), "{compression:?}");
        assert_eq!(blob.diff_id, sha256(&layer.tar()));
    }
    let members = layer.blob(Compression::MultiGzip).unwrap().blob.bytes;
    let mut first = Vec::new();
    flate2::read::GzDecoder::new(&members[..]).read_to_end(&mut first).unwrap();
    assert_eq!(first.len(), 64 * 1024, "a reader of one member only sees the first 64 KiB");
}

#[test]
fn whiteouts_stand_beside_what_they_hide() {
    let tar = Layer::new().whiteout("a/b/c").whiteout("top").whiteout("dir/").opaque("a/b/").tar();
    let mut archive = tar::Archive::new(&tar[..]);
    let paths: Vec<String> = archive
        .entries()
        .unwrap()
        .map(|entry| entry.unwrap().path().unwrap().display().to_string())
        .collect();
    assert_eq!(paths, ["a/b/.wh.c", ".wh.top", ".wh.dir", "a/b/.wh..wh..opq"]);
}

proptest! {
    /// Whatever the name's length and the content, the tar crate reads the entry as it was described.
    #[test]
    fn entries_are_read_back(
        entries in prop::collection::vec(
            ("[a-z]{1,60}(/[a-zà-ü ]{1,60}){0,6}", prop::collection::vec(any::<u8>(), 0..1500), 0_u32..0o7777),
            1..6,
        ),
        attribute in prop::collection::vec(any::<u8>(), 0..1200),
    ) {
        let mut layer = Layer::new();
        for (path, bytes, mode) in &entries {
            layer = layer.entry(Entry {
                path: path.clone(),
                kind: EntryKind::File(bytes.clone().into()),
                mode: *mode,
                pax: vec![("SCHILY.xattr.user.t".to_owned(), attribute.clone())],
                declared_size: None,
            });
        }
        let long_target = entries[0].0.clone();
        layer = layer.symlink("link", long_target.clone());
        let tar = layer.tar();
        let mut archive = tar::Archive::new(&tar[..]);
        let mut read = archive.entries().unwrap();
        for (path, bytes, mode) in &entries {
            let mut entry = read.next().unwrap().unwrap();
            prop_assert_eq!(entry.path_bytes().into_owned(), path.as_bytes());
            prop_assert_eq!(entry.header().mode().unwrap(), *mode);
            // The tar crate splits records at newlines, so only those without one can be compared through it.
            if !attribute.contains(&b'\n') {
                let mut attributes = entry.pax_extensions().unwrap().unwrap();
                let seen = attributes.next().unwrap().unwrap();
                prop_assert_eq!(seen.value_bytes(), &attribute[..]);
            }
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            prop_assert_eq!(&content, bytes);
        }
        let link = read.next().unwrap().unwrap();
        prop_assert_eq!(link.link_name_bytes().unwrap().into_owned(), long_target.as_bytes());
        prop_assert!(read.next().is_none());
    }
}

#[test]
fn a_layout_and_an_archive_are_read_by_skopeo() {
    let platform = |architecture| {
        ImageBuilder::new().platform("linux", architecture).layer(base(), Compression::Gzip).build().unwrap()
    };
    let image = index(vec![platform("amd64"), platform("arm64")]).unwrap();
    let dir = tempfile::tempdir().unwrap();
    image.to_layout(dir.path(), "one").unwrap();
    image.to_layout(dir.path(), "two").unwrap();
    image.to_layout(dir.path(), "one").unwrap();
    let written: serde_json::Value =
        serde_json::from_slice(&std::fs::read(dir.path().join("index.json")).unwrap()).unwrap();
    assert_eq!(written["manifests"].as_array().unwrap().len(), 2);
    let archive = dir.path().join("image.tar");
    std::fs::write(&archive, image.to_archive("one").unwrap()).unwrap();
    if !installed("skopeo") {
        return;
    }
    for source in
        [format!("oci:{}:two", dir.path().display()), format!("oci-archive:{}:one", archive.display())]
    {
        let inspect = |raw: bool| {
            let mut command = Command::new("skopeo");
            command.args(["--override-os=linux", "--override-arch=arm64", "inspect"]);
            let output = command.args(raw.then_some("--raw")).arg(&source).output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            output.stdout
        };
        assert_eq!(sha256(&inspect(true)), image.digest());
        let seen: serde_json::Value = serde_json::from_slice(&inspect(false)).unwrap();
        assert_eq!(seen["Architecture"], "arm64");
        assert_eq!(seen["Layers"][0], image.children()[1].layers()[0].digest);
    }
}

#[test]
fn go_reads_the_crafted_binary_as_it_reads_a_compiled_one() {
    let modinfo = content::go_modinfo(
        "example.com/cmd",
        ("example.com/m", "v1.2.3"),
        &[("golang.org/x/net", "v0.7.0"), ("github.com/gin-gonic/gin", "v1.9.0")],
    );
    let crafted = elf::go_binary("go1.22.4", &modinfo);
    assert!(crafted.windows(14).any(|window| window == b"\xff Go buildinf:"));
    if !installed("go") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let compiled = content::go_compiled(dir.path(), "example.com/afloat").unwrap();
    let report = |name: &str, bytes: &[u8]| {
        use std::os::unix::fs::PermissionsExt as _;
        let path = dir.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        let output = Command::new("go").args(["version", "-m"]).arg(&path).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let seen = report("crafted", &crafted);
    assert!(seen.contains(": go1.22.4"), "{seen}");
    for line in ["path\texample.com/cmd", "mod\texample.com/m\tv1.2.3", "dep\tgolang.org/x/net\tv0.7.0\th1:"]
    {
        assert!(seen.contains(line), "{line:?} in {seen}");
    }
    assert!(report("compiled", &compiled).contains("mod\texample.com/afloat"));
}

#[test]
fn audit_data_is_compressed_json_in_its_section() {
    let binary = elf::rust_auditable(&[("app", "0.1.0"), ("time", "0.1.44")]).unwrap();
    let at = binary.windows(8).position(|window| window == b".dep-v0\0");
    assert!(at.is_some());
    // The section follows `.text`, aligned to 16.
    let start = (128..binary.len()).step_by(16).find(|at| binary[*at] == 0x78).unwrap();
    let mut json = String::new();
    flate2::read::ZlibDecoder::new(&binary[start..]).read_to_string(&mut json).unwrap();
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["packages"][0]["root"], true);
    assert_eq!(json["packages"][1]["version"], "0.1.44");
}

#[test]
fn python_reads_its_metadata_record_and_jar() {
    let dist = content::python_dist("site-packages", "Foo-Bar", "1.2");
    let paths: Vec<&str> = dist.iter().map(|(path, _)| path.as_str()).collect();
    assert!(paths.contains(&"site-packages/foo_bar-1.2.dist-info/METADATA"));
    let dir = tempfile::tempdir().unwrap();
    for (path, bytes) in &dist {
        let path = dir.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
    let inner = content::jar("org.inner", "inner", "0.9", &[]).unwrap();
    let jar = content::jar("org.outer", "outer", "2.0", &[("inner-0.9.jar", inner)]).unwrap();
    std::fs::write(dir.path().join("outer.jar"), jar).unwrap();
    if !installed("python3") {
        return;
    }
    let script = r#"
import base64, hashlib, importlib.metadata as m, io, sys, zipfile
d = next(iter(m.distributions(path=[sys.argv[1] + "/site-packages"])))
assert (d.metadata["Name"], d.version) == ("Foo-Bar", "1.2"), d.metadata
for f in d.files:
    if f.hash:
        h = hashlib.sha256(f.read_binary()).digest()
        assert base64.urlsafe_b64encode(h).rstrip(b"=").decode() == f.hash.value, f
        assert f.size == len(f.read_binary()), f
z = zipfile.ZipFile(sys.argv[1] + "/outer.jar")
assert z.testzip() is None
inner = zipfile.ZipFile(io.BytesIO(z.read("BOOT-INF/lib/inner-0.9.jar")))
assert b"version=0.9" in inner.read("META-INF/maven/org.inner/inner/pom.properties")
"#;
    let output = Command::new("python3").args(["-c", script]).arg(dir.path()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn package_databases_have_one_stanza_a_package() {
    let status = content::dpkg_status(&[("libc6", "2.36-9", "glibc", "amd64"), ("bash", "5.2", "", "arm64")]);
    let status = String::from_utf8(status).unwrap();
    let stanzas: Vec<&str> = status.trim_end().split("\n\n").collect();
    assert_eq!(stanzas.len(), 2);
    assert!(stanzas[0].contains("\nSource: glibc\n") && !stanzas[1].contains("Source:"));
    let apk = String::from_utf8(content::apk_installed(&[("musl", "1.2.5-r0", "", "x86_64")])).unwrap();
    assert!(apk.contains("\nP:musl\nV:1.2.5-r0\n") && apk.contains("\no:musl\n"));
    let npm: serde_json::Value =
        serde_json::from_slice(&content::npm_package_json("@scope/name", "1.0.0")).unwrap();
    assert_eq!((&npm["name"], &npm["version"]), (&"@scope/name".into(), &"1.0.0".into()));
    assert!(String::from_utf8(content::gemspec("rack", "2.2.3")).unwrap().contains("s.version = \"2.2.3\""));
}

#[test]
fn bombs_are_small_and_whole() {
    const SIZE: u64 = 64 << 20;
    for (blob, ratio) in
        [(hostile::gzip_bomb(SIZE).unwrap(), 900), (hostile::zstd_bomb(SIZE).unwrap(), 5_000)]
    {
        let stored = blob.blob.bytes.clone();
        assert!((stored.len() as u64) < SIZE / ratio, "{} bytes", stored.len());
        let mut reader: Box<dyn std::io::Read> = if stored.starts_with(&[0x1f, 0x8b]) {
            Box::new(flate2::read::GzDecoder::new(std::io::Cursor::new(stored)))
        } else {
            Box::new(zstd::Decoder::new(std::io::Cursor::new(stored)).unwrap())
        };
        let mut tar = Vec::new();
        reader.read_to_end(&mut tar).unwrap();
        assert_eq!(sha256(&tar), blob.diff_id);
        let mut archive = tar::Archive::new(&tar[..]);
        assert_eq!(archive.entries().unwrap().next().unwrap().unwrap().size(), SIZE);
    }
}

#[test]
fn hostile_layers_are_what_they_say() {
    let read_gzip = |blob: &LayerBlob| {
        let mut out = Vec::new();
        flate2::read::MultiGzDecoder::new(&blob.blob.bytes[..]).read_to_end(&mut out).map(|_| out)
    };
    assert!(read_gzip(&hostile::truncated_gzip(&base()).unwrap()).is_err());
    assert!(read_gzip(&hostile::wrong_crc(&base()).unwrap()).is_err());

    let wide = hostile::zstd_wide_window().unwrap();
    assert!(zstd::decode_all(&wide.blob.bytes[..]).is_err(), "the window is beyond the default limit");
    let mut decoder = zstd::Decoder::new(&wide.blob.bytes[..]).unwrap();
    decoder.window_log_max(31).unwrap();
    let mut tar = Vec::new();
    decoder.read_to_end(&mut tar).unwrap();
    assert_eq!(sha256(&tar), wide.diff_id, "but the frame is a good one");

    let lying = hostile::lying_size(1 << 40, b"short").blob.bytes;
    let mut archive = tar::Archive::new(&lying[..]);
    assert_eq!(archive.entries().unwrap().next().unwrap().unwrap().size(), 1 << 40);

    let paths = hostile::path_traversal().tar();
    let mut archive = tar::Archive::new(&paths[..]);
    let seen: Vec<Vec<u8>> =
        archive.entries().unwrap().map(|entry| entry.unwrap().path_bytes().into_owned()).collect();
    for path in [&b"../../etc/passwd"[..], b"/etc/shadow", b"../../../tmp/pax"] {
        assert!(seen.iter().any(|name| name == path), "{:?}", String::from_utf8_lossy(path));
    }
    let bomb = hostile::entry_bomb(1_000).tar();
    assert_eq!(tar::Archive::new(&bomb[..]).entries().unwrap().count(), 1_000);
    let pax = hostile::huge_pax(1 << 20).tar();
    assert!(pax.len() > 1 << 20);
    assert_eq!(tar::Archive::new(&pax[..]).entries().unwrap().count(), 1);
    let deep = hostile::deep_and_circular(2_000).tar();
    let mut archive = tar::Archive::new(&deep[..]);
    assert_eq!(archive.entries().unwrap().next().unwrap().unwrap().path_bytes().len(), 4_001);
}

#[test]
fn a_manifest_can_lie_about_sizes() {
    let image = ImageBuilder::new().layer(base(), Compression::Gzip).declared_size(0, 7).build().unwrap();
    let manifest: serde_json::Value = serde_json::from_slice(&image.root().bytes).unwrap();
    assert_eq!(manifest["layers"][0]["size"], 7);
    assert!(image.layers()[0].bytes.len() > 7);
}
