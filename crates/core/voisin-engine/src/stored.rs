//! Files of the library, opened as the recordings that were analysed.

use std::path::Path;

use voisin_audio::{AnalysedFile, AudioError, HeldFile};
use voisin_library::{Library, StoredFile, Track, stored_path};

use super::EngineError;

/// The files of a track as they were analysed, oldest entry first.
pub fn analysed_files(track: &Track) -> Vec<AnalysedFile> {
    let analysed = |file: &StoredFile| AnalysedFile {
        path: file.record.path.clone(),
        size: file.record.size,
        mtime_ns: file.record.mtime_ns,
    };
    track.files.iter().map(analysed).collect()
}

/// Opens a file that the user named; a file of the library only if its audio is still the analysed one.
pub fn open_named(library: &Library, path: &Path) -> Result<HeldFile, EngineError> {
    let Some(track) = library.files().find_by_path(path)? else {
        return Ok(HeldFile::open(path)?);
    };
    let track = library.track(track)?;
    let stored = stored_path(path);
    // A track may have several files; only the named one is compared with the analysed audio.
    let named = analysed_files(&track)
        .into_iter()
        .find(|file| file.path == stored);
    match named.map(|file| file.open()) {
        // With other tags it is still the recording.
        Some(Err(AudioError::OtherRecording { path })) => {
            let held = HeldFile::open(&path)?;
            if voisin_audio::probe(&path)?.content == track.audio.content {
                Ok(held)
            } else {
                Err(AudioError::OtherRecording { path }.into())
            }
        }
        Some(opened) => Ok(opened?),
        None => Ok(HeldFile::open(path)?),
    }
}
