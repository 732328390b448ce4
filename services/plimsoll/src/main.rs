//! `plimsoll`: the command line, and every role in one process.
//!
//! | module | commands |
//! |---|---|
//! | [`offline`] | `scan`, `sbom`, `db`, `netpol`: the stages' functions in a straight line, no broker |
//! | [`online`] | `findings`, `images`, `status`, `affected`, `actions`, `push-event`, `deploy`, `reconcile`: clients of a gateway |
//! | [`up`] | `up`, `run`: the roles; `rebuild`, `backup`, `restore`: the store |
//! | [`feeds`] | `feeds`: the sources of a running installation |
//! | [`watch`] | `watch`: the agent of a Kubernetes cluster, a client of a gateway |
//! | [`demo`] | `demo`: a registry, a cluster and their findings, from an empty folder |

#![allow(unreachable_pub, reason = "a binary: pub marks what a module offers to the others")]

mod demo;
mod error;
mod feeds;
mod offline;
mod online;
mod output;
mod up;
mod watch;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::error::CliError;

/// Watches container fleets: what changed, can it be reached, what first.
#[derive(Debug, Parser)]
#[command(name = "plimsoll", version, max_term_width = 110, disable_help_subcommand = true)]
struct Command {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    #[command(flatten)]
    Offline(offline::What),
    #[command(flatten)]
    Online(online::What),
    #[command(flatten)]
    Up(up::What),
    /// The sources of vulnerability data: how each is, and what waits for acceptance
    #[command(subcommand)]
    Feeds(feeds::What),
    /// Watch a Kubernetes cluster and tell a gateway what it has, for as long as it runs
    Watch(watch::Args),
    /// Start everything with an embedded registry, push sample images, deploy twice, show the findings
    Demo(demo::Args),
}

fn main() -> ExitCode {
    let command = Command::parse();
    let result = match command.what {
        What::Offline(what) => offline::run(what),
        What::Online(what) => online::run(what),
        What::Up(what) => up::run(what),
        What::Feeds(what) => feeds::run(what),
        What::Watch(args) => watch::run(&args),
        What::Demo(args) => demo::run(args),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            output::report(&error);
            ExitCode::from(2)
        }
    }
}

/// The result of a command: its exit code, or an error, which ends with 2.
type Outcome = Result<ExitCode, CliError>;
