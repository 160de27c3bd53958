//! Parquet files, `add --from-parquet`, `embed` and `export --format parquet`, `worker --output`, and music in
//! object stores. Builds without the feature have `absent.rs` instead.

#[cfg(feature = "postgres")]
mod analyse;
mod embed;

use std::path::Path;

use voisin_parquet::{
    ParquetCompression, VectorsOf, add_from_parquet, export_changes, export_parquet, fetch,
    object_record, parquet_files,
};

use super::args::{AddArgs, ExportArgs};
use super::context::Context;
use super::merge_outcome::finish;
use super::render::{self, count};
use super::{Ending, NothingFound};
use voisin_audio::{Fetch, LocalCopy};
use voisin_base::address;
use voisin_engine::{Engine, is_external, manifest_as_stored};
use voisin_library::{FileRecord, MergeOutcome, OpenMode, StoredModel};

#[cfg(feature = "postgres")]
pub(crate) use analyse::{analyse, make_folder};
pub(crate) use embed::run as embed;
pub(crate) use voisin_parquet::scan_objects;

/// Fetches music at addresses.
pub(crate) const FETCH: Option<Fetch> = Some(fetch);

/// Size and time of a file, or of an object.
pub(crate) fn file_record(path: &Path) -> std::io::Result<FileRecord> {
    if address::scheme(path).is_some() {
        object_record(path)
    } else {
        FileRecord::read(path)
    }
}

/// A local copy of a file to decode, if its path is an address.
pub(crate) fn local_copy(path: &Path) -> std::io::Result<Option<LocalCopy>> {
    address::scheme(path)
        .map(|_| Ok(LocalCopy::new(path, fetch(path)?)))
        .transpose()
}

/// Imports the results of other machines. Files that cannot be read are reported and skipped.
pub(crate) fn add(context: &Context, args: &AddArgs) -> anyhow::Result<Ending> {
    let mut files = Vec::new();
    for path in &args.from_parquet {
        files.extend(parquet_files(path)?);
    }
    if files.is_empty() {
        return Err(NothingFound("expected Parquet files, found none".to_owned()).into());
    }
    let mut engine = context.open_engine_to_change(OpenMode::Create)?;
    // Locked before the model is read, as another process may be setting it for the first time.
    let lock = engine.library().lock_for_writing()?;
    let mut taken = MergeOutcome::default();
    let mut failed = false;
    let mut bad_numbers = 0;
    let vectors = vectors_of(context, args, engine.library().model()?)?;
    for file in &files {
        match add_from_parquet(engine.library_mut(), file, &vectors, args.identity) {
            Ok((of_file, bad)) => {
                taken += of_file;
                bad_numbers += bad;
            }
            // With one file its error is that of the command, with its own exit code.
            Err(error) if files.len() == 1 => return Err(error.into()),
            Err(error) => {
                render::print_error(&error.into());
                failed = true;
            }
        }
    }
    if bad_numbers > 0 {
        context.console.warn(&format!(
            "{} of tags left out: expected whole numbers, and years of four digits",
            count(bad_numbers, "number")
        ));
    }
    let ending = finish(context, &mut engine, taken, args.format)?;
    // Held until the index is up to date, so that no other writer changes vectors meanwhile.
    drop(lock);
    Ok(if failed { Ending::Partial } else { ending })
}

/// The model of vectors in files that do not name it.
fn vectors_of(
    context: &Context,
    args: &AddArgs,
    held: Option<StoredModel>,
) -> anyhow::Result<VectorsOf> {
    if let Some(name) = &args.vectors_of {
        return Ok(VectorsOf::Elsewhere(name.clone()));
    }
    Ok(match (context.requested_model(), held) {
        (Some(model), _) => VectorsOf::Model(manifest_as_stored(&model.manifest()?)?),
        (None, Some(held)) if is_external(&held) => VectorsOf::Elsewhere(held.name),
        (None, Some(held)) => VectorsOf::Model(held),
        (None, None) => VectorsOf::File,
    })
}

fn compression(named: Option<&str>) -> ParquetCompression {
    named
        .and_then(ParquetCompression::named)
        .unwrap_or_default()
}

pub(crate) fn export(engine: &Engine, args: &ExportArgs) -> anyhow::Result<Ending> {
    let windows = !args.no_windows;
    let compression = compression(args.compression.compression.as_deref());
    if args.changes {
        let summary = export_changes(engine, &args.output, windows, compression)?;
        let text = format!(
            "{} changed and {} gone in {}, change {}",
            count(summary.changed, "file"),
            summary.removed,
            args.output.display(),
            summary.change,
        );
        render::print_line(&render::terminal_safe(&text))?;
        return Ok(Ending::Fine);
    }
    let summary = export_parquet(engine, &args.output, windows, compression, args.force)?;
    let text = format!(
        "{} and {} in {}",
        count(summary.tracks, "file"),
        count(summary.failures, "failure"),
        args.output.display()
    );
    render::print_line(&render::terminal_safe(&text))?;
    Ok(if summary.tracks == 0 {
        Ending::Partial
    } else {
        Ending::Fine
    })
}
