//! Writing tags, without ever having half a file.

use std::borrow::Cow;
use std::fs::File;
use std::io::{Seek, SeekFrom};
use std::path::Path;

use lofty::TextEncoding;
use lofty::ape::{ApeItem, ApeTag};
use lofty::config::{ParseOptions, ParsingMode, WriteOptions as Saving};
use lofty::file::{AudioFile, FileType};
use lofty::flac::FlacFile;
use lofty::id3::v2::{ExtendedTextFrame, Frame, FrameId, Id3v2Tag, Id3v2Version, TextInformationFrame};
use lofty::iff::wav::WavFile;
use lofty::mp4::{Atom, AtomData, AtomIdent, DataType, Ilst, Mp4File};
use lofty::mpeg::MpegFile;
use lofty::ogg::tag::VorbisComments;
use lofty::ogg::{OpusFile, VorbisFile};
use lofty::tag::ItemValue;

use super::copy::{self, Copy};
use super::read::{Bounded, R128_OFFSET, decibels, read_tags};
use super::{TagEdit, TagField, WriteOptions, WriteOutcome, id3, riff};
use crate::guard::guard;
use crate::ogg;
use crate::source::open;
use crate::{AudioError, AudioInfo, HeldFile, probe};
use voisin_base::cue::Place;

pub(super) fn write(
    path: &Path,
    edits: &[TagEdit],
    options: WriteOptions,
    note: &mut dyn FnMut(&Path),
) -> Result<Vec<WriteOutcome>, AudioError> {
    let unwritable =
        |reason: &str| AudioError::TagsUnwritable { path: path.to_owned(), reason: reason.to_owned() };
    let is_text = |value: &String| !value.trim().is_empty() && !value.contains('\0');
    if let Some(edit) = edits.iter().find(|edit| !edit.values.iter().all(is_text)) {
        return Err(unwritable(&format!("its {} must be text", edit.field.name())));
    }
    if !matches!(Place::of(path), Ok(Place::File(_))) {
        return Err(unwritable(
            "it is a part of a longer file, as a CUE sheet describes it: give the track a label by hand instead",
        ));
    }
    let mut held = HeldFile::open(path)?;
    let present = read_tags(path)?;
    let mut wanted = Vec::new();
    let mut outcomes = Vec::new();
    for edit in edits {
        let there = edit.field.values(&present);
        outcomes.push(if edit.field.is_same(&there, &edit.values) {
            WriteOutcome::Unchanged
        } else if !there.is_empty() && !options.overwrite {
            WriteOutcome::KeptExisting(there)
        } else {
            wanted.push(edit);
            WriteOutcome::Written
        });
    }
    if wanted.is_empty() {
        return Ok(outcomes);
    }
    let io = |error| AudioError::from_io(path, error);
    // The file itself, not a link to it, is replaced.
    let target = std::fs::canonicalize(path).map_err(io)?;
    held.also_known_as(&target);
    let before = held.metadata();
    if before.permissions().readonly() {
        return Err(AudioError::PermissionDenied { path: path.to_owned() });
    }
    let info = probe(&target)?;
    let kind = kind(&info).ok_or_else(|| unwritable("voisin writes no tags to files of its format"))?;
    if let Some(at) = ogg::damaged_page(open(&target)?).map_err(io)? {
        return Err(unwritable(&format!(
            "its Ogg page at byte {at} is damaged (its checksum differs) or cut off, and new tags would hide that: get a sound copy first"
        )));
    }
    let tags = id3::find(&mut open(&target)?).map_err(io)?.tags;
    if !tags.iter().all(|tag| id3::is_harmless(tag)) {
        return Err(unwritable(
            "its ID3v2 tag is damaged, compressed, or holds chapters within chapters: mend it with a tag editor first",
        ));
    }
    if let Some(loss) = copy::loss(before) {
        return Err(unwritable(&loss));
    }
    if options.dry_run {
        return Ok(outcomes);
    }
    let mut copy = Copy::beside(&target, note).map_err(io)?;
    // Before its contents: nobody is to read there what they cannot read in the file.
    copy.take_after(&target, before).map_err(|reason| unwritable(&reason))?;
    copy.fill(&target).map_err(io)?;
    guard(path, || edit(kind, copy.file(), &wanted))?.map_err(|reason| unwritable(&reason))?;
    let written = read_tags(copy.path())?;
    let is_there = |edit: &&&TagEdit| edit.field.is_same(&edit.field.values(&written), &edit.values);
    if let Some(edit) = wanted.iter().find(|edit| !is_there(edit)) {
        return Err(unwritable(&format!("its {} would not be read back as it is", edit.field.name())));
    }
    if probe(copy.path())?.content != info.content {
        return Err(unwritable("writing would change the audio"));
    }
    copy.replace(&target, before, options.keep_mtime).map_err(io)?;
    Ok(outcomes)
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

fn edit(kind: FileType, file: &mut File, edits: &[&TagEdit]) -> Result<(), String> {
    match kind {
        FileType::Mpeg => change(file, |tagged: &mut MpegFile| {
            if let Some(ape) = tagged.ape_mut() {
                in_ape(ape, edits);
            }
            if tagged.id3v2().is_none() {
                tagged.set_id3v2(Id3v2Tag::new());
            }
            tagged.id3v2_mut().map_or_else(Saving::new, |tag| in_id3v2(tag, edits))
        }),
        FileType::Wav => in_wav(file, edits),
        FileType::Flac => change(file, |tagged: &mut FlacFile| {
            let had_id3v2 = tagged.id3v2_mut().map(|tag| in_id3v2(tag, edits));
            if tagged.vorbis_comments().is_none() {
                tagged.set_vorbis_comments(VorbisComments::new());
            }
            if let Some(comments) = tagged.vorbis_comments_mut() {
                in_comments(comments, edits, false);
            }
            had_id3v2.unwrap_or_default()
        }),
        FileType::Vorbis => change(file, |tagged: &mut VorbisFile| {
            in_comments(tagged.vorbis_comments_mut(), edits, false);
            Saving::new()
        }),
        FileType::Opus => change(file, |tagged: &mut OpusFile| {
            in_comments(tagged.vorbis_comments_mut(), edits, true);
            Saving::new()
        }),
        FileType::Mp4 => change(file, |tagged: &mut Mp4File| {
            if tagged.ilst().is_none() {
                tagged.set_ilst(Ilst::new());
            }
            if let Some(ilst) = tagged.ilst_mut() {
                edits.iter().for_each(|edit| in_ilst(ilst, edit));
            }
            Saving::new()
        }),
        other => Err(format!("{other:?} files are not written")),
    }
}

fn in_wav(file: &mut File, edits: &[&TagEdit]) -> Result<(), String> {
    let renamed = riff::rename(file).map_err(|error| error.to_string())?;
    change(file, |tagged: &mut WavFile| {
        for edit in edits.iter().filter(|edit| edit.field == TagField::Genre) {
            if let Some(info) = tagged.riff_info_mut() {
                // This kind holds one value.
                info.insert("IGNR".to_owned(), edit.values.join("; "));
            }
        }
        if tagged.id3v2().is_none() {
            tagged.set_id3v2(Id3v2Tag::new());
        }
        tagged.id3v2_mut().map_or_else(Saving::new, |tag| in_id3v2(tag, edits))
    })?;
    renamed.restore(file).map_err(|error| error.to_string())
}

/// Reads all tags of a file, lets them be changed, writes them back.
fn change<T: AudioFile>(file: &mut File, change: impl FnOnce(&mut T) -> Saving) -> Result<(), String> {
    // Cover art is read too: what is not read would not be written back.
    let mut options = ParseOptions::new();
    let options = options.read_properties(false).parsing_mode(ParsingMode::Relaxed);
    file.seek(SeekFrom::Start(0)).map_err(|error| error.to_string())?;
    let mut bounded = Bounded { inner: &mut *file, left: id3::MOST };
    let mut tagged = T::read_from(&mut bounded, options).map_err(|error| error.to_string())?;
    let saving = change(&mut tagged);
    file.seek(SeekFrom::Start(0)).map_err(|error| error.to_string())?;
    tagged.save_to(file, saving.respect_read_only(false)).map_err(|error| error.to_string())
}

/// A text frame for each tag, with a NUL between genres. The tag keeps its version, 2.2 becoming 2.3.
fn in_id3v2(tag: &mut Id3v2Tag, edits: &[&TagEdit]) -> Saving {
    const GAIN: &str = "REPLAYGAIN_TRACK_GAIN";
    let old = tag.original_version() != Id3v2Version::V4;
    let encoding = if old { TextEncoding::UTF16 } else { TextEncoding::UTF8 };
    for edit in edits {
        let text = edit.values.join("\0");
        let id = match edit.field {
            TagField::Genre => "TCON",
            TagField::Bpm => "TBPM",
            TagField::Key => "TKEY",
            TagField::ReplayGain => {
                let is_gain = |frame: &Frame<'_>| matches!(frame, Frame::UserText(text) if text.description.eq_ignore_ascii_case(GAIN));
                tag.retain(|frame| !is_gain(frame));
                if !edit.values.is_empty() {
                    tag.insert(Frame::UserText(ExtendedTextFrame::new(encoding, GAIN, text)));
                }
                continue;
            }
        };
        let id = FrameId::Valid(Cow::Borrowed(id));
        if edit.values.is_empty() {
            let _ = tag.remove(&id).count();
        } else {
            tag.insert(Frame::Text(TextInformationFrame::new(id, encoding, text)));
        }
    }
    let mut saving = Saving::new();
    saving.use_id3v23(old)
}

fn in_ape(tag: &mut ApeTag, edits: &[&TagEdit]) {
    for edit in edits {
        let name = match edit.field {
            TagField::Genre => "Genre",
            TagField::Bpm => "BPM",
            TagField::Key => "KEY",
            TagField::ReplayGain => "REPLAYGAIN_TRACK_GAIN",
        };
        tag.remove(name);
        if let Ok(item) = ApeItem::new(name.to_owned(), ItemValue::Text(edit.values.join("\0")))
            && !edit.values.is_empty()
        {
            tag.insert(item);
        }
    }
}

/// - `opus`: gains are kept as RFC 7845 has them: whole numbers of 1/256 dB, to -23 LUFS rather than to -18
fn in_comments(comments: &mut VorbisComments, edits: &[&TagEdit], opus: bool) {
    for edit in edits {
        let (name, other) = match edit.field {
            TagField::Genre => ("GENRE", None),
            TagField::Bpm => ("BPM", None),
            TagField::Key => ("INITIALKEY", Some("KEY")),
            TagField::ReplayGain if opus => ("R128_TRACK_GAIN", Some("REPLAYGAIN_TRACK_GAIN")),
            TagField::ReplayGain => ("REPLAYGAIN_TRACK_GAIN", Some("R128_TRACK_GAIN")),
        };
        for name in other.into_iter().chain([name]) {
            let _ = comments.remove(name).count();
        }
        for value in &edit.values {
            let value = match decibels(value) {
                Some(gain) if name == "R128_TRACK_GAIN" => {
                    format!("{:.0}", 256.0 * (gain - R128_OFFSET))
                }
                _ => value.clone(),
            };
            comments.push(name.to_owned(), value);
        }
    }
}

fn in_ilst(ilst: &mut Ilst, edit: &TagEdit) {
    const APPLE: &str = "com.apple.iTunes";
    let freeform = |name| AtomIdent::Freeform { mean: APPLE.into(), name };
    let is_whole = edit.values.iter().all(|value| value.bytes().all(|byte| byte.is_ascii_digit()));
    let (ident, other) = match edit.field {
        TagField::Bpm if !is_whole => (freeform("BPM".into()), AtomIdent::Fourcc(*b"tmpo")),
        TagField::Genre => (AtomIdent::Fourcc(*b"\xa9gen"), AtomIdent::Fourcc(*b"gnre")),
        TagField::Bpm => (AtomIdent::Fourcc(*b"tmpo"), freeform("BPM".into())),
        TagField::Key => (freeform("initialkey".into()), freeform("KEY".into())),
        TagField::ReplayGain => {
            (freeform("replaygain_track_gain".into()), freeform("REPLAYGAIN_TRACK_GAIN".into()))
        }
    };
    let _ = ilst.remove(&other).count();
    let _ = ilst.remove(&ident).count();
    let data = |value: &String| match (edit.field, value.parse::<u16>()) {
        // Two bytes, as other programs write it.
        (TagField::Bpm, Ok(bpm)) => {
            AtomData::Unknown { code: DataType::BeSignedInteger, data: bpm.to_be_bytes().to_vec() }
        }
        _ => AtomData::UTF8(value.clone()),
    };
    if let Some(atom) = Atom::from_collection(ident, edit.values.iter().map(data).collect()) {
        ilst.insert(atom);
    }
}
