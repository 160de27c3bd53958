//! Tags of real files: read, written, and the data that must not change.

use std::path::Path;

use voisin_audio::AudioError;
use voisin_audio::tags::{WriteOptions, WriteOutcome, read_tags, write_genres};
use voisin_base::tags::TrackTags;

use super::{copy_of, data, references};

fn strings(values: &[&str]) -> Vec<String> {
    values.iter().map(|&value| value.to_owned()).collect()
}

/// One file of each kind whose genres can be written.
const WRITABLE: [&str; 7] = [
    "cbr.mp3",
    "noxing.mp3",
    "mono.flac",
    "vorbis.ogg",
    "music.opus",
    "aac.m4a",
    "alac.m4a",
];

#[test]
fn genres_are_written_and_the_audio_keeps_its_identity() {
    for name in WRITABLE {
        let (folder, path) = copy_of(name);
        let before = voisin_audio::probe(&path).expect("readable");
        let modified = || {
            let metadata = std::fs::metadata(&path);
            metadata.and_then(|found| found.modified()).expect("known")
        };
        let old = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000);
        let file = std::fs::File::options().write(true).open(&path);
        file.and_then(|file| file.set_modified(old)).expect("set");
        let genres = strings(&["Drum & Bass", "Ambient", "Électro/日本"]);
        let others = strings(&["Jazz"]);
        let kept = WriteOutcome::KeptExisting(genres.clone());
        let [default, dry, overwrite] = [
            (false, true, false),
            (false, true, true),
            (true, false, false),
        ]
        .map(|(overwrite, keep_mtime, dry_run)| WriteOptions {
            overwrite,
            keep_mtime,
            dry_run,
        });
        for (new, options, outcome, read) in [
            (&genres, dry, WriteOutcome::Written, &Vec::new()),
            (&genres, default, WriteOutcome::Written, &genres),
            (&others, default, kept, &genres),
            (&genres, default, WriteOutcome::Unchanged, &genres),
            (&others, overwrite, WriteOutcome::Written, &others),
        ] {
            let found = write_genres(&path, new, options);
            assert_eq!(found.expect("writable"), outcome, "{name}");
            assert_eq!(read_tags(&path).expect("readable").genres, *read, "{name}");
            assert_eq!(modified() == old, options.keep_mtime, "{name}");
        }
        let after = voisin_audio::probe(&path).expect("readable");
        assert_eq!(after, before, "{name}");
        let left = std::fs::read_dir(folder.path()).expect("a folder");
        assert_eq!(left.count(), 1, "{name}: no temporary file is left");
    }
}

#[test]
fn a_format_whose_genres_are_not_written_is_refused_and_untouched() {
    for name in ["opus.webm", "s16.caf", "flac.mka", "s16.wav"] {
        let (folder, path) = copy_of(name);
        let bytes = std::fs::read(&path).expect("readable");
        let error = write_genres(&path, &strings(&["Rock"]), WriteOptions::default())
            .expect_err("no genres");
        assert!(
            matches!(error, AudioError::TagsUnwritable { .. }),
            "{name}: {error}"
        );
        assert_eq!(std::fs::read(&path).expect("readable"), bytes);
        assert_eq!(
            std::fs::read_dir(folder.path()).expect("a folder").count(),
            1
        );
    }
    let (_folder, path) = copy_of("cbr.mp3");
    for bad in [&["", "Rock"][..], &["Ro\0ck"]] {
        assert!(write_genres(&path, &strings(bad), WriteOptions::default()).is_err());
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "one scene")]
fn retagging_keeps_other_tags_cover_art_and_the_content_id() {
    use lofty::config::WriteOptions as Saving;
    use lofty::file::{AudioFile, TaggedFileExt};
    use lofty::picture::{MimeType, Picture, PictureType};
    use lofty::tag::{Accessor, ItemKey, Tag, TagExt};

    for name in WRITABLE {
        let (_folder, path) = copy_of(name);
        let before = voisin_audio::probe(&path).expect("readable");
        let mut tagged = lofty::read_from_path(&path).expect("known to lofty");
        let kind = tagged.primary_tag_type();
        if tagged.tag(kind).is_none() {
            tagged.insert_tag(Tag::new(kind));
        }
        let tag = tagged.tag_mut(kind).expect("just inserted");
        tag.set_title("Grüße".to_owned());
        tag.set_artist("Ål & Søn".to_owned());
        tag.set_album("東京".to_owned());
        tag.insert_text(ItemKey::RecordingDate, "1994-05-01".to_owned());
        tag.insert_text(ItemKey::Comment, "kept as it is".to_owned());
        tag.set_track(7);
        tag.insert_text(ItemKey::Composer, "Ðorđe Čéski".to_owned());
        let art: Vec<u8> = b"\x89PNG\r\n\x1a\n"
            .iter()
            .copied()
            .chain((0..300_000).map(|i| (i % 251) as u8))
            .collect();
        let picture = Picture::unchecked(art.clone())
            .pic_type(PictureType::CoverFront)
            .mime_type(MimeType::Png)
            .build();
        tag.push_picture(picture);
        assert!(!tag.is_empty());
        tagged
            .save_to_path(&path, Saving::default())
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(
            voisin_audio::probe(&path).expect("readable"),
            before,
            "{name}: retagging"
        );

        write_genres(&path, &strings(&["House"]), WriteOptions::default())
            .unwrap_or_else(|error| panic!("{error}"));
        let tags = read_tags(&path).expect("readable");
        let meant = TrackTags {
            title: Some("Grüße".to_owned()),
            artist: Some("Ål & Søn".to_owned()),
            album: Some("東京".to_owned()),
            composer: Some("Ðorđe Čéski".to_owned()),
            genres: strings(&["House"]),
            year: Some(1994),
            track_number: Some(7),
            ..TrackTags::default()
        };
        assert_eq!(tags, meant, "{name}");
        let again = lofty::read_from_path(&path).expect("known to lofty");
        let tag = again.tag(kind).expect("still there");
        let comment = tag.get_string(ItemKey::Comment);
        assert_eq!(comment, Some("kept as it is"), "{name}");
        assert_eq!(
            tag.pictures().first().map(lofty::picture::Picture::data),
            Some(&art[..]),
            "{name}: cover art"
        );
    }
}

#[test]
fn old_and_stray_tags_around_an_mp3_change_nothing() {
    let (_folder, path) = copy_of("noxing.mp3");
    let before = voisin_audio::probe(&path).expect("readable");
    let mut bytes = std::fs::read(&path).expect("readable");
    // A tag of ID3v2.3 with a Latin-1 title, a genre by number and text, and a frame full of sync words.
    let frame = |id: &[u8; 4], body: &[u8]| {
        [
            &id[..],
            &(body.len() as u32).to_be_bytes()[..],
            &[0, 0],
            body,
        ]
        .concat()
    };
    let frames = [
        frame(b"TIT2", b"\x00Caf\xe9"),
        frame(b"TCON", b"\x00(17)Indie"),
        frame(b"TYER", b"\x001987"),
        frame(b"PRIV", &[0xff, 0xfb, 0x90, 0x64].repeat(3000)),
    ]
    .concat();
    let size = frames.len() as u32;
    let syncsafe = [
        size >> 21 & 0x7f,
        size >> 14 & 0x7f,
        size >> 7 & 0x7f,
        size & 0x7f,
    ]
    .map(|part| part as u8);
    let mut tagged = [b"ID3\x03\x00\x00".as_slice(), &syncsafe, &frames].concat();
    tagged.append(&mut bytes);
    // An APE tag that holds sync words too, then ID3v1.
    let item = [
        &12_000u32.to_le_bytes()[..],
        &[2, 0, 0, 0],
        b"Junk\0",
        &[0xff, 0xfb, 0x90, 0x64].repeat(3000),
    ]
    .concat();
    let mark = |flags: u32| {
        let size = item.len() as u32 + 32;
        [
            b"APETAGEX".as_slice(),
            &2000u32.to_le_bytes(),
            &size.to_le_bytes(),
            &1u32.to_le_bytes(),
            &flags.to_le_bytes(),
            &[0; 8],
        ]
        .concat()
    };
    tagged.extend([mark(0xa000_0000), item.clone(), mark(0x8000_0000)].concat());
    let mut v1 = vec![0; 128];
    v1[..3].copy_from_slice(b"TAG");
    v1[3..8].copy_from_slice(b"Other");
    v1[127] = 17;
    tagged.extend(v1);
    std::fs::write(&path, &tagged).expect("writable");
    assert_eq!(voisin_audio::probe(&path).expect("readable"), before);
    let tags = read_tags(&path).expect("readable");
    assert_eq!(tags.title.as_deref(), Some("Café"));
    assert_eq!(tags.year, Some(1987));
    assert_eq!(tags.genres, strings(&["Rock", "Indie"]));
}

#[test]
fn files_without_tags_have_none_and_missing_files_fail() {
    for name in references().keys() {
        let tags = read_tags(&data().join(name)).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!((tags.title, tags.genres), (None, Vec::new()), "{name}");
    }
    let error = read_tags(Path::new("no/such/file.mp3")).expect_err("not there");
    assert!(matches!(error, AudioError::NotFound { .. }), "{error}");
}

/// Identifiers of a recording in other programs and servers, and its licence.
#[test]
fn identifiers_and_licences_are_read() {
    use super::hostile::{frame, id3, tagged};
    let folder = tempfile::tempdir().expect("a temporary folder");
    let id = b"http://musicbrainz.org\08f3471b5-7e6a-48da-86a9-c1c07a0f47ae";
    let works = b"\x03MusicBrainz Work Id\090C1AFC8-9c6a-3f4d-8a32-5e3b9c2f4d10\0no id";
    let frames = |licence: Vec<u8>| {
        id3(&[
            frame(b"UFID", 0, id),
            frame(b"TSRC", 0, b"\x03us-rc1-76-07839"),
            frame(b"TBPM", 0, b"\x03128"),
            frame(b"TKEY", 0, b"\x03Am"),
            frame(b"TCOM", 0, b"\x03Johann Sebastian Bach\0Ferruccio Busoni"),
            frame(b"TXXX", 0, b"\x03REPLAYGAIN_TRACK_GAIN\0-7.03 dB"),
            frame(b"TXXX", 0, works),
            licence,
        ]
        .concat())
    };
    let address = "https://creativecommons.org/licenses/by/4.0/";
    for (name, licence, expected) in [
        (
            "cbr.mp3",
            frame(b"WCOP", 0, address.as_bytes()),
            Some(address),
        ),
        (
            "s16.wav",
            frame(b"TCOP", 0, b"\x032019 Someone, CC BY 4.0"),
            Some("2019 Someone, CC BY 4.0"),
        ),
        ("s16.aiff", frame(b"TCOP", 0, b"\x032019 A Label"), None),
    ] {
        let path = folder.path().join(name);
        std::fs::write(&path, tagged(name, &frames(licence))).expect("writable");
        let tags = read_tags(&path).expect("readable");
        assert_eq!(
            tags.mbid.as_deref(),
            Some("8f3471b5-7e6a-48da-86a9-c1c07a0f47ae"),
            "{name}"
        );
        assert_eq!(
            (tags.isrc.as_deref(), tags.licence.as_deref()),
            (Some("USRC17607839"), expected),
            "{name}"
        );
        assert_eq!(
            tags.composer.as_deref(),
            Some("Johann Sebastian Bach; Ferruccio Busoni"),
            "{name}"
        );
        assert_eq!(
            (tags.bpm, tags.musical_key.as_deref(), tags.replay_gain),
            (Some(128.0), Some("Am"), Some(-7.03)),
            "{name}"
        );
    }
}

/// A WAV file may have two kinds of tags; fields of one that the other lacks are read too.
#[test]
fn tags_of_a_wav_file_are_read_beside_an_id3_tag() {
    let song = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("data/demo/library/ambient/askyel-ambient-4.wav");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let copy = folder.path().join("a.wav");
    let mut bytes = std::fs::read(&song).expect("readable");
    let before = read_tags(&song).expect("readable");
    assert_eq!(before.title.as_deref(), Some("Ambient 4"));
    let tag = super::hostile::id3(&super::hostile::frame(b"TCON", 0, b"\0Drone"));
    bytes.extend([b"id3 ", &(tag.len() as u32).to_le_bytes()[..], &tag].concat());
    let size = (bytes.len() - 8) as u32;
    bytes[4..8].copy_from_slice(&size.to_le_bytes());
    std::fs::write(&copy, &bytes).expect("writable");
    let after = read_tags(&copy).expect("readable");
    assert_eq!(
        after,
        TrackTags {
            genres: strings(&["Drone"]),
            ..before
        }
    );
}

/// A recomputed checksum would hide the damage of a page.
#[test]
fn an_ogg_file_with_a_damaged_page_is_refused_and_untouched() {
    for name in ["vorbis.ogg", "music.opus"] {
        let (_folder, path) = copy_of(name);
        let sound = std::fs::read(&path).expect("readable");
        let pages: Vec<usize> = (0..sound.len() - 4)
            .filter(|&at| sound[at..].starts_with(b"OggS"))
            .collect();
        // A byte of a page's serial number, one of its sound, and the last page cut short.
        let page = pages[pages.len() - 1];
        let mut flipped = [sound.clone(), sound.clone(), sound.clone()];
        flipped[0][page + 14] ^= 1;
        flipped[1][page + 100] ^= 1;
        flipped[2].truncate(sound.len() - 1);
        for damaged in &flipped {
            std::fs::write(&path, damaged).expect("writable");
            for dry_run in [true, false] {
                let options = WriteOptions {
                    dry_run,
                    ..WriteOptions::default()
                };
                let Err(error) = write_genres(&path, &strings(&["Jazz"]), options) else {
                    panic!("{name}: written")
                };
                assert!(
                    error
                        .to_string()
                        .contains(&format!("Ogg page at byte {page} is damaged")),
                    "{error}"
                );
            }
            assert!(
                std::fs::read(&path).expect("readable") == *damaged,
                "{name}"
            );
        }
    }
}
