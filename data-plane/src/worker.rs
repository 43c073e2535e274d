//! Workers: one thread a core, each a runtime of its own.

use crate::{listener::Listener, router::LiveRouter, settings::Settings, telemetry::Telemetry};
use std::{io, time::Duration};

/// The threads that answer requests.
#[derive(Debug)]
pub(crate) struct Workers {}

impl Workers {
    /// Starts them.
    pub(crate) fn start(
        _settings: &Settings,
        _listeners: Vec<Listener>,
        _router: &LiveRouter,
        _telemetry: &Telemetry,
    ) -> io::Result<Workers> {
        Ok(Workers {})
    }

    /// Lets go of clients without failing a request: answers say `Connection: close`, the accept queues are emptied and
    /// closed, idle connections are closed, requests in flight have until the deadline. Returns when the threads ended.
    pub(crate) async fn drain(self, _deadline: Duration) {}
}
