//! `images`, `status`, `push-event`.

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
pub struct ImagesArgs {
    #[command(flatten)]
    gateway: Gateway,
    /// Only those on releases that their distributions no longer support
    #[arg(long)]
    eol: bool,
    /// How many at most
    #[arg(long, default_value_t = 1000)]
    limit: usize,
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

fn joined(value: &Value, name: &str) -> String {
    let items = value.get(name).and_then(Value::as_array).into_iter().flatten();
    clean(&items.filter_map(Value::as_str).collect::<Vec<_>>().join(", "))
}

/// `plimsoll images`
pub fn images(args: &ImagesArgs) -> Outcome {
    let client = Client::new(&args.gateway)?;
    let mut found: Vec<Value> = Vec::new();
    let mut after: Option<String> = None;
    while found.len() < args.limit {
        let left = (args.limit - found.len()).min(1000);
        let mut query = vec![("limit", left.to_string())];
        if args.eol {
            query.push(("eol", "true".to_owned()));
        }
        query.extend(after.take().map(|after| ("after", after)));
        let mut answer = client.get("/v1/images", &query)?;
        after = answer.get("next").and_then(Value::as_str).map(str::to_owned);
        if let Some(Value::Array(images)) = answer.get_mut("images").map(Value::take) {
            found.extend(images);
        }
        if after.is_none() {
            break;
        }
    }
    if args.output == Format::Json {
        print(&json!({ "images": found, "next": after }).to_string());
        return Ok(ExitCode::SUCCESS);
    }
    if found.is_empty() {
        print("no images");
        return Ok(ExitCode::SUCCESS);
    }
    let mut rows =
        table(&["IMAGE", "PLATFORM", "REPOSITORIES", "STATE", "BUILT ON", "PAST SUPPORT", "HELD BY"]);
    for image in &found {
        let text = |path: &str| clean(image.pointer(path).and_then(Value::as_str).unwrap_or_default());
        rows.add_row([
            text("/digest").chars().skip(7).take(12).collect(),
            text("/platform"),
            joined(image, "repositories"),
            text("/state"),
            text("/base/name"),
            joined(image, "end_of_life"),
            joined(image, "holders"),
        ]);
    }
    print(&rows.to_string());
    if after.is_some() {
        print("… there are more: --limit takes more");
    }
    Ok(ExitCode::SUCCESS)
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
    let scan = answer.get("scan").unwrap_or(&Value::Null);
    if let Some(base) = scan.get("base").filter(|base| !base.is_null()) {
        let of = |name: &str| scan.pointer(name).and_then(Value::as_u64).unwrap_or_default();
        let name = clean(base.get("name").and_then(Value::as_str).unwrap_or_default());
        let layers = answer.get("layers").and_then(Value::as_array).map_or(0, Vec::len);
        print(&format!(
            "Built on {name}, {} of {layers} layers: {} packages came with it, {} with the application.",
            of("/base/layers"),
            of("/came_with/base"),
            of("/came_with/application"),
        ));
    }
    let ended = joined(scan, "end_of_life");
    if !ended.is_empty() {
        print(&format!("No longer supported by its distribution: {ended}."));
    }
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
