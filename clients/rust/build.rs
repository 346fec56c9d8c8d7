//! Generates the stubs: runs `protoc`, or what the variable PROTOC names.

fn main() -> std::io::Result<()> {
    let areas = ["admin", "fetch", "produce"];
    let files = areas.map(|area| format!("../../proto/ottla/api/{area}/v1/{area}.proto"));
    tonic_prost_build::configure()
        .build_server(false)
        .include_file("stubs.rs")
        .compile_protos(&files, &["../../proto".to_string()])
}
