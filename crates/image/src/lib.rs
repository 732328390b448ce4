//! Registries and manifests; the bytes of a layer become an Extract
