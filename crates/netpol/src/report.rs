//! Answers for a command line: from directories of manifests to printed text.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use thiserror::Error;

use crate::diff::{Snapshot, diff_snapshots};
use crate::engine::{Connectivity, Direction, Endpoint, Options, Peer, Warning};
use crate::entries::ingress_rows;
use crate::format::{
    INGRESS_CONTROLLER, OutputFormat, PotentialReport, PrintedRow, is_range, print_connections, print_diff,
};
use crate::load::{LoadError, Loaded, load};
use crate::objects::ParseOptions;
use crate::potential::potential;

/// Why there is no answer.
#[derive(Debug, Error)]
pub enum ReportError {
    #[error(transparent)]
    Load(#[from] LoadError),
    #[error("no workload named {name}")]
    NoSuchWorkload { name: String },
}

impl ReportError {
    /// Stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Load(error) => error.code(),
            Self::NoSuchWorkload { .. } => "no_such_workload",
        }
    }
}

/// What to print of the connections of a directory.
#[derive(Debug, Clone, Default)]
pub struct ConnectionsOptions {
    /// Reading where Kubernetes leaves it open.
    pub engine: Options,
    pub format: OutputFormat,
    /// Adds the exposure to peers that rules imply.
    pub exposure: bool,
    /// Only rows of these workloads: `name`, `namespace/name`, or `ingress-controller`.
    pub focus: Vec<String>,
    /// Only rows between these and the workloads in focus.
    pub focus_peers: Vec<String>,
    /// Only rows into (ingress) or out of (egress) the workloads in focus.
    pub focus_direction: Option<Direction>,
}

/// What to print of the difference of two directories.
#[derive(Debug, Clone, Default)]
pub struct DiffOptions {
    /// Reading where Kubernetes leaves it open.
    pub engine: Options,
    pub format: OutputFormat,
}

/// A printed answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    pub text: String,
    /// True when a difference has rows; for connections, always false.
    pub differs: bool,
    /// Lines for standard error.
    pub warnings: Vec<String>,
}

fn loaded(directory: &Path, options: &Options) -> Result<Loaded, LoadError> {
    load(directory, ParseOptions { np_guard: options.np_guard })
}

fn words(warnings: &[Warning]) -> impl Iterator<Item = String> {
    warnings.iter().map(|warning| format!("{}: {} ({})", warning.object, warning.message, warning.code))
}

/// The connections of the manifests below a directory, printed.
///
/// # Errors
/// A directory that cannot be read, an object that Kubernetes would refuse, or a focus on a workload that is not there.
pub fn connections(directory: &Path, options: &ConnectionsOptions) -> Result<Report, ReportError> {
    let Loaded { state, mut warnings } = loaded(directory, &options.engine)?;
    let connectivity = Connectivity::build(&state, &options.engine);
    warnings.extend(words(connectivity.warnings()));
    let names: Vec<String> = connectivity.endpoints().iter().map(ToString::to_string).collect();
    let name = |peer: Peer| match peer {
        Peer::Workload(index) => names.get(index).cloned().unwrap_or_default(),
        Peer::Range(range) => format!("{range}[External]"),
    };
    let mut rows: Vec<PrintedRow> = connectivity
        .rows()
        .iter()
        .map(|(source, destination, conn)| PrintedRow {
            src: name(source),
            dst: name(destination),
            conn: conn.to_string(),
        })
        .collect();
    let (ingress, blocked) = ingress_rows(&state, &connectivity);
    for (workload, conn) in &ingress {
        let dst = name(Peer::Workload(*workload));
        rows.push(PrintedRow { src: INGRESS_CONTROLLER.into(), dst, conn: conn.to_string() });
    }
    for (workload, via) in blocked {
        let workload = name(Peer::Workload(workload));
        warnings.push(format!(
            "{via} names {workload} as a backend, but network policies block it (ingress_blocked)"
        ));
    }
    let mut workloads: Vec<String> = connectivity
        .endpoints()
        .iter()
        .filter(|endpoint| !endpoint.assumed)
        .map(ToString::to_string)
        .collect();
    let mut report = options.exposure.then(|| potential(&state, &connectivity));
    if !options.focus.is_empty() {
        let focus = Focus::new(options);
        for wanted in &options.focus {
            let known = workloads.iter().any(|workload| matches(workload, wanted));
            let controller = wanted == "ingress-controller" && !ingress.is_empty();
            if !known && !controller {
                return Err(ReportError::NoSuchWorkload { name: wanted.clone() });
            }
        }
        rows.retain(|row| focus.keeps(row));
        workloads.retain(|workload| focus.is_in(workload));
        if let Some(report) = &mut report {
            focus.narrow(report);
        }
    }
    let text = print_connections(&rows, report.as_ref(), &workloads, options.format);
    Ok(Report { text, differs: false, warnings })
}

/// `ns/name[Kind]` against `name` or `ns/name`.
fn matches(peer: &str, wanted: &str) -> bool {
    if peer == INGRESS_CONTROLLER {
        return wanted == "ingress-controller";
    }
    if is_range(peer) {
        return false;
    }
    let full = peer.rsplit_once('[').map_or(peer, |(full, _)| full);
    full == wanted || full.split_once('/').is_some_and(|(_, name)| name == wanted)
}

struct Focus<'a> {
    workloads: BTreeSet<&'a str>,
    peers: BTreeSet<&'a str>,
    direction: Option<Direction>,
}

impl<'a> Focus<'a> {
    fn new(options: &'a ConnectionsOptions) -> Self {
        Self {
            workloads: options.focus.iter().map(String::as_str).collect(),
            peers: options.focus_peers.iter().map(String::as_str).collect(),
            direction: options.focus_direction,
        }
    }

    fn is_in(&self, peer: &str) -> bool {
        self.workloads.iter().any(|wanted| matches(peer, wanted))
    }

    fn keeps(&self, row: &PrintedRow) -> bool {
        let peer =
            |other: &str| self.peers.is_empty() || self.peers.iter().any(|wanted| matches(other, wanted));
        let out = self.direction != Some(Direction::Ingress) && self.is_in(&row.src) && peer(&row.dst);
        let into = self.direction != Some(Direction::Egress) && self.is_in(&row.dst) && peer(&row.src);
        out || into
    }

    fn narrow(&self, report: &mut PotentialReport) {
        report.ingress.retain(|row| self.direction != Some(Direction::Egress) && self.is_in(&row.workload));
        report.egress.retain(|row| self.direction != Some(Direction::Ingress) && self.is_in(&row.workload));
        report.unprotected.retain(|(workload, direction)| {
            let shown = match self.direction {
                None => true,
                Some(Direction::Ingress) => *direction == "Ingress",
                Some(Direction::Egress) => *direction == "Egress",
            };
            shown && self.is_in(workload)
        });
    }
}

/// The difference of the manifests below two directories, printed.
///
/// # Errors
/// As [`connections`], for either directory.
pub fn diff_dirs(before: &Path, after: &Path, options: &DiffOptions) -> Result<Report, ReportError> {
    let (before, after) = (loaded(before, &options.engine)?, loaded(after, &options.engine)?);
    let mut warnings = before.warnings;
    warnings.extend(after.warnings);
    let before = Snapshot::new(Arc::new(before.state), &options.engine);
    let after = Snapshot::new(Arc::new(after.state), &options.engine);
    warnings.extend(words(after.connectivity.warnings()));
    let diff = diff_snapshots(&before, &after, options.format == OutputFormat::Dot);
    Ok(Report { text: print_diff(&diff, options.format), differs: !diff.is_empty(), warnings })
}

/// Why one workload of a directory may connect to another, or not, as text. `from` and `to` are `name`,
/// `namespace/name`, or an address outside the cluster.
///
/// # Errors
/// As [`connections`].
pub fn explain(directory: &Path, from: &str, to: &str, options: &Options) -> Result<Report, ReportError> {
    let Loaded { state, warnings } = loaded(directory, options)?;
    let connectivity = Connectivity::build(&state, options);
    let peer = |wanted: &str, direction: Direction| {
        let address = wanted.parse().ok().and_then(|address| connectivity.range_of(address, direction));
        let named = |endpoint: &Endpoint| !endpoint.assumed && matches(&endpoint.to_string(), wanted);
        let workload = || connectivity.endpoints().iter().position(named).map(Peer::Workload);
        let found = address.map(Peer::Range).or_else(workload);
        found.ok_or_else(|| ReportError::NoSuchWorkload { name: wanted.to_owned() })
    };
    let (source, destination) = (peer(from, Direction::Ingress)?, peer(to, Direction::Egress)?);
    let explained = connectivity.explain(source, destination);
    let mut text = format!("{from} => {to} : {}\n", explained.conn);
    for (side, word, name) in [(&explained.egress, "egress", from), (&explained.ingress, "ingress", to)] {
        let Some(side) = side else { continue };
        text.push_str(&format!("{word} of {name}: {}\n", side.conn));
        if side.decisions.is_empty() {
            text.push_str("  no policy decides: allowed by default\n");
        }
        for decision in &side.decisions {
            let source = decision.source.as_ref().map(|source| format!(" [{source}]")).unwrap_or_default();
            text.push_str(&format!("  {decision}{source}\n"));
        }
    }
    Ok(Report { text, differs: false, warnings })
}

/// What is odd about the policies of a directory: one line each, `code object: message`. `differs` tells whether
/// there is any.
///
/// # Errors
/// As [`connections`].
pub fn lint(directory: &Path, options: &Options) -> Result<Report, ReportError> {
    let Loaded { state, warnings } = loaded(directory, options)?;
    let connectivity = Connectivity::build(&state, options);
    let line = |warning: &Warning| {
        let source = state.get(&warning.object).and_then(|object| object.meta().source.clone());
        let source = source.map(|source| format!(" [{source}]")).unwrap_or_default();
        format!("{} {}: {}{source}\n", warning.code, warning.object, warning.message)
    };
    let text: String = connectivity.warnings().iter().map(line).collect();
    Ok(Report { differs: !text.is_empty(), text, warnings })
}
