//! Writing tags, without ever leaving an incomplete file or losing other data.

use std::collections::HashMap;
use std::fs::{File, Metadata};
use std::io::{self, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use lofty::file::FileType;
use lofty::tag::{ItemKey, Tag};

use super::copy::{self, Copy};
use super::patch::{FileDigest, Patched, ReversePatch, Splice, spliced};
use super::read::read_tags;
use super::values::{values, year};
use super::{TrackTags, WriteOptions, WriteOutcome, carried};
use super::{ape, flac, frames, id3, mp4_edit, ogg, parts, texts};
use crate::fill::read_up_to;
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
    ///
    /// # Errors
    /// Those of the file system, and if the file was changed meanwhile; it stays unchanged.
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
/// Only the bytes of these tags, and sizes and positions that depend on them, change: every other frame, comment, item,
/// chunk and block stays unchanged, and so do `ID3v1` tags. A file without a tag of the richer kind gets one with the
/// fields of its other tags. Before it can replace the file, the new version is read back: its tags must be these,
/// everything else must be equal byte for byte, and its [`voisin_base::track::ContentId`] must be that of the file;
/// else the write is refused with what would be lost.
///
/// The new version is a temporary copy, flushed and renamed over the file: a crash leaves either the old file or the
/// new one complete (and perhaps a hidden `.voisin-…` copy, whose path is passed to `note` before it is made, so that
/// it can be removed). Values must not be empty or contain NULs.
pub fn prepare(
    path: &Path,
    genres: &[String],
    options: WriteOptions,
    note: &mut dyn FnMut(&Path),
) -> Result<PreparedWrite, AudioError> {
    let unwritable = |reason: String| unwritable(path, reason);
    let is_text = |value: &String| !value.trim().is_empty() && !value.contains('\0');
    if !genres.iter().all(is_text) {
        return Err(unwritable("its genre must be text".to_owned()));
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
    let is_written = outcome == WriteOutcome::Written;
    let mut prepared = PreparedWrite {
        path: path.to_owned(),
        outcome,
        patch: None,
        replacement: None,
    };
    if !is_written {
        return Ok(prepared);
    }
    let io = |error| AudioError::from_io(path, error);
    let target = WriteTarget::of(path, &file)?;
    let info = probe(&target.path)?;
    let kind = kind(&info)
        .ok_or_else(|| unwritable("voisin writes no tags to files of its format".to_owned()))?;
    if let Some(at) = ogg::damaged_page(&mut file).map_err(io)? {
        return Err(unwritable(format!(
            "its Ogg page at byte {at} is damaged (its checksum differs) or cut off, and new tags would hide that: get a sound copy first"
        )));
    }
    // All parts that must still be there afterwards.
    let there = parts::parts(&mut file, kind).map_err(unwritable)?;
    let splices = edit(kind, &mut file, genres, &present).map_err(unwritable)?;
    if options.dry_run {
        return Ok(prepared);
    }
    let mut copy = target.copy(note)?;
    let before = FileDigest::read(&mut rewound(&mut file).map_err(io)?).map_err(io)?;
    let contents = Patched::new(rewound(&mut file).map_err(io)?, splices.clone());
    copy.fill(&mut contents.map_err(io)?).map_err(io)?;
    // The new version is verified before it replaces the file: tags, other parts, sound, and the
    // reverse patch.
    let mut new = open(copy.path())?;
    let written = read_tags(copy.path())?;
    if written.genres != genres {
        return Err(unwritable(
            "its genre would not be read back as it is".to_owned(),
        ));
    }
    if let Some(change) = change(&present, &written) {
        return Err(unwritable(change));
    }
    let after = parts::parts(&mut new, kind).map_err(unwritable)?;
    if let Some(lost) = parts::missing(&there, &after) {
        return Err(unwritable(format!("{lost} would be lost or changed")));
    }
    if probe(copy.path())?.content != info.content {
        return Err(unwritable("writing would change the audio".to_owned()));
    }
    let after = FileDigest::read(&mut rewound(&mut new).map_err(io)?).map_err(io)?;
    prepared.patch = ReversePatch::new(&mut file, &splices, before, after).map_err(io)?;
    if let Some(patch) = &prepared.patch {
        let undone = patch.undone(rewound(&mut new).map_err(io)?);
        if FileDigest::read(&mut undone.map_err(io)?).map_err(io)? != before {
            return Err(unwritable(
                "its bytes of before would not come back".to_owned(),
            ));
        }
    }
    prepared.replacement = Some(Replacement {
        target,
        copy,
        keep_mtime: options.keep_mtime,
    });
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
    if FileDigest::read(&mut file).map_err(io)? != patch.after {
        return Ok(false);
    }
    let target = WriteTarget::of(path, &file)?;
    if options.dry_run {
        return Ok(true);
    }
    let mut copy = target.copy(note)?;
    let contents = patch.undone(rewound(&mut file).map_err(io)?);
    copy.fill(&mut contents.map_err(io)?).map_err(io)?;
    if FileDigest::read(&mut open(copy.path())?).map_err(io)? != patch.before {
        return Ok(false);
    }
    let replacement = Replacement {
        target,
        copy,
        keep_mtime: options.keep_mtime,
    };
    replacement.commit().map_err(io)?;
    Ok(true)
}

/// Whether a file's bytes are those from before tags were written into it.
pub fn is_as_before(path: &Path, patch: &ReversePatch) -> Result<bool, AudioError> {
    let state =
        FileDigest::read(&mut open(path)?).map_err(|error| AudioError::from_io(path, error))?;
    Ok(state == patch.before)
}

fn rewound(file: &mut File) -> io::Result<&mut File> {
    file.seek(SeekFrom::Start(0))?;
    Ok(file)
}

/// A file to be replaced, not a link to it.
struct WriteTarget {
    path: PathBuf,
    /// Of the open file.
    before: Metadata,
}

impl WriteTarget {
    /// # Errors
    /// If it may not be replaced, or not without a loss.
    fn of(path: &Path, file: &File) -> Result<Self, AudioError> {
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
            None => Ok(Self {
                path: target,
                before,
            }),
        }
    }

    /// An empty copy beside it with its permissions.
    fn copy(&self, note: &mut dyn FnMut(&Path)) -> Result<Copy, AudioError> {
        let mut copy = Copy::beside(&self.path, note)
            .map_err(|error| AudioError::from_io(&self.path, error))?;
        // Before the contents are written, so that nobody can read them who cannot read the file.
        copy.take_after(&self.path, &self.before)
            .map_err(|reason| unwritable(&self.path, reason))?;
        Ok(copy)
    }
}

struct Replacement {
    target: WriteTarget,
    copy: Copy,
    keep_mtime: bool,
}

impl Replacement {
    fn commit(self) -> io::Result<()> {
        self.copy
            .replace(&self.target.path, &self.target.before, self.keep_mtime)
    }
}

/// The file's format by its content, if tags can be written into it.
fn kind(info: &AudioInfo) -> Option<FileType> {
    match (info.container.as_str(), info.codec.as_str()) {
        ("mp3", _) => Some(FileType::Mpeg),
        ("flac", _) => Some(FileType::Flac),
        ("ogg", "vorbis") => Some(FileType::Vorbis),
        ("ogg", "opus") => Some(FileType::Opus),
        ("isomp4", _) => Some(FileType::Mp4),
        _ => None,
    }
}

/// The splices that write the genres into a file.
///
/// # Errors
/// A message if that is not possible without a loss.
fn edit(
    kind: FileType,
    file: &mut File,
    genres: &[String],
    present: &TrackTags,
) -> Result<Vec<Splice>, String> {
    let text = |error: io::Error| error.to_string();
    match kind {
        FileType::Mp4 => mp4_edit::edit(file, genres),
        FileType::Vorbis => ogg::edit(file, genres, false),
        FileType::Opus => ogg::edit(file, genres, true),
        FileType::Mpeg => {
            let found = id3::find(file).map_err(text)?;
            let trailing = ape::find(file, found.audio).map_err(text)?;
            let mut splices = in_leading(file, &found, genres)?;
            if found.tags.is_empty() {
                let comment = trailing.v1.as_deref().and_then(ape::v1_comment);
                let others = texts::read(file, found.audio).map_err(text)?.tags;
                let frames = new_frames(present, &others, comment);
                let tag = id3::assembled(4, &frames);
                let put = spliced(&tag, frames::edit(&tag, &[], genres)?).map_err(text)?;
                splices.push(Splice::new(0, 0, put));
            }
            for (at, tag) in &trailing.ape {
                splices.extend(
                    ape::edit(tag, genres)?
                        .into_iter()
                        .map(|change| change.moved(*at)),
                );
            }
            Ok(splices)
        }
        FileType::Flac => {
            let found = id3::find(file).map_err(text)?;
            let mut splices = in_leading(file, &found, genres)?;
            splices.extend(flac::edit(file, found.audio, genres, present)?);
            Ok(splices)
        }
        other => Err(format!("{other:?} files are not written")),
    }
}

/// The frames of a new `ID3v2` tag: those of [`carried`], with all that the file's other tags have, whole dates, each of
/// several values, totals and comments.
///
/// - `others`: the richest first
/// - `comment`: that of the `ID3v1` tag
fn new_frames(
    present: &TrackTags,
    others: &[Tag],
    comment: Option<String>,
) -> Vec<(Vec<u8>, Vec<u8>)> {
    const KEYS: [(&str, &[ItemKey]); 11] = [
        ("TIT2", &[ItemKey::TrackTitle]),
        ("TPE1", &[ItemKey::TrackArtist]),
        ("TALB", &[ItemKey::AlbumTitle]),
        ("TPE2", &[ItemKey::AlbumArtist]),
        ("TCOM", &[ItemKey::Composer]),
        (
            "TDRC",
            &[ItemKey::RecordingDate, ItemKey::Year, ItemKey::ReleaseDate],
        ),
        ("TDOR", &[ItemKey::OriginalReleaseDate]),
        ("TRCK", &[ItemKey::TrackNumber]),
        ("TPOS", &[ItemKey::DiscNumber]),
        ("TSRC", &[ItemKey::Isrc]),
        ("COMM", &[ItemKey::Comment]),
    ];
    let known = carried(present).into_iter();
    let mut known: HashMap<&str, String> = known.map(|(id, _, text)| (id, text)).collect();
    known.extend(comment.map(|comment| ("COMM", comment)));
    let mut whole = HashMap::new();
    for tag in others.iter().rev() {
        for (id, keys) in KEYS {
            let texts = keys.iter().flat_map(|key| tag.get_strings(*key));
            let texts: Vec<String> = texts.flat_map(values).collect();
            let text = if id.starts_with("TD") {
                texts.first().and_then(|text| date(text))
            } else {
                Some(texts.join("\0")).filter(|text| !text.is_empty())
            };
            whole.extend(text.map(|text| (id, text)));
        }
    }
    // The year of a recording with an original date is that of the date.
    if whole.contains_key("TDOR") {
        known.remove("TDRC");
    }
    known.extend(whole);
    let order = KEYS.map(|(id, _)| id).into_iter();
    let frame = |id: &str| {
        let text = known.get(id)?;
        let content = match id {
            // Unknown language, no description. It has one value.
            "COMM" => format!("\x03XXX\0{}", text.replace('\0', "\n")).into_bytes(),
            _ => id3::text(4, text),
        };
        Some((id.as_bytes().to_vec(), content))
    };
    order.filter_map(frame).collect()
}

/// A date of `ID3v2.4`: `2009`, `2009-03` or `2009-03-04`; of another one the year.
fn date(text: &str) -> Option<String> {
    let year = format!("{:04}", year(text)?);
    let is_digits = |byte: u8| byte.is_ascii_digit() || byte == b'-';
    let is_whole = matches!(text.len(), 4 | 7 | 10) && text.starts_with(&year);
    Some(if is_whole && text.bytes().all(is_digits) {
        text.to_owned()
    } else {
        year
    })
}

/// The first text that reads differently afterwards, in words; `None` if all read the same.
fn change(before: &TrackTags, after: &TrackTags) -> Option<String> {
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
fn in_leading(
    file: &mut File,
    found: &id3::Id3Tags,
    genres: &[String],
) -> Result<Vec<Splice>, String> {
    let mut splices = Vec::new();
    for (i, (tag, at)) in found.tags.iter().zip(&found.starts).enumerate() {
        let mut behind = [0; id3::HEADER];
        let read = file.seek(SeekFrom::Start(at + tag.len() as u64));
        let n = read
            .and_then(|_| read_up_to(file, &mut behind))
            .map_err(|error| error.to_string())?;
        let changes = frames::edit(tag, &behind[..n], if i == 0 { genres } else { &[] })?;
        splices.extend(changes.into_iter().map(|change| change.moved(*at)));
    }
    Ok(splices)
}
