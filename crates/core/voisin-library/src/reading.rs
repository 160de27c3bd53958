//! How files were read: the rules for tags, tags that could not be read, and files that runs left out.
//!
//! Stored as settings, since all of it can be computed again.

use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};

use serde_json::json;

use super::parts::{FileTable, SettingTable, TagTable};
use super::scan::SystemFolder;
use super::{Library, Result, TrackTags, now, paths, stored_path};

/// Incremented with each change of how tags are read: the next `add` then reads those of all files
/// again.
const VERSION: u32 = 3;

/// Setting: the version and the rules by which tags are read.
const RULES: &str = "tags.rules";
/// Setting: tags of files not checked since this second are read again.
pub(super) const READ_AGAIN: &str = "tags.read_again";
/// Settings: how many tags of a file could not be read; the name ends with the file's number.
const UNREAD: &str = "tags.unread.";
/// Setting: a list of [`SystemFolder`]s as JSON.
const LEFT_OUT: &str = "left_out";

/// The year of a track whose file has both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum YearOf {
    /// The year of the recording.
    #[default]
    Recording,
    /// The year of the file's release.
    Release,
}

impl YearOf {
    /// `recording` or `release`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Recording => "recording",
            Self::Release => "release",
        }
    }
}

impl std::str::FromStr for YearOf {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, Self::Err> {
        let known = [Self::Recording, Self::Release]
            .into_iter()
            .find(|year| year.name() == text);
        known.ok_or_else(|| format!("expected recording or release, found \"{text}\""))
    }
}

impl<L: Deref<Target = Library>> SettingTable<L> {
    /// The year that tracks have.
    #[doc(hidden)]
    pub fn year_of(&self) -> Result<YearOf> {
        let rules = self.setting(RULES)?.unwrap_or_default();
        let year = rules
            // "3 recording": the version, then the year that counts.
            .split_once(' ')
            .and_then(|(_, year)| year.parse().ok());
        Ok(year.unwrap_or_default())
    }
}

impl<L: DerefMut<Target = Library>> SettingTable<L> {
    /// Sets the rules by which tags are read from now on. If they change, the tags of all known files are read again by
    /// the next [`file_state`](crate::FileTable::file_state) that reads them.
    ///
    /// - `year_of`: `None` keeps the present one
    #[doc(hidden)]
    pub fn set_tag_rules(&mut self, year_of: Option<YearOf>) -> Result<()> {
        let year_of = match year_of {
            Some(year_of) => year_of,
            None => self.year_of()?,
        };
        let rules = format!("{VERSION} {}", year_of.name());
        if self.setting(RULES)?.as_ref() == Some(&rules) {
            return Ok(());
        }
        // A new library has nothing to read again.
        if self.status()?.files > 0 {
            // Written before the rules: if the process ends
            // between the two, files are only read once more.
            self.set_setting(READ_AGAIN, Some(&now().to_string()))?;
        }
        self.set_setting(RULES, Some(&rules))
    }
}

impl<L: DerefMut<Target = Library>> TagTable<L> {
    /// Marks a file's tags as checked if they are the stored ones; returns whether they are.
    #[doc(hidden)]
    pub fn confirm_tags(&mut self, file: &Path, tags: &TrackTags) -> Result<bool> {
        // Compared outside of the transaction: nearly all files have unchanged tags.
        if self.tags_of_file(file)? != *tags {
            return Ok(false);
        }
        let path = paths::to_bytes(file)?;
        self.write(|tx| {
            // Files without a row of credits were read when voisin read fewer tags.
            let confirmed = tx
                .prepare_cached(
                    "UPDATE files SET seen_at = ?2
                     WHERE path = ?1 AND id IN (SELECT file FROM credits)",
                )?
                .execute((path, now()))?;
            Ok(confirmed > 0)
        })
    }

    /// Stores how many tags of a file could not be read.
    #[doc(hidden)]
    pub fn set_unread_tags(&mut self, file: &Path, parts: u32) -> Result<()> {
        // Nearly all files have none, and cause no write.
        let known = self.unread_tags_of(file)?;
        if known == parts {
            return Ok(());
        }
        let path = paths::to_bytes(file)?;
        self.write(|tx| {
            // The setting has the file's number in `files`, which is no AUTOINCREMENT: numbers of
            // removed files are reused.
            tx.execute(
                "DELETE FROM settings WHERE name GLOB ?1 || '*'
                 AND (CAST(substr(name, length(?1) + 1) AS INTEGER) NOT IN (SELECT id FROM files)
                      OR name = ?1 || (SELECT id FROM files WHERE path = ?2))",
                (UNREAD, path),
            )?;
            if parts > 0 {
                tx.execute(
                    "INSERT INTO settings SELECT ?1 || id, ?3 FROM files WHERE path = ?2",
                    (UNREAD, path, parts.to_string()),
                )?;
            }
            Ok(())
        })
    }
}

impl<L: Deref<Target = Library>> TagTable<L> {
    /// How many tags of a file could not be read.
    #[doc(hidden)]
    pub fn unread_tags_of(&self, file: &Path) -> Result<u32> {
        let sql = "SELECT CAST(s.value AS INTEGER) FROM files f JOIN settings s ON s.name = ?1 || f.id WHERE f.path = ?2";
        let path = paths::to_bytes(file)?;
        let found = self
            .connection
            .prepare_cached(sql)
            .and_then(|mut statement| {
                let mut rows = statement.query((UNREAD, path))?;
                rows.next()?.map_or(Ok(0), |row| row.get(0))
            });
        self.sql(found)
    }

    /// How many files have tags that could not be read.
    #[doc(hidden)]
    pub fn files_with_unread_tags(&self) -> Result<u64> {
        let sql = "SELECT count(*) FROM settings s JOIN files f ON s.name = ?1 || f.id WHERE s.name GLOB ?1 || '*'";
        let found = self.row(sql, [UNREAD], |row| row.get::<_, i64>(0));
        Ok(self.sql(found)? as u64)
    }
}

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
    use crate::testing::{library, track};
    use crate::{FileRecord, FileState};

    #[test]
    fn tags_are_read_again_by_other_rules_and_after_a_change() {
        let dir = tempfile::tempdir().unwrap();
        let mut library = library(dir.path(), 2);
        library.settings_mut().set_tag_rules(None).unwrap();
        assert_eq!(library.settings().year_of().unwrap(), YearOf::Recording);
        let new = track(1, vec![1.0, 0.0], 0);
        let id = library.insert_track(&new).unwrap();
        let mut file = new.file.clone();
        let state =
            |library: &Library, file: &FileRecord| library.files().file_state(file).unwrap();
        assert_eq!(state(&library, &file), FileState::Unchanged(id));
        file.changed_at = now() + 10;
        assert_eq!(state(&library, &file), FileState::Touched(id));
        file.changed_at = 1000;
        assert_eq!(state(&library, &file), FileState::Unchanged(id));
        library
            .settings_mut()
            .set_tag_rules(Some(YearOf::Recording))
            .unwrap();
        assert_eq!(state(&library, &file), FileState::Unchanged(id));
        library
            .settings_mut()
            .set_tag_rules(Some(YearOf::Release))
            .unwrap();
        assert_eq!(state(&library, &file), FileState::OldTags(id));
        assert_eq!(library.settings().year_of().unwrap(), YearOf::Release);
        library.settings_mut().set_tag_rules(None).unwrap();
        assert_eq!(
            library.settings().year_of().unwrap(),
            YearOf::Release,
            "it stays"
        );
        let other = TrackTags::default();
        assert!(!library.tags_mut().confirm_tags(&file.path, &other).unwrap());
        assert!(
            library
                .tags_mut()
                .confirm_tags(&file.path, &new.tags)
                .unwrap()
        );
    }

    #[test]
    fn unread_tags_go_with_their_file() {
        let dir = tempfile::tempdir().unwrap();
        let mut library = library(dir.path(), 2);
        let files: Vec<PathBuf> = (1..=2)
            .map(|seed| {
                let new = track(seed, vec![1.0, 0.0], 0);
                library.insert_track(&new).unwrap();
                library
                    .tags_mut()
                    .set_unread_tags(&new.file.path, 3)
                    .unwrap();
                new.file.path
            })
            .collect();
        assert_eq!(library.tags().files_with_unread_tags().unwrap(), 2);
        library.tags_mut().set_unread_tags(&files[0], 0).unwrap();
        assert_eq!(library.tags().unread_tags_of(&files[0]).unwrap(), 0);
        assert_eq!(library.tags().unread_tags_of(&files[1]).unwrap(), 3);
        library.files_mut().remove_file(&files[1]).unwrap();
        assert_eq!(library.tags().files_with_unread_tags().unwrap(), 0);
    }

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
