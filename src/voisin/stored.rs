//! Files of the library, opened as the recordings that were analysed.

use std::fs::File;
use std::path::Path;

use voisin_audio::AnalysedFile;
use voisin_library::{Library, StoredFile, Track, stored_path};

use super::EngineError;

pub fn analysed_files(track: &Track) -> Vec<AnalysedFile> {
    let analysed = |file: &StoredFile| AnalysedFile {
        path: file.record.path.clone(),
        size: file.record.size,
        mtime_ns: file.record.mtime_ns,
        content: track.audio.content,
    };
    track.files.iter().map(analysed).collect()
}

/// Opens a file that the user named; a file of the library only if its audio is still the analysed one.
pub fn open_named(library: &Library, path: &Path) -> Result<File, EngineError> {
    let track = library.find_by_path(path)?;
    let files = track.map(|track| library.track(track)).transpose()?;
    let stored = stored_path(path);
    // A track may have several files; only the named one is compared with the analysed audio.
    let mut files = files.iter().flat_map(analysed_files);
    let opened = match files.find(|file| file.path == stored) {
        Some(file) => file.open(),
        None => voisin_audio::open(path),
    };
    Ok(opened?)
}
