//! The errors of the crates below as a person reads them: the code, the whole chain of causes, what to do.

use plimsoll_image::registry::{RegistryError, SetupError};
use plimsoll_image::source::SourceError;
use plimsoll_netpol::report::ReportError;
use plimsoll_netpol::suggest::SuggestError;
use plimsoll_sbom::document::DocumentError;
use plimsoll_telemetry::chain;
use plimsoll_vuln::DbError;

use crate::error::CliError;

/// An image or a layer that cannot be read.
pub(super) fn source(error: &SourceError) -> CliError {
    let cli = CliError::new(error.code(), chain(error));
    match error {
        SourceError::Registry(error) => registry_hint(cli, error),
        SourceError::Platform { .. } => cli.hint("name one of them with --platform OS/ARCHITECTURE"),
        SourceError::Ambiguous { .. } => {
            cli.hint("name one: oci:DIR:TAG, oci-archive:FILE:TAG or docker-archive:FILE:NAME:TAG")
        }
        SourceError::NotAnImage { .. } => {
            cli.hint("charts, signatures and attestations have no packages to list")
        }
        SourceError::Io { path, .. } if path.ends_with("oci-layout") => {
            cli.hint("oci: wants a folder with oci-layout, index.json and blobs; dir: reads any folder")
        }
        SourceError::Digest { .. } => cli.hint("the content was changed or damaged; fetch it again"),
        _ => cli,
    }
}

/// A registry that cannot be read or written.
pub(super) fn registry(error: &RegistryError) -> CliError {
    registry_hint(CliError::new(error.code(), chain(error)), error)
}

fn registry_hint(cli: CliError, error: &RegistryError) -> CliError {
    match error {
        RegistryError::NotConfigured { host, role: "registry" } => {
            // What Docker speaks to in the clear has no certificate.
            let name = host.rsplit_once(':').map_or(host.as_str(), |(name, _)| name);
            let plain = matches!(name, "localhost" | "127.0.0.1" | "[::1]");
            let plain = if plain { ", plain_http: true" } else { "" };
            cli.hint(format!(
                "only registries of the configuration are connected to: add `registries: [{{host: \"{host}\"{plain}}}]` \
                 to a file and name it with --config or PLIMSOLL_CONFIG"
            ))
        }
        RegistryError::NotConfigured { role, .. } => cli.hint(format!(
            "the registry sends us to a {role} that the configuration does not allow: see token_hosts, redirect_hosts \
             and mirrors of its entry in `registries`"
        )),
        RegistryError::Auth { .. } => cli.hint(
            "give its entry in `registries` a username with a password_file, a token, or docker_config: true",
        ),
        RegistryError::NotFound { .. } => {
            cli.hint("check repository, tag and digest; some registries say so when credentials are missing")
        }
        RegistryError::Unavailable { .. } | RegistryError::RateLimited { .. } => {
            cli.hint("it was tried several times; try again later")
        }
        _ => cli,
    }
}

/// Registries that cannot be used as they are configured.
pub(super) fn setup(error: &SetupError) -> CliError {
    CliError::new("config_invalid", chain(error)).hint("correct `registries` in the configuration file")
}

/// A Db that cannot be built or used.
pub(super) fn db(error: &DbError) -> CliError {
    let cli = CliError::new(error.code(), chain(error));
    match error {
        DbError::Truncated | DbError::Corrupt(_) | DbError::Format { .. } => {
            cli.hint("build it anew: plimsoll db build --from PATH… --out FILE")
        }
        _ => cli,
    }
}

/// A document that is no SBOM.
pub(super) fn document(name: &str, error: &DocumentError) -> CliError {
    CliError::new(error.code(), format!("{name}: {}", chain(error)))
}

/// Manifests that have no answer.
pub(super) fn report(error: &ReportError) -> CliError {
    let cli = CliError::new(error.code(), chain(error));
    match error {
        ReportError::NoSuchWorkload { .. } => cli.hint(
            "workloads are named NAME or NAMESPACE/NAME; list them with plimsoll netpol connections DIR",
        ),
        ReportError::SeveralWorkloads { .. } => {
            cli.hint("name one as NAMESPACE/NAME or NAMESPACE/NAME[KIND]")
        }
        ReportError::NoWorkload { .. } | ReportError::Load(_) => cli,
    }
}

/// Manifests or flows that no policies can be suggested for.
pub(super) fn suggest(error: &SuggestError) -> CliError {
    let cli = CliError::new(error.code(), chain(error));
    match error {
        SuggestError::NoSuchNamespace { .. } => {
            cli.hint("name a namespace that the manifests or the flows have workloads in")
        }
        SuggestError::NoWorkloads => {
            cli.hint("namespaces kube-… and openshift-… count only when they are named with --namespace")
        }
        SuggestError::NoFlows => {
            cli.hint("record some: hubble observe -o json --last 100000 > FILE; --flows FILE")
        }
        SuggestError::Flows { .. } => {
            cli.hint("--flows wants what hubble observe -o json prints, one flow a line")
        }
        SuggestError::Load(_) | SuggestError::Parse(_) => cli,
    }
}
