//! The program with features that are not in the default build: networks in ONNX, and traces where
//! the feature `trace` is there, too. The program without them is in tests/program.

// A test may fail by a panic.
#![allow(clippy::unwrap_used)]

#[path = "common/mod.rs"]
mod common;

use common::{DEMO, Sandbox, code, fine, text};

/// A closed output pipe (`| head`) ends the program quietly after its work: the trace is complete.
#[cfg(feature = "trace")]
#[test]
fn a_closed_pipe_leaves_the_trace_whole() {
    let sandbox = Sandbox::new();
    let trace = sandbox.path("trace.json");
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = sandbox
        .command(["--trace", trace.to_str().unwrap(), "model", "list"])
        .stdout(writer)
        .output()
        .unwrap();
    assert_eq!((code(&output), text(&output.stderr).as_str()), (0, ""));
    let trace = std::fs::read_to_string(trace).unwrap();
    assert!(
        serde_json::from_str::<serde_json::Value>(&trace).is_ok(),
        "cut off: {trace}"
    );
}

#[test]
fn an_onnx_network_is_imported_and_makes_vectors() {
    let sandbox = Sandbox::new();
    let file = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/data/onnx/convolutions.onnx"
    );
    let import = ["model", "import", file, "--name", "mine"];
    let start = std::time::Instant::now();
    let refused = sandbox.run(import);
    let message = text(&refused.stderr);
    assert_eq!(code(&refused), 2, "{message}");
    assert!(
        message.contains("fits --front-end vggish") && message.lines().count() == 1,
        "{message}"
    );
    assert!(start.elapsed().as_secs() < 10, "{:?}", start.elapsed());
    let fed = [
        &import[..],
        &["--front-end", "vggish", "--licence", "MIT"][..],
    ]
    .concat();
    fine(sandbox.run(fed));
    let listed = fine(sandbox.run(["model", "list"]));
    let line = listed
        .lines()
        .find(|line| line.starts_with("mine"))
        .unwrap();
    assert!(
        line.contains("onnx") && line.contains("20") && line.contains("MIT"),
        "{line}"
    );
    let checked = fine(sandbox.run(["model", "check", "mine"]));
    assert!(checked.contains("20 dimensions"), "{checked}");
    let music = format!("{DEMO}/library");
    fine(sandbox.run(["--model", "mine", "add", &music]));
    assert!(!fine(sandbox.run(["similar", "id:1"])).is_empty());
}
