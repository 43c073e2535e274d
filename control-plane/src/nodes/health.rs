//! What a node tells of the health of its upstreams' endpoints.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

/// The upstreams of which an endpoint takes no traffic at a node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeHealth {
    /// By name.
    pub upstreams: Vec<UpstreamHealth>,
    /// How many more there are.
    pub omitted: u32,
}

/// An upstream of which an endpoint takes no traffic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpstreamHealth {
    /// Its name.
    pub name: String,
    /// How many endpoints it has.
    pub endpoints: u32,
    /// How many of them are healthy.
    pub healthy: u32,
    /// The first of those that are not.
    pub down: Vec<EndpointDown>,
}

/// An endpoint that takes no traffic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointDown {
    /// Its address.
    pub address: String,
    /// `check`, or what ejected it.
    pub reason: String,
    /// Since when.
    #[serde(with = "time::serde::timestamp::milliseconds")]
    pub since: OffsetDateTime,
}
