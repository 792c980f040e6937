//! Generates the client from protos/. protox is a compiler of .proto files in Rust: no protoc is needed.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let protos = "../../protos";
    println!("cargo:rerun-if-changed={protos}");
    let service = "smtpconnector/v1/connector_service.proto";
    tonic_prost_build::configure()
        .build_server(false)
        .compile_fds(protox::compile([service], [protos])?)?;
    Ok(())
}
