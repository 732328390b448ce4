//! What the demonstration pushes and deploys: a shop of four programs on one Debian base, with real package names
//! and versions.

use plimsoll_testkit::image::content::{dpkg_status, go_modinfo, npm_package_json, os_release, python_dist};
use plimsoll_testkit::image::elf::go_binary;
use plimsoll_testkit::image::{BuiltImage, Compression, ImageBuilder, ImageError, Layer};

/// An image to push.
pub struct Image {
    pub repository: &'static str,
    pub tag: &'static str,
    pub built: BuiltImage,
}

/// Debian 12 as it was published in October 2023: name, version, source, architecture.
const BASE: &[(&str, &str, &str, &str)] = &[
    ("base-files", "12.4+deb12u2", "base-files", "amd64"),
    ("bash", "5.2.15-2+b2", "bash", "amd64"),
    ("coreutils", "9.1-1", "coreutils", "amd64"),
    ("curl", "7.88.1-10+deb12u1", "curl", "amd64"),
    ("dpkg", "1.21.22", "dpkg", "amd64"),
    ("libc6", "2.36-9+deb12u1", "glibc", "amd64"),
    ("libc-bin", "2.36-9+deb12u1", "glibc", "amd64"),
    ("libcurl4", "7.88.1-10+deb12u1", "curl", "amd64"),
    ("libexpat1", "2.5.0-1", "expat", "amd64"),
    ("libgssapi-krb5-2", "1.20.1-2", "krb5", "amd64"),
    ("libnghttp2-14", "1.52.0-1", "nghttp2", "amd64"),
    ("libssl3", "3.0.9-1", "openssl", "amd64"),
    ("openssl", "3.0.9-1", "openssl", "amd64"),
    ("zlib1g", "1:1.2.13.dfsg-1", "zlib", "amd64"),
];

fn base() -> Layer {
    Layer::new()
        .dir("etc")
        .file("etc/os-release", os_release("debian", "12"))
        .file("var/lib/dpkg/status", dpkg_status(BASE))
}

fn python() -> Layer {
    let site = "usr/local/lib/python3.11/site-packages";
    let packages = [
        ("Django", "3.2.1"),
        ("Flask", "2.2.2"),
        ("Jinja2", "3.1.2"),
        ("Pillow", "9.5.0"),
        ("PyYAML", "5.3.1"),
        ("Werkzeug", "2.2.2"),
        ("cryptography", "39.0.0"),
        ("requests", "2.28.1"),
        ("urllib3", "1.26.12"),
    ];
    packages.iter().fold(Layer::new(), |layer, (name, version)| layer.files(python_dist(site, name, version)))
}

fn node() -> Layer {
    let packages = [
        ("axios", "0.19.0"),
        ("express", "4.16.0"),
        ("jsonwebtoken", "8.5.1"),
        ("lodash", "4.17.11"),
        ("minimist", "1.2.0"),
        ("moment", "2.24.0"),
    ];
    packages.iter().fold(Layer::new(), |layer, (name, version)| {
        layer.file(format!("app/node_modules/{name}/package.json"), npm_package_json(name, version))
    })
}

fn go() -> Layer {
    let modules = [
        ("golang.org/x/crypto", "v0.17.0"),
        ("golang.org/x/net", "v0.10.0"),
        ("golang.org/x/text", "v0.3.7"),
    ];
    let info = go_modinfo("example.com/shop/ledger", ("example.com/shop/ledger", "v1.4.0"), &modules);
    Layer::new().executable("usr/local/bin/ledger", go_binary("go1.21.1", &info))
}

fn media() -> Layer {
    let packages = [
        ("libfreetype6", "2.12.1+dfsg-5", "freetype", "amd64"),
        ("libwebp7", "1.2.4-0.2", "libwebp", "amd64"),
    ];
    let mut all = BASE.to_vec();
    all.extend(packages);
    Layer::new().file("var/lib/dpkg/status", dpkg_status(&all))
}

/// The images; all stand on one base layer.
pub fn images(_registry: &str) -> Result<Vec<Image>, ImageError> {
    let on_base = |layers: Vec<Layer>, title: &str| {
        let builder = ImageBuilder::new()
            .label("org.opencontainers.image.title", title)
            .layer(base(), Compression::Gzip)
            .history("debootstrap bookworm");
        layers
            .into_iter()
            .fold(builder, |builder, layer| builder.layer(layer, Compression::Gzip).history("COPY . /"))
            .build()
    };
    Ok(vec![
        Image { repository: "shop/web", tag: "1.0", built: on_base(vec![python()], "web")? },
        Image { repository: "shop/api", tag: "1.0", built: on_base(vec![node()], "api")? },
        Image { repository: "shop/ledger", tag: "1.0", built: on_base(vec![go()], "ledger")? },
        Image { repository: "shop/media", tag: "1.0", built: on_base(vec![media()], "media")? },
    ])
}

/// Workloads of both rounds.
pub const WORKLOADS: u64 = 4;

/// The first round: the shop behind closed doors.
pub const FIRST: &str = r#"
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
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: "REGISTRY/shop/web:1.0", ports: [{containerPort: 8080}]}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: api, namespace: shop}
spec:
  replicas: 2
  selector: {matchLabels: {app: api}}
  template:
    metadata: {labels: {app: api}}
    spec: {containers: [{name: api, image: "REGISTRY/shop/api:1.0", ports: [{containerPort: 3000}]}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: ledger, namespace: shop}
spec:
  selector: {matchLabels: {app: ledger}}
  template:
    metadata: {labels: {app: ledger}}
    spec: {containers: [{name: ledger, image: "REGISTRY/shop/ledger:1.0", ports: [{containerPort: 9000}]}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: media, namespace: shop}
spec:
  selector: {matchLabels: {app: media}}
  template:
    metadata: {labels: {app: media}}
    spec: {containers: [{name: media, image: "REGISTRY/shop/media:1.0", ports: [{containerPort: 7000}]}]}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: v1
kind: Service
metadata: {name: api, namespace: shop}
spec: {selector: {app: api}, ports: [{port: 80, targetPort: 3000}]}
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
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: ledger-from-api, namespace: shop}
spec:
  podSelector: {matchLabels: {app: ledger}}
  policyTypes: [Ingress]
  ingress: [{from: [{podSelector: {matchLabels: {app: api}}}], ports: [{port: 9000}]}]
"#;

/// The second round: a door for the front end.
pub const SECOND: &str = r#"
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
