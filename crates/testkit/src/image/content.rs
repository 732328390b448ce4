//! Content that catalogers recognise: package databases and package metadata, as the real tools write them.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use base64::Engine as _;
use bytes::Bytes;

use super::{ImageError, sha256};

/// `/etc/os-release` of a distribution (`debian` `12`, `alpine` `3.20.3`, `ubuntu` `24.04`, …).
pub fn os_release(id: &str, version: &str) -> Vec<u8> {
    let quote = if id == "alpine" { "" } else { "\"" };
    format!(
        "PRETTY_NAME=\"{id} {version}\"\nNAME=\"{id}\"\nID={id}\nVERSION_ID={quote}{version}{quote}\n\
         HOME_URL=\"https://example.invalid/\"\n"
    )
    .into_bytes()
}

/// `/var/lib/dpkg/status` of installed packages `(name, version, source, architecture)`. An empty source means
/// that it is named as the package is; it may carry a version of its own: `gcc-12 (12.2.0-14)`.
pub fn dpkg_status(packages: &[(&str, &str, &str, &str)]) -> Vec<u8> {
    let mut out = String::new();
    for (name, version, source, architecture) in packages {
        // Writing to a String cannot fail.
        let _ = writeln!(
            out,
            "Package: {name}\nStatus: install ok installed\nPriority: optional\nSection: misc\n\
             Installed-Size: 100\nMaintainer: Nobody <nobody@example.invalid>\nArchitecture: {architecture}"
        );
        if !source.is_empty() && source != name {
            let _ = writeln!(out, "Source: {source}");
        }
        let _ = writeln!(
            out,
            "Version: {version}\nDescription: {name} for tests\n a longer description\n .\n of several lines\n"
        );
    }
    out.into_bytes()
}

/// `/lib/apk/db/installed` of packages `(name, version, origin, architecture)`.
pub fn apk_installed(packages: &[(&str, &str, &str, &str)]) -> Vec<u8> {
    let mut out = String::new();
    for (name, version, origin, architecture) in packages {
        let origin = if origin.is_empty() { name } else { origin };
        let _ = writeln!(
            out,
            "C:Q1AAAAAAAAAAAAAAAAAAAAAAAAAAA=\nP:{name}\nV:{version}\nA:{architecture}\nS:1000\nI:4096\n\
             T:{name} for tests\nU:https://example.invalid/\nL:MIT\no:{origin}\nm:Nobody <nobody@example.invalid>\n\
             t:0\nc:0000000000000000000000000000000000000000\nF:usr\nF:usr/bin\nR:{name}\na:0:0:755\n"
        );
    }
    out.into_bytes()
}

/// A `package.json` as npm leaves it in `node_modules/<name>/`.
pub fn npm_package_json(name: &str, version: &str) -> Vec<u8> {
    let document = serde_json::json!({
        "name": name,
        "version": version,
        "description": format!("{name} for tests"),
        "license": "MIT",
        "main": "index.js",
    });
    let mut out = serde_json::to_vec_pretty(&document).unwrap_or_default();
    out.push(b'\n');
    out
}

/// The `.dist-info` of a Python package under `site_packages`: paths and contents of METADATA, RECORD, WHEEL
/// and INSTALLER, and of one module. RECORD has the SHA-256 of each, as pip writes it.
pub fn python_dist(site_packages: &str, name: &str, version: &str) -> Vec<(String, Bytes)> {
    let module = name.to_lowercase().replace(['-', '.'], "_");
    let info = format!("{module}-{version}.dist-info");
    let metadata = format!(
        "Metadata-Version: 2.1\nName: {name}\nVersion: {version}\nSummary: {name} for tests\n\
         License: MIT\nRequires-Python: >=3.8\n\nA longer description.\n\nName: not-a-header\n"
    );
    let wheel = "Wheel-Version: 1.0\nGenerator: testkit\nRoot-Is-Purelib: true\nTag: py3-none-any\n";
    let files = [
        (format!("{module}/__init__.py"), format!("__version__ = \"{version}\"\n")),
        (format!("{info}/INSTALLER"), "pip\n".to_owned()),
        (format!("{info}/METADATA"), metadata),
        (format!("{info}/WHEEL"), wheel.to_owned()),
    ];
    let mut record = String::new();
    for (path, text) in &files {
        let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes());
        let hash = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(hash.as_ref());
        let _ = writeln!(record, "{path},sha256={hash},{}", text.len());
    }
    let _ = writeln!(record, "{info}/RECORD,,");
    files
        .into_iter()
        .map(|(path, text)| (path, Bytes::from(text)))
        .chain([(format!("{info}/RECORD"), Bytes::from(record))])
        .map(|(path, bytes)| (format!("{site_packages}/{path}"), bytes))
        .collect()
}

/// A `.gemspec` as RubyGems leaves it in `specifications/`.
pub fn gemspec(name: &str, version: &str) -> Vec<u8> {
    format!(
        "# -*- encoding: utf-8 -*-\n# stub: {name} {version} ruby lib\n\nGem::Specification.new do |s|\n  \
         s.name = \"{name}\".freeze\n  s.version = \"{version}\"\n  s.licenses = [\"MIT\".freeze]\n  \
         s.summary = \"{name} for tests\".freeze\nend\n"
    )
    .into_bytes()
}

/// A jar with a manifest, `pom.properties` of one Maven artifact, one class, and `nested` jars under
/// `BOOT-INF/lib/` as Spring Boot packs them (stored, not deflated).
pub fn jar(
    group: &str,
    artifact: &str,
    version: &str,
    nested: &[(&str, Vec<u8>)],
) -> Result<Vec<u8>, ImageError> {
    let io = |error: std::io::Error| ImageError::Jar(error.into());
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let deflated = zip::write::SimpleFileOptions::default()
        .compression_method(zip::CompressionMethod::Deflated)
        .last_modified_time(zip::DateTime::default());
    let stored = deflated.compression_method(zip::CompressionMethod::Stored);
    let manifest = format!(
        "Manifest-Version: 1.0\r\nImplementation-Title: {artifact}\r\nImplementation-Version: {version}\r\n\r\n"
    );
    let properties = format!("version={version}\ngroupId={group}\nartifactId={artifact}\n");
    let class = [0xca, 0xfe, 0xba, 0xbe, 0, 0, 0, 61];
    for (name, bytes) in [
        ("META-INF/MANIFEST.MF".to_owned(), manifest.as_bytes()),
        (format!("META-INF/maven/{group}/{artifact}/pom.properties"), properties.as_bytes()),
        (format!("{}/Main.class", group.replace('.', "/")), class.as_slice()),
    ] {
        zip.start_file(name, deflated).map_err(ImageError::Jar)?;
        zip.write_all(bytes).map_err(io)?;
    }
    for (name, bytes) in nested {
        zip.start_file(format!("BOOT-INF/lib/{name}"), stored).map_err(ImageError::Jar)?;
        zip.write_all(bytes).map_err(io)?;
    }
    Ok(zip.finish().map_err(ImageError::Jar)?.into_inner())
}

/// A `go.mod`-style description of a Go build: main module and dependencies `(path, version)`.
pub fn go_modinfo(path: &str, main: (&str, &str), deps: &[(&str, &str)]) -> String {
    let mut out = format!("path\t{path}\nmod\t{}\t{}\t\n", main.0, main.1);
    for (module, version) in deps {
        let hash = sha256(format!("{module}@{version}").as_bytes());
        let hash =
            base64::engine::general_purpose::STANDARD.encode(hash.as_bytes().get(..32).unwrap_or_default());
        let _ = writeln!(out, "dep\t{module}\t{version}\th1:{hash}");
    }
    out.push_str("build\t-compiler=gc\nbuild\tCGO_ENABLED=0\nbuild\tGOARCH=amd64\nbuild\tGOOS=linux\n");
    out
}

/// Whether the Go tool is on PATH.
pub fn go_installed() -> bool {
    Command::new("go").arg("version").output().is_ok_and(|output| output.status.success())
}

/// A real Go program, compiled in `dir`, which has no dependencies and the module path `module`.
pub fn go_compiled(dir: &Path, module: &str) -> Result<Vec<u8>, ImageError> {
    let write = |name: &str, text: &str| {
        let path = dir.join(name);
        std::fs::write(&path, text).map_err(|source| ImageError::Write { path, source })
    };
    write("go.mod", &format!("module {module}\n\ngo 1.21\n"))?;
    write("main.go", "package main\n\nfunc main() { println(\"afloat\") }\n")?;
    let output = Command::new("go")
        .args(["build", "-buildvcs=false", "-o", "program", "."])
        .current_dir(dir)
        .env("CGO_ENABLED", "0")
        .env("GOOS", "linux")
        .env("GOFLAGS", "-mod=mod")
        .env("GOTOOLCHAIN", "local")
        .output()
        .map_err(|error| ImageError::Go(error.to_string()))?;
    if !output.status.success() {
        return Err(ImageError::Go(String::from_utf8_lossy(&output.stderr).into_owned()));
    }
    let path = dir.join("program");
    std::fs::read(&path).map_err(|source| ImageError::Write { path, source })
}
