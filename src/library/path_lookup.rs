//! Look-up of tracks by the end of their path.

use std::path::{Path, PathBuf};

use super::path_matching::KnownFiles;
use super::{Library, Result, paths};
use voisin_base::track::TrackId;

impl Library {
    /// Every file with its track.
    fn paths_of_tracks(&self) -> Result<Vec<(PathBuf, TrackId)>> {
        self.query_all("SELECT path, track FROM files", [], |row| {
            let path = paths::from_bytes(row.get_ref(0)?.as_blob()?);
            Ok((path, TrackId(row.get(1)?)))
        })
    }
}

/// Looks up paths in lists, from this system or another: as they are, else by their most similar end (see
/// [`KnownFiles`]).
pub struct PathLookup<'a> {
    library: &'a Library,
    /// Read when the first path is not found as it is.
    files: Option<KnownPaths>,
}

/// All files of a library, and an index of them by the ends of their paths.
struct KnownPaths {
    files: Vec<(PathBuf, TrackId)>,
    ends: KnownFiles<usize>,
}

impl<'a> PathLookup<'a> {
    /// Reads nothing yet.
    pub fn new(library: &'a Library) -> Self {
        Self {
            library,
            files: None,
        }
    }

    /// The track of the file that a path means; `None` where there is none, or several.
    pub fn track(&mut self, path: &Path) -> Result<Option<TrackId>> {
        if let Some(track) = self.library.find_by_path(path)? {
            return Ok(Some(track));
        }
        let meant = self.meant(path)?;
        let track = meant.first().map(|(_, track)| *track);
        // Several files of one track, such as exact copies, are one match.
        Ok(track.filter(|track| meant.iter().all(|(_, other)| other == track)))
    }

    /// The file of the library that a path means; `None` where there is none, or several.
    pub fn file(&mut self, path: &Path) -> Result<Option<PathBuf>> {
        if self.library.find_by_path(path)?.is_some() {
            return Ok(Some(path.to_owned()));
        }
        let mut meant = self.meant(path)?;
        Ok(meant
            .pop()
            .map(|(file, _)| file)
            .filter(|_| meant.is_empty()))
    }

    fn meant(&mut self, path: &Path) -> Result<Vec<(PathBuf, TrackId)>> {
        // Most lists have paths that exist as they are, and never need all files.
        if self.files.is_none() {
            let files = self.library.paths_of_tracks()?;
            let paths = files.iter().map(|(path, _)| path.as_path());
            let ends = KnownFiles::new(paths.zip(0..));
            self.files = Some(KnownPaths { files, ends });
        }
        let Some(KnownPaths { files, ends }) = &self.files else {
            return Ok(Vec::new());
        };
        let found = ends.find(path.as_os_str().as_encoded_bytes());
        Ok(found.into_iter().map(|at| files[at].clone()).collect())
    }
}
