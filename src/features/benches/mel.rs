//! Windows a second of the mel front ends, one thread.
//!
//! `cargo bench --bench mel` prints them; `scripts/research/speed/bench_mel.py` starts this with `--serve`
//! and compares it with librosa in interleaved runs: it writes lines `NAME COUNT`, and reads the
//! seconds that COUNT windows took.
#![allow(clippy::print_stdout, missing_docs)]

use std::hint::black_box;
use std::io::{BufRead, Write};
use std::time::Instant;

use voisin_features::{MelConfig, MelFrontEnd};

fn config(name: &str) -> MelConfig {
    match name {
        "original" => MelConfig::openl3(),
        "essentia" => MelConfig::essentia(),
        "musicnn" => MelConfig::musicnn(),
        _ => panic!("expected original, essentia or musicnn"),
    }
}

/// Ten windows of noise that falls off with frequency, as in music.
fn samples(config: &MelConfig) -> Vec<f32> {
    let mut state = 1u64;
    let mut slow = 0f32;
    (0..10 * config.window_samples)
        .map(|_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let x = (state >> 40) as f32 / (1 << 23) as f32 - 1.0;
            slow += 0.1 * (x - slow);
            slow
        })
        .collect()
}

fn seconds(name: &str, count: usize) -> f64 {
    let front_end = MelFrontEnd::new(config(name)).expect("a built-in configuration");
    let length = front_end.config().window_samples;
    let samples = samples(front_end.config());
    let mut scratch = front_end.scratch();
    let mut out = vec![0.0; front_end.config().cells()];
    front_end.compute_into(&samples, &mut scratch, &mut out);
    let start = Instant::now();
    for i in 0..count {
        front_end.compute_into(
            black_box(&samples[i % 9 * length..]),
            &mut scratch,
            &mut out,
        );
        black_box(&out);
    }
    start.elapsed().as_secs_f64()
}

fn main() {
    if std::env::args().any(|argument| argument == "--serve") {
        for line in std::io::stdin().lock().lines() {
            let line = line.expect("a line");
            let (name, count) = line.split_once(' ').expect("NAME COUNT");
            println!("{}", seconds(name, count.parse().expect("a number")));
            std::io::stdout().flush().expect("a reader");
        }
        return;
    }
    for name in ["original", "essentia", "musicnn"] {
        let mut runs: Vec<f64> = (0..7).map(|_| 500.0 / seconds(name, 500)).collect();
        runs.sort_by(f64::total_cmp);
        println!(
            "{name:9} {:7.0} windows/s (median of 7 runs, {:.0} to {:.0})",
            runs[3], runs[0], runs[6]
        );
    }
}
