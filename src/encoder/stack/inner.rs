//! The inner layer of a classifier, whose outputs are vectors.

use super::layer::{StackLayer, StackShape};
use super::list::Stack;

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
