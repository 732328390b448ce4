//! Images, as the Extracts of their layers, to Sboms.

use plimsoll_model::extract::{EntryKind, Extract, Partial};
use plimsoll_model::sbom::{Confidence, LayerInfo};
use plimsoll_model::{Component, Sbom};
use plimsoll_sbom::catalog::CATALOGERS;
use plimsoll_sbom::{ImageMeta, build};
use proptest::prelude::*;

use crate::layers::layer;

const OS_RELEASE: &[u8] =
    b"PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nVERSION_ID=\"12\"\nVERSION_CODENAME=bookworm\nID=debian\n";

const STATUS: &[u8] = b"Package: libc6
Status: install ok installed
Maintainer: GNU Libc Maintainers <debian-glibc@lists.debian.org>
Architecture: amd64
Source: glibc
Version: 2.36-9+deb12u4
Depends: libgcc-s1, libnothere (>= 1)

Package: libgcc-s1
Status: install ok installed
Architecture: amd64
Source: gcc-12 (12.2.0-14)
Version: 12.2.0-14+b1
Depends: gcc-12-base (= 12.2.0-14), libc6 (>= 2.35) | musl

Package: gone
Status: deinstall ok config-files
Architecture: amd64
Version: 1

Package: python3-six
Status: install ok installed
Architecture: all
Source: six
Version: 1.16.0-4
Depends: python3:any, awk

Package: mawk
Status: install ok half-configured
Architecture: amd64
Version: 1:1.3
Provides: awk
";

fn file(path: &str) -> (String, EntryKind) {
    (path.to_owned(), EntryKind::File)
}

/// A Debian base, an application above it, and a layer that takes something away.
pub(crate) fn layers() -> Vec<Extract> {
    let base: Vec<(&str, &str, &[u8])> = vec![
        ("usr/lib/os-release", "os-release", OS_RELEASE),
        ("var/lib/dpkg/status", "dpkg", STATUS),
        (
            "var/lib/dpkg/info/python3-six.list",
            "dpkg-files",
            b"lib/python3/dist-packages/six-1.16.0.egg-info\n",
        ),
        (
            "usr/lib/python3/dist-packages/six-1.16.0.egg-info",
            "python",
            b"Metadata-Version: 1.2\nName: six\nVersion: 1.16.0\nAuthor: Benjamin Peterson\nLicense: MIT\n",
        ),
    ];
    let app: Vec<(&str, &str, &[u8])> = vec![
        ("app/package.json", "npm", br#"{"name":"app","version":"1.0.0","dependencies":{"@s/a":"1","b":"*"}}"#),
        ("app/node_modules/@s/a/package.json", "npm", br#"{"name":"@s/a","version":"1.2.3","license":"(MIT OR Apache-2.0)","author":{"name":"A","email":"a@b.c"},"dependencies":{"b":"^1"}}"#),
        ("app/node_modules/@s/a/node_modules/b/package.json", "npm", br#"{"name":"b","version":"1.0.0","licenses":[{"type":"BSD-3-Clause"},{"type":"Beerware-ish"}]}"#),
        ("app/node_modules/b/package.json", "npm", br#"{"name":"b","version":"2.0.0"}"#),
        ("app/node_modules/c/package.json", "npm", br#"{"name":"b","version":"2.0.0"}"#),
        ("app/node_modules/t/package.json", "npm", br#"{"name":"<%= name %>","version":"2.0.0"}"#),
        ("app/node_modules/u/package.json", "npm", b"{\"name\":"),
        ("opt/v/lib/python3.11/site-packages/Zope.Interface-5.0.dist-info/METADATA", "python", b"Name: Zope.Interface\nVersion: 5.0\nClassifier: License :: OSI Approved :: Zope Public License\nAuthor-email: z@z.org\nRequires-Dist: six>=1\nRequires-Dist: nose; extra == 'test'\n\nName: body\n"),
        ("opt/v/lib/python3.11/site-packages/six-1.17.0.dist-info/METADATA", "python", b"Name: six\nVersion: 1.17.0\nLicense: UNKNOWN\n"),
        ("usr/bin/tool", "go-binary", b"go1.22.3\npath\texample.com/tool/cmd\nmod\texample.com/tool\t(devel)\t\ndep\tgithub.com/Masterminds/semver/v3\tv3.2.0\th1:x\ndep\texample.com/a\tv1.0.0\n=>\texample.com/b\tv1.1.0\th1:y\ndep\texample.com/l\tv0.1.0\n=>\t./l\t(devel)\t\nbuild\t-ldflags=\"-X main.version=4.5.6\"\n"),
    ];
    let mut entries: Vec<_> = app.iter().map(|(path, _, _)| file(path)).collect();
    entries.push(("usr/bin/tool2".to_owned(), EntryKind::Hardlink("usr/bin/tool".to_owned())));
    let mut first: Vec<_> = base.iter().map(|(path, _, _)| file(path)).collect();
    first.push(("lib".to_owned(), EntryKind::Symlink("usr/lib".to_owned())));
    let upper = vec![("app/node_modules/@s/a/node_modules/b".to_owned(), EntryKind::Whiteout)];
    vec![layer(1, first, base), layer(2, entries, app), layer(3, upper, Vec::new())]
}

pub(crate) fn image() -> Sbom {
    let layers = layers();
    let meta = ImageMeta {
        image: Some(format!("sha256:{}", "aa".repeat(32)).parse().unwrap()),
        name: "registry.example/shop/web:1".to_owned(),
        platform: Some(plimsoll_model::Platform::default()),
        layers: layers
            .iter()
            .enumerate()
            .map(|(n, layer)| LayerInfo { digest: layer.layer.clone(), created_by: format!("RUN step {n}") })
            .collect(),
        labels: vec![("org.opencontainers.image.source".to_owned(), "https://example.com".to_owned())],
        partial: vec![Partial { code: "corrupt".to_owned(), detail: "layer 4: unexpected end".to_owned() }],
        base: None,
    };
    build(meta, &layers)
}

fn find<'s>(sbom: &'s Sbom, purl: &str) -> &'s Component {
    sbom.components.iter().find(|component| component.purl == purl).unwrap_or_else(|| panic!("no {purl}"))
}

#[test]
fn every_package_once_with_its_places() {
    let sbom = image();
    let purls: Vec<&str> = sbom.components.iter().map(|component| component.purl.as_str()).collect();
    assert_eq!(
        purls,
        [
            "pkg:deb/debian/libc6@2.36-9%2Bdeb12u4?arch=amd64&distro=debian-12&upstream=glibc",
            "pkg:deb/debian/libgcc-s1@12.2.0-14%2Bb1?arch=amd64&distro=debian-12&upstream=gcc-12%4012.2.0-14",
            "pkg:deb/debian/mawk@1:1.3?arch=amd64&distro=debian-12",
            "pkg:deb/debian/python3-six@1.16.0-4?arch=all&distro=debian-12&upstream=six",
            "pkg:golang/example.com/b@v1.1.0",
            "pkg:golang/example.com/l@v0.1.0",
            "pkg:golang/example.com/tool@v4.5.6",
            "pkg:golang/github.com/Masterminds/semver/v3@v3.2.0",
            "pkg:golang/stdlib@1.22.3",
            "pkg:npm/%40s/a@1.2.3",
            "pkg:npm/app@1.0.0",
            "pkg:npm/b@2.0.0",
            "pkg:pypi/six@1.16.0",
            "pkg:pypi/six@1.17.0",
            "pkg:pypi/zope-interface@5.0",
        ]
    );
    let b = find(&sbom, "pkg:npm/b@2.0.0");
    let places: Vec<&str> = b.locations.iter().map(|location| location.path.as_str()).collect();
    assert_eq!(places, ["app/node_modules/b/package.json", "app/node_modules/c/package.json"]);
    assert_eq!(b.locations[0].layer.as_ref(), Some(&sbom.layers[1].digest));
    let tool = find(&sbom, "pkg:golang/example.com/tool@v4.5.6");
    assert_eq!(
        tool.locations.iter().map(|l| l.path.as_str()).collect::<Vec<_>>(),
        ["usr/bin/tool", "usr/bin/tool2"]
    );
    assert_eq!(tool.depends_on.len(), 4);
    assert_eq!(find(&sbom, "pkg:golang/example.com/l@v0.1.0").confidence, Confidence::Low);
    assert_eq!(sbom.distribution.as_ref().unwrap().release.to_string(), "debian:12");
    let codes: Vec<&str> = sbom.anomalies.iter().map(|anomaly| anomaly.code.as_str()).collect();
    assert_eq!(codes, ["npm_manifest_unreadable"]);
    assert_eq!(sbom.partial[0].code, "corrupt");
}

#[test]
fn sources_owners_dependencies_licences() {
    let sbom = image();
    let gcc = find(
        &sbom,
        "pkg:deb/debian/libgcc-s1@12.2.0-14%2Bb1?arch=amd64&distro=debian-12&upstream=gcc-12%4012.2.0-14",
    );
    let source = gcc.key.source.as_ref().unwrap();
    assert_eq!((source.name.as_str(), source.version.as_str()), ("gcc-12", "12.2.0-14"));
    let libc = "pkg:deb/debian/libc6@2.36-9%2Bdeb12u4?arch=amd64&distro=debian-12&upstream=glibc";
    assert_eq!(gcc.depends_on, [libc]);
    assert_eq!(find(&sbom, libc).key.source.as_ref().unwrap().version, "2.36-9+deb12u4");
    let owner = "pkg:deb/debian/python3-six@1.16.0-4?arch=all&distro=debian-12&upstream=six";
    assert_eq!(find(&sbom, owner).depends_on, ["pkg:deb/debian/mawk@1:1.3?arch=amd64&distro=debian-12"]);
    // The list names it by way of the symlink `lib`.
    assert_eq!(find(&sbom, "pkg:pypi/six@1.16.0").owned_by.as_deref(), Some(owner));
    assert_eq!(find(&sbom, "pkg:pypi/six@1.17.0").owned_by, None);
    let zope = find(&sbom, "pkg:pypi/zope-interface@5.0");
    assert_eq!((zope.display_name.as_str(), zope.supplier.as_str()), ("Zope.Interface", "z@z.org"));
    assert_eq!(zope.depends_on, ["pkg:pypi/six@1.17.0"]);
    assert_eq!(zope.licenses, ["Zope Public License"]);
    let a = find(&sbom, "pkg:npm/%40s/a@1.2.3");
    // The copy of `b` inside `a` is gone: Node then finds the one beside it.
    assert_eq!(a.depends_on, ["pkg:npm/b@2.0.0"]);
    assert_eq!((a.licenses[0].as_str(), a.supplier.as_str()), ("(MIT OR Apache-2.0)", "A <a@b.c>"));
}

#[test]
fn one_unowned_copy_makes_a_package_unowned() {
    let mut layers = layers();
    let path = "usr/local/lib/six-1.16.0.egg-info/PKG-INFO";
    layers.push(layer(4, vec![file(path)], vec![(path, "python", b"Name: six\nVersion: 1.16.0\n")]));
    let sbom = build(ImageMeta::default(), &layers);
    let six = find(&sbom, "pkg:pypi/six@1.16.0");
    assert_eq!(six.locations.len(), 2);
    assert_eq!(six.owned_by, None);
    assert!(six.locations.iter().all(|location| location.layer.is_none()));
}

#[test]
fn the_order_of_selected_bytes_does_not_matter() {
    let layers = layers();
    let expected = build(ImageMeta::default(), &layers);
    let mut turned = layers.clone();
    for layer in &mut turned {
        let mut entries: Vec<_> = layer.entries.iter().rev().map(|entry| entry.to_owned()).collect();
        entries.sort();
        layer.entries = entries.into_iter().collect();
    }
    assert_eq!(build(ImageMeta::default(), &turned), expected);
    // References and owned values alike.
    let borrowed: Vec<&Extract> = layers.iter().collect();
    assert_eq!(build(ImageMeta::default(), &borrowed), expected);
}

#[test]
fn distroless_packages_and_apk() {
    let layers = vec![layer(
        1,
        vec![
            file("etc/os-release"),
            file("var/lib/dpkg/status.d/libssl3"),
            file("var/lib/dpkg/status.d/libssl3.md5sums"),
            file("usr/bin/t"),
        ],
        vec![
            ("etc/os-release", "os-release", OS_RELEASE),
            (
                "var/lib/dpkg/status.d/libssl3",
                "dpkg",
                b"Package: libssl3\nVersion: 3.0.11-1\nSource: openssl\nArchitecture: amd64\n",
            ),
            ("var/lib/dpkg/status.d/libssl3.md5sums", "dpkg-files", b"usr/bin/t\n"),
            ("usr/bin/t", "go-binary", b"go1.20\n"),
        ],
    )];
    let sbom = build(ImageMeta::default(), &layers);
    let owner = "pkg:deb/debian/libssl3@3.0.11-1?arch=amd64&distro=debian-12&upstream=openssl";
    assert_eq!(find(&sbom, "pkg:golang/stdlib@1.20").owned_by.as_deref(), Some(owner));

    let installed = b"C:Q1x=\nP:musl\nV:1.2.4-r2\nA:x86_64\no:musl\nL:MIT\np:so:libc.musl-x86_64.so.1=1\nF:lib\nR:x\n\nP:libssl3\nV:3.1.4-r5\nA:x86_64\no:openssl\nm:A <a@b>\nD:so:libc.musl-x86_64.so.1 musl>=1\nF:usr/bin\nR:t\n\n";
    let layers = vec![layer(
        1,
        vec![],
        vec![
            ("etc/os-release", "os-release", b"ID=alpine\nVERSION_ID=3.19.1\n"),
            ("lib/apk/db/installed", "apk", installed),
            ("usr/bin/t", "go-binary", b"go1.20\n"),
        ],
    )];
    let sbom = build(ImageMeta::default(), &layers);
    let musl = "pkg:apk/alpine/musl@1.2.4-r2?arch=x86_64&distro=alpine-3.19.1";
    let ssl = "pkg:apk/alpine/libssl3@3.1.4-r5?arch=x86_64&distro=alpine-3.19.1&upstream=openssl";
    assert_eq!(find(&sbom, ssl).depends_on, [musl]);
    assert_eq!(find(&sbom, musl).licenses, ["MIT"]);
    assert_eq!(find(&sbom, "pkg:golang/stdlib@1.20").owned_by.as_deref(), Some(ssl));
}

#[test]
fn archives_inside_archives_and_who_owns_them() {
    let kept = br#"{"manifest":{"Bundle-License":"Apache-2.0"},"poms":{"org.x/app":{"groupId":"org.x","artifactId":"app","version":"1.0"},"org.y/shaded":{"groupId":"org.y","artifactId":"shaded","version":"2"}},"nested":{"WEB-INF/lib/in-3.jar":{"manifest":{"Implementation-Vendor-Id":"com.in"}}},"incomplete":"nesting"}"#;
    let layers = vec![layer(
        1,
        vec![
            file("usr/share/java/app.war"),
            file("var/lib/dpkg/info/libapp-java.list"),
            file("var/lib/dpkg/status"),
        ],
        vec![
            ("usr/share/java/app.war", "java", kept),
            ("var/lib/dpkg/info/libapp-java.list", "dpkg-files", b"usr/share/java/app.war\n"),
            ("var/lib/dpkg/status", "dpkg", b"Package: libapp-java\nVersion: 1.0-1\nArchitecture: all\n"),
        ],
    )];
    let sbom = build(ImageMeta::default(), &layers);
    let purls: Vec<&str> = sbom.components.iter().map(|component| component.purl.as_str()).collect();
    assert_eq!(
        purls,
        [
            "pkg:deb/libapp-java@1.0-1?arch=all",
            "pkg:maven/com.in/in@3",
            "pkg:maven/org.x/app@1.0",
            "pkg:maven/org.y/shaded@2"
        ]
    );
    let inner = find(&sbom, "pkg:maven/com.in/in@3");
    assert_eq!(inner.locations[0].path, "usr/share/java/app.war!/WEB-INF/lib/in-3.jar");
    assert_eq!((inner.owned_by.as_deref(), inner.confidence), (Some(purls[0]), Confidence::Low));
    let app = find(&sbom, "pkg:maven/org.x/app@1.0");
    assert_eq!(app.depends_on, ["pkg:maven/com.in/in@3", "pkg:maven/org.y/shaded@2"]);
    assert_eq!(app.licenses, ["Apache-2.0"]);
    assert_eq!(sbom.anomalies[0].code, "java_archive_limit");
}

#[test]
fn rpm_packages_sources_modules_owners() {
    let kept = br#"[{"name":"nodejs","epoch":1,"version":"16.1","release":"2.module+el8","arch":"x86_64","source":"nodejs-16.1-2.module+el8.src.rpm","vendor":"V","license":"MIT and ASL 2.0","module":"nodejs:16:820:a1","requires":["openssl-libs"],"files":["usr/lib/node_modules/npm/package.json"]},
        {"name":"openssl-libs","epoch":1,"version":"3.0.7","release":"1.el9","arch":"x86_64","source":"openssl-3.0.7-1.el9.src.rpm"},
        {"name":"gpg-pubkey","version":"fd431d51","release":"4ae0493b"}]"#;
    let layers = vec![layer(
        1,
        vec![
            file("etc/os-release"),
            file("var/lib/rpm/Packages"),
            file("usr/lib/node_modules/npm/package.json"),
        ],
        vec![
            ("etc/os-release", "os-release", b"ID=\"rhel\"\nVERSION_ID=\"8.9\"\n"),
            ("var/lib/rpm/Packages", "rpm", kept),
            ("usr/lib/node_modules/npm/package.json", "npm", br#"{"name":"npm","version":"8.0.0"}"#),
        ],
    )];
    let sbom = build(ImageMeta::default(), &layers);
    let node = "pkg:rpm/redhat/nodejs@16.1-2.module%2Bel8?arch=x86_64&distro=rhel-8.9&epoch=1&rpmmod=nodejs:16:820:a1";
    let ssl = "pkg:rpm/redhat/openssl-libs@3.0.7-1.el9?arch=x86_64&distro=rhel-8.9&epoch=1&upstream=openssl-3.0.7-1.el9.src.rpm";
    assert_eq!(find(&sbom, node).depends_on, [ssl]);
    assert_eq!(
        (find(&sbom, node).supplier.as_str(), find(&sbom, node).key.version.as_str()),
        ("V", "1:16.1-2.module+el8")
    );
    let source = find(&sbom, ssl).key.source.as_ref().unwrap();
    assert_eq!((source.name.as_str(), source.version.as_str()), ("openssl", "1:3.0.7-1.el9"));
    assert_eq!(find(&sbom, "pkg:npm/npm@8.0.0").owned_by.as_deref(), Some(node));
    find(&sbom, "pkg:rpm/redhat/gpg-pubkey@fd431d51-4ae0493b?distro=rhel-8.9");
}

/// An image whose only files are these.
fn only(files: &[(&str, &str, &[u8])]) -> Sbom {
    let entries = files.iter().map(|(path, _, _)| file(path)).collect();
    build(ImageMeta::default(), &[layer(1, entries, files.to_vec())])
}

fn purls(sbom: &Sbom) -> Vec<&str> {
    sbom.components.iter().map(|component| component.purl.as_str()).collect()
}

#[test]
fn installed_packages_of_languages() {
    let sbom = only(&[
        ("usr/bin/tool", "rust-binary", br#"[{"name":"cc","version":"1.0.0","source":"crates.io","kind":"build"},{"name":"memchr","version":"2.7.4","source":"crates.io"},{"name":"tool","version":"0.1.0","source":"local","dependencies":[0,1,9],"root":true}]"#),
        ("var/lib/gems/3.1.0/specifications/rack-2.2.3.gemspec", "gem", b"s.name = \"rack\".freeze\ns.version = \"2.2.3\"\ns.licenses = [\"MIT\".freeze]\n"),
        ("app/vendor/composer/installed.json", "composer", br#"{"packages":[{"name":"Monolog/monolog","version":"v2.3.5","license":["MIT"],"require":{"php":">=7.2","psr/log":"^1.0"},"authors":[{"name":"J"}]},{"name":"psr/log","version":"1.1.4"},{"name":"bare","version":"1"}]}"#),
        ("app/Web.deps.json", "dotnet", br#"{"runtimeTarget":{"name":"net6"},"targets":{"net6":{"Web/1.0.0":{"dependencies":{"Serilog":"2.10.0"}}}},"libraries":{"Web/1.0.0":{"type":"project"},"Serilog/2.10.0":{"type":"package"},"odd":{}}}"#),
        ("opt/conda/conda-meta/zlib-1.2.13-h0.json", "conda", br#"{"name":"zlib","version":"1.2.13","license":"Zlib","depends":["libgcc-ng >=12"],"channel":"https://conda.example/main/linux-64","subdir":"linux-64"}"#),
        ("opt/conda/conda-meta/libgcc-ng-12-0.json", "conda", br#"{"name":"libgcc-ng","version":"12"}"#),
        ("opt/conda/conda-meta/bad.json", "conda", b"{"),
    ]);
    assert_eq!(
        purls(&sbom),
        [
            "pkg:cargo/memchr@2.7.4",
            "pkg:cargo/tool@0.1.0",
            "pkg:composer/monolog/monolog@v2.3.5",
            "pkg:composer/psr/log@1.1.4",
            "pkg:conda/libgcc-ng@12",
            "pkg:conda/zlib@1.2.13",
            "pkg:gem/rack@2.2.3",
            "pkg:nuget/Serilog@2.10.0",
            "pkg:nuget/Web@1.0.0",
        ]
    );
    assert_eq!(find(&sbom, "pkg:cargo/tool@0.1.0").depends_on, ["pkg:cargo/memchr@2.7.4"]);
    let monolog = find(&sbom, "pkg:composer/monolog/monolog@v2.3.5");
    assert_eq!(
        (monolog.depends_on.as_slice(), monolog.supplier.as_str()),
        (&["pkg:composer/psr/log@1.1.4".to_owned()][..], "J")
    );
    let web = find(&sbom, "pkg:nuget/Web@1.0.0");
    assert_eq!((web.depends_on[0].as_str(), web.confidence), ("pkg:nuget/Serilog@2.10.0", Confidence::Low));
    let zlib = find(&sbom, "pkg:conda/zlib@1.2.13");
    assert_eq!(
        (zlib.depends_on[0].as_str(), zlib.supplier.as_str()),
        ("pkg:conda/libgcc-ng@12", "https://conda.example/main")
    );
    assert_eq!(sbom.anomalies[0].code, "json_unreadable");
}

#[test]
fn pacman_and_opkg() {
    let sbom = only(&[
        ("etc/os-release", "os-release", b"ID=arch\n"),
        ("var/lib/pacman/local/bash-5.2-1/desc", "pacman", b"%NAME%\nbash\n%VERSION%\n1:5.2-1\n%ARCH%\nx86_64\n%LICENSE%\nGPL\n%DEPENDS%\nlibreadline.so=8-64\nglibc>=2\n"),
        ("var/lib/pacman/local/bash-5.2-1/files", "pacman", b"usr/bin/tool\n"),
        ("var/lib/pacman/local/readline-8-1/desc", "pacman", b"%NAME%\nreadline\n%VERSION%\n8-1\n%BASE%\nrl\n%PROVIDES%\nlibreadline.so=8-64\n"),
        ("usr/bin/tool", "go-binary", b"go1.20\n"),
        ("usr/lib/opkg/status", "opkg", b"Package: libc\nVersion: 1.2\nStatus: install user installed\nArchitecture: mips\n\nPackage: busybox\nVersion: 1.36\nDepends: libc\nStatus: install user installed\n\nPackage: gone\nVersion: 1\nStatus: deinstall ok not-installed\n"),
    ]);
    let bash = "pkg:alpm/arch/bash@1:5.2-1?arch=x86_64&distro=arch";
    let readline = "pkg:alpm/arch/readline@8-1?distro=arch&upstream=rl";
    let libc = "pkg:opkg/arch/libc@1.2?arch=mips&distro=arch";
    let busybox = "pkg:opkg/arch/busybox@1.36?distro=arch";
    assert_eq!(purls(&sbom), [bash, readline, "pkg:golang/stdlib@1.20", busybox, libc]);
    assert_eq!(find(&sbom, bash).depends_on, [readline]);
    assert_eq!(find(&sbom, busybox).depends_on, [libc]);
    assert_eq!(find(&sbom, "pkg:golang/stdlib@1.20").owned_by.as_deref(), Some(bash));
}

#[test]
fn programs_count_where_no_package_owns_them() {
    let sbom = only(&[
        ("var/lib/dpkg/status", "dpkg", b"Package: bash\nVersion: 5.2-1\nArchitecture: amd64\n"),
        ("var/lib/dpkg/info/bash.list", "dpkg-files", b"bin/bash\n"),
        ("bin/bash", "binary", b"bash\t5.2.15"),
        ("usr/local/bin/python3.11", "binary", b"python\t3.11.4"),
        ("usr/local/lib/libpython3.11.so.1.0", "binary", b"python\t3.11.4"),
    ]);
    assert_eq!(purls(&sbom), ["pkg:deb/bash@5.2-1?arch=amd64", "pkg:generic/python@3.11.4"]);
    let python = find(&sbom, "pkg:generic/python@3.11.4");
    assert_eq!((python.confidence, python.locations.len()), (Confidence::Low, 2));
}

#[test]
fn licences_of_debian_packages() {
    let status = b"Package: libgcc-s1\nVersion: 12-1\nArchitecture: amd64\n\nPackage: gcc-12-base\nVersion: 12-1\nArchitecture: amd64\n\nPackage: bare\nVersion: 1\nArchitecture: all\n";
    let path = "usr/share/doc/gcc-12-base/copyright";
    let layers = [layer(
        1,
        vec![
            file("var/lib/dpkg/status"),
            file(path),
            ("usr/share/doc/libgcc-s1".to_owned(), EntryKind::Symlink("gcc-12-base".to_owned())),
        ],
        vec![("var/lib/dpkg/status", "dpkg", status), (path, "dpkg-copyright", b"Expat or weird\nGPL-3+\n")],
    )];
    let sbom = build(ImageMeta::default(), &layers);
    for name in ["libgcc-s1", "gcc-12-base"] {
        let component = find(&sbom, &format!("pkg:deb/{name}@12-1?arch=amd64"));
        assert_eq!(component.licenses, ["Expat or weird", "GPL-3.0-or-later"]);
    }
    assert!(find(&sbom, "pkg:deb/bare@1?arch=all").licenses.is_empty());
}

/// Bytes of the kind that selectors keep, and the file's name; something of each is found.
const KEPT: &[(&str, &str, &str)] = &[
    (
        "dpkg",
        "var/lib/dpkg/status",
        "Package: a\nVersion: 1\nArchitecture: all\nDepends: b | c (>= 1)\n\nPackage: b\nVersion: 2\n",
    ),
    ("apk", "lib/apk/db/installed", "P:a\nV:1\nA:x\nD:b\nF:usr\nR:x\n\nP:b\nV:2\n\n"),
    (
        "rpm",
        "var/lib/rpm/Packages",
        r#"[{"name":"a","epoch":1,"version":"1","release":"2","source":"s-1-2.src.rpm","files":["x"],"requires":["a"]}]"#,
    ),
    (
        "rpm",
        "var/lib/rpmmanifest/container-manifest-2",
        "a\t1-2\t0\t0\tV\t(none)\t0\tx86_64\t0\ts-1-2.src.rpm\n",
    ),
    ("pacman", "var/lib/pacman/local/a-1-1/desc", "%NAME%\na\n%VERSION%\n1-1\n%DEPENDS%\nb>1\n"),
    ("opkg", "usr/lib/opkg/status", "Package: a\nVersion: 1\nStatus: install user installed\n"),
    ("npm", "a/package.json", r#"{"name":"a","version":"1.0.0","dependencies":{"b":"1"},"license":["MIT"]}"#),
    ("python", "a-1.dist-info/METADATA", "Name: a\nVersion: 1\nRequires-Dist: b>=1\n"),
    (
        "java",
        "a-1.jar",
        r#"{"manifest":{"Bundle-SymbolicName":"org.x.a"},"poms":{"g/b":{"groupId":"g","artifactId":"b","version":"2"}},"nested":{"l/c-3.jar":{"manifest":{}}}}"#,
    ),
    ("gem", "specifications/a-1.gemspec", "# stub: a 1 ruby lib\ns.name = \"a\"\ns.version = \"1\"\n"),
    (
        "composer",
        "composer/installed.json",
        r#"{"packages":[{"name":"a/b","version":"1","require":{"a/c":"1"}}]}"#,
    ),
    (
        "bitnami",
        "opt/bitnami/a/.spdx-a.spdx",
        r#"{"packages":[{"name":"a","licenseDeclared":"MIT","externalRefs":[{"referenceType":"purl","referenceLocator":"pkg:bitnami/a@1.0-2?arch=amd64"}]}]}"#,
    ),
    (
        "dotnet",
        "a.deps.json",
        r#"{"libraries":{"A/1":{"type":"package"}},"targets":{"t":{"A/1":{"dependencies":{"B":"1"}}}}}"#,
    ),
    ("conda", "conda-meta/a-1.json", r#"{"name":"a","version":"1","depends":["b"]}"#),
    ("portage", "var/db/pkg/dev-libs/openssl-3.3.2-r1/CONTENTS", "usr/bin/openssl\n"),
    ("homebrew", "home/linuxbrew/Cellar/jq/1.7.1/.brew/jq.rb", "  license \"MIT\"\n"),
    ("snap", "meta/snap.yaml", "name: core22\nversion: '20240111'\n"),
    ("kernel", "boot/vmlinuz-6.1", "release=6.1.0-18-amd64\nbuild=#1 SMP\n"),
    (
        "r",
        "usr/lib/R/library/MASS/DESCRIPTION",
        "Package: MASS\nVersion: 7.3-60\nLicense: GPL-2 | GPL-3\nImports: stats,\n utils\n",
    ),
    (
        "lua",
        "l/lpeg-1.1.0-1.rockspec",
        "package = \"lpeg\"\nversion = \"1.1.0-1\"\ndependencies = { \"lua >= 5.1\" }\n",
    ),
    (
        "perl",
        "p/.meta/Try-Tiny-0.31/install.json",
        r#"{"name":"Try::Tiny","version":"0.31","dist":"Try-Tiny-0.31"}"#,
    ),
    (
        "pear",
        "usr/share/php/.registry/mail.reg",
        r#"{"name":"Mail","version":"1.6.0","channel":"pear.php.net","license":"BSD-3-Clause"}"#,
    ),
    ("opam", "root/.opam/4.14/.opam-switch/packages/fmt.0.9.0/opam", "license: \"ISC\"\n"),
    (
        "erlang",
        "opt/lib/cowlib-2.12.1/ebin/cowlib.app",
        "%% x\n{application, cowlib,\n [{vsn, \"2.12.1\"}, {applications, [kernel, stdlib]}]}.",
    ),
    (
        "conan",
        "root/.conan/data/zlib/1.3/_/_/package/1f/conaninfo.txt",
        "[full_requires]\n    bzip2/1.0.8:da\n",
    ),
    (
        "wordpress",
        "w/wp-content/plugins/akismet/akismet.php",
        "Plugin Name: Akismet\nVersion: 5.3\nLicense: GPLv2 or later\n",
    ),
    (
        "elf-note",
        "usr/bin/x",
        r#"{"type":"deb","os":"debian","osVersion":"12","name":"x","version":"1-1","architecture":"amd64"}"#,
    ),
    ("rust-binary", "bin/a", r#"[{"name":"a","version":"1","dependencies":[0]}]"#),
    ("binary", "bin/python3.11", "python\t3.11.4"),
    ("go-binary", "bin/go", "go1.22\npath\tx\nmod\tx\tv1.0.0\ndep\ty\tv1.0.0\n=>\tz\tv2.0.0\n"),
    ("lockfile", "a/Cargo.lock", "[[package]]\nname = \"a\"\nversion = \"1\"\n"),
];

#[test]
fn bitnami_applications() {
    let (selector, path, text) = KEPT.iter().find(|kept| kept.0 == "bitnami").unwrap();
    let sbom = only(&[(path, selector, text.as_bytes())]);
    assert_eq!(purls(&sbom), ["pkg:bitnami/a@1.0-2"]);
    assert_eq!(sbom.components[0].licenses, ["MIT"]);
}

const NIX: &str = "nix/store/0123456789abcdfghijklmnpqrsvwxyz-openssl-3.0.13-bin/bin/openssl";

#[test]
fn every_kind_has_its_name() {
    let purl = |wanted: &str| -> Vec<String> {
        let (selector, path, text) = KEPT.iter().find(|kept| kept.0 == wanted).unwrap();
        only(&[(path, selector, text.as_bytes())])
            .components
            .into_iter()
            .map(|component| component.purl)
            .collect()
    };
    for (selector, expected) in [
        ("portage", &["pkg:ebuild/dev-libs/openssl@3.3.2-r1"][..]),
        ("homebrew", &["pkg:brew/jq@1.7.1"]),
        ("snap", &["pkg:snap/core22@20240111"]),
        ("kernel", &["pkg:generic/linux-kernel@6.1.0-18-amd64"]),
        ("r", &["pkg:cran/MASS@7.3-60"]),
        ("lua", &["pkg:luarocks/lpeg@1.1.0-1"]),
        ("perl", &["pkg:cpan/Try-Tiny@0.31"]),
        ("pear", &["pkg:pear/Mail@1.6.0"]),
        ("opam", &["pkg:opam/fmt@0.9.0"]),
        ("erlang", &["pkg:hex/cowlib@2.12.1"]),
        ("conan", &["pkg:conan/bzip2@1.0.8", "pkg:conan/zlib@1.3"]),
        ("wordpress", &["pkg:wordpress-plugin/akismet@5.3"]),
        ("elf-note", &["pkg:deb/debian/x@1-1?arch=amd64&distro=debian-12"]),
    ] {
        assert_eq!(purl(selector), expected, "{selector}");
    }
    let (_, path, text) = KEPT.iter().find(|kept| kept.0 == "r").unwrap();
    assert_eq!(
        only(&[(path, "r", text.as_bytes())]).components[0].licenses,
        ["GPL-2.0-only OR GPL-3.0-only"]
    );
    let nix = only(&[(NIX, "none", b"")]);
    assert_eq!(purls(&nix), ["pkg:nix/openssl@3.0.13"]);
    assert_eq!(nix.components[0].locations[0].path, NIX.split("/bin").next().unwrap());
}

#[test]
fn evidence_counts_where_no_package_owns_it() {
    let note = br#"{"type":"deb","os":"debian","osVersion":"12","name":"libc6","version":"9","architecture":"amd64"}"#;
    let module = b"name=zfs\nversion=2.1.11\nlicense=CDDL\n";
    let files: Vec<(&str, &str, &[u8])> = vec![
        ("usr/lib/os-release", "os-release", OS_RELEASE),
        ("var/lib/dpkg/status", "dpkg", STATUS),
        ("var/lib/dpkg/info/libc6:amd64.list", "dpkg-files", b"usr/lib/owned.so\nlib/modules/owned.ko\n"),
        ("usr/lib/owned.so", "elf-note", note),
        ("usr/lib/own.so", "elf-note", note),
        ("lib/modules/owned.ko", "kernel", module),
        ("lib/modules/zfs.ko", "kernel", module),
        ("lib/modules/bridge.ko", "kernel", b"name=bridge\nversion=2.3\nintree=Y\n"),
    ];
    let sbom = only(&files);
    let places = |by: &str| -> Vec<&str> {
        let of = sbom.components.iter().filter(|component| component.found_by == by);
        of.flat_map(|component| &component.locations).map(|location| location.path.as_str()).collect()
    };
    assert_eq!(places("elf-note"), ["usr/lib/own.so"]);
    assert_eq!(places("kernel-module"), ["lib/modules/zfs.ko"]);
}

#[test]
fn assemblies_that_no_document_lists() {
    let texts = br#"{"CompanyName":"Newtonsoft","ProductVersion":"13.0.3+0a2e"}"#;
    let sbom = only(&[
        ("app/App.deps.json", "dotnet", br#"{"targets":{"t":{"A/1":{"runtime":{"lib/net6.0/Known.dll":{}}}}},"libraries":{"A/1":{"type":"package"}}}"#),
        ("app/sub/Known.dll", "pe", texts),
        ("app/Newtonsoft.Json.dll", "pe", texts),
        ("other/Known.dll", "pe", b"{}"),
    ]);
    assert_eq!(purls(&sbom), ["pkg:nuget/A@1", "pkg:nuget/Newtonsoft.Json@13.0.3"]);
    assert_eq!(sbom.components[1].confidence, Confidence::Low);
}

/// The page for users has a row for each cataloger, and none for another.
#[test]
fn every_cataloger_is_documented() {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/sboms.md")).unwrap();
    let installed = page.split("## Installed").nth(1).unwrap().split("\n## ").next().unwrap();
    let mut rows: Vec<&str> =
        installed.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();
    rows.push("lockfile"); // a section of its own
    rows.sort_unstable();
    let mut names: Vec<&str> = CATALOGERS.iter().map(|cataloger| cataloger.name).collect();
    names.sort_unstable();
    assert_eq!(rows, names);
    assert!(page.contains("One cataloger, `lockfile`"));
}

#[test]
fn every_cataloger_finds_something() {
    for cataloger in CATALOGERS {
        let kept = KEPT.iter().find(|kept| cataloger.selectors.contains(&kept.0));
        // One without selectors looks at paths.
        let (selector, path, bytes) = kept.unwrap_or(&("none", NIX, ""));
        let sbom = only(&[(path, selector, bytes.as_bytes())]);
        assert!(
            sbom.components.iter().any(|component| component.found_by == cataloger.name),
            "{}",
            cataloger.name
        );
    }
}

proptest! {
    /// Whatever was kept, catalogers end, and what they find can be named.
    #[test]
    fn any_kept_bytes_are_read_or_refused(which in 0..KEPT.len(), at: prop::sample::Index, noise in "\\PC{0,12}", cut: bool, raw in proptest::collection::vec(any::<u8>(), 0..40)) {
        let (selector, path, text) = KEPT[which];
        let (before, after) = text.split_at(at.index(text.len() + 1));
        let changed = format!("{before}{noise}{}", if cut { "" } else { after });
        for bytes in [changed.as_bytes(), &raw] {
            for component in only(&[(path, selector, bytes)]).components {
                prop_assert!(component.purl.parse::<plimsoll_sbom::purl::Purl>().is_ok(), "{}", component.purl);
                prop_assert!(!component.locations.is_empty());
            }
        }
    }
}
