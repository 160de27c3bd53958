//! Updates paths after a folder of music was moved.

use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};

use super::parts::FileTable;
use super::store::below;
use super::{Library, LibraryError, Result, paths, stored_path};

/// The changes of moving a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relocation {
    /// Each file's path before and after, by the path before.
    pub files: Vec<(PathBuf, PathBuf)>,
    /// How many of them are at their new place.
    pub found: usize,
    /// Files of the library below the new folder already, if none is below the old one: moved before.
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
            // The query returns only paths below `old`; `old` itself, a single file, has no rest.
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
        // Every file is checked before any row changes, so that the error can name the conflict.
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
        // One file there shows that the folder is the right one; the others count as missing later.
        let found = files.iter().filter(|(_, target)| target.exists()).count();
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
    /// The files at or below this path, sorted by path.
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
    /// As [`plan_relocation`](crate::FileTable::plan_relocation); or a new path belongs to another file of the library.
    #[doc(hidden)]
    pub fn relocate(&mut self, old: &Path, new: &Path) -> Result<Relocation> {
        let plan = self.plan_relocation(old, new)?;
        if plan.files.is_empty() {
            return Ok(plan);
        }
        let old = stored_path(old);
        let new = stored_path(new);
        let (exact, from, to) = below(&old)?;
        // The root ends with a separator, with which the rest of a path begins.
        let separator = [std::path::MAIN_SEPARATOR as u8];
        // Bytes to cut from the front of each path; `substr` counts from 1.
        let length = exact.strip_suffix(&separator).unwrap_or(&exact).len() as i64;
        let target = paths::to_bytes(&new)?;
        let target = target.strip_suffix(&separator).unwrap_or(target);
        // Staged with a prefix that no path has: rows change one by one, and if a folder moves into itself,
        // one row would get a path that another still has.
        let staged = [&b"\0"[..], target].concat();
        self.write(|tx| {
            // Failures too, or those files would be tried again; the last paths of tracks without a
            // file; and written tags, or `undo` would not find their files.
            for (table, column, or) in [
                ("files", "path", ""),
                ("failures", "path", "OR IGNORE"),
                ("audio", "last_path", ""),
                ("written_tags", "path", "OR IGNORE"),
            ] {
                // Concatenated blobs are cast back to blobs, as text functions would count characters.
                tx.execute(
                    &format!(
                        "UPDATE {table} SET {column} = CAST(?1 || substr({column}, ?2 + 1) AS BLOB)
                         WHERE {column} = ?3 OR ({column} >= ?4 AND {column} < ?5)"
                    ),
                    (&staged, length, &exact, &from, &to),
                )?;
                tx.execute(
                    &format!(
                        "UPDATE {or} {table} SET {column} = substr({column}, 2)
                         WHERE {column} >= x'00' AND {column} < x'01'"
                    ),
                    [],
                )?;
            }
            // A failure at the new place is the later one and stays.
            let sql = "DELETE FROM failures WHERE path >= x'00' AND path < x'01'";
            tx.execute(sql, [])?;
            // A run that wrote at both places keeps the old path of the one.
            tx.execute(
                "UPDATE OR REPLACE written_tags SET path = CAST(?1 || substr(path, ?2 + 1) AS BLOB)
                 WHERE path >= x'00' AND path < x'01'",
                (&exact, staged.len() as i64),
            )?;
            Ok(())
        })?;
        // A separate setting, outside of the transaction: if it fails, links are reported again.
        self.relocate_linked_folders(&old, &new)?;
        Ok(plan)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Failure, WrittenTags, testing};
    use std::fs;

    #[test]
    fn a_folder_moves_into_itself_and_onto_failures() {
        let dir = tempfile::tempdir().unwrap();
        let music = stored_path(&dir.path().join("music"));
        let mut library = testing::library(&dir.path().join("library"), 2);
        let put = |path: &Path| {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "audio").unwrap();
        };
        for (seed, name) in [(1, "x.ogg"), (2, "old/x.ogg")] {
            let mut new = testing::track(seed, vec![0.6, 0.8], 0);
            new.file.path = music.join(name);
            library.insert_track(&new).unwrap();
            put(&music.join("old").join(name));
        }
        let failed = |name: &str| Failure::refused(music.join(name), "noise".to_owned());
        let failures = [
            failed("b.ogg"),
            failed("old/b.ogg"),
            failed("new/old/b.ogg"),
        ];
        library.transfer_mut().take_in_failures(&failures).unwrap();
        for name in ["x.ogg", "old/x.ogg"] {
            let written = WrittenTags {
                path: music.join(name),
                before: Vec::new(),
                after: Vec::new(),
                patch: Some(name.into()),
            };
            library.tags_mut().record_written(1, &written).unwrap();
        }
        let patch = |library: &Library, path: &Path| {
            let written = library.tags().written_into(1, path).unwrap();
            written.unwrap().patch.unwrap()
        };
        let paths = |library: &Library| library.paths_below(&music).unwrap();
        let old = music.join("old");
        let plan = library.files_mut().relocate(&music, &old).unwrap();
        assert_eq!(plan.files.len(), 2);
        assert_eq!(paths(&library), [old.join("old/x.ogg"), old.join("x.ogg")]);
        assert_eq!(library.status().unwrap().failures, 3);
        assert_eq!(patch(&library, &old.join("x.ogg")), b"x.ogg");
        assert_eq!(patch(&library, &old.join("old/x.ogg")), b"old/x.ogg");

        // And out of it, where one failure has the new path of another.
        let back = music.join("new");
        put(&back.join("x.ogg"));
        let again = [Failure::refused(back.join("b.ogg"), "noise".to_owned())];
        library.transfer_mut().take_in_failures(&again).unwrap();
        library.files_mut().relocate(&old, &back).unwrap();
        assert_eq!(
            paths(&library),
            [back.join("old/x.ogg"), back.join("x.ogg")]
        );
        let left = library.files().failures().unwrap();
        assert_eq!(left.len(), 3);
        assert!(left.iter().all(|failure| failure.path.starts_with(&back)));
        assert_eq!(patch(&library, &back.join("old/x.ogg")), b"old/x.ogg");
    }
}
