//! The interface of every network, on whatever device it runs.

use super::{EncoderError, Precision};

/// The results of a pass, window after window.
#[derive(Default)]
pub(super) struct Pass {
    pub(super) embeddings: Vec<f32>,
    /// Empty where the network has no tags.
    pub(super) logits: Vec<f32>,
}

/// A network on a device.
pub(super) trait Backend: Send + Sync {
    /// `mels` holds `n` whole windows.
    fn forward(&self, mels: &[f32], n: usize) -> Result<Pass, EncoderError>;

    /// Precision of its products.
    fn precision(&self) -> Precision {
        Precision::F32
    }
}
