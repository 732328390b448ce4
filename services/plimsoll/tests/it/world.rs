//! One deployment that most tests share: an open registry, one whose credentials are wrong, and Debian's. Tests keep
//! apart by repositories and clusters.

use std::path::{Path, PathBuf};

use plimsoll_testkit::image::content::{dpkg_status, npm_package_json, os_release};
use plimsoll_testkit::image::{BuiltImage, Compression, ImageBuilder, Layer};
use plimsoll_testkit::ports;
use plimsoll_testkit::registry::{
    Auth, Endpoint, FakeRegistry, Options, RealOptions, RealRegistry, RegistryError,
};
use tokio::sync::OnceCell;

use crate::fleet::{Fleet, HOOKS, Heard, Setup};

/// CVEs of lodash 4.17.11 in the advisories of `deploy/demo`, by their fixed versions.
pub(crate) const LODASH: [&str; 2] = ["CVE-2020-8203", "CVE-2021-23337"];
/// CVEs of Debian's curl 7.88.1-10+deb12u1.
pub(crate) const CURL: [&str; 2] = ["CVE-2023-38545", "CVE-2024-2398"];

/// What the shared registry signs notifications with, where it does.
pub(crate) const HOOK_SECRET: &str = "a-secret-of-the-shared-registry";

/// What tests share.
pub(crate) struct World {
    pub(crate) fleet: Fleet,
    pub(crate) registry: FakeRegistry,
    /// Asks for credentials that the configuration has wrong.
    pub(crate) locked: FakeRegistry,
    /// `None` where Debian's docker-registry is not installed.
    pub(crate) real: Option<RealRegistry>,
    /// Everything on FINDINGS since the start.
    pub(crate) findings: Heard,
    /// Every dead letter since the start.
    pub(crate) dead: Heard,
}

static WORLD: OnceCell<World> = OnceCell::const_new();

/// The advisories of the demonstration.
pub(crate) fn demo_feeds() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/demo")
}

/// A registry that tells a gateway.
pub(crate) async fn registry(port: u16, auth: Auth) -> FakeRegistry {
    let endpoints = vec![endpoint(port)];
    FakeRegistry::start(Options { endpoints, auth, ..Options::default() }).await.unwrap()
}

fn endpoint(port: u16) -> Endpoint {
    let url = format!("http://127.0.0.1:{port}/v1/webhooks/distribution");
    Endpoint::authorized(url, format!("Bearer {HOOKS}"))
}

/// The shared deployment, started by whoever asks first.
pub(crate) async fn world() -> &'static World {
    WORLD.get_or_init(start).await
}

async fn start() -> World {
    let port = ports::free(1).unwrap()[0];
    let registry = registry(port, Auth::None).await;
    let right = Auth::Basic { user: "reader".to_owned(), password: "right".to_owned() };
    let locked = self::registry(port, right).await;
    let real =
        match RealRegistry::start(RealOptions { endpoints: vec![endpoint(port)], ..RealOptions::default() })
            .await
        {
            Ok(real) => Some(real),
            Err(RegistryError::NotInstalled { .. }) if std::env::var_os("CI").is_none() => None,
            Err(error) => panic!("{error}"),
        };
    let mut registries = vec![
        format!("{{host: \"{}\", plain_http: true, webhook_secret: {HOOK_SECRET}}}", registry.host()),
        format!("{{host: \"{}\", plain_http: true, username: reader, password: wrong}}", locked.host()),
    ];
    registries.extend(real.iter().map(|real| format!("{{host: \"{}\", plain_http: true}}", real.host())));
    let setup = Setup {
        registries,
        feeds: vec![demo_feeds()],
        clusters: vec!["order-a", "order-b", "moved", "partial", "commands", "dry", "opened", "watched"],
        port,
        ..Setup::default()
    };
    let fleet = Fleet::up("shared", &setup).await;
    let findings = Heard::on(&fleet, "findings.v1.>").await;
    let dead = Heard::on(&fleet, "dead.>").await;
    World { fleet, registry, locked, real, findings, dead }
}

/// A layer with npm packages, below a folder that is its own.
pub(crate) fn npm(folder: &str, packages: &[(&str, &str)]) -> Layer {
    packages.iter().fold(Layer::new(), |layer, (name, version)| {
        layer.file(format!("{folder}/node_modules/{name}/package.json"), npm_package_json(name, version))
    })
}

/// A Debian 12 with packages `(name, version, source)`.
pub(crate) fn debian(packages: &[(&str, &str, &str)]) -> Layer {
    let packages: Vec<_> =
        packages.iter().map(|&(name, version, source)| (name, version, source, "amd64")).collect();
    Layer::new()
        .file("etc/os-release", os_release("debian", "12"))
        .file("var/lib/dpkg/status", dpkg_status(&packages))
}

/// An image of these layers.
pub(crate) fn image(layers: impl IntoIterator<Item = Layer>) -> BuiltImage {
    let add = |builder: ImageBuilder, layer| builder.layer(layer, Compression::Gzip);
    layers.into_iter().fold(ImageBuilder::new(), add).build().unwrap()
}

/// An image of one npm package.
pub(crate) fn of_npm(folder: &str, name: &str, version: &str) -> BuiltImage {
    image([npm(folder, &[(name, version)])])
}
