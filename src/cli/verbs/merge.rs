//! `voisin merge`.

use anyhow::bail;

use crate::cli::Ending;
use crate::cli::args::MergeArgs;
use crate::cli::context::Context;
use crate::cli::merge_outcome::finish;
use voisin_library::{Library, LibraryError, MergeOutcome, OpenMode};

pub(crate) fn run(context: &Context, args: &MergeArgs) -> anyhow::Result<Ending> {
    let own_folder = std::path::absolute(context.library_dir())?;
    for dir in &args.libraries {
        // Merged into itself, a library would be read while it is written.
        if same_folder(dir, &own_folder) {
            bail!(
                "{} is this library: expected others (--library names this one)",
                dir.display()
            );
        }
    }
    // All are opened before anything is changed.
    let others = args
        .libraries
        .iter()
        .map(|dir| match Library::open_to_read(dir) {
            // Its usual advice is about this library.
            Err(error @ LibraryError::NotFound { .. }) => {
                bail!("{error}: expected the folder of another library")
            }
            opened => Ok(opened?),
        })
        .collect::<anyhow::Result<Vec<_>>>()?;
    let mut engine = context.open_engine_to_change(OpenMode::Create)?;
    let lock = engine.library().lock_for_writing()?;
    let mut taken = MergeOutcome::default();
    for other in &others {
        taken += engine.merge(other)?;
    }
    let ending = finish(context, &mut engine, taken, args.format)?;
    drop(lock);
    Ok(ending)
}

fn same_folder(a: &std::path::Path, b: &std::path::Path) -> bool {
    match (a.canonicalize(), b.canonicalize()) {
        // Resolved, since links and `..` give a folder several names.
        (Ok(a), Ok(b)) => a == b,
        _ => false,
    }
}
