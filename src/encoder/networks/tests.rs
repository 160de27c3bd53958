//! Compiled chains against Candle's own layers.

use std::collections::BTreeMap;

use super::*;
use crate::weights::uniform;
use crate::{ModelRef, WeightTensor};
use voisin_simd::Isa;

/// Windows like spectrograms: values in [0, 7), smooth over neither axis; the last one silent.
fn spectrograms(architecture: Architecture, n: usize) -> Vec<f32> {
    let cells: usize = architecture.input_shape().iter().product();
    let mut mels: Vec<f32> = uniform("patches", 0, n * cells)
        .map(|u| (7.0 * u * u) as f32)
        .collect();
    mels[(n - 1) * cells..].fill(0.0);
    mels
}

fn tensors_of(weights: &Weights) -> BTreeMap<String, WeightTensor> {
    let tensors = weights.iter();
    tensors
        .map(|(name, tensor)| (name.to_owned(), tensor.clone()))
        .collect()
}

/// With negative factors of batch norm, which a maximum must not be swapped with.
fn turned(weights: &Weights) -> Weights {
    let mut tensors = tensors_of(weights);
    for (name, tensor) in &mut tensors {
        if name.starts_with("batch_normalization") && name.ends_with(".weight") {
            let factors = tensor.values.iter_mut().skip(1).step_by(3);
            factors.for_each(|x| *x = -*x);
        }
    }
    Weights::new("turned", tensors)
}

/// For each of `n` rows the largest difference, relative to the largest expected magnitude.
fn error(found: &[f32], expected: &[f32], n: usize) -> f32 {
    assert_eq!(found.len(), expected.len());
    let width = (expected.len() / n).max(1);
    let rows = found.chunks_exact(width).zip(expected.chunks_exact(width));
    let errors = rows.map(|(found, expected)| {
        let scale = expected.iter().fold(1e-6_f32, |most, x| most.max(x.abs()));
        let pairs = found.iter().zip(expected);
        pairs.fold(0.0_f32, |most, (a, b)| most.max((a - b).abs())) / scale
    });
    errors.fold(0.0, f32::max)
}

fn compare(architecture: Architecture, weights: &Weights) {
    let n = 2;
    let mels = spectrograms(architecture, n);
    let compute = |way| {
        let network = InCandle::new(architecture, weights, &Device::Cpu, way);
        network.unwrap().forward(&mels, n).unwrap()
    };
    let expected = compute(None);
    let all = Isa::available().into_iter();
    for isa in all.filter(|isa| *isa != Isa::PORTABLE) {
        let found = compute(Some(isa));
        let a = error(&found.embeddings, &expected.embeddings, n);
        let b = error(&found.logits, &expected.logits, n);
        assert!(
            a < 2e-5 && b < 2e-5,
            "{} {isa:?}: {a:e}, {b:e}",
            weights.origin()
        );
    }
}

#[test]
fn compiled_networks_compute_what_candles_layers_do() {
    for architecture in Architecture::ALL {
        compare(architecture, &turned(&Weights::random(architecture, 5)));
    }
    for name in ["voisin-3", "musicnn-msd"] {
        let found = ModelRef::Name(name.into()).find().unwrap();
        compare(found.manifest.architecture, &found.weights);
    }
}

/// Filters whose kernels are zero, negative batch-norm factors, and both at once.
#[test]
fn filters_of_musicnn_may_be_constant() {
    let mut tensors = tensors_of(&turned(&Weights::random(Architecture::Musicnn, 6)));
    let kernels = tensors
        .iter_mut()
        .filter(|(name, _)| name.starts_with("conv2d") && name.ends_with(".weight"));
    for (i, (_, kernel)) in kernels.enumerate() {
        let taps: usize = kernel.shape[1..].iter().product();
        let filters = kernel.values.chunks_exact_mut(taps).enumerate();
        filters
            .filter(|(filter, _)| filter % (i + 2) != 0)
            .for_each(|(_, filter)| filter.fill(0.0));
    }
    compare(
        Architecture::Musicnn,
        &Weights::new("half-dead weights", tensors),
    );
}
