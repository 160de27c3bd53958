//! Reopens a stored path and checks that it still holds the recording that was analysed there, before it is sent or
//! written to: the file may have been replaced, also by a link, and a library may come from somebody else.

use std::fs::File;
use std::path::{Path, PathBuf};

use voisin_base::regular_file::mtime_ns;
use voisin_base::track::ContentId;

use super::{AudioError, is_audio_candidate, probe, source};

/// A file as it was when it was analysed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnalysedFile {
    pub path: PathBuf,
    pub size: u64,
    /// Modification time in nanoseconds since 1970 UTC.
    pub mtime_ns: i64,
    /// The digest of its audio.
    pub content: ContentId,
}

impl AnalysedFile {
    /// Opens the file; links are followed. One of another size or time may have been retagged: its audio decides.
    ///
    /// # Errors
    /// [`AudioError::OtherRecording`] if the file holds another recording or none; those of the file system.
    pub fn open(&self) -> Result<File, AudioError> {
        let file = source::open(&self.path)?;
        let metadata = file
            .metadata()
            .map_err(|error| AudioError::from_io(&self.path, error))?;
        let is_as_stored = (metadata.len(), mtime_ns(&metadata)) == (self.size, self.mtime_ns);
        if is_audio_candidate(&self.path) && (is_as_stored || self.has_content()?) {
            return Ok(file);
        }
        Err(AudioError::OtherRecording {
            path: self.path.clone(),
        })
    }

    fn has_content(&self) -> Result<bool, AudioError> {
        match probe(&self.path) {
            // Of a recording known by its path alone there is no digest to compare with.
            Ok(info) => Ok([info.content, content_of_path(&self.path)].contains(&self.content)),
            Err(AudioError::NotAudio { .. } | AudioError::MostlyDamaged { .. }) => Ok(false),
            Err(error) => Err(error),
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
