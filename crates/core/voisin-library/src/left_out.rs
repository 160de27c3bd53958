//! Files that runs left out.
//!
//! Stored as a setting, since it can be computed again.

use std::ops::{Deref, DerefMut};
use std::path::PathBuf;

use serde_json::json;

use super::parts::FileTable;
use super::scan::SystemFolder;
use super::{Library, Result, stored_path};

/// Setting: a list of [`SystemFolder`]s as JSON.
const LEFT_OUT: &str = "left_out";

impl<L: Deref<Target = Library>> FileTable<L> {
    /// Bins, snapshots and system folders that the last scans of the folders above them left out.
    #[doc(hidden)]
    pub fn left_out(&self) -> Result<Vec<SystemFolder>> {
        // a setting that cannot be parsed was not written by voisin
        let known = self.settings().setting(LEFT_OUT)?;
        Ok(known
            .and_then(|text| serde_json::from_str(&text).ok())
            .unwrap_or_default())
    }
}

impl<L: DerefMut<Target = Library>> FileTable<L> {
    /// Stores what a run left out.
    ///
    /// - `roots`: the folders that it scanned
    #[doc(hidden)]
    pub fn set_left_out(&mut self, roots: &[PathBuf], left_out: &[SystemFolder]) -> Result<()> {
        let roots: Vec<PathBuf> = roots.iter().map(|root| stored_path(root)).collect();
        let before = self.left_out()?;
        let is_gone_over =
            |one: &SystemFolder| roots.iter().any(|root| one.folder.starts_with(root));
        let mut all: Vec<SystemFolder> = before
            .iter()
            // Below the roots of this run its result replaces those of earlier runs.
            .filter(|one| !is_gone_over(one) && !left_out.contains(one))
            .cloned()
            .collect();
        all.extend_from_slice(left_out);
        all.sort_by(|a, b| a.folder.cmp(&b.folder));
        if all == before {
            return Ok(());
        }
        let text = (!all.is_empty()).then(|| json!(all).to_string());
        self.settings_mut().set_setting(LEFT_OUT, text.as_deref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::library;

    #[test]
    fn left_out_folders_are_those_of_the_last_run_there() {
        let dir = tempfile::tempdir().unwrap();
        let mut library = library(dir.path(), 2);
        let folder = |path: &str, files| SystemFolder {
            folder: path.into(),
            files,
            is_more: false,
        };
        let first = [folder("/a/#recycle", 12), folder("/b/@eaDir", 1)];
        library
            .files_mut()
            .set_left_out(&["/a".into(), "/b".into()], &first)
            .unwrap();
        assert_eq!(library.files().left_out().unwrap(), first);
        library
            .files_mut()
            .set_left_out(&["/a".into()], &[])
            .unwrap();
        assert_eq!(library.files().left_out().unwrap(), first[1..]);
    }
}
