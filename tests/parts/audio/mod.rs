//! Real encodings through the whole audio module, compared with FFmpeg.

// A test may fail by a panic, and prints that it skips.
#![allow(clippy::print_stdout)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use voisin_audio::{AudioInfo, DecodePath, WindowRequest};

mod hostile;
mod kept;
mod ogg;
mod tags;

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
    let text =
        std::fs::read_to_string(data().join("reference.json")).expect("kept in the repository");
    serde_json::from_str(&text).expect("made by generate.py")
}

/// The whole file at its own rate, and how many packets were damaged.
fn decoded(path: &Path) -> (AudioInfo, Vec<f32>, u64) {
    let info = voisin_audio::probe(path).unwrap_or_else(|error| panic!("{error}"));
    let (wave, report) =
        voisin_audio::read_all(path, info.sample_rate).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(wave.samples.len() as u64, info.n_frames);
    (info, wave.samples, report.damaged_packets)
}

/// The whole file at its own rate; no packet of it is damaged.
fn native(path: &Path) -> (AudioInfo, Vec<f32>) {
    let (info, samples, damaged) = decoded(path);
    assert_eq!(damaged, 0, "{}", path.display());
    (info, samples)
}

#[test]
fn every_golden_file_decodes_as_ffmpeg_has_it() {
    let mut wrong = Vec::new();
    for (name, reference) in references() {
        let (info, samples) = match voisin_audio::probe(&data().join(&name)) {
            Ok(_) => native(&data().join(&name)),
            Err(error) => {
                wrong.push(format!("{name}: {error}"));
                continue;
            }
        };
        if (info.sample_rate, info.channels) != (reference.rate, reference.channels) {
            wrong.push(format!(
                "{name}: {} Hz, {} channels",
                info.sample_rate, info.channels
            ));
        }
        let shift = info.n_frames as i64 - reference.frames as i64;
        let (error, power) = reference.positions.iter().zip(&reference.values).fold(
            (0.0, 0.0),
            |sums, (&at, &value)| {
                let got = samples.get(at).copied().unwrap_or(0.0);
                (
                    sums.0 + f64::from(got - value).powi(2),
                    sums.1 + f64::from(value).powi(2),
                )
            },
        );
        let snr = 10.0 * (power / error.max(1e-30)).log10();
        println!(
            "{name}: {} {} frames {} ({shift:+}), {snr:.1} dB",
            info.container, info.codec, info.n_frames
        );
        // Noise substitution may differ.
        let least = if name == "adts.aac" {
            30.0
        } else if name.contains("opus") {
            68.0
        } else if name == "layer2.mp2" {
            // Both decode in 32 bits, with another order of operations.
            85.0
        } else {
            90.0
        };
        if shift != 0 || snr < least {
            wrong.push(format!("{name}: {shift:+} frames, {snr:.1} dB"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// The windows of each path.
fn windows(
    path: &Path,
    info: &AudioInfo,
    rate: u32,
    starts: &[i64],
    length: usize,
    how: DecodePath,
) -> Vec<Vec<f32>> {
    let mut windows = Vec::new();
    let request = WindowRequest {
        how,
        ..WindowRequest::new(rate, starts, length)
    };
    voisin_audio::read_request(path, info, request, &mut |i, window| {
        assert_eq!((i, window.len()), (windows.len(), length));
        windows.push(window.to_vec());
    })
    .unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(windows.len(), starts.len());
    windows
}

fn same(a: &[Vec<f32>], b: &[Vec<f32>]) -> bool {
    a.iter()
        .flatten()
        .map(|sample| sample.to_bits())
        .eq(b.iter().flatten().map(|sample| sample.to_bits()))
}

/// Ascending starts from a small generator, some before the track and some past its end.
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
    let info = voisin_audio::probe(path).unwrap_or_else(|error| panic!("{error}"));
    for rate in [info.sample_rate, 48_000, 16_000] {
        let length = (f64::from(rate) * seconds) as usize;
        let (whole, _) =
            voisin_audio::read_all(path, rate).unwrap_or_else(|error| panic!("{error}"));
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
                assert!(
                    same(&got, &meant),
                    "{} at {rate} Hz, {how:?}, starts {starts:?}",
                    path.display()
                );
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

/// Real MP3s, where the development data exists.
fn development_music() -> Vec<PathBuf> {
    let root = std::env::var_os("VOISIN_DEV_DATA")
        .map_or_else(|| PathBuf::from("../shared/data"), PathBuf::from);
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
