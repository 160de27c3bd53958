//! Parquet files, `add --from-parquet`, `embed` and `export --format parquet`. Builds without the feature have `absent.rs`
//! instead.

mod embed;

use voisin_exchange::parquet::{VectorsOf, add_from_parquet, export_parquet, parquet_files};

use super::args::{AddArgs, ExportArgs};
use super::context::Context;
use super::merge_outcome::finish;
use super::render::{self, count};
use super::{Ending, NothingFound};
use voisin::{Engine, is_external, manifest_as_stored};
use voisin_library::{MergeOutcome, OpenMode, StoredModel};

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
    let mut bad_numbers = 0;
    let vectors = vectors_of(context, args, engine.library().model()?)?;
    for file in &files {
        match add_from_parquet(engine.library_mut(), file, &vectors) {
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

pub(crate) fn export(engine: &Engine, args: &ExportArgs) -> anyhow::Result<Ending> {
    let summary = export_parquet(engine, &args.output)?;
    let text = format!(
        "{} and {} in {}",
        count(summary.tracks, "file"),
        count(summary.failures, "failure"),
        args.output.display()
    );
    render::print_line(&render::terminal_safe(&text))?;
    Ok(Ending::partial_if(summary.tracks == 0))
}
