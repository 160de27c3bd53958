//! A network of layers as a model: its last layer's output is a window's vector.

use super::super::backend::{Backend, Pass};
use super::super::{Architecture, Device, EncoderError, Weights};
use super::layer::{StackLayer, StackShape};
use super::list::{FirstWeights, Stack, StackTensor};
use super::train::{FinishedStack, kernels};

/// Most numbers of a vector that is a layer's direct output.
const LONGEST: usize = 2048;

impl Stack {
    /// The layers of a classifier up to its inner layer: the input of its last linear layer, or, if
    /// that is a flattened image or signal or has more than 2048 numbers, the channel means of the
    /// last image or signal.
    ///
    /// - returns: the texts of those layers, and the length of their output
    pub fn inner(&self) -> (Vec<String>, usize) {
        let layers: Vec<(StackLayer, StackShape)> = self.layers().collect();
        let last_linear = layers
            .iter()
            .rposition(|(layer, _)| matches!(layer, StackLayer::Linear(_)));
        let end = last_linear.unwrap_or(layers.len());
        // Dropout has no effect in inference, so the layer before it counts.
        let maker = layers[..end]
            .iter()
            .rev()
            .find(|(layer, _)| !matches!(layer, StackLayer::Dropout(_)));
        let is_flat = maker.is_some_and(|(layer, _)| *layer == StackLayer::Flatten);
        // A flattened image depends on positions in the window; the means of its channels do not.
        match layers.get(end) {
            Some((_, StackShape::Vector(numbers))) if *numbers <= LONGEST && !is_flat => {
                (self.written(end), *numbers)
            }
            _ => {
                let wide = |shape: &StackShape| !matches!(shape, StackShape::Vector(_));
                let end = layers.iter().rposition(|(_, from)| wide(from)).unwrap_or(0);
                let channels = match layers.get(end).map(|(_, from)| *from) {
                    Some(StackShape::Image(c, ..) | StackShape::Signal(c, _)) => c,
                    _ => 0,
                };
                let mut written = self.written(end);
                written.push("gap".to_owned());
                (written, channels)
            }
        }
    }
}

/// A network of layers that computes vectors.
pub(crate) struct LayersEncoder(FinishedStack);

impl LayersEncoder {
    /// - `shape`: bands and frames of a window
    /// - `dimension`: of the vector
    /// - `in_candle`: use Candle for all layers instead of voisin's kernels
    pub(crate) fn new(
        layers: &[String],
        [bands, frames]: [usize; 2],
        dimension: usize,
        weights: &Weights,
        device: &Device,
        in_candle: bool,
    ) -> Result<Self, EncoderError> {
        let stack = Stack::new(layers, StackShape::Image(1, bands, frames), dimension)?;
        let mut tensors: Vec<StackTensor> = stack.tensors(0, FirstWeights::Torch);
        for tensor in &mut tensors {
            // Weights come from a file: shapes and finite numbers are checked before they are used.
            let values = weights.values(&tensor.name, &tensor.shape, Architecture::Layers)?;
            if values.iter().any(|x| !x.is_finite()) {
                let reason = format!("tensor \"{}\" has values that are not finite", tensor.name);
                return Err(EncoderError::BadWeights {
                    origin: weights.origin().to_owned(),
                    reason,
                });
            }
            tensor.values = values.to_vec();
        }
        let isa = if in_candle { None } else { kernels(device) };
        Ok(Self(FinishedStack::new(
            stack,
            &tensors,
            device.clone(),
            isa,
        )?))
    }
}

impl Backend for LayersEncoder {
    fn forward(&self, mels: &[f32], n: usize) -> Result<Pass, EncoderError> {
        Ok(Pass {
            embeddings: self.0.evaluate(mels, n)?,
            logits: Vec::new(),
        })
    }
}
