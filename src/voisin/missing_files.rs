//! Files of the library that are no longer on the disk, separated into those that may be removed and those that may only be
//! unreachable.

use std::collections::{BTreeSet, HashSet};
use std::path::{Path, PathBuf};

use serde::{Serialize, Serializer};

use super::EngineError;
use voisin_library::{Library, MissingFile, stored_path};

/// In JSON their numbers.
#[derive(Debug, Default, Serialize)]
pub struct MissingFiles {
    #[serde(rename = "gone", serialize_with = "number")]
    pub files: Vec<MissingFile>,
    /// Files in folders that look like those of a disk that is not mounted.
    #[serde(serialize_with = "number")]
    pub out_of_reach: Vec<MissingFile>,
}

fn number<S: Serializer>(files: &[MissingFile], serializer: S) -> Result<S::Ok, S::Error> {
    files.len().serialize(serializer)
}

impl MissingFiles {
    pub fn anywhere(library: &Library) -> Result<Self, EngineError> {
        let (out_of_reach, files) = library
            .missing_files(None)?
            .into_iter()
            .partition(|file| file.absent_folder.is_some());
        Ok(Self {
            files,
            out_of_reach,
        })
    }

    /// Checks the library's files below `roots`, as named by the user.
    pub fn below<'a>(
        library: &Library,
        roots: impl IntoIterator<Item = &'a PathBuf>,
    ) -> Result<Self, EngineError> {
        let mut gone = Self::default();
        let mut seen: HashSet<PathBuf> = HashSet::new();
        for root in roots {
            let root = stored_path(root);
            let missing = library.missing_files(Some(&root))?;
            if missing.is_empty() {
                continue;
            }
            let known = library.files_below(&root)?;
            // If no file at all is left, a disk is more likely not mounted than emptied.
            let nothing_left = root.is_dir() && missing.len() as u64 == known;
            for mut file in missing {
                if !seen.insert(file.file.record.path.clone()) {
                    continue;
                }
                if nothing_left && file.absent_folder.is_none() {
                    file.absent_folder = Some(root.clone());
                }
                let list = if file.absent_folder.is_some() {
                    &mut gone.out_of_reach
                } else {
                    &mut gone.files
                };
                list.push(file);
            }
        }
        Ok(gone)
    }

    pub fn absent_folders(&self) -> BTreeSet<&Path> {
        let files = self.out_of_reach.iter();
        files
            .filter_map(|file| file.absent_folder.as_deref())
            .collect()
    }
}
