//! The generated messages and the gRPC service, as the `.proto` files have them.
#![allow(missing_docs, unreachable_pub, clippy::all, reason = "generated code")]

use prost_reflect::DescriptorPool;
use std::sync::LazyLock;

tonic::include_proto!("portico.v1");

/// The encoded descriptors of all files, with their comments.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

/// The descriptors of all messages, decoded.
pub(crate) static POOL: LazyLock<DescriptorPool> =
    LazyLock::new(|| DescriptorPool::decode(DESCRIPTORS).expect("the build wrote them"));
