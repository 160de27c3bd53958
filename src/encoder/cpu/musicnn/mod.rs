//! MusiCNN on a CPU.
//!
//! Every convolution is followed by ReLU, then batch norm (in this order).

mod fast;
mod fft;
mod front;
mod pack;

pub use fast::FastMusicnn;

use super::conv::{BlockTensors, NormNumbers};

/// Epsilon of every batch norm.
const EPSILON: f64 = 1e-3;

/// Its tensors.
#[derive(Debug)]
pub struct MusicnnTensors {
    /// The batch norm of the input.
    pub input: NormNumbers,
    /// Timbral (7 frames × 38 or 67 bands), temporal (128, 64 or 32 frames × 1 band), then over all channels (7 frames).
    pub convolutions: Vec<BlockTensors>,
    /// The batch norm of maximum and mean of each channel.
    pub pools: NormNumbers,
    /// Weight and bias of the penultimate layer.
    pub dense: (Vec<f32>, Vec<f32>),
    /// Its batch norm.
    pub penultimate: NormNumbers,
    /// Weight and bias of the layer of the tags.
    pub tags: (Vec<f32>, Vec<f32>),
}

/// Mel bands of a patch.
pub const BANDS: usize = 96;
/// Frames of a patch.
pub const FRAMES: usize = 187;
/// Channels of the five front convolutions together.
pub const FRONT: usize = 2 * 204 + 3 * 51;
/// Channels of each middle convolution.
pub const MIDDLE: usize = 64;
/// Channels that are pooled over time.
pub const JOINED: usize = FRONT + 3 * MIDDLE;
/// Length of the penultimate layer: the embedding.
pub const PENULTIMATE: usize = 200;
/// Number of tags.
pub const TAGS: usize = 50;
/// Numbers of a patch's result: the embedding, then the tags before the sigmoid.
pub const RESULT: usize = PENULTIMATE + TAGS;
