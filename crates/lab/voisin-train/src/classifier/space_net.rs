//! OpenL3's network with a softmax head, whose input is a vector space in which classes are separable.

use std::borrow::Cow;

use super::anchor::{FrozenNet, anchor_penalty};
use super::{ClassPredictor, Trainable};
use crate::session::{BlockVisitor, NamedTensor};
use crate::{LearningLayer, Student, TeacherHead, TrainError};
use voisin_encoder::openl3::{OpenL3Weights, WINDOW};
use voisin_encoder::{Device, ModelRef};
use voisin_kernels::isa;
use voisin_networks::conv::FastChain;

/// Names of the tensors of the head and of the layer between it and a frozen network.
const HEAD: &str = "head";
const PROJECTION: &str = "projection";

/// The network from which training starts.
#[derive(Debug)]
pub struct SpaceStart {
    /// The network.
    pub weights: OpenL3Weights,
    /// The linear layer that computes its search vectors; none: the embedding is the search vector.
    projection: Option<TeacherHead>,
}

impl SpaceStart {
    /// - `model`: of OpenL3's shape; none: random weights
    /// - `divisor`: random weights have this fraction of OpenL3's width
    pub fn new(model: Option<&ModelRef>, divisor: usize, seed: u64) -> Result<Self, TrainError> {
        let Some(model) = model else {
            let weights = OpenL3Weights::seeded(seed, &crate::widths(divisor)?);
            return Ok(Self {
                weights,
                projection: None,
            });
        };
        let weights = crate::model_weights(model)?;
        let inputs = weights.convs[7].cout;
        // Models exported by training have this layer after their embedding; without it the search vector is the embedding.
        let projection = model.openl3_projection()?.map(|[matrix, bias]| {
            let outputs = bias.len();
            TeacherHead {
                inputs,
                outputs,
                parameters: [matrix, bias].concat(),
            }
        });
        Ok(Self {
            weights,
            projection,
        })
    }

    /// Dimension of a search vector.
    pub fn dimension(&self) -> usize {
        self.projection
            .as_ref()
            .map_or(self.weights.convs[7].cout, |layer| layer.outputs)
    }

    /// The layer that computes search vectors: the model's, or the identity.
    fn layer(&self) -> TeacherHead {
        self.projection
            .clone()
            .unwrap_or_else(|| TeacherHead::identity(self.weights.convs[7].cout))
    }
}

/// The trained part below the head.
enum SpaceBody {
    /// The network, and its initial state if it is anchored to that.
    Whole {
        net: Box<Student>,
        before: Option<FrozenNet>,
    },
    /// A linear layer after a frozen network, and the layer's initial state.
    Layer {
        net: FrozenNet,
        layer: LearningLayer,
        before: TeacherHead,
    },
}

/// The network and its head in training, on voisin's kernels or, on a GPU, in Candle.
pub struct SpaceNet {
    body: SpaceBody,
    head: LearningLayer,
    device: Device,
    /// Weight of the mean squared change of a batch's cosines in the loss.
    anchor: f64,
    /// Search vectors of the last pass, by the current and the initial network.
    embeddings: [Vec<f32>; 2],
}

impl SpaceNet {
    /// Trains the whole network with a random head.
    ///
    /// - `anchor`: weight of the penalty on changed cosines between a batch's embeddings; 0: none
    pub fn whole(
        start: &SpaceStart,
        classes: usize,
        seed: u64,
        device: Device,
        anchor: f64,
    ) -> Result<Self, TrainError> {
        let net = Box::new(Student::new(&start.weights, &device)?);
        // A second network costs as much as the first, so it runs only if the loss needs it.
        let before = if anchor > 0.0 {
            Some(FrozenNet::new(&start.weights)?)
        } else {
            None
        };
        let dimension = net.state().dimension();
        Ok(Self::headed(
            SpaceBody::Whole { net, before },
            dimension,
            classes,
            seed,
            device,
            anchor,
        ))
    }

    /// Trains the layer that computes search vectors, after a frozen network, with a random head.
    ///
    /// - `anchor`: as for [`whole`](Self::whole), on search vectors
    pub fn layer(
        start: &SpaceStart,
        classes: usize,
        seed: u64,
        device: Device,
        anchor: f64,
    ) -> Result<Self, TrainError> {
        let net = FrozenNet::new(&start.weights)?;
        let before = start.layer();
        let dimension = before.outputs;
        let layer = LearningLayer::new(before.clone());
        Ok(Self::headed(
            SpaceBody::Layer { net, layer, before },
            dimension,
            classes,
            seed,
            device,
            anchor,
        ))
    }

    fn headed(
        body: SpaceBody,
        dimension: usize,
        classes: usize,
        seed: u64,
        device: Device,
        anchor: f64,
    ) -> Self {
        let head = LearningLayer::new(TeacherHead::seeded(dimension, classes, seed));
        Self {
            body,
            head,
            device,
            anchor,
            embeddings: Default::default(),
        }
    }

    /// The current weights of the network.
    fn weights(&self) -> Cow<'_, OpenL3Weights> {
        match &self.body {
            SpaceBody::Whole { net, .. } => Cow::Owned(net.state().weights()),
            SpaceBody::Layer { net, .. } => Cow::Borrowed(net.weights()),
        }
    }
}

impl Trainable for SpaceNet {
    fn cells(&self) -> usize {
        WINDOW
    }

    fn classes(&self) -> usize {
        self.head.linear.outputs
    }

    fn forward(&mut self, x: &[f32], n: usize, _: u64) -> Result<Vec<f32>, TrainError> {
        self.embeddings = match &mut self.body {
            SpaceBody::Whole { net, before } => [
                net.forward(x, n)?,
                before
                    .as_mut()
                    .map(|net| net.embeddings(x))
                    .unwrap_or_default(),
            ],
            SpaceBody::Layer { net, layer, before } => {
                let inputs = net.embeddings(x);
                let before = before.forward(&inputs);
                [layer.forward(inputs), before]
            }
        };
        Ok(self.head.forward(self.embeddings[0].clone()))
    }

    fn backward(&mut self, gradient: &[f32]) -> Result<(), TrainError> {
        let mut d = self.head.backward(gradient);
        // The penalty acts on the search vectors, not on the head.
        if self.anchor > 0.0 {
            let [after, before] = &self.embeddings;
            let (_, penalty) = anchor_penalty(after, before, self.head.linear.inputs, self.anchor);
            d.iter_mut()
                .zip(penalty)
                .for_each(|(d, penalty)| *d += penalty);
        }
        match &mut self.body {
            SpaceBody::Whole { net, .. } => net.backward(&d)?,
            SpaceBody::Layer { layer, .. } => {
                // The gradient of the layer's inputs is not needed: the network below is frozen.
                layer.backward(&d);
            }
        }
        Ok(())
    }

    fn each_block(&mut self, visit: &mut BlockVisitor<'_>) {
        match &mut self.body {
            SpaceBody::Whole { net, .. } => net.show(visit),
            SpaceBody::Layer { layer, .. } => layer.show(visit),
        }
        // The head comes last in every call: optimisers are matched to blocks by order.
        self.head.show(visit);
    }

    fn finished(&self) -> Result<Box<dyn ClassPredictor>, TrainError> {
        let net = self.weights().compile(isa()?);
        let layer = match &self.body {
            SpaceBody::Whole { .. } => None,
            SpaceBody::Layer { layer, .. } => Some(layer.linear.clone()),
        };
        Ok(Box::new(FinishedSpace {
            net,
            layer,
            head: self.head.linear.clone(),
        }))
    }

    fn tensors(&self) -> Vec<NamedTensor> {
        let mut found = Vec::new();
        self.weights().for_each(|name, shape, values| {
            found.push((name.to_owned(), shape.to_vec(), values.to_vec()));
        });
        let mut add = |name: &str, linear: &TeacherHead| {
            let inputs = linear.inputs;
            let outputs = linear.outputs;
            let (matrix, bias) = linear.parameters.split_at(inputs * outputs);
            found.push((
                format!("{name}.weight"),
                vec![outputs, inputs],
                matrix.to_vec(),
            ));
            found.push((format!("{name}.bias"), vec![outputs], bias.to_vec()));
        };
        if let SpaceBody::Layer { layer, .. } = &self.body {
            add(PROJECTION, &layer.linear);
        }
        add(HEAD, &self.head.linear);
        found
    }

    fn restore(&mut self, get: &mut dyn FnMut(&str) -> Option<Vec<f32>>) -> Result<(), String> {
        let linear =
            |get: &mut dyn FnMut(&str) -> Option<Vec<f32>>, name: &str, head: &TeacherHead| {
                let parts = ["weight", "bias"].map(|part| get(&format!("{name}.{part}")));
                let values = parts
                    .into_iter()
                    .collect::<Option<Vec<_>>>()
                    .map(|parts| parts.concat());
                let values = values.filter(|values| values.len() == head.parameters.len());
                values.ok_or_else(|| format!("its {name} is missing or of another length"))
            };
        // Everything is read and checked before anything is changed.
        let head = linear(get, HEAD, &self.head.linear)?;
        let projection = match &self.body {
            SpaceBody::Whole { .. } => Vec::new(),
            SpaceBody::Layer { layer, .. } => linear(get, PROJECTION, &layer.linear)?,
        };
        let weights = OpenL3Weights::from_named(get).map_err(|error| error.to_string())?;
        let found = weights.widths();
        let expected = self.weights().widths();
        if found != expected {
            return Err(format!("expected widths {expected:?}, found {found:?}"));
        }
        let problem = |error: TrainError| error.to_string();
        match &mut self.body {
            // A new network, since weights in training are laid out for kernels and device.
            SpaceBody::Whole { net, .. } => {
                **net = Student::new(&weights, &self.device).map_err(problem)?;
            }
            SpaceBody::Layer { net, layer, .. } => {
                *net = FrozenNet::new(&weights).map_err(problem)?;
                layer.linear.parameters = projection;
            }
        }
        self.head.linear.parameters = head;
        Ok(())
    }
}

/// The network and its head, for prediction.
struct FinishedSpace {
    net: FastChain,
    /// The layer that computes search vectors; none: they are the embeddings.
    layer: Option<TeacherHead>,
    head: TeacherHead,
}

impl ClassPredictor for FinishedSpace {
    fn cells(&self) -> usize {
        WINDOW
    }

    fn classes(&self) -> usize {
        self.head.outputs
    }

    fn logits(&self, x: &[f32], n: usize) -> Result<Vec<f32>, TrainError> {
        Ok(self.head.forward(&self.embeddings(x, n)))
    }

    fn dimension(&self) -> usize {
        self.head.inputs
    }

    fn embeddings(&self, x: &[f32], n: usize) -> Vec<f32> {
        let mut embeddings = vec![0.0; n * self.net.dimension()];
        self.net.forward(x, n, &mut embeddings);
        match &self.layer {
            Some(layer) => layer.forward(&embeddings),
            None => embeddings,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::softmax::cross_entropy;
    use super::*;
    use crate::widths;
    use voisin_base::random::Random;
    use voisin_encoder::DeviceChoice;

    const CLASSES: usize = 3;
    const WINDOWS: usize = 4;
    const ANCHOR: f64 = 7.0;

    /// A layer as in voisin-3 after a network of a quarter of the width, and some windows.
    fn begun() -> (SpaceNet, Vec<f32>) {
        let mut random = Random::new(5);
        let weights = OpenL3Weights::seeded(1, &widths(4).unwrap());
        let mut layer = TeacherHead::identity(512);
        layer
            .parameters
            .iter_mut()
            .for_each(|x| *x += (0.02 * random.normal()) as f32);
        let start = SpaceStart {
            weights,
            projection: Some(layer),
        };
        let device = DeviceChoice::Cpu.resolve().unwrap();
        let x = (0..WINDOWS * WINDOW)
            .map(|_| (10.0 * random.normal()) as f32 - 40.0)
            .collect();
        (
            SpaceNet::layer(&start, CLASSES, 1, device, ANCHOR).unwrap(),
            x,
        )
    }

    fn parameters(net: &mut SpaceNet) -> Vec<(Vec<f32>, Vec<f32>)> {
        let mut found = Vec::new();
        net.each_block(&mut |parameters, gradients, _| {
            found.push((parameters.to_vec(), gradients.to_vec()));
        });
        found
    }

    #[test]
    fn a_layer_has_the_gradient_of_the_loss_and_the_network_stays() {
        let (mut net, x) = begun();
        let wanted: Vec<f32> = (0..WINDOWS * CLASSES)
            .map(|at| [0.9, 0.1, 0.0, 0.2, 0.8][at % 5])
            .collect();
        let mut gradient = Vec::new();
        let mut loss = |net: &mut SpaceNet| {
            let logits = net.forward(&x, WINDOWS, 0).unwrap();
            let (sum, _) = cross_entropy(&logits, &wanted, CLASSES, &mut gradient);
            net.backward(&gradient).unwrap();
            let [after, before] = &net.embeddings;
            sum / WINDOWS as f64 + anchor_penalty(after, before, net.head.linear.inputs, ANCHOR).0
        };
        // away from the initial state, where the anchor has no gradient
        net.each_block(&mut |parameters, _, _| {
            let mut random = Random::new(parameters.len() as u64);
            parameters
                .iter_mut()
                .for_each(|x| *x += (0.03 * random.normal()) as f32);
        });
        loss(&mut net);
        let all = parameters(&mut net);
        assert_eq!(
            all.iter()
                .map(|(values, _)| values.len())
                .collect::<Vec<_>>(),
            [512 * 513, 3 * 513]
        );
        for (block, (_, gradients)) in all.iter().enumerate() {
            let mut along = |step: f32| {
                let mut number = 0;
                net.each_block(&mut |parameters, _, _| {
                    if number == block {
                        parameters
                            .iter_mut()
                            .zip(gradients)
                            .for_each(|(x, g)| *x += step * g);
                    }
                    number += 1;
                });
                loss(&mut net)
            };
            let square: f64 = gradients.iter().map(|g| f64::from(*g).powi(2)).sum();
            let step = (1e-3 / square) as f32;
            let more = along(step);
            let less = along(-2.0 * step);
            along(step);
            let slope = (more - less) / (2.0 * f64::from(step));
            assert!(
                (slope / square - 1.0).abs() < 0.02,
                "block {block}: {slope} for {square}"
            );
        }
        let before = begun().0.weights().into_owned();
        assert!(*net.weights() == before, "the network is frozen");
    }

    #[test]
    fn restored_tensors_give_the_same_logits() {
        let (mut net, x) = begun();
        net.each_block(&mut |parameters, _, _| parameters.iter_mut().for_each(|x| *x *= 1.01));
        let logits = net.forward(&x, WINDOWS, 0).unwrap();
        let finished = net.finished().unwrap();
        assert_eq!(finished.logits(&x, WINDOWS).unwrap(), logits);
        assert_eq!(finished.embeddings(&x, WINDOWS), net.embeddings[0]);
        let kept = net.tensors();
        let get = |without: &str, name: &str| {
            let found = kept
                .iter()
                .filter(|(found, ..)| found == name && found != without);
            found.map(|(.., values)| values.clone()).next()
        };
        let (mut other, _) = begun();
        other.restore(&mut |name| get("", name)).unwrap();
        assert_eq!(other.forward(&x, WINDOWS, 0).unwrap(), logits);
        let missing = other
            .restore(&mut |name| get("projection.bias", name))
            .unwrap_err();
        assert_eq!(missing, "its projection is missing or of another length");
    }
}
