//! MusiCNN on a CPU, and what is known of the network: shapes and the names of its tensors.
//!
//! Pons, Nieto, Prockup, Schmidt, Ehmann, Serra, "End-to-end learning for music audio tagging at
//! scale", ISMIR 2018; Pons, Serra, "musicnn: Pre-trained convolutional neural networks for music
//! audio tagging", 2019.
//!
//! Every convolution is followed by ReLU, then batch norm (in this order).
//!
//! For: the forward pass of this one network. Not for: finding its weights or making spectrograms.

mod fast;
mod fft;
mod front;
mod pack;

pub use fast::FastMusicnn;

/// Epsilon of every batch norm.
pub const EPSILON: f64 = 1e-3;

/// A convolution's name in the weights file and the shape of its weight.
#[derive(Debug, Clone, Copy)]
pub struct Convolution {
    /// Name of the tensor in the weights file.
    pub name: &'static str,
    /// Its dimensions.
    pub shape: &'static [usize],
}

/// Timbral (7 frames × 38 or 67 bands), temporal (128, 64 or 32 frames × 1 band), then over all
/// channels (7 frames).
pub const CONVOLUTIONS: [Convolution; 8] = [
    Convolution {
        name: "conv2d",
        shape: &[204, 1, 7, 38],
    },
    Convolution {
        name: "conv2d_1",
        shape: &[204, 1, 7, 67],
    },
    Convolution {
        name: "conv2d_2",
        shape: &[51, 1, 128, 1],
    },
    Convolution {
        name: "conv2d_3",
        shape: &[51, 1, 64, 1],
    },
    Convolution {
        name: "conv2d_4",
        shape: &[51, 1, 32, 1],
    },
    Convolution {
        name: "conv2d_5",
        shape: &[64, 561, 7],
    },
    Convolution {
        name: "conv2d_6",
        shape: &[64, 64, 7],
    },
    Convolution {
        name: "conv2d_7",
        shape: &[64, 64, 7],
    },
];

/// [`CONVOLUTIONS`], or those of a network whose temporal kernels hear the mean of the bands.
pub fn convolutions(hears_mean: bool) -> [Convolution; 8] {
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
pub const DENSE: [(&str, usize, usize); 2] = [
    ("dense", PENULTIMATE, 2 * JOINED),
    ("dense_1", TAGS, PENULTIMATE),
];

/// Name and channels of the batch norms: of the input, of each convolution in turn, of the pools,
/// of the penultimate layer.
pub const NORMS: [(&str, usize); 11] = [
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
pub const BANDS: usize = 96;
/// Frames of a patch.
pub const FRAMES: usize = 187;
/// Channels of the five front convolutions together.
pub(crate) const FRONT: usize = 2 * 204 + 3 * 51;
/// Channels of each middle convolution.
pub const MIDDLE: usize = 64;
/// Channels that are pooled over time.
pub(crate) const JOINED: usize = FRONT + 3 * MIDDLE;
/// Length of the penultimate layer: the embedding.
pub const PENULTIMATE: usize = 200;
/// Number of tags.
pub const TAGS: usize = 50;

/// The network's results for each patch.
#[derive(Debug, Clone, Default)]
pub struct Outputs {
    /// `[n, 200]`
    pub penultimate: Vec<f32>,
    /// `[n, 50]`, before the sigmoid
    pub logits: Vec<f32>,
}
