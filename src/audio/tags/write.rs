//! Writing genres, without ever having half a file.

use std::borrow::Cow;
use std::fs::{File, FileTimes, Metadata};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::Path;

use lofty::TextEncoding;
use lofty::ape::{ApeItem, ApeTag};
use lofty::config::{ParseOptions, ParsingMode, WriteOptions as Saving};
use lofty::file::{AudioFile, FileType};
use lofty::flac::FlacFile;
use lofty::id3::v2::{Frame, FrameId, Id3v2Tag, Id3v2Version, TextInformationFrame};
use lofty::iff::wav::WavFile;
use lofty::mp4::{Atom, AtomData, AtomIdent, Ilst, Mp4File};
use lofty::mpeg::MpegFile;
use lofty::ogg::tag::VorbisComments;
use lofty::ogg::{OpusFile, VorbisFile};
use lofty::tag::ItemValue;

use super::read::{Bounded, read_tags};
use super::{WriteOptions, WriteOutcome, id3};
use crate::audio::guard::guard;
use crate::audio::{AudioError, AudioInfo, probe};
use crate::base::atomic_file::AtomicFile;

pub(super) fn write_genres(
    path: &Path,
    genres: &[String],
    options: WriteOptions,
    note: &mut dyn FnMut(&Path),
) -> Result<WriteOutcome, AudioError> {
    let unwritable =
        |reason: &str| AudioError::TagsUnwritable { path: path.to_owned(), reason: reason.to_owned() };
    if genres.iter().any(|genre| genre.trim().is_empty() || genre.contains('\0')) {
        return Err(unwritable("a genre must be text"));
    }
    let present = read_tags(path)?.genres;
    if present == genres {
        return Ok(WriteOutcome::Unchanged);
    }
    if !present.is_empty() && !options.overwrite {
        return Ok(WriteOutcome::KeptExisting(present));
    }
    let io = |error| AudioError::from_io(path, error);
    // The file itself, not a link to it, is replaced.
    let target = std::fs::canonicalize(path).map_err(io)?;
    let before = std::fs::metadata(&target).map_err(io)?;
    if before.permissions().readonly() {
        return Err(AudioError::PermissionDenied { path: path.to_owned() });
    }
    let info = probe(&target)?;
    let kind = kind(&info).ok_or_else(|| unwritable("voisin writes no genres to files of its format"))?;
    let tags = id3::find(&mut File::open(&target).map_err(io)?).map_err(io)?.tags;
    if !tags.iter().all(|tag| id3::is_harmless(tag)) {
        return Err(unwritable(
            "its ID3v2 tag is damaged, compressed, or holds chapters within chapters: mend it with a tag editor first",
        ));
    }
    if options.dry_run {
        return Ok(WriteOutcome::Written);
    }
    let mut copy = Copy::of(&target, &before, note).map_err(io)?;
    guard(path, || edit(kind, copy.file(), genres))?.map_err(|reason| unwritable(&reason))?;
    if read_tags(copy.path())?.genres != genres {
        return Err(unwritable("the genres would not be read back as they are"));
    }
    if probe(copy.path())?.content != info.content {
        return Err(unwritable("writing would change the audio"));
    }
    copy.replace(&target, &before, options.keep_mtime).map_err(io)?;
    Ok(WriteOutcome::Written)
}

/// The kind of the file by its contents, if it is one that can be written.
fn kind(info: &AudioInfo) -> Option<FileType> {
    match (info.container.as_str(), info.codec.as_str()) {
        ("mp3", _) => Some(FileType::Mpeg),
        ("flac", _) => Some(FileType::Flac),
        ("ogg", "vorbis") => Some(FileType::Vorbis),
        ("ogg", "opus") => Some(FileType::Opus),
        ("isomp4", _) => Some(FileType::Mp4),
        ("wave", _) => Some(FileType::Wav),
        _ => None,
    }
}

/// A hidden copy beside a file; removed unless it replaces the file.
struct Copy(AtomicFile);

impl Copy {
    fn of(target: &Path, metadata: &Metadata, note: &mut dyn FnMut(&Path)) -> io::Result<Self> {
        let mut copy = AtomicFile::create_noted(target, note)?;
        copy.file().set_permissions(metadata.permissions())?;
        #[cfg(unix)]
        {
            use std::os::unix::fs::{MetadataExt, fchown};
            // Only a superuser may give files away; anyone else's copy is their own already.
            let _ = fchown(copy.file(), Some(metadata.uid()), Some(metadata.gid()));
        }
        io::copy(&mut File::open(target)?, copy.file())?;
        copy.file().seek(SeekFrom::Start(0))?;
        Ok(Self(copy))
    }

    fn file(&mut self) -> &mut File {
        self.0.file()
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn replace(mut self, target: &Path, before: &Metadata, keep_mtime: bool) -> io::Result<()> {
        let now = std::fs::metadata(target)?;
        if now.len() != before.len() || now.modified()? != before.modified()? {
            return Err(io::Error::other("the file was changed meanwhile"));
        }
        self.file().flush()?;
        if keep_mtime {
            let mut times = FileTimes::new().set_modified(before.modified()?);
            if let Ok(accessed) = before.accessed() {
                times = times.set_accessed(accessed);
            }
            self.file().set_times(times)?;
        }
        self.0.commit()
    }
}

fn edit(kind: FileType, file: &mut File, genres: &[String]) -> Result<(), String> {
    match kind {
        FileType::Mpeg => change(file, |tagged: &mut MpegFile| {
            if let Some(ape) = tagged.ape_mut() {
                in_ape(ape, genres);
            }
            if tagged.id3v2().is_none() {
                tagged.set_id3v2(Id3v2Tag::new());
            }
            tagged.id3v2_mut().map_or_else(Saving::new, |tag| in_id3v2(tag, genres))
        }),
        FileType::Wav => change(file, |tagged: &mut WavFile| {
            if let Some(info) = tagged.riff_info_mut() {
                // This kind holds one value.
                info.insert("IGNR".to_owned(), genres.join("; "));
            }
            if tagged.id3v2().is_none() {
                tagged.set_id3v2(Id3v2Tag::new());
            }
            tagged.id3v2_mut().map_or_else(Saving::new, |tag| in_id3v2(tag, genres))
        }),
        FileType::Flac => change(file, |tagged: &mut FlacFile| {
            let had_id3v2 = tagged.id3v2_mut().map(|tag| in_id3v2(tag, genres));
            if tagged.vorbis_comments().is_none() {
                tagged.set_vorbis_comments(VorbisComments::new());
            }
            if let Some(comments) = tagged.vorbis_comments_mut() {
                in_comments(comments, genres);
            }
            had_id3v2.unwrap_or_default()
        }),
        FileType::Vorbis => change(file, |tagged: &mut VorbisFile| {
            in_comments(tagged.vorbis_comments_mut(), genres);
            Saving::new()
        }),
        FileType::Opus => change(file, |tagged: &mut OpusFile| {
            in_comments(tagged.vorbis_comments_mut(), genres);
            Saving::new()
        }),
        FileType::Mp4 => change(file, |tagged: &mut Mp4File| {
            if tagged.ilst().is_none() {
                tagged.set_ilst(Ilst::new());
            }
            if let Some(ilst) = tagged.ilst_mut() {
                in_ilst(ilst, genres);
            }
            Saving::new()
        }),
        other => Err(format!("{other:?} files are not written")),
    }
}

/// Reads all tags of a file, lets them be changed, writes them back.
fn change<T: AudioFile>(file: &mut File, change: impl FnOnce(&mut T) -> Saving) -> Result<(), String> {
    // Cover art is read too: what is not read would not be written back.
    let mut options = ParseOptions::new();
    let options = options.read_properties(false).parsing_mode(ParsingMode::Relaxed);
    let mut bounded = Bounded { inner: &mut *file, left: id3::MOST };
    let mut tagged = T::read_from(&mut bounded, options).map_err(|error| error.to_string())?;
    let saving = change(&mut tagged);
    file.seek(SeekFrom::Start(0)).map_err(|error| error.to_string())?;
    tagged.save_to(file, saving.respect_read_only(false)).map_err(|error| error.to_string())
}

/// One TCON frame with a NUL between values. The tag keeps its version, 2.2 becoming 2.3.
fn in_id3v2(tag: &mut Id3v2Tag, genres: &[String]) -> Saving {
    const GENRE: FrameId<'static> = FrameId::Valid(Cow::Borrowed("TCON"));
    let old = tag.original_version() != Id3v2Version::V4;
    let encoding = if old { TextEncoding::UTF16 } else { TextEncoding::UTF8 };
    if genres.is_empty() {
        let _ = tag.remove(&GENRE).count();
    } else {
        tag.insert(Frame::Text(TextInformationFrame::new(GENRE, encoding, genres.join("\0"))));
    }
    let mut saving = Saving::new();
    saving.use_id3v23(old)
}

fn in_ape(tag: &mut ApeTag, genres: &[String]) {
    tag.remove("Genre");
    if let Ok(item) = ApeItem::new("Genre".to_owned(), ItemValue::Text(genres.join("\0")))
        && !genres.is_empty()
    {
        tag.insert(item);
    }
}

fn in_comments(comments: &mut VorbisComments, genres: &[String]) {
    let _ = comments.remove("GENRE").count();
    for genre in genres {
        comments.push("GENRE".to_owned(), genre.clone());
    }
}

fn in_ilst(ilst: &mut Ilst, genres: &[String]) {
    const GENRE: AtomIdent<'static> = AtomIdent::Fourcc(*b"\xa9gen");
    const NUMBERED: AtomIdent<'static> = AtomIdent::Fourcc(*b"gnre");
    let _ = ilst.remove(&NUMBERED).count();
    let _ = ilst.remove(&GENRE).count();
    let values = genres.iter().map(|genre| AtomData::UTF8(genre.clone())).collect();
    if let Some(atom) = Atom::from_collection(GENRE, values) {
        ilst.insert(atom);
    }
}
