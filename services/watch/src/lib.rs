//! The watch agent: lists and watches the kinds of a Kubernetes cluster that the analysis reads, and tells a gateway by
//! `POST /v1/deploys` what the cluster has. It runs in the cluster or beside it and needs no broker.
//!
//! The first word is everything ([`agent`]): a replacement of the whole cluster, once each kind was listed. Changes
//! follow as they come, gathered for a moment; everything is told again after a list had to be made anew, when too
//! much waits, and now and then. Objects that are equal are no change, so that repetitions and replicas do no harm.
//!
//! | module | what it knows |
//! |---|---|
//! | [`kinds`] | which kinds are watched, and which fields of them leave the cluster |
//! | [`reduce`] | an object of the API as it is told; what runs nothing |
//! | [`source`] | lists, watches, and which kinds are installed |
//! | [`view`] | what the cluster has, and what of it was not told yet |
//! | [`tell`] | the gateway |
//! | [`agent`] | what is told when |
//!
//! Invariant: the view is called complete only while every kind that is installed was listed and is watched.

pub mod agent;
pub mod kinds;
pub mod reduce;
pub mod source;
pub mod tell;
pub mod view;

use std::path::Path;
use std::time::Duration;

use kube::Config;
use kube::config::{KubeConfigOptions, Kubeconfig};

/// Why the API server cannot be spoken to.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error("the kubeconfig cannot be used: {0}")]
    Kubeconfig(#[from] kube::config::KubeconfigError),
    #[error("neither a kubeconfig nor a service account is at hand: {0}")]
    Nothing(#[from] kube::config::InferConfigError),
    #[error("this is no pod with a service account: {0}")]
    InCluster(#[from] kube::config::InClusterError),
    #[error("no client of the API server: {0}")]
    Client(#[from] kube::Error),
}

impl ConnectError {
    /// Stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Kubeconfig(_) | Self::Nothing(_) | Self::InCluster(_) => "kubeconfig",
            Self::Client(_) => "cluster_unavailable",
        }
    }
}

/// Where the API server is, and who we are there.
#[derive(Debug, Clone, Copy, Default)]
pub enum Access<'a> {
    /// `KUBECONFIG`, `~/.kube/config`, or the service account of this pod.
    #[default]
    Any,
    /// A kubeconfig and one of its contexts; none: its current one.
    Kubeconfig(Option<&'a Path>, Option<&'a str>),
    /// The service account of this pod.
    InCluster,
}

/// A client of the API server; nothing is asked yet.
///
/// # Errors
/// A kubeconfig that cannot be read, or says what is not supported.
pub async fn connect(access: Access<'_>) -> Result<kube::Client, ConnectError> {
    let mut config = match access {
        Access::Any => Config::infer().await?,
        Access::InCluster => Config::incluster()?,
        Access::Kubeconfig(path, context) => {
            let options =
                KubeConfigOptions { context: context.map(str::to_owned), ..KubeConfigOptions::default() };
            match path {
                Some(path) => Config::from_custom_kubeconfig(Kubeconfig::read_from(path)?, &options).await?,
                None => Config::from_kubeconfig(&options).await?,
            }
        }
    };
    config.connect_timeout = Some(Duration::from_secs(10));
    // Longer than the server lets a watch go on.
    config.read_timeout = Some(Duration::from_secs(330));
    // Failures are counted and waited after here.
    config.default_retry = false;
    Ok(kube::Client::try_from(config)?)
}
