//! The messages and the gRPC service of authorization servers (Envoy's ext_authz), as the `.proto` file has them.
#![allow(missing_docs, unreachable_pub, clippy::all, reason = "generated code")]

tonic::include_proto!("envoy.service.auth.v3");

/// What is called: the service and its method, as a path.
pub const CHECK: &str = "/envoy.service.auth.v3.Authorization/Check";
