//! Real encodings through the whole audio module, against what FFmpeg decodes them to.

// A test may fail by a panic, and says so when it skips.
#![allow(clippy::print_stdout)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use voisin::audio::tags::{Tags, WriteOptions, WriteOutcome, read_tags, write_genres};
use voisin::audio::{self, AudioError, AudioInfo, DecodePath};

fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/audio")
}

#[derive(serde::Deserialize)]
struct Reference {
    rate: u32,
    channels: u16,
    frames: u64,
    positions: Vec<usize>,
    values: Vec<f32>,
}

fn references() -> BTreeMap<String, Reference> {
    let text = std::fs::read_to_string(data().join("reference.json")).expect("kept in the repository");
    serde_json::from_str(&text).expect("made by generate.py")
}

/// The whole file at its own rate.
fn native(path: &Path) -> (AudioInfo, Vec<f32>) {
    let info = audio::probe(path).unwrap_or_else(|error| panic!("{error}"));
    let (wave, report) = audio::read_all(path, info.sample_rate).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(report.damaged_packets, 0, "{}", path.display());
    assert_eq!(wave.samples.len() as u64, info.n_frames);
    (info, wave.samples)
}

#[test]
fn every_golden_file_decodes_as_ffmpeg_has_it() {
    let mut wrong = Vec::new();
    for (name, reference) in references() {
        let (info, samples) = match audio::probe(&data().join(&name)) {
            Ok(_) => native(&data().join(&name)),
            Err(error) => {
                wrong.push(format!("{name}: {error}"));
                continue;
            }
        };
        if (info.sample_rate, info.channels) != (reference.rate, reference.channels) {
            wrong.push(format!("{name}: {} Hz, {} channels", info.sample_rate, info.channels));
        }
        let shift = info.n_frames as i64 - reference.frames as i64;
        let (error, power) =
            reference.positions.iter().zip(&reference.values).fold((0.0, 0.0), |sums, (&at, &value)| {
                let got = samples.get(at).copied().unwrap_or(0.0);
                (sums.0 + f64::from(got - value).powi(2), sums.1 + f64::from(value).powi(2))
            });
        let snr = 10.0 * (power / error.max(1e-30)).log10();
        println!(
            "{name}: {} {} frames {} ({shift:+}), {snr:.1} dB",
            info.container, info.codec, info.n_frames
        );
        // Noise substitution is free to differ.
        let least = if name == "adts.aac" {
            30.0
        } else if name.contains("opus") {
            68.0
        } else {
            90.0
        };
        if shift != 0 || snr < least {
            wrong.push(format!("{name}: {shift:+} frames, {snr:.1} dB"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Windows as each path gives them.
fn windows(
    path: &Path,
    info: &AudioInfo,
    rate: u32,
    starts: &[i64],
    length: usize,
    how: DecodePath,
) -> Vec<Vec<f32>> {
    let mut windows = Vec::new();
    audio::read_windows_with(path, info, rate, starts, length, how, &mut |i, window| {
        assert_eq!((i, window.len()), (windows.len(), length));
        windows.push(window.to_vec());
    })
    .unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(windows.len(), starts.len());
    windows
}

fn same(a: &[Vec<f32>], b: &[Vec<f32>]) -> bool {
    a.iter().flatten().map(|sample| sample.to_bits()).eq(b.iter().flatten().map(|sample| sample.to_bits()))
}

/// Ascending starts from a small generator of its own, some before the track and some past its end.
fn some_starts(seed: u64, n: usize, length: i64, window: i64) -> Vec<i64> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut starts: Vec<i64> = (0..n)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 33) as i64 % (length + 3 * window) - 2 * window
        })
        .collect();
    starts.sort_unstable();
    starts
}

fn windows_equal_a_full_decode(path: &Path, seeds: std::ops::Range<u64>, seconds: f64) {
    let info = audio::probe(path).unwrap_or_else(|error| panic!("{error}"));
    for rate in [info.sample_rate, 48_000, 16_000] {
        let length = (f64::from(rate) * seconds) as usize;
        let (whole, _) = audio::read_all(path, rate).unwrap_or_else(|error| panic!("{error}"));
        for seed in seeds.clone() {
            let n = 1 + (seed % 7) as usize;
            let starts = some_starts(seed, n, whole.samples.len() as i64, length as i64);
            let meant: Vec<Vec<f32>> = starts
                .iter()
                .map(|&start| {
                    (start..start + length as i64)
                        .map(|at| {
                            usize::try_from(at)
                                .ok()
                                .and_then(|at| whole.samples.get(at))
                                .copied()
                                .unwrap_or(0.0)
                        })
                        .collect()
                })
                .collect();
            for how in [DecodePath::Auto, DecodePath::Full, DecodePath::Windows] {
                let got = windows(path, &info, rate, &starts, length, how);
                assert!(same(&got, &meant), "{} at {rate} Hz, {how:?}, starts {starts:?}", path.display());
            }
        }
    }
}

#[test]
fn windows_are_bit_for_bit_those_of_a_full_decode() {
    for name in references().keys() {
        windows_equal_a_full_decode(&data().join(name), 0..8, 0.03);
    }
}

/// Real MP3s, where the development data is at hand.
fn development_music() -> Vec<PathBuf> {
    let root =
        std::env::var_os("VOISIN_DEV_DATA").map_or_else(|| PathBuf::from("../shared/data"), PathBuf::from);
    let mut files: Vec<PathBuf> = ["classical", "electronic", "pop", "rock"]
        .iter()
        .filter_map(|genre| std::fs::read_dir(root.join("emotify-dev").join(genre)).ok())
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "mp3"))
        .collect();
    files.sort();
    if files.is_empty() {
        println!("skipped: no development music at {}", root.display());
    }
    files
}

#[test]
fn real_music_gives_the_same_windows_either_way() {
    for path in development_music().iter().step_by(25) {
        windows_equal_a_full_decode(path, 3..5, 1.0);
    }
}

/// A copy of a golden file that a test may change.
fn copy_of(name: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join(name);
    std::fs::copy(data().join(name), &path).expect("copied");
    (folder, path)
}

fn strings(values: &[&str]) -> Vec<String> {
    values.iter().map(|&value| value.to_owned()).collect()
}

/// One file of each kind whose genres can be written.
const WRITABLE: [&str; 9] = [
    "cbr.mp3",
    "noxing.mp3",
    "mono.flac",
    "vorbis.ogg",
    "music.opus",
    "aac.m4a",
    "alac.m4a",
    "s16.wav",
    "f32.wav",
];

#[test]
fn genres_are_written_and_the_audio_keeps_its_identity() {
    for name in WRITABLE {
        let (folder, path) = copy_of(name);
        let before = audio::probe(&path).expect("readable");
        let (old, _) = audio::read_all(&path, before.sample_rate).expect("readable");
        let mtime = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000);
        std::fs::File::options()
            .write(true)
            .open(&path)
            .and_then(|file| file.set_modified(mtime))
            .expect("settable");
        let genres = strings(&["Drum & Bass", "Ambient", "Électro/日本"]);

        let dry = WriteOptions { dry_run: true, ..WriteOptions::default() };
        assert_eq!(write_genres(&path, &genres, dry).expect("writable"), WriteOutcome::Written, "{name}");
        assert_eq!(read_tags(&path).expect("readable").genres, Vec::<String>::new(), "{name}");

        let outcome = write_genres(&path, &genres, WriteOptions::default());
        assert_eq!(outcome.unwrap_or_else(|error| panic!("{error}")), WriteOutcome::Written, "{name}");
        assert_eq!(read_tags(&path).expect("readable").genres, genres, "{name}");
        let modified = std::fs::metadata(&path).and_then(|metadata| metadata.modified()).expect("known");
        assert_eq!(modified, mtime, "{name}");

        // Existing genres are left alone unless asked otherwise.
        let others = strings(&["Jazz"]);
        let kept = write_genres(&path, &others, WriteOptions::default()).expect("readable");
        assert_eq!(kept, WriteOutcome::KeptExisting(genres.clone()), "{name}");
        assert_eq!(
            write_genres(&path, &genres, WriteOptions::default()).expect("readable"),
            WriteOutcome::Unchanged
        );
        let overwrite = WriteOptions { overwrite: true, keep_mtime: false, dry_run: false };
        assert_eq!(
            write_genres(&path, &others, overwrite).expect("writable"),
            WriteOutcome::Written,
            "{name}"
        );
        assert_eq!(read_tags(&path).expect("readable").genres, others, "{name}");
        let modified = std::fs::metadata(&path).and_then(|metadata| metadata.modified()).expect("known");
        assert_ne!(modified, mtime, "{name}");

        let after = audio::probe(&path).expect("readable");
        assert_eq!(after, before, "{name}");
        let (new, _) = audio::read_all(&path, before.sample_rate).expect("readable");
        assert!(same(&[old.samples], &[new.samples]), "{name}");
        assert_eq!(
            std::fs::read_dir(folder.path()).expect("a folder").count(),
            1,
            "{name}: nothing is left behind"
        );
    }
}

#[test]
fn a_format_without_genres_is_refused_and_untouched() {
    for name in ["opus.webm", "s16.caf", "flac.mka"] {
        let (folder, path) = copy_of(name);
        let bytes = std::fs::read(&path).expect("readable");
        let error = write_genres(&path, &strings(&["Rock"]), WriteOptions::default()).expect_err("no genres");
        assert!(matches!(error, AudioError::TagsUnwritable { .. }), "{name}: {error}");
        assert_eq!(std::fs::read(&path).expect("readable"), bytes);
        assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 1);
    }
    let (_folder, path) = copy_of("cbr.mp3");
    for bad in [&["", "Rock"][..], &["Ro\0ck"]] {
        assert!(write_genres(&path, &strings(bad), WriteOptions::default()).is_err());
    }
}

#[test]
fn other_tags_and_cover_art_survive_and_retagging_keeps_the_content_id() {
    use lofty::config::WriteOptions as Saving;
    use lofty::file::{AudioFile, TaggedFileExt};
    use lofty::picture::{MimeType, Picture, PictureType};
    use lofty::tag::{Accessor, ItemKey, Tag, TagExt};

    for name in WRITABLE {
        let (_folder, path) = copy_of(name);
        let before = audio::probe(&path).expect("readable");
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
        let art: Vec<u8> =
            b"\x89PNG\r\n\x1a\n".iter().copied().chain((0..300_000).map(|i| (i % 251) as u8)).collect();
        let picture = Picture::unchecked(art.clone())
            .pic_type(PictureType::CoverFront)
            .mime_type(MimeType::Png)
            .build();
        tag.push_picture(picture);
        assert!(!tag.is_empty());
        tagged.save_to_path(&path, Saving::default()).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(audio::probe(&path).expect("readable"), before, "{name}: retagging");

        write_genres(&path, &strings(&["House"]), WriteOptions::default())
            .unwrap_or_else(|error| panic!("{error}"));
        let tags = read_tags(&path).expect("readable");
        let meant = Tags {
            title: Some("Grüße".to_owned()),
            artist: Some("Ål & Søn".to_owned()),
            album: Some("東京".to_owned()),
            genres: strings(&["House"]),
            year: Some(1994),
            track_number: Some(7),
            ..Tags::default()
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
    let before = audio::probe(&path).expect("readable");
    let mut bytes = std::fs::read(&path).expect("readable");
    // A tag of ID3v2.3 with a Latin-1 title, a genre by number and text, and a frame full of sync words.
    let frame =
        |id: &[u8; 4], body: &[u8]| [&id[..], &(body.len() as u32).to_be_bytes()[..], &[0, 0], body].concat();
    let frames = [
        frame(b"TIT2", b"\x00Caf\xe9"),
        frame(b"TCON", b"\x00(17)Indie"),
        frame(b"TYER", b"\x001987"),
        frame(b"PRIV", &[0xff, 0xfb, 0x90, 0x64].repeat(3000)),
    ]
    .concat();
    let size = frames.len() as u32;
    let syncsafe =
        [size >> 21 & 0x7f, size >> 14 & 0x7f, size >> 7 & 0x7f, size & 0x7f].map(|part| part as u8);
    let mut tagged = [b"ID3\x03\x00\x00".as_slice(), &syncsafe, &frames].concat();
    tagged.append(&mut bytes);
    // An APE tag that holds sync words too, then ID3v1.
    let item =
        [&12_000u32.to_le_bytes()[..], &[2, 0, 0, 0], b"Junk\0", &[0xff, 0xfb, 0x90, 0x64].repeat(3000)]
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
    assert_eq!(audio::probe(&path).expect("readable"), before);
    let tags = read_tags(&path).expect("readable");
    assert_eq!(tags.title.as_deref(), Some("Café"));
    assert_eq!(tags.year, Some(1987));
    assert_eq!(tags.genres, strings(&["Rock", "Indie"]));
}

#[test]
fn files_without_tags_have_none_and_missing_files_say_so() {
    for name in references().keys() {
        let tags = read_tags(&data().join(name)).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!((tags.title, tags.genres), (None, Vec::new()), "{name}");
    }
    let error = read_tags(Path::new("no/such/file.mp3")).expect_err("not there");
    assert!(matches!(error, AudioError::NotFound { .. }), "{error}");
}

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
fn what_is_no_audio_says_why() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let error = |name: &str, bytes: &[u8]| audio::probe(&written(&folder, name, bytes)).expect_err(name);
    assert!(matches!(error("empty.mp3", b""), AudioError::Empty { .. }));
    let png = [b"\x89PNG\r\n\x1a\n".as_slice(), &vec![0x55; 10_000]].concat();
    let found = error("picture.flac", &png);
    assert!(found.to_string().ends_with("(it is a PNG picture)"), "{found}");
    assert!(matches!(error("text.ogg", b"just some words\n"), AudioError::NotAudio { .. }));
    assert!(matches!(error("half.flac", b"fLaC\0\0\0"), AudioError::NotAudio { .. }));
    let mut state = 88_172_645_463_325_252u64;
    let random: Vec<u8> = (0..1_000_000)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 32) as u8
        })
        .collect();
    let found = error("random.mp3", &random);
    assert!(matches!(found, AudioError::NotAudio { .. } | AudioError::MostlyDamaged { .. }), "{found}");
    assert!(matches!(audio::probe(&folder.path().join("gone.mp3")), Err(AudioError::NotFound { .. })));
    assert!(matches!(audio::probe(folder.path()), Err(AudioError::NotAFile { .. })));
    let silent = error("frameless.wav", &wav(44_100, &[]));
    assert!(matches!(silent, AudioError::NoFrames { .. }), "{silent}");
}

#[cfg(unix)]
#[test]
fn a_name_that_is_no_unicode_is_read_all_the_same() {
    use std::os::unix::ffi::OsStrExt;
    let (folder, path) = copy_of("s16.wav");
    let odd = folder.path().join(std::ffi::OsStr::from_bytes(b"caf\xe9.wav"));
    std::fs::rename(&path, &odd).expect("renamed");
    assert_eq!(audio::probe(&odd).expect("readable").n_frames, 1_200);
    assert_eq!(read_tags(&odd).expect("readable"), Tags::default());
}

#[test]
fn contents_decide_not_the_name() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for (name, lie) in
        [("cbr.mp3", "a.flac"), ("vorbis.ogg", "b.mp3"), ("mono.flac", "c.wav"), ("aac.m4a", "d")]
    {
        let truth = audio::probe(&data().join(name)).expect("readable");
        let path = folder.path().join(lie);
        std::fs::copy(data().join(name), &path).expect("copied");
        assert_eq!(audio::probe(&path).expect("readable"), truth);
        read_tags(&path).expect("readable");
    }
}

#[test]
fn a_wav_header_that_lies_is_not_believed() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let samples: Vec<i16> = (0..5_000).map(|i| (i * 7 % 20_000) as i16).collect();
    let honest = wav(22_050, &samples);
    let truth = audio::probe(&written(&folder, "honest.wav", &honest)).expect("readable");
    assert_eq!(truth.n_frames, 5_000);
    // (RIFF size, data size) as hostile and as streaming writers leave them.
    for (i, (riff, data)) in
        [(u32::MAX, u32::MAX), (0, 0), (u32::MAX - 8, u32::MAX - 44), (36, 10_000), (3, 4_000_000_000)]
            .iter()
            .enumerate()
    {
        let mut bytes = honest.clone();
        bytes[4..8].copy_from_slice(&riff.to_le_bytes());
        bytes[40..44].copy_from_slice(&data.to_le_bytes());
        let path = written(&folder, &format!("lie{i}.wav"), &bytes);
        let info = audio::probe(&path).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(info, truth, "RIFF {riff}, data {data}");
        let (wave, report) = audio::read_all(&path, 22_050).expect("readable");
        assert_eq!(report.damaged_packets, 0);
        assert!(wave.samples.iter().zip(&samples).all(|(&got, &meant)| got == f32::from(meant) / 32_768.0));
    }
    // Cut off in the middle of a sample.
    let cut = audio::probe(&written(&folder, "cut.wav", &honest[..44 + 6_001])).expect("readable");
    assert_eq!(cut.n_frames, 3_000);
    // RF64 keeps its sizes in a chunk of its own.
    let mut rf64 = b"RF64\xff\xff\xff\xffWAVEds64\x1c\0\0\0".to_vec();
    rf64.extend_from_slice(&[0; 8]);
    rf64.extend_from_slice(&10_000u64.to_le_bytes());
    rf64.extend_from_slice(&[0; 12]);
    rf64.extend_from_slice(&honest[12..40]);
    rf64.extend_from_slice(&[0xff; 4]);
    rf64.extend_from_slice(&honest[44..]);
    rf64.extend_from_slice(b"LIST\x04\0\0\0INFO");
    assert_eq!(audio::probe(&written(&folder, "long.wav", &rf64)).expect("readable"), truth);
}

#[test]
fn damage_becomes_silence_and_what_follows_stays_in_place() {
    let (_folder, path) = copy_of("cbr.mp3");
    let (info, sound) = native(&path);
    let mut bytes = std::fs::read(&path).expect("readable");
    // Overwrite the insides of three frames (417 or 418 bytes each) in the middle, headers kept.
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
    for &frame in &frames[18..21] {
        bytes[frame + 4..frame + 400].fill(0xff);
    }
    std::fs::write(&path, &bytes).expect("writable");
    let after = audio::probe(&path).expect("readable");
    assert_eq!((after.n_frames, after.packets), (info.n_frames, info.packets));
    assert_ne!(after.content, info.content);
    let (wave, report) = audio::read_all(&path, info.sample_rate).expect("more than half decodes");
    assert!(report.damaged_packets > 0 && report.decoded_share > 0.8, "{report:?}");
    assert_eq!(wave.samples.len(), sound.len());
    let tail = sound.len() - 15_000;
    assert!(wave.samples[tail..] == sound[tail..], "what follows the damage is as it was");
    assert!(wave.samples[..15_000] == sound[..15_000], "what precedes it too");
}

#[test]
fn a_truncated_file_gives_what_is_there() {
    for name in
        ["cbr.mp3", "vorbis.ogg", "mono.flac", "high.flac", "aac.m4a", "music.opus", "s16.wav", "adts.aac"]
    {
        let (info, whole) = native(&data().join(name));
        let bytes = std::fs::read(data().join(name)).expect("readable");
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = written(&folder, name, &bytes[..bytes.len() * 3 / 4]);
        let cut = match audio::probe(&path) {
            Ok(cut) => cut,
            // FFmpeg puts an MP4's tables at its end, and the audio of these short Ogg files is one page.
            Err(AudioError::NotAudio { .. }) if !name.contains("mp3") => continue,
            // All of this short file's audio is one frame, and the cut goes through it.
            Err(AudioError::NoFrames { .. }) if name == "high.flac" => continue,
            Err(error) => panic!("{error}"),
        };
        assert!(cut.n_frames <= info.n_frames, "{name}");
        let (wave, _) = audio::read_all(&path, info.sample_rate).unwrap_or_else(|error| panic!("{error}"));
        let safe = wave.samples.len().saturating_sub(2_500);
        assert!(wave.samples[..safe] == whole[..safe], "{name}: the beginning is the same");
    }
}

#[test]
fn a_file_that_changes_between_probe_and_reading_does_not_mislead() {
    let (_folder, path) = copy_of("cbr.mp3");
    let info = audio::probe(&path).expect("readable");
    std::fs::copy(data().join("mpeg2.mp3"), &path).expect("copied");
    let error =
        audio::read_windows(&path, &info, 48_000, &[0], 100, &mut |_, _| {}).expect_err("another file now");
    assert!(matches!(error, AudioError::Changed { .. }), "{error}");
    std::fs::remove_file(&path).expect("removable");
    let error = audio::read_windows(&path, &info, 48_000, &[0], 100, &mut |_, _| {}).expect_err("gone");
    assert!(matches!(error, AudioError::NotFound { .. }), "{error}");
}

/// Everything one may do with a file; whatever is in it, this ends soon and does not panic.
fn use_everything(path: &Path) {
    let start = std::time::Instant::now();
    let _ = read_tags(path);
    if let Ok(info) = audio::probe(path) {
        let mut bad = 0;
        for how in [DecodePath::Full, DecodePath::Windows] {
            let last = audio::resampled_len(&info, 16_000).min(10_000_000) as i64;
            let _ = audio::read_windows_with(
                path,
                &info,
                16_000,
                &[-50, 0, last / 2, last - 10],
                1_000,
                how,
                &mut |_, window| {
                    bad += window.iter().filter(|sample| !sample.is_finite()).count();
                },
            );
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
                // Headers are where parsers are.
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
