//! A library of a folder, and the tracks that sound like one of them.
//!
//! ```text
//! cargo run --release --example similar -- LIBRARY FOLDER WORDS
//! ```

#![allow(clippy::print_stdout)] // an example shows its results

use std::path::Path;
use std::sync::atomic::AtomicBool;

use voisin::{
    AddOptions, DeviceChoice, Embedder, Encoder, Engine, ModelRef, OpenMode, SimilarOptions, add,
    is_audio_candidate, scan,
};

fn main() -> anyhow::Result<()> {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    let [library, folder, words] = arguments.as_slice() else {
        anyhow::bail!(
            "expected LIBRARY FOLDER WORDS, such as: /tmp/library data/demo/library \"chaos god\""
        );
    };
    let encoder = Encoder::load(&ModelRef::default(), &DeviceChoice::Cpu.resolve()?)?;
    let embedder = Embedder::new(encoder)?;
    let mut engine = Engine::open(Path::new(library), OpenMode::Create)?;

    // Unchanged files are skipped, so that a stopped run resumes.
    let music = scan(&[folder.into()], &is_audio_candidate);
    let options = AddOptions::default();
    let stop = AtomicBool::new(false);
    let summary = add(
        engine.library_mut(),
        &embedder,
        &music.files,
        &options,
        &mut |_| {},
        &stop,
    )?;
    println!("{} added, {} failed", summary.added, summary.failed);

    // The seed is a file of the library or any other, `id:NUMBER`, or words.
    let seed = engine.seed(words, || Ok(&embedder))?;
    let options = SimilarOptions {
        limit: 5,
        ..SimilarOptions::default()
    };
    for found in engine.similar(&[seed], &options)? {
        println!("{:.3}  {}", found.similarity, found.track.display_name());
    }
    Ok(())
}
