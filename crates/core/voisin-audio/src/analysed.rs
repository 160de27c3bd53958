//! Reopens a stored path and checks that it still holds the file that was analysed there, before it is read, served or
//! written to: it may have been replaced, also by a link, and a library may come from somebody else.

use std::fs::{File, Metadata};
use std::path::{Path, PathBuf};

use voisin_base::regular_file::mtime_ns;
use voisin_base::track::ContentId;

use super::held::Hold;
use super::{AudioError, is_audio_candidate, source};

/// A file as it was when it was analysed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnalysedFile {
    /// Its path.
    pub path: PathBuf,
    /// Size in bytes.
    pub size: u64,
    /// Modification time in nanoseconds since 1970 UTC.
    pub mtime_ns: i64,
}

/// An open file. While this lives, opening its path on this thread returns the same file or an error.
#[derive(Debug)]
pub struct HeldFile {
    file: File,
    metadata: Metadata,
    hold: Hold,
}

impl HeldFile {
    /// Opens a regular file with any content.
    pub fn open(path: &Path) -> Result<Self, AudioError> {
        let file = source::open(path)?;
        let metadata = file
            .metadata()
            .map_err(|error| AudioError::from_io(path, error))?;
        let hold = Hold::new(path, &metadata);
        Ok(Self {
            file,
            metadata,
            hold,
        })
    }

    /// Holds the file under another of its names, too.
    pub(super) fn also_known_as(&mut self, path: &Path) {
        self.hold.also(path, &self.metadata);
    }

    /// The path that was opened.
    pub fn path(&self) -> &Path {
        self.hold.path()
    }

    /// The file's metadata when it was opened.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// The file, at its first byte.
    pub fn into_file(self) -> File {
        self.file
    }
}

impl AnalysedFile {
    /// Opens the file; links are followed. Size and time are those of the open file.
    ///
    /// # Errors
    /// [`AudioError::OtherRecording`] if they differ, or its name is not one of music; those of the file system.
    pub fn open(&self) -> Result<HeldFile, AudioError> {
        let held = HeldFile::open(&self.path)?;
        let found = (held.metadata().len(), mtime_ns(held.metadata()));
        if found == (self.size, self.mtime_ns) && is_audio_candidate(&self.path) {
            Ok(held)
        } else {
            Err(AudioError::OtherRecording {
                path: self.path.clone(),
            })
        }
    }
}

/// The content id of a recording of which only the path is known, as its vector was imported.
pub fn content_of_path(path: &Path) -> ContentId {
    ContentId(blake3::derive_key(
        "voisin: a recording known by its path",
        path.as_os_str().as_encoded_bytes(),
    ))
}

#[cfg(test)]
mod tests {
    use crate::tags::PreparedWrite;

    use super::*;

    /// A WAV file of 8 kHz and eight bits.
    fn wav(samples: &[u8]) -> Vec<u8> {
        let mut file =
            b"RIFF\xff\xff\xff\xffWAVEfmt \x10\0\0\0\x01\0\x01\0\x40\x1f\0\0\x40\x1f\0\0\x01\0\x08\0data"
                .to_vec();
        file.extend((samples.len() as u32).to_le_bytes());
        file.extend(samples);
        file
    }

    fn analysed(path: &Path) -> AnalysedFile {
        let metadata = std::fs::metadata(path).unwrap();
        AnalysedFile {
            path: path.to_owned(),
            size: metadata.len(),
            mtime_ns: mtime_ns(&metadata),
        }
    }

    #[test]
    fn a_file_is_known_by_its_state() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.wav");
        std::fs::write(&path, wav(&[7; 4000])).unwrap();
        let file = analysed(&path);
        assert_eq!(file.open().unwrap().metadata().len(), file.size);
        let is_other =
            |file: &AnalysedFile| matches!(file.open(), Err(AudioError::OtherRecording { .. }));
        std::fs::write(&path, wav(&[7; 4001])).unwrap();
        assert!(is_other(&file));
        let text = folder.path().join("a.txt");
        std::fs::write(&text, "of the owner").unwrap();
        assert!(is_other(&analysed(&text)), "no music by its name");
        std::fs::remove_file(&path).unwrap();
        assert!(matches!(file.open(), Err(AudioError::NotFound { .. })));
    }

    #[cfg(unix)]
    #[test]
    fn a_file_that_is_held_is_opened_or_none() {
        let folder = tempfile::tempdir().unwrap();
        let [path, other] = ["a.wav", "b.wav"].map(|name| folder.path().join(name));
        std::fs::write(&path, wav(&[7; 4000])).unwrap();
        std::fs::write(&other, wav(&[9; 4000])).unwrap();
        let held = analysed(&path).open().unwrap();
        assert!(crate::probe(&path).is_ok());
        std::fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink(&other, &path).unwrap();
        let error = crate::probe(&path).unwrap_err();
        assert!(matches!(error, AudioError::Io { .. }), "{error}");
        drop(held);
        assert!(crate::probe(&path).is_ok());
    }

    #[cfg(unix)]
    #[test]
    fn a_link_that_comes_while_tags_are_written_leads_to_no_harm() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..");
        let sound = std::fs::read(root.join("tests/data/audio/mono.flac")).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let [path, victim] = ["a.flac", "b.flac"].map(|name| folder.path().join(name));
        std::fs::write(&path, &sound).unwrap();
        // Of the same size, and of the same time.
        let other: Vec<u8> = sound.iter().rev().copied().collect();
        std::fs::write(&victim, &other).unwrap();
        let time = std::fs::metadata(&path).unwrap().modified().unwrap();
        let times = std::fs::FileTimes::new().set_modified(time);
        File::options()
            .write(true)
            .open(&victim)
            .unwrap()
            .set_times(times)
            .unwrap();
        let genres = ["Polka".to_owned()];
        let mut swap = |_: &Path| {
            std::fs::rename(&path, folder.path().join("kept")).unwrap();
            std::os::unix::fs::symlink(&victim, &path).unwrap();
        };
        let options = crate::tags::WriteOptions::default();
        let written = crate::tags::prepare(&path, &genres, options, &mut swap)
            .and_then(PreparedWrite::commit);
        assert!(written.is_err());
        assert!(std::fs::read(&victim).unwrap() == other);
        assert!(path.is_symlink(), "nothing took its place");
    }
}
