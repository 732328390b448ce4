//! `status`, `push-event`.

use std::process::ExitCode;

use clap::Args;
use plimsoll_model::digest::Digest;
use plimsoll_model::reference::Reference;
use serde_json::{Value, json};

use super::client::Client;
use super::{Format, Gateway};
use crate::Outcome;
use crate::error::CliError;
use crate::output::{clean, print, table};

#[derive(Debug, Args)]
pub struct StatusArgs {
    #[command(flatten)]
    gateway: Gateway,
    /// A digest, or a reference with one
    image: String,
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

#[derive(Debug, Args)]
pub struct PushArgs {
    #[command(flatten)]
    gateway: Gateway,
    /// registry/repository:tag or @digest
    reference: String,
    /// In the bulk lane
    #[arg(long)]
    bulk: bool,
}

/// `plimsoll status`
pub fn status(args: &StatusArgs) -> Outcome {
    let client = Client::new(&args.gateway)?;
    let digest = match args.image.parse::<Digest>() {
        Ok(digest) => digest,
        Err(_) => args
            .image
            .parse::<Reference>()
            .map_err(|error| CliError::new("invalid_reference", error))?
            .digest
            .ok_or_else(|| {
                CliError::new("invalid_reference", "the reference has no digest")
                    .hint("scans are kept by digest: give repository@sha256:…")
            })?,
    };
    let answer = client.get(&format!("/v1/images/{digest}/status"), &[])?;
    if args.output == Format::Json {
        print(&answer.to_string());
        return Ok(ExitCode::SUCCESS);
    }
    let text = |path: &str| clean(answer.pointer(path).and_then(Value::as_str).unwrap_or_default());
    let mut rows = table(&["STAGE", "STATE", "CODE", "DETAIL"]);
    rows.add_row(["manifest".to_owned(), text("/state"), text("/code"), text("/detail")]);
    for layer in answer.get("layers").and_then(Value::as_array).into_iter().flatten() {
        let field = |name: &str| clean(layer.get(name).and_then(Value::as_str).unwrap_or_default());
        let digest: String = field("digest").chars().skip(7).take(12).collect();
        rows.add_row([format!("layer {digest}"), field("state"), field("code"), field("detail")]);
    }
    rows.add_row(["sbom".to_owned(), text("/sbom"), String::new(), String::new()]);
    let scan = if answer.get("scan").is_some_and(Value::is_null) {
        "absent".to_owned()
    } else {
        text("/scan/state")
    };
    rows.add_row(["scan".to_owned(), scan, String::new(), String::new()]);
    print(&rows.to_string());
    Ok(ExitCode::SUCCESS)
}

/// `plimsoll push-event`
pub fn push(args: &PushArgs) -> Outcome {
    let client = Client::new(&args.gateway)?;
    let lane = if args.bulk { "bulk" } else { "hot" };
    let body = json!({ "reference": args.reference, "lane": lane }).to_string().into_bytes();
    let answer = client.post("/v1/images", &[], "application/json", body)?;
    print(&clean(answer.get("reference").and_then(Value::as_str).unwrap_or_default()));
    Ok(ExitCode::SUCCESS)
}
