//! Writing a tag loses nothing else: other programs' tags, valid or not, stay byte for byte, and undo restores the
//! file's bytes.

use std::path::Path;

use voisin_audio::AudioError;
use voisin_audio::tags::{ReversePatch, WriteOptions, prepare, read_tags, restore};

use super::data;
use odd_tags::Outcome;

#[allow(clippy::all, clippy::pedantic, missing_docs)]
#[path = "../../../scripts/fuzz/odd_tags.rs"]
pub(super) mod odd_tags;

const OVERWRITE: WriteOptions = WriteOptions {
    overwrite: true,
    keep_mtime: true,
    dry_run: false,
};

fn write(path: &Path, genre: &str) -> Result<ReversePatch, AudioError> {
    let prepared = prepare(path, &[genre.to_owned()], OVERWRITE, &mut |_| {})?;
    let patch = prepared
        .reverse_patch()
        .cloned()
        .expect("small enough to be kept");
    prepared.commit()?;
    Ok(patch)
}

/// Writes a genre into a file of these bytes and returns the new ones. `kept` must be among them in this order, the
/// audio must be unchanged, and undo must restore the old bytes.
fn written(name: &str, bytes: &[u8], kept: &[&[u8]]) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    let content = voisin_audio::probe(&path).unwrap().content;
    let patch = write(&path, "Zydeco").unwrap_or_else(|error| panic!("{error}"));
    let after = std::fs::read(&path).unwrap();
    assert_eq!(read_tags(&path).unwrap().genres, ["Zydeco"], "{name}");
    assert!(
        voisin_audio::probe(&path).unwrap().content == content,
        "{name}"
    );
    let mut from = 0;
    for part in kept {
        let at = after[from..]
            .windows(part.len())
            .position(|window| window == *part);
        from += at.unwrap_or_else(|| panic!("{name}: lost {}", part.escape_ascii())) + part.len();
    }
    assert!(
        restore(&path, &patch, OVERWRITE, &mut |_| {}).unwrap(),
        "{name}"
    );
    assert!(
        std::fs::read(&path).unwrap() == bytes,
        "{name}: other bytes than before"
    );
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    after
}

fn seven_bits(size: usize) -> [u8; 4] {
    [21, 14, 7, 0].map(|shift| (size >> shift & 0x7f) as u8)
}

fn frame(version: u8, id: &str, body: &[u8]) -> Vec<u8> {
    let size = if version == 4 {
        seven_bits(body.len())
    } else {
        (body.len() as u32).to_be_bytes()
    };
    [id.as_bytes(), &size, &[0, 0], body].concat()
}

fn id3(version: u8, frames: &[Vec<u8>]) -> Vec<u8> {
    let frames = frames.concat();
    [
        &[b'I', b'D', b'3', version, 0, 0],
        &seven_bits(frames.len())[..],
        &frames,
    ]
    .concat()
}

fn mp3() -> Vec<u8> {
    std::fs::read(data().join("noxing.mp3")).unwrap()
}

/// A page holds 65 025 bytes, so longer comments renumber all later pages.
#[test]
fn comments_of_several_pages_move_the_pages_behind() {
    let folder = tempfile::tempdir().unwrap();
    for (name, is_opus) in [("a.ogg", false), ("a.opus", true)] {
        let list = b"\0\0\0\0\x01\0\0\0\x0a\0\0\0Genre=Jazz".to_vec();
        let behind = if is_opus { Vec::new() } else { vec![1] };
        let (bytes, _) = odd_tags::ogg(is_opus, &[list, behind].concat(), 255);
        let path = folder.path().join(name);
        std::fs::write(&path, &bytes).unwrap();
        let content = voisin_audio::probe(&path).unwrap().content;
        let long = "long ".repeat(20_000) + "genre";
        let first = write(&path, &long).unwrap_or_else(|error| panic!("{error}"));
        assert!(voisin_audio::probe(&path).unwrap().content == content);
        let numbers = |path: &Path| {
            let bytes = std::fs::read(path).unwrap();
            let at: Vec<usize> = (0..bytes.len() - 27)
                .filter(|&at| bytes[at..].starts_with(b"OggS\0"))
                .collect();
            at.iter()
                .map(|at| u32::from_le_bytes(bytes[at + 18..at + 22].try_into().unwrap()))
                .collect::<Vec<_>>()
        };
        let found = numbers(&path);
        assert_eq!(found, (0..found.len() as u32).collect::<Vec<_>>(), "{name}");
        let longer = std::fs::read(&path).unwrap();
        let second = write(&path, "Dub").unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(read_tags(&path).unwrap().genres, ["Dub"]);
        for (patch, former) in [(second, longer), (first, bytes)] {
            assert!(restore(&path, &patch, OVERWRITE, &mut |_| {}).unwrap());
            assert!(std::fs::read(&path).unwrap() == former, "{name}");
        }
    }
}

/// A player that reads only the richer kind of tags would show a file without a title.
#[test]
fn a_new_id3v2_tag_has_what_the_oldest_kind_has() {
    let mut v1 = b"TAG".to_vec();
    for (text, size) in [
        ("A title", 30),
        ("An artist", 30),
        ("An album", 30),
        ("1987", 32),
    ] {
        v1.extend(text.as_bytes());
        v1.resize(v1.len() + size - text.len(), 0);
    }
    v1.extend([0, 7, 17]);
    let bytes = [mp3(), v1.clone()].concat();
    let meant = [
        frame(4, "TIT2", b"\x03A title"),
        frame(4, "TPE1", b"\x03An artist"),
        frame(4, "TALB", b"\x03An album"),
        frame(4, "TDRC", b"\x031987"),
        frame(4, "TRCK", b"\x037"),
        frame(4, "TCON", b"\x03Zydeco"),
    ];
    let after = written("a.mp3", &bytes, &[&id3(4, &meant), &bytes]);
    assert!(after.ends_with(&v1));
}

/// The genre is the only evidence for the encoding of the artist, which would be read as 桌稍.
#[test]
fn a_genre_that_shows_the_encoding_is_not_replaced() {
    let frames = [
        frame(3, "TIT2", b"\0Song"),
        frame(3, "TPE1", b"\0\xd7\xc0\xc9\xd4"),
        frame(3, "TCON", b"\0\xd0\xee\xea"),
    ];
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.mp3");
    let bytes = [id3(3, &frames), mp3()].concat();
    std::fs::write(&path, &bytes).unwrap();
    assert_eq!(read_tags(&path).unwrap().artist.as_deref(), Some("ЧАЙФ"));
    let reason = write(&path, "Zydeco").unwrap_err().to_string();
    assert!(std::fs::read(&path).unwrap() == bytes);
    assert!(
        reason.contains("its artist \"ЧАЙФ\" would then be read as"),
        "{reason}"
    );
}

#[test]
fn tags_within_a_flac_block_are_not_those_of_the_file() {
    let tag = id3(3, &[frame(3, "TIT2", b"\0Stray")]);
    let list = b"\0\0\0\0\x02\0\0\0\x0a\0\0\0TITLE=Real\x07\0\0\0GENRE=A".to_vec();
    let block = [b"riffID3 ....", &tag[..]].concat();
    let (bytes, sound) = odd_tags::flac(&[(2, block.clone()), (4, list)]);
    written(
        "a.flac",
        &bytes,
        &[&block, b"TITLE=Real", b"GENRE=Zydeco", &sound],
    );
}

/// An APE tag's magic begins 131 bytes before the end; its letters at +3 look like `ID3v1`.
#[test]
fn an_ape_tag_is_not_taken_for_id3v1() {
    let item = |key: &[u8], value: &[u8]| {
        [
            &(value.len() as u32).to_le_bytes()[..],
            &[0; 4],
            key,
            &[0],
            value,
        ]
        .concat()
    };
    let items = [item(b"Title", &[b'x'; 20]), item(b"Genre", &[b'y'; 19])].concat();
    assert_eq!(items.len(), 67);
    let mark = |flags: u32| {
        let numbers = [2000, items.len() as u32 + 32, 2, flags]
            .map(u32::to_le_bytes)
            .concat();
        [b"APETAGEX", &numbers[..], &[0; 8]].concat()
    };
    let tag = [mark(0xa000_0000), items.clone(), mark(0x8000_0000)].concat();
    let title = frame(4, "TIT2", &[b"\x03", &[b'x'; 20][..]].concat());
    written(
        "a.mp3",
        &[mp3(), tag.clone()].concat(),
        &[&title, &mp3(), &tag],
    );
}

/// Data that cannot be parsed as frames might be anything.
#[test]
fn a_tag_that_cannot_be_followed_is_refused_and_untouched() {
    let picture = [
        &b"APIC\0\0\x2e\xe0\0\0\0image/png\0\x03\0"[..],
        &[7; 11_986],
    ]
    .concat();
    let plain_sizes = id3(4, &[picture, frame(4, "TPE1", b"\x03A")]);
    let mut with_rest = id3(
        3,
        &[frame(3, "TIT2", b"\0A"), vec![0; 20], b"no frame".to_vec()],
    );
    with_rest.extend(mp3());
    for (tag, why) in [
        (plain_sizes, "seven bits"),
        (with_rest, "zeros and then others"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.mp3");
        let bytes = [tag, mp3()].concat();
        std::fs::write(&path, &bytes).unwrap();
        for dry_run in [true, false] {
            let options = WriteOptions {
                dry_run,
                ..OVERWRITE
            };
            let refused = prepare(&path, &["Jazz".to_owned()], options, &mut |_| {})
                .err()
                .expect("refused");
            assert!(
                matches!(refused, AudioError::TagsUnwritable { .. }),
                "{refused}"
            );
            assert!(refused.to_string().contains(why), "{refused}");
        }
        assert!(std::fs::read(&path).unwrap() == bytes);
    }
}

#[test]
fn only_what_was_left_as_it_is_gets_its_bytes_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.mp3");
    std::fs::write(
        &path,
        [
            id3(4, &[frame(4, "TIT2", b"\x03A"), frame(4, "TCON", b"\x03B")]),
            mp3(),
        ]
        .concat(),
    )
    .unwrap();
    let patch = write(&path, "Dub").unwrap();
    let patch = ReversePatch::from_bytes(&patch.to_bytes()).unwrap();
    let mut changed = std::fs::read(&path).unwrap();
    let last = changed.len() - 1;
    changed[last] ^= 1;
    std::fs::write(&path, &changed).unwrap();
    assert!(!restore(&path, &patch, OVERWRITE, &mut |_| {}).unwrap());
    assert!(std::fs::read(&path).unwrap() == changed);
    changed[last] ^= 1;
    std::fs::write(&path, &changed).unwrap();
    let dry = WriteOptions {
        dry_run: true,
        ..OVERWRITE
    };
    assert!(restore(&path, &patch, dry, &mut |_| {}).unwrap());
    assert!(
        std::fs::read(&path).unwrap() == changed,
        "a dry run changes nothing"
    );
}

/// Files with random tags, invalid ones among them: `VOISIN_TAGGED_FILES` of them, 300 by default, seeded by
/// `VOISIN_FUZZ_SEED`.
#[test]
fn nothing_is_lost_in_files_with_random_tags() {
    let number = |name: &str, otherwise: u64| {
        std::env::var(name).map_or(otherwise, |text| text.parse().expect("a number"))
    };
    let count = number("VOISIN_TAGGED_FILES", 300);
    let seed = number("VOISIN_FUZZ_SEED", 1);
    let folder = tempfile::tempdir().unwrap();
    let mut counts = std::collections::BTreeMap::<(&str, String), u64>::new();
    for i in 0..count {
        let mut choices = vec![0; 2000];
        blake3::Hasher::new()
            .update(&seed.wrapping_add(i).to_le_bytes())
            .finalize_xof()
            .fill(&mut choices);
        let (kind, outcome) = odd_tags::write_and_take_back(&folder.path().join("file"), &choices);
        let outcome = match outcome {
            Outcome::Written => "written".to_owned(),
            Outcome::Refused(reason) => reason,
        };
        *counts.entry((kind, outcome)).or_default() += 1;
    }
    for ((kind, outcome), count) in &counts {
        println!("{kind}: {count} {outcome}");
    }
    for kind in ["MP3", "FLAC", "Vorbis", "Opus", "M4A"] {
        let written = counts
            .get(&(kind, "written".to_owned()))
            .copied()
            .unwrap_or(0);
        let all: u64 = counts
            .iter()
            .filter(|((of_kind, _), _)| *of_kind == kind)
            .map(|(_, count)| count)
            .sum();
        assert!(2 * written > all, "{kind}: {written} of {all} written");
    }
}
