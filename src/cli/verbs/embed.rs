//! `voisin embed`: window embeddings of files, without a library.

use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, bail};
use ndarray::{Array1, Array2};
use ndarray_npy::NpzWriter;

use crate::cli::args::{EmbedArgs, EmbedFormat};
use crate::cli::columnar;
use crate::cli::context::Context;
use crate::cli::named::{named_paths, scan_named, targets};
use crate::cli::render::{self, count};
use crate::cli::{Ending, NothingFound};
use voisin::{Embedder, WindowPlan};
use voisin_audio as audio;
use voisin_base::output::{OutputTarget, check_folder};
use voisin_library::scan::{Exclusions, Links};

/// Default time from one window to the next, in seconds.
const HOP: f64 = 0.1;

pub(crate) fn run(context: &Context, args: &EmbedArgs) -> anyhow::Result<Ending> {
    let hop = args.hop.map_or(HOP, |hop| hop.0);
    // A thousand windows a second overlap almost completely; a mistyped smaller hop would fill the
    // disk.
    if hop < 0.001 {
        bail!("--hop: expected at least 0.001 seconds, found {hop}");
    }
    // Before files are scanned and the model is loaded.
    check_folder(&args.output)?;
    let paths = named_paths(&args.paths)?;
    let mut found = scan_named(&paths, &Exclusions::default(), Links::All);
    let is_held = |path: &Path| args.shard.is_none_or(|shard| shard.holds(path));
    if args.format == EmbedFormat::Parquet {
        found.files.retain(|file| is_held(&file.path));
    }
    context.console.warn_of(&found.problems);
    if args.format == EmbedFormat::Parquet {
        return columnar::embed(context, args, &found);
    }
    let files: Vec<PathBuf> = found.files.into_iter().map(|file| file.path).collect();
    // No file at all is a mistake even with a shard; a shard itself may be empty by chance.
    if files.is_empty() && found.problems.is_empty() {
        return Err(NothingFound("expected audio files, found none".to_owned()).into());
    }
    let embedder = context.embedder(None)?;
    let console = context.console;
    let mut failed = found.problems.len();
    let mut kept = 0;
    // Computed for the files of all shards, so that no two shards write the same file.
    let targets = targets(&files, &found.roots, "npz");
    for (file, target) in files.iter().zip(targets).filter(|(file, _)| is_held(file)) {
        let target = args.output.join(target);
        let shown = target.display();
        if target.exists() {
            console.detail(&format!("{shown}: is there already"));
            kept += 1;
            continue;
        }
        match embed(&embedder, file, &target, hop) {
            Ok((windows, dimension)) => console.note(&format!("{shown}: [{windows}, {dimension}]")),
            Err(error) => {
                render::print_error(&error);
                failed += 1;
            }
        }
    }
    if kept > 0 {
        let files = count(kept, "file");
        console.note(&format!("{files} there already and left as they are"));
    }
    Ok(Ending::partial_if(failed > 0))
}

/// Writes the windows of `file` to `target`; returns their number and dimension.
fn embed(
    embedder: &Arc<Embedder>,
    file: &Path,
    target: &Path,
    hop: f64,
) -> anyhow::Result<(usize, usize)> {
    let info = audio::probe(file)?;
    let rate = f64::from(embedder.sample_rate());
    // In whole samples, also for the timestamps below: rounding errors would otherwise add up.
    let hop = (hop * rate).round().max(1.0) as usize;
    let plan = WindowPlan::Reference { hop };
    let embedding = embedder.embed(file, &info, plan)?;
    // As openl3: from the middle of the first window.
    let timestamps: Array1<f64> = (0..embedding.windows.nrows())
        .map(|i| i as f64 * hop as f64 / rate)
        .collect();
    let folder = target.parent().unwrap_or(Path::new(""));
    std::fs::create_dir_all(folder)
        .with_context(|| format!("cannot make the folder {}", folder.display()))?;
    write(target, &embedding.windows, &timestamps)
        .with_context(|| format!("cannot write {}", target.display()))?;
    Ok(embedding.windows.dim())
}

fn write(target: &Path, windows: &Array2<f32>, timestamps: &Array1<f64>) -> anyhow::Result<()> {
    // In memory, as the writer prints an error of its own when it is dropped on a full disk.
    let mut npz = NpzWriter::new(Cursor::new(Vec::new()));
    npz.add_array("embedding", windows)?;
    npz.add_array("timestamps", timestamps)?;
    let bytes = npz.finish()?;
    // Whole or not at all, so that a killed run leaves no partial file that the next one would keep.
    Ok(OutputTarget::whole(target)?.write(bytes.get_ref())?)
}
