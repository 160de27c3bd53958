#![allow(clippy::print_stdout, missing_docs, reason = "an example that prints")]
//! The error of bf16 products in the vectors of real tracks: `precision FOLDER [WEIGHTS] [LIMIT]`.
//!
//! OpenL3 embeds every audio file of the folder twice, 24 windows each: with f32 and with bf16
//! products. Printed: the cosine of the two pooled vectors (worst and median), of single windows,
//! and of the vectors relative to their common mean, which distinguish tracks. Without a weights
//! file the network is seeded random.

use std::path::PathBuf;

use voisin::{Embedder, WindowPlan};
use voisin_encoder::{Architecture, DeviceChoice, Encoder, EncoderOptions, Precision, Weights};

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| {
        a.iter()
            .zip(b)
            .map(|(x, y)| f64::from(*x) * f64::from(*y))
            .sum::<f64>()
    };
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

fn centred(vectors: &[Vec<f32>]) -> Vec<Vec<f32>> {
    let mean =
        |i: usize| vectors.iter().map(|v| f64::from(v[i])).sum::<f64>() / vectors.len() as f64;
    let means: Vec<f64> = (0..vectors.first().map_or(0, Vec::len)).map(mean).collect();
    vectors
        .iter()
        .map(|v| {
            v.iter()
                .zip(&means)
                .map(|(x, m)| (f64::from(*x) - m) as f32)
                .collect()
        })
        .collect()
}

fn report(name: &str, mut cosines: Vec<f64>) {
    cosines.sort_by(f64::total_cmp);
    println!(
        "{name:<28} worst {:.7}   median {:.7}",
        cosines[0],
        cosines[cosines.len() / 2]
    );
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args_os().skip(1);
    let folder = PathBuf::from(arguments.next().ok_or("expected a folder of audio files")?);
    let weights = match arguments.next() {
        Some(path) if path != "-" => {
            Weights::from_safetensors(&std::fs::read(&path)?, &path.to_string_lossy())?
        }
        _ => Weights::random(Architecture::OpenL3, 1),
    };
    let limit = arguments
        .next()
        .map_or(Ok(usize::MAX), |n| n.to_string_lossy().parse())?;
    let device = DeviceChoice::Cpu.resolve()?;
    let embedder = |precision| -> Result<Embedder, Box<dyn std::error::Error>> {
        let options = EncoderOptions {
            precision,
            ..EncoderOptions::default()
        };
        let manifest = Encoder::random(Architecture::OpenL3, 1, &device)?
            .manifest()
            .clone();
        Ok(Embedder::new(Encoder::new(
            manifest, &weights, &device, &options,
        )?)?)
    };
    let sides = [embedder(Precision::F32)?, embedder(Precision::Bf16)?];
    if sides[1].encoder().precision() != Precision::Bf16 {
        return Err("this processor has no bf16 products".into());
    }
    let mut files: Vec<PathBuf> = walkdir::WalkDir::new(folder)
        .into_iter()
        .filter_map(|entry| {
            Some(
                entry
                    .ok()
                    .filter(|entry| entry.file_type().is_file())?
                    .into_path(),
            )
        })
        .collect();
    files.sort();
    let mut windows = Vec::new();
    let mut full = Vec::new();
    let mut half = Vec::new();
    for file in files {
        let Ok(info) = voisin_audio::probe(&file) else {
            continue;
        };
        let Ok(a) = sides[0].embed(&file, &info, WindowPlan::Spread(24), None) else {
            continue;
        };
        let b = sides[1].embed(&file, &info, WindowPlan::Spread(24), None)?;
        for (a, b) in a.windows.rows().into_iter().zip(b.windows.rows()) {
            windows.push(cosine(&a.to_vec(), &b.to_vec()));
        }
        full.push(a.vector.into_vec());
        half.push(b.vector.into_vec());
        if full.len() == limit {
            break;
        }
    }
    if full.is_empty() {
        return Err("expected audio files in that folder, found none".into());
    }
    println!("{} tracks, {} windows", full.len(), windows.len());
    report("windows", windows);
    report(
        "pooled vectors",
        full.iter().zip(&half).map(|(a, b)| cosine(a, b)).collect(),
    );
    let full = centred(&full);
    let half = centred(&half);
    report(
        "pooled vectors about the mean",
        full.iter().zip(&half).map(|(a, b)| cosine(a, b)).collect(),
    );
    Ok(())
}
