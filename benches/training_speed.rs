#![allow(clippy::print_stdout, missing_docs, reason = "an example that prints")]
#![allow(clippy::unwrap_used, reason = "shared with the tests")]
//! A whole training step of OpenL3 by voisin's kernels against one of Candle's own operations.

#[path = "../tests/parts/conv/candle.rs"]
#[allow(dead_code, reason = "the tests use the rest")]
mod candle;

use candle::{Vars, mels};
use candle_core::{Device, Result, Tensor};
use voisin_kernels::Precision;
use voisin_kernels::conv::{OPENL3_WIDTHS, OpenL3Train, OpenL3Weights, WINDOW};

fn main() -> Result<()> {
    let weights = OpenL3Weights::seeded(61, &OPENL3_WIDTHS);
    let isa = voisin_kernels::isa().map_err(candle_core::Error::wrap)?;
    let n = 4;
    let mels = mels(18, n * WINDOW);
    let vars = Vars::new(&weights);
    let x = Tensor::from_slice(&mels[..WINDOW], (1, 1, 128, 199), &Device::Cpu)?;
    let mut trains = [Precision::F32, Precision::Bf16]
        .map(|p| OpenL3Train::with_input(&weights, 128, 199, isa, p, p));
    let d = vec![0.01; n * 512];
    let mut ratios = Vec::new();
    for _ in 0..3 {
        let start = std::time::Instant::now();
        vars.forward(&x, true)?.sum_all()?.backward()?;
        let candle = start.elapsed().as_secs_f64();
        let ours = trains.each_mut().map(|train| {
            let start = std::time::Instant::now();
            train.forward(&mels, n);
            train.backward(&d);
            start.elapsed().as_secs_f64() / n as f64
        });
        println!(
            "seconds a window: Candle {candle:.3}, f32 {:.4}, bf16 {:.4}",
            ours[0], ours[1]
        );
        ratios.push(candle / ours[0]);
    }
    ratios.sort_by(f64::total_cmp);
    println!("f32: {:.1} × Candle (median)", ratios[1]);
    Ok(())
}
