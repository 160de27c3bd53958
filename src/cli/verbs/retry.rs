//! `voisin retry`.

use std::path::{Path, PathBuf};

use crate::cli::Ending;
use crate::cli::add_files::{RunOptions, add_files};
use crate::cli::args::RetryArgs;
use crate::cli::context::Context;
use crate::cli::render::count;
use crate::library::{FileRecord, OpenMode, stored_path};

pub(crate) fn run(context: &Context, args: &RetryArgs) -> anyhow::Result<Ending> {
    let mut engine = context.open_engine_to_change(OpenMode::ReadWrite)?;
    let below: Vec<PathBuf> = args.paths.iter().map(|path| stored_path(path)).collect();
    let wanted = |path: &Path| below.is_empty() || below.iter().any(|folder| path.starts_with(folder));
    let failures: Vec<_> =
        engine.library().failures()?.into_iter().filter(|failure| wanted(&failure.path)).collect();
    let mut files = Vec::new();
    let mut gone = Vec::new();
    for failure in failures {
        match FileRecord::read(&failure.path) {
            Ok(file) => files.push(file),
            Err(_) => gone.push(failure.path),
        }
    }
    if !gone.is_empty() {
        engine.library_mut().clear_failures(Some(&gone))?;
        context.console.note(&format!("{} gone since: forgotten", count(gone.len() as u64, "failed file")));
    }
    let again: Vec<PathBuf> = files.iter().map(|file| file.path.clone()).collect();
    if !again.is_empty() {
        engine.library_mut().clear_failures(Some(&again))?;
    }
    add_files(context, &mut engine, &files, RunOptions { force: false, dry_run: false, format: args.format })
}
