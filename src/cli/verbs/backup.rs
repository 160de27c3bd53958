//! `voisin export FILE.db`: a copy of the database, checked.

use std::fs::File;
use std::path::Path;

use anyhow::{Context as _, bail};

use crate::cli::Ending;
use crate::cli::context::Context;
use crate::cli::outputs::whole_file;
use crate::cli::render::{self, count};
use voisin_base::abandoned;
use voisin_base::atomic_file::{self, folder_of};
use voisin_library::{DATABASE, Library, LibraryError, OpenMode};

/// Prefix of the folders in which copies are made and checked.
const STAGING: &str = ".voisin-backup-";
/// The file in such a folder that its process holds a lock on.
const HELD: &str = "in-use";

/// Removes the folders that killed runs left beside a target.
fn remove_abandoned(parent: &Path) {
    for entry in std::fs::read_dir(parent).into_iter().flatten().flatten() {
        let is_ours = entry
            .file_name()
            .as_encoded_bytes()
            .starts_with(STAGING.as_bytes())
            && entry.file_type().is_ok_and(|kind| kind.is_dir());
        // A folder whose file is still locked belongs to a running backup.
        if is_ours && !abandoned::files_in(&entry.path(), HELD).is_empty() {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

pub(crate) fn run(context: &Context, file: &Path) -> anyhow::Result<Ending> {
    let library = Library::open_to_read(&context.library_dir())?;
    // Before the copy is made, which may take minutes.
    let output = whole_file(context, file)?;
    let target = output.target()?;
    remove_abandoned(folder_of(&target));
    // A folder beside the target: the copy is opened and checked as a library before it is renamed.
    let staging = atomic_file::staging_folder(&target, STAGING)
        .with_context(|| format!("cannot write beside {}", file.display()))?;
    let held = File::create(staging.path().join(HELD))?;
    // The lock ends with the process, so that the next run can remove the folder after a crash.
    abandoned::hold(&held);
    let copy = staging.path().join(DATABASE);
    // Counted before the copy is made, as a concurrent `add` only makes the copy larger.
    let before = library.status()?;
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
    let after = copied.status()?;
    // SQLite has to close the file before it is moved.
    drop(copied);
    if before.tracks > after.tracks {
        bail!(
            "the copy has {} of {} tracks and was not kept: try again",
            after.tracks,
            before.tracks
        );
    }
    atomic_file::rename(&copy, &output.target()?)
        .with_context(|| format!("cannot write {}", file.display()))?;
    let text = format!(
        "{} and {} in {}, checked",
        count(after.tracks, "track"),
        count(after.files, "file"),
        file.display()
    );
    render::print_line(&render::terminal_safe(&text))?;
    Ok(Ending::Fine)
}
