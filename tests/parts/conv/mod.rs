//! OpenL3 in training and inference, and the faults of Candle that are worked around.

// A test may fail by a panic, and prints that it skips.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

mod traps;

use candle_core::{D, Device, Result, Tensor, Var};
use voisin_encoder::openl3::{OpenL3Train, OpenL3Weights, WINDOW};
use voisin_kernels::Isa;

/// Uniform numbers in [-1, 1), the same on every machine.
fn random(seed: u64, len: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    (0..len).map(|_| next()).collect()
}

/// Mel spectrograms in dB.
fn mels(seed: u64, len: usize) -> Vec<f32> {
    random(seed, len)
        .into_iter()
        .map(|x| 40.0 * (x - 1.0))
        .collect()
}

/// Largest difference over the largest magnitude.
fn relative_error(found: &[f32], expected: &[f32]) -> f32 {
    assert_eq!(found.len(), expected.len());
    let scale = expected.iter().fold(1e-20f32, |a, b| a.max(b.abs()));
    assert!(found.iter().all(|x| x.is_finite()));
    found
        .iter()
        .zip(expected)
        .fold(0f32, |a, (x, y)| a.max((x - y).abs()))
        / scale
}

fn cpu() -> voisin::Device {
    voisin::DeviceChoice::Cpu.resolve().unwrap()
}

fn isa() -> Isa {
    voisin_kernels::isa().unwrap()
}

fn flat(x: &Tensor) -> Result<Vec<f32>> {
    x.flatten_all()?.to_vec1()
}

/// The reason for the blocks' own pooling. Candle 0.11.1 multiplies the gradient by the mean of the mask of maxima
/// where it should divide by the number of maxima: one maximum among four gets 1/4, not 1. When this fails,
/// `max_pool2d` has been fixed and may be used.
#[test]
fn candle_takes_a_quarter_of_the_gradient_of_a_maximum_pool() -> Result<()> {
    let x = Var::from_slice(&[1.0f32, 2.0, 4.0, 3.0], (1, 1, 2, 2), &Device::Cpu)?;
    let gradient = |y: &Tensor| flat(y.backward()?.get(&x).expect("x is a variable"));
    assert_eq!(
        gradient(&x.max_pool2d(2)?.sum_all()?)?,
        [0.0, 0.0, 0.25, 0.0]
    );
    let by_hand = x.reshape((1, 1, 2, 2))?.max(D::Minus1)?.max(D::Minus1)?;
    assert_eq!(gradient(&by_hand.sum_all()?)?, [0.0, 0.0, 1.0, 0.0]);
    Ok(())
}

#[test]
fn results_are_the_same_bits_whatever_batch_and_threads() {
    let weights = OpenL3Weights::seeded(11, &[16, 32, 32, 64, 48, 128, 64, 64]);
    let net = weights.compile(isa());
    let n = 19;
    let mels = mels(8, n * WINDOW);
    let run = |threads: usize, batch: usize| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        let mut out = vec![0.0; n * net.dimension()];
        pool.install(|| {
            for start in (0..n).step_by(batch) {
                let count = batch.min(n - start);
                let to = start * net.dimension();
                net.forward(&mels[start * WINDOW..], count, &mut out[to..]);
            }
        });
        out
    };
    let expected = run(1, 1);
    for (threads, batch) in [(1, 19), (2, 1), (3, 5), (4, 19), (5, 8)] {
        assert_eq!(
            run(threads, batch),
            expected,
            "{threads} threads, batches of {batch}"
        );
    }
}

#[test]
fn training_is_the_same_bits_whatever_the_threads_and_learns() {
    let weights = OpenL3Weights::seeded(31, &[16, 16, 32, 32, 32, 32, 48, 32]);
    let h = 24;
    let w = 40;
    let n = 6;
    let mels = mels(12, n * h * w);
    let target = random(13, n * 32);
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        pool.install(|| {
            let mut train = OpenL3Train::with_input(&weights, h, w, &cpu());
            let mut losses = Vec::new();
            for _ in 0..8 {
                let out = train.forward(&mels, n).unwrap();
                let d: Vec<f32> = out.iter().zip(&target).map(|(a, b)| a - b).collect();
                losses.push(d.iter().map(|x| x * x).sum::<f32>());
                train.backward(&d).unwrap();
                let (parameters, gradients) = train.parameters_and_gradients();
                for (p, g) in parameters.iter_mut().zip(gradients) {
                    *p -= 1e-4 * g;
                }
            }
            (losses, train.weights())
        })
    };
    let (losses, after) = run(1);
    assert!(losses[7] < 0.7 * losses[0], "{losses:?}");
    assert_ne!(after.norms[3].running_mean, weights.norms[3].running_mean);
    let (again, after_again) = run(3);
    assert_eq!(losses, again);
    assert!(after == after_again);
}

#[test]
fn running_statistics_follow_batches_and_serve_inference() {
    // After many times the same batch the running statistics are that batch's, so inference gives nearly what training
    // gave (the running variance is the unbiased one).
    let weights = OpenL3Weights::seeded(41, &[16, 16, 16, 16, 32, 32, 32, 48]);
    let n = 3;
    let mels = mels(14, n * WINDOW);
    let mut train = OpenL3Train::new(&weights, &cpu());
    let mut expected = Vec::new();
    for _ in 0..100 {
        expected = train.forward(&mels, n).unwrap();
    }
    let net = train.weights().compile(isa());
    let mut out = vec![0.0; n * net.dimension()];
    net.forward(&mels, n, &mut out);
    let error = relative_error(&out, &expected);
    assert!(error < 3e-3, "{error:e}");
}

#[test]
fn weights_are_checked_by_name_and_length() {
    let weights = OpenL3Weights::seeded(1, &[16; 8]);
    let mut named = std::collections::BTreeMap::new();
    weights.for_each(|name, _, values| {
        named.insert(name.to_owned(), values.to_vec());
    });
    assert_eq!(named.len(), 16 + 32);
    assert!(OpenL3Weights::from_named(|name| named.get(name).cloned()).unwrap() == weights);
    let missing = OpenL3Weights::from_named(|name| {
        named
            .get(name)
            .filter(|_| name != "conv2d_4.weight")
            .cloned()
    });
    assert!(missing.unwrap_err().to_string().contains("conv2d_4.weight"));
    let short = OpenL3Weights::from_named(|name| {
        named.get(name).map(|v| {
            if name == "batch_normalization_8.bias" {
                v[1..].to_vec()
            } else {
                v.clone()
            }
        })
    });
    assert!(
        short
            .unwrap_err()
            .to_string()
            .contains("expected 16 values, found 15")
    );
}
