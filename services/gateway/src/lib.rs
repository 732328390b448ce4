//! The gateway role: HTTP in (webhooks, images, deploys), HTTP out (findings, images, questions).
//!
//! Invariant: what was answered with 202 is in JetStream. The gateway keeps nothing and connects to no registry.
//!
//! | module | routes |
//! |---|---|
//! | [`webhooks`] | `POST /v1/webhooks/distribution`, `…/harbor`, `…/acr`, `…/github`, `…/ecr`, `…/quay` |
//! | [`images`] | `POST /v1/images`, `GET /v1/images/{digest}/status`, `…/sbom`, `…/secrets` |
//! | [`deploys`] | `POST /v1/deploys` |
//! | [`findings`] | `GET /v1/findings`, `/v1/findings/stream`, `/v1/affected/{id}`, `/v1/actions` |
//! | [`feeds`] | `GET /v1/feeds` |
//! | [`health`] | `/healthz`, `/readyz`, `/metrics` |

pub mod auth;
pub mod deploys;
pub mod error;
pub mod feeds;
pub mod findings;
pub mod health;
pub mod images;
pub mod webhooks;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware;
use axum::routing::{get, post};
use plimsoll_bus::Bus;
use plimsoll_config::Config;
use plimsoll_cpu::Pool;
use plimsoll_process::{ProcessError, Role};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// What every handler is given.
#[derive(Clone)]
pub struct App {
    pub bus: Bus,
    pub config: Arc<Config>,
    pub pool: Pool,
    pub names: Arc<Names>,
    pub stop: CancellationToken,
}

/// The registries that the configuration allows, by every name of theirs.
pub struct Names(std::collections::BTreeMap<String, String>);

impl Names {
    /// The names of a configuration.
    pub fn of(config: &Config) -> Self {
        let mut names = std::collections::BTreeMap::new();
        for registry in &config.registries {
            for name in std::iter::once(&registry.host).chain(&registry.aliases) {
                names.insert(name.to_ascii_lowercase(), registry.host.clone());
            }
        }
        Self(names)
    }

    /// The identity of the registry that is known by `name`.
    pub fn identity(&self, name: &str) -> Option<&str> {
        self.0.get(&name.to_ascii_lowercase()).map(String::as_str)
    }
}

/// The routes.
pub fn router(app: App) -> Router {
    let webhook_limit = app.config.limits.webhook_body.as_usize();
    let deploy_limit = app.config.limits.deploy_body.as_usize();
    Router::new()
        .route(
            "/v1/webhooks/distribution",
            post(webhooks::distribution::receive).layer(DefaultBodyLimit::max(webhook_limit)),
        )
        .route(
            "/v1/webhooks/harbor",
            post(webhooks::harbor::receive).layer(DefaultBodyLimit::max(webhook_limit)),
        )
        .route("/v1/webhooks/acr", post(webhooks::acr::receive).layer(DefaultBodyLimit::max(webhook_limit)))
        .route(
            "/v1/webhooks/github",
            post(webhooks::github::receive).layer(DefaultBodyLimit::max(webhook_limit)),
        )
        .route("/v1/webhooks/ecr", post(webhooks::ecr::receive).layer(DefaultBodyLimit::max(webhook_limit)))
        .route("/v1/webhooks/quay", post(webhooks::quay::receive).layer(DefaultBodyLimit::max(webhook_limit)))
        .route(
            "/v1/images",
            post(images::submit).layer(DefaultBodyLimit::max(16 << 10)).get(findings::images),
        )
        .route("/v1/images/{digest}", get(findings::image))
        .route("/v1/images/{digest}/status", get(images::status))
        .route("/v1/images/{digest}/sbom", get(images::sbom))
        .route("/v1/images/{digest}/secrets", get(images::secrets))
        .route("/v1/deploys", post(deploys::deploy).layer(DefaultBodyLimit::max(deploy_limit)))
        .route("/v1/findings", get(findings::list))
        .route("/v1/findings/stream", get(findings::stream))
        .route("/v1/affected/{*id}", get(findings::affected))
        .route("/v1/actions", get(findings::actions))
        .route("/v1/feeds", get(feeds::list))
        .route("/healthz", get(plimsoll_process::health::alive))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(health::metrics))
        .fallback(error::not_found)
        .layer(middleware::from_fn_with_state(app.clone(), health::count))
        .with_state(app)
}

/// Runs the role until its token ends.
pub async fn run(role: Role) -> Result<(), ProcessError> {
    let address = role.config.listen;
    let listener =
        TcpListener::bind(address).await.map_err(ProcessError::io(format!("listen on {address}")))?;
    serve(role, listener).await
}

/// Runs the role on a listener that is there already.
pub async fn serve(role: Role, listener: TcpListener) -> Result<(), ProcessError> {
    let app = App {
        bus: role.bus.clone(),
        names: Arc::new(Names::of(&role.config)),
        config: role.config,
        pool: role.pool,
        stop: role.stop.clone(),
    };
    role.bus.health().ready("gateway");
    if let Ok(address) = listener.local_addr() {
        tracing::info!(%address, "listening");
    }
    let stop = role.stop;
    axum::serve(listener, router(app))
        .with_graceful_shutdown(async move { stop.cancelled().await })
        .await
        .map_err(ProcessError::io("serve HTTP"))
}
