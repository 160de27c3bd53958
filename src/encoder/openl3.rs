//! OpenL3 mel128 as a list of layers, to be trained.

use crate::networks::{OPENL3_CHANNELS, openl3_layer};
use crate::{StackTensor, WeightTensor, Weights};

/// Mel bands of a window.
pub const MELS: usize = 128;
/// Frames of a window.
pub const FRAMES: usize = 199;
/// Values of a window's mel spectrogram.
pub const WINDOW: usize = MELS * FRAMES;

/// Channels of OpenL3's eight convolutions.
pub const OPENL3_WIDTHS: [usize; 8] = {
    let [_, widths @ ..] = OPENL3_CHANNELS;
    widths
};

/// The layers of a network with these channels, for [`Stack::new`](crate::Stack::new).
pub fn layers(widths: &[usize; 8]) -> Vec<String> {
    let mut layers = vec!["batch-norm 0.001".to_owned()];
    for (i, width) in widths.iter().enumerate() {
        layers.push(format!("conv {width} 3x3 same"));
        if i < 7 {
            layers.extend(["batch-norm 0.001", "relu"].map(str::to_owned));
        }
        if matches!(i, 1 | 3 | 5) {
            layers.push("pool 2x2".to_owned());
        }
    }
    layers.push("max".to_owned());
    layers
}

/// Tensors of such layers under the names of weights files.
pub fn weights(tensors: &[StackTensor]) -> Weights {
    let mut convolutions = 0;
    let mut norms = 0;
    let mut named = Vec::new();
    for tensor in tensors {
        let part = tensor.name.rsplit('.').next().unwrap_or_default();
        // Each layer's first tensor is its weight; that of a convolution has four axes.
        let is_first = part == "weight";
        let is_filter = tensor.shape.len() == 4;
        convolutions += usize::from(is_first && is_filter);
        norms += usize::from(is_first && !is_filter);
        let is_norm = convolutions < norms;
        let layer = if is_norm {
            format!("batch_normalization_{norms}")
        } else {
            openl3_layer(convolutions - 1)
        };
        let tensor = WeightTensor {
            shape: tensor.shape.clone(),
            values: tensor.values.clone(),
        };
        named.push((format!("{layer}.{part}"), tensor));
    }
    Weights::new("a network in training", named.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Architecture, CpuPath, DeviceChoice, Encoder, Stack, StackShape, StackTrain};

    #[test]
    fn a_trained_network_is_an_encoder() {
        let cpu = DeviceChoice::Cpu.resolve().unwrap();
        let image = StackShape::Image(1, MELS, FRAMES);
        let layers = layers(&[16, 32, 16, 16, 32, 16, 16, 512]);
        let stack = Stack::new(&layers, image, 0).unwrap();
        let mut net = StackTrain::new(stack, 3, cpu.clone());
        let mels: Vec<f32> = (0..2 * WINDOW)
            .map(|i| -40.0 + 30.0 * (i as f32 * 0.37).sin() * (i as f32 * 1e-3).cos())
            .collect();
        // Moves the running statistics away from their start.
        for step in 0..3 {
            net.forward(&mels, 2, step).unwrap();
        }
        let expected = net.finished().unwrap().evaluate(&mels, 2).unwrap();
        let weights = weights(net.tensors());
        let openl3 = Architecture::OpenL3;
        let encoder = Encoder::with_weights(openl3, weights, &cpu, CpuPath::Fast).unwrap();
        let found = encoder.encode(&mels, 2).unwrap();
        let largest = expected.iter().fold(1e-6f32, |most, x| most.max(x.abs()));
        for (found, expected) in found.iter().zip(&expected) {
            assert!(
                (found - expected).abs() < 1e-4 * largest,
                "{found} {expected}"
            );
        }
    }
}
