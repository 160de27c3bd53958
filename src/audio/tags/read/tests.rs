use super::super::frames::{self, framed};
use super::super::id3;
use super::super::mp4_edit::boxed;
use super::*;

fn tags_of(bytes: &[u8]) -> TrackTags {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    std::fs::write(&path, bytes).unwrap();
    read_tags(&path).unwrap()
}

/// As programs write it into tags of every version.
fn utf16(text: &str) -> Vec<u8> {
    frames::text(3, text)
}

/// A file of a tag with these frames and some other bytes.
fn file(version: u8, frames: &[Vec<u8>]) -> Vec<u8> {
    let body = frames.concat();
    let size = id3::in_seven_bits(body.len() as u32);
    let head = [b'I', b'D', b'3', version, 0, 0];
    [&head, &size[..], &body, &[0x55; 4096]].concat()
}

#[test]
fn one_bad_frame_hides_no_other() {
    let bad: [(&str, &[u8]); 12] = [
        ("TCOM", b"\x01\xff\xfeC\0o\0\0"),
        ("TENC", b"\x01e\0n\0c\0"),
        ("TSSE", b"\x01\xff\xfe\0"),
        ("TSSE", b"\x09what"),
        ("TXXX", b"\x01d\0e\0\0\0\xff\xfev\0"),
        ("TXXX", b"\x03desc\0Caf\xe9"),
        ("TXXX", b"\x00desc without an end"),
        ("TCOP", b"\x01\xff\xfe\x3d\xd8"),
        ("UFID", b"\x00x"),
        ("USLT", b"\x01en"),
        ("WOAF", b"\xff\xfeh\0t\0t\0p\0:\0/\0/\0x\0"),
        ("TIPL", b"\x03producer"),
    ];
    for version in [3, 4] {
        for (id, content) in bad {
            let frames = [
                framed(version, "TIT2", &utf16("Title")),
                framed(version, id, content),
                framed(version, "TPE1", &utf16("Artist")),
                framed(version, "TALB", &utf16("Album")),
                framed(version, "TCON", &utf16("Jazz")),
            ];
            let tags = tags_of(&file(version, &frames));
            let found = [tags.title, tags.artist, tags.album].map(Option::unwrap);
            assert_eq!(found, ["Title", "Artist", "Album"], "{version} {id}");
            assert_eq!(tags.genres, ["Jazz"], "{version} {id}");
        }
    }
}

#[test]
fn frames_of_one_kind_and_tags_are_read_together() {
    for version in [3, 4] {
        let frames = [
            framed(version, "TPE1", &utf16("A One")),
            framed(version, "TPE1", &utf16("B Two")),
            framed(version, "TPE1", &utf16("A One")),
            framed(version, "TCON", &utf16("Jazz")),
            framed(version, "TCON", b"\0Bebop"),
        ];
        let first = file(version, &frames);
        let second = file(4, &[framed(4, "TIT2", &utf16("Second"))]);
        let tags = tags_of(&[&first[..first.len() - 4096], &second].concat());
        assert_eq!(tags.artist.as_deref(), Some("A One; B Two"));
        assert_eq!(tags.genres, ["Jazz", "Bebop"]);
        assert_eq!(tags.title.as_deref(), Some("Second"));
    }
}

#[test]
fn sizes_as_old_itunes_wrote_them_are_followed() {
    let cover = [b"\0image/png\0\x03\0", &[0x20; 12_000][..]].concat();
    let long = "long ".repeat(40);
    let frames = [
        framed(3, "TIT2", &utf16("Short")),
        framed(3, "APIC", &cover),
        framed(3, "COMM", &[b"\0eng\0", long.as_bytes()].concat()),
        framed(3, "TPE1", &utf16("Anna Test")),
        framed(3, "TALB", &utf16(&long)),
        framed(3, "TCON", &utf16("Polka")),
    ];
    let tags = tags_of(&file(4, &frames));
    assert_eq!(tags.artist.as_deref(), Some("Anna Test"));
    assert_eq!(tags.album.as_deref(), Some(long.trim()));
    assert_eq!(tags.genres, ["Polka"]);
}

#[test]
fn a_text_that_shows_nothing_is_no_title() {
    let title = |title: &str| tags_of(&file(4, &[framed(4, "TIT2", &utf16(title))])).title;
    for unseen in ["\u{200b}", "\u{7f}", " \r\n\u{2028}", "\u{202e}\u{202c}"] {
        assert_eq!(title(unseen), None, "{unseen:?}");
    }
    let marked = title("\u{200e}\u{feff}a\u{200d}b\u{200f}");
    assert_eq!(marked.as_deref(), Some("a\u{200d}b"));
}

#[test]
fn a_reissue_has_the_year_of_its_recording() {
    for (version, original) in [(3, "TORY"), (4, "TDOR")] {
        let released = if version == 3 { "TYER" } else { "TDRC" };
        let mut frames = vec![
            framed(version, released, &utf16("2008")),
            framed(version, original, &utf16("1969")),
        ];
        assert_eq!(tags_of(&file(version, &frames)).year, Some(1969));
        frames[1] = framed(version, "TXXX", b"\0Original Release Date\x001969-09-26");
        assert_eq!(tags_of(&file(version, &frames)).year, Some(1969));
    }
    for name in ["ORIGINALDATE", "ORIGINAL_YEAR", "ORIGYEAR", "DATE"] {
        let original = format!("{name}=1969-09-26");
        let list = comment_list(&[b"DATE=2008", original.as_bytes()]);
        assert_eq!(tags_of(&flac_of(&list)).year, Some(1969), "{name}");
    }
    assert_eq!(tags_of(&flac_of(&comment_list(&[b"DATE=9999"]))).year, None);
}

#[test]
fn texts_that_are_not_latin_1_are_decoded_correctly() {
    let title = framed(3, "TIT2", b"\0Don\x92t Caf\xe9");
    let tags = tags_of(&file(3, &[title]));
    assert_eq!(tags.title.as_deref(), Some("Don’t Café"));
    let russian = [
        framed(3, "TPE1", b"\0\xca\xe8\xed\xee"),
        framed(3, "TCON", b"\0\xd0\xee\xea"),
    ];
    let tags = tags_of(&file(3, &russian));
    assert_eq!(tags.artist.as_deref(), Some("Кино"));
    assert_eq!(tags.genres, ["Рок"]);
    let controls = framed(3, "TIT2", &utf16("Don\u{92}t"));
    let tags = tags_of(&file(3, &[controls]));
    assert_eq!(tags.title.as_deref(), Some("Don’t"));
}

fn chunk(name: &[u8; 4], content: &[u8]) -> Vec<u8> {
    let size = (content.len() as u32).to_le_bytes();
    let mut all = [name, &size[..], content].concat();
    all.resize(all.len() + (content.len() & 1), 0);
    all
}

#[test]
fn chunks_of_text_are_read_in_any_encoding() {
    let list = [
        b"INFO",
        &chunk(b"INAM", b"Caf\xe9 d'or\0")[..],
        &chunk(b"IART", b"\xc3\x89t\xc3\xa9\0"),
        &chunk(b"IGNR", b"Dub\0"),
        b"ICRD\xff\0\0\0cut off",
    ]
    .concat();
    let wav = [
        b"RIFF\0\0\0\0WAVE",
        &chunk(b"LIST", &list)[..],
        &chunk(b"data", &[0; 8]),
    ]
    .concat();
    let tags = tags_of(&wav);
    let found = [tags.title, tags.artist].map(Option::unwrap);
    assert_eq!(found, ["Café d'or", "Été"]);
    assert_eq!(tags.genres, ["Dub"]);
}

fn comment_list(comments: &[&[u8]]) -> Vec<u8> {
    let mut list = vec![0; 4];
    list.extend((comments.len() as u32).to_le_bytes());
    for comment in comments {
        list.extend((comment.len() as u32).to_le_bytes());
        list.extend(*comment);
    }
    list
}

/// A file of a list of comments, without sound.
fn flac_of(list: &[u8]) -> Vec<u8> {
    let size = (list.len() as u32).to_be_bytes();
    let info = [&[0, 0, 0, 34][..], &[0; 34]].concat();
    [b"fLaC", &info[..], &[0x84], &size[1..], list].concat()
}

#[test]
fn a_bad_comment_hides_no_other() {
    let mut list = comment_list(&[
        b"TITLE=Caf\xe9",
        b"without a name",
        b"K\xc3\x84Y=umlaut",
        b"ARTIST=A",
        b"ARTIST=B",
        b"DATE=2001",
        b"ALBUM=cut off",
    ]);
    list.truncate(list.len() - 3);
    let tags = tags_of(&flac_of(&list));
    assert_eq!(tags.title.as_deref(), Some("Café"));
    assert_eq!(tags.artist.as_deref(), Some("A; B"));
    assert_eq!((tags.year, tags.album), (Some(2001), None));
}

#[test]
fn opus_counts_its_own_gain_before_any_other() {
    let page = |serial: u8, packet: &[u8]| {
        let head = [b"OggS\0\0", &[0; 8][..], &[serial, 0, 0, 0], &[0; 8]].concat();
        let mut sizes = vec![255; packet.len() / 255];
        sizes.push((packet.len() % 255) as u8);
        [&head[..], &[sizes.len() as u8], &sizes, packet].concat()
    };
    let opus = |comments: &[&[u8]]| {
        let list = [b"OpusTags", &comment_list(comments)[..]].concat();
        let head = page(7, b"OpusHead\x01\x02");
        tags_of(&[head, page(9, b"of another stream"), page(7, &list)].concat())
    };
    let other = b"REPLAYGAIN_TRACK_GAIN=-12.00 dB";
    let both = opus(&[other, b"R128_TRACK_GAIN=-256"]);
    assert_eq!(both.replay_gain, Some(4.0));
    assert_eq!(opus(&[other]).replay_gain, Some(-12.0));
}

fn item(kind: &[u8; 4], data: u8, value: &[u8]) -> Vec<u8> {
    let data = [&[0, 0, 0, data, 0, 0, 0, 0], value].concat();
    boxed(kind, &boxed(b"data", &data))
}

/// A file of these items, without sound.
fn movie_of(items: &[Vec<u8>]) -> Vec<u8> {
    let meta = [&[0; 4], &boxed(b"ilst", &items.concat())[..]].concat();
    let movie = boxed(b"moov", &boxed(b"udta", &boxed(b"meta", &meta)));
    [boxed(b"ftyp", b"M4A \0\0\0\0"), movie].concat()
}

#[test]
fn free_items_of_movies_give_years_and_genres() {
    let free = |name: &str, value: &str| {
        let mean = boxed(b"mean", b"\0\0\0\0com.apple.iTunes");
        let name = boxed(b"name", &[b"\0\0\0\0", name.as_bytes()].concat());
        let data = [&[0, 0, 0, 1, 0, 0, 0, 0], value.as_bytes()].concat();
        boxed(b"----", &[mean, name, boxed(b"data", &data)].concat())
    };
    let released = item(b"\xa9day", 1, b"2008");
    let file = movie_of(&[released, free("ORIGINALYEAR", "1969-09-26")]);
    assert_eq!(tags_of(&file).year, Some(1969));
    let file = movie_of(&[free("KEY", "8A"), free("TEMPO", "127.5")]);
    let tags = tags_of(&file);
    assert_eq!(tags.musical_key.as_deref(), Some("8A"));
    assert_eq!(tags.bpm, Some(127.5));
    let both = [free("GENRE", "Jazz"), item(b"\xa9gen", 1, b"Dub")];
    assert_eq!(tags_of(&movie_of(&both[..1])).genres, ["Jazz"]);
    assert_eq!(tags_of(&movie_of(&both)).genres, ["Dub"]);
}

#[test]
fn items_of_movies_are_read_in_any_encoding() {
    let artists = [
        boxed(b"data", b"\0\0\0\x01\0\0\0\0A"),
        boxed(b"data", b"\0\0\0\x01\0\0\0\0B"),
    ];
    let items = [
        item(b"\xa9nam", 1, b"Caf\xe9"),
        item(b"\xa9alb", 2, b"\0C\0a\0f\0\xe9"),
        boxed(b"\xa9ART", &artists.concat()),
        item(b"gnre", 0, &[0, 9]),
        item(b"trkn", 0, &[0, 0, 0, 3, 0, 9, 0, 0]),
        item(b"tmpo", 21, &[0, 128]),
        item(b"\xa9day", 1, b"06/05/1999"),
        b"\0\0\x40\0oddbox longer than the list".to_vec(),
    ];
    let file = [movie_of(&items), b"\0\0\x09\0mo".to_vec()].concat();
    let tags = tags_of(&file);
    let found = [tags.title, tags.album, tags.artist].map(Option::unwrap);
    assert_eq!(found, ["Café", "Café", "A; B"]);
    assert_eq!(tags.genres, ["Jazz"]);
    assert_eq!((tags.track_number, tags.bpm), (Some(3), Some(128.0)));
    assert_eq!(tags.year, Some(1999));
}

#[test]
fn the_oldest_tags_are_read_behind_a_stray_footer() {
    let mut v1 = vec![0; 128];
    v1[..3].copy_from_slice(b"TAG");
    v1[3..8].copy_from_slice(b"Title");
    v1[33..37].copy_from_slice(b"\xca\xe8\xed\xee");
    v1[93..97].copy_from_slice(b"1987");
    v1[126] = 5;
    v1[127] = 17;
    let stray = [b"APETAGEX\xd0\x07\0\0", &[0xff; 20][..]].concat();
    let tags = tags_of(&[&[0x55; 4096][..], &stray, &v1].concat());
    let found = [tags.title, tags.artist].map(Option::unwrap);
    assert_eq!(found, ["Title", "Кино"]);
    assert_eq!((tags.year, tags.track_number), (Some(1987), Some(5)));
    assert_eq!(tags.genres, ["Rock"]);
    // Both kinds of tags together show the encoding.
    let short = file(3, &[framed(3, "TIT2", b"\0\xd2\xfb")]);
    let tags = tags_of(&[short, v1].concat());
    assert_eq!(tags.title.as_deref(), Some("Ты"));
}

#[test]
fn a_tag_is_found_behind_marks_and_a_stray_frame() {
    let tag = file(3, &[framed(3, "TIT2", b"\0Title")]);
    let frame = [b"\xff\xfb\x90\0", &[0; 413][..]].concat();
    for before in [b"\r\n", &b"\xff\xfe"[..], b"\xff\xff", &frame] {
        let tags = tags_of(&[before, &tag].concat());
        assert_eq!(tags.title.as_deref(), Some("Title"));
    }
}

#[test]
fn core_audio_files_have_tags() {
    let info = b"\0\0\0\x03title\0A title\0artist\0Someone\0recorded date\x002004\0";
    let size = (info.len() as u64).to_be_bytes();
    let tags = tags_of(&[b"caff\0\x01\0\0info", &size[..], info].concat());
    let found = [tags.title, tags.artist].map(Option::unwrap);
    assert_eq!(found, ["A title", "Someone"]);
    assert_eq!(tags.year, Some(2004));
}
