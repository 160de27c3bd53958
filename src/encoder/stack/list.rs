//! A list of layers with matching shapes, and its initial tensors.

use super::layer::{Beginning, StackLayer, StackShape};
use crate::EncoderError;
use voisin_base::random::Random;

/// A network: layers with matching shapes, from an input to an output for each class.
#[derive(Debug, Clone, PartialEq)]
pub struct Stack {
    layers: Vec<StackLayer>,
    texts: Vec<String>,
    /// Inputs of the layers, and the output of the last.
    shapes: Vec<StackShape>,
    classes: usize,
}

/// A parameter or a running statistic of a network.
#[derive(Debug, Clone, PartialEq)]
pub struct StackTensor {
    pub name: String,
    pub shape: Vec<usize>,
    pub values: Vec<f32>,
}

impl StackTensor {
    /// Whether it is learnt; running statistics are not.
    pub fn is_parameter(&self) -> bool {
        !self.name.contains(".running_")
    }
}

impl Stack {
    /// Reads layers and checks that they fit each other.
    ///
    /// - `input`: one example
    ///
    /// # Errors
    /// The first layer that does not fit, with the shape of its input.
    pub fn new<T: AsRef<str>>(
        texts: &[T],
        input: StackShape,
        classes: usize,
    ) -> Result<Self, EncoderError> {
        let mut layers = Vec::new();
        let mut shapes = vec![input];
        let mut last = input;
        for (at, text) in texts.iter().enumerate() {
            let text = text.as_ref();
            let fitting = StackLayer::parse(text)
                .and_then(|layer| Some((layer, layer.shape(last, classes)?)));
            let Some((layer, to)) = fitting else {
                return Err(EncoderError::BadLayer {
                    number: at + 1,
                    layer: text.to_owned(),
                    problem: format!("does not fit what comes to it, {last}"),
                });
            };
            layers.push(layer);
            shapes.push(to);
            last = to;
        }
        Ok(Self {
            layers,
            texts: texts.iter().map(|text| text.as_ref().to_owned()).collect(),
            shapes,
            classes,
        })
    }

    pub fn input(&self) -> StackShape {
        self.shapes[0]
    }

    pub fn classes(&self) -> usize {
        self.classes
    }

    /// Layers, each with the shape of its input.
    pub(super) fn layers(&self) -> impl Iterator<Item = (StackLayer, StackShape)> {
        self.layers.iter().copied().zip(self.shapes.iter().copied())
    }

    /// Layers, their output shapes, and their numbers of parameters.
    pub fn summary(&self) -> Vec<(String, String, usize)> {
        let rows = self.layers().zip(&self.texts).zip(&self.shapes[1..]);
        rows.map(|(((layer, from), text), to)| {
            let learnt = layer.tensors(from, self.classes).into_iter();
            let learnt = learnt.filter(|plan| !plan.name.starts_with("running_"));
            (
                text.clone(),
                to.to_string(),
                learnt
                    .map(|plan| plan.shape.iter().product::<usize>())
                    .sum(),
            )
        })
        .collect()
    }

    /// The layers of a classifier up to its inner layer, and the length of that one's output: the
    /// input of the last linear layer, or, if that is a flattened image, whose numbers depend on their
    /// places, the means of its channels.
    pub fn inner(&self) -> (Vec<String>, usize) {
        let is_linear = |layer: &StackLayer| matches!(layer, StackLayer::Linear(_));
        let end = self.layers.iter().rposition(is_linear);
        let end = end.unwrap_or(self.layers.len());
        let written = |count: usize| self.texts[..count].to_vec();
        let flat = self.layers[..end]
            .iter()
            .rposition(|layer| *layer == StackLayer::Flatten);
        let Some((at, StackShape::Image(channels, ..))) = flat.map(|at| (at, self.shapes[at]))
        else {
            return (written(end), self.shapes[end].cells());
        };
        let mut layers = written(at);
        layers.push("gap".to_owned());
        (layers, channels)
    }

    /// Initial tensors of the network, the same for the same seed.
    pub fn tensors(&self, seed: u64) -> Vec<StackTensor> {
        let mut tensors = Vec::new();
        for (at, (layer, from)) in self.layers().enumerate() {
            for plan in layer.tensors(from, self.classes) {
                let count = plan.shape.iter().product();
                // A random stream per tensor, so that an appended layer changes no other.
                let mut random = Random::stream(seed, 0x57ac ^ ((tensors.len() as u64) << 16));
                let values = match plan.start {
                    Beginning::Constant(value) => vec![value; count],
                    Beginning::Uniform(most) => (0..count)
                        .map(|_| random.range(-most, most) as f32)
                        .collect(),
                };
                tensors.push(StackTensor {
                    name: format!("layers.{at}.{}", plan.name),
                    shape: plan.shape,
                    values,
                });
            }
        }
        tensors
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layer_that_does_not_fit_is_named_with_what_comes_to_it() {
        let image = StackShape::Image(1, 16, 20);
        let pools = ["pool 4x4", "pool 8x8", "flatten", "linear classes"];
        let error = Stack::new(&pools, image, 3).unwrap_err().to_string();
        let expected = "layer 2 \"pool 8x8\": does not fit what comes to it, 1 x 4 x 5";
        assert!(error.contains(expected), "{error}");
    }

    #[test]
    fn an_inner_layer_feeds_the_last_linear_one_or_is_a_mean() {
        let image = StackShape::Image(1, 64, 400);
        for (layers, inner, numbers) in [
            (
                "conv 8 3x3 same, relu, pool 2x2, dropout 0.1, flatten, linear classes",
                "conv 8 3x3 same, relu, pool 2x2, dropout 0.1, gap",
                8,
            ),
            (
                "frames, lstm 16 last, dropout 0.3, linear classes",
                "frames, lstm 16 last, dropout 0.3",
                16,
            ),
        ] {
            let layers: Vec<&str> = layers.split(", ").collect();
            let found = Stack::new(&layers, image, 3).unwrap().inner();
            assert_eq!((found.0.join(", ").as_str(), found.1), (inner, numbers));
            assert!(Stack::new(&found.0, image, numbers).is_ok());
        }
    }
}
