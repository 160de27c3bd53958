//! Descriptors against librosa; `tests/data/lab/descriptors.py` made the values.

use std::f64::consts::TAU;

use serde_json::Value;
use voisin_features::{DESCRIPTOR_RATE, DescriptorSet};

const LENGTH: usize = 40_000;

/// `SplitMix64`, upper 24 bits, in [-1, 1).
fn noise(n: usize, mut seed: u64) -> Vec<f64> {
    let mut next = || {
        seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = seed;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        (z >> 40) as f64 / f64::from(1 << 23) - 1.0
    };
    (0..n).map(|_| next()).collect()
}

/// The signals of `tests/data/features/generate.py`.
fn signal(name: &str) -> Vec<f32> {
    let rate = f64::from(DESCRIPTOR_RATE);
    let n = LENGTH;
    let time = |i: usize| i as f64 / rate;
    let second = noise(n, 2);
    let sample = |i: usize| -> f64 {
        let t = time(i);
        match name {
            "chirp" => {
                0.5 * (TAU * (40.0 * t + 0.2 * rate * t * t * rate / n as f64)).sin()
                    + 1e-4 * second[i]
            }
            "tones" => {
                0.4 * (TAU * 220.0 * t).sin()
                    + 0.2 * (TAU * 1234.5 * t).sin()
                    + 0.01 * (TAU * 6000.0 * t).sin()
            }
            "click" if i == 2 * n / 3 => 0.5,
            "click" if i == 2 * n / 3 + 1 => -0.25,
            "decay" => {
                (-3.0 * t).exp()
                    * (1..40)
                        .map(|k| (TAU * 110.0 * f64::from(k) * t).sin() / f64::from(k * k))
                        .sum::<f64>()
            }
            _ => 0.0,
        }
    };
    if name == "noise" {
        return noise(n, 1).into_iter().map(|x| (0.25 * x) as f32).collect();
    }
    (0..n).map(|i| sample(i) as f32).collect()
}

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
fn descriptors_equal_librosa() {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/data/lab/descriptors.json"
    );
    let golden: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let mut compared = 0;
    let mut wrong = Vec::new();
    for name in ["noise", "chirp", "tones", "click", "decay"] {
        let samples = signal(name);
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
