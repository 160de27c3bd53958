#![allow(clippy::print_stdout, missing_docs, reason = "an example that prints")]
//! Windows per second of the fast path and of Candle, interleaved: `encoder_speed [musicnn|openl3] [SECONDS]`.
//!
//! Both sides run on one thread, with the shipped MusiCNN weights and with random ones (every
//! filter alive); medians of the rounds. Time is that thread's CPU time on Linux, so that a busy
//! machine disturbs less. The release profile builds Candle for size: give it full optimisation for
//! a comparison, with `--config profile.release.package.candle-core.opt-level=3` (and the same for
//! `candle-nn`).

use std::time::{Duration, Instant};

use voisin_encoder::{Architecture, CpuPath, DeviceChoice, Encoder, EncoderOptions, ModelRef};

/// CPU seconds of this thread by `/proc`, else wall-clock time. The kernel updates a running
/// thread's time once a tick, and when it yields.
fn now(start: Instant) -> f64 {
    std::thread::yield_now();
    std::fs::read_to_string("/proc/thread-self/schedstat")
        .ok()
        .and_then(|text| text.split_whitespace().next()?.parse::<f64>().ok())
        .map_or_else(
            || start.elapsed().as_secs_f64(),
            |nanoseconds| nanoseconds / 1e9,
        )
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build()?;
    pool.install(|| measure().map_err(|error| error.to_string()))?;
    Ok(())
}

fn measure() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let architecture: Architecture = arguments.next().as_deref().unwrap_or("musicnn").parse()?;
    let seconds: f64 = arguments.next().as_deref().unwrap_or("20").parse()?;
    let device = DeviceChoice::Cpu.resolve()?;
    println!("{architecture}, {}", device.description());

    let slow = EncoderOptions {
        engine: CpuPath::Candle,
        batch: Some(8),
        ..EncoderOptions::default()
    };
    let mut sides = Vec::new();
    if architecture == Architecture::Musicnn {
        sides.push((
            "shipped, fast",
            Encoder::load(&ModelRef::Name("musicnn-msd".to_owned()), &device)?,
            32,
        ));
    }
    sides.push((
        "random, fast",
        Encoder::random(architecture, 1, &device)?,
        32,
    ));
    sides.push((
        "random, fast, batch of 1",
        Encoder::random(architecture, 1, &device)?,
        1,
    ));
    let random = Encoder::random(architecture, 1, &device)?;
    let weights = voisin_encoder::Weights::random(architecture, 1);
    sides.push((
        "random, Candle, batch of 8",
        Encoder::new(random.manifest().clone(), &weights, &device, &slow)?,
        8,
    ));

    let cells = random.manifest().front_end.cells();
    let mels: Vec<f32> = (0..32 * cells).map(|i| (i % 977) as f32 / 200.0).collect();
    let mut rates = vec![Vec::new(); sides.len()];
    for (_, encoder, batch) in &sides {
        encoder.encode(&mels[..batch * cells], *batch)?; // warm caches and scratch memory
    }
    let end = Instant::now() + Duration::from_secs_f64(seconds);
    while rates[0].len() < 3 || Instant::now() < end {
        for ((_, encoder, batch), rates) in sides.iter().zip(&mut rates) {
            let clock = Instant::now();
            let mut done = 0;
            let start = now(clock);
            while done == 0 || now(clock) - start < 0.1 {
                encoder.encode(&mels[..batch * cells], *batch)?;
                done += batch;
            }
            rates.push(done as f64 / (now(clock) - start));
        }
    }
    let medians: Vec<f64> = rates
        .iter_mut()
        .map(|rates| {
            rates.sort_by(f64::total_cmp);
            rates[rates.len() / 2]
        })
        .collect();
    let candle = medians[medians.len() - 1];
    for ((name, ..), median) in sides.iter().zip(&medians) {
        println!(
            "{name:28} {median:9.1} windows/s   {:6.1} × Candle",
            median / candle
        );
    }
    println!("{} rounds", rates[0].len());
    Ok(())
}
