//! The vectors of files of audio, and how alike two of them sound.
//!
//! ```text
//! cargo run --release --example embed -- FILE…
//! ```

#![allow(clippy::print_stdout)] // an example shows its results

use std::path::PathBuf;

use voisin::{DeviceChoice, Embedder, Encoder, ModelRef, WindowPlan, probe};

fn main() -> anyhow::Result<()> {
    let mut files: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    if files.is_empty() {
        files = ["muldjord-chaos-god.mp3", "muldjord-armygeddon.m4a"]
            .map(|name| PathBuf::from("data/demo/library/metal").join(name))
            .into();
    }
    // The default model; ModelRef parses from a name or a path, too.
    let encoder = Encoder::load(&ModelRef::default(), &DeviceChoice::Cpu.resolve()?)?;
    let embedder = Embedder::new(encoder)?;
    let mut first: Option<Vec<f32>> = None;
    for path in files {
        let info = probe(&path)?;
        // 24 windows spread over the track, as with `voisin add`; the track's vector is their mean, of unit norm.
        let found = embedder.embed(&path, &info, WindowPlan::Spread(24), None)?;
        let vector = found.vector.as_slice();
        println!(
            "{}: {}, {} windows, {} numbers",
            path.display(),
            info.codec,
            found.starts.len(),
            vector.len()
        );
        match &first {
            None => first = Some(vector.to_vec()),
            // Of unit vectors the product is the cosine: 1 is the same sound.
            Some(first) => {
                println!(
                    "  similarity to the first: {:.3}",
                    first.iter().zip(vector).map(|(a, b)| a * b).sum::<f32>()
                );
            }
        }
    }
    Ok(())
}
