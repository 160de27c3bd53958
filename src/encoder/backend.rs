//! The interface of every network, on any device.

use super::EncoderError;

/// The results of a pass, by window.
#[derive(Default)]
pub(super) struct Pass {
    pub(super) embeddings: Vec<f32>,
    /// Empty if the network has no tags.
    pub(super) logits: Vec<f32>,
}

pub(super) trait Backend: Send + Sync {
    /// `mels` holds `n` windows.
    fn forward(&self, mels: &[f32], n: usize) -> Result<Pass, EncoderError>;
}
