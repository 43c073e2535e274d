//! The data plane of Portico: does what the configuration says.
//!
//! The life of a request is [`proxy`], the second half of the life of a change is [`snapshot`]; they meet in one pointer,
//! [`router`]. One worker a core answers requests without a lock, a shared counter or a wake across threads; everything
//! that may take its time (the control stream, building routers, the status port) happens on other threads.
//!
//! Floors, top to bottom; no import runs back up: app → upkeep, memory → status, snapshot → explain, worker → listener →
//! tls, proxy → router → compose → filter → issuer_keys → fetch → pool → telemetry → error → context → inbound → chunked, drain,
//! jose, json, limiter, remote, tunnel → principal, states, wire, settings.

pub mod app;
mod chunked;
mod compose;
mod consumers;
mod context;
mod drain;
mod encoding;
mod error;
pub mod explain;
mod fetch;
#[cfg(feature = "figures")]
pub mod figures;
mod filter;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
mod inbound;
mod introspected;
mod issuer_keys;
mod jose;
mod json;
mod limiter;
mod listener;
mod memory;
mod passwords;
mod pieces;
mod pool;
mod principal;
mod proxy;
mod remote;
mod router;
pub mod settings;
mod snapshot;
pub mod sources;
mod states;
mod status;
mod telemetry;
#[cfg(test)]
mod tests;
mod tls;
mod tunnel;
mod upkeep;
mod wire;
mod worker;
