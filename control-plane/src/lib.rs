//! The control plane of Portico: says what is true.
//!
//! Floors, top to bottom: `app`, then `api` and `discovery`, then `commit`, `access` and `fleet`, then `nodes` and
//! `publisher`, then `store`, then `settings`, `telemetry`, `author`, `explain` and, below them, `tls`; no import runs
//! back up.
//! Only `store` has SQL, only `api` knows HTTP, only `discovery` speaks gRPC, and nothing here names a kind of policy.
//! [`commit`] is the first half of the life of a
//! change; the second is the node's.

pub mod access;
pub mod api;
pub mod app;
pub mod author;
pub mod commit;
mod discovery;
pub mod explain;
pub mod fleet;
pub mod nodes;
pub mod publisher;
pub mod settings;
pub mod store;
pub mod telemetry;
mod tls;
