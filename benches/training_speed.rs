#![allow(clippy::print_stdout, missing_docs, reason = "an example that prints")]
//! A training step of OpenL3 with voisin's kernels, compared with one of Candle's operations.

use std::time::Instant;

use voisin_encoder::openl3::{
    OPENL3_WIDTHS, OpenL3Train, OpenL3TrainOnDevice, OpenL3Weights, WINDOW,
};
use voisin_encoder::{DeviceChoice, EncoderError};

fn main() -> Result<(), EncoderError> {
    let weights = OpenL3Weights::seeded(61, &OPENL3_WIDTHS);
    let isa = voisin_kernels::isa()?;
    let n = 4;
    // Decibels that differ from each other.
    let mels: Vec<f32> = (0..n * WINDOW)
        .map(|i| -0.08 * ((i as u64).wrapping_mul(2_654_435_761) >> 7 & 1023) as f32)
        .collect();
    let device = DeviceChoice::Cpu.resolve()?;
    let mut autograd = OpenL3TrainOnDevice::new(&weights, &device);
    let mut train = OpenL3Train::new(&weights, isa);
    let d = vec![0.01; n * 512];
    let mut ratios = Vec::new();
    for _ in 0..3 {
        let start = Instant::now();
        autograd.forward(&mels, 1)?;
        autograd.backward(&d[..512])?;
        let candle = start.elapsed().as_secs_f64();
        let start = Instant::now();
        train.forward(&mels, n);
        train.backward(&d);
        let ours = start.elapsed().as_secs_f64() / n as f64;
        println!("seconds a window: Candle {candle:.3}, voisin {ours:.4}");
        ratios.push(candle / ours);
    }
    ratios.sort_by(f64::total_cmp);
    println!("{:.1} × Candle (median)", ratios[1]);
    Ok(())
}
