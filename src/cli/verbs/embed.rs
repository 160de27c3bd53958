//! `voisin embed`: window embeddings of files, without a library.

use std::path::Path;
use std::sync::Arc;

use crate::base::atomic_file::AtomicFile;
use anyhow::{Context as _, bail};
use ndarray::Array1;
use ndarray_npy::NpzWriter;

use crate::audio;
use crate::cli::Ending;
use crate::cli::args::EmbedArgs;
use crate::cli::context::Context;
use crate::cli::render;
use crate::engine::{Embedder, WindowPlan};

pub(crate) fn run(context: &Context, args: &EmbedArgs) -> anyhow::Result<Ending> {
    if !(args.hop.is_finite() && args.hop >= 0.001) {
        bail!("--hop is {}, expected at least 0.001 seconds", args.hop);
    }
    let embedder = context.embedder(None)?;
    std::fs::create_dir_all(&args.output)
        .with_context(|| format!("cannot make the folder {}", args.output.display()))?;
    let mut failed = 0;
    for file in &args.files {
        match embed(&embedder, file, args) {
            Ok(line) => context.console.note(&line),
            Err(error) => {
                render::print_error(&error);
                failed += 1;
            }
        }
    }
    Ok(if failed > 0 { Ending::Partial } else { Ending::Fine })
}

fn embed(embedder: &Arc<Embedder>, file: &Path, args: &EmbedArgs) -> anyhow::Result<String> {
    let info = audio::probe(file)?;
    let config = &embedder.encoder().manifest().front_end;
    let rate = f64::from(config.sample_rate());
    let hop = (args.hop * rate).round().max(1.0) as usize;
    let center = !args.no_center;
    let embedding = embedder.embed(file, &info, WindowPlan::Reference { hop, center }, None)?;
    // openl3 counts from the middle of the first window when that is centred, from its start when not.
    let timestamps: Array1<f64> =
        (0..embedding.windows.nrows()).map(|i| i as f64 * hop as f64 / rate).collect();
    let mut name = file.file_stem().unwrap_or_default().to_owned();
    name.push(".npz");
    let target = args.output.join(name);
    let written = (|| -> anyhow::Result<()> {
        let mut file = AtomicFile::create(&target)?;
        let mut npz = NpzWriter::new(file.file());
        npz.add_array("embedding", &embedding.windows)?;
        npz.add_array("timestamps", &timestamps)?;
        npz.finish()?;
        Ok(file.commit()?)
    })();
    written.with_context(|| format!("cannot write {}", target.display()))?;
    Ok(format!("{}: [{}, {}]", target.display(), embedding.windows.nrows(), embedding.windows.ncols()))
}
