//! Damaged, truncated, malformed and random files: silence in place of lost audio, an error with its reason, never a
//! panic.

use std::path::{Path, PathBuf};

use voisin_audio::tags::read_tags;
use voisin_audio::{AudioError, DecodePath, WindowRequest};

use super::{copy_of, data, decoded, native, references};

/// A WAV file of 16-bit mono samples.
fn wav(rate: u32, samples: &[i16]) -> Vec<u8> {
    let size = samples.len() as u32 * 2;
    let mut bytes = Vec::with_capacity(44 + size as usize);
    bytes.extend_from_slice(b"RIFF");
    bytes.extend_from_slice(&(36 + size).to_le_bytes());
    bytes.extend_from_slice(b"WAVEfmt \x10\0\0\0\x01\0\x01\0");
    bytes.extend_from_slice(&rate.to_le_bytes());
    bytes.extend_from_slice(&(2 * rate).to_le_bytes());
    bytes.extend_from_slice(b"\x02\0\x10\0data");
    bytes.extend_from_slice(&size.to_le_bytes());
    bytes.extend(samples.iter().flat_map(|sample| sample.to_le_bytes()));
    bytes
}

fn written(folder: &tempfile::TempDir, name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder.path().join(name);
    std::fs::write(&path, bytes).expect("writable");
    path
}

#[test]
fn probing_reports_why_a_file_is_not_audio() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let error = |name: &str, bytes: &[u8]| {
        voisin_audio::probe(&written(&folder, name, bytes)).expect_err(name)
    };
    assert!(matches!(
        error("empty.mp3", b""),
        AudioError::NotAudio { .. }
    ));
    let png = [b"\x89PNG\r\n\x1a\n".as_slice(), &vec![0x55; 10_000]].concat();
    let found = error("picture.flac", &png);
    assert!(
        found.to_string().ends_with("(it is a PNG picture)"),
        "{found}"
    );
    assert!(matches!(
        error("text.ogg", b"just some words\n"),
        AudioError::NotAudio { .. }
    ));
    assert!(matches!(
        error("half.flac", b"fLaC\0\0\0"),
        AudioError::NotAudio { .. }
    ));
    assert!(matches!(
        voisin_audio::probe(&folder.path().join("gone.mp3")),
        Err(AudioError::NotFound { .. })
    ));
    assert!(matches!(
        voisin_audio::probe(folder.path()),
        Err(AudioError::NotAFile { .. })
    ));
    let silent = error("frameless.wav", &wav(44_100, &[]));
    assert!(matches!(silent, AudioError::NotAudio { .. }), "{silent}");
}

#[test]
fn the_content_decides_the_format_not_the_name() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for (name, lie) in [
        ("cbr.mp3", "a.flac"),
        ("vorbis.ogg", "b.mp3"),
        ("mono.flac", "c.wav"),
        ("aac.m4a", "d"),
    ] {
        let truth = voisin_audio::probe(&data().join(name)).expect("readable");
        let path = folder.path().join(lie);
        std::fs::copy(data().join(name), &path).expect("copied");
        assert_eq!(voisin_audio::probe(&path).expect("readable"), truth);
        read_tags(&path).expect("readable");
    }
}

#[test]
fn a_wav_header_with_a_wrong_length_is_corrected() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let samples: Vec<i16> = (0..5_000).map(|i| (i % 100 * 200 - 9_900) as i16).collect();
    let honest = wav(22_050, &samples);
    let truth = voisin_audio::probe(&written(&folder, "honest.wav", &honest)).expect("readable");
    assert_eq!(truth.n_frames, 5_000);
    // (RIFF size, data size) as hostile and as streaming writers leave them.
    for (i, (riff, data)) in [
        (u32::MAX, u32::MAX),
        (0, 0),
        (u32::MAX - 8, u32::MAX - 44),
        (36, 10_000),
        (3, 4_000_000_000),
    ]
    .iter()
    .enumerate()
    {
        let mut bytes = honest.clone();
        bytes[4..8].copy_from_slice(&riff.to_le_bytes());
        bytes[40..44].copy_from_slice(&data.to_le_bytes());
        let path = written(&folder, &format!("lie{i}.wav"), &bytes);
        let info = voisin_audio::probe(&path).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(info, truth, "RIFF {riff}, data {data}");
        let (wave, report) = voisin_audio::read_all(&path, 22_050).expect("readable");
        assert_eq!(report.damaged_packets, 0);
        assert!(
            wave.samples
                .iter()
                .zip(&samples)
                .all(|(&got, &meant)| got == f32::from(meant) / 32_768.0)
        );
    }
    // Cut off in the middle of a sample.
    let cut =
        voisin_audio::probe(&written(&folder, "cut.wav", &honest[..44 + 6_001])).expect("readable");
    assert_eq!(cut.n_frames, 3_000);
    // RF64 has its sizes in a separate chunk.
    let mut rf64 = b"RF64\xff\xff\xff\xffWAVEds64\x1c\0\0\0".to_vec();
    rf64.extend_from_slice(&[0; 8]);
    rf64.extend_from_slice(&10_000u64.to_le_bytes());
    rf64.extend_from_slice(&[0; 12]);
    rf64.extend_from_slice(&honest[12..40]);
    rf64.extend_from_slice(&[0xff; 4]);
    rf64.extend_from_slice(&honest[44..]);
    rf64.extend_from_slice(b"LIST\x04\0\0\0INFO");
    assert_eq!(
        voisin_audio::probe(&written(&folder, "long.wav", &rf64)).expect("readable"),
        truth
    );
}

/// First bytes of the frames of `cbr.mp3`, 417 or 418 bytes each, but the first.
fn frames_of_cbr(bytes: &[u8]) -> Vec<usize> {
    let mut frames = Vec::new();
    let mut at = 45 + 417;
    while at + 4 < bytes.len() {
        let padded = usize::from(bytes[at + 2] >> 1 & 1);
        if bytes[at] != 0xff {
            at += 1;
            continue;
        }
        frames.push(at);
        at += 417 + padded;
    }
    frames
}

#[test]
fn a_file_of_which_less_than_half_decodes_is_refused() {
    let (_folder, path) = copy_of("cbr.mp3");
    let mut bytes = std::fs::read(&path).expect("readable");
    let frames = frames_of_cbr(&bytes);
    // The contents of all frames after the first six, headers kept.
    let length = bytes.len();
    for &frame in frames.iter().skip(6).filter(|&&frame| frame + 400 < length) {
        bytes[frame + 4..frame + 400].fill(0xff);
    }
    std::fs::write(&path, &bytes).expect("writable");
    let info = voisin_audio::probe(&path).expect("its headers are whole");
    let refused = voisin_audio::read_all(&path, info.sample_rate).expect_err("mostly damaged");
    let AudioError::MostlyDamaged { share, .. } = refused else {
        panic!("{refused}")
    };
    assert!((0.05..0.5).contains(&share), "{share}");
}

#[test]
fn damage_becomes_silence_and_what_follows_stays_in_place() {
    let (_folder, path) = copy_of("cbr.mp3");
    let (info, sound) = native(&path);
    let mut bytes = std::fs::read(&path).expect("readable");
    let frames = frames_of_cbr(&bytes);
    for &frame in &frames[18..21] {
        bytes[frame + 4..frame + 400].fill(0xff);
    }
    std::fs::write(&path, &bytes).expect("writable");
    let after = voisin_audio::probe(&path).expect("readable");
    assert_eq!(
        (after.n_frames, after.packets),
        (info.n_frames, info.packets)
    );
    assert_ne!(after.content, info.content);
    let (wave, report) =
        voisin_audio::read_all(&path, info.sample_rate).expect("more than half decodes");
    assert!(
        report.damaged_packets > 0 && report.decoded_share > 0.8,
        "{report:?}"
    );
    assert_eq!(wave.samples.len(), sound.len());
    let tail = sound.len() - 15_000;
    assert!(
        wave.samples[tail..] == sound[tail..],
        "the audio after the damage is intact"
    );
    assert!(
        wave.samples[..15_000] == sound[..15_000],
        "the audio before it too"
    );
}

#[test]
fn a_truncated_file_gives_what_is_there() {
    for name in [
        "cbr.mp3",
        "vorbis.ogg",
        "mono.flac",
        "high.flac",
        "aac.m4a",
        "music.opus",
        "s16.wav",
        "adts.aac",
    ] {
        let (info, whole) = native(&data().join(name));
        let bytes = std::fs::read(data().join(name)).expect("readable");
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = written(&folder, name, &bytes[..bytes.len() * 3 / 4]);
        let cut = match voisin_audio::probe(&path) {
            Ok(cut) => cut,
            // FFmpeg puts an MP4's tables at its end, and the audio of these short Ogg files is one page.
            // In high.flac the cut goes through the only frame.
            Err(AudioError::NotAudio { .. }) if !name.contains("mp3") => continue,
            Err(error) => panic!("{error}"),
        };
        assert!(cut.n_frames <= info.n_frames, "{name}");
        let (wave, _) = voisin_audio::read_all(&path, info.sample_rate)
            .unwrap_or_else(|error| panic!("{error}"));
        let safe = wave.samples.len().saturating_sub(2_500);
        assert!(
            wave.samples[..safe] == whole[..safe],
            "{name}: the beginning is the same"
        );
    }
}

/// The movie of a file with its tables at the end, put before the sound.
fn with_index_in_front(file: &[u8]) -> Vec<u8> {
    let at = |name: &[u8]| {
        let found = file.windows(4).position(|bytes| bytes == name);
        found.expect("a box of this name") - 4
    };
    let sound = at(b"mdat");
    let movie = at(b"moov");
    let mut tables = file[movie..].to_vec();
    let list = at(b"stco") - movie + 12;
    let count = u32::from_be_bytes(tables[list..list + 4].try_into().expect("four bytes"));
    for place in tables[list + 4..].chunks_exact_mut(4).take(count as usize) {
        let old = u32::from_be_bytes((&*place).try_into().expect("four bytes"));
        let new = old + (file.len() - movie) as u32;
        place.copy_from_slice(&new.to_be_bytes());
    }
    [&file[..sound], &tables, &file[sound..movie]].concat()
}

#[test]
fn a_container_that_is_cut_off_gives_what_is_there() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for name in ["aac.m4a", "alac.m4a", "s16.aiff", "s24.aiff"] {
        let (info, whole) = native(&data().join(name));
        let mut bytes = std::fs::read(data().join(name)).expect("readable");
        if name.ends_with("m4a") {
            bytes = with_index_in_front(&bytes);
        }
        for kept in [bytes.len() - 1, bytes.len() * 3 / 4] {
            let path = written(&folder, name, &bytes[..kept]);
            let cut = voisin_audio::probe(&path).unwrap_or_else(|error| panic!("{error}"));
            // The first of the three packets of alac.m4a holds 46 % of its frames; of the second a part is lost.
            let least = info.n_frames * 2 / 5;
            assert!(
                cut.n_frames >= least && cut.n_frames <= info.n_frames,
                "{name} {kept}: {} of {} frames",
                cut.n_frames,
                info.n_frames
            );
            let (wave, _) = voisin_audio::read_all(&path, info.sample_rate)
                .unwrap_or_else(|error| panic!("{error}"));
            let safe = wave.samples.len().saturating_sub(2_500);
            assert!(wave.samples[..safe] == whole[..safe], "{name} {kept}");
        }
    }
}

fn place(file: &[u8], wanted: &[u8]) -> usize {
    let found = file.windows(wanted.len()).position(|bytes| bytes == wanted);
    found.expect("bytes that are there")
}

#[test]
fn metadata_that_is_odd_costs_no_sound() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let read = |name: &str| std::fs::read(data().join(name)).expect("readable");
    let with = |name: &str, at: usize, odd: &[u8]| {
        let file = read(name);
        [&file[..at], odd, &file[at..]].concat()
    };
    // A chapter edition without a number, as FFmpeg writes it, in place of a void.
    let mut chapters = read("opus.webm");
    let at = place(&chapters, b"\xec\x01\0\0\0\0\0\0\x59");
    chapters[at..at + 14].copy_from_slice(b"\x10\x43\xa7\x70\x08\0\0\0\x59\x45\xb9\x80\xec\xd4");
    // Zeros behind the boxes of the movie.
    let mut movie = read("aac.m4a");
    movie.extend([0; 8]);
    let at = place(&movie, b"moov") - 4;
    let size = movie.len() - at;
    movie[at..at + 4].copy_from_slice(&(size as u32).to_be_bytes());
    for (name, bytes) in [
        ("opus.webm", chapters),
        ("aac.m4a", movie),
        ("u8.wav", with("u8.wav", 12, b"LIST\x08\0\0\0INFOINAM")),
        // Empty: comments, and a chunk without a name.
        ("mono.flac", with("mono.flac", 42, b"\x04\0\0\0")),
        ("s16.aiff", with("s16.aiff", 12, &[0; 8])),
    ] {
        let (info, whole) = native(&data().join(name));
        let (found, samples) = native(&written(&folder, name, &bytes));
        assert_eq!(found.content, info.content, "{name}");
        assert!(samples == whole, "{name}");
    }
}

/// A second track whose table of sizes is damaged, as of pictures of chapters.
#[test]
fn a_fault_in_a_track_that_is_not_heard_costs_nothing() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (alone, samples) = native(&data().join("aac.m4a"));
    let file = std::fs::read(data().join("aac.m4a")).expect("readable");
    let movie = place(&file, b"moov") - 4;
    let tags = place(&file, b"udta") - 4;
    let mut second = file[place(&file, b"trak") - 4..tags].to_vec();
    let sizes = place(&second, b"stsz") + 12;
    second[sizes..sizes + 4].fill(0xff);
    let mut bytes = [&file[..tags], &second, &file[tags..]].concat();
    let size = (bytes.len() - movie) as u32;
    bytes[movie..movie + 4].copy_from_slice(&size.to_be_bytes());
    let (info, found) = native(&written(&folder, "two.m4a", &bytes));
    assert!(info == alone && found == samples);
}

#[test]
fn float_samples_of_the_size_of_integers_are_refused() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = |scale: f32| {
        let samples = (0..22_050).map(|i| scale * (i as f32 * 0.05).sin());
        let samples: Vec<u8> = samples.flat_map(f32::to_le_bytes).collect();
        let mut bytes = wav(22_050, &[]);
        bytes[20] = 3;
        bytes[28..36].copy_from_slice(b"\x88\x58\x01\0\x04\0\x20\0");
        bytes[40..44].copy_from_slice(&(samples.len() as u32).to_le_bytes());
        written(&folder, "float.wav", &[bytes, samples].concat())
    };
    voisin_audio::read_all(&file(2.0), 22_050).expect("a little too loud");
    let refused = voisin_audio::read_all(&file(9000.0), 22_050).expect_err("integers");
    assert!(refused.to_string().contains("integers"), "{refused}");
}

/// Joined files: what has the first one's sample rate is decoded, and the rest is silence.
#[test]
fn an_mp3_that_changes_its_channels_or_rate_is_read() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let golden = |name: &str| std::fs::read(data().join(name)).expect("readable");
    let (first, samples) = native(&data().join("cbr.mp3"));
    let (_, second) = native(&data().join("mpeg2.mp3"));
    assert!(second.len() < samples.len());
    let path = written(
        &folder,
        "joined.mp3",
        &[golden("cbr.mp3"), golden("mpeg2.mp3")].concat(),
    );
    let (info, whole, damaged) = decoded(&path);
    assert_eq!(info.sample_rate, first.sample_rate);
    let safe = samples.len() - 2_500;
    assert!(whole[..safe] == samples[..safe]);
    assert!(damaged <= 1, "{damaged} damaged packets at the seam");
}

#[test]
fn a_file_changed_between_probe_and_reading_is_an_error() {
    let (_folder, path) = copy_of("cbr.mp3");
    let info = voisin_audio::probe(&path).expect("readable");
    std::fs::copy(data().join("mpeg2.mp3"), &path).expect("copied");
    let error = voisin_audio::read_windows(&path, &info, 48_000, &[0], 100, &mut |_, _| {})
        .expect_err("another file now");
    assert!(matches!(error, AudioError::Changed { .. }), "{error}");
    std::fs::remove_file(&path).expect("removable");
    let error = voisin_audio::read_windows(&path, &info, 48_000, &[0], 100, &mut |_, _| {})
        .expect_err("gone");
    assert!(matches!(error, AudioError::NotFound { .. }), "{error}");
}

/// Every operation on a file; whatever its content, they end soon and do not panic.
fn use_everything(path: &Path) {
    let start = std::time::Instant::now();
    let _ = read_tags(path);
    if let Ok(info) = voisin_audio::probe(path) {
        let mut bad = 0;
        for how in [DecodePath::Full, DecodePath::Windows] {
            let last = voisin_audio::resampled_len(&info, 16_000).min(10_000_000) as i64;
            let starts = [-50, 0, last / 2, last - 10];
            let request = WindowRequest {
                how,
                ..WindowRequest::new(16_000, &starts, 1_000)
            };
            let _ = voisin_audio::read_request(path, &info, request, &mut |_, window| {
                bad += window.iter().filter(|sample| !sample.is_finite()).count();
            });
        }
        assert_eq!(bad, 0, "a sample is no number");
    }
    let seconds = start.elapsed().as_secs_f64();
    assert!(seconds < 20.0, "{seconds:.1} s");
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig { cases: 12, ..Default::default() })]

    #[test]
    fn hostile_bytes_never_panic(
        mutations in proptest::collection::vec((0.0..1.0f64, proptest::prelude::any::<u8>()), 1..40),
        cut in 0.05..1.0f64,
        insertion in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..64),
        head_only in proptest::prelude::any::<bool>(),
    ) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for name in references().keys() {
            let mut bytes = std::fs::read(data().join(name)).expect("readable");
            for &(place, value) in &mutations {
                // Parsers mostly read headers.
                let span = if head_only { bytes.len().min(600) } else { bytes.len() };
                let at = (place * span as f64) as usize;
                bytes[at.min(span - 1)] = value;
            }
            let at = (cut * bytes.len() as f64) as usize;
            bytes.splice(at..at, insertion.iter().copied());
            if cut < 0.5 {
                bytes.truncate((2.0 * cut * bytes.len() as f64) as usize);
            }
            let path = folder.path().join(name);
            std::fs::write(&path, &bytes).expect("writable");
            use_everything(&path);
        }
    }

    #[test]
    fn random_bytes_never_panic(
        bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..20_000),
        magic in 0usize..9,
    ) {
        const MAGIC: [&[u8]; 9] =
            [b"", b"ID3\x04\0\0\0\0\x7f\x7f", b"fLaC", b"OggS", b"RIFF\xff\xff\xff\xffWAVE", b"\0\0\0\x20ftypM4A ",
             b"caff\0\x01\0\0", b"FORM\0\0\xff\xffAIFF", b"\x1a\x45\xdf\xa3"];
        let folder = tempfile::tempdir().expect("a temporary folder");
        use_everything(&written(&folder, "random.mp3", &[MAGIC[magic], &bytes].concat()));
    }
}

fn in_seven_bits(size: usize) -> [u8; 4] {
    [21, 14, 7, 0].map(|shift| (size >> shift & 0x7f) as u8)
}

/// An `ID3v2.4` frame.
pub(super) fn frame(id: &[u8; 4], flags: u8, body: &[u8]) -> Vec<u8> {
    [&id[..], &in_seven_bits(body.len()), &[0, flags], body].concat()
}

pub(super) fn id3(frames: &[u8]) -> Vec<u8> {
    [b"ID3\x04\0\0", &in_seven_bits(frames.len())[..], frames].concat()
}

/// A golden file with this tag at the place of its format.
pub(super) fn tagged(name: &str, tag: &[u8]) -> Vec<u8> {
    let bytes = std::fs::read(data().join(name)).expect("readable");
    let size = (tag.len() + tag.len() % 2) as u32;
    let padding = vec![0; tag.len() % 2];
    let (id, is_big): (&[u8], bool) = match name.rsplit_once('.') {
        Some((_, "wav")) => (b"id3 ", false),
        Some((_, "aiff")) => (b"ID3 ", true),
        _ => return [tag, &bytes].concat(),
    };
    let number = |value: u32| {
        if is_big {
            value.to_be_bytes()
        } else {
            value.to_le_bytes()
        }
    };
    let mut all = [&bytes, id, &number(size), tag, &padding].concat();
    let whole = number(all.len() as u32 - 8);
    all[4..8].copy_from_slice(&whole);
    all
}

/// A stack overflow would end the process, and this test with it.
#[test]
fn chapters_within_chapters_are_read_on_a_small_stack() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let title = frame(b"TIT2", 0, b"\x03Deep");
    for (id, before) in [
        (b"CHAP", &b"c\0................"[..]),
        (b"CTOC", b"c\0\x03\0"),
    ] {
        let mut nested = Vec::new();
        for _ in 0..1600 {
            nested = frame(id, 0, &[before, &nested].concat());
        }
        let tag = id3(&[nested, title.clone()].concat());
        for name in [
            "cbr.mp3",
            "s16.wav",
            "s16.aiff",
            "mono.flac",
            "vorbis.ogg",
            "adts.aac",
        ] {
            let path = written(&folder, &format!("deep-{name}"), &tagged(name, &tag));
            let (info, tags) = std::thread::Builder::new()
                .stack_size(512 << 10)
                .spawn(move || (voisin_audio::probe(&path), read_tags(&path)))
                .expect("a thread")
                .join()
                .expect("no panic");
            let plain = voisin_audio::probe(&data().join(name)).expect("readable");
            assert_eq!(info.expect("readable").content, plain.content, "{name}");
            // Vorbis comments come first, where there are any.
            let read = tags.expect("readable").title;
            assert!(
                name == "vorbis.ogg" || read.as_deref() == Some("Deep"),
                "{name}: {read:?}"
            );
        }
    }
}

/// 40 000 bytes that would inflate to 40 MB, and a title beside them.
#[test]
fn compressed_frames_inflate_within_a_bound() {
    use std::io::Write as _;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(&vec![b'a'; 40 << 20]).expect("in memory");
    let bomb = [
        &in_seven_bits(40 << 20),
        &encoder.finish().expect("in memory")[..],
    ]
    .concat();
    let title = frame(b"TIT2", 0, b"\x03Small");
    let one = frame(b"TXXX", 0x09, &bomb);
    // Two of them would exceed the bound of 64 MB.
    let tag = id3(&[one.clone(), one, title].concat());
    for name in ["cbr.mp3", "s16.wav"] {
        let path = written(&folder, &format!("bomb-{name}"), &tagged(name, &tag));
        assert_eq!(
            read_tags(&path).expect("readable").title.as_deref(),
            Some("Small"),
            "{name}"
        );
    }
}
