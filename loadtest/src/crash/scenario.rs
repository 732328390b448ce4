//! What happens in a crash run, whatever is killed meanwhile: pushes that share layers, an index, a broken layer, two
//! deploys, a new Db, a delete. Nothing in it depends on timing: no tag moves under a deploy that names it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use plimsoll_bus::Bus;
use plimsoll_testkit::image::content::{dpkg_status, go_modinfo, npm_package_json, os_release, python_dist};
use plimsoll_testkit::image::elf::go_binary;
use plimsoll_testkit::image::{BuiltImage, Compression, ImageBuilder, ImageError, Layer, hostile, index};
use plimsoll_testkit::registry::{Behaviour, FakeRegistry, Fault};

use crate::LoadError;
use crate::dice::Dice;
use crate::fleet::{Fleet, REGISTRY, TOKEN};
use crate::http::Client;

/// Steps of the scenario.
pub const STEPS: usize = 9;
/// Longest wait until the gateway has taken a request.
const PATIENCE: Duration = Duration::from_secs(60);

const BASE: &[(&str, &str, &str, &str)] = &[
    ("base-files", "12.4+deb12u2", "base-files", "amd64"),
    ("curl", "7.88.1-10+deb12u1", "curl", "amd64"),
    ("libc6", "2.36-9+deb12u1", "glibc", "amd64"),
    ("libexpat1", "2.5.0-1", "expat", "amd64"),
    ("libnghttp2-14", "1.52.0-1", "nghttp2", "amd64"),
    ("libssl3", "3.0.9-1", "openssl", "amd64"),
    ("zlib1g", "1:1.2.13.dfsg-1", "zlib", "amd64"),
];

/// Bytes that do not compress: layers that are too small are not read ahead of their manifest.
fn noise(seed: u64) -> Vec<u8> {
    let mut dice = Dice::new(seed);
    (0..48 << 10).map(|_| u8::try_from(dice.roll(256)).unwrap_or(0)).collect()
}

fn base() -> Layer {
    Layer::new()
        .file("etc/os-release", os_release("debian", "12"))
        .file("usr/share/noise/base", noise(1))
        .file("var/lib/dpkg/status", dpkg_status(BASE))
}

fn python() -> Layer {
    [("Django", "3.2.1"), ("Jinja2", "3.1.2"), ("PyYAML", "5.3.1"), ("urllib3", "1.26.12")].iter().fold(
        Layer::new().file("usr/share/noise/python", noise(2)),
        |layer, (name, version)| {
            layer.files(python_dist("usr/local/lib/python3.11/site-packages", name, version))
        },
    )
}

fn node(lodash: &str) -> Layer {
    [("axios", "0.19.0"), ("express", "4.16.0"), ("lodash", lodash), ("minimist", "1.2.0")].iter().fold(
        Layer::new(),
        |layer, (name, version)| {
            layer.file(format!("app/node_modules/{name}/package.json"), npm_package_json(name, version))
        },
    )
}

fn ledger(net: &str) -> Layer {
    let info = go_modinfo(
        "example.com/shop/ledger",
        ("example.com/shop/ledger", "v1.4.0"),
        &[("golang.org/x/crypto", "v0.17.0"), ("golang.org/x/net", net)],
    );
    Layer::new().executable("usr/local/bin/ledger", go_binary("go1.21.1", &info))
}

/// The images of the scenario.
pub struct Images {
    web: BuiltImage,
    api: BuiltImage,
    api_fixed: BuiltImage,
    ledger: BuiltImage,
    broken: BuiltImage,
    corrupt: BuiltImage,
    tool: BuiltImage,
}

impl Images {
    /// Builds them; the same each time.
    pub fn build() -> Result<Self, ImageError> {
        let on_base = |layer: Layer| {
            ImageBuilder::new().layer(base(), Compression::Gzip).layer(layer, Compression::Gzip)
        };
        let broken = hostile::truncated_gzip(&python())?;
        Ok(Self {
            web: on_base(python()).build()?,
            api: on_base(node("4.17.11")).build()?,
            api_fixed: on_base(node("4.17.21")).build()?,
            ledger: index(vec![
                on_base(ledger("v0.10.0")).platform("linux", "amd64").build()?,
                on_base(ledger("v0.7.0")).platform("linux", "arm64").build()?,
            ])?,
            broken: ImageBuilder::new().layer(base(), Compression::Gzip).raw_layer(broken).build()?,
            corrupt: on_base(node("4.17.5")).build()?,
            tool: on_base(node("4.17.4")).label("tool", "old").build()?,
        })
    }
}

const CLOSED: &str = r#"
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {kubernetes.io/metadata.name: shop}}
---
apiVersion: v1
kind: Namespace
metadata: {name: ingress-nginx, labels: {kubernetes.io/metadata.name: ingress-nginx}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: "REGISTRY/shop/web:1", ports: [{containerPort: 8080}]}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: api, namespace: shop}
spec:
  selector: {matchLabels: {app: api}}
  template:
    metadata: {labels: {app: api}}
    spec: {containers: [{name: api, image: "REGISTRY/shop/api:1", ports: [{containerPort: 3000}]}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: ledger, namespace: shop}
spec:
  selector: {matchLabels: {app: ledger}}
  template:
    metadata: {labels: {app: ledger}}
    spec: {containers: [{name: ledger, image: "REGISTRY/shop/ledger:1", ports: [{containerPort: 9000}]}]}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: default-deny, namespace: shop}
spec: {podSelector: {}, policyTypes: [Ingress]}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: api-from-web, namespace: shop}
spec:
  podSelector: {matchLabels: {app: api}}
  policyTypes: [Ingress]
  ingress: [{from: [{podSelector: {matchLabels: {app: web}}}], ports: [{port: 3000}]}]
"#;

const OPEN: &str = r#"
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: shop, namespace: shop}
spec:
  rules:
    - host: shop.example.com
      http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: web, port: {number: 80}}}}]}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: web-from-ingress, namespace: shop}
spec:
  podSelector: {matchLabels: {app: web}}
  policyTypes: [Ingress]
  ingress:
    - from: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: ingress-nginx}}}]
      ports: [{port: 8080}]
"#;

/// An advisory that the first Db lacks.
const LATER: &str = r#"{"schema_version": "1.6.0", "id": "GHSA-load-load-load", "modified": "2024-06-01T00:00:00Z",
"published": "2024-06-01T00:00:00Z", "aliases": ["CVE-2024-99999"], "summary": "An advisory of the load test",
"severity": [{"type": "CVSS_V3", "score": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"}],
"affected": [{"package": {"ecosystem": "npm", "name": "express"},
"ranges": [{"type": "SEMVER", "events": [{"introduced": "0"}, {"fixed": "4.19.0"}]}]}]}"#;
/// A record of the first Db that the second lacks.
const WITHDRAWN: &str = "advisories/DEBIAN-CVE-2023-5363.json";

/// Where the advisories of the demonstration are.
fn advisories() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/demo")
}

/// Writes the first Db's feeds.
pub fn write_feeds(to: &Path) -> Result<(), LoadError> {
    fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
        std::fs::create_dir_all(to)?;
        for entry in std::fs::read_dir(from)? {
            let entry = entry?;
            let target = to.join(entry.file_name());
            if entry.file_type()?.is_dir() {
                copy(&entry.path(), &target)?;
            } else if entry.path().extension().is_some_and(|e| e != "md") {
                std::fs::copy(entry.path(), target)?;
            }
        }
        Ok(())
    }
    copy(&advisories(), to).map_err(LoadError::io("copy the advisories of deploy/demo"))
}

/// The world in which the steps happen.
pub struct World<'a> {
    pub fleet: &'a Fleet,
    pub registry: &'a FakeRegistry,
    pub gateway: SocketAddr,
    pub feeds: &'a Path,
    pub images: &'a Images,
    pub bus: &'a Bus,
}

impl World<'_> {
    /// One step; returns when the world outside has done its part, not when Plimsoll has.
    pub async fn step(&self, number: usize) -> Result<(), LoadError> {
        match number {
            0 => self.registry.push_image("shop/web", "1", &self.images.web),
            1 => {
                self.registry.push_image("shop/api", "1", &self.images.api);
                self.registry.push_image("tools/old", "1", &self.images.tool);
            }
            2 => self.registry.push_image("shop/ledger", "1", &self.images.ledger),
            3 => self.deploy("replace", CLOSED, "closed").await?,
            4 => {
                // The same digest in a second repository, a layer that ends early, and one that is not what its
                // digest says.
                self.registry.push_image("mirror/web", "1", &self.images.web);
                self.registry.push_image("shop/broken", "1", &self.images.broken);
                if let Some(layer) = self.images.corrupt.layers().last() {
                    self.registry.behave(Behaviour::blob(&layer.digest, Fault::Corrupt));
                }
                self.registry.push_image("shop/corrupt", "1", &self.images.corrupt);
            }
            5 => self.deploy("apply", OPEN, "open").await?,
            6 => {
                // There must be a first Db, or the change would be none.
                let began = Instant::now();
                while !matches!(self.bus.records("control").get("db").await, Ok(Some(_))) {
                    if began.elapsed() > PATIENCE {
                        return Err(LoadError::Timeout {
                            what: "the first Db".into(),
                            seconds: PATIENCE.as_secs(),
                        });
                    }
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                let failed = || LoadError::io("change the feeds");
                std::fs::write(self.feeds.join("advisories/later.json"), LATER).map_err(failed())?;
                std::fs::remove_file(self.feeds.join(WITHDRAWN)).map_err(failed())?;
                // The role looks at its sources when it starts, and every ten minutes.
                self.fleet.kill("feeds")?;
            }
            7 => self.registry.push_image("shop/api", "2", &self.images.api_fixed),
            8 => self.delete("tools/old", self.images.tool.digest()),
            _ => {}
        }
        Ok(())
    }

    async fn deploy(&self, mode: &str, manifests: &str, key: &str) -> Result<(), LoadError> {
        let body = manifests.replace("REGISTRY", REGISTRY);
        let path = format!("/v1/deploys?cluster=harbour&mode={mode}");
        let headers = [("content-type", "application/yaml"), ("idempotency-key", key)];
        Client::new(self.gateway, TOKEN).insist(&path, &headers, body.as_bytes(), PATIENCE).await?;
        Ok(())
    }

    /// Tells of a deletion. The manifest stays in the registry, so that who is late still finds it.
    fn delete(&self, repository: &str, digest: &str) {
        self.registry.notify(&[serde_json::json!({
            "id": format!("delete-{repository}"),
            "timestamp": "2026-01-01T00:00:00Z",
            "action": "delete",
            "target": {"repository": repository, "digest": digest},
            "request": {"host": self.registry.host()},
        })]);
    }
}
