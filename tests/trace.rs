//! The trace of a run, in its own process: a span that another thread meets first without a subscriber may be cached as
//! disabled.

// A test may fail by a panic.
#![allow(clippy::unwrap_used)]

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
