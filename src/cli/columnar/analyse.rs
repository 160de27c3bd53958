//! `voisin worker --output`: the results of a worker as Parquet files.

use std::path::Path;
use std::sync::atomic::AtomicBool;

use voisin_parquet::{EmbedOptions, ParquetCompression, embed_to_parquet};

use voisin_base::track::ContentKind;
use voisin_engine::{AddEvent, AddOptions, Embedder};
use voisin_library::FileRecord;

/// Creates the folder for Parquet files, before there is anything to write.
pub(crate) fn make_folder(dir: &Path) -> anyhow::Result<()> {
    Ok(voisin_parquet::make_folder(dir)?)
}

/// Analyses files and writes the results into one Parquet file.
pub(crate) fn analyse(
    embedder: &Embedder,
    files: &[FileRecord],
    dir: &Path,
    (add, windows, kind): (AddOptions, bool, ContentKind),
    progress: &mut dyn FnMut(AddEvent<'_>),
    stop: &AtomicBool,
) -> anyhow::Result<()> {
    let options = EmbedOptions {
        add,
        // One Parquet file for each batch of the worker, which is completed or lost as a whole.
        per_file: files.len().max(1),
        windows,
        kind,
        compression: ParquetCompression::default(),
    };
    embed_to_parquet(embedder, files, dir, &options, progress, stop)?;
    Ok(())
}
