//! MusiCNN: a reference in Candle, and a fast path of its own for CPUs.
//!
//! Pons, Nieto, Prockup, Schmidt, Ehmann, Serra, "End-to-end learning for music audio tagging at scale", ISMIR
//! 2018; Pons, Serra, "musicnn: Pre-trained convolutional neural networks for music audio tagging", 2019.
//!
//! Every convolution is followed by ReLU, then batch norm (in this order).

mod buffer;
mod fast;
mod fft;
mod front;
mod pack;
mod reference;
mod rows;

pub(crate) use fast::FastMusicnn;
pub(crate) use reference::Musicnn;

use super::Weights;

/// Epsilon of every batch norm.
pub(crate) const EPSILON: f64 = 1e-3;

/// A convolution's name in the weights file and the shape of its weight.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Convolution {
    pub(crate) name: &'static str,
    pub(crate) shape: &'static [usize],
}

/// Timbral (7 frames × 38 or 67 bands), temporal (128, 64 or 32 frames × 1 band), then over all channels
/// (7 frames).
pub(crate) const CONVOLUTIONS: [Convolution; 8] = [
    Convolution { name: "conv2d", shape: &[204, 1, 7, 38] },
    Convolution { name: "conv2d_1", shape: &[204, 1, 7, 67] },
    Convolution { name: "conv2d_2", shape: &[51, 1, 128, 1] },
    Convolution { name: "conv2d_3", shape: &[51, 1, 64, 1] },
    Convolution { name: "conv2d_4", shape: &[51, 1, 32, 1] },
    Convolution { name: "conv2d_5", shape: &[64, 561, 7] },
    Convolution { name: "conv2d_6", shape: &[64, 64, 7] },
    Convolution { name: "conv2d_7", shape: &[64, 64, 7] },
];

/// Whether the temporal kernels of these weights have no axis for the bands: they hear the mean of the bands, as in Won,
/// Ferraro, Bogdanov, Serra, "Evaluation of CNN-based automatic music tagging models", SMC 2020.
pub(crate) fn hears_mean(weights: &Weights) -> bool {
    weights.tensor(&format!("{}.weight", CONVOLUTIONS[2].name)).is_some_and(|tensor| tensor.shape.len() == 3)
}

/// [`CONVOLUTIONS`], or those of a network whose temporal kernels hear the mean of the bands.
pub(crate) fn convolutions(hears_mean: bool) -> [Convolution; 8] {
    let mut convolutions = CONVOLUTIONS;
    if hears_mean {
        let shapes: [&[usize]; 3] = [&[51, 1, 129], &[51, 1, 65], &[51, 1, 33]];
        for (layer, shape) in convolutions[2..5].iter_mut().zip(shapes) {
            layer.shape = shape;
        }
    }
    convolutions
}

/// Name, outputs and inputs of the dense layers.
pub(crate) const DENSE: [(&str, usize, usize); 2] =
    [("dense", PENULTIMATE, 2 * JOINED), ("dense_1", TAGS, PENULTIMATE)];

/// Name and channels of the batch norms: of the input, of each convolution in turn, of the pools, of the
/// penultimate layer.
pub(crate) const NORMS: [(&str, usize); 11] = [
    ("batch_normalization", 1),
    ("batch_normalization_1", 204),
    ("batch_normalization_2", 204),
    ("batch_normalization_3", 51),
    ("batch_normalization_4", 51),
    ("batch_normalization_5", 51),
    ("batch_normalization_6", 64),
    ("batch_normalization_7", 64),
    ("batch_normalization_8", 64),
    ("batch_normalization_9", 2 * JOINED),
    ("batch_normalization_10", PENULTIMATE),
];

/// Mel bands of a patch.
pub(crate) const BANDS: usize = 96;
/// Frames of a patch.
pub(crate) const FRAMES: usize = 187;
/// Channels of the five front convolutions together.
pub(crate) const FRONT: usize = 2 * 204 + 3 * 51;
/// Channels of each middle convolution.
pub(crate) const MIDDLE: usize = 64;
/// Channels that are pooled over time.
pub(crate) const JOINED: usize = FRONT + 3 * MIDDLE;
/// Length of the penultimate layer: the embedding.
pub(crate) const PENULTIMATE: usize = 200;
/// Number of tags.
pub(crate) const TAGS: usize = 50;

/// What the network gives for each patch.
#[derive(Debug, Clone, Default)]
pub(crate) struct Outputs {
    /// `[n, 200]`
    pub(crate) penultimate: Vec<f32>,
    /// `[n, 50]`, before the sigmoid
    pub(crate) logits: Vec<f32>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoder::conv::Isa;
    use crate::encoder::weights::WeightTensor;
    use crate::encoder::weights::uniform;
    use crate::encoder::{Architecture, ModelRef};

    /// Patches like spectrograms: values in [0, 7), smooth over neither axis; the last one silent.
    fn patches(n: usize) -> Vec<f32> {
        let mut mels: Vec<f32> =
            uniform("patches", 0, n * BANDS * FRAMES).map(|u| (7.0 * u * u) as f32).collect();
        mels[(n - 1) * BANDS * FRAMES..].fill(0.0);
        mels
    }

    fn reference(weights: &Weights, mels: &[f32], n: usize) -> Outputs {
        let device = candle_core::Device::Cpu;
        let variables = weights.var_builder(&device, candle_core::DType::F32).unwrap();
        let network = Musicnn::new(&variables, hears_mean(weights)).unwrap();
        let input = candle_core::Tensor::from_slice(mels, (n, 1, BANDS, FRAMES), &device).unwrap();
        let (penultimate, logits) = network.forward(&input).unwrap();
        let values = |t: candle_core::Tensor| t.flatten_all().unwrap().to_vec1().unwrap();
        Outputs { penultimate: values(penultimate), logits: values(logits) }
    }

    fn error(found: &[f32], expected: &[f32]) -> f32 {
        assert_eq!(found.len(), expected.len());
        let scale = expected.iter().fold(0.0_f32, |m, x| m.max(x.abs()));
        found.iter().zip(expected).fold(0.0_f32, |m, (a, b)| m.max((a - b).abs())) / scale
    }

    fn compare(weights: &Weights) {
        let n = 3;
        let mels = patches(n);
        let expected = reference(weights, &mels, n);
        for isa in Isa::ALL.into_iter().filter(|isa| isa.is_available()) {
            let found = FastMusicnn::with_isa(weights, isa).unwrap().forward(&mels, n);
            for i in 0..n {
                let rows = |v: &[f32], width: usize| v[i * width..(i + 1) * width].to_vec();
                let e =
                    error(&rows(&found.penultimate, PENULTIMATE), &rows(&expected.penultimate, PENULTIMATE));
                assert!(e < 2e-5, "{isa}: penultimate layer of patch {i}: {e}");
                let e = error(&rows(&found.logits, TAGS), &rows(&expected.logits, TAGS));
                assert!(e < 2e-5, "{isa}: logits of patch {i}: {e}");
                println!("{} {isa} patch {i}: {e:e}", weights.origin());
            }
        }
    }

    #[test]
    fn fast_equals_candle_with_every_filter_alive() {
        compare(&Weights::random(Architecture::Musicnn, 5));
    }

    #[test]
    fn fast_equals_candle_with_the_shipped_weights() {
        compare(&ModelRef::default().find().unwrap().weights);
    }

    #[test]
    fn fast_equals_candle_with_temporal_kernels_that_hear_the_mean_of_the_bands() {
        let random = Weights::random(Architecture::Musicnn, 7);
        let mut tensors: std::collections::BTreeMap<_, _> =
            random.iter().map(|(name, tensor)| (name.to_owned(), tensor.clone())).collect();
        for layer in &convolutions(true)[2..5] {
            let values = uniform(layer.name, 7, layer.shape.iter().product());
            let values = values.map(|u| (u - 0.5) as f32 / 4.0).collect();
            let shape = layer.shape.to_vec();
            tensors.insert(format!("{}.weight", layer.name), WeightTensor { shape, values });
        }
        let weights = Weights::new("hears the mean", tensors);
        weights.check(Architecture::Musicnn).unwrap();
        assert!(hears_mean(&weights) && !hears_mean(&random));
        compare(&weights);
    }

    /// Filters whose kernels are zero, negative batch-norm factors, and both at once.
    #[test]
    fn fast_equals_candle_with_some_filters_constant() {
        let random = Weights::random(Architecture::Musicnn, 6);
        let mut tensors: std::collections::BTreeMap<_, _> =
            random.iter().map(|(name, tensor)| (name.to_owned(), tensor.clone())).collect();
        for (i, layer) in CONVOLUTIONS.iter().enumerate() {
            let taps: usize = layer.shape[1..].iter().product();
            let kernel = &mut tensors.get_mut(&format!("{}.weight", layer.name)).unwrap().values;
            for filter in (0..layer.shape[0]).filter(|f| f % (i + 2) != 0) {
                kernel[filter * taps..(filter + 1) * taps].fill(0.0);
            }
            for gamma in
                tensors.get_mut(&format!("{}.weight", NORMS[i + 1].0)).unwrap().values.iter_mut().step_by(3)
            {
                *gamma = -*gamma;
            }
        }
        compare(&Weights::new("half-dead weights", tensors));
    }
}
