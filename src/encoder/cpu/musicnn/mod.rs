//! MusiCNN on a CPU.
//!
//! Every convolution is followed by ReLU, then batch norm (in this order).

mod fast;
mod fft;
mod front;
mod pack;

pub use fast::FastMusicnn;

use super::conv::{BlockTensors, NormNumbers};

const EPSILON: f64 = 1e-3;

#[derive(Debug)]
pub struct MusicnnTensors {
    pub input: NormNumbers,
    /// Timbral (7 frames × 38 or 67 bands), temporal (128, 64 or 32 frames × 1 band), then over all channels (7 frames).
    pub convolutions: Vec<BlockTensors>,
    /// The batch norm of maximum and mean of each channel.
    pub pools: NormNumbers,
    pub dense: (Vec<f32>, Vec<f32>),
    pub penultimate: NormNumbers,
    pub tags: (Vec<f32>, Vec<f32>),
}

pub const BANDS: usize = 96;
pub const FRAMES: usize = 187;
/// Channels of the five front convolutions together.
pub const FRONT: usize = 2 * 204 + 3 * 51;
pub const MIDDLE: usize = 64;
/// Channels that are pooled over time.
pub const JOINED: usize = FRONT + 3 * MIDDLE;
/// Length of the penultimate layer: the embedding.
pub const PENULTIMATE: usize = 200;
pub const TAGS: usize = 50;
/// Numbers of a patch's result: the embedding, then the tags before the sigmoid.
pub const RESULT: usize = PENULTIMATE + TAGS;
