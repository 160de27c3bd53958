//! The registered place of a library, which distinguishes a copy from a library that was moved.

use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::parts::TransferTable;
use super::record::path_form;
use super::{Library, OpenMode, Result};

/// Setting: the place of the library's database.
const HOME: &str = "home";

/// A database's place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Home {
    #[serde(with = "path_form")]
    path: PathBuf,
    /// Device and inode of the file, where the system has them: a move on one disk keeps them.
    file: Option<(u64, u64)>,
}

impl Home {
    fn of(database: &Path) -> Option<Self> {
        // Two names of one place, such as a link to the folder, must not make a copy of a library.
        let path = std::fs::canonicalize(database).ok()?;
        #[cfg(unix)]
        let file = {
            use std::os::unix::fs::MetadataExt as _;
            let metadata = std::fs::metadata(&path).ok()?;
            Some((metadata.dev(), metadata.ino()))
        };
        #[cfg(not(unix))]
        let file = None;
        Some(Self { path, file })
    }
}

impl Library {
    fn home(&self) -> Result<Option<Home>> {
        Ok(self
            .settings()
            .setting(HOME)?
            // A setting that cannot be read counts as none: the next note writes it again.
            .and_then(|text| serde_json::from_str(&text).ok()))
    }

    /// Stores where the library is, if that is not stored yet; a failure is ignored.
    pub(super) fn note_first_home(&mut self) {
        if matches!(self.home(), Ok(None)) {
            self.note_home().ok();
        }
    }

    fn note_home(&mut self) -> Result<()> {
        let home = Home::of(&self.path).and_then(|home| serde_json::to_string(&home).ok());
        home.map_or(Ok(()), |home| {
            self.settings_mut().set_setting(HOME, Some(&home))
        })
    }
}

impl<L: Deref<Target = Library>> TransferTable<L> {
    /// The folder that this library is a copy of, if that one still exists. A library that was moved or restored in its
    /// place is no copy.
    #[doc(hidden)]
    pub fn copied_from(&self) -> Result<Option<PathBuf>> {
        let (Some(home), Some(here)) = (self.home()?, Home::of(&self.path)) else {
            return Ok(None);
        };
        // a file that was moved on its disk keeps its inode
        let is_own = home.path == here.path || home.file.is_some() && home.file == here.file;
        let Some(dir) = home.path.parent().filter(|_| !is_own) else {
            return Ok(None);
        };
        // The identity decides, not the path: another library may have been put there.
        let other =
            Library::open(dir, OpenMode::ReadOnly).and_then(|other| other.transfer().identity());
        let is_there =
            other.is_ok_and(|other| self.identity().is_ok_and(|identity| identity == other));
        Ok(is_there.then(|| dir.to_owned()))
    }
}

impl<L: DerefMut<Target = Library>> TransferTable<L> {
    /// Stores the library's present place.
    ///
    /// - `renew`: give it a new identity, other than that of the library it was copied from
    #[doc(hidden)]
    pub fn settle(&mut self, renew: bool) -> Result<()> {
        if renew {
            self.write(|tx| {
                tx.execute(
                    "UPDATE state SET library_id = lower(hex(randomblob(16)))",
                    [],
                )?;
                Ok(())
            })?;
        }
        if self.home()? == Home::of(&self.path) {
            Ok(())
        } else {
            self.note_home()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(dir: &Path) -> Library {
        Library::open(dir, OpenMode::ReadWrite).unwrap()
    }

    fn copy(from: &Path, to: &Path) {
        std::fs::create_dir(to).unwrap();
        std::fs::copy(from.join("voisin.db"), to.join("voisin.db")).unwrap();
    }

    #[test]
    fn a_copy_differs_from_a_library_that_was_moved() {
        let folder = tempfile::tempdir().unwrap();
        let [first, second, moved] =
            ["first", "second", "moved"].map(|name| folder.path().join(name));
        drop(Library::open(&first, OpenMode::Create).unwrap());
        copy(&first, &second);
        let there = std::fs::canonicalize(&first).unwrap();
        assert_eq!(open(&first).transfer().copied_from().unwrap(), None);
        assert_eq!(
            open(&second).transfer().copied_from().unwrap(),
            Some(there),
            "it was opened for writing, too"
        );
        // Elsewhere on the disk, and from another one: a copy whose origin is gone.
        std::fs::rename(&first, &moved).unwrap();
        assert_eq!(open(&moved).transfer().copied_from().unwrap(), None);
        assert_eq!(
            open(&second).transfer().copied_from().unwrap(),
            None,
            "nobody else is it any more"
        );
        // once the moved one has settled, a copy of it is a copy of its new place
        let mut library = open(&moved);
        library.transfer_mut().settle(false).unwrap();
        let identity = library.transfer().identity().unwrap();
        drop(library);
        copy(&moved, &first);
        let mut library = open(&first);
        assert!(library.transfer().copied_from().unwrap().is_some());
        library.transfer_mut().settle(true).unwrap();
        assert_ne!(library.transfer().identity().unwrap(), identity);
        assert_eq!(
            (
                library.transfer().copied_from().unwrap(),
                library.transfer().identity().unwrap().len()
            ),
            (None, identity.len())
        );
        // One that was put back in its place.
        drop(library);
        std::fs::copy(first.join("voisin.db"), folder.path().join("kept")).unwrap();
        std::fs::remove_file(first.join("voisin.db")).unwrap();
        std::fs::copy(folder.path().join("kept"), first.join("voisin.db")).unwrap();
        assert_eq!(open(&first).transfer().copied_from().unwrap(), None);
    }
}
