//! Windows per second of the OpenL3 network on this CPU.
//!
//! `cargo bench --bench encoder` prints a table. `--weights FILE.safetensors` (torchopenl3's names)
//! replaces the seeded random weights, `--threads N` sets the threads (default 2). `--serve` reads commands from standard input, for interleaved runs by
//! `scripts/research/speed/bench_encoder.py`: `time BATCH REPEATS` prints the median seconds of a batch,
//! `embed FILE N` prints the embeddings of N windows of raw f32 in FILE.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command-line program"
)]

use std::io::{BufRead, Write};
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use voisin_encoder::openl3::WINDOW;
use voisin_encoder::{Architecture, DeviceChoice, Encoder, ModelRef};

struct Options {
    weights: Option<String>,
    threads: usize,
    serve: bool,
}

fn options() -> Result<Options> {
    let mut options = Options {
        weights: None,
        threads: 2,
        serve: false,
    };
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--weights" => options.weights = Some(args.next().context("--weights needs a file")?),
            "--threads" => {
                options.threads = args.next().context("--threads needs a number")?.parse()?;
            }
            "--serve" => options.serve = true,
            "--bench" => {}
            other => {
                bail!("unknown option {other}: expected --weights, --threads or --serve")
            }
        }
    }
    Ok(options)
}

/// Windows of decibels that differ from each other.
fn mels(n: usize) -> Vec<f32> {
    (0..n * WINDOW)
        .map(|i| -0.08 * ((i as u64).wrapping_mul(2_654_435_761) >> 7 & 1023) as f32)
        .collect()
}

fn time(encoder: &Encoder, batch: usize, repeats: usize) -> Result<f64> {
    let mels = mels(batch);
    encoder.encode(&mels, batch)?;
    let mut seconds = Vec::new();
    for _ in 0..repeats {
        let start = Instant::now();
        encoder.encode(&mels, batch)?;
        seconds.push(start.elapsed().as_secs_f64());
    }
    seconds.sort_by(f64::total_cmp);
    Ok(seconds[seconds.len() / 2])
}

fn serve(encoder: &Encoder) -> Result<()> {
    println!("ready {}", voisin_simd::isa()?.name());
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["time", batch, repeats] => {
                println!("{}", time(encoder, batch.parse()?, repeats.parse()?)?);
            }
            ["embed", file, n] => {
                let bytes = std::fs::read(file)?;
                let words = bytes.as_chunks().0.iter();
                let mels: Vec<f32> = words.map(|word| f32::from_le_bytes(*word)).collect();
                let found = encoder.encode(&mels, n.parse()?)?;
                let words: Vec<String> = found.iter().map(f32::to_string).collect();
                println!("{}", words.join(" "));
            }
            _ => bail!("expected `time BATCH REPEATS` or `embed FILE N`, found {line:?}"),
        }
        std::io::stdout().flush()?;
    }
    Ok(())
}

fn main() -> Result<()> {
    let options = options()?;
    rayon::ThreadPoolBuilder::new()
        .num_threads(options.threads)
        .build_global()?;
    let cpu = DeviceChoice::Cpu.resolve()?;
    let encoder = match &options.weights {
        Some(path) => {
            let weights = ModelRef::from(Path::new(path));
            Encoder::load(&weights, &cpu)?
        }
        None => Encoder::random(Architecture::OpenL3, 1, &cpu)?,
    };
    if options.serve {
        return serve(&encoder);
    }
    println!("OpenL3 mel128/512, {}", cpu.description());
    println!("{:>6} {:>12}", "batch", "windows/s");
    for (batch, repeats) in [(1, 30), (8, 6), (32, 3)] {
        let seconds = time(&encoder, batch, repeats)?;
        println!("{batch:>6} {:>12.1}", batch as f64 / seconds);
    }
    Ok(())
}
