//! A folder of music that lies elsewhere now.

use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};

use super::parts::FileTable;
use super::store::below;
use super::{Library, LibraryError, Result, paths, stored_path};
use voisin_base::cue::Place;

/// The changes of moving a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relocation {
    /// Each file's path before and after, by the path before.
    pub files: Vec<(PathBuf, PathBuf)>,
    /// How many of them are at their new place.
    pub found: usize,
    /// Files of the library that are below the new folder already, where none is below the old one: moved before.
    pub moved_before: usize,
}

impl<L: Deref<Target = Library>> FileTable<L> {
    /// The changes that [`relocate`](crate::FileTable::relocate) would make.
    ///
    /// # Errors
    /// The library has no file below `old` or `new`, or none of them is below `new`.
    #[doc(hidden)]
    pub fn plan_relocation(&self, old: &Path, new: &Path) -> Result<Relocation> {
        let old = stored_path(old);
        let new = stored_path(new);
        let (_, first, last) = below(&old)?;
        let moved = |path: PathBuf| {
            let rest = path.strip_prefix(&old).unwrap_or(Path::new(""));
            let target = if rest.as_os_str().is_empty() {
                new.clone()
            } else {
                new.join(rest)
            };
            (path, target)
        };
        let files: Vec<(PathBuf, PathBuf)> =
            self.paths_below(&old)?.into_iter().map(moved).collect();
        if files.is_empty() {
            let moved_before = self.paths_below(&new)?.len();
            if moved_before == 0 {
                return Err(LibraryError::NothingBelow { folder: old });
            }
            return Ok(Relocation {
                files,
                found: 0,
                moved_before,
            });
        }
        for (_, target) in &files {
            let bytes = paths::to_bytes(target)?;
            // a target below the old folder is moved itself, so it is free
            if (first.as_slice()..last.as_slice()).contains(&bytes) {
                continue;
            }
            if self.find_by_path(target)?.is_some() {
                return Err(LibraryError::Taken {
                    path: target.clone(),
                });
            }
        }
        let found = files
            .iter()
            .filter(|(_, target)| Place::exists(target))
            .count();
        if found == 0 {
            return Err(LibraryError::NotMoved {
                files: files.len() as u64,
                new,
            });
        }
        Ok(Relocation {
            files,
            found,
            moved_before: 0,
        })
    }
}

impl Library {
    /// The files that are or lie below this path, by their paths.
    fn paths_below(&self, folder: &Path) -> Result<Vec<PathBuf>> {
        let range = below(folder)?;
        let known = self
            .connection
            .prepare("SELECT path FROM files WHERE path = ?1 OR (path >= ?2 AND path < ?3) ORDER BY path")
            .and_then(|mut statement| {
                let rows =
                    statement.query_map(range, |row| Ok(paths::from_bytes(row.get_ref(0)?.as_blob()?)))?;
                rows.collect()
            });
        self.sql(known)
    }
}

impl<L: DerefMut<Target = Library>> FileTable<L> {
    /// Rewrites the paths below `old` to lie below `new`, those of failures too; all or none.
    ///
    /// # Errors
    /// As [`plan_relocation`](crate::FileTable::plan_relocation); or another file of the library has a new path
    /// already.
    #[doc(hidden)]
    pub fn relocate(&mut self, old: &Path, new: &Path) -> Result<Relocation> {
        let plan = self.plan_relocation(old, new)?;
        if plan.files.is_empty() {
            return Ok(plan);
        }
        let old = stored_path(old);
        let new = stored_path(new);
        let (exact, from, to) = below(&old)?;
        // The root ends in a separator, which the rest of a path begins with.
        let separator = [std::path::MAIN_SEPARATOR as u8];
        let length = exact.strip_suffix(&separator).unwrap_or(&exact).len() as i64;
        let target = paths::to_bytes(&new)?;
        let target = target.strip_suffix(&separator).unwrap_or(target).to_vec();
        self.write(|tx| {
            for (table, column) in [
                ("files", "path"),
                ("failures", "path"),
                ("audio", "last_path"),
            ] {
                // Text functions would take bytes for characters: concatenated blobs are cast back to blobs.
                tx.execute(
                    &format!(
                        "UPDATE {table} SET {column} = CAST(?1 || substr({column}, ?2 + 1) AS BLOB)
                         WHERE {column} = ?3 OR ({column} >= ?4 AND {column} < ?5)"
                    ),
                    (&target, length, &exact, &from, &to),
                )?;
            }
            Ok(())
        })?;
        self.relocate_linked_folders(&old, &new)?;
        Ok(plan)
    }
}
