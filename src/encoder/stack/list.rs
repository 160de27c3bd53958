//! A list of layers that fit each other, and the tensors that it begins with.

use super::layer::{Beginning, StackLayer, StackShape};
use crate::base::random::Random;
use crate::encoder::EncoderError;

/// Most layers of a network, and most numbers of all its parameters.
const MOST_LAYERS: usize = 200;
const MOST_PARAMETERS: usize = 1 << 28;

/// A network: layers that fit each other, from an input of one shape to an output for each class.
#[derive(Debug, Clone, PartialEq)]
pub struct Stack {
    layers: Vec<StackLayer>,
    /// What goes into each layer, and what comes out of the last.
    shapes: Vec<StackShape>,
    classes: usize,
}

/// A parameter or a running statistic of a network.
#[derive(Debug, Clone, PartialEq)]
pub struct StackTensor {
    /// `layers.0.weight` …
    pub name: String,
    /// Length of each axis.
    pub shape: Vec<usize>,
    /// Values, the last axis running fastest.
    pub values: Vec<f32>,
}

impl StackTensor {
    /// Whether it is learnt; running statistics are measured.
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
    /// The first layer that does not fit, with what came to it.
    pub fn new<T: AsRef<str>>(texts: &[T], input: StackShape, classes: usize) -> Result<Self, EncoderError> {
        let (mut layers, mut shapes, mut parameters) = (Vec::new(), vec![input], 0usize);
        let bad = |at: usize, problem: String| EncoderError::BadLayer {
            number: at + 1,
            layer: texts.get(at).map_or_else(String::new, |text| text.as_ref().to_owned()),
            problem,
        };
        if texts.is_empty() || texts.len() > MOST_LAYERS {
            return Err(bad(0, format!("expected 1 to {MOST_LAYERS} layers, found {}", texts.len())));
        }
        for (at, text) in texts.iter().enumerate() {
            let layer: StackLayer = text.as_ref().parse().map_err(|problem| bad(at, problem))?;
            let from = shapes[at];
            let to = layer
                .shape(from, classes)
                .map_err(|problem| bad(at, format!("{problem}; what comes to it is {from}")))?;
            for plan in layer.tensors(from, classes) {
                parameters = parameters.saturating_add(plan.shape.iter().product());
            }
            if parameters > MOST_PARAMETERS || to.cells() > MOST_PARAMETERS {
                return Err(bad(at, format!("the network has more than {MOST_PARAMETERS} numbers here")));
            }
            layers.push(layer);
            shapes.push(to);
        }
        let (last, end) = (texts.len() - 1, shapes[texts.len()]);
        if end != StackShape::Vector(classes) {
            let problem = format!("ends in {end}, expected {classes}: \"linear classes\" is the last layer");
            return Err(bad(last, problem));
        }
        Ok(Self { layers, shapes, classes })
    }

    /// One example.
    pub fn input(&self) -> StackShape {
        self.shapes[0]
    }

    /// Outputs.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// Layers, each with what goes into it.
    pub(super) fn layers(&self) -> impl Iterator<Item = (StackLayer, StackShape)> {
        self.layers.iter().copied().zip(self.shapes.iter().copied())
    }

    /// What the network begins with: the same tensors for the same seed.
    pub fn tensors(&self, seed: u64) -> Vec<StackTensor> {
        let mut found = Vec::new();
        for (at, (layer, from)) in self.layers().enumerate() {
            for plan in layer.tensors(from, self.classes) {
                let count = plan.shape.iter().product();
                let mut random = Random::stream(seed, 0x57ac ^ ((found.len() as u64) << 16));
                let values = match plan.start {
                    Beginning::Constant(value) => vec![value; count],
                    Beginning::Uniform(most) => {
                        (0..count).map(|_| random.range(-most, most) as f32).collect()
                    }
                };
                found.push(StackTensor {
                    name: format!("layers.{at}.{}", plan.name),
                    shape: plan.shape,
                    values,
                });
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layer_that_does_not_fit_is_named_with_what_comes_to_it() {
        let image = StackShape::Image(1, 16, 20);
        for (layers, expected) in [
            (&["conv 4 3x3", "linear classes"][..], "layer 2 \"linear classes\": takes no image"),
            (&["flatten", "linear 5"], "layer 2 \"linear 5\": ends in 5, expected 3"),
            (&["pool 32x2", "flatten", "linear classes"], "layer 1 \"pool 32x2\": needs a side of 32"),
            (&["frames", "conv1 4 4 same"], "odd kernel; what comes to it is 16 x 20"),
            (&["lstm 4"], "layer 1 \"lstm 4\": takes no image"),
            (&["flatten", "linear 60000", "linear 60000"], "more than 268435456 numbers"),
            (&[], "expected 1 to 200 layers, found 0"),
        ] {
            let error = Stack::new(layers, image, 3).unwrap_err().to_string();
            assert!(error.contains(expected), "{layers:?}: {error}");
        }
    }

    #[test]
    fn first_weights_have_the_spread_that_is_asked_for() {
        let texts = ["conv 32 3x3 same", "batch-norm", "gap", "linear classes"];
        let tensors = Stack::new(&texts, StackShape::Image(16, 8, 8), 10).unwrap().tensors(3);
        let names: Vec<&str> = tensors.iter().map(|tensor| tensor.name.as_str()).collect();
        assert_eq!(names[..3], ["layers.0.weight", "layers.0.bias", "layers.1.weight"]);
        assert_eq!(tensors.iter().filter(|tensor| !tensor.is_parameter()).count(), 2);
        // uniform within ± 1/12: a variance of (1/12)² / 3
        let first = &tensors[0].values;
        let n = first.len() as f64;
        let mean = first.iter().map(|x| f64::from(*x)).sum::<f64>() / n;
        let variance = first.iter().map(|x| (f64::from(*x) - mean).powi(2)).sum::<f64>() / n;
        let expected = 1.0 / 12.0f64.powi(2) / 3.0;
        // three standard errors of each
        assert!(mean.abs() < 3.0 * (expected / n).sqrt(), "{mean}");
        assert!((variance / expected - 1.0).abs() < 3.0 * (0.8 / n).sqrt(), "{variance}");
        assert!(first.iter().all(|x| x.abs() <= 1.0 / 12.0));
    }
}
