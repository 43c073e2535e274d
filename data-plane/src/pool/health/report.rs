//! What a node tells of the health of its endpoints: only of those that take no traffic, and no more than is bounded.

use crate::pool::Pool;
use std::sync::Arc;

/// The most upstreams that are told.
const MAX_UPSTREAMS: usize = 100;
/// The most endpoints of one that are told.
const MAX_DOWN: usize = 16;

/// The upstreams of which an endpoint takes no traffic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct HealthReport {
    /// By name.
    pub(crate) upstreams: Vec<UpstreamHealth>,
    /// How many more there are.
    pub(crate) omitted: usize,
}

/// An upstream of which an endpoint takes no traffic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UpstreamHealth {
    /// Its name.
    pub(crate) name: String,
    /// How many endpoints it has.
    pub(crate) endpoints: usize,
    /// How many of them are healthy.
    pub(crate) healthy: usize,
    /// The first of those that are not.
    pub(crate) down: Vec<Down>,
}

/// An endpoint that takes no traffic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Down {
    /// Its address.
    pub(crate) address: String,
    /// Why.
    pub(crate) reason: &'static str,
    /// Since when, in milliseconds of Unix time.
    pub(crate) since: u64,
}

impl HealthReport {
    /// The report on these.
    pub(crate) fn of<'p>(pools: impl Iterator<Item = &'p Arc<Pool>>) -> HealthReport {
        let mut report = HealthReport::default();
        for pool in pools {
            let endpoints = pool.endpoints();
            let mut down = endpoints.iter().filter_map(|endpoint| {
                let (reason, since) = endpoint.health.down()?;
                Some(Down { address: endpoint.as_str().into(), reason, since })
            });
            let told: Vec<Down> = down.by_ref().take(MAX_DOWN).collect();
            if told.is_empty() {
                continue;
            }
            if report.upstreams.len() == MAX_UPSTREAMS {
                report.omitted += 1;
                continue;
            }
            let healthy = endpoints.len() - told.len() - down.count();
            let name = pool.name().to_string();
            report.upstreams.push(UpstreamHealth { name, endpoints: endpoints.len(), healthy, down: told });
        }
        report.upstreams.sort_by(|a, b| a.name.cmp(&b.name));
        report
    }
}
