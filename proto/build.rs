//! Compiles `quorate/v1/*.proto` with protox, so that no protoc is needed.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=quorate");
    if std::env::var_os("CARGO_FEATURE_GRPC").is_none() {
        return Ok(());
    }
    let files = [
        "quorate/v1/raft.proto",
        "quorate/v1/chat.proto",
        "quorate/v1/files.proto",
        "quorate/v1/admin.proto",
    ];
    let descriptors = protox::compile(files, ["."])?;
    tonic_prost_build::configure()
        // Bodies that pass through unread (log entries, commands) are shared, not copied.
        .bytes(".quorate.v1")
        // One order on the wire: a membership is folded into the state's running hash.
        .btree_map(".quorate.v1")
        .compile_fds(descriptors)?;
    Ok(())
}
