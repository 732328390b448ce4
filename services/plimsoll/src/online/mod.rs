//! Commands that ask a gateway.

mod client;
mod deploy;
mod findings;
mod images;
mod reconcile;

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use crate::Outcome;

pub use client::Client;
pub use findings::{changes_of, print_actions, print_findings};

#[derive(Debug, Subcommand)]
pub enum What {
    /// Open findings, in the order in which to act
    Findings(findings::FindingsArgs),
    /// The images that are known, on what they are built, and what is past its support
    Images(images::ImagesArgs),
    /// Where the scan of an image is
    Status(images::StatusArgs),
    /// Where a vulnerability or package is, and whether it can be reached
    Affected(findings::AffectedArgs),
    /// What to do first, and the share of risk that each step removes
    Actions(findings::ActionsArgs),
    /// Ask for an image to be read, as if its push had been announced
    PushEvent(images::PushArgs),
    /// Tell what a cluster runs
    Deploy(deploy::DeployArgs),
    /// List the tags of a registry and ask for what webhooks missed
    Reconcile(reconcile::ReconcileArgs),
}

/// Which gateway, with which token.
#[derive(Debug, Clone, Args)]
pub struct Gateway {
    /// Base URL of the gateway; default: the one that `plimsoll up` wrote to the data folder
    #[arg(long, env = "PLIMSOLL_URL", value_name = "URL")]
    pub url: Option<String>,
    /// Token; default: the data folder's own
    #[arg(long, env = "PLIMSOLL_TOKEN", value_name = "TOKEN", hide_env_values = true)]
    pub token: Option<String>,
    /// Data folder of `plimsoll up`
    #[arg(long, env = "PLIMSOLL_DATA", value_name = "DIR", default_value = ".plimsoll")]
    pub data: PathBuf,
}

/// How an answer is printed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    #[default]
    Table,
    Json,
}

/// Runs a command.
pub fn run(what: What) -> Outcome {
    match what {
        What::Findings(args) => findings::findings(&args),
        What::Images(args) => images::images(&args),
        What::Status(args) => images::status(&args),
        What::Affected(args) => findings::affected(&args),
        What::Actions(args) => findings::actions(&args),
        What::PushEvent(args) => images::push(&args),
        What::Deploy(args) => deploy::deploy(&args),
        What::Reconcile(args) => reconcile::reconcile(&args),
    }
}
