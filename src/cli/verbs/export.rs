//! `voisin export`.

use std::path::Path;

use anyhow::{Context as _, bail};

use crate::cli::Ending;
use crate::cli::args::ExportArgs;
use crate::cli::columnar;
use crate::cli::context::Context;
use crate::cli::outputs::{check_output_folder, whole_file};
use crate::cli::render::{self, count};
use voisin::{EXPORT_FILES, Engine, export};
use voisin_base::atomic_file::{self, PREFIX, folder_of};
use voisin_library::{DATABASE, Library, LibraryError, OpenMode};

pub(crate) fn run(context: &Context, args: &ExportArgs) -> anyhow::Result<Ending> {
    let is_file = |ending: &str| args.output.extension().is_some_and(|found| found == ending);
    if is_file("db") {
        return back_up(context, &args.output);
    }
    let library = Library::open_to_read(&context.library_dir())?;
    let engine = &Engine::from_library(library);
    if is_file("parquet") {
        return columnar::export(context, engine, &args.output);
    }
    check_output_folder(context, &args.output, &EXPORT_FILES)?;
    let summary = export(engine, &args.output)?;
    let text = format!(
        "{} of {} dimensions in {}",
        count(summary.tracks as u64, "track"),
        summary.dimension,
        args.output.display()
    );
    render::print_line(&render::terminal_safe(&text))?;
    Ok(Ending::partial_if(summary.tracks == 0))
}

/// A copy of the database, checked.
fn back_up(context: &Context, file: &Path) -> anyhow::Result<Ending> {
    let library = Library::open_to_read(&context.library_dir())?;
    // Before the copy is made, which may take minutes.
    let output = whole_file(context, file)?;
    let target = output.target()?;
    // A folder beside the target: the copy is opened and checked as a library before it is renamed.
    let mut beside = tempfile::Builder::new();
    let staging = beside
        .prefix(PREFIX)
        .tempdir_in(folder_of(&target))
        .with_context(|| format!("cannot write beside {}", file.display()))?;
    let copy = staging.path().join(DATABASE);
    library.back_up(&copy).map_err(|error| match error {
        LibraryError::DiskFull { .. } => LibraryError::DiskFull {
            path: file.to_owned(),
        },
        error => error,
    })?;
    let copied = Library::open(staging.path(), OpenMode::ReadOnly)?;
    // A deep check, as a backup is not opened again until it is needed.
    let health = copied.check()?;
    if let Some(finding) = health.findings.first() {
        bail!("the copy is damaged ({finding}) and was not kept: run \"voisin verify\"");
    }
    let status = copied.status()?;
    // SQLite has to close the file before it is moved.
    drop(copied);
    atomic_file::rename(&copy, &target)
        .with_context(|| format!("cannot write {}", file.display()))?;
    let text = format!(
        "{} and {} in {}, checked",
        count(status.tracks, "track"),
        count(status.files, "file"),
        file.display()
    );
    render::print_line(&render::terminal_safe(&text))?;
    Ok(Ending::Fine)
}
