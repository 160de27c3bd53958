//! What reads and writes Parquet files: `add --from-parquet`, `embed` and `export --format parquet`, `worker --output`. A
//! program that is built without the feature has `absent.rs` in its place.

mod embed;

use std::path::Path;
use std::sync::atomic::AtomicBool;

#[cfg(feature = "postgres")]
use anyhow::Context as _;
use voisin_parquet::{EmbedOptions, add_from_parquet, embed_to_parquet, export_parquet, parquet_files};

use super::args::{AddArgs, ExportArgs};
use super::context::Context;
use super::merge_outcome::finish;
use super::render::{self, count};
use super::{Ending, NothingFound};
use crate::engine::{AddEvent, AddOptions, Embedder, Engine};
use crate::library::{FileRecord, MergeOutcome, OpenMode};
use crate::track::ContentKind;

pub(crate) use embed::run as embed;

/// Takes in what other machines have listened to. A file that cannot be read is told and the others go on.
pub(crate) fn add(context: &Context, args: &AddArgs) -> anyhow::Result<Ending> {
    let mut files = Vec::new();
    for path in &args.from_parquet {
        files.extend(parquet_files(path)?);
    }
    if files.is_empty() {
        return Err(NothingFound("expected Parquet files, found none".to_owned()).into());
    }
    let mut engine = context.open_engine_to_change(OpenMode::Create)?;
    let lock = engine.library().lock_for_writing()?;
    let (mut taken, mut failed) = (MergeOutcome::default(), false);
    for file in &files {
        match add_from_parquet(engine.library_mut(), file) {
            Ok(of_file) => taken += of_file,
            Err(error) if files.len() == 1 => return Err(error.into()),
            Err(error) => {
                render::print_error(&error.into());
                failed = true;
            }
        }
    }
    let ending = finish(context, &mut engine, taken, args.format)?;
    drop(lock);
    Ok(if failed { Ending::Partial } else { ending })
}

pub(crate) fn export(engine: &Engine, args: &ExportArgs) -> anyhow::Result<Ending> {
    let summary = export_parquet(engine, &args.output, !args.no_windows)?;
    let text = format!(
        "{} and {} in {}",
        count(summary.tracks, "file"),
        count(summary.failures, "failure"),
        args.output.display()
    );
    render::print_line(&render::terminal_safe(&text))?;
    Ok(if summary.tracks == 0 { Ending::Partial } else { Ending::Fine })
}

/// Makes the folder that Parquet files go into, before there is anything to write.
#[cfg(feature = "postgres")]
pub(crate) fn make_folder(dir: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(dir).with_context(|| format!("cannot make the folder {}", dir.display()))
}

/// Listens to files and writes one Parquet file of them.
#[cfg(feature = "postgres")]
pub(crate) fn listen(
    embedder: &Embedder,
    files: &[FileRecord],
    dir: &Path,
    (add, windows, kind): (AddOptions, bool, ContentKind),
    progress: &mut dyn FnMut(AddEvent<'_>),
    stop: &AtomicBool,
) -> anyhow::Result<()> {
    let options = EmbedOptions { add, per_file: files.len().max(1), windows, kind };
    embed_to_parquet(embedder, files, dir, &options, progress, stop)?;
    Ok(())
}
