//! Registries and manifests; the bytes of a layer become an Extract

pub mod layer;
pub mod select;
