//! Networks and training steps on a GPU against the CPU; reported as skipped where
//! there is none.
//!
//! `VOISIN_NEEDS_GPU=1` makes a missing GPU a failure.

#![cfg(feature = "cuda")]
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test: it fails, or says what it measured"
)]

use ndarray::{Array2, ArrayView2};
use voisin_base::random::Random;
use voisin_encoder::{
    Device, DeviceChoice, Encoder, ModelRef, Stack, StackShape, StackTrain, models,
};
use voisin_features::MelFrontEnd;

fn cpu() -> Device {
    DeviceChoice::Cpu.resolve().unwrap()
}

fn gpu() -> Option<Device> {
    match DeviceChoice::Cuda(0).resolve() {
        Ok(device) => Some(device),
        Err(error) => {
            assert!(std::env::var_os("VOISIN_NEEDS_GPU").is_none(), "{error}");
            println!("skipped: {error}");
            None
        }
    }
}

/// A decaying chord of a few partials, and noise.
fn sound(rate: u32, samples: usize, seed: u64) -> Vec<f32> {
    let mut random = Random::stream(seed, 3);
    let partials = [(); 6].map(|()| (60.0 + 2000.0 * random.f32(), random.f32()));
    let sample = |at: usize| {
        let time = at as f32 / rate as f32;
        let tone = |(hz, size): (f32, f32)| size * (std::f32::consts::TAU * hz * time).sin();
        let tones: f32 = partials.iter().copied().map(tone).sum();
        0.1 * tones * (-2.0 * time).exp() + 0.1 * random.normal() as f32
    };
    (0..samples).map(sample).collect()
}

/// `n` windows for each of an encoder's networks.
fn windows(encoder: &Encoder, n: usize, seed: u64) -> Vec<Vec<f32>> {
    encoder
        .front_ends()
        .zip(encoder.every())
        .map(|(config, every)| {
            let front_end = MelFrontEnd::new(config.clone()).unwrap();
            let mut scratch = front_end.scratch();
            let cells = config.cells();
            let mut mels = vec![0.0; n.div_ceil(every) * cells];
            for (i, mel) in mels.chunks_mut(cells).enumerate() {
                let samples = sound(
                    config.sample_rate,
                    config.window_samples,
                    seed + (i * every) as u64,
                );
                front_end.compute_into(&samples, &mut scratch, mel);
            }
            mels
        })
        .collect()
}

fn encode(encoder: &Encoder, mels: &[Vec<f32>], n: usize) -> (Array2<f32>, Array2<f32>) {
    let mels: Vec<&[f32]> = mels.iter().map(Vec::as_slice).collect();
    let tagged = encoder.encode_each(&mels, n).unwrap();
    (tagged.embeddings, tagged.logits)
}

/// The largest distance of two rows at unit length.
fn apart(a: ArrayView2<'_, f32>, b: ArrayView2<'_, f32>) -> f64 {
    assert_eq!(a.dim(), b.dim());
    let unit = |row: ndarray::ArrayView1<'_, f32>| {
        let row = row.mapv(f64::from);
        let length = row.dot(&row).sqrt();
        row / length.max(1e-30)
    };
    let distance = |(a, b): (ndarray::ArrayView1<'_, f32>, ndarray::ArrayView1<'_, f32>)| {
        let off = unit(a) - unit(b);
        off.dot(&off).sqrt()
    };
    a.rows()
        .into_iter()
        .zip(b.rows())
        .map(distance)
        .fold(0.0, f64::max)
}

/// Vectors within `2e-5` of the CPU's at unit length.
#[test]
fn every_model_gives_the_vectors_of_the_cpu() {
    let Some(gpu) = gpu() else { return };
    let n = 37;
    for model in models(None) {
        let name = ModelRef::Name(model.unwrap().manifest.name);
        let [on_cpu, on_gpu] = [&cpu(), &gpu].map(|device| Encoder::load(&name, device).unwrap());
        let mels = windows(&on_cpu, n, 11);
        let (expected, logits) = encode(&on_cpu, &mels, n);
        assert!(on_gpu.device().is_gpu());
        let (found, found_logits) = encode(&on_gpu, &mels, n);
        let vectors = apart(found.view(), expected.view());
        let off = (&found_logits - &logits)
            .iter()
            .fold(0f32, |most, x| most.max(x.abs()));
        println!("{name}: vectors {vectors:.1e} apart, logits {off:.1e}");
        assert!(vectors < 2e-5 && off < 4e-4, "{name}: {vectors} {off}");
    }
}

#[test]
fn networks_of_layers_train_as_on_the_cpu() {
    let Some(gpu) = gpu() else { return };
    let cnn = "conv 16 3x3 same, batch-norm, relu, pool 2x2, dropout 0.2, conv 16 3x2, relu, flatten, linear classes";
    let lstm = "frames, conv1 4 5 same, batch-norm, relu, pool1 2, lstm 3, linear classes";
    let of_text = |text: &str| text.split(", ").map(str::to_owned).collect::<Vec<_>>();
    let input = StackShape::Image(1, 19, 46);
    let n = 3;
    let classes = 4;
    for layers in [of_text(cnn), of_text(lstm)] {
        let stack = Stack::new(&layers, input, classes).unwrap();
        let mut random = Random::stream(9, 1);
        let mut numbers =
            |n: usize| -> Vec<f32> { (0..n).map(|_| random.normal() as f32).collect() };
        let x = numbers(n * input.cells());
        let d = numbers(n * classes);
        let pass = |device: Device| {
            let mut net = StackTrain::new(stack.clone(), 5, device);
            let mut found = Vec::new();
            for step in [3, 4] {
                found.push(net.forward(&x, n, step).unwrap());
                net.backward(&d).unwrap();
            }
            found.push(net.finished().unwrap().evaluate(&x, n).unwrap());
            found.extend(net.blocks().map(|(_, gradient, _)| gradient.to_vec()));
            found.extend(net.tensors().iter().map(|tensor| tensor.values.clone()));
            found
        };
        for (at, (found, expected)) in pass(gpu.clone()).iter().zip(&pass(cpu())).enumerate() {
            assert_eq!(found.len(), expected.len());
            let largest = expected.iter().fold(1e-2f32, |most, x| most.max(x.abs()));
            let off = found
                .iter()
                .zip(expected)
                .fold(0f32, |most, (a, b)| most.max((a - b).abs()));
            assert!(
                off < 5e-4 * largest,
                "{layers:?}, {at}: {off:e} of {largest:e}"
            );
        }
    }
}
