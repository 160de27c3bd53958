//! The front end against librosa's filter banks and against spectrograms written out in NumPy; descriptors against librosa.

#![allow(missing_docs)]
// A test may fail by a panic.
#![allow(clippy::unwrap_used)]

use std::f64::consts::TAU;
use std::path::PathBuf;

use ndarray::Array2;
use serde_json::Value;
use voisin_features::{
    DESCRIPTOR_RATE, DescriptorSet, MelConfig, MelFrontEnd, MelScale, Spectrum, filter_bank,
};

fn golden<T: ndarray_npy::ReadableElement>(name: &str) -> Array2<T> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data/features")
        .join(name);
    ndarray_npy::read_npy(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// That of Essentia's OpenL3 models, whose embeddings differ from OpenL3's own (cosine about 0.976).
fn essentia() -> MelConfig {
    MelConfig {
        pad_left: 1024,
        spectrum: Spectrum::Magnitude,
        mel_scale: MelScale::Slaney,
        ..MelConfig::openl3()
    }
}

fn configs() -> [(&'static str, &'static str, MelConfig); 3] {
    [
        ("original", "htk", MelConfig::openl3()),
        ("essentia", "slaney", essentia()),
        ("musicnn", "musicnn", MelConfig::musicnn()),
    ]
}

/// `SplitMix64`, upper 24 bits, in [-1, 1).
fn noise(n: usize, mut seed: u64) -> impl Iterator<Item = f64> {
    (0..n).map(move |_| {
        seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = seed;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        (z >> 40) as f64 / f64::from(1 << 23) - 1.0
    })
}

/// The signals of `generate.py`.
fn signal(name: &str, rate: f64, n: usize) -> Vec<f32> {
    let t = |i: usize| i as f64 / rate;
    let sine = |hz: f64, t: f64| (TAU * hz * t).sin();
    let samples: Vec<f64> = match name {
        "noise" => noise(n, 1).map(|x| 0.25 * x).collect(),
        "chirp" => noise(n, 2)
            .enumerate()
            .map(|(i, x)| {
                let t = t(i);
                0.5 * (TAU * (40.0 * t + 0.2 * rate * t * t * rate / n as f64)).sin() + 1e-4 * x
            })
            .collect(),
        "tones" => (0..n)
            .map(|i| {
                let t = t(i);
                0.4 * sine(220.0, t) + 0.2 * sine(1234.5, t) + 0.01 * sine(6000.0, t)
            })
            .collect(),
        "click" => {
            let mut samples = vec![0.0; n];
            samples[2 * n / 3] = 0.5;
            samples[2 * n / 3 + 1] = -0.25;
            samples
        }
        "decay" => (0..n)
            .map(|i| {
                let t = t(i);
                (-3.0 * t).exp()
                    * (1..40)
                        .map(|k| sine(110.0 * f64::from(k), t) / f64::from(k * k))
                        .sum::<f64>()
            })
            .collect(),
        _ => unreachable!(),
    };
    samples.into_iter().map(|x| x as f32).collect()
}

#[test]
fn filter_banks_equal_librosas() {
    for (name, file, config) in configs() {
        let expected: Array2<f64> = golden(&format!("filters_{file}.npy"));
        let mut bank = filter_bank(&config);
        assert_eq!(
            bank.dim(),
            (config.n_mels, if name == "musicnn" { 257 } else { 1025 })
        );
        let scale = bank.iter().copied().fold(0.0, f64::max);
        for row in expected.outer_iter() {
            let weight = &mut bank[(row[0] as usize, row[1] as usize)];
            assert!(
                (*weight - row[2]).abs() < 1e-9 * scale,
                "{name}: {row} found {weight}"
            );
            *weight = 0.0;
        }
        // Weights that librosa omits are zero.
        assert!(bank.iter().all(|&weight| weight < 1e-9 * scale), "{name}");
    }
}

#[test]
fn spectrograms_equal_those_written_out_in_double_precision() {
    for (config_name, _, config) in configs() {
        let front_end = MelFrontEnd::new(config).unwrap();
        let config = front_end.config();
        for name in ["noise", "chirp", "tones", "click", "decay"] {
            let expected: Array2<f32> = golden(&format!("{name}_{config_name}.npy"));
            let samples = signal(name, f64::from(config.sample_rate), config.window_samples);
            let found = front_end.compute(&samples);
            let step = if name == "chirp" { 1 } else { 4 };
            let found = found.slice(ndarray::s![.., ..;step]);
            assert_eq!(found.dim(), expected.dim());
            // MusiCNN's cells are log10: tenths of dB.
            let unit = if config_name == "musicnn" { 10.0 } else { 1.0 };
            let errors = || {
                found
                    .iter()
                    .zip(&expected)
                    .map(|(a, b)| f64::from((a - b).abs()) * unit)
            };
            let worst = errors().fold(0.0, f64::max);
            let mean = errors().sum::<f64>() / expected.len() as f64;
            println!("{config_name:9} {name:6} worst {worst:.6} dB, mean {mean:.7} dB");
            assert!(
                worst < 0.01 && mean < 1e-4,
                "{config_name} {name}: worst {worst} dB, mean {mean} dB"
            );
            // A golden answer at the floor everywhere would prove nothing.
            assert!(expected.iter().any(|&x| (x - expected[(0, 0)]).abs() > 1.0));
        }
    }
}

/// Samples of a signal in `tests/data/lab/descriptors.py`.
const LENGTH: usize = 40_000;

fn floats(value: &Value) -> Vec<f64> {
    value
        .as_array()
        .unwrap()
        .iter()
        .map(|v| v.as_f64().unwrap())
        .collect()
}

/// The tolerance against librosa, where the two can be compared.
///
/// The filters that halve the rate before the constant-Q transform are not librosa's, so pitch classes by it are compared
/// on signals that have pitches below its highest bin all the time; their shares in steps, where no share lies on a step.
fn bound(signal: &str, row: &str, theirs: f64) -> Option<f64> {
    let relative = |share: f64| Some(share * theirs.abs().max(1.0));
    match row {
        "mel" | "bark" | "mfcc" => Some(1e-3),
        "chroma_cqt" => matches!(signal, "noise" | "tones" | "decay").then_some(0.02),
        "chroma_cens" | "tonnetz" => matches!(signal, "noise" | "decay").then_some(0.02),
        _ => relative(1e-4),
    }
}

/// The name of a column before its statistic.
fn kind(column: &str) -> &str {
    let words = [
        "_mean_",
        "_std_",
        "_skew_",
        "_kurtosis_",
        "_median_",
        "_min_",
        "_max_",
    ];
    words
        .iter()
        .find_map(|word| column.split_once(word))
        .map_or(column, |(kind, _)| kind)
}

#[test]
#[expect(clippy::too_many_lines, reason = "one scene")]
fn descriptors_equal_librosa() {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/data/lab/descriptors.json"
    );
    let golden: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let mut compared = 0;
    let mut wrong = Vec::new();
    for name in ["noise", "chirp", "tones", "click", "decay"] {
        let samples = signal(name, f64::from(DESCRIPTOR_RATE), LENGTH);
        for (key, set) in DescriptorSet::ALL {
            let theirs = &golden[name][key];
            let mut kinds: Vec<String> = Vec::new();
            for column in set
                .columns()
                .iter()
                .filter(|column| column.contains("_mean_"))
            {
                kinds.push(kind(column).to_owned());
            }
            let rows = set.over_time(&samples, DESCRIPTOR_RATE);
            for (frame, theirs) in [0, 30, 60]
                .into_iter()
                .zip(theirs["frames"].as_array().unwrap())
            {
                for (row, theirs) in floats(theirs).into_iter().enumerate() {
                    let Some(bound) = bound(name, &kinds[row], theirs) else {
                        continue;
                    };
                    let mine = rows[[row, frame]];
                    compared += 1;
                    if (mine - theirs).abs() > bound {
                        wrong.push(format!(
                            "{name} {key} {} row {row} frame {frame}: {mine} {theirs}",
                            kinds[row]
                        ));
                    }
                }
            }
            let mine = set.of(&samples, DESCRIPTOR_RATE);
            let theirs = floats(&theirs["numbers"]);
            assert_eq!(mine.len(), theirs.len());
            for ((mine, theirs), column) in mine.iter().zip(&theirs).zip(set.columns()) {
                // Skewness and kurtosis of pitch classes magnify differences by cubes and fourth powers.
                let is_shape = column.contains("_skew_") || column.contains("_kurtosis_");
                let constant_q = matches!(kind(&column), "chroma_cqt" | "chroma_cens" | "tonnetz");
                let Some(least) =
                    bound(name, kind(&column), *theirs).filter(|_| !(is_shape && constant_q))
                else {
                    continue;
                };
                compared += 1;
                if (f64::from(*mine) - theirs).abs() > least.max(1e-3 * theirs.abs().max(1.0)) {
                    wrong.push(format!("{name} {column}: {mine} {theirs}"));
                }
            }
        }
    }
    assert!(
        wrong.is_empty() && compared > 5000,
        "{} of {compared}: {:#?}",
        wrong.len(),
        &wrong[..wrong.len().min(12)]
    );
}
