//! Runs a plane until it is told to stop, or a command until it is done.

use crate::{explainer::node_code, failure::Failure, files, stop::stop};
use proto::log_level::LogLevel;
use std::{future::Future, sync::Arc};
use tokio::runtime::{Builder, Runtime};

/// Threads of a control plane; checking and hashing large configurations must not hold up the API.
const CONTROL_PLANE_THREADS: usize = 2;

/// Runs a control plane.
pub(crate) fn control_plane(
    settings: control_plane::settings::Settings,
    log_level: Arc<dyn LogLevel>,
) -> Result<(), Failure> {
    files::allow();
    multi_thread()?.block_on(async {
        let stop = stop()?;
        let app = control_plane::app::build(settings, node_code(), log_level).await.map_err(Failure::of_start)?;
        tracing::info!(
            version = env!("CARGO_PKG_VERSION"),
            admin = app.admin_url(),
            discovery = app.discovery_url(),
            token = %app.admin_token_source(),
            "control plane is up"
        );
        app.run(stop).await?;
        tracing::info!("control plane has stopped");
        Ok(())
    })
}

/// Runs a node. Its workers have threads of their own; this one is the control thread.
pub(crate) fn node(settings: data_plane::settings::Settings, log_level: Arc<dyn LogLevel>) -> Result<(), Failure> {
    files::check(files::allow(), settings.max_connections);
    current_thread()?.block_on(async {
        let stop = stop()?;
        let app = data_plane::app::build(settings, log_level).await.map_err(Failure::of_start)?;
        for (name, address) in app.addresses() {
            tracing::info!(listener = name, %address, "listening");
        }
        tracing::info!(
            version = env!("CARGO_PKG_VERSION"),
            node.id = app.node_id(),
            status = %format_args!("http://{}", app.status_address()),
            "node is up"
        );
        app.run(stop).await?;
        tracing::info!("node has stopped");
        Ok(())
    })
}

/// Runs a command that ends by itself.
pub(crate) fn once(command: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    current_thread()?.block_on(command)
}

/// The runtime of a control plane.
pub(crate) fn multi_thread() -> Result<Runtime, Failure> {
    built(Builder::new_multi_thread().worker_threads(CONTROL_PLANE_THREADS).enable_all().build())
}

fn current_thread() -> Result<Runtime, Failure> {
    built(Builder::new_current_thread().enable_all().build())
}

fn built(runtime: std::io::Result<Runtime>) -> Result<Runtime, Failure> {
    runtime.map_err(|error| Failure::Runtime(format!("failed to start the runtime: {error}")))
}
