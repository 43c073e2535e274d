//! The life of a request, byte by byte, over real sockets.
//!
//! A node of the real workers runs inside the test; clients and upstreams are blocking sockets in threads, so that a test
//! says exactly what is sent and reads exactly what comes. Nobody sleeps: whoever waits, waits for something that happens.

mod abuse;
mod access_log;
mod authority;
mod bodies;
mod checks;
mod client_certificates;
mod clients;
mod compositions;
mod diagnostics;
mod dns;
mod draining;
mod explain;
mod faults;
mod fetches;
mod frames;
mod framing;
mod harness;
mod hash;
mod headers;
mod health;
mod http2;
mod http2_tunnels;
mod listeners;
mod mirror;
mod mutual_tls;
mod overload;
mod protection;
mod records;
mod redirects;
mod retries;
mod split;
mod sticky;
mod timeouts;
mod traces;
mod tunnels;
mod upgrades;
mod upstream_http2;
mod upstream_tls;
mod upstreams;
