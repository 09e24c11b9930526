//! Compiles the wire messages for peers that do not keep to the protocol.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=../network/proto/framemill.proto");
    let descriptors = protox::compile(["framemill.proto"], ["../network/proto"])?;
    prost_build::Config::new().bytes(["."]).compile_fds(descriptors)?;
    Ok(())
}
