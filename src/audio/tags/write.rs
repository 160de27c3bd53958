//! Writing tags, without ever leaving an incomplete file or losing other data.

use std::fs::{File, Metadata};
use std::io;
use std::path::{Path, PathBuf};

use super::copy::{self, Copy};
use super::patch::{FileDigest, ReversePatch, Splice, splice};
use super::read::read_tags;
use super::{TrackTags, WriteOptions, WriteOutcome, carried};
use super::{flac, frames, id3, mp4_edit, ogg};
use crate::source::open;
use crate::{AudioError, AudioInfo, probe};

/// The new version of a file, beside it; [`commit`](Self::commit) replaces the file.
pub struct PreparedWrite {
    path: PathBuf,
    outcome: WriteOutcome,
    patch: Option<ReversePatch>,
    replacement: Option<Replacement>,
}

impl PreparedWrite {
    /// The outcome, or that of a dry run.
    pub fn outcome(&self) -> &WriteOutcome {
        &self.outcome
    }

    /// The patch that undoes the write; `None` if nothing is written, or it is larger than [`ReversePatch::MOST`].
    pub fn reverse_patch(&self) -> Option<&ReversePatch> {
        self.patch.as_ref()
    }

    /// Replaces the file by the new version; returns what was done.
    pub fn commit(self) -> Result<WriteOutcome, AudioError> {
        if let Some(replacement) = self.replacement {
            replacement
                .commit()
                .map_err(|error| AudioError::from_io(&self.path, error))?;
        }
        Ok(self.outcome)
    }
}

fn unwritable(path: &Path, reason: impl Into<String>) -> AudioError {
    AudioError::TagsUnwritable {
        path: path.to_owned(),
        reason: reason.into(),
    }
}

/// Writes a new version of an MP3, FLAC, Ogg Vorbis, Opus or M4A file with these genres beside it; the file is replaced
/// by [`PreparedWrite::commit`]. Without genres the file's are removed.
///
/// Only the bytes of these tags, and sizes and positions that depend on them, change; `ID3v1` and APE tags stay. A file
/// without another tag gets one with their fields. The new version is read back: its genres must be these, its other
/// fields and its audio those of before, and the reverse patch must give the former bytes; else the write is refused.
///
/// - `note`: learns the path of the temporary copy before it is made, as a crash may leave it
pub fn prepare(
    path: &Path,
    genres: &[String],
    options: WriteOptions,
    note: &mut dyn FnMut(&Path),
) -> Result<PreparedWrite, AudioError> {
    let refused = |reason: String| unwritable(path, reason);
    let is_text = |value: &String| !value.trim().is_empty() && !value.contains('\0');
    if !genres.iter().all(is_text) {
        return Err(refused("its genre must be text".to_owned()));
    }
    // Open until it is replaced, so that another file under its path is not overwritten.
    let mut file = open(path)?;
    let present = read_tags(path)?;
    let outcome = if present.genres == genres {
        WriteOutcome::Unchanged
    } else if !present.genres.is_empty() && !options.overwrite {
        WriteOutcome::KeptExisting(present.genres.clone())
    } else {
        WriteOutcome::Written
    };
    let mut prepared = PreparedWrite {
        path: path.to_owned(),
        outcome,
        patch: None,
        replacement: None,
    };
    if prepared.outcome != WriteOutcome::Written {
        return Ok(prepared);
    }
    let (target, before) = replaceable(path, &file)?;
    let info = probe(&target)?;
    let splices = edit(&info, &mut file, genres, &present).map_err(refused)?;
    if options.dry_run {
        return Ok(prepared);
    }
    let mut new_version = Replacement::new(target, before, options, note)?;
    let copy = &mut new_version.copy;
    let io = |error| AudioError::from_io(path, error);
    splice(&mut file, splices.clone(), copy.file()).map_err(io)?;
    let written = read_tags(copy.path())?;
    if let Some(fault) = change(&present, &written, genres) {
        return Err(refused(fault));
    }
    if probe(copy.path())?.content != info.content {
        return Err(refused("writing would change the audio".to_owned()));
    }
    let mut new = open(copy.path())?;
    prepared.patch = ReversePatch::new(&mut file, splices, &mut new).map_err(io)?;
    if let Some(patch) = &prepared.patch
        && !patch.undo(&mut new, &mut io::sink()).map_err(io)?
    {
        return Err(refused(
            "its bytes of before would not come back".to_owned(),
        ));
    }
    prepared.replacement = Some(new_version);
    Ok(prepared)
}

/// Restores a file's bytes from before tags were written into it, unless it was changed since; returns whether they
/// are restored (or, in a dry run, would be).
pub fn restore(
    path: &Path,
    patch: &ReversePatch,
    options: WriteOptions,
    note: &mut dyn FnMut(&Path),
) -> Result<bool, AudioError> {
    let io = |error| AudioError::from_io(path, error);
    let mut file = open(path)?;
    if FileDigest::of(&mut file, Vec::new()).map_err(io)? != patch.after {
        return Ok(false);
    }
    let (target, before) = replaceable(path, &file)?;
    if options.dry_run {
        return Ok(true);
    }
    let mut former = Replacement::new(target, before, options, note)?;
    if !patch.undo(&mut file, former.copy.file()).map_err(io)? {
        return Ok(false);
    }
    former.commit().map_err(io)?;
    Ok(true)
}

/// Whether a file's bytes are those from before tags were written into it.
pub fn is_as_before(path: &Path, patch: &ReversePatch) -> Result<bool, AudioError> {
    let state = FileDigest::of(&mut open(path)?, Vec::new());
    let state = state.map_err(|error| AudioError::from_io(path, error))?;
    Ok(state == patch.before)
}

/// The new version of a file beside it.
struct Replacement {
    path: PathBuf,
    before: Metadata,
    copy: Copy,
    keep_mtime: bool,
}

impl Replacement {
    /// An empty copy with the file's permissions.
    fn new(
        path: PathBuf,
        before: Metadata,
        options: WriteOptions,
        note: &mut dyn FnMut(&Path),
    ) -> Result<Self, AudioError> {
        let mut copy =
            Copy::beside(&path, note).map_err(|error| AudioError::from_io(&path, error))?;
        // Before the contents are written, so that nobody can read them who cannot read the file.
        copy.take_after(&path, &before)
            .map_err(|reason| unwritable(&path, reason))?;
        Ok(Self {
            path,
            before,
            copy,
            keep_mtime: options.keep_mtime,
        })
    }

    fn commit(self) -> io::Result<()> {
        self.copy.replace(&self.path, &self.before, self.keep_mtime)
    }
}

/// The path and metadata of a file to be replaced.
fn replaceable(path: &Path, file: &File) -> Result<(PathBuf, Metadata), AudioError> {
    let io = |error| AudioError::from_io(path, error);
    // Renaming over a link would replace the link and leave the file with its old tags.
    let target = std::fs::canonicalize(path).map_err(io)?;
    let before = file.metadata().map_err(io)?;
    if before.permissions().readonly() {
        return Err(AudioError::PermissionDenied {
            path: path.to_owned(),
        });
    }
    match copy::loss(&before) {
        Some(loss) => Err(unwritable(path, loss)),
        None => Ok((target, before)),
    }
}

/// The splices that write the genres into a file of a format in which that is done.
fn edit(
    info: &AudioInfo,
    file: &mut File,
    genres: &[String],
    present: &TrackTags,
) -> Result<Vec<Splice>, String> {
    let text = |error: io::Error| error.to_string();
    match (info.container.as_str(), info.codec.as_str()) {
        ("isomp4", _) => mp4_edit::edit(file, genres),
        ("ogg", "vorbis") => ogg::edit(file, genres, false),
        ("ogg", "opus") => ogg::edit(file, genres, true),
        ("mp3", _) => {
            let found = id3::find(file).map_err(text)?;
            if found.tags.is_empty() {
                let tag = frames::new_tag(genres, &carried(present));
                return Ok(vec![Splice::new(0, 0, tag)]);
            }
            in_leading(&found, genres)
        }
        ("flac", _) => {
            let found = id3::find(file).map_err(text)?;
            let mut splices = in_leading(&found, genres)?;
            splices.extend(flac::edit(file, found.audio, genres, present)?);
            Ok(splices)
        }
        _ => Err("voisin writes no tags to files of its format".to_owned()),
    }
}

/// The first field that reads differently afterwards, in words; `None` if all but the genre read the same.
fn change(before: &TrackTags, after: &TrackTags, genres: &[String]) -> Option<String> {
    if after.genres != genres {
        return Some("its genre would not be read back as it is".to_owned());
    }
    let texts = |tags: &TrackTags| {
        [
            ("title", tags.title.clone()),
            ("artist", tags.artist.clone()),
            ("album", tags.album.clone()),
            ("album artist", tags.album_artist.clone()),
            ("composer", tags.composer.clone()),
        ]
    };
    let mut pairs = texts(before).into_iter().zip(texts(after));
    let ((name, before), (_, after)) = pairs.find(|(before, after)| before != after)?;
    let [before, after] = [before, after].map(Option::unwrap_or_default);
    Some(format!(
        "its {name} \"{before}\" would then be read as \"{after}\", as the encoding of its tags is not certain: save them as UTF-8 with a tag editor first"
    ))
}

/// The splices of the `ID3v2` tags at a file's start: the genres are written into the first and removed from the
/// others.
fn in_leading(found: &id3::Id3Tags, genres: &[String]) -> Result<Vec<Splice>, String> {
    if found.is_too_large {
        return Err("its ID3v2 tag is larger than any that is read".to_owned());
    }
    let mut splices = Vec::new();
    for (i, (at, tag)) in found.tags.iter().enumerate() {
        let changes = frames::edit(tag, if i == 0 { genres } else { &[] })?;
        splices.extend(changes.into_iter().map(|change| change.moved(*at)));
    }
    Ok(splices)
}
