//! `plimsoll netpol`: who can reach whom, from directories of manifests.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Subcommand, ValueEnum};
use plimsoll_model::Timestamp;
use plimsoll_netpol::effects::Urgency;
use plimsoll_netpol::engine::{BlockPods, Direction, Options};
use plimsoll_netpol::format::OutputFormat;
use plimsoll_netpol::report::{
    Accept, ConnectionsOptions, DiffFormat, DiffOptions, LintFormat, Report, ReportError, connections,
    diff_dirs, explain, lint,
};
use plimsoll_netpol::suggest::{Basis, SuggestFormat, SuggestOptions, suggest_dir};

use super::{fault, out, vex};
use crate::error::CliError;
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
        /// md is a comment for a pull request, or the bare table with --compat np-guard
        #[arg(short, long, value_enum, default_value_t = DiffForm::Txt)]
        output: DiffForm,
        /// Exit with 1 if any connection differs, or if a finding is at least as urgent
        #[arg(long, value_enum, value_name = "WHAT")]
        fail_on: Option<FailOn>,
        /// The first directory is what is declared, the second what runs: differences are drift (NETPOL030)
        #[arg(long)]
        drift: bool,
        #[command(flatten)]
        accepted: Accepted,
        #[command(flatten)]
        reading: Reading,
    },
    /// Which policies and rules decide about one connection
    Explain {
        /// Directory of manifests, or one file
        dir: PathBuf,
        /// NAME or NAMESPACE/NAME of a workload, an address outside the cluster, or node/NAME
        #[arg(long, value_name = "WORKLOAD")]
        from: String,
        /// The same of the other end
        #[arg(long, value_name = "WORKLOAD")]
        to: String,
        #[arg(short, long, value_enum, default_value_t = ExplainForm::Txt)]
        output: ExplainForm,
        #[command(flatten)]
        reading: Reading,
    },
    /// Policies that select nothing, rules without effect, workloads without policies, and what makes the answer
    /// uncertain
    Lint {
        /// Directory of manifests, or one file
        dir: PathBuf,
        #[arg(short, long, value_enum, default_value_t = LintForm::Txt)]
        output: LintForm,
        /// Exit with 1 if there is anything to say, or anything as urgent
        #[arg(long, value_enum, value_name = "WHAT")]
        fail_on: Option<Remark>,
        #[command(flatten)]
        accepted: Accepted,
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

/// Findings that do not count.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Accepted {
    /// Rules that say which findings are accepted, in the form that `scan` takes; they are named on standard error
    #[arg(long, value_name = "FILE")]
    ignore_file: Option<PathBuf>,
    /// The cluster that the manifests are of, for rules that name one
    #[arg(long, value_name = "NAME", requires = "ignore_file", default_value_t)]
    cluster: String,
}

impl Accepted {
    fn read(self) -> Result<Accept, CliError> {
        let rules = self.ignore_file.as_deref().map(vex::rules).transpose()?.unwrap_or_default();
        Ok(Accept { rules, cluster: self.cluster, now: Timestamp::now() })
    }
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
    /// The Node objects among the manifests are all nodes of the cluster: what none of them has, no node has
    #[arg(long)]
    all_nodes: bool,
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
pub(crate) enum FailOn {
    /// Any connection that differs
    Change,
    High,
    Medium,
    Low,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum DiffForm {
    Txt,
    Json,
    Csv,
    Md,
    Dot,
    Svg,
    Sarif,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ExplainForm {
    Txt,
    Json,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LintForm {
    Txt,
    Json,
    Sarif,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Remark {
    /// Anything
    Warning,
    High,
    Medium,
    Low,
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
    Svg,
}

impl From<Format> for OutputFormat {
    fn from(format: Format) -> Self {
        match format {
            Format::Txt => Self::Txt,
            Format::Json => Self::Json,
            Format::Csv => Self::Csv,
            Format::Md => Self::Md,
            Format::Dot => Self::Dot,
            Format::Svg => Self::Svg,
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
            all_nodes: reading.all_nodes,
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
            tell(connections(&dir, &options), Limit::Never)
        }
        What::Diff { before, after, output, fail_on, drift, accepted, reading } => {
            let engine: Options = reading.into();
            let format = match output {
                DiffForm::Md if !engine.np_guard => DiffFormat::Comment,
                DiffForm::Sarif => DiffFormat::Sarif,
                DiffForm::Txt => DiffFormat::Rows(OutputFormat::Txt),
                DiffForm::Json => DiffFormat::Rows(OutputFormat::Json),
                DiffForm::Csv => DiffFormat::Rows(OutputFormat::Csv),
                DiffForm::Md => DiffFormat::Rows(OutputFormat::Md),
                DiffForm::Dot => DiffFormat::Rows(OutputFormat::Dot),
                DiffForm::Svg => DiffFormat::Rows(OutputFormat::Svg),
            };
            let limit = match fail_on {
                None => Limit::Never,
                Some(FailOn::Change) => Limit::Anything,
                Some(FailOn::High) => Limit::Urgency(Urgency::High),
                Some(FailOn::Medium) => Limit::Urgency(Urgency::Medium),
                Some(FailOn::Low) => Limit::Urgency(Urgency::Low),
            };
            let accept = accepted.read()?;
            // What is accepted is told, whatever the form.
            let judge = matches!(limit, Limit::Urgency(_)) || !accept.rules.is_empty();
            tell(diff_dirs(&before, &after, &DiffOptions { engine, format, judge, drift, accept }), limit)
        }
        What::Explain { dir, from, to, output, reading } => {
            tell(explain(&dir, &from, &to, output == ExplainForm::Json, &reading.into()), Limit::Never)
        }
        What::Lint { dir, output, fail_on, accepted, reading } => {
            let format = match output {
                LintForm::Txt => LintFormat::Txt,
                LintForm::Json => LintFormat::Json,
                LintForm::Sarif => LintFormat::Sarif,
            };
            let limit = match fail_on {
                None => Limit::Never,
                Some(Remark::Warning) => Limit::Anything,
                Some(Remark::High) => Limit::Urgency(Urgency::High),
                Some(Remark::Medium) => Limit::Urgency(Urgency::Medium),
                Some(Remark::Low) => Limit::Urgency(Urgency::Low),
            };
            tell(lint(&dir, format, &reading.into(), &accepted.read()?), limit)
        }
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
            let limit = if fail_on.is_some() { Limit::Anything } else { Limit::Never };
            tell_report(report.map_err(|e| fault::suggest(&e))?, limit)
        }
    }
}

/// What makes a command end with 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Limit {
    Never,
    Anything,
    /// A finding of this urgency or a higher one.
    Urgency(Urgency),
}

/// Prints an answer, and ends as the limit asks.
fn tell(report: Result<Report, ReportError>, limit: Limit) -> Outcome {
    tell_report(report.map_err(|e| fault::report(&e))?, limit)
}

fn tell_report(report: Report, limit: Limit) -> Outcome {
    for warning in &report.warnings {
        eprintln!("warning: {}", output::clean(warning));
    }
    out::emit(output::for_terminal(&report.text).as_bytes())?;
    let reached = match limit {
        Limit::Never => false,
        Limit::Anything => report.differs,
        Limit::Urgency(least) => report.worst.is_some_and(|worst| worst <= least),
    };
    Ok(if reached { ExitCode::from(1) } else { ExitCode::SUCCESS })
}
