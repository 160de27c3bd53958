//! Chained Ogg streams in one file (RFC 3533, section 4): as stream rips are, and as `cat a.ogg b.ogg` writes them.

use std::path::{Path, PathBuf};

use voisin_audio::tags::{WriteOptions, read_tags, write_genres};
use voisin_audio::{AudioError, AudioInfo, read_windows_measured};

use super::{data, decoded, native, windows_equal_a_full_decode};

fn golden(name: &str) -> Vec<u8> {
    std::fs::read(data().join(name)).expect("kept in the repository")
}

fn demo(name: &str) -> Vec<u8> {
    let library = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/demo/library");
    std::fs::read(library.join(name)).expect("kept in the repository")
}

/// A file of these bytes, one after the other.
fn joined(links: &[&[u8]]) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("chain.ogg");
    std::fs::write(&path, links.concat()).expect("writable");
    (folder, path)
}

/// A file's samples at a rate, each link decoded in a file of its own.
fn apart(links: &[&[u8]], rate: u32) -> Vec<f32> {
    let alone = |link: &&[u8]| {
        let (_folder, path) = joined(&[link]);
        voisin_audio::read_all(&path, rate)
            .unwrap_or_else(|error| panic!("{error}"))
            .0
            .samples
    };
    links.iter().flat_map(alone).collect()
}

/// Flags, granule position and bytes of each page.
fn pages(bytes: &[u8]) -> Vec<&[u8]> {
    let mut pages = Vec::new();
    let mut rest = bytes;
    while rest.len() > 27 {
        let segments = usize::from(rest[26]);
        let body: usize = rest[27..27 + segments]
            .iter()
            .map(|&size| usize::from(size))
            .sum();
        let (page, after) = rest.split_at(27 + segments + body);
        pages.push(page);
        rest = after;
    }
    pages
}

fn granule(page: &[u8]) -> u64 {
    u64::from_le_bytes(page[6..14].try_into().expect("eight bytes"))
}

/// The page with its checksum (RFC 3533, section 6).
fn sealed(mut page: Vec<u8>) -> Vec<u8> {
    page[22..26].fill(0);
    let crc = page.iter().fold(0_u32, |crc, &byte| {
        let start = crc ^ u32::from(byte) << 24;
        (0..8).fold(start, |crc, _| {
            if crc >> 31 == 1 {
                crc << 1 ^ 0x04c1_1db7
            } else {
                crc << 1
            }
        })
    });
    page[22..26].copy_from_slice(&crc.to_le_bytes());
    page
}

/// A page with one packet of fewer than 255 bytes.
fn page(flags: u8, granule: u64, serial: u32, sequence: u32, packet: &[u8]) -> Vec<u8> {
    let mut page = b"OggS\0".to_vec();
    page.push(flags);
    page.extend(granule.to_le_bytes());
    page.extend(serial.to_le_bytes());
    page.extend(sequence.to_le_bytes());
    page.extend([0; 4]);
    page.extend([1, packet.len() as u8]);
    page.extend(packet);
    sealed(page)
}

fn info_of(links: &[&[u8]]) -> AudioInfo {
    let (_folder, path) = joined(links);
    voisin_audio::probe(&path).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn a_chain_decodes_as_its_links_in_order() {
    let vorbis = golden("vorbis.ogg");
    let flac = golden("flac.oga");
    let music = golden("music.opus");
    let speech = golden("speech.opus");
    let surround = golden("surround.opus");
    // Frames as FFmpeg decodes the links; those of another rate take as long at the rate of the first.
    for (links, rate, frames) in [
        (vec![&vorbis, &vorbis], 44_100, 2 * 48_510),
        (vec![&music, &speech], 48_000, 48_000 + 72_000),
        (vec![&flac, &flac, &flac], 44_100, 3 * 8_820),
        (vec![&flac, &vorbis], 44_100, 8_820 + 48_510),
        (
            vec![&vorbis, &music, &vorbis],
            44_100,
            48_510 + 44_100 + 48_510,
        ),
        (
            vec![&speech, &vorbis, &surround],
            48_000,
            72_000 + 52_800 + 19_200,
        ),
    ] {
        let links: Vec<&[u8]> = links.into_iter().map(Vec::as_slice).collect();
        let (_folder, path) = joined(&links);
        let (info, samples) = native(&path);
        let first = info_of(&links[..1]);
        assert_eq!((info.sample_rate, info.channels), (rate, first.channels));
        assert_eq!((info.codec, info.n_frames), (first.codec, frames));
        assert!(
            samples == apart(&links, rate),
            "{} links at {rate} Hz",
            links.len()
        );
        windows_equal_a_full_decode(&path, 0..6, 0.03);
    }
}

#[test]
fn a_chain_is_another_recording_than_its_links() {
    let vorbis = golden("vorbis.ogg");
    let flac = golden("flac.oga");
    // Links without a decoder.
    let speex = |packet: &[u8]| {
        let header = page(2, 0, 7, 0, b"Speex   1.2 of some kind");
        [header, page(4, 9, 7, 1, packet)].concat()
    };
    let one = speex(b"one");
    let other = speex(b"other");
    let contents: Vec<_> = [
        vec![&vorbis[..]],
        vec![&flac[..]],
        vec![&vorbis[..], &flac[..]],
        vec![&flac[..], &vorbis[..]],
        vec![&vorbis[..], &one],
        vec![&vorbis[..], &other],
        vec![&one[..], &vorbis],
    ]
    .iter()
    .map(|links| info_of(links).content.0)
    .collect();
    for (i, content) in contents.iter().enumerate() {
        assert!(!contents[..i].contains(content), "{i}");
    }
}

#[test]
fn links_that_are_cut_or_empty_leave_the_others_whole() {
    let vorbis = golden("vorbis.ogg");
    let flac = golden("flac.oga");
    let headers = pages(&vorbis)[..2].concat();
    let unknown = page(2, 0, 7, 0, b"Speex   1.2 of some kind");
    // In the middle of a page, of a header, and between two pages.
    let cut = &vorbis[..vorbis.len() - 5_000];
    let audible = pages(&vorbis)[..3].concat();
    for (links, heard) in [
        (vec![&vorbis[..], &headers, &flac], vec![&vorbis[..], &flac]),
        (vec![&headers[..], &vorbis], vec![&vorbis[..]]),
        (
            vec![&vorbis[..], &headers[..2_000], &flac],
            vec![&vorbis[..], &flac],
        ),
        (vec![&vorbis[..], &headers], vec![&vorbis[..]]),
        (vec![&vorbis[..], &vorbis[..30]], vec![&vorbis[..]]),
        (
            vec![&audible[..], &flac, &vorbis],
            vec![&audible[..], &flac, &vorbis],
        ),
        (vec![&flac[..], cut, &vorbis], vec![&flac[..], &vorbis]),
        (
            vec![&vorbis[..], &unknown, &page(4, 9, 7, 1, b"junk"), &vorbis],
            vec![&vorbis[..], &vorbis],
        ),
    ] {
        let (_folder, path) = joined(&links);
        let (_, samples) = native(&path);
        assert!(
            samples == apart(&heard, 44_100),
            "{:?}",
            links.iter().map(|link| link.len()).collect::<Vec<_>>()
        );
    }
    let (_folder, path) = joined(&[&headers, &headers]);
    let error = voisin_audio::probe(&path).expect_err("headers alone");
    assert!(
        matches!(
            error,
            AudioError::NoFrames { .. } | AudioError::NotAudio { .. }
        ),
        "{error}"
    );
}

#[test]
fn pages_of_other_streams_among_a_link_are_passed_over() {
    let vorbis = golden("vorbis.ogg");
    let alone = pages(&vorbis);
    let mut mixed = vec![page(2, 0, 99, 0, b"fishead\0"), alone[0].to_vec()];
    for (i, audio) in alone[1..].iter().enumerate() {
        mixed.push(page(0, 1 << 40, 99, i as u32 + 1, b"junk"));
        mixed.push(page(0, 7, 1_234, i as u32, b"nobody's"));
        mixed.push(audio.to_vec());
    }
    let mixed = mixed.concat();
    let (_folder, path) = joined(&[&mixed, &vorbis, &mixed]);
    assert!(native(&path).1 == apart(&[&vorbis, &vorbis, &vorbis], 44_100));
}

/// As FFmpeg sometimes writes them.
#[test]
fn a_page_with_a_late_granule_is_no_gap() {
    for name in [
        "ambient/maxstack-nebula.ogg",
        "folk/omri-lahav-harvest-festival.opus",
    ] {
        let whole = demo(name);
        let changed = |late: &dyn Fn(usize) -> u64| {
            let page = |(i, page): (usize, &&[u8])| {
                let mut page = page.to_vec();
                let later = granule(&page) + late(i);
                page[6..14].copy_from_slice(&later.to_le_bytes());
                sealed(page)
            };
            let (_folder, path) = joined(&[&pages(&whole)
                .iter()
                .enumerate()
                .map(page)
                .collect::<Vec<_>>()
                .concat()]);
            decoded(&path)
        };
        let (expected, samples, damaged) = changed(&|_| 0);
        let (info, found, still_damaged) = changed(&|i| if i == 5 { 488 } else { 0 });
        assert_eq!(
            (info.n_frames, still_damaged),
            (expected.n_frames, damaged),
            "{name}"
        );
        assert!(found == samples, "{name}");
        // A granule that stays ahead is a gap.
        let (info, found, _) = changed(&|i| if i >= 5 { 488 } else { 0 });
        assert_eq!(info.n_frames, expected.n_frames + 488, "{name}");
        assert!(found[..100_000] == samples[..100_000], "{name}");
        assert!(
            found[found.len() - 100_000..] == samples[samples.len() - 100_000..],
            "{name}"
        );
    }
}

/// As in a stream rip whose encoder restarted without a new header.
#[test]
fn granules_that_jump_back_within_a_link_lose_no_audio() {
    for (name, least) in [
        ("ambient/maxstack-nebula.ogg", 14),
        ("folk/omri-lahav-harvest-festival.opus", 14),
    ] {
        let whole = demo(name);
        let (_folder, path) = joined(&[&whole]);
        let (expected, samples, damaged) = decoded(&path);
        assert!(
            expected.seconds() >= f64::from(least) - 0.1,
            "{}",
            expected.seconds()
        );
        let shifted: Vec<Vec<u8>> = pages(&whole)
            .iter()
            .enumerate()
            .map(|(i, page)| {
                let mut page = page.to_vec();
                if i >= 9 {
                    let earlier = granule(&page) - 300_000;
                    page[6..14].copy_from_slice(&earlier.to_le_bytes());
                }
                sealed(page)
            })
            .collect();
        let (_folder, path) = joined(&[&shifted.concat()]);
        let (info, found, still_damaged) = decoded(&path);
        assert_eq!(
            (info.n_frames, info.content),
            (expected.n_frames, expected.content),
            "{name}"
        );
        assert!(found == samples && still_damaged == damaged, "{name}");
    }
}

#[test]
fn parts_and_loudness_of_a_chain_span_its_links() {
    let vorbis = golden("vorbis.ogg");
    let music = golden("music.opus");
    let (folder, path) = joined(&[&vorbis, &music, &vorbis]);
    let (info, whole, _) = decoded(&path);
    // From 0.5 s in the first link to 2.5 s in the third.
    let sheet = folder.path().join("chain.cue");
    let lines = [
        "FILE \"chain.ogg\" WAVE",
        "TRACK 01 AUDIO",
        "INDEX 01 00:00:00",
        "TRACK 02 AUDIO",
    ];
    let more = ["INDEX 01 00:00:60", "TRACK 03 AUDIO", "INDEX 01 00:02:30"];
    std::fs::write(&sheet, [&lines[..], &more].concat().join("\n")).expect("writable");
    let (_, part, _) = decoded(&sheet.join("02"));
    assert!(part == whole[35_280..105_840], "another part");
    let measured = |path: &Path| {
        let info = voisin_audio::probe(path).expect("readable");
        let report = read_windows_measured(path, &info, 16_000, &[0], 100, true, &mut |_, _| {});
        report.expect("readable").loudness.expect("not silent")
    };
    let loudness = measured(&path);
    assert!(loudness.exact);
    // All three hold the same signal.
    let alone = measured(&data().join("vorbis.ogg")).lufs;
    assert!(
        (loudness.lufs - alone).abs() < 0.5,
        "{} {alone}",
        loudness.lufs
    );
    assert!(
        info.seconds() > 3.19 && info.seconds() < 3.21,
        "{}",
        info.seconds()
    );
}

#[test]
fn tags_of_a_chain_are_those_of_its_first_link() {
    let tagged = |name: &str, genre: &str| {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join(name);
        std::fs::copy(data().join(name), &path).expect("copied");
        write_genres(&path, &[genre.to_owned()], WriteOptions::default()).expect("writable");
        std::fs::read(&path).expect("readable")
    };
    let first = tagged("vorbis.ogg", "Polka");
    let second = tagged("vorbis.ogg", "Waltz");
    let (_folder, path) = joined(&[&first, &second]);
    assert_eq!(read_tags(&path).expect("readable").genres, ["Polka"]);
}

#[test]
fn thousands_of_links_are_read_in_seconds() {
    let flac = golden("flac.oga");
    let speech = golden("speech.opus");
    let header = pages(&speech)[..2].concat();
    // Two packets of 20 ms, and headers alone.
    let tiny: Vec<u8> = [header.clone(), page(4, 960, 0, 2, &[0xf8, 0xff, 0xfe])].concat();
    let links: Vec<&[u8]> = (0..3_000)
        .flat_map(|i| [&tiny[..], if i % 2 == 0 { &header } else { &tiny }])
        .chain([&flac[..]])
        .collect();
    let (_folder, path) = joined(&links);
    let start = std::time::Instant::now();
    let info = voisin_audio::probe(&path).expect("readable");
    assert!(
        info.n_frames > 4_500 * 600 && info.n_frames < 4_500 * 960,
        "{}",
        info.n_frames
    );
    let mut audible = 0;
    voisin_audio::read_windows(&path, &info, 16_000, &[0, 80_000], 1_000, &mut |_, _| {
        audible += 1;
    })
    .expect("readable");
    assert_eq!(audible, 2);
    let seconds = start.elapsed().as_secs_f64();
    assert!(seconds < 20.0, "{seconds:.1} s");
}
