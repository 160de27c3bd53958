//! The trace of a run, in its own process: a span that another thread meets first without a subscriber may be cached as
//! disabled.

// A test may fail by a panic.
#![allow(clippy::unwrap_used)]

#[path = "common/mod.rs"]
mod common;

use common::{Sandbox, code, text};
use tracing_subscriber::prelude::*;
use voisin_encoder::{Architecture, CpuPath, DeviceChoice, Encoder, EncoderOptions, Weights};

/// `--trace` needs a span for every layer, in Candle and in the fast path.
#[test]
fn runs_can_be_traced() {
    let cpu = DeviceChoice::Cpu.resolve().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("trace.json");
    let (layer, guard) = tracing_chrome::ChromeLayerBuilder::new()
        .file(&path)
        .build();
    let subscriber = tracing_subscriber::registry().with(layer);
    tracing::subscriber::with_default(subscriber, || {
        let candle = EncoderOptions {
            engine: CpuPath::Candle,
            ..EncoderOptions::default()
        };
        let weights = Weights::random(Architecture::OpenL3, 1);
        let manifest = Encoder::random(Architecture::OpenL3, 1, &cpu)
            .unwrap()
            .manifest()
            .clone();
        let encoder = Encoder::new(manifest, &weights, &cpu, &candle).unwrap();
        encoder.encode(&vec![-40.0; 128 * 199], 1).unwrap();
    });
    drop(guard);
    let text = std::fs::read_to_string(path).unwrap();
    let events: Vec<serde_json::Value> = serde_json::from_str(&text).unwrap();
    let begun = |name: &str| {
        events
            .iter()
            .filter(|e| e["name"] == name && e["ph"] == "B")
            .count()
    };
    assert_eq!(
        (begun("openl3"), begun("block"), begun("conv2d")),
        (1, 8, 8)
    );
}

/// A closed output pipe (`| head`) ends the program quietly after its work: the trace is complete.
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
