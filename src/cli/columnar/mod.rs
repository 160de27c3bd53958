//! Parquet files: `add --from-parquet`, `embed --format parquet` and `export FILE.parquet`. Builds without the feature have
//! `absent.rs` instead.

mod embed;

use std::path::Path;

use voisin_exchange::parquet::{add_from_parquet, export_parquet, parquet_files};

use super::args::AddArgs;
use super::context::Context;
use super::merge_outcome::finish;
use super::outputs::whole_file;
use super::render::{self, count};
use super::{Ending, NothingFound};
use voisin::Engine;
use voisin_library::{MergeOutcome, OpenMode};

pub(crate) use embed::run as embed;

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
    for file in &files {
        match add_from_parquet(engine.library_mut(), file) {
            Ok(of_file) => taken += of_file,
            // With one file its error is that of the command, with its own exit code.
            Err(error) if files.len() == 1 => return Err(error.into()),
            Err(error) => {
                render::print_error(&error.into());
                failed = true;
            }
        }
    }
    let ending = finish(context, &mut engine, taken, args.format)?;
    // Held until the index is up to date, so that no other writer changes vectors meanwhile.
    drop(lock);
    Ok(if failed { Ending::Partial } else { ending })
}

pub(crate) fn export(context: &Context, engine: &Engine, file: &Path) -> anyhow::Result<Ending> {
    whole_file(context, file)?;
    let tracks = export_parquet(engine, file)?;
    let text = format!("{} in {}", count(tracks, "track"), file.display());
    render::print_line(&render::terminal_safe(&text))?;
    Ok(Ending::partial_if(tracks == 0))
}
