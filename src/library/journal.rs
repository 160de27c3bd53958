//! Journals of the files being processed, by which later runs find the leftovers of a killed process.
//!
//! A process that reads or writes audio files keeps a journal of its current files in the library's folder, and removes
//! it at its end. A journal that remains belongs to a process that was killed or that one of these files crashed.
//! Journals are not flushed: losing one in a crash of the system does no harm.

use std::io::{self, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use tempfile::NamedTempFile;

use super::{Library, OpenMode, paths};
use voisin_base::atomic_file::{self, PREFIX, abandoned_files};

/// Bytes of a journal for each file: the length of its path in two bytes, then the path.
// Twice Linux's PATH_MAX. A longer path is not recorded: a crash on its file is then not traced.
const SLOT: usize = 8192;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JournalKind {
    Reading,
    /// They are temporary copies beside audio files, being written.
    Writing,
}

impl JournalKind {
    /// Prefix of the names of these journals, other than that of temporary files, which are removed
    /// unread.
    fn prefix(self) -> &'static str {
        match self {
            Self::Reading => "voisin.reading-",
            Self::Writing => "voisin.writing-",
        }
    }
}

/// Whether a file of this name is a journal.
pub(super) fn is_journal(name: &str) -> bool {
    [JournalKind::Reading, JournalKind::Writing]
        .iter()
        .any(|kind| name.starts_with(kind.prefix()))
}

/// The files that this process is reading or writing.
#[derive(Debug)]
pub struct Journal {
    file: Mutex<NamedTempFile>,
}

impl Journal {
    fn create(dir: &Path, kind: JournalKind) -> io::Result<Self> {
        let file = tempfile::Builder::new()
            .prefix(kind.prefix())
            .tempfile_in(dir)?;
        // the lock ends with the process, which shows others that it was killed
        atomic_file::hold(file.as_file());
        Ok(Self {
            file: Mutex::new(file),
        })
    }

    /// Records the file that is being processed in this slot (one for each thread); `None`: no longer
    /// any.
    ///
    /// On a full disk nothing is recorded, and the work goes on.
    pub fn note(&self, slot: usize, path: Option<&Path>) {
        let path = path
            .and_then(|path| paths::to_bytes(path).ok())
            .filter(|path| path.len() <= SLOT - 2);
        let path = path.unwrap_or_default();
        // The length in front makes a short path over a longer one valid without clearing the slot.
        // The cast holds: paths that do not fit the slot were left out.
        let entry = [&(path.len() as u16).to_le_bytes()[..], path].concat();
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = file
            // a slot per thread, so that no entry overwrites another's
            .seek(SeekFrom::Start((slot * SLOT) as u64))
            .and_then(|_| file.write_all(&entry));
    }
}

fn read(journal: &Path) -> Vec<PathBuf> {
    // Slots that were never used are holes of zeros, that is paths of no length.
    let bytes = std::fs::read(journal).unwrap_or_default();
    let entry = |slot: &[u8]| {
        let length = u16::from_le_bytes([*slot.first()?, *slot.get(1)?]);
        let path = slot
            .get(2..2 + usize::from(length))
            .filter(|path| !path.is_empty())?;
        Some(paths::from_bytes(path))
    };
    bytes.chunks(SLOT).filter_map(entry).collect()
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Leftovers {
    /// Temporary files and folders, in the library's folder and beside audio files. The next run that writes removes
    /// them.
    pub temporary: Vec<PathBuf>,
    /// Audio files that were being read, each as often as it was left over. The next `add` reads them first, each alone.
    pub interrupted: Vec<PathBuf>,
}

impl Library {
    /// A journal for this process; `None` where the folder cannot be written.
    pub fn journal(&self, kind: JournalKind) -> Option<Journal> {
        if self.mode == OpenMode::ReadOnly {
            return None;
        }
        Journal::create(&self.dir, kind).ok()
    }

    /// The leftovers of killed processes. Nothing is changed.
    pub fn leftovers(&self) -> Leftovers {
        // Journals of running processes are locked, and not listed.
        let files = |prefix| abandoned_files(&self.dir, prefix);
        let named = |kind: JournalKind| {
            files(kind.prefix())
                .into_iter()
                .flat_map(|path| read(&path))
        };
        // A journal is a file that anybody with access could have written: its paths are not
        // trusted.
        let copies = named(JournalKind::Writing).filter(|copy| is_copy(copy));
        Leftovers {
            temporary: files(PREFIX).into_iter().chain(copies).collect(),
            interrupted: named(JournalKind::Reading).collect(),
        }
    }

    /// Removes the temporary files that killed processes left; the journals of files that were being read stay, see
    /// [`Library::forget_interrupted`](Library::forget_interrupted). What cannot be removed is tried again
    /// next time.
    pub fn remove_leftovers(&self) {
        for path in abandoned_files(&self.dir, PREFIX) {
            let _ = std::fs::remove_file(path);
        }
        for journal in abandoned_files(&self.dir, JournalKind::Writing.prefix()) {
            // a copy on a disk that is not mounted is tried again next time
            if read(&journal).iter().all(|copy| remove_copy(copy)) {
                let _ = std::fs::remove_file(journal);
            }
        }
    }

    /// Deletes the journals of killed readers, once the file that crashed them is known.
    pub fn forget_interrupted(&self) {
        for journal in abandoned_files(&self.dir, JournalKind::Reading.prefix()) {
            let _ = std::fs::remove_file(journal);
        }
    }

    /// Removes the folders in which a killed process was copying the database. They are only made under the writer's
    /// lock.
    pub(super) fn remove_staging(&self) {
        for entry in std::fs::read_dir(&self.dir).into_iter().flatten().flatten() {
            // Folders cannot be locked, so nothing shows whether their owner lives; the writer's
            // lock does.
            let is_ours = entry
                .file_name()
                .as_encoded_bytes()
                .starts_with(PREFIX.as_bytes());
            if is_ours && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                let _ = std::fs::remove_dir_all(entry.path());
            }
        }
    }
}

/// Whether a path of a journal is an existing temporary copy: nothing else is deleted, whatever the journal contains.
fn is_copy(path: &Path) -> bool {
    path.file_name()
        .is_some_and(|name| name.as_encoded_bytes().starts_with(PREFIX.as_bytes()))
        && std::fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_file())
}

/// Removes a temporary copy; returns whether it is certainly gone. The disk of a missing folder may be mounted again.
fn remove_copy(path: &Path) -> bool {
    if is_copy(path) {
        return std::fs::remove_file(path).is_ok();
    }
    path.parent().is_none_or(Path::is_dir)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As a kill leaves it: the lock is released, the file stays.
    fn killed(journal: Journal) {
        let (file, path) = journal.file.into_inner().unwrap().keep().unwrap();
        drop(file);
        assert!(path.exists());
    }

    #[test]
    fn a_journal_outlives_a_killed_process_only() {
        let dir = tempfile::tempdir().unwrap();
        let music = tempfile::tempdir().unwrap();
        let library = Library::open(dir.path(), OpenMode::Create).unwrap();
        let journal = library.journal(JournalKind::Reading).unwrap();
        journal.note(0, Some(Path::new("/m/a long name.mp3")));
        journal.note(3, Some(Path::new("/m/d.mp3")));
        journal.note(0, Some(Path::new("/m/b.mp3")));
        journal.note(1, Some(Path::new("/m/c.mp3")));
        journal.note(1, None);
        assert_eq!(library.leftovers(), Leftovers::default(), "its owner lives");
        killed(journal);
        let interrupted: Vec<PathBuf> = vec!["/m/b.mp3".into(), "/m/d.mp3".into()];
        assert_eq!(library.leftovers().interrupted, interrupted);
        library.remove_leftovers();
        assert_eq!(
            library.leftovers().interrupted,
            interrupted,
            "nobody has looked at them yet"
        );
        library.forget_interrupted();
        drop(library.journal(JournalKind::Reading));
        assert_eq!(library.leftovers(), Leftovers::default());

        // Copies beside audio files, and a journal that names a file that is no copy.
        let copy = music.path().join(".voisin-0a.mp3");
        let song = music.path().join("song.mp3");
        std::fs::write(&copy, "half").unwrap();
        std::fs::write(&song, "whole").unwrap();
        let journal = library.journal(JournalKind::Writing).unwrap();
        for (slot, path) in [&copy, &song, &music.path().join(".voisin-gone")]
            .into_iter()
            .enumerate()
        {
            journal.note(slot, Some(path));
        }
        killed(journal);
        let half = dir.path().join(".voisin-index-0b");
        std::fs::write(&half, "half").unwrap();
        // Without locks the age decides.
        let written = std::fs::File::options().write(true).open(&half).unwrap();
        written
            .set_modified(std::time::SystemTime::now() - std::time::Duration::from_hours(2))
            .unwrap();
        drop(written);
        std::fs::create_dir_all(dir.path().join(".voisin-0c/inside")).unwrap();
        let mut found = library.leftovers().temporary;
        found.sort();
        let mut expected = vec![copy.clone(), half];
        expected.sort();
        assert_eq!(found, expected);
        drop(library.lock_for_writing().unwrap());
        assert_eq!(library.leftovers(), Leftovers::default());
        assert!(song.exists() && !copy.exists());
        let left = std::fs::read_dir(dir.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name());
        let is_left = |name: &str| name.starts_with(PREFIX) || is_journal(name);
        assert!(
            !left
                .into_iter()
                .any(|name| is_left(&name.to_string_lossy()))
        );
    }

    #[test]
    fn any_bytes_are_a_journal() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("voisin.reading-x");
        for bytes in [
            vec![],
            vec![1],
            vec![0xff; SLOT],
            vec![0xff; SLOT + 1],
            b"\x03\0a/b\0rest".to_vec(),
        ] {
            std::fs::write(&path, bytes).unwrap();
            let _ = read(&path);
        }
        assert_eq!(read(&path), [Path::new("a/b")]);
    }
}
