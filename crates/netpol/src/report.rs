//! Answers for a command line: from directories of manifests to printed text.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use plimsoll_model::Timestamp;
use plimsoll_model::vex::Statement;
use serde::Serialize;
use thiserror::Error;

use crate::diff::{Snapshot, diff_snapshots};
use crate::effects::{Effect, Judged, Urgency, drift, effects};
use crate::engine::{Connectivity, Direction, Explanation, Options, Peer, Side, Warning};
use crate::entries::ingress_rows;
use crate::exposure::{exposures, is_doubt};
use crate::format::{
    INGRESS_CONTROLLER, Located, OutputFormat, PotentialReport, PrintedRow, is_range, print_comment,
    print_connections, print_diff, print_json, print_lines, print_sarif,
};
use crate::load::{Lines, LoadError, Loaded, load};
use crate::nodes::Nodes;
use crate::objects::ParseOptions;
use crate::potential::potential;
use crate::remarks::{self, of_absent, remarks};
use crate::state::ClusterState;

/// Why there is no answer.
#[derive(Debug, Error)]
pub enum ReportError {
    #[error(transparent)]
    Load(#[from] LoadError),
    #[error("no workload named {name}")]
    NoSuchWorkload { name: String },
    #[error("{name} may be {}", among.join(" or "))]
    SeveralWorkloads {
        name: String,
        /// Printed, at most [`MAX_AMONG`].
        among: Vec<String>,
    },
    #[error("neither {from} nor {to} is a workload")]
    NoWorkload { from: String, to: String },
}

/// Workloads that an ambiguous name is said to mean.
const MAX_AMONG: usize = 5;

impl ReportError {
    /// Stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Load(error) => error.code(),
            Self::NoSuchWorkload { .. } => "no_such_workload",
            Self::SeveralWorkloads { .. } => "several_workloads",
            Self::NoWorkload { .. } => "no_workload",
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

/// Form of a printed difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DiffFormat {
    /// The connections that differ.
    Rows(OutputFormat),
    /// A comment on a pull request, in Markdown: what matters, with the connections folded.
    Comment,
    /// What the change means, as SARIF 2.1.0.
    Sarif,
}

impl Default for DiffFormat {
    fn default() -> Self {
        Self::Rows(OutputFormat::Txt)
    }
}

/// What to print of the difference of two directories.
#[derive(Debug, Clone, Default)]
pub struct DiffOptions {
    /// Reading where Kubernetes leaves it open.
    pub engine: Options,
    pub format: DiffFormat,
    /// Look for what the change means, whatever the form: [`Report::worst`] is known then.
    pub judge: bool,
    /// The first directory is what is declared, the second what runs: differences are drift.
    pub drift: bool,
    /// Findings that the operator accepts.
    pub accept: Accept,
}

/// Rules that accept findings.
#[derive(Debug, Clone, Default)]
pub struct Accept {
    /// Ignore rules; other statements accept nothing here.
    pub rules: Vec<Statement>,
    /// The cluster that the manifests are of; a rule that names another, or one where this is empty, accepts nothing.
    pub cluster: String,
    /// Rules that have expired by then accept nothing.
    pub now: Timestamp,
}

impl Accept {
    /// The findings that stand, and those that are accepted, each with the first rule that accepts it.
    fn sift(&self, found: Vec<Effect>) -> (Vec<Effect>, Vec<(Effect, &Statement)>) {
        let (mut standing, mut accepted) = (Vec::new(), Vec::new());
        for effect in found {
            match self.rules.iter().find(|rule| effect.accepted_by(rule, &self.cluster, self.now)) {
                Some(rule) => accepted.push((effect, rule)),
                None => standing.push(effect),
            }
        }
        (standing, accepted)
    }
}

/// What is accepted, for standard error: it is never silently left out.
fn accepted_words<'a>(accepted: &'a [(Effect, &Statement)]) -> impl Iterator<Item = String> + 'a {
    accepted.iter().map(|(effect, rule)| {
        let until = rule.expires.map_or_else(|| "never expires".to_owned(), |at| format!("until {at}"));
        format!("accepted: {} {} ({}: {}, {until})", effect.code, effect.message, rule.document, rule.reason)
    })
}

/// Form of printed remarks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LintFormat {
    #[default]
    Txt,
    Json,
    Sarif,
}

/// A printed answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    pub text: String,
    /// True when a difference has rows; for connections, always false.
    pub differs: bool,
    /// The most urgent finding, where findings were looked for and there is one.
    pub worst: Option<Urgency>,
    /// Lines for standard error.
    pub warnings: Vec<String>,
}

fn loaded(directory: &Path, options: &Options) -> Result<Loaded, LoadError> {
    load(directory, ParseOptions { np_guard: options.np_guard })
}

/// Warnings as lines.
fn words<'a>(warnings: impl Iterator<Item = &'a Warning>) -> impl Iterator<Item = String> {
    let (absent, others): (Vec<_>, Vec<_>) = warnings.partition(|warning| !warning.absent.is_empty());
    let others = others.into_iter();
    let others = others.map(|warning| format!("{}: {} ({})", warning.object, warning.message, warning.code));
    others.chain(of_absent(absent).map(|(code, effect)| format!("{} ({code})", effect.message)))
}

/// The connections of the manifests below a directory, printed.
///
/// # Errors
/// A directory that cannot be read, an object that Kubernetes would refuse, or a focus on a workload that is not there.
pub fn connections(directory: &Path, options: &ConnectionsOptions) -> Result<Report, ReportError> {
    let Loaded { state, mut warnings } = loaded(directory, &options.engine)?;
    let connectivity = Connectivity::build(&state, &options.engine);
    warnings.extend(words(connectivity.warnings().iter()));
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
    Ok(Report { text, differs: false, worst: None, warnings })
}

/// `ns/name[Kind]` against `name`, `ns/name` or the whole.
fn matches(peer: &str, wanted: &str) -> bool {
    if peer == INGRESS_CONTROLLER {
        return wanted == "ingress-controller";
    }
    if is_range(peer) {
        return false;
    }
    let full = peer.rsplit_once('[').map_or(peer, |(full, _)| full);
    peer == wanted || full == wanted || full.split_once('/').is_some_and(|(_, name)| name == wanted)
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

/// Findings with the files of their objects: of the first state that knows them.
fn located(effects: &[Effect], states: &[&ClusterState]) -> Vec<Located> {
    let mut lines = Lines::default();
    let mut locate = |effect: &Effect| {
        let mut places: Vec<(String, Option<usize>)> = Vec::new();
        for key in &effect.objects {
            let source = states.iter().find_map(|state| state.get(key)?.meta().source.clone());
            let place = source.map(|file| {
                let line = lines.find(&file, key);
                (file, line)
            });
            places.extend(place.filter(|place| !places.contains(place)));
        }
        Located { effect: effect.clone(), places }
    };
    effects.iter().map(&mut locate).collect()
}

/// As [`located`], with the reason of the rule that accepts each.
fn located_accepted(accepted: &[(Effect, &Statement)], states: &[&ClusterState]) -> Vec<(Located, String)> {
    let effects: Vec<Effect> = accepted.iter().map(|(effect, _)| effect.clone()).collect();
    let reasons = accepted.iter().map(|(_, rule)| rule.reason.clone());
    located(&effects, states).into_iter().zip(reasons).collect()
}

/// The difference of the manifests below two directories, printed. Nothing is printed when there is none, but for
/// SARIF, which then has no results.
///
/// # Errors
/// As [`connections`], for either directory.
pub fn diff_dirs(before: &Path, after: &Path, options: &DiffOptions) -> Result<Report, ReportError> {
    let (before, after) = (loaded(before, &options.engine)?, loaded(after, &options.engine)?);
    let mut warnings = before.warnings;
    warnings.extend(after.warnings);
    let before = Snapshot::new(Arc::new(before.state), &options.engine);
    let after = Snapshot::new(Arc::new(after.state), &options.engine);
    // What makes the answer less certain is said always, what is odd about policies where it is new.
    let (old, new) = (&before.connectivity, &after.connectivity);
    let doubts = new.warnings().iter().filter(is_doubt);
    let odd = remarks::new(old, new).filter(|warning| !is_doubt(warning));
    warnings.extend(words(doubts.chain(odd)));
    let whole = options.format == DiffFormat::Rows(OutputFormat::Dot);
    let diff = diff_snapshots(&before, &after, whole);
    let judged = options.judge || !matches!(options.format, DiffFormat::Rows(_));
    let found = match (judged, options.drift) {
        (false, _) => Vec::new(),
        (true, true) => drift(&diff),
        (true, false) => {
            let judge =
                |snapshot: &Snapshot| exposures(&snapshot.state, &snapshot.connectivity, &options.engine);
            let (old, new) = (judge(&before), judge(&after));
            let judged = |snapshot, exposures| Judged { snapshot, exposures };
            effects(judged(&before, &old), judged(&after, &new), &diff)
        }
    };
    let (found, accepted) = options.accept.sift(found);
    warnings.extend(accepted_words(&accepted));
    let states = [&*after.state, &*before.state];
    let text = match options.format {
        DiffFormat::Rows(format) => print_diff(&diff, format),
        DiffFormat::Comment => print_comment(&diff, &found, &accepted),
        DiffFormat::Sarif => print_sarif(&located(&found, &states), &located_accepted(&accepted, &states)),
    };
    let worst = found.iter().map(|effect| effect.urgency).min();
    Ok(Report { text, differs: !diff.is_empty(), worst, warnings })
}

#[derive(Serialize)]
struct JsonDecision<'a> {
    kind: &'a str,
    namespace: &'a str,
    policy: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<usize>,
    #[serde(skip_serializing_if = "str::is_empty")]
    name: &'a str,
    action: &'a str,
    conn: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<&'a str>,
}

#[derive(Serialize)]
struct JsonSide<'a> {
    isolated: bool,
    conn: String,
    decisions: Vec<JsonDecision<'a>>,
}

#[derive(Serialize)]
struct JsonExplanation<'a> {
    from: &'a str,
    to: &'a str,
    conn: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    egress: Option<JsonSide<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ingress: Option<JsonSide<'a>>,
    caveats: &'a [String],
}

fn explained_json(from: &str, to: &str, explained: &Explanation, caveats: &[String]) -> String {
    fn json_side(side: &Side) -> JsonSide<'_> {
        let decisions = side.decisions.iter().map(|decision| JsonDecision {
            kind: &decision.policy.kind,
            namespace: &decision.policy.namespace,
            policy: &decision.policy.name,
            rule: decision.rule,
            name: &decision.name,
            action: decision.action,
            conn: decision.conn.to_string(),
            file: decision.source.as_deref(),
        });
        JsonSide { isolated: side.isolated, conn: side.conn.to_string(), decisions: decisions.collect() }
    }
    let whole = JsonExplanation {
        from,
        to,
        conn: explained.conn.to_string(),
        egress: explained.egress.as_ref().map(json_side),
        ingress: explained.ingress.as_ref().map(json_side),
        caveats,
    };
    serde_json::to_string_pretty(&whole).unwrap_or_default() + "\n"
}

/// What an end that is an address, or a node, is known to be.
fn of_node(nodes: &Nodes, end: &str) -> Option<String> {
    if let Some(address) = end.strip_prefix("node/").and_then(|name| nodes.sender(name)) {
        return Some(format!("{end} is taken for its address {address}"));
    }
    let address = end.parse().ok()?;
    if let Some(node) = nodes.with_address(address) {
        return Some(format!("{address} is an address of node {node}, and of the pods on its network"));
    }
    let (node, block) = nodes.with_pod(address)?;
    Some(format!(
        "{address} is in {block}, the pod addresses of node {node}, and is judged as if it were outside"
    ))
}

/// Why one workload of a directory may connect to another, or not, as text or, with `json`, as an object. `from` and
/// `to` are `name`, `namespace/name`, an address outside the cluster, or `node/name` for the address of a node.
///
/// # Errors
/// As [`connections`].
pub fn explain(
    directory: &Path,
    from: &str,
    to: &str,
    json: bool,
    options: &Options,
) -> Result<Report, ReportError> {
    let Loaded { state, warnings } = loaded(directory, options)?;
    let connectivity = Connectivity::build(&state, options);
    let peer = |wanted: &str, direction: Direction| {
        let address = wanted.parse().ok().and_then(|address| connectivity.range_of(address, direction));
        if let Some(range) = address {
            return Ok((Peer::Range(range), wanted.to_owned()));
        }
        let endpoints = connectivity.endpoints().iter().enumerate();
        let named = endpoints.filter(|(_, endpoint)| !endpoint.assumed && matches(&endpoint.printed, wanted));
        let mut found: Vec<(usize, String)> =
            named.map(|(index, endpoint)| (index, endpoint.to_string())).collect();
        found.sort_by(|a, b| a.1.cmp(&b.1));
        let name = wanted.to_owned();
        match found.as_slice() {
            [] => {
                let node = wanted.strip_prefix("node/").and_then(|node| connectivity.nodes().sender(node));
                let range = node.and_then(|address| connectivity.range_of(address, direction));
                range
                    .map(|range| (Peer::Range(range), name.clone()))
                    .ok_or(ReportError::NoSuchWorkload { name })
            }
            [(index, printed)] => Ok((Peer::Workload(*index), printed.clone())),
            several => {
                let among = several.iter().take(MAX_AMONG).map(|(_, printed)| printed.clone()).collect();
                Err(ReportError::SeveralWorkloads { name, among })
            }
        }
    };
    let ((source, from), (destination, to)) = (peer(from, Direction::Ingress)?, peer(to, Direction::Egress)?);
    if matches!((source, destination), (Peer::Range(_), Peer::Range(_))) {
        return Err(ReportError::NoWorkload { from, to });
    }
    let explained = connectivity.explain(source, destination);
    let mut caveats = connectivity.caveats(source, destination);
    caveats.extend([&from, &to].into_iter().filter_map(|end| of_node(connectivity.nodes(), end)));
    if json {
        let text = explained_json(&from, &to, &explained, &caveats);
        return Ok(Report { text, differs: false, worst: None, warnings });
    }
    let mut text = format!("{from} => {to} : {}\n", explained.conn);
    for (side, word, name) in [(&explained.egress, "egress", &from), (&explained.ingress, "ingress", &to)] {
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
    for caveat in &caveats {
        text.push_str(&format!("not certain: {caveat}\n"));
    }
    Ok(Report { text, differs: false, worst: None, warnings })
}

/// What is odd about the policies of a directory, most urgent first. `differs` tells whether there is anything.
///
/// # Errors
/// As [`connections`].
pub fn lint(
    directory: &Path,
    format: LintFormat,
    options: &Options,
    accept: &Accept,
) -> Result<Report, ReportError> {
    let Loaded { state, mut warnings } = loaded(directory, options)?;
    let connectivity = Connectivity::build(&state, options);
    let (found, accepted) = accept.sift(remarks(&state, &connectivity));
    warnings.extend(accepted_words(&accepted));
    let found = located(&found, &[&state]);
    let text = match format {
        LintFormat::Txt => print_lines(&found),
        LintFormat::Json => print_json(&found),
        LintFormat::Sarif => print_sarif(&found, &located_accepted(&accepted, &[&state])),
    };
    let worst = found.iter().map(|finding| finding.effect.urgency).min();
    Ok(Report { differs: !found.is_empty(), text, worst, warnings })
}
