//! OpenL3 mel128 in training: its tensors by name, and a step. The network itself is in
//! [`networks`](super::networks).

mod train;
mod weights;

pub use train::{OpenL3Train, Parameter};
pub use weights::{ConvWeights, NormWeights, OPENL3_WIDTHS, OpenL3Weights, WeightsError};

/// Mel bands of a window.
pub const MELS: usize = 128;
/// Frames of a window.
pub const FRAMES: usize = 199;
/// Values of a window's mel spectrogram.
pub const WINDOW: usize = MELS * FRAMES;
