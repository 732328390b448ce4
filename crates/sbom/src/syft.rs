//! syft-json (Syft's own format, schema 11 and later) → Sbom.

use plimsoll_model::Sbom;
use plimsoll_model::sbom::{Component, Confidence, Distribution, Location};
use rustc_hash::FxHashMap;
use serde_json::Value;

use crate::document::{self, DocumentError, MAX_COMPONENTS, list, text};
use crate::identity;
use crate::import;

/// Reads a syft-json document.
pub fn read(bytes: &[u8]) -> Result<Sbom, DocumentError> {
    from_value(&document::parse(bytes)?)
}

/// What Syft knows from a program's content alone is a guess, as ours is.
pub(crate) fn confidence(found_by: &str) -> Confidence {
    match found_by {
        "binary-classifier-cataloger" | "binary-cataloger" => Confidence::Low,
        _ => Confidence::High,
    }
}

pub(crate) fn from_value(document: &Value) -> Result<Sbom, DocumentError> {
    if document.get("artifacts").is_none() {
        return Err(DocumentError::UnknownFormat);
    }
    let artifacts = list(document, "artifacts");
    if artifacts.len() > MAX_COMPONENTS {
        return Err(DocumentError::TooManyComponents);
    }
    let source = document.get("source").unwrap_or(&Value::Null);
    let metadata = source.get("metadata").unwrap_or(&Value::Null);
    let input = text(metadata, "userInput");
    let mut sbom = document::empty(if input.is_empty() { text(source, "name") } else { input });
    sbom.image = text(metadata, "manifestDigest").parse().ok();
    sbom.distribution =
        document.get("distro").filter(|distro| !text(distro, "id").is_empty()).map(|distro| Distribution {
            release: identity::canonical(text(distro, "id"), text(distro, "versionID")),
            codename: text(distro, "versionCodename").to_owned(),
            pretty_name: text(distro, "prettyName").to_owned(),
            like: list(distro, "idLike").iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        });
    let release = sbom.distribution.as_ref().map(|distribution| &distribution.release);
    let mut by_id: FxHashMap<&str, usize> = FxHashMap::default();
    let mut components: Vec<Component> = Vec::new();
    let mut nameless = 0;
    for artifact in artifacts {
        let key = text(artifact, "purl").parse().ok().and_then(|purl| identity::component(&purl, release));
        let Some(key) = key else {
            nameless += 1;
            continue;
        };
        by_id.insert(text(artifact, "id"), components.len());
        // `/app.war:WEB-INF/lib/x.jar` is a file of an archive.
        let inner = artifact
            .get("metadata")
            .and_then(|metadata| text(metadata, "virtualPath").split_once(':'))
            .map(|(file, inner)| (file, inner.replace(':', "!/")));
        let path = |location: &Value| {
            let path = text(location, "path");
            let plain = path.trim_start_matches('/');
            match &inner {
                Some((file, inner)) if *file == path => format!("{plain}!/{inner}"),
                _ => plain.to_owned(),
            }
        };
        let license = |license: &Value| match text(license, "spdxExpression") {
            "" => text(license, "value").to_owned(),
            expression => expression.to_owned(),
        };
        components.push(Component {
            purl: identity::purl(&key).to_string(),
            key,
            display_name: text(artifact, "name").to_owned(),
            // Syft's layers are named by diff id, not by the digest of the blob.
            locations: list(artifact, "locations")
                .iter()
                .map(|location| Location { path: path(location), layer: None })
                .collect(),
            licenses: list(artifact, "licenses")
                .iter()
                .map(license)
                .filter(|text| !text.is_empty())
                .collect(),
            owned_by: None,
            confidence: confidence(text(artifact, "foundBy")),
            supplier: artifact.get("metadata").map_or("", |metadata| text(metadata, "maintainer")).to_owned(),
            found_by: text(artifact, "foundBy").to_owned(),
            depends_on: Vec::new(),
            introduced: None,
        });
    }
    for relationship in list(document, "artifactRelationships") {
        let ends = (by_id.get(text(relationship, "parent")), by_id.get(text(relationship, "child")));
        let (Some(&parent), Some(&child)) = ends else { continue };
        let purl = |n: usize| components.get(n).map(|component: &Component| component.purl.clone());
        match text(relationship, "type") {
            "dependency-of" => {
                if let (Some(purl), Some(child)) = (purl(parent), components.get_mut(child)) {
                    child.depends_on.push(purl);
                }
            }
            // A distribution package that brought a language package's files.
            "ownership-by-file-overlap" => {
                if let (Some(purl), Some(child)) = (purl(parent), components.get_mut(child))
                    && !child.key.package.ecosystem.is_distribution()
                {
                    child.owned_by = Some(purl);
                }
            }
            _ => {}
        }
    }
    import::finish(&mut sbom, components, nameless);
    Ok(sbom)
}
