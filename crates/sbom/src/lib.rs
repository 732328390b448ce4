//! The Extracts of an image become one Sbom; CycloneDX out and in
