//! Windows per second of the OpenL3 network on this CPU.
//!
//! `cargo bench --bench encoder` prints a table. `--weights FILE.safetensors` (torchopenl3's names)
//! replaces the seeded random weights, `--threads N` sets the threads (default 2). `--serve` reads commands from standard input, for interleaved runs by
//! `research/speed/bench_encoder.py`: `time BATCH REPEATS` prints the median seconds of a batch,
//! `embed FILE N` prints the embeddings of N windows of raw f32 in FILE.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command-line program"
)]

use std::io::{BufRead, Write};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use voisin_encoder::openl3::{OPENL3_WIDTHS, OpenL3Weights, WINDOW};
use voisin_kernels::isa;
use voisin_networks::conv::FastChain;

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

fn load(path: &str) -> Result<OpenL3Weights> {
    let bytes = std::fs::read(path).with_context(|| format!("reading {path}"))?;
    let tensors = safetensors::SafeTensors::deserialize(&bytes)?;
    let weights = OpenL3Weights::from_named(|name| {
        let tensor = tensors
            .tensor(name)
            .ok()
            .filter(|t| t.dtype() == safetensors::Dtype::F32)?;
        Some(
            tensor
                .data()
                .chunks_exact(4)
                .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
                .collect(),
        )
    })?;
    Ok(weights)
}

/// Windows of decibels that differ from each other.
fn mels(n: usize) -> Vec<f32> {
    (0..n * WINDOW)
        .map(|i| -0.08 * ((i as u64).wrapping_mul(2_654_435_761) >> 7 & 1023) as f32)
        .collect()
}

fn median(mut seconds: Vec<f64>) -> f64 {
    seconds.sort_by(f64::total_cmp);
    seconds[seconds.len() / 2]
}

fn time(net: &FastChain, batch: usize, repeats: usize) -> f64 {
    let mels = mels(batch);
    let mut out = vec![0.0; batch * net.dimension()];
    net.forward(&mels, batch, &mut out);
    median(
        (0..repeats)
            .map(|_| {
                let start = Instant::now();
                net.forward(&mels, batch, &mut out);
                start.elapsed().as_secs_f64()
            })
            .collect(),
    )
}

fn serve(net: &FastChain) -> Result<()> {
    println!("ready {}", net.isa().name());
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["time", batch, repeats] => println!("{}", time(net, batch.parse()?, repeats.parse()?)),
            ["embed", file, n] => {
                let n: usize = n.parse()?;
                let bytes = std::fs::read(file)?;
                let mels: Vec<f32> = bytes
                    .chunks_exact(4)
                    .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
                    .collect();
                let mut out = vec![0.0; n * net.dimension()];
                net.forward(&mels, n, &mut out);
                let words: Vec<String> = out.iter().map(f32::to_string).collect();
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
    let weights = match &options.weights {
        Some(path) => load(path)?,
        None => OpenL3Weights::seeded(1, &OPENL3_WIDTHS),
    };
    let isa = isa()?;
    let net = weights.compile(isa);
    if options.serve {
        return serve(&net);
    }
    println!(
        "OpenL3 mel128/512, {}, {} threads",
        net.isa(),
        options.threads
    );
    println!("{:>6} {:>12}", "batch", "windows/s");
    for (batch, repeats) in [(1, 30), (8, 6), (32, 3)] {
        println!(
            "{batch:>6} {:>12.1}",
            batch as f64 / time(&net, batch, repeats)
        );
    }
    Ok(())
}
