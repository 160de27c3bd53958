//! Files of the library that are no longer on the disk: which of them may be taken out, and which may only be out of reach.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use crate::library::{Library, MissingFile, stored_path};

/// What has gone from below some folders.
#[derive(Default)]
pub(crate) struct Gone {
    /// Files that are not there, in folders that are.
    pub(crate) files: Vec<MissingFile>,
    /// Files whose folder looks as if a disk were not mounted, and the folders that were named.
    pub(crate) out_of_reach: u64,
    pub(crate) folders: Vec<PathBuf>,
}

impl Gone {
    /// Looks for the library's files below `roots`, as a user names them; those that are files themselves say nothing.
    pub(crate) fn below(library: &Library, roots: &[PathBuf]) -> anyhow::Result<Self> {
        let mut gone = Self::default();
        let mut seen: HashSet<PathBuf> = HashSet::new();
        for root in roots.iter().map(|root| stored_path(root)).filter(|root| !root.is_file()) {
            let missing = library.missing_files(Some(&root))?;
            if missing.is_empty() {
                continue;
            }
            let mut known = 0;
            library.for_each_track(|track| {
                known += track.files.iter().filter(|file| file.record.path.starts_with(&root)).count();
                Ok(())
            })?;
            // Not one file is left: no one tidies up like that, but a disk that is not mounted looks so.
            let nothing_left = missing.len() == known;
            let before = gone.out_of_reach;
            for file in missing {
                if !seen.insert(file.file.record.path.clone()) {
                    continue;
                }
                if nothing_left || is_out_of_reach(&file.file.record.path, &root) {
                    gone.out_of_reach += 1;
                } else {
                    gone.files.push(file);
                }
            }
            if gone.out_of_reach > before {
                gone.folders.push(root);
            }
        }
        Ok(gone)
    }
}

/// Whether the deepest folder on the way to a file that is still there lies outside the root, or is empty, as a mount point
/// is without its disk.
fn is_out_of_reach(file: &Path, root: &Path) -> bool {
    let is_hidden = |name: &std::ffi::OsStr| name.as_encoded_bytes().starts_with(b".");
    match file.ancestors().skip(1).find(|folder| folder.is_dir()) {
        Some(folder) if folder.starts_with(root) => match std::fs::read_dir(folder) {
            Ok(entries) => entries.flatten().all(|entry| is_hidden(&entry.file_name())),
            Err(_) => true,
        },
        _ => true,
    }
}
