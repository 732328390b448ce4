//! Package URLs -> what a statement is about.

use plimsoll_model::package::{Ecosystem, Release};
use plimsoll_model::vex::{ImagePattern, PackagePattern, Product};
use plimsoll_sbom::component_of_purl;
use plimsoll_sbom::purl::Purl;

/// A product as documents name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Named {
    Image(ImagePattern),
    Package(PackagePattern),
}

/// Why a product says nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unusable {
    /// No package URL, or one of a type that is not known.
    Unknown,
    /// An image by name or tag alone, which may be any content.
    Vague,
}

impl Unusable {
    /// The word in reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "product_unknown",
            Self::Vague => "product_vague",
        }
    }
}

/// Reads a package URL. Images (`pkg:oci`, `pkg:docker`) need a digest or a `repository_url`.
pub fn named(text: &str) -> Result<Named, Unusable> {
    let purl: Purl = text.trim().parse().map_err(|_| Unusable::Unknown)?;
    match purl.kind.as_str() {
        "oci" | "docker" => image(&purl).map(Named::Image),
        _ => package(&purl).map(Named::Package).ok_or(Unusable::Unknown),
    }
}

fn image(purl: &Purl) -> Result<ImagePattern, Unusable> {
    let version = purl.version.as_deref().unwrap_or("");
    if let Ok(digest) = version.parse() {
        return Ok(ImagePattern { digest: Some(digest), repository: repository(purl) });
    }
    // A tag may have pointed at anything.
    if !version.is_empty() || !purl.qualifier("tag").is_empty() {
        return Err(Unusable::Vague);
    }
    match repository(purl) {
        repository if repository.is_empty() => Err(Unusable::Vague),
        repository => Ok(ImagePattern { digest: None, repository }),
    }
}

/// `registry/repository`, empty where the purl does not name the registry.
fn repository(purl: &Purl) -> String {
    let url = purl.qualifier("repository_url");
    let url = url.split_once("://").map_or(url, |(_, rest)| rest).trim_matches('/');
    if url.is_empty() {
        return String::new();
    }
    let (host, path) = url.split_once('/').unwrap_or((url, ""));
    let host = match host.to_ascii_lowercase().as_str() {
        "index.docker.io" | "registry-1.docker.io" => "docker.io".to_owned(),
        host => host.to_owned(),
    };
    // With the name at its end (the specification's examples) or without it (other tools).
    let name = purl.full_name();
    let path = match path {
        "" => name,
        path if path == name || path.ends_with(&format!("/{}", purl.name)) => path.to_owned(),
        path => format!("{path}/{}", purl.name),
    };
    let path = if host == "docker.io" && !path.contains('/') { format!("library/{path}") } else { path };
    format!("{host}/{path}")
}

/// A package with or without version; `None` for a type that is not known. `arch=source` means the source package.
pub fn package(purl: &Purl) -> Option<PackagePattern> {
    let key = component_of_purl(purl, None)?;
    let ecosystem = key.package.ecosystem;
    let source = matches!(purl.qualifier("arch"), "source" | "src");
    let release = key.package.release.or_else(|| vendor(ecosystem, &purl.namespace));
    Some(PackagePattern {
        ecosystem: Some(ecosystem),
        release,
        name: key.package.name,
        version: purl.version.is_some().then_some(key.version),
        arch: if source || !ecosystem.is_distribution() { String::new() } else { key.arch },
        source,
    })
}

/// Any release of the distribution that a purl's namespace names.
fn vendor(ecosystem: Ecosystem, namespace: &str) -> Option<Release> {
    let id = match namespace {
        "" => return None,
        "redhat" => "rhel",
        "suse" => "sles",
        other => other,
    };
    ecosystem.is_distribution().then(|| Release { id: id.to_owned(), version: String::new() })
}

/// What a product with its subcomponents stands for. Subcomponents that cannot be used are left out; a product all of whose
/// subcomponents are left out says nothing.
pub fn products(outer: &Named, subcomponents: Option<&[PackagePattern]>) -> Vec<Product> {
    match (outer, subcomponents) {
        (Named::Image(image), None) => vec![Product { image: Some(image.clone()), ..Product::default() }],
        (Named::Package(package), None) => vec![
            Product { package: Some(package.clone()), ..Product::default() },
            Product { inside: Some(package.clone()), ..Product::default() },
        ],
        (Named::Image(image), Some(parts)) => parts
            .iter()
            .map(|part| Product {
                image: Some(image.clone()),
                package: Some(part.clone()),
                ..Product::default()
            })
            .collect(),
        (Named::Package(package), Some(parts)) => parts
            .iter()
            .map(|part| {
                // Some name the product itself among its parts.
                let own = part.ecosystem == package.ecosystem && part.name == package.name;
                let inside = (!own).then(|| package.clone());
                Product { image: None, inside, package: Some(part.clone()) }
            })
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images() {
        let sha = "a".repeat(64);
        for (text, expected) in [
            ("pkg:oci/trivy?repository_url=index.docker.io%2Faquasec%2Ftrivy", Ok("docker.io/aquasec/trivy")),
            ("pkg:oci/trivy?repository_url=ghcr.io/aquasecurity/trivy", Ok("ghcr.io/aquasecurity/trivy")),
            ("pkg:oci/debian?repository_url=index.docker.io/library", Ok("docker.io/library/debian")),
            ("pkg:oci/debian?repository_url=docker.io", Ok("docker.io/library/debian")),
            ("pkg:oci/x?repository_url=https://r.example:5000/a/b/", Ok("r.example:5000/a/b/x")),
            ("pkg:oci/debian", Err(Unusable::Vague)),
            ("pkg:oci/debian?repository_url=docker.io&tag=12", Err(Unusable::Vague)),
            ("pkg:docker/library/debian@12", Err(Unusable::Vague)),
            ("https://example.com/product", Err(Unusable::Unknown)),
            ("pkg:unheardof/x@1", Err(Unusable::Unknown)),
        ] {
            let got = named(text).map(|named| match named {
                Named::Image(image) => (image.digest, image.repository),
                Named::Package(package) => panic!("{package:?}"),
            });
            assert_eq!(got, expected.map(|repository| (None, repository.to_owned())), "{text}");
        }
        let text = format!("pkg:oci/alpine@sha256%3A{sha}");
        let Ok(Named::Image(image)) = named(&text) else { panic!("{text}") };
        assert_eq!(image.digest.unwrap().as_str(), format!("sha256:{sha}"));
    }

    #[test]
    fn packages() {
        let read = |text: &str| match named(text) {
            Ok(Named::Package(p)) => {
                let release = p.release.map(|r| r.to_string()).unwrap_or_default();
                format!("{release} {} {} {} {}", p.name, p.version.unwrap_or_default(), p.arch, p.source)
            }
            other => panic!("{other:?}"),
        };
        for (text, expected) in [
            ("pkg:apk/alpine/busybox", "alpine busybox   false"),
            ("pkg:golang/golang.org/x/net@v0.29.0", " golang.org/x/net v0.29.0  false"),
            ("pkg:deb/ubuntu/curl@7.81.0-1?arch=source&distro=jammy", "ubuntu:22.04 curl 7.81.0-1  true"),
            (
                "pkg:deb/ubuntu/curl@7.81.0-1?arch=arm64&distro=jammy",
                "ubuntu:22.04 curl 7.81.0-1 arm64 false",
            ),
            (
                "pkg:rpm/redhat/curl@7.76.1-26.el9?arch=x86_64&epoch=1",
                "rhel curl 1:7.76.1-26.el9 x86_64 false",
            ),
            ("pkg:pypi/Zope_Interface@5", " zope-interface 5  false"),
        ] {
            assert_eq!(read(text), expected, "{text}");
        }
    }
}
