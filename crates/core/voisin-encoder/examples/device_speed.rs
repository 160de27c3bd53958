//! Speed of networks, training steps and brute force on a device.
//!
//!     cargo run --release -p voisin-encoder --features cuda --example device_speed -- [DEVICE] [VECTORS...]
//!
//! DEVICE: cpu, cuda or cuda:N (default: auto). VECTORS: only the brute force, with this many vectors. Times
//! include copying queries and results; the queries of a graph are the vectors themselves.
//!
//!     … --example device_speed -- DEVICE MODEL.json BATCH
//!
//! encodes a batch of synthetic windows for each byte of standard input, and writes a byte:
//! `research/speed/clap_speed.py` times it beside another program.

#![allow(clippy::print_stdout, reason = "a command-line program")]

use std::io::{Read, Write};
use std::path::PathBuf;
use std::time::Instant;

use ndarray::{Array2, s};
use rayon::prelude::*;
use voisin_base::random::Random;
use voisin_encoder::openl3::{OpenL3Train, OpenL3TrainOnDevice, OpenL3Weights, WINDOW};
use voisin_encoder::{
    Device, DeviceChoice, Encoder, EncoderError, EncoderOptions, ModelRef, Precision,
    VectorsOnDevice,
};

/// Median seconds of a few repetitions after a warm-up.
fn seconds(
    repeats: usize,
    mut run: impl FnMut() -> Result<(), EncoderError>,
) -> Result<f64, EncoderError> {
    // The first run compiles kernels and allocates, so it is not timed.
    run()?;
    let mut times = Vec::with_capacity(repeats);
    for _ in 0..repeats {
        let start = Instant::now();
        run()?;
        times.push(start.elapsed().as_secs_f64());
    }
    times.sort_by(f64::total_cmp);
    Ok(times[repeats / 2])
}

fn networks(device: &Device) -> Result<(), EncoderError> {
    println!(
        "\nnetworks, windows/s\n{:24} {:>5} {:>6} {:>10}",
        "model", "type", "batch", "windows/s"
    );
    for name in ["voisin-3", "musicnn-msd", "openl3 (random)"] {
        for precision in [Precision::F32, Precision::Bf16] {
            for batch in [1, 16, 64, 128, 512] {
                let options = EncoderOptions {
                    precision,
                    batch: Some(batch),
                    ..EncoderOptions::default()
                };
                // Speed does not depend on the weights, and OpenL3's are not shipped.
                let encoder = if name.contains("random") {
                    Encoder::random_with(voisin_encoder::Architecture::OpenL3, 1, device, &options)?
                } else {
                    Encoder::load_with(&ModelRef::Name(name.to_owned()), device, &options)?
                };
                let cells = encoder.manifest().front_end.cells();
                let mut random = Random::stream(1, 1);
                let mels: Vec<f32> = (0..batch * cells).map(|_| random.normal() as f32).collect();
                match seconds(5, || encoder.encode(&mels, batch).map(drop)) {
                    Ok(time) => {
                        println!(
                            "{name:24} {precision:>5?} {batch:6} {:10.0}",
                            batch as f64 / time
                        );
                    }
                    // Out of memory at a large batch is a result, too.
                    Err(error) => println!("{name:24} {precision:>5?} {batch:6} {error}"),
                }
            }
        }
    }
    Ok(())
}

/// A batch for each byte of standard input.
fn serve(model: PathBuf, batch: usize, device: &Device) -> Result<(), EncoderError> {
    let options = EncoderOptions {
        batch: Some(batch),
        ..EncoderOptions::default()
    };
    let encoder = Encoder::load_with(&ModelRef::Manifest(model), device, &options)?;
    let cells = encoder.manifest().front_end.cells();
    let mut random = Random::stream(1, 1);
    let mels: Vec<f32> = (0..batch * cells).map(|_| random.normal() as f32).collect();
    let mut input = std::io::stdin();
    let mut byte = [0];
    while input.read_exact(&mut byte).is_ok() {
        encoder.encode(&mels, batch)?;
        let mut output = std::io::stdout();
        // The reader closed its end.
        if output
            .write_all(b"x")
            .and_then(|()| output.flush())
            .is_err()
        {
            break;
        }
    }
    Ok(())
}

fn training(device: &Device) -> Result<(), EncoderError> {
    println!(
        "\ntraining steps of voisin-3's shape, windows/s\n{:>5} {:>6} {:>10}",
        "type", "batch", "windows/s"
    );
    let weights = OpenL3Weights::seeded(5, &[16, 16, 32, 32, 64, 64, 128, 512]);
    for precision in [Precision::F32, Precision::Bf16] {
        for batch in [32, 128, 512] {
            let mut random = Random::stream(1, 1);
            let mels: Vec<f32> = (0..batch * WINDOW)
                .map(|_| 20.0 * random.normal() as f32 - 40.0)
                .collect();
            let gradient: Vec<f32> = (0..batch * 512).map(|_| random.normal() as f32).collect();
            let time = if device.is_gpu() {
                let mut net = OpenL3TrainOnDevice::new(&weights, device, precision);
                seconds(3, || {
                    net.forward(&mels, batch)?;
                    net.backward(&gradient)
                })
            } else {
                let mut net =
                    OpenL3Train::new(&weights, voisin_kernels::isa()?, precision, precision);
                seconds(3, || {
                    net.forward(&mels, batch);
                    net.backward(&gradient);
                    Ok(())
                })
            };
            match time {
                Ok(time) => println!("{precision:>5?} {batch:6} {:10.0}", batch as f64 / time),
                Err(error) => println!("{precision:>5?} {batch:6} {error}"),
            }
        }
    }
    Ok(())
}

/// Unit vectors in clusters.
fn vectors(n: usize, dimension: usize) -> Array2<f32> {
    let mut random = Random::stream(2, 1);
    let centres = Array2::from_shape_simple_fn((1000, dimension), || random.normal() as f32);
    let mut vectors = vec![0f32; n * dimension];
    vectors
        .par_chunks_mut(dimension)
        .enumerate()
        .for_each(|(row, vector)| {
            // A random stream per row, so that the vectors do not depend on the number of threads.
            let mut random = Random::stream(3, row as u64);
            let centre = centres.row(row * 7919 % 1000);
            vector
                .iter_mut()
                .zip(centre)
                .for_each(|(x, c)| *x = c + random.normal() as f32);
            let length = vector.iter().map(|x| x * x).sum::<f32>().sqrt();
            vector.iter_mut().for_each(|x| *x /= length);
        });
    Array2::from_shape_vec((n, dimension), vectors).expect("n rows of this length")
}

fn brute_force(device: &Device, n: usize) -> Result<(), EncoderError> {
    for dimension in [256, 512] {
        let all = vectors(n, dimension);
        let start = Instant::now();
        let on_device = VectorsOnDevice::new(all.view(), device)?;
        println!(
            "{n} x {dimension}: on the device after {:.2} s",
            start.elapsed().as_secs_f64()
        );
        for k in [10, 100] {
            for batch in [1, 1024, 10_000] {
                let queries = all.slice(s![..batch.min(n), ..]);
                let time = seconds(3, || on_device.nearest(queries, k).map(drop))?;
                // Each exact result on the CPU takes a pass over all vectors, so there are fewer
                // for a larger set.
                let checked = (5_000_000 / n).clamp(1, 50).min(queries.nrows());
                let found = on_device.nearest(queries.slice(s![..checked, ..]), k)?;
                let right: usize = found
                    .rows
                    .outer_iter()
                    .zip(queries.outer_iter())
                    .map(|(rows, query)| {
                        let mut exact: Vec<(f32, u32)> =
                            all.dot(&query).into_iter().zip(0..).collect();
                        exact.sort_by(|a, b| b.0.total_cmp(&a.0));
                        rows.iter()
                            .filter(|id| exact[..k].iter().any(|(_, exact_id)| exact_id == *id))
                            .count()
                    })
                    .sum();
                println!(
                    "{n} x {dimension}, k = {k:3}, {batch:5} at once: {:9.0} queries/s, recall {:.4}",
                    queries.nrows() as f64 / time,
                    right as f64 / (found.rows.len() as f64)
                );
            }
            let time = seconds(3, || on_device.neighbours(k).map(drop))?;
            println!(
                "{n} x {dimension}, k = {k:3}, a graph of all: {:9.0} vectors/s",
                n as f64 / time
            );
        }
    }
    Ok(())
}

fn main() -> Result<(), EncoderError> {
    let mut args = std::env::args().skip(1);
    let choice: DeviceChoice = args
        .next()
        .map_or(Ok(DeviceChoice::Auto), |text| text.parse())?;
    let device = choice.resolve()?;
    let rest: Vec<String> = args.collect();
    let model = rest.first().map(PathBuf::from);
    if let Some(model) = model.filter(|model| model.extension().is_some_and(|e| e == "json")) {
        let batch = rest.get(1).and_then(|batch| batch.parse().ok());
        return serve(model, batch.unwrap_or(1), &device);
    }
    println!(
        "{}{}",
        device.description(),
        device
            .note()
            .map(|note| format!(" ({note})"))
            .unwrap_or_default()
    );
    let sizes: Vec<usize> = rest.iter().filter_map(|text| text.parse().ok()).collect();
    if sizes.is_empty() {
        networks(&device)?;
        training(&device)?;
    }
    println!("\nbrute force");
    for n in if sizes.is_empty() {
        vec![100_000, 1_000_000]
    } else {
        sizes
    } {
        brute_force(&device, n)?;
    }
    Ok(())
}
