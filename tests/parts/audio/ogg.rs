//! Ogg files whose pages are unusual: chained ones (RFC 3533, section 4), with other streams, and with odd times.

use std::path::{Path, PathBuf};

use super::kept::odd_tags::{pages, seal};
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

fn granule(page: &[u8]) -> u64 {
    u64::from_le_bytes(page[6..14].try_into().expect("eight bytes"))
}

fn sealed(mut page: Vec<u8>) -> Vec<u8> {
    seal(&mut page);
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

#[test]
fn of_a_chain_the_first_link_counts() {
    let vorbis = golden("vorbis.ogg");
    let flac = golden("flac.oga");
    let music = golden("music.opus");
    for links in [[&vorbis, &flac], [&flac, &vorbis], [&music, &vorbis]] {
        let (_folder, path) = joined(&[links[0]]);
        let (alone, samples) = native(&path);
        let (_folder, path) = joined(&links.map(Vec::as_slice));
        let (info, found) = native(&path);
        assert_eq!(info, alone);
        assert!(found == samples, "{}", alone.codec);
        windows_equal_a_full_decode(&path, 0..6, 0.03);
    }
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
    let (_folder, path) = joined(&[&mixed]);
    assert!(native(&path).1 == native(&data().join("vorbis.ogg")).1);
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
