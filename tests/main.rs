//! The one test binary of the root package: a file per behaviour, over the real processes.
//!
//! `tidy` holds the invariants of the code map. A rule that cannot be broken in a test is no rule, so each of them is
//! also fed a bad sample.

#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr, reason = "all of it is test")]

mod access;
mod access_log;
mod api_key;
mod basic;
mod change_traces;
mod cli;
mod client_certificate;
mod composition;
mod consumer_policies;
mod cors;
mod database_away;
mod deprecation;
mod dev;
mod diagnostics;
mod drains;
mod error_bodies;
mod explain;
mod ext_auth;
mod ext_auth_grpc;
mod harness;
mod health;
mod hsts;
mod introspection;
mod jwt;
mod limits;
mod log_level;
mod maintenance;
mod no_request_lost;
mod prometheus;
mod rate_limit;
mod refused;
mod request_headers;
mod request_query;
mod restart;
mod retries;
mod revoked_nodes;
mod route_serves;
mod secure_planes;
mod security_headers;
mod shadow;
mod split;
mod tidy;
mod tokens;
mod two_control_planes;
mod unknown_node;
mod validate;
mod writers;
