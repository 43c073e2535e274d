//! The store suite: the same cases on SQLite and on Postgres, through what the rest of the control plane uses.
//!
//! Postgres is the server of `PORTICO_TEST_POSTGRES`, the URL of a superuser; each case gets a database of its own.
//! Without it those cases are left out, unless `PORTICO_TEST_REQUIRE_POSTGRES=1`, which makes that a failure.

#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr, reason = "all of this crate is a test")]

mod access;
mod audit;
mod cleartext;
mod commits;
mod credentials;
mod faults;
mod figures;
mod front;
mod harness;
mod history;
mod meddler;
mod outages;
mod planes;
mod sealed;
mod status;
mod streams;
mod traces;
