//! `watch`: the agent of a Kubernetes cluster. It needs a gateway, and neither a broker nor a data folder.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args as ClapArgs;
use plimsoll_config::{ByteSize, Span};
use plimsoll_process::ProcessError;
use plimsoll_telemetry::{Health, Metrics};
use plimsoll_watch_service::agent::{self, Settings};
use plimsoll_watch_service::tell::{Gateway, Token};
use plimsoll_watch_service::{Access, connect};

use crate::Outcome;
use crate::error::CliError;

/// Where the API server is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Way {
    /// KUBECONFIG, ~/.kube/config, or else the service account of this pod
    Any,
    /// The service account of this pod
    InCluster,
}

#[derive(Debug, ClapArgs)]
pub struct Args {
    /// Name of the cluster, as findings and the configuration call it
    #[arg(long, env = "PLIMSOLL_CLUSTER")]
    cluster: String,
    /// Address of the gateway
    #[arg(long, env = "PLIMSOLL_URL", value_name = "URL")]
    server: String,
    /// File with a token of scope `deploys`, read with each request; else PLIMSOLL_TOKEN
    #[arg(long, env = "PLIMSOLL_TOKEN_FILE", value_name = "FILE")]
    token_file: Option<PathBuf>,
    #[arg(long, env = "PLIMSOLL_TOKEN", hide = true, hide_env_values = true)]
    token: Option<String>,
    /// Further certificate authorities to trust for the gateway, in PEM
    #[arg(long, env = "PLIMSOLL_CA_FILE", value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// Kubeconfig to use
    #[arg(long, value_name = "FILE", conflicts_with = "access")]
    kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig
    #[arg(long, conflicts_with = "access")]
    context: Option<String>,
    /// Where the API server is looked for
    #[arg(long, value_enum, default_value = "any")]
    access: Way,
    /// Watch this namespace alone; may be given several times. The view is then never complete
    #[arg(long = "namespace", value_name = "NAME")]
    namespaces: Vec<String>,
    /// Longest silence, after which an object is told again so that the view does not age
    #[arg(long, default_value = "10m", value_name = "SPAN")]
    heartbeat: Span,
    /// How often everything is told again
    #[arg(long, default_value = "6h", value_name = "SPAN")]
    resend: Span,
    /// How often it is asked which kinds are installed
    #[arg(long, default_value = "5m", value_name = "SPAN")]
    discover: Span,
    /// Most bytes of a request: the gateway's limits.deploy_body
    #[arg(long, default_value = "16MiB", value_name = "SIZE")]
    max_body: ByteSize,
    /// Address for /healthz, /readyz and /metrics
    #[arg(long, env = "PLIMSOLL_HEALTH_LISTEN", value_name = "ADDRESS")]
    health_listen: Option<String>,
}

/// `plimsoll watch`
pub fn run(args: &Args) -> Outcome {
    let token = match (&args.token_file, &args.token) {
        (Some(path), _) => Token::File(path.clone()),
        (None, Some(token)) => Token::Text(token.clone()),
        (None, None) => {
            return Err(CliError::new("no_token", "no token is known")
                .hint("give a file with --token-file, or PLIMSOLL_TOKEN"));
        }
    };
    if args.cluster.is_empty() {
        return Err(CliError::new("usage", "--cluster is empty"));
    }
    let gateway = Gateway::new(&args.server, &args.cluster, token, args.ca_file.as_deref())
        .map_err(|error| CliError::new(error.code(), error))?;
    let at_least_a_second = |span: Span| span.0.max(Duration::from_secs(1));
    let mut namespaces = args.namespaces.clone();
    namespaces.sort();
    namespaces.dedup();
    let settings = Settings {
        namespaces,
        heartbeat: at_least_a_second(args.heartbeat),
        resend: at_least_a_second(args.resend),
        discover: at_least_a_second(args.discover),
        max_body: args.max_body.as_usize(),
        ..Settings::default()
    };
    let mut config = plimsoll_process::configuration(None).map_err(process)?;
    if !config.telemetry.log.contains("kube") {
        // What fails there is told here, once.
        config.telemetry.log.push_str(",kube_client=off,kube_runtime=off");
    }
    let telemetry = plimsoll_process::telemetry("plimsoll-watch", &config).map_err(process)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(CliError::io("start the runtime"))?;
    let result = runtime.block_on(async {
        let stop = plimsoll_process::stop_on_signal().map_err(process)?;
        let (metrics, health) = (Metrics::default(), Health::default());
        if let Some(address) = args.health_listen.as_deref().filter(|address| !address.is_empty()) {
            plimsoll_process::serve_health_on(address, &health, &metrics, &stop).await.map_err(process)?;
        }
        let access = match (args.access, &args.kubeconfig, &args.context) {
            (Way::InCluster, ..) => Access::InCluster,
            (Way::Any, None, None) => Access::Any,
            (Way::Any, path, context) => Access::Kubeconfig(path.as_deref(), context.as_deref()),
        };
        let client = connect(access).await.map_err(|error| {
            CliError::new(error.code(), error).hint("--kubeconfig FILE, or --access in-cluster in a pod")
        })?;
        tracing::info!(cluster = args.cluster, server = args.server, "watching");
        agent::run(client, gateway, settings, metrics, health, stop).await;
        Ok(ExitCode::SUCCESS)
    });
    runtime.shutdown_timeout(Duration::from_secs(1));
    telemetry.shutdown();
    result
}

fn process(error: ProcessError) -> CliError {
    CliError::new(error.code(), error)
}
