//! Folders whose outward symbolic links are followed, stored in the library.

use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::parts::FileTable;
use crate::{Library, Result, record};

/// Setting: a list of [`LinkedFolder`]s as JSON.
const LINKS: &str = "links";

/// A folder with links that lead out of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct LinkedFolder {
    /// In stored form.
    #[serde(with = "record::path_form")]
    path: PathBuf,
    /// Whether the links are followed; else they were reported once.
    is_followed: bool,
}

impl Library {
    fn linked_folders(&self) -> Result<Vec<LinkedFolder>> {
        // a setting that cannot be parsed was not written by voisin; following no link is safe
        Ok(self
            .settings()
            .setting(LINKS)?
            .and_then(|text| serde_json::from_str(&text).ok())
            .unwrap_or_default())
    }

    fn set_linked_folders(&mut self, folders: &[LinkedFolder]) -> Result<()> {
        self.settings_mut()
            .set_setting(LINKS, serde_json::to_string(folders).ok().as_deref())
    }

    /// Moves the entries of folders below `old` to `new`.
    pub(crate) fn relocate_linked_folders(&mut self, old: &Path, new: &Path) -> Result<()> {
        let mut known = self.linked_folders()?;
        let before = known.clone();
        for folder in &mut known {
            if let Ok(rest) = folder.path.strip_prefix(old) {
                // By components, since `join` with an empty rest would append a separator.
                folder.path = new.components().chain(rest.components()).collect();
            }
        }
        if known == before {
            Ok(())
        } else {
            self.set_linked_folders(&known)
        }
    }
}

impl<L: Deref<Target = Library>> FileTable<L> {
    /// The folders, in stored form, below which all links are followed.
    #[doc(hidden)]
    pub fn followed_folders(&self) -> Result<Vec<PathBuf>> {
        let folders = self.linked_folders()?.into_iter();
        Ok(folders
            .filter(|folder| folder.is_followed)
            .map(|folder| folder.path)
            .collect())
    }
}

impl<L: DerefMut<Target = Library>> FileTable<L> {
    /// Stores that links lead out of these folders; returns the folders that are new.
    ///
    /// - `folders`: in stored form
    /// - `is_followed`: follow the links from now on; never switched off
    #[doc(hidden)]
    pub fn note_links(&mut self, folders: &[PathBuf], is_followed: bool) -> Result<Vec<PathBuf>> {
        let mut known = self.linked_folders()?;
        let before = known.clone();
        let mut new = Vec::new();
        for folder in folders {
            if let Some(known) = known.iter_mut().find(|known| known.path == *folder) {
                // Never switched off: a run without the option must not revoke the owner's
                // permission.
                known.is_followed |= is_followed;
            } else {
                known.push(LinkedFolder {
                    path: folder.clone(),
                    is_followed,
                });
                new.push(folder.clone());
            }
        }
        if known != before {
            self.set_linked_folders(&known)?;
        }
        Ok(new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::OpenMode;

    #[test]
    fn folders_whose_links_are_followed_are_remembered() {
        let dir = tempfile::tempdir().unwrap();
        let folders = |names: &[&str]| names.iter().map(PathBuf::from).collect::<Vec<_>>();
        let mut library = Library::open(dir.path(), OpenMode::Create).unwrap();
        assert_eq!(library.files().followed_folders().unwrap(), folders(&[]));
        assert_eq!(
            library
                .files_mut()
                .note_links(&folders(&["/a", "/b"]), false)
                .unwrap(),
            folders(&["/a", "/b"])
        );
        assert_eq!(
            library
                .files_mut()
                .note_links(&folders(&["/a"]), true)
                .unwrap(),
            folders(&[])
        );
        // a followed folder stays followed and is reported once
        assert_eq!(
            library
                .files_mut()
                .note_links(&folders(&["/a", "/c"]), false)
                .unwrap(),
            folders(&["/c"])
        );
        library
            .relocate_linked_folders(Path::new("/a"), Path::new("/disk/a"))
            .unwrap();
        drop(library);
        let library = Library::open(dir.path(), OpenMode::ReadOnly).unwrap();
        assert_eq!(
            library.files().followed_folders().unwrap(),
            folders(&["/disk/a"])
        );
    }
}
