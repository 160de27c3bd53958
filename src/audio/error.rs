//! Errors of decoding files and of writing tags.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

/// Why a file could not be decoded, or its tags not be written.
///
/// Each variant is something a caller may treat differently; every message is one line that names the file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AudioError {
    /// There is no file at the path.
    #[error("{}: no such file", path.display())]
    NotFound { path: PathBuf },
    /// The file may not be read.
    #[error("{}: permission denied", path.display())]
    PermissionDenied { path: PathBuf },
    /// The path is a folder, a socket, a device: anything but a regular file.
    #[error("{}: not a regular file", path.display())]
    NotAFile { path: PathBuf },
    /// The content is no audio that voisin can read, whatever the file's name.
    #[error("{}: not an audio file voisin can read ({reason})", path.display())]
    NotAudio { path: PathBuf, reason: String },
    /// Less than half of the requested audio could be decoded: this share.
    #[error("{}: damaged: only {:.0} % of the audio decodes", path.display(), 100.0 * share)]
    MostlyDamaged { path: PathBuf, share: f64 },
    /// The file changed after it was probed.
    #[error("{}: changed while it was being read; add it again", path.display())]
    Changed { path: PathBuf },
    /// The file at a stored path holds another recording than the one that was analysed, or none.
    #[error("{}: this file is not the one that was analysed: add it again", path.display())]
    OtherRecording { path: PathBuf },
    /// A sample rate (Hz) that cannot be converted.
    #[error("cannot resample from {from} Hz to {to} Hz")]
    Rate { from: u32, to: u32 },
    /// The format has no tags, or not this field.
    #[error("{}: cannot write tags: {reason}", path.display())]
    TagsUnwritable { path: PathBuf, reason: String },
    /// Any other failure of the file system.
    #[error("{}", path.display())]
    Io { path: PathBuf, source: io::Error },
}

impl AudioError {
    /// The file that the error is about.
    pub fn path_mut(&mut self) -> Option<&mut PathBuf> {
        match self {
            Self::NotFound { path }
            | Self::PermissionDenied { path }
            | Self::NotAFile { path }
            | Self::NotAudio { path, .. }
            | Self::MostlyDamaged { path, .. }
            | Self::Changed { path }
            | Self::OtherRecording { path }
            | Self::TagsUnwritable { path, .. }
            | Self::Io { path, .. } => Some(path),
            Self::Rate { .. } => None,
        }
    }

    pub(crate) fn not_audio(path: &Path, reason: impl Into<String>) -> Self {
        Self::NotAudio {
            path: path.to_owned(),
            reason: reason.into(),
        }
    }

    /// The variant for an operating system's error.
    pub(crate) fn from_io(path: &Path, source: io::Error) -> Self {
        // A fault of the content, not the disk: trying again does not help.
        if source.kind() == ErrorKind::InvalidData {
            return Self::not_audio(path, source.to_string());
        }
        let path = path.to_owned();
        match source.kind() {
            ErrorKind::NotFound => Self::NotFound { path },
            ErrorKind::PermissionDenied => Self::PermissionDenied { path },
            ErrorKind::IsADirectory => Self::NotAFile { path },
            _ => Self::Io { path, source },
        }
    }
}
