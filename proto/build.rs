//! Compiles the contract: Rust types and the gRPC service, and the descriptors with their comments, from which the
//! JSON form, its faults and its description are read. protox is a compiler in Rust, so no protoc is needed.

use std::path::PathBuf;

const FILES: [&str; 10] = [
    "portico/v1/certificate.proto",
    "portico/v1/compose.proto",
    "portico/v1/consumer.proto",
    "portico/v1/discovery.proto",
    "portico/v1/explain.proto",
    "portico/v1/keyring.proto",
    "portico/v1/policy.proto",
    "portico/v1/route.proto",
    "portico/v1/secret.proto",
    "portico/v1/upstream.proto",
];

const AUTHORIZATION: &str = "envoy/service/auth/v3/authorization.proto";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=portico");
    println!("cargo:rerun-if-changed=envoy");
    let mut compiler = protox::Compiler::new(["."])?;
    compiler.include_imports(true).include_source_info(true);
    let descriptors = compiler.open_files(FILES)?.file_descriptor_set();
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    // With source info: the comments are the descriptions of the API.
    std::fs::write(out.join("descriptors.bin"), compiler.encode_file_descriptor_set())?;
    // Spoken with others, and no part of the contract: the descriptors know nothing of it.
    tonic_prost_build::configure().bytes(".").compile_fds(protox::compile([AUTHORIZATION], ["."])?)?;
    tonic_prost_build::configure()
        // One message has one encoding, so that hashes can be compared.
        .btree_map(".")
        .bytes(".")
        // What is secret does not get into a log by an accident.
        .skip_debug([".portico.v1.Secret", ".portico.v1.Resource"])
        .compile_fds(descriptors)?;
    Ok(())
}
