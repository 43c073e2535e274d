//! What the behaviours are tested with: real processes on loopback, and clients and servers of our own.
//!
//! Everything here blocks: a thread a connection is plain to read and hides no retry. Nothing sleeps for a fixed time in
//! the hope that something has happened; tests wait for a condition, with a deadline.

pub(crate) mod admin;
pub(crate) mod authorizer;
pub(crate) mod http;
pub(crate) mod issuer;
pub(crate) mod load;
pub(crate) mod meddler;
pub(crate) mod ports;
pub(crate) mod postgres;
pub(crate) mod process;
pub(crate) mod prometheus;
pub(crate) mod stack;
pub(crate) mod trial;
pub(crate) mod upstream;
pub(crate) mod wait;
