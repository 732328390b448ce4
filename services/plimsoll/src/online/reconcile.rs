//! `reconcile`: what webhooks missed.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use plimsoll_image::registry::Registries;
use plimsoll_model::reference::Reference;
use serde_json::json;

use super::Gateway;
use super::client::Client;
use crate::Outcome;
use crate::error::CliError;
use crate::output::{clean, print};

#[derive(Debug, Args)]
pub struct ReconcileArgs {
    #[command(flatten)]
    gateway: Gateway,
    /// Configuration file with the registries
    #[arg(long, value_name = "FILE", env = "PLIMSOLL_CONFIG")]
    config: Option<PathBuf>,
    /// Host or alias of a configured registry
    registry: String,
    /// Only these repositories; default: all that the registry lists
    repositories: Vec<String>,
}

/// `plimsoll reconcile`
///
/// Lists tags, asks the gateway which digests it knows, and submits the others in the bulk lane.
pub fn reconcile(args: &ReconcileArgs) -> Outcome {
    let client = Client::new(&args.gateway)?;
    let config = plimsoll_process::configuration(args.config.as_deref())?;
    let registries =
        Registries::new(&config.registries).map_err(|error| CliError::new("registries", error))?;
    let failed = |error: plimsoll_image::registry::RegistryError| CliError::new(error.code(), error);
    let limit = usize::try_from(config.limits.list_entries).unwrap_or(usize::MAX);
    let runtime = crate::up::runtime()?;
    let identity = registries.identity(&args.registry).map(str::to_owned).ok_or_else(|| {
        CliError::new("registry_not_configured", format!("no registry is known as {:?}", args.registry))
            .hint("add it under registries: in the configuration")
    })?;
    let repositories = if args.repositories.is_empty() {
        runtime.block_on(registries.catalog(&identity, limit)).map_err(failed)?.names
    } else {
        args.repositories.clone()
    };
    let (mut known, mut asked, mut unresolved) = (0u64, 0u64, 0u64);
    for repository in &repositories {
        for tag in runtime.block_on(registries.tags(&identity, repository, limit)).map_err(failed)?.names {
            let reference = Reference {
                registry: identity.clone(),
                repository: repository.clone(),
                tag: Some(tag.clone()),
                digest: None,
            };
            let digest = match runtime.block_on(registries.resolve(&reference)) {
                Ok(resolved) => resolved.digest,
                Err(error) => {
                    unresolved += 1;
                    print(&clean(&format!("{reference}: {}: {error}", error.code())));
                    continue;
                }
            };
            let source = format!("{identity}/{repository}:{tag}");
            let planned = match client.get(&format!("/v1/images/{digest}/status"), &[]) {
                Ok(status) => {
                    let sources = status.get("sources").and_then(serde_json::Value::as_array);
                    sources.is_some_and(|s| s.iter().any(|s| s.as_str() == Some(source.as_str())))
                }
                Err(error) if error.code == "not_found" => false,
                Err(error) => return Err(error),
            };
            if planned {
                known += 1;
                continue;
            }
            let body = json!({ "reference": reference.to_string(), "lane": "bulk" }).to_string().into_bytes();
            client.post("/v1/images", &[], "application/json", body)?;
            asked += 1;
            print(&clean(&reference.to_string()));
        }
    }
    print(&format!("{known} known, {asked} asked for, {unresolved} not resolved"));
    Ok(if unresolved > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
