//! The programs of Portico: `portico`, `portico-control-plane` and `portico-node`.
//!
//! Thin by intent: the planes are libraries, and what a command does with the admin API anybody can do with curl.
//! The standard output is for results, the standard error for logs and failures; what is printed never holds a token
//! unless printing it is the point.
//!
//! Floors, top to bottom: command → dev → one module a command → changes, collection, documents, wait → client, serve →
//! explainer, failure, files, log, output, stop.

mod apply;
mod audit;
mod changes;
mod client;
mod collection;
pub mod command;
mod credentials;
mod delete;
mod dev;
mod documents;
mod explain;
mod explainer;
mod export;
mod failure;
mod files;
mod get;
mod healthcheck;
mod log;
mod log_level;
mod nodes;
mod output;
mod revisions;
mod sample;
mod serve;
mod stop;
mod tokens;
mod wait;
