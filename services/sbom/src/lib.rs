//! The sbom role: configuration and wiring
