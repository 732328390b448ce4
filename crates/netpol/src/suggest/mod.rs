//! The smallest set of NetworkPolicies for an application, from what it declares to need and from observed flows.
//!
//! | module | what |
//! |---|---|
//! | `address`, `declared` | addresses in variables, arguments and ConfigMaps |
//! | `resolve` | addresses, Services and ways in become needs |
//! | `flows`, `observed` | Hubble's flows become needs |
//! | `groups` | selectors that pick exactly one workload |
//! | `policies`, `document` | needs become policies |
//! | `predict` | what the policies change and what they would break |
//! | `print` | the answer as YAML, JSON and Markdown |
//!
//! Every namespace gets a default deny, and every workload with needs one policy more, with peers by labels and ports
//! by number. What is needed but cannot be expressed or is not certain is a [`Gap`], never a guess.

mod address;
mod declared;
mod document;
mod flows;
mod groups;
mod needs;
mod observed;
mod policies;
mod predict;
mod print;
mod resolve;

use std::io::BufRead;
use std::path::Path;
use std::sync::Arc;

use thiserror::Error;

pub use flows::{FlowError, MAX_FLOWS, MAX_LINE, MAX_LINES};
pub use needs::{Cause, Gap};
pub use predict::Suggestion;
pub use print::SuggestFormat;

use crate::engine::{Connectivity, Options};
use crate::load::{LoadError, Loaded, load_with, open};
use crate::objects::{Format, ParseError, ParseOptions, parse_documents_each};
use crate::report::Report;
use crate::state::ClusterState;
use declared::Declared;
use flows::Flows;
use groups::Groups;
use needs::Needs;
use resolve::Resolver;

/// What a suggestion is made of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Basis {
    /// What manifests declare, and what flows show where they are given.
    #[default]
    Both,
    /// What manifests declare; flows only show what the suggestion would break.
    Declared,
    /// What flows show; what is declared and was not seen is told.
    Flows,
}

/// How to suggest.
#[derive(Debug, Clone, Default)]
pub struct SuggestOptions {
    /// Reading where Kubernetes leaves it open.
    pub engine: Options,
    pub basis: Basis,
    /// Namespaces to suggest policies for; empty: every one with workloads, except those of the system (`kube-…`,
    /// `openshift-…`).
    pub namespaces: Vec<String>,
    /// Hosts outside the cluster are allowed as every public address on their port; otherwise they are told.
    pub external: bool,
}

/// Why there is no suggestion.
#[derive(Debug, Error)]
pub enum SuggestError {
    #[error(transparent)]
    Load(#[from] LoadError),
    #[error(transparent)]
    Parse(#[from] ParseError),
    #[error("{path}: {source}")]
    Flows { path: String, source: FlowError },
    #[error("no workload in namespace {name}")]
    NoSuchNamespace { name: String },
    #[error("no workload to suggest policies for")]
    NoWorkloads,
    #[error("a suggestion from flows needs a file of flows")]
    NoFlows,
}

impl SuggestError {
    /// Stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Load(error) => error.code(),
            Self::Parse(error) => error.code(),
            Self::Flows { source, .. } => source.code(),
            Self::NoSuchNamespace { .. } => "no_such_namespace",
            Self::NoWorkloads => "no_workloads",
            Self::NoFlows => "no_flows",
        }
    }
}

/// Manifests with what they declare about needs.
#[derive(Debug, Default)]
pub struct Manifests {
    state: ClusterState,
    declared: Declared,
}

impl Manifests {
    /// Takes one input in.
    ///
    /// # Errors
    /// As [`crate::objects::parse_documents`].
    pub fn add(&mut self, bytes: &[u8], format: Format) -> Result<(), ParseError> {
        let declared = &mut self.declared;
        let objects = parse_documents_each(bytes, format, ParseOptions::default(), &mut |object, value| {
            declared.take(object, value);
        })?;
        for object in objects {
            self.state.apply(object);
        }
        Ok(())
    }

    /// The objects.
    pub fn state(&self) -> &ClusterState {
        &self.state
    }
}

/// Namespaces whose workloads keep a cluster running; a default deny there is nothing to suggest unasked.
fn is_system(namespace: &str) -> bool {
    namespace.starts_with("kube-") || namespace.starts_with("openshift-")
}

/// Suggests policies for manifests, and for flows where there are any.
///
/// # Errors
/// Nothing to suggest policies for, or flows that cannot be read.
pub fn suggest<R: BufRead>(
    manifests: &Manifests,
    flows: Option<R>,
    options: &SuggestOptions,
) -> Result<Suggestion, SuggestError> {
    let failed = |source| SuggestError::Flows { path: "flows".into(), source };
    let flows = flows.map(Flows::read).transpose().map_err(failed)?;
    made(manifests, flows, options)
}

fn made(
    manifests: &Manifests,
    flows: Option<Flows>,
    options: &SuggestOptions,
) -> Result<Suggestion, SuggestError> {
    if options.basis == Basis::Flows && flows.is_none() {
        return Err(SuggestError::NoFlows);
    }
    let mut state = manifests.state.clone();
    if let Some(flows) = &flows {
        let connectivity = Connectivity::build(&state, &options.engine);
        for object in observed::unseen(flows, &connectivity) {
            // What manifests describe is not replaced by what flows tell of it.
            if state.get(&object.key()).is_none() {
                state.apply(object);
            }
        }
    }
    let connectivity = Connectivity::build(&state, &options.engine);
    let groups = Groups::of(&connectivity, &manifests.declared);
    let described: std::collections::BTreeSet<&str> =
        manifests.state.workloads().map(|workload| workload.meta.namespace.as_str()).collect();
    let is_subject = |namespace: &str| {
        if options.namespaces.is_empty() {
            described.contains(namespace) && !is_system(namespace)
        } else {
            options.namespaces.iter().any(|wanted| wanted == namespace)
        }
    };
    let lives = |name: &&String| groups.groups.iter().any(|group| group.namespace == **name);
    if let Some(name) = options.namespaces.iter().find(|name| !lives(name)) {
        return Err(SuggestError::NoSuchNamespace { name: name.clone() });
    }
    if !groups.groups.iter().any(|group| is_subject(&group.namespace)) {
        return Err(SuggestError::NoWorkloads);
    }
    let resolver = Resolver::new(&state, &connectivity, &manifests.declared, &groups, options.external);
    let (mut needs, mut checked) = (Needs::default(), Needs::default());
    let declared = if options.basis == Basis::Flows { &mut checked } else { &mut needs };
    resolver.declared(declared);
    resolver.dns(declared);
    let mut dropped = Default::default();
    if let Some(flows) = &flows {
        let seen = if options.basis == Basis::Declared { &mut checked } else { &mut needs };
        dropped = observed::observed(flows, seen, &resolver, (&groups, &connectivity));
    }
    resolver.unused(&mut needs, &is_subject);
    let view = predict::View { groups: &groups, is_subject: &is_subject, options };
    predict::predict(needs, checked, dropped, flows.as_ref(), Arc::new(state), &view)
}

/// Suggests policies for the manifests below a directory, printed. `flows` is a file of Hubble's flows. The report
/// differs when something may break.
///
/// # Errors
/// A directory or file that cannot be read, an object that Kubernetes would refuse, or nothing to suggest for.
pub fn suggest_dir(
    directory: &Path,
    flows: Option<&Path>,
    options: &SuggestOptions,
    format: SuggestFormat,
) -> Result<Report, SuggestError> {
    let mut declared = Declared::default();
    let reading = ParseOptions { np_guard: options.engine.np_guard };
    let Loaded { state, warnings } =
        load_with(directory, reading, &mut |object, value| declared.take(object, value))?;
    let read = |path: &Path| {
        let failed = |source| SuggestError::Flows { path: path.display().to_string(), source };
        Flows::read(open(path)?).map_err(failed)
    };
    let flows = flows.map(read).transpose()?;
    let suggestion = made(&Manifests { state, declared }, flows, options)?;
    Ok(Report { text: suggestion.print(format), differs: !suggestion.gaps.is_empty(), worst: None, warnings })
}
