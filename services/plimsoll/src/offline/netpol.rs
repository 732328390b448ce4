//! `plimsoll netpol`: who can reach whom, from directories of manifests.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Subcommand, ValueEnum};
use plimsoll_netpol::engine::{BlockPods, Direction, Options};
use plimsoll_netpol::format::OutputFormat;
use plimsoll_netpol::report::{
    ConnectionsOptions, DiffOptions, Report, ReportError, connections, diff_dirs, explain, lint,
};
use plimsoll_netpol::suggest::{Basis, SuggestFormat, SuggestOptions, suggest_dir};

use super::{fault, out};
use crate::{Outcome, output};

#[derive(Debug, Subcommand)]
pub(crate) enum What {
    /// Every connection that the manifests of a directory allow
    Connections {
        /// Directory of manifests (*.yaml, *.yml, *.json, recursively), or one file
        dir: PathBuf,
        /// Add what rules allow to peers that are not in the manifests, and what is unprotected
        #[arg(long)]
        exposure: bool,
        /// Only rows of this workload: NAME, NAMESPACE/NAME or ingress-controller; may be repeated
        #[arg(long, visible_alias = "focus-workload", value_name = "WORKLOAD")]
        focus: Vec<String>,
        /// Only rows between this peer and the workloads in focus; may be repeated
        #[arg(long, value_name = "WORKLOAD", requires = "focus")]
        focus_peer: Vec<String>,
        /// Only rows into or out of the workloads in focus
        #[arg(long, value_enum, value_name = "DIRECTION", requires = "focus")]
        focus_direction: Option<Way>,
        #[arg(short, long, value_enum, default_value_t = Format::Txt)]
        output: Format,
        #[command(flatten)]
        reading: Reading,
    },
    /// The connections that two directories of manifests do not share
    Diff {
        /// The manifests as they were
        #[arg(long, value_name = "DIR")]
        before: PathBuf,
        /// The manifests as they will be
        #[arg(long, value_name = "DIR")]
        after: PathBuf,
        #[arg(short, long, value_enum, default_value_t = Format::Txt)]
        output: Format,
        /// Exit with 1 if there is any difference
        #[arg(long, value_enum, value_name = "WHAT")]
        fail_on: Option<Change>,
        #[command(flatten)]
        reading: Reading,
    },
    /// Which policies and rules decide about one connection
    Explain {
        /// Directory of manifests, or one file
        dir: PathBuf,
        /// NAME or NAMESPACE/NAME of a workload, or an address outside the cluster
        #[arg(long, value_name = "WORKLOAD")]
        from: String,
        /// The same of the other end
        #[arg(long, value_name = "WORKLOAD")]
        to: String,
        #[command(flatten)]
        reading: Reading,
    },
    /// Policies that select nothing, rules that match nothing, and what makes the answer uncertain
    Lint {
        /// Directory of manifests, or one file
        dir: PathBuf,
        /// Exit with 1 if there is anything to say
        #[arg(long, value_enum, value_name = "WHAT")]
        fail_on: Option<Remark>,
        #[command(flatten)]
        reading: Reading,
    },
    /// The smallest set of policies that an application needs, what they change and what they may break
    Suggest {
        /// Directory of manifests (*.yaml, *.yml, *.json, recursively), or one file
        dir: PathBuf,
        /// Observed flows: what hubble observe -o json prints
        #[arg(long, value_name = "FILE")]
        flows: Option<PathBuf>,
        /// What the policies are made of; the other then shows what they would break
        #[arg(long, value_enum, value_name = "WHAT", default_value_t = Made::Both)]
        from: Made,
        /// Only policies of this namespace; may be repeated. Otherwise all but kube-… and openshift-…
        #[arg(short, long, value_name = "NAME")]
        namespace: Vec<String>,
        /// Let workloads reach every public address on the ports of external hosts that they name
        #[arg(long)]
        allow_external: bool,
        #[arg(short, long, value_enum, default_value_t = Suggested::Yaml)]
        output: Suggested,
        /// Exit with 1 if something may break
        #[arg(long, value_enum, value_name = "WHAT")]
        fail_on: Option<Gap>,
        #[command(flatten)]
        reading: Reading,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Made {
    /// What manifests declare and flows show
    Both,
    /// What manifests declare
    Declared,
    /// What flows show
    Flows,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Suggested {
    /// The policies, the rest as comments
    Yaml,
    /// Policies, needs, what may break, and the predicted difference
    Json,
    /// A comment for a pull request
    Md,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Gap {
    Gap,
}

/// How to read what Kubernetes leaves open.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Reading {
    /// Answer as another tool does where the two differ
    #[arg(long, value_enum, value_name = "TOOL")]
    compat: Option<Compat>,
    /// Whether address blocks of policies match pods, which Kubernetes leaves to the network plugin
    #[arg(long, value_enum, value_name = "MODE", default_value_t = Blocks::Never)]
    block_pods: Blocks,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Compat {
    NpGuard,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Blocks {
    /// Blocks are the world outside
    Never,
    /// Blocks match pods by address
    Match,
    /// As never; what match would add is told as a caveat
    Unknown,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Change {
    Change,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Remark {
    Warning,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Way {
    Ingress,
    Egress,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    Txt,
    Json,
    Csv,
    Md,
    Dot,
}

impl From<Format> for OutputFormat {
    fn from(format: Format) -> Self {
        match format {
            Format::Txt => Self::Txt,
            Format::Json => Self::Json,
            Format::Csv => Self::Csv,
            Format::Md => Self::Md,
            Format::Dot => Self::Dot,
        }
    }
}

impl From<Reading> for Options {
    fn from(reading: Reading) -> Self {
        Self {
            np_guard: reading.compat == Some(Compat::NpGuard),
            block_pods: match reading.block_pods {
                Blocks::Never => BlockPods::Never,
                Blocks::Match => BlockPods::Match,
                Blocks::Unknown => BlockPods::Unknown,
            },
        }
    }
}

/// Runs a command.
pub(crate) fn run(what: What) -> Outcome {
    match what {
        What::Connections { dir, exposure, focus, focus_peer, focus_direction, output, reading } => {
            let options = ConnectionsOptions {
                engine: reading.into(),
                format: output.into(),
                exposure,
                focus,
                focus_peers: focus_peer,
                focus_direction: focus_direction.map(|way| match way {
                    Way::Ingress => Direction::Ingress,
                    Way::Egress => Direction::Egress,
                }),
            };
            tell(connections(&dir, &options), false)
        }
        What::Diff { before, after, output, fail_on, reading } => {
            let options = DiffOptions { engine: reading.into(), format: output.into() };
            tell(diff_dirs(&before, &after, &options), fail_on.is_some())
        }
        What::Explain { dir, from, to, reading } => tell(explain(&dir, &from, &to, &reading.into()), false),
        What::Lint { dir, fail_on, reading } => tell(lint(&dir, &reading.into()), fail_on.is_some()),
        What::Suggest { dir, flows, from, namespace, allow_external, output, fail_on, reading } => {
            let options = SuggestOptions {
                engine: reading.into(),
                basis: match from {
                    Made::Both => Basis::Both,
                    Made::Declared => Basis::Declared,
                    Made::Flows => Basis::Flows,
                },
                namespaces: namespace,
                external: allow_external,
            };
            let format = match output {
                Suggested::Yaml => SuggestFormat::Yaml,
                Suggested::Json => SuggestFormat::Json,
                Suggested::Md => SuggestFormat::Md,
            };
            let report = suggest_dir(&dir, flows.as_deref(), &options, format);
            tell_report(report.map_err(|e| fault::suggest(&e))?, fail_on.is_some())
        }
    }
}

/// Prints an answer; with `fail`, one that differs ends with 1.
fn tell(report: Result<Report, ReportError>, fail: bool) -> Outcome {
    tell_report(report.map_err(|e| fault::report(&e))?, fail)
}

fn tell_report(report: Report, fail: bool) -> Outcome {
    for warning in &report.warnings {
        eprintln!("warning: {}", output::clean(warning));
    }
    out::emit(output::for_terminal(&report.text).as_bytes())?;
    Ok(if fail && report.differs { ExitCode::from(1) } else { ExitCode::SUCCESS })
}
