//! `voisin worker --output`: what a worker listened to, as Parquet files.

use std::path::Path;
use std::sync::atomic::AtomicBool;

use voisin_parquet::{EmbedOptions, ParquetCompression, embed_to_parquet};

use voisin_base::track::ContentKind;
use voisin_engine::{AddEvent, AddOptions, Embedder};
use voisin_library::FileRecord;

/// Makes the folder that Parquet files go into, before there is anything to write.
pub(crate) fn make_folder(dir: &Path) -> anyhow::Result<()> {
    Ok(voisin_parquet::make_folder(dir)?)
}

/// Listens to files and writes one Parquet file of them.
pub(crate) fn listen(
    embedder: &Embedder,
    files: &[FileRecord],
    dir: &Path,
    (add, windows, kind): (AddOptions, bool, ContentKind),
    progress: &mut dyn FnMut(AddEvent<'_>),
    stop: &AtomicBool,
) -> anyhow::Result<()> {
    let options = EmbedOptions {
        add,
        // One Parquet file for each batch of the worker, which is done or lost as a whole.
        per_file: files.len().max(1),
        windows,
        kind,
        compression: ParquetCompression::default(),
    };
    embed_to_parquet(embedder, files, dir, &options, progress, stop)?;
    Ok(())
}
