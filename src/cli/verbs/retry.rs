//! `voisin add --retry`.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::cli::Ending;
use crate::cli::add_files::add_files;
use crate::cli::args::AddArgs;
use crate::cli::context::Context;
use crate::cli::render::count;
use voisin::{AddOptions, AddRun};
use voisin_library::{Failure, FileRecord, OpenMode, stored_path};

pub(crate) fn run(context: &Context, args: &AddArgs) -> anyhow::Result<Ending> {
    let mut engine = context.open_engine_to_change(OpenMode::ReadWrite)?;
    let below: Vec<PathBuf> = args.paths.iter().map(|path| stored_path(path)).collect();
    let wanted =
        |path: &Path| below.is_empty() || below.iter().any(|folder| path.starts_with(folder));
    let failures: Vec<_> = engine
        .library()
        .failures()?
        .into_iter()
        .filter(|failure| wanted(&failure.path))
        .collect();
    if failures.is_empty() && !args.paths.is_empty() {
        context.console.note(
            "nothing to retry: no failed file below these paths (\"voisin list --failed\" lists them)",
        );
        return Ok(Ending::Partial);
    }
    let mut files = Vec::new();
    let mut gone = Vec::new();
    for failure in failures {
        let Failure {
            path,
            size,
            mtime_ns,
            ..
        } = failure;
        match FileRecord::read(&path) {
            Ok(file) => files.push(file),
            Err(error)
                if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) =>
            {
                gone.push(path);
            }
            // It cannot be read now, so it fails again.
            Err(_) => files.push(FileRecord {
                path,
                size: size.unwrap_or_default(),
                mtime_ns: mtime_ns.unwrap_or_default(),
            }),
        }
    }
    if !gone.is_empty() {
        // Cleared, so that `voisin list --failed` no longer lists them.
        engine.library_mut().clear_failures(Some(&gone))?;
        context.console.note(&format!(
            "{} gone since: removed from the list",
            count(gone.len() as u64, "failed file")
        ));
    }
    let run = AddRun {
        files: &files,
        options: AddOptions {
            retry: true,
            ..AddOptions::default()
        },
        ..AddRun::default()
    };
    add_files(context, &mut engine, run, args.format)
}
