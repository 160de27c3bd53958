//! Reading tags: lofty for most formats, Symphonia's own readers for Matroska and CAF.

use std::fs::File;
use std::io::{self, BufReader, Cursor, Read, Seek, SeekFrom};
use std::path::Path;

use lofty::config::{ParseOptions, ParsingMode};
use lofty::file::{AudioFile, FileType, TaggedFile, TaggedFileExt};
use lofty::mp4::{AtomData, AtomIdent, Mp4File};
use lofty::picture::PictureType;
use lofty::probe::Probe;
use lofty::tag::{ItemKey, Tag, TagType};
use symphonia::core::meta::StandardTag;

use super::{TrackTags, id3};
use crate::AudioError;
use crate::demux::Demuxer;
use crate::guard::guard;
use crate::source::{WHOLE, open, read_up_to};
use voisin_base::cue::{CuePart, Place};

pub(super) fn options() -> ParseOptions {
    let mut options = ParseOptions::new();
    options
        .read_properties(false)
        .read_cover_art(false)
        .parsing_mode(ParsingMode::Relaxed)
}

pub(super) fn read_tags(path: &Path) -> Result<TrackTags, AudioError> {
    let io = |error| AudioError::from_io(path, error);
    if let Place::Part(part) = Place::of(path).map_err(io)? {
        return Ok(of_part(*part));
    }
    let mut file = open(path)?;
    let mut head = [0; 4];
    let n = read_up_to(&mut file, &mut head).map_err(io)?;
    // lofty knows neither, and would search them for something it knows.
    if matches!(&head[..n], b"\x1a\x45\xdf\xa3" | b"caff") {
        return Ok(from_container(path));
    }
    let found = id3::find(&mut file).map_err(io)?;
    // A panic or an error in damaged tags leaves the file without tags, not the run without the file.
    Ok(guard(path, || {
        let (all, primary) = parse(file, &found, id3::plain, options());
        from_all(&all, primary)
    })
    .unwrap_or_default())
}

/// What a CUE sheet says of a part; what holds for the whole file besides comes from the file.
fn of_part(part: CuePart) -> TrackTags {
    let whole = read_tags(&part.audio).unwrap_or_default();
    let genres: Vec<String> = part.genre.into_iter().collect();
    TrackTags {
        title: part.title,
        artist: part.artist.or(whole.artist),
        album: part.album.or(whole.album),
        album_artist: part.album_artist.or(whole.album_artist),
        composer: whole.composer,
        genres: if genres.is_empty() {
            whole.genres
        } else {
            genres
        },
        year: part.date.as_deref().and_then(year).or(whole.year),
        track_number: Some(part.number),
        disc_number: whole.disc_number,
        isrc: part.isrc.as_deref().and_then(isrc),
        licence: whole.licence,
        ..TrackTags::default()
    }
}

/// The picture of the front, else the first one.
pub(super) fn read_cover(path: &Path) -> Result<Option<Vec<u8>>, AudioError> {
    let io = |error| AudioError::from_io(path, error);
    let place = Place::of(path).map_err(io)?;
    let path = place.audio();
    let mut file = open(path)?;
    let found = id3::find(&mut file).map_err(io)?;
    let cover = guard(path, || {
        let (all, _) = parse(file, &found, id3::pictures, options().read_cover_art(true));
        let pictures = || {
            all.iter()
                .flat_map(Tag::pictures)
                .filter(|picture| !picture.data().is_empty())
        };
        let front = pictures().find(|picture| picture.pic_type() == PictureType::CoverFront);
        front
            .or_else(|| pictures().next())
            .map(|picture| picture.data().to_vec())
    });
    Ok(cover.unwrap_or_default())
}

/// The works at `MusicBrainz` that a file says it is a recording of.
pub(super) fn read_works(path: &Path) -> Result<Vec<String>, AudioError> {
    if let Ok(Place::Part(_)) = Place::of(path) {
        return Ok(Vec::new());
    }
    let mut file = open(path)?;
    let found = id3::find(&mut file).map_err(|error| AudioError::from_io(path, error))?;
    Ok(guard(path, || {
        let (all, _) = parse(file, &found, id3::plain, options());
        let texts = all
            .iter()
            .flat_map(|tag| tag.get_strings(ItemKey::MusicBrainzWorkId));
        texts
            .flat_map(values)
            .filter_map(|text| mbid(&text))
            .collect()
    })
    .unwrap_or_default())
}

/// All tags of a file and the richest kind of its format. `ID3v2` tags are read from a copy that `copy` makes of each,
/// everything else from the file without them.
fn parse(
    mut file: File,
    found: &id3::Id3Tags,
    copy: fn(&[u8], &mut usize) -> Vec<u8>,
    options: ParseOptions,
) -> (Vec<Tag>, TagType) {
    let mut room = id3::MOST;
    let mut plain: Vec<u8> = found
        .tags
        .iter()
        .flat_map(|tag| copy(tag, &mut room))
        .collect();
    let mut all = Vec::new();
    if !plain.is_empty() {
        // Room for the tags that a reader looks for at the end.
        plain.resize(plain.len() + 256, 0);
        let probe = Probe::with_file_type(Cursor::new(plain), FileType::Mpeg).options(options);
        all.extend(
            probe
                .read()
                .map(|file| file.tags().to_vec())
                .unwrap_or_default(),
        );
    }
    let _ = file.seek(SeekFrom::Start(0));
    let rest = Bounded {
        inner: BufReader::new(id3::Masked::new(file, found)),
        left: id3::MOST,
    };
    let read = Probe::new(rest).options(options).guess_file_type().ok();
    let read = read
        .filter(|probe| probe.file_type().is_some())
        .and_then(|probe| match probe.file_type() {
            Some(FileType::Mp4) => mp4(probe.into_inner(), options),
            _ => probe.read().ok(),
        });
    let primary = read
        .as_ref()
        .map_or(TagType::Id3v2, TaggedFileExt::primary_tag_type);
    all.extend(read.map(|file| file.tags().to_vec()).unwrap_or_default());
    (all, primary)
}

/// An MP4 file with its tempo, a number, which lofty leaves out of what it makes alike for all formats.
fn mp4(mut reader: impl Read + Seek, options: ParseOptions) -> Option<TaggedFile> {
    reader.seek(SeekFrom::Start(0)).ok()?;
    let file = Mp4File::read_from(&mut reader, options).ok()?;
    let tempo = file
        .ilst()
        .and_then(|ilst| ilst.get(&AtomIdent::Fourcc(*b"tmpo")));
    let tempo = tempo
        .and_then(|atom| atom.data().next())
        .and_then(|data| match data {
            AtomData::SignedInteger(number) => Some(i64::from(*number)),
            AtomData::UnsignedInteger(number) => Some(i64::from(*number)),
            AtomData::Unknown { data, .. } => {
                Some(u16::from_be_bytes(data.as_slice().try_into().ok()?).into())
            }
            _ => None,
        });
    let mut file = TaggedFile::from(file);
    if let (Some(tempo), Some(tag)) = (tempo, file.tag_mut(TagType::Mp4Ilst)) {
        tag.insert_text(ItemKey::IntegerBpm, tempo.to_string());
    }
    Some(file)
}

/// A file of which a parser may read so many bytes and no more: comments and atoms may be as large as the file, and are
/// read into memory whole.
pub(super) struct Bounded<R> {
    pub(super) inner: R,
    pub(super) left: usize,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 && !buffer.is_empty() {
            return Err(io::Error::new(
                io::ErrorKind::FileTooLarge,
                "tags larger than any that are read",
            ));
        }
        let most = buffer.len().min(self.left);
        let n = self.inner.read(&mut buffer[..most])?;
        self.left -= n;
        Ok(n)
    }
}

impl<R: Seek> Seek for Bounded<R> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.inner.seek(to)
    }
}

/// Merges the kinds of tags in a file, the primary first and `ID3v1`, which cuts everything short, last.
fn from_all(all: &[Tag], primary: TagType) -> TrackTags {
    let rank = |tag: &Tag| match tag.tag_type() {
        kind if kind == primary => 0,
        TagType::Id3v1 => 2,
        _ => 1,
    };
    let mut ranked: Vec<&Tag> = all.iter().collect();
    ranked.sort_by_key(|tag| rank(tag));
    let mut merged = TrackTags::default();
    for tag in ranked {
        let tags = from_one(tag);
        merged.title = merged.title.or(tags.title);
        merged.artist = merged.artist.or(tags.artist);
        merged.album = merged.album.or(tags.album);
        merged.album_artist = merged.album_artist.or(tags.album_artist);
        merged.composer = merged.composer.or(tags.composer);
        merged.year = merged.year.or(tags.year);
        merged.track_number = merged.track_number.or(tags.track_number);
        merged.disc_number = merged.disc_number.or(tags.disc_number);
        merged.mbid = merged.mbid.or(tags.mbid);
        merged.isrc = merged.isrc.or(tags.isrc);
        merged.licence = merged.licence.or(tags.licence);
        merged.bpm = merged.bpm.or(tags.bpm);
        merged.musical_key = merged.musical_key.or(tags.musical_key);
        merged.replay_gain = merged.replay_gain.or(tags.replay_gain);
        if merged.genres.is_empty() {
            merged.genres = tags.genres;
        }
    }
    merged
}

fn from_one(tag: &Tag) -> TrackTags {
    let joined = |key| {
        let parts: Vec<String> = tag.get_strings(key).flat_map(values).collect();
        (!parts.is_empty()).then(|| parts.join("; "))
    };
    let number = |key| tag.get_strings(key).find_map(leading_number);
    let dates = [
        ItemKey::RecordingDate,
        ItemKey::Year,
        ItemKey::ReleaseDate,
        ItemKey::OriginalReleaseDate,
    ];
    TrackTags {
        title: joined(ItemKey::TrackTitle),
        artist: joined(ItemKey::TrackArtist),
        album: joined(ItemKey::AlbumTitle),
        album_artist: joined(ItemKey::AlbumArtist),
        composer: joined(ItemKey::Composer),
        genres: tag.get_strings(ItemKey::Genre).flat_map(values).collect(),
        year: dates
            .into_iter()
            .find_map(|key| tag.get_strings(key).find_map(year)),
        track_number: number(ItemKey::TrackNumber),
        disc_number: number(ItemKey::DiscNumber),
        mbid: tag
            .get_strings(ItemKey::MusicBrainzRecordingId)
            .find_map(mbid),
        isrc: tag.get_strings(ItemKey::Isrc).find_map(isrc),
        licence: [ItemKey::License, ItemKey::CopyrightUrl]
            .into_iter()
            .find_map(|key| {
                tag.get_strings(key)
                    .chain(tag.get_locators(key))
                    .flat_map(values)
                    .next()
            })
            .or_else(|| {
                tag.get_strings(ItemKey::CopyrightMessage)
                    .flat_map(values)
                    .find(|text| names_licence(text))
            }),
        bpm: [ItemKey::Bpm, ItemKey::IntegerBpm]
            .into_iter()
            .find_map(|key| {
                tag.get_strings(key)
                    .find_map(|text| within(text, 10.0, 1000.0))
            }),
        musical_key: tag.get_strings(ItemKey::InitialKey).flat_map(values).next(),
        replay_gain: tag
            .get_strings(ItemKey::ReplayGainTrackGain)
            .find_map(decibels)
            .or_else(|| {
                tag.get_strings(ItemKey::R128TrackGain)
                    .find_map(gain_of_opus)
            }),
    }
}

/// Matroska and CAF, which lofty does not know.
fn from_container(path: &Path) -> TrackTags {
    let mut tags = TrackTags::default();
    let Ok(mut demuxer) = Demuxer::open(path, &WHOLE) else {
        return tags;
    };
    demuxer.visit_tags(&mut |tag| {
        let text = |value: &str| values(value).next();
        match tag {
            StandardTag::TrackTitle(value) => tags.title = tags.title.take().or(text(value)),
            StandardTag::Artist(value) => tags.artist = tags.artist.take().or(text(value)),
            StandardTag::Album(value) => tags.album = tags.album.take().or(text(value)),
            StandardTag::AlbumArtist(value) => {
                tags.album_artist = tags.album_artist.take().or(text(value))
            }
            StandardTag::Composer(value) => tags.composer = tags.composer.take().or(text(value)),
            StandardTag::Genre(value) => tags.genres.extend(values(value)),
            StandardTag::RecordingDate(value)
            | StandardTag::ReleaseDate(value)
            | StandardTag::OriginalReleaseDate(value) => tags.year = tags.year.or(year(value)),
            StandardTag::TrackNumber(value) => tags.track_number = u32::try_from(*value).ok(),
            StandardTag::DiscNumber(value) => tags.disc_number = u32::try_from(*value).ok(),
            StandardTag::MusicBrainzRecordingId(value) => tags.mbid = mbid(value),
            StandardTag::IdentIsrc(value) => tags.isrc = isrc(value),
            StandardTag::License(value) => tags.licence = text(value),
            StandardTag::Bpm(value) => tags.bpm = within(&value.to_string(), 10.0, 1000.0),
            StandardTag::InitialKey(value) => tags.musical_key = text(value),
            StandardTag::ReplayGainTrackGain(value) => tags.replay_gain = decibels(value),
            _ => {}
        }
    });
    tags
}

/// `ID3v2` puts a NUL between the values of one frame; padding with NULs gives empty ones.
fn values(text: &str) -> impl Iterator<Item = String> + '_ {
    text.split('\0')
        .map(str::trim)
        .filter(|value| !value.is_empty())
        .map(str::to_owned)
}

/// A UUID.
fn mbid(text: &str) -> Option<String> {
    let text = text.trim_matches(['\0', ' ']).to_ascii_lowercase();
    let parts: Vec<&str> = text.split('-').collect();
    let hexadecimal = |part: &&str| part.bytes().all(|byte| byte.is_ascii_hexdigit());
    let lengths: Vec<usize> = parts.iter().map(|part| part.len()).collect();
    (lengths == [8, 4, 4, 4, 12] && parts.iter().all(hexadecimal)).then_some(text)
}

/// Two letters, three letters or digits, seven digits; often written with hyphens.
fn isrc(text: &str) -> Option<String> {
    let text: String = text
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .collect::<String>()
        .to_ascii_uppercase();
    let is_code = text.len() == 12
        && text[..2].bytes().all(|byte| byte.is_ascii_uppercase())
        && text[5..].bytes().all(|byte| byte.is_ascii_digit());
    is_code.then_some(text)
}

/// Whether a copyright notice says under which licence a recording may be used, and not only whose it is.
fn names_licence(notice: &str) -> bool {
    let notice = notice.to_ascii_lowercase();
    [
        "creativecommons.org",
        "creative commons",
        "cc by",
        "cc-by",
        "cc0",
        "public domain",
    ]
    .iter()
    .any(|words| notice.contains(words))
}

/// A number between two bounds. Programs that found no tempo write 0.
fn within(text: &str, least: f64, most: f64) -> Option<f64> {
    let text = text.trim_matches(['\0', ' ']).replace(',', ".");
    text.parse()
        .ok()
        .filter(|number| (least..=most).contains(number))
}

/// `-7.03 dB`.
pub(super) fn decibels(text: &str) -> Option<f64> {
    let text = text.trim_matches(['\0', ' ']).to_ascii_lowercase();
    within(text.strip_suffix("db").unwrap_or(&text).trim(), -60.0, 60.0)
}

/// A gain to -23 LUFS lowers by so many dB more than one to -18 LUFS does, as `ReplayGain` is.
pub(super) const R128_OFFSET: f64 = 5.0;

/// `-1234`: 1/256 dB, as RFC 7845 has it.
fn gain_of_opus(text: &str) -> Option<f64> {
    Some(within(text, -32768.0, 32767.0)? / 256.0 + R128_OFFSET).filter(|gain| gain.abs() <= 60.0)
}

/// `3`, `03`, `3/12`.
fn leading_number(text: &str) -> Option<u32> {
    let text = text.trim();
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    text[..digits].parse().ok().filter(|&number| number > 0)
}

/// The first run of exactly four digits: `1987`, `1987-06-01`, `06/01/1987`.
fn year(text: &str) -> Option<i32> {
    text.split(|c: char| !c.is_ascii_digit())
        .filter(|digits| digits.len() == 4 || digits.len() == 8)
        .find_map(|digits| digits[..4].parse().ok())
        .filter(|&year| year > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_parser_reads_more_than_its_share() {
        let mut bounded = Bounded {
            inner: Cursor::new(vec![7; 100]),
            left: 60,
        };
        let mut all = Vec::new();
        assert!(bounded.read_to_end(&mut all).is_err());
        assert_eq!(all.len(), 60);
        bounded.seek(SeekFrom::Start(0)).unwrap();
        assert!(bounded.read(&mut [0; 1]).is_err());
    }

    #[test]
    fn years_come_in_many_forms() {
        for text in [
            "1987",
            "1987-06-01",
            "06/01/1987",
            "19870601",
            " 1987 ",
            "1987-06-01T12:00:00Z",
        ] {
            assert_eq!(year(text), Some(1987), "{text}");
        }
        for text in ["", "0000", "87", "unknown", "198"] {
            assert_eq!(year(text), None, "{text}");
        }
    }

    #[test]
    fn codes_are_brought_into_one_form_or_left_out() {
        let id = "8f3471b5-7e6a-48da-86a9-c1c07a0f47ae";
        assert_eq!(
            mbid(&format!(" {}\0", id.to_uppercase())).as_deref(),
            Some(id)
        );
        assert_eq!(mbid("8f3471b57e6a48da86a9c1c07a0f47ae"), None);
        assert_eq!(mbid("8f3471b5-7e6a-48da-86a9-c1c07a0f47ag"), None);
        assert_eq!(isrc("us-rc1-76-07839").as_deref(), Some("USRC17607839"));
        assert_eq!(
            (
                isrc("USRC1760783"),
                isrc("12RC17607839"),
                isrc("ÜSRC17607839é")
            ),
            (None, None, None)
        );
        assert!(
            names_licence("2019 Someone. Licensed under CC BY-SA 4.0")
                && !names_licence("(c) 2003 A Label")
        );
    }

    #[test]
    fn tempo_and_gain_are_numbers_or_left_out() {
        let bpm = |text: &str| within(text, 10.0, 1000.0);
        assert_eq!(
            (bpm("128"), bpm("127,5\0"), bpm("0"), bpm("fast")),
            (Some(128.0), Some(127.5), None, None)
        );
        assert_eq!(
            (decibels("-7.03 dB"), decibels("+1.5"), decibels("nan dB")),
            (Some(-7.03), Some(1.5), None)
        );
    }

    #[test]
    fn numbers_end_at_the_first_other_character() {
        assert_eq!(leading_number("03/12"), Some(3));
        assert_eq!(leading_number("A1"), None);
        assert_eq!(leading_number("0"), None);
        assert_eq!(leading_number("99999999999"), None);
    }

    #[test]
    fn values_are_split_at_nuls_and_nowhere_else() {
        assert_eq!(
            values("Rock/Pop\0(17)\0\0 ").collect::<Vec<_>>(),
            ["Rock/Pop", "(17)"]
        );
    }
}
