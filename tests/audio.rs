//! Real encodings through the whole audio module, against what FFmpeg decodes them to.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

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
        // Noise substitution is free to differ; opus-decoder gives 16 bits.
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
