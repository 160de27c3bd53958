//! Files of the library that are no longer on the disk: which of them may be taken out, and which may only be out of reach.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

use crate::cli::render::count;
use crate::library::{Library, MissingFile, stored_path};

/// How many folders a message names.
const NAMED: usize = 5;

/// What has gone from the disk.
#[derive(Default)]
pub(crate) struct MissingFiles {
    /// Files that are not there, in folders that are.
    pub(crate) files: Vec<MissingFile>,
    /// Files of folders that look as if a disk were not mounted.
    pub(crate) out_of_reach: Vec<MissingFile>,
    /// Tracks that stay, because the same recording was added again.
    pub(crate) replaced: usize,
}

impl MissingFiles {
    /// Looks for all files of the library.
    pub(crate) fn anywhere(library: &Library) -> anyhow::Result<Self> {
        let (out_of_reach, files) = library
            .missing_files(None)?
            .into_iter()
            .partition(|file| file.absent_folder.is_some());
        Ok(Self {
            files,
            out_of_reach,
            replaced: 0,
        })
    }

    /// Looks for the library's files below `roots`, as a user names them.
    pub(crate) fn below<'a>(
        library: &Library,
        roots: impl IntoIterator<Item = &'a PathBuf>,
    ) -> anyhow::Result<Self> {
        let mut gone = Self::default();
        let mut seen: HashSet<PathBuf> = HashSet::new();
        for root in roots {
            let root = stored_path(root);
            let missing = library.missing_files(Some(&root))?;
            if missing.is_empty() {
                continue;
            }
            let mut known = 0;
            library.for_each_track(|track| {
                known += track
                    .files
                    .iter()
                    .filter(|file| file.record.path.starts_with(&root))
                    .count();
                Ok(())
            })?;
            // Not one file is left: no one tidies up like that, but a disk that is not mounted looks so.
            let nothing_left = root.is_dir() && missing.len() == known;
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

    /// The folders that are out of reach, each with how many files lay in it.
    pub(crate) fn absent_folders(&self) -> BTreeMap<&Path, u64> {
        let mut folders = BTreeMap::new();
        for folder in self
            .out_of_reach
            .iter()
            .filter_map(|file| file.absent_folder.as_deref())
        {
            *folders.entry(folder).or_insert(0) += 1;
        }
        folders
    }

    /// Why files stay in the library, if some do, and how to go on.
    pub(crate) fn why_some_stay(&self) -> Option<String> {
        let folders = self.absent_folders();
        let one = folders.keys().next().filter(|_| folders.len() == 1);
        let name = |(folder, files): (&&Path, &u64)| {
            let alone = one.is_some();
            let files = if alone {
                String::new()
            } else {
                format!(" ({})", count(*files, "file"))
            };
            format!("{}{files}", folder.display())
        };
        let mut names: Vec<String> = folders.iter().take(NAMED).map(name).collect();
        if folders.len() > NAMED {
            names.push(format!("{} more", folders.len() - NAMED));
        }
        let stay = match self.out_of_reach.len() {
            0 => return None,
            1 => "1 file cannot be found and stays".to_owned(),
            files => format!("{files} files cannot be found and stay"),
        };
        let (are, folder) = match one {
            Some(folder) => ("is", format!("\"{}\"", folder.display())),
            None => ("are", "FOLDER".to_owned()),
        };
        Some(format!(
            "{stay} in the library, since {} {are} absent or empty, as without a disk that is not mounted: mount it and ask again; only if the folder is gone for good: voisin remove --missing --force {folder}",
            names.join(", "),
        ))
    }
}
