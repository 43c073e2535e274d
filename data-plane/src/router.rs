//! The router: which route a request takes. One pointer, replaced whole.

mod live;

pub(crate) use live::{LiveRouter, RouterCache};

use crate::{filter::Filters, pool::Pool};
use http::HeaderValue;
use proto::{
    identity::Identity,
    matching::{Captures, Head},
    name::Name,
    route::{BodyLimit, Redirect, Respond, Rewrite},
    snapshot::Snapshot,
    upstream::Timeouts,
};
use std::{sync::Arc, time::Duration};

/// The whole configuration, alive.
pub(crate) struct Router {
    revision: u64,
    pools: Vec<Arc<Pool>>,
}

/// The route of a request.
pub(crate) struct Found<'r> {
    pub(crate) route: &'r Arc<RouteEntry>,
    pub(crate) captures: Captures,
}

/// A route, alive.
pub(crate) struct RouteEntry {
    pub(crate) name: Name,
    /// The `http.route` of telemetry.
    pub(crate) label: String,
    pub(crate) action: Action,
    pub(crate) filters: Filters,
    pub(crate) request_body: Option<BodyLimit>,
    /// The names that the path captures, in their order.
    pub(crate) variables: Vec<String>,
}

/// What happens to a request.
pub(crate) enum Action {
    Forward(Forward),
    Redirect(Redirect),
    Respond(Respond),
}

/// Send it to an upstream.
pub(crate) struct Forward {
    pub(crate) pool: Arc<Pool>,
    pub(crate) rewrite: Option<Rewrite>,
    pub(crate) host: Option<HeaderValue>,
    /// The route's over the upstream's.
    pub(crate) timeouts: Timeouts<Duration>,
    /// The upstream's.
    pub(crate) filters: Filters,
}

// === impl Router ===

impl Router {
    pub(crate) fn empty() -> Router {
        Router { revision: 0, pools: Vec::new() }
    }

    pub(crate) fn build(_snapshot: &Snapshot, identity: Option<Identity>, _previous: Option<&Router>) -> Router {
        Router { revision: identity.map_or(0, |identity| identity.revision), pools: Vec::new() }
    }

    pub(crate) fn find(&self, _head: &Head<'_>) -> Option<Found<'_>> {
        None
    }

    pub(crate) fn revision(&self) -> u64 {
        self.revision
    }

    pub(crate) fn pools(&self) -> impl Iterator<Item = &Arc<Pool>> {
        self.pools.iter()
    }
}
