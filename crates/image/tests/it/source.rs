use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use plimsoll_cpu::Cancel;
use plimsoll_image::layer::Limits;
use plimsoll_image::manifest::media;
use plimsoll_image::registry::Registries;
use plimsoll_image::select::Table;
use plimsoll_image::source::{ImageSource, SourceError, Target, directory, open};
use plimsoll_model::extract::EntryKind;
use plimsoll_model::{Digest, Extract, Platform};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::fake::{Fake, digest, registries, reply, status};

const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
const FOREIGN: &str = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip";
const OS_RELEASE: &str = "ID=debian\nVERSION_ID=12\n";

/// A tar stream of files.
fn tar_of(files: &[(&str, &str)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, path, content.as_bytes()).unwrap();
    }
    builder.into_inner().unwrap()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// The files of an OCI layout by name.
#[derive(Default)]
struct Layout {
    files: Vec<(String, Vec<u8>)>,
    index: Vec<Value>,
}

impl Layout {
    fn blob(&mut self, bytes: Vec<u8>) -> Digest {
        let name = digest(&bytes);
        self.files.push((format!("blobs/sha256/{}", name.hex()), bytes));
        name
    }

    /// Adds an image of one layer and gives its descriptor.
    fn image(&mut self, architecture: &str, layer_type: &str) -> Value {
        let plain = tar_of(&[("etc/os-release", OS_RELEASE), ("etc/arch", architecture)]);
        let layer = gzip(&plain);
        let (diff_id, size) = (digest(&plain), layer.len());
        let layer = self.blob(layer);
        let config = json!({
            "os": "linux", "architecture": architecture,
            "rootfs": {"type": "layers", "diff_ids": [diff_id]},
            "history": [{"created_by": "COPY . /"}],
        });
        let config = self.blob(config.to_string().into_bytes());
        let manifest = json!({
            "schemaVersion": 2, "mediaType": media::OCI_MANIFEST,
            "config": {"mediaType": media::OCI_CONFIG, "digest": config, "size": 1},
            "layers": [{"mediaType": layer_type, "digest": layer, "size": size}],
        });
        let manifest = manifest.to_string().into_bytes();
        let size = manifest.len();
        json!({"mediaType": media::OCI_MANIFEST, "digest": self.blob(manifest), "size": size})
    }

    fn with_platform(mut descriptor: Value, architecture: &str) -> Value {
        descriptor["platform"] = json!({"os": "linux", "architecture": architecture});
        descriptor
    }

    /// Adds an index of images and gives its descriptor.
    fn index(&mut self, children: Vec<Value>) -> Value {
        let index = json!({"schemaVersion": 2, "mediaType": media::OCI_INDEX, "manifests": children});
        let bytes = index.to_string().into_bytes();
        let size = bytes.len();
        json!({"mediaType": media::OCI_INDEX, "digest": self.blob(bytes), "size": size})
    }

    fn tagged(&mut self, mut descriptor: Value, tag: &str) {
        descriptor["annotations"] = json!({"org.opencontainers.image.ref.name": tag});
        self.index.push(descriptor);
    }

    fn all(&self) -> Vec<(String, Vec<u8>)> {
        let index = json!({"schemaVersion": 2, "manifests": self.index}).to_string();
        let mut all = self.files.clone();
        all.push(("oci-layout".into(), br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec()));
        all.push(("index.json".into(), index.into_bytes()));
        all
    }

    fn write(&self) -> TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (name, bytes) in self.all() {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, bytes).unwrap();
        }
        dir
    }

    fn archive(&self, path: &Path) {
        write_tar(path, &self.all());
    }
}

fn write_tar(path: &Path, files: &[(String, Vec<u8>)]) {
    let mut builder = tar::Builder::new(std::fs::File::create(path).unwrap());
    for (name, bytes) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        builder.append_data(&mut header, format!("./{name}"), bytes.as_slice()).unwrap();
    }
    builder.into_inner().unwrap();
}

async fn opened(target: &str, platform: Option<&str>) -> Result<ImageSource, SourceError> {
    let platform =
        platform.map(|architecture| Platform { architecture: architecture.into(), ..Platform::default() });
    let target: Target = target.parse().unwrap();
    open(&target, platform.as_ref(), &Registries::new(&[]).unwrap(), &Cancel::new()).await
}

async fn extract(image: &ImageSource, index: usize) -> Result<Extract, SourceError> {
    image.extract(index, &Limits::default(), Table::all(), Arc::new(()), &Cancel::new()).await
}

async fn code(target: &str, platform: Option<&str>) -> &'static str {
    opened(target, platform).await.unwrap_err().code()
}

fn is_debian(extract: &Extract) -> bool {
    extract.selected.iter().any(|kept| kept.path == "etc/os-release" && kept.bytes.starts_with(b"ID=debian"))
}

#[test]
fn targets() {
    let dir = tempfile::tempdir().unwrap();
    let odd = dir.path().join("a:b");
    std::fs::create_dir(&odd).unwrap();
    let archive = dir.path().join("x.tar");
    std::fs::write(&archive, "").unwrap();
    let odd_text = format!("oci:{}", odd.display());
    let saved = format!("docker-archive:{}:localhost:5000/a/b:1", archive.display());
    let digest = digest(b"x");
    let at = format!("oci:dir@{digest}");
    let image = |path: &str, name: &str| (PathBuf::from(path), Some(name.to_owned()));
    let (path, name) = image("dir", "1");
    assert_eq!("oci:dir:1".parse(), Ok(Target::OciDir { path, image: name }));
    assert_eq!("oci:./a:b/c".parse(), Ok(Target::OciDir { path: "./a:b/c".into(), image: None }));
    assert_eq!(odd_text.parse(), Ok(Target::OciDir { path: odd, image: None }));
    let (path, name) = image("dir", digest.as_str());
    assert_eq!(at.parse(), Ok(Target::OciDir { path, image: name }));
    let (path, name) = (archive, Some("localhost:5000/a/b:1".to_owned()));
    assert_eq!(saved.parse(), Ok(Target::DockerArchive { path, image: name }));
    assert_eq!("dir:/".parse(), Ok(Target::Directory("/".into())));
    for text in ["nginx", "docker://nginx", "localhost:5000/a/b:1", "oci.example/dir:1"] {
        assert!(matches!(text.parse(), Ok(Target::Registry(_))), "{text}");
    }
    for text in [&odd_text, &saved, &at, "dir:/x", "docker.io/library/nginx:latest"] {
        assert_eq!(text.parse::<Target>().unwrap().to_string(), *text);
    }
    for bad in ["", "oci:", "dir:", "sbom:x.json", "UPPER/case", "a b"] {
        assert!(bad.parse::<Target>().is_err(), "{bad}");
    }
}

#[tokio::test]
async fn layouts_as_directory_and_archive() {
    let mut layout = Layout::default();
    let amd64 = layout.image("amd64", LAYER);
    let arm64 = layout.image("arm64", LAYER);
    let amd64_digest = amd64["digest"].as_str().unwrap().to_owned();
    let children =
        vec![Layout::with_platform(amd64.clone(), "amd64"), Layout::with_platform(arm64.clone(), "arm64")];
    let inner = layout.index(children);
    let outer = layout.index(vec![inner]);
    layout.tagged(outer, "multi");
    layout.tagged(arm64.clone(), "docker.io/library/arm:1");
    let dir = layout.write();
    let tar = dir.path().join("layout.tar");
    layout.archive(&tar);
    for place in [format!("oci:{}", dir.path().display()), format!("oci-archive:{}", tar.display())] {
        let image = opened(&format!("{place}:multi"), None).await.unwrap();
        assert_eq!(image.digest.as_ref().unwrap().as_str(), amd64_digest);
        assert_eq!(image.config.history, ["COPY . /"]);
        let layer = extract(&image, 0).await.unwrap();
        assert!(is_debian(&layer) && layer.layer == image.layers[0].digest && layer.partial.is_empty());
        assert_eq!(extract(&image, 1).await.unwrap_err().code(), "not_found");
        let image = opened(&format!("{place}:multi"), Some("arm64")).await.unwrap();
        assert_eq!(image.config.platform.architecture, "arm64");
        assert_eq!(code(&format!("{place}:multi"), Some("s390x")).await, "platform_not_found");
        assert_eq!(code(&format!("{place}:nothing"), None).await, "not_found");
        assert_eq!(code(&place, None).await, "ambiguous_image");
        let by_digest = format!("{place}@{}", arm64["digest"].as_str().unwrap());
        assert_eq!(opened(&by_digest, None).await.unwrap().config.platform.architecture, "arm64");
    }
    let mut lone = Layout::default();
    let image = lone.image("arm64", LAYER);
    lone.tagged(image, "1");
    let dir = lone.write();
    assert!(
        opened(&format!("oci:{}", dir.path().display()), None).await.is_ok(),
        "the only image needs no name"
    );
}

#[tokio::test]
async fn what_is_wrong_with_a_layout_is_said() {
    let mut layout = Layout::default();
    let image = layout.image("amd64", LAYER);
    let manifest = image["digest"].as_str().unwrap().parse::<Digest>().unwrap();
    layout.tagged(image, "1");
    let dir = layout.write();
    let target = format!("oci:{}", dir.path().display());
    let change = |name: &str, bytes: &[u8]| std::fs::write(dir.path().join(name), bytes).unwrap();
    let source = opened(&target, None).await.unwrap();
    let layer = format!("blobs/sha256/{}", source.layers[0].digest.hex());
    let whole = std::fs::read(dir.path().join(&layer)).unwrap();
    change(&layer, &whole[..whole.len() / 2]);
    assert!(extract(&source, 0).await.unwrap_err().code().starts_with("corrupt"));
    std::fs::remove_file(dir.path().join(&layer)).unwrap();
    assert_eq!(extract(&source, 0).await.unwrap_err().code(), "unreadable");
    change(&format!("blobs/sha256/{}", manifest.hex()), b"{}");
    assert_eq!(code(&target, None).await, "corrupt");
    change("index.json", &vec![b' '; (4 << 20) + 1]);
    assert_eq!(code(&target, None).await, "too_large");
    change("index.json", br#"{"manifests":[]}"#);
    assert_eq!(code(&target, None).await, "not_found");
    change("oci-layout", br#"{"imageLayoutVersion":"2.0.0"}"#);
    assert_eq!(code(&target, None).await, "corrupt");
    assert_eq!(code("oci:/nowhere/at/all", None).await, "unreadable");
    let file = dir.path().join("x.tar");
    for bytes in [&gzip(b"x")[..], b"not a tar at all, but long enough", &[7; 2_000]] {
        std::fs::write(&file, bytes).unwrap();
        assert_eq!(code(&format!("oci-archive:{}", file.display()), None).await, "corrupt");
    }
    let endless = (0..6).fold(Layout::default(), |mut layout, _| {
        let next = match layout.index.pop() {
            Some(inner) => layout.index(vec![inner]),
            None => layout.image("amd64", LAYER),
        };
        layout.index.push(next);
        layout
    });
    let dir = endless.write();
    assert_eq!(code(&format!("oci:{}", dir.path().display()), None).await, "corrupt");
}

#[tokio::test]
async fn a_foreign_layer_that_is_not_here_is_noted() {
    let mut layout = Layout::default();
    let image = layout.image("amd64", FOREIGN);
    layout.tagged(image, "1");
    let dir = layout.write();
    let image = opened(&format!("oci:{}", dir.path().display()), None).await.unwrap();
    assert!(is_debian(&extract(&image, 0).await.unwrap()), "it is read where it is at hand");
    std::fs::remove_file(dir.path().join(format!("blobs/sha256/{}", image.layers[0].digest.hex()))).unwrap();
    assert_eq!(extract(&image, 0).await.unwrap().partial[0].code, "foreign_layer");
}

#[tokio::test]
async fn docker_save() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("saved.tar");
    let first = tar_of(&[("etc/os-release", OS_RELEASE)]);
    let second = tar_of(&[("etc/motd", "hello")]);
    let config = json!({"os": "linux", "architecture": "amd64", "rootfs": {"diff_ids": [digest(&first), digest(&second), digest(&first)]}});
    let config = config.to_string();
    let named = format!("blobs/sha256/{}", digest(&second).hex());
    let manifest = json!([
        {"Config": "c.json", "RepoTags": ["shop/web:1"], "Layers": ["a/layer.tar", named, "b/layer.tar"]},
        {"Config": "c.json", "RepoTags": null, "Layers": ["a/layer.tar"]},
    ]);
    let mut builder = tar::Builder::new(std::fs::File::create(&path).unwrap());
    let mut add = |name: &str, bytes: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        builder.append_data(&mut header, name, bytes).unwrap();
    };
    add("a/layer.tar", &first);
    add(&named, &second);
    add("c.json", config.as_bytes());
    add("manifest.json", manifest.to_string().as_bytes());
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Symlink);
    header.set_size(0);
    builder.append_link(&mut header, "b/layer.tar", "../a/layer.tar").unwrap();
    builder.into_inner().unwrap();
    let target = format!("docker-archive:{}", path.display());
    assert_eq!(code(&target, None).await, "ambiguous_image");
    assert_eq!(code(&format!("{target}:shop/web:2"), None).await, "not_found");
    for name in ["shop/web:1", "docker.io/shop/web:1"] {
        let image = opened(&format!("{target}:{name}"), None).await.unwrap();
        assert_eq!((image.digest.as_ref(), &image.config_digest), (None, &digest(config.as_bytes())));
        let digests: Vec<Digest> = image.layers.iter().map(|layer| layer.digest.clone()).collect();
        assert_eq!(digests, image.config.diff_ids);
        assert!(is_debian(&extract(&image, 0).await.unwrap()));
        assert_eq!(extract(&image, 1).await.unwrap().entries.path(0), "etc/motd");
        assert!(is_debian(&extract(&image, 2).await.unwrap()), "a layer that is a link to another");
    }
    let missing = json!([{"Config": "c.json", "Layers": ["../../etc/passwd"]}]).to_string();
    let config = json!({"rootfs": {"diff_ids": [digest(b"")]}}).to_string();
    write_tar(
        &path,
        &[("manifest.json".into(), missing.into_bytes()), ("c.json".into(), config.into_bytes())],
    );
    assert_eq!(code(&target, None).await, "corrupt");
}

#[tokio::test]
async fn a_registry_image_through_its_index() {
    let mut layout = Layout::default();
    let amd64 = layout.image("amd64", LAYER);
    let child = Layout::with_platform(amd64.clone(), "amd64");
    let index = layout.index(vec![child]);
    let of_index = index["digest"].as_str().unwrap().to_owned();
    let files = layout.files.clone();
    let fake = Fake::start(move |asked| {
        let name = asked.path.rsplit('/').next().unwrap();
        let name = if name == "1" { &of_index } else { name };
        let hex = name.strip_prefix("sha256:").unwrap_or("");
        match files.iter().find(|(file, _)| file.ends_with(hex)) {
            Some((_, bytes)) if asked.path.starts_with("/v2/shop/web/") => reply(200, &[], bytes.clone()),
            _ => status(404),
        }
    })
    .await;
    let mut entry = fake.entry();
    entry.aliases = vec!["shop.example".into()];
    let registries = registries(&[entry]);
    let target: Target = "shop.example/shop/web:1".parse().unwrap();
    let image = open(&target, None, &registries, &Cancel::new()).await.unwrap();
    assert_eq!(image.digest.as_ref().unwrap().as_str(), amd64["digest"].as_str().unwrap());
    assert!(is_debian(&extract(&image, 0).await.unwrap()));
    let target: Target = "elsewhere.example/shop/web:1".parse().unwrap();
    let refused = open(&target, None, &registries, &Cancel::new()).await.unwrap_err();
    assert_eq!(refused.code(), "registry_not_configured");
}

#[test]
fn a_directory_reads_as_one_layer() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("root");
    std::fs::create_dir_all(root.join("etc")).unwrap();
    std::fs::create_dir_all(root.join("var/lib/dpkg")).unwrap();
    std::fs::create_dir_all(dir.path().join("outside/etc")).unwrap();
    std::fs::write(dir.path().join("outside/etc/os-release"), "ID=evil\n").unwrap();
    std::fs::write(root.join("etc/os-release"), OS_RELEASE).unwrap();
    std::fs::write(
        root.join("var/lib/dpkg/status"),
        "Package: zlib1g\nVersion: 1:1.2\nStatus: install ok installed\n\n",
    )
    .unwrap();
    std::os::unix::fs::symlink("../../outside", root.join("var/out")).unwrap();
    std::os::unix::fs::symlink("../../outside/etc/os-release", root.join("etc/debian_version")).unwrap();
    let read = |limits: &Limits| directory::extract(&root, limits, Table::all(), &Cancel::new()).unwrap();
    let first = read(&Limits::default());
    assert_eq!(first, read(&Limits::default()));
    assert!(is_debian(&first) && first.partial.is_empty());
    let kept: Vec<&str> = first.selected.iter().map(|kept| kept.path.as_str()).collect();
    assert_eq!(kept, ["etc/os-release", "var/lib/dpkg/status"]);
    let kinds: Vec<(&str, bool)> =
        first.entries.iter().map(|entry| (entry.path, matches!(entry.kind, EntryKind::Symlink(_)))).collect();
    assert!(kinds.contains(&("var/out", true)) && kinds.contains(&("etc/debian_version", true)));
    assert!(!kinds.iter().any(|(path, _)| path.starts_with("var/out/")));
    // The same files as a layer keep the same bytes.
    let bytes = tar_of(&[
        ("etc/os-release", OS_RELEASE),
        ("var/lib/dpkg/status", "Package: zlib1g\nVersion: 1:1.2\nStatus: install ok installed\n\n"),
    ]);
    let source =
        plimsoll_image::layer::LayerSource { digest: digest(&bytes), size: None, media_type: String::new() };
    let layer =
        plimsoll_image::layer::read(&bytes[..], &source, &Limits::default(), Table::all(), &()).unwrap();
    assert_eq!(layer.selected, first.selected);
    let few = Limits { entries: 3, ..Limits::default() };
    let cut = read(&few);
    assert_eq!((cut.entries.len(), cut.partial[0].code.as_str()), (3, "entries"));
    let small = Limits { kept_bytes: 30, ..Limits::default() };
    assert_eq!(read(&small).partial[0].code, "kept_bytes");
    std::fs::write(root.join("etc/motd"), "x").unwrap();
    assert_ne!(read(&Limits::default()).layer, first.layer);
    let cancel = Cancel::new();
    cancel.cancel();
    assert_eq!(directory::extract(&root, &few, Table::all(), &cancel).unwrap_err().code(), "cancelled");
    assert_eq!(
        directory::extract(&dir.path().join("none"), &few, Table::all(), &cancel).unwrap_err().code(),
        "unreadable"
    );
}
