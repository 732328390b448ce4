//! Regenerates `proto/src/gen` from `proto/plimsoll/v1`. Run with `just gen`; needs no protoc, and does not link
//! the crate that it makes, so that a change of the messages cannot lock itself out.

use std::path::Path;

/// The messages that people and other programs read as JSON.
const PUBLIC: [&str; 23] = [
    "ImagePushed",
    "ImageDeleted",
    "LayerPushed",
    "ClusterChanged",
    "DbUpdated",
    "RollUp",
    "Failure",
    "Change",
    "Cause",
    "Finding",
    "Suppression",
    "Factors",
    "Holder",
    "WorkloadHolder",
    "RepositoryHolder",
    "WorkloadName",
    "Platform",
    "Vulnerability",
    "Kev",
    "SourcedFlag",
    "PackageKey",
    "Release",
    "Partial",
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // As cargo says at run time: a target folder may be shared by several checkouts.
    let here = std::env::var("CARGO_MANIFEST_DIR").unwrap_or_else(|_| env!("CARGO_MANIFEST_DIR").to_owned());
    let here = Path::new(&here);
    let root = here.parent().ok_or("the crate has no parent folder")?;
    let out = root.join("src/gen");
    let files = ["common", "events", "jobs", "artifacts", "facts", "findings"]
        .map(|name| format!("plimsoll/v1/{name}.proto"));
    let descriptors = protox::compile(&files, [root])?;
    prost_build::Config::new()
        .bytes([".plimsoll.v1.SelectedFile"])
        .out_dir(&out)
        .compile_fds(descriptors.clone())?;
    pbjson_build::Builder::new()
        .register_descriptors(&prost::Message::encode_to_vec(&descriptors))?
        .out_dir(&out)
        // What a newer writer adds is passed over, as in protobuf.
        .ignore_unknown_fields()
        .build(&PUBLIC.map(|name| format!(".plimsoll.v1.{name}")))?;
    Ok(())
}
