//! Commands without a broker: the stages' functions in a straight line.
//!
//! | module | what |
//! |---|---|
//! | [`read`] | what a person names becomes an Sbom |
//! | [`scan`], [`sbom`] | the commands of that name |
//! | [`db`], [`update`], [`carry`] | building, asking and comparing Dbs; fetching their sources; to registries and back |
//! | [`vex`] | statements that suppress findings |
//! | [`netpol`] | connectivity of directories of manifests |
//! | [`fault`] | the errors of the crates below, with what to do about them |
//! | [`out`] | where documents go |

mod attach;
mod carry;
mod db;
mod fault;
mod netpol;
mod out;
mod read;
mod sbom;
mod scan;
mod update;
mod vex;

use clap::Subcommand;

use crate::Outcome;

#[derive(Debug, Subcommand)]
pub(crate) enum What {
    /// List the vulnerabilities of an image, a directory or an SBOM, most urgent first
    Scan(scan::Args),
    /// List the packages of an image or a directory
    Sbom(sbom::Args),
    /// Build, fetch, ask, compare and pass on vulnerability databases
    #[command(subcommand)]
    Db(db::What),
    /// Who can reach whom, from Kubernetes manifests
    #[command(subcommand)]
    Netpol(netpol::What),
}

pub(crate) use update::table as feeds_table;

/// Runs a command.
pub(crate) fn run(what: What) -> Outcome {
    match what {
        What::Scan(args) => scan::run(&args),
        What::Sbom(args) => sbom::run(&args),
        What::Db(what) => db::run(what),
        What::Netpol(what) => netpol::run(what),
    }
}
