//! What beside an image in a registry may be a VEX document, by media type and annotations, before it is fetched.
//!
//! | put there by | media type of the part | says what it is in |
//! |---|---|---|
//! | `cosign attest`, under the tag `sha256-….att` or as a referrer | `application/vnd.dsse.envelope.v1+json` | annotation `predicateType` |
//! | `cosign attest` of version 3 | `application/vnd.dev.sigstore.bundle.v0.3+json` | `dev.sigstore.bundle.predicateType` |
//! | BuildKit, Docker Scout | `application/vnd.in-toto+json` | `in-toto.io/predicate-type` |
//! | `oras attach` and the like | `application/vnd.openvex+json` | the media type |

use std::collections::BTreeMap;

/// Annotations that name the type of a predicate.
const PREDICATES: &[&str] =
    &["predicateType", "in-toto.io/predicate-type", "dev.sigstore.bundle.predicateType"];

/// True for a part, or a whole artifact, that may be a VEX document: an envelope that does not say that it has something
/// else in it, or a document of a format of VEX. Of an artifact type that says nothing (an empty one, an image's
/// configuration) the parts have to be looked at.
pub fn may_be_vex(media_type: &str, annotations: &BTreeMap<String, String>) -> bool {
    let media_type = media_type.split(';').next().unwrap_or("").trim().to_ascii_lowercase();
    let predicate = PREDICATES.iter().find_map(|name| annotations.get(*name));
    if predicate.is_some_and(|predicate| !is_vex(predicate)) {
        return false;
    }
    matches!(
        media_type.as_str(),
        "" | "application/vnd.oci.empty.v1+json"
            | "application/vnd.oci.image.config.v1+json"
            | "application/vnd.dsse.envelope.v1+json"
            | "application/vnd.dev.cosign.artifact.att.v1+json"
            | "application/vnd.in-toto+json"
    ) || media_type.starts_with("application/vnd.dev.sigstore.bundle")
        || is_vex(&media_type)
}

/// A predicate or media type of a format of VEX. CycloneDX has one type for all of its documents.
fn is_vex(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    text.contains("vex") || text.contains("csaf") || text.starts_with("https://cyclonedx.org/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_by_their_labels() {
        let dsse = "application/vnd.dsse.envelope.v1+json";
        let bundle = "application/vnd.dev.sigstore.bundle.v0.3+json";
        for (media_type, annotation, expected) in [
            (dsse, ("predicateType", "https://openvex.dev/ns/v0.2.0"), true),
            (dsse, ("predicateType", "https://slsa.dev/provenance/v1"), false),
            (dsse, ("predicateType", "https://spdx.dev/Document"), false),
            (dsse, ("predicateType", "https://cyclonedx.org/bom"), true),
            (dsse, ("other", "x"), true),
            (bundle, ("dev.sigstore.bundle.predicateType", "https://openvex.dev/ns"), true),
            (bundle, ("dev.sigstore.bundle.predicateType", "https://sigstore.dev/cosign/sign/v1"), false),
            (
                "application/vnd.in-toto+json",
                ("in-toto.io/predicate-type", "https://openvex.dev/ns/v0.2.0"),
                true,
            ),
            ("application/vnd.openvex+json; charset=utf-8", ("other", "x"), true),
            ("application/vnd.cyclonedx+json", ("other", "x"), false),
            ("application/vnd.oci.image.layer.v1.tar+gzip", ("other", "x"), false),
            ("application/vnd.dev.cosign.simplesigning.v1+json", ("other", "x"), false),
        ] {
            let annotations = BTreeMap::from([(annotation.0.to_owned(), annotation.1.to_owned())]);
            assert_eq!(may_be_vex(media_type, &annotations), expected, "{media_type} {annotation:?}");
        }
    }
}
